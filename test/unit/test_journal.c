/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: the ring with processes that die in it, the spool with torn
 * records and several writers, rows and sums that are there exactly once, on
 * SQLite and MariaDB.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/buf.h"
#include "base/secret.h"
#include "db_fixture.h"
#include "store/journal_write.h"

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

static gb_tenant_t *ring_make(apr_pool_t *p)
{
    gb_tenant_spec_t spec;
    gb_segment_t *segment;

    gb_ring_spec(&spec);
    assert_int_equal(gb_segment_open(&segment, &spec, 1, p, p), APR_SUCCESS);
    return gb_segment_tenant(segment, GB_RING_NAME);
}

static gb_record_t record_make(int number)
{
    gb_record_t r;

    memset(&r, 0, sizeof(r));
    gb_random(r.uid, sizeof(r.uid));
    r.number = (apr_uint16_t)number;
    r.began = apr_time_from_sec(1795156302);
    r.latency = r.first_byte = -1;
    r.prompt_tokens = r.completion_tokens = r.thought_tokens = r.cached_tokens = -1;
    strcpy(r.request_id, "request-0001");
    strcpy(r.pool, "default");
    strcpy(r.key_id, "0a1b2c3d");
    strcpy(r.key_masked, "AI\xe2\x80\xa6wXyZ");
    strcpy(r.surface, "openai");
    strcpy(r.operation, "chat");
    strcpy(r.caller, "token1");
    strcpy(r.model_asked, "gpt-4o");
    strcpy(r.model_used, "gemini-2.5-pro");
    strcpy(r.cls, "cancelled");
    return r;
}

static void succeed(gb_record_t *r)
{
    r->is_success = r->is_final = 1;
    r->status = 200;
    r->latency = 1500000;
    r->first_byte = 250000;
    r->prompt_tokens = 10;
    r->completion_tokens = 20;
    r->bytes = 4096;
    strcpy(r->cls, "success");
}

/* ---- the ring ---- */

static void passes_records_on(void **state)
{
    gb_tenant_t *ring = ring_make(*state);
    gb_record_t r = record_make(1), out[4];
    apr_uint32_t slots[4], slot = gb_ring_begin(ring, &r);
    gb_ring_counts_t counts;

    assert_int_not_equal(slot, 0);
    assert_int_equal(gb_ring_open(ring), 1);
    assert_int_equal(gb_ring_take(ring, out, slots, 4), 0);
    succeed(&r);
    assert_int_equal(gb_ring_end(ring, slot, &r), 1);
    assert_int_equal(gb_ring_end(ring, slot, &r), 0);
    assert_int_equal(gb_ring_open(ring), 0);
    assert_int_equal(gb_ring_waiting(ring), 1);
    assert_int_equal(gb_ring_take(ring, out, slots, 4), 1);
    assert_memory_equal(out[0].uid, r.uid, sizeof(r.uid));
    assert_string_equal(out[0].cls, "success");
    assert_int_equal(out[0].pid, getpid());
    assert_int_equal(gb_ring_waiting(ring), 0);
    gb_ring_give(ring, out, slots, 1, 1);
    assert_int_equal(gb_ring_waiting(ring), 1);
    assert_int_equal(gb_ring_take(ring, out, slots, 4), 1);
    gb_ring_give(ring, out, slots, 1, 0);
    gb_ring_give(ring, out, slots, 1, 1); /* nobody's any more */
    assert_int_equal(gb_ring_waiting(ring), 0);
    gb_ring_counts(ring, &counts);
    assert_int_equal(counts.begun, 1);
}

static void keeps_order_and_says_when_full(void **state)
{
    gb_tenant_t *ring = ring_make(*state);
    gb_record_t *out = malloc(sizeof(*out) * GB_RING_RECORDS);
    apr_uint32_t *slots = malloc(sizeof(*slots) * GB_RING_RECORDS);
    gb_record_t r;
    int i, n;

    for (i = 0; i < GB_RING_RECORDS; i++) {
        apr_uint32_t slot;

        r = record_make(i + 1);
        slot = gb_ring_begin(ring, &r);
        assert_int_not_equal(slot, 0);
        assert_int_equal(gb_ring_end(ring, slot, &r), 1);
    }
    r = record_make(1);
    assert_int_equal(gb_ring_begin(ring, &r), 0);
    n = gb_ring_take(ring, out, slots, GB_RING_RECORDS);
    assert_int_equal(n, GB_RING_RECORDS);
    for (i = 0; i < n; i++) {
        assert_int_equal(out[i].number, i + 1);
    }
    gb_ring_give(ring, out, slots, 10, 0);
    assert_int_not_equal(gb_ring_begin(ring, &r), 0);
    gb_ring_retake(ring);
    assert_int_equal(gb_ring_waiting(ring), GB_RING_RECORDS - 10);
    free(out);
    free(slots);
}

static void tells_what_died(void **state)
{
    gb_tenant_t *ring = ring_make(*state);
    gb_record_t r = record_make(1), out[2];
    apr_uint32_t slots[2];
    pid_t pid = fork();

    if (pid == 0) {
        gb_ring_begin(ring, &r);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(gb_ring_open(ring), 1);
    assert_int_equal(gb_ring_sweep(ring), 1);
    assert_int_equal(gb_ring_take(ring, out, slots, 2), 1);
    assert_string_equal(out[0].cls, "lost");
    assert_int_equal(out[0].is_final, 1);
    r = record_make(2);
    gb_ring_begin(ring, &r);
    assert_int_equal(gb_ring_sweep(ring), 0); /* its process lives */
}

/* One producer or writer until it is killed. */
static void live(gb_tenant_t *ring, int writes)
{
    gb_record_t out[64], r;
    apr_uint32_t slots[64], slot;

    for (;;) {
        if (writes) {
            int n = gb_ring_take(ring, out, slots, 64);

            gb_ring_give(ring, out, slots, n, rand() % 4 == 0);
            gb_ring_sweep(ring);
        }
        else {
            r = record_make(1);
            slot = gb_ring_begin(ring, &r);
            if (slot) {
                gb_ring_end(ring, slot, &r);
            }
        }
    }
}

static pid_t spawn(gb_tenant_t *ring, int writes)
{
    pid_t pid = fork();

    if (pid == 0) {
        live(ring, writes);
    }
    return pid;
}

/* Whatever moment processes are killed at, every slot is in one list afterwards. */
static void survives_killed_processes(void **state)
{
    gb_tenant_t *ring = ring_make(*state);
    const char *soak = getenv("GB_SOAK");
    int kills = soak && *soak == '1' ? 1000 : 150, i, total = 0, n;
    gb_record_t out[64];
    apr_uint32_t slots[64];
    pid_t pids[4];

    for (i = 0; i < 4; i++) {
        pids[i] = spawn(ring, i == 3);
    }
    for (i = 0; i < kills; i++) {
        int victim = rand() % 4;

        usleep((useconds_t)(rand() % 3000));
        kill(pids[victim], SIGKILL);
        waitpid(pids[victim], NULL, 0);
        pids[victim] = spawn(ring, victim == 3);
    }
    for (i = 0; i < 4; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    gb_ring_retake(ring);
    gb_ring_sweep(ring);
    assert_int_equal(gb_ring_open(ring), 0);
    while ((n = gb_ring_take(ring, out, slots, 64)) > 0) {
        gb_ring_give(ring, out, slots, n, 0);
    }
    for (i = 0; i < GB_RING_RECORDS + 1; i++) {
        gb_record_t r = record_make(1);

        total += gb_ring_begin(ring, &r) != 0;
    }
    assert_int_equal(total, GB_RING_RECORDS);
    assert_int_equal(gb_ring_open(ring), GB_RING_RECORDS);
}

/* ---- the spool ---- */

static gb_spool_t spool_make(apr_pool_t *p)
{
    gb_spool_t spool = {apr_pstrcat(p, db_fixture_folder(p), "/spool", NULL), (uid_t)-1, (gid_t)-1};

    assert_int_equal(gb_spool_make(&spool), APR_SUCCESS);
    assert_int_equal(gb_spool_make(&spool), APR_SUCCESS);
    return spool;
}

static const char *only_file(const gb_spool_t *spool, gb_spool_kind_t kind, apr_pool_t *p)
{
    apr_array_header_t *list;

    assert_int_equal(gb_spool_turn(spool, kind, 0), APR_SUCCESS);
    list = gb_spool_list(spool, kind, p);
    assert_int_equal(list->nelts, 1);
    return APR_ARRAY_IDX(list, 0, const char *);
}

static void spool_keeps_records(void **state)
{
    apr_pool_t *p = *state;
    gb_spool_t spool = spool_make(p);
    gb_record_t r[3], out[8];
    gb_spool_file_t *file;
    apr_off_t offset = 0;
    int torn = 0, i, fd;

    for (i = 0; i < 3; i++) {
        r[i] = record_make(i + 1);
    }
    assert_int_equal(gb_spool_turn(&spool, GB_SPOOL_ROWS, 0), APR_SUCCESS);
    assert_int_equal(gb_spool_list(&spool, GB_SPOOL_ROWS, p)->nelts, 0);
    assert_int_equal(gb_spool_append_records(&spool, r, 2), APR_SUCCESS);
    /* a full disk has cut one, and the next one stands right behind it */
    fd = open(apr_pstrcat(p, spool.dir, "/rows.cur", NULL), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, &r[1], 200), 200);
    close(fd);
    assert_int_equal(gb_spool_append_records(&spool, &r[2], 1), APR_SUCCESS);
    assert_int_equal(gb_spool_turn(&spool, GB_SPOOL_ROWS, 1000000), APR_SUCCESS);
    assert_int_equal(gb_spool_list(&spool, GB_SPOOL_ROWS, p)->nelts, 0);
    assert_int_equal(gb_spool_open(&file, only_file(&spool, GB_SPOOL_ROWS, p), p), APR_SUCCESS);
    assert_int_equal(gb_spool_read_records(file, &offset, out, 8, &torn), 3);
    assert_int_equal(torn, 1);
    assert_int_equal(out[0].number, 1);
    assert_int_equal(out[2].number, 3);
    assert_int_equal(gb_spool_read_records(file, &offset, out, 8, &torn), 0);
    gb_spool_close(file);
}

/* Several processes append while files are moved aside and read. */
static void spool_loses_nothing_while_it_is_read(void **state)
{
    apr_pool_t *p = *state, *scratch;
    gb_spool_t spool = spool_make(p);
    enum { PRODUCERS = 3, EACH = 2000 };
    pid_t pids[PRODUCERS];
    int i, k, n, seen = 0, torn = 0, living = PRODUCERS;
    gb_record_t out[64];

    for (i = 0; i < PRODUCERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            for (k = 0; k < EACH; k++) {
                gb_record_t r = record_make(k);

                if (gb_spool_append_records(&spool, &r, 1) != APR_SUCCESS) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    apr_pool_create(&scratch, p);
    do {
        int status = 0, last = living == 0;
        apr_array_header_t *list;

        while (living && waitpid(-1, &status, WNOHANG) > 0) {
            assert_int_equal(status, 0);
            living--;
        }
        gb_spool_turn(&spool, GB_SPOOL_ROWS, 0);
        list = gb_spool_list(&spool, GB_SPOOL_ROWS, scratch);
        for (i = 0; i < list->nelts; i++) {
            const char *path = APR_ARRAY_IDX(list, i, const char *);
            gb_spool_file_t *file;
            apr_off_t offset = 0;

            assert_int_equal(gb_spool_open(&file, path, scratch), APR_SUCCESS);
            while ((n = gb_spool_read_records(file, &offset, out, 64, &torn)) > 0) {
                seen += n;
            }
            unlink(path);
            gb_spool_close(file);
        }
        apr_pool_clear(scratch);
        if (last) {
            break;
        }
    } while (1);
    assert_int_equal(seen, PRODUCERS * EACH);
    assert_int_equal(torn, 0);
}

static void spool_has_a_bound(void **state)
{
    apr_pool_t *p = *state;
    gb_spool_t spool = spool_make(p);
    gb_ring_counts_t counts;
    gb_record_t r[64];
    apr_array_header_t *list;
    apr_off_t size = 0;
    int i, fd;

    memset(&counts, 0, sizeof(counts));
    for (i = 0; i < 64; i++) {
        r[i] = record_make(i);
    }
    gb_spool_append_records(&spool, r, 64); /* 32 KiB */
    for (i = 0; i < 20; i++) {
        char line[1024];

        memset(line, 'x', sizeof(line));
        line[0] = line[1023] = '\n';
        gb_spool_append(&spool, GB_SPOOL_TEXTS, line, sizeof(line));
        gb_spool_turn(&spool, GB_SPOOL_TEXTS, 4096);
    }
    assert_int_equal(gb_spool_bound(&spool, 1024 * 1024, &counts, &size, p), APR_SUCCESS);
    assert_int_equal(size, 32768 + 20 * 1024);
    /* who reads the oldest one may hang in the database */
    list = gb_spool_list(&spool, GB_SPOOL_TEXTS, p);
    fd = open(APR_ARRAY_IDX(list, 0, const char *), O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    alarm(10);
    assert_int_equal(gb_spool_bound(&spool, 40 * 1024, &counts, &size, p), APR_SUCCESS);
    alarm(0);
    close(fd);
    assert_true(size <= 40 * 1024);
    assert_int_equal(counts.dropped_rows, 0);
    assert_true(counts.dropped_texts >= 12 && counts.dropped_texts < 40);
    assert_int_equal(gb_spool_bound(&spool, 1024, &counts, &size, p), APR_SUCCESS);
    assert_int_equal(counts.dropped_rows, 64);
}

/* ---- rows ---- */

typedef void on_db_fn(gb_writer_t *writer, apr_pool_t *p);

static void on_one(gb_db_kind_t kind, on_db_fn *fn, apr_pool_t *p)
{
    const gb_db_conf_t *conf = db_fixture_conf(kind, p);
    gb_spool_t *spool = apr_palloc(p, sizeof(*spool));
    gb_writer_t writer;
    gb_zone_t *zone;

    if (!conf) {
        return;
    }
    *spool = spool_make(p);
    memset(&writer, 0, sizeof(writer));
    writer.db = db_fixture_migrated(conf, p);
    writer.spool = spool;
    writer.rejected = apr_pstrcat(p, spool->dir, "/../rejected.jsonl", NULL);
    assert_int_equal(gb_zone_load(&zone, "Asia/Shanghai", p), APR_SUCCESS);
    writer.zone = zone;
    fn(&writer, p);
    gb_db_close(writer.db);
}

static void on_each(apr_pool_t *p, on_db_fn *fn)
{
    on_one(GB_DB_SQLITE3, fn, p);
    on_one(GB_DB_MYSQL, fn, p);
}

#define CELL(sql) db_fixture_cell(writer->db, p, sql)

static void rows_once(gb_writer_t *writer, apr_pool_t *p)
{
    gb_record_t r[4];

    r[0] = record_make(1);
    strcpy(r[0].cls, "quota");
    r[0].status = 429;
    r[1] = record_make(2);
    succeed(&r[1]);
    r[2] = record_make(1);
    gb_record_lose(&r[2]);
    r[3] = record_make(1);
    strcpy(r[3].model_asked, "\xf0\x9f\x98\x80 \xff half \xe2\x80");
    r[3].model_used[0] = '\0';
    assert_int_equal(gb_journal_write(writer, r, 4, p), APR_SUCCESS);
    assert_int_equal(gb_journal_write(writer, r, 4, p), APR_SUCCESS);
    assert_int_equal(writer->counts.written, 4);
    /* what is known already is not lost: the next generation's memory has the record, too */
    strcpy(r[1].cls, "lost");
    assert_int_equal(gb_journal_write(writer, r, 4, p), APR_SUCCESS);
    assert_int_equal(writer->counts.lost, 1);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log"), "4");
    /* 1795156302 is 2026-11-20 06:31:42 in UTC */
    assert_string_equal(CELL("SELECT request_time FROM t_request_log WHERE class = 'success'"),
                        "2026-11-20 14:31:42");
    assert_string_equal(CELL("SELECT at FROM t_request_log WHERE class = 'success'"),
                        "1795156302000");
    assert_string_equal(CELL("SELECT latency_ms FROM t_request_log WHERE class = 'success'"),
                        "1500");
    assert_string_equal(CELL("SELECT status_code FROM t_request_log WHERE class = 'quota'"), "429");
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log WHERE status_code IS NULL"), "2");
    assert_string_equal(CELL("SELECT api_key FROM t_request_log WHERE class = 'success'"),
                        "AI\xe2\x80\xa6wXyZ");
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 3600"), "4");
    assert_string_equal(
        CELL("SELECT SUM(calls) FROM gb_totals WHERE part = 'all' AND period = 86400"), "2");
    assert_string_equal(
        CELL("SELECT SUM(failures) FROM gb_totals WHERE part = 'all' AND period = 3600"), "2");
    assert_string_equal(
        CELL("SELECT SUM(prompt_tokens) FROM gb_totals WHERE part = 'all' AND period = 3600"),
        "10");
    /* the day begins at midnight in Shanghai: 16:00 of the day before in UTC */
    assert_string_equal(
        CELL("SELECT MAX(start) FROM gb_totals WHERE part = 'all' AND period = 86400"),
        "1795104000");
    assert_string_equal(
        CELL("SELECT MAX(start) FROM gb_totals WHERE part = 'all' AND period = 3600"),
        "1795154400");
}

static void writes_rows_once(void **state)
{
    on_each(*state, rows_once);
}

static const char *file_text(const char *path, apr_pool_t *p)
{
    char *text = apr_pcalloc(p, 65536);
    int fd = open(path, O_RDONLY);

    if (fd >= 0) {
        assert_true(read(fd, text, 65535) >= 0);
        close(fd);
    }
    return text;
}

/* The database refuses one row of a batch for good. */
static void bad_row(gb_writer_t *writer, apr_pool_t *p)
{
    gb_record_t r[3];
    int i;

    db_fixture_must(writer->db,
                    gb_db_kind(writer->db) == GB_DB_SQLITE3
                        ? "CREATE TRIGGER no BEFORE INSERT ON t_request_log WHEN NEW.attempt = 13 "
                          "BEGIN SELECT RAISE(ABORT, 'thirteen'); END"
                        : "CREATE TRIGGER no BEFORE INSERT ON t_request_log FOR EACH ROW "
                          "IF NEW.attempt = 13 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = "
                          "'thirteen'; END IF");
    for (i = 0; i < 3; i++) {
        r[i] = record_make(i == 1 ? 13 : i + 1);
    }
    assert_int_equal(gb_journal_write(writer, r, 3, p), APR_SUCCESS);
    assert_int_equal(writer->counts.written, 2);
    assert_int_equal(writer->counts.rejected, 1);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log"), "2");
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 3600"), "2");
    assert_non_null(strstr(file_text(writer->rejected, p), "thirteen"));
    assert_non_null(strstr(file_text(writer->rejected, p), "request-0001.13"));
}

static void goes_on_behind_a_bad_row(void **state)
{
    on_each(*state, bad_row);
}

static void texts(gb_writer_t *writer, apr_pool_t *p)
{
    gb_record_t r = record_make(1);
    gb_error_row_t row = {&r, "openai-chat-stream", "quota \"exceeded\" \xf0\x9f\x98\x80\n\x01",
                          "{ \"contents\": [ 1.50 ] }"};
    gb_error_row_t cut = {&r, "gemini-chat-stream", "x", "{\"half\": \"an obj"};
    gb_error_row_t half = {&r, "gemini-chat-stream", "x", "[\"\\ud83d\"]"};
    gb_error_row_t deep = {
        &r, "gemini-chat-stream", "x",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]\"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"};
    char *large = apr_palloc(p, 100001);
    gb_buf_t line;

    r.status = 429;
    memset(large, '\x01', 100000);
    large[100000] = '\0';
    gb_buf_init_pool(&line, 2 * GB_SPOOL_TEXT_MAX, p);
    assert_int_equal(gb_journal_text(&line, &row), APR_SUCCESS);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, line.len);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, line.len);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, 50); /* a full disk */
    r = record_make(2);
    assert_int_equal(gb_journal_text(&line, &cut), APR_SUCCESS);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, line.len);
    r = record_make(4);
    assert_int_equal(gb_journal_text(&line, &half), APR_SUCCESS);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, line.len);
    r = record_make(5);
    assert_int_equal(gb_journal_text(&line, &deep), APR_SUCCESS);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, line.len);
    r = record_make(3);
    row.log = row.request = large;
    assert_int_equal(gb_journal_text(&line, &row), APR_SUCCESS);
    assert_true(line.len < GB_SPOOL_TEXT_MAX);
    gb_spool_append(writer->spool, GB_SPOOL_TEXTS, line.data, line.len);
    assert_int_equal(
        gb_journal_replay(writer, GB_SPOOL_TEXTS, only_file(writer->spool, GB_SPOOL_TEXTS, p), p),
        APR_SUCCESS);
    assert_int_equal(gb_spool_list(writer->spool, GB_SPOOL_TEXTS, p)->nelts, 0);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_error_logs"), "5");
    assert_int_equal(writer->counts.rejected, 0);
    assert_string_equal(CELL("SELECT request_msg FROM t_error_logs WHERE attempt = 4"),
                        "\"[\\\"\\\\ud83d\\\"]\"");
    assert_string_equal(CELL("SELECT error_log FROM t_error_logs WHERE attempt = 1"),
                        "quota \"exceeded\" \xf0\x9f\x98\x80\n\x01");
    assert_string_equal(CELL("SELECT request_msg FROM t_error_logs WHERE attempt = 1"),
                        "{\"contents\":[1.50]}");
    assert_string_equal(CELL("SELECT error_code FROM t_error_logs WHERE attempt = 1"), "429");
    assert_string_equal(CELL("SELECT request_msg FROM t_error_logs WHERE attempt = 2"),
                        "\"{\\\"half\\\": \\\"an obj\"");
}

static void writes_error_texts(void **state)
{
    on_each(*state, texts);
}

static void replay(gb_writer_t *writer, apr_pool_t *p)
{
    gb_record_t r[600], open;
    const char *path;
    int i;
    pid_t pid;

    for (i = 0; i < 600; i++) {
        r[i] = record_make(i + 1);
        r[i].state = GB_RECORD_DONE;
    }
    /* an attempt of a dead process, one of a living process, and one that came to its end */
    pid = fork();
    if (pid == 0) {
        open = record_make(1001);
        open.state = GB_RECORD_OPEN;
        gb_record_stamp(&open);
        _exit(gb_spool_append_records(writer->spool, &open, 1) != APR_SUCCESS);
    }
    waitpid(pid, &i, 0);
    assert_int_equal(i, 0);
    open = record_make(1002);
    open.state = GB_RECORD_OPEN;
    gb_record_stamp(&open);
    gb_spool_append_records(writer->spool, &open, 1);
    open = r[599];
    open.state = GB_RECORD_OPEN;
    gb_record_stamp(&open);
    gb_spool_append_records(writer->spool, &open, 1);
    gb_spool_append_records(writer->spool, r, 600);
    gb_spool_append_records(writer->spool, r, 5);
    path = only_file(writer->spool, GB_SPOOL_ROWS, p);
    assert_int_equal(gb_journal_replay(writer, GB_SPOOL_ROWS, path, p), APR_SUCCESS);
    assert_int_equal(gb_journal_replay(writer, GB_SPOOL_ROWS, path, p), APR_SUCCESS);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log"), "600");
    assert_int_equal(writer->put_back, 2);
    /* now nothing can stand behind the one whose process is gone */
    path = only_file(writer->spool, GB_SPOOL_ROWS, p);
    assert_int_equal(gb_journal_replay(writer, GB_SPOOL_ROWS, path, p), APR_SUCCESS);
    assert_string_equal(CELL("SELECT COUNT(*) FROM t_request_log"), "601");
    assert_string_equal(CELL("SELECT attempt FROM t_request_log WHERE class = 'lost'"), "1001");
    assert_string_equal(
        CELL("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 3600"), "601");
    assert_int_equal(gb_spool_current(writer->spool, GB_SPOOL_ROWS), sizeof(gb_record_t));
}

static void reads_the_spool_back_once(void **state)
{
    on_each(*state, replay);
}

/* An attempt of a process that is gone by now: how it ended stands in the file behind. */
static void split_over_files(gb_writer_t *writer, apr_pool_t *p)
{
    gb_record_t open = record_make(1), done = open;
    apr_array_header_t *list;
    int i;
    pid_t pid = fork();

    if (pid == 0) {
        open.state = GB_RECORD_OPEN;
        gb_record_stamp(&open);
        gb_spool_append_records(writer->spool, &open, 1);
        gb_spool_turn(writer->spool, GB_SPOOL_ROWS, 1);
        done.state = GB_RECORD_DONE;
        gb_record_stamp(&done);
        _exit(gb_spool_append_records(writer->spool, &done, 1) != APR_SUCCESS);
    }
    waitpid(pid, &i, 0);
    assert_int_equal(i, 0);
    gb_spool_turn(writer->spool, GB_SPOOL_ROWS, 1);
    for (list = gb_spool_list(writer->spool, GB_SPOOL_ROWS, p); list->nelts;
         list = gb_spool_list(writer->spool, GB_SPOOL_ROWS, p)) {
        assert_int_equal(
            gb_journal_replay(writer, GB_SPOOL_ROWS, APR_ARRAY_IDX(list, 0, const char *), p),
            APR_SUCCESS);
        gb_spool_turn(writer->spool, GB_SPOOL_ROWS, 1);
    }
    assert_string_equal(CELL("SELECT class FROM t_request_log"), "cancelled");
    assert_int_equal(gb_spool_current(writer->spool, GB_SPOOL_ROWS), 0);
}

static void waits_for_the_end_of_an_attempt(void **state)
{
    on_each(*state, split_over_files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_records_on, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_order_and_says_when_full, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_what_died, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_killed_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(spool_keeps_records, setup, teardown),
        cmocka_unit_test_setup_teardown(spool_loses_nothing_while_it_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(spool_has_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_rows_once, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_on_behind_a_bad_row, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_error_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_the_spool_back_once, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_for_the_end_of_an_attempt, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, db_fixture_begin, db_fixture_end);
}
