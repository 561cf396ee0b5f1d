/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe: one small call with one given key, for the recovery check and for
 * "verify".  Its host hands out that key, once, and hears the verdict.
 */
#include "core_live.h"

#include "apr_strings.h"
#include "proto/gemini.h"

APLOG_USE_MODULE(gbalance);

typedef struct probe_t {
    gb_exchange_host_t host;
    gb_key_t key;
    int given;              /* the key was handed out */
    gb_probe_done_fn *done; /* NULL once called */
    void *baton;
} probe_t;

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

static void probe_tell(probe_t *probe, const gb_verdict_t *verdict)
{
    gb_probe_done_fn *done = probe->done;

    probe->done = NULL;
    if (done) {
        done(probe->baton, verdict);
    }
}

static void probe_report(void *baton, const gb_report_t *report)
{
    probe_tell(baton, report->verdict);
}

static void probe_attempt(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    (void)baton;
    (void)x;
    (void)attempt;
}

/* Without a report (the engine stopped before the call was made) it counts as cancelled. */
static void probe_ended(void *baton, int status, const char *body, apr_size_t len)
{
    gb_verdict_t verdict;

    (void)status;
    (void)body;
    (void)len;
    memset(&verdict, 0, sizeof(verdict));
    verdict.cls = GB_CLASS_CANCELLED;
    probe_tell(baton, &verdict);
}

static probe_t *probe_make(const gb_key_t *key, gb_probe_done_fn *done, void *baton,
                           apr_pool_t *pool)
{
    probe_t *probe = apr_pcalloc(pool, sizeof(*probe));

    probe->key = *key;
    probe->done = done;
    probe->baton = baton;
    probe->host.baton = probe;
    probe->host.pick = probe_pick;
    probe->host.report = probe_report;
    probe->host.attempt_begins = probe_attempt;
    probe->host.attempt_ended = probe_attempt;
    return probe;
}

apr_status_t core_probe(const char *pool_name, const gb_key_t *key, const char *model,
                        gb_probe_done_fn *done, void *baton)
{
    static const char body[] = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}";
    core_inner_t call;
    gb_request_t request;
    apr_pool_t *pool;
    probe_t *probe;

    memset(&call, 0, sizeof(call));
    memset(&request, 0, sizeof(request));
    if (!core_engine() || !core_pool_settings(pool_name)) {
        return APR_EGENERAL;
    }
    pool = gb_exchange_pool(core_engine());
    call.settings = core_live_pool(pool_name, pool);
    probe = probe_make(key, done, baton, pool);
    request.method = "POST";
    request.path = apr_psprintf(pool, "/models/%s:generateContent", model);
    request.body = body;
    request.body_len = sizeof(body) - 1;
    request.now = apr_time_now();
    call.purpose = "probe";
    call.pool_name = pool_name;
    call.host = &probe->host;
    call.dialect = &gb_gemini_dialect;
    call.request = &request;
    call.done = probe_ended;
    call.baton = probe;
    return core_inner_start(&call, pool);
}
