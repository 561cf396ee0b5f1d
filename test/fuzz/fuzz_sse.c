/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a stream of the upstream.  The first byte says where it is cut:
 * what comes out is the same as in one piece, and each event of it is JSON.
 */
#include "fuzz.h"

#include "proto/gemini.h"
#include "proto/openai.h"

static const char chat[] =
    "{\"model\":\"gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
    "\"stream\":true,\"stream_options\":{\"include_usage\":true}}";

static gb_plan_t *plan_make(const gb_dialect_t *dialect, const char *path, apr_pool_t *p)
{
    gb_request_t request = {.method = "POST", .path = path};
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};

    request.body = chat;
    request.body_len = sizeof(chat) - 1;
    FUZZ_PROMISE(dialect->parse_request(&plan, &request, gb_settings_make(p), &err, p)
                 == APR_SUCCESS);
    return plan;
}

/* All of it, step bytes at a time (0: at once). */
static apr_status_t run(gb_plan_t *plan, const char *bytes, size_t len, size_t step, gb_buf_t *out,
                        gb_facts_t *facts)
{
    gb_translator_t *t = plan->dialect->start(plan, "text/event-stream", facts);
    apr_status_t rv = APR_SUCCESS;
    size_t at = 0, n;

    while (at < len && rv == APR_SUCCESS) {
        n = step == 0 || step > len - at ? len - at : step;
        rv = plan->dialect->on_chunk(t, bytes + at, n, out);
        at += n;
    }
    return rv == APR_SUCCESS && !facts->has_error ? plan->dialect->on_end(t, out) : rv;
}

static void compare(const gb_dialect_t *dialect, const char *path, const char *bytes, size_t len,
                    size_t step)
{
    apr_pool_t *p = fuzz_pool();
    gb_plan_t *plan = plan_make(dialect, path, p);
    gb_facts_t facts = fuzz_facts(), cut_facts = fuzz_facts();
    apr_status_t rv, cut_rv;
    gb_buf_t whole, cut;

    gb_buf_init_pool(&whole, GB_BUF_MAX_ANSWER, p);
    gb_buf_init_pool(&cut, GB_BUF_MAX_ANSWER, p);
    rv = run(plan, bytes, len, 0, &whole, &facts);
    cut_rv = run(plan, bytes, len, step, &cut, &cut_facts);
    FUZZ_PROMISE(rv == cut_rv);
    FUZZ_PROMISE(whole.len == cut.len
                 && (cut.len == 0 || memcmp(whole.data, cut.data, cut.len) == 0));
    if (dialect == &gb_openai_dialect && whole.len > 0) {
        fuzz_stream_ok(whole.data, whole.len);
    }
    FUZZ_PROMISE(facts.has_content == cut_facts.has_content && facts.finished == cut_facts.finished
                 && facts.total_tokens == cut_facts.total_tokens
                 && facts.has_error == cut_facts.has_error);
    apr_pool_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size > 0 ? (size_t)data[0] % 31 + 1 : 1;

    compare(&gb_openai_dialect, "/chat/completions", (const char *)data, size, step);
    compare(&gb_openai_direct_dialect, "/chat/completions", (const char *)data, size, step);
    return 0;
}
