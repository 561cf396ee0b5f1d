/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pages ask of the roll-ups: tiles, series, keys.  Each question is a range of
 * a key: no table is ever read as a whole.  Usage is usage.c's, prices prices.c's.
 */
#include "store/stats.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "store/stats_int.h"

#define HOUR apr_time_from_sec(GB_PERIOD_HOUR)
#define DAY  apr_time_from_sec(GB_PERIOD_DAY)

/* ---- arguments ---- */

void gb_stats_arg(gb_args_t *args, const char *value)
{
    args->list[args->n++] = value;
}

static void put_range(gb_args_t *args, const gb_stats_ask_t *ask, apr_pool_t *p)
{
    gb_stats_arg(args, gb_db_int(apr_time_sec(ask->from), p));
    gb_stats_arg(args, gb_db_int((ask->to + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC, p));
    gb_stats_arg(args, ask->pool);
}

void gb_stats_names(gb_args_t *args, const gb_stats_ask_t *ask, gb_of_t of, apr_pool_t *p)
{
    gb_stats_arg(args, apr_itoa(p, ask->period));
    gb_stats_arg(args, gb_of_names[of]);
    put_range(args, ask, p);
}

void gb_stats_range(gb_args_t *args, const gb_stats_ask_t *ask, apr_pool_t *p)
{
    if (ask->of == GB_OF_ALL) {
        gb_stats_names(args, ask, GB_OF_ALL, p);
        return;
    }
    gb_stats_arg(args, gb_of_names[ask->of]);
    gb_stats_arg(args, ask->name ? ask->name : "");
    gb_stats_arg(args, apr_itoa(p, ask->period));
    put_range(args, ask, p);
}

void gb_stats_model(gb_args_t *args, const char *model)
{
    gb_stats_arg(args, model ? "" : "all");
    gb_stats_arg(args, model ? model : "");
}

void gb_stats_sums(gb_sums_t *sums, const gb_rows_t *rows, int row, int col)
{
    apr_int64_t *member = (apr_int64_t *)sums;
    int i;

    for (i = 0; i < GB_SUMS_N; i++) {
        member[i] = gb_rows_int(rows, row, col + i, 0);
    }
}

/* Down to where a period begins. */
apr_time_t gb_stats_begin(const gb_stats_ask_t *ask)
{
    return ask->period == GB_PERIOD_DAY ? gb_midnight(ask->zone, ask->from)
                                        : ask->from - ask->from % apr_time_from_sec(ask->period);
}

/* ---- tiles ---- */

static const gb_sql_t sql_sums = {"SELECT " SUMS " FROM gb_totals WHERE " OF_ALL, NULL};

static apr_status_t sum_range(gb_sums_t *sums, gb_db_t *db, const char *pool, int period,
                              apr_time_t from, apr_time_t to, apr_pool_t *p)
{
    gb_stats_ask_t ask;
    gb_args_t args = {.n = 0};
    gb_sums_t found;
    gb_rows_t rows;
    apr_status_t rv;

    if (from >= to) {
        return APR_SUCCESS;
    }
    memset(&ask, 0, sizeof(ask));
    ask.pool = pool;
    ask.period = period;
    ask.from = from;
    ask.to = to;
    gb_stats_range(&args, &ask, p);
    rv = gb_db_query(db, &sql_sums, args.list, &rows, p);
    if (rv == APR_SUCCESS && rows.n) {
        gb_stats_sums(&found, &rows, 0, 0);
        gb_sums_add(sums, &found);
    }
    return rv;
}

/* To the minute: whole hours from hours, the ends from minutes. */
static apr_status_t sum_minutes(gb_sums_t *sums, gb_db_t *db, const char *pool, apr_time_t from,
                                apr_time_t to, apr_pool_t *p)
{
    apr_time_t first = (from + HOUR - 1) / HOUR * HOUR, last = to / HOUR * HOUR;
    apr_status_t rv;

    if (first >= last) {
        return sum_range(sums, db, pool, GB_PERIOD_MINUTE, from, to, p);
    }
    rv = sum_range(sums, db, pool, GB_PERIOD_MINUTE, from, first, p);
    if (rv == APR_SUCCESS) {
        rv = sum_range(sums, db, pool, GB_PERIOD_HOUR, first, last, p);
    }
    return rv == APR_SUCCESS ? sum_range(sums, db, pool, GB_PERIOD_MINUTE, last, to, p) : rv;
}

static apr_time_t next_midnight(const gb_zone_t *zone, apr_time_t midnight)
{
    return gb_midnight(zone, midnight + DAY + 2 * HOUR); /* a day has 23 to 25 hours */
}

static int day_of_month(const gb_zone_t *zone, apr_time_t at)
{
    apr_time_exp_t local;

    apr_time_exp_gmt(&local, at + apr_time_from_sec(zone ? gb_zone_offset(zone, at) : 0));
    return local.tm_mday;
}

apr_time_t gb_stats_month(const gb_zone_t *zone, apr_time_t at)
{
    return gb_midnight(zone, gb_midnight(zone, at) - (day_of_month(zone, at) - 1) * DAY + 2 * HOUR);
}

static void set_tile(gb_tile_t *tile, apr_time_t end, apr_interval_time_t length)
{
    tile->from = end - length;
    tile->before_from = tile->from - length;
    tile->before_to = tile->from;
}

/* `end` of the unfinished tick or minute. */
static void set_tiles(gb_tile_t *tiles, apr_time_t now, const gb_zone_t *zone)
{
    apr_time_t tick = apr_time_from_sec(GB_PERIOD_TICK), minute = apr_time_from_sec(60);
    apr_time_t month, last;

    set_tile(&tiles[GB_TILE_MINUTE], (now / tick + 1) * tick, minute);
    set_tile(&tiles[GB_TILE_HOUR], (now / minute + 1) * minute, HOUR);
    set_tile(&tiles[GB_TILE_DAY], (now / minute + 1) * minute, DAY);
    month = gb_stats_month(zone, now);
    last = gb_stats_month(zone, month - 1);
    tiles[GB_TILE_MONTH].from = month;
    tiles[GB_TILE_MONTH].before_from = last;
    last = gb_midnight(zone, last + day_of_month(zone, now) * DAY + 2 * HOUR);
    tiles[GB_TILE_MONTH].before_to = last < month ? last : month;
}

static apr_status_t sum_tile(gb_sums_t *sums, gb_tile_kind_t kind, gb_db_t *db, const char *pool,
                             apr_time_t from, apr_time_t to, apr_pool_t *p)
{
    switch (kind) {
    case GB_TILE_MINUTE:
        return sum_range(sums, db, pool, GB_PERIOD_TICK, from, to, p);
    case GB_TILE_HOUR:
    case GB_TILE_DAY:
        return sum_minutes(sums, db, pool, from, to, p);
    case GB_TILE_MONTH:
        return sum_range(sums, db, pool, GB_PERIOD_DAY, from, to, p);
    case GB_TILE_N:
        break;
    }
    return APR_EINVAL;
}

apr_status_t gb_stats_tiles(gb_tile_t tiles[GB_TILE_N], gb_db_t *db, const char *pool,
                            apr_time_t now, const gb_zone_t *zone, apr_pool_t *p)
{
    apr_time_t end = now + apr_time_from_sec(60); /* clocks of several machines differ */
    apr_status_t rv = APR_SUCCESS;
    int i;

    memset(tiles, 0, sizeof(*tiles) * GB_TILE_N);
    set_tiles(tiles, now, zone);
    for (i = 0; rv == APR_SUCCESS && i < GB_TILE_N; i++) {
        rv = sum_tile(&tiles[i].now, (gb_tile_kind_t)i, db, pool, tiles[i].from, end, p);
        if (rv == APR_SUCCESS) {
            rv = sum_tile(&tiles[i].before, (gb_tile_kind_t)i, db, pool, tiles[i].before_from,
                          tiles[i].before_to, p);
        }
    }
    return rv;
}

/* ---- time series ---- */

#define SERIES(from, of)                                                                           \
    "SELECT start, " SUMS " FROM " from " WHERE " of OF_MODEL " GROUP BY start ORDER BY start"
#define TALLIES(from, of)                                                                          \
    "SELECT start, value, SUM(attempts), SUM(calls) FROM " from " WHERE " of                       \
    " AND kind = %s" OF_MODEL " GROUP BY start, value ORDER BY start, value"
#define SERIES_OF_NAME(from)  SERIES(from, OF_NAME)
#define TALLIES_OF_NAME(from) TALLIES(from, OF_NAME)

static const gb_sql_t sql_series[] = {
    {SERIES("gb_totals", OF_ALL), NULL},
    BY_ONE_NAME(SERIES_OF_NAME, "gb_totals"),
};
static const gb_sql_t sql_tallies[] = {
    {TALLIES("gb_tally", OF_ALL), NULL},
    BY_ONE_NAME(TALLIES_OF_NAME, "gb_tally"),
};

/* The points of a series, and what has been read of it. */
typedef struct series_t {
    gb_db_t *db;
    const gb_stats_ask_t *ask;
    gb_point_t *points;
    int n;
    apr_pool_t *p;
} series_t;

static void make_points(series_t *series)
{
    const gb_stats_ask_t *ask = series->ask;
    apr_array_header_t *list = apr_array_make(series->p, 64, sizeof(gb_point_t));
    apr_time_t at = gb_stats_begin(ask);

    while (at < ask->to) {
        gb_point_t *point = apr_array_push(list);

        memset(point, 0, sizeof(*point));
        point->at = at;
        point->latency_p50 = point->latency_p99 = -1;
        point->first_byte_p50 = point->first_byte_p99 = -1;
        at = ask->period == GB_PERIOD_DAY ? next_midnight(ask->zone, at)
                                          : at + apr_time_from_sec(ask->period);
    }
    series->points = (gb_point_t *)list->elts;
    series->n = list->nelts;
}

/* The point that a row belongs to; they come in order.  *at is where to look on. */
static gb_point_t *point_of(series_t *series, const gb_rows_t *rows, int row, int *at)
{
    apr_time_t start = apr_time_from_sec(gb_rows_int(rows, row, 0, 0));

    while (*at + 1 < series->n && series->points[*at + 1].at <= start) {
        ++*at;
    }
    return &series->points[*at];
}

static apr_status_t read_sums(series_t *series)
{
    const gb_stats_ask_t *ask = series->ask;
    gb_args_t args = {.n = 0};
    gb_sums_t sums;
    gb_rows_t rows;
    apr_status_t rv;
    int i, at = 0;

    gb_stats_range(&args, ask, series->p);
    gb_stats_model(&args, ask->model);
    rv = gb_db_query(series->db, &sql_series[ask->of != GB_OF_ALL], args.list, &rows, series->p);
    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        gb_stats_sums(&sums, &rows, i, 1);
        gb_sums_add(&point_of(series, &rows, i, &at)->sums, &sums);
    }
    return rv;
}

static apr_status_t ask_tallies(gb_rows_t *rows, series_t *series, const char *kind)
{
    const gb_stats_ask_t *ask = series->ask;
    gb_args_t args = {.n = 0};

    gb_stats_range(&args, ask, series->p);
    gb_stats_arg(&args, kind);
    gb_stats_model(&args, ask->of == GB_OF_ALL ? ask->model : NULL);
    return gb_db_query(series->db, &sql_tallies[ask->of != GB_OF_ALL], args.list, rows, series->p);
}

static apr_status_t read_classes(series_t *series)
{
    gb_rows_t rows;
    gb_count_t *counts;
    apr_status_t rv = ask_tallies(&rows, series, "class");
    int i, at = 0;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    counts = apr_palloc(series->p, sizeof(*counts) * (apr_size_t)(rows.n + 1));
    for (i = 0; i < rows.n; i++) {
        gb_point_t *point = point_of(series, &rows, i, &at);

        counts[i].value = gb_rows_text(&rows, i, 1);
        counts[i].attempts = gb_rows_int(&rows, i, 2, 0);
        counts[i].calls = gb_rows_int(&rows, i, 3, 0);
        point->classes = point->n_classes ? point->classes : &counts[i];
        point->n_classes++;
    }
    return APR_SUCCESS;
}

typedef void percentiles_fn(gb_point_t *point, apr_int64_t p50, apr_int64_t p99);

static void put_latency(gb_point_t *point, apr_int64_t p50, apr_int64_t p99)
{
    point->latency_p50 = p50;
    point->latency_p99 = p99;
}

static void put_first_byte(gb_point_t *point, apr_int64_t p50, apr_int64_t p99)
{
    point->first_byte_p50 = p50;
    point->first_byte_p99 = p99;
}

void gb_stats_bucket(apr_int64_t *buckets, const gb_rows_t *rows, int row, int col)
{
    apr_int64_t bucket = gb_rows_int(rows, row, col, -1);

    if (bucket >= 0 && bucket < GB_BUCKETS) {
        buckets[bucket] += gb_rows_int(rows, row, col + 2, 0);
    }
}

static apr_status_t read_percentiles(series_t *series, const char *kind, percentiles_fn *put)
{
    apr_int64_t buckets[GB_BUCKETS];
    gb_rows_t rows;
    apr_status_t rv = ask_tallies(&rows, series, kind);
    int i, at = 0;

    memset(buckets, 0, sizeof(buckets));
    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        gb_point_t *point = point_of(series, &rows, i, &at);

        gb_stats_bucket(buckets, &rows, i, 1);
        if (i + 1 == rows.n || gb_rows_int(&rows, i + 1, 0, 0) != gb_rows_int(&rows, i, 0, 0)) {
            put(point, gb_percentile(buckets, 0.5), gb_percentile(buckets, 0.99));
            memset(buckets, 0, sizeof(buckets));
        }
    }
    return rv;
}

apr_status_t gb_stats_series(gb_point_t **ppoints, int *n, gb_db_t *db, const gb_stats_ask_t *asked,
                             apr_pool_t *p)
{
    gb_stats_ask_t ask = *asked;
    series_t series = {db, &ask, NULL, 0, p};
    apr_time_t longest = (apr_time_t)GB_POINTS_MAX * apr_time_from_sec(ask.period);
    apr_status_t rv;

    if (ask.to - ask.from > longest) {
        ask.from = ask.to - longest;
    }
    ask.from = gb_stats_begin(&ask);
    make_points(&series);
    rv = series.n ? read_sums(&series) : APR_EINVAL;
    if (rv == APR_SUCCESS) {
        rv = read_classes(&series);
    }
    if (rv == APR_SUCCESS && ask.of == GB_OF_ALL) {
        rv = read_percentiles(&series, "latency", put_latency);
    }
    if (rv == APR_SUCCESS && ask.of == GB_OF_ALL) {
        rv = read_percentiles(&series, "first", put_first_byte);
    }
    *ppoints = series.points;
    *n = series.n;
    return rv;
}

/* ---- counts ---- */

#define COUNTS(from, of)                                                                           \
    "SELECT value, SUM(attempts), SUM(calls) FROM " from " WHERE " of " AND kind = %s" OF_MODEL    \
    " GROUP BY value ORDER BY 2 DESC"
#define COUNTS_OF_NAME(from) COUNTS(from, OF_NAME)

static const gb_sql_t sql_counts[] = {
    {COUNTS("gb_tally", OF_ALL), NULL},
    BY_ONE_NAME(COUNTS_OF_NAME, "gb_tally"),
};

apr_status_t gb_stats_counts(const gb_count_t **pcounts, int *n, gb_db_t *db,
                             const gb_stats_ask_t *asked, gb_count_kind_t kind, apr_pool_t *p)
{
    static const char *const names[] = {"class", "status"};
    gb_stats_ask_t ask = *asked;
    gb_args_t args = {.n = 0};
    gb_count_t *counts;
    gb_rows_t rows;
    apr_status_t rv;
    int i;

    ask.from = gb_stats_begin(&ask);
    gb_stats_range(&args, &ask, p);
    gb_stats_arg(&args, names[kind]);
    gb_stats_model(&args, ask.of == GB_OF_ALL ? ask.model : NULL);
    rv = gb_db_query(db, &sql_counts[ask.of != GB_OF_ALL], args.list, &rows, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    counts = apr_palloc(p, sizeof(*counts) * (apr_size_t)(rows.n + 1));
    for (i = 0; i < rows.n; i++) {
        counts[i].value = gb_rows_text(&rows, i, 0);
        counts[i].attempts = gb_rows_int(&rows, i, 1, 0);
        counts[i].calls = gb_rows_int(&rows, i, 2, 0);
    }
    *pcounts = counts;
    *n = rows.n;
    return APR_SUCCESS;
}

/* ---- keys ---- */

#define AT_A_TIME 50
#define TEN       "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s"

#define KEYS(from)                                                                                 \
    "SELECT name, " SUMS " FROM " from " WHERE part = 'key' AND name IN (" TEN ", " TEN ", " TEN   \
    ", " TEN ", " TEN ") AND period = 86400 AND start >= %s AND pool = %s GROUP BY name"

static const gb_sql_t sql_keys = BY_ONE_NAME(KEYS, "gb_totals");

static void put_key(gb_sums_t *sums, const char *const *ids, int n, const gb_rows_t *rows, int row)
{
    int i;

    for (i = 0; i < n; i++) {
        if (strcmp(ids[i], gb_rows_text(rows, row, 0)) == 0) {
            gb_stats_sums(&sums[i], rows, row, 1);
        }
    }
}

static apr_status_t some_keys(gb_sums_t *sums, gb_db_t *db, const char *pool,
                              const char *const *ids, int n, apr_time_t since, apr_pool_t *p)
{
    gb_args_t args = {.n = 0};
    gb_rows_t rows;
    apr_status_t rv;
    int i;

    for (i = 0; i < AT_A_TIME; i++) {
        gb_stats_arg(&args, i < n ? ids[i] : "");
    }
    gb_stats_arg(&args, gb_db_int(apr_time_sec(since), p));
    gb_stats_arg(&args, pool);
    rv = gb_db_query(db, &sql_keys, args.list, &rows, p);
    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        put_key(sums, ids, n, &rows, i);
    }
    return rv;
}

apr_status_t gb_stats_keys(gb_sums_t *sums, gb_db_t *db, const char *pool, const char *const *ids,
                           int n, apr_time_t now, const gb_zone_t *zone, apr_pool_t *p)
{
    apr_time_t since = gb_midnight(zone, now);
    apr_status_t rv = APR_SUCCESS;
    int i;

    memset(sums, 0, sizeof(*sums) * (size_t)n);
    for (i = 0; rv == APR_SUCCESS && i < n; i += AT_A_TIME) {
        int some = n - i < AT_A_TIME ? n - i : AT_A_TIME;

        rv = some_keys(sums + i, db, pool, ids + i, some, since, p);
    }
    return rv;
}

static const gb_sql_t sql_recent = {
    "SELECT status_code, COUNT(*) FROM (SELECT status_code FROM t_request_log WHERE key_id = %s "
    "AND at >= %s AND pool = %s ORDER BY at DESC LIMIT 10000) AS recent GROUP BY status_code",
    NULL};

static gb_key_result_t result_of(apr_int64_t status)
{
    return status == 429                   ? GB_KEY_QUOTA
           : status <= 0 || status >= 500  ? GB_KEY_SERVER
           : status >= 200 && status < 300 ? GB_KEY_SUCCESS
                                           : GB_KEY_CLIENT;
}

static apr_status_t recent_calls(apr_int64_t *calls, gb_db_t *db, const char *pool,
                                 const char *key_id, apr_time_t since, apr_pool_t *p)
{
    const char *args[] = {key_id, gb_db_int(apr_time_as_msec(since), p), pool};
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_recent, args, &rows, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        calls[result_of(gb_rows_int(&rows, i, 0, 0))] += gb_rows_int(&rows, i, 1, 0);
    }
    return rv;
}

static apr_status_t long_calls(apr_int64_t *calls, gb_db_t *db, gb_stats_ask_t *ask, int period,
                               apr_time_t from, apr_pool_t *p)
{
    const gb_count_t *counts;
    apr_status_t rv;
    int i, n;

    ask->period = period;
    ask->from = from;
    rv = gb_stats_counts(&counts, &n, db, ask, GB_COUNT_STATUS, p);
    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        calls[result_of(apr_atoi64(counts[i].value))] += counts[i].attempts;
    }
    return rv;
}

apr_status_t gb_stats_key_calls(gb_key_calls_t *calls, gb_db_t *db, const char *pool,
                                const char *key_id, apr_time_t now, const gb_zone_t *zone,
                                apr_pool_t *p)
{
    gb_stats_ask_t ask = {pool, GB_OF_KEY, key_id, NULL, 0, 0, now + HOUR, zone};
    apr_status_t rv;

    memset(calls, 0, sizeof(*calls));
    rv = recent_calls(calls->n[GB_TILE_MINUTE], db, pool, key_id, now - apr_time_from_sec(60), p);
    if (rv == APR_SUCCESS) {
        rv = recent_calls(calls->n[GB_TILE_HOUR], db, pool, key_id, now - HOUR, p);
    }
    if (rv == APR_SUCCESS) {
        rv = long_calls(calls->n[GB_TILE_DAY], db, &ask, GB_PERIOD_HOUR, now - 23 * HOUR, p);
    }
    if (rv == APR_SUCCESS) {
        rv = long_calls(calls->n[GB_TILE_MONTH], db, &ask, GB_PERIOD_DAY, gb_stats_month(zone, now),
                        p);
    }
    return rv;
}

#define FAILED_KEYS(table, name)                                                                   \
    "SELECT name, SUM(failures) AS n FROM " table " WHERE period = 3600 AND part = 'key' "         \
    "AND start >= %s AND pool = %s GROUP BY " name                                                 \
    " HAVING SUM(failures) > 0 ORDER BY n DESC, name LIMIT %s"
#define ANSWERED_KEYS(table, name)                                                                 \
    "SELECT name, SUM(attempts) AS n FROM " table " WHERE period = 3600 AND part = 'key' "         \
    "AND kind = 'status' AND start >= %s AND pool = %s AND value = %s GROUP BY " name              \
    " ORDER BY n DESC, name LIMIT %s"

static const gb_sql_t sql_attention[] = {
    BY_RANGE(FAILED_KEYS, "gb_totals", "gb_totals_name"),
    BY_RANGE(ANSWERED_KEYS, "gb_tally", "gb_tally_name"),
};

apr_status_t gb_stats_attention(gb_key_count_t **pkeys, int *n, gb_db_t *db, const char *pool,
                                int status, apr_time_t since, int max, apr_pool_t *p)
{
    gb_args_t args = {.n = 0};
    gb_key_count_t *keys;
    gb_rows_t rows;
    apr_status_t rv;
    int i;

    gb_stats_arg(&args, gb_db_int(apr_time_sec(since - since % HOUR), p));
    gb_stats_arg(&args, pool);
    if (status >= 0) {
        gb_stats_arg(&args, apr_itoa(p, status));
    }
    gb_stats_arg(&args, apr_itoa(p, max < 500 ? max : 500));
    rv = gb_db_query(db, &sql_attention[status >= 0], args.list, &rows, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    keys = apr_palloc(p, sizeof(*keys) * (apr_size_t)(rows.n + 1));
    for (i = 0; i < rows.n; i++) {
        keys[i].key_id = gb_rows_text(&rows, i, 0);
        keys[i].n = gb_rows_int(&rows, i, 1, 0);
    }
    *pkeys = keys;
    *n = rows.n;
    return APR_SUCCESS;
}
