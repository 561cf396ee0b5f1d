/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_gbalance_openai: the OpenAI surface.  It joins handlers to their dialects;
 * what a dialect does is pure and stands in proto/, everything else is the
 * core's.
 */
#include "mod_gbalance.h"

#include "http_config.h"
#include "http_log.h"
#include "http_protocol.h"

#include "proto/openai.h"

module AP_MODULE_DECLARE_DATA gbalance_openai_module;

/* Fetched anew whenever the configuration is read. */
static APR_OPTIONAL_FN_TYPE(gbalance_call_start) * call_start;
static APR_OPTIONAL_FN_TYPE(gbalance_path) * path_of;

static const struct {
    const char *handler;
    const gb_dialect_t *dialect;
} surfaces[] = {
    {"gbalance-openai",        &gb_openai_dialect       },
    {"gbalance-openai-direct", &gb_openai_direct_dialect},
    {"gbalance-vertex-openai", &gb_openai_dialect       },
};

static int openai_handler(request_rec *r)
{
    size_t i;

    for (i = 0; r->handler && i < sizeof(surfaces) / sizeof(surfaces[0]); i++) {
        if (strcmp(r->handler, surfaces[i].handler) == 0) {
            const char *path = path_of ? path_of(r) : NULL;

            return path ? call_start(r, surfaces[i].dialect, path) : DECLINED;
        }
    }
    return DECLINED;
}

static void openai_optional_fn_retrieve(void)
{
    call_start = APR_RETRIEVE_OPTIONAL_FN(gbalance_call_start);
    path_of = APR_RETRIEVE_OPTIONAL_FN(gbalance_path);
}

static int openai_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                               server_rec *s)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (!APR_RETRIEVE_OPTIONAL_FN(gbalance_call_start)) {
        ap_log_error(
            APLOG_MARK, APLOG_EMERG, 0, s,
            GBLOGNO(2001) "mod_gbalance_openai needs mod_gbalance: add LoadModule gbalance_module");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(openai_optional_fn_retrieve, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(openai_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(openai_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(gbalance_openai) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                                      register_hooks,
#ifdef AP_MODULE_FLAG_NONE
                                      AP_MODULE_FLAG_NONE
#endif
};
