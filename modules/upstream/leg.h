/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leg: one upstream answer with its attempts - pick a key, call, classify,
 * retry.  An exchange has one, or fan_out of them.  Private to the exchange.
 */
#ifndef GB_LEG_H
#define GB_LEG_H

#include "upstream/call.h"
#include "upstream/exchange.h"
#include "upstream/pieces.h"

typedef struct gb_leg_t gb_leg_t;

/* What a leg tells its exchange.  After failed and done it is at rest. */
typedef struct gb_leg_events_t {
    /* Bytes of a 2xx stream's translation were appended to the exchange's buffer. */
    void (*flowed)(gb_leg_t *leg);
    /* An attempt failed and another will follow: forget what was translated.  May end the exchange. */
    void (*restarts)(gb_leg_t *leg);
    void (*done)(gb_leg_t *leg);
    void (*failed)(gb_leg_t *leg, const gb_error_t *err);
} gb_leg_events_t;

/* All legs of an exchange: they are one call. */
typedef struct gb_legs_t {
    gb_leg_t *first;
    int n;
    int attempts; /* of all of them, re-sends counted: what numbers them */
} gb_legs_t;

struct gb_leg_t {
    gb_exchange_t *x;
    gb_legs_t *all;
    const gb_leg_events_t *events;
    gb_engine_t *engine;
    const gb_exchange_conf_t *conf;
    gb_plan_t *plan;
    apr_pool_t *pool;
    int index;     /* 0-based, of plan->fan_out */
    gb_buf_t *out; /* the exchange's: where a stream is translated to */
    int streams;   /* translate as it comes; else collect in raw */
    int committed; /* the client has bytes of it: no retry, it can only be continued */
    int continued; /* so often */
    int failed;    /* for good, and the exchange goes on without it */

    gb_timer_t step; /* back-off, waiting for a key, news from a callback */
    gb_timer_t first_token;
    enum { GB_STEP_NEXT, GB_STEP_JUDGE } step_to;

    apr_time_t queued_at; /* monotonic: since when it waits for a busy key, 0 = it does not */

    gb_call_t *call; /* NULL between attempts */
    gb_key_t key;    /* slot 0: none is held */
    gb_pick_t pick;
    int attempts, extra; /* extra: re-sends that do not count against MAX_RETRIES */
    int empties, unknowns, same_service;
    const char *unknown_row; /* of the last unknown 401 or 403, NULL: none */
    char unknown_reason[64];
    int keep_key;      /* the next attempt uses the same key */
    int adapted;       /* a refused field was dropped: once only */
    int fresh;         /* a connection failed it: its attempts make their own */
    int moves;         /* re-sends through another proxy */
    const char *proxy; /* of the attempt, NULL: none */
    int proxy_failed;
    const char *moved; /* where the upstream has sent the attempt on to, NULL: nowhere */
    int hops;
    char dropped[48]; /* a field that was refused, until it is known whether that was it */

    /* of the attempt that runs or ran last */
    int number;                  /* 1-based, re-sends and other legs counted */
    int open;                    /* the host was not told yet that it ended */
    int over;                    /* no other attempt follows */
    gb_ticket_t ticket;          /* the host's */
    const char *body;            /* what was sent; of pieces, their list */
    gb_pieces_t pieces;          /* what is being sent of them */
    apr_interval_time_t latency; /* once it is over */
    int status;
    apr_interval_time_t retry_after;
    const char *answer_type; /* the upstream's Content-Type */
    const apr_table_t *answer_headers;
    gb_transport_t transport;
    gb_buf_t raw; /* an error body, or a whole answer */
    gb_translator_t *translator;
    gb_facts_t facts;
    apr_time_t began_mono, began;
    apr_interval_time_t first_byte;
    apr_uint64_t bytes;
    int incomplete;
    gb_verdict_t verdict; /* of the last attempt that was judged */
};

void gb_leg_init(gb_leg_t *leg, gb_exchange_t *x, const gb_leg_events_t *events);
/* Picks and sends; also used to go on after a wait. */
void gb_leg_next(gb_leg_t *leg);
/* Ends the attempt that runs, if any, as said; no event follows. */
void gb_leg_cancel(gb_leg_t *leg, gb_transport_t why);
void gb_leg_pause(gb_leg_t *leg);
void gb_leg_resume(gb_leg_t *leg);

/* ---- leg_request.c, for leg.c ---- */

/* What tells one body from another, and its length. */
gb_span_t gb_leg_body(const gb_leg_t *leg);
/* Of the next attempt, NULL: none. */
const char *gb_leg_proxy(const gb_leg_t *leg);
/* What an end says of the proxy, and whose fault it is: with one it is that which cannot be connected to. */
gb_transport_t gb_leg_note_proxy(gb_leg_t *leg, gb_transport_t transport);
/* Fills *call for the attempt that begins; leg->proxy is set. */
void gb_leg_request(gb_leg_t *leg, gb_call_conf_t *call);
/* The address of a redirect when the attempt may follow it; NULL: it may not. */
const char *gb_leg_redirect(const gb_leg_t *leg, const char *location);

#endif
