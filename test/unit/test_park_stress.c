/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything at once: parked and waiting clients that read, read slowly, leave
 * and are destroyed, an upstream that streams, fails, stalls and resets, nudges
 * all the time, random delays at every transition, and an engine that stops
 * with calls under way.  Made for ThreadSanitizer; it knows nothing of httpd.
 *
 * GB_SEED repeats a run's choices, GB_SOAK=1 runs for two minutes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_general.h>
#include <curl/curl.h>

static void test_delay(void);
#define GB_PARK_DELAY() test_delay()
#include "upstream/park.c"

#include "fake_exchange.h"
#include "fake_mpm.h"
#include "fake_upstream.h"

#define CLIENTS    24
#define WORKERS    6
#define CALLS      1600 /* in all rounds together */
#define CALLS_SOAK 40000
#define ROUNDS     4
#define TIME_LIMIT apr_time_from_sec(25)
#define TIME_SOAK  apr_time_from_sec(120)

static unsigned seed;
static int calls_wanted;
static apr_time_t until;

/* ---- chance ---- */

static _Thread_local unsigned dice;
static atomic_uint threads_seen;

static unsigned roll(unsigned sides)
{
    if (!dice) {
        dice = seed * 2654435761U + atomic_fetch_add(&threads_seen, 1) * 40503U + 1;
    }
    return (unsigned)rand_r(&dice) % sides;
}

static void test_delay(void)
{
    switch (roll(40)) {
    case 0:
        usleep(roll(600));
        break;
    case 1:
    case 2:
        sched_yield();
        break;
    }
}

/*
 * curl 7.88 tells of a socket that was still connecting after it has closed it,
 * see the engine's socket_changed: its number may be another thread's by then.
 */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "race:socket_changed\n";
}

/* ---- the upstream ---- */

static void put_line(up_conn_t *c, const char *text)
{
    up_chunk(c, text, strlen(text));
}

/* "n=K", then K numbered lines. */
static int stream(up_conn_t *c, int lines, int padding, int upto)
{
    static const char pad[] = "................................................................";
    char text[256];
    int i;

    if (!up_chunks_begin(c, 200, NULL)) {
        return 0;
    }
    snprintf(text, sizeof(text), "say n=%d\n", lines);
    put_line(c, text);
    for (i = 0; i < upto; i++) {
        int n;

        snprintf(text, sizeof(text), "say %d ", i);
        for (n = 0; n < padding; n++) {
            strcat(text, pad);
        }
        strcat(text, "\n");
        if (!up_chunk(c, text, strlen(text)) || (roll(12) == 0 && !up_rest(c, (int)roll(4)))) {
            return 0;
        }
    }
    return 1;
}

static void serve_well(up_conn_t *c, int lines, int padding)
{
    if (stream(c, lines, padding, lines)) {
        put_line(c, "stop\n");
        up_chunks_end(c);
    }
}

static const char unavailable[] = "{\"error\":{\"code\":503,\"message\":\"The service is currently "
                                  "unavailable.\",\"status\":\"UNAVAILABLE\"}}";
static const char exhausted[] =
    "{\"error\":{\"code\":429,\"message\":\"Resource has been exhausted "
    "(e.g. check quota).\",\"status\":\"RESOURCE_EXHAUSTED\"}}";

static void serve(void *baton, up_conn_t *c, const up_request_t *req)
{
    unsigned what = roll(100);

    (void)baton;
    (void)req;
    if (what < 55) {
        serve_well(c, 1 + (int)roll(60), (int)roll(3));
    }
    else if (what < 70) {
        serve_well(c, 1500, 3);
    }
    else if (what < 75) {
        up_answer(c, 503, "application/json", unavailable);
    }
    else if (what < 82) {
        up_answer(c, 429, "application/json", exhausted);
    }
    else if (what < 86) {
        stream(c, 20, 1, (int)roll(20));
        up_reset(c);
    }
    else if (what < 90) {
        stream(c, 20, 1, (int)roll(20));
        up_close(c);
    }
    else if (what < 93) {
        stream(c, 20, 1, (int)roll(2) * 10);
        up_rest(c, 600);
        up_close(c);
    }
    else if (what < 96) {
        up_chunks_begin(c, 200, NULL);
        up_chunks_end(c);
    }
    else if (stream(c, 20, 0, (int)roll(20))) {
        put_line(
            c,
            "error "
            "{\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n");
        up_chunks_end(c);
    }
}

/* ---- requests ---- */

static gb_engine_t *engine;
static fake_host_t host;
static up_t *upstream;
static mpm_t *mpm;
static atomic_int n_made, n_answered, n_good;

static gb_exchange_t *make_request(void *baton, const mpm_conn_conf_t *conf, int number)
{
    fake_call_t made, *call;

    (void)baton;
    (void)conf;
    (void)number;
    fake_call_make(&made, engine, up_url(upstream), &host);
    atomic_fetch_add(&n_made, 1);
    call = apr_palloc(made.pool, sizeof(*call));
    *call = made;
    call->settings->max_retries = 2;
    call->settings->time_out = apr_time_from_msec(250);
    call->settings->time_out_first_token = roll(4) ? 0 : apr_time_from_msec(150);
    call->settings->time_out_total = roll(20) ? apr_time_from_sec(20) : apr_time_from_msec(60);
    if (roll(4) == 0) {
        call->plan->stream = 0;
        call->plan->upstream_stream = roll(2) != 0;
    }
    return gb_exchange_make(engine, &call->conf, call->plan, call->pool);
}

static void answered(void *baton, gb_exchange_t *x, apr_status_t rv)
{
    const gb_summary_t *summary = gb_exchange_summary(x);

    (void)baton;
    (void)rv;
    atomic_fetch_add(&n_answered, 1);
    if (summary->attempts > 3 || !summary->outcome) {
        abort();
    }
}

/* ---- clients ---- */

typedef enum { READS, SLOW, LEAVES, HALF_CLOSES, KILLED } manner_t;

typedef struct client_t {
    int fd;
    manner_t manner;
    char line[8192];
    size_t len;
    int n, next; /* lines promised, and the number of the next one */
    int done, failed;
    int faults;
} client_t;

static void fault(client_t *client, const char *what)
{
    client->faults++;
    fprintf(stderr, "seed %u: %s: n %d next %d line %.60s\n", seed, what, client->n, client->next,
            client->line);
}

/* In order, complete, and nothing after the end. */
static void take_line(client_t *client, const char *line)
{
    if (strcmp(line, "END") == 0) {
        if (!client->done && !client->failed) {
            fault(client, "ended without an end");
        }
        atomic_fetch_add(&n_good, client->done);
        client->n = -1;
        client->next = client->done = client->failed = 0;
    }
    else if (client->done) {
        fault(client, "bytes after the end");
    }
    else if (strncmp(line, "n=", 2) == 0) {
        if (client->n >= 0) {
            fault(client, "began twice");
        }
        client->n = atoi(line + 2);
    }
    else if (strcmp(line, "[done]") == 0) {
        client->done = 1;
        if (client->next != client->n) {
            fault(client, "done too early");
        }
    }
    else if (atoi(line) != client->next || client->n < 0 || client->failed) {
        fault(client, "wrong line");
    }
    else {
        client->next++;
    }
}

/* Errors have no end of line: "error ..." as a body, "!..." after what was streamed. */
static void take_bytes(client_t *client, const char *bytes, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (bytes[i] != '\n') {
            if (client->len + 1 < sizeof(client->line)) {
                client->line[client->len++] = bytes[i];
            }
            continue;
        }
        client->line[client->len] = '\0';
        client->len = 0;
        if (client->line[0] == '!' || strncmp(client->line, "error ", 6) == 0 || client->failed) {
            size_t n = strlen(client->line);

            if (client->line[0] == 'e' && client->next > 0) {
                fault(client, "an error answer after content");
            }
            client->failed = 1;
            if (n >= 3 && strcmp(client->line + n - 3, "END") == 0) {
                take_line(client, "END");
            }
        }
        else {
            take_line(client, client->line);
        }
    }
}

static void act(client_t *client, uint64_t id, unsigned turn)
{
    switch (client->manner) {
    case READS:
        break;
    case SLOW:
        usleep(roll(3000));
        break;
    case LEAVES:
        if (turn == 3) {
            close(client->fd);
            client->fd = -1;
        }
        break;
    case HALF_CLOSES:
        if (turn == 2) {
            shutdown(client->fd, SHUT_WR);
        }
        break;
    case KILLED:
        if (turn == 2) {
            mpm_kill(mpm, id);
        }
        break;
    }
}

static int run_client(void)
{
    static const manner_t manners[] = {READS, READS, READS,  READS,       READS,  READS,
                                       SLOW,  SLOW,  LEAVES, HALF_CLOSES, KILLED, KILLED};
    mpm_conn_conf_t conf = {.timeout = apr_time_from_msec(100 + roll(400)),
                            .requests = 1 + (int)roll(3),
                            .waits = roll(6) == 0};
    client_t client = {.n = -1};
    unsigned turn = 0, patience = roll(6);
    char bytes[8192];
    int fds[2], size = 4096;
    uint64_t id;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) {
        abort();
    }
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    client.fd = fds[1];
    client.manner = manners[roll(sizeof(manners) / sizeof(manners[0]))];
    id = mpm_accept(mpm, fds[0], &conf);
    while (client.fd >= 0) {
        struct pollfd pfd = {.fd = client.fd, .events = POLLIN};
        ssize_t n;

        if (client.manner != READS && poll(&pfd, 1, (int)patience) == 0) {
            act(&client, id, ++turn);
            continue;
        }
        n = recv(client.fd, bytes, client.manner == SLOW ? 1 + roll(4000) : sizeof(bytes), 0);
        if (n <= 0) {
            close(client.fd);
            break;
        }
        take_bytes(&client, bytes, (size_t)n);
        act(&client, id, ++turn);
    }
    return client.faults;
}

static atomic_int faults, round_over, round_calls;

static void *client_main(void *data)
{
    (void)data;
    while (!atomic_load(&round_over) && gb_mono_now() < until) {
        atomic_fetch_add(&faults, run_client());
        atomic_fetch_add(&round_calls, 1);
    }
    return NULL;
}

/* ---- rounds ---- */

static int open_descriptors(void)
{
    int fd, n = 0;

    for (fd = 0; fd < 1024; fd++) {
        int copy = dup(fd);

        if (copy >= 0) {
            n++;
            close(copy);
        }
    }
    return n;
}

/* Ends the way a child ends: the engine first, whatever is under way. */
static void one_round(mpm_counts_t *counts)
{
    gb_engine_conf_t conf = {.user_agent = "test", .drain = 0};
    mpm_conf_t mpm_conf = {NULL, WORKERS, make_request, answered, NULL};
    pthread_t clients[CLIENTS];
    apr_pool_t *pool;
    int i;

    apr_pool_create(&pool, NULL);
    atomic_store(&round_over, 0);
    atomic_store(&round_calls, 0);
    fake_host_init(&host, 8);
    upstream = up_start(serve, NULL);
    assert_int_equal(gb_engine_start(&engine, &conf, pool), APR_SUCCESS);
    mpm_conf.engine = engine;
    mpm = mpm_start(&mpm_conf);
    for (i = 0; i < CLIENTS; i++) {
        pthread_create(&clients[i], NULL, client_main, NULL);
    }
    while (atomic_load(&round_calls) < calls_wanted / ROUNDS && gb_mono_now() < until) {
        usleep(2000);
    }
    atomic_store(&round_over, 1);
    gb_engine_stop(engine);
    for (i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], NULL);
    }
    while (mpm_open(mpm)) {
        usleep(1000);
    }
    mpm_counts(mpm, counts);
    mpm_stop(mpm);
    up_stop(upstream);
    apr_pool_destroy(pool);
}

static void survives(void **state)
{
    mpm_counts_t sum = {0};
    apr_time_t began = gb_mono_now();
    int before, round;

    (void)state;
    before = open_descriptors();
    for (round = 0; round < ROUNDS && gb_mono_now() < until; round++) {
        mpm_counts_t counts;

        one_round(&counts);
        assert_true(fake_host_balanced(&host));
        assert_int_equal(counts.spurious, 0);
        assert_int_equal(atomic_load(&fake_calls_freed), atomic_load(&n_made));
        assert_int_equal(atomic_load(&faults), 0);
        sum.parked += counts.parked;
        sum.nudged += counts.nudged;
        sum.finished += counts.finished;
        sum.detached += counts.detached;
        sum.timed_out += counts.timed_out;
        sum.waited += counts.waited;
        sum.wholes += counts.wholes;
    }
    print_message("seed %u, %.1f s: %d calls, %d complete; parked %d times, nudged %d, finished %d "
                  "(%d whole), detached %d (%d timed out), waited %d\n",
                  seed, (double)(gb_mono_now() - began) / APR_USEC_PER_SEC, atomic_load(&n_made),
                  atomic_load(&n_good), sum.parked, sum.nudged, sum.finished, sum.wholes,
                  sum.detached, sum.timed_out, sum.waited);
    assert_int_equal(open_descriptors(), before);
    /* a run that tested nothing is a failure */
    assert_true(atomic_load(&n_good) > 50);
    assert_true(sum.nudged > 20 && sum.detached > 10 && sum.waited > 10 && sum.wholes > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(survives)};
    const char *wish = getenv("GB_SEED"), *soak = getenv("GB_SOAK");
    int failed;

    apr_initialize();
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    seed = wish ? (unsigned)strtoul(wish, NULL, 10) : (unsigned)(apr_time_now() % 1000000);
    calls_wanted = soak ? CALLS_SOAK : CALLS;
    until = gb_mono_now() + (soak ? TIME_SOAK : TIME_LIMIT);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    apr_terminate();
    return failed;
}
