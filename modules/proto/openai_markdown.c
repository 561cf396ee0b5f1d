/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures in an assistant's Markdown: what we handed out as text comes back as
 * pictures.  Pictures of content parts are openai_content.c's.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

#include "base/base64.h"

static void slice_put(gb_openai_turns_t *turns, const char *from, const char *to)
{
    gb_buf_t *out;

    if (to > from) {
        out = gb_openai_part(turns);
        gb_buf_puts(out, "{\"text\":\"");
        gb_buf_append(out, from, (size_t)(to - from));
        gb_buf_puts(out, "\"}");
    }
}

/* The length of a slash, which some clients escape; 0: there is none. */
static size_t slash_len(const char *at, const char *end)
{
    return at < end && *at == '/' ? 1 : end - at >= 2 && at[0] == '\\' && at[1] == '/' ? 2 : 0;
}

/* Where "png;base64,AAAA)" has its bracket; NULL: no picture as we hand them out. */
static const char *picture_end(const char *at, const char *end)
{
    static const char mark[] = ";base64,";
    size_t digits = 0, pads = 0;

    while (at < end && *at >= 'a' && *at <= 'z') {
        at++;
    }
    if ((size_t)(end - at) < sizeof(mark) || memcmp(at, mark, sizeof(mark) - 1) != 0) {
        return NULL;
    }
    at += sizeof(mark) - 1;
    while (at < end && (gb_base64_digit(*at) >= 0 || slash_len(at, end) > 0)) {
        at += *at == '\\' ? 2 : 1;
        digits++;
    }
    for (; at < end && *at == '='; at++) {
        pads++;
    }
    return at < end && *at == ')' && digits > 0 && digits % 4 != 1 && pads <= 2 ? at : NULL;
}

/* Where the "![alt" begins that ends at hit, behind from; NULL: there is none. */
static const char *alt_begin(const char *from, const char *hit)
{
    while (hit > from && *hit != '[') {
        hit--;
    }
    return hit > from && *hit == '[' && hit[-1] == '!' ? hit - 1 : NULL;
}

/*
 * ![alt](data:image/png;base64,....) is how we hand out pictures: as text it
 * would come back as millions of tokens.  The raw string is cut, not decoded:
 * none of these bytes is ever escaped but the slash.  What only looks like one,
 * as where Markdown is the subject, stays text.
 */
apr_status_t gb_openai_assistant_text_put(gb_openai_turns_t *turns, gb_span_t text)
{
    static const char mark[] = "](data:image";
    const char *at = text.p + 1, *end = text.p + text.len - 1, *from = at;
    const char *hit, *begin, *close;
    size_t slash;
    gb_span_t url;
    char *quoted;
    apr_status_t rv;

    while ((hit = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        begin = alt_begin(at, hit);
        at = hit + sizeof(mark) - 1;
        slash = slash_len(at, end);
        if (begin == NULL || slash == 0 || (close = picture_end(at + slash, end)) == NULL) {
            continue;
        }
        slice_put(turns, from, begin);
        url.len = (size_t)(close - hit);
        quoted = apr_pstrmemdup(turns->call->pool, hit + 1, url.len);
        quoted[0] = quoted[url.len - 1] = '"';
        url.p = quoted;
        if ((rv = gb_openai_media_put(turns, url, NULL, "messages")) != APR_SUCCESS) {
            return rv;
        }
        from = at = close + 1;
    }
    slice_put(turns, from, end);
    return APR_SUCCESS;
}
