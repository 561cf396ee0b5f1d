/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool against an upstream with real quotas, on a virtual clock: 20 keys in
 * 10 projects, 10 requests a minute (a token bucket) and 100 a day (until
 * midnight Pacific, with a delay that lies) for each project.  Days take seconds.
 */
#include "pool_fixture.h"

#include "base/timeutil.h"

#define MODEL    "gemini-2.5-flash"
#define PROJECTS 10
#define KEYS     20
#define RPM      10
#define RPD      100

typedef struct project_t {
    double tokens;
    apr_time_t filled, day_ends;
    int today;
} project_t;

typedef struct world_t {
    fixture_t *f;
    project_t projects[PROJECTS];
    int minute_quota, day_quota; /* whether the upstream has them */
    unsigned seed;
    /* what came of it */
    long calls, served, refused, upstream, upstream_429, broken_promises;
    apr_time_t promised; /* when the last refused client may come again */
} world_t;

/* ---- the upstream ---- */

static void refill(project_t *p, const gb_pool_clock_t *clock)
{
    p->tokens += (double)(clock->mono - p->filled) / (double)SEC(60) * RPM;
    p->tokens = p->tokens > RPM ? RPM : p->tokens;
    p->filled = clock->mono;
    if (clock->wall >= p->day_ends) {
        p->today = 0;
        p->day_ends = gb_pacific_midnight(clock->wall);
    }
}

static void answer_429(gb_pool_outcome_t *out, gb_pool_span_t span, apr_interval_time_t delay,
                       int value)
{
    out->kind = GB_OUT_QUOTA;
    out->span = span;
    out->delay = delay;
    out->n_quotas = 1;
    out->quotas[0].model = MODEL;
    out->quotas[0].span = span;
    out->quotas[0].value = value;
}

static void answer(world_t *w, int project, gb_pool_outcome_t *out)
{
    project_t *p = &w->projects[project];

    memset(out, 0, sizeof(*out));
    out->delay = -1;
    out->prompt_tokens = out->total_tokens = 10;
    refill(p, &w->f->clock);
    w->upstream++;
    if (w->day_quota && p->today >= RPD) {
        answer_429(out, GB_SPAN_DAY, SEC(39), RPD);
    }
    else if (w->minute_quota && p->tokens < 1) {
        answer_429(out, GB_SPAN_MINUTE,
                   (apr_interval_time_t)((1 - p->tokens) / RPM * (double)SEC(60)) + 1, RPM);
    }
    else {
        out->kind = GB_OUT_SUCCESS;
        p->today++;
        p->tokens -= 1;
    }
    w->upstream_429 += out->kind == GB_OUT_QUOTA;
}

/* ---- a client's call: at most three attempts, as MAX_RETRIES says ---- */

static int refused(world_t *w)
{
    apr_time_t at = w->f->clock.mono + w->f->census.wait;

    w->refused++;
    assert_true(w->f->census.wait > 0);
    if (w->promised && w->promised <= w->f->clock.mono) {
        w->broken_promises++; /* was told to come now */
    }
    w->promised = at;
    return 0;
}

static int call(world_t *w)
{
    fixture_t *f = w->f;
    apr_uint32_t tried[3];
    gb_pool_want_t want = {.model = MODEL, .exclude = tried};
    gb_pool_outcome_t out;
    int attempt;

    w->calls++;
    for (attempt = 0; attempt < 3; attempt++) {
        want.n_exclude = attempt;
        if (fixture_pick_want(f, &want) != GB_POOL_OK) {
            return refused(w);
        }
        tried[attempt] = f->got.slot;
        answer(w, (int)(f->got.slot - 1) / (KEYS / PROJECTS), &out);
        fixture_report_out(f, MODEL, &out);
        if (out.kind == GB_OUT_SUCCESS) {
            w->promised = 0;
            w->served++;
            return 1;
        }
    }
    /* All three were refused upstream: the client hears of the soonest key, too. */
    assert_int_not_equal(fixture_pick(f, MODEL), GB_POOL_EMPTY);
    w->refused++;
    return 0;
}

/* Calls that come evenly, each up to a quarter of the distance early or late. */
static void offer(world_t *w, double per_second, apr_interval_time_t lasts)
{
    apr_interval_time_t each = (apr_interval_time_t)((double)APR_USEC_PER_SEC / per_second);
    apr_time_t end = w->f->clock.mono + lasts, next = w->f->clock.mono;

    while (next < end) {
        apr_interval_time_t shake = (apr_interval_time_t)(rand_r(&w->seed) % 500 - 250) * each
                                    / 1000;

        if (next + shake > w->f->clock.mono) {
            fixture_wait(w->f, next + shake - w->f->clock.mono);
        }
        call(w);
        next += each;
    }
}

static void forget_counts(world_t *w)
{
    w->calls = w->served = w->refused = w->upstream = w->upstream_429 = w->broken_promises = 0;
}

static void say(const world_t *w, const char *what)
{
    printf("%s: %ld calls, %ld served, %ld refused; upstream %ld, of these 429: %ld (%.2f%%)\n",
           what, w->calls, w->served, w->refused, w->upstream, w->upstream_429,
           w->upstream ? 100.0 * (double)w->upstream_429 / (double)w->upstream : 0.0);
}

static world_t *world_make(int minute_quota, int day_quota, apr_time_t wall)
{
    world_t *w = calloc(1, sizeof(*w));
    gb_pool_key_t spec;
    int i;

    w->f = fixture_make(64);
    w->f->rules.jitter = 100;
    w->f->clock.wall = wall;
    w->seed = fixture_seed();
    w->minute_quota = minute_quota;
    w->day_quota = day_quota;
    for (i = 0; i < KEYS; i++) {
        fixture_spec(&spec, "default", i + 1);
        apr_snprintf(spec.project, sizeof(spec.project), "project-%d", i / (KEYS / PROJECTS));
        fixture_add(w->f, &spec);
    }
    for (i = 0; i < PROJECTS; i++) {
        w->projects[i].tokens = RPM;
        w->projects[i].filled = w->f->clock.mono;
    }
    return w;
}

static void world_free(world_t *w)
{
    fixture_sound(w->f);
    fixture_free(w->f);
    free(w);
}

/* ---- minutes ---- */

static void ninety_percent_of_the_minutes(void **state)
{
    world_t *w = world_make(1, 0, NOON);

    (void)state;
    offer(w, 0.9 * PROJECTS * RPM / 60.0, HOURS(6));
    say(w, "90% of the minute's quota, 6 hours");
    assert_int_equal(w->refused, 0);
    assert_true(w->upstream_429 * 100 < w->upstream * 3);
    world_free(w);
}

static void hundred_and_fifty_percent_of_the_minutes(void **state)
{
    world_t *w = world_make(1, 0, NOON);
    double possible;

    (void)state;
    offer(w, 1.5 * PROJECTS * RPM / 60.0, SEC(600)); /* until the limits are learnt */
    forget_counts(w);
    offer(w, 1.5 * PROJECTS * RPM / 60.0, HOURS(6));
    say(w, "150% of the minute's quota, 6 hours");
    possible = 6.0 * 60 * PROJECTS * RPM;
    assert_true((double)w->served > 0.97 * possible); /* clients lose the excess only */
    assert_true(w->upstream_429 * 100 < w->upstream * 3);
    assert_int_equal(w->broken_promises, 0);
    world_free(w);
}

/* ---- days ---- */

static void days(double share, apr_time_t from, const char *what)
{
    world_t *w = world_make(1, 1, from);
    double rate = share * PROJECTS * RPD / 86400.0;
    int day;

    offer(w, rate, HOURS(24)); /* until the limits are learnt, and to a midnight */
    fixture_wait(w->f, gb_pacific_midnight(w->f->clock.wall) - w->f->clock.wall + SEC(120));
    forget_counts(w);
    for (day = 0; day < 7; day++) {
        offer(w, rate, HOURS(24));
    }
    say(w, what);
    if (share <= 1) {
        assert_int_equal(w->refused, 0);
    }
    else {
        /* A week has seven days' quota; the last of them may be running still. */
        assert_true(w->served >= 7 * PROJECTS * RPD * 97 / 100);
        assert_true(w->served <= 8 * PROJECTS * RPD);
    }
    assert_true(w->upstream_429 * 100 < w->upstream * 3);
    assert_int_equal(w->broken_promises, 0);
    world_free(w);
}

static void ninety_percent_of_the_days(void **state)
{
    (void)state;
    days(0.9, NOON, "90% of the day's quota, a week");
}

static void hundred_and_fifty_percent_of_the_days(void **state)
{
    (void)state;
    days(1.5, NOON, "150% of the day's quota, a week");
    days(1.5, SEC(1793260800), "150%, clocks go back on Sunday");
    days(1.5, SEC(1772697600), "150%, clocks go forward on Sunday");
}

/* A day's quota that rolls (MAPPING 10.3, shape b): the delay is told and believed. */
static void a_rolling_day_is_believed(void **state)
{
    fixture_t *f = fixture_make(16);

    (void)state;
    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, MODEL);
    fixture_quota(f, MODEL, GB_SPAN_DAY, SEC(10076));
    assert_int_equal(fixture_pick(f, MODEL), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(10136));
    fixture_wait(f, SEC(10136));
    fixture_pick_ok(f, MODEL);
    assert_true(f->got.half_open);
    fixture_free(f);
}

/* One burst of everybody at once: nobody waits for a key that has room. */
static void a_burst_uses_every_key(void **state)
{
    world_t *w = world_make(1, 0, NOON);
    int i;

    (void)state;
    for (i = 0; i < PROJECTS * RPM; i++) {
        assert_true(call(w));
    }
    assert_int_equal(w->upstream_429, 0);
    call(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ninety_percent_of_the_minutes),
        cmocka_unit_test(hundred_and_fifty_percent_of_the_minutes),
        cmocka_unit_test(ninety_percent_of_the_days),
        cmocka_unit_test(hundred_and_fifty_percent_of_the_days),
        cmocka_unit_test(a_rolling_day_is_believed),
        cmocka_unit_test(a_burst_uses_every_key),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
