/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of mod_gbalance_keys share.  Nobody else includes it.
 */
#ifndef GB_KEYS_H
#define GB_KEYS_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "apr_hash.h"

#include "mod_gbalance.h"
#include "mod_gbalance_keys.h"
#include "pool/pool.h"

extern module AP_MODULE_DECLARE_DATA gbalance_keys_module;

#define KEYS_TENANT      "pool"
#define KEYS_LEASE_SAVE  1 /* of the segment: who writes the state file */
#define KEYS_LEASE_CHECK 2 /* who sends the recovery checks */

/* ---- keys_pool.c: the block of this process ---- */

/* The segment's tenant; all NULL when shared memory was refused. */
extern gb_tenant_t *keys_tenant;
extern gb_pool_t *keys_pool;
extern int keys_child; /* this process's slot in the pool, 0 in the parent */

void keys_tenant_collect(apr_array_header_t *specs);
void keys_attach(apr_pool_t *pconf);
void keys_now(gb_pool_clock_t *clock);
/* Everything between these is arithmetic. */
void keys_enter(void);
void keys_leave(void);
void keys_child_enter(void);
void keys_child_leave(void);
/* Gives back what dead processes held. */
void keys_reap(void);

const gb_pool_conf_t *keys_pools(int *n);
/* As configured: whether there is such a pool. */
const gb_settings_t *keys_settings_of(const char *name);
/* As in force now, with what was saved; as long as p lives.  NULL: there is no such pool. */
const gb_settings_t *keys_settings_now(const char *name, apr_pool_t *p);
const char *keys_state_dir(void);
/* The core's probe, NULL: none. */
APR_OPTIONAL_FN_TYPE(gbalance_probe) * keys_probe(void);
void keys_siblings_retrieve(void);

/* ---- keys_hooks.c: the core's questions ---- */

int keys_key_pick(const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait, gb_error_t *err);
int keys_key_report(const gb_report_t *report);
int keys_pool_health(const char *pool, const char **reason);
void keys_rules(gb_pool_rules_t *rules, const gb_settings_t *settings);

/* ---- keys_outcome.c ---- */

/* What a verdict means to the pool.  label is kept in *outcome. */
#define KEYS_LABEL_LEN 24
void keys_outcome(gb_pool_outcome_t *outcome, const gb_verdict_t *verdict,
                  char label[KEYS_LABEL_LEN]);

/* ---- keys_log.c ---- */

void keys_log_events(const gb_pool_events_t *events, const char *pool);

/* ---- keys_load.c ---- */

/* Keys of the configuration, with what is remembered of them.  In the parent. */
void keys_load(apr_pool_t *ptemp, server_rec *s);
/* A key as it is added: pool, id and digest from its secret. */
void keys_spec(gb_pool_key_t *spec, const char *pool, const char *secret, apr_size_t len);
apr_status_t keys_add(const gb_pool_key_t *spec, const char *secret, apr_size_t len,
                      apr_uint32_t *slot);

/* ---- keys_persist.c: the state file ---- */

typedef struct keys_saved_t {
    apr_hash_t *keys;          /* "pool\0digest" -> gb_pool_key_t */
    apr_array_header_t *cells; /* of gb_pool_cell_t */
} keys_saved_t;

apr_status_t keys_saved_read(keys_saved_t *saved, apr_pool_t *p);
const gb_pool_key_t *keys_saved_find(const keys_saved_t *saved, const char *pool,
                                     const unsigned char *digest, apr_pool_t *p);
/* Writes the file when something has changed since this process wrote it. */
apr_status_t keys_saved_write(apr_pool_t *p);

/* ---- keys_grave.c: deleted keys that a file must not bring back ---- */

int keys_grave_has(const char *pool, const unsigned char *digest, apr_pool_t *p);
apr_status_t keys_grave_put(const char *pool, const unsigned char *digest, apr_pool_t *p);
apr_status_t keys_grave_take(const char *pool, const unsigned char *digest, apr_pool_t *p);

/* ---- keys_vault.c: secrets of keys that were added while httpd ran ---- */

typedef apr_status_t keys_vault_each_fn(void *baton, const char *pool, const char *secret,
                                        apr_size_t len);
void keys_vault_register(void);
apr_status_t keys_vault_load(keys_vault_each_fn *fn, void *baton, apr_pool_t *p);
apr_status_t keys_vault_put(const char *pool, const unsigned char *digest, const char *secret,
                            apr_size_t len, apr_pool_t *p);
apr_status_t keys_vault_drop(const char *pool, const unsigned char *digest, apr_pool_t *p);

/* ---- keys_watch.c, keys_recover.c ---- */

void keys_watch_register(apr_pool_t *pconf, server_rec *s);
void keys_watch_end(apr_pool_t *p);
void keys_recover_step(apr_pool_t *p);

typedef void keys_checked_fn(void *baton, const gb_verdict_t *verdict);
/* Asks Google about one key; the pool learns from the answer, then fn is told (in the engine's
 * thread).  Not called when this fails. */
apr_status_t keys_check(const gb_pool_key_t *row, keys_checked_fn *fn, void *baton);

/* ---- keys_list.c: rows as people see them ---- */

int keys_state_of(const gb_pool_key_t *key);
/* "AIza...wXyZ". */
void keys_mask(char *out, apr_size_t size, const char *secret);
void keys_row_mask(gb_keys_row_t *row);
/* What a row says besides its key; how long it rests, for one model or (NULL) any. */
void keys_row_fill(gb_keys_row_t *row, const char *model);

/* Each key of a pool (NULL: of all), each cell of all: the lock is held for a few at a time, and not
 * while fn runs. */
typedef void keys_each_fn(void *baton, const gb_pool_key_t *key);
typedef void keys_each_cell_fn(void *baton, const gb_pool_cell_t *cell);
void keys_each(const char *pool, const gb_pool_clock_t *clock, keys_each_fn *fn, void *baton);
void keys_each_cell(const gb_pool_clock_t *clock, keys_each_cell_fn *fn, void *baton);

/* ---- keys_list.c, keys_survey.c, keys_heat.c, keys_add.c, keys_ops.c, keys_verify.c: what
 * include/mod_gbalance_keys.h offers ---- */

APR_OPTIONAL_FN_TYPE(gbalance_keys_list) gbalance_keys_list;
APR_OPTIONAL_FN_TYPE(gbalance_keys_ids) gbalance_keys_ids;
APR_OPTIONAL_FN_TYPE(gbalance_keys_survey) gbalance_keys_survey;
APR_OPTIONAL_FN_TYPE(gbalance_keys_heat) gbalance_keys_heat;
APR_OPTIONAL_FN_TYPE(gbalance_keys_get) gbalance_keys_get;
APR_OPTIONAL_FN_TYPE(gbalance_keys_reveal) gbalance_keys_reveal;
APR_OPTIONAL_FN_TYPE(gbalance_keys_census) gbalance_keys_census;
APR_OPTIONAL_FN_TYPE(gbalance_keys_changes) gbalance_keys_changes;
APR_OPTIONAL_FN_TYPE(gbalance_keys_add) gbalance_keys_add;
APR_OPTIONAL_FN_TYPE(gbalance_keys_preview) gbalance_keys_preview;
APR_OPTIONAL_FN_TYPE(gbalance_keys_do) gbalance_keys_do;
APR_OPTIONAL_FN_TYPE(gbalance_keys_verify) gbalance_keys_verify;
APR_OPTIONAL_FN_TYPE(gbalance_keys_verify_cancel) gbalance_keys_verify_cancel;
APR_OPTIONAL_FN_TYPE(gbalance_keys_verify_wait) gbalance_keys_verify_wait;

void keys_list_register(void);
void keys_survey_register(void);
void keys_heat_register(void);
void keys_add_register(void);
void keys_ops_register(void);
void keys_verify_register(void);
void keys_verify_child_init(apr_pool_t *p);
/* By id as it is shown, else by the secret itself (gemini-balance's paths carry it). */
apr_status_t keys_find(gb_pool_key_t *row, const char *pool, const char *id);
/* The files of the state directory are changed by one at a time: neither another child nor another
 * thread of this one may come between reading and renaming. */
int keys_files_lock(apr_pool_t *p);
void keys_files_unlock(int fd);
/* Rows (gb_pool_key_t) of the keys named by id, or (n_ids < 0) of all keys of a pool. */
apr_array_header_t *keys_named(const char *pool, const char *const *ids, int n_ids, apr_pool_t *p);

/* ---- keys_api.c, keys_compat.c, keys_path.c: over HTTP ---- */

int keys_api_handler(request_rec *r);
int keys_compat_handler(request_rec *r);
int keys_path_cut(request_rec *r);

/* ---- keys_status.c ---- */

int keys_status_hook(request_rec *r, int flags);

#endif
