/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adding what is found in a text, and saying beforehand what would come of it.
 */
#include "keys.h"

#include <stdlib.h>

#include "ap_regex.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "pool/paste.h"

APLOG_USE_MODULE(gbalance_keys);

/* ---- finding ---- */

typedef void found_fn(void *baton, const char *at, apr_size_t len);

static void find_pasted(const char *text, apr_size_t len, found_fn *fn, void *baton)
{
    gb_paste_t paste;
    const char *key;
    apr_size_t key_len;

    gb_paste_begin(&paste, text, len);
    while (gb_paste_next(&paste, &key, &key_len)) {
        fn(baton, key, key_len);
    }
}

/* The first group, or the whole match; an empty match moves on by one byte.  APR_EINVAL: the pattern
 * is none, or takes too many steps somewhere; then nothing is told. */
static apr_status_t find_by_pattern(const char *text, const char *pattern, found_fn *fn,
                                    void *baton, apr_pool_t *p)
{
    ap_regex_t *regex = ap_pregcomp(p, pattern, AP_REG_EXTENDED);
    apr_array_header_t *found = apr_array_make(p, 16, sizeof(gb_span_t));
    ap_regmatch_t match[2];
    int rc = regex ? 0 : AP_REG_INVARG, i;

    while (rc == 0 && *text && (rc = ap_regexec(regex, text, 2, match, 0)) == 0) {
        int group = match[1].rm_so >= 0 && match[1].rm_eo > match[1].rm_so;

        if (match[group].rm_eo > match[group].rm_so) {
            gb_span_t *span = apr_array_push(found);

            span->p = text + match[group].rm_so;
            span->len = (size_t)(match[group].rm_eo - match[group].rm_so);
        }
        text += match[0].rm_eo > 0 ? match[0].rm_eo : 1;
    }
    if (rc != 0 && rc != AP_REG_NOMATCH) {
        return APR_EINVAL;
    }
    for (i = 0; i < found->nelts; i++) {
        fn(baton, APR_ARRAY_IDX(found, i, gb_span_t).p, APR_ARRAY_IDX(found, i, gb_span_t).len);
    }
    return APR_SUCCESS;
}

/* text must end with a NUL where there is a pattern. */
static apr_status_t find(const char *text, apr_size_t len, const char *pattern, found_fn *fn,
                         void *baton, apr_pool_t *p)
{
    if (pattern && *pattern) {
        return find_by_pattern(text, pattern, fn, baton, p);
    }
    find_pasted(text, len, fn, baton);
    return APR_SUCCESS;
}

/* ---- adding ---- */

typedef struct adding_t {
    const char *pool;
    const gb_pool_edit_t *edit;
    apr_array_header_t *results;
    apr_hash_t *seen;
    apr_pool_t *p;
    apr_status_t rv;
} adding_t;

static void apply_edit(gb_pool_key_t *spec, const gb_pool_edit_t *edit)
{
    if (!edit) {
        return;
    }
    apr_cpystrn(spec->project, edit->project ? edit->project : "", sizeof(spec->project));
    spec->project_by_hand = spec->project[0] != '\0';
    apr_cpystrn(spec->tags, edit->tags ? edit->tags : "", sizeof(spec->tags));
    apr_cpystrn(spec->note, edit->note ? edit->note : "", sizeof(spec->note));
    spec->weight = edit->weight > 0 ? edit->weight : 1;
    spec->enabled = edit->enabled != 0;
    spec->reserved = edit->reserved > 0;
}

static gb_keys_added_t add_new(adding_t *adding, gb_pool_key_t *spec, const char *key,
                               apr_size_t len)
{
    apr_uint32_t slot;
    apr_status_t rv;
    int lock;

    spec->source = GB_KEY_SOURCE_ADMIN;
    apply_edit(spec, adding->edit);
    rv = keys_add(spec, key, len, &slot);
    if (rv == APR_EEXIST) {
        return GB_KEYS_KNOWN;
    }
    if (rv != APR_SUCCESS) {
        adding->rv = rv;
        return GB_KEYS_REFUSED;
    }
    lock = keys_files_lock(adding->p);
    keys_grave_take(adding->pool, spec->digest, adding->p);
    rv = keys_vault_put(adding->pool, spec->digest, key, len, adding->p);
    keys_files_unlock(lock);
    adding->rv = adding->rv == APR_SUCCESS ? rv : adding->rv;
    return GB_KEYS_ADDED;
}

static void add_one(void *baton, const char *key, apr_size_t len)
{
    adding_t *adding = baton;
    const char *text = apr_pstrmemdup(adding->p, key, len);
    gb_keys_result_t *result = apr_array_push(adding->results);
    gb_secret_t *checked;
    gb_pool_key_t spec;

    memset(result, 0, sizeof(*result));
    keys_spec(&spec, adding->pool, key, len);
    apr_cpystrn(result->id, spec.id, sizeof(result->id));
    keys_mask(result->masked, sizeof(result->masked), text);
    if (apr_hash_get(adding->seen, text, (apr_ssize_t)len)) {
        result->what = GB_KEYS_TWICE;
        return;
    }
    apr_hash_set(adding->seen, text, (apr_ssize_t)len, "");
    result->what = gb_secret_make(&checked, key, len, adding->p) == APR_SUCCESS
                       ? add_new(adding, &spec, key, len)
                       : GB_KEYS_REFUSED;
}

apr_status_t gbalance_keys_add(apr_array_header_t **results, const char *pool, const char *text,
                               apr_size_t len, const char *pattern, const gb_pool_edit_t *edit,
                               apr_pool_t *p)
{
    adding_t adding = {.pool = pool, .edit = edit, .p = p, .rv = APR_SUCCESS};
    apr_status_t rv;

    if (!keys_pool || !keys_settings_of(pool)) {
        return APR_NOTFOUND;
    }
    adding.results = apr_array_make(p, 16, sizeof(gb_keys_result_t));
    adding.seen = apr_hash_make(p);
    *results = adding.results;
    rv = find(apr_pstrmemdup(p, text, len), len, pattern, add_one, &adding, p);
    return rv == APR_SUCCESS ? adding.rv : rv;
}

/* ---- saying beforehand ---- */

typedef struct looking_t {
    const char *pool, *text, *at; /* at: up to where lines were counted */
    int line, opaque;
    apr_array_header_t *results;
    apr_hash_t *seen; /* key -> its gb_keys_found_t's line */
    apr_pool_t *p;
} looking_t;

static int line_of(looking_t *looking, const char *at)
{
    for (; looking->at < at; looking->at++) {
        looking->line += *looking->at == '\n';
    }
    return looking->line;
}

static gb_keys_found_t *found_at(looking_t *looking, const char *at, const char *text)
{
    gb_keys_found_t *found = apr_array_push(looking->results);

    memset(found, 0, sizeof(*found));
    found->line = line_of(looking, at);
    keys_mask(found->masked, sizeof(found->masked), text);
    return found;
}

/* What is said of a key that would be added. */
static gb_keys_why_t why_of_new(const looking_t *looking, const char *at, const char *text)
{
    const char *before = at > looking->text ? at - 1 : "";

    if (looking->opaque) {
        return GB_KEYS_WHY_OPAQUE;
    }
    if (*before == '=' && before - looking->text >= 4 && strncmp(before - 3, "key", 3) == 0
        && strchr("?&", before[-4])) {
        return GB_KEYS_WHY_URL;
    }
    return strncmp(text, "AIza", 4) == 0 ? GB_KEYS_WHY_RETIRING : GB_KEYS_WHY_NONE;
}

static void judge(looking_t *looking, gb_keys_found_t *found, const char *at, const char *text)
{
    apr_size_t len = strlen(text);
    const int *before = apr_hash_get(looking->seen, text, (apr_ssize_t)len);
    gb_secret_t *checked;
    gb_pool_key_t key;

    keys_spec(&key, looking->pool, text, len);
    apr_cpystrn(found->id, key.id, sizeof(found->id));
    if (before) {
        found->what = GB_KEYS_TWICE;
        found->why = GB_KEYS_WHY_SAME;
        found->same = *before;
        return;
    }
    apr_hash_set(looking->seen, text, (apr_ssize_t)len,
                 apr_pmemdup(looking->p, &found->line, sizeof(found->line)));
    if (gb_secret_make(&checked, text, len, looking->p) != APR_SUCCESS) {
        found->what = GB_KEYS_REFUSED;
        found->why = GB_KEYS_WHY_BYTES;
        return;
    }
    if (keys_find(&key, looking->pool, text) == APR_SUCCESS) {
        found->what = GB_KEYS_KNOWN;
        found->why = GB_KEYS_WHY_KNOWN;
        found->state = keys_state_of(&key);
        return;
    }
    found->what = GB_KEYS_ADDED;
    found->why = why_of_new(looking, at, text);
}

static void look_at(void *baton, const char *at, apr_size_t len)
{
    looking_t *looking = baton;
    const char *text = apr_pstrmemdup(looking->p, at, len);

    judge(looking, found_at(looking, at, text), at, text);
}

/* Words that somebody took for keys, and that are none. */
static void look_for_odd(looking_t *looking, apr_size_t len)
{
    gb_keys_found_t *found;
    gb_paste_t paste;
    const char *at;
    apr_size_t n;
    int is_cut;

    looking->at = looking->text;
    looking->line = 1;
    gb_paste_begin(&paste, looking->text, len);
    while (gb_paste_odd(&paste, &at, &n, &is_cut)) {
        found = found_at(looking, at, apr_pstrmemdup(looking->p, at, n));
        found->what = GB_KEYS_REFUSED;
        found->why = is_cut ? GB_KEYS_WHY_CUT : GB_KEYS_WHY_FOREIGN;
    }
}

/* What wants to be looked at comes first. */
static int by_verdict(const void *a, const void *b)
{
    const gb_keys_found_t *x = a, *y = b;

    return x->what != y->what ? (int)y->what - (int)x->what : x->line - y->line;
}

apr_status_t gbalance_keys_preview(apr_array_header_t **results, const char *pool, const char *text,
                                   apr_size_t len, const char *pattern, apr_pool_t *p)
{
    looking_t looking = {.pool = pool, .line = 1, .p = p};
    int by_pattern = pattern && *pattern;
    gb_paste_t paste;
    apr_status_t rv;

    if (!keys_pool || !keys_settings_of(pool)) {
        return APR_NOTFOUND;
    }
    looking.text = looking.at = apr_pstrmemdup(p, text, len);
    looking.results = *results = apr_array_make(p, 16, sizeof(gb_keys_found_t));
    looking.seen = apr_hash_make(p);
    gb_paste_begin(&paste, looking.text, len);
    looking.opaque = paste.opaque && !by_pattern;
    rv = find(looking.text, len, pattern, look_at, &looking, p);
    if (rv == APR_SUCCESS && !by_pattern) {
        look_for_odd(&looking, len);
    }
    qsort(looking.results->elts, (size_t)looking.results->nelts, sizeof(gb_keys_found_t),
          by_verdict);
    return rv;
}

void keys_add_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_add);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_preview);
}
