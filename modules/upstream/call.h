/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP call to an upstream, by libcurl in the engine's thread: its bytes as
 * they come, paused and resumed, cancelled, with the deadlines of an attempt.
 * It knows no key, no retry and no client.
 *
 * Redirects are not followed unless asked for (a call carries a key); http and
 * https only; certificates are verified; no compression is asked for, and undone when it comes.
 */
#ifndef GB_CALL_H
#define GB_CALL_H

#include <sys/socket.h>

#include "upstream/engine.h"

typedef struct gb_call_t gb_call_t;

#define GB_FEED_WAIT  ((size_t)-1)
#define GB_FEED_BREAK ((size_t)-2) /* there will be no more: the call fails */

/* Everything lives at least as long as the call. */
typedef struct gb_call_conf_t {
    const char *method;
    const char *url;
    const char *const *headers; /* "Name: value", NULL at the end */
    const char *body;           /* NULL: none */
    size_t body_len;
    /*
     * A body that is still to come (NULL: none): fills room with up to so many
     * bytes and says how many; 0 ends it.  GB_FEED_WAIT: gb_call_feed says when to
     * ask again.  feed_len is its length, -1: not known.
     */
    size_t (*feed)(void *baton, char *room, size_t size);
    apr_int64_t feed_len;
    int (*rewind)(void *baton); /* feed from the beginning again: 1 when it can; NULL: never */
    const char *proxy;          /* URL, NULL: none */
    int fresh;                  /* no connection that was kept */
    apr_interval_time_t connect_timeout;
    apr_interval_time_t silence; /* longest time without a byte, to the first and between; not while
                                    the feed has none or a long body moves */
    /*
     * For URLs that a stranger named: how many redirects may be followed, and
     * who may be connected to (asked with baton before every connection; then
     * none is shared with other calls).  0 and NULL for everything else.
     */
    int redirects;
    int (*guard)(void *baton, const struct sockaddr *addr);
} gb_call_conf_t;

typedef struct gb_call_head_t {
    int status;
    const char *content_type;        /* "" when none */
    apr_interval_time_t retry_after; /* -1 none */
    const apr_table_t *headers;      /* all of them, last response only */
} gb_call_head_t;

/*
 * Called in the engine's thread.  head comes once before data; done comes last
 * and once, unless the call was cancelled (then nothing comes any more).  Bytes
 * and head are valid during the call only.  From all three any call may be
 * paused, resumed or cancelled; from head and data none may be started.
 */
typedef struct gb_call_events_t {
    void (*head)(void *baton, const gb_call_head_t *head);
    void (*data)(void *baton, const char *bytes, size_t len);
    /* detail: a sentence for the log, without secrets.  GB_TRANSPORT_CANCELLED: the engine ends,
     * start nothing more. */
    void (*done)(void *baton, gb_transport_t transport, const char *detail);
} gb_call_events_t;

/* From p, which must outlive the call.  Never NULL: what fails at once is told by done, later. */
gb_call_t *gb_call_start(gb_engine_t *engine, const gb_call_conf_t *conf,
                         const gb_call_events_t *events, void *baton, apr_pool_t *p);

/* Stops reading (curl keeps at most one window) and starts again; silence is not counted meanwhile. */
void gb_call_pause(gb_call_t *call);
void gb_call_resume(gb_call_t *call);
/* There is more of the body, or its end. */
void gb_call_feed(gb_call_t *call);
/* Ends it without another event and closes (HTTP/2: resets) what it used. */
void gb_call_cancel(gb_call_t *call);
/*
 * The same for a call that took too long; from none of the three.  Others that came to its
 * connection meanwhile, where nothing was heard, are done with GB_TRANSPORT_STALE.
 */
void gb_call_time_out(gb_call_t *call);

/* ---- for engine.c ---- */
void gb_call_reap(gb_engine_t *engine);
void gb_call_close_idle(gb_engine_t *engine);
void gb_call_stock_free(gb_engine_t *engine);

#endif
