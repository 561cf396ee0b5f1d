/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/keys: adding, editing, switching, resetting and deleting.  A wrong field
 * is named before anything is changed.
 */
#include "keys_api.h"

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

/* ---- what a person may set ---- */

typedef struct form_t {
    keys_ask_t *ask;
    gb_pool_edit_t edit;
    int rc;
} form_t;

typedef int take_fn(form_t *form, const char *name, gb_span_t value);

static int wrong(form_t *form, const char *name, const char *wants)
{
    form->rc = keys_refuse(form->ask, HTTP_BAD_REQUEST, name, "%s must be %s.", name, wants);
    return 0;
}

static int take_text(form_t *form, const char *name, gb_span_t value, const char **to, size_t max)
{
    size_t len;
    const char *text = gb_json_str(value, &len, form->ask->r->pool);

    if (!text || len >= max || strlen(text) != len) {
        return wrong(form, name,
                     apr_psprintf(form->ask->r->pool, "a text of at most %d bytes", (int)max - 1));
    }
    *to = text;
    return 1;
}

static int take_project(form_t *form, const char *name, gb_span_t value)
{
    return take_text(form, name, value, &form->edit.project, GB_POOL_LABEL_LEN);
}

static int take_note(form_t *form, const char *name, gb_span_t value)
{
    return take_text(form, name, value, &form->edit.note, GB_POOL_NOTE_LEN);
}

/* NULL: it was refused. */
static const char *read_tags(form_t *form, const char *name, gb_span_t value)
{
    static const char wants[] = "an array of texts of 1 to 23 bytes without commas, at most 127 "
                                "bytes together";
    apr_pool_t *p = form->ask->r->pool;
    const char *all = "";
    gb_json_iter_t it;

    if (gb_json_kind(value) != GB_JSON_ARRAY) {
        wrong(form, name, wants);
        return NULL;
    }
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        size_t len;
        const char *tag = gb_json_str(it.value, &len, p);

        if (!tag || !len || len >= GB_POOL_TAG_LEN || strlen(tag) != len || strchr(tag, ',')) {
            wrong(form, name, wants);
            return NULL;
        }
        all = apr_pstrcat(p, all, *all ? "," : "", tag, NULL);
        if (strlen(all) >= sizeof(((gb_pool_key_t *)0)->tags)) {
            wrong(form, name, wants);
            return NULL;
        }
    }
    return all;
}

static int take_tags(form_t *form, const char *name, gb_span_t value)
{
    return (form->edit.tags = read_tags(form, name, value)) != NULL;
}

static int take_add_tags(form_t *form, const char *name, gb_span_t value)
{
    return (form->edit.tags_add = read_tags(form, name, value)) != NULL;
}

static int take_remove_tags(form_t *form, const char *name, gb_span_t value)
{
    return (form->edit.tags_remove = read_tags(form, name, value)) != NULL;
}

static int take_weight(form_t *form, const char *name, gb_span_t value)
{
    apr_int64_t n;

    if (!gb_json_int(value, &n) || n < 1 || n > GB_POOL_WEIGHT_MAX) {
        return wrong(form, name, "a number from 1 to 16");
    }
    form->edit.weight = (int)n;
    return 1;
}

static int take_enabled(form_t *form, const char *name, gb_span_t value)
{
    return gb_json_bool(value, &form->edit.enabled) || wrong(form, name, "true or false");
}

static const struct {
    const char *name;
    take_fn *take;
} fields[] = {
    {"project",     take_project    },
    {"tags",        take_tags       },
    {"add_tags",    take_add_tags   },
    {"remove_tags", take_remove_tags},
    {"note",        take_note       },
    {"weight",      take_weight     },
    {"enabled",     take_enabled    },
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* Every member of the body must be a field or one of `others`.  How many fields there were; -1: it
 * was refused. */
static int take_form(form_t *form, keys_ask_t *ask, const char *const *others)
{
    const gb_pool_edit_t none = GB_POOL_EDIT_NONE;
    gb_json_iter_t it;
    int taken = 0;
    size_t i;

    form->ask = ask;
    form->edit = none;
    if (!ask->body.p) {
        return 0;
    }
    for (gb_json_iter(&it, ask->body); gb_json_next(&it);) {
        const char *name = gb_json_str(it.key, NULL, ask->r->pool);
        const char *const *other = others;

        for (i = 0; i < N_FIELDS && strcmp(fields[i].name, name) != 0; i++) {
        }
        while (*other && strcmp(*other, name) != 0) {
            other++;
        }
        if (i == N_FIELDS && !*other) {
            form->rc = keys_refuse(ask, HTTP_BAD_REQUEST, name, "There is no field %s here.", name);
            return -1;
        }
        if (i < N_FIELDS && !fields[i].take(form, name, it.value)) {
            return -1;
        }
        taken += i < N_FIELDS;
    }
    return taken;
}

/* ---- adding ---- */

static const char *const added_names[] = {"added", "known", "twice", "refused"};

static void put_counts(keys_ask_t *ask, int found, const int counts[4])
{
    int i;

    gb_buf_printf(&ask->out, "],\"found\":%d", found);
    for (i = 0; i < 4; i++) {
        gb_buf_printf(&ask->out, ",\"%s\":%d", added_names[i], counts[i]);
    }
}

static void put_results(keys_ask_t *ask, const apr_array_header_t *results, const char *warning)
{
    int counts[4] = {0, 0, 0, 0}, i;

    gb_buf_puts(&ask->out, "{\"results\":[");
    for (i = 0; i < results->nelts; i++) {
        const gb_keys_result_t *result = &APR_ARRAY_IDX(results, i, gb_keys_result_t);

        counts[result->what]++;
        gb_buf_puts(&ask->out, i ? ",{\"id\":" : "{\"id\":");
        gb_json_put_cstr(&ask->out, result->id);
        gb_buf_puts(&ask->out, ",\"key\":");
        gb_json_put_cstr(&ask->out, result->masked);
        gb_buf_printf(&ask->out, ",\"result\":\"%s\"}", added_names[result->what]);
    }
    put_counts(ask, results->nelts, counts);
    gb_buf_puts(&ask->out, ",\"warning\":");
    gb_json_put_cstr(&ask->out, warning);
    gb_buf_putc(&ask->out, '}');
}

static const char *warning_of(keys_ask_t *ask, apr_status_t rv)
{
    if (rv == APR_SUCCESS) {
        return NULL;
    }
    if (rv == APR_ENOSPC) {
        return "GBalanceMaxKeys is reached: the keys that are refused were not added.";
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, ask->r,
                  GBLOGNO(1083) "secrets of added keys could not be written");
    return "The keys serve, but will be gone after a stop of httpd: their secrets could not be "
           "written. See httpd's error log.";
}

/* The text that keys are looked for in; 0: it was refused. */
static int take_paste(form_t *form, const char **text, apr_size_t *len, const char **pattern)
{
    keys_ask_t *ask = form->ask;
    gb_span_t given = gb_json_get(ask->body, "pattern");
    size_t n = ask->text_len;

    *pattern = NULL;
    *text = ask->text ? ask->text : gb_json_str(gb_json_get(ask->body, "text"), &n, ask->r->pool);
    *len = n;
    if (!*text) {
        return wrong(form, "text", "a text with keys in it (or send it as text/plain)");
    }
    return !given.p || take_text(form, "pattern", given, pattern, 1024);
}

static int refuse_add(keys_ask_t *ask, apr_status_t rv)
{
    return rv == APR_EINVAL ? keys_refuse(ask, HTTP_BAD_REQUEST, "pattern",
                                          "pattern is not a regular expression, or takes too many "
                                          "steps on this text.")
                            : keys_refuse_rv(ask, rv);
}

int keys_api_add(keys_ask_t *ask)
{
    static const char *const others[] = {"text", "pattern", NULL};
    apr_array_header_t *results = NULL;
    const char *text, *pattern;
    apr_size_t len;
    apr_status_t rv;
    form_t form;
    int n = take_form(&form, ask, others);

    if (n < 0 || !take_paste(&form, &text, &len, &pattern)) {
        return form.rc;
    }
    rv = gbalance_keys_add(&results, ask->pool, text, len, pattern, n ? &form.edit : NULL,
                           ask->r->pool);
    if (rv == APR_EINVAL || !results) {
        return refuse_add(ask, rv);
    }
    put_results(ask, results, warning_of(ask, rv));
    return keys_answer(ask);
}

/* In the order of gb_keys_why_t. */
static const char *const whys[] = {NULL,   "retiring", "url",     "opaque", "known",
                                   "same", "cut",      "foreign", "bytes"};

static void put_found(keys_ask_t *ask, const gb_keys_found_t *found)
{
    gb_buf_t *out = &ask->out;

    gb_buf_printf(out, "{\"line\":%d,\"key\":", found->line);
    gb_json_put_cstr(out, found->masked);
    gb_buf_puts(out, ",\"id\":");
    gb_json_put_cstr(out, *found->id ? found->id : NULL);
    gb_buf_printf(out, ",\"result\":\"%s\",\"why\":", added_names[found->what]);
    gb_json_put_cstr(out, whys[found->why]);
    if (found->why == GB_KEYS_WHY_SAME) {
        gb_buf_printf(out, ",\"same\":%d", found->same);
    }
    if (found->why == GB_KEYS_WHY_KNOWN) {
        gb_buf_printf(out, ",\"state\":\"%s\"", keys_state_name(found->state));
    }
    gb_buf_putc(out, '}');
}

/* What POST /api/keys would make of the same body; nothing is changed. */
int keys_api_preview(keys_ask_t *ask)
{
    static const char *const others[] = {"text", "pattern", NULL};
    int counts[4] = {0, 0, 0, 0}, i;
    apr_array_header_t *results = NULL;
    const char *text, *pattern;
    apr_size_t len;
    apr_status_t rv;
    form_t form;

    if (take_form(&form, ask, others) < 0 || !take_paste(&form, &text, &len, &pattern)) {
        return form.rc;
    }
    rv = gbalance_keys_preview(&results, ask->pool, text, len, pattern, ask->r->pool);
    if (rv != APR_SUCCESS) {
        return refuse_add(ask, rv);
    }
    gb_buf_puts(&ask->out, "{\"results\":[");
    for (i = 0; i < results->nelts; i++) {
        const gb_keys_found_t *found = &APR_ARRAY_IDX(results, i, gb_keys_found_t);

        counts[found->what]++;
        gb_buf_puts(&ask->out, i ? "," : "");
        put_found(ask, found);
    }
    put_counts(ask, results->nelts, counts);
    gb_buf_putc(&ask->out, '}');
    return keys_answer(ask);
}

/* ---- changing ---- */

/* Each for itself, so that one that cannot be changed is named. */
static int change_ids(keys_ask_t *ask, gb_keys_verb_t verb, const char *const *ids, int n,
                      const gb_pool_edit_t *edit)
{
    int done = 0, unknown = 0, failed = 0, one, i;
    gb_buf_t failures;
    apr_status_t rv, last = APR_NOTFOUND;

    gb_buf_init_pool(&failures, GB_BUF_MAX_ANSWER, ask->r->pool);
    for (i = 0; i < n; i++) {
        rv = gbalance_keys_do(&one, ask->pool, verb, &ids[i], 1, edit, ask->r->pool);
        done += rv == APR_SUCCESS;
        unknown += rv == APR_NOTFOUND;
        if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
            last = rv;
            gb_buf_puts(&failures, failed++ ? "," : ",\"failed\":[");
            gb_json_put_cstr(&failures, ids[i]);
        }
    }
    if (!done) {
        return keys_refuse_rv(ask, last);
    }
    gb_buf_printf(&ask->out, "{\"done\":%d,\"unknown\":%d", done, unknown);
    gb_buf_append(&ask->out, failures.data, failures.len);
    gb_buf_puts(&ask->out, failed ? "]}" : "}");
    return keys_answer(ask);
}

static int change_all(keys_ask_t *ask, gb_keys_verb_t verb, const gb_pool_edit_t *edit)
{
    int done;
    apr_status_t rv = gbalance_keys_do(&done, ask->pool, verb, NULL, GB_KEYS_ALL, edit,
                                       ask->r->pool);

    if (rv != APR_SUCCESS) {
        return keys_refuse_rv(ask, rv);
    }
    gb_buf_printf(&ask->out, "{\"done\":%d}", done);
    return keys_answer(ask);
}

static int change(keys_ask_t *ask, gb_keys_verb_t verb, const char *const *ids, int n,
                  const gb_pool_edit_t *edit)
{
    return n >= 0 ? change_ids(ask, verb, ids, n, edit) : change_all(ask, verb, edit);
}

static int change_chosen(keys_ask_t *ask, gb_keys_verb_t verb, const gb_pool_edit_t *edit)
{
    const char *const *ids;
    int n, rc = OK;

    return keys_chosen(ask, "ids", &ids, &n, &rc) ? change(ask, verb, ids, n, edit) : rc;
}

static int nothing_to_edit(keys_ask_t *ask)
{
    return keys_refuse(ask, HTTP_BAD_REQUEST, NULL,
                       "Send at least one of project, tags, add_tags, remove_tags, note, weight, "
                       "enabled.");
}

int keys_api_edit(keys_ask_t *ask)
{
    static const char *const others[] = {"ids", "all", NULL};
    form_t form;
    int n = take_form(&form, ask, others);

    return n < 0    ? form.rc
           : n == 0 ? nothing_to_edit(ask)
                    : change_chosen(ask, GB_KEYS_EDIT, &form.edit);
}

int keys_api_edit_one(keys_ask_t *ask)
{
    static const char *const others[] = {NULL};
    form_t form;
    int n = take_form(&form, ask, others);

    return n < 0    ? form.rc
           : n == 0 ? nothing_to_edit(ask)
                    : change(ask, GB_KEYS_EDIT, &ask->named, ask->named ? 1 : 0, &form.edit);
}

int keys_api_delete_one(keys_ask_t *ask)
{
    return change(ask, GB_KEYS_DELETE, &ask->named, ask->named ? 1 : 0, NULL);
}

int keys_api_enable(keys_ask_t *ask)
{
    return change_chosen(ask, GB_KEYS_ENABLE, NULL);
}

int keys_api_disable(keys_ask_t *ask)
{
    return change_chosen(ask, GB_KEYS_DISABLE, NULL);
}

int keys_api_reset(keys_ask_t *ask)
{
    return change_chosen(ask, GB_KEYS_RESET, NULL);
}

int keys_api_delete(keys_ask_t *ask)
{
    return change_chosen(ask, GB_KEYS_DELETE, NULL);
}
