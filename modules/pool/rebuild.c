/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After an editor died: records that make no sense are dropped, and everything
 * that is derived from records - chains, hashes, heap, bits, counts, free lists -
 * is made anew.  Also the judge of the tests: whether all of it agrees.
 */
#include "pool/pool_int.h"

/* ---- records ---- */

static void limit_tops(head_t *head)
{
    head->keys_top = head->keys_top > head->max_keys ? head->max_keys : head->keys_top;
    head->projects_top = head->projects_top > head->max_keys ? head->max_keys : head->projects_top;
    head->cells_top = head->cells_top > head->max_cells ? head->max_cells : head->cells_top;
    head->holds_top = head->holds_top > head->max_holds ? head->max_holds : head->holds_top;
}

static void wipe_derived(gb_pool_t *pool)
{
    head_t *head = pool->head;
    apr_size_t row = head->words * sizeof(u64);
    u32 i;

    memset(pool->key_hash, 0, ((apr_size_t)pool->key_mask + 1) * sizeof(u32));
    memset(pool->label_hash, 0, ((apr_size_t)pool->key_mask + 1) * sizeof(u32));
    memset(pool->cell_hash, 0, ((apr_size_t)pool->cell_mask + 1) * sizeof(u32));
    memset(pool->member, 0, row * (GB_POOL_NAMES + 1));
    memset(pool->rest, 0, row * (GB_POOL_MODELS + 1));
    memset(pool->busy, 0, row);
    memset(pool->tagged, 0, row * GB_POOL_TAGS);
    memset(pool->round, 0, row * (GB_POOL_WEIGHT_MAX + 1));
    head->keys_free = head->cells_free = head->holds_free = head->projects_free = 0;
    head->heap_n = 0;
    for (i = 1; i <= GB_POOL_NAMES; i++) {
        pool_rec_t *rec = &head->pools[i];

        rec->n_total = rec->n_off = 0;
        rec->weight_max = 1;
        memset(rec->n_state, 0, sizeof(rec->n_state));
        rec->n_blame = rec->n_blame > BLAME_N ? 0 : rec->n_blame;
        rec->changes++;
    }
    for (i = 0; i <= GB_POOL_MODELS; i++) {
        head->models[i].changes++;
    }
    for (i = 1; i <= GB_POOL_CHILDREN; i++) {
        head->children[i].first_hold = 0;
    }
}

static int key_makes_sense(const gb_pool_t *pool, const key_rec_t *key)
{
    return key->used && key->pool >= 1 && key->pool <= GB_POOL_NAMES
           && pool->head->pools[key->pool].name[0] != '\0' && key->state <= GB_KEY_INVALID
           && key->weight >= 1 && key->weight <= GB_POOL_WEIGHT_MAX
           && key->secret_len <= GB_POOL_SECRET_MAX;
}

static int project_makes_sense(const gb_pool_t *pool, u32 project)
{
    return project >= 1 && project <= pool->head->projects_top && pool->projects[project].used;
}

/* ---- projects and keys ---- */

static void projects_begin(gb_pool_t *pool)
{
    u32 i;

    for (i = 1; i <= pool->head->projects_top; i++) {
        project_rec_t *rec = &pool->projects[i];

        rec->n_keys = rec->first_key = rec->first_cell = 0;
        rec->next_hash = 0;
    }
}

static void keys_rebuild(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 i;

    for (i = 1; i <= head->keys_top; i++) {
        key_rec_t *key = &pool->keys[i];

        key->timer = 0;
        key->in_flight = 0;
        if (!key_makes_sense(pool, key)) {
            key->used = 0;
            key->retry_at = 0;
            memset(pool_secret_at(pool, i), 0, GB_POOL_SECRET_MAX);
            key->next_hash = head->keys_free;
            head->keys_free = i;
            continue;
        }
        if (project_makes_sense(pool, key->project)) {
            pool->projects[key->project].n_keys++;
        }
    }
}

/* Those without keys are free; then the labels of the others are hashed, the first of two equal
 * ones wins. */
static void projects_rebuild(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 i;

    for (i = 1; i <= head->projects_top; i++) {
        project_rec_t *rec = &pool->projects[i];
        u32 *bucket;

        if (rec->n_keys == 0) {
            rec->used = 0;
            rec->next_hash = head->projects_free;
            head->projects_free = i;
            continue;
        }
        rec->n_keys = 0; /* joining counts */
        if (pool_project_find(pool, rec->label)) {
            rec->label[0] = '\0';
        }
        if (rec->label[0] != '\0') {
            bucket = &pool->label_hash[pool_label_hash(rec->label) & pool->key_mask];
            rec->next_hash = *bucket;
            *bucket = i;
        }
    }
}

/* A key that died between two projects gets one of its own: it is not lost. */
static void keys_join(gb_pool_t *pool)
{
    u32 i;

    for (i = 1; i <= pool->head->keys_top; i++) {
        key_rec_t *key = &pool->keys[i];

        if (!key->used) {
            continue;
        }
        pool_key_hash_in(pool, i);
        pool_project_join(pool, i,
                          project_makes_sense(pool, key->project) ? key->project
                                                                  : pool_project_get(pool, ""));
        pool_key_count(pool, i, 1);
        pool_key_bits(pool, i);
    }
}

/* ---- cells, holds ---- */

static int cell_makes_sense(const gb_pool_t *pool, const cell_rec_t *rec)
{
    return project_makes_sense(pool, rec->project) && rec->model <= GB_POOL_MODELS
           && (rec->model == 0 || pool->head->models[rec->model].used)
           && (rec->key == 0
               || (rec->key <= pool->head->keys_top && pool->keys[rec->key].used
                   && pool->keys[rec->key].project == rec->project))
           && pool_cell_twin(pool, rec) == 0;
}

static void cells_rebuild(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 i;

    for (i = 1; i <= head->cells_top; i++) {
        cell_rec_t *rec = &pool->cells[i];

        rec->timer = 0;
        if (!cell_makes_sense(pool, rec)) {
            rec->project = 0;
            rec->next_hash = head->cells_free;
            head->cells_free = i;
            continue;
        }
        pool_cell_hash_in(pool, i);
        pool_cell_bits(pool, i);
    }
}

static void holds_rebuild(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 i;

    for (i = 1; i <= head->holds_top; i++) {
        hold_rec_t *rec = &pool->holds[i];
        child_rec_t *child;

        if (rec->key < 1 || rec->key > head->keys_top || rec->child < 1
            || rec->child > GB_POOL_CHILDREN || head->children[rec->child].pid == 0) {
            rec->key = 0;
            rec->next = head->holds_free;
            head->holds_free = i;
            continue;
        }
        child = &head->children[rec->child];
        rec->prev = 0;
        rec->next = child->first_hold;
        if (rec->next) {
            pool->holds[rec->next].prev = i;
        }
        child->first_hold = i;
        if (pool->keys[rec->key].used && pool->keys[rec->key].generation == rec->generation) {
            pool->keys[rec->key].in_flight++;
            pool_busy_put(pool, rec->key);
        }
    }
}

void pool_rebuild(gb_pool_t *pool)
{
    limit_tops(pool->head);
    wipe_derived(pool);
    pool_models_hash(pool);
    projects_begin(pool);
    keys_rebuild(pool);
    projects_rebuild(pool);
    keys_join(pool);
    cells_rebuild(pool);
    holds_rebuild(pool);
    pool_timer_rebuild(pool);
    pool->head->changes++;
}

/* ---- the judge ---- */

#define INSIST(what, text)                                                                         \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            *why = text;                                                                           \
            return 0;                                                                              \
        }                                                                                          \
    } while (0)

static int chained(const gb_pool_t *pool, u32 slot)
{
    u32 i = pool->projects[pool->keys[slot].project].first_key;

    while (i && i != slot) {
        i = pool->keys[i].next_in_project;
    }
    return i == slot;
}

static int key_sound(gb_pool_t *pool, u32 slot, const char **why)
{
    const key_rec_t *key = &pool->keys[slot];
    u64 told = key->successes + key->neutral + key->quotas + key->faults + key->deaths + key->lost
               + key->in_flight;
    int in_turn = key->enabled && !key->reserved
                  && (key->state == GB_KEY_ACTIVE
                      || (key->state == GB_KEY_TRIAL && !key->trial_hold));

    INSIST(key_makes_sense(pool, key), "a key's record makes no sense");
    INSIST(project_makes_sense(pool, key->project), "a key has no project");
    INSIST(chained(pool, slot), "a key is not in its project's chain");
    INSIST(pool_bit_get(pool_bits(pool, pool->member, key->pool), slot) == in_turn,
           "a member bit is wrong");
    INSIST(told <= key->picks, "more was reported than picked");
    INSIST((key->timer != 0) == (key->retry_at != 0), "a key's deadline is not in the heap");
    INSIST(key->state != GB_KEY_FAILED || key->retry_at, "a failed key has no trial");
    return 1;
}

static int cell_sound(gb_pool_t *pool, u32 cell, const char **why)
{
    const cell_rec_t *rec = &pool->cells[cell];
    u32 slot;

    INSIST(pool_cell_twin(pool, rec) == cell, "a cell is not found");
    INSIST(rec->key == 0 || pool->keys[rec->key].project == rec->project,
           "a key's cell is a stranger's");
    INSIST((rec->timer != 0) == (rec->until != 0), "a cell's deadline is not in the heap");
    for (slot = pool->projects[rec->project].first_key; slot;
         slot = pool->keys[slot].next_in_project) {
        INSIST(pool_bit_get(pool_bits(pool, pool->rest, rec->model), slot)
                   == pool_slot_rests(pool, slot, rec->model),
               "a rest bit is wrong");
    }
    return 1;
}

static int counts_sound(gb_pool_t *pool, const char **why)
{
    u32 total[GB_POOL_NAMES + 1] = {0}, off[GB_POOL_NAMES + 1] = {0}, i;
    u64 in_flight = 0, held = 0;

    for (i = 1; i <= pool->head->keys_top; i++) {
        if (pool->keys[i].used) {
            total[pool->keys[i].pool]++;
            off[pool->keys[i].pool] += !pool->keys[i].enabled;
            in_flight += pool->keys[i].in_flight;
        }
    }
    for (i = 1; i <= pool->head->holds_top; i++) {
        const hold_rec_t *rec = &pool->holds[i];

        held += rec->key && pool->keys[rec->key].used
                && pool->keys[rec->key].generation == rec->generation;
    }
    INSIST(in_flight == held, "calls in flight and holds differ");
    for (i = 1; i <= GB_POOL_NAMES; i++) {
        const pool_rec_t *rec = &pool->head->pools[i];

        INSIST(rec->n_total == total[i] && rec->n_off == off[i], "a pool's counts are wrong");
        INSIST(rec->n_state[0] + rec->n_state[1] + rec->n_state[2] + rec->n_state[3] + rec->n_off
                   == rec->n_total,
               "a pool's states do not add up");
    }
    return 1;
}

int gb_pool_sound_locked(gb_pool_t *pool, const char **why)
{
    u32 i;

    INSIST(pool->head->magic == POOL_MAGIC, "the block is none");
    for (i = 1; i <= pool->head->keys_top; i++) {
        if (pool->keys[i].used && !key_sound(pool, i, why)) {
            return 0;
        }
    }
    for (i = 1; i <= pool->head->cells_top; i++) {
        if (pool->cells[i].project && !cell_sound(pool, i, why)) {
            return 0;
        }
    }
    INSIST(pool_timer_sound(pool), "the heap is not in order");
    return counts_sound(pool, why);
}
