/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a ceiling.  Failure is sticky: after the first
 * append that does not fit (or for which there is no memory) `rv` is set, later
 * appends do nothing, and a writer may check once at its end.  What was
 * appended before stays readable.
 *
 * Memory comes from malloc, not from a pool, because buffers shrink and move
 * between threads.  One owner at a time; no locking here.
 */
#ifndef GB_BUF_H
#define GB_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <apr_errno.h>
#include <apr_pools.h>

typedef struct gb_buf_t {
    char *data; /* NUL-terminated whenever it is not NULL */
    size_t len; /* without the NUL */
    size_t cap;
    size_t max;       /* ceiling for len */
    apr_status_t rv;  /* APR_SUCCESS, APR_ENOSPC (ceiling) or APR_ENOMEM */
    apr_pool_t *pool; /* that the memory goes with, NULL for none */
    char **owner;     /* the pool's own pointer to the memory */
} gb_buf_t;

/* All ceilings in one place. */
#define GB_BUF_MAX_LINE    (16 * 1024)
#define GB_BUF_MAX_ERROR   (64 * 1024)         /* an upstream error body */
#define GB_BUF_MAX_EVENT   (64 * 1024 * 1024)  /* one SSE event: 4K images in base64 */
#define GB_BUF_MAX_ANSWER  (96 * 1024 * 1024)  /* a collected answer */
#define GB_BUF_MAX_REQUEST (256 * 1024 * 1024) /* a translated request body */

/* No memory is taken before the first append. */
void gb_buf_init(gb_buf_t *buf, size_t max);
/*
 * The same, and the bytes go when p is cleaned.  They outlive the gb_buf_t, which may stand on a
 * stack; the gb_buf_t must not be used after p.
 */
void gb_buf_init_pool(gb_buf_t *buf, size_t max, apr_pool_t *p);
void gb_buf_free(gb_buf_t *buf);

apr_status_t gb_buf_append(gb_buf_t *buf, const void *bytes, size_t len);
apr_status_t gb_buf_puts(gb_buf_t *buf, const char *text);
apr_status_t gb_buf_putc(gb_buf_t *buf, char c);
apr_status_t gb_buf_printf(gb_buf_t *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes room for len more bytes without changing len. */
apr_status_t gb_buf_reserve(gb_buf_t *buf, size_t len);
/* Drops the first n bytes (n <= len); cheap when all of it goes. */
void gb_buf_consume(gb_buf_t *buf, size_t n);
/* Forgets content and failure, keeps up to 64 KiB of memory. */
void gb_buf_reset(gb_buf_t *buf);

#endif
