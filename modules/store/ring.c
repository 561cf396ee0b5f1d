/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring.  Under the segment's lock there is only arithmetic; a process may
 * die at any line, so every change of a slot is bracketed by the dirty mark, and
 * repair makes both lists anew from the states of all records, which are each
 * one byte and written last (or first, on the way out).
 *
 *   +--------+----------+----------+-----
 *   | head   | record 1 | record 2 | ...     slots are 1-based, 0 ends a list
 *   +--------+----------+----------+-----
 */
#include "store/journal.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define SWEEP_STEP 512

typedef struct ring_t {
    apr_uint32_t free_head;
    apr_uint32_t done_head, done_tail;
    apr_uint32_t n_done, n_open;
    apr_uint32_t unused[3];
    gb_ring_counts_t counts;
    char pad[512 - 8 * sizeof(apr_uint32_t) - sizeof(gb_ring_counts_t)];
    gb_record_t records[GB_RING_RECORDS];
} ring_t;

typedef char ring_head_check[offsetof(ring_t, records) == 512 ? 1 : -1];

/* Stores must reach memory in this order: what counts is what a dead process leaves behind. */
#define IN_ORDER() __asm__ __volatile__("" ::: "memory")

static ring_t *ring_of(gb_tenant_t *tenant)
{
    return tenant->block;
}

static gb_record_t *at(ring_t *ring, apr_uint32_t slot)
{
    return &ring->records[slot - 1];
}

/* ---- lists ---- */

static void push_free(ring_t *ring, apr_uint32_t slot)
{
    at(ring, slot)->next = ring->free_head;
    ring->free_head = slot;
}

static void push_done(ring_t *ring, apr_uint32_t slot)
{
    at(ring, slot)->next = 0;
    if (ring->done_tail) {
        at(ring, ring->done_tail)->next = slot;
    }
    else {
        ring->done_head = slot;
    }
    ring->done_tail = slot;
    ring->n_done++;
}

static apr_uint32_t pop_done(ring_t *ring)
{
    apr_uint32_t slot = ring->done_head;

    ring->done_head = at(ring, slot)->next;
    if (!ring->done_head) {
        ring->done_tail = 0;
    }
    ring->n_done--;
    return slot;
}

static void rebuild(ring_t *ring)
{
    apr_uint32_t slot;

    ring->free_head = ring->done_head = ring->done_tail = 0;
    ring->n_done = ring->n_open = 0;
    for (slot = GB_RING_RECORDS; slot >= 1; slot--) {
        if (at(ring, slot)->state == GB_RECORD_FREE) {
            push_free(ring, slot);
        }
    }
    for (slot = 1; slot <= GB_RING_RECORDS; slot++) {
        if (at(ring, slot)->state == GB_RECORD_DONE) {
            push_done(ring, slot);
        }
        ring->n_open += at(ring, slot)->state == GB_RECORD_OPEN;
    }
}

static void init(void *block, apr_size_t size)
{
    (void)size;
    rebuild(block);
}

static void repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    (void)size;
    (void)slot;
    rebuild(block);
}

void gb_ring_spec(gb_tenant_spec_t *spec)
{
    memset(spec, 0, sizeof(*spec));
    spec->name = GB_RING_NAME;
    spec->version = GB_RECORD_MAGIC;
    spec->size = sizeof(ring_t);
    spec->init = init;
    spec->repair = repair;
}

/* ---- processes ---- */

void gb_record_stamp(gb_record_t *record)
{
    static apr_uint32_t own_pid; /* a child's copy is its parent's until it looks */
    static apr_uint64_t own_start;
    apr_uint32_t pid = (apr_uint32_t)getpid();

    if (own_pid != pid) {
        own_start = gb_process_start_time(pid);
        own_pid = pid;
    }
    record->pid = pid;
    record->process_start = own_start;
}

void gb_record_lose(gb_record_t *record)
{
    strcpy(record->cls, "lost");
    record->is_success = 0;
    record->is_final = 1;
    record->latency = record->first_byte = -1;
}

/* ---- the attempt's process ---- */

static int is_same(const gb_record_t *a, const gb_record_t *b)
{
    return memcmp(a->uid, b->uid, GB_UID_LEN) == 0;
}

static void fill(gb_record_t *slot, const gb_record_t *from, gb_record_state_t state)
{
    apr_uint32_t next = slot->next;

    *slot = *from;
    slot->next = next;
    slot->magic = GB_RECORD_MAGIC;
    IN_ORDER();
    slot->state = (apr_byte_t)state;
}

apr_uint32_t gb_ring_begin(gb_tenant_t *tenant, const gb_record_t *record)
{
    ring_t *ring = ring_of(tenant);
    gb_record_t stamped = *record;
    apr_uint32_t slot;

    gb_record_stamp(&stamped);
    stamped.state = GB_RECORD_FREE;
    gb_segment_lock(tenant->segment);
    slot = ring->free_head;
    if (slot) {
        gb_segment_dirty_locked(tenant, slot);
        ring->free_head = at(ring, slot)->next;
        fill(at(ring, slot), &stamped, GB_RECORD_OPEN);
        ring->n_open++;
        ring->counts.begun++;
        gb_segment_clean_locked(tenant);
    }
    gb_segment_unlock(tenant->segment);
    return slot;
}

int gb_ring_end(gb_tenant_t *tenant, apr_uint32_t slot, const gb_record_t *record)
{
    ring_t *ring = ring_of(tenant);
    gb_record_t stamped = *record;
    int ok;

    gb_record_stamp(&stamped);
    stamped.state = GB_RECORD_OPEN; /* should we die within: it is lost, not half of it done */
    gb_segment_lock(tenant->segment);
    ok = at(ring, slot)->state == GB_RECORD_OPEN && is_same(at(ring, slot), record);
    if (ok) {
        gb_segment_dirty_locked(tenant, slot);
        fill(at(ring, slot), &stamped, GB_RECORD_DONE);
        ring->n_open--;
        push_done(ring, slot);
        gb_segment_clean_locked(tenant);
    }
    gb_segment_unlock(tenant->segment);
    return ok;
}

/* ---- the writer ---- */

int gb_ring_take(gb_tenant_t *tenant, gb_record_t *records, apr_uint32_t *slots, int max)
{
    ring_t *ring = ring_of(tenant);
    int n = 0;

    gb_segment_lock(tenant->segment);
    while (n < max && ring->done_head) {
        apr_uint32_t slot = ring->done_head;

        gb_segment_dirty_locked(tenant, slot);
        pop_done(ring);
        IN_ORDER();
        at(ring, slot)->state = GB_RECORD_TAKEN;
        gb_segment_clean_locked(tenant);
        records[n] = *at(ring, slot);
        slots[n++] = slot;
    }
    gb_segment_unlock(tenant->segment);
    return n;
}

static void release(gb_tenant_t *tenant, apr_uint32_t slot, int again)
{
    ring_t *ring = ring_of(tenant);

    gb_segment_dirty_locked(tenant, slot);
    at(ring, slot)->state = again ? GB_RECORD_DONE : GB_RECORD_FREE;
    IN_ORDER();
    if (again) {
        push_done(ring, slot);
    }
    else {
        push_free(ring, slot);
    }
    gb_segment_clean_locked(tenant);
}

void gb_ring_give(gb_tenant_t *tenant, const gb_record_t *records, const apr_uint32_t *slots, int n,
                  int again)
{
    ring_t *ring = ring_of(tenant);
    int i;

    gb_segment_lock(tenant->segment);
    for (i = 0; i < n; i++) {
        const gb_record_t *slot = at(ring, slots[i]);

        if (slot->state == GB_RECORD_TAKEN && is_same(slot, &records[i])) {
            release(tenant, slots[i], again);
        }
    }
    gb_segment_unlock(tenant->segment);
}

void gb_ring_retake(gb_tenant_t *tenant)
{
    ring_t *ring = ring_of(tenant);
    apr_uint32_t slot;

    gb_segment_lock(tenant->segment);
    for (slot = 1; slot <= GB_RING_RECORDS; slot++) {
        if (at(ring, slot)->state == GB_RECORD_TAKEN) {
            release(tenant, slot, 1);
        }
    }
    gb_segment_unlock(tenant->segment);
}

/* ---- what died ---- */

typedef struct owner_t {
    apr_uint32_t slot, pid;
    apr_uint64_t start;
} owner_t;

/* The owners of the open records among SWEEP_STEP slots. */
static int owners(gb_tenant_t *tenant, apr_uint32_t from, owner_t *found)
{
    ring_t *ring = ring_of(tenant);
    apr_uint32_t slot;
    int n = 0;

    gb_segment_lock(tenant->segment);
    for (slot = from; slot < from + SWEEP_STEP && slot <= GB_RING_RECORDS; slot++) {
        const gb_record_t *record = at(ring, slot);

        if (record->state == GB_RECORD_OPEN) {
            found[n].slot = slot;
            found[n].pid = record->pid;
            found[n++].start = record->process_start;
        }
    }
    gb_segment_unlock(tenant->segment);
    return n;
}

static int lose(gb_tenant_t *tenant, const owner_t *owner)
{
    ring_t *ring = ring_of(tenant);
    gb_record_t *record = at(ring, owner->slot);
    int ok;

    gb_segment_lock(tenant->segment);
    ok = record->state == GB_RECORD_OPEN && record->pid == owner->pid
         && record->process_start == owner->start;
    if (ok) {
        gb_segment_dirty_locked(tenant, owner->slot);
        gb_record_lose(record);
        IN_ORDER();
        record->state = GB_RECORD_DONE;
        ring->n_open--;
        push_done(ring, owner->slot);
        gb_segment_clean_locked(tenant);
    }
    gb_segment_unlock(tenant->segment);
    return ok;
}

int gb_ring_sweep(gb_tenant_t *tenant)
{
    owner_t found[SWEEP_STEP];
    apr_uint32_t from, pid = 0;
    apr_uint64_t start = 0;
    int n, i, alive = 0, lost = 0;

    if (!gb_ring_open(tenant)) {
        return 0;
    }
    for (from = 1; from <= GB_RING_RECORDS; from += SWEEP_STEP) {
        n = owners(tenant, from, found);
        for (i = 0; i < n; i++) {
            if (found[i].pid != pid || found[i].start != start) {
                pid = found[i].pid;
                start = found[i].start;
                alive = gb_process_alive(pid, start);
            }
            lost += !alive && lose(tenant, &found[i]);
        }
    }
    return lost;
}

/* ---- numbers ---- */

int gb_ring_waiting(gb_tenant_t *tenant)
{
    int n;

    gb_segment_lock(tenant->segment);
    n = (int)ring_of(tenant)->n_done;
    gb_segment_unlock(tenant->segment);
    return n;
}

int gb_ring_open(gb_tenant_t *tenant)
{
    int n;

    gb_segment_lock(tenant->segment);
    n = (int)ring_of(tenant)->n_open;
    gb_segment_unlock(tenant->segment);
    return n;
}

void gb_ring_counts(gb_tenant_t *tenant, gb_ring_counts_t *counts)
{
    gb_segment_lock(tenant->segment);
    *counts = ring_of(tenant)->counts;
    gb_segment_unlock(tenant->segment);
}

void gb_ring_count(gb_tenant_t *tenant, const gb_ring_counts_t *more)
{
    gb_ring_counts_t *counts = &ring_of(tenant)->counts;

    gb_segment_lock(tenant->segment);
    counts->begun += more->begun;
    counts->written += more->written;
    counts->spooled += more->spooled;
    counts->lost += more->lost;
    counts->rejected += more->rejected;
    counts->dropped += more->dropped;
    counts->dropped_texts += more->dropped_texts;
    counts->dropped_rows += more->dropped_rows;
    gb_segment_unlock(tenant->segment);
}
