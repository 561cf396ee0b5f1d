/* SPDX-License-Identifier: Apache-2.0 */
/*
 * t_settings.API_KEYS as a gemini-balance finds it should its user go back: keys
 * are added and deleted one by one while httpd runs, and the list that was
 * imported or saved follows, as long as nothing is sealed.  Where there is no such
 * list, none is made: it would win over the configuration.
 *
 * It follows what changes here, and leaves alone what others have written there:
 * a note in the database remembers which pool it was last written from, one for
 * each machine.  (Tokens need none of this: they change by saving alone.)
 */
#include "core_live.h"
#include "core_store.h"

#include <unistd.h>

#include "apr_strings.h"

#include "mod_gbalance_keys.h"
#include "store/upkeep.h"

APLOG_USE_MODULE(gbalance);

#define POOL     "default"
#define LIST_MAX (896 * 1024) /* all that is saved has room in 1 MiB */

static void whole_pool(gb_keys_query_t *query, const char *pool, gb_keys_order_t order)
{
    memset(query, 0, sizeof(*query));
    query->pool = pool;
    query->order = order;
    query->count = GB_POOL_MAX_KEYS;
}

/* Of the ids of its keys; NULL: it has none, or no module has it. */
static const char *digest_of_pool(apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_ids) *keys_ids = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_ids);
    unsigned char digest[GB_DIGEST_LEN];
    const char *const *ids;
    gb_keys_query_t query;
    gb_buf_t text;
    char *hex;
    int i, n;

    whole_pool(&query, POOL, GB_KEYS_BY_ID);
    if (!keys_ids || keys_ids(&ids, &n, &query, p) != APR_SUCCESS || !n) {
        return NULL;
    }
    gb_buf_init_pool(&text, GB_BUF_MAX_ANSWER, p);
    for (i = 0; i < n; i++) {
        gb_buf_puts(&text, ids[i]);
        gb_buf_putc(&text, '\n');
    }
    hex = apr_palloc(p, 2 * GB_DIGEST_LEN + 1);
    gb_digest(digest, text.data, text.len);
    gb_hex(hex, digest, GB_DIGEST_LEN);
    return hex;
}

/* A pool that may not have had room for all keys of the list says nothing about it. */
static int has_room(apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_list) *keys_list = APR_RETRIEVE_OPTIONAL_FN(
        gbalance_keys_list);
    int total = 0, n, i;
    const gb_pool_conf_t *pools = core_pools(&n);
    gb_keys_query_t query;
    gb_keys_page_t page;

    for (i = 0; keys_list && i < n; i++) {
        whole_pool(&query, pools[i].name, GB_KEYS_BY_ADDED);
        query.count = 1;
        total += keys_list(&page, &query, p) == APR_SUCCESS ? page.total : 0;
    }
    return keys_list && total < core_max_keys();
}

/* Keys (const char *) of the pool; NULL when they cannot be had.  PAID_KEY is a setting of its own. */
static apr_array_header_t *keys_of_pool(apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_list) *keys_list = APR_RETRIEVE_OPTIONAL_FN(
        gbalance_keys_list);
    APR_OPTIONAL_FN_TYPE(gbalance_keys_reveal) *reveal = APR_RETRIEVE_OPTIONAL_FN(
        gbalance_keys_reveal);
    apr_array_header_t *keys;
    gb_keys_query_t query;
    gb_keys_page_t page;
    const char *secret;
    int i;

    whole_pool(&query, POOL, GB_KEYS_BY_ADDED);
    if (!reveal || keys_list(&page, &query, p) != APR_SUCCESS) {
        return NULL;
    }
    keys = apr_array_make(p, page.n, sizeof(const char *));
    for (i = 0; i < page.n; i++) {
        if (!page.rows[i].key.reserved
            && reveal(&secret, POOL, page.rows[i].key.id, p) == APR_SUCCESS) {
            APR_ARRAY_PUSH(keys, const char *) = secret;
        }
    }
    return keys;
}

/* Whether the pool has all that is saved: a list that it never read is not to be written over. */
static int has_saved(const apr_array_header_t *keys, apr_pool_t *p)
{
    const gb_settings_t *settings = core_live_pool(POOL, p);
    apr_hash_t *known = apr_hash_make(p);
    int i;

    for (i = 0; i < keys->nelts; i++) {
        apr_hash_set(known, APR_ARRAY_IDX(keys, i, const char *), APR_HASH_KEY_STRING, keys);
    }
    for (i = 0; settings && i < settings->api_keys.n; i++) {
        if (!apr_hash_get(known, settings->api_keys.items[i], APR_HASH_KEY_STRING)) {
            return 0;
        }
    }
    return settings != NULL;
}

static const char *as_json(const apr_array_header_t *keys, apr_pool_t *p)
{
    gb_buf_t out;
    int i;

    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    gb_buf_putc(&out, '[');
    for (i = 0; i < keys->nelts; i++) {
        gb_buf_puts(&out, i ? "," : "");
        gb_json_put_cstr(&out, APR_ARRAY_IDX(keys, i, const char *));
    }
    gb_buf_putc(&out, ']');
    return out.data;
}

static const char *note_name(apr_pool_t *p)
{
    char host[40] = "";

    gethostname(host, sizeof(host) - 1);
    return apr_pstrcat(p, "keys_written:", host, NULL);
}

static apr_status_t follow(const gb_saved_ctx_t *ctx, int is_first, apr_pool_t *p)
{
    apr_array_header_t *keys = has_room(p) ? keys_of_pool(p) : NULL;
    const char *list;

    if (!keys || !keys->nelts || (is_first && !has_saved(keys, p))) {
        return APR_SUCCESS;
    }
    list = as_json(keys, p);
    if (strlen(list) > LIST_MAX) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, core_store()->s,
                     GBLOGNO(8055) "store: %d keys are too long for the list in t_settings, which "
                                   "stays as it is: a gemini-balance would find an old one",
                     keys->nelts);
        return APR_SUCCESS;
    }
    return gb_saved_follow(ctx, "API_KEYS", list, p);
}

apr_status_t core_mirror_keys(gb_db_t *db, int *n, apr_pool_t *p)
{
    gb_saved_ctx_t ctx = core_saved_ctx(db);
    const char *digest = ctx.seal ? NULL : digest_of_pool(p), *written, *note;
    apr_status_t rv;

    *n = 0;
    if (!digest) {
        return APR_SUCCESS;
    }
    note = note_name(p);
    rv = gb_upkeep_note_get(db, note, &written, p);
    if (rv != APR_SUCCESS || strcmp(written, digest) == 0) {
        return rv;
    }
    rv = follow(&ctx, !*written, p);
    return rv == APR_SUCCESS ? gb_upkeep_note_put(db, note, digest) : rv;
}
