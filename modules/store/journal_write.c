/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of t_request_log; what they add to the roll-ups is totals.c's.  Error texts and whole
 * files of the spool are journal_text.c's and journal_replay.c's.
 */
#include "store/journal_write.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "base/log.h"
#include "base/secret.h"
#include "store/journal_int.h"

/* ---- statements ---- */

#define REQUEST_COLUMNS                                                                            \
    "uid, at, request_time, request_id, attempt, is_final, pool, surface, operation, "             \
    "model_asked, "                                                                                \
    "model_name, key_id, api_key, caller, class, is_success, status_code, latency_ms, "            \
    "first_byte_ms, prompt_tokens, completion_tokens, thought_tokens, cached_tokens, bytes, "      \
    "is_stream"
#define N_REQUEST_COLUMNS 25
#define REQUEST_VALUES                                                                             \
    "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, " \
    "%s, %s"

static const gb_sql_t sql_request = {
    "INSERT INTO t_request_log (" REQUEST_COLUMNS ") VALUES (" REQUEST_VALUES
    ") ON CONFLICT (uid) DO NOTHING",
    "INSERT INTO t_request_log (" REQUEST_COLUMNS ") VALUES (" REQUEST_VALUES
    ") ON DUPLICATE KEY UPDATE id = id",
};

/* ---- values ---- */

/* Without half a character at the end and without bytes that no database takes. */
const char *gb_journal_utf8(const char *text, apr_pool_t *p)
{
    gb_buf_t out;
    const char *clean;

    gb_buf_init(&out, GB_BUF_MAX_ERROR * 2);
    gb_json_put_str(&out, text, strlen(text)); /* replaces what is no UTF-8 */
    clean = gb_json_str(gb_json_root(out.data, out.len), NULL, p);
    gb_buf_free(&out);
    return clean ? clean : "";
}

static const char *text_or_null(const char *text, apr_pool_t *p)
{
    return *text ? gb_journal_utf8(text, p) : NULL;
}

static const char *count_or_null(apr_int64_t n, apr_pool_t *p)
{
    return n < 0 ? NULL : gb_db_int(n, p);
}

static const char *msec_or_null(apr_int64_t usec, apr_pool_t *p)
{
    return usec < 0 ? NULL : gb_db_int(usec / 1000, p);
}

const char *gb_journal_local(const gb_writer_t *writer, apr_time_t at, apr_pool_t *p)
{
    char *text = apr_palloc(p, 20);

    gb_db_time(text, at, writer->zone ? gb_zone_offset(writer->zone, at) : 0);
    return text;
}

const char *gb_journal_uid(const gb_record_t *record, apr_pool_t *p)
{
    char *hex = apr_palloc(p, 2 * GB_UID_LEN + 1);

    gb_hex(hex, record->uid, GB_UID_LEN);
    return hex;
}

const char *gb_record_model(const gb_record_t *record)
{
    return record->model_used[0] ? record->model_used : record->model_asked;
}

gb_totals_t *gb_journal_totals(const gb_writer_t *writer, apr_pool_t *p)
{
    return gb_totals_make(writer->zone, writer->now ? writer->now : apr_time_now(), p);
}

/* ---- rows ---- */

/* In the order of REQUEST_COLUMNS. */
static void request_args(const gb_writer_t *writer, const gb_record_t *r, const char **args,
                         apr_pool_t *p)
{
    int n = 0;

    args[n++] = gb_journal_uid(r, p);
    args[n++] = gb_db_int(apr_time_as_msec(r->began), p);
    args[n++] = gb_journal_local(writer, r->began, p);
    args[n++] = text_or_null(r->request_id, p);
    args[n++] = apr_itoa(p, r->number);
    args[n++] = r->is_final ? "1" : "0";
    args[n++] = r->pool;
    args[n++] = text_or_null(r->surface, p);
    args[n++] = text_or_null(r->operation, p);
    args[n++] = text_or_null(r->model_asked, p);
    args[n++] = text_or_null(gb_record_model(r), p);
    args[n++] = text_or_null(r->key_id, p);
    args[n++] = text_or_null(r->key_masked, p);
    args[n++] = text_or_null(r->caller, p);
    args[n++] = text_or_null(r->cls, p);
    args[n++] = r->is_success ? "1" : "0";
    args[n++] = r->status > 0 ? apr_itoa(p, r->status) : NULL;
    args[n++] = msec_or_null(r->latency, p);
    args[n++] = msec_or_null(r->first_byte, p);
    args[n++] = count_or_null(r->prompt_tokens, p);
    args[n++] = count_or_null(r->completion_tokens, p);
    args[n++] = count_or_null(r->thought_tokens, p);
    args[n++] = count_or_null(r->cached_tokens, p);
    args[n++] = gb_db_int((apr_int64_t)r->bytes, p);
    args[n] = r->is_stream ? "1" : "0";
}

/* Adds to *counts what is new. */
static apr_status_t write_rows(gb_writer_t *writer, const gb_record_t *records, int n,
                               gb_ring_counts_t *counts, apr_pool_t *p)
{
    gb_totals_t *totals = gb_journal_totals(writer, p);
    const char *args[N_REQUEST_COLUMNS];
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *row;
    int i, fresh;

    apr_pool_create(&row, p);
    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        apr_pool_clear(row);
        request_args(writer, &records[i], args, row);
        rv = gb_db_run(writer->db, &sql_request, args, &fresh);
        if (rv == APR_SUCCESS && fresh > 0) {
            counts->written++;
            counts->lost += strcmp(records[i].cls, "lost") == 0;
            gb_totals_add(totals, &records[i]);
        }
    }
    return rv == APR_SUCCESS ? gb_totals_write(totals, writer->db) : rv;
}

static apr_status_t write_batch(gb_writer_t *writer, const gb_record_t *records, int n,
                                apr_pool_t *p)
{
    apr_status_t rv = gb_db_begin(writer->db);
    gb_ring_counts_t counts = writer->counts;

    if (rv == APR_SUCCESS) {
        rv = write_rows(writer, records, n, &counts, p);
        if (rv == APR_SUCCESS) {
            rv = gb_db_commit(writer->db);
        }
        if (rv != APR_SUCCESS) {
            gb_db_rollback(writer->db);
        }
    }
    if (rv == APR_SUCCESS) {
        writer->counts = counts;
    }
    return rv;
}

/* ---- what the database refuses for good ---- */

apr_status_t gb_journal_reject(gb_writer_t *writer, const char *kind, const char *uid,
                               const char *what, apr_pool_t *p)
{
    gb_buf_t line;
    apr_status_t rv = APR_SUCCESS;
    int fd;

    gb_buf_init_pool(&line, GB_BUF_MAX_ERROR * 4, p);
    gb_buf_printf(&line, "{\"at\":%" APR_TIME_T_FMT ",\"kind\":\"%s\",\"uid\":\"%s\",\"reason\":",
                  apr_time_as_msec(apr_time_now()), kind, uid);
    gb_json_put_cstr(&line, gb_db_error(writer->db));
    gb_buf_puts(&line, ",\"row\":");
    gb_json_put_cstr(&line, what);
    gb_buf_puts(&line, "}\n");
    fd = open(writer->rejected, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line.data, line.len) != (ssize_t)line.len) {
        rv = errno;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (rv == APR_SUCCESS) {
        writer->counts.rejected++;
        gb_log(GB_LOG_WARNING, 0,
               GBLOGNO(6010) "journal: the database refuses a row, it is in %s: %s",
               writer->rejected, gb_db_error(writer->db));
    }
    return rv;
}

static const char *describe(const gb_record_t *r, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_TIME_T_FMT " req %s.%d pool %s model %s key %s caller %s: %d %s",
                        apr_time_as_msec(r->began), r->request_id, r->number, r->pool,
                        gb_record_model(r), r->key_id, r->caller, r->status, r->cls);
}

/* One bad row never stops the journal. */
static apr_status_t write_singly(gb_writer_t *writer, const gb_record_t *records, int n,
                                 apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        rv = write_batch(writer, &records[i], 1, p);
        if (rv == APR_EINVAL) {
            rv = gb_journal_reject(writer, "request", gb_journal_uid(&records[i], p),
                                   describe(&records[i], p), p);
        }
    }
    return rv;
}

apr_status_t gb_journal_write(gb_writer_t *writer, const gb_record_t *records, int n, apr_pool_t *p)
{
    apr_pool_t *scratch;
    apr_status_t rv;

    apr_pool_create(&scratch, p);
    rv = write_batch(writer, records, n, scratch);
    if (rv == APR_EINVAL) {
        rv = write_singly(writer, records, n, scratch);
    }
    apr_pool_destroy(scratch);
    return rv;
}
