/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /keys_status and the pages below /keys: their routes, and the list's page put
 * together.  A part that is fetched alone has only what it shows looked for.
 */
#include "admin_keys.h"

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

const admin_keys_t *admin_keys(void)
{
    static admin_keys_t keys;

    keys.list = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_list);
    keys.ids = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_ids);
    keys.survey = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_survey);
    keys.heat = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_heat);
    keys.get = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_get);
    keys.preview = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_preview);
    keys.add = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_add);
    keys.change = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_do);
    keys.verify_wait = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_verify_wait);
    return keys.list ? &keys : NULL;
}

apr_status_t admin_keys_missing(admin_page_t *page)
{
    return admin_fail(page, HTTP_SERVICE_UNAVAILABLE, "%s",
                      ADMIN_WORD("There are no keys here: mod_gbalance_keys is not loaded. Add its "
                                 "LoadModule line to httpd's configuration."));
}

apr_status_t admin_keys_no_pool(admin_page_t *page)
{
    return admin_fail(page, HTTP_NOT_FOUND, "%s", ADMIN_WORD("There is no such pool."));
}

/* Whether the page, or the part of it that is asked for, shows that. */
static int shows(const admin_page_t *page, const char *part)
{
    const char *asked = admin_arg(page, "part");

    return !asked || !*asked || strcmp(asked, part) == 0;
}

static apr_status_t build_keys(admin_page_t *page, json_t *data)
{
    gb_keys_survey_t survey;
    apr_status_t rv = APR_SUCCESS;

    if (!admin_keys()) {
        return admin_keys_missing(page);
    }
    if (admin_keys()->survey(&survey, page->pool, page->r->pool) != APR_SUCCESS) {
        return admin_keys_no_pool(page);
    }
    admin_keys_pool(data, &survey);
    admin_keys_attention(page, data, &survey);
    json_object_set_new(data, "test_model", json_string(page->settings->test_model));
    if (shows(page, "tiles") || shows(page, "chart")) {
        admin_keys_figures(page, data);
    }
    if (shows(page, "list")) {
        rv = admin_keys_list(page, data, &survey);
    }
    if (rv == APR_SUCCESS && shows(page, "heat")) {
        rv = admin_keys_heat(page, data);
    }
    return rv;
}

const admin_route_t admin_keys_routes[] = {
    {"/keys_status", M_GET,  "keys",      ADMIN_WORD("Keys"),     build_keys,           NULL, 0},
    {"/keys",        M_GET,  "keys",      ADMIN_WORD("Keys"),     build_keys,           NULL, 0},
    {"/keys/add",    M_GET,  "keys_add",  ADMIN_WORD("Add keys"), admin_keys_add_build, NULL, 0},
    {"/keys/add",    M_POST, "keys_add",  ADMIN_WORD("Add keys"), admin_keys_add_do,    NULL, 0},
    {"/keys/do",     M_POST, "keys_done", ADMIN_WORD("Keys"),     admin_keys_do,        NULL, 0},
    {"/keys/?",      M_GET,  "key",       ADMIN_WORD("Key"),      admin_key_build,      NULL, 0},
    {NULL,           0,      NULL,        NULL,                   NULL,                 NULL, 0}
};
