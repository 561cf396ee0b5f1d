/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool as a whole: why keys are out, which tags there are, how each model fares.
 * One walk over the keys and one over the cells, a few rows under the lock at a
 * time.
 */
#include "keys.h"

#include <stdlib.h>

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define RETIRING   "AIza"
#define BROKEN_MAX 32

typedef struct surveyor_t {
    gb_keys_survey_t *survey;
    const char *pool;
    gb_pool_clock_t clock;
    apr_hash_t *reasons;  /* state and row -> gb_keys_reason_t */
    apr_hash_t *tags;     /* tag -> itself */
    apr_hash_t *models;   /* name -> gb_keys_model_t */
    apr_hash_t *projects; /* slot -> "" */
    apr_hash_t *serving;  /* the same of keys in service */
    apr_pool_t *p;
} surveyor_t;

/* ---- keys ---- */

static void note_reason(surveyor_t *surveyor, const gb_pool_key_t *key, int state)
{
    const char *name = apr_psprintf(surveyor->p, "%d %s", state, key->row);
    gb_keys_reason_t *reason = apr_hash_get(surveyor->reasons, name, APR_HASH_KEY_STRING);

    if (!reason) {
        reason = apr_pcalloc(surveyor->p, sizeof(*reason));
        reason->state = state;
        memcpy(reason->row, key->row, sizeof(reason->row));
        apr_hash_set(surveyor->reasons, name, APR_HASH_KEY_STRING, reason);
    }
    reason->n++;
}

static void note_tags(surveyor_t *surveyor, const char *tags)
{
    while (*tags) {
        apr_size_t len = strcspn(tags, ",");

        if (!apr_hash_get(surveyor->tags, tags, (apr_ssize_t)len)) {
            const char *tag = apr_pstrmemdup(surveyor->p, tags, len);

            apr_hash_set(surveyor->tags, tag, (apr_ssize_t)len, tag);
        }
        tags += len + (tags[len] == ',');
    }
}

static int is_retiring(const gb_pool_key_t *key)
{
    char secret[GB_POOL_SECRET_MAX + 1] = "";
    int is;

    keys_enter();
    gb_pool_secret_locked(keys_pool, key->slot, key->generation, secret);
    keys_leave();
    is = strncmp(secret, RETIRING, strlen(RETIRING)) == 0;
    explicit_bzero(secret, sizeof(secret));
    return is;
}

static void note_project(apr_hash_t *projects, const gb_pool_key_t *key, apr_pool_t *p)
{
    if (!apr_hash_get(projects, &key->project_slot, sizeof(key->project_slot))) {
        apr_hash_set(projects, apr_pmemdup(p, &key->project_slot, sizeof(key->project_slot)),
                     sizeof(key->project_slot), "");
    }
}

static void note_key(void *baton, const gb_pool_key_t *key)
{
    surveyor_t *surveyor = baton;
    int state = keys_state_of(key), i;

    surveyor->survey->total++;
    surveyor->survey->retiring += is_retiring(key);
    for (i = 0; i < 6; i++) {
        surveyor->survey->by_state[i] += state == 1 << i;
    }
    if (state & (GB_KEYS_FAILED | GB_KEYS_INVALID)) {
        note_reason(surveyor, key, state);
    }
    note_tags(surveyor, key->tags);
    note_project(surveyor->projects, key, surveyor->p);
    if (state & (GB_KEYS_ACTIVE | GB_KEYS_COOLING | GB_KEYS_TRIAL)) {
        note_project(surveyor->serving, key, surveyor->p);
    }
}

/* ---- models ---- */

static gb_keys_model_t *model_get(surveyor_t *surveyor, const char *name)
{
    gb_keys_model_t *model = apr_hash_get(surveyor->models, name, APR_HASH_KEY_STRING);

    if (!model) {
        model = apr_pcalloc(surveyor->p, sizeof(*model));
        apr_cpystrn(model->name, name, sizeof(model->name));
        apr_hash_set(surveyor->models, model->name, APR_HASH_KEY_STRING, model);
    }
    return model;
}

static void note_cell(void *baton, const gb_pool_cell_t *cell)
{
    surveyor_t *surveyor = baton;
    gb_keys_model_t *model;

    if (!cell->model[0]
        || !apr_hash_get(surveyor->projects, &cell->project_slot, sizeof(cell->project_slot))) {
        return;
    }
    model = model_get(surveyor, cell->model);
    model->calls += cell->successes + cell->quotas;
    if (!cell->until) {
        return;
    }
    if (apr_hash_get(surveyor->serving, &cell->project_slot, sizeof(cell->project_slot))) {
        model->resting++;
        model->soonest = model->soonest && model->soonest < cell->until ? model->soonest
                                                                        : cell->until;
    }
    if (cell->reason != GB_COOL_DAY && cell->reason != GB_COOL_MONTH) {
        model->cooling++;
        return;
    }
    model->used_up++;
    model->back = model->back && model->back < cell->until ? model->back : cell->until;
}

static void walk_broken(surveyor_t *surveyor)
{
    gb_pool_broken_t broken[BROKEN_MAX];
    int n, i;

    keys_enter();
    n = gb_pool_broken_locked(keys_pool, surveyor->pool, broken, BROKEN_MAX, &surveyor->clock);
    keys_leave();
    for (i = 0; i < n; i++) {
        model_get(surveyor, broken[i].model)->broken = broken[i].wait ? broken[i].wait : 1;
    }
}

/* ---- what is handed out ---- */

typedef int order_fn(const void *a, const void *b);

static int by_count(const void *a, const void *b)
{
    const gb_keys_reason_t *x = a, *y = b;

    return x->n != y->n ? y->n - x->n : strcmp(x->row, y->row);
}

static int by_calls(const void *a, const void *b)
{
    const gb_keys_model_t *x = a, *y = b;
    int order = (y->calls > x->calls) - (y->calls < x->calls);

    return order ? order : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The values of a hash, copied side by side. */
static apr_array_header_t *flatten(apr_hash_t *hash, size_t size, order_fn *order, apr_pool_t *p)
{
    apr_array_header_t *all = apr_array_make(p, (int)apr_hash_count(hash) + 1, (int)size);
    apr_hash_index_t *at;
    void *value;

    for (at = apr_hash_first(p, hash); at; at = apr_hash_next(at)) {
        apr_hash_this(at, NULL, NULL, &value);
        memcpy(apr_array_push(all), size == sizeof(char *) ? (void *)&value : value, size);
    }
    qsort(all->elts, (size_t)all->nelts, size, order);
    return all;
}

apr_status_t gbalance_keys_survey(gb_keys_survey_t *survey, const char *pool, apr_pool_t *p)
{
    surveyor_t surveyor = {.survey = survey, .pool = pool, .p = p};

    memset(survey, 0, sizeof(*survey));
    if (!keys_pool || !keys_settings_of(pool)) {
        return APR_NOTFOUND;
    }
    keys_now(&surveyor.clock);
    surveyor.reasons = apr_hash_make(p);
    surveyor.tags = apr_hash_make(p);
    surveyor.models = apr_hash_make(p);
    surveyor.projects = apr_hash_make(p);
    surveyor.serving = apr_hash_make(p);
    keys_each(pool, &surveyor.clock, note_key, &surveyor);
    keys_each_cell(&surveyor.clock, note_cell, &surveyor);
    walk_broken(&surveyor);
    survey->projects = (int)apr_hash_count(surveyor.serving);
    survey->reasons = flatten(surveyor.reasons, sizeof(gb_keys_reason_t), by_count, p);
    survey->models = flatten(surveyor.models, sizeof(gb_keys_model_t), by_calls, p);
    survey->tags = flatten(surveyor.tags, sizeof(char *), by_name, p);
    return APR_SUCCESS;
}

apr_uint64_t gbalance_keys_changes(void)
{
    apr_uint64_t n = 0;

    if (keys_pool) {
        keys_enter();
        n = gb_pool_changes_locked(keys_pool);
        keys_leave();
    }
    return n;
}

void keys_survey_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_changes);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_survey);
}
