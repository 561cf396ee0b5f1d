/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pace of the stream optimizer (see optimizer.h).  Which events are text is
 * the dialect's, where a text may be cut is proto/cut.h's.
 *
 * The bound: what waits when a mark is set must be out LAG later; what comes
 * after it waits for the next mark, which is set then at the latest.
 */
#include "upstream/optimizer.h"

#include <string.h>

#include "base/timeutil.h"
#include "proto/cut.h"

#define LAG  apr_time_from_sec(1)
#define FULL (12 * 1024) /* so much may wait: below what a paused upstream waits for */

typedef struct optimizer_t {
    gb_sink_t sink; /* first */
    gb_sink_t *next;
    gb_exchange_t *x;
    gb_engine_t *engine;
    gb_timer_t timer;
    gb_head_t head; /* without the body that a sink could take whole */
    int passes;     /* no stream that we know: everything goes as it is */

    size_t pass; /* bytes of an event that goes as it is */
    /* the event that is given out in steps; what waits begins with what is left of its text */
    gb_split_t split;
    gb_buf_t before;     /* what stood before its text */
    size_t text, behind; /* bytes of the text, and behind it; both 0: there is no such event */
    int begins_line;
    size_t step;
    apr_interval_time_t delay;

    gb_buf_t own; /* the step, until the sink has all of it */
    size_t sent;
    size_t taken; /* how many of the waiting bytes it stands for */

    apr_time_t next_at;             /* monotonic: of the next step */
    apr_uint64_t given, mark, seen; /* bytes since the begin */
    apr_time_t due;                 /* when all up to the mark must be out */
} optimizer_t;

static optimizer_t *optimizer_of(gb_sink_t *sink)
{
    return (optimizer_t *)sink;
}

/* ---- events ---- */

/* With the empty line behind it; all that there is when it has none. */
static size_t event_end(const char *bytes, size_t len)
{
    size_t i;

    for (i = 0; i + 1 < len; i++) {
        const char *lf = memchr(bytes + i, '\n', len - i - 1);

        if (lf == NULL) {
            break;
        }
        i = (size_t)(lf - bytes);
        if (bytes[i + 1] == '\n') {
            return i + 2;
        }
        if (i + 2 < len && bytes[i + 1] == '\r' && bytes[i + 2] == '\n') {
            return i + 3;
        }
    }
    return len;
}

static void take(optimizer_t *o, size_t n, size_t *taken)
{
    o->given += n;
    *taken += n;
}

/* The next event: in steps, or as it is. */
static void look(optimizer_t *o, const char *bytes, size_t len, size_t *taken)
{
    const gb_plan_t *plan = gb_exchange_plan(o->x);
    const gb_settings_t *settings = gb_exchange_conf(o->x)->settings;
    gb_span_t event = {bytes, event_end(bytes, len)};
    size_t chars;

    gb_buf_reset(&o->split.head);
    gb_buf_reset(&o->split.tail);
    gb_buf_reset(&o->before);
    if (o->passes || !plan->dialect->split(plan, event, &o->split)
        || gb_buf_append(&o->before, bytes, o->split.at) != APR_SUCCESS) {
        o->pass = event.len;
        return;
    }
    chars = gb_cut_count(bytes + o->split.at, o->split.len);
    o->text = o->split.len;
    o->behind = event.len - o->split.at - o->split.len;
    o->begins_line = 1;
    o->step = gb_cut_step(settings, chars);
    o->delay = gb_cut_delay(settings, chars);
    take(o, o->split.at, taken);
}

/* ---- giving ---- */

static apr_status_t pass_on(optimizer_t *o, const char *bytes, size_t len, size_t *taken)
{
    apr_size_t n = 0;
    apr_status_t rv = o->next->data(o->next, bytes, o->pass < len ? o->pass : len, &n);

    o->pass -= n;
    take(o, n, taken);
    return rv;
}

/* Waiting bytes that must not wait at all. */
static size_t excess_of(const optimizer_t *o)
{
    apr_uint64_t waiting = o->seen - o->given;

    return waiting > FULL ? (size_t)(waiting - FULL) : 0;
}

/*
 * How far the text goes in this step, and when the next one may come.  `need` is
 * how many of the waiting bytes a step must bring for all to be out in time.
 */
static size_t step_end(optimizer_t *o, const char *text, apr_time_t now)
{
    double left = (double)(o->due - now);
    double waiting = o->mark > o->given ? (double)(o->mark - o->given) : 0;
    size_t excess = excess_of(o), end;
    double need;

    if (excess > 0) {
        o->next_at = now;
        return gb_cut_end(text, o->text, o->begins_line, o->step, excess);
    }
    if (left <= 0 && waiting > 0) {
        o->next_at = now;
        return o->text;
    }
    need = left > 0 ? waiting * (double)o->delay / left : 0;
    need = need < waiting ? need : waiting;
    end = gb_cut_end(text, o->text, o->begins_line, o->step, (size_t)need);
    o->next_at = now
                 + ((double)end >= need
                        ? o->delay
                        : (apr_interval_time_t)((double)o->delay * (double)end / need));
    return end;
}

/* The event of one step; the last one is the whole event with what is left of its text. */
static void step_make(optimizer_t *o, const char *text, apr_time_t now)
{
    size_t end = step_end(o, text, now);
    int last = end == o->text;
    const gb_buf_t *before = last ? &o->before : &o->split.head;

    gb_buf_append(&o->own, before->data, before->len);
    gb_buf_append(&o->own, text, end);
    if (last) {
        gb_buf_append(&o->own, text + end, o->behind);
    }
    else {
        gb_buf_append(&o->own, o->split.tail.data, o->split.tail.len);
    }
    o->taken = last ? end + o->behind : end;
    o->begins_line = end >= 2 && memcmp(text + end - 2, "\\n", 2) == 0;
    o->text -= end;
    o->behind = last ? 0 : o->behind;
}

static apr_status_t step_give(optimizer_t *o, const char *text, size_t *taken)
{
    apr_time_t now = gb_mono_now();
    apr_status_t rv;
    apr_size_t n = 0;

    if (!o->own.len) {
        if (now < o->next_at && !excess_of(o)) {
            gb_timer_set(o->engine, &o->timer, o->next_at - now);
            return APR_EAGAIN;
        }
        step_make(o, text, now);
    }
    rv = o->next->data(o->next, o->own.data + o->sent, o->own.len - o->sent, &n);
    o->sent += n;
    if (o->own.rv != APR_SUCCESS || o->sent < o->own.len) {
        return rv == APR_SUCCESS ? o->own.rv : rv;
    }
    gb_buf_reset(&o->own);
    o->sent = 0;
    take(o, o->taken, taken);
    return rv;
}

/* ---- the sink ---- */

static void optimizer_start(gb_sink_t *sink)
{
    optimizer_t *o = optimizer_of(sink);

    o->next->start(o->next);
}

static apr_status_t optimizer_begin(gb_sink_t *sink, gb_head_t *head)
{
    optimizer_t *o = optimizer_of(sink);

    if (head->status != 200) {
        o->passes = 1;
        return o->next->begin(o->next, head);
    }
    o->head = *head;
    o->head.body = NULL;
    o->head.content_length = -1;
    return o->next->begin(o->next, &o->head);
}

static apr_status_t optimizer_data(gb_sink_t *sink, const char *bytes, apr_size_t len,
                                   apr_size_t *taken)
{
    optimizer_t *o = optimizer_of(sink);
    apr_status_t rv = APR_SUCCESS;

    o->seen = o->given + len;
    if (o->given >= o->mark) {
        o->mark = o->seen;
        o->due = gb_mono_now() + LAG;
    }
    while (rv == APR_SUCCESS && *taken < len) {
        if (o->pass) {
            rv = pass_on(o, bytes + *taken, len - *taken, taken);
        }
        else if (o->text || o->behind || o->own.len) {
            rv = step_give(o, bytes + *taken, taken);
        }
        else {
            look(o, bytes + *taken, len - *taken, taken);
        }
    }
    return rv;
}

static void optimizer_end(gb_sink_t *sink, apr_status_t rv)
{
    optimizer_t *o = optimizer_of(sink);

    gb_timer_cancel(o->engine, &o->timer);
    o->next->end(o->next, rv);
}

static void on_timer(gb_timer_t *timer)
{
    optimizer_t *o = (optimizer_t *)((char *)timer - offsetof(optimizer_t, timer));

    gb_exchange_go_on(o->x);
}

gb_sink_t *gb_optimizer_before(gb_sink_t *sink, gb_exchange_t *x, gb_engine_t *engine)
{
    const gb_plan_t *plan = gb_exchange_plan(x);
    apr_pool_t *pool = gb_exchange_own_pool(x);
    optimizer_t *o;

    if (!gb_exchange_conf(x)->settings->stream_optimizer_enabled || !plan->stream
        || !plan->stream_type || !plan->dialect->split) {
        return sink;
    }
    o = apr_pcalloc(pool, sizeof(*o));
    o->sink.start = optimizer_start;
    o->sink.begin = optimizer_begin;
    o->sink.data = optimizer_data;
    o->sink.end = optimizer_end;
    o->next = sink;
    o->x = x;
    o->engine = engine;
    o->timer.fn = on_timer;
    gb_buf_init_pool(&o->own, GB_BUF_MAX_EVENT + GB_BUF_MAX_LINE, pool);
    gb_buf_init_pool(&o->before, GB_BUF_MAX_LINE, pool);
    gb_buf_init_pool(&o->split.head, GB_BUF_MAX_LINE, pool);
    gb_buf_init_pool(&o->split.tail, GB_BUF_MAX_LINE, pool);
    return &o->sink;
}
