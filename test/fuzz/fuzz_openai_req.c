/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the body of a chat request: refused with a sentence, or a plan
 * with a JSON body; dropping fields and handing in pictures keep it one.
 */
#include "fuzz.h"

#include "proto/openai.h"

static const char *const fields[] = {
    "temperature",        "topP",   "penalty",         "thinkingLevel", "parametersJsonSchema",
    "responseJsonSchema", "schema", "mediaResolution", "store",         "thinkingConfig",
};

static void body_ok(const gb_plan_t *plan)
{
    FUZZ_PROMISE(plan->body != NULL && fuzz_is_json(plan->body, plan->body_len));
    FUZZ_PROMISE(plan->path != NULL && *plan->path == '/' && strchr(plan->path, ' ') == NULL);
}

static void fetch_all(gb_plan_t *plan)
{
    static const char png[] = "\x89PNG\r\n\x1a\nx";
    gb_error_t err = {0};
    int i;

    for (i = 0; i < plan->fetches->nelts; i++) {
        APR_ARRAY_IDX(plan->fetches, i, gb_fetch_t).bytes = png;
        APR_ARRAY_IDX(plan->fetches, i, gb_fetch_t).len = sizeof(png) - 1;
    }
    FUZZ_PROMISE(plan->dialect->resume(plan, &err) == APR_SUCCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    gb_request_t request = {.method = "POST", .path = "/chat/completions", .can_fetch = 1};
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};
    gb_buf_t out;
    size_t i;

    request.body = (const char *)data;
    request.body_len = size;
    gb_buf_init_pool(&out, GB_BUF_MAX_ERROR, p);
    if (gb_openai_dialect.parse_request(&plan, &request, gb_settings_make(p), &err, p)
        != APR_SUCCESS) {
        FUZZ_PROMISE(err.status >= 400 && err.status < 500 && *err.message != '\0');
        gb_openai_dialect.error_body(NULL, &err, 0, &out);
        FUZZ_PROMISE(fuzz_is_json(out.data, out.len));
        apr_pool_destroy(p);
        return 0;
    }
    if (plan->fetches != NULL && plan->fetches->nelts > 0) {
        FUZZ_PROMISE(plan->body == NULL);
        fetch_all(plan);
    }
    body_ok(plan);
    for (i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        gb_openai_dialect.drop_field(plan, fields[i]);
        body_ok(plan);
    }
    apr_pool_destroy(p);
    return 0;
}
