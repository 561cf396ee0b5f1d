/* SPDX-License-Identifier: Apache-2.0 */
/* The table of owners: put, get, drop, walk, a full table, and an editor that died. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/owners.h"

#define HOUR apr_time_from_sec(3600)

typedef struct fixture_t {
    apr_pool_t *process;
    gb_segment_t *segment;
    gb_tenant_t *tenant;
    gb_tenant_spec_t spec;
} fixture_t;

static fixture_t fx;

static int setup(void **state)
{
    (void)state;
    apr_pool_create(&fx.process, NULL);
    fx.spec = gb_owners_spec("owners", 64);
    assert_int_equal(gb_segment_open(&fx.segment, &fx.spec, 1, fx.process, fx.process),
                     APR_SUCCESS);
    fx.tenant = gb_segment_tenant(fx.segment, "owners");
    assert_non_null(fx.tenant);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(fx.process);
    return 0;
}

static void put(const char *pool, const char *name, const char *key, apr_uint64_t caller,
                apr_time_t now, apr_time_t ends)
{
    gb_owner_t owner;

    memset(&owner, 0, sizeof(owner));
    apr_cpystrn(owner.pool, pool, sizeof(owner.pool));
    apr_cpystrn(owner.name, name, sizeof(owner.name));
    apr_cpystrn(owner.key_id, key, sizeof(owner.key_id));
    owner.caller = caller;
    owner.made = now;
    owner.ends = ends;
    gb_owners_put(fx.tenant, &owner, now);
}

static void test_put_get_drop(void **state)
{
    gb_owner_t owner;

    (void)state;
    put("default", "files/a", "11111111", 7, 1, HOUR);
    put("other", "files/a", "22222222", 8, 1, HOUR);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/a", 2), APR_SUCCESS);
    assert_string_equal(owner.key_id, "11111111");
    assert_int_equal(owner.caller, 7);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "other", "files/a", 2), APR_SUCCESS);
    assert_string_equal(owner.key_id, "22222222");
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/b", 2), APR_NOTFOUND);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/a", HOUR), APR_NOTFOUND);
    gb_owners_drop(fx.tenant, "default", "files/a");
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/a", 2), APR_NOTFOUND);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "other", "files/a", 2), APR_SUCCESS);
}

/* Who looks at a thing later does not become its maker; when its time is over the name is free. */
static void test_renewed(void **state)
{
    gb_owner_t owner;

    (void)state;
    put("default", "files/a", "11111111", 7, 1, 100);
    put("default", "files/a", "99999999", 9, 50, 200);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/a", 150), APR_SUCCESS);
    assert_string_equal(owner.key_id, "11111111");
    assert_int_equal(owner.caller, 7);
    assert_int_equal(owner.made, 1);
    put("default", "files/a", "99999999", 9, 300, 400);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/a", 350), APR_SUCCESS);
    assert_string_equal(owner.key_id, "99999999");
}

/* A full table takes what is new: what ends first makes room. */
static void test_full(void **state)
{
    gb_owner_t owner;
    char name[32];
    int i, known = 0;

    (void)state;
    for (i = 0; i < 1000; i++) {
        apr_snprintf(name, sizeof(name), "files/%d", i);
        put("default", name, "11111111", 1, 1, HOUR + i);
        assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", name, 2), APR_SUCCESS);
    }
    for (i = 0; i < 1000; i++) {
        apr_snprintf(name, sizeof(name), "files/%d", i);
        known += gb_owners_get(&owner, fx.tenant, "default", name, 2) == APR_SUCCESS;
    }
    assert_in_range(known, 32, 64);
}

static void test_walk(void **state)
{
    gb_owner_t owner;
    apr_uint32_t at = 0;
    char name[32];
    int i, n = 0;

    (void)state;
    for (i = 0; i < 10; i++) {
        apr_snprintf(name, sizeof(name), "files/%d", i);
        put("default", name, "11111111", 1, 1, i < 8 ? HOUR : 10);
    }
    put("default", "batches/x", "11111111", 1, 1, HOUR);
    put("other", "files/x", "11111111", 1, 1, HOUR);
    while (gb_owners_next(&owner, fx.tenant, &at, "default", "files/", 20) == APR_SUCCESS) {
        assert_memory_equal(owner.name, "files/", 6);
        n++;
    }
    assert_int_equal(n, 8);
}

/* The slot that a dead process was writing is free afterwards, the others stand. */
static void test_repair(void **state)
{
    gb_owner_t owner;
    apr_uint32_t slot, standing = 0;
    char name[32];
    int i;

    (void)state;
    for (i = 0; i < 8; i++) {
        apr_snprintf(name, sizeof(name), "files/%d", i);
        put("default", name, "11111111", 1, 1, HOUR);
    }
    for (slot = 1; slot <= 64; slot += 2) {
        fx.spec.repair(fx.tenant->block, fx.tenant->size, slot);
    }
    for (i = 0; i < 8; i++) {
        apr_snprintf(name, sizeof(name), "files/%d", i);
        standing += gb_owners_get(&owner, fx.tenant, "default", name, 2) == APR_SUCCESS;
    }
    assert_in_range(standing, 1, 7);
    put("default", "files/new", "11111111", 1, 1, HOUR);
    assert_int_equal(gb_owners_get(&owner, fx.tenant, "default", "files/new", 2), APR_SUCCESS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_get_drop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repair, setup, teardown),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
