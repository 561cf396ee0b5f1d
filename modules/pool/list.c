/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows for those who look from outside: pages, persistence, the recovery check,
 * and the next generation's block.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>

#include "base/timeutil.h"

#define CHECKS_MAX  3 /* days on which a revoked key is asked again, then it is left */
#define CHECK_TAKEN (600 * (i64)APR_USEC_PER_SEC)

/* ---- keys ---- */

/* The next cell that a key must mind. */
static u32 cell_of_key(const gb_pool_t *pool, u32 cell, u32 slot)
{
    while (cell && pool->cells[cell].key && pool->cells[cell].key != slot) {
        cell = pool->cells[cell].next_in_project;
    }
    return cell;
}

static int cells_resting(const gb_pool_t *pool, u32 slot)
{
    u32 cell = cell_of_key(pool, pool->projects[pool->keys[slot].project].first_cell, slot);
    int n = 0;

    for (; cell; cell = cell_of_key(pool, pool->cells[cell].next_in_project, slot)) {
        n += pool_cell_rests(&pool->cells[cell]);
    }
    return n;
}

static void key_state_out(const gb_pool_t *pool, u32 slot, gb_pool_key_t *row,
                          const gb_pool_clock_t *clock)
{
    const key_rec_t *key = &pool->keys[slot];

    row->state = (gb_pool_state_t)key->state;
    row->revocable = key->revocable;
    row->failures = (int)key->failures;
    row->strikes = (int)key->strikes;
    row->checks = (int)key->checks;
    row->added = key->added;
    row->state_since = key->state_since;
    row->last_used = key->last_used;
    row->next_check = key->next_check;
    row->retry_at = pool_to_wall(key->retry_at, clock);
    memcpy(row->row, key->row, sizeof(row->row));
    memcpy(row->text, key->text, sizeof(row->text));
    row->text_at = key->text_at;
    row->slot = slot;
    row->generation = key->generation;
    row->project_slot = key->project;
    row->in_flight = (int)key->in_flight;
    row->resting = cells_resting(pool, slot);
    row->check_wanted = key->check_wanted;
}

static void key_counters_out(const key_rec_t *key, gb_pool_key_t *row, const gb_pool_clock_t *clock)
{
    int today = clock->wall < key->day_ends;

    row->picks = key->picks;
    row->successes = key->successes;
    row->neutral = key->neutral;
    row->quotas = key->quotas;
    row->faults = key->faults;
    row->deaths = key->deaths;
    row->lost = key->lost;
    row->prompt_tokens = key->prompt_tokens;
    row->total_tokens = key->total_tokens;
    row->day_calls = today ? key->day_calls : 0;
    row->day_tokens = today ? key->day_tokens : 0;
    row->day_ends = key->day_ends;
}

static void key_out(const gb_pool_t *pool, u32 slot, gb_pool_key_t *row,
                    const gb_pool_clock_t *clock)
{
    const key_rec_t *key = &pool->keys[slot];

    memset(row, 0, sizeof(*row));
    memcpy(row->pool, pool->head->pools[key->pool].name, sizeof(row->pool));
    memcpy(row->id, key->id, sizeof(row->id));
    memcpy(row->digest, key->digest, sizeof(row->digest));
    memcpy(row->project, pool->projects[key->project].label, sizeof(row->project));
    row->project_by_hand = key->by_hand;
    pool_tags_text(pool, key->tags, row->tags, sizeof(row->tags));
    memcpy(row->note, key->note, sizeof(row->note));
    row->weight = key->weight;
    row->enabled = key->enabled;
    row->reserved = key->reserved;
    row->source = key->source;
    key_state_out(pool, slot, row, clock);
    key_counters_out(key, row, clock);
}

apr_status_t gb_pool_get_locked(gb_pool_t *pool, apr_uint32_t slot, gb_pool_key_t *key,
                                const gb_pool_clock_t *clock)
{
    if (slot < 1 || slot > pool->head->keys_top || !pool->keys[slot].used) {
        return APR_NOTFOUND;
    }
    key_out(pool, slot, key, clock);
    return APR_SUCCESS;
}

int gb_pool_list_locked(gb_pool_t *pool, const char *name, apr_uint32_t *pat, gb_pool_key_t *rows,
                        int n, const gb_pool_clock_t *clock)
{
    u32 wanted = name ? pool_name_find(pool, name) : 0;
    int got = 0;

    if (name && wanted == 0) {
        return 0;
    }
    for (; *pat <= pool->head->keys_top && got < n; ++*pat) {
        const key_rec_t *key = &pool->keys[*pat];

        if (key->used && (wanted == 0 || key->pool == wanted)) {
            key_out(pool, *pat, &rows[got++], clock);
        }
    }
    return got;
}

/* ---- the recovery check ---- */

static int is_due(const key_rec_t *key, apr_interval_time_t interval, apr_time_t wall)
{
    if (!key->enabled || wall < key->next_check) {
        return 0;
    }
    if (key->check_wanted) {
        return 1;
    }
    if (interval == 0) {
        return 0;
    }
    if (key->state == GB_KEY_INVALID) {
        return key->revocable && (key->revocable > 1 || key->checks < CHECKS_MAX);
    }
    return (key->state == GB_KEY_FAILED || key->state == GB_KEY_TRIAL)
           && wall >= key->state_since + interval;
}

int gb_pool_due_locked(gb_pool_t *pool, const char *name, gb_pool_key_t *rows, int n,
                       apr_interval_time_t interval, const gb_pool_clock_t *clock)
{
    u32 wanted = pool_name_find(pool, name), i;
    int got = 0;

    for (i = 1; i <= pool->head->keys_top && got < n; i++) {
        key_rec_t *key = &pool->keys[i];

        if (key->used && key->pool == wanted && is_due(key, interval, clock->wall)) {
            key_out(pool, i, &rows[got++], clock);
            key->next_check = clock->wall + (interval > CHECK_TAKEN ? interval : CHECK_TAKEN);
        }
    }
    return got;
}

/* ---- cells ---- */

static void cell_out(gb_pool_t *pool, u32 cell, gb_pool_cell_t *row, const gb_pool_clock_t *clock)
{
    cell_rec_t *rec = &pool->cells[cell];
    const project_rec_t *project = &pool->projects[rec->project];
    int i;

    memset(row, 0, sizeof(*row));
    row->project_slot = rec->project;
    memcpy(row->project, project->label, sizeof(row->project));
    memcpy(row->digest, pool->keys[rec->key ? rec->key : project->first_key].digest,
           sizeof(row->digest));
    row->own = rec->key != 0;
    memcpy(row->model, pool->head->models[rec->model].name, sizeof(row->model));
    row->reason = (gb_pool_cool_t)rec->reason;
    row->until = pool_to_wall(rec->until, clock);
    row->half_open = rec->half_open;
    row->strikes = (int)rec->strikes;
    for (i = 0; i < GB_LIMIT_N; i++) {
        row->limits[i] = rec->limits[i];
        row->held[i] = rec->held[i];
        row->limit_since[i] = pool_to_wall(rec->limit_since[i], clock);
        row->used[i] = pool_window_used(rec, (gb_pool_limit_t)i, clock);
    }
    row->day_ends = rec->day_ends;
    row->successes = rec->successes;
    row->quotas = rec->quotas;
}

int gb_pool_cells_locked(gb_pool_t *pool, apr_uint32_t *pat, gb_pool_cell_t *rows, int n,
                         const gb_pool_clock_t *clock)
{
    int got = 0;

    for (; *pat <= pool->head->cells_top && got < n; ++*pat) {
        if (pool->cells[*pat].project) {
            cell_out(pool, *pat, &rows[got++], clock);
        }
    }
    return got;
}

int gb_pool_key_cells_locked(gb_pool_t *pool, apr_uint32_t slot, gb_pool_cell_t *rows, int n,
                             const gb_pool_clock_t *clock)
{
    u32 cell = slot >= 1 && slot <= pool->head->keys_top && pool->keys[slot].used
                   ? pool->projects[pool->keys[slot].project].first_cell
                   : 0;
    int got = 0;

    cell = cell_of_key(pool, cell, slot);
    for (; cell && got < n; cell = cell_of_key(pool, pool->cells[cell].next_in_project, slot)) {
        cell_out(pool, cell, &rows[got++], clock);
    }
    return got;
}

static u32 key_of_digest(gb_pool_t *pool, const unsigned char *digest)
{
    u32 i, slot;

    for (i = 1; i <= GB_POOL_NAMES; i++) {
        const char *name = pool->head->pools[i].name;

        slot = *name ? gb_pool_find_locked(pool, name, digest, NULL) : 0;
        if (slot) {
            return slot;
        }
    }
    return 0;
}

void gb_pool_restore_cell_locked(gb_pool_t *pool, const gb_pool_cell_t *row,
                                 const gb_pool_clock_t *clock)
{
    u32 slot = key_of_digest(pool, row->digest), model, cell;
    cell_rec_t *rec;
    int i;

    model = pool_model_get(pool, row->model, clock->mono);
    if (slot == 0 || (row->model[0] != '\0' && model == 0)) {
        return;
    }
    cell = row->own ? pool_own_get(pool, slot, model, clock->mono)
                    : pool_cell_get(pool, pool->keys[slot].project, model, clock->mono);
    rec = &pool->cells[cell];
    rec->strikes = (u32)row->strikes;
    rec->successes = row->successes;
    rec->quotas = row->quotas;
    rec->day_ends = row->day_ends;
    rec->rpd = (u64)row->used[GB_LIMIT_RPD];
    for (i = 0; i < GB_LIMIT_N; i++) {
        rec->limits[i] = row->limits[i];
        rec->held[i] = row->held[i] != 0;
        rec->limit_since[i] = pool_to_mono(row->limit_since[i], clock);
    }
    if (row->until && row->reason != GB_COOL_TRIAL) {
        /* One that has passed meanwhile ends with the next look at the clock, as any other. */
        pool_cell_rest(pool, cell, row->reason, pool_to_mono(row->until, clock));
    }
    else if (row->half_open || row->reason == GB_COOL_TRIAL) {
        rec->half_open = 1;
        rec->reason = GB_COOL_TRIAL;
    }
}

/* ---- the next generation ---- */

static void adopt_keys(gb_pool_t *pool, gb_pool_t *from, const gb_pool_clock_t *clock)
{
    gb_pool_key_t row;
    u32 i, slot;

    for (i = 1; i <= GB_POOL_NAMES; i++) {
        if (from->head->pools[i].name[0] != '\0') {
            gb_pool_open_locked(pool, from->head->pools[i].name);
        }
    }
    for (i = 1; i <= from->head->keys_top; i++) {
        const key_rec_t *key = &from->keys[i];

        if (key->used) {
            key_out(from, i, &row, clock);
            row.lost += key->in_flight; /* their reports go to the old block */
            gb_pool_add_locked(pool, &row, pool_secret_at(from, i), key->secret_len, clock, &slot);
        }
    }
}

static void adopt_cells(gb_pool_t *pool, gb_pool_t *from, const gb_pool_clock_t *clock)
{
    gb_pool_cell_t row;
    u32 i, slot, into;

    for (i = 1; i <= from->head->cells_top; i++) {
        const cell_rec_t *cell = &from->cells[i];

        if (cell->project == 0) {
            continue;
        }
        cell_out(from, i, &row, clock);
        gb_pool_restore_cell_locked(pool, &row, clock);
        slot = row.own ? 0 : key_of_digest(pool, row.digest);
        into = slot ? pool_cell_find(pool, pool->keys[slot].project,
                                     pool_model_find(pool, row.model))
                    : 0;
        if (into) {
            memcpy(pool->cells[into].rpm, cell->rpm, sizeof(cell->rpm));
            memcpy(pool->cells[into].tpm, cell->tpm, sizeof(cell->tpm));
            pool->cells[into].rpm_slice = cell->rpm_slice;
            pool->cells[into].tpm_slice = cell->tpm_slice;
        }
    }
}

/* Another number of keys: the records are carried over one by one.  Another version has nothing
 * that we could read; configuration and the saved state bring its keys back.  The segment has no
 * clock to give, so this alone reads it. */
void gb_pool_adopt(void *block, apr_size_t size, const void *old, apr_size_t old_size,
                   apr_uint32_t old_version)
{
    gb_pool_clock_t clock = {gb_mono_now(), apr_time_now()};
    gb_pool_t pool, from;

    if (old_version != GB_POOL_VERSION) {
        return;
    }
    pool_attach(&pool, block, size);
    pool_attach(&from, (void *)(apr_uintptr_t)old, old_size);
    adopt_keys(&pool, &from, &clock);
    adopt_cells(&pool, &from, &clock);
}
