/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Imagen by :predict, which Google's Gemini API has given up and Vertex AI and
 * upstreams of one's own still have: its request, and chat with it, where its
 * answer is put into the form of generateContent so that chat's translators
 * read it.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

apr_status_t gb_openai_imagen_put(gb_buf_t *out, const char *prompt, int count,
                                  const gb_openai_ratio_t *ratio, const char *image_size)
{
    gb_buf_puts(out, "{\"instances\":[{\"prompt\":");
    gb_json_put_cstr(out, prompt);
    gb_buf_printf(out, "}],\"parameters\":{\"sampleCount\":%d", count);
    if (ratio != NULL) {
        /* the nearest of its five: those of two thirds become three quarters */
        int wide = ratio->width > ratio->height;
        int longer = wide ? ratio->width : ratio->height;
        int shorter = wide ? ratio->height : ratio->width;
        const char *name = ratio->imagen           ? ratio->name
                           : longer >= 2 * shorter ? (wide ? "16:9" : "9:16")
                           : wide                  ? "4:3"
                                                   : "3:4";

        gb_buf_printf(out, ",\"aspectRatio\":\"%s\"", name);
    }
    if (image_size != NULL && strcmp(image_size, "2K") == 0) {
        gb_buf_puts(out, ",\"imageSize\":\"2K\"");
    }
    gb_buf_puts(out, "}}");
    return out->rv;
}

/* ---- chat ---- */

/* The text of the last message of a user, "" when there is none. */
static const char *last_words(gb_openai_call_t *call)
{
    gb_span_t content = {NULL, 0};
    gb_json_iter_t it;
    gb_buf_t text;
    int i;

    for (i = 0; i < call->n_messages; i++) {
        if (call->messages[i].role == GB_OPENAI_ROLE_USER) {
            content = call->messages[i].content;
        }
    }
    if (gb_json_kind(content) == GB_JSON_STRING) {
        return gb_openai_text(content, call->pool);
    }
    gb_buf_init_pool(&text, GB_BUF_MAX_REQUEST, call->pool);
    for (gb_json_iter(&it, content); gb_json_next(&it);) {
        if (gb_json_kind(gb_json_get(it.value, "text")) == GB_JSON_STRING) {
            gb_buf_puts(&text, text.len > 0 ? "\n" : "");
            gb_json_str_append(&text, gb_json_get(it.value, "text"));
        }
    }
    return text.data != NULL ? text.data : "";
}

static apr_status_t body_make(gb_openai_call_t *call)
{
    const gb_openai_ratio_t *ratio = NULL;
    const char *text = last_words(call);
    gb_buf_t *out = apr_palloc(call->pool, sizeof(*out));
    int count = 1;
    apr_status_t rv = gb_openai_image_marks(call, &text, &count, &ratio, "messages");

    if (rv == APR_SUCCESS && *text == '\0') {
        rv = gb_error_set(call->err, 400, "invalid_value", "messages",
                          "The model '%.90s' paints what the last message of the user says: that "
                          "message has no text.",
                          call->plan->model);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    gb_buf_init_pool(out, GB_BUF_MAX_REQUEST, call->pool);
    call->sent = 0;
    rv = gb_openai_imagen_put(out, text, count, ratio, NULL);
    call->plan->body = out->data;
    call->plan->body_len = out->len;
    return rv;
}

/* Another model, one that talks too: an ordinary call of chat. */
static apr_status_t chat_instead(gb_openai_call_t *call)
{
    call->predicts = 0;
    call->remake = gb_openai_body_make;
    return gb_openai_chat_plan(call);
}

apr_status_t gb_openai_imagen_chat(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;

    plan->stream = call->stream;
    plan->path = apr_pstrcat(call->pool, "/models/", plan->model_used, ":predict", NULL);
    plan->other_model = gb_feature_image_model(call->request.memory);
    plan->fan_out_later = 8;
    call->variant |= GB_OPENAI_IMAGE;
    call->predicts = 1;
    call->instead = chat_instead;
    call->remake = body_make;
    call->include_usage = gb_openai_flag(
        gb_openai_member(call->field[GB_OPENAI_STREAM_OPTIONS], "include_usage"));
    return body_make(call);
}

/* ---- the answer ---- */

static void picture_put(gb_buf_t *out, gb_span_t prediction)
{
    gb_span_t type = gb_json_get(prediction, "mimeType");

    gb_buf_puts(out, "{\"inlineData\":{\"mimeType\":");
    if (gb_openai_empty(type)) {
        gb_buf_puts(out, "\"image/png\"");
    }
    else {
        gb_json_put_span(out, type);
    }
    gb_buf_puts(out, ",\"data\":");
    gb_json_put_span(out, gb_json_get(prediction, "bytesBase64Encoded"));
    gb_buf_puts(out, "}}");
}

/* {"candidates":..} for what was painted, or {"promptFeedback":..} for what was not. */
static void gemini_put(gb_buf_t *out, gb_span_t predictions)
{
    gb_span_t reason = {NULL, 0};
    gb_json_iter_t it;
    int n = 0;

    gb_buf_puts(out, "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[");
    for (gb_json_iter(&it, predictions); gb_json_next(&it);) {
        if (!gb_openai_empty(gb_json_get(it.value, "bytesBase64Encoded"))) {
            gb_buf_puts(out, n++ > 0 ? "," : "");
            picture_put(out, it.value);
        }
        else if (!gb_openai_empty(gb_json_get(it.value, "raiFilteredReason"))) {
            reason = gb_json_get(it.value, "raiFilteredReason");
        }
    }
    gb_buf_puts(out, "]},\"finishReason\":\"STOP\"}]}");
    if (n == 0 && gb_openai_there(reason)) {
        gb_buf_reset(out);
        gb_buf_puts(out, "{\"promptFeedback\":{\"blockReason\":\"IMAGE_SAFETY\","
                         "\"blockReasonMessage\":");
        gb_json_put_span(out, reason);
        gb_buf_puts(out, "}}");
    }
}

static apr_status_t predict_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    gb_json_fault_t fault = {0};
    gb_span_t predictions;
    gb_buf_t out, event;
    apr_status_t rv;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    predictions = gb_json_get(gb_json_root(bytes, len), "predictions");
    if (!gb_openai_there(predictions)) {
        return APR_EGENERAL;
    }
    gb_buf_init(&out, GB_BUF_MAX_ANSWER);
    gb_buf_init(&event, GB_BUF_MAX_ANSWER);
    gemini_put(&out, predictions);
    if (t->sse != NULL) {
        gb_buf_puts(&event, "data: ");
    }
    gb_buf_append(&event, out.data, out.len);
    if (t->sse != NULL) {
        gb_buf_puts(&event, "\n\n");
    }
    rv = out.rv != APR_SUCCESS ? out.rv : event.rv;
    if (rv == APR_SUCCESS) {
        rv = t->inner(t, event.data, event.len);
    }
    gb_buf_free(&out);
    gb_buf_free(&event);
    return rv;
}

void gb_openai_imagen_begin(gb_translator_t *t)
{
    t->inner = t->chunk;
    t->chunk = predict_chunk;
}
