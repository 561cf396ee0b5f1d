/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gemini surface: bodies, unknown fields and response bytes pass untouched;
 * what passes is tapped for usage, finish reason and errors.  Pure (see
 * dialect.h).
 */
#ifndef GB_GEMINI_H
#define GB_GEMINI_H

#include "proto/dialect.h"

extern const gb_dialect_t gb_gemini_dialect;
/* The beginning of a resumable upload: path is what stands behind /upload/v1beta. */
#define GB_UPLOAD_FILES "/files"
extern const gb_dialect_t gb_gemini_upload_dialect;

/*
 * Reads one GenerateContentResponse (a stream's chunk or a whole answer) into
 * facts.  json was checked.  Shared by every translator.  An object with
 * `error`, bare or as the only element of an array, sets has_error and
 * error_json (copied into p); nothing else of it is read.
 */
void gb_gemini_tap(gb_facts_t *facts, gb_span_t json, apr_pool_t *p);

/* Sets plan->names to what one key alone can use, and plan->body (checked or not) refers to. */
void gb_gemini_names_in_body(gb_plan_t *plan);

/* Of a finishReason that came as the enum's number; NULL when nobody knows it. */
const char *gb_gemini_finish_name(gb_span_t number);

/* {"error":{"code","message","status","details"}}, with RetryInfo when err has a retry_after. */
void gb_gemini_error_body(const gb_plan_t *plan, const gb_error_t *err, int midstream,
                          gb_buf_t *out);

#endif
