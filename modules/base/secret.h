/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and tokens.  A gb_secret_t is opaque so that no format string prints one
 * by accident; logs and pages show its id and its last four characters.
 */
#ifndef GB_SECRET_H
#define GB_SECRET_H

#include <apr_pools.h>
#include <apr_time.h>

#include "base/buf.h"

#define GB_SECRET_MAX    512 /* bytes of a key or token */
#define GB_SECRET_ID_LEN 8   /* hex digits of an id; a collision gets more */
#define GB_DIGEST_LEN    32  /* SHA-256 */

typedef struct gb_secret_t gb_secret_t;

/* Copies text into p, which wipes it when cleaned.  APR_EINVAL: empty, too long, or with bytes
 * outside 0x21-0x7e (it travels in a header). */
apr_status_t gb_secret_make(gb_secret_t **psecret, const char *text, size_t len, apr_pool_t *p);

/* The text itself, NUL-terminated.  Only for the transport and the constant-time comparison. */
const char *gb_secret_text(const gb_secret_t *secret);
size_t gb_secret_len(const gb_secret_t *secret);

/* First hex digits of SHA-256 of the secret: the same on every node and in every log. */
const char *gb_secret_id(const gb_secret_t *secret);
/* The same of a text, from p; a collision in a pool is not known here. */
const char *gb_secret_id_of(const char *text, apr_pool_t *p);
/* "AIza…wXyZ" style: at most the last four characters, fewer for short ones.  From p. */
const char *gb_secret_masked(const gb_secret_t *secret, apr_pool_t *p);
/* The same of a text, into GB_MASK_LEN bytes. */
#define GB_MASK_LEN 12
void gb_mask(char out[GB_MASK_LEN], const char *text, size_t len);

void gb_digest(unsigned char digest[GB_DIGEST_LEN], const void *bytes, size_t len);
/* out takes 2 * n + 1 bytes */
void gb_hex(char *out, const unsigned char *bytes, size_t n);
/* 1 when equal, in time that does not depend on where they differ. */
int gb_equal_ct(const void *a, const void *b, size_t len);
/* Fills with random bytes from the kernel; aborts the process when there are none. */
void gb_random(void *bytes, size_t len);
/* A name that nobody else gives: 6 bytes of time, so that what is made together stands together in
 * an index, and random ones. */
void gb_uid_make(unsigned char *bytes, size_t len, apr_time_t now);

/*
 * Copies text with everything that looks like a credential cut out: AIza and
 * AQ. keys, key= in URLs, Bearer tokens, projects/<number>.  Also the one given
 * secret (NULL for none) wherever it stands.  Length may change.
 */
apr_status_t gb_redact(gb_buf_t *out, const char *text, size_t len, const char *secret);

#endif
