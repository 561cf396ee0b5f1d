/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared memory of texts: what is kept and for how long, the ring that
 * comes round, many processes and threads at once, and owners that die.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>

#include "base/recall.h"

#define LONG apr_time_from_sec(3600)

typedef struct stage_t {
    apr_pool_t *pool;
    gb_tenant_spec_t spec;
    gb_tenant_t *tenant;
} stage_t;

static stage_t stage;

static int begin(void **state)
{
    (void)state;
    return apr_pool_create(&stage.pool, NULL) != APR_SUCCESS;
}

static int finish(void **state)
{
    (void)state;
    apr_pool_destroy(stage.pool);
    return 0;
}

static void make(apr_size_t size)
{
    gb_segment_t *segment = NULL;

    stage.spec = gb_recall_spec("recall", size);
    assert_int_equal(gb_segment_open(&segment, &stage.spec, 1, stage.pool, stage.pool),
                     APR_SUCCESS);
    stage.tenant = gb_segment_tenant(segment, "recall");
    assert_non_null(stage.tenant);
}

static void keep(const char *key, const char *text)
{
    gb_recall_put(stage.tenant, key, text, strlen(text), LONG);
}

static const char *given(const char *key)
{
    size_t len = 12345;
    const char *text = gb_recall_get(stage.tenant, key, &len, stage.pool);

    if (text != NULL) {
        assert_int_equal(len, strlen(text));
    }
    return text;
}

/* ---- what is kept ---- */

static void gives_back_the_newest(void **state)
{
    (void)state;
    make(1024 * 1024);
    assert_null(given("a"));
    keep("a", "one");
    keep("b", "two");
    keep("a", "three");
    keep("empty", "");
    assert_string_equal(given("a"), "three");
    assert_string_equal(given("b"), "two");
    assert_string_equal(given("empty"), "");
    assert_null(given("c"));
    assert_null(given(""));
}

static void forgets_in_time(void **state)
{
    (void)state;
    make(1024 * 1024);
    gb_recall_put(stage.tenant, "short", "text", 4, apr_time_from_msec(30));
    keep("long", "text");
    assert_string_equal(given("short"), "text");
    apr_sleep(apr_time_from_msec(60));
    assert_null(given("short"));
    assert_string_equal(given("long"), "text");
    keep("short", "again");
    assert_string_equal(given("short"), "again");
}

static void bytes_of_any_kind(void **state)
{
    static const char bytes[] = "a\0b\xff\n";
    size_t len = 0;
    const char *text;

    (void)state;
    make(1024 * 1024);
    gb_recall_put(stage.tenant, "k", bytes, sizeof(bytes) - 1, LONG);
    text = gb_recall_get(stage.tenant, "k", &len, stage.pool);
    assert_int_equal(len, sizeof(bytes) - 1);
    assert_memory_equal(text, bytes, sizeof(bytes)); /* and a NUL behind */
}

/* ---- the ring ---- */

/* A text that tells whether it is whole: its key, over and over. */
static char *text_of(const char *key, size_t len)
{
    char *text = malloc(len + 1);
    size_t i, n = strlen(key);

    for (i = 0; i < len; i++) {
        text[i] = key[i % n];
    }
    text[len] = '\0';
    return text;
}

static void put_long(const char *key, size_t len)
{
    char *text = text_of(key, len);

    gb_recall_put(stage.tenant, key, text, len, LONG);
    free(text);
}

/* 1: there and right; 0: not there. */
static int look(const char *key)
{
    apr_pool_t *p;
    size_t len = 0, i, n = strlen(key);
    const char *text;
    int wrong = 0;

    apr_pool_create(&p, NULL);
    text = gb_recall_get(stage.tenant, key, &len, p);
    for (i = 0; text != NULL && i < len; i++) {
        wrong |= text[i] != key[i % n];
    }
    apr_pool_destroy(p);
    if (wrong) {
        fail_msg("the text of %s is another's", key);
    }
    return text != NULL;
}

static void the_oldest_make_room(void **state)
{
    char key[32];
    int i, there = 0;

    (void)state;
    make(256 * 1024);
    for (i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        put_long(key, 10007);
        assert_true(look(key));
    }
    for (i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        there += look(key);
        assert_false(i < 150 && look(key));
    }
    assert_in_range(there, 15, 26);
}

static void a_text_has_its_bound(void **state)
{
    (void)state;
    make(256 * 1024);
    keep("k", "small");
    put_long("k", 80 * 1024); /* above a quarter */
    assert_string_equal(given("k"), "small");
    put_long("k", 50 * 1024);
    assert_true(look("k"));
    assert_int_equal(strlen(given("k")), 50 * 1024);
}

/* More keys than the index has places: the newest stay, whatever place they fall on. */
static void the_index_has_its_bound(void **state)
{
    char key[32];
    int i, there = 0;

    (void)state;
    make(64 * 1024);
    for (i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        put_long(key, 8);
        assert_true(look(key));
    }
    for (i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        there += look(key);
    }
    assert_in_range(there, 8, 64);
}

static void what_was_spoilt_is_not_given_out(void **state)
{
    char *bytes;
    size_t i;

    (void)state;
    make(64 * 1024);
    put_long("some key", 4000);
    bytes = stage.tenant->block;
    for (i = stage.tenant->size; i > 0 && bytes[i - 1] != 'k'; i--) {
    }
    assert_true(i > 0);
    bytes[i - 1] = 'x'; /* as a writer does that slept while the ring came round */
    assert_null(given("some key"));
}

/* ---- many at once ---- */

#define PROCESSES 4
#define ROUNDS    1500

static void one_process(int self, int rounds)
{
    char key[32];
    int i;

    for (i = 0; i < rounds; i++) {
        snprintf(key, sizeof(key), "p%d %d", self, i % 50);
        put_long(key, (size_t)(i * 37 % 5000));
        snprintf(key, sizeof(key), "p%d %d", i % PROCESSES, i * 7 % 50);
        (void)look(key);
    }
}

static void processes_share_it(void **state)
{
    pid_t pids[PROCESSES];
    int i, status;

    (void)state;
    make(512 * 1024);
    for (i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            one_process(i, ROUNDS);
            _exit(0);
        }
    }
    for (i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    keep("afterwards", "still works");
    assert_string_equal(given("afterwards"), "still works");
}

static void what_a_child_kept_is_there(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    make(64 * 1024);
    pid = fork();
    if (pid == 0) {
        keep("theirs", "from the child");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_string_equal(given("theirs"), "from the child");
}

#define THREADS 8

/* The ring does not come round here, so that each byte has one writer. */
static void *one_thread(void *self)
{
    int n = (int)(intptr_t)self, i;
    char key[32];

    for (i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "t%d %d", n, i);
        put_long(key, (size_t)(100 + i));
        if (!look(key)) {
            return (void *)1;
        }
        snprintf(key, sizeof(key), "t%d %d", (n + 1) % THREADS, i);
        (void)look(key);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    pthread_t threads[THREADS];
    void *result;
    intptr_t i;

    (void)state;
    make(32 * 1024 * 1024);
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, one_thread, (void *)i), 0);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
}

/* ---- owners that die ---- */

static void a_slot_is_mended_alone(void **state)
{
    char key[32];
    apr_uint32_t slot;
    int i, there = 0;

    (void)state;
    make(256 * 1024);
    for (i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        put_long(key, 100);
    }
    stage.spec.repair(stage.tenant->block, stage.tenant->size, 0); /* nobody's */
    stage.spec.repair(stage.tenant->block, stage.tenant->size, 1000000);
    for (i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        assert_true(look(key));
    }
    for (slot = 1; slot <= 16; slot++) {
        stage.spec.repair(stage.tenant->block, stage.tenant->size, slot);
    }
    for (i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        there += look(key);
    }
    assert_in_range(there, 1, 19);
    for (slot = 1; slot <= 1000; slot++) {
        stage.spec.repair(stage.tenant->block, stage.tenant->size, slot);
    }
    for (i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        assert_false(look(key));
        put_long(key, 100);
        assert_true(look(key));
    }
}

static void killed_at_any_moment(void **state)
{
    int i, status;
    pid_t pid;

    (void)state;
    make(128 * 1024);
    for (i = 0; i < 60; i++) {
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            for (;;) {
                one_process(i % PROCESSES, ROUNDS);
            }
        }
        apr_sleep(1000 + i * 137);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        one_process(0, 60);
        keep("between", "two of them");
        assert_string_equal(given("between"), "two of them");
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(gives_back_the_newest),
        CASE(forgets_in_time),
        CASE(bytes_of_any_kind),
        CASE(the_oldest_make_room),
        CASE(a_text_has_its_bound),
        CASE(the_index_has_its_bound),
        CASE(what_was_spoilt_is_not_given_out),
        CASE(processes_share_it),
        CASE(what_a_child_kept_is_there),
        CASE(threads_share_it),
        CASE(a_slot_is_mended_alone),
        CASE(killed_at_any_moment),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
