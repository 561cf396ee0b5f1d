/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request body that is made while it is sent: stretches of memory as they
 * are, and of a client's body in base64.  What was read of a mapped body is given
 * back to the system, so that an upload of any size holds GB_PIECES_WINDOW of it.
 */
#ifndef GB_PIECES_H
#define GB_PIECES_H

#include "proto/dialect.h"

#define GB_PIECES_WINDOW (1024 * 1024)

/* Where the reading is. */
typedef struct gb_pieces_t {
    const apr_array_header_t *list; /* of gb_piece_t */
    int i;
    size_t at;   /* bytes of the i-th that were read, as they lie in memory */
    size_t kept; /* of these, not given back yet: from here */
} gb_pieces_t;

/* All of it as it is sent. */
size_t gb_pieces_len(const apr_array_header_t *list);
void gb_pieces_begin(gb_pieces_t *pieces, const apr_array_header_t *list);
/* Fills room (at least 4 bytes) and says how many; 0 at the end. */
size_t gb_pieces_read(gb_pieces_t *pieces, char *room, size_t size);

#endif
