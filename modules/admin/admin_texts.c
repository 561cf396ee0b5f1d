/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates and catalogues of words: parsed once for each configuration, in the
 * parent, and inherited by its children, who only read them.
 */
#include "admin.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define LANGUAGES_MAX 8

static struct {
    gb_templates_t *templates;
    json_t *words[LANGUAGES_MAX]; /* in the order of admin_words_files */
} texts;

const gb_templates_t *admin_templates(void)
{
    return texts.templates;
}

const json_t *admin_catalogue(const char *lang)
{
    int i;

    for (i = 0; i < LANGUAGES_MAX && admin_words_files[i].name; i++) {
        if (strcmp(admin_words_files[i].name, lang) == 0) {
            return texts.words[i];
        }
    }
    return NULL;
}

static apr_status_t forget(void *unused)
{
    int i;

    (void)unused;
    for (i = 0; i < LANGUAGES_MAX; i++) {
        json_decref(texts.words[i]);
        texts.words[i] = NULL;
    }
    texts.templates = NULL;
    return APR_SUCCESS;
}

void admin_texts_load(apr_pool_t *pconf, server_rec *s)
{
    const char *why;
    json_error_t fault;
    int i;

    apr_pool_cleanup_register(pconf, NULL, forget, apr_pool_cleanup_null);
    if (gb_templates_parse(&texts.templates, admin_template_files, &why, pconf) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ALERT, 0, s,
                     GBLOGNO(4001) "admin: htdocs/templates/%s: no page can be shown", why);
        texts.templates = NULL;
    }
    for (i = 0; i < LANGUAGES_MAX && admin_words_files[i].name; i++) {
        texts.words[i] = json_loads(admin_words_files[i].text, 0, &fault);
        if (!texts.words[i]) {
            ap_log_error(APLOG_MARK, APLOG_ALERT, 0, s,
                         GBLOGNO(4002) "admin: htdocs/i18n/%s.json, line %d: %s",
                         admin_words_files[i].name, fault.line, fault.text);
        }
    }
}

/* ---- languages ---- */

/* What a browser calls them; the first that begins so counts. */
static const struct {
    const char *prefix, *lang;
} tags[] = {
    {"zh-tw",   "zh-TW"},
    {"zh-hk",   "zh-TW"},
    {"zh-mo",   "zh-TW"},
    {"zh-hant", "zh-TW"},
    {"zh",      "zh-CN"},
    {"en",      "en"   },
};

static const char *known(const char *tag)
{
    size_t i;

    for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (strncasecmp(tag, tags[i].prefix, strlen(tags[i].prefix)) == 0) {
            return tags[i].lang;
        }
    }
    return NULL;
}

const char *admin_language(const char *cookie, const char *accepted)
{
    const char *lang = cookie ? known(cookie) : NULL;

    /* Browsers name the one that they like most first. */
    while (!lang && accepted && *accepted) {
        accepted += strspn(accepted, " ,");
        lang = known(accepted);
        accepted += strcspn(accepted, ",");
    }
    return lang ? lang : "en";
}
