/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gbalance's tokens for httpd's own authentication: the provider `gbalance` for
 * Basic and form logins (any name, a token as the password), and `Require
 * gbalance-token [id ...]` and `Require gbalance-admin` for any Location of the
 * VirtualHost.  Whoever was let in by a token is noted with the request, since the
 * name that was typed says nothing.
 */
#include "core_session.h"

#include "ap_expr.h"
#include "ap_provider.h"
#include "http_core.h"
#include "http_request.h"
#include "mod_auth.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

/* Not while this address has to wait: it would learn which one is right. */
static int is_admin_token(request_rec *r, const char *given)
{
    return given && !core_guess_wait(r, CORE_GUESS_BEARER) && core_admin_is_token(r, given);
}

/* ---- passwords ---- */

static authn_status check_password(request_rec *r, const char *user, const char *password)
{
    const core_token_t *token;

    (void)user;
    if (core_conf_get(r->server)->on != 1) {
        return AUTH_USER_NOT_FOUND;
    }
    if (is_admin_token(r, password)) {
        apr_table_setn(r->notes, CORE_AUTHN_NOTE, CORE_AUTHN_ADMIN);
        return AUTH_GRANTED;
    }
    token = core_token_find(core_view(r)->tokens, password);
    if (!token) {
        core_guess_wrong(r, CORE_GUESS_BEARER);
        return AUTH_DENIED;
    }
    apr_table_setn(r->notes, CORE_AUTHN_NOTE, CORE_AUTHN_CLIENT);
    apr_table_set(r->notes, CORE_AUTHN_TOKEN, token->id);
    return AUTH_GRANTED;
}

static const authn_provider authn = {check_password, NULL};

/* ---- Require ---- */

/* Without a user httpd asks for one, if it knows how; else that was it. */
static authz_status not_yet(const request_rec *r)
{
    return !r->user && ap_auth_type((request_rec *)r) ? AUTHZ_DENIED_NO_USER : AUTHZ_DENIED;
}

/* The id of the client's token, however it was presented; NULL. */
static const char *token_of(request_rec *r)
{
    const char *id = apr_table_get(r->notes, CORE_AUTHN_TOKEN);
    const core_token_t *token = NULL;

    if (!id) {
        const char *credential = core_credential_look(r);

        token = credential ? core_token_find(core_view(r)->tokens, credential) : NULL;
    }
    return token ? token->id : id;
}

static authz_status require_token(request_rec *r, const char *line, const void *parsed)
{
    const char *id, *names, *name, *why = NULL;

    (void)line;
    if (core_conf_get(r->server)->on != 1) {
        return AUTHZ_DENIED;
    }
    id = token_of(r);
    if (!id) {
        return not_yet(r);
    }
    names = ap_expr_str_exec(r, parsed, &why);
    if (why || !*names) {
        return why ? AUTHZ_DENIED : AUTHZ_GRANTED;
    }
    while (*(name = ap_getword_conf(r->pool, &names))) {
        if (strcmp(name, id) == 0) {
            return AUTHZ_GRANTED;
        }
    }
    return AUTHZ_DENIED;
}

static authz_status require_admin(request_rec *r, const char *line, const void *parsed)
{
    const char *by = apr_table_get(r->notes, CORE_AUTHN_NOTE), *given;
    core_session_now_t session;

    (void)line;
    (void)parsed;
    if (core_conf_get(r->server)->on != 1) {
        return AUTHZ_DENIED;
    }
    given = core_credential_look(r);
    if ((by && strcmp(by, CORE_AUTHN_ADMIN) == 0) || is_admin_token(r, given)
        || core_session_get(r, &session) == APR_SUCCESS) {
        return AUTHZ_GRANTED;
    }
    if (given && !core_token_find(core_view(r)->tokens, given)) {
        core_guess_wrong(r, CORE_GUESS_BEARER);
    }
    return not_yet(r);
}

static const char *parse_token(cmd_parms *cmd, const char *line, const void **parsed)
{
    const char *why = NULL;

    *parsed = ap_expr_parse_cmd(cmd, line, AP_EXPR_FLAG_STRING_RESULT, &why, NULL);
    return why ? apr_pstrcat(cmd->pool, "Require gbalance-token: ", why, NULL) : NULL;
}

static const char *parse_admin(cmd_parms *cmd, const char *line, const void **parsed)
{
    (void)cmd;
    (void)parsed;
    return *line ? "Require gbalance-admin takes no further words" : NULL;
}

static const authz_provider authz_token = {require_token, parse_token};
static const authz_provider authz_admin = {require_admin, parse_admin};

void core_authz_hooks(apr_pool_t *p)
{
    ap_register_auth_provider(p, AUTHN_PROVIDER_GROUP, "gbalance", AUTHN_PROVIDER_VERSION, &authn,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "gbalance-token", AUTHZ_PROVIDER_VERSION,
                              &authz_token, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "gbalance-admin", AUTHZ_PROVIDER_VERSION,
                              &authz_admin, AP_AUTH_INTERNAL_PER_CONF);
}
