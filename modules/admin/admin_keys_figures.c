/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of the pages about keys, from the roll-ups: tiles, charts, one key's
 * calls and its last rows in the log.  All questions of a page go to the database
 * thread as one job.
 */
#include "admin_keys.h"
#include "admin_logs.h"

#include "apr_strings.h"
#include "store/stats.h"

APLOG_USE_MODULE(gbalance_admin);

#define SPARK_POINTS 12
#define LAST_ROWS    5
#define SERIES_MAX   6 /* with a colour of their own */

/* Lives in the job's pool: the job may outlive the request. */
typedef struct figures_t {
    const char *pool, *id, *timezone;
    apr_time_t now;
    int wants_tiles, days; /* days: the chart's range, 1 or 30 */
    gb_tile_t tiles[GB_TILE_N];
    gb_point_t *spark[GB_TILE_N]; /* the newest last */
    int n_spark[GB_TILE_N];
    gb_point_t *points;
    int n_points;
    gb_key_calls_t calls;
    gb_log_page_t rows;
    gb_zone_t *zone;
    apr_pool_t *p;
} figures_t;

/* ---- asking ---- */

static apr_status_t ask_series(figures_t *figures, gb_db_t *db, int period, int count,
                               gb_point_t **points, int *n)
{
    apr_interval_time_t length = apr_time_from_sec(period);
    gb_stats_ask_t ask = {.pool = figures->pool,
                          .of = figures->id ? GB_OF_KEY : GB_OF_ALL,
                          .name = figures->id,
                          .period = period,
                          .zone = figures->zone};

    ask.to = figures->now + 1;
    ask.from = figures->now - (count - 1) * length;
    return gb_stats_series(points, n, db, &ask, figures->p);
}

static apr_status_t ask_chart(figures_t *figures, gb_db_t *db)
{
    return figures->days == 1
               ? ask_series(figures, db, GB_PERIOD_HOUR, 24, &figures->points, &figures->n_points)
               : ask_series(figures, db, GB_PERIOD_DAY, figures->days, &figures->points,
                            &figures->n_points);
}

static apr_status_t ask_sparks(figures_t *figures, gb_db_t *db)
{
    static const struct {
        int period, count;
    } sparks[GB_TILE_N] = {
        [GB_TILE_MINUTE] = {GB_PERIOD_MINUTE, SPARK_POINTS},
        [GB_TILE_HOUR] = {GB_PERIOD_HOUR,   SPARK_POINTS},
        [GB_TILE_DAY] = {GB_PERIOD_HOUR,   24          },
        [GB_TILE_MONTH] = {GB_PERIOD_DAY,    30          },
    };
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < GB_TILE_N && rv == APR_SUCCESS; i++) {
        rv = ask_series(figures, db, sparks[i].period, sparks[i].count, &figures->spark[i],
                        &figures->n_spark[i]);
    }
    return rv;
}

/* Database thread. */
static apr_status_t ask_pool(struct gb_db_t *db, void *baton, apr_pool_t *p)
{
    figures_t *figures = baton;
    apr_status_t rv = APR_SUCCESS;

    (void)p;
    if (gb_zone_load(&figures->zone, figures->timezone, figures->p) != APR_SUCCESS) {
        figures->zone = NULL;
    }
    if (figures->wants_tiles) {
        rv = gb_stats_tiles(figures->tiles, db, figures->pool, figures->now, figures->zone,
                            figures->p);
    }
    if (rv == APR_SUCCESS && figures->wants_tiles) {
        rv = ask_sparks(figures, db);
    }
    return rv == APR_SUCCESS && figures->days ? ask_chart(figures, db) : rv;
}

/* Database thread. */
static apr_status_t ask_key(struct gb_db_t *db, void *baton, apr_pool_t *p)
{
    figures_t *figures = baton;
    gb_log_filter_t filter;
    gb_log_cursor_t newest = {0, 0};
    apr_status_t rv = ask_pool(db, baton, p);

    memset(&filter, 0, sizeof(filter));
    filter.pool = figures->pool;
    filter.key_id = figures->id;
    if (rv == APR_SUCCESS) {
        rv = gb_stats_key_calls(&figures->calls, db, figures->pool, figures->id, figures->now,
                                figures->zone, figures->p);
    }
    return rv == APR_SUCCESS ? gb_logs_list(&figures->rows, db, GB_LOG_REQUESTS, &filter, newest,
                                            LAST_ROWS, figures->p)
                             : rv;
}

static figures_t *figures_make(admin_page_t *page, gb_job_t *job)
{
    apr_pool_t *p = admin_job_pool(job);
    figures_t *figures = apr_pcalloc(p, sizeof(*figures));

    figures->p = p;
    figures->pool = apr_pstrdup(p, page->pool);
    figures->timezone = apr_pstrdup(p, page->settings->timezone);
    figures->now = page->how.now;
    return figures;
}

/* Whether the answer is there; else data says why it is not. */
static int asked(json_t *data, gb_job_t *job, figures_t *figures)
{
    gb_error_t err;
    apr_status_t rv = admin_core.job_run(job, figures, &err);

    if (rv != APR_SUCCESS) {
        json_object_set_new(data, "figures_fault",
                            admin_key_text(rv == APR_NOTFOUND ? "" : err.message));
    }
    return rv == APR_SUCCESS;
}

/* ---- tiles ---- */

static json_t *spark_of(const gb_point_t *points, int n, apr_pool_t *p)
{
    apr_int64_t most = 1;
    const char *path = "";
    int i;

    for (i = 0; i < n; i++) {
        most = points[i].sums.calls > most ? points[i].sums.calls : most;
    }
    for (i = 0; i < n; i++) {
        path = apr_psprintf(p, "%s%c%.1f %.1f", path, i ? 'L' : 'M',
                            n > 1 ? 100.0 * i / (n - 1) : 0,
                            18.0 - 16.0 * (double)points[i].sums.calls / (double)most);
    }
    return json_string(path);
}

static json_t *tile_of(const figures_t *figures, int i, const char *words, const char *span)
{
    const gb_sums_t *now = &figures->tiles[i].now, *before = &figures->tiles[i].before;
    apr_int64_t failed = now->call_failures, all = now->calls;
    json_t *json = json_pack(
        "{s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "words", words, "calls", (json_int_t)all,
        "succeeded", (json_int_t)(all - failed), "failed", (json_int_t)failed, "ok_width",
        admin_key_bar((apr_uint64_t)(all - failed), (apr_uint64_t)all), "spark",
        spark_of(figures->spark[i], figures->n_spark[i], figures->p), "span", json_string(span));

    if (failed) {
        json_int_t width = failed * 1000 / all > 12 ? failed * 1000 / all : 12;

        json_object_set_new(json, "bad",
                            json_pack("{s:I, s:I, s:f}", "x", (json_int_t)1000 - width, "width",
                                      width, "share", (double)failed / (double)all));
    }
    if (before->calls) {
        double change = 100.0 * ((double)all - (double)before->calls) / (double)before->calls;

        json_object_set_new(json, "change",
                            json_string(apr_psprintf(figures->p, "%s%.0f %%",
                                                     change < -0.5  ? "\xe2\x88\x92"
                                                     : change > 0.5 ? "+"
                                                                    : "",
                                                     change < 0 ? -change : change)));
    }
    return json;
}

static void put_tiles(json_t *data, const figures_t *figures)
{
    static const struct {
        const char *words, *span; /* span: of the log's filter */
    } shown[GB_TILE_N] = {
        [GB_TILE_MINUTE] = {ADMIN_WORD("Calls, 1 minute"),   "1h" },
        [GB_TILE_HOUR] = {ADMIN_WORD("Calls, 1 hour"),     "1h" },
        [GB_TILE_DAY] = {ADMIN_WORD("Calls, 24 hours"),   "24h"},
        [GB_TILE_MONTH] = {ADMIN_WORD("Calls, this month"), "30d"},
    };
    json_t *tiles = json_array();
    int i;

    for (i = 0; i < GB_TILE_N; i++) {
        json_array_append_new(tiles, tile_of(figures, i, shown[i].words, shown[i].span));
    }
    json_object_set_new(data, "tiles", tiles);
}

/* ---- charts ---- */

typedef apr_int64_t value_fn(const gb_point_t *point);

static apr_int64_t succeeded(const gb_point_t *point)
{
    return point->sums.calls - point->sums.call_failures;
}

/* A call that ends with 429 is among those that failed: the parts of a column have nothing in common. */
static apr_int64_t retried(const gb_point_t *point)
{
    apr_int64_t n = 0;
    int i;

    for (i = 0; i < point->n_classes; i++) {
        const gb_count_t *count = &point->classes[i];

        n += strcmp(count->value, "quota") == 0 ? count->attempts - count->calls : 0;
    }
    return n;
}

static apr_int64_t failed(const gb_point_t *point)
{
    return point->sums.call_failures;
}

static apr_int64_t prompt_tokens(const gb_point_t *point)
{
    return point->sums.prompt_tokens;
}

static apr_int64_t completion_tokens(const gb_point_t *point)
{
    return point->sums.completion_tokens;
}

static apr_int64_t half_took(const gb_point_t *point)
{
    return point->latency_p50;
}

static apr_int64_t most_took(const gb_point_t *point)
{
    return point->latency_p99;
}

/* The measures that a chart can show; errors have series by their classes. */
static const struct measure_t {
    const char *name, *words;
    int is_time;
    struct {
        const char *words, *colour;
        value_fn *value;
    } series[4];
} measures[] = {
    {"calls",
     ADMIN_WORD("Calls"),
     0,                                  {{ADMIN_WORD("Succeeded"), "c1", succeeded},
      {ADMIN_WORD("Retried after 429"), "c3", retried},
      {ADMIN_WORD("Failed calls"), "bad", failed}}                                                            },
    {"errors",  ADMIN_WORD("Errors"), 0, {{NULL, NULL, NULL}}                                                        },
    {"tokens",
     ADMIN_WORD("Tokens"),
     0,                                  {{ADMIN_WORD("Prompt"), "c1", prompt_tokens},
      {ADMIN_WORD("Answer"), "c2", completion_tokens}}                                                        },
    {"latency",
     ADMIN_WORD("Latency"),
     1,                                  {{ADMIN_WORD("p50"), "c1", half_took}, {ADMIN_WORD("p99"), "c4", most_took}}},
};

#define N_MEASURES (sizeof(measures) / sizeof(measures[0]))

static const struct measure_t *measure_of(const admin_page_t *page)
{
    const char *name = admin_arg(page, "measure");
    size_t i;

    for (i = 0; name && i < N_MEASURES; i++) {
        if (strcmp(measures[i].name, name) == 0) {
            return &measures[i];
        }
    }
    return &measures[0];
}

/* Values of a series with their sum; null where nothing was measured. */
static json_t *series_of(const char *words, const char *colour, json_t *values)
{
    json_int_t sum = 0;
    const json_t *one;
    size_t i;

    json_array_foreach(values, i, one)
    {
        sum += json_integer_value(one);
    }
    return json_pack("{s:s, s:s, s:o, s:I}", "words", words, "colour", colour, "values", values,
                     "sum", sum);
}

static json_t *values_by(const figures_t *figures, value_fn *value)
{
    json_t *values = json_array();
    int i;

    for (i = 0; i < figures->n_points; i++) {
        apr_int64_t n = value(&figures->points[i]);

        json_array_append_new(values, n < 0 ? json_null() : json_integer((json_int_t)n));
    }
    return values;
}

/* ---- errors by class ---- */

/* Classes that are errors, the worst for the pool first; what others do is told together. */
static const struct {
    const char *cls, *words, *colour;
} classes[] = {
    {"quota",      ADMIN_WORD("Limit reached"),    "c3" },
    {"service",    ADMIN_WORD("Service fault"),    "bad"},
    {"overloaded", ADMIN_WORD("Model overloaded"), "c5" },
    {"key",        ADMIN_WORD("Key refused"),      "c4" },
    {"client",     ADMIN_WORD("Request at fault"), "c2" },
    {NULL,         ADMIN_WORD("Other errors"),     "c6" },
};

#define N_CLASSES (sizeof(classes) / sizeof(classes[0]))

static size_t class_find(const char *cls)
{
    size_t i = 0;

    while (i < N_CLASSES - 1 && strcmp(classes[i].cls, cls) != 0) {
        i++;
    }
    return i;
}

static int is_error(const char *cls)
{
    static const char *const others[] = {"success", "cancelled", "adaptive", NULL};
    int i = 0;

    while (others[i] && strcmp(others[i], cls) != 0) {
        i++;
    }
    return others[i] == NULL;
}

static apr_int64_t count_class(const gb_point_t *point, size_t which)
{
    apr_int64_t n = 0;
    int i;

    for (i = 0; i < point->n_classes; i++) {
        const gb_count_t *count = &point->classes[i];

        n += is_error(count->value) && class_find(count->value) == which ? count->attempts : 0;
    }
    return n;
}

static void put_errors(json_t *all, const figures_t *figures)
{
    size_t which;
    int i;

    for (which = 0; which < N_CLASSES; which++) {
        json_t *values = json_array();

        for (i = 0; i < figures->n_points; i++) {
            json_array_append_new(
                values, json_integer((json_int_t)count_class(&figures->points[i], which)));
        }
        json_array_append_new(all, series_of(classes[which].words, classes[which].colour, values));
    }
}

/* ---- a chart ---- */

static json_t *series_all(const figures_t *figures, const struct measure_t *measure)
{
    json_t *all = json_array();
    int i;

    if (!measure->series[0].words) {
        put_errors(all, figures);
    }
    for (i = 0; measure->series[i].words; i++) {
        json_array_append_new(all, series_of(measure->series[i].words, measure->series[i].colour,
                                             values_by(figures, measure->series[i].value)));
    }
    return all;
}

/* "15:00", "11-20" */
static json_t *label_of(const figures_t *figures, int i)
{
    apr_time_t at = figures->points[i].at;
    apr_time_exp_t xt;

    apr_time_exp_tz(&xt, at, figures->zone ? gb_zone_offset(figures->zone, at) : 0);
    return json_string(figures->days == 1
                           ? apr_psprintf(figures->p, "%02d:%02d", xt.tm_hour, xt.tm_min)
                           : apr_psprintf(figures->p, "%02d-%02d", xt.tm_mon + 1, xt.tm_mday));
}

/* The same numbers line by line, newest first, for who wants a table. */
static json_t *lines_of(const json_t *labels, const json_t *series)
{
    json_t *lines = json_array();
    size_t i = json_array_size(labels), j;
    const json_t *one;

    while (i-- > 0) {
        json_t *cells = json_array();

        json_array_foreach(series, j, one)
        {
            json_t *value = json_array_get(json_object_get(one, "values"), i);

            json_array_append_new(cells, json_is_null(value) ? json_pack("{}")
                                                             : json_pack("{s:O}", "value", value));
        }
        json_array_append_new(
            lines, json_pack("{s:O, s:o}", "label", json_array_get(labels, i), "cells", cells));
    }
    return lines;
}

static json_t *chart_of(const figures_t *figures, const struct measure_t *measure)
{
    json_t *labels = json_array(), *series = series_all(figures, measure), *chart;
    int i;

    for (i = 0; i < figures->n_points; i++) {
        json_array_append_new(labels, label_of(figures, i));
    }
    chart = json_pack("{s:s, s:b, s:o, s:O, s:O}", "words", measure->words, "is_time",
                      measure->is_time, "lines", lines_of(labels, series), "labels", labels,
                      "series", series);
    json_object_set_new(
        chart, "drawn",
        json_pack("{s:o, s:o, s:b}", "labels", labels, "series", series, "time", measure->is_time));
    return chart;
}

static void put_choices(admin_page_t *page, json_t *chart, int days)
{
    json_t *all = json_array();
    size_t i;

    for (i = 0; i < N_MEASURES; i++) {
        json_array_append_new(all, json_pack("{s:s, s:s, s:b}", "words", measures[i].words, "href",
                                             admin_keys_href(page, "measure", measures[i].name),
                                             "chosen", &measures[i] == measure_of(page)));
    }
    json_object_set_new(chart, "measures", all);
    json_object_set_new(chart, "is_day", json_boolean(days == 1));
    json_object_set_new(chart, "day_href", json_string(admin_keys_href(page, "range", NULL)));
    json_object_set_new(chart, "month_href", json_string(admin_keys_href(page, "range", "30d")));
}

void admin_keys_figures(admin_page_t *page, json_t *data)
{
    const char *part = admin_arg(page, "part"), *range = admin_arg(page, "range");
    gb_job_t *job = admin_job(page, ask_pool, 0);
    figures_t *figures;
    json_t *chart;

    figures = figures_make(page, job);
    figures->wants_tiles = !part || strcmp(part, "tiles") == 0;
    figures->days = part && strcmp(part, "chart") != 0   ? 0
                    : range && strcmp(range, "30d") == 0 ? 30
                                                         : 1;
    if (!asked(data, job, figures)) {
        return;
    }
    if (figures->wants_tiles) {
        put_tiles(data, figures);
    }
    if (figures->days) {
        chart = chart_of(figures, measure_of(page));
        put_choices(page, chart, figures->days);
        json_object_set_new(data, "chart", chart);
    }
}

/* ---- one key ---- */

static void put_periods(json_t *data, const figures_t *figures)
{
    static const char *const words[GB_TILE_N] = {
        [GB_TILE_MINUTE] = ADMIN_WORD("1 minute"),
        [GB_TILE_HOUR] = ADMIN_WORD("1 hour"),
        [GB_TILE_DAY] = ADMIN_WORD("24 hours"),
        [GB_TILE_MONTH] = ADMIN_WORD("This month"),
    };
    json_t *all = json_array();
    int i;

    for (i = 0; i < GB_TILE_N; i++) {
        const apr_int64_t *n = figures->calls.n[i];

        json_array_append_new(all, json_pack("{s:s, s:I, s:I, s:I, s:I}", "words", words[i],
                                             "success", (json_int_t)n[GB_KEY_SUCCESS], "quota",
                                             (json_int_t)n[GB_KEY_QUOTA], "server",
                                             (json_int_t)n[GB_KEY_SERVER], "client",
                                             (json_int_t)n[GB_KEY_CLIENT]));
    }
    json_object_set_new(data, "periods", all);
}

static json_t *log_row(const gb_log_row_t *row)
{
    const admin_class_t *cls = admin_class_of(row);
    json_t *json = json_pack("{s:I, s:f, s:i, s:s, s:s, s:s, s:b, s:I}", "log_id",
                             (json_int_t)row->id, "at", (double)row->at / 1000, "status",
                             row->status, "model", row->model ? row->model : "", "pill", cls->tone,
                             "icon", cls->icon, "stream", row->is_stream, "latency",
                             (json_int_t)row->latency_ms);

    if (row->is_success && row->prompt_tokens >= 0) {
        json_object_set_new(
            json, "tokens",
            json_pack("{s:I, s:I}", "prompt", (json_int_t)row->prompt_tokens, "answer",
                      (json_int_t)(row->completion_tokens > 0 ? row->completion_tokens : 0)));
    }
    return json;
}

void admin_key_figures(admin_page_t *page, json_t *data, const char *id)
{
    gb_job_t *job = admin_job(page, ask_key, 0);
    figures_t *figures;
    json_t *rows;
    int i;

    figures = figures_make(page, job);
    figures->id = apr_pstrdup(figures->p, id);
    figures->days = 1;
    if (!asked(data, job, figures)) {
        return;
    }
    put_periods(data, figures);
    json_object_set_new(data, "chart", chart_of(figures, &measures[0]));
    rows = json_array();
    for (i = 0; i < figures->rows.n; i++) {
        json_array_append_new(rows, log_row(&figures->rows.rows[i]));
    }
    json_object_set_new(data, "rows", rows);
}
