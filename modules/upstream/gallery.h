/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures by address: a filter before a sink that puts every picture of an
 * answer where it can be fetched (hosting.h), and its address in the place of the
 * mark that the translator left.  An event of a stream, and an answer in one
 * piece, wait until their pictures are there; one that cannot be put anywhere
 * goes along as a data URL.
 */
#ifndef GB_GALLERY_H
#define GB_GALLERY_H

#include "upstream/exchange.h"

/* From x's pool, before it is started; sink itself where no pictures are hosted. */
gb_sink_t *gb_gallery_before(gb_sink_t *sink, gb_exchange_t *x, gb_engine_t *engine);

#endif
