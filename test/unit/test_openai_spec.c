/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we send and what we answer against the published specifications, and
 * the recordings of real traffic replayed: the properties that every answer and
 * every stream has, whatever stands in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "openai_case.h"
#include "spec_check.h"
#include "proto/openai.h"

static spec_t spec;
static const char *shared;
static apr_pool_t *global;

/* ---- the cases ---- */

static void request_case(const char *folder, apr_pool_t *p)
{
    gb_span_t out = cases_json(p, folder, "out.json"), body = gb_json_get(out, "body");
    gb_span_t error = gb_json_path(out, "answer.error");

    /* numbers that no parser holds pass through us; jansson refuses them */
    if (body.p != NULL && strstr(folder, "/exact_") == NULL) {
        spec_gemini(&spec, "GenerateContentRequest", body.p, body.len, folder);
    }
    if (error.p != NULL) {
        spec_openai(&spec, "Error", error.p, error.len, folder);
    }
}

static void answer_case(const char *folder, apr_pool_t *p)
{
    gb_span_t answer = gb_json_get(cases_json(p, folder, "out.json"), "answer");
    gb_span_t object = gb_json_get(answer, "object");

    if (gb_json_kind(answer) == GB_JSON_OBJECT) {
        spec_openai(&spec,
                    gb_json_eq(object, "list")    ? "ListModelsResponse"
                    : gb_json_eq(object, "model") ? "Model"
                                                  : "CreateChatCompletionResponse",
                    answer.p, answer.len, folder);
    }
}

/* ---- properties of a stream ---- */

/* What one choice has shown so far. */
typedef struct seen_t {
    int roles, reasons, calls;
} seen_t;

typedef struct stream_check_t {
    const char *label;
    seen_t choice[16];
    const char *id, *created;
    size_t id_len, created_len;
    int chunks, done, usages, has_usage_key;
} stream_check_t;

static int count_calls(stream_check_t *s, seen_t *seen, gb_span_t calls)
{
    gb_json_iter_t it, ignored;
    gb_json_fault_t fault;
    apr_int64_t index = -1;
    size_t len = 0;
    const char *text;

    for (gb_json_iter(&it, calls); gb_json_next(&it);) {
        gb_span_t function = gb_json_get(it.value, "function");

        gb_json_int(gb_json_get(it.value, "index"), &index);
        if (index != seen->calls) {
            fail_msg("%s: call %d has index %d", s->label, seen->calls, (int)index);
        }
        seen->calls++;
        if (function.p != NULL) {
            text = gb_json_str(gb_json_get(function, "arguments"), &len, global);
            assert_non_null(text);
            if (gb_json_check(text, len, &fault) != APR_SUCCESS) {
                fail_msg("%s: arguments: %s", s->label, fault.message);
            }
        }
        (void)ignored;
    }
    return seen->calls;
}

static void choice_check(stream_check_t *s, gb_span_t choice)
{
    gb_span_t delta = gb_json_get(choice, "delta"), content = gb_json_get(delta, "content");
    apr_int64_t index = -1;
    seen_t *seen;

    assert_true(gb_json_int(gb_json_get(choice, "index"), &index) && index >= 0 && index < 16);
    seen = &s->choice[index];
    if (seen->reasons > 0) {
        fail_msg("%s: a chunk after the reason", s->label);
    }
    if (gb_json_get(delta, "role").p != NULL) {
        seen->roles++;
    }
    else if (content.p != NULL && content.len <= 2) {
        fail_msg("%s: an empty piece of content", s->label);
    }
    if (seen->roles != 1) {
        fail_msg("%s: %d role chunks", s->label, seen->roles);
    }
    count_calls(s, seen, gb_json_get(delta, "tool_calls"));
    if (gb_json_kind(gb_json_get(choice, "finish_reason")) == GB_JSON_STRING) {
        seen->reasons++;
    }
}

static void same(stream_check_t *s, const char *name, const char **text, size_t *len,
                 gb_span_t value)
{
    if (*text == NULL) {
        *text = apr_pstrmemdup(global, value.p, value.len);
        *len = value.len;
    }
    if (*len != value.len || memcmp(*text, value.p, value.len) != 0) {
        fail_msg("%s: %s changed", s->label, name);
    }
}

static void usage_check(const char *label, gb_span_t usage)
{
    apr_int64_t prompt = -1, completion = -1, total = -1;

    if (gb_json_kind(usage) != GB_JSON_OBJECT) {
        return;
    }
    gb_json_int(gb_json_get(usage, "prompt_tokens"), &prompt);
    gb_json_int(gb_json_get(usage, "completion_tokens"), &completion);
    gb_json_int(gb_json_get(usage, "total_tokens"), &total);
    if (prompt < 0 || completion < 0 || prompt + completion != total) {
        fail_msg("%s: %d + %d is not %d tokens", label, (int)prompt, (int)completion, (int)total);
    }
}

/*
 * The published chunk knows calls of functions only: one of a freeform tool is
 * held against what the same specification says of it in an answer in one piece.
 */
static int custom_check(stream_check_t *s, gb_span_t root)
{
    gb_span_t call = gb_json_path(root, "choices.0.delta.tool_calls.0");

    if (!gb_json_eq(gb_json_get(call, "type"), "custom")) {
        return 0;
    }
    spec_openai(&spec, "ChatCompletionMessageCustomToolCall", call.p, call.len, s->label);
    return 1;
}

static void chunk_check(stream_check_t *s, const char *json, size_t len)
{
    gb_json_fault_t fault;
    gb_json_iter_t it;
    gb_span_t root, usage;

    if (len == 6 && memcmp(json, "[DONE]", 6) == 0) {
        s->done++;
        return;
    }
    if (s->done > 0) {
        fail_msg("%s: a chunk after [DONE]", s->label);
    }
    if (gb_json_check(json, len, &fault) != APR_SUCCESS || fault.has_lone_surrogate) {
        fail_msg("%s: %s", s->label, fault.message);
    }
    root = gb_json_root(json, len);
    if (!custom_check(s, root)) {
        spec_openai(&spec, "CreateChatCompletionStreamResponse", json, len, s->label);
    }
    same(s, "id", &s->id, &s->id_len, gb_json_get(root, "id"));
    same(s, "created", &s->created, &s->created_len, gb_json_get(root, "created"));
    for (gb_json_iter(&it, gb_json_get(root, "choices")); gb_json_next(&it);) {
        choice_check(s, it.value);
    }
    usage = gb_json_get(root, "usage");
    s->has_usage_key += usage.p != NULL;
    s->usages += gb_json_kind(usage) == GB_JSON_OBJECT;
    usage_check(s->label, usage);
    s->chunks++;
}

/* Every event of our own stream; complete: the upstream ended well. */
static void stream_check(const char *label, const char *text, size_t len, int complete, int usage)
{
    stream_check_t s = {.label = label};
    const char *at = text, *end = text + len, *stop;
    size_t i;

    while (at < end && strncmp(at, "data: ", 6) == 0) {
        stop = memmem(at, (size_t)(end - at), "\n\n", 2);
        assert_non_null(stop);
        chunk_check(&s, at + 6, (size_t)(stop - at) - 6);
        at = stop + 2;
    }
    if (s.chunks == 0) {
        return;
    }
    for (i = 0; i < 16; i++) {
        if (s.choice[i].roles > 0 && s.choice[i].reasons != complete) {
            fail_msg("%s: choice %zu has %d reasons", label, i, s.choice[i].reasons);
        }
    }
    if (s.done != complete || s.usages != (complete && usage)
        || s.has_usage_key != (usage ? s.chunks : 0)) {
        fail_msg("%s: %d [DONE], %d usages in %d of %d chunks", label, s.done, s.usages,
                 s.has_usage_key, s.chunks);
    }
}

static void stream_case(const char *folder, apr_pool_t *p)
{
    size_t len, n;
    const char *text = cases_read(&len, p, folder, "out.sse");
    const char *request = cases_read(&n, p, folder, "request.json");

    stream_check(folder, text, len, strstr(text, "\n: complete") && strstr(text, "data: [DONE]"),
                 strstr(request, "include_usage\": true") != NULL);
}

static void test_cases(void **state)
{
    (void)state;
    cases_each("openai_to_gemini", request_case);
    cases_each("gemini_to_openai", answer_case);
    cases_each("stream", stream_case);
}

/* ---- recordings ---- */

#define CLIENT(stream)                                                                             \
    "{\"model\":\"gemini-3.1-pro-preview\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"  \
    "\"stream\":" stream ",\"logprobs\":true,\"stream_options\":{\"include_usage\":true}}"

static int replayed_streams, replayed_answers;

static void replay_stream(const char *label, gb_span_t sse, apr_pool_t *p)
{
    openai_case_t c;
    size_t len = 0;
    const char *bytes = gb_json_str(sse, &len, p);
    gb_buf_t whole, out;
    gb_facts_t facts = openai_case_facts();
    apr_status_t rv;

    openai_case_plain(&c, &gb_openai_dialect, "POST", "/chat/completions", CLIENT("true"), NULL, p);
    gb_buf_init_pool(&whole, GB_BUF_MAX_ANSWER, p);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    rv = openai_case_feed(&c, &facts, &whole, bytes, len, 0, 0);
    if (whole.len > 0) {
        stream_check(label, whole.data, whole.len, rv == APR_SUCCESS && !facts.has_error, 1);
    }
    if (rv == APR_SUCCESS && facts.has_content && whole.len == 0) {
        fail_msg("%s: content was lost", label);
    }
    facts = openai_case_facts();
    assert_int_equal(openai_case_feed(&c, &facts, &out, bytes, len, 0, 1), rv);
    if (out.len != whole.len || (out.len > 0 && memcmp(out.data, whole.data, out.len) != 0)) {
        fail_msg("%s: differs when it comes byte by byte", label);
    }
    replayed_streams++;
}

static void replay_answer(const char *label, gb_span_t body, apr_pool_t *p)
{
    openai_case_t c;
    gb_facts_t facts = openai_case_facts();
    gb_buf_t out;
    apr_status_t rv;

    openai_case_plain(&c, &gb_openai_dialect, "POST", "/chat/completions", CLIENT("false"), NULL,
                      p);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    rv = openai_case_feed(&c, &facts, &out, body.p, body.len, 0, 0);
    if (rv == APR_SUCCESS && out.len > 0) {
        spec_openai(&spec, "CreateChatCompletionResponse", out.data, out.len, label);
        usage_check(label, gb_json_get(gb_json_root(out.data, out.len), "usage"));
    }
    else if (!facts.has_error && facts.has_content) {
        fail_msg("%s: content was lost", label);
    }
    replayed_answers++;
}

static void replay_file(const char *folder, const char *name, apr_pool_t *p)
{
    gb_span_t root = cases_json(p, folder, name), response = gb_json_get(root, "response");
    const char *label = apr_pstrcat(p, folder, "/", name, NULL);
    size_t len = 0;
    const char *path = gb_json_str(gb_json_path(root, "request.path"), &len, p);
    gb_span_t sse = gb_json_get(response, "sse"), body = gb_json_get(response, "body");

    if (gb_json_kind(sse) == GB_JSON_STRING) {
        replay_stream(label, sse, p);
    }
    else if (gb_json_kind(body) == GB_JSON_OBJECT
             && (path == NULL || strstr(path, ":generateContent") != NULL)) {
        replay_answer(label, body, p);
    }
}

static void replay_group(const char *folder, apr_pool_t *p)
{
    apr_array_header_t *names = cases_list(folder, p);
    apr_pool_t *one;
    int i;

    for (i = 0; i < names->nelts; i++) {
        apr_pool_create(&one, p);
        replay_file(folder, APR_ARRAY_IDX(names, i, const char *), one);
        apr_pool_destroy(one);
    }
}

static void test_recordings(void **state)
{
    apr_array_header_t *groups;
    const char *root, *group;
    int i;

    (void)state;
    if (shared == NULL) {
        return;
    }
    root = apr_pstrcat(global, shared, "/fixtures/open", NULL);
    groups = cases_list(root, global);
    for (i = 0; i < groups->nelts; i++) {
        group = APR_ARRAY_IDX(groups, i, const char *);
        if (strcmp(group, "openai-compat") != 0) {
            replay_group(apr_pstrcat(global, root, "/", group, NULL), global);
        }
    }
    print_message("%d streams and %d answers replayed\n", replayed_streams, replayed_answers);
    assert_true(replayed_streams >= 40);
    assert_true(replayed_answers >= 60);
}

/* ---- signatures make the round trip ---- */

typedef enum { BACK_WHOLE, BACK_PLAIN, BACK_RENAMED } back_t;

static int round_trips;

/* The conversation that follows an answer with calls: as it was, without what clients drop, and
 * with ids that nobody knows. */
static const char *followed(gb_span_t message, back_t how, apr_pool_t *p)
{
    gb_json_iter_t it;
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, p);
    gb_buf_puts(&out, "{\"model\":\"gemini-3.1-pro-preview\",\"messages\":[{\"role\":\"user\","
                      "\"content\":\"x\"},");
    if (how == BACK_WHOLE) {
        gb_json_put_span(&out, message);
    }
    else {
        gb_buf_puts(&out, "{\"role\":\"assistant\",\"tool_calls\":");
        for (gb_json_iter(&it, gb_json_get(message, "tool_calls")); gb_json_next(&it);) {
            gb_buf_printf(&out, "%c{\"type\":\"function\",\"id\":", it.index > 0 ? ',' : '[');
            if (how == BACK_RENAMED) {
                gb_buf_printf(&out, "\"other%d\"", (int)it.index);
            }
            else {
                gb_json_put_span(&out, gb_json_get(it.value, "id"));
            }
            gb_buf_puts(&out, ",\"function\":");
            gb_json_put_span(&out, gb_json_get(it.value, "function"));
            gb_buf_putc(&out, '}');
        }
        gb_buf_puts(&out, "]}");
    }
    gb_buf_puts(&out, "]}");
    return out.data;
}

static void signature_back(const char *label, const openai_case_t *before, gb_span_t message,
                           back_t how, gb_span_t want)
{
    openai_case_t c;
    gb_span_t body, part, got = {NULL, 0};
    gb_json_iter_t it;

    openai_case_next(&c, before, followed(message, how, before->p));
    if (c.plan == NULL) {
        fail_msg("%s: %s", label, c.err.message);
    }
    body = gb_json_root(c.plan->body, c.plan->body_len);
    for (gb_json_iter(&it, gb_json_path(body, "contents.1.parts")); gb_json_next(&it);) {
        part = it.value;
        if (gb_json_get(part, "functionCall").p != NULL) {
            got = gb_json_get(part, "thoughtSignature");
            break;
        }
    }
    if (got.len != want.len || memcmp(got.p, want.p, want.len) != 0) {
        fail_msg("%s: way %d: the first call came back with %.*s", label, how,
                 (int)(got.len < 60 ? got.len : 60), got.p != NULL ? got.p : "nothing");
    }
}

static void round_trip(const char *folder, const char *name, apr_pool_t *pool)
{
    gb_span_t body = gb_json_path(cases_json(pool, folder, name), "response.body");
    gb_facts_t facts = openai_case_facts();
    gb_span_t message, signature;
    openai_case_t c;
    gb_buf_t out;

    if (gb_json_kind(body) != GB_JSON_OBJECT) {
        return;
    }
    openai_case_plain(&c, &gb_openai_dialect, "POST", "/chat/completions", CLIENT("false"), NULL,
                      pool);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, pool);
    if (openai_case_feed(&c, &facts, &out, body.p, body.len, 0, 0) != APR_SUCCESS || out.len == 0) {
        return;
    }
    message = gb_json_path(gb_json_root(out.data, out.len), "choices.0.message");
    signature = gb_json_path(message, "tool_calls.0.extra_content.google.thought_signature");
    if (signature.p == NULL) {
        return;
    }
    signature_back(name, &c, message, BACK_WHOLE, signature);
    signature_back(name, &c, message, BACK_PLAIN, signature);
    signature_back(name, &c, message, BACK_RENAMED,
                   (gb_span_t){"\"skip_thought_signature_validator\"", 34});
    round_trips++;
}

static void test_round_trips(void **state)
{
    static const char *const groups[] = {"tools", "thinking", "vertex", "structured"};
    apr_array_header_t *names;
    const char *folder;
    size_t i;
    int k;

    (void)state;
    for (i = 0; shared != NULL && i < sizeof(groups) / sizeof(*groups); i++) {
        folder = apr_pstrcat(global, shared, "/fixtures/open/", groups[i], NULL);
        names = cases_list(folder, global);
        for (k = 0; k < names->nelts; k++) {
            round_trip(folder, APR_ARRAY_IDX(names, k, const char *), global);
        }
    }
    print_message("%d signatures came back\n", round_trips);
    assert_true(shared == NULL || round_trips >= 5);
}

/* ---- every field that OpenAI publishes has a row ---- */

static int has_row(const char *name)
{
    int n, i;
    const gb_openai_field_row_t *rows = gb_openai_fields(&n);

    for (i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return *rows[i].text != '\0';
        }
    }
    return 0;
}

static void fields_of(json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *name;
    json_t *one;
    size_t i;

    if (ref != NULL) {
        schema = json_object_get(spec.openai, strrchr(ref, '/') + 1);
    }
    json_array_foreach(json_object_get(schema, "allOf"), i, one)
    {
        fields_of(one);
    }
    json_object_foreach(json_object_get(schema, "properties"), name, one)
    {
        if (!has_row(name)) {
            fail_msg("the field %s has no row", name);
        }
    }
}

static void test_fields(void **state)
{
    (void)state;
    if (spec.openai != NULL) {
        fields_of(json_object_get(spec.openai, "CreateChatCompletionRequest"));
    }
}

static int setup(void **state)
{
    (void)state;
    apr_pool_create(&global, NULL);
    shared = cases_shared(global);
    spec_load(&spec, shared);
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
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_recordings),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_fields),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
