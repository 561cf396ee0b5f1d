/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of saved values share.
 */
#ifndef GB_SAVED_INT_H
#define GB_SAVED_INT_H

#include "store/saved.h"

#define DEFAULT_POOL "default"

/* APR_EACCES: the database is sealed with another secret than ctx has (it was turned over since this
 * process started): what it wrote would open for nobody. */
apr_status_t gb_saved_fits(const gb_saved_ctx_t *ctx, apr_pool_t *p);

/* "" when there is none yet. */
apr_status_t gb_saved_home(gb_db_t *db, const char **home, apr_pool_t *p);
/* Whether a value stands in t_settings. */
int gb_saved_is_theirs(const gb_saved_t *saved, const char *home);
/* Where it stands, for the seal. */
gb_seal_place_t gb_saved_place(const gb_saved_t *saved, const char *home, apr_pool_t *p);
gb_seal_place_t gb_history_place(const gb_saved_t *saved, apr_int64_t change_id, int after,
                                 apr_pool_t *p);

/* Sealed when it is a secret and there is a seal. */
const char *gb_saved_closed(const gb_seal_t *seal, const gb_seal_place_t *place, const char *key,
                            const char *value, apr_pool_t *p);
/* Writes one value, or removes it. */
apr_status_t gb_saved_put(const gb_saved_ctx_t *ctx, const gb_saved_t *saved, const char *home,
                          apr_pool_t *p);

#endif
