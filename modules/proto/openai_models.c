/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models: which one a name means (aliases, suffixes, filters), and the lists
 * that clients read.  Google's list arrives as it is; fetching all its pages and
 * keeping it is left to the caller, which may hand in one page after the other.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

/* A fixed date: Google tells none, and clients only sort by it. */
#define MODEL_CREATED "1686935002"

static apr_status_t not_found(gb_openai_call_t *call, const char *name)
{
    return gb_error_set(call->err, 404, "model_not_found", "model",
                        "The model '%.100s' does not exist or you do not have access to it.", name);
}

apr_status_t gb_openai_model_resolve(gb_openai_call_t *call, const char *asked)
{
    gb_plan_t *plan = call->plan;
    const char *name;

    if (!gb_model_name_ok(asked, strlen(asked))) {
        return gb_error_set(call->err, 400, "invalid_value", "model",
                            "Invalid value for 'model': a name has 1 to 90 characters, letters, "
                            "digits and . _ : @ / - only.");
    }
    apr_cpystrn(plan->model, asked, sizeof(plan->model));
    if (gb_feature_model(&name, &call->variant, asked, call->settings, call->request.memory,
                         call->pool)
        != APR_SUCCESS) {
        return not_found(call, asked);
    }
    apr_cpystrn(plan->model_used, name, sizeof(plan->model_used));
    gb_model_parse(&call->model, name);
    return APR_SUCCESS;
}

static int begins_with_any(const char *name, const char *const *prefixes)
{
    for (; *prefixes != NULL; prefixes++) {
        if (strncmp(name, *prefixes, strlen(*prefixes)) == 0) {
            return 1;
        }
    }
    return 0;
}

apr_status_t gb_openai_model_settle(gb_openai_call_t *call, gb_span_t named, const char *configured,
                                    const char *const *openai)
{
    const char *text = gb_openai_text(named, call->pool);
    const char *name = text != NULL ? text : "";
    int ours = *name == '\0'
               || (begins_with_any(name, openai)
                   && gb_map_get(&call->settings->model_aliases, name) == NULL);
    apr_status_t rv;

    if (ours && *configured == '\0') {
        return gb_openai_param_missing(call, "model");
    }
    rv = gb_openai_model_resolve(call, ours ? configured : name);
    if (rv == APR_SUCCESS && ours && gb_model_name_ok(name, strlen(name))) {
        apr_cpystrn(call->plan->model, name, sizeof(call->plan->model));
    }
    return rv;
}

/* ---- GET /models ---- */

apr_status_t gb_openai_models_list(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;

    plan->method = "GET";
    plan->path = "/models?pageSize=1000";
    plan->operation = "models";
    plan->from_models = 1;
    plan->answer_type = "application/json";
    return APR_SUCCESS;
}

/* An image model that Google does not list is offered all the same, as in gemini-balance. */
static const char *offered(const gb_openai_call_t *call)
{
    const char *image = call->settings->create_image_model;

    return *image != '\0' ? apr_pstrcat(call->pool, image, "-chat", NULL) : NULL;
}

static int is_offered(const gb_openai_call_t *call)
{
    const char *name = offered(call);

    return name != NULL && strcmp(gb_feature_bare_name(call->plan->model), name) == 0;
}

apr_status_t gb_openai_models_one(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;
    const char *asked = call->request.path + strlen("/models/");
    apr_status_t rv;

    if (!gb_model_name_ok(asked, strlen(asked))) {
        return not_found(call, asked);
    }
    if ((rv = gb_openai_model_resolve(call, asked)) != APR_SUCCESS) {
        return rv;
    }
    plan->method = "GET";
    plan->path = is_offered(call) ? "/models?pageSize=1000"
                 : strchr(plan->model_used, '/') != NULL
                     ? apr_pstrcat(call->pool, "/", plan->model_used, NULL)
                     : apr_pstrcat(call->pool, "/models/", plan->model_used, NULL);
    plan->operation = "model";
    plan->from_models = 1; /* and from upstream when it is not in the list */
    plan->answer_type = "application/json";
    return APR_SUCCESS;
}

static void model_put(gb_buf_t *out, const char *id, gb_span_t model)
{
    gb_span_t limit;

    gb_buf_puts(out, "{\"id\":");
    gb_json_put_cstr(out, id);
    gb_buf_puts(out, ",\"object\":\"model\",\"created\":" MODEL_CREATED ",\"owned_by\":\"google\"");
    if (gb_json_kind(limit = gb_json_get(model, "inputTokenLimit")) == GB_JSON_NUMBER) {
        gb_buf_puts(out, ",\"context_length\":");
        gb_json_put_span(out, limit);
    }
    if (gb_json_kind(limit = gb_json_get(model, "outputTokenLimit")) == GB_JSON_NUMBER) {
        gb_buf_puts(out, ",\"max_output_tokens\":");
        gb_json_put_span(out, limit);
    }
    gb_buf_putc(out, '}');
}

/* Models that no route of ours could call are left out. */
static int model_usable(gb_span_t model)
{
    gb_span_t methods = gb_json_get(model, "supportedGenerationMethods");
    gb_json_iter_t it;

    if (gb_json_kind(methods) != GB_JSON_ARRAY) {
        return 1;
    }
    for (gb_json_iter(&it, methods); gb_json_next(&it);) {
        if (gb_json_eq(it.value, "generateContent") || gb_json_eq(it.value, "embedContent")
            || gb_json_eq(it.value, "predict")) {
            return 1;
        }
    }
    return 0;
}

static void entry_put(gb_translator_t *t, const gb_openai_call_t *call, const char *id,
                      gb_span_t model)
{
    if (gb_list_has(&call->settings->filtered_models, id)
        || apr_hash_get(t->listed, id, APR_HASH_KEY_STRING) != NULL) {
        return;
    }
    apr_hash_set(t->listed, id, APR_HASH_KEY_STRING, id);
    if (t->kept.len > 0) {
        gb_buf_putc(&t->kept, ',');
    }
    model_put(&t->kept, id, model);
}

/* A name with the aliases that stand for it. */
static void named_put(gb_translator_t *t, const gb_openai_call_t *call, const char *name,
                      gb_span_t model)
{
    const gb_map_t *aliases = &call->settings->model_aliases;
    int i;

    entry_put(t, call, name, model);
    for (i = 0; i < aliases->n; i++) {
        if (strcmp(gb_feature_bare_name(aliases->pairs[i].value), name) == 0) {
            entry_put(t, call, aliases->pairs[i].name, model);
        }
    }
}

/* A variant whose name is another model's is that model: Google lists it by itself. */
static void variants_put(gb_translator_t *t, const gb_openai_call_t *call, const char *name,
                         gb_span_t model)
{
    const char *suffix, *variant, *base;
    unsigned what;
    int i;

    for (i = 0; (suffix = gb_feature_suffix(i, call->settings, name)) != NULL; i++) {
        variant = apr_pstrcat(call->pool, name, suffix, NULL);
        what = 0;
        if (*suffix != '\0'
            && gb_feature_model(&base, &what, variant, call->settings, call->request.memory,
                                call->pool)
                   == APR_SUCCESS
            && what != 0) {
            named_put(t, call, variant, model);
        }
    }
}

static apr_status_t list_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    const gb_openai_call_t *call = t->plan->state;
    gb_json_fault_t fault;
    gb_json_iter_t it;
    const char *name;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    for (gb_json_iter(&it, gb_json_get(gb_json_root(bytes, len), "models")); gb_json_next(&it);) {
        name = gb_openai_text(gb_json_get(it.value, "name"), call->pool);
        if (name == NULL || !model_usable(it.value)
            || gb_list_has(&call->settings->filtered_models, gb_feature_bare_name(name))) {
            continue;
        }
        name = gb_feature_bare_name(name);
        named_put(t, call, name, it.value);
        variants_put(t, call, name, it.value);
    }
    t->n++;
    return t->kept.rv;
}

static apr_status_t list_end(gb_translator_t *t)
{
    const gb_openai_call_t *call = t->plan->state;
    const char *name = offered(call);

    if (t->n == 0) {
        return APR_INCOMPLETE;
    }
    if (name != NULL) {
        entry_put(t, call, name, (gb_span_t){NULL, 0});
    }
    gb_buf_puts(t->out, "{\"object\":\"list\",\"data\":[");
    gb_buf_append(t->out, t->kept.data, t->kept.len);
    gb_buf_puts(t->out, "]}");
    return t->out->rv;
}

/* The model itself, of a page of the list or as Google gave it alone; {NULL,0} when it is not there. */
static gb_span_t model_in(const gb_plan_t *plan, gb_span_t root)
{
    gb_span_t models = gb_json_get(root, "models");
    const char *name;
    gb_json_iter_t it;

    if (gb_json_kind(models) != GB_JSON_ARRAY) {
        return root;
    }
    for (gb_json_iter(&it, models); gb_json_next(&it);) {
        name = gb_openai_text(gb_json_get(it.value, "name"), plan->pool);
        if (name != NULL && strcmp(gb_feature_bare_name(name), plan->model_used) == 0) {
            return it.value;
        }
    }
    return (gb_span_t){NULL, 0};
}

static apr_status_t one_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    gb_json_fault_t fault;
    gb_span_t model;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    model = model_in(t->plan, gb_json_root(bytes, len));
    if (gb_openai_there(model) && t->n++ == 0) {
        model_put(t->out, gb_feature_bare_name(t->plan->model), model);
    }
    return t->out->rv;
}

static apr_status_t one_end(gb_translator_t *t)
{
    if (t->n == 0 && is_offered(t->plan->state)) {
        model_put(t->out, gb_feature_bare_name(t->plan->model), (gb_span_t){NULL, 0});
        return t->out->rv;
    }
    return t->n > 0 ? APR_SUCCESS : APR_INCOMPLETE;
}

void gb_openai_models_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    gb_buf_init_pool(&t->kept, GB_BUF_MAX_ANSWER, call->pool);
    t->listed = apr_hash_make(call->pool);
    t->chunk = list_chunk;
    t->end = list_end;
}

void gb_openai_model_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    (void)call;
    t->chunk = one_chunk;
    t->end = one_end;
}
