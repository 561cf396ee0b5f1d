/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of things that exist in one Google project only: which of them a
 * request refers to, in its path or in its body, and what an answer says that
 * it has made.  Which key that is, is the caller's to know.
 */
#include "proto/gemini_int.h"

#include <string.h>

#include <apr_escape.h>
#include <apr_strings.h>

#include "base/secret.h"

#define MAX_NAMES 64
#define MAX_DEPTH 24

/* ---- collecting ---- */

typedef struct found_t {
    apr_pool_t *pool;
    apr_array_header_t *names; /* of const char *, NULL: none */
} found_t;

static void add(found_t *found, const char *name)
{
    int i;

    if (name == NULL || *name == '\0' || strlen(name) > 120) {
        return;
    }
    if (found->names == NULL) {
        found->names = apr_array_make(found->pool, 4, sizeof(const char *));
    }
    for (i = 0; i < found->names->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(found->names, i, const char *), name) == 0) {
            return;
        }
    }
    if (found->names->nelts < MAX_NAMES) {
        APR_ARRAY_PUSH(found->names, const char *) = name;
    }
}

/* ---- in JSON ---- */

typedef enum { NAME, FILE_URI, ID } kind_t;

/* Members that refer to something by its name, in both spellings. */
static const struct {
    const char *camel, *snake;
    kind_t kind;
    const char *collection; /* of an ID: "interactions/" */
} members[] = {
    {"fileUri",               "file_uri",                FILE_URI, NULL           },
    {"uri",                   "url",                     FILE_URI, NULL           },
    {"cachedContent",         "cached_content",          NAME,     NULL           },
    {"fileName",              "file_name",               NAME,     NULL           },
    {"responsesFile",         "responses_file",          NAME,     NULL           },
    {"tunedModel",            "tuned_model",             NAME,     NULL           },
    {"operationName",         "operation_name",          NAME,     NULL           },
    {"fileSearchStoreNames",  "file_search_store_names", NAME,     NULL           },
    {"previousInteractionId", "previous_interaction_id", ID,       "interactions/"},
    {"environment",           "environment_id",          ID,       "environments/"},
    {"fromEnvironment",       "from_environment",        ID,       "environments/"},
    {"agent",                 "agent",                   ID,       "agents/"      },
    {"baseAgent",             "base_agent",              ID,       "agents/"      },
};

#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

/* "files/abc" of ".../v1beta/files/abc"; NULL for a file that is not Google's. */
static const char *file_of_uri(const char *uri, apr_pool_t *p)
{
    const char *at = strstr(uri, "/files/");
    size_t len;

    if (strncmp(uri, "files/", 6) == 0) {
        at = uri - 1;
    }
    if (at == NULL
        || (at >= uri && gb_url_version(apr_pstrmemdup(p, uri, (size_t)(at - uri))) == NULL)) {
        return NULL;
    }
    len = strcspn(at + 7, "/?#:");
    return len > 0 ? apr_pstrmemdup(p, at + 1, 6 + len) : NULL;
}

/* With or without its collection before it. */
static const char *name_of_id(const char *id, const char *collection, apr_pool_t *p)
{
    return strncmp(id, collection, strlen(collection)) == 0 ? id
                                                            : apr_pstrcat(p, collection, id, NULL);
}

static void add_value(found_t *found, size_t i, gb_span_t value)
{
    size_t len;
    const char *text = gb_json_str(value, &len, found->pool);

    if (text == NULL) {
        return;
    }
    switch (members[i].kind) {
    case NAME:
        add(found, strchr(text, '/') != NULL ? text : NULL);
        break;
    case FILE_URI:
        add(found, file_of_uri(text, found->pool));
        break;
    case ID:
        add(found, name_of_id(text, members[i].collection, found->pool));
        break;
    }
}

static void walk(found_t *found, gb_span_t value, int depth);

static int refers(found_t *found, gb_span_t key, gb_span_t value)
{
    gb_json_iter_t it;
    size_t i;

    for (i = 0; i < N_MEMBERS; i++) {
        if (!gb_json_eq(key, members[i].camel) && !gb_json_eq(key, members[i].snake)) {
            continue;
        }
        if (gb_json_kind(value) == GB_JSON_STRING) {
            add_value(found, i, value);
            return 1;
        }
        if (gb_json_kind(value) == GB_JSON_OBJECT) {
            return 0; /* described, not named */
        }
        for (gb_json_iter(&it, value); gb_json_next(&it);) {
            add_value(found, i, it.value);
        }
        return 1;
    }
    return 0;
}

static void walk(found_t *found, gb_span_t value, int depth)
{
    gb_json_kind_t kind = gb_json_kind(value);
    gb_json_iter_t it;

    if (depth > MAX_DEPTH || (kind != GB_JSON_OBJECT && kind != GB_JSON_ARRAY)) {
        return;
    }
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        if (kind != GB_JSON_OBJECT || !refers(found, it.key, it.value)) {
            walk(found, it.value, depth + 1);
        }
    }
}

static int holds(const char *text, size_t len, const char *word)
{
    return memmem(text, len, word, strlen(word)) != NULL;
}

/* Whether a slash or a letter of a name may be written otherwise: "\/", "\u0065". */
static int has_escapes(const char *text, size_t len)
{
    const char *end = text + len, *at = text;

    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL && end - at >= 4) {
        if (at[1] == '/' || memcmp(at + 1, "u00", 3) == 0) {
            return 1;
        }
        at += 2;
    }
    return 0;
}

static int may_name(const char *text, size_t len)
{
    static const char *const words[] = {"files/",     "cachedContents/", "fileSearchStores/",
                                        "tunedModel", "operations/",     "nteraction",
                                        "nvironment", "gent\""};
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (holds(text, len, words[i])) {
            return 1;
        }
    }
    return has_escapes(text, len);
}

/* Most bodies refer to nothing, and some are large: they are looked through once. */
void gb_gemini_names_in_body(gb_plan_t *plan)
{
    found_t found = {plan->pool, plan->names};
    gb_json_fault_t fault;

    if (may_name(plan->body, plan->body_len)
        && gb_json_check(plan->body, plan->body_len, &fault) == APR_SUCCESS) {
        walk(&found, gb_json_root(plan->body, plan->body_len), 0);
        plan->names = found.names;
    }
}

/* ---- in a path ---- */

/* "/cachedContents/a:method" -> "cachedContents/a"; models alone are everybody's. */
void gb_gemini_name_in_path(gb_plan_t *plan, const char *path)
{
    found_t found = {plan->pool, plan->names};
    const char *colon = strrchr(path, ':');
    const char *name = apr_pstrmemdup(
        plan->pool, path + 1, colon != NULL ? (size_t)(colon - path - 1) : strlen(path + 1));
    const char *slash = strchr(name, '/');
    const char *second = slash != NULL ? strchr(slash + 1, '/') : NULL;

    if (slash == NULL || (strncmp(name, "models/", 7) == 0 && second == NULL)) {
        return;
    }
    add(&found, name);
    if (second != NULL && strncmp(name, "models/", 7) != 0) {
        add(&found, apr_pstrmemdup(plan->pool, name, (size_t)(second - name)));
    }
    plan->names = found.names;
}

/* ---- pages of a list ---- */

/* Where a list goes on is told to the key that began it; tokens may be longer than names. */
static const char *name_of_page(const char *token, size_t len, apr_pool_t *p)
{
    unsigned char digest[GB_DIGEST_LEN];
    char hex[2 * 16 + 1];

    gb_digest(digest, token, len);
    gb_hex(hex, digest, 16);
    return apr_pstrcat(p, "pages/", hex, NULL);
}

void gb_gemini_name_of_page(gb_plan_t *plan, const char *value, size_t len)
{
    found_t found = {plan->pool, plan->names};
    const char *token = apr_punescape_url(plan->pool, apr_pstrmemdup(plan->pool, value, len), NULL,
                                          NULL, 1);

    if (token != NULL && *token != '\0') {
        add(&found, name_of_page(token, strlen(token), plan->pool));
        plan->names = found.names;
    }
}

/* ---- in an answer ---- */

static const char *text_member(gb_span_t object, const char *name, apr_pool_t *p)
{
    size_t len;

    return gb_json_str(gb_json_get(object, name), &len, p);
}

/* Newer collections give ids: of what POST /agents has made, of what GET /agents/a shows. */
static const char *named_by_id(const gb_plan_t *plan, const char *id)
{
    const char *collection = plan->path + 1;
    size_t len = strcspn(collection, "/?:");

    if (strncmp(collection, "models", len) == 0 || strcmp(plan->operation, "openai") == 0) {
        return NULL;
    }
    return apr_pstrcat(plan->pool, apr_pstrmemdup(plan->pool, collection, len), "/", id, NULL);
}

/* What such an answer tells is not only itself: it names what was made on its way. */
static int is_work(const char *name)
{
    return strncmp(name, "batches/", 8) == 0 || strncmp(name, "operations/", 11) == 0
           || strncmp(name, "interactions/", 13) == 0 || strstr(name, "/operations/") != NULL;
}

static void tap_results(gb_facts_t *facts, const gb_plan_t *plan, gb_span_t json)
{
    found_t found = {plan->pool, NULL};
    gb_buf_t list;
    int i;

    walk(&found, json, 0);
    if (found.names == NULL) {
        return;
    }
    gb_buf_init_pool(&list, GB_BUF_MAX_LINE, plan->pool);
    for (i = 0; i < found.names->nelts; i++) {
        gb_buf_puts(&list, i > 0 ? "},{\"name\":" : "[{\"name\":");
        gb_json_put_cstr(&list, APR_ARRAY_IDX(found.names, i, const char *));
    }
    if (gb_buf_puts(&list, "}]") == APR_SUCCESS) {
        facts->made_list = list.data;
    }
}

/* The name of what an answer describes: of a file, an operation, a cache, an interaction. */
void gb_gemini_tap_made(gb_facts_t *facts, const gb_plan_t *plan, gb_span_t json)
{
    gb_span_t file = gb_json_get(json, "file");
    gb_span_t object = gb_json_kind(file) == GB_JSON_OBJECT ? file : json;
    const char *id = text_member(json, "id", plan->pool);
    const char *name = id != NULL ? named_by_id(plan, id) : NULL;
    const char *page = text_member(json, "nextPageToken", plan->pool);
    gb_span_t list = gb_json_get(json, "files");

    if (gb_json_kind(list) == GB_JSON_ARRAY && strncmp(plan->path, "/files:", 7) == 0) {
        facts->made_list = apr_pstrmemdup(plan->pool, list.p, list.len); /* files:register */
    }

    if (name == NULL) { /* beside an id it is for people */
        name = text_member(object, "name", plan->pool);
    }
    if (name == NULL && page != NULL && *page != '\0') {
        name = name_of_page(page, strlen(page), plan->pool);
    }
    if (name == NULL || strchr(name, '/') == NULL || strlen(name) > 120
        || (strncmp(name, "models/", 7) == 0 && strchr(name + 7, '/') == NULL)) {
        return;
    }
    facts->made = name;
    if (strncmp(name, "files/", 6) == 0) {
        facts->made_json = apr_pstrmemdup(plan->pool, object.p, object.len);
    }
    else if (is_work(name)) {
        tap_results(facts, plan, json);
    }
}

/* The event of a stream that says which interaction it is. */
void gb_gemini_tap_begun(gb_facts_t *facts, const gb_plan_t *plan, const char *event, size_t len)
{
    gb_json_fault_t fault;
    gb_span_t json;
    const char *id;

    if (facts->made != NULL || !holds(event, len, "\"interaction")
        || gb_json_check(event, len, &fault) != APR_SUCCESS) {
        return;
    }
    json = gb_json_root(event, len);
    id = text_member(gb_json_get(json, "interaction"), "id", plan->pool);
    if (id == NULL) {
        id = text_member(json, "interaction_id", plan->pool);
    }
    if (id != NULL && *id != '\0' && strlen(id) <= 100) {
        facts->made = named_by_id(plan, id);
    }
}
