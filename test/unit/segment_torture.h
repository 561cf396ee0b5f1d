/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that edit one segment and are killed with SIGKILL at random
 * moments, many of them inside an edit.  Shared by test_segment (a few kills)
 * and torture_segment (a thousand).
 *
 * The tenant is a table of mirrored counters.  Whatever happens, after every
 * lock each slot's mirror must be equal, and the total must be the sum: an edit
 * breaks both on purpose before it restores them.
 */
#ifndef GB_TEST_SEGMENT_TORTURE_H
#define GB_TEST_SEGMENT_TORTURE_H

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/segment.h"

#define TORTURE_SLOTS 64
#define TORTURE_PROCS 8

typedef struct torture_slot_t {
    apr_uint64_t a, b;
} torture_slot_t;

typedef struct torture_block_t {
    apr_uint64_t total;
    torture_slot_t slots[TORTURE_SLOTS];
} torture_block_t;

/* Outside of the segment: what each process knows for certain to have done. */
typedef struct torture_tally_t {
    apr_uint64_t done[TORTURE_PROCS];
    apr_uint64_t repairs;
    apr_uint64_t faults;
} torture_tally_t;

static torture_tally_t *torture_tally;

/* Long enough to be killed in. */
static void torture_linger(apr_uint64_t n)
{
    volatile apr_uint64_t i;

    for (i = 0; i < n; i++) {
    }
}

static apr_uint64_t torture_sum(const torture_block_t *block)
{
    apr_uint64_t sum = 0;
    int i;

    for (i = 0; i < TORTURE_SLOTS; i++) {
        sum += block->slots[i].a;
    }
    return sum;
}

static void torture_repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    torture_block_t *b = block;

    (void)size;
    __atomic_add_fetch(&torture_tally->repairs, 1, __ATOMIC_RELAXED);
    if (slot >= 1 && slot <= TORTURE_SLOTS) {
        torture_linger(200);
        b->slots[slot - 1].b = b->slots[slot - 1].a;
    }
    b->total = torture_sum(b);
}

static const gb_tenant_spec_t torture_spec = {"torture", 1,    sizeof(torture_block_t),
                                              NULL,      NULL, torture_repair};

static int torture_sound(const torture_block_t *block)
{
    int i;

    for (i = 0; i < TORTURE_SLOTS; i++) {
        if (block->slots[i].a != block->slots[i].b) {
            return 0;
        }
    }
    return block->total == torture_sum(block);
}

static void torture_edit(gb_tenant_t *tenant, apr_uint32_t slot)
{
    volatile torture_block_t *block = tenant->block;

    gb_segment_dirty_locked(tenant, slot);
    block->slots[slot - 1].a++;
    torture_linger(150);
    block->slots[slot - 1].b++;
    torture_linger(150);
    block->total++;
    gb_segment_clean_locked(tenant);
}

static void torture_child(gb_segment_t *segment, int me, unsigned seed)
{
    gb_tenant_t *tenant = gb_segment_tenant(segment, "torture");

    for (;;) {
        gb_segment_lock(segment);
        if (!torture_sound(tenant->block)) {
            __atomic_add_fetch(&torture_tally->faults, 1, __ATOMIC_RELAXED);
        }
        torture_edit(tenant, (apr_uint32_t)(rand_r(&seed) % TORTURE_SLOTS) + 1);
        gb_segment_unlock(segment);
        torture_tally->done[me]++;
        if (rand_r(&seed) % 64 == 0) {
            gb_segment_lease(segment, 0, 1000);
        }
    }
}

static pid_t torture_spawn(gb_segment_t *segment, int me, unsigned seed)
{
    pid_t pid = fork();

    if (pid == 0) {
        torture_child(segment, me, seed);
        _exit(1);
    }
    return pid;
}

static void torture_end(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

/* The edits that stand in the block are those that were told, and at most one more per kill. */
static int torture_judge(gb_segment_t *segment, int kills)
{
    torture_block_t *block = gb_segment_tenant(segment, "torture")->block;
    apr_uint64_t done = 0, sum;
    int i, sound;

    for (i = 0; i < TORTURE_PROCS; i++) {
        done += torture_tally->done[i];
    }
    gb_segment_lock(segment);
    sound = torture_sound(block);
    sum = block->total;
    gb_segment_unlock(segment);
    printf("torture: %d kills, %llu edits, %llu told, %llu recoveries, %llu repairs, %llu faults\n",
           kills, (unsigned long long)sum, (unsigned long long)done,
           (unsigned long long)gb_segment_recoveries(segment),
           (unsigned long long)torture_tally->repairs, (unsigned long long)torture_tally->faults);
    return sound && torture_tally->faults == 0 && sum >= done
           && sum <= done + (apr_uint64_t)(kills + TORTURE_PROCS);
}

/* 1 when all invariants held.  The seed is printed: a failure can be had again. */
static int torture_run(apr_pool_t *p, int kills, unsigned seed)
{
    pid_t pids[TORTURE_PROCS];
    gb_segment_t *segment;
    int i, k;

    printf("torture: seed %u\n", seed);
    fflush(stdout);
    torture_tally = mmap(NULL, sizeof(*torture_tally), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (torture_tally == MAP_FAILED
        || gb_segment_open(&segment, &torture_spec, 1, p, p) != APR_SUCCESS) {
        return 0;
    }
    for (i = 0; i < TORTURE_PROCS; i++) {
        pids[i] = torture_spawn(segment, i, seed + (unsigned)i);
    }
    for (k = 0; k < kills; k++) {
        struct timespec pause = {0, rand_r(&seed) % 3000000};

        nanosleep(&pause, NULL);
        i = rand_r(&seed) % TORTURE_PROCS;
        torture_end(pids[i]);
        pids[i] = torture_spawn(segment, i, seed + (unsigned)k);
    }
    for (i = 0; i < TORTURE_PROCS; i++) {
        torture_end(pids[i]);
    }
    return torture_judge(segment, kills);
}

#endif
