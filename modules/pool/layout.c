/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the tables stand in the block, and how a block begins.  All sizes are
 * computed in 64 bits.
 */
#include "pool/pool.h"
#include "pool/pool_int.h"

#include <string.h>

#define SECRET_STRIDE (GB_POOL_SECRET_MAX + 8)
#define LEAST_RECORDS 4096

_Static_assert(sizeof(key_rec_t) % 8 == 0, "records are aligned");
_Static_assert(sizeof(cell_rec_t) % 8 == 0, "records are aligned");
_Static_assert(sizeof(cell_rec_t) <= 384, "a cell stays small: there are four per key");
_Static_assert(sizeof(view_rec_t) % 8 == 0, "records are aligned");

/* One table: what it costs and where it begins. */
typedef struct area_t {
    u64 at, size;
} area_t;

typedef struct layout_t {
    u32 keys, cells, holds, words, key_buckets, cell_buckets;
    area_t head, views, key, project, secret, cell, hold, heap, key_hash, label_hash, cell_hash,
        member, rest, busy, tagged, round;
    u64 size;
} layout_t;

static u32 power_of_two(u32 at_least)
{
    u32 n = 64;

    while (n < at_least) {
        n *= 2;
    }
    return n;
}

static void place(area_t *area, u64 *at, u64 count, u64 each)
{
    area->at = *at;
    area->size = count * each;
    *at = (*at + area->size + 63) & ~(u64)63;
}

static void layout_make(layout_t *l, u32 max_keys)
{
    u64 at = 0;

    l->keys = max_keys;
    l->cells = max_keys * 4 > LEAST_RECORDS ? max_keys * 4 : LEAST_RECORDS;
    l->holds = max_keys * 2 > LEAST_RECORDS ? max_keys * 2 : LEAST_RECORDS;
    l->words = max_keys / 64 + 1;
    l->key_buckets = power_of_two(max_keys);
    l->cell_buckets = power_of_two(l->cells);
    place(&l->head, &at, 1, sizeof(head_t));
    place(&l->views, &at, (u64)(GB_POOL_NAMES + 1) * (GB_POOL_MODELS + 1), sizeof(view_rec_t));
    place(&l->member, &at, (u64)(GB_POOL_NAMES + 1) * l->words, 8);
    place(&l->rest, &at, (u64)(GB_POOL_MODELS + 1) * l->words, 8);
    place(&l->busy, &at, l->words, 8);
    place(&l->tagged, &at, (u64)GB_POOL_TAGS * l->words, 8);
    place(&l->round, &at, (u64)(GB_POOL_WEIGHT_MAX + 1) * l->words, 8);
    place(&l->key, &at, (u64)max_keys + 1, sizeof(key_rec_t));
    place(&l->project, &at, (u64)max_keys + 1, sizeof(project_rec_t));
    place(&l->cell, &at, (u64)l->cells + 1, sizeof(cell_rec_t));
    place(&l->hold, &at, (u64)l->holds + 1, sizeof(hold_rec_t));
    place(&l->heap, &at, (u64)max_keys + l->cells + 1, sizeof(u32));
    place(&l->key_hash, &at, l->key_buckets, sizeof(u32));
    place(&l->label_hash, &at, l->key_buckets, sizeof(u32));
    place(&l->cell_hash, &at, l->cell_buckets, sizeof(u32));
    place(&l->secret, &at, (u64)max_keys + 1, SECRET_STRIDE);
    l->size = at;
}

apr_size_t gb_pool_size(int max_keys)
{
    layout_t l;

    if (max_keys < 1) {
        max_keys = 1;
    }
    layout_make(&l, (u32)(max_keys > GB_POOL_MAX_KEYS ? GB_POOL_MAX_KEYS : max_keys));
    return (apr_size_t)l.size;
}

/* gb_pool_size grows with each key, so the size tells the number. */
static u32 keys_of_size(apr_size_t size)
{
    u32 low = 1, high = GB_POOL_MAX_KEYS;

    while (low < high) {
        u32 mid = low + (high - low + 1) / 2;

        if (gb_pool_size((int)mid) <= size) {
            low = mid;
        }
        else {
            high = mid - 1;
        }
    }
    return low;
}

static void attach_n(gb_pool_t *pool, void *block, u32 max_keys)
{
    char *base = block;
    layout_t l;

    layout_make(&l, max_keys);
    pool->head = block;
    pool->views = (view_rec_t *)(base + l.views.at);
    pool->keys = (key_rec_t *)(base + l.key.at);
    pool->projects = (project_rec_t *)(base + l.project.at);
    pool->secrets = base + l.secret.at;
    pool->cells = (cell_rec_t *)(base + l.cell.at);
    pool->holds = (hold_rec_t *)(base + l.hold.at);
    pool->heap = (u32 *)(base + l.heap.at);
    pool->key_hash = (u32 *)(base + l.key_hash.at);
    pool->label_hash = (u32 *)(base + l.label_hash.at);
    pool->cell_hash = (u32 *)(base + l.cell_hash.at);
    pool->key_mask = l.key_buckets - 1;
    pool->cell_mask = l.cell_buckets - 1;
    pool->member = (u64 *)(base + l.member.at);
    pool->rest = (u64 *)(base + l.rest.at);
    pool->busy = (u64 *)(base + l.busy.at);
    pool->tagged = (u64 *)(base + l.tagged.at);
    pool->round = (u64 *)(base + l.round.at);
}

void pool_attach(gb_pool_t *pool, void *block, apr_size_t size)
{
    attach_n(pool, block, keys_of_size(size));
}

char *pool_secret_at(const gb_pool_t *pool, u32 slot)
{
    return pool->secrets + (apr_size_t)slot * SECRET_STRIDE;
}

void gb_pool_init(void *block, apr_size_t size)
{
    head_t *head = block;
    layout_t l;

    layout_make(&l, keys_of_size(size));
    head->size = l.size;
    head->max_keys = l.keys;
    head->max_cells = l.cells;
    head->max_holds = l.holds;
    head->words = l.words;
    head->random = 0x9e3779b97f4a7c15ULL;
    head->magic = POOL_MAGIC;
}

gb_pool_t *gb_pool_attach(void *block, apr_size_t size, apr_pool_t *p)
{
    gb_pool_t *pool = apr_pcalloc(p, sizeof(*pool));

    pool_attach(pool, block, size);
    return pool;
}

int gb_pool_max_keys(const gb_pool_t *pool)
{
    return (int)pool->head->max_keys;
}

void gb_pool_repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    gb_pool_t pool;

    (void)slot; /* an edit touches chains and bits of many: all of them are made anew */
    pool_attach(&pool, block, size);
    pool_rebuild(&pool);
}

apr_uint64_t gb_pool_changes_locked(gb_pool_t *pool)
{
    return pool->head->changes;
}

void gb_pool_rules_init(gb_pool_rules_t *rules)
{
    memset(rules, 0, sizeof(*rules));
    rules->policy = GB_POLICY_ROUND_ROBIN;
    rules->max_failures = 3;
    rules->cool_first = apr_time_from_sec(30);
    rules->cool_max = apr_time_from_sec(600);
    rules->cool_factor = 2;
    rules->breaker_failures = 3;
    rules->breaker_window = apr_time_from_sec(30);
    rules->breaker_open = apr_time_from_sec(5);
    rules->breaker_max = apr_time_from_sec(60);
    rules->guard_window = apr_time_from_sec(60);
    rules->blame_window = apr_time_from_sec(60);
    rules->retry_first = apr_time_from_sec(60);
    rules->retry_max = apr_time_from_sec(3600);
    rules->trial_time = apr_time_from_sec(120);
    rules->jitter = 100;
}
