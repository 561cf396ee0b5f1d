/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an answer of the upstream: in one piece, as one event of a
 * stream, and as two answers of a fan-out.  What comes out is JSON, or nothing.
 */
#include "fuzz.h"

#include "proto/gemini.h"
#include "proto/openai.h"

static const char *const clients[] = {
    "{\"model\":\"gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"logprobs\":true,\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"sql\"}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"get weather\"}}]}",
    "{\"model\":\"gemini-3.8-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":2,"
    "\"web_search_options\":{},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}",
    "{\"model\":\"gemini-2.5-flash-preview-tts\",\"messages\":[{\"role\":\"user\",\"content\":"
    "\"x\"}"
    "],\"functions\":[{\"name\":\"f\"}],\"audio\":{\"voice\":\"alloy\",\"format\":\"wav\"}}",
    "{\"model\":\"gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"stream\":true,\"logprobs\":true,\"stream_options\":{\"include_usage\":true}}",
    "{\"model\":\"gemini-4-argon\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"functions\":[{\"name\":\"f\"}]}",
};

/* As an event when the upstream streams. */
static void feed(gb_plan_t *plan, gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    gb_buf_t event;

    if (!plan->upstream_stream) {
        plan->dialect->on_chunk(t, bytes, len, out);
        return;
    }
    gb_buf_init_pool(&event, GB_BUF_MAX_ANSWER, plan->pool);
    gb_buf_puts(&event, "data: ");
    gb_buf_append(&event, bytes, len);
    gb_buf_puts(&event, "\r\n\r\n");
    plan->dialect->on_chunk(t, event.data, event.len, out);
}

static void answer(const char *client, const char *bytes, size_t len)
{
    apr_pool_t *p = fuzz_pool();
    gb_request_t request = {.method = "POST", .path = "/chat/completions"};
    gb_settings_t *settings = gb_settings_make(p);
    gb_facts_t facts = fuzz_facts();
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};
    gb_translator_t *t;
    gb_buf_t out;

    settings->image_output = "both";
    request.body = client;
    request.body_len = strlen(client);
    FUZZ_PROMISE(gb_openai_dialect.parse_request(&plan, &request, settings, &err, p)
                 == APR_SUCCESS);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    t = plan->dialect->start(plan, "application/json", &facts);
    feed(plan, t, bytes, len, &out);
    if (plan->fan_out > 1 && !facts.has_error) {
        feed(plan, t, bytes, len, &out);
    }
    if (!facts.has_error && plan->dialect->on_end(t, &out) == APR_SUCCESS && out.len > 0) {
        FUZZ_PROMISE(plan->stream || fuzz_is_json(out.data, out.len));
    }
    if (plan->stream && out.len > 0) {
        fuzz_stream_ok(out.data, out.len);
    }
    apr_pool_destroy(p);
}

static void other(const gb_dialect_t *dialect, const char *method, const char *path,
                  const char *bytes, size_t len)
{
    apr_pool_t *p = fuzz_pool();
    gb_request_t request = {.method = method, .path = path};
    gb_facts_t facts = fuzz_facts();
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};
    gb_translator_t *t;
    gb_buf_t out;

    request.body = "{\"model\":\"m\"}";
    request.body_len = strlen(request.body);
    FUZZ_PROMISE(dialect->parse_request(&plan, &request, gb_settings_make(p), &err, p)
                 == APR_SUCCESS);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    t = dialect->start(plan, "application/json", &facts);
    if (dialect->on_chunk(t, bytes, len, &out) == APR_SUCCESS
        && dialect->on_end(t, &out) == APR_SUCCESS && dialect == &gb_openai_dialect) {
        FUZZ_PROMISE(fuzz_is_json(out.data, out.len));
    }
    apr_pool_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i;

    for (i = 0; i < sizeof(clients) / sizeof(*clients); i++) {
        answer(clients[i], (const char *)data, size);
    }
    other(&gb_openai_dialect, "GET", "/models", (const char *)data, size);
    other(&gb_openai_dialect, "GET", "/models/m", (const char *)data, size);
    other(&gb_openai_direct_dialect, "POST", "/chat/completions", (const char *)data, size);
    return 0;
}
