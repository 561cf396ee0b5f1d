/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets at rest: AES-256-GCM with a key of 32 bytes from a file that is not in
 * the database's backups.  A sealed value is "gb1:" and the base64 of nonce,
 * ciphertext and tag.  Table, column and row are bound to it: a value that is
 * moved to another row does not open.
 */
#ifndef GB_SEAL_H
#define GB_SEAL_H

#include <apr_pools.h>

#define GB_SEAL_KEY_LEN 32

typedef struct gb_seal_t {
    unsigned char key[GB_SEAL_KEY_LEN];
} gb_seal_t;

/* Where a value stands. */
typedef struct gb_seal_place_t {
    const char *table, *column, *row;
} gb_seal_place_t;

/* Reads a file of exactly 32 bytes.  The key is wiped with p.  *why is a sentence on failure. */
apr_status_t gb_seal_load(gb_seal_t **pseal, const char *path, const char **why, apr_pool_t *p);
/* Makes such a file, mode 0600, with random bytes.  APR_EEXIST: there is one. */
apr_status_t gb_seal_create(const char *path);

int gb_seal_is_sealed(const char *value);

/* From p. */
const char *gb_seal(const gb_seal_t *seal, const gb_seal_place_t *place, const char *text,
                    apr_pool_t *p);
/* A value that is not sealed is handed back as it is.  APR_EINVAL: another key, another place, or
 * damaged; also when seal is NULL and the value is sealed. */
apr_status_t gb_unseal(const char **ptext, const gb_seal_t *seal, const gb_seal_place_t *place,
                       const char *value, apr_pool_t *p);

#endif
