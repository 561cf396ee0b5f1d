/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tool calls of an assistant and the results that answer them.  Arguments and
 * results are JSON inside of strings: unwrapped once, checked, and copied by
 * byte range, so that no number changes.  Results stand in one turn, in the
 * order of the calls, which Gemini insists on.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

/* The documented stand-in for a signature that the client lost. */
#define DUMMY_SIGNATURE "\"skip_thought_signature_validator\""

/* litellm hides the signature in the id. */
#define ID_MARK "__thought__"

/* One call of an assistant, as its results must name it. */
typedef struct called_t {
    const char *id;   /* "" when there is none */
    const char *name; /* upstream */
    int answered;
} called_t;

gb_span_t gb_openai_signature(gb_span_t extra_content)
{
    gb_span_t google = gb_json_get(extra_content, "google");
    gb_span_t signature = gb_json_get2(google, "thought_signature", "thoughtSignature");

    return gb_openai_empty(signature) ? (gb_span_t){NULL, 0} : signature;
}

const char *gb_openai_parts_id(const char *first_call_id, apr_pool_t *p)
{
    return apr_pstrcat(p, "parts/", first_call_id, NULL);
}

static const char *call_param(const gb_openai_call_t *call, const gb_openai_message_t *message,
                              size_t index, const char *member)
{
    return apr_psprintf(call->pool,
                        "messages[%" APR_SIZE_T_FMT "].tool_calls[%" APR_SIZE_T_FMT "]%s",
                        message->index, index, member);
}

/* The id without litellm's signature. */
static const char *plain_id(const gb_openai_call_t *call, gb_span_t value)
{
    const char *id = gb_openai_text(value, call->pool);
    const char *mark = id != NULL ? strstr(id, ID_MARK) : NULL;

    if (id == NULL) {
        return "";
    }
    return mark != NULL ? apr_pstrndup(call->pool, id, (apr_size_t)(mark - id)) : id;
}

/* ---- signatures ---- */

static const char *const signature_paths[] = {
    "extra_content.google.thought_signature",
    "extra_content.google.thoughtSignature",
    "provider_specific_fields.thought_signature",
    "function.provider_specific_fields.thought_signature",
};

static gb_span_t quoted(const gb_openai_call_t *call, const char *text, size_t len)
{
    gb_buf_t out;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, call->pool);
    gb_json_put_str(&out, text, len);
    return (gb_span_t){out.data, out.len};
}

/* What the client or our memory holds for a call; {NULL,0} when nobody does. */
static gb_span_t signature_known(const gb_openai_call_t *call, gb_span_t value, const char *id)
{
    const gb_memory_t *memory = call->request.memory;
    const char *raw = gb_openai_text(gb_json_get(value, "id"), call->pool);
    const char *mark = raw != NULL ? strstr(raw, ID_MARK) : NULL;
    const char *text;
    gb_span_t signature;
    size_t i;

    for (i = 0; i < sizeof(signature_paths) / sizeof(*signature_paths); i++) {
        signature = gb_json_path(value, signature_paths[i]);
        if (!gb_openai_empty(signature)) {
            return signature;
        }
    }
    if (mark != NULL && mark[sizeof(ID_MARK) - 1] != '\0') {
        mark += sizeof(ID_MARK) - 1;
        return quoted(call, mark, strlen(mark));
    }
    if (*id != '\0' && memory != NULL && memory->signature_get != NULL
        && (text = memory->signature_get(memory->ctx, id, call->pool)) != NULL) {
        return quoted(call, text, strlen(text));
    }
    return (gb_span_t){NULL, 0};
}

/* Gemini 3 refuses a step whose first call has no signature. */
static gb_span_t signature_for(gb_openai_call_t *call, gb_span_t value, const char *id, int first)
{
    gb_span_t signature = {NULL, 0};

    if (!(call->dropped & GB_OPENAI_DROP_SIGNATURES)) {
        signature = signature_known(call, value, id);
    }
    if (gb_openai_there(signature)) {
        call->sent |= GB_OPENAI_DROP_SIGNATURES;
        return signature;
    }
    if (!first || !gb_model_at_least(&call->model, 3, 0)) {
        return signature;
    }
    return (gb_span_t){DUMMY_SIGNATURE, sizeof(DUMMY_SIGNATURE) - 1};
}

/* ---- calls ---- */

static int is_blank(const char *text, size_t len)
{
    while (len > 0 && (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')) {
        text++;
        len--;
    }
    return len == 0;
}

/* Copies checked JSON text, lone surrogates mended. */
static void checked_put(gb_buf_t *out, const char *text, size_t len, const gb_json_fault_t *fault,
                        apr_pool_t *p)
{
    gb_buf_t mended;

    if (fault->has_lone_surrogate) {
        gb_buf_init_pool(&mended, GB_BUF_MAX_REQUEST, p);
        gb_json_mend(&mended, text, len);
        text = mended.data;
        len = mended.len;
    }
    gb_json_put_compact(out, gb_json_root(text, len));
}

static apr_status_t arguments_put(gb_openai_call_t *call, gb_buf_t *out, gb_span_t arguments,
                                  const char *param)
{
    gb_json_fault_t fault = {0};
    const char *text;
    size_t len = 0;

    if (gb_json_kind(arguments) == GB_JSON_OBJECT) {
        gb_json_put_compact(out, arguments);
        return APR_SUCCESS;
    }
    text = gb_json_str(arguments, &len, call->pool);
    if (!gb_openai_there(arguments) || (text != NULL && is_blank(text, len))) {
        gb_buf_puts(out, "{}");
        return APR_SUCCESS;
    }
    if (text == NULL || gb_json_check(text, len, &fault) != APR_SUCCESS
        || gb_json_kind(gb_json_root(text, len)) != GB_JSON_OBJECT) {
        return gb_error_set(call->err, 400, "invalid_value", param,
                            "Invalid value for '%s': expected a string that holds a JSON "
                            "object.%s%s%s",
                            param, *fault.message ? " (" : "", fault.message,
                            *fault.message ? ")" : "");
    }
    checked_put(out, text, len, &fault, call->pool);
    return APR_SUCCESS;
}

/* The function or custom member of a call. */
static gb_span_t call_body(gb_span_t value, int *custom)
{
    *custom = gb_json_eq(gb_json_get(value, "type"), "custom");
    return gb_openai_member(value, *custom ? "custom" : "function");
}

static apr_status_t call_put(gb_openai_turns_t *turns, const gb_openai_message_t *message,
                             gb_span_t value, size_t index, called_t *called)
{
    gb_openai_call_t *call = turns->call;
    int custom;
    gb_span_t body = call_body(value, &custom), signature;
    const char *name = gb_openai_text(gb_openai_member(body, "name"), call->pool);
    gb_buf_t *out;
    apr_status_t rv = APR_SUCCESS;

    if (name == NULL || *name == '\0') {
        const char *param = call_param(call, message, index,
                                       custom ? ".custom.name" : ".function.name");

        return gb_error_set(call->err, 400, "missing_required_parameter", param,
                            "Missing required parameter: '%s'.", param);
    }
    called->id = plain_id(call, gb_json_get(value, "id"));
    called->name = gb_openai_tool_upstream(call, name);
    signature = signature_for(call, value, called->id, index == 0);
    out = gb_openai_part(turns);
    gb_buf_puts(out, "{\"functionCall\":{");
    if (*called->id != '\0') {
        gb_buf_puts(out, "\"id\":");
        gb_json_put_cstr(out, called->id);
        gb_buf_putc(out, ',');
    }
    gb_buf_puts(out, "\"name\":");
    gb_json_put_cstr(out, called->name);
    gb_buf_puts(out, ",\"args\":");
    if (custom) {
        gb_span_t input = gb_openai_member(body, "input");

        gb_buf_puts(out, "{\"input\":");
        gb_json_put_span(out,
                         gb_json_kind(input) == GB_JSON_STRING ? input : (gb_span_t){"\"\"", 2});
        gb_buf_putc(out, '}');
    }
    else {
        rv = arguments_put(call, out, gb_openai_member(body, "arguments"),
                           call_param(call, message, index, ".function.arguments"));
    }
    gb_buf_putc(out, '}');
    if (gb_openai_there(signature)) {
        gb_buf_puts(out, ",\"thoughtSignature\":");
        gb_json_put_span(out, signature);
    }
    gb_buf_putc(out, '}');
    return rv;
}

/* The old form: one call without an id. */
static apr_status_t legacy_put(gb_openai_turns_t *turns, const gb_openai_message_t *message)
{
    gb_openai_call_t *call = turns->call;
    gb_buf_t wrapped;
    called_t called;

    gb_buf_init_pool(&wrapped, GB_BUF_MAX_REQUEST, call->pool);
    gb_buf_puts(&wrapped, "{\"function\":");
    gb_json_put_span(&wrapped, message->function_call);
    gb_buf_putc(&wrapped, '}');
    return call_put(turns, message, (gb_span_t){wrapped.data, wrapped.len}, 0, &called);
}

static apr_status_t unanswered(gb_openai_call_t *call, const char *id)
{
    return gb_error_set(call->err, 400, "invalid_value", "messages",
                        "An assistant message with 'tool_calls' must be followed by tool messages "
                        "responding to each 'tool_call_id'. The following tool_call_ids did not "
                        "have response messages: %.100s",
                        id);
}

apr_status_t gb_openai_calls_put(gb_openai_turns_t *turns, const gb_openai_message_t *message)
{
    gb_openai_call_t *call = turns->call;
    const gb_openai_message_t *last = call->messages + call->n_messages - 1;
    gb_json_iter_t it;
    called_t called = {"", "", 0};
    apr_status_t rv;

    if (gb_json_kind(message->function_call) == GB_JSON_OBJECT) {
        return legacy_put(turns, message);
    }
    if (!gb_openai_there(message->tool_calls)) {
        return APR_SUCCESS;
    }
    if (gb_json_kind(message->tool_calls) != GB_JSON_ARRAY
        || gb_json_count(message->tool_calls) > GB_OPENAI_MAX_CALLS) {
        return gb_error_set(call->err, 400, "invalid_value", "messages",
                            "Invalid value for 'messages[%" APR_SIZE_T_FMT
                            "].tool_calls': expected an array of at most %d calls.",
                            message->index, GB_OPENAI_MAX_CALLS);
    }
    for (gb_json_iter(&it, message->tool_calls); gb_json_next(&it);) {
        if ((rv = call_put(turns, message, it.value, it.index, &called)) != APR_SUCCESS) {
            return rv;
        }
    }
    /* calls that end the conversation are Google's to judge */
    return called.name[0] != '\0' && message != last && message[1].role != GB_OPENAI_ROLE_TOOL
               ? unanswered(call, called.id)
               : APR_SUCCESS;
}

/* ---- results ---- */

/* The calls of the step that a run of tool messages answers. */
static apr_array_header_t *step_calls(gb_openai_call_t *call, int at)
{
    apr_array_header_t *calls = apr_array_make(call->pool, 4, sizeof(called_t));
    const gb_openai_message_t *message = at > 0 ? &call->messages[at - 1] : NULL;
    gb_json_iter_t it;
    called_t *called;
    const char *name;
    int custom;

    if (message == NULL || message->role != GB_OPENAI_ROLE_ASSISTANT) {
        return calls;
    }
    if (gb_openai_there(message->function_call)) {
        name = gb_openai_text(gb_json_get(message->function_call, "name"), call->pool);
        called = apr_array_push(calls);
        called->id = "";
        called->name = gb_openai_tool_upstream(call, name != NULL ? name : "");
    }
    for (gb_json_iter(&it, message->tool_calls); gb_json_next(&it);) {
        name = gb_openai_text(gb_json_get(call_body(it.value, &custom), "name"), call->pool);
        called = apr_array_push(calls);
        called->id = plain_id(call, gb_json_get(it.value, "id"));
        called->name = gb_openai_tool_upstream(call, name != NULL ? name : "");
    }
    return calls;
}

/* Which call of the step a message answers, -1 for none. */
static int step_match(gb_openai_call_t *call, apr_array_header_t *calls,
                      const gb_openai_message_t *message)
{
    const char *id = plain_id(call, message->tool_call_id);
    const char *name = gb_openai_text(message->name, call->pool);
    called_t *called;
    int i;

    for (i = 0; i < calls->nelts; i++) {
        called = &APR_ARRAY_IDX(calls, i, called_t);
        if (called->answered) {
            continue;
        }
        if (message->legacy
                ? name != NULL && strcmp(called->name, gb_openai_tool_upstream(call, name)) == 0
                : strcmp(called->id, id) == 0) {
            return i;
        }
    }
    return -1;
}

static void call_names_make(gb_openai_call_t *call)
{
    gb_json_iter_t it;
    const char *name;
    int i, custom;

    call->call_names = apr_hash_make(call->pool);
    for (i = 0; i < call->n_messages; i++) {
        for (gb_json_iter(&it, call->messages[i].tool_calls); gb_json_next(&it);) {
            name = gb_openai_text(gb_json_get(call_body(it.value, &custom), "name"), call->pool);
            apr_hash_set(call->call_names, plain_id(call, gb_json_get(it.value, "id")),
                         APR_HASH_KEY_STRING,
                         gb_openai_tool_upstream(call, name != NULL ? name : ""));
        }
    }
}

/* The name of a call of any step, NULL when there was none. */
static const char *known_name(gb_openai_call_t *call, const char *id)
{
    if (call->call_names == NULL) {
        call_names_make(call);
    }
    return *id != '\0' ? apr_hash_get(call->call_names, id, APR_HASH_KEY_STRING) : NULL;
}

/* A result must be an object; anything else is put into one. */
static void result_put(gb_openai_call_t *call, gb_buf_t *out, const char *text, size_t len)
{
    gb_json_fault_t fault = {0};
    gb_json_kind_t kind = GB_JSON_NONE;

    if (gb_json_check(text, len, &fault) == APR_SUCCESS) {
        kind = gb_json_kind(gb_json_root(text, len));
    }
    if (kind == GB_JSON_OBJECT) {
        checked_put(out, text, len, &fault, call->pool);
        return;
    }
    gb_buf_puts(out, "{\"result\":");
    if (kind == GB_JSON_NONE) {
        gb_json_put_str(out, text, len);
    }
    else {
        checked_put(out, text, len, &fault, call->pool);
    }
    gb_buf_putc(out, '}');
}

/* All text of a result's parts; what is neither text nor parts is JSON as it stands. */
static apr_status_t result_text(gb_openai_call_t *call, const gb_openai_message_t *message,
                                gb_buf_t *text)
{
    gb_json_iter_t it;

    if (gb_json_kind(message->content) == GB_JSON_STRING) {
        return gb_json_str_append(text, message->content);
    }
    if (gb_openai_there(message->content) && gb_json_kind(message->content) != GB_JSON_ARRAY) {
        return gb_json_put_span(text, message->content);
    }
    for (gb_json_iter(&it, message->content); gb_json_next(&it);) {
        gb_span_t part = gb_json_kind(it.value) == GB_JSON_STRING ? it.value
                                                                  : gb_json_get(it.value, "text");
        if (gb_json_kind(part) == GB_JSON_STRING) {
            gb_json_str_append(text, part);
        }
        else if (!gb_json_eq(gb_json_get(it.value, "type"), "image_url")) {
            return gb_error_set(
                call->err, 400, "invalid_value",
                apr_psprintf(call->pool, "messages[%" APR_SIZE_T_FMT "].content", message->index),
                "Invalid value for 'messages[%" APR_SIZE_T_FMT
                "].content': tool messages hold text and image_url parts.",
                message->index);
        }
    }
    return text->rv;
}

static gb_span_t image_url_of(gb_span_t part)
{
    gb_span_t url = gb_json_get(part, "image_url");

    return gb_json_kind(url) == GB_JSON_OBJECT ? gb_json_get(url, "url") : url;
}

/* Gemini 3 takes pictures inside of the response. */
static apr_status_t result_images_inside(gb_openai_call_t *call, gb_buf_t *out,
                                         const gb_openai_message_t *message)
{
    gb_json_iter_t it;
    gb_span_t url;
    apr_status_t rv;
    int n = 0;

    for (gb_json_iter(&it, message->content); gb_json_next(&it);) {
        url = image_url_of(it.value);
        if (gb_json_kind(url) != GB_JSON_STRING) {
            continue;
        }
        gb_buf_puts(out, n++ ? ",{\"inlineData\":" : ",\"parts\":[{\"inlineData\":");
        rv = gb_openai_blob_put(call, out, url, "messages");
        if (rv == APR_NOTFOUND) {
            return gb_error_set(call->err, 400, "invalid_image_url", "messages",
                                "Pictures in tool messages must be data URLs.");
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        gb_buf_putc(out, '}');
    }
    if (n > 0) {
        call->has_media = 1;
        gb_buf_putc(out, ']');
    }
    return APR_SUCCESS;
}

/* Older models get them beside it. */
static apr_status_t result_images_beside(gb_openai_turns_t *turns,
                                         const gb_openai_message_t *message)
{
    gb_json_iter_t it;
    gb_span_t url;
    apr_status_t rv;

    for (gb_json_iter(&it, message->content); gb_json_next(&it);) {
        url = image_url_of(it.value);
        if (gb_json_kind(url) == GB_JSON_STRING
            && (rv = gb_openai_media_put(turns, url, NULL, "messages")) != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t response_put(gb_openai_turns_t *turns, const gb_openai_message_t *message,
                                 const char *id, const char *name)
{
    gb_openai_call_t *call = turns->call;
    int inside = gb_model_at_least(&call->model, 3, 0);
    int parts = gb_json_kind(message->content) == GB_JSON_ARRAY;
    gb_buf_t text, *out;
    apr_status_t rv;

    gb_buf_init(&text, GB_BUF_MAX_REQUEST);
    if ((rv = result_text(call, message, &text)) != APR_SUCCESS) {
        gb_buf_free(&text);
        return rv;
    }
    out = gb_openai_part(turns);
    gb_buf_puts(out, "{\"functionResponse\":{");
    if (*id != '\0') {
        gb_buf_puts(out, "\"id\":");
        gb_json_put_cstr(out, id);
        gb_buf_putc(out, ',');
    }
    gb_buf_puts(out, "\"name\":");
    gb_json_put_cstr(out, name);
    gb_buf_puts(out, ",\"response\":");
    result_put(call, out, text.data != NULL ? text.data : "", text.len);
    gb_buf_free(&text);
    if (inside && parts) {
        rv = result_images_inside(call, out, message);
    }
    gb_buf_puts(out, "}}");
    return inside || !parts || rv != APR_SUCCESS ? rv : result_images_beside(turns, message);
}

/* A result that answers no call of the step before it. */
static apr_status_t stray_put(gb_openai_turns_t *turns, int at)
{
    gb_openai_call_t *call = turns->call;
    const gb_openai_message_t *message = &call->messages[at];
    const char *id = plain_id(call, message->tool_call_id);
    const char *name = known_name(call, id);
    const char *own = gb_openai_text(message->name, call->pool);

    if (name == NULL && own != NULL && *own != '\0') {
        name = gb_openai_tool_upstream(call, own);
    }
    if (name == NULL) {
        return gb_error_set(
            call->err, 400, "invalid_value",
            apr_psprintf(call->pool, "messages[%" APR_SIZE_T_FMT "]", message->index),
            "Invalid parameter: messages with role 'tool' must be a response to a "
            "preceding message with 'tool_calls'.");
    }
    return response_put(turns, message, id, name);
}

apr_status_t gb_openai_results_put(gb_openai_turns_t *turns, int at, int *next)
{
    gb_openai_call_t *call = turns->call;
    apr_array_header_t *calls = step_calls(call, at);
    int *answers = apr_pcalloc(call->pool, sizeof(int) * (size_t)(calls->nelts + 1));
    apr_array_header_t *strays = apr_array_make(call->pool, 1, sizeof(int));
    apr_status_t rv = APR_SUCCESS;
    int end, i, k;

    for (end = at; end < call->n_messages && call->messages[end].role == GB_OPENAI_ROLE_TOOL;
         end++) {
        if ((k = step_match(call, calls, &call->messages[end])) >= 0) {
            APR_ARRAY_IDX(calls, k, called_t).answered = 1;
            answers[k] = end + 1;
        }
        else {
            APR_ARRAY_PUSH(strays, int) = end;
        }
    }
    for (k = 0; k < calls->nelts && rv == APR_SUCCESS; k++) {
        const called_t *called = &APR_ARRAY_IDX(calls, k, called_t);

        rv = answers[k] > 0
                 ? response_put(turns, &call->messages[answers[k] - 1], called->id, called->name)
                 : unanswered(call, called->id);
    }
    for (i = 0; i < strays->nelts && rv == APR_SUCCESS; i++) {
        rv = stray_put(turns, APR_ARRAY_IDX(strays, i, int));
    }
    *next = end;
    return rv;
}
