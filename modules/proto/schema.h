/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Schema on its way to Gemini, through one of two doors:
 * gb_schema_clean keeps it JSON Schema (parametersJsonSchema,
 * responseJsonSchema) without the keywords that Google refuses;
 * gb_schema_lower turns it into Google's older Schema (no $ref, no const,
 * upper-case types).  What a keyword that must go said is kept as a hint in the
 * description.  Names of properties are never taken for keywords.
 *
 * Spans in, bytes out: numbers, strings and the order of members survive.
 */
#ifndef GB_SCHEMA_H
#define GB_SCHEMA_H

#include <apr_pools.h>
#include "base/buf.h"
#include "base/json.h"

#define GB_SCHEMA_NO_BOUNDS  1u /* leave out minItems, maximum and their like */
#define GB_SCHEMA_TEXT_ENUMS 2u /* enums become strings (functions' parameters, lowered) */
#define GB_SCHEMA_SNAKE      4u /* any_of is anyOf, and so on: Google takes both in its own Schema */

apr_status_t gb_schema_clean(gb_buf_t *out, gb_span_t schema, unsigned flags, apr_pool_t *p);
apr_status_t gb_schema_lower(gb_buf_t *out, gb_span_t schema, unsigned flags, apr_pool_t *p);

#endif
