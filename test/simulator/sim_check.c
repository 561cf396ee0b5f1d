/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks names and types of a request as Google's parser does: tables of
 * messages and fields, walked over the document. Violations are collected and
 * told together, with paths in snake_case.
 */
#include "sim.h"

#include <stdio.h>

#define MAX_VIOLATIONS 20
#define API            "type.googleapis.com/google.ai.generativelanguage.v1beta."

typedef enum { F_TEXT, F_INT, F_FLOAT, F_BOOL, F_BYTES, F_ENUM, F_ANY, F_MSG, F_MAP } type_t;

typedef struct field {
    const char *name; /* lowerCamel; NULL ends the table */
    type_t type;
    bool repeated;
    const struct field *fields; /* of F_MSG and F_MAP values */
    const char *const *values;  /* of F_ENUM; values[0] is the type's name */
} field_t;

/* clang-format off */

/* ---- enums ---- */

static const char *const e_level[] = { "ThinkingConfig.ThinkingLevel",
    "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", NULL };
static const char *const e_mode[] = { "FunctionCallingConfig.Mode",
    "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED", NULL };
static const char *const e_category[] = { "HarmCategory",
    "HARM_CATEGORY_UNSPECIFIED", "HARM_CATEGORY_DEROGATORY", "HARM_CATEGORY_TOXICITY",
    "HARM_CATEGORY_VIOLENCE", "HARM_CATEGORY_SEXUAL", "HARM_CATEGORY_MEDICAL",
    "HARM_CATEGORY_DANGEROUS", "HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT", "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY", "HARM_CATEGORY_JAILBREAK", NULL };
static const char *const e_threshold[] = { "SafetySetting.HarmBlockThreshold",
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF", NULL };
static const char *const e_type[] = { "Type",
    "TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL", NULL };
static const char *const e_modality[] = { "GenerationConfig.Modality",
    "MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", NULL };
static const char *const e_resolution[] = { "GenerationConfig.MediaResolution",
    "MEDIA_RESOLUTION_UNSPECIFIED", "MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM",
    "MEDIA_RESOLUTION_HIGH", "MEDIA_RESOLUTION_ULTRA_HIGH", NULL };
static const char *const e_tier[] = { "ServiceTier",
    "unspecified", "standard", "flex", "priority", NULL };
static const char *const e_language[] = { "ExecutableCode.Language",
    "LANGUAGE_UNSPECIFIED", "PYTHON", NULL };
static const char *const e_outcome[] = { "CodeExecutionResult.Outcome",
    "OUTCOME_UNSPECIFIED", "OUTCOME_OK", "OUTCOME_FAILED", "OUTCOME_DEADLINE_EXCEEDED", NULL };
static const char *const e_task[] = { "TaskType",
    "TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY",
    "CLASSIFICATION", "CLUSTERING", "QUESTION_ANSWERING", "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY", NULL };

/* ---- messages ---- */

#define END        { NULL, F_ANY, false, NULL, NULL }
#define TEXT(n)    { n, F_TEXT, false, NULL, NULL }
#define TEXTS(n)   { n, F_TEXT, true, NULL, NULL }
#define INT(n)     { n, F_INT, false, NULL, NULL }
#define FLOAT(n)   { n, F_FLOAT, false, NULL, NULL }
#define BOOL(n)    { n, F_BOOL, false, NULL, NULL }
#define BYTES(n)   { n, F_BYTES, false, NULL, NULL }
#define ENUM(n, e) { n, F_ENUM, false, NULL, e }
#define ANY(n)     { n, F_ANY, false, NULL, NULL }
#define ANYS(n)    { n, F_ANY, true, NULL, NULL }
#define MSG(n, m)  { n, F_MSG, false, m, NULL }
#define MSGS(n, m) { n, F_MSG, true, m, NULL }
#define MAP(n, m)  { n, F_MAP, false, m, NULL }

static const field_t m_blob[] = { TEXT("mimeType"), BYTES("data"), TEXT("displayName"), END };
static const field_t m_file[] = { TEXT("mimeType"), TEXT("fileUri"), TEXT("displayName"), END };
static const field_t m_call[] = { TEXT("name"), ANY("args"), TEXT("id"), END };
static const field_t m_response_part[] = {
    MSG("inlineData", m_blob), MSG("fileData", m_file), END
};
static const field_t m_response[] = {
    TEXT("name"), ANY("response"), TEXT("id"), TEXT("scheduling"), BOOL("willContinue"),
    MSGS("parts", m_response_part), END
};
static const field_t m_code[] = { ENUM("language", e_language), TEXT("code"), TEXT("id"), END };
static const field_t m_result[] = { ENUM("outcome", e_outcome), TEXT("output"), TEXT("id"), END };
static const field_t m_tool_call[] = {
    TEXT("toolType"), TEXT("toolName"), ANY("args"), TEXT("id"), END
};
static const field_t m_tool_response[] = { TEXT("toolType"), ANY("response"), TEXT("id"), END };
static const field_t m_video[] = { TEXT("startOffset"), TEXT("endOffset"), FLOAT("fps"), END };
static const field_t m_level[] = { ENUM("level", e_resolution), INT("numTokens"), END };
static const field_t m_part[] = {
    TEXT("text"), BOOL("thought"), BYTES("thoughtSignature"), MSG("inlineData", m_blob),
    MSG("fileData", m_file), MSG("functionCall", m_call), MSG("functionResponse", m_response),
    MSG("executableCode", m_code), MSG("codeExecutionResult", m_result),
    MSG("toolCall", m_tool_call), MSG("toolResponse", m_tool_response),
    MSG("videoMetadata", m_video), MSG("mediaResolution", m_level), TEXT("mediaProcessing"),
    ANY("partMetadata"), ANY("audioTranscription"), END
};
static const field_t m_content[] = { TEXT("role"), MSGS("parts", m_part), END };
static const field_t m_schema[] = {
    ENUM("type", e_type), TEXT("format"), TEXT("title"), TEXT("description"), BOOL("nullable"),
    TEXTS("enum"), INT("maxItems"), INT("minItems"), MAP("properties", m_schema),
    TEXTS("required"), INT("minProperties"), INT("maxProperties"), FLOAT("minimum"),
    FLOAT("maximum"), INT("minLength"), INT("maxLength"), TEXT("pattern"), ANY("example"),
    MSGS("anyOf", m_schema), TEXTS("propertyOrdering"), ANY("default"), MSG("items", m_schema), END
};
static const field_t m_function[] = {
    TEXT("name"), TEXT("description"), TEXT("behavior"), MSG("parameters", m_schema),
    ANY("parametersJsonSchema"), MSG("response", m_schema), ANY("responseJsonSchema"), END
};
static const field_t m_tool[] = {
    MSGS("functionDeclarations", m_function), ANY("googleSearch"), ANY("googleSearchRetrieval"),
    ANY("codeExecution"), ANY("urlContext"), ANY("googleMaps"), ANY("fileSearch"),
    ANY("computerUse"), ANYS("mcpServers"), END
};
static const field_t m_calling[] = { ENUM("mode", e_mode), TEXTS("allowedFunctionNames"), END };
static const field_t m_tool_config[] = {
    MSG("functionCallingConfig", m_calling), BOOL("includeServerSideToolInvocations"),
    ANY("retrievalConfig"), END
};
static const field_t m_safety[] = {
    ENUM("category", e_category), ENUM("threshold", e_threshold), END
};
static const field_t m_thinking[] = {
    BOOL("includeThoughts"), INT("thinkingBudget"), ENUM("thinkingLevel", e_level), END
};
static const field_t m_prebuilt[] = { TEXT("voiceName"), END };
static const field_t m_voice[] = {
    MSG("prebuiltVoiceConfig", m_prebuilt), ANY("replicatedVoiceConfig"), END
};
static const field_t m_speaker[] = { TEXT("speaker"), MSG("voiceConfig", m_voice), END };
static const field_t m_speakers[] = { MSGS("speakerVoiceConfigs", m_speaker), END };
static const field_t m_speech[] = {
    MSG("voiceConfig", m_voice), TEXT("languageCode"), MSG("multiSpeakerVoiceConfig", m_speakers),
    END
};
static const field_t m_image[] = { TEXT("aspectRatio"), TEXT("imageSize"), END };
static const field_t m_generation[] = {
    FLOAT("temperature"), FLOAT("topP"), INT("topK"), INT("candidateCount"),
    INT("maxOutputTokens"), TEXTS("stopSequences"), TEXT("responseMimeType"),
    MSG("responseSchema", m_schema), ANY("responseJsonSchema"), ANY("responseFormat"),
    FLOAT("presencePenalty"), FLOAT("frequencyPenalty"), INT("seed"), BOOL("responseLogprobs"),
    INT("logprobs"), { "responseModalities", F_ENUM, true, NULL, e_modality },
    MSG("thinkingConfig", m_thinking), MSG("speechConfig", m_speech), MSG("imageConfig", m_image),
    ENUM("mediaResolution", e_resolution), BOOL("enableAffectiveDialog"),
    BOOL("enableEnhancedCivicAnswers"), ANY("audioTranscriptionConfig"), ANY("translationConfig"),
    END
};
static const field_t m_generate[] = {
    MSGS("contents", m_content), MSG("systemInstruction", m_content),
    MSG("generationConfig", m_generation), MSGS("tools", m_tool),
    MSG("toolConfig", m_tool_config), MSGS("safetySettings", m_safety), TEXT("cachedContent"),
    TEXT("model"), BOOL("store"), ENUM("serviceTier", e_tier), END
};
static const field_t m_count[] = {
    MSGS("contents", m_content), MSG("generateContentRequest", m_generate), END
};
static const field_t m_embed[] = {
    MSG("content", m_content), TEXT("model"), ENUM("taskType", e_task), TEXT("title"),
    INT("outputDimensionality"), ANY("embedContentConfig"), END
};
static const field_t m_batch[] = { MSGS("requests", m_embed), END };
static const field_t m_predict[] = { ANYS("instances"), ANY("parameters"), END };

/* clang-format on */

static const field_t *const message_of[SR_MAX] = {
    [SR_GENERATE] = m_generate, [SR_STREAM] = m_generate,   [SR_COUNT] = m_count,
    [SR_EMBED] = m_embed,       [SR_BATCH_EMBED] = m_batch, [SR_PREDICT] = m_predict};

/* ---- the walk ---- */

typedef struct {
    const sj_doc_t *doc;
    sim_buf_t *path, *message, *details;
    unsigned found;
} walk_t;

static bool walk_message(walk_t *w, const field_t *fields, uint32_t value);

static void violation(walk_t *w, const char *text, size_t n)
{
    if (w->found++ >= MAX_VIOLATIONS) {
        return;
    }
    if (w->message->len > 0) {
        sim_putc(w->message, '\n');
        sim_putc(w->details, ',');
    }
    sim_put(w->message, text, n);
    sim_putc(w->details, '{');
    if (w->path->len > 0) {
        sim_putl(w->details, "\"field\":\"");
        sim_put_escaped(w->details, w->path->p, w->path->len);
        sim_putl(w->details, "\",");
    }
    sim_putl(w->details, "\"description\":\"");
    sim_put_escaped(w->details, text, n);
    sim_putl(w->details, "\"}");
}

/* `Unknown name "x" at 'path': why` - the path is that of the message around it. */
static void unknown_name(walk_t *w, sim_str_t name, const char *why)
{
    static sim_buf_t text;

    text.len = 0;
    sim_putl(&text, "Invalid JSON payload received. Unknown name \"");
    sim_put(&text, name.p, name.n);
    sim_putc(&text, '"');
    if (w->path->len > 0) {
        sim_putl(&text, " at '");
        sim_put(&text, w->path->p, w->path->len);
        sim_putc(&text, '\'');
    }
    sim_putl(&text, ": ");
    sim_puts(&text, why);
    violation(w, text.p, text.len);
}

static void invalid_value(walk_t *w, const char *type, uint32_t value)
{
    static sim_buf_t text;
    sim_str_t given = sj_text(w->doc, value);

    text.len = 0;
    sim_putl(&text, "Invalid value at '");
    sim_put(&text, w->path->p, w->path->len);
    sim_putl(&text, "' (");
    sim_puts(&text, type);
    sim_putl(&text, "), ");
    sim_put(&text, given.p, given.n < 200 ? given.n : 200);
    violation(w, text.p, text.len);
}

static void push_name(walk_t *w, const char *camel)
{
    if (w->path->len > 0) {
        sim_putc(w->path, '.');
    }
    for (; *camel != '\0'; camel++) {
        if (*camel >= 'A' && *camel <= 'Z') {
            sim_putc(w->path, '_');
            sim_putc(w->path, (char)(*camel | 0x20));
        }
        else {
            sim_putc(w->path, *camel);
        }
    }
}

static bool is_number(const sj_doc_t *doc, uint32_t value)
{
    return sj_is(doc, value, SJ_NUMBER)
           || (sj_is(doc, value, SJ_STRING) && sj_double(doc, value, -1e300) != -1e300);
}

static bool is_integer(const sj_doc_t *doc, uint32_t value)
{
    double v = sj_double(doc, value, 0.5);

    return is_number(doc, value) && v >= -9.3e18 && v <= 9.3e18 && v == (double)(long long)v;
}

static bool is_base64(const sj_doc_t *doc, uint32_t value)
{
    sim_str_t s = sj_raw(doc, value);
    size_t i;

    if (!sj_is(doc, value, SJ_STRING)) {
        return false;
    }
    for (i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+'
              || c == '/' || c == '-' || c == '_' || c == '=' || c == '\\')) {
            return false;
        }
    }
    return true;
}

static bool is_enum(const sj_doc_t *doc, const field_t *f, uint32_t value)
{
    int i;

    if (sj_is(doc, value, SJ_NUMBER)) {
        return true;
    }
    for (i = 1; f->values[i] != NULL; i++) {
        if (sim_ieq(sj_raw(doc, value), f->values[i])) {
            return sj_is(doc, value, SJ_STRING);
        }
    }
    return false;
}

static void walk_map(walk_t *w, const field_t *f, uint32_t value)
{
    size_t from = w->path->len;
    unsigned i = 0;

    if (!sj_is(w->doc, value, SJ_OBJECT)) {
        invalid_value(w, "Map", value);
        return;
    }
    SJ_EACH_MEMBER(w->doc, value, key)
    {
        sim_buf_printf(w->path, "[%u].value", i++);
        walk_message(w, f->fields, key + 1);
        w->path->len = from;
    }
}

static void walk_value(walk_t *w, const field_t *f, uint32_t value)
{
    static const char *const names[] = {[F_TEXT] = "TYPE_STRING",
                                        [F_INT] = "TYPE_INT32",
                                        [F_FLOAT] = "TYPE_FLOAT",
                                        [F_BOOL] = "TYPE_BOOL",
                                        [F_BYTES] = "TYPE_BYTES"};
    const sj_doc_t *d = w->doc;
    bool ok = true;

    if (sj_is(d, value, SJ_NULL)) {
        return;
    }
    switch (f->type) {
    case F_TEXT:
        ok = sj_is(d, value, SJ_STRING);
        break;
    case F_INT:
        ok = is_integer(d, value);
        break;
    case F_FLOAT:
        ok = is_number(d, value);
        break;
    case F_BOOL:
        ok = sj_is(d, value, SJ_TRUE) || sj_is(d, value, SJ_FALSE);
        break;
    case F_BYTES:
        ok = is_base64(d, value);
        break;
    case F_ENUM:
        if (!is_enum(d, f, value)) {
            char type[160];

            snprintf(type, sizeof(type), API "%s", f->values[0]);
            invalid_value(w, type, value);
        }
        return;
    case F_MSG:
        walk_message(w, f->fields, value);
        return;
    case F_MAP:
        walk_map(w, f, value);
        return;
    case F_ANY:
        return;
    }
    if (!ok) {
        invalid_value(w, names[f->type], value);
    }
}

static void walk_field(walk_t *w, const field_t *f, uint32_t key)
{
    size_t from = w->path->len;
    unsigned i = 0;

    if (!f->repeated) {
        if (sj_is(w->doc, key + 1, SJ_ARRAY) && f->type != F_ANY) {
            unknown_name(w, sj_raw(w->doc, key),
                         "Proto field is not repeating, cannot start "
                         "list.");
            return;
        }
        push_name(w, f->name);
        walk_value(w, f, key + 1);
        w->path->len = from;
        return;
    }
    push_name(w, f->name);
    SJ_EACH_OF(w->doc, key + 1, item)
    {
        size_t name = w->path->len;

        sim_buf_printf(w->path, "[%u]", i++);
        walk_value(w, f, item);
        w->path->len = name;
    }
    w->path->len = from;
}

static bool walk_message(walk_t *w, const field_t *fields, uint32_t value)
{
    if (!sj_is(w->doc, value, SJ_OBJECT)) {
        invalid_value(w, "Message", value);
        return false;
    }
    SJ_EACH_MEMBER(w->doc, value, key)
    {
        const field_t *f = fields;

        while (f->name != NULL && !sj_name_is(w->doc, key, f->name)) {
            f++;
        }
        if (f->name != NULL) {
            walk_field(w, f, key);
        }
        else {
            unknown_name(w, sj_raw(w->doc, key), "Cannot find field.");
        }
    }
    return true;
}

bool sim_check_fields(sim_conn_t *c, const sj_doc_t *doc, sim_route_t route)
{
    static sim_buf_t path, message, details;
    walk_t w = {.doc = doc, .path = &path, .message = &message, .details = &details};

    path.len = message.len = details.len = 0;
    sim_putl(&details, "[{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\","
                       "\"fieldViolations\":[");
    walk_message(&w, message_of[route], 0);
    if (w.found == 0) {
        return true;
    }
    sim_putl(&details, "]}]");
    sim_error_send(c, 400, NULL, (sim_str_t){message.p, message.len},
                   (sim_str_t){details.p, details.len});
    return false;
}
