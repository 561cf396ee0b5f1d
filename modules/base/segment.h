/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment: one block of anonymous shared memory that survives graceful
 * restarts, with one robust lock inside and tenants that each have a size and a
 * version (DESIGN section 6).
 *
 *   +--------+----------------+------------------+------------------+----
 *   | header | tenant table   | tenant 1 (64-b.) | tenant 2         | ...
 *   +--------+----------------+------------------+------------------+----
 *   magic, layout version, size, lock, generation, dirty mark, lease
 *
 * Fixed slots, 1-based indexes, no pointers inside.  Under the lock there is
 * only arithmetic.  Every edit is bracketed by a dirty mark that names tenant
 * and slot; whoever gets EOWNERDEAD has the tenant's repair function mend that
 * slot before the lock is made consistent.
 */
#ifndef GB_SEGMENT_H
#define GB_SEGMENT_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

typedef struct gb_segment_t gb_segment_t; /* a process's view */

/* A tenant's block as a process sees it. */
typedef struct gb_tenant_t {
    gb_segment_t *segment;
    void *block;
    apr_size_t size;
    int index; /* in the tenant table, for the dirty mark */
} gb_tenant_t;

typedef struct gb_tenant_spec_t {
    const char *name;     /* at most 15 characters; static */
    apr_uint32_t version; /* of the block's layout */
    apr_size_t size;
    /* Lays out a zeroed block. */
    void (*init)(void *block, apr_size_t size);
    /* Carries over what fits from a block of an older version or another size; under the old
     * segment's lock.  NULL: nothing is carried. */
    void (*adopt)(void *block, apr_size_t size, const void *old, apr_size_t old_size,
                  apr_uint32_t old_version);
    /* Mends one slot after its editor died; under the lock. */
    void (*repair)(void *block, apr_size_t size, apr_uint32_t slot);
} gb_tenant_spec_t;

/*
 * Finds the segment of an earlier generation on pool `process` (the process
 * pool: it outlives restarts) or makes a new one.  Same layout: reused as it is.
 * Another layout: a new one, each tenant adopted under the old lock.  specs are
 * registered in this process for repair.  Parent only, second pass of
 * post_config; children inherit the mapping by fork.  *psegment is from p, which
 * lives as long as the configuration.
 */
apr_status_t gb_segment_open(gb_segment_t **psegment, const gb_tenant_spec_t *specs, int n,
                             apr_pool_t *process, apr_pool_t *p);

/* NULL when there is no such tenant. */
gb_tenant_t *gb_segment_tenant(gb_segment_t *segment, const char *name);

/* The one lock.  Recovers from a dead owner by itself.  Never fails but by abort() on a bug. */
void gb_segment_lock(gb_segment_t *segment);
void gb_segment_unlock(gb_segment_t *segment);

/* Brackets an edit of one slot (0 = the tenant's own header) while the lock is held. */
void gb_segment_dirty_locked(gb_tenant_t *tenant, apr_uint32_t slot);
void gb_segment_clean_locked(gb_tenant_t *tenant);

/*
 * A lease: of all processes of all generations one holds it until its deadline
 * (monotonic microseconds; renewing moves it).  which is 0..3.
 * APR_SUCCESS: ours now; APR_EBUSY: somebody else's.
 */
apr_status_t gb_segment_lease(gb_segment_t *segment, int which, apr_interval_time_t ttl);
void gb_segment_lease_end(gb_segment_t *segment, int which);
/* The pid of who holds it; 0: nobody. */
apr_uint32_t gb_segment_lease_holder(gb_segment_t *segment, int which);

/* How often a dead owner was recovered from: for tests and the status page. */
apr_uint64_t gb_segment_recoveries(gb_segment_t *segment);

/* Whether the process of that pid and start time (clock ticks since boot, from /proc) lives. */
int gb_process_alive(apr_uint32_t pid, apr_uint64_t start_time);
apr_uint64_t gb_process_start_time(apr_uint32_t pid);

#endif
