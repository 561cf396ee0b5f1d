/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_upstream.h.  Linked into every unit test; used by those of the upstream layer. */
#include "fake_upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct up_conn_t {
    up_conn_t *next;
    up_t *up;
    pthread_t thread;
    int fd; /* closed by its thread, under the server's lock */
    int open;
    int finished; /* the thread may be joined */
    int last;     /* no request after this one */
    int n;
    char *buf;
    size_t len, cap;
};

struct up_t {
    up_serve_fn *serve;
    void *baton;
    pthread_mutex_t lock; /* guards all below and conn->open, conn->finished */
    pthread_t thread;
    int fd;
    int stopping;
    int serial, accepted;
    up_conn_t *conns;
    int port;
    char url[64];
};

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

/* ---- sending ---- */

int up_send(up_conn_t *c, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = c->open ? send(c->fd, bytes, len, MSG_NOSIGNAL) : -1;

        if (n <= 0) {
            c->last = 1;
            return 0;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 1;
}

int up_put(up_conn_t *c, const char *text)
{
    return up_send(c, text, strlen(text));
}

int up_printf(up_conn_t *c, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    must(n >= 0 && (size_t)n < sizeof(text), "up_printf");
    return up_send(c, text, (size_t)n);
}

int up_answer(up_conn_t *c, int status, const char *type, const char *body)
{
    return up_printf(c, "HTTP/1.1 %d Fake\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                     status, type ? type : "text/plain", strlen(body))
           && up_put(c, body);
}

int up_chunks_begin(up_conn_t *c, int status, const char *more_headers)
{
    return up_printf(c,
                     "HTTP/1.1 %d Fake\r\nContent-Type: text/event-stream\r\n"
                     "Transfer-Encoding: chunked\r\n%s\r\n",
                     status, more_headers ? more_headers : "");
}

int up_chunk(up_conn_t *c, const char *bytes, size_t len)
{
    return up_printf(c, "%zx\r\n", len) && up_send(c, bytes, len) && up_put(c, "\r\n");
}

int up_chunks_end(up_conn_t *c)
{
    return up_put(c, "0\r\n\r\n");
}

int up_rest(up_conn_t *c, int ms)
{
    struct pollfd pfd = {.fd = c->fd, .events = POLLRDHUP};

    if (poll(&pfd, 1, ms) > 0) {
        c->last = 1;
        return 0;
    }
    return 1;
}

void up_close(up_conn_t *c)
{
    c->last = 1;
}

void up_reset(up_conn_t *c)
{
    struct linger now = {1, 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    c->last = 1;
}

/* ---- receiving ---- */

static int fill(up_conn_t *c)
{
    ssize_t n;

    if (c->len + 1 >= c->cap) {
        c->cap = c->cap ? c->cap * 2 : 4096;
        c->buf = realloc(c->buf, c->cap);
        must(c->buf != NULL, "realloc");
    }
    n = recv(c->fd, c->buf + c->len, c->cap - c->len - 1, 0);
    if (n <= 0) {
        return 0;
    }
    c->len += (size_t)n;
    c->buf[c->len] = '\0';
    return 1;
}

static const char *find_header(const char *head, const char *name, const char **line)
{
    size_t len = strlen(name);
    const char *at = strstr(head, "\r\n");

    while (at && at[2] && at[2] != '\r') {
        at += 2;
        if (strncasecmp(at, name, len) == 0 && at[len] == ':') {
            *line = at;
            return at + len + 1;
        }
        at = strstr(at, "\r\n");
    }
    return NULL;
}

const char *up_header(const up_request_t *req, const char *name)
{
    static _Thread_local char value[4][1024];
    static _Thread_local int slot;
    const char *line;
    const char *at = find_header(req->head, name, &line);
    size_t len;

    if (!at) {
        return NULL;
    }
    at += strspn(at, " ");
    len = strcspn(at, "\r\n");
    slot = (slot + 1) % 4;
    snprintf(value[slot], sizeof(value[slot]), "%.*s", (int)len, at);
    return value[slot];
}

int up_header_count(const up_request_t *req, const char *name)
{
    const char *line, *head = req->head;
    int n = 0;

    while (find_header(head, name, &line)) {
        n++;
        head = line;
    }
    return n;
}

static char *memdup(const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);

    must(copy != NULL, "malloc");
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

/* Reads one request, has it served, and forgets it. */
static int turn(up_conn_t *c)
{
    char *end, *head, *method, *path, *save = NULL, *first;
    up_request_t req;
    const char *line, *length;
    size_t head_len, body_len;

    while (!c->len || !(end = strstr(c->buf, "\r\n\r\n"))) {
        if (!fill(c)) {
            return 0;
        }
    }
    head_len = (size_t)(end - c->buf) + 4;
    head = memdup(c->buf, head_len);
    length = find_header(head, "Content-Length", &line);
    body_len = length ? strtoul(length, NULL, 10) : 0;
    while (c->len < head_len + body_len) {
        if (!fill(c)) {
            free(head);
            return 0;
        }
    }
    memset(&req, 0, sizeof(req));
    req.head = head;
    req.body = memdup(c->buf + head_len, body_len);
    req.body_len = body_len;
    first = memdup(head, strcspn(head, "\r\n"));
    method = strtok_r(first, " ", &save);
    path = strtok_r(NULL, " ", &save);
    req.method = method ? method : "";
    req.path = path ? path : "";
    req.on_connection = ++c->n;
    pthread_mutex_lock(&c->up->lock);
    req.serial = ++c->up->serial;
    pthread_mutex_unlock(&c->up->lock);

    c->up->serve(c->up->baton, c, &req);

    free(first);
    free((char *)req.body);
    free(head);
    c->len -= head_len + body_len;
    memmove(c->buf, c->buf + head_len + body_len, c->len + 1);
    return !c->last;
}

static void *conn_main(void *data)
{
    up_conn_t *c = data;

    while (turn(c)) {
    }
    pthread_mutex_lock(&c->up->lock);
    c->open = 0;
    close(c->fd);
    c->finished = 1;
    pthread_mutex_unlock(&c->up->lock);
    free(c->buf);
    return NULL;
}

/* ---- the server ---- */

static void take(up_t *up, int fd)
{
    up_conn_t *c = calloc(1, sizeof(*c));
    int one = 1;

    must(c != NULL, "calloc");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->up = up;
    c->fd = fd;
    c->open = 1;
    pthread_mutex_lock(&up->lock);
    up->accepted++;
    c->next = up->conns;
    up->conns = c;
    if (up->stopping) {
        shutdown(fd, SHUT_RDWR);
    }
    must(pthread_create(&c->thread, NULL, conn_main, c) == 0, "pthread_create");
    pthread_mutex_unlock(&up->lock);
}

/* Joins the threads that are through (all: waits for every one). */
static void reap(up_t *up, int all)
{
    up_conn_t **at = &up->conns;

    while (*at) {
        up_conn_t *c = *at;
        int finished;

        pthread_mutex_lock(&up->lock);
        finished = c->finished;
        if (all && c->open) {
            shutdown(c->fd, SHUT_RDWR);
        }
        pthread_mutex_unlock(&up->lock);
        if (finished || all) {
            pthread_join(c->thread, NULL);
            *at = c->next;
            free(c);
        }
        else {
            at = &c->next;
        }
    }
}

static void *accept_main(void *data)
{
    up_t *up = data;
    int fd;

    while ((fd = accept(up->fd, NULL, NULL)) >= 0) {
        take(up, fd);
        reap(up, 0);
    }
    return NULL;
}

up_t *up_start(up_serve_fn *serve, void *baton)
{
    up_t *up = calloc(1, sizeof(*up));
    struct sockaddr_in at;
    socklen_t len = sizeof(at);

    must(up != NULL, "calloc");
    up->serve = serve;
    up->baton = baton;
    pthread_mutex_init(&up->lock, NULL);
    memset(&at, 0, sizeof(at));
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    up->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(up->fd >= 0 && bind(up->fd, (struct sockaddr *)&at, sizeof(at)) == 0
             && listen(up->fd, 512) == 0 && getsockname(up->fd, (struct sockaddr *)&at, &len) == 0,
         "listen");
    up->port = ntohs(at.sin_port);
    snprintf(up->url, sizeof(up->url), "http://127.0.0.1:%d", up->port);
    must(pthread_create(&up->thread, NULL, accept_main, up) == 0, "pthread_create");
    return up;
}

void up_stop(up_t *up)
{
    pthread_mutex_lock(&up->lock);
    up->stopping = 1;
    pthread_mutex_unlock(&up->lock);
    shutdown(up->fd, SHUT_RDWR);
    pthread_join(up->thread, NULL);
    close(up->fd);
    reap(up, 1);
    pthread_mutex_destroy(&up->lock);
    free(up);
}

int up_port(const up_t *up)
{
    return up->port;
}

const char *up_url(const up_t *up)
{
    return up->url;
}

int up_requests(up_t *up)
{
    int n;

    pthread_mutex_lock(&up->lock);
    n = up->serial;
    pthread_mutex_unlock(&up->lock);
    return n;
}

int up_connections(up_t *up)
{
    int n;

    pthread_mutex_lock(&up->lock);
    n = up->accepted;
    pthread_mutex_unlock(&up->lock);
    return n;
}
