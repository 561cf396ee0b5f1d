/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's loop: messages, timers, watched descriptors, and curl's sockets
 * and timer.  It knows nothing of calls, exchanges or connections; those embed
 * a gb_msg_t, gb_timer_t, gb_watch_t or gb_drain_t and are called back.
 */
#include "upstream/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <apr_atomic.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <curl/curl.h>

#include "base/log.h"
#include "base/timeutil.h"
#include "upstream/call.h"

#define EVENTS_PER_TURN 256
#define TICK            apr_time_from_sec(1)
#define STALE           apr_time_from_sec(10)
#define IDLE_UPSTREAMS  1024L
#define KEEP_FREE       (8 * 1024 * 1024)
#define USUAL_MAX       apr_time_from_sec(1)

struct gb_engine_t {
    gb_engine_conf_t conf;
    apr_pool_t *pool;
    apr_thread_t *thread;
    int epfd;
    int curl_epfd; /* curl's sockets, see socket_changed; itself watched in epfd */
    gb_watch_t curl_watch;
    int curl_ready; /* something waits there */

    apr_thread_mutex_t *lock; /* guards the queue, `asleep` and `ended` */
    gb_msg_t *head, **tail;
    int n_queued;
    int asleep; /* whoever posts wakes it up */
    int ended;
    gb_watch_t wakeup;
    volatile apr_uint32_t stop;   /* set by gb_engine_stop, atomic */
    volatile apr_uint32_t turned; /* seconds of the monotonic clock at the last turn, atomic */

    gb_timer_t **heap; /* 1-based */
    int n_timers, cap_timers;

    struct epoll_event *batch; /* what is being worked off */
    int batch_n, batch_at;

    apr_allocator_t *allocator;  /* for exchanges, with a lock of its own */
    volatile apr_uint32_t usual; /* microseconds: a moving average of whole answers, atomic */

    CURLM *multi;
    gb_timer_t curl_timer;
    gb_timer_t tick;
    struct gb_call_stock_t *stock;
    gb_proxies_t proxies; /* what is known of the ways out */

    gb_drain_t drains; /* ring with this as its head */
    int phase;         /* -1 serving, else the last that was told */
    apr_time_t stopping_since;
};

/* One of curl's sockets.  Recycled through a free list. */
typedef struct sock_t {
    gb_watch_t watch;
    gb_engine_t *engine;
} sock_t;

/* ---- messages ---- */

apr_status_t gb_engine_post(gb_engine_t *engine, gb_msg_t *msg)
{
    apr_status_t rv = APR_SUCCESS;
    uint64_t one = 1;

    apr_thread_mutex_lock(engine->lock);
    if (engine->ended) {
        rv = APR_EOF;
    }
    else if (msg->queued) {
        rv = APR_EEXIST;
    }
    else {
        if (engine->asleep) {
            engine->asleep = 0;
            /* under the lock: afterwards the engine may have ended and closed it */
            (void)!write(engine->wakeup.fd, &one, sizeof(one));
        }
        msg->queued = 1;
        engine->n_queued++;
        msg->next = NULL;
        *engine->tail = msg;
        engine->tail = &msg->next;
    }
    apr_thread_mutex_unlock(engine->lock);
    return rv;
}

static gb_msg_t *next_message(gb_engine_t *engine)
{
    gb_msg_t *msg;

    apr_thread_mutex_lock(engine->lock);
    msg = engine->head;
    if (msg) {
        engine->head = msg->next;
        if (!engine->head) {
            engine->tail = &engine->head;
        }
        msg->queued = 0;
        engine->n_queued--;
    }
    apr_thread_mutex_unlock(engine->lock);
    return msg;
}

/* Those that wait now: what they post themselves has its turn after timers and descriptors. */
static void run_messages(gb_engine_t *engine)
{
    gb_msg_t *msg;
    int n;

    apr_thread_mutex_lock(engine->lock);
    n = engine->n_queued;
    apr_thread_mutex_unlock(engine->lock);
    while (n-- > 0 && (msg = next_message(engine)) != NULL) {
        msg->fn(msg);
    }
}

/* Not while messages wait: nobody would wake it up for them. */
static int falls_asleep(gb_engine_t *engine)
{
    int asleep;

    apr_thread_mutex_lock(engine->lock);
    asleep = engine->asleep = engine->n_queued == 0;
    apr_thread_mutex_unlock(engine->lock);
    return asleep;
}

static void is_awake(gb_engine_t *engine)
{
    apr_thread_mutex_lock(engine->lock);
    engine->asleep = 0;
    apr_thread_mutex_unlock(engine->lock);
}

/* It has been told by waking up.  Watched by its edges, the counter need not be read. */
static void on_wakeup(gb_watch_t *watch, uint32_t events)
{
    (void)watch;
    (void)events;
}

/* ---- timers: a binary heap, soonest first ---- */

static void heap_put(gb_engine_t *engine, int at, gb_timer_t *timer)
{
    engine->heap[at] = timer;
    timer->at = at;
}

static void heap_up(gb_engine_t *engine, int at, gb_timer_t *timer)
{
    while (at > 1 && engine->heap[at / 2]->due > timer->due) {
        heap_put(engine, at, engine->heap[at / 2]);
        at /= 2;
    }
    heap_put(engine, at, timer);
}

static void heap_down(gb_engine_t *engine, int at, gb_timer_t *timer)
{
    int child;

    while ((child = 2 * at) <= engine->n_timers) {
        if (child < engine->n_timers && engine->heap[child + 1]->due < engine->heap[child]->due) {
            child++;
        }
        if (engine->heap[child]->due >= timer->due) {
            break;
        }
        heap_put(engine, at, engine->heap[child]);
        at = child;
    }
    heap_put(engine, at, timer);
}

void gb_timer_cancel(gb_engine_t *engine, gb_timer_t *timer)
{
    int at = timer->at;
    gb_timer_t *last;

    if (!at) {
        return;
    }
    timer->at = 0;
    last = engine->heap[engine->n_timers--];
    if (last == timer) {
        return;
    }
    if (at > 1 && engine->heap[at / 2]->due > last->due) {
        heap_up(engine, at, last);
    }
    else {
        heap_down(engine, at, last);
    }
}

void gb_timer_set(gb_engine_t *engine, gb_timer_t *timer, apr_interval_time_t after)
{
    gb_timer_cancel(engine, timer);
    timer->due = gb_mono_now() + (after > 0 ? after : 0);
    if (engine->n_timers + 1 >= engine->cap_timers) {
        int cap = engine->cap_timers ? engine->cap_timers * 2 : 256;
        gb_timer_t **heap = realloc(engine->heap, (size_t)cap * sizeof(gb_timer_t *));

        if (!heap) {
            abort(); /* a wait that never ends would be worse */
        }
        engine->heap = heap;
        engine->cap_timers = cap;
    }
    heap_up(engine, ++engine->n_timers, timer);
}

static void run_timers(gb_engine_t *engine)
{
    apr_time_t now = gb_mono_now();

    while (engine->n_timers && engine->heap[1]->due <= now) {
        gb_timer_t *timer = engine->heap[1];

        gb_timer_cancel(engine, timer);
        timer->fn(timer);
    }
}

static int wait_ms(gb_engine_t *engine)
{
    apr_interval_time_t wait;

    if (!engine->n_timers) {
        return 1000;
    }
    wait = engine->heap[1]->due - gb_mono_now();
    return wait <= 0 ? 0 : (int)((wait + 999) / 1000);
}

/* ---- descriptors ---- */

static apr_status_t watch_control(int epfd, int op, gb_watch_t *watch, uint32_t events)
{
    struct epoll_event ev;

    memset(&ev, 0, sizeof(ev));
    ev.events = events;
    ev.data.ptr = watch;
    return epoll_ctl(epfd, op, watch->fd, &ev) ? errno : APR_SUCCESS;
}

apr_status_t gb_watch_add(gb_engine_t *engine, gb_watch_t *watch, int fd, uint32_t events)
{
    apr_status_t rv;

    watch->fd = fd;
    rv = watch_control(engine->epfd, EPOLL_CTL_ADD, watch, events);
    if (rv != APR_SUCCESS) {
        watch->fd = -1;
    }
    return rv;
}

apr_status_t gb_watch_change(gb_engine_t *engine, gb_watch_t *watch, uint32_t events)
{
    return watch_control(engine->epfd, EPOLL_CTL_MOD, watch, events);
}

void gb_watch_remove(gb_engine_t *engine, gb_watch_t *watch)
{
    if (watch->fd >= 0) {
        watch_control(engine->epfd, EPOLL_CTL_DEL, watch, 0);
        watch->fd = -1;
    }
}

void gb_watch_forget(gb_engine_t *engine, gb_watch_t *watch)
{
    int i;

    for (i = engine->batch_at; i < engine->batch_n; i++) {
        if (engine->batch[i].data.ptr == watch) {
            engine->batch[i].data.ptr = NULL;
        }
    }
}

static void run_batch(gb_engine_t *engine, int epfd, int wait)
{
    struct epoll_event batch[EVENTS_PER_TURN];
    int n = epoll_wait(epfd, batch, EVENTS_PER_TURN, wait);

    if (wait) {
        is_awake(engine);
    }
    engine->batch = batch;
    engine->batch_n = n > 0 ? n : 0;
    for (engine->batch_at = 0; engine->batch_at < engine->batch_n;) {
        struct epoll_event *ev = &batch[engine->batch_at++];
        gb_watch_t *watch = ev->data.ptr;

        if (watch) {
            watch->fn(watch, ev->events);
        }
    }
    engine->batch = NULL;
    engine->batch_n = 0;
}

static void run_events(gb_engine_t *engine)
{
    int wait = wait_ms(engine);

    run_batch(engine, engine->epfd, wait && falls_asleep(engine) ? wait : 0);
    if (engine->curl_ready) {
        engine->curl_ready = 0;
        run_batch(engine, engine->curl_epfd, 0);
    }
}

/* ---- curl ---- */

static void curl_turn(gb_engine_t *engine, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(engine->multi, fd, what, &running);
    gb_call_reap(engine);
}

static void on_socket(gb_watch_t *watch, uint32_t events)
{
    sock_t *sock = (sock_t *)watch;
    int what = ((events & (EPOLLIN | EPOLLRDHUP)) ? CURL_CSELECT_IN : 0)
               | ((events & EPOLLOUT) ? CURL_CSELECT_OUT : 0)
               | ((events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0);

    curl_turn(sock->engine, watch->fd, what);
}

static void on_curl_ready(gb_watch_t *watch, uint32_t events)
{
    gb_engine_t *engine = (gb_engine_t *)((char *)watch - offsetof(gb_engine_t, curl_watch));

    (void)events;
    engine->curl_ready = 1;
}

static void socket_add(gb_engine_t *engine, curl_socket_t fd, uint32_t events)
{
    sock_t *sock = calloc(1, sizeof(*sock));

    if (sock) {
        sock->engine = engine;
        sock->watch.fn = on_socket;
        sock->watch.fd = fd;
        curl_multi_assign(engine->multi, fd, sock);
        watch_control(engine->curl_epfd, EPOLL_CTL_ADD, &sock->watch, events);
    }
}

/*
 * curl says what to wait for.  A closed descriptor has left epoll by itself, so
 * errors do not matter.  curl 7.88 closes a socket that was still connecting
 * first and says so later: by then the number may be a client's, or that of
 * curl's own next socket.  Therefore its sockets have an epoll of their own,
 * where it can do no harm to a client's watch.
 */
static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *userp, void *socketp)
{
    gb_engine_t *engine = userp;
    sock_t *sock = socketp;
    uint32_t events = ((what & CURL_POLL_IN) ? (uint32_t)EPOLLIN : 0U)
                      | ((what & CURL_POLL_OUT) ? (uint32_t)EPOLLOUT : 0U);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (sock) {
            watch_control(engine->curl_epfd, EPOLL_CTL_DEL, &sock->watch, 0);
            gb_watch_forget(engine, &sock->watch);
            curl_multi_assign(engine->multi, fd, NULL);
            free(sock);
        }
    }
    else if (!sock) {
        socket_add(engine, fd, events);
    }
    else if (watch_control(engine->curl_epfd, EPOLL_CTL_MOD, &sock->watch, events) == ENOENT) {
        watch_control(engine->curl_epfd, EPOLL_CTL_ADD, &sock->watch, events);
    }
    return 0;
}

static int curl_timer_changed(CURLM *multi, long ms, void *userp)
{
    gb_engine_t *engine = userp;

    (void)multi;
    if (ms < 0) {
        gb_timer_cancel(engine, &engine->curl_timer);
    }
    else {
        gb_timer_set(engine, &engine->curl_timer, apr_time_from_msec((apr_interval_time_t)ms));
    }
    return 0;
}

static void on_curl_timer(gb_timer_t *timer)
{
    gb_engine_t *engine = (gb_engine_t *)((char *)timer - offsetof(gb_engine_t, curl_timer));

    curl_turn(engine, CURL_SOCKET_TIMEOUT, 0);
}

static CURLM *multi_make(gb_engine_t *engine)
{
    CURLM *multi = curl_multi_init();

    if (multi) {
        curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
        curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, engine);
        curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, curl_timer_changed);
        curl_multi_setopt(multi, CURLMOPT_TIMERDATA, engine);
        curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, IDLE_UPSTREAMS);
    }
    return multi;
}

void *gb_engine_multi(gb_engine_t *engine)
{
    return engine->multi;
}

struct gb_call_stock_t **gb_engine_stock(gb_engine_t *engine)
{
    return &engine->stock;
}

gb_proxies_t *gb_engine_proxies(gb_engine_t *engine)
{
    return &engine->proxies;
}

const gb_engine_conf_t *gb_engine_conf(gb_engine_t *engine)
{
    return &engine->conf;
}

/* ---- stopping ---- */

void gb_drain_add(gb_engine_t *engine, gb_drain_t *drain)
{
    drain->next = &engine->drains;
    drain->prev = engine->drains.prev;
    drain->prev->next = drain;
    engine->drains.prev = drain;
}

void gb_drain_remove(gb_engine_t *engine, gb_drain_t *drain)
{
    (void)engine;
    if (drain->next) {
        drain->next->prev = drain->prev;
        drain->prev->next = drain->next;
        drain->next = drain->prev = NULL;
    }
}

/* Whoever is told may leave the ring, and nobody else. */
static void tell_drains(gb_engine_t *engine, int phase)
{
    gb_drain_t *drain = engine->drains.next;

    engine->phase = phase;
    while (drain != &engine->drains) {
        gb_drain_t *next = drain->next;

        drain->fn(drain, phase);
        drain = next;
    }
}

int gb_engine_is_stopping(gb_engine_t *engine)
{
    return engine->phase + 1;
}

static void on_tick(gb_timer_t *timer)
{
    gb_engine_t *engine = (gb_engine_t *)((char *)timer - offsetof(gb_engine_t, tick));
    apr_time_t now = gb_mono_now();

    if (engine->phase < 0 && engine->conf.stopping && engine->conf.stopping(engine->conf.baton)) {
        engine->stopping_since = now;
        tell_drains(engine, 0);
        gb_call_close_idle(engine);
    }
    else if (engine->phase == 0 && now - engine->stopping_since >= engine->conf.drain) {
        tell_drains(engine, 1);
    }
    gb_timer_set(engine, timer, TICK);
}

/* ---- the thread ---- */

int gb_engine_alive(gb_engine_t *engine)
{
    apr_uint32_t turned = apr_atomic_read32(&engine->turned);
    apr_uint32_t now = (apr_uint32_t)apr_time_sec(gb_mono_now());

    return !apr_atomic_read32(&engine->stop) && now - turned < (apr_uint32_t)apr_time_sec(STALE);
}

/* Messages are refused from now on; those that are queued still run. */
static void close_queue(gb_engine_t *engine)
{
    apr_thread_mutex_lock(engine->lock);
    engine->ended = 1;
    apr_thread_mutex_unlock(engine->lock);
    do {
        run_messages(engine);
    } while (!falls_asleep(engine));
}

static void *APR_THREAD_FUNC engine_main(apr_thread_t *thread, void *data)
{
    gb_engine_t *engine = data;

    (void)thread;
    gb_timer_set(engine, &engine->tick, TICK);
    while (!apr_atomic_read32(&engine->stop)) {
        apr_atomic_set32(&engine->turned, (apr_uint32_t)apr_time_sec(gb_mono_now()));
        run_events(engine);
        run_timers(engine);
        run_messages(engine);
    }
    close_queue(engine);
    tell_drains(engine, 2);
    gb_call_stock_free(engine);
    curl_multi_cleanup(engine->multi);
    engine->multi = NULL;
    return NULL;
}

/*
 * With the pool, not with the thread: a connection that dies later still takes
 * its watch away, and the number must not be somebody else's by then.
 */
static apr_status_t engine_close(void *data)
{
    gb_engine_t *engine = data;

    if (engine->multi) {
        curl_multi_cleanup(engine->multi);
    }
    if (engine->wakeup.fd >= 0) {
        close(engine->wakeup.fd);
    }
    if (engine->curl_epfd >= 0) {
        close(engine->curl_epfd);
    }
    if (engine->epfd >= 0) {
        close(engine->epfd);
    }
    if (engine->allocator) {
        apr_allocator_mutex_set(engine->allocator, NULL); /* it went with its pool */
        apr_allocator_destroy(engine->allocator);
    }
    return APR_SUCCESS;
}

apr_allocator_t *gb_engine_allocator(gb_engine_t *engine)
{
    return engine->allocator;
}

void gb_engine_note_answer(gb_engine_t *engine, apr_interval_time_t took)
{
    apr_int64_t usual = apr_atomic_read32(&engine->usual);

    usual += ((took < USUAL_MAX ? took : USUAL_MAX) - usual) / 8;
    apr_atomic_set32(&engine->usual, (apr_uint32_t)usual);
}

apr_interval_time_t gb_engine_usual_answer(gb_engine_t *engine)
{
    return apr_atomic_read32(&engine->usual);
}

static apr_status_t allocator_make(gb_engine_t *engine, apr_pool_t *p)
{
    apr_thread_mutex_t *lock;
    apr_status_t rv = apr_allocator_create(&engine->allocator);

    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, p);
    }
    if (rv == APR_SUCCESS) {
        apr_allocator_mutex_set(engine->allocator, lock);
        apr_allocator_max_free_set(engine->allocator, KEEP_FREE);
    }
    return rv;
}

static apr_status_t engine_open(gb_engine_t *engine)
{
    apr_status_t rv;
    int fd;

    engine->epfd = epoll_create1(EPOLL_CLOEXEC);
    engine->curl_epfd = epoll_create1(EPOLL_CLOEXEC);
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine->epfd < 0 || engine->curl_epfd < 0 || fd < 0) {
        rv = errno;
        if (fd >= 0) {
            close(fd);
        }
        return rv;
    }
    engine->wakeup.fn = on_wakeup;
    engine->curl_watch.fn = on_curl_ready;
    engine->multi = multi_make(engine);
    rv = gb_watch_add(engine, &engine->wakeup, fd, EPOLLIN | EPOLLET);
    if (rv == APR_SUCCESS) {
        rv = gb_watch_add(engine, &engine->curl_watch, engine->curl_epfd, EPOLLIN);
    }
    return engine->multi ? rv : APR_ENOMEM;
}

apr_status_t gb_engine_start(gb_engine_t **pengine, const gb_engine_conf_t *conf, apr_pool_t *p)
{
    gb_engine_t *engine = apr_pcalloc(p, sizeof(*engine));
    apr_status_t rv;

    engine->conf = *conf;
    engine->pool = p;
    engine->tail = &engine->head;
    engine->drains.next = engine->drains.prev = &engine->drains;
    engine->phase = -1;
    engine->tick.fn = on_tick;
    engine->curl_timer.fn = on_curl_timer;
    engine->turned = (apr_uint32_t)apr_time_sec(gb_mono_now());
    engine->epfd = engine->curl_epfd = engine->wakeup.fd = -1;
    apr_pool_cleanup_register(p, engine, engine_close, apr_pool_cleanup_null);

    engine->usual = USUAL_MAX;
    rv = apr_thread_mutex_create(&engine->lock, APR_THREAD_MUTEX_DEFAULT, p);
    if (rv == APR_SUCCESS) {
        rv = allocator_make(engine, p);
    }
    if (rv == APR_SUCCESS) {
        rv = engine_open(engine);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_thread_create(&engine->thread, NULL, engine_main, engine, p);
    }
    if (rv == APR_SUCCESS) {
        *pengine = engine;
    }
    return rv;
}

void gb_engine_stop(gb_engine_t *engine)
{
    uint64_t one = 1;
    apr_status_t ignored;

    apr_atomic_set32(&engine->stop, 1);
    (void)!write(engine->wakeup.fd, &one, sizeof(one));
    apr_thread_join(&ignored, engine->thread);
    free(engine->heap);
    engine->heap = NULL;
    engine->n_timers = engine->cap_timers = 0;
}
