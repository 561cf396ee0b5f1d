/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemini-balance's paths carry the text of a key (/verify-key/AIza...), and so
 * may those below keys, api/keys and api/config/keys.  Before anything can log it, the text leaves the
 * request: its id takes its place wherever a log format could print the path.  The
 * same goes for a whole key that somebody searches for.
 */
#include "keys_api.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define KEY_MIN 16 /* characters of what may be a whole key */

/* What stands before the key. */
static const char *const words[] = {"verify-key", "reset-fail-count", "keys",
                                    "api/key-usage-details"};

/* Whether it is that word once httpd has decoded it. */
static int is_word(const char *text, size_t len, const char *word, apr_pool_t *p)
{
    char *copy = apr_pstrmemdup(p, text, len);

    return ap_unescape_url(copy) == OK && strcmp(copy, word) == 0;
}

static const char *segment_end(const char *at)
{
    return at + strcspn(at, "/? ");
}

static const char *skip_slashes(const char *at)
{
    return at + strspn(at, "/");
}

/* The end of the word when it starts at `at` (one segment or two). */
static const char *word_end(const char *at, const char *word, apr_pool_t *p)
{
    const char *slash = strchr(word, '/'), *end = segment_end(at), *next;

    if (!slash) {
        return is_word(at, (size_t)(end - at), word, p) ? end : NULL;
    }
    next = skip_slashes(end);
    return is_word(at, (size_t)(end - at), apr_pstrmemdup(p, word, (size_t)(slash - word)), p)
                   && is_word(next, (size_t)(segment_end(next) - next), slash + 1, p)
               ? segment_end(next)
               : NULL;
}

/* Where the key begins in a URL, path or request line; NULL: there is none. */
static const char *find_key(const char *text, apr_pool_t *p)
{
    const char *at, *end;
    size_t i;

    for (at = strchr(text, '/'); at && *at; at = strchr(at, '/')) {
        at = skip_slashes(at);
        if (strchr("? ", *segment_end(at)) && *segment_end(at)) {
            return NULL;
        }
        for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            end = word_end(at, words[i], p);
            if (end && *end == '/' && *skip_slashes(end) && !strchr("? ", *skip_slashes(end))) {
                return skip_slashes(end);
            }
        }
    }
    return NULL;
}

/* What stands below such words beside keys. */
static const char *const own[] = {"export", "reveal",          "edit",   "enable", "disable",
                                  "reset",  "delete",          "verify", "ids",    "preview",
                                  "all",    "delete-selected", "list",   "add",    "do"};

/* An id or a word of our own may stay as it is. */
static int is_harmless(const char *named)
{
    size_t len = strspn(named, "0123456789abcdef"), i;

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strcmp(named, own[i]) == 0) {
            return 1;
        }
    }
    return !named[len] && len >= GB_SECRET_ID_LEN && len < GB_POOL_ID_LEN;
}

static char *with_id(const char *text, const char *id, apr_pool_t *p)
{
    const char *key = find_key(text, p);

    return key ? apr_pstrcat(p, apr_pstrmemdup(p, text, (apr_size_t)(key - text)), id,
                             key + strcspn(key, "? "), NULL)
               : apr_pstrdup(p, text);
}

/* What the path says behind the word, decoded and without a slash at its end. */
static char *named_of(const char *key, apr_pool_t *p)
{
    char *named = apr_pstrmemdup(p, key, strcspn(key, "? "));
    size_t len = strlen(named);

    while (len > 0 && named[len - 1] == '/') {
        named[--len] = '\0';
    }
    ap_unescape_url(named);
    return named;
}

static const char *replaced(const char *text, const char *part, const char *by, apr_pool_t *p)
{
    const char *at = text ? strstr(text, part) : NULL;

    return at ? apr_pstrcat(p, apr_pstrmemdup(p, text, (apr_size_t)(at - text)), by,
                            at + strlen(part), NULL)
              : text;
}

/* The value of that member of the query; NULL. */
static const char *query_value(const char *args, const char *name)
{
    size_t len = strlen(name);
    const char *at;

    for (at = args; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            return at + len + 1;
        }
    }
    return NULL;
}

/* Who searches for a whole key, or names one, finds it by its id. */
static void cut_search(request_rec *r, const char *name)
{
    const char *at = query_value(r->args, name), *raw, *id;
    char *value;

    if (!at) {
        return;
    }
    raw = apr_pstrmemdup(r->pool, at, strcspn(at, "&"));
    value = apr_pstrdup(r->pool, raw);
    ap_unescape_urlencoded(value);
    if (strlen(value) < KEY_MIN || (strncmp(value, "AIza", 4) != 0 && strncmp(value, "AQ.", 3))) {
        return;
    }
    id = gb_secret_id_of(value, r->pool);
    r->args = (char *)replaced(r->args, raw, id, r->pool);
    r->parsed_uri.query = r->args;
    r->unparsed_uri = (char *)replaced(r->unparsed_uri, raw, id, r->pool);
    r->the_request = (char *)replaced(r->the_request, raw, id, r->pool);
}

int keys_path_cut(request_rec *r)
{
    APR_OPTIONAL_FN_TYPE(gbalance_path) *path_of = APR_RETRIEVE_OPTIONAL_FN(gbalance_path);
    static const char *const members[] = {"search", "q", "key_search", "key_id", "gemini_key"};
    const char *key, *id;
    char *named;
    size_t i;

    if (!r->uri || !path_of || !path_of(r)) {
        return DECLINED;
    }
    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        cut_search(r, members[i]);
    }
    key = find_key(r->uri, r->pool);
    if (!key) {
        return DECLINED;
    }
    named = named_of(key, r->pool);
    ap_set_module_config(r->request_config, &gbalance_keys_module, named);
    if (is_harmless(named)) {
        return DECLINED;
    }
    id = gb_secret_id_of(named, r->pool);
    r->uri = with_id(r->uri, id, r->pool);
    r->parsed_uri.path = r->uri;
    if (r->unparsed_uri) {
        r->unparsed_uri = with_id(r->unparsed_uri, id, r->pool);
    }
    if (r->the_request) {
        r->the_request = with_id(r->the_request, id, r->pool);
    }
    return DECLINED;
}

const char *keys_path_named(request_rec *r)
{
    const char *named = ap_get_module_config(r->request_config, &gbalance_keys_module);
    const char *key = named ? NULL : find_key(r->uri, r->pool);

    /* post_read_request does not run for internal redirects: their path has the id already */
    return key ? named_of(key, r->pool) : named;
}
