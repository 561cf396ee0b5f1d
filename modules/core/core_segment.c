/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second pass of post_config: the segment with its tenants, the limit of
 * descriptors, and the bridge from the lower layers' log to httpd's.  What goes
 * wrong here degrades gbalance and never the server: configtest cannot see it.
 */
#include "core.h"
#include "core_live.h"
#include "core_session.h"
#include "core_store.h"

#include <sys/resource.h>

#include "ap_mpm.h"
#include "http_core.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

static gb_segment_t *segment;

gb_tenant_t *core_tenant_get(const char *name)
{
    return segment ? gb_segment_tenant(segment, name) : NULL;
}

/* ---- log ---- */

static void log_line(void *baton, const char *file, int line, gb_log_level_t level, apr_status_t rv,
                     const char *message)
{
    ap_log_error(file, line, APLOG_MODULE_INDEX, (int)level, rv, (server_rec *)baton, "%s",
                 message);
}

void core_log_install(server_rec *s)
{
    gb_log_set(log_line, s, (gb_log_level_t)ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX));
}

/* ---- descriptors ---- */

/* A parked stream costs three: client, eventfd, upstream. */
static void raise_descriptors(server_rec *s)
{
    struct rlimit limit;
    int threads = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (rlim_t)(threads * 3 + 1024)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     GBLOGNO(8021) "only %lu open files are allowed: a parked stream needs three. "
                                   "Raise the hard "
                                   "limit (ulimit -Hn, LimitNOFILE=)",
                     (unsigned long)limit.rlim_cur);
    }
}

/* ---- segment ---- */

/* The view of it outlives ptemp: children use it. */
static void open_segment(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    apr_array_header_t *specs = apr_array_make(ptemp, 4, sizeof(gb_tenant_spec_t));
    apr_status_t rv;

    segment = NULL;
    core_memory_tenants(specs);
    core_store_tenants(specs);
    core_journal_tenants(specs);
    core_live_tenants(specs);
    core_owners_tenants(specs);
    core_files_tenants(specs);
    core_upload_tenants(specs);
    core_session_tenants(specs);
    core_guess_tenants(specs);
    core_gallery_tenants(specs);
    gbalance_run_segment_tenants(specs);
    rv = gb_segment_open(&segment, (const gb_tenant_spec_t *)specs->elts, specs->nelts,
                         s->process->pool, pconf);
    if (rv != APR_SUCCESS) {
        segment = NULL;
        ap_log_error(APLOG_MARK, APLOG_ALERT, rv, s,
                     GBLOGNO(8022) "shared memory was refused: gbalance's locations answer 503. "
                                   "Allow more, or lower GBalanceMaxKeys");
    }
}

int core_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf;
    (void)plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || !core_is_used()) {
        return OK;
    }
    core_log_install(s);
    raise_descriptors(s);
    open_segment(s, pconf, ptemp);
    core_store_post_config(s, pconf, ptemp);
    core_upload_post_config(s, ptemp);
    core_live_post_config(s, pconf, ptemp);
    core_journal_post_config(pconf);
    core_gallery_post_config(s, pconf);
    return OK;
}
