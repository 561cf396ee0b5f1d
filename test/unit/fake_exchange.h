/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands around an exchange in a test: a dialect of lines, a host with
 * some keys that remembers what it was asked and told, and a sink that collects
 * and can be slow or gone.
 *
 * The dialect's upstream speaks lines:
 *   say TEXT     content; the client gets "TEXT\n"
 *   think        a candidate without content
 *   stop         the finish reason; without one the answer is incomplete
 *   block        the prompt was blocked
 *   error JSON   an error object in the stream
 * and its client gets "[done]\n" at the end, "error STATUS CODE MESSAGE" as the
 * body of an error, "!STATUS CODE MESSAGE" for one in the middle of a stream.
 */
#ifndef GB_FAKE_EXCHANGE_H
#define GB_FAKE_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "upstream/exchange.h"

extern const gb_dialect_t fake_dialect;

/* ---- host ---- */

#define FAKE_KEYS 16
#define FAKE_MANY 512 /* reports and attempts kept; all are counted */

typedef struct fake_report_t {
    char id[20];
    gb_class_t cls;
    int attempt;
    char row[64];
    apr_int64_t total_tokens;
} fake_report_t;

typedef struct fake_attempt_t {
    int number, final, status;
    char key_id[20];
    gb_class_t cls;
    apr_uint64_t bytes;
    apr_interval_time_t latency, first_byte;
} fake_attempt_t;

/* What pick says instead of a key. */
typedef struct fake_refusal_t {
    int at; /* at which pick, 1-based; 0 = whenever no key is left */
    int times;
    int rc; /* GB_PICK_WAIT or an HTTP status */
    apr_interval_time_t wait;
    apr_interval_time_t retry_after;
} fake_refusal_t;

typedef struct fake_host_t {
    gb_exchange_host_t host;
    int n_keys;
    fake_refusal_t refusal;

    pthread_mutex_t lock; /* guards all below */
    int picks, given;     /* asked; keys handed out */
    int next;
    int held[FAKE_KEYS + 1]; /* by slot */
    char refused[128];       /* fields, each with a space after it */
    apr_int64_t tokens;      /* of the last pick */
    int n_reports, n_begun, n_ended, n_open, n_final;
    int wrong; /* reports of keys that nobody holds, ends of attempts that never began */
    fake_report_t reports[FAKE_MANY];
    fake_attempt_t ended[FAKE_MANY];
} fake_host_t;

void fake_host_init(fake_host_t *host, int n_keys);
/* Nothing is held or open, every key was reported once. */
int fake_host_balanced(fake_host_t *host);

/* ---- sink ---- */

typedef struct fake_sink_t {
    gb_sink_t sink;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t cond;
    size_t room;         /* what it takes before it says APR_EAGAIN; (size_t)-1: all */
    int takes_whole;     /* like a parked connection with a small answer */
    int refuses_head;    /* so many times APR_EAGAIN at begin */
    apr_status_t breaks; /* what data says once `room` is used up, instead of APR_EAGAIN */
    int started, begun, ended;
    apr_status_t rv;
    int status;
    char type[128];
    apr_int64_t content_length;
    apr_table_t *headers; /* from the exchange's pool: valid while it is held */
    gb_buf_t data;
} fake_sink_t;

void fake_sink_init(fake_sink_t *sink);
void fake_sink_free(fake_sink_t *sink);
/* 0: it has not ended within that time. */
int fake_sink_wait(fake_sink_t *sink, int ms);
/* Waits until so many bytes came. */
int fake_sink_wait_data(fake_sink_t *sink, size_t len, int ms);
void fake_sink_room(fake_sink_t *sink, size_t more);
size_t fake_sink_len(fake_sink_t *sink);

/* ---- one call ---- */

typedef struct fake_call_t {
    apr_pool_t *pool; /* the exchange's */
    gb_exchange_conf_t conf;
    gb_settings_t *settings;
    gb_plan_t *plan;
    fake_sink_t sink;
    gb_exchange_t *x;
} fake_call_t;

/*
 * A streaming POST with body "ask" to base_url + "/models/m:stream"; change plan
 * and settings, then start.
 */
void fake_call_make(fake_call_t *call, gb_engine_t *engine, const char *base_url,
                    fake_host_t *host);
void fake_call_start(fake_call_t *call, gb_engine_t *engine);
/* Lets go. */
void fake_call_end(fake_call_t *call);

/* Runs fn in the engine's thread and waits for it. */
void fake_in_engine(gb_engine_t *engine, void (*fn)(void *baton), void *baton);

/* How often a pool of a call was destroyed: every exchange is freed exactly once. */
extern atomic_int fake_calls_freed;

#endif
