/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the database, for builders and endpoints: what goes wrong is the answer already. */
#include "admin.h"

#include "apr_strings.h"

gb_job_t *admin_job_in(apr_pool_t *p, gb_job_fn *fn, int writes)
{
    return admin_core.job_make(p, fn, writes);
}

gb_job_t *admin_job(admin_page_t *page, gb_job_fn *fn, int writes)
{
    return admin_job_in(page->r->pool, fn, writes);
}

apr_pool_t *admin_job_pool(gb_job_t *job)
{
    return admin_core.job_pool(job);
}

apr_status_t admin_job_run(admin_page_t *page, gb_job_t *job, void *baton)
{
    gb_error_t err;
    apr_status_t rv = admin_core.job_run(job, baton, &err);

    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        admin_fail(page, err.status, "%s", err.message);
    }
    return rv;
}

apr_status_t admin_job_ask(gb_job_t *job, void *baton, const char **why, apr_pool_t *p)
{
    gb_error_t err;
    apr_status_t rv;

    memset(&err, 0, sizeof(err));
    rv = admin_core.job_run(job, baton, &err);
    *why = rv == APR_SUCCESS ? "" : apr_pstrdup(p, err.message);
    return rv;
}
