/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The direct surface: the client's bytes go to Google's own OpenAI-format
 * endpoint and its bytes come back, both untouched.  What passes is only looked
 * at: for the model that the pool picks for, for usage, for errors and for the
 * end.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

/* What Google's endpoint offers; a path that ends in "/" stands for all below it. */
static const struct {
    const char *path;
    const char *method;
    const char *operation;
    int chat;
} routes[] = {
    {"/chat/completions",   "POST", "chat",       1},
    {"/embeddings",         "POST", "embeddings", 0},
    {"/images/generations", "POST", "images",     0},
    {"/videos",             "POST", "videos",     0},
    {"/videos/",            "GET",  "videos",     0},
    {"/models",             "GET",  "models",     0},
    {"/models/",            "GET",  "model",      0},
    {"/batches",            "GET",  "batches",    0},
    {"/batches",            "POST", "batches",    0},
    {"/batches/",           "GET",  "batches",    0},
};

#define N_ROUTES (sizeof(routes) / sizeof(*routes))

static int path_matches(const char *route, const char *path)
{
    size_t len = strlen(route);

    return route[len - 1] == '/'
               ? strncmp(path, route, len) == 0 && path[len] != '\0' && strstr(path, "..") == NULL
               : strcmp(path, route) == 0;
}

/* The methods of a path, for Allow; NULL: nobody offers it. */
static const char *allowed(const char *path)
{
    static const char *const words[] = {NULL, "GET, HEAD", "POST", "GET, HEAD, POST"};
    size_t i, known = 0;

    for (i = 0; i < N_ROUTES; i++) {
        if (path_matches(routes[i].path, path)) {
            known |= strcmp(routes[i].method, "GET") == 0 ? 1 : 2;
        }
    }
    return words[known];
}

/* The row's index, -1 with *err filled when there is none. */
static int route_find(const gb_request_t *request, gb_error_t *err)
{
    const char *allow = allowed(request->path);
    size_t i;

    for (i = 0; i < N_ROUTES; i++) {
        if (path_matches(routes[i].path, request->path)
            && strcmp(routes[i].method, request->method) == 0) {
            return (int)i;
        }
    }
    if (allow == NULL) {
        gb_error_set(err, 404, "unknown_url", NULL,
                     "Unknown request URL: %.16s %.300s. Please check the URL for typos.",
                     request->method, request->path);
        return -1;
    }
    gb_error_set(err, 405, "method_not_allowed", NULL, "Not allowed to %.16s on %.200s: use %s.",
                 request->method, request->path, allow);
    err->allow = allow;
    return -1;
}

/* Bytes that may stand in a URL as they are; the rest is escaped. */
static const char *path_escape(const char *path, apr_pool_t *p)
{
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = apr_palloc(p, strlen(path) * 3 + 1), *to = escaped;

    for (; *path != '\0'; path++) {
        unsigned char c = (unsigned char)*path;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
            || strchr("/-._~:@!$&'()*+,;=", c) != NULL) {
            *to++ = (char)c;
        }
        else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to = '\0';
    return escaped;
}

/* Model and stream of a JSON body. */
static apr_status_t body_read(gb_plan_t *plan, const gb_request_t *request, gb_error_t *err)
{
    gb_json_fault_t fault = {0};
    const char *name;
    gb_span_t root;

    if (request->body == NULL
        || gb_json_check(request->body, request->body_len, &fault) != APR_SUCCESS
        || gb_json_kind(gb_json_root(request->body, request->body_len)) != GB_JSON_OBJECT) {
        return gb_error_set(err, 400, NULL, NULL,
                            "We could not parse the JSON body of your request.");
    }
    root = gb_json_root(request->body, request->body_len);
    name = gb_openai_text(gb_json_get(root, "model"), plan->pool);
    if (name != NULL && !gb_model_name_ok(name, strlen(name))) {
        return gb_error_set(err, 400, "invalid_value", "model",
                            "Invalid value for 'model': a name has 1 to 90 characters, letters, "
                            "digits and . _ : @ / - only.");
    }
    apr_cpystrn(plan->model, name != NULL ? name : "", sizeof(plan->model));
    name = name != NULL && strncmp(name, "models/", 7) == 0 ? name + 7 : name;
    apr_cpystrn(plan->model_used, name != NULL ? name : "", sizeof(plan->model_used));
    plan->stream = gb_openai_flag(gb_json_get(root, "stream"));
    plan->upstream_stream = plan->stream;
    return APR_SUCCESS;
}

static int is_json(const gb_request_t *request)
{
    return request->content_type == NULL
           || strncasecmp(request->content_type, "multipart/", 10) != 0;
}

/* Whether it has Google's own members, which alone can speak of caches. */
static int has_google(const gb_plan_t *plan)
{
    gb_span_t root = gb_json_root(plan->body, plan->body_len);

    return gb_openai_there(gb_json_path(root, "extra_body.google"))
           || gb_openai_there(gb_json_get(root, "google"));
}

static apr_status_t parse_request(gb_plan_t **pplan, const gb_request_t *request,
                                  const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p)
{
    int route = route_find(request, err);
    gb_plan_t *plan;
    apr_status_t rv;

    if (route < 0) {
        return APR_NOTFOUND;
    }
    plan = gb_plan_make(&gb_openai_direct_dialect, p);
    if (strcmp(request->method, "POST") == 0) {
        if (is_json(request) && (rv = body_read(plan, request, err)) != APR_SUCCESS) {
            return rv;
        }
        plan->content_type = is_json(request) ? "application/json" : request->content_type;
        plan->body = request->body;
        plan->body_len = request->body_len;
    }
    if (gb_list_has(&settings->filtered_models, plan->model_used)) {
        return gb_error_set(err, 404, "model_not_found", "model",
                            "The model '%.90s' does not exist or you do not have access to it.",
                            plan->model);
    }
    plan->method = routes[route].method;
    plan->path = apr_pstrcat(p, "/openai", path_escape(request->path, p),
                             request->args != NULL ? "?" : NULL, request->args, NULL);
    if (plan->body != NULL && is_json(request) && has_google(plan)) {
        gb_gemini_names_in_body(plan);
    }
    plan->bearer = 1;
    plan->operation = routes[route].operation;
    plan->expects_content = routes[route].chat;
    plan->stream_type = routes[route].chat ? "text/event-stream; charset=utf-8" : NULL;
    *pplan = plan;
    return APR_SUCCESS;
}

/* ---- looking at what passes ---- */

static void count_read(apr_int64_t *tokens, gb_span_t usage, const char *path)
{
    gb_json_int(gb_json_path(usage, path), tokens);
}

static void usage_read(gb_facts_t *facts, gb_span_t usage)
{
    if (gb_json_kind(usage) != GB_JSON_OBJECT) {
        return;
    }
    count_read(&facts->prompt_tokens, usage, "prompt_tokens");
    count_read(&facts->completion_tokens, usage, "completion_tokens");
    count_read(&facts->total_tokens, usage, "total_tokens");
    count_read(&facts->thought_tokens, usage, "completion_tokens_details.reasoning_tokens");
    count_read(&facts->cached_tokens, usage, "prompt_tokens_details.cached_tokens");
}

static int says_something(gb_span_t message)
{
    static const char *const members[] = {"content",           "tool_calls", "refusal",
                                          "reasoning_content", "audio",      "images"};
    gb_span_t value;
    size_t i;

    for (i = 0; i < sizeof(members) / sizeof(*members); i++) {
        value = gb_openai_member(message, members[i]);
        if (gb_openai_there(value) && value.len > 2) {
            return 1;
        }
    }
    return 0;
}

static void choices_read(gb_facts_t *facts, gb_span_t choices, apr_pool_t *p)
{
    gb_json_iter_t it;
    const char *reason;

    for (gb_json_iter(&it, choices); gb_json_next(&it);) {
        facts->has_candidate = 1;
        facts->has_content |= says_something(gb_json_get2(it.value, "delta", "message"));
        reason = gb_openai_text(gb_json_get(it.value, "finish_reason"), p);
        if (reason != NULL) {
            facts->finished = 1;
            facts->blocked |= strcmp(reason, "content_filter") == 0;
            facts->has_content |= strcmp(reason, "length") == 0; /* all went into thoughts */
            apr_cpystrn(facts->finish_reason, reason, sizeof(facts->finish_reason));
        }
    }
}

static void look(gb_translator_t *t, gb_span_t root)
{
    gb_facts_t *facts = t->facts;
    apr_pool_t *p = t->plan->pool;
    gb_json_iter_t it;
    const char *text;

    if (gb_json_kind(root) == GB_JSON_ARRAY) { /* Google wraps errors here */
        gb_json_iter(&it, root);
        root = gb_json_next(&it) ? it.value : (gb_span_t){NULL, 0};
    }
    if (gb_openai_there(gb_openai_member(root, "error"))) {
        facts->has_error = 1;
        facts->error_json = apr_pstrmemdup(p, root.p, root.len);
        facts->error_len = root.len;
        return;
    }
    choices_read(facts, gb_json_get(root, "choices"), p);
    usage_read(facts, gb_json_get(root, "usage"));
    if ((text = gb_openai_text(gb_json_get(root, "model"), p)) != NULL) {
        apr_cpystrn(facts->model_version, text, sizeof(facts->model_version));
    }
    if ((text = gb_openai_text(gb_json_get(root, "id"), p)) != NULL) {
        apr_cpystrn(facts->response_id, text, sizeof(facts->response_id));
    }
}

static apr_status_t on_event(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_translator_t *t = baton;
    gb_json_fault_t fault;

    if (kind == GB_SSE_DONE) {
        t->done = 1;
    }
    else if (gb_json_check(data, len, &fault) == APR_SUCCESS) {
        look(t, gb_json_root(data, len));
    }
    return t->facts->has_error ? APR_EOF : APR_SUCCESS; /* the reader stops before it */
}

/*
 * Only whole events go out: so an error event, which does not, never takes half
 * of another with it, however the bytes are cut.
 */
static apr_status_t stream_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    apr_status_t rv = gb_sse_feed(t->sse, bytes, len);
    size_t whole = (size_t)(gb_sse_boundary(t->sse) - t->passed);

    if (gb_buf_append(&t->kept, bytes, len) != APR_SUCCESS) {
        return t->kept.rv;
    }
    gb_buf_append(t->out, t->kept.data, whole);
    gb_buf_consume(&t->kept, whole);
    t->passed += whole;
    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    return rv != APR_SUCCESS ? rv : t->out->rv;
}

static apr_status_t stream_end(gb_translator_t *t)
{
    apr_status_t rv = gb_sse_end(t->sse);

    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    gb_buf_append(t->out, t->kept.data, t->kept.len);
    return rv == APR_SUCCESS && !t->done && !t->facts->finished ? APR_INCOMPLETE : rv;
}

static apr_status_t whole_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    gb_json_fault_t fault;

    if (gb_json_check(bytes, len, &fault) == APR_SUCCESS) {
        look(t, gb_json_root(bytes, len));
    }
    t->n++;
    return t->facts->has_error ? APR_SUCCESS : gb_buf_append(t->out, bytes, len);
}

static apr_status_t whole_end(gb_translator_t *t)
{
    return t->n > 0 ? APR_SUCCESS : APR_INCOMPLETE;
}

static gb_translator_t *start(gb_plan_t *plan, const char *content_type, gb_facts_t *facts)
{
    gb_translator_t *t = gb_openai_translator_make(plan, facts);

    (void)content_type;
    gb_buf_init_pool(&t->kept, GB_BUF_MAX_EVENT, plan->pool);
    t->sse = plan->upstream_stream ? gb_sse_make(on_event, t, plan->pool) : NULL;
    t->chunk = t->sse != NULL ? stream_chunk : whole_chunk;
    t->end = t->sse != NULL ? stream_end : whole_end;
    return t;
}

static apr_status_t on_chunk(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    t->out = out;
    return t->facts->has_error ? APR_SUCCESS : t->chunk(t, bytes, len);
}

static apr_status_t on_end(gb_translator_t *t, gb_buf_t *out)
{
    t->out = out;
    return t->facts->has_error ? APR_SUCCESS : t->end(t);
}

const gb_dialect_t gb_openai_direct_dialect = {
    .name = "openai-direct",
    .error_type = "application/json",
    .parse_request = parse_request,
    .start = start,
    .on_chunk = on_chunk,
    .on_end = on_end,
    .error_body = gb_openai_error_body,
    .heartbeat = gb_openai_heartbeat,
};
