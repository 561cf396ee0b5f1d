/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error texts: the line that the spool keeps, and the row of t_error_logs that
 * is made of it; and how lines of the spool are written, whatever they are about.
 */
#include "store/journal_write.h"

#include <string.h>

#include <apr_strings.h>

#include "base/json.h"
#include "base/secret.h"
#include "store/files.h"
#include "store/journal_int.h"

/* Bytes of each of the two long texts: escaped they may need six times as much. */
static const size_t log_max[] = {16 * 1024, 4 * 1024, 1024};

#define DEPTH_MAX 31 /* of a document in a column of MariaDB */

/* ---- the line ---- */

static void put_text(gb_buf_t *out, const char *name, const char *text, size_t max)
{
    size_t len = strlen(text);

    gb_buf_printf(out, ",\"%s\":", name);
    gb_json_put_str(out, text, len < max ? len : max);
}

static void put_word(gb_buf_t *out, const char *name, const char *text)
{
    put_text(out, name, text, 256);
}

static int depth_of(const char *json)
{
    int depth = 0, most = 0, quoted = 0;

    for (; *json; json++) {
        if (*json == '"') {
            quoted = !quoted;
        }
        else if (quoted) {
            json += *json == '\\' && json[1];
        }
        else if (*json == '{' || *json == '[') {
            most = ++depth > most ? depth : most;
        }
        else {
            depth -= *json == '}' || *json == ']';
        }
    }
    return most;
}

/* Whether every database takes it: MariaDB refuses a deep document and half a pair of surrogates. */
static int is_common_json(const char *request, size_t len)
{
    gb_json_fault_t fault;

    return gb_json_check(request, len, &fault) == APR_SUCCESS && !fault.has_lone_surrogate
           && depth_of(request) <= DEPTH_MAX;
}

/* What is no JSON (any more, after cutting) is kept as a text. */
static void put_request(gb_buf_t *out, const char *request, size_t max)
{
    size_t len = request ? strlen(request) : 0;

    if (!len) {
        return;
    }
    if (len <= max && is_common_json(request, len)) {
        gb_buf_puts(out, ",\"request\":");
        gb_json_put_compact(out, gb_json_root(request, len));
    }
    else {
        put_text(out, "request", request, max);
    }
}

static void put_line(gb_buf_t *out, const gb_error_row_t *row, size_t max)
{
    const gb_record_t *r = row->record;
    char uid[2 * GB_UID_LEN + 1];

    gb_hex(uid, r->uid, GB_UID_LEN);
    /* The first line end closes a line before it that a full disk has cut. */
    gb_buf_printf(out, "\n{\"uid\":\"%s\",\"at\":%" APR_TIME_T_FMT ",\"attempt\":%d,\"code\":%d",
                  uid, apr_time_as_msec(r->began), r->number, r->status);
    put_word(out, "request_id", r->request_id);
    put_word(out, "pool", r->pool);
    put_word(out, "surface", r->surface);
    put_word(out, "key_id", r->key_id);
    put_word(out, "key", r->key_masked);
    put_word(out, "caller", r->caller);
    put_word(out, "model", r->model_used[0] ? r->model_used : r->model_asked);
    put_word(out, "type", row->error_type);
    put_text(out, "log", row->log, max);
    put_request(out, row->request, max);
    gb_buf_puts(out, "}\n");
}

apr_status_t gb_journal_text(gb_buf_t *out, const gb_error_row_t *row)
{
    size_t i;

    for (i = 0; i < sizeof(log_max) / sizeof(log_max[0]); i++) {
        gb_buf_reset(out);
        put_line(out, row, log_max[i]);
        if (out->len < GB_SPOOL_TEXT_MAX && out->rv != APR_ENOSPC) {
            break;
        }
    }
    return out->rv;
}

/* ---- the row ---- */

#define ERROR_COLUMNS                                                                              \
    "uid, at, request_time, request_id, attempt, pool, surface, key_id, gemini_key, caller, "      \
    "model_name, error_type, error_code, error_log, request_msg"
#define N_ERROR_COLUMNS 15
#define ERROR_VALUES    "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s"

static const gb_sql_t sql_error = {
    "INSERT INTO t_error_logs (" ERROR_COLUMNS ") VALUES (" ERROR_VALUES
    ") ON CONFLICT (uid) DO NOTHING",
    "INSERT INTO t_error_logs (" ERROR_COLUMNS ") VALUES (" ERROR_VALUES
    ") ON DUPLICATE KEY UPDATE id = id",
};

static const char *member(gb_span_t line, const char *name, apr_pool_t *p)
{
    const char *text = gb_json_str(gb_json_get(line, name), NULL, p);

    return text && *text ? text : NULL;
}

static const char *number(gb_span_t line, const char *name, apr_pool_t *p)
{
    apr_int64_t n;

    return gb_json_int(gb_json_get(line, name), &n) && n > 0 ? gb_db_int(n, p) : NULL;
}

/* In the order of ERROR_COLUMNS. */
static void error_args(const gb_writer_t *writer, gb_span_t line, const char **args, apr_pool_t *p)
{
    gb_span_t request = gb_json_get(line, "request");
    const char *pool = member(line, "pool", p);
    apr_int64_t at = 0;
    int n = 0;

    gb_json_int(gb_json_get(line, "at"), &at);
    args[n++] = member(line, "uid", p);
    args[n++] = gb_db_int(at, p);
    args[n++] = gb_journal_local(writer, apr_time_from_msec(at), p);
    args[n++] = member(line, "request_id", p);
    args[n++] = number(line, "attempt", p);
    args[n++] = pool ? pool : "default";
    args[n++] = member(line, "surface", p);
    args[n++] = member(line, "key_id", p);
    args[n++] = member(line, "key", p);
    args[n++] = member(line, "caller", p);
    args[n++] = member(line, "model", p);
    args[n++] = member(line, "type", p);
    args[n++] = number(line, "code", p);
    args[n++] = member(line, "log", p);
    args[n] = request.p ? apr_pstrmemdup(p, request.p, request.len) : NULL;
}

static apr_status_t write_error(gb_writer_t *writer, const char *line, apr_pool_t *p)
{
    const char *args[N_ERROR_COLUMNS];
    gb_json_fault_t fault;
    size_t len = strlen(line);

    if (gb_json_check(line, len, &fault) != APR_SUCCESS) {
        return APR_SUCCESS; /* what a full disk has left of a line */
    }
    error_args(writer, gb_json_root(line, len), args, p);
    return args[0] ? gb_db_run(writer->db, &sql_error, args, NULL) : APR_SUCCESS;
}

/* ---- lines of any kind ---- */

static const struct {
    const char *name;
    apr_status_t (*write)(gb_writer_t *writer, const char *line, apr_pool_t *p);
} kinds[GB_SPOOL_KINDS] = {
    [GB_SPOOL_FILES] = {"file",  gb_file_write},
    [GB_SPOOL_TEXTS] = {"error", write_error  },
};

static apr_status_t write_lines(gb_writer_t *writer, gb_spool_kind_t kind, const char *const *lines,
                                int n, apr_pool_t *p)
{
    apr_status_t rv = gb_db_begin(writer->db);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        rv = kinds[kind].write(writer, lines[i], p);
    }
    if (rv == APR_SUCCESS) {
        rv = gb_db_commit(writer->db);
    }
    if (rv != APR_SUCCESS) {
        gb_db_rollback(writer->db);
    }
    return rv;
}

apr_status_t gb_journal_write_lines(gb_writer_t *writer, gb_spool_kind_t kind,
                                    const char *const *lines, int n, apr_pool_t *p)
{
    apr_status_t rv = write_lines(writer, kind, lines, n, p);
    int i;

    if (rv != APR_EINVAL) {
        return rv;
    }
    for (i = 0, rv = APR_SUCCESS; rv == APR_SUCCESS && i < n; i++) {
        rv = write_lines(writer, kind, &lines[i], 1, p);
        if (rv == APR_EINVAL) {
            rv = gb_journal_reject(writer, kinds[kind].name, "", lines[i], p);
        }
    }
    return rv;
}
