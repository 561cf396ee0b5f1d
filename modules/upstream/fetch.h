/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching what a client named by URL (images, mostly) before its call goes
 * upstream.  The URL is a stranger's: no key travels, the address must be
 * public (or opened by IMAGE_FETCH_ALLOW) for every connection that is made,
 * redirects included, and size and time are bounded.
 */
#ifndef GB_FETCH_H
#define GB_FETCH_H

#include "proto/dialect.h"
#include "upstream/engine.h"

typedef struct gb_fetcher_t gb_fetcher_t;

#define GB_FETCH_MAX_BYTES (32 * 1024 * 1024) /* all of one call together */
#define GB_FETCH_MAX_TIME  apr_time_from_sec(30)

/* Engine's thread, once, never from gb_fetch_start itself.  err: NULL, or a 400 that names the part. */
typedef void gb_fetch_done_fn(void *baton, const gb_error_t *err);

/*
 * Fills plan->fetches, all at once.  From the plan's pool.  Engine's thread.
 */
gb_fetcher_t *gb_fetch_start(gb_engine_t *engine, gb_plan_t *plan, const gb_settings_t *settings,
                             gb_fetch_done_fn *done, void *baton);
/* done will not be called.  Harmless afterwards. */
void gb_fetch_cancel(gb_fetcher_t *fetcher);

#endif
