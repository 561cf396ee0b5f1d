/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of a chat request: one table says what becomes of each (the
 * README's table is checked against it) and checks its type.  What the values
 * mean is left to the files that use them.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

typedef apr_status_t check_fn(gb_openai_call_t *call, const char *name, gb_span_t value);

static apr_status_t wrong_type(gb_openai_call_t *call, const char *name, const char *wanted)
{
    return gb_error_set(call->err, 400, "invalid_type", name, "Invalid type for '%s': expected %s.",
                        name, wanted);
}

static apr_status_t wrong_value(gb_openai_call_t *call, const char *name, const char *wanted)
{
    return gb_error_set(call->err, 400, "invalid_value", name,
                        "Invalid value for '%s': expected %s.", name, wanted);
}

/* ---- checks ---- */

static apr_status_t check_string(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return gb_json_kind(value) == GB_JSON_STRING ? APR_SUCCESS : wrong_type(call, name, "a string");
}

static apr_status_t check_bool(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    int flag;

    return gb_json_bool(value, &flag) ? APR_SUCCESS : wrong_type(call, name, "a boolean");
}

static apr_status_t check_object(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return gb_json_kind(value) == GB_JSON_OBJECT ? APR_SUCCESS
                                                 : wrong_type(call, name, "an object");
}

static apr_status_t check_array(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return gb_json_kind(value) == GB_JSON_ARRAY ? APR_SUCCESS : wrong_type(call, name, "an array");
}

static apr_status_t check_integer(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    apr_int64_t n;
    double d;

    if (gb_json_int(value, &n)) {
        return APR_SUCCESS;
    }
    return gb_json_double(value, &d) ? wrong_value(call, name, "an integer of 64 bits")
                                     : wrong_type(call, name, "an integer");
}

static apr_status_t check_positive(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    apr_status_t rv = check_integer(call, name, value);
    apr_int64_t n = 0;

    if (rv == APR_SUCCESS && gb_json_int(value, &n) && n < 1) {
        return wrong_value(call, name, "an integer of at least 1");
    }
    return rv;
}

static apr_status_t check_range(gb_openai_call_t *call, const char *name, gb_span_t value,
                                double min, double max, const char *wanted)
{
    double n;

    if (!gb_json_double(value, &n)) {
        return wrong_type(call, name, "a number");
    }
    return n >= min && n <= max ? APR_SUCCESS : wrong_value(call, name, wanted);
}

/* Out of OpenAI's bounds is no fault here: the value is clamped to Gemini's. */
static apr_status_t check_temperature(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return check_range(call, name, value, -1e308, 1e308, "a number");
}

static apr_status_t check_fraction(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return check_range(call, name, value, 0, 1, "a number from 0 to 1");
}

static apr_status_t check_penalty(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return check_range(call, name, value, -2, 2, "a number from -2 to 2");
}

static apr_status_t check_n(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    apr_status_t rv = check_positive(call, name, value);
    apr_int64_t n = 1;

    if (rv == APR_SUCCESS && gb_json_int(value, &n) && n > 8) {
        return wrong_value(call, name, "an integer from 1 to 8");
    }
    return rv;
}

static apr_status_t check_top_logprobs(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    apr_status_t rv = check_integer(call, name, value);
    apr_int64_t n = 0;

    if (rv == APR_SUCCESS && gb_json_int(value, &n) && (n < 0 || n > 20)) {
        return wrong_value(call, name, "an integer from 0 to 20");
    }
    return rv;
}

static apr_status_t check_stop(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    gb_json_iter_t it;
    int n = 0;

    if (gb_json_kind(value) == GB_JSON_STRING) {
        return APR_SUCCESS;
    }
    if (gb_json_kind(value) != GB_JSON_ARRAY) {
        return wrong_type(call, name, "a string or an array of strings");
    }
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        if (gb_json_kind(it.value) != GB_JSON_STRING) {
            return wrong_type(call, name, "a string or an array of strings");
        }
        n += gb_openai_empty(it.value) ? 0 : 1;
    }
    return n <= 4 ? APR_SUCCESS : wrong_value(call, name, "at most 4 stop sequences");
}

static apr_status_t check_logit_bias(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    if (gb_json_kind(value) != GB_JSON_OBJECT) {
        return wrong_type(call, name, "an object");
    }
    if (gb_json_count(value) == 0) {
        return APR_SUCCESS;
    }
    return gb_error_set(call->err, 400, "unsupported_value", name,
                        "'logit_bias' is not supported: its token ids belong to another "
                        "tokenizer. Leave it out.");
}

static apr_status_t check_choice(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    gb_json_kind_t kind = gb_json_kind(value);

    return kind == GB_JSON_STRING || kind == GB_JSON_OBJECT
               ? APR_SUCCESS
               : wrong_type(call, name, "a string or an object");
}

static apr_status_t check_effort(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    static const char *const efforts[] = {"none", "minimal", "low", "medium",
                                          "high", "xhigh",   "max"};
    size_t i;

    if (gb_json_kind(value) != GB_JSON_STRING) {
        return wrong_type(call, name, "a string");
    }
    for (i = 0; i < sizeof(efforts) / sizeof(*efforts); i++) {
        if (gb_json_eq(value, efforts[i])) {
            return APR_SUCCESS;
        }
    }
    return wrong_value(call, name, "one of none, minimal, low, medium, high, xhigh and max");
}

static apr_status_t check_modalities(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    gb_json_iter_t it;

    if (gb_json_kind(value) != GB_JSON_ARRAY) {
        return wrong_type(call, name, "an array of strings");
    }
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        if (!gb_json_eq(it.value, "text") && !gb_json_eq(it.value, "image")
            && !gb_json_eq(it.value, "audio")) {
            return wrong_value(call, name, "a list of text, image and audio");
        }
    }
    return APR_SUCCESS;
}

/* The voice is settled where it is used; here only what every model needs. */
static apr_status_t check_audio(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    gb_span_t format;

    if (gb_json_kind(value) != GB_JSON_OBJECT) {
        return wrong_type(call, name, "an object");
    }
    format = gb_openai_member(value, "format");
    if (!gb_openai_there(format) || gb_json_eq(format, "wav") || gb_json_eq(format, "pcm16")) {
        return APR_SUCCESS;
    }
    return gb_error_set(call->err, 400, "unsupported_value", "audio.format",
                        "Invalid value for 'audio.format': wav and pcm16 are supported.");
}

static apr_status_t check_model(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    if (gb_json_kind(value) == GB_JSON_STRING && gb_openai_empty(value)) {
        return gb_error_set(call->err, 400, "missing_required_parameter", name,
                            "you must provide a model parameter");
    }
    return check_string(call, name, value);
}

/* Far above what anyone sends: so that nobody can make a small body cost much. */
static apr_status_t check_length(gb_openai_call_t *call, const char *name, gb_span_t value,
                                 size_t max)
{
    apr_status_t rv = check_array(call, name, value);
    size_t n = rv == APR_SUCCESS ? gb_json_count(value) : 0;

    return n <= max ? rv
                    : gb_error_set(call->err, 400, "array_above_max_length", name,
                                   "Invalid '%s': array too long. Expected an array with maximum "
                                   "length %" APR_SIZE_T_FMT
                                   ", but got an array with length %" APR_SIZE_T_FMT " instead.",
                                   name, max, n);
}

static apr_status_t check_tools(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    return check_length(call, name, value, GB_OPENAI_MAX_TOOLS);
}

static apr_status_t check_messages(gb_openai_call_t *call, const char *name, gb_span_t value)
{
    apr_status_t rv = check_length(call, name, value, GB_OPENAI_MAX_MESSAGES);

    if (rv == APR_SUCCESS && gb_json_count(value) == 0) {
        return gb_error_set(call->err, 400, "empty_array", name,
                            "Invalid 'messages': empty array. Expected an array with minimum "
                            "length 1, but got an empty array instead.");
    }
    return rv;
}

/* ---- the table ---- */

static const struct {
    const char *name;
    check_fn *check;
} checks[GB_OPENAI_FIELD_N] = {
#define FIELD_CHECK(id, name, action, check, text) {name, check},
    GB_OPENAI_FIELD_LIST(FIELD_CHECK)
#undef FIELD_CHECK
};

static const gb_openai_field_row_t rows[GB_OPENAI_FIELD_N] = {
#define FIELD_ROW(id, name, action, check, text) {name, #action, text},
    GB_OPENAI_FIELD_LIST(FIELD_ROW)
#undef FIELD_ROW
};

const gb_openai_field_row_t *gb_openai_fields(int *n)
{
    *n = GB_OPENAI_FIELD_N;
    return rows;
}

/* ---- reading ---- */

gb_span_t gb_openai_member(gb_span_t object, const char *name)
{
    gb_span_t value = gb_json_get(object, name);

    return gb_json_kind(value) == GB_JSON_NULL ? (gb_span_t){NULL, 0} : value;
}

int gb_openai_flag(gb_span_t value)
{
    int flag = 0;

    return gb_json_bool(value, &flag) && flag;
}

const char *gb_openai_text(gb_span_t value, apr_pool_t *p)
{
    size_t len;

    return gb_json_str(value, &len, p);
}

int gb_openai_empty(gb_span_t string)
{
    return gb_json_kind(string) != GB_JSON_STRING || string.len <= 2;
}

static int field_find(gb_span_t key)
{
    int i;

    for (i = 0; i < GB_OPENAI_FIELD_N; i++) {
        if (gb_json_eq(key, checks[i].name)) {
            return i;
        }
    }
    return -1;
}

/* A header carries these: only what may stand in one, and not without end. */
void gb_openai_ignored_add(gb_openai_call_t *call, gb_span_t key)
{
    const char *before = call->plan->ignored, *name;
    char *clean, *c;

    if (before != NULL && strlen(before) > 512) {
        return;
    }
    name = gb_openai_text(key, call->pool);
    clean = apr_pstrndup(call->pool, name != NULL ? name : "", 64);
    for (c = clean; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127 || *c == ',' || *c == '"') {
            *c = '_';
        }
    }
    call->plan->ignored = before == NULL ? clean
                                         : apr_pstrcat(call->pool, before, ",", clean, NULL);
}

static apr_status_t missing(gb_openai_call_t *call, const char *name, const char *message)
{
    return gb_error_set(call->err, 400, "missing_required_parameter", name, "%s", message);
}

apr_status_t gb_openai_fields_read(gb_openai_call_t *call, gb_span_t root)
{
    gb_json_iter_t it;
    apr_status_t rv;
    int i;

    for (gb_json_iter(&it, root); gb_json_next(&it);) {
        i = field_find(it.key);
        if (i < 0) {
            gb_openai_ignored_add(call, it.key);
        }
        else {
            call->field[i] = gb_json_kind(it.value) == GB_JSON_NULL ? (gb_span_t){NULL, 0}
                                                                    : it.value;
        }
    }
    if (!gb_openai_there(call->field[GB_OPENAI_MODEL])) {
        return missing(call, "model", "you must provide a model parameter");
    }
    if (!gb_openai_there(call->field[GB_OPENAI_MESSAGES])) {
        return missing(call, "messages", "Missing required parameter: 'messages'.");
    }
    for (i = 0; i < GB_OPENAI_FIELD_N; i++) {
        if (gb_openai_there(call->field[i])
            && (rv = checks[i].check(call, checks[i].name, call->field[i])) != APR_SUCCESS) {
            return rv;
        }
    }
    call->google = gb_openai_member(call->field[GB_OPENAI_EXTRA_BODY], "google");
    if (!gb_openai_there(call->google)) {
        call->google = call->field[GB_OPENAI_GOOGLE];
    }
    if (gb_openai_there(call->google) && gb_json_kind(call->google) != GB_JSON_OBJECT) {
        return wrong_type(call, "extra_body.google", "an object");
    }
    return APR_SUCCESS;
}
