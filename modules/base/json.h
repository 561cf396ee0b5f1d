/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON by byte ranges.  What only passes through (tool arguments and results,
 * schemas, embeddings, native bodies) is never rebuilt from a tree: a tree
 * turns 19.99 into 19.989999999999998 and refuses 30-digit integers and lone
 * surrogates.  The scanner checks a text once and then hands out ranges
 * (gb_span_t) of it; the writer copies them.
 *
 * Every function but gb_json_check expects text that gb_json_check accepted.
 * Spans point into the caller's text and live as long as it does.  Pure: no
 * globals, any thread.
 */
#ifndef GB_JSON_H
#define GB_JSON_H

#include <stddef.h>
#include <apr_pools.h>
#include "base/buf.h"

typedef struct gb_span_t {
    const char *p; /* NULL: not there */
    size_t len;
} gb_span_t;

typedef enum {
    GB_JSON_NONE, /* span.p is NULL */
    GB_JSON_OBJECT,
    GB_JSON_ARRAY,
    GB_JSON_STRING,
    GB_JSON_NUMBER,
    GB_JSON_TRUE,
    GB_JSON_FALSE,
    GB_JSON_NULL
} gb_json_kind_t;

#define GB_JSON_MAX_DEPTH 100

/* What is wrong, for a client's eyes: "unexpected character at byte 17". */
typedef struct gb_json_fault_t {
    size_t offset;
    char message[96];
    int has_lone_surrogate; /* set on success too: see gb_json_mend */
} gb_json_fault_t;

/*
 * Whether text is exactly one JSON value (RFC 8259) in valid UTF-8, at most
 * GB_JSON_MAX_DEPTH deep, white space around it allowed, a BOM refused.
 * \u0000 and lone surrogate escapes are accepted; the latter are told.
 * Returns APR_SUCCESS or APR_EINVAL with *fault filled.
 */
apr_status_t gb_json_check(const char *text, size_t len, gb_json_fault_t *fault);

/* Appends text with every lone surrogate escape replaced by \ufffd. */
apr_status_t gb_json_mend(gb_buf_t *out, const char *text, size_t len);

/* The value without the white space around it. */
gb_span_t gb_json_root(const char *text, size_t len);
gb_json_kind_t gb_json_kind(gb_span_t value);

/*
 * The value of a member, by its decoded name; the last one wins when the name
 * stands twice (as in Google's and jansson's parsers).  {NULL,0} when absent or
 * when object is no object.
 */
gb_span_t gb_json_get(gb_span_t object, const char *name);
/* The same for n names in one walk over the text: values[i] is that of names[i]. */
void gb_json_get_all(gb_span_t object, const char *const *names, size_t n, gb_span_t *values);
/* The same for either of two spellings (lowerCamel and snake_case). */
gb_span_t gb_json_get2(gb_span_t object, const char *name, const char *other);
/* Along a path of member names, "a.b.c"; array elements as "a.0". */
gb_span_t gb_json_path(gb_span_t root, const char *path);

/* for (gb_json_iter(&it, v); gb_json_next(&it); ) use it.key (objects, with quotes) and it.value */
typedef struct gb_json_iter_t {
    gb_span_t key; /* raw, with its quotes; {NULL,0} in arrays */
    gb_span_t value;
    size_t index; /* 0-based */
    const char *at, *end;
    int in_object;
} gb_json_iter_t;

void gb_json_iter(gb_json_iter_t *it, gb_span_t container);
int gb_json_next(gb_json_iter_t *it);
size_t gb_json_count(gb_span_t container);

/* Whether a raw string (with quotes) decodes to exactly text. */
int gb_json_eq(gb_span_t string, const char *text);

/*
 * Decodes a string value to UTF-8, from p.  Lone surrogates become U+FFFD,
 * \u0000 stays a NUL byte (see *len).  NULL when value is no string.
 */
const char *gb_json_str(gb_span_t value, size_t *len, apr_pool_t *p);
/* Decodes into buf without its quotes; APR_EINVAL when value is no string. */
apr_status_t gb_json_str_append(gb_buf_t *out, gb_span_t value);

/* Numbers.  Return 0 and leave *n alone when value is no number or does not fit. */
int gb_json_int(gb_span_t value, apr_int64_t *n); /* integral only; 3.0 and 1e2 count as integral */
int gb_json_double(gb_span_t value, double *n);
/* true and false; returns 0 for all else. */
int gb_json_bool(gb_span_t value, int *flag);
/* Google's parser takes 64-bit integers as strings too. */
int gb_json_int_or_str(gb_span_t value, apr_int64_t *n);

/* ---- writing ---- */

apr_status_t gb_json_put_span(gb_buf_t *out, gb_span_t raw);
/* Quotes and escapes UTF-8 bytes; invalid bytes become U+FFFD. */
apr_status_t gb_json_put_str(gb_buf_t *out, const char *text, size_t len);
apr_status_t gb_json_put_cstr(gb_buf_t *out, const char *text); /* NULL writes null */
/* A text that sep divides, as a list of strings; "" is an empty one. */
apr_status_t gb_json_put_split(gb_buf_t *out, const char *text, char sep);
/* Escapes without quotes, for a string that is written in pieces. */
apr_status_t gb_json_put_escaped(gb_buf_t *out, const char *text, size_t len);
/* Copies raw JSON without insignificant white space. */
apr_status_t gb_json_put_compact(gb_buf_t *out, gb_span_t raw);

/* One replacement in an object: the minimal edit of a native body. */
typedef struct gb_json_edit_t {
    const char *name;
    gb_span_t value; /* {NULL,0}: remove the member */
} gb_json_edit_t;

/* Copies object with the edits applied; untouched bytes stay as they are; new members go last. */
apr_status_t gb_json_edit(gb_buf_t *out, gb_span_t object, const gb_json_edit_t *edits, size_t n);

#endif
