/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/config/export: the values in force as a file, .env or JSON, that
 * /api/config/import and gemini-balance read.  What holds secrets is left out
 * unless a POST asks for it, which is noted like any other look at them.
 */
#include "core_api.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

typedef struct export_t {
    core_api_t *api;
    const gb_settings_t *settings;
    int with_secrets;
    apr_array_header_t *shown; /* of gb_saved_t: secrets that are in the file */
    const char *names;
} export_t;

static void add_shown(export_t *export, const gb_setting_t *row)
{
    gb_saved_t *saved = apr_array_push(export->shown);
    int is_pool = row->scope == GB_SCOPE_POOL;

    saved->scope = is_pool ? GB_SAVED_POOL : GB_SAVED_VHOST;
    saved->name = is_pool ? export->api->pool : export->api->conf->vhost;
    saved->key = row->name;
    saved->value = NULL;
    export->names = apr_pstrcat(export->api->r->pool, export->names,
                                export->shown->nelts > 1 ? ", " : "", row->name, NULL);
}

/* An address does when it has a password in it. */
static int has_secret(const export_t *export, const gb_setting_t *row)
{
    apr_pool_t *p = export->api->r->pool;

    return gb_saved_is_secret(row)
           || (row->type == GB_TYPE_URL
               && strcmp(gb_settings_text(export->settings, row, 0, p),
                         gb_settings_text(export->settings, row, 1, p))
                      != 0);
}

static int is_left_out(export_t *export, const gb_setting_t *row)
{
    int is_secret = has_secret(export, row);

    if (row->scope == GB_SCOPE_SERVER) {
        return 1;
    }
    if (is_secret && export->with_secrets) {
        add_shown(export, row);
    }
    return is_secret && !export->with_secrets;
}

/* Defaults stand as comments: the file says what could be said. */
static void put_env_row(export_t *export, const gb_setting_t *row)
{
    gb_buf_t *out = &export->api->out;

    gb_buf_printf(out, "# %s\n", row->help);
    if (core_origin(export->api->r, row).source == GB_FROM_DEFAULT) {
        gb_buf_puts(out, "#");
    }
    gb_env_put(out, row->name, gb_settings_text(export->settings, row, 1, export->api->r->pool));
}

static void put_env(export_t *export)
{
    const char *group = "";
    int n, i;
    const gb_setting_t *rows = gb_settings_rows(&n);

    for (i = 0; i < n; i++) {
        if (is_left_out(export, &rows[i])) {
            continue;
        }
        if (strcmp(group, rows[i].group) != 0) {
            gb_buf_printf(&export->api->out, "%s# ---- %s ----\n", *group ? "\n" : "",
                          rows[i].group);
            group = rows[i].group;
        }
        put_env_row(export, &rows[i]);
    }
}

static void put_json(export_t *export)
{
    gb_buf_t *out = &export->api->out;
    int n, i, first = 1;
    const gb_setting_t *rows = gb_settings_rows(&n);

    gb_buf_putc(out, '{');
    for (i = 0; i < n; i++) {
        if (!is_left_out(export, &rows[i])) {
            gb_buf_printf(out, "%s\n  \"%s\": ", first ? "" : ",", rows[i].name);
            gb_settings_json(out, export->settings, &rows[i], 1, export->api->r->pool);
            first = 0;
        }
    }
    gb_buf_puts(out, "\n}\n");
}

int core_api_config_export(core_api_t *api)
{
    int is_env = api->args && strstr(api->args, "format=env");
    export_t export;

    memset(&export, 0, sizeof(export));
    export.api = api;
    export.settings = core_view_now(api->r)->settings;
    export.shown = apr_array_make(api->r->pool, 16, sizeof(gb_saved_t));
    export.names = "";
    gb_json_bool(gb_json_get(api->body, "secrets"), &export.with_secrets);
    if (is_env) {
        put_env(&export);
        api->type = "text/plain; charset=utf-8";
    }
    else {
        put_json(&export);
    }
    apr_table_setn(api->r->headers_out, "Content-Disposition",
                   is_env ? "attachment; filename=\"gbalance.env\""
                          : "attachment; filename=\"gbalance.json\"");
    if (export.shown->nelts) {
        core_api_note_reveal(api, (const gb_saved_t *)export.shown->elts, export.shown->nelts,
                             export.names);
    }
    return core_api_answer(api, HTTP_OK);
}
