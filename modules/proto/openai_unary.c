/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat.completion: one answer in one piece, collected from one answer of the
 * upstream, from several (fan-out), or from a stream where the model says more
 * that way.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

/* ---- the writer: pieces of JSON side by side ---- */

static void on_text(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t text, int thought)
{
    (void)a;
    gb_buf_append(thought ? &c->reasoning : &c->content, text.p + 1, text.len - 2);
}

static void on_call(gb_openai_answer_t *a, gb_openai_choice_t *c, const gb_openai_tool_call_t *call)
{
    if (a->call->legacy) {
        gb_buf_puts(&c->calls, "{\"name\":");
        gb_json_put_cstr(&c->calls, call->name);
        gb_buf_puts(&c->calls, ",\"arguments\":");
        gb_json_put_str(&c->calls, call->arguments, call->arguments_len);
        gb_buf_putc(&c->calls, '}');
        return;
    }
    if (call->index > 0) {
        gb_buf_putc(&c->calls, ',');
    }
    gb_openai_tool_call_put(&c->calls, call, 0);
}

static void on_image(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data)
{
    gb_buf_printf(&c->images, "%s{\"type\":\"image_url\",\"index\":%d,\"image_url\":{\"url\":\"",
                  c->n_images > 0 ? "," : "", c->n_images);
    gb_plan_picture_put(&c->images, a->picture, type, data);
    gb_buf_puts(&c->images, "\"}}");
}

static gb_span_t span_keep(gb_span_t span, apr_pool_t *p)
{
    return (gb_span_t){apr_pstrmemdup(p, span.p, span.len), span.len};
}

static void on_audio(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data)
{
    gb_openai_sound_t *piece;

    if (c->sounds == NULL) {
        c->sounds = apr_array_make(a->pool, 1, sizeof(gb_openai_sound_t));
    }
    piece = apr_array_push(c->sounds);
    piece->type = span_keep(type, a->pool);
    piece->data = span_keep(data, a->pool);
}

static void on_refusal(gb_openai_answer_t *a, gb_openai_choice_t *c, const char *text)
{
    (void)a;
    c->refusal = text;
}

static void on_signature(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t signature)
{
    c->text_signature_kept = apr_pstrndup(a->pool, signature.p, signature.len);
}

static void on_logprobs(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    (void)a;
    if (c->logprob_items.len > 0) {
        gb_buf_putc(&c->logprob_items, ',');
    }
    gb_openai_logprobs_put(&c->logprob_items, c->logprobs);
}

static const gb_openai_writer_t writer = {
    on_text, on_call, on_image, on_audio, on_refusal, on_signature, on_logprobs,
};

/* ---- the object ---- */

/* ,"<name>":<open><bytes><close> when there are bytes */
static void member_put(gb_buf_t *out, const char *name, const char *open, const gb_buf_t *bytes,
                       const char *close)
{
    if (bytes->len > 0) {
        gb_buf_printf(out, ",\"%s\":%s", name, open);
        gb_buf_append(out, bytes->data, bytes->len);
        gb_buf_puts(out, close);
    }
}

static void extra_put(gb_buf_t *out, const gb_openai_choice_t *c)
{
    if (c->keeps_parts) {
        gb_buf_puts(out, ",\"extra_content\":{\"google\":{\"parts\":[");
        gb_buf_append(out, c->raw_parts.data, c->raw_parts.len);
        gb_buf_puts(out, "]}}");
    }
    else if (c->text_signature_kept != NULL) {
        gb_buf_puts(out, ",\"extra_content\":{\"google\":{\"thought_signature\":");
        gb_buf_puts(out, c->text_signature_kept);
        gb_buf_puts(out, "}}");
    }
}

static void message_put(gb_openai_answer_t *a, gb_buf_t *out, const gb_openai_choice_t *c)
{
    gb_span_t format = gb_json_get(a->call->field[GB_OPENAI_AUDIO], "format");

    gb_buf_puts(out, "{\"role\":\"assistant\",\"content\":");
    if (c->content.len > 0) {
        gb_buf_putc(out, '"');
        gb_buf_append(out, c->content.data, c->content.len);
        gb_buf_putc(out, '"');
    }
    else {
        gb_buf_puts(out,
                    c->n_calls > 0 || c->refusal != NULL || c->sounds != NULL ? "null" : "\"\"");
    }
    gb_buf_puts(out, ",\"refusal\":");
    gb_json_put_cstr(out, c->refusal);
    member_put(out, "reasoning_content", "\"", &c->reasoning, "\"");
    member_put(out, a->call->legacy ? "function_call" : "tool_calls", a->call->legacy ? "" : "[",
               &c->calls, a->call->legacy ? "" : "]");
    member_put(out, "images", "[", &c->images, "]");
    if (c->sounds != NULL) {
        gb_buf_puts(out, ",\"audio\":{");
        gb_openai_audio_begin(a, out);
        gb_openai_audio_put(out, c->sounds, !gb_json_eq(format, "pcm16"));
        gb_buf_putc(out, '}');
    }
    if (gb_openai_annotations_any(c)) {
        gb_buf_puts(out, ",\"annotations\":");
        gb_openai_annotations_put(out, c);
    }
    extra_put(out, c);
    gb_buf_putc(out, '}');
}

static void choice_put(gb_openai_answer_t *a, gb_buf_t *out, gb_openai_choice_t *c)
{
    gb_openai_answer_last_words(a, c);
    gb_buf_printf(out, "{\"index\":%d,\"message\":", c->index);
    message_put(a, out, c);
    gb_buf_puts(out, ",\"logprobs\":");
    if (c->logprob_items.len > 0) {
        gb_buf_puts(out, "{\"content\":[");
        gb_buf_append(out, c->logprob_items.data, c->logprob_items.len);
        gb_buf_puts(out, "],\"refusal\":null}");
    }
    else {
        gb_buf_puts(out, "null");
    }
    gb_buf_printf(out,
                  ",\"finish_reason\":\"%s\",\"native_finish_reason\":", gb_openai_finish(a, c));
    gb_json_put_cstr(out, *c->finish != '\0' ? c->finish : NULL);
    gb_buf_putc(out, '}');
}

static void answer_put(gb_openai_answer_t *a, gb_buf_t *out)
{
    const char *tier = gb_openai_usage_tier(&a->usage_before);
    int i;

    gb_openai_answer_name(a);
    gb_buf_puts(out, "{\"id\":");
    gb_json_put_cstr(out, a->name.id);
    gb_buf_printf(
        out,
        ",\"object\":\"chat.completion\",\"created\":%" APR_INT64_T_FMT ",\"model\":", a->created);
    gb_json_put_cstr(out, a->name.model);
    if (a->name.fingerprint != NULL) {
        gb_buf_puts(out, ",\"system_fingerprint\":");
        gb_json_put_cstr(out, a->name.fingerprint);
    }
    gb_buf_puts(out, ",\"choices\":[");
    for (i = 0; i < a->choices->nelts; i++) {
        gb_buf_puts(out, i > 0 ? "," : "");
        choice_put(a, out, APR_ARRAY_IDX(a->choices, i, gb_openai_choice_t *));
    }
    gb_buf_putc(out, ']');
    if (gb_openai_usage_known(&a->usage_before)) {
        gb_buf_puts(out, ",\"usage\":");
        gb_openai_usage_put(out, &a->usage_before);
    }
    if (tier != NULL) {
        gb_buf_printf(out, ",\"service_tier\":\"%s\"", tier);
    }
    gb_buf_putc(out, '}');
}

/* ---- coming in ---- */

static apr_status_t on_event(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_translator_t *t = baton;

    if (kind == GB_SSE_DONE || t->facts->has_error) {
        return APR_SUCCESS;
    }
    t->answer->out = t->out;
    return gb_openai_answer_feed(t->answer, data, len);
}

static apr_status_t collect_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    return gb_sse_feed(t->sse, bytes, len);
}

/* One whole answer; the next one is another's of a fan-out. */
static apr_status_t whole_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    apr_status_t rv;

    t->answer->out = t->out;
    rv = gb_openai_answer_feed(t->answer, bytes, len);
    gb_openai_answer_next(t->answer);
    t->n++;
    return rv;
}

static apr_status_t unary_end(gb_translator_t *t)
{
    gb_openai_answer_t *a = t->answer;
    apr_status_t rv;

    a->out = t->out;
    if (t->sse != NULL) {
        if ((rv = gb_sse_end(t->sse)) != APR_SUCCESS || t->facts->has_error) {
            return rv;
        }
        if (!t->facts->finished && !t->facts->blocked) {
            return a->choices->nelts > 0 ? APR_INCOMPLETE : APR_SUCCESS;
        }
        gb_openai_answer_next(a);
    }
    else if (t->n == 0) {
        return APR_INCOMPLETE;
    }
    t->facts->malformed |= gb_openai_malformed(a); /* thoughts alone are no answer */
    if (a->choices->nelts > 0 && !t->facts->malformed) {
        answer_put(a, t->out);
    }
    return t->out->rv; /* with nothing to tell, the facts say why */
}

void gb_openai_unary_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    t->answer = gb_openai_answer_make(call, t->facts, &writer);
    if (call->plan->upstream_stream) {
        t->sse = gb_sse_make(on_event, t, call->pool);
    }
    t->chunk = t->sse != NULL ? collect_chunk : whole_chunk;
    t->end = unary_end;
}
