/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parked connection: every pair of states, who is woken when, and the whole
 * sequence with a fake MPM.  park.c is included, to reach its one transition
 * function.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <curl/curl.h>

#include "upstream/park.c"

#include "fake_exchange.h"
#include "fake_mpm.h"
#include "fake_upstream.h"

static apr_pool_t *pool;
static gb_engine_t *engine;

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
    apr_pool_destroy(pool);
    return 0;
}

static void comes_true(int (*is)(void *baton), void *baton)
{
    apr_time_t until = gb_mono_now() + apr_time_from_sec(5);

    while (!is(baton) && gb_mono_now() < until) {
        usleep(500);
    }
    assert_true(is(baton));
}

/* ---- the table ---- */

#define A GB_PARK_ASKED
#define P GB_PARK_PARKED
#define B GB_PARK_BLOCKED
#define N GB_PARK_NUDGED
#define F GB_PARK_FINISHING
#define X GB_PARK_DETACHED
#define D GB_PARK_DONE

/* As in park.h, written down a second time. */
static const struct {
    gb_park_state_t from, to;
} table[] = {
    {A, P},
    {A, F},
    {A, X},
    {P, N},
    {P, B},
    {P, F},
    {P, X},
    {B, P},
    {B, N},
    {B, F},
    {B, X},
    {N, P},
    {N, X},
    {F, D},
    {F, X},
};

static int expected(int from, int to)
{
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if ((int)table[i].from == from && (int)table[i].to == to) {
            return 1;
        }
    }
    return 0;
}

/* Whether fn aborts, seen in a process of its own. */
static int aborts(void (*fn)(gb_park_t *park, int arg), gb_park_t *park, int arg)
{
    static const struct rlimit none = {0, 0};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        fn(park, arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void change_state(gb_park_t *park, int to)
{
    go_locked(park, (gb_park_state_t)to);
}

static void every_pair_of_states(void **state)
{
    int from, to;

    (void)state;
    for (from = 0; from < GB_PARK_STATES; from++) {
        for (to = 0; to < GB_PARK_STATES; to++) {
            gb_park_t park;

            memset(&park, 0, sizeof(park));
            park.state = (gb_park_state_t)from;
            assert_int_equal(gb_park_allows(park.state, (gb_park_state_t)to), expected(from, to));
            assert_int_equal(aborts(change_state, &park, to), !expected(from, to));
            if (expected(from, to)) {
                change_state(&park, to);
                assert_int_equal(park.state, to);
            }
        }
        assert_true(strlen(gb_park_state_name((gb_park_state_t)from)) > 3);
    }
}

/* ---- a connection in the test's hand, and an exchange that never starts ---- */

typedef struct hand_t {
    gb_park_t *park;
    fake_host_t host;
    fake_call_t call;
    int fds[2]; /* ours as the server, the client's */
    atomic_int begun, wakes, freed_before;
    atomic_uint room;
    atomic_int written;
    apr_status_t write_rv;
} hand_t;

static void hand_begin(void *conn, const gb_head_t *head)
{
    hand_t *hand = conn;

    (void)head;
    atomic_fetch_add(&hand->begun, 1);
}

static apr_size_t hand_room(void *conn)
{
    return atomic_load(&((hand_t *)conn)->room);
}

static apr_status_t hand_write(void *conn, const char *bytes, apr_size_t len)
{
    hand_t *hand = conn;

    (void)bytes;
    atomic_fetch_add(&hand->written, (int)len);
    return hand->write_rv;
}

static void hand_wake(void *conn)
{
    atomic_fetch_add(&((hand_t *)conn)->wakes, 1);
}

static const gb_park_ops_t hand_ops = {hand_begin, hand_room, hand_write, hand_wake};

static void hand_make(hand_t *hand, apr_interval_time_t timeout)
{
    memset(hand, 0, sizeof(*hand));
    fake_host_init(&hand->host, 1);
    fake_call_make(&hand->call, engine, "http://127.0.0.1:9", &hand->host);
    hand->call.x = gb_exchange_make(engine, &hand->call.conf, hand->call.plan, hand->call.pool);
    gb_exchange_ref(hand->call.x); /* the test's: its state stays readable */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, hand->fds), 0);
    atomic_store(&hand->room, 1000);
    hand->park = gb_park_make(engine, hand->call.x, &hand_ops, hand, timeout, timeout);
}

static void drain_engine(void *baton)
{
    (void)baton;
}

/* After DETACHED or DONE: only the test's reference is left. */
static void hand_free(hand_t *hand)
{
    int freed = atomic_load(&fake_calls_freed);

    fake_in_engine(engine, drain_engine, NULL);
    assert_int_equal(atomic_load(&fake_calls_freed), freed);
    fake_call_end(&hand->call);
    fake_in_engine(engine, drain_engine, NULL);
    assert_int_equal(atomic_load(&fake_calls_freed), freed + 1);
    close(hand->fds[0]);
    close(hand->fds[1]);
}

/* ---- the engine's part, as the exchange would play it ---- */

typedef struct part_t {
    hand_t *hand;
    gb_head_t head;
    apr_status_t rv;
    apr_size_t len, taken;
} part_t;

static void play_start(void *baton)
{
    part_t *part = baton;
    gb_sink_t *sink = gb_park_sink(part->hand->park);

    sink->start(sink);
}

static void play_begin(void *baton)
{
    part_t *part = baton;
    gb_sink_t *sink = gb_park_sink(part->hand->park);

    part->rv = sink->begin(sink, &part->head);
}

static void play_data(void *baton)
{
    static const char bytes[4096];
    part_t *part = baton;
    gb_sink_t *sink = gb_park_sink(part->hand->park);

    part->taken = 0;
    part->rv = sink->data(sink, bytes, part->len, &part->taken);
}

static void play_end(void *baton)
{
    part_t *part = baton;
    gb_sink_t *sink = gb_park_sink(part->hand->park);

    sink->end(sink, part->rv);
}

static void engine_starts(hand_t *hand)
{
    part_t part = {.hand = hand};

    fake_in_engine(engine, play_start, &part);
}

static apr_status_t engine_begins(hand_t *hand)
{
    part_t part = {
        .hand = hand, .head = {.status = 200, .content_length = -1}
    };

    fake_in_engine(engine, play_begin, &part);
    return part.rv;
}

static apr_status_t engine_writes(hand_t *hand, apr_size_t len, apr_size_t *taken)
{
    part_t part = {.hand = hand, .len = len};

    fake_in_engine(engine, play_data, &part);
    *taken = part.taken;
    return part.rv;
}

static void engine_ends(hand_t *hand, apr_status_t rv)
{
    part_t part = {.hand = hand, .rv = rv};

    fake_in_engine(engine, play_end, &part);
}

static int is_nudged(void *baton)
{
    return gb_park_state(((hand_t *)baton)->park) == GB_PARK_NUDGED;
}

static int is_parked(void *baton)
{
    return gb_park_state(((hand_t *)baton)->park) == GB_PARK_PARKED;
}

/* Leads a fresh connection into a state. */
static void hand_lead(hand_t *hand, gb_park_state_t to)
{
    apr_size_t taken;

    hand_make(hand, to == N ? apr_time_from_msec(20) : apr_time_from_sec(60));
    engine_starts(hand);
    if (to == A) {
        return;
    }
    if (to == X) {
        gb_park_detach(hand->park);
        return;
    }
    gb_park_parked(hand->park, hand->fds[0]);
    switch (to) {
    case GB_PARK_BLOCKED:
        atomic_store(&hand->room, 0);
        assert_int_equal(engine_writes(hand, 10, &taken), APR_EAGAIN);
        break;
    case GB_PARK_NUDGED:
        comes_true(is_nudged, hand);
        break;
    case GB_PARK_FINISHING:
        engine_ends(hand, APR_SUCCESS);
        break;
    case GB_PARK_DONE:
        engine_ends(hand, APR_SUCCESS);
        gb_park_done(hand->park);
        break;
    case GB_PARK_ASKED:
    case GB_PARK_PARKED:
    case GB_PARK_DETACHED:
    case GB_PARK_STATES:
        break;
    }
    if (to == B) {
        /* an empty socket is writable: it goes back by itself, which has its own case */
        return;
    }
    assert_int_equal(gb_park_state(hand->park), to);
}

/* Out of any state, so that nothing is left. */
static void hand_drop(hand_t *hand)
{
    gb_park_state_t state = gb_park_state(hand->park);

    if (state != X && state != D) {
        gb_park_detach(hand->park);
    }
    engine_ends(hand, APR_ECONNABORTED); /* the exchange would, on its cancel */
    hand_free(hand);
}

static void do_park(gb_park_t *park, int fd)
{
    gb_park_parked(park, fd);
}

static void do_detach(gb_park_t *park, int arg)
{
    (void)arg;
    gb_park_detach(park);
}

static void do_done(gb_park_t *park, int arg)
{
    (void)arg;
    gb_park_done(park);
}

/* What a worker may do in which state; all else would be a bug that is stopped at once. */
static void workers_verbs(void **state)
{
    static const gb_park_state_t states[] = {A, P, N, F, X, D};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        gb_park_state_t at = states[i];
        hand_t hand;

        hand_lead(&hand, at);
        assert_int_equal(aborts(do_park, hand.park, hand.fds[0]), !expected(at, P));
        assert_int_equal(aborts(do_detach, hand.park, 0), !expected(at, X));
        assert_int_equal(aborts(do_done, hand.park, 0), !expected(at, D));
        hand_drop(&hand);
    }
}

/* The engine writes while it owns the connection, waits while a worker does, gives up afterwards. */
static void what_the_engine_is_told(void **state)
{
    static const struct {
        gb_park_state_t at;
        apr_status_t rv;
        int wakes_when_parked;
    } cases[] = {
        {A, APR_EAGAIN,       1},
        {P, APR_SUCCESS,      0},
        {N, APR_EAGAIN,       1},
        {F, APR_ECONNABORTED, 0},
        {X, APR_ECONNABORTED, 0},
        {D, APR_ECONNABORTED, 0},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_size_t taken;
        hand_t hand;

        hand_lead(&hand, cases[i].at);
        assert_int_equal(engine_begins(&hand), cases[i].rv);
        assert_int_equal(engine_writes(&hand, 100, &taken), cases[i].rv);
        assert_int_equal(taken, cases[i].rv == APR_SUCCESS ? 100 : 0);
        assert_int_equal(atomic_load(&hand.written), taken);
        assert_int_equal(atomic_load(&hand.begun), cases[i].rv == APR_SUCCESS);
        assert_int_equal(hand.park->wants, cases[i].wakes_when_parked);
        if (cases[i].wakes_when_parked) {
            gb_park_parked(hand.park, hand.fds[0]);
            assert_int_equal(hand.park->wants, 0);
            assert_int_equal(engine_writes(&hand, 100, &taken), APR_SUCCESS);
        }
        hand_drop(&hand);
    }
}

static void takes_as_much_as_there_is_room(void **state)
{
    apr_size_t taken;
    hand_t hand;

    (void)state;
    hand_lead(&hand, P);
    atomic_store(&hand.room, 70);
    assert_int_equal(engine_writes(&hand, 100, &taken), APR_SUCCESS);
    assert_int_equal(taken, 70);
    assert_int_equal(engine_writes(&hand, 30, &taken), APR_SUCCESS);
    assert_int_equal(taken, 30);
    hand.write_rv = APR_ECONNABORTED;
    assert_int_equal(engine_writes(&hand, 30, &taken), APR_ECONNABORTED);
    hand_drop(&hand);
}

/* ---- ends ---- */

static void an_end_wakes_the_owner_once(void **state)
{
    static const gb_park_state_t states[] = {A, P, N};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        gb_park_rest_t rest;
        hand_t hand;
        int wakes;

        hand_lead(&hand, states[i]);
        wakes = atomic_load(&hand.wakes);
        engine_ends(&hand, APR_TIMEUP);
        if (states[i] != P) {
            assert_int_equal(gb_park_state(hand.park), states[i]);
            assert_int_equal(atomic_load(&hand.wakes), wakes);
            gb_park_parked(hand.park, hand.fds[0]);
        }
        assert_int_equal(gb_park_state(hand.park), GB_PARK_FINISHING);
        assert_int_equal(atomic_load(&hand.wakes), wakes + 1);
        gb_park_rest(hand.park, &rest);
        assert_int_equal(rest.rv, APR_TIMEUP);
        assert_null(rest.whole);
        assert_ptr_equal(rest.x, hand.call.x);
        gb_park_done(hand.park);
        hand_free(&hand);
    }
}

static void a_small_answer_is_left_to_the_worker(void **state)
{
    static const apr_int64_t lengths[] = {0, 5, GB_PARK_WHOLE_MAX, GB_PARK_WHOLE_MAX + 1};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        int whole = lengths[i] <= GB_PARK_WHOLE_MAX;
        gb_park_rest_t rest;
        part_t part;
        hand_t hand;

        hand_lead(&hand, P);
        memset(&part, 0, sizeof(part));
        part.hand = &hand;
        part.head.status = 200;
        part.head.body = "body";
        part.head.content_length = lengths[i];
        fake_in_engine(engine, play_begin, &part);
        assert_int_equal(part.rv, APR_SUCCESS);
        assert_int_equal(part.head.taken, whole);
        assert_int_equal(atomic_load(&hand.begun), !whole);
        engine_ends(&hand, APR_SUCCESS);
        gb_park_rest(hand.park, &rest);
        assert_int_equal(rest.rv, APR_SUCCESS);
        assert_int_equal(rest.whole != NULL, whole);
        gb_park_done(hand.park);
        hand_free(&hand);
    }
}

/* ---- answers that are worth waiting for ---- */

static void answers_are_quick(void *baton)
{
    int i;

    (void)baton;
    for (i = 0; i < 200; i++) {
        gb_engine_note_answer(engine, 100);
    }
}

static void *end_soon(void *baton)
{
    usleep(1000);
    engine_ends(baton, APR_SUCCESS);
    return NULL;
}

static void *write_soon(void *baton)
{
    apr_size_t taken;

    usleep(1000);
    assert_int_equal(engine_writes(baton, 10, &taken), APR_EAGAIN);
    return NULL;
}

static void lingers_only_where_answers_are_quick(void **state)
{
    hand_t hand;

    (void)state;
    hand_lead(&hand, A);
    engine_ends(&hand, APR_SUCCESS);
    assert_int_equal(gb_park_linger(hand.park), 0);
    assert_int_equal(gb_park_state(hand.park), A);
    hand_drop(&hand);

    fake_in_engine(engine, answers_are_quick, NULL);
    hand_lead(&hand, A);
    engine_ends(&hand, APR_SUCCESS);
    assert_int_equal(gb_park_linger(hand.park), 1);
    assert_int_equal(gb_park_state(hand.park), F);
    assert_int_equal(atomic_load(&hand.wakes), 0);
    gb_park_done(hand.park);
    hand_free(&hand);
}

static void lingering_ends_with_news_or_soon(void **state)
{
    pthread_t thread;
    hand_t hand;

    (void)state;
    fake_in_engine(engine, answers_are_quick, NULL);
    hand_lead(&hand, A); /* nothing comes */
    assert_int_equal(gb_park_linger(hand.park), 0);
    assert_int_equal(gb_park_state(hand.park), A);

    pthread_create(&thread, NULL, write_soon, &hand); /* a stream begins: park for it */
    while (!gb_park_linger(hand.park) && !hand.park->wants) {
    }
    assert_int_equal(gb_park_state(hand.park), A);
    pthread_join(thread, NULL);
    hand_drop(&hand);

    hand_lead(&hand, A);
    pthread_create(&thread, NULL, end_soon, &hand);
    while (!gb_park_linger(hand.park)) {
    }
    assert_int_equal(gb_park_state(hand.park), F);
    pthread_join(thread, NULL);
    gb_park_done(hand.park);
    hand_free(&hand);
}

/* ---- the client ---- */

static void a_writable_client_is_parked_again(void **state)
{
    apr_size_t taken;
    hand_t hand;

    (void)state;
    hand_lead(&hand, B); /* its socket is empty, so EPOLLOUT comes at once */
    comes_true(is_parked, &hand);
    assert_int_equal(hand.park->wants, 0);
    assert_int_equal(engine_writes(&hand, 10, &taken), APR_EAGAIN);
    atomic_store(&hand.room, 1000);
    comes_true(is_parked, &hand);
    assert_int_equal(engine_writes(&hand, 10, &taken), APR_SUCCESS);
    hand_drop(&hand);
}

/* Fills the server's side of the socket pair, so that it is not writable. */
static void stuff(hand_t *hand)
{
    static const char bytes[4096];

    while (send(hand->fds[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    atomic_store(&hand->room, 0);
}

static void a_blocked_client_is_nudged_and_woken(void **state)
{
    apr_size_t taken;
    hand_t hand;

    (void)state;
    hand_make(&hand, apr_time_from_msec(200));
    engine_starts(&hand);
    gb_park_parked(hand.park, hand.fds[0]);
    stuff(&hand);
    assert_int_equal(engine_writes(&hand, 10, &taken), APR_EAGAIN);
    assert_int_equal(gb_park_state(hand.park), GB_PARK_BLOCKED);
    comes_true(is_nudged, &hand);
    assert_int_equal(atomic_load(&hand.wakes), 1);
    assert_int_equal(hand.park->wants, 1); /* else nobody wakes the exchange after this */
    gb_park_parked(hand.park, hand.fds[0]);
    assert_int_equal(hand.park->wants, 0);
    hand_drop(&hand);
}

static void the_clock_nudges_at_half_of_the_timeout(void **state)
{
    apr_time_t began;
    hand_t hand;
    int i;

    (void)state;
    hand_make(&hand, apr_time_from_msec(800));
    engine_starts(&hand);
    for (i = 1; i <= 3; i++) {
        began = gb_mono_now();
        gb_park_parked(hand.park, hand.fds[0]);
        comes_true(is_nudged, &hand);
        assert_true(gb_mono_now() - began >= apr_time_from_msec(399));
        assert_true(gb_mono_now() - began < apr_time_from_msec(800));
        assert_int_equal(atomic_load(&hand.wakes), i);
        usleep(30000);
    }
    hand_drop(&hand);
}

/* ---- with a running exchange, an upstream and the fake MPM ---- */

typedef struct stage_t {
    fake_host_t host;
    up_t *up;
    mpm_t *mpm;
    int fd; /* the client's end */
    uint64_t id;
    atomic_int answers, rv, gone;
    int lines, rest_ms; /* of the upstream */
    size_t line_len;
    int unary;
} stage_t;

static void stage_serve(void *baton, up_conn_t *c, const up_request_t *req)
{
    stage_t *stage = baton;
    char *line = malloc(stage->line_len + 8);
    int i;

    (void)req;
    memcpy(line, "say ", 4);
    memset(line + 4, 'x', stage->line_len);
    line[stage->line_len + 4] = '\n';
    up_chunks_begin(c, 200, NULL);
    for (i = 0; i < stage->lines; i++) {
        if (!up_chunk(c, line, stage->line_len + 5)
            || (stage->rest_ms && !up_rest(c, stage->rest_ms))) {
            atomic_fetch_add(&stage->gone, 1);
            break;
        }
    }
    if (i == stage->lines) {
        up_chunk(c, "stop\n", 5);
        up_chunks_end(c);
    }
    free(line);
}

static gb_exchange_t *stage_request(void *baton, const mpm_conn_conf_t *conf, int number)
{
    stage_t *stage = baton;
    fake_call_t made, *call;

    (void)conf;
    (void)number;
    fake_call_make(&made, engine, up_url(stage->up), &stage->host);
    call = apr_palloc(made.pool, sizeof(*call));
    *call = made;
    if (stage->unary) {
        call->plan->stream = call->plan->upstream_stream = 0;
    }
    return gb_exchange_make(engine, &call->conf, call->plan, call->pool);
}

static void stage_answered(void *baton, gb_exchange_t *x, apr_status_t rv)
{
    stage_t *stage = baton;

    (void)x;
    atomic_store(&stage->rv, rv);
    atomic_fetch_add(&stage->answers, 1);
}

static void stage_make(stage_t *stage, apr_interval_time_t timeout, int requests)
{
    mpm_conf_t conf = {engine, 2, stage_request, stage_answered, stage};
    mpm_conn_conf_t conn = {.timeout = timeout, .requests = requests};
    int fds[2], size = 8192;

    fake_host_init(&stage->host, 3);
    stage->up = up_start(stage_serve, stage);
    stage->mpm = mpm_start(&conf);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    stage->fd = fds[1];
    stage->id = mpm_accept(stage->mpm, fds[0], &conn);
}

static size_t read_all(stage_t *stage, size_t piece, int rest_us)
{
    char bytes[16384];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(stage->fd, bytes, piece, 0)) > 0) {
        len += (size_t)n;
        if (rest_us) {
            usleep((useconds_t)rest_us);
        }
    }
    return len;
}

static int stage_empty(void *baton)
{
    return mpm_open(((stage_t *)baton)->mpm) == 0;
}

static int upstream_left(void *baton)
{
    return atomic_load(&((stage_t *)baton)->gone) > 0;
}

static void stage_free(stage_t *stage, mpm_counts_t *counts)
{
    close(stage->fd);
    comes_true(stage_empty, stage);
    mpm_counts(stage->mpm, counts);
    mpm_stop(stage->mpm);
    gb_engine_stop(engine);
    engine = NULL;
    up_stop(stage->up);
    assert_int_equal(counts->spurious, 0);
    assert_true(fake_host_balanced(&stage->host));
}

static void streams_and_keeps_alive(void **state)
{
    stage_t stage = {.lines = 20, .line_len = 100, .rest_ms = 2};
    mpm_counts_t counts;

    (void)state;
    stage_make(&stage, apr_time_from_sec(5), 3);
    assert_int_equal(read_all(&stage, 4096, 0), 3 * (20 * 101 + 7 + 4));
    stage_free(&stage, &counts);
    assert_int_equal(counts.parked, 3);
    assert_int_equal(counts.finished, 3);
    assert_int_equal(counts.detached, 0);
    assert_int_equal(atomic_load(&fake_calls_freed), 3);
}

static void answers_in_one_piece(void **state)
{
    stage_t stage = {.lines = 5, .line_len = 100, .unary = 1};
    mpm_counts_t counts;

    (void)state;
    stage_make(&stage, apr_time_from_sec(5), 2);
    assert_int_equal(read_all(&stage, 4096, 0), 2 * (5 * 101 + 7 + 4));
    stage_free(&stage, &counts);
    assert_int_equal(counts.wholes, 2);
    assert_int_equal(atomic_load(&fake_calls_freed), 2);
}

static void a_silent_stream_outlives_the_timeout(void **state)
{
    stage_t stage = {.lines = 4, .line_len = 10, .rest_ms = 250};
    mpm_counts_t counts;

    (void)state;
    stage_make(&stage, apr_time_from_msec(200), 1);
    assert_int_equal(read_all(&stage, 4096, 0), 4 * 11 + 7 + 4);
    stage_free(&stage, &counts);
    assert_true(counts.nudged >= 5);
    assert_int_equal(counts.finished, 1);
    assert_int_equal(counts.timed_out, 0);
}

static void a_slow_reader_gets_everything(void **state)
{
    stage_t stage = {.lines = 300, .line_len = 1000};
    mpm_counts_t counts;

    (void)state;
    stage_make(&stage, apr_time_from_msec(300), 1); /* nudged while it is blocked, too */
    assert_int_equal(read_all(&stage, 4096, 8000), 300 * 1001 + 7 + 4);
    stage_free(&stage, &counts);
    assert_int_equal(counts.finished, 1);
    assert_int_equal(atomic_load(&stage.rv), APR_SUCCESS);
}

static void a_client_that_takes_nothing_is_given_up(void **state)
{
    stage_t stage = {.lines = 30000, .line_len = 1000};
    apr_time_t began = gb_mono_now();
    mpm_counts_t counts;

    (void)state;
    stage_make(&stage, apr_time_from_msec(200), 1);
    comes_true(stage_empty, &stage);
    assert_true(gb_mono_now() - began > apr_time_from_msec(200));
    assert_true(gb_mono_now() - began < apr_time_from_sec(3));
    comes_true(upstream_left, &stage);
    stage_free(&stage, &counts);
    assert_int_equal(counts.finished, 1);
    assert_true(APR_STATUS_IS_ECONNABORTED(atomic_load(&stage.rv)));
}

static void a_client_that_leaves_cancels(void **state)
{
    int half;

    for (half = 0; half < 2; half++) {
        stage_t stage = {.lines = 1000, .line_len = 10, .rest_ms = 20};
        apr_time_t left;
        mpm_counts_t counts;
        char byte;

        stage_make(&stage, apr_time_from_sec(5), 1);
        assert_int_equal(recv(stage.fd, &byte, 1, 0), 1);
        shutdown(stage.fd, half ? SHUT_WR : SHUT_RDWR);
        left = gb_mono_now();
        comes_true(upstream_left, &stage);
        assert_true(gb_mono_now() - left < apr_time_from_sec(1));
        stage_free(&stage, &counts);
        assert_int_equal(counts.finished, 1);
        assert_true(APR_STATUS_IS_ECONNABORTED(atomic_load(&stage.rv)));
        finish(state);
        begin(state);
    }
}

static void a_connection_may_be_destroyed_while_parked(void **state)
{
    stage_t stage = {.lines = 1000, .line_len = 10, .rest_ms = 20};
    mpm_counts_t counts;
    char byte;

    (void)state;
    stage_make(&stage, apr_time_from_sec(5), 1);
    assert_int_equal(recv(stage.fd, &byte, 1, 0), 1);
    mpm_kill(stage.mpm, stage.id);
    comes_true(stage_empty, &stage);
    comes_true(upstream_left, &stage);
    stage_free(&stage, &counts);
    assert_int_equal(counts.detached, 1);
    assert_int_equal(counts.finished, 0);
    assert_int_equal(atomic_load(&fake_calls_freed), 1);
}

static void the_engine_may_end_first(void **state)
{
    stage_t stage = {.lines = 1000, .line_len = 1000, .rest_ms = 5};
    mpm_counts_t counts;

    (void)state;
    stage_make(&stage, apr_time_from_sec(5), 2);
    usleep(300000); /* by now it is BLOCKED */
    gb_engine_stop(engine);
    comes_true(stage_empty, &stage); /* FINISHING: a worker ended it */
    mpm_counts(stage.mpm, &counts);
    assert_int_equal(counts.finished, 1);
    assert_true(APR_STATUS_IS_EOF(atomic_load(&stage.rv)));
    mpm_stop(stage.mpm);
    up_stop(stage.up);
    close(stage.fd);
    engine = NULL;
    assert_true(fake_host_balanced(&stage.host));
    assert_int_equal(atomic_load(&fake_calls_freed), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_states),
        CASE(workers_verbs),
        CASE(what_the_engine_is_told),
        CASE(takes_as_much_as_there_is_room),
        CASE(an_end_wakes_the_owner_once),
        CASE(a_small_answer_is_left_to_the_worker),
        CASE(lingers_only_where_answers_are_quick),
        CASE(lingering_ends_with_news_or_soon),
        CASE(a_writable_client_is_parked_again),
        CASE(a_blocked_client_is_nudged_and_woken),
        CASE(the_clock_nudges_at_half_of_the_timeout),
        CASE(streams_and_keeps_alive),
        CASE(answers_in_one_piece),
        CASE(a_silent_stream_outlives_the_timeout),
        CASE(a_slow_reader_gets_everything),
        CASE(a_client_that_takes_nothing_is_given_up),
        CASE(a_client_that_leaves_cancels),
        CASE(a_connection_may_be_destroyed_while_parked),
        CASE(the_engine_may_end_first),
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
