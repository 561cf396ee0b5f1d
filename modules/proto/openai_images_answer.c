/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures as OpenAI hands them out: one object, or one event for each.  They
 * come from generateContent (one answer for each call of a fan-out) or from
 * imagen's predictions; the base64 passes as it is.
 */
#include "proto/openai_int.h"

#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define MAX_TEXT 4096 /* of what a model says beside a picture */

/* One picture; both spans are raw JSON strings from the plan's pool. */
typedef struct picture_t {
    gb_span_t type, data;
} picture_t;

typedef struct answer_t {
    apr_array_header_t *pictures; /* of picture_t */
    apr_int64_t prompt, of_images, output, total;
    int counted;
    gb_buf_t text;     /* JSON without quotes: what was said with the pictures */
    const char *block; /* why there is none */
} answer_t;

/* ---- reading ---- */

static gb_span_t span_copy(gb_span_t string, apr_pool_t *p)
{
    return (gb_span_t){apr_pstrmemdup(p, string.p, string.len), string.len};
}

static void picture_add(gb_translator_t *t, gb_span_t type, gb_span_t data)
{
    answer_t *a = t->own;
    picture_t *picture;

    if (gb_openai_empty(data)) {
        return;
    }
    picture = apr_array_push(a->pictures);
    picture->data = span_copy(data, t->plan->pool);
    picture->type = gb_openai_empty(type) ? (gb_span_t){"\"image/png\"", 11}
                                          : span_copy(type, t->plan->pool);
}

static void part_read(gb_translator_t *t, gb_span_t part)
{
    answer_t *a = t->own;
    gb_span_t blob = gb_json_get(part, "inlineData"), text = gb_json_get(part, "text");

    if (gb_openai_flag(gb_json_get(part, "thought"))) {
        return; /* a sketch on the way */
    }
    if (gb_openai_there(blob)) {
        picture_add(t, gb_json_get(blob, "mimeType"), gb_json_get(blob, "data"));
    }
    else if (!gb_openai_empty(text) && a->text.len + text.len < MAX_TEXT) {
        gb_buf_append(&a->text, text.p + 1, text.len - 2);
    }
}

static apr_int64_t count_of(gb_span_t usage, const char *name)
{
    apr_int64_t n = 0;

    return gb_json_int_or_str(gb_json_get(usage, name), &n) && n > 0 ? n : 0;
}

static void usage_read(answer_t *a, gb_span_t usage)
{
    gb_json_iter_t it;
    apr_int64_t prompt, output, total;

    if (gb_json_kind(usage) != GB_JSON_OBJECT) {
        return;
    }
    prompt = count_of(usage, "promptTokenCount");
    output = count_of(usage, "candidatesTokenCount") + count_of(usage, "thoughtsTokenCount");
    total = count_of(usage, "totalTokenCount");
    for (gb_json_iter(&it, gb_json_get(usage, "promptTokensDetails")); gb_json_next(&it);) {
        if (gb_json_eq(gb_json_get(it.value, "modality"), "IMAGE")) {
            a->of_images += count_of(it.value, "tokenCount");
        }
    }
    a->prompt += prompt;
    a->output += output;
    a->total += total > prompt + output ? total : prompt + output;
    a->counted = 1;
}

static void gemini_read(gb_translator_t *t, gb_span_t root)
{
    answer_t *a = t->own;
    gb_json_iter_t candidate, part;

    for (gb_json_iter(&candidate, gb_json_get(root, "candidates")); gb_json_next(&candidate);) {
        for (gb_json_iter(&part, gb_json_path(candidate.value, "content.parts"));
             gb_json_next(&part);) {
            part_read(t, part.value);
        }
    }
    usage_read(a, gb_json_get(root, "usageMetadata"));
    if (t->facts->blocked) {
        a->block = apr_pstrdup(t->plan->pool, *t->facts->finish_reason != '\0'
                                                  ? t->facts->finish_reason
                                                  : "the prompt is prohibited");
    }
}

static void imagen_read(gb_translator_t *t, gb_span_t predictions)
{
    answer_t *a = t->own;
    gb_json_iter_t it;
    const char *reason;

    for (gb_json_iter(&it, predictions); gb_json_next(&it);) {
        picture_add(t, gb_json_get(it.value, "mimeType"),
                    gb_json_get(it.value, "bytesBase64Encoded"));
        reason = gb_openai_text(gb_json_get(it.value, "raiFilteredReason"), t->plan->pool);
        a->block = reason != NULL ? reason : a->block;
    }
    t->facts->finished = 1;
}

/* One whole answer of the upstream. */
static apr_status_t images_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    answer_t *a = t->own;
    gb_json_fault_t fault = {0};
    gb_span_t root, predictions;
    int before = a->pictures->nelts;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    root = gb_json_root(bytes, len);
    predictions = gb_json_get(root, "predictions");
    if (gb_openai_there(predictions)) {
        imagen_read(t, predictions);
    }
    else {
        gb_gemini_tap(t->facts, root, t->plan->pool);
        gemini_read(t, root);
    }
    t->facts->has_candidate = t->facts->has_content = a->pictures->nelts > 0;
    if (a->pictures->nelts == before && a->block != NULL && !t->facts->has_error
        && a->pictures->nelts == 0) {
        gb_openai_blocked(t, "The picture", a->block);
    }
    t->n++;
    return APR_SUCCESS;
}

/* ---- writing ---- */

/* "png", "jpeg", "webp"; NULL: a format that OpenAI has no word for. */
static const char *format_of(gb_span_t type)
{
    static const char *const formats[] = {"png", "jpeg", "webp"};
    size_t i;

    for (i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        size_t n = strlen(formats[i]);

        if (type.len == 8 + n && memcmp(type.p + 7, formats[i], n) == 0) {
            return formats[i];
        }
    }
    return NULL;
}

/* Where OpenAI's list of values holds what was asked for. */
static const char *known(gb_span_t asked, const char *const *values)
{
    for (; *values != NULL; values++) {
        if (gb_json_eq(asked, *values)) {
            return *values;
        }
    }
    return NULL;
}

static const char *size_told(const gb_openai_images_t *images)
{
    static const char *const sizes[] = {"1024x1024", "1024x1536", "1536x1024", NULL};

    return known(images->size, sizes);
}

static const char *quality_told(const gb_openai_images_t *images)
{
    static const char *const qualities[] = {"low", "medium", "high", NULL};

    return known(images->quality, qualities);
}

static void usage_put(gb_buf_t *out, const answer_t *a)
{
    apr_int64_t text = a->prompt > a->of_images ? a->prompt - a->of_images : 0;

    gb_buf_printf(out,
                  "{\"input_tokens\":%" APR_INT64_T_FMT ",\"output_tokens\":%" APR_INT64_T_FMT
                  ",\"total_tokens\":%" APR_INT64_T_FMT,
                  a->prompt, a->output, a->total);
    gb_buf_printf(out,
                  ",\"input_tokens_details\":{\"text_tokens\":%" APR_INT64_T_FMT
                  ",\"image_tokens\":%" APR_INT64_T_FMT "}}",
                  text, a->of_images);
}

static void b64_put(gb_translator_t *t, const picture_t *picture)
{
    gb_buf_puts(t->out, "\"b64_json\":");
    gb_json_put_span(t->out, picture->data);
}

static void url_put(gb_translator_t *t, const picture_t *picture)
{
    gb_buf_puts(t->out, "\"url\":\"");
    gb_plan_picture_put(t->out, gb_plan_picture(t->plan, picture->type, picture->data),
                        picture->type, picture->data);
    gb_buf_putc(t->out, '"');
}

static void object_put(gb_translator_t *t, const gb_openai_images_t *images, apr_int64_t created)
{
    answer_t *a = t->own;
    gb_buf_t *out = t->out;
    const picture_t *first = (const picture_t *)a->pictures->elts;
    const char *format = format_of(first->type), *size = size_told(images);
    int i;

    gb_buf_printf(out, "{\"created\":%" APR_INT64_T_FMT ",\"data\":[", created);
    for (i = 0; i < a->pictures->nelts; i++) {
        gb_buf_puts(out, i > 0 ? ",{" : "{");
        (images->wants_url ? url_put : b64_put)(t, &APR_ARRAY_IDX(a->pictures, i, picture_t));
        if (i == 0 && a->text.len > 0) {
            gb_buf_puts(out, ",\"revised_prompt\":\"");
            gb_buf_append(out, a->text.data, a->text.len);
            gb_buf_putc(out, '"');
        }
        gb_buf_putc(out, '}');
    }
    gb_buf_puts(out, "],\"background\":\"opaque\"");
    if (format != NULL) {
        gb_buf_printf(out, ",\"output_format\":\"%s\"", format);
    }
    if (size != NULL) {
        gb_buf_printf(out, ",\"size\":\"%s\"", size);
    }
    if (quality_told(images) != NULL) {
        gb_buf_printf(out, ",\"quality\":\"%s\"", quality_told(images));
    }
    if (a->counted) {
        gb_buf_puts(out, ",\"usage\":");
        usage_put(out, a);
    }
    gb_buf_putc(out, '}');
}

static void events_put(gb_translator_t *t, const gb_openai_images_t *images, apr_int64_t created)
{
    answer_t *a = t->own;
    const char *name = images->files != NULL ? "image_edit.completed"
                                             : "image_generation.completed";
    const char *size = size_told(images), *quality = quality_told(images);
    int i;

    for (i = 0; i < a->pictures->nelts; i++) {
        const picture_t *picture = &APR_ARRAY_IDX(a->pictures, i, picture_t);
        const char *format = format_of(picture->type);

        gb_buf_printf(t->out, "event: %s\ndata: {\"type\":\"%s\",", name, name);
        b64_put(t, picture);
        gb_buf_printf(t->out,
                      ",\"created_at\":%" APR_INT64_T_FMT
                      ",\"size\":\"%s\",\"quality\":\"%s\",\"background\":\"opaque\","
                      "\"output_format\":\"%s\",\"usage\":",
                      created, size != NULL ? size : "auto", quality != NULL ? quality : "auto",
                      format != NULL ? format : "png");
        usage_put(t->out, a);
        gb_buf_puts(t->out, "}\n\n");
    }
}

static apr_status_t images_end(gb_translator_t *t)
{
    const gb_openai_call_t *call = t->plan->state;
    answer_t *a = t->own;

    if (t->n == 0) {
        return APR_INCOMPLETE;
    }
    if (a->pictures->nelts == 0) {
        return APR_SUCCESS; /* the facts say that there is nothing */
    }
    if (t->plan->stream) {
        events_put(t, call->own, apr_time_sec(call->request.now));
    }
    else {
        object_put(t, call->own, apr_time_sec(call->request.now));
    }
    return t->out->rv;
}

void gb_openai_images_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    answer_t *a = apr_pcalloc(call->pool, sizeof(*a));

    a->pictures = apr_array_make(call->pool, 2, sizeof(picture_t));
    gb_buf_init_pool(&a->text, GB_BUF_MAX_LINE, call->pool);
    t->own = a;
    t->chunk = images_chunk;
    t->end = images_end;
}
