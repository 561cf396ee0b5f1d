/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines and rows of files.  Times in the table are naive UTC, as gemini-balance
 * writes them; its columns for secrets hold ids where the row is ours.
 */
#include "store/files.h"

#include <string.h>

#include <apr_strings.h>

#include "base/json.h"
#include "base/secret.h"
#include "store/journal_int.h"

#define CLOCK_LEN 20
#define JSON_MAX  (16 * 1024) /* a longer description is not kept, so that its line fits the spool */

/* ---- the line ---- */

static void put_member(gb_buf_t *out, const char *name, const char *text)
{
    gb_buf_printf(out, ",\"%s\":", name);
    gb_json_put_cstr(out, text);
}

apr_status_t gb_file_line(gb_buf_t *out, const gb_file_t *file)
{
    size_t len = file->json ? strlen(file->json) : 0;

    /* The first line end closes a line before it that a full disk has cut. */
    gb_buf_printf(out, "\n{\"made\":%" APR_TIME_T_FMT ",\"ends\":%" APR_TIME_T_FMT,
                  apr_time_as_msec(file->made), apr_time_as_msec(file->ends));
    put_member(out, "name", file->name);
    put_member(out, "pool", file->pool);
    put_member(out, "key_id", file->key_id ? file->key_id : "");
    if (file->caller) {
        put_member(out, "caller", file->caller);
    }
    if (file->json) {
        gb_buf_puts(out, ",\"file\":");
        gb_json_put_compact(out, len <= JSON_MAX ? gb_json_root(file->json, len)
                                                 : gb_json_root("{}", 2));
    }
    gb_buf_puts(out, "}\n");
    return out->rv;
}

/* ---- the row ---- */

#define COLUMNS                                                                                    \
    "name, display_name, mime_type, size_bytes, sha256_hash, state, create_time, update_time, "    \
    "expiration_time, uri, api_key, user_token, upload_completed, pool, key_id"
#define N_COLUMNS 15
#define VALUES    "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s"

static const gb_sql_t sql_put = {
    "INSERT INTO t_file_records (" COLUMNS ") VALUES (" VALUES
    ") ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, "
    "mime_type = excluded.mime_type, size_bytes = excluded.size_bytes, "
    "sha256_hash = excluded.sha256_hash, state = excluded.state, "
    "update_time = excluded.update_time, expiration_time = excluded.expiration_time, "
    "uri = excluded.uri",
    "INSERT INTO t_file_records (" COLUMNS ") VALUES (" VALUES
    ") ON DUPLICATE KEY UPDATE display_name = VALUES(display_name), "
    "mime_type = VALUES(mime_type), size_bytes = VALUES(size_bytes), "
    "sha256_hash = VALUES(sha256_hash), state = VALUES(state), "
    "update_time = VALUES(update_time), expiration_time = VALUES(expiration_time), "
    "uri = VALUES(uri)",
};
static const gb_sql_t sql_drop = {"DELETE FROM t_file_records WHERE name = %s AND pool = %s", NULL};

static const char *member(gb_span_t object, const char *name, apr_pool_t *p)
{
    const char *text = gb_json_str(gb_json_get(object, name), NULL, p);

    return text && *text ? text : NULL;
}

/* Columns are short; cut where a character begins. */
static const char *short_text(const char *text, size_t max, apr_pool_t *p)
{
    size_t len = max;

    if (!text || strlen(text) <= max) {
        return text;
    }
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
        len--;
    }
    return apr_pstrmemdup(p, text, len);
}

static const char *clock_text(apr_time_t at, apr_pool_t *p)
{
    char *text = apr_palloc(p, CLOCK_LEN);

    gb_db_time(text, at, 0);
    return text;
}

/* Google's time, or another one where it gives none. */
static const char *clock_of(gb_span_t file, const char *name, apr_time_t otherwise, apr_pool_t *p)
{
    const char *text = member(file, name, p);
    apr_time_t at = text ? gb_db_time_parse(text, 0) : 0;

    return clock_text(at ? at : otherwise, p);
}

static const char *state_of(gb_span_t file, apr_pool_t *p)
{
    static const char *const known[] = {"ACTIVE", "FAILED"};
    const char *state = member(file, "state", p);
    size_t i;

    for (i = 0; state && i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(state, known[i]) == 0) {
            return known[i];
        }
    }
    return "PROCESSING";
}

/* Google writes 64-bit numbers as texts. */
static const char *size_of(gb_span_t file, apr_pool_t *p)
{
    const char *text = member(file, "sizeBytes", p);

    return gb_db_int(text ? apr_atoi64(text) : 0, p);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* In the order of COLUMNS. */
static void row_args(gb_span_t line, gb_span_t file, const char **args, apr_pool_t *p)
{
    apr_int64_t made = 0, ends = 0;
    int n = 0;

    gb_json_int(gb_json_get(line, "made"), &made);
    gb_json_int(gb_json_get(line, "ends"), &ends);
    args[n++] = member(line, "name", p);
    args[n++] = short_text(member(file, "displayName", p), 255, p);
    args[n++] = or_empty(short_text(member(file, "mimeType", p), 100, p));
    args[n++] = size_of(file, p);
    args[n++] = short_text(member(file, "sha256Hash", p), 255, p);
    args[n++] = state_of(file, p);
    args[n++] = clock_of(file, "createTime", apr_time_from_msec(made), p);
    args[n++] = clock_of(file, "updateTime", apr_time_from_msec(made), p);
    args[n++] = clock_text(apr_time_from_msec(ends), p);
    args[n++] = or_empty(short_text(member(file, "uri", p), 500, p));
    args[n++] = or_empty(member(line, "key_id", p));
    args[n++] = short_text(member(line, "caller", p), 100, p);
    args[n++] = clock_text(apr_time_from_msec(made), p);
    args[n++] = member(line, "pool", p);
    args[n] = or_empty(member(line, "key_id", p));
}

/* ---- what is no file ---- */

static const gb_sql_t sql_made_put = {
    "INSERT INTO gb_made (pool, name, key_id, caller, made, ends) VALUES (%s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (pool, name) DO UPDATE SET ends = excluded.ends",
    "INSERT INTO gb_made (pool, name, key_id, caller, made, ends) VALUES (%s, %s, %s, %s, %s, %s) "
    "ON DUPLICATE KEY UPDATE ends = VALUES(ends)",
};
static const gb_sql_t sql_made_drop = {"DELETE FROM gb_made WHERE pool = %s AND name = %s", NULL};

static apr_status_t write_made(gb_writer_t *writer, gb_span_t line, int is_there, apr_pool_t *p)
{
    const char *args[6];
    apr_int64_t made = 0, ends = 0;

    gb_json_int(gb_json_get(line, "made"), &made);
    gb_json_int(gb_json_get(line, "ends"), &ends);
    args[0] = member(line, "pool", p);
    args[1] = member(line, "name", p);
    args[2] = or_empty(member(line, "key_id", p));
    args[3] = short_text(member(line, "caller", p), 100, p);
    args[4] = gb_db_int(made, p);
    args[5] = gb_db_int(ends, p);
    return gb_db_run(writer->db, is_there ? &sql_made_put : &sql_made_drop, args, NULL);
}

apr_status_t gb_file_write(gb_writer_t *writer, const char *text, apr_pool_t *p)
{
    const char *args[N_COLUMNS];
    gb_json_fault_t fault;
    gb_span_t line, file;
    size_t len = strlen(text);

    if (gb_json_check(text, len, &fault) != APR_SUCCESS) {
        return APR_SUCCESS; /* what a full disk has left of a line */
    }
    line = gb_json_root(text, len);
    file = gb_json_get(line, "file");
    args[0] = member(line, "name", p);
    args[1] = member(line, "pool", p);
    if (!args[0] || !args[1]) {
        return APR_SUCCESS;
    }
    if (!file.p && writer->file_gone) {
        writer->file_gone(args[1], args[0]);
    }
    if (strncmp(args[0], "files/", 6) != 0) {
        return write_made(writer, line, file.p != NULL, p);
    }
    if (file.p) {
        row_args(line, file, args, p);
        return gb_db_run(writer->db, &sql_put, args, NULL);
    }
    return gb_db_run(writer->db, &sql_drop, args, NULL);
}

/* ---- back ---- */

#define FIELDS                                                                                     \
    "id, name, pool, key_id, api_key, user_token, display_name, mime_type, size_bytes, "           \
    "sha256_hash, state, create_time, update_time, expiration_time, uri"

enum {
    F_ID,
    F_NAME,
    F_POOL,
    F_KEY_ID,
    F_API_KEY,
    F_TOKEN,
    F_DISPLAY,
    F_MIME,
    F_SIZE,
    F_HASH,
    F_STATE,
    F_CREATED,
    F_UPDATED,
    F_ENDS,
    F_URI
};

static const gb_sql_t sql_load = {
    "SELECT " FIELDS " FROM t_file_records WHERE id > %s ORDER BY id LIMIT %s", NULL};
static const gb_sql_t sql_expired = {
    "SELECT " FIELDS " FROM t_file_records WHERE pool = %s AND expiration_time < %s "
    "AND key_id IS NOT NULL ORDER BY expiration_time LIMIT %s",
    NULL};
static const gb_sql_t sql_remove = {"DELETE FROM t_file_records WHERE id = %s", NULL};

static apr_time_t clock_in(const gb_rows_t *rows, int i, int col)
{
    const char *text = gb_rows_text(rows, i, col);

    return text ? gb_db_time_parse(text, 0) : 0;
}

/* A gemini-balance keeps the key and the token itself: its callers are known by their token's id. */
static const char *caller_of(const gb_rows_t *rows, int i, apr_pool_t *p)
{
    const char *token = gb_rows_text(rows, i, F_TOKEN), *key = gb_rows_text(rows, i, F_API_KEY);

    if (!token || strcmp(or_empty(key), gb_rows_text(rows, i, F_KEY_ID)) == 0) {
        return token;
    }
    return gb_secret_id_of(token, p);
}

static void put_clock(gb_buf_t *out, const char *name, apr_time_t at)
{
    char text[CLOCK_LEN];

    gb_db_time(text, at, 0);
    gb_buf_printf(out, ",\"%s\":\"%.10sT%sZ\"", name, text, text + 11);
}

static const char *json_of(const gb_rows_t *rows, int i, apr_pool_t *p)
{
    static const struct {
        const char *member;
        int col;
    } texts[] = {
        {"displayName", F_DISPLAY},
        {"mimeType",    F_MIME   },
        {"sizeBytes",   F_SIZE   },
        {"sha256Hash",  F_HASH   },
        {"uri",         F_URI    },
        {"state",       F_STATE  },
    };
    gb_buf_t out;
    size_t k;

    gb_buf_init_pool(&out, GB_BUF_MAX_ERROR, p);
    gb_buf_puts(&out, "{\"name\":");
    gb_json_put_cstr(&out, gb_rows_text(rows, i, F_NAME));
    for (k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
        const char *text = gb_rows_text(rows, i, texts[k].col);

        if (text && *text) {
            put_member(&out, texts[k].member, text);
        }
    }
    put_clock(&out, "createTime", clock_in(rows, i, F_CREATED));
    put_clock(&out, "updateTime", clock_in(rows, i, F_UPDATED));
    put_clock(&out, "expirationTime", clock_in(rows, i, F_ENDS));
    gb_buf_putc(&out, '}');
    return out.rv == APR_SUCCESS ? out.data : NULL;
}

static void tell(const gb_rows_t *rows, int i, gb_file_fn *fn, void *baton, apr_pool_t *p)
{
    gb_file_t file;

    file.name = gb_rows_text(rows, i, F_NAME);
    file.pool = gb_rows_text(rows, i, F_POOL);
    file.key_id = gb_rows_text(rows, i, F_KEY_ID);
    file.caller = caller_of(rows, i, p);
    file.json = json_of(rows, i, p);
    file.made = clock_in(rows, i, F_CREATED);
    file.ends = clock_in(rows, i, F_ENDS);
    fn(baton, &file);
}

apr_status_t gb_files_load(gb_db_t *db, apr_int64_t *last, int batch, gb_file_fn *fn, void *baton,
                           int *n, apr_pool_t *p)
{
    const char *args[] = {gb_db_int(*last, p), apr_itoa(p, batch)};
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_load, args, &rows, p);
    int i;

    *n = 0;
    for (i = 0; rv == APR_SUCCESS && i < rows.n && gb_rows_text(&rows, i, F_KEY_ID); i++) {
        tell(&rows, i, fn, baton, p);
        *last = gb_rows_int(&rows, i, F_ID, *last);
        ++*n;
    }
    return rv;
}

apr_status_t gb_files_expire(gb_db_t *db, const char *pool, apr_time_t now, int batch,
                             gb_file_fn *fn, void *baton, int *n, apr_pool_t *p)
{
    const char *args[] = {pool, clock_text(now, p), apr_itoa(p, batch)}, *id;
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_expired, args, &rows, p);
    int i;

    *n = rv == APR_SUCCESS ? rows.n : 0;
    for (i = 0; rv == APR_SUCCESS && i < *n; i++) {
        id = gb_rows_text(&rows, i, F_ID);
        rv = gb_db_run(db, &sql_remove, &id, NULL);
        if (rv == APR_SUCCESS) {
            tell(&rows, i, fn, baton, p);
        }
    }
    return rv;
}

/* ---- back: what is no file ---- */

static const gb_sql_t sql_made_load = {
    "SELECT id, name, pool, key_id, caller, made, ends FROM gb_made WHERE id > %s ORDER BY id "
    "LIMIT %s",
    NULL};
static const gb_sql_t sql_made_expire = {
    "DELETE FROM gb_made WHERE id IN (SELECT id FROM gb_made WHERE ends < %s ORDER BY ends "
    "LIMIT %s)",
    "DELETE FROM gb_made WHERE ends < %s ORDER BY ends LIMIT %s"};

apr_status_t gb_made_load(gb_db_t *db, apr_int64_t *last, int batch, gb_file_fn *fn, void *baton,
                          int *n, apr_pool_t *p)
{
    const char *args[] = {gb_db_int(*last, p), apr_itoa(p, batch)};
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_made_load, args, &rows, p);
    gb_file_t made;
    int i;

    *n = rv == APR_SUCCESS ? rows.n : 0;
    for (i = 0; i < *n; i++) {
        made.name = gb_rows_text(&rows, i, 1);
        made.pool = gb_rows_text(&rows, i, 2);
        made.key_id = gb_rows_text(&rows, i, 3);
        made.caller = gb_rows_text(&rows, i, 4);
        made.json = NULL;
        made.made = apr_time_from_msec(gb_rows_int(&rows, i, 5, 0));
        made.ends = apr_time_from_msec(gb_rows_int(&rows, i, 6, 0));
        fn(baton, &made);
        *last = gb_rows_int(&rows, i, 0, *last);
    }
    return rv;
}

apr_status_t gb_made_expire(gb_db_t *db, apr_time_t now, int batch, int *n, apr_pool_t *p)
{
    const char *args[] = {gb_db_int(apr_time_as_msec(now), p), apr_itoa(p, batch)};

    *n = 0;
    return gb_db_run(db, &sql_made_expire, args, n);
}
