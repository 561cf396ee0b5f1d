/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rendering: the tree of nodes is walked with a stack of values.  Asked for one
 * part, everything is walked all the same and only the part is written: so a
 * part has the surroundings that it has on the whole page.
 */
#include "base/template_int.h"

#include <string.h>

#include <apr_strings.h>

#define DEPTH_MAX 60 /* templates that include each other end here */
#define PATH_LEN  120

typedef struct frame_t {
    const json_t *value;
    const struct frame_t *outer;
} frame_t;

typedef struct renderer_t {
    gb_buf_t *out;
    const gb_templates_t *set;
    const gb_render_t *how;
    int is_quiet; /* outside of the part that is asked for */
    int found;
    int depth;
} renderer_t;

/* ---- values ---- */

/* Below a value: "b.c" of "a.b.c". */
static const json_t *descend(const json_t *value, const char *path)
{
    char name[PATH_LEN];

    while (value && *path) {
        size_t len = strcspn(path, ".");

        if (len >= sizeof(name)) {
            return NULL;
        }
        apr_cpystrn(name, path, len + 1);
        value = json_object_get(value, name);
        path += len + (path[len] == '.');
    }
    return value;
}

static const json_t *lookup(const frame_t *frame, const char *path)
{
    char first[PATH_LEN];
    size_t len = strcspn(path, ".");

    if (len == 0) {
        return frame->value; /* "." */
    }
    if (len >= sizeof(first)) {
        return NULL;
    }
    apr_cpystrn(first, path, len + 1);
    for (; frame; frame = frame->outer) {
        const json_t *value = json_object_get(frame->value, first);

        if (value) {
            return descend(value, path + len + (path[len] == '.'));
        }
    }
    return NULL;
}

static int is_true(const json_t *value)
{
    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_NULL:
    case JSON_FALSE:
        return 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(value) != 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_OBJECT:
    case JSON_TRUE:
        return 1;
    }
    return 0;
}

static void put_plain(gb_buf_t *out, const json_t *value)
{
    if (json_is_string(value)) {
        gb_buf_append(out, json_string_value(value), json_string_length(value));
    }
    else if (json_is_integer(value)) {
        gb_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    else if (json_is_real(value)) {
        gb_buf_printf(out, "%.10g", json_real_value(value));
    }
    else if (json_is_true(value)) {
        gb_buf_puts(out, "true");
    }
}

static int equals(const json_t *value, const char *text)
{
    gb_buf_t buf;
    int same;

    gb_buf_init(&buf, GB_BUF_MAX_LINE);
    put_plain(&buf, value);
    same = strcmp(buf.data ? buf.data : "", text) == 0;
    gb_buf_free(&buf);
    return same;
}

/* ---- escaping ---- */

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void put_escaped(gb_buf_t *out, const char *text, size_t len)
{
    size_t i, from = 0;

    for (i = 0; i < len; i++) {
        const char *name = entity(text[i]);

        if (name) {
            gb_buf_append(out, text + from, i - from);
            gb_buf_puts(out, name);
            from = i + 1;
        }
    }
    gb_buf_append(out, text + from, len - from);
}

static void put_value(gb_buf_t *out, const json_t *value, const gb_filter_t *filter,
                      const gb_render_t *how)
{
    gb_buf_t buf;

    if (filter && filter->is_markup) {
        if (json_is_number(value)) {
            filter->fn(out, value, how);
        }
        return;
    }
    gb_buf_init(&buf, out->max);
    if (filter) {
        filter->fn(&buf, value, how);
    }
    else {
        put_plain(&buf, value);
    }
    put_escaped(out, buf.data ? buf.data : "", buf.len);
    gb_buf_free(&buf);
}

/* ---- words ---- */

/* The name between braces at `at`, its filter and what comes behind; NULL: none. */
static const char *placeholder(const char *at, char *name, const gb_filter_t **filter)
{
    const char *end = *at == '{' ? strchr(at, '}') : NULL;
    size_t len = end ? (size_t)(end - at - 1) : 0, n;

    if (len == 0 || len >= PATH_LEN) {
        return NULL;
    }
    n = strcspn(at + 1, "|}");
    apr_cpystrn(name, at + 1, n + 1);
    *filter = n < len ? gb_filter_find(at + 2 + n, len - n - 1) : NULL;
    return end + 1;
}

/* The part of "one | many" that the first placeholder's number asks for. */
static const char *plural(const char *words, size_t *len, const frame_t *frame)
{
    const char *bar = strstr(words, " | "), *open = strchr(words, '{');
    char name[PATH_LEN];
    const gb_filter_t *filter;
    const json_t *count;

    *len = strlen(words);
    if (!bar) {
        return words;
    }
    if (!open) {
        open = "";
    }
    count = placeholder(open, name, &filter) ? lookup(frame, name) : NULL;
    if (json_is_number(count) && json_number_value(count) == 1) {
        *len = (size_t)(bar - words);
        return words;
    }
    *len -= (size_t)(bar + 3 - words);
    return bar + 3;
}

static const char *translated(const char *words, const gb_render_t *how)
{
    const char *other = how->words ? json_string_value(json_object_get(how->words, words)) : NULL;

    return other && *other ? other : words;
}

typedef void put_text_fn(gb_buf_t *out, const char *text, size_t len);

static void put_as_it_is(gb_buf_t *out, const char *text, size_t len)
{
    gb_buf_append(out, text, len);
}

static void put_words(gb_buf_t *out, const char *words, const frame_t *frame,
                      const gb_render_t *how, put_text_fn *put)
{
    size_t len;
    const char *at = plural(translated(words, how), &len, frame), *end = at + len;
    char name[PATH_LEN];
    const gb_filter_t *filter = NULL;

    while (at < end) {
        size_t run = strcspn(at, "{");
        const char *next;

        if (run > (size_t)(end - at)) {
            run = (size_t)(end - at);
        }
        put(out, at, run);
        at += run;
        if (at == end) {
            break;
        }
        next = placeholder(at, name, &filter);
        if (!next) {
            put(out, at, 1);
            at++;
        }
        else {
            const json_t *value = lookup(frame, name);

            if (put == put_as_it_is && !filter) {
                put_plain(out, value);
            }
            else {
                put_value(out, value, filter, how);
            }
            at = next;
        }
    }
}

void gb_template_words(gb_buf_t *out, const char *words, const json_t *data, const gb_render_t *how)
{
    frame_t frame = {data, NULL};

    put_words(out, words, &frame, how, put_as_it_is);
}

/* ---- nodes ---- */

static void render_list(renderer_t *to, const gb_node_t *node, const frame_t *frame);

static void render_icon(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    gb_buf_puts(to->out, "<svg class=\"i\" aria-hidden=\"true\"><use href=\"");
    put_escaped(to->out, to->how->icons, strlen(to->how->icons));
    gb_buf_puts(to->out, "#i-");
    if (node->is_named) {
        put_value(to->out, lookup(frame, node->text), NULL, to->how);
    }
    else {
        put_escaped(to->out, node->text, node->len);
    }
    gb_buf_puts(to->out, "\"/></svg>");
}

static void render_section(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    const json_t *value = lookup(frame, node->text);
    frame_t inner = {value, frame};
    size_t i;

    if (node->equals) {
        if (equals(value, node->equals)) {
            render_list(to, node->child, frame);
        }
    }
    else if (json_is_array(value)) {
        for (i = 0; i < json_array_size(value); i++) {
            inner.value = json_array_get(value, i);
            render_list(to, node->child, &inner);
        }
    }
    else if (is_true(value)) {
        render_list(to, node->child, &inner);
    }
}

static void render_inverted(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    const json_t *value = lookup(frame, node->text);

    if (node->equals ? !equals(value, node->equals) : !is_true(value)) {
        render_list(to, node->child, frame);
    }
}

static void render_block(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    int is_asked = to->how->part && to->is_quiet && strcmp(to->how->part, node->text) == 0;

    if (is_asked) {
        to->is_quiet = 0;
        to->found = 1;
    }
    render_list(to, node->child, frame);
    to->is_quiet |= is_asked;
}

static void render_partial(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    const char *name = strcmp(node->text, "page") == 0 ? to->how->page : node->text;

    if (name) {
        render_list(to, apr_hash_get(to->set->by_name, name, APR_HASH_KEY_STRING), frame);
    }
}

/* What only writes. */
static void render_leaf(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    switch (node->kind) {
    case GB_NODE_TEXT:
        gb_buf_append(to->out, node->text, node->len);
        break;
    case GB_NODE_VALUE:
        put_value(to->out, lookup(frame, node->text), node->filter, to->how);
        break;
    case GB_NODE_WORDS:
        put_words(to->out, node->text, frame, to->how, put_escaped);
        break;
    case GB_NODE_ICON:
        render_icon(to, node, frame);
        break;
    case GB_NODE_SECTION:
    case GB_NODE_INVERTED:
    case GB_NODE_BLOCK:
    case GB_NODE_PARTIAL:
        break;
    }
}

static void render_node(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    switch (node->kind) {
    case GB_NODE_SECTION:
        render_section(to, node, frame);
        break;
    case GB_NODE_INVERTED:
        render_inverted(to, node, frame);
        break;
    case GB_NODE_BLOCK:
        render_block(to, node, frame);
        break;
    case GB_NODE_PARTIAL:
        render_partial(to, node, frame);
        break;
    case GB_NODE_TEXT:
    case GB_NODE_VALUE:
    case GB_NODE_WORDS:
    case GB_NODE_ICON:
        if (!to->is_quiet) {
            render_leaf(to, node, frame);
        }
        break;
    }
}

static void render_list(renderer_t *to, const gb_node_t *node, const frame_t *frame)
{
    if (to->depth >= DEPTH_MAX) {
        return;
    }
    to->depth++;
    for (; node; node = node->next) {
        render_node(to, node, frame);
    }
    to->depth--;
}

apr_status_t gb_template_render(gb_buf_t *out, const gb_templates_t *set, const char *name,
                                const json_t *data, const gb_render_t *how)
{
    renderer_t to = {out, set, how, how->part != NULL, 0, 0};
    const gb_node_t *first = apr_hash_get(set->by_name, name, APR_HASH_KEY_STRING);
    frame_t frame = {data, NULL};

    if (!first || (how->page && !apr_hash_get(set->by_name, how->page, APR_HASH_KEY_STRING))) {
        return APR_NOTFOUND;
    }
    render_list(&to, first, &frame);
    if (how->part && !to.found) {
        return APR_NOTFOUND;
    }
    return out->rv;
}
