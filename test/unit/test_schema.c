/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Schema through both doors: the pairs of test/cases/schema (in.json,
 * clean.json, lower.json; flags.json holds "no_bounds" and "text_enums"), what
 * comes out against Google's discovery document, and what must not be unfolded
 * without end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "cases.h"
#include "spec_check.h"
#include "proto/schema.h"

static spec_t spec;
static apr_pool_t *global;

static unsigned flags_of(gb_span_t flags)
{
    return (gb_json_get(flags, "no_bounds").p != NULL ? GB_SCHEMA_NO_BOUNDS : 0)
           | (gb_json_get(flags, "text_enums").p != NULL ? GB_SCHEMA_TEXT_ENUMS : 0);
}

static void schema_case(const char *folder, apr_pool_t *p)
{
    gb_span_t in = cases_json(p, folder, "in.json");
    unsigned flags = flags_of(cases_json(p, folder, "flags.json"));
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, p);
    assert_int_equal(gb_schema_clean(&out, in, flags, p), APR_SUCCESS);
    cases_expect_json(p, folder, "clean.json", out.data, out.len);
    gb_buf_reset(&out);
    assert_int_equal(gb_schema_lower(&out, in, flags, p), APR_SUCCESS);
    cases_expect_json(p, folder, "lower.json", out.data, out.len);
    if (strstr(folder, "/exact_") == NULL) {
        spec_gemini(&spec, "Schema", out.data, out.len, folder);
    }
}

static void test_pairs(void **state)
{
    (void)state;
    cases_each("schema", schema_case);
}

/* A schema whose every level names the next one twice: 2^40 when it is written out. */
static void test_doubling(void **state)
{
    apr_pool_t *p;
    gb_buf_t in, out;
    int i;

    (void)state;
    apr_pool_create(&p, global);
    gb_buf_init_pool(&in, GB_BUF_MAX_REQUEST, p);
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, p);
    gb_buf_puts(&in, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (i = 0; i < 40; i++) {
        gb_buf_printf(&in,
                      "\"d%d\":{\"properties\":{\"a\":{\"$ref\":\"#/$defs/d%d\"},"
                      "\"b\":{\"$ref\":\"#/$defs/d%d\"}}},",
                      i, i + 1, i + 1);
    }
    gb_buf_puts(&in, "\"d40\":{\"type\":\"string\"}}}");
    assert_int_equal(gb_schema_lower(&out, gb_json_root(in.data, in.len), 0, p), APR_ENOSPC);
    apr_pool_destroy(p);
}

/* What is no schema at all still gives JSON. */
static void test_odd(void **state)
{
    static const char *const texts[] = {
        "null",
        "5",
        "[]",
        "\"x\"",
        "true",
        "{\"properties\":[]}",
        "{\"required\":true,\"properties\":{\"a\":1}}",
        "{\"type\":5,\"enum\":{},\"items\":[],\"anyOf\":{},\"allOf\":[[],1]}",
        "{\"$ref\":5}",
        "{\"$ref\":\"#/a/b\"}",
        "{\"$ref\":\"#\"}",
        "{\"$ref\":\"#/properties/a\",\"properties\":{\"a\":{\"$ref\":\"#\"}}}",
        "{\"allOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}",
        "{\"anyOf\":[{\"$ref\":\"#\"}]}",
        "{\"anyOf\":[{\"anyOf\":[{\"$ref\":\"#\"}]}]}",
        "{\"description\":5,\"minLength\":\"x\",\"const\":{}}",
    };
    gb_json_fault_t fault;
    gb_buf_t out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        gb_span_t in = gb_json_root(texts[i], strlen(texts[i]));

        gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, global);
        assert_int_equal(gb_schema_clean(&out, in, 0, global), APR_SUCCESS);
        assert_int_equal(gb_json_check(out.data, out.len, &fault), APR_SUCCESS);
        gb_buf_reset(&out);
        assert_int_equal(gb_schema_lower(&out, in, 0, global), APR_SUCCESS);
        if (gb_json_check(out.data, out.len, &fault) != APR_SUCCESS) {
            fail_msg("%s became %s", texts[i], out.data);
        }
    }
}

static int setup(void **state)
{
    (void)state;
    apr_pool_create(&global, NULL);
    spec_load(&spec, cases_shared(global));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    spec_free(&spec);
    apr_pool_destroy(global);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_doubling),
        cmocka_unit_test(test_odd),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
