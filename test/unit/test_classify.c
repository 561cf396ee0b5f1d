/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classification: one case a file in test/cases/error, every row of the
 * table proven by at least one, and the recordings of real errors.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_time.h>

#include "proto/classify.h"
#include "replay.h"

/* ---- a case's outcome ---- */

static const char *const transports[] = {"ok",    "connect", "proxy",     "tls",      "stale",
                                         "reset", "timeout", "cancelled", "too_large"};

static gb_transport_t transport_of(json_t *doc)
{
    const char *name = json_string_value(json_object_get(doc, "transport"));
    size_t i;

    for (i = 0; name != NULL && i < sizeof(transports) / sizeof(transports[0]); i++) {
        if (strcmp(name, transports[i]) == 0) {
            return (gb_transport_t)i;
        }
    }
    assert_null(name);
    return GB_TRANSPORT_OK;
}

/* The body as it came over the wire; to be freed. */
static char *body_of(json_t *doc)
{
    json_t *body = json_object_get(doc, "body");
    const char *text = json_string_value(json_object_get(doc, "text"));

    if (body != NULL && !json_is_null(body)) {
        return json_dumps(body, JSON_ENCODE_ANY | JSON_INDENT(2));
    }
    return text != NULL ? strdup(text) : NULL;
}

static void classify(gb_verdict_t *v, json_t *doc, json_t *answer)
{
    json_t *retry_after = json_object_get(doc, "retry_after");
    json_t *complete = json_object_get(answer, "complete");
    char *body = body_of(doc);
    gb_outcome_t outcome;

    memset(&outcome, 0, sizeof(outcome));
    outcome.transport = transport_of(doc);
    outcome.status = (int)json_integer_value(json_object_get(doc, "status"));
    outcome.body = body;
    outcome.body_len = body != NULL ? strlen(body) : 0;
    outcome.retry_after = retry_after != NULL ? json_integer_value(retry_after) * APR_USEC_PER_SEC
                                              : -1;
    outcome.has_candidate = json_is_true(json_object_get(answer, "has_candidate"));
    outcome.has_content = json_is_true(json_object_get(answer, "has_content"));
    outcome.blocked = json_is_true(json_object_get(answer, "blocked"));
    outcome.malformed = json_is_true(json_object_get(answer, "malformed"));
    outcome.complete = complete == NULL || json_is_true(complete);
    outcome.secret = json_string_value(json_object_get(doc, "secret"));
    if (json_is_true(json_object_get(doc, "event"))) {
        gb_classify_event(v, body, outcome.body_len, outcome.secret);
    }
    else {
        gb_classify(v, &outcome);
    }
    free(body);
}

/* ---- the verdict, as a case writes it ---- */

static const char *const windows[] = {"none", "minute", "day", "unavailable", "month", "ambiguous"};
static const char *const hints[] = {"", "no", "yes"};

static json_t *quotas_of(const gb_verdict_t *v)
{
    json_t *list = json_array();
    int i;

    for (i = 0; i < v->n_quotas; i++) {
        const gb_quota_t *q = &v->quotas[i];

        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:I, s:s, s:i}", "id", q->id, "metric",
                                        q->metric, "model", q->model, "value", (json_int_t)q->value,
                                        "window", windows[q->window], "tokens", q->counts_tokens));
    }
    return list;
}

static json_t *verdict_as_json(const gb_verdict_t *v)
{
    const gb_error_t *err = &v->error;

    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:s, s:I, s:i, s:o, s:s, s:s, s:s, s:s, s:i, s:s, "
                     "s:s, s:s, s:s, "
                     "s:s, s:I, s:i}",
                     "class", gb_class_name(v->cls), "row", v->row, "retry", v->retry, "retry_max",
                     v->retry_max, "revocable", v->key_revocable, "window", windows[v->window],
                     "delay_ms", (json_int_t)(v->retry_delay >= 0 ? v->retry_delay / 1000 : -1),
                     "n_quotas", v->n_quotas, "quotas", quotas_of(v), "consumer", v->consumer,
                     "field", v->field, "reason", v->reason, "google_status", v->google_status,
                     "client_status", err->status, "type", gb_error_openai_type(err), "code",
                     err->code, "param", err->param, "should_retry", hints[err->should_retry],
                     "client_google_status", gb_error_google_status(err), "retry_after_ms",
                     (json_int_t)(err->retry_after / 1000), "once", v->once);
}

static int has_none(const char *text, json_t *words)
{
    json_t *word;
    size_t i;

    json_array_foreach(words, i, word)
    {
        if (strstr(text, json_string_value(word)) != NULL) {
            return 0;
        }
    }
    return 1;
}

/* Expectations that are no plain value. */
static int text_fits(const gb_verdict_t *v, const char *key, json_t *want)
{
    if (strcmp(key, "message_has") == 0) {
        return strstr(v->message, json_string_value(want)) != NULL;
    }
    if (strcmp(key, "client_message_has") == 0) {
        return strstr(v->error.message, json_string_value(want)) != NULL;
    }
    if (strcmp(key, "not_in") == 0) {
        return has_none(v->message, want) && has_none(v->error.message, want);
    }
    return strcmp(key, "not_in_client") == 0 && has_none(v->error.message, want);
}

static void is_utf8(const char *text)
{
    json_t *string = json_string(text);

    assert_non_null(string);
    json_decref(string);
}

static void check(const char *name, const gb_verdict_t *v, json_t *expect)
{
    json_t *got = verdict_as_json(v);
    const char *key;
    json_t *want;

    assert_non_null(got);
    json_object_foreach(expect, key, want)
    {
        json_t *have = json_object_get(got, key);

        if (have != NULL ? !json_equal(have, want) : !text_fits(v, key, want)) {
            char *text = json_dumps(have != NULL ? have : want, JSON_ENCODE_ANY);

            print_error("%s: %s: %s (row %s, \"%s\", client \"%s\")\n", name, key, text, v->row,
                        v->message, v->error.message);
            free(text);
            fail();
        }
    }
    json_decref(got);
    is_utf8(v->message);
    is_utf8(v->error.message);
    is_utf8(v->consumer);
    assert_true(v->cls == GB_CLASS_SUCCESS ? v->error.status == 0
                                           : v->error.status >= 400 && v->error.message[0] != '\0');
    assert_null(v->error.upstream_body);
}

/* ---- cases ---- */

#define ROWS_MAX 200

static void run_case(void *baton, const char *name, json_t *doc)
{
    int *proven = baton;
    gb_verdict_t v;
    size_t i;

    classify(&v, doc, json_object_get(doc, "answer"));
    check(name, &v, json_object_get(doc, "expect"));
    assert_non_null(json_object_get(json_object_get(doc, "expect"), "row"));
    for (i = 0; gb_classify_row_name(i) != NULL; i++) {
        proven[i] += strcmp(gb_classify_row_name(i), v.row) == 0;
    }
}

static void every_row_has_its_case(void **state)
{
    int proven[ROWS_MAX] = {0};
    size_t i, k;

    (void)state;
    assert_true(replay_cases("error", run_case, proven) > 100);
    for (i = 0; gb_classify_row_name(i) != NULL; i++) {
        assert_true(i < ROWS_MAX);
        if (proven[i] == 0) {
            fail_msg("no case proves the row \"%s\"", gb_classify_row_name(i));
        }
        for (k = 0; k < i; k++) {
            assert_string_not_equal(gb_classify_row_name(i), gb_classify_row_name(k));
        }
    }
}

static void classes_have_names(void **state)
{
    int i, k;

    (void)state;
    for (i = 0; i < GB_CLASS_N; i++) {
        assert_non_null(gb_class_name((gb_class_t)i));
        for (k = 0; k < i; k++) {
            assert_string_not_equal(gb_class_name((gb_class_t)i), gb_class_name((gb_class_t)k));
        }
    }
    assert_string_equal(gb_class_name(GB_CLASS_QUOTA), "quota");
    assert_string_equal(gb_class_name(GB_CLASS_N), "unknown");
}

/* Whatever is cut off a body: no crash, and no key dies of half a message. */
static void cut_case(void *baton, const char *name, json_t *doc)
{
    char *body = body_of(doc);
    size_t len = body != NULL ? strlen(body) : 0;
    size_t cut;

    (void)baton;
    (void)name;
    for (cut = 0; cut < len; cut += 1 + len / 64) {
        char *copy = malloc(cut > 0 ? cut : 1);
        gb_outcome_t outcome;
        gb_verdict_t v;

        memcpy(copy, body, cut);
        memset(&outcome, 0, sizeof(outcome));
        outcome.status = (int)json_integer_value(json_object_get(doc, "status"));
        outcome.body = copy;
        outcome.body_len = cut;
        outcome.retry_after = -1;
        gb_classify(&v, &outcome);
        if (body[0] == '{' || body[0] == '[') {
            assert_true(v.cls != GB_CLASS_KEY && v.cls != GB_CLASS_PROJECT);
        }
        gb_classify_event(&v, copy, cut, "secret");
        free(copy);
    }
    free(body);
}

static void half_bodies_condemn_nobody(void **state)
{
    (void)state;
    replay_cases("error", cut_case, NULL);
}

/* ---- recordings ---- */

static const struct {
    const char *name, *cls, *row;
} recorded[] = {
    {"ai-google-429-retry-info",                                                                     "quota",      "quota_minute"   },
    {"braintrust-sdk-python-test-error-handling-0",                                                  "client",     "model_unknown"  },
    {"issue-400-required-not-defined",                                                               "client",     "invalid_request"},
    {"issue-400-unknown-name",                                                                       "client",     "invalid_request"},
    {"issue-403-leaked-key",                                                                         "key",        "key_leaked"     },
    {"issue-404-model-retired",                                                                      "client",     "model_unknown"  },
    {"issue-429-array-wrapped",                                                                      "quota",      "quota_ambiguous"},
    {"issue-429-free-tier-per-day-2026",                                                             "quota",      "quota_day"      },
    {"issue-429-minute-and-day-mixed",                                                               "quota",      "quota_day"      },
    {"issue-429-rate-limit-exceeded-region",                                                         "quota",      "quota_minute"   },
    {"issue-500-internal",                                                                           "service",    "internal"       },
    {"issue-503-overloaded",                                                                         "overloaded", "overloaded"     },
    {"js-genai-chats-tests-sendmessage-send-message-stream-with-error-0",                            "client",
     "model_unknown"                                                                                                                },
    {"langchaingo-testgoogleaierrorhandling-0",                                                      "gateway",    "no_key_sent"    },
    {"mirascope-cassettes-test-authentication-error-google-gemini-2-5-flash-0",                      "key",
     "key_invalid"                                                                                                                  },
    {"mirascope-cassettes-test-model-not-found-google-gemini-2-5-flash-0",                           "client",
     "model_unknown"                                                                                                                },
    {"opentelemetry-python-contrib-test-generate-content-invalid-role-0",                            "client",
     "invalid_request"                                                                                                              },
    {"opentelemetry-python-contrib-test-generate-content-invalid-temperature-0",                     "client",
     "value_range"                                                                                                                  },
    {"opentelemetry-python-contrib-test-generate-content-missing-model-0",                           "client",
     "model_unknown"                                                                                                                },
    {"ruby-llm-chat-real-error-scenarios-gemini-gemini-2-5-flash-handles-context-length-exceeded-0",
     "quota",                                                                                                      "quota_minute"   },
    {"vertexai-sdk-test-data-unary-failure-generativelanguage-api-not-enabled",                      "project",
     "service_disabled"                                                                                                             },
    {"vertexai-sdk-test-data-unary-failure-unknown-model",                                           "client",     "model_unknown"  },
    {"vertexai-sdk-test-data-vertex-unary-failure-context-cache-model-doesnt-match",                 "client",
     "invalid_request"                                                                                                              },
    {"vertexai-sdk-test-data-vertex-unary-failure-image-rejected",                                   "adaptive",   "unexplained"    },
    {"vertexai-sdk-test-data-vertex-unary-failure-invalid-location-url-not-found",                   "client",
     "not_found"                                                                                                                    },
    {"vertexai-sdk-test-data-vertex-unary-failure-unsupported-user-location",                        "region",     "region"         },
};

#define N_RECORDED (sizeof(recorded) / sizeof(recorded[0]))

static void run_recording(void *baton, const char *name, json_t *doc)
{
    gb_verdict_t v;
    size_t i;

    (void)baton;
    classify(&v, json_object_get(doc, "response"), NULL);
    for (i = 0; i < N_RECORDED && strcmp(recorded[i].name, name) != 0; i++) {
    }
    if (i == N_RECORDED) {
        fail_msg("no class is listed for the recording %s", name);
        return;
    }
    if (strcmp(gb_class_name(v.cls), recorded[i].cls) != 0 || strcmp(v.row, recorded[i].row) != 0) {
        fail_msg("%s: %s, %s", name, gb_class_name(v.cls), v.row);
    }
}

static void recordings_have_their_class(void **state)
{
    int n = replay_recordings("errors", run_recording, NULL);

    (void)state;
    if (n == 0) {
        skip();
    }
    assert_int_equal(n, (int)N_RECORDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_case),
        cmocka_unit_test(classes_have_names),
        cmocka_unit_test(half_bodies_condemn_nobody),
        cmocka_unit_test(recordings_have_their_class),
    };

    apr_initialize();
    return cmocka_run_group_tests_name("classify", tests, NULL, NULL);
}
