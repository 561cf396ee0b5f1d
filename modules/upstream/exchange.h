/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange: one client call from plan to last byte.  A state machine with
 * at most MAX_RETRIES upstream calls; before the first byte to the client a
 * failed attempt is retried on another key, after it the error is delivered in
 * the protocol's own way (DESIGN section 5).
 *
 * It is made by a worker, runs in the engine's thread, and has two owners: the
 * connection and the engine.  The last one to let go frees it; everything that
 * it needs lives in its own pool.
 */
#ifndef GB_EXCHANGE_H
#define GB_EXCHANGE_H

#include "proto/dialect.h"
#include "upstream/engine.h"
#include "upstream/hosting.h"
#include "upstream/key.h"
#include "upstream/sink.h"

typedef struct gb_exchange_t gb_exchange_t;

/* What the host keeps of an attempt from its begin to its end; all zero before. */
typedef struct gb_ticket_t {
    apr_uint32_t slot;
    unsigned char uid[16];
} gb_ticket_t;

/* One upstream call, for the journal. */
typedef struct gb_attempt_t {
    gb_ticket_t *ticket;
    const char *request_id;
    int number; /* 1-based within the call */
    int final;  /* no other follows: calls and tokens count this one */
    const char *key_id;
    char key_masked[GB_MASK_LEN];
    int status;       /* the upstream's, 0 = no answer */
    apr_time_t began; /* wall clock */
    apr_interval_time_t latency;
    apr_interval_time_t first_byte; /* -1: none came */
    const gb_verdict_t *verdict;
    const gb_facts_t *facts;
    apr_uint64_t bytes; /* from the upstream */
} gb_attempt_t;

/* Who an exchange asks and tells.  Everything runs in the engine's thread and must not block. */
typedef struct gb_exchange_host_t {
    void *baton;
    /* As the hooks key_pick and key_report in mod_gbalance.h. */
    int (*pick)(void *baton, const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait,
                gb_error_t *err);
    void (*report)(void *baton, const gb_report_t *report);
    /* Before the first byte of an attempt goes out (number, key_id, began are set), and after. */
    void (*attempt_begins)(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt);
    void (*attempt_ended)(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt);
    /* A model refused a field, and took the call without it.  May be NULL. */
    void (*refused)(void *baton, const gb_plan_t *plan, const gb_settings_t *settings,
                    const char *field);
} gb_exchange_host_t;

/*
 * What an answer comes from when no upstream is asked: an event stream that tells what happens.
 * It ends when the child stops.  Both run in the engine's thread.
 */
typedef struct gb_teller_t {
    void (*start)(struct gb_teller_t *teller, gb_exchange_t *x);
    void (*end)(struct gb_teller_t *teller); /* once: nobody listens any more */
} gb_teller_t;

/* All of it lives at least as long as the exchange. */
typedef struct gb_exchange_conf_t {
    gb_teller_t *teller; /* NULL: the upstream */
    const gb_exchange_host_t *host;
    const gb_settings_t *settings;
    const char *pool_name;
    const char *request_id;
    apr_uint64_t caller;        /* hash of who calls */
    const char *caller_name;    /* for the journal: the token's id or the user */
    const char *const *headers; /* "Name: value" to send upstream, NULL at the end */
    const gb_shelf_t *shelf;    /* for pictures that we keep ourselves; NULL: nowhere */
} gb_exchange_conf_t;

/* What the access log and the journal want to know at the end. */
typedef struct gb_summary_t {
    int attempts;
    int upstream_status;            /* of the last attempt */
    const char *key_id;             /* of the last attempt, "" for none */
    const char *outcome;            /* gb_class_name, or "refused" before any attempt */
    apr_interval_time_t first_byte; /* from start to the client's first byte; -1 none */
    gb_facts_t facts;
} gb_summary_t;

/*
 * The pool that a new exchange will live in, made before the body is read.  Any
 * thread; pools have no lock: from gb_exchange_start on only the engine's thread
 * may take memory from it.
 */
apr_pool_t *gb_exchange_pool(gb_engine_t *engine);

/* One reference, the caller's.  pool came from gb_exchange_pool and goes with the last reference. */
gb_exchange_t *gb_exchange_make(gb_engine_t *engine, const gb_exchange_conf_t *conf,
                                gb_plan_t *plan, apr_pool_t *pool);

/* Any thread, once.  APR_EOF: the engine has ended; nothing will be called. */
apr_status_t gb_exchange_start(gb_exchange_t *x, gb_sink_t *sink);

/* Any thread: the sink can take more.  Harmless when nothing waits. */
void gb_exchange_wake(gb_exchange_t *x);
/* Any thread: nobody wants the answer any more. */
void gb_exchange_cancel(gb_exchange_t *x);

/* The engine's thread: a filter of the sink has begun the answer; what fails now is told in it. */
void gb_exchange_opened(gb_exchange_t *x);
/* The engine's thread: as wake, at once. */
void gb_exchange_go_on(gb_exchange_t *x);

/*
 * Engine's thread, of a teller: says something, or that this was all.  May end the exchange; a client
 * that does not take what piles up for it is let go.
 */
void gb_exchange_give(gb_exchange_t *x, const char *bytes, apr_size_t len);
void gb_exchange_finish(gb_exchange_t *x);

/* Any thread.  The last one to let go frees it. */
void gb_exchange_ref(gb_exchange_t *x);
void gb_exchange_unref(gb_exchange_t *x);

/* After end() only. */
const gb_summary_t *gb_exchange_summary(const gb_exchange_t *x);
const gb_plan_t *gb_exchange_plan(const gb_exchange_t *x);
const gb_exchange_conf_t *gb_exchange_conf(const gb_exchange_t *x);
apr_pool_t *gb_exchange_own_pool(const gb_exchange_t *x);

#endif
