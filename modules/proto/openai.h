/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAI surface: routes below /v1, translation to and from Gemini JSON.
 * Pure (see dialect.h).
 */
#ifndef GB_OPENAI_H
#define GB_OPENAI_H

#include "proto/dialect.h"

extern const gb_dialect_t gb_openai_dialect;

/*
 * The direct surface (/openai/v1): the body goes to Google's own OpenAI-format
 * endpoint untouched.
 */
extern const gb_dialect_t gb_openai_direct_dialect;

#endif
