/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of keys for who has no scripts: adding what was pasted, after a look at
 * what was found; and what is done to the keys that were chosen in the list, with
 * a result for each.  Scripts do the same through /api/keys.
 */
#include "admin_keys.h"

#include "http_protocol.h"
#include "apr_lib.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define RESULTS_MAX 500 /* lines of a result; the counts are of all */
#define VERIFY_MAX  500 /* a worker waits for them; the words below say so */
#define AT_A_TIME   10

/* ---- what was found in a text ---- */

static const struct {
    const char *pill, *icon, *words;
} verdicts[] = {
    [GB_KEYS_ADDED] = {"ok",   "plus",  ADMIN_WORD("New")    },
    [GB_KEYS_KNOWN] = {"off",  "check", ADMIN_WORD("Known")  },
    [GB_KEYS_TWICE] = {"off",  "copy",  ADMIN_WORD("Doubled")},
    [GB_KEYS_REFUSED] = {"cool", "warn",  ADMIN_WORD("Odd")    },
};

static const char *const whys[] = {
    [GB_KEYS_WHY_NONE] = "",
    [GB_KEYS_WHY_RETIRING] = ADMIN_WORD("old format, Google retires it"),
    [GB_KEYS_WHY_URL] = ADMIN_WORD("taken out of a URL"),
    [GB_KEYS_WHY_OPAQUE] = ADMIN_WORD("no format of Google's, taken as it is"),
    [GB_KEYS_WHY_KNOWN] = ADMIN_WORD("is in the pool"),
    [GB_KEYS_WHY_SAME] = "",
    [GB_KEYS_WHY_CUT] = ADMIN_WORD("of the wrong length, was it cut off?"),
    [GB_KEYS_WHY_FOREIGN] = ADMIN_WORD("not a Google key, left out"),
    [GB_KEYS_WHY_BYTES] = ADMIN_WORD("has characters that no key has"),
};

static json_t *found_row(const gb_keys_found_t *found, apr_pool_t *p)
{
    json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "line", found->line, "masked",
                             admin_key_masked(found->masked, p), "pill", verdicts[found->what].pill,
                             "icon", verdicts[found->what].icon, "words",
                             verdicts[found->what].words, "why", whys[found->why]);

    if (found->why == GB_KEYS_WHY_SAME) {
        json_object_set_new(json, "same", json_pack("{s:i}", "line", found->same));
    }
    if (found->why == GB_KEYS_WHY_KNOWN) {
        json_object_set_new(json, "known_state", json_string(admin_key_state(found->state)->words));
        json_object_set_new(json, "known_id", json_string(found->id));
    }
    return json;
}

static void put_found(json_t *data, const apr_array_header_t *results, apr_pool_t *p)
{
    json_t *rows = json_array(), *counts = json_array();
    int n[4] = {0, 0, 0, 0}, i;

    for (i = 0; i < results->nelts; i++) {
        const gb_keys_found_t *found = &APR_ARRAY_IDX(results, i, gb_keys_found_t);

        n[found->what]++;
        json_array_append_new(rows, found_row(found, p));
    }
    for (i = 0; i < 4; i++) {
        json_array_append_new(counts,
                              json_pack("{s:s, s:s, s:s, s:i}", "pill", verdicts[i].pill, "icon",
                                        verdicts[i].icon, "words", verdicts[i].words, "n", n[i]));
    }
    json_object_set_new(data, "found",
                        json_pack("{s:i, s:i, s:o, s:o}", "n", results->nelts, "new",
                                  n[GB_KEYS_ADDED], "counts", counts, "rows", rows));
}

/* ---- tags ---- */

/* "free, eu" as the pool keeps them: "free,eu".  NULL: *why says what is wrong. */
static const char *tags_read(const char *text, const char **why, apr_pool_t *p)
{
    const char *all = "";
    char *last, *tag;

    for (tag = apr_strtok(apr_pstrdup(p, text), ",", &last); tag;
         tag = apr_strtok(NULL, ",", &last)) {
        apr_collapse_spaces(tag, tag);
        if (strlen(tag) >= GB_POOL_TAG_LEN) {
            *why = ADMIN_WORD("A tag has at most 23 bytes.");
            return NULL;
        }
        all = *tag ? apr_pstrcat(p, all, *all ? "," : "", tag, NULL) : all;
    }
    if (strlen(all) >= sizeof(((gb_pool_key_t *)0)->tags)) {
        *why = ADMIN_WORD("A key's tags have at most 127 bytes together.");
        return NULL;
    }
    return all;
}

/* ---- /keys/add ---- */

static const char *form_text(const admin_page_t *page, const char *name)
{
    const char *text = admin_form(page, name);

    return text ? text : "";
}

apr_status_t admin_keys_add_build(admin_page_t *page, json_t *data)
{
    if (!admin_keys()) {
        return admin_keys_missing(page);
    }
    json_object_set_new(data, "test_model", json_string(page->settings->test_model));
    json_object_set_new(data, "text", admin_key_text(form_text(page, "text")));
    json_object_set_new(data, "project", admin_key_text(form_text(page, "project")));
    json_object_set_new(data, "tags", admin_key_text(form_text(page, "tags")));
    json_object_set_new(data, "pattern", admin_key_text(form_text(page, "pattern")));
    return APR_SUCCESS;
}

static apr_status_t fault(json_t *data, const char *words)
{
    json_object_set_new(data, "fault", json_string(words));
    return APR_SUCCESS;
}

static apr_status_t add_preview(admin_page_t *page, json_t *data)
{
    const char *text = form_text(page, "text");
    apr_array_header_t *results;
    apr_status_t rv = admin_keys()->preview(&results, page->pool, text, strlen(text),
                                            form_text(page, "pattern"), page->r->pool);

    if (rv == APR_EINVAL) {
        return fault(data, ADMIN_WORD("The pattern is not a regular expression, or takes too "
                                      "many steps on this text."));
    }
    if (rv != APR_SUCCESS) {
        return admin_keys_no_pool(page);
    }
    put_found(data, results, page->r->pool);
    return APR_SUCCESS;
}

static void put_added(json_t *data, const apr_array_header_t *results)
{
    int n[4] = {0, 0, 0, 0}, i;

    for (i = 0; results && i < results->nelts; i++) {
        n[APR_ARRAY_IDX(results, i, gb_keys_result_t).what]++;
    }
    json_object_set_new(data, "added",
                        json_pack("{s:i, s:i, s:i}", "n", n[GB_KEYS_ADDED], "known",
                                  n[GB_KEYS_KNOWN] + n[GB_KEYS_TWICE], "refused",
                                  n[GB_KEYS_REFUSED]));
}

static apr_status_t add_all(admin_page_t *page, json_t *data)
{
    const char *text = form_text(page, "text"), *why = NULL;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    apr_array_header_t *results = NULL;
    apr_status_t rv;

    edit.project = form_text(page, "project");
    edit.tags = tags_read(form_text(page, "tags"), &why, page->r->pool);
    if (!edit.tags || strlen(edit.project) >= GB_POOL_LABEL_LEN) {
        return fault(data, why ? why : ADMIN_WORD("A project's name has at most 39 bytes."));
    }
    rv = admin_keys()->add(&results, page->pool, text, strlen(text), form_text(page, "pattern"),
                           &edit, page->r->pool);
    if (rv == APR_EINVAL) {
        return fault(data, ADMIN_WORD("The pattern is not a regular expression, or takes too "
                                      "many steps on this text."));
    }
    if (rv == APR_ENOSPC) {
        fault(data, ADMIN_WORD("GBalanceMaxKeys is reached: not all keys could be added."));
    }
    else if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, page->r,
                      GBLOGNO(4101) "secrets of added keys could not be written");
        fault(data, ADMIN_WORD("The keys serve, but their secrets could not be written: they will "
                               "be gone after a stop of httpd. See httpd's error log."));
    }
    put_added(data, results);
    return APR_SUCCESS;
}

apr_status_t admin_keys_add_do(admin_page_t *page, json_t *data)
{
    const char *step = form_text(page, "step");
    apr_status_t rv = admin_keys_add_build(page, data);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return strcmp(step, "add") == 0 ? add_all(page, data) : add_preview(page, data);
}

/* ---- /keys/do ---- */

typedef struct doing_t {
    admin_page_t *page;
    const struct verb_t *verb;
    const char *const *ids;
    int n, good, bad;
    gb_pool_edit_t edit;
    json_t *failures, *results;
} doing_t;

typedef apr_status_t do_fn(doing_t *doing);

static apr_status_t change_each(doing_t *doing);
static apr_status_t verify_each(doing_t *doing);

static const struct verb_t {
    const char *name, *done;
    do_fn *fn;
    gb_keys_verb_t verb;
} verbs[] = {
    {"verify",  ADMIN_WORD("{n} key verified | {n} keys verified"),     verify_each, GB_KEYS_EDIT  },
    {"reset",   ADMIN_WORD("{n} key reset | {n} keys reset"),           change_each, GB_KEYS_RESET },
    {"enable",  ADMIN_WORD("{n} key turned on | {n} keys turned on"),   change_each, GB_KEYS_ENABLE},
    {"disable", ADMIN_WORD("{n} key turned off | {n} keys turned off"), change_each,
     GB_KEYS_DISABLE                                                                               },
    {"edit",    ADMIN_WORD("{n} key changed | {n} keys changed"),       change_each, GB_KEYS_EDIT  },
    {"delete",  ADMIN_WORD("{n} key deleted | {n} keys deleted"),       change_each, GB_KEYS_DELETE},
};

static const struct verb_t *verb_find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

/* One line: the key as it is now, and what was said of it. */
static void tell(doing_t *doing, const char *id, int good, const char *text)
{
    json_t *all = good ? doing->results : doing->failures, *line;
    apr_pool_t *p = doing->page->r->pool;
    gb_pool_cell_t *cells;
    gb_keys_row_t row;
    int n;

    doing->good += good != 0;
    doing->bad += good == 0;
    if (json_array_size(all) >= RESULTS_MAX) {
        return;
    }
    line = admin_keys()->get(&row, &cells, &n, doing->page->pool, id, p) == APR_SUCCESS
               ? admin_key_row(&row, p)
               : json_pack("{s:s}", "gone", id);
    json_object_set_new(line, "said", admin_key_text(text));
    json_array_append_new(all, line);
}

static apr_status_t change_each(doing_t *doing)
{
    char text[120];
    int i, done;

    for (i = 0; i < doing->n; i++) {
        apr_status_t rv = admin_keys()->change(&done, doing->page->pool, doing->verb->verb,
                                               &doing->ids[i], 1, &doing->edit,
                                               doing->page->r->pool);

        tell(doing, doing->ids[i], rv == APR_SUCCESS,
             rv == APR_SUCCESS    ? ""
             : rv == APR_NOTFOUND ? ADMIN_WORD("The pool has no such key.")
                                  : apr_strerror(rv, text, sizeof(text)));
    }
    return APR_SUCCESS;
}

static apr_status_t verify_each(doing_t *doing)
{
    admin_page_t *page = doing->page;
    apr_array_header_t *told;
    apr_status_t rv;
    int i;

    if (doing->n > VERIFY_MAX) {
        return admin_fail(
            page, HTTP_BAD_REQUEST, "%s",
            ADMIN_WORD("Without scripts at most 500 keys can be verified at a time."));
    }
    rv = admin_keys()->verify_wait(&told, page->r, page->pool, doing->ids, doing->n, AT_A_TIME);
    if (rv != APR_SUCCESS) {
        return admin_fail(page, HTTP_SERVICE_UNAVAILABLE, "%s",
                          ADMIN_WORD("Too many verifications run, or none of the keys is there any "
                                     "more. Try again in a while."));
    }
    for (i = 0; i < told->nelts; i++) {
        const gb_keys_verdict_t *verdict = &APR_ARRAY_IDX(told, i, gb_keys_verdict_t);

        tell(doing, verdict->id, verdict->works, verdict->text);
    }
    return APR_SUCCESS;
}

/* ---- which keys ---- */

static int add_id(void *ids, const char *name, const char *value)
{
    (void)name;
    APR_ARRAY_PUSH((apr_array_header_t *)ids, const char *) = value;
    return 1;
}

/* Those that were ticked, or (all=1) those that match the address. */
static int choose(doing_t *doing)
{
    apr_array_header_t *ticked;
    gb_keys_query_t query;

    if (strcmp(form_text(doing->page, "all"), "1") == 0) {
        admin_keys_query(doing->page, &query);
        return admin_keys()->ids(&doing->ids, &doing->n, &query, doing->page->r->pool)
               == APR_SUCCESS;
    }
    ticked = apr_array_make(doing->page->r->pool, 16, sizeof(const char *));
    apr_table_do(add_id, ticked, doing->page->form, "id", NULL);
    doing->ids = (const char *const *)ticked->elts;
    doing->n = ticked->nelts;
    return 1;
}

/* What is asked before many keys go, or before a tag is named. */
static void ask_back(doing_t *doing, json_t *data)
{
    json_t *ids = json_array();
    int i;

    for (i = 0; strcmp(form_text(doing->page, "all"), "1") != 0 && i < doing->n; i++) {
        json_array_append_new(ids, json_string(doing->ids[i]));
    }
    json_object_set_new(
        data, "ask",
        json_pack("{s:s, s:i, s:o, s:b, s:b, s:s}", "verb", doing->verb->name, "n", doing->n, "ids",
                  ids, "delete", doing->verb->verb == GB_KEYS_DELETE, "edit",
                  doing->verb->fn == change_each && doing->verb->verb == GB_KEYS_EDIT, "args",
                  doing->page->r->args ? doing->page->r->args : ""));
}

static int take_tags(doing_t *doing, json_t *data)
{
    const char *given = admin_form(doing->page, "tags"), *how = form_text(doing->page, "how");
    const char *why = NULL, *tags = given ? tags_read(given, &why, doing->page->r->pool) : NULL;

    if (!tags) {
        if (why) {
            fault(data, why);
        }
        return 0;
    }
    if (strcmp(how, "replace") == 0) {
        doing->edit.tags = tags;
    }
    else if (strcmp(how, "remove") == 0) {
        doing->edit.tags_remove = tags;
    }
    else {
        doing->edit.tags_add = tags;
    }
    return 1;
}

/* Whether all is known that the verb needs. */
static int is_ready(doing_t *doing, json_t *data)
{
    const char *typed = admin_form(doing->page, "typed");

    if (doing->verb->fn == change_each && doing->verb->verb == GB_KEYS_EDIT) {
        return take_tags(doing, data);
    }
    if (doing->verb->verb != GB_KEYS_DELETE) {
        return 1;
    }
    if (typed && atoi(typed) != doing->n) {
        fault(data, ADMIN_WORD("That is not the number of keys."));
    }
    return typed && atoi(typed) == doing->n;
}

static json_t *done_of(const doing_t *doing)
{
    json_t *done = json_pack("{s:i, s:i, s:i, s:o}", "n", doing->good + doing->bad, "good",
                             doing->good, "bad", doing->bad, "results", doing->failures);

    json_object_set_new(done, "heading",
                        json_string(admin_words(doing->page, doing->verb->done, done)));
    return done;
}

apr_status_t admin_keys_do(admin_page_t *page, json_t *data)
{
    doing_t doing = {.page = page, .edit = GB_POOL_EDIT_NONE};
    apr_status_t rv;

    doing.verb = verb_find(form_text(page, "verb"));
    if (!admin_keys()) {
        return admin_keys_missing(page);
    }
    if (!doing.verb || !choose(&doing)) {
        return admin_fail(page, HTTP_BAD_REQUEST, "%s",
                          ADMIN_WORD("There is nothing of that name to do to keys."));
    }
    json_object_set_new(data, "back", json_string(admin_keys_href(page, "", NULL)));
    if (doing.n == 0) {
        return fault(data, ADMIN_WORD("No key was chosen."));
    }
    if (!is_ready(&doing, data)) {
        ask_back(&doing, data);
        return APR_SUCCESS;
    }
    doing.failures = json_array();
    doing.results = json_array();
    rv = doing.verb->fn(&doing);
    json_array_extend(doing.failures, doing.results);
    json_decref(doing.results);
    json_object_set_new(data, "done", done_of(&doing));
    return rv;
}
