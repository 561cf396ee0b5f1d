/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's answer, event by event, told to a writer: every part of every
 * candidate in order, calls with stable ids and running indexes, what blocks,
 * what ends.  How it is put on the wire is the writer's (openai_stream.c,
 * openai_unary.c).
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "proto/seam.h"

/* ---- choices ---- */

static gb_openai_choice_t *choice_get(gb_openai_answer_t *a, int index)
{
    gb_openai_choice_t *c;
    int i;

    for (i = 0; i < a->choices->nelts; i++) {
        c = APR_ARRAY_IDX(a->choices, i, gb_openai_choice_t *);
        if (c->index == index) {
            return c;
        }
    }
    c = apr_pcalloc(a->pool, sizeof(*c));
    c->index = index;
    c->call_ids = apr_array_make(a->pool, 2, sizeof(const char *));
    gb_buf_init_pool(&c->text, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->raw_parts, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->content, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->reasoning, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->calls, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->images, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->logprob_items, GB_BUF_MAX_ANSWER, a->pool);
    gb_buf_init_pool(&c->sound, GB_BUF_MAX_ANSWER, a->pool);
    APR_ARRAY_PUSH(a->choices, gb_openai_choice_t *) = c;
    return c;
}

/* ---- finish reasons ---- */

typedef enum { ENDS_STOP, ENDS_LENGTH, ENDS_FILTER, ENDS_MALFORMED, ENDS_SIGNATURE } ending_t;

static const struct {
    const char *gemini;
    ending_t ending;
} endings[] = {
    {"STOP",                      ENDS_STOP     },
    {"FINISH_REASON_UNSPECIFIED", ENDS_STOP     },
    {"MAX_TOKENS",                ENDS_LENGTH   },
    {"CONTINUATION",              ENDS_LENGTH   },
    {"SAFETY",                    ENDS_FILTER   },
    {"RECITATION",                ENDS_FILTER   },
    {"LANGUAGE",                  ENDS_FILTER   },
    {"BLOCKLIST",                 ENDS_FILTER   },
    {"PROHIBITED_CONTENT",        ENDS_FILTER   },
    {"SPII",                      ENDS_FILTER   },
    {"IMAGE_SAFETY",              ENDS_FILTER   },
    {"IMAGE_PROHIBITED_CONTENT",  ENDS_FILTER   },
    {"IMAGE_RECITATION",          ENDS_FILTER   },
    {"ESCALATION",                ENDS_FILTER   },
    {"MODEL_ARMOR",               ENDS_FILTER   },
    {"OTHER",                     ENDS_STOP     },
    {"IMAGE_OTHER",               ENDS_STOP     },
    {"NO_IMAGE",                  ENDS_STOP     },
    {"TOO_MANY_TOOL_CALLS",       ENDS_STOP     },
    {"MALFORMED_FUNCTION_CALL",   ENDS_MALFORMED},
    {"UNEXPECTED_TOOL_CALL",      ENDS_MALFORMED},
    {"MALFORMED_RESPONSE",        ENDS_MALFORMED},
    {"MISSING_THOUGHT_SIGNATURE", ENDS_SIGNATURE},
};

static ending_t ending_of(const gb_openai_choice_t *c)
{
    size_t i;

    if (c->blocked) {
        return ENDS_FILTER;
    }
    for (i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        if (strcmp(c->finish, endings[i].gemini) == 0) {
            return endings[i].ending;
        }
    }
    return ENDS_STOP; /* strict clients know five words only */
}

const char *gb_openai_finish(const gb_openai_answer_t *a, const gb_openai_choice_t *c)
{
    switch (ending_of(c)) {
    case ENDS_LENGTH:
        return "length";
    case ENDS_FILTER:
        return "content_filter";
    default:
        return c->n_calls == 0 ? "stop" : a->call->legacy ? "function_call" : "tool_calls";
    }
}

int gb_openai_malformed(const gb_openai_answer_t *a)
{
    const gb_openai_choice_t *c;
    int i;

    for (i = 0; i < a->choices->nelts; i++) {
        c = APR_ARRAY_IDX(a->choices, i, gb_openai_choice_t *);
        if (ending_of(c) != ENDS_MALFORMED || c->delivered) {
            return 0;
        }
    }
    return i > 0;
}

/* ---- ids ---- */

const char *gb_openai_id_make(const gb_openai_call_t *call, unsigned serial)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    apr_uint64_t state[2], v = 0;
    char *id = apr_palloc(call->pool, 24 + 1);
    int i;

    memcpy(state, call->request.entropy, sizeof(state));
    state[0] += serial;
    for (i = 0; i < 24; i++) {
        if (i % 8 == 0) { /* splitmix64 */
            v = state[0] += 0x9e3779b97f4a7c15u ^ state[1];
            v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
            v = (v ^ v >> 27) * 0x94d049bb133111ebu;
            v ^= v >> 31;
        }
        id[i] = digits[v % 62];
        v /= 62;
    }
    id[24] = '\0';
    return id;
}

static const char *id_next(gb_openai_answer_t *a)
{
    return gb_openai_id_make(a->call, ++a->serial);
}

void gb_openai_audio_begin(gb_openai_answer_t *a, gb_buf_t *out)
{
    gb_buf_printf(out,
                  "\"id\":\"audio_%s\",\"expires_at\":%" APR_INT64_T_FMT
                  ",\"transcript\":\"\",\"data\":",
                  id_next(a), a->created + 3600);
}

void gb_openai_answer_name(gb_openai_answer_t *a)
{
    const char *version = a->facts->model_version;
    gb_openai_name_t *name = &a->name;

    if (name->id == NULL && a->call->name_told) {
        *name = a->call->name;
    }
    if (name->id != NULL) {
        return;
    }
    version = strncmp(version, "models/", 7) == 0 ? version + 7 : version;
    name->id = apr_pstrcat(a->pool, "chatcmpl-",
                           *a->facts->response_id != '\0' ? a->facts->response_id : id_next(a),
                           NULL);
    name->model = apr_pstrdup(a->pool, *version != '\0' ? version : a->call->plan->model);
    name->fingerprint = *version != '\0' ? name->model : NULL;
    a->call->name = *name;
}

/* ---- text ---- */

/* JSON text without its quotes, as a string of its own. */
static gb_span_t scratch_span(gb_openai_answer_t *a)
{
    return (gb_span_t){a->scratch.data, a->scratch.len};
}

/* One piece of content, raw JSON. */
static void content_tell(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t text)
{
    gb_json_str_append(&c->text, text);
    c->delivered = 1;
    a->writer->text(a, c, text, 0);
}

/* What is held, without what it repeats of the text before the seam. */
static void seam_pass(gb_openai_answer_t *a, gb_openai_choice_t *c, int more)
{
    const char *held = a->held.data != NULL ? a->held.data : "";
    size_t overlap = gb_seam_overlap(c->text.data != NULL ? c->text.data : "", c->text.len, held,
                                     a->held.len, more);

    if (overlap == GB_SEAM_OPEN) {
        return;
    }
    a->seam_open = 0;
    if (overlap < a->held.len) {
        gb_buf_reset(&a->scratch);
        gb_json_put_str(&a->scratch, held + overlap, a->held.len - overlap);
        content_tell(a, c, scratch_span(a));
    }
    gb_buf_reset(&a->held);
}

void gb_openai_answer_seam_close(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    if (a->seam_open) {
        seam_pass(a, c, 0);
    }
}

static void text_part(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t text, int thought)
{
    if (gb_openai_empty(text) || (thought && a->continued)) {
        return;
    }
    if (!thought && a->seam_open) {
        gb_json_str_append(&a->held, text);
        seam_pass(a, c, 1);
    }
    else if (!thought) {
        content_tell(a, c, text);
    }
    else if (a->call->show_thoughts) {
        a->writer->text(a, c, text, 1);
    }
}

/* A fenced block; text is raw JSON, word what stands behind the fence. */
static void fenced(gb_openai_answer_t *a, gb_openai_choice_t *c, const char *word, gb_span_t text)
{
    gb_buf_t *out = &a->scratch;
    const char *fence = "```";
    int inside = gb_json_kind(text) == GB_JSON_STRING;

    if (inside && memmem(text.p, text.len, "```", 3) != NULL) {
        fence = "`````";
    }
    gb_buf_reset(out);
    gb_buf_puts(out, c->text.len > 0 && c->text.data[c->text.len - 1] != '\n' ? "\"\\n" : "\"");
    gb_buf_printf(out, "%s%s\\n", fence, word);
    if (inside) {
        gb_buf_append(out, text.p + 1, text.len - 2);
        if (text.len < 4 || memcmp(text.p + text.len - 3, "\\n", 2) != 0) {
            gb_buf_puts(out, "\\n");
        }
    }
    gb_buf_printf(out, "%s\\n\"", fence);
    if (out->rv == APR_SUCCESS) {
        content_tell(a, c, scratch_span(a));
    }
}

static void code_part(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t code)
{
    int python = gb_json_eq(gb_json_get(code, "language"), "PYTHON");

    fenced(a, c, python ? "python" : "", gb_json_get(code, "code"));
}

static void result_part(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t result)
{
    fenced(a, c, "output", gb_json_get(result, "output"));
}

/* ---- media ---- */

static int type_is(gb_span_t type, const char *prefix)
{
    return gb_json_kind(type) == GB_JSON_STRING && type.len - 2 >= strlen(prefix)
           && strncasecmp(type.p + 1, prefix, strlen(prefix)) == 0;
}

static void image_part(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data)
{
    const char *where = a->call->settings->image_output;
    gb_buf_t *out = &a->scratch;

    a->picture = gb_plan_picture(a->call->plan, type, data);
    if (strcmp(where, "markdown") != 0) {
        c->delivered = 1;
        a->writer->image(a, c, type, data);
        c->n_images++;
    }
    if (strcmp(where, "images") != 0) {
        gb_buf_reset(out);
        gb_buf_puts(out, c->text.len > 0 && c->text.data[c->text.len - 1] != '\n'
                             ? "\"\\n\\n![image]("
                             : "\"![image](");
        gb_plan_picture_put(out, a->picture, type, data);
        gb_buf_puts(out, ")\"");
        if (out->rv == APR_SUCCESS) {
            content_tell(a, c, scratch_span(a));
        }
        gb_buf_reset(out);
    }
}

static void media_part(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t blob, int thought)
{
    gb_span_t type = gb_json_get(blob, "mimeType"), data = gb_json_get(blob, "data");

    if (thought || gb_openai_empty(data)) {
        return; /* sketches on the way to a picture are not shown */
    }
    if (type_is(type, "image/")) {
        image_part(a, c, type, data);
    }
    else if (type_is(type, "audio/")) {
        c->delivered = 1;
        a->writer->audio(a, c, type, data);
    }
}

/* ---- calls ---- */

static int id_seen(gb_openai_choice_t *c, const char *id)
{
    int i;

    if (c->call_ids->nelts >= GB_OPENAI_MAX_CALLS) {
        return 0;
    }
    for (i = 0; i < c->call_ids->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(c->call_ids, i, const char *), id) == 0) {
            return 1;
        }
    }
    APR_ARRAY_PUSH(c->call_ids, const char *) = id;
    return 0;
}

static void signature_keep(gb_openai_answer_t *a, const char *id, gb_span_t signature)
{
    const gb_memory_t *memory = a->call->request.memory;
    const char *text;
    size_t len = 0;

    if (memory == NULL || memory->signature_put == NULL || gb_openai_empty(signature)) {
        return;
    }
    text = gb_json_str(signature, &len, a->pool);
    memory->signature_put(memory->ctx, id, text, len);
}

/* The text of the arguments: compact JSON, or what a freeform tool takes. */
static void arguments_get(gb_openai_answer_t *a, gb_openai_tool_call_t *call, gb_span_t args)
{
    gb_span_t input = gb_json_get(args, "input");
    gb_buf_t text;

    if (call->custom && gb_json_kind(input) == GB_JSON_STRING) {
        call->arguments = gb_json_str(input, &call->arguments_len, a->pool);
        return;
    }
    gb_buf_init_pool(&text, GB_BUF_MAX_ANSWER, a->pool);
    if (gb_json_kind(args) == GB_JSON_OBJECT) {
        gb_json_put_compact(&text, args);
    }
    else {
        gb_buf_puts(&text, "{}");
    }
    call->arguments = text.data;
    call->arguments_len = text.len;
}

/* Whether the client is told of it. */
static int call_part(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t value,
                     gb_span_t signature)
{
    gb_openai_tool_call_t call = {0};
    gb_span_t args = gb_json_get(value, "args");
    const char *name = gb_openai_text(gb_json_get(value, "name"), a->pool);
    const gb_openai_tool_t *tool;

    if (name == NULL || *name == '\0') {
        return 0; /* Vertex ends streamed arguments with an empty call */
    }
    call.id = gb_openai_text(gb_json_get(value, "id"), a->pool);
    if (call.id == NULL || *call.id == '\0') {
        call.id = apr_pstrcat(a->pool, "call_", id_next(a), NULL);
    }
    if (((a->call->one_call || a->call->legacy) && c->n_calls > 0) || id_seen(c, call.id)) {
        return 0;
    }
    tool = gb_openai_tool_find(a->call, name);
    call.name = tool != NULL ? tool->name : name;
    call.custom = tool != NULL && tool->custom;
    call.index = c->n_calls++;
    call.signature = gb_openai_empty(signature) ? (gb_span_t){NULL, 0} : signature;
    arguments_get(a, &call, args);
    signature_keep(a, call.id, signature);
    c->first_call_id = c->first_call_id != NULL ? c->first_call_id : call.id;
    c->delivered = 1;
    a->writer->call(a, c, &call);
    return 1;
}

void gb_openai_tool_call_put(gb_buf_t *out, const gb_openai_tool_call_t *call, int with_index)
{
    gb_buf_putc(out, '{');
    if (with_index) {
        gb_buf_printf(out, "\"index\":%d,", call->index);
    }
    gb_buf_puts(out, "\"id\":");
    gb_json_put_cstr(out, call->id);
    gb_buf_puts(out, call->custom ? ",\"type\":\"custom\",\"custom\":{\"name\":"
                                  : ",\"type\":\"function\",\"function\":{\"name\":");
    gb_json_put_cstr(out, call->name);
    gb_buf_puts(out, call->custom ? ",\"input\":" : ",\"arguments\":");
    gb_json_put_str(out, call->arguments != NULL ? call->arguments : "", call->arguments_len);
    gb_buf_putc(out, '}');
    if (gb_openai_there(call->signature)) {
        gb_buf_puts(out, ",\"extra_content\":{\"google\":{\"thought_signature\":");
        gb_json_put_span(out, call->signature);
        gb_buf_puts(out, "}}");
    }
    gb_buf_putc(out, '}');
}

/* ---- parts ---- */

typedef struct part_t {
    gb_span_t text, thought, signature, call, blob, code, result, server_call, server_result;
} part_t;

static const struct {
    const char *name;
    size_t offset;
} part_members[] = {
    {"text",                offsetof(part_t, text)         },
    {"thought",             offsetof(part_t, thought)      },
    {"thoughtSignature",    offsetof(part_t, signature)    },
    {"functionCall",        offsetof(part_t, call)         },
    {"inlineData",          offsetof(part_t, blob)         },
    {"executableCode",      offsetof(part_t, code)         },
    {"codeExecutionResult", offsetof(part_t, result)       },
    {"toolCall",            offsetof(part_t, server_call)  },
    {"toolResponse",        offsetof(part_t, server_result)},
};

static void part_read(part_t *part, gb_span_t value)
{
    gb_json_iter_t it;
    size_t i;

    memset(part, 0, sizeof(*part));
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        for (i = 0; i < sizeof(part_members) / sizeof(*part_members); i++) {
            if (gb_json_eq(it.key, part_members[i].name)) {
                *(gb_span_t *)((char *)part + part_members[i].offset) = it.value;
                break;
            }
        }
    }
}

/* Beside Google's own tools the model's turn must come back as it was, but for calls that nobody
 * will answer. */
static void part_keep(gb_openai_answer_t *a, gb_openai_choice_t *c, const part_t *part,
                      gb_span_t value)
{
    if (!a->call->mixed) {
        return;
    }
    c->keeps_parts |= gb_openai_there(part->server_call) || gb_openai_there(part->server_result);
    if (c->raw_parts.len > 0) {
        gb_buf_putc(&c->raw_parts, ',');
    }
    gb_json_put_compact(&c->raw_parts, value);
}

static void part_tell(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t value)
{
    part_t part;
    int thought;

    part_read(&part, value);
    thought = gb_openai_flag(part.thought);
    gb_openai_part_seen(c, gb_openai_there(part.text) && !thought, a->call->plan->upstream_stream,
                        a->pool);
    text_part(a, c, part.text, thought);
    if (gb_openai_there(part.call) || gb_openai_there(part.blob) || gb_openai_there(part.code)
        || gb_openai_there(part.result)) {
        c->other_parts = 1;
        gb_openai_answer_seam_close(a, c);
    }
    if (gb_openai_there(part.call)) {
        if (call_part(a, c, part.call, part.signature)) {
            part_keep(a, c, &part, value);
        }
        return;
    }
    part_keep(a, c, &part, value);
    if (gb_openai_there(part.blob)) {
        media_part(a, c, part.blob, thought);
    }
    if (gb_openai_there(part.code)) {
        code_part(a, c, part.code);
    }
    if (gb_openai_there(part.result)) {
        result_part(a, c, part.result);
    }
    if (!gb_openai_empty(part.signature) && !thought) {
        a->writer->signature(a, c, part.signature);
    }
}

/* ---- candidates ---- */

static void finish_read(gb_openai_choice_t *c, gb_span_t told, gb_span_t words, apr_pool_t *p)
{
    const char *reason = gb_json_kind(told) == GB_JSON_NUMBER ? gb_gemini_finish_name(told)
                                                              : gb_openai_text(told, p);
    const char *message = gb_openai_text(words, p);

    if (reason != NULL && *reason != '\0') {
        apr_cpystrn(c->finish, reason, sizeof(c->finish));
    }
    if (message != NULL) {
        apr_cpystrn(c->finish_message, message, sizeof(c->finish_message));
    }
}

static void candidate_tell(gb_openai_answer_t *a, gb_span_t candidate)
{
    static const char *const names[] = {"index",           "content",        "finishReason",
                                        "finishMessage",   "logprobsResult", "groundingMetadata",
                                        "citationMetadata"};
    gb_span_t found[7];
    apr_int64_t index = 0;
    gb_openai_choice_t *c;
    gb_json_iter_t it;

    gb_json_get_all(candidate, names, 7, found);
    gb_json_int(found[0], &index);
    if (index < 0 || index > 128) {
        return;
    }
    c = choice_get(a, a->first_choice + (int)index);
    c->logprobs = a->call->logprobs ? found[4] : (gb_span_t){NULL, 0};
    finish_read(c, found[2], found[3], a->pool);
    for (gb_json_iter(&it, gb_json_get(found[1], "parts")); gb_json_next(&it);) {
        part_tell(a, c, it.value);
    }
    if (gb_openai_there(c->logprobs)) {
        a->writer->logprobs(a, c);
        c->logprobs = (gb_span_t){NULL, 0};
    }
    gb_openai_sources_read(c, found[5], found[6], a->pool);
}

/* A blocked prompt has no candidate: it gets one choice that says so. */
static void block_tell(gb_openai_answer_t *a, gb_span_t feedback)
{
    const char *reason = gb_openai_text(gb_json_get(feedback, "blockReason"), a->pool);
    const char *message = gb_openai_text(gb_json_get(feedback, "blockReasonMessage"), a->pool);
    gb_openai_choice_t *c;

    if (reason == NULL || *reason == '\0' || strcmp(reason, "BLOCK_REASON_UNSPECIFIED") == 0) {
        return;
    }
    c = choice_get(a, a->first_choice);
    if (c->refusal == NULL) {
        c->refusal = apr_pstrcat(a->pool, "Blocked by Gemini: ", reason,
                                 message != NULL ? ". " : NULL, message, NULL);
        apr_cpystrn(c->finish, reason, sizeof(c->finish));
        c->blocked = 1;
        a->writer->refusal(a, c, c->refusal);
    }
}

/* The client lost a signature that the model insists on: its fault, told as Google would. */
static void signature_check(gb_openai_answer_t *a)
{
    static const char error[] =
        "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":\"A function call in "
        "the conversation is missing a thought_signature: send tool calls back as they came, with "
        "their extra_content.\"}}";
    gb_openai_choice_t *c;
    int i;

    for (i = 0; i < a->choices->nelts; i++) {
        c = APR_ARRAY_IDX(a->choices, i, gb_openai_choice_t *);
        if (ending_of(c) == ENDS_SIGNATURE && !c->delivered) {
            a->facts->has_error = 1;
            a->facts->error_json = error;
            a->facts->error_len = sizeof(error) - 1;
        }
    }
}

/* ---- events ---- */

apr_status_t gb_openai_answer_event(gb_openai_answer_t *a, gb_span_t root)
{
    static const char *const names[] = {"usageMetadata", "candidates", "promptFeedback"};
    gb_span_t found[3];
    gb_json_iter_t it;

    gb_gemini_tap(a->facts, root, a->pool);
    if (a->facts->has_error) {
        return APR_SUCCESS;
    }
    if (a->first_choice > 0) {
        gb_facts_add_tokens(a->facts, &a->facts_before); /* figures of a fan-out are sums */
    }
    gb_openai_answer_name(a);
    gb_json_get_all(root, names, 3, found);
    gb_openai_usage_read(&a->usage, found[0]);
    for (gb_json_iter(&it, found[1]); gb_json_next(&it);) {
        candidate_tell(a, it.value);
    }
    block_tell(a, found[2]);
    signature_check(a);
    return a->out->rv;
}

void gb_openai_answer_next(gb_openai_answer_t *a)
{
    gb_openai_choice_t *c;
    int i, highest = -1;

    for (i = 0; i < a->choices->nelts; i++) {
        c = APR_ARRAY_IDX(a->choices, i, gb_openai_choice_t *);
        highest = c->index > highest ? c->index : highest;
    }
    gb_openai_usage_add(&a->usage_before, &a->usage);
    gb_openai_usage_clear(&a->usage);
    a->facts_before = *a->facts;
    a->first_choice = highest + 1;
}

apr_status_t gb_openai_answer_continue(gb_openai_answer_t *a)
{
    const gb_openai_call_t *call = a->call;
    gb_facts_t facts = *a->facts;
    const gb_openai_choice_t *c;

    if (a->choices->nelts != 1 || call->json_answer || call->mixed || call->logprobs) {
        return APR_NOTFOUND;
    }
    c = APR_ARRAY_IDX(a->choices, 0, gb_openai_choice_t *);
    if (c->other_parts || *c->finish != '\0' || c->refusal != NULL || c->text.rv != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    gb_facts_add_tokens(&facts, &a->facts_before);
    a->facts_before = facts;
    gb_openai_usage_add(&a->usage_before, &a->usage);
    gb_openai_usage_clear(&a->usage);
    gb_buf_reset(&a->held);
    a->continued = 1;
    a->seam_open = 1;
    return APR_SUCCESS;
}

/* Few clients send extra_content back: the turn is found again by its first call. */
static void parts_remember(gb_openai_answer_t *a, const gb_openai_choice_t *c)
{
    const gb_memory_t *memory = a->call->request.memory;
    const char *text;

    if (c->keeps_parts && c->first_call_id != NULL && memory != NULL
        && memory->signature_put != NULL && c->raw_parts.rv == APR_SUCCESS) {
        text = apr_pstrcat(a->pool, "[", c->raw_parts.data, "]", NULL);
        memory->signature_put(memory->ctx, gb_openai_parts_id(c->first_call_id, a->pool), text,
                              strlen(text));
    }
}

void gb_openai_answer_last_words(gb_openai_answer_t *a, gb_openai_choice_t *c)
{
    const char *links;
    gb_buf_t *out = &a->scratch;

    parts_remember(a, c);
    if (!c->delivered && c->refusal == NULL && ending_of(c) == ENDS_FILTER) {
        c->refusal = apr_pstrcat(a->pool, "Blocked by Gemini: ", c->finish,
                                 *c->finish_message ? ". " : NULL, c->finish_message, NULL);
        a->writer->refusal(a, c, c->refusal);
    }
    if (!a->call->settings->show_search_link || a->call->json_answer || c->n_calls > 0
        || c->text.len == 0 || (links = gb_openai_links(c, a->pool)) == NULL) {
        return;
    }
    gb_buf_reset(out);
    gb_json_put_cstr(out, links);
    if (out->rv == APR_SUCCESS) {
        content_tell(a, c, scratch_span(a));
    }
}

gb_openai_answer_t *gb_openai_answer_make(gb_openai_call_t *call, gb_facts_t *facts,
                                          const gb_openai_writer_t *writer)
{
    gb_openai_answer_t *a = apr_pcalloc(call->pool, sizeof(*a));

    a->call = call;
    a->facts = facts;
    a->pool = call->pool;
    a->writer = writer;
    a->choices = apr_array_make(call->pool, 1, sizeof(gb_openai_choice_t *));
    a->created = apr_time_sec(call->request.now);
    gb_openai_usage_clear(&a->usage);
    gb_openai_usage_clear(&a->usage_before);
    gb_buf_init_pool(&a->scratch, GB_BUF_MAX_ANSWER, call->pool);
    gb_buf_init_pool(&a->held, GB_BUF_MAX_ANSWER, call->pool);
    return a;
}

/* What is no JSON ends the attempt: nothing after it can be trusted. */
apr_status_t gb_openai_answer_feed(gb_openai_answer_t *a, const char *bytes, size_t len)
{
    gb_json_fault_t fault = {0};
    gb_buf_t mended;
    gb_span_t root;
    gb_json_iter_t it;
    apr_status_t rv;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    gb_buf_init(&mended, GB_BUF_MAX_ANSWER);
    if (fault.has_lone_surrogate) {
        gb_json_mend(&mended, bytes, len);
        bytes = mended.data;
        len = mended.len;
    }
    rv = mended.rv;
    root = gb_json_root(bytes, len);
    if (gb_json_kind(root) == GB_JSON_ARRAY) { /* Google wraps errors, and unary streams */
        for (gb_json_iter(&it, root); rv == APR_SUCCESS && gb_json_next(&it);) {
            rv = gb_openai_answer_event(a, it.value);
        }
    }
    else if (rv == APR_SUCCESS) {
        rv = gb_openai_answer_event(a, root);
    }
    gb_buf_free(&mended);
    return rv;
}
