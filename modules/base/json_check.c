/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one pass that decides whether bytes are JSON, and the mending of lone
 * surrogates.  Everything that reads values afterwards (json.c) relies on it.
 * No tree, no recursion, no memory: a body is checked where it lies.
 */
#include "base/json.h"

#include <stdio.h>

#include "base/json_scan.h"

typedef struct check_t {
    const char *text;
    const char *p;
    const char *end;
    gb_json_fault_t *fault;
    int depth;
    char open[GB_JSON_MAX_DEPTH]; /* '{' or '[' */
} check_t;

static apr_status_t fault_at(check_t *c, const char *at, const char *what)
{
    c->fault->offset = (size_t)(at - c->text);
    snprintf(c->fault->message, sizeof(c->fault->message), "%s at byte %zu", what,
             c->fault->offset);
    return APR_EINVAL;
}

static apr_status_t unexpected(check_t *c)
{
    return fault_at(c, c->p, c->p < c->end ? "unexpected character" : "unexpected end of text");
}

/* ---- strings ---- */

static int is_high(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static int is_low(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* p stands at a backslash; the value of a \uXXXX there, -1 when it is no such escape. */
static int unit_at(const char *p, const char *end)
{
    return end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? scan_hex4(p + 2) : -1;
}

/* The length of the escape at p, 0 when it is none. */
static size_t escape_len(const char *p, const char *end, int *lone)
{
    int unit;

    if (end - p >= 2 && p[1] != 'u') {
        return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? 2 : 0;
    }
    unit = unit_at(p, end);
    if (unit < 0) {
        return 0;
    }
    if (is_high(unit) && is_low(unit_at(p + 6, end))) {
        return 12;
    }
    if (is_high(unit) || is_low(unit)) {
        *lone = 1;
    }
    return 6;
}

static apr_status_t string_fault(check_t *c)
{
    const char *what = "invalid UTF-8";

    if (c->p >= c->end) {
        what = "unexpected end of text inside a string";
    }
    else if (*c->p == '\\') {
        what = "invalid escape";
    }
    else if ((unsigned char)*c->p < 0x20) {
        what = "control character inside a string";
    }
    return fault_at(c, c->p, what);
}

/* p stands at the opening quote. */
static apr_status_t check_string(check_t *c)
{
    c->p++;
    for (;;) {
        size_t step = 0;

        c->p = scan_plain(c->p, c->end);
        if (c->p < c->end && *c->p == '"') {
            c->p++;
            return APR_SUCCESS;
        }
        if (c->p < c->end && *c->p == '\\') {
            step = escape_len(c->p, c->end, &c->fault->has_lone_surrogate);
        }
        else if (c->p < c->end && (unsigned char)*c->p >= 0x80) {
            step = scan_utf8(c->p, c->end);
        }
        if (step == 0) {
            return string_fault(c);
        }
        c->p += step;
    }
}

/* ---- the grammar ---- */

static apr_status_t check_key(check_t *c)
{
    apr_status_t rv;

    c->p = scan_space(c->p, c->end);
    if (c->p >= c->end || *c->p != '"') {
        return unexpected(c);
    }
    rv = check_string(c);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->p = scan_space(c->p, c->end);
    if (c->p >= c->end || *c->p != ':') {
        return unexpected(c);
    }
    c->p++;
    return APR_SUCCESS;
}

static apr_status_t check_word(check_t *c, const char *word, size_t len)
{
    if ((size_t)(c->end - c->p) < len || memcmp(c->p, word, len) != 0) {
        return unexpected(c);
    }
    c->p += len;
    return APR_SUCCESS;
}

static apr_status_t check_scalar(check_t *c)
{
    const char *after;

    switch (c->p < c->end ? *c->p : '\0') {
    case '"':
        return check_string(c);
    case 't':
        return check_word(c, "true", 4);
    case 'f':
        return check_word(c, "false", 5);
    case 'n':
        return check_word(c, "null", 4);
    }
    after = scan_number(c->p, c->end);
    if (after == NULL) {
        return unexpected(c);
    }
    c->p = after;
    return APR_SUCCESS;
}

/* Opens containers until one is empty (its closer is left to check_after) or a scalar was read. */
static apr_status_t check_value(check_t *c)
{
    for (;;) {
        apr_status_t rv;

        c->p = scan_space(c->p, c->end);
        if (c->p >= c->end || (*c->p != '{' && *c->p != '[')) {
            return check_scalar(c);
        }
        if (c->depth == GB_JSON_MAX_DEPTH) {
            return fault_at(c, c->p, "nesting is deeper than 100 levels");
        }
        c->open[c->depth++] = *c->p;
        c->p = scan_space(c->p + 1, c->end);
        if (c->p < c->end && *c->p == (c->open[c->depth - 1] == '{' ? '}' : ']')) {
            return APR_SUCCESS;
        }
        if (c->open[c->depth - 1] == '{' && (rv = check_key(c)) != APR_SUCCESS) {
            return rv;
        }
    }
}

/* After a value: closes what ends here; a comma leads on to the next value (*more). */
static apr_status_t check_after(check_t *c, int *more)
{
    *more = 0;
    while (c->depth > 0) {
        char open = c->open[c->depth - 1];

        c->p = scan_space(c->p, c->end);
        if (c->p < c->end && *c->p == ',') {
            c->p++;
            *more = 1;
            return open == '{' ? check_key(c) : APR_SUCCESS;
        }
        if (c->p >= c->end || *c->p != (open == '{' ? '}' : ']')) {
            return unexpected(c);
        }
        c->p++;
        c->depth--;
    }
    return APR_SUCCESS;
}

apr_status_t gb_json_check(const char *text, size_t len, gb_json_fault_t *fault)
{
    check_t c;
    int more = 1;
    apr_status_t rv = APR_SUCCESS;

    memset(fault, 0, sizeof(*fault));
    c.text = c.p = text;
    c.end = text + len;
    c.fault = fault;
    c.depth = 0;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        return fault_at(&c, text, "a byte order mark is not allowed");
    }
    while (rv == APR_SUCCESS && more) {
        rv = check_value(&c);
        if (rv == APR_SUCCESS) {
            rv = check_after(&c, &more);
        }
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c.p = scan_space(c.p, c.end);
    return c.p == c.end ? APR_SUCCESS : fault_at(&c, c.p, "text after the end of the value");
}

/* ---- mending ---- */

apr_status_t gb_json_mend(gb_buf_t *out, const char *text, size_t len)
{
    const char *end = text + len;
    const char *from = text;
    const char *p = text;

    /* no backslash stands outside of strings, so strings need not be told apart */
    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int lone = 0;
        size_t step = escape_len(p, end, &lone);

        if (lone) {
            gb_buf_append(out, from, (size_t)(p - from));
            gb_buf_append(out, "\\ufffd", 6);
            from = p + step;
        }
        p += step > 0 ? step : 1;
    }
    return gb_buf_append(out, from, (size_t)(end - from));
}
