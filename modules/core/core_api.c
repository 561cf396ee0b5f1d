/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which endpoint it is, and how answers look.  Who may ask is core_admin.c's to say.
 */
#include "core_api.h"

#include <stdarg.h>

#include "http_protocol.h"
#include "apr_strings.h"

#include "core_session.h"
#include "core_store.h"

APLOG_USE_MODULE(gbalance);

/* ---- answers ---- */

int core_api_answer(core_api_t *api, int status)
{
    request_rec *r = api->r;

    if (api->is_inner) {
        api->status = status;
        return OK;
    }
    r->status = status;
    r->status_line = NULL;
    ap_set_content_type(r, api->type ? api->type : "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)api->out.len);
    if (!r->header_only && api->out.len) {
        ap_rwrite(api->out.data, (int)api->out.len, r);
    }
    return OK;
}

int core_api_refuse(core_api_t *api, int status, const char *fmt, ...)
{
    va_list args;
    char *message;

    va_start(args, fmt);
    message = apr_pvsprintf(api->r->pool, fmt, args);
    va_end(args);
    gb_buf_reset(&api->out);
    api->type = NULL;
    gb_buf_printf(&api->out, "{\"error\":{\"status\":%d,\"message\":", status);
    gb_json_put_cstr(&api->out, message);
    gb_buf_puts(&api->out, "}}");
    return core_api_answer(api, status);
}

int core_api_store_failed(core_api_t *api, apr_status_t rv)
{
    char text[300];

    if (rv == APR_TIMEUP) {
        return core_api_refuse(
            api, HTTP_SERVICE_UNAVAILABLE,
            "The database has not answered within 5 seconds. The change may still be "
            "made: look again before you repeat it.");
    }
    if (APR_STATUS_IS_EACCES(rv)) {
        return core_api_refuse(
            api, HTTP_SERVICE_UNAVAILABLE,
            "Nothing was changed: the database was just sealed with a new secret, which "
            "this process does not have. Send it again.");
    }
    if (APR_STATUS_IS_ENOSPC(rv)) {
        return core_api_refuse(
            api, HTTP_REQUEST_ENTITY_TOO_LARGE,
            "Saved values take at most 1 MiB together: this change is saved, and not "
            "in force.");
    }
    if (core_store_state(text) == CORE_STORE_OFF) {
        return core_api_refuse(api, HTTP_SERVICE_UNAVAILABLE,
                               "Nothing can be saved: this server has no state directory "
                               "(GBalanceStateDir), or cannot write there.");
    }
    return core_api_refuse(api, HTTP_SERVICE_UNAVAILABLE, "%s database is not there now (%s).",
                           api->method == M_GET ? "The" : "Nothing was changed: the", text);
}

/* ---- who ---- */

static int refuse_stranger(core_api_t *api, const gb_error_t *err)
{
    core_body_drop(api->r);
    if (err->status == HTTP_UNAUTHORIZED) {
        apr_table_setn(api->r->headers_out, "WWW-Authenticate", "Bearer realm=\"gbalance\"");
    }
    return core_api_refuse(api, err->status, "%s", err->message);
}

/* ---- which ---- */

typedef struct route_t {
    const char *path;
    int method;
    int wants_body;
    int (*fn)(core_api_t *api);
} route_t;

/* Below /api. */
static const route_t routes[] = {
    {"/config",         M_GET,  0, core_api_config_get     },
    {"/config",         M_PUT,  1, core_api_config_put     },
    {"/config/schema",  M_GET,  0, core_api_config_schema  },
    {"/config/reset",   M_POST, 0, core_api_config_reset   },
    {"/config/reveal",  M_POST, 1, core_api_config_reveal  },
    {"/config/export",  M_GET,  0, core_api_config_export  },
    {"/config/export",  M_POST, 1, core_api_config_export  },
    {"/config/import",  M_POST, 1, core_api_config_import  },
    {"/config/history", M_GET,  0, core_api_history_get    },
    {"/config/restore", M_POST, 1, core_api_history_restore},
    {"/store",          M_GET,  0, core_api_store_get      },
};

#define N_ROUTES (sizeof(routes) / sizeof(routes[0]))

static const char *method_name(int method)
{
    return method == M_GET ? "GET, HEAD" : method == M_PUT ? "PUT" : "POST";
}

static const route_t *find_route(core_api_t *api, const char *path, const char **allow)
{
    size_t i;

    *allow = NULL;
    for (i = 0; i < N_ROUTES; i++) {
        if (strcmp(routes[i].path, path) != 0) {
            continue;
        }
        if (routes[i].method == api->method) {
            return &routes[i];
        }
        *allow = *allow
                     ? apr_pstrcat(api->r->pool, *allow, ", ", method_name(routes[i].method), NULL)
                     : method_name(routes[i].method);
    }
    return NULL;
}

/* 1: api->body is an object.  Else *rc is what the handler returns. */
static int take_body(core_api_t *api, const char *text, apr_size_t len, int *rc)
{
    gb_json_fault_t fault;

    if (len > CORE_API_BODY_MAX) {
        *rc = core_api_refuse(api, HTTP_REQUEST_ENTITY_TOO_LARGE,
                              "A body here has at most %d bytes.", CORE_API_BODY_MAX);
        return 0;
    }
    if (gb_json_check(text, len, &fault) != APR_SUCCESS) {
        *rc = core_api_refuse(api, HTTP_BAD_REQUEST, "The body is not valid JSON: %s.",
                              fault.message);
        return 0;
    }
    api->body = gb_json_root(text, len);
    if (gb_json_kind(api->body) != GB_JSON_OBJECT) {
        *rc = core_api_refuse(api, HTTP_BAD_REQUEST, "The body must be a JSON object.");
        return 0;
    }
    return 1;
}

static int read_body(core_api_t *api, const route_t *route, int *rc)
{
    const char *text;
    apr_size_t len;
    gb_error_t err;

    memset(&err, 0, sizeof(err));
    if (core_body_read(api->r, &text, &len, CORE_API_BODY_MAX, &err, api->r->pool) != APR_SUCCESS) {
        *rc = core_api_refuse(api, err.status, "%s", err.message);
        return 0;
    }
    return (!len && !route->wants_body) || take_body(api, text, len, rc);
}

static int route_request(core_api_t *api, const char *path)
{
    const char *allow;
    const route_t *route = find_route(api, path, &allow);
    int rc = OK;

    if (!route) {
        core_body_drop(api->r);
        if (allow) {
            apr_table_setn(api->r->headers_out, "Allow", allow);
        }
        return allow ? core_api_refuse(api, HTTP_METHOD_NOT_ALLOWED, "Use %s here.", allow)
                     : core_api_refuse(api, HTTP_NOT_FOUND, "There is nothing at this address.");
    }
    if (route->method == M_GET) {
        core_body_drop(api->r);
    }
    else if (!read_body(api, route, &rc)) {
        return rc;
    }
    return route->fn(api);
}

/* The path from "/api" on, whatever the mount is and whatever stands before it. */
static const char *api_path(const request_rec *r, const core_mount_t *mount)
{
    const char *at = mount->prefix + strlen(mount->prefix);

    while (at > mount->prefix && strncmp(at, "/api/", 5) != 0) {
        at--;
    }
    return r->uri + (at - mount->prefix) + strlen("/api");
}

static void api_init(core_api_t *api, request_rec *r, int method)
{
    memset(api, 0, sizeof(*api));
    api->r = r;
    api->method = method;
    api->args = r->args;
    api->conf = core_conf_get(r->server);
    api->pool = core_pool_name(api->conf);
    gb_buf_init_pool(&api->out, GB_BUF_MAX_ANSWER, r->pool);
}

int core_api_call(request_rec *r, const char *who, int method, const char *path, const char *body,
                  const char **answer)
{
    apr_size_t len = strcspn(path, "?");
    const route_t *route;
    const char *allow;
    core_api_t api;
    gb_error_t err;
    int rc;

    api_init(&api, r, method);
    api.is_inner = 1;
    api.who = who;
    api.args = path[len] ? path + len + 1 : NULL;
    route = find_route(&api, apr_pstrmemdup(r->pool, path, len), &allow);
    if (core_store_refuses(&err)) {
        core_api_refuse(&api, err.status, "%s", err.message);
    }
    else if (!route) {
        core_api_refuse(&api, HTTP_NOT_FOUND, "There is nothing at this address.");
    }
    else if (!body || take_body(&api, body, strlen(body), &rc)) {
        route->fn(&api);
    }
    *answer = api.out.data ? api.out.data : "";
    return api.status;
}

int core_api_handler(request_rec *r)
{
    const core_request_t *req;
    gb_admin_t admin;
    core_api_t api;
    gb_error_t err;

    if (!r->handler || strcmp(r->handler, CORE_API_HANDLER) != 0
        || (req = core_request_get(r)) == NULL) {
        return DECLINED;
    }
    api_init(&api, r, r->method_number);
    if (core_admin_get(r, &admin, &err) != APR_SUCCESS) {
        return refuse_stranger(&api, &err);
    }
    api.who = admin.who;
    if (core_store_refuses(&err)) {
        core_body_drop(r);
        return core_api_refuse(&api, err.status, "%s", err.message);
    }
    return route_request(&api, api_path(r, req->mount));
}
