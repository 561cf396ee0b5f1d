/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lives once per child: the engine, and the host that links exchanges to
 * the hooks of key modules.
 */
#include "core.h"
#include "core_live.h"
#include "core_store.h"

#include <stdatomic.h>

#include "ap_mpm.h"
#include "apr_strings.h"
#include <curl/curl.h>

APLOG_USE_MODULE(gbalance);

/* Set in child_init, when other modules' threads run already; it stays when the engine has ended. */
static _Atomic(gb_engine_t *) engine;

gb_engine_t *core_engine(void)
{
    return atomic_load(&engine);
}

/* ---- the host ---- */

static int host_pick(void *baton, const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait,
                     gb_error_t *err)
{
    int rc = gbalance_run_key_pick(pick, key, wait, err);

    (void)baton;
    if (rc == DECLINED) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "No module serves keys on this server: load mod_gbalance_keys.");
        rc = HTTP_SERVICE_UNAVAILABLE;
    }
    return rc;
}

static void host_report(void *baton, const gb_report_t *report)
{
    (void)baton;
    gbalance_run_key_report(report);
}

static void host_begins(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    (void)baton;
    core_journal_begin(x, attempt);
}

static void host_ended(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    const gb_plan_t *plan = gb_exchange_plan(x);
    server_rec *s = baton;

    core_owners_learn(x, attempt);
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s,
                 GBLOGNO(5003) "req %s.%d: %s %s key %s: %d %s (%s) in %" APR_TIME_T_FMT " ms",
                 attempt->request_id, attempt->number, plan->dialect->name,
                 plan->model_used[0] ? plan->model_used : "-", attempt->key_id, attempt->status,
                 gb_class_name(attempt->verdict->cls),
                 attempt->verdict->row ? attempt->verdict->row : "-",
                 apr_time_as_msec(attempt->latency));
    core_journal_end(x, attempt);
}

static void host_refused(void *baton, const gb_plan_t *plan, const gb_settings_t *settings,
                         const char *field)
{
    (void)baton;
    core_memory_refused(plan, settings, field);
}

static gb_exchange_host_t host = {NULL,        host_pick,  host_report,
                                  host_begins, host_ended, host_refused};

const gb_exchange_host_t *core_host(void)
{
    return &host;
}

/* ---- life ---- */

static int child_is_stopping(void *baton)
{
    int state = AP_MPMQ_RUNNING;

    (void)baton;
    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

/* Before any pool of the child goes: what the engine touches is still there. */
static apr_status_t engine_pre_cleanup(void *data)
{
    gb_engine_stop(data);
    return APR_SUCCESS;
}

void core_child_init(apr_pool_t *pchild, server_rec *s)
{
    const core_conf_t *conf = core_conf_get(s);
    gb_engine_conf_t settings;
    gb_engine_t *started;
    apr_status_t rv;

    if (!core_is_used()) {
        return;
    }
    host.baton = s;
    /* levels of the log on pconf: workers that nobody waits for still log when pchild has gone */
    core_live_child_init(s->process->pconf, s);
    core_park_child_init();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    core_memory_child_init(s->process->pconf);
    core_journal_child_init(pchild); /* begins threads, which find all of the above */
    memset(&settings, 0, sizeof(settings));
    settings.user_agent = "gbalance/" GBALANCE_VERSION;
    settings.ca_file = conf->ca_file;
    settings.drain = conf->drain == CORE_UNSET ? apr_time_from_sec(600) : conf->drain;
    settings.stopping = child_is_stopping;
    /* on pconf: connections, which are its children too, let go of their exchanges before it goes */
    rv = gb_engine_start(&started, &settings, s->process->pconf);
    if (rv != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_ALERT, rv, s,
            GBLOGNO(8020) "cannot start the engine: gbalance's locations answer 503 in this child");
        return;
    }
    atomic_store(&engine, started);
    apr_pool_pre_cleanup_register(pchild, started, engine_pre_cleanup);
}
