/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool on ordinary memory with a clock that the test turns: shared by the
 * tests of the pool.
 */
#ifndef GB_TEST_POOL_FIXTURE_H
#define GB_TEST_POOL_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "pool/pool.h"

#define SEC(n)   ((apr_time_t)(n)*APR_USEC_PER_SEC)
#define HOURS(n) SEC((n)*3600)

/* 2026-11-20 12:00 UTC: four in the morning in California, standard time. */
#define NOON SEC(1795176000)

typedef struct fixture_t {
    apr_pool_t *p;
    void *block;
    apr_size_t size;
    gb_pool_t *pool;
    gb_pool_rules_t rules;
    gb_pool_clock_t clock;
    gb_pool_got_t got;
    gb_pool_census_t census;
    gb_pool_events_t events;
    int child;
} fixture_t;

static inline fixture_t *fixture_make(int max_keys)
{
    fixture_t *f = calloc(1, sizeof(*f));

    apr_pool_create(&f->p, NULL);
    f->size = gb_pool_size(max_keys);
    f->block = calloc(1, f->size);
    gb_pool_init(f->block, f->size);
    f->pool = gb_pool_attach(f->block, f->size, f->p);
    gb_pool_rules_init(&f->rules);
    f->rules.jitter = 0;
    f->clock.mono = HOURS(10);
    f->clock.wall = NOON;
    f->child = gb_pool_child_enter_locked(f->pool, 1, 1);
    return f;
}

static inline void fixture_free(fixture_t *f)
{
    apr_pool_destroy(f->p);
    free(f->block);
    free(f);
}

static inline void fixture_wait(fixture_t *f, apr_interval_time_t time)
{
    f->clock.mono += time;
    f->clock.wall += time;
}

static inline void fixture_spec(gb_pool_key_t *spec, const char *name, int n)
{
    memset(spec, 0, sizeof(*spec));
    apr_cpystrn(spec->pool, name, sizeof(spec->pool));
    apr_snprintf(spec->id, sizeof(spec->id), "%08x", (unsigned)n);
    spec->digest[0] = (unsigned char)(n >> 24);
    spec->digest[1] = (unsigned char)(n >> 16);
    spec->digest[2] = (unsigned char)(n >> 8);
    spec->digest[3] = (unsigned char)n;
    spec->digest[8] = 0xaa;
    spec->weight = 1;
    spec->enabled = 1;
}

static inline apr_uint32_t fixture_add(fixture_t *f, const gb_pool_key_t *spec)
{
    char secret[40];
    apr_uint32_t slot = 0;

    apr_snprintf(secret, sizeof(secret), "secret-%s", spec->id);
    assert_int_equal(gb_pool_add_locked(f->pool, spec, secret, strlen(secret), &f->clock, &slot),
                     APR_SUCCESS);
    return slot;
}

/* n keys of a pool, slots 1 to n in an empty block. */
static inline void fixture_keys(fixture_t *f, const char *name, int n)
{
    gb_pool_key_t spec;
    int i;

    for (i = 1; i <= n; i++) {
        fixture_spec(&spec, name, i);
        fixture_add(f, &spec);
    }
}

static inline gb_pool_answer_t fixture_pick_want(fixture_t *f, gb_pool_want_t *want)
{
    if (want->pool == NULL) {
        want->pool = "default";
    }
    want->child = f->child;
    return gb_pool_pick_locked(f->pool, want, &f->rules, &f->clock, &f->got, &f->census);
}

static inline gb_pool_answer_t fixture_pick(fixture_t *f, const char *model)
{
    gb_pool_want_t want = {.model = model};

    return fixture_pick_want(f, &want);
}

static inline apr_uint32_t fixture_pick_ok(fixture_t *f, const char *model)
{
    assert_int_equal(fixture_pick(f, model), GB_POOL_OK);
    return f->got.slot;
}

static inline void fixture_report_out(fixture_t *f, const char *model, const gb_pool_outcome_t *out)
{
    f->events.n = 0;
    gb_pool_report_locked(f->pool, &f->got, model, out, &f->rules, &f->clock, &f->events);
}

static inline void fixture_report(fixture_t *f, const char *model, gb_pool_kind_t kind)
{
    gb_pool_outcome_t out = {.kind = kind,
                             .delay = -1,
                             .row = "row",
                             .text = "Google's words",
                             .revocable = 1,
                             .prompt_tokens = -1,
                             .total_tokens = -1};

    out.span = kind == GB_OUT_QUOTA ? GB_SPAN_AMBIGUOUS : GB_SPAN_NONE;
    fixture_report_out(f, model, &out);
}

static inline void fixture_quota(fixture_t *f, const char *model, gb_pool_span_t span,
                                 apr_interval_time_t delay)
{
    gb_pool_outcome_t out = {.kind = GB_OUT_QUOTA,
                             .span = span,
                             .delay = delay,
                             .row = "quota",
                             .prompt_tokens = -1,
                             .total_tokens = -1};

    fixture_report_out(f, model, &out);
}

/* One call from pick to report. */
static inline apr_uint32_t fixture_call(fixture_t *f, const char *model, gb_pool_kind_t kind)
{
    apr_uint32_t slot = fixture_pick_ok(f, model);

    fixture_report(f, model, kind);
    return slot;
}

static inline gb_pool_key_t fixture_key(fixture_t *f, apr_uint32_t slot)
{
    gb_pool_key_t key;

    assert_int_equal(gb_pool_get_locked(f->pool, slot, &key, &f->clock), APR_SUCCESS);
    return key;
}

static inline void fixture_sound(fixture_t *f)
{
    const char *why = "";

    if (!gb_pool_sound_locked(f->pool, &why)) {
        fail_msg("the pool is not sound: %s", why);
    }
}

static inline int fixture_told(const fixture_t *f, gb_pool_event_kind_t kind)
{
    int i;

    for (i = 0; i < f->events.n; i++) {
        if (f->events.items[i].kind == kind) {
            return 1;
        }
    }
    return 0;
}

static inline unsigned fixture_seed(void)
{
    const char *given = getenv("GB_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)apr_time_now();

    printf("seed %u (GB_SEED=%u repeats it)\n", seed, seed);
    return seed;
}

#endif
