/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading checked JSON by byte ranges: members, elements, strings, numbers.
 * Nothing is read past the end of a range even when the text was not checked;
 * what comes back is then merely meaningless.  Checking is json_check.c's,
 * writing json_write.c's.
 */
#include "base/json.h"

#include <stdlib.h>

#include "base/json_scan.h"

/* What stops the walk over a container's bytes: 1 quote, 2 opener, 3 closer. */
static const unsigned char stop_class[256] = {
    ['"'] = 1, ['{'] = 2, ['['] = 2, ['}'] = 3, [']'] = 3,
};

static const gb_span_t none = {NULL, 0};

/* ---- skipping ---- */

/* p stands at the opening quote; the byte after the closing one (or end). */
static const char *skip_string(const char *p, const char *end)
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

static const char *skip_container(const char *p, const char *end)
{
    size_t depth = 0;

    while (p < end) {
        switch (stop_class[(unsigned char)*p]) {
        case 0:
            p = scan_to_stop(p + 1, end);
            break;
        case 1:
            p = skip_string(p, end);
            break;
        case 2:
            depth++;
            p++;
            break;
        case 3:
            p++;
            if (depth <= 1) {
                return p;
            }
            depth--;
            break;
        }
    }
    return end;
}

static const char *skip_value(const char *p, const char *end)
{
    if (p >= end) {
        return end;
    }
    if (*p == '"') {
        return skip_string(p, end);
    }
    if (*p == '{' || *p == '[') {
        return skip_container(p, end);
    }
    while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ':' && !scan_is_space(*p)) {
        p++;
    }
    return p;
}

/* ---- values and members ---- */

gb_span_t gb_json_root(const char *text, size_t len)
{
    const char *end;
    gb_span_t root;

    if (len == 0) {
        return none;
    }
    end = text + len;
    root.p = scan_space(text, end);
    while (end > root.p && scan_is_space(end[-1])) {
        end--;
    }
    root.len = (size_t)(end - root.p);
    return root.len > 0 ? root : none;
}

gb_json_kind_t gb_json_kind(gb_span_t value)
{
    if (value.p == NULL || value.len == 0) {
        return GB_JSON_NONE;
    }
    switch (value.p[0]) {
    case '{':
        return GB_JSON_OBJECT;
    case '[':
        return GB_JSON_ARRAY;
    case '"':
        return GB_JSON_STRING;
    case 't':
        return GB_JSON_TRUE;
    case 'f':
        return GB_JSON_FALSE;
    case 'n':
        return GB_JSON_NULL;
    }
    return GB_JSON_NUMBER;
}

void gb_json_iter(gb_json_iter_t *it, gb_span_t container)
{
    gb_json_kind_t kind = gb_json_kind(container);

    memset(it, 0, sizeof(*it));
    it->index = (size_t)-1;
    it->in_object = kind == GB_JSON_OBJECT;
    if (kind == GB_JSON_OBJECT || kind == GB_JSON_ARRAY) {
        it->at = container.p + 1;
        it->end = container.p + container.len;
    }
}

/* Leaves it->at behind the colon.  0 when no key stands there. */
static int next_key(gb_json_iter_t *it)
{
    if (it->at >= it->end || *it->at != '"') {
        return 0;
    }
    it->key.p = it->at;
    it->at = skip_string(it->at, it->end);
    it->key.len = (size_t)(it->at - it->key.p);
    it->at = scan_space(it->at, it->end);
    if (it->at >= it->end || *it->at != ':') {
        return 0;
    }
    it->at = scan_space(it->at + 1, it->end);
    return 1;
}

int gb_json_next(gb_json_iter_t *it)
{
    const char *after;

    it->at = scan_space(it->at, it->end);
    if (it->at < it->end && *it->at == ',') {
        it->at = scan_space(it->at + 1, it->end);
    }
    if (it->at >= it->end || *it->at == '}' || *it->at == ']' || (it->in_object && !next_key(it))) {
        it->at = it->end;
        return 0;
    }
    after = skip_value(it->at, it->end);
    it->value.p = it->at;
    it->value.len = (size_t)(after - it->at);
    if (it->value.len == 0) {
        it->at = it->end;
        return 0;
    }
    it->at = after;
    it->index++;
    return 1;
}

size_t gb_json_count(gb_span_t container)
{
    gb_json_iter_t it;
    size_t n = 0;

    for (gb_json_iter(&it, container); gb_json_next(&it);) {
        n++;
    }
    return n;
}

/* ---- strings ---- */

static size_t put_utf8(char *out, unsigned long cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | (cp >> 6));
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | (cp >> 12));
        out[1] = (char)(0x80 | ((cp >> 6) & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (cp >> 18));
    out[1] = (char)(0x80 | ((cp >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((cp >> 6) & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

static size_t decode_unit(const char *p, const char *end, char *out, size_t *len)
{
    int unit = end - p >= 6 ? scan_hex4(p + 2) : -1;
    int low = -1;

    if (unit >= 0xd800 && unit <= 0xdbff && end - p >= 12 && p[6] == '\\' && p[7] == 'u') {
        low = scan_hex4(p + 8);
    }
    if (low >= 0xdc00 && low <= 0xdfff) {
        *len = put_utf8(out, 0x10000UL + (((unsigned long)unit & 0x3ff) << 10)
                                 + ((unsigned long)low & 0x3ff));
        return 12;
    }
    if (unit < 0 || (unit >= 0xd800 && unit <= 0xdfff)) {
        *len = put_utf8(out, 0xfffd);
        return end - p >= 6 ? 6 : (size_t)(end - p);
    }
    *len = put_utf8(out, (unsigned long)unit);
    return 6;
}

/* Decodes the escape at p into out (4 bytes); the number of bytes that it took. */
static size_t decode_escape(const char *p, const char *end, char *out, size_t *len)
{
    static const char names[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    const char *name;

    if (end - p < 2) {
        *len = 0;
        return 1;
    }
    if (p[1] == 'u') {
        return decode_unit(p, end, out, len);
    }
    name = p[1] != '\0' ? strchr(names, p[1]) : NULL;
    out[0] = name != NULL ? values[name - names] : p[1];
    *len = 1;
    return 2;
}

/* The bytes between the quotes. */
static gb_span_t inside(gb_span_t string)
{
    gb_span_t in = {string.p + 1, string.len >= 2 ? string.len - 2 : 0};

    return in;
}

static int eq_n(gb_span_t string, const char *text, size_t len)
{
    gb_span_t in;
    const char *p, *end;

    if (gb_json_kind(string) != GB_JSON_STRING) {
        return 0;
    }
    in = inside(string);
    if (in.len < len) {
        return 0;
    }
    if (in.len == len) {
        return memcmp(in.p, text, len) == 0 && (len == 0 || memchr(in.p, '\\', len) == NULL);
    }
    for (p = in.p, end = in.p + in.len; p < end;) {
        char out[4];
        size_t n = 1;
        size_t step = 1;

        out[0] = *p;
        if (*p == '\\') {
            step = decode_escape(p, end, out, &n);
        }
        if (n > len || memcmp(out, text, n) != 0) {
            return 0;
        }
        text += n;
        len -= n;
        p += step;
    }
    return len == 0;
}

int gb_json_eq(gb_span_t string, const char *text)
{
    return eq_n(string, text, strlen(text));
}

apr_status_t gb_json_str_append(gb_buf_t *out, gb_span_t value)
{
    gb_span_t in;
    const char *p, *end;

    if (gb_json_kind(value) != GB_JSON_STRING) {
        return APR_EINVAL;
    }
    in = inside(value);
    for (p = in.p, end = in.p + in.len; p < end;) {
        const char *stop = memchr(p, '\\', (size_t)(end - p));
        char decoded[4];
        size_t n;

        gb_buf_append(out, p, (size_t)((stop != NULL ? stop : end) - p));
        if (stop == NULL) {
            break;
        }
        p = stop + decode_escape(stop, end, decoded, &n);
        gb_buf_append(out, decoded, n);
    }
    return out->rv;
}

const char *gb_json_str(gb_span_t value, size_t *len, apr_pool_t *p)
{
    gb_span_t in;
    const char *from, *end;
    char *text, *to;

    if (gb_json_kind(value) != GB_JSON_STRING) {
        return NULL;
    }
    in = inside(value);
    text = to = apr_palloc(p, in.len + 1); /* decoding never makes it longer */
    for (from = in.p, end = in.p + in.len; from < end;) {
        const char *stop = memchr(from, '\\', (size_t)(end - from));
        size_t run = (size_t)((stop != NULL ? stop : end) - from);
        size_t n = 0;

        memcpy(to, from, run);
        from += run;
        if (stop != NULL) {
            from += decode_escape(from, end, to + run, &n);
        }
        to += run + n;
    }
    *to = '\0';
    if (len != NULL) {
        *len = (size_t)(to - text);
    }
    return text;
}

/* ---- lookup ---- */

static gb_span_t get_n(gb_span_t object, const char *name, size_t len, const char *other)
{
    size_t other_len = other != NULL ? strlen(other) : 0;
    gb_span_t found = none;
    gb_json_iter_t it;

    if (gb_json_kind(object) != GB_JSON_OBJECT) {
        return none;
    }
    for (gb_json_iter(&it, object); gb_json_next(&it);) {
        if (eq_n(it.key, name, len) || (other != NULL && eq_n(it.key, other, other_len))) {
            found = it.value;
        }
    }
    return found;
}

gb_span_t gb_json_get(gb_span_t object, const char *name)
{
    return get_n(object, name, strlen(name), NULL);
}

void gb_json_get_all(gb_span_t object, const char *const *names, size_t n, gb_span_t *values)
{
    gb_json_iter_t it;
    size_t i;

    memset(values, 0, n * sizeof(*values));
    for (gb_json_iter(&it, object); gb_json_next(&it);) {
        for (i = 0; i < n; i++) {
            if (gb_json_eq(it.key, names[i])) {
                values[i] = it.value;
            }
        }
    }
}

gb_span_t gb_json_get2(gb_span_t object, const char *name, const char *other)
{
    return get_n(object, name, strlen(name), other);
}

static gb_span_t element_n(gb_span_t array, const char *digits, size_t len)
{
    gb_json_iter_t it;
    size_t want = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9' || i > 8) {
            return none;
        }
        want = want * 10 + (size_t)(digits[i] - '0');
    }
    for (gb_json_iter(&it, array); gb_json_next(&it);) {
        if (it.index == want) {
            return it.value;
        }
    }
    return none;
}

gb_span_t gb_json_path(gb_span_t root, const char *path)
{
    while (*path != '\0' && root.p != NULL) {
        size_t len = strcspn(path, ".");

        root = gb_json_kind(root) == GB_JSON_ARRAY ? element_n(root, path, len)
                                                   : get_n(root, path, len, NULL);
        path += len + (path[len] == '.');
    }
    return root;
}

/* ---- numbers ---- */

/* A number taken apart: (-) digits * 10^exp10, digits without trailing zeros. */
typedef struct decimal_t {
    int negative;
    int too_long; /* more digits than 64 bits hold: digits is cut */
    apr_uint64_t digits;
    long exp10;
} decimal_t;

#define EXP_MAX 100000L

static void decimal_digit(decimal_t *d, unsigned digit, long *zeros)
{
    if (digit == 0) {
        *zeros += d->digits != 0;
        return;
    }
    for (; *zeros >= 0; (*zeros)--) {
        if (d->digits > (APR_UINT64_MAX - 9) / 10) {
            d->too_long = 1;
            return;
        }
        d->digits *= 10;
    }
    *zeros = 0;
    d->digits += digit;
}

static long parse_exponent(const char *p, const char *end)
{
    int negative = p < end && *p == '-';
    long value = 0;

    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }
    for (; p < end && value < EXP_MAX; p++) {
        value = value * 10 + (*p - '0');
    }
    return negative ? -value : value;
}

/* Every digit that does not go into digits still moves the point. */
static void decimal_parse(decimal_t *d, gb_span_t number)
{
    const char *p = number.p;
    const char *end = p + number.len;
    int in_fraction = 0;
    long zeros = 0;
    long dropped = 0;

    memset(d, 0, sizeof(*d));
    if (p < end && *p == '-') {
        d->negative = 1;
        p++;
    }
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            in_fraction = 1;
            continue;
        }
        d->exp10 -= in_fraction;
        if (d->too_long) {
            dropped++;
            continue;
        }
        decimal_digit(d, (unsigned)(*p - '0'), &zeros);
        dropped += d->too_long ? 1 + zeros : 0;
    }
    d->exp10 += d->too_long ? dropped : zeros;
    if (p < end) {
        d->exp10 += parse_exponent(p + 1, end);
    }
}

static int is_number(gb_span_t value)
{
    return value.p != NULL && value.len > 0
           && scan_number(value.p, value.p + value.len) == value.p + value.len;
}

int gb_json_int(gb_span_t value, apr_int64_t *n)
{
    decimal_t d;

    if (!is_number(value)) {
        return 0;
    }
    decimal_parse(&d, value);
    if (d.digits == 0) {
        *n = 0;
        return 1;
    }
    if (d.too_long || d.exp10 < 0 || d.exp10 > 18) {
        return 0;
    }
    for (; d.exp10 > 0; d.exp10--) {
        if (d.digits > APR_UINT64_MAX / 10) {
            return 0;
        }
        d.digits *= 10;
    }
    if (d.digits > (apr_uint64_t)APR_INT64_MAX + (d.negative ? 1 : 0)) {
        return 0;
    }
    *n = d.negative ? (apr_int64_t)(0 - d.digits) : (apr_int64_t)d.digits;
    return 1;
}

static long double power_of_ten(long exp)
{
    long double base = 10.0L;
    long double result = 1.0L;

    for (; exp > 0; exp >>= 1) {
        if (exp & 1) {
            result *= base;
        }
        base *= base;
    }
    return result;
}

/* Not strtod: the decimal point of the process's locale is none of JSON's. */
int gb_json_double(gb_span_t value, double *n)
{
    decimal_t d;
    long double x;

    if (!is_number(value)) {
        return 0;
    }
    decimal_parse(&d, value);
    if (d.digits != 0 && d.exp10 > 308) {
        return 0;
    }
    if (d.exp10 < -360) {
        d.digits = 0;
    }
    x = (long double)d.digits;
    if (d.digits != 0) {
        x = d.exp10 >= 0 ? x * power_of_ten(d.exp10) : x / power_of_ten(-d.exp10);
    }
    if (x > 1.7976931348623157e308L) {
        return 0;
    }
    *n = (double)(d.negative ? -x : x);
    return 1;
}

int gb_json_bool(gb_span_t value, int *flag)
{
    gb_json_kind_t kind = gb_json_kind(value);

    if (kind != GB_JSON_TRUE && kind != GB_JSON_FALSE) {
        return 0;
    }
    *flag = kind == GB_JSON_TRUE;
    return 1;
}

int gb_json_int_or_str(gb_span_t value, apr_int64_t *n)
{
    return gb_json_int(gb_json_kind(value) == GB_JSON_STRING ? inside(value) : value, n);
}
