/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between a surface (OpenAI, Gemini, whatever comes) and the exchange.
 * Gemini JSON is the hub: a dialect turns a client's request into a plan - an
 * upstream call in Gemini's form (or, for a direct surface, in its own) - and
 * the upstream's bytes into the client's.
 *
 * Pure: no httpd, no curl, no clock, no globals.  A plan and its translators
 * belong to one exchange; they are made in the worker that parses the request
 * and used by the engine's thread afterwards, never by both at once.
 */
#ifndef GB_DIALECT_H
#define GB_DIALECT_H

#include <apr_tables.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/multipart.h"
#include "base/settings.h"

typedef struct gb_plan_t gb_plan_t;
typedef struct gb_translator_t gb_translator_t;
typedef struct gb_dialect_t gb_dialect_t;

/*
 * What a process remembers between calls, each part optional (NULL).  Asked and
 * told from any thread (a request is translated anew in the engine's): the owner
 * locks.
 */
typedef struct gb_memory_t {
    void *ctx;
    /* Thought signatures by the id of a tool call, for clients that drop them; under "parts/<id>"
     * a whole model turn as JSON.  The text comes from p; NULL when unknown.  Bounded by the
     * owner; a text may be 1 MiB long. */
    const char *(*signature_get)(void *ctx, const char *call_id, apr_pool_t *p);
    void (*signature_put)(void *ctx, const char *call_id, const char *signature, size_t len);
    /* Whether Google lists that model: 1, 0, or -1 when no list is known yet. */
    int (*model_is_real)(void *ctx, const char *name);
    /* Its outputTokenLimit, 0 when unknown. */
    apr_int64_t (*model_output_limit)(void *ctx, const char *name);
} gb_memory_t;

/* Something by URL that must be fetched before the call can go upstream. */
typedef struct gb_fetch_t {
    const char *url;   /* http or https */
    const char *param; /* where the client named it: for its error */
    const char *bytes; /* filled by who fetched; live as long as the plan */
    size_t len;
} gb_fetch_t;

/* A client's request as the glue read it. */
typedef struct gb_request_t {
    const char *method;       /* "GET", "POST" ...; HEAD arrives as GET */
    const char *path;         /* below the surface's mount, decoded once: "/chat/completions" */
    const char *args;         /* the query without credentials, NULL if none */
    const char *version;      /* of the API, as the mount says ("v1alpha"); NULL: it does not say */
    int masked;               /* a header says which fields of the answer to give */
    const char *content_type; /* NULL if none */
    const char *body;         /* whole body; lives as long as the exchange */
    size_t body_len;
    int body_mapped; /* it lies in a file: its memory can be given back at any time */
    const apr_array_header_t *form; /* of gb_form_part_t: where the parts of a form lie in body */
    apr_time_t now;                 /* wall clock: for `created` and ids */
    unsigned char entropy[16];      /* random bytes: for ids */
    const gb_memory_t *memory;      /* NULL: none */
    int can_host;                   /* whether pictures can be had by address */
    int can_fetch; /* whether plan->fetches will be served; else URLs go upstream */
} gb_request_t;

/*
 * What passes is watched for these.  A translator fills them as it goes; the
 * exchange reads them after every call to decide on commit, retry and journal.
 */
typedef struct gb_facts_t {
    int has_candidate;
    int has_content;        /* a part that a client would miss: text, thought, call, media; or the
                                 * answer ended for a reason that a retry would not change */
    int blocked;            /* promptFeedback.blockReason, or a finish reason of that kind */
    int finished;           /* a finishReason (or what stands for it) was seen */
    int malformed;          /* MALFORMED_FUNCTION_CALL and its like, with nothing delivered */
    int has_error;          /* an error object stood in the stream: error_json */
    const char *error_json; /* from the plan's pool */
    size_t error_len;
    /* -1 unknown; as OpenAI counts: prompt with tool prompts and cached, completion with thoughts */
    apr_int64_t prompt_tokens, completion_tokens, thought_tokens, cached_tokens, total_tokens;
    char finish_reason[40]; /* Gemini's word for it */
    char model_version[96];
    char response_id[64];
    const char *made;      /* name of what the answer describes and one key alone can use; NULL */
    const char *made_json; /* that description, of files only */
    const char
        *made_list; /* the same of several things at once, or their names: a JSON array; NULL */
} gb_facts_t;

/* A picture that the client gets by address. */
typedef struct gb_upload_t {
    gb_span_t type, data; /* "image/png" and base64, without quotes; live as long as the plan */
    const char *mark;     /* stands for the address in the answer, until it is known */
} gb_upload_t;

/* A stretch of a body that is made while it is sent: so it takes no memory. */
typedef struct gb_piece_t {
    gb_span_t bytes;
    int base64; /* to be sent so */
    int mapped; /* of a body_mapped: given back once it was read */
} gb_piece_t;

struct gb_plan_t {
    const gb_dialect_t *dialect;
    apr_pool_t *pool; /* the exchange's; dies with it */
    void *state;      /* the dialect's own */

    /* the upstream call */
    const char *method;       /* "POST" or "GET" */
    const char *path;         /* below BASE_URL, with query: "/models/m:generateContent" */
    const char *version;      /* takes the place of BASE_URL's ("v1alpha"); NULL: BASE_URL's own */
    const char *content_type; /* "application/json", NULL when there is no body */
    const char *body;         /* from pool, or the client's own bytes */
    size_t body_len;
    const apr_array_header_t *pieces; /* of gb_piece_t: take the place of body; NULL */
    int bearer; /* the key travels as Authorization: Bearer (OpenAI-format endpoint) */
    int upload; /* below the upload address: "/upload" stands before the version */

    /* who asked for what */
    char model[96];          /* as the client named it, "" for none */
    char model_used[96];     /* the model in the path: what the pool picks for */
    const char *operation;   /* "chat", "generate", "models" ...: static, for logs */
    int stream;              /* the client gets a stream */
    int upstream_stream;     /* the upstream is asked for one */
    int fake_stream;         /* the client's stream begins when the whole answer is there */
    int expects_content;     /* an answer without candidates counts as empty and is retried */
    int fan_out;             /* so many calls, merged by one translator; 0 and 1 = one */
    const gb_span_t *bodies; /* their bodies, where they differ; NULL: all send body */
    int fan_out_later;       /* what it may become when other_model takes over */
    int partial;             /* a fan-out of which some may fail */
    int paid;                /* PAID_KEY serves it, where there is one */
    int lasting;    /* it makes something that stays: never sent twice when it may be made */
    int own_quotas; /* that are not the model's: what Google says of them is not about it */
    const char *other_model; /* that answers when the upstream knows model_used no more; NULL */
    int from_models; /* Google's list of models, page by page, is all that the answer needs */
    int lists_files; /* of all keys: answered from the records of who made what */
    const char
        *ignored; /* names of unknown fields, comma-separated, for x-gbalance-ignored; NULL */
    apr_uint64_t
        affinity; /* hash of what should stay on one key (prompt_cache_key, user), 0 = none */
    apr_array_header_t
        *names;           /* of const char *: what one key alone can use, that it refers to; NULL */
    char required_id[20]; /* the key that can, "" = any: set by whoever knows whose the names are */

    /*
     * To be fetched first (of gb_fetch_t), NULL for nothing: body is NULL until
     * all are filled and the dialect's resume has made it.
     */
    apr_array_header_t *fetches;

    /* the client's answer */
    const char *answer_type;     /* Content-Type of a successful answer; NULL = the upstream's */
    const char *mark;            /* how every upload's mark begins; NULL: pictures are data URLs */
    apr_array_header_t *uploads; /* of gb_upload_t, as translators find them; NULL: none */
    const char *stream_type;     /* of a stream that we may begin by ourselves; NULL: never */

    /*
     * What takes longer than the engine has time for (encoding sound), NULL for nothing: a
     * worker, once the call is over, makes of the whole body what the client gets.  *err
     * says what is wrong with it (5xx).
     */
    apr_status_t (*finish)(const gb_plan_t *plan, const char *body, size_t len, gb_buf_t *out,
                           gb_error_t *err);
};

/* A text that may be given out in several events. */
typedef struct gb_split_t {
    size_t at, len; /* in the event: raw JSON without its quotes, not empty */
    gb_buf_t head,
        tail; /* what stands around a step but the last, for which the event itself does */
} gb_split_t;

struct gb_dialect_t {
    const char *name;       /* "openai", "gemini": for logs and the journal */
    const char *error_type; /* Content-Type of error bodies */

    /*
     * Parses and translates.  On success *pplan is complete.  Otherwise *err
     * says why (4xx) and nothing goes upstream.  body is not looked at for GET.
     * request may be forgotten, but what it points to and settings live as long
     * as the plan.
     */
    apr_status_t (*parse_request)(gb_plan_t **pplan, const gb_request_t *request,
                                  const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p);

    /* Whether a form is taken at that path; NULL: never. */
    int (*takes_form)(const char *path);

    /*
     * Begins the answer of one attempt.  content_type is the upstream's.  A
     * translator that was not ended is simply forgotten (its memory is the
     * plan's pool, which a call with its retries may use several times).
     */
    gb_translator_t *(*start)(gb_plan_t *plan, const char *content_type, gb_facts_t *facts);

    /*
     * A stream's bytes as they come, or (plan->upstream_stream == 0) one whole
     * answer per call, fan_out of them.  Appends what the client gets to out.
     * After facts->has_error nothing more is appended.
     */
    apr_status_t (*on_chunk)(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out);

    /*
     * The upstream has ended well.  With nothing appended there is nothing to deliver, and the
     * facts say why (empty, malformed).  APR_INCOMPLETE: it ended too early (no
     * finish reason, half an event): the exchange treats that as a reset.
     */
    apr_status_t (*on_end)(gb_translator_t *t, gb_buf_t *out);

    /*
     * An error in the protocol's form.  midstream: 0 = the body of an error
     * answer, 1 = what is appended to a stream that has begun.
     */
    void (*error_body)(const gb_plan_t *plan, const gb_error_t *err, int midstream, gb_buf_t *out);

    /*
     * Adaptive classes: makes plan->body anew without the refused field ("temperature",
     * "thinkingLevel", "responseJsonSchema" ...).  APR_NOTFOUND: there was none.  May be NULL.
     */
    apr_status_t (*drop_field)(gb_plan_t *plan, const char *field);

    /*
     * The answer broke off after the client had part of it: has plan->body ask for the rest,
     * and whatever start() makes next goes on where that part ends.  APR_NOTFOUND: this is no
     * answer that can be continued.  May be NULL.
     */
    apr_status_t (*go_on)(gb_plan_t *plan);

    /*
     * All of plan->fetches are filled: makes plan->body.  *err says what is wrong with what
     * came (400).  NULL: the dialect never asks for anything.
     */
    apr_status_t (*resume)(gb_plan_t *plan, gb_error_t *err);

    /* The upstream knows the model no more: makes the plan anew for plan->other_model. */
    apr_status_t (*instead)(gb_plan_t *plan);

    /*
     * What keeps a silent stream alive, between two events or before the first one.
     * NULL: the protocol has no such thing.
     */
    void (*heartbeat)(const gb_plan_t *plan, gb_buf_t *out);

    /*
     * Whether an event of the client's stream, whole with its empty line, is text and
     * nothing else that must not stand twice: then fills *split (empty before).
     * NULL: events go as they are.
     */
    int (*split)(const gb_plan_t *plan, gb_span_t event, gb_split_t *split);
};

/* Lets pictures of the answer go by address where the request can_host. */
void gb_plan_hosts(gb_plan_t *plan, const gb_request_t *request);
/* What stands for the address of a picture, whose type and base64 are raw JSON strings; NULL: it goes
 * as a data URL. */
const char *gb_plan_picture(gb_plan_t *plan, gb_span_t type, gb_span_t data);
/* The mark, or the data URL where there is none. */
void gb_plan_picture_put(gb_buf_t *out, const char *mark, gb_span_t type, gb_span_t data);
/* Tokens of two attempts that make one answer (of what is known of them). */
void gb_facts_add_tokens(gb_facts_t *sum, const gb_facts_t *one);

/* A plan with its defaults. */
gb_plan_t *gb_plan_make(const gb_dialect_t *dialect, apr_pool_t *p);

#endif
