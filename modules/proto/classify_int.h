/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the files of the classification: the table's rows, and an error body
 * taken apart.  Private to modules/proto/classify*.c.
 */
#ifndef GB_CLASSIFY_INT_H
#define GB_CLASSIFY_INT_H

#include "proto/classify.h"

/* What a 2xx answer turned out to be.  Only rows for 200 to 299 ask. */
typedef enum {
    GB_SIGN_ANY,
    GB_SIGN_CUT, /* it broke off */
    GB_SIGN_BLOCKED,
    GB_SIGN_MALFORMED,
    GB_SIGN_EMPTY
} gb_sign_t;

/*
 * One row: what it wants to see, then what that means.  A row fires when all
 * that it names fits.  Of reasons and texts one hit is enough.
 *
 * Google's messages repeat what clients wrote (names of fields and files), so a
 * row that condemns a key must not be fired by words that a client can choose:
 * it takes ErrorInfo's reason, or a text that stands at the message's beginning.
 */
typedef struct gb_row_t {
    const char *name;

    gb_transport_t transport;
    int from, to; /* HTTP status, both ends included; 0: any */
    gb_sign_t sign;
    gb_quota_window_t window;
    const char *google;  /* error.status */
    const char *reasons; /* exact, "A|B" */
    const char *texts;   /* patterns, see gb_text_has */

    gb_class_t cls;
    int retry, retry_max, revocable, once;

    int status;       /* the client's; 0: the upstream's own */
    const char *type; /* NULL: by status */
    const char *code;
    const char *param;
    gb_retry_hint_t hint;
    int after;       /* Retry-After in seconds when none was told; 0: none */
    const char *say; /* to the client; NULL: Google's own message */
} gb_row_t;

extern const gb_row_t gb_class_rows[];
extern const size_t gb_class_rows_n;

/* An error body, whatever form it came in.  Strings are decoded and bounded. */
typedef struct gb_google_error_t {
    gb_buf_t text;    /* all that rows look at, in lower case, the message first */
    gb_buf_t message; /* Google's text as it came */
    int is_json;      /* message is an error's, not some page */
    apr_int64_t code; /* error.code, 0 when there is none */
    char status[40];
    char reason[64];
    char consumer[64];
    char field[128];           /* the first field that BadRequest names */
    apr_interval_time_t delay; /* RetryInfo or the message; -1 */
    int n_quotas;              /* as many as were told, even above GB_QUOTA_MAX */
    gb_quota_t quotas[GB_QUOTA_MAX];
    gb_quota_window_t window; /* GB_QUOTA_NONE: nothing says that it is about quota */
} gb_google_error_t;

/* To be freed with gb_google_error_free. */
void gb_google_error_read(gb_google_error_t *e, const char *body, size_t len);
void gb_google_error_free(gb_google_error_t *e);

/*
 * Whether text (lower case) has one of the patterns of a list "a|b*c|^d|<e>":
 * `*` stands for anything, `^` for the text's beginning, `<` and `>` for the
 * edges of a word.
 */
int gb_text_has(const gb_buf_t *text, const char *patterns);
/* The byte behind the first hit of one pattern at or after from, NULL for none. */
const char *gb_text_find(const gb_buf_t *text, const char *from, const char *pattern, size_t len);

#endif
