/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of what one key alone can use: of files at Google in gemini-balance's
 * t_file_records, of caches, operations, stores and the like in gb_made.
 * Processes know them from shared memory; the tables are what outlives httpd.
 * News comes the way that error texts come: as a line in the spool, in order, so
 * that nobody waits for the database and nothing is lost while it is away.
 */
#ifndef GB_FILES_H
#define GB_FILES_H

#include "store/journal_write.h"

typedef struct gb_file_t {
    const char *name; /* "files/abc", "cachedContents/abc" */
    const char *pool;
    const char *key_id;
    const char *caller; /* who made it: the token's id or the user; NULL: nobody knows */
    const char *json;   /* Google's description; "{}" of what is no file; NULL: it is gone */
    apr_time_t made, ends;
} gb_file_t;

/* The line for GB_SPOOL_FILES, with a line end before and behind. */
apr_status_t gb_file_line(gb_buf_t *out, const gb_file_t *file);

/* Within the caller's transaction.  A record that is there keeps its maker and its key. */
apr_status_t gb_file_write(gb_writer_t *writer, const char *line, apr_pool_t *p);

typedef void gb_file_fn(void *baton, const gb_file_t *file);

/*
 * Records behind *last, of which at most batch are looked at, those in the right
 * order that have been adopted; *n of them, and *last moves.  The description is
 * made from the columns.
 */
apr_status_t gb_files_load(gb_db_t *db, apr_int64_t *last, int batch, gb_file_fn *fn, void *baton,
                           int *n, apr_pool_t *p);

/* The same of what is no file. */
apr_status_t gb_made_load(gb_db_t *db, apr_int64_t *last, int batch, gb_file_fn *fn, void *baton,
                          int *n, apr_pool_t *p);
/* Removes what is no file and whose time was over then. */
apr_status_t gb_made_expire(gb_db_t *db, apr_time_t now, int batch, int *n, apr_pool_t *p);

/* Removes records of a pool whose time was over then, after fn has seen each. */
apr_status_t gb_files_expire(gb_db_t *db, const char *pool, apr_time_t now, int batch,
                             gb_file_fn *fn, void *baton, int *n, apr_pool_t *p);

#endif
