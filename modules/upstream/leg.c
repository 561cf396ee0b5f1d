/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one upstream answer: pick a key, call, read, classify, report,
 * and again.  What the client has got already and what it gets next is the
 * exchange's business; what an outcome does to a key is the pool's.
 */
#include "upstream/leg.h"

#include <string.h>

#include <apr_strings.h>

#include "base/log.h"
#include "base/media.h"
#include "base/timeutil.h"

#define BACKOFF_FIRST apr_time_from_msec(250)
#define BACKOFF_MAX   apr_time_from_sec(4)
#define QUEUE_RETRY   apr_time_from_sec(2)

/* Of estimates. */
#define TOKEN_BYTES  4
#define MEDIA_TOKENS 258         /* of a picture */
#define MEDIA_WORTH  (64 * 1024) /* bytes of a body that is worth a look */

/* ---- telling the host ---- */

static void fill_attempt(gb_leg_t *leg, gb_attempt_t *attempt)
{
    memset(attempt, 0, sizeof(*attempt));
    attempt->ticket = &leg->ticket;
    attempt->request_id = leg->conf->request_id;
    attempt->number = leg->number;
    attempt->key_id = leg->key.id;
    gb_mask(attempt->key_masked, leg->key.secret, strlen(leg->key.secret));
    attempt->status = leg->status;
    attempt->began = leg->began;
    attempt->latency = leg->latency;
    attempt->first_byte = leg->first_byte;
    attempt->verdict = &leg->verdict;
    attempt->facts = &leg->facts;
    attempt->bytes = leg->bytes;
}

/* Only when it is known whether another one follows: calls and tokens count the final one. */
static void close_attempt(gb_leg_t *leg, int final)
{
    const gb_exchange_host_t *host = leg->conf->host;
    gb_attempt_t attempt;

    if (leg->open) {
        leg->open = 0;
        fill_attempt(leg, &attempt);
        attempt.final = final;
        host->attempt_ended(host->baton, leg->x, &attempt);
    }
}

/*
 * No other attempt of this leg follows.  Legs wait for one another here, for
 * only the last attempt of the whole call is the final one.
 */
static void close_leg(gb_leg_t *leg)
{
    gb_leg_t *each, *end = leg->all->first + leg->all->n, *last = NULL;

    leg->over = 1;
    for (each = leg->all->first; each < end; each++) {
        if (!each->over) {
            return;
        }
        last = each->open ? each : last;
    }
    for (each = leg->all->first; each < end; each++) {
        close_attempt(each, each == last);
    }
}

/*
 * Gives the key back with what became of it, exactly once.  For an adaptive
 * re-send it is still held: what was refused says nothing of a key.
 */
static void report(gb_leg_t *leg)
{
    const gb_exchange_host_t *host = leg->conf->host;
    int apart = leg->plan->own_quotas && leg->verdict.cls == GB_CLASS_QUOTA;
    gb_verdict_t verdict;
    gb_report_t news;

    if (!leg->key.slot || leg->keep_key) {
        return;
    }
    verdict = leg->verdict;
    verdict.n_quotas = apart ? 0 : verdict.n_quotas;
    memset(&news, 0, sizeof(news));
    news.pool = leg->conf->pool_name;
    news.model = apart ? "" : leg->plan->model_used;
    news.key = &leg->key;
    news.verdict = &verdict;
    news.latency = leg->latency;
    news.prompt_tokens = leg->facts.prompt_tokens;
    news.total_tokens = leg->facts.total_tokens;
    news.attempt = leg->number;
    news.settings = leg->conf->settings;
    host->report(host->baton, &news);
    if (leg->pick.n_exclude < GB_PICK_EXCLUDE_MAX) {
        leg->pick.exclude[leg->pick.n_exclude++] = leg->key.slot;
    }
    leg->key.slot = 0;
}

/* ---- after an attempt ---- */

static void step_after(gb_leg_t *leg, int to, apr_interval_time_t wait)
{
    leg->step_to = to;
    gb_timer_set(leg->engine, &leg->step, wait);
}

/* ---- waiting for a key that is busy ---- */

/* Of this process: only its engine's thread counts. */
static int in_queue;

static void leave_queue(gb_leg_t *leg)
{
    in_queue -= leg->queued_at != 0;
    leg->queued_at = 0;
}

/* Whether it may wait (on); else *err says what the client hears. */
static int stay_queued(gb_leg_t *leg, gb_error_t *err)
{
    const gb_settings_t *settings = leg->conf->settings;
    apr_time_t now = gb_mono_now();

    if (leg->queued_at ? now - leg->queued_at < settings->key_queue_time
                       : in_queue < settings->key_queue_max) {
        in_queue += leg->queued_at == 0;
        leg->queued_at = leg->queued_at ? leg->queued_at : now;
        return 1;
    }
    gb_error_set(err, 429, "rate_limit_exceeded", NULL,
                 "All keys are busy: each serves as many calls at a time as "
                 "MAX_CONCURRENT_PER_KEY says, and %s. Try again in %d s.",
                 leg->queued_at ? "none became free" : "too many calls wait already",
                 (int)apr_time_sec(QUEUE_RETRY));
    apr_cpystrn(err->type, "requests", sizeof(err->type));
    err->retry_after = QUEUE_RETRY;
    return 0;
}

/* 0.25 s doubling to 4 s, each between half and one and a half of it. */
static apr_interval_time_t backoff(int attempts)
{
    apr_interval_time_t wait = BACKOFF_FIRST
                               << (attempts > 1 ? (attempts - 1 < 4 ? attempts - 1 : 4) : 0);
    apr_uint32_t dice;

    gb_random(&dice, sizeof(dice));
    if (wait > BACKOFF_MAX) {
        wait = BACKOFF_MAX;
    }
    return wait / 2 + (apr_interval_time_t)(dice % (apr_uint32_t)wait);
}

/* How often this class may be tried again, beside MAX_RETRIES.  Counts as it asks. */
static int class_allows(gb_leg_t *leg)
{
    const gb_verdict_t *v = &leg->verdict;

    switch (v->cls) {
    case GB_CLASS_EMPTY:
        return leg->empties++ < 1;
    case GB_CLASS_UNKNOWN_AUTH:
        return leg->unknowns++ < 1;
    case GB_CLASS_SUCCESS:
    case GB_CLASS_BLOCKED:
    case GB_CLASS_CLIENT:
    case GB_CLASS_ADAPTIVE:
    case GB_CLASS_AFFINITY:
    case GB_CLASS_KEY:
    case GB_CLASS_PROJECT:
    case GB_CLASS_ACCOUNT:
    case GB_CLASS_REGION:
    case GB_CLASS_MODEL_ACCESS:
    case GB_CLASS_QUOTA:
    case GB_CLASS_SERVICE:
    case GB_CLASS_OVERLOADED:
    case GB_CLASS_STALE:
    case GB_CLASS_PROXY:
    case GB_CLASS_GATEWAY:
    case GB_CLASS_CANCELLED:
    case GB_CLASS_N:
        break;
    }
    return v->retry && (v->retry_max == 0 || leg->same_service++ < v->retry_max);
}

/*
 * One adaptive re-send with a refused field dropped comes on top of MAX_RETRIES.
 * Legs share the plan: another one may have dropped it while this one waited.
 */
static int drop_refused_field(gb_leg_t *leg)
{
    const gb_dialect_t *dialect = leg->plan->dialect;

    if (leg->verdict.cls != GB_CLASS_ADAPTIVE || leg->adapted || !dialect->drop_field) {
        return 0;
    }
    if (leg->body != gb_leg_body(leg).p) {
        return 1;
    }
    if (dialect->drop_field(leg->plan, leg->verdict.field) != APR_SUCCESS) {
        return 0;
    }
    if (!leg->verdict.once) {
        apr_cpystrn(leg->dropped, leg->verdict.field, sizeof(leg->dropped));
    }
    return 1;
}

/* It was that field when the call went through without it, or only another one is in the way. */
static void tell_refused(gb_leg_t *leg)
{
    const gb_exchange_host_t *host = leg->conf->host;
    const gb_verdict_t *v = &leg->verdict;

    if (leg->dropped[0] && host->refused
        && (v->cls == GB_CLASS_SUCCESS || v->cls == GB_CLASS_BLOCKED
            || (v->cls == GB_CLASS_ADAPTIVE && strcmp(v->field, leg->dropped) != 0))) {
        host->refused(host->baton, leg->plan, leg->conf->settings, leg->dropped);
        leg->dropped[0] = '\0';
    }
}

static int is_service(gb_class_t cls)
{
    return cls == GB_CLASS_SERVICE || cls == GB_CLASS_OVERLOADED;
}

/*
 * Two keys that give the same unknown answer to one call: then it is the
 * request, and the client gets Google's words.
 */
static void settle_unknown(gb_leg_t *leg)
{
    gb_verdict_t *v = &leg->verdict;

    if (v->cls != GB_CLASS_UNKNOWN_AUTH) {
        return;
    }
    if (leg->unknown_row == v->row && strcmp(leg->unknown_reason, v->reason) == 0) {
        gb_error_set(&v->error, 400, "invalid_value", NULL, "%s", v->message);
        v->error.should_retry = GB_RETRY_NO;
    }
    leg->unknown_row = v->row;
    apr_cpystrn(leg->unknown_reason, v->reason, sizeof(leg->unknown_reason));
}

static void fail(gb_leg_t *leg, const gb_error_t *err)
{
    leave_queue(leg);
    gb_timer_cancel(leg->engine, &leg->step);
    gb_timer_cancel(leg->engine, &leg->first_token);
    close_leg(leg);
    leg->events->failed(leg, err);
}

/* The upstream's own words go along for clients that speak its protocol. */
static void keep_upstream_body(gb_leg_t *leg)
{
    gb_error_t *err = &leg->verdict.error;
    int in_stream = leg->facts.has_error;
    const char *body = in_stream ? leg->facts.error_json : leg->raw.data;
    size_t len = in_stream ? leg->facts.error_len : leg->raw.len;
    gb_buf_t clean;

    if (!len || (leg->status < 400 && !in_stream)) {
        return;
    }
    gb_buf_init_pool(&clean, GB_BUF_MAX_ERROR * 2, leg->pool);
    if (gb_redact(&clean, body, len, leg->key.secret) == APR_SUCCESS) {
        err->upstream_body = clean.data;
        err->upstream_len = clean.len;
    }
}

/* A proxy that failed says nothing of the key: it tries the next one at once, each once. */
static int takes_other_proxy(const gb_leg_t *leg)
{
    const gb_list_t *proxies = &leg->conf->settings->proxies;
    const char *next = leg->proxy_failed && leg->moves < proxies->n - 1 ? gb_leg_proxy(leg) : NULL;

    return next && gb_proxies_alive(gb_engine_proxies(leg->engine), next, gb_mono_now());
}

/*
 * A kept connection may end at the moment when it is used.  The request goes out
 * once more, on a new one: an attempt with a number of its own, which no key pays for.
 */
static int takes_new_connection(const gb_leg_t *leg)
{
    return leg->verdict.cls == GB_CLASS_STALE && !leg->fresh;
}

/*
 * The upstream has given up the model and the plan has another one for the call:
 * it takes over, as if it had been asked for.
 */
static int takes_other_model(gb_leg_t *leg)
{
    gb_plan_t *plan = leg->plan;

    if (leg->committed || leg->status != 404 || !plan->other_model) {
        return 0;
    }
    gb_log(
        GB_LOG_WARNING, 0,
        GBLOGNO(5009) "req %s: the upstream does not know the model %s (any more): %s answers in "
                      "its place. Set CREATE_IMAGE_MODEL to a model that it knows",
        leg->conf->request_id, plan->model_used, plan->other_model);
    close_attempt(leg, 0);
    if (plan->dialect->instead(plan) != APR_SUCCESS) {
        return 0;
    }
    leg->streams = plan->upstream_stream;
    leg->pick.n_exclude = 0;
    return 1;
}

/* Each continuation is an attempt on top of MAX_RETRIES. */
static int attempts_left(const gb_leg_t *leg)
{
    return leg->attempts < (int)leg->conf->settings->max_retries + leg->continued;
}

/*
 * The client has part of the answer.  A continuation that brought nothing is tried again like
 * any attempt; else the rest is asked for, as often as the settings allow.
 */
static int goes_on(gb_leg_t *leg)
{
    const gb_dialect_t *dialect = leg->plan->dialect;

    if (!leg->verdict.retry || leg->facts.finished) {
        return 0;
    }
    if (leg->continued > 0 && !leg->facts.has_content) {
        return class_allows(leg) && attempts_left(leg);
    }
    if (leg->continued >= (int)leg->conf->settings->stream_continue_max || !dialect->go_on
        || dialect->go_on(leg->plan) != APR_SUCCESS) {
        return 0;
    }
    leg->continued++;
    gb_log(GB_LOG_INFO, 0, GBLOGNO(5013) "req %s: the answer broke off and is continued",
           leg->conf->request_id);
    return 1;
}

/* The request went out and no answer came: the upstream may have done what it was asked for. */
static int may_be_done(const gb_leg_t *leg)
{
    return leg->plan->lasting && leg->status < 400
           && (leg->transport == GB_TRANSPORT_RESET || leg->transport == GB_TRANSPORT_TIMEOUT);
}

static void retry_or_fail(gb_leg_t *leg)
{
    int again = 0;

    if (leg->verdict.cls == GB_CLASS_CANCELLED) {
        again = 0;
    }
    else if (may_be_done(leg)) {
        leg->verdict.error.should_retry = GB_RETRY_NO;
    }
    else if (leg->committed) {
        again = goes_on(leg);
    }
    else if (drop_refused_field(leg)) {
        leg->adapted = 1;
        leg->extra++;
        leg->keep_key = 1;
        again = 1;
    }
    else if (takes_new_connection(leg)) {
        leg->fresh = 1;
        leg->extra++;
        leg->keep_key = 1;
        again = 1;
    }
    else if (takes_other_proxy(leg)) {
        leg->moves++;
        leg->keep_key = 1;
        again = 1;
    }
    else if (class_allows(leg)) {
        again = attempts_left(leg);
    }
    settle_unknown(leg);
    keep_upstream_body(leg);
    report(leg);
    if (!takes_other_model(leg) && !again) {
        fail(leg, &leg->verdict.error);
        return;
    }
    step_after(leg, GB_STEP_NEXT,
               is_service(leg->verdict.cls) && !leg->keep_key ? backoff(leg->attempts) : 0);
    leg->events->restarts(leg); /* last: another leg that begins there may end the exchange */
}

static void fill_outcome(const gb_leg_t *leg, gb_outcome_t *outcome)
{
    memset(outcome, 0, sizeof(*outcome));
    outcome->transport = leg->transport;
    outcome->status = leg->status;
    outcome->retry_after = leg->retry_after;
    outcome->has_candidate = leg->facts.has_candidate || !leg->plan->expects_content;
    outcome->has_content = leg->facts.has_content || !leg->plan->expects_content
                           || (leg->continued > 0 && leg->facts.finished); /* all was said */
    outcome->blocked = leg->facts.blocked;
    outcome->malformed = leg->facts.malformed;
    outcome->complete = !leg->incomplete;
    outcome->secret = leg->key.secret;
    if (leg->status < 200 || leg->status > 299) {
        outcome->body = leg->raw.data;
        outcome->body_len = leg->raw.len;
    }
}

/* The attempt is over, whatever way: what does it mean? */
static void judge(gb_leg_t *leg)
{
    gb_outcome_t outcome;

    gb_timer_cancel(leg->engine, &leg->first_token);
    leg->latency = gb_mono_now() - leg->began_mono;
    fill_outcome(leg, &outcome);
    if (leg->facts.has_error && leg->transport == GB_TRANSPORT_OK) {
        gb_classify_event(&leg->verdict, leg->facts.error_json, leg->facts.error_len,
                          leg->key.secret);
    }
    else {
        gb_classify(&leg->verdict, &outcome);
    }
    leg->verdict.by_proxy = leg->proxy && !leg->status;
    leg->fresh |= leg->transport == GB_TRANSPORT_TIMEOUT; /* it may have been the connection */
    tell_refused(leg);
    if (leg->verdict.cls == GB_CLASS_SUCCESS || leg->verdict.cls == GB_CLASS_BLOCKED) {
        report(leg);
        close_leg(leg);
        leg->events->done(leg);
        return;
    }
    retry_or_fail(leg);
}

/* ---- the answer ---- */

static void on_head(void *baton, const gb_call_head_t *head)
{
    gb_leg_t *leg = baton;

    leg->status = head->status;
    leg->retry_after = head->retry_after;
    leg->answer_type = apr_pstrdup(leg->pool, head->content_type);
    leg->answer_headers = head->headers;
    leg->first_byte = gb_mono_now() - leg->began_mono;
    leg->moved = head->status >= 300 && head->status < 400
                     ? gb_leg_redirect(leg, apr_table_get(head->headers, "Location"))
                     : NULL;
    if (leg->streams && head->status >= 200 && head->status < 300) {
        leg->translator = leg->plan->dialect->start(leg->plan, leg->answer_type, &leg->facts);
    }
}

/* Inside curl's callback nothing new may start: the verdict waits for the next turn. */
static void break_off(gb_leg_t *leg, gb_transport_t why)
{
    gb_call_t *call = leg->call;

    leg->transport = why;
    leg->call = NULL;
    step_after(leg, GB_STEP_JUDGE, 0);
    /* last: others may end there, perhaps with the whole exchange */
    (why == GB_TRANSPORT_TIMEOUT ? gb_call_time_out : gb_call_cancel)(call);
}

static void stream_on(gb_leg_t *leg, const char *bytes, size_t len)
{
    apr_status_t rv = leg->plan->dialect->on_chunk(leg->translator, bytes, len, leg->out);

    if (rv == APR_SUCCESS) {
        rv = leg->out->rv;
    }
    if (rv != APR_SUCCESS) {
        break_off(leg, rv == APR_ENOSPC ? GB_TRANSPORT_TOO_LARGE : GB_TRANSPORT_RESET);
    }
    else if (leg->facts.has_error) {
        break_off(leg, GB_TRANSPORT_OK);
    }
    else {
        leg->events->flowed(leg);
    }
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    gb_leg_t *leg = baton;

    leg->bytes += len;
    if (leg->translator) {
        stream_on(leg, bytes, len);
    }
    else if (leg->status < 200 || leg->status > 299) {
        size_t room = GB_BUF_MAX_ERROR - leg->raw.len;

        gb_buf_append(&leg->raw, bytes, len < room ? len : room);
    }
    else if (gb_buf_append(&leg->raw, bytes, len) != APR_SUCCESS) {
        break_off(leg, GB_TRANSPORT_TOO_LARGE);
    }
}

/* A collected answer is looked through once to see what it is. */
static apr_status_t look_through(gb_leg_t *leg)
{
    const gb_dialect_t *dialect = leg->plan->dialect;
    gb_translator_t *t = dialect->start(leg->plan, leg->answer_type, &leg->facts);
    gb_buf_t scratch;
    gb_buf_t *out = leg->out;
    apr_status_t rv;

    gb_buf_init(&scratch, GB_BUF_MAX_ANSWER);
    if (leg->plan->fan_out > 1) {
        out = &scratch;
    }
    rv = dialect->on_chunk(t, leg->raw.data ? leg->raw.data : "", leg->raw.len, out);
    if (rv == APR_SUCCESS && !leg->facts.has_error) {
        rv = dialect->on_end(t, out);
    }
    gb_buf_free(&scratch);
    return rv;
}

/* An operator can act on a wrong address, proxy or certificate; the rest happens. */
static gb_log_level_t log_level(gb_transport_t transport)
{
    return transport == GB_TRANSPORT_CONNECT || transport == GB_TRANSPORT_PROXY
                   || transport == GB_TRANSPORT_TLS
               ? GB_LOG_WARNING
               : GB_LOG_INFO;
}

static void call_start(gb_leg_t *leg);

/* The same attempt at the address that the upstream has named. */
static void send_on(gb_leg_t *leg)
{
    leg->hops++;
    leg->status = 0;
    gb_buf_reset(&leg->raw);
    call_start(leg);
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    gb_leg_t *leg = baton;
    apr_status_t rv = APR_SUCCESS;

    leg->call = NULL;
    transport = gb_leg_note_proxy(leg, transport);
    leg->transport = transport;
    if (transport == GB_TRANSPORT_OK && leg->moved) {
        send_on(leg);
        return;
    }
    if (transport != GB_TRANSPORT_OK) {
        gb_log(log_level(transport), 0, GBLOGNO(5001) "req %s: attempt %d on key %s: %s",
               leg->conf->request_id, leg->attempts, leg->key.id, detail);
    }
    else if (leg->status >= 200 && leg->status < 300) {
        rv = leg->translator ? leg->plan->dialect->on_end(leg->translator, leg->out)
                             : look_through(leg);
        leg->incomplete = (rv != APR_SUCCESS);
        if (leg->out->rv != APR_SUCCESS) {
            leg->transport = GB_TRANSPORT_TOO_LARGE;
        }
        else if (rv != APR_SUCCESS) {
            leg->transport = GB_TRANSPORT_RESET;
        }
    }
    judge(leg);
}

/* ---- sending ---- */

static void call_start(gb_leg_t *leg)
{
    static const gb_call_events_t call_events = {on_head, on_data, on_done};
    gb_call_conf_t call;

    gb_leg_request(leg, &call);
    leg->call = gb_call_start(leg->engine, &call, &call_events, leg, leg->pool);
}

static void attempt_reset(gb_leg_t *leg)
{
    gb_facts_t none = {0};

    none.prompt_tokens = none.completion_tokens = none.thought_tokens = -1;
    none.cached_tokens = none.total_tokens = -1;
    leg->facts = none;
    leg->status = 0;
    leg->retry_after = -1;
    leg->answer_type = "";
    leg->answer_headers = NULL;
    leg->transport = GB_TRANSPORT_OK;
    leg->translator = NULL;
    leg->first_byte = -1;
    leg->bytes = 0;
    leg->incomplete = 0;
    leg->proxy_failed = 0;
    leg->moved = NULL;
    leg->hops = 0;
    leg->latency = 0;
    leg->body = gb_leg_body(leg).p;
    leg->began = apr_time_now();
    leg->began_mono = gb_mono_now();
    gb_buf_reset(&leg->raw);
}

static void send_attempt(gb_leg_t *leg)
{
    const gb_exchange_host_t *host = leg->conf->host;
    gb_attempt_t attempt;

    attempt_reset(leg);
    if (!leg->keep_key) {
        leg->attempts++;
    }
    leg->keep_key = 0;
    leg->number = ++leg->all->attempts;
    leg->open = 1;
    memset(&leg->ticket, 0, sizeof(leg->ticket));
    fill_attempt(leg, &attempt);
    host->attempt_begins(host->baton, leg->x, &attempt);

    leg->proxy = gb_leg_proxy(leg);
    call_start(leg);
    if (leg->streams && leg->conf->settings->time_out_first_token > 0) {
        gb_timer_set(leg->engine, &leg->first_token, leg->conf->settings->time_out_first_token);
    }
}

/*
 * No key for another attempt.  A lone key is tried again after a service fault;
 * else the client hears the pool's word when it is about quotas, and the last
 * attempt's otherwise.
 */
static void no_key(gb_leg_t *leg, const gb_error_t *err)
{
    const gb_verdict_t *last = &leg->verdict;

    if (leg->pick.n_exclude && (is_service(last->cls) || last->cls == GB_CLASS_EMPTY)) {
        leg->pick.n_exclude = 0;
        gb_leg_next(leg);
        return;
    }
    fail(leg, leg->attempts > 0 && err->status != 429 && last->error.status ? &last->error : err);
}

/* Of the prompt's tokens, until Google tells: its bytes, but pictures and the like by their number. */
static apr_int64_t estimate(gb_span_t body)
{
    size_t len = body.len, n = 0;

    if (len >= MEDIA_WORTH) {
        len = gb_media_left(body.p, body.len, &n);
    }
    return (apr_int64_t)(len / TOKEN_BYTES + n * MEDIA_TOKENS);
}

/* The key of the attempt before stays readable until there is another one. */
static int pick_key(gb_leg_t *leg, apr_interval_time_t *wait, gb_error_t *err)
{
    const gb_exchange_host_t *host = leg->conf->host;
    gb_key_t key;
    int rc;

    memset(&key, 0, sizeof(key));
    /* it may have been fetched first */
    leg->pick.tokens = leg->plan->pieces ? 0 : estimate(gb_leg_body(leg));
    rc = host->pick(host->baton, &leg->pick, &key, wait, err);
    if (rc == 0) {
        close_attempt(leg, 0);
        leg->key = key;
    }
    explicit_bzero(&key, sizeof(key));
    return rc;
}

void gb_leg_next(gb_leg_t *leg)
{
    apr_interval_time_t wait = 0;
    gb_error_t err;
    int rc = 0;

    memset(&err, 0, sizeof(err));
    if (leg->keep_key) {
        close_attempt(leg, 0);
    }
    else {
        rc = pick_key(leg, &wait, &err);
    }
    if (rc == GB_PICK_WAIT && stay_queued(leg, &err)) {
        step_after(leg, GB_STEP_NEXT, wait);
        return;
    }
    leave_queue(leg);
    if (rc == 0) {
        send_attempt(leg);
    }
    else {
        no_key(leg, &err);
    }
}

static void on_step(gb_timer_t *timer)
{
    gb_leg_t *leg = (gb_leg_t *)((char *)timer - offsetof(gb_leg_t, step));

    if (leg->step_to == GB_STEP_JUDGE) {
        judge(leg);
    }
    else {
        gb_leg_next(leg);
    }
}

static void on_first_token(gb_timer_t *timer)
{
    gb_leg_t *leg = (gb_leg_t *)((char *)timer - offsetof(gb_leg_t, first_token));

    if (leg->call && !leg->facts.has_content && (!leg->committed || leg->continued > 0)) {
        break_off(leg, GB_TRANSPORT_TIMEOUT);
    }
}

/* ---- the exchange's verbs ---- */

void gb_leg_init(gb_leg_t *leg, gb_exchange_t *x, const gb_leg_events_t *events)
{
    leg->x = x;
    leg->events = events;
    leg->step.fn = on_step;
    leg->first_token.fn = on_first_token;
    leg->streams = leg->plan->upstream_stream;
    leg->fresh = leg->plan->lasting; /* a kept connection that ends would not say what was done */
    leg->retry_after = -1;
    gb_buf_init_pool(&leg->raw, GB_BUF_MAX_ANSWER, leg->pool);
    leg->pick.pool = leg->conf->pool_name;
    leg->pick.model = leg->plan->model_used;
    leg->pick.required_id = leg->plan->required_id;
    leg->pick.paid = leg->plan->paid;
    leg->pick.affinity = leg->plan->affinity;
    leg->pick.caller = leg->conf->caller;
    leg->pick.settings = leg->conf->settings;
}

void gb_leg_cancel(gb_leg_t *leg, gb_transport_t why)
{
    gb_outcome_t outcome;

    leave_queue(leg);
    gb_timer_cancel(leg->engine, &leg->step);
    gb_timer_cancel(leg->engine, &leg->first_token);
    if (leg->call) {
        gb_call_cancel(leg->call);
        leg->call = NULL;
    }
    if (leg->key.slot) {
        leg->transport = why;
        leg->keep_key = 0;
        leg->latency = gb_mono_now() - leg->began_mono;
        fill_outcome(leg, &outcome);
        gb_classify(&leg->verdict, &outcome);
        report(leg);
    }
    close_leg(leg);
}

void gb_leg_pause(gb_leg_t *leg)
{
    if (leg->call) {
        gb_call_pause(leg->call);
    }
}

void gb_leg_resume(gb_leg_t *leg)
{
    if (leg->call) {
        gb_call_resume(leg->call);
    }
}
