/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roll-ups: they grow with the rows of the request log, in the same
 * transaction, and stay when those rows go.
 *
 * gb_totals has sums for a period and a model, three times: of everything, of
 * each key, of each caller.  gb_tally has counts beside them: attempts and calls
 * by class and by status, and successful calls by latency and by time to the
 * first byte in fixed buckets (four to each power of two of milliseconds), from
 * which percentiles come with an error of a quarter at worst.  Everything has rows
 * of 10 seconds (kept 10 minutes), of a minute (50 hours), of an hour (92 days)
 * and of a day of TIMEZONE (for good); keys and callers of an hour and of a day.
 *
 * An attempt counts at the moment when it began.  Attempts count each; calls
 * and times are those of the final attempt of a call, tokens those of all that answered.
 */
#ifndef GB_TOTALS_H
#define GB_TOTALS_H

#include "base/timeutil.h"
#include "store/db.h"
#include "store/journal.h"

/* In the order of gb_sum_names, which are the columns' names too. */
typedef struct gb_sums_t {
    apr_int64_t attempts;
    apr_int64_t failures; /* attempts that failed; a client that left is no failure */
    apr_int64_t quota;    /* attempts that were answered 429 */
    apr_int64_t calls;
    apr_int64_t successes;
    apr_int64_t call_failures;
    apr_int64_t prompt_tokens;     /* cached ones are among them */
    apr_int64_t completion_tokens; /* thoughts are among them */
    apr_int64_t thought_tokens;
    apr_int64_t cached_tokens;
    apr_int64_t latency_ms; /* of all successful calls together */
    apr_int64_t first_byte_ms;
    apr_int64_t first_bytes; /* calls that have a time to the first byte */
} gb_sums_t;

#define GB_SUMS_N 13
extern const char *const gb_sum_names[GB_SUMS_N];

void gb_sums_add(gb_sums_t *sums, const gb_sums_t *more);
/* The i-th, by the order of the names. */
apr_int64_t gb_sums_at(const gb_sums_t *sums, int i);

#define GB_PERIOD_TICK   10
#define GB_PERIOD_MINUTE 60
#define GB_PERIOD_HOUR   3600
#define GB_PERIOD_DAY    86400

typedef enum { GB_OF_ALL, GB_OF_KEY, GB_OF_CALLER, GB_OF_N } gb_of_t;

/* As they stand in the tables. */
extern const char *const gb_of_names[GB_OF_N];

/* Midnight of the zone (NULL: UTC) at or before that moment. */
apr_time_t gb_midnight(const gb_zone_t *zone, apr_time_t at);

/* ---- latencies ---- */

#define GB_BUCKETS 96

int gb_bucket_of(apr_int64_t ms);
/* The smallest ms of a bucket. */
apr_int64_t gb_bucket_floor(int bucket);
/* share: 0.99.  Between the bounds of its bucket; -1: there is nothing. */
apr_int64_t gb_percentile(const apr_int64_t counts[GB_BUCKETS], double share);

/* ---- adding ---- */

/* Of one transaction. */
typedef struct gb_totals_t gb_totals_t;

/* zone NULL: UTC.  What is too old for rows of a period by then gets none. */
gb_totals_t *gb_totals_make(const gb_zone_t *zone, apr_time_t now, apr_pool_t *p);
void gb_totals_add(gb_totals_t *totals, const gb_record_t *record);
apr_status_t gb_totals_write(gb_totals_t *totals, gb_db_t *db);

/* ---- letting go ---- */

/* The oldest hour of rows of one period that are past their time; *n: how many went, 0 when there
 * are none. */
apr_status_t gb_totals_expire(gb_db_t *db, apr_time_t now, int *n, apr_pool_t *p);

#endif
