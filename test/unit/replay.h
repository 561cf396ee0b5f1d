/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that tests replay: our own cases below test/cases, and recordings of
 * real traffic, which are not part of the project and may be absent.
 */
#ifndef GB_REPLAY_H
#define GB_REPLAY_H

#include <jansson.h>

/* name is the file's name without folder and ".json". */
typedef void replay_fn(void *baton, const char *name, json_t *doc);

/* Every *.json below test/cases/GROUP, in order.  The number of files; none is a failure. */
int replay_cases(const char *group, replay_fn *fn, void *baton);

/*
 * Every recording of a group ("*" for all).  0 when there are none: skipped
 * with a word on where they were looked for, a failure when CI is "true".
 */
int replay_recordings(const char *group, replay_fn *fn, void *baton);

#endif
