/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on keys: look, add, change, delete.  Whoever calls has checked who
 * asks; here everything goes by id and the lock is held for a few rows at a time.
 */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "ap_regex.h"
#include "apr_hash.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "pool/paste.h"

APLOG_USE_MODULE(gbalance_keys);

#define AT_A_TIME 32
#define ID_ALL    (-1)

/* ---- rows ---- */

static int state_of(const gb_pool_key_t *key)
{
    if (!key->enabled) {
        return GB_KEYS_OFF;
    }
    switch (key->state) {
    case GB_KEY_ACTIVE:
        return key->resting ? GB_KEYS_COOLING : GB_KEYS_ACTIVE;
    case GB_KEY_TRIAL:
        return GB_KEYS_TRIAL;
    case GB_KEY_FAILED:
        return GB_KEYS_FAILED;
    case GB_KEY_INVALID:
        return GB_KEYS_INVALID;
    }
    return GB_KEYS_ACTIVE;
}

/* "AIza...wXyZ"; of short secrets less, so that never more than half is shown. */
static void mask(char *out, apr_size_t size, const char *secret)
{
    apr_size_t len = strlen(secret), tail = len >= 16 ? 4 : len / 4, head = len >= 16 ? 4 : 0;

    if (strncmp(secret, "AQ.", 3) == 0 && len >= 16) {
        head = 3;
    }
    apr_snprintf(out, size, "%.*s...%s", (int)head, secret, secret + len - tail);
}

static void row_mask(gb_keys_row_t *row)
{
    char secret[GB_POOL_SECRET_MAX + 1];

    keys_enter();
    if (gb_pool_secret_locked(keys_pool, row->key.slot, row->key.generation, secret)
        != APR_SUCCESS) {
        secret[0] = '\0';
    }
    keys_leave();
    mask(row->masked, sizeof(row->masked), secret);
    explicit_bzero(secret, sizeof(secret));
}

/* How long the project of a key rests; for one model, or (NULL) for any. */
static void row_rest(gb_keys_row_t *row, const char *model)
{
    gb_pool_cell_t cells[AT_A_TIME];
    gb_pool_clock_t clock;
    int n, i, resting = 0;

    keys_now(&clock);
    keys_enter();
    n = gb_pool_project_cells_locked(keys_pool, row->key.project_slot, cells, AT_A_TIME, &clock);
    keys_leave();
    for (i = 0; i < n; i++) {
        if (cells[i].until && (!model || !cells[i].model[0] || !strcmp(cells[i].model, model))) {
            resting++;
            row->until = cells[i].until > row->until ? cells[i].until : row->until;
        }
    }
    row->key.resting = resting;
}

static void row_fill(gb_keys_row_t *row, const char *model)
{
    row->number = (int)row->key.slot;
    if (row->key.resting) {
        row_rest(row, model);
    }
    row->state = state_of(&row->key);
}

/* ---- list ---- */

static int tag_carried(const char *tags, const char *tag)
{
    apr_size_t len = strlen(tag);

    while (*tags) {
        apr_size_t run = strcspn(tags, ",");

        if (run == len && strncmp(tags, tag, len) == 0) {
            return 1;
        }
        tags += run + (tags[run] == ',');
    }
    return 0;
}

static int contains(const char *text, const char *part)
{
    apr_size_t len = strlen(part);

    for (; *text; text++) {
        if (strncasecmp(text, part, len) == 0) {
            return 1;
        }
    }
    return len == 0;
}

static int matches(gb_keys_row_t *row, const gb_keys_query_t *query)
{
    if (query->states && !(row->state & query->states)) {
        return 0;
    }
    if (query->tag && !tag_carried(row->key.tags, query->tag)) {
        return 0;
    }
    if (!query->search || !*query->search) {
        return 1;
    }
    row_mask(row);
    return contains(row->key.id, query->search) || contains(row->masked, query->search)
           || contains(row->key.project, query->search) || contains(row->key.note, query->search);
}

/* The worse the higher. */
static int badness(int state)
{
    static const int order[] = {GB_KEYS_OFF,     GB_KEYS_ACTIVE, GB_KEYS_TRIAL,
                                GB_KEYS_COOLING, GB_KEYS_FAILED, GB_KEYS_INVALID};
    size_t i;

    for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (order[i] == state) {
            return (int)i;
        }
    }
    return 0;
}

static apr_int64_t rank(const gb_keys_row_t *row, gb_keys_order_t order)
{
    switch (order) {
    case GB_KEYS_BY_WORST:
        return ((apr_int64_t)badness(row->state) << 56) + row->key.last_used / APR_USEC_PER_SEC;
    case GB_KEYS_BY_ADDED:
        return row->key.added;
    case GB_KEYS_BY_USED:
        return row->key.last_used;
    case GB_KEYS_BY_FAILURES:
        return row->key.failures;
    case GB_KEYS_BY_CALLS:
        return (apr_int64_t)row->key.day_calls;
    case GB_KEYS_BY_ID:
        break;
    }
    return 0;
}

/* All that sorting needs to know of a row: of ten thousand, fifty are shown. */
typedef struct ranked_t {
    apr_int64_t rank;
    apr_uint32_t slot;
    char id[GB_POOL_ID_LEN];
} ranked_t;

static int by_rank(const void *a, const void *b)
{
    const ranked_t *x = a, *y = b;
    int order = (x->rank > y->rank) - (x->rank < y->rank);

    order = order ? order : strcmp(x->id, y->id);
    return order ? order : (x->slot > y->slot) - (x->slot < y->slot);
}

static int by_rank_falling(const void *a, const void *b)
{
    return by_rank(b, a);
}

static void count_state(gb_keys_page_t *page, int state)
{
    int i;

    for (i = 0; i < 6; i++) {
        page->by_state[i] += state == 1 << i;
    }
}

static void look_at(apr_array_header_t *found, gb_keys_page_t *page, const gb_pool_key_t *key,
                    const gb_keys_query_t *query)
{
    gb_keys_row_t row;
    ranked_t *ranked;

    memset(&row, 0, sizeof(row));
    row.key = *key;
    row_fill(&row, query->model);
    page->total++;
    count_state(page, row.state);
    if (matches(&row, query)) {
        ranked = apr_array_push(found);
        ranked->rank = rank(&row, query->order);
        ranked->slot = row.key.slot;
        memcpy(ranked->id, row.key.id, sizeof(ranked->id));
    }
}

/* All that match, sorted. */
static apr_array_header_t *collect(gb_keys_page_t *page, const gb_keys_query_t *query,
                                   apr_pool_t *p)
{
    apr_array_header_t *found = apr_array_make(p, 64, sizeof(ranked_t));
    gb_pool_key_t keys[AT_A_TIME];
    gb_pool_clock_t clock;
    apr_uint32_t at = 1;
    int n, i;

    keys_now(&clock);
    do {
        keys_enter();
        n = gb_pool_list_locked(keys_pool, query->pool, &at, keys, AT_A_TIME, &clock);
        keys_leave();
        for (i = 0; i < n; i++) {
            look_at(found, page, &keys[i], query);
        }
    } while (n > 0);
    qsort(found->elts, (size_t)found->nelts, sizeof(ranked_t),
          query->descending || query->order == GB_KEYS_BY_WORST ? by_rank_falling : by_rank);
    return found;
}

/* A key that was deleted meanwhile is left out. */
static int row_get(gb_keys_row_t *row, apr_uint32_t slot, const char *model)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    memset(row, 0, sizeof(*row));
    keys_now(&clock);
    keys_enter();
    rv = gb_pool_get_locked(keys_pool, slot, &row->key, &clock);
    keys_leave();
    if (rv != APR_SUCCESS) {
        return 0;
    }
    row_fill(row, model);
    row_mask(row);
    return 1;
}

apr_status_t gbalance_keys_list(gb_keys_page_t *page, const gb_keys_query_t *query, apr_pool_t *p)
{
    apr_array_header_t *found;
    int i;

    memset(page, 0, sizeof(*page));
    if (!keys_pool || !keys_settings_of(query->pool)) {
        return APR_NOTFOUND;
    }
    found = collect(page, query, p);
    page->matched = found->nelts;
    page->rows = apr_palloc(p, sizeof(*page->rows) * (apr_size_t)(query->count + 1));
    for (i = query->from; i < found->nelts && page->n < query->count; i++) {
        page->n += row_get(&page->rows[page->n], APR_ARRAY_IDX(found, i, ranked_t).slot,
                           query->model);
    }
    return APR_SUCCESS;
}

/* ---- one key ---- */

/* By id as it is shown, else by the secret itself (gemini-balance's paths carry it). */
static apr_status_t key_find(gb_pool_key_t *row, const char *pool, const char *id)
{
    unsigned char digest[GB_DIGEST_LEN];
    gb_pool_clock_t clock;
    apr_uint32_t slot;
    apr_status_t rv;

    if (!keys_pool) {
        return APR_NOTFOUND;
    }
    gb_digest(digest, id, strlen(id));
    keys_now(&clock);
    keys_enter();
    slot = gb_pool_find_locked(keys_pool, pool, NULL, id);
    slot = slot ? slot : gb_pool_find_locked(keys_pool, pool, digest, NULL);
    rv = slot ? gb_pool_get_locked(keys_pool, slot, row, &clock) : APR_NOTFOUND;
    keys_leave();
    return rv;
}

apr_status_t gbalance_keys_get(gb_keys_row_t *row, gb_pool_cell_t **cells, int *n, const char *pool,
                               const char *id, apr_pool_t *p)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    memset(row, 0, sizeof(*row));
    rv = key_find(&row->key, pool, id);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    row_fill(row, NULL);
    row_mask(row);
    *cells = apr_palloc(p, sizeof(**cells) * (GB_POOL_MODELS + 1));
    keys_now(&clock);
    keys_enter();
    *n = gb_pool_project_cells_locked(keys_pool, row->key.project_slot, *cells, GB_POOL_MODELS + 1,
                                      &clock);
    keys_leave();
    return APR_SUCCESS;
}

apr_status_t gbalance_keys_reveal(const char **secret, const char *pool, const char *id,
                                  apr_pool_t *p)
{
    char text[GB_POOL_SECRET_MAX + 1];
    gb_pool_key_t row;
    apr_status_t rv = key_find(&row, pool, id);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    keys_enter();
    rv = gb_pool_secret_locked(keys_pool, row.slot, row.generation, text);
    keys_leave();
    if (rv == APR_SUCCESS) {
        *secret = apr_pstrdup(p, text);
        explicit_bzero(text, sizeof(text));
    }
    return rv;
}

apr_status_t gbalance_keys_census(gb_pool_census_t *census, const char *pool, const char *model)
{
    gb_pool_clock_t clock;
    int known = 0;

    if (keys_pool) {
        keys_now(&clock);
        keys_enter();
        known = gb_pool_census_locked(keys_pool, pool, model, &clock, census);
        keys_leave();
    }
    return known ? APR_SUCCESS : APR_NOTFOUND;
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

/* The files of the state directory are changed by one at a time: neither another child nor another
 * thread of this one may come between reading and renaming. */
static int files_lock(apr_pool_t *p)
{
    const char *dir = keys_state_dir();
    int fd = *dir
                 ? open(apr_pstrcat(p, dir, "/keys.lock", NULL), O_CREAT | O_RDWR | O_CLOEXEC, 0600)
                 : -1;

    if (fd >= 0) {
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR) {
        }
    }
    return fd;
}

static void files_unlock(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
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
    lock = files_lock(adding->p);
    keys_grave_take(adding->pool, spec->digest, adding->p);
    rv = keys_vault_put(adding->pool, spec->digest, key, len, adding->p);
    files_unlock(lock);
    adding->rv = adding->rv == APR_SUCCESS ? rv : adding->rv;
    return GB_KEYS_ADDED;
}

static void add_one(adding_t *adding, const char *key, apr_size_t len)
{
    const char *text = apr_pstrmemdup(adding->p, key, len);
    gb_keys_result_t *result = apr_array_push(adding->results);
    gb_secret_t *checked;
    gb_pool_key_t spec;

    memset(result, 0, sizeof(*result));
    keys_spec(&spec, adding->pool, key, len);
    apr_cpystrn(result->id, spec.id, sizeof(result->id));
    mask(result->masked, sizeof(result->masked), text);
    if (apr_hash_get(adding->seen, text, (apr_ssize_t)len)) {
        result->what = GB_KEYS_TWICE;
        return;
    }
    apr_hash_set(adding->seen, text, (apr_ssize_t)len, "");
    result->what = gb_secret_make(&checked, key, len, adding->p) == APR_SUCCESS
                       ? add_new(adding, &spec, key, len)
                       : GB_KEYS_REFUSED;
}

static void add_pasted(adding_t *adding, const char *text, apr_size_t len)
{
    gb_paste_t paste;
    const char *key;
    apr_size_t key_len;

    gb_paste_begin(&paste, text, len);
    while (gb_paste_next(&paste, &key, &key_len)) {
        add_one(adding, key, key_len);
    }
}

/* The first group, or the whole match; an empty match moves on by one byte. */
static apr_status_t add_by_pattern(adding_t *adding, const char *text, const char *pattern)
{
    ap_regex_t *regex = ap_pregcomp(adding->p, pattern, AP_REG_EXTENDED);
    ap_regmatch_t match[2];

    if (!regex) {
        return APR_EINVAL;
    }
    while (*text && ap_regexec(regex, text, 2, match, 0) == 0) {
        int group = match[1].rm_so >= 0 && match[1].rm_eo > match[1].rm_so;

        if (match[group].rm_eo > match[group].rm_so) {
            add_one(adding, text + match[group].rm_so,
                    (apr_size_t)(match[group].rm_eo - match[group].rm_so));
        }
        text += match[0].rm_eo > 0 ? match[0].rm_eo : 1;
    }
    return APR_SUCCESS;
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
    if (pattern && *pattern) {
        rv = add_by_pattern(&adding, apr_pstrmemdup(p, text, len), pattern);
        return rv == APR_SUCCESS ? adding.rv : rv;
    }
    add_pasted(&adding, text, len);
    return adding.rv;
}

/* ---- changing ---- */

static apr_status_t key_delete(const gb_pool_key_t *row, apr_pool_t *p)
{
    int lock = files_lock(p);
    /* The stone first: a key that is gone but not buried would come back. */
    apr_status_t rv = keys_grave_put(row->pool, row->digest, p);

    if (rv == APR_SUCCESS) {
        rv = keys_vault_drop(row->pool, row->digest, p);
    }
    files_unlock(lock);
    if (rv == APR_SUCCESS) {
        keys_enter();
        rv = gb_pool_remove_locked(keys_pool, row->slot, row->generation);
        keys_leave();
    }
    return rv;
}

static apr_status_t key_edit(const gb_pool_key_t *row, const gb_pool_edit_t *edit)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    keys_now(&clock);
    keys_enter();
    rv = gb_pool_edit_locked(keys_pool, row->slot, row->generation, edit, &clock);
    keys_leave();
    return rv;
}

static apr_status_t key_reset(const gb_pool_key_t *row)
{
    gb_pool_clock_t clock;
    apr_status_t rv;

    keys_now(&clock);
    keys_enter();
    rv = gb_pool_reset_locked(keys_pool, row->slot, row->generation, &clock);
    keys_leave();
    return rv;
}

static apr_status_t key_do(const gb_pool_key_t *row, gb_keys_verb_t verb,
                           const gb_pool_edit_t *edit, apr_pool_t *p)
{
    gb_pool_edit_t on = GB_POOL_EDIT_NONE;

    switch (verb) {
    case GB_KEYS_EDIT:
        return edit ? key_edit(row, edit) : APR_EINVAL;
    case GB_KEYS_ENABLE:
    case GB_KEYS_DISABLE:
        on.enabled = verb == GB_KEYS_ENABLE;
        return key_edit(row, &on);
    case GB_KEYS_RESET:
        return key_reset(row);
    case GB_KEYS_DELETE:
        return key_delete(row, p);
    }
    return APR_EINVAL;
}

apr_array_header_t *keys_named(const char *pool, const char *const *ids, int n_ids, apr_pool_t *p)
{
    apr_array_header_t *rows = apr_array_make(p, n_ids > 0 ? n_ids : 64, sizeof(gb_pool_key_t));
    gb_pool_clock_t clock;
    gb_pool_key_t row;
    apr_uint32_t at = 1;
    int i, n;

    for (i = 0; i < n_ids; i++) {
        if (key_find(&row, pool, ids[i]) == APR_SUCCESS) {
            APR_ARRAY_PUSH(rows, gb_pool_key_t) = row;
        }
    }
    keys_now(&clock);
    for (n = n_ids <= ID_ALL && keys_pool; n == 1;) {
        keys_enter();
        n = gb_pool_list_locked(keys_pool, pool, &at, &row, 1, &clock);
        keys_leave();
        if (n == 1) {
            APR_ARRAY_PUSH(rows, gb_pool_key_t) = row;
        }
    }
    return rows;
}

apr_status_t gbalance_keys_do(int *done, const char *pool, gb_keys_verb_t verb,
                              const char *const *ids, int n_ids, const gb_pool_edit_t *edit,
                              apr_pool_t *p)
{
    apr_array_header_t *rows = keys_named(pool, ids, n_ids, p);
    apr_status_t first = APR_SUCCESS, rv;
    int i;

    *done = 0;
    for (i = 0; i < rows->nelts; i++) {
        rv = key_do(&APR_ARRAY_IDX(rows, i, gb_pool_key_t), verb, edit, p);
        *done += rv == APR_SUCCESS;
        first = first == APR_SUCCESS ? rv : first;
    }
    return rows->nelts ? first : APR_NOTFOUND;
}

void keys_ops_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_list);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_get);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_reveal);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_census);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_add);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_do);
}
