/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The waiting worker: the sink for a request that cannot be parked (worker and
 * prefork MPM, HTTP/2, subrequests, GBalanceParking Off).  The engine queues,
 * the worker waits on a condition and writes.
 */
#ifndef GB_WAIT_H
#define GB_WAIT_H

#include "upstream/exchange.h"

typedef struct gb_wait_t gb_wait_t;

/* From the exchange's pool.  The caller keeps its own reference to x until it is through. */
gb_wait_t *gb_wait_make(gb_exchange_t *x);
gb_sink_t *gb_wait_sink(gb_wait_t *wait);

/*
 * Worker: waits for the next piece.  APR_SUCCESS: *phead is the head (the first
 * time, then NULL) and bytes holds what came (it is reset first; may be empty).
 * APR_EOF: that was all, *rv says how it ended.  APR_TIMEUP: nothing within
 * timeout; look whether the client is still there and call again.
 */
apr_status_t gb_wait_next(gb_wait_t *wait, const gb_head_t **phead, gb_buf_t *bytes,
                          apr_status_t *rv, apr_interval_time_t timeout);

#endif
