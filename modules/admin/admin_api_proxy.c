/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether proxies work: a real request to the upstream through each.  What was
 * found is remembered for five minutes, in shared memory, so that all children
 * say the same.
 */
#include "admin.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define TENANT  "proxies"
#define ENTRIES 256
#define TTL     apr_time_from_sec(300)

typedef struct entry_t {
    unsigned char digest[GB_DIGEST_LEN]; /* of upstream and proxy: it may have a password in it */
    apr_time_t at;                       /* 0: empty */
    apr_interval_time_t took;
    int works, unused;
    char why[200];
} entry_t;

static void repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    if (slot && slot <= size / sizeof(entry_t)) {
        memset((entry_t *)block + slot - 1, 0, sizeof(entry_t));
    }
}

static void init(void *block, apr_size_t size)
{
    memset(block, 0, size);
}

int admin_proxy_tenants(apr_array_header_t *specs)
{
    static const gb_tenant_spec_t spec = {TENANT, 1, sizeof(entry_t) * ENTRIES, init, NULL, repair};

    APR_ARRAY_PUSH(specs, gb_tenant_spec_t) = spec;
    return OK;
}

/* ---- what is remembered ---- */

static void digest_of(unsigned char digest[GB_DIGEST_LEN], const admin_page_t *page,
                      const char *proxy)
{
    const char *text = apr_pstrcat(page->r->pool, page->settings->base_url, "\n", proxy, NULL);

    gb_digest(digest, text, strlen(text));
}

/* The slot of that digest, else an empty one, else the oldest. */
static entry_t *find_locked(entry_t *entries, const unsigned char *digest)
{
    entry_t *oldest = entries;
    int i;

    for (i = 0; i < ENTRIES; i++) {
        if (entries[i].at && memcmp(entries[i].digest, digest, GB_DIGEST_LEN) == 0) {
            return &entries[i];
        }
        if (entries[i].at < oldest->at) {
            oldest = &entries[i];
        }
    }
    return oldest;
}

static int recall(const admin_page_t *page, const char *proxy, entry_t *copy)
{
    gb_tenant_t *tenant = admin_core.tenant_get(TENANT);
    unsigned char digest[GB_DIGEST_LEN];

    if (!tenant) {
        return 0;
    }
    digest_of(digest, page, proxy);
    gb_segment_lock(tenant->segment);
    *copy = *find_locked(tenant->block, digest);
    gb_segment_unlock(tenant->segment);
    return memcmp(copy->digest, digest, GB_DIGEST_LEN) == 0 && copy->at
           && copy->at + TTL > page->how.now;
}

static void remember(const admin_page_t *page, const gb_proxy_check_t *check)
{
    gb_tenant_t *tenant = admin_core.tenant_get(TENANT);
    entry_t fresh, *entry;

    if (!tenant) {
        return;
    }
    memset(&fresh, 0, sizeof(fresh));
    digest_of(fresh.digest, page, check->proxy);
    fresh.at = apr_time_now();
    fresh.took = check->took;
    fresh.works = check->works;
    apr_cpystrn(fresh.why, check->why, sizeof(fresh.why));
    gb_segment_lock(tenant->segment);
    entry = find_locked(tenant->block, fresh.digest);
    gb_segment_dirty_locked(tenant, (apr_uint32_t)(entry - (entry_t *)tenant->block + 1));
    *entry = fresh;
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(tenant->segment);
}

/* ---- which are meant ---- */

/* Pages show addresses with their passwords masked, and send them back so. */
static const char *unmasked(const admin_page_t *page, const char *given)
{
    const gb_list_t *proxies = &page->settings->proxies;
    const char *shown = gb_settings_text(page->settings, gb_settings_find("PROXIES"), 0,
                                         page->r->pool);
    json_t *list = json_loads(shown, 0, NULL);
    const char *found = given;
    int i;

    for (i = 0; i < proxies->n && i < (int)json_array_size(list); i++) {
        const char *masked = json_string_value(json_array_get(list, (size_t)i));

        if (masked && strcmp(masked, given) == 0) {
            found = proxies->items[i];
        }
    }
    json_decref(list);
    return found;
}

static json_t *entry_json(const char *shown, const entry_t *entry)
{
    json_t *result = json_pack(
        "{s:s, s:b, s:o, s:o, s:o}", "proxy", shown, "is_available", entry->works, "response_time",
        entry->works ? json_real((double)entry->took / APR_USEC_PER_SEC) : json_null(),
        "error_message", entry->works ? json_null() : json_string(entry->why), "checked_at",
        admin_time(entry->at));

    return result ? result : json_null();
}

/* Checks n proxies, or recalls; in the order given. */
static json_t *check(admin_page_t *page, const char *const *shown, int n, int use_cache)
{
    gb_proxy_check_t *checks = apr_pcalloc(page->r->pool, sizeof(*checks) * (apr_size_t)n);
    entry_t *known = apr_pcalloc(page->r->pool, sizeof(*known) * (apr_size_t)n);
    int *place = apr_pcalloc(page->r->pool, sizeof(*place) * (apr_size_t)n);
    json_t *results = json_array();
    int i, asked = 0;

    for (i = 0; i < n; i++) {
        const char *proxy = unmasked(page, shown[i]);

        if (!use_cache || !recall(page, proxy, &known[i])) {
            place[asked] = i;
            checks[asked++].proxy = proxy;
        }
    }
    admin_core.proxies_check(page->r, checks, asked);
    for (i = 0; i < asked; i++) {
        remember(page, &checks[i]);
        recall(page, checks[i].proxy, &known[place[i]]);
    }
    for (i = 0; i < n; i++) {
        json_array_append_new(results, entry_json(shown[i], &known[i]));
    }
    return results;
}

/* ---- endpoints ---- */

static int wants_cache(const admin_page_t *page)
{
    return !json_is_false(json_object_get(page->body, "use_cache"));
}

/* {"proxy": "http://...", "use_cache": true} */
static int check_one(admin_page_t *page, json_t **out)
{
    const char *proxy = json_string_value(json_object_get(page->body, "proxy"));
    json_t *results;

    if (!proxy || !*proxy) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "proxy", "proxy must be the address of one.");
    }
    results = check(page, &proxy, 1, wants_cache(page));
    *out = json_incref(json_array_get(results, 0));
    json_decref(results);
    return HTTP_OK;
}

/* {"proxies": [...], "use_cache": true} */
static int check_all(admin_page_t *page, json_t **out)
{
    const json_t *proxies = json_object_get(page->body, "proxies");
    size_t n = json_array_size(proxies), i;
    const char **shown = apr_palloc(page->r->pool, sizeof(*shown) * (n + 1));

    if (n == 0 || n > GB_PROXY_CHECKS) {
        return admin_refuse(page, HTTP_BAD_REQUEST, "proxies",
                            "proxies must be an array of 1 to %d addresses.", GB_PROXY_CHECKS);
    }
    for (i = 0; i < n; i++) {
        shown[i] = json_string_value(json_array_get(proxies, i));
        if (!shown[i]) {
            return admin_refuse(page, HTTP_BAD_REQUEST, "proxies",
                                "proxies must be an array of strings.");
        }
    }
    *out = check(page, shown, (int)n, wants_cache(page));
    return HTTP_OK;
}

static int cache_stats(admin_page_t *page, json_t **out)
{
    gb_tenant_t *tenant = admin_core.tenant_get(TENANT);
    int total = 0, valid = 0, i;

    if (tenant) {
        gb_segment_lock(tenant->segment);
        for (i = 0; i < ENTRIES; i++) {
            const entry_t *entry = (const entry_t *)tenant->block + i;

            total += entry->at != 0;
            valid += entry->at && entry->at + TTL > page->how.now;
        }
        gb_segment_unlock(tenant->segment);
    }
    *out = json_pack("{s:i, s:i, s:i}", "total_cached", total, "valid_cached", valid,
                     "expired_cached", total - valid);
    return HTTP_OK;
}

static int clear_cache(admin_page_t *page, json_t **out)
{
    gb_tenant_t *tenant = admin_core.tenant_get(TENANT);

    (void)page;
    if (tenant) {
        gb_segment_lock(tenant->segment);
        memset(tenant->block, 0, sizeof(entry_t) * ENTRIES);
        gb_segment_unlock(tenant->segment);
    }
    *out = json_pack("{s:b, s:s}", "success", 1, "message", "Proxy check cache cleared.");
    return HTTP_OK;
}

/* clang-format off */
const admin_route_t admin_api_proxy_routes[] = {
    {"/api/config/proxy/check",       M_POST, NULL, NULL, NULL, check_one,   0},
    {"/api/config/proxy/check-all",   M_POST, NULL, NULL, NULL, check_all,   0},
    {"/api/config/proxy/cache-stats", M_GET,  NULL, NULL, NULL, cache_stats, 0},
    {"/api/config/proxy/clear-cache", M_POST, NULL, NULL, NULL, clear_cache, 0},
    {NULL,                            0,      NULL, NULL, NULL, NULL,        0},
};
/* clang-format on */
