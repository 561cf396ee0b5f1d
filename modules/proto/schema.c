/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both doors of schema.h share: keywords sorted into slots, allOf merged,
 * local references looked up, hints put into descriptions.
 */
#include "proto/schema_int.h"

#include <string.h>
#include <apr_lib.h>
#include <apr_strings.h>

const char *const gb_schema_words[WORD_N] = {
    [WORD_REF] = "$ref",
    [WORD_ID] = "$id",
    [WORD_ANCHOR] = "$anchor",
    [WORD_TYPE] = "type",
    [WORD_FORMAT] = "format",
    [WORD_TITLE] = "title",
    [WORD_DESCRIPTION] = "description",
    [WORD_NULLABLE] = "nullable",
    [WORD_ENUM] = "enum",
    [WORD_CONST] = "const",
    [WORD_ITEMS] = "items",
    [WORD_PREFIX_ITEMS] = "prefixItems",
    [WORD_ADDITIONAL] = "additionalProperties",
    [WORD_ANY_OF] = "anyOf",
    [WORD_ONE_OF] = "oneOf",
    [WORD_MIN_ITEMS] = "minItems",
    [WORD_MAX_ITEMS] = "maxItems",
    [WORD_MINIMUM] = "minimum",
    [WORD_MAXIMUM] = "maximum",
    [WORD_MIN_LENGTH] = "minLength",
    [WORD_MAX_LENGTH] = "maxLength",
    [WORD_PATTERN] = "pattern",
    [WORD_MIN_PROPERTIES] = "minProperties",
    [WORD_MAX_PROPERTIES] = "maxProperties",
    [WORD_DEFAULT] = "default",
    [WORD_EXAMPLE] = "example",
    [WORD_ORDERING] = "propertyOrdering",
    [WORD_EXCLUSIVE_MINIMUM] = "exclusiveMinimum",
    [WORD_EXCLUSIVE_MAXIMUM] = "exclusiveMaximum",
    [WORD_MULTIPLE_OF] = "multipleOf",
    [WORD_UNIQUE_ITEMS] = "uniqueItems",
    [WORD_NOT] = "not",
    [WORD_IF] = "if",
    [WORD_THEN] = "then",
    [WORD_ELSE] = "else",
    [WORD_PATTERN_PROPERTIES] = "patternProperties",
    [WORD_PROPERTY_NAMES] = "propertyNames",
    [WORD_DEPENDENT_REQUIRED] = "dependentRequired",
    [WORD_CONTAINS] = "contains",
};

/* ---- references ---- */

/* One step of a JSON pointer: ~1 is "/", ~0 is "~". */
static const char *pointer_step(const char **at, apr_pool_t *p)
{
    const char *end = strchr(*at, '/');
    char *step = end != NULL ? apr_pstrmemdup(p, *at, (apr_size_t)(end - *at))
                             : apr_pstrdup(p, *at);
    char *from, *to;

    *at = end != NULL ? end + 1 : NULL;
    for (from = to = step; *from != '\0'; from++) {
        if (from[0] == '~' && (from[1] == '0' || from[1] == '1')) {
            *to++ = *++from == '1' ? '/' : '~';
        }
        else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return step;
}

static gb_span_t element(gb_span_t container, const char *step)
{
    gb_json_iter_t it;
    char index[32];

    if (gb_json_kind(container) == GB_JSON_OBJECT) {
        return gb_json_get(container, step);
    }
    for (gb_json_iter(&it, container); gb_json_next(&it);) {
        apr_snprintf(index, sizeof(index), "%" APR_SIZE_T_FMT, it.index);
        if (strcmp(index, step) == 0) {
            return it.value;
        }
    }
    return (gb_span_t){NULL, 0};
}

gb_span_t gb_schema_target(const schema_run_t *run, gb_span_t ref)
{
    gb_span_t at = run->root;
    const char *path;
    size_t len;

    if (gb_json_kind(ref) != GB_JSON_STRING || (path = gb_json_str(ref, &len, run->p)) == NULL
        || *path != '#') {
        return (gb_span_t){NULL, 0};
    }
    path++;
    if (*path == '\0') {
        return at;
    }
    if (*path++ != '/') {
        return (gb_span_t){NULL, 0};
    }
    while (path != NULL && at.p != NULL) {
        at = element(at, pointer_step(&path, run->p));
    }
    return at;
}

/* ---- views ---- */

static void property_add(schema_run_t *run, view_t *view, gb_span_t key, gb_span_t value)
{
    size_t len = 0, *slot;
    const char *name;
    property_t *property;

    if (++run->members > GB_SCHEMA_MAX_NODES) {
        run->nodes = GB_SCHEMA_MAX_NODES + 1;
        return;
    }
    name = gb_json_str(key, &len, run->p);
    slot = apr_hash_get(view->by_name, name, (apr_ssize_t)len);
    if (slot != NULL) {
        APR_ARRAY_IDX(view->properties, *slot, property_t).value = value;
        return;
    }
    slot = apr_palloc(run->p, sizeof(*slot));
    *slot = (size_t)view->properties->nelts;
    apr_hash_set(view->by_name, name, (apr_ssize_t)len, slot);
    property = apr_array_push(view->properties);
    property->key = key;
    property->value = value;
}

/* any_of for anyOf */
static int is_snake(gb_span_t key, const char *word)
{
    const char *at = key.p + 1, *end = key.p + key.len - 1;

    for (; *word != '\0' && at < end; word++) {
        if (apr_isupper(*word) && *at++ != '_') {
            return 0;
        }
        if (at == end || *at++ != apr_tolower(*word)) {
            return 0;
        }
    }
    return *word == '\0' && at == end;
}

static int is_word(const schema_run_t *run, gb_span_t key, const char *word)
{
    return gb_json_eq(key, word) || ((run->flags & GB_SCHEMA_SNAKE) && is_snake(key, word));
}

static void word_add(const schema_run_t *run, view_t *view, gb_span_t key, gb_span_t value)
{
    int i;

    for (i = 0; i < WORD_N; i++) {
        if (is_word(run, key, gb_schema_words[i])) {
            if (view->word[i].p == NULL) {
                view->word[i] = value;
            }
            return;
        }
    }
}

static void branches_merge(schema_run_t *run, view_t *view, gb_span_t all_of, int depth)
{
    size_t n = gb_json_count(all_of);
    gb_json_iter_t it;
    gb_span_t target;

    for (gb_json_iter(&it, all_of); gb_json_next(&it);) {
        target = gb_json_get(it.value, "$ref");
        if (n > 1 && target.p != NULL) {
            gb_schema_merge(run, view, gb_schema_target(run, target), depth + 1);
        }
        else {
            gb_schema_merge(run, view, it.value, depth + 1);
        }
    }
}

static void spans_add(apr_array_header_t *list, gb_span_t strings)
{
    gb_json_iter_t it;

    if (gb_json_kind(strings) != GB_JSON_ARRAY) {
        return; /* "required": true of old drafts */
    }
    for (gb_json_iter(&it, strings); gb_json_next(&it);) {
        if (gb_json_kind(it.value) == GB_JSON_STRING) {
            APR_ARRAY_PUSH(list, gb_span_t) = it.value;
        }
    }
}

void gb_schema_merge(schema_run_t *run, view_t *view, gb_span_t value, int depth)
{
    gb_span_t all_of = {NULL, 0};
    gb_json_iter_t it, member;

    if (gb_json_kind(value) != GB_JSON_OBJECT || depth > GB_SCHEMA_MAX_MERGE
        || ++run->nodes > GB_SCHEMA_MAX_NODES) {
        return;
    }
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        if (gb_json_eq(it.key, "properties") && gb_json_kind(it.value) == GB_JSON_OBJECT) {
            for (gb_json_iter(&member, it.value); gb_json_next(&member);) {
                property_add(run, view, member.key, member.value);
            }
        }
        else if ((gb_json_eq(it.key, "$defs") || gb_json_eq(it.key, "definitions"))
                 && gb_json_kind(it.value) == GB_JSON_OBJECT) {
            for (gb_json_iter(&member, it.value); gb_json_next(&member);) {
                if (++run->members <= GB_SCHEMA_MAX_NODES) {
                    APR_ARRAY_PUSH(view->defs, property_t) = (property_t){member.key, member.value};
                }
            }
        }
        else if (gb_json_eq(it.key, "required")) {
            spans_add(view->required, it.value);
        }
        else if (is_word(run, it.key, "allOf") && gb_json_kind(it.value) == GB_JSON_ARRAY) {
            all_of = it.value;
        }
        else {
            word_add(run, view, it.key, it.value);
        }
    }
    branches_merge(run, view, all_of, depth);
}

void gb_schema_view(schema_run_t *run, view_t *view, gb_span_t value)
{
    memset(view, 0, sizeof(*view));
    view->properties = apr_array_make(run->p, 4, sizeof(property_t));
    view->defs = apr_array_make(run->p, 1, sizeof(property_t));
    view->required = apr_array_make(run->p, 4, sizeof(gb_span_t));
    view->by_name = apr_hash_make(run->p);
    gb_schema_merge(run, view, value, 0);
}

static void value_count(values_t *values, gb_span_t value)
{
    switch (gb_json_kind(value)) {
    case GB_JSON_STRING:
        values->texts++;
        break;
    case GB_JSON_NUMBER:
        values->numbers++;
        break;
    case GB_JSON_NULL:
        values->nulls++;
        break;
    default:
        values->others++;
    }
}

void gb_schema_values(values_t *values, const view_t *view)
{
    gb_json_iter_t it;

    memset(values, 0, sizeof(*values));
    if (view->word[WORD_CONST].p != NULL) {
        value_count(values, view->word[WORD_CONST]);
    }
    else if (gb_json_kind(view->word[WORD_ENUM]) == GB_JSON_ARRAY) {
        for (gb_json_iter(&it, view->word[WORD_ENUM]); gb_json_next(&it);) {
            value_count(values, it.value);
        }
    }
}

/* ---- what both write ---- */

/* "uniqueItems": false says nothing. */
static int hint_tells(const view_t *view, word_t word)
{
    gb_json_kind_t kind = gb_json_kind(view->word[word]);

    return kind != GB_JSON_NONE && kind != GB_JSON_NULL
           && (kind != GB_JSON_FALSE || word == WORD_CONST);
}

/* (minLength: 3; pattern: "^a") */
static void hints_put(gb_buf_t *text, const view_t *view, const word_t *hints, size_t n,
                      const char *note)
{
    const char *before = " (";
    size_t i;

    for (i = 0; i < n; i++) {
        if (hint_tells(view, hints[i])) {
            gb_buf_printf(text, "%s%s: ", before, gb_schema_words[hints[i]]);
            gb_json_put_compact(text, view->word[hints[i]]);
            before = "; ";
        }
    }
    if (note != NULL) {
        gb_buf_printf(text, "%s%s", before, note);
        before = "; ";
    }
    if (*before == ';') {
        gb_buf_putc(text, ')');
    }
}

void gb_schema_describe(schema_run_t *run, const view_t *view, const word_t *hints, size_t n,
                        const char *comma, const char *note)
{
    gb_span_t own = view->word[WORD_DESCRIPTION];
    gb_buf_t text;

    gb_buf_init_pool(&text, GB_BUF_MAX_REQUEST, run->p);
    hints_put(&text, view, hints, n, note);
    if (gb_json_kind(own) != GB_JSON_STRING && text.len == 0) {
        return;
    }
    gb_buf_printf(run->out, "%s\"description\":\"", comma);
    if (gb_json_kind(own) == GB_JSON_STRING) {
        gb_buf_append(run->out, own.p + 1, own.len - 2);
    }
    if (text.len > 0) {
        size_t skip = gb_json_kind(own) == GB_JSON_STRING && own.len > 2 ? 0 : 1;

        gb_json_put_escaped(run->out, text.data + skip, text.len - skip);
    }
    gb_buf_putc(run->out, '"');
}

void gb_schema_required(schema_run_t *run, const view_t *view, const char *comma)
{
    const char *name, *before = "";
    size_t len;
    int i;

    for (i = 0; i < view->required->nelts; i++) {
        gb_span_t raw = APR_ARRAY_IDX(view->required, i, gb_span_t);

        name = gb_json_str(raw, &len, run->p);
        if (name == NULL || apr_hash_get(view->by_name, name, (apr_ssize_t)len) == NULL) {
            continue;
        }
        if (*before == '\0') {
            gb_buf_printf(run->out, "%s\"required\":[", comma);
        }
        gb_buf_puts(run->out, before);
        gb_json_put_span(run->out, raw);
        before = ",";
    }
    if (*before != '\0') {
        gb_buf_putc(run->out, ']');
    }
}
