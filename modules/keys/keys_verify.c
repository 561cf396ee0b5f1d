/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying many keys: a job with so many checks under way, each answer begins
 * the next one.  Jobs live in this process, malloc'ed, counted by their checks;
 * answers come in the engine's thread.
 */
#include "keys.h"

#include <stdlib.h>

#include "apr_atomic.h"
#include "apr_strings.h"
#include "apr_thread_mutex.h"

APLOG_USE_MODULE(gbalance_keys);

#define JOBS_MAX    8 /* at a time in one process */
#define AT_ONCE_MAX 32

typedef struct job_t {
    struct job_t *next;
    apr_pool_t *pool; /* its own root: freed with the job */
    int number;
    gb_pool_key_t *rows;
    int n, asked, answered, under_way, cancelled;
    gb_keys_verified_fn *fn;
    void *baton;
} job_t;

typedef struct ask_t {
    job_t *job;
    int row;
} ask_t;

/* Made in child_init's process by the first job; the mutex guards all that is in job_t. */
static apr_thread_mutex_t *mutex;
static job_t *jobs;
static int last_number;

static void step(job_t *job, int ended);

/* ---- answers ---- */

static int works(gb_class_t cls)
{
    return cls == GB_CLASS_SUCCESS || cls == GB_CLASS_EMPTY || cls == GB_CLASS_BLOCKED
           || cls == GB_CLASS_QUOTA;
}

static void verdict_make(gb_keys_verdict_t *out, const gb_pool_key_t *row,
                         const gb_verdict_t *verdict)
{
    memset(out, 0, sizeof(*out));
    apr_cpystrn(out->id, row->id, sizeof(out->id));
    out->works = works(verdict->cls);
    out->outcome = gb_class_name(verdict->cls);
    out->row = verdict->row ? verdict->row : "";
    apr_cpystrn(out->text, verdict->message, sizeof(out->text));
}

static void tell(job_t *job, int row, const gb_verdict_t *verdict)
{
    gb_keys_verdict_t told;

    verdict_make(&told, &job->rows[row], verdict);
    apr_thread_mutex_lock(mutex);
    told.done = ++job->answered;
    told.total = job->n;
    apr_thread_mutex_unlock(mutex);
    job->fn(job->baton, &told);
}

static void on_checked(void *baton, const gb_verdict_t *verdict)
{
    ask_t *ask = baton;
    job_t *job = ask->job;
    int row = ask->row;

    free(ask);
    tell(job, row, verdict);
    step(job, 1);
}

/* One that could not even be sent. */
static void not_sent(job_t *job, int row, apr_status_t rv)
{
    gb_verdict_t verdict;

    memset(&verdict, 0, sizeof(verdict));
    verdict.cls = GB_CLASS_CANCELLED;
    apr_strerror(rv, verdict.message, sizeof(verdict.message));
    tell(job, row, &verdict);
}

/* ---- the job ---- */

static void job_end(job_t *job)
{
    job_t **at;

    apr_thread_mutex_lock(mutex);
    for (at = &jobs; *at != job; at = &(*at)->next) {
    }
    *at = job->next;
    apr_thread_mutex_unlock(mutex);
    job->fn(job->baton, NULL);
    apr_pool_destroy(job->pool);
}

/*
 * `ended` checks of this caller's have ended; they count as under way until then, so that nobody
 * else ends the job meanwhile.  -1: nothing to send, others are under way; -2: the job is over, and
 * this caller ends it.
 */
static int next_row(job_t *job, int ended)
{
    int row = -1;

    apr_thread_mutex_lock(mutex);
    job->under_way -= ended;
    if (!job->cancelled && job->asked < job->n) {
        row = job->asked++;
        job->under_way++;
    }
    else if (job->under_way == 0) {
        row = -2;
    }
    apr_thread_mutex_unlock(mutex);
    return row;
}

/* Each call keeps one check under way until there is none left to make. */
static void step(job_t *job, int ended)
{
    for (;; ended = 1) {
        int row = next_row(job, ended);
        ask_t *ask;
        apr_status_t rv;

        if (row < 0) {
            if (row == -2) {
                job_end(job);
            }
            return;
        }
        ask = malloc(sizeof(*ask));
        if (ask) {
            ask->job = job;
            ask->row = row;
        }
        rv = ask ? keys_check(&job->rows[row], on_checked, ask) : APR_ENOMEM;
        if (rv == APR_SUCCESS) {
            return;
        }
        free(ask);
        not_sent(job, row, rv);
    }
}

/* Gives back what held the job together while its first checks were begun. */
static void let_go(job_t *job)
{
    int over;

    apr_thread_mutex_lock(mutex);
    over = --job->under_way == 0;
    apr_thread_mutex_unlock(mutex);
    if (over) {
        job_end(job);
    }
}

static job_t *job_make(const char *pool_name, const char *const *ids, int n_ids)
{
    apr_array_header_t *rows;
    apr_pool_t *pool;
    job_t *job;
    int i, kept = 0;

    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    job = apr_pcalloc(pool, sizeof(*job));
    job->pool = pool;
    rows = keys_named(pool_name, ids, n_ids, pool);
    job->rows = (gb_pool_key_t *)rows->elts;
    for (i = 0; i < rows->nelts; i++) {
        if (n_ids >= 0 || job->rows[i].enabled) {
            job->rows[kept++] = job->rows[i];
        }
    }
    job->n = kept;
    return job;
}

static int job_enter(job_t *job)
{
    int running = 0;
    job_t *at;

    apr_thread_mutex_lock(mutex);
    for (at = jobs; at; at = at->next) {
        running++;
    }
    if (running < JOBS_MAX) {
        job->number = ++last_number;
        job->next = jobs;
        jobs = job;
    }
    apr_thread_mutex_unlock(mutex);
    return job->number;
}

int gbalance_keys_verify(apr_status_t *rv, const char *pool, const char *const *ids, int n_ids,
                         int at_a_time, gb_keys_verified_fn *fn, void *baton)
{
    job_t *job;
    int number, i;

    *rv = !keys_pool || !mutex ? APR_ENOTIMPL : keys_probe() ? APR_SUCCESS : APR_ENOTIMPL;
    if (*rv != APR_SUCCESS) {
        return 0;
    }
    job = job_make(pool, ids, n_ids);
    job->fn = fn;
    job->baton = baton;
    number = job->n ? job_enter(job) : 0;
    if (!number) {
        *rv = job->n ? APR_EBUSY : APR_NOTFOUND;
        apr_pool_destroy(job->pool);
        return 0;
    }
    at_a_time = at_a_time < 1 ? 1 : at_a_time > AT_ONCE_MAX ? AT_ONCE_MAX : at_a_time;
    at_a_time = at_a_time < job->n ? at_a_time : job->n;
    /* Held by one more "check", so that the first answers cannot end the job under us. */
    apr_thread_mutex_lock(mutex);
    job->under_way++;
    apr_thread_mutex_unlock(mutex);
    for (i = 0; i < at_a_time; i++) {
        step(job, 0);
    }
    let_go(job);
    return number;
}

void gbalance_keys_verify_cancel(int number)
{
    job_t *job;

    if (!mutex) {
        return;
    }
    apr_thread_mutex_lock(mutex);
    for (job = jobs; job; job = job->next) {
        if (job->number == number) {
            job->cancelled = 1;
        }
    }
    apr_thread_mutex_unlock(mutex);
}

void keys_verify_child_init(apr_pool_t *p)
{
    jobs = NULL;
    if (apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS) {
        mutex = NULL;
    }
}

void keys_verify_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_verify);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_verify_cancel);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_verify_wait);
}
