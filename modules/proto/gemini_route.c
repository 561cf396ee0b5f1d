/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of the Gemini surface: which paths exist, which HTTP methods they
 * take, what a call needs and what its answer will be.  Bodies and queries go up
 * as they came; a method that Google adds tomorrow passes without a row here.
 */
#include "proto/gemini_int.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "proto/model.h"

/* ---- tables ---- */

#define ANY "GET, POST, PATCH, DELETE"

/* What stands below one of Google's collections, and the HTTP methods each level takes. */
typedef struct collection_t {
    const char *name;
    const char *list; /* /models */
    const char *item; /* /models/m */
    const char *call; /* /models/m:method and /models:method */
    int has_models;   /* items are models: the pool picks for them */
    int bearer;
} collection_t;

static const collection_t collections[] = {
    {"models",           "GET",       "GET",                "POST", 1, 0},
    {"tunedModels",      "GET, POST", "GET, PATCH, DELETE", "POST", 1, 0},
    {"dynamic",          ANY,         ANY,                  "POST", 1, 0},
    {"files",            ANY,         ANY,                  ANY,    0, 0},
    {"cachedContents",   ANY,         ANY,                  ANY,    0, 0},
    {"batches",          ANY,         ANY,                  ANY,    0, 0},
    {"operations",       ANY,         ANY,                  ANY,    0, 0},
    {"fileSearchStores", ANY,         ANY,                  ANY,    0, 0},
    {"generatedFiles",   ANY,         ANY,                  ANY,    0, 0},
    {"corpora",          ANY,         ANY,                  ANY,    0, 0},
    {"environments",     ANY,         ANY,                  ANY,    0, 0},
    {"auth_tokens",      ANY,         ANY,                  ANY,    0, 0},
    {"voices",           ANY,         ANY,                  ANY,    0, 0},
    {"interactions",     ANY,         ANY,                  ANY,    0, 0},
    {"openai",           ANY,         ANY,                  ANY,    0, 1},
};

#define N_COLLECTIONS (sizeof(collections) / sizeof(collections[0]))

/* What Google adds tomorrow. */
static const collection_t other = {"other", ANY, ANY, ANY, 0, 0};

/* OpenAI's paths, which a wrong base URL brings here: a key's call would be in vain. */
static const char *const foreign[] = {"chat",      "completions", "embeddings", "images", "audio",
                                      "responses", "v1",          "v1beta",     "v1alpha"};

/* Google's methods on models that are more to us than bytes. */
typedef struct call_t {
    const char *method;
    const char *operation;
    int needs_object; /* the body must be a JSON object */
    int taps;
    int generates; /* an answer without candidates is empty */
    int streams;
} call_t;

static const call_t calls[] = {
    {"generateContent",        "generate", 1, 1, 1, 0},
    {"streamGenerateContent",  "stream",   1, 1, 1, 1},
    {"countTokens",            "count",    1, 1, 0, 0},
    {"embedContent",           "embed",    0, 1, 0, 0},
    {"batchEmbedContents",     "embed",    0, 1, 0, 0},
    {"batchGenerateContent",   "batch",    0, 0, 0, 0},
    {"asyncBatchEmbedContent", "batch",    0, 0, 0, 0},
    {"predict",                "predict",  0, 0, 0, 0},
    {"predictLongRunning",     "predict",  0, 0, 0, 0},
};

#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

static const call_t other_call = {"", "call", 0, 0, 0, 0};

/* ---- the path ---- */

/* A path taken apart: "/models/m:generateContent". */
typedef struct route_t {
    const collection_t *collection;
    const char *rest;   /* behind "/models/", "" for the collection itself */
    size_t rest_len;    /* without the method */
    const char *method; /* behind the colon, NULL when there is none */
    int depth;          /* number of segments */
} route_t;

/* As Google names its collections. */
static int may_be_new(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        if (strlen(foreign[i]) == len && memcmp(foreign[i], name, len) == 0) {
            return 0;
        }
    }
    for (i = 0; i < len; i++) {
        if (!apr_isalpha(name[i]) && (i == 0 || name[i] != '_')) {
            return 0;
        }
    }
    return len > 0 && apr_islower(name[0]);
}

static const collection_t *find_collection(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < N_COLLECTIONS; i++) {
        if (strlen(collections[i].name) == len && memcmp(collections[i].name, name, len) == 0) {
            return &collections[i];
        }
    }
    return may_be_new(name, len) ? &other : NULL;
}

/* No segment may be empty or climb: the upstream's address is not the client's to shape. */
static int segments(const char *path)
{
    int n = 0;

    while (*path == '/') {
        size_t len = strcspn(++path, "/");

        if (len == 0 || (len == 1 && path[0] == '.') || (len == 2 && memcmp(path, "..", 2) == 0)) {
            return 0;
        }
        path += len;
        n++;
    }
    return *path == '\0' ? n : 0;
}

static int parse_path(route_t *route, const char *path)
{
    const char *slash, *colon;
    size_t first;

    memset(route, 0, sizeof(*route));
    route->depth = segments(path);
    if (route->depth == 0) {
        return 0;
    }
    path++;
    first = strcspn(path, "/:");
    route->collection = find_collection(path, first);
    if (route->collection == NULL) {
        return 0;
    }
    slash = strrchr(path, '/');
    colon = strrchr(slash != NULL ? slash : path, ':');
    if (colon != NULL && colon[1] != '\0') {
        route->method = colon + 1;
    }
    route->rest = path + first + (path[first] == '/');
    route->rest_len = strlen(route->rest);
    if (route->method != NULL) {
        route->rest_len = route->rest < colon ? (size_t)(colon - route->rest) : 0;
    }
    return 1;
}

static const char *allowed(const route_t *route)
{
    if (route->method != NULL) {
        return route->collection->call;
    }
    return route->depth == 1   ? route->collection->list
           : route->depth == 2 ? route->collection->item
                               : ANY;
}

/* Whether a comma-separated list has the method. */
static int allows(const char *list, const char *method)
{
    size_t len = strlen(method);

    while (len > 0 && *list != '\0') {
        size_t n = strcspn(list, ",");

        if (n == len && memcmp(list, method, n) == 0) {
            return 1;
        }
        list += n;
        list += strspn(list, ", ");
    }
    return 0;
}

static const call_t *find_call(const route_t *route)
{
    size_t i;

    for (i = 0; route->collection->has_models && route->method != NULL && i < N_CALLS; i++) {
        if (strcmp(route->method, calls[i].method) == 0) {
            return &calls[i];
        }
    }
    return &other_call;
}

/* ---- the query ---- */

/* The value of one argument (n bytes) when it has that name, also as $name and %24name; else NULL. */
static const char *arg_value(const char *arg, size_t n, const char *name)
{
    size_t name_len = strlen(name);
    const char *end = arg + n;

    arg += *arg == '$' ? 1 : n >= 3 && memcmp(arg, "%24", 3) == 0 ? 3 : 0;
    return (size_t)(end - arg) > name_len && memcmp(arg, name, name_len) == 0
                   && arg[name_len] == '='
               ? arg + name_len + 1
               : NULL;
}

/* The value of the last argument of that name; NULL when there is none. */
static const char *query_arg(const char *args, const char *name, size_t *len)
{
    const char *found = NULL, *value;

    while (args != NULL && *args != '\0') {
        size_t n = strcspn(args, "&");

        if ((value = arg_value(args, n, name)) != NULL) {
            found = value;
            *len = (size_t)(args + n - value);
        }
        args += n + (args[n] == '&');
    }
    return found;
}

/* The arguments but those of that name. */
static const char *query_without(const char *args, const char *name, apr_pool_t *p)
{
    char *kept = apr_pcalloc(p, args != NULL ? strlen(args) + 1 : 1);

    while (args != NULL && *args != '\0') {
        size_t n = strcspn(args, "&");

        if (arg_value(args, n, name) == NULL) {
            if (*kept != '\0') {
                strcat(kept, "&");
            }
            strncat(kept, args, n);
        }
        args += n + (args[n] == '&');
    }
    return kept;
}

static int query_arg_is(const char *args, const char *name, const char *value)
{
    size_t len = 0;
    const char *found = query_arg(args, name, &len);

    return found != NULL && len == strlen(value) && strncasecmp(found, value, len) == 0;
}

static int has_query_arg(const char *args, const char *name)
{
    size_t len = 0;

    return query_arg(args, name, &len) != NULL;
}

/* ---- the answer ---- */

static int body_asks_for_stream(const gb_request_t *request)
{
    gb_json_fault_t fault;
    int flag = 0;

    return request->body_len > 0
           && gb_json_check(request->body, request->body_len, &fault) == APR_SUCCESS
           && gb_json_bool(gb_json_get(gb_json_root(request->body, request->body_len), "stream"),
                           &flag)
           && flag;
}

static gemini_form_t form_of(const call_t *call, const gb_request_t *request)
{
    const char *args = request->args;

    if (query_arg_is(args, "alt", "media") || query_arg_is(args, "alt", "proto")
        || has_query_arg(args, "callback")) {
        return GEMINI_BYTES;
    }
    if (call->streams) {
        return query_arg_is(args, "alt", "sse") ? GEMINI_SSE : GEMINI_ARRAY;
    }
    if (query_arg_is(args, "alt", "sse")
        || (call == &other_call && body_asks_for_stream(request))) {
        return GEMINI_EVENTS;
    }
    return GEMINI_WHOLE;
}

/* A response field mask may cut out finish reasons and candidates: their absence says nothing. */
static void set_answer(gb_plan_t *plan, const call_t *call, const gb_request_t *request,
                       const gb_settings_t *settings)
{
    gemini_call_t *state = apr_pcalloc(plan->pool, sizeof(*state));
    int masked = request->masked || has_query_arg(request->args, "fields");

    state->settings = settings;
    state->form = form_of(call, request);
    state->taps = call->taps && state->form != GEMINI_BYTES && state->form != GEMINI_EVENTS;
    state->needs_finish = call->streams && state->taps && !masked;
    plan->state = state;
    plan->stream = plan->upstream_stream = state->form != GEMINI_WHOLE;
    plan->expects_content = call->generates && state->taps && !masked;
    if (call->streams && state->taps) {
        state->rest.keeps = settings->stream_continue_max > 0 && state->form == GEMINI_SSE
                            && state->needs_finish;
        gb_buf_init_pool(&state->rest.said, GB_BUF_MAX_ANSWER, plan->pool);
        gb_buf_init_pool(&state->rest.held, GB_BUF_MAX_ANSWER, plan->pool);
        plan->stream_type = state->form == GEMINI_SSE ? "text/event-stream"
                                                      : "application/json; charset=UTF-8";
    }
}

/*
 * The client's stream comes from a call that does not stream; from a stream that
 * is held back where the model says more that way.
 */
static void fake_stream(gb_plan_t *plan, const gb_request_t *request, const gb_settings_t *settings)
{
    gb_model_t model;
    const char *method = strstr(plan->path, ":streamGenerateContent"), *args;

    if (plan->stream_type == NULL || !plan->expects_content
        || !gb_feature_fakes_stream(settings, plan->model, plan->model_used)) {
        return;
    }
    plan->fake_stream = 1;
    gb_model_parse(&model, plan->model_used);
    if (gb_model_prefers_stream(&model)) {
        return;
    }
    args = query_without(request->args, "alt", plan->pool);
    plan->upstream_stream = 0;
    plan->path = apr_pstrcat(
        plan->pool, apr_pstrmemdup(plan->pool, plan->path, (apr_size_t)(method - plan->path)),
        ":generateContent", *args != '\0' ? "?" : NULL, args, NULL);
}

/* ---- the request ---- */

static apr_status_t check_object(const gb_request_t *request, gb_error_t *err)
{
    gb_json_fault_t fault;
    gb_span_t root;

    if (request->body_len == 0) {
        return gb_error_set(err, 400, "invalid_json", NULL,
                            "The request has no body. Send a JSON object.");
    }
    if (gb_json_check(request->body, request->body_len, &fault) != APR_SUCCESS) {
        return gb_error_set(err, 400, "invalid_json", NULL, "Invalid JSON payload received: %s.",
                            fault.message);
    }
    root = gb_json_root(request->body, request->body_len);
    if (gb_json_kind(root) != GB_JSON_OBJECT) {
        return gb_error_set(err, 400, "invalid_json", NULL,
                            "Invalid JSON payload received: the root element must be an object.");
    }
    return APR_SUCCESS;
}

static void set_body(gb_plan_t *plan, const call_t *call, const gb_request_t *request)
{
    const char *type = request->content_type;

    if (strcmp(plan->method, "GET") == 0 || (request->body_len == 0 && type == NULL)) {
        return;
    }
    plan->body = request->body_len > 0 ? request->body : "";
    plan->body_len = request->body_len;
    plan->content_type = type;
    if (call->needs_object || type == NULL || strncasecmp(type, "text/plain", 10) == 0) {
        plan->content_type = "application/json";
    }
}

/* The path was decoded once; what has no place in a URL is encoded again. */
static void put_path(gb_buf_t *out, const char *text, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
            || (c != '\0' && strchr("-._~!$&'()*+,;=:@/", c) != NULL)) {
            gb_buf_putc(out, (char)c);
        }
        else {
            char text3[3] = {'%', hex[c >> 4], hex[c & 15]};

            gb_buf_append(out, text3, 3);
        }
    }
}

static const char *finish_path(gb_plan_t *plan, gb_buf_t *out, const char *args)
{
    const char *path;

    if (args != NULL && args[0] != '\0') {
        gb_buf_putc(out, '?');
        gb_buf_puts(out, args);
    }
    path = out->rv == APR_SUCCESS ? apr_pstrmemdup(plan->pool, out->data, out->len) : NULL;
    gb_buf_free(out);
    return path;
}

/*
 * The model that a path names, as a resource: "m" (below models/) or
 * "tunedModels/x".  Clients write models/m, models/models/m and models/google/m
 * for the same; tunedModels/x behind models/ is what it says.  NULL when the
 * path names something else, the operations of a model for example.
 */
static const char *model_of(const route_t *route, apr_pool_t *p)
{
    const char *name = apr_pstrmemdup(p, route->rest, route->rest_len);
    int own = strcmp(route->collection->name, "models") == 0;

    if (!route->collection->has_models || route->rest_len == 0
        || (route->method == NULL && route->depth != 2)) {
        return NULL;
    }
    while (own && (strncmp(name, "models/", 7) == 0 || strncmp(name, "google/", 7) == 0)) {
        name += 7;
    }
    if (own && strncmp(name, "tunedModels/", 12) == 0) {
        return strchr(name + 12, '/') == NULL ? name : NULL;
    }
    if (strchr(name, '/') != NULL) {
        return NULL;
    }
    return own ? name : apr_pstrcat(p, route->collection->name, "/", name, NULL);
}

static void put_model_path(gb_buf_t *out, const route_t *route, const char *name)
{
    gb_buf_puts(out, strchr(name, '/') != NULL ? "/" : "/models/");
    put_path(out, name, strlen(name));
    if (route->method != NULL) {
        gb_buf_putc(out, ':');
        put_path(out, route->method, strlen(route->method));
    }
}

/* What a name means is asked of these; variant is the answer. */
typedef struct asked_t {
    const gb_settings_t *settings;
    const gb_memory_t *memory;
    unsigned variant;
} asked_t;

static apr_status_t not_found(const route_t *route, const char *name, gb_error_t *err)
{
    return gb_error_set(err, 404, "model_not_found", "model",
                        "models/%.90s is not found for API version v1beta, or is not supported for "
                        "%.60s. Call ListModels to see the list of available models and their "
                        "supported methods.",
                        name, route->method != NULL ? route->method : "GetModel");
}

/* What is only looked up is not picked for: a cooling model may still be described. */
static apr_status_t set_model(gb_plan_t *plan, const route_t *route, const char *name,
                              asked_t *asked, const char **used, gb_error_t *err)
{
    if (!gb_model_name_ok(name, strlen(name))) {
        return gb_error_set(err, 400, "invalid_value", "model",
                            "The model name in the path is not valid: use letters, digits and "
                            "._:@/- only, at most 90 characters.");
    }
    apr_cpystrn(plan->model, name, sizeof(plan->model));
    if (gb_feature_model(used, &asked->variant, name, asked->settings, asked->memory, plan->pool)
        != APR_SUCCESS) {
        return not_found(route, name, err);
    }
    if (route->method != NULL) {
        apr_cpystrn(plan->model_used, *used, sizeof(plan->model_used));
    }
    return APR_SUCCESS;
}

static apr_status_t set_path(gb_plan_t *plan, const route_t *route, const gb_request_t *request,
                             asked_t *asked, gb_error_t *err)
{
    const char *name = model_of(route, plan->pool), *used = NULL;
    gb_buf_t path;

    if (name != NULL && set_model(plan, route, name, asked, &used, err) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    gb_buf_init(&path, GB_BUF_MAX_LINE);
    if (name != NULL) {
        put_model_path(&path, route, used);
    }
    else {
        put_path(&path, request->path, strlen(request->path));
    }
    plan->path = finish_path(plan, &path, request->args);
    if (plan->path == NULL) {
        return gb_error_set(err, 400, "invalid_value", NULL, "The path or its query is too long.");
    }
    return APR_SUCCESS;
}

/* Bodies that generate get what settings and the model's name ask for. */
static apr_status_t apply_features(gb_plan_t *plan, const call_t *call, unsigned variant)
{
    gemini_call_t *state = plan->state;
    gemini_edit_t *edit;

    if (plan->body == NULL || plan->body_len == 0 || plan->model_used[0] == '\0') {
        return APR_SUCCESS;
    }
    if (strcmp(plan->model, plan->model_used) != 0 && (call->needs_object || call->taps)) {
        gb_json_fault_t fault;

        if (gb_json_check(plan->body, plan->body_len, &fault) == APR_SUCCESS) {
            gb_gemini_rename(plan, plan->model);
        }
    }
    if (!call->generates) {
        return APR_SUCCESS;
    }
    edit = apr_pcalloc(plan->pool, sizeof(*edit));
    edit->settings = state->settings;
    edit->body = plan->body;
    edit->body_len = plan->body_len;
    edit->variant = variant;
    gb_model_parse(&edit->model, plan->model_used);
    state->edit = edit;
    return gb_gemini_edit(plan, edit);
}

/* BASE_URL is v1beta's; a mount of another version asks for that one. */
static const char *other_version(const char *version)
{
    return version != NULL && strcmp(version, "v1beta") != 0 ? version : NULL;
}

static const char *operation_of(const route_t *route, const call_t *call)
{
    if (route->method != NULL && route->collection->has_models) {
        return call->operation;
    }
    return strcmp(route->collection->name, "models") == 0 && route->depth == 2
               ? "model"
               : route->collection->name;
}

/* Whether a call makes something that stays, and costs: a batch, a video, a cache, an interaction. */
static int is_lasting(const gb_plan_t *plan, const route_t *route, const call_t *call)
{
    if (strcmp(plan->method, "POST") != 0 || route->collection->bearer) {
        return 0;
    }
    return route->method == NULL || strcmp(call->operation, "batch") == 0
           || strcmp(route->method, "predictLongRunning") == 0
           || strcmp(route->method, "importFile") == 0;
}

static const char *static_method(const char *method)
{
    static const char *const methods[] = {"GET", "POST", "PATCH", "DELETE"};
    size_t i;

    for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(method, methods[i]) == 0) {
            return methods[i];
        }
    }
    return NULL;
}

/* Lists of models and of files are the same for all keys. */
static void name_page(gb_plan_t *plan, const route_t *route, const gb_request_t *request)
{
    size_t len = 0;
    const char *token = strcmp(plan->method, "GET") == 0 && !plan->lists_files
                                && (route->depth > 1
                                    || strcmp(route->collection->name, "models") != 0)
                            ? query_arg(request->args, "pageToken", &len)
                            : NULL;

    if (token != NULL) {
        gb_gemini_name_of_page(plan, token, len);
    }
}

static apr_status_t check_route(route_t *route, const gb_request_t *request, gb_error_t *err)
{
    if (!parse_path(route, request->path)) {
        return gb_error_set(err, 404, "unknown_url", NULL,
                            "The Gemini API has no such resource. Check the path of the request.");
    }
    if (static_method(request->method) == NULL || !allows(allowed(route), request->method)) {
        gb_error_set(err, 405, "method_not_allowed", NULL, "%s is not allowed here; allowed: %s.",
                     request->method, allowed(route));
        err->allow = allowed(route);
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}

/* Vertex AI's address has the publisher in it; Google's clients, which know their own, repeat it. */
static const char *below_publisher(const char *path, const gb_settings_t *settings)
{
    static const char publisher[] = "/publishers/google";
    size_t len = sizeof(publisher) - 1, base = strlen(settings->base_url);

    return base > len && strcmp(settings->base_url + base - len, publisher) == 0
                   && strncmp(path, publisher, len) == 0 && path[len] == '/'
               ? path + len
               : path;
}

apr_status_t gb_gemini_parse_request(gb_plan_t **pplan, const gb_request_t *asked_for,
                                     const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p)
{
    gb_request_t own = *asked_for, *request = &own;
    asked_t asked = {NULL, NULL, 0};
    gb_plan_t *plan;
    const call_t *call;
    route_t route;

    own.path = below_publisher(own.path, settings);
    if (check_route(&route, request, err) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    call = find_call(&route);
    if (call != &other_call && route.rest_len == 0) {
        return gb_error_set(err, 400, "missing_required_parameter", "model",
                            "The path names no model before \":%s\".", route.method);
    }
    if (call->needs_object && check_object(request, err) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    plan = gb_plan_make(&gb_gemini_dialect, p);
    plan->method = static_method(request->method);
    plan->operation = operation_of(&route, call);
    plan->lasting = is_lasting(plan, &route, call);
    plan->own_quotas = strcmp(plan->operation, "batch") == 0
                       || strcmp(plan->operation, "cachedContents") == 0;
    plan->bearer = route.collection->bearer;
    plan->version = other_version(request->version);
    plan->lists_files = strcmp(route.collection->name, "files") == 0 && route.depth == 1
                        && route.method == NULL && strcmp(plan->method, "GET") == 0;
    asked.settings = settings;
    asked.memory = request->memory;
    if (set_path(plan, &route, request, &asked, err) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    set_body(plan, call, request);
    set_answer(plan, call, request, settings);
    fake_stream(plan, request, settings);
    gb_gemini_name_in_path(plan, request->path);
    name_page(plan, &route, request);
    if (plan->body_len > 0) {
        gb_gemini_names_in_body(plan);
    }
    if (apply_features(plan, call, asked.variant) != APR_SUCCESS) {
        return gb_error_set(err, 413, "request_too_large", NULL, "The request is too large.");
    }
    *pplan = plan;
    return APR_SUCCESS;
}
