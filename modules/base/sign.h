/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that we give away and want back unchanged: HMAC-SHA-256, shortened to 128 bits; and signatures that others want. */
#ifndef GB_SIGN_H
#define GB_SIGN_H

#include <apr_pools.h>

#define GB_SIGN_KEY 32

/* A key for one purpose from a secret that has others: HMAC-SHA-256 of what it is for. */
void gb_sign_key(unsigned char key[GB_SIGN_KEY], const unsigned char *secret, size_t len,
                 const char *purpose);

/* text and its mark as one word that may stand in a URL.  From p. */
const char *gb_sign(const unsigned char key[GB_SIGN_KEY], const char *text, apr_pool_t *p);

/* What was signed; NULL when the word is not what gb_sign gave.  From p. */
const char *gb_signed_text(const unsigned char key[GB_SIGN_KEY], const char *word, apr_pool_t *p);

/* HMAC-SHA-1 in base64, as older APIs want their calls signed.  From p. */
const char *gb_hmac_sha1(const char *key, const char *text, apr_pool_t *p);

#endif
