/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seals what a database holds in clear (an imported one of gemini-balance), finds
 * out whether it was sealed with another secret, and changes from one secret to
 * the next.  All of it is one transaction: half of it never stands there.
 */
#include "store/saved.h"

#include <string.h>

#include <apr_strings.h>

#include "base/log.h"
#include "store/saved_int.h"

#define CHECK_TEXT "gbalance"

static const gb_sql_t sql_check = {"SELECT value FROM gb_meta WHERE name = 'seal_check'", NULL};
static const gb_sql_t sql_put_check = {
    "INSERT INTO gb_meta (name, value) VALUES ('seal_check', %s) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    "INSERT INTO gb_meta (name, value) VALUES ('seal_check', %s) "
    "ON DUPLICATE KEY UPDATE value = VALUES(value)"};
static const gb_sql_t sql_theirs = {"SELECT `key`, value FROM t_settings WHERE value IS NOT NULL",
                                    NULL};
static const gb_sql_t sql_ours = {"SELECT scope, name, `key`, value FROM gb_settings", NULL};
static const gb_sql_t sql_history = {
    "SELECT id, change_id, scope, name, `key`, old_value, new_value FROM gb_history", NULL};
static const gb_sql_t sql_put_history = {
    "UPDATE gb_history SET old_value = %s, new_value = %s WHERE id = %s", NULL};

static const gb_seal_place_t check_place = {"gb_meta", "value", "seal_check"};

/* ---- whether they fit ---- */

static apr_status_t read_check(gb_db_t *db, const char **check, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &sql_check, NULL, &rows, p);

    *check = rv == APR_SUCCESS && rows.n ? gb_rows_text(&rows, 0, 0) : NULL;
    return rv;
}

static int opens(const gb_seal_t *seal, const char *check, apr_pool_t *p)
{
    const char *text;

    return seal && gb_unseal(&text, seal, &check_place, check, p) == APR_SUCCESS
           && strcmp(text, CHECK_TEXT) == 0;
}

apr_status_t gb_saved_fits(const gb_saved_ctx_t *ctx, apr_pool_t *p)
{
    const char *check;
    apr_status_t rv = read_check(ctx->db, &check, p);

    return rv == APR_SUCCESS && check && !opens(ctx->seal, check, p) ? APR_EACCES : rv;
}

/* ---- sealing anew ---- */

typedef struct turn_t {
    gb_saved_ctx_t ctx;        /* with the new seal */
    const gb_seal_t *previous; /* that opens what is sealed */
    const char *home;
    int n;
} turn_t;

/* What the value is to become; the same pointer: it stays. */
static apr_status_t turned(turn_t *turn, const char **value, const gb_seal_place_t *place,
                           const char *key, apr_pool_t *p)
{
    const gb_setting_t *row = gb_settings_find(key);
    const char *text;

    if (!*value || !row || !gb_saved_is_secret(row)) {
        return APR_SUCCESS;
    }
    if (gb_seal_is_sealed(*value) && !turn->previous) {
        return APR_SUCCESS;
    }
    if (gb_unseal(&text, turn->previous, place, *value, p) != APR_SUCCESS) {
        gb_log(GB_LOG_ERR, 0,
               GBLOGNO(6021) "settings: a sealed value of %s does not open: it is left", key);
        return APR_SUCCESS;
    }
    *value = gb_saved_closed(turn->ctx.seal, place, key, text, p);
    turn->n++;
    return APR_SUCCESS;
}

static apr_status_t turn_saved(turn_t *turn, gb_saved_t *saved, apr_pool_t *p)
{
    gb_seal_place_t place = gb_saved_place(saved, turn->home, p);
    gb_saved_ctx_t plain = {turn->ctx.db, NULL};
    const char *before = saved->value;
    apr_status_t rv = turned(turn, &saved->value, &place, saved->key, p);

    return rv == APR_SUCCESS && saved->value != before ? gb_saved_put(&plain, saved, turn->home, p)
                                                       : rv;
}

static apr_status_t turn_theirs(turn_t *turn, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(turn->ctx.db, &sql_theirs, NULL, &rows, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        gb_saved_t saved = {GB_SAVED_POOL, DEFAULT_POOL, gb_rows_text(&rows, i, 0),
                            gb_rows_text(&rows, i, 1)};

        rv = turn_saved(turn, &saved, p);
    }
    return rv;
}

static apr_status_t turn_ours(turn_t *turn, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(turn->ctx.db, &sql_ours, NULL, &rows, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        gb_saved_t saved = {gb_rows_text(&rows, i, 0), gb_rows_text(&rows, i, 1),
                            gb_rows_text(&rows, i, 2), gb_rows_text(&rows, i, 3)};

        rv = turn_saved(turn, &saved, p);
    }
    return rv;
}

static apr_status_t turn_history(turn_t *turn, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(turn->ctx.db, &sql_history, NULL, &rows, p);
    int i;

    for (i = 0; rv == APR_SUCCESS && i < rows.n; i++) {
        apr_int64_t id = gb_rows_int(&rows, i, 1, 0);
        gb_saved_t saved = {gb_rows_text(&rows, i, 2), gb_rows_text(&rows, i, 3),
                            gb_rows_text(&rows, i, 4), NULL};
        gb_seal_place_t old_place = gb_history_place(&saved, id, 0, p);
        gb_seal_place_t new_place = gb_history_place(&saved, id, 1, p);
        const char *args[3] = {gb_rows_text(&rows, i, 5), gb_rows_text(&rows, i, 6),
                               gb_rows_text(&rows, i, 0)};
        int before = turn->n;

        rv = turned(turn, &args[0], &old_place, saved.key, p);
        if (rv == APR_SUCCESS) {
            rv = turned(turn, &args[1], &new_place, saved.key, p);
        }
        if (rv == APR_SUCCESS && turn->n != before) {
            rv = gb_db_run(turn->ctx.db, &sql_put_history, args, NULL);
        }
    }
    return rv;
}

static apr_status_t turn_all(turn_t *turn, apr_pool_t *p)
{
    const char *check = gb_seal(turn->ctx.seal, &check_place, CHECK_TEXT, p);
    apr_status_t rv = gb_saved_home(turn->ctx.db, &turn->home, p);

    if (rv == APR_SUCCESS) {
        rv = turn_theirs(turn, p);
    }
    if (rv == APR_SUCCESS) {
        rv = turn_ours(turn, p);
    }
    if (rv == APR_SUCCESS) {
        rv = turn_history(turn, p);
    }
    return rv == APR_SUCCESS ? gb_db_run(turn->ctx.db, &sql_put_check, &check, NULL) : rv;
}

static apr_status_t turn_over(const gb_saved_ctx_t *ctx, const gb_seal_t *previous, apr_pool_t *p)
{
    turn_t turn = {*ctx, previous, "", 0};
    apr_status_t rv = gb_db_begin(ctx->db);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = turn_all(&turn, p);
    if (rv == APR_SUCCESS) {
        rv = gb_db_commit(ctx->db);
    }
    if (rv != APR_SUCCESS) {
        gb_db_rollback(ctx->db);
    }
    else if (turn.n) {
        gb_log(GB_LOG_INFO, 0, GBLOGNO(6022) "settings: %d value(s) were sealed", turn.n);
    }
    return rv;
}

static apr_status_t refuse(const char **why, const char *text)
{
    *why = text;
    return APR_EACCES;
}

apr_status_t gb_saved_seal(const gb_saved_ctx_t *ctx, const gb_seal_t *previous, const char **why,
                           apr_pool_t *p)
{
    const char *check;
    apr_status_t rv = read_check(ctx->db, &check, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!ctx->seal) {
        return check ? refuse(why,
                              "keys and tokens in the database are sealed, and no secret is named "
                              "to open them (GBalanceSecretFile)")
                     : APR_SUCCESS;
    }
    if (!check) {
        return turn_over(ctx, NULL, p);
    }
    if (opens(ctx->seal, check, p)) {
        return APR_SUCCESS;
    }
    if (opens(previous, check, p)) {
        return turn_over(ctx, previous, p);
    }
    return refuse(why,
                  "keys and tokens in the database were sealed with another secret than the one "
                  "of GBalanceSecretFile");
}
