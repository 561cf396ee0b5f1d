/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of our own: an exchange like any other, but for a body that we wrote and
 * an answer that no client reads.  Probes and the list of models stand on it.
 */
#include "core.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

typedef struct inner_t {
    gb_exchange_conf_t conf;
    gb_sink_t sink;
    gb_buf_t body;
    int status;
    gb_exchange_t *x;
    core_inner_done_fn *done;
    void *baton;
} inner_t;

/* ---- the sink ---- */

static inner_t *inner_of(gb_sink_t *sink)
{
    return (inner_t *)((char *)sink - offsetof(inner_t, sink));
}

static void inner_start(gb_sink_t *sink)
{
    (void)sink;
}

static apr_status_t inner_begin(gb_sink_t *sink, gb_head_t *head)
{
    inner_of(sink)->status = head->status;
    return APR_SUCCESS;
}

static apr_status_t inner_data(gb_sink_t *sink, const char *bytes, apr_size_t len,
                               apr_size_t *taken)
{
    *taken = len;
    return gb_buf_append(&inner_of(sink)->body, bytes, len);
}

static void inner_end(gb_sink_t *sink, apr_status_t rv)
{
    inner_t *inner = inner_of(sink);

    inner->done(inner->baton, rv == APR_SUCCESS ? inner->status : 0,
                inner->body.data ? inner->body.data : "", inner->body.len);
    gb_exchange_unref(inner->x);
}

/* ---- the call ---- */

const gb_settings_t *core_pool_settings(const char *pool_name)
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

static const char *inner_id(const char *purpose, apr_pool_t *pool)
{
    unsigned char id[6];
    char hex[2 * sizeof(id) + 1];

    gb_random(id, sizeof(id));
    gb_hex(hex, id, sizeof(id));
    return apr_pstrcat(pool, purpose, "-", hex, NULL);
}

apr_status_t core_inner_start(const core_inner_t *call, apr_pool_t *pool)
{
    static const char *const no_headers[] = {NULL};
    inner_t *inner = apr_pcalloc(pool, sizeof(*inner));
    gb_engine_t *engine = core_engine(); /* once: the child may be ending */
    gb_plan_t *plan;
    gb_error_t err;

    if (!engine
        || call->dialect->parse_request(&plan, call->request, call->settings, &err, pool)
               != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return APR_EINVAL;
    }
    if (call->required_id) {
        apr_cpystrn(plan->required_id, call->required_id, sizeof(plan->required_id));
    }
    inner->conf.host = call->host;
    inner->conf.settings = call->settings;
    inner->conf.pool_name = apr_pstrdup(pool, call->pool_name);
    inner->conf.request_id = inner_id(call->purpose, pool);
    inner->conf.caller_name = call->caller;
    inner->conf.headers = no_headers;
    inner->sink.start = inner_start;
    inner->sink.begin = inner_begin;
    inner->sink.data = inner_data;
    inner->sink.end = inner_end;
    gb_buf_init_pool(&inner->body, GB_BUF_MAX_ANSWER, pool);
    inner->done = call->done;
    inner->baton = call->baton;
    inner->x = gb_exchange_make(engine, &inner->conf, plan, pool);
    if (gb_exchange_start(inner->x, &inner->sink) != APR_SUCCESS) {
        gb_exchange_unref(inner->x);
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}
