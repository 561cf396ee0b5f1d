/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions of sibling modules to the database: a job of the database thread
 * that ends with the request, or after it when the database hangs.  What is asked
 * is theirs.
 */
#include "core_store.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define WAIT apr_time_from_sec(5)

struct gb_job_t {
    core_job_t *job;
    gb_job_fn *fn;
    void *baton;
};

/* The database thread: what is answered must outlive this run. */
static apr_status_t ask_main(gb_db_t *db, void *data, apr_pool_t *p)
{
    gb_job_t *ask = data;

    (void)p;
    return ask->fn(db, ask->baton, core_job_pool(ask->job));
}

static apr_status_t ask_release(void *data)
{
    core_job_release(data);
    return APR_SUCCESS;
}

gb_job_t *core_ask_make(apr_pool_t *p, gb_job_fn *fn, int writes)
{
    core_job_t *job = core_job_make(ask_main, writes);
    gb_job_t *ask = apr_pcalloc(core_job_pool(job), sizeof(*ask));

    ask->job = job;
    ask->fn = fn;
    core_job_baton(job, ask);
    apr_pool_cleanup_register(p, job, ask_release, apr_pool_cleanup_null);
    return ask;
}

apr_pool_t *core_ask_pool(gb_job_t *ask)
{
    return core_job_pool(ask->job);
}

static const char *why_not(apr_status_t rv, char *text)
{
    core_store_state_t state = core_store_state(text);

    if (state == CORE_STORE_OFF) {
        return GB_WORD("This server keeps no logs and figures: it has no state directory "
                       "(GBalanceStateDir), or cannot write there.");
    }
    if (APR_STATUS_IS_TIMEUP(rv) || APR_STATUS_IS_EAGAIN(rv)) {
        return GB_WORD("The database has not answered within 5 seconds. Try again.");
    }
    if (APR_STATUS_IS_EOF(rv)) {
        return GB_WORD("This process of httpd is ending. Try again.");
    }
    return NULL;
}

apr_status_t core_ask_run(gb_job_t *ask, void *baton, gb_error_t *err)
{
    char text[300];
    const char *why;
    apr_status_t rv;

    ask->baton = baton;
    rv = core_store_refuses(err) ? APR_EACCES : core_job_run(ask->job, WAIT);
    if (rv == APR_SUCCESS || APR_STATUS_IS_NOTFOUND(rv) || APR_STATUS_IS_EACCES(rv)) {
        return rv;
    }
    why = why_not(rv, text);
    if (why) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "store_unavailable", NULL, "%s", why);
    }
    else {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "store_unavailable", NULL,
                     "The database is not there now (%s).", text);
    }
    err->retry_after = apr_time_from_sec(5);
    return rv;
}
