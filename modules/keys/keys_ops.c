/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on keys by id: look at one, change, delete.  Whoever calls has
 * checked who asks.  Lists stand in keys_list.c, adding in keys_add.c.
 */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define ID_ALL (-1)

/* ---- one key ---- */

apr_status_t keys_find(gb_pool_key_t *row, const char *pool, const char *id)
{
    unsigned char digest[GB_DIGEST_LEN];
    gb_pool_clock_t clock;
    apr_uint32_t slot;
    apr_status_t rv;

    if (!keys_pool) {
        return APR_NOTFOUND;
    }
    gb_digest(digest, id, strlen(id));
    keys_now(&clock);
    keys_enter();
    slot = gb_pool_find_locked(keys_pool, pool, NULL, id);
    slot = slot ? slot : gb_pool_find_locked(keys_pool, pool, digest, NULL);
    rv = slot ? gb_pool_get_locked(keys_pool, slot, row, &clock) : APR_NOTFOUND;
    keys_leave();
    return rv;
}

apr_status_t gbalance_keys_get(gb_keys_row_t *row, gb_pool_cell_t **cells, int *n, const char *pool,
                               const char *id, apr_pool_t *p)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    memset(row, 0, sizeof(*row));
    rv = keys_find(&row->key, pool, id);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    keys_row_fill(row, NULL);
    keys_row_mask(row);
    *cells = apr_palloc(p, sizeof(**cells) * (GB_POOL_MODELS + 1));
    keys_now(&clock);
    keys_enter();
    *n = gb_pool_key_cells_locked(keys_pool, row->key.slot, *cells, GB_POOL_MODELS + 1, &clock);
    keys_leave();
    return APR_SUCCESS;
}

apr_status_t gbalance_keys_reveal(const char **secret, const char *pool, const char *id,
                                  apr_pool_t *p)
{
    char text[GB_POOL_SECRET_MAX + 1];
    gb_pool_key_t row;
    apr_status_t rv = keys_find(&row, pool, id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    keys_enter();
    rv = gb_pool_secret_locked(keys_pool, row.slot, row.generation, text);
    keys_leave();
    if (rv == APR_SUCCESS) {
        *secret = apr_pstrdup(p, text);
        explicit_bzero(text, sizeof(text));
    }
    return rv;
}

apr_status_t gbalance_keys_census(gb_pool_census_t *census, const char *pool, const char *model)
{
    gb_pool_clock_t clock;
    int known = 0;

    if (keys_pool) {
        keys_now(&clock);
        keys_enter();
        known = gb_pool_census_locked(keys_pool, pool, model, &clock, census);
        keys_leave();
    }
    return known ? APR_SUCCESS : APR_NOTFOUND;
}

/* ---- changing ---- */

int keys_files_lock(apr_pool_t *p)
{
    const char *dir = keys_state_dir();
    int fd = *dir
                 ? open(apr_pstrcat(p, dir, "/keys.lock", NULL), O_CREAT | O_RDWR | O_CLOEXEC, 0600)
                 : -1;

    if (fd >= 0) {
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {
        }
    }
    return fd;
}

void keys_files_unlock(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static apr_status_t key_delete(const gb_pool_key_t *row, apr_pool_t *p)
{
    int lock = keys_files_lock(p);
    /* The stone first: a key that is gone but not buried would come back. */
    apr_status_t rv = keys_grave_put(row->pool, row->digest, p);

    if (rv == APR_SUCCESS) {
        rv = keys_vault_drop(row->pool, row->digest, p);
    }
    keys_files_unlock(lock);
    if (rv == APR_SUCCESS) {
        keys_enter();
        rv = gb_pool_remove_locked(keys_pool, row->slot, row->generation);
        keys_leave();
    }
    return rv;
}

static apr_status_t key_edit(const gb_pool_key_t *row, const gb_pool_edit_t *edit)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    keys_now(&clock);
    keys_enter();
    rv = gb_pool_edit_locked(keys_pool, row->slot, row->generation, edit, &clock);
    keys_leave();
    return rv;
}

static apr_status_t key_reset(const gb_pool_key_t *row)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    keys_now(&clock);
    keys_enter();
    rv = gb_pool_reset_locked(keys_pool, row->slot, row->generation, &clock);
    keys_leave();
    return rv;
}

static apr_status_t key_do(const gb_pool_key_t *row, gb_keys_verb_t verb,
                           const gb_pool_edit_t *edit, apr_pool_t *p)
{
    gb_pool_edit_t on = GB_POOL_EDIT_NONE;

    switch (verb) {
    case GB_KEYS_EDIT:
        return edit ? key_edit(row, edit) : APR_EINVAL;
    case GB_KEYS_ENABLE:
    case GB_KEYS_DISABLE:
        on.enabled = verb == GB_KEYS_ENABLE;
        return key_edit(row, &on);
    case GB_KEYS_RESET:
        return key_reset(row);
    case GB_KEYS_DELETE:
        return key_delete(row, p);
    }
    return APR_EINVAL;
}

apr_array_header_t *keys_named(const char *pool, const char *const *ids, int n_ids, apr_pool_t *p)
{
    apr_array_header_t *rows = apr_array_make(p, n_ids > 0 ? n_ids : 64, sizeof(gb_pool_key_t));
    gb_pool_clock_t clock;
    gb_pool_key_t row;
    apr_uint32_t at = 1;
    int i, n;

    for (i = 0; i < n_ids; i++) {
        if (keys_find(&row, pool, ids[i]) == APR_SUCCESS) {
            APR_ARRAY_PUSH(rows, gb_pool_key_t) = row;
        }
    }
    keys_now(&clock);
    for (n = n_ids <= ID_ALL && keys_pool; n == 1;) {
        keys_enter();
        n = gb_pool_list_locked(keys_pool, pool, &at, &row, 1, &clock);
        keys_leave();
        if (n == 1) {
            APR_ARRAY_PUSH(rows, gb_pool_key_t) = row;
        }
    }
    return rows;
}

apr_status_t gbalance_keys_do(int *done, const char *pool, gb_keys_verb_t verb,
                              const char *const *ids, int n_ids, const gb_pool_edit_t *edit,
                              apr_pool_t *p)
{
    apr_array_header_t *rows = keys_named(pool, ids, n_ids, p);
    apr_status_t first = APR_SUCCESS, rv;
    int i;

    *done = 0;
    for (i = 0; i < rows->nelts; i++) {
        rv = key_do(&APR_ARRAY_IDX(rows, i, gb_pool_key_t), verb, edit, p);
        *done += rv == APR_SUCCESS;
        first = first == APR_SUCCESS ? rv : first;
    }
    return rows->nelts ? first : APR_NOTFOUND;
}

void keys_ops_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_get);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_reveal);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_census);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_do);
}
