/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator: what its files share.  load.c has the command line, the
 * loop and the report, load_conn.c the connections, load_answer.c reads answers.
 */
#ifndef LOAD_H
#define LOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, strcasestr */
#endif

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CASES_MAX  64
#define HASHES_MAX 32
#define HEAD_MAX   16384

/* ---- what is asked for ---- */

typedef struct case_t {
    char *request; /* head and body, ready to send */
    size_t request_len;
    long abort_after; /* -1: never */
    long slow;        /* bytes a second, 0: as fast as they come */
    long expect;      /* chunks, -1: any number */
    int close;
    int is_head;
} case_t;

typedef struct options_t {
    const char *host;
    int port;
    int connections;
    long requests;   /* 0: as many as fit in duration */
    double duration; /* seconds, 0: until requests are done */
    double rate;     /* starts a second, 0: at once */
    double timeout;  /* seconds of one request */
    double max_time; /* seconds of the whole run */
    const char *seq;
    long seq_first;
    const char *stamp;
    const char *progress; /* a file that gets a byte when all connections stream */
    char headers[8192];
    case_t cases[CASES_MAX];
    int ncases;
} options_t;

extern options_t opt;

/* ---- what was seen ---- */

typedef struct samples_t {
    uint32_t *us;
    size_t n, cap;
} samples_t;

typedef struct tally_t {
    long started, completed, aborted;
    long connect_failed, reset, cut, timed_out, malformed, reconnects;
    long statuses[600];
    long chunks, done_marks, error_events;
    long out_of_order, wrong_count;
    long open_now, open_peak, streaming_now, streaming_peak;
    uint64_t bytes;
    uint64_t hashes[HASHES_MAX];
    long hash_counts[HASHES_MAX];
    long other_hashes;
    samples_t latency, first_byte, chunk_age, chunk_gap;
} tally_t;

extern tally_t tally;

int64_t now_us(void);
void die(const char *what, const char *about);
void *must_alloc(void *old, size_t size);
void sample_add(samples_t *s, int64_t us);

/* ---- one connection ---- */

typedef enum { IDLE, CONNECTING, SENDING, BODY } phase_t;
typedef enum { BY_LENGTH, BY_CHUNKS, BY_CLOSE, NO_BODY } framing_t;
typedef enum { SIZE_LINE, CHUNK_DATA, CHUNK_END, TRAILER } chunk_phase_t;

typedef struct conn_t {
    int fd;           /* -1 while closed */
    uint32_t watched; /* epoll events in force */
    phase_t phase;
    const case_t *job;
    size_t sent;
    int reused; /* an answer was read from this connection before */
    int64_t started, deadline, last_chunk;
    int64_t resume_at; /* slow reading: not before */
    char *head;        /* the answer's head as it comes */
    size_t head_len;
    int status;
    framing_t framing;
    chunk_phase_t chunk_phase;
    uint64_t left; /* of the body or of the chunk */
    char size_line[32];
    size_t size_len;
    size_t trailer_len;
    int keep, is_stream, seen_first;
    uint64_t body_bytes, hash;
    char *line; /* a line of the stream that has not ended */
    size_t line_len, line_cap;
    long chunks, next_seq;
} conn_t;

extern int epoll_fd;
extern long begun; /* requests handed to connections */

/* When the next request may start: 0 never, 1 now, -1 later. */
int may_begin(int64_t now);

/* ---- load_conn.c ---- */

void conn_begin(conn_t *c, int64_t now);
void conn_event(conn_t *c, uint32_t events);
void conn_fail(conn_t *c, long *counter);
/* Reads on, after a slow reader's pause. */
void conn_resume(conn_t *c);

/* ---- load_answer.c: 0 more to come, 1 the answer has ended, -1 this is no HTTP ---- */

void answer_reset(conn_t *c);
int answer_head(conn_t *c, const char *bytes, size_t len);
int answer_body(conn_t *c, const char *bytes, size_t len);

#endif
