/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences of picks, reports and time.  First against a model that is
 * simple enough to be right: the pool must pick the very key that the model
 * expects, and count the same.  Then with everything that exists, where only the
 * invariants are asked for.  The seed is printed; GB_SEED repeats it.
 */
#include "pool_fixture.h"

#define N_KEYS   7
#define N_MODELS 3
#define FLIGHT   24

static const char *const model_names[N_MODELS] = {"gemini-2.5-pro", "gemini-2.5-flash",
                                                  "gemini-3-flash"};

/* ---- the simple model ---- */

typedef struct cell_t {
    apr_time_t until;       /* rests until then */
    int wants_trial;        /* one call first, once that has passed */
    apr_time_t trial_until; /* a trial is under way */
    int trial;              /* which flight it is, -1 none */
} cell_t;

typedef struct flight_t {
    int used, key, model, serial;
    gb_pool_got_t got;
} flight_t;

typedef struct model_t {
    cell_t cells[N_KEYS + 1][N_MODELS];
    int enabled[N_KEYS + 1];
    int last[N_MODELS];
    apr_uint64_t picks[N_KEYS + 1], successes[N_KEYS + 1], neutral[N_KEYS + 1], quotas[N_KEYS + 1];
    int in_flight[N_KEYS + 1];
    flight_t flights[FLIGHT];
    int serial;
} model_t;

static int serves(const model_t *m, int key, int model, apr_time_t now)
{
    const cell_t *cell = &m->cells[key][model];

    return m->enabled[key] && cell->until <= now && (cell->trial < 0 || cell->trial_until <= now);
}

/* The next one in turn, 0 = none. */
static int expected(const model_t *m, int model, apr_time_t now)
{
    int i;

    for (i = 1; i <= N_KEYS; i++) {
        int key = (m->last[model] + i - 1) % N_KEYS + 1;

        if (serves(m, key, model, now)) {
            return key;
        }
    }
    return 0;
}

/* *hint: a trial is under way, which may end at any moment: the pool may have said so earlier. */
static apr_time_t soonest(const model_t *m, int model, apr_time_t now, int *hint)
{
    apr_time_t at = 0;
    int key;

    *hint = 0;

    for (key = 1; key <= N_KEYS; key++) {
        const cell_t *cell = &m->cells[key][model];
        apr_time_t own = cell->until;

        if (!m->enabled[key]) {
            continue;
        }
        if (cell->trial >= 0 && cell->trial_until > now) {
            own = cell->trial_until < now + SEC(5) ? cell->trial_until : now + SEC(5);
            *hint = 1;
        }
        at = at == 0 || own < at ? own : at;
    }
    return at;
}

static void model_begin(model_t *m)
{
    int key, model;

    memset(m, 0, sizeof(*m));
    for (key = 1; key <= N_KEYS; key++) {
        m->enabled[key] = 1;
        for (model = 0; model < N_MODELS; model++) {
            m->cells[key][model].trial = -1;
        }
    }
}

/* ---- steps ---- */

static void step_pick(fixture_t *f, model_t *m, unsigned *seed)
{
    int model = rand_r(seed) % N_MODELS, key = expected(m, model, f->clock.mono), i;
    gb_pool_answer_t answer = fixture_pick(f, model_names[model]);
    cell_t *cell;

    if (key == 0) {
        int on = 0;

        for (i = 1; i <= N_KEYS; i++) {
            on += m->enabled[i];
        }
        assert_int_equal(answer, on ? GB_POOL_RESTING : GB_POOL_DEAD);
        if (on) {
            apr_interval_time_t wait = soonest(m, model, f->clock.mono, &i) - f->clock.mono;

            assert_true(i ? f->census.wait > 0 && f->census.wait <= wait : f->census.wait == wait);
            assert_int_equal(f->census.resting, on);
        }
        return;
    }
    assert_int_equal(answer, GB_POOL_OK);
    assert_int_equal(f->got.slot, key);
    m->last[model] = key;
    m->picks[key]++;
    cell = &m->cells[key][model];
    assert_int_equal(f->got.half_open, cell->wants_trial);
    for (i = 0; i < FLIGHT && m->flights[i].used; i++) {
    }
    if (cell->wants_trial) {
        cell->trial = ++m->serial;
        cell->trial_until = f->clock.mono + SEC(120);
    }
    if (i == FLIGHT) { /* too many are under way: this one ends at once, silently */
        fixture_report(f, model_names[model], GB_OUT_NOTHING);
        m->neutral[key]++;
        cell->trial = -1;
        return;
    }
    m->flights[i] = (flight_t){1, key, model, cell->wants_trial ? m->serial : -1, f->got};
    m->in_flight[key]++;
}

static void rest(cell_t *cell, apr_time_t until, int trial, apr_time_t now)
{
    int resting = cell->until > now;

    if (resting && cell->until >= until) {
        return;
    }
    cell->until = until;
    cell->wants_trial = trial;
    cell->trial = -1;
}

static void step_report(fixture_t *f, model_t *m, unsigned *seed)
{
    flight_t *flight = &m->flights[rand_r(seed) % FLIGHT];
    cell_t *cell = &m->cells[flight->key][flight->model];
    const char *name = model_names[flight->model];
    int dice = rand_r(seed) % 10, is_trial;
    apr_interval_time_t pause = SEC(1 + rand_r(seed) % 100);

    if (!flight->used) {
        return;
    }
    is_trial = flight->serial >= 0 && cell->trial == flight->serial
               && cell->trial_until > f->clock.mono;
    if (is_trial) {
        cell->trial = -1;
    }
    f->got = flight->got;
    flight->used = 0;
    m->in_flight[flight->key]--;
    if (dice < 5) {
        fixture_report(f, name, GB_OUT_SUCCESS);
        m->successes[flight->key]++;
        cell->wants_trial = is_trial ? 0 : cell->wants_trial;
    }
    else if (dice < 7) {
        fixture_report(f, name, GB_OUT_NOTHING);
        m->neutral[flight->key]++;
    }
    else if (dice < 9) {
        fixture_quota(f, name, GB_SPAN_MINUTE, pause);
        m->quotas[flight->key]++;
        rest(cell, f->clock.mono + pause, 0, f->clock.mono);
    }
    else {
        fixture_quota(f, name, GB_SPAN_DAY, SEC(601) + pause);
        m->quotas[flight->key]++;
        rest(cell, f->clock.mono + SEC(661) + pause, 1, f->clock.mono);
    }
}

static void step_switch(fixture_t *f, model_t *m, unsigned *seed)
{
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    int key = rand_r(seed) % N_KEYS + 1;

    edit.enabled = m->enabled[key] = rand_r(seed) % 4 != 0;
    assert_int_equal(gb_pool_edit_locked(f->pool, (apr_uint32_t)key, 1, &edit, &f->clock),
                     APR_SUCCESS);
}

static void compare(fixture_t *f, const model_t *m)
{
    int key;

    for (key = 1; key <= N_KEYS; key++) {
        gb_pool_key_t row = fixture_key(f, (apr_uint32_t)key);

        assert_int_equal(row.picks, m->picks[key]);
        assert_int_equal(row.successes, m->successes[key]);
        assert_int_equal(row.neutral, m->neutral[key]);
        assert_int_equal(row.quotas, m->quotas[key]);
        assert_int_equal(row.in_flight, m->in_flight[key]);
        assert_int_equal(row.failures, 0);
    }
}

/* One success each, so that the names are known and every turn begins at a known key. */
static void warm_up(fixture_t *f, model_t *m)
{
    int model;

    for (model = 0; model < N_MODELS; model++) {
        int key = (int)fixture_call(f, model_names[model], GB_OUT_SUCCESS);

        m->picks[key]++;
        m->successes[key]++;
        m->last[model] = key;
    }
}

static void picks_what_the_model_expects(void **state)
{
    unsigned seed = fixture_seed();
    model_t m;
    int round, i;

    (void)state;
    for (round = 0; round < 20; round++) {
        fixture_t *f = fixture_make(64);

        model_begin(&m);
        fixture_keys(f, "default", N_KEYS);
        warm_up(f, &m);
        for (i = 0; i < 5000; i++) {
            int dice = rand_r(&seed) % 100;

            if (dice < 48) {
                step_pick(f, &m, &seed);
            }
            else if (dice < 95) {
                step_report(f, &m, &seed);
            }
            else if (dice < 97) {
                step_switch(f, &m, &seed);
            }
            else {
                fixture_wait(f, SEC(rand_r(&seed) % 60) + rand_r(&seed) % 1000000);
            }
            if (i % 50 == 0) {
                compare(f, &m);
                fixture_sound(f);
            }
        }
        compare(f, &m);
        fixture_free(f);
    }
}

/* ---- everything, and the invariants ---- */

#define WILD_KEYS 40

typedef struct wild_t {
    fixture_t *f;
    gb_pool_got_t got[FLIGHT];
    char model[FLIGHT][32];
    int used[FLIGHT];
    int next_key, child[3];
    unsigned seed;
} wild_t;

static int dice(wild_t *w, int n)
{
    return rand_r(&w->seed) % n;
}

static void wild_model(wild_t *w, char name[32])
{
    /* more names than the table holds */
    apr_snprintf(name, 32, "gemini-%d", dice(w, 10) ? dice(w, 4) : dice(w, 400));
}

/* A picked key is enabled, alive and does not rest; what comes back is its own secret. */
static void wild_judge(wild_t *w, const char *model, const gb_pool_key_t *before, int n_before)
{
    gb_pool_got_t *got = &w->f->got;
    char expected_secret[40];
    int i;

    (void)model;
    for (i = 0; i < n_before && before[i].slot != got->slot; i++) {
    }
    assert_true(i < n_before);
    assert_true(before[i].enabled);
    assert_true(before[i].state == GB_KEY_ACTIVE || before[i].state == GB_KEY_TRIAL);
    assert_false(before[i].reserved);
    apr_snprintf(expected_secret, sizeof(expected_secret), "secret-%s", before[i].id);
    assert_string_equal(got->secret, expected_secret);
}

static void wild_pick(wild_t *w)
{
    gb_pool_key_t before[WILD_KEYS + 1];
    gb_pool_want_t want = {.tokens = dice(w, 1000)};
    apr_uint32_t exclude[4], at = 1;
    int n, i;

    for (i = 0; i < FLIGHT && w->used[i]; i++) {
    }
    if (i == FLIGHT) {
        return;
    }
    wild_model(w, w->model[i]);
    want.model = w->model[i];
    want.tag = dice(w, 8) ? NULL : "paid";
    want.affinity = dice(w, 3) ? 0 : (apr_uint64_t)dice(w, 1000);
    want.limits[GB_LIMIT_RPM] = dice(w, 4) ? 0 : 5;
    want.limits[GB_LIMIT_TPM] = dice(w, 6) ? 0 : 4000;
    want.n_exclude = dice(w, 4) ? 0 : dice(w, 4);
    want.exclude = exclude;
    for (n = 0; n < want.n_exclude; n++) {
        exclude[n] = (apr_uint32_t)dice(w, WILD_KEYS) + 1;
    }
    w->f->rules.policy = (gb_pool_policy_t)dice(w, 4);
    w->f->rules.max_concurrent = dice(w, 3) ? 0 : 1 + dice(w, 3);
    w->f->child = w->child[dice(w, 3)];
    gb_pool_tick_locked(w->f->pool, &w->f->clock);
    n = gb_pool_list_locked(w->f->pool, "default", &at, before, WILD_KEYS + 1, &w->f->clock);
    if (fixture_pick_want(w->f, &want) == GB_POOL_OK) {
        wild_judge(w, want.model, before, n);
        w->got[i] = w->f->got;
        w->used[i] = 1;
    }
}

static void wild_report(wild_t *w)
{
    int i = dice(w, FLIGHT);
    gb_pool_outcome_t out = {.delay = dice(w, 3) ? SEC(dice(w, 9000)) : -1,
                             .row = "row",
                             .text = "text",
                             .revocable = dice(w, 2)};
    char label[16], other[32];

    if (!w->used[i]) {
        return;
    }
    out.kind = dice(w, 2) ? GB_OUT_SUCCESS : (gb_pool_kind_t)dice(w, GB_OUT_N);
    out.span = (gb_pool_span_t)dice(w, 6);
    out.prompt_tokens = dice(w, 2000) - 1;
    out.total_tokens = dice(w, 4000) - 1;
    apr_snprintf(label, sizeof(label), "p%d", dice(w, 10));
    out.project = dice(w, 10) ? "" : label;
    out.n_quotas = dice(w, 3);
    wild_model(w, other);
    out.quotas[0].model = other;
    out.quotas[0].span = out.quotas[1].span = (gb_pool_span_t)dice(w, 6);
    out.quotas[1].model = "";
    out.quotas[1].tokens = dice(w, 2);
    out.quotas[0].value = out.quotas[1].value = dice(w, 20);
    w->used[i] = 0;
    w->f->got = w->got[i];
    fixture_report_out(w->f, w->model[i], &out);
}

static void wild_keys(wild_t *w)
{
    gb_pool_key_t spec, row;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    apr_uint32_t slot = (apr_uint32_t)dice(w, WILD_KEYS) + 1;
    static const char *const tags[] = {"paid", "eu,paid", "", "a,b,c"};

    if (gb_pool_get_locked(w->f->pool, slot, &row, &w->f->clock) != APR_SUCCESS) {
        fixture_spec(&spec, "default", w->next_key++);
        fixture_add(w->f, &spec);
        return;
    }
    switch (dice(w, 6)) {
    case 0:
        gb_pool_remove_locked(w->f->pool, slot, row.generation);
        return;
    case 1:
        gb_pool_reset_locked(w->f->pool, slot, row.generation, &w->f->clock);
        return;
    case 2:
        edit.enabled = dice(w, 2);
        break;
    case 3:
        edit.weight = 1 + dice(w, 16);
        break;
    case 4:
        edit.tags = tags[dice(w, 4)];
        break;
    default:
        edit.project = dice(w, 2) ? "" : "by hand";
    }
    gb_pool_edit_locked(w->f->pool, slot, row.generation, &edit, &w->f->clock);
}

static void wild_other(wild_t *w)
{
    gb_pool_key_t due[4];
    int i = dice(w, 3);

    switch (dice(w, 4)) {
    case 0:
        gb_pool_repair(w->f->block, w->f->size, 0);
        break;
    case 1: /* a process dies, and another takes its place; its calls are never reported */
        gb_pool_child_leave_locked(w->f->pool, w->child[i], (apr_uint32_t)i + 10, 1);
        w->child[i] = gb_pool_child_enter_locked(w->f->pool, (apr_uint32_t)i + 10, 1);
        assert_true(w->child[i] > 0);
        break;
    case 2:
        for (i = gb_pool_due_locked(w->f->pool, "default", due, 4, SEC(600), &w->f->clock); i > 0;
             i--) {
            gb_pool_outcome_t out = {.kind = (gb_pool_kind_t)dice(w, GB_OUT_N), .delay = -1};

            gb_pool_checked_locked(w->f->pool, due[i - 1].slot, due[i - 1].generation, "gemini-0",
                                   &out, &w->f->rules, &w->f->clock, NULL);
        }
        break;
    default:
        fixture_wait(w->f, SEC(dice(w, 7200)));
    }
}

static void holds_its_invariants_whatever_happens(void **state)
{
    wild_t w = {.seed = fixture_seed(), .next_key = 1};
    int round, i;

    (void)state;
    for (round = 0; round < 10; round++) {
        w.f = fixture_make(WILD_KEYS);
        memset(w.used, 0, sizeof(w.used));
        for (i = 0; i < 3; i++) {
            w.child[i] = gb_pool_child_enter_locked(w.f->pool, (apr_uint32_t)i + 10, 1);
        }
        gb_pool_open_locked(w.f->pool, "default");
        for (i = 0; i < 6000; i++) {
            int what = dice(&w, 100);

            if (what < 45) {
                wild_pick(&w);
            }
            else if (what < 88) {
                wild_report(&w);
            }
            else if (what < 94) {
                wild_keys(&w);
            }
            else if (what < 98) {
                fixture_wait(w.f, SEC(dice(&w, 30)));
            }
            else {
                wild_other(&w);
            }
            if (i % 20 == 0) {
                fixture_sound(w.f);
            }
        }
        fixture_free(w.f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_what_the_model_expects),
        cmocka_unit_test(holds_its_invariants_whatever_happens),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
