/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the modules of the suite may ask of mod_gbalance, and nothing else.
 *
 * A surface module meets the core at three functions: start a call, read a
 * settings snapshot, ask who the caller is.  A key module implements two hooks:
 * pick a key, report an outcome.  All are optional functions or optional hooks,
 * so the order of LoadModule does not matter; a module that misses a sibling
 * says so by name in check_config.
 */
#ifndef MOD_GBALANCE_H
#define MOD_GBALANCE_H

#include "httpd.h"
#include "apr_optional.h"
#include "apr_optional_hooks.h"
#include "apr_hooks.h"

#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/segment.h"
#include "base/settings.h"
#include "proto/classify.h"
#include "proto/dialect.h"
#include "upstream/key.h"

#define GBALANCE_VERSION       "0.1.0"
#define GBALANCE_DECLARE(type) type
/* Marks sentences of the core that pages show in the language of their reader. */
#define GB_WORD(text) text

/* ---- for surfaces ---- */

/* Who calls, once gbalance's authentication has said yes. */
typedef struct gb_caller_t {
    const char *name;  /* the token's id (never its text) or r->user */
    const char *vhost; /* "name:port" of the VirtualHost */
    const char *pool;  /* the pool that serves it */
    int by_apache;     /* r->user, not a token */
} gb_caller_t;

/*
 * Authenticates, reads the body, translates and starts the exchange; to be
 * returned from a handler as it is (SUSPENDED when the connection was parked).
 * Every error has been answered in the dialect's form by then.  path is below
 * the surface's mount.  DECLINED where `GBalance On` does not stand.
 */
APR_DECLARE_OPTIONAL_FN(int, gbalance_call_start,
                        (request_rec * r, const gb_dialect_t *dialect, const char *path));

/* The snapshot that is in force for this request; valid until its pool is destroyed. */
APR_DECLARE_OPTIONAL_FN(const gb_settings_t *, gbalance_settings_get, (request_rec * r));

/* The settings that are in force now for a pool, with what was saved for it; they live as long as p.
 * NULL: there is no such pool. */
APR_DECLARE_OPTIONAL_FN(const gb_settings_t *, gbalance_pool_settings,
                        (const char *pool, apr_pool_t *p));

/* APR_SUCCESS, or APR_EACCES with *err filled when nobody (or nobody welcome) calls.  vhost and pool
 * are filled wherever `GBalance On` stands. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_caller_get,
                        (request_rec * r, gb_caller_t *caller, gb_error_t *err));

/* The prefix of that Location ("/llm/v1"). */
APR_DECLARE_OPTIONAL_FN(const char *, gbalance_mount, (request_rec * r));

/* The whole body of at most max bytes, in memory or mapped; it goes with the request. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_body_read,
                        (request_rec * r, const char **body, apr_size_t *len, apr_off_t max,
                         gb_error_t *err));

/* What is left of a body that nobody will read, before an answer that does not wait for it. */
APR_DECLARE_OPTIONAL_FN(void, gbalance_body_drop, (request_rec * r));

/* Whether the client has left; without traffic nobody else would tell. */
APR_DECLARE_OPTIONAL_FN(int, gbalance_client_left, (request_rec * r));

/* ---- administration ---- */

typedef enum { GB_ADMIN_BY_TOKEN, GB_ADMIN_BY_SESSION, GB_ADMIN_BY_APACHE } gb_admin_by_t;

/* Who administers. */
typedef struct gb_admin_t {
    gb_admin_by_t by;
    const char *who;  /* for histories and logs: "token 1a2b3c4d from 10.0.0.1", "anna" */
    const char *csrf; /* what changes of his must bring; "" when by token: nothing */
    int session;      /* its number, 0 = none */
} gb_admin_t;

/*
 * The one decision for every endpoint of administration.  APR_SUCCESS when the request brings
 * AUTH_TOKEN, a session, or (GBalanceAdminAuth apache) somebody whom Apache has let in; a change
 * (any method but GET and HEAD) by one of the latter two needs the header X-CSRF-Token, too.
 * Else APR_EACCES with *err filled: 401, 403, or 503 where AUTH_TOKEN is not set or can be guessed,
 * which closes administration to everybody.  admin may be NULL.
 */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_admin_get,
                        (request_rec * r, gb_admin_t *admin, gb_error_t *err));
/* Whether it is closed to everybody, with why in *err. */
APR_DECLARE_OPTIONAL_FN(int, gbalance_admin_closed, (request_rec * r, gb_error_t *err));

typedef struct gb_session_t {
    int number;
    int is_open, is_mine;
    apr_time_t since, seen, until;
    const char *address, *agent; /* as the browser calls itself */
    const char *ended;           /* "expired", "signed_out", "revoked"; "" while it is open */
} gb_session_t;

/* An address that sent wrong tokens to the login. */
typedef struct gb_guesser_t {
    const char *address;
    int wrong;
    apr_time_t since;
    apr_interval_time_t wait; /* 0 = its tokens are looked at */
} gb_guesser_t;

/* A login: adds the cookie for path ("/llm/") to the answer.  APR_EACCES with *err: 401 (*left tries
 * remain to this address), 429, 503. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_session_begin,
                        (request_rec * r, const char *token, const char *path, int *left,
                         gb_error_t *err));
#define GB_SESSION_MINE   0
#define GB_SESSION_OTHERS (-1)
/* Ends the session of that number, that of the request, or all others; how many there were. */
APR_DECLARE_OPTIONAL_FN(int, gbalance_session_end, (request_rec * r, int which, const char *path));
/* Arrays of gb_session_t and gb_guesser_t of this VirtualHost. */
APR_DECLARE_OPTIONAL_FN(void, gbalance_sessions,
                        (request_rec * r, apr_array_header_t **sessions,
                         apr_array_header_t **throttled));

/*
 * The JSON endpoints of the core below /api, for pages that have let somebody in themselves (who, for
 * the history): path with its query ("/config/schema"), body an object or NULL.  Returns the HTTP
 * status; *answer is JSON and lives as long as r.
 */
APR_DECLARE_OPTIONAL_FN(int, gbalance_api_call,
                        (request_rec * r, const char *who, int method, const char *path,
                         const char *body, const char **answer));

/*
 * A short-lived token that lets a page of administration call the API surfaces of its VirtualHost,
 * as the caller "playground"; *lifetime is in seconds.  NULL: there is no shared memory to sign with.
 */
APR_DECLARE_OPTIONAL_FN(const char *, gbalance_play_token, (request_rec * r, int *lifetime));

/* Where this VirtualHost mounts a handler ("gbalance-openai" -> "/llm/v1"; the shortest); NULL: nowhere. */
APR_DECLARE_OPTIONAL_FN(const char *, gbalance_mount_of, (request_rec * r, const char *handler));

/* The path below the Location that mounts the handler ("/chat/completions"); NULL: not ours. */
APR_DECLARE_OPTIONAL_FN(const char *, gbalance_path, (request_rec * r));

/* ---- for key modules ---- */

/* A pool as configured: the VirtualHost that defines it settles its settings. */
typedef struct gb_pool_conf_t {
    const char *name;              /* "default" or GBalancePool's */
    const gb_settings_t *settings; /* lives as long as the configuration */
    server_rec *s;
} gb_pool_conf_t;

/* All pools, in the second pass of post_config and in every child. */
APR_DECLARE_OPTIONAL_FN(const gb_pool_conf_t *, gbalance_pools, (int *n));

/* GBalanceMaxKeys, and the state directory (absolute, "" before it is known). */
APR_DECLARE_OPTIONAL_FN(int, gbalance_max_keys, (void));
APR_DECLARE_OPTIONAL_FN(const char *, gbalance_state_dir, (void));

/*
 * The tenants of the segment are collected in post_config (hook, APR_HOOK_FIRST
 * in the core); afterwards their blocks can be had by name.  NULL: shared memory
 * was refused, which never stops httpd (gbalance's locations answer 503).
 */
APR_DECLARE_EXTERNAL_HOOK(gbalance, GBALANCE, int, segment_tenants,
                          (apr_array_header_t * specs)) /* of gb_tenant_spec_t; run all */
APR_DECLARE_OPTIONAL_FN(gb_tenant_t *, gbalance_tenant_get, (const char *name));

/*
 * Both run in the engine's thread: only arithmetic under the segment's lock, no
 * I/O.  key_pick answers OK with *key; GB_PICK_WAIT (a cap or a breaker: ask
 * again after *wait microseconds, see upstream/key.h); or an HTTP status with *err filled (429 with
 * retry_after, 503).  DECLINED: not this module's pool.
 */
APR_DECLARE_EXTERNAL_HOOK(gbalance, GBALANCE, int, key_pick,
                          (const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait,
                           gb_error_t *err)) /* run first */
APR_DECLARE_EXTERNAL_HOOK(gbalance, GBALANCE, int, key_report,
                          (const gb_report_t *report)) /* run all */

/* Whether the pool can serve anything: for /health.  *reason is static text ("no_keys", "all_dead" ...). */
APR_DECLARE_EXTERNAL_HOOK(gbalance, GBALANCE, int, pool_health,
                          (const char *pool,
                           const char **reason)) /* run first; OK, DECLINED, 503 */

/* ---- asking the upstream about one key ---- */

/* Runs in the engine's thread, once; verdict is valid during the call. */
typedef void gb_probe_done_fn(void *baton, const gb_verdict_t *verdict);

/*
 * Sends one small request for model with that key (which is copied and needs not
 * have been picked; nothing is reported to the pool).  Any thread of a child.
 * APR_EGENERAL: the engine does not run, done will not be called.
 */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_probe,
                        (const char *pool, const gb_key_t *key, const char *model,
                         gb_probe_done_fn *done, void *baton));

/* ---- for administration: asking the outside world; a worker waits, at most 30 s ---- */

/* Google's models as this pool sees them, in OpenAI's form: the HTTP status (0: no answer) and body. */
APR_DECLARE_OPTIONAL_FN(int, gbalance_models_ask,
                        (request_rec * r, const char *pool, const char **body));

/* The answer to a whole chat, both in OpenAI's form; in logs and usage its caller is "playground".  Said as
 * above. */
APR_DECLARE_OPTIONAL_FN(int, gbalance_chat_ask,
                        (request_rec * r, const char *pool, const char *chat, const char **body));

#define GB_PROXY_CHECKS 64 /* at a time */
typedef struct gb_proxy_check_t {
    const char *proxy;
    int works; /* the upstream answered through it, whatever it said */
    apr_interval_time_t took;
    const char *why; /* it does not; "" */
} gb_proxy_check_t;

/* Asks BASE_URL through each of them, side by side. */
APR_DECLARE_OPTIONAL_FN(void, gbalance_proxies_check,
                        (request_rec * r, gb_proxy_check_t *checks, int n));

/* ---- for administration: telling what happens ---- */

/*
 * An event stream for somebody who administers, as the core has decided; to be returned from a
 * handler as it is.  text is told at once.  The stream ends with the session, after ten minutes,
 * and at once when the child stops: the page asks again.
 */
APR_DECLARE_OPTIONAL_FN(int, gbalance_events_start,
                        (request_rec * r, const gb_admin_t *admin, const char *topic,
                         const char *text));
/* Tells all in this child who listen to that topic.  Any thread; must not be called by the engine. */
APR_DECLARE_OPTIONAL_FN(void, gbalance_events_tell, (const char *topic, const char *text));
/* How many do, and (joined may be NULL) how many have begun to so far.  Any thread. */
APR_DECLARE_OPTIONAL_FN(int, gbalance_events_listeners, (const char *topic, apr_uint32_t *joined));

/* ---- for administration: asking the database ---- */

/*
 * A question for the database thread of this child.  That thread may hang as long
 * as the server does, and whoever waits for it gives up after 5 s; so what fn
 * reads and writes (its baton and the answer) lives in the job's own pool, which
 * outlives the request then.  fn gets that pool as p.  store/stats.h and
 * store/logs.h are what it calls.
 */
struct gb_db_t;
typedef struct gb_job_t gb_job_t;
typedef apr_status_t gb_job_fn(struct gb_db_t *db, void *baton, apr_pool_t *p);

/* writes: it changes something.  The job and its answer are there until p (of a request) ends. */
APR_DECLARE_OPTIONAL_FN(gb_job_t *, gbalance_job_make, (apr_pool_t * p, gb_job_fn *fn, int writes));
APR_DECLARE_OPTIONAL_FN(apr_pool_t *, gbalance_job_pool, (gb_job_t * job));

/*
 * Once per job, in a worker.  APR_SUCCESS or APR_NOTFOUND as fn said; all else
 * has *err filled with what to tell (503, in words for people): the database is
 * away, hangs, is not ours to read, or there is none.
 */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_job_run,
                        (gb_job_t * job, void *baton, gb_error_t *err));

#endif
