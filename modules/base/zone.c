/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time zones read from TZif files (RFC 8536) into memory of the caller's pool,
 * with the POSIX rule of the file's footer for times after its last transition.
 * The process's own zone (TZ, tzset) is never touched: httpd and other modules
 * live in it.
 */
#include "base/timeutil.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "base/civil.h"

#define ZONE_DIR      "/usr/share/zoneinfo/"
#define ZONE_FILE_MAX (512 * 1024)
#define ZONE_HEADER   44

/* When daylight time begins or ends in any year. */
typedef struct rule_date_t {
    char form; /* 'M': month, week, weekday; 'J': 1-365 without leap days; 'n': 0-365 */
    int month, week, day;
    int seconds; /* local time of day, may lie outside of it */
} rule_date_t;

typedef struct posix_rule_t {
    int known;
    int std_offset, dst_offset; /* east */
    int has_dst;
    rule_date_t start, end;
} posix_rule_t;

typedef struct transition_t {
    apr_int64_t at;
    int offset;
} transition_t;

struct gb_zone_t {
    int first_offset; /* before the first transition */
    size_t n;
    transition_t *transitions;
    posix_rule_t rule;
};

/* ---- the POSIX rule ---- */

typedef struct reader_t {
    const char *p;
    const char *end;
    int failed;
} reader_t;

static int look(const reader_t *r)
{
    return r->p < r->end ? (unsigned char)*r->p : -1;
}

static int take(reader_t *r, int c)
{
    if (look(r) != c) {
        return 0;
    }
    r->p++;
    return 1;
}

static int read_int(reader_t *r, int min, int max)
{
    int value = 0;
    int digits = 0;

    while (look(r) >= '0' && look(r) <= '9' && digits < 4) {
        value = value * 10 + (*r->p++ - '0');
        digits++;
    }
    if (digits == 0 || value < min || value > max) {
        r->failed = 1;
    }
    return value;
}

static void skip_name(reader_t *r)
{
    const char *from = r->p;

    if (take(r, '<')) {
        while (look(r) != '>' && look(r) != -1) {
            r->p++;
        }
        r->failed |= !take(r, '>');
        return;
    }
    while ((look(r) | 0x20) >= 'a' && (look(r) | 0x20) <= 'z') {
        r->p++;
    }
    r->failed |= r->p - from < 3;
}

/* [+-]hh[:mm[:ss]] in seconds */
static int read_hms(reader_t *r)
{
    int negative = take(r, '-');
    int seconds;

    if (!negative) {
        take(r, '+');
    }
    seconds = read_int(r, 0, 167) * 3600;
    if (take(r, ':')) {
        seconds += read_int(r, 0, 59) * 60;
        if (take(r, ':')) {
            seconds += read_int(r, 0, 59);
        }
    }
    return negative ? -seconds : seconds;
}

static void read_date(reader_t *r, rule_date_t *date)
{
    r->failed |= !take(r, ',');
    date->seconds = 2 * 3600;
    if (take(r, 'M')) {
        date->form = 'M';
        date->month = read_int(r, 1, 12);
        r->failed |= !take(r, '.');
        date->week = read_int(r, 1, 5);
        r->failed |= !take(r, '.');
        date->day = read_int(r, 0, 6);
    }
    else if (take(r, 'J')) {
        date->form = 'J';
        date->day = read_int(r, 1, 365);
    }
    else {
        date->form = 'n';
        date->day = read_int(r, 0, 365);
    }
    if (take(r, '/')) {
        date->seconds = read_hms(r);
    }
}

/* "PST8PDT,M3.2.0,M11.1.0".  An empty rule is no failure: times after the last transition keep its
 * offset. */
static int parse_rule(posix_rule_t *rule, const char *text, size_t len)
{
    reader_t r = {text, text + len, 0};

    memset(rule, 0, sizeof(*rule));
    if (len == 0) {
        return 1;
    }
    skip_name(&r);
    rule->std_offset = rule->dst_offset = -read_hms(&r);
    if (r.p < r.end) {
        rule->has_dst = 1;
        skip_name(&r);
        rule->dst_offset = look(&r) == ',' ? rule->std_offset + 3600 : -read_hms(&r);
        read_date(&r, &rule->start);
        read_date(&r, &rule->end);
    }
    rule->known = 1;
    return !r.failed && r.p == r.end;
}

static apr_int64_t date_seconds(const rule_date_t *date, apr_int64_t year)
{
    apr_int64_t day;

    switch (date->form) {
    case 'M':
        day = civil_nth_weekday(year, date->month, date->week, date->day);
        break;
    case 'J':
        day = civil_days(year, 1) + date->day - 1 + (civil_is_leap(year) && date->day >= 60);
        break;
    default:
        day = civil_days(year, 1) + date->day;
        break;
    }
    return day * CIVIL_DAY + date->seconds;
}

static int rule_offset(const posix_rule_t *rule, apr_int64_t utc)
{
    apr_int64_t year, start, end;
    int in_dst;

    if (!rule->has_dst) {
        return rule->std_offset;
    }
    year = civil_year(civil_floor_div(utc + rule->std_offset, CIVIL_DAY));
    start = date_seconds(&rule->start, year) - rule->std_offset;
    end = date_seconds(&rule->end, year) - rule->dst_offset;
    in_dst = start < end ? utc >= start && utc < end : utc >= start || utc < end;
    return in_dst ? rule->dst_offset : rule->std_offset;
}

/* ---- the file ---- */

typedef struct block_t {
    const unsigned char *data;
    size_t width; /* of a time: 4 in the first block, 8 in the second */
    size_t n_times, n_types, size;
} block_t;

static apr_uint32_t be32(const unsigned char *p)
{
    return (apr_uint32_t)p[0] << 24 | (apr_uint32_t)p[1] << 16 | (apr_uint32_t)p[2] << 8 | p[3];
}

static apr_int64_t be_time(const unsigned char *p, size_t width)
{
    return width == 4 ? (apr_int32_t)be32(p)
                      : (apr_int64_t)((apr_uint64_t)be32(p) << 32 | be32(p + 4));
}

/* Measures the block whose header stands at p. */
static int read_header(block_t *block, const unsigned char *p, size_t len, size_t width)
{
    size_t isut, isstd, leap, chars;

    if (len < ZONE_HEADER || memcmp(p, "TZif", 4) != 0) {
        return 0;
    }
    isut = be32(p + 20);
    isstd = be32(p + 24);
    leap = be32(p + 28);
    block->n_times = be32(p + 32);
    block->n_types = be32(p + 36);
    chars = be32(p + 40);
    if (isut > 256 || isstd > 256 || leap > 10000 || block->n_times > 10000 || block->n_types == 0
        || block->n_types > 256 || chars > 10000) {
        return 0;
    }
    block->data = p + ZONE_HEADER;
    block->width = width;
    block->size = block->n_times * (width + 1) + block->n_types * 6 + chars + leap * (width + 4)
                  + isstd + isut;
    return block->size <= len - ZONE_HEADER;
}

static int type_offset(const block_t *block, size_t type)
{
    return (apr_int32_t)be32(block->data + block->n_times * (block->width + 1) + type * 6);
}

static int read_block(gb_zone_t *zone, const block_t *block, apr_pool_t *p)
{
    const unsigned char *times = block->data;
    const unsigned char *types = block->data + block->n_times * block->width;
    size_t i;

    zone->n = block->n_times;
    zone->transitions = apr_palloc(p, (block->n_times + 1) * sizeof(*zone->transitions));
    zone->first_offset = type_offset(block, 0);
    for (i = 0; i < block->n_times; i++) {
        if (types[i] >= block->n_types) {
            return 0;
        }
        zone->transitions[i].at = be_time(times + i * block->width, block->width);
        zone->transitions[i].offset = type_offset(block, types[i]);
        if (i > 0 && zone->transitions[i].at <= zone->transitions[i - 1].at) {
            return 0;
        }
    }
    return 1;
}

/* The footer is a line of its own behind the second block. */
static int read_footer(gb_zone_t *zone, const unsigned char *p, const unsigned char *end)
{
    const unsigned char *stop;

    if (p >= end || *p != '\n') {
        return 0;
    }
    stop = memchr(p + 1, '\n', (size_t)(end - p - 1));
    return stop != NULL && parse_rule(&zone->rule, (const char *)p + 1, (size_t)(stop - p - 1));
}

static int parse_file(gb_zone_t *zone, const unsigned char *p, size_t len, apr_pool_t *pool)
{
    const unsigned char *end = p + len;
    block_t block;

    if (!read_header(&block, p, len, 4)) {
        return 0;
    }
    if (p[4] < '2') {
        return read_block(zone, &block, pool);
    }
    p = block.data + block.size;
    return read_header(&block, p, (size_t)(end - p), 8) && read_block(zone, &block, pool)
           && read_footer(zone, block.data + block.size, end);
}

apr_status_t gb_zone_parse(gb_zone_t **pzone, const void *bytes, size_t len, apr_pool_t *p)
{
    gb_zone_t *zone = apr_pcalloc(p, sizeof(*zone));

    if (!parse_file(zone, bytes, len, p)) {
        return APR_EINVAL;
    }
    *pzone = zone;
    return APR_SUCCESS;
}

apr_status_t gb_zone_load(gb_zone_t **pzone, const char *name, apr_pool_t *p)
{
    char *bytes;
    size_t len;
    FILE *file;

    if (strcmp(name, "UTC") == 0) {
        *pzone = apr_pcalloc(p, sizeof(**pzone));
        return APR_SUCCESS;
    }
    if (name[0] == '\0' || name[0] == '/' || strstr(name, "..") != NULL) {
        return APR_NOTFOUND;
    }
    file = fopen(apr_pstrcat(p, ZONE_DIR, name, NULL), "rb");
    if (file == NULL) {
        return APR_NOTFOUND;
    }
    bytes = apr_palloc(p, ZONE_FILE_MAX);
    len = fread(bytes, 1, ZONE_FILE_MAX, file);
    fclose(file);
    return gb_zone_parse(pzone, bytes, len, p);
}

/* ---- looking up ---- */

int gb_zone_offset(const gb_zone_t *zone, apr_time_t at)
{
    apr_int64_t utc = civil_floor_div(at, APR_USEC_PER_SEC);
    size_t low = 0;
    size_t high = zone->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (zone->transitions[middle].at <= utc) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    if (low == zone->n && zone->rule.known) {
        return rule_offset(&zone->rule, utc);
    }
    return low > 0 ? zone->transitions[low - 1].offset : zone->first_offset;
}
