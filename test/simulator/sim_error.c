/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Google's errors as the simulator tells them: the envelope in its forms
 * (object, one-element array, event-stream type), and a table of canned
 * bodies that fault rules ask for by name.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- the envelope ---- */

static const struct {
    int code;
    const char *name;
} status_names[] = {
    {400, "INVALID_ARGUMENT"  },
    {401, "UNAUTHENTICATED"   },
    {402, "RESOURCE_EXHAUSTED"},
    {403, "PERMISSION_DENIED" },
    {404, "NOT_FOUND"         },
    {409, "ABORTED"           },
    {429, "RESOURCE_EXHAUSTED"},
    {499, "CANCELLED"         },
    {500, "INTERNAL"          },
    {501, "UNIMPLEMENTED"     },
    {503, "UNAVAILABLE"       },
    {504, "DEADLINE_EXCEEDED" },
    {0,   "UNKNOWN"           }
};

static const char *status_name_of(int code)
{
    size_t i = 0;

    while (status_names[i].code != 0 && status_names[i].code != code) {
        i++;
    }
    return status_names[i].name;
}

static void new_line(sim_buf_t *b, unsigned depth)
{
    sim_putc(b, '\n');
    while (depth-- > 0) {
        sim_putl(b, "  ");
    }
}

/* Copies compact JSON with Google's indentation. */
static void put_pretty(sim_buf_t *b, sim_str_t json, unsigned depth)
{
    bool quoted = false;
    size_t i;

    for (i = 0; i < json.n; i++) {
        char c = json.p[i];

        if (quoted || c == '"') {
            sim_putc(b, c);
            if (c == '\\' && i + 1 < json.n) {
                sim_putc(b, json.p[++i]);
            }
            else if (c == '"') {
                quoted = !quoted;
            }
        }
        else if ((c == '{' || c == '[') && i + 1 < json.n && json.p[i + 1] != c + 2) {
            sim_putc(b, c);
            new_line(b, ++depth);
        }
        else if ((c == '}' || c == ']') && json.p[i - 1] != c - 2) {
            new_line(b, --depth);
            sim_putc(b, c);
        }
        else {
            sim_putc(b, c);
            if (c == ',') {
                new_line(b, depth);
            }
            else if (c == ':') {
                sim_putc(b, ' ');
            }
        }
    }
}

void sim_error_write(sim_buf_t *b, int code, const char *status_name, sim_str_t message,
                     sim_str_t details)
{
    if (status_name == NULL || *status_name == '\0') {
        status_name = status_name_of(code);
    }
    sim_buf_printf(b, "{\n  \"error\": {\n    \"code\": %d,\n    \"message\": \"", code);
    sim_put_escaped(b, message.p, message.n);
    sim_buf_printf(b, "\",\n    \"status\": \"%s\"", status_name);
    if (details.n > 0) {
        sim_putl(b, ",\n    \"details\": ");
        put_pretty(b, details, 2);
    }
    sim_putl(b, "\n  }\n}\n");
}

/* The array form of streams and the OpenAI-format endpoint wrap their errors. */
static bool is_wrapped(const sim_req_t *r)
{
    return sim_route_is_openai(r->route) || (r->route == SR_STREAM && !r->alt_sse);
}

static sim_type_t error_type(const sim_req_t *r)
{
    if (sim_route_is_openai(r->route)) {
        return ST_OPENAI_JSON;
    }
    return r->route == SR_STREAM && r->alt_sse ? ST_SSE : ST_JSON;
}

static void send_body(sim_conn_t *c, int code, sim_str_t body)
{
    static sim_buf_t wrapped;

    if (is_wrapped(&c->req)) {
        wrapped.len = 0;
        sim_putc(&wrapped, '[');
        sim_put(&wrapped, body.p, body.n);
        sim_putc(&wrapped, ']');
        body = (sim_str_t){wrapped.p, wrapped.len};
    }
    sim_http_answer(c, code, error_type(&c->req), body);
}

void sim_error_send(sim_conn_t *c, int code, const char *status_name, sim_str_t message,
                    sim_str_t details)
{
    static sim_buf_t body;

    body.len = 0;
    sim_error_write(&body, code, status_name, message, details);
    send_body(c, code, (sim_str_t){body.p, body.len});
}

void sim_error_simple(sim_conn_t *c, int code, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        n = (int)strlen(text);
    }
    sim_error_send(c, code, NULL, (sim_str_t){text, (size_t)n}, (sim_str_t){NULL, 0});
}

void sim_error_unknown_page(sim_conn_t *c)
{
    static sim_buf_t page;

    page.len = 0;
    sim_putl(&page, "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n"
                    "  <title>Error 404 (Not Found)!!1</title>\n"
                    "  <p><b>404.</b> <ins>That\xe2\x80\x99s an error.</ins>\n"
                    "  <p>The requested URL <code>");
    sim_put(&page, c->req.path.p, c->req.path.n < 200 ? c->req.path.n : 200);
    sim_putl(&page, "</code> was not found on this server.  "
                    "<ins>That\xe2\x80\x99s all we know.</ins>\n");
    sim_http_answer(c, 404, ST_HTML, (sim_str_t){page.p, page.len});
}

/* ---- canned errors ---- */

/*
 * Texts may hold $K key, $M model, $P project number, $D retry delay, $V quota
 * value, $I quota id, $Q quota metric, $T " (free|paid)_tier" part.
 */
typedef struct {
    const char *name;
    int status;
    const char *status_name;
    const char *message;
    const char *delay, *value, *id, *metric;
    const char *detail[4];
} canned_t;

#define RPC "{\"@type\":\"type.googleapis.com/google.rpc."
#define HELP                                                                                       \
    RPC "Help\",\"links\":[{\"description\":\"Learn more about Gemini API quotas\","               \
        "\"url\":\"https://ai.google.dev/gemini-api/docs/rate-limits\"}]}"
#define VIOLATION(id, metric, value)                                                               \
    "{\"quotaMetric\":\"generativelanguage.googleapis.com/" metric "\",\"quotaId\":\"" id "\","    \
    "\"quotaDimensions\":{\"location\":\"global\",\"model\":\"$M\"},\"quotaValue\":\"" value "\"}"
#define QUOTA RPC "QuotaFailure\",\"violations\":[" VIOLATION("$I", "$Q", "$V") "]}"
#define RETRY RPC "RetryInfo\",\"retryDelay\":\"$D\"}"
#define INFO(reason)                                                                               \
    RPC "ErrorInfo\",\"reason\":\"" reason "\",\"domain\":\"googleapis.com\","                     \
        "\"metadata\":{\"service\":\"generativelanguage.googleapis.com\"}}"
#define INFO_P(reason, more)                                                                       \
    RPC "ErrorInfo\",\"reason\":\"" reason "\",\"domain\":\"googleapis.com\","                     \
        "\"metadata\":{\"service\":\"generativelanguage.googleapis.com\","                         \
        "\"consumer\":\"projects/$P\"" more "}}"
#define LOCAL(text) RPC "LocalizedMessage\",\"locale\":\"en-US\",\"message\":\"" text "\"}"
#define EXCEEDED                                                                                   \
    "You exceeded your current quota, please check your plan and billing details. For more "       \
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To "   \
    "monitor your current usage, head to: https://ai.dev/rate-limit. "
#define EXCEEDED_ONE                                                                               \
    EXCEEDED "\n* Quota exceeded for metric: generativelanguage.googleapis.com/$Q, "               \
             "limit: $V, model: $M\nPlease retry in $D."
#define REQUESTS  "generate_content_free_tier_requests"
#define TOKENS    "generate_content_free_tier_input_token_count"
#define BAD_KEY   "API key not valid. Please pass a valid API key."
#define EXPIRED   "API key expired. Please renew the API key."
#define SUSPENDED "Permission denied: Consumer 'api_key:$K' has been suspended."
#define CONSOLE                                                                                    \
    "https://console.developers.google.com/apis/api/"                                              \
    "generativelanguage.googleapis.com/overview?project=$P"

/* clang-format off */
static const canned_t canned[] = {
    /* quotas */
    { "quota_minute", 429, NULL, EXCEEDED_ONE, "34s", "10",
      "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", REQUESTS, { HELP, QUOTA, RETRY } },
    { "quota_day", 429, NULL, EXCEEDED_ONE, "39s", "20",
      "GenerateRequestsPerDayPerProjectPerModel-FreeTier", REQUESTS, { HELP, QUOTA, RETRY } },
    { "quota_tokens", 429, NULL, EXCEEDED_ONE, "48s", "250000",
      "GenerateContentInputTokensPerModelPerMinute-FreeTier", TOKENS, { HELP, QUOTA, RETRY } },
    { "quota_both", 429, NULL, EXCEEDED_ONE, "41s", "20",
      "GenerateRequestsPerDayPerProjectPerModel-FreeTier", REQUESTS,
      { RPC "QuotaFailure\",\"violations\":["
            VIOLATION("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", REQUESTS, "10") ","
            VIOLATION("$I", "$Q", "$V") "]}", HELP, RETRY } },
    { "limit_zero", 429, NULL, EXCEEDED_ONE, "26s", "0",
      "GenerateRequestsPerDayPerProjectPerModel-FreeTier", REQUESTS, { HELP, QUOTA, RETRY } },
    { "quota_bare", 429, NULL, "Resource has been exhausted (e.g. check quota).",
      "", "", "", "", { NULL } },
    { "rate_limit_exceeded", 429, NULL,
      "Quota exceeded for quota metric 'Generate Content API requests per minute' and limit "
      "'GenerateContent request limit per minute for a region' of service "
      "'generativelanguage.googleapis.com' for consumer 'project_number:$P'.",
      "", "60", "GenerateContentRequestsPerMinutePerProjectPerRegion",
      "generate_content_requests",
      { INFO_P("RATE_LIMIT_EXCEEDED", ",\"quota_location\":\"us-west4\",\"quota_limit_value\":"
               "\"$V\",\"quota_limit\":\"$I\",\"quota_metric\":"
               "\"generativelanguage.googleapis.com/$Q\"") } },
    { "capacity", 429, NULL, "No capacity available for model $M on the server.", "", "", "", "",
      { INFO("MODEL_CAPACITY_EXHAUSTED") } },
    { "spending_cap", 429, NULL,
      "Your project has exceeded its monthly spending cap. Please go to AI Studio to manage it.",
      "", "", "", "", { NULL } },
    { "prepay_429", 429, NULL, "Your prepayment credits are depleted. Please go to AI Studio to "
      "manage your project and billing.", "", "", "", "", { NULL } },
    { "prepay", 402, NULL, "Your prepaid credits are depleted. Please add credits to your "
      "billing account to continue.", "", "", "", "", { NULL } },
    /* keys */
    { "key_invalid", 400, NULL, BAD_KEY, "", "", "", "",
      { INFO("API_KEY_INVALID"), LOCAL(BAD_KEY) } },
    { "key_expired", 400, NULL, EXPIRED, "", "", "", "",
      { INFO("API_KEY_INVALID"), LOCAL(EXPIRED) } },
    { "unauthenticated", 401, NULL,
      "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
      "cookie or other valid authentication credential. See "
      "https://developers.google.com/identity/sign-in/web/devconsole-project.", "", "", "", "",
      { INFO("ACCESS_TOKEN_TYPE_UNSUPPORTED") } },
    { "leaked", 403, NULL, "Your API key was reported as leaked. Please use another API key.",
      "", "", "", "", { NULL } },
    { "permission_denied", 403, NULL, "The caller does not have permission", "", "", "", "",
      { NULL } },
    { "denied_access", 403, NULL,
      "Your project has been denied access. Please contact support.", "", "", "", "", { NULL } },
    { "service_blocked", 403, NULL,
      "Requests to this API generativelanguage.googleapis.com method "
      "google.ai.generativelanguage.v1beta.GenerativeService.GenerateContent are blocked.",
      "", "", "", "", { INFO_P("API_KEY_SERVICE_BLOCKED", "") } },
    { "referrer_blocked", 403, NULL, "Requests from referer <empty> are blocked.",
      "", "", "", "", { INFO_P("API_KEY_HTTP_REFERRER_BLOCKED", "") } },
    /* projects */
    { "service_disabled", 403, NULL,
      "Generative Language API has not been used in project $P before or it is disabled. Enable "
      "it by visiting " CONSOLE " then retry. If you enabled this API recently, wait a few "
      "minutes for the action to propagate to our systems and retry.", "", "", "", "",
      { RPC "Help\",\"links\":[{\"description\":\"Google developers console API activation\","
            "\"url\":\"" CONSOLE "\"}]}", INFO_P("SERVICE_DISABLED", "") } },
    { "suspended", 403, NULL, SUSPENDED, "", "", "", "",
      { INFO_P("CONSUMER_SUSPENDED", ",\"containerInfo\":\"api_key:$K\""), LOCAL(SUSPENDED) } },
    { "consumer_invalid", 403, NULL,
      "Permission denied on resource project $P.", "", "", "", "",
      { INFO_P("CONSUMER_INVALID", "") } },
    { "billing_disabled", 403, NULL,
      "This API method requires billing to be enabled. Please enable billing on project #$P "
      "then retry.", "", "", "", "", { INFO_P("BILLING_DISABLED", "") } },
    { "location", 400, "FAILED_PRECONDITION", "User location is not supported for the API use.",
      "", "", "", "", { NULL } },
    { "enable_billing", 400, "FAILED_PRECONDITION",
      "Gemini API free tier is not available in your country. Please enable billing on your "
      "project in Google AI Studio.", "", "", "", "", { NULL } },
    /* objects of other projects */
    { "file_permission", 403, NULL,
      "You do not have permission to access the File abc123 or it may not exist.",
      "", "", "", "", { NULL } },
    { "cache_permission", 403, NULL, "CachedContent not found (or permission denied)",
      "", "", "", "", { NULL } },
    /* models */
    { "model", 404, NULL,
      "models/$M is not found for API version v1beta, or is not supported for generateContent. "
      "Call ListModels to see the list of available models and their supported methods.",
      "", "", "", "", { NULL } },
    { "model_new_users", 404, NULL,
      "This model models/$M is no longer available to new users. Please update your code to use "
      "a newer model for the latest features and improvements.", "", "", "", "", { NULL } },
    { "html_404", 404, "html", "Error 404 (Not Found)!!1", "", "", "", "", { NULL } },
    /* the client's faults */
    { "invalid_argument", 400, NULL, "Request contains an invalid argument.", "", "", "", "",
      { NULL } },
    { "context", 400, NULL, "The input token count (1100000) exceeds the maximum number of tokens "
      "allowed (1048576).", "", "", "", "", { NULL } },
    { "states", 400, NULL, "The specified schema produces a constraint that has too many states "
      "for serving.", "", "", "", "", { NULL } },
    /* the service's faults */
    { "internal", 500, NULL, "An internal error has occurred. Please retry or report in "
      "https://developers.generativeai.google/guide/troubleshooting", "", "", "", "", { NULL } },
    { "bad_gateway", 502, "html", "Error 502 (Server Error)!!1", "", "", "", "", { NULL } },
    { "overloaded", 503, NULL, "The model is overloaded. Please try again later.",
      "", "", "", "", { NULL } },
    { "high_demand", 503, NULL, "This model is currently experiencing high demand. Spikes in "
      "demand are usually temporary. Please try again later.", "", "", "", "", { NULL } },
    { "deadline", 504, NULL, "Deadline expired before operation could complete.",
      "", "", "", "", { NULL } },
    { "cancelled", 499, NULL, "The operation was cancelled.", "", "", "", "", { NULL } },
};
/* clang-format on */

#define NCANNED (sizeof(canned) / sizeof(*canned))

static const canned_t *canned_find(const char *name)
{
    size_t i;

    for (i = 0; name != NULL && i < NCANNED; i++) {
        if (strcmp(canned[i].name, name) == 0) {
            return &canned[i];
        }
    }
    return NULL;
}

/* A canned answer that fits a bare status code. */
static const canned_t *canned_for(int status)
{
    static const struct {
        int status;
        const char *name;
    } usual[] = {
        {400, "invalid_argument" },
        {401, "unauthenticated"  },
        {402, "prepay"           },
        {403, "permission_denied"},
        {404, "model"            },
        {429, "quota_minute"     },
        {499, "cancelled"        },
        {500, "internal"         },
        {502, "bad_gateway"      },
        {503, "overloaded"       },
        {504, "deadline"         }
    };
    size_t i;

    for (i = 0; i < sizeof(usual) / sizeof(*usual); i++) {
        if (usual[i].status == status) {
            return canned_find(usual[i].name);
        }
    }
    return canned_find("internal");
}

int sim_canned_status(const char *name)
{
    const canned_t *row = canned_find(name);

    return row != NULL ? row->status : 0;
}

void sim_canned_names(sim_buf_t *b)
{
    size_t i;

    for (i = 0; i < NCANNED; i++) {
        sim_buf_printf(b, "%s%s", i ? " " : "", canned[i].name);
    }
}

static sim_str_t or_default(const char *given, const char *otherwise)
{
    const char *s = given != NULL ? given : otherwise;

    return (sim_str_t){s, strlen(s)};
}

static sim_str_t variable(char letter, const canned_t *row, const sim_canned_args_t *a)
{
    switch (letter) {
    case 'K':
        return a->key;
    case 'M':
        return a->model;
    case 'P':
        return or_default(a->project, "123456789012");
    case 'D':
        return or_default(a->retry_delay, row->delay);
    case 'V':
        return or_default(a->quota_value, row->value);
    case 'I':
        return or_default(a->quota_id, row->id);
    case 'Q':
        return or_default(a->quota_metric, row->metric);
    }
    return SIM_STR("");
}

static void expand(sim_buf_t *b, const char *text, const canned_t *row, const sim_canned_args_t *a,
                   bool json)
{
    for (; *text != '\0'; text++) {
        if (*text == '$') {
            sim_str_t v = variable(*++text, row, a);

            if (json) {
                sim_put_escaped(b, v.p, v.n);
            }
            else {
                sim_put(b, v.p, v.n);
            }
        }
        else {
            sim_putc(b, *text);
        }
    }
}

static void put_details(sim_buf_t *b, const canned_t *row, const sim_canned_args_t *a)
{
    bool reverse = a->order != NULL && strcmp(a->order, "reverse") == 0;
    bool no_retry = variable('D', row, a).n == 0;
    size_t i, n = 0, max = sizeof(row->detail) / sizeof(*row->detail);

    for (i = 0; i < max; i++) {
        const char *d = row->detail[reverse ? max - 1 - i : i];

        if (d == NULL || (no_retry && strcmp(d, RETRY) == 0)) {
            continue;
        }
        sim_putc(b, n++ == 0 ? '[' : ',');
        expand(b, d, row, a, true);
    }
    if (n > 0) {
        sim_putc(b, ']');
    }
}

void sim_canned_write(sim_buf_t *b, const char *name, int status, const sim_canned_args_t *a,
                      sim_type_t *type)
{
    static sim_buf_t message, details;
    const canned_t *row = canned_find(name);

    row = row != NULL ? row : canned_for(status);
    message.len = details.len = 0;
    expand(&message, row->message, row, a, false);
    if (variable('D', row, a).n == 0 && message.len > 18
        && memcmp(message.p + message.len - 18, "\nPlease retry in .", 18) == 0) {
        message.len -= 18;
    }
    if (a->message.n > 0) {
        message.len = 0;
        sim_put(&message, a->message.p, a->message.n);
    }
    if (row->status_name != NULL && strcmp(row->status_name, "html") == 0) {
        *type = ST_HTML;
        sim_buf_printf(b,
                       "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n"
                       "  <title>%.*s</title>\n  <p><b>%d.</b> <ins>That\xe2\x80\x99s an error."
                       "</ins>\n",
                       (int)message.len, message.p, status);
        return;
    }
    put_details(&details, row, a);
    *type = ST_JSON;
    sim_error_write(b, status, status == row->status ? row->status_name : NULL,
                    (sim_str_t){message.p, message.len}, (sim_str_t){details.p, details.len});
}

/* As sim_error_send, for a body that is complete. */
void sim_error_body(sim_conn_t *c, int code, sim_type_t type, sim_str_t body)
{
    if (type == ST_HTML) {
        sim_http_answer(c, code, ST_HTML, body);
    }
    else {
        send_body(c, code, body);
    }
}
