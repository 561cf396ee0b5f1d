/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared memory of texts (see recall.h).
 */
#include "base/recall.h"

#include <string.h>

#include "base/secret.h"
#include "base/timeutil.h"

#define WAYS       8    /* entries that one digest may stand in */
#define PER_ENTRY  2048 /* bytes of the ring for one entry of the index */
#define KEY_DIGEST 16

typedef struct entry_t {
    unsigned char digest[KEY_DIGEST];
    apr_uint64_t at;     /* counted from the beginning of time, not of the ring */
    apr_int64_t expires; /* monotonic; 0: empty */
    apr_uint64_t len;
    apr_uint64_t check; /* of the bytes: a writer that slept for a round of the ring spoils them */
} entry_t;

typedef struct header_t {
    apr_uint64_t head; /* where the next text goes */
    apr_uint64_t ring; /* size of the ring */
    apr_uint64_t n;    /* entries, a multiple of WAYS */
    apr_uint64_t unused;
} header_t;

_Static_assert(sizeof(entry_t) == 48, "the layout of the index is shared");
_Static_assert(sizeof(header_t) == 32, "the layout of the header is shared");

static entry_t *index_of(header_t *h)
{
    return (entry_t *)(void *)(h + 1);
}

static char *ring_of(header_t *h)
{
    return (char *)(index_of(h) + h->n);
}

static void recall_init(void *block, apr_size_t size)
{
    header_t *h = block;

    h->n = size / (PER_ENTRY + sizeof(entry_t)) / WAYS * WAYS;
    if (h->n == 0) {
        h->n = WAYS;
    }
    h->ring = size - sizeof(*h) - h->n * sizeof(entry_t);
}

/* slot is the entry's number, from 1. */
static void recall_repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    header_t *h = block;

    (void)size;
    if (slot >= 1 && slot <= h->n) {
        memset(&index_of(h)[slot - 1], 0, sizeof(entry_t));
    }
}

gb_tenant_spec_t gb_recall_spec(const char *name, apr_size_t size)
{
    gb_tenant_spec_t spec;

    memset(&spec, 0, sizeof(spec));
    spec.name = name;
    spec.version = 2;
    spec.size = size;
    spec.init = recall_init;
    spec.repair = recall_repair;
    return spec;
}

static void digest_of(unsigned char digest[KEY_DIGEST], const char *key)
{
    unsigned char whole[GB_DIGEST_LEN];

    gb_digest(whole, key, strlen(key));
    memcpy(digest, whole, KEY_DIGEST);
}

/* FNV-1a: nobody is to be kept from forging it, only mishaps are to be seen. */
static apr_uint64_t check_of(const char *text, size_t len)
{
    apr_uint64_t h = 14695981039346656037u;
    size_t i;

    for (i = 0; i < len; i++) {
        h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    }
    return h;
}

static entry_t *ways_of(header_t *h, const unsigned char *digest)
{
    apr_uint64_t n;

    memcpy(&n, digest, sizeof(n));
    return index_of(h) + n % (h->n / WAYS) * WAYS;
}

/* Whether the bytes of an entry have not been overwritten. */
static int is_whole(const header_t *h, const entry_t *e)
{
    return e->expires != 0 && h->head - e->at <= h->ring;
}

/* The entry of that digest, else the one whose text is oldest. */
static entry_t *place_for(header_t *h, const unsigned char *digest)
{
    entry_t *ways = ways_of(h, digest);
    entry_t *oldest = ways;
    int i;

    for (i = 0; i < WAYS; i++) {
        if (memcmp(ways[i].digest, digest, KEY_DIGEST) == 0) {
            return &ways[i];
        }
        if (!is_whole(h, &ways[i]) ? is_whole(h, oldest) : ways[i].at < oldest->at) {
            oldest = &ways[i];
        }
    }
    return oldest;
}

/* A text stands in one piece: the end of the ring is skipped when it does not fit there. */
static apr_uint64_t reserve(header_t *h, size_t len)
{
    apr_uint64_t at = h->head;

    if (at % h->ring + len > h->ring) {
        at += h->ring - at % h->ring;
    }
    __atomic_store_n(&h->head, at + len, __ATOMIC_RELAXED); /* see is_untouched */
    return at;
}

/* Nothing was ever put into it, which is so in most places: then nobody waits for the lock. */
static int is_untouched(const header_t *h)
{
    return __atomic_load_n(&h->head, __ATOMIC_RELAXED) == 0;
}

void gb_recall_put(gb_tenant_t *tenant, const char *key, const char *text, size_t len,
                   apr_interval_time_t ttl)
{
    header_t *h = tenant->block;
    apr_uint64_t at, check = check_of(text, len);
    unsigned char digest[KEY_DIGEST];
    entry_t *e;

    if (len > h->ring / 4) {
        return;
    }
    digest_of(digest, key);
    gb_segment_lock(tenant->segment);
    at = reserve(h, len);
    gb_segment_unlock(tenant->segment);

    memcpy(ring_of(h) + at % h->ring, text, len);

    gb_segment_lock(tenant->segment);
    e = place_for(h, digest);
    gb_segment_dirty_locked(tenant, (apr_uint32_t)(e - index_of(h)) + 1);
    memcpy(e->digest, digest, KEY_DIGEST);
    e->at = at;
    e->len = len;
    e->check = check;
    e->expires = gb_mono_now() + ttl;
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(tenant->segment);
}

static int find(gb_tenant_t *tenant, const unsigned char *digest, entry_t *found)
{
    header_t *h = tenant->block;
    const entry_t *ways;
    int i, there = 0;

    gb_segment_lock(tenant->segment);
    ways = ways_of(h, digest);
    for (i = 0; i < WAYS && !there; i++) {
        there = memcmp(ways[i].digest, digest, KEY_DIGEST) == 0 && is_whole(h, &ways[i])
                && ways[i].expires > gb_mono_now();
        if (there) {
            *found = ways[i];
        }
    }
    gb_segment_unlock(tenant->segment);
    return there;
}

const char *gb_recall_get(gb_tenant_t *tenant, const char *key, size_t *len, apr_pool_t *p)
{
    header_t *h = tenant->block;
    unsigned char digest[KEY_DIGEST];
    entry_t e;
    char *text;
    int whole;

    if (is_untouched(h)) {
        return NULL;
    }
    digest_of(digest, key);
    if (!find(tenant, digest, &e)) {
        return NULL;
    }
    text = apr_palloc(p, e.len + 1);
    memcpy(text, ring_of(h) + e.at % h->ring, e.len);
    text[e.len] = '\0';

    gb_segment_lock(tenant->segment);
    whole = is_whole(h, &e);
    gb_segment_unlock(tenant->segment);
    if (!whole || check_of(text, e.len) != e.check) {
        return NULL;
    }
    *len = e.len;
    return text;
}
