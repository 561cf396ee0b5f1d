/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_gbalance_keys: the key pool in shared memory.  It answers the hooks that the
 * core declares (pick a key, report an outcome, is the pool well), keeps the
 * pool's memory over restarts, and offers the operations on keys to the admin
 * module.  This file is the table of contents; the algorithm stands in pool/.
 */
#include "keys.h"

#include "http_protocol.h"
#include "mod_status.h"

/* ---- configuration ---- */

static int keys_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    keys_tenant = NULL;
    keys_pool = NULL;
    keys_child = 0;
    APR_OPTIONAL_HOOK(ap, status_hook, keys_status_hook, NULL, NULL, APR_HOOK_MIDDLE);
    return OK;
}

static int keys_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (!APR_RETRIEVE_OPTIONAL_FN(gbalance_tenant_get)) {
        ap_log_error(
            APLOG_MARK, APLOG_EMERG, 0, s,
            GBLOGNO(1070) "mod_gbalance_keys needs mod_gbalance: add LoadModule gbalance_module");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    /* Here and not in optional_fn_retrieve, which comes after the segment's tenants were asked. */
    keys_siblings_retrieve();
    return OK;
}

static int keys_segment_tenants(apr_array_header_t *specs)
{
    keys_tenant_collect(specs);
    return OK;
}

/* After the core's, which opens the segment.  Nothing here may stop httpd. */
static int keys_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    int n;

    (void)plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || !keys_pools(&n)
        || n == 0) {
        return OK;
    }
    keys_attach(pconf);
    if (keys_pool) {
        keys_load(ptemp, s);
        keys_watch_register(pconf, s);
    }
    return OK;
}

/* ---- children ---- */

static apr_status_t keys_child_cleanup(void *data)
{
    keys_child_leave();
    keys_watch_end(data);
    return APR_SUCCESS;
}

static void keys_child_init(apr_pool_t *pchild, server_rec *s)
{
    if (!keys_pool) {
        return;
    }
    /* on pconf: workers that nobody waits for still verify when pchild has gone */
    keys_verify_child_init(s->process->pconf);
    keys_child_enter();
    if (!keys_child) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            GBLOGNO(1071) "more than %d processes: this one's calls are not counted as under way",
            GB_POOL_CHILDREN);
    }
    /* Runs after the pre-cleanups, in which the engine ends and reports what it holds. */
    apr_pool_cleanup_register(pchild, pchild, keys_child_cleanup, apr_pool_cleanup_null);
}

/* ---- hooks ---- */

static void register_hooks(apr_pool_t *p)
{
    static const char *const core[] = {"mod_gbalance.c", NULL};

    (void)p;
    keys_vault_register();
    keys_list_register();
    keys_survey_register();
    keys_heat_register();
    keys_add_register();
    keys_ops_register();
    keys_verify_register();
    ap_hook_pre_config(keys_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(keys_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(keys_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(keys_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(keys_path_cut, core, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(keys_api_handler, NULL, NULL, APR_HOOK_MIDDLE);
    /* Before the surfaces, to which the rest below the same Locations belongs. */
    ap_hook_handler(keys_compat_handler, NULL, NULL, APR_HOOK_FIRST);
    APR_OPTIONAL_HOOK(gbalance, segment_tenants, keys_segment_tenants, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(gbalance, key_pick, keys_key_pick, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(gbalance, key_report, keys_key_report, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(gbalance, pool_health, keys_pool_health, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(gbalance_keys) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                                    register_hooks,
#ifdef AP_MODULE_FLAG_NONE
                                    AP_MODULE_FLAG_NONE
#endif
};
