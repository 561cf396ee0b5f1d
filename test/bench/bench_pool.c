/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pick costs: among 10 healthy keys, and among 10,000 of which 99% cool
 * down for that model.  Prints nanoseconds per pick and per pick with its
 * report; exits with 1 when the second pool is more than twice as slow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/timeutil.h"
#include "pool/pool.h"

#define ROUNDS 500000
#define REPEAT 5

typedef struct bench_t {
    gb_pool_t *pool;
    gb_pool_rules_t rules;
    gb_pool_clock_t clock;
    int child;
} bench_t;

static void key_add(bench_t *b, int n)
{
    gb_pool_key_t spec;
    apr_uint32_t slot;
    char secret[40];
    int i;

    memset(&spec, 0, sizeof(spec));
    strcpy(spec.pool, "default");
    apr_snprintf(spec.id, sizeof(spec.id), "%08x", n);
    for (i = 0; i < 4; i++) {
        unsigned x = (unsigned)n * 2654435761u + (unsigned)i * 40503u;

        memcpy(spec.digest + i * 4, &x, sizeof(x));
    }
    spec.weight = 1;
    spec.enabled = 1;
    apr_snprintf(secret, sizeof(secret), "AIzaBench%030d", n);
    gb_pool_add_locked(b->pool, &spec, secret, strlen(secret), &b->clock, &slot);
}

static void bench_make(bench_t *b, int keys, apr_pool_t *p)
{
    apr_size_t size = gb_pool_size(16384);
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int i;

    gb_pool_init(block, size);
    b->pool = gb_pool_attach(block, size, p);
    gb_pool_rules_init(&b->rules);
    b->clock.mono = gb_mono_now();
    b->clock.wall = apr_time_now();
    b->child = gb_pool_child_enter_locked(b->pool, 1, 1);
    for (i = 1; i <= keys; i++) {
        key_add(b, i);
    }
}

/* every: one key in so many stays healthy, the others meet their day's limit. */
static void pick_report(bench_t *b, unsigned every)
{
    gb_pool_want_t want = {.pool = "default", .model = "gemini-2.5-pro", .child = b->child};
    gb_pool_outcome_t out = {
        .span = GB_SPAN_DAY, .delay = -1, .prompt_tokens = 10, .total_tokens = 20};
    gb_pool_census_t census;
    gb_pool_got_t got;

    if (gb_pool_pick_locked(b->pool, &want, &b->rules, &b->clock, &got, &census) == GB_POOL_OK) {
        out.kind = got.slot % every == 0 ? GB_OUT_SUCCESS : GB_OUT_QUOTA;
        gb_pool_report_locked(b->pool, &got, want.model, &out, &b->rules, &b->clock, NULL);
    }
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Picks alone: holds are not recorded (child 0), so nothing is left to report. */
static double picks(bench_t *b)
{
    gb_pool_want_t want = {.pool = "default", .model = "gemini-2.5-pro", .child = 0};
    gb_pool_census_t census;
    gb_pool_got_t got;
    double begin = now_ns();
    int i;

    for (i = 0; i < ROUNDS; i++) {
        b->clock.mono += 2;
        if (gb_pool_pick_locked(b->pool, &want, &b->rules, &b->clock, &got, &census)
            != GB_POOL_OK) {
            exit(2);
        }
    }
    return (now_ns() - begin) / ROUNDS;
}

static double rounds(bench_t *b)
{
    double begin = now_ns();
    int i;

    for (i = 0; i < ROUNDS; i++) {
        b->clock.mono += 2;
        pick_report(b, 1);
    }
    return (now_ns() - begin) / ROUNDS;
}

static double best(bench_t *b, double (*measure)(bench_t *b))
{
    double least = measure(b);
    int i;

    for (i = 1; i < REPEAT; i++) {
        double took = measure(b);

        least = took < least ? took : least;
    }
    return least;
}

int main(void)
{
    bench_t few, many;
    double a, c;
    apr_pool_t *p;
    int i;

    apr_initialize();
    apr_pool_create(&p, NULL);
    bench_make(&few, 10, p);
    bench_make(&many, 10000, p);
    for (i = 0; i < 10000; i++) {
        pick_report(&many, 100);
    }
    pick_report(&few, 1);
    a = best(&few, picks);
    c = best(&many, picks);
    printf("pool: pick among 10 healthy keys            %6.0f ns\n", a);
    printf("pool: pick among 10,000 keys, 99%% cooling   %6.0f ns (%.2fx)\n", c, c / a);
    printf("pool: pick and report, 10 keys              %6.0f ns\n", best(&few, rounds));
    printf("pool: pick and report, 10,000 keys          %6.0f ns\n", best(&many, rounds));
    apr_terminate();
    return c > 2 * a;
}
