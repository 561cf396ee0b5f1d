/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of the smaller endpoints: a table of members for each, read and
 * checked here.  What the values mean is left to the endpoint.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

apr_status_t gb_openai_param_missing(gb_openai_call_t *call, const char *name)
{
    return gb_error_set(call->err, 400, "missing_required_parameter", name,
                        "Missing required parameter: '%s'.", name);
}

static apr_status_t wrong_type(gb_openai_call_t *call, const gb_openai_param_t *param)
{
    static const char *const wanted[] = {
        [GB_PARAM_STRING] = "a string",  [GB_PARAM_INTEGER] = "an integer",
        [GB_PARAM_NUMBER] = "a number",  [GB_PARAM_BOOL] = "a boolean",
        [GB_PARAM_ANY] = "another type",
    };

    return gb_error_set(call->err, 400, "invalid_type", param->name,
                        "Invalid type for '%s': expected %s.", param->name, wanted[param->kind]);
}

/* Whether a raw string is one of "a|b|c". */
static int is_word(const char *words, gb_span_t value, apr_pool_t *p)
{
    const char *text = gb_openai_text(value, p), *at = words;
    size_t len = strlen(text), n;

    for (; *at != '\0'; at += n + (at[n] == '|')) {
        n = strcspn(at, "|");
        if (n == len && memcmp(at, text, n) == 0) {
            return 1;
        }
    }
    return 0;
}

/* "a|b|c" as "a, b, c". */
static const char *word_list(const char *words, apr_pool_t *p)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_LINE, p);
    for (; *words != '\0'; words++) {
        gb_buf_puts(&out, *words == '|' ? ", " : "");
        if (*words != '|') {
            gb_buf_putc(&out, *words);
        }
    }
    return out.data;
}

static apr_status_t string_check(gb_openai_call_t *call, const gb_openai_param_t *param,
                                 gb_span_t value)
{
    if (gb_json_kind(value) != GB_JSON_STRING) {
        return wrong_type(call, param);
    }
    if (param->words == NULL || is_word(param->words, value, call->pool)) {
        return APR_SUCCESS;
    }
    return gb_error_set(call->err, 400, "invalid_value", param->name,
                        "Invalid value for '%s': supported values are %s.", param->name,
                        word_list(param->words, call->pool));
}

static apr_status_t integer_check(gb_openai_call_t *call, const gb_openai_param_t *param,
                                  gb_span_t value)
{
    apr_int64_t n;

    if (!gb_json_int(value, &n)) {
        return wrong_type(call, param);
    }
    if (param->min <= param->max && (n < param->min || n > param->max)) {
        return gb_error_set(call->err, 400, "invalid_value", param->name,
                            "Invalid value for '%s': expected an integer from %" APR_INT64_T_FMT
                            " to %" APR_INT64_T_FMT ".",
                            param->name, param->min, param->max);
    }
    return APR_SUCCESS;
}

static apr_status_t check(gb_openai_call_t *call, const gb_openai_param_t *param, gb_span_t value)
{
    double number;
    int flag;

    switch (param->kind) {
    case GB_PARAM_STRING:
        return string_check(call, param, value);
    case GB_PARAM_INTEGER:
        return integer_check(call, param, value);
    case GB_PARAM_NUMBER:
        return gb_json_double(value, &number) ? APR_SUCCESS : wrong_type(call, param);
    case GB_PARAM_BOOL:
        return gb_json_bool(value, &flag) ? APR_SUCCESS : wrong_type(call, param);
    case GB_PARAM_ANY:
        break;
    }
    return APR_SUCCESS;
}

static const gb_openai_param_t *find(const gb_openai_param_t *params, size_t n, gb_span_t key)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (gb_json_eq(key, params[i].name)) {
            return &params[i];
        }
    }
    return NULL;
}

apr_status_t gb_openai_param_take(gb_openai_call_t *call, const gb_openai_param_t *param,
                                  gb_span_t value, void *into)
{
    apr_status_t rv = gb_json_kind(value) == GB_JSON_NULL ? APR_SUCCESS : check(call, param, value);

    if (rv == APR_SUCCESS && param->offset != GB_PARAM_NOWHERE
        && gb_json_kind(value) != GB_JSON_NULL) {
        *(gb_span_t *)((char *)into + param->offset) = value;
    }
    return rv;
}

apr_status_t gb_openai_params_read(gb_openai_call_t *call, gb_span_t root,
                                   const gb_openai_param_t *params, size_t n, void *into)
{
    const gb_openai_param_t *param;
    gb_json_iter_t it;
    apr_status_t rv;

    for (gb_json_iter(&it, root); gb_json_next(&it);) {
        param = find(params, n, it.key);
        if (param == NULL) {
            gb_openai_ignored_add(call, it.key);
        }
        else if ((rv = gb_openai_param_take(call, param, it.value, into)) != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}
