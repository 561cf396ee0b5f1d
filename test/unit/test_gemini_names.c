/* SPDX-License-Identifier: Apache-2.0 */
/* What a native request refers to that exists for one key only, and what an answer has made. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "proto/gemini.h"

static apr_pool_t *pool;

/* clang-format off */
static const struct {
    const char *method, *path, *body;
    const char *names; /* blank-separated */
} rows[] = {
    {"GET",    "/models/m", "", ""},
    {"POST",   "/models/m:generateContent", "{\"contents\":[]}", ""},
    {"GET",    "/operations/a", "", "operations/a"},
    {"GET",    "/models/m/operations/a", "", "models/m/operations/a"},
    {"GET",    "/files/abc", "", "files/abc"},
    {"DELETE", "/cachedContents/c", "", "cachedContents/c"},
    {"POST",   "/batches/b:cancel", "{}", "batches/b"},
    {"GET",    "/files/abc:download", "", "files/abc"},
    {"GET",    "/fileSearchStores/s/documents/d", "", "fileSearchStores/s/documents/d fileSearchStores/s"},
    {"POST",   "/tunedModels/t:generateContent", "{}", "tunedModels/t"},
    {"GET",    "/cachedContents", "", ""},
    {"POST",   "/models/m:generateContent", "{\"cachedContent\":\"cachedContents/x\"}", "cachedContents/x"},
    {"POST",   "/models/m:countTokens", "{\"generateContentRequest\":{\"cached_content\":\"cachedContents/x\"}}", "cachedContents/x"},
    {"POST",   "/models/m:generateContent",
     "{\"contents\":[{\"parts\":[{\"fileData\":{\"fileUri\":\"https://generativelanguage.googleapis.com/v1beta/files/a\"}},"
     "{\"file_data\":{\"file_uri\":\"http://proxy/x/v1beta/files/b?alt=media\"}},{\"fileData\":{\"fileUri\":\"files/a\"}}]}]}",
     "files/a files/b"},
    {"POST",   "/models/m:generateContent",
     "{\"contents\":[{\"parts\":[{\"fileData\":{\"fileUri\":\"https://example.com/files/a\"}},{\"fileData\":{\"fileUri\":\"gs://b/files/x\"}}]}]}", ""},
    {"POST",   "/models/m:generateContent",
     "{\"contents\":[{\"parts\":[{\"text\":\"see https://h/v1beta/files/a and \\\"cachedContents/b\\\"\"}]}]}", ""},
    {"POST",   "/models/m:batchGenerateContent",
     "{\"batch\":{\"inputConfig\":{\"fileName\":\"files/in\",\"requests\":{\"requests\":[{\"request\":{\"contents\":[{\"parts\":["
     "{\"fileData\":{\"fileUri\":\"https://h/v1beta/files/f\"}}]}]}}]}}}}", "files/in files/f"},
    {"POST",   "/models/m:generateContent", "{\"tools\":[{\"fileSearch\":{\"fileSearchStoreNames\":[\"fileSearchStores/a\",\"fileSearchStores/b\"]}}]}",
     "fileSearchStores/a fileSearchStores/b"},
    {"POST",   "/models/m:generateContent",     /* as PHP writes a slash */
     "{\"contents\":[{\"parts\":[{\"fileData\":{\"fileUri\":\"https:\\/\\/h\\/v1beta\\/files\\/a\"}}]}],\"cachedContent\":\"cachedContents\\/c\"}",
     "files/a cachedContents/c"},
    {"POST",   "/models/m:generateContent", "{\"contents\":[{\"parts\":[{\"file\\u0044ata\":{\"fileUri\":\"http://h/v1beta/fil\\u0065s\\u002fa\"}}]}]}", "files/a"},
    {"POST",   "/models/m:generateContent", "{\"cachedContent\":\"cachedContents\\/c\"}", "cachedContents/c"},
    {"POST",   "/models/m:generateContent", "{\"contents\":[{\"parts\":[{\"text\":\"caf\\u00e9 \\/files\\/a\"}]}]}", ""},
    {"POST",   "/models/veo:fetchPredictOperation", "{\"operationName\":\"projects/p/operations/o\"}", "projects/p/operations/o"},
    {"POST",   "/models/veo:predictLongRunning",
     "{\"instances\":[{\"prompt\":\"x\",\"video\":{\"uri\":\"https://h/v1beta/files/v:download?alt=media\"}}]}", "files/v"},
    {"POST",   "/interactions", "{\"input\":[{\"type\":\"video\",\"uri\":\"https://h/v1beta/files/v\"},{\"uri\":\"https://youtu.be/x\"}]}", "files/v"},
    {"POST",   "/openai/chat/completions", "{\"messages\":[{\"content\":[{\"image_url\":{\"url\":\"https://h/v1beta/files/v\"}}]}]}", "openai/chat/completions openai/chat files/v"},
    {"POST",   "/tunedModels", "{\"tunedModelSource\":{\"tunedModel\":\"tunedModels/t\"}}", "tunedModels/t"},
    {"GET",    "/batches?pageSize=1", "", ""},
    {"GET",    "/batches?pageToken=", "", ""},
    {"GET",    "/batches?pageSize=1&pageToken=a%2Fb%3D", "", "pages/4fbf969b0eb07e9113d61a307102d2ac"},
    {"GET",    "/models?pageToken=a", "", ""},
    {"GET",    "/files?pageToken=a", "", ""},
    {"POST",   "/interactions", "{\"previous_interaction_id\":\"i1\"}", "interactions/i1"},
    {"POST",   "/interactions", "{\"agent\":\"a1\",\"environment\":\"environments/e1\"}", "agents/a1 environments/e1"},
    {"POST",   "/interactions", "{\"environment\":{\"type\":\"remote\"}}", ""},
    {"POST",   "/triggers/t1/executions", "{}", "triggers/t1/executions triggers/t1"},
    {"POST",   "/cachedContents", "{\"contents\":[{\"parts\":[{\"fileData\":{\"fileUri\":\"https://h/v1beta/files/f\"}}]}]}", "files/f"},
};

static const struct {
    const char *method, *path, *answer, *made;
} answers[] = {
    {"POST", "/cachedContents", "{\"name\":\"cachedContents/x\",\"model\":\"models/m\"}", "cachedContents/x"},
    {"POST", "/models/m:predictLongRunning", "{\"name\":\"models/m/operations/o\"}", "models/m/operations/o"},
    {"POST", "/models/m:batchGenerateContent", "{\"name\":\"batches/b\",\"metadata\":{}}", "batches/b"},
    {"POST", "/interactions", "{\"id\":\"i2\",\"status\":\"completed\"}", "interactions/i2"},
    {"POST", "/agents", "{\"id\":\"a2\"}", "agents/a2"},
    {"GET",  "/webhooks/w1", "{\"id\":\"w1\"}", "webhooks/w1"},
    {"POST", "/webhooks", "{\"id\":\"w2\",\"name\":\"Hooks/mine\"}", "webhooks/w2"},
    {"POST", "/webhooks", "{\"name\":\"mine\",\"id\":\"w2\"}", "webhooks/w2"},
    {"GET",  "/models/m", "{\"id\":\"x\"}", NULL},
    {"GET",  "/files/a", "{\"name\":\"files/a\",\"state\":\"ACTIVE\"}", "files/a"},
    {"POST", "/files:register", "{\"file\":{\"name\":\"files/r\"}}", "files/r"},
    {"GET",  "/models/m", "{\"name\":\"models/m\"}", NULL},
    {"GET",  "/cachedContents", "{\"cachedContents\":[{\"name\":\"cachedContents/x\"}]}", NULL},
    {"GET",  "/files", "{}", NULL},
    {"GET",  "/files/a", "no json", NULL},
    {"GET",  "/batches", "{\"operations\":[],\"nextPageToken\":\"a/b=\"}", "pages/4fbf969b0eb07e9113d61a307102d2ac"},
};

/* What an operation has made, beside itself. */
static const struct {
    const char *path, *answer, *list;
} results[] = {
    {"/models/veo/operations/o",
     "{\"name\":\"models/veo/operations/o\",\"done\":true,\"response\":{\"generateVideoResponse\":{\"generatedSamples\":["
     "{\"video\":{\"uri\":\"https://h/v1beta/files/v1:download?alt=media\"}},{\"video\":{\"uri\":\"https://h/v1beta/files/v2\"}}]}}}",
     "[{\"name\":\"files/v1\"},{\"name\":\"files/v2\"}]"},
    {"/batches/b",
     "{\"name\":\"batches/b\",\"metadata\":{\"name\":\"batches/b\",\"output\":{\"responsesFile\":\"files/batch-b\"}},"
     "\"response\":{\"responsesFile\":\"files/batch-b\"}}", "[{\"name\":\"files/batch-b\"}]"},
    {"/tunedModels/t/operations/o", "{\"name\":\"tunedModels/t/operations/o\",\"metadata\":{\"tunedModel\":\"tunedModels/t\"}}",
     "[{\"name\":\"tunedModels/t\"}]"},
    {"/interactions/i", "{\"id\":\"i\",\"outputs\":[{\"type\":\"video\",\"uri\":\"https://h/v1beta/files/v1\"}]}", "[{\"name\":\"files/v1\"}]"},
    {"/cachedContents/c", "{\"name\":\"cachedContents/c\",\"x\":{\"uri\":\"https://h/v1beta/files/v1\"}}", NULL},
    {"/batches/b", "{\"name\":\"batches/b\"}", NULL},
};
/* clang-format on */

static gb_plan_t *plan_for(const char *method, const char *path, const char *body)
{
    const char *query = strchr(path, '?');
    gb_plan_t *plan = NULL;
    gb_request_t r;
    gb_error_t err;

    memset(&r, 0, sizeof(r));
    r.method = method;
    r.path = query != NULL ? apr_pstrmemdup(pool, path, (apr_size_t)(query - path)) : path;
    r.args = query != NULL ? query + 1 : NULL;
    r.body = body;
    r.body_len = strlen(body);
    if (gb_gemini_dialect.parse_request(&plan, &r, gb_settings_make(pool), &err, pool)
        != APR_SUCCESS) {
        fail_msg("%s: %d %s", path, err.status, err.message);
    }
    return plan;
}

static void test_names(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        gb_plan_t *plan = plan_for(rows[i].method, rows[i].path, rows[i].body);
        const char *got = plan->names != NULL ? apr_array_pstrcat(pool, plan->names, ' ') : "";

        if (strcmp(got, rows[i].names) != 0) {
            fail_msg("%s %s: %s, not %s", rows[i].path, rows[i].body, got, rows[i].names);
        }
    }
}

static void test_made(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        gb_plan_t *plan = plan_for(answers[i].method, answers[i].path, "");
        gb_facts_t facts = {0};
        gb_translator_t *t = gb_gemini_dialect.start(plan, "application/json", &facts);
        gb_buf_t out;

        gb_buf_init_pool(&out, 65536, pool);
        gb_gemini_dialect.on_chunk(t, answers[i].answer, strlen(answers[i].answer), &out);
        assert_string_equal(out.data, answers[i].answer);
        if (answers[i].made == NULL ? facts.made != NULL
                                    : facts.made == NULL || strcmp(facts.made, answers[i].made)) {
            fail_msg("%s: %s", answers[i].answer, facts.made != NULL ? facts.made : "nothing");
        }
    }
}

static void test_results(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        gb_plan_t *plan = plan_for("GET", results[i].path, "");
        gb_facts_t facts = {0};
        gb_translator_t *t = gb_gemini_dialect.start(plan, "application/json", &facts);
        gb_buf_t out;

        gb_buf_init_pool(&out, 65536, pool);
        gb_gemini_dialect.on_chunk(t, results[i].answer, strlen(results[i].answer), &out);
        if (results[i].list == NULL
                ? facts.made_list != NULL
                : facts.made_list == NULL || strcmp(facts.made_list, results[i].list) != 0) {
            fail_msg("%s: %s", results[i].answer,
                     facts.made_list != NULL ? facts.made_list : "nothing");
        }
    }
}

/* Which interaction it is stands in the first event, cut wherever it may be. */
static void test_begun(void **state)
{
    static const char *const events[] = {
        "event: interaction.created\ndata: {\"interaction\":{\"id\":\"i3\",\"status\":\"x\"}}\n\n",
        "data: {\"event_type\":\"interaction.status_update\",\"interaction_id\":\"i3\"}\r\n\r\n",
    };
    size_t i, at;

    (void)state;
    for (i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        gb_plan_t *plan = plan_for("POST", "/interactions", "{\"stream\":true}");
        gb_facts_t facts = {0};
        gb_translator_t *t = gb_gemini_dialect.start(plan, "text/event-stream", &facts);
        gb_buf_t out;

        gb_buf_init_pool(&out, 65536, pool);
        for (at = 0; at < strlen(events[i]); at++) {
            gb_gemini_dialect.on_chunk(t, events[i] + at, 1, &out);
        }
        assert_string_equal(out.data, events[i]);
        assert_non_null(facts.made);
        assert_string_equal(facts.made, "interactions/i3");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_made),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_begun),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
