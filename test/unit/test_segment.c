/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment: layout, reuse and adoption across generations, recovery from a
 * dead owner, leases, and whether a process lives.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "segment_torture.h"
#include "base/timeutil.h"

typedef struct note_t {
    apr_uint32_t n;
    apr_uint32_t mended;
    char text[24];
} note_t;

static void note_init(void *block, apr_size_t size)
{
    note_t *note = block;

    assert_true(size >= sizeof(*note));
    note->n = 7;
}

static void note_adopt(void *block, apr_size_t size, const void *old, apr_size_t old_size,
                       apr_uint32_t old_version)
{
    (void)size;
    (void)old_size;
    ((note_t *)block)->n = ((const note_t *)old)->n * 10 + old_version;
}

static void note_repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    (void)size;
    ((note_t *)block)->mended = slot;
}

static const gb_tenant_spec_t one = {"note", 1, sizeof(note_t), note_init, note_adopt, note_repair};
static const gb_tenant_spec_t other = {"other", 3, 100, NULL, NULL, NULL};

static int setup(void **state)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(*state);
    return 0;
}

static gb_segment_t *open_ok(const gb_tenant_spec_t *specs, int n, apr_pool_t *process)
{
    gb_segment_t *segment = NULL;

    assert_int_equal(gb_segment_open(&segment, specs, n, process, process), APR_SUCCESS);
    return segment;
}

static void lays_out_aligned_and_initialized(void **state)
{
    const gb_tenant_spec_t specs[] = {one, other};
    gb_segment_t *segment = open_ok(specs, 2, *state);
    gb_tenant_t *a = gb_segment_tenant(segment, "note");
    gb_tenant_t *b = gb_segment_tenant(segment, "other");
    int i;

    assert_non_null(a);
    assert_non_null(b);
    assert_null(gb_segment_tenant(segment, "nobody"));
    assert_int_equal((uintptr_t)a->block % 64, 0);
    assert_int_equal((uintptr_t)b->block % 64, 0);
    assert_true((char *)b->block >= (char *)a->block + a->size);
    assert_int_equal(((note_t *)a->block)->n, 7);
    for (i = 0; i < 100; i++) {
        assert_int_equal(((char *)b->block)[i], 0);
    }
}

static void refuses_bad_tables(void **state)
{
    gb_tenant_spec_t twice[] = {one, one};
    gb_tenant_spec_t empty = {"none", 1, 0, NULL, NULL, NULL};
    gb_tenant_spec_t longname = {"sixteen-letters!", 1, 8, NULL, NULL, NULL};
    gb_tenant_spec_t huge[] = {
        one, {"huge", 1, SIZE_MAX / 2, NULL, NULL, NULL}
    };
    gb_segment_t *segment = NULL;

    assert_int_equal(gb_segment_open(&segment, twice, 2, *state, *state), APR_EINVAL);
    assert_int_equal(gb_segment_open(&segment, &empty, 1, *state, *state), APR_EINVAL);
    assert_int_equal(gb_segment_open(&segment, &longname, 1, *state, *state), APR_EINVAL);
    assert_int_equal(gb_segment_open(&segment, huge, 2, *state, *state), APR_EINVAL);
    assert_int_equal(gb_segment_open(&segment, &one, 0, *state, *state), APR_EINVAL);
    assert_null(segment);
}

static void same_layout_is_reused(void **state)
{
    gb_segment_t *first = open_ok(&one, 1, *state);
    void *block = gb_segment_tenant(first, "note")->block;
    gb_segment_t *second;

    ((note_t *)block)->n = 99;
    second = open_ok(&one, 1, *state);
    assert_ptr_equal(gb_segment_tenant(second, "note")->block, block);
    assert_int_equal(((note_t *)block)->n, 99);
}

/* The process pool outlives this code: what it keeps may be an older version's, who knew less. */
static void an_earlier_version_left_the_memory_alone(void **state)
{
    static struct {
        void *shm;
        char others[8192];
    } left;
    gb_segment_t *segment = open_ok(&one, 1, *state);
    void *block = gb_segment_tenant(segment, "note")->block, *kept = NULL;
    size_t i;

    apr_pool_userdata_get(&kept, "gbalance-segment", *state);
    memcpy(&left.shm, kept, sizeof(left.shm));
    memset(left.others, 'x', sizeof(left.others));
    apr_pool_userdata_set(&left, "gbalance-segment", NULL, *state);
    segment = open_ok(&one, 1, *state);
    assert_ptr_equal(gb_segment_tenant(segment, "note")->block, block);
    for (i = 0; i < sizeof(left.others); i++) {
        assert_int_equal(left.others[i], 'x');
    }
}

static void another_tenant_copies_the_known_one(void **state)
{
    const gb_tenant_spec_t two[] = {other, one};
    gb_segment_t *segment = open_ok(&one, 1, *state);

    strcpy(((note_t *)gb_segment_tenant(segment, "note")->block)->text, "kept");
    segment = open_ok(two, 2, *state);
    assert_string_equal(((note_t *)gb_segment_tenant(segment, "note")->block)->text, "kept");
}

static void another_version_is_adopted(void **state)
{
    gb_tenant_spec_t newer = one;
    gb_segment_t *segment = open_ok(&one, 1, *state);

    newer.version = 2;
    newer.size = sizeof(note_t) * 2;
    segment = open_ok(&newer, 1, *state);
    assert_int_equal(((note_t *)gb_segment_tenant(segment, "note")->block)->n, 71);
}

static void without_adopt_nothing_is_carried(void **state)
{
    gb_tenant_spec_t newer = one;
    gb_segment_t *segment = open_ok(&one, 1, *state);

    ((note_t *)gb_segment_tenant(segment, "note")->block)->n = 1000;
    newer.version = 2;
    newer.adopt = NULL;
    segment = open_ok(&newer, 1, *state);
    assert_int_equal(((note_t *)gb_segment_tenant(segment, "note")->block)->n, 7);
}

/* A child takes the lock and dies with it; dirty: in the middle of an edit of slot 5. */
static void die_holding(gb_segment_t *segment, int dirty)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        gb_segment_lock(segment);
        if (dirty) {
            gb_segment_dirty_locked(gb_segment_tenant(segment, "note"), 5);
        }
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static void dead_owner_is_mended_by_slot(void **state)
{
    gb_segment_t *segment = open_ok(&one, 1, *state);
    note_t *note = gb_segment_tenant(segment, "note")->block;

    die_holding(segment, 1);
    gb_segment_lock(segment);
    assert_int_equal(note->mended, 5);
    gb_segment_unlock(segment);
    assert_int_equal(gb_segment_recoveries(segment), 1);
}

static void dead_owner_outside_an_edit_needs_no_repair(void **state)
{
    gb_segment_t *segment = open_ok(&one, 1, *state);
    note_t *note = gb_segment_tenant(segment, "note")->block;

    die_holding(segment, 0);
    gb_segment_lock(segment);
    assert_int_equal(note->mended, 0);
    gb_segment_unlock(segment);
    assert_int_equal(gb_segment_recoveries(segment), 1);
}

static void new_code_never_mends_an_old_layout(void **state)
{
    gb_tenant_spec_t newer = one;
    gb_segment_t *segment = open_ok(&one, 1, *state);

    die_holding(segment, 1);
    newer.version = 2;
    segment = open_ok(&newer, 1, *state);
    assert_int_equal(((note_t *)gb_segment_tenant(segment, "note")->block)->mended, 0);
    assert_int_equal(((note_t *)gb_segment_tenant(segment, "note")->block)->n, 71);
}

/* ---- leases ---- */

static int child_status(gb_segment_t *segment, int which, apr_interval_time_t ttl)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        _exit(gb_segment_lease(segment, which, ttl) == APR_SUCCESS ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void a_lease_has_one_holder(void **state)
{
    gb_segment_t *segment = open_ok(&one, 1, *state);

    assert_int_equal(gb_segment_lease(segment, 1, apr_time_from_sec(60)), APR_SUCCESS);
    assert_int_equal(gb_segment_lease(segment, 1, apr_time_from_sec(60)), APR_SUCCESS);
    assert_int_equal(child_status(segment, 1, apr_time_from_sec(60)), 1);
    assert_int_equal(child_status(segment, 2, apr_time_from_sec(60)), 0);
    assert_int_equal(gb_segment_lease(segment, 2, apr_time_from_sec(60)), APR_EBUSY);
    gb_segment_lease_end(segment, 1);
    assert_int_equal(child_status(segment, 1, apr_time_from_sec(60)), 0);
}

static void a_lease_runs_out(void **state)
{
    gb_segment_t *segment = open_ok(&one, 1, *state);
    struct timespec pause = {0, 30 * 1000 * 1000};

    assert_int_equal(child_status(segment, 0, apr_time_from_msec(20)), 0);
    nanosleep(&pause, NULL);
    assert_int_equal(gb_segment_lease(segment, 0, apr_time_from_sec(60)), APR_SUCCESS);
}

static void only_the_holder_ends_a_lease(void **state)
{
    gb_segment_t *segment = open_ok(&one, 1, *state);

    assert_int_equal(child_status(segment, 3, apr_time_from_sec(60)), 0);
    gb_segment_lease_end(segment, 3);
    assert_int_equal(gb_segment_lease(segment, 3, apr_time_from_sec(60)), APR_EBUSY);
}

/* ---- processes ---- */

static void tells_whether_a_process_lives(void **state)
{
    apr_uint32_t pid = (apr_uint32_t)getpid();
    apr_uint64_t start = gb_process_start_time(pid);
    siginfo_t info;
    pid_t child;

    (void)state;
    assert_true(start > 0);
    assert_true(gb_process_alive(pid, start));
    assert_false(gb_process_alive(pid, start + 1));
    assert_false(gb_process_alive(0, 0));

    child = fork();
    if (child == 0) {
        _exit(0);
    }
    start = gb_process_start_time((apr_uint32_t)child);
    waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
    assert_false(gb_process_alive((apr_uint32_t)child, start)); /* a zombie is dead */
    waitpid(child, NULL, 0);
    assert_false(gb_process_alive((apr_uint32_t)child, start));
}

static void survives_a_few_kills(void **state)
{
    assert_true(torture_run(*state, 60, (unsigned)time(NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lays_out_aligned_and_initialized, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(same_layout_is_reused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_earlier_version_left_the_memory_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(another_tenant_copies_the_known_one, setup, teardown),
        cmocka_unit_test_setup_teardown(another_version_is_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(without_adopt_nothing_is_carried, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_owner_is_mended_by_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_owner_outside_an_edit_needs_no_repair, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(new_code_never_mends_an_old_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lease_has_one_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lease_runs_out, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_holder_ends_a_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_whether_a_process_lives, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_a_few_kills, setup, teardown),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
