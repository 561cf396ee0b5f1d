/* SPDX-License-Identifier: Apache-2.0 */
/* What parsing and rendering of templates share, and the filters. */
#ifndef GB_TEMPLATE_INT_H
#define GB_TEMPLATE_INT_H

#include <apr_hash.h>

#include "base/template.h"

/* A filter writes text that needs no escaping any more, or text that the caller escapes. */
typedef void gb_filter_fn(gb_buf_t *out, const json_t *value, const gb_render_t *how);

typedef struct gb_filter_t {
    const char *name;
    gb_filter_fn *fn;
    int is_markup;
} gb_filter_t;

/* NULL: there is none of that name. */
const gb_filter_t *gb_filter_find(const char *name, size_t len);

typedef enum {
    GB_NODE_TEXT,
    GB_NODE_VALUE,
    GB_NODE_SECTION,
    GB_NODE_INVERTED,
    GB_NODE_BLOCK,
    GB_NODE_PARTIAL,
    GB_NODE_WORDS,
    GB_NODE_ICON
} gb_node_kind_t;

typedef struct gb_node_t {
    gb_node_kind_t kind;
    const char *text; /* what is written, or the name; from the pool unless of kind TEXT */
    size_t len;
    const char *equals;        /* of {{#name=text}}, NULL */
    const gb_filter_t *filter; /* NULL: none */
    int is_named;              /* an icon whose name stands in the tree */
    struct gb_node_t *child, *next;
} gb_node_t;

struct gb_templates_t {
    apr_hash_t *by_name; /* const char * -> gb_node_t *, the first of a list */
};

#endif
