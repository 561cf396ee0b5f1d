/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures and the lists of the admin pages, on SQLite and MariaDB: that they
 * are right, that no statement of theirs reads a whole table, and that ten times
 * the rows take (almost) the same time.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <apr_dbd.h>
#include <apr_general.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "base/secret.h"
#include "db_fixture.h"
#include "store/journal_write.h"
#include "store/logs.h"
#include "store/stats.h"

/* ---- what is prepared is known here ---- */

static apr_array_header_t *prepared;

/* In the place of apr-util's, which it calls: the driver sees what it always does. */
int apr_dbd_prepare(const apr_dbd_driver_t *driver, apr_pool_t *pool, apr_dbd_t *handle,
                    const char *query, const char *label, apr_dbd_prepared_t **statement)
{
    static int (*real)(const apr_dbd_driver_t *, apr_pool_t *, apr_dbd_t *, const char *,
                       const char *, apr_dbd_prepared_t **);

    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "apr_dbd_prepare");
    }
    if (prepared) {
        APR_ARRAY_PUSH(prepared, const char *) = apr_pstrdup(prepared->pool, query);
    }
    return real(driver, pool, handle, query, label, statement);
}

/* ---- databases with rows ---- */

static int setup(void **state)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    prepared = NULL;
    apr_pool_destroy(*state);
    return 0;
}

/* 2026-11-20 14:31:42 in Shanghai. */
#define NOW  apr_time_from_sec(1795156302)
#define MIN  apr_time_from_sec(60)
#define HOUR apr_time_from_sec(3600)
#define DAY  apr_time_from_sec(86400)

typedef void on_db_fn(gb_writer_t *writer, apr_pool_t *p);

static void begin(gb_writer_t *writer, const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_zone_t *zone;

    memset(writer, 0, sizeof(*writer));
    writer->db = db_fixture_migrated(conf, p);
    assert_int_equal(gb_zone_load(&zone, "Asia/Shanghai", p), APR_SUCCESS);
    writer->zone = zone;
    writer->now = NOW;
}

static void on_each(apr_pool_t *p, on_db_fn *fn)
{
    static const gb_db_kind_t kinds[] = {GB_DB_SQLITE3, GB_DB_MYSQL};
    int i;

    for (i = 0; i < 2; i++) {
        const gb_db_conf_t *conf = db_fixture_conf(kinds[i], p);
        gb_writer_t writer;

        if (conf) {
            begin(&writer, conf, p);
            fn(&writer, p);
            gb_db_close(writer.db);
        }
    }
}

/* An attempt as the tests write it down. */
typedef struct attempt_t {
    apr_interval_time_t ago;
    const char *call;
    int number, final, status;
    const char *cls, *key, *caller, *model;
    int latency_ms, prompt, completion, cached;
} attempt_t;

static void record_of(gb_record_t *record, const attempt_t *a)
{
    memset(record, 0, sizeof(*record));
    gb_random(record->uid, GB_UID_LEN);
    record->began = NOW - a->ago;
    record->number = (apr_uint16_t)a->number;
    record->is_final = (apr_byte_t)a->final;
    record->is_success = strcmp(a->cls, "success") == 0;
    record->status = (apr_int16_t)a->status;
    record->latency = a->latency_ms * 1000;
    record->first_byte = a->latency_ms * 500;
    record->prompt_tokens = a->prompt;
    record->completion_tokens = a->completion;
    record->thought_tokens = 0;
    record->cached_tokens = a->cached;
    apr_cpystrn(record->request_id, a->call, sizeof(record->request_id));
    apr_cpystrn(record->cls, a->cls, sizeof(record->cls));
    apr_cpystrn(record->key_id, a->key, sizeof(record->key_id));
    apr_cpystrn(record->key_masked, "AIza\xe2\x80\xa6xyz9", sizeof(record->key_masked));
    apr_cpystrn(record->caller, a->caller, sizeof(record->caller));
    apr_cpystrn(record->model_used, a->model, sizeof(record->model_used));
    strcpy(record->pool, "default");
    strcpy(record->surface, "openai");
    strcpy(record->operation, "chat");
}

static void write_error(gb_writer_t *writer, const gb_record_t *record, const char *text,
                        apr_pool_t *p)
{
    gb_error_row_t row = {record, "openai-chat-stream", text, "{\"model\":\"m\"}"};
    const char *line;
    gb_buf_t out;

    gb_buf_init_pool(&out, 1024 * 1024, p);
    assert_int_equal(gb_journal_text(&out, &row), APR_SUCCESS);
    line = apr_pstrmemdup(p, out.data + 1, out.len - 2);
    assert_int_equal(gb_journal_write_lines(writer, GB_SPOOL_TEXTS, &line, 1, p), APR_SUCCESS);
}

static const attempt_t attempts[] = {
  /* a call that took three keys */
    {20 * 1000000, "call-three-keys", 1, 0, 429, "quota",   "aaaa1111", "team", "gemini-2.5-pro",   100,
     -1,                                                                                                       -1,  -1},
    {19 * 1000000, "call-three-keys", 2, 0, 503, "service", "bbbb2222", "team", "gemini-2.5-pro",
     200,                                                                                                 -1,  -1,  -1},
    {18 * 1000000, "call-three-keys", 3, 1, 200, "success", "cccc3333", "team", "gemini-2.5-pro",
     1000,                                                                                                100, 50,  40},
    {30 * MIN,     "call-half-hour",  1, 1, 200, "success", "aaaa1111", "team", "gemini-2.5-flash", 2000,
     10,                                                                                                       5,   0 },
    {90 * MIN,     "call-before",     1, 1, 500, "service", "aaaa1111", "ide",  "gemini-2.5-flash", 10,   -1,
     -1,                                                                                                            -1},
    {20 * HOUR,    "call-yesterday",  1, 1, 200, "success", "bbbb2222", "ide",  "gemini-2.5-flash", 500,
     1000,                                                                                                     100, 0 },
    {30 * HOUR,    "call-two-days",   1, 1, 400, "client",  "bbbb2222", "ide",  "gemini-2.5-flash", 5,    -1,
     -1,                                                                                                            -1},
    {25 * DAY,     "call-last-month", 1, 1, 200, "success", "bbbb2222", "ide",  "gemini-2.5-flash", 500,
     7,                                                                                                        3,   0 },
};

#define N_ATTEMPTS ((int)(sizeof(attempts) / sizeof(attempts[0])))

static void fill(gb_writer_t *writer, apr_pool_t *p)
{
    gb_record_t records[N_ATTEMPTS];
    int i;

    for (i = 0; i < N_ATTEMPTS; i++) {
        record_of(&records[i], &attempts[i]);
    }
    assert_int_equal(gb_journal_write(writer, records, N_ATTEMPTS, p), APR_SUCCESS);
    for (i = 0; i < N_ATTEMPTS; i++) {
        if (!records[i].is_success) {
            write_error(writer, &records[i],
                        apr_psprintf(p, "%d%% of %s_x", records[i].status, attempts[i].cls), p);
        }
    }
}

static void write_many(gb_writer_t *writer, int n, apr_time_t from, apr_interval_time_t step,
                       apr_pool_t *p)
{
    gb_record_t *records = apr_palloc(p, sizeof(*records) * 500);
    attempt_t a = attempts[3];
    int i;

    for (i = 0; i < n; i++) {
        a.key = apr_psprintf(p, "key%05d", i % 50);
        a.model = apr_psprintf(p, "model-%d", i % 7);
        a.caller = apr_psprintf(p, "caller%d", i % 20);
        a.call = apr_psprintf(p, "call-%d", i);
        record_of(&records[i % 500], &a);
        records[i % 500].began = from + i * step;
        if (i % 500 == 499) {
            assert_int_equal(gb_journal_write(writer, records, 500, p), APR_SUCCESS);
        }
    }
}

/* ---- several machines ---- */

/* One of those that write to the same rows of the roll-ups, each in an order of its own. */
static int write_beside_others(const gb_db_conf_t *conf, int which, apr_pool_t *p)
{
    gb_record_t records[24];
    gb_writer_t writer;
    int i, k;

    begin(&writer, conf, p);
    for (i = 0; i < 60; i++) {
        for (k = 0; k < 24; k++) {
            attempt_t a = attempts[3];
            int n = which % 2 ? k : 23 - k;

            a.key = apr_psprintf(p, "key%05d", n % 5);
            a.model = apr_psprintf(p, "model-%d", n % 3);
            record_of(&records[k], &a);
        }
        if (gb_journal_write(&writer, records, 24, p) != APR_SUCCESS) {
            fprintf(stderr, "%s\n", gb_db_error(writer.db));
            return 1;
        }
    }
    gb_db_close(writer.db);
    return 0;
}

static void all_at_once(void **state)
{
    apr_pool_t *p = *state;
    const gb_db_conf_t *conf = db_fixture_conf(GB_DB_MYSQL, p);
    gb_tile_t tiles[GB_TILE_N];
    gb_writer_t writer;
    pid_t pids[3];
    int i, status;

    if (!conf) {
        return;
    }
    begin(&writer, conf, p);
    for (i = 0; i < 3; i++) {
        pids[i] = fork();
        if (!pids[i]) {
            _exit(write_beside_others(conf, i, p));
        }
    }
    for (i = 0; i < 3; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(gb_stats_tiles(tiles, writer.db, "default", NOW, writer.zone, p), APR_SUCCESS);
    assert_int_equal(tiles[GB_TILE_DAY].now.calls, 3 * 60 * 24);
    gb_db_close(writer.db);
}

/* ---- tiles ---- */

static void tiles_of(gb_writer_t *writer, apr_pool_t *p)
{
    gb_tile_t tiles[GB_TILE_N];

    fill(writer, p);
    assert_int_equal(gb_stats_tiles(tiles, writer->db, "default", NOW, writer->zone, p),
                     APR_SUCCESS);
    assert_int_equal(tiles[GB_TILE_MINUTE].now.attempts, 3);
    assert_int_equal(tiles[GB_TILE_MINUTE].now.calls, 1);
    assert_int_equal(tiles[GB_TILE_MINUTE].now.successes, 1);
    assert_int_equal(tiles[GB_TILE_MINUTE].now.quota, 1);
    assert_int_equal(tiles[GB_TILE_MINUTE].now.failures, 2);
    assert_int_equal(tiles[GB_TILE_MINUTE].now.cached_tokens, 40);
    assert_int_equal(tiles[GB_TILE_MINUTE].before.calls, 0);
    assert_int_equal(tiles[GB_TILE_HOUR].now.calls, 2);
    assert_int_equal(tiles[GB_TILE_HOUR].before.calls, 1);
    assert_int_equal(tiles[GB_TILE_HOUR].before.call_failures, 1);
    assert_int_equal(tiles[GB_TILE_DAY].now.calls, 4);
    assert_int_equal(tiles[GB_TILE_DAY].now.prompt_tokens, 1110);
    assert_int_equal(tiles[GB_TILE_DAY].before.calls, 1);
    assert_int_equal(tiles[GB_TILE_MONTH].now.calls, 5);
    assert_int_equal(tiles[GB_TILE_MONTH].before.calls,
                     0); /* 26 October: not in its first 20 days */
    assert_int_equal(tiles[GB_TILE_MONTH].from, apr_time_from_sec(1793462400));
    assert_int_equal(tiles[GB_TILE_MONTH].before_from, apr_time_from_sec(1790784000));
    assert_int_equal(tiles[GB_TILE_MONTH].before_to, apr_time_from_sec(1790784000 + 20 * 86400));
    assert_int_equal(gb_stats_tiles(tiles, writer->db, "other", NOW, NULL, p), APR_SUCCESS);
    assert_int_equal(tiles[GB_TILE_MONTH].now.calls, 0);
}

static void sums_tiles(void **state)
{
    on_each(*state, tiles_of);
}

/* Whatever the minute, a day is a day: minutes and hours are put together without gap or overlap. */
static void edges_of(gb_writer_t *writer, apr_pool_t *p)
{
    attempt_t a = attempts[3];
    gb_record_t records[300];
    gb_tile_t tiles[GB_TILE_N];
    int i;

    for (i = 0; i < 300; i++) {
        a.ago = i * 10 * MIN;
        record_of(&records[i], &a);
    }
    assert_int_equal(gb_journal_write(writer, records, 300, p), APR_SUCCESS);
    for (i = 0; i < 60; i += 7) {
        apr_time_t now = NOW - i * MIN;

        assert_int_equal(gb_stats_tiles(tiles, writer->db, "default", now, writer->zone, p),
                         APR_SUCCESS);
        assert_int_equal(tiles[GB_TILE_DAY].before.calls, 144);
        assert_int_equal(tiles[GB_TILE_HOUR].before.calls, 6);
    }
}

static void sums_to_the_minute(void **state)
{
    on_each(*state, edges_of);
}

/* ---- series ---- */

static void series_of(gb_writer_t *writer, apr_pool_t *p)
{
    gb_stats_ask_t ask = {"default",      GB_OF_ALL,       NULL,    NULL,
                          GB_PERIOD_HOUR, NOW - 23 * HOUR, NOW + 1, writer->zone};
    gb_point_t *points;
    int n;

    fill(writer, p);
    assert_int_equal(gb_stats_series(&points, &n, writer->db, &ask, p), APR_SUCCESS);
    assert_int_equal(n, 24);
    assert_int_equal(points[23].at, NOW / HOUR * HOUR);
    assert_int_equal(points[23].sums.calls, 2); /* of 14:31 and 14:01 */
    assert_int_equal(points[23].n_classes, 3);
    assert_string_equal(points[23].classes[0].value, "quota");
    assert_int_equal(points[23].classes[0].attempts, 1);
    assert_int_equal(points[23].classes[0].calls, 0);
    assert_in_range(points[23].latency_p50, 875, 1125);
    assert_in_range(points[23].latency_p99, 1750, 2250);
    assert_in_range(points[23].first_byte_p50, 437, 563);
    assert_int_equal(points[22].sums.calls, 1); /* of 13:01 */
    assert_int_equal(points[22].latency_p50, -1);
    assert_int_equal(points[3].sums.calls, 1); /* 18:31 of yesterday */
    assert_int_equal(points[10].sums.calls, 0);
    ask.model = "gemini-2.5-pro";
    assert_int_equal(gb_stats_series(&points, &n, writer->db, &ask, p), APR_SUCCESS);
    assert_int_equal(points[23].sums.calls, 1);
    ask.model = "";
    assert_int_equal(gb_stats_series(&points, &n, writer->db, &ask, p), APR_SUCCESS);
    assert_int_equal(points[22].sums.calls, 0); /* all of them named a model */
    ask.model = NULL;
    ask.period = GB_PERIOD_DAY;
    ask.from = NOW - 29 * DAY;
    assert_int_equal(gb_stats_series(&points, &n, writer->db, &ask, p), APR_SUCCESS);
    assert_int_equal(n, 30);
    assert_int_equal(points[29].at, apr_time_from_sec(1795104000)); /* midnight in Shanghai */
    assert_int_equal(points[29].sums.calls, 3);
    assert_int_equal(points[28].sums.calls, 2);
    assert_int_equal(points[4].sums.calls, 1);
    ask.of = GB_OF_KEY;
    ask.name = "aaaa1111";
    assert_int_equal(gb_stats_series(&points, &n, writer->db, &ask, p), APR_SUCCESS);
    assert_int_equal(points[29].sums.attempts, 3);
    assert_int_equal(points[29].n_classes, 3);
    ask.to = ask.from;
    assert_int_equal(gb_stats_series(&points, &n, writer->db, &ask, p), APR_SUCCESS);
    assert_int_equal(n, 1);
}

static void draws_series(void **state)
{
    on_each(*state, series_of);
}

/* ---- usage ---- */

static const gb_usage_t *find(const gb_usage_t *usage, int n, const char *value)
{
    int i;

    for (i = 0; i < n; i++) {
        if (strcmp(usage[i].value, value) == 0) {
            return &usage[i];
        }
    }
    fail_msg("no %s", value);
    return NULL;
}

static void usage_of(gb_writer_t *writer, apr_pool_t *p)
{
    gb_stats_ask_t ask = {"default",     GB_OF_ALL,      NULL,    NULL,
                          GB_PERIOD_DAY, NOW - 29 * DAY, NOW + 1, writer->zone};
    gb_prices_t *prices = gb_prices_make(
        "{\"gemini-2.5-pro\":{\"prompt\":1000000,\"completion\":2000000,\"cached\":500000}}", p);
    const gb_usage_t *one;
    gb_usage_t *usage;
    int n;

    fill(writer, p);
    assert_int_equal(gb_stats_usage(&usage, &n, writer->db, &ask, GB_BY_MODEL, prices, p),
                     APR_SUCCESS);
    assert_int_equal(n, 2);
    assert_string_equal(usage[0].value, "gemini-2.5-flash");
    assert_int_equal(usage[0].sums.calls, 5);
    assert_int_equal(usage[0].unpriced, 1);
    assert_in_range(usage[0].latency_p50, 437, 563);
    assert_int_equal(usage[1].unpriced, 0);
    assert_int_equal((int)usage[1].cost, 60 + 20 + 100);
    assert_int_equal(gb_stats_usage(&usage, &n, writer->db, &ask, GB_BY_CALLER, prices, p),
                     APR_SUCCESS);
    assert_int_equal(n, 2);
    one = find(usage, n, "team");
    assert_int_equal(one->sums.calls, 2);
    assert_int_equal(one->sums.attempts, 4);
    assert_int_equal((int)one->cost, 180);
    assert_int_equal(one->unpriced, 1);
    assert_int_equal(gb_stats_usage(&usage, &n, writer->db, &ask, GB_BY_KEY, NULL, p), APR_SUCCESS);
    assert_int_equal(n, 3);
    assert_int_equal(find(usage, n, "aaaa1111")->sums.attempts, 3);
    assert_int_equal(find(usage, n, "cccc3333")->sums.completion_tokens, 50);
    ask.model = "gemini-2.5-pro";
    assert_int_equal(gb_stats_usage(&usage, &n, writer->db, &ask, GB_BY_KEY, NULL, p), APR_SUCCESS);
    assert_int_equal(find(usage, n, "aaaa1111")->sums.attempts, 1);
    ask.model = NULL;
    assert_int_equal(gb_stats_usage(&usage, &n, writer->db, &ask, GB_BY_DAY, prices, p),
                     APR_SUCCESS);
    assert_int_equal(n, 3);
    assert_string_equal(usage[0].value, "2026-10-26");
    assert_string_equal(usage[2].value, "2026-11-20");
    ask.of = GB_OF_CALLER;
    ask.name = "ide";
    assert_int_equal(gb_stats_usage(&usage, &n, writer->db, &ask, GB_BY_DAY, prices, p),
                     APR_SUCCESS);
    assert_int_equal(find(usage, n, "2026-11-19")->sums.calls, 2);
}

static void counts_usage(void **state)
{
    on_each(*state, usage_of);
}

/* A model's own versions cost what it costs; what only begins alike does not. */
static void knows_prices(void **state)
{
    static const char *const alike[] = {"flash", "flash-001", "flash-preview-09-2025",
                                        "flash-latest"};
    static const char *const others[] = {"flash-lite", "flas", "flashy", "", "flash-image"};
    apr_pool_t *p = *state;
    gb_prices_t *prices = gb_prices_make("{\"flash\":{\"prompt\":1},\"flash-lite-001\":{}}", p);
    gb_sums_t sums;
    size_t i;

    memset(&sums, 0, sizeof(sums));
    sums.prompt_tokens = 3000000;
    sums.cached_tokens = 1000000;
    for (i = 0; i < sizeof(alike) / sizeof(alike[0]); i++) {
        assert_int_equal((int)gb_price_of(gb_prices_get(prices, alike[i]), &sums), 3);
    }
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_null(gb_prices_get(prices, others[i]));
    }
    assert_int_equal((int)gb_price_of(NULL, &sums), 0);
    assert_null(gb_prices_get(gb_prices_make("", p), "flash"));
}

/* ---- keys ---- */

static void keys_of(gb_writer_t *writer, apr_pool_t *p)
{
    static const char *const ids[] = {"cccc3333", "nobody", "aaaa1111"};
    const char *many[120];
    gb_sums_t sums[120];
    gb_key_calls_t calls;
    gb_key_count_t *keys;
    int n, i;

    fill(writer, p);
    assert_int_equal(gb_stats_keys(sums, writer->db, "default", ids, 3, NOW, writer->zone, p),
                     APR_SUCCESS);
    assert_int_equal(sums[0].prompt_tokens, 100);
    assert_int_equal(sums[1].attempts, 0);
    assert_int_equal(sums[2].attempts, 3);
    assert_int_equal(sums[2].quota, 1);
    for (i = 0; i < 120; i++) {
        many[i] = i == 119 ? "bbbb2222" : apr_psprintf(p, "key%d", i);
    }
    assert_int_equal(gb_stats_keys(sums, writer->db, "default", many, 120, NOW, writer->zone, p),
                     APR_SUCCESS);
    assert_int_equal(sums[119].attempts, 1);
    assert_int_equal(
        gb_stats_key_calls(&calls, writer->db, "default", "aaaa1111", NOW, writer->zone, p),
        APR_SUCCESS);
    assert_int_equal(calls.n[GB_TILE_MINUTE][GB_KEY_QUOTA], 1);
    assert_int_equal(calls.n[GB_TILE_MINUTE][GB_KEY_SUCCESS], 0);
    assert_int_equal(calls.n[GB_TILE_HOUR][GB_KEY_SUCCESS], 1);
    assert_int_equal(calls.n[GB_TILE_DAY][GB_KEY_SERVER], 1);
    assert_int_equal(calls.n[GB_TILE_MONTH][GB_KEY_SUCCESS], 1);
    assert_int_equal(
        gb_stats_key_calls(&calls, writer->db, "default", "bbbb2222", NOW, writer->zone, p),
        APR_SUCCESS);
    assert_int_equal(calls.n[GB_TILE_MONTH][GB_KEY_CLIENT], 1);
    assert_int_equal(gb_stats_attention(&keys, &n, writer->db, "default", 429, NOW - DAY, 10, p),
                     APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_string_equal(keys[0].key_id, "aaaa1111");
    assert_int_equal(gb_stats_attention(&keys, &n, writer->db, "default", -1, NOW - DAY, 10, p),
                     APR_SUCCESS);
    assert_int_equal(n, 2);
    assert_string_equal(keys[0].key_id, "aaaa1111");
    assert_int_equal(keys[0].n, 2);
}

static void counts_keys(void **state)
{
    on_each(*state, keys_of);
}

/* ---- percentiles ---- */

static void buckets_hold(void **state)
{
    apr_int64_t ms, counts[GB_BUCKETS];
    int i;

    (void)state;
    for (i = 0; i < GB_BUCKETS - 1; i++) {
        assert_int_equal(gb_bucket_of(gb_bucket_floor(i)), i);
        assert_int_equal(gb_bucket_of(gb_bucket_floor(i + 1) - 1), i);
    }
    assert_int_equal(gb_bucket_of(-5), 0);
    assert_int_equal(gb_bucket_of(APR_INT64_MAX), GB_BUCKETS - 1);
    memset(counts, 0, sizeof(counts));
    assert_int_equal(gb_percentile(counts, 0.5), -1);
    for (ms = 1; ms <= 10000; ms++) {
        counts[gb_bucket_of(ms)]++;
    }
    assert_in_range(gb_percentile(counts, 0.5), 4400, 5600);
    assert_in_range(gb_percentile(counts, 0.99), 8700, 11200);
}

/* ---- lists ---- */

#define REQUESTS GB_LOG_REQUESTS
#define ERRORS   GB_LOG_ERRORS

static int listed(gb_writer_t *writer, gb_log_table_t table, const gb_log_filter_t *filter,
                  apr_pool_t *p)
{
    gb_log_cursor_t from = {0, 0};
    gb_log_page_t page;

    if (gb_logs_list(&page, writer->db, table, filter, from, 100, p) != APR_SUCCESS) {
        fail_msg("%s", gb_db_error(writer->db));
    }
    assert_int_equal(page.more, 0);
    return page.n;
}

typedef struct filter_case_t {
    int line;
    gb_log_table_t table;
    int n;
    gb_log_filter_t filter;
} filter_case_t;

static const filter_case_t filter_cases[] = {
    {__LINE__, REQUESTS, 8, {.pool = NULL}                                                      },
    {__LINE__, REQUESTS, 8, {.pool = "default"}                                                 },
    {__LINE__, REQUESTS, 0, {.pool = "other"}                                                   },
    {__LINE__, REQUESTS, 3, {.key_id = "aaaa1111"}                                              },
    {__LINE__, REQUESTS, 3, {.model = "gemini-2.5-pro"}                                         },
    {__LINE__, REQUESTS, 1, {.model = "gemini-2.5-pro", .key_id = "aaaa1111", .pool = "default"}},
    {__LINE__, REQUESTS, 2, {.type = "service"}                                                 },
    {__LINE__, REQUESTS, 4, {.caller = "ide"}                                                   },
    {__LINE__, REQUESTS, 3, {.request_id = "call-three-keys"}                                   },
    {__LINE__, REQUESTS, 1, {.request_id = "call-three-keys", .final_only = 1}                  },
    {__LINE__, REQUESTS, 2, {.request_id = "call-three-keys", .failed_only = 1}                 },
    {__LINE__, REQUESTS, 1, {.status_min = 429, .status_max = 429}                              },
    {__LINE__, REQUESTS, 2, {.status_min = 500, .status_max = 599}                              },
    {__LINE__, REQUESTS, 0, {.no_status = 1}                                                    },
    {__LINE__, REQUESTS, 3, {.text = "PRO"}                                                     },
    {__LINE__, REQUESTS, 0, {.text = "%"}                                                       },
    {__LINE__, REQUESTS, 3, {.from = 1795156302000 - 60000}                                     },
    {__LINE__, REQUESTS, 5, {.to = 1795156302000 - 60000}                                       },
    {__LINE__, ERRORS,   4, {.pool = NULL}                                                      },
    {__LINE__, ERRORS,   2, {.key_id = "aaaa1111"}                                              },
    {__LINE__, ERRORS,   4, {.type = "openai-chat-stream"}                                      },
    {__LINE__, ERRORS,   0, {.type = "gemini-chat-stream"}                                      },
    {__LINE__, ERRORS,   1, {.status_min = 400, .status_max = 400}                              },
    {__LINE__, ERRORS,   2, {.caller = "team"}                                                  },
    {__LINE__, ERRORS,   2, {.text = "Service_"}                                                },
    {__LINE__, ERRORS,   0, {.text = "service!"}                                                },
    {__LINE__, ERRORS,   4, {.text = "%"}                                                       },
    {__LINE__, ERRORS,   4, {.text = "\"model\""}                                               },
    {__LINE__, ERRORS,   2, {.key_part = "aaa1"}                                                },
    {__LINE__, ERRORS,   2, {.request_id = "call-three-keys"}                                   },
};

static void filters_of(gb_writer_t *writer, apr_pool_t *p)
{
    size_t i;

    fill(writer, p);
    for (i = 0; i < sizeof(filter_cases) / sizeof(filter_cases[0]); i++) {
        const filter_case_t *c = &filter_cases[i];
        int n = listed(writer, c->table, &c->filter, p);

        if (n != c->n) {
            fail_msg("line %d: %d rows", c->line, n);
        }
        assert_int_equal(gb_logs_count(&n, writer->db, c->table, &c->filter, p), APR_SUCCESS);
        assert_int_equal(n, c->n);
    }
}

static void filters_lists(void **state)
{
    on_each(*state, filters_of);
}

/* Every row once, whatever the size of a page, also where many rows have the same time. */
static void pages_of(gb_writer_t *writer, apr_pool_t *p)
{
    static const int sizes[] = {1, 7, 50};
    attempt_t a = attempts[3];
    gb_record_t records[60];
    gb_log_filter_t filter;
    gb_log_page_t page;
    size_t s;
    int i, n;

    for (i = 0; i < 60; i++) {
        a.ago = i / 20 * MIN;
        record_of(&records[i], &a);
    }
    assert_int_equal(gb_journal_write(writer, records, 60, p), APR_SUCCESS);
    memset(&filter, 0, sizeof(filter));
    filter.pool = "default";
    for (s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        gb_log_cursor_t at = {0, 0};
        char seen[61] = "";

        n = 0;
        do {
            assert_int_equal(gb_logs_list(&page, writer->db, REQUESTS, &filter, at, sizes[s], p),
                             APR_SUCCESS);
            for (i = 0; i < page.n; i++, n++) {
                assert_in_range(page.rows[i].id, 1, 60);
                assert_int_equal(seen[page.rows[i].id], 0);
                seen[page.rows[i].id] = 1;
            }
            assert_int_equal(gb_log_cursor_parse(&at, gb_log_cursor_text(page.next, p)), page.more);
        } while (page.more);
        assert_int_equal(n, 60);
    }
}

static void turns_pages(void **state)
{
    on_each(*state, pages_of);
}

static void cursors_are_checked(void **state)
{
    static const char *const bad[] = {"",    "1",    "-",   "1-",  "-1-2",
                                      "1-0", "1-2x", "x-1", "0-1", NULL};
    gb_log_cursor_t cursor;
    int i;

    (void)state;
    for (i = 0; bad[i]; i++) {
        assert_false(gb_log_cursor_parse(&cursor, bad[i]));
    }
    assert_true(gb_log_cursor_parse(&cursor, "1795156302000-7"));
    assert_int_equal(cursor.id, 7);
}

static void details_of(gb_writer_t *writer, apr_pool_t *p)
{
    gb_log_cursor_t from = {0, 0};
    gb_log_filter_t filter;
    gb_log_row_t row, *rows;
    gb_log_page_t page;
    apr_int64_t last;
    int n;

    fill(writer, p);
    assert_int_equal(gb_logs_call(&rows, &n, writer->db, "default", "call-three-keys", p),
                     APR_SUCCESS);
    assert_int_equal(n, 3);
    assert_string_equal(rows[0].cls, "quota");
    assert_string_equal(rows[0].error, "429% of quota_x");
    assert_non_null(rows[0].request);
    assert_null(rows[2].error);
    assert_int_equal(rows[2].completion_tokens, 50);
    memset(&filter, 0, sizeof(filter));
    filter.status_min = filter.status_max = 429;
    assert_int_equal(gb_logs_list(&page, writer->db, ERRORS, &filter, from, 5, p), APR_SUCCESS);
    assert_int_equal(page.n, 1);
    assert_string_equal(page.rows[0].call_cls, "success");
    assert_int_equal(page.rows[0].call_attempts, 3);
    assert_string_equal(page.rows[0].cls, "quota");
    assert_int_equal(page.rows[0].latency_ms, 100);
    assert_string_equal(page.rows[0].error_type, "openai-chat-stream");
    assert_null(page.rows[0].request);
    assert_int_equal(gb_logs_get(&row, writer->db, ERRORS, "default", page.rows[0].id, p),
                     APR_SUCCESS);
    assert_non_null(strstr(row.request, "model"));
    assert_int_equal(gb_logs_get(&row, writer->db, ERRORS, "other", page.rows[0].id, p),
                     APR_NOTFOUND);
    assert_int_equal(
        gb_logs_lookup(&row, writer->db, "default", "aaaa1111", 0, page.rows[0].at + 5, 100, p),
        APR_SUCCESS);
    assert_int_equal(row.id, page.rows[0].id);
    assert_int_equal(
        gb_logs_lookup(&row, writer->db, "default", "aaaa1111", 500, page.rows[0].at, 100, p),
        APR_NOTFOUND);
    memset(&filter, 0, sizeof(filter));
    assert_int_equal(gb_logs_newer(&page, writer->db, ERRORS, &filter, -1, 10, p), APR_SUCCESS);
    assert_int_equal(page.n, 0);
    last = page.last_id;
    assert_int_equal(gb_logs_newer(&page, writer->db, ERRORS, &filter, last - 2, 10, p),
                     APR_SUCCESS);
    assert_int_equal(page.n, 2);
    assert_int_equal(page.rows[0].id, last);
    filter.key_id = "nobody";
    assert_int_equal(gb_logs_newer(&page, writer->db, ERRORS, &filter, last - 2, 10, p),
                     APR_SUCCESS);
    assert_int_equal(page.n, 0);
}

static void shows_details(void **state)
{
    on_each(*state, details_of);
}

static void deletion_of(gb_writer_t *writer, apr_pool_t *p)
{
    gb_log_filter_t all;
    gb_log_cursor_t from = {0, 0};
    gb_log_page_t page;
    apr_int64_t ids[2];
    gb_tile_t tiles[GB_TILE_N];
    int n, more;

    fill(writer, p);
    memset(&all, 0, sizeof(all));
    assert_int_equal(gb_logs_list(&page, writer->db, ERRORS, &all, from, 5, p), APR_SUCCESS);
    ids[0] = page.rows[0].id;
    ids[1] = page.rows[2].id;
    assert_int_equal(gb_logs_delete(&n, writer->db, ERRORS, "other", ids, 2, p), APR_SUCCESS);
    assert_int_equal(n, 0);
    assert_int_equal(gb_logs_delete(&n, writer->db, ERRORS, "default", ids, 2, p), APR_SUCCESS);
    assert_int_equal(n, 2);
    assert_int_equal(listed(writer, ERRORS, &all, p), 2);
    /* what came after the question stays */
    assert_int_equal(gb_logs_clear(&n, &more, writer->db, REQUESTS, "default",
                                   apr_time_as_msec(NOW - 19 * 1000000), p),
                     APR_SUCCESS);
    assert_int_equal(n, 7);
    assert_int_equal(more, 0);
    assert_int_equal(gb_logs_clear_step(&n, writer->db, REQUESTS, "default", p), APR_SUCCESS);
    assert_int_equal(n, 0);
    assert_int_equal(listed(writer, REQUESTS, &all, p), 1);
    assert_int_equal(gb_stats_tiles(tiles, writer->db, "default", NOW, writer->zone, p),
                     APR_SUCCESS);
    assert_int_equal(tiles[GB_TILE_DAY].now.calls, 4);
}

static void deletes_rows(void **state)
{
    on_each(*state, deletion_of);
}

/* More than goes at once is left to the upkeep, which stops where it was told to. */
static void clearing_of(gb_writer_t *writer, apr_pool_t *p)
{
    int n, more, total;

    write_many(writer, 5000, NOW - DAY, 1000000, p);
    assert_int_equal(gb_logs_clear(&n, &more, writer->db, REQUESTS, "default",
                                   apr_time_as_msec(NOW - DAY) + 4499 * 1000, p),
                     APR_SUCCESS);
    assert_int_equal(more, 1);
    for (total = n; n; total += n) {
        assert_int_equal(gb_logs_clear_step(&n, writer->db, REQUESTS, "default", p), APR_SUCCESS);
        assert_true(n <= 500);
    }
    assert_int_equal(total, 4500);
    write_many(writer, 500, NOW - DAY, 1000, p);
    assert_int_equal(gb_logs_clear_step(&n, writer->db, REQUESTS, "default", p), APR_SUCCESS);
    assert_int_equal(n, 0);
}

static void clears_in_batches(void **state)
{
    on_each(*state, clearing_of);
}

/* ---- plans, time ---- */

/* Each question of a page once, with every filter. */
static void ask_all(gb_writer_t *writer, apr_pool_t *p)
{
    static const char *const ids[] = {"key00007", "key00008"};
    gb_stats_ask_t ask = {"default",      GB_OF_ALL, NULL,    NULL,
                          GB_PERIOD_HOUR, NOW - DAY, NOW + 1, writer->zone};
    gb_log_cursor_t from = {1795156302000, 1000000000};
    gb_tile_t tiles[GB_TILE_N];
    const gb_count_t *counts;
    gb_key_calls_t calls;
    gb_key_count_t *keys;
    gb_log_row_t row;
    gb_log_page_t page;
    gb_usage_t *usage;
    gb_point_t *points;
    gb_sums_t sums[2];
    gb_db_t *db = writer->db;
    size_t i;
    int n, by;

    assert_int_equal(gb_stats_tiles(tiles, db, "default", NOW, writer->zone, p), APR_SUCCESS);
    assert_int_equal(gb_stats_series(&points, &n, db, &ask, p), APR_SUCCESS);
    assert_int_equal(gb_stats_counts(&counts, &n, db, &ask, GB_COUNT_CLASS, p), APR_SUCCESS);
    for (by = 0; by < GB_BY_N; by++) {
        assert_int_equal(gb_stats_usage(&usage, &n, db, &ask, (gb_by_t)by, NULL, p), APR_SUCCESS);
    }
    ask.of = GB_OF_KEY;
    ask.name = ids[0];
    assert_int_equal(gb_stats_series(&points, &n, db, &ask, p), APR_SUCCESS);
    for (by = 0; by <= GB_BY_DAY; by++) {
        assert_int_equal(gb_stats_usage(&usage, &n, db, &ask, (gb_by_t)by, NULL, p), APR_SUCCESS);
    }
    assert_int_equal(gb_stats_keys(sums, db, "default", ids, 2, NOW, writer->zone, p), APR_SUCCESS);
    assert_int_equal(gb_stats_key_calls(&calls, db, "default", ids[0], NOW, writer->zone, p),
                     APR_SUCCESS);
    assert_int_equal(gb_stats_attention(&keys, &n, db, "default", 429, NOW - DAY, 10, p),
                     APR_SUCCESS);
    assert_int_equal(gb_stats_attention(&keys, &n, db, "default", -1, NOW - DAY, 10, p),
                     APR_SUCCESS);
    for (i = 0; i < sizeof(filter_cases) / sizeof(filter_cases[0]); i++) {
        const filter_case_t *c = &filter_cases[i];

        assert_int_equal(gb_logs_list(&page, db, c->table, &c->filter, from, 50, p), APR_SUCCESS);
        assert_int_equal(gb_logs_newer(&page, db, c->table, &c->filter, 1, 50, p), APR_SUCCESS);
        assert_int_equal(gb_logs_count(&n, db, c->table, &c->filter, p), APR_SUCCESS);
        if (page.n) {
            gb_logs_get(&row, db, c->table, "default", page.rows[0].id, p);
        }
    }
    gb_logs_lookup(&row, db, "default", ids[0], 429, 1795156302000, 1000, p);
}

/* Values of other types make no other plan. */
static const char *with_values(const char *text, apr_pool_t *p)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, 64 * 1024, p);
    for (; *text; text++) {
        if (*text == '%' && text[1] == 's') {
            gb_buf_puts(&out, "'1'");
            text++;
        }
        else if (*text != '%' || text[1] != '%') {
            gb_buf_putc(&out, *text);
        }
    }
    return out.data;
}

/* What may be read from begin to end: answers of inner questions, which have a limit.  All keys of all
 * times are no bound. */
static int is_bounded(const char *step)
{
    static const char *const inner[] = {"SCAN w",      "SCAN t", "SCAN m",
                                        "SCAN recent", "SCAN (", NULL};
    int i;

    for (i = 0; inner[i]; i++) {
        size_t len = strlen(inner[i]);

        if (strncmp(step, inner[i], len) == 0
            && (inner[i][len - 1] == '(' || !step[len] || step[len] == ' ')) {
            return 1;
        }
    }
    return strncmp(step, "SCAN", 4) != 0 && !strstr(step, "(part=?)");
}

static void never_scans_a_table(void **state)
{
    apr_pool_t *p = *state;
    gb_writer_t writer;
    gb_rows_t rows;
    int i, k, asked;

    begin(&writer, db_fixture_conf(GB_DB_SQLITE3, p), p);
    write_many(&writer, 500, NOW - DAY, DAY / 500, p);
    prepared = apr_array_make(p, 100, sizeof(const char *));
    ask_all(&writer, p);
    asked = prepared->nelts;
    assert_true(asked > 40);
    for (i = 0; i < asked; i++) {
        const char *text = APR_ARRAY_IDX(prepared, i, const char *);

        assert_int_equal(
            gb_db_ask(writer.db, apr_pstrcat(p, "EXPLAIN QUERY PLAN ", with_values(text, p), NULL),
                      &rows, p),
            APR_SUCCESS);
        assert_true(rows.n > 0);
        for (k = 0; k < rows.n; k++) {
            if (!is_bounded(gb_rows_text(&rows, k, 3))) {
                fail_msg("%s: %s", text, gb_rows_text(&rows, k, 3));
            }
        }
    }
    gb_db_close(writer.db);
}

static apr_interval_time_t time_of(gb_writer_t *writer, apr_pool_t *p)
{
    apr_interval_time_t best = 0;
    int i;

    for (i = 0; i < 5; i++) {
        clock_t began = clock(); /* of this process: others may be busy */
        apr_interval_time_t took;

        ask_all(writer, p);
        took = (apr_interval_time_t)(clock() - began) * APR_USEC_PER_SEC / CLOCKS_PER_SEC;
        best = !best || took < best ? took : best;
    }
    return best;
}

/* Ten times the rows of the same ten days' length, and ten times longer. */
static void figures_stay_fast(void **state)
{
    apr_pool_t *p = *state;
    const int small = 10000;
    apr_interval_time_t few, many;
    gb_writer_t writer;

    begin(&writer, db_fixture_conf(GB_DB_SQLITE3, p), p);
    write_many(&writer, small, NOW - DAY, DAY / small, p);
    few = time_of(&writer, p);
    write_many(&writer, small * 9, NOW - 10 * DAY, 9 * DAY / (small * 9), p);
    many = time_of(&writer, p);
    print_message("all questions: %d rows %ld us, %d rows %ld us\n", small, (long)few, small * 10,
                  (long)many);
    assert_true(many < 2 * few + 2000);
    gb_db_close(writer.db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_tiles, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_to_the_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(draws_series, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(knows_prices, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(buckets_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(turns_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(cursors_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(shows_details, setup, teardown),
        cmocka_unit_test_setup_teardown(deletes_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(clears_in_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(never_scans_a_table, setup, teardown),
        cmocka_unit_test_setup_teardown(figures_stay_fast, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, db_fixture_begin, db_fixture_end);
}
