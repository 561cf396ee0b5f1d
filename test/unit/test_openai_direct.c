/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The direct surface: nothing of the client's or the upstream's bytes changes,
 * and what the exchange must know is seen all the same.
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

#include "openai_case.h"
#include "proto/openai.h"

#define DIRECT (&gb_openai_direct_dialect)

static apr_pool_t *p;

/* ---- requests ---- */

/* clang-format off */
static const struct {
    int line;
    const char *method, *path, *body;
    int status;             /* 0: a plan */
    const char *upstream;   /* its path, or the Allow header */
    const char *model;
    int stream;
} requests[] = {
    {__LINE__, "POST", "/chat/completions", "{ \"model\" : \"models/gemini-2.5-flash\", \"x\":19.990 }", 0, "/openai/chat/completions", "gemini-2.5-flash", 0},
    {__LINE__, "POST", "/chat/completions", "{\"model\":\"gemini-2.5-flash\",\"stream\":true}", 0, "/openai/chat/completions", "gemini-2.5-flash", 1},
    {__LINE__, "POST", "/embeddings", "{\"model\":\"gemini-embedding-001\",\"input\":\"x\"}", 0, "/openai/embeddings", "gemini-embedding-001", 0},
    {__LINE__, "GET", "/models", NULL, 0, "/openai/models", "", 0},
    {__LINE__, "GET", "/models/gemini 2", NULL, 0, "/openai/models/gemini%202", "", 0},
    {__LINE__, "POST", "/chat/completions", "{", 400, NULL, NULL, 0},
    {__LINE__, "POST", "/chat/completions", "[]", 400, NULL, NULL, 0},
    {__LINE__, "POST", "/chat/completions", "{\"model\":\"../x\"}", 400, NULL, NULL, 0},
    {__LINE__, "POST", "/chat/completions", "{\"model\":\"gemini-pro-vision\"}", 404, NULL, NULL, 0},
    {__LINE__, "GET", "/chat/completions", NULL, 405, "POST", NULL, 0},
    {__LINE__, "POST", "/models", "{}", 405, "GET, HEAD", NULL, 0},
    {__LINE__, "DELETE", "/batches", NULL, 405, "GET, HEAD, POST", NULL, 0},
    {__LINE__, "GET", "/models/../x", NULL, 404, NULL, NULL, 0},
    {__LINE__, "POST", "/audio/speech", "{}", 404, NULL, NULL, 0},
};
/* clang-format on */

static void test_requests(void **state)
{
    openai_case_t c;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        openai_case_plain(&c, DIRECT, requests[i].method, requests[i].path, requests[i].body, NULL,
                          p);
        if (requests[i].status != 0) {
            if (c.plan != NULL || c.err.status != requests[i].status
                || (requests[i].upstream != NULL
                    && strcmp(requests[i].upstream, c.err.allow) != 0)) {
                fail_msg("line %d: %d %s", requests[i].line, c.err.status, c.err.message);
            }
            continue;
        }
        if (c.plan == NULL || strcmp(c.plan->path, requests[i].upstream) != 0
            || strcmp(c.plan->model_used, requests[i].model) != 0
            || c.plan->stream != requests[i].stream || !c.plan->bearer
            || c.plan->body != c.request.body || c.plan->body_len != c.request.body_len) {
            fail_msg("line %d: %s", requests[i].line,
                     c.plan != NULL ? c.plan->path : c.err.message);
        }
    }
}

static void test_query(void **state)
{
    gb_request_t request = {.method = "GET", .path = "/models", .args = "pageSize=5"};
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};

    (void)state;
    assert_int_equal(DIRECT->parse_request(&plan, &request, gb_settings_make(p), &err, p),
                     APR_SUCCESS);
    assert_string_equal(plan->path, "/openai/models?pageSize=5");
}

/* ---- answers ---- */

#define CHUNK(delta, reason)                                                                       \
    "data: {\"choices\": [{\"delta\": {" delta "},\"finish_reason\":" reason ",\"index\":0}],"     \
    "\"created\":1,\"id\":\"abc\",\"model\":\"gemini-2.5-flash\",\"object\":"                      \
    "\"chat.completion.chunk\"}\n\n"
#define HELLO CHUNK("\"content\":\"H\\u00fc 19.990\"", "null")
#define LAST                                                                                       \
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\",\"index\":0}],\"usage\":"        \
    "{\"prompt_tokens\":4,\"completion_tokens\":2,\"total_tokens\":9,"                             \
    "\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\n"

/* clang-format off */
static const struct {
    int line;
    const char *in;
    const char *out;        /* NULL: the same */
    apr_status_t rv;
    int content, finished, error;
    apr_int64_t total;
} streams[] = {
    {__LINE__, HELLO LAST "data: [DONE]\n\n", NULL, APR_SUCCESS, 1, 1, 0, 9},
    {__LINE__, ": hi\n\n" HELLO ": keep\n\n" LAST "data: [DONE]\n\n", NULL, APR_SUCCESS, 1, 1, 0, 9},
    {__LINE__, HELLO "data: [DONE]", NULL, APR_SUCCESS, 1, 0, 0, -1},
    {__LINE__, HELLO, NULL, APR_INCOMPLETE, 1, 0, 0, -1},
    {__LINE__, "data: [DONE]\n\n", NULL, APR_SUCCESS, 0, 0, 0, -1},
    {__LINE__, "", NULL, APR_INCOMPLETE, 0, 0, 0, -1},
    {__LINE__, HELLO "data: {\"error\":{\"code\":503,\"message\":\"x\"}}\n\n" LAST, HELLO, APR_SUCCESS, 1, 0, 1, -1},
    {__LINE__, "[{\"error\":{\"code\":429,\n \"message\":\"x\"}}]", "", APR_SUCCESS, 0, 0, 1, -1},
    {__LINE__, CHUNK("\"tool_calls\":[{\"id\":\"\",\"function\":{\"name\":\"f\"}}]", "\"tool_calls\"") "data: [DONE]\n\n", NULL, APR_SUCCESS, 1, 1, 0, -1},
    {__LINE__, CHUNK("\"role\":\"assistant\"", "\"length\"") "data: [DONE]\n\n", NULL, APR_SUCCESS, 1, 1, 0, -1},
    {__LINE__, CHUNK("\"role\":\"assistant\"", "\"content_filter\"") "data: [DONE]\n\n", NULL, APR_SUCCESS, 0, 1, 0, -1},
};
/* clang-format on */

static void stream_row(openai_case_t *c, size_t row, size_t cut)
{
    const char *want = streams[row].out != NULL ? streams[row].out : streams[row].in;
    gb_facts_t facts = openai_case_facts();
    gb_buf_t out;
    apr_status_t rv;

    gb_buf_init(&out, GB_BUF_MAX_ANSWER);
    gb_buf_puts(&out, "");
    rv = openai_case_feed(c, &facts, &out, streams[row].in, strlen(streams[row].in), cut, 0);
    if (rv != streams[row].rv || strcmp(out.data, want) != 0
        || facts.has_content != streams[row].content || facts.finished != streams[row].finished
        || facts.has_error != streams[row].error || facts.total_tokens != streams[row].total) {
        fail_msg("line %d, cut at %zu: rv %d, content %d, finished %d, error %d, total %d:\n%s",
                 streams[row].line, cut, rv, facts.has_content, facts.finished, facts.has_error,
                 (int)facts.total_tokens, out.data);
    }
    gb_buf_free(&out);
}

static void test_streams(void **state)
{
    openai_case_t c;
    size_t i, cut;

    (void)state;
    openai_case_plain(&c, DIRECT, "POST", "/chat/completions",
                      "{\"model\":\"gemini-2.5-flash\",\"stream\":true}", NULL, p);
    assert_non_null(c.plan);
    for (i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
        for (cut = 0; cut == 0 || cut < strlen(streams[i].in); cut++) {
            stream_row(&c, i, cut);
        }
    }
}

static void test_answer(void **state)
{
    static const char body[] =
        "{\"choices\": [{\"finish_reason\": \"stop\", \"index\": 0, \"message\": {\"content\": "
        "\"19.990\", \"role\": \"assistant\"}}], \"model\": \"gemini-2.5-flash\",\n \"usage\": "
        "{\"completion_tokens\": 2, \"prompt_tokens\": 4, \"total_tokens\": 6}}\n";
    gb_facts_t facts = openai_case_facts();
    openai_case_t c;
    gb_buf_t out;

    (void)state;
    openai_case_plain(&c, DIRECT, "POST", "/chat/completions", "{\"model\":\"m\"}", NULL, p);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    assert_int_equal(openai_case_feed(&c, &facts, &out, body, sizeof(body) - 1, 0, 0), APR_SUCCESS);
    assert_string_equal(out.data, body);
    assert_true(facts.has_content && facts.finished);
    assert_int_equal(facts.prompt_tokens, 4);
    assert_int_equal(facts.total_tokens, 6);
    assert_string_equal(facts.finish_reason, "stop");
    assert_string_equal(facts.model_version, "gemini-2.5-flash");
}

/* A cache belongs to one key: the pool must know which one is spoken of. */
static void test_names(void **state)
{
    openai_case_t c;

    (void)state;
    openai_case_plain(&c, DIRECT, "POST", "/chat/completions",
                      "{\"model\":\"m\",\"extra_body\":{\"google\":{\"cached_content\":"
                      "\"cachedContents/a\"}}}",
                      NULL, p);
    assert_non_null(c.plan->names);
    assert_string_equal(APR_ARRAY_IDX(c.plan->names, 0, const char *), "cachedContents/a");
    openai_case_plain(&c, DIRECT, "POST", "/chat/completions", "{\"model\":\"m\"}", NULL, p);
    assert_null(c.plan->names);
}

static int setup(void **state)
{
    (void)state;
    apr_pool_create(&p, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(p);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests), cmocka_unit_test(test_query),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_streams),
        cmocka_unit_test(test_answer),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
