/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemas of a client's own that the upstream has refused for one of their
 * words: such a schema is lowered to what Google's Schema has, and what the word
 * said stands in the description.  A schema without that word, and whatever
 * stands beside schemas, is not touched.
 */
#include "proto/gemini_int.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>

#include "proto/schema.h"

/* Where a schema may stand, and its other door, which takes JSON Schema as it is. */
typedef struct spot_t {
    const char *camel, *snake;
    const char *json_camel, *json_snake;
    unsigned flags; /* of gb_schema_lower */
} spot_t;

static const spot_t parameters = {"parameters", "parameters", "parametersJsonSchema",
                                  "parameters_json_schema", GB_SCHEMA_TEXT_ENUMS};
static const spot_t response = {"responseSchema", "response_schema", "responseJsonSchema",
                                "response_json_schema", 0};

typedef struct lower_t {
    const char *word; /* refused; or a json_camel: that whole door is */
    apr_pool_t *p;
    int depth;
} lower_t;

/* ---- whether the word stands in it ---- */

static int has_word(lower_t *lower, gb_span_t schema);

static int any_has_word(lower_t *lower, gb_span_t list)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        if (has_word(lower, it.value)) {
            return 1;
        }
    }
    return 0;
}

static int all_texts(gb_span_t list)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        if (gb_json_kind(it.value) != GB_JSON_STRING) {
            return 0;
        }
    }
    return 1;
}

/* Whether key is the refused word in any of its spellings: any_of is anyOf. */
static int is_spelled(gb_span_t key, const char *word)
{
    const char *at = key.p + 1, *end = key.p + key.len - 1;

    for (;; at++, word++) {
        at += at < end && *at == '_';
        word += *word == '_';
        if (at == end || *word == '\0') {
            return at == end && *word == '\0';
        }
        if (apr_tolower(*at) != apr_tolower(*word)) {
            return 0;
        }
    }
}

/* Two words are refused only for what they hold: several types, enums of numbers. */
static int is_refused(const lower_t *lower, gb_span_t key, gb_span_t value)
{
    if (!is_spelled(key, lower->word)) {
        return 0;
    }
    if (gb_json_eq(key, "type")) {
        return gb_json_kind(value) != GB_JSON_STRING;
    }
    return !gb_json_eq(key, "enum") || !all_texts(value);
}

/* Names of properties are no words. */
static int has_word(lower_t *lower, gb_span_t schema)
{
    static const char *const maps[] = {"properties", "$defs", "definitions"};
    static const char *const others[] = {"items", "anyOf",  "any_of",      "oneOf",       "one_of",
                                         "allOf", "all_of", "prefixItems", "prefix_items"};
    gb_json_iter_t it;
    int found = 0;
    size_t i;

    if (gb_json_kind(schema) == GB_JSON_ARRAY) {
        return any_has_word(lower, schema);
    }
    if (gb_json_kind(schema) != GB_JSON_OBJECT || lower->depth > GB_JSON_MAX_DEPTH) {
        return 0;
    }
    lower->depth++;
    for (gb_json_iter(&it, schema); !found && gb_json_next(&it);) {
        found = is_refused(lower, it.key, it.value);
    }
    for (i = 0; !found && i < sizeof(maps) / sizeof(maps[0]); i++) {
        found = any_has_word(lower, gb_json_get(schema, maps[i]));
    }
    for (i = 0; !found && i < sizeof(others) / sizeof(others[0]); i++) {
        found = has_word(lower, gb_json_get(schema, others[i]));
    }
    lower->depth--;
    return found;
}

/* ---- lowering ---- */

/* {NULL,0}: it stays as it is. */
static gb_span_t lowered(const lower_t *lower, gb_span_t schema, unsigned flags)
{
    gb_span_t nothing = {NULL, 0};
    gb_buf_t out;

    if (gb_json_kind(schema) != GB_JSON_OBJECT) {
        return nothing;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, lower->p);
    if (gb_schema_lower(&out, schema, flags, lower->p) != APR_SUCCESS) {
        return nothing;
    }
    return gb_json_root(out.data, out.len);
}

/* A function, or generationConfig, with its schema lowered; {NULL,0}: nothing was to be done. */
static gb_span_t lower_holder(lower_t *lower, gb_span_t holder, const spot_t *spot)
{
    int door = strcasecmp(lower->word, spot->json_camel) == 0;
    gb_span_t schema = door ? gb_json_get2(holder, spot->json_camel, spot->json_snake)
                            : gb_json_get2(holder, spot->camel, spot->snake);
    gb_span_t nothing = {NULL, 0}, value;
    gb_json_edit_t edits[3];
    gb_buf_t out;

    if (!door && !has_word(lower, schema)) {
        return nothing;
    }
    value = lowered(lower, schema, spot->flags | (door ? 0 : GB_SCHEMA_SNAKE));
    if (value.p == NULL) {
        return nothing;
    }
    edits[0].name = gb_json_get(holder, spot->snake).p != NULL ? spot->snake : spot->camel;
    edits[0].value = value;
    edits[1].name = spot->json_camel;
    edits[2].name = spot->json_snake;
    edits[1].value = edits[2].value = nothing;
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, lower->p);
    return gb_json_edit(&out, holder, edits, door ? 3 : 1) == APR_SUCCESS
               ? gb_json_root(out.data, out.len)
               : nothing;
}

typedef gb_span_t lower_fn(lower_t *lower, gb_span_t value);

/* A list whose elements fn has changed; {NULL,0}: it has changed none. */
static gb_span_t lower_list(lower_t *lower, gb_span_t list, lower_fn *fn)
{
    gb_span_t nothing = {NULL, 0};
    gb_json_iter_t it;
    gb_buf_t out;
    int n = 0;

    if (gb_json_kind(list) != GB_JSON_ARRAY) {
        return nothing;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, lower->p);
    gb_buf_putc(&out, '[');
    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        gb_span_t changed = fn(lower, it.value);

        n += changed.p != NULL;
        gb_buf_puts(&out, it.index > 0 ? "," : "");
        gb_json_put_span(&out, changed.p != NULL ? changed : it.value);
    }
    gb_buf_putc(&out, ']');
    return n > 0 && out.rv == APR_SUCCESS ? gb_json_root(out.data, out.len) : nothing;
}

/* The member under either of two names, put back as fn has changed it. */
static gb_span_t lower_member(lower_t *lower, gb_span_t object, const char *camel,
                              const char *snake, lower_fn *fn)
{
    gb_json_edit_t edit = {
        gb_json_get(object, snake).p != NULL ? snake : camel, {NULL, 0}
    };
    gb_span_t nothing = {NULL, 0};
    gb_buf_t out;

    edit.value = fn(lower, gb_json_get(object, edit.name));
    if (edit.value.p == NULL) {
        return nothing;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, lower->p);
    return gb_json_edit(&out, object, &edit, 1) == APR_SUCCESS ? gb_json_root(out.data, out.len)
                                                               : nothing;
}

static gb_span_t lower_function(lower_t *lower, gb_span_t function)
{
    return lower_holder(lower, function, &parameters);
}

static gb_span_t lower_functions(lower_t *lower, gb_span_t list)
{
    return lower_list(lower, list, lower_function);
}

static gb_span_t lower_tool(lower_t *lower, gb_span_t tool)
{
    return lower_member(lower, tool, "functionDeclarations", "function_declarations",
                        lower_functions);
}

static gb_span_t lower_tools(lower_t *lower, gb_span_t tools)
{
    return lower_list(lower, tools, lower_tool);
}

static gb_span_t lower_config(lower_t *lower, gb_span_t config)
{
    return lower_holder(lower, config, &response);
}

gb_span_t gb_gemini_lower(gb_span_t body, const char *word, apr_pool_t *p)
{
    lower_t lower = {word, p, 0};
    gb_span_t tools = lower_member(&lower, body, "tools", "tools", lower_tools);
    gb_span_t with_tools = tools.p != NULL ? tools : body;
    gb_span_t both = lower_member(&lower, with_tools, "generationConfig", "generation_config",
                                  lower_config);

    return both.p != NULL ? both : tools;
}
