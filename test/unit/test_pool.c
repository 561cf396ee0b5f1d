/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool, rule by rule: who is picked, what each outcome does, what a client
 * hears when nobody is left.
 */
#include "pool_fixture.h"

#define PRO   "gemini-2.5-pro"
#define FLASH "gemini-2.5-flash"

static int setup(void **state)
{
    *state = fixture_make(256);
    return 0;
}

static int teardown(void **state)
{
    fixture_sound(*state);
    fixture_free(*state);
    return 0;
}

/* ---- turns ---- */

static void keys_take_turns(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 5);
    for (i = 0; i < 25; i++) {
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), i % 5 + 1);
    }
    assert_int_equal(fixture_key(f, 3).successes, 5);
}

static void weights_are_turns_per_round(void **state)
{
    fixture_t *f = *state;
    gb_pool_edit_t heavy = GB_POOL_EDIT_NONE;
    int n[4] = {0}, i;

    fixture_keys(f, "default", 3);
    heavy.weight = 4;
    assert_int_equal(gb_pool_edit_locked(f->pool, 2, 1, &heavy, &f->clock), APR_SUCCESS);
    for (i = 0; i < 600; i++) {
        n[fixture_call(f, PRO, GB_OUT_SUCCESS)]++;
    }
    assert_int_equal(n[1], 100);
    assert_int_equal(n[2], 400);
    assert_int_equal(n[3], 100);
    heavy.weight = 17;
    assert_int_equal(gb_pool_edit_locked(f->pool, 2, 1, &heavy, &f->clock), APR_EINVAL);
}

static void a_tried_key_is_passed_over(void **state)
{
    fixture_t *f = *state;
    apr_uint32_t tried[2] = {1, 2};
    gb_pool_want_t want = {.model = PRO, .n_exclude = 2, .exclude = tried};

    fixture_keys(f, "default", 3);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(f->got.slot, 3);
}

static void when_all_were_tried_that_is_told(void **state)
{
    fixture_t *f = *state;
    apr_uint32_t tried = 1;
    gb_pool_want_t want = {.model = PRO, .n_exclude = 1, .exclude = &tried};

    fixture_keys(f, "default", 1);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_TRIED);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(7));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
}

static void a_retry_prefers_another_project(void **state)
{
    fixture_t *f = *state;
    apr_uint32_t tried = 1;
    gb_pool_want_t want = {.model = PRO, .n_exclude = 1, .exclude = &tried};
    gb_pool_key_t spec;
    int i;

    for (i = 1; i <= 4; i++) {
        fixture_spec(&spec, "default", i);
        strcpy(spec.project, i < 4 ? "one" : "two");
        fixture_add(f, &spec);
    }
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(f->got.slot, 4);
}

static void pools_do_not_mix(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {.pool = "other", .model = PRO};
    gb_pool_key_t spec;

    fixture_keys(f, "default", 2);
    fixture_spec(&spec, "other", 3);
    fixture_add(f, &spec);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(f->got.slot, 3);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    want.pool = "nobody's";
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_UNKNOWN);
}

static void a_tag_can_be_required(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {.model = PRO, .tag = "paid"};
    gb_pool_key_t spec;
    int i;

    fixture_keys(f, "default", 3);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_NO_TAG);
    fixture_spec(&spec, "default", 4);
    strcpy(spec.tags, "eu, paid");
    fixture_add(f, &spec);
    for (i = 0; i < 3; i++) {
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        assert_int_equal(f->got.slot, 4);
    }
    assert_string_equal(fixture_key(f, 4).tags, "eu,paid");
}

static void who_wants_a_tag_waits_for_those_that_carry_it(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {.model = PRO, .tag = "paid"};
    gb_pool_key_t spec;

    fixture_keys(f, "default", 1);
    fixture_spec(&spec, "default", 2);
    strcpy(spec.tags, "paid");
    fixture_add(f, &spec);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(5));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(50));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(50));
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(5));
}

static void a_reserved_key_serves_only_who_names_it(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {.model = "imagen-4.0-generate-001"};
    gb_pool_key_t spec;
    int i;

    fixture_keys(f, "default", 2);
    fixture_spec(&spec, "default", 3);
    spec.reserved = 1;
    fixture_add(f, &spec);
    for (i = 0; i < 6; i++) {
        assert_int_not_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 3);
    }
    want.only = spec.digest;
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(f->got.slot, 3);
    fixture_quota(f, want.model, GB_SPAN_MINUTE, SEC(20));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(20));
}

static void least_used_looks_at_calls_under_way(void **state)
{
    fixture_t *f = *state;
    gb_pool_got_t first;

    f->rules.policy = GB_POLICY_LEAST_USED;
    fixture_keys(f, "default", 3);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    first = f->got;
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 3);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2); /* key 1 is still busy */
    f->got = first;
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(fixture_pick_ok(f, PRO), 3);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
}

static void headroom_prefers_the_most_room(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {
        .model = PRO, .limits = {10, 0, 0}
    };
    int n[4] = {0}, i;

    f->rules.policy = GB_POLICY_HEADROOM;
    fixture_keys(f, "default", 3);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    for (i = 0; i < 5; i++) { /* key 1 has used 5 of its 10 elsewhere */
        apr_uint32_t others[2] = {2, 3};
        gb_pool_want_t one = {
            .model = PRO, .n_exclude = 2, .exclude = others, .limits = {10, 0, 0}
        };

        assert_int_equal(fixture_pick_want(f, &one), GB_POOL_OK);
    }
    for (i = 0; i < 8; i++) {
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        n[f->got.slot]++;
    }
    assert_int_equal(n[1], 0);
    assert_int_equal(n[2], 4);
    assert_int_equal(n[3], 4);
}

static void sticky_keeps_a_conversation_on_its_key(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {.model = PRO};
    apr_uint32_t home, away;
    int used[33] = {0}, n = 0, i;

    f->rules.policy = GB_POLICY_STICKY;
    fixture_keys(f, "default", 32);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    for (i = 1; i <= 200; i++) {
        want.affinity = (apr_uint64_t)i;
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        home = f->got.slot;
        fixture_report(f, PRO, GB_OUT_SUCCESS);
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        assert_int_equal(f->got.slot, home);
        used[home]++;
    }
    for (i = 1; i <= 32; i++) {
        n += used[i] > 0;
    }
    assert_true(n >= 28); /* spread over the pool */
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(30));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    away = f->got.slot;
    assert_int_not_equal(away, home);
    fixture_wait(f, SEC(31));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(f->got.slot, home);
}

static void a_cap_makes_callers_wait(void **state)
{
    fixture_t *f = *state;
    gb_pool_got_t first;

    f->rules.max_concurrent = 2;
    fixture_keys(f, "default", 2);
    fixture_pick_ok(f, PRO);
    first = f->got;
    fixture_pick_ok(f, PRO);
    fixture_pick_ok(f, PRO);
    fixture_pick_ok(f, PRO);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_BUSY);
    f->got = first;
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_BUSY);
    f->rules.max_concurrent = 0; /* the setting is changed while calls are under way */
    fixture_pick_ok(f, PRO);
}

/* ---- quotas ---- */

static void a_quota_cools_one_model_of_one_key(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 2);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(34));
    assert_true(fixture_told(f, GB_EVENT_COOLS));
    for (i = 0; i < 4; i++) {
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    }
    assert_int_equal(fixture_call(f, FLASH, GB_OUT_SUCCESS), 2);
    assert_int_equal(fixture_call(f, FLASH, GB_OUT_SUCCESS), 1);
    fixture_wait(f, SEC(33));
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    fixture_wait(f, SEC(1));
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 1);
    assert_int_equal(fixture_key(f, 1).failures, 0);
}

/* Keys 1 and 2 of one project, 3 alone. */
static void share_a_project(fixture_t *f)
{
    gb_pool_key_t spec;
    int i;

    for (i = 1; i <= 3; i++) {
        fixture_spec(&spec, "default", i);
        strcpy(spec.project, i < 3 ? "shared" : "");
        fixture_add(f, &spec);
    }
}

static void keys_of_a_project_cool_together(void **state)
{
    fixture_t *f = *state;
    int i;

    share_a_project(f);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, -1);
    for (i = 0; i < 3; i++) {
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 3);
    }
    fixture_wait(f, SEC(60)); /* none told: 60 s */
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 1);
}

static void what_is_ambiguous_rests_one_key(void **state)
{
    fixture_t *f = *state;

    share_a_project(f);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
    assert_true(fixture_told(f, GB_EVENT_COOLS));
    fixture_sound(f);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 3);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    assert_int_equal(fixture_key(f, 1).resting, 1);
    assert_int_equal(fixture_key(f, 2).resting, 0);
    while (fixture_call(f, FLASH, GB_OUT_SUCCESS) != 1) { /* other models are in turn */
    }
    fixture_wait(f, SEC(31));
    while (fixture_call(f, PRO, GB_OUT_SUCCESS) != 1) {
    }
}

static void a_key_and_its_project_rest_each_for_itself(void **state)
{
    fixture_t *f = *state;
    int i;

    share_a_project(f);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1); /* key 1: 30 s */
    assert_int_equal(fixture_pick_ok(f, PRO), 2);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(10)); /* both: 10 s */
    fixture_sound(f);
    assert_int_equal(fixture_key(f, 1).resting, 2);
    fixture_wait(f, SEC(11)); /* the project's end leaves the key's */
    for (i = 0; i < 4; i++) {
        assert_int_not_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 1);
    }
    fixture_sound(f);
    fixture_wait(f, SEC(20));
    while (fixture_call(f, PRO, GB_OUT_SUCCESS) != 1) {
    }
    fixture_sound(f);
}

static void a_key_that_moves_forgets_its_own_rests(void **state)
{
    fixture_t *f = *state;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;

    share_a_project(f);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
    edit.project = "elsewhere";
    assert_int_equal(gb_pool_edit_locked(f->pool, 1, 1, &edit, &f->clock), APR_SUCCESS);
    fixture_sound(f);
    assert_int_equal(fixture_key(f, 1).resting, 0);
    edit.project = "shared";
    assert_int_equal(gb_pool_edit_locked(f->pool, 3, 1, &edit, &f->clock), APR_SUCCESS);
    assert_int_equal(fixture_pick_ok(f, PRO), 2);
    fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
    assert_int_equal(gb_pool_remove_locked(f->pool, 2, 1), APR_SUCCESS);
    fixture_sound(f);
    assert_int_equal(fixture_pick_ok(f, PRO), 3);
}

typedef struct day_case_t {
    const char *name;
    apr_time_t wall;
    apr_interval_time_t delay, rests;
} day_case_t;

/* MAPPING 10.3: a delay of seconds beside a day's quota is a lie, one of hours is not. */
static const day_case_t day_cases[] = {
    {"short delay: until midnight Pacific", NOON,            SEC(39),    HOURS(20) + SEC(60)   },
    {"no delay: until midnight Pacific",    NOON,            -1,         HOURS(20) + SEC(60)   },
    {"ten minutes are still a lie",         NOON,            SEC(600),   HOURS(20) + SEC(60)   },
    {"6776 s are believed",                 NOON,            SEC(6776),  SEC(6776 + 60)        },
    {"19h34m29s are believed",              NOON,            SEC(70469), SEC(70469 + 60)       },
    {"never more than a day",               NOON,            HOURS(30),  HOURS(24)             },
 /* 2026-11-01 00:30 PDT: clocks go back at two, so that day has 25 hours. */
    {"the long day",                        SEC(1793518200), SEC(20),    SEC(84600 + 3600 + 60)},
 /* 2026-03-08 00:30 PST: clocks go forward, 23 hours. */
    {"the short day",                       SEC(1772958600), SEC(20),    SEC(84600 - 3600 + 60)},
};

static void a_day_ends_at_midnight_pacific(void **state)
{
    fixture_t *f = *state;
    size_t i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < sizeof(day_cases) / sizeof(day_cases[0]); i++) {
        const day_case_t *c = &day_cases[i];

        gb_pool_reset_locked(f->pool, 1, 1, &f->clock);
        f->clock.wall = c->wall;
        fixture_pick_ok(f, PRO);
        fixture_quota(f, PRO, GB_SPAN_DAY, c->delay);
        if (fixture_pick(f, PRO) != GB_POOL_RESTING || f->census.wait != c->rests) {
            fail_msg("%s: rests %ld s, not %ld s", c->name, (long)apr_time_sec(f->census.wait),
                     (long)apr_time_sec(c->rests));
        }
    }
}

static void a_day_is_followed_by_one_trial(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_DAY, -1);
    fixture_wait(f, HOURS(21));
    fixture_pick_ok(f, PRO);
    assert_true(f->got.half_open);
    {
        gb_pool_got_t trial = f->got;

        assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING); /* no stampede */
        assert_true(f->census.wait <= SEC(5));
        f->got = trial;
    }
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    fixture_pick_ok(f, PRO);
    assert_false(f->got.half_open);
    fixture_pick_ok(f, PRO);
}

static void a_trial_that_fails_rests_again(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_DAY, SEC(6776));
    fixture_wait(f, SEC(7000));
    fixture_pick_ok(f, PRO);
    assert_true(f->got.half_open);
    fixture_quota(f, PRO, GB_SPAN_DAY, SEC(3600));
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(3660));
}

static void a_trial_cut_short_is_tried_again(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_DAY, SEC(6776));
    fixture_wait(f, SEC(7000));
    fixture_pick_ok(f, PRO);
    fixture_report(f, PRO, GB_OUT_NOTHING); /* the client left */
    fixture_pick_ok(f, PRO);
    assert_true(f->got.half_open);
    fixture_wait(f, SEC(121)); /* and one that is never reported gives it up */
    fixture_pick_ok(f, PRO);
    assert_true(f->got.half_open);
}

static void ambiguous_rests_grow_and_success_ends_that(void **state)
{
    static const int expected[] = {30, 60, 120, 240, 480, 600, 600};
    fixture_t *f = *state;
    size_t i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        fixture_pick_ok(f, PRO);
        fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
        assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
        assert_int_equal(apr_time_sec(f->census.wait), expected[i]);
        fixture_wait(f, f->census.wait);
    }
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(apr_time_sec(f->census.wait), 30);
}

static void refused_together_is_one_strike(void **state)
{
    fixture_t *f = *state;
    gb_pool_got_t got[5];
    int i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < 5; i++) {
        fixture_pick_ok(f, PRO);
        got[i] = f->got;
    }
    for (i = 0; i < 5; i++) {
        f->got = got[i];
        fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
    }
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(apr_time_sec(f->census.wait), 30);
}

static void a_late_success_does_not_end_a_rest(void **state)
{
    fixture_t *f = *state;
    gb_pool_got_t early;

    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    early = f->got;
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(50));
    f->got = early;
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(50));
}

static void other_spans_rest_as_told(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_UNAVAILABLE, SEC(5)); /* limit 0 */
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, HOURS(24));
    fixture_call(f, FLASH, GB_OUT_SUCCESS);

    fixture_pick_ok(f, FLASH);
    fixture_quota(f, FLASH, GB_SPAN_MINUTE, 0); /* never less than a second */
    assert_int_equal(fixture_pick(f, FLASH), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(1));
    fixture_wait(f, SEC(2));

    fixture_pick_ok(f, FLASH); /* monthly spending cap: all models of the project */
    fixture_quota(f, FLASH, GB_SPAN_MONTH, -1);
    assert_int_equal(fixture_pick(f, "gemini-3-flash"), GB_POOL_RESTING);
    /* from 2026-11-20 12:00:02 to 2026-12-01 08:00 UTC */
    assert_int_equal(apr_time_sec(f->census.wait), 10 * 86400 + 20 * 3600 - 2 + 60);
}

/* Months begin and end in California, by summer time and by standard time. */
static void a_month_ends_in_california(void **state)
{
    static const struct {
        apr_time_t at, ends;
    } cases[] = {
        {SEC(1780298999), SEC(1780297200 + 30 * 86400)}, /* June 1, 00:29:59 */
        {SEC(1780297199), SEC(1780297200)             }, /* May 31, 23:59:59 */
        {SEC(1796110199), SEC(1796112000)             }, /* November 30, 23:29:59 */
        {SEC(1796112001), SEC(1796112000 + 31 * 86400)}, /* December 1 */
        {SEC(1793600000), SEC(1796112000)             }, /* November 1, before the change */
    };
    fixture_t *f = *state;
    size_t i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f->clock.wall = cases[i].at;
        fixture_pick_ok(f, FLASH);
        fixture_quota(f, FLASH, GB_SPAN_MONTH, -1);
        assert_int_equal(fixture_pick(f, FLASH), GB_POOL_RESTING);
        assert_int_equal(apr_time_sec(f->census.wait),
                         apr_time_sec(cases[i].ends - cases[i].at) + 60);
        assert_int_equal(gb_pool_reset_locked(f->pool, 1, 1, &f->clock), APR_SUCCESS);
    }
}

static void a_region_rests_the_project_and_a_model_is_not_offered(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_call(f, PRO, GB_OUT_REGION);
    assert_int_equal(fixture_pick(f, FLASH), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(600));
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
    fixture_wait(f, SEC(600));
    fixture_call(f, FLASH, GB_OUT_SUCCESS);
    fixture_call(f, PRO, GB_OUT_MODEL_ACCESS);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, HOURS(24));
    fixture_call(f, FLASH, GB_OUT_SUCCESS);
}

static void a_list_out_of_quota_rests_no_model(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    fixture_pick_ok(f, "");
    fixture_quota(f, "", GB_SPAN_MINUTE, SEC(30));
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    fixture_call(f, "", GB_OUT_SUCCESS);
}

static void both_names_of_a_model_cool(void **state)
{
    fixture_t *f = *state;
    gb_pool_outcome_t out = {.kind = GB_OUT_QUOTA,
                             .span = GB_SPAN_MINUTE,
                             .delay = SEC(40),
                             .n_quotas = 1,
                             .prompt_tokens = -1,
                             .total_tokens = -1};

    out.quotas[0].model = "gemini-3.5-flash";
    out.quotas[0].span = GB_SPAN_MINUTE;
    out.quotas[0].value = 10;
    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, "gemini-flash-latest");
    fixture_report_out(f, "gemini-flash-latest", &out);
    assert_int_equal(fixture_pick(f, "gemini-flash-latest"), GB_POOL_RESTING);
    assert_int_equal(fixture_pick(f, "gemini-3.5-flash"), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(40));
    fixture_pick_ok(f, "gemini-3-pro");
}

static void names_that_google_never_confirmed_leave_no_trace(void **state)
{
    fixture_t *f = *state;
    gb_pool_cell_t cell;
    apr_uint32_t at = 1;
    char name[32];
    int i;

    fixture_keys(f, "default", 3);
    for (i = 0; i < 1000; i++) {
        apr_snprintf(name, sizeof(name), "made-up-%d", i);
        fixture_call(f, name, GB_OUT_NOTHING); /* 404 */
    }
    assert_int_equal(gb_pool_cells_locked(f->pool, &at, &cell, 1, &f->clock), 0);
    for (i = 0; i < 1000; i++) { /* and many real ones make room for each other */
        apr_snprintf(name, sizeof(name), "real-%d", i);
        fixture_call(f, name, GB_OUT_SUCCESS);
    }
    fixture_sound(f);
}

/* ---- limits ---- */

static void limits_by_hand_are_kept(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {
        .model = PRO, .limits = {3, 0, 0}
    };
    int i;

    fixture_keys(f, "default", 2);
    fixture_call(f, PRO, GB_OUT_SUCCESS); /* key 1; the model is known now */
    fixture_wait(f, SEC(70));
    for (i = 0; i < 6; i++) {
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        fixture_report(f, PRO, GB_OUT_SUCCESS);
    }
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
    assert_true(f->census.wait > SEC(58) && f->census.wait <= SEC(62));
    fixture_wait(f, f->census.wait);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_false(f->got.half_open);
}

/* A person who raises a limit need not wait for the end of the rest that the old one caused. */
static void limits_by_hand_may_change(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {
        .model = PRO, .limits = {0, 0, 2}
    };
    int i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < 2; i++) {
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        fixture_report(f, PRO, GB_OUT_SUCCESS);
    }
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
    want.limits[GB_LIMIT_RPD] = 3;
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
    want.limits[GB_LIMIT_RPD] = 0;
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
}

static void limits_by_hand_hold_from_the_first_call(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {
        .model = PRO, .limits = {2, 0, 0}
    };

    fixture_keys(f, "default", 1);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
}

static void report_limit(fixture_t *f, gb_pool_span_t span, apr_int64_t value)
{
    gb_pool_outcome_t out = {.kind = GB_OUT_QUOTA,
                             .span = span,
                             .delay = SEC(5),
                             .n_quotas = 1,
                             .prompt_tokens = -1,
                             .total_tokens = -1};

    out.quotas[0].model = PRO;
    out.quotas[0].span = span;
    out.quotas[0].value = value;
    fixture_report_out(f, PRO, &out);
}

static void a_told_limit_holds_when_our_count_agrees(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < 10; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
    fixture_pick_ok(f, PRO);
    report_limit(f, GB_SPAN_MINUTE, 10);
    assert_true(fixture_told(f, GB_EVENT_LIMIT));
    fixture_wait(f, SEC(100));
    for (i = 0; i < 10; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING); /* without asking Google */
    assert_int_equal(fixture_key(f, 1).quotas, 1);
}

static void a_told_limit_that_others_use_is_not_enforced(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 1);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    fixture_pick_ok(f, PRO);
    report_limit(f, GB_SPAN_MINUTE, 10); /* after 2 of ours */
    assert_false(fixture_told(f, GB_EVENT_LIMIT));
    fixture_wait(f, SEC(100));
    for (i = 0; i < 20; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
}

static void a_learnt_limit_is_forgotten_after_a_day(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < 10; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
    fixture_pick_ok(f, PRO);
    report_limit(f, GB_SPAN_MINUTE, 10);
    fixture_wait(f, HOURS(26));
    for (i = 0; i < 20; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
}

static void a_prompt_that_can_never_fit_is_told_so(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {
        .model = PRO, .limits = {0, 1000, 0},
             .tokens = 1500
    };

    fixture_keys(f, "default", 2);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_TOO_LARGE);
    want.tokens = 900;
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING); /* both minutes are used */
    want.tokens = 50;
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
}

/* Among many whose minutes are nearly used. */
static void a_long_prompt_finds_the_one_key_with_room(void **state)
{
    static const gb_pool_policy_t policies[] = {GB_POLICY_ROUND_ROBIN, GB_POLICY_HEADROOM};
    fixture_t *f = *state;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    gb_pool_want_t want = {
        .model = PRO, .limits = {0, 1000, 0},
             .tokens = 600
    };
    int i, k;

    fixture_keys(f, "default", 200);
    for (k = 0; k < 2; k++) {
        f->rules.policy = policies[k];
        fixture_wait(f, SEC(120));
        edit.enabled = 0;
        assert_int_equal(gb_pool_edit_locked(f->pool, 150, 1, &edit, &f->clock), APR_SUCCESS);
        for (i = 0; i < 199; i++) {
            assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        }
        edit.enabled = 1;
        assert_int_equal(gb_pool_edit_locked(f->pool, 150, 1, &edit, &f->clock), APR_SUCCESS);
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_OK);
        assert_int_equal(f->got.slot, 150);
        assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
    }
}

/* ---- what a key dies of, and what not ---- */

static void clients_never_touch_a_key(void **state)
{
    fixture_t *f = *state;
    static const gb_pool_kind_t kinds[] = {GB_OUT_NOTHING, GB_OUT_ANSWERED};
    int i;

    fixture_keys(f, "default", 10);
    for (i = 0; i < 1000; i++) {
        fixture_call(f, PRO, kinds[i % 2]);
        assert_int_equal(f->events.n, 0);
    }
    for (i = 1; i <= 10; i++) {
        gb_pool_key_t key = fixture_key(f, (apr_uint32_t)i);

        assert_int_equal(key.state, GB_KEY_ACTIVE);
        assert_int_equal(key.failures, 0);
        assert_int_equal(key.neutral, 100);
        assert_int_equal(key.resting, 0);
    }
}

static void a_dead_key_leaves_at_once(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 3);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_KEY), 1);
    assert_true(fixture_told(f, GB_EVENT_INVALID));
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_INVALID);
    assert_string_equal(fixture_key(f, 1).row, "row");
    assert_string_equal(fixture_key(f, 1).text, "Google's words");
    for (i = 0; i < 6; i++) {
        assert_int_not_equal(fixture_call(f, FLASH, GB_OUT_SUCCESS), 1);
    }
}

static void a_dead_project_takes_its_keys_along(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t spec;
    int i;

    for (i = 1; i <= 8; i++) {
        fixture_spec(&spec, "default", i);
        strcpy(spec.project, i <= 2 ? "suspended" : "");
        fixture_add(f, &spec);
    }
    assert_int_equal(fixture_call(f, PRO, GB_OUT_PROJECT), 1);
    assert_int_equal(f->events.items[0].n, 2);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_INVALID);
    assert_int_equal(fixture_key(f, 2).state, GB_KEY_INVALID);
    assert_int_equal(fixture_key(f, 3).state, GB_KEY_ACTIVE);
}

static void keys_that_name_one_project_are_grouped(void **state)
{
    fixture_t *f = *state;
    gb_pool_outcome_t out = {.kind = GB_OUT_QUOTA,
                             .span = GB_SPAN_MINUTE,
                             .delay = SEC(30),
                             .project = "h:1234",
                             .prompt_tokens = -1,
                             .total_tokens = -1};

    fixture_keys(f, "default", 3);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_report_out(f, PRO, &out);
    assert_int_equal(fixture_pick_ok(f, FLASH), 2);
    fixture_report_out(f, FLASH, &out);
    assert_true(fixture_told(f, GB_EVENT_GROUPED));
    assert_int_equal(fixture_key(f, 1).project_slot, fixture_key(f, 2).project_slot);
    assert_string_equal(fixture_key(f, 2).project, "h:1234");
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 3); /* 2 rests for pro as 1 does */
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 3);
    assert_int_equal(fixture_call(f, FLASH, GB_OUT_SUCCESS), 3);
}

/* ---- service faults ---- */

static void a_fault_counts_once_another_key_succeeds(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 4);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SERVICE), 1);
    assert_int_equal(fixture_key(f, 1).failures, 0);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    assert_int_equal(fixture_key(f, 1).failures, 1);
    for (i = 0; i < 2; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
        fixture_call(f, PRO, GB_OUT_SUCCESS);
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SERVICE), 1);
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    }
    assert_true(fixture_told(f, GB_EVENT_FAILED));
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_FAILED);
    for (i = 0; i < 8; i++) {
        assert_int_not_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 1);
    }
}

static void a_success_of_its_own_clears_a_key(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 2);
    for (i = 0; i < 5; i++) {
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SERVICE), 1);
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 1);
        assert_int_equal(fixture_key(f, 1).failures, 0);
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    }
}

static void an_old_fault_is_not_blamed(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 2);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SERVICE), 1);
    fixture_wait(f, SEC(61));
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 2);
    assert_int_equal(fixture_key(f, 1).failures, 0);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_SERVICE), 1); /* nor for another model's success */
    fixture_call(f, FLASH, GB_OUT_SUCCESS);
    fixture_call(f, FLASH, GB_OUT_SUCCESS);
    assert_int_equal(fixture_key(f, 1).failures, 0);
}

static void key_one_fails(fixture_t *f)
{
    int i;

    fixture_keys(f, "default", 4);
    for (i = 0; i < 3; i++) {
        assert_int_equal(fixture_call(f, PRO, GB_OUT_SERVICE), 1);
        fixture_call(f, PRO, GB_OUT_SUCCESS);
        fixture_call(f, PRO, GB_OUT_SUCCESS);
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_FAILED);
}

static apr_uint32_t pick_of_four(fixture_t *f, apr_uint32_t wanted)
{
    int i;

    for (i = 0; i < 5; i++) {
        if (fixture_pick_ok(f, PRO) == wanted) {
            return wanted;
        }
        fixture_report(f, PRO, GB_OUT_SUCCESS);
    }
    return 0;
}

static void a_failed_key_is_tried_with_one_real_call(void **state)
{
    fixture_t *f = *state;
    gb_pool_got_t trial;
    int i;

    key_one_fails(f);
    fixture_wait(f, SEC(59));
    assert_int_equal(pick_of_four(f, 1), 0);
    fixture_wait(f, SEC(1));
    assert_int_equal(pick_of_four(f, 1), 1);
    assert_true(f->got.half_open);
    trial = f->got;
    for (i = 0; i < 6; i++) {
        assert_int_not_equal(fixture_call(f, PRO, GB_OUT_SUCCESS), 1);
    }
    f->got = trial;
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    assert_true(fixture_told(f, GB_EVENT_RECOVERED));
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
    assert_int_equal(fixture_key(f, 1).failures, 0);
}

static void a_failed_trial_waits_twice_as_long(void **state)
{
    static const int pauses[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    fixture_t *f = *state;
    size_t i;

    key_one_fails(f);
    for (i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        fixture_wait(f, SEC(pauses[i] - 1));
        assert_int_equal(pick_of_four(f, 1), 0);
        fixture_wait(f, SEC(1));
        assert_int_equal(pick_of_four(f, 1), 1);
        fixture_report(f, PRO, GB_OUT_SERVICE);
        assert_int_equal(fixture_key(f, 1).state, GB_KEY_FAILED);
    }
}

static void a_trial_that_is_refused_fails_again(void **state)
{
    fixture_t *f = *state;

    key_one_fails(f);
    fixture_wait(f, SEC(60));
    assert_int_equal(pick_of_four(f, 1), 1);
    fixture_report(f, PRO, GB_OUT_UNKNOWN_AUTH);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_FAILED);
    fixture_wait(f, SEC(120));
    assert_int_equal(pick_of_four(f, 1), 1);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(9)); /* whoever is counted is known */
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
    assert_int_equal(fixture_key(f, 1).resting, 1);
}

/* ---- breaker ---- */

static void a_model_that_is_down_costs_no_key(void **state)
{
    fixture_t *f = *state;
    static const int opens[] = {5, 10, 20, 40, 60, 60};
    size_t k;
    int i;

    fixture_keys(f, "default", 10);
    for (i = 0; i < 3; i++) {
        fixture_call(f, PRO, GB_OUT_SERVICE);
    }
    assert_true(fixture_told(f, GB_EVENT_BREAKER_OPEN));
    for (k = 0; k < sizeof(opens) / sizeof(opens[0]); k++) {
        assert_int_equal(fixture_pick(f, PRO), GB_POOL_BROKEN);
        assert_int_equal(f->census.wait, SEC(opens[k]));
        fixture_call(f, FLASH, GB_OUT_SUCCESS); /* other models serve */
        fixture_wait(f, SEC(opens[k]));
        fixture_pick_ok(f, PRO); /* one probe */
        {
            gb_pool_got_t probe = f->got;

            assert_int_equal(fixture_pick(f, PRO), GB_POOL_BROKEN);
            f->got = probe;
        }
        fixture_report(f, PRO, k % 2 ? GB_OUT_OVERLOADED : GB_OUT_SERVICE);
    }
    fixture_wait(f, SEC(60));
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    assert_true(fixture_told(f, GB_EVENT_BREAKER_CLOSED));
    for (i = 1; i <= 10; i++) {
        assert_int_equal(fixture_key(f, (apr_uint32_t)i).state, GB_KEY_ACTIVE);
        assert_int_equal(fixture_key(f, (apr_uint32_t)i).failures, 0);
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
}

static void models_that_are_down_can_be_named(void **state)
{
    fixture_t *f = *state;
    gb_pool_broken_t broken[4];
    int i;

    fixture_keys(f, "default", 10);
    assert_int_equal(gb_pool_broken_locked(f->pool, "default", broken, 4, &f->clock), 0);
    for (i = 0; i < 3; i++) {
        fixture_call(f, PRO, GB_OUT_SERVICE);
    }
    assert_int_equal(gb_pool_broken_locked(f->pool, "default", broken, 4, &f->clock), 1);
    assert_string_equal(broken[0].model, PRO);
    assert_int_equal(broken[0].wait, SEC(5));
    assert_int_equal(gb_pool_broken_locked(f->pool, "default", broken, 0, &f->clock), 0);
    assert_int_equal(gb_pool_broken_locked(f->pool, "nobody's", broken, 4, &f->clock), 0);
    fixture_wait(f, SEC(6)); /* still down until a probe says otherwise */
    assert_int_equal(gb_pool_broken_locked(f->pool, "default", broken, 4, &f->clock), 1);
    assert_int_equal(broken[0].wait, 0);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(gb_pool_broken_locked(f->pool, "default", broken, 4, &f->clock), 0);
}

static void one_project_never_opens_the_breaker(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < 20; i++) {
        fixture_call(f, PRO, GB_OUT_SERVICE);
    }
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
}

/* The proxy may be down: others that do not take it go on. */
static void a_proxy_that_fails_never_opens_the_breaker(void **state)
{
    gb_pool_outcome_t out = {.kind = GB_OUT_SERVICE,
                             .delay = -1,
                             .by_proxy = 1,
                             .prompt_tokens = -1,
                             .total_tokens = -1};
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 10);
    for (i = 0; i < 20; i++) {
        fixture_pick_ok(f, PRO);
        fixture_report_out(f, PRO, &out);
    }
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
}

static void a_success_between_keeps_the_breaker_closed(void **state)
{
    fixture_t *f = *state;
    int i;

    fixture_keys(f, "default", 8);
    for (i = 0; i < 10; i++) {
        fixture_call(f, PRO, GB_OUT_OVERLOADED);
        fixture_call(f, PRO, GB_OUT_OVERLOADED);
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
    fixture_call(f, PRO, GB_OUT_OVERLOADED);
    fixture_wait(f, SEC(31)); /* and so do 30 seconds */
    fixture_call(f, PRO, GB_OUT_OVERLOADED);
    fixture_call(f, PRO, GB_OUT_OVERLOADED);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
}

/* ---- the guard ---- */

static void the_guard_keeps_half_of_the_keys(void **state)
{
    fixture_t *f = *state;
    int i, dead = 0, told = 0;

    fixture_keys(f, "default", 10);
    for (i = 0; i < 40; i++) {
        fixture_call(f, PRO, GB_OUT_KEY);
        told += fixture_told(f, GB_EVENT_GUARD);
    }
    assert_int_equal(told, 1);
    for (i = 1; i <= 10; i++) {
        dead += fixture_key(f, (apr_uint32_t)i).state == GB_KEY_INVALID;
    }
    assert_int_equal(dead, 5);
}

static void small_pools_may_lose_two_keys(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 2);
    fixture_call(f, PRO, GB_OUT_KEY);
    fixture_call(f, PRO, GB_OUT_KEY);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_DEAD);
    assert_int_equal(f->census.invalid, 2);
}

/* ---- unknown 401 and 403 ---- */

static void check(fixture_t *f, apr_uint32_t slot, gb_pool_kind_t kind)
{
    gb_pool_outcome_t out = {
        .kind = kind, .delay = -1, .row = "check", .prompt_tokens = -1, .total_tokens = -1};

    f->events.n = 0;
    gb_pool_checked_locked(f->pool, slot, fixture_key(f, slot).generation, FLASH, &out, &f->rules,
                           &f->clock, &f->events);
}

static void an_unknown_403_everywhere_costs_no_key(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t due[16];
    int i, n;

    fixture_keys(f, "default", 10);
    for (i = 0; i < 10; i++) {
        fixture_call(f, PRO, GB_OUT_UNKNOWN_AUTH);
        assert_true(fixture_told(f, GB_EVENT_CHECK));
    }
    n = gb_pool_due_locked(f->pool, "default", due, 16, HOURS(1), &f->clock);
    assert_int_equal(n, 10);
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 16, HOURS(1), &f->clock), 0);
    for (i = 0; i < n; i++) {
        check(f, due[i].slot, GB_OUT_UNKNOWN_AUTH);
    }
    for (i = 1; i <= 10; i++) {
        assert_int_equal(fixture_key(f, (apr_uint32_t)i).state, GB_KEY_ACTIVE);
    }
}

static void an_unknown_403_of_one_key_is_found_by_a_check(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t due[4];

    fixture_keys(f, "default", 4);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_UNKNOWN_AUTH), 1);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock), 1);
    assert_int_equal(due[0].slot, 1);
    check(f, 1, GB_OUT_UNKNOWN_AUTH);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_FAILED);
}

/* ---- recovery ---- */

static void failed_keys_are_checked_every_interval(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t due[4];

    key_one_fails(f);
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock), 0);
    fixture_wait(f, HOURS(1));
    gb_pool_tick_locked(f->pool, &f->clock); /* on trial, but no call came */
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_TRIAL);
    fixture_wait(f, HOURS(1));
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, 0, &f->clock), 0);
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock), 1);
    check(f, 1, GB_OUT_SUCCESS);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
}

static void invalid_keys_are_asked_daily_then_left(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t due[4];
    int day, asked = 0;

    fixture_keys(f, "default", 3);
    fixture_call(f, PRO, GB_OUT_KEY);
    fixture_wait(f, HOURS(23));
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock), 0);
    for (day = 0; day < 20; day++) {
        fixture_wait(f, HOURS(24));
        if (gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock)) {
            gb_pool_outcome_t out = {.kind = GB_OUT_KEY, .revocable = 1};

            gb_pool_checked_locked(f->pool, due[0].slot, due[0].generation, FLASH, &out, &f->rules,
                                   &f->clock, NULL);
            asked++;
        }
    }
    assert_int_equal(asked, 3);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_INVALID);
}

static void a_key_that_may_not_come_back_is_never_asked(void **state)
{
    fixture_t *f = *state;
    gb_pool_outcome_t leaked = {.kind = GB_OUT_KEY, .revocable = 0};
    gb_pool_key_t due[4];

    fixture_keys(f, "default", 2);
    fixture_pick_ok(f, PRO);
    fixture_report_out(f, PRO, &leaked);
    fixture_wait(f, HOURS(240));
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock), 0);
}

static void an_unpaid_account_is_asked_hourly(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t due[4];

    fixture_keys(f, "default", 2);
    fixture_call(f, PRO, GB_OUT_ACCOUNT);
    fixture_wait(f, HOURS(1));
    assert_int_equal(gb_pool_due_locked(f->pool, "default", due, 4, HOURS(1), &f->clock), 1);
    check(f, due[0].slot, GB_OUT_QUOTA); /* whoever is counted is known */
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
}

/* ---- exhaustion ---- */

static void exhaustion_tells_when_and_why(void **state)
{
    fixture_t *f = *state;
    gb_pool_edit_t off = GB_POOL_EDIT_NONE;
    apr_uint32_t slot;
    int i;

    fixture_keys(f, "default", 10);
    fixture_call(f, PRO, GB_OUT_KEY);
    off.enabled = 0;
    gb_pool_edit_locked(f->pool, 2, 1, &off, &f->clock);
    for (i = 3; i <= 10; i++) {
        slot = fixture_pick_ok(f, PRO);
        fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(20 + (int)slot));
    }
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(23));
    assert_int_equal(f->census.total, 10);
    assert_int_equal(f->census.resting, 8);
    assert_int_equal(f->census.invalid, 1);
    assert_int_equal(f->census.off, 1);
    fixture_call(f, FLASH, GB_OUT_SUCCESS); /* flash at full speed */
    fixture_wait(f, SEC(22));
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_RESTING);
    assert_int_equal(f->census.wait, SEC(1)); /* and it comes true */
    fixture_wait(f, SEC(1));
    assert_int_equal(fixture_pick_ok(f, PRO), 3);
}

static void an_empty_pool_says_so(void **state)
{
    fixture_t *f = *state;

    assert_int_equal(fixture_pick(f, PRO), GB_POOL_UNKNOWN);
    assert_true(gb_pool_open_locked(f->pool, "default") > 0);
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_EMPTY);
}

static void tags_come_and_go_beside_others(void **state)
{
    fixture_t *f = *state;
    static const struct {
        const char *set, *add, *remove, *then;
    } steps[] = {
        {"a,b", NULL,  NULL,     "a,b"  },
        {NULL,  "c,a", NULL,     "a,b,c"},
        {NULL,  NULL,  "b",      "a,c"  },
        {NULL,  NULL,  "nobody", "a,c"  },
        {"d",   "e",   "d",      "e"    },
        {"",    NULL,  NULL,     ""     },
    };
    size_t i;

    fixture_keys(f, "default", 1);
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        gb_pool_edit_t edit = GB_POOL_EDIT_NONE;

        edit.tags = steps[i].set;
        edit.tags_add = steps[i].add;
        edit.tags_remove = steps[i].remove;
        assert_int_equal(gb_pool_edit_locked(f->pool, 1, 1, &edit, &f->clock), APR_SUCCESS);
        assert_string_equal(fixture_key(f, 1).tags, steps[i].then);
    }
}

static void an_edit_is_done_wholly_or_not_at_all(void **state)
{
    fixture_t *f = *state;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    gb_pool_key_t spec;
    char tag[8];
    int i;

    fixture_keys(f, "default", 2);
    edit.note = "changed";
    for (i = 0; i < 7; i++) {
        edit.tags_add = apr_psprintf(f->p, "%d-twenty-characters", i);
        assert_int_equal(gb_pool_edit_locked(f->pool, 1, 1, &edit, &f->clock),
                         i < 6 ? APR_SUCCESS : APR_ENOSPC); /* 6 of them are 119 bytes */
        edit.note = i < 5 ? "changed" : "too much";
    }
    assert_string_equal(fixture_key(f, 1).note, "changed");
    assert_int_equal(strlen(fixture_key(f, 1).tags), 119);
    /* tags that nobody has any more make room for those of a new key */
    edit.note = NULL;
    edit.tags_add = NULL;
    for (i = 0; i < 40; i++) {
        apr_snprintf(tag, sizeof(tag), "t%d", i);
        edit.tags = tag;
        assert_int_equal(gb_pool_edit_locked(f->pool, 2, 1, &edit, &f->clock), APR_SUCCESS);
        fixture_spec(&spec, "default", 100 + i);
        apr_snprintf(spec.tags, sizeof(spec.tags), "n%d", i);
        assert_string_equal(fixture_key(f, fixture_add(f, &spec)).tags, spec.tags);
        assert_int_equal(gb_pool_remove_locked(f->pool, 3, fixture_key(f, 3).generation),
                         APR_SUCCESS);
    }
}

/* ---- processes ---- */

static void what_a_dead_process_held_comes_back(void **state)
{
    fixture_t *f = *state;
    int mine = f->child, other;

    f->rules.max_concurrent = 1;
    fixture_keys(f, "default", 2);
    other = gb_pool_child_enter_locked(f->pool, 4711, 99);
    assert_int_not_equal(other, mine);
    f->child = other;
    fixture_pick_ok(f, PRO);
    fixture_pick_ok(f, PRO);
    f->child = mine;
    assert_int_equal(fixture_pick(f, PRO), GB_POOL_BUSY);
    assert_int_equal(gb_pool_child_leave_locked(f->pool, other, 4711, 98), 0);
    assert_int_equal(gb_pool_child_leave_locked(f->pool, other, 4711, 99), 2);
    fixture_pick_ok(f, PRO);
    assert_int_equal(fixture_key(f, 1).lost + fixture_key(f, 2).lost, 2);
}

static void a_report_counts_once(void **state)
{
    fixture_t *f = *state;

    fixture_keys(f, "default", 1);
    fixture_call(f, PRO, GB_OUT_SUCCESS);
    fixture_report(f, PRO, GB_OUT_SUCCESS);
    fixture_report(f, PRO, GB_OUT_KEY);
    assert_int_equal(fixture_key(f, 1).successes, 1);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
}

static void a_report_for_a_reused_slot_is_dropped(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t spec;

    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    assert_int_equal(gb_pool_remove_locked(f->pool, 1, 1), APR_SUCCESS);
    fixture_spec(&spec, "default", 2);
    assert_int_equal(fixture_add(f, &spec), 1);
    fixture_report(f, PRO, GB_OUT_KEY);
    assert_int_equal(fixture_key(f, 1).state, GB_KEY_ACTIVE);
    assert_int_equal(fixture_key(f, 1).in_flight, 0);
}

/* ---- the table of keys ---- */

static void a_known_key_is_not_added_twice(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t spec;
    apr_uint32_t slot = 0;

    fixture_keys(f, "default", 1);
    fixture_spec(&spec, "default", 1);
    assert_int_equal(gb_pool_add_locked(f->pool, &spec, "x", 1, &f->clock, &slot), APR_EEXIST);
    assert_int_equal(slot, 1);
}

static void one_secret_in_two_pools_is_one_quota(void **state)
{
    fixture_t *f = *state;
    gb_pool_want_t want = {.pool = "other", .model = PRO};
    gb_pool_key_t spec;

    fixture_keys(f, "default", 1);
    fixture_spec(&spec, "other", 1);
    assert_int_equal(fixture_add(f, &spec), 2);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(10));
    assert_int_equal(fixture_pick_want(f, &want), GB_POOL_RESTING);
}

static void a_full_table_says_so_and_loses_nothing(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t spec;
    apr_uint32_t slot;

    fixture_keys(f, "default", 256);
    fixture_spec(&spec, "default", 257);
    assert_int_equal(gb_pool_add_locked(f->pool, &spec, "x", 1, &f->clock, &slot), APR_ENOSPC);
    assert_int_equal(gb_pool_remove_locked(f->pool, 7, 1), APR_SUCCESS);
    assert_int_equal(gb_pool_add_locked(f->pool, &spec, "x", 1, &f->clock, &slot), APR_SUCCESS);
    assert_int_equal(slot, 7);
}

static void editing_and_resetting(void **state)
{
    fixture_t *f = *state;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    char secret[GB_POOL_SECRET_MAX + 1];

    fixture_keys(f, "default", 3);
    edit.project = "team";
    edit.tags = "paid";
    edit.note = "Anna's";
    assert_int_equal(gb_pool_edit_locked(f->pool, 1, 1, &edit, &f->clock), APR_SUCCESS);
    assert_int_equal(gb_pool_edit_locked(f->pool, 2, 1, &edit, &f->clock), APR_SUCCESS);
    assert_int_equal(gb_pool_edit_locked(f->pool, 2, 2, &edit, &f->clock), APR_NOTFOUND);
    assert_string_equal(fixture_key(f, 2).note, "Anna's");
    assert_int_equal(fixture_key(f, 1).project_slot, fixture_key(f, 2).project_slot);
    assert_true(fixture_key(f, 1).project_by_hand);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_DAY, -1);
    assert_int_equal(fixture_key(f, 2).resting, 1);
    assert_int_equal(gb_pool_reset_locked(f->pool, 2, 1, &f->clock), APR_SUCCESS);
    assert_int_equal(fixture_key(f, 1).resting, 0);
    edit.project = "";
    assert_int_equal(gb_pool_edit_locked(f->pool, 1, 1, &edit, &f->clock), APR_SUCCESS);
    assert_int_not_equal(fixture_key(f, 1).project_slot, fixture_key(f, 2).project_slot);
    assert_int_equal(gb_pool_secret_locked(f->pool, 3, 1, secret), APR_SUCCESS);
    assert_string_equal(secret, "secret-00000003");
    assert_int_equal(gb_pool_find_locked(f->pool, "default", NULL, "00000003"), 3);
}

static void another_size_carries_all_over(void **state)
{
    fixture_t *f = *state;
    fixture_t *g = fixture_make(512);
    gb_pool_census_t census;
    gb_pool_key_t key;

    g->clock = f->clock;
    key_one_fails(f);
    while (fixture_pick_ok(f, FLASH) != 2) {
        fixture_report(f, FLASH, GB_OUT_SUCCESS);
    }
    fixture_quota(f, FLASH, GB_SPAN_DAY, SEC(7000));
    gb_pool_adopt(g->block, g->size, f->block, f->size, GB_POOL_VERSION);
    fixture_sound(g);
    key = fixture_key(g, 1);
    assert_int_equal(key.state, GB_KEY_FAILED);
    assert_int_equal(key.faults, 3);
    assert_true(gb_pool_census_locked(g->pool, "default", FLASH, &f->clock, &census));
    assert_int_equal(census.total, 4);
    assert_int_equal(census.resting, 1);
    fixture_free(g);
}

static void repair_rebuilds_what_is_derived(void **state)
{
    fixture_t *f = *state;
    gb_pool_key_t before[8], after[8];
    apr_uint32_t at = 1;
    int i;

    key_one_fails(f);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_DAY, -1);
    fixture_pick_ok(f, PRO);
    assert_int_equal(gb_pool_list_locked(f->pool, "default", &at, before, 8, &f->clock), 4);
    gb_pool_repair(f->block, f->size, 3);
    at = 1;
    assert_int_equal(gb_pool_list_locked(f->pool, "default", &at, after, 8, &f->clock), 4);
    for (i = 0; i < 4; i++) {
        assert_memory_equal(&before[i], &after[i], sizeof(before[i]));
    }
    fixture_report(f, PRO, GB_OUT_SUCCESS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(keys_take_turns),
        T(weights_are_turns_per_round),
        T(a_tried_key_is_passed_over),
        T(when_all_were_tried_that_is_told),
        T(a_retry_prefers_another_project),
        T(pools_do_not_mix),
        T(a_tag_can_be_required),
        T(who_wants_a_tag_waits_for_those_that_carry_it),
        T(a_reserved_key_serves_only_who_names_it),
        T(least_used_looks_at_calls_under_way),
        T(headroom_prefers_the_most_room),
        T(sticky_keeps_a_conversation_on_its_key),
        T(a_cap_makes_callers_wait),
        T(a_quota_cools_one_model_of_one_key),
        T(keys_of_a_project_cool_together),
        T(what_is_ambiguous_rests_one_key),
        T(a_key_and_its_project_rest_each_for_itself),
        T(a_key_that_moves_forgets_its_own_rests),
        T(a_day_ends_at_midnight_pacific),
        T(a_day_is_followed_by_one_trial),
        T(a_trial_that_fails_rests_again),
        T(a_trial_cut_short_is_tried_again),
        T(ambiguous_rests_grow_and_success_ends_that),
        T(refused_together_is_one_strike),
        T(a_late_success_does_not_end_a_rest),
        T(other_spans_rest_as_told),
        T(a_month_ends_in_california),
        T(a_region_rests_the_project_and_a_model_is_not_offered),
        T(a_list_out_of_quota_rests_no_model),
        T(both_names_of_a_model_cool),
        T(names_that_google_never_confirmed_leave_no_trace),
        T(limits_by_hand_are_kept),
        T(limits_by_hand_may_change),
        T(limits_by_hand_hold_from_the_first_call),
        T(a_told_limit_holds_when_our_count_agrees),
        T(a_told_limit_that_others_use_is_not_enforced),
        T(a_learnt_limit_is_forgotten_after_a_day),
        T(a_prompt_that_can_never_fit_is_told_so),
        T(a_long_prompt_finds_the_one_key_with_room),
        T(clients_never_touch_a_key),
        T(a_dead_key_leaves_at_once),
        T(a_dead_project_takes_its_keys_along),
        T(keys_that_name_one_project_are_grouped),
        T(a_fault_counts_once_another_key_succeeds),
        T(a_success_of_its_own_clears_a_key),
        T(an_old_fault_is_not_blamed),
        T(a_failed_key_is_tried_with_one_real_call),
        T(a_failed_trial_waits_twice_as_long),
        T(a_trial_that_is_refused_fails_again),
        T(a_model_that_is_down_costs_no_key),
        T(models_that_are_down_can_be_named),
        T(one_project_never_opens_the_breaker),
        T(a_proxy_that_fails_never_opens_the_breaker),
        T(a_success_between_keeps_the_breaker_closed),
        T(the_guard_keeps_half_of_the_keys),
        T(small_pools_may_lose_two_keys),
        T(an_unknown_403_everywhere_costs_no_key),
        T(an_unknown_403_of_one_key_is_found_by_a_check),
        T(failed_keys_are_checked_every_interval),
        T(invalid_keys_are_asked_daily_then_left),
        T(a_key_that_may_not_come_back_is_never_asked),
        T(an_unpaid_account_is_asked_hourly),
        T(exhaustion_tells_when_and_why),
        T(an_empty_pool_says_so),
        T(tags_come_and_go_beside_others),
        T(an_edit_is_done_wholly_or_not_at_all),
        T(what_a_dead_process_held_comes_back),
        T(a_report_counts_once),
        T(a_report_for_a_reused_slot_is_dropped),
        T(a_known_key_is_not_added_twice),
        T(one_secret_in_two_pools_is_one_quota),
        T(a_full_table_says_so_and_loses_nothing),
        T(editing_and_resetting),
        T(another_size_carries_all_over),
        T(repair_rebuilds_what_is_derived),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
