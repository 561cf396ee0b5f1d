/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /keys/{id}: all that is known of one key.  The same page is the drawer over the
 * list, which takes the part "detail" of it.
 */
#include "admin_keys.h"

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

/* ---- room per model ---- */

/* "150 / 1,000" with its bar; used alone where no limit was met. */
static json_t *limit_of(const gb_pool_cell_t *cell, gb_pool_limit_t which)
{
    apr_int64_t limit = cell->limits[which], used = cell->used[which];

    if (limit <= 0) {
        return json_pack("{s:I}", "used", (json_int_t)used);
    }
    return json_pack("{s:I, s:{s:I, s:o, s:b}}", "used", (json_int_t)used, "limit", "n",
                     (json_int_t)limit, "width",
                     admin_key_bar((apr_uint64_t)(used < 0 ? 0 : used), (apr_uint64_t)limit),
                     "full", used >= limit);
}

static int room_of(const gb_pool_cell_t *cell)
{
    int i, room = 100;

    for (i = 0; i < GB_LIMIT_N; i++) {
        apr_int64_t left = cell->limits[i] - cell->used[i];
        int percent = cell->limits[i] > 0 ? (int)(left > 0 ? left * 100 / cell->limits[i] : 0)
                                          : 100;

        room = percent < room ? percent : room;
    }
    return room;
}

static const char *why_cooling(gb_pool_cool_t reason)
{
    static const char *const whys[] = {
        [GB_COOL_NONE] = "",
        [GB_COOL_MINUTE] = ADMIN_WORD("Limit per minute"),
        [GB_COOL_DAY] = ADMIN_WORD("Limit per day"),
        [GB_COOL_UNAVAILABLE] = ADMIN_WORD("Model not offered"),
        [GB_COOL_MONTH] = ADMIN_WORD("Limit per month"),
        [GB_COOL_AMBIGUOUS] = ADMIN_WORD("Limit reached"),
        [GB_COOL_REGION] = ADMIN_WORD("Region not served"),
        [GB_COOL_ACCESS] = ADMIN_WORD("Model not offered"),
        [GB_COOL_LEARNT] = ADMIN_WORD("Learnt limit reached"),
        [GB_COOL_TRIAL] = ADMIN_WORD("half-open"),
    };

    return whys[reason];
}

static json_t *model_of(const gb_pool_cell_t *cell)
{
    int lasts = cell->reason == GB_COOL_DAY || cell->reason == GB_COOL_MONTH
                || cell->reason == GB_COOL_UNAVAILABLE || cell->reason == GB_COOL_ACCESS;
    json_t *json = json_pack("{s:s, s:o, s:o, s:o}", "model", cell->model, "minute",
                             limit_of(cell, GB_LIMIT_RPM), "tokens", limit_of(cell, GB_LIMIT_TPM),
                             "day", limit_of(cell, GB_LIMIT_RPD));

    if (cell->until) {
        json_object_set_new(json, "rest",
                            json_pack("{s:o, s:b, s:s, s:s}", "until", admin_key_until(cell->until),
                                      "long", lasts, "icon", lasts ? "clock" : "cool", "why",
                                      why_cooling(cell->reason)));
    }
    else if (cell->limits[GB_LIMIT_RPM] || cell->limits[GB_LIMIT_TPM]
             || cell->limits[GB_LIMIT_RPD]) {
        json_object_set_new(json, "room", json_pack("{s:i}", "percent", room_of(cell)));
    }
    return json;
}

static void put_models(json_t *data, const gb_pool_cell_t *cells, int n)
{
    json_t *all = json_array();
    int i, serving = 0;

    for (i = 0; i < n; i++) {
        json_array_append_new(all, model_of(&cells[i]));
        serving += !cells[i].until;
    }
    json_object_set_new(data, "models", all);
    json_object_set_new(data, "resting", json_integer(n - serving));
    json_object_set_new(data, "serving", json_integer(serving));
}

/* ---- the list behind it ---- */

/* The keys before and after this one in the list that the address tells of. */
static void put_neighbours(admin_page_t *page, json_t *data, const char *id)
{
    const char *back = admin_keys_href(page, "", NULL), *args = strchr(back, '?');
    const char *const *ids;
    gb_keys_query_t query;
    int n, i;

    json_object_set_new(data, "back", json_string(back));
    json_object_set_new(data, "query_args", json_string(args ? args : ""));
    admin_keys_query(page, &query);
    if (admin_keys()->ids(&ids, &n, &query, page->r->pool) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < n && strcmp(ids[i], id) != 0; i++) {
    }
    if (i < n && i > 0) {
        json_object_set_new(data, "previous", json_string(ids[i - 1]));
    }
    if (i + 1 < n) {
        json_object_set_new(data, "following", json_string(ids[i + 1]));
    }
}

/* ---- the page ---- */

static int keys_of_project(admin_page_t *page, const char *project)
{
    gb_keys_query_t query;
    gb_keys_page_t found;

    memset(&query, 0, sizeof(query));
    query.pool = page->pool;
    query.project = project;
    return *project && admin_keys()->list(&found, &query, page->r->pool) == APR_SUCCESS
               ? found.matched
               : 1;
}

static void put_facts(admin_page_t *page, json_t *data, const gb_pool_key_t *key)
{
    json_object_set_new(data, "weight", json_integer(key->weight));
    json_object_set_new(data, "max_failures", json_integer(page->settings->max_failures));
    json_object_set_new(data, "added", admin_time(key->added));
    json_object_set_new(data, "last_used", admin_time(key->last_used));
    json_object_set_new(data, "since", admin_time(key->state_since));
    json_object_set_new(data, "next_check", admin_time(key->next_check));
    json_object_set_new(data, "by_conf", json_boolean(key->source == GB_KEY_SOURCE_CONF));
    json_object_set_new(data, "reserved", json_boolean(key->reserved));
    json_object_set_new(data, "learnt", json_boolean(key->project[0] && !key->project_by_hand));
    json_object_set_new(data, "sharing", json_integer(keys_of_project(page, key->project)));
    json_object_set_new(data, "tags_text", json_string(key->tags));
}

apr_status_t admin_key_build(admin_page_t *page, json_t *data)
{
    gb_pool_cell_t *cells;
    gb_keys_row_t row;
    int n;

    if (!admin_keys()) {
        return admin_keys_missing(page);
    }
    if (strlen(page->named) >= GB_POOL_ID_LEN
        || admin_keys()->get(&row, &cells, &n, page->pool, page->named, page->r->pool)
               != APR_SUCCESS) {
        return admin_fail(page, HTTP_NOT_FOUND, "%s", ADMIN_WORD("The pool has no such key."));
    }
    json_object_set_new(data, "key", admin_key_row(&row, page->r->pool));
    put_facts(page, data, &row.key);
    put_models(data, cells, n);
    put_neighbours(page, data, row.key.id);
    admin_key_figures(page, data, row.key.id);
    return APR_SUCCESS;
}
