/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys in pasted text: lists with any separators, CSV, log lines, `.env` files.
 * A built-in pattern finds the two forms that Google issues; a text that holds
 * none of them is taken as a list of opaque keys.
 */
#ifndef GB_POOL_PASTE_H
#define GB_POOL_PASTE_H

#include <apr.h>

typedef struct gb_paste_t {
    const char *at, *end;
    int opaque; /* no known form anywhere: every word is a key */
} gb_paste_t;

void gb_paste_begin(gb_paste_t *paste, const char *text, apr_size_t len);

/* The next key; 0 at the end.  The bytes stay in the text. */
int gb_paste_next(gb_paste_t *paste, const char **key, apr_size_t *len);

/*
 * The next word that somebody may have taken for a key, and that gb_paste_next does
 * not give: a known form that was cut (or runs on), or the key of another service.
 * Wants a paste of its own.
 */
int gb_paste_odd(gb_paste_t *paste, const char **word, apr_size_t *len, int *is_cut);

#endif
