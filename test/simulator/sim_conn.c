/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections, timers and the epoll loop of the simulator. A connection is
 * either reading a request or busy with one; while busy it is only watched for
 * the client going away, so pipelined requests wait in the socket.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_STEP   4096
#define KEEP_BUFFER (64 * 1024)
#define DRAIN_NS    1000000000u
#define EVENTS      512

static int epoll_fd;
static sim_conn_t *dead_list, *free_list;

/* ---- timers: a binary heap of connections ---- */

static sim_conn_t **heap;
static size_t heap_len, heap_cap;

static void heap_place(size_t at, sim_conn_t *c)
{
    heap[at] = c;
    c->timer_slot = at + 1;
}

static void heap_up(size_t at)
{
    sim_conn_t *c = heap[at];

    while (at > 0 && heap[(at - 1) / 2]->due_ns > c->due_ns) {
        heap_place(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(at, c);
}

static void heap_down(size_t at)
{
    sim_conn_t *c = heap[at];

    for (;;) {
        size_t kid = at * 2 + 1;

        if (kid + 1 < heap_len && heap[kid + 1]->due_ns < heap[kid]->due_ns) {
            kid++;
        }
        if (kid >= heap_len || heap[kid]->due_ns >= c->due_ns) {
            break;
        }
        heap_place(at, heap[kid]);
        at = kid;
    }
    heap_place(at, c);
}

void sim_timer_clear(sim_conn_t *c)
{
    size_t at = c->timer_slot;

    if (at == 0) {
        return;
    }
    c->timer_slot = 0;
    at--;
    heap_len--;
    if (at < heap_len) {
        heap_place(at, heap[heap_len]);
        heap_up(at);
        heap_down(heap[at]->timer_slot - 1);
    }
}

void sim_timer_set(sim_conn_t *c, uint64_t due_ns)
{
    sim_timer_clear(c);
    if (heap_len == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 1024;
        heap = sim_xrealloc(heap, heap_cap * sizeof(*heap));
    }
    c->due_ns = due_ns;
    heap[heap_len++] = c;
    heap_up(heap_len - 1);
}

/* ---- closing ---- */

void sim_conn_close(sim_conn_t *c)
{
    if (c->dead) {
        return;
    }
    if (c->in_call) {
        sim_calls_end(c, SO_GONE);
    }
    if (c->rule != NULL) {
        sim_fault_release(c->rule);
        c->rule = NULL;
    }
    sim_timer_clear(c);
    sim_tls_detach(c);
    close(c->fd);
    sim_calls_closed();
    c->dead = true;
    c->next_dead = dead_list;
    dead_list = c;
}

void sim_conn_reset(sim_conn_t *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    sim_conn_close(c);
}

/* Says goodbye, then waits a little for the client, so that no RST eats the answer. */
static void close_gently(sim_conn_t *c)
{
    if (c->drain) {
        return;
    }
    if (c->tls) {
        sim_tls_shutdown(c);
    }
    if (shutdown(c->fd, SHUT_WR) != 0) {
        sim_conn_close(c);
        return;
    }
    c->drain = true;
    c->read_paused = false;
    sim_timer_set(c, sim_now_ns() + DRAIN_NS);
}

static void shrink(sim_buf_t *b)
{
    if (b->cap > KEEP_BUFFER) {
        sim_buf_free(b);
    }
    b->len = 0;
}

static void reap(void)
{
    while (dead_list != NULL) {
        sim_conn_t *c = dead_list;
        sim_buf_t in = c->in, out = c->out;
        sim_stream_t *stream = c->stream;

        dead_list = c->next_dead;
        shrink(&in);
        shrink(&out);
        memset(c, 0, sizeof(*c));
        c->in = in;
        c->out = out;
        c->stream = stream;
        c->next_dead = free_list;
        free_list = c;
    }
}

/* ---- writing ---- */

size_t sim_conn_backlog(const sim_conn_t *c)
{
    return c->out.len - c->out_at;
}

static void watch(sim_conn_t *c)
{
    struct epoll_event ev = {.events = EPOLLRDHUP, .data.ptr = c};

    ev.events |= c->read_paused ? 0u : (unsigned)EPOLLIN;
    ev.events |= c->want_write ? (unsigned)EPOLLOUT : 0u;
    if (!c->dead && ev.events != c->watched) {
        c->watched = ev.events;
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

bool sim_conn_flush(sim_conn_t *c)
{
    while (!c->dead && c->out_at < c->out.len) {
        const char *p = c->out.p + c->out_at;
        size_t n = c->out.len - c->out_at;
        long w = c->tls ? sim_tls_write(c, p, n) : send(c->fd, p, n, MSG_NOSIGNAL);

        if (w > 0) {
            c->out_at += (size_t)w;
        }
        else if (w < 0 && errno == EINTR) {
            continue;
        }
        else if (w < 0 && errno == EAGAIN) {
            c->want_write = true;
            if (c->out_at > KEEP_BUFFER) {
                c->out.len -= c->out_at;
                memmove(c->out.p, c->out.p + c->out_at, c->out.len);
                c->out_at = 0;
            }
            return true;
        }
        else {
            sim_conn_close(c);
            return false;
        }
    }
    if (c->dead) {
        return false;
    }
    c->out_at = 0;
    shrink(&c->out);
    c->want_write = false;
    return true;
}

/* ---- the life of a request ---- */

void sim_conn_answered(sim_conn_t *c)
{
    if (c->in_call) {
        sim_calls_end(c, c->rule != NULL ? SO_FAULT : SO_DONE);
    }
    if (c->rule != NULL) {
        sim_fault_release(c->rule);
        c->rule = NULL;
        c->extra.n = 0;
    }
    c->waited = c->stalled = c->metered = false;
    sim_timer_clear(c);
    if (c->keep_alive && !c->close_after) {
        sim_http_consume(c);
        c->state = SC_READING;
    }
    else {
        c->state = SC_CLOSING;
    }
    c->read_paused = false;
}

void sim_conn_stall(sim_conn_t *c)
{
    c->stalled = true;
    if (c->state != SC_STREAMING) {
        c->state = SC_STALLED;
    }
    sim_timer_clear(c);
}

static void refuse(sim_conn_t *c, sim_parse_t why)
{
    c->keep_alive = false;
    if (why == SH_TOO_LARGE) {
        sim_error_simple(c, 400, "Request payload size exceeds the limit: %zu bytes.",
                         sim_max_body);
    }
    else {
        sim_http_answer(c, 400, ST_HTML,
                        SIM_STR("<html><title>Error 400 (Bad Request)!!1</title>"
                                "Your client has issued a malformed or illegal "
                                "request.</html>\n"));
    }
}

static void take_requests(sim_conn_t *c)
{
    while (!c->dead && c->state == SC_READING && c->in.len > 0) {
        sim_parse_t got = sim_http_parse(c);

        if (got == SH_MORE) {
            return;
        }
        if (got == SH_READY) {
            sim_request(c);
        }
        else {
            refuse(c, got);
        }
    }
}

/* After any event: answer what can be answered, send it, watch for what is next. */
static void carry_on(sim_conn_t *c)
{
    take_requests(c);
    if (!sim_conn_flush(c)) {
        return;
    }
    if (c->state == SC_CLOSING && !c->want_write) {
        close_gently(c);
    }
    watch(c);
}

/* ---- events ---- */

static long read_some(sim_conn_t *c)
{
    sim_buf_need(&c->in, READ_STEP);
    if (c->tls) {
        return sim_tls_read(c, c->in.p + c->in.len, c->in.cap - c->in.len);
    }
    return recv(c->fd, c->in.p + c->in.len, c->in.cap - c->in.len, 0);
}

static void on_readable(sim_conn_t *c)
{
    for (;;) {
        size_t room;
        long n;

        sim_buf_need(&c->in, READ_STEP);
        room = c->in.cap - c->in.len;
        n = read_some(c);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            sim_conn_close(c);
            return;
        }
        if (c->drain) {
            continue;
        }
        c->in.len += (size_t)n;
        take_requests(c);
        if (c->dead || c->state != SC_READING || (!c->tls && (size_t)n < room)) {
            return;
        }
    }
}

static void on_event(sim_conn_t *c, uint32_t events)
{
    bool busy = c->state != SC_READING && !c->drain;

    if (c->dead) {
        return;
    }
    if (events & (EPOLLERR | EPOLLHUP) || (busy && events & EPOLLRDHUP)) {
        sim_conn_close(c);
        return;
    }
    if (events & EPOLLOUT) {
        if (!sim_conn_flush(c)) {
            return;
        }
        if (c->state == SC_STREAMING && !c->stalled && !c->want_write && c->timer_slot == 0) {
            sim_stream_tick(c);
        }
    }
    if (events & EPOLLIN && !c->dead) {
        if (busy) {
            c->read_paused = true;
        }
        else {
            on_readable(c);
        }
    }
    if (!c->dead) {
        carry_on(c);
    }
}

static void on_timer(sim_conn_t *c)
{
    if (c->drain) {
        sim_conn_close(c);
    }
    else if (c->state == SC_DELAYED) {
        sim_request_go(c);
    }
    else if (c->state == SC_STREAMING) {
        sim_stream_tick(c);
    }
    if (!c->dead) {
        carry_on(c);
    }
}

static void run_timers(void)
{
    uint64_t now = heap_len > 0 ? sim_now_ns() : 0;

    while (heap_len > 0 && heap[0]->due_ns <= now) {
        sim_conn_t *c = heap[0];

        sim_timer_clear(c);
        on_timer(c);
    }
}

static int wait_ms(void)
{
    uint64_t now;

    if (heap_len == 0) {
        return 1000;
    }
    now = sim_now_ns();
    if (heap[0]->due_ns <= now) {
        return 0;
    }
    now = (heap[0]->due_ns - now + 999999) / 1000000;
    return now < 1000 ? (int)now : 1000;
}

static void adopt(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};
    sim_conn_t *c = free_list;
    int on = 1;

    if (c != NULL) {
        free_list = c->next_dead;
        c->next_dead = NULL;
    }
    else {
        c = sim_xcalloc(1, sizeof(*c));
    }
    c->fd = fd;
    c->watched = ev.events;
    ev.data.ptr = c;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sim_calls_accepted();
    if ((sim_tls_on() && !sim_tls_attach(c)) || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        sim_conn_close(c);
    }
}

static void accept_some(int listen_fd)
{
    int i;

    for (i = 0; i < 256; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                usleep(1000); /* the socket stays readable: do not spin */
            }
            return;
        }
        adopt(fd);
    }
}

static void free_all(void)
{
    size_t i;

    reap();
    while (free_list != NULL) {
        sim_conn_t *c = free_list;

        free_list = c->next_dead;
        sim_buf_free(&c->in);
        sim_buf_free(&c->out);
        sim_stream_free(c->stream);
        free(c);
    }
    for (i = heap_len; i > 0; i--) {
        heap[i - 1]->timer_slot = 0;
    }
    free(heap);
    heap = NULL;
    heap_len = 0;
}

void sim_loop_run(int listen_fd, int signal_fd)
{
    static int listen_mark, signal_mark;
    struct epoll_event ev[EVENTS];
    bool running = true;
    int i, n;

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ev[0] = (struct epoll_event){.events = EPOLLIN, .data.ptr = &listen_mark};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev[0]);
    ev[0] = (struct epoll_event){.events = EPOLLIN, .data.ptr = &signal_mark};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &ev[0]);
    while (running) {
        n = epoll_wait(epoll_fd, ev, EVENTS, wait_ms());
        for (i = 0; i < n; i++) {
            if (ev[i].data.ptr == &listen_mark) {
                accept_some(listen_fd);
            }
            else if (ev[i].data.ptr == &signal_mark) {
                running = !sim_signal_ends(signal_fd);
            }
            else {
                on_event(ev[i].data.ptr, ev[i].events);
            }
        }
        run_timers();
        reap();
        running = running && !sim_orphaned();
    }
    free_all();
    close(epoll_fd);
}
