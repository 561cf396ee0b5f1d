/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats before an answer, in it and before its errors, and answers that are
 * continued, without httpd: an exchange between a scripted upstream and a sink
 * that is not always ready.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <signal.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <curl/curl.h>

#include "upstream/exchange.h"

#include "fake_exchange.h"
#include "fake_upstream.h"

#define BEAT "(beat)"

/* What each request gets: a pause, then lines, and whether they are cut; or a status. */
typedef struct act_t {
    int pause; /* ms, before the head and between two lines */
    int status;
    const char *lines[4];
    int cut;
} act_t;

typedef struct stage_t {
    const act_t *acts;
    int n_acts;
    char body[8][32]; /* of each request */
    up_t *up;
    gb_engine_t *engine;
    apr_pool_t *pool;
    fake_host_t host;
    fake_call_t call;
    gb_dialect_t dialect;
    int go_ons;
} stage_t;

static stage_t *stage;

/* ---- the upstream ---- */

static void play(void *baton, up_conn_t *c, const up_request_t *req)
{
    const act_t *act;
    int i, n = req->serial <= stage->n_acts ? req->serial - 1 : stage->n_acts - 1;

    (void)baton;
    act = &stage->acts[n];
    apr_cpystrn(stage->body[n], req->body, sizeof(stage->body[n]));
    if (!up_rest(c, act->pause)) {
        return;
    }
    if (act->status != 200) {
        up_answer(c, act->status, "application/json", "{}");
        return;
    }
    up_chunks_begin(c, 200, NULL);
    for (i = 0; act->lines[i] != NULL; i++) {
        if (i > 0 && !up_rest(c, act->pause)) {
            return;
        }
        up_chunk(c, act->lines[i], strlen(act->lines[i]));
    }
    if (act->cut) {
        up_close(c);
    }
    else {
        up_chunks_end(c);
    }
}

/* ---- the dialect ---- */

static void beat(const gb_plan_t *plan, gb_buf_t *out)
{
    (void)plan;
    gb_buf_puts(out, BEAT);
}

static apr_status_t go_on(gb_plan_t *plan)
{
    if (strcmp(plan->body, "never") == 0) {
        return APR_NOTFOUND;
    }
    stage->go_ons++;
    plan->body = "rest";
    plan->body_len = 4;
    return APR_SUCCESS;
}

/* ---- the stage ---- */

static int is_stopping(void *baton)
{
    (void)baton;
    return 0;
}

static int begin(void **state)
{
    gb_engine_conf_t conf = {
        .user_agent = "test", .drain = apr_time_from_msec(100), .stopping = is_stopping};

    (void)state;
    stage = calloc(1, sizeof(*stage));
    apr_pool_create(&stage->pool, NULL);
    stage->up = up_start(play, NULL);
    stage->dialect = fake_dialect;
    stage->dialect.heartbeat = beat;
    stage->dialect.go_on = go_on;
    return gb_engine_start(&stage->engine, &conf, stage->pool) != APR_SUCCESS;
}

static int finish(void **state)
{
    (void)state;
    gb_engine_stop(stage->engine);
    up_stop(stage->up);
    apr_pool_destroy(stage->pool);
    free(stage);
    return 0;
}

static void prepare(const act_t *acts, int n_acts)
{
    stage->acts = acts;
    stage->n_acts = n_acts;
    fake_host_init(&stage->host, 3);
    fake_call_make(&stage->call, stage->engine, up_url(stage->up), &stage->host);
    stage->call.plan->dialect = &stage->dialect;
    stage->call.plan->stream_type = "text/event-stream";
    stage->call.settings->max_retries = 3;
}

static const char *run(void)
{
    fake_call_start(&stage->call, stage->engine);
    assert_true(fake_sink_wait(&stage->call.sink, 10000));
    assert_int_equal(stage->call.sink.begun, 1);
    assert_true(fake_host_balanced(&stage->host));
    assert_int_equal(stage->host.n_final, 1);
    return stage->call.sink.data.data;
}

/* How many heartbeats text begins with; it stands behind them then. */
static int beats(const char **text)
{
    int n = 0;

    while (strncmp(*text, BEAT, strlen(BEAT)) == 0) {
        *text += strlen(BEAT);
        n++;
    }
    return n;
}

/* ---- heartbeats ---- */

static const act_t slow[] = {
    {300, 200, {"say a\n", "say b\nstop\n", NULL}, 0}
};

static void test_beats_before_and_between(void **state)
{
    const char *text;

    (void)state;
    prepare(slow, 1);
    stage->call.settings->stream_heartbeat_seconds = apr_time_from_msec(50);
    text = run();
    assert_int_equal(stage->call.sink.status, 200);
    assert_string_equal(stage->call.sink.type, "text/event-stream");
    assert_true(beats(&text) >= 2);
    assert_int_equal(strncmp(text, "a\n", 2), 0);
    text += 2;
    assert_true(beats(&text) >= 2);
    assert_string_equal(text, "b\n[done]\n");
    fake_call_end(&stage->call);
}

static void test_no_beats_when_off(void **state)
{
    (void)state;
    prepare(slow, 1);
    assert_string_equal(run(), "a\nb\n[done]\n");
    fake_call_end(&stage->call);
}

static void test_no_beats_in_whole_answers(void **state)
{
    (void)state;
    prepare(slow, 1);
    stage->call.settings->stream_heartbeat_seconds = apr_time_from_msec(50);
    stage->call.plan->stream = 0;
    assert_string_equal(run(), "a\nb\n[done]\n");
    fake_call_end(&stage->call);
}

static void test_a_fake_stream_comes_at_once(void **state)
{
    const char *text;

    (void)state;
    prepare(slow, 1);
    stage->call.settings->fake_stream_empty_data_interval_seconds = apr_time_from_msec(50);
    stage->call.plan->fake_stream = 1;
    text = run();
    assert_true(beats(&text) >= 4);
    assert_string_equal(text, "a\nb\n[done]\n");
    fake_call_end(&stage->call);
}

static void test_retries_go_on_behind_a_beat(void **state)
{
    static const act_t acts[] = {
        {200, 503, {NULL},                  0},
        {0,   200, {"say a\nstop\n", NULL}, 0}
    };
    const char *text;

    (void)state;
    prepare(acts, 2);
    stage->call.settings->stream_heartbeat_seconds = apr_time_from_msec(50);
    text = run();
    assert_true(beats(&text) >= 2);
    assert_string_equal(text, "a\n[done]\n");
    assert_int_equal(stage->host.n_ended, 2);
    fake_call_end(&stage->call);
}

static void test_errors_behind_a_beat_are_the_streams(void **state)
{
    static const act_t acts[] = {
        {200, 404, {NULL}, 0}
    };
    const char *text;

    (void)state;
    prepare(acts, 1);
    stage->call.settings->stream_heartbeat_seconds = apr_time_from_msec(50);
    text = run();
    assert_int_equal(stage->call.sink.status, 200);
    assert_true(beats(&text) >= 2);
    assert_int_equal(strncmp(text, "!404", 4), 0);
    fake_call_end(&stage->call);
}

static void test_a_sink_that_is_not_ready(void **state)
{
    const char *text;

    (void)state;
    prepare(slow, 1);
    stage->call.settings->stream_heartbeat_seconds = apr_time_from_msec(30);
    stage->call.sink.refuses_head = 1;
    text = run();
    beats(&text);
    assert_int_equal(strncmp(text, "a\n", 2), 0);
    fake_call_end(&stage->call);
}

/* ---- continuation ---- */

static void test_continued(void **state)
{
    static const act_t acts[] = {
        {0, 200, {"say a\n", NULL},       1},
        {0, 200, {"say b\nstop\n", NULL}, 0}
    };

    (void)state;
    prepare(acts, 2);
    stage->call.settings->stream_continue_max = 1;
    assert_string_equal(run(), "a\nb\n[done]\n");
    assert_int_equal(stage->go_ons, 1);
    assert_string_equal(stage->body[1], "rest");
    assert_int_equal(stage->host.n_ended, 2);
    assert_string_not_equal(stage->host.ended[0].key_id, stage->host.ended[1].key_id);
    fake_call_end(&stage->call);
}

/* One that brings nothing is tried again, and asks for the same. */
static void test_continued_by_the_third(void **state)
{
    static const act_t acts[] = {
        {0, 200, {"say a\n", NULL},       1},
        {0, 503, {NULL},                  0},
        {0, 200, {"say b\nstop\n", NULL}, 0}
    };

    (void)state;
    prepare(acts, 3);
    stage->call.settings->stream_continue_max = 1;
    assert_string_equal(run(), "a\nb\n[done]\n");
    assert_int_equal(stage->go_ons, 1);
    assert_string_equal(stage->body[2], "rest");
    fake_call_end(&stage->call);
}

static void test_continued_so_often_and_no_more(void **state)
{
    static const act_t acts[] = {
        {0, 200, {"say a\n", NULL}, 1}
    };

    (void)state;
    prepare(acts, 1);
    stage->call.settings->stream_continue_max = 2;
    stage->call.settings->max_retries = 1;
    assert_int_equal(strncmp(run(), "a\na\na\n!502", 10), 0);
    assert_int_equal(stage->host.n_ended, 3);
    fake_call_end(&stage->call);
}

static void test_not_continued(void **state)
{
    static const act_t acts[] = {
        {0, 200, {"say a\n", NULL}, 1}
    };

    (void)state;
    prepare(acts, 1);
    stage->call.settings->stream_continue_max = 2;
    stage->call.plan->body = "never";
    stage->call.plan->body_len = 5;
    assert_int_equal(strncmp(run(), "a\n!502", 6), 0);
    assert_int_equal(stage->host.n_ended, 1);
    fake_call_end(&stage->call);
}

#define CASE(f) cmocka_unit_test_setup_teardown(test_##f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(beats_before_and_between),
        CASE(no_beats_when_off),
        CASE(no_beats_in_whole_answers),
        CASE(a_fake_stream_comes_at_once),
        CASE(retries_go_on_behind_a_beat),
        CASE(errors_behind_a_beat_are_the_streams),
        CASE(a_sink_that_is_not_ready),
        CASE(continued),
        CASE(continued_by_the_third),
        CASE(continued_so_often_and_no_more),
        CASE(not_continued),
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
