/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vertex AI in express mode: below its own locations the same settings hold but
 * for upstream and keys.  Its keys are a pool of their own, "<pool>.vertex", so
 * that states, retries and cool-downs of one never touch the other.
 */
#include "core.h"

#include "apr_strings.h"

#define HANDLER "gbalance-vertex"
#define SUFFIX  ".vertex"

int core_is_vertex(request_rec *r)
{
    const core_request_t *req = core_request_get(r);

    return req && strncmp(req->mount->handler, HANDLER, strlen(HANDLER)) == 0;
}

gb_settings_t *core_vertex_settings(const gb_settings_t *settings, apr_pool_t *p)
{
    gb_settings_t *own = apr_pmemdup(p, settings, sizeof(*settings));

    own->base_url = settings->vertex_express_base_url;
    own->api_keys = settings->vertex_api_keys;
    own->paid_key = "";
    own->store_requests = 1; /* its API does not know the member `store` */
    return own;
}

const char *core_vertex_pool(const char *pool_name, apr_pool_t *p)
{
    return apr_pstrcat(p, pool_name, SUFFIX, NULL);
}
