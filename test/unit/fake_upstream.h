/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server inside a test: one thread a connection, and a function of
 * the test that plays the upstream with the bytes, pauses and resets it wants.
 * It frames nothing by itself, so an answer may be as wrong as a case needs.
 */
#ifndef GB_FAKE_UPSTREAM_H
#define GB_FAKE_UPSTREAM_H

#include <stddef.h>

typedef struct up_t up_t;
typedef struct up_conn_t up_conn_t;

typedef struct up_request_t {
    const char *method;
    const char *path;
    const char *head; /* the whole head as it came */
    const char *body; /* NUL-terminated */
    size_t body_len;
    int serial;        /* 1-based, of the server */
    int on_connection; /* 1-based, of the connection */
} up_request_t;

/* Runs in the connection's thread, several at a time. */
typedef void up_serve_fn(void *baton, up_conn_t *c, const up_request_t *req);

/* Listens on 127.0.0.1.  Aborts when it cannot. */
up_t *up_start(up_serve_fn *serve, void *baton);
/* Cuts what is open, ends all threads, frees. */
void up_stop(up_t *up);

int up_port(const up_t *up);
/* "http://127.0.0.1:port" */
const char *up_url(const up_t *up);
int up_requests(up_t *up);
int up_connections(up_t *up); /* accepted so far */

/* The value of a header, NULL when it is not there; valid as long as the request. */
const char *up_header(const up_request_t *req, const char *name);
int up_header_count(const up_request_t *req, const char *name);

/* ---- inside serve: 0 when the peer is gone ---- */

int up_send(up_conn_t *c, const char *bytes, size_t len);
int up_put(up_conn_t *c, const char *text);
int up_printf(up_conn_t *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A whole answer with Content-Length.  type NULL: text/plain. */
int up_answer(up_conn_t *c, int status, const char *type, const char *body);
/* Chunked: head, pieces, end. */
int up_chunks_begin(up_conn_t *c, int status, const char *more_headers);
int up_chunk(up_conn_t *c, const char *bytes, size_t len);
int up_chunks_end(up_conn_t *c);
/* Sleeps; 0 when the peer left meanwhile or the server stops. */
int up_rest(up_conn_t *c, int ms);
/* No keep-alive after this answer. */
void up_close(up_conn_t *c);
/* TCP reset, now. */
void up_reset(up_conn_t *c);

#endif
