/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's loop: timers, messages, descriptors, stopping. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_general.h>
#include <curl/curl.h>

#include "base/timeutil.h"
#include "upstream/engine.h"

#include "fake_exchange.h"

#define N_TIMERS 5000

static apr_pool_t *pool;
static gb_engine_t *engine;
static atomic_int stopping;

static int is_stopping(void *baton)
{
    (void)baton;
    return atomic_load(&stopping);
}

static int begin(void **state)
{
    gb_engine_conf_t conf = {
        .user_agent = "test", .drain = apr_time_from_msec(1500), .stopping = is_stopping};

    (void)state;
    atomic_store(&stopping, 0);
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

static void in_engine(void (*fn)(void *baton), void *baton)
{
    fake_in_engine(engine, fn, baton);
}

/* Waits up to 5 s until *n reaches want. */
static int comes_to(atomic_int *n, int want)
{
    apr_time_t until = gb_mono_now() + apr_time_from_sec(5);

    while (atomic_load(n) < want && gb_mono_now() < until) {
        usleep(1000);
    }
    return atomic_load(n);
}

/* ---- timers ---- */

typedef struct bell_t {
    gb_timer_t timer;
    int number;
    int rings;
    struct bell_t *other;
} bell_t;

static bell_t bells[N_TIMERS];
static atomic_int rung;
static apr_time_t last_due;
static int out_of_order, too_early;

static void ring(gb_timer_t *timer)
{
    bell_t *bell = (bell_t *)timer;

    bell->rings++;
    out_of_order += timer->due < last_due;
    too_early += gb_mono_now() < timer->due;
    last_due = timer->due;
    atomic_fetch_add(&rung, 1);
}

static void set_thousands(void *baton)
{
    unsigned seed = *(unsigned *)baton;
    int i;

    last_due = 0;
    out_of_order = too_early = 0;
    for (i = 0; i < N_TIMERS; i++) {
        bells[i].timer.fn = ring;
        gb_timer_set(engine, &bells[i].timer, rand_r(&seed) % 200000);
    }
    for (i = 0; i < N_TIMERS; i++) { /* a third moves, a third goes */
        if (i % 3 == 1) {
            gb_timer_set(engine, &bells[i].timer, rand_r(&seed) % 200000);
        }
        else if (i % 3 == 2) {
            gb_timer_cancel(engine, &bells[i].timer);
            gb_timer_cancel(engine, &bells[i].timer);
        }
    }
}

static void timers_fire_once_in_order(void **state)
{
    unsigned seed = 4711;
    int i;

    (void)state;
    memset(bells, 0, sizeof(bells));
    atomic_store(&rung, 0);
    in_engine(set_thousands, &seed);
    assert_int_equal(comes_to(&rung, 2 * N_TIMERS / 3 + 1), 2 * N_TIMERS / 3 + 1);
    usleep(250000);
    gb_engine_stop(engine);
    engine = NULL;
    assert_int_equal(out_of_order, 0);
    assert_int_equal(too_early, 0);
    for (i = 0; i < N_TIMERS; i++) {
        assert_int_equal(bells[i].rings, i % 3 == 2 ? 0 : 1);
        assert_int_equal(bells[i].timer.at, 0);
    }
}

/* The first to ring silences the other one of its pair. */
static void ring_and_silence(gb_timer_t *timer)
{
    bell_t *bell = (bell_t *)timer;

    bell->rings++;
    gb_timer_cancel(engine, &bell->other->timer);
    gb_timer_cancel(engine, timer);
    atomic_fetch_add(&rung, 1);
}

static void set_pairs(void *baton)
{
    int i;

    (void)baton;
    for (i = 0; i < 1000; i++) {
        bells[i].timer.fn = ring_and_silence;
        bells[i].other = &bells[i ^ 1];
        gb_timer_set(engine, &bells[i].timer, 20000);
    }
}

static void a_timer_may_cancel_others(void **state)
{
    int i;

    (void)state;
    memset(bells, 0, sizeof(bells));
    atomic_store(&rung, 0);
    in_engine(set_pairs, NULL);
    assert_int_equal(comes_to(&rung, 500), 500);
    usleep(50000);
    gb_engine_stop(engine);
    engine = NULL;
    for (i = 0; i < 1000; i += 2) {
        assert_int_equal(bells[i].rings + bells[i + 1].rings, 1);
    }
}

static void ring_again(gb_timer_t *timer)
{
    bell_t *bell = (bell_t *)timer;

    if (++bell->rings < 20) {
        gb_timer_set(engine, timer, bell->rings % 2 ? 0 : -5);
    }
    atomic_fetch_add(&rung, 1);
}

static void set_one_again(void *baton)
{
    (void)baton;
    bells[0].timer.fn = ring_again;
    gb_timer_set(engine, &bells[0].timer, 0);
}

static void a_timer_may_set_itself(void **state)
{
    (void)state;
    memset(bells, 0, sizeof(bells));
    atomic_store(&rung, 0);
    in_engine(set_one_again, NULL);
    assert_int_equal(comes_to(&rung, 20), 20);
    usleep(20000);
    assert_int_equal(atomic_load(&rung), 20);
}

/* ---- messages ---- */

#define POSTERS 8
#define EACH    4000

typedef struct letter_t {
    gb_msg_t msg;
    int from, number;
} letter_t;

static letter_t letters[POSTERS][EACH];
static int read_up_to[POSTERS];
static int misordered;
static atomic_int got;

static void read_letter(gb_msg_t *msg)
{
    letter_t *letter = (letter_t *)msg;

    misordered += letter->number != read_up_to[letter->from];
    read_up_to[letter->from]++;
    atomic_fetch_add(&got, 1);
}

static void *post_all(void *data)
{
    letter_t *mine = data;
    int i;

    for (i = 0; i < EACH; i++) {
        if (gb_engine_post(engine, &mine[i].msg) != APR_SUCCESS) {
            abort();
        }
    }
    return NULL;
}

static void messages_arrive_once_in_order(void **state)
{
    pthread_t threads[POSTERS];
    int i, j;

    (void)state;
    atomic_store(&got, 0);
    misordered = 0;
    memset(read_up_to, 0, sizeof(read_up_to));
    for (i = 0; i < POSTERS; i++) {
        for (j = 0; j < EACH; j++) {
            letters[i][j].msg.fn = read_letter;
            letters[i][j].from = i;
            letters[i][j].number = j;
        }
        pthread_create(&threads[i], NULL, post_all, letters[i]);
    }
    for (i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(comes_to(&got, POSTERS * EACH), POSTERS * EACH);
    gb_engine_stop(engine);
    engine = NULL;
    assert_int_equal(misordered, 0);
    assert_int_equal(atomic_load(&got), POSTERS * EACH);
}

static letter_t twice;
static atomic_int gate;

static void wait_at_gate(void *baton)
{
    (void)baton;
    while (!atomic_load(&gate)) {
        usleep(100);
    }
}

static void *run_gate(void *data)
{
    (void)data;
    in_engine(wait_at_gate, NULL);
    return NULL;
}

static void posting_twice_runs_once(void **state)
{
    pthread_t thread;

    (void)state;
    memset(&twice, 0, sizeof(twice));
    memset(read_up_to, 0, sizeof(read_up_to));
    atomic_store(&got, 0);
    atomic_store(&gate, 0);
    twice.msg.fn = read_letter;
    pthread_create(&thread, NULL, run_gate, NULL);
    usleep(20000); /* the engine stands at the gate */
    assert_int_equal(gb_engine_post(engine, &twice.msg), APR_SUCCESS);
    assert_int_equal(gb_engine_post(engine, &twice.msg), APR_EEXIST);
    atomic_store(&gate, 1);
    pthread_join(thread, NULL);
    assert_int_equal(comes_to(&got, 1), 1);
    usleep(10000);
    assert_int_equal(atomic_load(&got), 1);
    assert_int_equal(gb_engine_post(engine, &twice.msg), APR_SUCCESS);
    assert_int_equal(comes_to(&got, 2), 2);
}

static void *post_until_the_end(void *data)
{
    letter_t *mine = data;
    int i, accepted = 0;

    for (i = 0; i < EACH; i++) {
        apr_status_t rv = gb_engine_post(engine, &mine[i].msg);

        if (rv == APR_EOF) {
            break;
        }
        accepted++;
    }
    return (void *)(intptr_t)accepted;
}

/* What was accepted runs, even if the engine stops at that moment; what was not never does. */
static void stopping_loses_no_accepted_message(void **state)
{
    pthread_t threads[POSTERS];
    int i, j, accepted = 0;

    (void)state;
    atomic_store(&got, 0);
    memset(read_up_to, 0, sizeof(read_up_to));
    for (i = 0; i < POSTERS; i++) {
        for (j = 0; j < EACH; j++) {
            memset(&letters[i][j], 0, sizeof(letters[i][j]));
            letters[i][j].msg.fn = read_letter;
            letters[i][j].from = i;
            letters[i][j].number = j;
        }
        pthread_create(&threads[i], NULL, post_until_the_end, letters[i]);
    }
    usleep(1000);
    gb_engine_stop(engine);
    for (i = 0; i < POSTERS; i++) {
        void *n;

        pthread_join(threads[i], &n);
        accepted += (int)(intptr_t)n;
    }
    assert_int_equal(gb_engine_post(engine, &twice.msg), APR_EOF);
    engine = NULL;
    assert_int_equal(atomic_load(&got), accepted);
}

/* ---- descriptors ---- */

typedef struct eye_t {
    gb_watch_t watch;
    int fds[2];
    atomic_int reads, writes, left;
    struct eye_t *other;
} eye_t;

/* Whoever calls for one watch from several threads serializes that. */
static pthread_mutex_t eye_lock = PTHREAD_MUTEX_INITIALIZER;

static void look(gb_watch_t *watch, uint32_t events)
{
    eye_t *eye = (eye_t *)watch;
    char c;

    pthread_mutex_lock(&eye_lock);
    if (events & EPOLLIN) {
        if (read(eye->fds[0], &c, 1) == 1) {
            atomic_fetch_add(&eye->reads, 1);
        }
    }
    if (events & EPOLLOUT) {
        gb_watch_change(engine, watch, EPOLLIN | EPOLLRDHUP);
        atomic_fetch_add(&eye->writes, 1);
    }
    if (events & EPOLLRDHUP) {
        gb_watch_remove(engine, watch);
        atomic_fetch_add(&eye->left, 1);
    }
    pthread_mutex_unlock(&eye_lock);
}

static void watches_tell(void **state)
{
    eye_t eye = {
        .watch = {-1, look}
    };

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, eye.fds), 0);
    assert_int_equal(gb_watch_add(engine, &eye.watch, eye.fds[0], EPOLLIN | EPOLLRDHUP),
                     APR_SUCCESS);
    assert_int_equal(write(eye.fds[1], "abc", 3), 3);
    assert_int_equal(comes_to(&eye.reads, 3), 3); /* level-triggered */
    pthread_mutex_lock(&eye_lock);
    assert_int_equal(gb_watch_change(engine, &eye.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP),
                     APR_SUCCESS);
    pthread_mutex_unlock(&eye_lock);
    assert_int_equal(comes_to(&eye.writes, 1), 1);
    close(eye.fds[1]);
    assert_int_equal(comes_to(&eye.left, 1), 1);
    usleep(20000);
    assert_int_equal(atomic_load(&eye.left), 1);
    pthread_mutex_lock(&eye_lock);
    gb_watch_remove(engine, &eye.watch);
    pthread_mutex_unlock(&eye_lock);
    close(eye.fds[0]);
}

static void a_bad_descriptor_is_refused(void **state)
{
    eye_t eye = {
        .watch = {-1, look}
    };

    (void)state;
    assert_int_equal(gb_watch_add(engine, &eye.watch, 999999, EPOLLIN), EBADF);
    assert_int_equal(eye.watch.fd, -1);
    gb_watch_remove(engine, &eye.watch);
}

/* Removes and frees the other one, whose event is in the same batch. */
static void look_and_bury(gb_watch_t *watch, uint32_t events)
{
    eye_t *eye = (eye_t *)watch;

    (void)events;
    if (eye->other) {
        gb_watch_remove(engine, &eye->other->watch);
        gb_watch_forget(engine, &eye->other->watch);
        close(eye->other->fds[0]);
        close(eye->other->fds[1]);
        free(eye->other);
        eye->other = NULL;
        atomic_fetch_add(&got, 1);
    }
    gb_watch_remove(engine, watch);
    close(eye->fds[0]);
    close(eye->fds[1]);
    free(eye);
}

static void add_a_pair(void *baton)
{
    eye_t *eyes[2];
    int i;

    (void)baton;
    for (i = 0; i < 2; i++) {
        eyes[i] = calloc(1, sizeof(eye_t));
        eyes[i]->watch.fn = look_and_bury;
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, eyes[i]->fds)
            || write(eyes[i]->fds[1], "x", 1) != 1) {
            abort();
        }
    }
    eyes[0]->other = eyes[1];
    eyes[1]->other = eyes[0];
    for (i = 0; i < 2; i++) {
        gb_watch_add(engine, &eyes[i]->watch, eyes[i]->fds[0], EPOLLIN);
    }
}

/* The sanitizer says whether the buried one's event was forgotten. */
static void an_event_under_way_is_forgotten(void **state)
{
    int i;

    (void)state;
    atomic_store(&got, 0);
    for (i = 0; i < 50; i++) {
        in_engine(add_a_pair, NULL);
    }
    assert_int_equal(comes_to(&got, 50), 50);
}

/* ---- stopping ---- */

typedef struct guest_t {
    gb_drain_t drain;
    atomic_int told[3];
} guest_t;

static void told(gb_drain_t *drain, int phase)
{
    guest_t *guest = (guest_t *)drain;

    atomic_fetch_add(&guest->told[phase], 1);
    if (phase == 1) {
        gb_drain_remove(engine, drain);
        gb_drain_remove(engine, drain);
    }
}

static void told_and_stays(gb_drain_t *drain, int phase)
{
    atomic_fetch_add(&((guest_t *)drain)->told[phase], 1);
}

static void arrive(void *baton)
{
    gb_drain_add(engine, baton);
}

static void leave(void *baton)
{
    gb_drain_remove(engine, baton);
}

static void look_whether_stopping(void *baton)
{
    *(int *)baton = gb_engine_is_stopping(engine);
}

static void a_stopping_child_tells_its_guests(void **state)
{
    guest_t goes = {.drain.fn = told}, stays = {.drain.fn = told_and_stays},
            gone = {.drain.fn = told};
    int flag = -1;

    (void)state;
    in_engine(arrive, &goes.drain);
    in_engine(arrive, &stays.drain);
    in_engine(arrive, &gone.drain);
    in_engine(leave, &gone.drain);
    in_engine(look_whether_stopping, &flag);
    assert_int_equal(flag, 0);
    atomic_store(&stopping, 1);
    assert_int_equal(comes_to(&goes.told[0], 1), 1);
    in_engine(look_whether_stopping, &flag);
    assert_int_equal(flag, 1);
    assert_int_equal(atomic_load(&goes.told[1]), 0);
    assert_int_equal(comes_to(&stays.told[1], 1), 1); /* after the drain of 1.5 s */
    gb_engine_stop(engine);
    engine = NULL;
    assert_int_equal(atomic_load(&goes.told[1]), 1);
    assert_int_equal(atomic_load(&goes.told[2]), 0);
    assert_int_equal(atomic_load(&stays.told[0]), 1);
    assert_int_equal(atomic_load(&stays.told[2]), 1); /* the engine ends: the last word */
    assert_int_equal(atomic_load(&gone.told[0]), 0);
}

static void is_alive_until_stopped(void **state)
{
    eye_t eye = {
        .watch = {-1, look}
    };

    (void)state;
    assert_int_equal(gb_engine_alive(engine), 1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, eye.fds), 0);
    assert_int_equal(gb_watch_add(engine, &eye.watch, eye.fds[0], EPOLLIN), APR_SUCCESS);
    gb_engine_stop(engine);
    assert_int_equal(gb_engine_alive(engine), 0);
    gb_watch_remove(engine, &eye.watch); /* a connection that dies later */
    assert_int_equal(gb_engine_post(engine, &twice.msg), APR_EOF);
    engine = NULL;
    close(eye.fds[0]);
    close(eye.fds[1]);
}

static int open_descriptors(void)
{
    int fd, n = 0;

    for (fd = 0; fd < 256; fd++) {
        int copy = dup(fd);

        if (copy >= 0) {
            n++;
            close(copy);
        }
    }
    return n;
}

static void leaves_no_descriptor(void **state)
{
    int before, i;

    (void)state;
    finish(NULL);
    before = open_descriptors();
    for (i = 0; i < 3; i++) {
        assert_int_equal(begin(NULL), 0);
        finish(NULL);
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(begin(NULL), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(timers_fire_once_in_order),
        CASE(a_timer_may_cancel_others),
        CASE(a_timer_may_set_itself),
        CASE(messages_arrive_once_in_order),
        CASE(posting_twice_runs_once),
        CASE(stopping_loses_no_accepted_message),
        CASE(watches_tell),
        CASE(a_bad_descriptor_is_refused),
        CASE(an_event_under_way_is_forgotten),
        CASE(a_stopping_child_tells_its_guests),
        CASE(is_alive_until_stopped),
        CASE(leaves_no_descriptor),
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
