/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Projects: who shares a quota.  A key without a label is a project of its own;
 * a label (set by hand, or the hash of what Google named) brings keys together,
 * with all that is known of either side.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>

u64 pool_label_hash(const char *label)
{
    u64 hash = 0xcbf29ce484222325ULL;

    for (; *label; label++) {
        hash = (hash ^ (unsigned char)*label) * 0x100000001b3ULL;
    }
    return pool_mix(hash);
}

u32 pool_project_find(const gb_pool_t *pool, const char *label)
{
    u32 i;

    if (*label == '\0') {
        return 0;
    }
    i = pool->label_hash[pool_label_hash(label) & pool->key_mask];
    while (i && strcmp(pool->projects[i].label, label) != 0) {
        i = pool->projects[i].next_hash;
    }
    return i;
}

static void hash_in(gb_pool_t *pool, u32 project)
{
    project_rec_t *rec = &pool->projects[project];
    u32 *bucket;

    if (rec->label[0] != '\0') {
        bucket = &pool->label_hash[pool_label_hash(rec->label) & pool->key_mask];
        rec->next_hash = *bucket;
        *bucket = project;
    }
}

static void hash_out(gb_pool_t *pool, u32 project)
{
    project_rec_t *rec = &pool->projects[project];
    u32 *at;

    if (rec->label[0] == '\0') {
        return;
    }
    at = &pool->label_hash[pool_label_hash(rec->label) & pool->key_mask];
    while (*at != project) {
        at = &pool->projects[*at].next_hash;
    }
    *at = rec->next_hash;
}

u32 pool_project_get(gb_pool_t *pool, const char *label)
{
    head_t *head = pool->head;
    u32 project = pool_project_find(pool, label);
    project_rec_t *rec;

    if (project) {
        return project;
    }
    if (head->projects_free) {
        project = head->projects_free;
        head->projects_free = pool->projects[project].next_hash;
    }
    else if (head->projects_top < head->max_keys) {
        project = ++head->projects_top;
    }
    else {
        return 0;
    }
    rec = &pool->projects[project];
    memset(rec, 0, sizeof(*rec));
    apr_cpystrn(rec->label, label, sizeof(rec->label));
    hash_in(pool, project);
    POOL_IN_ORDER();
    rec->used = 1;
    return project;
}

void pool_project_label(gb_pool_t *pool, u32 project, const char *label)
{
    hash_out(pool, project);
    apr_cpystrn(pool->projects[project].label, label, GB_POOL_LABEL_LEN);
    hash_in(pool, project);
}

void pool_project_drop(gb_pool_t *pool, u32 project)
{
    project_rec_t *rec = &pool->projects[project];

    while (rec->first_cell) {
        pool_cell_free(pool, rec->first_cell);
    }
    hash_out(pool, project);
    rec->used = 0;
    rec->next_hash = pool->head->projects_free;
    pool->head->projects_free = project;
}

/* ---- keys of a project ---- */

void pool_project_join(gb_pool_t *pool, u32 slot, u32 project)
{
    project_rec_t *rec = &pool->projects[project];
    key_rec_t *key = &pool->keys[slot];
    u32 cell;

    key->project = project;
    key->next_in_project = rec->first_key;
    rec->first_key = slot;
    rec->n_keys++;
    for (cell = rec->first_cell; cell; cell = pool->cells[cell].next_in_project) {
        const cell_rec_t *c = &pool->cells[cell];

        if (c->key == 0) {
            pool_bit_put(pool_bits(pool, pool->rest, c->model), slot, pool_cell_rests(c));
        }
    }
    pool->head->models[0].changes++;
}

void pool_project_quit(gb_pool_t *pool, u32 slot)
{
    key_rec_t *key = &pool->keys[slot];
    project_rec_t *rec = &pool->projects[key->project];
    u32 *at = &rec->first_key;
    u32 cell;

    pool_own_drop(pool, slot);
    while (*at != slot) {
        at = &pool->keys[*at].next_in_project;
    }
    *at = key->next_in_project;
    rec->n_keys--;
    for (cell = rec->first_cell; cell; cell = pool->cells[cell].next_in_project) {
        pool_bit_put(pool_bits(pool, pool->rest, pool->cells[cell].model), slot, 0);
    }
    if (rec->n_keys == 0) {
        pool_project_drop(pool, key->project);
    }
    key->project = 0;
    pool->head->models[0].changes++;
}

/* ---- merging ---- */

/* Both have used the same quota, if of two names. */
static void cell_add(gb_pool_t *pool, u32 into, const cell_rec_t *from)
{
    cell_rec_t *rec = &pool->cells[into];
    int i;

    rec->successes += from->successes;
    rec->quotas += from->quotas;
    rec->strikes = rec->strikes > from->strikes ? rec->strikes : from->strikes;
    rec->rpd += from->rpd;
    rec->day_ends = rec->day_ends > from->day_ends ? rec->day_ends : from->day_ends;
    for (i = 0; i < GB_LIMIT_N; i++) {
        if (from->limit_since[i] > rec->limit_since[i]) {
            rec->limits[i] = from->limits[i];
            rec->held[i] = from->held[i];
            rec->limit_since[i] = from->limit_since[i];
        }
    }
    if (pool_cell_rests(from) && from->reason != GB_COOL_TRIAL) {
        pool_cell_rest(pool, into, (gb_pool_cool_t)from->reason, from->until);
    }
    else if (from->half_open && !pool_cell_rests(rec)) {
        rec->half_open = 1;
    }
}

void pool_project_merge(gb_pool_t *pool, u32 from, u32 into, apr_time_t mono)
{
    u32 slot, cell;

    /* Copied before it is freed: making room for the other may take any cell. */
    while ((cell = pool->projects[from].first_cell) != 0) {
        cell_rec_t copy = pool->cells[cell];

        pool_cell_free(pool, cell);
        if (copy.key == 0) {
            cell_add(pool, pool_cell_get(pool, into, copy.model, mono), &copy);
        }
    }
    while ((slot = pool->projects[from].first_key) != 0) {
        int last = pool->projects[from].n_keys == 1;

        pool_project_quit(pool, slot);
        pool_project_join(pool, slot, into);
        if (last) {
            break; /* the project went with it */
        }
    }
}
