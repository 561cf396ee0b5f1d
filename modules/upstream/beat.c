/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats (see beat.h).  They go out between events only, and never to a
 * client that does not take what is there for it already.
 */
#include "upstream/beat.h"

#include "base/timeutil.h"

#define AGAIN apr_time_from_msec(250) /* the sink was busy */

typedef struct beat_t {
    gb_sink_t sink; /* first */
    gb_sink_t *next;
    gb_exchange_t *x;
    gb_engine_t *engine;
    apr_interval_time_t every;
    gb_timer_t timer;
    apr_time_t last; /* monotonic: of the last bytes */
    gb_head_t head;  /* when we begin */
    gb_buf_t own;    /* the heartbeat, until the sink has all of it */
    size_t sent;
    int begun;  /* the sink has a head */
    int inside; /* its bytes end within an event */
    int over;   /* the answer is whole, or no stream */
} beat_t;

static beat_t *beat_of(gb_sink_t *sink)
{
    return (beat_t *)sink;
}

static void set_timer(beat_t *beat, apr_interval_time_t after)
{
    if (!beat->over) {
        gb_timer_set(beat->engine, &beat->timer, after);
    }
}

/* ---- saying something ---- */

/* A heartbeat that was taken in part must be whole before anything else. */
static apr_status_t own_give(beat_t *beat)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && beat->sent < beat->own.len) {
        apr_size_t taken = 0;

        rv = beat->next->data(beat->next, beat->own.data + beat->sent, beat->own.len - beat->sent,
                              &taken);
        beat->sent += taken;
    }
    if (beat->sent == beat->own.len) {
        gb_buf_reset(&beat->own);
        beat->sent = 0;
    }
    return rv;
}

static apr_status_t begin_own(beat_t *beat)
{
    const gb_plan_t *plan = gb_exchange_plan(beat->x);
    apr_pool_t *pool = gb_exchange_own_pool(beat->x);
    apr_table_t *headers;
    apr_status_t rv;

    if (!beat->head.headers) {
        headers = apr_table_make(pool, 1);
        if (plan->ignored) {
            apr_table_setn(headers, "x-gbalance-ignored", plan->ignored);
        }
        beat->head.headers = headers;
    }
    beat->head.status = 200;
    beat->head.content_type = plan->stream_type;
    beat->head.content_length = -1;
    rv = beat->next->begin(beat->next, &beat->head);
    if (rv == APR_SUCCESS) {
        beat->begun = 1;
        gb_exchange_opened(beat->x);
    }
    return rv;
}

static apr_status_t say(beat_t *beat)
{
    const gb_plan_t *plan = gb_exchange_plan(beat->x);
    apr_status_t rv = beat->begun ? APR_SUCCESS : begin_own(beat);

    if (rv == APR_SUCCESS) {
        if (!beat->own.len) {
            plan->dialect->heartbeat(plan, &beat->own);
        }
        rv = own_give(beat);
    }
    return rv;
}

static void on_timer(gb_timer_t *timer)
{
    beat_t *beat = (beat_t *)((char *)timer - offsetof(beat_t, timer));
    apr_time_t now = gb_mono_now();
    apr_interval_time_t silent = now - beat->last;
    apr_status_t rv = APR_SUCCESS;

    if (silent < beat->every || beat->inside) {
        set_timer(beat, silent < beat->every ? beat->every - silent : beat->every);
        return;
    }
    rv = say(beat);
    if (rv == APR_SUCCESS) {
        beat->last = now;
    }
    else if (!APR_STATUS_IS_EAGAIN(rv)) {
        gb_exchange_cancel(beat->x); /* nobody is there any more */
    }
    set_timer(beat, rv == APR_SUCCESS ? beat->every : AGAIN);
}

/* ---- what passes ---- */

static void beat_start(gb_sink_t *sink)
{
    beat_t *beat = beat_of(sink);

    beat->last = gb_mono_now();
    beat->next->start(beat->next);
    set_timer(beat, beat->every);
}

static apr_status_t beat_begin(gb_sink_t *sink, gb_head_t *head)
{
    beat_t *beat = beat_of(sink);
    apr_status_t rv = APR_SUCCESS;

    if (!beat->begun) {
        rv = beat->next->begin(beat->next, head);
        beat->begun = rv == APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && (head->body || head->status != 200)) {
        beat->over = 1; /* all of it is there, or it is an error */
        gb_timer_cancel(beat->engine, &beat->timer);
    }
    return rv;
}

static apr_status_t beat_data(gb_sink_t *sink, const char *bytes, apr_size_t len, apr_size_t *taken)
{
    beat_t *beat = beat_of(sink);
    apr_status_t rv = own_give(beat);

    if (rv == APR_SUCCESS) {
        rv = beat->next->data(beat->next, bytes, len, taken);
    }
    if (*taken) {
        beat->inside = *taken < len; /* what waits for a sink are whole events */
        beat->last = gb_mono_now();
    }
    return rv;
}

static void beat_end(gb_sink_t *sink, apr_status_t rv)
{
    beat_t *beat = beat_of(sink);

    gb_timer_cancel(beat->engine, &beat->timer);
    beat->next->end(beat->next, rv);
}

/* ---- making it ---- */

static apr_interval_time_t interval_of(const gb_exchange_t *x)
{
    const gb_plan_t *plan = gb_exchange_plan(x);
    const gb_settings_t *settings = gb_exchange_conf(x)->settings;

    if (!plan->stream || !plan->stream_type || !plan->dialect->heartbeat) {
        return 0;
    }
    return plan->fake_stream ? settings->fake_stream_empty_data_interval_seconds
                             : settings->stream_heartbeat_seconds;
}

gb_sink_t *gb_beat_before(gb_sink_t *sink, gb_exchange_t *x, gb_engine_t *engine)
{
    apr_interval_time_t every = interval_of(x);
    beat_t *beat;

    if (every <= 0) {
        return sink;
    }
    beat = apr_pcalloc(gb_exchange_own_pool(x), sizeof(*beat));
    beat->sink.start = beat_start;
    beat->sink.begin = beat_begin;
    beat->sink.data = beat_data;
    beat->sink.end = beat_end;
    beat->next = sink;
    beat->x = x;
    beat->engine = engine;
    beat->every = every;
    beat->timer.fn = on_timer;
    gb_buf_init_pool(&beat->own, GB_BUF_MAX_LINE, gb_exchange_own_pool(x));
    return &beat->sink;
}
