/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of the admin pages, from the roll-ups alone: however many rows the
 * logs have, and after those rows are gone.
 *
 * gb_totals holds sums of a period and a model, three times: of everything, of
 * each key, of each caller.  gb_tally holds counts beside them: attempts and
 * calls by class and by status, and calls by latency in fixed buckets (four to
 * each power of two of milliseconds), from which percentiles come with an error
 * of at most an eighth.  Everything has rows of 10 seconds (kept 10 minutes), of
 * a minute (50 hours), an hour (92 days) and a day of TIMEZONE (for good); keys
 * and callers of an hour and a day.
 *
 * An attempt counts at the moment when it began.  Attempts count each; calls,
 * tokens and times are those of the final attempt of a call.
 *
 * All functions run where the connection lives: in the database thread.
 */
#ifndef GB_STATS_H
#define GB_STATS_H

#include <apr_hash.h>

#include "base/timeutil.h"
#include "store/db.h"

/* In the order of GB_SUM_NAMES, which are the columns' names too. */
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

/* ---- tiles ---- */

typedef enum { GB_TILE_MINUTE, GB_TILE_HOUR, GB_TILE_DAY, GB_TILE_MONTH, GB_TILE_N } gb_tile_kind_t;

/*
 * The last minute (60 s, to within 10), hour and 24 hours (to within a minute),
 * and this calendar month in the zone; `before` is the same length of time before
 * (for the month: the last one up to the same day).
 */
typedef struct gb_tile_t {
    apr_time_t from, before_from, before_to; /* now is the end of the first */
    gb_sums_t now, before;
} gb_tile_t;

/* zone NULL: UTC. */
apr_status_t gb_stats_tiles(gb_tile_t tiles[GB_TILE_N], gb_db_t *db, const char *pool,
                            apr_time_t now, const gb_zone_t *zone, apr_pool_t *p);

/* ---- time series ---- */

/* What is asked for, of the sums and the counts. */
typedef struct gb_stats_ask_t {
    const char *pool;
    gb_of_t of;
    const char *name;    /* key id or caller; NULL with GB_OF_ALL */
    const char *model;   /* NULL: all together */
    int period;          /* GB_PERIOD_HOUR or _DAY; also _MINUTE with GB_OF_ALL */
    apr_time_t from, to; /* from: rounded down to a period of the zone; to: not included */
    const gb_zone_t *zone;
} gb_stats_ask_t;

typedef struct gb_count_t {
    const char *value; /* a class ("quota"), a status ("429"; "0": none came) */
    apr_int64_t attempts, calls;
} gb_count_t;

typedef struct gb_point_t {
    apr_time_t at; /* its begin */
    gb_sums_t sums;
    int n_classes;
    const gb_count_t *classes; /* by name */
    /* ms of successful calls, -1: there were none */
    apr_int64_t latency_p50, latency_p99, first_byte_p50, first_byte_p99;
} gb_point_t;

#define GB_POINTS_MAX 800

/* A point for each period, also where nothing happened; at most GB_POINTS_MAX, the last ones. */
apr_status_t gb_stats_series(gb_point_t **ppoints, int *n, gb_db_t *db, const gb_stats_ask_t *ask,
                             apr_pool_t *p);

/* ---- counts, percentiles ---- */

typedef enum { GB_COUNT_CLASS, GB_COUNT_STATUS } gb_count_kind_t;

/* Over the whole time asked for, most attempts first. */
apr_status_t gb_stats_counts(const gb_count_t **pcounts, int *n, gb_db_t *db,
                             const gb_stats_ask_t *ask, gb_count_kind_t kind, apr_pool_t *p);

/* ---- usage ---- */

typedef enum {
    GB_BY_MODEL,
    GB_BY_DAY, /* value: "2026-11-20" */
    GB_BY_KEY,
    GB_BY_CALLER,
    GB_BY_N
} gb_by_t;

/* US dollars for a million tokens, by model. */
typedef struct gb_prices_t gb_prices_t;

/* From MODEL_PRICES' text ("": none).  A price that is left out is 0, that of cached tokens the prompt's. */
apr_status_t gb_prices_parse(gb_prices_t **pprices, const char *text, const char **why,
                             apr_pool_t *p);
typedef struct gb_price_t {
    double prompt, completion, cached;
} gb_price_t;
/* A model without a price of its own has that of the longest name that it begins with
 * ("gemini-2.5-pro" for "gemini-2.5-pro-preview-05-06"); NULL: none. */
const gb_price_t *gb_prices_get(const gb_prices_t *prices, const char *model);
/* 0 without a price. */
double gb_price_of(const gb_price_t *price, const gb_sums_t *sums);

typedef struct gb_usage_t {
    const char *value; /* a model, day, key id or caller */
    gb_sums_t sums;
    double cost;                          /* of the models that have a price */
    int unpriced;                         /* some of its calls went to models without one */
    apr_int64_t latency_p50, latency_p99; /* GB_BY_MODEL only, else -1 */
} gb_usage_t;

#define GB_USAGE_MAX 1000

/*
 * Days by name, all else by calls, most first; at most GB_USAGE_MAX.  Of the ask
 * count pool, model, name (with GB_BY_DAY and GB_BY_MODEL and the right `of`),
 * from, to and zone; the period is a day when from and to are days apart that
 * begin at midnight, else an hour.
 */
apr_status_t gb_stats_usage(gb_usage_t **pusage, int *n, gb_db_t *db, const gb_stats_ask_t *ask,
                            gb_by_t by, const gb_prices_t *prices, apr_pool_t *p);

/* ---- keys ---- */

/* Sums of each of these keys since the zone's midnight, in the ids' order; zeros where there are none. */
apr_status_t gb_stats_keys(gb_sums_t *sums, gb_db_t *db, const char *pool, const char *const *ids,
                           int n, apr_time_t now, const gb_zone_t *zone, apr_pool_t *p);

/* One key's attempts by period and outcome. */
typedef enum {
    GB_KEY_SUCCESS,
    GB_KEY_QUOTA,  /* 429 */
    GB_KEY_SERVER, /* 5xx, or no answer */
    GB_KEY_CLIENT, /* any other status that is no success */
    GB_KEY_N
} gb_key_result_t;

typedef struct gb_key_calls_t {
    apr_int64_t n[GB_TILE_N][GB_KEY_N];
} gb_key_calls_t;

/* The last minute and hour from the log's rows (an index; at most 10,000 of them), the rest from
 * the roll-ups. */
apr_status_t gb_stats_key_calls(gb_key_calls_t *calls, gb_db_t *db, const char *pool,
                                const char *key_id, apr_time_t now, const gb_zone_t *zone,
                                apr_pool_t *p);

/* Keys whose attempts were answered with that status (0: not at all, -1: whatever failed) most often
 * since that moment, to within an hour; at most max (and 500). */
typedef struct gb_key_count_t {
    const char *key_id;
    apr_int64_t n;
} gb_key_count_t;
apr_status_t gb_stats_attention(gb_key_count_t **pkeys, int *n, gb_db_t *db, const char *pool,
                                int status, apr_time_t since, int max, apr_pool_t *p);

/* ---- days ---- */

/* Midnight of the zone (NULL: UTC) at or before that moment. */
apr_time_t gb_stats_midnight(const gb_zone_t *zone, apr_time_t at);

#endif
