/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Door 1: JSON Schema as Google's Schema, an OpenAPI subset of 22 fields.
 * References are inlined (a recursive one twice), null becomes nullable,
 * several types become anyOf, enums are strings.
 */
#include "proto/schema_int.h"

#include <string.h>
#include <apr_strings.h>

/* How often one reference may stand inside of itself. */
#define UNFOLD_MAX 2

static void schema_put(schema_run_t *run, gb_span_t value);

static const word_t bounds[] = {
    WORD_MIN_ITEMS,  WORD_MAX_ITEMS,      WORD_MINIMUM,        WORD_MAXIMUM, WORD_MIN_LENGTH,
    WORD_MAX_LENGTH, WORD_MIN_PROPERTIES, WORD_MAX_PROPERTIES, WORD_PATTERN,
};

static const word_t hints[] = {
    WORD_EXCLUSIVE_MINIMUM,
    WORD_EXCLUSIVE_MAXIMUM,
    WORD_MULTIPLE_OF,
    WORD_UNIQUE_ITEMS,
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

static const char *const formats[] = {
    "date-time", "date", "time", "enum", "int32", "int64", "float", "double",
};

static const struct {
    const char *json;
    const char *google;
} types[] = {
    {"string",  "STRING" },
    {"number",  "NUMBER" },
    {"integer", "INTEGER"},
    {"boolean", "BOOLEAN"},
    {"array",   "ARRAY"  },
    {"object",  "OBJECT" },
};

#define N_TYPES (sizeof(types) / sizeof(*types))

/* The types that a view may have, null apart. */
typedef struct typing_t {
    const char *type[N_TYPES];
    int n;
    int nullable;
} typing_t;

/* ---- types ---- */

static void type_add(typing_t *typing, gb_span_t name)
{
    size_t i;
    int k;

    if (gb_json_eq(name, "null") || gb_json_eq(name, "NULL")) {
        typing->nullable = 1;
        return;
    }
    for (i = 0; i < N_TYPES; i++) {
        if (!gb_json_eq(name, types[i].json) && !gb_json_eq(name, types[i].google)) {
            continue;
        }
        for (k = 0; k < typing->n && typing->type[k] != types[i].google; k++) {
        }
        if (k == typing->n) {
            typing->type[typing->n++] = types[i].google;
        }
    }
}

static const char *type_of_value(gb_span_t value)
{
    double n;

    switch (gb_json_kind(value)) {
    case GB_JSON_STRING:
        return "STRING";
    case GB_JSON_NUMBER: {
        apr_int64_t whole;

        return gb_json_int(value, &whole) ? "INTEGER" : "NUMBER";
    }
    case GB_JSON_TRUE:
    case GB_JSON_FALSE:
        return "BOOLEAN";
    default:
        return gb_json_double(value, &n) ? "NUMBER" : NULL;
    }
}

static gb_span_t first_element(gb_span_t list)
{
    gb_json_iter_t it;

    gb_json_iter(&it, list);
    return gb_json_next(&it) ? it.value : (gb_span_t){NULL, 0};
}

/* A schema without a type tells it by what it speaks of. */
static const char *type_inferred(const view_t *view)
{
    if (view->properties->nelts > 0
        || gb_json_kind(view->word[WORD_ADDITIONAL]) == GB_JSON_OBJECT) {
        return "OBJECT";
    }
    if (view->word[WORD_ITEMS].p != NULL || view->word[WORD_PREFIX_ITEMS].p != NULL) {
        return "ARRAY";
    }
    if (view->word[WORD_CONST].p != NULL) {
        return type_of_value(view->word[WORD_CONST]);
    }
    if (gb_json_kind(view->word[WORD_ENUM]) == GB_JSON_ARRAY) {
        return type_of_value(first_element(view->word[WORD_ENUM]));
    }
    return NULL;
}

static void typing_read(typing_t *typing, const view_t *view)
{
    gb_span_t type = view->word[WORD_TYPE];
    gb_json_iter_t it;
    const char *inferred;

    memset(typing, 0, sizeof(*typing));
    typing->nullable = gb_json_kind(view->word[WORD_NULLABLE]) == GB_JSON_TRUE;
    if (gb_json_kind(type) == GB_JSON_STRING) {
        type_add(typing, type);
    }
    else if (gb_json_kind(type) == GB_JSON_ARRAY) {
        for (gb_json_iter(&it, type); gb_json_next(&it);) {
            type_add(typing, it.value);
        }
    }
    if (typing->n == 0 && (inferred = type_inferred(view)) != NULL) {
        typing->type[typing->n++] = inferred;
    }
}

/* ---- alternatives ---- */

static int is_null_schema(gb_span_t value)
{
    gb_span_t type = gb_json_get(value, "type");

    return gb_json_eq(type, "null") || gb_json_kind(gb_json_get(value, "const")) == GB_JSON_NULL;
}

/* The branches that are not null; *last is one of them. */
static int branches_count(gb_span_t list, gb_span_t *last, int *nullable)
{
    gb_json_iter_t it;
    int n = 0;

    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        if (is_null_schema(it.value)) {
            *nullable = 1;
        }
        else {
            *last = it.value;
            n++;
        }
    }
    return n;
}

static gb_span_t alternatives(const view_t *view)
{
    gb_span_t list = view->word[WORD_ANY_OF];

    return gb_json_kind(list) == GB_JSON_ARRAY ? list : view->word[WORD_ONE_OF];
}

static void any_of_put(schema_run_t *run, gb_span_t list)
{
    const char *comma = ",\"anyOf\":[";
    gb_json_iter_t it;

    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        if (!is_null_schema(it.value)) {
            gb_buf_puts(run->out, comma);
            schema_put(run, it.value);
            comma = ",";
        }
    }
    gb_buf_putc(run->out, ']');
}

/* ---- references ---- */

static int open_count(const schema_run_t *run, const char *target)
{
    int i, n = 0;

    for (i = 0; i < run->open->nelts; i++) {
        n += APR_ARRAY_IDX(run->open, i, const char *) == target;
    }
    return n;
}

/*
 * Takes in what $ref and a lonely branch mean until neither is left; *cut tells
 * that a reference was too deep in itself.  Returns how many were opened.
 */
static int unfold(schema_run_t *run, view_t *view, int *nullable, int *cut)
{
    gb_span_t target, only = {NULL, 0};
    int opened = 0;

    for (;;) {
        if (view->word[WORD_REF].p != NULL) {
            target = gb_schema_target(run, view->word[WORD_REF]);
            view->word[WORD_REF] = (gb_span_t){NULL, 0};
            if (target.p == NULL || open_count(run, target.p) >= UNFOLD_MAX
                || run->depth + opened > GB_SCHEMA_MAX_DEPTH) {
                *cut = target.p != NULL;
                return opened;
            }
            APR_ARRAY_PUSH(run->open, const char *) = target.p;
            opened++;
            gb_schema_merge(run, view, target, 0);
            continue;
        }
        target = alternatives(view);
        if (gb_json_kind(target) != GB_JSON_ARRAY || branches_count(target, &only, nullable) != 1
            || ++run->nodes > GB_SCHEMA_MAX_NODES) {
            return opened;
        }
        view->word[WORD_ANY_OF] = view->word[WORD_ONE_OF] = (gb_span_t){NULL, 0};
        gb_schema_merge(run, view, only, 0);
    }
}

/* ---- members ---- */

static void copy(schema_run_t *run, const view_t *view, word_t word)
{
    gb_span_t value = view->word[word];

    if (value.p != NULL && gb_json_kind(value) != GB_JSON_NULL) {
        gb_buf_printf(run->out, ",\"%s\":", gb_schema_words[word]);
        gb_json_put_compact(run->out, value);
    }
}

static void format_put(schema_run_t *run, const view_t *view)
{
    size_t i;

    for (i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        if (gb_json_eq(view->word[WORD_FORMAT], formats[i])) {
            copy(run, view, WORD_FORMAT);
        }
    }
}

/* Numbers and the like as strings. */
static void enum_value_put(gb_buf_t *out, gb_span_t value)
{
    if (gb_json_kind(value) == GB_JSON_STRING) {
        gb_json_put_span(out, value);
        return;
    }
    gb_buf_putc(out, '"');
    gb_json_put_escaped(out, value.p, value.len);
    gb_buf_putc(out, '"');
}

static void enum_put(schema_run_t *run, gb_span_t list)
{
    const char *comma = ",\"enum\":[";
    gb_json_iter_t it;

    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        if (gb_json_kind(it.value) != GB_JSON_NULL) {
            gb_buf_puts(run->out, comma);
            enum_value_put(run->out, it.value);
            comma = ",";
        }
    }
    gb_buf_puts(run->out, *comma == ',' && comma[1] == '\0' ? "]" : "");
}

static void items_put(schema_run_t *run, const view_t *view)
{
    gb_span_t items = view->word[WORD_ITEMS];

    if (gb_json_kind(items) != GB_JSON_OBJECT) {
        items = first_element(gb_json_kind(items) == GB_JSON_ARRAY ? items
                                                                   : view->word[WORD_PREFIX_ITEMS]);
    }
    gb_buf_puts(run->out, ",\"items\":");
    if (gb_json_kind(items) == GB_JSON_OBJECT && gb_json_count(items) > 0) {
        schema_put(run, items);
    }
    else {
        gb_buf_puts(run->out, "{\"type\":\"STRING\"}"); /* an array without items is a 400 */
    }
}

static void properties_put(schema_run_t *run, const view_t *view)
{
    int i;

    for (i = 0; i < view->properties->nelts; i++) {
        gb_buf_puts(run->out, i > 0 ? "," : ",\"properties\":{");
        gb_json_put_span(run->out, APR_ARRAY_IDX(view->properties, i, property_t).key);
        gb_buf_putc(run->out, ':');
        schema_put(run, APR_ARRAY_IDX(view->properties, i, property_t).value);
    }
    if (i > 0) {
        gb_buf_putc(run->out, '}');
        gb_schema_required(run, view, ",");
        copy(run, view, WORD_ORDERING);
    }
}

/* Several types: what belongs to one of them goes into its branch. */
static void types_put(schema_run_t *run, const typing_t *typing, const view_t *view)
{
    int i;

    gb_buf_puts(run->out, ",\"anyOf\":[");
    for (i = 0; i < typing->n; i++) {
        gb_buf_printf(run->out, "%s{\"type\":\"%s\"", i > 0 ? "," : "", typing->type[i]);
        if (strcmp(typing->type[i], "ARRAY") == 0) {
            items_put(run, view);
        }
        else if (strcmp(typing->type[i], "OBJECT") == 0) {
            properties_put(run, view);
        }
        gb_buf_putc(run->out, '}');
    }
    gb_buf_putc(run->out, ']');
}

/*
 * The enum as a list (a const is a list of one, made in the pool), when it can
 * be written: Google's enums are texts.
 */
static gb_span_t enum_list(schema_run_t *run, const view_t *view, const values_t *values)
{
    gb_span_t one = view->word[WORD_CONST];
    char *list;

    if (values->texts + values->numbers + values->others == 0
        || (values->numbers + values->others > 0 && !(run->flags & GB_SCHEMA_TEXT_ENUMS))) {
        return (gb_span_t){NULL, 0};
    }
    if (one.p == NULL) {
        return view->word[WORD_ENUM];
    }
    list = apr_palloc(run->p, one.len + 2);
    list[0] = '[';
    memcpy(list + 1, one.p, one.len);
    list[one.len + 1] = ']';
    return (gb_span_t){list, one.len + 2};
}

/* Values that no enum holds are told in words. */
static void describe(schema_run_t *run, const view_t *view, const values_t *values, int in_enum,
                     int cut)
{
    word_t told[N_HINTS + 2];
    size_t n = N_HINTS;

    memcpy(told, hints, sizeof(hints));
    if (!in_enum && values->numbers + values->others > 0) {
        told[n++] = WORD_ENUM;
        told[n++] = WORD_CONST;
    }
    gb_schema_describe(run, view, told, n, ",", cut ? "the same again" : NULL);
}

static void type_members_put(schema_run_t *run, const view_t *view, const char *type)
{
    size_t i;

    format_put(run, view);
    if (strcmp(type, "ARRAY") == 0) {
        items_put(run, view);
    }
    if (strcmp(type, "OBJECT") == 0) {
        properties_put(run, view);
    }
    for (i = 0; i < sizeof(bounds) / sizeof(*bounds) && !(run->flags & GB_SCHEMA_NO_BOUNDS); i++) {
        copy(run, view, bounds[i]);
    }
}

/* The body of an object after its description. */
static void body_put(schema_run_t *run, const view_t *view, typing_t *typing, gb_span_t list)
{
    const char *type = typing->n > 0 ? typing->type[0] : "OBJECT";
    gb_span_t any_of = alternatives(view), last;
    int nullable;

    if (gb_json_kind(any_of) == GB_JSON_ARRAY && branches_count(any_of, &last, &nullable) > 0) {
        any_of_put(run, any_of);
        return;
    }
    if (list.p != NULL) {
        gb_buf_puts(run->out, ",\"type\":\"STRING\"");
        enum_put(run, list);
        return;
    }
    if (typing->n > 1) {
        types_put(run, typing, view);
        return;
    }
    gb_buf_printf(run->out, ",\"type\":\"%s\"", type);
    type_members_put(run, view, type);
}

static void schema_put(schema_run_t *run, gb_span_t value)
{
    int nullable = 0, cut = 0, opened;
    size_t start;
    typing_t typing;
    values_t values;
    gb_span_t list;
    view_t view;

    if (++run->nodes > GB_SCHEMA_MAX_NODES || run->depth > GB_SCHEMA_MAX_DEPTH) {
        run->out->rv = APR_ENOSPC;
        return;
    }
    run->depth++;
    gb_schema_view(run, &view, value);
    opened = unfold(run, &view, &nullable, &cut);
    typing_read(&typing, &view);
    gb_schema_values(&values, &view);
    list = enum_list(run, &view, &values);
    start = run->out->len;
    copy(run, &view, WORD_TITLE);
    describe(run, &view, &values, list.p != NULL, cut);
    if (typing.nullable || nullable || values.nulls > 0) {
        gb_buf_puts(run->out, ",\"nullable\":true");
    }
    body_put(run, &view, &typing, list);
    copy(run, &view, WORD_DEFAULT);
    copy(run, &view, WORD_EXAMPLE);
    if (run->out->rv == APR_SUCCESS) {
        run->out->data[start] = '{'; /* the first member's comma */
    }
    gb_buf_putc(run->out, '}');
    while (opened-- > 0) {
        apr_array_pop(run->open);
    }
    run->depth--;
}

apr_status_t gb_schema_lower(gb_buf_t *out, gb_span_t schema, unsigned flags, apr_pool_t *p)
{
    schema_run_t run = {.root = schema, .out = out, .p = p, .flags = flags};

    run.open = apr_array_make(p, 8, sizeof(const char *));
    schema_put(&run, schema);
    return run.nodes > GB_SCHEMA_MAX_NODES ? APR_ENOSPC : out->rv;
}
