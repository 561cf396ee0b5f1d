/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request log and the error log as pages read them: a page at a time from
 * the newest on, with filters, by an index always.
 *
 * Of the filters the one that leaves fewest rows has an index and is walked; the
 * others are tried on at most GB_LOG_SCAN of its rows at a time.  So an answer
 * may be short and still have `more`: the next one goes on from there.
 *
 * All functions run where the connection lives: in the database thread.
 */
#ifndef GB_LOGS_H
#define GB_LOGS_H

#include "store/db.h"
#include "store/upkeep.h"

#define GB_LOG_PAGE_MAX 500
#define GB_LOG_SCAN     5000
#define GB_LOG_SKIP_MAX 10000
#define GB_LOG_COUNT    10000

/* A place between two rows. */
typedef struct gb_log_cursor_t {
    apr_int64_t at; /* ms; 0: the newest row */
    apr_int64_t id;
} gb_log_cursor_t;

/* What is NULL, or 0 for numbers, does not count. */
typedef struct gb_log_filter_t {
    const char *pool;
    const char *key_id;
    const char *model;
    const char *type; /* errors: error_type; requests: class */
    const char *caller;
    const char *request_id;
    const char *key_part; /* somewhere in a key's id or masked text */
    const char *
        text; /* errors: somewhere in text, request or type; requests: in model, class, caller or operation */
    int status_min, status_max; /* 429, 429; 500, 599 */
    int no_status;              /* those without a status: no answer came */
    int final_only;             /* requests: one row for each call */
    int failed_only;            /* requests: no successes */
    apr_int64_t from, to;       /* ms; to: not included */
    /* For page numbers, which a cursor is better than: rows to leave out (at most GB_LOG_SKIP_MAX), and
     * whether the oldest come first (then without a cursor). */
    int skip, oldest_first;
} gb_log_filter_t;

typedef struct gb_log_row_t {
    apr_int64_t id, at; /* ms */
    const char *time;   /* request_time: local */
    const char *request_id, *pool, *surface, *operation, *model, *model_asked;
    const char *key_id, *key_masked, *caller, *cls; /* NULL: not known */
    int attempt, is_final, is_success, is_stream;
    int status;                            /* 0: none */
    apr_int64_t latency_ms, first_byte_ms; /* -1: not known, as below */
    apr_int64_t prompt_tokens, completion_tokens, thought_tokens, cached_tokens, bytes;
    /* Of an error, else NULL.  In a list `error` is cut to 500 characters and `request` NULL. */
    apr_int64_t error_id; /* of its row in t_error_logs, 0: none */
    const char *error_type, *error, *request;
    /* Of an error in a list: how the call ended, NULL as long as it has not. */
    const char *call_cls;
    int call_attempts;
} gb_log_row_t;

typedef struct gb_log_page_t {
    int n;
    gb_log_row_t *rows; /* newest first */
    int more;           /* ask again with next */
    gb_log_cursor_t next;
    apr_int64_t last_id; /* gb_logs_newer: the newest row there is */
} gb_log_page_t;

/* At most n (and GB_LOG_PAGE_MAX) rows that are older than the cursor.  An error's facts come
 * from its attempt's row in the request log, while there is one. */
apr_status_t gb_logs_list(gb_log_page_t *page, gb_db_t *db, gb_log_table_t table,
                          const gb_log_filter_t *filter, gb_log_cursor_t from, int n,
                          apr_pool_t *p);
/* How many there are, up to GB_LOG_COUNT; with filters that have no index, up to GB_LOG_SCAN among as
 * many. */
apr_status_t gb_logs_count(int *n, gb_db_t *db, gb_log_table_t table, const gb_log_filter_t *filter,
                           apr_pool_t *p);
/*
 * For a live tail: rows that were written after the one with that id, newest
 * first, at most n; page->last_id is where to go on.  By id, not by time: a long
 * call is written minutes after it began.  after -1: none, just last_id.
 */
apr_status_t gb_logs_newer(gb_log_page_t *page, gb_db_t *db, gb_log_table_t table,
                           const gb_log_filter_t *filter, apr_int64_t after, int n, apr_pool_t *p);

/* A row with its texts; APR_NOTFOUND. */
apr_status_t gb_logs_get(gb_log_row_t *row, gb_db_t *db, gb_log_table_t table, const char *pool,
                         apr_int64_t id, apr_pool_t *p);
/* All attempts of a call, first to last, with their errors and texts; at most 50. */
apr_status_t gb_logs_call(gb_log_row_t **prows, int *n, gb_db_t *db, const char *pool,
                          const char *request_id, apr_pool_t *p);
/* gemini-balance's lookup: the error of that key with that code next to that moment (ms), at most
 * `within` ms away; code 0: any.  APR_NOTFOUND. */
apr_status_t gb_logs_lookup(gb_log_row_t *row, gb_db_t *db, const char *pool, const char *key_id,
                            int code, apr_int64_t at, apr_int64_t within, apr_pool_t *p);

/* *n: rows that went. */
apr_status_t gb_logs_delete(int *n, gb_db_t *db, gb_log_table_t table, const char *pool,
                            const apr_int64_t *ids, int count, apr_pool_t *p);
/*
 * All of the pool's rows that are not newer than `until` (ms).  The first few
 * thousand go at once (*n); *more: the rest follows in the background, by
 * gb_logs_clear_step, a batch at a time until its *n is 0.
 */
apr_status_t gb_logs_clear(int *n, int *more, gb_db_t *db, gb_log_table_t table, const char *pool,
                           apr_int64_t until, apr_pool_t *p);
apr_status_t gb_logs_clear_step(int *n, gb_db_t *db, gb_log_table_t table, const char *pool,
                                apr_pool_t *p);

/* "1795156302000-4711" and the reverse, for addresses; 0: it is none. */
const char *gb_log_cursor_text(gb_log_cursor_t cursor, apr_pool_t *p);
int gb_log_cursor_parse(gb_log_cursor_t *cursor, const char *text);

#endif
