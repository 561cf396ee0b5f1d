/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAI dialect: routes, the parsing that all of them share, errors in
 * OpenAI's form.  What a route does stands in the file of its subject.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

typedef apr_status_t route_fn(gb_openai_call_t *call);
typedef void begin_fn(gb_translator_t *t, gb_openai_call_t *call);

typedef struct route_t {
    const char *path; /* ends in "/": everything below it */
    const char *method;
    route_fn *parse;
    begin_fn *begin; /* of the answer; NULL: chat, by stream */
    int form;        /* the body is multipart/form-data */
} route_t;

static const route_t routes[] = {
    {"/chat/completions",     "POST", gb_openai_chat,          NULL,                       0},
    {"/models",               "GET",  gb_openai_models_list,   gb_openai_models_begin,     0},
    {"/models/",              "GET",  gb_openai_models_one,    gb_openai_model_begin,      0},
    {"/images/generations",   "POST", gb_openai_images,        gb_openai_images_begin,     0},
    {"/images/edits",         "POST", gb_openai_images_edit,   gb_openai_images_begin,     1},
    {"/embeddings",           "POST", gb_openai_embeddings,    gb_openai_embeddings_begin, 0},
    {"/audio/speech",         "POST", gb_openai_speech,        gb_openai_speech_begin,     0},
    {"/audio/transcriptions", "POST", gb_openai_transcription, gb_openai_transcript_begin, 1},
    {"/audio/translations",   "POST", gb_openai_translation,   gb_openai_transcript_begin, 1},
};

static int route_matches(const route_t *route, const char *path)
{
    size_t len = strlen(route->path);

    return route->path[len - 1] == '/' ? strncmp(path, route->path, len) == 0 && path[len] != '\0'
                                       : strcmp(path, route->path) == 0;
}

static const route_t *route_find(const gb_request_t *request, gb_error_t *err)
{
    size_t i;

    for (i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        if (!route_matches(&routes[i], request->path)) {
            continue;
        }
        if (strcmp(request->method, routes[i].method) == 0) {
            return &routes[i];
        }
        gb_error_set(err, 405, "method_not_allowed", NULL,
                     "Not allowed to %.16s on %.200s: use %s.", request->method, request->path,
                     routes[i].method);
        err->allow = strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method;
        return NULL;
    }
    gb_error_set(err, 404, "unknown_url", NULL,
                 "Unknown request URL: %.16s %.300s. Please check "
                 "the URL for typos.",
                 request->method, request->path);
    return NULL;
}

static int takes_form(const char *path)
{
    size_t i;

    for (i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        if (routes[i].form && strcmp(routes[i].path, path) == 0) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t form_check(gb_openai_call_t *call)
{
    return call->request.form != NULL
               ? APR_SUCCESS
               : gb_error_set(call->err, 415, NULL, NULL,
                              "This endpoint takes a form with files: send its body as "
                              "multipart/form-data.");
}

/* A checked JSON object in request->body, lone surrogates mended; GET has none. */
static apr_status_t body_check(gb_openai_call_t *call)
{
    gb_request_t *request = &call->request;
    gb_json_fault_t fault = {0};
    gb_buf_t *mended;

    if (request->body == NULL
        || gb_json_check(request->body, request->body_len, &fault) != APR_SUCCESS) {
        return gb_error_set(call->err, 400, NULL, NULL,
                            "We could not parse the JSON body of your request.%s%.90s%s",
                            *fault.message ? " (" : "", fault.message, *fault.message ? ")" : "");
    }
    if (gb_json_kind(gb_json_root(request->body, request->body_len)) != GB_JSON_OBJECT) {
        return gb_error_set(call->err, 400, "invalid_type", NULL,
                            "We could not parse the JSON body of your request: expected an "
                            "object.");
    }
    if (fault.has_lone_surrogate) {
        mended = apr_palloc(call->pool, sizeof(*mended));
        gb_buf_init_pool(mended, GB_BUF_MAX_REQUEST, call->pool);
        if (gb_json_mend(mended, request->body, request->body_len) != APR_SUCCESS) {
            return gb_error_set(call->err, 413, "request_too_large", NULL,
                                "The request is too large.");
        }
        request->body = mended->data;
        request->body_len = mended->len;
    }
    return APR_SUCCESS;
}

static apr_status_t parse_request(gb_plan_t **pplan, const gb_request_t *request,
                                  const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p)
{
    const route_t *route = route_find(request, err);
    gb_openai_call_t *call;
    apr_status_t rv;

    if (route == NULL) {
        return APR_NOTFOUND;
    }
    call = apr_pcalloc(p, sizeof(*call));
    call->plan = gb_plan_make(&gb_openai_dialect, p);
    call->plan->state = call;
    call->pool = p;
    call->request = *request;
    call->settings = settings;
    call->err = err;
    err->status = 0;
    if (strcmp(route->method, "POST") == 0
        && (rv = route->form ? form_check(call) : body_check(call)) != APR_SUCCESS) {
        return rv;
    }
    if ((rv = route->parse(call)) == APR_SUCCESS) {
        *pplan = call->plan;
    }
    call->err = NULL;
    return rv;
}

/* ---- answers ---- */

gb_translator_t *gb_openai_translator_make(gb_plan_t *plan, gb_facts_t *facts)
{
    gb_translator_t *t = apr_pcalloc(plan->pool, sizeof(*t));

    t->plan = plan;
    t->facts = facts;
    return t;
}

static gb_translator_t *start(gb_plan_t *plan, const char *content_type, gb_facts_t *facts)
{
    gb_openai_call_t *call = plan->state;
    gb_translator_t *t = gb_openai_translator_make(plan, facts);
    gb_error_t err;
    const route_t *route = route_find(&call->request, &err);

    (void)content_type;
    if (route->begin != NULL) {
        route->begin(t, call);
    }
    else if (call->stream) {
        gb_openai_stream_begin(t, call);
    }
    else {
        gb_openai_unary_begin(t, call);
    }
    if (call->predicts) {
        gb_openai_imagen_begin(t);
    }
    return t;
}

static apr_status_t on_chunk(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    t->out = out;
    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    return t->chunk(t, bytes, len);
}

static apr_status_t on_end(gb_translator_t *t, gb_buf_t *out)
{
    t->out = out;
    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    return t->end(t);
}

/* ---- errors ---- */

void gb_openai_blocked(gb_translator_t *t, const char *what, const char *why)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_ERROR, t->plan->pool);
    gb_buf_puts(&out, "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":");
    gb_json_put_cstr(&out, apr_pstrcat(t->plan->pool, what, " was blocked by Gemini: ", why, NULL));
    gb_buf_puts(&out, "}}");
    t->facts->has_error = 1;
    t->facts->error_json = out.data;
    t->facts->error_len = out.len;
}

static void put_or_null(gb_buf_t *out, const char *text)
{
    gb_json_put_cstr(out, *text != '\0' ? text : NULL);
}

void gb_openai_error_body(const gb_plan_t *plan, const gb_error_t *err, int midstream,
                          gb_buf_t *out)
{
    if (midstream && plan != NULL && plan->answer_type != NULL
        && strncmp(plan->answer_type, "audio/", 6) == 0) {
        return; /* between samples an error has no place: the connection breaks off */
    }
    gb_buf_puts(out, midstream ? "data: {\"error\":{\"message\":" : "{\"error\":{\"message\":");
    gb_json_put_cstr(out, err->message);
    gb_buf_puts(out, ",\"type\":");
    gb_json_put_cstr(out, gb_error_openai_type(err));
    gb_buf_puts(out, ",\"param\":");
    put_or_null(out, err->param);
    gb_buf_puts(out, ",\"code\":");
    put_or_null(out, err->code);
    gb_buf_puts(out, midstream ? "}}\n\n" : "}}");
}

const gb_dialect_t gb_openai_dialect = {
    .name = "openai",
    .error_type = "application/json",
    .parse_request = parse_request,
    .takes_form = takes_form,
    .start = start,
    .on_chunk = on_chunk,
    .on_end = on_end,
    .error_body = gb_openai_error_body,
    .drop_field = gb_openai_drop_field,
    .resume = gb_openai_resume,
    .instead = gb_openai_instead,
    .go_on = gb_openai_go_on,
    .heartbeat = gb_openai_heartbeat,
    .split = gb_openai_split,
};
