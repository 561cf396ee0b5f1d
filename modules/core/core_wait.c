/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that waits for an exchange and writes what the engine queues: where
 * parking is impossible or switched off.
 */
#include "core.h"

#include <poll.h>

#include "http_core.h"
#include "http_protocol.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "upstream/wait.h"

APLOG_USE_MODULE(gbalance);

#define LOOK_EVERY apr_time_from_msec(500)

int core_client_left(request_rec *r)
{
    conn_rec *c = r->connection;
    conn_rec *real = c->master ? c->master : c;
    apr_socket_t *sock = ap_get_conn_socket(real);
    struct pollfd pfd;
    apr_os_sock_t fd;

    if (c->aborted || real->aborted) {
        return 1;
    }
    if (!sock || apr_os_sock_get(&fd, sock) != APR_SUCCESS) {
        return 0;
    }
    pfd.fd = fd;
    pfd.events = POLLRDHUP;
    pfd.revents = 0;
    return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static apr_status_t pass_on(request_rec *r, apr_bucket_brigade *bb, const gb_buf_t *bytes)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_status_t rv;

    if (bytes->len) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_transient_create(bytes->data, bytes->len, alloc));
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(alloc));
    rv = ap_pass_brigade(r->output_filters, bb);
    apr_brigade_cleanup(bb);
    return r->connection->aborted ? APR_ECONNABORTED : rv;
}

/* Until the answer is complete or the client has left.  Returns how it ended. */
static apr_status_t relay(request_rec *r, gb_exchange_t *x, gb_wait_t *wait)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    const gb_head_t *head = NULL, *whole = NULL;
    apr_status_t rv, ended = APR_SUCCESS;
    int gone = 0;
    gb_buf_t bytes;

    gb_buf_init_pool(&bytes, GB_BUF_MAX_ANSWER, r->pool);
    while ((rv = gb_wait_next(wait, &head, &bytes, &ended, LOOK_EVERY)) != APR_EOF) {
        if (!gone && (APR_STATUS_IS_TIMEUP(rv) || rv == APR_SUCCESS)) {
            gone = core_client_left(r);
        }
        if (head && head->taken) {
            whole = head;
        }
        else if (!gone && head) {
            core_answer_begin(r, head);
        }
        head = NULL;
        if (!gone && bytes.len) {
            gone = pass_on(r, bb, &bytes) != APR_SUCCESS;
        }
        if (gone) {
            gb_exchange_cancel(x);
        }
    }
    if (!gone && whole) {
        core_answer_whole(r, whole, gb_exchange_plan(x));
    }
    return gone ? APR_ECONNABORTED : ended;
}

int core_wait(request_rec *r, gb_exchange_t *x)
{
    gb_wait_t *wait = gb_wait_make(x);
    apr_status_t rv = gb_exchange_start(x, gb_wait_sink(wait));

    if (rv != APR_SUCCESS) {
        gb_exchange_unref(x);
        return HTTP_SERVICE_UNAVAILABLE;
    }
    rv = relay(r, x, wait);
    core_answer_note(r, x);
    if (rv != APR_SUCCESS) {
        r->connection->keepalive = AP_CONN_CLOSE;
        r->connection->aborted = 1;
    }
    gb_exchange_unref(x);
    return OK;
}
