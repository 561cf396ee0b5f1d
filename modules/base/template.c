/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing of templates: from text with tags to a tree of nodes.  Every fault is
 * found here and named by file and line, so that rendering has none.
 */
#include "base/template_int.h"

#include <string.h>

#include <apr_strings.h>

#define DEPTH_MAX 24

typedef struct parser_t {
    const char *file, *text, *at;
    const char **why;
    apr_pool_t *pool;
    int depth;
} parser_t;

/* A tag without its braces and without blanks around. */
typedef struct tag_t {
    const char *start; /* of the braces */
    const char *text;
    size_t len;
} tag_t;

static int fault_at(parser_t *parser, const char *at, const char *fault, const char *what,
                    size_t len)
{
    const char *c;
    int line = 1;

    for (c = parser->text; c < at; c++) {
        line += *c == '\n';
    }
    if (!*parser->why) {
        *parser->why = apr_psprintf(parser->pool, "%s, line %d: %s%s%.*s", parser->file, line,
                                    fault, len ? " " : "", (int)len, what);
    }
    return 0;
}

static void trim(const char **text, size_t *len)
{
    while (*len && strchr(" \t\r\n", **text)) {
        (*text)++;
        (*len)--;
    }
    while (*len && strchr(" \t\r\n", (*text)[*len - 1])) {
        (*len)--;
    }
}

/* The next tag from parser->at on, which moves behind it.  0: there is none, or a fault. */
static int next_tag(parser_t *parser, tag_t *tag)
{
    const char *open = strstr(parser->at, "{{"), *close;

    if (!open) {
        return 0;
    }
    close = strstr(open + 2, "}}");
    if (!close) {
        return fault_at(parser, open, "a tag has no end", "", 0);
    }
    while (close[2] == '}') { /* the last two of a row: "{{_ of {n}}}" */
        close++;
    }
    tag->start = open;
    tag->text = open + 2;
    tag->len = (size_t)(close - tag->text);
    trim(&tag->text, &tag->len);
    parser->at = close + 2;
    return tag->len ? 1 : fault_at(parser, open, "a tag is empty", "", 0);
}

static gb_node_t *node_add(parser_t *parser, gb_node_t ***tail, gb_node_kind_t kind)
{
    gb_node_t *node = apr_pcalloc(parser->pool, sizeof(*node));

    node->kind = kind;
    **tail = node;
    *tail = &node->next;
    return node;
}

static void node_name(parser_t *parser, gb_node_t *node, const char *text, size_t len)
{
    trim(&text, &len);
    node->text = apr_pstrmemdup(parser->pool, text, len);
    node->len = len;
}

static int is_name(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", text[i])) {
            return 0;
        }
    }
    return len > 0;
}

/* "name|filter" */
static int value_tag(parser_t *parser, gb_node_t *node, const tag_t *tag)
{
    const char *bar = memchr(tag->text, '|', tag->len);
    size_t len = bar ? (size_t)(bar - tag->text) : tag->len;

    node_name(parser, node, tag->text, len);
    if (!is_name(node->text, node->len)) {
        return fault_at(parser, tag->start, "this is no name:", tag->text, tag->len);
    }
    if (bar) {
        const char *filter = bar + 1;
        size_t n = tag->len - len - 1;

        trim(&filter, &n);
        node->filter = gb_filter_find(filter, n);
        if (!node->filter) {
            return fault_at(parser, tag->start, "there is no filter", filter, n);
        }
    }
    return 1;
}

static int parse_list(parser_t *parser, gb_node_t **first, const gb_node_t *inside);

/* "name" or "name=text", with what stands inside. */
static int section_tag(parser_t *parser, gb_node_t *node, const tag_t *tag)
{
    const char *equals = memchr(tag->text, '=', tag->len);
    size_t len = equals ? (size_t)(equals - tag->text) : tag->len;

    node_name(parser, node, tag->text + 1, len - 1);
    if (equals) {
        const char *text = equals + 1;
        size_t n = tag->len - len - 1;

        trim(&text, &n);
        node->equals = apr_pstrmemdup(parser->pool, text, n);
    }
    if (!is_name(node->text, node->len)) {
        return fault_at(parser, tag->start, "this is no name:", tag->text, tag->len);
    }
    if (++parser->depth > DEPTH_MAX) {
        return fault_at(parser, tag->start, "too many sections inside each other", "", 0);
    }
    if (!parse_list(parser, &node->child, node)) {
        return 0;
    }
    parser->depth--;
    return 1;
}

/* The words as they are looked up: in one line. */
static void words_tag(parser_t *parser, gb_node_t *node, const tag_t *tag)
{
    char *words, *to;
    const char *from;

    node_name(parser, node, tag->text + 1, tag->len - 1);
    words = to = apr_pstrmemdup(parser->pool, node->text, node->len);
    for (from = node->text; *from; from++) {
        char c = strchr("\t\r\n", *from) ? ' ' : *from;

        if (c != ' ' || (to > words && to[-1] != ' ')) {
            *to++ = c;
        }
    }
    *to = '\0';
    node->text = words;
    node->len = (size_t)(to - words);
}

static void icon_tag(parser_t *parser, gb_node_t *node, const tag_t *tag)
{
    node_name(parser, node, tag->text + 5, tag->len - 5);
    if (*node->text == '=') {
        node->is_named = 1;
        node->text++;
        node->len--;
    }
}

static int is_icon(const tag_t *tag)
{
    return tag->len > 5 && strncmp(tag->text, "icon ", 5) == 0;
}

static int other_tag(parser_t *parser, gb_node_t ***tail, const tag_t *tag)
{
    switch (*tag->text) {
    case '!':
        return 1;
    case '#':
        return section_tag(parser, node_add(parser, tail, GB_NODE_SECTION), tag);
    case '^':
        return section_tag(parser, node_add(parser, tail, GB_NODE_INVERTED), tag);
    case '$':
        return section_tag(parser, node_add(parser, tail, GB_NODE_BLOCK), tag);
    case '>':
        node_name(parser, node_add(parser, tail, GB_NODE_PARTIAL), tag->text + 1, tag->len - 1);
        return 1;
    case '_':
        words_tag(parser, node_add(parser, tail, GB_NODE_WORDS), tag);
        return 1;
    default:
        if (is_icon(tag)) {
            icon_tag(parser, node_add(parser, tail, GB_NODE_ICON), tag);
            return 1;
        }
        return value_tag(parser, node_add(parser, tail, GB_NODE_VALUE), tag);
    }
}

static void text_node(parser_t *parser, gb_node_t ***tail, const char *from, const char *to)
{
    gb_node_t *node;

    if (to > from) {
        node = node_add(parser, tail, GB_NODE_TEXT);
        node->text = from;
        node->len = (size_t)(to - from);
    }
}

/* Whether the closing tag is that of the section. */
static int closes(parser_t *parser, const tag_t *tag, const gb_node_t *inside)
{
    const char *name = tag->text + 1;
    size_t len = tag->len - 1;

    trim(&name, &len);
    if (!inside || inside->len != len || strncmp(inside->text, name, len) != 0) {
        return fault_at(parser, tag->start, "this closes nothing that is open:", name, len);
    }
    return 1;
}

/* Up to the end of the section `inside`, or of the text. */
static int parse_list(parser_t *parser, gb_node_t **first, const gb_node_t *inside)
{
    gb_node_t **tail = first;
    const char *from = parser->at;
    tag_t tag;

    while (next_tag(parser, &tag)) {
        text_node(parser, &tail, from, tag.start);
        if (*tag.text == '/') {
            return closes(parser, &tag, inside);
        }
        if (!other_tag(parser, &tail, &tag)) {
            return 0;
        }
        from = parser->at;
    }
    if (*parser->why) {
        return 0;
    }
    if (inside) {
        return fault_at(parser, from, "this section has no end:", inside->text, inside->len);
    }
    text_node(parser, &tail, from, from + strlen(from));
    return 1;
}

/* ---- partials ---- */

static int partials_known(const gb_templates_t *set, const gb_node_t *node, const char **missing)
{
    for (; node; node = node->next) {
        if (node->kind == GB_NODE_PARTIAL && strcmp(node->text, "page") != 0
            && !apr_hash_get(set->by_name, node->text, APR_HASH_KEY_STRING)) {
            *missing = node->text;
            return 0;
        }
        if (!partials_known(set, node->child, missing)) {
            return 0;
        }
    }
    return 1;
}

static int all_partials_known(const gb_templates_t *set, const gb_template_file_t *files,
                              const char **why, apr_pool_t *p)
{
    const char *missing;

    for (; files->name; files++) {
        if (!partials_known(set, apr_hash_get(set->by_name, files->name, APR_HASH_KEY_STRING),
                            &missing)) {
            *why = apr_psprintf(p, "%s: there is no template %s", files->name, missing);
            return 0;
        }
    }
    return 1;
}

apr_status_t gb_templates_parse(gb_templates_t **pset, const gb_template_file_t *files,
                                const char **why, apr_pool_t *p)
{
    gb_templates_t *set = apr_palloc(p, sizeof(*set));
    const gb_template_file_t *file;

    set->by_name = apr_hash_make(p);
    *why = NULL;
    for (file = files; file->name; file++) {
        parser_t parser = {file->name, file->text, file->text, why, p, 0};
        gb_node_t empty = {0}, *first = NULL;

        if (!parse_list(&parser, &first, NULL)) {
            return APR_EINVAL;
        }
        apr_hash_set(set->by_name, file->name, APR_HASH_KEY_STRING,
                     first ? first : apr_pmemdup(p, &empty, sizeof(empty)));
    }
    if (!all_partials_known(set, files, why, p)) {
        return APR_EINVAL;
    }
    *pset = set;
    return APR_SUCCESS;
}
