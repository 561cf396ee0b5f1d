/* SPDX-License-Identifier: Apache-2.0 */
/* One call on libcurl: what goes out, what comes back, and every way to end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <curl/curl.h>

#include "base/timeutil.h"
#include "upstream/call.h"

#include "fake_exchange.h"
#include "fake_upstream.h"

static apr_pool_t *pool;
static gb_engine_t *engine;

/* ---- a call that writes down what happens to it ---- */

typedef struct note_t note_t;

struct note_t {
    gb_call_t *call;
    gb_call_conf_t conf;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t cond;
    int heads, dones;
    int status;
    char type[64];
    char extra[64]; /* the answer's X-Extra */
    const apr_table_t *headers;
    apr_interval_time_t retry_after;
    gb_buf_t data;
    gb_transport_t transport;
    char detail[300];

    /* what to do from inside the callbacks */
    int cancel_at_head, cancel_at_data, pause_at_data;
    note_t *cancels; /* another call, at the first data */
};

#define SIPPED ((size_t)24 << 20)

static const char *const no_headers[] = {NULL};

static void note_init(note_t *note, const char *url)
{
    memset(note, 0, sizeof(*note));
    pthread_mutex_init(&note->lock, NULL);
    pthread_cond_init(&note->cond, NULL);
    gb_buf_init_pool(&note->data, 64 << 20, pool);
    note->conf.method = "GET";
    note->conf.url = url;
    note->conf.headers = no_headers;
    note->conf.connect_timeout = apr_time_from_sec(2);
    note->conf.silence = apr_time_from_sec(5);
}

static void note_cancel(note_t *note)
{
    if (note->call) {
        gb_call_cancel(note->call);
        note->call = NULL;
    }
}

static void on_head(void *baton, const gb_call_head_t *head)
{
    note_t *note = baton;
    const char *extra = apr_table_get(head->headers, "x-extra");

    pthread_mutex_lock(&note->lock);
    note->heads++;
    note->status = head->status;
    note->retry_after = head->retry_after;
    apr_cpystrn(note->type, head->content_type, sizeof(note->type));
    apr_cpystrn(note->extra, extra ? extra : "", sizeof(note->extra));
    note->headers = head->headers;
    pthread_mutex_unlock(&note->lock);
    if (note->cancel_at_head) {
        note_cancel(note);
    }
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    note_t *note = baton;

    pthread_mutex_lock(&note->lock);
    gb_buf_append(&note->data, bytes, len);
    pthread_cond_broadcast(&note->cond);
    pthread_mutex_unlock(&note->lock);
    if (note->cancels) {
        note_cancel(note->cancels);
        note->cancels = NULL;
    }
    if (note->pause_at_data) {
        note->pause_at_data = 0;
        gb_call_pause(note->call);
    }
    if (note->cancel_at_data) {
        note_cancel(note);
    }
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    note_t *note = baton;

    pthread_mutex_lock(&note->lock);
    note->call = NULL;
    note->dones++;
    note->transport = transport;
    apr_cpystrn(note->detail, detail, sizeof(note->detail));
    pthread_cond_broadcast(&note->cond);
    pthread_mutex_unlock(&note->lock);
}

static const gb_call_events_t events = {on_head, on_data, on_done};

static void start(void *baton)
{
    note_t *note = baton;

    note->call = gb_call_start(engine, &note->conf, &events, note, pool);
}

static void cancel(void *baton)
{
    note_cancel(baton);
}

static void go_on(void *baton)
{
    note_t *note = baton;

    if (note->call) {
        gb_call_resume(note->call);
    }
}

static void go_on_until_data(void *baton)
{
    note_t *note = baton;

    note->cancel_at_data = 1;
    go_on(baton);
}

static void hold(void *baton)
{
    note_t *note = baton;

    if (note->call) {
        gb_call_pause(note->call);
    }
}

static void begin_call(note_t *note)
{
    fake_in_engine(engine, start, note);
}

/* Waits for done, or for some data. */
static int wait_for(note_t *note, int for_data, int ms)
{
    apr_time_t until = gb_mono_now() + apr_time_from_msec(ms);
    int there = 0;

    while (!there && gb_mono_now() < until) {
        pthread_mutex_lock(&note->lock);
        there = for_data ? note->data.len > 0 : note->dones;
        pthread_mutex_unlock(&note->lock);
        if (!there) {
            usleep(500);
        }
    }
    return there;
}

static void whole_call(note_t *note)
{
    begin_call(note);
    assert_true(wait_for(note, 0, 5000));
    assert_int_equal(note->dones, 1);
}

static size_t data_len(note_t *note)
{
    size_t len;

    pthread_mutex_lock(&note->lock);
    len = note->data.len;
    pthread_mutex_unlock(&note->lock);
    return len;
}

static int begin(void **state)
{
    gb_engine_conf_t conf = {.user_agent = "gbalance/test", .drain = 0};

    (void)state;
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
    apr_pool_destroy(pool);
    return 0;
}

/* ---- what goes out ---- */

/* Answers with the request as it came. */
static void echo(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    up_printf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
              strlen(req->head) + req->body_len);
    up_put(c, req->head);
    up_send(c, req->body, req->body_len);
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

static void sends_what_it_was_told(void **state)
{
    static const char *const headers[] = {"x-goog-api-key: sesame",
                                          "Content-Type: application/json", "X-One: two", NULL};
    up_t *up = up_start(echo, NULL);
    note_t note;

    (void)state;
    note_init(&note, apr_pstrcat(pool, up_url(up), "/a/b?c=d", NULL));
    note.conf.method = "POST";
    note.conf.headers = headers;
    note.conf.body = "{\"n\":\0\"}";
    note.conf.body_len = 8;
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_OK);
    assert_int_equal(note.status, 200);
    assert_int_equal(strncmp(note.data.data, "POST /a/b?c=d HTTP/1.1\r\n", 24), 0);
    assert_int_equal(times(note.data.data, "content-type:"), 1);
    assert_int_equal(times(note.data.data, "content-length: 8\r\n"), 1);
    assert_int_equal(times(note.data.data, "x-goog-api-key: sesame\r\n"), 1);
    assert_int_equal(times(note.data.data, "user-agent: gbalance/test\r\n"), 1);
    assert_int_equal(times(note.data.data, "expect:"), 0);
    assert_int_equal(times(note.data.data, "accept-encoding: identity\r\n"), 1);
    assert_memory_equal(note.data.data + note.data.len - 8, "{\"n\":\0\"}", 8);
    up_stop(up);
}

/* A handle is used again and again: nothing of a call may be left in the next one. */
static void the_next_call_starts_clean(void **state)
{
    static const char *const headers[] = {"X-Secret: one", "Content-Type: text/x", NULL};
    up_t *up = up_start(echo, NULL);
    note_t post, get, bare, del, again;

    (void)state;
    note_init(&post, up_url(up));
    post.conf.method = "POST";
    post.conf.headers = headers;
    post.conf.body = "first body";
    post.conf.body_len = 10;
    whole_call(&post);

    note_init(&get, up_url(up));
    whole_call(&get);
    assert_int_equal(strncmp(get.data.data, "GET / ", 6), 0);
    assert_int_equal(times(get.data.data, "x-secret"), 0);
    assert_int_equal(times(get.data.data, "content-"), 0);
    assert_int_equal(times(get.data.data, "body"), 0);

    note_init(&bare, up_url(up));
    bare.conf.method = "POST";
    whole_call(&bare);
    assert_int_equal(strncmp(bare.data.data, "POST / ", 7), 0);
    assert_int_equal(times(bare.data.data, "content-length: 0\r\n"), 1);
    assert_int_equal(times(bare.data.data, "content-type"), 0);

    note_init(&del, up_url(up));
    del.conf.method = "DELETE";
    whole_call(&del);
    assert_int_equal(strncmp(del.data.data, "DELETE / ", 9), 0);
    assert_int_equal(times(del.data.data, "content-"), 0);

    note_init(&again, up_url(up));
    whole_call(&again);
    assert_int_equal(strncmp(again.data.data, "GET / ", 6), 0);
    assert_int_equal(up_connections(up), 1); /* and the connection too */
    up_stop(up);
}

static void large_bodies_go_both_ways(void **state)
{
    up_t *up = up_start(echo, NULL);
    size_t len = 3 << 20, i;
    char *body = apr_palloc(pool, len);
    note_t note;

    (void)state;
    for (i = 0; i < len; i++) {
        body[i] = (char)('a' + i % 23);
    }
    note_init(&note, up_url(up));
    note.conf.method = "POST";
    note.conf.body = body;
    note.conf.body_len = len;
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_OK);
    assert_true(note.data.len > len);
    assert_memory_equal(note.data.data + note.data.len - len, body, len);
    up_stop(up);
}

/* ---- answers of all kinds ---- */

typedef struct answer_t {
    const char *name;
    const char *text; /* the bytes as they come; then the connection closes */
    int status;
    const char *type;
    const char *body;
    gb_transport_t transport;
    apr_interval_time_t retry_after;
} answer_t;

static const answer_t answers[] = {
    {"plain",              "HTTP/1.1 200 OK\r\nContent-Type: a/b; c=d\r\nContent-Length: 3\r\n\r\nabc", 200,
     "a/b; c=d",                                                                                                    "abc", GB_TRANSPORT_OK,    -1            },
    {"empty",              "HTTP/1.1 204 No\r\n\r\n",                                                   204, "",    "",    GB_TRANSPORT_OK,    -1            },
    {"lower case",         "HTTP/1.1 200 OK\r\ncontent-type:x/y\r\ncontent-length:1\r\n\r\nz",          200, "x/y",
     "z",                                                                                                                  GB_TRANSPORT_OK,    -1            },
    {"chunked",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
     "t/s\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n",                                                   200, "t/s", "abc", GB_TRANSPORT_OK,    -1            },
    {"trailers",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Type: "
     "evil\r\n\r\n",                                                                                    200, "",    "x",   GB_TRANSPORT_OK,    -1            },
    {"until it closes",    "HTTP/1.1 200 OK\r\nContent-Type: t/s\r\n\r\nall of it",                     200, "t/s",
     "all of it",                                                                                                          GB_TRANSPORT_OK,    -1            },
    {"HTTP/1.0",           "HTTP/1.0 200 OK\r\nContent-Type: t/s\r\n\r\nold",                           200, "t/s", "old",
     GB_TRANSPORT_OK,                                                                                                                          -1            },
    {"continue",
     "HTTP/1.1 100 Continue\r\nContent-Type: no\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
     "2\r\n\r\nok",                                                                                     200, "",    "ok",  GB_TRANSPORT_OK,    -1            },
    {"early hints",
     "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Type: e/r\r\nContent-Length: "
     "2\r\n\r\nno",                                                                                     404, "e/r", "no",  GB_TRANSPORT_OK,    -1            },
    {"redirect",           "HTTP/1.1 302 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",      302, "",
     "",                                                                                                                   GB_TRANSPORT_OK,    -1            },
    {"retry after",        "HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n",         429, "",
     "",                                                                                                                   GB_TRANSPORT_OK,    17000000      },
    {"retry after a date",
     "HTTP/1.1 429 Slow\r\nRetry-After: Wed, 1 Jan\r\nContent-Length: 0\r\n\r\n",                       429, "",    "",
     GB_TRANSPORT_OK,                                                                                                                          -1            },
    {"retry never",
     "HTTP/1.1 429 S\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",                429, "",
     "",                                                                                                                   GB_TRANSPORT_OK,    31536000000000},
    {"cut",                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",                          200, "",    "abc", GB_TRANSPORT_RESET,
     -1                                                                                                                                                      },
    {"cut chunk",          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",             200, "",    "abc",
     GB_TRANSPORT_RESET,                                                                                                                       -1            },
    {"cut between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",         200,
     "",                                                                                                            "abc", GB_TRANSPORT_RESET, -1            },
    {"cut head",           "HTTP/1.1 200 OK\r\nContent-Le",                                             0,   "",    "",    GB_TRANSPORT_RESET, -1            },
    {"nothing",            "",                                                                          0,   "",    "",    GB_TRANSPORT_RESET, -1            },
    {"no HTTP",            "hello, who is there?\n",                                                    0,   "",    "",    GB_TRANSPORT_RESET, -1            },
};

static void say(void *baton, up_conn_t *c, const up_request_t *req)
{
    const answer_t *answer = baton;

    (void)req;
    up_put(c, answer->text);
    up_close(c);
}

static void reads_all_kinds_of_answers(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        const answer_t *answer = &answers[i];
        up_t *up = up_start(say, (void *)answer);
        note_t note;

        note_init(&note, up_url(up));
        whole_call(&note);
        if (note.transport != answer->transport || note.status != answer->status) {
            print_error("%s: transport %d, status %d, %s\n", answer->name, note.transport,
                        note.status, note.detail);
        }
        assert_int_equal(note.transport, answer->transport);
        assert_int_equal(note.status, answer->status);
        assert_int_equal(note.heads, answer->status != 0);
        assert_string_equal(note.type, answer->type);
        assert_string_equal(note.data.data ? note.data.data : "", answer->body);
        if (answer->status) {
            assert_int_equal(note.retry_after, answer->retry_after);
        }
        up_stop(up);
    }
}

/* What httpd would refuse to send on is left out, and what comes behind the body is no header. */
static void keeps_headers_that_can_be_handed_on(void **state)
{
    static const answer_t answer = {
        .text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Extra: fold\r\n X-In: it\r\n"
                "Not A Token: 1\r\nX-Control: a\001b\r\n: nameless\r\nX-Tab: a\tb\r\n"
                "X-Latin: \xe9\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: late\r\n\r\n"};
    up_t *up = up_start(say, (void *)&answer);
    note_t note;

    (void)state;
    note_init(&note, up_url(up));
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_OK);
    assert_string_equal(note.extra, "fold");
    assert_string_equal(apr_table_get(note.headers, "X-Tab"), "a\tb");
    assert_string_equal(apr_table_get(note.headers, "X-Latin"), "\xe9");
    assert_int_equal(apr_table_elts(note.headers)->nelts, 4);
    up_stop(up);
}

/* ---- how calls fail ---- */

static void reset(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    (void)req;
    up_chunks_begin(c, 200, NULL);
    up_chunk(c, "abc", 3);
    up_rest(c, 50);
    up_reset(c);
}

static void a_reset_is_told(void **state)
{
    up_t *up = up_start(reset, NULL);
    note_t note;

    (void)state;
    note_init(&note, up_url(up));
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_RESET);
    assert_string_equal(note.data.data, "abc");
    assert_true(note.detail[0]);
    up_stop(up);
}

static void tunnel_refused(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    (void)req;
    up_answer(c, 407, NULL, "who are you?");
    up_close(c);
}

/* Answers whatever comes, a TLS hello for one, with a sentence. */
static void *no_tls_main(void *data)
{
    int fd = *(int *)data;
    int peer = accept(fd, NULL, NULL);
    char hello[1024];

    if (recv(peer, hello, sizeof(hello), 0) > 0) {
        send(peer, "this is no TLS\r\n", 16, MSG_NOSIGNAL);
    }
    close(peer);
    return NULL;
}

static int listen_anywhere(int *fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    *fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(*fd, 1), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static void no_tls_is_told(void **state)
{
    pthread_t thread;
    int fd, port = listen_anywhere(&fd);
    note_t note;

    (void)state;
    pthread_create(&thread, NULL, no_tls_main, &fd);
    note_init(&note, apr_psprintf(pool, "https://127.0.0.1:%d", port));
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_TLS);
    pthread_join(thread, NULL);
    close(fd);
}

static void what_cannot_start_is_told(void **state)
{
    up_t *up = up_start(echo, NULL);
    up_t *proxy = up_start(tunnel_refused, NULL);
    const struct {
        const char *url, *proxy;
        gb_transport_t transport;
    } cases[] = {
        {"http://127.0.0.1:9",           NULL,                   GB_TRANSPORT_CONNECT   },
        {"http://no-such-host.invalid/", NULL,                   GB_TRANSPORT_CONNECT   },
 /* waits for a request's end while curl waits for its TLS: the deadline of connecting */
        {apr_psprintf(pool,              "https://127.0.0.1:%d", up_port(up)),            NULL, GB_TRANSPORT_TIMEOUT},
        {up_url(up),          "http://no-such-host.invalid:3128",                                GB_TRANSPORT_PROXY                                             },
        {"https://example.invalid/",            up_url(proxy),   GB_TRANSPORT_PROXY},
        {"ftp://127.0.0.1/",            NULL,                                GB_TRANSPORT_RESET                                                                                  },
        {"nonsense",            NULL,   GB_TRANSPORT_CONNECT},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        note_t note;

        note_init(&note, cases[i].url);
        note.conf.proxy = cases[i].proxy;
        note.conf.connect_timeout = apr_time_from_msec(500);
        whole_call(&note);
        if (note.transport != cases[i].transport) {
            print_error("%s: %d %s\n", cases[i].url, note.transport, note.detail);
        }
        assert_int_equal(note.transport, cases[i].transport);
        assert_int_equal(note.heads, 0);
    }
    up_stop(up);
    up_stop(proxy);
}

static void plain_through_a_proxy(void **state)
{
    up_t *proxy = up_start(echo, NULL);
    note_t via, direct;

    (void)state;
    note_init(&via, "http://upstream.invalid/x");
    via.conf.proxy = up_url(proxy);
    whole_call(&via);
    assert_int_equal(strncmp(via.data.data, "GET http://upstream.invalid/x ", 30), 0);
    note_init(&direct, "http://upstream.invalid/x");
    whole_call(&direct);
    assert_int_equal(direct.transport, GB_TRANSPORT_CONNECT); /* the proxy is forgotten */
    up_stop(proxy);
}

/* ---- URLs of strangers ---- */

static atomic_int guarded;
static int closed_port; /* nobody may be connected to there */

static int guard(void *baton, const struct sockaddr *addr)
{
    (void)baton;
    atomic_fetch_add(&guarded, 1);
    return addr->sa_family == AF_INET
           && ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port) != closed_port;
}

static void point_there(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)req;
    up_printf(c,
              "HTTP/1.1 302 Go\r\nLocation: %s/there\r\nContent-Type: no\r\n"
              "Content-Length: 5\r\n\r\nthere",
              (const char *)baton);
}

static void redirects_are_followed_where_allowed(void **state)
{
    up_t *there = up_start(echo, NULL);
    up_t *here = up_start(point_there, (void *)up_url(there));
    note_t note;
    int redirects;

    (void)state;
    closed_port = 0;
    for (redirects = 0; redirects < 2; redirects++) {
        atomic_store(&guarded, 0);
        note_init(&note, up_url(here));
        note.conf.redirects = redirects;
        note.conf.guard = guard;
        whole_call(&note);
        assert_int_equal(note.transport, GB_TRANSPORT_OK);
        assert_int_equal(note.heads, 1);
        assert_int_equal(note.status, redirects ? 200 : 302);
        assert_string_equal(note.type, redirects ? "text/plain" : "no");
        assert_int_equal(strncmp(note.data.data, redirects ? "GET /there " : "there", 5), 0);
        assert_true(atomic_load(&guarded) >= 1 + redirects);
    }
    note_init(&note, up_url(here)); /* the next user of the handle follows nothing */
    whole_call(&note);
    assert_int_equal(note.status, 302);
    up_stop(here);
    up_stop(there);
}

/* Neither at once, nor by a redirect, nor on a connection that somebody else has left open. */
static void nobody_gets_past_the_guard(void **state)
{
    up_t *closed = up_start(echo, NULL);
    up_t *here = up_start(point_there, (void *)up_url(closed));
    note_t warm, direct, led;

    (void)state;
    closed_port = up_port(closed);
    note_init(&direct, up_url(closed));
    direct.conf.guard = guard;
    whole_call(&direct);
    assert_int_equal(direct.transport, GB_TRANSPORT_CONNECT);
    assert_int_equal(up_connections(closed), 0);

    note_init(&warm, up_url(closed));
    whole_call(&warm);
    assert_int_equal(warm.transport, GB_TRANSPORT_OK);

    note_init(&direct, up_url(closed));
    direct.conf.guard = guard;
    whole_call(&direct);
    assert_int_equal(direct.transport, GB_TRANSPORT_CONNECT);

    note_init(&led, up_url(here));
    led.conf.guard = guard;
    led.conf.redirects = 3;
    whole_call(&led);
    assert_int_equal(led.transport, GB_TRANSPORT_CONNECT);
    assert_int_equal(led.heads, 0);
    assert_int_equal(up_requests(closed), 1);
    up_stop(here);
    up_stop(closed);
}

static void point_to_itself(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    (void)req;
    up_put(c, "HTTP/1.1 302 Go\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
}

static void redirects_have_an_end(void **state)
{
    up_t *up = up_start(point_to_itself, NULL);
    note_t note;

    (void)state;
    note_init(&note, up_url(up));
    note.conf.guard = guard;
    note.conf.redirects = 3;
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_RESET);
    assert_int_equal(up_requests(up), 4);
    up_stop(up);
}

/* ---- silence ---- */

static void stall(void *baton, up_conn_t *c, const up_request_t *req)
{
    const int *after_bytes = baton;

    (void)req;
    if (*after_bytes) {
        up_chunks_begin(c, 200, NULL);
        up_chunk(c, "a", 1);
        up_rest(c, 150);
        up_chunk(c, "b", 1);
    }
    up_rest(c, 10000);
}

static void silence_ends_a_call(void **state)
{
    int after_bytes;

    (void)state;
    for (after_bytes = 0; after_bytes < 2; after_bytes++) {
        up_t *up = up_start(stall, &after_bytes);
        apr_time_t began = gb_mono_now();
        note_t note;

        note_init(&note, up_url(up));
        note.conf.silence = apr_time_from_msec(300);
        whole_call(&note);
        assert_int_equal(note.transport, GB_TRANSPORT_TIMEOUT);
        assert_string_equal(note.data.data ? note.data.data : "", after_bytes ? "ab" : "");
        assert_true(gb_mono_now() - began >= apr_time_from_msec(after_bytes ? 450 : 300));
        assert_true(gb_mono_now() - began < apr_time_from_msec(2000));
        up_stop(up);
    }
}

static void pour(void *baton, up_conn_t *c, const up_request_t *req)
{
    static char bytes[65536];
    atomic_llong *sent = baton;
    int i;

    (void)req;
    memset(bytes, 'x', sizeof(bytes));
    up_printf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 512 * 65536);
    for (i = 0; i < 512 && up_send(c, bytes, sizeof(bytes)); i++) {
        atomic_fetch_add(sent, sizeof(bytes));
    }
}

/* Takes a large body in small pieces, but for what the system holds of it, then answers. */
static void *sip(void *data)
{
    int listener = *(int *)data, fd = accept(listener, NULL, NULL);
    static char piece[256 * 1024];
    size_t got = 0;
    ssize_t n = 1;

    while (n > 0 && got < SIPPED) {
        usleep(got < SIPPED / 2 ? 20000 : 0);
        n = recv(fd, piece, sizeof(piece), 0);
        got += n > 0 ? (size_t)n : 0;
    }
    (void)!write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40);
    close(fd);
    return NULL;
}

/* What is silent is the upstream, which has not even heard all of it. */
static void sending_is_no_silence(void **state)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0), small = 128 * 1024;
    pthread_t thread;
    note_t note;

    (void)state;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&addr, &len);
    pthread_create(&thread, NULL, sip, &listener);
    note_init(&note, apr_psprintf(pool, "http://127.0.0.1:%d/", ntohs(addr.sin_port)));
    note.conf.method = "POST";
    note.conf.body = memset(apr_palloc(pool, SIPPED), 'x', SIPPED);
    note.conf.body_len = SIPPED;
    note.conf.silence = apr_time_from_msec(400);
    whole_call(&note);
    assert_int_equal(note.transport, GB_TRANSPORT_OK);
    assert_string_equal(note.data.data, "ok");
    pthread_join(thread, NULL);
    close(listener);
}

static void a_paused_call_reads_no_more(void **state)
{
    atomic_llong sent = 0;
    up_t *up = up_start(pour, &sent);
    size_t held;
    note_t note;

    (void)state;
    note_init(&note, up_url(up));
    note.conf.silence = apr_time_from_msec(200);
    note.pause_at_data = 1;
    begin_call(&note);
    assert_true(wait_for(&note, 1, 2000));
    usleep(500000); /* longer than its silence: that is ours */
    held = data_len(&note);
    assert_true(held <= 32768);
    assert_true(atomic_load(&sent) < 20 << 20); /* kernel buffers only */
    assert_int_equal(note.dones, 0);
    fake_in_engine(engine, go_on, &note);
    assert_true(wait_for(&note, 0, 10000));
    assert_int_equal(note.transport, GB_TRANSPORT_OK);
    assert_int_equal(note.data.len, 512 * 65536);
    up_stop(up);
}

static void pausing_again_and_again_loses_nothing(void **state)
{
    atomic_llong sent = 0;
    up_t *up = up_start(pour, &sent);
    note_t note;
    int i;

    (void)state;
    note_init(&note, up_url(up));
    begin_call(&note);
    for (i = 0; i < 40; i++) {
        fake_in_engine(engine, hold, &note);
        usleep(i % 4 ? 0 : 3000);
        fake_in_engine(engine, go_on, &note);
        fake_in_engine(engine, go_on, &note);
    }
    assert_true(wait_for(&note, 0, 10000));
    assert_int_equal(note.transport, GB_TRANSPORT_OK);
    assert_int_equal(note.data.len, 512 * 65536);
    up_stop(up);
}

static void silence_counts_again_after_a_pause(void **state)
{
    int after_bytes = 1;
    up_t *up = up_start(stall, &after_bytes);
    note_t note;

    (void)state;
    note_init(&note, up_url(up));
    note.conf.silence = apr_time_from_msec(300);
    note.pause_at_data = 1;
    begin_call(&note);
    assert_true(wait_for(&note, 1, 2000));
    usleep(400000);
    assert_int_equal(note.dones, 0);
    fake_in_engine(engine, go_on, &note);
    assert_true(wait_for(&note, 0, 2000));
    assert_int_equal(note.transport, GB_TRANSPORT_TIMEOUT);
    up_stop(up);
}

/* ---- cancelling ---- */

static atomic_int peer_left;

static void drip(void *baton, up_conn_t *c, const up_request_t *req)
{
    const int *big = baton;
    static char bytes[40000];
    int i;

    (void)req;
    up_chunks_begin(c, 200, NULL);
    for (i = 0; i < 500; i++) {
        if (!(*big ? up_chunk(c, bytes, sizeof(bytes)) : up_chunk(c, "drip", 4))
            || !up_rest(c, 5)) {
            atomic_fetch_add(&peer_left, 1);
            return;
        }
    }
}

static void nothing(void *baton)
{
    (void)baton;
}

/* Waits for n of them, and for what the engine does at that moment. */
static void peers_leave(int n)
{
    apr_time_t until = gb_mono_now() + apr_time_from_sec(2);

    while (atomic_load(&peer_left) < n && gb_mono_now() < until) {
        usleep(1000);
    }
    assert_true(atomic_load(&peer_left) >= n);
    if (engine) {
        fake_in_engine(engine, nothing, NULL);
    }
}

static void cancelling_is_silent_and_closes(void **state)
{
    int small = 0, i;
    up_t *up = up_start(drip, &small);
    note_t note[4];

    (void)state;
    atomic_store(&peer_left, 0);
    for (i = 0; i < 4; i++) {
        note_init(&note[i], up_url(up));
    }
    note[1].cancel_at_head = 1;
    note[2].cancel_at_data = 1;
    for (i = 0; i < 4; i++) {
        begin_call(&note[i]);
    }
    fake_in_engine(engine, cancel, &note[3]); /* at once */
    assert_true(wait_for(&note[0], 1, 2000));
    fake_in_engine(engine, cancel, &note[0]);
    peers_leave(3);
    usleep(50000);
    assert_int_equal(atomic_load(&peer_left), up_requests(up));
    for (i = 0; i < 4; i++) {
        assert_int_equal(note[i].dones, 0);
        assert_null(note[i].call);
    }
    assert_int_equal(data_len(&note[1]), 0);
    assert_true(data_len(&note[2]) > 0);
    up_stop(up);
}

/* curl lets go of no handle while one of its callbacks runs. */
static void a_callback_may_cancel_another_call(void **state)
{
    int small = 0;
    up_t *up = up_start(drip, &small);
    note_t a, b, c;

    (void)state;
    atomic_store(&peer_left, 0);
    note_init(&b, up_url(up));
    begin_call(&b);
    assert_true(wait_for(&b, 1, 2000));
    note_init(&a, up_url(up));
    a.cancels = &b;
    begin_call(&a);
    peers_leave(1);
    assert_int_equal(b.dones, 0);
    note_init(&c, up_url(up)); /* may get b's handle */
    begin_call(&c);
    assert_true(wait_for(&c, 1, 2000));
    fake_in_engine(engine, cancel, &a);
    fake_in_engine(engine, cancel, &c);
    peers_leave(3);
    up_stop(up);
}

/* What curl held back while paused comes from inside resume: cancelling there must end it too. */
static void cancelling_while_resuming(void **state)
{
    int big = 1;
    up_t *up = up_start(drip, &big);
    note_t note;

    (void)state;
    atomic_store(&peer_left, 0);
    note_init(&note, up_url(up));
    note.pause_at_data = 1;
    begin_call(&note);
    assert_true(wait_for(&note, 1, 2000));
    usleep(50000); /* curl has more by now */
    fake_in_engine(engine, go_on_until_data, &note);
    peers_leave(1);
    assert_null(note.call);
    assert_int_equal(note.dones, 0);
    up_stop(up);
}

/* A resolver that hangs, in the place of libc's: curl runs it in a thread of its own. */
static atomic_int lookups, looked_up;

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **res)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (node && strcmp(node, "hangs.invalid") == 0) {
        atomic_fetch_add(&lookups, 1);
        usleep(1500000);
        atomic_fetch_add(&looked_up, 1);
        return EAI_AGAIN;
    }
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    }
    return real(node, service, hints, res);
}

static void cancelling_does_not_wait_for_the_resolver(void **state)
{
    apr_time_t began;
    note_t note;

    (void)state;
    note_init(&note, "http://hangs.invalid/");
    begin_call(&note);
    while (!atomic_load(&lookups)) {
        usleep(1000);
    }
    began = gb_mono_now();
    fake_in_engine(engine, cancel, &note);
    assert_true(gb_mono_now() - began < apr_time_from_msec(500));
    gb_engine_stop(engine);
    engine = NULL;
    assert_true(gb_mono_now() - began < apr_time_from_msec(1000));
    while (!atomic_load(&looked_up)) {
        usleep(1000);
    }
    usleep(100000);
}

/* ---- many ---- */

static void slow_or_not(void *baton, up_conn_t *c, const up_request_t *req)
{
    (void)baton;
    if (strcmp(req->path, "/slow") == 0) {
        up_rest(c, 1500);
    }
    up_answer(c, 200, NULL, "here");
}

static void calls_do_not_wait_for_each_other(void **state)
{
    up_t *up = up_start(slow_or_not, NULL);
    apr_time_t began = gb_mono_now();
    note_t note[5];
    int i;

    (void)state;
    for (i = 0; i < 5; i++) {
        note_init(&note[i], apr_pstrcat(pool, up_url(up), i ? "/" : "/slow", NULL));
        begin_call(&note[i]);
    }
    for (i = 1; i < 5; i++) {
        assert_true(wait_for(&note[i], 0, 1000));
    }
    assert_true(gb_mono_now() - began < apr_time_from_msec(1000));
    assert_true(wait_for(&note[0], 0, 3000));
    up_stop(up);
}

static void connections_are_used_again(void **state)
{
    up_t *up = up_start(echo, NULL);
    note_t note;
    int i;

    (void)state;
    for (i = 0; i < 20; i++) {
        note_init(&note, up_url(up));
        whole_call(&note);
        assert_int_equal(note.transport, GB_TRANSPORT_OK);
    }
    assert_int_equal(up_connections(up), 1);
    up_stop(up);
}

static void calls_that_run_hear_of_the_end(void **state)
{
    int small = 0, i;
    up_t *up = up_start(drip, &small);
    note_t note[3];

    (void)state;
    atomic_store(&peer_left, 0);
    for (i = 0; i < 3; i++) {
        note_init(&note[i], up_url(up));
        begin_call(&note[i]);
        assert_true(wait_for(&note[i], 1, 2000));
    }
    gb_engine_stop(engine);
    engine = NULL;
    for (i = 0; i < 3; i++) {
        assert_int_equal(note[i].dones, 1);
        assert_int_equal(note[i].transport, GB_TRANSPORT_CANCELLED);
    }
    peers_leave(3);
    up_stop(up);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sends_what_it_was_told),
        CASE(the_next_call_starts_clean),
        CASE(large_bodies_go_both_ways),
        CASE(reads_all_kinds_of_answers),
        CASE(keeps_headers_that_can_be_handed_on),
        CASE(a_reset_is_told),
        CASE(no_tls_is_told),
        CASE(what_cannot_start_is_told),
        CASE(plain_through_a_proxy),
        CASE(redirects_are_followed_where_allowed),
        CASE(nobody_gets_past_the_guard),
        CASE(redirects_have_an_end),
        CASE(silence_ends_a_call),
        CASE(sending_is_no_silence),
        CASE(a_paused_call_reads_no_more),
        CASE(pausing_again_and_again_loses_nothing),
        CASE(silence_counts_again_after_a_pause),
        CASE(cancelling_is_silent_and_closes),
        CASE(a_callback_may_cancel_another_call),
        CASE(cancelling_while_resuming),
        CASE(cancelling_does_not_wait_for_the_resolver),
        CASE(calls_do_not_wait_for_each_other),
        CASE(connections_are_used_again),
        CASE(calls_that_run_hear_of_the_end),
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
