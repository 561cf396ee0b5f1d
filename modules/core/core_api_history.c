/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/config/history: who changed what and when, and back to an earlier state.
 */
#include "core_api.h"

#include "apr_strings.h"

#include "core_store.h"

APLOG_USE_MODULE(gbalance);

#define WAIT apr_time_from_sec(5)
#define PAGE 200 /* rows of an answer */

typedef struct ask_t {
    const char *pool, *vhost;
    apr_int64_t id;           /* before it, or back behind it */
    apr_pool_t *p;            /* the job's */
    apr_array_header_t *rows; /* of gb_history_row_t, or gb_saved_t */
} ask_t;

static apr_status_t list_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    gb_saved_ctx_t ctx = core_saved_ctx(db);
    ask_t *ask = baton;

    (void)p;
    return gb_history_list(&ctx, &ask->rows, ask->pool, ask->vhost, ask->id, PAGE, ask->p);
}

static apr_status_t undo_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    gb_saved_ctx_t ctx = core_saved_ctx(db);
    ask_t *ask = baton;

    (void)p;
    return gb_history_undo(&ctx, &ask->rows, ask->pool, ask->vhost, ask->id, ask->p);
}

static apr_status_t last_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    gb_saved_ctx_t ctx = core_saved_ctx(db);
    ask_t *ask = baton;

    (void)p;
    return gb_history_last(&ctx, &ask->rows, ask->pool, ask->vhost, ask->p);
}

static ask_t *ask_make(core_api_t *api, core_job_t *job, apr_int64_t id)
{
    apr_pool_t *p = core_job_pool(job);
    ask_t *ask = apr_pcalloc(p, sizeof(*ask));

    ask->pool = apr_pstrdup(p, api->pool);
    ask->vhost = apr_pstrdup(p, api->conf->vhost);
    ask->id = id;
    ask->p = p;
    core_job_baton(job, ask);
    return ask;
}

/* ---- looking ---- */

static void put_text(gb_buf_t *out, const char *name, const char *text)
{
    gb_buf_printf(out, ",\"%s\":", name);
    gb_json_put_cstr(out, text);
}

static void put_value(core_api_t *api, const gb_history_row_t *row)
{
    const gb_setting_t *setting = gb_settings_find(row->before.key);
    gb_buf_t *out = &api->out;

    gb_buf_puts(out, "{\"name\":");
    gb_json_put_cstr(out, row->before.key);
    put_text(out, "scope", row->before.scope);
    if (setting && strcmp(row->action, "reveal") != 0) {
        gb_buf_puts(out, ",\"before\":");
        core_value_json(out, setting, row->before.value, api->r->pool);
        gb_buf_puts(out, ",\"after\":");
        core_value_json(out, setting, row->after, api->r->pool);
    }
    gb_buf_putc(out, '}');
}

static apr_int64_t id_of(const apr_array_header_t *rows, int i)
{
    return APR_ARRAY_IDX(rows, i, gb_history_row_t).change_id;
}

/* Of a full page: without the change that it has cut, which begins the next one. */
static int whole_changes(const apr_array_header_t *rows)
{
    int n = rows->nelts;

    while (rows->nelts == PAGE && n > 0 && id_of(rows, n - 1) == id_of(rows, PAGE - 1)) {
        n--;
    }
    return n ? n : rows->nelts;
}

static void put_changes(core_api_t *api, const apr_array_header_t *rows)
{
    apr_int64_t id = -1;
    int i, n = whole_changes(rows);

    gb_buf_puts(&api->out, "{\"changes\":[");
    for (i = 0; i < n; i++) {
        const gb_history_row_t *row = &APR_ARRAY_IDX(rows, i, gb_history_row_t);

        if (row->change_id != id) {
            gb_buf_printf(&api->out, "%s{\"id\":%" APR_INT64_T_FMT ",\"at\":%" APR_TIME_T_FMT,
                          i ? "]}," : "", row->change_id, apr_time_as_msec(row->at));
            put_text(&api->out, "who", row->who);
            put_text(&api->out, "action", row->action);
            put_text(&api->out, "vhost", row->vhost);
            gb_buf_puts(&api->out, ",\"values\":[");
        }
        else {
            gb_buf_putc(&api->out, ',');
        }
        id = row->change_id;
        put_value(api, row);
    }
    gb_buf_printf(&api->out, "%s],\"more\":%s}", rows->nelts ? "]}" : "",
                  rows->nelts == PAGE ? "true" : "false");
}

/* ?before=ID: changes older than that. */
static apr_int64_t asked_before(const core_api_t *api)
{
    const char *arg = api->args ? strstr(api->args, "before=") : NULL;

    return arg ? apr_atoi64(arg + strlen("before=")) : 0;
}

int core_api_history_get(core_api_t *api)
{
    core_job_t *job = core_job_make(list_job, 0);
    ask_t *ask = ask_make(api, job, asked_before(api));
    apr_status_t rv = core_job_run(job, WAIT);

    if (rv == APR_SUCCESS) {
        put_changes(api, ask->rows);
    }
    core_job_release(job);
    return rv == APR_SUCCESS ? core_api_answer(api, HTTP_OK) : core_api_store_failed(api, rv);
}

apr_hash_t *core_api_savers(core_api_t *api)
{
    core_job_t *job = core_job_make(last_job, 0);
    ask_t *ask = ask_make(api, job, 0);
    apr_hash_t *savers = apr_hash_make(api->r->pool);
    apr_pool_t *p = api->r->pool;
    int i, n = core_job_run(job, WAIT) == APR_SUCCESS ? ask->rows->nelts : 0;

    for (i = 0; i < n; i++) {
        const gb_history_row_t *row = &APR_ARRAY_IDX(ask->rows, i, gb_history_row_t);
        core_saver_t *saver = apr_palloc(p, sizeof(*saver));

        saver->who = apr_pstrdup(p, row->who);
        saver->at = row->at;
        apr_hash_set(savers, apr_pstrdup(p, row->before.key), APR_HASH_KEY_STRING, saver);
    }
    core_job_release(job);
    return savers;
}

/* ---- going back ---- */

int core_api_history_restore(core_api_t *api)
{
    core_job_t *job;
    apr_int64_t id;
    apr_status_t rv;
    ask_t *ask;

    if (!gb_json_int(gb_json_get(api->body, "change"), &id)) {
        return core_api_refuse(api, HTTP_BAD_REQUEST,
                               "Send {\"change\": ID}: settings become what they were before it.");
    }
    job = core_job_make(undo_job, 0);
    ask = ask_make(api, job, id);
    rv = core_job_run(job, WAIT);
    if (rv == APR_SUCCESS) {
        rv = core_api_save(api, "restore", (const gb_saved_t *)ask->rows->elts, ask->rows->nelts);
    }
    core_job_release(job);
    if (APR_STATUS_IS_NOTFOUND(rv)) {
        return core_api_refuse(api, HTTP_NOT_FOUND, "There is no change %" APR_INT64_T_FMT " here.",
                               id);
    }
    return rv == APR_SUCCESS ? core_api_config_get(api) : core_api_store_failed(api, rv);
}
