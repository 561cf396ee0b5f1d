/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/config: what is in force, what can be changed, and changing it.  A change
 * is checked as a whole before anything of it is saved, and in force in every
 * child when it is answered.
 */
#include "core_api.h"

#include "apr_strings.h"

#include "core_store.h"

APLOG_USE_MODULE(gbalance);

#define WAIT apr_time_from_sec(5)

/* ---- looking ---- */

int core_api_config_get(core_api_t *api)
{
    const gb_settings_t *settings = core_view_now(api->r)->settings;
    int n, i;
    const gb_setting_t *rows = gb_settings_rows(&n);

    gb_buf_putc(&api->out, '{');
    for (i = 0; i < n; i++) {
        gb_buf_printf(&api->out, "%s\"%s\":", i ? "," : "", rows[i].name);
        gb_settings_json(&api->out, settings, &rows[i], 0, api->r->pool);
    }
    gb_buf_putc(&api->out, '}');
    return core_api_answer(api, HTTP_OK);
}

static const char *const type_names[] = {
    "boolean", "integer", "number",      "seconds", "string",     "url", "enum",
    "secret",  "list",    "secret_list", "map",     "number_map", "json"};
static const char *const scope_names[] = {"server", "pool", "vhost"};
static const char *const source_names[] = {"default",   "env_file", "environment",
                                           "directive", "vhost",    "saved"};

static void put_member(gb_buf_t *out, const char *name, const char *text)
{
    gb_buf_printf(out, ",\"%s\":", name);
    gb_json_put_cstr(out, text);
}

static void put_choices(gb_buf_t *out, const char *choices)
{
    gb_buf_puts(out, ",\"choices\":");
    gb_json_put_split(out, choices, '|');
}

static void put_row(core_api_t *api, const gb_setting_t *row, apr_hash_t *savers)
{
    const core_saver_t *saver = apr_hash_get(savers, row->name, APR_HASH_KEY_STRING);
    gb_settings_t *fresh = gb_settings_make(api->r->pool);
    core_origin_t origin = core_origin(api->r, row);
    gb_buf_t *out = &api->out;

    gb_buf_puts(out, "{\"name\":");
    gb_json_put_cstr(out, row->name);
    put_member(out, "directive", row->directive);
    put_member(out, "type", type_names[row->type]);
    put_member(out, "scope", scope_names[row->scope]);
    put_member(out, "group", row->group);
    put_member(out, "help", row->help);
    gb_buf_puts(out, ",\"default\":");
    gb_settings_json(out, fresh, row, 1, api->r->pool);
    if (row->min <= row->max) {
        gb_buf_printf(out, ",\"min\":%.15g,\"max\":%.15g", row->min, row->max);
    }
    if (row->type == GB_TYPE_ENUM) {
        put_choices(out, row->choices);
    }
    gb_buf_printf(out, ",\"secret\":%s", gb_saved_is_secret(row) ? "true" : "false");
    put_member(out, "source", source_names[origin.source]);
    put_member(out, "where", origin.where);
    if (origin.source == GB_FROM_SAVED && saver) {
        put_member(out, "who", saver->who);
        gb_buf_printf(out, ",\"at\":%" APR_TIME_T_FMT, apr_time_as_msec(saver->at));
    }
    gb_buf_printf(out, ",\"writable\":%s}", origin.is_fixed ? "false" : "true");
}

int core_api_config_schema(core_api_t *api)
{
    apr_hash_t *savers = core_api_savers(api);
    int n, i;
    const gb_setting_t *rows = gb_settings_rows(&n);

    gb_buf_puts(&api->out, "{\"pool\":");
    gb_json_put_cstr(&api->out, api->pool);
    put_member(&api->out, "vhost", api->conf->vhost);
    gb_buf_puts(&api->out, ",\"settings\":[");
    for (i = 0; i < n; i++) {
        gb_buf_puts(&api->out, i ? "," : "");
        put_row(api, &rows[i], savers);
    }
    gb_buf_puts(&api->out, "]}");
    return core_api_answer(api, HTTP_OK);
}

/* ---- saving ---- */

typedef struct save_t {
    gb_change_t change;
    int resets; /* all that was saved for `pool` and the VirtualHost goes */
    const char *pool;
} save_t;

static apr_status_t add_all_saved(gb_change_t *change, const gb_saved_ctx_t *ctx, const char *pool,
                                  apr_pool_t *p)
{
    apr_array_header_t *list, *mine = apr_array_make(p, 32, sizeof(gb_saved_t));
    apr_status_t rv = gb_saved_load(ctx, &list, NULL, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        gb_saved_t saved = APR_ARRAY_IDX(list, i, gb_saved_t);
        const char *name = strcmp(saved.scope, GB_SAVED_POOL) == 0 ? pool : change->vhost;

        if (strcmp(saved.name, name) == 0) {
            saved.value = NULL;
            APR_ARRAY_PUSH(mine, gb_saved_t) = saved;
        }
    }
    change->values = (const gb_saved_t *)mine->elts;
    change->n = mine->nelts;
    return rv;
}

/* The database thread. */
static apr_status_t save_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    save_t *save = baton;
    gb_saved_ctx_t ctx = core_saved_ctx(db);
    gb_change_t change = save->change;
    apr_status_t rv = APR_SUCCESS;
    int lock = core_live_lock();

    if (lock < 0) {
        return APR_EAGAIN;
    }
    if (save->resets) {
        rv = add_all_saved(&change, &ctx, save->pool, p);
    }
    if (rv == APR_SUCCESS && change.n) {
        rv = gb_saved_change(&ctx, &change, NULL, p);
        if (rv == APR_SUCCESS) {
            rv = core_live_reload(db, p);
        }
    }
    core_live_unlock(lock);
    return rv;
}

static gb_saved_t *copy_values(const gb_saved_t *values, int n, apr_pool_t *p)
{
    gb_saved_t *copies = apr_palloc(p, sizeof(*copies) * (apr_size_t)(n + 1));
    int i;

    for (i = 0; i < n; i++) {
        copies[i].scope = apr_pstrdup(p, values[i].scope);
        copies[i].name = apr_pstrdup(p, values[i].name);
        copies[i].key = apr_pstrdup(p, values[i].key);
        copies[i].value = apr_pstrdup(p, values[i].value);
    }
    return copies;
}

static apr_status_t save(core_api_t *api, const char *action, const gb_saved_t *values, int n,
                         int resets)
{
    core_job_t *job = core_job_make(save_job, 1);
    apr_pool_t *p = core_job_pool(job);
    save_t *baton = apr_pcalloc(p, sizeof(*baton));
    apr_status_t rv;

    baton->change.who = apr_pstrdup(p, api->who);
    baton->change.action = action;
    baton->change.vhost = apr_pstrdup(p, api->conf->vhost);
    baton->change.values = copy_values(values, n, p);
    baton->change.n = n;
    baton->resets = resets;
    baton->pool = apr_pstrdup(p, api->pool);
    core_job_baton(job, baton);
    rv = core_job_run(job, WAIT);
    core_job_release(job);
    if (rv == APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, api->r,
                      GBLOGNO(8060) "settings: %s: %s, %d value(s)", api->who, action, n);
    }
    return rv;
}

apr_status_t core_api_save(core_api_t *api, const char *action, const gb_saved_t *values, int n)
{
    return save(api, action, values, n, 0);
}

/* ---- PUT ---- */

typedef struct put_t {
    core_api_t *api;
    const gb_settings_t *now;
    gb_settings_t *scratch;     /* with what has been accepted */
    apr_array_header_t *values; /* of gb_saved_t */
    gb_buf_t faults;            /* [{"name":...,"message":...}] */
} put_t;

static void fault(put_t *put, const char *name, const char *message)
{
    gb_buf_puts(&put->faults, put->faults.len ? "," : "");
    gb_buf_puts(&put->faults, "{\"name\":");
    gb_json_put_cstr(&put->faults, name);
    put_member(&put->faults, "message", message);
    gb_buf_putc(&put->faults, '}');
}

/* As it is saved and compared: documents without the white space that a client put into them. */
static const char *text_of(const gb_settings_t *settings, const gb_setting_t *row, apr_pool_t *p)
{
    const char *text = gb_settings_text(settings, row, 1, p);
    gb_buf_t out;

    if (row->type != GB_TYPE_JSON || !*text) {
        return text;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    gb_json_put_compact(&out, gb_json_root(text, strlen(text)));
    return out.data;
}

static void push_value(put_t *put, const gb_setting_t *row, int is_null)
{
    gb_saved_t *saved = apr_array_push(put->values);
    int is_pool = row->scope == GB_SCOPE_POOL;

    saved->scope = is_pool ? GB_SAVED_POOL : GB_SAVED_VHOST;
    saved->name = is_pool ? put->api->pool : put->api->conf->vhost;
    saved->key = row->name;
    saved->value = is_null ? NULL : text_of(put->scratch, row, put->api->r->pool);
}

static int is_fixed(put_t *put, const gb_setting_t *row)
{
    core_origin_t origin = core_origin(put->api->r, row);
    apr_pool_t *p = put->api->r->pool;

    if (!origin.is_fixed) {
        return 0;
    }
    fault(put, row->name,
          row->scope == GB_SCOPE_SERVER
              ? apr_psprintf(
                  p,
                  "%s is of the whole server: set it by %s in the configuration, in .env or "
                  "in the environment",
                  row->name, row->directive)
              : apr_psprintf(p, "%s is set in %s, which wins over what is saved here", row->name,
                             origin.where));
    return 1;
}

static const char *json_of(const gb_settings_t *settings, const gb_setting_t *row, apr_pool_t *p)
{
    gb_buf_t json, out;

    gb_buf_init_pool(&json, GB_BUF_MAX_ANSWER, p);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    gb_settings_json(&json, settings, row, 1, p);
    gb_json_put_compact(&out, gb_json_root(json.data, json.len));
    return out.data;
}

/* A page sends all that it got: what has not changed is no change. */
static int is_same(put_t *put, const gb_setting_t *row)
{
    apr_pool_t *p = put->api->r->pool;

    return strcmp(json_of(put->scratch, row, p), json_of(put->now, row, p)) == 0;
}

static void take(put_t *put, const char *name, gb_span_t value)
{
    const gb_setting_t *row = gb_settings_find(name);
    apr_pool_t *p = put->api->r->pool;
    const char *why = NULL, *text;
    int is_null;

    if (!row) {
        fault(put, name, apr_psprintf(p, "there is no setting %s", name));
        return;
    }
    text = core_value_text(row, value, put->now, &is_null, &why, p);
    if (!text || (!is_null && gb_settings_set(put->scratch, row, text, &why, p) != APR_SUCCESS)) {
        fault(put, row->name, why);
        return;
    }
    if ((!is_null && is_same(put, row)) || is_fixed(put, row)) {
        return;
    }
    push_value(put, row, is_null);
}

static void put_init(put_t *put, core_api_t *api)
{
    memset(put, 0, sizeof(*put));
    put->api = api;
    put->now = core_view_now(api->r)->settings;
    put->scratch = gb_settings_copy(put->now, api->r->pool);
    put->values = apr_array_make(api->r->pool, 8, sizeof(gb_saved_t));
    gb_buf_init_pool(&put->faults, GB_BUF_MAX_ANSWER, api->r->pool);
}

static int refuse_put(put_t *put)
{
    core_api_t *api = put->api;

    gb_buf_reset(&api->out);
    gb_buf_printf(
        &api->out,
        "{\"error\":{\"status\":400,\"message\":\"Nothing was changed: some values are not "
        "acceptable.\"},\"errors\":[%s]}",
        put->faults.data);
    return core_api_answer(api, HTTP_BAD_REQUEST);
}

int core_api_config_put(core_api_t *api)
{
    gb_json_iter_t it;
    apr_status_t rv;
    put_t put;

    put_init(&put, api);
    for (gb_json_iter(&it, api->body); gb_json_next(&it);) {
        take(&put, gb_json_str(it.key, NULL, api->r->pool), it.value);
    }
    if (put.faults.len) {
        return refuse_put(&put);
    }
    if (put.values->nelts) {
        rv = core_api_save(api, "save", (const gb_saved_t *)put.values->elts, put.values->nelts);
        if (rv != APR_SUCCESS) {
            return core_api_store_failed(api, rv);
        }
    }
    return core_api_config_get(api);
}

/* ---- import: what a text would change; nothing is saved ---- */

typedef struct import_t {
    put_t put;
    gb_buf_t unknown; /* names that are no settings */
    apr_hash_t
        *masked; /* name -> gb_span_t *: secrets that came with masks are answered with them */
} import_t;

static void import_setting(import_t *import, const gb_setting_t *row, gb_span_t value)
{
    apr_pool_t *p = import->put.api->r->pool;
    const char *why, *given, *meant;
    int is_null;

    if (gb_json_kind(value) == GB_JSON_NULL) {
        fault(&import->put, row->name, apr_pstrcat(p, row->name, " has no value: null", NULL));
        return;
    }
    given = core_value_text(row, value, gb_settings_make(p), &is_null, &why, p);
    meant = core_value_text(row, value, import->put.now, &is_null, &why, p);
    if (given && meant && strcmp(given, meant) != 0) {
        apr_hash_set(import->masked, row->name, APR_HASH_KEY_STRING,
                     apr_pmemdup(p, &value, sizeof(value)));
    }
    take(&import->put, row->name, value);
}

static void import_one(import_t *import, const char *name, gb_span_t value)
{
    const gb_setting_t *row = gb_settings_find(name);

    if (row) {
        import_setting(import, row, value);
    }
    else {
        gb_buf_puts(&import->unknown, import->unknown.len ? "," : "");
        gb_json_put_cstr(&import->unknown, name);
    }
}

static int import_var(void *baton, const char *name, const char *value)
{
    import_t *import = baton;
    gb_buf_t json;

    gb_buf_init_pool(&json, GB_BUF_MAX_REQUEST, import->put.api->r->pool);
    gb_json_put_cstr(&json, value);
    import_one(import, name, gb_json_root(json.data, json.len));
    return 1;
}

/* A JSON object of values, or the lines of a .env file. */
static apr_status_t import_text(import_t *import, const char *text, const char **why)
{
    apr_pool_t *p = import->put.api->r->pool;
    gb_json_fault_t at;
    apr_table_t *vars;
    gb_json_iter_t it;

    if (text[strspn(text, " \t\r\n")] != '{') {
        apr_status_t rv = gb_env_text_read(&vars, text, "The text", why, p);

        if (rv == APR_SUCCESS) {
            apr_table_do(import_var, import, vars, NULL);
        }
        return rv;
    }
    if (gb_json_check(text, strlen(text), &at) != APR_SUCCESS) {
        *why = apr_psprintf(p, "The text is not valid JSON: %s.", at.message);
        return APR_EINVAL;
    }
    for (gb_json_iter(&it, gb_json_root(text, strlen(text))); gb_json_next(&it);) {
        import_one(import, gb_json_str(it.key, NULL, p), it.value);
    }
    return APR_SUCCESS;
}

static void put_imported(core_api_t *api, const import_t *import)
{
    const apr_array_header_t *values = import->put.values;
    const gb_span_t *masked;
    int i;

    gb_buf_puts(&api->out, "{\"values\":{");
    for (i = 0; i < values->nelts; i++) {
        const gb_setting_t *row = gb_settings_find(APR_ARRAY_IDX(values, i, gb_saved_t).key);

        gb_buf_printf(&api->out, "%s\"%s\":", i ? "," : "", row->name);
        masked = apr_hash_get(import->masked, row->name, APR_HASH_KEY_STRING);
        if (masked) {
            gb_json_put_compact(&api->out, *masked);
        }
        else {
            gb_settings_json(&api->out, import->put.scratch, row, 1, api->r->pool);
        }
    }
    gb_buf_printf(&api->out, "},\"errors\":[%s],\"unknown\":[%s]}",
                  import->put.faults.len ? import->put.faults.data : "",
                  import->unknown.len ? import->unknown.data : "");
}

int core_api_config_import(core_api_t *api)
{
    const char *text = gb_json_str(gb_json_get(api->body, "text"), NULL, api->r->pool);
    const char *why = NULL;
    import_t import;

    if (!text) {
        return core_api_refuse(api, HTTP_BAD_REQUEST,
                               "Send {\"text\": ...}: the lines of a .env file, or a JSON object "
                               "of values.");
    }
    put_init(&import.put, api);
    import.masked = apr_hash_make(api->r->pool);
    gb_buf_init_pool(&import.unknown, GB_BUF_MAX_ANSWER, api->r->pool);
    if (import_text(&import, text, &why) != APR_SUCCESS) {
        return core_api_refuse(api, HTTP_BAD_REQUEST, "%s", why);
    }
    put_imported(api, &import);
    return core_api_answer(api, HTTP_OK);
}

int core_api_config_reset(core_api_t *api)
{
    apr_status_t rv = save(api, "reset", NULL, 0, 1);

    return rv == APR_SUCCESS ? core_api_config_get(api) : core_api_store_failed(api, rv);
}

/* ---- revealing ---- */

static apr_status_t note_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    gb_saved_ctx_t ctx = core_saved_ctx(db);

    return gb_saved_note(&ctx, baton, p);
}

void core_api_note_reveal(core_api_t *api, const gb_saved_t *values, int n, const char *names)
{
    core_job_t *job = core_job_make(note_job, 1);
    apr_pool_t *p = core_job_pool(job);
    gb_change_t *change = apr_pcalloc(p, sizeof(*change));

    change->who = apr_pstrdup(p, api->who);
    change->action = "reveal";
    change->vhost = apr_pstrdup(p, api->conf->vhost);
    change->values = copy_values(values, n, p);
    change->n = n;
    core_job_baton(job, change);
    core_job_run(job, WAIT);
    core_job_release(job);
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, api->r,
                  GBLOGNO(8061) "settings: shown in clear to %s: %s", api->who, names);
}

int core_api_config_reveal(core_api_t *api)
{
    const gb_settings_t *settings = core_view_now(api->r)->settings;
    gb_span_t asked = gb_json_get(api->body, "names");
    apr_pool_t *p = api->r->pool;
    gb_saved_t values[16];
    const char *names = "";
    gb_json_iter_t it;
    int n = 0;

    gb_buf_putc(&api->out, '{');
    for (gb_json_iter(&it, asked);
         gb_json_kind(asked) == GB_JSON_ARRAY && n < 16 && gb_json_next(&it);) {
        const char *name = gb_json_str(it.value, NULL, p);
        const gb_setting_t *row = name ? gb_settings_find(name) : NULL;

        if (!row || !gb_saved_is_secret(row)) {
            return core_api_refuse(api, HTTP_BAD_REQUEST, "%s is no secret setting.",
                                   name ? name : "That");
        }
        if (row->scope == GB_SCOPE_SERVER) { /* it opens what belongs to other VirtualHosts */
            return core_api_refuse(api, HTTP_FORBIDDEN,
                                   "%s is of the whole server: it is not shown to who administers "
                                   "a VirtualHost.",
                                   row->name);
        }
        gb_buf_printf(&api->out, "%s\"%s\":", n ? "," : "", row->name);
        gb_settings_json(&api->out, settings, row, 1, p);
        names = apr_pstrcat(p, names, n ? ", " : "", row->name, NULL);
        values[n].scope = row->scope == GB_SCOPE_VHOST ? GB_SAVED_VHOST : GB_SAVED_POOL;
        values[n].name = row->scope == GB_SCOPE_VHOST ? api->conf->vhost : api->pool;
        values[n].key = row->name;
        values[n++].value = NULL;
    }
    if (!n) {
        return core_api_refuse(api, HTTP_BAD_REQUEST,
                               "Send {\"names\": [\"API_KEYS\", ...]}, at most 16 of them.");
    }
    gb_buf_putc(&api->out, '}');
    core_api_note_reveal(api, values, n, names);
    return core_api_answer(api, HTTP_OK);
}
