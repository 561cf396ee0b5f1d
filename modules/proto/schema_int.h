/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A schema as both doors see it: its keywords sorted into slots, with the
 * branches of allOf merged in.  Only schema*.c include this.
 */
#ifndef GB_SCHEMA_INT_H
#define GB_SCHEMA_INT_H

#include <apr_hash.h>
#include <apr_tables.h>
#include "proto/schema.h"

/* Nested schemas at most, and schemas that one schema may unfold to. */
#define GB_SCHEMA_MAX_DEPTH 64
#define GB_SCHEMA_MAX_NODES 20000
/* Branches of allOf within branches of allOf. */
#define GB_SCHEMA_MAX_MERGE 8

typedef enum {
    WORD_REF,
    WORD_ID,
    WORD_ANCHOR,
    WORD_TYPE,
    WORD_FORMAT,
    WORD_TITLE,
    WORD_DESCRIPTION,
    WORD_NULLABLE,
    WORD_ENUM,
    WORD_CONST,
    WORD_ITEMS,
    WORD_PREFIX_ITEMS,
    WORD_ADDITIONAL,
    WORD_ANY_OF,
    WORD_ONE_OF,
    WORD_MIN_ITEMS,
    WORD_MAX_ITEMS,
    WORD_MINIMUM,
    WORD_MAXIMUM,
    WORD_MIN_LENGTH,
    WORD_MAX_LENGTH,
    WORD_PATTERN,
    WORD_MIN_PROPERTIES,
    WORD_MAX_PROPERTIES,
    WORD_DEFAULT,
    WORD_EXAMPLE,
    WORD_ORDERING,
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
    WORD_N
} word_t;

extern const char *const gb_schema_words[WORD_N];

typedef struct property_t {
    gb_span_t key; /* raw, with quotes */
    gb_span_t value;
} property_t;

typedef struct view_t {
    gb_span_t word[WORD_N];
    apr_array_header_t *properties; /* of property_t, in order */
    apr_array_header_t *defs;       /* of property_t */
    apr_array_header_t *required;   /* of gb_span_t, raw strings */
    apr_hash_t *by_name;            /* decoded name -> index + 1 in properties */
} view_t;

/* One run of either door. */
typedef struct schema_run_t {
    gb_span_t root;
    gb_buf_t *out;
    apr_pool_t *p;
    unsigned flags;
    int depth;
    int nodes;
    int members;              /* of properties and $defs, of all views */
    apr_array_header_t *open; /* of const char *: targets of $ref that are unfolded now */
} schema_run_t;

/* Reads value and, merged into it, what its allOf says. */
void gb_schema_view(schema_run_t *run, view_t *view, gb_span_t value);
/* Adds what value says where view does not say it. */
void gb_schema_merge(schema_run_t *run, view_t *view, gb_span_t value, int depth);
/* What a local $ref means, {NULL,0} when nothing. */
gb_span_t gb_schema_target(const schema_run_t *run, gb_span_t ref);
/* What an enum or const holds. */
typedef struct values_t {
    int texts, numbers, nulls, others;
} values_t;

void gb_schema_values(values_t *values, const view_t *view);

/* "description" with what the given keywords said, in words; writes nothing when there is
 * neither.  comma is written first. */
void gb_schema_describe(schema_run_t *run, const view_t *view, const word_t *hints, size_t n,
                        const char *comma, const char *note);
/* "required":[..] of names that are properties. */
void gb_schema_required(schema_run_t *run, const view_t *view, const char *comma);

#endif
