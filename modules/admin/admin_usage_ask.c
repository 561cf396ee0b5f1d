/* SPDX-License-Identifier: Apache-2.0 */
/* What /usage asks of the database thread: tables, and the columns of the chart. */
#include "admin_usage.h"

static gb_stats_ask_t ask_of(const admin_usage_t *usage)
{
    gb_stats_ask_t ask;

    memset(&ask, 0, sizeof(ask));
    ask.pool = usage->pool;
    ask.period = usage->period;
    ask.from = usage->from;
    ask.to = usage->to;
    ask.zone = usage->zone;
    return ask;
}

/* ---- tables ---- */

static apr_status_t tables(admin_usage_t *usage, gb_db_t *db, apr_pool_t *p)
{
    gb_stats_ask_t ask = ask_of(usage);
    const gb_prices_t *prices = usage->prices;
    apr_status_t rv;

    rv = gb_stats_usage(&usage->models, &usage->n_models, db, &ask, GB_BY_MODEL, prices, p);
    if (rv == APR_SUCCESS) {
        rv = gb_stats_top(&usage->callers, &usage->n_callers, &usage->all_callers, db, &ask,
                          GB_BY_CALLER, usage->most, prices, p);
    }
    if (rv == APR_SUCCESS && usage->wants_keys) {
        rv = gb_stats_top(&usage->keys, &usage->n_keys, &usage->all_keys, db, &ask, GB_BY_KEY,
                          usage->most, prices, p);
    }
    if (rv == APR_SUCCESS) {
        ask.to = usage->from;
        ask.from = usage->before;
        rv = gb_stats_usage(&usage->before_models, &usage->n_before, db, &ask, GB_BY_MODEL, prices,
                            p);
    }
    return rv;
}

/* ---- the chart ---- */

static void narrow(gb_stats_ask_t *ask, gb_by_t by, const char *name)
{
    if (by == GB_BY_MODEL) {
        ask->model = name;
    }
    else {
        ask->of = by == GB_BY_KEY ? GB_OF_KEY : GB_OF_CALLER;
        ask->name = name;
    }
}

/* What a caller or a key cost each day; of models the price says it. */
static apr_status_t costs(admin_usage_t *usage, admin_series_t *series, gb_db_t *db,
                          const gb_stats_ask_t *ask, apr_pool_t *p)
{
    const gb_price_t *price = usage->by == GB_BY_MODEL ? gb_prices_get(usage->prices, series->name)
                                                       : NULL;
    apr_status_t rv = APR_SUCCESS;
    gb_usage_t *days;
    char text[20];
    int i, d, n = 0;

    if (usage->by == GB_BY_MODEL) {
        for (i = 0; i < usage->n_columns; i++) {
            series->cost[i] = gb_price_of(price, &series->sums[i]);
        }
        return APR_SUCCESS;
    }
    rv = gb_stats_usage(&days, &n, db, ask, GB_BY_DAY, usage->prices, p);
    for (i = 0; i < usage->n_columns; i++) {
        gb_db_time(text, usage->columns[i],
                   usage->zone ? gb_zone_offset(usage->zone, usage->columns[i]) : 0);
        for (d = 0; d < n; d++) {
            series->cost[i] += strncmp(days[d].value, text, 10) == 0 ? days[d].cost : 0;
        }
    }
    return rv;
}

static apr_status_t add_series(admin_usage_t *usage, const char *name, gb_db_t *db, apr_pool_t *p)
{
    admin_series_t *series = &usage->series[usage->n_series++];
    gb_stats_ask_t ask = ask_of(usage);
    gb_point_t *points;
    apr_status_t rv;
    int i, n;

    series->name = name;
    series->sums = apr_pcalloc(p, sizeof(gb_sums_t) * (apr_size_t)(usage->n_columns + 1));
    series->cost = apr_pcalloc(p, sizeof(double) * (apr_size_t)(usage->n_columns + 1));
    narrow(&ask, usage->by, name);
    rv = gb_stats_series(&points, &n, db, &ask, p);
    for (i = 0; rv == APR_SUCCESS && i < n && i < usage->n_columns; i++) {
        series->sums[i] = points[i].sums;
    }
    return rv == APR_SUCCESS && usage->has_cost ? costs(usage, series, db, &ask, p) : rv;
}

static void subtract(gb_sums_t *from, const gb_sums_t *sums)
{
    from->calls -= sums->calls;
    from->prompt_tokens -= sums->prompt_tokens;
    from->completion_tokens -= sums->completion_tokens;
}

/* All that the named ones leave of the whole. */
static apr_status_t add_rest(admin_usage_t *usage, const gb_point_t *all, gb_db_t *db,
                             apr_pool_t *p)
{
    admin_series_t *rest = &usage->series[usage->n_series];
    gb_stats_ask_t ask = ask_of(usage);
    gb_usage_t *days = NULL;
    int i, s, n = 0;
    apr_status_t rv = APR_SUCCESS;

    rest->sums = apr_pcalloc(p, sizeof(gb_sums_t) * (apr_size_t)(usage->n_columns + 1));
    rest->cost = apr_pcalloc(p, sizeof(double) * (apr_size_t)(usage->n_columns + 1));
    if (usage->has_cost && usage->period == GB_PERIOD_DAY) {
        rv = gb_stats_usage(&days, &n, db, &ask, GB_BY_DAY, usage->prices, p);
    }
    for (i = 0; i < usage->n_columns; i++) {
        rest->sums[i] = all[i].sums;
        rest->cost[i] = n == usage->n_columns ? days[i].cost : 0;
        for (s = 0; s < usage->n_series; s++) {
            subtract(&rest->sums[i], &usage->series[s].sums[i]);
            rest->cost[i] -= rest->cost[i] > 0 ? usage->series[s].cost[i] : 0;
        }
        rest->cost[i] = rest->cost[i] > 0.000001 ? rest->cost[i] : 0;
    }
    usage->n_series++;
    return rv;
}

static apr_status_t chart(admin_usage_t *usage, gb_db_t *db, apr_pool_t *p)
{
    const gb_usage_t *names = usage->by == GB_BY_KEY      ? usage->keys
                              : usage->by == GB_BY_CALLER ? usage->callers
                                                          : usage->models;
    int n = usage->by == GB_BY_KEY      ? usage->n_keys
            : usage->by == GB_BY_CALLER ? usage->n_callers
                                        : usage->n_models;
    gb_stats_ask_t ask = ask_of(usage);
    gb_point_t *all;
    apr_status_t rv = gb_stats_series(&all, &usage->n_columns, db, &ask, p);
    int i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    usage->columns = apr_palloc(p, sizeof(apr_time_t) * (apr_size_t)(usage->n_columns + 1));
    for (i = 0; i < usage->n_columns; i++) {
        usage->columns[i] = all[i].at;
    }
    usage->has_cost = usage->by == GB_BY_MODEL || usage->period == GB_PERIOD_DAY;
    for (i = 0; rv == APR_SUCCESS && i < n && usage->n_series < ADMIN_SERIES - 1; i++) {
        if (*names[i].value) { /* lists of models name none, checks of keys have no caller */
            rv = add_series(usage, names[i].value, db, p);
        }
    }
    return rv == APR_SUCCESS && n > usage->n_series ? add_rest(usage, all, db, p) : rv;
}

apr_status_t admin_usage_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    admin_usage_t *usage = baton;
    apr_status_t rv = tables(usage, db, p);

    return rv == APR_SUCCESS ? chart(usage, db, p) : rv;
}

apr_status_t admin_usage_file_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    admin_usage_t *usage = baton;
    gb_stats_ask_t ask = ask_of(usage);
    apr_status_t rv = tables(usage, db, p);

    /* The days take the place of the time before, which a file does not have. */
    return rv == APR_SUCCESS ? gb_stats_usage(&usage->before_models, &usage->n_before, db, &ask,
                                              GB_BY_DAY, usage->prices, p)
                             : rv;
}
