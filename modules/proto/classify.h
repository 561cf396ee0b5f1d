/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an attempt's outcome means: for the key, for the next attempt and for
 * the client.  One pure function over one table that is data; each row names
 * the case that proves it.  Facts are from MAPPING section 10 and from
 * recordings; the rules for unknown 401/403, service and model faults are
 * DESIGN section 5's, and are the pool's to apply: a verdict only names the
 * class.
 */
#ifndef GB_CLASSIFY_H
#define GB_CLASSIFY_H

#include "base/error.h"
#include "base/json.h"

/* How a refused field begins that is a word of the client's own schemas. */
#define GB_FIELD_SCHEMA "schema."

typedef enum {
    GB_CLASS_SUCCESS,  /* 2xx with content */
    GB_CLASS_EMPTY,    /* 200 with no candidate, no part, no block reason */
    GB_CLASS_BLOCKED,  /* the prompt or the answer was blocked */
    GB_CLASS_CLIENT,   /* the request is at fault: told, not retried */
    GB_CLASS_ADAPTIVE, /* the model refuses one field: drop it, send once more on the same key */
    GB_CLASS_AFFINITY, /* a file or cache of another project: no key's fault */
    GB_CLASS_KEY,      /* this key is dead */
    GB_CLASS_PROJECT,  /* all keys of the project are dead */
    GB_CLASS_ACCOUNT,  /* all keys of the billing account are dead (402) */
    GB_CLASS_REGION,   /* refused for where we call from; keys of another egress may work */
    GB_CLASS_MODEL_ACCESS, /* (project, model) not offered: 24 h */
    GB_CLASS_UNKNOWN_AUTH, /* any other 401 or 403 */
    GB_CLASS_QUOTA,        /* 429 */
    GB_CLASS_SERVICE,      /* 5xx, reset, timeout */
    GB_CLASS_OVERLOADED,   /* 503 that speaks of the model, not of the key */
    GB_CLASS_STALE,        /* a kept connection had ended: says nothing of anybody */
    GB_CLASS_PROXY,        /* the upstream proxy: says nothing of the key or the model */
    GB_CLASS_GATEWAY,      /* we did it wrong (no key sent, two credentials): alarm */
    GB_CLASS_CANCELLED,    /* the client left, or we are stopping: says nothing */
    GB_CLASS_N
} gb_class_t;

/* Short stable words for logs, the journal and pages: "quota", "client" ... */
const char *gb_class_name(gb_class_t cls);

typedef enum {
    GB_TRANSPORT_OK,
    GB_TRANSPORT_CONNECT, /* no connection: nothing was sent */
    GB_TRANSPORT_PROXY,   /* the upstream proxy refused or is down */
    GB_TRANSPORT_TLS,     /* certificate or handshake */
    GB_TRANSPORT_STALE,   /* a kept connection died under the request: another one decides */
    GB_TRANSPORT_RESET,   /* broke off before the answer was complete */
    GB_TRANSPORT_TIMEOUT, /* silent longer than TIME_OUT or the connect deadline */
    GB_TRANSPORT_CANCELLED,
    GB_TRANSPORT_TOO_LARGE /* the answer passed its ceiling */
} gb_transport_t;

typedef enum {
    GB_QUOTA_NONE,
    GB_QUOTA_MINUTE,
    GB_QUOTA_DAY,
    GB_QUOTA_UNAVAILABLE, /* limit 0: not offered on this tier */
    GB_QUOTA_SPEND_MONTH, /* monthly spending cap */
    GB_QUOTA_AMBIGUOUS    /* no details */
} gb_quota_window_t;

#define GB_QUOTA_MAX 4

typedef struct gb_quota_t {
    char id[96];       /* quotaId */
    char metric[128];  /* quotaMetric, without the service's prefix */
    char model[96];    /* quotaDimensions.model, "" if not told */
    apr_int64_t value; /* quotaValue, -1 if not told */
    gb_quota_window_t window;
    int counts_tokens; /* input tokens, not requests */
} gb_quota_t;

/* What came back from one attempt. */
typedef struct gb_outcome_t {
    gb_transport_t transport;
    int status;       /* HTTP status, 0 when there was none */
    const char *body; /* of an error answer; may be NULL */
    size_t body_len;
    apr_interval_time_t retry_after; /* from a Retry-After header, -1 if none */
    int has_candidate;               /* for 2xx: what was seen in the answer */
    int has_content;
    int blocked;
    int malformed;      /* MALFORMED_FUNCTION_CALL and its like, nothing delivered */
    int complete;       /* the answer came to its end */
    const char *secret; /* the key that was used: cut out of every message */
} gb_outcome_t;

typedef struct gb_verdict_t {
    gb_class_t cls;
    const char *row;   /* name of the table row that fired: static text */
    int retry;         /* may be tried again on another key */
    int retry_max;     /* how often at most, 0 = as MAX_RETRIES says */
    int key_revocable; /* a dead key that may be tried daily; 0 = never by itself */

    int by_proxy; /* service: broken on the way through a proxy, which may be at fault itself */

    gb_quota_window_t window;        /* quota: the longest one violated */
    apr_interval_time_t retry_delay; /* RetryInfo, message or Retry-After; -1 = none told */
    int n_quotas;
    gb_quota_t quotas[GB_QUOTA_MAX];

    char consumer[64]; /* metadata.consumer, "projects/123", "" if not told */
    char field[48]; /* adaptive: the field to drop ("temperature"), or GB_FIELD_SCHEMA and a word */
    int once;       /* adaptive: for what stood in this call; says nothing of
                                         * the model */
    char reason[64]; /* ErrorInfo.reason */
    char google_status[40];
    char message[512]; /* Google's text, redacted, for logs and pages */
    gb_error_t error;  /* what a client hears when this attempt was the last;
                                         * upstream_body is not set here */
} gb_verdict_t;

/*
 * A status of 400 or more speaks louder than a connection that broke off
 * behind it; before that the transport's fault is the outcome.
 */
void gb_classify(gb_verdict_t *verdict, const gb_outcome_t *outcome);

/* The same for an error object found inside a 200 stream (its error.code counts as status). */
void gb_classify_event(gb_verdict_t *verdict, const char *json, size_t len, const char *secret);

/* The name of the i-th row of the table, NULL behind the last: for pages, and for the test that
 * wants a case for each. */
const char *gb_classify_row_name(size_t i);

#endif
