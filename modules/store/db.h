/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to the database, on apr_dbd: SQLite embedded, or MariaDB and
 * MySQL over the network.  Statements stand in tables (gb_sql_t), one text for
 * each driver, and are prepared when they are first used.  Every value travels
 * as a parameter.
 *
 * A connection belongs to one thread at a time and is opened after the fork.
 * The SQLite driver serializes all calls of a process and the MySQL driver
 * knows no read timeout, so neither workers nor the engine ever come here.
 */
#ifndef GB_DB_H
#define GB_DB_H

#include <apr_pools.h>
#include <apr_time.h>

typedef struct gb_db_t gb_db_t;

typedef enum { GB_DB_SQLITE3, GB_DB_MYSQL } gb_db_kind_t;

typedef struct gb_db_conf_t {
    gb_db_kind_t kind;
    const char *params;    /* a path, or apr_dbd's host=...,user=... */
    const char *shown;     /* the same for logs and pages: without the password */
    const char *lock_path; /* SQLite: the file that migrations lock; NULL: params with .lock */
} gb_db_conf_t;

/* What a failure means. */
typedef enum {
    GB_DB_FINE,
    GB_DB_DATA,   /* the statement's values were refused: it will never succeed */
    GB_DB_AWAY,   /* not reachable, locked, full, read-only: open anew, later */
    GB_DB_DAMAGED /* the file is no database, or a broken one */
} gb_db_fault_t;

/* %s for each value; a literal per cent sign is %%.  mysql NULL: the same as sqlite3. */
typedef struct gb_sql_t {
    const char *sqlite3;
    const char *mysql;
} gb_sql_t;

/* A whole answer, read into memory: queries say LIMIT. */
typedef struct gb_rows_t {
    int n, cols;
    const char **cells; /* n * cols texts, NULL for NULL */
} gb_rows_t;

/* Once per process, before threads and forks.  The drivers stay with the root of p's pools. */
apr_status_t gb_db_init(apr_pool_t *p);

/*
 * "sqlite3:path" (or just a path) and "mysql:host=...,user=...,pass=...,dbname=...,port=...,sock=...".
 * A relative path is below dir.  On APR_EINVAL *why is a sentence.
 */
apr_status_t gb_db_conf_parse(gb_db_conf_t **pconf, const char *text, const char *dir,
                              const char **why, apr_pool_t *p);
/* From the values of MYSQL_*; what is "" is left out.  APR_EINVAL as above. */
apr_status_t gb_db_conf_mysql(gb_db_conf_t **pconf, const char *host, int port, const char *user,
                              const char *password, const char *name, const char *socket,
                              const char **why, apr_pool_t *p);

/* Opens and prepares the session.  conf outlives the connection.  On failure *why is a sentence
 * from p and *fault says of what kind. */
apr_status_t gb_db_open(gb_db_t **pdb, const gb_db_conf_t *conf, const char **why,
                        gb_db_fault_t *fault, apr_pool_t *p);
void gb_db_close(gb_db_t *db);

gb_db_kind_t gb_db_kind(const gb_db_t *db);
const gb_db_conf_t *gb_db_conf(const gb_db_t *db);
/* Of the last failed statement. */
const char *gb_db_error(const gb_db_t *db);
gb_db_fault_t gb_db_fault(const gb_db_t *db);
/* No statement has failed yet. */
void gb_db_forget(gb_db_t *db);

/*
 * APR_SUCCESS; APR_EINVAL for GB_DB_DATA, APR_EGENERAL for all other faults,
 * after which the connection is of no use any more.
 */
apr_status_t gb_db_exec(gb_db_t *db, const char *text);
/* *nrows (may be NULL): rows changed.  args has a value for each %s; NULL is NULL. */
apr_status_t gb_db_run(gb_db_t *db, const gb_sql_t *sql, const char *const *args, int *nrows);
apr_status_t gb_db_query(gb_db_t *db, const gb_sql_t *sql, const char *const *args, gb_rows_t *rows,
                         apr_pool_t *p);
/* The statement of a text that was put together, for this connection's kind; kept as long as the
 * connection: only of literals, so that there are few. */
const gb_sql_t *gb_db_sql(gb_db_t *db, const char *text);
/* Without parameters and unprepared: PRAGMAs, locks, a look whether a table is there. */
apr_status_t gb_db_ask(gb_db_t *db, const char *text, gb_rows_t *rows, apr_pool_t *p);

/* The driver's own transactions report success after a rollback: these do not. */
apr_status_t gb_db_begin(gb_db_t *db);
apr_status_t gb_db_commit(gb_db_t *db);
void gb_db_rollback(gb_db_t *db);

/* ---- values ---- */

const char *gb_rows_text(const gb_rows_t *rows, int row, int col); /* NULL for NULL */
apr_int64_t gb_rows_int(const gb_rows_t *rows, int row, int col, apr_int64_t otherwise);
const char *gb_db_int(apr_int64_t n, apr_pool_t *p);
/* "2026-11-20 06:13:38" of that moment in UTC plus offset seconds; out takes 20 bytes. */
void gb_db_time(char *out, apr_time_t at, int offset);
/* The reverse, in UTC minus offset; 0 when it is no time. */
apr_time_t gb_db_time_parse(const char *text, int offset);

#endif
