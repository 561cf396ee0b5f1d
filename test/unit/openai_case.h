/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chat request for tests: from a case's files to a plan, and what answers
 * become of it.
 *
 *   request.json or in.json  the client's body, as bytes
 *   settings.json            settings by name
 *   setup.json               {"method","path","args": of the request,
 *                             "memory": {call id: signature}, "real": [model names],
 *                             "limits": {model: tokens}, "fetch": {url: bytes in hex},
 *                             "drop": [fields that the upstream refuses one after the other]}
 */
#ifndef GB_TEST_OPENAI_CASE_H
#define GB_TEST_OPENAI_CASE_H

#include "cases.h"
#include "proto/dialect.h"

typedef struct openai_case_t {
    apr_pool_t *p;
    const gb_settings_t *settings;
    gb_span_t setup;
    gb_memory_t memory;
    apr_table_t *kept; /* signatures that an answer left, by call id */
    gb_request_t request;
    gb_plan_t *plan;
    gb_error_t err;
    apr_status_t rv;
} openai_case_t;

/* Parses; plan is NULL and err filled when the request was refused. */
void openai_case_open(openai_case_t *c, const gb_dialect_t *dialect, const char *folder,
                      const char *body_name, apr_pool_t *p);
/* The same without files: body may be NULL. */
void openai_case_plain(openai_case_t *c, const gb_dialect_t *dialect, const char *method,
                       const char *path, const char *body, const gb_settings_t *settings,
                       apr_pool_t *p);

/* A later request of the same process: it remembers what an answer to before left. */
void openai_case_next(openai_case_t *c, const openai_case_t *before, const char *body);

/* Facts as an attempt begins with. */
gb_facts_t openai_case_facts(void);

/* Feeds bytes in pieces: cut is where the first one ends (0: not), step their size after it
 * (0: all the rest). */
apr_status_t openai_case_feed(openai_case_t *c, gb_facts_t *facts, gb_buf_t *out, const char *bytes,
                              size_t len, size_t cut, size_t step);

/* {"has_content":..,...} */
void openai_case_facts_put(gb_buf_t *out, const gb_facts_t *facts);

#endif
