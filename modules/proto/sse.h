/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events: a reader that takes bytes as they come (cut anywhere,
 * ends of line CRLF, LF or CR, optional BOM) and a writer.  Beside events the
 * reader finds what Google mixes in between them: a bare JSON value without
 * `data:` (an error in the middle of a stream) and, in the array form, the
 * elements of one JSON array.
 */
#ifndef GB_SSE_H
#define GB_SSE_H

#include "base/buf.h"

typedef struct gb_sse_t gb_sse_t;

typedef enum {
    GB_SSE_DATA, /* the joined data of one event; never empty, never [DONE] */
    GB_SSE_DONE, /* data: [DONE] */
    GB_SSE_BARE  /* JSON outside of any event: an error object, or an array around one */
} gb_sse_kind_t;

/* data is valid during the call only.  Anything but APR_SUCCESS ends the feed with that status. */
typedef apr_status_t gb_sse_event_fn(void *baton, gb_sse_kind_t kind, const char *data, size_t len);

/* From p; the buffers inside are freed with it.  One event is at most GB_BUF_MAX_EVENT.  The time
 * and memory that a stream takes do not depend on how it is cut. */
gb_sse_t *gb_sse_make(gb_sse_event_fn *fn, void *baton, apr_pool_t *p);

/* Takes any number of bytes.  APR_ENOSPC: an event is too long. */
apr_status_t gb_sse_feed(gb_sse_t *sse, const char *bytes, size_t len);

/* The body has ended.  A last event that lacks its empty line counts when its data is complete
 * JSON; APR_INCOMPLETE when bytes were left that are none. */
apr_status_t gb_sse_end(gb_sse_t *sse);

/*
 * How many of the bytes fed so far belong to what is complete: events that were handed out, with
 * their empty line, and what stands between events.  Inside the callback the event at hand does not
 * count yet.  Who passes a stream on emits up to here and can still break off at an event's edge.
 */
apr_uint64_t gb_sse_boundary(const gb_sse_t *sse);

/* Splits the array form of streamGenerateContent: each element goes to fn as GB_SSE_DATA,
 * a body that is no array but an object as GB_SSE_BARE.  APR_EINVAL: it is neither. */
gb_sse_t *gb_sse_make_array(gb_sse_event_fn *fn, void *baton, apr_pool_t *p);

/* "data: <json>\n\n" (OpenAI) and "data: <json>\r\n\r\n" (Gemini).  json has no line ends. */
apr_status_t gb_sse_put_openai(gb_buf_t *out, const char *json, size_t len);
apr_status_t gb_sse_put_gemini(gb_buf_t *out, const char *json, size_t len);

#endif
