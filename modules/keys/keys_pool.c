/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's block as this process sees it, and the siblings' functions.  Statics
 * are set in post_config (and reset before: the DSO is loaded anew at every
 * restart) and in child_init; afterwards they are read only.
 */
#include "keys.h"

#include <unistd.h>

#include "base/timeutil.h"

APLOG_USE_MODULE(gbalance_keys);

gb_tenant_t *keys_tenant;
gb_pool_t *keys_pool;
int keys_child;

static APR_OPTIONAL_FN_TYPE(gbalance_pools) * fn_pools;
static APR_OPTIONAL_FN_TYPE(gbalance_pool_settings) * fn_pool_settings;
static APR_OPTIONAL_FN_TYPE(gbalance_max_keys) * fn_max_keys;
static APR_OPTIONAL_FN_TYPE(gbalance_state_dir) * fn_state_dir;
static APR_OPTIONAL_FN_TYPE(gbalance_tenant_get) * fn_tenant_get;
static APR_OPTIONAL_FN_TYPE(gbalance_probe) * fn_probe;

/* ---- siblings ---- */

void keys_siblings_retrieve(void)
{
    fn_pools = APR_RETRIEVE_OPTIONAL_FN(gbalance_pools);
    fn_pool_settings = APR_RETRIEVE_OPTIONAL_FN(gbalance_pool_settings);
    fn_max_keys = APR_RETRIEVE_OPTIONAL_FN(gbalance_max_keys);
    fn_state_dir = APR_RETRIEVE_OPTIONAL_FN(gbalance_state_dir);
    fn_tenant_get = APR_RETRIEVE_OPTIONAL_FN(gbalance_tenant_get);
    fn_probe = APR_RETRIEVE_OPTIONAL_FN(gbalance_probe);
}

const gb_pool_conf_t *keys_pools(int *n)
{
    *n = 0;
    return fn_pools ? fn_pools(n) : NULL;
}

const gb_settings_t *keys_settings_of(const char *name)
{
    int n, i;
    const gb_pool_conf_t *pools = keys_pools(&n);

    for (i = 0; i < n; i++) {
        if (strcmp(pools[i].name, name) == 0) {
            return pools[i].settings;
        }
    }
    return NULL;
}

const gb_settings_t *keys_settings_now(const char *name, apr_pool_t *p)
{
    return fn_pool_settings ? fn_pool_settings(name, p) : keys_settings_of(name);
}

const char *keys_state_dir(void)
{
    return fn_state_dir ? fn_state_dir() : "";
}

APR_OPTIONAL_FN_TYPE(gbalance_probe) * keys_probe(void)
{
    return fn_probe;
}

/* ---- the block ---- */

void keys_tenant_collect(apr_array_header_t *specs)
{
    gb_tenant_spec_t *spec = apr_array_push(specs);

    spec->name = KEYS_TENANT;
    spec->version = GB_POOL_VERSION;
    spec->size = gb_pool_size(fn_max_keys ? fn_max_keys() : 16384);
    spec->init = gb_pool_init;
    spec->adopt = gb_pool_adopt;
    spec->repair = gb_pool_repair;
}

void keys_attach(apr_pool_t *pconf)
{
    keys_tenant = fn_tenant_get ? fn_tenant_get(KEYS_TENANT) : NULL;
    keys_pool = keys_tenant ? gb_pool_attach(keys_tenant->block, keys_tenant->size, pconf) : NULL;
}

void keys_now(gb_pool_clock_t *clock)
{
    clock->mono = gb_mono_now();
    clock->wall = apr_time_now();
}

/* An edit touches many records; the repair makes all that is derived anew. */
void keys_enter(void)
{
    gb_segment_lock(keys_tenant->segment);
    gb_segment_dirty_locked(keys_tenant, 0);
}

void keys_leave(void)
{
    gb_segment_clean_locked(keys_tenant);
    gb_segment_unlock(keys_tenant->segment);
}

/* ---- processes ---- */

void keys_child_enter(void)
{
    apr_uint32_t pid = (apr_uint32_t)getpid();
    apr_uint64_t start_time = gb_process_start_time(pid);

    keys_reap();
    keys_enter();
    keys_child = gb_pool_child_enter_locked(keys_pool, pid, start_time);
    keys_leave();
}

void keys_child_leave(void)
{
    apr_uint32_t pid = (apr_uint32_t)getpid();
    apr_uint64_t start_time = gb_process_start_time(pid);

    if (keys_child) {
        keys_enter();
        gb_pool_child_leave_locked(keys_pool, keys_child, pid, start_time);
        keys_leave();
        keys_child = 0;
    }
}

/* Whether a process lives is asked of the kernel, and that outside of the lock. */
static void reap_one(int child)
{
    apr_uint32_t pid;
    apr_uint64_t start_time;
    int there, n;

    keys_enter();
    there = gb_pool_child_get_locked(keys_pool, child, &pid, &start_time);
    keys_leave();
    if (!there || gb_process_alive(pid, start_time)) {
        return;
    }
    keys_enter();
    n = gb_pool_child_leave_locked(keys_pool, child, pid, start_time);
    keys_leave();
    if (n > 0) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, ap_server_conf,
                     GBLOGNO(1010) "process %u is dead: %d calls that it held were given back",
                     (unsigned)pid, n);
    }
}

void keys_reap(void)
{
    int child;

    for (child = 1; child <= GB_POOL_CHILDREN; child++) {
        reap_one(child);
    }
}
