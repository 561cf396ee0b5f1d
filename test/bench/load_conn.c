/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the load generator: connect, send, read, give up, go on
 * with the next request.  Answers are read by load_answer.c.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 65536

static void hash_add(uint64_t hash)
{
    int i;

    for (i = 0; i < HASHES_MAX; i++) {
        if (tally.hash_counts[i] == 0) {
            tally.hashes[i] = hash;
        }
        if (tally.hashes[i] == hash) {
            tally.hash_counts[i]++;
            return;
        }
    }
    tally.other_hashes++;
}

static void conn_watch(conn_t *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (c->watched == events) {
        return;
    }
    if (epoll_ctl(epoll_fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev) != 0) {
        die("epoll_ctl", strerror(errno));
    }
    c->watched = events;
}

static void conn_close(conn_t *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
        tally.open_now--;
    }
    c->watched = 0;
    c->reused = 0;
}

static void stream_left(conn_t *c)
{
    if (c->is_stream) {
        c->is_stream = 0;
        tally.streaming_now--;
    }
}

/* The next request starts at the next tick: a server that refuses is not hammered. */
void conn_fail(conn_t *c, long *counter)
{
    ++*counter;
    stream_left(c);
    conn_close(c);
    c->phase = IDLE;
}

static void conn_connect(conn_t *c)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    int one = 1, small = 4096;

    inet_pton(AF_INET, opt.host, &sa.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket", strerror(errno));
    }
    if (++tally.open_now > tally.open_peak) {
        tally.open_peak = tally.open_now;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (c->job->slow) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    c->phase = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EINPROGRESS) {
        conn_watch(c, EPOLLOUT);
        return;
    }
    conn_fail(c, &tally.connect_failed);
}

static void conn_send(conn_t *c)
{
    ssize_t n;

    while (c->sent < c->job->request_len) {
        n = send(c->fd, c->job->request + c->sent, c->job->request_len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            conn_watch(c, EPOLLOUT | EPOLLIN);
            return;
        }
        if (n < 0) {
            break; /* an answer may wait to be read all the same */
        }
        c->sent += (size_t)n;
    }
    conn_watch(c, EPOLLIN);
}

static void request_reset(conn_t *c)
{
    c->sent = 0;
    c->resume_at = 0;
    answer_reset(c);
}

/* The same request once more: the server closed an idle connection as we wrote. */
static void conn_again(conn_t *c)
{
    tally.reconnects++;
    conn_close(c);
    request_reset(c);
    conn_connect(c);
}

void conn_begin(conn_t *c, int64_t now)
{
    c->job = &opt.cases[begun++ % opt.ncases];
    tally.started++;
    request_reset(c);
    c->started = now;
    c->deadline = now + (int64_t)(opt.timeout * 1e6);
    if (c->fd < 0) {
        conn_connect(c);
        return;
    }
    c->phase = SENDING;
    conn_send(c);
}

static void conn_next(conn_t *c)
{
    int64_t now = now_us();

    c->phase = IDLE;
    switch (may_begin(now)) {
    case 1:
        conn_begin(c, now);
        break;
    case 0:
        conn_close(c);
        break;
    }
}

static void request_done(conn_t *c)
{
    sample_add(&tally.latency, now_us() - c->started);
    tally.completed++;
    tally.statuses[c->status]++;
    hash_add(c->hash);
    if (c->job->expect >= 0 && c->chunks != c->job->expect) {
        tally.wrong_count++;
    }
    stream_left(c);
    c->reused = 1;
    if (!c->keep || c->job->close || c->job->slow) {
        conn_close(c);
    }
    conn_next(c);
}

static void conn_ended(conn_t *c, int failed)
{
    if (c->phase == BODY && c->framing == BY_CLOSE && !failed) {
        request_done(c);
    }
    else if (c->phase == BODY) {
        conn_fail(c, &tally.cut);
    }
    else if (c->reused && c->head_len == 0) {
        conn_again(c);
    }
    else {
        conn_fail(c, &tally.reset);
    }
}

static void conn_abort(conn_t *c)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    tally.aborted++;
    stream_left(c);
    conn_close(c);
    conn_next(c);
}

static void conn_read(conn_t *c)
{
    static char buf[READ_SIZE];
    size_t want = c->job->slow ? (size_t)c->job->slow / 10 + 1 : sizeof(buf);
    ssize_t n = recv(c->fd, buf, want < sizeof(buf) ? want : sizeof(buf), 0);
    int rc;

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        conn_ended(c, n < 0);
        return;
    }
    rc = c->phase == BODY ? answer_body(c, buf, (size_t)n) : answer_head(c, buf, (size_t)n);
    if (rc < 0) {
        conn_fail(c, &tally.malformed);
    }
    else if (rc > 0) {
        request_done(c);
    }
    else if (c->job->abort_after >= 0 && c->phase == BODY
             && c->body_bytes >= (uint64_t)c->job->abort_after) {
        conn_abort(c);
    }
    else if (c->job->slow) {
        c->resume_at = now_us() + 100000;
        conn_watch(c, EPOLLRDHUP);
    }
}

void conn_event(conn_t *c, uint32_t events)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (c->fd < 0) {
        return;
    }
    if (c->phase == IDLE) { /* closed by the server between two requests */
        conn_close(c);
        return;
    }
    if (c->phase == CONNECTING) {
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            conn_fail(c, &tally.connect_failed);
            return;
        }
        c->phase = SENDING;
    }
    if (c->phase == SENDING && (events & EPOLLOUT)) {
        conn_send(c);
    }
    if (c->resume_at == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        conn_read(c);
    }
}

void conn_resume(conn_t *c)
{
    c->resume_at = 0;
    conn_watch(c, EPOLLIN);
}
