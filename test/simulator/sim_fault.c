/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault rules: who is hit (match, count, every, skip, probability) and how
 * (status with Google's body, reset, cut, stall, bent answers, literal
 * answers). Reading them from JSON is sim_rule.c's work; here they are kept,
 * picked and carried out.
 */
#include "sim.h"
#include "sim_rule.h"

#include <stdlib.h>

static sim_rule_t **rules;
static size_t nrules;

/* ---- keeping ---- */

void sim_fault_release(sim_rule_t *rule)
{
    if (--rule->refs > 0) {
        return;
    }
    sim_rule_free(rule);
}

void sim_fault_clear(void)
{
    size_t i;

    for (i = 0; i < nrules; i++) {
        sim_fault_release(rules[i]);
    }
    nrules = 0;
}

void sim_fault_add(sim_rule_t *rule)
{
    rules = sim_xrealloc(rules, (nrules + 1) * sizeof(*rules));
    rule->refs = 1;
    rules[nrules++] = rule;
}

void sim_fault_list(sim_buf_t *out)
{
    sw_t w = {.b = out, .style = SW_PRETTY};
    size_t i;

    sw_open(&w, NULL, '{');
    sw_open(&w, "rules", '[');
    for (i = 0; i < nrules; i++) {
        sw_open(&w, NULL, '{');
        sw_number(&w, "id", rules[i]->id);
        sw_cstr(&w, "kind", sim_rule_kind_name(rules[i]->kind));
        sw_number(&w, "matched", rules[i]->matched);
        sw_number(&w, "fired", rules[i]->fired);
        sw_close(&w, '}');
    }
    sw_close(&w, ']');
    sw_close(&w, '}');
    sim_putc(out, '\n');
}

/* ---- picking ---- */

static bool matches(const sim_rule_t *rule, const sim_req_t *r)
{
    sim_str_t method = {sim_route_name(r->route), 0};

    if (rule->count > 0 && rule->fired >= rule->count) {
        return false;
    }
    method.n = strlen(method.p);
    return (rule->key == NULL || sim_glob(rule->key, r->key))
           && (rule->model == NULL || sim_glob(rule->model, r->model))
           && (rule->method == NULL || sim_glob(rule->method, method))
           && (rule->path == NULL || sim_glob(rule->path, r->path))
           && (rule->request_id == NULL || sim_glob(rule->request_id, r->request_id));
}

static bool fires(sim_rule_t *rule)
{
    long turn = rule->matched++ - rule->skip;

    if (turn < 0 || turn % rule->every != 0) {
        return false;
    }
    if (rule->probability < 1
        && (double)(sim_random(&rule->random) % 1000000) >= rule->probability * 1e6) {
        return false;
    }
    rule->fired++;
    return true;
}

sim_rule_t *sim_fault_pick(const sim_req_t *r)
{
    size_t i;

    for (i = 0; i < nrules; i++) {
        if (matches(rules[i], r) && fires(rules[i])) {
            rules[i]->refs++;
            return rules[i];
        }
    }
    return NULL;
}

long sim_fault_delay(const sim_rule_t *rule)
{
    return rule->delay_ms;
}

/* ---- carrying out ---- */

static sim_canned_args_t canned_args(const sim_conn_t *c, const sim_rule_t *rule)
{
    sim_str_t message = {rule->message, rule->message != NULL ? strlen(rule->message) : 0};

    return (sim_canned_args_t){.key = c->req.key,
                               .model = c->req.model,
                               .message = message,
                               .project = rule->project,
                               .retry_delay = rule->retry_delay,
                               .quota_value = rule->quota_value,
                               .quota_id = rule->quota_id,
                               .quota_metric = rule->quota_metric,
                               .order = rule->order};
}

static void answer_status(sim_conn_t *c, const sim_rule_t *rule)
{
    static sim_buf_t body;
    sim_canned_args_t args = canned_args(c, rule);
    sim_type_t type = rule->body_type;

    body.len = 0;
    if (rule->body.len > 0 || rule->literal_body) {
        sim_put(&body, rule->body.p, rule->body.len);
    }
    else {
        sim_canned_write(&body, rule->canned, rule->status, &args, &type);
    }
    if (type == ST_TEXT || rule->literal_body) {
        sim_http_answer(c, rule->status, type, (sim_str_t){body.p, body.len});
        return;
    }
    sim_error_body(c, rule->status, type, (sim_str_t){body.p, body.len});
}

static void answer_literal(sim_conn_t *c, const sim_rule_t *rule)
{
    sim_stream_t *s = sim_stream_get(c);
    size_t before = c->out.len;

    s->plan.pace = rule->pace;
    s->literal = (sim_str_t){rule->body.p, rule->body.len};
    s->cuts = rule->cuts;
    s->steps = (long)rule->ncuts;
    c->status = (unsigned)rule->status;
    c->chunked_out = rule->framing == FR_CHUNKED && !c->req.http10;
    c->keep_alive = c->keep_alive && rule->framing != FR_UNTIL_CLOSE;
    sim_buf_printf(&c->out, "HTTP/1.1 %d %s\r\n", rule->status, sim_http_reason(rule->status));
    sim_put(&c->out, rule->headers.p, rule->headers.len);
    if (c->chunked_out) {
        sim_putl(&c->out, "Transfer-Encoding: chunked\r\n");
    }
    else if (rule->framing == FR_LENGTH) {
        sim_buf_printf(&c->out, "Content-Length: %zu\r\n", rule->body.len);
    }
    sim_putl(&c->out, "\r\n");
    c->sent += c->out.len - before;
    sim_fault_bend(rule, c, s);
    sim_stream_start(c, SF_LITERAL);
}

/* Half of a unary answer, whose head promises more. */
static void answer_half(sim_conn_t *c, const sim_rule_t *rule)
{
    static const char text[] = "{\n  \"candidates\": [\n    {\n      \"content\": {\n"
                               "        \"parts\": [\n          {\n            \"text\": \"This ";
    size_t n = rule->bytes > 0 && (size_t)rule->bytes < sizeof(text) ? (size_t)rule->bytes
                                                                     : sizeof(text) - 1;

    sim_http_head(c, 200, ST_JSON, 4096);
    sim_put(&c->out, text, n);
    if (!sim_conn_flush(c)) {
        return;
    }
    if (rule->kind == SK_STALL) {
        sim_conn_stall(c);
    }
    else if (rule->ending == SE_RST) {
        sim_calls_end(c, SO_FAULT);
        sim_conn_reset(c);
    }
    else {
        c->keep_alive = false;
        sim_conn_answered(c);
    }
}

static bool is_stream(const sim_req_t *r)
{
    return r->route == SR_STREAM || (r->route == SR_OPENAI_CHAT && r->openai_stream);
}

bool sim_fault_answer(sim_conn_t *c, const sim_rule_t *rule)
{
    sim_calls_fault(c, rule->id);
    if (rule->headers.len > 2 && rule->kind != SK_ANSWER) {
        c->extra = (sim_str_t){rule->headers.p, rule->headers.len - 2};
    }
    c->close_after = rule->close_after;
    switch (rule->kind) {
    case SK_STATUS:
        answer_status(c, rule);
        return true;
    case SK_ANSWER:
        answer_literal(c, rule);
        return true;
    case SK_RESET:
        sim_calls_end(c, SO_FAULT);
        sim_conn_reset(c);
        return true;
    case SK_CLOSE:
        c->keep_alive = false;
        sim_conn_answered(c);
        return true;
    case SK_STALL:
    case SK_CUT:
        if (rule->kind == SK_STALL && rule->after == 0 && rule->bytes == 0) {
            sim_conn_stall(c);
            return true;
        }
        if (!is_stream(&c->req)) {
            answer_half(c, rule);
            return true;
        }
        return false;
    case SK_DELAY:
    case SK_EMPTY:
    case SK_BLOCKED:
    case SK_FINISH:
    case SK_MIDSTREAM_ERROR:
        return false;
    }
    return false;
}

static void bend_finish(const sim_rule_t *rule, sim_plan_t *p)
{
    p->finish_off = (uint32_t)p->mem.len;
    p->finish_len = (uint32_t)strlen(rule->reason);
    sim_puts(&p->mem, rule->reason);
    if (rule->message != NULL) {
        p->finish_message = (sim_str_t){rule->message, strlen(rule->message)};
    }
    if (rule->shape != SY_FULL) {
        p->shape = rule->shape;
    }
}

static void bend_error(const sim_rule_t *rule, const sim_conn_t *c, sim_stream_t *s)
{
    sim_canned_args_t args = canned_args(c, rule);
    sim_type_t type;
    size_t i;

    if (rule->literal_body) {
        sim_put(&s->error, rule->body.p, rule->body.len);
        sim_putl(&s->error, "\n");
    }
    else {
        sim_canned_write(&s->error, rule->canned, rule->status, &args, &type);
    }
    s->error_in_data = rule->in_data;
    for (i = 0; rule->in_data && i < s->error.len; i++) {
        s->error.p[i] = s->error.p[i] == '\n' ? ' ' : s->error.p[i];
    }
}

void sim_fault_bend(const sim_rule_t *rule, sim_conn_t *c, sim_stream_t *s)
{
    sim_plan_t *p = &s->plan;

    s->ending = rule->ending;
    s->ending_after = rule->after;
    s->ending_bytes = rule->bytes;
    if (rule->kind == SK_ANSWER) {
        return;
    }
    if (rule->kind == SK_MIDSTREAM_ERROR) {
        bend_error(rule, c, s);
    }
    if (rule->kind == SK_EMPTY || rule->kind == SK_BLOCKED) {
        p->shape = rule->shape;
    }
    if (rule->kind == SK_BLOCKED) {
        p->block_off = (uint32_t)p->mem.len;
        p->block_len = (uint32_t)strlen(rule->reason);
        sim_puts(&p->mem, rule->reason);
    }
    else if (rule->reason != NULL) {
        bend_finish(rule, p);
    }
    if (rule->model_version != NULL) {
        p->version_off = (uint32_t)p->mem.len;
        p->version_len = (uint32_t)strlen(rule->model_version);
        sim_puts(&p->mem, rule->model_version);
    }
    if (rule->has_pace) {
        p->pace = rule->pace;
        p->synthetic = p->pace.chunks > 0 || p->pace.seq || p->pace.stamp;
    }
    p->usage = !rule->no_usage;
}
