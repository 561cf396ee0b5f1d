/* SPDX-License-Identifier: Apache-2.0 */
/* Marks by OpenSSL's HMAC; text in base64 with the alphabet of URLs. */
#include "base/sign.h"

#include <string.h>

#include <apr_base64.h>
#include <apr_strings.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/secret.h"

#define MARK_BYTES 16
#define MARK_CHARS (2 * MARK_BYTES)

static void mark(char out[MARK_CHARS + 1], const unsigned char key[GB_SIGN_KEY], const char *text,
                 size_t len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    HMAC(EVP_sha256(), key, GB_SIGN_KEY, (const unsigned char *)text, len, digest, &n);
    gb_hex(out, digest, MARK_BYTES);
}

void gb_sign_key(unsigned char key[GB_SIGN_KEY], const unsigned char *secret, size_t len,
                 const char *purpose)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    HMAC(EVP_sha256(), secret, (int)len, (const unsigned char *)purpose, strlen(purpose), digest,
         &n);
    memcpy(key, digest, GB_SIGN_KEY);
}

static void translate(char *text, const char *from, const char *to)
{
    for (; *text != '\0'; text++) {
        const char *at = strchr(from, *text);

        if (at != NULL) {
            *text = to[at - from];
        }
    }
}

const char *gb_sign(const unsigned char key[GB_SIGN_KEY], const char *text, apr_pool_t *p)
{
    size_t len = strlen(text);
    char *word = apr_palloc(p, (apr_size_t)apr_base64_encode_len((int)len) + 1);
    char sign[MARK_CHARS + 1];

    apr_base64_encode(word, text, (int)len);
    translate(word, "+/", "-_");
    word[strcspn(word, "=")] = '\0';
    mark(sign, key, word, strlen(word));
    return apr_pstrcat(p, word, ".", sign, NULL);
}

const char *gb_signed_text(const unsigned char key[GB_SIGN_KEY], const char *word, apr_pool_t *p)
{
    const char *dot = strrchr(word, '.');
    char sign[MARK_CHARS + 1];
    char *encoded, *text;

    if (dot == NULL || strlen(dot + 1) != MARK_CHARS) {
        return NULL;
    }
    mark(sign, key, word, (size_t)(dot - word));
    if (!gb_equal_ct(sign, dot + 1, MARK_CHARS)) {
        return NULL;
    }
    encoded = apr_pstrmemdup(p, word, (apr_size_t)(dot - word));
    translate(encoded, "-_", "+/");
    text = apr_pcalloc(p, (apr_size_t)apr_base64_decode_len(encoded) + 4);
    apr_base64_decode(text, encoded);
    return text;
}

const char *gb_hmac_sha1(const char *key, const char *text, apr_pool_t *p)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    char *word;

    HMAC(EVP_sha1(), key, (int)strlen(key), (const unsigned char *)text, strlen(text), digest, &n);
    word = apr_palloc(p, (apr_size_t)apr_base64_encode_len((int)n));
    apr_base64_encode_binary(word, digest, (int)n);
    return word;
}
