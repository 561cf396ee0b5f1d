/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the one who asks administers this VirtualHost.  Every endpoint of
 * administration asks here and nowhere else.  What is then allowed is the business
 * of whoever asks.
 */
#include "core_session.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define TOKEN_MIN 8 /* characters: shorter ones can be guessed */

/* NULL: it will do. */
static const char *why_closed(const gb_settings_t *settings)
{
    const char *token = settings->auth_token;

    if (!token || !*token) {
        return GB_WORD("This server has no token for administration: its operator sets AUTH_TOKEN "
                       "(GBalanceAuthToken).");
    }
    if (strlen(token) < TOKEN_MIN) {
        return GB_WORD(
            "Administration is closed because AUTH_TOKEN can be guessed: it must have at least "
            "8 characters.");
    }
    if (gb_list_has(&settings->allowed_tokens, token)) {
        return GB_WORD("Administration is closed because AUTH_TOKEN is a client's token too "
                       "(ALLOWED_TOKENS): give it a value of its own.");
    }
    return NULL;
}

/* Below the API's locations Apache lets callers in, who need be no administrators. */
static int by_apache(request_rec *r)
{
    const core_request_t *req = core_request_get(r);

    return core_conf_get(r->server)->admin_by_apache == 1 && req
           && core_is_administration(req->mount);
}

int core_admin_closed(request_rec *r, gb_error_t *err)
{
    const char *closed = by_apache(r) ? NULL : why_closed(core_view(r)->settings);

    if (closed) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, NULL, NULL, "%s", closed);
    }
    return closed != NULL;
}

int core_admin_is_token(request_rec *r, const char *given)
{
    const gb_settings_t *settings = core_view(r)->settings; /* may be changed while httpd runs */
    unsigned char mine[GB_DIGEST_LEN], theirs[GB_DIGEST_LEN];

    if (!given || why_closed(settings)) {
        return 0;
    }
    gb_digest(mine, settings->auth_token, strlen(settings->auth_token));
    gb_digest(theirs, given, strlen(given));
    return gb_equal_ct(mine, theirs, GB_DIGEST_LEN);
}

/* ---- the three ways ---- */

static void token_admin(request_rec *r, const char *credential, gb_admin_t *admin)
{
    admin->by = GB_ADMIN_BY_TOKEN;
    admin->who = apr_psprintf(r->pool, "token %s from %s", gb_secret_id_of(credential, r->pool),
                              r->useragent_ip);
}

static apr_status_t apache_admin(request_rec *r, gb_admin_t *admin, gb_error_t *err)
{
    const char *by = apr_table_get(r->notes, CORE_AUTHN_NOTE);

    if (!r->user || !*r->user) {
        gb_error_set(
            err, HTTP_UNAUTHORIZED, NULL, NULL,
            GB_WORD("Nobody is logged in: this server expects Apache's own authentication here."));
        return APR_EACCES;
    }
    if (by && strcmp(by, CORE_AUTHN_ADMIN) != 0) {
        gb_error_set(err, HTTP_FORBIDDEN, NULL, NULL,
                     GB_WORD("A client's token does not administer this server."));
        return APR_EACCES;
    }
    admin->by = GB_ADMIN_BY_APACHE;
    admin->who = apr_pstrdup(r->pool, r->user);
    admin->csrf = core_session_csrf(r, r->user);
    return APR_SUCCESS;
}

static apr_status_t session_admin(request_rec *r, gb_admin_t *admin, gb_error_t *err)
{
    core_session_now_t now;

    if (core_session_get(r, &now) != APR_SUCCESS) {
        gb_error_set(err, HTTP_UNAUTHORIZED, "invalid_api_key", NULL,
                     "Administration wants the token of AUTH_TOKEN, as Authorization: Bearer, "
                     "x-goog-api-key, x-api-key or ?key=, or a session.");
        return APR_EACCES;
    }
    admin->by = GB_ADMIN_BY_SESSION;
    admin->who = apr_psprintf(r->pool, "session %d from %s", now.number, r->useragent_ip);
    admin->csrf = now.csrf;
    admin->session = now.number;
    return APR_SUCCESS;
}

/* A page of another site can have a browser send a cookie or a password, but not read this. */
static apr_status_t check_csrf(request_rec *r, const gb_admin_t *admin, gb_error_t *err)
{
    const char *given = apr_table_get(r->headers_in, "X-CSRF-Token");
    size_t len = strlen(admin->csrf);

    if (r->method_number == M_GET
        || (given && len && strlen(given) == len && gb_equal_ct(given, admin->csrf, len))) {
        return APR_SUCCESS;
    }
    gb_error_set(
        err, HTTP_FORBIDDEN, "csrf", NULL,
        GB_WORD("This change does not come from one of our pages, or the page is of an earlier "
                "session: load it again. (X-CSRF-Token is missing or wrong.)"));
    return APR_EACCES;
}

/* A client's own token is a mistake, and no guess. */
static apr_status_t wrong_token(request_rec *r)
{
    if (!core_token_find(core_view(r)->tokens, core_request_get(r)->credential)) {
        core_guess_wrong(r, CORE_GUESS_BEARER);
    }
    return APR_EACCES;
}

apr_status_t core_admin_get(request_rec *r, gb_admin_t *admin, gb_error_t *err)
{
    const core_request_t *req = core_request_get(r);
    apr_interval_time_t wait;
    gb_admin_t unused = {GB_ADMIN_BY_TOKEN, NULL, NULL, 0};
    apr_status_t rv;

    admin = admin ? admin : &unused;
    memset(admin, 0, sizeof(*admin));
    admin->csrf = "";
    if (!req || core_conf_get(r->server)->on != 1) {
        return gb_error_set(err, HTTP_NOT_FOUND, NULL, NULL,
                            "gbalance does not serve this location.");
    }
    if (core_admin_closed(r, err)) {
        return APR_EACCES;
    }
    wait = req->credential ? core_guess_wait(r, CORE_GUESS_BEARER) : 0;
    if (!wait && core_admin_is_token(r, req->credential)) {
        token_admin(r, req->credential, admin);
        return APR_SUCCESS;
    }
    rv = by_apache(r) ? apache_admin(r, admin, err) : session_admin(r, admin, err);
    if (rv != APR_SUCCESS && req->credential && !by_apache(r)) {
        return wait ? core_guess_refuse(r, err, wait) : wrong_token(r);
    }
    return rv == APR_SUCCESS ? check_csrf(r, admin, err) : rv;
}
