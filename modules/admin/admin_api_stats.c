/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemini-balance's endpoints for figures, at its paths and in its forms:
 * /api/stats and /api/key-usage-details.  A key is named by its id where
 * gemini-balance shows its text; where a client sends the text, the core and the
 * key module have put the id in its place.
 */
#include "admin.h"

#include "apr_strings.h"

#include "admin_log.h"

#define CALLS_MAX 5000

/* ---- calls of a period ---- */

typedef struct period_t {
    const char *name;
    apr_interval_time_t length; /* 0: since the first of the month */
} period_t;

static const period_t periods[] = {
    {"1m",    apr_time_from_sec(60)   },
    {"1h",    apr_time_from_sec(3600) },
    {"8h",    apr_time_from_sec(28800)},
    {"24h",   apr_time_from_sec(86400)},
    {"month", 0                       },
};

typedef struct calls_ask_t {
    gb_log_filter_t filter;
    gb_log_page_t pages[CALLS_MAX / GB_LOG_PAGE_MAX];
} calls_ask_t;

static apr_status_t calls_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    calls_ask_t *ask = baton;
    gb_log_cursor_t at = {0, 0};
    apr_status_t rv = APR_SUCCESS;
    int i, more = 1;

    for (i = 0; rv == APR_SUCCESS && more && i < CALLS_MAX / GB_LOG_PAGE_MAX; i++) {
        rv = gb_logs_list(&ask->pages[i], db, GB_LOG_REQUESTS, &ask->filter, at, GB_LOG_PAGE_MAX,
                          p);
        more = ask->pages[i].more;
        at = ask->pages[i].next;
    }
    return rv;
}

static json_t *call_json(const gb_log_row_t *row, apr_pool_t *p)
{
    int succeeded = row->status >= 200 && row->status < 300;

    return json_pack("{s:s?, s:s?, s:s?, s:o, s:s, s:o}", "timestamp", admin_log_time(row->time, p),
                     "key", row->key_id, "model", row->model, "status_code",
                     row->status ? json_integer(row->status) : json_null(), "status",
                     succeeded ? "success" : "failure", "latency_ms",
                     row->latency_ms >= 0 ? json_integer(row->latency_ms) : json_null());
}

/* Where the period begins; 0: it is none, which was answered. */
static apr_time_t period_begin(admin_page_t *page)
{
    const char *name = admin_arg(page, "period");
    apr_time_t now = page->how.now;
    size_t i;

    for (i = 0; name && i < sizeof(periods) / sizeof(periods[0]); i++) {
        if (strcmp(periods[i].name, name) == 0) {
            return periods[i].length ? now - periods[i].length
                                     : gb_stats_month(page->how.zone, now);
        }
    }
    admin_refuse(page, HTTP_BAD_REQUEST, "period", "period must be 1m, 1h, 8h, 24h or month.");
    return 0;
}

static int answer_calls(admin_page_t *page, const char *key_id, json_t **out)
{
    gb_job_t *job = admin_job(page, calls_job, 0);
    apr_pool_t *p = admin_job_pool(job);
    calls_ask_t *ask = apr_pcalloc(p, sizeof(*ask));
    apr_time_t from = period_begin(page);
    int i, k;

    if (!from) {
        return page->status;
    }
    ask->filter.pool = apr_pstrdup(p, page->pool);
    ask->filter.key_id = key_id ? apr_pstrdup(p, key_id) : NULL;
    ask->filter.from = apr_time_as_msec(from);
    if (admin_job_run(page, job, ask) != APR_SUCCESS) {
        return page->status;
    }
    *out = json_array();
    for (i = 0; i < CALLS_MAX / GB_LOG_PAGE_MAX; i++) {
        for (k = 0; k < ask->pages[i].n; k++) {
            json_array_append_new(*out, call_json(&ask->pages[i].rows[k], page->r->pool));
        }
    }
    return HTTP_OK;
}

static int stats_details(admin_page_t *page, json_t **out)
{
    return answer_calls(page, NULL, out);
}

/* ?key= counts as a credential: the core has left its id in a note. */
static int key_details(admin_page_t *page, json_t **out)
{
    const char *key = apr_table_get(page->r->notes, "gb-query-key-id");

    key = key ? key : admin_arg(page, "key_id");
    if (!key || !*key) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "key", "key must name a key, by its id.");
    }
    return answer_calls(page, key, out);
}

/* ---- keys that need attention ---- */

typedef struct attention_ask_t {
    const char *pool;
    int status, limit, n;
    apr_time_t since;
    gb_key_count_t *keys;
} attention_ask_t;

static apr_status_t attention_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    attention_ask_t *ask = baton;

    return gb_stats_attention(&ask->keys, &ask->n, db, ask->pool, ask->status, ask->since,
                              ask->limit, p);
}

static int attention_keys(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, attention_job, 0);
    apr_pool_t *p = admin_job_pool(job);
    attention_ask_t *ask = apr_pcalloc(p, sizeof(*ask));
    int i;

    ask->pool = apr_pstrdup(p, page->pool);
    ask->status = admin_arg_int(page, "status_code", 429, 100, 599);
    ask->limit = admin_arg_int(page, "limit", 20, 1, 100);
    ask->since = page->how.now - apr_time_from_sec(86400);
    if (admin_job_run(page, job, ask) != APR_SUCCESS) {
        return page->status;
    }
    *out = json_array();
    for (i = 0; i < ask->n; i++) {
        json_array_append_new(*out,
                              json_pack("{s:s, s:I, s:i}", "key", ask->keys[i].key_id, "count",
                                        (json_int_t)ask->keys[i].n, "status_code", ask->status));
    }
    return HTTP_OK;
}

/* ---- one key's models ---- */

typedef struct usage_ask_t {
    gb_stats_ask_t what;
    gb_usage_t *usage;
    int n;
} usage_ask_t;

static apr_status_t usage_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    usage_ask_t *ask = baton;

    return gb_stats_usage(&ask->usage, &ask->n, db, &ask->what, GB_BY_MODEL, NULL, p);
}

static int key_usage(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, usage_job, 0);
    apr_pool_t *p = admin_job_pool(job);
    usage_ask_t *ask = apr_pcalloc(p, sizeof(*ask));
    int i;

    ask->what.pool = apr_pstrdup(p, page->pool);
    ask->what.of = GB_OF_KEY;
    ask->what.name = apr_pstrdup(p, page->named);
    ask->what.period = GB_PERIOD_HOUR;
    ask->what.from = page->how.now - apr_time_from_sec(23 * 3600);
    ask->what.to = page->how.now + apr_time_from_sec(60);
    if (admin_job_run(page, job, ask) != APR_SUCCESS) {
        return page->status;
    }
    *out = json_object();
    for (i = 0; i < ask->n; i++) {
        json_object_set_new(*out, ask->usage[i].value, json_integer(ask->usage[i].sums.attempts));
    }
    return HTTP_OK;
}

const admin_route_t admin_api_stats_routes[] = {
    {"/api/stats/details",        M_GET, NULL, NULL, NULL, stats_details,  0},
    {"/api/stats/key-details",    M_GET, NULL, NULL, NULL, key_details,    0},
    {"/api/stats/attention-keys", M_GET, NULL, NULL, NULL, attention_keys, 0},
    {"/api/key-usage-details/?",  M_GET, NULL, NULL, NULL, key_usage,      0},
    {NULL,                        0,     NULL, NULL, NULL, NULL,           0},
};
