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

/* What becomes of each field of a chat request: the README's table is checked against it. */
typedef struct gb_openai_field_row_t {
    const char *name;
    const char *action; /* "MAP", "IGNORE" or "REJECT" */
    const char *text;   /* Markdown, one line */
} gb_openai_field_row_t;

const gb_openai_field_row_t *gb_openai_fields(int *n);

#endif
