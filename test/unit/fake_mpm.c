/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_mpm.h.  Linked into every unit test; used by those of the parked connection. */
#include "fake_mpm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "upstream/wait.h"

#define PIECE_MAX (16 * 1024)

typedef struct mpm_conn_t mpm_conn_t;

struct mpm_conn_t {
    mpm_conn_t *next; /* in the queue */
    mpm_t *mpm;
    mpm_conn_conf_t conf;
    uint64_t id;
    int fd, efd;
    apr_size_t piece;
    int number; /* of the request */
    gb_park_t *park;
    int polled; /* the listener has it; else a worker.  These four under the lock */
    int doomed, timed_out;
    apr_time_t deadline;
};

struct mpm_t {
    mpm_conf_t conf;
    int epfd;
    pthread_t listener, *workers;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t cond;
    mpm_conn_t *head, **tail; /* for workers */
    mpm_conn_t *conns[MPM_CONNS];
    uint64_t ids;
    int n_open, stopping;
    mpm_counts_t counts;
};

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fake mpm: %s\n", what);
        abort();
    }
}

static void count(mpm_t *mpm, int *n)
{
    pthread_mutex_lock(&mpm->lock);
    ++*n;
    pthread_mutex_unlock(&mpm->lock);
}

/* ---- the connection's side of the park ---- */

static void conn_begin(void *conn, const gb_head_t *head)
{
    mpm_conn_t *c = conn;

    must(c->park != NULL && head->status >= 200, "begin");
}

static apr_size_t conn_room(void *conn)
{
    mpm_conn_t *c = conn;
    struct pollfd pfd = {.fd = c->fd, .events = POLLOUT};

    return poll(&pfd, 1, 0) > 0 ? c->piece : 0;
}

/* Blocks like httpd's filters would, for up to a second. */
static apr_status_t send_all(int fd, const char *bytes, apr_size_t len)
{
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            struct pollfd pfd = {.fd = fd, .events = POLLOUT};

            if (poll(&pfd, 1, 1000) <= 0) {
                return APR_TIMEUP;
            }
            continue;
        }
        if (n < 0) {
            return APR_ECONNABORTED;
        }
        bytes += n;
        len -= (apr_size_t)n;
    }
    return APR_SUCCESS;
}

static apr_status_t conn_write(void *conn, const char *bytes, apr_size_t len)
{
    return send_all(((mpm_conn_t *)conn)->fd, bytes, len);
}

static void conn_wake(void *conn)
{
    uint64_t one = 1;

    must(write(((mpm_conn_t *)conn)->efd, &one, sizeof(one)) == sizeof(one), "wake");
}

static const gb_park_ops_t conn_ops = {conn_begin, conn_room, conn_write, conn_wake};

/* ---- where a connection is ---- */

static void queue_locked(mpm_t *mpm, mpm_conn_t *c)
{
    c->polled = 0;
    c->next = NULL;
    *mpm->tail = c;
    mpm->tail = &c->next;
    pthread_cond_signal(&mpm->cond);
}

static void conn_free(mpm_conn_t *c)
{
    mpm_t *mpm = c->mpm;

    must(c->park == NULL, "a connection goes with its park");
    pthread_mutex_lock(&mpm->lock);
    mpm->conns[c->id % MPM_CONNS] = NULL;
    mpm->n_open--;
    pthread_cond_broadcast(&mpm->cond);
    pthread_mutex_unlock(&mpm->lock);
    close(c->fd);
    close(c->efd);
    free(c);
}

static int is_doomed(mpm_conn_t *c)
{
    int doomed;

    pthread_mutex_lock(&c->mpm->lock);
    doomed = c->doomed || c->timed_out || c->mpm->stopping;
    pthread_mutex_unlock(&c->mpm->lock);
    return doomed;
}

/* What the cleanup of a connection does. */
static void destroy(mpm_conn_t *c)
{
    mpm_t *mpm = c->mpm;

    if (c->park) {
        gb_park_state_t state = gb_park_state(c->park);

        gb_park_detach(c->park);
        c->park = NULL;
        pthread_mutex_lock(&mpm->lock);
        mpm->counts.detached++;
        mpm->counts.detached_in[state]++;
        mpm->counts.timed_out += c->timed_out;
        pthread_mutex_unlock(&mpm->lock);
    }
    conn_free(c);
}

/* The suspend_connection hook, and the listener takes over. */
static void suspend(mpm_conn_t *c)
{
    mpm_t *mpm = c->mpm;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = c->id};

    if (is_doomed(c)) {
        destroy(c);
        return;
    }
    gb_park_parked(c->park, c->fd);
    pthread_mutex_lock(&mpm->lock);
    mpm->counts.parked++;
    c->deadline = gb_mono_now() + c->conf.timeout;
    if (c->doomed || mpm->stopping) {
        queue_locked(mpm, c);
    }
    else {
        c->polled = 1;
        must(epoll_ctl(mpm->epfd, EPOLL_CTL_MOD, c->efd, &ev) == 0, "epoll_ctl");
    }
    pthread_mutex_unlock(&mpm->lock);
}

/* ---- what workers do ---- */

static int peer_left(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLRDHUP};

    return poll(&pfd, 1, 0) > 0;
}

static apr_status_t relay(mpm_conn_t *c, gb_exchange_t *x, gb_wait_t *wait)
{
    apr_status_t rv, how = APR_SUCCESS;
    const gb_head_t *head = NULL;
    gb_buf_t bytes;
    int gone = 0;

    gb_buf_init(&bytes, GB_BUF_MAX_ANSWER);
    while ((rv = gb_wait_next(wait, &head, &bytes, &how, apr_time_from_msec(5))) != APR_EOF) {
        must(rv == APR_SUCCESS || APR_STATUS_IS_TIMEUP(rv), "wait_next");
        if (!gone
            && (peer_left(c->fd) || is_doomed(c)
                || send_all(c->fd, bytes.data ? bytes.data : "", bytes.len) != APR_SUCCESS)) {
            gone = 1;
            gb_exchange_cancel(x);
        }
    }
    gb_buf_free(&bytes);
    return gone ? APR_ECONNABORTED : how;
}

static apr_status_t run_waiting(mpm_conn_t *c, gb_exchange_t *x)
{
    mpm_t *mpm = c->mpm;
    gb_wait_t *wait = gb_wait_make(x);
    apr_status_t rv = gb_exchange_start(x, gb_wait_sink(wait));

    if (rv == APR_SUCCESS) {
        rv = relay(c, x, wait);
        mpm->conf.answered(mpm->conf.baton, x, rv);
        count(mpm, &mpm->counts.waited);
    }
    else {
        count(mpm, &mpm->counts.refused);
    }
    gb_exchange_unref(x);
    return rv;
}

static int finish(mpm_conn_t *c);

/* Requests until one is parked (1) or the connection has to go (0). */
static int run_requests(mpm_conn_t *c)
{
    mpm_t *mpm = c->mpm;

    while (c->number < c->conf.requests && !is_doomed(c)) {
        gb_exchange_t *x = mpm->conf.request(mpm->conf.baton, &c->conf, ++c->number);

        if (c->conf.waits) {
            if (run_waiting(c, x) != APR_SUCCESS || send_all(c->fd, "END\n", 4) != APR_SUCCESS) {
                return 0;
            }
            continue;
        }
        c->park = gb_park_make(mpm->conf.engine, x, &conn_ops, c, c->conf.timeout, c->conf.timeout);
        if (gb_exchange_start(x, gb_park_sink(c->park)) != APR_SUCCESS) {
            count(mpm, &mpm->counts.refused);
            return 0;
        }
        if (!gb_park_linger(c->park)) {
            return 1;
        }
        count(mpm, &mpm->counts.lingered);
        if (!finish(c)) {
            return 0;
        }
    }
    return 0;
}

/* Returns whether the connection goes on. */
static int finish(mpm_conn_t *c)
{
    mpm_t *mpm = c->mpm;
    gb_park_rest_t rest;
    apr_status_t rv;

    gb_park_rest(c->park, &rest);
    rv = rest.rv;
    if (rv == APR_SUCCESS && rest.whole) {
        rv = send_all(c->fd, rest.whole->body, (apr_size_t)rest.whole->content_length);
        count(mpm, &mpm->counts.wholes);
    }
    mpm->conf.answered(mpm->conf.baton, rest.x, rest.rv);
    gb_park_done(c->park);
    c->park = NULL;
    count(mpm, &mpm->counts.finished);
    return rv == APR_SUCCESS && send_all(c->fd, "END\n", 4) == APR_SUCCESS;
}

/* The resume_connection and process_connection hooks. */
static void resume(mpm_conn_t *c)
{
    mpm_t *mpm = c->mpm;
    gb_park_state_t state;
    uint64_t n;

    if (is_doomed(c)) {
        destroy(c);
        return;
    }
    (void)!read(c->efd, &n, sizeof(n));
    state = gb_park_state(c->park);
    if (state == GB_PARK_FINISHING) {
        if (finish(c) && run_requests(c)) {
            suspend(c);
        }
        else {
            destroy(c);
        }
    }
    else if (state == GB_PARK_NUDGED) {
        count(mpm, &mpm->counts.nudged);
        suspend(c);
    }
    else {
        count(mpm, &mpm->counts.spurious);
        destroy(c);
    }
}

static void run(mpm_conn_t *c)
{
    if (c->park) {
        resume(c);
    }
    else if (run_requests(c)) {
        suspend(c);
    }
    else {
        destroy(c);
    }
}

static void *worker_main(void *data)
{
    mpm_t *mpm = data;
    mpm_conn_t *c;

    for (;;) {
        pthread_mutex_lock(&mpm->lock);
        while (!mpm->head && !(mpm->stopping && !mpm->n_open)) {
            pthread_cond_wait(&mpm->cond, &mpm->lock);
        }
        c = mpm->head;
        if (c) {
            mpm->head = c->next;
            if (!mpm->head) {
                mpm->tail = &mpm->head;
            }
        }
        pthread_mutex_unlock(&mpm->lock);
        if (!c) {
            return NULL;
        }
        run(c);
    }
}

/* ---- the listener ---- */

static void ready_locked(mpm_t *mpm, uint64_t id)
{
    mpm_conn_t *c = mpm->conns[id % MPM_CONNS];

    if (c && c->id == id && c->polled) {
        queue_locked(mpm, c);
    }
}

static void time_out_locked(mpm_t *mpm)
{
    apr_time_t now = gb_mono_now();
    int i;

    for (i = 0; i < MPM_CONNS; i++) {
        mpm_conn_t *c = mpm->conns[i];

        if (c && c->polled && (now > c->deadline || mpm->stopping)) {
            c->timed_out = !mpm->stopping;
            queue_locked(mpm, c);
        }
    }
}

static void *listener_main(void *data)
{
    mpm_t *mpm = data;
    struct epoll_event ev[64];
    int i, n, more = 1;

    while (more) {
        n = epoll_wait(mpm->epfd, ev, 64, 5);
        pthread_mutex_lock(&mpm->lock);
        for (i = 0; i < n; i++) {
            ready_locked(mpm, ev[i].data.u64);
        }
        time_out_locked(mpm);
        more = !mpm->stopping || mpm->n_open;
        pthread_mutex_unlock(&mpm->lock);
    }
    pthread_mutex_lock(&mpm->lock);
    pthread_cond_broadcast(&mpm->cond);
    pthread_mutex_unlock(&mpm->lock);
    return NULL;
}

/* ---- the test's side ---- */

mpm_t *mpm_start(const mpm_conf_t *conf)
{
    mpm_t *mpm = calloc(1, sizeof(*mpm));
    int i;

    must(mpm != NULL, "calloc");
    mpm->conf = *conf;
    mpm->tail = &mpm->head;
    mpm->epfd = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&mpm->lock, NULL);
    pthread_cond_init(&mpm->cond, NULL);
    mpm->workers = calloc((size_t)conf->workers, sizeof(pthread_t));
    must(pthread_create(&mpm->listener, NULL, listener_main, mpm) == 0, "pthread_create");
    for (i = 0; i < conf->workers; i++) {
        must(pthread_create(&mpm->workers[i], NULL, worker_main, mpm) == 0, "pthread_create");
    }
    return mpm;
}

uint64_t mpm_accept(mpm_t *mpm, int fd, const mpm_conn_conf_t *conf)
{
    mpm_conn_t *c = calloc(1, sizeof(*c));
    struct epoll_event ev = {.events = 0};
    int size = 0;
    socklen_t len = sizeof(size);
    uint64_t id;

    must(c != NULL, "calloc");
    c->mpm = mpm;
    c->conf = *conf;
    c->fd = fd;
    c->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(c->efd >= 0 && getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0, "accept");
    c->piece = size / 4 < PIECE_MAX ? (apr_size_t)(size / 4) : PIECE_MAX;
    must(epoll_ctl(mpm->epfd, EPOLL_CTL_ADD, c->efd, &ev) == 0, "epoll_ctl");
    pthread_mutex_lock(&mpm->lock);
    do {
        id = ++mpm->ids;
    } while (mpm->conns[id % MPM_CONNS]);
    c->id = id;
    mpm->conns[id % MPM_CONNS] = c;
    mpm->n_open++;
    queue_locked(mpm, c);
    pthread_mutex_unlock(&mpm->lock);
    return id;
}

void mpm_kill(mpm_t *mpm, uint64_t id)
{
    mpm_conn_t *c;

    pthread_mutex_lock(&mpm->lock);
    c = mpm->conns[id % MPM_CONNS];
    if (c && c->id == id) {
        c->doomed = 1;
        if (c->polled) {
            queue_locked(mpm, c);
        }
    }
    pthread_mutex_unlock(&mpm->lock);
}

void mpm_counts(mpm_t *mpm, mpm_counts_t *counts)
{
    pthread_mutex_lock(&mpm->lock);
    *counts = mpm->counts;
    pthread_mutex_unlock(&mpm->lock);
}

int mpm_open(mpm_t *mpm)
{
    int n;

    pthread_mutex_lock(&mpm->lock);
    n = mpm->n_open;
    pthread_mutex_unlock(&mpm->lock);
    return n;
}

void mpm_stop(mpm_t *mpm)
{
    int i;

    pthread_mutex_lock(&mpm->lock);
    mpm->stopping = 1;
    pthread_cond_broadcast(&mpm->cond);
    pthread_mutex_unlock(&mpm->lock);
    pthread_join(mpm->listener, NULL);
    for (i = 0; i < mpm->conf.workers; i++) {
        pthread_join(mpm->workers[i], NULL);
    }
    close(mpm->epfd);
    pthread_mutex_destroy(&mpm->lock);
    pthread_cond_destroy(&mpm->cond);
    free(mpm->workers);
    free(mpm);
}
