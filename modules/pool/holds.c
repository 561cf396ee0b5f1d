/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processes hold: one record per call that is under way, in a list of its
 * child.  When a child is found dead its list says what to give back.
 */
#include "pool/pool_int.h"

/* ---- the concurrency cap ---- */

void pool_busy_put(gb_pool_t *pool, u32 slot)
{
    const key_rec_t *key = &pool->keys[slot];
    u32 cap = pool->head->pools[key->pool].cap;

    pool_bit_put(pool->busy, slot, cap != 0 && key->in_flight >= cap);
}

/* The cap is a setting and may change between two picks. */
void pool_busy_cap(gb_pool_t *pool, u32 name, int cap)
{
    u32 i;

    if (pool->head->pools[name].cap == (u32)cap) {
        return;
    }
    pool->head->pools[name].cap = (u32)cap;
    for (i = 1; i <= pool->head->keys_top; i++) {
        if (pool->keys[i].used && pool->keys[i].pool == name) {
            pool_busy_put(pool, i);
        }
    }
}

/* ---- holds ---- */

static u32 hold_new(gb_pool_t *pool)
{
    head_t *head = pool->head;
    u32 hold = head->holds_free;

    if (hold) {
        head->holds_free = pool->holds[hold].next;
        return hold;
    }
    return head->holds_top < head->max_holds ? ++head->holds_top : 0;
}

u32 pool_hold_take(gb_pool_t *pool, u32 slot, int child)
{
    child_rec_t *owner;
    hold_rec_t *rec;
    u32 hold;

    if (child < 1 || child > GB_POOL_CHILDREN || (hold = hold_new(pool)) == 0) {
        return 0;
    }
    owner = &pool->head->children[child];
    rec = &pool->holds[hold];
    memset(rec, 0, sizeof(*rec));
    rec->generation = pool->keys[slot].generation;
    rec->serial = ++pool->head->hold_serial;
    rec->child = (u32)child;
    rec->next = owner->first_hold;
    POOL_IN_ORDER();
    rec->key = slot;
    if (rec->next) {
        pool->holds[rec->next].prev = hold;
    }
    owner->first_hold = hold;
    pool->keys[slot].in_flight++;
    pool_busy_put(pool, slot);
    return hold;
}

u32 pool_hold_find(const gb_pool_t *pool, const gb_pool_got_t *got)
{
    u32 hold = (u32)got->hold;
    const hold_rec_t *rec = &pool->holds[hold];

    return hold >= 1 && hold <= pool->head->holds_top && rec->key == got->slot
                   && rec->serial == (u32)(got->hold >> 32)
               ? hold
               : 0;
}

void pool_hold_drop(gb_pool_t *pool, u32 hold)
{
    hold_rec_t *rec = &pool->holds[hold];
    key_rec_t *key = &pool->keys[rec->key];
    u32 slot = rec->key;

    if (rec->prev) {
        pool->holds[rec->prev].next = rec->next;
    }
    else {
        pool->head->children[rec->child].first_hold = rec->next;
    }
    if (rec->next) {
        pool->holds[rec->next].prev = rec->prev;
    }
    if (key->used && key->generation == rec->generation && key->in_flight > 0) {
        key->in_flight--;
        pool_busy_put(pool, slot);
    }
    rec->key = 0;
    rec->next = pool->head->holds_free;
    pool->head->holds_free = hold;
}

/* ---- children ---- */

int gb_pool_child_enter_locked(gb_pool_t *pool, apr_uint32_t pid, apr_uint64_t start_time)
{
    int i;

    for (i = 1; i <= GB_POOL_CHILDREN; i++) {
        child_rec_t *child = &pool->head->children[i];

        if (child->pid == 0) {
            child->start_time = start_time;
            POOL_IN_ORDER();
            child->pid = pid;
            return i;
        }
    }
    return 0;
}

int gb_pool_child_get_locked(gb_pool_t *pool, int child, apr_uint32_t *pid,
                             apr_uint64_t *start_time)
{
    if (child < 1 || child > GB_POOL_CHILDREN || pool->head->children[child].pid == 0) {
        return 0;
    }
    *pid = pool->head->children[child].pid;
    *start_time = pool->head->children[child].start_time;
    return 1;
}

int gb_pool_child_leave_locked(gb_pool_t *pool, int child, apr_uint32_t pid,
                               apr_uint64_t start_time)
{
    child_rec_t *rec = &pool->head->children[child];
    int n = 0;

    if (child < 1 || child > GB_POOL_CHILDREN || rec->pid != pid || rec->start_time != start_time) {
        return 0;
    }
    while (rec->first_hold) {
        u32 hold = rec->first_hold;
        key_rec_t *key = &pool->keys[pool->holds[hold].key];

        if (key->used && key->generation == pool->holds[hold].generation) {
            key->lost++;
        }
        pool_trial_end(pool, hold, 0);
        pool_hold_drop(pool, hold);
        n++;
    }
    rec->pid = 0;
    return n;
}
