/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proleptic Gregorian calendar in days since 1970-01-01.  Private to
 * modules/base: Pacific midnight and POSIX zone rules both need it.
 */
#ifndef GB_CIVIL_H
#define GB_CIVIL_H

#include <apr.h>

#define CIVIL_DAY 86400

static inline apr_int64_t civil_floor_div(apr_int64_t a, apr_int64_t b)
{
    return a / b - (a % b < 0);
}

static inline int civil_is_leap(apr_int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from the epoch to the first of a month (1 to 12). */
static inline apr_int64_t civil_days(apr_int64_t year, int month)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    apr_int64_t y = year - 1;

    return y * 365 + civil_floor_div(y, 4) - civil_floor_div(y, 100) + civil_floor_div(y, 400)
           - 719162 + before[month - 1] + (month > 2 && civil_is_leap(year));
}

static inline apr_int64_t civil_year(apr_int64_t days)
{
    apr_int64_t year = 1970 + civil_floor_div(days, 366);

    while (civil_days(year + 1, 1) <= days) {
        year++;
    }
    return year;
}

/* 0 = Sunday */
static inline int civil_weekday(apr_int64_t days)
{
    return (int)(((days + 4) % 7 + 7) % 7);
}

static inline int civil_month_len(apr_int64_t year, int month)
{
    return (int)((month == 12 ? civil_days(year + 1, 1) : civil_days(year, month + 1))
                 - civil_days(year, month));
}

/* The day of the week-th (1 to 5, 5 = last) given weekday of a month. */
static inline apr_int64_t civil_nth_weekday(apr_int64_t year, int month, int week, int weekday)
{
    apr_int64_t first = civil_days(year, month);
    int day = (weekday - civil_weekday(first) + 7) % 7 + (week - 1) * 7;

    while (day >= civil_month_len(year, month)) {
        day -= 7;
    }
    return first + day;
}

#endif
