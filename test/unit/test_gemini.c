/* SPDX-License-Identifier: Apache-2.0 */
/* The Gemini surface: routes, untouched bytes, what the tap sees, and errors. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "proto/gemini.h"
#include "replay.h"

static apr_pool_t *pool;

static gb_request_t request(const char *method, const char *path, const char *args,
                            const char *body)
{
    gb_request_t r;

    memset(&r, 0, sizeof(r));
    r.method = method;
    r.path = path;
    r.args = args;
    r.body = body;
    r.body_len = body != NULL ? strlen(body) : 0;
    return r;
}

static gb_plan_t *plan_for(const char *method, const char *path, const char *args, const char *body)
{
    gb_request_t r = request(method, path, args, body);
    gb_plan_t *plan = NULL;
    gb_error_t err;

    if (gb_gemini_dialect.parse_request(&plan, &r, gb_settings_make(pool), &err, pool)
        != APR_SUCCESS) {
        print_error("%s %s: %d %s\n", method, path, err.status, err.message);
        fail();
    }
    return plan;
}

static void facts_clear(gb_facts_t *facts)
{
    memset(facts, 0, sizeof(*facts));
    facts->prompt_tokens = facts->completion_tokens = facts->thought_tokens = -1;
    facts->cached_tokens = facts->total_tokens = -1;
}

/* ---- routes ---- */

static const struct {
    const char *method, *path, *args, *body;
    const char *up; /* path upstream */
    const char *model, *operation;
    const char *flags; /* S stream, C expects content, B bearer */
} routes[] = {
    {"GET",    "/models",                                       NULL,                         NULL,                 "/models",                            "",                "models",         ""  },
    {"GET",    "/models",                                       "pageSize=5&pageToken=a%2Fb", NULL,                 "/models?pageSize=5&pageToken=a%2Fb", "",
     "models",                                                                                                                                                                                 ""  },
    {"GET",    "/models/gemini-2.5-pro",                        NULL,                         NULL,                 "/models/gemini-2.5-pro",             "gemini-2.5-pro",
     "model",                                                                                                                                                                                  ""  },
    {"POST",   "/models/gemini-2.5-pro:generateContent",        NULL,                         "{}",
     "/models/gemini-2.5-pro:generateContent",                                                                                                            "gemini-2.5-pro",  "generate",       "C" },
    {"POST",   "/models/models/gemini-2.5-pro:generateContent", "",                           "{}",
     "/models/gemini-2.5-pro:generateContent",                                                                                                            "gemini-2.5-pro",  "generate",       "C" },
    {"POST",   "/models/google/gemini-3-pro:generateContent",   NULL,                         " {} \n",
     "/models/gemini-3-pro:generateContent",                                                                                                              "gemini-3-pro",    "generate",       "C" },
    {"POST",   "/models/tunedModels/x-1:generateContent",       NULL,                         "{}",
     "/tunedModels/x-1:generateContent",                                                                                                                  "tunedModels/x-1", "generate",       "C" },
    {"POST",   "/tunedModels/x-1:generateContent",              NULL,                         "{}",                 "/tunedModels/x-1:generateContent",
     "tunedModels/x-1",                                                                                                                                                      "generate",       "C" },
    {"POST",   "/dynamic/abc:streamGenerateContent",            "alt=sse",                    "{}",
     "/dynamic/abc:streamGenerateContent?alt=sse",                                                                                                        "dynamic/abc",     "stream",         "SC"},
    {"POST",   "/models/m:streamGenerateContent",               "alt=sse",                    "{}",
     "/models/m:streamGenerateContent?alt=sse",                                                                                                           "m",               "stream",         "SC"},
    {"POST",   "/models/m:streamGenerateContent",               "$alt=sse&fields=candidates", "{}",
     "/models/m:streamGenerateContent?$alt=sse&fields=candidates",                                                                                        "m",               "stream",         "S" },
    {"POST",   "/models/m:streamGenerateContent",               NULL,                         "{}",                 "/models/m:streamGenerateContent",    "m",
     "stream",                                                                                                                                                                                 "SC"},
    {"POST",   "/models/m:streamGenerateContent",               "alt=proto",                  "{}",
     "/models/m:streamGenerateContent?alt=proto",                                                                                                         "m",               "stream",         "S" },
    {"POST",   "/models/m:countTokens",                         NULL,                         "{}",                 "/models/m:countTokens",              "m",               "count",          ""  },
    {"POST",   "/models/m:embedContent",                        NULL,                         "{}",                 "/models/m:embedContent",             "m",               "embed",          ""  },
    {"POST",   "/models/m:predict",                             NULL,                         "{}",                 "/models/m:predict",                  "m",               "predict",        ""  },
    {"POST",   "/models/m:inventedTomorrow",                    NULL,                         "no json",            "/models/m:inventedTomorrow",         "m",
     "call",                                                                                                                                                                                   ""  },
    {"POST",   "/models/ft:gemini:1:generateContent",           NULL,                         "{}",
     "/models/ft:gemini:1:generateContent",                                                                                                               "ft:gemini:1",     "generate",       "C" },
    {"GET",    "/models/m/operations/o-1",                      NULL,                         NULL,                 "/models/m/operations/o-1",           "",                "models",         ""  },
    {"POST",   "/models/m/operations/o-1:cancel",               NULL,                         NULL,                 "/models/m/operations/o-1:cancel",    "",
     "call",                                                                                                                                                                                   ""  },
    {"DELETE", "/tunedModels/x",                                NULL,                         NULL,                 "/tunedModels/x",                     "tunedModels/x",   "tunedModels",    ""  },
    {"PATCH",  "/cachedContents/c1",                            "updateMask=ttl",             "{}",                 "/cachedContents/c1?updateMask=ttl",  "",
     "cachedContents",                                                                                                                                                                         ""  },
    {"POST",   "/cachedContents",                               NULL,                         "{}",                 "/cachedContents",                    "",                "cachedContents", ""  },
    {"POST",   "/files:register",                               NULL,                         "{}",                 "/files:register",                    "",                "files",          ""  },
    {"GET",    "/files/f1:download",                            "alt=media",                  NULL,                 "/files/f1:download?alt=media",       "",                "files",
     "S"                                                                                                                                                                                           },
    {"GET",    "/files/a b\"\xc3\xa4%",                         NULL,                         NULL,                 "/files/a%20b%22%C3%A4%25",           "",                "files",          ""  },
    {"POST",   "/batches/b1:cancel",                            NULL,                         NULL,                 "/batches/b1:cancel",                 "",                "batches",        ""  },
    {"POST",   "/interactions",                                 NULL,                         "{\"stream\":true}",  "/interactions",                      "",                "interactions",   "S" },
    {"POST",   "/interactions",                                 NULL,                         "{\"stream\":false}", "/interactions",                      "",                "interactions",   ""  },
    {"POST",   "/openai/chat/completions",                      NULL,                         "{}",                 "/openai/chat/completions",           "",                "openai",         "B" },
    {"POST",   "/newThings/n1:doIt",                            "a=b",                        "{}",                 "/newThings/n1:doIt?a=b",             "",                "other",          ""  },
    {"GET",    "/voices",                                       NULL,                         NULL,                 "/voices",                            "",                "voices",         ""  },
};

static void routes_lead_up(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        gb_plan_t *plan = plan_for(routes[i].method, routes[i].path, routes[i].args,
                                   routes[i].body);
        const char *flags = apr_pstrcat(pool, plan->stream ? "S" : "",
                                        plan->expects_content ? "C" : "", plan->bearer ? "B" : "",
                                        NULL);

        assert_string_equal(plan->method, routes[i].method);
        assert_string_equal(plan->path, routes[i].up);
        assert_string_equal(plan->model, routes[i].model);
        assert_string_equal(plan->operation, routes[i].operation);
        assert_string_equal(flags, routes[i].flags);
        assert_int_equal(plan->stream, plan->upstream_stream);
        /* the client's own bytes, not a copy */
        assert_ptr_equal(plan->body_len > 0 ? plan->body : NULL, routes[i].body);
        assert_ptr_equal(plan->dialect, &gb_gemini_dialect);
        apr_pool_clear(pool);
    }
}

static const struct {
    const char *method, *path, *body;
    int status;
    const char *word; /* stands in the message */
    const char *allow;
} refusals[] = {
    {"POST",      "/models",                         "{}",          405, "POST",       "GET"                     },
    {"DELETE",    "/models/m",                       NULL,          405, "DELETE",     "GET"                     },
    {"GET",       "/models/m:generateContent",       NULL,          405, "GET",        "POST"                    },
    {"PUT",       "/tunedModels/x",                  "{}",          405, "PUT",        "GET, PATCH, DELETE"      },
    {"PUT",       "/files/x",                        "{}",          405, "PUT",        "GET, POST, PATCH, DELETE"},
    {"GE",        "/models",                         NULL,          405, "GE",         "GET"                     },
    {"",          "/models",                         NULL,          405, "",           "GET"                     },
    {"GET, POST", "/tunedModels",                    NULL,          405, "",           "GET, POST"               },
    {"GET",       "/",                               NULL,          404, "resource",   NULL                      },
    {"GET",       "",                                NULL,          404, "resource",   NULL                      },
    {"GET",       "/not-a-collection",               NULL,          404, "resource",   NULL                      },
    {"POST",      "/chat/completions",               "{}",          404, "resource",   NULL                      },
    {"GET",       "/models/../files",                NULL,          404, "resource",   NULL                      },
    {"GET",       "/models/./m",                     NULL,          404, "resource",   NULL                      },
    {"GET",       "/models//m",                      NULL,          404, "resource",   NULL                      },
    {"GET",       "/models/",                        NULL,          404, "resource",   NULL                      },
    {"GET",       "models",                          NULL,          404, "resource",   NULL                      },
    {"POST",      "/models/a b:generateContent",     "{}",          400, "model name", NULL                      },
    {"POST",      "/models/a..b:generateContent",    "{}",          400, "model name", NULL                      },
    {"POST",      "/models/m?x:generateContent",     "{}",          400, "model name", NULL                      },
    {"POST",      "/models/m:generateContent",       NULL,          400, "no body",    NULL                      },
    {"POST",      "/models/m:generateContent",       "[]",          400, "object",     NULL                      },
    {"POST",      "/models/m:generateContent",       "{\"a\":tru}", 400, "at byte 5",  NULL                      },
    {"POST",      "/models/m:streamGenerateContent", "{}x",         400, "at byte 2",  NULL                      },
    {"POST",      "/models/m:countTokens",           "7",           400, "object",     NULL                      },
};

static void refuses_in_googles_form(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        gb_request_t r = request(refusals[i].method, refusals[i].path, NULL, refusals[i].body);
        gb_plan_t *plan = NULL;
        gb_error_t err;
        gb_buf_t out;
        json_t *body;

        if (gb_gemini_dialect.parse_request(&plan, &r, gb_settings_make(pool), &err, pool)
                == APR_SUCCESS
            || err.status != refusals[i].status || strstr(err.message, refusals[i].word) == NULL) {
            print_error("%s %s: %d %s\n", refusals[i].method, refusals[i].path, err.status,
                        err.message);
            fail();
        }
        assert_null(plan);
        if (refusals[i].allow != NULL) {
            assert_string_equal(err.allow, refusals[i].allow);
        }
        else {
            assert_null(err.allow);
        }
        gb_buf_init(&out, GB_BUF_MAX_ERROR);
        gb_gemini_dialect.error_body(NULL, &err, 0, &out);
        body = json_loadb(out.data, out.len, 0, NULL);
        assert_non_null(body);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(body, "error"), "code")),
            refusals[i].status);
        json_decref(body);
        gb_buf_free(&out);
        apr_pool_clear(pool);
    }
}

static void body_and_type(void **state)
{
    static const struct {
        const char *method, *path, *type, *body, *want;
    } cases[] = {
        {"POST", "/models/m:generateContent", NULL,                              "{}", "application/json"},
        {"POST", "/models/m:generateContent", "text/plain",                      "{}", "application/json"},
        {"POST", "/cachedContents",           "text/plain;charset=utf-8",        "{}", "application/json"},
        {"POST", "/cachedContents",           "application/json; charset=utf-8", "{}",
         "application/json; charset=utf-8"                                                               },
        {"POST", "/batches/b:cancel",         NULL,                              NULL, NULL              },
        {"GET",  "/models",                   "application/json",                "{}", NULL              },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gb_request_t r = request(cases[i].method, cases[i].path, NULL, cases[i].body);
        gb_plan_t *plan = NULL;
        gb_error_t err;

        r.content_type = cases[i].type;
        assert_int_equal(
            gb_gemini_dialect.parse_request(&plan, &r, gb_settings_make(pool), &err, pool),
            APR_SUCCESS);
        if (cases[i].want == NULL) {
            assert_null(plan->content_type);
            assert_null(plan->body);
        }
        else {
            assert_string_equal(plan->content_type, cases[i].want);
        }
        apr_pool_clear(pool);
    }
}

/* ---- the tap ---- */

/* What it sees: C candidate, P part with content, B blocked, F finished, M malformed, E error. */
static const struct {
    const char *json, *flags, *reason;
} taps[] = {
    {"{}",                                                                                        "",    ""                    },
    {"{\"candidates\":[]}",                                                                       "",    ""                    },
    {"{\"candidates\":[{}]}",                                                                     "C",   ""                    },
    {"{\"candidates\":[{\"content\":{}}]}",                                                       "C",   ""                    },
    {"{\"candidates\":[{\"content\":{\"role\":\"model\"},\"finishReason\":\"STOP\"}]}",           "CF",
     "STOP"                                                                                                                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[]},\"finishReason\":\"STOP\"}]}",                 "CF",  "STOP"                },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]}}]}",                            "C",   ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thoughtSignature\":\"x\"}]}}]}",
     "C",                                                                                                ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}",                           "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"},{\"thought\":true,\"text\":\"a\"}]}"
     "}]}",                                                                                  "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]}}]}",        "CP",
     ""                                                                                                                        },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{}}]}}]}",                      "C",   ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":null,\"text\":null}]}}]}",      "C",
     ""                                                                                                                        },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"inlineData\":{\"data\":\"\"}}]}}]}",           "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"fileData\":{}}]}}]}",                          "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"executableCode\":{\"code\":\"1\"}}]}}]}",      "CP",
     ""                                                                                                                        },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"codeExecutionResult\":{}}]}}]}",               "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"audioTranscription\":{}}]}}]}",                "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"toolCall\":{}}]}}]}",                          "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"inventedTomorrow\":5}]}}]}",                   "CP",  ""                    },
    {"{\"candidates\":[{\"content\":{\"parts\":[{\"partMetadata\":{\"a\":1}}]}}]}",               "C",   ""                    },
    {"{\"candidates\":[{},{\"content\":{\"parts\":[{\"text\":\"b\"}]}}]}",                        "CP",  ""                    },
    {"{\"candidates\":[{\"finishReason\":2}]}",                                                   "CPF", "MAX_TOKENS"          },
    {"{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\"}]}",                                      "CPF", "MAX_TOKENS"          },
    {"{\"candidates\":[{\"finishReason\":0}]}",                                                   "C",   ""                    },
    {"{\"candidates\":[{\"finishReason\":\"FINISH_REASON_UNSPECIFIED\"}]}",                       "C",   ""                    },
    {"{\"candidates\":[{\"finishReason\":null}]}",                                                "C",   ""                    },
    {"{\"candidates\":[{\"finishReason\":3}]}",                                                   "CBF", "SAFETY"              },
    {"{\"candidates\":[{\"finishReason\":99}]}",                                                  "CF",  "99"                  },
    {"{\"candidates\":[{\"finishReason\":\"NEW_REASON\"}]}",                                      "CF",  "NEW_REASON"          },
    {"{\"candidates\":[{\"finishReason\":\"RECITATION\"}]}",                                      "CBF", "RECITATION"          },
    {"{\"candidates\":[{\"finishReason\":\"IMAGE_PROHIBITED_CONTENT\"}]}",                        "CBF",
     "IMAGE_PROHIBITED_CONTENT"                                                                                                },
    {"{\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}",                         "CFM",
     "MALFORMED_FUNCTION_CALL"                                                                                                 },
    {"{\"candidates\":[{\"finishReason\":\"UNEXPECTED_TOOL_CALL\",\"content\":{\"parts\":[{"
     "\"text\":\"a\"}]}}]}",                                                                 "CPF", "UNEXPECTED_TOOL_CALL"},
    {"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}",                                         "BF",  "SAFETY"              },
    {"{\"promptFeedback\":{\"blockReason\":1}}",                                                  "BF",  "1"                   },
    {"{\"promptFeedback\":{}}",                                                                   "",    ""                    },
    {"{\"promptFeedback\":{\"blockReason\":\"BLOCK_REASON_UNSPECIFIED\"}}",                       "",    ""                    },
    {"{\"error\":{\"code\":429},\"candidates\":[{}]}",                                            "E",   ""                    },
    {"[{\"error\":{\"code\":429}}]",                                                              "E",   ""                    },
    {"{\"error\":null}",                                                                          "",    ""                    },
    {"{\"error\":\"\"}",                                                                          "",    ""                    },
    {"{\"error\":\"quota\"}",                                                                     "E",   ""                    },
    {"[]",                                                                                        "",    ""                    },
    {"7",                                                                                         "",    ""                    },
};

static const char *flags_of(const gb_facts_t *facts)
{
    return apr_pstrcat(pool, facts->has_candidate ? "C" : "", facts->has_content ? "P" : "",
                       facts->blocked ? "B" : "", facts->finished ? "F" : "",
                       facts->malformed ? "M" : "", facts->has_error ? "E" : "", NULL);
}

static void tap_sees(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(taps) / sizeof(taps[0]); i++) {
        gb_facts_t facts;

        facts_clear(&facts);
        gb_gemini_tap(&facts, gb_json_root(taps[i].json, strlen(taps[i].json)), pool);
        if (strcmp(flags_of(&facts), taps[i].flags) != 0
            || strcmp(facts.finish_reason, taps[i].reason) != 0) {
            print_error("%s: %s %s\n", taps[i].json, flags_of(&facts), facts.finish_reason);
            fail();
        }
        assert_true(!facts.has_error || facts.error_len > 0);
        apr_pool_clear(pool);
    }
}

/* prompt, completion, thoughts, cached, total after the chunks so far */
static const struct {
    const char *json;
    apr_int64_t want[5];
} usages[] = {
    {"{\"usageMetadata\":{\"promptTokenCount\":29,\"candidatesTokenCount\":15,"
     "\"thoughtsTokenCount\":804,"
     "\"totalTokenCount\":848}}",                                           {29, 819, 804, -1, 848}},
 /* the last one counts, also when it is less */
    {"{\"usageMetadata\":{\"promptTokenCount\":28,\"candidatesTokenCount\":10,\"totalTokenCount\":"
     "38,"
     "\"cachedContentTokenCount\":20}}",                                    {28, 10, -1, 20, 38}   },
    {"{\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"}}",                      {28, 10, -1, 20, 38}   },
    {"{}",                                                                       {28, 10, -1, 20, 38}   },
 /* no candidates' count: the total tells */
    {"{\"usageMetadata\":{\"promptTokenCount\":5,\"toolUsePromptTokenCount\":3,\"totalTokenCount\":"
     "20,"
     "\"thoughtsTokenCount\":12}}",                                         {8, 12, 12, -1, 20}    },
    {"{\"usageMetadata\":{\"promptTokenCount\":9311,\"totalTokenCount\":9311}}",
     {9311, 0, -1, -1, 9311}                                                                            },
    {"{\"usageMetadata\":{\"promptTokenCount\":\"7\"}}",                         {7, -1, -1, -1, 7}     },
};

static void tap_counts(void **state)
{
    gb_facts_t facts;
    size_t i;

    (void)state;
    facts_clear(&facts);
    for (i = 0; i < sizeof(usages) / sizeof(usages[0]); i++) {
        gb_gemini_tap(&facts, gb_json_root(usages[i].json, strlen(usages[i].json)), pool);
        assert_int_equal(facts.prompt_tokens, usages[i].want[0]);
        assert_int_equal(facts.completion_tokens, usages[i].want[1]);
        assert_int_equal(facts.thought_tokens, usages[i].want[2]);
        assert_int_equal(facts.cached_tokens, usages[i].want[3]);
        assert_int_equal(facts.total_tokens, usages[i].want[4]);
    }
}

static void tap_names(void **state)
{
    static const char first[] =
        "{\"modelVersion\":\"models/gemini-3.8-flash\",\"responseId\":\"abc\"}";
    static const char second[] = "{\"modelVersion\":\"other\",\"responseId\":\"def\"}";
    char longer[400];
    gb_facts_t facts;

    (void)state;
    facts_clear(&facts);
    gb_gemini_tap(&facts, gb_json_root(first, sizeof(first) - 1), pool);
    gb_gemini_tap(&facts, gb_json_root(second, sizeof(second) - 1), pool);
    assert_string_equal(facts.model_version, "gemini-3.8-flash");
    assert_string_equal(facts.response_id, "abc");
    facts_clear(&facts);
    memset(longer, 'x', sizeof(longer));
    memcpy(longer, "{\"modelVersion\":\"", 17);
    memcpy(longer + 300, "\"}", 2);
    gb_gemini_tap(&facts, gb_json_root(longer, 302), pool);
    assert_int_equal(strlen(facts.model_version), sizeof(facts.model_version) - 1);
}

/* ---- streams ---- */

typedef struct stream_t {
    const char *args; /* alt=sse or NULL */
    const char *text;
    size_t passes; /* bytes that reach the client; the rest is an error or was cut */
    const char *flags;
    apr_status_t end;
} stream_t;

#define ONE "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}"
#define LAST                                                                                       \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}]}"
#define ALL ((size_t)-1)

static const stream_t streams[] = {
    {"alt=sse", "data: " ONE "\r\n\r\ndata: " LAST "\r\n\r\n",                             ALL,                      "CPF", APR_SUCCESS   },
    {"alt=sse", "data: " ONE "\n\ndata: " LAST "\n\n",                                     ALL,                      "CPF", APR_SUCCESS   },
    {"alt=sse", "data: " ONE "\r\n\r\ndata: " LAST "\r\n",                                 ALL,                      "CPF", APR_SUCCESS   },
    {"alt=sse", "data: " ONE "\r\n\r\ndata: " LAST,                                        ALL,                      "CPF", APR_SUCCESS   },
    {"alt=sse", ": ping\n\nevent: x\nid: 7\ndata: " LAST "\n\n",                           ALL,                      "CF",  APR_SUCCESS   },
    {"alt=sse", "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n",             ALL,                      "BF",
     APR_SUCCESS                                                                                                                          },
    {"alt=sse", "data: no json\n\ndata: " LAST "\n\n",                                     ALL,                      "CF",  APR_SUCCESS   },
    {"alt=sse", "data: " LAST "\n\ndata: [DONE]\n\n",                                      ALL,                      "CF",  APR_SUCCESS   },
 /* cut */
    {"alt=sse", "",                                                                        0,                        "",    APR_INCOMPLETE},
    {"alt=sse", "data: " ONE "\r\n\r\n",                                                   ALL,                      "CP",  APR_INCOMPLETE},
    {"alt=sse", "data: " ONE "\r\n\r\ndata: {\"candid",                                    6 + sizeof(ONE) - 1 + 4,  "CP",
     APR_INCOMPLETE                                                                                                                       },
    {"alt=sse", "<html>busy</html>\n",                                                     ALL,                      "",    APR_INCOMPLETE},
 /* errors */
    {"alt=sse", "data: " ONE "\r\n\r\n{\n \"error\": {\n  \"code\": 503\n }\n}\n",
     6 + sizeof(ONE) - 1 + 4,                                                                                        "CPE", APR_SUCCESS   },
    {"alt=sse", "data: " ONE "\n\ndata: {\"error\":{\"code\":503}}\n\ndata: " LAST "\n\n",
     6 + sizeof(ONE) - 1 + 2,                                                                                        "CPE", APR_SUCCESS   },
    {"alt=sse", "[{\"error\":{\"code\":429}}]",                                            0,                        "E",   APR_SUCCESS   },
    {"alt=sse", "data: " LAST "\n\n{\"error\":{}}",                                        6 + sizeof(LAST) - 1 + 2, "CFE", APR_SUCCESS   },
 /* the array form */
    {NULL,      "[" ONE "\r\n,\r\n" LAST "\r\n]\r\n",                                      ALL,                      "CPF", APR_SUCCESS   },
    {NULL,      "[" ONE ",\r\n" LAST,                                                      ALL,                      "CPF", APR_INCOMPLETE},
    {NULL,      "[" ONE "]",                                                               ALL,                      "CP",  APR_INCOMPLETE},
    {NULL,      "[" ONE ",\r\n{\"error\":{\"code\":500}}]",                                1 + sizeof(ONE) - 1,      "CPE", APR_SUCCESS   },
    {NULL,      "[{\"error\":{\"code\":500}}\n]\n",                                        0,                        "E",   APR_SUCCESS   },
    {NULL,      "{\"error\":{\"code\":500}}\n",                                            0,                        "E",   APR_SUCCESS   },
};

/* Feeds a stream in two pieces (cut < 0: byte by byte) and checks what the client gets. */
static void replay(const stream_t *s, int cut)
{
    gb_plan_t *plan = plan_for("POST", "/models/m:streamGenerateContent", s->args, "{}");
    size_t len = strlen(s->text);
    size_t want = s->passes == ALL ? len : s->passes;
    size_t at = 0;
    gb_facts_t facts;
    gb_translator_t *t;
    gb_buf_t out;
    apr_status_t rv = APR_SUCCESS;

    facts_clear(&facts);
    gb_buf_init(&out, 1 << 20);
    gb_buf_puts(&out, "");
    t = gb_gemini_dialect.start(plan, "text/event-stream", &facts);
    while (at < len && rv == APR_SUCCESS && !facts.has_error) {
        size_t n = cut < 0 ? 1 : at == 0 && cut > 0 ? (size_t)cut : len - at;

        rv = gb_gemini_dialect.on_chunk(t, s->text + at, n, &out);
        at += n;
    }
    if (rv == APR_SUCCESS) {
        rv = gb_gemini_dialect.on_end(t, &out);
    }
    /* a stream that was cut may lack what was not a whole event */
    if (rv != s->end || (s->end == APR_SUCCESS ? out.len != want : out.len > want)
        || memcmp(out.data, s->text, out.len) != 0 || strcmp(flags_of(&facts), s->flags) != 0) {
        print_error("\"%s\" cut at %d: %d, %s, %s\n", s->text, cut, rv, flags_of(&facts), out.data);
        fail();
    }
    gb_buf_free(&out);
    apr_pool_clear(pool);
}

static void streams_pass_untouched(void **state)
{
    size_t i;
    int cut;

    (void)state;
    for (i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        replay(&streams[i], -1);
        for (cut = 0; cut < (int)strlen(streams[i].text); cut++) {
            replay(&streams[i], cut);
        }
    }
}

/* As soon as an event is whole the client has it, its empty line included. */
static void events_are_not_held_back(void **state)
{
    gb_plan_t *plan = plan_for("POST", "/models/m:streamGenerateContent", "alt=sse", "{}");
    gb_facts_t facts;
    gb_translator_t *t;
    gb_buf_t out;

    (void)state;
    facts_clear(&facts);
    gb_buf_init(&out, 1 << 20);
    t = gb_gemini_dialect.start(plan, NULL, &facts);
    gb_gemini_dialect.on_chunk(t, "data: {}\r\n\r\ndata: {\"a", 21, &out);
    assert_string_equal(out.data, "data: {}\r\n\r\n");
    gb_gemini_dialect.on_chunk(t, "\":1}\r\n\r", 7, &out);
    gb_gemini_dialect.on_chunk(t, "\n", 1, &out);
    assert_string_equal(out.data, "data: {}\r\n\r\ndata: {\"a\":1}\r\n\r\n");
    gb_buf_free(&out);
    apr_pool_clear(pool);
}

/* Where alt=sse was lost on the way an array comes, and it passes as it is. */
static void array_instead_of_events(void **state)
{
    static const char text[] = "[" ONE ",\n" LAST "]";
    gb_plan_t *plan = plan_for("POST", "/models/m:streamGenerateContent", "alt=sse", "{}");
    gb_facts_t facts;
    gb_translator_t *t;
    gb_buf_t out;

    (void)state;
    facts_clear(&facts);
    gb_buf_init(&out, 1 << 20);
    t = gb_gemini_dialect.start(plan, "application/json; charset=UTF-8", &facts);
    gb_gemini_dialect.on_chunk(t, text, sizeof(text) - 1, &out);
    assert_int_equal(gb_gemini_dialect.on_end(t, &out), APR_SUCCESS);
    assert_string_equal(out.data, text);
    assert_string_equal(flags_of(&facts), "CPF");
    gb_buf_free(&out);
    apr_pool_clear(pool);
}

/* Streams whose events are not ours pass to the last byte, whatever they are. */
static void foreign_streams_pass(void **state)
{
    static const char *const texts[] = {
        "event: interaction.start\ndata: {\"error\":{\"code\":1}}\n\nevent: end\ndata: x", "half",
        ""};
    static const char *const types[] = {"text/event-stream", "text/html", NULL};
    size_t i, k;

    (void)state;
    for (i = 0; i < 3; i++) {
        for (k = 0; k < 3; k++) {
            gb_plan_t *plan = plan_for("POST", "/interactions", NULL, "{\"stream\":true}");
            gb_facts_t facts;
            gb_translator_t *t;
            gb_buf_t out;

            facts_clear(&facts);
            gb_buf_init(&out, 1 << 20);
            gb_buf_puts(&out, "");
            t = gb_gemini_dialect.start(plan, types[k], &facts);
            gb_gemini_dialect.on_chunk(t, texts[i], strlen(texts[i]), &out);
            assert_int_equal(gb_gemini_dialect.on_end(t, &out), APR_SUCCESS);
            assert_string_equal(out.data, texts[i]);
            assert_string_equal(flags_of(&facts), "F");
            gb_buf_free(&out);
            apr_pool_clear(pool);
        }
    }
}

static void whole_answers(void **state)
{
    static const struct {
        const char *path, *text, *flags;
        apr_status_t rv;
        int passes;
    } cases[] = {
        {"/models/m:generateContent",  " " LAST "\n",                "CF", APR_SUCCESS, 1},
        {"/models/m:generateContent",  "{\"error\":{\"code\":500}}", "E",  APR_SUCCESS, 0},
        {"/models/m:generateContent",  "<html>",                     "",   APR_EINVAL,  0},
        {"/models/m:countTokens",      "{\"totalTokens\":5}",        "",   APR_SUCCESS, 1},
        {"/models/m:predict",          "{\"error\":{}}",             "F",  APR_SUCCESS, 1},
        {"/models/m:inventedTomorrow", "\x01\x02",                   "F",  APR_SUCCESS, 1},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gb_plan_t *plan = plan_for("POST", cases[i].path, NULL, "{}");
        gb_facts_t facts;
        gb_translator_t *t;
        gb_buf_t out;
        apr_status_t rv;

        facts_clear(&facts);
        gb_buf_init(&out, 1 << 20);
        gb_buf_puts(&out, "");
        t = gb_gemini_dialect.start(plan, "application/json", &facts);
        rv = gb_gemini_dialect.on_chunk(t, cases[i].text, strlen(cases[i].text), &out);
        assert_int_equal(rv, cases[i].rv);
        if (rv == APR_SUCCESS) {
            assert_int_equal(gb_gemini_dialect.on_end(t, &out), APR_SUCCESS);
        }
        assert_string_equal(out.data, cases[i].passes ? cases[i].text : "");
        assert_string_equal(flags_of(&facts), cases[i].flags);
        gb_buf_free(&out);
        apr_pool_clear(pool);
    }
}

/* ---- errors ---- */

static const char *error_text(const char *args, int opened, int midstream, gb_error_t *err)
{
    gb_plan_t *plan = plan_for("POST", "/models/m:streamGenerateContent", args, "{}");
    gb_facts_t facts;
    gb_translator_t *t;
    gb_buf_t out;
    const char *text;

    facts_clear(&facts);
    gb_buf_init(&out, 1 << 20);
    t = gb_gemini_dialect.start(plan, NULL, &facts);
    if (opened) {
        const char *first = args != NULL ? "data: {}\r\n\r\n" : "[{}";

        gb_gemini_dialect.on_chunk(t, first, strlen(first), &out);
        gb_buf_reset(&out);
    }
    gb_gemini_dialect.error_body(plan, err, midstream, &out);
    text = apr_pstrmemdup(pool, out.data, out.len);
    gb_buf_free(&out);
    return text;
}

static void errors_have_googles_form(void **state)
{
    static const char own[] = "{\"error\":{\"code\":503,\"message\":\"no \\\"key\\\"\","
                              "\"status\":\"UNAVAILABLE\"}}";
    static const char theirs[] = "{\n \"error\": {\n  \"code\": 400,\n  \"message\": \"x y\" } }\n";
    gb_error_t err;

    (void)state;
    gb_error_set(&err, 503, "no_healthy_keys", NULL, "no \"key\"");
    assert_string_equal(error_text("alt=sse", 0, 0, &err), own);
    assert_string_equal(error_text("alt=sse", 1, 1, &err), apr_pstrcat(pool, own, "\n", NULL));
    assert_string_equal(error_text(NULL, 0, 0, &err), apr_pstrcat(pool, "[", own, "]", NULL));
    assert_string_equal(error_text(NULL, 1, 1, &err), apr_pstrcat(pool, ",\r\n", own, "]", NULL));
    assert_string_equal(error_text(NULL, 0, 1, &err), apr_pstrcat(pool, "[", own, "]", NULL));

    gb_error_set(&err, 429, "rate_limit_exceeded", NULL, "wait");
    err.retry_after = 33300 * 1000;
    assert_string_equal(error_text("alt=sse", 0, 0, &err),
                        "{\"error\":{\"code\":429,\"message\":\"wait\",\"status\":"
                        "\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"type.googleapis.com/"
                        "google.rpc.RetryInfo\",\"retryDelay\":\"33.300s\"}]}}");
    err.retry_after = 7 * APR_USEC_PER_SEC;
    strcpy(err.param, "model");
    assert_string_equal(error_text("alt=sse", 0, 0, &err),
                        "{\"error\":{\"code\":429,\"message\":\"wait\",\"status\":"
                        "\"RESOURCE_EXHAUSTED\",\"details\":[{\"@type\":\"type.googleapis.com/"
                        "google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"model\","
                        "\"description\":\"wait\"}]},{\"@type\":\"type.googleapis.com/"
                        "google.rpc.RetryInfo\",\"retryDelay\":\"7s\"}]}}");

    /* Google's own words when they say what we say, else ours */
    gb_error_set(&err, 400, NULL, NULL, "ours");
    err.upstream_body = theirs;
    err.upstream_len = sizeof(theirs) - 1;
    assert_string_equal(error_text("alt=sse", 0, 0, &err), theirs);
    assert_string_equal(error_text("alt=sse", 1, 1, &err),
                        "{\"error\":{\"code\":400,\"message\":\"x y\"}}\n");
    err.status = 503;
    assert_non_null(strstr(error_text("alt=sse", 0, 0, &err), "ours"));
    err.upstream_body = "<html>";
    err.upstream_len = 6;
    assert_non_null(strstr(error_text("alt=sse", 0, 0, &err), "ours"));
    err.status = 400;
    err.upstream_body = "[{\"error\":{\"code\":400}}]";
    err.upstream_len = strlen(err.upstream_body);
    assert_string_equal(error_text(NULL, 0, 0, &err), err.upstream_body);
    assert_string_equal(error_text(NULL, 1, 1, &err), ",\r\n{\"error\":{\"code\":400}}]");
    apr_pool_clear(pool);
}

static void no_error_in_a_download(void **state)
{
    gb_plan_t *plan = plan_for("GET", "/files/f:download", "alt=media", NULL);
    gb_error_t err;
    gb_buf_t out;

    (void)state;
    gb_buf_init(&out, 1000);
    gb_error_set(&err, 502, NULL, NULL, "broke off");
    gb_gemini_dialect.error_body(plan, &err, 1, &out);
    assert_int_equal(out.len, 0);
    gb_gemini_dialect.error_body(plan, &err, 0, &out);
    assert_non_null(strstr(out.data, "UNAVAILABLE"));
    gb_buf_free(&out);
    apr_pool_clear(pool);
}

/* ---- recordings ---- */

/* Their streams end without a finish reason or with an error, as recorded. */
static const char *const unfinished[] = {
    "vertexai-sdk-test-data-vertex-streaming-failure-error-mid-stream",
    "openai-compat-stream-empty",
    "openai-compat-stream-thinking",
    "openai-compat-stream-tool-call-gemini3",
};

static int is_unfinished(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(unfinished) / sizeof(unfinished[0]); i++) {
        if (strcmp(name, unfinished[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static void replay_recording(void *baton, const char *name, json_t *doc)
{
    json_t *response = json_object_get(doc, "response");
    const char *sse = json_string_value(json_object_get(response, "sse"));
    const char *raw = json_string_value(json_object_get(response, "raw"));
    const char *text = sse != NULL ? sse : raw;
    static const size_t steps[] = {1, 7, 100000000};
    int *n = baton;
    size_t i;

    if (text == NULL || json_integer_value(json_object_get(response, "status")) != 200) {
        return;
    }
    (*n)++;
    for (i = 0; i < 3; i++) {
        gb_plan_t *plan = plan_for("POST", "/models/m:streamGenerateContent",
                                   sse != NULL ? "alt=sse" : NULL, "{}");
        size_t len = strlen(text);
        size_t at, step;
        gb_facts_t facts;
        gb_translator_t *t;
        gb_buf_t out;
        apr_status_t rv = APR_SUCCESS;

        facts_clear(&facts);
        gb_buf_init(&out, 1 << 24);
        t = gb_gemini_dialect.start(plan, NULL, &facts);
        for (at = 0; at < len && rv == APR_SUCCESS && !facts.has_error; at += step) {
            step = steps[i] < len - at ? steps[i] : len - at;
            rv = gb_gemini_dialect.on_chunk(t, text + at, step, &out);
        }
        if (rv == APR_SUCCESS) {
            rv = gb_gemini_dialect.on_end(t, &out);
        }
        if ((rv != APR_SUCCESS || out.len != len || !facts.finished) != is_unfinished(name)) {
            print_error("%s: %d, %d of %d bytes\n", name, rv, (int)out.len, (int)len);
            fail();
        }
        assert_memory_equal(out.data, text, out.len);
        gb_buf_free(&out);
        apr_pool_clear(pool);
    }
}

static void recordings_pass_untouched(void **state)
{
    int n = 0;

    (void)state;
    if (replay_recordings("*", replay_recording, &n) > 0) {
        assert_true(n > 40);
    }
    else {
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_lead_up),
        cmocka_unit_test(refuses_in_googles_form),
        cmocka_unit_test(body_and_type),
        cmocka_unit_test(tap_sees),
        cmocka_unit_test(tap_counts),
        cmocka_unit_test(tap_names),
        cmocka_unit_test(streams_pass_untouched),
        cmocka_unit_test(events_are_not_held_back),
        cmocka_unit_test(array_instead_of_events),
        cmocka_unit_test(foreign_streams_pass),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(errors_have_googles_form),
        cmocka_unit_test(no_error_in_a_download),
        cmocka_unit_test(recordings_pass_untouched),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests_name("gemini", tests, NULL, NULL);
}
