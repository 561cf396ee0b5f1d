/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_gbalance_admin: the pages and the JSON endpoints of administration.  This
 * file is the table of contents; admin.h says how a page is made.
 */
#include "admin.h"

#include "http_core.h"
#include "http_protocol.h"

admin_core_t admin_core;

static void admin_optional_fns(void)
{
    admin_core.admin_get = APR_RETRIEVE_OPTIONAL_FN(gbalance_admin_get);
    admin_core.admin_closed = APR_RETRIEVE_OPTIONAL_FN(gbalance_admin_closed);
    admin_core.session_begin = APR_RETRIEVE_OPTIONAL_FN(gbalance_session_begin);
    admin_core.session_end = APR_RETRIEVE_OPTIONAL_FN(gbalance_session_end);
    admin_core.sessions = APR_RETRIEVE_OPTIONAL_FN(gbalance_sessions);
    admin_core.settings_get = APR_RETRIEVE_OPTIONAL_FN(gbalance_settings_get);
    admin_core.caller_get = APR_RETRIEVE_OPTIONAL_FN(gbalance_caller_get);
    admin_core.body_read = APR_RETRIEVE_OPTIONAL_FN(gbalance_body_read);
    admin_core.body_drop = APR_RETRIEVE_OPTIONAL_FN(gbalance_body_drop);
    admin_core.mount = APR_RETRIEVE_OPTIONAL_FN(gbalance_mount);
    admin_core.pool_settings = APR_RETRIEVE_OPTIONAL_FN(gbalance_pool_settings);
    admin_core.tenant_get = APR_RETRIEVE_OPTIONAL_FN(gbalance_tenant_get);
    admin_core.models_ask = APR_RETRIEVE_OPTIONAL_FN(gbalance_models_ask);
    admin_core.chat_ask = APR_RETRIEVE_OPTIONAL_FN(gbalance_chat_ask);
    admin_core.proxies_check = APR_RETRIEVE_OPTIONAL_FN(gbalance_proxies_check);
    admin_core.job_make = APR_RETRIEVE_OPTIONAL_FN(gbalance_job_make);
    admin_core.job_pool = APR_RETRIEVE_OPTIONAL_FN(gbalance_job_pool);
    admin_core.job_run = APR_RETRIEVE_OPTIONAL_FN(gbalance_job_run);
}

static int admin_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (!APR_RETRIEVE_OPTIONAL_FN(gbalance_mount)) {
        ap_log_error(
            APLOG_MARK, APLOG_EMERG, 0, s,
            GBLOGNO(4000) "mod_gbalance_admin needs mod_gbalance: add LoadModule gbalance_module");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static int admin_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG) {
        admin_texts_load(pconf, s);
        admin_live_register(pconf, s);
    }
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(admin_optional_fns, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(admin_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(admin_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(gbalance, segment_tenants, admin_proxy_tenants, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(admin_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(gbalance_admin) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                                     register_hooks,
#ifdef AP_MODULE_FLAG_NONE
                                     AP_MODULE_FLAG_NONE
#endif
};
