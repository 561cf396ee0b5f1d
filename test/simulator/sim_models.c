/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The models that the simulator offers, as one table: what GET models tells
 * and which request fields each generation understands. The list follows
 * Google's as of late 2026; `gemini-5-preview` is invented and stands for
 * generations that refuse temperature, topP and topK.
 */
#include "sim.h"

#define MILLION    1048576
#define OUT        65536
#define ANY_LEVEL  (SL_MINIMAL | SL_LOW | SL_MEDIUM | SL_HIGH)
#define NO_MINIMAL (SL_LOW | SL_MEDIUM | SL_HIGH)
#define CHAT       (SM_TEXT | SM_COUNT)
#define THINK_25   (CHAT | SM_THINK | SM_BUDGET)
#define THINK_3    (CHAT | SM_THINK)
#define THINK_36   (THINK_3 | SM_NO_PREFILL | SM_RESPONSE_ID)

/* clang-format off */
static const sim_model_t models[] = {
    { "gemini-2.5-pro", "2.5", "Gemini 2.5 Pro", "Stable release of Gemini 2.5 Pro.", NULL,
      THINK_25 | SM_NO_OFF, 0, 0, 128, 32768, 250, MILLION, OUT },
    { "gemini-2.5-flash", "001", "Gemini 2.5 Flash",
      "Mid-size multimodal model that supports up to 1 million tokens.", NULL,
      THINK_25 | SM_LOGPROBS, 0, 0, 0, 24576, 250, MILLION, OUT },
    { "gemini-2.5-flash-lite", "001", "Gemini 2.5 Flash-Lite", "Smallest of the 2.5 family.", NULL,
      THINK_25, 0, 0, 512, 24576, 250, MILLION, OUT },
    { "gemini-2.5-flash-image", "2.0", "Nano Banana", "Gemini 2.5 Flash image output.", NULL,
      CHAT | SM_IMAGE, 0, 0, 0, 0, 250, 32768, 32768 },
    { "gemini-2.5-flash-preview-tts", "tts-001", "Gemini 2.5 Flash Preview TTS", "Speech output.",
      NULL, CHAT | SM_TTS, 0, 0, 0, 0, 250, 8192, 16384 },
    { "gemini-2.5-pro-preview-tts", "tts-001", "Gemini 2.5 Pro Preview TTS", "Speech output.",
      NULL, CHAT | SM_TTS, 0, 0, 0, 0, 250, 8192, 16384 },
    { "gemini-flash-latest", "latest", "Gemini Flash Latest", "Alias of the newest Flash.",
      "gemini-3.8-flash", THINK_36, NO_MINIMAL, SL_MEDIUM, 0, 0, 380, MILLION, OUT },
    { "gemini-flash-lite-latest", "latest", "Gemini Flash-Lite Latest",
      "Alias of the newest Flash-Lite.", "gemini-3.5-flash-lite",
      THINK_36, ANY_LEVEL, SL_MINIMAL, 0, 0, 350, MILLION, OUT },
    { "gemini-pro-latest", "latest", "Gemini Pro Latest", "Alias of the newest Pro.",
      "gemini-3.1-pro-preview", THINK_3, NO_MINIMAL, SL_HIGH, 0, 0, 310, MILLION, OUT },
    { "gemini-3-pro-preview", "3-pro-preview-11-2025", "Gemini 3 Pro Preview",
      "Gemini 3 Pro, served by its successor.", "gemini-3.1-pro-preview",
      THINK_3, SL_LOW | SL_HIGH, SL_HIGH, 0, 0, 300, MILLION, OUT },
    { "gemini-3-flash-preview", "3-flash-preview-12-2025", "Gemini 3 Flash Preview",
      "Gemini 3 Flash.", NULL, THINK_3, ANY_LEVEL, SL_HIGH, 0, 0, 300, MILLION, OUT },
    { "gemini-3-pro-image", "3.0", "Nano Banana Pro", "Gemini 3 Pro image output.", NULL,
      CHAT | SM_THINK | SM_IMAGE, SL_HIGH, SL_HIGH, 0, 0, 300, 65536, 32768 },
    { "gemini-3.1-pro-preview", "3.1-pro-preview-01-2026", "Gemini 3.1 Pro Preview",
      "Gemini 3.1 Pro.", NULL, THINK_3, NO_MINIMAL, SL_HIGH, 0, 0, 310, MILLION, OUT },
    { "gemini-3.1-flash-lite", "001", "Gemini 3.1 Flash-Lite", "Gemini 3.1 Flash-Lite.", NULL,
      THINK_3, ANY_LEVEL, SL_MINIMAL, 0, 0, 310, MILLION, OUT },
    { "gemini-3.1-flash-lite-image", "001", "Nano Banana 2 Lite", "Image output.", NULL,
      CHAT | SM_THINK | SM_IMAGE, SL_MINIMAL | SL_HIGH, SL_MINIMAL, 0, 0, 310, 65536, 32768 },
    { "gemini-3.1-flash-tts-preview", "001", "Gemini 3.1 Flash TTS Preview", "Speech output.",
      NULL, CHAT | SM_TTS, 0, 0, 0, 0, 310, 32768, 16384 },
    { "gemini-3.5-flash", "001", "Gemini 3.5 Flash", "Served by Gemini 3.6 Flash.",
      "gemini-3.6-flash", THINK_3 | SM_RESPONSE_ID, ANY_LEVEL, SL_MEDIUM, 0, 0, 350,
      MILLION, OUT },
    { "gemini-3.5-flash-lite", "001", "Gemini 3.5 Flash-Lite", "Gemini 3.5 Flash-Lite.", NULL,
      THINK_36, ANY_LEVEL, SL_MINIMAL, 0, 0, 350, MILLION, OUT },
    { "gemini-3.5-transcribe", "001", "Gemini 3.5 Transcribe", "Speech recognition.", NULL,
      CHAT | SM_TRANSCRIBE, 0, 0, 0, 0, 350, MILLION, OUT },
    { "gemini-3.6-flash", "001", "Gemini 3.6 Flash", "Gemini 3.6 Flash.", NULL,
      THINK_36, ANY_LEVEL, SL_MEDIUM, 0, 0, 360, MILLION, OUT },
    { "gemini-3.7-flash", "001", "Gemini 3.7 Flash", "Served by Gemini 3.8 Flash.",
      "gemini-3.8-flash", THINK_36 | SM_BUDGET_IGNORED, NO_MINIMAL, SL_MEDIUM, 0, 0, 370,
      MILLION, OUT },
    { "gemini-3.8-flash", "001", "Gemini 3.8 Flash", "Gemini 3.8 Flash.", NULL,
      THINK_36, NO_MINIMAL, SL_MEDIUM, 0, 0, 380, MILLION, OUT },
    { "gemini-4-argon", "001", "Gemini 4 Argon", "Gemini 4 Argon, paid tier only.", NULL,
      THINK_36 | SM_NO_CACHE, NO_MINIMAL, SL_MEDIUM, 0, 0, 400, MILLION, OUT },
    { "gemini-4-argon-cyber-permissive", "001", "Gemini 4 Argon Cyber Permissive",
      "Gemini 4 Argon for security work.", NULL,
      THINK_36 | SM_NO_CACHE, NO_MINIMAL, SL_HIGH, 0, 0, 400, MILLION, OUT },
    { "gemini-5-preview", "5-preview", "Gemini 5 Preview (invented)",
      "A generation that refuses sampling parameters.", NULL,
      THINK_36 | SM_SAMPLING_REFUSED, NO_MINIMAL, SL_MEDIUM, 0, 0, 500, MILLION, OUT },
    { "gemini-nano-banana-2.1", "2.1", "Nano Banana 2.1", "Image output.", NULL,
      CHAT | SM_THINK | SM_IMAGE, ANY_LEVEL, SL_HIGH, 0, 0, 310, 65536, 32768 },
    { "gemini-robotics-er-2-preview", "2-preview", "Gemini Robotics-ER 2 Preview",
      "Embodied reasoning.", NULL, THINK_3, ANY_LEVEL, SL_HIGH, 0, 0, 300, MILLION, OUT },
    { "gemini-embedding-001", "001", "Gemini Embedding 001",
      "Obtain a distributed representation of a text.", NULL,
      SM_EMBED, 0, 0, 0, 0, 250, 2048, 1 },
    { "gemini-embedding-2-preview", "2-preview", "Gemini Embedding 2 Preview",
      "Obtain a distributed representation of a text.", NULL,
      SM_EMBED, 0, 0, 0, 0, 300, 8192, 1 },
    { "gemini-2.5-flash-native-audio-latest", "latest", "Gemini 2.5 Flash Native Audio Latest",
      "Live API only.", NULL, SM_COUNT | SM_BIDI, 0, 0, 0, 0, 250, 131072, 8192 },
    { "gemma-3-4b-it", "001", "Gemma 3 4B", "Open model.", NULL,
      CHAT | SM_NO_TOOLS | SM_NO_SYSTEM | SM_PENALTY, 0, 0, 0, 0, 100, 32768, 8192 },
    { "gemma-3-27b-it", "001", "Gemma 3 27B", "Open model.", NULL,
      CHAT | SM_NO_TOOLS | SM_NO_SYSTEM | SM_PENALTY, 0, 0, 0, 0, 100, 131072, 8192 },
    { "gemma-4-31b-it", "001", "Gemma 4 31B", "Open model.", NULL,
      THINK_3, SL_MINIMAL | SL_HIGH, SL_MINIMAL, 0, 0, 100, 262144, 32768 },
    { "imagen-4.0-generate-001", "001", "Imagen 4 (gone from Google's list)",
      "Pictures by predict, as upstreams of one's own still have it.", NULL,
      SM_PREDICT, 0, 0, 0, 0, 100, 480, 8192 },
    { "veo-3.1-generate-preview", "3.1", "Veo 3.1", "Video output.", NULL,
      SM_PREDICT_LONG, 0, 0, 0, 0, 300, 480, 8192 },
};
/* clang-format on */

#define NMODELS (sizeof(models) / sizeof(*models))

static const char *const retired[] = {"gemini-2.0-flash",      "gemini-2.0-flash-001",
                                      "gemini-2.0-flash-lite", "gemini-2.0-flash-lite-001",
                                      "gemini-2.0-flash-exp",  NULL};

const sim_model_t *sim_model_at(unsigned index)
{
    return index < NMODELS ? &models[index] : NULL;
}

const sim_model_t *sim_model_find(sim_str_t name)
{
    static const sim_model_t *last = models;
    size_t i;

    if (sim_eq(name, last->name)) {
        return last;
    }
    for (i = 0; i < NMODELS; i++) {
        if (sim_eq(name, models[i].name)) {
            return last = &models[i];
        }
    }
    return NULL;
}

bool sim_model_retired(sim_str_t name)
{
    int i;

    for (i = 0; retired[i] != NULL; i++) {
        if (sim_eq(name, retired[i])) {
            return true;
        }
    }
    return false;
}

bool sim_model_is_3(const sim_model_t *m)
{
    return m->generation >= 300;
}

/* ---- GET models ---- */

static const struct {
    unsigned flag;
    const char *method;
} methods[] = {
    {SM_TEXT,         "generateContent"       },
    {SM_EMBED,        "embedContent"          },
    {SM_EMBED,        "countTextTokens"       },
    {SM_COUNT,        "countTokens"           },
    {SM_TEXT,         "createCachedContent"   },
    {SM_TEXT,         "batchGenerateContent"  },
    {SM_EMBED,        "asyncBatchEmbedContent"},
    {SM_PREDICT,      "predict"               },
    {SM_PREDICT_LONG, "predictLongRunning"    },
    {SM_BIDI,         "bidiGenerateContent"   }
};

static void write_methods(sw_t *w, const sim_model_t *m)
{
    size_t i;

    sw_open(w, "supportedGenerationMethods", '[');
    for (i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        bool cached = strcmp(methods[i].method, "createCachedContent") == 0;

        if (m->flags & methods[i].flag && !(cached && m->flags & SM_NO_CACHE)) {
            sw_cstr(w, NULL, methods[i].method);
        }
    }
    sw_close(w, ']');
}

void sim_model_write(sw_t *w, const char *key, const sim_model_t *m)
{
    char name[96] = "models/";

    strncat(name, m->name, sizeof(name) - 8);
    sw_open(w, key, '{');
    sw_cstr(w, "name", name);
    sw_cstr(w, "version", m->version);
    sw_cstr(w, "displayName", m->display);
    sw_cstr(w, "description", m->description);
    sw_number(w, "inputTokenLimit", m->in_limit);
    sw_number(w, "outputTokenLimit", m->out_limit);
    write_methods(w, m);
    if (m->flags & SM_TEXT) {
        sw_number(w, "temperature", 1);
        sw_raw(w, "topP", SIM_STR("0.95"));
        sw_number(w, "topK", 64);
        sw_number(w, "maxTemperature", 2);
    }
    if (m->flags & SM_THINK) {
        sw_bool(w, "thinking", true);
    }
    sw_close(w, '}');
}
