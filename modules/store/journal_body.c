/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body as the error log keeps it: bounded, without media, keys and
 * tokens.  One pass that stops when there is enough, since it runs in the
 * engine's thread and bodies may be very long.
 */
#include "store/journal_write.h"

#include <string.h>

#include <apr_strings.h>

#include "base/json.h"
#include "base/media.h"
#include "base/secret.h"

#define OUT_MAX    (16 * 1024)
#define IN_MAX     (4 * 1024 * 1024)
#define STRING_MAX 4096 /* of one string; longer ones are cut */

/* Where a string may be cut: not within an escape, and not within a character. */
static const char *cut_at(const char *from, const char *at)
{
    const char *slash = at;

    while (at > from && ((unsigned char)*at & 0xC0) == 0x80) {
        at--;
    }
    for (slash = at; slash > from && at - slash < 12; slash--) {
        if (slash[-1] == '\\') {
            return slash - 1; /* what follows may belong to it */
        }
    }
    return at;
}

static void put_string(gb_buf_t *out, const char *from, const char *end)
{
    const char *cut;

    gb_buf_putc(out, '"');
    if (gb_media_is(from, end)) {
        gb_buf_printf(out, "[%ld characters of media]", (long)(end - from));
    }
    else if (end - from > STRING_MAX) {
        cut = cut_at(from, from + STRING_MAX);
        gb_buf_append(out, from, (size_t)(cut - from));
        gb_buf_printf(out, " [%ld more]", (long)(end - cut));
    }
    else {
        gb_buf_append(out, from, (size_t)(end - from));
    }
    gb_buf_putc(out, '"');
}

static const char *redacted(const gb_buf_t *text, apr_pool_t *p)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, 4 * OUT_MAX, p);
    gb_redact(&out, text->data, text->len, NULL);
    return out.rv == APR_SUCCESS ? out.data : NULL;
}

const char *gb_journal_body(const char *body, size_t len, apr_pool_t *p)
{
    const char *at = body, *end = body + (len < IN_MAX ? len : IN_MAX);
    gb_buf_t out;

    gb_buf_init_pool(&out, 2 * OUT_MAX, p);
    while (at < end && out.len < OUT_MAX) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *close;

        if (!quote) {
            quote = end;
        }
        gb_buf_append(&out, at, (size_t)(quote - at) < OUT_MAX ? (size_t)(quote - at) : OUT_MAX);
        if (quote == end) {
            break;
        }
        close = gb_media_string_end(quote + 1, end);
        put_string(&out, quote + 1, close);
        at = close < end ? close + 1 : end;
    }
    return out.len ? redacted(&out, p) : NULL;
}
