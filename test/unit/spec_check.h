/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether JSON is what the published specifications say: OpenAI's OpenAPI file
 * and Google's discovery document, both read from the shared folder.  As much of
 * JSON Schema as those two use.
 */
#ifndef GB_TEST_SPEC_CHECK_H
#define GB_TEST_SPEC_CHECK_H

#include <jansson.h>
#include <stddef.h>

typedef struct spec_t {
    json_t *openai; /* components.schemas */
    json_t *gemini; /* schemas */
} spec_t;

/* NULL members when shared is NULL. */
void spec_load(spec_t *spec, const char *shared);
void spec_free(spec_t *spec);

/* Fail with where and what; label tells whose text it is. */
void spec_openai(const spec_t *spec, const char *schema, const char *text, size_t len,
                 const char *label);
void spec_gemini(const spec_t *spec, const char *schema, const char *text, size_t len,
                 const char *label);

#endif
