/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/keys: who may ask, which endpoint it is, what was sent, and how answers
 * look.  What is done stands in keys_api_*.c, and how in keys_ops.c.
 */
#include "keys_api.h"

#include <stdarg.h>

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define HANDLER   "gbalance-keys-api"
#define IDS_MAX   100000
#define BODY_STEP 16384

/* ---- answers ---- */

static int send_json(keys_ask_t *ask, int status)
{
    request_rec *r = ask->r;

    r->status = status;
    r->status_line = NULL;
    ap_set_content_type(r, "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)ask->out.len);
    if (!r->header_only && ask->out.len) {
        ap_rwrite(ask->out.data, (int)ask->out.len, r);
    }
    return OK;
}

int keys_answer(keys_ask_t *ask)
{
    if (ask->out.rv != APR_SUCCESS) {
        return keys_refuse(ask, HTTP_INTERNAL_SERVER_ERROR, NULL, "The answer would be too large.");
    }
    return send_json(ask, HTTP_OK);
}

int keys_refuse(keys_ask_t *ask, int status, const char *field, const char *fmt, ...)
{
    va_list args;
    char *message;

    va_start(args, fmt);
    message = apr_pvsprintf(ask->r->pool, fmt, args);
    va_end(args);
    gb_buf_reset(&ask->out);
    gb_buf_printf(&ask->out, "{\"error\":{\"status\":%d,\"message\":", status);
    gb_json_put_cstr(&ask->out, message);
    gb_buf_puts(&ask->out, ",\"field\":");
    gb_json_put_cstr(&ask->out, field);
    gb_buf_puts(&ask->out, "}}");
    return send_json(ask, status);
}

static void drop_body(request_rec *r)
{
    APR_OPTIONAL_FN_TYPE(gbalance_body_drop) *drop = APR_RETRIEVE_OPTIONAL_FN(gbalance_body_drop);

    if (drop) {
        drop(r);
    }
}

int keys_refuse_method(keys_ask_t *ask, const char *allow)
{
    drop_body(ask->r);
    apr_table_setn(ask->r->headers_out, "Allow", allow);
    return keys_refuse(ask, HTTP_METHOD_NOT_ALLOWED, NULL, "Use %s here.", allow);
}

int keys_refuse_rv(keys_ask_t *ask, apr_status_t rv)
{
    char text[120];

    if (rv == APR_NOTFOUND) {
        return keys_refuse(ask, HTTP_NOT_FOUND, NULL, "The pool %s has no such key.", ask->pool);
    }
    if (rv == APR_EBUSY) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, ask->r,
                      GBLOGNO(1081) "too many verifications run in this process");
        apr_table_setn(ask->r->headers_out, "Retry-After", "10");
        return keys_refuse(ask, HTTP_SERVICE_UNAVAILABLE, NULL,
                           "Too many verifications run. Wait until one has ended.");
    }
    if (rv == APR_ENOSPC) {
        return keys_refuse(ask, HTTP_CONFLICT, NULL,
                           "There is no room: GBalanceMaxKeys is reached, there are more than %d "
                           "different tags, or those of a key have more than %d bytes together.",
                           GB_POOL_TAGS, (int)sizeof(((gb_pool_key_t *)0)->tags) - 1);
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, ask->r,
                  GBLOGNO(1082) "an operation on keys of the pool %s failed", ask->pool);
    return keys_refuse(ask, HTTP_INTERNAL_SERVER_ERROR, NULL,
                       "It was not (or not wholly) done: %s. See httpd's error log.",
                       apr_strerror(rv, text, sizeof(text)));
}

/* ---- who ---- */

static int refuse_stranger(keys_ask_t *ask, const gb_error_t *err)
{
    drop_body(ask->r);
    if (err->status == HTTP_UNAUTHORIZED) {
        apr_table_setn(ask->r->headers_out, "WWW-Authenticate", "Bearer realm=\"gbalance\"");
    }
    return keys_refuse(ask, err->status, NULL, "%s", err->message);
}

int keys_ask_begin(keys_ask_t *ask, request_rec *r, int *rc)
{
    APR_OPTIONAL_FN_TYPE(gbalance_admin_get) *admin = APR_RETRIEVE_OPTIONAL_FN(gbalance_admin_get);
    APR_OPTIONAL_FN_TYPE(gbalance_caller_get) *who = APR_RETRIEVE_OPTIONAL_FN(gbalance_caller_get);
    gb_caller_t caller;
    gb_error_t err;

    memset(ask, 0, sizeof(*ask));
    memset(&caller, 0, sizeof(caller));
    ask->r = r;
    gb_buf_init_pool(&ask->out, GB_BUF_MAX_ANSWER, r->pool);
    if (!admin || !who) {
        *rc = HTTP_INTERNAL_SERVER_ERROR;
        return DECLINED;
    }
    if (admin(r, &ask->admin, &err) != APR_SUCCESS) {
        *rc = refuse_stranger(ask, &err);
        return DECLINED;
    }
    who(r, &caller, &err); /* the pool; an administrator need be no client */
    ask->pool = caller.pool ? caller.pool : "default";
    ask->named = keys_path_named(r);
    return OK;
}

/* ---- what was sent ---- */

static int read_all(request_rec *r, gb_buf_t *to)
{
    char bytes[BODY_STEP];
    long n;
    int rc = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);

    if (rc != OK || !ap_should_client_block(r)) {
        return rc;
    }
    while ((n = ap_get_client_block(r, bytes, sizeof(bytes))) > 0) {
        gb_buf_append(to, bytes, (size_t)n);
    }
    return n < 0 ? HTTP_BAD_REQUEST : to->rv == APR_SUCCESS ? OK : HTTP_REQUEST_ENTITY_TOO_LARGE;
}

static int is_type(request_rec *r, const char *type)
{
    const char *given = apr_table_get(r->headers_in, "Content-Type");
    size_t len = strlen(type);

    return given && strncasecmp(given, type, len) == 0 && (!given[len] || strchr("; ", given[len]));
}

static int take_json(keys_ask_t *ask, const gb_buf_t *bytes, int *rc)
{
    gb_json_fault_t fault;

    if (!is_type(ask->r, "application/json")) {
        *rc = keys_refuse(ask, HTTP_UNSUPPORTED_MEDIA_TYPE, "Content-Type",
                          "Send the body as application/json.");
        return 0;
    }
    if (gb_json_check(bytes->data, bytes->len, &fault) != APR_SUCCESS) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, "body", "The body is not valid JSON: %s.",
                          fault.message);
        return 0;
    }
    ask->body = gb_json_root(bytes->data, bytes->len);
    if (gb_json_kind(ask->body) != GB_JSON_OBJECT) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, "body", "The body must be a JSON object.");
        return 0;
    }
    return 1;
}

int keys_ask_body(keys_ask_t *ask, int *rc)
{
    gb_buf_t bytes;
    int status;

    gb_buf_init_pool(&bytes, KEYS_API_BODY_MAX, ask->r->pool);
    status = read_all(ask->r, &bytes);
    if (status != OK) {
        *rc = status == HTTP_REQUEST_ENTITY_TOO_LARGE
                  ? keys_refuse(ask, status, "body", "A body here has at most %d bytes.",
                                KEYS_API_BODY_MAX)
                  : keys_refuse(ask, status, "body", "The body broke off.");
        return 0;
    }
    if (bytes.len && is_type(ask->r, "text/plain")) {
        ask->text = bytes.data;
        ask->text_len = bytes.len;
        return 1;
    }
    return !bytes.len || take_json(ask, &bytes, rc);
}

const char *keys_arg(keys_ask_t *ask, const char *name)
{
    const char *at = ask->r->args ? ask->r->args : "";
    size_t len = strlen(name);

    while (*at) {
        size_t run = strcspn(at, "&");

        if (run > len && strncmp(at, name, len) == 0 && at[len] == '=') {
            char *value = apr_pstrmemdup(ask->r->pool, at + len + 1, run - len - 1);

            return ap_unescape_urlencoded(value) == OK ? value : "";
        }
        at += run + (at[run] == '&');
    }
    return NULL;
}

/* All elements of an array of strings. */
static int take_ids(keys_ask_t *ask, const char *member, gb_span_t list, const char *const **ids,
                    int *n, int *rc)
{
    size_t count = gb_json_count(list);
    const char **texts;
    gb_json_iter_t it;

    if (gb_json_kind(list) != GB_JSON_ARRAY || count == 0 || count > IDS_MAX) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, member,
                          "%s must be an array of 1 to %d ids of keys.", member, IDS_MAX);
        return 0;
    }
    texts = apr_palloc(ask->r->pool, sizeof(*texts) * count);
    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        texts[it.index] = gb_json_str(it.value, NULL, ask->r->pool);
        if (!texts[it.index]) {
            *rc = keys_refuse(ask, HTTP_BAD_REQUEST, member, "%s must be an array of strings.",
                              member);
            return 0;
        }
    }
    *ids = texts;
    *n = (int)count;
    return 1;
}

int keys_chosen(keys_ask_t *ask, const char *member, const char *const **ids, int *n, int *rc)
{
    gb_span_t list = gb_json_get(ask->body, member), all = gb_json_get(ask->body, "all");
    int is_all = 0;

    if (all.p && (!gb_json_bool(all, &is_all) || (is_all && list.p))) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, "all",
                          "all must be true or false, and stands instead of %s.", member);
        return 0;
    }
    if (is_all) {
        *ids = NULL;
        *n = GB_KEYS_ALL;
        return 1;
    }
    return take_ids(ask, member, list, ids, n, rc);
}

/* ---- which ---- */

typedef int api_fn(keys_ask_t *ask);

/* Below /api/keys.  "/?" stands for one key. */
static const struct route_t {
    const char *path;
    int method;
    api_fn *fn;
} routes[] = {
    {"",         M_GET,    keys_api_list        },
    {"",         M_POST,   keys_api_add         },
    {"/ids",     M_GET,    keys_api_ids         },
    {"/all",     M_GET,    keys_api_all         },
    {"/preview", M_POST,   keys_api_preview     },
    {"/export",  M_GET,    keys_api_export      },
    {"/export",  M_POST,   keys_api_export_clear},
    {"/reveal",  M_POST,   keys_api_reveal      },
    {"/edit",    M_POST,   keys_api_edit        },
    {"/enable",  M_POST,   keys_api_enable      },
    {"/disable", M_POST,   keys_api_disable     },
    {"/reset",   M_POST,   keys_api_reset       },
    {"/delete",  M_POST,   keys_api_delete      },
    {"/verify",  M_POST,   keys_api_verify      },
    {"/?",       M_GET,    keys_api_get         },
    {"/?",       M_PATCH,  keys_api_edit_one    },
    {"/?",       M_DELETE, keys_api_delete_one  },
};

#define N_ROUTES (sizeof(routes) / sizeof(routes[0]))

static const char *method_name(int method)
{
    return method == M_GET      ? "GET, HEAD"
           : method == M_PATCH  ? "PATCH"
           : method == M_DELETE ? "DELETE"
                                : "POST";
}

/* The path as it stands in the table. */
static const char *path_known(const char *path)
{
    size_t i;

    if (strcmp(path, "/") == 0) {
        return "";
    }
    for (i = 0; i < N_ROUTES; i++) {
        if (strcmp(routes[i].path, path) == 0) {
            return path;
        }
    }
    return strchr(path + 1, '/') ? NULL : "/?";
}

static const struct route_t *find_route(keys_ask_t *ask, const char *path, const char **allow)
{
    size_t i;

    *allow = NULL;
    for (i = 0; i < N_ROUTES; i++) {
        if (strcmp(routes[i].path, path) != 0) {
            continue;
        }
        if (routes[i].method == ask->r->method_number) {
            return &routes[i];
        }
        *allow = *allow
                     ? apr_pstrcat(ask->r->pool, *allow, ", ", method_name(routes[i].method), NULL)
                     : method_name(routes[i].method);
    }
    return NULL;
}

static int serve(keys_ask_t *ask, const char *path)
{
    const struct route_t *route;
    const char *allow;
    int rc = OK;

    path = path_known(path);
    if (!path) {
        drop_body(ask->r);
        return keys_refuse(ask, HTTP_NOT_FOUND, NULL, "There is nothing at this address.");
    }
    route = find_route(ask, path, &allow);
    if (!route) {
        return keys_refuse_method(ask, allow);
    }
    return keys_ask_body(ask, &rc) ? route->fn(ask) : rc;
}

int keys_api_handler(request_rec *r)
{
    APR_OPTIONAL_FN_TYPE(gbalance_path) * path_of;
    const char *path;
    keys_ask_t ask;
    int rc;

    if (!r->handler || strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    path_of = APR_RETRIEVE_OPTIONAL_FN(gbalance_path);
    path = path_of ? path_of(r) : NULL;
    if (!path) {
        return DECLINED;
    }
    return keys_ask_begin(&ask, r, &rc) == OK ? serve(&ask, path) : rc;
}
