/* SPDX-License-Identifier: Apache-2.0 */
/* The heat map: what rests of each model, by project or by key. */
#include "admin_keys.h"

#include "apr_strings.h"
#include "http_protocol.h"

APLOG_USE_MODULE(gbalance_admin);

#define ROWS 8

/* The fuller the deeper. */
static const char *heat_class(int percent)
{
    return percent >= 75 ? "h1" : percent >= 50 ? "h2" : percent >= 25 ? "h3" : "h4";
}

static json_t *cell_of(const gb_keys_heat_cell_t *cell)
{
    switch (cell->kind) {
    case GB_HEAT_ROOM:
        return json_pack("{s:s, s:{s:i}}", "cls", heat_class(cell->percent), "room", "percent",
                         cell->percent);
    case GB_HEAT_OPEN:
        return json_pack("{s:s, s:b}", "cls", "h1", "open", 1);
    case GB_HEAT_COOLING:
        return json_pack("{s:s, s:{s:o}}", "cls", "cool", "cooling", "until",
                         admin_key_until(cell->until));
    case GB_HEAT_USED_UP:
        return json_pack("{s:s, s:{s:o}}", "cls", "bad", "used_up", "until",
                         admin_key_until(cell->until));
    case GB_HEAT_REFUSED:
        return json_pack("{s:s, s:b}", "cls", "na", "refused", 1);
    case GB_HEAT_UNUSED:
        break;
    }
    return json_pack("{s:s, s:b}", "cls", "na", "unused", 1);
}

/* A key's cell leads to its log rows, a project's to its keys. */
static const char *cell_href(admin_page_t *page, const gb_keys_heat_row_t *row, const char *model,
                             int by_key)
{
    apr_pool_t *p = page->r->pool;
    const char *escaped = ap_escape_urlencoded(p, model);

    return by_key || !row->project[0]
               ? apr_psprintf(p, "logs?tab=requests&key_id=%s&model=%s", row->id, escaped)
               : apr_psprintf(p, "keys_status?project=%s&model=%s",
                              ap_escape_urlencoded(p, row->project), escaped);
}

static json_t *row_of(admin_page_t *page, const gb_keys_heat_t *heat, const gb_keys_heat_row_t *row,
                      int by_key)
{
    int i, named = row->project[0] && !by_key;
    json_t *cells = json_array();
    apr_pool_t *p = page->r->pool;
    json_t *name = named ? admin_key_text(row->project)
                         : admin_key_text(admin_key_masked(row->masked, p));

    for (i = 0; i < heat->n_models; i++) {
        json_t *cell = cell_of(&row->cells[i]);

        json_object_set_new(cell, "model", json_string(heat->models[i]));
        json_object_set_new(cell, "href",
                            json_string(cell_href(page, row, heat->models[i], by_key)));
        json_array_append_new(cells, cell);
    }
    return json_pack("{s:o, s:s, s:b, s:i, s:o, s:o}", "name", name, "id", row->id, "by_project",
                     named, "n_keys", row->n_keys, "project", admin_key_text(row->project), "cells",
                     cells);
}

static void put_models(json_t *json, const gb_keys_heat_t *heat)
{
    json_t *all = json_array();
    int i;

    for (i = 0; i < heat->n_models; i++) {
        json_array_append_new(all, json_pack("{s:s, s:s}", "name", heat->models[i], "short",
                                             admin_key_model(heat->models[i])));
    }
    json_object_set_new(json, "models", all);
}

apr_status_t admin_keys_heat(admin_page_t *page, json_t *data)
{
    const char *by = admin_arg(page, "by");
    int by_key = by && strcmp(by, "keys") == 0, i;
    int from = (admin_arg_int(page, "hpage", 1, 1, GB_POOL_MAX_KEYS) - 1) * ROWS;
    json_t *json = json_object(), *rows = json_array();
    apr_pool_t *p = page->r->pool;
    gb_keys_heat_t heat;

    json_object_set_new(data, "heat", json);
    if (admin_keys()->heat(&heat, page->pool, by_key, from, ROWS, p) != APR_SUCCESS) {
        return admin_keys_no_pool(page);
    }
    for (i = 0; i < heat.n; i++) {
        json_array_append_new(rows, row_of(page, &heat, &heat.rows[i], by_key));
    }
    put_models(json, &heat);
    json_object_set_new(json, "rows", rows);
    json_object_set_new(json, "by_key", json_boolean(by_key));
    json_object_set_new(json, "known", json_boolean(heat.n_models > 0));
    json_object_set_new(json, "total", json_integer(heat.total));
    json_object_set_new(json, "from", json_integer(heat.n ? from + 1 : 0));
    json_object_set_new(json, "to", json_integer(from + heat.n));
    json_object_set_new(json, "by_projects_href", json_string(admin_keys_href(page, "by", NULL)));
    json_object_set_new(json, "by_keys_href", json_string(admin_keys_href(page, "by", "keys")));
    if (from > 0) {
        json_object_set_new(json, "prev",
                            json_string(admin_keys_href(page, "hpage", apr_itoa(p, from / ROWS))));
    }
    if (from + heat.n < heat.total) {
        json_object_set_new(
            json, "next",
            json_string(admin_keys_href(page, "hpage", apr_itoa(p, from / ROWS + 2))));
    }
    return APR_SUCCESS;
}
