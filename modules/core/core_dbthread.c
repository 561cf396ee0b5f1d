/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database thread: one a child, the only one that calls a driver.  Jobs wait
 * in a queue of 64.  A driver has no read timeout, so the thread may hang as long
 * as the server does; whoever waits for a job gives up by itself, which is why a
 * job has a pool of its own and two owners.
 */
#include "core_store.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "apr_allocator.h"
#include "apr_strings.h"

#include "base/timeutil.h"

APLOG_USE_MODULE(gbalance);

#define QUEUE_MAX   64
#define BACKOFF_MIN apr_time_from_msec(250)
#define BACKOFF_MAX apr_time_from_sec(5)

struct core_job_t {
    apr_pool_t *pool;
    core_job_fn *fn;
    void *baton;
    int writes;
    atomic_int refs;
    int ended; /* under the queue's lock */
    apr_status_t rv;
    core_job_t *next;
};

/* Of this child. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, done; /* for the thread; for those who wait for a job */
    pthread_t thread;
    int runs, stops;
    core_job_t *first, *last;
    int n;
    apr_time_t busy_since; /* monotonic, 0 = idle */
    /* the thread's own */
    gb_db_t *db;
    apr_time_t retry_at;
    apr_interval_time_t backoff;
    int write_failed;
} q;

/* ---- jobs ---- */

static apr_pool_t *pool_make(const char *tag)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;

    if (apr_allocator_create(&allocator) != APR_SUCCESS
        || apr_pool_create_unmanaged_ex(&pool, NULL, allocator) != APR_SUCCESS) {
        abort();
    }
    apr_allocator_owner_set(allocator, pool);
    apr_pool_tag(pool, tag);
    return pool;
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
    if (!q.runs) {
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

static void disconnect(void)
{
    if (q.db) {
        gb_db_close(q.db);
        q.db = NULL;
    }
}

static void postpone(void)
{
    q.backoff = q.backoff ? q.backoff * 2 : BACKOFF_MIN;
    if (q.backoff > BACKOFF_MAX) {
        q.backoff = BACKOFF_MAX;
    }
    q.retry_at = gb_mono_now() + q.backoff;
}

static apr_status_t connect_db(apr_pool_t *p)
{
    if (q.db) {
        return APR_SUCCESS;
    }
    if (gb_mono_now() < q.retry_at) {
        return APR_ENOTIMPL;
    }
    q.db = core_store_connect(p);
    if (!q.db) {
        postpone();
        return APR_ENOTIMPL;
    }
    return APR_SUCCESS;
}

/* Anything but a refused value leaves a connection that cannot be trusted. */
static void after_failure(const core_job_t *job, apr_pool_t *p)
{
    gb_db_fault_t fault = gb_db_fault(q.db);

    if (fault != GB_DB_AWAY && fault != GB_DB_DAMAGED) {
        return;
    }
    core_store_state_set(fault == GB_DB_DAMAGED ? CORE_STORE_DAMAGED : CORE_STORE_AWAY,
                         apr_psprintf(p, "%s: %s", core_store()->db->shown, gb_db_error(q.db)));
    q.write_failed |= job->writes;
    disconnect();
    postpone();
}

static void after_success(const core_job_t *job)
{
    q.write_failed &= !job->writes;
    if (!q.write_failed) {
        q.backoff = 0;
        core_store_ready();
    }
}

static apr_status_t run_job(core_job_t *job)
{
    apr_pool_t *p = pool_make("gbalance_db_job");
    apr_status_t rv = connect_db(p);

    if (rv == APR_SUCCESS) {
        gb_db_forget(q.db);
        rv = job->fn(q.db, job->baton, p);
        if (rv == APR_SUCCESS) {
            after_success(job);
        }
        else {
            after_failure(job, p);
        }
    }
    apr_pool_destroy(p);
    return rv;
}

static void serve(core_job_t *job)
{
    apr_status_t rv = run_job(job);

    pthread_mutex_lock(&q.lock);
    job->rv = rv;
    job->ended = 1;
    q.busy_since = 0;
    pthread_cond_broadcast(&q.done);
    pthread_mutex_unlock(&q.lock);
    core_job_release(job);
}

static void *thread_main(void *unused)
{
    core_job_t *job;

    (void)unused;
    for (;;) {
        pthread_mutex_lock(&q.lock);
        while (!q.first && !q.stops) {
            pthread_cond_wait(&q.work, &q.lock);
        }
        job = pop_locked();
        q.busy_since = job ? gb_mono_now() : 0;
        pthread_mutex_unlock(&q.lock);
        if (!job) {
            break;
        }
        serve(job);
    }
    disconnect();
    return NULL;
}

apr_interval_time_t core_dbthread_busy(void)
{
    apr_interval_time_t busy;

    pthread_mutex_lock(&q.lock);
    busy = q.busy_since ? gb_mono_now() - q.busy_since : 0;
    pthread_mutex_unlock(&q.lock);
    return busy;
}

/* ---- life ---- */

void core_dbthread_child_init(void)
{
    pthread_condattr_t attr;
    sigset_t all, before;

    memset(&q, 0, sizeof(q));
    pthread_mutex_init(&q.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q.work, &attr);
    pthread_cond_init(&q.done, &attr);
    pthread_condattr_destroy(&attr);
    if (!core_store()) {
        return;
    }
    /* signals are for httpd's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    q.runs = pthread_create(&q.thread, NULL, thread_main, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!q.runs) {
        ap_log_error(APLOG_MARK, APLOG_ALERT, errno, core_store()->s,
                     GBLOGNO(8035) "store: no thread for the database in this child");
    }
}

void core_dbthread_stop(apr_interval_time_t patience)
{
    struct timespec until;
    apr_time_t at = apr_time_now() + patience;

    if (!q.runs) {
        return;
    }
    pthread_mutex_lock(&q.lock);
    q.stops = 1;
    pthread_cond_signal(&q.work);
    pthread_mutex_unlock(&q.lock);
    until.tv_sec = (time_t)apr_time_sec(at);
    until.tv_nsec = (long)apr_time_usec(at) * 1000;
    if (pthread_timedjoin_np(q.thread, NULL, &until) == 0) {
        q.runs = 0;
    }
}
