/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live updates: one look a second in each child, whoever wrote what, and only
 * while somebody listens.  Events of a stream (data is JSON):
 *
 *   hello     {now, version, pid, pool}   first
 *   ready     {errors, requests, generation}   what later events are compared with
 *   pool      {total, active, cooling, trial, failed, invalid, off}   when a number changed
 *   keys      {ids: [...]}             keys that were used or changed, at most 50; none: others were,
 *                                      by hand
 *   logs      {errors, requests}       the highest row ids, when they grew or the log was cleared
 *   settings  {generation}             settings were saved, here or on another machine
 */
#include "admin.h"

#include "ap_mpm.h"
#include "http_protocol.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "mod_gbalance_keys.h"
#include "mod_watchdog.h"
#include "store/upkeep.h"

APLOG_USE_MODULE(gbalance_admin);

#define STEP       apr_time_from_sec(1)
#define BEAT_EVERY 15 /* looks without news */
#define KEYS_SEEN  50

static const char *const states[] = {"active", "cooling", "trial", "failed", "invalid", "off"};

/* What was told last, of one pool. */
typedef struct seen_t {
    int is_known;
    apr_uint32_t joined; /* streams that had begun by then */
    int total, by_state[6];
    apr_uint64_t changes;
    apr_uint64_t generation;
    apr_int64_t errors, requests;
    char ids[KEYS_SEEN][GB_POOL_ID_LEN];
    apr_uint32_t marks[KEYS_SEEN];
    int n_keys;
    int quiet; /* looks since something was told */
} seen_t;

static struct {
    APR_OPTIONAL_FN_TYPE(gbalance_pools) * pools;
    APR_OPTIONAL_FN_TYPE(gbalance_pool_settings) * settings;
    APR_OPTIONAL_FN_TYPE(gbalance_events_start) * start;
    APR_OPTIONAL_FN_TYPE(gbalance_events_tell) * tell;
    APR_OPTIONAL_FN_TYPE(gbalance_events_listeners) * listeners;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_list) * keys;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_changes) * changes;
    apr_hash_t
        *seen; /* name of a pool -> seen_t; the watchdog's thread alone, in a pool of its own */
} live;

/* ---- events ---- */

static void tell(const char *topic, const char *event, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT);
    gb_buf_t out;

    gb_buf_init(&out, GB_BUF_MAX_ERROR);
    gb_buf_printf(&out, "event: %s\ndata: %s\n\n", event, text ? text : "{}");
    if (out.rv == APR_SUCCESS) {
        live.tell(topic, out.data);
    }
    gb_buf_free(&out);
    free(text);
    json_decref(data);
}

/* ---- keys ---- */

static apr_uint32_t mark_of(const gb_keys_row_t *row)
{
    apr_uint32_t words[] = {(apr_uint32_t)row->state,         (apr_uint32_t)row->until,
                            (apr_uint32_t)row->key.last_used, (apr_uint32_t)row->key.failures,
                            (apr_uint32_t)row->key.resting,   (apr_uint32_t)row->key.day_calls};
    apr_uint32_t mark = 2166136261u;
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        mark = (mark ^ words[i]) * 16777619u;
    }
    return mark;
}

static int is_as_seen(const seen_t *seen, const gb_keys_row_t *row)
{
    int i;

    for (i = 0; i < seen->n_keys; i++) {
        if (strcmp(seen->ids[i], row->key.id) == 0) {
            return seen->marks[i] == mark_of(row);
        }
    }
    return 0;
}

static json_t *changed_keys(const seen_t *seen, const gb_keys_page_t *page)
{
    json_t *ids = json_array();
    int i;

    for (i = 0; i < page->n; i++) {
        if (!is_as_seen(seen, &page->rows[i])) {
            json_array_append_new(ids, json_string(page->rows[i].key.id));
        }
    }
    return ids;
}

static void remember_keys(seen_t *seen, const gb_keys_page_t *page)
{
    int i;

    seen->total = page->total;
    memcpy(seen->by_state, page->by_state, sizeof(seen->by_state));
    seen->n_keys = page->n < KEYS_SEEN ? page->n : KEYS_SEEN;
    for (i = 0; i < seen->n_keys; i++) {
        apr_cpystrn(seen->ids[i], page->rows[i].key.id, GB_POOL_ID_LEN);
        seen->marks[i] = mark_of(&page->rows[i]);
    }
}

static json_t *pool_json(int total, const int *by_state)
{
    json_t *data = json_object();
    size_t i;

    json_object_set_new(data, "total", json_integer(total));
    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        json_object_set_new(data, states[i], json_integer(by_state[i]));
    }
    return data;
}

/* The keys that were used last stand for all: every call changes one of them. */
static int look_at_keys(gb_keys_page_t *page, const char *pool, apr_pool_t *p)
{
    gb_keys_query_t query;

    memset(&query, 0, sizeof(query));
    query.pool = pool;
    query.order = GB_KEYS_BY_USED;
    query.descending = 1;
    query.count = KEYS_SEEN;
    return live.keys && live.keys(page, &query, p) == APR_SUCCESS;
}

static int tell_keys(seen_t *seen, const char *pool, apr_pool_t *p)
{
    apr_uint64_t changes = live.changes ? live.changes() : 0;
    gb_keys_page_t page;
    json_t *ids;
    int told = 0;

    memset(&page, 0, sizeof(page));
    if (!look_at_keys(&page, pool, p)) {
        return 0;
    }
    ids = changed_keys(seen, &page);
    if (seen->is_known
        && (seen->total != page.total
            || memcmp(seen->by_state, page.by_state, sizeof(seen->by_state)) != 0)) {
        tell(pool, "pool", pool_json(page.total, page.by_state));
        told = 1;
    }
    if (seen->is_known && (json_array_size(ids) > 0 || (changes != seen->changes && !told))) {
        tell(pool, "keys", json_pack("{s:O}", "ids", ids));
        told = 1;
    }
    json_decref(ids);
    remember_keys(seen, &page);
    seen->changes = changes;
    return told;
}

/* ---- settings and logs ---- */

static int tell_settings(seen_t *seen, const char *pool, apr_pool_t *p)
{
    const gb_settings_t *settings = live.settings(pool, p);
    int told = seen->is_known && settings && settings->generation != seen->generation;

    if (told) {
        tell(pool, "settings", json_pack("{s:I}", "generation", (json_int_t)settings->generation));
    }
    if (settings) {
        seen->generation = settings->generation;
    }
    return told;
}

typedef struct rows_t {
    apr_int64_t errors, requests;
} rows_t;

/* In the database thread. */
static apr_status_t read_rows(struct gb_db_t *db, void *baton, apr_pool_t *p)
{
    rows_t *rows = baton;
    apr_status_t rv = gb_log_newest(&rows->errors, db, GB_LOG_ERRORS, p);

    return rv == APR_SUCCESS ? gb_log_newest(&rows->requests, db, GB_LOG_REQUESTS, p) : rv;
}

static int tell_logs(seen_t *seen, const char *pool, const rows_t *rows)
{
    int told = seen->is_known && (rows->errors != seen->errors || rows->requests != seen->requests);

    if (told) {
        tell(pool, "logs",
             json_pack("{s:I, s:I}", "errors", (json_int_t)rows->errors, "requests",
                       (json_int_t)rows->requests));
    }
    seen->errors = rows->errors;
    seen->requests = rows->requests;
    return told;
}

/* ---- the watchdog ---- */

static seen_t *seen_of(const char *pool)
{
    seen_t *seen = apr_hash_get(live.seen, pool, APR_HASH_KEY_STRING);

    if (!seen) {
        apr_pool_t *p = apr_hash_pool_get(live.seen);

        seen = apr_pcalloc(p, sizeof(*seen));
        apr_hash_set(live.seen, apr_pstrdup(p, pool), APR_HASH_KEY_STRING, seen);
    }
    return seen;
}

/* Nothing, each time: sessions that ended are noticed.  A comment now and then: so is who has gone. */
static void beat(seen_t *seen, const char *pool, int told)
{
    seen->quiet = told ? 0 : seen->quiet + 1;
    live.tell(pool, seen->quiet >= BEAT_EVERY ? ":\n\n" : "");
    seen->quiet %= BEAT_EVERY;
}

/* Somebody has come since the last look. */
static void tell_ready(seen_t *seen, const char *pool)
{
    apr_uint32_t joined;

    live.listeners(pool, &joined);
    if (joined != seen->joined) {
        seen->joined = joined;
        tell(pool, "ready",
             json_pack("{s:I, s:I, s:I}", "errors", (json_int_t)seen->errors, "requests",
                       (json_int_t)seen->requests, "generation", (json_int_t)seen->generation));
    }
}

static void look_at(const char *pool, const rows_t *rows, apr_pool_t *p)
{
    seen_t *seen = seen_of(pool);
    int told = tell_keys(seen, pool, p);

    told |= tell_settings(seen, pool, p);
    if (rows) {
        told |= tell_logs(seen, pool, rows);
    }
    seen->is_known = 1;
    tell_ready(seen, pool);
    beat(seen, pool, told);
}

static int has_listeners(const gb_pool_conf_t *pools, int n)
{
    int i, any = 0;

    for (i = 0; i < n; i++) {
        int count = live.listeners(pools[i].name, NULL);

        if (!count) {
            seen_of(pools[i].name)->is_known = 0; /* what was told is long ago */
        }
        any += count;
    }
    return any;
}

static void look(apr_pool_t *p)
{
    int n, i;
    const gb_pool_conf_t *pools = live.pools(&n);
    gb_job_t *job;
    rows_t *rows;
    gb_error_t err;

    if (!has_listeners(pools, n)) {
        return;
    }
    job = admin_core.job_make(p, read_rows, 0);
    rows = apr_pcalloc(admin_core.job_pool(job), sizeof(*rows));
    if (admin_core.job_run(job, rows, &err) != APR_SUCCESS) {
        rows = NULL; /* it may come back; the pages say so by themselves */
    }
    for (i = 0; i < n; i++) {
        if (live.listeners(pools[i].name, NULL)) {
            look_at(pools[i].name, rows, p);
        }
    }
}

/* By the watchdog's thread, which mod_watchdog may begin before our own child_init. */
static void seen_make(void)
{
    apr_pool_t *p;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        abort();
    }
    apr_pool_tag(p, "gbalance_admin_live");
    live.seen = apr_hash_make(p);
}

static apr_status_t watch(int state, void *data, apr_pool_t *p)
{
    apr_pool_t *turn;

    (void)data;
    if (state == AP_WATCHDOG_STATE_RUNNING && live.pools && live.listeners) {
        if (!live.seen) {
            seen_make();
        }
        apr_pool_create(&turn, p);
        look(turn);
        apr_pool_destroy(turn);
    }
    return APR_SUCCESS;
}

void admin_live_register(apr_pool_t *pconf, server_rec *s)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance = APR_RETRIEVE_OPTIONAL_FN(
        ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;

    memset(&live, 0, sizeof(live));
    live.pools = APR_RETRIEVE_OPTIONAL_FN(gbalance_pools);
    live.settings = APR_RETRIEVE_OPTIONAL_FN(gbalance_pool_settings);
    live.start = APR_RETRIEVE_OPTIONAL_FN(gbalance_events_start);
    live.tell = APR_RETRIEVE_OPTIONAL_FN(gbalance_events_tell);
    live.listeners = APR_RETRIEVE_OPTIONAL_FN(gbalance_events_listeners);
    live.keys = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_list);
    live.changes = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_changes);
    if (!get_instance || !register_callback
        || get_instance(&watchdog, "gbalance_admin", 0, 0, pconf) != APR_SUCCESS
        || register_callback(watchdog, STEP, NULL, watch) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     GBLOGNO(4010) "admin: no watchdog (LoadModule watchdog_module): the pages are "
                                   "not updated by themselves");
    }
}

/* ---- the stream ---- */

static int api_events(admin_page_t *page, json_t **out)
{
    gb_keys_page_t keys;
    json_t *hello = json_pack("{s:f, s:s, s:i}", "now", (double)page->how.now / APR_USEC_PER_SEC,
                              "version", GBALANCE_VERSION, "pid", (int)getpid());
    gb_buf_t text;
    char *json;
    int rc;

    (void)out;
    if (page->r->header_only) {
        json_decref(hello);
        ap_set_content_type(page->r, "text/event-stream");
        return DONE;
    }
    memset(&keys, 0, sizeof(keys));
    if (look_at_keys(&keys, page->pool, page->r->pool)) {
        json_object_set_new(hello, "pool", pool_json(keys.total, keys.by_state));
    }
    json = json_dumps(hello, JSON_COMPACT);
    gb_buf_init_pool(&text, GB_BUF_MAX_ERROR, page->r->pool);
    gb_buf_printf(&text, "retry: 1000\nevent: hello\ndata: %s\n\n", json ? json : "{}");
    free(json);
    json_decref(hello);
    rc = live.start(page->r, &page->admin, page->pool, text.data);
    if (rc == HTTP_SERVICE_UNAVAILABLE) {
        return admin_refuse(page, rc, NULL, "This process of httpd is ending. Ask again.");
    }
    return rc == SUSPENDED ? SUSPENDED : DONE;
}

const admin_route_t admin_live_routes[] = {
    {"/events", M_GET, NULL, NULL, NULL, api_events, 0},
    {NULL,      0,     NULL, NULL, NULL, NULL,       0},
};
