/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The innermost loops of the JSON files: how far a run of harmless string bytes
 * reaches, and whether a UTF-8 sequence is one.  Private to the files of json.h
 * and to the stream reader (proto/sse.c).
 *
 * Eight bytes are looked at as one word: a body of 100 MB is mostly base64
 * inside one string, and this is where its time goes.
 */
#ifndef GB_JSON_SCAN_H
#define GB_JSON_SCAN_H

#include <stdint.h>
#include <string.h>

#define SCAN_ONES 0x0101010101010101ULL
#define SCAN_HIGH 0x8080808080808080ULL

/* A high bit stands wherever a byte of word is zero, and maybe above one: the lowest is true. */
static inline uint64_t scan_has_zero(uint64_t word)
{
    return (word - SCAN_ONES) & ~word & SCAN_HIGH;
}

/* The first byte is the lowest, whatever the machine's order. */
static inline uint64_t scan_load(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Which byte of a word the lowest bit of found stands for. */
static inline size_t scan_first(uint64_t found)
{
    return (size_t)__builtin_ctzll(found) / 8;
}

/* The first byte at or after p that is '"' or '\\' (or end). */
static inline const char *scan_to_quote(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = scan_load(p);
        uint64_t found = scan_has_zero(word ^ (SCAN_ONES * '"'))
                         | scan_has_zero(word ^ (SCAN_ONES * '\\'));

        if (found) {
            return p + scan_first(found);
        }
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/*
 * The first byte at or after p that is '"', '[', ']', '{' or '}' (brackets become braces when
 * their bit 0x20 is set).  Of the last seven bytes none is looked at.
 */
static inline const char *scan_to_stop(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = scan_load(p), braces = word | SCAN_ONES * 0x20;
        uint64_t found = scan_has_zero(word ^ (SCAN_ONES * '"'))
                         | scan_has_zero(braces ^ (SCAN_ONES * '{'))
                         | scan_has_zero(braces ^ (SCAN_ONES * '}'));

        if (found) {
            return p + scan_first(found);
        }
        p += 8;
    }
    return p;
}

/* The first end of line at or after p (or end). */
static inline const char *scan_to_eol(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = scan_load(p);
        uint64_t found = scan_has_zero(word ^ (SCAN_ONES * '\n'))
                         | scan_has_zero(word ^ (SCAN_ONES * '\r'));

        if (found) {
            return p + scan_first(found);
        }
        p += 8;
    }
    while (p < end && *p != '\n' && *p != '\r') {
        p++;
    }
    return p;
}

/* Whether a byte may stand in a JSON string as it is and is ASCII. */
static inline int scan_is_plain(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/* The first byte at or after p that is not plain (or end). */
static inline const char *scan_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word = scan_load(p);
        uint64_t below = (word - SCAN_ONES * 0x20) & ~word;
        uint64_t found = ((word | below) & SCAN_HIGH) | scan_has_zero(word ^ (SCAN_ONES * '"'))
                         | scan_has_zero(word ^ (SCAN_ONES * '\\'));

        if (found) {
            return p + scan_first(found);
        }
        p += 8;
    }
    while (p < end && scan_is_plain(*p)) {
        p++;
    }
    return p;
}

static inline int scan_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *scan_space(const char *p, const char *end)
{
    while (p < end && scan_is_space(*p)) {
        p++;
    }
    return p;
}

/*
 * The length of the well-formed UTF-8 sequence at p (RFC 3629: nothing overlong,
 * no surrogates, at most U+10FFFF), 0 when there is none.
 */
static inline size_t scan_utf8(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);

    if (left > 0 && u[0] < 0x80) {
        return 1;
    }
    if (left >= 2 && u[0] >= 0xc2 && u[0] <= 0xdf) {
        return (u[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if (left >= 3 && (u[0] & 0xf0) == 0xe0) {
        if ((u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80 || (u[0] == 0xe0 && u[1] < 0xa0)
            || (u[0] == 0xed && u[1] > 0x9f)) {
            return 0;
        }
        return 3;
    }
    if (left >= 4 && u[0] >= 0xf0 && u[0] <= 0xf4) {
        if ((u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80 || (u[3] & 0xc0) != 0x80
            || (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f)) {
            return 0;
        }
        return 4;
    }
    return 0;
}

/* The value of four hex digits, -1 when they are none. */
static inline int scan_hex4(const char *p)
{
    int value = 0;
    int i;

    for (i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/*
 * The end of a number by RFC 8259's grammar that begins at p, NULL when there is
 * none.  What follows it is the caller's business.
 */
static inline const char *scan_digits(const char *p, const char *end)
{
    const char *from = p;

    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    return p > from ? p : NULL;
}

static inline const char *scan_number(const char *p, const char *end)
{
    if (p < end && *p == '-') {
        p++;
    }
    if (p < end && *p == '0') {
        p++;
    }
    else if ((p = scan_digits(p, end)) == NULL) {
        return NULL;
    }
    if (p < end && *p == '.' && (p = scan_digits(p + 1, end)) == NULL) {
        return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }
        return scan_digits(p, end);
    }
    return p;
}

#endif
