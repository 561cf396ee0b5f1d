/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rests of each model, project by project: the cells of a pool as a table, the
 * tightest row first.  Two walks a few rows under the lock at a time; only the rows
 * that are asked for get their cells filled.
 */
#include "keys.h"

#include <stdlib.h>

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define CELLS_MAX 32 /* of a row */

/* What a row of the table is made of. */
typedef struct project_t {
    apr_uint32_t slot;     /* of the project */
    apr_uint32_t key_slot; /* its first key */
    int n_keys;
    int tight; /* the higher the tighter */
    char label[GB_POOL_LABEL_LEN];
} project_t;

typedef struct mapper_t {
    const char *pool;
    int by_key;
    gb_pool_clock_t clock;
    apr_hash_t *projects;     /* slot -> project_t */
    apr_array_header_t *rows; /* of project_t * */
    apr_hash_t *models;       /* name -> model_t */
    apr_pool_t *p;
} mapper_t;

typedef struct model_t {
    apr_uint64_t calls;
    char name[GB_POOL_MODEL_LEN];
} model_t;

/* ---- cells ---- */

static int percent_of(const gb_pool_cell_t *cell)
{
    int i, least = -1;

    for (i = 0; i < GB_LIMIT_N; i++) {
        apr_int64_t left = cell->limits[i] - cell->used[i];
        int percent = cell->limits[i] > 0 ? (int)(left > 0 ? left * 100 / cell->limits[i] : 0) : -1;

        if (percent >= 0 && (least < 0 || percent < least)) {
            least = percent;
        }
    }
    return least;
}

static gb_keys_heat_kind_t kind_of_rest(gb_pool_cool_t reason)
{
    switch (reason) {
    case GB_COOL_DAY:
    case GB_COOL_MONTH:
        return GB_HEAT_USED_UP;
    case GB_COOL_UNAVAILABLE:
    case GB_COOL_ACCESS:
        return GB_HEAT_REFUSED;
    case GB_COOL_NONE:
    case GB_COOL_MINUTE:
    case GB_COOL_AMBIGUOUS:
    case GB_COOL_REGION:
    case GB_COOL_LEARNT:
    case GB_COOL_TRIAL:
        break;
    }
    return GB_HEAT_COOLING;
}

static void cell_show(gb_keys_heat_cell_t *to, const gb_pool_cell_t *cell)
{
    to->percent = percent_of(cell);
    to->until = cell->until;
    to->kind = cell->until        ? kind_of_rest(cell->reason)
               : to->percent >= 0 ? GB_HEAT_ROOM
                                  : GB_HEAT_OPEN;
}

static int tightness(const gb_keys_heat_cell_t *cell)
{
    switch (cell->kind) {
    case GB_HEAT_USED_UP:
        return 300;
    case GB_HEAT_COOLING:
        return 200;
    case GB_HEAT_ROOM:
        return 101 - cell->percent;
    case GB_HEAT_UNUSED:
    case GB_HEAT_OPEN:
    case GB_HEAT_REFUSED:
        break;
    }
    return 0;
}

/* ---- walks ---- */

static project_t *project_add(mapper_t *mapper, const gb_pool_key_t *key)
{
    project_t *project = apr_pcalloc(mapper->p, sizeof(*project));

    project->slot = key->project_slot;
    project->key_slot = key->slot;
    memcpy(project->label, key->project, sizeof(project->label));
    APR_ARRAY_PUSH(mapper->rows, project_t *) = project;
    return project;
}

static void map_key(void *baton, const gb_pool_key_t *key)
{
    mapper_t *mapper = baton;
    project_t *project = apr_hash_get(mapper->projects, &key->project_slot,
                                      sizeof(key->project_slot));

    if (!project) {
        project = project_add(mapper, key);
        apr_hash_set(mapper->projects, &project->slot, sizeof(project->slot), project);
    }
    else if (mapper->by_key) {
        project_add(mapper, key)->n_keys = 1;
    }
    project->n_keys++;
}

static void map_cell(void *baton, const gb_pool_cell_t *cell)
{
    mapper_t *mapper = baton;
    project_t *project = apr_hash_get(mapper->projects, &cell->project_slot,
                                      sizeof(cell->project_slot));
    gb_keys_heat_cell_t shown;
    model_t *model;
    int tight;

    if (!project) {
        return;
    }
    cell_show(&shown, cell);
    tight = tightness(&shown);
    project->tight = tight > project->tight ? tight : project->tight;
    if (!cell->model[0]) {
        return;
    }
    model = apr_hash_get(mapper->models, cell->model, APR_HASH_KEY_STRING);
    if (!model) {
        model = apr_pcalloc(mapper->p, sizeof(*model));
        memcpy(model->name, cell->model, sizeof(model->name));
        apr_hash_set(mapper->models, model->name, APR_HASH_KEY_STRING, model);
    }
    model->calls += cell->successes + cell->quotas;
}

/* ---- order ---- */

static int by_calls(const void *a, const void *b)
{
    const model_t *x = *(const model_t *const *)a, *y = *(const model_t *const *)b;
    int order = (y->calls > x->calls) - (y->calls < x->calls);

    return order ? order : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The most used ones, by name so that columns keep their places. */
static void choose_models(gb_keys_heat_t *heat, mapper_t *mapper)
{
    int n = (int)apr_hash_count(mapper->models), i = 0;
    model_t **all = apr_palloc(mapper->p, sizeof(*all) * (apr_size_t)(n + 1));
    const char **names = apr_palloc(mapper->p, sizeof(*names) * GB_KEYS_HEAT_MODELS);
    apr_hash_index_t *at;
    void *value;

    for (at = apr_hash_first(mapper->p, mapper->models); at; at = apr_hash_next(at)) {
        apr_hash_this(at, NULL, NULL, &value);
        all[i++] = value;
    }
    qsort(all, (size_t)n, sizeof(*all), by_calls);
    heat->n_models = n < GB_KEYS_HEAT_MODELS ? n : GB_KEYS_HEAT_MODELS;
    for (i = 0; i < heat->n_models; i++) {
        names[i] = all[i]->name;
    }
    qsort(names, (size_t)heat->n_models, sizeof(*names), by_name);
    heat->models = names;
}

static int by_tightness(const void *a, const void *b)
{
    const project_t *x = *(const project_t *const *)a, *y = *(const project_t *const *)b;
    int order = y->tight - x->tight;

    order = order ? order : (x->label[0] == '\0') - (y->label[0] == '\0');
    order = order ? order : strcmp(x->label, y->label);
    return order ? order : (x->key_slot > y->key_slot) - (x->key_slot < y->key_slot);
}

/* Further keys of a project are as tight as it is. */
static void level(mapper_t *mapper)
{
    int i;

    for (i = 0; i < mapper->rows->nelts; i++) {
        project_t *row = APR_ARRAY_IDX(mapper->rows, i, project_t *);
        const project_t *project = apr_hash_get(mapper->projects, &row->slot, sizeof(row->slot));

        row->tight = project->tight;
        row->n_keys = mapper->by_key ? 1 : row->n_keys;
    }
}

/* ---- rows ---- */

/* A cool-down for all models rules them all. */
static void fill_cells(gb_keys_heat_row_t *row, const gb_keys_heat_t *heat,
                       const gb_pool_cell_t *cells, int n)
{
    int i, m;

    for (i = 0; i < n; i++) {
        for (m = 0; m < heat->n_models; m++) {
            if (strcmp(heat->models[m], cells[i].model) == 0) {
                cell_show(&row->cells[m], &cells[i]);
            }
        }
    }
    for (i = 0; i < n; i++) {
        for (m = 0; !cells[i].model[0] && cells[i].until && m < heat->n_models; m++) {
            if (row->cells[m].until < cells[i].until) {
                cell_show(&row->cells[m], &cells[i]);
            }
        }
    }
}

/* 0: its key is gone meanwhile. */
static int fill_row(gb_keys_heat_row_t *row, const gb_keys_heat_t *heat, const project_t *project,
                    mapper_t *mapper)
{
    gb_pool_cell_t cells[CELLS_MAX];
    gb_keys_row_t shown;
    apr_status_t rv;
    int n = 0;

    memset(&shown, 0, sizeof(shown));
    keys_enter();
    rv = gb_pool_get_locked(keys_pool, project->key_slot, &shown.key, &mapper->clock);
    if (rv == APR_SUCCESS) {
        n = gb_pool_key_cells_locked(keys_pool, project->key_slot, cells, CELLS_MAX,
                                     &mapper->clock);
    }
    keys_leave();
    if (rv != APR_SUCCESS) {
        return 0;
    }
    keys_row_mask(&shown);
    memset(row, 0, sizeof(*row));
    memcpy(row->project, project->label, sizeof(row->project));
    memcpy(row->id, shown.key.id, sizeof(row->id));
    memcpy(row->masked, shown.masked, sizeof(row->masked));
    row->n_keys = project->n_keys;
    row->cells = apr_pcalloc(mapper->p, sizeof(*row->cells) * (apr_size_t)(heat->n_models + 1));
    fill_cells(row, heat, cells, n);
    return 1;
}

apr_status_t gbalance_keys_heat(gb_keys_heat_t *heat, const char *pool, int by_key, int from,
                                int count, apr_pool_t *p)
{
    mapper_t mapper = {.pool = pool, .by_key = by_key, .p = p};
    int i;

    memset(heat, 0, sizeof(*heat));
    if (!keys_pool || !keys_settings_of(pool)) {
        return APR_NOTFOUND;
    }
    keys_now(&mapper.clock);
    mapper.projects = apr_hash_make(p);
    mapper.models = apr_hash_make(p);
    mapper.rows = apr_array_make(p, 64, sizeof(project_t *));
    keys_each(pool, &mapper.clock, map_key, &mapper);
    keys_each_cell(&mapper.clock, map_cell, &mapper);
    choose_models(heat, &mapper);
    level(&mapper);
    qsort(mapper.rows->elts, (size_t)mapper.rows->nelts, sizeof(project_t *), by_tightness);
    heat->total = mapper.rows->nelts;
    heat->rows = apr_palloc(p, sizeof(*heat->rows) * (apr_size_t)(count + 1));
    for (i = from; i < mapper.rows->nelts && heat->n < count; i++) {
        heat->n += fill_row(&heat->rows[heat->n], heat, APR_ARRAY_IDX(mapper.rows, i, project_t *),
                            &mapper);
    }
    return APR_SUCCESS;
}

void keys_heat_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_heat);
}
