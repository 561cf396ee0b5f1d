/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of /usage share. */
#ifndef GB_ADMIN_USAGE_H
#define GB_ADMIN_USAGE_H

#include "admin.h"
#include "store/stats.h"

#define ADMIN_SERIES 6 /* colours of a chart: five by name, and all the rest */

/* A part of the chart, a value for each of its columns. */
typedef struct admin_series_t {
    const char *name; /* NULL: all that have no part of their own */
    gb_sums_t *sums;
    double *cost;
} admin_series_t;

/* What the page asks, and what the database thread answers. */
typedef struct admin_usage_t {
    /* asked */
    const char *pool;
    const gb_zone_t *zone;
    const gb_prices_t *prices;
    apr_time_t from, to, before; /* the time, and where the same length before it begins */
    int period;                  /* of a column */
    gb_by_t by;                  /* what the chart splits by */
    int most;                    /* callers and keys at most */
    int wants_keys;              /* a month of 10,000 keys takes half a second */
    /* answered */
    gb_usage_t *models, *before_models, *callers, *keys;
    int n_models, n_before, n_callers, n_keys;
    int all_callers, all_keys;
    apr_time_t *columns;
    int n_columns;
    admin_series_t series[ADMIN_SERIES];
    int n_series;
    int has_cost; /* series know what they cost */
} admin_usage_t;

/* A job of the database thread: everything on the page. */
apr_status_t admin_usage_job(struct gb_db_t *db, void *baton, apr_pool_t *p);
/* The sums of models, callers, keys and days alone, for a file. */
apr_status_t admin_usage_file_job(struct gb_db_t *db, void *baton, apr_pool_t *p);

#endif
