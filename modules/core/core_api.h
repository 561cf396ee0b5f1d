/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON endpoints of administration that live in the core: what their files
 * share.  Answers are JSON objects; errors have a sentence for people in
 * `error.message`, and name every field that was wrong in `errors`.
 */
#ifndef GB_CORE_API_H
#define GB_CORE_API_H

#include "core_live.h"

#define CORE_API_BODY_MAX (512 * 1024)

/* One request of an administrator who has been let in. */
typedef struct core_api_t {
    request_rec *r;
    const char *who;  /* for the history */
    const char *args; /* the query, NULL */
    gb_span_t body;   /* a checked object; {NULL,0} for none */
    gb_buf_t out;
    const char *type; /* of the answer; NULL: JSON */
    const core_conf_t *conf;
    const char *pool; /* the pool of this VirtualHost */
    int method;       /* M_GET is HEAD too */
    int is_inner;     /* a page asks, not a client: the answer stays in `out` */
    int status;       /* of an inner call */
} core_api_t;

/*
 * The same endpoints for pages that have let somebody in themselves: path below
 * /api, with its query ("/config/schema"), body an object or NULL.  Returns the
 * HTTP status; *answer is JSON and lives as long as the request.
 */
int core_api_call(request_rec *r, const char *who, int method, const char *path, const char *body,
                  const char **answer);

/* Both return what the handler returns. */
int core_api_answer(core_api_t *api, int status);
int core_api_refuse(core_api_t *api, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* For an outcome of the database thread other than success. */
int core_api_store_failed(core_api_t *api, apr_status_t rv);

/* ---- core_api_config.c ---- */
int core_api_config_get(core_api_t *api);
int core_api_config_put(core_api_t *api);
int core_api_config_schema(core_api_t *api);
int core_api_config_reset(core_api_t *api);
int core_api_config_reveal(core_api_t *api);
int core_api_config_import(core_api_t *api);
/* In the log in any case, and in the history if the database is there: secrets were shown. */
void core_api_note_reveal(core_api_t *api, const gb_saved_t *values, int n, const char *names);
/* ---- core_api_export.c ---- */
int core_api_config_export(core_api_t *api);
/* ---- core_api_store.c ---- */
int core_api_store_get(core_api_t *api);
/* ---- core_api_history.c ---- */
int core_api_history_get(core_api_t *api);
int core_api_history_restore(core_api_t *api);

/* By whom and when a value was changed last. */
typedef struct core_saver_t {
    const char *who;
    apr_time_t at;
} core_saver_t;

/* Setting's name -> core_saver_t *; empty while the database is away. */
apr_hash_t *core_api_savers(core_api_t *api);

/* ---- core_api_values.c: JSON of a client to values of settings, and back ---- */

/* The text that gb_settings_set takes; secrets that come masked are what they are in `now`.  NULL and
 * *why on a wrong type.  *is_null: a JSON null, which stands for "as configured". */
const char *core_value_text(const gb_setting_t *row, gb_span_t value, const gb_settings_t *now,
                            int *is_null, const char **why, apr_pool_t *p);
/* A stored text as JSON, masked; null for NULL. */
void core_value_json(gb_buf_t *out, const gb_setting_t *row, const char *text, apr_pool_t *p);

/* ---- jobs of the database thread ---- */

/* Saves these values in one change and has them in force in all children. */
apr_status_t core_api_save(core_api_t *api, const char *action, const gb_saved_t *values, int n);

#endif
