/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that a gemini-balance has written: recognized by what they lack (`at`),
 * made like ours, and counted in the roll-ups, in one transaction a batch.
 */
#include "store/upkeep.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "base/json.h"
#include "base/secret.h"
#include "store/journal_int.h"

static const gb_sql_t sql_requests = {
    "SELECT id, request_time, model_name, api_key, is_success, status_code, latency_ms "
    "FROM t_request_log WHERE at IS NULL LIMIT %s",
    NULL};
static const gb_sql_t sql_put_request = {
    "UPDATE t_request_log SET at = %s, key_id = %s, api_key = %s, class = %s, attempt = 1 "
    "WHERE id = %s AND at IS NULL",
    NULL};
static const gb_sql_t sql_errors = {
    "SELECT id, request_time, gemini_key, error_log, request_msg FROM t_error_logs "
    "WHERE at IS NULL LIMIT %s",
    NULL};
static const gb_sql_t sql_put_error = {
    "UPDATE t_error_logs SET at = %s, key_id = %s, gemini_key = %s, error_log = %s, "
    "request_msg = %s WHERE id = %s AND at IS NULL",
    NULL};
static const gb_sql_t sql_files = {
    "SELECT id, api_key, user_token FROM t_file_records WHERE key_id IS NULL LIMIT %s", NULL};
static const gb_sql_t sql_put_file = {
    "UPDATE t_file_records SET key_id = %s, api_key = %s, user_token = %s WHERE id = %s", NULL};

/* ---- texts ---- */

/* A key's id, its masked text; NULL for none.  What is masked already has no id any more. */
typedef struct key_texts_t {
    const char *id, *masked;
} key_texts_t;

static key_texts_t key_texts(const char *key, apr_pool_t *p)
{
    key_texts_t texts = {NULL, key};
    char *masked;

    if (key && strlen(key) >= 16) {
        masked = apr_palloc(p, GB_MASK_LEN);
        gb_mask(masked, key, strlen(key));
        texts.id = gb_secret_id_of(key, p);
        texts.masked = masked;
    }
    return texts;
}

/* Their texts quote addresses with keys.  No longer than it was: its column may be full. */
static const char *redacted(const char *text, apr_pool_t *p)
{
    gb_buf_t out;
    size_t len;

    if (!text) {
        return NULL;
    }
    gb_buf_init_pool(&out, 16 * 1024 * 1024, p);
    if (gb_redact(&out, text, strlen(text), NULL) != APR_SUCCESS) {
        return "";
    }
    for (len = strlen(text); out.len > len; out.len = len) {
        while (len > 0 && ((unsigned char)out.data[len] & 0xc0) == 0x80) {
            len--; /* not within a character */
        }
        out.data[len] = '\0';
    }
    return out.data ? out.data : "";
}

static const char *redacted_json(const char *text, apr_pool_t *p)
{
    const char *clean = redacted(text, p);
    gb_json_fault_t fault;
    gb_buf_t out;

    if (!clean || gb_json_check(clean, strlen(clean), &fault) == APR_SUCCESS) {
        return clean;
    }
    gb_buf_init_pool(&out, 64 * 1024 * 1024, p);
    gb_json_put_cstr(&out, clean); /* cutting has made it no JSON: then it is a text */
    return out.data;
}

/* Naive local time, perhaps with fractions; a row without one counts as of now. */
static apr_time_t moment(const gb_writer_t *writer, const char *text)
{
    apr_time_t at = text ? gb_db_time_parse(text, 0) : 0;

    if (!at) {
        return apr_time_now();
    }
    return writer->zone ? at - apr_time_from_sec(gb_zone_offset(writer->zone, at)) : at;
}

/* ---- rows ---- */

static void record_of(gb_record_t *record, const gb_rows_t *rows, int i, apr_time_t at,
                      const key_texts_t *key)
{
    const char *model = gb_rows_text(rows, i, 2);
    apr_int64_t latency = gb_rows_int(rows, i, 6, -1);

    memset(record, 0, sizeof(*record));
    record->began = at;
    record->is_final = 1;
    record->is_success = gb_rows_int(rows, i, 4, 0) != 0;
    record->status = (apr_int16_t)gb_rows_int(rows, i, 5, 0);
    record->latency = latency < 0 ? -1 : latency * 1000;
    record->first_byte = -1;
    record->prompt_tokens = record->completion_tokens = -1;
    record->thought_tokens = record->cached_tokens = -1;
    strcpy(record->pool, "default");
    apr_cpystrn(record->cls, record->is_success ? "success" : "unknown", sizeof(record->cls));
    apr_cpystrn(record->model_used, model ? model : "", sizeof(record->model_used));
    apr_cpystrn(record->key_id, key->id ? key->id : "", sizeof(record->key_id));
}

/* *fresh 0: another machine was quicker, and has counted it. */
static apr_status_t adopt_request(gb_writer_t *writer, const gb_rows_t *rows, int i,
                                  gb_record_t *record, int *fresh, apr_pool_t *p)
{
    apr_time_t at = moment(writer, gb_rows_text(rows, i, 1));
    key_texts_t key = key_texts(gb_rows_text(rows, i, 3), p);
    const char *args[5];

    record_of(record, rows, i, at, &key);
    args[0] = gb_db_int(apr_time_as_msec(at), p);
    args[1] = key.id;
    args[2] = key.masked;
    args[3] = record->cls;
    args[4] = gb_rows_text(rows, i, 0);
    return gb_db_run(writer->db, &sql_put_request, args, fresh);
}

static apr_status_t adopt_requests(gb_writer_t *writer, const gb_rows_t *rows, apr_pool_t *p)
{
    gb_totals_t *totals = gb_journal_totals(writer, p);
    apr_status_t rv = APR_SUCCESS;
    gb_record_t record;
    int i, fresh;

    for (i = 0; rv == APR_SUCCESS && i < rows->n; i++) {
        rv = adopt_request(writer, rows, i, &record, &fresh, p);
        if (rv == APR_SUCCESS && fresh > 0) {
            gb_totals_add(totals, &record);
        }
    }
    return rv == APR_SUCCESS ? gb_totals_write(totals, writer->db) : rv;
}

static apr_status_t adopt_errors(gb_writer_t *writer, const gb_rows_t *rows, apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows->n; i++) {
        apr_time_t at = moment(writer, gb_rows_text(rows, i, 1));
        key_texts_t key = key_texts(gb_rows_text(rows, i, 2), p);
        const char *args[6];

        args[0] = gb_db_int(apr_time_as_msec(at), p);
        args[1] = key.id;
        args[2] = key.masked;
        args[3] = redacted(gb_rows_text(rows, i, 3), p);
        args[4] = redacted_json(gb_rows_text(rows, i, 4), p);
        args[5] = gb_rows_text(rows, i, 0);
        rv = gb_db_run(writer->db, &sql_put_error, args, NULL);
    }
    return rv;
}

/* ---- batches ---- */

typedef struct kind_t {
    const gb_sql_t *select;
    apr_status_t (*adopt)(gb_writer_t *writer, const gb_rows_t *rows, apr_pool_t *p);
} kind_t;

static const kind_t kinds[] = {
    {&sql_requests, adopt_requests},
    {&sql_errors,   adopt_errors  },
};

static apr_status_t batch_of(gb_writer_t *writer, const kind_t *kind, const gb_rows_t *rows,
                             apr_pool_t *p)
{
    apr_status_t rv = gb_db_begin(writer->db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = kind->adopt(writer, rows, p);
    if (rv == APR_SUCCESS) {
        rv = gb_db_commit(writer->db);
    }
    if (rv != APR_SUCCESS) {
        gb_db_rollback(writer->db);
    }
    return rv;
}

apr_status_t gb_upkeep_adopt(gb_writer_t *writer, gb_log_table_t table, int batch, int *n,
                             apr_pool_t *p)
{
    const char *args[] = {apr_itoa(p, batch)};
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(writer->db, kinds[table].select, args, &rows, p);

    *n = rv == APR_SUCCESS ? rows.n : 0;
    return *n ? batch_of(writer, &kinds[table], &rows, p) : rv;
}

apr_status_t gb_upkeep_adopt_files(gb_db_t *db, int sealed, int batch, int *n, apr_pool_t *p)
{
    const char *limit[] = {apr_itoa(p, batch)};
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_files, limit, &rows, p);
    int i;

    *n = rv == APR_SUCCESS ? rows.n : 0;
    for (i = 0; rv == APR_SUCCESS && i < *n; i++) {
        const char *key = gb_rows_text(&rows, i, 1), *token = gb_rows_text(&rows, i, 2);
        const char *id = gb_secret_id_of(key, p), *args[4];

        args[0] = id;
        args[1] = sealed ? id : key;
        args[2] = sealed && token ? gb_secret_id_of(token, p) : token;
        args[3] = gb_rows_text(&rows, i, 0);
        rv = gb_db_run(db, &sql_put_file, args, NULL);
    }
    return rv;
}
