/* SPDX-License-Identifier: Apache-2.0 */
/* Answers without an upstream: what a teller says reaches the sink, and both hear of the end once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <apr_general.h>
#include <curl/curl.h>

#include "upstream/exchange.h"

#include "fake_exchange.h"

#define WAIT 5000 /* ms: as long as it takes, and no test waits so long when it passes */

static apr_pool_t *pool;
static gb_engine_t *engine;
static atomic_int stopping;

typedef struct told_t {
    gb_teller_t teller; /* first */
    fake_host_t host;
    fake_call_t call;
    atomic_int ended, told;
    gb_msg_t msg;
    const char *text; /* NULL: that was all */
    size_t times;
} told_t;

static void told_start(gb_teller_t *teller, gb_exchange_t *x)
{
    (void)teller;
    gb_exchange_give(x, "hello\n", 6);
}

static void told_end(gb_teller_t *teller)
{
    atomic_fetch_add(&((told_t *)teller)->ended, 1);
}

static void on_news(gb_msg_t *msg)
{
    told_t *told = (told_t *)((char *)msg - offsetof(told_t, msg));
    size_t i;

    for (i = 0; told->text && i < told->times; i++) {
        gb_exchange_give(told->call.x, told->text, strlen(told->text));
    }
    if (!told->text) {
        gb_exchange_finish(told->call.x);
    }
    atomic_fetch_add(&told->told, 1);
}

static void tell(told_t *told, const char *text, size_t times)
{
    told->text = text;
    told->times = times;
    atomic_store(&told->told, 0);
    assert_int_equal(gb_engine_post(engine, &told->msg), APR_SUCCESS);
    while (!atomic_load(&told->told)) {
        usleep(1000);
    }
}

static told_t *listen_with(size_t room)
{
    told_t *told = calloc(1, sizeof(*told));

    fake_host_init(&told->host, 1);
    fake_call_make(&told->call, engine, "http://127.0.0.1:9", &told->host);
    told->teller.start = told_start;
    told->teller.end = told_end;
    told->msg.fn = on_news;
    told->call.plan->stream = 0;
    told->call.plan->stream_type = "text/event-stream";
    told->call.conf.teller = &told->teller;
    told->call.sink.room = room;
    fake_call_start(&told->call, engine);
    return told;
}

static void leave(told_t *told)
{
    assert_true(fake_sink_wait(&told->call.sink, WAIT));
    assert_int_equal(atomic_load(&told->ended), 1);
    assert_int_equal(told->host.picks, 0); /* nobody was asked for a key */
    fake_call_end(&told->call);
    free(told);
}

static void what_is_said_arrives_as_it_is_said(void **state)
{
    told_t *told = listen_with((size_t)-1);

    (void)state;
    assert_true(fake_sink_wait_data(&told->call.sink, 6, WAIT));
    assert_int_equal(told->call.sink.status, 200);
    assert_string_equal(told->call.sink.type, "text/event-stream");
    assert_int_equal(told->call.sink.content_length, -1);
    tell(told, "more\n", 2);
    assert_true(fake_sink_wait_data(&told->call.sink, 16, WAIT));
    assert_memory_equal(told->call.sink.data.data, "hello\nmore\nmore\n", 16);
    tell(told, NULL, 0);
    assert_true(fake_sink_wait(&told->call.sink, WAIT));
    assert_int_equal(told->call.sink.rv, APR_SUCCESS);
    assert_string_equal(gb_exchange_summary(told->call.x)->outcome, "told");
    leave(told);
}

static void who_does_not_listen_is_let_go(void **state)
{
    told_t *told = listen_with(6);

    (void)state;
    assert_true(fake_sink_wait_data(&told->call.sink, 6, WAIT));
    tell(told, "0123456789abcdef0123456789abcdef", 32 * 1024);
    assert_true(fake_sink_wait(&told->call.sink, WAIT));
    assert_true(APR_STATUS_IS_ECONNABORTED(told->call.sink.rv));
    leave(told);
}

static void who_leaves_hears_no_more(void **state)
{
    told_t *told = listen_with((size_t)-1);

    (void)state;
    assert_true(fake_sink_wait_data(&told->call.sink, 6, WAIT));
    gb_exchange_cancel(told->call.x);
    assert_true(fake_sink_wait(&told->call.sink, WAIT));
    tell(told, "too late\n", 1);
    leave(told);
}

/* Calls may run on while a child stops; streams of news end at once. */
static void a_stopping_child_ends_them_at_once(void **state)
{
    told_t *told = listen_with((size_t)-1);

    (void)state;
    assert_true(fake_sink_wait_data(&told->call.sink, 6, WAIT));
    atomic_store(&stopping, 1);
    assert_true(fake_sink_wait(&told->call.sink, WAIT));
    assert_int_equal(told->call.sink.rv, APR_SUCCESS);
    leave(told);
}

static int is_stopping(void *baton)
{
    (void)baton;
    return atomic_load(&stopping);
}

static int setup(void **state)
{
    gb_engine_conf_t conf;

    (void)state;
    apr_initialize();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    apr_pool_create(&pool, NULL);
    memset(&conf, 0, sizeof(conf));
    conf.user_agent = "test";
    conf.drain = apr_time_from_sec(600);
    conf.stopping = is_stopping;
    return gb_engine_start(&engine, &conf, pool) == APR_SUCCESS ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    gb_engine_stop(engine);
    apr_pool_destroy(pool);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_arrives_as_it_is_said),
        cmocka_unit_test(who_does_not_listen_is_let_go),
        cmocka_unit_test(who_leaves_hears_no_more),
        cmocka_unit_test(a_stopping_child_ends_them_at_once),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
