/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Old rows go, the right ones and by an index; rows of a gemini-balance become
 * like ours; records of files come and go; on SQLite and MariaDB.  And none of it
 * scans a table.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/secret.h"
#include "db_fixture.h"
#include "store/files.h"
#include "store/totals.h"
#include "store/upkeep.h"

static int setup(void **state)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(*state);
    return 0;
}

#define NOW apr_time_from_sec(1795156302)
#define DAY apr_time_from_sec(86400)

typedef void on_db_fn(gb_writer_t *writer, apr_pool_t *p);

static void on_each(apr_pool_t *p, on_db_fn *fn)
{
    static const gb_db_kind_t kinds[] = {GB_DB_SQLITE3, GB_DB_MYSQL};
    int i;

    for (i = 0; i < 2; i++) {
        const gb_db_conf_t *conf = db_fixture_conf(kinds[i], p);
        gb_writer_t writer;
        gb_zone_t *zone;

        if (conf) {
            memset(&writer, 0, sizeof(writer));
            writer.db = db_fixture_migrated(conf, p);
            assert_int_equal(gb_zone_load(&zone, "Asia/Shanghai", p), APR_SUCCESS);
            writer.zone = zone;
            writer.now = NOW;
            fn(&writer, p);
            gb_db_close(writer.db);
        }
    }
}

#define CELL(sql) db_fixture_cell(writer->db, p, sql)

static void write_rows(gb_writer_t *writer, const char *pool, int n, apr_time_t from,
                       apr_interval_time_t step, apr_pool_t *p)
{
    gb_record_t *records = apr_pcalloc(p, sizeof(*records) * (apr_size_t)n);
    int i;

    for (i = 0; i < n; i++) {
        gb_random(records[i].uid, GB_UID_LEN);
        records[i].began = from + i * step;
        records[i].latency = records[i].first_byte = 1000;
        records[i].prompt_tokens = records[i].completion_tokens = 1;
        records[i].is_success = records[i].is_final = 1;
        records[i].status = 200;
        records[i].number = 1;
        apr_cpystrn(records[i].pool, pool, sizeof(records[i].pool));
        apr_snprintf(records[i].key_id, sizeof(records[i].key_id), "key%05d", i % 50);
        apr_snprintf(records[i].model_used, sizeof(records[i].model_used), "model-%d", i % 7);
        apr_snprintf(records[i].caller, sizeof(records[i].caller), "caller%d", i % 20);
        strcpy(records[i].cls, "success");
    }
    for (i = 0; i < n; i += 500) {
        assert_int_equal(gb_journal_write(writer, records + i, n - i < 500 ? n - i : 500, p),
                         APR_SUCCESS);
    }
}

/* ---- old rows ---- */

static void hours_left(gb_writer_t *writer, const char *n, apr_pool_t *p)
{
    assert_string_equal(CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = "
                             "3600 AND pool = 'default'"),
                        n);
}

/* Never much at a time. */
static void expire_totals(gb_writer_t *writer, apr_time_t now, apr_pool_t *p)
{
    int n;

    do {
        assert_int_equal(gb_totals_expire(writer->db, now, &n, p), APR_SUCCESS);
        assert_true(n <= 8);
    } while (n);
}

static void expiry(gb_writer_t *writer, apr_pool_t *p)
{
    int n, total = 0;

    write_rows(writer, "default", 100, NOW - 100 * DAY, DAY, p);
    write_rows(writer, "other", 10, NOW - 100 * DAY, DAY, p);
    do {
        assert_int_equal(
            gb_upkeep_expire(writer->db, GB_LOG_REQUESTS, "default", NOW - 30 * DAY, 16, &n, p),
            APR_SUCCESS);
        assert_true(n <= 16);
        total += n;
    } while (n);
    assert_int_equal(total, 70);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log WHERE pool = 'default'"), "30");
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log WHERE pool = 'other'"), "10");
    /* the sums know of all of them */
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 86400"), "110");
    hours_left(writer, "92", p);
    expire_totals(writer, NOW, p);
    hours_left(writer, "91", p); /* an hour begins before the moment that is 92 days ago */
    expire_totals(writer, NOW + 30 * DAY, p);
    hours_left(writer, "61", p);
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_totals WHERE period < 3600"), "0");
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_tally WHERE period < 3600"), "0");
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 86400"), "110");
}

static void lets_old_rows_go(void **state)
{
    on_each(*state, expiry);
}

static void number(gb_writer_t *writer, apr_pool_t *p)
{
    int n, total = 0;

    write_rows(writer, "default", 100, NOW, 1000, p);
    do {
        assert_int_equal(gb_upkeep_bound(writer->db, GB_LOG_REQUESTS, 25, 30, &n, p), APR_SUCCESS);
        total += n;
    } while (n);
    assert_int_equal(total, 75);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log"), "25");
    assert_string_equal(CELL("SELECT MAX(at) FROM t_request_log"), "1795156302099");
    assert_int_equal(gb_upkeep_bound(writer->db, GB_LOG_REQUESTS, 0, 30, &n, p), APR_SUCCESS);
    assert_int_equal(n, 0);
    assert_int_equal(gb_upkeep_bound(writer->db, GB_LOG_ERRORS, 25, 30, &n, p), APR_SUCCESS);
    assert_int_equal(n, 0);
}

static void keeps_a_number_of_rows(void **state)
{
    on_each(*state, number);
}

/* ---- adoption ---- */

#define KEY "AIzaSyOfTheirs0000000000000000000000001"

static void adoption(gb_writer_t *writer, apr_pool_t *p)
{
    gb_db_t *db = writer->db;
    int n;

    db_fixture_must(
        db, "INSERT INTO t_request_log (request_time, model_name, api_key, is_success, "
            "status_code, latency_ms) VALUES ('2026-11-20 14:31:42', 'gemini-2.5-pro', '" KEY
            "', 1, 200, 150), ('2026-11-20 14:31:43', 'gemini-2.5-pro', '" KEY
            "', 0, 429, 20), ('2026-11-20 14:31:44', NULL, NULL, 0, NULL, NULL)");
    db_fixture_must(db, "INSERT INTO t_error_logs (gemini_key, model_name, error_type, error_log, "
                        "error_code, request_msg, request_time) VALUES ('" KEY
                        "', 'gemini-2.5-pro', 'gemini-chat-stream', 'POST https://x/?key=" KEY
                        " failed', 429, '{\"a\":\"" KEY "\"}', '2026-11-20 14:31:43')");
    db_fixture_must(db,
                    "INSERT INTO t_file_records (name, mime_type, size_bytes, state, create_time, "
                    "update_time, expiration_time, uri, api_key, user_token) VALUES ('files/a', "
                    "'text/plain', 1, 'ACTIVE', '2026-11-20 06:00:00', '2026-11-20 06:00:00', "
                    "'2026-11-22 06:00:00', 'https://x/files/a', '" KEY "', 'sk-user')");
    assert_int_equal(gb_upkeep_adopt(writer, GB_LOG_REQUESTS, 2, &n, p), APR_SUCCESS);
    assert_int_equal(n, 2);
    assert_int_equal(gb_upkeep_adopt(writer, GB_LOG_REQUESTS, 2, &n, p), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_int_equal(gb_upkeep_adopt(writer, GB_LOG_REQUESTS, 2, &n, p), APR_SUCCESS);
    assert_int_equal(n, 0);
    assert_string_equal(CELL("SELECT at FROM t_request_log WHERE status_code = 200"),
                        "1795156302000");
    assert_string_equal(CELL("SELECT api_key FROM t_request_log WHERE status_code = 200"),
                        "AIza\xe2\x80\xa6"
                        "0001");
    assert_string_equal(CELL("SELECT COUNT(DISTINCT key_id) FROM t_request_log"), "1");
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 3600"), "3");
    assert_string_equal(
        CELL("SELECT SUM(call_failures) FROM gb_totals WHERE part = 'all' AND period = 86400"),
        "2");
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_totals WHERE part = 'key' AND name = ''"),
                        "0");
    assert_int_equal(gb_upkeep_adopt(writer, GB_LOG_ERRORS, 10, &n, p), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_null(strstr(CELL("SELECT error_log FROM t_error_logs"), KEY));
    assert_null(strstr(CELL("SELECT request_msg FROM t_error_logs"), KEY));
    assert_int_equal(gb_upkeep_adopt_files(db, 0, 10, &n, p), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_string_equal(CELL("SELECT api_key FROM t_file_records"), KEY);
    db_fixture_must(db, "UPDATE t_file_records SET key_id = NULL");
    assert_int_equal(gb_upkeep_adopt_files(db, 1, 10, &n, p), APR_SUCCESS);
    assert_string_equal(CELL("SELECT api_key FROM t_file_records"),
                        CELL("SELECT key_id FROM t_file_records"));
    assert_int_equal(strlen(CELL("SELECT user_token FROM t_file_records")), 8);
}

static void adopts_rows_of_gemini_balance(void **state)
{
    on_each(*state, adoption);
}

/* Two machines find the same rows. */
static void *adopt_all(void *data)
{
    gb_writer_t *writer = data;
    apr_pool_t *p;
    int n = 1;

    while (n > 0) {
        apr_pool_create_unmanaged_ex(&p, NULL, NULL);
        assert_int_equal(gb_upkeep_adopt(writer, GB_LOG_REQUESTS, 20, &n, p), APR_SUCCESS);
        apr_pool_destroy(p);
    }
    return NULL;
}

static void rivals(gb_writer_t *writer, apr_pool_t *p)
{
    gb_writer_t other = *writer;
    pthread_t thread;
    int i;

    for (i = 0; i < 400; i++) {
        db_fixture_must(writer->db,
                        "INSERT INTO t_request_log (request_time, model_name, api_key, "
                        "is_success, status_code, latency_ms) VALUES ('2026-11-20 14:31:42', "
                        "'gemini-2.5-pro', '" KEY "', 1, 200, 150)");
    }
    other.db = db_fixture_open(gb_db_conf(writer->db), p);
    assert_int_equal(pthread_create(&thread, NULL, adopt_all, &other), 0);
    adopt_all(writer);
    pthread_join(thread, NULL);
    gb_db_close(other.db);
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 3600"), "400");
}

static void counts_adopted_rows_once(void **state)
{
    on_each(*state, rivals);
}

/* What takes a secret's place may be longer than the secret was. */
static void full(gb_writer_t *writer, apr_pool_t *p)
{
    int n;

    db_fixture_must(writer->db,
                    gb_db_kind(writer->db) == GB_DB_SQLITE3
                        ? "INSERT INTO t_error_logs (error_log, request_time) VALUES "
                          "('key=1 ' || printf('%.65529c', 'x'), '2026-11-20 14:31:42')"
                        : "INSERT INTO t_error_logs (error_log, request_time) VALUES "
                          "(CONCAT('key=1 ', REPEAT('x', 65529)), '2026-11-20 14:31:42')");
    assert_int_equal(gb_upkeep_adopt(writer, GB_LOG_ERRORS, 10, &n, p), APR_SUCCESS);
    assert_string_equal(CELL("SELECT LENGTH(error_log) FROM t_error_logs"), "65535");
    assert_string_equal(CELL("SELECT SUBSTR(error_log, 1, 16) FROM t_error_logs"),
                        "key=[redacted] x");
}

static void adopts_texts_that_fill_their_column(void **state)
{
    on_each(*state, full);
}

/* ---- files ---- */

#define FILE_JSON                                                                                  \
    "{\"name\":\"files/b\",\"displayName\":\"d\\u00e9j\\u00e0\",\"mimeType\":\"a/"                 \
    "b\",\"sizeBytes\":\"77\","                                                                    \
    "\"state\":\"ACTIVE\",\"createTime\":\"2026-11-20T06:31:42.123Z\",\"uri\":\"https://x/files/"  \
    "b\"}"

static void write_file(gb_writer_t *writer, const char *name, const char *json, const char *key_id,
                       apr_pool_t *p)
{
    gb_file_t file = {name, "default", key_id, "alice", json, NOW, NOW + 2 * DAY};
    const char *line;
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_SPOOL_TEXT_MAX, p);
    assert_int_equal(gb_file_line(&out, &file), APR_SUCCESS);
    assert_int_equal(out.data[out.len - 1], '\n');
    line = apr_pstrmemdup(p, out.data + 1, out.len - 2);
    assert_int_equal(gb_journal_write_lines(writer, GB_SPOOL_FILES, &line, 1, p), APR_SUCCESS);
}

typedef struct seen_t {
    apr_pool_t *p;
    char *text; /* "name key caller;" of each */
    apr_time_t ends;
    const char *json;
} seen_t;

static void see(void *baton, const gb_file_t *file)
{
    seen_t *seen = baton;

    seen->text = apr_pstrcat(seen->p, seen->text, file->name, " ", file->key_id, " ",
                             file->caller ? file->caller : "-", ";", NULL);
    seen->ends = file->ends;
    seen->json = file->json;
}

static const char *gone;

static void note_gone(const char *pool, const char *name)
{
    assert_string_equal(pool, "default");
    gone = name;
}

static void file_records(gb_writer_t *writer, apr_pool_t *p)
{
    seen_t seen = {p, apr_pstrdup(p, ""), 0, NULL};
    apr_int64_t last = 0;
    gb_db_t *db = writer->db;
    int n;

    write_file(writer, "files/b", FILE_JSON, "key1", p);
    write_file(writer, "files/b", "{\"name\":\"files/b\",\"state\":\"FAILED\"}", "key2", p);
    assert_string_equal(CELL("SELECT state FROM t_file_records"), "FAILED");
    write_file(writer, "files/b", FILE_JSON, "key2", p);
    assert_string_equal(CELL("SELECT size_bytes FROM t_file_records"), "77");
    assert_string_equal(CELL("SELECT key_id FROM t_file_records"), "key1"); /* keeps its key */
    /* theirs is in the way until it is adopted; its token becomes an id */
    db_fixture_must(db,
                    "INSERT INTO t_file_records (name, mime_type, size_bytes, state, create_time, "
                    "update_time, expiration_time, uri, api_key, user_token) VALUES ('files/a', "
                    "'text/plain', 1, 'ACTIVE', '2026-11-20 06:00:00', '2026-11-20 06:00:00', "
                    "'2026-11-19 06:00:00.5', 'https://x/files/a', '" KEY "', 'sk-user')");
    write_file(writer, "files/c", "{}", "key3", p);
    assert_int_equal(gb_files_load(db, &last, 10, see, &seen, &n, p), APR_SUCCESS);
    assert_string_equal(seen.text, "files/b key1 alice;");
    assert_true(seen.ends == NOW + 2 * DAY);
    assert_non_null(strstr(seen.json, "\"createTime\":\"2026-11-20T06:31:42Z\""));
    assert_non_null(strstr(seen.json, "\"displayName\":\"d\xc3\xa9j\xc3\xa0\""));
    assert_int_equal(gb_upkeep_adopt_files(db, 0, 10, &n, p), APR_SUCCESS);
    seen.text = apr_pstrdup(p, "");
    assert_int_equal(gb_files_load(db, &last, 1, see, &seen, &n, p), APR_SUCCESS);
    assert_string_equal(seen.text, apr_psprintf(p, "files/a %s 24338abe;",
                                                CELL("SELECT key_id FROM t_file_records "
                                                     "WHERE name = 'files/a'")));
    assert_int_equal(gb_files_load(db, &last, 10, see, &seen, &n, p), APR_SUCCESS);
    assert_int_equal(n, 1);
    /* their time is over, one after the other */
    seen.text = apr_pstrdup(p, "");
    assert_int_equal(gb_files_expire(db, "other", NOW + 3 * DAY, 10, see, &seen, &n, p), 0);
    assert_int_equal(n, 0);
    assert_int_equal(gb_files_expire(db, "default", NOW, 10, see, &seen, &n, p), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_memory_equal(seen.text, "files/a", 7);
    /* what is no file stands elsewhere */
    write_file(writer, "cachedContents/x", "{}", "key1", p);
    write_file(writer, "cachedContents/x", "{}", "key2", p);
    seen.text = apr_pstrdup(p, "");
    last = 0;
    assert_int_equal(gb_made_load(db, &last, 10, see, &seen, &n, p), APR_SUCCESS);
    assert_string_equal(seen.text, "cachedContents/x key1 alice;");
    assert_true(seen.ends == NOW + 2 * DAY);
    assert_int_equal(gb_made_expire(db, NOW, 10, &n, p), APR_SUCCESS);
    assert_int_equal(n, 0);
    assert_int_equal(gb_made_expire(db, NOW + 3 * DAY, 10, &n, p), APR_SUCCESS);
    assert_int_equal(n, 1);
    write_file(writer, "batches/y", "{}", "key1", p);
    write_file(writer, "batches/y", NULL, NULL, p);
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_made"), "0");
    /* one that is deleted goes, and whoever knows it hears of it */
    writer->file_gone = note_gone;
    write_file(writer, "files/b", NULL, NULL, p);
    assert_string_equal(gone, "files/b");
    assert_string_equal(CELL("SELECT name FROM t_file_records"), "files/c");
}

static void keeps_records_of_files(void **state)
{
    on_each(*state, file_records);
}

/* ---- plans ---- */

/* What jobs and the history ask, in SQLite's words; the pages' are test_store_stats.c's. */
static const char *const questions[] = {
    "SELECT * FROM t_file_records WHERE id > 5 ORDER BY id LIMIT 500",
    "SELECT * FROM gb_made WHERE id > 5 ORDER BY id LIMIT 500",
    "SELECT id FROM gb_made WHERE ends < 5 ORDER BY ends LIMIT 500",
    "SELECT * FROM t_file_records WHERE pool = 'a' AND expiration_time < 'b' AND key_id IS NOT "
    "NULL "
    "ORDER BY expiration_time LIMIT 20",
    "SELECT id FROM t_request_log WHERE at IS NULL LIMIT 500",
    "SELECT id FROM t_request_log WHERE pool = 'a' AND at < 1 ORDER BY at LIMIT 500",
    "SELECT id FROM t_request_log WHERE id <= 5 ORDER BY id LIMIT 500",
    "SELECT MIN(start) FROM gb_totals WHERE period = 60 AND part = 'all' AND start < 1",
    "DELETE FROM gb_totals WHERE period = 60 AND part = 'all' AND start < 1",
    ("SELECT MIN(start) FROM gb_tally WHERE period = 60 AND part = 'all' AND kind = 'class' AND "
     "start < 1"),
    "DELETE FROM gb_tally WHERE period = 60 AND part = 'all' AND kind = 'class' AND start < 1",
    "SELECT * FROM gb_history WHERE change_id < 5 ORDER BY change_id DESC, id LIMIT 200",
    "SELECT * FROM t_file_records WHERE expiration_time < '2026' LIMIT 100",
};

static void never_scans_a_table(void **state)
{
    apr_pool_t *p = *state;
    gb_db_t *db = db_fixture_migrated(db_fixture_conf(GB_DB_SQLITE3, p), p);
    size_t i;
    int k;

    for (i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        gb_rows_t rows;

        assert_int_equal(
            gb_db_ask(db, apr_pstrcat(p, "EXPLAIN QUERY PLAN ", questions[i], NULL), &rows, p),
            APR_SUCCESS);
        assert_true(rows.n > 0);
        for (k = 0; k < rows.n; k++) {
            const char *step = gb_rows_text(&rows, k, 3);

            if (strncmp(step, "SCAN", 4) == 0 || strstr(step, "TEMP B-TREE FOR ORDER BY")) {
                fail_msg("%s: %s", questions[i], step);
            }
        }
    }
    gb_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lets_old_rows_go, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_a_number_of_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(adopts_rows_of_gemini_balance, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_adopted_rows_once, setup, teardown),
        cmocka_unit_test_setup_teardown(adopts_texts_that_fill_their_column, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_records_of_files, setup, teardown),
        cmocka_unit_test_setup_teardown(never_scans_a_table, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, db_fixture_begin, db_fixture_end);
}
