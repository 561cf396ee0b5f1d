/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: Gemini counts thoughts and tool prompts beside the rest, OpenAI
 * counts them in.  Google's figures are cumulative, so the last ones count.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

void gb_openai_usage_clear(gb_openai_usage_t *usage)
{
    usage->prompt = usage->tool_use = usage->candidates = usage->thoughts = -1;
    usage->cached = usage->total = usage->prompt_audio = usage->answer_audio = -1;
    usage->tier[0] = '\0';
}

/* What is read of a usageMetadata: the counts first, which are kept at these places. */
static const char *const names[] = {
    "promptTokenCount",   "toolUsePromptTokenCount", "candidatesTokenCount",
    "thoughtsTokenCount", "cachedContentTokenCount", "totalTokenCount",
    "serviceTier",        "promptTokensDetails",     "candidatesTokensDetails"};

static const size_t offsets[] = {
    offsetof(gb_openai_usage_t, prompt),     offsetof(gb_openai_usage_t, tool_use),
    offsetof(gb_openai_usage_t, candidates), offsetof(gb_openai_usage_t, thoughts),
    offsetof(gb_openai_usage_t, cached),     offsetof(gb_openai_usage_t, total),
};

#define N_COUNTS (sizeof(offsets) / sizeof(*offsets))
#define N_NAMES  (sizeof(names) / sizeof(*names))

static apr_int64_t *count_of(gb_openai_usage_t *usage, size_t i)
{
    return (apr_int64_t *)((char *)usage + offsets[i]);
}

static apr_int64_t zero(apr_int64_t n)
{
    return n > 0 ? n : 0;
}

static void audio_read(apr_int64_t *tokens, gb_span_t details)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, details); gb_json_next(&it);) {
        if (gb_json_eq(gb_json_get(it.value, "modality"), "AUDIO")) {
            gb_json_int_or_str(gb_json_get(it.value, "tokenCount"), tokens);
        }
    }
}

/* candidatesTokenCount is often missing: the total tells it. */
static void candidates_derive(gb_openai_usage_t *usage)
{
    if (usage->candidates < 0 && usage->total >= 0) {
        usage->candidates = zero(usage->total - zero(usage->prompt) - zero(usage->tool_use)
                                 - zero(usage->thoughts));
    }
}

void gb_openai_usage_read(gb_openai_usage_t *usage, gb_span_t metadata)
{
    gb_openai_usage_t next;
    gb_span_t found[N_NAMES], tier;
    size_t i;
    int any = 0;

    gb_openai_usage_clear(&next);
    gb_json_get_all(metadata, names, N_NAMES, found);
    for (i = 0; i < N_COUNTS; i++) {
        any |= gb_json_int_or_str(found[i], count_of(&next, i)) && *count_of(&next, i) >= 0;
    }
    memcpy(next.tier, usage->tier, sizeof(next.tier));
    tier = found[N_COUNTS];
    if (gb_json_kind(tier) == GB_JSON_STRING && tier.len - 2 < sizeof(next.tier)) {
        memcpy(next.tier, tier.p + 1, tier.len - 2);
        next.tier[tier.len - 2] = '\0';
    }
    if (!any) { /* Vertex sends chunks that hold a traffic type only */
        memcpy(usage->tier, next.tier, sizeof(next.tier));
        return;
    }
    audio_read(&next.prompt_audio, found[N_COUNTS + 1]);
    audio_read(&next.answer_audio, found[N_COUNTS + 2]);
    candidates_derive(&next);
    *usage = next;
}

void gb_openai_usage_add(gb_openai_usage_t *sum, const gb_openai_usage_t *one)
{
    gb_openai_usage_t copy = *one;
    size_t i;

    for (i = 0; i < N_COUNTS; i++) {
        if (*count_of(&copy, i) >= 0) {
            *count_of(sum, i) = zero(*count_of(sum, i)) + *count_of(&copy, i);
        }
    }
    if (one->prompt_audio >= 0) {
        sum->prompt_audio = zero(sum->prompt_audio) + one->prompt_audio;
    }
    if (one->answer_audio >= 0) {
        sum->answer_audio = zero(sum->answer_audio) + one->answer_audio;
    }
    memcpy(sum->tier, one->tier, sizeof(sum->tier));
}

int gb_openai_usage_known(const gb_openai_usage_t *usage)
{
    return usage->prompt >= 0 || usage->total >= 0 || usage->candidates >= 0;
}

void gb_openai_usage_put(gb_buf_t *out, const gb_openai_usage_t *usage)
{
    apr_int64_t prompt = zero(usage->prompt) + zero(usage->tool_use);
    apr_int64_t completion = zero(usage->candidates) + zero(usage->thoughts);
    apr_int64_t total = usage->total >= prompt + completion ? usage->total : prompt + completion;

    gb_buf_printf(out,
                  "{\"prompt_tokens\":%" APR_INT64_T_FMT ",\"completion_tokens\":%" APR_INT64_T_FMT
                  ",\"total_tokens\":%" APR_INT64_T_FMT,
                  prompt, completion, total);
    gb_buf_printf(out,
                  ",\"prompt_tokens_details\":{\"cached_tokens\":%" APR_INT64_T_FMT
                  ",\"audio_tokens\":%" APR_INT64_T_FMT "}",
                  zero(usage->cached), zero(usage->prompt_audio));
    gb_buf_printf(out,
                  ",\"completion_tokens_details\":{\"reasoning_tokens\":%" APR_INT64_T_FMT
                  ",\"audio_tokens\":%" APR_INT64_T_FMT
                  ",\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
                  zero(usage->thoughts), zero(usage->answer_audio));
}

const char *gb_openai_usage_tier(const gb_openai_usage_t *usage)
{
    static const struct {
        const char *gemini;
        const char *openai;
    } tiers[] = {
        {"standard", "default" },
        {"flex",     "flex"    },
        {"priority", "priority"},
    };
    size_t i;

    for (i = 0; i < sizeof(tiers) / sizeof(*tiers); i++) {
        if (strcmp(usage->tier, tiers[i].gemini) == 0) {
            return tiers[i].openai;
        }
    }
    return NULL;
}
