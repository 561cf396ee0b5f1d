/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classification: finds the row, fills the verdict.  The rows stand in
 * classify_rows.c, reading Google's bodies in classify_read.c; what a verdict
 * does to a key is the pool's.
 */
#include "proto/classify_int.h"

#include <string.h>

#include <apr_strings.h>

#include "base/secret.h"

/* A delay that no client should sit out. */
#define LONG_WAIT (60 * APR_USEC_PER_SEC)
/* A day's quota comes with delays of seconds that are not true; above this they are. */
#define DAY_BELIEVED (600 * APR_USEC_PER_SEC)

static const char *const class_names[GB_CLASS_N] = {
    [GB_CLASS_SUCCESS] = "success",
    [GB_CLASS_EMPTY] = "empty",
    [GB_CLASS_BLOCKED] = "blocked",
    [GB_CLASS_CLIENT] = "client",
    [GB_CLASS_ADAPTIVE] = "adaptive",
    [GB_CLASS_AFFINITY] = "affinity",
    [GB_CLASS_KEY] = "key",
    [GB_CLASS_PROJECT] = "project",
    [GB_CLASS_ACCOUNT] = "account",
    [GB_CLASS_REGION] = "region",
    [GB_CLASS_MODEL_ACCESS] = "model_access",
    [GB_CLASS_UNKNOWN_AUTH] = "unknown_auth",
    [GB_CLASS_QUOTA] = "quota",
    [GB_CLASS_SERVICE] = "service",
    [GB_CLASS_OVERLOADED] = "overloaded",
    [GB_CLASS_STALE] = "stale",
    [GB_CLASS_PROXY] = "proxy",
    [GB_CLASS_GATEWAY] = "gateway",
    [GB_CLASS_CANCELLED] = "cancelled",
};

const char *gb_class_name(gb_class_t cls)
{
    return cls < GB_CLASS_N ? class_names[cls] : "unknown";
}

/* ---- finding the row ---- */

static gb_transport_t transport_of(const gb_outcome_t *outcome)
{
    return outcome->status >= 400 && outcome->transport != GB_TRANSPORT_CANCELLED
               ? GB_TRANSPORT_OK
               : outcome->transport;
}

static int sign_fits(gb_sign_t sign, const gb_outcome_t *outcome)
{
    switch (sign) {
    case GB_SIGN_ANY:
        return 1;
    case GB_SIGN_CUT:
        return !outcome->complete;
    case GB_SIGN_BLOCKED:
        return outcome->blocked;
    case GB_SIGN_MALFORMED:
        return outcome->malformed;
    case GB_SIGN_EMPTY:
        return !outcome->has_content;
    }
    return 0;
}

static int list_has(const char *list, const char *word)
{
    size_t len = strlen(word);

    while (len > 0 && *list != '\0') {
        size_t n = strcspn(list, "|");

        if (n == len && memcmp(list, word, n) == 0) {
            return 1;
        }
        list += n + (list[n] == '|');
    }
    return 0;
}

static int words_fit(const gb_row_t *row, const gb_google_error_t *e)
{
    if (row->reasons == NULL && row->texts == NULL) {
        return 1;
    }
    return (row->reasons != NULL && list_has(row->reasons, e->reason))
           || (row->texts != NULL && gb_text_has(&e->text, row->texts));
}

static int row_fits(const gb_row_t *row, const gb_outcome_t *outcome, const gb_google_error_t *e)
{
    if (row->transport != transport_of(outcome)
        || (row->to > 0 && (outcome->status < row->from || outcome->status > row->to))
        || !sign_fits(row->sign, outcome)
        || (row->window != GB_QUOTA_NONE && row->window != e->window)
        || (row->google != NULL && strcmp(row->google, e->status) != 0)) {
        return 0;
    }
    return words_fit(row, e);
}

/* The last row fits every answer and every transport has its own: there always is one. */
static const gb_row_t *find_row(const gb_outcome_t *outcome, const gb_google_error_t *e)
{
    size_t i;

    for (i = 0; i < gb_class_rows_n - 1; i++) {
        if (row_fits(&gb_class_rows[i], outcome, e)) {
            break;
        }
    }
    return &gb_class_rows[i];
}

/* ---- fields ---- */

/* Words in Google's text: the field that it refuses, and what OpenAI's clients call it. */
typedef struct field_word_t {
    const char *patterns;
    const char *field;
    const char *param;
} field_word_t;

static const field_word_t refused[] = {
  /* clang-format off */
    {"<thought_signature>|<thoughtsignature>|thought signature is not valid", "thoughtSignature",
     "messages"},
    {"<thinking_level>|<thinkinglevel>|<thinking level>", "thinkingLevel", "reasoning_effort"},
    {"<thinking_budget>|<thinkingbudget>|<thinking budget>|only works in thinking mode",
     "thinkingBudget", "reasoning_effort"},
    {"<include_thoughts>|<includethoughts>", "includeThoughts", "reasoning_effort"},
    {"<thinking_config>|<thinkingconfig>|thinking is not supported|thinking is not enabled"
     "|does not support thinking", "thinkingConfig", "reasoning_effort"},
    {"<presence_penalty>|<presencepenalty>", "penalty", "presence_penalty"},
    {"<frequency_penalty>|<frequencypenalty>|penalty is not", "penalty", "frequency_penalty"},
    {"<temperature>", "temperature", "temperature"},
    {"<top_p>|<topp>", "topP", "top_p"},
    {"<top_k>|<topk>", "topK", "top_k"},
    {"logprobs is not|<response_logprobs>|<responselogprobs>", "logprobs", "logprobs"},
    {"unknown name \"*.parameters'|unknown name \"*.parameters.|.parameters.*only allowed for string",
     GB_FIELD_SCHEMA, "tools"},
    {"unknown name \"*.response_schema'|unknown name \"*.response_schema."
     "|response_schema.*only allowed for string", GB_FIELD_SCHEMA, "response_format"},
    {"<response_json_schema>|<responsejsonschema>", "responseJsonSchema", "response_format"},
    {"<parameters_json_schema>|<parametersjsonschema>", "parametersJsonSchema", "tools"},
    {"too many states|^request contains an invalid argument", "schemaBounds", ""},
    {"<media_resolution>|<mediaresolution>|media resolution", "mediaResolution", ""},
    {"unknown name \"store\"", "store", "store"},
    {"unknown name \"servicetier\"|unknown name \"service_tier\"|service tier", "serviceTier",
     "service_tier"},
    {"unknown name \"seed\"", "seed", "seed"},
  /* clang-format on */
};

/* Gemini's path of a field: what OpenAI's clients know it as.  Matched in lower case. */
static const field_word_t params[] = {
  /* clang-format off */
    {"function_declarations|functiondeclarations|<tools>", NULL, "tools"},
    {"tool_config|toolconfig", NULL, "tool_choice"},
    {"response_schema|responseschema|response_json_schema|responsejsonschema"
     "|response_mime_type|responsemimetype|response_format|responseformat", NULL, "response_format"},
    {"max_output_tokens|maxoutputtokens", NULL, "max_tokens"},
    {"stop_sequences|stopsequences", NULL, "stop"},
    {"candidate_count|candidatecount", NULL, "n"},
    {"<temperature>", NULL, "temperature"},
    {"<top_p>|<topp>", NULL, "top_p"},
    {"<top_k>|<topk>", NULL, "top_k"},
    {"<seed>", NULL, "seed"},
    {"presence_penalty|presencepenalty", NULL, "presence_penalty"},
    {"frequency_penalty|frequencypenalty", NULL, "frequency_penalty"},
    {"thinking_config|thinkingconfig", NULL, "reasoning_effort"},
    {"response_modalities|responsemodalities", NULL, "modalities"},
    {"speech_config|speechconfig", NULL, "audio"},
    {"system_instruction|systeminstruction|<contents>", NULL, "messages"},
  /* clang-format on */
};

static const field_word_t *find_field(const field_word_t *table, size_t n, const gb_buf_t *text)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (gb_text_has(text, table[i].patterns)) {
            return &table[i];
        }
    }
    return NULL;
}

/* Where the message names a field: "GenerateContentRequest.tools[0]...", "... at 'contents[0]'". */
static void field_from_message(const gb_google_error_t *e, gb_buf_t *field)
{
    static const char *const leads[] = {"generatecontentrequest.", " at '"};
    size_t i;

    for (i = 0; i < 2 && e->text.len > 0; i++) {
        const char *at = gb_text_find(&e->text, e->text.data, leads[i], strlen(leads[i]));

        if (at != NULL) {
            gb_buf_append(field, at, strcspn(at, ": '\n"));
            return;
        }
    }
}

static const char *param_of(const gb_google_error_t *e)
{
    gb_buf_t field;
    const field_word_t *found;
    size_t i;

    gb_buf_init(&field, GB_BUF_MAX_LINE);
    gb_buf_puts(&field, e->field);
    if (field.len == 0) {
        field_from_message(e, &field);
    }
    for (i = 0; i < field.len; i++) {
        field.data[i] = field.data[i] >= 'A' && field.data[i] <= 'Z' ? (char)(field.data[i] | 0x20)
                                                                     : field.data[i];
    }
    found = find_field(params, sizeof(params) / sizeof(params[0]), &field);
    gb_buf_free(&field);
    return found != NULL ? found->param : NULL;
}

/* `Unknown name "x" at 'tools[0].function_declarations[0].parameters': ...` */
static void schema_word(gb_verdict_t *v, const gb_google_error_t *e)
{
    static const char lead[] = "unknown name \"";
    const char *at = e->text.data;

    while ((at = gb_text_find(&e->text, at, lead, sizeof(lead) - 1)) != NULL) {
        size_t len = strcspn(at, "\",\n");
        size_t path = strcspn(at + len, "\n");

        if (len < 40
            && (memmem(at + len, path, ".parameters", 11)
                || memmem(at + len, path, "response_schema", 15))) {
            apr_snprintf(v->field, sizeof(v->field), GB_FIELD_SCHEMA "%.*s", (int)len, at);
            return;
        }
    }
    apr_cpystrn(v->field, GB_FIELD_SCHEMA "enum", sizeof(v->field));
}

static const char *set_field(gb_verdict_t *v, const gb_google_error_t *e)
{
    const field_word_t *found = find_field(refused, sizeof(refused) / sizeof(refused[0]), &e->text);

    if (found == NULL) {
        return NULL;
    }
    apr_cpystrn(v->field, found->field, sizeof(v->field));
    if (strcmp(found->field, GB_FIELD_SCHEMA) == 0) {
        schema_word(v, e);
    }
    return found->param;
}

/* ---- filling the verdict ---- */

static int counts_tokens(const gb_verdict_t *v)
{
    int tokens = 0;
    int i;

    for (i = 0; i < v->n_quotas; i++) {
        if (v->quotas[i].window == v->window) {
            if (!v->quotas[i].counts_tokens) {
                return 0;
            }
            tokens = 1;
        }
    }
    return tokens;
}

static apr_interval_time_t wait_of(const gb_verdict_t *v, const gb_row_t *row)
{
    if (v->cls != GB_CLASS_QUOTA && v->cls != GB_CLASS_OVERLOADED && v->cls != GB_CLASS_SERVICE) {
        return 0;
    }
    if (v->retry_delay > 0 && (v->window != GB_QUOTA_DAY || v->retry_delay > DAY_BELIEVED)) {
        return v->retry_delay;
    }
    return row->after * APR_USEC_PER_SEC;
}

static void set_quota(gb_verdict_t *v, const gb_google_error_t *e)
{
    v->window = e->window;
    v->n_quotas = e->n_quotas < GB_QUOTA_MAX ? e->n_quotas : GB_QUOTA_MAX;
    memcpy(v->quotas, e->quotas, sizeof(v->quotas));
}

static const char *say(const gb_row_t *row, const gb_google_error_t *e, const gb_buf_t *clean)
{
    if (row->say != NULL) {
        return row->say;
    }
    return e->is_json && clean->len > 0 ? clean->data
                                        : "The upstream refused the call without an explanation.";
}

static void set_error(gb_verdict_t *v, const gb_row_t *row, const gb_outcome_t *outcome,
                      const gb_google_error_t *e, const gb_buf_t *clean)
{
    gb_error_t *err = &v->error;
    const char *param = row->param;

    if (v->cls == GB_CLASS_ADAPTIVE) {
        param = set_field(v, e);
    }
    else if (v->cls == GB_CLASS_CLIENT && param == NULL && outcome->status == 400) {
        param = param_of(e);
    }
    gb_error_set(err, row->status != 0 ? row->status : outcome->status, row->code, param, "%s",
                 say(row, e, clean));
    if (row->type != NULL || counts_tokens(v)) {
        apr_cpystrn(err->type, row->type != NULL ? row->type : "tokens", sizeof(err->type));
    }
    if (err->status == outcome->status) {
        apr_cpystrn(err->google_status, e->status, sizeof(err->google_status));
    }
    err->retry_after = wait_of(v, row);
    err->should_retry = row->hint;
    if (err->retry_after > LONG_WAIT) {
        err->should_retry = GB_RETRY_NO;
    }
}

/* Cut at the edge of a character. */
static void set_message(gb_verdict_t *v, const char *text)
{
    size_t len = strlen(text);

    if (len >= sizeof(v->message)) {
        len = sizeof(v->message) - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(v->message, text, len);
    v->message[len] = '\0';
}

void gb_classify(gb_verdict_t *verdict, const gb_outcome_t *outcome)
{
    gb_google_error_t e;
    const gb_row_t *row;
    gb_buf_t clean;

    memset(verdict, 0, sizeof(*verdict));
    gb_google_error_read(&e, outcome->body, outcome->body_len);
    row = find_row(outcome, &e);
    verdict->cls = row->cls;
    verdict->row = row->name;
    verdict->retry = row->retry;
    verdict->retry_max = row->retry_max;
    verdict->key_revocable = row->revocable;
    verdict->once = row->once;
    verdict->retry_delay = e.delay >= 0 ? e.delay : outcome->retry_after;
    if (row->cls == GB_CLASS_QUOTA) {
        set_quota(verdict, &e);
    }
    apr_cpystrn(verdict->consumer, e.consumer, sizeof(verdict->consumer));
    apr_cpystrn(verdict->reason, e.reason, sizeof(verdict->reason));
    apr_cpystrn(verdict->google_status, e.status, sizeof(verdict->google_status));
    gb_buf_init(&clean, GB_BUF_MAX_ANSWER);
    gb_redact(&clean, e.message.len > 0 ? e.message.data : "", e.message.len, outcome->secret);
    if (row->cls != GB_CLASS_SUCCESS) {
        set_error(verdict, row, outcome, &e, &clean);
        set_message(verdict, clean.len > 0 ? clean.data : verdict->error.message);
    }
    gb_buf_free(&clean);
    gb_google_error_free(&e);
}

/* ---- errors inside a stream ---- */

typedef struct rpc_code_t {
    int number; /* google.rpc.Code */
    const char *name;
    int status;
} rpc_code_t;

static const rpc_code_t rpc_codes[] = {
    {1,  "CANCELLED",           499},
    {2,  "UNKNOWN",             500},
    {3,  "INVALID_ARGUMENT",    400},
    {4,  "DEADLINE_EXCEEDED",   504},
    {5,  "NOT_FOUND",           404},
    {6,  "ALREADY_EXISTS",      409},
    {7,  "PERMISSION_DENIED",   403},
    {8,  "RESOURCE_EXHAUSTED",  429},
    {9,  "FAILED_PRECONDITION", 400},
    {10, "ABORTED",             409},
    {11, "OUT_OF_RANGE",        400},
    {12, "UNIMPLEMENTED",       501},
    {13, "INTERNAL",            500},
    {14, "UNAVAILABLE",         503},
    {15, "DATA_LOSS",           500},
    {16, "UNAUTHENTICATED",     401},
};

/* error.code is an HTTP status; some proxies hand out the gRPC number or only the name. */
static int status_of(const gb_google_error_t *e)
{
    size_t i;

    if (e->code >= 400 && e->code <= 599) {
        return (int)e->code;
    }
    for (i = 0; i < sizeof(rpc_codes) / sizeof(rpc_codes[0]); i++) {
        if (e->code == rpc_codes[i].number || strcmp(e->status, rpc_codes[i].name) == 0) {
            return rpc_codes[i].status;
        }
    }
    return 500;
}

void gb_classify_event(gb_verdict_t *verdict, const char *json, size_t len, const char *secret)
{
    gb_google_error_t e;
    gb_outcome_t outcome;

    gb_google_error_read(&e, json, len);
    memset(&outcome, 0, sizeof(outcome));
    outcome.status = status_of(&e);
    outcome.body = json;
    outcome.body_len = len;
    outcome.retry_after = -1;
    outcome.complete = 1;
    outcome.secret = secret;
    gb_google_error_free(&e);
    gb_classify(verdict, &outcome);
}
