/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: renders one event after the other at its time, frames it (SSE, JSON
 * array, OpenAI's SSE, literal bytes), cuts the bytes into pieces when told,
 * and ends the stream well or badly. A slow client stops the rendering, so
 * memory stays small.
 */
#include "sim.h"

#include <stdlib.h>

#define BACKLOG_MAX (256 * 1024)
#define NS_PER_MS   1000000u

sim_pace_t sim_pace_default;

sim_stream_t *sim_stream_get(sim_conn_t *c)
{
    sim_stream_t *s = c->stream;

    if (s == NULL) {
        s = c->stream = sim_xcalloc(1, sizeof(*s));
    }
    s->step = s->steps = 0;
    s->ending = SE_NONE;
    s->ending_after = s->ending_bytes = 0;
    s->error_in_data = false;
    s->error.len = s->pending.len = s->pending_at = 0;
    s->cuts = NULL;
    return s;
}

void sim_stream_free(sim_stream_t *s)
{
    if (s != NULL) {
        sim_buf_free(&s->plan.mem);
        sim_buf_free(&s->error);
        sim_buf_free(&s->pending);
        free(s);
    }
}

/* ---- events ---- */

sim_str_t sim_newline(sim_newline_t kind)
{
    static const sim_str_t text[] = {
        [SN_CRLF] = SIM_STR("\r\n"), [SN_LF] = SIM_STR("\n"), [SN_CR] = SIM_STR("\r")};

    return text[kind];
}

static void end_event(sim_stream_t *s)
{
    sim_str_t nl = sim_newline(s->plan.pace.newline);

    sim_put(&s->pending, nl.p, nl.n);
    sim_put(&s->pending, nl.p, nl.n);
}

static void render_sse(sim_stream_t *s)
{
    sim_putl(&s->pending, "data: ");
    sim_render_step(&s->plan, s->step, SW_LINE, &s->pending);
    end_event(s);
}

static void render_array(sim_stream_t *s)
{
    if (s->step == s->steps - 1) {
        sim_putc(&s->pending, ']');
        return;
    }
    if (s->step == 0) {
        sim_putc(&s->pending, '[');
    }
    else {
        sim_putl(&s->pending, ",\r\n");
    }
    sim_render_step(&s->plan, s->step, SW_PRETTY, &s->pending);
    sim_putc(&s->pending, '\n');
}

static void render_openai(sim_stream_t *s)
{
    sim_putl(&s->pending, "data: ");
    if (!sim_openai_step(&s->plan, s->step, &s->pending)) {
        sim_putl(&s->pending, "[DONE]");
    }
    sim_putl(&s->pending, "\n\n");
}

static void render_literal(sim_stream_t *s)
{
    uint32_t from = s->step > 0 ? s->cuts[s->step - 1] : 0;

    sim_put(&s->pending, s->literal.p + from, s->cuts[s->step] - from);
}

static void (*const render[])(sim_stream_t *s) = {[SF_SSE] = render_sse,
                                                  [SF_ARRAY] = render_array,
                                                  [SF_OPENAI] = render_openai,
                                                  [SF_LITERAL] = render_literal};

/* ---- sending ---- */

static size_t piece_size(sim_stream_t *s)
{
    size_t left = s->pending.len - s->pending_at;
    long split = s->plan.pace.split;
    size_t n = left;

    if (split > 0) {
        n = (size_t)split;
    }
    else if (split < 0) {
        n = 1 + sim_random(&s->random) % 64;
    }
    return n < left ? n : left;
}

/* Sends pieces of the rendered event; false while some wait for their time. */
static bool send_pending(sim_conn_t *c, sim_stream_t *s)
{
    while (s->pending_at < s->pending.len) {
        size_t n = piece_size(s);

        sim_http_chunk(c, s->pending.p + s->pending_at, n);
        s->pending_at += n;
        if (s->plan.pace.split != 0 && !sim_conn_flush(c)) {
            return false;
        }
        if (s->plan.pace.split_ms > 0 && s->pending_at < s->pending.len) {
            sim_timer_set(c, sim_now_ns() + (uint64_t)s->plan.pace.split_ms * NS_PER_MS);
            return false;
        }
    }
    s->pending.len = s->pending_at = 0;
    return true;
}

static void send_error(sim_conn_t *c, sim_stream_t *s)
{
    if (s->error_in_data) {
        sim_putl(&s->pending, "data: ");
        sim_put(&s->pending, s->error.p, s->error.len);
        end_event(s);
    }
    else {
        sim_put(&s->pending, s->error.p, s->error.len);
    }
    sim_conn_flush(c);
    if (!c->dead) {
        sim_http_chunk(c, s->pending.p, s->pending.len);
        sim_http_last_chunk(c);
        sim_conn_answered(c);
    }
}

static void reset_when_sent(sim_conn_t *c)
{
    if (!sim_conn_flush(c)) {
        return;
    }
    if (sim_conn_backlog(c) > 0) {
        sim_timer_set(c, sim_now_ns() + 10 * NS_PER_MS);
        return;
    }
    sim_calls_end(c, SO_FAULT);
    sim_conn_reset(c);
}

static void cut_event(sim_conn_t *c, sim_stream_t *s)
{
    if (s->ending_bytes > 0 && s->step < s->steps) {
        size_t n;

        render[s->form](s);
        n = s->pending.len < (size_t)s->ending_bytes ? s->pending.len : (size_t)s->ending_bytes;
        sim_http_chunk(c, s->pending.p, n);
        s->pending.len = 0;
        s->ending_bytes = 0;
    }
}

static void end_badly(sim_conn_t *c, sim_stream_t *s)
{
    cut_event(c, s);
    switch (s->ending) {
    case SE_RST:
        reset_when_sent(c);
        break;
    case SE_CLOSE:
        c->keep_alive = false;
        sim_conn_answered(c);
        break;
    case SE_STALL:
        sim_conn_stall(c);
        break;
    case SE_ERROR:
        send_error(c, s);
        break;
    case SE_END:
    case SE_NONE:
        sim_http_last_chunk(c);
        sim_conn_answered(c);
        break;
    }
}

static void wait_interval(sim_conn_t *c, sim_stream_t *s)
{
    uint64_t now = sim_now_ns();

    s->due_ns += (uint64_t)s->plan.pace.interval_ms * NS_PER_MS;
    if (s->due_ns + 1000 * NS_PER_MS < now) {
        s->due_ns = now;
    }
    sim_timer_set(c, s->due_ns);
}

void sim_stream_tick(sim_conn_t *c)
{
    sim_stream_t *s = c->stream;

    for (;;) {
        if (c->dead || c->stalled || !send_pending(c, s)) {
            return;
        }
        if (s->ending != SE_NONE && s->step >= s->ending_after) {
            end_badly(c, s);
            return;
        }
        if (s->step >= s->steps) {
            sim_http_last_chunk(c);
            sim_conn_answered(c);
            return;
        }
        if (sim_conn_backlog(c) > BACKLOG_MAX) {
            sim_conn_flush(c);
            if (c->dead || c->want_write) {
                return;
            }
        }
        render[s->form](s);
        s->step++;
        if (!send_pending(c, s)) {
            return;
        }
        if (s->plan.pace.interval_ms > 0 && s->step < s->steps) {
            wait_interval(c, s);
            return;
        }
    }
}

void sim_stream_start(sim_conn_t *c, sim_form_t form)
{
    sim_stream_t *s = c->stream;
    uint64_t now = sim_now_ns();

    s->form = form;
    s->random = s->plan.pace.split_seed ? s->plan.pace.split_seed : 1;
    if (form == SF_SSE) {
        s->steps = sim_render_steps(&s->plan);
        sim_http_head_stream(c, 200, ST_SSE);
    }
    else if (form == SF_ARRAY) {
        s->steps = sim_render_steps(&s->plan) + 1;
        sim_http_head_stream(c, 200, ST_JSON);
    }
    else if (form == SF_OPENAI) {
        s->steps = sim_render_steps(&s->plan) + 1;
        sim_http_head_stream(c, 200, ST_OPENAI_SSE);
    }
    sim_calls_stream_opened(c);
    s->due_ns = now;
    if (s->plan.pace.first_ms > 0) {
        s->due_ns = now + (uint64_t)s->plan.pace.first_ms * NS_PER_MS;
        sim_timer_set(c, s->due_ns);
        return;
    }
    sim_stream_tick(c);
}
