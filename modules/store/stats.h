/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of the admin pages, from the roll-ups (store/totals.h): however many
 * rows the logs have, and after those rows are gone.
 *
 * All functions run where the connection lives: in the database thread.
 */
#ifndef GB_STATS_H
#define GB_STATS_H

#include "store/totals.h"

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

/* Midnight of the first of that moment's month. */
apr_time_t gb_stats_month(const gb_zone_t *zone, apr_time_t at);

/* ---- time series ---- */

/* What is asked for, of the sums and the counts. */
typedef struct gb_stats_ask_t {
    const char *pool;
    gb_of_t of;
    const char *name; /* key id or caller; NULL with GB_OF_ALL */
    /* NULL: all together, as counts of keys and callers always are; "": calls that name none. */
    const char *model;
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

/* Of MODEL_PRICES' text, which was checked when it was set.  The price of cached tokens is the
 * prompt's where it is left out, any other is 0. */
gb_prices_t *gb_prices_make(const char *text, apr_pool_t *p);
typedef struct gb_price_t {
    double prompt, completion, cached;
} gb_price_t;
/* A version ("gemini-2.5-flash-preview-09-2025", "-001", "-latest") has its model's price; another
 * model that begins alike ("gemini-2.5-flash-lite") has not.  NULL: none. */
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
 * Days by name, all else by calls, most first; at most GB_USAGE_MAX.  With
 * GB_BY_MODEL and GB_BY_DAY `of` and `name` may say whose; a day is one of
 * GB_PERIOD_DAY.  prices NULL: nothing has a cost.
 */
apr_status_t gb_stats_usage(gb_usage_t **pusage, int *n, gb_db_t *db, const gb_stats_ask_t *ask,
                            gb_by_t by, const gb_prices_t *prices, apr_pool_t *p);
/* So many of them at most, which spares the database much where there are thousands; *all: how many there are. */
apr_status_t gb_stats_top(gb_usage_t **pusage, int *n, int *all, gb_db_t *db,
                          const gb_stats_ask_t *ask, gb_by_t by, int most,
                          const gb_prices_t *prices, apr_pool_t *p);

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

#endif
