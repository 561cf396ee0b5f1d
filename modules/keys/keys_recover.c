/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recovery check: keys that are out, and those with an answer that nobody
 * knows, are asked with TEST_MODEL, a few at a time.  The pool says whose time
 * has come and learns from the answer; half-open trials with clients' calls go on
 * beside it.
 */
#include "keys.h"

#include <stdlib.h>

#include "apr_atomic.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define AT_ONCE 8 /* checks under way in one process */
#define A_STEP  4 /* begun in one step: many keys are spread over time */

/* One check; malloc'ed, because it ends in the engine's thread. */
typedef struct check_t {
    char pool[GB_POOL_NAME_LEN];
    char model[GB_POOL_MODEL_LEN];
    apr_uint32_t slot, generation;
    keys_checked_fn *fn;
    void *baton;
} check_t;

static apr_uint32_t under_way;

static void learn(const check_t *check, const gb_verdict_t *verdict, apr_pool_t *p)
{
    const gb_settings_t *settings = keys_settings_now(check->pool, p);
    char label[KEYS_LABEL_LEN];
    gb_pool_outcome_t outcome;
    gb_pool_events_t events;
    gb_pool_rules_t rules;
    gb_pool_clock_t clock;

    if (!settings) {
        return;
    }
    keys_outcome(&outcome, verdict, label);
    keys_rules(&rules, settings);
    keys_now(&clock);
    events.n = 0;
    keys_enter();
    gb_pool_checked_locked(keys_pool, check->slot, check->generation, check->model, &outcome,
                           &rules, &clock, &events);
    keys_leave();
    keys_log_events(&events, check->pool);
}

static void on_answer(void *baton, const gb_verdict_t *verdict)
{
    check_t *check = baton;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    learn(check, verdict, p);
    apr_pool_destroy(p);
    if (check->fn) {
        check->fn(check->baton, verdict);
    }
    free(check);
}

/* ---- one check ---- */

static apr_status_t secret_get(const gb_pool_key_t *row, gb_key_t *key)
{
    apr_status_t rv;

    memset(key, 0, sizeof(*key));
    key->slot = row->slot;
    key->generation = row->generation;
    key->project = row->project_slot;
    apr_cpystrn(key->id, row->id, sizeof(key->id));
    keys_enter();
    rv = gb_pool_secret_locked(keys_pool, row->slot, row->generation, key->secret);
    keys_leave();
    return rv;
}

/* TEST_MODEL may be changed while httpd runs.  0: there is no such pool. */
static int test_model_of(const char *pool, char model[GB_POOL_MODEL_LEN])
{
    const gb_settings_t *settings;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    settings = keys_settings_now(pool, p);
    apr_cpystrn(model, settings ? settings->test_model : "", GB_POOL_MODEL_LEN);
    apr_pool_destroy(p);
    return settings != NULL;
}

apr_status_t keys_check(const gb_pool_key_t *row, keys_checked_fn *fn, void *baton)
{
    char model[GB_POOL_MODEL_LEN];
    check_t *check;
    gb_key_t key;
    apr_status_t rv;

    if (!keys_probe() || !test_model_of(row->pool, model)) {
        return APR_ENOTIMPL;
    }
    rv = secret_get(row, &key);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    check = calloc(1, sizeof(*check));
    if (!check) {
        return APR_ENOMEM;
    }
    apr_cpystrn(check->pool, row->pool, sizeof(check->pool));
    apr_cpystrn(check->model, model, sizeof(check->model));
    check->slot = row->slot;
    check->generation = row->generation;
    check->fn = fn;
    check->baton = baton;
    rv = keys_probe()(row->pool, &key, check->model, on_answer, check);
    explicit_bzero(&key, sizeof(key));
    if (rv != APR_SUCCESS) {
        free(check);
    }
    return rv;
}

/* ---- the round ---- */

static void on_checked(void *baton, const gb_verdict_t *verdict)
{
    (void)baton;
    (void)verdict;
    apr_atomic_dec32(&under_way);
}

static void recover_pool(const char *name, const gb_settings_t *settings)
{
    gb_pool_key_t rows[A_STEP];
    gb_pool_clock_t clock;
    apr_uint32_t busy = apr_atomic_read32(&under_way);
    int n, i;

    if (busy >= AT_ONCE) {
        return;
    }
    keys_now(&clock);
    keys_enter();
    n = gb_pool_due_locked(keys_pool, name, rows, A_STEP,
                           apr_time_from_sec(settings->check_interval_hours * 3600), &clock);
    keys_leave();
    for (i = 0; i < n; i++) {
        apr_atomic_inc32(&under_way);
        if (keys_check(&rows[i], on_checked, NULL) != APR_SUCCESS) {
            apr_atomic_dec32(&under_way);
        }
    }
}

void keys_recover_step(apr_pool_t *p)
{
    static int said;
    int n, i;
    const gb_pool_conf_t *pools = keys_pools(&n);
    apr_pool_t *step;

    if (!keys_probe()) {
        if (!said) {
            said = 1;
            ap_log_error(
                APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                GBLOGNO(1060) "this mod_gbalance cannot check keys: those that failed come back by "
                              "trials only");
        }
        return;
    }
    apr_pool_create(&step, p);
    for (i = 0; i < n; i++) {
        const gb_settings_t *settings = keys_settings_now(pools[i].name, step);

        if (settings) {
            recover_pool(pools[i].name, settings);
        }
    }
    apr_pool_destroy(step);
}
