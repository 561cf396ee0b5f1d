/* SPDX-License-Identifier: Apache-2.0 */
/* The table of owners in its block: places, records, and what is done to them under the lock. */
#include "base/owners.h"

#include <string.h>

#include <apr_strings.h>

#define OWNERS_VERSION 1
#define WAYS           8
#define STRIDE         512 /* places that a walk looks at before it lets others have the lock */

/* Both are laid out by the compiler; a new layout is a new version. */
typedef struct head_t {
    apr_uint32_t records;
    apr_uint32_t unused;
} head_t;

typedef struct record_t {
    apr_uint64_t hash; /* 0 = free */
    gb_owner_t owner;
} record_t;

_Static_assert(sizeof(record_t) <= 1024, "a record stays below a KiB");
_Static_assert(sizeof(head_t) % 8 == 0, "records are aligned");

static apr_uint32_t records_in(apr_size_t size)
{
    return (apr_uint32_t)((size - sizeof(head_t)) / sizeof(record_t));
}

static record_t *record_at(const gb_tenant_t *tenant, apr_uint32_t place)
{
    return (record_t *)((char *)tenant->block + sizeof(head_t)) + place;
}

static apr_uint64_t mix(apr_uint64_t h, const char *text)
{
    for (; *text != '\0'; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211ULL;
    }
    return (h ^ '/') * 1099511628211ULL;
}

static apr_uint64_t hash_of(const char *pool, const char *name)
{
    apr_uint64_t h = mix(mix(1469598103934665603ULL, pool), name);

    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    return h != 0 ? h : 1;
}

/* ---- the tenant ---- */

static void owners_init(void *block, apr_size_t size)
{
    head_t *head = block;

    head->records = records_in(size);
}

/* A record that was being written is no record. */
static void owners_repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    head_t *head = block;

    head->records = records_in(size);
    if (slot >= 1 && slot <= head->records) {
        memset((record_t *)((char *)block + sizeof(*head)) + (slot - 1), 0, sizeof(record_t));
    }
}

gb_tenant_spec_t gb_owners_spec(const char *name, int records)
{
    gb_tenant_spec_t spec;

    memset(&spec, 0, sizeof(spec));
    spec.name = name;
    spec.version = OWNERS_VERSION;
    spec.size = sizeof(head_t) + sizeof(record_t) * (apr_size_t)records;
    spec.init = owners_init;
    spec.repair = owners_repair;
    return spec;
}

/* ---- places ---- */

static apr_uint32_t way(const gb_tenant_t *tenant, apr_uint64_t hash, int i)
{
    return (apr_uint32_t)((hash + (apr_uint64_t)i) % records_in(tenant->size));
}

static int is_it(const record_t *record, apr_uint64_t hash, const char *pool, const char *name)
{
    return record->hash == hash && strcmp(record->owner.pool, pool) == 0
           && strcmp(record->owner.name, name) == 0;
}

/* The place of a name + 1, 0 when it has none. */
static apr_uint32_t find_locked(const gb_tenant_t *tenant, const char *pool, const char *name)
{
    apr_uint64_t hash = hash_of(pool, name);
    int i;

    for (i = 0; i < WAYS; i++) {
        apr_uint32_t place = way(tenant, hash, i);

        if (is_it(record_at(tenant, place), hash, pool, name)) {
            return place + 1;
        }
    }
    return 0;
}

/* A free place for a new name, or the one whose record ends first. */
static apr_uint32_t make_room_locked(const gb_tenant_t *tenant, apr_uint64_t hash)
{
    apr_uint32_t best = way(tenant, hash, 0);
    int i;

    for (i = 0; i < WAYS; i++) {
        apr_uint32_t place = way(tenant, hash, i);
        const record_t *record = record_at(tenant, place);

        if (record->hash == 0) {
            return place;
        }
        if (record->owner.ends < record_at(tenant, best)->owner.ends) {
            best = place;
        }
    }
    return best;
}

/* ---- the verbs ---- */

static void write_locked(gb_tenant_t *tenant, apr_uint32_t place, const gb_owner_t *owner,
                         int is_new)
{
    record_t *record = record_at(tenant, place);
    gb_owner_t before = record->owner;

    gb_segment_dirty_locked(tenant, place + 1);
    record->owner = *owner;
    if (!is_new) {
        record->owner.caller = before.caller;
        record->owner.made = before.made;
        memcpy(record->owner.key_id, before.key_id, sizeof(before.key_id));
    }
    record->hash = hash_of(owner->pool, owner->name);
    gb_segment_clean_locked(tenant);
}

void gb_owners_put(gb_tenant_t *tenant, const gb_owner_t *owner, apr_time_t now)
{
    apr_uint32_t place;
    int is_new;

    gb_segment_lock(tenant->segment);
    place = find_locked(tenant, owner->pool, owner->name);
    is_new = place == 0 || record_at(tenant, place - 1)->owner.ends <= now;
    if (place == 0) {
        place = make_room_locked(tenant, hash_of(owner->pool, owner->name)) + 1;
    }
    write_locked(tenant, place - 1, owner, is_new);
    gb_segment_unlock(tenant->segment);
}

apr_status_t gb_owners_get(gb_owner_t *owner, gb_tenant_t *tenant, const char *pool,
                           const char *name, apr_time_t now)
{
    apr_status_t rv = APR_NOTFOUND;
    apr_uint32_t place;

    gb_segment_lock(tenant->segment);
    place = find_locked(tenant, pool, name);
    if (place != 0 && record_at(tenant, place - 1)->owner.ends > now) {
        *owner = record_at(tenant, place - 1)->owner;
        rv = APR_SUCCESS;
    }
    gb_segment_unlock(tenant->segment);
    return rv;
}

void gb_owners_drop(gb_tenant_t *tenant, const char *pool, const char *name)
{
    apr_uint32_t place;

    gb_segment_lock(tenant->segment);
    place = find_locked(tenant, pool, name);
    if (place != 0) {
        gb_segment_dirty_locked(tenant, place);
        memset(record_at(tenant, place - 1), 0, sizeof(record_t));
        gb_segment_clean_locked(tenant);
    }
    gb_segment_unlock(tenant->segment);
}

/* Looks at up to STRIDE places from *pat on.  1: found, *pat is behind it. */
static int scan_locked(gb_owner_t *owner, gb_tenant_t *tenant, apr_uint32_t *pat, const char *pool,
                       const char *prefix, apr_time_t now)
{
    apr_uint32_t end = records_in(tenant->size), stop = *pat + STRIDE;
    size_t len = strlen(prefix);

    for (stop = stop < end ? stop : end; *pat < stop; (*pat)++) {
        const record_t *record = record_at(tenant, *pat);

        if (record->hash != 0 && record->owner.ends > now && strcmp(record->owner.pool, pool) == 0
            && strncmp(record->owner.name, prefix, len) == 0) {
            *owner = record->owner;
            (*pat)++;
            return 1;
        }
    }
    return 0;
}

apr_status_t gb_owners_next(gb_owner_t *owner, gb_tenant_t *tenant, apr_uint32_t *pat,
                            const char *pool, const char *prefix, apr_time_t now)
{
    int found = 0;

    while (!found && *pat < records_in(tenant->size)) {
        gb_segment_lock(tenant->segment);
        found = scan_locked(owner, tenant, pat, pool, prefix, now);
        gb_segment_unlock(tenant->segment);
    }
    return found ? APR_SUCCESS : APR_NOTFOUND;
}
