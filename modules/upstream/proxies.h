/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which proxy a key takes to the upstream.  Rendezvous hashing: when one is
 * dead, or goes, only its own keys move.  A dead one is passed over for a while
 * that doubles, then a call tries it again.  The engine's thread alone.
 */
#ifndef GB_PROXIES_H
#define GB_PROXIES_H

#include <apr_time.h>

#include "base/settings.h"

#define GB_PROXIES_MAX 64 /* so many can be known as dead at a time */

typedef struct gb_proxies_t {
    struct {
        apr_uint64_t hash; /* of its URL, 0 = free */
        apr_time_t until;  /* monotonic */
        int strikes;
    } dead[GB_PROXIES_MAX];
} gb_proxies_t;

/* NULL: there are none.  All dead: the one that would be taken if they lived. */
const char *gb_proxies_pick(const gb_proxies_t *state, const gb_list_t *list, int same_for_key,
                            const char *key_id, apr_time_t now);
int gb_proxies_alive(const gb_proxies_t *state, const char *url, apr_time_t now);
void gb_proxies_failed(gb_proxies_t *state, const char *url, apr_time_t now);
void gb_proxies_worked(gb_proxies_t *state, const char *url);

#endif
