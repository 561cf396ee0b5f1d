/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the admin pages, from its path to its answer: find the route,
 * read what was sent, ask the core who it is, have the builder fill its tree, and
 * answer with HTML, a part of it, or JSON.
 */
#include "admin.h"

#include <stdarg.h>

#include "http_core.h"
#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define HANDLER "gbalance-admin"

/* ---- small things that builders use ---- */

static apr_status_t decref(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

json_t *admin_json_keep(json_t *json, apr_pool_t *p)
{
    apr_pool_cleanup_register(p, json, decref, apr_pool_cleanup_null);
    return json;
}

json_t *admin_time(apr_time_t at)
{
    return at ? json_real((double)at / APR_USEC_PER_SEC) : json_null();
}

const char *admin_words(const admin_page_t *page, const char *words, const json_t *data)
{
    gb_buf_t buf;

    gb_buf_init_pool(&buf, GB_BUF_MAX_ERROR, page->r->pool);
    gb_template_words(&buf, words, data, &page->how);
    return buf.data ? buf.data : "";
}

static void set_message(admin_page_t *page, int status, const char *fmt, va_list args)
{
    page->status = status;
    page->message = apr_pvsprintf(page->r->pool, fmt, args);
}

apr_status_t admin_fail(admin_page_t *page, int status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set_message(page, status, fmt, args);
    va_end(args);
    return APR_EGENERAL;
}

int admin_refuse(admin_page_t *page, int status, const char *field, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    set_message(page, status, fmt, args);
    va_end(args);
    page->field = field;
    return status;
}

/* ---- answers ---- */

static const char *const policy =
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

static void guard_headers(request_rec *r)
{
    apr_table_t *headers = r->err_headers_out;

    apr_table_setn(headers, "Content-Security-Policy", policy);
    apr_table_setn(headers, "X-Content-Type-Options", "nosniff");
    apr_table_setn(headers, "X-Frame-Options", "DENY");
    apr_table_setn(headers, "Referrer-Policy", "same-origin");
    apr_table_setn(headers, "Cache-Control", "no-store");
    apr_table_mergen(headers, "Vary", "Cookie, Accept-Language");
}

static int send_text(request_rec *r, int status, const char *type, const char *text, size_t len)
{
    r->status = status;
    r->status_line = NULL;
    ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)len);
    if (!r->header_only && len) {
        ap_rwrite(text, (int)len, r);
    }
    return OK;
}

static int send_json(admin_page_t *page, int status, const json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    int rc = send_text(page->r, status, "application/json", text ? text : "",
                       text ? strlen(text) : 0);

    free(text);
    return rc;
}

static int send_json_fault(admin_page_t *page)
{
    json_t *json = json_pack("{s:{s:i, s:s, s:s?}}", "error", "status", page->status, "message",
                             page->message, "field", page->field);
    int rc = send_json(page, page->status, json);

    json_decref(json);
    return rc;
}

/* Whether a script asks, not somebody who looks. */
static int wants_json(const admin_page_t *page)
{
    const char *format = page->args ? admin_arg(page, "format") : NULL;

    return (page->route && page->route->api) || strncmp(page->path, "/api/", 5) == 0
           || (format && strcmp(format, "json") == 0);
}

static int send_page(admin_page_t *page, const char *template, json_t *data)
{
    const char *part = admin_arg(page, "part");
    json_t *frame;
    gb_buf_t html;
    apr_status_t rv;

    if (!admin_templates()) {
        return send_text(page->r, HTTP_INTERNAL_SERVER_ERROR, "text/plain",
                         "The pages are broken: see httpd's error log.\n", 45);
    }
    frame = admin_json_keep(admin_frame(page), page->r->pool);
    json_object_set(frame, "data", data);
    gb_buf_init_pool(&html, GB_BUF_MAX_ANSWER, page->r->pool);
    page->how.page = template;
    page->how.part = page->status == HTTP_OK && part && *part ? part : NULL;
    page->how.icons = apr_pstrcat(page->r->pool, page->base, "/gbalance/icons.svg", NULL);
    rv = gb_template_render(
        &html, admin_templates(),
        (page->route && page->route->flags & ADMIN_BARE) || !page->admin.who ? "bare" : "frame",
        frame, &page->how);
    if (rv != APR_SUCCESS) {
        return send_text(page->r, HTTP_NOT_FOUND, "text/plain", "The page has no such part.\n", 27);
    }
    return send_text(page->r, page->status, "text/html; charset=utf-8", html.data, html.len);
}

static int send_fault(admin_page_t *page)
{
    static const admin_route_t faulty = {"", M_GET, "error", ADMIN_WORD("Error"), NULL, NULL, 0};
    json_t *data;

    if (wants_json(page)) {
        return send_json_fault(page);
    }
    page->route = &faulty;
    data = admin_json_keep(
        json_pack("{s:i, s:s}", "status", page->status, "message", page->message), page->r->pool);
    return send_page(page, "error", data);
}

/* Everybody gets a relative address: it is right behind a proxy that changes the path, too. */
static int send_on(admin_page_t *page, const char *to)
{
    apr_table_setn(page->r->headers_out, "Location",
                   apr_pstrcat(page->r->pool, page->base, "/", to, NULL));
    return send_text(page->r, HTTP_SEE_OTHER, "text/plain", "", 0);
}

/* ---- who ---- */

static const char *quoted(const char *text, apr_pool_t *p)
{
    return ap_escape_urlencoded(p, text);
}

static int send_to_login(admin_page_t *page)
{
    request_rec *r = page->r;
    const char *to = page->path + 1;

    if (r->args) {
        to = apr_pstrcat(r->pool, to, "?", r->args, NULL);
    }
    return send_on(page, apr_pstrcat(r->pool, "auth?next=", quoted(to, r->pool), NULL));
}

static int refuse_stranger(admin_page_t *page, const gb_error_t *err)
{
    page->status = err->status;
    page->message = apr_pstrdup(page->r->pool, err->message);
    if (err->status == HTTP_UNAUTHORIZED && page->route->page && page->r->method_number == M_GET
        && !wants_json(page) && !admin_arg(page, "part")) {
        return send_to_login(page);
    }
    if (err->status == HTTP_UNAUTHORIZED) {
        apr_table_setn(page->r->err_headers_out, "WWW-Authenticate", "Bearer realm=\"gbalance\"");
    }
    return send_fault(page);
}

/* ---- the route ---- */

static int serve_api(admin_page_t *page)
{
    json_t *out = NULL;
    int status = page->route->api(page, &out), rc;

    if (page->message) {
        json_decref(out);
        return send_json_fault(page);
    }
    if (page->see_other) {
        json_decref(out);
        return send_on(page, page->see_other);
    }
    if (status == DONE) { /* it has answered by itself */
        return OK;
    }
    rc = status == SUSPENDED ? SUSPENDED : send_json(page, status, out);
    json_decref(out);
    return rc;
}

static int serve_page(admin_page_t *page)
{
    json_t *data = admin_json_keep(json_object(), page->r->pool);

    if (page->route->page(page, data) != APR_SUCCESS) {
        return send_fault(page);
    }
    if (page->see_other && !wants_json(page)) {
        return send_on(page, page->see_other);
    }
    return wants_json(page) ? send_json(page, page->status, data)
                            : send_page(page, page->route->template, data);
}

static int let_in(admin_page_t *page, gb_error_t *err)
{
    if (page->route->flags & ADMIN_OPEN
        || admin_core.admin_get(page->r, &page->admin, err) == APR_SUCCESS) {
        return 1;
    }
    page->admin.who = NULL;
    return 0;
}

/* Nothing is read for a stranger.  A form has in its body what shows that it is ours. */
static int waits_for_form(const admin_page_t *page, const gb_error_t *err)
{
    return strcmp(err->code, "csrf") == 0 && admin_ask_is_form(page->r);
}

static int serve(admin_page_t *page)
{
    const char *allow;
    gb_error_t err;
    int is_in;

    page->route = admin_route_find(page->path, page->r->method_number, &page->named, &allow,
                                   page->r->pool);
    if (!page->route) {
        admin_core.body_drop(page->r);
        page->args = apr_table_make(page->r->pool, 1);
        page->status = allow ? HTTP_METHOD_NOT_ALLOWED : HTTP_NOT_FOUND;
        page->message = allow ? apr_psprintf(page->r->pool, "Use %s here.", allow)
                              : "There is nothing at this address.";
        if (allow) {
            apr_table_setn(page->r->err_headers_out, "Allow", allow);
        }
        return send_fault(page);
    }
    admin_ask_query(page);
    is_in = let_in(page, &err);
    if (!is_in && !waits_for_form(page, &err)) {
        admin_core.body_drop(page->r);
        return refuse_stranger(page, &err);
    }
    if (!admin_ask_body(page)) {
        return send_fault(page);
    }
    if (!is_in && !let_in(page, &err)) {
        return refuse_stranger(page, &err);
    }
    return page->route->api ? serve_api(page) : serve_page(page);
}

/* ---- the request ---- */

/* From here to the mount: "." for "/keys_status", ".." for "/keys/1043". */
static const char *base_of(const char *path, apr_pool_t *p)
{
    const char *base = ".";
    const char *at;

    for (at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        base = *base && base[1] ? apr_pstrcat(p, base, "/..", NULL) : "..";
    }
    return base;
}

/* What a link in the page, or an earlier page, has chosen. */
static const char *choice(admin_page_t *page, const char *name)
{
    const char *cookie = apr_pstrcat(page->r->pool, "gb_", name, NULL);

    return admin_cookie(page->r, cookie);
}

static void set_reader(admin_page_t *page)
{
    request_rec *r = page->r;
    const char *theme = choice(page, "theme");
    gb_zone_t *zone;

    page->lang = admin_language(choice(page, "lang"),
                                apr_table_get(r->headers_in, "Accept-Language"));
    page->theme = theme && (strcmp(theme, "dark") == 0 || strcmp(theme, "light") == 0) ? theme : "";
    page->how.words = admin_catalogue(page->lang);
    page->how.now = apr_time_now();
    if (gb_zone_load(&zone, page->settings->timezone, r->pool) == APR_SUCCESS) {
        page->how.zone = zone;
    }
}

/* What stands before the page's own path: "/llm/" of "/llm/keys" and of "/llm/api/config/proxy".  The
 * mount itself may lie below "/api". */
static const char *mount_of(const char *prefix, apr_pool_t *p)
{
    const char *end = strrchr(prefix, '/'), *api = prefix;

    while ((api = strstr(api, "/api/config/")) != NULL) {
        end = api++;
    }
    return apr_pstrmemdup(p, prefix, (apr_size_t)(end - prefix) + 1);
}

static void begin(admin_page_t *page, request_rec *r, const char *mount)
{
    gb_caller_t caller;
    gb_error_t err;

    memset(page, 0, sizeof(*page));
    memset(&caller, 0, sizeof(caller));
    admin_core.caller_get(r, &caller, &err); /* an administrator need be no client */
    page->r = r;
    page->mount = mount_of(mount, r->pool);
    page->path = r->uri + strlen(page->mount) - 1;
    page->base = base_of(page->path, r->pool);
    page->pool = caller.pool ? caller.pool : "default";
    page->vhost = caller.vhost ? caller.vhost : "";
    page->settings = admin_core.settings_get(r);
    page->status = HTTP_OK;
    page->admin.csrf = "";
    set_reader(page);
}

int admin_handler(request_rec *r)
{
    const char *mount;
    admin_page_t page;

    if (!r->handler || strcmp(r->handler, HANDLER) != 0 || !admin_core.mount
        || (mount = admin_core.mount(r)) == NULL || !strrchr(mount, '/')) {
        return DECLINED;
    }
    guard_headers(r);
    begin(&page, r, mount);
    return serve(&page);
}
