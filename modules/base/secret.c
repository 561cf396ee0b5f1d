/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets in memory, digests, randomness and comparison.  Cutting secrets out
 * of texts is redact.c's, sealing them for the database the store's.
 */
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

struct gb_secret_t {
    size_t len;
    char id[GB_SECRET_ID_LEN + 1];
    char text[];
};

static apr_status_t secret_wipe(void *data)
{
    gb_secret_t *secret = data;

    OPENSSL_cleanse(secret->text, secret->len);
    return APR_SUCCESS;
}

apr_status_t gb_secret_make(gb_secret_t **psecret, const char *text, size_t len, apr_pool_t *p)
{
    unsigned char digest[GB_DIGEST_LEN];
    gb_secret_t *secret;
    size_t i;

    if (len == 0 || len > GB_SECRET_MAX) {
        return APR_EINVAL;
    }
    for (i = 0; i < len; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) {
            return APR_EINVAL;
        }
    }
    secret = apr_palloc(p, sizeof(*secret) + len + 1);
    secret->len = len;
    memcpy(secret->text, text, len);
    secret->text[len] = '\0';
    apr_pool_cleanup_register(p, secret, secret_wipe, apr_pool_cleanup_null);
    gb_digest(digest, text, len);
    gb_hex(secret->id, digest, GB_SECRET_ID_LEN / 2);
    *psecret = secret;
    return APR_SUCCESS;
}

const char *gb_secret_text(const gb_secret_t *secret)
{
    return secret->text;
}

size_t gb_secret_len(const gb_secret_t *secret)
{
    return secret->len;
}

const char *gb_secret_id(const gb_secret_t *secret)
{
    return secret->id;
}

/* What is shown must leave at least half of the secret in the dark. */
void gb_mask(char out[GB_MASK_LEN], const char *text, size_t len)
{
    static const char dots[] = "\xe2\x80\xa6";
    size_t head = len >= 16 ? 4 : 0;
    size_t tail = len >= 16 ? 4 : len >= 8 ? 2 : 0;

    memcpy(out, text, head);
    memcpy(out + head, dots, sizeof(dots) - 1);
    memcpy(out + head + sizeof(dots) - 1, text + len - tail, tail);
    out[head + sizeof(dots) - 1 + tail] = '\0';
}

const char *gb_secret_id_of(const char *text, apr_pool_t *p)
{
    unsigned char digest[GB_DIGEST_LEN];
    char *id = apr_palloc(p, GB_SECRET_ID_LEN + 1);

    gb_digest(digest, text, strlen(text));
    gb_hex(id, digest, GB_SECRET_ID_LEN / 2);
    return id;
}

const char *gb_secret_masked(const gb_secret_t *secret, apr_pool_t *p)
{
    char *text = apr_palloc(p, GB_MASK_LEN);

    gb_mask(text, secret->text, secret->len);
    return text;
}

void gb_digest(unsigned char digest[GB_DIGEST_LEN], const void *bytes, size_t len)
{
    /* going on with a digest that is none would make all tokens equal */
    if (EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) != 1) {
        abort();
    }
}

void gb_hex(char *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t i;

    for (i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

int gb_equal_ct(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void gb_uid_make(unsigned char *bytes, size_t len, apr_time_t now)
{
    apr_uint64_t ms = (apr_uint64_t)apr_time_as_msec(now);
    int i;

    gb_random(bytes, len);
    for (i = 0; i < 6; i++) {
        bytes[i] = (unsigned char)(ms >> (8 * (5 - i)));
    }
}

void gb_random(void *bytes, size_t len)
{
    unsigned char *at = bytes;

    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno != EINTR) {
            abort();
        }
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}
