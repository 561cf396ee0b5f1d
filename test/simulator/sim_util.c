/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small tools of the simulator: buffers, borrowed strings, hashing, base64,
 * clocks and name tables. Nothing here knows HTTP or Gemini.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- memory ---- */

static void out_of_memory(void)
{
    static const char text[] = "gemini-simulator: out of memory\n";

    fwrite(text, 1, sizeof(text) - 1, stderr);
    abort();
}

void *sim_xrealloc(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

void *sim_xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

char *sim_strndup(const char *p, size_t n)
{
    char *s = sim_xrealloc(NULL, n + 1);

    if (n > 0) {
        memcpy(s, p, n);
    }
    s[n] = '\0';
    return s;
}

void sim_buf_need(sim_buf_t *b, size_t more)
{
    size_t want = b->cap ? b->cap : 256;

    if (b->cap - b->len >= more) {
        return;
    }
    while (want - b->len < more) {
        want *= 2;
    }
    b->p = sim_xrealloc(b->p, want);
    b->cap = want;
}

void sim_buf_free(sim_buf_t *b)
{
    free(b->p);
    memset(b, 0, sizeof(*b));
}

void sim_buf_printf(sim_buf_t *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    sim_buf_need(b, 256);
    va_start(ap, fmt);
    n = vsnprintf(b->p + b->len, b->cap - b->len, fmt, ap);
    va_end(ap);
    if (n < 0) {
        return;
    }
    if ((size_t)n >= b->cap - b->len) {
        sim_buf_need(b, (size_t)n + 1);
        va_start(ap, fmt);
        n = vsnprintf(b->p + b->len, b->cap - b->len, fmt, ap);
        va_end(ap);
    }
    b->len += (size_t)n;
}

void sim_put_u64(sim_buf_t *b, uint64_t v)
{
    char s[20];
    size_t at = sizeof(s);

    do {
        s[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    sim_put(b, s + at, sizeof(s) - at);
}

void sim_put_hex(sim_buf_t *b, uint64_t v)
{
    char s[16];
    size_t at = sizeof(s);

    do {
        s[--at] = "0123456789abcdef"[v & 15];
        v >>= 4;
    } while (v > 0);
    sim_put(b, s + at, sizeof(s) - at);
}

/* ---- JSON strings ---- */

static void put_escape(sim_buf_t *b, unsigned char c)
{
    static const char letter[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                  ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};

    if (c < sizeof(letter) && letter[c] != 0) {
        sim_putc(b, '\\');
        sim_putc(b, letter[c]);
    }
    else {
        sim_buf_printf(b, "\\u%04x", c);
    }
}

void sim_put_escaped(sim_buf_t *b, const char *s, size_t n)
{
    size_t from = 0, i;

    for (i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == '"' || c == '\\') {
            sim_put(b, s + from, i - from);
            put_escape(b, c);
            from = i + 1;
        }
    }
    sim_put(b, s + from, n - from);
}

/* ---- base64 ---- */

static const char base64_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void sim_put_base64(sim_buf_t *b, const void *data, size_t n)
{
    const unsigned char *p = data;
    size_t i;

    sim_buf_need(b, (n + 2) / 3 * 4);
    for (i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;

        v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
        v |= i + 2 < n ? p[i + 2] : 0;
        sim_putc(b, base64_letters[v >> 18]);
        sim_putc(b, base64_letters[v >> 12 & 63]);
        sim_putc(b, i + 1 < n ? base64_letters[v >> 6 & 63] : '=');
        sim_putc(b, i + 2 < n ? base64_letters[v & 63] : '=');
    }
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '-') {
        return 62;
    }
    return c == '/' || c == '_' ? 63 : -1;
}

bool sim_base64_decode(sim_buf_t *out, const char *s, size_t n)
{
    uint32_t v = 0;
    unsigned bits = 0;
    size_t i;

    while (n > 0 && s[n - 1] == '=') {
        n--;
    }
    if (n % 4 == 1) {
        return false;
    }
    for (i = 0; i < n; i++) {
        int d = base64_value(s[i]);

        if (d < 0) {
            return false;
        }
        v = (v << 6 | (uint32_t)d) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            sim_putc(out, (char)(v >> bits & 0xff));
        }
    }
    return true;
}

/* ---- borrowed strings ---- */

bool sim_eq(sim_str_t s, const char *lit)
{
    size_t n = strlen(lit);

    return s.n == n && memcmp(s.p, lit, n) == 0;
}

bool sim_same(sim_str_t a, sim_str_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool sim_ieq(sim_str_t s, const char *lit)
{
    size_t n = strlen(lit);

    return s.n == n && strncasecmp(s.p, lit, n) == 0;
}

bool sim_starts(sim_str_t s, const char *lit)
{
    size_t n = strlen(lit);

    return s.n >= n && memcmp(s.p, lit, n) == 0;
}

bool sim_contains(sim_str_t s, const char *needle)
{
    return s.n > 0 && memmem(s.p, s.n, needle, strlen(needle)) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

sim_str_t sim_trim(sim_str_t s)
{
    while (s.n > 0 && is_space(*s.p)) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

bool sim_glob(const char *pattern, sim_str_t s)
{
    const char *star = NULL;
    size_t at = 0, back = 0;

    while (at < s.n) {
        if (*pattern == '*') {
            star = pattern++;
            back = at;
        }
        else if (*pattern != '\0' && (*pattern == '?' || *pattern == s.p[at])) {
            pattern++;
            at++;
        }
        else if (star != NULL) {
            pattern = star + 1;
            at = ++back;
        }
        else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

size_t sim_utf8_floor(const char *s, size_t len, size_t n)
{
    if (n >= len) {
        return len;
    }
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

bool sim_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n) {
        unsigned char c = (unsigned char)s[i++];
        int more = c < 0x80                ? 0
                   : c >= 0xc2 && c < 0xe0 ? 1
                   : c >= 0xe0 && c < 0xf0 ? 2
                   : c >= 0xf0 && c < 0xf5 ? 3
                                           : -1;

        if (more < 0) {
            return false;
        }
        while (more-- > 0) {
            if (i >= n || ((unsigned char)s[i++] & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

/* ---- numbers ---- */

long sim_to_long(sim_str_t s, long otherwise)
{
    char text[24], *end;
    long v;

    if (s.n == 0 || s.n >= sizeof(text)) {
        return otherwise;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    v = strtol(text, &end, 10);
    return *end == '\0' ? v : otherwise;
}

uint64_t sim_hash(const void *p, size_t n, uint64_t seed)
{
    const unsigned char *s = p;
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i < n; i++) {
        h = (h ^ s[i]) * 0x100000001b3u;
    }
    return h ^ h >> 29;
}

uint64_t sim_random(uint64_t *state)
{
    uint64_t x = *state ? *state : 0x9e3779b97f4a7c15u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x * 0x2545f4914f6cdd1du >> 11;
}

uint64_t sim_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

sim_str_t sim_http_date(void)
{
    static time_t shown;
    static char text[64];
    static size_t len;
    struct timespec ts;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    if (ts.tv_sec != shown) {
        shown = ts.tv_sec;
        len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&shown, &tm));
    }
    return (sim_str_t){text, len};
}

/* ---- tables of names ---- */

struct sim_names {
    sim_str_t *name; /* index 0 is "(other)" */
    uint32_t *slot;  /* open addressing, 0 = free */
    unsigned count, max, mask;
};

sim_names_t *sim_names_create(unsigned max)
{
    sim_names_t *t = sim_xcalloc(1, sizeof(*t));
    unsigned slots = 64;

    while (slots < max * 2) {
        slots *= 2;
    }
    t->max = max;
    t->mask = slots - 1;
    t->slot = sim_xcalloc(slots, sizeof(*t->slot));
    t->name = sim_xcalloc((size_t)max + 1, sizeof(*t->name));
    t->name[0] = SIM_STR("(other)");
    return t;
}

unsigned sim_names_add(sim_names_t *t, sim_str_t s)
{
    uint32_t at = (uint32_t)sim_hash(s.p, s.n, 0) & t->mask;

    while (t->slot[at] != 0) {
        sim_str_t *have = &t->name[t->slot[at]];

        if (sim_same(*have, s)) {
            return t->slot[at];
        }
        at = (at + 1) & t->mask;
    }
    if (t->count >= t->max) {
        return 0;
    }
    t->name[++t->count] = (sim_str_t){sim_strndup(s.p, s.n), s.n};
    t->slot[at] = t->count;
    return t->count;
}

sim_str_t sim_names_get(const sim_names_t *t, unsigned index)
{
    return t->name[index <= t->count ? index : 0];
}

unsigned sim_names_count(const sim_names_t *t)
{
    return t->count;
}

void sim_names_clear(sim_names_t *t)
{
    unsigned i;

    for (i = 1; i <= t->count; i++) {
        free((char *)t->name[i].p);
    }
    t->count = 0;
    memset(t->slot, 0, ((size_t)t->mask + 1) * sizeof(*t->slot));
}
