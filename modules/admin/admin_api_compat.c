/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemini-balance's JSON endpoints beside logs and figures, at its paths and in its
 * shapes.  Where it shows or takes the text of a key, an id stands; a text is taken
 * too, and has left the path by then.
 */
#include "admin.h"

#include "apr_strings.h"
#include "mod_gbalance_keys.h"

#include "admin_config.h"

APLOG_USE_MODULE(gbalance_admin);

/* ---- keys among the settings ---- */

static int delete_keys(admin_page_t *page, const char *const *ids, int n, int *done)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_do) *keys_do = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_do);
    apr_status_t rv;

    *done = 0;
    if (!keys_do) {
        return admin_refuse(page, HTTP_SERVICE_UNAVAILABLE, NULL, "mod_gbalance_keys is missing.");
    }
    rv = keys_do(done, page->pool, GB_KEYS_DELETE, ids, n, NULL, page->r->pool);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return admin_refuse(page, HTTP_INTERNAL_SERVER_ERROR, NULL,
                            "The keys were not (or not all) deleted. See httpd's error log.");
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, page->r, GBLOGNO(4030) "%d keys deleted by %s", *done,
                  page->admin.who);
    return HTTP_OK;
}

static int delete_key(admin_page_t *page, json_t **out)
{
    int done, status = delete_keys(page, &page->named, 1, &done);

    if (status != HTTP_OK) {
        return status;
    }
    if (!done) {
        return admin_refuse(page, HTTP_NOT_FOUND, "key", "The pool %s has no such key.",
                            page->pool);
    }
    *out = json_pack("{s:b, s:s}", "success", 1, "message", "The key was deleted.");
    return HTTP_OK;
}

static int known(const char *pool, const char *id, apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_get) *get = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_get);
    gb_keys_row_t row;
    gb_pool_cell_t *cells;
    int n;

    return get && get(&row, &cells, &n, pool, id, p) == APR_SUCCESS;
}

/* {"keys": [...]} */
static int delete_selected(admin_page_t *page, json_t **out)
{
    const json_t *keys = json_object_get(page->body, "keys");
    size_t n = json_array_size(keys), i;
    const char **ids = apr_palloc(page->r->pool, sizeof(*ids) * (n + 1));
    json_t *missing;
    int done, status, count = 0;

    if (n == 0) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "keys",
                            "keys must be an array of ids of keys, or of keys.");
    }
    missing = json_array();
    for (i = 0; i < n; i++) {
        const char *id = json_string_value(json_array_get(keys, i));

        if (id && known(page->pool, id, page->r->pool)) {
            ids[count++] = id;
        }
        else {
            json_array_append(missing, json_array_get(keys, i));
        }
    }
    status = count ? delete_keys(page, ids, count, &done) : HTTP_OK;
    if (status != HTTP_OK) {
        json_decref(missing);
        return status;
    }
    *out = json_pack("{s:b, s:s, s:i, s:o}", "success", count > 0, "message",
                     apr_psprintf(page->r->pool, "%d keys were deleted.", count), "deleted_count",
                     count, "not_found_keys", missing);
    return HTTP_OK;
}

/* ---- models ---- */

static int list_models(admin_page_t *page, json_t **out)
{
    const char *body;
    int status = admin_core.models_ask(page->r, page->pool, &body);
    json_t *list = status == HTTP_OK ? json_loads(body, 0, NULL) : NULL;

    if (!list) {
        return admin_refuse(page, HTTP_BAD_GATEWAY, NULL,
                            "Google's list of models cannot be had now (%d). Does the pool have a "
                            "key that works?",
                            status);
    }
    json_object_set_new(list, "success", json_true());
    *out = list;
    return HTTP_OK;
}

/* ---- the recovery check's switch: a saved value of CHECK_INTERVAL_HOURS ---- */

static int set_interval(admin_page_t *page, json_t *hours, const char *said, json_t **out)
{
    json_t *body = json_pack("{s:o}", "CHECK_INTERVAL_HOURS", hours);
    int status;
    json_t *answer = admin_core_call(page, M_PUT, "/config", body, &status);

    json_decref(body);
    if (status != HTTP_OK) {
        const char *why = json_string_value(
            json_object_get(json_object_get(answer, "error"), "message"));

        admin_refuse(page, status, "CHECK_INTERVAL_HOURS", "%s",
                     why ? why : "The change was not saved.");
    }
    else {
        *out = json_pack("{s:s}", "message", said);
    }
    json_decref(answer);
    return status;
}

static int start_scheduler(admin_page_t *page, json_t **out)
{
    const gb_settings_t *settings;
    int status = set_interval(page, json_null(), "Scheduler started successfully.", out);

    settings = admin_core.pool_settings(page->pool, page->r->pool);
    if (status == HTTP_OK && settings && settings->check_interval_hours == 0) {
        json_decref(*out);
        *out = NULL; /* it is off in the configuration: every hour, then */
        status = set_interval(page, json_integer(1), "Scheduler started successfully.", out);
    }
    return status;
}

static int stop_scheduler(admin_page_t *page, json_t **out)
{
    return set_interval(page, json_integer(0), "Scheduler stopped successfully.", out);
}

/* ---- version: our own, and no call to anybody ---- */

static int check_version(admin_page_t *page, json_t **out)
{
    (void)page;
    *out = json_pack("{s:s, s:s, s:b, s:n}", "current_version", GBALANCE_VERSION, "latest_version",
                     GBALANCE_VERSION, "update_available", 0, "error_message");
    return HTTP_OK;
}

/* clang-format off */
const admin_route_t admin_api_compat_routes[] = {
    {"/api/config/keys/?",               M_DELETE, NULL, NULL, NULL, delete_key,      0},
    {"/api/config/keys/delete-selected", M_POST,   NULL, NULL, NULL, delete_selected, 0},
    {"/api/config/ui/models",            M_GET,    NULL, NULL, NULL, list_models,     0},
    {"/api/scheduler/start",             M_POST,   NULL, NULL, NULL, start_scheduler, 0},
    {"/api/scheduler/stop",              M_POST,   NULL, NULL, NULL, stop_scheduler,  0},
    {"/api/version/check",               M_GET,    NULL, NULL, NULL, check_version,   0},
    {NULL,                               0,        NULL, NULL, NULL, NULL,            0},
};
/* clang-format on */
