/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an answer to calls for vectors, pictures and transcripts, and as
 * the bodies of the first two.  What comes out is JSON where it says so, or
 * nothing; what is refused is refused with a sentence.
 */
#include "fuzz.h"

#include "base/multipart.h"
#include "proto/openai.h"

/* A form of a recording; the field between asks for a form of the answer. */
#define FORM(fields)                                                                               \
    "--abc\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n"           \
    "RIFF....WAVE\r\n--abc\r\n" fields "--abc--"
#define FIELD(name, value) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

/* clang-format off */
static const struct {
    const char *path, *body;
} clients[] = {
    {"/embeddings",           "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}"                       },
    {"/embeddings",           "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"base64\"}"},
    {"/images/generations",   "{\"prompt\":\"x\",\"model\":\"gemini-3-pro-image\",\"n\":2}"     },
    {"/images/generations",   "{\"prompt\":\"x\",\"response_format\":\"url\"}"                  },
    {"/images/generations",   "{\"prompt\":\"x\",\"stream\":true}"                              },
    {"/chat/completions",
     "{\"model\":\"imagen-3.0-generate-002-chat\",\"messages\":[{\"role\":\"user\","
     "\"content\":\"x\"}]}"                                                                     },
    {"/chat/completions",
     "{\"model\":\"imagen-3.0-generate-002-chat\",\"stream\":true,\"messages\":[{\"role\":"
     "\"user\",\"content\":\"x\"}]}"                                                            },
    {"/audio/transcriptions", FORM(FIELD("model", "whisper-1"))                                 },
    {"/audio/transcriptions", FORM(FIELD("response_format", "verbose_json"))                    },
    {"/audio/transcriptions", FORM(FIELD("response_format", "diarized_json"))                   },
    {"/audio/transcriptions", FORM(FIELD("response_format", "srt"))                             },
    {"/audio/translations",   FORM(FIELD("stream", "true"))                                     },
};
/* clang-format on */

static gb_plan_t *plan_make(size_t i, apr_pool_t *p)
{
    gb_request_t request = {.method = "POST", .path = clients[i].path, .can_host = 1};
    gb_form_t *form = gb_form_make("multipart/form-data; boundary=abc", p);
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};

    request.body = clients[i].body;
    request.body_len = strlen(request.body);
    if (*request.body == '-') {
        FUZZ_PROMISE(gb_form_feed(form, request.body, request.body_len) == APR_SUCCESS);
        FUZZ_PROMISE(gb_form_end(form) == APR_SUCCESS);
        request.form = gb_form_parts(form);
    }
    FUZZ_PROMISE(gb_openai_dialect.parse_request(&plan, &request, gb_settings_make(p), &err, p)
                 == APR_SUCCESS);
    return plan;
}

/* As an event when the upstream streams. */
static apr_status_t feed(gb_plan_t *plan, gb_translator_t *t, const char *bytes, size_t len,
                         gb_buf_t *out)
{
    gb_buf_t event;

    if (!plan->upstream_stream) {
        return plan->dialect->on_chunk(t, bytes, len, out);
    }
    gb_buf_init_pool(&event, GB_BUF_MAX_ANSWER, plan->pool);
    gb_buf_puts(&event, "data: ");
    gb_buf_append(&event, bytes, len);
    gb_buf_puts(&event, "\r\n\r\n");
    return plan->dialect->on_chunk(t, event.data, event.len, out);
}

static void answer(size_t i, const char *bytes, size_t len)
{
    apr_pool_t *p = fuzz_pool();
    gb_facts_t facts = fuzz_facts();
    gb_plan_t *plan = plan_make(i, p);
    gb_translator_t *t = plan->dialect->start(plan, "application/json", &facts);
    gb_buf_t out;
    apr_status_t rv;
    int n;

    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    rv = feed(plan, t, bytes, len, &out);
    for (n = 1; n < plan->fan_out && rv == APR_SUCCESS && !facts.has_error; n++) {
        rv = feed(plan, t, bytes, len, &out);
    }
    if (rv == APR_SUCCESS && !facts.has_error) {
        rv = plan->dialect->on_end(t, &out);
    }
    if (rv == APR_SUCCESS && !facts.has_error && out.len > 0
        && strcmp(plan->answer_type, "application/json") == 0) {
        FUZZ_PROMISE(fuzz_is_json(out.data, out.len));
    }
    FUZZ_PROMISE(!facts.has_error || fuzz_is_json(facts.error_json, facts.error_len));
    apr_pool_destroy(p);
}

static void request(const char *path, const char *bytes, size_t len)
{
    apr_pool_t *p = fuzz_pool();
    gb_request_t asked = {.method = "POST", .path = path, .body = bytes, .body_len = len};
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};
    int i;

    if (gb_openai_dialect.parse_request(&plan, &asked, gb_settings_make(p), &err, p)
        != APR_SUCCESS) {
        FUZZ_PROMISE(err.status >= 400 && err.status < 500 && *err.message != '\0');
    }
    else {
        FUZZ_PROMISE(fuzz_is_json(plan->body, plan->body_len));
        for (i = 0; plan->bodies != NULL && i < plan->fan_out; i++) {
            FUZZ_PROMISE(fuzz_is_json(plan->bodies[i].p, plan->bodies[i].len));
        }
        if (plan->other_model != NULL) {
            FUZZ_PROMISE(plan->dialect->instead(plan) == APR_SUCCESS);
            FUZZ_PROMISE(fuzz_is_json(plan->body, plan->body_len));
        }
    }
    apr_pool_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t i;

    for (i = 0; i < sizeof(clients) / sizeof(*clients); i++) {
        answer(i, (const char *)data, size);
    }
    request("/embeddings", (const char *)data, size);
    request("/images/generations", (const char *)data, size);
    return 0;
}
