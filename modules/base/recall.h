/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory of texts by key that all processes share: a tenant of the segment.
 * Texts stand in a ring of bytes, the oldest make room; an index finds them by
 * the digest of their key.
 *
 *   +--------+------------------+-----------------------------------+
 *   | header | index (n entries)| ring of bytes                     |
 *   +--------+------------------+-----------------------------------+
 *
 * Bytes are copied outside the segment's lock: a writer reserves its place,
 * fills it and publishes it; a reader copies and then looks whether the place
 * was still the same.  A process that dies in between has lost its text only.
 */
#ifndef GB_RECALL_H
#define GB_RECALL_H

#include <stddef.h>
#include <apr_pools.h>
#include <apr_time.h>

#include "base/segment.h"

/* The tenant for a block of that size; the index gets an entry for every 2 KiB. */
gb_tenant_spec_t gb_recall_spec(const char *name, apr_size_t size);

/* Keeps text under key until ttl is over or the ring comes round.  Texts above a quarter of the
 * ring are not kept.  Any thread. */
void gb_recall_put(gb_tenant_t *tenant, const char *key, const char *text, size_t len,
                   apr_interval_time_t ttl);

/* The newest text of that key, NUL-terminated, from p; NULL when there is none.  Any thread. */
const char *gb_recall_get(gb_tenant_t *tenant, const char *key, size_t *len, apr_pool_t *p);

#endif
