/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the features that the settings switch on; writing them into a
 * body is each surface's own.
 */
#include "proto/features.h"

#include <stddef.h>
#include <string.h>

#include <apr_strings.h>

/* ---- names ---- */

/* A variant of a model is its name and a suffix, for the models that a setting lists. */
typedef struct suffix_t {
    const char *text;
    unsigned variant;
    size_t list; /* offset of a gb_list_t in gb_settings_t, 0: CREATE_IMAGE_MODEL */
} suffix_t;

/* clang-format off */
static const suffix_t suffixes[] = {
    {"-search",       GB_VARIANT_SEARCH,       offsetof(gb_settings_t, search_models)},
    {"-image",        GB_VARIANT_IMAGE,        offsetof(gb_settings_t, image_models)},
    {"-non-thinking", GB_VARIANT_NON_THINKING, offsetof(gb_settings_t, thinking_models)},
    {"-chat",         GB_VARIANT_IMAGE | GB_VARIANT_PAID, 0},
};
/* clang-format on */

#define N_SUFFIXES ((int)(sizeof(suffixes) / sizeof(suffixes[0])))

/* Names that end like a variant and are none, for as long as Google's list is not known. */
static const char *const real_names[] = {
    "gemini-2.5-flash-image",
    "gemini-3-pro-image",
    "gemini-3.1-flash-image",
    "gemini-3.1-flash-lite-image",
};

const char *gb_feature_bare_name(const char *name)
{
    static const char *const prefixes[] = {"models/", "google/"};
    size_t i;

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return name + strlen(prefixes[i]);
        }
    }
    return name;
}

static int is_listed(const gb_settings_t *settings, const suffix_t *suffix, const char *base)
{
    if (suffix->list == 0) {
        return strcmp(settings->create_image_model, base) == 0;
    }
    return gb_list_has((const gb_list_t *)((const char *)settings + suffix->list), base);
}

const char *gb_feature_suffix(int i, const gb_settings_t *settings, const char *model)
{
    if (i >= N_SUFFIXES) {
        return NULL;
    }
    return is_listed(settings, &suffixes[i], model) ? suffixes[i].text : "";
}

static int is_real(const gb_memory_t *memory, const char *name)
{
    int known = memory != NULL && memory->model_is_real != NULL
                    ? memory->model_is_real(memory->ctx, name)
                    : -1;
    size_t i;

    if (known >= 0) {
        return known;
    }
    for (i = 0; i < sizeof(real_names) / sizeof(real_names[0]); i++) {
        if (strcmp(name, real_names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The model behind a name.  The list of models is asked only about names that might be variants. */
static const char *strip_suffix(const char *name, unsigned *variant, const gb_settings_t *settings,
                                const gb_memory_t *memory, apr_pool_t *p)
{
    size_t len = strlen(name);
    int i;

    for (i = 0; i < N_SUFFIXES; i++) {
        size_t n = strlen(suffixes[i].text);
        const char *base;

        if (len <= n || strcmp(name + len - n, suffixes[i].text) != 0) {
            continue;
        }
        base = apr_pstrndup(p, name, len - n);
        if (is_listed(settings, &suffixes[i], base) && !is_real(memory, name)) {
            *variant |= suffixes[i].variant;
            return base;
        }
    }
    return name;
}

apr_status_t gb_feature_model(const char **pmodel, unsigned *variant, const char *asked,
                              const gb_settings_t *settings, const gb_memory_t *memory,
                              apr_pool_t *p)
{
    const char *alias = gb_map_get(&settings->model_aliases, asked);
    const char *name = gb_feature_bare_name(alias != NULL ? alias : asked);

    if (gb_list_has(&settings->filtered_models, name)) {
        return APR_NOTFOUND;
    }
    name = strip_suffix(name, variant, settings, memory, p);
    if (gb_list_has(&settings->filtered_models, name) || !gb_model_name_ok(name, strlen(name))) {
        return APR_NOTFOUND;
    }
    *pmodel = name;
    return APR_SUCCESS;
}

/* The newest first. */
static const char *const image_models[] = {
    "gemini-nano-banana-2.1",
    "gemini-3-pro-image",
    "gemini-3.1-flash-lite-image",
    "gemini-2.5-flash-image",
};

const char *gb_feature_image_model(const gb_memory_t *memory)
{
    size_t i;
    int known = memory != NULL && memory->model_is_real != NULL;

    for (i = 0; known && i < sizeof(image_models) / sizeof(image_models[0]); i++) {
        switch (memory->model_is_real(memory->ctx, image_models[i])) {
        case 1:
            return image_models[i];
        case 0:
            break;
        default:
            known = 0;
        }
    }
    return image_models[0];
}

/* ---- tools ---- */

const char *const gb_tool_names[GB_TOOL_N] = {"googleSearch", "urlContext", "codeExecution"};

static int runs_code(const gb_feature_case_t *about, unsigned wanted)
{
    return about->settings->tools_code_execution_enabled && !(wanted & 1u << GB_TOOL_SEARCH)
           && !(about->variant & GB_VARIANT_IMAGE) && !about->model->is_image
           && !about->model->is_tts && about->model->is_gemini
           && strstr(about->name, "-thinking") == NULL && !about->has_media && !about->json_answer;
}

unsigned gb_feature_tools(const gb_feature_case_t *about)
{
    unsigned ours = about->variant & GB_VARIANT_SEARCH ? 1u << GB_TOOL_SEARCH : 0;

    if (about->settings->url_context_enabled && !about->json_answer
        && gb_list_has(&about->settings->url_context_models, about->name)) {
        ours |= 1u << GB_TOOL_URL_CONTEXT;
    }
    if (runs_code(about, about->client | ours)) {
        ours |= 1u << GB_TOOL_CODE_EXECUTION;
    }
    return ours;
}

/* ---- thinking ---- */

/* Models that go lower than "low". */
static const char *const minimal_models[] = {
    "gemini-3-flash",   "gemini-3.1-flash-lite", "gemini-3.5-flash",
    "gemini-3.6-flash", "gemini-robotics-er-2",
};

const char *gb_feature_lowest_level(const char *model)
{
    size_t i;

    for (i = 0; i < sizeof(minimal_models) / sizeof(minimal_models[0]); i++) {
        if (strncmp(model, minimal_models[i], strlen(minimal_models[i])) == 0) {
            return "MINIMAL";
        }
    }
    return "LOW";
}

int gb_feature_thinks(const gb_model_t *model)
{
    return (model->is_gemini || model->is_alias) && !model->is_tts && !model->is_embedding
           && !model->is_image && gb_model_at_least(model, 2, 5);
}

const char *gb_feature_level_of(apr_int64_t budget)
{
    if (budget < 0) {
        return NULL;
    }
    return budget <= 1024 ? "LOW" : budget <= 8192 ? "MEDIUM" : "HIGH";
}

/* ---- streams ---- */

int gb_feature_fakes_stream(const gb_settings_t *settings, const char *asked, const char *model)
{
    return settings->fake_stream_enabled || gb_list_has(&settings->fake_stream_models, asked)
           || gb_list_has(&settings->fake_stream_models, model);
}
