/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The features on the native surface: members that the operator's settings or
 * the model's name ask for are put into the client's own body, and not a byte
 * more is changed.  What the client says itself wins, but for -non-thinking,
 * which is the client's own word too.
 */
#include "proto/gemini_int.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "proto/classify.h"

/* What was put in and may be taken out again when a model refuses it. */
#define ADDED_THINKING 1u
#define ADDED_THOUGHTS 2u

#define MAX_EDITS 4

/* One body on its way. */
typedef struct work_t {
    const gb_plan_t *plan;
    gemini_edit_t *edit;
    gb_span_t root;
    const char *config_name; /* as the client spells it */
    gb_span_t config;
    gb_json_edit_t in_config[MAX_EDITS], in_root[MAX_EDITS];
    size_t n_config, n_root;
} work_t;

/* ---- helpers ---- */

static void add(gb_json_edit_t *edits, size_t *n, const char *name, const char *value)
{
    edits[*n].name = name;
    edits[*n].value.p = value;
    edits[*n].value.len = strlen(value);
    (*n)++;
}

static const char *text_of(gb_buf_t *buf)
{
    return buf->rv == APR_SUCCESS && buf->data != NULL ? buf->data : NULL;
}

static int there(gb_span_t value)
{
    return value.p != NULL && gb_json_kind(value) != GB_JSON_NULL;
}

static int has_either(gb_span_t object, const char *camel, const char *snake)
{
    return there(gb_json_get2(object, camel, snake));
}

/* ---- thinking ---- */

static const char *non_thinking(const work_t *work)
{
    const gb_model_t *model = &work->edit->model;

    if (gb_model_takes_thinking_level(model)) {
        return apr_psprintf(work->plan->pool, "{\"thinkingLevel\":\"%s\"}",
                            gb_feature_lowest_level(work->plan->model_used));
    }
    return model->is_pro ? "{\"thinkingBudget\":128}" : "{\"thinkingBudget\":0}";
}

/* The operator speaks in tokens for every model; 0 says nothing. */
static const char *by_budget(const work_t *work, const char *text)
{
    apr_int64_t budget = (apr_int64_t)atof(text);
    const char *show = "";

    if (budget == 0) {
        return NULL;
    }
    if (work->edit->settings->show_thinking_process && !(work->edit->dropped & ADDED_THOUGHTS)) {
        work->edit->added |= ADDED_THOUGHTS;
        show = ",\"includeThoughts\":true";
    }
    if (!gb_model_takes_thinking_level(&work->edit->model)) {
        return apr_psprintf(work->plan->pool, "{\"thinkingBudget\":%" APR_INT64_T_FMT "%s}", budget,
                            show);
    }
    if (budget < 0) {
        return *show != '\0' ? "{\"includeThoughts\":true}" : NULL;
    }
    return apr_psprintf(work->plan->pool, "{\"thinkingLevel\":\"%s\"%s}",
                        gb_feature_level_of(budget), show);
}

static void thinking(work_t *work)
{
    const gemini_edit_t *edit = work->edit;
    const char *budget = gb_map_get(&edit->settings->thinking_budget_map, work->plan->model_used);
    const char *value = NULL;

    if (!gb_feature_thinks(&edit->model) || (edit->dropped & ADDED_THINKING)) {
        return;
    }
    if (edit->variant & GB_VARIANT_NON_THINKING) {
        value = non_thinking(work);
    }
    else if (budget != NULL && !has_either(work->config, "thinkingConfig", "thinking_config")) {
        value = by_budget(work, budget);
    }
    if (value == NULL) {
        return;
    }
    work->edit->added |= ADDED_THINKING;
    add(work->in_config, &work->n_config,
        there(gb_json_get(work->config, "thinking_config")) ? "thinking_config" : "thinkingConfig",
        value);
}

/* ---- pictures ---- */

static void modalities(work_t *work)
{
    if ((work->edit->variant & GB_VARIANT_IMAGE)
        && !has_either(work->config, "responseModalities", "response_modalities")) {
        add(work->in_config, &work->n_config, "responseModalities", "[\"TEXT\",\"IMAGE\"]");
    }
}

/* ---- tools ---- */

static const char *const snake_tools[GB_TOOL_N] = {"google_search", "url_context",
                                                   "code_execution"};

/* The client's own of Google's tools; *functions: it has functions too. */
static unsigned client_tools(gb_span_t tools, int *functions)
{
    unsigned set = 0;
    gb_json_iter_t it;
    int i;

    for (gb_json_iter(&it, tools); gb_json_next(&it);) {
        *functions |= has_either(it.value, "functionDeclarations", "function_declarations");
        for (i = 0; i < GB_TOOL_N; i++) {
            set |= has_either(it.value, gb_tool_names[i], snake_tools[i]) ? 1u << i : 0;
        }
    }
    return set;
}

static int has_media(gb_span_t contents)
{
    gb_json_iter_t content, part;

    for (gb_json_iter(&content, contents); gb_json_next(&content);) {
        for (gb_json_iter(&part, gb_json_get(content.value, "parts")); gb_json_next(&part);) {
            if (has_either(part.value, "inlineData", "inline_data")
                || has_either(part.value, "fileData", "file_data")) {
                return 1;
            }
        }
    }
    return 0;
}

static int wants_json(gb_span_t config)
{
    return gb_json_eq(gb_json_get2(config, "responseMimeType", "response_mime_type"),
                      "application/json")
           || has_either(config, "responseSchema", "response_schema")
           || has_either(config, "responseJsonSchema", "response_json_schema");
}

static unsigned missing_tools(const work_t *work, gb_span_t tools)
{
    const gemini_edit_t *edit = work->edit;
    gb_feature_case_t about = {
        edit->settings, work->plan->model_used, &edit->model, edit->variant, 0, 0, 0};
    int functions = 0;

    about.client = client_tools(tools, &functions);
    if (functions || has_either(work->root, "cachedContent", "cached_content")) {
        return 0; /* they exclude each other, and what the client wants wins */
    }
    about.has_media = edit->settings->tools_code_execution_enabled
                      && has_media(gb_json_get(work->root, "contents"));
    about.json_answer = wants_json(work->config);
    return gb_feature_tools(&about) & ~about.client;
}

/* One more element each, behind those that there are. */
static void tools(work_t *work)
{
    gb_span_t own = gb_json_get(work->root, "tools");
    unsigned set;
    gb_buf_t out;
    int i, n;

    if (there(own) && gb_json_kind(own) != GB_JSON_ARRAY) {
        return;
    }
    set = missing_tools(work, own);
    if (set == 0) {
        return;
    }
    n = there(own) && gb_json_count(own) > 0;
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, work->plan->pool);
    gb_buf_append(&out, n ? own.p : "[", n ? own.len - 1 : 1);
    for (i = 0; i < GB_TOOL_N; i++) {
        if (set & 1u << i) {
            gb_buf_printf(&out, "%s{\"%s\":{}}", n++ > 0 ? "," : "", gb_tool_names[i]);
        }
    }
    gb_buf_putc(&out, ']');
    if (text_of(&out) != NULL) {
        add(work->in_root, &work->n_root, "tools", out.data);
    }
}

/* ---- safety ---- */

/*
 * Only where the operator has said something: the default is what Google's
 * models do by themselves.
 */
static void safety(work_t *work)
{
    const char *text = work->edit->settings->safety_settings;

    if (text == NULL || *text == '\0' || strcmp(text, "[]") == 0
        || strcmp(text, gb_settings_find("SAFETY_SETTINGS")->fallback) == 0
        || has_either(work->root, "safetySettings", "safety_settings")) {
        return;
    }
    add(work->in_root, &work->n_root, "safetySettings", text);
}

/* ---- the body ---- */

static apr_status_t put_config(work_t *work)
{
    gb_span_t config = there(work->config) ? work->config : (gb_span_t){"{}", 2};
    gb_buf_t out;

    if (work->n_config == 0) {
        return APR_SUCCESS;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, work->plan->pool);
    gb_json_edit(&out, config, work->in_config, work->n_config);
    if (text_of(&out) == NULL) {
        return APR_ENOSPC;
    }
    add(work->in_root, &work->n_root, work->config_name, out.data);
    return APR_SUCCESS;
}

static void work_init(work_t *work, const gb_plan_t *plan, gemini_edit_t *edit)
{
    memset(work, 0, sizeof(*work));
    work->plan = plan;
    work->edit = edit;
    work->root = gb_json_root(edit->body, edit->body_len);
    work->config_name = "generationConfig";
    work->config = gb_json_get(work->root, "generationConfig");
    if (!there(work->config) && there(gb_json_get(work->root, "generation_config"))) {
        work->config_name = "generation_config";
        work->config = gb_json_get(work->root, "generation_config");
    }
    edit->added = 0;
}

apr_status_t gb_gemini_edit(gb_plan_t *plan, gemini_edit_t *edit)
{
    gb_buf_t out;
    work_t work;

    work_init(&work, plan, edit);
    plan->body = edit->body;
    plan->body_len = edit->body_len;
    if (there(work.config) && gb_json_kind(work.config) != GB_JSON_OBJECT) {
        return APR_SUCCESS; /* Google says what is wrong with it */
    }
    thinking(&work);
    modalities(&work);
    tools(&work);
    safety(&work);
    if (put_config(&work) != APR_SUCCESS) {
        return APR_ENOSPC;
    }
    if (work.n_root == 0) {
        return APR_SUCCESS;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, plan->pool);
    gb_json_edit(&out, work.root, work.in_root, work.n_root);
    if (text_of(&out) == NULL) {
        return APR_ENOSPC;
    }
    plan->body = out.data;
    plan->body_len = out.len;
    return APR_SUCCESS;
}

/* ---- what a model refuses ---- */

static const struct {
    const char *name;
    unsigned added;
} droppable[] = {
    {"thinkingConfig",  ADDED_THINKING},
    {"thinkingLevel",   ADDED_THINKING},
    {"thinkingBudget",  ADDED_THINKING},
    {"includeThoughts", ADDED_THOUGHTS},
};

/* The part of a schema's word behind "schema.", or a door that was refused as a whole. */
static const char *schema_word(const char *field)
{
    static const char *const doors[] = {"parametersJsonSchema", "responseJsonSchema"};
    size_t i;

    for (i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
        if (strcmp(field, doors[i]) == 0) {
            return field;
        }
    }
    return strncmp(field, GB_FIELD_SCHEMA, strlen(GB_FIELD_SCHEMA)) == 0
               ? field + strlen(GB_FIELD_SCHEMA)
               : NULL;
}

static apr_status_t lower_schemas(gb_plan_t *plan, gemini_edit_t *edit, const char *word)
{
    gb_span_t body = gb_gemini_lower(gb_json_root(edit->body, edit->body_len), word, plan->pool);

    if (body.p == NULL) {
        return APR_NOTFOUND;
    }
    edit->body = body.p;
    edit->body_len = body.len;
    return gb_gemini_edit(plan, edit);
}

/*
 * What was put in by us, and words of schemas, which clients copy from wherever
 * JSON Schema is spoken.  Of everything else the client hears what is wrong.
 */
apr_status_t gb_gemini_drop_field(gb_plan_t *plan, const char *field)
{
    gemini_call_t *call = plan->state;
    gemini_edit_t *edit = call->edit;
    const char *word = schema_word(field);
    size_t i;

    if (edit != NULL && word != NULL) {
        return lower_schemas(plan, edit, word);
    }

    for (i = 0; edit != NULL && i < sizeof(droppable) / sizeof(droppable[0]); i++) {
        if (strcmp(field, droppable[i].name) == 0
            && (edit->added & droppable[i].added & ~edit->dropped)) {
            edit->dropped |= droppable[i].added;
            return gb_gemini_edit(plan, edit);
        }
    }
    return APR_NOTFOUND;
}

/* ---- the model's name in a body ---- */

/* A member that repeats the name of the path says what the path says now. */
static int names_model(gb_span_t value, const char *asked)
{
    char name[sizeof("models/") + sizeof(((gb_plan_t *)NULL)->model)];

    apr_snprintf(name, sizeof(name), "models/%s", asked);
    return gb_json_eq(value, name) || gb_json_eq(value, asked);
}

static int put_renamed(gb_buf_t *out, gb_span_t object, const char *asked, const char *name)
{
    gb_json_edit_t edit = {
        "model", {name, strlen(name)}
    };

    if (!names_model(gb_json_get(object, "model"), asked)) {
        gb_json_put_span(out, object);
        return 0;
    }
    gb_json_edit(out, object, &edit, 1);
    return 1;
}

static int put_renamed_list(gb_buf_t *out, gb_span_t list, const char *asked, const char *name)
{
    gb_json_iter_t it;
    int n = 0;

    gb_buf_putc(out, '[');
    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        gb_buf_puts(out, it.index > 0 ? "," : "");
        n += put_renamed(out, it.value, asked, name);
    }
    gb_buf_putc(out, ']');
    return n;
}

static const char *renamed_member(const gb_plan_t *plan, gb_span_t member, const char *asked,
                                  const char *name)
{
    gb_buf_t out;
    int n;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, plan->pool);
    n = gb_json_kind(member) == GB_JSON_ARRAY ? put_renamed_list(&out, member, asked, name)
                                              : put_renamed(&out, member, asked, name);
    return n > 0 ? text_of(&out) : NULL;
}

void gb_gemini_rename(gb_plan_t *plan, const char *asked)
{
    static const char *const holders[] = {"generateContentRequest", "generate_content_request",
                                          "requests"};
    gb_span_t root = gb_json_root(plan->body, plan->body_len);
    const char *name = apr_pstrcat(plan->pool, "\"models/", plan->model_used, "\"", NULL);
    gb_json_edit_t edits[MAX_EDITS];
    size_t n = 0, i;
    gb_buf_t out;

    if (gb_json_kind(root) != GB_JSON_OBJECT) {
        return;
    }
    if (names_model(gb_json_get(root, "model"), asked)) {
        add(edits, &n, "model", name);
    }
    for (i = 0; i < sizeof(holders) / sizeof(holders[0]); i++) {
        gb_span_t member = gb_json_get(root, holders[i]);
        const char *value = there(member) ? renamed_member(plan, member, asked, name) : NULL;

        if (value != NULL) {
            add(edits, &n, holders[i], value);
        }
    }
    if (n == 0) {
        return;
    }
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, plan->pool);
    gb_json_edit(&out, root, edits, n);
    if (text_of(&out) != NULL) {
        plan->body = out.data;
        plan->body_len = out.len;
    }
}

/* ---- hidden models ---- */

static int is_hidden(gb_span_t model, const gb_settings_t *settings, apr_pool_t *p)
{
    size_t len;
    const char *name = gb_json_str(gb_json_get(model, "name"), &len, p);

    return name != NULL && gb_list_has(&settings->filtered_models, gb_feature_bare_name(name));
}

apr_status_t gb_gemini_hide_models(gb_buf_t *out, const char *bytes, size_t len,
                                   const gb_settings_t *settings, apr_pool_t *p)
{
    gb_span_t root = gb_json_root(bytes, len);
    gb_json_edit_t edit = {
        "models", {NULL, 0}
    };
    gb_json_iter_t it;
    gb_buf_t kept;
    int n = 0, hidden = 0;

    gb_buf_init_pool(&kept, GB_BUF_MAX_ANSWER, p);
    gb_buf_putc(&kept, '[');
    for (gb_json_iter(&it, gb_json_get(root, "models")); gb_json_next(&it);) {
        if (is_hidden(it.value, settings, p)) {
            hidden++;
            continue;
        }
        gb_buf_puts(&kept, n++ > 0 ? ",\n" : "\n");
        gb_json_put_span(&kept, it.value);
    }
    gb_buf_puts(&kept, "\n]");
    if (hidden == 0 || kept.rv != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    edit.value.p = kept.data;
    edit.value.len = kept.len;
    return gb_json_edit(out, root, &edit, 1);
}
