/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings in force.  What the configuration says is known when httpd starts;
 * values that are saved while it runs lie in shared memory as a snapshot with a
 * generation number.  Each child puts both together once per generation, for all
 * servers, and whoever uses the outcome keeps it alive: a request (and the call
 * that it started) has the same settings from its beginning to its end.
 */
#ifndef GB_CORE_LIVE_H
#define GB_CORE_LIVE_H

#include "core.h"
#include "store/saved.h"

struct core_view_t {
    const gb_settings_t *settings;
    const apr_array_header_t *tokens; /* of core_token_t */
    const unsigned char *saved;       /* by row of the table: 1 where a saved value is in force */
    struct core_live_t *live;         /* that it belongs to; NULL: the configuration's */
};

void core_live_tenants(apr_array_header_t *specs);
/* The parent: what the last server remembered, when the database cannot be asked at once. */
void core_live_post_config(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp);
void core_live_child_init(apr_pool_t *p, server_rec *s);

/* For this request, until its end. */
const core_view_t *core_view(request_rec *r);
/* Another look: what is in force at this moment. */
const core_view_t *core_view_now(request_rec *r);
/* The same one lives as long as p, too, in whatever thread that ends. */
void core_view_keep(const core_view_t *view, apr_pool_t *p);
/* In force now for a pool; they live as long as p.  NULL: there is no such pool. */
const gb_settings_t *core_live_pool(const char *pool_name, apr_pool_t *p);

/* ---- where a value comes from ---- */

typedef struct core_origin_t {
    gb_source_t source;
    const char *where; /* "file:line", the .env file; "" */
    int is_fixed;      /* no page can change it */
} core_origin_t;

/* Of a setting of this request's server. */
core_origin_t core_origin(request_rec *r, const gb_setting_t *row);
const char *core_pool_name(const core_conf_t *conf);

/* core_config.c: of the configuration alone. */
core_origin_t core_conf_origin(const core_conf_t *conf, const gb_setting_t *row);
apr_array_header_t *core_tokens_make(const gb_settings_t *settings, apr_pool_t *p);
void core_pool_settle(int i, const gb_settings_t *settings);

/* core_loglevel.c: LOG_LEVEL filters our own lines of a server, never httpd's. */
void core_log_child_init(apr_pool_t *p, server_rec *s);
void core_log_limit(server_rec *s, const char *level);

/* ---- the database thread ---- */

/* Reads the saved values and publishes them to all children, under the lock.  Also keeps them for
 * the next start. */
apr_status_t core_live_reload(gb_db_t *db, apr_pool_t *p);
/* Reloads when somebody else (another machine) has changed them. */
apr_status_t core_live_refresh(gb_db_t *db, apr_pool_t *p);
/* One process at a time changes and publishes.  -1: it could not be had. */
int core_live_lock(void);
void core_live_unlock(int lock);
gb_saved_ctx_t core_saved_ctx(gb_db_t *db);

#endif
