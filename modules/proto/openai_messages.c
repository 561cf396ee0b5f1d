/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to turns: system texts are hoisted, neighbours of one role become
 * one turn, tool results stand in a turn of their own right after their calls.
 * What a content part or a call becomes is left to openai_content.c and
 * openai_calls.c.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

/* ---- reading ---- */

static const struct {
    const char *name;
    gb_openai_role_t role;
    int legacy;
} roles[] = {
    {"system",    GB_OPENAI_ROLE_SYSTEM,    0},
    {"developer", GB_OPENAI_ROLE_SYSTEM,    0},
    {"user",      GB_OPENAI_ROLE_USER,      0},
    {"assistant", GB_OPENAI_ROLE_ASSISTANT, 0},
    {"model",     GB_OPENAI_ROLE_ASSISTANT, 0}, /* Google's own examples for its OpenAI layer */
    {"tool",      GB_OPENAI_ROLE_TOOL,      0},
    {"function",  GB_OPENAI_ROLE_TOOL,      1},
};

static const struct {
    const char *name;
    size_t offset;
} members[] = {
    {"content",       offsetof(gb_openai_message_t, content)      },
    {"refusal",       offsetof(gb_openai_message_t, refusal)      },
    {"name",          offsetof(gb_openai_message_t, name)         },
    {"tool_calls",    offsetof(gb_openai_message_t, tool_calls)   },
    {"function_call", offsetof(gb_openai_message_t, function_call)},
    {"tool_call_id",  offsetof(gb_openai_message_t, tool_call_id) },
    {"images",        offsetof(gb_openai_message_t, images)       },
    {"audio",         offsetof(gb_openai_message_t, audio)        },
    {"extra_content", offsetof(gb_openai_message_t, extra_content)},
};

static apr_status_t role_read(gb_openai_call_t *call, gb_openai_message_t *message, gb_span_t role)
{
    const char *param = apr_psprintf(call->pool, "messages[%" APR_SIZE_T_FMT "].role",
                                     message->index);
    size_t i;

    if (!gb_openai_there(role)) {
        return gb_error_set(call->err, 400, "missing_required_parameter", param,
                            "Missing required parameter: '%s'.", param);
    }
    for (i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
        if (gb_json_eq(role, roles[i].name)) {
            message->role = roles[i].role;
            message->legacy = roles[i].legacy;
            return APR_SUCCESS;
        }
    }
    return gb_error_set(call->err, 400, "invalid_value", param,
                        "Invalid value for '%s': supported values are 'system', 'developer', "
                        "'user', 'assistant', 'tool' and 'function'.",
                        param);
}

static apr_status_t message_read(gb_openai_call_t *call, gb_openai_message_t *message,
                                 gb_span_t value)
{
    gb_span_t role = {NULL, 0};
    gb_json_iter_t it;
    size_t i;

    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        if (gb_json_kind(it.value) == GB_JSON_NULL) {
            continue;
        }
        if (gb_json_eq(it.key, "role")) {
            role = it.value;
            continue;
        }
        for (i = 0; i < sizeof(members) / sizeof(*members); i++) {
            if (gb_json_eq(it.key, members[i].name)) {
                *(gb_span_t *)((char *)message + members[i].offset) = it.value;
                break;
            }
        }
    }
    return role_read(call, message, role);
}

/* System messages first, wherever they stood: the rest is then one conversation. */
static void system_hoist(gb_openai_call_t *call)
{
    size_t n = (size_t)call->n_messages;
    gb_openai_message_t *sorted = apr_palloc(call->pool, n * sizeof(*sorted));
    int pass, i, k = 0;

    for (pass = 0; pass < 2; pass++) {
        for (i = 0; i < call->n_messages; i++) {
            if ((call->messages[i].role == GB_OPENAI_ROLE_SYSTEM) == (pass == 0)) {
                sorted[k++] = call->messages[i];
            }
        }
    }
    call->messages = sorted;
}

apr_status_t gb_openai_messages_read(gb_openai_call_t *call)
{
    gb_span_t list = call->field[GB_OPENAI_MESSAGES];
    gb_openai_message_t *message;
    gb_json_iter_t it;
    apr_status_t rv;

    call->messages = apr_pcalloc(call->pool, gb_json_count(list) * sizeof(*call->messages));
    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        message = &call->messages[call->n_messages++];
        message->index = it.index;
        if (gb_json_kind(it.value) != GB_JSON_OBJECT) {
            return gb_error_set(
                call->err, 400, "invalid_type",
                apr_psprintf(call->pool, "messages[%" APR_SIZE_T_FMT "]", it.index),
                "Invalid type for 'messages[%" APR_SIZE_T_FMT "]': expected an object.", it.index);
        }
        if ((rv = message_read(call, message, it.value)) != APR_SUCCESS) {
            return rv;
        }
    }
    system_hoist(call);
    return APR_SUCCESS;
}

/* ---- turns ---- */

static void turn_close(gb_openai_turns_t *turns)
{
    if (turns->open != NULL) {
        gb_buf_puts(turns->out, "]}");
        turns->open = NULL;
    }
}

/*
 * What the next parts are of.  The turn that is open is closed when the first of them comes: of
 * messages without content nothing is left, and the neighbours of one role on both sides of
 * them are one turn.
 */
static void turn_want(gb_openai_turns_t *turns, const char *role, int sealed)
{
    turns->role = role;
    turns->wants_sealed = sealed;
    turns->is_next = 1;
}

/* A turn that is sealed takes nothing more, even of its own role. */
gb_buf_t *gb_openai_part(gb_openai_turns_t *turns)
{
    if (turns->is_next && turns->open != NULL
        && (turns->sealed || turns->wants_sealed || strcmp(turns->open, turns->role) != 0)) {
        turn_close(turns);
    }
    if (turns->open == NULL) {
        gb_buf_printf(turns->out, "%s{\"role\":\"%s\",\"parts\":[", turns->n_turns++ ? "," : "",
                      turns->role);
        turns->open = turns->role;
        turns->sealed = turns->wants_sealed;
    }
    else {
        gb_buf_putc(turns->out, ',');
    }
    turns->is_next = 0;
    turns->n_parts++;
    return turns->out;
}

/* ---- system ---- */

static void system_part(gb_buf_t *out, gb_span_t text)
{
    if (gb_openai_empty(text)) {
        return;
    }
    gb_buf_puts(out, out->len > 0 ? ",{\"text\":" : "{\"text\":");
    gb_json_put_span(out, text);
    gb_buf_putc(out, '}');
}

static apr_status_t system_content(gb_openai_call_t *call, const gb_openai_message_t *message,
                                   gb_buf_t *out)
{
    const char *param;
    gb_json_iter_t it;
    gb_span_t text;

    if (!gb_openai_there(message->content) || gb_json_kind(message->content) == GB_JSON_STRING) {
        system_part(out, message->content);
        return APR_SUCCESS;
    }
    if (gb_json_kind(message->content) != GB_JSON_ARRAY) {
        param = apr_psprintf(call->pool, "messages[%" APR_SIZE_T_FMT "].content", message->index);
        return gb_error_set(call->err, 400, "invalid_type", param,
                            "Invalid type for '%s': expected a string or an array of parts.",
                            param);
    }
    for (gb_json_iter(&it, message->content); gb_json_next(&it);) {
        text = gb_json_kind(it.value) == GB_JSON_STRING ? it.value : gb_json_get(it.value, "text");
        if (gb_json_kind(text) != GB_JSON_STRING) {
            param = apr_psprintf(call->pool,
                                 "messages[%" APR_SIZE_T_FMT "].content[%" APR_SIZE_T_FMT "]",
                                 message->index, it.index);
            return gb_error_set(call->err, 400, "invalid_value", param,
                                "Invalid value for '%s': system and developer messages hold "
                                "text only.",
                                param);
        }
        system_part(out, text);
    }
    return APR_SUCCESS;
}

/* All system texts as parts, wherever their messages stand. */
static apr_status_t system_collect(gb_openai_call_t *call, gb_buf_t *out, int *others)
{
    apr_status_t rv;
    int i;

    for (i = 0; i < call->n_messages; i++) {
        if (call->messages[i].role != GB_OPENAI_ROLE_SYSTEM) {
            *others = 1;
        }
        else if ((rv = system_content(call, &call->messages[i], out)) != APR_SUCCESS) {
            return rv;
        }
    }
    if (call->extra_system != NULL) {
        system_part(out, (gb_span_t){call->extra_system, strlen(call->extra_system)});
    }
    return out->rv;
}

/* ---- messages ---- */

/* What the client sent back, or what we remember by the turn's first call. */
static gb_span_t kept_parts(const gb_openai_call_t *call, const gb_openai_message_t *message)
{
    gb_span_t parts = gb_json_path(message->extra_content, "google.parts");
    const gb_memory_t *memory = call->request.memory;
    gb_json_fault_t fault;
    const char *id, *text;

    if (gb_json_kind(parts) == GB_JSON_ARRAY) {
        return parts;
    }
    id = gb_openai_text(gb_json_path(message->tool_calls, "0.id"), call->pool);
    if (id == NULL || memory == NULL || memory->signature_get == NULL
        || (text = memory->signature_get(memory->ctx, gb_openai_parts_id(id, call->pool),
                                         call->pool))
               == NULL
        || gb_json_check(text, strlen(text), &fault) != APR_SUCCESS) {
        return (gb_span_t){NULL, 0};
    }
    return gb_json_root(text, strlen(text));
}

/* A model turn that was kept whole: parts of server-side tools must come back as they were. */
static int kept_parts_put(gb_openai_turns_t *turns, const gb_openai_message_t *message)
{
    gb_span_t parts = kept_parts(turns->call, message);
    gb_json_iter_t it;

    if (gb_json_kind(parts) != GB_JSON_ARRAY || gb_json_count(parts) == 0) {
        return 0;
    }
    for (gb_json_iter(&it, parts); gb_json_next(&it);) {
        gb_json_put_compact(gb_openai_part(turns), it.value);
    }
    turns->call->refers = 1;
    return 1;
}

static apr_status_t images_put(gb_openai_turns_t *turns, const gb_openai_message_t *message)
{
    apr_pool_t *p = turns->call->pool;
    gb_json_iter_t it;
    gb_span_t url;
    apr_status_t rv;

    for (gb_json_iter(&it, message->images); gb_json_next(&it);) {
        url = gb_json_path(it.value, "image_url.url");
        if (gb_json_kind(url) != GB_JSON_STRING) {
            continue;
        }
        rv = gb_openai_media_put(
            turns, url, NULL,
            apr_psprintf(p, "messages[%" APR_SIZE_T_FMT "].images[%" APR_SIZE_T_FMT "]",
                         message->index, it.index));
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

/* The signature of a text that had one: on an empty part of its own, as Gemini streams it. */
static void text_signature_put(gb_openai_turns_t *turns, const gb_openai_message_t *message)
{
    gb_span_t signature = gb_openai_signature(message->extra_content);
    gb_buf_t *out;

    if (gb_openai_empty(signature) || (turns->call->dropped & GB_OPENAI_DROP_SIGNATURES)) {
        return;
    }
    turns->call->sent |= GB_OPENAI_DROP_SIGNATURES;
    out = gb_openai_part(turns);
    gb_buf_puts(out, "{\"text\":\"\",\"thoughtSignature\":");
    gb_json_put_span(out, signature);
    gb_buf_putc(out, '}');
}

static apr_status_t assistant_put(gb_openai_turns_t *turns, const gb_openai_message_t *message)
{
    gb_openai_call_t *call = turns->call;
    const char *param;
    apr_status_t rv;

    turn_want(turns, "model", 0);
    if (gb_openai_there(message->audio)) {
        param = apr_psprintf(call->pool, "messages[%" APR_SIZE_T_FMT "].audio", message->index);
        return gb_error_set(call->err, 400, "unsupported_value", param,
                            "'%s' is not supported: earlier audio answers are not kept. Send "
                            "their transcript as content.",
                            param);
    }
    if (kept_parts_put(turns, message)) {
        return APR_SUCCESS;
    }
    if ((rv = gb_openai_content_put(turns, message, message->content)) != APR_SUCCESS
        || (rv = images_put(turns, message)) != APR_SUCCESS) {
        return rv;
    }
    if (!gb_openai_empty(message->refusal)) {
        rv = gb_openai_content_put(turns, message, message->refusal);
    }
    text_signature_put(turns, message);
    return rv == APR_SUCCESS ? gb_openai_calls_put(turns, message) : rv;
}

static apr_status_t contents_put(gb_openai_turns_t *turns)
{
    gb_openai_call_t *call = turns->call;
    const gb_openai_message_t *message;
    apr_status_t rv = APR_SUCCESS;
    int i = 0;

    while (i < call->n_messages && rv == APR_SUCCESS) {
        message = &call->messages[i];
        switch (message->role) {
        case GB_OPENAI_ROLE_SYSTEM:
            i++;
            break;
        case GB_OPENAI_ROLE_USER:
            turn_want(turns, "user", 0);
            rv = gb_openai_content_put(turns, message, message->content);
            i++;
            break;
        case GB_OPENAI_ROLE_ASSISTANT:
            rv = assistant_put(turns, message);
            i++;
            break;
        case GB_OPENAI_ROLE_TOOL:
            turn_want(turns, "user", 1);
            rv = gb_openai_results_put(turns, i, &i);
            break;
        }
    }
    return rv;
}

static void system_turn_put(gb_openai_turns_t *turns, const gb_buf_t *system)
{
    if (system->len > 0) {
        turn_want(turns, "user", 0);
        gb_buf_append(gb_openai_part(turns), system->data, system->len);
    }
}

apr_status_t gb_openai_messages_put(gb_openai_call_t *call, gb_buf_t *out)
{
    gb_openai_turns_t turns = {.call = call, .out = out};
    gb_buf_t system;
    int others = 0, inlined;
    apr_status_t rv;

    gb_buf_init_pool(&system, GB_BUF_MAX_REQUEST, call->pool);
    if ((rv = system_collect(call, &system, &others)) != APR_SUCCESS) {
        return rv;
    }
    /* Gemma takes no systemInstruction, and contents must not be empty */
    inlined = !others || (call->model.is_gemma && call->model.major < 4);
    gb_buf_puts(out, "\"contents\":[");
    if (inlined) {
        system_turn_put(&turns, &system);
    }
    rv = contents_put(&turns);
    turn_close(&turns);
    gb_buf_putc(out, ']');
    if (rv == APR_SUCCESS && turns.n_parts == 0) {
        rv = gb_error_set(call->err, 400, "invalid_value", "messages",
                          "Invalid value for 'messages': there is no message with content.");
    }
    if (!inlined && system.len > 0) {
        gb_buf_puts(out, ",\"systemInstruction\":{\"parts\":[");
        gb_buf_append(out, system.data, system.len);
        gb_buf_puts(out, "]}");
    }
    return rv != APR_SUCCESS ? rv : out->rv;
}
