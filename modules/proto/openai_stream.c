/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat.completion.chunk events: the role once, one chunk for each piece, the
 * reason held back until the upstream has ended, usage when asked, [DONE].
 * Nothing is written before there is something to say, so that an attempt that
 * came to nothing can be made again.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

#include "proto/seam.h"

/* Whole samples of 16 bits, in base64 that can be joined. */
#define SOUND_UNIT 6

#define CHUNK_TAIL ",\"logprobs\":null,\"finish_reason\":null}]"

static const char *chunk_close(const gb_openai_call_t *call)
{
    return call->include_usage ? ",\"usage\":null}\n\n" : "}\n\n";
}

/* What is the same in all chunks of a stream. */
static void chunk_head_put(gb_buf_t *head, const gb_openai_name_t *name, apr_int64_t created)
{
    gb_buf_puts(head, "data: {\"id\":");
    gb_json_put_cstr(head, name->id);
    gb_buf_printf(
        head, ",\"object\":\"chat.completion.chunk\",\"created\":%" APR_INT64_T_FMT ",\"model\":",
        created);
    gb_json_put_cstr(head, name->model);
    if (name->fingerprint != NULL) {
        gb_buf_puts(head, ",\"system_fingerprint\":");
        gb_json_put_cstr(head, name->fingerprint);
    }
    gb_buf_puts(head, ",\"choices\":[");
}

static void frame_make(gb_openai_answer_t *a)
{
    gb_buf_t head;

    if (a->chunk_head != NULL) {
        return;
    }
    gb_openai_answer_name(a);
    gb_buf_init_pool(&head, GB_BUF_MAX_LINE, a->pool);
    chunk_head_put(&head, &a->name, a->created);
    a->chunk_head = head.data;
    a->chunk_tail = CHUNK_TAIL;
    a->chunk_close = chunk_close(a->call);
}

/* ---- heartbeats ---- */

/* A chunk that says nothing.  The answer that comes will bear the name that it tells. */
static void empty_delta_put(gb_openai_call_t *call, gb_buf_t *out)
{
    if (call->name.id == NULL) {
        call->name.id = apr_pstrcat(call->pool, "chatcmpl-", gb_openai_id_make(call, 0), NULL);
        call->name.model = call->plan->model;
    }
    call->name_told = 1;
    chunk_head_put(out, &call->name, apr_time_sec(call->request.now));
    gb_buf_puts(out, "{\"index\":0,\"delta\":{}" CHUNK_TAIL);
    gb_buf_puts(out, chunk_close(call));
}

void gb_openai_heartbeat(const gb_plan_t *plan, gb_buf_t *out)
{
    gb_openai_call_t *call = plan->dialect == &gb_openai_dialect ? plan->state : NULL;

    if (call != NULL && strcmp(plan->operation, "chat") == 0
        && strcmp(call->settings->stream_heartbeat_form, "delta") == 0) {
        empty_delta_put(call, out);
    }
    else {
        gb_buf_puts(out, ": keep-alive\n\n");
    }
}

static void delta_begin(gb_openai_answer_t *a, const gb_openai_choice_t *c)
{
    gb_buf_puts(a->out, a->chunk_head);
    gb_buf_printf(a->out, "{\"index\":%d,\"delta\":", c->index);
}

static void logprobs_or_null(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    if (!gb_openai_there(c->logprobs)) {
        gb_buf_puts(a->out, a->chunk_tail);
        return;
    }
    gb_buf_puts(a->out, ",\"logprobs\":{\"content\":[");
    gb_openai_logprobs_put(a->out, c->logprobs);
    gb_buf_puts(a->out, "],\"refusal\":null},\"finish_reason\":null}]");
    c->logprobs = (gb_span_t){NULL, 0};
}

static void role_tell(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    frame_make(a);
    if (!c->begun) {
        c->begun = 1;
        delta_begin(a, c);
        gb_buf_puts(a->out, "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}");
        gb_buf_puts(a->out, a->chunk_tail);
        gb_buf_puts(a->out, a->chunk_close);
    }
}

/* {"<member>":<raw>} */
static void delta_tell(gb_openai_answer_t *a, gb_openai_choice_t *c, const char *name,
                       const char *raw, size_t len)
{
    role_tell(a, c);
    delta_begin(a, c);
    gb_buf_printf(a->out, "{\"%s\":", name);
    gb_buf_append(a->out, raw, len);
    gb_buf_putc(a->out, '}');
    logprobs_or_null(a, c);
    gb_buf_puts(a->out, a->chunk_close);
}

/* ---- the writer ---- */

static void on_text(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t text, int thought)
{
    gb_span_t held = c->logprobs;

    if (thought) {
        c->logprobs = (gb_span_t){NULL, 0};
    }
    delta_tell(a, c, thought ? "reasoning_content" : "content", text.p, text.len);
    if (thought) {
        c->logprobs = held;
    }
}

static void on_call(gb_openai_answer_t *a, gb_openai_choice_t *c, const gb_openai_tool_call_t *call)
{
    gb_buf_t item;

    gb_buf_init(&item, GB_BUF_MAX_ANSWER);
    if (a->call->legacy) {
        gb_buf_puts(&item, "{\"name\":");
        gb_json_put_cstr(&item, call->name);
        gb_buf_puts(&item, ",\"arguments\":");
        gb_json_put_str(&item, call->arguments, call->arguments_len);
        gb_buf_putc(&item, '}');
        delta_tell(a, c, "function_call", item.data, item.len);
    }
    else {
        gb_buf_putc(&item, '[');
        gb_openai_tool_call_put(&item, call, 1);
        gb_buf_putc(&item, ']');
        delta_tell(a, c, "tool_calls", item.data, item.len);
    }
    gb_buf_free(&item);
}

static void on_image(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data)
{
    role_tell(a, c);
    delta_begin(a, c);
    gb_buf_printf(a->out,
                  "{\"images\":[{\"type\":\"image_url\",\"index\":%d,\"image_url\":{\"url\":\"",
                  c->n_images);
    gb_plan_picture_put(a->out, a->picture, type, data);
    gb_buf_puts(a->out, "\"}}]}");
    logprobs_or_null(a, c);
    gb_buf_puts(a->out, a->chunk_close);
}

/* The SDKs join what the deltas say, member by member: all but the data is said once. */
static void audio_tell(gb_openai_answer_t *a, gb_openai_choice_t *c, size_t len)
{
    gb_buf_t object;

    gb_buf_init(&object, GB_BUF_MAX_ANSWER);
    gb_buf_putc(&object, '{');
    if (!c->sound_begun) {
        c->sound_begun = 1;
        gb_openai_audio_begin(a, &object);
    }
    else {
        gb_buf_puts(&object, "\"data\":");
    }
    gb_buf_putc(&object, '"');
    gb_openai_base64_put(&object, c->sound.data, len);
    gb_buf_puts(&object, "\"}");
    gb_buf_consume(&c->sound, len);
    delta_tell(a, c, "audio", object.data, object.len);
    gb_buf_free(&object);
}

static void on_audio(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data)
{
    gb_openai_sound_t piece = {type, data};
    unsigned rate;

    gb_openai_audio_samples(&c->sound, &piece, &rate);
    if (c->sound.len >= SOUND_UNIT) {
        audio_tell(a, c, c->sound.len - c->sound.len % SOUND_UNIT);
    }
}

static void on_refusal(gb_openai_answer_t *a, gb_openai_choice_t *c, const char *text)
{
    gb_buf_t raw;

    gb_buf_init(&raw, GB_BUF_MAX_ERROR);
    gb_json_put_cstr(&raw, text);
    delta_tell(a, c, "refusal", raw.data, raw.len);
    gb_buf_free(&raw);
}

/* Told with the last chunk: a stream has many texts and one message. */
static void on_signature(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t signature)
{
    c->text_signature_kept = apr_pstrndup(a->pool, signature.p, signature.len);
}

static void on_logprobs(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    role_tell(a, c);
    delta_begin(a, c);
    gb_buf_puts(a->out, "{}");
    logprobs_or_null(a, c);
    gb_buf_puts(a->out, a->chunk_close);
}

static const gb_openai_writer_t writer = {
    on_text, on_call, on_image, on_audio, on_refusal, on_signature, on_logprobs,
};

/* ---- the end ---- */

static void annotations_tell(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    gb_buf_t list;

    if (!gb_openai_annotations_any(c)) {
        return;
    }
    gb_buf_init(&list, GB_BUF_MAX_ANSWER);
    gb_openai_annotations_put(&list, c);
    delta_tell(a, c, "annotations", list.data, list.len);
    gb_buf_free(&list);
}

/* What must come back with the message. */
static void extra_tell(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    gb_buf_t raw;

    if (!c->keeps_parts && c->text_signature_kept == NULL) {
        return;
    }
    gb_buf_init(&raw, GB_BUF_MAX_ANSWER);
    gb_buf_puts(&raw, c->keeps_parts ? "{\"google\":{\"parts\":["
                                     : "{\"google\":{\"thought_signature\":");
    if (c->keeps_parts) {
        gb_buf_append(&raw, c->raw_parts.data, c->raw_parts.len);
    }
    else {
        gb_buf_puts(&raw, c->text_signature_kept);
    }
    gb_buf_puts(&raw, c->keeps_parts ? "]}}" : "}}");
    delta_tell(a, c, "extra_content", raw.data, raw.len);
    gb_buf_free(&raw);
}

static void choice_end(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    role_tell(a, c);
    gb_openai_answer_seam_close(a, c);
    gb_openai_answer_last_words(a, c);
    if (c->sound.len > 0) {
        audio_tell(a, c, c->sound.len);
    }
    annotations_tell(a, c);
    extra_tell(a, c);
    delta_begin(a, c);
    gb_buf_printf(a->out, "{},\"logprobs\":null,\"finish_reason\":\"%s\",\"native_finish_reason\":",
                  gb_openai_finish(a, c));
    gb_json_put_cstr(a->out, *c->finish != '\0' ? c->finish : NULL);
    gb_buf_puts(a->out, "}]");
    gb_buf_puts(a->out, a->chunk_close);
}

static void usage_tell(gb_openai_answer_t *a)
{
    const char *tier = gb_openai_usage_tier(&a->usage);

    gb_buf_puts(a->out, a->chunk_head);
    gb_buf_puts(a->out, "]");
    if (tier != NULL) {
        gb_buf_printf(a->out, ",\"service_tier\":\"%s\"", tier);
    }
    gb_buf_puts(a->out, ",\"usage\":");
    gb_openai_usage_put(a->out, &a->usage);
    gb_buf_puts(a->out, "}\n\n");
}

static apr_status_t stream_end(gb_translator_t *t)
{
    gb_openai_answer_t *a = t->answer;
    apr_status_t rv;
    int i;

    a->out = t->out;
    if (t->sse != NULL) {
        if ((rv = gb_sse_end(t->sse)) != APR_SUCCESS || t->facts->has_error) {
            return rv;
        }
        if (!t->facts->finished && !t->facts->blocked) {
            return a->choices->nelts > 0 ? APR_INCOMPLETE : APR_SUCCESS;
        }
    }
    t->facts->malformed |= gb_openai_malformed(a); /* thoughts alone are no answer */
    if (a->choices->nelts == 0 || t->facts->malformed) {
        return APR_SUCCESS; /* nothing to tell: the facts say why */
    }
    if (a->continued) { /* of the attempts that broke off */
        gb_facts_add_tokens(a->facts, &a->facts_before);
        gb_openai_usage_add(&a->usage, &a->usage_before);
    }
    for (i = 0; i < a->choices->nelts; i++) {
        choice_end(a, APR_ARRAY_IDX(a->choices, i, gb_openai_choice_t *));
    }
    if (a->call->include_usage) {
        usage_tell(a);
    }
    gb_buf_puts(a->out, "data: [DONE]\n\n");
    return a->out->rv;
}

/* ---- text in steps ---- */

/* A chunk of one choice that is text alone; our own words, so they need no check. */
int gb_openai_split(const gb_plan_t *plan, gb_span_t event, gb_split_t *split)
{
    gb_span_t choices, choice, delta;
    gb_json_iter_t it;

    (void)plan;
    if (event.len < 8 || memcmp(event.p, "data: {", 7) != 0) {
        return 0;
    }
    choices = gb_json_get(gb_json_root(event.p + 6, event.len - 6), "choices");
    choice = gb_json_path(choices, "0");
    delta = gb_json_get(choice, "delta");
    if (gb_json_count(choices) != 1 || gb_json_count(delta) != 1
        || gb_openai_there(gb_openai_member(choice, "finish_reason"))
        || gb_openai_there(gb_openai_member(choice, "logprobs"))) {
        return 0;
    }
    gb_json_iter(&it, delta);
    if (!gb_json_next(&it) || gb_openai_empty(it.value)
        || !(gb_json_eq(it.key, "content") || gb_json_eq(it.key, "reasoning_content"))) {
        return 0;
    }
    split->at = (size_t)(it.value.p + 1 - event.p);
    split->len = it.value.len - 2;
    gb_buf_append(&split->head, event.p, split->at);
    return gb_buf_append(&split->tail, event.p + split->at + split->len,
                         event.len - split->at - split->len)
               == APR_SUCCESS
           && split->head.rv == APR_SUCCESS;
}

/* ---- events ---- */

static apr_status_t on_event(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_translator_t *t = baton;

    if (kind == GB_SSE_DONE || t->facts->has_error) {
        return APR_SUCCESS;
    }
    t->answer->out = t->out;
    return gb_openai_answer_feed(t->answer, data, len);
}

static apr_status_t stream_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    return gb_sse_feed(t->sse, bytes, len);
}

/* The upstream did not stream: its answer is one event. */
static apr_status_t whole_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    t->answer->out = t->out;
    return gb_openai_answer_feed(t->answer, bytes, len);
}

apr_status_t gb_openai_go_on(gb_plan_t *plan)
{
    gb_openai_call_t *call = plan->state;
    gb_openai_answer_t *a = call->answer;
    const gb_openai_choice_t *c;
    gb_buf_t body;

    if (a == NULL || gb_openai_answer_continue(a) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    if (call->first_body.p == NULL) {
        call->first_body = (gb_span_t){plan->body, plan->body_len};
    }
    c = APR_ARRAY_IDX(a->choices, 0, gb_openai_choice_t *);
    gb_buf_init_pool(&body, GB_BUF_MAX_REQUEST, call->pool);
    if (gb_seam_body(&body, call->first_body, c->text.data, c->text.len) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    plan->body = body.data;
    plan->body_len = body.len;
    return APR_SUCCESS;
}

void gb_openai_stream_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    t->answer = call->answer != NULL && call->answer->continued
                    ? call->answer
                    : gb_openai_answer_make(call, t->facts, &writer);
    t->answer->facts = t->facts;
    call->answer = t->answer;
    if (call->plan->upstream_stream) {
        t->sse = gb_sse_make(on_event, t, call->pool);
    }
    t->chunk = t->sse != NULL ? stream_chunk : whole_chunk;
    t->end = stream_end;
}
