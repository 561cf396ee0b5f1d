/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /logs: errors, requests and changes of settings, with filters, a page at a time
 * from the newest on; one call with all of its attempts; deleting.  Filters and
 * places live in the address, so everything here can be linked and needs no
 * script.
 */
#include "admin_config.h"
#include "admin_logs.h"

#include "apr_strings.h"
#include "store/stats.h"
#include "store/totals.h"

APLOG_USE_MODULE(gbalance_admin);

#define PAGE_ROWS   50
#define NEWER_ROWS  200
#define NAMES_SHOWN 100 /* models and callers to choose from */
#define HOUR        APR_INT64_C(3600000)

typedef struct logs_t {
    apr_pool_t *p;
    const char *pool;
    gb_log_table_t table;
    gb_log_filter_t filter;
    gb_log_cursor_t from;
    apr_int64_t since; /* rows behind that one, for a live tail; -1: a list */
    apr_int64_t last;  /* the newest row there is */
    int n;
    const gb_zone_t *zone;
    apr_time_t now;
    gb_log_page_t page;
    const gb_count_t *counts; /* attempts by class in that time */
    int n_counts;
    gb_usage_t *models, *callers;
    int n_models, n_callers;
} logs_t;

/* ---- filters ---- */

static const struct {
    const char *name;
    const char *words;
    int hours; /* 0: from ... to */
} spans[] = {
    {"1h",   ADMIN_WORD("Last hour"),       1      },
    {"24h",  ADMIN_WORD("Last 24 hours"),   24     },
    {"7d",   ADMIN_WORD("7 days"),          7 * 24 },
    {"30d",  ADMIN_WORD("30 days"),         30 * 24},
    {"all",  ADMIN_WORD("Any time"),        0      },
    {"from", ADMIN_WORD("From … to …"), 0      },
};

#define N_SPANS (sizeof(spans) / sizeof(spans[0]))

static const struct {
    const char *name;
    const char *words;
    int min, max;
} results[] = {
    {"429",  "429",                   429, 429},
    {"5xx",  "5xx",                   500, 599},
    {"4xx",  "4xx",                   400, 499},
    {"2xx",  "2xx",                   200, 299},
    {"none", ADMIN_WORD("no answer"), 0,   0  },
};

#define N_RESULTS (sizeof(results) / sizeof(results[0]))

static const char *asked(const admin_page_t *page, const char *name)
{
    const char *text = admin_arg(page, name);

    return text && *text ? text : NULL;
}

/* "2026-11-20T14:30" of the zone, in ms; 0 when it is no time. */
static apr_int64_t local_time(const admin_page_t *page, const char *text, apr_pool_t *p)
{
    char *clean = apr_pstrcat(p, text ? text : "", ":00", NULL);
    apr_time_t at;

    if (strlen(clean) < 19 || clean[10] != 'T') {
        return 0;
    }
    clean[10] = ' ';
    clean[19] = '\0';
    at = gb_db_time_parse(clean, 0);
    if (at && page->how.zone) {
        at -= apr_time_from_sec(gb_zone_offset(page->how.zone, at));
    }
    return apr_time_as_msec(at);
}

static void read_span(const admin_page_t *page, gb_log_filter_t *filter, apr_pool_t *p)
{
    const char *name = asked(page, "time");
    size_t i;

    for (i = 0; i < N_SPANS - 1 && strcmp(spans[i].name, name ? name : "24h") != 0; i++) {
        ;
    }
    if (spans[i].hours) {
        filter->from = apr_time_as_msec(page->how.now) - spans[i].hours * HOUR;
    }
    else if (strcmp(spans[i].name, "from") == 0) {
        filter->from = local_time(page, asked(page, "from"), p);
        filter->to = local_time(page, asked(page, "to"), p);
    }
}

static void read_result(const admin_page_t *page, gb_log_filter_t *filter)
{
    const char *name = asked(page, "result"), *status = asked(page, "status");
    size_t i;

    for (i = 0; name && i < N_RESULTS; i++) {
        if (strcmp(results[i].name, name) == 0) {
            filter->status_min = results[i].min;
            filter->status_max = results[i].max;
            filter->no_status = !results[i].min;
        }
    }
    if (status && atoi(status) > 0) {
        filter->status_min = filter->status_max = atoi(status);
        filter->no_status = 0;
    }
}

void admin_log_filter(gb_log_filter_t *filter, const admin_page_t *page, gb_log_table_t table,
                      apr_pool_t *p)
{
    filter->pool = apr_pstrdup(p, page->pool);
    filter->key_id = apr_pstrdup(p, asked(page, "key_id"));
    filter->model = apr_pstrdup(p, asked(page, "model"));
    filter->type = apr_pstrdup(p, asked(page, "type"));
    filter->caller = apr_pstrdup(p, asked(page, "token"));
    filter->request_id = apr_pstrdup(p, asked(page, "request"));
    filter->text = apr_pstrdup(p, asked(page, "q"));
    filter->final_only = table == GB_LOG_REQUESTS && asked(page, "calls") != NULL;
    read_span(page, filter, p);
    read_result(page, filter);
}

/* Whether more than time, model, key and token narrow the list: figures know only those. */
static int is_narrow(const gb_log_filter_t *filter)
{
    return filter->type || filter->request_id || filter->text || filter->status_min
           || filter->no_status || (filter->key_id && filter->caller)
           || (filter->model && (filter->key_id || filter->caller));
}

/* ---- the database ---- */

static gb_stats_ask_t figures_ask(const logs_t *logs)
{
    gb_stats_ask_t ask;

    memset(&ask, 0, sizeof(ask));
    ask.pool = logs->pool;
    ask.of = logs->filter.key_id ? GB_OF_KEY : logs->filter.caller ? GB_OF_CALLER : GB_OF_ALL;
    ask.name = logs->filter.key_id ? logs->filter.key_id : logs->filter.caller;
    ask.model = logs->filter.model;
    ask.zone = logs->zone;
    ask.from = apr_time_from_msec(logs->filter.from);
    ask.to = logs->filter.to ? apr_time_from_msec(logs->filter.to) : logs->now;
    ask.period = ask.to - ask.from > apr_time_from_sec(92 * GB_PERIOD_DAY) ? GB_PERIOD_DAY
                 : ask.to - ask.from < apr_time_from_sec(2 * GB_PERIOD_DAY) && ask.of == GB_OF_ALL
                     ? GB_PERIOD_MINUTE /* kept that long, and more exact than an hour */
                     : GB_PERIOD_HOUR;
    return ask;
}

static apr_status_t names_job(gb_db_t *db, logs_t *logs, apr_pool_t *p)
{
    gb_stats_ask_t ask;
    apr_status_t rv;

    memset(&ask, 0, sizeof(ask));
    ask.pool = logs->pool;
    ask.zone = logs->zone;
    ask.period = GB_PERIOD_DAY;
    ask.to = logs->now;
    ask.from = gb_midnight(logs->zone, logs->now - apr_time_from_sec(30 * GB_PERIOD_DAY));
    rv = gb_stats_usage(&logs->models, &logs->n_models, db, &ask, GB_BY_MODEL, NULL, p);
    if (rv == APR_SUCCESS) {
        rv = gb_stats_usage(&logs->callers, &logs->n_callers, db, &ask, GB_BY_CALLER, NULL, p);
    }
    return rv;
}

static apr_status_t tail(gb_db_t *db, logs_t *logs, apr_pool_t *p)
{
    gb_log_page_t none;
    apr_status_t rv = gb_logs_newer(logs->since < 0 ? &none : &logs->page, db, logs->table,
                                    &logs->filter, logs->since, logs->n, p);

    if (rv == APR_SUCCESS) {
        logs->last = logs->since < 0 ? none.last_id : logs->page.last_id;
    }
    return rv;
}

static apr_status_t list_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    logs_t *logs = baton;
    gb_stats_ask_t ask = figures_ask(logs);
    apr_status_t rv = tail(db, logs, p);

    if (rv != APR_SUCCESS || logs->since >= 0) {
        return rv;
    }
    rv = gb_logs_list(&logs->page, db, logs->table, &logs->filter, logs->from, logs->n, p);
    if (rv == APR_SUCCESS && !is_narrow(&logs->filter)) {
        rv = gb_stats_counts(&logs->counts, &logs->n_counts, db, &ask, GB_COUNT_CLASS, p);
    }
    return rv == APR_SUCCESS ? names_job(db, logs, p) : rv;
}

/* ---- the tree ---- */

static void put_choice(json_t *list, const char *value, const char *words, const char *chosen)
{
    json_t *choice = json_pack("{s:s, s:s, s:b}", "value", value, "word", words, "on",
                               chosen && strcmp(value, chosen) == 0);

    if (choice) {
        json_array_append_new(list, choice);
    }
}

static json_t *names_list(const gb_usage_t *names, int n, const char *chosen)
{
    json_t *list = json_array();
    int i, is_there = !chosen;

    for (i = 0; i < n && i < NAMES_SHOWN; i++) {
        if (*names[i].value) {
            put_choice(list, names[i].value, names[i].value, chosen);
            is_there |= chosen && strcmp(names[i].value, chosen) == 0;
        }
    }
    if (!is_there) {
        put_choice(list, chosen, chosen, chosen);
    }
    return list;
}

static void put_choices(admin_page_t *page, json_t *data, const logs_t *logs)
{
    json_t *times = json_array(), *outcomes = json_array();
    const char *time = asked(page, "time");
    size_t i;

    for (i = 0; i < N_SPANS; i++) {
        put_choice(times, spans[i].name, spans[i].words, time ? time : "24h");
    }
    for (i = 0; i < N_RESULTS; i++) {
        put_choice(outcomes, results[i].name, results[i].words, asked(page, "result"));
    }
    json_object_set_new(data, "times", times);
    json_object_set_new(data, "is_from", json_boolean(time && strcmp(time, "from") == 0));
    json_object_set_new(data, "results", outcomes);
    json_object_set_new(data, "models",
                        names_list(logs->models, logs->n_models, logs->filter.model));
    json_object_set_new(data, "callers",
                        names_list(logs->callers, logs->n_callers, logs->filter.caller));
}

/* The shares that the bar above the table shows. */
static const char *const tones[] = {"ok", "cool", "bad", "off", "trial"};
#define N_TONES 5

static void put_shares(json_t *data, const logs_t *logs)
{
    apr_int64_t by_tone[N_TONES] = {0}, all = 0, errors = 0;
    int is_errors = logs->table == GB_LOG_ERRORS, i;
    json_t *shares = json_array();
    apr_int64_t shown, x = 0;
    size_t t;

    for (i = 0; i < logs->n_counts; i++) {
        const char *tone = admin_class(logs->counts[i].value)->tone;
        int is_error = strcmp(tone, "ok") != 0 && strcmp(logs->counts[i].value, "blocked") != 0
                       && strcmp(logs->counts[i].value, "cancelled") != 0;

        all += logs->counts[i].attempts;
        errors += is_error ? logs->counts[i].attempts : 0;
        for (t = 0; t < N_TONES; t++) {
            by_tone[t] += strcmp(tones[t], tone) == 0 && (is_error || !is_errors)
                              ? logs->counts[i].attempts
                              : 0;
        }
    }
    shown = is_errors ? errors : all;
    for (t = 0; shown && t < N_TONES; t++) {
        apr_int64_t width = by_tone[t] * 1000 / shown;

        if (by_tone[t]) {
            width = width > 8 ? width : 8;
            json_array_append_new(shares, json_pack("{s:s, s:I, s:I, s:I}", "tone", tones[t], "x",
                                                    (json_int_t)x, "width",
                                                    (json_int_t)(width > 4 ? width - 4 : width),
                                                    "n", (json_int_t)by_tone[t]));
            x += width;
        }
    }
    json_object_set_new(data, "has_shares", json_boolean(json_array_size(shares) > 0));
    json_object_set_new(data, "shares", shares);
    if (logs->counts) {
        json_object_set_new(data, "n_errors", json_integer(errors));
        json_object_set_new(data, "n_requests", json_integer(all));
    }
}

static int add_arg(void *out, const char *name, const char *value)
{
    static const char *const left_out[] = {"after", "part", "since", "call",
                                           "done",  "rest", "tab",   "view"};
    gb_buf_t *query = out;
    size_t i;

    for (i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        if (strcmp(left_out[i], name) == 0) {
            return 1;
        }
    }
    if (*value) {
        gb_buf_puts(query, "&");
        gb_buf_puts(query, name);
        gb_buf_puts(query, "=");
        gb_buf_puts(query, ap_escape_urlencoded(query->pool, value));
    }
    return 1;
}

/* The filters again, for links: "&model=x&time=7d". */
static const char *same_filters(const admin_page_t *page)
{
    gb_buf_t query;

    gb_buf_init_pool(&query, GB_BUF_MAX_LINE, page->r->pool);
    apr_table_do(add_arg, &query, page->args, NULL);
    return query.len ? query.data : "";
}

static int add_kept(void *list, const char *name, const char *value)
{
    json_t *pair = strcmp(name, "n") == 0 || strcmp(name, "tab") == 0 || strcmp(name, "part") == 0
                           || strcmp(name, "after") == 0 || strcmp(name, "call") == 0
                       ? NULL
                       : json_pack("{s:s, s:s}", "name", name, "value", value);

    if (pair) {
        json_array_append_new(list, pair);
    }
    return 1;
}

/* The filters once more, as fields of the form that changes the number of rows. */
static void put_kept(const admin_page_t *page, json_t *data)
{
    static const char *const rare[] = {"key_id", "status", "type", "request",
                                       "from",   "to",     "calls"};
    json_t *kept = json_array();
    int is_rare = 0;
    size_t i;

    apr_table_do(add_kept, kept, page->args, NULL);
    for (i = 0; i < sizeof(rare) / sizeof(rare[0]); i++) {
        is_rare |= asked(page, rare[i]) != NULL;
    }
    json_object_set_new(data, "kept", kept);
    json_object_set_new(data, "has_more_filters", json_boolean(is_rare));
}

static void put_rows(json_t *data, const logs_t *logs, apr_pool_t *p)
{
    json_t *rows = json_array();
    int i;

    for (i = 0; i < logs->page.n; i++) {
        json_array_append_new(rows, admin_log_row(&logs->page.rows[i], p));
    }
    json_object_set_new(data, "rows", rows);
    json_object_set_new(data, "shown", json_integer(logs->page.n));
    json_object_set_new(data, "last", json_integer(logs->last));
    if (logs->page.more) {
        json_object_set_new(data, "older", json_string(gb_log_cursor_text(logs->page.next, p)));
    }
}

/* ---- the list ---- */

static logs_t *logs_make(admin_page_t *page, gb_job_t *job, gb_log_table_t table)
{
    apr_pool_t *p = admin_job_pool(job);
    logs_t *logs = apr_pcalloc(p, sizeof(*logs));
    const char *since = asked(page, "since");
    gb_zone_t *zone;

    logs->p = p;
    logs->pool = apr_pstrdup(p, page->pool);
    logs->table = table;
    logs->now = page->how.now;
    logs->n = admin_arg_int(page, "n", PAGE_ROWS, 1, GB_LOG_PAGE_MAX);
    if (gb_zone_load(&zone, page->settings->timezone, p) == APR_SUCCESS) {
        logs->zone = zone;
    }
    logs->since = since ? apr_atoi64(since) : -1;
    if (logs->since >= 0) {
        logs->n = NEWER_ROWS;
    }
    else if (asked(page, "after")) {
        gb_log_cursor_parse(&logs->from, asked(page, "after"));
    }
    admin_log_filter(&logs->filter, page, table, p);
    return logs;
}

static void put_sizes(json_t *data, int chosen)
{
    static const char *const sizes[] = {"20", "50", "100", "500"};
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        json_array_append_new(
            list, json_pack("{s:s, s:b}", "value", sizes[i], "on", atoi(sizes[i]) == chosen));
    }
    json_object_set_new(data, "sizes", list);
}

static void put_frame(admin_page_t *page, json_t *data, const char *tab)
{
    const gb_settings_t *s = page->settings;
    const char *same = same_filters(page);

    json_object_set_new(data, "tab", json_string(tab));
    json_object_set_new(data, "same", json_string(same));
    json_object_set_new(data, "is_filtered", json_boolean(*same != '\0'));
    json_object_set_new(
        data, "error_days",
        json_integer(s->auto_delete_error_logs_enabled ? s->auto_delete_error_logs_days : 0));
    json_object_set_new(
        data, "request_days",
        json_integer(s->auto_delete_request_logs_enabled ? s->auto_delete_request_logs_days : 0));
    json_object_set_new(data, "max_rows", json_integer(s->log_max_rows));
    json_object_set_new(data, "records_bodies", json_boolean(s->error_log_record_request_body));
    json_object_set_new(data, "tab_is_log", json_boolean(strcmp(tab, "changes") != 0));
    json_object_set_new(data, "view", json_string(asked(page, "view") ? asked(page, "view") : ""));
    json_object_set_new(data, "is_done", json_boolean(asked(page, "done") != NULL));
    json_object_set_new(data, "done", json_integer(admin_arg_int(page, "done", 0, 0, 1000000000)));
}

static apr_status_t build_list(admin_page_t *page, json_t *data, gb_log_table_t table)
{
    gb_job_t *job = admin_job(page, list_job, 0);
    logs_t *logs = logs_make(page, job, table);
    const char *why = "";
    apr_status_t rv = admin_job_ask(job, logs, &why, page->r->pool);

    if (rv != APR_SUCCESS) {
        logs_t nothing; /* the database thread may be at logs still */

        memset(&nothing, 0, sizeof(nothing));
        admin_log_filter(&nothing.filter, page, table, page->r->pool);
        put_choices(page, data, &nothing);
        json_object_set_new(data, "broken", json_string(why));
        return APR_SUCCESS;
    }
    put_rows(data, logs, page->r->pool);
    put_choices(page, data, logs);
    put_shares(data, logs);
    put_sizes(data, logs->n);
    put_kept(page, data);
    json_object_set_new(data, "is_later", json_boolean(asked(page, "after") != NULL));
    return APR_SUCCESS;
}

static void put_changes(admin_page_t *page, json_t *data)
{
    const char *before = asked(page, "before");
    json_t *list = json_array();
    const json_t *answer, *change;
    int status;
    size_t i;

    answer = admin_core_call(page, M_GET,
                             before ? apr_psprintf(page->r->pool,
                                                   "/config/history?before=%" APR_INT64_T_FMT,
                                                   apr_atoi64(before))
                                    : "/config/history",
                             NULL, &status);
    if (status != HTTP_OK) {
        json_object_set_new(data, "broken", json_string(admin_core_message(answer)));
    }
    json_array_foreach(json_object_get(answer, "changes"), i, change)
    {
        json_array_append_new(list, admin_change_shown(page, change));
        json_object_set(data, "oldest", json_object_get(change, "id"));
    }
    json_object_set_new(data, "changes", list);
    json_object_set(data, "more_changes", json_object_get(answer, "more"));
}

/* ---- one call ---- */

typedef struct call_t {
    const char *pool, *request_id;
    gb_log_row_t *rows;
    int n;
} call_t;

static apr_status_t call_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    call_t *call = baton;

    return gb_logs_call(&call->rows, &call->n, db, call->pool, call->request_id, p);
}

static void put_call(admin_page_t *page, json_t *data, const char *request_id)
{
    gb_job_t *job = admin_job(page, call_job, 0);
    apr_pool_t *p = admin_job_pool(job);
    call_t *call = apr_pcalloc(p, sizeof(*call));
    const char *why = "";

    call->pool = apr_pstrdup(p, page->pool);
    call->request_id = apr_pstrdup(p, request_id);
    json_object_set_new(data, "call_id", json_string(request_id));
    if (admin_job_ask(job, call, &why, page->r->pool) != APR_SUCCESS) {
        json_object_set_new(data, "call_fault", json_string(why));
    }
    else if (call->n) {
        json_object_set_new(data, "call", admin_log_call(page, call->rows, call->n));
    }
}

/* ---- the page ---- */

static apr_status_t build_logs(admin_page_t *page, json_t *data)
{
    const char *tab = asked(page, "tab"), *call = asked(page, "call");
    const char *part = asked(page, "part");

    tab = tab && (strcmp(tab, "requests") == 0 || strcmp(tab, "changes") == 0) ? tab : "errors";
    put_frame(page, data, tab);
    if (call) {
        put_call(page, data, call);
        if (part && strcmp(part, "call") == 0) {
            return APR_SUCCESS;
        }
    }
    if (strcmp(tab, "changes") == 0) {
        put_changes(page, data);
        return APR_SUCCESS;
    }
    return build_list(page, data, strcmp(tab, "requests") == 0 ? GB_LOG_REQUESTS : GB_LOG_ERRORS);
}

/* ---- deleting ---- */

typedef struct delete_t {
    const char *pool;
    gb_log_table_t table;
    apr_int64_t until; /* all of them, up to then; 0: those of ids */
    apr_int64_t *ids;
    int n_ids;
    int gone, more; /* more: the rest follows by itself */
} delete_t;

static apr_status_t delete_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    delete_t *del = baton;

    return del->until
               ? gb_logs_clear(&del->gone, &del->more, db, del->table, del->pool, del->until, p)
               : gb_logs_delete(&del->gone, db, del->table, del->pool, del->ids, del->n_ids, p);
}

static int add_id(void *baton, const char *name, const char *value)
{
    delete_t *del = baton;

    (void)name;
    if (del->n_ids < GB_LOG_PAGE_MAX) {
        del->ids[del->n_ids++] = apr_atoi64(value);
    }
    return 1;
}

static int is_sure(const admin_page_t *page)
{
    const char *sure = admin_form(page, "sure");

    return sure && strcmp(sure, "delete") == 0;
}

/* Fields: tab, and id (several) or all=1 with sure=delete. */
static apr_status_t delete_logs(admin_page_t *page, json_t *data)
{
    gb_job_t *job = admin_job(page, delete_job, 1);
    apr_pool_t *p = admin_job_pool(job);
    delete_t *del = apr_pcalloc(p, sizeof(*del));
    const char *tab = admin_form(page, "tab"), *why = "";
    int is_requests = tab && strcmp(tab, "requests") == 0;

    if (admin_form(page, "all")) {
        if (!is_sure(page)) {
            return admin_fail(page, HTTP_BAD_REQUEST,
                              ADMIN_WORD("Nothing was deleted: write delete into the field."));
        }
        del->until = apr_time_as_msec(page->how.now);
    }
    del->pool = apr_pstrdup(p, page->pool);
    del->table = is_requests ? GB_LOG_REQUESTS : GB_LOG_ERRORS;
    del->ids = apr_palloc(p, sizeof(*del->ids) * GB_LOG_PAGE_MAX);
    apr_table_do(add_id, del, page->form, "id", NULL);
    if (admin_job_ask(job, del, &why, page->r->pool) != APR_SUCCESS) {
        return admin_fail(page, HTTP_SERVICE_UNAVAILABLE, "%s", why);
    }
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, page->r,
                  GBLOGNO(4020) "logs: %s: deleted %d row(s) of the log of %s", page->admin.who,
                  del->gone, is_requests ? "requests" : "errors");
    json_object_set_new(data, "gone", json_integer(del->gone));
    json_object_set_new(data, "more", json_boolean(del->more));
    page->see_other = apr_psprintf(page->r->pool, "logs?tab=%s&done=%d%s",
                                   is_requests ? "requests" : "errors", del->gone,
                                   del->more ? "&rest=1" : "");
    return APR_SUCCESS;
}

const admin_route_t admin_logs_routes[] = {
    {"/logs", M_GET,  "logs", ADMIN_WORD("Logs"), build_logs,  NULL, 0},
    {"/logs", M_POST, "logs", ADMIN_WORD("Logs"), delete_logs, NULL, 0},
    {NULL,    0,      NULL,   NULL,               NULL,        NULL, 0},
};
