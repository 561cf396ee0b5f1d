/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client call from plan to last byte: what is retried and what is not, what
 * the client hears, what the pool and the journal are told, and every way to
 * end in the middle.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <curl/curl.h>

#include "base/timeutil.h"
#include "upstream/exchange.h"

#include "fake_exchange.h"
#include "fake_upstream.h"

/* ---- an upstream that follows a script ---- */

/*
 * One entry a request, the last one for all further requests:
 *   "+LINES"      a stream of lines (| stands for the end of a line), complete
 *   "-LINES"      the same, then cut;  "!LINES" then reset;  "~LINES" then silent
 *   "raw:BYTES"   these bytes, then the connection closes
 *   "NNN BODY"    a status and its body
 */
#define SCRIPT_MAX 16
#define SEEN_MAX   32

typedef struct seen_t {
    char head[2048];
    char body[64];
} seen_t;

typedef struct stage_t {
    const char *script[SCRIPT_MAX];
    const char *more_headers; /* of streams */
    up_t *up;
    fake_host_t host;
    fake_call_t call;
    pthread_mutex_t lock; /* guards all below */
    seen_t seen[SEEN_MAX];
    int n_seen, left;
} stage_t;

static apr_pool_t *pool;
static gb_engine_t *engine;
static stage_t *stage;
static atomic_int stopping;

static void note_request(const up_request_t *req)
{
    pthread_mutex_lock(&stage->lock);
    if (stage->n_seen < SEEN_MAX) {
        seen_t *seen = &stage->seen[stage->n_seen++];

        apr_cpystrn(seen->head, req->head, sizeof(seen->head));
        apr_cpystrn(seen->body, req->body, sizeof(seen->body));
    }
    pthread_mutex_unlock(&stage->lock);
}

static void note_left(void)
{
    pthread_mutex_lock(&stage->lock);
    stage->left++;
    pthread_mutex_unlock(&stage->lock);
}

static void play_lines(up_conn_t *c, const char *lines)
{
    char *text = strdup(lines), *line, *save = NULL;
    char ended[512];

    up_chunks_begin(c, 200, stage->more_headers);
    for (line = strtok_r(text, "|", &save); line; line = strtok_r(NULL, "|", &save)) {
        snprintf(ended, sizeof(ended), "%s\n", line);
        up_chunk(c, ended, strlen(ended));
    }
    free(text);
}

static void play(void *baton, up_conn_t *c, const up_request_t *req)
{
    const char *entry;
    int i;

    (void)baton;
    note_request(req);
    for (i = 0; i + 1 < req->serial && stage->script[i + 1]; i++) {
    }
    entry = stage->script[i];
    if (strncmp(entry, "raw:", 4) == 0) {
        up_put(c, entry + 4);
        up_close(c);
    }
    else if (entry[0] >= '0' && entry[0] <= '9') {
        up_answer(c, atoi(entry), "application/json", entry + 4);
    }
    else {
        if (entry[0] != '~' || entry[1]) {
            play_lines(c, entry + 1);
        }
        switch (entry[0]) {
        case '+':
            up_chunks_end(c);
            break;
        case '-':
            up_close(c);
            break;
        case '!':
            up_rest(c, 30);
            up_reset(c);
            break;
        case '~':
            if (!up_rest(c, 5000)) {
                note_left();
            }
            break;
        }
    }
}

/* ---- the stage ---- */

static int is_stopping(void *baton)
{
    (void)baton;
    return atomic_load(&stopping);
}

static int begin(void **state)
{
    gb_engine_conf_t conf = {
        .user_agent = "test", .drain = apr_time_from_msec(100), .stopping = is_stopping};

    (void)state;
    atomic_store(&stopping, 0);
    atomic_store(&fake_calls_freed, 0);
    apr_pool_create(&pool, NULL);
    stage = calloc(1, sizeof(*stage));
    pthread_mutex_init(&stage->lock, NULL);
    stage->up = up_start(play, NULL);
    return gb_engine_start(&engine, &conf, pool) != APR_SUCCESS;
}

static int finish(void **state)
{
    (void)state;
    if (engine) {
        gb_engine_stop(engine);
        engine = NULL;
    }
    up_stop(stage->up);
    free(stage);
    apr_pool_destroy(pool);
    return 0;
}

/* A call with so many keys and this script; settings and plan may still be changed. */
static void prepare(int n_keys, const char *first, const char *second, const char *third)
{
    fake_host_init(&stage->host, n_keys);
    stage->script[0] = first;
    stage->script[1] = second;
    stage->script[2] = third;
    fake_call_make(&stage->call, engine, up_url(stage->up), &stage->host);
    stage->call.settings->max_retries = 3;
}

static void start(void)
{
    fake_call_start(&stage->call, engine);
}

static void await(void)
{
    assert_true(fake_sink_wait(&stage->call.sink, 10000));
}

static void nothing(void *baton)
{
    (void)baton;
}

/* Lets go, and checks what must hold after every call. */
static void leave(void)
{
    assert_int_equal(stage->call.sink.ended, 1);
    assert_int_equal(stage->call.sink.started, 1);
    assert_true(stage->call.sink.begun <= 1);
    assert_true(fake_host_balanced(&stage->host));
    assert_int_equal(stage->host.n_final, stage->host.n_ended ? 1 : 0);
    if (stage->host.n_ended) {
        assert_int_equal(stage->host.ended[stage->host.n_ended - 1].final, 1);
    }
    fake_call_end(&stage->call);
    if (engine) {
        fake_in_engine(engine, nothing, NULL);
        fake_in_engine(engine, nothing, NULL);
    }
    assert_int_equal(atomic_load(&fake_calls_freed), 1);
}

static void run(void)
{
    start();
    await();
}

static const char *got(void)
{
    return stage->call.sink.data.data ? stage->call.sink.data.data : "";
}

static const gb_summary_t *summary(void)
{
    return gb_exchange_summary(stage->call.x);
}

static int seen(void)
{
    int n;

    pthread_mutex_lock(&stage->lock);
    n = stage->n_seen;
    pthread_mutex_unlock(&stage->lock);
    return n;
}

static void await_seen(int n)
{
    apr_time_t until = gb_mono_now() + apr_time_from_sec(5);

    while (seen() < n && gb_mono_now() < until) {
        usleep(500);
    }
    assert_int_equal(seen(), n);
}

static void await_left(int n)
{
    apr_time_t until = gb_mono_now() + apr_time_from_sec(1);
    int left = 0;

    while (left < n && gb_mono_now() < until) {
        pthread_mutex_lock(&stage->lock);
        left = stage->left;
        pthread_mutex_unlock(&stage->lock);
        usleep(500);
    }
    assert_int_equal(left, n);
}

static int times(const char *text, const char *what)
{
    int n = 0;

    while ((text = strcasestr(text, what)) != NULL) {
        n++;
        text++;
    }
    return n;
}

static void answered(int status, const char *text)
{
    assert_int_equal(stage->call.sink.rv, APR_SUCCESS);
    assert_int_equal(stage->call.sink.status, status);
    if (strcmp(got(), text) != 0 && strncmp(got(), text, strlen(text)) != 0) {
        assert_string_equal(got(), text);
    }
}

#define UNAVAILABLE                                                                                \
    "503 {\"error\":{\"code\":503,\"message\":\"The service is currently unavailable.\","          \
    "\"status\":\"UNAVAILABLE\"}}"
#define DEAD_KEY                                                                                   \
    "400 {\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API "       \
    "key.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":"                              \
    "\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"API_KEY_INVALID\"}]}}"
#define QUOTA                                                                                      \
    "429 {\"error\":{\"code\":429,\"message\":\"You exceeded your current quota.\",\"status\":"    \
    "\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\"," \
    "\"retryDelay\":\"7s\"}]}}"
#define BAD_REQUEST                                                                                \
    "400 {\"error\":{\"code\":400,\"message\":\"The field contents is missing.\",\"status\":"      \
    "\"INVALID_ARGUMENT\"}}"
#define BAD_FIELD                                                                                  \
    "400 {\"error\":{\"code\":400,\"message\":\"Thinking budget is not supported for this "        \
    "model.\",\"status\":\"INVALID_ARGUMENT\"}}"
#define FORBIDDEN                                                                                  \
    "403 {\"error\":{\"code\":403,\"message\":\"You shall not pass.\",\"status\":"                 \
    "\"PERMISSION_DENIED\"}}"
#define UNAUTHENTICATED                                                                            \
    "401 {\"error\":{\"code\":401,\"message\":\"Who are you?\",\"status\":\"UNAUTHENTICATED\"}}"
#define STREAM_ERROR                                                                               \
    "error {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}"

/* ---- all goes well ---- */

static void streams_an_answer(void **state)
{
    static const char *const headers[] = {"X-Custom: yes", NULL};
    const fake_attempt_t *attempt = &stage->host.ended[0];

    (void)state;
    prepare(2, "+say one|say two|stop", NULL, NULL);
    stage->call.conf.headers = headers;
    stage->call.plan->ignored = "foo,bar";
    run();
    answered(200, "one\ntwo\n[done]\n");
    assert_string_equal(stage->call.sink.type, "text/event-stream");
    assert_int_equal(stage->call.sink.content_length, -1);
    assert_string_equal(apr_table_get(stage->call.sink.headers, "x-gbalance-ignored"), "foo,bar");
    assert_int_equal(summary()->attempts, 1);
    assert_int_equal(summary()->upstream_status, 200);
    assert_string_equal(summary()->outcome, "success");
    assert_string_equal(summary()->key_id, "key1");
    assert_true(summary()->first_byte > 0);
    assert_int_equal(summary()->facts.total_tokens, 7);
    assert_int_equal(stage->host.n_reports, 1);
    assert_int_equal(stage->host.reports[0].cls, GB_CLASS_SUCCESS);
    assert_int_equal(stage->host.reports[0].total_tokens, 7);
    assert_int_equal(attempt->status, 200);
    assert_int_equal(attempt->bytes, 8 + 8 + 5);
    assert_true(attempt->latency > 0 && attempt->first_byte > 0);
    leave();
}

static void the_key_travels_in_one_header(void **state)
{
    static const char *const headers[] = {"X-Custom: yes", NULL};
    int bearer;

    (void)state;
    for (bearer = 0; bearer < 2; bearer++) {
        const char *head;

        prepare(1, "+say one|stop", NULL, NULL);
        stage->call.conf.headers = headers;
        stage->call.plan->bearer = bearer;
        stage->n_seen = 0;
        run();
        head = stage->seen[0].head;
        assert_int_equal(strncmp(head, "POST /models/m:stream HTTP/1.1\r\n", 32), 0);
        assert_int_equal(times(head, "secret-of-key-1"), 1);
        assert_int_equal(times(head, bearer ? "\nAuthorization: Bearer secret-of-key-1\r"
                                            : "\nx-goog-api-key: secret-of-key-1\r"),
                         1);
        assert_int_equal(times(head, "\nx-request-id: req-0001.1\r"), 1);
        assert_int_equal(times(head, "content-type:"), 1);
        assert_int_equal(times(head, "\nX-Custom: yes\r"), 1);
        assert_string_equal(stage->seen[0].body, "ask");
        leave();
        atomic_store(&fake_calls_freed, 0);
    }
}

static void a_whole_answer_has_its_length(void **state)
{
    int whole;

    (void)state;
    for (whole = 0; whole < 2; whole++) {
        prepare(1, "+say one|stop", NULL, NULL);
        stage->call.plan->stream = stage->call.plan->upstream_stream = 0;
        stage->call.plan->answer_type = "application/json";
        stage->call.sink.takes_whole = whole;
        run();
        answered(200, "one\n[done]\n");
        assert_int_equal(stage->call.sink.content_length, 11);
        leave();
        atomic_store(&fake_calls_freed, 0);
    }
}

/* The client wants one piece, the upstream is asked for a stream: nothing goes out before the end. */
static void a_collected_stream_can_be_retried_to_its_end(void **state)
{
    (void)state;
    prepare(2, "-say half", "+say whole|stop", NULL);
    stage->call.plan->stream = 0;
    run();
    answered(200, "whole\n[done]\n");
    assert_int_equal(stage->call.sink.content_length, 13);
    assert_int_equal(summary()->attempts, 2);
    leave();
}

static void headers_of_the_upstream_are_chosen(void **state)
{
    const apr_table_t *headers;

    (void)state;
    stage->more_headers =
        "X-Foo: bar\r\nx-foo: baz\r\nServer: scaffolding\r\nSet-Cookie: a=b\r\n"
        "Alt-Svc: h3\r\nAccess-Control-Allow-Origin: *\r\nConnection: keep-alive\r\n"
        "Retry-After: 5\r\nX-Request-Id: theirs\r\nServer-Timing: x\r\n";
    prepare(1, "+say one|stop", NULL, NULL);
    stage->call.plan->answer_type = NULL;
    run();
    headers = stage->call.sink.headers;
    assert_string_equal(stage->call.sink.type, "text/event-stream");
    assert_string_equal(apr_table_get(headers, "x-foo"), "bar");
    assert_string_equal(apr_table_getm(pool, headers, "x-foo"), "bar,baz");
    assert_int_equal(apr_table_elts(headers)->nelts, 2);
    leave();
}

static void other_framings(void **state)
{
    static const char *const raw[] = {
        "raw:HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nsay one\nstop\n",
        "raw:HTTP/1.1 200 OK\r\n\r\nsay one\nstop\n",
        "raw:HTTP/1.0 200 OK\r\n\r\nsay one\nstop\n",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(raw) / sizeof(raw[0]); i++) {
        prepare(1, raw[i], NULL, NULL);
        run();
        answered(200, "one\n[done]\n");
        leave();
        atomic_store(&fake_calls_freed, 0);
    }
}

static void calls_share_connections(void **state)
{
    int i;

    (void)state;
    for (i = 0; i < 10; i++) {
        prepare(2, "+say one|stop", NULL, NULL);
        run();
        answered(200, "one\n[done]\n");
        leave();
        atomic_store(&fake_calls_freed, 0);
    }
    assert_int_equal(up_connections(stage->up), 1);
}

/* ---- retries ---- */

typedef struct retry_t {
    const char *name;
    int n_keys, max_retries;
    const char *script[3];
    int status;       /* that the client gets */
    const char *text; /* how its answer begins */
    int requests;
    gb_class_t cls[3]; /* reported */
    const char *outcome;
} retry_t;

static const retry_t retries[] = {
    {"dead key",
     2, 3,
     {DEAD_KEY, "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_KEY, GB_CLASS_SUCCESS},
     "success"     },
    {"quota",
     2, 3,
     {QUOTA, "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_QUOTA, GB_CLASS_SUCCESS},
     "success"     },
    {"service",
     2, 3,
     {UNAVAILABLE, "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"reset before the first byte",
     2, 3,
     {"!think", "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"cut before the first byte",
     2, 3,
     {"-think", "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"complete, but without an end",
     2, 3,
     {"+think", "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"short of its length",
     2, 3,
     {"raw:HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nthink\n", "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"error in the stream before content",
     2, 3,
     {"+think|" STREAM_ERROR, "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"a lone key after a service fault",
     1, 3,
     {UNAVAILABLE, "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_SERVICE, GB_CLASS_SUCCESS},
     "success"     },
    {"three keys, three attempts",
     3, 3,
     {QUOTA, DEAD_KEY, "+say a|stop"},
     200, "a\n",
     3, {GB_CLASS_QUOTA, GB_CLASS_KEY, GB_CLASS_SUCCESS},
     "success"     },
    {"MAX_RETRIES is all attempts",
     3, 2,
     {QUOTA, QUOTA, "+say a|stop"},
     429, "error 429",
     2, {GB_CLASS_QUOTA, GB_CLASS_QUOTA},
     "quota"       },
    {"one attempt only",
     3, 1,
     {UNAVAILABLE, "+say a|stop"},
     503, "error 503",
     1, {GB_CLASS_SERVICE},
     "service"     },
    {"the request's fault",
     3, 3,
     {BAD_REQUEST, "+say a|stop"},
     400, "error 400 invalid_value The field contents is missing.",
     1, {GB_CLASS_CLIENT},
     "client"      },
    {"empty, then good",
     2, 3,
     {"+stop", "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_EMPTY, GB_CLASS_SUCCESS},
     "success"     },
    {"empty twice",
     3, 5,
     {"+stop", "+think|stop", "+say a|stop"},
     502, "error 502 empty_response",
     2, {GB_CLASS_EMPTY, GB_CLASS_EMPTY},
     "empty"       },
    {"empty with a lone key",
     1, 3,
     {"+stop", "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_EMPTY, GB_CLASS_SUCCESS},
     "success"     },
    {"blocked",
     2, 3,
     {"+block", "+say a|stop"},
     200, "blocked\n",
     1, {GB_CLASS_BLOCKED},
     "blocked"     },
    {"unknown 403, then good",
     2, 3,
     {FORBIDDEN, "+say a|stop"},
     200, "a\n",
     2, {GB_CLASS_UNKNOWN_AUTH, GB_CLASS_SUCCESS},
     "success"     },
    {"the same unknown 403 from two keys",
     3, 5,
     {FORBIDDEN, FORBIDDEN, "+say a|stop"},
     400, "error 400 invalid_value You shall not pass.",
     2, {GB_CLASS_UNKNOWN_AUTH, GB_CLASS_UNKNOWN_AUTH},
     "unknown_auth"},
    {"two unknown answers that differ",
     3, 5,
     {FORBIDDEN, UNAUTHENTICATED, "+say a|stop"},
     503, "error 503 no_healthy_keys",
     2, {GB_CLASS_UNKNOWN_AUTH, GB_CLASS_UNKNOWN_AUTH},
     "unknown_auth"},
    {"all keys dead",
     2, 5,
     {DEAD_KEY, DEAD_KEY},
     503, "error 503 no_healthy_keys",
     2, {GB_CLASS_KEY, GB_CLASS_KEY},
     "key"         },
    {"a redirect is not followed",
     2, 3,
     {"raw:HTTP/1.1 302 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "+say a|stop"},
     502, "error 502 upstream_redirect",
     1, {GB_CLASS_GATEWAY},
     "gateway"     },
};

static void what_is_tried_again(void **state)
{
    size_t i;
    int n;

    for (i = 0; i < sizeof(retries) / sizeof(retries[0]); i++) {
        const retry_t *retry = &retries[i];

        prepare(retry->n_keys, retry->script[0], retry->script[1], retry->script[2]);
        stage->call.settings->max_retries = retry->max_retries;
        run();
        if (stage->call.sink.status != retry->status || seen() != retry->requests
            || strncmp(got(), retry->text, strlen(retry->text)) != 0) {
            print_error("%s: %d %s after %d\n", retry->name, stage->call.sink.status, got(),
                        seen());
        }
        answered(retry->status, retry->text);
        assert_int_equal(seen(), retry->requests);
        assert_int_equal(stage->host.n_reports, retry->requests);
        assert_int_equal(summary()->attempts, retry->requests);
        assert_string_equal(summary()->outcome, retry->outcome);
        for (n = 0; n < retry->requests; n++) {
            char id[64];

            snprintf(id, sizeof(id), "\nx-request-id: req-0001.%d\r", n + 1);
            assert_int_equal(times(stage->seen[n].head, id), 1);
            assert_int_equal(stage->host.reports[n].cls, retry->cls[n]);
            assert_int_equal(stage->host.reports[n].attempt, n + 1);
            assert_int_equal(stage->host.ended[n].number, n + 1);
            assert_int_equal(stage->host.ended[n].cls, retry->cls[n]);
            assert_string_equal(stage->host.ended[n].key_id, stage->host.reports[n].id);
            if (n && retry->n_keys > 1) {
                assert_string_not_equal(stage->host.reports[n].id, stage->host.reports[n - 1].id);
            }
        }
        leave();
        finish(state);
        begin(state);
    }
}

static void service_faults_wait_before_the_next(void **state)
{
    apr_time_t began;

    (void)state;
    prepare(3, UNAVAILABLE, UNAVAILABLE, "+say a|stop");
    began = gb_mono_now();
    run();
    answered(200, "a\n");
    /* a quarter and half a second, each at least by half */
    assert_true(gb_mono_now() - began >= apr_time_from_msec(125 + 250));
    leave();
}

/* ---- after the first byte ---- */

static void no_retry_after_the_first_byte(void **state)
{
    static const char *const scripts[] = {"!say a", "-say a", "+say a", ("+say a|" STREAM_ERROR)};
    static const char *const texts[] = {"a\n!502 upstream_error", "a\n!502 upstream_error",
                                        "a\n!502 upstream_error", "a\n!503 upstream_error busy"};
    size_t i;

    for (i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        prepare(3, scripts[i], "+say b|stop", NULL);
        run();
        answered(200, texts[i]);
        assert_int_equal(seen(), 1);
        assert_int_equal(stage->host.reports[0].cls, GB_CLASS_SERVICE);
        assert_string_equal(summary()->outcome, "service");
        leave();
        finish(state);
        begin(state);
    }
}

/* ---- the adaptive re-send ---- */

static void a_refused_field_is_dropped_once(void **state)
{
    (void)state;
    prepare(2, BAD_FIELD, "+say a|stop", NULL);
    stage->call.settings->max_retries = 1;
    run();
    answered(200, "a\n[done]\n");
    assert_string_equal(stage->seen[0].body, "ask");
    assert_int_equal(strncmp(stage->seen[1].body, "ask without ", 12), 0);
    assert_int_equal(times(stage->seen[1].head, "secret-of-key-1"), 1); /* the same key */
    assert_int_equal(times(stage->seen[1].head, "x-request-id: req-0001.2\r"), 1);
    assert_string_equal(stage->host.refused, "thinkingBudget ");
    assert_int_equal(stage->host.given, 1);
    assert_int_equal(stage->host.n_reports, 1);
    assert_int_equal(stage->host.reports[0].cls, GB_CLASS_SUCCESS);
    assert_int_equal(stage->host.n_ended, 2);
    assert_int_equal(stage->host.ended[0].cls, GB_CLASS_ADAPTIVE);
    assert_int_equal(stage->host.ended[0].number, 1);
    assert_int_equal(stage->host.ended[1].number, 2);
    assert_int_equal(summary()->attempts, 2);
    leave();
}

/* The re-send on a new connection is not the one that drops a field. */
static void a_field_may_be_refused_after_a_stale_connection(void **state)
{
    (void)state;
    prepare(2, "+say warm|stop", "raw:", BAD_FIELD);
    stage->script[3] = "+say a|stop";
    run();
    answered(200, "warm\n[done]\n");
    leave();
    atomic_store(&fake_calls_freed, 0);
    fake_host_init(&stage->host, 2);
    fake_call_make(&stage->call, engine, up_url(stage->up), &stage->host);
    stage->call.settings->max_retries = 1;
    run();
    answered(200, "a\n[done]\n");
    assert_int_equal(stage->host.ended[0].cls, GB_CLASS_STALE);
    assert_int_equal(stage->host.ended[1].cls, GB_CLASS_ADAPTIVE);
    assert_int_equal(summary()->attempts, 3);
    leave();
}

static void a_field_refused_again_is_the_clients(void **state)
{
    (void)state;
    prepare(2, BAD_FIELD, BAD_FIELD, "+say a|stop");
    run();
    answered(400, "error 400 unsupported_value");
    assert_int_equal(seen(), 2);
    assert_string_equal(stage->host.refused, ""); /* it was not that */
    assert_int_equal(stage->host.n_reports, 1);
    leave();
}

static void what_follows_a_dropped_field_is_retried_as_ever(void **state)
{
    (void)state;
    prepare(2, BAD_FIELD, UNAVAILABLE, "+say a|stop");
    stage->call.settings->max_retries = 2;
    run();
    answered(200, "a\n[done]\n");
    assert_int_equal(seen(), 3);
    assert_int_equal(strncmp(stage->seen[2].body, "ask without ", 12), 0);
    assert_int_equal(stage->host.n_reports, 2);
    leave();
}

/* ---- no key ---- */

static void the_pool_may_say_wait(void **state)
{
    apr_time_t began;

    (void)state;
    prepare(1, "+say a|stop", NULL, NULL);
    stage->host.refusal = (fake_refusal_t){.at = 1, .times = 3, .rc = GB_PICK_WAIT, .wait = 40000};
    began = gb_mono_now();
    run();
    answered(200, "a\n");
    assert_true(gb_mono_now() - began >= 3 * 40000);
    assert_int_equal(stage->host.picks, 4);
    leave();
}

static void a_lone_key_may_have_to_wait_too(void **state)
{
    (void)state;
    prepare(1, UNAVAILABLE, "+say a|stop", NULL);
    /* the third question is the one without exclusions */
    stage->host.refusal = (fake_refusal_t){.at = 3, .times = 1, .rc = GB_PICK_WAIT, .wait = 20000};
    run();
    answered(200, "a\n");
    assert_int_equal(stage->host.picks, 4);
    leave();
}

static void the_pool_says_why_there_is_none(void **state)
{
    (void)state;
    prepare(0, "+say a|stop", NULL, NULL);
    stage->host.refusal = (fake_refusal_t){.rc = 429, .retry_after = 1500000};
    run();
    answered(429, "error 429 no_keys no key is left");
    assert_string_equal(stage->call.sink.type, "text/x-error");
    assert_string_equal(apr_table_get(stage->call.sink.headers, "Retry-After"), "2");
    assert_string_equal(apr_table_get(stage->call.sink.headers, "retry-after-ms"), "1500");
    assert_string_equal(apr_table_get(stage->call.sink.headers, "x-should-retry"), "false");
    assert_int_equal(stage->call.sink.content_length, (apr_int64_t)strlen(got()));
    assert_int_equal(summary()->attempts, 0);
    assert_string_equal(summary()->outcome, "refused");
    assert_string_equal(summary()->key_id, "");
    assert_int_equal(seen(), 0);
    leave();
}

/* When the only key is spent, the pool knows best when to come again; else the upstream's word counts. */
static void whose_word_counts(void **state)
{
    prepare(1, QUOTA, NULL, NULL);
    stage->host.refusal = (fake_refusal_t){.rc = 429, .retry_after = 33000000};
    run();
    answered(429, "error 429 no_keys");
    assert_string_equal(apr_table_get(stage->call.sink.headers, "Retry-After"), "33");
    leave();
    finish(state);
    begin(state);

    prepare(1, QUOTA, NULL, NULL);
    stage->host.refusal = (fake_refusal_t){.rc = 503};
    run();
    answered(429, "error 429 rate_limit_exceeded");
    assert_string_equal(apr_table_get(stage->call.sink.headers, "Retry-After"), "7");
    assert_null(apr_table_get(stage->call.sink.headers, "x-should-retry"));
    leave();
}

static void the_upstreams_own_body_goes_along_without_the_key(void **state)
{
    (void)state;
    prepare(
        1, "400 {\"error\":{\"code\":400,\"message\":\"wrong: secret-of-key-1 is what you sent\"}}",
        NULL, NULL);
    run();
    answered(400, "error 400");
    assert_non_null(strstr(got(), "\nupstream: {\"error\":{\"code\":400,"));
    assert_null(strstr(got(), "secret-of-key-1"));
    leave();
}

/* ---- deadlines ---- */

static void silence_is_tried_again(void **state)
{
    (void)state;
    prepare(2, "~", "+say a|stop", NULL);
    stage->call.settings->time_out = apr_time_from_msec(200);
    run();
    answered(200, "a\n");
    assert_int_equal(stage->host.ended[0].cls, GB_CLASS_SERVICE);
    assert_true(stage->host.ended[0].latency >= apr_time_from_msec(200));
    await_left(1);
    leave();
}

static void silence_in_the_middle_is_told(void **state)
{
    (void)state;
    prepare(2, "~say a", "+say b|stop", NULL);
    stage->call.settings->time_out = apr_time_from_msec(200);
    run();
    answered(200, "a\n!504 timeout");
    assert_int_equal(seen(), 1);
    leave();
}

static void a_model_may_have_its_own_time(void **state)
{
    static const gb_pair_t pairs[] = {
        {"other", "5"  },
        {"m",     "0.2"}
    };
    apr_time_t began;

    (void)state;
    prepare(1, "~", NULL, NULL);
    stage->call.settings->max_retries = 1;
    stage->call.settings->model_time_out = (gb_map_t){2, pairs};
    began = gb_mono_now();
    run();
    answered(504, "error 504 timeout");
    assert_true(gb_mono_now() - began < apr_time_from_sec(3));
    leave();
}

static void the_first_token_has_a_deadline(void **state)
{
    (void)state;
    prepare(2, "~think", "+say a|stop", NULL);
    stage->call.settings->time_out_first_token = apr_time_from_msec(200);
    run();
    answered(200, "a\n");
    assert_int_equal(stage->host.ended[0].cls, GB_CLASS_SERVICE);
    leave();
}

static void after_the_first_token_it_has_none(void **state)
{
    (void)state;
    prepare(2, "~say a", NULL, NULL);
    stage->call.settings->time_out_first_token = apr_time_from_msec(100);
    stage->call.settings->time_out = apr_time_from_msec(500);
    run();
    answered(200, "a\n!504 timeout");
    assert_true(stage->host.ended[0].latency >= apr_time_from_msec(500));
    leave();
}

static void the_whole_call_has_a_deadline(void **state)
{
    static const char *const scripts[] = {"~", "~say a", UNAVAILABLE};
    static const char *const texts[] = {"error 504 timeout The call took longer", "a\n!504 timeout",
                                        "error 504 timeout"};
    size_t i;

    for (i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        prepare(1, scripts[i], NULL, NULL);
        stage->call.settings->max_retries = 20;
        stage->call.settings->time_out_total = apr_time_from_msec(300);
        run();
        answered(i == 1 ? 200 : 504, texts[i]);
        assert_int_equal(stage->host.reports[0].cls,
                         i == 1 ? GB_CLASS_CANCELLED : GB_CLASS_SERVICE);
        leave();
        finish(state);
        begin(state);
    }
}

/* ---- several answers that make one ---- */

static void a_fan_out_is_merged(void **state)
{
    (void)state;
    prepare(2, "+say a|stop", NULL, NULL);
    stage->call.plan->stream = stage->call.plan->upstream_stream = 0;
    stage->call.plan->fan_out = 3;
    run();
    answered(200, "a\na\na\n[done]\n");
    assert_int_equal(seen(), 3);
    assert_int_equal(stage->host.n_reports, 3);
    assert_int_equal(summary()->attempts, 3);
    leave();
}

static void one_failure_fails_the_fan_out(void **state)
{
    (void)state;
    prepare(3, BAD_REQUEST, "~", NULL);
    stage->call.plan->stream = stage->call.plan->upstream_stream = 0;
    stage->call.plan->fan_out = 3;
    run();
    answered(400, "error 400 invalid_value");
    assert_int_equal(stage->host.n_reports, 3);
    leave();
}

static void refuse_the_field(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    if (strcmp(req->body, "ask") == 0) {
        up_rest(c, 50); /* until all legs have been sent with it */
        up_answer(c, 400, "application/json", &BAD_FIELD[4]);
    }
    else {
        up_answer(c, 200, NULL, "say a\nstop\n");
    }
}

/* The first leg drops it, the others need not do it again. */
static void a_fan_out_drops_a_field_for_all(void **state)
{
    up_t *up = up_start(refuse_the_field, NULL);

    (void)state;
    fake_host_init(&stage->host, 3);
    fake_call_make(&stage->call, engine, up_url(up), &stage->host);
    stage->call.settings->max_retries = 1;
    stage->call.plan->stream = stage->call.plan->upstream_stream = 0;
    stage->call.plan->fan_out = 3;
    run();
    answered(200, "a\na\na\n[done]\n");
    assert_int_equal(up_requests(up), 6);
    leave();
    up_stop(up);
}

/* A retired model's place is taken by one that needs three calls, and there is no key for all of them. */
static void another_model_may_find_no_key(void **state)
{
    int at;

    for (at = 2; at <= 4; at++) {
        prepare(8, "404 {\"error\":{\"code\":404,\"message\":\"gone\",\"status\":\"NOT_FOUND\"}}",
                "~", NULL);
        stage->call.plan->stream = stage->call.plan->upstream_stream = 0;
        stage->call.plan->other_model = "m2";
        stage->call.plan->fan_out_later = 3;
        stage->host.refusal = (fake_refusal_t){.at = at, .times = 1, .rc = 429};
        run();
        answered(429, "error 429 no_keys");
        fake_in_engine(engine, nothing, NULL);
        assert_int_equal(stage->host.picks, at); /* nothing goes on after the end */
        assert_true(fake_host_balanced(&stage->host));
        fake_call_end(&stage->call);
        finish(state);
        begin(state);
    }
}

/* ---- the client leaves ---- */

static void cancelling_a_running_call(void **state)
{
    static const char *const scripts[] = {"~", "~think", "~say a"};
    size_t i;

    for (i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        prepare(2, scripts[i], NULL, NULL);
        start();
        await_seen(1);
        if (i == 2) {
            assert_true(fake_sink_wait_data(&stage->call.sink, 2, 5000));
        }
        gb_exchange_cancel(stage->call.x);
        gb_exchange_cancel(stage->call.x);
        await();
        assert_true(APR_STATUS_IS_ECONNABORTED(stage->call.sink.rv));
        await_left(1);
        assert_int_equal(stage->host.reports[0].cls, GB_CLASS_CANCELLED);
        assert_string_equal(summary()->outcome, "cancelled");
        leave();
        finish(state);
        begin(state);
    }
}

static void cancelling_at_once(void **state)
{
    (void)state;
    prepare(2, "~", NULL, NULL);
    start();
    gb_exchange_cancel(stage->call.x);
    await();
    assert_true(APR_STATUS_IS_ECONNABORTED(stage->call.sink.rv));
    gb_exchange_cancel(stage->call.x); /* harmless later */
    gb_exchange_wake(stage->call.x);
    leave();
}

static void cancelling_while_nothing_runs(void **state)
{
    int backoff;

    for (backoff = 0; backoff < 2; backoff++) {
        prepare(1, UNAVAILABLE, NULL, NULL);
        if (!backoff) {
            stage->host.refusal = (fake_refusal_t){
                .at = 1, .times = 1000, .rc = GB_PICK_WAIT, .wait = 10000000};
        }
        start();
        if (backoff) {
            await_seen(1);
            usleep(60000);
        }
        gb_exchange_cancel(stage->call.x);
        await();
        assert_true(APR_STATUS_IS_ECONNABORTED(stage->call.sink.rv));
        assert_int_equal(stage->call.sink.begun, 0);
        assert_int_equal(stage->host.n_ended, backoff);
        leave();
        finish(state);
        begin(state);
    }
}

static void a_sink_that_breaks_ends_the_call(void **state)
{
    (void)state;
    prepare(2, "~say a|say b", NULL, NULL);
    stage->call.sink.room = 3;
    stage->call.sink.breaks = ECONNRESET;
    run();
    assert_int_equal(stage->call.sink.rv, ECONNRESET);
    await_left(1);
    assert_int_equal(stage->host.reports[0].cls, GB_CLASS_CANCELLED);
    leave();
}

/* ---- a slow client ---- */

static void pour(void *baton, up_conn_t *c, const up_request_t *req)
{
    atomic_llong *sent = baton;
    char line[1005];
    int i;

    (void)req;
    memset(line, 'x', sizeof(line));
    memcpy(line, "say ", 4);
    line[sizeof(line) - 1] = '\n';
    up_chunks_begin(c, 200, NULL);
    for (i = 0; i < 30000 && up_chunk(c, line, sizeof(line)); i++) {
        atomic_fetch_add(sent, sizeof(line));
    }
    up_chunk(c, "stop\n", 5);
    up_chunks_end(c);
}

static void a_slow_client_slows_the_upstream(void **state)
{
    static const size_t whole = 30000 * 1001 + 7;
    atomic_llong sent = 0;
    up_t *up = up_start(pour, &sent);
    long long before;
    size_t len = 0;

    (void)state;
    fake_host_init(&stage->host, 1);
    fake_call_make(&stage->call, engine, up_url(up), &stage->host);
    stage->call.settings->time_out = apr_time_from_msec(300);
    stage->call.sink.room = 10000;
    start();
    assert_true(fake_sink_wait_data(&stage->call.sink, 10000, 5000));
    usleep(700000); /* longer than TIME_OUT: the silence is the client's */
    before = atomic_load(&sent);
    assert_true(before < 20 << 20);
    usleep(50000);
    assert_true(atomic_load(&sent) == before);
    assert_int_equal(fake_sink_len(&stage->call.sink), 10000);
    while (len < 200000) { /* a little at a time */
        fake_sink_room(&stage->call.sink, 5000);
        gb_exchange_wake(stage->call.x);
        len += 5000;
        assert_true(fake_sink_wait_data(&stage->call.sink, 10000 + len, 5000));
    }
    fake_sink_room(&stage->call.sink, (size_t)-1);
    gb_exchange_wake(stage->call.x);
    assert_true(fake_sink_wait(&stage->call.sink, 20000));
    assert_int_equal(stage->call.sink.rv, APR_SUCCESS);
    assert_int_equal(stage->call.sink.data.len, whole);
    assert_string_equal(got() + whole - 7, "[done]\n");
    leave();
    up_stop(up);
}

static void pour_one_line(void *baton, up_conn_t *c, const up_request_t *req)
{
    size_t len = *(size_t *)baton;
    char *line = malloc(len + 5);

    (void)req;
    memcpy(line, "say ", 4);
    memset(line + 4, 'z', len);
    line[len + 4] = '\n';
    up_chunks_begin(c, 200, NULL);
    up_chunk(c, line, len + 5);
    up_chunk(c, "say end\n", 8); /* what keeps the answer open while the client takes the line */
    up_rest(c, 20000);
    free(line);
}

static void engine_time(void *baton)
{
    struct timespec at;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    *(double *)baton = (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* What the engine's thread does for a client that takes a line of so many bytes in small pieces. */
static double cost_of(size_t len)
{
    up_t *up = up_start(pour_one_line, &len);
    double before, after;
    size_t had = 1;

    fake_host_init(&stage->host, 1);
    fake_call_make(&stage->call, engine, up_url(up), &stage->host);
    stage->call.sink.room = 1;
    start();
    assert_true(fake_sink_wait_data(&stage->call.sink, 1, 10000));
    fake_in_engine(engine, engine_time, &before);
    while (had < len) {
        had += 70000;
        fake_sink_room(&stage->call.sink, 70000);
        gb_exchange_wake(stage->call.x);
        assert_true(fake_sink_wait_data(&stage->call.sink, had < len ? had : len, 10000));
    }
    fake_in_engine(engine, engine_time, &after);
    gb_exchange_cancel(stage->call.x);
    await();
    leave();
    atomic_store(&fake_calls_freed, 0);
    up_stop(up);
    return after - before;
}

static void a_large_piece_costs_what_it_is_worth(void **state)
{
    double small = cost_of(8 << 20), large = cost_of(32 << 20);

    (void)state;
    assert_true(large < 12 * small);
}

static void a_client_too_slow_for_the_whole_call(void **state)
{
    atomic_llong sent = 0;
    up_t *up = up_start(pour, &sent);

    (void)state;
    fake_host_init(&stage->host, 1);
    fake_call_make(&stage->call, engine, up_url(up), &stage->host);
    stage->call.settings->time_out_total = apr_time_from_msec(400);
    stage->call.sink.room = 10000;
    start();
    assert_true(fake_sink_wait_data(&stage->call.sink, 10000, 5000));
    usleep(600000);
    assert_int_equal(stage->call.sink.ended, 0); /* it may still take the error */
    fake_sink_room(&stage->call.sink, (size_t)-1);
    gb_exchange_wake(stage->call.x);
    await();
    assert_non_null(strstr(got(), "!504 timeout"));
    assert_int_equal(stage->host.reports[0].cls, GB_CLASS_CANCELLED); /* no fault of the key */
    leave();
    up_stop(up);
}

static void a_sink_may_not_be_ready_for_the_head(void **state)
{
    (void)state;
    prepare(1, "~say a", NULL, NULL);
    stage->call.sink.refuses_head = 2;
    start();
    await_seen(1);
    usleep(50000);
    gb_exchange_wake(stage->call.x);
    usleep(20000);
    assert_int_equal(stage->call.sink.begun, 0);
    gb_exchange_wake(stage->call.x);
    assert_true(fake_sink_wait_data(&stage->call.sink, 2, 5000));
    gb_exchange_cancel(stage->call.x);
    await();
    leave();
}

/* ---- the child stops ---- */

static void calls_run_on_until_the_drain_is_over(void **state)
{
    static const char *const scripts[] = {"~", "~say a"};
    static const char *const texts[] = {"error 503 server_shutdown", "a\n!503 server_shutdown"};
    size_t i;

    for (i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        apr_time_t began;

        prepare(1, scripts[i], NULL, NULL);
        start();
        await_seen(1);
        began = gb_mono_now();
        atomic_store(&stopping, 1);
        await();
        assert_true(gb_mono_now() - began >= apr_time_from_msec(900));
        answered(i ? 200 : 503, texts[i]);
        assert_int_equal(stage->host.reports[0].cls, GB_CLASS_CANCELLED);
        leave();
        finish(state);
        begin(state);
    }
}

static void ask_stopping(void *baton)
{
    *(int *)baton = gb_engine_is_stopping(engine);
}

static void await_stopping(int far)
{
    int is = 0;

    atomic_store(&stopping, 1);
    while (is < far) {
        usleep(5000);
        fake_in_engine(engine, ask_stopping, &is);
    }
}

/* Its request came slowly, and there is nobody left who would end it. */
static void a_call_that_comes_after_the_drain_is_refused(void **state)
{
    (void)state;
    prepare(1, "~", NULL, NULL);
    await_stopping(2);
    run();
    answered(503, "error 503 server_shutdown");
    assert_int_equal(seen(), 0);
    assert_int_equal(stage->host.picks, 0);
    leave();
}

typedef struct told_t {
    gb_teller_t teller;
    int started, ended;
} told_t;

static void teller_start(gb_teller_t *teller, gb_exchange_t *x)
{
    ((told_t *)teller)->started++;
    gb_exchange_give(x, "first", 5);
}

static void teller_end(gb_teller_t *teller)
{
    ((told_t *)teller)->ended++;
}

static void an_event_stream_that_comes_while_stopping_ends_at_once(void **state)
{
    told_t told = {
        .teller = {teller_start, teller_end}
    };

    (void)state;
    prepare(1, "~", NULL, NULL);
    stage->call.conf.teller = &told.teller;
    stage->call.plan->stream_type = "text/event-stream";
    await_stopping(2);
    run();
    answered(200, "first");
    assert_int_equal(told.started, 1);
    assert_int_equal(told.ended, 1);
    leave();
}

static void the_end_of_the_engine_ends_all(void **state)
{
    static const char *const scripts[] = {"~", "~say a"};
    int i;

    for (i = 0; i < 4; i++) {
        int slow = i & 1;

        prepare(1, scripts[i / 2], NULL, NULL);
        stage->call.sink.room = slow ? 0 : (size_t)-1;
        start();
        await_seen(1);
        usleep(20000);
        gb_engine_stop(engine);
        engine = NULL;
        assert_true(fake_sink_wait(&stage->call.sink, 1));
        assert_int_equal(stage->call.sink.rv, slow ? APR_EOF : APR_SUCCESS);
        gb_exchange_cancel(stage->call.x);
        leave();
        finish(state);
        begin(state);
    }
}

static void after_the_end_nothing_starts(void **state)
{
    (void)state;
    prepare(1, "~", NULL, NULL);
    gb_engine_stop(engine);
    stage->call.x = gb_exchange_make(engine, &stage->call.conf, stage->call.plan, stage->call.pool);
    assert_true(APR_STATUS_IS_EOF(gb_exchange_start(stage->call.x, &stage->call.sink.sink)));
    engine = NULL;
    assert_int_equal(stage->call.sink.started, 0);
    fake_call_end(&stage->call);
    assert_int_equal(atomic_load(&fake_calls_freed), 1);
}

/* ---- proxies ---- */

/* The same key always takes the same one, and all of them are used. */
static void keys_have_their_proxy(void **state)
{
    up_t *proxies[3];
    const char *items[3];
    int i, n = 0;

    for (i = 0; i < 3; i++) {
        proxies[i] = up_start(play, NULL);
        items[i] = up_url(proxies[i]);
    }
    for (i = 0; i < 24; i++) {
        int before[3], j, used = 0;

        prepare(12, "+say a|stop", NULL, NULL);
        stage->host.next = i / 2; /* each key twice */
        stage->call.settings->base_url = "http://upstream.invalid";
        stage->call.settings->proxies = (gb_list_t){3, items};
        for (j = 0; j < 3; j++) {
            before[j] = up_requests(proxies[j]);
        }
        run();
        answered(200, "a\n");
        for (j = 0; j < 3; j++) {
            used |= (up_requests(proxies[j]) > before[j]) << j;
        }
        if (i % 2) {
            assert_int_equal(used, n);
        }
        n = used;
        leave();
        atomic_store(&fake_calls_freed, 0);
    }
    for (i = 0; i < 3; i++) {
        assert_true(up_requests(proxies[i]) > 0);
        up_stop(proxies[i]);
    }
    (void)state;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(streams_an_answer),
        CASE(the_key_travels_in_one_header),
        CASE(a_whole_answer_has_its_length),
        CASE(a_collected_stream_can_be_retried_to_its_end),
        CASE(headers_of_the_upstream_are_chosen),
        CASE(other_framings),
        CASE(calls_share_connections),
        CASE(what_is_tried_again),
        CASE(service_faults_wait_before_the_next),
        CASE(no_retry_after_the_first_byte),
        CASE(a_refused_field_is_dropped_once),
        CASE(a_field_may_be_refused_after_a_stale_connection),
        CASE(a_field_refused_again_is_the_clients),
        CASE(what_follows_a_dropped_field_is_retried_as_ever),
        CASE(the_pool_may_say_wait),
        CASE(a_lone_key_may_have_to_wait_too),
        CASE(the_pool_says_why_there_is_none),
        CASE(whose_word_counts),
        CASE(the_upstreams_own_body_goes_along_without_the_key),
        CASE(silence_is_tried_again),
        CASE(silence_in_the_middle_is_told),
        CASE(a_model_may_have_its_own_time),
        CASE(the_first_token_has_a_deadline),
        CASE(after_the_first_token_it_has_none),
        CASE(the_whole_call_has_a_deadline),
        CASE(a_fan_out_is_merged),
        CASE(one_failure_fails_the_fan_out),
        CASE(a_fan_out_drops_a_field_for_all),
        CASE(another_model_may_find_no_key),
        CASE(cancelling_a_running_call),
        CASE(cancelling_at_once),
        CASE(cancelling_while_nothing_runs),
        CASE(a_sink_that_breaks_ends_the_call),
        CASE(a_slow_client_slows_the_upstream),
        CASE(a_large_piece_costs_what_it_is_worth),
        CASE(a_client_too_slow_for_the_whole_call),
        CASE(a_sink_may_not_be_ready_for_the_head),
        CASE(calls_run_on_until_the_drain_is_over),
        CASE(a_call_that_comes_after_the_drain_is_refused),
        CASE(an_event_stream_that_comes_while_stopping_ends_at_once),
        CASE(the_end_of_the_engine_ends_all),
        CASE(after_the_end_nothing_starts),
        CASE(keys_have_their_proxy),
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
