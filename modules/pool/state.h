/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's memory as text: one JSON object a line, so that a file that was cut
 * loses its last line only.  Times are wall clock; secrets never stand here, only
 * their digests.
 */
#ifndef GB_POOL_STATE_H
#define GB_POOL_STATE_H

#include "base/buf.h"
#include "pool/pool.h"

#define GB_STATE_VERSION 1

typedef enum {
    GB_STATE_NOTHING, /* empty, unknown or broken: skip it */
    GB_STATE_HEAD,
    GB_STATE_KEY,
    GB_STATE_CELL
} gb_state_kind_t;

apr_status_t gb_state_put_head(gb_buf_t *out, apr_time_t saved);
apr_status_t gb_state_put_key(gb_buf_t *out, const gb_pool_key_t *key);
apr_status_t gb_state_put_cell(gb_buf_t *out, const gb_pool_cell_t *cell);

/* Whether a key's row says anything that its configuration does not. */
int gb_state_worth_keeping(const gb_pool_key_t *key);

/* Reads one line into *key or *cell.  p is for the time of the call. */
gb_state_kind_t gb_state_read(const char *line, apr_size_t len, gb_pool_key_t *key,
                              gb_pool_cell_t *cell, apr_pool_t *p);

/* Hexadecimal digits of a digest and back; 0 on failure. */
int gb_state_digest(unsigned char digest[GB_POOL_DIGEST_LEN], const char *hex);

#endif
