/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_gbalance, the core: configuration, authentication, the engine and the
 * exchange.  This file is the table of contents: hooks, and the functions that
 * sibling modules may call.  Protocols are the surface modules', keys are
 * mod_gbalance_keys'.
 */
#include "core_api.h"
#include "core_session.h"
#include "core_store.h"

#include "http_connection.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "apr_strings.h"

/* ---- the hooks that key modules implement: the first answer counts ---- */

APR_IMPLEMENT_OPTIONAL_HOOK_RUN_ALL(gbalance, GBALANCE, int, segment_tenants,
                                    (apr_array_header_t * specs), (specs), OK, DECLINED)
APR_IMPLEMENT_OPTIONAL_HOOK_RUN_ALL(gbalance, GBALANCE, int, key_pick,
                                    (const gb_pick_t *pick, gb_key_t *key,
                                     apr_interval_time_t *wait, gb_error_t *err),
                                    (pick, key, wait, err), DECLINED, DECLINED)
APR_IMPLEMENT_OPTIONAL_HOOK_RUN_ALL(gbalance, GBALANCE, int, key_report,
                                    (const gb_report_t *report), (report), OK, DECLINED)
APR_IMPLEMENT_OPTIONAL_HOOK_RUN_ALL(gbalance, GBALANCE, int, pool_health,
                                    (const char *pool, const char **reason), (pool, reason),
                                    DECLINED, DECLINED)

/* ---- optional functions: named as siblings ask for them ---- */

static int gbalance_call_start(request_rec *r, const gb_dialect_t *dialect, const char *path)
{
    return core_call_start(r, dialect, path);
}

static const gb_settings_t *gbalance_settings_get(request_rec *r)
{
    return core_view(r)->settings;
}

static const gb_settings_t *gbalance_pool_settings(const char *pool, apr_pool_t *p)
{
    return core_live_pool(pool, p);
}

static apr_status_t gbalance_caller_get(request_rec *r, gb_caller_t *caller, gb_error_t *err)
{
    return core_caller_get(r, caller, err);
}

static apr_status_t gbalance_admin_get(request_rec *r, gb_admin_t *admin, gb_error_t *err)
{
    return core_admin_get(r, admin, err);
}

static int gbalance_admin_closed(request_rec *r, gb_error_t *err)
{
    return core_admin_closed(r, err);
}

static apr_status_t gbalance_session_begin(request_rec *r, const char *token, const char *path,
                                           int *left, gb_error_t *err)
{
    return core_session_begin(r, token, path, left, err);
}

static int gbalance_session_end(request_rec *r, int which, const char *path)
{
    return core_session_end(r, which, path);
}

static void gbalance_sessions(request_rec *r, apr_array_header_t **sessions,
                              apr_array_header_t **throttled)
{
    core_sessions_list(r, sessions, throttled);
}

static apr_status_t gbalance_body_read(request_rec *r, const char **body, apr_size_t *len,
                                       apr_off_t max, gb_error_t *err)
{
    return core_body_read(r, body, len, max, err, r->pool);
}

static void gbalance_body_drop(request_rec *r)
{
    core_body_drop(r);
}

static int gbalance_client_left(request_rec *r)
{
    return core_client_left(r);
}

static int gbalance_models_ask(request_rec *r, const char *pool, const char **body)
{
    return core_models_ask(r, pool, body);
}

static int gbalance_chat_ask(request_rec *r, const char *pool, const char *chat, const char **body)
{
    return core_chat_ask(r, pool, chat, body);
}

static void gbalance_proxies_check(request_rec *r, gb_proxy_check_t *checks, int n)
{
    core_proxies_check(r, checks, n);
}

static int gbalance_events_start(request_rec *r, const gb_admin_t *admin, const char *topic,
                                 const char *text)
{
    return core_events_start(r, admin, topic, text);
}

static void gbalance_events_tell(const char *topic, const char *text)
{
    core_events_tell(topic, text);
}

static int gbalance_events_listeners(const char *topic, apr_uint32_t *joined)
{
    return core_events_listeners(topic, joined);
}

static const char *gbalance_mount(request_rec *r)
{
    const core_request_t *req = core_request_get(r);

    return req ? req->mount->prefix : NULL;
}

static int gbalance_api_call(request_rec *r, const char *who, int method, const char *path,
                             const char *body, const char **answer)
{
    return core_api_call(r, who, method, path, body, answer);
}

static const char *gbalance_play_token(request_rec *r, int *lifetime)
{
    return core_play_token(r, lifetime);
}

static const char *gbalance_mount_of(request_rec *r, const char *handler)
{
    return core_mount_prefix(core_conf_get(r->server), handler);
}

static const char *gbalance_path(request_rec *r)
{
    const core_request_t *req = core_request_get(r);

    return req ? r->uri + strlen(req->mount->prefix) : NULL;
}

static const gb_pool_conf_t *gbalance_pools(int *n)
{
    return core_pools(n);
}

static int gbalance_max_keys(void)
{
    return core_max_keys();
}

static const char *gbalance_state_dir(void)
{
    const char *dir = core_conf_get(ap_server_conf)->state_dir;

    return dir ? dir : "";
}

static gb_tenant_t *gbalance_tenant_get(const char *name)
{
    return core_tenant_get(name);
}

static apr_status_t gbalance_probe(const char *pool, const gb_key_t *key, const char *model,
                                   gb_probe_done_fn *done, void *baton)
{
    return core_probe(pool, key, model, done, baton);
}

static gb_job_t *gbalance_job_make(apr_pool_t *p, gb_job_fn *fn, int writes)
{
    return core_ask_make(p, fn, writes);
}

static apr_pool_t *gbalance_job_pool(gb_job_t *job)
{
    return core_ask_pool(job);
}

static apr_status_t gbalance_job_run(gb_job_t *job, void *baton, gb_error_t *err)
{
    return core_ask_run(job, baton, err);
}

/* ---- hooks ---- */

static void register_optional_functions(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_call_start);
    APR_REGISTER_OPTIONAL_FN(gbalance_settings_get);
    APR_REGISTER_OPTIONAL_FN(gbalance_pool_settings);
    APR_REGISTER_OPTIONAL_FN(gbalance_caller_get);
    APR_REGISTER_OPTIONAL_FN(gbalance_admin_get);
    APR_REGISTER_OPTIONAL_FN(gbalance_api_call);
    APR_REGISTER_OPTIONAL_FN(gbalance_play_token);
    APR_REGISTER_OPTIONAL_FN(gbalance_mount_of);
    APR_REGISTER_OPTIONAL_FN(gbalance_admin_closed);
    APR_REGISTER_OPTIONAL_FN(gbalance_session_begin);
    APR_REGISTER_OPTIONAL_FN(gbalance_session_end);
    APR_REGISTER_OPTIONAL_FN(gbalance_sessions);
    APR_REGISTER_OPTIONAL_FN(gbalance_body_read);
    APR_REGISTER_OPTIONAL_FN(gbalance_body_drop);
    APR_REGISTER_OPTIONAL_FN(gbalance_client_left);
    APR_REGISTER_OPTIONAL_FN(gbalance_mount);
    APR_REGISTER_OPTIONAL_FN(gbalance_models_ask);
    APR_REGISTER_OPTIONAL_FN(gbalance_chat_ask);
    APR_REGISTER_OPTIONAL_FN(gbalance_proxies_check);
    APR_REGISTER_OPTIONAL_FN(gbalance_events_start);
    APR_REGISTER_OPTIONAL_FN(gbalance_events_tell);
    APR_REGISTER_OPTIONAL_FN(gbalance_events_listeners);
    APR_REGISTER_OPTIONAL_FN(gbalance_job_make);
    APR_REGISTER_OPTIONAL_FN(gbalance_job_pool);
    APR_REGISTER_OPTIONAL_FN(gbalance_job_run);
    APR_REGISTER_OPTIONAL_FN(gbalance_path);
    APR_REGISTER_OPTIONAL_FN(gbalance_pools);
    APR_REGISTER_OPTIONAL_FN(gbalance_max_keys);
    APR_REGISTER_OPTIONAL_FN(gbalance_state_dir);
    APR_REGISTER_OPTIONAL_FN(gbalance_tenant_get);
    APR_REGISTER_OPTIONAL_FN(gbalance_probe);
}

static void register_hooks(apr_pool_t *p)
{
    register_optional_functions();
    ap_hook_check_config(core_check_config, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_post_config(core_post_config, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_child_init(core_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(core_post_read_request, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(core_translate_name, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_map_to_storage(core_map_to_storage, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(core_health_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(core_api_handler, NULL, NULL, APR_HOOK_MIDDLE);
    core_authz_hooks(p);
    core_body_hooks();
    core_park_hooks();
    core_relay_hooks();
}

AP_DECLARE_MODULE(gbalance) = {
    STANDARD20_MODULE_STUFF, NULL,           NULL, core_conf_create, core_conf_merge,
    core_directives,         register_hooks,
#ifdef AP_MODULE_FLAG_NONE
    AP_MODULE_FLAG_NONE
#endif
};
