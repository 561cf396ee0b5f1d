/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTML from a jansson tree: a small Mustache.  Whatever comes from the tree is
 * escaped, always: there is no way to write a value as it is.
 *
 *   {{name}} {{a.b}} {{.}}       a value, looked for outwards from the innermost section
 *   {{name|filter}}              the same, shown by a filter (below)
 *   {{#name}}..{{/name}}         once for each element of an array; inside an object; once for any
 *                                other value but null, false, 0, "" and []
 *   {{#name=text}}..{{/name}}    when the value is that text
 *   {{^name}}..{{/name}}         when it is none of those; {{^name=text}} likewise
 *   {{$name}}..{{/name}}         a part that can be rendered alone
 *   {{>name}}                    another template; {{>page}} is the one that gb_render_t names
 *   {{_ Some words with {name}}} the words in the reader's language; {name|filter} as above.  With
 *                                " | " in them the first part is for 1 of the first placeholder:
 *                                {{_ {n} key | {n} keys}}
 *   {{icon key}} {{icon =name}}  a symbol of the sprite; the second takes its name from the tree
 *   {{! remark}}
 *
 * Filters: n (10,000), short (61.2 k), pct (of a fraction), bytes, ms (of milliseconds), t (the
 * value is words to be translated), url (inside a query), json; and of seconds since 1970, in the
 * reader's zone: clock (14:29:40), when (14:29 today or within the day
 * to come, else with the date), stamp, day, and left (how
 * long it is until then, counted down by the page).
 *
 * Parsed once and never changed; any thread may render.
 */
#ifndef GB_TEMPLATE_H
#define GB_TEMPLATE_H

#include <jansson.h>
#include <apr_pools.h>

#include "base/buf.h"
#include "base/timeutil.h"

typedef struct gb_templates_t gb_templates_t;

typedef struct gb_template_file_t {
    const char *name; /* "keys"; NULL ends a list */
    const char *text;
} gb_template_file_t;

/* APR_EINVAL: *why names file, line and fault.  The texts must live as long as p. */
apr_status_t gb_templates_parse(gb_templates_t **pset, const gb_template_file_t *files,
                                const char **why, apr_pool_t *p);

/* For whom. */
typedef struct gb_render_t {
    const char *page;      /* what {{>page}} stands for, NULL */
    const char *part;      /* this part alone, NULL: all */
    const json_t *words;   /* English -> the reader's language; NULL: none */
    const char *icons;     /* address of the sprite */
    const gb_zone_t *zone; /* NULL: UTC */
    apr_time_t now;
} gb_render_t;

/* APR_NOTFOUND: there is no such template, or no such part was come by. */
apr_status_t gb_template_render(gb_buf_t *out, const gb_templates_t *set, const char *name,
                                const json_t *data, const gb_render_t *how);

/* Words of ours in the reader's language, with {name} taken from data; for messages that are no part
 * of a template.  Not escaped: what shows them does that. */
void gb_template_words(gb_buf_t *out, const char *words, const json_t *data,
                       const gb_render_t *how);

#endif
