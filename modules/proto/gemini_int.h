/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the Gemini surface share: what a route says about its
 * answer.  Private to modules/proto/gemini*.c.
 */
#ifndef GB_GEMINI_INT_H
#define GB_GEMINI_INT_H

#include "proto/gemini.h"

typedef enum {
    GEMINI_WHOLE,  /* one JSON value */
    GEMINI_SSE,    /* streamGenerateContent with alt=sse */
    GEMINI_ARRAY,  /* streamGenerateContent without: one array, piece by piece */
    GEMINI_EVENTS, /* a stream of events whose meaning is not ours */
    GEMINI_BYTES   /* a download, or a form of answer that is not JSON */
} gemini_form_t;

/* plan->state */
typedef struct gemini_call_t {
    gemini_form_t form;
    int taps;         /* the answer is a GenerateContentResponse, or one of its family */
    int needs_finish; /* a stream without a finishReason was cut */
    int opened;       /* array form: something went out, so the bracket is open */
} gemini_call_t;

apr_status_t gb_gemini_parse_request(gb_plan_t **pplan, const gb_request_t *request,
                                     const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p);

#endif
