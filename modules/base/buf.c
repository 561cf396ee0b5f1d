/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing buffer.  Capacity doubles, so a buffer of n bytes costs a
 * logarithmic number of copies; nothing here knows what the bytes mean.
 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256
#define BUF_KEEP  (64 * 1024)
#define BUF_MAX   (((size_t)-1) / 4)

void gb_buf_init(gb_buf_t *buf, size_t max)
{
    memset(buf, 0, sizeof(*buf));
    /* doubling and the NUL must not overflow */
    buf->max = max < BUF_MAX ? max : BUF_MAX;
}

/* The pool's hold on the memory: the buffer itself may stand on a stack that is gone by then. */
static apr_status_t owner_cleanup(void *owner)
{
    free(*(char **)owner);
    return APR_SUCCESS;
}

static void buf_own(gb_buf_t *buf)
{
    if (buf->pool == NULL) {
        return;
    }
    if (buf->owner == NULL) {
        buf->owner = apr_palloc(buf->pool, sizeof(*buf->owner));
        apr_pool_cleanup_register(buf->pool, buf->owner, owner_cleanup, apr_pool_cleanup_null);
    }
    *buf->owner = buf->data;
}

void gb_buf_init_pool(gb_buf_t *buf, size_t max, apr_pool_t *p)
{
    gb_buf_init(buf, max);
    buf->pool = p;
}

void gb_buf_free(gb_buf_t *buf)
{
    free(buf->data);
    buf->data = NULL;
    buf->len = 0;
    buf->cap = 0;
    if (buf->owner != NULL) {
        *buf->owner = NULL;
    }
}

static apr_status_t buf_fail(gb_buf_t *buf, apr_status_t rv)
{
    buf->rv = rv;
    return rv;
}

/* cap counts the NUL; the ceiling does not. */
static size_t buf_next_cap(const gb_buf_t *buf, size_t need)
{
    size_t cap = buf->cap > 0 ? buf->cap : BUF_FIRST;

    while (cap < need) {
        cap *= 2;
    }
    return cap > buf->max + 1 ? buf->max + 1 : cap;
}

apr_status_t gb_buf_reserve(gb_buf_t *buf, size_t len)
{
    char *data;
    size_t cap;

    if (buf->rv != APR_SUCCESS) {
        return buf->rv;
    }
    if (len > buf->max - buf->len) {
        return buf_fail(buf, APR_ENOSPC);
    }
    if (buf->data != NULL && buf->len + len < buf->cap) {
        return APR_SUCCESS;
    }
    cap = buf_next_cap(buf, buf->len + len + 1);
    data = realloc(buf->data, cap);
    if (data == NULL) {
        return buf_fail(buf, APR_ENOMEM);
    }
    data[buf->len] = '\0';
    buf->data = data;
    buf->cap = cap;
    buf_own(buf);
    return APR_SUCCESS;
}

apr_status_t gb_buf_append(gb_buf_t *buf, const void *bytes, size_t len)
{
    apr_status_t rv = gb_buf_reserve(buf, len);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (len > 0) {
        memcpy(buf->data + buf->len, bytes, len);
        buf->len += len;
        buf->data[buf->len] = '\0';
    }
    return APR_SUCCESS;
}

apr_status_t gb_buf_puts(gb_buf_t *buf, const char *text)
{
    return gb_buf_append(buf, text, strlen(text));
}

apr_status_t gb_buf_putc(gb_buf_t *buf, char c)
{
    return gb_buf_append(buf, &c, 1);
}

apr_status_t gb_buf_printf(gb_buf_t *buf, const char *fmt, ...)
{
    va_list ap;
    int n;
    apr_status_t rv;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return buf->rv != APR_SUCCESS ? buf->rv : buf_fail(buf, APR_EINVAL);
    }
    rv = gb_buf_reserve(buf, (size_t)n);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    va_start(ap, fmt);
    vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf->len += (size_t)n;
    return APR_SUCCESS;
}

void gb_buf_consume(gb_buf_t *buf, size_t n)
{
    if (n == 0) {
        return;
    }
    if (n < buf->len) {
        memmove(buf->data, buf->data + n, buf->len - n);
        buf->len -= n;
    }
    else {
        buf->len = 0;
    }
    if (buf->data != NULL) {
        buf->data[buf->len] = '\0';
    }
}

void gb_buf_reset(gb_buf_t *buf)
{
    if (buf->cap > BUF_KEEP) {
        gb_buf_free(buf);
    }
    buf->len = 0;
    buf->rv = APR_SUCCESS;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}
