/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST embeddings: one text by embedContent, a list by batchEmbedContents, so
 * many calls side by side as Google's limit makes necessary.  Vectors pass by
 * byte range, or as base64 of little-endian float32; they are never scaled.
 */
#include "proto/openai_int.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define PER_CALL   100  /* Google's */
#define MAX_INPUTS 2048 /* OpenAI's */

typedef struct embeddings_t {
    gb_span_t model, input, dimensions, encoding_format, task_type;
    int n;      /* texts */
    int base64; /* else lists of numbers */
    size_t input_chars;
} embeddings_t;

/* clang-format off */
static const gb_openai_param_t params[] = {
    {"model",           offsetof(embeddings_t, model),           GB_PARAM_STRING,  NULL,           1, 0   },
    {"input",           offsetof(embeddings_t, input),           GB_PARAM_ANY,     NULL,           1, 0   },
    {"dimensions",      offsetof(embeddings_t, dimensions),      GB_PARAM_INTEGER, NULL,           1, 65536},
    {"encoding_format", offsetof(embeddings_t, encoding_format), GB_PARAM_STRING,  "float|base64", 1, 0   },
    {"task_type",       offsetof(embeddings_t, task_type),       GB_PARAM_STRING,  NULL,           1, 0   },
    {"input_type",      offsetof(embeddings_t, task_type),       GB_PARAM_STRING,  NULL,           1, 0   },
    {"user",            GB_PARAM_NOWHERE,                        GB_PARAM_STRING,  NULL,           1, 0   },
};
/* clang-format on */

/* ---- the request ---- */

static apr_status_t tokens_refuse(gb_openai_call_t *call)
{
    return gb_error_set(call->err, 400, "unsupported_value", "input",
                        "'input' must be text: lists of token ids belong to another tokenizer. "
                        "Send a string or a list of strings (LangChain's OpenAIEmbeddings sends "
                        "text with check_embedding_ctx_length=False).");
}

static apr_status_t text_check(gb_openai_call_t *call, embeddings_t *e, gb_span_t text)
{
    gb_json_kind_t kind = gb_json_kind(text);

    if (kind == GB_JSON_NUMBER || kind == GB_JSON_ARRAY) {
        return tokens_refuse(call);
    }
    if (kind != GB_JSON_STRING) {
        return gb_error_set(call->err, 400, "invalid_type", "input",
                            "Invalid type for 'input': expected a string or a list of strings.");
    }
    if (gb_openai_empty(text)) {
        return gb_error_set(call->err, 400, "invalid_value", "input",
                            "Invalid value for 'input': a text cannot be empty.");
    }
    e->n++;
    e->input_chars += text.len - 2;
    return APR_SUCCESS;
}

static apr_status_t input_check(gb_openai_call_t *call, embeddings_t *e)
{
    gb_json_iter_t it;
    apr_status_t rv;

    if (gb_json_kind(e->input) != GB_JSON_ARRAY) {
        return text_check(call, e, e->input);
    }
    for (gb_json_iter(&it, e->input); gb_json_next(&it);) {
        if ((rv = text_check(call, e, it.value)) != APR_SUCCESS) {
            return rv;
        }
    }
    if (e->n == 0 || e->n > MAX_INPUTS) {
        return gb_error_set(
            call->err, 400, e->n == 0 ? "empty_array" : "array_above_max_length", "input",
            "Invalid 'input': expected 1 to %d texts in one call, but got %d.", MAX_INPUTS, e->n);
    }
    return APR_SUCCESS;
}

/* The members that every request of a batch has, in braces that stay open. */
static void request_put(gb_openai_call_t *call, const embeddings_t *e, gb_span_t text,
                        gb_buf_t *out)
{
    gb_buf_puts(out, "{\"model\":");
    gb_json_put_cstr(out, apr_pstrcat(call->pool, "models/", call->plan->model_used, NULL));
    gb_buf_puts(out, ",\"content\":{\"parts\":[{\"text\":");
    gb_json_put_span(out, text);
    gb_buf_puts(out, "}]}");
    if (gb_openai_there(e->dimensions)) {
        gb_buf_puts(out, ",\"outputDimensionality\":");
        gb_json_put_span(out, e->dimensions);
    }
    if (gb_openai_there(e->task_type)) {
        gb_buf_puts(out, ",\"taskType\":");
        gb_json_put_span(out, e->task_type);
    }
    gb_buf_putc(out, '}');
}

static gb_buf_t *buffer_make(gb_openai_call_t *call)
{
    gb_buf_t *out = apr_palloc(call->pool, sizeof(*out));

    gb_buf_init_pool(out, GB_BUF_MAX_REQUEST, call->pool);
    return out;
}

/* One body for each call. */
static apr_status_t batches_make(gb_openai_call_t *call, const embeddings_t *e)
{
    int n_calls = (e->n + PER_CALL - 1) / PER_CALL, n = 0;
    gb_span_t *bodies = apr_pcalloc(call->pool, sizeof(*bodies) * (size_t)n_calls);
    gb_buf_t *out = NULL;
    gb_json_iter_t it;

    for (gb_json_iter(&it, e->input); gb_json_next(&it); n++) {
        if (n % PER_CALL == 0) {
            out = buffer_make(call);
            gb_buf_puts(out, "{\"requests\":[");
        }
        else {
            gb_buf_putc(out, ',');
        }
        request_put(call, e, it.value, out);
        if (n % PER_CALL == PER_CALL - 1 || n == e->n - 1) {
            gb_buf_puts(out, "]}");
            bodies[n / PER_CALL] = (gb_span_t){out->data, out->len};
        }
        if (out->rv != APR_SUCCESS) {
            return out->rv;
        }
    }
    call->plan->body = bodies[0].p;
    call->plan->body_len = bodies[0].len;
    call->plan->bodies = n_calls > 1 ? bodies : NULL;
    call->plan->fan_out = n_calls;
    return APR_SUCCESS;
}

static apr_status_t body_make(gb_openai_call_t *call, const embeddings_t *e)
{
    gb_buf_t *out;

    if (gb_json_kind(e->input) == GB_JSON_ARRAY) {
        return batches_make(call, e);
    }
    out = buffer_make(call);
    request_put(call, e, e->input, out);
    call->plan->body = out->data;
    call->plan->body_len = out->len;
    return out->rv;
}

apr_status_t gb_openai_embeddings(gb_openai_call_t *call)
{
    embeddings_t *e = apr_pcalloc(call->pool, sizeof(*e));
    gb_plan_t *plan = call->plan;
    apr_status_t rv = gb_openai_params_read(
        call, gb_json_root(call->request.body, call->request.body_len), params,
        sizeof(params) / sizeof(*params), e);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!gb_openai_there(e->model) || !gb_openai_there(e->input)) {
        return gb_openai_param_missing(call, gb_openai_there(e->model) ? "input" : "model");
    }
    if ((rv = gb_openai_model_resolve(call, gb_openai_text(e->model, call->pool))) != APR_SUCCESS
        || (rv = input_check(call, e)) != APR_SUCCESS) {
        return rv;
    }
    call->own = e;
    e->base64 = gb_json_eq(e->encoding_format, "base64");
    plan->method = "POST";
    plan->content_type = "application/json";
    plan->answer_type = "application/json";
    plan->operation = "embeddings";
    plan->path = apr_pstrcat(
        call->pool, "/models/", plan->model_used,
        gb_json_kind(e->input) == GB_JSON_ARRAY ? ":batchEmbedContents" : ":embedContent", NULL);
    if (body_make(call, e) != APR_SUCCESS) {
        return gb_error_set(call->err, 413, "request_too_large", NULL, "The request is too large.");
    }
    return APR_SUCCESS;
}

/* ---- numbers ---- */

/*
 * The float nearest to the number at *pat, which ends before end; *pat goes behind
 * it.  gb_json_double is slow; what has at most 15 digits and a small exponent is
 * exact as one division of doubles, and Google writes nothing else.
 */
static float float_read(const char **pat, const char *end)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *number = *pat, *p = number + (*number == '-');
    int digits = 0, after = 0, in_fraction = 0;
    uint64_t mantissa = 0;
    double value = 0;

    for (; p < end; p++) {
        unsigned digit = (unsigned char)*p - (unsigned)'0';

        if (digit <= 9) {
            mantissa = digits <= 15 ? mantissa * 10 + digit : mantissa;
            digits += mantissa > 0;
            after += in_fraction;
        }
        else if (*p == '.') {
            in_fraction = 1;
        }
        else {
            break;
        }
    }
    if ((p < end && (*p == 'e' || *p == 'E')) || digits > 15 || after > 22) {
        p += strspn(p, "0123456789eE+-.");
        gb_json_double((gb_span_t){number, (size_t)(p - number)}, &value);
        *pat = p;
        return (float)value;
    }
    *pat = p;
    value = (double)mantissa / tens[after];
    return (float)(*number == '-' ? -value : value);
}

static void float_put(unsigned char *to, float value)
{
    uint32_t bits;
    int i;

    memcpy(&bits, &value, sizeof(bits));
    for (i = 0; i < 4; i++) {
        to[i] = (unsigned char)(bits >> (8 * i));
    }
}

/* A list of numbers, which was checked as JSON; what is no number ends it. */
static void base64_put(gb_buf_t *out, gb_span_t values)
{
    const char *at = values.p + (values.len > 0), *end = values.p + values.len;
    unsigned char *raw = malloc(values.len * 2
                                + 4); /* a number has two characters with its comma */
    size_t len = 0;

    if (raw == NULL) {
        abort();
    }
    while (at < end) {
        if (*at == '-' || (*at >= '0' && *at <= '9')) {
            float_put(raw + len, float_read(&at, end));
            len += 4;
        }
        else if (*at == ',' || *at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') {
            at++;
        }
        else {
            break;
        }
    }
    gb_buf_putc(out, '"');
    gb_openai_base64_put(out, (const char *)raw, len);
    gb_buf_putc(out, '"');
    free(raw);
}

/* ---- the answer ---- */

/* One vector as an item of data. */
static apr_status_t embedding_put(gb_translator_t *t, const embeddings_t *e, gb_span_t embedding)
{
    gb_span_t values = gb_json_get(embedding, "values");

    if (gb_json_kind(values) != GB_JSON_ARRAY) {
        return APR_EGENERAL; /* without it the others would stand for the wrong texts */
    }
    gb_buf_printf(&t->kept,
                  "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":", t->n > 0 ? "," : "",
                  t->n);
    if (e->base64) {
        base64_put(&t->kept, values);
    }
    else {
        gb_json_put_compact(&t->kept, values);
    }
    gb_buf_putc(&t->kept, '}');
    t->n++;
    return t->kept.rv;
}

static void count(gb_facts_t *facts, gb_span_t usage)
{
    apr_int64_t tokens;

    if (gb_json_int_or_str(gb_json_get(usage, "promptTokenCount"), &tokens)) {
        facts->prompt_tokens = tokens + (facts->prompt_tokens > 0 ? facts->prompt_tokens : 0);
        facts->total_tokens = facts->prompt_tokens;
        facts->completion_tokens = 0;
    }
}

/* One member of Google's answer; some are a megabyte long, so each is found once. */
static apr_status_t member_read(gb_translator_t *t, const embeddings_t *e, gb_span_t name,
                                gb_span_t value)
{
    apr_status_t rv = APR_SUCCESS;
    gb_json_iter_t it;

    if (gb_json_eq(name, "usageMetadata")) {
        count(t->facts, value);
    }
    else if (gb_json_eq(name, "embedding")) {
        rv = embedding_put(t, e, value);
    }
    else if (gb_json_eq(name, "embeddings")) {
        for (gb_json_iter(&it, value); rv == APR_SUCCESS && gb_json_next(&it);) {
            rv = embedding_put(t, e, it.value);
        }
    }
    return rv;
}

/* One whole answer of Google's, the next one of a list that was split. */
static apr_status_t embeddings_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    const embeddings_t *e = ((gb_openai_call_t *)t->plan->state)->own;
    gb_json_fault_t fault = {0};
    apr_status_t rv = APR_SUCCESS;
    gb_json_iter_t it;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    t->passed++;
    for (gb_json_iter(&it, gb_json_root(bytes, len)); rv == APR_SUCCESS && gb_json_next(&it);) {
        rv = member_read(t, e, it.key, it.value);
    }
    t->facts->has_candidate = t->facts->has_content = t->n > 0;
    return rv;
}

static apr_status_t embeddings_end(gb_translator_t *t)
{
    const embeddings_t *e = ((gb_openai_call_t *)t->plan->state)->own;
    apr_uint64_t n_calls = t->plan->fan_out > 1 ? (apr_uint64_t)t->plan->fan_out : 1;
    apr_int64_t tokens = t->facts->prompt_tokens;

    if (t->n == 0 || (t->passed == n_calls && t->n != e->n)) {
        return APR_INCOMPLETE; /* with one missing, the others would stand for the wrong texts */
    }
    if (tokens < 0) { /* older upstreams do not count */
        tokens = (apr_int64_t)(e->input_chars / 4) + 1;
    }
    gb_buf_puts(t->out, "{\"object\":\"list\",\"data\":[");
    gb_buf_append(t->out, t->kept.data, t->kept.len);
    gb_buf_puts(t->out, "],\"model\":");
    gb_json_put_cstr(t->out, t->plan->model);
    gb_buf_printf(t->out,
                  ",\"usage\":{\"prompt_tokens\":%" APR_INT64_T_FMT
                  ",\"total_tokens\":%" APR_INT64_T_FMT "}}",
                  tokens, tokens);
    return t->out->rv;
}

void gb_openai_embeddings_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    gb_buf_init_pool(&t->kept, GB_BUF_MAX_ANSWER, call->pool);
    t->facts->prompt_tokens = -1;
    t->chunk = embeddings_chunk;
    t->end = embeddings_end;
}
