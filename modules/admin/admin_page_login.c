/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The login.  It takes AUTH_TOKEN and gives a session; wrong tokens are counted
 * by address, and open sessions never suffer from somebody's guesses.
 */
#include "admin.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define FIRST_PAGE "keys_status"

/* Where to go then: one of our own pages and nothing else. */
static const char *next_of(const admin_page_t *page, const char *given)
{
    apr_pool_t *p = page->r->pool;
    const char *path;

    if (!given || !*given || strpbrk(given, ":\\\r\n") || strstr(given, "//") || *given == '/') {
        return FIRST_PAGE;
    }
    path = apr_pstrcat(p, "/", apr_pstrmemdup(p, given, strcspn(given, "?#")), NULL);
    return admin_route_is_page(path, p) ? given : FIRST_PAGE;
}

static void fill(const admin_page_t *page, json_t *data, const char *next)
{
    json_object_set_new(data, "next", json_string(next));
    json_object_set_new(data, "host", json_string(page->r->hostname ? page->r->hostname : ""));
}

static apr_status_t build_login(admin_page_t *page, json_t *data)
{
    const char *next = next_of(page, admin_arg(page, "next"));
    gb_admin_t admin;
    gb_error_t err;

    if (admin_core.admin_closed(page->r, &err)) {
        return admin_fail(page, err.status, "%s", err.message);
    }
    if (admin_core.admin_get(page->r, &admin, &err) == APR_SUCCESS) {
        page->see_other = next;
    }
    fill(page, data, next);
    return APR_SUCCESS;
}

static const char *token_of(const admin_page_t *page)
{
    const char *token = admin_given(page, "token");

    return token ? token : admin_given(page, "auth_token"); /* gemini-balance's name for it */
}

static apr_status_t build_auth(admin_page_t *page, json_t *data)
{
    const char *next = next_of(page, admin_given(page, "next")), *token = token_of(page);
    gb_error_t err;
    int left;

    if (admin_core.session_begin(page->r, token ? token : "", page->mount, &left, &err)
        == APR_SUCCESS) {
        json_object_set_new(data, "success", json_true());
        page->see_other = next;
        return APR_SUCCESS;
    }
    if (err.status == HTTP_SERVICE_UNAVAILABLE || page->body) {
        return admin_fail(page, err.status, "%s", err.message);
    }
    page->status = err.status;
    json_object_set_new(data, "fault", json_string(err.message));
    json_object_set_new(data, "left", json_integer(left));
    json_object_set_new(data, "waits", json_integer(apr_time_sec(err.retry_after) / 60 + 1));
    json_object_set_new(data, "is_throttled", json_boolean(err.retry_after > 0));
    fill(page, data, next);
    return APR_SUCCESS;
}

/* Cookies that nothing secret hangs on. */
static void remember(const admin_page_t *page, const char *name, const char *value)
{
    apr_table_add(page->r->err_headers_out, "Set-Cookie",
                  apr_pstrcat(page->r->pool, "gb_", name, "=", value, "; Path=", page->mount,
                              "; Max-Age=31536000; SameSite=Strict", NULL));
}

/* Language and theme without JavaScript; back to where it was chosen. */
static apr_status_t build_prefs(admin_page_t *page, json_t *data)
{
    const char *lang = admin_arg(page, "lang"), *theme = admin_arg(page, "theme");
    const char *to = admin_arg(page, "to");

    (void)data;
    if (lang) {
        remember(page, "lang", admin_language(lang, NULL));
    }
    if (theme && (strcmp(theme, "dark") == 0 || strcmp(theme, "light") == 0)) {
        remember(page, "theme", theme);
    }
    page->see_other = to && (!*to || strcmp(to, "auth") == 0) ? "auth" : next_of(page, to);
    return APR_SUCCESS;
}

static apr_status_t build_logout(admin_page_t *page, json_t *data)
{
    (void)data;
    admin_core.session_end(page->r, GB_SESSION_MINE, page->mount);
    page->see_other = "auth";
    return APR_SUCCESS;
}

#define SIGN_IN ADMIN_WORD("Sign in")

const admin_route_t admin_login_routes[] = {
    {"/",       M_GET,  "login", SIGN_IN,                build_login,  NULL, ADMIN_OPEN | ADMIN_BARE},
    {"/auth",   M_GET,  "login", SIGN_IN,                build_login,  NULL, ADMIN_OPEN | ADMIN_BARE},
    {"/auth",   M_POST, "login", SIGN_IN,                build_auth,   NULL, ADMIN_OPEN | ADMIN_BARE},
    {"/prefs",  M_GET,  "login", SIGN_IN,                build_prefs,  NULL, ADMIN_OPEN | ADMIN_BARE},
    {"/logout", M_POST, "login", ADMIN_WORD("Sign out"), build_logout, NULL, 0                      },
    {NULL,      0,      NULL,    NULL,                   NULL,         NULL, 0                      },
};
