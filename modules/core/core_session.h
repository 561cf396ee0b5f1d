/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who administers: by AUTH_TOKEN as a bearer, by a session, or by Apache's own
 * authentication.  core_admin.c decides, for every endpoint of administration;
 * core_session.c keeps the sessions.
 */
#ifndef GB_CORE_SESSION_H
#define GB_CORE_SESSION_H

#include "core_live.h"
#include "base/sign.h"

/* In r->notes, when the provider `gbalance` has let somebody in by a token. */
#define CORE_AUTHN_NOTE   "gb-authn"
#define CORE_AUTHN_ADMIN  "admin"
#define CORE_AUTHN_CLIENT "client"
/* The id of a client's token. */
#define CORE_AUTHN_TOKEN "gb-authn-token"

/* ---- core_authz.c ---- */
void core_authz_hooks(apr_pool_t *p);

/* ---- core_admin.c ---- */

/* Whether administration is closed to everybody who brings a token: *err (503) says why. */
int core_admin_closed(request_rec *r, gb_error_t *err);
int core_admin_is_token(request_rec *r, const char *given);
/* APR_SUCCESS with *admin filled; else APR_EACCES with *err: 401, 403 (a change without its CSRF
 * token), 503. */
apr_status_t core_admin_get(request_rec *r, gb_admin_t *admin, gb_error_t *err);

/* ---- core_guess.c ---- */

typedef enum {
    CORE_GUESS_LOGIN,
    CORE_GUESS_BEARER, /* and the other ways to bring a token with each request */
    CORE_GUESS_KINDS
} core_guess_t;

void core_guess_tenants(apr_array_header_t *specs);
/* How long this address has to wait until its tokens are looked at again; 0 = not at all. */
apr_interval_time_t core_guess_wait(request_rec *r, core_guess_t kind);
/* Its token was wrong: how many tries are left. */
int core_guess_wrong(request_rec *r, core_guess_t kind);
/* APR_EACCES with *err filled: 429. */
apr_status_t core_guess_refuse(request_rec *r, gb_error_t *err, apr_interval_time_t wait);
/* Of gb_guesser_t. */
void core_guess_list(request_rec *r, apr_array_header_t **guessers);

/* ---- core_session.c ---- */

/* The session that a request belongs to. */
typedef struct core_session_now_t {
    int number;
    const char *csrf, *address;
} core_session_now_t;

void core_session_tenants(apr_array_header_t *specs);
/* APR_NOTFOUND: the request has none, or one that has ended. */
apr_status_t core_session_get(request_rec *r, core_session_now_t *now);
/* For somebody whom Apache knows: the token that a change of his needs. */
const char *core_session_csrf(request_rec *r, const char *user);
/* path: of the cookie, with a slash at its end.  APR_EACCES with *err: 401 (and how many tries are
 * left), 429, 503. */
apr_status_t core_session_begin(request_rec *r, const char *token, const char *path, int *left,
                                gb_error_t *err);
/* Ends sessions of this VirtualHost: one by number, the request's own, or all others.  How many. */
int core_session_end(request_rec *r, int which, const char *path);
/* Whether that session of a VirtualHost (its name) is open still; any thread. */
int core_session_lives(const char *vhost, int number);
/* Of gb_session_t and gb_guesser_t, from the request's pool. */
void core_sessions_list(request_rec *r, apr_array_header_t **sessions,
                        apr_array_header_t **throttled);

/* ---- core_events.c: see gbalance_events_start ---- */

int core_events_start(request_rec *r, const gb_admin_t *admin, const char *topic, const char *text);
void core_events_tell(const char *topic, const char *text);
int core_events_listeners(const char *topic, apr_uint32_t *joined);

#endif
