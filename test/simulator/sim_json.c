/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's JSON reader: one pass, a flat run of tokens, no allocation
 * once the token array has grown. It is strict about the grammar, since Google
 * is, and leaves strings escaped until somebody asks for them.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

typedef struct {
    sj_doc_t *doc;
    const char *p, *end;
    uint32_t parent[SJ_MAX_DEPTH + 1];
    unsigned depth;
} reader_t;

static bool fail(reader_t *r, const char *why)
{
    r->doc->error = why;
    r->doc->error_at = (size_t)(r->p - r->doc->s);
    return false;
}

static void skip_space(reader_t *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t')) {
        r->p++;
    }
}

static sj_tok_t *add(reader_t *r, sj_type_t type)
{
    sj_doc_t *d = r->doc;
    sj_tok_t *t;

    if (d->ntok == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 256;
        d->tok = sim_xrealloc(d->tok, d->cap * sizeof(*d->tok));
    }
    t = &d->tok[d->ntok++];
    memset(t, 0, sizeof(*t));
    t->type = (uint8_t)type;
    t->off = (uint32_t)(r->p - d->s);
    t->next = d->ntok;
    return t;
}

/* ---- scalars ---- */

static bool hex4(const char *p, const char *end)
{
    int i;

    for (i = 0; i < 4; i++, p++) {
        if (p >= end || strchr("0123456789abcdefABCDEF", *p) == NULL || *p == '\0') {
            return false;
        }
    }
    return true;
}

static bool read_escape(reader_t *r)
{
    r->p++;
    if (r->p >= r->end) {
        return fail(r, "Closing quote expected in string.");
    }
    if (*r->p == 'u') {
        if (!hex4(r->p + 1, r->end)) {
            return fail(r, "Illegal hex string.");
        }
        r->p += 4;
    }
    else if (*r->p == '\0' || strchr("\"\\/bfnrt", *r->p) == NULL) {
        return fail(r, "Invalid escape sequence in string.");
    }
    r->p++;
    return true;
}

static bool read_string(reader_t *r)
{
    sj_tok_t *t = add(r, SJ_STRING);
    uint32_t index = (uint32_t)(t - r->doc->tok);

    t->off++;
    for (r->p++; r->p < r->end;) {
        unsigned char c = (unsigned char)*r->p;

        if (c == '"') {
            t = &r->doc->tok[index];
            t->len = (uint32_t)(r->p - r->doc->s) - t->off;
            r->p++;
            return true;
        }
        if (c == '\\') {
            r->doc->tok[index].escaped = 1;
            if (!read_escape(r)) {
                return false;
            }
        }
        else if (c < 0x20) {
            return fail(r, "Control character in string.");
        }
        else {
            r->p++;
        }
    }
    return fail(r, "Closing quote expected in string.");
}

static bool digits(reader_t *r)
{
    const char *from = r->p;

    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        r->p++;
    }
    return r->p > from;
}

static bool read_number(reader_t *r)
{
    uint32_t index = (uint32_t)(add(r, SJ_NUMBER) - r->doc->tok);
    bool leading_zero;

    if (*r->p == '-') {
        r->p++;
    }
    leading_zero = r->p + 1 < r->end && *r->p == '0' && r->p[1] >= '0' && r->p[1] <= '9';
    if (leading_zero || !digits(r)) {
        return fail(r, "Invalid number.");
    }
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (!digits(r)) {
            return fail(r, "Invalid number.");
        }
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-')) {
            r->p++;
        }
        if (!digits(r)) {
            return fail(r, "Invalid number.");
        }
    }
    r->doc->tok[index].len = (uint32_t)(r->p - r->doc->s) - r->doc->tok[index].off;
    return true;
}

static bool read_word(reader_t *r)
{
    static const struct {
        const char *word;
        sj_type_t type;
    } words[] = {
        {"null",  SJ_NULL },
        {"true",  SJ_TRUE },
        {"false", SJ_FALSE}
    };
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t n = strlen(words[i].word);

        if ((size_t)(r->end - r->p) >= n && memcmp(r->p, words[i].word, n) == 0) {
            add(r, words[i].type)->len = (uint32_t)n;
            r->p += n;
            return true;
        }
    }
    return fail(r, "Unexpected token.");
}

/* ---- structure ---- */

static bool read_key(reader_t *r)
{
    if (r->p >= r->end || *r->p != '"') {
        return fail(r, "Expected an object key or }.");
    }
    if (!read_string(r)) {
        return false;
    }
    skip_space(r);
    if (r->p >= r->end || *r->p != ':') {
        return fail(r, "Expected : between key:value pair.");
    }
    r->p++;
    skip_space(r);
    return true;
}

static bool open_container(reader_t *r, sj_type_t type)
{
    uint32_t index = (uint32_t)(add(r, type) - r->doc->tok);

    if (r->depth >= SJ_MAX_DEPTH) {
        return fail(r, "Message too deep. Max recursion depth reached for key.");
    }
    r->parent[++r->depth] = index;
    r->p++;
    skip_space(r);
    return true;
}

static void close_container(reader_t *r)
{
    sj_tok_t *t = &r->doc->tok[r->parent[r->depth--]];

    r->p++;
    t->len = (uint32_t)(r->p - r->doc->s) - t->off;
    t->next = r->doc->ntok;
}

/* Consumes what follows a value; true while another value is due. */
static bool after_value(reader_t *r, bool *ok)
{
    while (r->depth > 0) {
        sj_tok_t *t = &r->doc->tok[r->parent[r->depth]];
        char end = t->type == SJ_ARRAY ? ']' : '}';

        t->count++;
        skip_space(r);
        if (r->p < r->end && *r->p == ',') {
            r->p++;
            skip_space(r);
            *ok = end == ']' || read_key(r);
            return true;
        }
        if (r->p >= r->end || *r->p != end) {
            *ok = fail(r, end == ']' ? "Expected , or ] after array value."
                                     : "Expected , or } after key:value pair.");
            return false;
        }
        close_container(r);
    }
    return false;
}

/* Reads one value or opens one container; *opened says that a child is due. */
static bool read_value(reader_t *r, bool *opened)
{
    char c = r->p < r->end ? *r->p : '\0';

    *opened = false;
    if (c == '"') {
        return read_string(r);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return read_number(r);
    }
    if (c != '{' && c != '[') {
        return read_word(r);
    }
    if (!open_container(r, c == '{' ? SJ_OBJECT : SJ_ARRAY)) {
        return false;
    }
    if (r->p < r->end && *r->p == (c == '{' ? '}' : ']')) {
        close_container(r);
        return true;
    }
    *opened = true;
    return c == '[' || read_key(r);
}

bool sj_parse(sj_doc_t *doc, const char *s, size_t n)
{
    reader_t r = {.doc = doc, .p = s, .end = s + n};
    bool opened, ok = true;

    doc->s = s;
    doc->n = n;
    doc->ntok = 0;
    doc->error = NULL;
    skip_space(&r);
    do {
        if (!read_value(&r, &opened)) {
            return false;
        }
    } while (opened || (after_value(&r, &ok) && ok));
    if (!ok) {
        return false;
    }
    skip_space(&r);
    return r.p == r.end || fail(&r, "Parsing terminated before end of input.");
}

/* ---- access ---- */

bool sj_name_is(const sj_doc_t *doc, uint32_t key, const char *camel)
{
    const sj_tok_t *t = &doc->tok[key];
    const char *s = doc->s + t->off, *end = s + t->len;

    for (; *camel != '\0'; camel++, s++) {
        if (s >= end) {
            return false;
        }
        if (*camel >= 'A' && *camel <= 'Z' && *s == '_') {
            s++;
            if (s >= end || (*s | 0x20) != (*camel | 0x20)) {
                return false;
            }
        }
        else if (*s != *camel) {
            return false;
        }
    }
    return s == end;
}

bool sj_is(const sj_doc_t *doc, uint32_t t, sj_type_t type)
{
    return t != SJ_NONE && doc->tok[t].type == type;
}

uint32_t sj_get(const sj_doc_t *doc, uint32_t object, const char *camel)
{
    uint32_t found = SJ_NONE;

    if (!sj_is(doc, object, SJ_OBJECT)) {
        return SJ_NONE;
    }
    SJ_EACH_MEMBER(doc, object, key)
    {
        if (sj_name_is(doc, key, camel)) {
            found = doc->tok[key + 1].type == SJ_NULL ? SJ_NONE : key + 1;
        }
    }
    return found;
}

uint32_t sj_begin(const sj_doc_t *doc, uint32_t value)
{
    if (value == SJ_NONE) {
        return 0;
    }
    return doc->tok[value].type == SJ_ARRAY ? value + 1 : value;
}

uint32_t sj_end(const sj_doc_t *doc, uint32_t value)
{
    return value == SJ_NONE ? 0 : doc->tok[value].next;
}

sim_str_t sj_raw(const sj_doc_t *doc, uint32_t t)
{
    return t == SJ_NONE ? (sim_str_t){"", 0}
                        : (sim_str_t){doc->s + doc->tok[t].off, doc->tok[t].len};
}

sim_str_t sj_text(const sj_doc_t *doc, uint32_t t)
{
    sim_str_t s = sj_raw(doc, t);

    if (sj_is(doc, t, SJ_STRING)) {
        s.p--;
        s.n += 2;
    }
    return s;
}

static uint32_t hex_value(const char *p)
{
    uint32_t v = 0;
    int i;

    for (i = 0; i < 4; i++) {
        v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    }
    return v;
}

static void put_utf8(sim_buf_t *b, uint32_t c)
{
    if (c < 0x80) {
        sim_putc(b, (char)c);
    }
    else if (c < 0x800) {
        sim_putc(b, (char)(0xc0 | c >> 6));
        sim_putc(b, (char)(0x80 | (c & 63)));
    }
    else if (c < 0x10000) {
        sim_putc(b, (char)(0xe0 | c >> 12));
        sim_putc(b, (char)(0x80 | (c >> 6 & 63)));
        sim_putc(b, (char)(0x80 | (c & 63)));
    }
    else {
        sim_putc(b, (char)(0xf0 | c >> 18));
        sim_putc(b, (char)(0x80 | (c >> 12 & 63)));
        sim_putc(b, (char)(0x80 | (c >> 6 & 63)));
        sim_putc(b, (char)(0x80 | (c & 63)));
    }
}

/* Decodes \uXXXX at p (behind the u); lone surrogates become U+FFFD. */
static const char *put_unicode(sim_buf_t *b, const char *p, const char *end)
{
    uint32_t c = hex_value(p);

    p += 4;
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        uint32_t low = hex_value(p + 2);

        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        }
    }
    put_utf8(b, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return p;
}

void sj_string(const sj_doc_t *doc, uint32_t t, sim_buf_t *out)
{
    static const char plain[] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r',
                                 ['t'] = '\t', ['"'] = '"',  ['\\'] = '\\', ['/'] = '/'};
    sim_str_t s = sj_raw(doc, t);
    const char *p = s.p, *end = s.p + s.n;

    if (!sj_is(doc, t, SJ_STRING)) {
        return;
    }
    if (!doc->tok[t].escaped) {
        sim_put(out, s.p, s.n);
        return;
    }
    while (p < end) {
        if (*p != '\\') {
            sim_putc(out, *p++);
        }
        else if (p[1] == 'u') {
            p = put_unicode(out, p + 2, end);
        }
        else {
            sim_putc(out, plain[(unsigned char)p[1]]);
            p += 2;
        }
    }
}

bool sj_eq(const sj_doc_t *doc, uint32_t t, const char *s)
{
    return sj_is(doc, t, SJ_STRING) && sim_eq(sj_raw(doc, t), s);
}

double sj_double(const sj_doc_t *doc, uint32_t t, double otherwise)
{
    char text[64];
    sim_str_t s = sj_raw(doc, t);
    char *end;
    double v;

    if (s.n == 0 || s.n >= sizeof(text)
        || (!sj_is(doc, t, SJ_NUMBER) && !sj_is(doc, t, SJ_STRING))) {
        return otherwise;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    v = strtod(text, &end);
    return *end == '\0' ? v : otherwise;
}

long sj_long(const sj_doc_t *doc, uint32_t t, long otherwise)
{
    double v = sj_double(doc, t, (double)otherwise);

    if (v > 1e15 || v < -1e15 || v != v) {
        return otherwise;
    }
    return (long)v;
}

bool sj_true(const sj_doc_t *doc, uint32_t t)
{
    return sj_is(doc, t, SJ_TRUE);
}
