/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the one who asks administers this VirtualHost: the credential that was
 * taken out of the request is AUTH_TOKEN.  What is then allowed is the business of
 * whoever asks here.
 */
#include "core_live.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define TOKEN_MIN 8 /* characters: shorter ones can be guessed */

/* NULL: it will do. */
static const char *why_closed(const gb_settings_t *settings)
{
    const char *token = settings->auth_token;

    if (!token || !*token) {
        return "This server has no token for administration: its operator sets AUTH_TOKEN "
               "(GBalanceAuthToken).";
    }
    if (strlen(token) < TOKEN_MIN) {
        return "Administration is closed because AUTH_TOKEN can be guessed: it must have at least "
               "8 characters.";
    }
    if (gb_list_has(&settings->allowed_tokens, token)) {
        return "Administration is closed because AUTH_TOKEN is a client's token too "
               "(ALLOWED_TOKENS): give it a value of its own.";
    }
    return NULL;
}

static int is_token(const char *given, const char *token)
{
    unsigned char mine[GB_DIGEST_LEN], theirs[GB_DIGEST_LEN];

    gb_digest(mine, token, strlen(token));
    gb_digest(theirs, given, strlen(given));
    return gb_equal_ct(mine, theirs, GB_DIGEST_LEN);
}

apr_status_t core_admin_get(request_rec *r, gb_error_t *err)
{
    const core_conf_t *conf = core_conf_get(r->server);
    const core_request_t *req = core_request_get(r);
    const gb_settings_t *settings;
    const char *closed;

    if (!req || conf->on != 1) {
        gb_error_set(err, HTTP_NOT_FOUND, NULL, NULL, "gbalance does not serve this location.");
        return APR_EACCES;
    }
    settings = core_view(r)->settings; /* the token may have been changed while httpd runs */
    closed = why_closed(settings);
    if (closed) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, NULL, NULL, "%s", closed);
        return APR_EACCES;
    }
    if (!req->credential || !is_token(req->credential, settings->auth_token)) {
        gb_error_set(err, HTTP_UNAUTHORIZED, "invalid_api_key", NULL,
                     "Administration wants the token of AUTH_TOKEN, as Authorization: Bearer, "
                     "x-goog-api-key, x-api-key or ?key=.");
        return APR_EACCES;
    }
    return APR_SUCCESS;
}
