/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to the logs in the background, a short step at a time so that
 * nobody waits: old rows go, and rows that a gemini-balance has written (before
 * its database came to us, or on the way back and forth) get what ours have.
 */
#ifndef GB_UPKEEP_H
#define GB_UPKEEP_H

#include "store/journal_write.h"
#include "store/seal.h"

typedef enum { GB_LOG_REQUESTS, GB_LOG_ERRORS } gb_log_table_t;

/* The id of the newest row of all pools; 0: there is none. */
apr_status_t gb_log_newest(apr_int64_t *id, gb_db_t *db, gb_log_table_t table, apr_pool_t *p);

/* Each step answers how many rows it took in *n: 0 means that there are no more. */

/* Rows of a pool that are older than `before` go. */
apr_status_t gb_upkeep_expire(gb_db_t *db, gb_log_table_t table, const char *pool,
                              apr_time_t before, int batch, int *n, apr_pool_t *p);
/* The oldest rows of all pools go while there are more than max of them. */
apr_status_t gb_upkeep_bound(gb_db_t *db, gb_log_table_t table, apr_int64_t max, int batch, int *n,
                             apr_pool_t *p);

/*
 * Rows without our columns get them: time, key id, and their part in the
 * roll-ups; keys in clear become masked.  The writer's zone is the one that their
 * times are in.
 */
apr_status_t gb_upkeep_adopt(gb_writer_t *writer, gb_log_table_t table, int batch, int *n,
                             apr_pool_t *p);
/* Records of files get the id of their key; sealed: keys and tokens in clear become ids. */
apr_status_t gb_upkeep_adopt_files(gb_db_t *db, int sealed, int batch, int *n, apr_pool_t *p);

/* A small note that outlives processes; *value "" when there is none. */
apr_status_t gb_upkeep_note_get(gb_db_t *db, const char *name, const char **value, apr_pool_t *p);
apr_status_t gb_upkeep_note_put(gb_db_t *db, const char *name, const char *value);

#endif
