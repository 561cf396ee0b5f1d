/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half-open: after a long rest one real call tries a cell, and one tries a key
 * that had failed, while all others pass by.  A trial is a rest of its own,
 * taken at the pick: who never reports gives it up when that rest ends.
 */
#include "pool/pool_int.h"

/* ---- cells ---- */

static int cell_begin(gb_pool_t *pool, u32 hold, u32 cell, apr_time_t until)
{
    if (cell == 0 || !pool->cells[cell].half_open) {
        return 0;
    }
    pool_cell_rest(pool, cell, GB_COOL_TRIAL, until);
    pool->cells[cell].trial_hold = hold;
    return 1;
}

static void cell_end(gb_pool_t *pool, u32 hold, u32 cell, int passed)
{
    cell_rec_t *rec = &pool->cells[cell];

    if (cell == 0 || rec->project == 0 || rec->trial_hold != hold || rec->reason != GB_COOL_TRIAL) {
        return;
    }
    pool_cell_serve(pool, cell);
    if (!passed) {
        rec->half_open = 1; /* a new rest, if one is due, is the report's to begin */
        rec->reason = GB_COOL_TRIAL;
    }
    else {
        rec->strikes = 0;
    }
}

/* ---- keys ---- */

static int key_begin(gb_pool_t *pool, u32 hold, u32 slot, apr_time_t until)
{
    key_rec_t *key = &pool->keys[slot];

    if (key->state != GB_KEY_TRIAL) {
        return 0;
    }
    key->trial_hold = hold;
    pool_timer_key(pool, slot, until);
    pool_key_bits(pool, slot);
    return 1;
}

static void key_end(gb_pool_t *pool, u32 hold, u32 slot)
{
    key_rec_t *key = &pool->keys[slot];

    if (!key->used || key->generation != pool->holds[hold].generation || key->trial_hold != hold) {
        return;
    }
    key->trial_hold = 0;
    pool_timer_key_off(pool, slot);
    pool_key_bits(pool, slot); /* active or failed: the report says so */
}

/* ---- both ---- */

/* A trial must be able to end: without a record of who holds it its rest alone does that. */
int pool_trial_begin(gb_pool_t *pool, u32 slot, u32 hold, u32 cell, u32 any_cell, apr_time_t until)
{
    int trial = cell_begin(pool, hold, cell, until);

    trial |= cell_begin(pool, hold, any_cell, until);
    trial |= key_begin(pool, hold, slot, until);
    return trial;
}

void pool_trial_end(gb_pool_t *pool, u32 hold, int passed)
{
    const hold_rec_t *rec = &pool->holds[hold];

    cell_end(pool, hold, rec->cell, passed);
    cell_end(pool, hold, rec->any_cell, passed);
    key_end(pool, hold, rec->key);
    if (rec->probe) {
        pool_view(pool, pool->keys[rec->key].pool, rec->probe - 1)->probe_until = 0;
    }
}
