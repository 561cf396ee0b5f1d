/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting text (see cut.h).  Markdown is not parsed: what must stay together is
 * found by looking at the line around a cut, which is enough for a client that
 * renders while it reads.
 */
#include "proto/cut.h"

#include <math.h>
#include <string.h>

#define LABEL_MAX 1000 /* bytes of a link's label */

/* ---- characters ---- */

static int is_escape(const char *text, size_t len, size_t at, char what)
{
    return at + 1 < len && text[at] == '\\' && text[at + 1] == what;
}

/* \uD8xx to \uDBxx */
static int is_high_half(const char *text, size_t len, size_t at)
{
    return at + 5 < len && is_escape(text, len, at, 'u') && (text[at + 2] | 0x20) == 'd'
           && strchr("89abAB", text[at + 3]) != NULL;
}

/* The end of the character at `at`. */
static size_t char_end(const char *text, size_t len, size_t at)
{
    size_t end = at + 1;

    if (is_escape(text, len, at, 'u')) {
        end = at + 6;
        if (is_high_half(text, len, at) && is_escape(text, len, end, 'u')) {
            end += 6;
        }
    }
    else if (text[at] == '\\') {
        end = at + 2;
    }
    else {
        while (end < len && ((unsigned char)text[end] & 0xc0) == 0x80) {
            end++;
        }
    }
    return end < len ? end : len;
}

size_t gb_cut_count(const char *text, size_t len)
{
    size_t n = 0, at;

    for (at = 0; at < len; at = char_end(text, len, at)) {
        n++;
    }
    return n;
}

/* ---- lines ---- */

static size_t line_end(const char *text, size_t len, size_t at)
{
    while (at < len) {
        int breaks = is_escape(text, len, at, 'n');

        at = char_end(text, len, at);
        if (breaks) {
            break;
        }
    }
    return at;
}

static int is_line_end(const char *text, size_t at)
{
    return at >= 2 && is_escape(text, at, at - 2, 'n');
}

/* ---- what must stay together ---- */

/* **, ```, ---, ### ... */
static size_t run_end(const char *text, size_t len, size_t end)
{
    static const char marks[] = "`*_~#=-|>+!";

    while (end < len && end > 0 && text[end] == text[end - 1] && strchr(marks, text[end]) != NULL) {
        end++;
    }
    return end;
}

/* ```python: `from` is the beginning of the line. */
static int is_fence(const char *text, size_t len, size_t from)
{
    while (from < len && text[from] == ' ') {
        from++;
    }
    return from + 3 <= len
           && (memcmp(text + from, "```", 3) == 0 || memcmp(text + from, "~~~", 3) == 0);
}

/* Links are looked for from left to right: what one search has settled is not searched again. */
typedef struct links_t {
    const char *text;
    size_t len;
    size_t none_before; /* no link ends before here */
} links_t;

/* The end of the link whose bracket stands at `at`; 0: it is none. */
static size_t link_end(links_t *links, size_t at)
{
    const char *text = links->text, *middle, *stop, *close;
    size_t left = links->len - at;

    middle = memmem(text + at, left < LABEL_MAX ? left : LABEL_MAX, "](", 2);
    if (middle == NULL || at < links->none_before) {
        return 0;
    }
    stop = memmem(text + at, left, "\\n", 2);
    stop = stop != NULL ? stop : text + links->len;
    close = middle < stop ? memchr(middle, ')', (size_t)(stop - middle)) : NULL;
    if (close == NULL) {
        links->none_before = (size_t)(stop - text);
        return 0;
    }
    return (size_t)(close - text) + 1;
}

/* The end of the link around `end` that begins in this line; 0: there is none. */
static size_t link_around(const char *text, size_t len, size_t line, size_t end)
{
    links_t links = {text, len, 0};
    size_t stop, i;

    for (i = line; i < end; i = char_end(text, len, i)) {
        stop = text[i] == '[' ? link_end(&links, i) : 0;
        if (stop > end) {
            return stop;
        }
        i = stop > 0 ? stop - 1 : i;
    }
    /* "!" and its bracket */
    return end < len && end > line && text[end] == '[' && text[end - 1] == '!'
               ? link_end(&links, end)
               : 0;
}

/* Where the cut has to go so that it tears nothing apart. */
static size_t moved(const char *text, size_t len, int begins_line, size_t end)
{
    size_t line = 0, stop;

    while ((stop = line_end(text, end, line)) < end) {
        line = stop;
    }
    if (is_line_end(text, end)) {
        return end;
    }
    if ((line > 0 || begins_line) && is_fence(text, len, line)) {
        return line_end(text, len, line);
    }
    stop = link_around(text, len, line, end);
    return stop > 0 ? stop : run_end(text, len, end);
}

size_t gb_cut_end(const char *text, size_t len, int begins_line, size_t chars, size_t bytes)
{
    size_t end = 0, n = 0, next;

    while (end < len && (n < chars || end < bytes)) {
        end = char_end(text, len, end);
        n++;
    }
    while (end > 0 && end < len && (next = moved(text, len, begins_line, end)) > end) {
        end = next;
    }
    return end;
}

/* ---- pace ---- */

size_t gb_cut_step(const gb_settings_t *settings, size_t chars)
{
    return chars < (size_t)settings->stream_long_text_threshold
               ? 1
               : (size_t)settings->stream_chunk_size;
}

/* The longer the text, the shorter the pause: by logarithm between the thresholds. */
apr_interval_time_t gb_cut_delay(const gb_settings_t *settings, size_t chars)
{
    double low = (double)settings->stream_short_text_threshold;
    double high = (double)settings->stream_long_text_threshold;
    double longest = (double)settings->stream_max_delay;
    double shortest = (double)settings->stream_min_delay;

    if ((double)chars <= low) {
        return settings->stream_max_delay;
    }
    if ((double)chars >= high) {
        return settings->stream_min_delay;
    }
    low = low < 1 ? 1 : low;
    return (apr_interval_time_t)(longest
                                 - (longest - shortest) * log((double)chars / low)
                                       / log(high / low));
}
