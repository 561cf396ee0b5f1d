/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap of deadlines: when a cell's cool-down ends, when a failed key gets
 * its trial.  Items 1..C are cells, C+1..C+K are keys; each record knows its
 * place, so a deadline that moves costs one sift.
 */
#include "pool/pool_int.h"

static apr_time_t item_at(const gb_pool_t *pool, u32 item)
{
    u32 cells = pool->head->max_cells;

    return item <= cells ? pool->cells[item].until : pool->keys[item - cells].retry_at;
}

static u32 *item_place(const gb_pool_t *pool, u32 item)
{
    u32 cells = pool->head->max_cells;

    return item <= cells ? &pool->cells[item].timer : &pool->keys[item - cells].timer;
}

static void put(gb_pool_t *pool, u32 place, u32 item)
{
    pool->heap[place] = item;
    *item_place(pool, item) = place;
}

static void sift_up(gb_pool_t *pool, u32 place, u32 item)
{
    apr_time_t at = item_at(pool, item);

    while (place > 1 && item_at(pool, pool->heap[place / 2]) > at) {
        put(pool, place, pool->heap[place / 2]);
        place /= 2;
    }
    put(pool, place, item);
}

static void sift_down(gb_pool_t *pool, u32 place, u32 item)
{
    u32 n = pool->head->heap_n, child;
    apr_time_t at = item_at(pool, item);

    while ((child = place * 2) <= n) {
        if (child < n && item_at(pool, pool->heap[child + 1]) < item_at(pool, pool->heap[child])) {
            child++;
        }
        if (item_at(pool, pool->heap[child]) >= at) {
            break;
        }
        put(pool, place, pool->heap[child]);
        place = child;
    }
    put(pool, place, item);
}

/* The item's deadline has been written already. */
static void place_item(gb_pool_t *pool, u32 item)
{
    u32 place = *item_place(pool, item);

    if (place == 0) {
        place = ++pool->head->heap_n;
    }
    sift_up(pool, place, item);
    sift_down(pool, *item_place(pool, item), item);
}

static void remove_item(gb_pool_t *pool, u32 item)
{
    u32 place = *item_place(pool, item);
    u32 last;

    if (place == 0) {
        return;
    }
    last = pool->heap[pool->head->heap_n--];
    *item_place(pool, item) = 0;
    if (last != item) {
        sift_up(pool, place, last);
        sift_down(pool, *item_place(pool, last), last);
    }
}

void pool_timer_cell(gb_pool_t *pool, u32 cell, apr_time_t at)
{
    pool->cells[cell].until = at;
    place_item(pool, cell);
}

void pool_timer_key(gb_pool_t *pool, u32 slot, apr_time_t at)
{
    pool->keys[slot].retry_at = at;
    place_item(pool, pool->head->max_cells + slot);
}

void pool_timer_cell_off(gb_pool_t *pool, u32 cell)
{
    remove_item(pool, cell);
    pool->cells[cell].until = 0;
}

void pool_timer_key_off(gb_pool_t *pool, u32 slot)
{
    remove_item(pool, pool->head->max_cells + slot);
    pool->keys[slot].retry_at = 0;
}

static void key_fired(gb_pool_t *pool, u32 slot, const gb_pool_clock_t *clock)
{
    key_rec_t *key = &pool->keys[slot];

    key->trial_hold = 0; /* a trial that never came back is given up */
    if (key->state == GB_KEY_FAILED) {
        pool_key_state(pool, slot, GB_KEY_TRIAL, clock->wall);
    }
    pool_key_bits(pool, slot);
    pool_changed(pool, key->pool);
}

int pool_timer_due(const gb_pool_t *pool, const gb_pool_clock_t *clock)
{
    return pool->head->heap_n > 0 && item_at(pool, pool->heap[1]) <= clock->mono;
}

void pool_timer_run(gb_pool_t *pool, const gb_pool_clock_t *clock, int max)
{
    u32 cells = pool->head->max_cells;

    while (max-- != 0 && pool_timer_due(pool, clock)) {
        u32 item = pool->heap[1];

        if (item <= cells) {
            pool_timer_cell_off(pool, item);
            pool_cell_fired(pool, item);
        }
        else {
            pool_timer_key_off(pool, item - cells);
            key_fired(pool, item - cells, clock);
        }
    }
}

void gb_pool_tick_locked(gb_pool_t *pool, const gb_pool_clock_t *clock)
{
    pool_timer_run(pool, clock, -1);
}

void pool_timer_rebuild(gb_pool_t *pool)
{
    u32 i;

    pool->head->heap_n = 0;
    for (i = 1; i <= pool->head->cells_top; i++) {
        pool->cells[i].timer = 0;
        if (pool->cells[i].project && pool->cells[i].until) {
            place_item(pool, i);
        }
    }
    for (i = 1; i <= pool->head->keys_top; i++) {
        pool->keys[i].timer = 0;
        if (pool->keys[i].used && pool->keys[i].retry_at) {
            place_item(pool, pool->head->max_cells + i);
        }
    }
}

int pool_timer_sound(const gb_pool_t *pool)
{
    u32 i, n = pool->head->heap_n;

    for (i = 1; i <= n; i++) {
        if (*item_place(pool, pool->heap[i]) != i || item_at(pool, pool->heap[i]) == 0
            || (i > 1 && item_at(pool, pool->heap[i / 2]) > item_at(pool, pool->heap[i]))) {
            return 0;
        }
    }
    return 1;
}
