/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who calls: the client's credential is taken out of the request as early as
 * possible, compared in constant time, and never logged or sent on.  CORS
 * stands here too, since it decides which pages may call.
 */
#include "core_session.h"

#include "http_protocol.h"
#include "apr_lib.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

/* ---- credentials ---- */

static const char *bearer(const char *value)
{
    if (!value || strncasecmp(value, "Bearer", 6) != 0 || !apr_isspace(value[6])) {
        return NULL;
    }
    value += 6;
    while (apr_isspace(*value)) {
        value++;
    }
    return value;
}

/* Whether a pair of a query is `name=`, whatever of the name is encoded ("%6bey=", "$key="). */
static int is_named(apr_pool_t *p, const char *pair, size_t len, const char *wanted)
{
    const char *equals = memchr(pair, '=', len);
    char *name;

    if (!equals) {
        return 0;
    }
    name = apr_pstrmemdup(p, pair, (apr_size_t)(equals - pair));
    ap_unescape_url(name);
    return strcasecmp(name + (*name == '$'), wanted) == 0;
}

/* Cuts `name=` out of a query; what was its value goes to *pvalue, still encoded. */
static char *cut(apr_pool_t *p, const char *args, const char *name, const char **pvalue)
{
    char *rest = apr_pstrdup(p, "");
    const char *at = args;

    while (*at) {
        size_t len = strcspn(at, "&");

        if (is_named(p, at, len, name)) {
            const char *value = (const char *)memchr(at, '=', len) + 1;

            if (!*pvalue) {
                *pvalue = apr_pstrmemdup(p, value, (apr_size_t)(at + len - value));
            }
        }
        else if (len) {
            rest = apr_pstrcat(p, rest, *rest ? "&" : "", apr_pstrmemdup(p, at, len), NULL);
        }
        at += len + (at[len] == '&');
    }
    return rest;
}

/* A URL (or request line) with its query replaced. */
static char *with_query(apr_pool_t *p, const char *text, const char *query)
{
    const char *mark = strchr(text, '?');
    const char *end = mark ? mark + strcspn(mark, " \t") : NULL;

    return mark ? apr_pstrcat(p, apr_pstrmemdup(p, text, (apr_size_t)(mark - text)),
                              *query ? "?" : "", query, end, NULL)
                : apr_pstrdup(p, text);
}

/* Endpoints of administration that are compatible with gemini-balance's name a key so. */
static void note_key(request_rec *r, const char *key)
{
    apr_table_setn(r->notes, "gb-query-key-id", gb_secret_id_of(key, r->pool));
}

/* Everything that a log format can print of the query. */
const char *core_query_take(request_rec *r, const char *name)
{
    const char *value = NULL;
    char *rest, *decoded;

    if (!r->args || !(rest = cut(r->pool, r->args, name, &value)) || !value) {
        return NULL;
    }
    r->args = *rest ? rest : NULL;
    if (r->the_request) {
        r->the_request = with_query(r->pool, r->the_request, rest);
    }
    if (r->unparsed_uri) {
        r->unparsed_uri = with_query(r->pool, r->unparsed_uri, rest);
    }
    r->parsed_uri.query = r->args;
    decoded = apr_pstrdup(r->pool, value);
    return ap_unescape_url(decoded) == OK ? decoded : value;
}

static const char *take_query_key(request_rec *r)
{
    const char *key = core_query_take(r, "key");

    if (key) {
        note_key(r, key);
    }
    return key;
}

void core_query_clean(request_rec *r)
{
    take_query_key(r);
}

/* The first present counts; all leave the request. */
const char *core_credential_take(request_rec *r)
{
    static const char *const headers[] = {"x-goog-api-key", "x-api-key"};
    const core_conf_t *conf = core_conf_get(r->server);
    const char *found, *key;
    int is_ours;
    size_t i;

    found = bearer(apr_table_get(r->headers_in, "Authorization"));
    is_ours = conf->auth_mode != CORE_AUTH_APACHE || (found && core_play_looks(found));
    if (!is_ours && !core_is_administration(core_request_get(r)->mount)) {
        found = NULL;
    }
    if (found && is_ours) {
        apr_table_unset(r->headers_in, "Authorization"); /* else it may be for Apache's own */
    }
    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        const char *value = apr_table_get(r->headers_in, headers[i]);

        if (value && !found) {
            found = value;
        }
        apr_table_unset(r->headers_in, headers[i]);
    }
    key = take_query_key(r);
    return found ? found : key;
}

const char *core_credential_look(request_rec *r)
{
    const core_request_t *req = core_request_get(r);

    return req ? req->credential : bearer(apr_table_get(r->headers_in, "Authorization"));
}

const core_token_t *core_token_find(const apr_array_header_t *tokens, const char *credential)
{
    const core_token_t *found = NULL;
    unsigned char digest[GB_DIGEST_LEN];
    int i;

    gb_digest(digest, credential, strlen(credential));
    for (i = 0; i < tokens->nelts; i++) {
        const core_token_t *token = &APR_ARRAY_IDX(tokens, i, core_token_t);

        if (gb_equal_ct(digest, token->digest, GB_DIGEST_LEN)) {
            found = token; /* go on: the time must not tell which */
        }
    }
    return found;
}

static apr_status_t refuse(gb_error_t *err, const char *text)
{
    gb_error_set(err, HTTP_UNAUTHORIZED, "invalid_api_key", NULL, "%s", text);
    apr_cpystrn(err->type, "invalid_request_error", sizeof(err->type));
    return APR_EACCES;
}

static apr_status_t by_apache(request_rec *r, gb_caller_t *caller, gb_error_t *err)
{
    const char *token = apr_table_get(r->notes, CORE_AUTHN_TOKEN);

    if (!r->user || !*r->user) {
        return refuse(err,
                      "Nobody is logged in: this server expects Apache's own authentication here.");
    }
    /* whoever brings a token may type any name beside it */
    caller->name = token ? token : r->user;
    caller->by_apache = 1;
    return APR_SUCCESS;
}

static apr_status_t by_token(const apr_array_header_t *tokens, const char *credential,
                             gb_caller_t *caller, gb_error_t *err)
{
    const core_token_t *token;

    if (!credential || !*credential) {
        return refuse(err, "No token was sent. Send one as Authorization: Bearer, x-goog-api-key, "
                           "x-api-key or ?key=.");
    }
    token = core_token_find(tokens, credential);
    if (!token) {
        return refuse(err,
                      tokens->nelts
                          ? "Incorrect API key provided: this server does not know the token."
                          : "No client token is configured on this server (ALLOWED_TOKENS), so "
                            "nobody gets in.");
    }
    caller->name = token->id;
    caller->by_apache = 0;
    return APR_SUCCESS;
}

apr_status_t core_caller_get(request_rec *r, gb_caller_t *caller, gb_error_t *err)
{
    const core_conf_t *conf = core_conf_get(r->server);
    const core_request_t *req = core_request_get(r);
    int mode = conf->auth_mode == CORE_UNSET ? CORE_AUTH_TOKEN : conf->auth_mode;

    if (!req || conf->on != 1) {
        return refuse(err, "gbalance does not serve this location.");
    }
    caller->vhost = conf->vhost;
    caller->pool = conf->pool_name ? conf->pool_name : "default";
    if (req->credential && core_play_is(r, req->credential)) {
        caller->name = CORE_PLAY_CALLER;
        caller->by_apache = 0;
        return APR_SUCCESS;
    }
    if (mode == CORE_AUTH_APACHE || (mode == CORE_AUTH_ANY && !req->credential && r->user)) {
        return by_apache(r, caller, err);
    }
    return by_token(core_view(r)->tokens, req->credential, caller, err);
}

int core_caller_is_known(request_rec *r, const char *name)
{
    const apr_array_header_t *tokens = core_view(r)->tokens;
    int mode = core_conf_get(r->server)->auth_mode, i;

    for (i = 0; i < tokens->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(tokens, i, core_token_t).id, name) == 0) {
            return 1;
        }
    }
    return mode == CORE_AUTH_APACHE || mode == CORE_AUTH_ANY /* whose users are not ours to know */
           || strcmp(name, CORE_PLAY_CALLER) == 0;
}

/* ---- CORS ---- */

/* The value of Access-Control-Allow-Origin, NULL when this origin may not call. */
static const char *allowed_origin(const gb_settings_t *settings, const char *origin)
{
    if (gb_list_has(&settings->cors_allow_origins, "*")) {
        return "*";
    }
    return origin && gb_list_has(&settings->cors_allow_origins, origin) ? origin : NULL;
}

void core_cors_headers(request_rec *r)
{
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *allowed = allowed_origin(core_view(r)->settings, origin);
    const char *asked;

    if (!allowed || *allowed != '*') {
        apr_table_mergen(r->err_headers_out, "Vary", "Origin");
    }
    if (!origin || !allowed) {
        return;
    }
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Origin", allowed);
    apr_table_setn(r->err_headers_out, "Access-Control-Expose-Headers",
                   "x-request-id, retry-after, retry-after-ms, x-should-retry, x-gbalance-ignored, "
                   "x-goog-upload-url, x-goog-upload-status, x-goog-upload-chunk-granularity, "
                   "x-goog-upload-size-received");
    if (r->method_number == M_OPTIONS) {
        asked = apr_table_get(r->headers_in, "Access-Control-Request-Headers");
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Methods",
                       "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Headers",
                       asked ? asked : "authorization, content-type, x-goog-api-key");
        apr_table_setn(r->err_headers_out, "Access-Control-Max-Age", "86400");
    }
}
