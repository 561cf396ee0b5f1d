/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment's layout, lock, repair and leases.  What stands inside a
 * tenant's block is the tenant's own business; this unit only gives it memory,
 * carries it over to the next generation and has it mended.
 *
 * Shared memory hangs on the process pool without any cleanup of ours: modules
 * are unloaded at every restart, and what is loaded then may be a newer version.
 * Therefore the view, which holds functions, is made anew by each open.
 */
#include "base/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_shm.h>
#include <apr_strings.h>

#include "base/log.h"
#include "base/timeutil.h"

#define SEGMENT_MAGIC   0x67624c4e43453031ULL
#define SEGMENT_LAYOUT  1
#define SEGMENT_TENANTS 16
#define SEGMENT_LEASES  4
#define SEGMENT_ALIGN   64
#define SEGMENT_NAME    16
#define SEGMENT_KEY     "gbalance-segment"

typedef struct lease_t {
    apr_uint64_t start_time;
    apr_time_t deadline; /* monotonic; 0 = free */
    apr_uint32_t pid;
} lease_t;

typedef struct tenant_row_t {
    char name[SEGMENT_NAME];
    apr_uint64_t offset, size;
    apr_uint32_t version;
    apr_uint32_t unused;
} tenant_row_t;

typedef struct header_t {
    apr_uint64_t magic;
    apr_uint32_t layout;
    apr_uint32_t n_tenants;
    apr_uint64_t size;
    apr_uint64_t recoveries;
    pthread_mutex_t lock;
    apr_uint32_t dirty_tenant; /* 1-based row of the table, 0 = no edit under way */
    apr_uint32_t dirty_slot;
    lease_t leases[SEGMENT_LEASES];
    tenant_row_t tenants[SEGMENT_TENANTS];
} header_t;

struct gb_segment_t {
    header_t *header;
    int n;
    gb_tenant_spec_t specs[SEGMENT_TENANTS]; /* by tenant index */
    gb_tenant_t tenants[SEGMENT_TENANTS];
};

/* What the process pool keeps between two configurations.  It never changes: another version of this
 * code may have made it. */
typedef struct keeper_t {
    apr_shm_t *shm;
} keeper_t;

/* ---- layout ---- */

static apr_uint64_t align_up(apr_uint64_t n)
{
    return (n + SEGMENT_ALIGN - 1) & ~(apr_uint64_t)(SEGMENT_ALIGN - 1);
}

/* 0 when it does not fit into an apr_size_t. */
static apr_uint64_t total_size(const gb_tenant_spec_t *specs, int n)
{
    apr_uint64_t size = align_up(sizeof(header_t));
    int i;

    for (i = 0; i < n; i++) {
        apr_uint64_t next = size + align_up(specs[i].size);

        if (specs[i].size == 0 || next < size || next > (apr_uint64_t)(SIZE_MAX / 2)) {
            return 0;
        }
        size = next;
    }
    return size;
}

static int names_ok(const gb_tenant_spec_t *specs, int n)
{
    int i, k;

    for (i = 0; i < n; i++) {
        if (specs[i].name[0] == '\0' || strlen(specs[i].name) >= SEGMENT_NAME) {
            return 0;
        }
        for (k = 0; k < i; k++) {
            if (strcmp(specs[i].name, specs[k].name) == 0) {
                return 0;
            }
        }
    }
    return 1;
}

static void *row_block(const header_t *header, const tenant_row_t *row)
{
    return (char *)header + row->offset;
}

static int same_row(const tenant_row_t *row, const gb_tenant_spec_t *spec)
{
    return strcmp(row->name, spec->name) == 0 && row->size == spec->size
           && row->version == spec->version;
}

static int same_layout(const header_t *header, const gb_tenant_spec_t *specs, int n)
{
    int i;

    if (header->magic != SEGMENT_MAGIC || header->layout != SEGMENT_LAYOUT
        || header->n_tenants != (apr_uint32_t)n) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (!same_row(&header->tenants[i], &specs[i])) {
            return 0;
        }
    }
    return 1;
}

/* apr_shm keeps its own word before the base address, which is therefore not aligned. */
static header_t *shm_header(const apr_shm_t *shm)
{
    return (header_t *)(uintptr_t)align_up((uintptr_t)apr_shm_baseaddr_get(shm));
}

static apr_status_t lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);

    if (rc != 0) {
        return rc;
    }
    rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (rc == 0) {
        rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    }
    if (rc == 0) {
        rc = pthread_mutex_init(lock, &attr);
    }
    pthread_mutexattr_destroy(&attr);
    return rc;
}

static apr_status_t layout_make(header_t *header, apr_uint64_t size, const gb_tenant_spec_t *specs,
                                int n)
{
    apr_uint64_t at = align_up(sizeof(*header));
    apr_status_t rv;
    int i;

    /* Anonymous shared memory comes zeroed from the kernel; touching all of it here would make
     * every page resident, most of which are never needed. */
    rv = lock_init(&header->lock);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    header->layout = SEGMENT_LAYOUT;
    header->n_tenants = (apr_uint32_t)n;
    header->size = size;
    for (i = 0; i < n; i++) {
        tenant_row_t *row = &header->tenants[i];

        apr_cpystrn(row->name, specs[i].name, sizeof(row->name));
        row->offset = at;
        row->size = specs[i].size;
        row->version = specs[i].version;
        at += align_up(specs[i].size);
        if (specs[i].init) {
            specs[i].init(row_block(header, row), row->size);
        }
    }
    header->magic = SEGMENT_MAGIC;
    return APR_SUCCESS;
}

/* ---- the view of a process ---- */

/* A tenant whose layout is not the one that this code knows is never repaired by it. */
static void view_make(gb_segment_t *segment, header_t *header, const gb_tenant_spec_t *specs, int n)
{
    int i, k;

    memset(segment, 0, sizeof(*segment));
    segment->header = header;
    segment->n = (int)header->n_tenants;
    for (i = 0; i < segment->n; i++) {
        const tenant_row_t *row = &header->tenants[i];

        for (k = 0; k < n; k++) {
            if (same_row(row, &specs[k])) {
                segment->specs[i] = specs[k];
            }
        }
        segment->tenants[i].segment = segment;
        segment->tenants[i].block = row_block(header, row);
        segment->tenants[i].size = row->size;
        segment->tenants[i].index = i + 1;
    }
}

static void tenant_carry(gb_tenant_t *tenant, const gb_tenant_spec_t *spec, const header_t *old)
{
    apr_uint32_t i;

    for (i = 0; i < old->n_tenants; i++) {
        const tenant_row_t *row = &old->tenants[i];

        if (same_row(row, spec)) {
            /* No pointers inside: a copy is as good as the original. */
            memcpy(tenant->block, row_block(old, row), row->size);
        }
        else if (strcmp(row->name, spec->name) == 0 && spec->adopt) {
            spec->adopt(tenant->block, tenant->size, row_block(old, row), row->size, row->version);
        }
    }
}

/* The old generation may be working on its segment at this moment. */
static void carry_over(gb_segment_t *segment, header_t *old, const gb_tenant_spec_t *specs, int n,
                       apr_pool_t *p)
{
    gb_segment_t *view = apr_palloc(p, sizeof(*view));
    int i;

    if (old->magic != SEGMENT_MAGIC || old->layout != SEGMENT_LAYOUT) {
        return;
    }
    view_make(view, old, specs, n);
    gb_segment_lock(view);
    for (i = 0; i < n; i++) {
        tenant_carry(&segment->tenants[i], &specs[i], old);
    }
    gb_segment_unlock(view);
}

static keeper_t *keeper_get(apr_pool_t *process)
{
    void *found = NULL;

    apr_pool_userdata_get(&found, SEGMENT_KEY, process);
    if (found == NULL) {
        found = apr_pcalloc(process, sizeof(keeper_t));
        /* _set copies the key; _setn would keep a pointer into this DSO.  No cleanup: apr_shm
         * has its own, inside libapr. */
        apr_pool_userdata_set(found, SEGMENT_KEY, NULL, process);
    }
    return found;
}

apr_status_t gb_segment_open(gb_segment_t **psegment, const gb_tenant_spec_t *specs, int n,
                             apr_pool_t *process, apr_pool_t *p)
{
    keeper_t *keeper;
    header_t *old, *header;
    gb_segment_t *view;
    apr_shm_t *shm;
    apr_uint64_t size = total_size(specs, n);
    apr_status_t rv;

    if (n < 1 || n > SEGMENT_TENANTS || size == 0 || !names_ok(specs, n)) {
        return APR_EINVAL;
    }
    keeper = keeper_get(process);
    old = keeper->shm ? shm_header(keeper->shm) : NULL;
    view = apr_palloc(p, sizeof(*view));
    if (old && same_layout(old, specs, n)) {
        view_make(view, old, specs, n);
        *psegment = view;
        return APR_SUCCESS;
    }
    rv = apr_shm_create(&shm, (apr_size_t)size + SEGMENT_ALIGN, NULL, process);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    header = shm_header(shm);
    rv = layout_make(header, size, specs, n);
    if (rv != APR_SUCCESS) {
        apr_shm_destroy(shm);
        return rv;
    }
    view_make(view, header, specs, n);
    *psegment = view;
    if (old) {
        carry_over(*psegment, old, specs, n, p);
        /* Only our mapping goes; children of the old generation keep theirs until they end. */
        apr_shm_destroy(keeper->shm);
    }
    keeper->shm = shm;
    return APR_SUCCESS;
}

gb_tenant_t *gb_segment_tenant(gb_segment_t *segment, const char *name)
{
    int i;

    for (i = 0; i < segment->n; i++) {
        if (strcmp(segment->header->tenants[i].name, name) == 0) {
            return &segment->tenants[i];
        }
    }
    return NULL;
}

/* ---- the lock ---- */

/*
 * The owner died.  The dirty mark stands until the slot is mended, so that the
 * next one mends it again when we die in the middle.
 */
static void recover(gb_segment_t *segment)
{
    header_t *header = segment->header;
    apr_uint32_t tenant = header->dirty_tenant;

    if (tenant >= 1 && tenant <= (apr_uint32_t)segment->n) {
        const gb_tenant_spec_t *spec = &segment->specs[tenant - 1];
        const gb_tenant_t *block = &segment->tenants[tenant - 1];

        if (spec->repair) {
            spec->repair(block->block, block->size, header->dirty_slot);
        }
    }
    header->dirty_tenant = 0;
    header->recoveries++;
    if (pthread_mutex_consistent(&header->lock) != 0) {
        abort();
    }
}

void gb_segment_lock(gb_segment_t *segment)
{
    int rc = pthread_mutex_lock(&segment->header->lock);

    if (rc == EOWNERDEAD) {
        recover(segment);
    }
    else if (rc != 0) {
        gb_log(GB_LOG_ALERT, rc, GBLOGNO(8090) "segment: the lock cannot be taken");
        abort();
    }
}

void gb_segment_unlock(gb_segment_t *segment)
{
    if (pthread_mutex_unlock(&segment->header->lock) != 0) {
        abort();
    }
}

/* Marks must reach memory in the order in which they are written: what counts is what a process
 * that dies leaves behind, so a barrier for the compiler is enough. */
#define IN_ORDER() __asm__ __volatile__("" ::: "memory")

void gb_segment_dirty_locked(gb_tenant_t *tenant, apr_uint32_t slot)
{
    header_t *header = tenant->segment->header;

    header->dirty_slot = slot;
    IN_ORDER();
    header->dirty_tenant = (apr_uint32_t)tenant->index;
    IN_ORDER();
}

void gb_segment_clean_locked(gb_tenant_t *tenant)
{
    IN_ORDER();
    tenant->segment->header->dirty_tenant = 0;
    IN_ORDER();
}

apr_uint64_t gb_segment_recoveries(gb_segment_t *segment)
{
    apr_uint64_t n;

    gb_segment_lock(segment);
    n = segment->header->recoveries;
    gb_segment_unlock(segment);
    return n;
}

/* ---- leases ---- */

static int lease_is(const lease_t *lease, apr_uint32_t pid, apr_uint64_t start_time)
{
    return lease->pid == pid && lease->start_time == start_time;
}

apr_status_t gb_segment_lease(gb_segment_t *segment, int which, apr_interval_time_t ttl)
{
    apr_uint32_t pid = (apr_uint32_t)getpid();
    apr_uint64_t start_time = gb_process_start_time(pid);
    lease_t *lease = &segment->header->leases[which];
    apr_status_t rv = APR_EBUSY;
    apr_time_t now;

    gb_segment_lock(segment);
    now = gb_mono_now();
    if (lease->deadline <= now || lease_is(lease, pid, start_time)) {
        /* Free first: a holder that dies in here leaves a free lease, not a mixed one. */
        lease->deadline = 0;
        IN_ORDER();
        lease->pid = pid;
        lease->start_time = start_time;
        IN_ORDER();
        lease->deadline = now + ttl;
        rv = APR_SUCCESS;
    }
    gb_segment_unlock(segment);
    return rv;
}

void gb_segment_lease_end(gb_segment_t *segment, int which)
{
    apr_uint32_t pid = (apr_uint32_t)getpid();
    apr_uint64_t start_time = gb_process_start_time(pid);
    lease_t *lease = &segment->header->leases[which];

    gb_segment_lock(segment);
    if (lease_is(lease, pid, start_time)) {
        lease->deadline = 0;
    }
    gb_segment_unlock(segment);
}

apr_uint32_t gb_segment_lease_holder(gb_segment_t *segment, int which)
{
    const lease_t *lease = &segment->header->leases[which];
    apr_uint32_t pid;

    gb_segment_lock(segment);
    pid = lease->deadline > gb_mono_now() ? lease->pid : 0;
    gb_segment_unlock(segment);
    return pid;
}

/* ---- processes ---- */

/*
 * Field 22 of /proc/PID/stat, and the state in *state.  The name in field 2 may
 * hold anything, so fields are counted from its last bracket.  0: not there.
 */
static apr_uint64_t stat_read(apr_uint32_t pid, char *state)
{
    char path[32], text[1024];
    const char *at;
    ssize_t got;
    int fd, field;

    apr_snprintf(path, sizeof(path), "/proc/%u/stat", (unsigned)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0) {
        return 0;
    }
    text[got] = '\0';
    at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ') {
        return 0;
    }
    at += 2;
    *state = *at;
    for (field = 3; field < 22 && at; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at ? (apr_uint64_t)strtoull(at, NULL, 10) : 0;
}

apr_uint64_t gb_process_start_time(apr_uint32_t pid)
{
    char state;

    return stat_read(pid, &state);
}

int gb_process_alive(apr_uint32_t pid, apr_uint64_t start_time)
{
    apr_uint64_t found;
    char state = '\0';

    if (pid == 0 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)) {
        return 0;
    }
    found = stat_read(pid, &state);
    if (found == 0) {
        return 1; /* no /proc to look at, but the pid is taken: do not rob it */
    }
    return state != 'Z' && state != 'X' && (start_time == 0 || found == start_time);
}
