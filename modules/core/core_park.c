/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection leaves its worker and comes back: httpd's side of
 * upstream/park.h.
 *
 * The handler returns SUSPENDED; our process_connection hook, which runs before
 * the others and calls them, turns that into CONN_STATE_ASYNC_WAITIO, for which
 * the event MPM (2.4.63) polls the connection's socket and has a worker call
 * the hooks again.  While parked the apr_socket_t that the MPM polls holds an
 * eventfd; the filters write to a second apr_socket_t on the client's
 * descriptor, so nothing is swapped per write.  (Swapping back for each write
 * races with the worker that adds the socket to the pollset after the hook.)
 */
#include "core.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mpm_common.h"
#include "scoreboard.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "upstream/park.h"

APLOG_USE_MODULE(gbalance);

#define PIECE_MAX (16 * 1024)

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 135)
#define HAVE_WAITIO 1
#else
#define HAVE_WAITIO 0
#endif

/* Per connection, made with the first request that is parked on it. */
typedef struct park_conn_t {
    conn_rec *c;
    request_rec *r;   /* the request that is parked */
    gb_park_t *park;  /* NULL: none */
    int efd;          /* what the MPM polls while parked */
    apr_os_sock_t fd; /* the client's descriptor, while parked */
    apr_socket_t *io; /* a second apr_socket_t on it: the filters write to it */
    int swapped;      /* the MPM's socket holds efd, the filters' is io */
    apr_size_t piece; /* what one write may be without blocking */
    apr_bucket_brigade *bb;
} park_conn_t;

static int can_waitio;

#if HAVE_WAITIO

/* ---- sockets ---- */

/* The context of the connection's network filter: where it writes to. */
static core_net_rec *network_of(conn_rec *c)
{
    ap_filter_t *f = c->output_filters;

    while (f && f->frec != ap_core_output_filter_handle) {
        f = f->next;
    }
    return f ? f->ctx : NULL;
}

/* A blocking write would stop every stream of this child: pieces stay far below the send buffer. */
static apr_size_t piece_of(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) != 0 || size <= 0) {
        size = 16 * 1024;
    }
    return size / 4 < PIECE_MAX ? (apr_size_t)(size / 4) : PIECE_MAX;
}

static void sockets_swap(park_conn_t *pc)
{
    apr_socket_t *sock = ap_get_conn_socket(pc->c);
    apr_interval_time_t timeout;

    apr_os_sock_get(&pc->fd, sock);
    if (!pc->io) {
        apr_os_sock_put(&pc->io, &pc->fd, pc->c->pool); /* registers no cleanup */
        pc->piece = piece_of(pc->fd);
    }
    apr_socket_timeout_get(sock, &timeout);
    apr_socket_timeout_set(pc->io, timeout); /* or the descriptor would turn blocking */
    network_of(pc->c)->client_socket = pc->io;
    apr_os_sock_put(&sock, &pc->efd, pc->c->pool);
    pc->swapped = 1;
}

/* If the MPM closed its socket meanwhile, it closed the eventfd, and the client's is left to us. */
static void sockets_restore(park_conn_t *pc)
{
    apr_socket_t *sock = ap_get_conn_socket(pc->c);
    core_net_rec *net = network_of(pc->c);
    apr_os_sock_t now = -1;

    if (!pc->swapped) {
        return;
    }
    pc->swapped = 0;
    apr_os_sock_get(&now, sock);
    if (now != pc->efd) {
        pc->efd = -1;
        close(pc->fd);
    }
    else {
        apr_os_sock_put(&sock, &pc->fd, pc->c->pool);
    }
    if (net) {
        net->client_socket = sock;
    }
}

/* ---- what the engine calls ---- */

static void conn_begin(void *conn, const gb_head_t *head)
{
    core_answer_begin(((park_conn_t *)conn)->r, head);
}

static apr_size_t conn_room(void *conn)
{
    park_conn_t *pc = conn;
    struct pollfd pfd = {.fd = pc->fd, .events = POLLOUT};

    return poll(&pfd, 1, 0) > 0 ? pc->piece : 0;
}

static apr_status_t conn_write(void *conn, const char *bytes, apr_size_t len)
{
    park_conn_t *pc = conn;
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(pc->bb, apr_bucket_transient_create(bytes, len, pc->c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(pc->bb, apr_bucket_flush_create(pc->c->bucket_alloc));
    rv = ap_pass_brigade(pc->r->output_filters, pc->bb);
    apr_brigade_cleanup(pc->bb);
    return rv == APR_SUCCESS && pc->c->aborted ? APR_ECONNABORTED : rv;
}

static void conn_wake(void *conn)
{
    uint64_t one = 1;

    (void)!write(((park_conn_t *)conn)->efd, &one, sizeof(one));
}

static const gb_park_ops_t conn_ops = {conn_begin, conn_room, conn_write, conn_wake};

/* ---- the connection ---- */

/* Before anything of the connection goes: no engine may reach it any more. */
static apr_status_t conn_pre_cleanup(void *data)
{
    park_conn_t *pc = data;

    if (pc->park) {
        gb_park_detach(pc->park);
        pc->park = NULL;
    }
    sockets_restore(pc);
    if (pc->efd >= 0) {
        close(pc->efd);
        pc->efd = -1;
    }
    return APR_SUCCESS;
}

static park_conn_t *conn_get(conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &gbalance_module);
}

static park_conn_t *conn_make(conn_rec *c)
{
    park_conn_t *pc = conn_get(c);

    if (!pc) {
        pc = apr_pcalloc(c->pool, sizeof(*pc));
        pc->c = c;
        pc->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pc->efd < 0) {
            return NULL;
        }
        ap_set_module_config(c->conn_config, &gbalance_module, pc);
        apr_pool_pre_cleanup_register(c->pool, pc, conn_pre_cleanup);
    }
    return pc;
}

/* The exchange is over: what of its answer is left, and what the log may know. */
static void deliver_rest(park_conn_t *pc)
{
    request_rec *r = pc->r;
    gb_park_rest_t rest;

    gb_park_rest(pc->park, &rest);
    if (rest.rv != APR_SUCCESS) {
        r->connection->keepalive = AP_CONN_CLOSE;
        r->connection->aborted = 1;
    }
    else if (rest.whole) {
        core_answer_whole(r, rest.whole, gb_exchange_plan(rest.x));
    }
    core_answer_note(r, rest.x);
    gb_park_done(pc->park);
    pc->park = NULL;
    pc->r = NULL;
}

/* The MPM may go by the Timeout of the VirtualHost that has the address, whoever serves the request. */
static apr_interval_time_t polled(const request_rec *r)
{
    apr_interval_time_t own = r->server->timeout, first = r->connection->base_server->timeout;

    return own < first ? own : first;
}

int core_park(request_rec *r, gb_exchange_t *x)
{
    park_conn_t *pc = conn_make(r->connection);
    apr_status_t rv;

    if (!pc) {
        gb_exchange_unref(x);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    pc->r = r;
    pc->bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    pc->park = gb_park_make(core_engine(), x, &conn_ops, pc, r->server->timeout, polled(r));
    rv = gb_exchange_start(x, gb_park_sink(pc->park));
    if (rv != APR_SUCCESS) {
        gb_park_detach(pc->park);
        pc->park = NULL;
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (gb_park_linger(pc->park)) {
        deliver_rest(pc);
        return OK;
    }
    return SUSPENDED;
}

/* The worker that ends the request is not the one that began it: mod_status counts from here. */
static void tell_scoreboard(const request_rec *r)
{
    worker_score *ws = ap_get_scoreboard_worker(r->connection->sbh);

    if (ws) {
        ws->start_time = r->request_time;
    }
    ap_update_child_status(r->connection->sbh, SERVER_BUSY_WRITE, (request_rec *)r);
}

/* A worker has the connection again: what every request goes through at its end. */
static int finish(park_conn_t *pc)
{
    request_rec *r = pc->r;

    tell_scoreboard(r);
    deliver_rest(pc);
    ap_finalize_request_protocol(r);
    ap_process_request_after_handler(r); /* r is gone after this */
    return OK;
}

static int park_again(conn_rec *c)
{
    c->cs->state = CONN_STATE_ASYNC_WAITIO;
    c->cs->sense = CONN_SENSE_WANT_READ;
    return OK;
}

static int call_the_others(conn_rec *c);

static int park_process_connection(conn_rec *c)
{
    park_conn_t *pc = conn_get(c);
    uint64_t n;
    int rc;

    if (pc && pc->park) {
        (void)!read(pc->efd, &n, sizeof(n));
        if (gb_park_state(pc->park) == GB_PARK_FINISHING) {
            return finish(pc);
        }
        return park_again(c); /* nudged */
    }
    rc = call_the_others(c);
    pc = conn_get(c);
    if (pc && pc->park && c->cs && c->cs->state == CONN_STATE_SUSPENDED) {
        park_again(c);
    }
    return rc;
}

static int call_the_others(conn_rec *c)
{
    apr_array_header_t *hooks = ap_hook_get_process_connection();
    const ap_LINK_process_connection_t *hook = (const ap_LINK_process_connection_t *)hooks->elts;
    int i, rc = DECLINED;

    for (i = 0; i < hooks->nelts && rc == DECLINED; i++) {
        if (hook[i].pFunc != park_process_connection) {
            rc = hook[i].pFunc(c);
        }
    }
    return rc;
}

/* The MPM is about to poll the connection: let it poll the eventfd. */
static void park_suspend(conn_rec *c, request_rec *r)
{
    park_conn_t *pc = conn_get(c);

    (void)r;
    if (pc && pc->park && c->cs->state == CONN_STATE_ASYNC_WAITIO) {
        sockets_swap(pc);
        gb_park_parked(pc->park, pc->fd);
    }
}

/* The connection is back with a worker, or about to be closed by the MPM. */
static void park_resume(conn_rec *c, request_rec *r)
{
    park_conn_t *pc = conn_get(c);

    (void)r;
    if (!pc || !pc->swapped) {
        return;
    }
    if (pc->park) {
        gb_park_state_t state = gb_park_state(pc->park);

        if (state == GB_PARK_PARKED || state == GB_PARK_BLOCKED) {
            gb_park_detach(pc->park); /* nobody woke it: the MPM ends it */
            pc->park = NULL;
            c->aborted = 1;
        }
    }
    sockets_restore(pc);
}

/* What mod_filter puts into the chain by type bears the filter's name; what it declares may be any. */
static const char *name_of(const ap_filter_t *f)
{
    static const char by_type[] = "BYTYPE:";
    const char *name = f->frec->name;

    if (strncasecmp(name, by_type, sizeof(by_type) - 1) == 0) {
        return name + sizeof(by_type) - 1;
    }
    return f->frec->providers ? NULL : name;
}

/* Filters that sleep or talk back must not run in the engine's thread. */
static int has_unfit_filter(request_rec *r)
{
    static const char *const unfit[] = {"rate_limit", "includes", "substitute",
                                        "ext_filter", "buffer",   NULL};
    ap_filter_t *f;
    int i;

    for (f = r->output_filters; f; f = f->next) {
        const char *name = name_of(f);

        for (i = 0; name && unfit[i]; i++) {
            if (strcasecmp(name, unfit[i]) == 0) {
                return 1;
            }
        }
        if (!name) {
            return 1;
        }
    }
    return 0;
}

int core_park_possible(request_rec *r)
{
    const core_conf_t *conf = core_conf_get(r->server);
    conn_rec *c = r->connection;

    return can_waitio && conf->parking != 0 && !c->master && !r->main && !r->prev && c->cs
           && network_of(c) && !has_unfit_filter(r);
}

void core_park_child_init(void)
{
    if (ap_mpm_query(AP_MPMQ_CAN_WAITIO, &can_waitio) != APR_SUCCESS) {
        can_waitio = 0;
    }
}

void core_park_hooks(void)
{
    ap_hook_process_connection(park_process_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_suspend_connection(park_suspend, NULL, NULL, APR_HOOK_LAST);
    ap_hook_resume_connection(park_resume, NULL, NULL, APR_HOOK_FIRST);
}

#else /* httpd before 2.4.63: the worker waits */

int core_park_possible(request_rec *r)
{
    (void)r;
    return can_waitio;
}

int core_park(request_rec *r, gb_exchange_t *x)
{
    (void)r;
    gb_exchange_unref(x);
    return HTTP_SERVICE_UNAVAILABLE;
}

void core_park_child_init(void)
{
}

void core_park_hooks(void)
{
}

#endif
