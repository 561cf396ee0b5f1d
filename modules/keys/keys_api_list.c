/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/keys: looking.  A list in pages, one key with all that rests of its
 * project, exports; and the only two endpoints that tell secrets, which are
 * logged.
 */
#include "keys_api.h"

#include <stdlib.h>

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define COUNT_DEFAULT 50
#define COUNT_MAX     1000
#define MS_MAX        APR_INT64_C(9000000000000)

/* In the order of GB_KEYS_*. */
static const char *const states[] = {"active", "cooling", "half-open", "failed", "invalid", "off"};

static const struct {
    const char *name;
    gb_keys_order_t order;
} orders[] = {
    {"worst",    GB_KEYS_BY_WORST   },
    {"added",    GB_KEYS_BY_ADDED   },
    {"used",     GB_KEYS_BY_USED    },
    {"failures", GB_KEYS_BY_FAILURES},
    {"calls",    GB_KEYS_BY_CALLS   },
    {"tokens",   GB_KEYS_BY_TOKENS  },
    {"quotas",   GB_KEYS_BY_QUOTAS  },
    {"until",    GB_KEYS_BY_UNTIL   },
    {"error",    GB_KEYS_BY_ERROR   },
    {"project",  GB_KEYS_BY_PROJECT },
    {"id",       GB_KEYS_BY_ID      },
};

static const char *const cools[] = {"",          "minute", "day",    "unavailable",  "month",
                                    "ambiguous", "region", "access", "learnt limit", "trial"};

/* ---- what is asked for ---- */

/* 0: it was refused. */
static int take_states(keys_ask_t *ask, int *mask, int *rc)
{
    const char *text = keys_arg(ask, "state");
    char *word, *last = NULL;
    size_t i;

    if (!text) {
        return 1;
    }
    for (word = apr_strtok(apr_pstrdup(ask->r->pool, text), ", ", &last); word;
         word = apr_strtok(NULL, ", ", &last)) {
        for (i = 0; i < 6 && strcmp(states[i], word) != 0; i++) {
        }
        if (i == 6) {
            *rc = keys_refuse(ask, HTTP_BAD_REQUEST, "state",
                              "state may be active, cooling, half-open, failed, invalid and off, "
                              "separated by commas.");
            return 0;
        }
        *mask |= 1 << i;
    }
    return 1;
}

static int take_number(keys_ask_t *ask, const char *name, int min, int max, int *n, int *rc)
{
    const char *text = keys_arg(ask, name);
    char *end;
    long value;

    if (!text) {
        return 1;
    }
    value = strtol(text, &end, 10);
    if (!*text || *end || value < min || value > max) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, name, "%s must be a number from %d to %d.", name,
                          min, max);
        return 0;
    }
    *n = (int)value;
    return 1;
}

static int take_order(keys_ask_t *ask, gb_keys_query_t *query, int *rc)
{
    const char *text = keys_arg(ask, "order");
    size_t i;

    for (i = 0; text && i < sizeof(orders) / sizeof(orders[0]); i++) {
        if (strcmp(orders[i].name, text) == 0) {
            query->order = orders[i].order;
            return 1;
        }
    }
    if (text) {
        *rc = keys_refuse(
            ask, HTTP_BAD_REQUEST, "order",
            "order must be one of worst, added, used, failures, calls, tokens, quotas, "
            "until, error, project, id.");
    }
    return !text;
}

/* Milliseconds since 1970. */
static int take_time(keys_ask_t *ask, const char *name, apr_time_t *at, int *rc)
{
    const char *text = keys_arg(ask, name);
    char *end;
    apr_int64_t ms;

    if (!text) {
        return 1;
    }
    ms = apr_strtoi64(text, &end, 10);
    if (!*text || *end || ms < 0 || ms > MS_MAX) {
        *rc = keys_refuse(ask, HTTP_BAD_REQUEST, name, "%s must be milliseconds since 1970.", name);
        return 0;
    }
    *at = ms * 1000;
    return 1;
}

static int take_query(keys_ask_t *ask, gb_keys_query_t *query, int *rc)
{
    memset(query, 0, sizeof(*query));
    query->pool = ask->pool;
    query->count = COUNT_DEFAULT;
    query->model = keys_arg(ask, "model");
    query->tag = keys_arg(ask, "tag");
    query->search = keys_arg(ask, "search");
    query->reason = keys_arg(ask, "reason");
    query->project = keys_arg(ask, "project");
    query->form = keys_arg(ask, "form");
    return take_states(ask, &query->states, rc) && take_order(ask, query, rc)
           && take_time(ask, "used_since", &query->used_since, rc)
           && take_time(ask, "added_since", &query->added_since, rc)
           && take_number(ask, "descending", 0, 1, &query->descending, rc)
           && take_number(ask, "from", 0, GB_POOL_MAX_KEYS, &query->from, rc)
           && take_number(ask, "count", 1, COUNT_MAX, &query->count, rc);
}

/* ---- rows ---- */

static void put_text(gb_buf_t *out, const char *name, const char *text)
{
    gb_buf_printf(out, ",\"%s\":", name);
    gb_json_put_cstr(out, text);
}

static void put_flag(gb_buf_t *out, const char *name, int flag)
{
    gb_buf_printf(out, ",\"%s\":%s", name, flag ? "true" : "false");
}

static void put_count(gb_buf_t *out, const char *name, apr_uint64_t n)
{
    gb_buf_printf(out, ",\"%s\":%" APR_UINT64_T_FMT, name, n);
}

/* Milliseconds since 1970; null for never. */
static void put_time(gb_buf_t *out, const char *name, apr_time_t at)
{
    if (at) {
        gb_buf_printf(out, ",\"%s\":%" APR_TIME_T_FMT, name, apr_time_as_msec(at));
    }
    else {
        gb_buf_printf(out, ",\"%s\":null", name);
    }
}

static void put_tags(gb_buf_t *out, const char *tags)
{
    gb_buf_puts(out, ",\"tags\":");
    gb_json_put_split(out, tags, ',');
}

static void put_counts(gb_buf_t *out, const gb_pool_key_t *key)
{
    put_count(out, "calls", key->picks);
    put_count(out, "successes", key->successes);
    put_count(out, "quotas", key->quotas);
    put_count(out, "faults", key->faults);
    put_count(out, "deaths", key->deaths);
    put_count(out, "prompt_tokens", key->prompt_tokens);
    put_count(out, "total_tokens", key->total_tokens);
    put_count(out, "day_calls", key->day_calls);
    put_count(out, "day_tokens", key->day_tokens);
}

const char *keys_state_name(int state)
{
    int i = 0;

    while (i < 5 && state != 1 << i) {
        i++;
    }
    return states[i];
}

/* Without its closing brace. */
static void put_row(gb_buf_t *out, const gb_keys_row_t *row)
{
    const gb_pool_key_t *key = &row->key;

    gb_buf_puts(out, "{\"id\":");
    gb_json_put_cstr(out, key->id);
    gb_buf_printf(out, ",\"number\":%d", row->number);
    put_text(out, "key", row->masked);
    put_text(out, "state", keys_state_name(row->state));
    put_text(out, "reason", key->row);
    put_text(out, "text", key->text);
    put_time(out, "text_at", key->text_at);
    put_time(out, "state_since", key->state_since);
    put_time(out, "until", row->until);
    put_time(out, "retry_at", key->retry_at);
    put_time(out, "next_check", key->next_check);
    put_text(out, "project", key->project);
    put_tags(out, key->tags);
    put_text(out, "note", key->note);
    gb_buf_printf(out, ",\"weight\":%d,\"failures\":%d,\"in_flight\":%d,\"cooling\":%d",
                  key->weight, key->failures, key->in_flight, key->resting);
    put_flag(out, "enabled", key->enabled);
    put_flag(out, "reserved", key->reserved);
    put_text(out, "source", key->source == GB_KEY_SOURCE_CONF ? "configuration" : "added");
    put_time(out, "added", key->added);
    put_time(out, "last_used", key->last_used);
    put_counts(out, key);
}

static void put_rows(keys_ask_t *ask, const gb_keys_page_t *page)
{
    int i;

    gb_buf_puts(&ask->out, "\"keys\":[");
    for (i = 0; i < page->n; i++) {
        gb_buf_puts(&ask->out, i ? "," : "");
        put_row(&ask->out, &page->rows[i]);
        gb_buf_putc(&ask->out, '}');
    }
    gb_buf_puts(&ask->out, "]");
}

/* ---- lists ---- */

static void put_page(keys_ask_t *ask, const gb_keys_page_t *page, const gb_keys_query_t *query)
{
    gb_buf_t *out = &ask->out;
    int i;

    gb_buf_puts(out, "{\"pool\":");
    gb_json_put_cstr(out, ask->pool);
    gb_buf_printf(out, ",\"total\":%d,\"matched\":%d,\"from\":%d,\"states\":{", page->total,
                  page->matched, query->from);
    for (i = 0; i < 6; i++) {
        gb_buf_printf(out, "%s\"%s\":%d", i ? "," : "", states[i], page->by_state[i]);
    }
    gb_buf_puts(out, "},");
    put_rows(ask, page);
    gb_buf_putc(out, '}');
}

static int list(keys_ask_t *ask, int everything)
{
    gb_keys_query_t query;
    gb_keys_page_t page;
    apr_status_t rv;
    int rc = OK;

    if (!take_query(ask, &query, &rc)) {
        return rc;
    }
    if (everything) {
        query.from = 0;
        query.count = GB_POOL_MAX_KEYS;
        query.order = keys_arg(ask, "order") ? query.order : GB_KEYS_BY_ADDED;
    }
    rv = gbalance_keys_list(&page, &query, ask->r->pool);
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    put_page(ask, &page, &query);
    return keys_answer(ask);
}

int keys_api_list(keys_ask_t *ask)
{
    if (keys_arg(ask, "page") || keys_arg(ask, "limit")) {
        return keys_api_paged(ask); /* gemini-balance's way to ask */
    }
    return list(ask, 0);
}

/* For who has chosen by filters what is to be done piece by piece. */
int keys_api_ids(keys_ask_t *ask)
{
    const char *const *ids;
    gb_keys_query_t query;
    apr_status_t rv;
    int n, i, rc = OK;

    if (!take_query(ask, &query, &rc)) {
        return rc;
    }
    rv = gbalance_keys_ids(&ids, &n, &query, ask->r->pool);
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    gb_buf_puts(&ask->out, "{\"ids\":[");
    for (i = 0; i < n; i++) {
        gb_buf_puts(&ask->out, i ? "," : "");
        gb_json_put_cstr(&ask->out, ids[i]);
    }
    gb_buf_puts(&ask->out, "]}");
    return keys_answer(ask);
}

/* Everything but the secrets. */
int keys_api_export(keys_ask_t *ask)
{
    apr_table_setn(ask->r->headers_out, "Content-Disposition",
                   "attachment; filename=\"gbalance-keys.json\"");
    return list(ask, 1);
}

/* ---- one key ---- */

static void put_limits(gb_buf_t *out, const char *name, const apr_int64_t n[GB_LIMIT_N])
{
    gb_buf_printf(out,
                  ",\"%s\":{\"rpm\":%" APR_INT64_T_FMT ",\"tpm\":%" APR_INT64_T_FMT
                  ",\"rpd\":%" APR_INT64_T_FMT "}",
                  name, n[GB_LIMIT_RPM], n[GB_LIMIT_TPM], n[GB_LIMIT_RPD]);
}

static void put_cell(gb_buf_t *out, const gb_pool_cell_t *cell)
{
    gb_buf_puts(out, "{\"model\":");
    gb_json_put_cstr(out, cell->model);
    put_text(out, "reason", cell->until ? cools[cell->reason] : "");
    put_time(out, "until", cell->until);
    put_flag(out, "half_open", cell->half_open);
    put_limits(out, "limits", cell->limits);
    put_limits(out, "used", cell->used);
    put_count(out, "successes", cell->successes);
    put_count(out, "quotas", cell->quotas);
    gb_buf_putc(out, '}');
}

int keys_api_get(keys_ask_t *ask)
{
    gb_pool_cell_t *cells;
    gb_keys_row_t row;
    apr_status_t rv;
    int n, i;

    rv = ask->named ? gbalance_keys_get(&row, &cells, &n, ask->pool, ask->named, ask->r->pool)
                    : APR_NOTFOUND;
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    put_row(&ask->out, &row);
    gb_buf_puts(&ask->out, ",\"models\":[");
    for (i = 0; i < n; i++) {
        gb_buf_puts(&ask->out, i ? "," : "");
        put_cell(&ask->out, &cells[i]);
    }
    gb_buf_puts(&ask->out, "]}");
    return keys_answer(ask);
}

/* ---- secrets ---- */

/* The ids of all keys of the pool. */
static apr_status_t all_ids(keys_ask_t *ask, const char *const **ids, int *n)
{
    apr_array_header_t *rows = keys_named(ask->pool, NULL, GB_KEYS_ALL, ask->r->pool);
    const char **texts = apr_palloc(ask->r->pool, sizeof(*texts) * (apr_size_t)(rows->nelts + 1));

    for (*n = 0; *n < rows->nelts; (*n)++) {
        texts[*n] = APR_ARRAY_IDX(rows, *n, gb_pool_key_t).id;
    }
    *ids = texts;
    return *n ? APR_SUCCESS : APR_NOTFOUND;
}

typedef void put_secret_fn(gb_buf_t *out, int nth, const char *id, const char *secret);

/* Writes each and says in the log who got them. */
static int reveal(keys_ask_t *ask, put_secret_fn *put, apr_status_t *rv)
{
    const char *const *ids;
    const char *secret;
    int n, i, told = 0, rc = OK;

    *rv = APR_EINVAL;
    if (!keys_chosen(ask, "ids", &ids, &n, &rc)) {
        return rc;
    }
    *rv = n == GB_KEYS_ALL ? all_ids(ask, &ids, &n) : APR_SUCCESS;
    for (i = 0; *rv == APR_SUCCESS && i < n; i++) {
        *rv = gbalance_keys_reveal(&secret, ask->pool, ids[i], ask->r->pool);
        if (*rv == APR_SUCCESS) {
            put(&ask->out, told++, ids[i], secret);
        }
    }
    if (*rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, *rv);
    }
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, ask->r,
                  GBLOGNO(1080) "%d key(s) of the pool %s were revealed to %s", told, ask->pool,
                  ask->admin.who);
    return OK;
}

static void put_member(gb_buf_t *out, int nth, const char *id, const char *secret)
{
    gb_buf_puts(out, nth ? ",{\"id\":" : "{\"id\":");
    gb_json_put_cstr(out, id);
    put_text(out, "key", secret);
    gb_buf_putc(out, '}');
}

int keys_api_reveal(keys_ask_t *ask)
{
    apr_status_t rv;
    int rc;

    gb_buf_puts(&ask->out, "{\"keys\":[");
    rc = reveal(ask, put_member, &rv);
    gb_buf_puts(&ask->out, "]}");
    return rv == APR_SUCCESS ? keys_answer(ask) : rc;
}

static void put_line(gb_buf_t *out, int nth, const char *id, const char *secret)
{
    (void)nth;
    (void)id;
    gb_buf_puts(out, secret);
    gb_buf_putc(out, '\n');
}

/* Secrets, one a line: what POST /api/keys takes. */
int keys_api_export_clear(keys_ask_t *ask)
{
    request_rec *r = ask->r;
    apr_status_t rv;
    int rc = reveal(ask, put_line, &rv);

    if (rv != APR_SUCCESS) {
        return rc;
    }
    ap_set_content_type(r, "text/plain; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "Content-Disposition",
                   "attachment; filename=\"gbalance-keys.txt\"");
    ap_set_content_length(r, (apr_off_t)ask->out.len);
    ap_rwrite(ask->out.data, (int)ask->out.len, r);
    return OK;
}
