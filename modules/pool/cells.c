/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models and cells: the table of names, the cells of each project and of its
 * single keys, and what begins and ends a rest.  A cell rests exactly while it
 * has a deadline; the bits of its keys follow it.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>

#define EVICT_LOOK 64

/* ---- models ---- */

static u64 name_hash(const char *name)
{
    u64 hash = 0xcbf29ce484222325ULL;

    for (; *name; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3ULL;
    }
    return pool_mix(hash);
}

u32 pool_model_find(const gb_pool_t *pool, const char *name)
{
    const head_t *head = pool->head;
    u32 at = (u32)name_hash(name) & (MODEL_BUCKETS - 1);
    u32 model;

    for (; (model = head->model_hash[at]) != 0; at = (at + 1) & (MODEL_BUCKETS - 1)) {
        if (strcmp(head->models[model].name, name) == 0) {
            return model;
        }
    }
    return 0;
}

void pool_models_hash(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 i;

    memset(head->model_hash, 0, sizeof(head->model_hash));
    for (i = 1; i <= GB_POOL_MODELS; i++) {
        u32 at = (u32)name_hash(head->models[i].name) & (MODEL_BUCKETS - 1);

        if (!head->models[i].used) {
            continue;
        }
        while (head->model_hash[at] != 0) {
            at = (at + 1) & (MODEL_BUCKETS - 1);
        }
        head->model_hash[at] = i;
    }
}

static u32 model_oldest(const head_t *head)
{
    u32 i, best = 1;

    for (i = 1; i <= GB_POOL_MODELS; i++) {
        if (!head->models[i].used) {
            return i;
        }
        if (head->models[i].last_used < head->models[best].last_used) {
            best = i;
        }
    }
    return best;
}

/* Nothing of the old name may stick to the new one. */
static void model_forget(gb_pool_t *pool, u32 model)
{
    u32 i;

    for (i = 1; i <= pool->head->cells_top; i++) {
        if (pool->cells[i].project && pool->cells[i].model == model) {
            pool_cell_free(pool, i);
        }
    }
    for (i = 1; i <= GB_POOL_NAMES; i++) {
        memset(pool_view(pool, i, model), 0, sizeof(view_rec_t));
        pool_blame_forget(&pool->head->pools[i], 0, model);
    }
    memset(pool_bits(pool, pool->rest, model), 0, pool->head->words * sizeof(u64));
}

u32 pool_model_get(gb_pool_t *pool, const char *name, apr_time_t mono)
{
    head_t *head = pool->head;
    u32 model = pool_model_find(pool, name);

    if (*name == '\0' || strlen(name) >= GB_POOL_MODEL_LEN) {
        return 0;
    }
    if (model == 0) {
        model = model_oldest(head);
        if (head->models[model].used) {
            model_forget(pool, model);
            head->models[model].used = 0;
        }
        apr_cpystrn(head->models[model].name, name, GB_POOL_MODEL_LEN);
        POOL_IN_ORDER();
        head->models[model].used = 1;
        pool_models_hash(pool);
    }
    head->models[model].last_used = mono;
    return model;
}

/* ---- the table of cells ---- */

static u32 *bucket_of(const gb_pool_t *pool, u32 project, u32 key, u32 model)
{
    u64 hash = pool_mix(((u64)key << 40) ^ ((u64)project << 16) ^ model);

    return &pool->cell_hash[hash & pool->cell_mask];
}

static u32 find(const gb_pool_t *pool, u32 project, u32 key, u32 model)
{
    u32 i = *bucket_of(pool, project, key, model);

    while (i
           && (pool->cells[i].project != project || pool->cells[i].key != key
               || pool->cells[i].model != model)) {
        i = pool->cells[i].next_hash;
    }
    return i;
}

u32 pool_cell_find(const gb_pool_t *pool, u32 project, u32 model)
{
    return find(pool, project, 0, model);
}

u32 pool_own_find(const gb_pool_t *pool, u32 slot, u32 model)
{
    return find(pool, pool->keys[slot].project, slot, model);
}

u32 pool_cell_twin(const gb_pool_t *pool, const cell_rec_t *cell)
{
    return find(pool, cell->project, cell->key, cell->model);
}

void pool_cell_hash_in(gb_pool_t *pool, u32 cell)
{
    cell_rec_t *rec = &pool->cells[cell];
    u32 *bucket = bucket_of(pool, rec->project, rec->key, rec->model);

    rec->next_hash = *bucket;
    rec->next_in_project = pool->projects[rec->project].first_cell;
    pool->projects[rec->project].first_cell = cell;
    *bucket = cell;
}

static void unlink_hash(gb_pool_t *pool, u32 cell)
{
    const cell_rec_t *rec = &pool->cells[cell];
    u32 *at = bucket_of(pool, rec->project, rec->key, rec->model);

    while (*at != cell) {
        at = &pool->cells[*at].next_hash;
    }
    *at = rec->next_hash;
}

static void unlink_project(gb_pool_t *pool, u32 cell)
{
    u32 *at = &pool->projects[pool->cells[cell].project].first_cell;

    while (*at != cell) {
        at = &pool->cells[*at].next_in_project;
    }
    *at = pool->cells[cell].next_in_project;
}

void pool_cell_free(gb_pool_t *pool, u32 cell)
{
    cell_rec_t *rec = &pool->cells[cell];

    pool_timer_cell_off(pool, cell);
    pool_cell_bits(pool, cell);
    unlink_hash(pool, cell);
    unlink_project(pool, cell);
    rec->project = 0;
    rec->next_hash = pool->head->cells_free;
    pool->head->cells_free = cell;
}

/* Of a few cells in turn: the one whose loss costs least - idle ones before resting ones, those
 * that were used long ago or will rest shortest first. */
static u32 evict(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 best = 0, n;
    i64 best_cost = 0;

    for (n = 0; n < EVICT_LOOK; n++) {
        const cell_rec_t *rec;
        i64 cost;

        head->evict_at = head->evict_at % head->cells_top + 1;
        rec = &pool->cells[head->evict_at];
        cost = pool_cell_rests(rec) ? (INT64_MAX / 2) + rec->until : rec->last_used;
        if (best == 0 || cost < best_cost) {
            best = head->evict_at;
            best_cost = cost;
        }
    }
    return best;
}

static u32 cell_take(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 cell;

    if (head->cells_free == 0 && head->cells_top < head->max_cells) {
        return ++head->cells_top;
    }
    if (head->cells_free == 0) {
        pool_cell_free(pool, evict(pool));
    }
    cell = head->cells_free;
    head->cells_free = pool->cells[cell].next_hash;
    return cell;
}

static u32 get(gb_pool_t *pool, u32 project, u32 key, u32 model, apr_time_t mono)
{
    u32 cell = find(pool, project, key, model);

    if (cell == 0) {
        cell_rec_t *rec;

        cell = cell_take(pool);
        rec = &pool->cells[cell];
        memset(rec, 0, sizeof(*rec));
        rec->model = model;
        rec->key = key;
        POOL_IN_ORDER();
        rec->project = project;
        pool_cell_hash_in(pool, cell);
    }
    pool->cells[cell].last_used = mono;
    return cell;
}

u32 pool_cell_get(gb_pool_t *pool, u32 project, u32 model, apr_time_t mono)
{
    return get(pool, project, 0, model, mono);
}

u32 pool_own_get(gb_pool_t *pool, u32 slot, u32 model, apr_time_t mono)
{
    return get(pool, pool->keys[slot].project, slot, model, mono);
}

/* Before a key leaves its project: minutes of rest are not worth being carried along. */
void pool_own_drop(gb_pool_t *pool, u32 slot)
{
    u32 cell = pool->projects[pool->keys[slot].project].first_cell, next;

    for (; cell; cell = next) {
        next = pool->cells[cell].next_in_project;
        if (pool->cells[cell].key == slot) {
            pool_cell_free(pool, cell);
        }
    }
}

/* ---- rest ---- */

static void told_everybody(gb_pool_t *pool, u32 model)
{
    pool->head->models[model].changes++;
    pool->head->changes++;
}

int pool_slot_rests(const gb_pool_t *pool, u32 slot, u32 model)
{
    u32 cell = pool_cell_find(pool, pool->keys[slot].project, model);
    u32 own = pool_own_find(pool, slot, model);

    return (cell && pool_cell_rests(&pool->cells[cell]))
           || (own && pool_cell_rests(&pool->cells[own]));
}

void pool_cell_bits(gb_pool_t *pool, u32 cell)
{
    const cell_rec_t *rec = &pool->cells[cell];
    u64 *bits = pool_bits(pool, pool->rest, rec->model);
    u32 slot = rec->key ? rec->key : pool->projects[rec->project].first_key;

    while (slot) {
        pool_bit_put(bits, slot, pool_cell_rests(rec) || pool_slot_rests(pool, slot, rec->model));
        slot = rec->key ? 0 : pool->keys[slot].next_in_project;
    }
    told_everybody(pool, rec->model);
}

/* A rest is never shortened by another one: the longest of them holds. */
void pool_cell_rest(gb_pool_t *pool, u32 cell, gb_pool_cool_t reason, apr_time_t until)
{
    cell_rec_t *rec = &pool->cells[cell];

    if (pool_cell_rests(rec) && rec->reason != GB_COOL_TRIAL && rec->until >= until) {
        return;
    }
    rec->reason = (unsigned char)reason;
    if (reason != GB_COOL_TRIAL) {
        rec->half_open = 0;
        rec->trial_hold = 0;
        rec->day_told = 0;
    }
    pool_timer_cell(pool, cell, until);
    pool_cell_bits(pool, cell);
}

void pool_cell_serve(gb_pool_t *pool, u32 cell)
{
    cell_rec_t *rec = &pool->cells[cell];

    rec->reason = GB_COOL_NONE;
    rec->half_open = 0;
    rec->trial_hold = 0;
    pool_timer_cell_off(pool, cell);
    pool_cell_bits(pool, cell);
}

/* Short and certain rests end at once; after the others one real call tries it first. */
static int wants_trial(const cell_rec_t *rec)
{
    switch ((gb_pool_cool_t)rec->reason) {
    case GB_COOL_NONE:
    case GB_COOL_MINUTE:
    case GB_COOL_LEARNT:
    case GB_COOL_AMBIGUOUS:
        return 0;
    case GB_COOL_DAY:
    case GB_COOL_UNAVAILABLE:
    case GB_COOL_MONTH:
    case GB_COOL_REGION:
    case GB_COOL_ACCESS:
    case GB_COOL_TRIAL:
        return 1;
    }
    return 0;
}

void pool_cell_fired(gb_pool_t *pool, u32 cell)
{
    cell_rec_t *rec = &pool->cells[cell];

    if (rec->reason == GB_COOL_DAY && rec->day_told) {
        rec->rpd = 0; /* Google's day ended at another time than ours */
    }
    rec->half_open = (unsigned char)wants_trial(rec);
    rec->trial_hold = 0;
    if (!rec->half_open) {
        rec->reason = GB_COOL_NONE;
    }
    pool_cell_bits(pool, cell);
}
