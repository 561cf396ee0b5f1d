/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI requests as Gemini requests: the golden pairs of
 * test/cases/openai_to_gemini, and what needs more than a pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "openai_case.h"
#include "proto/openai.h"

static void plan_put(gb_buf_t *out, const gb_plan_t *plan)
{
    gb_buf_puts(out, "{\"method\":");
    gb_json_put_cstr(out, plan->method);
    gb_buf_puts(out, ",\"path\":");
    gb_json_put_cstr(out, plan->path);
    if (plan->ignored != NULL) {
        gb_buf_puts(out, ",\"ignored\":");
        gb_json_put_cstr(out, plan->ignored);
    }
    if (plan->fan_out > 1) {
        gb_buf_printf(out, ",\"fan_out\":%d", plan->fan_out);
    }
    if (plan->stream != plan->upstream_stream) {
        gb_buf_puts(out, ",\"collected\":true");
    }
    if (plan->body != NULL) {
        gb_buf_puts(out, ",\"body\":");
        gb_buf_append(out, plan->body, plan->body_len);
    }
    gb_buf_putc(out, '}');
}

static void refusal_put(gb_buf_t *out, const gb_error_t *err)
{
    gb_buf_printf(out, "{\"status\":%d,\"answer\":", err->status);
    gb_openai_dialect.error_body(NULL, err, 0, out);
    gb_buf_putc(out, '}');
}

static void request_case(const char *folder, apr_pool_t *p)
{
    openai_case_t c;
    gb_buf_t out;

    openai_case_open(&c, &gb_openai_dialect, folder, "in.json", p);
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, p);
    if (c.rv == APR_SUCCESS) {
        plan_put(&out, c.plan);
    }
    else {
        refusal_put(&out, &c.err);
    }
    cases_expect_json(p, folder, "out.json", out.data, out.len);
}

static void test_pairs(void **state)
{
    (void)state;
    cases_each("openai_to_gemini", request_case);
}

/* ---- errors ---- */

/* clang-format off */
static const struct {
    int line;
    const char *method, *path, *body;
    int status;
    const char *code, *param, *allow;
} refusals[] = {
    {__LINE__, "POST",   "/chat/completions",         "{",                                      400, "",                           "",         NULL       },
    {__LINE__, "POST",   "/chat/completions",         "",                                       400, "",                           "",         NULL       },
    {__LINE__, "POST",   "/chat/completions",         "[]",                                     400, "invalid_type",               "",         NULL       },
    {__LINE__, "POST",   "/chat/completions",         "{\"messages\":[]}",                      400, "missing_required_parameter",
     "model",                                                                                                                                  NULL       },
    {__LINE__, "POST",   "/chat/completions",         "{\"model\":\"m\"}",                      400, "missing_required_parameter",
     "messages",                                                                                                                               NULL       },
    {__LINE__, "POST",   "/chat/completions",         "{\"model\":\"m\",\"messages\":[]}",      400, "empty_array",
     "messages",                                                                                                                               NULL       },
    {__LINE__, "POST",   "/chat/completions",         "{\"model\":\"m\",\"messages\":null}",    400,
     "missing_required_parameter",                                                                                                 "messages", NULL       },
    {__LINE__, "POST",   "/chat/completions",         "{\"model\":\"../x\",\"messages\":[{}]}", 400,
     "invalid_value",                                                                                                              "model",    NULL       },
    {__LINE__, "POST",   "/nowhere",                  "{}",                                     404, "unknown_url",                "",         NULL       },
    {__LINE__, "GET",    "/",                         NULL,                                     404, "unknown_url",                "",         NULL       },
    {__LINE__, "GET",    "/chat/completions",         NULL,                                     405, "method_not_allowed",         "",         "POST"     },
    {__LINE__, "DELETE", "/models",                   NULL,                                     405, "method_not_allowed",         "",         "GET, HEAD"},
    {__LINE__, "POST",   "/models/m",                 "{}",                                     405, "method_not_allowed",         "",         "GET, HEAD"},
    {__LINE__, "GET",    "/models/..",                NULL,                                     404, "model_not_found",            "model",    NULL       },
    {__LINE__, "GET",    "/models/gemini-pro-vision", NULL,                                     404, "model_not_found",            "model",    NULL       },
};
/* clang-format on */

static void test_refusals(void **state)
{
    openai_case_t c;
    apr_pool_t *p;
    size_t i;

    (void)state;
    apr_pool_create(&p, NULL);
    for (i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
        openai_case_plain(&c, &gb_openai_dialect, refusals[i].method, refusals[i].path,
                          refusals[i].body, NULL, p);
        if (c.rv == APR_SUCCESS || c.plan != NULL || c.err.status != refusals[i].status
            || strcmp(c.err.code, refusals[i].code) != 0
            || strcmp(c.err.param, refusals[i].param) != 0
            || (refusals[i].allow != NULL) != (c.err.allow != NULL)
            || (c.err.allow != NULL && strcmp(c.err.allow, refusals[i].allow) != 0)) {
            fail_msg("line %d: %d %s %s %s", refusals[i].line, c.err.status, c.err.code,
                     c.err.param, c.err.message);
        }
        assert_true(*c.err.message != '\0');
    }
    openai_case_plain(&c, &gb_openai_dialect, "POST", "/chat/completions", "{", NULL, p);
    assert_ptr_equal(strstr(c.err.message, "We could not parse the JSON body of your request."),
                     c.err.message);
    apr_pool_destroy(p);
}

/* ---- bounds ---- */

static const char *repeated(const char *before, const char *item, int n, const char *after,
                            apr_pool_t *p)
{
    gb_buf_t out;
    int i;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, p);
    gb_buf_puts(&out, before);
    for (i = 0; i < n; i++) {
        gb_buf_puts(&out, i > 0 ? "," : "");
        gb_buf_printf(&out, item, i);
    }
    gb_buf_puts(&out, after);
    return out.data;
}

/* The sanitizers' memmem looks at its whole range, however near the first hit is. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MARKS 2000
#else
#define MARKS 300000
#endif

/* A body of some megabytes must not cost minutes or gigabytes. */
static void test_bounds(void **state)
{
    static const struct {
        const char *before, *item, *after;
        int n, refused;
    } rows[] = {
        {"{\"model\":\"m\",\"messages\":[",                                                   "{\"role\":\"user\"}",                         "]}",     100000, 1},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[",                   "\"%d\"",                                      "]}]}",
         300000,                                                                                                                                               0},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[",
         "{\"type\":\"function\",\"function\":{\"name\":\"f%d\"}}",                                                                          "]}",     5000,   1},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[",
         "{\"type\":\"function\",\"function\":{\"name\":\"f %d\"}}",                                                                         "]}",     1000,   0},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[",
         "{\"id\":\"%d\",\"function\":{\"name\":\"f\"}}",                                                                                    "]}]}",   5000,   1},
        {"{\"model\":\"m\",\"messages\":[",                                                   "{\"role\":\"tool\",\"tool_call_id\":\"%d\"}", "]}",
         60000,                                                                                                                                                1},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],",            "\"u%d\":1",                                   "}",
         300000,                                                                                                                                               0},
        {"{\"model\":\"gemini-2.5-pro\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
         "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{"
         "\"properties\":{",                                                         "\"p%d\":{}",                                  "}}}}}",  200000, 1},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"google\":{"
         "\"generation_config\":{",                                                  "\"p%d\":1",                                   "}}}",    100000, 1},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"",             "](data:image/%d",
         "\"}]}",                                                                                                                                      MARKS,  0},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"",
         "![%d](data:image/png;base64,AAAA",                                                                                                 ")\"}]}", MARKS,  0},
    };
    openai_case_t c;
    apr_pool_t *p;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        apr_pool_create(&p, NULL);
        openai_case_plain(&c, &gb_openai_dialect, "POST", "/chat/completions",
                          repeated(rows[i].before, rows[i].item, rows[i].n, rows[i].after, p), NULL,
                          p);
        if ((c.plan == NULL) != rows[i].refused) {
            fail_msg("row %zu: %d %s", i, c.err.status, c.err.message);
        }
        apr_pool_destroy(p);
    }
}

/* A small body must not make the gateway call thousands of addresses. */
static void test_addresses(void **state)
{
    static const char *const before =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[";
    static const char *const item =
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a.example/%d\"}}";
    static const char *const same =
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a.example/\"}}";
    openai_case_t first, c;
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, NULL);
    openai_case_plain(&first, &gb_openai_dialect, "GET", "/models", NULL, NULL, p);
    first.request.method = "POST";
    first.request.path = "/chat/completions";
    first.request.can_fetch = 1;
    openai_case_next(&c, &first, repeated(before, item, 100, "]}]}", p));
    assert_int_equal(c.rv, APR_SUCCESS);
    assert_int_equal(c.plan->fetches->nelts, 100);
    openai_case_next(&c, &first, repeated(before, same, 300, "]}]}", p));
    assert_int_equal(c.plan->fetches->nelts, 1);
    openai_case_next(&c, &first, repeated(before, item, 101, "]}]}", p));
    assert_null(c.plan);
    assert_int_equal(c.err.status, 400);
    assert_string_equal(c.err.code, "invalid_image_url");
    assert_string_equal(c.err.param, "messages[0].content[100].image_url.url");
    apr_pool_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_addresses),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
