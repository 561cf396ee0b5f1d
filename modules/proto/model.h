/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model's name tells: family, generation, what it takes.  Google routes
 * names silently, so rules go by generation number, never by prefix
 * (MAPPING 1.2).
 */
#ifndef GB_MODEL_H
#define GB_MODEL_H

#include <stddef.h>

typedef struct gb_model_t {
    int major, minor; /* gemini-<major>[.<minor>] and gemma-...; 0 when there is none */
    int is_gemini, is_gemma, is_alias; /* alias: *-latest */
    int is_image, is_tts, is_embedding, is_imagen;
    int is_transcribe; /* speech to text and nothing else */
    int is_pro, is_flash, is_lite;
} gb_model_t;

/* A leading "models/" or "google/" is passed over. */
void gb_model_parse(gb_model_t *model, const char *name);

/* Whether a name may stand in a path: [A-Za-z0-9._:@/-], no "..", no "/" at either end, not empty, at most
 * 90 bytes. */
int gb_model_name_ok(const char *name, size_t len);

/* A Gemini of generation >= major.minor; one without a number (aliases, unknown kinds) counts as the
 * newest. */
int gb_model_at_least(const gb_model_t *model, int major, int minor);

/* Sampling fields are ignored today and a 400 tomorrow: drop them (MAPPING 3). */
int gb_model_drops_sampling(const gb_model_t *model);
/* candidateCount > 1 is possible (2.5 and older). */
int gb_model_takes_candidate_count(const gb_model_t *model);
/* thinkingLevel rather than thinkingBudget. */
int gb_model_takes_thinking_level(const gb_model_t *model);
/* More output streamed than unary (Gemini 4): serve non-streaming clients from a stream. */
int gb_model_prefers_stream(const gb_model_t *model);

#endif
