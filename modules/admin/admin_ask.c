/* SPDX-License-Identifier: Apache-2.0 */
/* What a request of the admin pages says: query, form, JSON, cookies. */
#include "admin.h"

#include "http_protocol.h"
#include "apr_lib.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define BODY_MAX      (8 * 1024 * 1024)
#define BODY_MAX_OPEN (64 * 1024) /* of somebody who has not signed in */

/* ---- pairs ---- */

apr_table_t *admin_ask_pairs(const char *text, apr_pool_t *p)
{
    apr_table_t *pairs = apr_table_make(p, 8);

    while (text && *text) {
        size_t len = strcspn(text, "&");
        char *name = apr_pstrmemdup(p, text, len), *value = strchr(name, '=');

        if (value) {
            *value++ = '\0';
        }
        if (ap_unescape_urlencoded(name) == OK && (!value || ap_unescape_urlencoded(value) == OK)) {
            apr_table_addn(pairs, name, value ? value : "");
        }
        text += len + (text[len] == '&');
    }
    return pairs;
}

const char *admin_arg(const admin_page_t *page, const char *name)
{
    return apr_table_get(page->args, name);
}

int admin_arg_int(const admin_page_t *page, const char *name, int fallback, int min, int max)
{
    const char *text = admin_arg(page, name);
    char *end;
    apr_int64_t n = text ? apr_strtoi64(text, &end, 10) : 0;

    if (!text || !*text || *end) {
        return fallback;
    }
    return n < min ? min : n > max ? max : (int)n;
}

const char *admin_form(const admin_page_t *page, const char *name)
{
    return apr_table_get(page->form, name);
}

const char *admin_given(const admin_page_t *page, const char *name)
{
    const char *text = json_string_value(json_object_get(page->body, name));

    return text ? text : admin_form(page, name);
}

const char *admin_cookie(request_rec *r, const char *name)
{
    const char *at = apr_table_get(r->headers_in, "Cookie");
    size_t len = strlen(name);

    for (; at && *at; at += strcspn(at, ";"), at += strspn(at, "; ")) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            return apr_pstrmemdup(r->pool, at + len + 1, strcspn(at + len + 1, ";"));
        }
    }
    return NULL;
}

/* ---- bodies ---- */

static int is_type(request_rec *r, const char *type)
{
    const char *given = apr_table_get(r->headers_in, "Content-Type");
    size_t len = strlen(type);

    return given && strncasecmp(given, type, len) == 0 && (!given[len] || strchr("; ", given[len]));
}

static int refused(admin_page_t *page, int status, const char *field, const char *message)
{
    page->status = status;
    page->field = field;
    page->message = message;
    return 0;
}

/* A form brings its CSRF token in a field: it counts as the header. */
static int take_form(admin_page_t *page)
{
    const char *csrf;

    page->form = admin_ask_pairs(apr_pstrmemdup(page->r->pool, page->raw, page->raw_len),
                                 page->r->pool);
    csrf = admin_form(page, "csrf");
    if (csrf) {
        apr_table_setn(page->r->headers_in, "X-CSRF-Token", csrf);
    }
    return 1;
}

static int take_json(admin_page_t *page)
{
    json_error_t fault;

    page->body = json_loadb(page->raw, page->raw_len, 0, &fault);
    if (!page->body) {
        return refused(page, HTTP_BAD_REQUEST, "body",
                       apr_psprintf(page->r->pool, "The body is not valid JSON: line %d, %s.",
                                    fault.line, fault.text));
    }
    admin_json_keep(page->body, page->r->pool);
    return 1;
}

void admin_ask_query(admin_page_t *page)
{
    page->args = admin_ask_pairs(page->r->args, page->r->pool);
    page->form = apr_table_make(page->r->pool, 1);
}

int admin_ask_is_form(request_rec *r)
{
    return is_type(r, "application/x-www-form-urlencoded");
}

int admin_ask_body(admin_page_t *page)
{
    request_rec *r = page->r;
    apr_off_t max = page->route->flags & ADMIN_OPEN ? BODY_MAX_OPEN : BODY_MAX;
    gb_error_t err;

    if (r->method_number == M_GET) {
        ap_discard_request_body(r);
        return 1;
    }
    if (admin_core.body_read(r, &page->raw, &page->raw_len, max, &err) != APR_SUCCESS) {
        return refused(page, err.status, "body", apr_pstrdup(r->pool, err.message));
    }
    if (!page->raw_len || (page->route->flags & ADMIN_TEXT)) {
        return 1;
    }
    if (admin_ask_is_form(r)) {
        return take_form(page);
    }
    if (is_type(r, "application/json")) {
        return take_json(page);
    }
    return refused(page, HTTP_UNSUPPORTED_MEDIA_TYPE, "Content-Type",
                   "Send the body as application/json or as a form.");
}
