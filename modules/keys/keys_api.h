/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Administration of keys over HTTP: what its files share.  Answers are JSON
 * objects; an error is {"error": {"status", "message", "field"}}, its field the
 * name of what was wrong.
 */
#ifndef GB_KEYS_API_H
#define GB_KEYS_API_H

#include "keys.h"
#include "base/json.h"

#define KEYS_API_BODY_MAX (4 * 1024 * 1024)

/* One request of an administrator who has been let in. */
typedef struct keys_ask_t {
    request_rec *r;
    const char *pool;  /* of this VirtualHost */
    gb_admin_t admin;  /* who asks */
    const char *named; /* the key that the path names, NULL */
    gb_span_t body;    /* a checked JSON object; {NULL,0} for none */
    const char *text;  /* a body of text/plain, NULL */
    apr_size_t text_len;
    gb_buf_t out;
} keys_ask_t;

/* ---- keys_api.c ---- */

/* OK with *ask filled; else it was answered, and *rc is what the handler returns. */
int keys_ask_begin(keys_ask_t *ask, request_rec *r, int *rc);
/* Reads the body into ask; 0: it was answered. */
int keys_ask_body(keys_ask_t *ask, int *rc);
/* Both return what the handler returns.  field NULL: none. */
int keys_answer(keys_ask_t *ask);
int keys_refuse(keys_ask_t *ask, int status, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int keys_refuse_method(keys_ask_t *ask, const char *allow);
/* For what an operation says other than success. */
int keys_refuse_rv(keys_ask_t *ask, apr_status_t rv);

/* The decoded value of an argument of the query, NULL. */
const char *keys_arg(keys_ask_t *ask, const char *name);
/* The keys that the body names: member (an array of ids or keys), or all.  *n is GB_KEYS_ALL for
 * all.  0: it was refused. */
#define GB_KEYS_ALL (-1)
int keys_chosen(keys_ask_t *ask, const char *member, const char *const **ids, int *n, int *rc);

/* ---- keys_api_list.c ---- */
int keys_api_list(keys_ask_t *ask);
int keys_api_ids(keys_ask_t *ask);
/* ---- keys_compat.c: in gemini-balance's shapes ---- */
int keys_api_all(keys_ask_t *ask);
int keys_api_paged(keys_ask_t *ask);
int keys_api_get(keys_ask_t *ask);
int keys_api_export(keys_ask_t *ask);
int keys_api_export_clear(keys_ask_t *ask);
int keys_api_reveal(keys_ask_t *ask);
/* "cooling": of GB_KEYS_*. */
const char *keys_state_name(int state);

/* ---- keys_api_change.c ---- */
int keys_api_add(keys_ask_t *ask);
int keys_api_preview(keys_ask_t *ask);
int keys_api_edit(keys_ask_t *ask);
int keys_api_edit_one(keys_ask_t *ask);
int keys_api_enable(keys_ask_t *ask);
int keys_api_disable(keys_ask_t *ask);
int keys_api_reset(keys_ask_t *ask);
int keys_api_delete(keys_ask_t *ask);
int keys_api_delete_one(keys_ask_t *ask);

/* ---- keys_api_verify.c ---- */
int keys_api_verify(keys_ask_t *ask);

/* A verification that a worker waits for. */
typedef struct keys_run_t keys_run_t;
apr_status_t keys_run_start(keys_run_t **prun, const char *pool, const char *const *ids, int n,
                            int at_a_time);
/* The next verdict; APR_EOF: that was all; APR_TIMEUP: none within a second. */
apr_status_t keys_run_next(keys_run_t *run, gb_keys_verdict_t *verdict);
/* Whoever has called this reads no more; what is still under way ends by itself. */
void keys_run_leave(keys_run_t *run);
/* Whether nobody would hear of it any more: the client is gone, or httpd stops. */
int keys_run_is_vain(request_rec *r);

/* ---- keys_path.c ---- */

/* The key that the path names behind one of the known words, as the client wrote it; NULL. */
const char *keys_path_named(request_rec *r);

#endif
