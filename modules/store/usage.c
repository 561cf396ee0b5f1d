/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who used how much: sums by model, day, key and caller, with what they cost.
 */
#include "store/stats_int.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_tables.h>

/* ---- statements ---- */

#define BY(column)                                                                                 \
    "SELECT " column ", model, " SUMS " FROM gb_totals WHERE " OF_ALL OF_MODEL " GROUP BY " column \
    ", model"
#define OF_NAME_BY(from, column)                                                                   \
    "SELECT " column ", model, " SUMS " FROM " from " WHERE " OF_NAME OF_MODEL " GROUP BY " column \
    ", model"
#define OF_NAME_BY_MODEL(from) OF_NAME_BY(from, "model")
#define OF_NAME_BY_DAY(from)   OF_NAME_BY(from, "start")
/* The names that count and how many there are; of these the sums by model, which alone have a price. */
#define BY_NAME(from, name, join)                                                                  \
    "SELECT name, model, " SUMS ", MAX(t.names) FROM"                                              \
    " (SELECT name AS top, SUM(calls) AS n, COUNT(*) OVER () AS names FROM " from                  \
    " WHERE " OF_ALL OF_MODEL " GROUP BY " name " ORDER BY n DESC LIMIT %s) AS t " join            \
    " ON name = t.top WHERE " OF_ALL OF_MODEL " GROUP BY name, model"

/* By model and by day: of everything, of a name. */
static const gb_sql_t sql_by_model[] = {
    {BY("model"), NULL},
    BY_ONE_NAME(OF_NAME_BY_MODEL, "gb_totals"),
};
static const gb_sql_t sql_by_day[] = {
    {BY("start"), NULL},
    BY_ONE_NAME(OF_NAME_BY_DAY, "gb_totals"),
};
/* First the names, then each by its index: SQLite would read the whole range for each of them. */
static const gb_sql_t sql_by_name = {
    BY_NAME("gb_totals", "+name", "CROSS JOIN gb_totals INDEXED BY gb_totals_name"),
    BY_NAME("gb_totals IGNORE INDEX (gb_totals_name)", "name", "STRAIGHT_JOIN gb_totals"),
};

/* ---- asking ---- */

static apr_status_t ask_plain(gb_rows_t *rows, gb_db_t *db, const gb_sql_t *sql,
                              const gb_stats_ask_t *ask, apr_pool_t *p)
{
    gb_args_t args = {.n = 0};

    gb_stats_range(&args, ask, p);
    gb_stats_model(&args, ask->model);
    return gb_db_query(db, &sql[ask->of != GB_OF_ALL], args.list, rows, p);
}

/* All names of a part, the inner question and the outer. */
static apr_status_t ask_names(gb_rows_t *rows, gb_db_t *db, const gb_stats_ask_t *ask, gb_of_t of,
                              int most, apr_pool_t *p)
{
    gb_args_t args = {.n = 0};

    gb_stats_names(&args, ask, of, p);
    gb_stats_model(&args, ask->model);
    gb_stats_arg(&args, apr_itoa(p, most));
    gb_stats_names(&args, ask, of, p);
    gb_stats_model(&args, ask->model);
    return gb_db_query(db, &sql_by_name, args.list, rows, p);
}

static apr_status_t ask_usage(gb_rows_t *rows, gb_db_t *db, const gb_stats_ask_t *ask, gb_by_t by,
                              int most, apr_pool_t *p)
{
    switch (by) {
    case GB_BY_MODEL:
        return ask_plain(rows, db, sql_by_model, ask, p);
    case GB_BY_DAY:
        return ask_plain(rows, db, sql_by_day, ask, p);
    case GB_BY_KEY:
        return ask_names(rows, db, ask, GB_OF_KEY, most, p);
    case GB_BY_CALLER:
        return ask_names(rows, db, ask, GB_OF_CALLER, most, p);
    case GB_BY_N:
        break;
    }
    return APR_EINVAL;
}

/* ---- putting together ---- */

static const char *value_of(const gb_stats_ask_t *ask, gb_by_t by, const char *text, apr_pool_t *p)
{
    apr_time_t at;
    char day[20];

    if (by != GB_BY_DAY) {
        return text;
    }
    at = apr_time_from_sec(apr_atoi64(text));
    gb_db_time(day, at, ask->zone ? gb_zone_offset(ask->zone, at) : 0);
    return apr_pstrndup(p, day, 10);
}

/* The entry of that name in the list. */
static gb_usage_t *usage_of(apr_array_header_t *list, apr_hash_t *places, const char *value)
{
    int *place = apr_hash_get(places, value, APR_HASH_KEY_STRING);
    gb_usage_t *usage;

    if (place) {
        return &APR_ARRAY_IDX(list, *place, gb_usage_t);
    }
    place = apr_palloc(list->pool, sizeof(*place));
    *place = list->nelts;
    apr_hash_set(places, value, APR_HASH_KEY_STRING, place);
    usage = apr_array_push(list);
    memset(usage, 0, sizeof(*usage));
    usage->value = value;
    usage->latency_p50 = usage->latency_p99 = -1;
    return usage;
}

static void add_usage(gb_usage_t *usage, const gb_sums_t *sums, const gb_price_t *price)
{
    gb_sums_add(&usage->sums, sums);
    usage->cost += gb_price_of(price, sums);
    usage->unpriced |= !price && sums->calls > 0;
}

static const gb_sql_t sql_model_latencies = {
    "SELECT model, value, SUM(attempts), SUM(calls) FROM gb_tally WHERE " OF_ALL
    " AND kind = 'latency'" OF_MODEL " GROUP BY model, value ORDER BY model",
    NULL};

static apr_status_t add_latencies(apr_array_header_t *list, apr_hash_t *places, gb_db_t *db,
                                  const gb_stats_ask_t *ask, apr_pool_t *p)
{
    apr_int64_t buckets[GB_BUCKETS];
    gb_args_t args = {.n = 0};
    gb_rows_t rows;
    apr_status_t rv;
    int i;

    gb_stats_range(&args, ask, p);
    gb_stats_model(&args, ask->model);
    rv = gb_db_query(db, &sql_model_latencies, args.list, &rows, p);
    memset(buckets, 0, sizeof(buckets));
    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        const char *model = gb_rows_text(&rows, i, 0);

        gb_stats_bucket(buckets, &rows, i, 1);
        if (i + 1 == rows.n || strcmp(model, gb_rows_text(&rows, i + 1, 0)) != 0) {
            gb_usage_t *usage = usage_of(list, places, model);

            usage->latency_p50 = gb_percentile(buckets, 0.5);
            usage->latency_p99 = gb_percentile(buckets, 0.99);
            memset(buckets, 0, sizeof(buckets));
        }
    }
    return rv;
}

static int by_calls(const void *a, const void *b)
{
    const gb_usage_t *x = a, *y = b;

    return x->sums.calls != y->sums.calls ? (x->sums.calls < y->sums.calls ? 1 : -1)
                                          : strcmp(x->value, y->value);
}

static int by_value(const void *a, const void *b)
{
    return strcmp(((const gb_usage_t *)a)->value, ((const gb_usage_t *)b)->value);
}

/* What names have behind their sums; elsewhere the list is whole. */
static int names_in_all(const gb_rows_t *rows, gb_by_t by, int n)
{
    int is_named = by == GB_BY_KEY || by == GB_BY_CALLER;

    return is_named && rows->n ? (int)gb_rows_int(rows, 0, 2 + GB_SUMS_N, n) : n;
}

apr_status_t gb_stats_top(gb_usage_t **pusage, int *n, int *all, gb_db_t *db,
                          const gb_stats_ask_t *asked, gb_by_t by, int most,
                          const gb_prices_t *prices, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 64, sizeof(gb_usage_t));
    apr_hash_t *places = apr_hash_make(p);
    gb_stats_ask_t ask = *asked;
    gb_rows_t rows = {.n = 0};
    gb_sums_t sums;
    apr_status_t rv;
    int i;

    ask.from = gb_stats_begin(&ask);
    rv = ask_usage(&rows, db, &ask, by, most, p);
    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        const char *value = value_of(&ask, by, gb_rows_text(&rows, i, 0), p);

        gb_stats_sums(&sums, &rows, i, 2);
        add_usage(usage_of(list, places, value), &sums,
                  gb_prices_get(prices, gb_rows_text(&rows, i, 1)));
    }
    if (rv == APR_SUCCESS && by == GB_BY_MODEL && ask.of == GB_OF_ALL) {
        rv = add_latencies(list, places, db, &ask, p);
    }
    *pusage = (gb_usage_t *)list->elts;
    *all = names_in_all(&rows, by, list->nelts);
    *n = list->nelts < most ? list->nelts : most;
    qsort(*pusage, (size_t)list->nelts, sizeof(**pusage), by == GB_BY_DAY ? by_value : by_calls);
    return rv;
}

apr_status_t gb_stats_usage(gb_usage_t **pusage, int *n, gb_db_t *db, const gb_stats_ask_t *ask,
                            gb_by_t by, const gb_prices_t *prices, apr_pool_t *p)
{
    int all;

    return gb_stats_top(pusage, n, &all, db, ask, by, GB_USAGE_MAX, prices, p);
}
