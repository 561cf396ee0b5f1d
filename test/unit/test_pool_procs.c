/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pool, several processes, several threads in each: counters stay exact, no
 * state is torn, and a process that is killed inside an edit costs nobody
 * anything but what it held.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool_fixture.h"
#include "base/segment.h"
#include "base/timeutil.h"

#define PROCS   4
#define THREADS 8
#define CALLS   1000000
#define KEYS    50
#define KILLS   20

/* Outside of the pool: what each thread knows for certain to have been told. */
typedef struct tally_t {
    apr_uint64_t told[PROCS][THREADS];
    apr_uint64_t repairs, failures;
} tally_t;

static tally_t *tally;
static gb_segment_t *segment;
static gb_tenant_t *tenant;
static gb_pool_t *pool;
static gb_pool_rules_t rules;
static int child_slot;

/* ---- a pool in a segment ---- */

static void counted_repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    __atomic_add_fetch(&tally->repairs, 1, __ATOMIC_RELAXED);
    gb_pool_repair(block, size, slot);
}

static void now(gb_pool_clock_t *clock)
{
    clock->mono = gb_mono_now();
    clock->wall = apr_time_now();
}

static void enter(void)
{
    gb_segment_lock(segment);
    gb_segment_dirty_locked(tenant, 0);
}

static void leave(void)
{
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(segment);
}

static int setup(void **state)
{
    gb_tenant_spec_t spec = {"pool",       GB_POOL_VERSION, gb_pool_size(256),
                             gb_pool_init, gb_pool_adopt,   counted_repair};
    gb_pool_clock_t clock;
    gb_pool_key_t key;
    apr_uint32_t slot;
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    *state = p;
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(tally != MAP_FAILED);
    assert_int_equal(gb_segment_open(&segment, &spec, 1, p, p), APR_SUCCESS);
    tenant = gb_segment_tenant(segment, "pool");
    pool = gb_pool_attach(tenant->block, tenant->size, p);
    gb_pool_rules_init(&rules);
    now(&clock);
    for (i = 1; i <= KEYS; i++) {
        fixture_spec(&key, "default", i);
        assert_int_equal(gb_pool_add_locked(pool, &key, "secret", 6, &clock, &slot), APR_SUCCESS);
    }
    return 0;
}

static int teardown(void **state)
{
    munmap(tally, sizeof(*tally));
    apr_pool_destroy(*state);
    return 0;
}

/* ---- the work of a thread ---- */

/* Short rests, so that keys come and go all the time. */
static void outcome_make(gb_pool_outcome_t *out, unsigned *seed)
{
    memset(out, 0, sizeof(*out));
    out->kind = rand_r(seed) % 4 ? GB_OUT_SUCCESS : GB_OUT_QUOTA;
    out->span = GB_SPAN_DAY;
    out->delay = -1;
    if (out->kind == GB_OUT_QUOTA) {
        out->kind = rand_r(seed) % 16 ? GB_OUT_NOTHING : GB_OUT_QUOTA;
        out->span = GB_SPAN_AMBIGUOUS;
    }
    out->prompt_tokens = out->total_tokens = 1;
}

static int one_call(unsigned *seed)
{
    static const char *const models[] = {"gemini-a", "gemini-b", "gemini-c"};
    gb_pool_want_t want = {
        .pool = "default", .model = models[rand_r(seed) % 3], .child = child_slot};
    gb_pool_outcome_t out;
    gb_pool_census_t census;
    gb_pool_clock_t clock;
    gb_pool_got_t got;
    gb_pool_answer_t answer;

    outcome_make(&out, seed);
    now(&clock);
    enter();
    answer = gb_pool_pick_locked(pool, &want, &rules, &clock, &got, &census);
    leave();
    if (answer != GB_POOL_OK) {
        return 0;
    }
    enter();
    gb_pool_report_locked(pool, &got, want.model, &out, &rules, &clock, NULL);
    leave();
    return 1;
}

typedef struct work_t {
    int proc, thread, calls; /* calls 0: until killed */
    pthread_t id;
} work_t;

static void *work(void *data)
{
    work_t *w = data;
    unsigned seed = (unsigned)(w->proc * 100 + w->thread) + 1;
    int n;

    for (n = 0; w->calls == 0 || n < w->calls;) {
        if (one_call(&seed)) {
            n++;
            tally->told[w->proc][w->thread]++;
        }
    }
    return NULL;
}

static void process(int proc, int calls)
{
    apr_uint32_t pid = (apr_uint32_t)getpid();
    work_t w[THREADS];
    int i;

    enter();
    child_slot = gb_pool_child_enter_locked(pool, pid, gb_process_start_time(pid));
    leave();
    for (i = 0; i < THREADS; i++) {
        w[i] = (work_t){proc, i, calls, 0};
        if (pthread_create(&w[i].id, NULL, work, &w[i]) != 0) {
            _exit(2);
        }
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(w[i].id, NULL);
    }
}

static pid_t spawn(int proc, int calls)
{
    pid_t pid = fork();

    if (pid == 0) {
        process(proc, calls);
        _exit(0);
    }
    return pid;
}

/* ---- judging ---- */

typedef struct sums_t {
    apr_uint64_t picks, told, lost, successes;
    int in_flight;
} sums_t;

static void sums_get(sums_t *sums)
{
    gb_pool_clock_t clock;
    gb_pool_key_t row;
    apr_uint32_t at = 1;
    const char *why = "";

    memset(sums, 0, sizeof(*sums));
    now(&clock);
    enter();
    if (!gb_pool_sound_locked(pool, &why)) {
        leave();
        fail_msg("the pool is not sound: %s", why);
    }
    while (gb_pool_list_locked(pool, NULL, &at, &row, 1, &clock) == 1) {
        sums->picks += row.picks;
        sums->told += row.successes + row.neutral + row.quotas;
        sums->successes += row.successes;
        sums->lost += row.lost;
        sums->in_flight += row.in_flight;
    }
    leave();
}

static apr_uint64_t tally_sum(void)
{
    apr_uint64_t sum = 0;
    int i, k;

    for (i = 0; i < PROCS; i++) {
        for (k = 0; k < THREADS; k++) {
            sum += tally->told[i][k];
        }
    }
    return sum;
}

/* A rest of a day must not leave the test without keys. */
static void rules_short(void)
{
    rules.cool_first = rules.cool_max = 2000;
    rules.jitter = 0;
    rules.trial_time = 50000;
}

static void counters_are_exact(void **state)
{
    pid_t pids[PROCS];
    sums_t sums;
    int i, status, calls = CALLS / (PROCS * THREADS);

    (void)state;
    rules_short();
    for (i = 0; i < PROCS; i++) {
        pids[i] = spawn(i, calls);
    }
    for (i = 0; i < PROCS; i++) {
        waitpid(pids[i], &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    sums_get(&sums);
    assert_int_equal(tally_sum(), (apr_uint64_t)calls * PROCS * THREADS);
    assert_int_equal(sums.told, tally_sum());
    assert_int_equal(sums.picks, tally_sum());
    assert_int_equal(sums.in_flight, 0);
    assert_int_equal(sums.lost, 0);
    assert_int_equal(tally->repairs, 0);
}

static void bury(pid_t pid)
{
    apr_uint64_t start_time = gb_process_start_time((apr_uint32_t)pid);
    int child;

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (child = 1; child <= GB_POOL_CHILDREN; child++) {
        enter();
        gb_pool_child_leave_locked(pool, child, (apr_uint32_t)pid, start_time);
        leave();
    }
}

static void a_kill_inside_an_edit_costs_nothing_else(void **state)
{
    unsigned seed = fixture_seed();
    pid_t pids[PROCS];
    sums_t sums;
    int i, kills = 0;

    (void)state;
    rules_short();
    for (i = 0; i < PROCS; i++) {
        pids[i] = spawn(i, 0);
    }
    /* Only the kills that hit an edit count; most do, since there is little else to do. */
    while (tally->repairs < KILLS && kills < 2000) {
        struct timespec pause = {0, 1000000 + rand_r(&seed) % 8000000};

        nanosleep(&pause, NULL);
        i = rand_r(&seed) % PROCS;
        bury(pids[i]);
        sums_get(&sums);
        pids[i] = spawn(i, 0);
        kills++;
    }
    for (i = 0; i < PROCS; i++) {
        bury(pids[i]);
    }
    sums_get(&sums);
    printf("%d kills, %d inside an edit, %lu calls told, %lu lost\n", kills, (int)tally->repairs,
           (unsigned long)sums.told, (unsigned long)sums.lost);
    assert_true(tally->repairs >= KILLS);
    assert_int_equal(sums.in_flight, 0);
    /* Each kill may cut each thread between the pool's word and its own. */
    assert_true(sums.told >= tally_sum());
    assert_true(sums.told <= tally_sum() + (apr_uint64_t)(kills + PROCS) * THREADS);
    /* What was picked was told or lost; an edit that was cut may have counted one of both. */
    assert_true(sums.picks >= sums.told + sums.lost);
    assert_true(sums.picks <= sums.told + sums.lost + tally->repairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counters_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(a_kill_inside_an_edit_costs_nothing_else, setup, teardown),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
