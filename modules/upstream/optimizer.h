/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream optimizer: a filter before a sink that gives long pieces of text
 * out in small steps, each an event of its own.  It keeps no text: what was not
 * given yet waits in the exchange, so that a slow client still slows the
 * upstream.  Nothing waits here for longer than two seconds: when much has come,
 * steps grow.
 */
#ifndef GB_OPTIMIZER_H
#define GB_OPTIMIZER_H

#include "upstream/exchange.h"

/* From x's pool, before it is started; sink itself where x's stream is not for it. */
gb_sink_t *gb_optimizer_before(gb_sink_t *sink, gb_exchange_t *x, gb_engine_t *engine);

#endif
