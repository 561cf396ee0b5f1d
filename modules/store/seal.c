/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM through OpenSSL's EVP.
 */
#include "store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_base64.h>
#include <apr_strings.h>
#include <openssl/evp.h>

#include "base/secret.h"

#define PREFIX    "gb1:"
#define NONCE_LEN 12
#define TAG_LEN   16

/* ---- the key ---- */

static apr_status_t wipe(void *data)
{
    explicit_bzero(data, sizeof(gb_seal_t));
    return APR_SUCCESS;
}

apr_status_t gb_seal_load(gb_seal_t **pseal, const char *path, const char **why, apr_pool_t *p)
{
    unsigned char bytes[GB_SEAL_KEY_LEN + 1];
    gb_seal_t *seal;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        int error = errno;

        *why = apr_psprintf(p, "the secret file %s cannot be read: %s", path, strerror(error));
        return error;
    }
    n = read(fd, bytes, sizeof(bytes));
    close(fd);
    if (n != GB_SEAL_KEY_LEN) {
        *why = apr_psprintf(
            p, "the secret file %s must hold exactly 32 bytes (head -c 32 /dev/urandom)", path);
        return APR_EINVAL;
    }
    seal = apr_palloc(p, sizeof(*seal));
    memcpy(seal->key, bytes, GB_SEAL_KEY_LEN);
    explicit_bzero(bytes, sizeof(bytes));
    apr_pool_cleanup_register(p, seal, wipe, apr_pool_cleanup_null);
    *pseal = seal;
    return APR_SUCCESS;
}

apr_status_t gb_seal_create(const char *path)
{
    unsigned char bytes[GB_SEAL_KEY_LEN];
    apr_status_t rv = APR_SUCCESS;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        return errno;
    }
    gb_random(bytes, sizeof(bytes));
    if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || fsync(fd) != 0) {
        rv = errno ? errno : EIO;
        unlink(path);
    }
    explicit_bzero(bytes, sizeof(bytes));
    close(fd);
    return rv;
}

/* ---- values ---- */

int gb_seal_is_sealed(const char *value)
{
    return strncmp(value, PREFIX, strlen(PREFIX)) == 0;
}

/* Table, column and row, each with its NUL: no two places read alike. */
static const unsigned char *place_bytes(const gb_seal_place_t *place, int *len, apr_pool_t *p)
{
    size_t a = strlen(place->table) + 1, b = strlen(place->column) + 1, c = strlen(place->row) + 1;
    char *bytes = apr_palloc(p, a + b + c);

    memcpy(bytes, place->table, a);
    memcpy(bytes + a, place->column, b);
    memcpy(bytes + a + b, place->row, c);
    *len = (int)(a + b + c);
    return (const unsigned char *)bytes;
}

const char *gb_seal(const gb_seal_t *seal, const gb_seal_place_t *place, const char *text,
                    apr_pool_t *p)
{
    size_t len = strlen(text);
    unsigned char *sealed = apr_palloc(p, NONCE_LEN + len + TAG_LEN);
    char *out = apr_palloc(
        p, sizeof(PREFIX) + (size_t)apr_base64_encode_len((int)(NONCE_LEN + len + TAG_LEN)));
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, aad_len, ok;
    const unsigned char *aad = place_bytes(place, &aad_len, p);

    gb_random(sealed, NONCE_LEN);
    ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, seal->key, sealed) == 1
         && EVP_EncryptUpdate(ctx, NULL, &n, aad, aad_len) == 1
         && EVP_EncryptUpdate(ctx, sealed + NONCE_LEN, &n, (const unsigned char *)text, (int)len)
                == 1
         && EVP_EncryptFinal_ex(ctx, sealed + NONCE_LEN + n, &n) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, sealed + NONCE_LEN + len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) {
        abort(); /* out of memory: a secret must not be written in clear instead */
    }
    strcpy(out, PREFIX);
    apr_base64_encode_binary(out + strlen(PREFIX), sealed, (int)(NONCE_LEN + len + TAG_LEN));
    return out;
}

static int open_sealed(char *text, const gb_seal_t *seal, const gb_seal_place_t *place,
                       unsigned char *sealed, int text_len, apr_pool_t *p)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, last = 0, aad_len, ok;
    const unsigned char *aad = place_bytes(place, &aad_len, p);

    ok = ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, seal->key, sealed) == 1
         && EVP_DecryptUpdate(ctx, NULL, &n, aad, aad_len) == 1
         && EVP_DecryptUpdate(ctx, (unsigned char *)text, &n, sealed + NONCE_LEN, text_len) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, sealed + NONCE_LEN + text_len)
                == 1
         && EVP_DecryptFinal_ex(ctx, (unsigned char *)text + n, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

apr_status_t gb_unseal(const char **ptext, const gb_seal_t *seal, const gb_seal_place_t *place,
                       const char *value, apr_pool_t *p)
{
    unsigned char *sealed;
    char *text;
    int len;

    if (!gb_seal_is_sealed(value)) {
        *ptext = value;
        return APR_SUCCESS;
    }
    value += strlen(PREFIX);
    sealed = apr_palloc(p, (apr_size_t)apr_base64_decode_len(value) + 1);
    len = apr_base64_decode_binary(sealed, value) - NONCE_LEN - TAG_LEN;
    if (!seal || len < 0) {
        return APR_EINVAL;
    }
    text = apr_palloc(p, (apr_size_t)len + 1);
    if (!open_sealed(text, seal, place, sealed, len, p)) {
        return APR_EINVAL;
    }
    text[len] = '\0';
    *ptext = text;
    return APR_SUCCESS;
}
