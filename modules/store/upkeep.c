/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Old rows go: by age, and by number.  Always by an index, and never many at a
 * time: other processes write in between.
 */
#include "store/upkeep.h"

#include <apr_strings.h>

/* MySQL takes no LIMIT within IN, SQLite none behind DELETE. */
static const gb_sql_t sql_expire[] = {
    {"DELETE FROM t_request_log WHERE id IN (SELECT id FROM t_request_log WHERE pool = %s "
     "AND at < %s ORDER BY at LIMIT %s)", "DELETE FROM t_request_log WHERE pool = %s AND at < %s ORDER BY at LIMIT %s"},
    {"DELETE FROM t_error_logs WHERE id IN (SELECT id FROM t_error_logs WHERE pool = %s "
     "AND at < %s ORDER BY at LIMIT %s)", "DELETE FROM t_error_logs WHERE pool = %s AND at < %s ORDER BY at LIMIT %s" },
};
static const gb_sql_t sql_ends[] = {
    {"SELECT MIN(id), MAX(id) FROM t_request_log", NULL},
    {"SELECT MIN(id), MAX(id) FROM t_error_logs",  NULL},
};
static const gb_sql_t sql_newest[] = {
    {"SELECT id FROM t_request_log ORDER BY id DESC LIMIT 1", NULL},
    {"SELECT id FROM t_error_logs ORDER BY id DESC LIMIT 1",  NULL},
};
static const gb_sql_t sql_bound[] = {
    {"DELETE FROM t_request_log WHERE id IN (SELECT id FROM t_request_log WHERE id <= %s "
     "ORDER BY id LIMIT %s)", "DELETE FROM t_request_log WHERE id <= %s ORDER BY id LIMIT %s"},
    {"DELETE FROM t_error_logs WHERE id IN (SELECT id FROM t_error_logs WHERE id <= %s "
     "ORDER BY id LIMIT %s)", "DELETE FROM t_error_logs WHERE id <= %s ORDER BY id LIMIT %s" },
};
static const gb_sql_t sql_note = {"SELECT value FROM gb_meta WHERE name = %s", NULL};
static const gb_sql_t sql_put_note = {"INSERT INTO gb_meta (name, value) VALUES (%s, %s) "
                                      "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                                      "INSERT INTO gb_meta (name, value) VALUES (%s, %s) ON "
                                      "DUPLICATE KEY UPDATE value = VALUES(value)"};

apr_status_t gb_log_newest(apr_int64_t *id, gb_db_t *db, gb_log_table_t table, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_newest[table], NULL, &rows, p);

    if (rv == APR_SUCCESS) {
        *id = rows.n ? gb_rows_int(&rows, 0, 0, 0) : 0;
    }
    return rv;
}

apr_status_t gb_upkeep_expire(gb_db_t *db, gb_log_table_t table, const char *pool,
                              apr_time_t before, int batch, int *n, apr_pool_t *p)
{
    const char *args[] = {pool, gb_db_int(apr_time_as_msec(before), p), apr_itoa(p, batch)};

    *n = 0;
    return gb_db_run(db, &sql_expire[table], args, n);
}

/* Counting all rows would be a scan.  Ids have gaps, so this keeps max rows at most. */
apr_status_t gb_upkeep_bound(gb_db_t *db, gb_log_table_t table, apr_int64_t max, int batch, int *n,
                             apr_pool_t *p)
{
    const char *args[2];
    apr_int64_t first, last;
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_ends[table], NULL, &rows, p);

    *n = 0;
    if (rv != APR_SUCCESS || !rows.n || max <= 0) {
        return rv;
    }
    first = gb_rows_int(&rows, 0, 0, 0);
    last = gb_rows_int(&rows, 0, 1, -1);
    if (last - first + 1 <= max) {
        return APR_SUCCESS;
    }
    args[0] = gb_db_int(last - max, p);
    args[1] = apr_itoa(p, batch);
    return gb_db_run(db, &sql_bound[table], args, n);
}

apr_status_t gb_upkeep_note_get(gb_db_t *db, const char *name, const char **value, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_note, &name, &rows, p);

    *value = rv == APR_SUCCESS && rows.n ? gb_rows_text(&rows, 0, 0) : "";
    return rv;
}

apr_status_t gb_upkeep_note_put(gb_db_t *db, const char *name, const char *value)
{
    const char *args[] = {name, value};

    return gb_db_run(db, &sql_put_note, args, NULL);
}
