/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prices of models as MODEL_PRICES has them, and what sums cost by them.
 */
#include "store/stats.h"

#include <stdlib.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "base/json.h"

#define MILLION 1000000.0

typedef struct entry_t {
    const char *model;
    size_t len;
    gb_price_t price;
} entry_t;

struct gb_prices_t {
    apr_array_header_t *entries; /* the longest name first */
};

static int longest_first(const void *a, const void *b)
{
    const entry_t *x = a, *y = b;

    return x->len != y->len ? (x->len < y->len ? 1 : -1) : strcmp(x->model, y->model);
}

static void read_price(gb_price_t *price, gb_span_t object)
{
    memset(price, 0, sizeof(*price));
    gb_json_double(gb_json_get(object, "prompt"), &price->prompt);
    gb_json_double(gb_json_get(object, "completion"), &price->completion);
    price->cached = price->prompt;
    gb_json_double(gb_json_get(object, "cached"), &price->cached);
}

gb_prices_t *gb_prices_make(const char *text, apr_pool_t *p)
{
    gb_prices_t *prices = apr_palloc(p, sizeof(*prices));
    gb_json_iter_t it;

    prices->entries = apr_array_make(p, 16, sizeof(entry_t));
    for (gb_json_iter(&it, gb_json_root(text, strlen(text))); gb_json_next(&it);) {
        entry_t *entry = apr_array_push(prices->entries);

        entry->model = gb_json_str(it.key, &entry->len, p);
        read_price(&entry->price, it.value);
    }
    qsort(prices->entries->elts, (size_t)prices->entries->nelts, sizeof(entry_t), longest_first);
    return prices;
}

/* "", or what only says which version it is: "-001", "-preview-09-2025", "-latest". */
static int is_version(const char *rest)
{
    static const char *const words[] = {"-preview", "-latest", "-exp", NULL};
    int i;

    for (i = 0; words[i]; i++) {
        if (strncmp(rest, words[i], strlen(words[i])) == 0) {
            return 1;
        }
    }
    return !*rest || (*rest == '-' && apr_isdigit(rest[1]));
}

const gb_price_t *gb_prices_get(const gb_prices_t *prices, const char *model)
{
    int i;

    for (i = 0; prices && i < prices->entries->nelts; i++) {
        const entry_t *entry = &APR_ARRAY_IDX(prices->entries, i, entry_t);

        if (strncmp(model, entry->model, entry->len) == 0 && is_version(model + entry->len)) {
            return &entry->price;
        }
    }
    return NULL;
}

double gb_price_of(const gb_price_t *price, const gb_sums_t *sums)
{
    apr_int64_t cached = sums->cached_tokens < sums->prompt_tokens ? sums->cached_tokens
                                                                   : sums->prompt_tokens;

    return price ? ((double)(sums->prompt_tokens - cached) * price->prompt
                    + (double)cached * price->cached
                    + (double)sums->completion_tokens * price->completion)
                       / MILLION
                 : 0;
}
