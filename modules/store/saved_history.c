/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of saved values: what changed, and the way back.
 */
#include "store/saved.h"

#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include "store/saved_int.h"

#define COLUMNS "change_id, at, who, action, vhost, scope, name, `key`, old_value, new_value"
#define OF_BOTH "((scope = 'pool' AND name = %s) OR (scope = 'vhost' AND name = %s))"

static const gb_sql_t sql_list = {"SELECT " COLUMNS " FROM gb_history WHERE " OF_BOTH
                                  " AND change_id < %s ORDER BY change_id DESC, id LIMIT %s",
                                  NULL};
static const gb_sql_t sql_last = {
    "SELECT change_id, at, who, action, vhost, scope, name, `key`, NULL, NULL FROM gb_history "
    "WHERE id IN (SELECT MAX(id) FROM gb_history WHERE " OF_BOTH
    " AND action <> 'reveal' GROUP BY scope, `key`)",
    NULL};
static const gb_sql_t sql_since = {
    "SELECT " COLUMNS " FROM gb_history WHERE " OF_BOTH
    " AND change_id >= %s AND action <> 'reveal' ORDER BY change_id, id",
    NULL};
static const gb_sql_t sql_has = {"SELECT 1 FROM gb_history WHERE " OF_BOTH
                                 " AND change_id = %s AND action <> 'reveal' LIMIT 1",
                                 NULL};

static const char *opened(const gb_saved_ctx_t *ctx, const gb_saved_t *saved, apr_int64_t id,
                          int after, const char *value, apr_pool_t *p)
{
    gb_seal_place_t place = gb_history_place(saved, id, after, p);
    const char *text = NULL;

    return value && gb_unseal(&text, ctx->seal, &place, value, p) == APR_SUCCESS ? text : NULL;
}

static void fill(gb_history_row_t *row, const gb_saved_ctx_t *ctx, const gb_rows_t *rows, int i,
                 apr_pool_t *p)
{
    row->change_id = gb_rows_int(rows, i, 0, 0);
    row->at = apr_time_from_msec(gb_rows_int(rows, i, 1, 0));
    row->who = gb_rows_text(rows, i, 2);
    row->action = gb_rows_text(rows, i, 3);
    row->vhost = gb_rows_text(rows, i, 4);
    row->before.scope = gb_rows_text(rows, i, 5);
    row->before.name = gb_rows_text(rows, i, 6);
    row->before.key = gb_rows_text(rows, i, 7);
    row->before.value = opened(ctx, &row->before, row->change_id, 0, gb_rows_text(rows, i, 8), p);
    row->after = opened(ctx, &row->before, row->change_id, 1, gb_rows_text(rows, i, 9), p);
}

static apr_array_header_t *fill_all(const gb_saved_ctx_t *ctx, const gb_rows_t *rows, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, rows->n + 1, sizeof(gb_history_row_t));
    int i;

    for (i = 0; i < rows->n; i++) {
        fill(apr_array_push(list), ctx, rows, i, p);
    }
    return list;
}

apr_status_t gb_history_list(const gb_saved_ctx_t *ctx, apr_array_header_t **prows,
                             const char *pool, const char *vhost, apr_int64_t before, int count,
                             apr_pool_t *p)
{
    const char *args[4];
    gb_rows_t rows;
    apr_status_t rv;

    args[0] = pool;
    args[1] = vhost;
    args[2] = gb_db_int(before > 0 ? before : APR_INT64_MAX, p);
    args[3] = apr_itoa(p, count);
    rv = gb_db_query(ctx->db, &sql_list, args, &rows, p);
    if (rv == APR_SUCCESS) {
        *prows = fill_all(ctx, &rows, p);
    }
    return rv;
}

apr_status_t gb_history_last(const gb_saved_ctx_t *ctx, apr_array_header_t **prows,
                             const char *pool, const char *vhost, apr_pool_t *p)
{
    const char *args[2];
    gb_rows_t rows;
    apr_status_t rv;

    args[0] = pool;
    args[1] = vhost;
    rv = gb_db_query(ctx->db, &sql_last, args, &rows, p);
    if (rv == APR_SUCCESS) {
        *prows = fill_all(ctx, &rows, p);
    }
    return rv;
}

/* The first change of a value since then tells what it was. */
static apr_array_header_t *first_of_each(const apr_array_header_t *rows, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 8, sizeof(gb_saved_t));
    apr_hash_t *seen = apr_hash_make(p);
    int i;

    for (i = 0; i < rows->nelts; i++) {
        const gb_saved_t *before = &APR_ARRAY_IDX(rows, i, gb_history_row_t).before;
        const char *name = apr_pstrcat(p, before->scope, "\n", before->key, NULL);

        if (!apr_hash_get(seen, name, APR_HASH_KEY_STRING)) {
            apr_hash_set(seen, name, APR_HASH_KEY_STRING, "");
            APR_ARRAY_PUSH(list, gb_saved_t) = *before;
        }
    }
    return list;
}

apr_status_t gb_history_undo(const gb_saved_ctx_t *ctx, apr_array_header_t **plist,
                             const char *pool, const char *vhost, apr_int64_t change_id,
                             apr_pool_t *p)
{
    const char *args[3];
    gb_rows_t rows;
    apr_status_t rv;

    args[0] = pool;
    args[1] = vhost;
    args[2] = gb_db_int(change_id, p);
    rv = gb_db_query(ctx->db, &sql_has, args, &rows, p);
    if (rv == APR_SUCCESS && !rows.n) {
        return APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        rv = gb_db_query(ctx->db, &sql_since, args, &rows, p);
    }
    if (rv == APR_SUCCESS) {
        *plist = first_of_each(fill_all(ctx, &rows, p), p);
    }
    return rv;
}
