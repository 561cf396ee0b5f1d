/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time without the process's TZ: durations as Google writes them, Pacific
 * midnight, and zones read from TZif files.  All pure but gb_mono_now().
 */
#ifndef GB_TIMEUTIL_H
#define GB_TIMEUTIL_H

#include <stddef.h>
#include <apr_time.h>
#include <apr_pools.h>

/* CLOCK_MONOTONIC in microseconds: for every interval and deadline. */
apr_time_t gb_mono_now(void);

/* "34.430s", "0s", "82.4ms", "8h0m0s", "1h52m56.4s" -> microseconds.  0 on failure. */
int gb_duration_parse(const char *text, size_t len, apr_interval_time_t *result);

/* The first midnight in America/Los_Angeles after now (wall clock, both UTC), by the rule of
 * US daylight saving time; needs no tzdata. */
apr_time_t gb_pacific_midnight(apr_time_t now);

typedef struct gb_zone_t gb_zone_t;

/*
 * Reads /usr/share/zoneinfo/NAME.  "UTC" needs no file.  APR_NOTFOUND when there is no such zone or
 * the name has ".." or a leading "/" in it; APR_EINVAL when the file is damaged.
 */
apr_status_t gb_zone_load(gb_zone_t **pzone, const char *name, apr_pool_t *p);
/* The same from the bytes of a TZif file (RFC 8536, any version); nothing of them is kept. */
apr_status_t gb_zone_parse(gb_zone_t **pzone, const void *bytes, size_t len, apr_pool_t *p);
/* Seconds east of UTC at that moment. */
int gb_zone_offset(const gb_zone_t *zone, apr_time_t at);

#endif
