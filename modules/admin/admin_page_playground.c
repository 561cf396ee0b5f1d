/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /playground: a chat against the API surfaces of this VirtualHost.  The browser
 * calls them like any client; what it presents is a token of ten minutes, or
 * whatever its user typed, and neither is stored anywhere.
 */
#include "admin.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

/* From the page's mount ("/llm/") to another one ("/llm/v1" -> "v1"; "/v1" -> "../v1"): right behind
 * proxies that change the path, too. */
static const char *way_to(const char *mount, const char *prefix, apr_pool_t *p)
{
    const char *way = "";
    size_t same = 0, i;

    for (i = 0; mount[i] && mount[i] == prefix[i]; i++) {
        same = mount[i] == '/' ? i + 1 : same;
    }
    for (i = same; mount[i]; i++) {
        way = mount[i] == '/' ? apr_pstrcat(p, way, "../", NULL) : way;
    }
    return apr_pstrcat(p, way, prefix + same, NULL);
}

static void put_surface(admin_page_t *page, json_t *data, const char *name, const char *handler)
{
    APR_OPTIONAL_FN_TYPE(gbalance_mount_of) *mount_of = APR_RETRIEVE_OPTIONAL_FN(gbalance_mount_of);
    const char *prefix = mount_of ? mount_of(page->r, handler) : NULL;

    json_object_set_new(data, name,
                        json_string(prefix ? way_to(page->mount, prefix, page->r->pool) : ""));
}

static apr_status_t build_playground(admin_page_t *page, json_t *data)
{
    const char *model = admin_arg(page, "model");

    put_surface(page, data, "openai", "gbalance-openai");
    put_surface(page, data, "gemini", "gbalance-gemini");
    put_surface(page, data, "health", "gbalance-health");
    json_object_set_new(data, "model",
                        json_string(model && *model ? model : page->settings->test_model));
    return APR_SUCCESS;
}

/* {"token": ..., "lifetime": seconds} */
static int make_token(admin_page_t *page, json_t **out)
{
    APR_OPTIONAL_FN_TYPE(gbalance_play_token) *play = APR_RETRIEVE_OPTIONAL_FN(gbalance_play_token);
    int lifetime = 0;
    const char *token = play ? play(page->r, &lifetime) : NULL;

    if (!token) {
        return admin_refuse(
            page, HTTP_SERVICE_UNAVAILABLE, NULL,
            "There is no shared memory to sign a token with: httpd's error log says "
            "why.");
    }
    *out = json_pack("{s:s, s:i}", "token", token, "lifetime", lifetime);
    return HTTP_OK;
}

const admin_route_t admin_playground_routes[] = {
    {"/playground",           M_GET,  "playground", ADMIN_WORD("Playground"), build_playground, NULL,       0},
    {"/api/playground/token", M_POST, NULL,         NULL,                     NULL,             make_token, 0},
    {NULL,                    0,      NULL,         NULL,                     NULL,             NULL,       0},
};
