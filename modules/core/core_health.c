/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /health: 200 when this child serves, 503 with reason codes when it does
 * not.  No token: monitors have none, and it tells nothing about keys.
 */
#include "core.h"
#include "core_store.h"

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

static const char *engine_reason(void)
{
    if (!core_engine()) {
        return "engine_not_started";
    }
    return gb_engine_alive(core_engine()) ? NULL : "engine_stuck";
}

static const char *pool_reason(const char *pool)
{
    const char *reason = NULL;
    int rc = gbalance_run_pool_health(pool, &reason);

    if (rc == DECLINED) {
        return "no_key_module";
    }
    return rc == OK ? NULL : (reason ? reason : "no_usable_key");
}

/* A database that must not be touched closes all calls; one that is away does not. */
static const char *store_reason(void)
{
    gb_error_t err;

    return core_store_refuses(&err) ? "store_unavailable" : NULL;
}

static void add_reason(gb_buf_t *out, const char *reason)
{
    if (reason) {
        gb_buf_printf(out, "%s\"%s\"", out->len ? "," : "", reason);
    }
}

int core_health_handler(request_rec *r)
{
    const core_conf_t *conf = core_conf_get(r->server);
    gb_buf_t reasons;
    const char *body;

    if (!r->handler || strcmp(r->handler, "gbalance-health") != 0 || !core_request_get(r)) {
        return DECLINED;
    }
    core_body_drop(r);
    ap_set_content_type(r, "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (r->method_number != M_GET) {
        r->status = HTTP_METHOD_NOT_ALLOWED;
        apr_table_setn(r->headers_out, "Allow", "GET, HEAD");
        ap_rputs("{\"error\":\"use GET\"}\n", r);
        return OK;
    }
    gb_buf_init_pool(&reasons, GB_BUF_MAX_LINE, r->pool);
    add_reason(&reasons, engine_reason());
    add_reason(&reasons, store_reason());
    add_reason(&reasons, pool_reason(conf->pool_name ? conf->pool_name : "default"));
    body = reasons.len
               ? apr_psprintf(r->pool, "{\"status\":\"unhealthy\",\"reasons\":[%s]}", reasons.data)
               : "{\"status\":\"healthy\"}";
    r->status = reasons.len ? HTTP_SERVICE_UNAVAILABLE : HTTP_OK;
    ap_set_content_length(r, (apr_off_t)strlen(body));
    ap_rputs(body, r);
    return OK;
}
