/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monotonic clock, durations as Google and Go write them, and the moment at
 * which Google's daily quotas begin anew.  Zones from files are zone.c's.
 */
#include "base/timeutil.h"

#include <string.h>
#include <time.h>

#include "base/civil.h"

apr_time_t gb_mono_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (apr_time_t)ts.tv_sec * APR_USEC_PER_SEC + ts.tv_nsec / 1000;
}

/* ---- durations ---- */

typedef struct unit_t {
    const char *name;
    apr_int64_t nanoseconds;
} unit_t;

/* Longer names before their prefixes: "ms" before "m". */
static const unit_t units[] = {
    {"ms", 1000000LL      },
    {"us", 1000LL         },
    {"ns", 1LL            },
    {"h",  3600000000000LL},
    {"m",  60000000000LL  },
    {"s",  1000000000LL   },
};

#define N_UNITS (sizeof(units) / sizeof(units[0]))

/* No duration of ours is longer than a century. */
#define DURATION_MAX_NS (100LL * 366 * 24 * 3600 * 1000000000LL)

static const unit_t *unit_at(const char *p, const char *end)
{
    size_t i;

    for (i = 0; i < N_UNITS; i++) {
        size_t len = strlen(units[i].name);

        if ((size_t)(end - p) >= len && memcmp(p, units[i].name, len) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Up to nine digits count, the rest is below a nanosecond. */
static const char *parse_fraction(const char *p, const char *end, apr_int64_t *billionths)
{
    apr_int64_t place = 100000000;

    for (*billionths = 0; p < end && *p >= '0' && *p <= '9'; p++, place /= 10) {
        *billionths += (*p - '0') * place;
    }
    return p;
}

/* One number with its unit; the byte after it, NULL when there is none or it is too long. */
static const char *parse_term(const char *p, const char *end, apr_int64_t *ns)
{
    const char *from = p;
    apr_int64_t whole = 0;
    apr_int64_t billionths = 0;
    const unit_t *unit;

    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (whole > DURATION_MAX_NS / 10) {
            return NULL;
        }
        whole = whole * 10 + (*p - '0');
    }
    if (p == from) {
        return NULL;
    }
    if (p < end && *p == '.') {
        p = parse_fraction(p + 1, end, &billionths);
    }
    unit = unit_at(p, end);
    if (unit == NULL || whole > DURATION_MAX_NS / unit->nanoseconds) {
        return NULL;
    }
    *ns = whole * unit->nanoseconds;
    *ns += unit->nanoseconds >= 1000000000LL ? billionths * (unit->nanoseconds / 1000000000LL)
                                             : billionths * unit->nanoseconds / 1000000000LL;
    return p + strlen(unit->name);
}

int gb_duration_parse(const char *text, size_t len, apr_interval_time_t *result)
{
    const char *end = text + len;
    const char *p = text;
    apr_int64_t total = 0;

    if (len == 0) {
        return 0;
    }
    while (p < end) {
        apr_int64_t ns = 0;

        p = parse_term(p, end, &ns);
        if (p == NULL || total + ns > DURATION_MAX_NS) {
            return 0;
        }
        total += ns;
    }
    *result = (total + 999) / 1000; /* never earlier than told */
    return 1;
}

/* ---- Pacific midnight ---- */

/* Daylight time runs from 10:00 UTC on the second Sunday of March to 09:00 UTC on the first of
 * November. */
static int pacific_offset(apr_int64_t utc)
{
    apr_int64_t year = civil_year(civil_floor_div(utc, CIVIL_DAY));
    apr_int64_t from = civil_nth_weekday(year, 3, 2, 0) * CIVIL_DAY + 10 * 3600;
    apr_int64_t until = civil_nth_weekday(year, 11, 1, 0) * CIVIL_DAY + 9 * 3600;

    return (utc >= from && utc < until ? -7 : -8) * 3600;
}

apr_time_t gb_pacific_midnight(apr_time_t now)
{
    apr_int64_t utc = civil_floor_div(now, APR_USEC_PER_SEC);
    apr_int64_t day = civil_floor_div(utc + pacific_offset(utc), CIVIL_DAY) + 1;
    apr_int64_t midnight = day * CIVIL_DAY + 8 * 3600;

    /* no change of the clocks falls between 07:00 and 08:00 UTC, so this offset is midnight's */
    midnight = day * CIVIL_DAY - pacific_offset(midnight);
    return (apr_time_t)midnight * APR_USEC_PER_SEC;
}
