/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Gemini surface share: what a route says about its
 * answer.  Private to modules/proto/gemini*.c.
 */
#ifndef GB_GEMINI_INT_H
#define GB_GEMINI_INT_H

#include "proto/features.h"
#include "proto/gemini.h"
#include "proto/url.h"

typedef enum {
    GEMINI_WHOLE,  /* one JSON value */
    GEMINI_SSE,    /* streamGenerateContent with alt=sse */
    GEMINI_ARRAY,  /* streamGenerateContent without: one array, piece by piece */
    GEMINI_EVENTS, /* a stream of events whose meaning is not ours */
    GEMINI_BYTES   /* a download, or a form of answer that is not JSON */
} gemini_form_t;

/* What of a client's body may be edited, and what was. */
typedef struct gemini_edit_t {
    const gb_settings_t *settings;
    const char *body; /* the client's own, but for schemas that were refused */
    size_t body_len;
    gb_model_t model;
    unsigned variant;
    unsigned added, dropped;
} gemini_edit_t;

/* A stream that may have to be continued when the upstream cuts it. */
typedef struct gemini_rest_t {
    int keeps;     /* whether it may be */
    int other;     /* something beside text passed: it cannot */
    int continued; /* what is read now is the rest */
    int seam_open; /* it is not known yet where that begins */
    gb_buf_t said, held;
    gb_span_t first_body;
    const gb_facts_t *facts; /* of the attempt that runs */
    gb_facts_t before;       /* of those that broke off */
} gemini_rest_t;

/* plan->state */
typedef struct gemini_call_t {
    const gb_settings_t *settings;
    gemini_edit_t *edit; /* NULL: nothing is ever put in */
    gemini_form_t form;
    int taps;         /* the answer is a GenerateContentResponse, or one of its family */
    int needs_finish; /* a stream without a finishReason was cut */
    int opened;       /* something of the answer went out; array form: so the bracket is open */
    int bracket_told; /* array form: a heartbeat has opened it */
    gemini_rest_t rest;
} gemini_call_t;

/* ---- gemini_edit.c ---- */

/* Makes plan->body: the client's own bytes, or a copy with what the features ask for. */
apr_status_t gb_gemini_edit(gb_plan_t *plan, gemini_edit_t *edit);
apr_status_t gb_gemini_drop_field(gb_plan_t *plan, const char *field);
/* A body that repeats the name of the path (asked) gets the one that is called. */
void gb_gemini_rename(gb_plan_t *plan, const char *asked);
/* A list of models without the filtered ones; APR_NOTFOUND: it has none of them. */
apr_status_t gb_gemini_hide_models(gb_buf_t *out, const char *bytes, size_t len,
                                   const gb_settings_t *settings, apr_pool_t *p);

/* ---- gemini_schema.c ---- */

/* A body with the schemas lowered that have a word which was refused; {NULL,0}: none has it. */
gb_span_t gb_gemini_lower(gb_span_t body, const char *word, apr_pool_t *p);

/* ---- gemini_names.c: what exists for one key only ---- */

void gb_gemini_name_in_path(gb_plan_t *plan, const char *path);
/* The page of a list that a query asks for: the raw value of its pageToken. */
void gb_gemini_name_of_page(gb_plan_t *plan, const char *value, size_t len);
void gb_gemini_tap_made(gb_facts_t *facts, const gb_plan_t *plan, gb_span_t json);
void gb_gemini_tap_begun(gb_facts_t *facts, const gb_plan_t *plan, const char *event, size_t len);

/* ---- gemini_continue.c ---- */

/* Keeps what an event says. */
void gb_gemini_said(gemini_call_t *call, gb_span_t root);
/* The dialect's go_on. */
apr_status_t gb_gemini_go_on(gb_plan_t *plan);
/* Writes one event of the rest as the client gets it, or keeps it. */
void gb_gemini_rest_event(gemini_call_t *call, gb_buf_t *out, gb_span_t root);

/* ---- gemini_route.c ---- */

apr_status_t gb_gemini_parse_request(gb_plan_t **pplan, const gb_request_t *request,
                                     const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p);

#endif
