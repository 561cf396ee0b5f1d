/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys as httpd starts or reloads: those of the configuration, those that the
 * keeper of secrets has, and what the state file remembers of both.  After a
 * graceful restart the pool in shared memory knows more than any file: then only
 * what is new is added, and what has left the configuration goes.
 */
#include "keys.h"

#include "apr_hash.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

/* One start on its way. */
typedef struct load_t {
    keys_saved_t saved;
    apr_hash_t *named; /* keys that the configuration or the keeper knows */
    server_rec *s;
    apr_pool_t *p;
    int added, refused, full;
} load_t;

void keys_spec(gb_pool_key_t *spec, const char *pool, const char *secret, apr_size_t len)
{
    memset(spec, 0, sizeof(*spec));
    apr_cpystrn(spec->pool, pool, sizeof(spec->pool));
    gb_digest(spec->digest, secret, len);
    gb_hex(spec->id, spec->digest, GB_SECRET_ID_LEN / 2);
    spec->weight = 1;
    spec->enabled = 1;
}

/* Two secrets of one pool whose digests begin alike: the later one gets more digits. */
static void id_lengthen(gb_pool_key_t *spec)
{
    int digits = GB_SECRET_ID_LEN;

    while (digits < GB_POOL_ID_LEN - 2
           && gb_pool_find_locked(keys_pool, spec->pool, NULL, spec->id)) {
        digits += 2;
        gb_hex(spec->id, spec->digest, (size_t)digits / 2);
    }
}

apr_status_t keys_add(const gb_pool_key_t *given, const char *secret, apr_size_t len,
                      apr_uint32_t *slot)
{
    gb_pool_key_t spec = *given;
    gb_pool_clock_t clock;
    apr_status_t rv;

    keys_now(&clock);
    keys_enter();
    *slot = gb_pool_find_locked(keys_pool, spec.pool, spec.digest, NULL);
    if (*slot) {
        rv = APR_EEXIST;
    }
    else {
        id_lengthen(&spec);
        rv = gb_pool_add_locked(keys_pool, &spec, secret, len, &clock, slot);
    }
    keys_leave();
    return rv;
}

/* What is remembered wins over what a fresh key begins with. */
static void spec_remember(gb_pool_key_t *spec, const load_t *load)
{
    const gb_pool_key_t *old = keys_saved_find(&load->saved, spec->pool, spec->digest, load->p);
    int source = spec->source, reserved = spec->reserved;

    if (old) {
        *spec = *old;
        spec->source = source;
        spec->reserved = reserved;
    }
}

/* PAID_KEY may have become another key since the pool was filled. */
static void reserve(apr_uint32_t slot, int reserved)
{
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    gb_pool_clock_t clock;
    gb_pool_key_t row;

    edit.reserved = reserved;
    keys_now(&clock);
    keys_enter();
    if (gb_pool_get_locked(keys_pool, slot, &row, &clock) == APR_SUCCESS
        && row.reserved != reserved) {
        gb_pool_edit_locked(keys_pool, slot, row.generation, &edit, &clock);
    }
    keys_leave();
}

static void add_one(load_t *load, gb_pool_key_t *spec, const char *secret, apr_size_t len)
{
    gb_secret_t *checked;
    apr_uint32_t slot;
    apr_status_t rv;

    if (gb_secret_make(&checked, secret, len, load->p) != APR_SUCCESS) {
        load->refused++;
        return;
    }
    spec_remember(spec, load);
    rv = keys_add(spec, secret, len, &slot);
    if (rv == APR_EEXIST) {
        reserve(slot, spec->reserved);
    }
    load->added += rv == APR_SUCCESS;
    load->full += rv == APR_ENOSPC;
}

/* ---- the configuration ---- */

static const char *key_name(const gb_pool_key_t *spec, apr_pool_t *p)
{
    char hex[GB_POOL_DIGEST_LEN * 2 + 1];

    gb_hex(hex, spec->digest, GB_POOL_DIGEST_LEN);
    return apr_pstrcat(p, spec->pool, " ", hex, NULL);
}

static void add_configured(load_t *load, const char *pool, const char *secret, int reserved)
{
    gb_pool_key_t spec;

    keys_spec(&spec, pool, secret, strlen(secret));
    spec.reserved = reserved;
    apr_hash_set(load->named, key_name(&spec, load->p), APR_HASH_KEY_STRING, "");
    if (!keys_grave_has(pool, spec.digest, load->p)) {
        add_one(load, &spec, secret, strlen(secret));
    }
}

static void load_pool(load_t *load, const gb_pool_conf_t *conf)
{
    const gb_list_t *list = &conf->settings->api_keys;
    int i, open;

    keys_enter();
    open = gb_pool_open_locked(keys_pool, conf->name);
    keys_leave();
    if (!open) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, load->s,
                     GBLOGNO(1020) "pool %s: there are %d pools already, it stays empty",
                     conf->name, GB_POOL_NAMES);
        return;
    }
    for (i = 0; i < list->n; i++) {
        add_configured(load, conf->name, list->items[i], 0);
    }
    if (conf->settings->paid_key[0] && !gb_list_has(list, conf->settings->paid_key)) {
        add_configured(load, conf->name, conf->settings->paid_key, 1);
    }
}

/* A key that nobody names any more: it could not come back from a stop either,
 * for nobody else has its secret. */
static void drop_unconfigured(load_t *load)
{
    gb_pool_key_t row;
    gb_pool_clock_t clock;
    apr_uint32_t at = 1;
    int n;

    keys_now(&clock);
    do {
        keys_enter();
        n = gb_pool_list_locked(keys_pool, NULL, &at, &row, 1, &clock);
        if (n == 1 && row.source == GB_KEY_SOURCE_CONF
            && !apr_hash_get(load->named, key_name(&row, load->p), APR_HASH_KEY_STRING)) {
            gb_pool_remove_locked(keys_pool, row.slot, row.generation);
        }
        keys_leave();
    } while (n == 1);
}

/* ---- the keeper ---- */

static apr_status_t add_kept(void *baton, const char *pool, const char *secret, apr_size_t len)
{
    load_t *load = baton;
    gb_pool_key_t spec;

    keys_spec(&spec, pool, secret, len);
    spec.source = GB_KEY_SOURCE_ADMIN;
    if (!apr_hash_get(load->named, key_name(&spec, load->p), APR_HASH_KEY_STRING)) {
        add_one(load, &spec, secret, len);
    }
    apr_hash_set(load->named, key_name(&spec, load->p), APR_HASH_KEY_STRING, "");
    return APR_SUCCESS;
}

/* ---- the state ---- */

static int pool_is_fresh(void)
{
    gb_pool_key_t row;
    gb_pool_clock_t clock;
    apr_uint32_t at = 1;
    int n;

    keys_now(&clock);
    keys_enter();
    n = gb_pool_list_locked(keys_pool, NULL, &at, &row, 1, &clock);
    keys_leave();
    return n == 0;
}

static void restore_cells(const load_t *load)
{
    gb_pool_clock_t clock;
    int i;

    keys_now(&clock);
    for (i = 0; i < load->saved.cells->nelts; i++) {
        keys_enter();
        gb_pool_restore_cell_locked(keys_pool, &APR_ARRAY_IDX(load->saved.cells, i, gb_pool_cell_t),
                                    &clock);
        keys_leave();
    }
}

static void tell(const load_t *load)
{
    if (load->full) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, load->s,
            GBLOGNO(1021) "%d keys have no room: raise GBalanceMaxKeys (now %d) and restart",
            load->full, gb_pool_max_keys(keys_pool));
    }
    if (load->refused) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, load->s,
                     GBLOGNO(1022) "%d values of API_KEYS or PAID_KEY are no keys: empty, longer "
                                   "than %d bytes, or "
                                   "with blanks inside",
                     load->refused, GB_SECRET_MAX);
    }
    ap_log_error(APLOG_MARK, APLOG_INFO, 0, load->s, GBLOGNO(1023) "%d keys loaded", load->added);
}

void keys_load(apr_pool_t *ptemp, server_rec *s)
{
    load_t load;
    const gb_pool_conf_t *pools;
    int n, i, fresh = pool_is_fresh();

    memset(&load, 0, sizeof(load));
    load.s = s;
    load.p = ptemp;
    load.named = apr_hash_make(ptemp);
    load.saved.keys = apr_hash_make(ptemp);
    load.saved.cells = apr_array_make(ptemp, 16, sizeof(gb_pool_cell_t));
    if (fresh) {
        keys_saved_read(&load.saved, ptemp);
    }
    pools = keys_pools(&n);
    for (i = 0; i < n; i++) {
        load_pool(&load, &pools[i]);
    }
    keys_vault_load(add_kept, &load, ptemp);
    if (fresh) {
        restore_cells(&load);
    }
    else {
        drop_unconfigured(&load);
    }
    tell(&load);
}
