/* SPDX-License-Identifier: Apache-2.0 */
/* What a client names by URL: fetched side by side, only from where it may, and told when not. */
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
#include <apr_strings.h>
#include <curl/curl.h>

#include "base/timeutil.h"
#include "upstream/exchange.h"
#include "upstream/fetch.h"

#include "fake_exchange.h"
#include "fake_upstream.h"

static apr_pool_t *pool;
static gb_engine_t *engine;
static up_t *pictures, *upstream;
static fake_host_t host;
static fake_call_t call;
static gb_dialect_t dialect; /* the fake one, with resume */
static atomic_int resumed, left;
static const char *refuses; /* what resume says */

static void serve_pictures(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    if (strcmp(req->path, "/large") == 0) {
        static char bytes[65536];
        int i;

        up_chunks_begin(c, 200, NULL);
        for (i = 0; i < 600 && up_chunk(c, bytes, sizeof(bytes)); i++) {
        }
        up_chunks_end(c);
    }
    else if (strcmp(req->path, "/slow") == 0) {
        if (!up_rest(c, 10000)) {
            atomic_fetch_add(&left, 1);
        }
    }
    else if (strcmp(req->path, "/moved") == 0) {
        up_put(c, "HTTP/1.1 301 Go\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n");
    }
    else if (strcmp(req->path, "/gone") == 0) {
        up_answer(c, 404, NULL, "no such picture");
    }
    else {
        up_answer(c, 200, "image/png", req->path);
    }
}

static void serve_answer(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    up_printf(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\nsay %s\nstop\n", req->body_len + 10,
              req->body);
}

/* The body is what was fetched. */
static apr_status_t resume(gb_plan_t *plan, gb_error_t *err)
{
    int i;

    atomic_fetch_add(&resumed, 1);
    if (refuses) {
        return gb_error_set(err, 400, "invalid_image_url", NULL, "%s", refuses);
    }
    plan->body = "";
    for (i = 0; i < plan->fetches->nelts; i++) {
        const gb_fetch_t *fetch = &APR_ARRAY_IDX(plan->fetches, i, gb_fetch_t);

        plan->body = apr_pstrcat(plan->pool, plan->body,
                                 apr_pstrmemdup(plan->pool, fetch->bytes, fetch->len), NULL);
    }
    plan->body_len = strlen(plan->body);
    return APR_SUCCESS;
}

static int begin(void **state)
{
    gb_engine_conf_t conf = {.user_agent = "test", .drain = 0};

    (void)state;
    atomic_store(&fake_calls_freed, 0);
    atomic_store(&resumed, 0);
    atomic_store(&left, 0);
    refuses = NULL;
    dialect = fake_dialect;
    dialect.resume = resume;
    apr_pool_create(&pool, NULL);
    pictures = up_start(serve_pictures, NULL);
    upstream = up_start(serve_answer, NULL);
    return gb_engine_start(&engine, &conf, pool) != APR_SUCCESS;
}

static int finish(void **state)
{
    (void)state;
    if (engine) {
        gb_engine_stop(engine);
        engine = NULL;
    }
    up_stop(pictures);
    up_stop(upstream);
    apr_pool_destroy(pool);
    return 0;
}

/* Paths at the picture server, or whole URLs. */
static void prepare(const char *const *paths, int local_is_open)
{
    static const char *const ranges[] = {"127.0.0.0/8"};

    fake_host_init(&host, 2);
    fake_call_make(&call, engine, up_url(upstream), &host);
    call.plan->dialect = &dialect;
    call.plan->body = NULL;
    call.plan->body_len = 0;
    call.plan->fetches = apr_array_make(call.pool, 4, sizeof(gb_fetch_t));
    if (local_is_open) {
        call.settings->image_fetch_allow = (gb_list_t){1, ranges};
    }
    for (; *paths; paths++) {
        gb_fetch_t *fetch = apr_array_push(call.plan->fetches);

        memset(fetch, 0, sizeof(*fetch));
        fetch->url = **paths == '/' ? apr_pstrcat(call.pool, up_url(pictures), *paths, NULL)
                                    : *paths;
        fetch->param = apr_psprintf(call.pool, "messages[%d]", call.plan->fetches->nelts - 1);
    }
}

static void nothing(void *baton)
{
    (void)baton;
}

static void leave(void)
{
    assert_int_equal(call.sink.ended, 1);
    assert_true(fake_host_balanced(&host));
    fake_call_end(&call);
    if (engine) {
        fake_in_engine(engine, nothing, NULL);
    }
    assert_int_equal(atomic_load(&fake_calls_freed), 1);
}

static void run(void)
{
    fake_call_start(&call, engine);
    assert_true(fake_sink_wait(&call.sink, 10000));
}

static void all_are_there_before_the_call(void **state)
{
    static const char *const paths[] = {"/a", "/moved", "/c", NULL};

    (void)state;
    prepare(paths, 1);
    run();
    assert_int_equal(call.sink.status, 200);
    assert_string_equal(call.sink.data.data, "/a/b/c\n[done]\n");
    assert_int_equal(atomic_load(&resumed), 1);
    assert_int_equal(host.tokens, 6 / 4);
    leave();
}

static void what_cannot_be_had_is_told(void **state)
{
    static const struct {
        const char *paths[4];
        int local_is_open;
        const char *text;
    } cases[] = {
        {{"/a", "/gone", NULL},                  1, "its server answered 404"            },
        {{"/a", NULL},                           0, "is not at a public address"         },
        {{"http://[::1]:9/", NULL},              0, "is not at a public address"         },
        {{"http://169.254.169.254/", NULL},      0, "is not at a public address"         },
        {{"/large", NULL},                       1, "it is too large"                    },
        {{"http://no-such-host.invalid/", NULL}, 1, "its server cannot be reached"       },
        {{"ftp://127.0.0.1/a", NULL},            1, "What stands at the URL could not be"},
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *param;

        prepare(cases[i].paths, cases[i].local_is_open);
        run();
        param = strstr(call.sink.data.data, cases[i].text);
        if (call.sink.status != 400 || !param) {
            print_error("%s: %d %s\n", cases[i].text, call.sink.status, call.sink.data.data);
        }
        assert_int_equal(call.sink.status, 400);
        assert_int_equal(strncmp(call.sink.data.data, "error 400 invalid_image_url", 27), 0);
        assert_non_null(param);
        assert_int_equal(atomic_load(&resumed), 0);
        assert_int_equal(host.picks, 0);
        assert_int_equal(up_requests(upstream), 0);
        leave();
        finish(state);
        begin(state);
    }
}

static void the_dialect_may_refuse_what_came(void **state)
{
    static const char *const paths[] = {"/a", NULL};

    (void)state;
    prepare(paths, 1);
    refuses = "this is no picture";
    run();
    assert_int_equal(call.sink.status, 400);
    assert_non_null(strstr(call.sink.data.data, "this is no picture"));
    assert_int_equal(up_requests(upstream), 0);
    leave();
}

static void the_client_may_leave_meanwhile(void **state)
{
    static const char *const paths[] = {"/a", "/slow", NULL};
    apr_time_t until = gb_mono_now() + apr_time_from_sec(5);

    (void)state;
    prepare(paths, 1);
    fake_call_start(&call, engine);
    while (up_requests(pictures) < 2 && gb_mono_now() < until) {
        usleep(1000);
    }
    gb_exchange_cancel(call.x);
    assert_true(fake_sink_wait(&call.sink, 2000));
    while (!atomic_load(&left) && gb_mono_now() < until) {
        usleep(1000);
    }
    assert_int_equal(atomic_load(&left), 1);
    assert_int_equal(atomic_load(&resumed), 0);
    leave();
}

static void the_engine_may_end_meanwhile(void **state)
{
    static const char *const paths[] = {"/slow", NULL};

    (void)state;
    prepare(paths, 1);
    fake_call_start(&call, engine);
    usleep(50000);
    gb_engine_stop(engine);
    engine = NULL;
    assert_int_equal(call.sink.status, 503);
    leave();
}

static void the_whole_call_has_a_deadline(void **state)
{
    static const char *const paths[] = {"/slow", NULL};

    (void)state;
    prepare(paths, 1);
    call.settings->time_out_total = apr_time_from_msec(200);
    run();
    assert_int_equal(call.sink.status, 504);
    leave();
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_are_there_before_the_call),    CASE(what_cannot_be_had_is_told),
        CASE(the_dialect_may_refuse_what_came), CASE(the_client_may_leave_meanwhile),
        CASE(the_engine_may_end_meanwhile),     CASE(the_whole_call_has_a_deadline),
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
