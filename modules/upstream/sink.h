/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an exchange's answer goes: a parked connection, a waiting worker, a
 * buffer.  All three functions are called in the engine's thread; a sink that
 * cannot take more says APR_EAGAIN and calls gb_exchange_wake() when it can.
 * Any other status means that nobody is there any more: the exchange cancels
 * its upstream call and calls end().
 */
#ifndef GB_SINK_H
#define GB_SINK_H

#include <apr_tables.h>

typedef struct gb_head_t {
    int status;
    const char *content_type;
    const apr_table_t *headers; /* beside the type; may be empty */
    apr_int64_t content_length; /* -1: not known, the answer is a stream */
    /*
     * The whole answer, when it is there already (content_length bytes, kept until
     * the last reference to the exchange goes).  A sink that wants to deliver it
     * by itself sets taken; then end() follows without data().
     */
    const char *body;
    int taken;
    /* A worker has to make of it what the client gets (the plan's finish): it must be taken. */
    int unfinished;
} gb_head_t;

typedef struct gb_sink_t gb_sink_t;

struct gb_sink_t {
    /* once, first, in the engine's thread: the exchange has started */
    void (*start)(gb_sink_t *sink);
    apr_status_t (*begin)(gb_sink_t *sink, gb_head_t *head);
    /* *taken says how much was accepted, with APR_EAGAIN too */
    apr_status_t (*data)(gb_sink_t *sink, const char *bytes, apr_size_t len, apr_size_t *taken);
    /* once, last: the answer is complete, or rv says why it is not */
    void (*end)(gb_sink_t *sink, apr_status_t rv);
};

#endif
