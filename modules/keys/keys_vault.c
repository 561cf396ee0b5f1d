/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secrets of keys that were added while httpd ran.  Until a store takes its
 * place the keeper is a file in the state directory: a line per key, sealed with
 * AES-256-GCM under a random key of this directory's own, the pool and the digest
 * as associated data, so that a line cannot be moved to another key.
 */
#include "keys.h"

#include <openssl/evp.h>

#include "apr_base64.h"
#include "apr_file_io.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define FILE_NAME "keys-added"
#define SEAL_NAME "keys-added.seal"
#define SEAL_LEN  32
#define NONCE_LEN 12
#define TAG_LEN   16
#define LINE_MAX_ 2048

static gb_keys_keeper_t keeper; /* all NULL: the file below */

static const char *path_of(const char *name, apr_pool_t *p)
{
    const char *dir = keys_state_dir();

    return *dir ? apr_pstrcat(p, dir, "/", name, NULL) : NULL;
}

/* ---- sealing ---- */

/* out takes NONCE_LEN + len + TAG_LEN bytes. */
static int seal(unsigned char *out, const unsigned char *key, const char *name, const char *text,
                int len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, ok;

    gb_random(out, NONCE_LEN);
    ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out) == 1
         && EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *)name, (int)strlen(name)) == 1
         && EVP_EncryptUpdate(ctx, out + NONCE_LEN, &n, (const unsigned char *)text, len) == 1
         && EVP_EncryptFinal_ex(ctx, out + NONCE_LEN + n, &n) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, out + NONCE_LEN + len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

static int unseal(char *out, const unsigned char *key, const char *name, unsigned char *sealed,
                  int len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n, text = len - NONCE_LEN - TAG_LEN, ok;

    ok = ctx && text > 0 && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1
         && EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *)name, (int)strlen(name)) == 1
         && EVP_DecryptUpdate(ctx, (unsigned char *)out, &n, sealed + NONCE_LEN, text) == 1
         && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, sealed + len - TAG_LEN) == 1
         && EVP_DecryptFinal_ex(ctx, (unsigned char *)out + n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? text : 0;
}

/* The directory's own key, made with the first secret that is kept. */
static apr_status_t seal_key(unsigned char key[SEAL_LEN], int make, apr_pool_t *p)
{
    const char *path = path_of(SEAL_NAME, p);
    apr_size_t len = SEAL_LEN;
    apr_file_t *file;
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p);

    if (rv == APR_SUCCESS) {
        rv = apr_file_read_full(file, key, SEAL_LEN, &len);
        apr_file_close(file);
        return rv;
    }
    if (!make || !APR_STATUS_IS_ENOENT(rv)) {
        return rv;
    }
    gb_random(key, SEAL_LEN);
    rv = apr_file_open(&file, path, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_EXCL,
                       APR_FPROT_UREAD | APR_FPROT_UWRITE, p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_write_full(file, key, SEAL_LEN, NULL);
        apr_file_close(file);
    }
    return rv;
}

static const char *name_of(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    char hex[GB_POOL_DIGEST_LEN * 2 + 1];

    gb_hex(hex, digest, GB_POOL_DIGEST_LEN);
    return apr_pstrcat(p, pool, " ", hex, NULL);
}

/* ---- the file ---- */

static apr_status_t file_put(const char *pool, const unsigned char *digest, const char *secret,
                             apr_size_t len, apr_pool_t *p)
{
    const char *path = path_of(FILE_NAME, p), *name = name_of(pool, digest, p), *line;
    unsigned char key[SEAL_LEN], sealed[NONCE_LEN + GB_SECRET_MAX + TAG_LEN];
    char text[sizeof(sealed) * 2];
    apr_file_t *file;
    apr_status_t rv;

    if (!path) {
        return APR_ENOENT;
    }
    rv = seal_key(key, 1, p);
    if (rv != APR_SUCCESS || !seal(sealed, key, name, secret, (int)len)) {
        return rv != APR_SUCCESS ? rv : APR_EGENERAL;
    }
    apr_base64_encode_binary(text, sealed, (int)len + NONCE_LEN + TAG_LEN);
    line = apr_pstrcat(p, name, " v1:", text, "\n", NULL);
    rv = apr_file_open(&file, path, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_APPEND,
                       APR_FPROT_UREAD | APR_FPROT_UWRITE, p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_write_full(file, line, strlen(line), NULL);
        apr_file_close(file);
    }
    explicit_bzero(key, sizeof(key));
    return rv;
}

/* One line: "pool digest v1:base64". */
static void load_line(char *line, const unsigned char *key, keys_vault_each_fn *fn, void *baton)
{
    unsigned char sealed[LINE_MAX_];
    char secret[LINE_MAX_];
    char *mark = strstr(line, " v1:"), *end, *pool_end;
    int len;

    if (!mark) {
        return;
    }
    *mark = '\0';
    end = mark + 4 + strcspn(mark + 4, "\r\n");
    *end = '\0';
    len = apr_base64_decode_binary(sealed, mark + 4);
    len = unseal(secret, key, line, sealed, len);
    pool_end = strrchr(line, ' ');
    if (len > 0 && len <= GB_SECRET_MAX && pool_end) {
        *pool_end = '\0';
        fn(baton, line, secret, (apr_size_t)len);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, ap_server_conf,
                     GBLOGNO(1040) "a line of %s cannot be unsealed: add that key again",
                     FILE_NAME);
    }
    explicit_bzero(secret, sizeof(secret));
}

static apr_status_t file_load(keys_vault_each_fn *fn, void *baton, apr_pool_t *p)
{
    const char *path = path_of(FILE_NAME, p);
    unsigned char key[SEAL_LEN];
    char line[LINE_MAX_];
    apr_file_t *file;
    apr_status_t rv;

    if (!path
        || apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BUFFERED, APR_FPROT_OS_DEFAULT, p)
               != APR_SUCCESS) {
        return APR_SUCCESS; /* none was ever added */
    }
    rv = seal_key(key, 0, p);
    while (rv == APR_SUCCESS && apr_file_gets(line, sizeof(line), file) == APR_SUCCESS) {
        load_line(line, key, fn, baton);
    }
    apr_file_close(file);
    explicit_bzero(key, sizeof(key));
    return rv;
}

/* Copies all lines but those of one key. */
static apr_status_t copy_without(const char *path, const char *name, apr_pool_t *p)
{
    const char *fresh = apr_pstrcat(p, path, ".new", NULL);
    apr_size_t len = strlen(name);
    apr_file_t *from, *to;
    char line[LINE_MAX_];
    apr_status_t rv;

    rv = apr_file_open(&from, path, APR_FOPEN_READ | APR_FOPEN_BUFFERED, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_ENOENT(rv) ? APR_SUCCESS : rv;
    }
    rv = apr_file_open(&to, fresh, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_TRUNCATE,
                       APR_FPROT_UREAD | APR_FPROT_UWRITE, p);
    while (rv == APR_SUCCESS && apr_file_gets(line, sizeof(line), from) == APR_SUCCESS) {
        if (strncmp(line, name, len) != 0 || line[len] != ' ') {
            rv = apr_file_write_full(to, line, strlen(line), NULL);
        }
    }
    apr_file_close(from);
    if (rv == APR_SUCCESS) {
        apr_file_close(to);
        rv = apr_file_rename(fresh, path, p);
    }
    return rv;
}

static apr_status_t file_drop(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    const char *path = path_of(FILE_NAME, p);

    return path ? copy_without(path, name_of(pool, digest, p), p) : APR_SUCCESS;
}

/* ---- whoever keeps ---- */

apr_status_t keys_vault_load(keys_vault_each_fn *fn, void *baton, apr_pool_t *p)
{
    return keeper.load ? keeper.load(keeper.baton, fn, baton, p) : file_load(fn, baton, p);
}

apr_status_t keys_vault_put(const char *pool, const unsigned char *digest, const char *secret,
                            apr_size_t len, apr_pool_t *p)
{
    return keeper.put ? keeper.put(keeper.baton, pool, digest, secret, len, p)
                      : file_put(pool, digest, secret, len, p);
}

apr_status_t keys_vault_drop(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    return keeper.drop ? keeper.drop(keeper.baton, pool, digest, p) : file_drop(pool, digest, p);
}

static void gbalance_keys_keeper_set(const gb_keys_keeper_t *other)
{
    keeper = *other;
}

void keys_vault_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_keeper_set);
}
