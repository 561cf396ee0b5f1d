/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which key made what: files, cached contents, operations and the like exist in
 * one Google project only, so whoever names one must use its key.  A table of
 * bounded size that all processes share, a tenant of the segment:
 *
 *   +--------+----------+----------+-- ... --+
 *   | header | record 1 | record 2 |         |
 *   +--------+----------+----------+-- ... --+
 *
 * A record's place follows from the digest of its pool and name: one of a few
 * neighbours; when all are taken the one that ends first makes room.
 */
#ifndef GB_OWNERS_H
#define GB_OWNERS_H

#include <apr_pools.h>
#include <apr_time.h>

#include "base/segment.h"

#define GB_OWNERS_NAME 128
#define GB_OWNERS_POOL 64
#define GB_OWNERS_KEY  20
#define GB_OWNERS_JSON 768

typedef struct gb_owner_t {
    char name[GB_OWNERS_NAME]; /* "files/abc" */
    char pool[GB_OWNERS_POOL];
    char key_id[GB_OWNERS_KEY];
    apr_uint64_t caller;       /* hash of who made it */
    apr_time_t made, ends;     /* wall */
    char json[GB_OWNERS_JSON]; /* Google's description of a file; "" = none, or too long */
} gb_owner_t;

gb_tenant_spec_t gb_owners_spec(const char *name, int records);

/* Keeps or renews what is known; who made it first stays its maker.  Names too long are not kept. */
void gb_owners_put(gb_tenant_t *tenant, const gb_owner_t *owner, apr_time_t now);

/* APR_NOTFOUND: unknown, or its time is over. */
apr_status_t gb_owners_get(gb_owner_t *owner, gb_tenant_t *tenant, const char *pool,
                           const char *name, apr_time_t now);

void gb_owners_drop(gb_tenant_t *tenant, const char *pool, const char *name);

/*
 * Walks in the order of places: the next record of that pool whose name begins
 * with prefix, behind place *pat (0 at first).  APR_NOTFOUND: no more.
 */
apr_status_t gb_owners_next(gb_owner_t *owner, gb_tenant_t *tenant, apr_uint32_t *pat,
                            const char *pool, const char *prefix, apr_time_t now);

#endif
