/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe: one small call with one given key, for the recovery check and for
 * "verify".  It is an exchange like any other whose host hands out that key,
 * once, and whose answer nobody reads.
 */
#include "core.h"

#include "apr_strings.h"
#include "proto/gemini.h"

APLOG_USE_MODULE(gbalance);

typedef struct probe_t {
    gb_exchange_host_t host;
    gb_exchange_conf_t conf;
    gb_sink_t sink;
    gb_key_t key;
    int given;                      /* the key was handed out */
    gb_exchange_t *x;
    gb_probe_done_fn *done;
    void *baton;
} probe_t;

/* ---- the host: one key, once ---- */

static int probe_pick(void *baton, const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait,
                      gb_error_t *err)
{
    probe_t *probe = baton;

    (void)pick;
    (void)wait;
    if (probe->given) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, NULL, NULL, "One attempt is all a probe has.");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    probe->given = 1;
    *key = probe->key;
    return OK;
}

/* The first verdict is the answer; a re-send of the same key reports once, at its end. */
static void probe_report(void *baton, const gb_report_t *report)
{
    probe_t *probe = baton;

    if (probe->done) {
        probe->done(probe->baton, report->verdict);
        probe->done = NULL;
    }
}

static void probe_attempt(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    (void)baton;
    (void)x;
    (void)attempt;
}

/* ---- the sink: nobody reads ---- */

static void sink_start(gb_sink_t *sink)
{
    (void)sink;
}

static apr_status_t sink_begin(gb_sink_t *sink, gb_head_t *head)
{
    (void)sink;
    head->taken = head->body != NULL;
    return APR_SUCCESS;
}

static apr_status_t sink_data(gb_sink_t *sink, const char *bytes, apr_size_t len, apr_size_t *taken)
{
    (void)sink;
    (void)bytes;
    *taken = len;
    return APR_SUCCESS;
}

/* Without a report (the engine stopped before the call was made) it counts as cancelled. */
static void sink_end(gb_sink_t *sink, apr_status_t rv)
{
    probe_t *probe = (probe_t *)((char *)sink - offsetof(probe_t, sink));
    gb_verdict_t verdict;

    (void)rv;
    if (probe->done) {
        memset(&verdict, 0, sizeof(verdict));
        verdict.cls = GB_CLASS_CANCELLED;
        probe->done(probe->baton, &verdict);
    }
    gb_exchange_unref(probe->x);
}

/* ---- the probe ---- */

static gb_plan_t *probe_plan(const char *model, const gb_settings_t *settings, apr_pool_t *pool)
{
    static const char body[] = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}";
    gb_plan_t *plan = gb_plan_make(&gb_gemini_dialect, pool);
    gb_request_t req;
    gb_error_t err;

    memset(&req, 0, sizeof(req));
    req.method = "POST";
    req.path = apr_psprintf(pool, "/models/%s:generateContent", model);
    req.body = body;
    req.body_len = sizeof(body) - 1;
    req.now = apr_time_now();
    return gb_gemini_dialect.parse_request(&plan, &req, settings, &err, pool) == APR_SUCCESS ? plan
                                                                                          : NULL;
}

static const gb_settings_t *settings_of(const char *pool_name)
{
    int n, i;
    const gb_pool_conf_t *pools = core_pools(&n);

    for (i = 0; i < n; i++) {
        if (strcmp(pools[i].name, pool_name) == 0) {
            return pools[i].settings;
        }
    }
    return NULL;
}

static probe_t *probe_make(const char *pool_name, const gb_settings_t *settings, const gb_key_t *key,
                           apr_pool_t *pool)
{
    static const char *const no_headers[] = { NULL };
    probe_t *probe = apr_pcalloc(pool, sizeof(*probe));
    unsigned char id[6];
    char hex[13];

    gb_random(id, sizeof(id));
    gb_hex(hex, id, sizeof(id));
    probe->key = *key;
    probe->host.baton = probe;
    probe->host.pick = probe_pick;
    probe->host.report = probe_report;
    probe->host.attempt_begins = probe_attempt;
    probe->host.attempt_ended = probe_attempt;
    probe->conf.host = &probe->host;
    probe->conf.settings = settings;
    probe->conf.pool_name = apr_pstrdup(pool, pool_name);
    probe->conf.request_id = apr_pstrcat(pool, "probe-", hex, NULL);
    probe->conf.headers = no_headers;
    probe->sink.start = sink_start;
    probe->sink.begin = sink_begin;
    probe->sink.data = sink_data;
    probe->sink.end = sink_end;
    return probe;
}

apr_status_t core_probe(const char *pool_name, const gb_key_t *key, const char *model,
                        gb_probe_done_fn *done, void *baton)
{
    const gb_settings_t *settings = settings_of(pool_name);
    apr_pool_t *pool;
    gb_plan_t *plan;
    probe_t *probe;

    if (!core_engine() || !settings) {
        return APR_EGENERAL;
    }
    pool = gb_exchange_pool(core_engine());
    plan = probe_plan(model, settings, pool);
    if (!plan) {
        apr_pool_destroy(pool);
        return APR_EINVAL;
    }
    probe = probe_make(pool_name, settings, key, pool);
    probe->done = done;
    probe->baton = baton;
    probe->x = gb_exchange_make(core_engine(), &probe->conf, plan, pool);
    if (gb_exchange_start(probe->x, &probe->sink) != APR_SUCCESS) {
        gb_exchange_unref(probe->x);
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}
