/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on with an answer that the upstream cut: the request for the rest, and
 * the place where it is joined to what was said.  Pure.
 */
#ifndef GB_SEAM_H
#define GB_SEAM_H

#include "base/buf.h"
#include "base/json.h"

/*
 * A Gemini body that asks for the rest: body, a model's turn with what was said (UTF-8), and a
 * word to go on.  Nothing said: body as it is.  APR_EINVAL: it has no contents that end with
 * somebody else's turn, it wants JSON, or tools of Google's own.
 */
apr_status_t gb_seam_body(gb_buf_t *out, gb_span_t body, const char *said, size_t len);

#define GB_SEAM_OPEN ((size_t)-1)

/*
 * How many bytes at the begin of `next` repeat the end of what was said: models like to take up
 * the last words or lines again.  GB_SEAM_OPEN: more must come to tell (never when no more
 * comes, nor beyond 512 bytes).
 */
size_t gb_seam_overlap(const char *said, size_t said_len, const char *next, size_t len, int more);

#endif
