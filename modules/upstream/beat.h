/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats: a filter before a sink that says something harmless whenever a
 * stream has been silent for a while, so that no proxy in between takes it for
 * dead.  The first one begins the answer with status 200; until the answer
 * itself begins, attempts are still retried on other keys.
 */
#ifndef GB_BEAT_H
#define GB_BEAT_H

#include "upstream/exchange.h"

/* From x's pool, before it is started; sink itself where x gets no heartbeats. */
gb_sink_t *gb_beat_before(gb_sink_t *sink, gb_exchange_t *x, gb_engine_t *engine);

#endif
