/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying keys for somebody who waits: verdicts come in the engine's thread
 * and are queued for the worker, who hands each on as a line of JSON with how far
 * it is.  Worker and job leave in either order.
 */
#include "keys_api.h"

#include "ap_mpm.h"
#include "http_protocol.h"
#include "apr_atomic.h"
#include "apr_strings.h"
#include "apr_thread_cond.h"
#include "apr_thread_mutex.h"

APLOG_USE_MODULE(gbalance_keys);

#define AT_A_TIME_DEFAULT 5
#define AT_A_TIME_MAX     32

/* ---- the queue ---- */

struct keys_run_t {
    apr_pool_t *pool; /* its own root */
    apr_thread_mutex_t *mutex;
    apr_thread_cond_t *more;
    apr_array_header_t *verdicts; /* of gb_keys_verdict_t */
    int taken, over, job;
    apr_uint32_t owners; /* the worker, and the job until its last call */
};

static void unref(keys_run_t *run)
{
    if (apr_atomic_dec32(&run->owners) == 0) {
        apr_pool_destroy(run->pool);
    }
}

/* The engine's thread. */
static void on_verdict(void *baton, const gb_keys_verdict_t *verdict)
{
    keys_run_t *run = baton;

    apr_thread_mutex_lock(run->mutex);
    if (verdict) {
        APR_ARRAY_PUSH(run->verdicts, gb_keys_verdict_t) = *verdict;
    }
    run->over = run->over || !verdict;
    apr_thread_cond_signal(run->more);
    apr_thread_mutex_unlock(run->mutex);
    if (!verdict) {
        unref(run);
    }
}

static keys_run_t *run_make(void)
{
    apr_pool_t *pool;
    keys_run_t *run;

    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    run = apr_pcalloc(pool, sizeof(*run));
    run->pool = pool;
    run->verdicts = apr_array_make(pool, 16, sizeof(gb_keys_verdict_t));
    run->owners = 2;
    if (apr_thread_mutex_create(&run->mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS
        || apr_thread_cond_create(&run->more, pool) != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return NULL;
    }
    return run;
}

apr_status_t keys_run_start(keys_run_t **prun, const char *pool, const char *const *ids, int n,
                            int at_a_time)
{
    keys_run_t *run = run_make();
    apr_status_t rv;

    if (!run) {
        return APR_ENOMEM;
    }
    run->job = gbalance_keys_verify(&rv, pool, ids, n, at_a_time, on_verdict, run);
    if (!run->job) {
        apr_pool_destroy(run->pool);
        return rv;
    }
    *prun = run;
    return APR_SUCCESS;
}

apr_status_t keys_run_next(keys_run_t *run, gb_keys_verdict_t *verdict)
{
    apr_status_t rv = APR_TIMEUP;

    apr_thread_mutex_lock(run->mutex);
    if (run->taken == run->verdicts->nelts && !run->over) {
        apr_thread_cond_timedwait(run->more, run->mutex, apr_time_from_sec(1));
    }
    if (run->taken < run->verdicts->nelts) {
        *verdict = APR_ARRAY_IDX(run->verdicts, run->taken++, gb_keys_verdict_t);
        rv = APR_SUCCESS;
    }
    else if (run->over) {
        rv = APR_EOF;
    }
    apr_thread_mutex_unlock(run->mutex);
    return rv;
}

void keys_run_leave(keys_run_t *run)
{
    gbalance_keys_verify_cancel(run->job);
    unref(run);
}

int keys_run_is_vain(request_rec *r)
{
    APR_OPTIONAL_FN_TYPE(gbalance_client_left) *left = APR_RETRIEVE_OPTIONAL_FN(
        gbalance_client_left);
    int state = AP_MPMQ_RUNNING;

    ap_mpm_query(AP_MPMQ_MPM_STATE, &state);
    return state == AP_MPMQ_STOPPING || (left && left(r));
}

apr_status_t gbalance_keys_verify_wait(apr_array_header_t **verdicts, request_rec *r,
                                       const char *pool, const char *const *ids, int n_ids,
                                       int at_a_time)
{
    apr_array_header_t *all = apr_array_make(r->pool, 16, sizeof(gb_keys_verdict_t));
    gb_keys_verdict_t verdict;
    keys_run_t *run;
    apr_status_t rv = keys_run_start(&run, pool, ids, n_ids, at_a_time);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    while ((rv = keys_run_next(run, &verdict)) != APR_EOF && !keys_run_is_vain(r)) {
        if (rv == APR_SUCCESS) {
            APR_ARRAY_PUSH(all, gb_keys_verdict_t) = verdict;
        }
    }
    keys_run_leave(run);
    *verdicts = all;
    return APR_SUCCESS;
}

/* ---- POST /api/keys/verify ---- */

static void put_verdict(gb_buf_t *out, const gb_keys_verdict_t *verdict)
{
    gb_buf_puts(out, "{\"id\":");
    gb_json_put_cstr(out, verdict->id);
    gb_buf_printf(out, ",\"works\":%s,\"outcome\":", verdict->works ? "true" : "false");
    gb_json_put_cstr(out, verdict->outcome);
    gb_buf_puts(out, ",\"reason\":");
    gb_json_put_cstr(out, verdict->row);
    gb_buf_puts(out, ",\"text\":");
    gb_json_put_cstr(out, verdict->text);
    gb_buf_printf(out, ",\"done\":%d,\"total\":%d}\n", verdict->done, verdict->total);
}

static void send_line(keys_ask_t *ask)
{
    ap_rwrite(ask->out.data, (int)ask->out.len, ask->r);
    ap_rflush(ask->r);
    gb_buf_reset(&ask->out);
}

/* A line for each key, and one that says that this was all. */
static void stream(keys_ask_t *ask, keys_run_t *run)
{
    gb_keys_verdict_t verdict;
    int works = 0, done = 0;
    apr_status_t rv;

    while ((rv = keys_run_next(run, &verdict)) != APR_EOF && !keys_run_is_vain(ask->r)) {
        if (rv == APR_SUCCESS) {
            works += verdict.works;
            done++;
            put_verdict(&ask->out, &verdict);
            send_line(ask);
        }
    }
    gb_buf_printf(&ask->out, "{\"finished\":%s,\"works\":%d,\"fails\":%d}\n",
                  rv == APR_EOF ? "true" : "false", works, done - works);
    send_line(ask);
}

static int take_at_a_time(keys_ask_t *ask, int *n, int *rc)
{
    gb_span_t value = gb_json_get(ask->body, "at_a_time");
    apr_int64_t given = AT_A_TIME_DEFAULT;

    if (value.p && (!gb_json_int(value, &given) || given < 1 || given > AT_A_TIME_MAX)) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, "at_a_time",
                          "at_a_time must be a number from 1 to %d.", AT_A_TIME_MAX);
        return 0;
    }
    *n = (int)given;
    return 1;
}

int keys_api_verify(keys_ask_t *ask)
{
    const char *const *ids;
    int n, at_a_time, rc = OK;
    keys_run_t *run;
    apr_status_t rv;

    if (!keys_chosen(ask, "ids", &ids, &n, &rc) || !take_at_a_time(ask, &at_a_time, &rc)) {
        return rc;
    }
    rv = keys_run_start(&run, ask->pool, ids, n, at_a_time);
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    ap_set_content_type(ask->r, "application/x-ndjson");
    apr_table_setn(ask->r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(ask->r->headers_out, "X-Accel-Buffering", "no");
    stream(ask, run);
    keys_run_leave(run);
    return OK;
}
