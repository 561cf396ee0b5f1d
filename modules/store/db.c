/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection: opening and closing, statements, and what failures mean.
 * What is asked is others' business; where the database is, db_conf.c's.
 */
#include "store/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_dbd.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_tables.h>

struct gb_db_t {
    apr_pool_t *pool;
    apr_pool_t *scratch; /* cleared by each statement */
    const gb_db_conf_t *conf;
    const apr_dbd_driver_t *driver;
    apr_dbd_t *handle;
    apr_hash_t *prepared; /* gb_sql_t * -> apr_dbd_prepared_t * */
    apr_hash_t *made;     /* text -> gb_sql_t * */
    gb_db_fault_t fault;
    char error[512];
};

gb_db_kind_t gb_db_kind(const gb_db_t *db)
{
    return db->conf->kind;
}

const gb_db_conf_t *gb_db_conf(const gb_db_t *db)
{
    return db->conf;
}

const char *gb_db_error(const gb_db_t *db)
{
    return db->error;
}

gb_db_fault_t gb_db_fault(const gb_db_t *db)
{
    return db->fault;
}

void gb_db_forget(gb_db_t *db)
{
    db->fault = GB_DB_FINE;
    db->error[0] = '\0';
}

/* ---- what a failure means ---- */

typedef struct sqlite_word_t {
    const char *word;
    gb_db_fault_t fault;
} sqlite_word_t;

/* The driver's codes say little (an unprepared step fails with 1 whatever it was): SQLite's texts
 * are stable. */
static const sqlite_word_t sqlite_words[] = {
    {"locked",             GB_DB_AWAY   },
    {"busy",               GB_DB_AWAY   },
    {"disk I/O error",     GB_DB_AWAY   },
    {"readonly",           GB_DB_AWAY   },
    {"disk is full",       GB_DB_AWAY   },
    {"unable to open",     GB_DB_AWAY   },
    {"schema has changed", GB_DB_AWAY   },
    {"no such table",      GB_DB_AWAY   },
    {"no such column",     GB_DB_AWAY   },
    {"out of memory",      GB_DB_AWAY   },
    {"malformed",          GB_DB_DAMAGED},
    {"not a database",     GB_DB_DAMAGED},
};

static gb_db_fault_t sqlite_fault(const char *message)
{
    size_t i;

    for (i = 0; i < sizeof(sqlite_words) / sizeof(sqlite_words[0]); i++) {
        if (strstr(message, sqlite_words[i].word)) {
            return sqlite_words[i].fault;
        }
    }
    return GB_DB_DATA;
}

/* The server's numbers that say nothing of the values: access, resources, locks, shutdown. */
static const int mysql_away[] = {1005, 1021, 1030, 1036, 1040, 1041, 1042, 1043, 1044, 1045, 1049,
                                 1053, 1054, 1077, 1079, 1114, 1130, 1142, 1146, 1152, 1158, 1159,
                                 1160, 1161, 1180, 1184, 1194, 1195, 1203, 1205, 1213, 1223, 1226,
                                 1227, 1243, 1290, 1317, 1461, 1615, 1637, 1792, 1836, 1927, 3024};

static gb_db_fault_t mysql_fault(int rc)
{
    size_t i;

    if (rc <= 0 || (rc >= 2000 && rc < 3000)) {
        return GB_DB_AWAY; /* the client library's own */
    }
    for (i = 0; i < sizeof(mysql_away) / sizeof(mysql_away[0]); i++) {
        if (mysql_away[i] == rc) {
            return GB_DB_AWAY;
        }
    }
    return GB_DB_DATA;
}

static apr_status_t outcome(gb_db_t *db, int rc)
{
    const char *message;

    if (rc == 0) {
        return APR_SUCCESS;
    }
    message = apr_dbd_error(db->driver, db->handle, rc);
    message = message && *message ? message : "unknown error";
    db->fault = db->conf->kind == GB_DB_SQLITE3 ? sqlite_fault(message) : mysql_fault(rc);
    apr_snprintf(db->error, sizeof(db->error), "%s (%d)", message, rc);
    return db->fault == GB_DB_DATA ? APR_EINVAL : APR_EGENERAL;
}

/* ---- statements ---- */

apr_status_t gb_db_exec(gb_db_t *db, const char *text)
{
    int nrows = 0;

    return outcome(db, apr_dbd_query(db->driver, db->handle, &nrows, text));
}

static const char *text_for(const gb_db_t *db, const gb_sql_t *sql)
{
    return db->conf->kind == GB_DB_MYSQL && sql->mysql ? sql->mysql : sql->sqlite3;
}

static apr_status_t prepare(gb_db_t *db, const gb_sql_t *sql, apr_dbd_prepared_t **pst)
{
    apr_dbd_prepared_t *st = apr_hash_get(db->prepared, &sql, sizeof(sql));
    const gb_sql_t **key;
    int rc;

    if (!st) {
        rc = apr_dbd_prepare(db->driver, db->pool, db->handle, text_for(db, sql), NULL, &st);
        if (rc != 0) {
            return outcome(db, rc);
        }
        key = apr_palloc(db->pool, sizeof(*key));
        *key = sql;
        apr_hash_set(db->prepared, key, sizeof(*key), st);
    }
    *pst = st;
    return APR_SUCCESS;
}

const gb_sql_t *gb_db_sql(gb_db_t *db, const char *text)
{
    gb_sql_t *sql = apr_hash_get(db->made, text, APR_HASH_KEY_STRING);

    if (!sql) {
        sql = apr_pcalloc(db->pool, sizeof(*sql));
        sql->sqlite3 = apr_pstrdup(db->pool, text);
        apr_hash_set(db->made, sql->sqlite3, APR_HASH_KEY_STRING, sql);
    }
    return sql;
}

/* apr_dbd takes the values without const and leaves them alone. */
static const char **values_of(const char *const *args)
{
    return (const char **)(uintptr_t)args;
}

/*
 * A statement that was prepared before somebody changed a table, which has done nothing yet.  Where
 * only an index was changed, SQLite has forgotten its message when it is asked.
 */
static int is_stale(gb_db_t *db, const gb_sql_t *sql, apr_status_t rv)
{
    if (rv == APR_SUCCESS || db->conf->kind != GB_DB_SQLITE3
        || (!strstr(db->error, "schema has changed") && !strstr(db->error, "not an error"))) {
        return 0;
    }
    apr_hash_set(db->prepared, &sql, sizeof(sql), NULL);
    return 1;
}

static apr_status_t run_once(gb_db_t *db, const gb_sql_t *sql, const char *const *args, int *nrows)
{
    apr_dbd_prepared_t *st = NULL;
    int changed = 0;
    apr_status_t rv = prepare(db, sql, &st);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_clear(db->scratch);
    rv = outcome(
        db, apr_dbd_pquery(db->driver, db->scratch, db->handle, &changed, st, 0, values_of(args)));
    if (rv == APR_SUCCESS && nrows) {
        *nrows = changed;
    }
    return rv;
}

apr_status_t gb_db_run(gb_db_t *db, const gb_sql_t *sql, const char *const *args, int *nrows)
{
    apr_status_t rv = run_once(db, sql, args, nrows);

    return is_stale(db, sql, rv) ? run_once(db, sql, args, nrows) : rv;
}

/* Reads all of it: the MySQL protocol allows nothing else before the last row. */
static apr_status_t collect(gb_db_t *db, apr_dbd_results_t *res, gb_rows_t *rows, apr_pool_t *p)
{
    apr_array_header_t *cells = apr_array_make(p, 16, sizeof(const char *));
    apr_dbd_row_t *row = NULL;
    int rc, i;

    rows->n = 0;
    rows->cols = apr_dbd_num_cols(db->driver, res);
    while ((rc = apr_dbd_get_row(db->driver, db->scratch, res, &row, -1)) == 0) {
        for (i = 0; i < rows->cols; i++) {
            APR_ARRAY_PUSH(cells,
                           const char *) = apr_pstrdup(p, apr_dbd_get_entry(db->driver, row, i));
        }
        rows->n++;
    }
    rows->cells = (const char **)cells->elts;
    return rc == -1 ? APR_SUCCESS : outcome(db, rc);
}

static apr_status_t query_once(gb_db_t *db, const gb_sql_t *sql, const char *const *args,
                               gb_rows_t *rows, apr_pool_t *p)
{
    apr_dbd_prepared_t *st = NULL;
    apr_dbd_results_t *res = NULL;
    apr_status_t rv = prepare(db, sql, &st);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_clear(db->scratch);
    rv = outcome(
        db, apr_dbd_pselect(db->driver, db->scratch, db->handle, &res, st, 0, 0, values_of(args)));
    return rv == APR_SUCCESS ? collect(db, res, rows, p) : rv;
}

apr_status_t gb_db_query(gb_db_t *db, const gb_sql_t *sql, const char *const *args, gb_rows_t *rows,
                         apr_pool_t *p)
{
    apr_status_t rv = query_once(db, sql, args, rows, p);

    return is_stale(db, sql, rv) ? query_once(db, sql, args, rows, p) : rv;
}

apr_status_t gb_db_ask(gb_db_t *db, const char *text, gb_rows_t *rows, apr_pool_t *p)
{
    apr_dbd_results_t *res = NULL;
    apr_status_t rv;

    apr_pool_clear(db->scratch);
    rv = outcome(db, apr_dbd_select(db->driver, db->scratch, db->handle, &res, text, 0));
    rows->n = rows->cols = 0;
    return rv == APR_SUCCESS && res ? collect(db, res, rows, p) : rv;
}

/* ---- transactions ---- */

apr_status_t gb_db_begin(gb_db_t *db)
{
    return gb_db_exec(db,
                      db->conf->kind == GB_DB_SQLITE3 ? "BEGIN IMMEDIATE" : "START TRANSACTION");
}

apr_status_t gb_db_commit(gb_db_t *db)
{
    return gb_db_exec(db, "COMMIT");
}

void gb_db_rollback(gb_db_t *db)
{
    gb_db_fault_t fault = db->fault;
    char error[sizeof(db->error)];

    memcpy(error, db->error, sizeof(error));
    gb_db_exec(db, "ROLLBACK");
    memcpy(db->error, error, sizeof(error)); /* why it was needed is what counts */
    db->fault = fault;
}

/* ---- open and close ---- */

typedef struct session_t {
    const char *text;
    int answers; /* its row comes back: apr_dbd_query takes that for an error */
} session_t;

/* The driver itself tries 16 times with pauses of 0.1 s: about 5 s together. */
static const session_t sqlite_session[] = {
    {"PRAGMA busy_timeout=250",   1},
    {"PRAGMA cache_size=-512",    0},
    {"PRAGMA journal_mode=WAL",   1},
    {"PRAGMA synchronous=NORMAL", 0},
    {"PRAGMA foreign_keys=ON",    0},
    {NULL,                        0}
};

/* Ours is the time zone of all that MySQL itself would fill in; nothing of a value is cut in silence. */
static const session_t mysql_session[] = {
    {"SET NAMES utf8mb4",                                           0},
    {"SET time_zone='+00:00'",                                      0},
    {"SET sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO'", 0},
    {"SET innodb_lock_wait_timeout=10",                             0},
    {NULL,                                                          0}
};

static apr_status_t begin_session(gb_db_t *db)
{
    const session_t *at = db->conf->kind == GB_DB_SQLITE3 ? sqlite_session : mysql_session;
    apr_status_t rv = APR_SUCCESS;
    gb_rows_t rows;

    for (; rv == APR_SUCCESS && at->text; at++) {
        rv = at->answers ? gb_db_ask(db, at->text, &rows, db->scratch) : gb_db_exec(db, at->text);
    }
    return rv;
}

apr_status_t gb_db_init(apr_pool_t *p)
{
    return apr_dbd_init(p);
}

static gb_db_t *db_make(const gb_db_conf_t *conf)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;
    gb_db_t *db;

    /* Of its own: connections come and go in a thread while other threads use other pools. */
    if (apr_allocator_create(&allocator) != APR_SUCCESS
        || apr_pool_create_unmanaged_ex(&pool, NULL, allocator) != APR_SUCCESS) {
        abort();
    }
    apr_allocator_owner_set(allocator, pool);
    apr_pool_tag(pool, "gbalance_db");
    db = apr_pcalloc(pool, sizeof(*db));
    db->pool = pool;
    apr_pool_create(&db->scratch, pool);
    db->conf = conf;
    db->prepared = apr_hash_make(pool);
    db->made = apr_hash_make(pool);
    return db;
}

void gb_db_close(gb_db_t *db)
{
    if (db->handle) {
        apr_dbd_close(db->driver, db->handle);
    }
    apr_pool_destroy(db->pool);
}

static apr_status_t driver_get(gb_db_t *db, const char **why, apr_pool_t *p)
{
    const char *name = db->conf->kind == GB_DB_SQLITE3 ? "sqlite3" : "mysql";
    apr_status_t rv = apr_dbd_get_driver(db->pool, name, &db->driver);

    if (rv != APR_SUCCESS) {
        *why = apr_psprintf(p, "APR has no driver \"%s\": install libaprutil1-dbd-%s", name, name);
    }
    return rv;
}

apr_status_t gb_db_open(gb_db_t **pdb, const gb_db_conf_t *conf, const char **why,
                        gb_db_fault_t *fault, apr_pool_t *p)
{
    gb_db_t *db = db_make(conf);
    const char *error = NULL;
    apr_status_t rv = driver_get(db, why, p);

    *fault = GB_DB_AWAY;
    if (rv == APR_SUCCESS) {
        rv = apr_dbd_open_ex(db->driver, db->pool, conf->params, &db->handle, &error);
        if (rv != APR_SUCCESS) {
            db->handle = NULL;
            *why = apr_psprintf(p, "%s cannot be opened: %s", conf->shown,
                                error ? error : "no such place, or no right to write there");
        }
    }
    if (rv == APR_SUCCESS && (rv = begin_session(db)) != APR_SUCCESS) {
        *fault = db->fault;
        *why = apr_psprintf(p, "%s cannot be used: %s", conf->shown, db->error);
    }
    if (rv != APR_SUCCESS) {
        gb_db_close(db);
        return rv;
    }
    *fault = GB_DB_FINE;
    *pdb = db;
    return APR_SUCCESS;
}

/* ---- values ---- */

const char *gb_rows_text(const gb_rows_t *rows, int row, int col)
{
    return rows->cells[row * rows->cols + col];
}

apr_int64_t gb_rows_int(const gb_rows_t *rows, int row, int col, apr_int64_t otherwise)
{
    const char *text = gb_rows_text(rows, row, col);

    return text ? apr_atoi64(text) : otherwise;
}

const char *gb_db_int(apr_int64_t n, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT, n);
}

void gb_db_time(char *out, apr_time_t at, int offset)
{
    apr_time_exp_t t;

    apr_time_exp_gmt(&t, at + apr_time_from_sec(offset));
    apr_snprintf(out, 20, "%04d-%02d-%02d %02d:%02d:%02d", t.tm_year + 1900, t.tm_mon + 1,
                 t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

apr_time_t gb_db_time_parse(const char *text, int offset)
{
    apr_time_exp_t t;
    apr_time_t at;

    memset(&t, 0, sizeof(t));
    if (sscanf(text, "%d-%d-%d%*1[ T]%d:%d:%d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
               &t.tm_min, &t.tm_sec)
        != 6) {
        return 0;
    }
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    return apr_time_exp_get(&at, &t) == APR_SUCCESS ? at - apr_time_from_sec(offset) : 0;
}
