/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as clients write them, mended to the path that was meant: a base URL
 * with its version twice, without it, or with too much of an endpoint's path in
 * it.  A path is mended only when it can mean one thing; the protocol is never
 * guessed.  Pure.
 */
#ifndef GB_URL_H
#define GB_URL_H

#include <apr_pools.h>

/* What may be mended. */
#define GB_URL_MISTAKES 1 /* the table of mistakes, not only what works always */
#define GB_URL_BARE     2 /* OpenAI's paths without /v1: whoever calls has a credential */

/*
 * path begins with "/" and is below the site's prefix.  Slashes in a row count
 * as one.  NULL: there is nothing to mend.  The result need not be served: the
 * caller looks whether it is.
 */
const char *gb_url_mend(const char *path, unsigned flags, apr_pool_t *p);

/* "v1beta" of ".../v1beta" (without a slash at the end), NULL when the last segment is no version. */
const char *gb_url_version(const char *url);

#endif
