/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of settings that were saved, with the history of their changes.
 *
 * The pool `default` and one VirtualHost (the first that used this database,
 * "home") have theirs in t_settings under gemini-balance's names; all others
 * in gb_settings(scope, name, key, value).  Secrets are sealed when there is a
 * secret to seal with.
 */
#ifndef GB_SAVED_H
#define GB_SAVED_H

#include <apr_tables.h>

#include "base/settings.h"
#include "store/db.h"
#include "store/seal.h"

#define GB_SAVED_POOL  "pool"
#define GB_SAVED_VHOST "vhost"

typedef struct gb_saved_t {
    const char *scope; /* GB_SAVED_POOL or _VHOST */
    const char *name;  /* of the pool; "ServerName:port" */
    const char *key;   /* "MAX_RETRIES" */
    const char *value; /* NULL in a change: it is removed */
} gb_saved_t;

typedef struct gb_saved_ctx_t {
    gb_db_t *db;
    const gb_seal_t *seal; /* NULL: values are kept in clear */
} gb_saved_ctx_t;

/* Whether the value is a secret, or may hold one. */
int gb_saved_is_secret(const gb_setting_t *row);

/* Counts up with every change; read before the values. */
apr_status_t gb_saved_version(gb_db_t *db, apr_int64_t *version, apr_pool_t *p);

/*
 * This and all below: APR_EACCES when the database is sealed with another secret
 * than ctx has; nothing was read or written then.
 *
 * All values (gb_saved_t) of settings that this build knows.  vhost is the first
 * VirtualHost of the configuration that uses the pool default: it becomes home
 * when there is none yet (NULL for none).
 */
apr_status_t gb_saved_load(const gb_saved_ctx_t *ctx, apr_array_header_t **plist, const char *vhost,
                           apr_pool_t *p);

/* One change, as it was made: all of it or nothing. */
typedef struct gb_change_t {
    const char *who;
    const char *action; /* "save", "reset", "restore" */
    const char *vhost;  /* whose page it was */
    const gb_saved_t *values;
    int n;
} gb_change_t;

/* *id (may be NULL): its number in the history. */
apr_status_t gb_saved_change(const gb_saved_ctx_t *ctx, const gb_change_t *change, apr_int64_t *id,
                             apr_pool_t *p);

/* Sets a value of t_settings that is there, is in clear and is another: what it stands for has changed
 * by other ways than saving, so the history has nothing of it. */
apr_status_t gb_saved_follow(const gb_saved_ctx_t *ctx, const char *key, const char *value,
                             apr_pool_t *p);

/* Only a note in the history: secrets were shown to somebody. */
apr_status_t gb_saved_note(const gb_saved_ctx_t *ctx, const gb_change_t *change, apr_pool_t *p);

/* ---- history ---- */

typedef struct gb_history_row_t {
    apr_int64_t change_id;
    apr_time_t at;
    const char *who, *action, *vhost;
    gb_saved_t before; /* value NULL: none was saved */
    const char *after;
} gb_history_row_t;

/* Newest first (array of gb_history_row_t): changes older than `before` (0: from the newest), of one
 * pool and one VirtualHost; at most `count` rows. */
apr_status_t gb_history_list(const gb_saved_ctx_t *ctx, apr_array_header_t **prows,
                             const char *pool, const char *vhost, apr_int64_t before, int count,
                             apr_pool_t *p);

/* The last change of each value of one pool and one VirtualHost (array of gb_history_row_t, in no
 * order, without the values). */
apr_status_t gb_history_last(const gb_saved_ctx_t *ctx, apr_array_header_t **prows,
                             const char *pool, const char *vhost, apr_pool_t *p);

/* What is to be saved to have the state before that change again (array of gb_saved_t).
 * APR_NOTFOUND: no such change of that pool and VirtualHost. */
apr_status_t gb_history_undo(const gb_saved_ctx_t *ctx, apr_array_header_t **plist,
                             const char *pool, const char *vhost, apr_int64_t change_id,
                             apr_pool_t *p);

/* ---- sealing of what is there ---- */

/*
 * Makes the database's secrets and the seal fit.  APR_SUCCESS: they do (clear
 * values were sealed if there is a seal).  APR_EACCES: the database was sealed
 * with another secret, or there is none; *why is a sentence, nothing was changed.
 * previous (may be NULL) is the secret that was in use until now: what it opens is
 * sealed anew.  Others: the database.
 */
apr_status_t gb_saved_seal(const gb_saved_ctx_t *ctx, const gb_seal_t *previous, const char **why,
                           apr_pool_t *p);

#endif
