/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parked connection's state machine (see park.h).  How a connection is
 * taken from the MPM and given back is the glue's; when, is settled here.
 */
#include "upstream/park.h"

#include <stdlib.h>
#include <sys/epoll.h>

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "base/log.h"
#include "base/timeutil.h"

/* A stress test puts random delays around every transition. */
#ifndef GB_PARK_DELAY
#define GB_PARK_DELAY()
#endif

/* Answers that come sooner than this are waited for. */
#define LINGER apr_time_from_msec(20)

/* A call that is answered sooner is not worth watching its client. */
#define WATCH_AFTER apr_time_from_msec(200)

#define LEFT (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

struct gb_park_t {
    gb_sink_t sink; /* first */
    gb_engine_t *engine;
    gb_exchange_t *x;
    const gb_park_ops_t *ops;
    apr_interval_time_t timeout, nudge; /* nudge: it is parked anew so often */

    apr_thread_mutex_t *lock; /* guards all below */
    gb_park_state_t state;
    void *conn;       /* NULL once detached or done */
    gb_watch_t watch; /* the client's socket, while PARKED or BLOCKED */
    int wants;        /* the exchange was told to wait for us */
    int ended;        /* the exchange is over */
    apr_status_t rv;
    const gb_head_t *whole;
    apr_time_t parked_at, progress_at;
    int fd;                     /* the client's socket */
    int watches;                /* watch it as soon as it is parked */
    apr_thread_cond_t *lingers; /* NULL: this answer is not waited for */

    gb_timer_t timer; /* the engine's alone */
    apr_time_t began;
};

/* ---- transitions ---- */

#define TO(s) (1U << GB_PARK_##s)

static const unsigned allowed[GB_PARK_STATES] = {
    [GB_PARK_ASKED] = TO(PARKED) | TO(FINISHING) | TO(DETACHED),
    [GB_PARK_PARKED] = TO(NUDGED) | TO(BLOCKED) | TO(FINISHING) | TO(DETACHED),
    [GB_PARK_BLOCKED] = TO(PARKED) | TO(NUDGED) | TO(FINISHING) | TO(DETACHED),
    [GB_PARK_NUDGED] = TO(PARKED) | TO(DETACHED),
    [GB_PARK_FINISHING] = TO(DONE) | TO(DETACHED),
    [GB_PARK_DETACHED] = 0,
    [GB_PARK_DONE] = 0,
};

int gb_park_allows(gb_park_state_t from, gb_park_state_t to)
{
    return (allowed[from] >> to) & 1;
}

const char *gb_park_state_name(gb_park_state_t state)
{
    static const char *const names[GB_PARK_STATES] = {"ASKED",     "PARKED",   "BLOCKED", "NUDGED",
                                                      "FINISHING", "DETACHED", "DONE"};

    return names[state];
}

/* Every change of state goes through here.  A wrong one is a bug that would corrupt a connection. */
static void go_locked(gb_park_t *park, gb_park_state_t to)
{
    if (!gb_park_allows(park->state, to)) {
        gb_log(GB_LOG_ALERT, 0, GBLOGNO(5010) "park: %s may not become %s",
               gb_park_state_name(park->state), gb_park_state_name(to));
        abort();
    }
    park->state = to;
}

static void lock(gb_park_t *park)
{
    GB_PARK_DELAY();
    apr_thread_mutex_lock(park->lock);
    GB_PARK_DELAY();
}

static void unlock(gb_park_t *park)
{
    apr_thread_mutex_unlock(park->lock);
    GB_PARK_DELAY();
}

static int is_ours_locked(const gb_park_t *park)
{
    return park->state == GB_PARK_PARKED || park->state == GB_PARK_BLOCKED;
}

static void watch_locked(gb_park_t *park)
{
    if (park->watch.fd < 0
        && gb_watch_add(park->engine, &park->watch, park->fd, LEFT) != APR_SUCCESS) {
        gb_log(GB_LOG_WARNING, 0, GBLOGNO(5011) "park: cannot watch the client's socket");
    }
}

/* Whoever lingers has something to look at. */
static void tell_lingerer(gb_park_t *park)
{
    if (park->lingers) {
        apr_thread_cond_signal(park->lingers);
    }
}

/* The connection goes to a worker, who will find it in that state. */
static void hand_over_locked(gb_park_t *park, gb_park_state_t to)
{
    gb_watch_remove(park->engine, &park->watch);
    go_locked(park, to);
    park->ops->wake(park->conn);
}

/* ---- the engine's side: the sink ---- */

static gb_park_t *park_of(gb_sink_t *sink)
{
    return (gb_park_t *)sink;
}

/* What the engine may do for the exchange now: write, wait, or give up. */
static apr_status_t may_write_locked(gb_park_t *park)
{
    switch (park->state) {
    case GB_PARK_PARKED:
        return APR_SUCCESS;
    case GB_PARK_BLOCKED:
        return APR_EAGAIN;
    case GB_PARK_ASKED:
    case GB_PARK_NUDGED:
        park->wants = 1;
        tell_lingerer(park);
        return APR_EAGAIN;
    case GB_PARK_FINISHING:
    case GB_PARK_DETACHED:
    case GB_PARK_DONE:
    case GB_PARK_STATES:
        break;
    }
    return APR_ECONNABORTED;
}

/* A small whole answer is kept for the worker that finishes: no connection is touched for it. */
static int keep_whole_locked(gb_park_t *park, gb_head_t *head)
{
    if (park->state == GB_PARK_DETACHED || !head->body
        || (head->content_length > GB_PARK_WHOLE_MAX && !head->unfinished)) {
        return 0;
    }
    head->taken = 1;
    park->whole = head;
    return 1;
}

static apr_status_t park_begin(gb_sink_t *sink, gb_head_t *head)
{
    gb_park_t *park = park_of(sink);
    apr_status_t rv = APR_SUCCESS;

    lock(park);
    if (!keep_whole_locked(park, head)) {
        rv = may_write_locked(park);
        if (rv == APR_SUCCESS) {
            park->ops->begin(park->conn, head);
        }
    }
    unlock(park);
    return rv;
}

static apr_status_t park_data(gb_sink_t *sink, const char *bytes, apr_size_t len, apr_size_t *taken)
{
    gb_park_t *park = park_of(sink);
    apr_status_t rv;
    apr_size_t room;

    lock(park);
    rv = may_write_locked(park);
    if (rv == APR_SUCCESS) {
        room = park->ops->room(park->conn);
        if (room == 0) {
            go_locked(park, GB_PARK_BLOCKED);
            park->wants = 1; /* a nudge may come before the client can take more */
            watch_locked(park);
            gb_watch_change(park->engine, &park->watch, LEFT | EPOLLOUT);
            rv = APR_EAGAIN;
        }
        else {
            *taken = len < room ? len : room;
            rv = park->ops->write(park->conn, bytes, *taken);
            park->progress_at = gb_mono_now();
        }
    }
    unlock(park);
    return rv;
}

static void park_end(gb_sink_t *sink, apr_status_t rv)
{
    gb_park_t *park = park_of(sink);

    gb_timer_cancel(park->engine, &park->timer);
    gb_engine_note_answer(park->engine, gb_mono_now() - park->began);
    lock(park);
    park->ended = 1;
    park->rv = rv;
    if (is_ours_locked(park)) {
        hand_over_locked(park, GB_PARK_FINISHING);
    }
    unlock(park);
    tell_lingerer(park); /* unlocked: it would only run into the lock */
    gb_watch_forget(park->engine, &park->watch);
}

static void park_start(gb_sink_t *sink)
{
    gb_park_t *park = park_of(sink);

    gb_timer_set(park->engine, &park->timer, park->nudge < WATCH_AFTER ? park->nudge : WATCH_AFTER);
}

/* The client's socket: it can take bytes again, or the client left (or half-closed, which counts). */
static void on_client(gb_watch_t *watch, uint32_t events)
{
    gb_park_t *park = (gb_park_t *)((char *)watch - offsetof(gb_park_t, watch));
    int left = 0, writable = 0;

    lock(park);
    if (is_ours_locked(park)) {
        left = (events & LEFT) != 0;
        if (left) {
            gb_watch_remove(park->engine, watch);
        }
        else if (park->state == GB_PARK_BLOCKED && (events & EPOLLOUT)) {
            go_locked(park, GB_PARK_PARKED);
            gb_watch_change(park->engine, watch, LEFT);
            park->wants = 0;
            writable = 1;
        }
    }
    unlock(park);

    if (left) {
        gb_exchange_cancel(park->x);
    }
    else if (writable) {
        gb_exchange_wake(park->x);
    }
}

/*
 * First, the call takes its time: from now on its client is watched.  Later,
 * half of the MPM's Timeout is over: a worker parks the connection anew, or the
 * MPM would close it.
 */
static void on_timer(gb_timer_t *timer)
{
    gb_park_t *park = (gb_park_t *)((char *)timer - offsetof(gb_park_t, timer));
    apr_time_t now = gb_mono_now();
    apr_interval_time_t next = park->nudge;
    int stuck = 0;

    lock(park);
    park->watches = 1;
    if (is_ours_locked(park)) {
        watch_locked(park);
        stuck = park->state == GB_PARK_BLOCKED && now - park->progress_at > park->timeout;
        if (!stuck && now - park->parked_at >= park->nudge) {
            hand_over_locked(park, GB_PARK_NUDGED);
        }
        else {
            next = park->parked_at + park->nudge - now;
        }
    }
    unlock(park);

    if (stuck) {
        gb_exchange_cancel(park->x);
        next = park->nudge;
    }
    gb_timer_set(park->engine, timer, next);
}

/* ---- the connection's side ---- */

gb_park_t *gb_park_make(gb_engine_t *engine, gb_exchange_t *x, const gb_park_ops_t *ops, void *conn,
                        apr_interval_time_t timeout, apr_interval_time_t polled)
{
    apr_pool_t *pool = gb_exchange_own_pool(x);
    gb_park_t *park = apr_pcalloc(pool, sizeof(*park));

    park->sink.start = park_start;
    park->sink.begin = park_begin;
    park->sink.data = park_data;
    park->sink.end = park_end;
    park->engine = engine;
    park->x = x;
    park->ops = ops;
    park->conn = conn;
    park->timeout = timeout;
    park->nudge = polled / 2;
    park->watch.fd = -1;
    park->watch.fn = on_client;
    park->timer.fn = on_timer;
    park->state = GB_PARK_ASKED;
    park->began = gb_mono_now();
    if (apr_thread_mutex_create(&park->lock, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        abort();
    }
    /* now or never: once the exchange has started, its pool is the engine's */
    if (gb_engine_usual_answer(engine) <= LINGER
        && apr_thread_cond_create(&park->lingers, pool) != APR_SUCCESS) {
        park->lingers = NULL;
    }
    return park;
}

gb_sink_t *gb_park_sink(gb_park_t *park)
{
    return &park->sink;
}

gb_park_state_t gb_park_state(gb_park_t *park)
{
    gb_park_state_t state;

    lock(park);
    state = park->state;
    unlock(park);
    return state;
}

int gb_park_linger(gb_park_t *park)
{
    apr_time_t until;
    int there;

    if (!park->lingers) {
        return 0;
    }
    until = gb_mono_now() + LINGER;
    lock(park);
    while (!park->ended && !park->wants && gb_mono_now() < until) {
        apr_thread_cond_timedwait(park->lingers, park->lock, until - gb_mono_now());
    }
    there = park->ended;
    if (there) {
        go_locked(park, GB_PARK_FINISHING);
    }
    unlock(park);
    return there;
}

void gb_park_parked(gb_park_t *park, int fd)
{
    gb_exchange_t *x = park->x;
    int wake;

    lock(park);
    go_locked(park, GB_PARK_PARKED);
    park->fd = fd;
    park->parked_at = gb_mono_now();
    if (!park->progress_at) {
        park->progress_at = park->parked_at;
    }
    if (park->ended) {
        hand_over_locked(park, GB_PARK_FINISHING); /* it was over before we were ready */
    }
    else if (park->watches) {
        watch_locked(park);
    }
    wake = park->wants;
    park->wants = 0;
    if (wake) {
        gb_exchange_ref(x); /* once unlocked, the connection may be through with it */
    }
    unlock(park);
    if (wake) {
        gb_exchange_wake(x);
        gb_exchange_unref(x);
    }
}

void gb_park_detach(gb_park_t *park)
{
    gb_exchange_t *x = park->x;

    lock(park);
    gb_watch_remove(park->engine, &park->watch);
    go_locked(park, GB_PARK_DETACHED);
    park->conn = NULL;
    unlock(park);
    gb_exchange_cancel(x);
    gb_exchange_unref(x);
}

void gb_park_rest(gb_park_t *park, gb_park_rest_t *rest)
{
    lock(park);
    rest->whole = park->whole;
    rest->rv = park->rv;
    rest->x = park->x;
    unlock(park);
}

void gb_park_done(gb_park_t *park)
{
    gb_exchange_t *x = park->x;

    lock(park);
    go_locked(park, GB_PARK_DONE);
    park->conn = NULL;
    unlock(park);
    gb_exchange_unref(x);
}
