/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client call, from handler to exchange: authenticate, read, translate,
 * start, and wait in the way that this connection allows.
 */
#include "core.h"
#include "core_live.h"
#include "core_store.h"

#include "http_protocol.h"
#include "ap_mpm.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "proto/url.h"

APLOG_USE_MODULE(gbalance);

/* FNV-1a: who calls, for policies that keep a caller on its key. */
apr_uint64_t core_caller_hash(const char *text)
{
    apr_uint64_t h = 1469598103934665603ULL;

    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211ULL;
    }
    return h;
}

/* ---- headers that go upstream ---- */

/* A native client's own headers, as Google's clients send them. */
static const char *const native_headers[] = {"User-Agent",
                                             "x-goog-api-client",
                                             "X-Server-Timeout",
                                             "x-goog-fieldmask",
                                             "Accept-Language",
                                             "X-Goog-Upload-Protocol",
                                             "X-Goog-Upload-Command",
                                             "X-Goog-Upload-Header-Content-Length",
                                             "X-Goog-Upload-Header-Content-Type",
                                             "X-Goog-Upload-File-Name",
                                             "X-Upload-Content-Length",
                                             "X-Upload-Content-Type",
                                             NULL};

static const char *const *upstream_headers(request_rec *r, const gb_plan_t *plan,
                                           const gb_settings_t *settings, apr_pool_t *pool)
{
    apr_array_header_t *list = apr_array_make(pool, 8, sizeof(const char *));
    int i;

    for (i = 0; !plan->answer_type && native_headers[i]; i++) {
        const char *value = apr_table_get(r->headers_in, native_headers[i]);

        if (value) {
            APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(pool, native_headers[i], ": ", value,
                                                             NULL);
        }
    }
    for (i = 0; i < settings->custom_headers.n; i++) {
        const gb_pair_t *pair = &settings->custom_headers.pairs[i];

        APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(pool, pair->name, ": ", pair->value, NULL);
    }
    APR_ARRAY_PUSH(list, const char *) = NULL;
    return (const char *const *)list->elts;
}

/* ---- the request as a dialect sees it ---- */

static int json_type(const char *type)
{
    size_t len = type ? strcspn(type, "; \t") : 0;

    return !type || (len == 10 && strncasecmp(type, "text/plain", 10) == 0)
           || (len == 16 && strncasecmp(type, "application/json", 16) == 0)
           || (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

static int form_type(const char *type)
{
    return type && strncasecmp(type, "multipart/form-data", 19) == 0;
}

static apr_status_t request_read(gb_request_t *req, request_rec *r, const gb_dialect_t *dialect,
                                 const char *path, const char *pool_name, gb_error_t *err,
                                 apr_pool_t *pool)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");

    memset(req, 0, sizeof(*req));
    req->method = r->header_only ? "GET" : apr_pstrdup(pool, r->method);
    req->path = apr_pstrdup(pool, path);
    req->args = r->args ? apr_pstrdup(pool, r->args) : NULL;
    req->version = core_is_vertex(r) ? NULL : gb_url_version(core_request_get(r)->mount->prefix);
    req->content_type = type ? apr_pstrdup(pool, type) : NULL;
    req->masked = apr_table_get(r->headers_in, "x-goog-fieldmask") != NULL;
    req->now = apr_time_now();
    memcpy(req->entropy, core_request_get(r)->entropy, sizeof(req->entropy));
    req->memory = core_memory_get(pool_name);
    req->can_fetch = 1;
    req->body = "";
    if (r->method_number == M_GET) {
        core_body_drop(r);
        return APR_SUCCESS;
    }
    if (form_type(type) && dialect->takes_form && dialect->takes_form(path)) {
        return core_body_read_form(r, req, err, pool);
    }
    if (!json_type(type)) {
        core_body_drop(r);
        return gb_error_set(err, HTTP_UNSUPPORTED_MEDIA_TYPE, NULL, NULL,
                            "Content-Type \"%s\" is not supported here: send application/json.",
                            type);
    }
    return core_body_read(r, &req->body, &req->body_len, 0, err, pool);
}

/* A wrong address or method is told before what is wrong with the body. */
static void tell_route_first(gb_error_t *err, const gb_request_t *req, const gb_dialect_t *dialect,
                             const gb_settings_t *settings, apr_pool_t *pool)
{
    gb_request_t bare = *req;
    gb_plan_t *plan;
    gb_error_t route;

    if (err->status != HTTP_UNSUPPORTED_MEDIA_TYPE
        && err->status != HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return;
    }
    memset(&route, 0, sizeof(route));
    bare.body = "";
    bare.body_len = 0;
    bare.form = NULL;
    if (dialect->parse_request(&plan, &bare, settings, &route, pool) != APR_SUCCESS
        && (route.status == HTTP_NOT_FOUND || route.status == HTTP_METHOD_NOT_ALLOWED)) {
        *err = route;
    }
}

static gb_exchange_conf_t *exchange_conf(request_rec *r, const gb_plan_t *plan,
                                         const gb_caller_t *caller, const gb_settings_t *settings,
                                         apr_pool_t *pool)
{
    gb_exchange_conf_t *conf = apr_pcalloc(pool, sizeof(*conf));

    conf->host = core_host();
    conf->settings = settings;
    conf->pool_name = caller->pool;
    conf->request_id = apr_pstrdup(pool, core_request_get(r)->request_id);
    conf->caller = core_caller_hash(caller->name);
    conf->caller_name = apr_pstrdup(pool, caller->name);
    conf->headers = upstream_headers(r, plan, settings, pool);
    conf->shelf = core_shelf();
    return conf;
}

/* ---- the call ---- */

static int not_serving(request_rec *r, const gb_dialect_t *dialect)
{
    gb_error_t err;

    gb_error_set(&err, HTTP_SERVICE_UNAVAILABLE, "engine_unavailable", NULL,
                 "This server cannot reach its upstream now: its engine is not running. Its error "
                 "log says why.");
    err.retry_after = apr_time_from_sec(1);
    core_body_drop(r);
    return core_answer_error(r, dialect, NULL, &err);
}

static int no_vertex_keys(request_rec *r, const gb_dialect_t *dialect)
{
    gb_error_t err;

    gb_error_set(&err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                 "Vertex AI in express mode has no key here: the operator of this server sets "
                 "VERTEX_API_KEYS (GBalanceVertexApiKeys).");
    core_body_drop(r);
    return core_answer_error(r, dialect, NULL, &err);
}

static int exchange(request_rec *r, const gb_dialect_t *dialect, gb_plan_t *plan,
                    const gb_caller_t *caller, const gb_settings_t *settings, apr_pool_t *pool)
{
    gb_exchange_conf_t *conf = exchange_conf(r, plan, caller, settings, pool);
    gb_exchange_t *x = gb_exchange_make(core_engine(), conf, plan, pool);
    int rc = core_park_possible(r) ? core_park(r, x) : core_wait(r, x);

    return rc == HTTP_SERVICE_UNAVAILABLE ? not_serving(r, dialect) : rc;
}

/* The list of models as it is remembered; DECLINED when it is not. */
static int from_memory(request_rec *r, gb_plan_t *plan, const gb_memory_t *memory)
{
    const apr_array_header_t *pages = memory ? core_memory_models(memory, plan->pool) : NULL;

    return pages ? core_answer_models(r, plan, pages) : DECLINED;
}

int core_call_start(request_rec *r, const gb_dialect_t *dialect, const char *path)
{
    const gb_settings_t *settings;
    apr_pool_t *pool;
    gb_caller_t caller;
    gb_request_t req;
    gb_plan_t *plan = NULL;
    gb_error_t err;
    apr_status_t rv;

    if (!core_request_get(r)) {
        return DECLINED;
    }
    if (core_request_get(r)->refusal) {
        core_body_drop(r);
        return core_answer_error(r, dialect, NULL, core_request_get(r)->refusal);
    }
    if (core_is_upload(r) && core_engine() && core_relay_handler(r, dialect) != DECLINED) {
        return OK;
    }
    memset(&err, 0, sizeof(err));
    if (core_caller_get(r, &caller, &err) != APR_SUCCESS) {
        core_body_drop(r);
        return core_answer_error(r, dialect, NULL, &err);
    }
    apr_table_set(r->subprocess_env, "GB_TOKEN_ID", caller.name);
    settings = core_view(r)->settings;
    if (core_is_vertex(r) && !settings->vertex_api_keys.n) {
        return no_vertex_keys(r, dialect);
    }
    if (core_store_refuses(&err)) {
        core_body_drop(r);
        return core_answer_error(r, dialect, NULL, &err);
    }
    if (!core_engine() || !gb_engine_alive(core_engine())) {
        return not_serving(r, dialect);
    }
    pool = gb_exchange_pool(core_engine());
    core_view_keep(core_view(r), pool); /* the call may outlive the request */
    if (core_is_vertex(r)) {
        settings = core_vertex_settings(settings, pool);
        caller.pool = core_vertex_pool(caller.pool, pool);
    }
    rv = request_read(&req, r, dialect, path, caller.pool, &err, pool);
    req.can_host = gb_hosting_is_set(settings);
    if (rv != APR_SUCCESS) {
        tell_route_first(&err, &req, dialect, settings, pool);
    }
    if (rv != APR_SUCCESS
        || dialect->parse_request(&plan, &req, settings, &err, pool) != APR_SUCCESS
        || core_owners_bind(plan, &caller, settings, &err) != APR_SUCCESS) {
        int rc = core_answer_error(r, dialect, plan, &err);

        apr_pool_destroy(pool);
        return rc;
    }
    core_play_bind(r, plan, &caller);
    if (plan->lists_files) {
        int rc = core_answer_files(r, &req, &caller, settings);

        apr_pool_destroy(pool);
        return rc;
    }
    if (plan->from_models && from_memory(r, plan, req.memory) == OK) {
        apr_pool_destroy(pool);
        return OK;
    }
    core_memory_apply(plan, settings);
    if (core_is_upload(r)) {
        core_request_get(r)->plan = plan;
    }
    return exchange(r, dialect, plan, &caller, settings, pool);
}
