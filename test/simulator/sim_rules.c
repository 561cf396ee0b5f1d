/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Google refuses although it parses: values out of range, features that a
 * model does not have, and turns of functions in the wrong order or without
 * their signatures. One small function per rule, run in order.
 */
#include "sim.h"

#include <stdio.h>

bool sim_strict_signatures, sim_strict_ids;

typedef struct {
    sim_conn_t *c;
    const sj_doc_t *doc;
    const sim_model_t *m;
    uint32_t contents, config;
} check_t;

#define NAME(k) (k)->m->name

/* ---- contents ---- */

static bool part_has_data(const sj_doc_t *doc, uint32_t part)
{
    static const char *const data[] = {"text",
                                       "inlineData",
                                       "fileData",
                                       "functionCall",
                                       "functionResponse",
                                       "executableCode",
                                       "codeExecutionResult",
                                       "toolCall",
                                       "toolResponse",
                                       "thoughtSignature",
                                       "audioTranscription",
                                       NULL};
    int i;

    for (i = 0; data[i] != NULL; i++) {
        if (sj_get(doc, part, data[i]) != SJ_NONE) {
            return true;
        }
    }
    return false;
}

static bool rule_parts(const check_t *k, uint32_t turn, unsigned n)
{
    uint32_t parts = sj_get(k->doc, turn, "parts");
    unsigned i = 0;

    if (parts == SJ_NONE || sj_begin(k->doc, parts) >= sj_end(k->doc, parts)) {
        sim_error_simple(k->c, 400,
                         "* GenerateContentRequest.contents[%u].parts: contents.parts "
                         "must not be empty.\n",
                         n);
        return false;
    }
    SJ_EACH_OF(k->doc, parts, part)
    {
        if (!part_has_data(k->doc, part)) {
            sim_error_simple(k->c, 400,
                             "* GenerateContentRequest.contents[%u].parts[%u].data: "
                             "required oneof field 'data' must have one initialized "
                             "field\n",
                             n, i);
            return false;
        }
        i++;
    }
    return true;
}

static bool rule_contents(const check_t *k)
{
    static const char *const roles[] = {"", "user", "model", "function", NULL};
    unsigned n = 0;

    SJ_EACH_OF(k->doc, k->contents, turn)
    {
        sim_str_t role = sj_raw(k->doc, sj_get(k->doc, turn, "role"));
        int i = 0;

        while (roles[i] != NULL && !sim_eq(role, roles[i])) {
            i++;
        }
        if (roles[i] == NULL) {
            sim_error_simple(k->c, 400, "Please use a valid role: user, model.");
            return false;
        }
        if (!rule_parts(k, turn, n++)) {
            return false;
        }
    }
    if (n == 0) {
        sim_error_simple(k->c, 400,
                         "* GenerateContentRequest.contents: contents is not "
                         "specified\n");
    }
    return n > 0;
}

static bool rule_prefill(const check_t *k)
{
    uint32_t last = SJ_NONE;

    SJ_EACH_OF(k->doc, k->contents, turn)
    {
        last = turn;
    }
    if (k->m->flags & SM_NO_PREFILL && sj_eq(k->doc, sj_get(k->doc, last, "role"), "model")) {
        sim_error_simple(k->c, 400,
                         "The request ends with model turn, which is not supported by "
                         "this model. Please end it with a user turn.");
        return false;
    }
    return true;
}

static bool rule_system(const check_t *k)
{
    if (k->m->flags & SM_NO_SYSTEM && sj_get(k->doc, 0, "systemInstruction") != SJ_NONE) {
        sim_error_simple(k->c, 400, "Developer instruction is not enabled for models/%s", NAME(k));
        return false;
    }
    return true;
}

/* ---- generationConfig ---- */

static bool rule_ranges(const check_t *k)
{
    static const struct {
        const char *name, *snake;
        double from, to;
    } ranges[] = {
        {"temperature",      "temperature",       0,  2        },
        {"topP",             "top_p",             0,  1        },
        {"topK",             "top_k",             1,  1e9      },
        {"presencePenalty",  "presence_penalty",  -2, 1.9999999},
        {"frequencyPenalty", "frequency_penalty", -2, 1.9999999},
        {"candidateCount",   "candidate_count",   1,  8        },
        {"logprobs",         "logprobs",          0,  20       }
    };
    size_t i;

    for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        uint32_t value = sj_get(k->doc, k->config, ranges[i].name);
        double v = sj_double(k->doc, value, ranges[i].from);

        if (v < ranges[i].from || v > ranges[i].to) {
            sim_error_simple(k->c, 400,
                             "* GenerateContentRequest.generation_config.%s: %s must "
                             "be in the range [%.1f, %.1f].\n",
                             ranges[i].snake, ranges[i].snake, ranges[i].from, ranges[i].to);
            return false;
        }
    }
    return true;
}

static bool rule_sampling(const check_t *k)
{
    static const char *const names[][2] = {
        {"temperature", "temperature"},
        {"topP",        "top_p"      },
        {"topK",        "top_k"      }
    };
    size_t i;

    for (i = 0; k->m->flags & SM_SAMPLING_REFUSED && i < 3; i++) {
        if (sj_get(k->doc, k->config, names[i][0]) != SJ_NONE) {
            sim_error_simple(k->c, 400, "%s is not supported for models/%s.", names[i][1], NAME(k));
            return false;
        }
    }
    return true;
}

static bool rule_penalty(const check_t *k)
{
    double p = sj_double(k->doc, sj_get(k->doc, k->config, "presencePenalty"), 0);
    double f = sj_double(k->doc, sj_get(k->doc, k->config, "frequencyPenalty"), 0);

    if ((p != 0 || f != 0) && !(k->m->flags & SM_PENALTY)) {
        sim_error_simple(k->c, 400, "Penalty is not enabled for models/%s", NAME(k));
        return false;
    }
    return true;
}

static bool rule_candidates(const check_t *k)
{
    long n = sj_long(k->doc, sj_get(k->doc, k->config, "candidateCount"), 1);

    if (n > 1 && k->m->generation >= 300) {
        sim_error_simple(k->c, 400, "Multiple candidates is not enabled for models/%s", NAME(k));
        return false;
    }
    return true;
}

static bool rule_logprobs(const check_t *k)
{
    if (sj_true(k->doc, sj_get(k->doc, k->config, "responseLogprobs"))
        && !(k->m->flags & SM_LOGPROBS)) {
        sim_error_simple(k->c, 400, "Logprobs is not enabled for models/%s", NAME(k));
        return false;
    }
    return true;
}

static bool rule_output(const check_t *k)
{
    uint32_t value = sj_get(k->doc, k->config, "maxOutputTokens");
    long n = sj_long(k->doc, value, 1);
    unsigned stops = 0;
    uint32_t list = sj_get(k->doc, k->config, "stopSequences");

    SJ_EACH_OF(k->doc, list, stop)
    {
        stops += stop != SJ_NONE;
    }
    if (stops > 5) {
        sim_error_simple(k->c, 400,
                         "* GenerateContentRequest.generation_config.stop_sequences: "
                         "at most 5 stop sequences are supported\n");
        return false;
    }
    if (n < 1 || n > k->m->out_limit) {
        sim_error_simple(k->c, 400,
                         "Unable to submit request because it has a maxOutputTokens "
                         "value of %ld but the supported range is from 1 (inclusive) "
                         "to %d (exclusive). Update the value and try again.",
                         n, k->m->out_limit + 1);
        return false;
    }
    return true;
}

/* ---- thinking ---- */

static unsigned level_bit(sim_str_t word)
{
    static const struct {
        const char *word;
        unsigned bit;
    } levels[] = {
        {"minimal", SL_MINIMAL},
        {"low",     SL_LOW    },
        {"medium",  SL_MEDIUM },
        {"high",    SL_HIGH   }
    };
    size_t i;

    for (i = 0; i < 4; i++) {
        if (sim_ieq(word, levels[i].word)) {
            return levels[i].bit;
        }
    }
    return 0;
}

static bool rule_level(const check_t *k, sim_str_t word)
{
    unsigned bit = level_bit(word);
    char upper[16] = "";
    size_t i;

    if (k->m->levels == 0) {
        sim_error_simple(k->c, 400, "Thinking level is not supported for this model.");
        return false;
    }
    if (bit != 0 && !(k->m->levels & bit)) {
        for (i = 0; i < word.n && i < sizeof(upper) - 1; i++) {
            upper[i] = (char)(word.p[i] & ~0x20);
        }
        sim_error_simple(k->c, 400,
                         "Thinking level %s is not supported for this model. Please "
                         "retry with other thinking level.",
                         upper);
        return false;
    }
    return true;
}

static bool rule_budget(const check_t *k, long budget)
{
    if (k->m->flags & SM_BUDGET_IGNORED) {
        return true;
    }
    if (!(k->m->flags & SM_BUDGET)) {
        sim_error_simple(k->c, 400,
                         "Thinking budget is not supported for this model. Please use "
                         "thinking_level instead.");
        return false;
    }
    if (budget == -1 || (budget == 0 && !(k->m->flags & SM_NO_OFF))) {
        return true;
    }
    if (budget == 0) {
        sim_error_simple(k->c, 400,
                         "Budget 0 is invalid. This model only works in thinking "
                         "mode.");
        return false;
    }
    if (budget < k->m->budget_min || budget > k->m->budget_max) {
        sim_error_simple(k->c, 400,
                         "The thinking budget %ld is invalid. Please choose a value "
                         "between %d and %d.",
                         budget, k->m->budget_min, k->m->budget_max);
        return false;
    }
    return true;
}

static bool rule_thinking(const check_t *k)
{
    uint32_t config = sj_get(k->doc, k->config, "thinkingConfig");
    uint32_t level = sj_get(k->doc, config, "thinkingLevel");
    uint32_t budget = sj_get(k->doc, config, "thinkingBudget");

    if (config == SJ_NONE) {
        return true;
    }
    if (!(k->m->flags & SM_THINK)) {
        sim_error_simple(k->c, 400, "Thinking is not enabled for models/%s", NAME(k));
        return false;
    }
    if (level != SJ_NONE && budget != SJ_NONE) {
        sim_error_simple(k->c, 400,
                         "You can only set only one of thinking budget and thinking "
                         "level.");
        return false;
    }
    if (level != SJ_NONE) {
        return rule_level(k, sj_raw(k->doc, level));
    }
    return budget == SJ_NONE || rule_budget(k, sj_long(k->doc, budget, 0));
}

/* ---- output kinds ---- */

static bool rule_modalities(const check_t *k)
{
    uint32_t list = sj_get(k->doc, k->config, "responseModalities");
    const char *accepted = k->m->flags & SM_IMAGE ? "* TEXT\n* TEXT, IMAGE\n* IMAGE"
                           : k->m->flags & SM_TTS ? "* AUDIO"
                                                  : "* TEXT";
    char asked[64] = "";
    bool ok = true;

    SJ_EACH_OF(k->doc, list, one)
    {
        sim_str_t word = sj_raw(k->doc, one);
        size_t len = strlen(asked);

        if (word.n + len + 3 < sizeof(asked)) {
            snprintf(asked + len, sizeof(asked) - len, "%s%.*s", len > 0 ? ", " : "", (int)word.n,
                     word.p);
        }
        ok = ok
             && ((sim_ieq(word, "TEXT") && !(k->m->flags & SM_TTS))
                 || (sim_ieq(word, "IMAGE") && k->m->flags & SM_IMAGE)
                 || (sim_ieq(word, "AUDIO") && k->m->flags & SM_TTS));
    }
    if (list == SJ_NONE && k->m->flags & SM_TTS) {
        ok = false;
        snprintf(asked, sizeof(asked), "TEXT");
    }
    if (!ok) {
        sim_error_simple(k->c, 400,
                         "The requested combination of response modalities (%s) is not "
                         "supported by the model. models/%s accepts the following "
                         "combination of response modalities:\n%s\n",
                         asked, NAME(k), accepted);
    }
    return ok;
}

static bool rule_mime(const check_t *k)
{
    uint32_t mime = sj_get(k->doc, k->config, "responseMimeType");
    uint32_t door1 = sj_get(k->doc, k->config, "responseSchema");
    uint32_t door2 = sj_get(k->doc, k->config, "responseJsonSchema");
    bool json = sj_eq(k->doc, mime, "application/json") || sj_eq(k->doc, mime, "text/x.enum");

    if (mime != SJ_NONE && !json && !sj_eq(k->doc, mime, "text/plain")) {
        sim_error_simple(k->c, 400,
                         "* GenerateContentRequest.generation_config.response_mime_type"
                         ": allowed mimetypes are `text/plain`, `application/json`, "
                         "`application/xml`, `application/yaml` and `text/x.enum`.\n");
        return false;
    }
    if (door1 != SJ_NONE && door2 != SJ_NONE) {
        sim_error_simple(k->c, 400,
                         "* GenerateContentRequest.generation_config: only one of "
                         "response_schema and response_json_schema can be set\n");
        return false;
    }
    if ((door1 != SJ_NONE || door2 != SJ_NONE) && !json) {
        sim_error_simple(k->c, 400,
                         "* GenerateContentRequest.generation_config.response_schema: "
                         "only allowed for response_mime_type application/json\n");
        return false;
    }
    if (json && k->m->flags & SM_NO_TOOLS) {
        sim_error_simple(k->c, 400, "JSON mode is not enabled for models/%s", NAME(k));
        return false;
    }
    return true;
}

/* ---- the rest of the request ---- */

static bool rule_safety(const check_t *k)
{
    uint32_t list = sj_get(k->doc, 0, "safetySettings");

    SJ_EACH_OF(k->doc, list, a)
    {
        sim_str_t one = sj_raw(k->doc, sj_get(k->doc, a, "category"));
        unsigned same = 0;

        SJ_EACH_OF(k->doc, list, b)
        {
            sim_str_t other = sj_raw(k->doc, sj_get(k->doc, b, "category"));

            same += sim_same(one, other);
        }
        if (same > 1) {
            sim_error_simple(k->c, 400,
                             "* GenerateContentRequest.safety_settings: duplicate "
                             "safety setting for category %.*s\n",
                             (int)one.n, one.p);
            return false;
        }
    }
    return true;
}

static bool rule_cache(const check_t *k)
{
    uint32_t cache = sj_get(k->doc, 0, "cachedContent");

    if (cache == SJ_NONE || k->doc->tok[cache].len == 0) {
        return true;
    }
    if (sj_get(k->doc, 0, "systemInstruction") != SJ_NONE || sj_get(k->doc, 0, "tools") != SJ_NONE
        || sj_get(k->doc, 0, "toolConfig") != SJ_NONE) {
        sim_error_simple(k->c, 400,
                         "CachedContent can not be used with GenerateContent request "
                         "setting system_instruction, tools or tool_config.\n\nProposed "
                         "fix: move those values to CachedContent from GenerateContent "
                         "request.");
        return false;
    }
    if (!sim_starts(sj_raw(k->doc, cache), "cachedContents/sim")) {
        sim_error_simple(k->c, 403, "CachedContent not found (or permission denied)");
        return false;
    }
    return true;
}

static bool rule_tools(const check_t *k)
{
    return sim_check_tools(k->c, k->doc);
}

static bool rule_turns(const check_t *k)
{
    return sim_check_turns(k->c, k->doc, k->contents);
}

bool sim_check_rules(sim_conn_t *c, const sj_doc_t *doc)
{
    static bool (*const rules[])(const check_t *) = {
        rule_contents,   rule_prefill,  rule_system, rule_ranges,   rule_sampling,   rule_penalty,
        rule_candidates, rule_logprobs, rule_output, rule_thinking, rule_modalities, rule_mime,
        rule_safety,     rule_cache,    rule_tools,  rule_turns};
    check_t k = {.c = c,
                 .doc = doc,
                 .m = c->req.known,
                 .contents = sj_get(doc, 0, "contents"),
                 .config = sj_get(doc, 0, "generationConfig")};
    size_t i;

    for (i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        if (!rules[i](&k)) {
            return false;
        }
    }
    return true;
}
