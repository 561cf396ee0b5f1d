/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasoning: who decides (suffix, operator's map, client), and in which of
 * Gemini's two currencies - a level from Gemini 3 on, a budget of tokens
 * before.  A budget is never sent to Gemini 3 or to an alias.
 */
#include "proto/openai_int.h"

#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define NO_BUDGET INT64_MIN

/* What is going to be sent. */
typedef struct thinking_t {
    const char *level;  /* NULL: not told */
    apr_int64_t budget; /* NO_BUDGET: not told */
    int include;        /* 1, 0, -1 = not told */
} thinking_t;

/* Gemini 3.1 Flash Lite Image knows the two ends only. */
static const char *level_mend(const gb_openai_call_t *call, const char *level)
{
    if (strcmp(call->plan->model_used, "gemini-3.1-flash-lite-image") == 0) {
        return strcmp(level, "LOW") == 0      ? "MINIMAL"
               : strcmp(level, "MEDIUM") == 0 ? "HIGH"
                                              : level;
    }
    return level;
}

/* Google's own table, extended by what OpenAI has beside it. */
static const struct {
    const char *effort;
    const char *level;      /* NULL: the lowest */
    int budget, budget_pro; /* of 2.5 */
} efforts[] = {
    {"none",    NULL,     0,     128  },
    {"minimal", NULL,     1024,  1024 },
    {"low",     "LOW",    1024,  1024 },
    {"medium",  "MEDIUM", 8192,  8192 },
    {"high",    "HIGH",   24576, 24576},
    {"xhigh",   "HIGH",   24576, 32768},
    {"max",     "HIGH",   24576, 32768},
};

/* Whether it can be told how much: pictures are thought about from Gemini 3 on. */
static int takes_effort(const gb_openai_call_t *call)
{
    return gb_feature_thinks(&call->model)
           || (call->model.is_image && gb_model_takes_thinking_level(&call->model));
}

static void effort_apply(const gb_openai_call_t *call, thinking_t *thinking, gb_span_t effort)
{
    size_t i;

    if (!takes_effort(call)) {
        return;
    }
    for (i = 0; i < sizeof(efforts) / sizeof(*efforts); i++) {
        if (!gb_json_eq(effort, efforts[i].effort)) {
            continue;
        }
        if (gb_model_takes_thinking_level(&call->model)) {
            thinking->level = efforts[i].level != NULL
                                  ? efforts[i].level
                                  : gb_feature_lowest_level(call->plan->model_used);
        }
        else {
            thinking->budget = call->model.is_pro ? efforts[i].budget_pro : efforts[i].budget;
        }
        thinking->include = i == 0 ? 0 : thinking->include;
    }
}

/* The operator speaks in tokens for every model. */
static void budget_apply(const gb_openai_call_t *call, thinking_t *thinking, apr_int64_t budget)
{
    if (!gb_model_takes_thinking_level(&call->model)) {
        thinking->budget = budget;
    }
    else if (budget >= 0) {
        thinking->level = gb_feature_level_of(budget);
    }
}

static apr_status_t both(gb_openai_call_t *call)
{
    return gb_error_set(call->err, 400, "invalid_value", "reasoning_effort",
                        "'reasoning_effort' and 'thinking_config' with a level or a budget "
                        "exclude each other.");
}

/* "low" -> "LOW" */
static const char *level_name(gb_span_t value, apr_pool_t *p)
{
    const char *text = gb_openai_text(value, p);
    char *level = text != NULL ? apr_pstrndup(p, text, 40) : NULL;
    char *c;

    for (c = level; c != NULL && *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        }
    }
    return level;
}

static int level_known(const char *level)
{
    static const char *const levels[] = {"MINIMAL", "LOW", "MEDIUM", "HIGH",
                                         "THINKING_LEVEL_UNSPECIFIED"};
    size_t i;

    for (i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
        if (level != NULL && strcmp(level, levels[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The client's own thinking_config. */
static apr_status_t config_apply(gb_openai_call_t *call, thinking_t *thinking, gb_span_t config)
{
    gb_span_t level = gb_json_get2(config, "thinking_level", "thinkingLevel");
    gb_span_t budget = gb_json_get2(config, "thinking_budget", "thinkingBudget");
    gb_span_t include = gb_json_get2(config, "include_thoughts", "includeThoughts");
    apr_int64_t tokens;
    int flag;

    if ((gb_json_kind(level) == GB_JSON_STRING || gb_json_int_or_str(budget, &tokens))
        && gb_openai_there(call->field[GB_OPENAI_REASONING_EFFORT])) {
        return both(call);
    }
    if (gb_json_kind(level) == GB_JSON_STRING) {
        thinking->level = level_name(level, call->pool);
        if (!level_known(thinking->level)) {
            return gb_error_set(call->err, 400, "invalid_value",
                                "extra_body.google.thinking_config.thinking_level",
                                "Invalid value for 'thinking_level': expected minimal, low, medium "
                                "or high.");
        }
        thinking->budget = NO_BUDGET;
    }
    if (gb_json_int_or_str(budget, &tokens)) {
        thinking->level = NULL;
        budget_apply(call, thinking, tokens);
    }
    if (gb_json_bool(include, &flag)) {
        thinking->include = flag;
        call->show_thoughts = flag;
    }
    return APR_SUCCESS;
}

static void non_thinking_apply(const gb_openai_call_t *call, thinking_t *thinking)
{
    effort_apply(call, thinking, (gb_span_t){"\"none\"", 6});
    thinking->include = -1;
}

/* 0: nothing is sent, whatever the client says. */
static apr_status_t settle(gb_openai_call_t *call, thinking_t *thinking, int *silent)
{
    gb_span_t config = gb_json_get2(call->google, "thinking_config", "thinkingConfig");
    gb_span_t effort = call->field[GB_OPENAI_REASONING_EFFORT];
    const char *text = gb_map_get(&call->settings->thinking_budget_map, call->plan->model_used);
    int show = call->settings->show_thinking_process, asked;

    if (gb_json_kind(config) != GB_JSON_OBJECT) {
        config = gb_json_get2(call->google, "generation_config", "generationConfig");
        config = gb_json_get2(config, "thinking_config", "thinkingConfig");
    }
    call->show_thoughts = show;
    *silent = text != NULL && atof(text) == 0;
    if (call->variant & GB_OPENAI_NON_THINKING) {
        *silent = 0;
        non_thinking_apply(call, thinking);
        return APR_SUCCESS;
    }
    asked = (gb_openai_there(effort) && takes_effort(call))
            || gb_json_kind(config) == GB_JSON_OBJECT;
    if (asked || gb_feature_thinks(&call->model)) {
        thinking->include = show ? 1 : -1;
    }
    effort_apply(call, thinking, effort);
    if (!asked && text != NULL) {
        budget_apply(call, thinking, (apr_int64_t)atof(text));
    }
    return config_apply(call, thinking, config);
}

apr_status_t gb_openai_thinking_put(gb_openai_call_t *call, gb_buf_t *out)
{
    thinking_t thinking = {NULL, NO_BUDGET, -1};
    int silent = 0, n = 0;
    apr_status_t rv = settle(call, &thinking, &silent);

    if (rv != APR_SUCCESS || silent || (call->dropped & GB_OPENAI_DROP_THINKING)) {
        return rv;
    }
    if (call->dropped & GB_OPENAI_DROP_THINKING_LEVEL) {
        thinking.level = NULL;
        thinking.budget = NO_BUDGET;
    }
    if (call->dropped & GB_OPENAI_DROP_INCLUDE_THOUGHTS) {
        thinking.include = -1;
    }
    if (thinking.level != NULL) {
        gb_buf_puts(out, "{\"thinkingLevel\":");
        gb_json_put_cstr(out, level_mend(call, thinking.level));
        n++;
    }
    if (thinking.budget != NO_BUDGET) {
        gb_buf_printf(out, "%s\"thinkingBudget\":%" APR_INT64_T_FMT, n++ ? "," : "{",
                      thinking.budget);
    }
    if (n > 0) {
        call->sent |= GB_OPENAI_DROP_THINKING_LEVEL;
    }
    if (thinking.include == 1) {
        gb_buf_printf(out, "%s\"includeThoughts\":true", n++ ? "," : "{");
        call->sent |= GB_OPENAI_DROP_INCLUDE_THOUGHTS;
    }
    if (n > 0) {
        gb_buf_putc(out, '}');
        call->sent |= GB_OPENAI_DROP_THINKING;
    }
    return out->rv;
}
