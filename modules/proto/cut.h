/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long text in small steps: where a text that stands raw in JSON may be cut, and
 * how long to pause between two steps.  Pure; when a step goes out is the
 * optimizer's (upstream/optimizer.h).
 */
#ifndef GB_CUT_H
#define GB_CUT_H

#include <stddef.h>
#include <apr_time.h>

#include "base/settings.h"

/* How many characters raw JSON text (without its quotes) has; an escape or a pair of them is one. */
size_t gb_cut_count(const char *text, size_t len);

/*
 * The end of the first step of what is left of a text: at least so many characters and bytes, all
 * of it at the most.  It never falls into a character, an escape or a surrogate pair, nor into a run
 * of Markdown's marks, the line of a fence (begins_line: whether the text begins a line), or a link
 * or picture.
 */
size_t gb_cut_end(const char *text, size_t len, int begins_line, size_t chars, size_t bytes);

/* How a text of so many characters is given out: characters a step, and the pause after each. */
size_t gb_cut_step(const gb_settings_t *settings, size_t chars);
apr_interval_time_t gb_cut_delay(const gb_settings_t *settings, size_t chars);

#endif
