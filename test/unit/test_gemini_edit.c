/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Features on the native surface: what settings and the model's name put into a
 * client's body, byte for byte, and that nothing else is touched.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "cases.h"
#include "proto/gemini.h"

static apr_pool_t *pool;

#define HI "\"contents\":[{\"parts\":[{\"text\":\"Hi\"}]}]"

typedef struct row_t {
    const char *settings; /* JSON object of names and values */
    const char *model;    /* with its method */
    const char *body;
    const char *want; /* NULL: untouched, the very same bytes */
    const char *path; /* NULL: as asked for */
} row_t;

/* clang-format off */
static const row_t rows[] = {
    /* nothing asks for anything */
    {"{}", "gemini-2.5-flash:generateContent", "{ " HI " }\n", NULL, NULL},
    {"{\"THINKING_BUDGET_MAP\":{\"other\":5}}", "gemini-2.5-flash:generateContent", "{" HI "}", NULL, NULL},
    {"{\"SHOW_THINKING_PROCESS\":\"true\",\"SHOW_SEARCH_LINK\":\"true\"}", "gemini-2.5-flash:generateContent", "{" HI "}", NULL, NULL},
    /* search */
    {"{}", "gemini-2.5-flash-search:generateContent", "{" HI "}",
     "{" HI ",\"tools\":[{\"googleSearch\":{}}]}", "/models/gemini-2.5-flash:generateContent"},
    {"{}", "gemini-2.5-flash-search:streamGenerateContent", "{ \"tools\" : [ {\"urlContext\": {}} ], " HI ",\"x\":19.99}",
     "{ \"tools\" : [ {\"urlContext\": {}} ,{\"googleSearch\":{}}], " HI ",\"x\":19.99}",
     "/models/gemini-2.5-flash:streamGenerateContent"},
    {"{}", "gemini-2.5-flash-search:generateContent", "{" HI ",\"tools\":[{\"google_search\":{}}]}", NULL,
     "/models/gemini-2.5-flash:generateContent"},
    {"{}", "gemini-2.5-flash-search:generateContent", "{" HI ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"}]}]}", NULL,
     "/models/gemini-2.5-flash:generateContent"},
    {"{}", "gemini-2.5-flash-search:generateContent", "{" HI ",\"cachedContent\":\"cachedContents/a\"}", NULL,
     "/models/gemini-2.5-flash:generateContent"},
    {"{\"SEARCH_MODELS\":[]}", "gemini-2.5-flash-search:generateContent", "{" HI "}", NULL, NULL},
    {"{}", "gemini-2.5-flash-search:countTokens", "{" HI "}", NULL, "/models/gemini-2.5-flash:countTokens"},
    /* pictures */
    {"{}", "gemini-2.0-flash-exp-image:generateContent", "{" HI ",\"generation_config\":{\"temperature\": 0.70000000000000001}}",
     "{" HI ",\"generation_config\":{\"temperature\": 0.70000000000000001,\"responseModalities\":[\"TEXT\",\"IMAGE\"]}}",
     "/models/gemini-2.0-flash-exp:generateContent"},
    {"{}", "gemini-2.0-flash-exp-image:generateContent", "{" HI ",\"generationConfig\":{\"responseModalities\":[\"IMAGE\"]}}", NULL,
     "/models/gemini-2.0-flash-exp:generateContent"},
    {"{\"IMAGE_MODELS\":\"gemini-2.5-flash\"}", "gemini-2.5-flash-image:generateContent", "{" HI "}", NULL, NULL},
    /* thinking */
    {"{\"THINKING_MODELS\":\"gemini-2.5-flash\"}", "gemini-2.5-flash-non-thinking:generateContent", "{" HI "}",
     "{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":0}}}", "/models/gemini-2.5-flash:generateContent"},
    {"{\"THINKING_MODELS\":\"gemini-2.5-pro\"}", "gemini-2.5-pro-non-thinking:generateContent",
     "{" HI ",\"generationConfig\":{\"thinking_config\":{\"thinking_budget\":9}}}",
     "{" HI ",\"generationConfig\":{\"thinking_config\":{\"thinkingBudget\":128}}}", "/models/gemini-2.5-pro:generateContent"},
    {"{\"THINKING_MODELS\":\"gemini-3-flash\"}", "gemini-3-flash-non-thinking:generateContent", "{" HI "}",
     "{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"thinkingLevel\":\"MINIMAL\"}}}", "/models/gemini-3-flash:generateContent"},
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":2048}}", "gemini-2.5-pro:generateContent", "{" HI "}",
     "{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":2048,\"includeThoughts\":true}}}", NULL},
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":2048},\"SHOW_THINKING_PROCESS\":\"false\"}", "gemini-2.5-pro:generateContent", "{" HI "}",
     "{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":2048}}}", NULL},
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":2048}}", "gemini-2.5-pro:generateContent",
     "{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"includeThoughts\":true}}}", NULL, NULL},
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":0}}", "gemini-2.5-pro:generateContent", "{" HI "}", NULL, NULL},
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-3-pro\":30000}}", "gemini-3-pro:generateContent", "{" HI "}",
     "{" HI ",\"generationConfig\":{\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\",\"includeThoughts\":true}}}", NULL},
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-embedding-001\":5}}", "gemini-embedding-001:generateContent", "{" HI "}", NULL, NULL},
    /* code execution and URL context */
    {"{\"TOOLS_CODE_EXECUTION_ENABLED\":\"true\"}", "gemini-2.5-flash:generateContent", "{" HI "}",
     "{" HI ",\"tools\":[{\"codeExecution\":{}}]}", NULL},
    {"{\"TOOLS_CODE_EXECUTION_ENABLED\":\"true\"}", "gemini-2.5-flash:generateContent",
     "{\"contents\":[{\"parts\":[{\"inline_data\":{\"data\":\"\"}}]}]}", NULL, NULL},
    {"{\"TOOLS_CODE_EXECUTION_ENABLED\":\"true\"}", "gemini-2.5-flash:generateContent",
     "{" HI ",\"generationConfig\":{\"responseMimeType\":\"application/json\"}}", NULL, NULL},
    {"{\"TOOLS_CODE_EXECUTION_ENABLED\":\"true\"}", "gemini-2.5-flash:generateContent",
     "{" HI ",\"tools\":[{\"googleSearch\":{}}]}", NULL, NULL},
    {"{\"URL_CONTEXT_ENABLED\":\"true\"}", "gemini-2.5-flash:generateContent", "{" HI ",\"tools\":[]}",
     "{" HI ",\"tools\":[{\"urlContext\":{}}]}", NULL},
    {"{\"URL_CONTEXT_ENABLED\":\"true\"}", "gemini-1.5-flash:generateContent", "{" HI "}", NULL, NULL},
    /* safety: the client's own win */
    {"{\"SAFETY_SETTINGS\":[{\"category\":\"A\",\"threshold\":\"OFF\"}]}", "gemini-2.5-flash:generateContent", "{" HI "}",
     "{" HI ",\"safetySettings\":[{\"category\":\"A\",\"threshold\":\"OFF\"}]}", NULL},
    {"{\"SAFETY_SETTINGS\":[{\"category\":\"A\",\"threshold\":\"OFF\"}]}", "gemini-2.5-flash:generateContent",
     "{" HI ",\"safety_settings\":[]}", NULL, NULL},
    {"{\"SAFETY_SETTINGS\":[]}", "gemini-2.5-flash:generateContent", "{" HI "}", NULL, NULL},
    {"{\"SAFETY_SETTINGS\":[{\"category\":\"A\",\"threshold\":\"OFF\"}]}", "gemini-2.5-flash:embedContent", "{" HI "}", NULL, NULL},
    /* aliases */
    {"{\"MODEL_ALIASES\":{\"mine\":\"gemini-2.5-pro\"}}", "mine:generateContent", "{" HI "}", NULL,
     "/models/gemini-2.5-pro:generateContent"},
    {"{\"MODEL_ALIASES\":{\"mine\":\"gemini-2.5-pro\"}}", "mine:countTokens",
     "{\"generateContentRequest\":{\"model\": \"models/mine\"," HI "}}",
     "{\"generateContentRequest\":{\"model\": \"models/gemini-2.5-pro\"," HI "}}", "/models/gemini-2.5-pro:countTokens"},
    {"{\"MODEL_ALIASES\":{\"mine\":\"gemini-embedding-001\"}}", "mine:embedContent",
     "{\"model\":\"mine\",\"content\":{}}", "{\"model\":\"models/gemini-embedding-001\",\"content\":{}}",
     "/models/gemini-embedding-001:embedContent"},
    {"{\"MODEL_ALIASES\":{\"mine\":\"gemini-embedding-001\"}}", "mine:embedContent",
     "{\"model\":\"models\\/mine\",\"content\":{}}", "{\"model\":\"models/gemini-embedding-001\",\"content\":{}}",
     "/models/gemini-embedding-001:embedContent"},
    {"{\"MODEL_ALIASES\":{\"mine\":\"gemini-embedding-001\"}}", "mine:batchEmbedContents",
     "{\"requests\":[{\"model\":\"models/mine\"},{\"model\":\"models/else\"}]}",
     "{\"requests\":[{\"model\":\"models/gemini-embedding-001\"},{\"model\":\"models/else\"}]}",
     "/models/gemini-embedding-001:batchEmbedContents"},
    {"{\"MODEL_ALIASES\":{\"mine\":\"gemini-2.5-flash-search\"}}", "mine:generateContent", "{" HI "}",
     "{" HI ",\"tools\":[{\"googleSearch\":{}}]}", "/models/gemini-2.5-flash:generateContent"},
    /* several at once, the client's other members untouched */
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":1},\"URL_CONTEXT_ENABLED\":\"true\"}", "gemini-2.5-pro-search:generateContent",
     "{\"generationConfig\":{ \"seed\":123456789012345678901234567890 }," HI ",\"brandNew\":{\"a\":[1,2]}}",
     "{\"generationConfig\":{ \"seed\":123456789012345678901234567890,\"thinkingConfig\":{\"thinkingBudget\":1,\"includeThoughts\":true} },"
     HI ",\"brandNew\":{\"a\":[1,2]},\"tools\":[{\"googleSearch\":{}},{\"urlContext\":{}}]}",
     "/models/gemini-2.5-pro:generateContent"},
    /* what Google will refuse is Google's to refuse */
    {"{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":1}}", "gemini-2.5-pro:generateContent", "{" HI ",\"generationConfig\":5}", NULL, NULL},
    {"{}", "gemini-2.5-flash-search:generateContent", "{" HI ",\"tools\":{}}", NULL, "/models/gemini-2.5-flash:generateContent"},
};
/* clang-format on */

static const gb_settings_t *settings_from(const char *json)
{
    return cases_settings(gb_json_root(json, strlen(json)), pool);
}

static apr_status_t parse(gb_plan_t **plan, const gb_settings_t *settings, const char *method,
                          const char *path, const char *body, gb_error_t *err)
{
    gb_request_t r;

    memset(&r, 0, sizeof(r));
    r.method = method;
    r.path = path;
    r.body = body;
    r.body_len = strlen(body);
    return gb_gemini_dialect.parse_request(plan, &r, settings, err, pool);
}

static void check_row(const row_t *row)
{
    const char *path = apr_pstrcat(pool, "/models/", row->model, NULL);
    const char *want = row->want != NULL ? row->want : row->body;
    gb_plan_t *plan = NULL;
    gb_error_t err;

    if (parse(&plan, settings_from(row->settings), "POST", path, row->body, &err) != APR_SUCCESS) {
        fail_msg("%s: %d %s", path, err.status, err.message);
    }
    if (plan->body_len != strlen(want) || memcmp(plan->body, want, plan->body_len) != 0) {
        fail_msg("%s of %s with %s:\n%.*s\nnot\n%s", path, row->body, row->settings,
                 (int)plan->body_len, plan->body, want);
    }
    if (row->want == NULL) {
        assert_ptr_equal(plan->body, row->body);
    }
    assert_string_equal(plan->path, row->path != NULL ? row->path : path);
}

static void test_rows(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_row(&rows[i]);
    }
}

static void test_filtered_models(void **state)
{
    const gb_settings_t *settings = settings_from(
        "{\"FILTERED_MODELS\":\"gemini-2.5-pro,tuned\",\"MODEL_ALIASES\":{\"mine\":\"gemini-2.5-"
        "pro\"}}");
    static const char *const paths[] = {"/models/gemini-2.5-pro:generateContent",
                                        "/models/mine:countTokens",
                                        "/models/gemini-2.5-pro-search:generateContent"};
    gb_plan_t *plan = NULL;
    gb_error_t err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_not_equal(parse(&plan, settings, "POST", paths[i], "{}", &err), APR_SUCCESS);
        assert_int_equal(err.status, 404);
    }
    assert_int_not_equal(parse(&plan, settings, "GET", "/models/gemini-2.5-pro", "", &err),
                         APR_SUCCESS);
    assert_int_equal(err.status, 404);
}

/* Google's list, without what is filtered; untouched when nothing is. */
static void test_hidden_models(void **state)
{
    static const char list[] = "{\n \"models\": [\n  {\"name\": \"models/a\"},\n  {\"name\": "
                               "\"models/b\"}\n ],\n \"nextPageToken\": \"x\"\n}\n";
    static const char without_a[] = "{\n \"models\": [\n{\"name\": \"models/b\"}\n],\n "
                                    "\"nextPageToken\": \"x\"\n}\n";
    static const struct {
        const char *settings, *want;
    } lists[] = {
        {"{}",                          list     },
        {"{\"FILTERED_MODELS\":\"a\"}", without_a},
    };
    gb_facts_t facts = {0};
    gb_translator_t *t;
    gb_plan_t *plan;
    gb_error_t err;
    gb_buf_t out;
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        assert_int_equal(parse(&plan, settings_from(lists[i].settings), "GET", "/models", "", &err),
                         APR_SUCCESS);
        t = gb_gemini_dialect.start(plan, "application/json", &facts);
        gb_buf_init_pool(&out, 65536, pool);
        assert_int_equal(gb_gemini_dialect.on_chunk(t, list, sizeof(list) - 1, &out), APR_SUCCESS);
        /* white space around the whole is no part of the value */
        assert_true(out.len + 1 >= strlen(lists[i].want));
        assert_memory_equal(out.data, lists[i].want, out.len);
    }
}

/* Only what was put in by us is taken out again. */
static void test_drop_field(void **state)
{
    const gb_settings_t *settings = settings_from(
        "{\"THINKING_BUDGET_MAP\":{\"gemini-2.5-pro\":7}}");
    static const char own[] = "{\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":1}}}";
    gb_plan_t *plan;
    gb_error_t err;

    (void)state;
    parse(&plan, settings, "POST", "/models/gemini-2.5-pro:generateContent", "{" HI "}", &err);
    assert_non_null(strstr(plan->body, "includeThoughts"));
    assert_int_equal(gb_gemini_dialect.drop_field(plan, "includeThoughts"), APR_SUCCESS);
    assert_null(strstr(plan->body, "includeThoughts"));
    assert_non_null(strstr(plan->body, "thinkingBudget"));
    assert_int_equal(gb_gemini_dialect.drop_field(plan, "includeThoughts"), APR_NOTFOUND);
    assert_int_equal(gb_gemini_dialect.drop_field(plan, "thinkingBudget"), APR_SUCCESS);
    assert_string_equal(plan->body, "{" HI "}");
    assert_int_equal(gb_gemini_dialect.drop_field(plan, "temperature"), APR_NOTFOUND);

    parse(&plan, settings, "POST", "/models/gemini-2.5-pro:generateContent", own, &err);
    assert_int_equal(gb_gemini_dialect.drop_field(plan, "thinkingBudget"), APR_NOTFOUND);
    assert_ptr_equal(plan->body, own);
}

/* A client's own schemas are lowered where a word was refused, and not a byte beside them changes. */
#define FN(name, members) "{\"name\":\"" name "\"," members "}"
#define OBJ               "\"type\":\"object\""

typedef struct schema_row_t {
    const char *field, *body, *want; /* NULL: there is nothing to drop */
} schema_row_t;

/* clang-format off */
static const schema_row_t schema_rows[] = {
    {"schema.additionalproperties",
     "{ \"tools\": [ {\"functionDeclarations\":[" FN("a", "\"parameters\":{" OBJ ",\"additionalProperties\":false,\"properties\":"
     "{\"x\":{\"type\":\"string\"}}}") "," FN("b", "\"parameters\": { \"type\" : \"OBJECT\"}") "]}], \"n\": 19.990 }",
     "{ \"tools\": [{\"functionDeclarations\":[" FN("a", "\"parameters\":{\"type\":\"OBJECT\",\"properties\":"
     "{\"x\":{\"type\":\"STRING\"}}}") "," FN("b", "\"parameters\": { \"type\" : \"OBJECT\"}") "]}], \"n\": 19.990 }"},
    /* a property of that name is no word */
    {"schema.const", "{\"tools\":[{\"functionDeclarations\":[" FN("a", "\"parameters\":{" OBJ ",\"properties\":{\"const\":{}}}") "]}]}", NULL},
    {"schema.const", "{\"tools\":[{\"function_declarations\":[" FN("a", "\"parameters\":{" OBJ ",\"properties\":{\"y\":{\"const\":\"v\"}}}") "]}]}",
     "{\"tools\":[{\"function_declarations\":[" FN("a", "\"parameters\":{\"type\":\"OBJECT\",\"properties\":{\"y\":{\"type\":\"STRING\",\"enum\":[\"v\"]}}}") "]}]}"},
    {"schema.type", "{\"generation_config\":{\"response_schema\":{\"type\":\"string\"}}}", NULL},
    {"schema.type", "{\"generation_config\":{\"response_schema\":{\"type\":[\"string\",\"null\"]},\"topK\":1}}",
     "{\"generation_config\":{\"response_schema\":{\"nullable\":true,\"type\":\"STRING\"},\"topK\":1}}"},
    {"schema.enum", "{\"generationConfig\":{\"responseSchema\":{\"type\":\"integer\",\"enum\":[1,2]}}}", ""},
    {"schema.enum", "{\"generationConfig\":{\"responseSchema\":{\"type\":\"string\",\"enum\":[\"1\"]}}}", NULL},
    /* the other spelling: of the word, of those that stay, and on the way to it */
    {"schema.additional_properties",
     "{\"generationConfig\":{\"responseSchema\":{\"any_of\":[{\"type\":\"array\",\"min_items\":1,\"items\":{" OBJ ",\"properties\":"
     "{\"any_of\":{\"type\":\"string\"}},\"property_ordering\":[\"any_of\"],\"additional_properties\":false}},{\"type\":\"string\"}]}}}",
     "{\"generationConfig\":{\"responseSchema\":{\"anyOf\":[{\"type\":\"ARRAY\",\"items\":{\"type\":\"OBJECT\",\"properties\":"
     "{\"any_of\":{\"type\":\"STRING\"}},\"propertyOrdering\":[\"any_of\"]},\"minItems\":1},{\"type\":\"STRING\"}]}}}"},
    /* refused in one spelling, known in both */
    {"schema.additionalproperties", "{\"generationConfig\":{\"responseSchema\":{" OBJ ",\"additional_properties\":{}}}}",
     "{\"generationConfig\":{\"responseSchema\":{\"type\":\"OBJECT\"}}}"},
    {"schema.minlengt", "{\"generationConfig\":{\"responseSchema\":{\"min_length\":1}}}", NULL},
    {"schema.$schema", "{\"generationConfig\":{\"responseSchema\":{\"$schema\":\"x\",\"all_of\":[{\"one_of\":[{},{\"min_length\":2}]}]}}}", ""},
    {"parametersJsonSchema", "{\"tools\":[{\"functionDeclarations\":[" FN("a", "\"parametersJsonSchema\":{" OBJ "}") "]}]}",
     "{\"tools\":[{\"functionDeclarations\":[" FN("a", "\"parameters\":{\"type\":\"OBJECT\"}") "]}]}"},
    {"responseJsonSchema", "{\"generationConfig\":{\"response_json_schema\":{\"type\":\"string\"}}}",
     "{\"generationConfig\":{\"responseSchema\":{\"type\":\"STRING\"}}}"},
    {"schema.additionalproperties", "{" HI "}", NULL},
};
/* clang-format on */

static void test_refused_schemas(void **state)
{
    const gb_settings_t *settings = settings_from("{}");
    gb_plan_t *plan;
    gb_error_t err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(schema_rows) / sizeof(schema_rows[0]); i++) {
        const schema_row_t *row = &schema_rows[i];
        apr_status_t rv;

        parse(&plan, settings, "POST", "/models/gemini-2.5-pro:generateContent", row->body, &err);
        assert_ptr_equal(plan->body, row->body);
        rv = gb_gemini_dialect.drop_field(plan, row->field);
        if (!row->want) {
            assert_int_equal(rv, APR_NOTFOUND);
            assert_ptr_equal(plan->body, row->body);
            continue;
        }
        assert_int_equal(rv, APR_SUCCESS);
        if (*row->want) {
            assert_string_equal(apr_pstrmemdup(pool, plan->body, plan->body_len), row->want);
        }
        /* once: what is lowered has nothing more to drop */
        assert_int_equal(gb_gemini_dialect.drop_field(plan, row->field), APR_NOTFOUND);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_filtered_models),
        cmocka_unit_test(test_hidden_models),
        cmocka_unit_test(test_drop_field),
        cmocka_unit_test(test_refused_schemas),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
