/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database thread: one a child, the only one that calls a driver.  Jobs wait
 * in a queue of 64.  A driver has no read timeout, so the thread may hang as long
 * as the server does; whoever waits for a job gives up by itself, which is why a
 * job has a pool of its own and two owners.  A thread that hangs for a minute is
 * left to itself and another one takes its place: the server's machine may be
 * gone for good, which a connection without traffic never learns.
 */
#include "core_store.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "apr_allocator.h"
#include "apr_strings.h"
#include "apr_thread_mutex.h"

#include "base/timeutil.h"

APLOG_USE_MODULE(gbalance);

#define QUEUE_MAX   64
#define BACKOFF_MIN apr_time_from_msec(250)
#define BACKOFF_MAX apr_time_from_sec(5)
#define HANGS       apr_time_from_sec(60)
#define RETIRED_MAX 3
#define KEEP_FREE   (4 * 1024 * 1024)

struct core_job_t {
    apr_pool_t *pool;
    core_job_fn *fn;
    void *baton;
    int writes, nudges;
    atomic_int refs;
    int ended; /* under the queue's lock */
    apr_status_t rv;
    core_job_t *next;
};

/* A thread with its connection.  It owns both until it ends. */
typedef struct worker_t {
    pthread_t thread;
    gb_db_t *db;
    apr_time_t retry_at;
    apr_interval_time_t backoff;
    int write_failed;
    apr_time_t busy_since; /* monotonic, 0 = idle; under the queue's lock */
    int retired;           /* another one has taken its place; under the lock */
} worker_t;

/* Of this child. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, done; /* for the thread; for those who wait for a job */
    worker_t *worker;          /* NULL: none runs */
    int stops;
    int n_retired; /* that hang still */
    apr_allocator_t *allocator;
    core_job_t *first, *last;
    int n;
} q;

/* ---- jobs ---- */

/*
 * One allocator for all of them, with a lock: one for each would map and unmap its pages with
 * every batch of the journal.
 */
static apr_pool_t *pool_make(const char *tag)
{
    apr_pool_t *pool;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, q.allocator) != APR_SUCCESS) {
        abort();
    }
    apr_pool_tag(pool, tag);
    return pool;
}

/* Neither it nor its lock ever goes: a thread that hangs may come back at any time. */
static void allocator_make(void)
{
    apr_thread_mutex_t *lock;
    apr_pool_t *own;

    if (apr_allocator_create(&q.allocator) != APR_SUCCESS
        || apr_pool_create_unmanaged_ex(&own, NULL, NULL) != APR_SUCCESS
        || apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, own) != APR_SUCCESS) {
        abort();
    }
    apr_allocator_mutex_set(q.allocator, lock);
    apr_allocator_max_free_set(q.allocator, KEEP_FREE);
}

core_job_t *core_job_make(core_job_fn *fn, int writes)
{
    apr_pool_t *pool = pool_make("gbalance_job");
    core_job_t *job = apr_pcalloc(pool, sizeof(*job));

    job->pool = pool;
    job->fn = fn;
    job->writes = writes;
    atomic_init(&job->refs, 1);
    return job;
}

apr_pool_t *core_job_pool(core_job_t *job)
{
    return job->pool;
}

void core_job_baton(core_job_t *job, void *baton)
{
    job->baton = baton;
}

void core_job_nudges(core_job_t *job)
{
    job->nudges = 1;
}

void core_job_release(core_job_t *job)
{
    if (atomic_fetch_sub(&job->refs, 1) == 1) {
        apr_pool_destroy(job->pool);
    }
}

int core_job_ended(const core_job_t *job, apr_status_t *rv)
{
    int ended;

    pthread_mutex_lock(&q.lock);
    ended = job->ended;
    *rv = job->rv;
    pthread_mutex_unlock(&q.lock);
    return ended;
}

static void deadline_of(struct timespec *ts, apr_interval_time_t wait)
{
    apr_time_t at = gb_mono_now() + wait;

    ts->tv_sec = (time_t)apr_time_sec(at);
    ts->tv_nsec = (long)apr_time_usec(at) * 1000;
}

static apr_status_t push_locked(core_job_t *job)
{
    if (!q.worker) {
        return APR_ENOTIMPL;
    }
    if (q.stops) {
        return APR_EOF;
    }
    if (q.n >= QUEUE_MAX) {
        return APR_EAGAIN;
    }
    atomic_fetch_add(&job->refs, 1);
    job->next = NULL;
    if (q.last) {
        q.last->next = job;
    }
    else {
        q.first = job;
    }
    q.last = job;
    q.n++;
    pthread_cond_signal(&q.work);
    return APR_SUCCESS;
}

apr_status_t core_job_run(core_job_t *job, apr_interval_time_t wait)
{
    struct timespec until;
    apr_status_t rv;
    int rc = 0;

    deadline_of(&until, wait);
    pthread_mutex_lock(&q.lock);
    rv = push_locked(job);
    while (rv == APR_SUCCESS && !job->ended && wait > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&q.done, &q.lock, &until);
    }
    if (rv == APR_SUCCESS) {
        rv = job->ended ? job->rv : APR_TIMEUP;
    }
    pthread_mutex_unlock(&q.lock);
    return rv;
}

/* ---- the thread ---- */

static core_job_t *pop_locked(void)
{
    core_job_t *job = q.first;

    if (job) {
        q.first = job->next;
        q.last = q.first ? q.last : NULL;
        q.n--;
    }
    return job;
}

static void disconnect(worker_t *worker)
{
    if (worker->db) {
        gb_db_close(worker->db);
        worker->db = NULL;
    }
}

static void postpone(worker_t *worker)
{
    worker->backoff = worker->backoff ? worker->backoff * 2 : BACKOFF_MIN;
    if (worker->backoff > BACKOFF_MAX) {
        worker->backoff = BACKOFF_MAX;
    }
    worker->retry_at = gb_mono_now() + worker->backoff;
}

static apr_status_t connect_db(worker_t *worker, apr_pool_t *p)
{
    if (worker->db) {
        return APR_SUCCESS;
    }
    if (gb_mono_now() < worker->retry_at) {
        return APR_ENOTIMPL;
    }
    worker->db = core_store_connect(p);
    if (!worker->db) {
        postpone(worker);
        return APR_ENOTIMPL;
    }
    return APR_SUCCESS;
}

/* Anything but a refused value leaves a connection that cannot be trusted. */
static void after_failure(worker_t *worker, const core_job_t *job, apr_pool_t *p)
{
    gb_db_fault_t fault = gb_db_fault(worker->db);

    if (fault != GB_DB_AWAY && fault != GB_DB_DAMAGED) {
        return;
    }
    core_store_state_set(
        fault == GB_DB_DAMAGED ? CORE_STORE_DAMAGED : CORE_STORE_AWAY,
        apr_psprintf(p, "%s: %s", core_store()->db->shown, gb_db_error(worker->db)));
    worker->write_failed |= job->writes;
    disconnect(worker);
    postpone(worker);
}

static void after_success(worker_t *worker, const core_job_t *job)
{
    worker->write_failed &= !job->writes;
    if (!worker->write_failed) {
        worker->backoff = 0;
        core_store_ready();
    }
}

static apr_status_t run_job(worker_t *worker, core_job_t *job)
{
    apr_pool_t *p = pool_make("gbalance_db_job");
    apr_status_t rv = connect_db(worker, p);

    if (rv == APR_SUCCESS) {
        gb_db_forget(worker->db);
        rv = job->fn(worker->db, job->baton, p);
        if (rv == APR_SUCCESS) {
            after_success(worker, job);
        }
        else {
            after_failure(worker, job, p);
        }
    }
    apr_pool_destroy(p);
    return rv;
}

static void serve(worker_t *worker, core_job_t *job)
{
    apr_status_t rv = run_job(worker, job);

    pthread_mutex_lock(&q.lock);
    job->rv = rv;
    job->ended = 1;
    worker->busy_since = 0;
    pthread_cond_broadcast(&q.done);
    pthread_mutex_unlock(&q.lock);
    if (job->nudges) {
        core_journal_nudge();
    }
    core_job_release(job);
}

/* NULL: the thread is to end. */
static core_job_t *next_job(worker_t *worker)
{
    core_job_t *job = NULL;

    pthread_mutex_lock(&q.lock);
    while (!worker->retired && !q.first && !q.stops) {
        pthread_cond_wait(&q.work, &q.lock);
    }
    if (!worker->retired) {
        job = pop_locked();
        worker->busy_since = job ? gb_mono_now() : 0;
    }
    else {
        q.n_retired--;
    }
    pthread_mutex_unlock(&q.lock);
    return job;
}

static void *thread_main(void *data)
{
    worker_t *worker = data;
    core_job_t *job;

    while ((job = next_job(worker)) != NULL) {
        serve(worker, job);
    }
    disconnect(worker);
    if (worker->retired) {
        free(worker); /* nobody joins it */
    }
    return NULL;
}

/* ---- life ---- */

/* Signals are for httpd's own threads. */
static worker_t *worker_start(void)
{
    worker_t *worker = calloc(1, sizeof(*worker));
    sigset_t all, before;
    int rc;

    if (!worker) {
        return NULL;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&worker->thread, NULL, thread_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        ap_log_error(APLOG_MARK, APLOG_ALERT, rc, core_store()->s,
                     GBLOGNO(8035) "store: no thread for the database in this child");
        free(worker);
        worker = NULL;
    }
    return worker;
}

/* Another one instead of one that hangs. */
static void retire_locked(void)
{
    worker_t *fresh = worker_start();

    if (fresh) {
        q.worker->retired = 1;
        q.n_retired++;
        pthread_detach(q.worker->thread);
        q.worker = fresh;
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, core_store()->s,
            GBLOGNO(8036) "store: %s has not answered for a minute: another connection is tried",
            core_store()->db->shown);
    }
}

apr_interval_time_t core_dbthread_busy(void)
{
    apr_interval_time_t busy;

    pthread_mutex_lock(&q.lock);
    busy = q.worker && q.worker->busy_since ? gb_mono_now() - q.worker->busy_since : 0;
    if (busy > HANGS && !q.stops && q.n_retired < RETIRED_MAX) {
        retire_locked();
    }
    pthread_mutex_unlock(&q.lock);
    return busy;
}

void core_dbthread_child_init(void)
{
    pthread_condattr_t attr;

    memset(&q, 0, sizeof(q));
    allocator_make();
    pthread_mutex_init(&q.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q.work, &attr);
    pthread_cond_init(&q.done, &attr);
    pthread_condattr_destroy(&attr);
    if (core_store()) {
        q.worker = worker_start();
    }
}

void core_dbthread_stop(apr_interval_time_t patience)
{
    struct timespec until;
    apr_time_t at = apr_time_now() + patience;

    if (!q.worker) {
        return;
    }
    pthread_mutex_lock(&q.lock);
    q.stops = 1;
    pthread_cond_broadcast(&q.work);
    pthread_mutex_unlock(&q.lock);
    until.tv_sec = (time_t)apr_time_sec(at);
    until.tv_nsec = (long)apr_time_usec(at) * 1000;
    if (pthread_timedjoin_np(q.worker->thread, NULL, &until) == 0) {
        free(q.worker);
        q.worker = NULL;
    }
}
