/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON into a buffer: strings, copies of ranges, and the minimal edit
 * of an object whose other bytes must stay as the client sent them.  A buffer's
 * failure is sticky, so callers check once at the end.
 */
#include "base/json.h"

#include "base/json_scan.h"

apr_status_t gb_json_put_split(gb_buf_t *out, const char *text, char sep)
{
    const char ends[] = {sep, '\0'};
    const char *at = text;

    gb_buf_putc(out, '[');
    while (*at) {
        size_t len = strcspn(at, ends);

        gb_buf_puts(out, at > text ? "," : "");
        gb_json_put_str(out, at, len);
        at += len + (at[len] == sep);
    }
    return gb_buf_putc(out, ']');
}

apr_status_t gb_json_put_span(gb_buf_t *out, gb_span_t raw)
{
    return gb_buf_append(out, raw.p, raw.len);
}

/* ---- strings ---- */

static void put_escape(gb_buf_t *out, unsigned char c)
{
    static const char named[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    const char *at = c != 0 ? strchr(named, c) : NULL;

    if (at != NULL) {
        text[1] = letters[at - named];
        gb_buf_append(out, text, 2);
        return;
    }
    gb_buf_append(out, text, 6);
}

apr_status_t gb_json_put_escaped(gb_buf_t *out, const char *text, size_t len)
{
    const char *end = text + len;
    const char *from = text;
    const char *p = text;

    while (p < end) {
        size_t seq;

        p = scan_plain(p, end);
        seq = p < end && (unsigned char)*p >= 0x80 ? scan_utf8(p, end) : 0;
        if (p >= end || seq > 0) {
            p += seq;
            continue;
        }
        gb_buf_append(out, from, (size_t)(p - from));
        if ((unsigned char)*p >= 0x80) {
            gb_buf_append(out, "\xef\xbf\xbd", 3);
        }
        else {
            put_escape(out, (unsigned char)*p);
        }
        from = ++p;
    }
    return gb_buf_append(out, from, (size_t)(end - from));
}

apr_status_t gb_json_put_str(gb_buf_t *out, const char *text, size_t len)
{
    gb_buf_putc(out, '"');
    gb_json_put_escaped(out, text, len);
    return gb_buf_putc(out, '"');
}

apr_status_t gb_json_put_cstr(gb_buf_t *out, const char *text)
{
    return text != NULL ? gb_json_put_str(out, text, strlen(text)) : gb_buf_puts(out, "null");
}

/* ---- copies ---- */

/* The byte after the string that begins at p. */
static const char *after_string(const char *p, const char *end)
{
    p++;
    for (;;) {
        p = scan_to_quote(p, end);
        if (p >= end || *p == '"') {
            return p < end ? p + 1 : end;
        }
        p = end - p >= 2 ? p + 2 : end;
    }
}

apr_status_t gb_json_put_compact(gb_buf_t *out, gb_span_t raw)
{
    const char *end = raw.p + raw.len;
    const char *from = raw.p;
    const char *p = raw.p;

    while (p < end) {
        if (*p == '"') {
            p = after_string(p, end);
        }
        else if (scan_is_space(*p)) {
            gb_buf_append(out, from, (size_t)(p - from));
            from = p = scan_space(p, end);
        }
        else {
            p++;
        }
    }
    return gb_buf_append(out, from, (size_t)(end - from));
}

/* ---- the minimal edit ---- */

#define EDITS_MAX 64

static const gb_json_edit_t *find_edit(const gb_json_edit_t *edits, size_t n, gb_span_t key)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (gb_json_eq(key, edits[i].name)) {
            return &edits[i];
        }
    }
    return NULL;
}

/* The bytes between two members; the first one that is kept has no comma before it. */
static void put_gap(gb_buf_t *out, const char *from, const char *to, int first)
{
    const char *comma = first ? memchr(from, ',', (size_t)(to - from)) : NULL;

    if (comma != NULL) {
        gb_buf_append(out, from, (size_t)(comma - from));
        from = comma + 1;
    }
    gb_buf_append(out, from, (size_t)(to - from));
}

static void put_new_member(gb_buf_t *out, const gb_json_edit_t *edit, int first)
{
    if (!first) {
        gb_buf_putc(out, ',');
    }
    gb_json_put_cstr(out, edit->name);
    gb_buf_putc(out, ':');
    gb_json_put_span(out, edit->value);
}

apr_status_t gb_json_edit(gb_buf_t *out, gb_span_t object, const gb_json_edit_t *edits, size_t n)
{
    apr_uint64_t seen = 0;
    size_t kept = 0;
    size_t i;
    const char *at;
    gb_json_iter_t it;

    if (gb_json_kind(object) != GB_JSON_OBJECT || n > EDITS_MAX) {
        return APR_EINVAL;
    }
    gb_buf_putc(out, '{');
    at = object.p + 1;
    for (gb_json_iter(&it, object); gb_json_next(&it); at = it.value.p + it.value.len) {
        const gb_json_edit_t *edit = find_edit(edits, n, it.key);

        if (edit != NULL) {
            seen |= (apr_uint64_t)1 << (edit - edits);
        }
        if (edit != NULL && edit->value.p == NULL) {
            continue;
        }
        put_gap(out, at, it.key.p, kept++ == 0);
        gb_buf_append(out, it.key.p, (size_t)(it.value.p - it.key.p));
        gb_json_put_span(out, edit != NULL ? edit->value : it.value);
    }
    for (i = 0; i < n; i++) {
        if (edits[i].value.p != NULL && (seen >> i & 1) == 0) {
            put_new_member(out, &edits[i], kept++ == 0);
        }
    }
    return gb_buf_append(out, at, (size_t)(object.p + object.len - at));
}
