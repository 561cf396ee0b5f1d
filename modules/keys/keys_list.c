/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as people see them, and lists of them: filtered, sorted, in pages.  The lock
 * is held for a few rows at a time, so a list of ten thousand keys keeps no call
 * waiting.
 */
#include "keys.h"

#include <stdlib.h>

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define AT_A_TIME 32

/* ---- rows ---- */

int keys_state_of(const gb_pool_key_t *key)
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
void keys_mask(char *out, apr_size_t size, const char *secret)
{
    apr_size_t len = strlen(secret), tail = len >= 16 ? 4 : len / 4, head = len >= 16 ? 4 : 0;

    if (strncmp(secret, "AQ.", 3) == 0 && len >= 16) {
        head = 3;
    }
    apr_snprintf(out, size, "%.*s...%s", (int)head, secret, secret + len - tail);
}

void keys_row_mask(gb_keys_row_t *row)
{
    char secret[GB_POOL_SECRET_MAX + 1];

    keys_enter();
    if (gb_pool_secret_locked(keys_pool, row->key.slot, row->key.generation, secret)
        != APR_SUCCESS) {
        secret[0] = '\0';
    }
    keys_leave();
    keys_mask(row->masked, sizeof(row->masked), secret);
    explicit_bzero(secret, sizeof(secret));
}

/* Keeps the soonest of a row's cool-downs. */
static void rest_keep(gb_keys_row_t *row, const gb_pool_cell_t *cell)
{
    int i = row->n_rests;

    if (i == GB_KEYS_RESTS && row->rests[--i].until <= cell->until) {
        return;
    }
    row->n_rests = i + 1;
    for (; i > 0 && row->rests[i - 1].until > cell->until; i--) {
        row->rests[i] = row->rests[i - 1];
    }
    memcpy(row->rests[i].model, cell->model, sizeof(row->rests[i].model));
    row->rests[i].reason = cell->reason;
    row->rests[i].until = cell->until;
}

/* How long the project of a key rests; for one model, or (NULL) for any. */
static void row_rest(gb_keys_row_t *row, const char *model)
{
    gb_pool_cell_t cells[AT_A_TIME];
    gb_pool_clock_t clock;
    int n, i, resting = 0;

    keys_now(&clock);
    keys_enter();
    n = gb_pool_key_cells_locked(keys_pool, row->key.slot, cells, AT_A_TIME, &clock);
    keys_leave();
    for (i = 0; i < n; i++) {
        if (cells[i].until && (!model || !cells[i].model[0] || !strcmp(cells[i].model, model))) {
            resting++;
            row->until = cells[i].until > row->until ? cells[i].until : row->until;
            rest_keep(row, &cells[i]);
        }
    }
    row->key.resting = resting;
}

void keys_row_fill(gb_keys_row_t *row, const char *model)
{
    row->number = (int)row->key.slot;
    if (row->key.resting) {
        row_rest(row, model);
    }
    row->state = keys_state_of(&row->key);
}

/* ---- walks ---- */

void keys_each(const char *pool, const gb_pool_clock_t *clock, keys_each_fn *fn, void *baton)
{
    gb_pool_key_t keys[AT_A_TIME];
    apr_uint32_t at = 1;
    int n, i;

    do {
        keys_enter();
        n = gb_pool_list_locked(keys_pool, pool, &at, keys, AT_A_TIME, clock);
        keys_leave();
        for (i = 0; i < n; i++) {
            fn(baton, &keys[i]);
        }
    } while (n > 0);
}

void keys_each_cell(const gb_pool_clock_t *clock, keys_each_cell_fn *fn, void *baton)
{
    gb_pool_cell_t cells[AT_A_TIME];
    apr_uint32_t at = 1;
    int n, i;

    do {
        keys_enter();
        n = gb_pool_cells_locked(keys_pool, &at, cells, AT_A_TIME, clock);
        keys_leave();
        for (i = 0; i < n; i++) {
            fn(baton, &cells[i]);
        }
    } while (n > 0);
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

static int is_found(gb_keys_row_t *row, const char *text)
{
    keys_row_mask(row);
    return contains(row->key.id, text) || contains(row->masked, text)
           || contains(row->key.project, text) || contains(row->key.note, text)
           || contains(row->key.tags, text);
}

/* Its secret begins so. */
static int has_form(gb_keys_row_t *row, const char *form)
{
    keys_row_mask(row);
    return strncmp(row->masked, form, strlen(form)) == 0;
}

static int matches(gb_keys_row_t *row, const gb_keys_query_t *query)
{
    const gb_pool_key_t *key = &row->key;

    return (!query->states || (row->state & query->states))
           && (!query->tag || tag_carried(key->tags, query->tag))
           && (!query->reason || strcmp(key->row, query->reason) == 0)
           && (!query->project || strcmp(key->project, query->project) == 0)
           && key->last_used >= query->used_since && key->added >= query->added_since
           && (!query->form || has_form(row, query->form))
           && (!query->search || !*query->search || is_found(row, query->search));
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

/* Per mille of its calls that met a limit. */
static apr_int64_t quota_share(const gb_pool_key_t *key)
{
    return key->picks ? (apr_int64_t)(key->quotas * 1000 / key->picks) : -1;
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
    case GB_KEYS_BY_TOKENS:
        return (apr_int64_t)row->key.day_tokens;
    case GB_KEYS_BY_QUOTAS:
        return quota_share(&row->key);
    case GB_KEYS_BY_UNTIL:
        return row->until;
    case GB_KEYS_BY_ERROR:
        return row->key.text_at;
    case GB_KEYS_BY_ID:
    case GB_KEYS_BY_PROJECT:
        break;
    }
    return 0;
}

/* All that sorting needs to know of a row: of ten thousand, fifty are shown. */
typedef struct ranked_t {
    apr_int64_t rank;
    apr_uint32_t slot;
    const char *text; /* before the id, "" = nothing */
    char id[GB_POOL_ID_LEN];
} ranked_t;

static int by_rank(const void *a, const void *b)
{
    const ranked_t *x = a, *y = b;
    int order = (x->rank > y->rank) - (x->rank < y->rank);

    order = order ? order : strcmp(x->text, y->text);
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

typedef struct collecting_t {
    apr_array_header_t *found; /* of ranked_t */
    gb_keys_page_t *page;
    const gb_keys_query_t *query;
} collecting_t;

static void look_at(void *baton, const gb_pool_key_t *key)
{
    collecting_t *collecting = baton;
    const gb_keys_query_t *query = collecting->query;
    gb_keys_row_t row;
    ranked_t *ranked;

    memset(&row, 0, sizeof(row));
    row.key = *key;
    keys_row_fill(&row, query->model);
    collecting->page->total++;
    count_state(collecting->page, row.state);
    if (matches(&row, query)) {
        ranked = apr_array_push(collecting->found);
        ranked->rank = rank(&row, query->order);
        ranked->slot = row.key.slot;
        ranked->text = query->order == GB_KEYS_BY_PROJECT
                           ? apr_pstrdup(collecting->found->pool, row.key.project)
                           : "";
        memcpy(ranked->id, row.key.id, sizeof(ranked->id));
    }
}

/* All that match, sorted. */
static apr_array_header_t *collect(gb_keys_page_t *page, const gb_keys_query_t *query,
                                   apr_pool_t *p)
{
    collecting_t collecting = {apr_array_make(p, 64, sizeof(ranked_t)), page, query};
    apr_array_header_t *found = collecting.found;
    gb_pool_clock_t clock;

    keys_now(&clock);
    keys_each(query->pool, &clock, look_at, &collecting);
    qsort(found->elts, (size_t)found->nelts, sizeof(ranked_t),
          query->descending != (query->order == GB_KEYS_BY_WORST) ? by_rank_falling : by_rank);
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
    keys_row_fill(row, model);
    keys_row_mask(row);
    return 1;
}

apr_status_t gbalance_keys_list(gb_keys_page_t *page, const gb_keys_query_t *query, apr_pool_t *p)
{
    apr_array_header_t *found;
    int i, room;

    memset(page, 0, sizeof(*page));
    if (!keys_pool || !keys_settings_of(query->pool)) {
        return APR_NOTFOUND;
    }
    found = collect(page, query, p);
    page->matched = found->nelts;
    room = found->nelts - query->from;
    room = room < 0 ? 0 : room < query->count ? room : query->count;
    page->rows = apr_palloc(p, sizeof(*page->rows) * (apr_size_t)(room + 1));
    for (i = query->from; i < found->nelts && page->n < query->count; i++) {
        page->n += row_get(&page->rows[page->n], APR_ARRAY_IDX(found, i, ranked_t).slot,
                           query->model);
    }
    return APR_SUCCESS;
}

apr_status_t gbalance_keys_ids(const char *const **ids, int *n, const gb_keys_query_t *query,
                               apr_pool_t *p)
{
    apr_array_header_t *found;
    gb_keys_page_t page;
    const char **texts;

    memset(&page, 0, sizeof(page));
    if (!keys_pool || !keys_settings_of(query->pool)) {
        return APR_NOTFOUND;
    }
    found = collect(&page, query, p);
    texts = apr_palloc(p, sizeof(*texts) * (apr_size_t)(found->nelts + 1));
    for (*n = 0; *n < found->nelts; (*n)++) {
        texts[*n] = APR_ARRAY_IDX(found, *n, ranked_t).id;
    }
    *ids = texts;
    return APR_SUCCESS;
}

void keys_list_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_list);
    APR_REGISTER_OPTIONAL_FN(gbalance_keys_ids);
}
