/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /config: the settings by group, their history, and saving, restoring, resetting
 * and importing them by forms; with scripts the page uses /api/config itself.
 * Both ways end in the same endpoints of the core, which settle what is allowed.
 */
#include "admin_config.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define HISTORY_SHOWN 8 /* changes beside the settings */
#define VALUES_SHOWN  3 /* values of one change */
#define VALUE_TEXT    200

/* ---- the core's endpoints, in the process ---- */

json_t *admin_core_call(admin_page_t *page, int method, const char *path, const json_t *body,
                        int *status)
{
    APR_OPTIONAL_FN_TYPE(gbalance_api_call) *call = APR_RETRIEVE_OPTIONAL_FN(gbalance_api_call);
    const char *answer = "";
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *json;

    *status = call ? call(page->r, page->admin.who, method, path, text, &answer)
                   : HTTP_SERVICE_UNAVAILABLE;
    free(text);
    json = json_loads(answer, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return admin_json_keep(json ? json : json_object(), page->r->pool);
}

const char *admin_core_message(const json_t *answer)
{
    const char *text = json_string_value(
        json_object_get(json_object_get(answer, "error"), "message"));

    return text ? text : "mod_gbalance did not answer.";
}

/* ---- the settings ---- */

typedef struct config_t {
    admin_page_t *page;
    json_t *schema; /* array of entries */
    json_t *values; /* by name, in force; with what was sent and not accepted */
    json_t *faults; /* array of {name, message} */
    const char *find;
} config_t;

static const char *fault_of(const config_t *config, const char *name)
{
    const json_t *fault;
    size_t i;

    json_array_foreach(config->faults, i, fault)
    {
        if (strcmp(admin_text_of(fault, "name"), name) == 0) {
            return admin_text_of(fault, "message");
        }
    }
    return NULL;
}

static int has_words(const char *text, const char *words)
{
    return ap_strcasestr(text, words) != NULL;
}

/* Without scripts the server looks for a setting. */
static int is_found(const config_t *config, const json_t *entry)
{
    const char *name = admin_text_of(entry, "name"), *label = admin_label(name)->label;

    return !config->find || has_words(name, config->find)
           || (label && has_words(admin_words(config->page, label, NULL), config->find))
           || has_words(admin_text_of(entry, "help"), config->find);
}

static json_t *last_group(json_t *groups, const char *name)
{
    json_t *group = json_array_size(groups) ? json_array_get(groups, json_array_size(groups) - 1)
                                            : NULL;

    if (!group || strcmp(admin_text_of(group, "name"), name) != 0) {
        group = json_pack("{s:s, s:i, s:[]}", "name", name, "n", 0, "rows");
        json_object_set_new(group, "id", json_sprintf("g-%d", (int)json_array_size(groups) + 1));
        json_array_append_new(groups, group);
    }
    return group;
}

static void put_settings(const config_t *config, json_t *data)
{
    json_t *groups = json_array();
    const json_t *entry;
    int saved = 0;
    size_t i;

    json_array_foreach(config->schema, i, entry)
    {
        const char *name = admin_text_of(entry, "name");
        json_t *group, *rows;

        saved += strcmp(admin_text_of(entry, "source"), "saved") == 0;
        if (is_found(config, entry)) {
            group = last_group(groups, admin_text_of(entry, "group"));
            rows = json_object_get(group, "rows");
            json_array_append_new(rows, admin_setting_row(config->page, entry,
                                                          json_object_get(config->values, name),
                                                          fault_of(config, name)));
            json_object_set_new(group, "n", json_integer((json_int_t)json_array_size(rows)));
        }
    }
    json_object_set_new(data, "groups", groups);
    json_object_set_new(data, "count", json_integer((json_int_t)json_array_size(config->schema)));
    json_object_set_new(data, "saved", json_integer(saved));
}

/* ---- history ---- */

static json_t *value_shown(admin_page_t *page, const json_t *value, int is_named)
{
    const json_t *before = json_object_get(value, "before");
    const json_t *after = json_object_get(value, "after");

    return json_pack("{s:s, s:b, s:b, s:s, s:b, s:s}", "name", admin_text_of(value, "name"),
                     "named", is_named, "before_is", before && !json_is_null(before), "before",
                     admin_value_text(page, before, VALUE_TEXT), "after_is",
                     after && !json_is_null(after), "after",
                     admin_value_text(page, after, VALUE_TEXT));
}

static const char *names_of(admin_page_t *page, const json_t *values)
{
    const char *names = "";
    const json_t *value;
    size_t i;

    json_array_foreach(values, i, value)
    {
        if (i == VALUES_SHOWN) {
            return apr_pstrcat(page->r->pool, names, " \xe2\x80\xa6", NULL);
        }
        names = apr_pstrcat(page->r->pool, names, i ? ", " : "", admin_text_of(value, "name"),
                            NULL);
    }
    return names;
}

json_t *admin_change_shown(admin_page_t *page, const json_t *change)
{
    const json_t *values = json_object_get(change, "values"), *value;
    size_t n = json_array_size(values), i;
    json_t *shown = json_array();

    json_array_foreach(values, i, value)
    {
        if (i < VALUES_SHOWN && strcmp(admin_text_of(change, "action"), "reveal") != 0) {
            json_array_append_new(shown, value_shown(page, value, n > 1));
        }
    }
    return json_pack("{s:O, s:f, s:s, s:s, s:s, s:o, s:i}", "id", json_object_get(change, "id"),
                     "at", json_number_value(json_object_get(change, "at")) / 1000.0, "who",
                     admin_text_of(change, "who"), "action", admin_text_of(change, "action"),
                     "names", names_of(page, values), "shown", shown, "more",
                     n > VALUES_SHOWN ? (int)n - VALUES_SHOWN : 0);
}

static void put_history(admin_page_t *page, json_t *data)
{
    json_t *list = json_array();
    const json_t *answer, *change;
    int status;
    size_t i;

    answer = admin_core_call(page, M_GET, "/config/history", NULL, &status);
    json_array_foreach(json_object_get(answer, "changes"), i, change)
    {
        if (i < HISTORY_SHOWN) {
            json_array_append_new(list, admin_change_shown(page, change));
        }
    }
    json_object_set_new(data, "has_history", json_boolean(json_array_size(list) > 0));
    json_object_set_new(data, "history", list);
    json_object_set_new(data, "history_fault",
                        json_string(status == HTTP_OK ? "" : admin_core_message(answer)));
}

/* ---- the page ---- */

static json_t *words_of(admin_page_t *page, const char *words)
{
    return json_string(admin_words(page, words, NULL));
}

static apr_status_t show(config_t *config, json_t *data)
{
    admin_page_t *page = config->page;
    json_t *answer, *values;
    int status;

    json_object_set_new(data, "view",
                        json_string(admin_arg(page, "view") ? admin_arg(page, "view") : ""));
    json_object_set_new(data, "q", json_string(config->find ? config->find : ""));
    json_object_set_new(data, "generation", json_integer((json_int_t)page->settings->generation));
    values = admin_core_call(page, M_GET, "/config", NULL, &status);
    if (status != HTTP_OK) {
        json_object_set_new(data, "broken", json_string(admin_core_message(values)));
        return APR_SUCCESS;
    }
    if (config->values) {
        json_object_update(values, config->values);
    }
    config->values = values;
    answer = admin_core_call(page, M_GET, "/config/schema", NULL, &status);
    config->schema = json_object_get(answer, "settings");
    put_settings(config, data);
    put_history(page, data);
    return APR_SUCCESS;
}

/* What the last form did, in the address that the browser was sent to. */
static const struct {
    const char *name, *words;
} outcomes[] = {
    {"saved",    ADMIN_WORD("Saved. It is in force with the next request.")},
    {"same",     ADMIN_WORD("Nothing differed, so nothing was saved.")     },
    {"restored", ADMIN_WORD("The earlier values are in force again.")      },
    {"reset",    ADMIN_WORD("All saved values are forgotten.")             },
};

static void put_outcome(admin_page_t *page, json_t *data)
{
    const char *done = admin_arg(page, "done");
    size_t i;

    for (i = 0; done && i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        if (strcmp(outcomes[i].name, done) == 0) {
            json_object_set_new(data, "notice",
                                json_pack("{s:s, s:s, s:s, s:o, s:[]}", "tone", "ok", "icon", "ok",
                                          "role", "status", "text",
                                          words_of(page, outcomes[i].words), "faults"));
        }
    }
}

static apr_status_t build_config(admin_page_t *page, json_t *data)
{
    config_t config = {page, NULL, NULL, NULL, admin_arg(page, "q")};

    if (config.find && !*config.find) {
        config.find = NULL;
    }
    put_outcome(page, data);
    return show(&config, data);
}

/* ---- forms ---- */

/* The page again, with what was sent and what was wrong with it. */
static apr_status_t show_refusal(admin_page_t *page, json_t *data, const json_t *answer,
                                 json_t *sent, int status)
{
    json_t *faults = json_object_get(answer, "errors");
    config_t config = {page, NULL, sent, faults, NULL};

    page->status = status;
    json_object_set_new(data, "notice",
                        json_pack("{s:s, s:s, s:s, s:s, s:O*}", "tone", "bad", "icon", "bad",
                                  "role", "alert", "text", admin_core_message(answer), "faults",
                                  faults));
    return show(&config, data);
}

/* What differs is the core's to find out: it makes no change of it. */
static apr_status_t save_values(admin_page_t *page, json_t *data, json_t *sent)
{
    json_t *answer;
    int status;

    answer = admin_core_call(page, M_PUT, "/config", sent, &status);
    if (status != HTTP_OK) {
        return show_refusal(page, data, answer, sent, status);
    }
    page->see_other = "config?done=saved";
    return APR_SUCCESS;
}

static apr_status_t do_save(admin_page_t *page, json_t *data)
{
    json_t *sent = admin_json_keep(json_object(), page->r->pool);
    json_t *answer, *value;
    const json_t *entry;
    int status;
    size_t i;

    answer = admin_core_call(page, M_GET, "/config/schema", NULL, &status);
    json_array_foreach(json_object_get(answer, "settings"), i, entry)
    {
        value = json_is_true(json_object_get(entry, "writable")) ? admin_setting_given(page, entry)
                                                                 : NULL;
        if (value) {
            json_object_set_new(sent, admin_text_of(entry, "name"), value);
        }
    }
    return save_values(page, data, sent);
}

static apr_status_t do_import(admin_page_t *page, json_t *data)
{
    const char *text = admin_form(page, "text");
    json_t *body = json_pack("{s:s}", "text", text ? text : "");
    json_t *answer, *values;
    int status;

    answer = admin_core_call(page, M_POST, "/config/import", body, &status);
    json_decref(body);
    values = json_object_get(answer, "values");
    if (status != HTTP_OK || json_array_size(json_object_get(answer, "errors"))) {
        if (status == HTTP_OK) {
            json_object_set_new(
                answer, "error",
                json_pack("{s:o}", "message",
                          words_of(page, ADMIN_WORD("Nothing was changed: some values "
                                                    "are not acceptable."))));
        }
        return show_refusal(page, data, answer, values ? values : json_object_get(answer, "none"),
                            HTTP_BAD_REQUEST);
    }
    if (!json_object_size(values)) {
        page->see_other = "config?done=same";
        return APR_SUCCESS;
    }
    return save_values(page, data, values);
}

static apr_status_t do_restore(admin_page_t *page, json_t *data)
{
    const char *change = admin_form(page, "change");
    json_t *body = json_pack("{s:I}", "change", (json_int_t)apr_atoi64(change ? change : "0"));
    json_t *answer;
    int status;

    answer = admin_core_call(page, M_POST, "/config/restore", body, &status);
    json_decref(body);
    if (status != HTTP_OK) {
        return show_refusal(page, data, answer, NULL, status);
    }
    page->see_other = "config?done=restored";
    return APR_SUCCESS;
}

static apr_status_t do_reset(admin_page_t *page, json_t *data)
{
    json_t *answer;
    int status;

    answer = admin_core_call(page, M_POST, "/config/reset", NULL, &status);
    if (status != HTTP_OK) {
        return show_refusal(page, data, answer, NULL, status);
    }
    page->see_other = "config?done=reset";
    return APR_SUCCESS;
}

static const struct {
    const char *name;
    admin_page_fn *fn;
} deeds[] = {
    {"save",    do_save   },
    {"import",  do_import },
    {"restore", do_restore},
    {"reset",   do_reset  },
};

static apr_status_t change_config(admin_page_t *page, json_t *data)
{
    const char *deed = admin_form(page, "do");
    size_t i;

    for (i = 0; deed && i < sizeof(deeds) / sizeof(deeds[0]); i++) {
        if (strcmp(deeds[i].name, deed) == 0) {
            return deeds[i].fn(page, data);
        }
    }
    return admin_fail(page, HTTP_BAD_REQUEST, "This form does not say what it is for.");
}

const admin_route_t admin_config_routes[] = {
    {"/config", M_GET,  "config", ADMIN_WORD("Configuration"), build_config,  NULL, 0},
    {"/config", M_POST, "config", ADMIN_WORD("Configuration"), change_config, NULL, 0},
    {NULL,      0,      NULL,     NULL,                        NULL,          NULL, 0},
};
