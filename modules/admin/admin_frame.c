/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands around every page, as the outermost values of its template: links,
 * languages, the person, the navigation.
 */
#include "admin.h"

#include "apr_strings.h"
#include "mod_gbalance_keys.h"

APLOG_USE_MODULE(gbalance_admin);

static const struct {
    const char *path, *word, *icon;
} links[] = {
    {"/keys_status", ADMIN_WORD("Keys"),          "key"   },
    {"/logs",        ADMIN_WORD("Logs"),          "logs"  },
    {"/usage",       ADMIN_WORD("Usage"),         "usage" },
    {"/playground",  ADMIN_WORD("Playground"),    "play"  },
    {"/config",      ADMIN_WORD("Configuration"), "config"},
};

static const struct {
    const char *lang, *name;
} languages[] = {
    {"en",    "English"     },
    {"zh-CN", "简体中文"},
    {"zh-TW", "繁體中文"},
};

/* Keys that somebody should look at: failed or refused by Google. */
static int keys_in_need(const char *pool)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_census) *census = APR_RETRIEVE_OPTIONAL_FN(
        gbalance_keys_census);
    gb_pool_census_t count;

    memset(&count, 0, sizeof(count));
    return census && census(&count, pool, "") == APR_SUCCESS ? count.failed + count.invalid : 0;
}

/* "/keys/1043" lies below "/keys_status". */
static int is_current(const char *link, const char *path)
{
    size_t len = strlen(link);

    return (strncmp(link, path, len) == 0 && (!path[len] || path[len] == '/'))
           || (strcmp(link, "/keys_status") == 0 && strncmp(path, "/keys", 5) == 0);
}

static json_t *navigation(const admin_page_t *page)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:b, s:i}", "href", links[i].path + 1,
                                        "word", links[i].word, "icon", links[i].icon, "is_current",
                                        is_current(links[i].path, page->path), "count",
                                        i == 0 && page->admin.who ? keys_in_need(page->pool) : 0));
    }
    return list;
}

static json_t *language_list(const admin_page_t *page)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < sizeof(languages) / sizeof(languages[0]); i++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "code", languages[i].lang, "name",
                                              languages[i].name, "is_current",
                                              strcmp(languages[i].lang, page->lang) == 0));
    }
    return list;
}

static int add_pair(void *object, const char *name, const char *value)
{
    if (!json_object_get(object, name)) {
        json_object_set_new(object, name, json_string(value)); /* not UTF-8: left out */
    }
    return 1;
}

/* Apache's users may have any bytes in their names. */
static const char *who_of(const admin_page_t *page)
{
    const char *who = page->admin.who ? page->admin.who : "";
    json_t *text = json_string(who);

    if (!text) {
        return ap_escape_logitem(page->r->pool, who);
    }
    json_decref(text);
    return who;
}

json_t *admin_frame(admin_page_t *page)
{
    json_t *args = json_object();
    json_t *frame = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:f, s:s}", "base",
        page->base, "assets", apr_pstrcat(page->r->pool, page->base, "/gbalance", NULL), "csrf",
        page->admin.csrf ? page->admin.csrf : "", "lang", page->lang, "theme", page->theme, "pool",
        page->pool, "vhost", page->vhost, "who", who_of(page), "zone",
        page->how.zone ? page->settings->timezone : "UTC", "title",
        page->route->title ? page->route->title : "", "version", GBALANCE_VERSION, "is_session",
        page->admin.session > 0, "now", (double)page->how.now / APR_USEC_PER_SEC, "mount",
        page->mount);

    apr_table_do(add_pair, args, page->args, NULL);
    json_object_set_new(frame, "args", args);
    json_object_set_new(frame, "nav", navigation(page));
    json_object_set_new(frame, "languages", language_list(page));
    if (json_object_set_new(frame, "path", json_string(page->path + 1)) != 0) {
        json_object_set_new(frame, "path", json_string(""));
    }
    return frame;
}
