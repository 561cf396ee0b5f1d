/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data (RFC 7578) as it arrives: bytes go in, in pieces of any
 * size, and the parts are told by where their content lies in the stream.
 * Nothing of a content is kept, so a body of any size costs the memory of its
 * headers: at most GB_FORM_MAX_PARTS times GB_FORM_MAX_HEAD.  Pure.
 */
#ifndef GB_MULTIPART_H
#define GB_MULTIPART_H

#include <stddef.h>
#include <apr_pools.h>
#include <apr_tables.h>

#define GB_FORM_MAX_PARTS    128
#define GB_FORM_MAX_HEAD     (8 * 1024)
#define GB_FORM_MAX_BOUNDARY 70 /* as RFC 2046 has it */

typedef struct gb_form_t gb_form_t;

/* One part, once its content has ended. */
typedef struct gb_form_part_t {
    const char *name;      /* UTF-8 as it came; what was not is U+FFFD */
    const char *file_name; /* NULL: a plain field */
    const char *type;      /* Content-Type, "" when none is told */
    size_t offset, len;    /* of the content in the stream */
} gb_form_part_t;

/* NULL: content_type is no multipart/form-data with a boundary that can be one. */
gb_form_t *gb_form_make(const char *content_type, apr_pool_t *p);

/* APR_EINVAL: gb_form_fault says what is wrong; nothing more is taken. */
apr_status_t gb_form_feed(gb_form_t *form, const char *bytes, size_t len);
/* The stream is over.  APR_EINVAL likewise: it ended before the form did. */
apr_status_t gb_form_end(gb_form_t *form);

/* A sentence for the client, NULL while all is well. */
const char *gb_form_fault(const gb_form_t *form);
/* Of gb_form_part_t, in order. */
const apr_array_header_t *gb_form_parts(const gb_form_t *form);

#endif
