/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One failure as a client will hear of it, before a dialect puts it in the
 * protocol's own form.  The status decides OpenAI's `type` and Google's
 * `status` unless they are set.  Messages are sentences: what was wrong with
 * which field, and what to do.
 */
#ifndef GB_ERROR_H
#define GB_ERROR_H

#include <apr_pools.h>
#include <apr_time.h>

typedef enum {
    GB_RETRY_UNSAID, /* the SDK decides by status */
    GB_RETRY_NO,     /* x-should-retry: false */
    GB_RETRY_YES
} gb_retry_hint_t;

typedef struct gb_error_t {
    int status;                      /* HTTP status, 4xx or 5xx; 0: no error */
    char code[64];                   /* OpenAI's error.code, "" = null */
    char param[128];                 /* OpenAI's error.param, "" = null */
    char type[40];                   /* OpenAI's error.type, "" = by status */
    char google_status[40];          /* Google's error.status, "" = by status */
    char message[1024];              /* UTF-8, redacted, never with a secret */
    apr_interval_time_t retry_after; /* microseconds; 0 = none */
    gb_retry_hint_t should_retry;
    const char *allow;         /* the Allow header of a 405, static text */
    const char *upstream_body; /* Google's own redacted body, handed on to Gemini clients */
    size_t upstream_len;       /* lives as long as the exchange */
} gb_error_t;

/* Fills *err (all other members cleared).  code and param may be NULL.  Returns APR_EGENERAL. */
apr_status_t gb_error_set(gb_error_t *err, int status, const char *code, const char *param,
                          const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* "invalid_request_error", "server_error", ...: OpenAI's error.type for a status. */
const char *gb_error_openai_type(const gb_error_t *err);
/* "INVALID_ARGUMENT", ...: google.rpc.Code's name for a status. */
const char *gb_error_google_status(const gb_error_t *err);

#endif
