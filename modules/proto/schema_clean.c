/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Door 2: JSON Schema stays JSON Schema.  Keywords that Google refuses go, and
 * what they said goes into the description; const becomes an enum, nullable a
 * type, definitions $defs.
 */
#include "proto/schema_int.h"

#include <string.h>
#include <apr_strings.h>

static void schema_put(schema_run_t *run, gb_span_t value);

/* Copied as they are. */
static const word_t plain[] = {WORD_ID, WORD_ANCHOR, WORD_FORMAT, WORD_TITLE, WORD_ORDERING};
static const word_t bounds[] = {WORD_MIN_ITEMS, WORD_MAX_ITEMS, WORD_MINIMUM, WORD_MAXIMUM};

/* Told in words. */
static const word_t hints[] = {
    WORD_EXCLUSIVE_MINIMUM,
    WORD_EXCLUSIVE_MAXIMUM,
    WORD_MULTIPLE_OF,
    WORD_MIN_LENGTH,
    WORD_MAX_LENGTH,
    WORD_PATTERN,
    WORD_UNIQUE_ITEMS,
    WORD_MIN_PROPERTIES,
    WORD_MAX_PROPERTIES,
    WORD_NOT,
    WORD_IF,
    WORD_THEN,
    WORD_ELSE,
    WORD_PATTERN_PROPERTIES,
    WORD_PROPERTY_NAMES,
    WORD_DEPENDENT_REQUIRED,
    WORD_CONTAINS,
};

#define N_HINTS (sizeof(hints) / sizeof(*hints))

/* The object that is being written: members begin with what stands here. */
typedef struct object_t {
    const char *comma;
} object_t;

static void member(schema_run_t *run, object_t *object, const char *name)
{
    gb_buf_printf(run->out, "%s\"%s\":", object->comma, name);
    object->comma = ",";
}

static void copy(schema_run_t *run, object_t *object, const char *name, gb_span_t value)
{
    if (value.p != NULL && gb_json_kind(value) != GB_JSON_NULL) {
        member(run, object, name);
        gb_json_put_compact(run->out, value);
    }
}

/* "#/definitions/x" -> "#/$defs/x" */
static void ref_put(schema_run_t *run, object_t *object, gb_span_t ref)
{
    static const char old[] = "\"#/definitions/";

    member(run, object, "$ref");
    if (ref.len >= sizeof(old) - 1 && memcmp(ref.p, old, sizeof(old) - 1) == 0) {
        gb_buf_puts(run->out, "\"#/$defs/");
        gb_buf_append(run->out, ref.p + sizeof(old) - 1, ref.len - (sizeof(old) - 1));
    }
    else {
        gb_json_put_span(run->out, ref);
    }
}

static int is_true(gb_span_t value)
{
    return gb_json_kind(value) == GB_JSON_TRUE;
}

static void type_put(schema_run_t *run, object_t *object, const view_t *view)
{
    gb_span_t type = view->word[WORD_TYPE];
    gb_json_iter_t it;
    int has_null = 0;

    if (!is_true(view->word[WORD_NULLABLE]) || type.p == NULL) {
        copy(run, object, "type", type);
        return;
    }
    if (gb_json_eq(type, "null")) {
        copy(run, object, "type", type);
        return;
    }
    if (gb_json_kind(type) == GB_JSON_STRING) {
        member(run, object, "type");
        gb_buf_putc(run->out, '[');
        gb_json_put_span(run->out, type);
        gb_buf_puts(run->out, ",\"null\"]");
        return;
    }
    for (gb_json_iter(&it, type); gb_json_next(&it);) {
        has_null |= gb_json_eq(it.value, "null");
    }
    if (has_null || gb_json_kind(type) != GB_JSON_ARRAY || gb_json_count(type) == 0) {
        copy(run, object, "type", type);
        return;
    }
    member(run, object, "type");
    gb_buf_append(run->out, type.p, type.len - 1);
    gb_buf_puts(run->out, ",\"null\"]");
}

/* Texts and numbers are all that Google takes in an enum. */
static void enum_put(schema_run_t *run, object_t *object, const view_t *view,
                     const values_t *values)
{
    const char *before = "[";
    gb_json_iter_t it;

    if (values->others > 0 || values->texts + values->numbers == 0) {
        return;
    }
    member(run, object, "enum");
    if (view->word[WORD_CONST].p != NULL) {
        gb_buf_putc(run->out, '[');
        gb_json_put_compact(run->out, view->word[WORD_CONST]);
    }
    else {
        for (gb_json_iter(&it, view->word[WORD_ENUM]); gb_json_next(&it);) {
            if (gb_json_kind(it.value) != GB_JSON_NULL) {
                gb_buf_puts(run->out, before);
                gb_json_put_compact(run->out, it.value);
                before = ",";
            }
        }
    }
    gb_buf_putc(run->out, ']');
}

static void list_put(schema_run_t *run, object_t *object, const char *name, gb_span_t list)
{
    gb_json_iter_t it;

    if (gb_json_kind(list) != GB_JSON_ARRAY || gb_json_count(list) == 0) {
        return;
    }
    member(run, object, name);
    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        gb_buf_putc(run->out, it.index > 0 ? ',' : '[');
        schema_put(run, it.value);
    }
    gb_buf_putc(run->out, ']');
}

static void map_put(schema_run_t *run, object_t *object, const char *name,
                    const apr_array_header_t *map)
{
    int i;

    if (map->nelts == 0) {
        return;
    }
    member(run, object, name);
    for (i = 0; i < map->nelts; i++) {
        gb_buf_putc(run->out, i > 0 ? ',' : '{');
        gb_json_put_span(run->out, APR_ARRAY_IDX(map, i, property_t).key);
        gb_buf_putc(run->out, ':');
        schema_put(run, APR_ARRAY_IDX(map, i, property_t).value);
    }
    gb_buf_putc(run->out, '}');
}

static void one_put(schema_run_t *run, object_t *object, const char *name, gb_span_t value)
{
    if (value.p != NULL && gb_json_kind(value) != GB_JSON_NULL) {
        member(run, object, name);
        schema_put(run, value);
    }
}

static void array_put(schema_run_t *run, object_t *object, const view_t *view)
{
    gb_span_t items = view->word[WORD_ITEMS];

    if (gb_json_kind(items) == GB_JSON_ARRAY) { /* tuples of older drafts */
        list_put(run, object, "prefixItems", items);
        return;
    }
    one_put(run, object, "items", items);
    list_put(run, object, "prefixItems", view->word[WORD_PREFIX_ITEMS]);
}

static void additional_put(schema_run_t *run, object_t *object, gb_span_t value)
{
    switch (gb_json_kind(value)) {
    case GB_JSON_TRUE:
    case GB_JSON_FALSE:
        copy(run, object, "additionalProperties", value);
        break;
    case GB_JSON_OBJECT:
        one_put(run, object, "additionalProperties", value);
        break;
    default:
        break;
    }
}

/* What an enum or const of other values says is told in words. */
static void describe(schema_run_t *run, object_t *object, const view_t *view,
                     const values_t *values)
{
    word_t told[N_HINTS + 2];
    size_t before = run->out->len, n = N_HINTS;

    memcpy(told, hints, sizeof(hints));
    if (values->others > 0) {
        told[n++] = WORD_ENUM;
        told[n++] = WORD_CONST;
    }
    gb_schema_describe(run, view, told, n, object->comma, NULL);
    object->comma = run->out->len > before ? "," : object->comma;
}

static void required_put(schema_run_t *run, object_t *object, const view_t *view)
{
    size_t before = run->out->len;

    gb_schema_required(run, view, object->comma);
    object->comma = run->out->len > before ? "," : object->comma;
}

/* null among the values is a type beside the others; other values only tell theirs. */
static void type_mend(view_t *view, const values_t *values)
{
    static const char null_type[] = "\"null\"", bool_type[] = "\"boolean\"";
    static const char text_type[] = "\"string\"", number_type[] = "\"number\"";
    gb_span_t *type = &view->word[WORD_TYPE];

    if (values->nulls > 0) {
        view->word[WORD_NULLABLE] = (gb_span_t){"true", 4};
    }
    if (type->p == NULL && values->nulls > 0 && values->texts + values->numbers == 0) {
        *type = (gb_span_t){null_type, sizeof(null_type) - 1};
    }
    else if (type->p == NULL && values->nulls > 0 && values->others == 0
             && (values->texts == 0 || values->numbers == 0)) {
        *type = values->texts > 0 ? (gb_span_t){text_type, sizeof(text_type) - 1}
                                  : (gb_span_t){number_type, sizeof(number_type) - 1};
    }
    if (type->p == NULL
        && (gb_json_kind(view->word[WORD_CONST]) == GB_JSON_TRUE
            || gb_json_kind(view->word[WORD_CONST]) == GB_JSON_FALSE)) {
        *type = (gb_span_t){bool_type, sizeof(bool_type) - 1};
    }
}

static void words_put(schema_run_t *run, object_t *object, view_t *view)
{
    values_t values;
    size_t i;

    gb_schema_values(&values, view);
    type_mend(view, &values);
    type_put(run, object, view);
    for (i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
        copy(run, object, gb_schema_words[plain[i]], view->word[plain[i]]);
    }
    describe(run, object, view, &values);
    enum_put(run, object, view, &values);
    for (i = 0; i < sizeof(bounds) / sizeof(*bounds) && !(run->flags & GB_SCHEMA_NO_BOUNDS); i++) {
        copy(run, object, gb_schema_words[bounds[i]], view->word[bounds[i]]);
    }
    array_put(run, object, view);
    list_put(run, object, "anyOf", view->word[WORD_ANY_OF]);
    list_put(run, object, "oneOf", view->word[WORD_ONE_OF]);
    map_put(run, object, "properties", view->properties);
    additional_put(run, object, view->word[WORD_ADDITIONAL]);
    required_put(run, object, view);
}

static void schema_put(schema_run_t *run, gb_span_t value)
{
    object_t object = {""};
    view_t view;

    if (++run->nodes > GB_SCHEMA_MAX_NODES || run->depth > GB_SCHEMA_MAX_DEPTH) {
        run->out->rv = APR_ENOSPC;
        return;
    }
    run->depth++;
    gb_schema_view(run, &view, value);
    if (view.word[WORD_REF].p != NULL && view.properties->nelts > 0) {
        gb_span_t target = gb_schema_target(run, view.word[WORD_REF]);

        view.word[WORD_REF] = (gb_span_t){NULL, 0};
        gb_schema_merge(run, &view, target, 0);
    }
    gb_buf_putc(run->out, '{');
    if (gb_json_kind(view.word[WORD_REF]) == GB_JSON_STRING) {
        ref_put(run, &object, view.word[WORD_REF]); /* nothing else may stand beside it */
    }
    else {
        words_put(run, &object, &view);
    }
    map_put(run, &object, "$defs", view.defs);
    gb_buf_putc(run->out, '}');
    run->depth--;
}

apr_status_t gb_schema_clean(gb_buf_t *out, gb_span_t schema, unsigned flags, apr_pool_t *p)
{
    schema_run_t run = {.root = schema, .out = out, .p = p, .flags = flags};

    schema_put(&run, schema);
    return run.nodes > GB_SCHEMA_MAX_NODES ? APR_ENOSPC : out->rv;
}
