/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemini-balance's endpoints for keys, at its paths and in its forms, for tools
 * that were written for it.  They stand below the surfaces' Locations and are
 * taken before a surface sees them.  A key is named by its id where gemini-balance
 * shows its text.
 */
#include "keys_api.h"

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define AT_A_TIME 5

/* ---- sets of keys ---- */

#define VALID   (GB_KEYS_ACTIVE | GB_KEYS_COOLING | GB_KEYS_TRIAL)
#define INVALID (GB_KEYS_FAILED | GB_KEYS_INVALID | GB_KEYS_OFF)

static apr_status_t list(gb_keys_page_t *page, keys_ask_t *ask, int states)
{
    gb_keys_query_t query;

    memset(&query, 0, sizeof(query));
    query.pool = ask->pool;
    query.states = states;
    query.order = GB_KEYS_BY_ADDED;
    query.count = GB_POOL_MAX_KEYS;
    return gbalance_keys_list(page, &query, ask->r->pool);
}

static void put_set(gb_buf_t *out, const gb_keys_page_t *page, int states)
{
    int i, n = 0;

    for (i = 0; i < page->n; i++) {
        if (page->rows[i].state & states) {
            gb_buf_puts(out, n++ ? "," : "");
            gb_json_put_cstr(out, page->rows[i].key.id);
            gb_buf_printf(out, ":%d", page->rows[i].key.failures);
        }
    }
}

static int keys_list(keys_ask_t *ask)
{
    gb_keys_page_t page;
    apr_status_t rv = list(&page, ask, 0);

    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    gb_buf_puts(&ask->out, "{\"status\":\"success\",\"data\":{\"valid_keys\":{");
    put_set(&ask->out, &page, VALID);
    gb_buf_puts(&ask->out, "},\"invalid_keys\":{");
    put_set(&ask->out, &page, INVALID);
    gb_buf_printf(&ask->out, "}},\"total\":%d}", page.n);
    return keys_answer(ask);
}

static void put_ids(gb_buf_t *out, const gb_keys_page_t *page, int states)
{
    int i, n = 0;

    for (i = 0; i < page->n; i++) {
        if (page->rows[i].state & states) {
            gb_buf_puts(out, n++ ? "," : "");
            gb_json_put_cstr(out, page->rows[i].key.id);
        }
    }
}

int keys_api_all(keys_ask_t *ask)
{
    gb_keys_page_t page;
    apr_status_t rv = list(&page, ask, 0);

    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    gb_buf_puts(&ask->out, "{\"valid_keys\":[");
    put_ids(&ask->out, &page, VALID);
    gb_buf_puts(&ask->out, "],\"invalid_keys\":[");
    put_ids(&ask->out, &page, INVALID);
    gb_buf_printf(&ask->out, "],\"total_count\":%d}", page.n);
    return keys_answer(ask);
}

/* A number of the query within bounds. */
static int number(keys_ask_t *ask, const char *name, int otherwise, int max)
{
    const char *text = keys_arg(ask, name);
    int n = text ? atoi(text) : otherwise;

    return n < 0 ? 0 : n > max ? max : n;
}

static int states_of(const char *status)
{
    return !status                          ? 0
           : strcmp(status, "valid") == 0   ? VALID
           : strcmp(status, "invalid") == 0 ? INVALID
                                            : 0;
}

/* ?page=, limit=, search=, fail_count_threshold=, status= */
int keys_api_paged(keys_ask_t *ask)
{
    int limit = number(ask, "limit", 10, 1000), at = number(ask, "page", 1, GB_POOL_MAX_KEYS);
    int least = number(ask, "fail_count_threshold", 0, 1000000), i, n = 0, shown = 0;
    gb_keys_query_t query;
    gb_keys_page_t page;
    apr_status_t rv;

    limit = limit ? limit : 10;
    at = at ? at : 1;
    memset(&query, 0, sizeof(query));
    query.pool = ask->pool;
    query.states = states_of(keys_arg(ask, "status"));
    query.search = keys_arg(ask, "search");
    query.order = GB_KEYS_BY_ADDED;
    query.count = GB_POOL_MAX_KEYS;
    rv = gbalance_keys_list(&page, &query, ask->r->pool);
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    gb_buf_puts(&ask->out, "{\"keys\":{");
    for (i = 0; i < page.n; i++) {
        if (page.rows[i].key.failures >= least && n++ >= (at - 1) * limit && shown < limit) {
            gb_buf_puts(&ask->out, shown++ ? "," : "");
            gb_json_put_cstr(&ask->out, page.rows[i].key.id);
            gb_buf_printf(&ask->out, ":%d", page.rows[i].key.failures);
        }
    }
    gb_buf_printf(&ask->out, "},\"total_items\":%d,\"total_pages\":%d,\"current_page\":%d}", n,
                  (n + limit - 1) / limit, at);
    return keys_answer(ask);
}

/* ---- failure counts ---- */

static int say_reset(keys_ask_t *ask, int n)
{
    gb_buf_printf(&ask->out,
                  "{\"success\":true,\"message\":\"The failure counts of %d key(s) were "
                  "reset.\",\"reset_count\":%d}",
                  n, n);
    return keys_answer(ask);
}

static int reset(keys_ask_t *ask, const char *const *ids, int n)
{
    int done = 0;
    apr_status_t rv = n ? gbalance_keys_do(&done, ask->pool, GB_KEYS_RESET, ids, n, NULL,
                                           ask->r->pool)
                        : APR_SUCCESS;

    return rv == APR_SUCCESS ? say_reset(ask, done) : keys_refuse_rv(ask, rv);
}

static int reset_one(keys_ask_t *ask)
{
    return reset(ask, &ask->named, 1);
}

/* key_type: all, valid or invalid. */
static int reset_all(keys_ask_t *ask)
{
    const char *type = keys_arg(ask, "key_type");
    int states = !type || strcmp(type, "all") == 0 ? VALID | INVALID
                 : strcmp(type, "valid") == 0      ? VALID
                 : strcmp(type, "invalid") == 0    ? INVALID
                                                   : 0;
    gb_keys_page_t page;
    const char **ids;
    apr_status_t rv;
    int i;

    if (!states) {
        return keys_refuse(ask, HTTP_BAD_REQUEST, "key_type",
                           "key_type must be all, valid or invalid.");
    }
    rv = list(&page, ask, states);
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    ids = apr_palloc(ask->r->pool, sizeof(*ids) * (apr_size_t)(page.n + 1));
    for (i = 0; i < page.n; i++) {
        ids[i] = page.rows[i].key.id;
    }
    return reset(ask, ids, page.n);
}

static int reset_selected(keys_ask_t *ask)
{
    const char *const *ids;
    int n, rc = OK;

    return keys_chosen(ask, "keys", &ids, &n, &rc) ? reset(ask, ids, n) : rc;
}

/* ---- verifying ---- */

static int verify_one(keys_ask_t *ask)
{
    apr_array_header_t *verdicts;
    const gb_keys_verdict_t *verdict;
    apr_status_t rv = gbalance_keys_verify_wait(&verdicts, ask->r, ask->pool, &ask->named, 1,
                                                AT_A_TIME);

    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    verdict = verdicts->nelts ? &APR_ARRAY_IDX(verdicts, 0, gb_keys_verdict_t) : NULL;
    if (verdict && verdict->works) {
        gb_buf_puts(&ask->out, "{\"status\":\"valid\"}");
    }
    else {
        gb_buf_puts(&ask->out, "{\"status\":\"invalid\",\"error\":");
        gb_json_put_cstr(&ask->out, verdict ? verdict->text : "The check was broken off.");
        gb_buf_putc(&ask->out, '}');
    }
    return keys_answer(ask);
}

/* "id", or "id":"why", of those that work or do not. */
static int put_verdicts(gb_buf_t *out, const apr_array_header_t *verdicts, int works)
{
    int i, n = 0;

    for (i = 0; i < verdicts->nelts; i++) {
        const gb_keys_verdict_t *verdict = &APR_ARRAY_IDX(verdicts, i, gb_keys_verdict_t);

        if (verdict->works == works) {
            gb_buf_puts(out, n++ ? "," : "");
            gb_json_put_cstr(out, verdict->id);
            if (!works) {
                gb_buf_putc(out, ':');
                gb_json_put_cstr(out, verdict->text);
            }
        }
    }
    return n;
}

static int verify_selected(keys_ask_t *ask)
{
    apr_array_header_t *verdicts;
    const char *const *ids;
    int n, valid, invalid, rc = OK;
    apr_status_t rv;

    if (!keys_chosen(ask, "keys", &ids, &n, &rc)) {
        return rc;
    }
    rv = gbalance_keys_verify_wait(&verdicts, ask->r, ask->pool, ids, n, AT_A_TIME);
    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    gb_buf_puts(&ask->out, "{\"success\":true,\"successful_keys\":[");
    valid = put_verdicts(&ask->out, verdicts, 1);
    gb_buf_puts(&ask->out, "],\"failed_keys\":{");
    invalid = put_verdicts(&ask->out, verdicts, 0);
    gb_buf_printf(&ask->out,
                  "},\"valid_count\":%d,\"invalid_count\":%d,\"message\":\"%d key(s) work, %d do "
                  "not.\"}",
                  valid, invalid, valid, invalid);
    return keys_answer(ask);
}

/* ---- which ---- */

static const struct route_t {
    const char *handler, *path; /* a path that ends in a slash has a key behind it */
    int method;
    const char *allow;
    int (*fn)(keys_ask_t *ask);
} routes[] = {
    {"gbalance-openai", "/keys/list",                  M_GET,  "GET, HEAD", keys_list      },
    {"gbalance-gemini", "/verify-key/",                M_POST, "POST",      verify_one     },
    {"gbalance-gemini", "/reset-fail-count/",          M_POST, "POST",      reset_one      },
    {"gbalance-gemini", "/reset-all-fail-counts",      M_POST, "POST",      reset_all      },
    {"gbalance-gemini", "/reset-selected-fail-counts", M_POST, "POST",      reset_selected },
    {"gbalance-gemini", "/verify-selected-keys",       M_POST, "POST",      verify_selected},
};

static const struct route_t *find_route(const request_rec *r, const char *path)
{
    size_t i, len;

    for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        len = strlen(routes[i].path);
        if (strcmp(r->handler, routes[i].handler) == 0
            && (routes[i].path[len - 1] == '/'
                    ? strncmp(path, routes[i].path, len) == 0 && path[len]
                    : strcmp(path, routes[i].path) == 0)) {
            return &routes[i];
        }
    }
    return NULL;
}

int keys_compat_handler(request_rec *r)
{
    APR_OPTIONAL_FN_TYPE(gbalance_path) * path_of;
    const struct route_t *route;
    const char *path;
    keys_ask_t ask;
    int rc = OK;

    if (!r->handler || strncmp(r->handler, "gbalance-", 9) != 0) {
        return DECLINED;
    }
    path_of = APR_RETRIEVE_OPTIONAL_FN(gbalance_path);
    path = path_of ? path_of(r) : NULL;
    route = path ? find_route(r, path) : NULL;
    if (!route) {
        return DECLINED;
    }
    if (keys_ask_begin(&ask, r, &rc) != OK) {
        return rc;
    }
    if (r->method_number != route->method) {
        return keys_refuse_method(&ask, route->allow);
    }
    return keys_ask_body(&ask, &rc) ? route->fn(&ask) : rc;
}
