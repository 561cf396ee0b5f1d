/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core's store: where the database is, how it is, who asks it, and the
 * journal that fills it.  What goes wrong here never stops httpd: gbalance goes
 * on with what it has and heals by itself, or (a newer database, a wrong secret)
 * its locations answer 503 until somebody has acted.
 */
#ifndef GB_CORE_STORE_H
#define GB_CORE_STORE_H

#include "core.h"
#include "store/db.h"
#include "store/journal_write.h"
#include "store/seal.h"
#include "store/spool.h"

/* Of the segment.  Key modules have 1 and 2. */
#define CORE_LEASE_JOURNAL 0

/* ---- core_store.c: where it is, and how ---- */

typedef enum {
    CORE_STORE_OFF,     /* no state directory, no database: nothing is kept */
    CORE_STORE_UNKNOWN, /* nobody has asked yet */
    CORE_STORE_READY,
    CORE_STORE_AWAY, /* not reachable, locked, full, read-only */
    CORE_STORE_DAMAGED,
    CORE_STORE_NEWER, /* made by a newer gbalance: not touched */
    CORE_STORE_SECRET /* sealed with a secret that is not here */
} core_store_state_t;

typedef struct core_store_t {
    const gb_db_conf_t *db; /* NULL: CORE_STORE_OFF */
    gb_spool_t spool;
    const char *rejected;          /* path of rejected.jsonl */
    const gb_settings_t *settings; /* of server scope */
    server_rec *s;
} core_store_t;

/* NULL where nothing is kept. */
const core_store_t *core_store(void);

void core_store_tenants(apr_array_header_t *specs);
/* check_config: the values that configtest can judge. */
apr_status_t core_store_check(server_rec *s, const gb_settings_t *settings, apr_pool_t *p);
/* The second pass of post_config, in the parent: folders, schema, ownership. */
void core_store_post_config(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp);

/* What keys and tokens are sealed with; NULL: nothing. */
const gb_seal_t *core_store_seal(void);
/*
 * What this server is known by after a stop: GBalanceSecretFile's secret, or that of a file in the
 * state directory, made with the first start.  Parent, after core_store_post_config.  APR_ENOTIMPL:
 * nothing is kept, and that is known already; others: *why is a sentence.
 */
apr_status_t core_store_lasting(gb_seal_t **psecret, const char **why, apr_pool_t *p);

/* What all processes know.  A change is logged, once. */
void core_store_state_set(core_store_state_t state, const char *text);
/* text (may be NULL) takes 300 bytes. */
core_store_state_t core_store_state(char *text);
/* Whether this child is of the newest configuration; an older one may know another database. */
int core_store_is_current(void);
/* Whether nothing may be served: *err is filled with why (503). */
int core_store_refuses(gb_error_t *err);

/* Opens a connection and brings the schema up to date; NULL, and the state is set, when it cannot. */
gb_db_t *core_store_connect(apr_pool_t *p);
/* It has just proved that it works. */
void core_store_ready(void);

/* ---- core_dbthread.c: the one thread of a child that asks the database ---- */

/* Runs in the database thread.  db is connected and of our version. */
typedef apr_status_t core_job_fn(gb_db_t *db, void *baton, apr_pool_t *p);

typedef struct core_job_t core_job_t;

/* A job with a pool of its own for its baton.  One that writes proves more than one that reads: a
 * full or read-only disk stays away until something could be written. */
core_job_t *core_job_make(core_job_fn *fn, int writes);
apr_pool_t *core_job_pool(core_job_t *job);
void core_job_baton(core_job_t *job, void *baton);
/*
 * Hands it over and waits at most that long.  The job's status; APR_TIMEUP: it
 * has not ended (it may still run, on its own pool); APR_EAGAIN: 64 are waiting
 * already; APR_ENOTIMPL: there is no database; APR_EOF: the child is ending.
 * Either way the job is to be released afterwards.
 */
apr_status_t core_job_run(core_job_t *job, apr_interval_time_t wait);
void core_job_release(core_job_t *job);
/* The journal's writer is woken when it has ended. */
void core_job_nudges(core_job_t *job);
/* Whether it ended, and how. */
int core_job_ended(const core_job_t *job, apr_status_t *rv);

void core_dbthread_child_init(void);
/* How long the thread has been busy with one job; 0 when it is idle. */
apr_interval_time_t core_dbthread_busy(void);
/* Ends the thread; one that hangs in the database is left behind. */
void core_dbthread_stop(apr_interval_time_t patience);

/* ---- core_ask.c: for sibling modules, see gbalance_job_make ---- */

gb_job_t *core_ask_make(apr_pool_t *p, gb_job_fn *fn, int writes);
apr_pool_t *core_ask_pool(gb_job_t *ask);
apr_status_t core_ask_run(gb_job_t *ask, void *baton, gb_error_t *err);

/* ---- core_journal.c ---- */

void core_journal_tenants(apr_array_header_t *specs);
void core_journal_post_config(apr_pool_t *pconf);
/* After the fork; before the engine, so that its end comes after the engine's. */
void core_journal_child_init(apr_pool_t *pchild);
/* Any thread: look now, not with the next tick. */
void core_journal_nudge(void);
/* Database thread: what rows are written with. */
void core_journal_writer(gb_writer_t *writer, gb_db_t *db, apr_pool_t *p);

/* Of gb_exchange_host_t; in the engine's thread. */
void core_journal_begin(gb_exchange_t *x, const gb_attempt_t *attempt);
void core_journal_end(gb_exchange_t *x, const gb_attempt_t *attempt);

/* ---- core_files.c: records of files, for the time when shared memory is gone ---- */

void core_files_tenants(apr_array_header_t *specs);
/* Any thread; nobody waits. */
void core_files_put(const core_made_t *made, apr_time_t began, apr_time_t ends);
void core_files_gone(const char *pool, const char *name);
/* What is known from before httpd was started.  The parent, or a database thread. */
apr_status_t core_files_load(gb_db_t *db, int *n, apr_pool_t *p);
void core_files_post_config(gb_db_t *db, apr_pool_t *p);
/* Every FILES_CLEANUP_INTERVAL_HOURS: records whose time is over go, their files at Google too. */
apr_status_t core_files_clean(gb_db_t *db, int *n, apr_pool_t *p);

/* ---- core_mirror.c ---- */

/* Database thread: lets the list of keys in t_settings follow the pool.  *n stays 0. */
apr_status_t core_mirror_keys(gb_db_t *db, int *n, apr_pool_t *p);

/* ---- core_upkeep.c ---- */

/* Something has come that a step will take up. */
void core_upkeep_soon(void);

/* What is to be done to the logs now, a short step; NULL for nothing. */
core_job_t *core_upkeep_job(apr_time_t now);

#endif
