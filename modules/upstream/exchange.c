/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exchange: holds the answer back until it is worth giving, passes it to
 * the sink as fast as that one takes it, pauses the upstream when it does not,
 * and ends exactly once.  Attempts and retries are leg.c's.
 */
#include "upstream/exchange.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "base/log.h"
#include "base/timeutil.h"
#include "upstream/beat.h"
#include "upstream/fetch.h"
#include "upstream/gallery.h"
#include "upstream/leg.h"
#include "upstream/optimizer.h"

#define HIGH_WATER (64 * 1024) /* bytes waiting for the client: the upstream pauses */
#define LOW_WATER  (16 * 1024)
#define TURN       (256 * 1024) /* bytes for one client while others wait */
#define PILE_MAX   (512 * 1024) /* of an event stream, for a client that does not listen */

struct gb_exchange_t {
    apr_pool_t *pool;
    atomic_uint refs; /* not APR's: ThreadSanitizer cannot see those */
    gb_engine_t *engine;
    const gb_exchange_conf_t *conf;
    gb_plan_t *plan;
    gb_sink_t *sink; /* NULL after end() */

    gb_msg_t start, wake, cancel; /* each queued one holds a reference */
    gb_timer_t total;
    gb_drain_t drain;
    apr_time_t began;

    gb_fetcher_t *fetcher; /* what the request names by URL comes first; NULL: nothing */
    gb_legs_t legs;
    int n_done, n_failed;
    gb_error_t first_error; /* of a leg that failed where others may do without it */

    gb_head_t head;
    gb_buf_t out;
    size_t sent;   /* bytes of out that the sink has taken */
    int committed; /* the answer is being given: no retry any more */
    int begun;     /* the sink took the head */
    int opened;    /* a filter of the sink began by itself, attempts go on */
    int complete;  /* nothing will be appended to out */
    int broken;    /* the protocol has no word for what went wrong: the connection tells */
    int paused;

    gb_summary_t summary;
};

/* ---- memory ---- */

apr_pool_t *gb_exchange_pool(gb_engine_t *engine)
{
    apr_pool_t *pool;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, gb_engine_allocator(engine)) != APR_SUCCESS) {
        abort();
    }
    apr_pool_tag(pool, "gbalance_exchange");
    return pool;
}

void gb_exchange_ref(gb_exchange_t *x)
{
    atomic_fetch_add(&x->refs, 1);
}

void gb_exchange_unref(gb_exchange_t *x)
{
    if (atomic_fetch_sub(&x->refs, 1) == 1) {
        int i;

        for (i = 0; i < x->legs.n; i++) {
            memset(x->legs.first[i].key.secret, 0, sizeof(x->legs.first[i].key.secret));
        }
        apr_pool_destroy(x->pool);
    }
}

/* A queued message keeps the exchange alive until it has run. */
static apr_status_t post(gb_exchange_t *x, gb_msg_t *msg)
{
    apr_status_t rv;

    gb_exchange_ref(x);
    rv = gb_engine_post(x->engine, msg);
    if (rv != APR_SUCCESS) {
        gb_exchange_unref(x);
    }
    return rv;
}

/* ---- the end ---- */

static void summarize(gb_exchange_t *x)
{
    const gb_leg_t *leg = x->legs.n ? &x->legs.first[x->legs.n - 1] : NULL;
    int i;

    if (!leg) {
        x->summary.outcome = "told";
        return;
    }
    for (i = 0; i < x->legs.n; i++) {
        leg = leg->failed ? &x->legs.first[i] : leg;
        x->summary.attempts += x->legs.first[i].attempts + x->legs.first[i].extra;
    }
    x->summary.upstream_status = leg->status;
    x->summary.key_id = leg->key.id;
    x->summary.outcome = leg->attempts ? gb_class_name(leg->verdict.cls) : "refused";
    x->summary.facts = leg->facts;
}

static void stop_fetching(gb_exchange_t *x)
{
    if (x->fetcher) {
        gb_fetch_cancel(x->fetcher);
        x->fetcher = NULL;
    }
}

static void end(gb_exchange_t *x, apr_status_t rv)
{
    gb_sink_t *sink = x->sink;
    int i;

    if (!sink) {
        return;
    }
    stop_fetching(x);
    for (i = 0; i < x->legs.n; i++) {
        gb_leg_cancel(&x->legs.first[i], GB_TRANSPORT_CANCELLED);
    }
    gb_timer_cancel(x->engine, &x->total);
    gb_drain_remove(x->engine, &x->drain);
    x->sink = NULL;
    if (x->conf->teller) {
        x->conf->teller->end(x->conf->teller);
    }
    summarize(x);
    sink->end(sink, rv);
    gb_exchange_unref(x); /* the engine's */
}

/* ---- towards the client ---- */

static size_t waiting(const gb_exchange_t *x)
{
    return x->out.len - x->sent;
}

static void pace(gb_exchange_t *x)
{
    int i;
    int pause = waiting(x) > HIGH_WATER;

    if (pause == x->paused || (x->paused && waiting(x) > LOW_WATER)) {
        return;
    }
    x->paused = pause;
    for (i = 0; i < x->legs.n; i++) {
        if (pause) {
            gb_leg_pause(&x->legs.first[i]);
        }
        else {
            gb_leg_resume(&x->legs.first[i]);
        }
    }
}

static void note_first_byte(gb_exchange_t *x)
{
    if (x->summary.first_byte < 0) {
        x->summary.first_byte = gb_mono_now() - x->began;
    }
}

static apr_status_t pump_head(gb_exchange_t *x)
{
    apr_status_t rv;

    if (x->begun) {
        return APR_SUCCESS;
    }
    x->head.content_length = x->complete ? (apr_int64_t)x->out.len : -1;
    x->head.body = x->complete ? (x->out.data ? x->out.data : "") : NULL;
    rv = x->sink->begin(x->sink, &x->head);
    if (rv == APR_SUCCESS) {
        x->begun = 1;
        note_first_byte(x);
        if (x->head.taken) {
            x->sent = x->out.len;
        }
    }
    return rv;
}

static apr_status_t pump_body(gb_exchange_t *x)
{
    apr_status_t rv = APR_SUCCESS;
    size_t until = x->sent + TURN;

    while (rv == APR_SUCCESS && waiting(x)) {
        apr_size_t taken = 0;

        if (x->sent >= until) {
            gb_exchange_wake(x); /* the others have their turn first */
            rv = APR_EAGAIN;
            break;
        }

        rv = x->sink->data(x->sink, x->out.data + x->sent, waiting(x), &taken);
        x->sent += taken;
    }
    /* What is complete stays as it is: a sink that took it whole still reads it.  A large event goes
     * in halves: it is moved once, not with every piece. */
    if (!x->complete && x->sent
        && (x->sent == x->out.len || (x->sent > HIGH_WATER && x->sent >= x->out.len / 2))) {
        gb_buf_consume(&x->out, x->sent);
        x->sent = 0;
    }
    return rv;
}

/* Gives the sink what there is.  May end the exchange. */
static void pump(gb_exchange_t *x)
{
    apr_status_t rv;

    if (!x->committed || !x->sink) {
        return;
    }
    rv = pump_head(x);
    if (rv == APR_SUCCESS) {
        rv = pump_body(x);
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
        end(x, rv);
    }
    else if (x->complete && x->begun && !waiting(x)) {
        end(x, x->broken ? APR_INCOMPLETE : APR_SUCCESS);
    }
    else {
        pace(x);
    }
}

/* ---- headers of the answer ---- */

/* What is between us and the upstream, or between it and its own clients. */
/* clang-format off */
static const char *const not_passed[] = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "content-type", "content-encoding", "date",
    "server", "alt-svc", "server-timing", "set-cookie", "via", "retry-after", "x-request-id", NULL
};
/* clang-format on */

/* By the first letter before the rest: this is asked of each header of each answer. */
static int passes(const char *name)
{
    int i;

    for (i = 0; not_passed[i]; i++) {
        if ((*name | 0x20) == *not_passed[i] && strcasecmp(name, not_passed[i]) == 0) {
            return 0;
        }
    }
    return strncasecmp(name, "access-control-", 15) != 0;
}

static int copy_header(void *baton, const char *name, const char *value)
{
    if (passes(name)) {
        apr_table_add(baton, name, value);
    }
    return 1;
}

static void head_from_upstream(gb_exchange_t *x, const gb_leg_t *leg)
{
    apr_table_t *headers = apr_table_make(x->pool, 8);

    x->head.status = leg->status;
    x->head.content_type = x->plan->answer_type   ? x->plan->answer_type
                           : x->plan->fake_stream ? x->plan->stream_type
                                                  : leg->answer_type;
    if (!x->plan->answer_type && leg->answer_headers) {
        apr_table_do(copy_header, headers, leg->answer_headers, NULL);
    }
    if (x->plan->answer_type) {
        x->head.status = 200;
    }
    x->head.unfinished = x->plan->finish != NULL;
    if (x->plan->ignored) {
        apr_table_setn(headers, "x-gbalance-ignored", x->plan->ignored);
    }
    x->head.headers = headers;
}

static void head_from_error(gb_exchange_t *x, const gb_error_t *err)
{
    apr_table_t *headers = apr_table_make(x->pool, 4);

    x->head.status = err->status;
    x->head.content_type = x->plan->dialect->error_type;
    if (err->retry_after > 0) {
        apr_table_setn(headers, "Retry-After",
                       apr_psprintf(x->pool, "%" APR_INT64_T_FMT,
                                    (apr_int64_t)((err->retry_after + 999999) / 1000000)));
        apr_table_setn(headers, "retry-after-ms",
                       apr_psprintf(x->pool, "%" APR_INT64_T_FMT,
                                    (apr_int64_t)((err->retry_after + 999) / 1000)));
    }
    if (err->should_retry != GB_RETRY_UNSAID) {
        apr_table_setn(headers, "x-should-retry",
                       err->should_retry == GB_RETRY_YES ? "true" : "false");
    }
    x->head.headers = headers;
}

static void fail(gb_exchange_t *x, const gb_error_t *err)
{
    int midstream = x->committed || x->opened;
    size_t before;

    if (x->complete) {
        return;
    }
    stop_fetching(x);
    gb_log(GB_LOG_INFO, 0, GBLOGNO(5002) "req %s: %s after %d attempt(s): %d %s",
           x->conf->request_id, x->committed ? "broke off" : "failed", x->legs.first[0].attempts,
           err->status, err->message);
    if (!x->committed) {
        gb_buf_reset(&x->out);
        x->sent = 0;
        head_from_error(x, err);
    }
    before = x->out.len;
    x->plan->dialect->error_body(x->plan, err, midstream, &x->out);
    x->broken = midstream && x->out.len == before;
    x->committed = 1;
    x->complete = 1;
    pump(x);
}

/* ---- what legs tell ---- */

static void leg_make(gb_exchange_t *x, int i);
static void start_legs(gb_exchange_t *x, int first);

/* An answer is worth giving when it holds something, or at its end. */
static void leg_flowed(gb_leg_t *leg)
{
    gb_exchange_t *x = leg->x;

    if (!x->committed && x->plan->stream && !x->plan->fake_stream
        && (leg->facts.has_content || leg->facts.blocked || !x->plan->expects_content)) {
        head_from_upstream(x, leg);
        x->committed = 1;
        leg->committed = 1;
    }
    pump(x);
}

/* Another model may need more calls than the one that was planned for. */
static void legs_grow(gb_exchange_t *x)
{
    int first = x->legs.n;

    while (x->legs.n < x->plan->fan_out) {
        leg_make(x, x->legs.n++);
    }
    start_legs(x, first);
}

static void leg_restarts(gb_leg_t *leg)
{
    gb_exchange_t *x = leg->x;

    if (x->legs.n <= 1 && !x->committed) {
        gb_buf_reset(&x->out);
        x->sent = 0;
    }
    x->paused = 0; /* the next call runs */
    legs_grow(x);
}

/* All answers are in: one translator merges them. */
static apr_status_t merge(gb_exchange_t *x)
{
    const gb_dialect_t *dialect = x->plan->dialect;
    gb_facts_t facts;
    gb_translator_t *t;
    apr_status_t rv = APR_SUCCESS;
    int i;

    memset(&facts, 0, sizeof(facts));
    t = dialect->start(x->plan, x->legs.first[0].answer_type, &facts);
    for (i = 0; rv == APR_SUCCESS && i < x->legs.n; i++) {
        if (!x->legs.first[i].failed) {
            rv = dialect->on_chunk(t, x->legs.first[i].raw.data, x->legs.first[i].raw.len, &x->out);
        }
    }
    return rv == APR_SUCCESS ? dialect->on_end(t, &x->out) : rv;
}

static void fail_all(gb_exchange_t *x, const gb_leg_t *leg, const gb_error_t *err)
{
    gb_error_t copy = *err;
    int i;

    for (i = 0; i < x->legs.n; i++) {
        if (&x->legs.first[i] != leg) {
            gb_leg_cancel(&x->legs.first[i], GB_TRANSPORT_CANCELLED);
        }
    }
    fail(x, &copy);
}

/* One leg is at rest, well or not. */
static void settle(gb_exchange_t *x, gb_leg_t *leg)
{
    gb_error_t err;

    if (++x->n_done < x->legs.n) {
        return;
    }
    if (x->n_failed == x->legs.n) {
        fail(x, &x->first_error);
        return;
    }
    if (x->legs.n > 1 && merge(x) != APR_SUCCESS) {
        gb_error_set(&err, 502, "upstream_error", NULL,
                     "The upstream's answers could not be read.");
        fail(x, &err);
        return;
    }
    if (!x->committed) {
        head_from_upstream(x, leg);
        x->committed = 1;
    }
    x->complete = 1;
    pump(x);
}

static void leg_failed(gb_leg_t *leg, const gb_error_t *err)
{
    gb_exchange_t *x = leg->x;

    if (!x->plan->partial || x->legs.n <= 1 || x->complete) {
        fail_all(x, leg, err);
        return;
    }
    if (x->n_failed++ == 0) {
        x->first_error = *err;
    }
    leg->failed = 1;
    settle(x, leg);
}

static void leg_done(gb_leg_t *leg)
{
    settle(leg->x, leg);
}

static const gb_leg_events_t leg_events = {leg_flowed, leg_restarts, leg_done, leg_failed};

/* ---- what else happens ---- */

static void on_total(gb_timer_t *timer)
{
    gb_exchange_t *x = (gb_exchange_t *)((char *)timer - offsetof(gb_exchange_t, total));
    gb_error_t err;

    if (x->complete) {
        end(x, APR_TIMEUP); /* the client takes it too slowly */
        return;
    }
    /* no fault of the key when it was answering */
    gb_leg_cancel(&x->legs.first[0], x->committed ? GB_TRANSPORT_CANCELLED : GB_TRANSPORT_TIMEOUT);
    gb_error_set(&err, 504, "timeout", NULL,
                 "The call took longer than %d seconds (TIME_OUT_TOTAL) with all its attempts.",
                 (int)apr_time_sec(x->conf->settings->time_out_total));
    fail_all(x, &x->legs.first[0], &err);
}

/*
 * The child is stopping: calls run on until the drain is over, then the client
 * hears why they break off.  When the engine itself ends, whatever the sink did
 * not take by then is lost.
 */
static void on_drain(gb_drain_t *drain, int phase)
{
    gb_exchange_t *x = (gb_exchange_t *)((char *)drain - offsetof(gb_exchange_t, drain));
    gb_error_t err;

    gb_exchange_ref(x);
    if (x->conf->teller) {
        gb_exchange_finish(x);
        if (phase > 0) {
            end(x, APR_EOF);
        }
    }
    if (phase < 1 || x->conf->teller) {
        gb_exchange_unref(x);
        return;
    }
    gb_error_set(&err, 503, "server_shutdown", NULL,
                 "The server is restarting and cannot finish this answer. Please send it again.");
    gb_leg_cancel(&x->legs.first[0], GB_TRANSPORT_CANCELLED);
    fail_all(x, &x->legs.first[0], &err);
    if (phase > 1) {
        end(x, APR_EOF);
    }
    gb_exchange_unref(x);
}

static void on_wake(gb_msg_t *msg)
{
    gb_exchange_t *x = (gb_exchange_t *)((char *)msg - offsetof(gb_exchange_t, wake));

    pump(x);
    gb_exchange_unref(x);
}

static void on_cancel(gb_msg_t *msg)
{
    gb_exchange_t *x = (gb_exchange_t *)((char *)msg - offsetof(gb_exchange_t, cancel));

    end(x, APR_ECONNABORTED);
    gb_exchange_unref(x);
}

static void leg_make(gb_exchange_t *x, int i)
{
    gb_leg_t *leg = &x->legs.first[i];

    leg->all = &x->legs;
    leg->engine = x->engine;
    leg->conf = x->conf;
    leg->plan = x->plan;
    leg->pool = x->pool;
    leg->index = i;
    leg->out = &x->out;
    gb_leg_init(leg, x, &leg_events);
}

/* Legs never move: timers and calls point at them. */
static void legs_make(gb_exchange_t *x)
{
    int room, i;

    if (x->conf->teller) {
        return;
    }
    x->legs.n = x->plan->fan_out > 1 ? x->plan->fan_out : 1;
    room = x->plan->fan_out_later > x->legs.n ? x->plan->fan_out_later : x->legs.n;
    x->legs.first = apr_pcalloc(x->pool, sizeof(*x->legs.first) * (apr_size_t)room);
    for (i = 0; i < x->legs.n; i++) {
        leg_make(x, i);
    }
}

/* From the first-th on.  May end the exchange. */
static void start_legs(gb_exchange_t *x, int first)
{
    int i;

    gb_exchange_ref(x);
    for (i = first; i < x->legs.n && !x->complete; i++) {
        gb_leg_next(&x->legs.first[i]);
    }
    gb_exchange_unref(x);
}

/* What the request names by URL is there: now its body can be made. */
static void on_fetched(void *baton, const gb_error_t *err)
{
    gb_exchange_t *x = baton;
    gb_error_t refused;

    x->fetcher = NULL;
    memset(&refused, 0, sizeof(refused));
    if (!err && x->plan->dialect->resume(x->plan, &refused) != APR_SUCCESS) {
        err = &refused;
    }
    if (err) {
        fail(x, err);
    }
    else {
        start_legs(x, 0);
    }
}

/* ---- an answer without an upstream ---- */

void gb_exchange_give(gb_exchange_t *x, const char *bytes, apr_size_t len)
{
    if (!x->sink || x->complete) {
        return;
    }
    gb_exchange_ref(x);
    gb_buf_append(&x->out, bytes, len);
    x->committed = 1;
    if (waiting(x) > PILE_MAX) {
        end(x, APR_ECONNABORTED);
    }
    else {
        pump(x);
    }
    gb_exchange_unref(x);
}

void gb_exchange_finish(gb_exchange_t *x)
{
    if (x->sink && !x->complete) {
        x->committed = 1;
        x->complete = 1;
        pump(x);
    }
}

static void start_teller(gb_exchange_t *x)
{
    x->head.status = 200;
    x->head.content_type = x->plan->stream_type;
    x->conf->teller->start(x->conf->teller, x);
}

/* ---- the beginning ---- */

static void start_call(gb_exchange_t *x)
{
    gb_timer_set(x->engine, &x->total, x->conf->settings->time_out_total);
    if (x->plan->fetches) {
        x->fetcher = gb_fetch_start(x->engine, x->plan, x->conf->settings, on_fetched, x);
    }
    else {
        start_legs(x, 0);
    }
}

/* Its request may have been read while the child was stopping: it hears what the others have heard. */
static void on_start(gb_msg_t *msg)
{
    gb_exchange_t *x = (gb_exchange_t *)((char *)msg - offsetof(gb_exchange_t, start));
    int stopping = gb_engine_is_stopping(x->engine);

    gb_drain_add(x->engine, &x->drain);
    x->sink->start(x->sink);
    if (x->conf->teller) {
        start_teller(x);
    }
    else if (stopping < 2) {
        start_call(x);
    }
    if (stopping) {
        on_drain(&x->drain, stopping - 1);
    }
    gb_exchange_unref(x);
}

/* ---- the owners' verbs ---- */

gb_exchange_t *gb_exchange_make(gb_engine_t *engine, const gb_exchange_conf_t *conf,
                                gb_plan_t *plan, apr_pool_t *pool)
{
    gb_exchange_t *x = apr_pcalloc(pool, sizeof(*x));

    x->pool = pool;
    atomic_init(&x->refs, 1);
    x->engine = engine;
    x->conf = conf;
    x->plan = plan;
    x->start.fn = on_start;
    x->wake.fn = on_wake;
    x->cancel.fn = on_cancel;
    x->total.fn = on_total;
    x->drain.fn = on_drain;
    x->summary.first_byte = -1;
    x->summary.key_id = "";
    x->summary.outcome = "refused";
    x->began = gb_mono_now();
    gb_buf_init_pool(&x->out, GB_BUF_MAX_ANSWER, pool);
    legs_make(x);
    return x;
}

apr_status_t gb_exchange_start(gb_exchange_t *x, gb_sink_t *sink)
{
    apr_status_t rv;

    sink = gb_beat_before(sink, x, x->engine);
    sink = gb_optimizer_before(sink, x, x->engine);
    x->sink = gb_gallery_before(sink, x, x->engine);
    gb_exchange_ref(x); /* the engine's, until end */
    rv = post(x, &x->start);
    if (rv != APR_SUCCESS) {
        x->sink = NULL;
        gb_exchange_unref(x);
    }
    return rv;
}

void gb_exchange_wake(gb_exchange_t *x)
{
    post(x, &x->wake);
}

void gb_exchange_go_on(gb_exchange_t *x)
{
    gb_exchange_ref(x);
    pump(x);
    gb_exchange_unref(x);
}

void gb_exchange_opened(gb_exchange_t *x)
{
    x->opened = 1;
}

void gb_exchange_cancel(gb_exchange_t *x)
{
    post(x, &x->cancel);
}

const gb_summary_t *gb_exchange_summary(const gb_exchange_t *x)
{
    return &x->summary;
}

const gb_plan_t *gb_exchange_plan(const gb_exchange_t *x)
{
    return x->plan;
}

const gb_exchange_conf_t *gb_exchange_conf(const gb_exchange_t *x)
{
    return x->conf;
}

apr_pool_t *gb_exchange_own_pool(const gb_exchange_t *x)
{
    return x->pool;
}
