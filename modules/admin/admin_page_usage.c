/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /usage: calls, tokens and what they cost by the operator's own prices, per
 * model, caller, key and day; the prices; the same as a file.
 */
#include "admin_config.h"
#include "admin_usage.h"

#include <math.h>

#include "apr_strings.h"
#include "store/totals.h"

APLOG_USE_MODULE(gbalance_admin);

#define ROWS_SHOWN 20 /* of callers and keys */
#define BAR        1000

/* ---- what is asked ---- */

static const struct {
    const char *name, *word;
    int days; /* 0: 24 hours; -1: this month */
} ranges[] = {
    {"24h",   ADMIN_WORD("24 hours"), 0 },
    {"7d",    ADMIN_WORD("7 days"),   7 },
    {"30d",   ADMIN_WORD("30 days"),  30},
    {"month", ADMIN_WORD("Month"),    -1},
};

#define N_RANGES (sizeof(ranges) / sizeof(ranges[0]))

static const struct {
    const char *name, *word;
    gb_by_t by;
} splits[] = {
    {"model", ADMIN_WORD("Model"), GB_BY_MODEL },
    {"token", ADMIN_WORD("Token"), GB_BY_CALLER},
    {"key",   ADMIN_WORD("Key"),   GB_BY_KEY   },
};

#define N_SPLITS (sizeof(splits) / sizeof(splits[0]))

static size_t range_of(const admin_page_t *page)
{
    const char *name = admin_arg(page, "range");
    size_t i;

    for (i = 0; i < N_RANGES; i++) {
        if (name && strcmp(ranges[i].name, name) == 0) {
            return i;
        }
    }
    return 2;
}

static size_t split_of(const admin_page_t *page)
{
    const char *name = admin_arg(page, "by");
    size_t i;

    for (i = 0; i < N_SPLITS; i++) {
        if (name && strcmp(splits[i].name, name) == 0) {
            return i;
        }
    }
    return 0;
}

/* Midnight n days before (after) that one; a day has 23 to 25 hours. */
static apr_time_t midnight_off(const gb_zone_t *zone, apr_time_t midnight, int days)
{
    return gb_midnight(
        zone, midnight + apr_time_from_sec((apr_time_t)days * GB_PERIOD_DAY + 2 * GB_PERIOD_HOUR));
}

static int day_of_month(const gb_zone_t *zone, apr_time_t at)
{
    char text[20];

    gb_db_time(text, at, zone ? gb_zone_offset(zone, at) : 0);
    return atoi(text + 8);
}

static void set_range(admin_usage_t *usage, size_t range, apr_time_t now)
{
    apr_time_t today = gb_midnight(usage->zone, now);
    int days = ranges[range].days;

    if (days == 0) {
        apr_time_t hour = apr_time_from_sec(GB_PERIOD_HOUR);

        usage->period = GB_PERIOD_HOUR;
        usage->to = (now / hour + 1) * hour;
        usage->from = usage->to - 24 * hour;
        usage->before = usage->from - 24 * hour;
        return;
    }
    if (days < 0) {
        days = day_of_month(usage->zone, now);
    }
    usage->period = GB_PERIOD_DAY;
    usage->to = midnight_off(usage->zone, today, 1);
    usage->from = midnight_off(usage->zone, today, 1 - days);
    usage->before = midnight_off(usage->zone, today, 1 - 2 * days);
}

static const char *prices_text(admin_page_t *page)
{
    return page->settings->model_prices;
}

static admin_usage_t *usage_make(admin_page_t *page, gb_job_t *job, int most)
{
    apr_pool_t *p = admin_job_pool(job);
    admin_usage_t *usage = apr_pcalloc(p, sizeof(*usage));
    gb_zone_t *zone;

    usage->pool = apr_pstrdup(p, page->pool);
    if (gb_zone_load(&zone, page->settings->timezone, p) == APR_SUCCESS) {
        usage->zone = zone;
    }
    usage->prices = gb_prices_make(apr_pstrdup(p, prices_text(page)), p);
    usage->most = most;
    usage->by = splits[split_of(page)].by;
    usage->wants_keys = usage->by == GB_BY_KEY || admin_arg_int(page, "keys", 0, 0, 1);
    set_range(usage, range_of(page), page->how.now);
    return usage;
}

/* ---- figures as text ---- */

/* "$1,461.49", "$0.0042" */
static const char *money(double amount, apr_pool_t *p)
{
    const char *digits = apr_psprintf(p, amount > 0 && amount < 0.1 ? "%.4f" : "%.2f", amount);
    size_t whole = strcspn(digits, "."), i;
    char *out = apr_palloc(p, 2 * strlen(digits) + 2), *at = out;

    *at++ = '$';
    for (i = 0; i < whole; i++) {
        if (i && (whole - i) % 3 == 0) {
            *at++ = ',';
        }
        *at++ = digits[i];
    }
    apr_cpystrn(at, digits + whole, strlen(digits + whole) + 1);
    return out;
}

/* "+18 %" against the time before; "" when there was nothing. */
static const char *change(double now, double before, apr_pool_t *p)
{
    double share = before > 0 ? (now - before) / before * 100 : 0;

    if (before <= 0 || share > 9999) {
        return "";
    }
    return apr_psprintf(p, "%s%.0f %%",
                        share < -0.5  ? "\xe2\x88\x92"
                        : share < 0.5 ? ""
                                      : "+",
                        fabs(share));
}

static apr_int64_t tokens(const gb_sums_t *sums)
{
    return sums->prompt_tokens + sums->completion_tokens;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* ---- tiles ---- */

typedef struct whole_t {
    gb_sums_t sums;
    double cost, saved; /* by caching */
    apr_int64_t answers;
    int models, unpriced; /* lists of models are calls that name none */
} whole_t;

static whole_t sum_up(const gb_usage_t *models, int n, const gb_prices_t *prices)
{
    whole_t whole;
    int i;

    memset(&whole, 0, sizeof(whole));
    for (i = 0; i < n; i++) {
        const gb_price_t *price = gb_prices_get(prices, models[i].value);

        gb_sums_add(&whole.sums, &models[i].sums);
        whole.cost += models[i].cost;
        if (*models[i].value) {
            whole.models++;
            whole.unpriced += models[i].unpriced && models[i].sums.calls;
            whole.answers += models[i].sums.successes;
        }
        whole.saved += price ? (double)models[i].sums.cached_tokens
                                   * (price->prompt - price->cached) / 1e6
                             : 0;
    }
    return whole;
}

static void put_tiles(json_t *data, const whole_t *now, const whole_t *before, apr_pool_t *p)
{
    const gb_sums_t *s = &now->sums, *b = &before->sums;

    json_object_set_new(
        data, "tiles",
        json_pack("{s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:s}", "calls",
                  (json_int_t)s->calls, "failed", (json_int_t)s->call_failures, "failed_share",
                  share((double)s->call_failures, (double)s->calls), "prompt",
                  (json_int_t)s->prompt_tokens, "cached", (json_int_t)s->cached_tokens, "answer",
                  (json_int_t)s->completion_tokens, "answers", (json_int_t)now->answers, "thought",
                  (json_int_t)s->thought_tokens, "thought_share",
                  share((double)s->thought_tokens, (double)s->completion_tokens), "cached_share",
                  share((double)s->cached_tokens, (double)s->prompt_tokens), "cost",
                  money(now->cost, p), "saved", money(now->saved, p)));
    json_object_set_new(
        data, "changes",
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "calls",
                  change((double)s->calls, (double)b->calls, p), "prompt",
                  change((double)s->prompt_tokens, (double)b->prompt_tokens, p), "answer",
                  change((double)s->completion_tokens, (double)b->completion_tokens, p), "thought",
                  change((double)s->thought_tokens, (double)b->thought_tokens, p), "cost",
                  change(now->cost, before->cost, p), "saved",
                  change(now->saved, before->saved, p)));
    json_object_set_new(data, "unpriced", json_integer(now->unpriced));
}

/* ---- tables ---- */

static json_t *usage_row(const gb_usage_t *usage, int colour, double part, const whole_t *whole,
                         apr_pool_t *p)
{
    const gb_sums_t *s = &usage->sums;
    int width = (int)(part * BAR);
    json_t *row = json_pack(
        "{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:i, s:s, s:b, s:b, s:I, s:I}", "name",
        usage->value, "colour", colour, "calls", (json_int_t)s->calls, "failed",
        (json_int_t)s->call_failures, "prompt", (json_int_t)s->prompt_tokens, "cached",
        (json_int_t)s->cached_tokens, "answer", (json_int_t)s->completion_tokens, "thought",
        (json_int_t)s->thought_tokens, "tokens", (json_int_t)tokens(s), "share", part, "width",
        width > 6 || !s->calls ? width : 6, "cost", money(usage->cost, p), "unpriced",
        usage->unpriced && whole->sums.calls, "measured", usage->latency_p50 >= 0, "p50",
        (json_int_t)usage->latency_p50, "p99", (json_int_t)usage->latency_p99);

    return row ? row : json_object();
}

/* In the colours of the chart.  The share is that of the cost where anything has a price, else that of the tokens. */
static void put_table(json_t *data, const char *name, const gb_usage_t *list, int n, int all,
                      const whole_t *whole, apr_pool_t *p)
{
    json_t *rows = json_array();
    int i, named = 0;

    for (i = 0; i < n; i++) {
        int colour = *list[i].value && named < ADMIN_SERIES - 1 ? ++named : ADMIN_SERIES;
        double part = whole->cost > 0
                          ? share(list[i].cost, whole->cost)
                          : share((double)tokens(&list[i].sums), (double)tokens(&whole->sums));

        json_array_append_new(rows, usage_row(&list[i], colour, part, whole, p));
    }
    json_object_set_new(data, name, rows);
    json_object_set_new(data, apr_pstrcat(p, "n_", name, NULL), json_integer(all));
    json_object_set_new(data, apr_pstrcat(p, "more_", name, NULL), json_boolean(all > n));
    json_object_set_new(data, apr_pstrcat(p, "shown_", name, NULL), json_integer(n));
}

/* ---- the chart ---- */

static json_t *series_json(const admin_series_t *series, int n)
{
    json_t *calls = json_array(), *all = json_array(), *cost = json_array();
    int i;

    for (i = 0; i < n; i++) {
        json_array_append_new(calls, json_integer(series->sums[i].calls));
        json_array_append_new(all, json_integer(tokens(&series->sums[i])));
        json_array_append_new(cost, json_real(series->cost[i]));
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "name", series->name ? series->name : "", "calls",
                     calls, "tokens", all, "cost", cost);
}

static void put_chart(json_t *data, const admin_usage_t *usage, size_t split, apr_pool_t *p)
{
    json_t *labels = json_array(), *series = json_array(), *columns = json_array();
    char text[20];
    int i, s;

    for (i = 0; i < usage->n_columns; i++) {
        gb_sums_t sums;
        double cost = 0;

        memset(&sums, 0, sizeof(sums));
        for (s = 0; s < usage->n_series; s++) {
            gb_sums_add(&sums, &usage->series[s].sums[i]);
            cost += usage->series[s].cost[i];
        }
        gb_db_time(text, usage->columns[i],
                   usage->zone ? gb_zone_offset(usage->zone, usage->columns[i]) : 0);
        text[usage->period == GB_PERIOD_DAY ? 10 : 16] = '\0';
        json_array_append_new(labels, json_string(text));
        json_array_append_new(columns,
                              json_pack("{s:s, s:I, s:I, s:s}", "label", text, "calls",
                                        (json_int_t)sums.calls, "tokens", (json_int_t)tokens(&sums),
                                        "cost", money(cost, p)));
    }
    for (s = 0; s < usage->n_series; s++) {
        json_array_append_new(series, series_json(&usage->series[s], usage->n_columns));
    }
    json_object_set_new(data, "chart",
                        json_pack("{s:s, s:b, s:b, s:o, s:o}", "by", splits[split].name, "days",
                                  usage->period == GB_PERIOD_DAY, "cost", usage->has_cost, "labels",
                                  labels, "series", series));
    json_object_set_new(data, "columns", columns);
}

/* The same numbers say what the colours mean, where no script draws. */
static void put_legend(json_t *data, const admin_usage_t *usage)
{
    json_t *legend = json_array();
    int i, s;

    for (s = 0; s < usage->n_series; s++) {
        apr_int64_t calls = 0, all = 0;

        for (i = 0; i < usage->n_columns; i++) {
            calls += usage->series[s].sums[i].calls;
            all += tokens(&usage->series[s].sums[i]);
        }
        json_array_append_new(legend,
                              json_pack("{s:s, s:i, s:I, s:I}", "name",
                                        usage->series[s].name ? usage->series[s].name : "",
                                        "colour", usage->series[s].name ? s + 1 : ADMIN_SERIES,
                                        "calls", (json_int_t)calls, "tokens", (json_int_t)all));
    }
    json_object_set_new(data, "legend", legend);
}

/* ---- prices ---- */

static json_t *price_row(const char *model, const json_t *price)
{
    static const char *const members[] = {"prompt", "completion", "cached"};
    json_t *row = json_pack("{s:s}", "model", model);
    size_t i;

    for (i = 0; row && i < 3; i++) {
        const json_t *n = json_object_get(price, members[i]);

        json_object_set_new(row, members[i],
                            n ? json_sprintf("%.10g", json_number_value(n)) : json_string(""));
    }
    return row ? row : json_object();
}

/* Models that were used come first, then those that have a price all the same. */
static void put_prices(admin_page_t *page, json_t *data, const admin_usage_t *usage)
{
    json_t *prices = json_loads(prices_text(page), 0, NULL), *rows = json_array();
    const char *model;
    json_t *price;
    int i;

    for (i = 0; usage && i < usage->n_models; i++) {
        if (!json_object_get(prices, usage->models[i].value) && *usage->models[i].value) {
            json_array_append_new(rows, price_row(usage->models[i].value, NULL));
        }
    }
    json_object_foreach(prices, model, price)
    {
        json_array_append_new(rows, price_row(model, price));
    }
    json_object_set_new(data, "has_prices", json_boolean(json_object_size(prices) > 0));
    json_object_set_new(data, "prices", rows);
    json_decref(prices);
}

static int add_posted(void *list, const char *name, const char *value)
{
    (void)name;
    json_array_append_new(list, json_string(value));
    return 1;
}

static json_t *posted(admin_page_t *page, const char *name)
{
    json_t *list = admin_json_keep(json_array(), page->r->pool);

    apr_table_do(add_posted, list, page->form, name, NULL);
    return list;
}

/* 0: it is no price. */
static int read_price(json_t *price, const char *member, const json_t *text)
{
    const char *digits = json_string_value(text);
    char *end;
    double n;

    if (!digits || !*digits) {
        return 1;
    }
    n = strtod(digits, &end);
    if (*end || !isfinite(n) || n < 0 || n > 100000) {
        return 0;
    }
    json_object_set_new(price, member, json_real(n));
    return 1;
}

/* NULL: a price is none, and page says so. */
static json_t *posted_prices(admin_page_t *page)
{
    static const char *const members[] = {"prompt", "completion", "cached"};
    json_t *prices = admin_json_keep(json_object(), page->r->pool);
    const json_t *names = posted(page, "model"), *name;
    size_t i, m;

    json_array_foreach(names, i, name)
    {
        json_t *price = json_object();

        for (m = 0; m < 3; m++) {
            if (!read_price(price, members[m], json_array_get(posted(page, members[m]), i))) {
                json_decref(price);
                admin_fail(page, HTTP_BAD_REQUEST,
                           "The price of %s must be a number of dollars from 0 to 100000.",
                           json_string_value(name));
                return NULL;
            }
        }
        if (json_object_size(price) && json_string_length(name)) {
            json_object_set(prices, json_string_value(name), price);
        }
        json_decref(price);
    }
    return prices;
}

static apr_status_t save_prices(admin_page_t *page, json_t *data)
{
    json_t *prices, *body, *answer;
    int status;

    (void)data;
    if (!admin_form(page, "reset") && !admin_form(page, "model")) {
        return admin_fail(page, HTTP_BAD_REQUEST,
                          "Send a form with the fields model, prompt, completion and cached for "
                          "each model, or with reset.");
    }
    prices = admin_form(page, "reset") ? json_null() : posted_prices(page);
    if (!prices) {
        return APR_EGENERAL;
    }
    body = json_pack("{s:O}", "MODEL_PRICES", prices);
    answer = admin_core_call(page, M_PUT, "/config", body, &status);
    json_decref(body);
    if (status != HTTP_OK) {
        const json_t *fault = json_array_get(json_object_get(answer, "errors"), 0);
        const char *why = json_string_value(json_object_get(fault, "message"));

        return admin_fail(page, status, "%s", why ? why : admin_core_message(answer));
    }
    page->see_other = "usage?done=prices";
    return APR_SUCCESS;
}

/* ---- the page ---- */

static void put_choices(json_t *data, size_t range, size_t split)
{
    json_t *times = json_array(), *by = json_array();
    size_t i;

    for (i = 0; i < N_RANGES; i++) {
        json_array_append_new(times, json_pack("{s:s, s:s, s:b}", "value", ranges[i].name, "word",
                                               ranges[i].word, "on", i == range));
    }
    for (i = 0; i < N_SPLITS; i++) {
        json_array_append_new(by, json_pack("{s:s, s:s, s:b}", "value", splits[i].name, "word",
                                            splits[i].word, "on", i == split));
    }
    json_object_set_new(data, "ranges", times);
    json_object_set_new(data, "splits", by);
    json_object_set_new(data, "range", json_string(ranges[range].name));
    json_object_set_new(data, "split", json_string(splits[split].name));
}

static apr_status_t build_usage(admin_page_t *page, json_t *data)
{
    gb_job_t *job = admin_job(page, admin_usage_job, 0);
    admin_usage_t *usage = usage_make(page, job, ROWS_SHOWN);
    apr_pool_t *p = page->r->pool;
    whole_t now, before;
    const char *why = "";

    put_choices(data, range_of(page), split_of(page));
    json_object_set_new(data, "done",
                        json_string(admin_arg(page, "done") ? admin_arg(page, "done") : ""));
    if (admin_job_ask(job, usage, &why, page->r->pool) != APR_SUCCESS) {
        json_object_set_new(data, "broken", json_string(why));
        put_prices(page, data, NULL);
        return APR_SUCCESS;
    }
    now = sum_up(usage->models, usage->n_models, usage->prices);
    before = sum_up(usage->before_models, usage->n_before, usage->prices);
    json_object_set_new(data, "from", admin_time(usage->from));
    json_object_set_new(data, "last", admin_time(usage->to - 1));
    json_object_set_new(data, "has_cost", json_boolean(now.cost > 0));
    put_tiles(data, &now, &before, p);
    put_table(data, "models", usage->models, usage->n_models, usage->n_models, &now, p);
    json_object_set_new(data, "named_models", json_integer(now.models));
    put_table(data, "callers", usage->callers, usage->n_callers, usage->all_callers, &now, p);
    /* the page is there before them: its script asks for this part alone */
    json_object_set_new(data, "has_keys", json_boolean(usage->wants_keys));
    put_table(data, "keys", usage->keys, usage->n_keys, usage->all_keys, &now, p);
    put_chart(data, usage, split_of(page), p);
    put_legend(data, usage);
    put_prices(page, data, usage);
    return APR_SUCCESS;
}

/* ---- the file ---- */

static void put_lines(gb_buf_t *out, const char *kind, const gb_usage_t *list, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        const gb_sums_t *s = &list[i].sums;

        gb_buf_printf(out, "%s,", kind);
        admin_csv_cell(out, list[i].value);
        gb_buf_printf(out,
                      ",%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT
                      ",%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT
                      ",%" APR_INT64_T_FMT ",%.6f\r\n",
                      s->calls, s->call_failures, s->attempts, s->prompt_tokens, s->cached_tokens,
                      s->completion_tokens, s->thought_tokens, list[i].cost);
    }
}

static int usage_file(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, admin_usage_file_job, 0);
    admin_usage_t *usage = usage_make(page, job, GB_USAGE_MAX);
    const char *why = "";
    gb_buf_t text;

    (void)out;
    usage->wants_keys = 1;
    if (admin_job_ask(job, usage, &why, page->r->pool) != APR_SUCCESS) {
        return admin_refuse(page, HTTP_SERVICE_UNAVAILABLE, NULL, "%s", why);
    }
    gb_buf_init_pool(&text, GB_BUF_MAX_ANSWER, page->r->pool);
    gb_buf_puts(&text,
                "of,name,calls,failed,attempts,prompt_tokens,cached_tokens,completion_tokens,"
                "thought_tokens,cost_usd\r\n");
    put_lines(&text, "day", usage->before_models, usage->n_before);
    put_lines(&text, "model", usage->models, usage->n_models);
    put_lines(&text, "token", usage->callers, usage->n_callers);
    put_lines(&text, "key", usage->keys, usage->n_keys);
    return admin_file_send(page, "text/csv; charset=utf-8",
                           apr_psprintf(page->r->pool, "usage-%s.csv", ranges[range_of(page)].name),
                           &text);
}

const admin_route_t admin_usage_routes[] = {
    {"/usage",         M_GET,  "usage", ADMIN_WORD("Usage"), build_usage, NULL,       0},
    {"/usage",         M_POST, "usage", ADMIN_WORD("Usage"), save_prices, NULL,       0},
    {"/api/usage.csv", M_GET,  NULL,    NULL,                NULL,        usage_file, 0},
    {NULL,             0,      NULL,    NULL,                NULL,        NULL,       0},
};
