/* SPDX-License-Identifier: Apache-2.0 */
/*
 * httpd's event MPM as far as parked connections meet it: workers that run a
 * connection, a listener that polls its eventfd and times it out, and somebody
 * who destroys connections at any moment.  The sequence of calls is that of the
 * glue: suspend -> gb_park_parked, resume -> park again or finish.
 */
#ifndef GB_FAKE_MPM_H
#define GB_FAKE_MPM_H

#include <stdint.h>

#include "upstream/park.h"

#define MPM_CONNS 512

typedef struct mpm_t mpm_t;

typedef struct mpm_conn_conf_t {
    apr_interval_time_t timeout; /* the MPM's and the park's */
    int requests;                /* so many, one after another, while all goes well */
    int waits;                   /* the worker waits instead of parking */
    unsigned seed;
} mpm_conn_conf_t;

typedef struct mpm_conf_t {
    gb_engine_t *engine;
    int workers;
    /* In a worker: makes the exchange of the next request.  The caller's reference is the MPM's. */
    gb_exchange_t *(*request)(void *baton, const mpm_conn_conf_t *conf, int number);
    /* In a worker, before the exchange is let go: it ended (not called for what was detached). */
    void (*answered)(void *baton, gb_exchange_t *x, apr_status_t rv);
    void *baton;
} mpm_conf_t;

/* All are counted by transitions that workers saw. */
typedef struct mpm_counts_t {
    int parked, nudged, finished, detached, timed_out, spurious, refused, waited, wholes, lingered;
    int detached_in[GB_PARK_STATES];
} mpm_counts_t;

mpm_t *mpm_start(const mpm_conf_t *conf);
/* Takes over the server's end of a connection.  Returns its id. */
uint64_t mpm_accept(mpm_t *mpm, int fd, const mpm_conn_conf_t *conf);
/* Destroys a connection, wherever it is.  Nothing happens when it is gone. */
void mpm_kill(mpm_t *mpm, uint64_t id);
void mpm_counts(mpm_t *mpm, mpm_counts_t *counts);
int mpm_open(mpm_t *mpm);
/* Destroys what is left, joins, frees. */
void mpm_stop(mpm_t *mpm);

#endif
