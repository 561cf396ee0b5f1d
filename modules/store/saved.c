/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved values: reading all of them, and changing several at once.
 */
#include "store/saved.h"

#include <string.h>

#include <apr_strings.h>

#include "base/log.h"
#include "store/saved_int.h"

#define HISTORY_MAX "1000" /* changes that are kept */

/* ---- statements ---- */

static const gb_sql_t sql_meta = {"SELECT value FROM gb_meta WHERE name = %s", NULL};
static const gb_sql_t sql_meta_first = {
    "INSERT INTO gb_meta (name, value) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
    "INSERT INTO gb_meta (name, value) VALUES (%s, %s) ON DUPLICATE KEY UPDATE name = name",
};
static const gb_sql_t sql_bump = {
    "UPDATE gb_meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'settings_version'",
    "UPDATE gb_meta SET value = CAST(value AS SIGNED) + 1 WHERE name = 'settings_version'",
};
/* Before anything is read: MySQL shows a transaction what was there when it first looked. */
static const gb_sql_t sql_hold = {
    "UPDATE gb_meta SET value = value WHERE name = 'settings_version'", NULL};
static const gb_sql_t sql_theirs = {"SELECT `key`, value FROM t_settings", NULL};
static const gb_sql_t sql_ours = {"SELECT scope, name, `key`, value FROM gb_settings", NULL};
static const gb_sql_t sql_put_theirs = {
    "INSERT INTO t_settings (`key`, value, description, created_at, updated_at) "
    "VALUES (%s, %s, %s, %s, %s) "
    "ON CONFLICT (`key`) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    "INSERT INTO t_settings (`key`, value, description, created_at, updated_at) "
    "VALUES (%s, %s, %s, %s, %s) "
    "ON DUPLICATE KEY UPDATE value = VALUES(value), updated_at = VALUES(updated_at)",
};
static const gb_sql_t sql_put_ours = {
    "INSERT INTO gb_settings (scope, name, `key`, value, updated_at) VALUES (%s, %s, %s, %s, %s) "
    "ON CONFLICT (scope, name, `key`) DO UPDATE SET value = excluded.value, "
    "updated_at = excluded.updated_at",
    "INSERT INTO gb_settings (scope, name, `key`, value, updated_at) VALUES (%s, %s, %s, %s, %s) "
    "ON DUPLICATE KEY UPDATE value = VALUES(value), updated_at = VALUES(updated_at)",
};
static const gb_sql_t sql_follow = {
    "UPDATE t_settings SET value = %s WHERE `key` = %s AND value <> %s AND value NOT LIKE 'gb1:%%'",
    NULL};
static const gb_sql_t sql_drop_theirs = {"DELETE FROM t_settings WHERE `key` = %s", NULL};
static const gb_sql_t sql_drop_ours = {
    "DELETE FROM gb_settings WHERE scope = %s AND name = %s AND `key` = %s", NULL};
static const gb_sql_t sql_get_theirs = {"SELECT value FROM t_settings WHERE `key` = %s", NULL};
static const gb_sql_t sql_get_ours = {
    "SELECT value FROM gb_settings WHERE scope = %s AND name = %s AND `key` = %s", NULL};
static const gb_sql_t sql_note = {
    "INSERT INTO gb_history (change_id, at, who, action, vhost, scope, name, `key`, old_value, "
    "new_value) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
    NULL};
static const gb_sql_t sql_prune = {
    "DELETE FROM gb_history WHERE change_id < CAST(%s AS INTEGER) - " HISTORY_MAX,
    "DELETE FROM gb_history WHERE change_id < CAST(%s AS SIGNED) - " HISTORY_MAX};

/* ---- what and where ---- */

int gb_saved_is_secret(const gb_setting_t *row)
{
    return row->type == GB_TYPE_SECRET || row->type == GB_TYPE_SECRET_LIST
           || strcmp(row->name, "CUSTOM_HEADERS") == 0 || strcmp(row->name, "PROXIES") == 0;
}

static apr_status_t meta(gb_db_t *db, const char *name, const char **value, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_meta, &name, &rows, p);

    *value = rv == APR_SUCCESS && rows.n ? gb_rows_text(&rows, 0, 0) : NULL;
    return rv;
}

static apr_status_t meta_first(gb_db_t *db, const char *name, const char *value)
{
    const char *args[] = {name, value};

    return gb_db_run(db, &sql_meta_first, args, NULL);
}

apr_status_t gb_saved_home(gb_db_t *db, const char **home, apr_pool_t *p)
{
    apr_status_t rv = meta(db, "home_vhost", home, p);

    *home = *home ? *home : "";
    return rv;
}

int gb_saved_is_theirs(const gb_saved_t *saved, const char *home)
{
    return strcmp(saved->scope, GB_SAVED_POOL) == 0 ? strcmp(saved->name, DEFAULT_POOL) == 0
                                                    : strcmp(saved->name, home) == 0;
}

gb_seal_place_t gb_saved_place(const gb_saved_t *saved, const char *home, apr_pool_t *p)
{
    gb_seal_place_t place = {"t_settings", "value", saved->key};

    if (!gb_saved_is_theirs(saved, home)) {
        place.table = "gb_settings";
        place.row = apr_pstrcat(p, saved->scope, "\n", saved->name, "\n", saved->key, NULL);
    }
    return place;
}

gb_seal_place_t gb_history_place(const gb_saved_t *saved, apr_int64_t change_id, int after,
                                 apr_pool_t *p)
{
    gb_seal_place_t place = {"gb_history", after ? "new_value" : "old_value", NULL};

    place.row = apr_psprintf(p, "%" APR_INT64_T_FMT "\n%s\n%s\n%s", change_id, saved->scope,
                             saved->name, saved->key);
    return place;
}

const char *gb_saved_closed(const gb_seal_t *seal, const gb_seal_place_t *place, const char *key,
                            const char *value, apr_pool_t *p)
{
    const gb_setting_t *row = gb_settings_find(key);

    if (!value || !seal || !row || !gb_saved_is_secret(row) || !*value) {
        return value;
    }
    return gb_seal(seal, place, value, p);
}

apr_status_t gb_saved_version(gb_db_t *db, apr_int64_t *version, apr_pool_t *p)
{
    const char *text;
    apr_status_t rv = meta(db, "settings_version", &text, p);

    *version = text ? apr_atoi64(text) : 0;
    return rv;
}

/* ---- reading ---- */

static void push(apr_array_header_t *list, const char *scope, const char *name, const char *key,
                 const char *value)
{
    gb_saved_t *saved = apr_array_push(list);

    saved->scope = scope;
    saved->name = name;
    saved->key = key;
    saved->value = value;
}

/* A value that does not open is left out, and told. */
static void add(apr_array_header_t *list, const gb_saved_ctx_t *ctx, const gb_saved_t *saved,
                const char *home, apr_pool_t *p)
{
    gb_seal_place_t place = gb_saved_place(saved, home, p);
    const char *text;

    if (gb_unseal(&text, ctx->seal, &place, saved->value, p) == APR_SUCCESS) {
        push(list, saved->scope, saved->name, saved->key, text);
    }
    else {
        gb_log(GB_LOG_ERR, 0, GBLOGNO(6020) "settings: the saved %s of %s %s cannot be unsealed",
               saved->key, saved->scope, saved->name);
    }
}

static void add_theirs(apr_array_header_t *list, const gb_saved_ctx_t *ctx, const char *key,
                       const char *value, const char *home, apr_pool_t *p)
{
    const gb_setting_t *row = gb_settings_find(key);
    gb_saved_t saved = {GB_SAVED_POOL, DEFAULT_POOL, key, value};

    if (!row || !value || row->scope == GB_SCOPE_SERVER) {
        return; /* what theirs alone knows, or what no page can change */
    }
    if (row->scope == GB_SCOPE_VHOST) {
        if (!*home) {
            return;
        }
        saved.scope = GB_SAVED_VHOST;
        saved.name = home;
    }
    add(list, ctx, &saved, home, p);
}

static apr_status_t load_theirs(apr_array_header_t *list, const gb_saved_ctx_t *ctx,
                                const char *home, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(ctx->db, &sql_theirs, NULL, &rows, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        add_theirs(list, ctx, gb_rows_text(&rows, i, 0), gb_rows_text(&rows, i, 1), home, p);
    }
    return rv;
}

static apr_status_t load_ours(apr_array_header_t *list, const gb_saved_ctx_t *ctx, const char *home,
                              apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(ctx->db, &sql_ours, NULL, &rows, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        gb_saved_t saved = {gb_rows_text(&rows, i, 0), gb_rows_text(&rows, i, 1),
                            gb_rows_text(&rows, i, 2), gb_rows_text(&rows, i, 3)};

        if (gb_settings_find(saved.key)) {
            add(list, ctx, &saved, home, p);
        }
    }
    return rv;
}

apr_status_t gb_saved_load(const gb_saved_ctx_t *ctx, apr_array_header_t **plist, const char *vhost,
                           apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 64, sizeof(gb_saved_t));
    const char *home = "";
    apr_status_t rv = gb_saved_fits(ctx, p);

    if (rv == APR_SUCCESS) {
        rv = gb_saved_home(ctx->db, &home, p);
    }

    if (rv == APR_SUCCESS && !*home && vhost) {
        rv = meta_first(ctx->db, "home_vhost", vhost);
        if (rv == APR_SUCCESS) {
            rv = gb_saved_home(ctx->db, &home, p);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = load_theirs(list, ctx, home, p);
    }
    if (rv == APR_SUCCESS) {
        rv = load_ours(list, ctx, home, p);
    }
    *plist = list;
    return rv;
}

/* ---- changing ---- */

static apr_status_t drop(gb_db_t *db, const gb_saved_t *saved, int theirs)
{
    const char *their_args[] = {saved->key};
    const char *our_args[] = {saved->scope, saved->name, saved->key};

    return theirs ? gb_db_run(db, &sql_drop_theirs, their_args, NULL)
                  : gb_db_run(db, &sql_drop_ours, our_args, NULL);
}

apr_status_t gb_saved_put(const gb_saved_ctx_t *ctx, const gb_saved_t *saved, const char *home,
                          apr_pool_t *p)
{
    gb_seal_place_t place = gb_saved_place(saved, home, p);
    const gb_setting_t *row = gb_settings_find(saved->key);
    int theirs = gb_saved_is_theirs(saved, home);
    const char *value, *args[5];
    char now[20];

    if (!saved->value) {
        return drop(ctx->db, saved, theirs);
    }
    value = gb_saved_closed(ctx->seal, &place, saved->key, saved->value, p);
    gb_db_time(now, apr_time_now(), 0);
    args[0] = theirs ? saved->key : saved->scope;
    args[1] = theirs ? value : saved->name;
    args[2] = theirs ? (row ? apr_pstrndup(p, row->help, 255) : NULL) : saved->key;
    args[3] = theirs ? now : value;
    args[4] = theirs ? now : gb_db_int(apr_time_as_msec(apr_time_now()), p);
    return gb_db_run(ctx->db, theirs ? &sql_put_theirs : &sql_put_ours, args, NULL);
}

/* As it was before, unsealed; NULL for none. */
static apr_status_t current(const gb_saved_ctx_t *ctx, const gb_saved_t *saved, const char *home,
                            const char **value, apr_pool_t *p)
{
    int theirs = gb_saved_is_theirs(saved, home);
    const char *their_args[] = {saved->key};
    const char *our_args[] = {saved->scope, saved->name, saved->key};
    gb_seal_place_t place = gb_saved_place(saved, home, p);
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(ctx->db, theirs ? &sql_get_theirs : &sql_get_ours,
                                  theirs ? their_args : our_args, &rows, p);

    *value = rv == APR_SUCCESS && rows.n ? gb_rows_text(&rows, 0, 0) : NULL;
    if (*value && gb_unseal(value, ctx->seal, &place, *value, p) != APR_SUCCESS) {
        *value = NULL;
    }
    return rv;
}

static apr_status_t note(const gb_saved_ctx_t *ctx, const gb_change_t *change,
                         const gb_saved_t *saved, const char *before, apr_int64_t id, apr_pool_t *p)
{
    gb_seal_place_t old_place = gb_history_place(saved, id, 0, p);
    gb_seal_place_t new_place = gb_history_place(saved, id, 1, p);
    const char *args[10];
    int n = 0;

    args[n++] = gb_db_int(id, p);
    args[n++] = gb_db_int(apr_time_as_msec(apr_time_now()), p);
    args[n++] = apr_pstrndup(p, change->who, 100);
    args[n++] = change->action;
    args[n++] = change->vhost;
    args[n++] = saved->scope;
    args[n++] = saved->name;
    args[n++] = saved->key;
    args[n++] = gb_saved_closed(ctx->seal, &old_place, saved->key, before, p);
    args[n] = gb_saved_closed(ctx->seal, &new_place, saved->key, saved->value, p);
    return gb_db_run(ctx->db, &sql_note, args, NULL);
}

/* The number of this change; the row of gb_meta makes changes follow each other. */
static apr_status_t next_id(gb_db_t *db, apr_int64_t *id, apr_pool_t *p)
{
    apr_status_t rv = meta_first(db, "settings_version", "0");

    if (rv == APR_SUCCESS) {
        rv = gb_db_run(db, &sql_bump, NULL, NULL);
    }
    return rv == APR_SUCCESS ? gb_saved_version(db, id, p) : rv;
}

static apr_status_t change_all(const gb_saved_ctx_t *ctx, const gb_change_t *change,
                               apr_int64_t *id, apr_pool_t *p)
{
    const char *home, *before;
    apr_status_t rv = gb_saved_home(ctx->db, &home, p);
    int i;

    if (rv == APR_SUCCESS) {
        rv = next_id(ctx->db, id, p);
    }
    for (i = 0; rv == APR_SUCCESS && i < change->n; i++) {
        const gb_saved_t *saved = &change->values[i];

        rv = current(ctx, saved, home, &before, p);
        if (rv == APR_SUCCESS) {
            rv = gb_saved_put(ctx, saved, home, p);
        }
        if (rv == APR_SUCCESS) {
            rv = note(ctx, change, saved, before, *id, p);
        }
    }
    if (rv == APR_SUCCESS) {
        const char *args[] = {gb_db_int(*id, p)};

        rv = gb_db_run(ctx->db, &sql_prune, args, NULL);
    }
    return rv;
}

static apr_status_t note_all(const gb_saved_ctx_t *ctx, const gb_change_t *change, apr_int64_t *id,
                             apr_pool_t *p)
{
    apr_status_t rv = next_id(ctx->db, id, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < change->n; i++) {
        gb_saved_t saved = change->values[i];

        saved.value = NULL;
        rv = note(ctx, change, &saved, NULL, *id, p);
    }
    return rv;
}

typedef apr_status_t all_fn(const gb_saved_ctx_t *ctx, const gb_change_t *change, apr_int64_t *id,
                            apr_pool_t *p);

static apr_status_t in_transaction(const gb_saved_ctx_t *ctx, const gb_change_t *change, all_fn *fn,
                                   apr_int64_t *id, apr_pool_t *p)
{
    apr_status_t rv = gb_db_begin(ctx->db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = gb_db_run(ctx->db, &sql_hold, NULL, NULL);
    if (rv == APR_SUCCESS) {
        rv = gb_saved_fits(ctx, p);
    }
    if (rv == APR_SUCCESS) {
        rv = fn(ctx, change, id, p);
    }
    if (rv == APR_SUCCESS) {
        rv = gb_db_commit(ctx->db);
    }
    if (rv != APR_SUCCESS) {
        gb_db_rollback(ctx->db);
    }
    return rv;
}

apr_status_t gb_saved_change(const gb_saved_ctx_t *ctx, const gb_change_t *change, apr_int64_t *id,
                             apr_pool_t *p)
{
    apr_int64_t number = 0;
    apr_status_t rv = in_transaction(ctx, change, change_all, &number, p);

    if (id) {
        *id = number;
    }
    return rv;
}

apr_status_t gb_saved_note(const gb_saved_ctx_t *ctx, const gb_change_t *change, apr_pool_t *p)
{
    apr_int64_t number;

    return in_transaction(ctx, change, note_all, &number, p);
}

static apr_status_t follow_all(const gb_saved_ctx_t *ctx, const gb_change_t *change,
                               apr_int64_t *id, apr_pool_t *p)
{
    const gb_saved_t *saved = change->values;
    const char *args[] = {saved->value, saved->key, saved->value};
    int changed = 0;
    apr_status_t rv = gb_db_run(ctx->db, &sql_follow, args, &changed);

    return rv == APR_SUCCESS && changed ? next_id(ctx->db, id, p) : rv;
}

apr_status_t gb_saved_follow(const gb_saved_ctx_t *ctx, const char *key, const char *value,
                             apr_pool_t *p)
{
    const gb_saved_t saved = {GB_SAVED_POOL, DEFAULT_POOL, key, value};
    const gb_change_t change = {"", "", "", &saved, 1};
    apr_int64_t number;

    return in_transaction(ctx, &change, follow_all, &number, p);
}
