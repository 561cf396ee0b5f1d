/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request line to a handler: finds version, model and verb in the path,
 * checks the credential as Google does, then lets fault rules, quotas and the
 * handlers of the methods have the call in this order.
 */
#include "sim.h"

#include <stdio.h>

#define ANY_MODEL (1u << 31)

/* ---- paths ---- */

static const char *const versions[] = {"v1beta", "v1beta1", "v1alpha", "v1", NULL};

static const struct {
    const char *method, *path;
    sim_route_t route;
} openai_paths[] = {
    {"POST", "chat/completions",   SR_OPENAI_CHAT  },
    {"GET",  "models",             SR_OPENAI_MODELS},
    {"POST", "embeddings",         SR_OPENAI_EMBED },
    {"POST", "images/generations", SR_OPENAI_IMAGES}
};

static const struct {
    const char *verb;
    sim_route_t route;
} verbs[] = {
    {"generateContent",       SR_GENERATE   },
    {"streamGenerateContent", SR_STREAM     },
    {"countTokens",           SR_COUNT      },
    {"embedContent",          SR_EMBED      },
    {"batchEmbedContents",    SR_BATCH_EMBED},
    {"predict",               SR_PREDICT    }
};

/* clang-format off */
static const char *const route_names[SR_MAX] = {
    [SR_NONE]          = "unknown",
    [SR_GENERATE]      = "generateContent",
    [SR_STREAM]        = "streamGenerateContent",
    [SR_COUNT]         = "countTokens",
    [SR_EMBED]         = "embedContent",
    [SR_BATCH_EMBED]   = "batchEmbedContents",
    [SR_PREDICT]       = "predict",
    [SR_MODELS]        = "models.list",
    [SR_MODEL]         = "models.get",
    [SR_OPENAI_CHAT]   = "openai.chat",
    [SR_OPENAI_MODELS] = "openai.models",
    [SR_OPENAI_MODEL]  = "openai.model",
    [SR_OPENAI_EMBED]  = "openai.embeddings",
    [SR_OPENAI_IMAGES] = "openai.images",
    [SR_UNKNOWN_VERB]  = "unknown",
    [SR_CONTROL]       = "control"
};
/* clang-format on */

const char *sim_route_name(sim_route_t route)
{
    return route_names[route];
}

bool sim_route_is_openai(sim_route_t route)
{
    return route >= SR_OPENAI_CHAT && route <= SR_OPENAI_IMAGES;
}

/* The part of the path behind /v1beta/ (or a sister); any prefix may stand before it. */
static bool cut_version(sim_req_t *r, sim_str_t path, sim_str_t *rest)
{
    size_t at = 0;

    while (at < path.n) {
        const char *slash = memchr(path.p + at, '/', path.n - at);
        sim_str_t segment;
        int i;

        if (slash == NULL) {
            return false;
        }
        segment = (sim_str_t){path.p + at, (size_t)(slash - path.p) - at};
        at = (size_t)(slash - path.p) + 1;
        for (i = 0; versions[i] != NULL; i++) {
            if (sim_eq(segment, versions[i])) {
                r->version = segment;
                *rest = (sim_str_t){path.p + at, path.n - at};
                return true;
            }
        }
    }
    return false;
}

static sim_route_t route_openai(sim_req_t *r, sim_str_t rest)
{
    size_t i;

    for (i = 0; i < sizeof(openai_paths) / sizeof(*openai_paths); i++) {
        if (sim_eq(rest, openai_paths[i].path) && sim_eq(r->method, openai_paths[i].method)) {
            return openai_paths[i].route;
        }
    }
    if (sim_starts(rest, "models/") && sim_eq(r->method, "GET")) {
        r->model = (sim_str_t){rest.p + 7, rest.n - 7};
        return SR_OPENAI_MODEL;
    }
    return SR_NONE;
}

static sim_route_t route_verb(const sim_req_t *r)
{
    size_t i;

    if (!sim_eq(r->method, "POST")) {
        return SR_NONE;
    }
    for (i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
        if (sim_eq(r->verb, verbs[i].verb)) {
            return verbs[i].route;
        }
    }
    return SR_UNKNOWN_VERB;
}

static sim_route_t route_models(sim_req_t *r, sim_str_t rest)
{
    const char *colon;

    if (rest.n == 0) {
        return sim_eq(r->method, "GET") || sim_eq(r->method, "HEAD") ? SR_MODELS : SR_NONE;
    }
    rest.p++;
    rest.n--;
    colon = memrchr(rest.p, ':', rest.n);
    r->model = rest;
    if (colon == NULL) {
        return sim_eq(r->method, "GET") || sim_eq(r->method, "HEAD") ? SR_MODEL : SR_NONE;
    }
    r->model.n = (size_t)(colon - rest.p);
    r->verb = (sim_str_t){colon + 1, rest.n - r->model.n - 1};
    return route_verb(r);
}

static void read_query(sim_req_t *r)
{
    sim_str_t alt;

    if (r->query.n == 0) {
        return;
    }
    alt = sim_query_get(r->query, "alt");
    alt = alt.n > 0 ? alt : sim_query_get(r->query, "$alt");
    r->alt_sse = sim_starts(alt, "sse");
    r->int_enums = sim_contains(alt, "enum-encoding");
    r->compact = sim_eq(sim_query_get(r->query, "prettyPrint"), "false")
                 || sim_eq(sim_query_get(r->query, "$prettyPrint"), "false");
    r->key_query = sim_query_get(r->query, "key");
    if (r->key_query.n == 0) {
        r->key_query = sim_query_get(r->query, "$key");
    }
}

/* Decodes %3A and the like; the result lives until the next request is routed. */
static sim_str_t decoded_path(sim_str_t path)
{
    static sim_buf_t b;

    if (path.n == 0 || memchr(path.p, '%', path.n) == NULL) {
        return path;
    }
    b.len = 0;
    sim_buf_need(&b, path.n);
    b.len = sim_url_decode(b.p, path.p, path.n);
    return (sim_str_t){b.p, b.len};
}

void sim_route(sim_req_t *r)
{
    sim_str_t path = decoded_path(r->path), rest;

    if (sim_starts(path, "/_sim")) {
        r->route = SR_CONTROL;
        return;
    }
    read_query(r);
    if (!cut_version(r, path, &rest)) {
        return;
    }
    if (sim_starts(rest, "publishers/google/")) {
        rest.p += 18;
        rest.n -= 18;
    }
    if (sim_starts(rest, "openai/")) {
        r->route = route_openai(r, (sim_str_t){rest.p + 7, rest.n - 7});
    }
    else if (sim_starts(rest, "models") && (rest.n == 6 || rest.p[6] == '/')) {
        r->route = route_models(r, (sim_str_t){rest.p + 6, rest.n - 6});
    }
    if (r->model.n > 0) {
        r->known = sim_model_find(r->model);
    }
}

/*
 * Model and stream flag of a call in OpenAI format stand in its body. Rules and
 * records want them before it is parsed; inside a string the quotes would be
 * escaped, so a plain search finds only member names.
 */
static const char *member_value(sim_str_t body, const char *quoted_name)
{
    const char *end = body.p + body.n;
    const char *p = body.n > 0 ? memmem(body.p, body.n, quoted_name, strlen(quoted_name)) : NULL;

    if (p == NULL) {
        return NULL;
    }
    for (p += strlen(quoted_name); p < end && (*p == ' ' || *p == ':'); p++) {
    }
    return p < end ? p : NULL;
}

static void peek_openai(sim_req_t *r)
{
    const char *end = r->body.p + r->body.n, *stop;
    const char *model = member_value(r->body, "\"model\"");
    const char *stream = member_value(r->body, "\"stream\"");

    r->openai_stream = stream != NULL && end - stream >= 4 && memcmp(stream, "true", 4) == 0;
    if (model == NULL || *model != '"') {
        return;
    }
    stop = memchr(model + 1, '"', (size_t)(end - model - 1));
    if (stop != NULL) {
        r->model = (sim_str_t){model + 1, (size_t)(stop - model - 1)};
        if (sim_starts(r->model, "models/")) {
            r->model = (sim_str_t){r->model.p + 7, r->model.n - 7};
        }
        r->known = sim_model_find(r->model);
    }
}

/* ---- credentials ---- */

static sim_str_t bearer(sim_str_t authorization)
{
    sim_str_t none = {NULL, 0};

    if (authorization.n <= 7 || strncasecmp(authorization.p, "Bearer ", 7) != 0) {
        return none;
    }
    return sim_trim((sim_str_t){authorization.p + 7, authorization.n - 7});
}

static void choose_key(sim_req_t *r)
{
    if (sim_route_is_openai(r->route)) {
        r->key = bearer(r->authorization);
    }
    else {
        r->key = r->key_header.n > 0 ? r->key_header : r->key_query;
    }
    if (r->key.n == 0) {
        r->key = r->key_header.n > 0 ? r->key_header : bearer(r->authorization);
    }
}

static bool authorised(sim_conn_t *c)
{
    const sim_req_t *r = &c->req;
    int given = (r->key_header.n > 0) + (r->key_query.n > 0) + (r->authorization.n > 0)
                + (r->other_credentials ? 1 : 0);

    if (given > 1) {
        sim_error_simple(c, 400,
                         "Multiple authentication credentials received. "
                         "Please pass only one.");
        return false;
    }
    if (sim_route_is_openai(r->route)) {
        if (bearer(r->authorization).n == 0) {
            sim_error_simple(c, 400, "Missing or invalid Authorization header.");
            return false;
        }
        return true;
    }
    if (r->key_header.n > 0 || r->key_query.n > 0) {
        return true;
    }
    if (r->authorization.n > 0 || r->other_credentials) {
        static sim_buf_t body;
        sim_canned_args_t none = {
            .key = {"", 0},
              .model = {"", 0}
        };
        sim_type_t type;

        body.len = 0;
        sim_canned_write(&body, "unauthenticated", 401, &none, &type);
        sim_error_body(c, 401, type, (sim_str_t){body.p, body.len});
        return false;
    }
    sim_error_simple(c, 403,
                     "Method doesn't allow unregistered callers (callers without "
                     "established identity). Please use API Key or other form of API "
                     "consumer identity to call this API.");
    return false;
}

/* ---- handlers ---- */

void sim_route_no_model(sim_conn_t *c)
{
    const sim_req_t *r = &c->req;
    bool openai = sim_route_is_openai(r->route);
    sim_str_t version = openai ? SIM_STR("v1main") : r->version;
    sim_str_t verb = openai ? SIM_STR("generateContent") : r->verb;
    int n = r->model.n < 256 ? (int)r->model.n : 256;

    if (sim_model_retired(r->model)) {
        sim_error_simple(c, 404,
                         "This model models/%.*s is no longer available. Please update "
                         "your code to use a newer model for the latest features and "
                         "improvements.",
                         n, r->model.p);
        return;
    }
    sim_error_simple(c, 404,
                     "models/%.*s is not found for API version %.*s, or is not supported "
                     "for %.*s. Call ListModels to see the list of available models and "
                     "their supported methods.",
                     n, r->model.p, (int)version.n, version.p, (int)verb.n, verb.p);
}

/* pageToken is the base64 of the name that comes next, as opaque as Google's. */
static bool page_start(sim_str_t token, unsigned *start)
{
    sim_buf_t name = {0};
    char plain[256];
    const sim_model_t *m;
    size_t n;

    if (token.n == 0) {
        return true;
    }
    if (token.n >= sizeof(plain)) {
        return false;
    }
    n = sim_url_decode(plain, token.p, token.n);
    if (!sim_base64_decode(&name, plain, n)) {
        name.len = 0;
    }
    for (*start = 0; (m = sim_model_at(*start)) != NULL; ++*start) {
        if (name.len > 0 && sim_eq((sim_str_t){name.p, name.len}, m->name)) {
            break;
        }
    }
    sim_buf_free(&name);
    return m != NULL;
}

static void list_models(sim_conn_t *c)
{
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = c->req.compact ? SW_COMPACT : SW_PRETTY};
    sim_str_t size = sim_query_get(c->req.query, "pageSize");
    long left = sim_to_long(size, 50);
    unsigned i = 0;

    if (!page_start(sim_query_get(c->req.query, "pageToken"), &i)) {
        sim_error_simple(c, 400, "* ListModelsRequest.page_token: The page token is invalid.\n");
        return;
    }
    left = left < 1 ? 50 : left > 1000 ? 1000 : left;
    body.len = 0;
    sw_open(&w, NULL, '{');
    sw_open(&w, "models", '[');
    for (; left > 0 && sim_model_at(i) != NULL; i++, left--) {
        sim_model_write(&w, NULL, sim_model_at(i));
    }
    sw_close(&w, ']');
    if (sim_model_at(i) != NULL) {
        sw_begin(&w, "nextPageToken");
        sim_putc(&body, '"');
        sim_put_base64(&body, sim_model_at(i)->name, strlen(sim_model_at(i)->name));
        sim_putc(&body, '"');
    }
    sw_close(&w, '}');
    sim_putc(&body, '\n');
    sim_http_answer(c, 200, ST_JSON, (sim_str_t){body.p, body.len});
}

static void get_model(sim_conn_t *c)
{
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = c->req.compact ? SW_COMPACT : SW_PRETTY};

    body.len = 0;
    sim_model_write(&w, NULL, c->req.known);
    sim_putc(&body, '\n');
    sim_http_answer(c, 200, ST_JSON, (sim_str_t){body.p, body.len});
}

static void embed_one(sim_conn_t *c)
{
    sim_embed(c, false);
}

static void embed_many(sim_conn_t *c)
{
    sim_embed(c, true);
}

/* clang-format off */
static const struct {
    void (*handle)(sim_conn_t *c);
    unsigned needs;  /* model flag; ANY_MODEL = any known model */
} handlers[SR_MAX] = {
    [SR_NONE]          = { sim_error_unknown_page, 0 },
    [SR_GENERATE]      = { sim_generate,           SM_TEXT },
    [SR_STREAM]        = { sim_generate,           SM_TEXT },
    [SR_COUNT]         = { sim_count_tokens,       SM_COUNT },
    [SR_EMBED]         = { embed_one,              SM_EMBED },
    [SR_BATCH_EMBED]   = { embed_many,             SM_EMBED },
    [SR_PREDICT]       = { sim_predict,            SM_PREDICT },
    [SR_MODELS]        = { list_models,            0 },
    [SR_MODEL]         = { get_model,              ANY_MODEL },
    [SR_OPENAI_CHAT]   = { sim_openai_chat,        0 },
    [SR_OPENAI_MODELS] = { sim_openai_models,      0 },
    [SR_OPENAI_MODEL]  = { sim_openai_models,      0 },
    [SR_OPENAI_EMBED]  = { sim_openai_embed,       0 },
    [SR_OPENAI_IMAGES] = { sim_openai_images,      0 },
    [SR_UNKNOWN_VERB]  = { sim_route_no_model,     0 },
    [SR_CONTROL]       = { sim_control,            0 }
};
/* clang-format on */

void sim_request_go(sim_conn_t *c)
{
    const sim_req_t *r = &c->req;
    unsigned needs = handlers[r->route].needs;

    if (c->waited) {
        sim_route(&c->req); /* a decoded path may have been overwritten meanwhile */
        if (sim_route_is_openai(c->req.route)) {
            peek_openai(&c->req);
        }
    }
    if (r->route != SR_NONE && !authorised(c)) {
        return;
    }
    if (c->rule != NULL && sim_fault_answer(c, c->rule)) {
        return;
    }
    if (needs != 0 && (r->known == NULL || (needs != ANY_MODEL && !(r->known->flags & needs)))) {
        sim_route_no_model(c);
        return;
    }
    handlers[r->route].handle(c);
}

bool sim_request_delay(sim_conn_t *c, long ms)
{
    if (ms <= 0 || c->waited) {
        return false;
    }
    c->waited = true;
    c->state = SC_DELAYED;
    sim_timer_set(c, sim_now_ns() + (uint64_t)ms * 1000000u);
    return true;
}

void sim_request(sim_conn_t *c)
{
    long delay;

    sim_route(&c->req);
    c->started_ns = sim_now_ns();
    c->sent = 0;
    c->status = 0;
    if (c->req.route == SR_CONTROL) {
        sim_control(c);
        return;
    }
    choose_key(&c->req);
    if (sim_route_is_openai(c->req.route)) {
        peek_openai(&c->req);
    }
    sim_calls_begin(c);
    c->rule = sim_fault_pick(&c->req);
    delay = c->rule != NULL ? sim_fault_delay(c->rule) : 0;
    delay = delay > 0 ? delay : sim_pace_default.delay_ms;
    if (!sim_request_delay(c, delay)) {
        sim_request_go(c);
    }
}
