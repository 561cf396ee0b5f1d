/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dresses a plan as GenerateContentResponse: whole for unary calls, or the
 * n-th event of a stream. Knows Google's habits: cumulative usage, signatures
 * on an empty last part, calls in one or several events by generation.
 */
#include "sim.h"

#include <stdio.h>

/* ---- enums by number ---- */

static const char *const finish_numbers[] = {"FINISH_REASON_UNSPECIFIED",
                                             "STOP",
                                             "MAX_TOKENS",
                                             "SAFETY",
                                             "RECITATION",
                                             "OTHER",
                                             "LANGUAGE",
                                             "BLOCKLIST",
                                             "PROHIBITED_CONTENT",
                                             "SPII",
                                             "MALFORMED_FUNCTION_CALL",
                                             "IMAGE_SAFETY",
                                             "UNEXPECTED_TOOL_CALL",
                                             "TOO_MANY_TOOL_CALLS",
                                             NULL};

static const char *const modality_numbers[] = {
    "MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT", NULL};

static void write_enum(sw_t *w, const sim_plan_t *p, const char *key, sim_str_t value,
                       const char *const *numbers)
{
    int i;

    for (i = 0; p->int_enums && numbers[i] != NULL; i++) {
        if (sim_eq(value, numbers[i])) {
            sw_number(w, key, i);
            return;
        }
    }
    sw_string(w, key, value);
}

/* ---- steps: which parts an event holds ---- */

static unsigned group_end(const sim_plan_t *p, unsigned i)
{
    unsigned end = i + 1;

    if (p->part[i].kind == SP_CALL && !sim_model_is_3(p->model)) {
        while (end < p->nparts && p->part[end].kind == SP_CALL) {
            end++;
        }
    }
    return end;
}

bool sim_render_find(const sim_plan_t *p, long step, sim_step_t *found)
{
    unsigned i;

    for (i = 0; i < p->nparts; i = group_end(p, i)) {
        long n = sim_plan_part_chunks(p, i);

        if (step < n) {
            found->part = i;
            found->end = group_end(p, i);
            found->chunk = step;
            found->chunks = n;
            found->last = step == n - 1 && found->end >= p->nparts;
            return true;
        }
        step -= n;
    }
    return false;
}

long sim_render_steps(const sim_plan_t *p)
{
    long n = 0;
    unsigned i;

    if (p->shape != SY_FULL) {
        return 1;
    }
    for (i = 0; i < p->nparts; i = group_end(p, i)) {
        n += sim_plan_part_chunks(p, i);
    }
    return n > 0 ? n : 1;
}

/* ---- parts ---- */

void sim_render_signature(sw_t *w, const char *key, const sim_plan_t *p, const sim_part_t *part)
{
    sw_begin(w, key);
    sim_putc(w->b, '"');
    sim_signature(w->b, sim_plan_mem(p, part->name_off, part->name_len));
    sim_putc(w->b, '"');
}

static void write_call(sw_t *w, const sim_plan_t *p, const sim_part_t *part)
{
    sw_open(w, "functionCall", '{');
    sw_string(w, "name", sim_plan_mem(p, part->name_off, part->name_len));
    sw_raw(w, "args", sim_plan_mem(p, part->off, part->len));
    if (part->id[0] != '\0') {
        sw_cstr(w, "id", part->id);
    }
    sw_close(w, '}');
}

static void write_part(sw_t *w, const sim_plan_t *p, unsigned i, sim_str_t text, bool sign)
{
    const sim_part_t *part = &p->part[i];

    if (part->kind == SP_JSON) {
        sw_raw(w, NULL, sim_plan_mem(p, part->off, part->len));
        return;
    }
    sw_open(w, NULL, '{');
    if (part->kind == SP_CALL) {
        write_call(w, p, part);
    }
    else {
        sw_string(w, "text", text);
    }
    if (part->kind == SP_THOUGHT) {
        sw_bool(w, "thought", true);
    }
    if (sign || part->signed_part) {
        sim_render_signature(w, "thoughtSignature", p, part);
    }
    sw_close(w, '}');
}

/* Candidates beyond the first say the same, marked unless it is JSON. */
static sim_str_t marked(int candidate, sim_str_t text)
{
    static sim_buf_t b;

    if (candidate == 0 || (text.n > 0 && *text.p == '{')) {
        return text;
    }
    b.len = 0;
    sim_buf_printf(&b, "[%d] ", candidate);
    sim_put(&b, text.p, text.n);
    return (sim_str_t){b.p, b.len};
}

static void write_step_parts(sw_t *w, const sim_plan_t *p, const sim_step_t *s, int candidate,
                             sim_buf_t *scratch)
{
    unsigned i;

    for (i = s->part; i < s->end; i++) {
        sim_str_t text = sim_plan_mem(p, p->part[i].off, p->part[i].len);

        if (p->part[i].kind == SP_TEXT) {
            text = sim_plan_text(p, s->chunk, scratch);
            text = s->chunk == 0 ? marked(candidate, text) : text;
        }
        write_part(w, p, i, text, false);
    }
}

static sim_str_t whole_text(const sim_plan_t *p, unsigned i, sim_buf_t *scratch)
{
    size_t from = scratch->len;
    long k, n;

    if (p->part[i].kind != SP_TEXT || !p->synthetic) {
        return sim_plan_mem(p, p->part[i].off, p->part[i].len);
    }
    n = sim_plan_part_chunks(p, i);
    for (k = 0; k < n; k++) {
        sim_plan_text(p, k, scratch);
    }
    return (sim_str_t){scratch->p + from, scratch->len - from};
}

/* In a unary answer the last text carries the signature itself. */
static void write_all_parts(sw_t *w, const sim_plan_t *p, int candidate, sim_buf_t *scratch)
{
    bool sign = p->nparts > 0 && p->part[p->nparts - 1].kind == SP_LAST
                && p->part[p->nparts - 1].signed_part;
    unsigned i, n = p->nparts;

    if (n > 0 && p->part[n - 1].kind == SP_LAST) {
        n--;
    }
    for (i = 0; i < n; i++) {
        bool last = i == n - 1 && p->part[i].kind == SP_TEXT;

        write_part(w, p, i, marked(candidate, whole_text(p, i, scratch)), sign && last);
    }
}

/* ---- usage ---- */

static void write_details(sw_t *w, const sim_plan_t *p, const char *key, const char *modality,
                          long tokens)
{
    sw_open(w, key, '[');
    sw_open(w, NULL, '{');
    write_enum(w, p, "modality", (sim_str_t){modality, strlen(modality)}, modality_numbers);
    sw_number(w, "tokenCount", tokens);
    sw_close(w, '}');
    sw_close(w, ']');
}

static void write_usage(sw_t *w, const sim_plan_t *p, long answer)
{
    long total = p->tokens_prompt + p->tokens_tool + p->tokens_thought + answer;

    if (!p->usage) {
        return;
    }
    sw_open(w, "usageMetadata", '{');
    sw_number(w, "promptTokenCount", p->tokens_prompt);
    if (answer > 0) {
        sw_number(w, "candidatesTokenCount", answer);
    }
    sw_number(w, "totalTokenCount", total);
    if (p->tokens_cached > 0) {
        sw_number(w, "cachedContentTokenCount", p->tokens_cached);
    }
    write_details(w, p, "promptTokensDetails", "TEXT", p->tokens_prompt);
    if (p->tokens_cached > 0) {
        write_details(w, p, "cacheTokensDetails", "TEXT", p->tokens_cached);
    }
    if (answer > 0 && p->modality != NULL) {
        write_details(w, p, "candidatesTokensDetails", p->modality, answer);
    }
    if (p->tokens_tool > 0) {
        sw_number(w, "toolUsePromptTokenCount", p->tokens_tool);
        write_details(w, p, "toolUsePromptTokensDetails", "TEXT", p->tokens_tool);
    }
    if (p->tokens_thought > 0) {
        sw_number(w, "thoughtsTokenCount", p->tokens_thought);
    }
    sw_cstr(w, "serviceTier", "standard");
    sw_close(w, '}');
}

static long tokens_before(const sim_plan_t *p, unsigned part)
{
    long n = 0;
    unsigned i;

    for (i = 0; i < part; i++) {
        n += sim_plan_part_tokens(p, i);
    }
    return n;
}

long sim_plan_answer_tokens(const sim_plan_t *p)
{
    return p->shape == SY_FULL ? tokens_before(p, p->nparts) * p->candidates : 0;
}

/* ---- the response ---- */

static sim_str_t finish_of(const sim_plan_t *p)
{
    if (p->finish_len > 0) {
        return sim_plan_mem(p, p->finish_off, p->finish_len);
    }
    return (sim_str_t){p->finish, strlen(p->finish)};
}

static void write_tail(sw_t *w, const sim_plan_t *p, long answer)
{
    const char *served = p->model->served_by != NULL ? p->model->served_by : p->model->name;

    write_usage(w, p, answer);
    if (p->version_len > 0) {
        sw_string(w, "modelVersion", sim_plan_mem(p, p->version_off, p->version_len));
    }
    else {
        sw_cstr(w, "modelVersion", served);
    }
    sw_cstr(w, "responseId", p->id);
}

static void write_finish(sw_t *w, const sim_plan_t *p, int candidate, bool last)
{
    if (last) {
        write_enum(w, p, "finishReason", finish_of(p), finish_numbers);
    }
    sw_number(w, "index", candidate);
    if (last && p->finish_message.n > 0) {
        sw_string(w, "finishMessage", p->finish_message);
    }
    if (last && p->meta_len > 0) {
        sim_putc(w->b, ',');
        sim_put(w->b, p->mem.p + p->meta_off, p->meta_len);
    }
}

static void write_feedback(sw_t *w, const sim_plan_t *p)
{
    sw_open(w, "promptFeedback", '{');
    if (p->shape == SY_BLOCKED) {
        sw_string(w, "blockReason", sim_plan_mem(p, p->block_off, p->block_len));
    }
    sw_close(w, '}');
}

static void write_empty_content(sw_t *w, const sim_plan_t *p)
{
    if (p->shape == SY_NO_CONTENT) {
        return;
    }
    sw_open(w, "content", '{');
    if (p->shape == SY_NO_PARTS || p->shape == SY_EMPTY_TEXT) {
        sw_open(w, "parts", '[');
        if (p->shape == SY_EMPTY_TEXT) {
            sw_open(w, NULL, '{');
            sw_cstr(w, "text", "");
            sw_close(w, '}');
        }
        sw_close(w, ']');
    }
    if (p->shape != SY_EMPTY_CONTENT) {
        sw_cstr(w, "role", "model");
    }
    sw_close(w, '}');
}

/* The shapes without words that clients meet. */
static void write_empty(sw_t *w, const sim_plan_t *p)
{
    if (p->shape == SY_FEEDBACK_ONLY || p->shape == SY_BLOCKED) {
        write_feedback(w, p);
    }
    else if (p->shape != SY_NO_CANDIDATES) {
        sw_open(w, "candidates", '[');
        if (p->shape != SY_EMPTY_CANDIDATES) {
            sw_open(w, NULL, '{');
            write_empty_content(w, p);
            write_finish(w, p, 0, true);
            sw_close(w, '}');
        }
        sw_close(w, ']');
    }
    write_tail(w, p, 0);
}

static void write_candidates(sw_t *w, const sim_plan_t *p, const sim_step_t *s)
{
    static sim_buf_t scratch;
    int k;

    sw_open(w, "candidates", '[');
    for (k = 0; k < p->candidates; k++) {
        scratch.len = 0;
        sw_open(w, NULL, '{');
        sw_open(w, "content", '{');
        sw_open(w, "parts", '[');
        if (s != NULL) {
            write_step_parts(w, p, s, k, &scratch);
        }
        else {
            write_all_parts(w, p, k, &scratch);
        }
        sw_close(w, ']');
        sw_cstr(w, "role", "model");
        sw_close(w, '}');
        write_finish(w, p, k, s == NULL || s->last);
        sw_close(w, '}');
    }
    sw_close(w, ']');
}

bool sim_render_step(const sim_plan_t *p, long step, sw_style_t style, sim_buf_t *out)
{
    sw_t w = {.b = out, .style = style};
    sim_step_t s = {.part = 0};
    long tokens = 0;

    if (p->shape == SY_FULL && !sim_render_find(p, step, &s)) {
        return false;
    }
    sw_open(&w, NULL, '{');
    if (p->shape != SY_FULL) {
        write_empty(&w, p);
    }
    else {
        write_candidates(&w, p, &s);
        tokens = tokens_before(p, s.part);
        if (p->part[s.part].kind == SP_TEXT) {
            tokens += sim_plan_part_tokens(p, s.part) * (s.chunk + 1) / s.chunks;
        }
        else {
            tokens = tokens_before(p, s.end);
        }
        write_tail(&w, p, tokens * p->candidates);
    }
    sw_close(&w, '}');
    return true;
}

void sim_render_whole(const sim_plan_t *p, sw_style_t style, sim_buf_t *out)
{
    sw_t w = {.b = out, .style = style};

    sw_open(&w, NULL, '{');
    if (p->shape != SY_FULL) {
        write_empty(&w, p);
    }
    else {
        write_candidates(&w, p, NULL);
        write_tail(&w, p, sim_plan_answer_tokens(p));
    }
    sw_close(&w, '}');
    sim_putc(out, '\n');
}
