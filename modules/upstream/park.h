/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parked connection: the sink for a client whose request waits without a
 * worker thread.  Who may touch the request, the connection and its filters is
 * settled by one state, changed under one lock:
 *
 *   state      owner    leaves to                                        by
 *   ---------  -------  -----------------------------------------------  ------------------
 *   ASKED      worker   PARKED (suspend hook), DETACHED                  worker
 *   ASKED      worker   FINISHING (the answer came while it lingered)    worker
 *   PARKED     engine   NUDGED (half of Timeout), BLOCKED, FINISHING     engine
 *   PARKED     engine   DETACHED (the connection is being destroyed)     cleaning thread
 *   BLOCKED    engine   PARKED (writable), NUDGED, FINISHING             engine
 *   BLOCKED    engine   DETACHED                                         cleaning thread
 *   NUDGED     worker   PARKED (suspend hook), DETACHED                  worker
 *   FINISHING  worker   DONE, DETACHED                                   worker
 *   DETACHED, DONE      nothing follows
 *
 * BLOCKED is a client that does not take its bytes.  It waits in the engine for
 * EPOLLOUT, with the upstream paused, rather than in a worker that writes under
 * Timeout: a slow reader must not cost a worker either.  Without progress for
 * Timeout it is given up.
 *
 * The engine touches the connection only while it holds the lock and the state
 * is PARKED or BLOCKED; afterwards the pointer is gone.  The lock is held for
 * one write at most, so a cleaning thread waits no longer than that.
 *
 * It knows nothing of httpd: the connection side is a table of functions, which
 * a test can play too.
 */
#ifndef GB_PARK_H
#define GB_PARK_H

#include "upstream/exchange.h"

typedef enum {
    GB_PARK_ASKED,
    GB_PARK_PARKED,
    GB_PARK_BLOCKED,
    GB_PARK_NUDGED,
    GB_PARK_FINISHING,
    GB_PARK_DETACHED,
    GB_PARK_DONE,
    GB_PARK_STATES
} gb_park_state_t;

typedef struct gb_park_t gb_park_t;

/* The connection side.  All are called with the lock held; none may block. */
typedef struct gb_park_ops_t {
    /* Sets status and headers on the request. */
    void (*begin)(void *conn, const gb_head_t *head);
    /* How many bytes the client takes now without blocking; 0: wait until it is writable. */
    apr_size_t (*room)(void *conn);
    /* Passes bytes through the filters and flushes. */
    apr_status_t (*write)(void *conn, const char *bytes, apr_size_t len);
    /* Has a worker come back to the connection. */
    void (*wake)(void *conn);
} gb_park_ops_t;

/* Answers up to this size are written by the worker that finishes the request. */
#define GB_PARK_WHOLE_MAX (48 * 1024)

/*
 * From the exchange's pool.  Takes over the caller's reference to x, which
 * gb_park_done or gb_park_detach lets go.  conn stays valid until then.  timeout: so
 * long the client may take nothing; polled: so long the MPM waits for a connection.
 */
gb_park_t *gb_park_make(gb_engine_t *engine, gb_exchange_t *x, const gb_park_ops_t *ops, void *conn,
                        apr_interval_time_t timeout, apr_interval_time_t polled);
gb_sink_t *gb_park_sink(gb_park_t *park);

/* ---- the connection's side: workers ---- */

gb_park_state_t gb_park_state(gb_park_t *park);

/*
 * ASKED, after the exchange was started: where answers have come within a few
 * milliseconds of late, waits as long for this one, since leaving the worker
 * and coming back costs more.  1: it is there, go on as for FINISHING.  Where
 * upstreams take longer it returns 0 at once.
 */
int gb_park_linger(gb_park_t *park);

/* The connection is about to be polled by the MPM (ASKED or NUDGED).  fd: the client's socket. */
void gb_park_parked(gb_park_t *park, int fd);

/* The connection dies.  The caller's pointer is void afterwards.  Any state but DONE. */
void gb_park_detach(gb_park_t *park);

/* FINISHING: what is left to do, valid until gb_park_done. */
typedef struct gb_park_rest_t {
    const gb_head_t *whole; /* not NULL: nothing was written yet, write all of this */
    apr_status_t rv;        /* not APR_SUCCESS: the client left or the answer broke off */
    gb_exchange_t *x;
} gb_park_rest_t;

void gb_park_rest(gb_park_t *park, gb_park_rest_t *rest);
/* The request was finalized.  The caller's pointer is void afterwards. */
void gb_park_done(gb_park_t *park);

/* "PARKED": for logs and tests. */
const char *gb_park_state_name(gb_park_state_t state);
/* Whether the table above allows it. */
int gb_park_allows(gb_park_state_t from, gb_park_state_t to);

#endif
