/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_exchange.h.  Linked into every unit test; used by those of the upstream layer. */
#include "fake_exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_strings.h>

/* ---- dialect ---- */

struct gb_translator_t {
    gb_plan_t *plan;
    gb_facts_t *facts;
    gb_buf_t line;
    int said;
};

static gb_translator_t *fake_start(gb_plan_t *plan, const char *content_type, gb_facts_t *facts)
{
    gb_translator_t *t = apr_pcalloc(plan->pool, sizeof(*t));

    (void)content_type;
    t->plan = plan;
    t->facts = facts;
    gb_buf_init_pool(&t->line, 64 << 20, plan->pool);
    return t;
}

static void take_line(gb_translator_t *t, const char *line, gb_buf_t *out)
{
    gb_facts_t *facts = t->facts;

    if (strncmp(line, "say ", 4) == 0) {
        facts->has_candidate = facts->has_content = 1;
        gb_buf_printf(out, "%s\n", line + 4);
    }
    else if (strcmp(line, "think") == 0) {
        facts->has_candidate = 1;
    }
    else if (strcmp(line, "stop") == 0) {
        facts->finished = 1;
        facts->total_tokens = 7;
        apr_cpystrn(facts->finish_reason, "STOP", sizeof(facts->finish_reason));
    }
    else if (strcmp(line, "block") == 0) {
        facts->blocked = facts->finished = 1;
        gb_buf_puts(out, "blocked\n");
    }
    else if (strncmp(line, "error ", 6) == 0) {
        facts->has_error = 1;
        facts->error_json = apr_pstrdup(t->plan->pool, line + 6);
        facts->error_len = strlen(facts->error_json);
    }
}

static apr_status_t fake_on_chunk(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    const char *end;

    gb_buf_append(&t->line, bytes, len);
    while (!t->facts->has_error && t->line.len
           && (end = memchr(t->line.data, '\n', t->line.len)) != NULL) {
        size_t n = (size_t)(end - t->line.data);

        t->line.data[n] = '\0';
        take_line(t, t->line.data, out);
        gb_buf_consume(&t->line, n + 1);
    }
    return APR_SUCCESS;
}

static apr_status_t fake_on_end(gb_translator_t *t, gb_buf_t *out)
{
    if (t->line.len || (t->facts->has_candidate && !t->facts->finished)) {
        return APR_INCOMPLETE;
    }
    if (t->facts->has_content) {
        gb_buf_puts(out, "[done]\n");
    }
    return APR_SUCCESS;
}

static void fake_error_body(const gb_plan_t *plan, const gb_error_t *err, int midstream,
                            gb_buf_t *out)
{
    (void)plan;
    gb_buf_printf(out, "%s%d %s %s", midstream ? "!" : "error ", err->status, err->code,
                  err->message);
    if (err->upstream_body) {
        gb_buf_puts(out, "\nupstream: ");
        gb_buf_append(out, err->upstream_body, err->upstream_len);
    }
}

static apr_status_t fake_drop_field(gb_plan_t *plan, const char *field)
{
    if (strcmp(plan->body, "ask") != 0) {
        return APR_NOTFOUND;
    }
    plan->body = apr_pstrcat(plan->pool, "ask without ", field, NULL);
    plan->body_len = strlen(plan->body);
    return APR_SUCCESS;
}

/* Another model, and as many calls as it may need. */
static apr_status_t fake_instead(gb_plan_t *plan)
{
    apr_cpystrn(plan->model_used, plan->other_model, sizeof(plan->model_used));
    plan->other_model = NULL;
    plan->fan_out = plan->fan_out_later;
    return APR_SUCCESS;
}

const gb_dialect_t fake_dialect = {
    .name = "fake",
    .error_type = "text/x-error",
    .start = fake_start,
    .on_chunk = fake_on_chunk,
    .on_end = fake_on_end,
    .error_body = fake_error_body,
    .drop_field = fake_drop_field,
    .instead = fake_instead,
};

/* ---- host ---- */

static int excluded(const gb_pick_t *pick, int slot)
{
    int i;

    for (i = 0; i < pick->n_exclude; i++) {
        if (pick->exclude[i] == (apr_uint32_t)slot) {
            return 1;
        }
    }
    return 0;
}

static int refuse(const fake_refusal_t *refusal, int by_script, apr_interval_time_t *wait,
                  gb_error_t *err)
{
    if (by_script && refusal->rc == GB_PICK_WAIT) {
        *wait = refusal->wait;
        return GB_PICK_WAIT;
    }
    gb_error_set(err, refusal->rc > 0 ? refusal->rc : 503, "no_keys", NULL, "no key is left");
    err->retry_after = refusal->retry_after;
    err->should_retry = GB_RETRY_NO;
    return err->status;
}

static int host_pick(void *baton, const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait,
                     gb_error_t *err)
{
    fake_host_t *host = baton;
    const fake_refusal_t *refusal = &host->refusal;
    int i, rc = 1;

    pthread_mutex_lock(&host->lock);
    host->picks++;
    host->tokens = pick->tokens;
    if (refusal->at && host->picks >= refusal->at && host->picks < refusal->at + refusal->times) {
        rc = refuse(refusal, 1, wait, err);
    }
    for (i = 0; rc == 1 && i < host->n_keys; i++) {
        int slot = host->next % host->n_keys + 1;

        host->next++;
        if (!excluded(pick, slot)) {
            key->slot = (apr_uint32_t)slot;
            snprintf(key->id, sizeof(key->id), "key%d", slot);
            snprintf(key->secret, sizeof(key->secret), "secret-of-key-%d", slot);
            host->held[slot]++;
            host->given++;
            rc = 0;
        }
        else if (i == host->n_keys - 1) {
            break;
        }
    }
    if (rc == 1) {
        rc = refuse(refusal, 0, wait, err);
    }
    pthread_mutex_unlock(&host->lock);
    return rc;
}

static void host_report(void *baton, const gb_report_t *report)
{
    fake_host_t *host = baton;

    pthread_mutex_lock(&host->lock);
    host->wrong += host->held[report->key->slot]-- <= 0;
    if (host->n_reports < FAKE_MANY) {
        fake_report_t *kept = &host->reports[host->n_reports];

        apr_cpystrn(kept->id, report->key->id, sizeof(kept->id));
        kept->cls = report->verdict->cls;
        kept->attempt = report->attempt;
        kept->total_tokens = report->total_tokens;
        apr_cpystrn(kept->row, report->verdict->row ? report->verdict->row : "", sizeof(kept->row));
    }
    host->n_reports++;
    pthread_mutex_unlock(&host->lock);
}

static void host_begins(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    fake_host_t *host = baton;

    (void)x;
    pthread_mutex_lock(&host->lock);
    host->n_begun++;
    host->n_open++;
    host->wrong += attempt->number < 1 || !attempt->key_id[0] || !attempt->began;
    pthread_mutex_unlock(&host->lock);
}

static void host_ended(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    fake_host_t *host = baton;

    (void)x;
    pthread_mutex_lock(&host->lock);
    host->wrong += host->n_open-- <= 0;
    host->n_final += attempt->final;
    if (host->n_ended < FAKE_MANY) {
        fake_attempt_t *kept = &host->ended[host->n_ended];

        kept->number = attempt->number;
        kept->final = attempt->final;
        kept->status = attempt->status;
        kept->cls = attempt->verdict->cls;
        kept->bytes = attempt->bytes;
        kept->latency = attempt->latency;
        kept->first_byte = attempt->first_byte;
        apr_cpystrn(kept->key_id, attempt->key_id, sizeof(kept->key_id));
    }
    host->n_ended++;
    pthread_mutex_unlock(&host->lock);
}

static void host_refused(void *baton, const gb_plan_t *plan, const gb_settings_t *settings,
                         const char *field)
{
    fake_host_t *host = baton;
    size_t len;

    (void)plan;
    (void)settings;
    pthread_mutex_lock(&host->lock);
    len = strlen(host->refused);
    snprintf(host->refused + len, sizeof(host->refused) - len, "%s ", field);
    pthread_mutex_unlock(&host->lock);
}

void fake_host_init(fake_host_t *host, int n_keys)
{
    memset(host, 0, sizeof(*host));
    host->host.baton = host;
    host->host.pick = host_pick;
    host->host.report = host_report;
    host->host.attempt_begins = host_begins;
    host->host.attempt_ended = host_ended;
    host->host.refused = host_refused;
    host->n_keys = n_keys;
    pthread_mutex_init(&host->lock, NULL);
}

int fake_host_balanced(fake_host_t *host)
{
    int i, ok;

    pthread_mutex_lock(&host->lock);
    ok = !host->wrong && !host->n_open && host->n_begun == host->n_ended
         && host->given == host->n_reports;
    for (i = 1; i <= host->n_keys; i++) {
        ok = ok && host->held[i] == 0;
    }
    if (!ok) {
        fprintf(stderr, "host: wrong %d, open %d, begun %d, ended %d, given %d, reported %d\n",
                host->wrong, host->n_open, host->n_begun, host->n_ended, host->given,
                host->n_reports);
    }
    pthread_mutex_unlock(&host->lock);
    return ok;
}

/* ---- sink ---- */

static void sink_start(gb_sink_t *sink)
{
    fake_sink_t *fake = (fake_sink_t *)sink;

    pthread_mutex_lock(&fake->lock);
    fake->started++;
    pthread_mutex_unlock(&fake->lock);
}

static apr_status_t sink_begin(gb_sink_t *sink, gb_head_t *head)
{
    fake_sink_t *fake = (fake_sink_t *)sink;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&fake->lock);
    if (fake->refuses_head > 0) {
        fake->refuses_head--;
        rv = APR_EAGAIN;
    }
    else {
        fake->begun++;
        fake->status = head->status;
        fake->content_length = head->content_length;
        fake->headers = (apr_table_t *)head->headers;
        apr_cpystrn(fake->type, head->content_type, sizeof(fake->type));
        if (fake->takes_whole && head->body) {
            gb_buf_append(&fake->data, head->body, (size_t)head->content_length);
            head->taken = 1;
        }
    }
    pthread_cond_broadcast(&fake->cond);
    pthread_mutex_unlock(&fake->lock);
    return rv;
}

static apr_status_t sink_data(gb_sink_t *sink, const char *bytes, apr_size_t len, apr_size_t *taken)
{
    fake_sink_t *fake = (fake_sink_t *)sink;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&fake->lock);
    *taken = len < fake->room ? len : fake->room;
    gb_buf_append(&fake->data, bytes, *taken);
    if (fake->room != (size_t)-1) {
        fake->room -= *taken;
    }
    if (*taken < len) {
        rv = fake->breaks ? fake->breaks : APR_EAGAIN;
    }
    pthread_cond_broadcast(&fake->cond);
    pthread_mutex_unlock(&fake->lock);
    return rv;
}

static void sink_end(gb_sink_t *sink, apr_status_t rv)
{
    fake_sink_t *fake = (fake_sink_t *)sink;

    pthread_mutex_lock(&fake->lock);
    fake->ended++;
    fake->rv = rv;
    pthread_cond_broadcast(&fake->cond);
    pthread_mutex_unlock(&fake->lock);
}

void fake_sink_init(fake_sink_t *sink)
{
    memset(sink, 0, sizeof(*sink));
    sink->sink.start = sink_start;
    sink->sink.begin = sink_begin;
    sink->sink.data = sink_data;
    sink->sink.end = sink_end;
    sink->room = (size_t)-1;
    gb_buf_init(&sink->data, GB_BUF_MAX_ANSWER);
    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->cond, NULL);
}

void fake_sink_free(fake_sink_t *sink)
{
    gb_buf_free(&sink->data);
    pthread_mutex_destroy(&sink->lock);
    pthread_cond_destroy(&sink->cond);
}

static struct timespec until(int ms)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

int fake_sink_wait(fake_sink_t *sink, int ms)
{
    struct timespec at = until(ms);
    int rc = 0, ended;

    pthread_mutex_lock(&sink->lock);
    while (!sink->ended && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&sink->cond, &sink->lock, &at);
    }
    ended = sink->ended;
    pthread_mutex_unlock(&sink->lock);
    return ended;
}

int fake_sink_wait_data(fake_sink_t *sink, size_t len, int ms)
{
    struct timespec at = until(ms);
    int rc = 0, there;

    pthread_mutex_lock(&sink->lock);
    while (sink->data.len < len && !sink->ended && rc != ETIMEDOUT) {
        rc = pthread_cond_timedwait(&sink->cond, &sink->lock, &at);
    }
    there = sink->data.len >= len;
    pthread_mutex_unlock(&sink->lock);
    return there;
}

void fake_sink_room(fake_sink_t *sink, size_t more)
{
    pthread_mutex_lock(&sink->lock);
    sink->room = more == (size_t)-1 ? more : sink->room + more;
    pthread_mutex_unlock(&sink->lock);
}

size_t fake_sink_len(fake_sink_t *sink)
{
    size_t len;

    pthread_mutex_lock(&sink->lock);
    len = sink->data.len;
    pthread_mutex_unlock(&sink->lock);
    return len;
}

/* ---- an errand for the engine ---- */

typedef struct errand_t {
    gb_msg_t msg;
    void (*fn)(void *baton);
    void *baton;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int done;
} errand_t;

static void run_errand(gb_msg_t *msg)
{
    errand_t *errand = (errand_t *)msg;

    errand->fn(errand->baton);
    pthread_mutex_lock(&errand->lock);
    errand->done = 1;
    pthread_cond_signal(&errand->cond);
    pthread_mutex_unlock(&errand->lock);
}

void fake_in_engine(gb_engine_t *engine, void (*fn)(void *baton), void *baton)
{
    errand_t errand = {.msg.fn = run_errand,
                       .fn = fn,
                       .baton = baton,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .cond = PTHREAD_COND_INITIALIZER};

    if (gb_engine_post(engine, &errand.msg) != APR_SUCCESS) {
        abort();
    }
    pthread_mutex_lock(&errand.lock);
    while (!errand.done) {
        pthread_cond_wait(&errand.cond, &errand.lock);
    }
    pthread_mutex_unlock(&errand.lock);
}

/* ---- one call ---- */

atomic_int fake_calls_freed;

static apr_status_t freed(void *data)
{
    (void)data;
    atomic_fetch_add(&fake_calls_freed, 1);
    return APR_SUCCESS;
}

void fake_call_make(fake_call_t *call, gb_engine_t *engine, const char *base_url, fake_host_t *host)
{
    apr_pool_t *pool = gb_exchange_pool(engine);
    gb_plan_t *plan = gb_plan_make(&fake_dialect, pool);
    static const char *const none[] = {NULL};

    memset(call, 0, sizeof(*call));
    call->pool = pool;
    apr_pool_cleanup_register(pool, call, freed, apr_pool_cleanup_null);
    call->settings = gb_settings_make(pool);
    call->settings->base_url = apr_pstrdup(pool, base_url);
    plan->method = "POST";
    plan->path = "/models/m:stream";
    plan->content_type = "application/json";
    plan->body = "ask";
    plan->body_len = 3;
    plan->operation = "test";
    plan->stream = plan->upstream_stream = plan->expects_content = 1;
    plan->answer_type = "text/event-stream";
    apr_cpystrn(plan->model, "m", sizeof(plan->model));
    apr_cpystrn(plan->model_used, "m", sizeof(plan->model_used));
    call->plan = plan;
    call->conf.host = &host->host;
    call->conf.settings = call->settings;
    call->conf.pool_name = "default";
    call->conf.request_id = "req-0001";
    call->conf.headers = none;
    fake_sink_init(&call->sink);
}

void fake_call_start(fake_call_t *call, gb_engine_t *engine)
{
    call->x = gb_exchange_make(engine, &call->conf, call->plan, call->pool);
    if (gb_exchange_start(call->x, &call->sink.sink) != APR_SUCCESS) {
        abort();
    }
}

void fake_call_end(fake_call_t *call)
{
    gb_exchange_unref(call->x);
    fake_sink_free(&call->sink);
}
