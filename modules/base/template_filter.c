/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How values are shown: numbers with their thousands, shares, sizes, and times
 * in the reader's zone.  Filters of markup write only digits into it.
 */
#include "base/template_int.h"

#include <math.h>
#include <string.h>

#include <apr_strings.h>

#define DAY 86400

static double number(const json_t *value)
{
    double x = json_is_number(value) ? json_number_value(value)
                                     : (json_is_string(value) ? atof(json_string_value(value)) : 0);

    return isfinite(x) ? x : 0;
}

/* ---- numbers ---- */

static void put_thousands(gb_buf_t *out, double x)
{
    char digits[40];
    int n = apr_snprintf(digits, sizeof(digits), "%.0f", fabs(x)), i;

    if (x <= -0.5) {
        gb_buf_puts(out, "\xe2\x88\x92");
    }
    for (i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            gb_buf_putc(out, ',');
        }
        gb_buf_putc(out, digits[i]);
    }
}

static void show_n(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    (void)how;
    put_thousands(out, number(value));
}

/* Three digits that count: 61.2 k, 1.48 M. */
static void put_scaled(gb_buf_t *out, double x, double step, const char *const *units)
{
    int i = 0;

    while (fabs(x) >= step * 0.9995 && units[i + 1]) {
        x /= step;
        i++;
    }
    gb_buf_printf(out, "%.*f%s",
                  i == 0 || fabs(x) >= 99.95 ? 0
                  : fabs(x) >= 9.995         ? 1
                                             : 2,
                  x, units[i]);
}

static void show_short(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    static const char *const units[] = {"", " k", " M", " G", " T", NULL};
    double x = number(value);

    (void)how;
    if (fabs(x) < 10000) {
        put_thousands(out, x);
        return;
    }
    put_scaled(out, x, 1000, units);
}

static void show_bytes(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    static const char *const units[] = {" B", " KB", " MB", " GB", " TB", NULL};

    (void)how;
    put_scaled(out, number(value), 1024, units);
}

static void show_pct(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    double share = number(value) * 100;

    (void)how;
    gb_buf_printf(out, "%.*f %%", share == 0 || share >= 99.95 ? 0 : 1, share);
}

static void show_ms(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    double ms = number(value);

    (void)how;
    if (ms < 1000) {
        gb_buf_printf(out, "%.0f ms", ms);
    }
    else {
        gb_buf_printf(out, "%.*f s", ms < 10000 ? 2 : 1, ms / 1000);
    }
}

/* ---- times ---- */

static apr_time_t moment(const json_t *value)
{
    return (apr_time_t)(number(value) * APR_USEC_PER_SEC);
}

static void explode(apr_time_exp_t *xt, apr_time_t at, const gb_zone_t *zone)
{
    if (apr_time_exp_tz(xt, at, zone ? gb_zone_offset(zone, at) : 0) != APR_SUCCESS) {
        memset(xt, 0, sizeof(*xt));
    }
}

/* "2026-11-18T14:29:40Z" */
static void put_utc(gb_buf_t *out, apr_time_t at)
{
    apr_time_exp_t xt;

    explode(&xt, at, NULL);
    gb_buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02dZ", xt.tm_year + 1900, xt.tm_mon + 1,
                  xt.tm_mday, xt.tm_hour, xt.tm_min, xt.tm_sec);
}

enum { WITH_DAY = 1, WITH_TIME = 2, WITH_SECONDS = 4 };

static void put_time(gb_buf_t *out, const json_t *value, int what, const gb_render_t *how)
{
    apr_time_t at = moment(value);
    apr_time_exp_t xt;

    explode(&xt, at, how->zone);
    gb_buf_puts(out, "<time datetime=\"");
    put_utc(out, at);
    gb_buf_puts(out, "\">");
    if (what & WITH_DAY) {
        gb_buf_printf(out, "%04d-%02d-%02d%s", xt.tm_year + 1900, xt.tm_mon + 1, xt.tm_mday,
                      what & WITH_TIME ? " " : "");
    }
    if (what & WITH_TIME) {
        gb_buf_printf(out, "%02d:%02d", xt.tm_hour, xt.tm_min);
    }
    if (what & WITH_SECONDS) {
        gb_buf_printf(out, ":%02d", xt.tm_sec);
    }
    gb_buf_puts(out, "</time>");
}

static void show_clock(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    put_time(out, value, WITH_TIME | WITH_SECONDS, how);
}

static void show_stamp(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    put_time(out, value, WITH_DAY | WITH_TIME | WITH_SECONDS, how);
}

static void show_day(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    put_time(out, value, WITH_DAY, how);
}

static void show_when(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    apr_time_t at = moment(value);
    apr_time_exp_t then, now;
    int today, soon;

    explode(&then, at, how->zone);
    explode(&now, how->now, how->zone);
    today = then.tm_year == now.tm_year && then.tm_yday == now.tm_yday;
    soon = at > how->now && at < how->now + DAY * (apr_int64_t)APR_USEC_PER_SEC;
    put_time(out, value, (today || soon) ? WITH_TIME : WITH_DAY | WITH_TIME, how);
}

/* m:ss below an hour, h:mm:ss below a day, else the time of day; the page counts it down. */
static void show_left(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    apr_time_t left = moment(value) - how->now;
    long s = left > 0 ? (long)((left + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC) : 0;

    if (s >= DAY) {
        put_time(out, value, WITH_DAY | WITH_TIME, how);
        return;
    }
    gb_buf_puts(out, "<time datetime=\"");
    put_utc(out, moment(value));
    gb_buf_printf(out, "\" data-left=\"%ld\">", s);
    if (s >= 3600) {
        gb_buf_printf(out, "%ld:%02ld:%02ld</time>", s / 3600, s / 60 % 60, s % 60);
    }
    else {
        gb_buf_printf(out, "%ld:%02ld</time>", s / 60, s % 60);
    }
}

/* ---- texts ---- */

static const char *text_of(const json_t *value)
{
    return json_is_string(value) ? json_string_value(value) : "";
}

static void show_t(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    gb_template_words(out, text_of(value), NULL, how);
}

static void show_url(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    const char *c;

    (void)how;
    if (json_is_integer(value)) {
        gb_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    for (c = text_of(value); *c; c++) {
        if ((*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z')
            || strchr("-._~", *c)) {
            gb_buf_putc(out, *c);
        }
        else {
            gb_buf_printf(out, "%%%02X", (unsigned char)*c);
        }
    }
}

static void show_json(gb_buf_t *out, const json_t *value, const gb_render_t *how)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    (void)how;
    gb_buf_puts(out, text ? text : "null");
    free(text);
}

static const gb_filter_t filters[] = {
    {"n",     show_n,     0},
    {"short", show_short, 0},
    {"pct",   show_pct,   0},
    {"bytes", show_bytes, 0},
    {"ms",    show_ms,    0},
    {"clock", show_clock, 1},
    {"stamp", show_stamp, 1},
    {"day",   show_day,   1},
    {"when",  show_when,  1},
    {"left",  show_left,  1},
    {"t",     show_t,     0},
    {"url",   show_url,   0},
    {"json",  show_json,  0},
};

const gb_filter_t *gb_filter_find(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        if (strlen(filters[i].name) == len && strncmp(filters[i].name, name, len) == 0) {
            return &filters[i];
        }
    }
    return NULL;
}
