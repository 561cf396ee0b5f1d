/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the logs.  A statement is put together of literals: the columns of its
 * table, the one filter that has an index, and the others around it.  Writing the
 * rows is journal_write.c's and journal_text.c's, their end of life upkeep.c's.
 */
#include "store/logs.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define DELETE_BATCH  500
#define CLEAR_BATCHES 8
#define CALL_MAX      50
#define SHORT_TEXT    "500"

/* ---- what rows are made of ---- */

/* In the order of row_of.  q is the request log's row, e the error log's of the same attempt. */
#define FACTS                                                                                      \
    ", q.operation, q.model_asked, q.class, q.is_final, q.is_success, q.is_stream, "               \
    "q.latency_ms, q.first_byte_ms, q.prompt_tokens, q.completion_tokens, q.thought_tokens, "      \
    "q.cached_tokens, q.bytes, e.id, e.error_type"
#define OF_REQUEST                                                                                 \
    "q.id, q.at, q.request_time, q.request_id, q.pool, q.surface, q.model_name, q.key_id, "        \
    "q.api_key, q.caller, q.attempt, q.status_code" FACTS
#define OF_ERROR                                                                                   \
    "e.id, e.at, e.request_time, e.request_id, e.pool, e.surface, e.model_name, e.key_id, "        \
    "e.gemini_key, e.caller, e.attempt, e.error_code" FACTS
#define SHORT_TEXTS ", SUBSTR(e.error_log, 1, " SHORT_TEXT "), NULL"
#define LONG_TEXTS  ", e.error_log, e.request_msg"
/* The first that is found: a client may name many calls alike. */
#define FINAL(column)                                                                              \
    ", (SELECT f." column                                                                          \
    " FROM t_request_log AS f WHERE f.request_id = e.request_id AND f.is_final = 1 LIMIT 1)"
#define END_OF_CALL FINAL("class") FINAL("attempt")
#define NO_END      ", NULL, NULL"

typedef struct table_t {
    const char *name, *as, *other; /* the other log, on the same attempt */
    const char *list, *whole;      /* columns */
    const char *model, *type, *status, *key, *masked, *caller; /* NULL: has no index */
    const char *text; /* a condition with as many values as text_n */
    int text_n;
} table_t;

/* By gb_log_table_t. */
static const table_t tables[] = {
    {"t_request_log", "q", " LEFT JOIN t_error_logs AS e ON e.uid = q.uid",
     OF_REQUEST SHORT_TEXTS NO_END,    OF_REQUEST LONG_TEXTS NO_END,    "model_name", "class",
     "status_code", "key_id", "api_key",    "caller",
     "(q.model_name LIKE %s ESCAPE '!' OR q.class LIKE %s ESCAPE '!' OR q.caller LIKE %s ESCAPE "
     "'!' "
     "OR q.operation LIKE %s ESCAPE '!')", 4},
    {"t_error_logs",  "e", " LEFT JOIN t_request_log AS q ON q.uid = e.uid",
     OF_ERROR SHORT_TEXTS END_OF_CALL, OF_ERROR LONG_TEXTS END_OF_CALL, "model_name", "error_type",
     "error_code",  "key_id", "gemini_key", NULL,
     "(e.error_log LIKE %s ESCAPE '!' OR e.request_msg LIKE %s ESCAPE '!' OR "
     "e.error_type LIKE %s ESCAPE '!')",   3},
};

static void row_of(gb_log_row_t *row, const gb_rows_t *rows, int i)
{
    const char *const *cell = rows->cells + i * rows->cols;
    int n = 0;

#define TEXT(member)              row->member = cell[n++]
#define NUMBER(member, otherwise) row->member = cell[n] ? apr_atoi64(cell[n]) : (otherwise), n++
#define SMALL(member)             row->member = cell[n] ? atoi(cell[n]) : 0, n++
    NUMBER(id, 0);
    NUMBER(at, 0);
    TEXT(time);
    TEXT(request_id);
    TEXT(pool);
    TEXT(surface);
    TEXT(model);
    TEXT(key_id);
    TEXT(key_masked);
    TEXT(caller);
    SMALL(attempt);
    SMALL(status);
    TEXT(operation);
    TEXT(model_asked);
    TEXT(cls);
    SMALL(is_final);
    SMALL(is_success);
    SMALL(is_stream);
    NUMBER(latency_ms, -1);
    NUMBER(first_byte_ms, -1);
    NUMBER(prompt_tokens, -1);
    NUMBER(completion_tokens, -1);
    NUMBER(thought_tokens, -1);
    NUMBER(cached_tokens, -1);
    NUMBER(bytes, -1);
    NUMBER(error_id, 0);
    TEXT(error_type);
    TEXT(error);
    TEXT(request);
    TEXT(call_cls);
    SMALL(call_attempts);
#undef TEXT
#undef NUMBER
#undef SMALL
}

static gb_log_row_t *rows_of(const gb_rows_t *found, int n, apr_pool_t *p)
{
    gb_log_row_t *rows = apr_pcalloc(p, sizeof(*rows) * (apr_size_t)(n + 1));
    int i;

    for (i = 0; i < n; i++) {
        row_of(&rows[i], found, i);
    }
    return rows;
}

/* ---- putting statements together ---- */

typedef struct draft_t {
    gb_buf_t text;
    const char *args[48];
    int n;
    apr_pool_t *p;
} draft_t;

static void draft(draft_t *d, apr_pool_t *p)
{
    gb_buf_init_pool(&d->text, 16 * 1024, p);
    d->n = 0;
    d->p = p;
}

static void put(draft_t *d, const char *text)
{
    gb_buf_puts(&d->text, text);
}

static void put_arg(draft_t *d, const char *text, const char *value)
{
    put(d, text);
    d->args[d->n++] = value;
}

static void put_int(draft_t *d, const char *text, apr_int64_t value)
{
    put_arg(d, text, gb_db_int(value, d->p));
}

static apr_status_t run(draft_t *d, gb_db_t *db, gb_rows_t *rows)
{
    return gb_db_query(db, gb_db_sql(db, d->text.data), d->args, rows, d->p);
}

/* ---- filters ---- */

/* A filter for one value of one column. */
typedef struct match_t {
    const char *column, *value;
} match_t;

#define MATCHES 7

/* The one that leaves the fewest rows first. */
static int matches_of(match_t *list, const table_t *table, const gb_log_filter_t *filter,
                      apr_pool_t *p)
{
    int one_status = filter->status_min && filter->status_min == filter->status_max;
    const match_t all[MATCHES] = {
        {"request_id",  filter->request_id                   },
        {table->key,    filter->key_id                       },
        {table->caller, table->caller ? filter->caller : NULL},
        {table->status, one_status ? apr_itoa(p,               filter->status_min) : NULL},
        {table->type,             filter->type                                       },
        {table->model,             filter->model},
        {"pool",             filter->pool                                             },
    };
    int i, n = 0;

    for (i = 0; i < MATCHES; i++) {
        if (all[i].value) {
            list[n++] = all[i];
        }
    }
    return n;
}

static const char *like(const char *text, apr_pool_t *p)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, 1024 * 1024, p);
    gb_buf_putc(&out, '%');
    for (; *text; text++) {
        if (strchr("%_!", *text)) {
            gb_buf_putc(&out, '!');
        }
        gb_buf_putc(&out, *text);
    }
    gb_buf_putc(&out, '%');
    return out.data ? out.data : "%";
}

static void put_text(draft_t *d, const table_t *table, const char *text)
{
    const char *pattern = like(text, d->p);
    int i;

    put(d, " AND ");
    put(d, table->text);
    for (i = 0; i < table->text_n; i++) {
        d->args[d->n++] = pattern;
    }
}

/* Conditions without an index of their own; each with " AND" before it.  Their number. */
static int put_others(draft_t *d, const table_t *table, const gb_log_filter_t *filter)
{
    gb_buf_t *out = &d->text;
    int is_request = table == &tables[GB_LOG_REQUESTS], from = d->n;
    size_t before = out->len;

    if (filter->status_min && filter->status_min != filter->status_max) {
        gb_buf_printf(out, " AND %s.%s", table->as, table->status);
        put_int(d, " BETWEEN %s", filter->status_min);
        put_int(d, " AND %s", filter->status_max);
    }
    if (filter->no_status) {
        gb_buf_printf(out, " AND (%s.%s IS NULL OR %s.%s = 0)", table->as, table->status, table->as,
                      table->status);
    }
    if (!table->caller && filter->caller) {
        gb_buf_printf(out, " AND %s.caller = ", table->as);
        put_arg(d, "%s", filter->caller);
    }
    if (is_request && filter->final_only) {
        put(d, " AND q.is_final = 1");
    }
    if (is_request && filter->failed_only) {
        put(d, " AND q.is_success = 0");
    }
    if (filter->key_part) {
        gb_buf_printf(out, " AND (%s.key_id", table->as);
        put_arg(d, " LIKE %s ESCAPE '!' OR ", like(filter->key_part, d->p));
        gb_buf_printf(out, "%s.%s", table->as, table->masked);
        put_arg(d, " LIKE %s ESCAPE '!')", d->args[d->n - 1]);
    }
    if (filter->text && *filter->text) {
        put_text(d, table, filter->text);
    }
    return d->n > from || out->len > before;
}

/* ---- lists ---- */

/* A page that is being read. */
typedef struct reading_t {
    const table_t *table;
    const gb_log_filter_t *filter;
    gb_log_cursor_t from;
    apr_int64_t after; /* by id, for a live tail; -1: by time */
    match_t matches[MATCHES];
    int n_matches;
    draft_t others;  /* conditions that the walk does not settle */
    int is_filtered; /* there are any */
    int scan;        /* how many rows the walk takes */
    apr_pool_t *p;
} reading_t;

/* Along an index, newest first: rows that one filter leaves. */
static void put_walk(draft_t *d, const reading_t *reading)
{
    const gb_log_filter_t *filter = reading->filter;

    gb_buf_printf(&d->text, "SELECT id AS walked, at AS walked_at FROM %s WHERE ",
                  reading->table->name);
    if (reading->after >= 0) {
        put_int(d, "id > %s ORDER BY id DESC", reading->after);
        return;
    }
    if (reading->n_matches) {
        put(d, reading->matches[0].column);
        put_arg(d, " = %s AND ", reading->matches[0].value);
    }
    put_int(d, "at >= %s", filter->from);
    if (reading->from.at) {
        put_int(d, " AND at <= %s", reading->from.at);
        put_int(d, " AND (at < %s", reading->from.at);
        put_int(d, " OR id < %s)", reading->from.id);
    }
    if (filter->to) {
        put_int(d, " AND at < %s", filter->to);
    }
    put(d, filter->oldest_first ? " ORDER BY at, id" : " ORDER BY at DESC, id DESC");
}

static const char *order_of(const reading_t *reading)
{
    return reading->after >= 0             ? " ORDER BY w.walked DESC"
           : reading->filter->oldest_first ? " ORDER BY w.walked_at, w.walked"
                                           : " ORDER BY w.walked_at DESC, w.walked DESC";
}

static void settle(reading_t *reading, int max)
{
    draft_t *d = &reading->others;
    int i = reading->after >= 0 ? 0 : 1, any = reading->n_matches > i;

    draft(d, reading->p);
    for (; i < reading->n_matches; i++) {
        gb_buf_printf(&d->text, " AND %s.%s", reading->table->as, reading->matches[i].column);
        put_arg(d, " = %s", reading->matches[i].value);
    }
    any |= put_others(d, reading->table, reading->filter);
    reading->scan = any ? GB_LOG_SCAN : max;
    reading->is_filtered = any;
}

/* The walk's rows that the other filters leave. */
static void put_found(draft_t *d, const reading_t *reading, const char *columns, const char *other)
{
    const table_t *table = reading->table;

    gb_buf_printf(&d->text, "SELECT %s FROM (", columns);
    put_walk(d, reading);
    put_int(d, " LIMIT %s) AS w", reading->scan);
    gb_buf_printf(&d->text, " JOIN %s AS %s ON %s.id = w.walked%s WHERE 1 = 1", table->name,
                  table->as, table->as, other);
    gb_buf_append(&d->text, reading->others.text.data, reading->others.text.len);
    memcpy(d->args + d->n, reading->others.args, sizeof(d->args[0]) * (size_t)reading->others.n);
    d->n += reading->others.n;
}

static apr_status_t read_rows(gb_rows_t *rows, gb_db_t *db, const reading_t *reading, int max)
{
    draft_t d;

    draft(&d, reading->p);
    put_found(&d, reading, reading->table->list, reading->table->other);
    put(&d, order_of(reading));
    put_int(&d, " LIMIT %s", max);
    put_int(&d, " OFFSET %s", reading->filter->skip);
    return run(&d, db, rows);
}

/* Where the walk ended; *next.at 0: it came to the last row. */
static apr_status_t read_end(gb_log_cursor_t *next, gb_db_t *db, const reading_t *reading)
{
    gb_rows_t rows;
    apr_status_t rv;
    draft_t d;

    draft(&d, reading->p);
    put_walk(&d, reading);
    put_int(&d, " LIMIT 1 OFFSET %s", reading->scan - 1);
    rv = run(&d, db, &rows);
    next->at = rv == APR_SUCCESS && rows.n ? gb_rows_int(&rows, 0, 1, 0) : 0;
    next->id = rv == APR_SUCCESS && rows.n ? gb_rows_int(&rows, 0, 0, 0) : 0;
    return rv;
}

static void begin(reading_t *reading, gb_log_table_t table, const gb_log_filter_t *filter,
                  apr_pool_t *p)
{
    memset(reading, 0, sizeof(*reading));
    reading->table = &tables[table];
    reading->filter = filter;
    reading->after = -1;
    reading->p = p;
    reading->n_matches = matches_of(reading->matches, reading->table, filter, p);
}

static int bounded(int n)
{
    return n < 1 ? 1 : n > GB_LOG_PAGE_MAX ? GB_LOG_PAGE_MAX : n;
}

apr_status_t gb_logs_list(gb_log_page_t *page, gb_db_t *db, gb_log_table_t table,
                          const gb_log_filter_t *filter, gb_log_cursor_t from, int n, apr_pool_t *p)
{
    reading_t reading;
    gb_rows_t rows;
    apr_status_t rv;

    n = bounded(n);
    memset(page, 0, sizeof(*page));
    begin(&reading, table, filter, p);
    reading.from = from;
    settle(&reading, n + 1 + filter->skip);
    rv = read_rows(&rows, db, &reading, n + 1);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    page->n = rows.n < n ? rows.n : n;
    page->rows = rows_of(&rows, page->n, p);
    page->more = rows.n > n;
    if (page->more) {
        page->next.at = page->rows[n - 1].at;
        page->next.id = page->rows[n - 1].id;
    }
    else if (reading.is_filtered && !filter->oldest_first) {
        rv = read_end(&page->next, db, &reading);
        page->more = page->next.at != 0;
    }
    return rv;
}

apr_status_t gb_logs_count(int *n, gb_db_t *db, gb_log_table_t table, const gb_log_filter_t *filter,
                           apr_pool_t *p)
{
    reading_t reading;
    gb_rows_t rows;
    apr_status_t rv;
    draft_t d;

    begin(&reading, table, filter, p);
    settle(&reading, GB_LOG_COUNT);
    draft(&d, p);
    put_found(&d, &reading, "COUNT(*)", "");
    rv = run(&d, db, &rows);
    *n = rv == APR_SUCCESS && rows.n ? (int)gb_rows_int(&rows, 0, 0, 0) : 0;
    return rv;
}

static apr_status_t last_id(apr_int64_t *id, gb_db_t *db, const table_t *table, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv;
    draft_t d;

    draft(&d, p);
    gb_buf_printf(&d.text, "SELECT MAX(id) FROM %s", table->name);
    rv = run(&d, db, &rows);
    *id = rv == APR_SUCCESS && rows.n ? gb_rows_int(&rows, 0, 0, 0) : 0;
    return rv;
}

apr_status_t gb_logs_newer(gb_log_page_t *page, gb_db_t *db, gb_log_table_t table,
                           const gb_log_filter_t *filter, apr_int64_t after, int n, apr_pool_t *p)
{
    reading_t reading;
    gb_rows_t rows;
    apr_status_t rv;

    n = bounded(n);
    memset(page, 0, sizeof(*page));
    rv = last_id(&page->last_id, db, &tables[table], p);
    if (rv != APR_SUCCESS || after < 0 || page->last_id <= after) {
        return rv;
    }
    begin(&reading, table, filter, p);
    reading.after = after;
    settle(&reading, n);
    rv = read_rows(&rows, db, &reading, n);
    if (rv == APR_SUCCESS) {
        page->n = rows.n;
        page->rows = rows_of(&rows, rows.n, p);
    }
    return rv;
}

/* ---- single rows and calls ---- */

/* Whole rows, of which the first condition is this one. */
static void put_whole(draft_t *d, const table_t *table, const char *condition, const char *value)
{
    gb_buf_printf(&d->text, "SELECT %s FROM %s AS %s%s WHERE %s.", table->whole, table->name,
                  table->as, table->other, table->as);
    put_arg(d, condition, value);
}

static apr_status_t one_row(gb_log_row_t *row, gb_db_t *db, draft_t *d)
{
    gb_rows_t rows;
    apr_status_t rv = run(d, db, &rows);

    if (rv == APR_SUCCESS && !rows.n) {
        return APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        row_of(row, &rows, 0);
    }
    return rv;
}

apr_status_t gb_logs_get(gb_log_row_t *row, gb_db_t *db, gb_log_table_t table, const char *pool,
                         apr_int64_t id, apr_pool_t *p)
{
    draft_t d;

    draft(&d, p);
    put_whole(&d, &tables[table], "id = %s", gb_db_int(id, p));
    if (pool) {
        gb_buf_printf(&d.text, " AND %s.pool", tables[table].as);
        put_arg(&d, " = %s", pool);
    }
    return one_row(row, db, &d);
}

apr_status_t gb_logs_call(gb_log_row_t **prows, int *n, gb_db_t *db, const char *pool,
                          const char *request_id, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv;
    draft_t d;

    draft(&d, p);
    put_whole(&d, &tables[GB_LOG_REQUESTS], "request_id = %s", request_id);
    if (pool) {
        put_arg(&d, " AND q.pool = %s", pool);
    }
    put_int(&d, " ORDER BY q.at, q.attempt LIMIT %s", CALL_MAX);
    rv = run(&d, db, &rows);
    if (rv == APR_SUCCESS) {
        *prows = rows_of(&rows, rows.n, p);
        *n = rows.n;
    }
    return rv;
}

apr_status_t gb_logs_lookup(gb_log_row_t *row, gb_db_t *db, const char *pool, const char *key_id,
                            int code, apr_int64_t at, apr_int64_t within, apr_pool_t *p)
{
    draft_t d;

    draft(&d, p);
    put_whole(&d, &tables[GB_LOG_ERRORS], "key_id = %s", key_id);
    put_int(&d, " AND e.at >= %s", at - within);
    put_int(&d, " AND e.at <= %s", at + within);
    if (pool) {
        put_arg(&d, " AND e.pool = %s", pool);
    }
    if (code) {
        put_int(&d, " AND e.error_code = %s", code);
    }
    put_int(&d, " ORDER BY ABS(e.at - %s), e.id LIMIT 1", at);
    return one_row(row, db, &d);
}

/* ---- deleting ---- */

static const gb_sql_t sql_delete[] = {
    {"DELETE FROM t_request_log WHERE id = %s AND (%s = '' OR pool = %s)", NULL},
    {"DELETE FROM t_error_logs WHERE id = %s AND (%s = '' OR pool = %s)",  NULL},
};

apr_status_t gb_logs_delete(int *n, gb_db_t *db, gb_log_table_t table, const char *pool,
                            const apr_int64_t *ids, int count, apr_pool_t *p)
{
    apr_status_t rv = gb_db_begin(db);
    int i, gone;

    *n = 0;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; rv == APR_SUCCESS && i < count; i++) {
        const char *args[] = {gb_db_int(ids[i], p), pool ? pool : "", pool ? pool : ""};

        rv = gb_db_run(db, &sql_delete[table], args, &gone);
        *n += rv == APR_SUCCESS ? gone : 0;
    }
    if (rv == APR_SUCCESS) {
        rv = gb_db_commit(db);
    }
    if (rv != APR_SUCCESS) {
        gb_db_rollback(db);
    }
    return rv;
}

/* What is still to go is a note, so that whoever does the upkeep goes on with it. */
static const char *note_name(gb_log_table_t table, const char *pool, apr_pool_t *p)
{
    return apr_pstrcat(p, "clear_", tables[table].name, ":", pool, NULL);
}

apr_status_t gb_logs_clear_step(int *n, gb_db_t *db, gb_log_table_t table, const char *pool,
                                apr_pool_t *p)
{
    const char *name = note_name(table, pool, p), *until;
    apr_status_t rv = gb_upkeep_note_get(db, name, &until, p);

    *n = 0;
    if (rv != APR_SUCCESS || !*until) {
        return rv;
    }
    rv = gb_upkeep_expire(db, table, pool, apr_time_from_msec(apr_atoi64(until) + 1), DELETE_BATCH,
                          n, p);
    return rv == APR_SUCCESS && !*n ? gb_upkeep_note_put(db, name, "") : rv;
}

apr_status_t gb_logs_clear(int *n, int *more, gb_db_t *db, gb_log_table_t table, const char *pool,
                           apr_int64_t until, apr_pool_t *p)
{
    apr_status_t rv = gb_upkeep_note_put(db, note_name(table, pool, p), gb_db_int(until, p));
    int i, gone = DELETE_BATCH;

    *n = 0;
    for (i = 0; rv == APR_SUCCESS && gone && i < CLEAR_BATCHES; i++) {
        rv = gb_logs_clear_step(&gone, db, table, pool, p);
        *n += gone;
    }
    *more = gone > 0;
    return rv;
}

/* ---- cursors ---- */

const char *gb_log_cursor_text(gb_log_cursor_t cursor, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT "-%" APR_INT64_T_FMT, cursor.at, cursor.id);
}

int gb_log_cursor_parse(gb_log_cursor_t *cursor, const char *text)
{
    char *end;
    apr_int64_t at = apr_strtoi64(text, &end, 10), id;

    if (at <= 0 || *end != '-') {
        return 0;
    }
    id = apr_strtoi64(end + 1, &end, 10);
    if (id <= 0 || *end) {
        return 0;
    }
    cursor->at = at;
    cursor->id = id;
    return 1;
}
