/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of keys: filters, order and paging live in the address, so that every
 * view can be linked to and works without scripts.
 */
#include "admin_keys.h"

#include "apr_strings.h"
#include "http_protocol.h"

APLOG_USE_MODULE(gbalance_admin);

#define ROWS_DEFAULT 50
#define ROWS_MAX     500

/* ---- the address ---- */

/* Arguments of the list; label for its chip, NULL: none. */
static const struct arg_t {
    const char *name, *api, *label;
} args[] = {
    {"q",       "search",      ADMIN_WORD("Search")     },
    {"state",   "state",       ADMIN_WORD("State")      },
    {"model",   "model",       ADMIN_WORD("Model")      },
    {"tag",     "tag",         ADMIN_WORD("Tag")        },
    {"reason",  "reason",      ADMIN_WORD("Reason")     },
    {"project", "project",     ADMIN_WORD("Project")    },
    {"form",    "form",        ADMIN_WORD("Begins with")},
    {"used",    "used_since",  ADMIN_WORD("Used")       },
    {"added",   "added_since", ADMIN_WORD("Added")      },
    {"sort",    "order",       NULL                     },
    {"desc",    "descending",  NULL                     },
    {"rows",    NULL,          NULL                     },
    {"page",    NULL,          NULL                     },
    {"by",      NULL,          NULL                     },
    {"hpage",   NULL,          NULL                     },
    {"range",   NULL,          NULL                     },
    {"measure", NULL,          NULL                     },
};

#define N_ARGS (sizeof(args) / sizeof(args[0]))

static const char *given(const admin_page_t *page, const char *name)
{
    const char *value = admin_arg(page, name);

    return value && *value ? value : NULL;
}

static const char *pair(const char *so_far, const char *name, const char *value, apr_pool_t *p)
{
    return apr_pstrcat(p, so_far, *so_far ? "&" : "", name, "=", ap_escape_urlencoded(p, value),
                       NULL);
}

/* What turns a page of one of both tables, and nothing else. */
static int is_paging(const char *name)
{
    return strcmp(name, "page") == 0 || strcmp(name, "hpage") == 0;
}

/* The address with two arguments exchanged; other NULL: one. */
static const char *href_with(admin_page_t *page, const char *name, const char *value,
                             const char *other, const char *other_value)
{
    int turns = is_paging(name) || strcmp(name, "by") == 0;
    apr_pool_t *p = page->r->pool;
    const char *all = "", *kept;
    size_t i;

    for (i = 0; i < N_ARGS; i++) {
        kept = strcmp(args[i].name, name) == 0              ? value
               : other && strcmp(args[i].name, other) == 0  ? other_value
               : is_paging(args[i].name) && *name && !turns ? NULL
                                                            : given(page, args[i].name);
        if (kept) {
            all = pair(all, args[i].name, kept, p);
        }
    }
    return apr_pstrcat(p, "keys_status", *all ? "?" : "", all, NULL);
}

const char *admin_keys_href(admin_page_t *page, const char *name, const char *value)
{
    return href_with(page, name, value, NULL, NULL);
}

/* ---- what is asked for ---- */

static const struct {
    const char *name;
    int days;
    const char *words;
} spans[] = {
    {"1d",  1,  ADMIN_WORD("in 24 hours")},
    {"7d",  7,  ADMIN_WORD("in 7 days")  },
    {"30d", 30, ADMIN_WORD("in 30 days") },
};

#define N_SPANS (sizeof(spans) / sizeof(spans[0]))

static int span_find(const char *name)
{
    size_t i;

    for (i = 0; name && i < N_SPANS; i++) {
        if (strcmp(spans[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static apr_time_t since(const admin_page_t *page, const char *name)
{
    int span = span_find(given(page, name));

    return span < 0 ? 0 : page->how.now - apr_time_from_sec(86400 * (apr_int64_t)spans[span].days);
}

static int states_of(const char *text)
{
    int mask = 0, i;

    while (text && *text) {
        size_t len = strcspn(text, ",");

        for (i = 0; i < ADMIN_KEY_STATES; i++) {
            if (strlen(admin_key_states[i].name) == len
                && strncmp(admin_key_states[i].name, text, len) == 0) {
                mask |= admin_key_states[i].bit;
            }
        }
        text += len + (text[len] == ',');
    }
    return mask;
}

/* The columns that can be sorted by; falls: the first click shows the largest first. */
static const struct column_t {
    const char *sort, *words, *cls;
    gb_keys_order_t order;
    int falls;
} columns[] = {
    {"worst",    ADMIN_WORD("State"),         "",  GB_KEYS_BY_WORST,    0},
    {"id",       ADMIN_WORD("Key"),           "",  GB_KEYS_BY_ID,       0},
    {"project",  ADMIN_WORD("Project"),       "",  GB_KEYS_BY_PROJECT,  0},
    {"failures", ADMIN_WORD("Failures"),      "n", GB_KEYS_BY_FAILURES, 1},
    {"until",    ADMIN_WORD("Cooling until"), "",  GB_KEYS_BY_UNTIL,    1},
    {"tokens",   ADMIN_WORD("Tokens today"),  "n", GB_KEYS_BY_TOKENS,   1},
    {"quotas",   ADMIN_WORD("429 share"),     "",  GB_KEYS_BY_QUOTAS,   1},
    {"error",    ADMIN_WORD("Last error"),    "",  GB_KEYS_BY_ERROR,    1},
};

#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct column_t *column_of(const admin_page_t *page)
{
    const char *sort = given(page, "sort");
    size_t i;

    for (i = 0; sort && i < N_COLUMNS; i++) {
        if (strcmp(columns[i].sort, sort) == 0) {
            return &columns[i];
        }
    }
    return &columns[0];
}

static int rows_wanted(const admin_page_t *page)
{
    return admin_arg_int(page, "rows", ROWS_DEFAULT, 1, ROWS_MAX);
}

void admin_keys_query(admin_page_t *page, gb_keys_query_t *query)
{
    int n = rows_wanted(page);

    memset(query, 0, sizeof(*query));
    query->pool = page->pool;
    query->states = states_of(given(page, "state"));
    query->model = given(page, "model");
    query->tag = given(page, "tag");
    query->search = given(page, "q");
    query->reason = given(page, "reason");
    query->project = given(page, "project");
    query->form = given(page, "form");
    query->used_since = since(page, "used");
    query->added_since = since(page, "added");
    query->order = column_of(page)->order;
    query->descending = admin_arg_int(page, "desc", 0, 0, 1);
    query->count = n;
    query->from = (admin_arg_int(page, "page", 1, 1, GB_POOL_MAX_KEYS) - 1) * n;
}

const char *admin_keys_query_text(admin_page_t *page)
{
    apr_pool_t *p = page->r->pool;
    const char *all = "", *value;
    apr_time_t at;
    size_t i;

    for (i = 0; i < N_ARGS; i++) {
        value = args[i].api && strcmp(args[i].name, "sort") != 0 ? given(page, args[i].name) : NULL;
        at = value && strstr(args[i].api, "_since") ? since(page, args[i].name) : 0;
        if (value && (at || !strstr(args[i].api, "_since"))) {
            all = pair(all, args[i].api,
                       at ? apr_psprintf(p, "%" APR_TIME_T_FMT, apr_time_as_msec(at)) : value, p);
        }
    }
    return pair(all, "order", column_of(page)->sort, p);
}

/* ---- filters ---- */

static json_t *option(const char *value, const char *words, const char *chosen)
{
    return json_pack("{s:o, s:s, s:b}", "value", admin_key_text(value), "words", words, "selected",
                     chosen && strcmp(chosen, value) == 0);
}

static void put_states(admin_page_t *page, json_t *list)
{
    json_t *all = json_array();
    int i;

    for (i = 0; i < ADMIN_KEY_STATES; i++) {
        json_array_append_new(
            all, option(admin_key_states[i].name, admin_key_states[i].words, given(page, "state")));
    }
    json_object_set_new(list, "states", all);
}

/* What stands in the address can be chosen even when nothing has it any more. */
static void add_strange(json_t *all, const char *chosen)
{
    const json_t *one;
    size_t i;

    json_array_foreach(all, i, one)
    {
        if (json_is_true(json_object_get(one, "selected"))) {
            return;
        }
    }
    if (chosen) {
        json_array_append_new(all, option(chosen, chosen, chosen));
    }
}

static void put_known(admin_page_t *page, json_t *list, const gb_keys_survey_t *survey)
{
    json_t *models = json_array(), *tags = json_array(), *why = json_array();
    int i;

    for (i = 0; i < survey->models->nelts; i++) {
        const char *name = APR_ARRAY_IDX(survey->models, i, gb_keys_model_t).name;

        json_array_append_new(models, option(name, name, given(page, "model")));
    }
    for (i = 0; i < survey->tags->nelts; i++) {
        const char *tag = APR_ARRAY_IDX(survey->tags, i, const char *);

        json_array_append_new(tags, option(tag, tag, given(page, "tag")));
    }
    for (i = 0; i < survey->reasons->nelts; i++) {
        const char *row = APR_ARRAY_IDX(survey->reasons, i, gb_keys_reason_t).row;

        json_array_append_new(why, option(row, admin_key_reason(row), given(page, "reason")));
    }
    add_strange(models, given(page, "model"));
    add_strange(tags, given(page, "tag"));
    add_strange(why, given(page, "reason"));
    json_object_set_new(list, "models", models);
    json_object_set_new(list, "tags", tags);
    json_object_set_new(list, "reasons", why);
}

static void put_spans(admin_page_t *page, json_t *list)
{
    static const char *const names[] = {"used", "added"};
    size_t i, j;

    for (i = 0; i < 2; i++) {
        json_t *all = json_array();

        for (j = 0; j < N_SPANS; j++) {
            json_array_append_new(all,
                                  option(spans[j].name, spans[j].words, given(page, names[i])));
        }
        json_object_set_new(list, names[i], all);
    }
}

/* A chip's value: words of ours, or what somebody typed. */
static void chip_value(json_t *chip, const struct arg_t *arg, const char *value)
{
    int mask = strcmp(arg->name, "state") == 0 ? states_of(value) : 0, i;
    int span = strstr(arg->api, "_since") ? span_find(value) : -1;
    json_t *words = json_array();

    for (i = 0; i < ADMIN_KEY_STATES; i++) {
        if (mask & admin_key_states[i].bit) {
            json_array_append_new(words, json_string(admin_key_states[i].words));
        }
    }
    if (span >= 0) {
        json_array_append_new(words, json_string(spans[span].words));
    }
    if (strcmp(arg->name, "reason") == 0) {
        json_array_append_new(words, json_string(admin_key_reason(value)));
    }
    if (json_array_size(words) == 0) {
        json_object_set_new(chip, "value", admin_key_text(value));
    }
    json_object_set_new(chip, "value_words", words);
}

static int put_chips(admin_page_t *page, json_t *list)
{
    json_t *all = json_array();
    size_t i;

    for (i = 0; i < N_ARGS; i++) {
        const char *value = given(page, args[i].name);

        if (args[i].label && value) {
            json_t *chip = json_pack("{s:s, s:s}", "words", args[i].label, "href",
                                     admin_keys_href(page, args[i].name, NULL));

            chip_value(chip, &args[i], value);
            json_array_append_new(all, chip);
        }
    }
    json_object_set_new(list, "chips", all);
    return (int)json_array_size(all);
}

/* The order goes along when the form of filters is sent. */
static void put_hidden(admin_page_t *page, json_t *list)
{
    static const char *const names[] = {"sort", "desc"};
    json_t *all = json_array();
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (given(page, names[i])) {
            json_array_append_new(all, json_pack("{s:s, s:o}", "name", names[i], "value",
                                                 admin_key_text(given(page, names[i]))));
        }
    }
    json_object_set_new(list, "hidden", all);
}

/* ---- the table ---- */

static void put_columns(admin_page_t *page, json_t *list)
{
    const struct column_t *now = column_of(page);
    int falls = admin_arg_int(page, "desc", 0, 0, 1);
    json_t *all = json_array();
    size_t i;

    for (i = 0; i < N_COLUMNS; i++) {
        int is_now = &columns[i] == now, next = is_now ? !falls : columns[i].falls;

        json_array_append_new(
            all,
            json_pack("{s:s, s:s, s:s, s:s}", "words", columns[i].words, "cls", columns[i].cls,
                      "href", href_with(page, "sort", columns[i].sort, "desc", next ? "1" : NULL),
                      "aria",
                      !is_now ? ""
                      : falls ? "descending"
                              : "ascending"));
    }
    json_object_set_new(list, "columns", all);
}

static void put_paging(admin_page_t *page, json_t *list, const gb_keys_query_t *query, int matched)
{
    int number = query->from / query->count + 1, last = (matched + query->count - 1) / query->count;
    static const int sizes[] = {20, 50, 100, 500};
    apr_pool_t *p = page->r->pool;
    json_t *all = json_array();
    size_t i;

    last = last ? last : 1;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        json_array_append_new(
            all, json_pack("{s:i, s:b}", "value", sizes[i], "selected", sizes[i] == query->count));
    }
    json_object_set_new(list, "sizes", all);
    json_object_set_new(list, "page", json_integer(number));
    json_object_set_new(list, "pages", json_integer(last));
    if (number > 1) {
        json_object_set_new(list, "prev",
                            json_string(admin_keys_href(
                                page, "page", apr_itoa(p, number > last ? last : number - 1))));
    }
    if (number < last) {
        json_object_set_new(list, "next",
                            json_string(admin_keys_href(page, "page", apr_itoa(p, number + 1))));
    }
}

static void put_rows(admin_page_t *page, json_t *list, const gb_keys_page_t *found,
                     const gb_keys_query_t *query)
{
    json_t *rows = json_array();
    int i;

    for (i = 0; i < found->n; i++) {
        json_array_append_new(rows, admin_key_row(&found->rows[i], page->r->pool));
    }
    json_object_set_new(list, "rows", rows);
    json_object_set_new(list, "total", json_integer(found->total));
    json_object_set_new(list, "matched", json_integer(found->matched));
    json_object_set_new(list, "from", json_integer(found->n ? query->from + 1 : 0));
    json_object_set_new(list, "to", json_integer(query->from + found->n));
}

apr_status_t admin_keys_list(admin_page_t *page, json_t *data, const gb_keys_survey_t *survey)
{
    json_t *list = json_object();
    gb_keys_query_t query;
    gb_keys_page_t found;
    const char *here;
    apr_status_t rv;

    admin_keys_query(page, &query);
    rv = admin_keys()->list(&found, &query, page->r->pool);
    json_object_set_new(data, "list", list);
    if (rv != APR_SUCCESS) {
        return admin_keys_no_pool(page);
    }
    put_rows(page, list, &found, &query);
    put_columns(page, list);
    put_paging(page, list, &query, found.matched);
    put_states(page, list);
    put_known(page, list, survey);
    put_spans(page, list);
    put_hidden(page, list);
    json_object_set_new(list, "filtered", json_integer(put_chips(page, list)));
    json_object_set_new(list, "query", json_string(admin_keys_query_text(page)));
    here = strchr(admin_keys_href(page, "", NULL), '?');
    json_object_set_new(list, "here_args", json_string(here ? here + 1 : ""));
    return APR_SUCCESS;
}
