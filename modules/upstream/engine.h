/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: one thread per child that owns all upstream connections and
 * everything that waits.  It turns on epoll; what happens in it is a message
 * (from any thread), a timer, a watched descriptor or curl.
 *
 * Thread rules: functions whose comment says "any thread" may be called from
 * everywhere, all others from the engine's thread alone, and nothing that runs
 * in it may block.
 */
#ifndef GB_ENGINE_H
#define GB_ENGINE_H

#include <stdint.h>
#include <apr_allocator.h>
#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>
#include "proto/classify.h"
#include "upstream/proxies.h"

typedef struct gb_engine_t gb_engine_t;

typedef struct gb_engine_conf_t {
    const char *user_agent;    /* of calls that bring none of their own */
    const char *ca_file;       /* CA bundle instead of the system's, NULL for the system's */
    apr_interval_time_t drain; /* how long calls may run on once the child is stopping */
    /* Asked once a second: 1 when this child has been told to stop. */
    int (*stopping)(void *baton);
    void *baton;
} gb_engine_conf_t;

/*
 * Starts the thread.  After the fork only; curl_global_init has been called.  Any thread.  p outlives
 * whoever may still post, watch or let go of an exchange after gb_engine_stop.
 */
apr_status_t gb_engine_start(gb_engine_t **pengine, const gb_engine_conf_t *conf, apr_pool_t *p);

/* Ends the thread, cancelling what is left, and joins it.  Any thread but the engine's; once. */
void gb_engine_stop(gb_engine_t *engine);

/* Whether the thread lives and turned within the last 10 seconds.  Any thread. */
int gb_engine_alive(gb_engine_t *engine);

/*
 * The memory of exchanges: one allocator with a lock for all of them, since one
 * for each would map and unmap pages with every call.  Any thread.
 */
apr_allocator_t *gb_engine_allocator(gb_engine_t *engine);

/*
 * How long whole answers have taken of late, in microseconds.  Told by the
 * engine's thread, asked by any.
 */
void gb_engine_note_answer(gb_engine_t *engine, apr_interval_time_t took);
apr_interval_time_t gb_engine_usual_answer(gb_engine_t *engine);

/* 0: it is not; 1: the child is stopping; 2: and the drain is over.  Engine's thread. */
int gb_engine_is_stopping(gb_engine_t *engine);

/* ---- messages ---- */

/* Embedded in what it is about.  Posting it again before it ran does nothing. */
typedef struct gb_msg_t {
    struct gb_msg_t *next;
    void (*fn)(struct gb_msg_t *msg);
    int queued; /* guarded by the engine's queue lock */
} gb_msg_t;

/* Any thread.  APR_EEXIST: it is waiting already; APR_EOF: the engine has ended, fn will never run. */
apr_status_t gb_engine_post(gb_engine_t *engine, gb_msg_t *msg);

/* ---- timers ---- */

typedef struct gb_timer_t {
    apr_time_t due; /* monotonic */
    int at;         /* place in the heap, 0 = not set */
    void (*fn)(struct gb_timer_t *timer);
} gb_timer_t;

/* Sets (or moves) a timer to now + after.  It fires once. */
void gb_timer_set(gb_engine_t *engine, gb_timer_t *timer, apr_interval_time_t after);
void gb_timer_cancel(gb_engine_t *engine, gb_timer_t *timer);

/* ---- descriptors ---- */

typedef struct gb_watch_t {
    int fd; /* -1 = not watched */
    void (*fn)(struct gb_watch_t *watch, uint32_t events);
} gb_watch_t;

/* epoll's event bits.  Any thread; the caller serializes calls for one watch. */
apr_status_t gb_watch_add(gb_engine_t *engine, gb_watch_t *watch, int fd, uint32_t events);
apr_status_t gb_watch_change(gb_engine_t *engine, gb_watch_t *watch, uint32_t events);
/* fn may still run once for an event that was under way, if called outside the engine's thread. */
void gb_watch_remove(gb_engine_t *engine, gb_watch_t *watch);
/* Engine's thread, before the memory of a watch goes: forgets an event that was under way. */
void gb_watch_forget(gb_engine_t *engine, gb_watch_t *watch);

/* ---- what must end with the child ---- */

/* A ring of everybody who wants to hear of stopping; engine's thread. */
typedef struct gb_drain_t {
    struct gb_drain_t *next, *prev;
    /* phase 0: the child is stopping; 1: the drain is over, come to an end; 2: the engine ends,
     * nothing of it works after this call.  2 may come without the others. */
    void (*fn)(struct gb_drain_t *drain, int phase);
} gb_drain_t;

void gb_drain_add(gb_engine_t *engine, gb_drain_t *drain);
void gb_drain_remove(gb_engine_t *engine, gb_drain_t *drain);

/* ---- for call.c ---- */

/* The curl multi handle (a CURLM), created in the engine's thread. */
void *gb_engine_multi(gb_engine_t *engine);
/* Engine's private list of idle handles, see call.c. */
struct gb_call_stock_t;
struct gb_call_stock_t **gb_engine_stock(gb_engine_t *engine);
const gb_engine_conf_t *gb_engine_conf(gb_engine_t *engine);

/* ---- for leg.c ---- */
gb_proxies_t *gb_engine_proxies(gb_engine_t *engine);

#endif
