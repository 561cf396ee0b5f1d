/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose fault it was.  A model that fails on several projects is broken itself:
 * its breaker opens and no key pays for it.  A key that fails while others go on
 * is blamed, but only once another one has succeeded.  And whatever the reason,
 * the guard lets only half of the active keys leave a pool at a time.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>

#define PROBE_TIME (30 * (i64)APR_USEC_PER_SEC)

/* ---- the breaker of (pool, model) ---- */

static void fault_note(view_rec_t *view, u32 project, const gb_pool_rules_t *rules, apr_time_t mono)
{
    memmove(&view->faults[1], &view->faults[0], sizeof(view->faults[0]) * (FAULT_N - 1));
    view->faults[0] = mono;
    if (view->fault_first <= mono - rules->breaker_window) {
        view->fault_first = mono;
        view->fault_n = 0;
    }
    view->fault_n++;
    if (view->fault_project[0] != project) {
        view->fault_project[1] = view->fault_project[0];
        view->fault_project_at[1] = view->fault_project_at[0];
        view->fault_project[0] = project;
    }
    view->fault_project_at[0] = mono;
}

/* So many faults within the window, on two projects at least.  Few are known by their times;
 * for many, windows that begin with a fault are near enough. */
static int fault_many(const view_rec_t *view, const gb_pool_rules_t *rules, apr_time_t mono)
{
    apr_time_t since = mono - rules->breaker_window;
    u32 n = (u32)rules->breaker_failures;

    if (view->fault_project[1] == 0 || view->fault_project_at[1] <= since) {
        return 0;
    }
    return n <= FAULT_N ? view->faults[n - 1] != 0 && view->faults[n - 1] > since
                        : view->fault_n >= n;
}

static void breaker_event(gb_pool_t *pool, gb_pool_events_t *events, gb_pool_event_kind_t kind,
                          u32 model, apr_interval_time_t lasts)
{
    gb_pool_event_t *event = pool_event(events, kind);

    if (event) {
        apr_cpystrn(event->model, pool->head->models[model].name, sizeof(event->model));
        event->lasts = lasts;
    }
}

static void breaker_open(gb_pool_t *pool, u32 name, u32 model, const gb_pool_rules_t *rules,
                         const gb_pool_clock_t *clock, gb_pool_events_t *events)
{
    view_rec_t *view = pool_view(pool, name, model);

    view->open_for = view->open_for ? view->open_for * 2 : rules->breaker_open;
    if (view->open_for > rules->breaker_max) {
        view->open_for = rules->breaker_max;
    }
    view->open_until = clock->mono + view->open_for;
    view->probe_until = 0;
    pool_blame_forget(&pool->head->pools[name], 0, model);
    breaker_event(pool, events, GB_EVENT_BREAKER_OPEN, model, view->open_for);
}

void pool_breaker_fault(gb_pool_t *pool, u32 name, u32 model, u32 project,
                        const gb_pool_rules_t *rules, const gb_pool_clock_t *clock,
                        gb_pool_events_t *events)
{
    view_rec_t *view = pool_view(pool, name, model);

    if (model == 0) {
        return;
    }
    fault_note(view, project, rules, clock->mono);
    if (view->open_for ? clock->mono >= view->open_until : fault_many(view, rules, clock->mono)) {
        breaker_open(pool, name, model, rules, clock, events);
    }
}

void pool_breaker_success(gb_pool_t *pool, u32 name, u32 model, gb_pool_events_t *events)
{
    view_rec_t *view = pool_view(pool, name, model);

    if (view->fault_first) {
        view->fault_n = 0;
        view->fault_first = 0;
        view->fault_project[0] = view->fault_project[1] = 0;
        memset(view->faults, 0, sizeof(view->faults));
    }
    if (view->open_for) {
        view->open_for = 0;
        view->open_until = view->probe_until = 0;
        breaker_event(pool, events, GB_EVENT_BREAKER_CLOSED, model, 0);
    }
}

apr_interval_time_t pool_breaker_wait(view_rec_t *view, const gb_pool_clock_t *clock, int *probe)
{
    *probe = 0;
    if (view->open_for == 0) {
        return 0;
    }
    if (clock->mono < view->open_until) {
        return view->open_until - clock->mono;
    }
    if (clock->mono < view->probe_until) {
        return view->open_for; /* one probe at a time */
    }
    *probe = 1;
    return 0;
}

void pool_breaker_probe(view_rec_t *view, const gb_pool_clock_t *clock)
{
    view->probe_until = clock->mono + PROBE_TIME;
}

int gb_pool_broken_locked(gb_pool_t *pool, const char *name, gb_pool_broken_t *rows, int n,
                          const gb_pool_clock_t *clock)
{
    u32 wanted = pool_name_find(pool, name), model;
    int got = 0;

    for (model = 1; wanted && model <= GB_POOL_MODELS && got < n; model++) {
        const view_rec_t *view = pool_view(pool, wanted, model);

        if (view->open_for && pool->head->models[model].used) {
            memcpy(rows[got].model, pool->head->models[model].name, sizeof(rows[got].model));
            rows[got++].wait = view->open_until > clock->mono ? view->open_until - clock->mono : 0;
        }
    }
    return got;
}

/* ---- the guard ---- */

static u32 guard_count(pool_rec_t *rec, const gb_pool_rules_t *rules, apr_time_t mono)
{
    i64 width = rules->guard_window / (GUARD_N - 1) + 1;
    i64 slice = mono / width, gone = slice - rec->guard_slice;
    u32 i, n = 0;

    if (gone < 0 || gone >= GUARD_N) {
        memset(rec->guard, 0, sizeof(rec->guard));
        rec->guard_slice = slice;
    }
    while (rec->guard_slice < slice) {
        rec->guard_slice++;
        rec->guard[rec->guard_slice % GUARD_N] = 0;
    }
    for (i = 0; i < GUARD_N; i++) {
        n += rec->guard[i];
    }
    return n;
}

int pool_guard_allows(gb_pool_t *pool, u32 name, u32 n, const gb_pool_rules_t *rules,
                      const gb_pool_clock_t *clock)
{
    pool_rec_t *rec = &pool->head->pools[name];
    u32 left = guard_count(rec, rules, clock->mono);
    u32 before = rec->n_state[GB_KEY_ACTIVE] + left;

    if (left + n >= 3 && (left + n) * 2 > before) {
        int news = rec->guard_at == 0 || clock->mono - rec->guard_at > rules->guard_window;

        rec->guard_tripped++;
        rec->guard_at = clock->mono;
        return news ? 0 : -1;
    }
    rec->guard[rec->guard_slice % GUARD_N] += n;
    return 1;
}

/* ---- blame ---- */

void pool_blame_add(gb_pool_t *pool, u32 slot, u32 model, const gb_pool_clock_t *clock)
{
    pool_rec_t *rec = &pool->head->pools[pool->keys[slot].pool];
    blame_t *blame;

    if (rec->n_blame == BLAME_N) { /* the oldest goes */
        memmove(&rec->blame[0], &rec->blame[1], sizeof(rec->blame[0]) * (BLAME_N - 1));
        rec->n_blame--;
    }
    blame = &rec->blame[rec->n_blame];
    blame->key = slot;
    blame->generation = pool->keys[slot].generation;
    blame->model = model;
    blame->at = clock->mono;
    rec->n_blame++;
}

/* key or model 0: whichever */
void pool_blame_forget(pool_rec_t *rec, u32 key, u32 model)
{
    u32 i, kept = 0;

    for (i = 0; i < rec->n_blame; i++) {
        if ((key && rec->blame[i].key != key) || (model && rec->blame[i].model != model)) {
            rec->blame[kept++] = rec->blame[i];
        }
    }
    rec->n_blame = kept;
}
