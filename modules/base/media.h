/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Media in JSON: strings of base64, also as data URLs.  They are told by their
 * first bytes, which is good enough to leave them out of logs and estimates; the
 * text need not be checked, and may be cut.
 */
#ifndef GB_MEDIA_H
#define GB_MEDIA_H

#include <stddef.h>

#define GB_MEDIA_MIN 256 /* characters from which on a string may be media */

/* The closing quote of a string whose text begins at `at`, or the end of the document. */
const char *gb_media_string_end(const char *at, const char *end);

/* Whether the text of a string is media. */
int gb_media_is(const char *from, const char *end);

/* How long a document is without them; *n: how many there were. */
size_t gb_media_left(const char *json, size_t len, size_t *n);

#endif
