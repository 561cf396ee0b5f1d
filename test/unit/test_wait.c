/* SPDX-License-Identifier: Apache-2.0 */
/* The waiting worker: what it gets, in which order, and that it never waits for good. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <signal.h>
#include <unistd.h>

#include <apr_general.h>
#include <curl/curl.h>

#include "base/timeutil.h"
#include "upstream/wait.h"

#include "fake_exchange.h"
#include "fake_upstream.h"

static apr_pool_t *pool;
static gb_engine_t *engine;
static fake_host_t host;
static fake_call_t call;
static gb_wait_t *waiter;
static up_t *up;

static int begin(void **state)
{
    gb_engine_conf_t conf = {.user_agent = "test", .drain = 0};

    (void)state;
    atomic_store(&fake_calls_freed, 0);
    apr_pool_create(&pool, NULL);
    return gb_engine_start(&engine, &conf, pool) != APR_SUCCESS;
}

static int finish(void **state)
{
    (void)state;
    if (engine) {
        gb_engine_stop(engine);
        engine = NULL;
    }
    up_stop(up);
    apr_pool_destroy(pool);
    return 0;
}

static void start(up_serve_fn *serve, void *baton)
{
    up = up_start(serve, baton);
    fake_host_init(&host, 1);
    fake_call_make(&call, engine, up_url(up), &host);
    call.x = gb_exchange_make(engine, &call.conf, call.plan, call.pool);
    waiter = gb_wait_make(call.x);
    assert_int_equal(gb_exchange_start(call.x, gb_wait_sink(waiter)), APR_SUCCESS);
}

static void nothing(void *baton)
{
    (void)baton;
}

static void leave(void)
{
    assert_true(fake_host_balanced(&host));
    fake_call_end(&call);
    if (engine) {
        fake_in_engine(engine, nothing, NULL);
    }
    assert_int_equal(atomic_load(&fake_calls_freed), 1);
}

/* Reads to the end; a piece at a time, with a pause after each. */
static apr_status_t read_all(gb_buf_t *all, int *heads, size_t *largest, int rest_us)
{
    const gb_head_t *head;
    apr_status_t rv, how = APR_SUCCESS;
    gb_buf_t piece;

    gb_buf_init(&piece, GB_BUF_MAX_ANSWER);
    gb_buf_init_pool(all, GB_BUF_MAX_ANSWER, pool);
    *heads = 0;
    *largest = 0;
    while ((rv = gb_wait_next(waiter, &head, &piece, &how, apr_time_from_sec(5))) == APR_SUCCESS) {
        *heads += head != NULL;
        assert_true(head == NULL || all->len == 0);
        *largest = piece.len > *largest ? piece.len : *largest;
        gb_buf_append(all, piece.data ? piece.data : "", piece.len);
        usleep((useconds_t)rest_us);
    }
    assert_int_equal(rv, APR_EOF);
    gb_buf_free(&piece);
    return how;
}

static void serve_lines(void *baton, up_conn_t *c, const up_request_t *req)
{
    int i, n = *(int *)baton;
    char line[1005];

    (void)req;
    memset(line, 'x', sizeof(line));
    memcpy(line, "say ", 4);
    line[sizeof(line) - 1] = '\n';
    up_chunks_begin(c, 200, NULL);
    for (i = 0; i < n && up_chunk(c, line, sizeof(line)); i++) {
    }
    up_chunk(c, "stop\n", 5);
    up_chunks_end(c);
}

static void gets_the_head_and_then_all_bytes(void **state)
{
    int lines = 3, heads;
    size_t largest;
    gb_buf_t all;

    (void)state;
    start(serve_lines, &lines);
    assert_int_equal(read_all(&all, &heads, &largest, 0), APR_SUCCESS);
    assert_int_equal(heads, 1);
    assert_int_equal(all.len, 3 * 1001 + 7);
    assert_string_equal(all.data + 3 * 1001, "[done]\n");
    leave();
}

static void a_slow_worker_slows_the_engine(void **state)
{
    int lines = 2000, heads;
    size_t largest;
    gb_buf_t all;

    (void)state;
    start(serve_lines, &lines);
    usleep(100000);
    assert_int_equal(read_all(&all, &heads, &largest, 2000), APR_SUCCESS);
    assert_int_equal(all.len, 2000 * 1001 + 7);
    assert_true(largest <= 64 * 1024);
    leave();
}

static void serve_nothing(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    (void)req;
    up_rest(c, 5000);
}

static void looks_up_from_time_to_time(void **state)
{
    const gb_head_t *head = NULL;
    apr_time_t began = gb_mono_now();
    apr_status_t rv, how = APR_SUCCESS;
    gb_buf_t piece;

    (void)state;
    gb_buf_init(&piece, 1000);
    start(serve_nothing, NULL);
    rv = gb_wait_next(waiter, &head, &piece, &how, apr_time_from_msec(50));
    assert_true(APR_STATUS_IS_TIMEUP(rv));
    assert_true(gb_mono_now() - began >= apr_time_from_msec(49));
    gb_exchange_cancel(call.x);
    rv = gb_wait_next(waiter, &head, &piece, &how, apr_time_from_sec(5));
    assert_int_equal(rv, APR_EOF);
    assert_true(APR_STATUS_IS_ECONNABORTED(how));
    assert_null(head);
    gb_buf_free(&piece);
    leave();
}

/* Also when nobody has read for long: the queue is full and the exchange waits for room. */
static void the_end_of_the_engine_is_told(void **state)
{
    int lines = 2000, heads;
    size_t largest;
    gb_buf_t all;

    (void)state;
    start(serve_lines, &lines);
    usleep(150000);
    gb_engine_stop(engine);
    engine = NULL;
    assert_true(APR_STATUS_IS_EOF(read_all(&all, &heads, &largest, 0)));
    assert_int_equal(heads, 1);
    assert_int_equal(all.len, 64 * 1024);
    leave();
}

static void an_error_is_an_answer(void **state)
{
    int heads;
    size_t largest;
    gb_buf_t all;

    (void)state;
    start(serve_nothing, NULL);
    usleep(20000);
    gb_engine_stop(engine);
    engine = NULL;
    assert_int_equal(read_all(&all, &heads, &largest, 0), APR_SUCCESS);
    assert_int_equal(heads, 1);
    assert_int_equal(strncmp(all.data, "error 503 server_shutdown", 25), 0);
    leave();
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(gets_the_head_and_then_all_bytes),
        CASE(a_slow_worker_slows_the_engine),
        CASE(looks_up_from_time_to_time),
        CASE(the_end_of_the_engine_is_told),
        CASE(an_error_is_an_answer),
    };
    int failed;

    apr_initialize();
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    apr_terminate();
    return failed;
}
