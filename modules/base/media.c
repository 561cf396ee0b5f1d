/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding media in JSON, from quote to quote.
 */
#include "base/media.h"

#include <string.h>

#include "base/base64.h"

const char *gb_media_string_end(const char *at, const char *end)
{
    while (at < end) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *slash;

        if (!quote) {
            return end;
        }
        for (slash = quote; slash > at && slash[-1] == '\\'; slash--) {
            ;
        }
        if ((quote - slash) % 2 == 0) {
            return quote;
        }
        at = quote + 1;
    }
    return end;
}

/* Base64, also behind "data:image/png;base64,": looked at where texts would have blanks. */
int gb_media_is(const char *from, const char *end)
{
    const char *comma = memchr(from, ',', (size_t)(end - from) < 100 ? (size_t)(end - from) : 100);
    int i;

    if (end - from < GB_MEDIA_MIN) {
        return 0;
    }
    if (strncmp(from, "data:", 5) == 0 && comma) {
        return 1;
    }
    for (i = 0; i < GB_MEDIA_MIN; i++) {
        if (gb_base64_digit(from[i]) < 0 && from[i] != '='
            && !(from[i] == '\\' && from[i + 1] == '/')) {
            return 0; /* some clients escape every slash */
        }
    }
    return 1;
}

size_t gb_media_left(const char *json, size_t len, size_t *n)
{
    const char *end = json + len, *at = json, *quote, *close;

    *n = 0;
    while ((quote = memchr(at, '"', (size_t)(end - at))) != NULL) {
        close = gb_media_string_end(quote + 1, end);
        if (gb_media_is(quote + 1, close)) {
            len -= (size_t)(close - quote - 1);
            ++*n;
        }
        at = close < end ? close + 1 : end;
    }
    return len;
}
