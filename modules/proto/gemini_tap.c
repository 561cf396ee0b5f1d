/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tap: what one GenerateContentResponse tells the exchange and the journal.
 * It reads by byte ranges, changes nothing and knows no client's protocol.
 *
 * Google's answers come in more shapes than its documentation: no content, an
 * empty one, no candidates, numbers for enums, usage in any chunk.  Whatever is
 * not understood counts as content rather than as nothing: a retry that was not
 * needed costs money, an answer thrown away costs more.
 */
#include "proto/gemini.h"

#include <string.h>

#include <apr_strings.h>

/* ---- finish reasons ---- */

typedef enum {
    END_PLAIN, /* an empty answer with it is a hiccup */
    END_BLOCKED,
    END_MALFORMED,
    END_FINAL /* another try would end the same way */
} end_t;

typedef struct finish_t {
    const char *name;
    int number; /* of the Gemini API's enum, 0 when no source tells it */
    end_t end;
} finish_t;

static const finish_t finishes[] = {
    {"STOP",                      1,  END_PLAIN    },
    {"MAX_TOKENS",                2,  END_FINAL    },
    {"SAFETY",                    3,  END_BLOCKED  },
    {"RECITATION",                4,  END_BLOCKED  },
    {"OTHER",                     5,  END_PLAIN    },
    {"LANGUAGE",                  6,  END_BLOCKED  },
    {"BLOCKLIST",                 7,  END_BLOCKED  },
    {"PROHIBITED_CONTENT",        8,  END_BLOCKED  },
    {"SPII",                      9,  END_BLOCKED  },
    {"MALFORMED_FUNCTION_CALL",   10, END_MALFORMED},
    {"IMAGE_SAFETY",              11, END_BLOCKED  },
    {"UNEXPECTED_TOOL_CALL",      12, END_MALFORMED},
    {"MALFORMED_RESPONSE",        0,  END_MALFORMED},
    {"IMAGE_PROHIBITED_CONTENT",  0,  END_BLOCKED  },
    {"IMAGE_RECITATION",          0,  END_BLOCKED  },
    {"ESCALATION",                0,  END_BLOCKED  },
    {"MODEL_ARMOR",               0,  END_BLOCKED  },
    {"CONTINUATION",              0,  END_FINAL    },
    {"MISSING_THOUGHT_SIGNATURE", 0,  END_FINAL    },
};

#define N_FINISHES (sizeof(finishes) / sizeof(finishes[0]))

static const finish_t *finish_by_name(gb_span_t value)
{
    size_t i;

    for (i = 0; i < N_FINISHES; i++) {
        if (gb_json_eq(value, finishes[i].name)) {
            return &finishes[i];
        }
    }
    return NULL;
}

static const finish_t *finish_by_number(gb_span_t value)
{
    apr_int64_t number = 0;
    size_t i;

    gb_json_int(value, &number);
    for (i = 0; i < N_FINISHES; i++) {
        if (number > 0 && finishes[i].number == number) {
            return &finishes[i];
        }
    }
    return NULL;
}

const char *gb_gemini_finish_name(gb_span_t number)
{
    const finish_t *finish = finish_by_number(number);

    return finish != NULL ? finish->name : NULL;
}

static void copy_n(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size) {
        len = size - 1;
    }
    memcpy(to, from, len);
    to[len] = '\0';
}

/* A string's text or a scalar as it stands, cut to the room there is. */
static void copy_text(char *to, size_t size, gb_span_t value)
{
    size_t quote = gb_json_kind(value) == GB_JSON_STRING ? 1 : 0;

    copy_n(to, size, value.p + quote, value.len - 2 * quote);
}

static int is_unset_enum(gb_span_t value)
{
    apr_int64_t number = -1;

    return gb_json_kind(value) == GB_JSON_NULL || gb_json_eq(value, "")
           || (gb_json_int(value, &number) && number == 0);
}

static void tap_finish_reason(gb_facts_t *facts, gb_span_t value)
{
    const finish_t *finish;

    if (is_unset_enum(value) || gb_json_eq(value, "FINISH_REASON_UNSPECIFIED")) {
        return;
    }
    finish = gb_json_kind(value) == GB_JSON_NUMBER ? finish_by_number(value)
                                                   : finish_by_name(value);
    facts->finished = 1;
    if (finish == NULL) {
        copy_text(facts->finish_reason, sizeof(facts->finish_reason), value);
        return;
    }
    apr_cpystrn(facts->finish_reason, finish->name, sizeof(facts->finish_reason));
    facts->blocked |= finish->end == END_BLOCKED;
    facts->malformed |= finish->end == END_MALFORMED;
    facts->has_content |= finish->end == END_FINAL;
}

/* ---- parts ---- */

/* Members of a part that describe it and are nothing by themselves. */
static const char *const describing[] = {
    "thought",         "thoughtSignature", "thought_signature", "partMetadata",
    "mediaProcessing", "mediaResolution",  "videoMetadata",     "speechMetadata",
};

static int describes(gb_span_t key)
{
    size_t i;

    for (i = 0; i < sizeof(describing) / sizeof(describing[0]); i++) {
        if (gb_json_eq(key, describing[i])) {
            return 1;
        }
    }
    return 0;
}

static int is_empty(gb_span_t value)
{
    switch (gb_json_kind(value)) {
    case GB_JSON_NONE:
    case GB_JSON_NULL:
        return 1;
    case GB_JSON_STRING:
        return value.len <= 2;
    case GB_JSON_OBJECT:
    case GB_JSON_ARRAY:
    case GB_JSON_NUMBER:
    case GB_JSON_TRUE:
    case GB_JSON_FALSE:
        return 0;
    }
    return 0;
}

/* Vertex ends streamed arguments with an empty functionCall. */
static int part_has_content(gb_span_t part)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, part); gb_json_next(&it);) {
        if (!describes(it.key) && !is_empty(it.value)
            && !(gb_json_eq(it.key, "functionCall") && gb_json_count(it.value) == 0)) {
            return 1;
        }
    }
    return 0;
}

static void tap_content(gb_facts_t *facts, gb_span_t content)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, gb_json_get(content, "parts"));
         !facts->has_content && gb_json_next(&it);) {
        facts->has_content = part_has_content(it.value);
    }
}

static void tap_candidates(gb_facts_t *facts, gb_span_t candidates)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, candidates); gb_json_next(&it);) {
        gb_json_iter_t member;

        facts->has_candidate = 1;
        for (gb_json_iter(&member, it.value); gb_json_next(&member);) {
            if (gb_json_eq(member.key, "content")) {
                tap_content(facts, member.value);
            }
            else if (gb_json_eq(member.key, "finishReason")) {
                tap_finish_reason(facts, member.value);
            }
        }
    }
    /* what was delivered is not asked for again */
    facts->malformed = facts->malformed && !facts->has_content;
}

/* ---- the other members ---- */

static void tap_prompt_feedback(gb_facts_t *facts, gb_span_t feedback)
{
    gb_span_t reason = gb_json_get(feedback, "blockReason");

    if (reason.p == NULL || is_unset_enum(reason)
        || gb_json_eq(reason, "BLOCK_REASON_UNSPECIFIED")) {
        return;
    }
    facts->blocked = 1;
    facts->finished = 1;
    if (facts->finish_reason[0] == '\0') {
        copy_text(facts->finish_reason, sizeof(facts->finish_reason), reason);
    }
}

/* A count of a usageMetadata, -1 for none. */
static apr_int64_t count(gb_span_t value)
{
    apr_int64_t n = -1;

    return gb_json_int_or_str(value, &n) && n >= 0 ? n : -1;
}

static apr_int64_t sum(apr_int64_t a, apr_int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a + b;
}

/*
 * Usage in a stream is cumulative: the last one counts, whole.  The candidates'
 * count is often missing; the total tells it then.
 */
static void tap_usage(gb_facts_t *facts, gb_span_t usage)
{
    static const char *const names[] = {"promptTokenCount",     "toolUsePromptTokenCount",
                                        "candidatesTokenCount", "thoughtsTokenCount",
                                        "totalTokenCount",      "cachedContentTokenCount"};
    gb_span_t found[6];
    apr_int64_t prompt, completion, thoughts, total;

    gb_json_get_all(usage, names, 6, found);
    prompt = sum(count(found[0]), count(found[1]));
    completion = count(found[2]);
    thoughts = count(found[3]);
    total = count(found[4]);
    if (prompt < 0 && completion < 0 && thoughts < 0 && total < 0) {
        return; /* Vertex sends chunks with only a trafficType */
    }
    if (completion >= 0 || total < 0) {
        completion = sum(completion, thoughts);
    }
    else {
        completion = total > prompt && prompt >= 0 ? total - prompt : sum(0, thoughts);
    }
    facts->prompt_tokens = prompt;
    facts->completion_tokens = completion;
    facts->thought_tokens = thoughts;
    facts->cached_tokens = count(found[5]);
    facts->total_tokens = total >= 0 ? total : sum(prompt, completion);
}

static void tap_model_version(gb_facts_t *facts, gb_span_t value)
{
    size_t skip = value.len > 9 && memcmp(value.p, "\"models/", 8) == 0 ? 8 : 1;

    if (facts->model_version[0] == '\0' && gb_json_kind(value) == GB_JSON_STRING) {
        copy_n(facts->model_version, sizeof(facts->model_version), value.p + skip,
               value.len - skip - 1);
    }
}

static void tap_response_id(gb_facts_t *facts, gb_span_t value)
{
    if (facts->response_id[0] == '\0' && gb_json_kind(value) == GB_JSON_STRING) {
        copy_text(facts->response_id, sizeof(facts->response_id), value);
    }
}

/* ---- the entry ---- */

static void tap_error(gb_facts_t *facts, gb_span_t json, apr_pool_t *p)
{
    facts->has_error = 1;
    facts->error_json = apr_pstrmemdup(p, json.p, json.len);
    facts->error_len = json.len;
}

/* The object inside a one-element array, json itself otherwise. */
static gb_span_t unwrap(gb_span_t json)
{
    gb_json_iter_t it;

    if (gb_json_kind(json) == GB_JSON_ARRAY) {
        gb_json_iter(&it, json);
        if (gb_json_next(&it)) {
            return it.value;
        }
    }
    return json;
}

void gb_gemini_tap(gb_facts_t *facts, gb_span_t json, apr_pool_t *p)
{
    static const char *const names[] = {"error",         "candidates",   "promptFeedback",
                                        "usageMetadata", "modelVersion", "responseId"};
    static void (*const taps[])(gb_facts_t * facts, gb_span_t value) = {
        NULL, tap_candidates, tap_prompt_feedback, tap_usage, tap_model_version, tap_response_id};
    gb_span_t object = unwrap(json), found[6];
    size_t i;

    gb_json_get_all(object, names, 6, found);
    if (!is_empty(found[0])) {
        tap_error(facts, object, p);
        return;
    }
    for (i = 1; i < 6; i++) {
        if (found[i].p) {
            taps[i](facts, found[i]);
        }
    }
}
