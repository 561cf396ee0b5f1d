/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values between the JSON of administration and the texts of settings.  A page
 * gets secrets masked and sends back what it got: a mask that comes back stands
 * for the secret that it hides.
 */
#include "core_api.h"

#include "apr_strings.h"

/* ---- types ---- */

/* Which kinds of JSON a type takes, beside the text of the .env file. */
static int takes(gb_type_t type, gb_json_kind_t kind)
{
    switch (type) {
    case GB_TYPE_BOOL:
        return kind == GB_JSON_TRUE || kind == GB_JSON_FALSE || kind == GB_JSON_STRING;
    case GB_TYPE_INT:
    case GB_TYPE_FLOAT:
    case GB_TYPE_SECONDS:
        return kind == GB_JSON_NUMBER || kind == GB_JSON_STRING;
    case GB_TYPE_STRING:
    case GB_TYPE_URL:
    case GB_TYPE_ENUM:
    case GB_TYPE_SECRET:
        return kind == GB_JSON_STRING;
    case GB_TYPE_LIST:
    case GB_TYPE_SECRET_LIST:
        return kind == GB_JSON_ARRAY || kind == GB_JSON_STRING;
    case GB_TYPE_MAP:
    case GB_TYPE_NUMBER_MAP:
        return kind == GB_JSON_OBJECT || kind == GB_JSON_STRING;
    case GB_TYPE_JSON:
        return kind == GB_JSON_OBJECT || kind == GB_JSON_ARRAY || kind == GB_JSON_STRING;
    }
    return 0;
}

static const char *wanted(gb_type_t type)
{
    switch (type) {
    case GB_TYPE_BOOL:
        return "true or false";
    case GB_TYPE_INT:
    case GB_TYPE_FLOAT:
    case GB_TYPE_SECONDS:
        return "a number";
    case GB_TYPE_STRING:
    case GB_TYPE_URL:
    case GB_TYPE_ENUM:
    case GB_TYPE_SECRET:
        return "a string";
    case GB_TYPE_LIST:
    case GB_TYPE_SECRET_LIST:
        return "an array of strings";
    case GB_TYPE_MAP:
    case GB_TYPE_NUMBER_MAP:
        return "an object";
    case GB_TYPE_JSON:
        return "an array or an object";
    }
    return "";
}

/* ---- masks that come back ---- */

static gb_span_t json_of(const gb_settings_t *now, const gb_setting_t *row, int reveal,
                         apr_pool_t *p)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    gb_settings_json(&out, now, row, reveal, p);
    return gb_json_root(out.data, out.len);
}

/* Whatever escapes a client writes. */
static int same_text(gb_span_t a, gb_span_t b, apr_pool_t *p)
{
    const char *text = gb_json_str(b, NULL, p);

    return text && gb_json_eq(a, text);
}

/* The clear value in the place of a mask: the element with the same mask (each once), or the member
 * of the same name. */
static gb_span_t clear_of(gb_json_iter_t *it, gb_span_t masked, gb_span_t clear, char *used,
                          apr_pool_t *p)
{
    gb_json_iter_t m, c;
    size_t i;

    gb_json_iter(&m, masked);
    gb_json_iter(&c, clear);
    for (i = 0; gb_json_next(&m) && gb_json_next(&c); i++) {
        if (!used[i] && same_text(m.value, it->value, p)
            && (!it->key.p || same_text(m.key, it->key, p))) {
            used[i] = 1;
            return c.value;
        }
    }
    return it->value;
}

static const char *unmask_container(gb_span_t value, gb_span_t masked, gb_span_t clear,
                                    apr_pool_t *p)
{
    char *used = apr_pcalloc(p, gb_json_count(masked) + 1);
    int in_object = gb_json_kind(value) == GB_JSON_OBJECT;
    gb_json_iter_t it;
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    gb_buf_putc(&out, in_object ? '{' : '[');
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        gb_buf_puts(&out, it.index ? "," : "");
        if (in_object) {
            gb_json_put_span(&out, it.key);
            gb_buf_putc(&out, ':');
        }
        gb_json_put_span(&out, clear_of(&it, masked, clear, used, p));
    }
    gb_buf_putc(&out, in_object ? '}' : ']');
    return out.data;
}

static const char *unmask(const gb_setting_t *row, gb_span_t value, const gb_settings_t *now,
                          apr_pool_t *p)
{
    gb_span_t masked = json_of(now, row, 0, p), clear = json_of(now, row, 1, p);
    gb_json_kind_t kind = gb_json_kind(value);
    const char *given;

    if (kind == GB_JSON_OBJECT || kind == GB_JSON_ARRAY) {
        return gb_json_kind(masked) == kind ? unmask_container(value, masked, clear, p) : NULL;
    }
    given = gb_json_str(value, NULL, p);
    return given && gb_json_kind(masked) == GB_JSON_STRING && gb_json_eq(masked, given)
               ? gb_json_str(clear, NULL, p)
               : NULL;
}

/* ---- the two ways ---- */

const char *core_value_text(const gb_setting_t *row, gb_span_t value, const gb_settings_t *now,
                            int *is_null, const char **why, apr_pool_t *p)
{
    gb_json_kind_t kind = gb_json_kind(value);
    const char *text = NULL;
    size_t len;

    *is_null = kind == GB_JSON_NULL;
    if (*is_null) {
        return "";
    }
    if (!takes(row->type, kind)) {
        *why = apr_psprintf(p, "%s wants %s", row->name, wanted(row->type));
        return NULL;
    }
    if (gb_saved_is_secret(row) || row->type == GB_TYPE_URL) { /* an address may have a password */
        text = unmask(row, value, now, p);
    }
    if (text) {
        return text;
    }
    if (kind != GB_JSON_STRING) {
        return apr_pstrmemdup(p, value.p, value.len);
    }
    text = gb_json_str(value, &len, p);
    if (strlen(text) != len) {
        *why = apr_psprintf(p, "%s holds a NUL character", row->name);
        return NULL;
    }
    return text;
}

void core_value_json(gb_buf_t *out, const gb_setting_t *row, const char *text, apr_pool_t *p)
{
    gb_settings_t *scratch;
    const char *why;

    if (!text) {
        gb_buf_puts(out, "null");
        return;
    }
    scratch = gb_settings_make(p);
    if (gb_settings_set(scratch, row, text, &why, p) == APR_SUCCESS) {
        gb_settings_json(out, scratch, row, 0, p);
    }
    else {
        gb_json_put_cstr(out, gb_saved_is_secret(row) ? "" : text);
    }
}
