/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemini-balance's endpoints for the error log, at its paths and in its forms, for
 * tools that were written for it: /api/logs/errors and below.  A key is named by
 * its id where gemini-balance shows its text.
 */
#include "admin.h"

#include "apr_strings.h"

#include "admin_log.h"

#define LIST_MAX 1000
#define IDS_MAX  1000

/* ---- times ---- */

/* "2026-11-20T14:31:42" in TIMEZONE, also without seconds or without the time of day; 0: it is none. */
static apr_time_t time_of(const admin_page_t *page, const char *text)
{
    static const char *const rests[] = {"", ":00", "T00:00:00"};
    apr_time_t at = 0;
    size_t i;

    for (i = 0; !at && i < sizeof(rests) / sizeof(rests[0]); i++) {
        at = gb_db_time_parse(apr_pstrcat(page->r->pool, text, rests[i], NULL), 0);
    }
    return at && page->how.zone ? at - apr_time_from_sec(gb_zone_offset(page->how.zone, at)) : at;
}

const char *admin_log_time(const char *text, apr_pool_t *p)
{
    char *iso = text ? apr_pstrdup(p, text) : NULL;

    if (iso && strlen(iso) > 10) {
        iso[10] = 'T';
    }
    return iso;
}

/* ---- list ---- */

typedef struct list_ask_t {
    gb_log_filter_t filter;
    int limit, total;
    gb_log_page_t pages[LIST_MAX / GB_LOG_PAGE_MAX];
} list_ask_t;

/* A page has fewer rows than this endpoint may be asked for. */
static apr_status_t list_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    static const gb_log_cursor_t newest = {0, 0};
    list_ask_t *ask = baton;
    int i, left = ask->limit;
    apr_status_t rv = gb_logs_count(&ask->total, db, GB_LOG_ERRORS, &ask->filter, p);

    for (i = 0; rv == APR_SUCCESS && left > 0; i++) {
        rv = gb_logs_list(&ask->pages[i], db, GB_LOG_ERRORS, &ask->filter, newest, left, p);
        left -= GB_LOG_PAGE_MAX;
        ask->filter.skip += GB_LOG_PAGE_MAX;
    }
    return rv;
}

/* 0: it was refused. */
static int read_time(admin_page_t *page, const char *name, apr_int64_t *msec)
{
    const char *text = admin_arg(page, name);
    apr_time_t at = text && *text ? time_of(page, text) : 0;

    if (text && *text && !at) {
        admin_refuse(page, HTTP_BAD_REQUEST, name, "%s must be a time like 2026-11-20T14:30:00.",
                     name);
        return 0;
    }
    *msec = apr_time_as_msec(at);
    return 1;
}

static int read_code(admin_page_t *page, gb_log_filter_t *filter)
{
    const char *text = admin_arg(page, "error_code_search");

    if (!text || !*text) {
        return 1;
    }
    filter->status_min = filter->status_max = atoi(text);
    if (filter->status_min < 100 || filter->status_min > 999) {
        admin_refuse(page, HTTP_BAD_REQUEST, "error_code_search",
                     "error_code_search must be an HTTP status.");
        return 0;
    }
    return 1;
}

static int read_order(admin_page_t *page, gb_log_filter_t *filter)
{
    const char *by = admin_arg(page, "sort_by"), *order = admin_arg(page, "sort_order");

    if (by && *by && strcmp(by, "id") != 0 && strcmp(by, "request_time") != 0) {
        admin_refuse(page, HTTP_BAD_REQUEST, "sort_by", "sort_by must be id or request_time.");
        return 0;
    }
    filter->oldest_first = order && strcasecmp(order, "asc") == 0;
    return 1;
}

static const char *copied(const admin_page_t *page, const char *name, apr_pool_t *p)
{
    const char *text = admin_arg(page, name);

    return text && *text ? apr_pstrdup(p, text) : NULL;
}

static int read_filter(admin_page_t *page, list_ask_t *ask, apr_pool_t *p)
{
    gb_log_filter_t *filter = &ask->filter;

    ask->limit = admin_arg_int(page, "limit", 10, 1, LIST_MAX);
    filter->pool = apr_pstrdup(p, page->pool);
    filter->skip = admin_arg_int(page, "offset", 0, 0, GB_LOG_SKIP_MAX);
    filter->key_part = copied(page, "key_search", p);
    filter->text = copied(page, "error_search", p);
    return read_time(page, "start_date", &filter->from) && read_time(page, "end_date", &filter->to)
           && read_code(page, filter) && read_order(page, filter);
}

static json_t *row_json(const gb_log_row_t *row, apr_pool_t *p)
{
    return json_pack("{s:I, s:s?, s:s?, s:o, s:s?, s:s?}", "id", (json_int_t)row->id, "gemini_key",
                     row->key_id, "error_type", row->error_type, "error_code",
                     row->status ? json_integer(row->status) : json_null(), "model_name",
                     row->model, "request_time", admin_log_time(row->time, p));
}

static int list_errors(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, list_job, 0);
    apr_pool_t *p = admin_job_pool(job);
    list_ask_t *ask = apr_pcalloc(p, sizeof(*ask));
    json_t *logs;
    int i, k;

    if (!read_filter(page, ask, p) || admin_job_run(page, job, ask) != APR_SUCCESS) {
        return page->status;
    }
    logs = json_array();
    for (i = 0; i < LIST_MAX / GB_LOG_PAGE_MAX; i++) {
        for (k = 0; k < ask->pages[i].n; k++) {
            json_array_append_new(logs, row_json(&ask->pages[i].rows[k], page->r->pool));
        }
    }
    *out = json_pack("{s:o, s:i}", "logs", logs, "total", ask->total);
    return HTTP_OK;
}

/* ---- one ---- */

typedef struct one_ask_t {
    const char *pool, *key_id;
    apr_int64_t id, at, within;
    int code;
    gb_log_row_t row;
} one_ask_t;

static apr_status_t get_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    one_ask_t *ask = baton;

    return gb_logs_get(&ask->row, db, GB_LOG_ERRORS, ask->pool, ask->id, p);
}

static apr_status_t lookup_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    one_ask_t *ask = baton;

    return gb_logs_lookup(&ask->row, db, ask->pool, ask->key_id, ask->code, ask->at, ask->within,
                          p);
}

/* An object, as gemini-balance has it: what is none (it was cut, or is a list) stands in one. */
static json_t *request_json(const char *text)
{
    json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();

    if (json && (json_is_object(json) || json_is_null(json))) {
        return json;
    }
    return json_pack("{s:o}", "text", json ? json : json_string(text));
}

static int answer_one(admin_page_t *page, gb_job_t *job, one_ask_t *ask, json_t **out)
{
    apr_status_t rv = admin_job_run(page, job, ask);
    json_t *json;

    if (rv == APR_NOTFOUND) {
        return admin_refuse(page, HTTP_NOT_FOUND, NULL, "There is no such error in the log.");
    }
    if (rv != APR_SUCCESS) {
        return page->status;
    }
    json = row_json(&ask->row, page->r->pool);
    json_object_set_new(json, "error_log",
                        ask->row.error ? json_string(ask->row.error) : json_null());
    json_object_set_new(json, "request_msg", request_json(ask->row.request));
    *out = json;
    return HTTP_OK;
}

static one_ask_t *one_ask(admin_page_t *page, gb_job_t *job)
{
    apr_pool_t *p = admin_job_pool(job);
    one_ask_t *ask = apr_pcalloc(p, sizeof(*ask));

    ask->pool = apr_pstrdup(p, page->pool);
    return ask;
}

/* The id in the path; 0: it is none, which was answered. */
static apr_int64_t named_id(admin_page_t *page)
{
    char *end;
    apr_int64_t id = apr_strtoi64(page->named, &end, 10);

    if (id <= 0 || *end) {
        admin_refuse(page, HTTP_BAD_REQUEST, "id", "An error of the log is named by its number.");
        return 0;
    }
    return id;
}

static int error_details(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, get_job, 0);
    one_ask_t *ask = one_ask(page, job);

    ask->id = named_id(page);
    return ask->id ? answer_one(page, job, ask, out) : page->status;
}

/* The text of a key left the query before anything could log it: its id is in its place. */
static int lookup_error(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, lookup_job, 0);
    one_ask_t *ask = one_ask(page, job);
    const char *at = admin_arg(page, "timestamp");

    ask->key_id = copied(page, "gemini_key", admin_job_pool(job));
    if (!ask->key_id) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "gemini_key", "gemini_key must name a key.");
    }
    if (!at || !read_time(page, "timestamp", &ask->at) || !ask->at) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "timestamp",
                            "timestamp must be a time like 2026-11-20T14:30:00.");
    }
    ask->code = admin_arg_int(page, "status_code", 0, 0, 999);
    ask->within = (apr_int64_t)admin_arg_int(page, "window_seconds", 100, 1, 300) * 1000;
    return answer_one(page, job, ask, out);
}

/* ---- deleting ---- */

typedef struct delete_ask_t {
    const char *pool;
    apr_int64_t ids[IDS_MAX], until;
    int count, n, more;
} delete_ask_t;

static apr_status_t delete_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    delete_ask_t *ask = baton;

    return gb_logs_delete(&ask->n, db, GB_LOG_ERRORS, ask->pool, ask->ids, ask->count, p);
}

static apr_status_t clear_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    delete_ask_t *ask = baton;

    return gb_logs_clear(&ask->n, &ask->more, db, GB_LOG_ERRORS, ask->pool, ask->until, p);
}

static delete_ask_t *delete_ask(admin_page_t *page, gb_job_t *job)
{
    delete_ask_t *ask = apr_pcalloc(admin_job_pool(job), sizeof(*ask));

    ask->pool = apr_pstrdup(admin_job_pool(job), page->pool);
    return ask;
}

static int delete_error(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, delete_job, 1);
    delete_ask_t *ask = delete_ask(page, job);

    (void)out;
    ask->ids[0] = named_id(page);
    ask->count = 1;
    if (!ask->ids[0] || admin_job_run(page, job, ask) != APR_SUCCESS) {
        return page->status;
    }
    return ask->n ? HTTP_NO_CONTENT
                  : admin_refuse(page, HTTP_NOT_FOUND, NULL, "There is no such error in the log.");
}

static int delete_errors(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, delete_job, 1);
    delete_ask_t *ask = delete_ask(page, job);
    json_t *ids = json_object_get(page->body, "ids"), *id;
    size_t i;

    (void)out;
    if (!json_array_size(ids) || json_array_size(ids) > IDS_MAX) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "ids",
                            "ids must be a list of 1 to %d numbers of errors.", IDS_MAX);
    }
    json_array_foreach(ids, i, id)
    {
        if (!json_is_integer(id)) {
            return admin_refuse(page, HTTP_BAD_REQUEST, "ids", "Entry %d of ids is no number.",
                                (int)i + 1);
        }
        ask->ids[ask->count++] = json_integer_value(id);
    }
    return admin_job_run(page, job, ask) == APR_SUCCESS ? HTTP_NO_CONTENT : page->status;
}

static int delete_all_errors(admin_page_t *page, json_t **out)
{
    gb_job_t *job = admin_job(page, clear_job, 1);
    delete_ask_t *ask = delete_ask(page, job);

    (void)out;
    ask->until = apr_time_as_msec(apr_time_now());
    return admin_job_run(page, job, ask) == APR_SUCCESS ? HTTP_NO_CONTENT : page->status;
}

const admin_route_t admin_api_logs_routes[] = {
    {"/api/logs/errors",           M_GET,    NULL, NULL, NULL, list_errors,       0},
    {"/api/logs/errors",           M_DELETE, NULL, NULL, NULL, delete_errors,     0},
    {"/api/logs/errors/lookup",    M_GET,    NULL, NULL, NULL, lookup_error,      0},
    {"/api/logs/errors/all",       M_DELETE, NULL, NULL, NULL, delete_all_errors, 0},
    {"/api/logs/errors/?",         M_DELETE, NULL, NULL, NULL, delete_error,      0},
    {"/api/logs/errors/?/details", M_GET,    NULL, NULL, NULL, error_details,     0},
    {NULL,                         0,        NULL, NULL, NULL, NULL,              0},
};
