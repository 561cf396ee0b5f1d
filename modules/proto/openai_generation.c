/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generationConfig: limits, sampling, structured output, modalities and voice.
 * Numbers go over by byte range unless they must be bounded.  What the client
 * did not send is not sent.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "proto/schema.h"

/* The object while it is written. */
typedef struct config_t {
    gb_openai_call_t *call;
    gb_buf_t out;
    gb_span_t own; /* extra_body.google.generation_config: the client's word wins */
} config_t;

static int config_has(const config_t *config, const char *camel);

/* Begins a member; 0 when the client wrote it himself. */
static int member(config_t *config, const char *name)
{
    if (config_has(config, name)) {
        return 0;
    }
    gb_buf_printf(&config->out, "%s\"%s\":", config->out.len > 0 ? "," : "", name);
    return 1;
}

static gb_span_t field(const config_t *config, gb_openai_field_t id)
{
    return config->call->field[id];
}

/* ---- names: Google takes both spellings, we send one ---- */

static const char *camel_name(gb_span_t key, apr_pool_t *p)
{
    const char *name = gb_openai_text(key, p);
    char *camel = apr_pstrdup(p, name != NULL ? name : "");
    char *from, *to;

    for (from = to = camel; *from != '\0'; from++) {
        if (*from == '_' && from > camel && from[1] >= 'a' && from[1] <= 'z') {
            from++;
            *to++ = (char)(*from - 'a' + 'A');
        }
        else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return camel;
}

static int config_has(const config_t *config, const char *camel)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, config->own); gb_json_next(&it);) {
        if (strcmp(camel_name(it.key, config->call->pool), camel) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Members whose names are the client's own. */
static int is_schema(const char *name)
{
    static const char *const schemas[] = {"responseSchema", "responseJsonSchema",
                                          "_responseJsonSchema", "schema"};
    size_t i;

    for (i = 0; i < sizeof(schemas) / sizeof(*schemas); i++) {
        if (strcmp(name, schemas[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Copies JSON, all names in one spelling. */
static void camel_put(gb_buf_t *out, gb_span_t value, apr_pool_t *p)
{
    int is_object = gb_json_kind(value) == GB_JSON_OBJECT;
    gb_json_iter_t it;
    const char *name;

    if (!is_object) {
        gb_json_put_compact(out, value); /* no array of objects stands in a generationConfig
                                             * but within schemas */
        return;
    }
    gb_buf_putc(out, '{');
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        name = camel_name(it.key, p);
        gb_buf_puts(out, it.index > 0 ? "," : "");
        gb_json_put_cstr(out, name);
        gb_buf_putc(out, ':');
        if (is_schema(name)) {
            gb_json_put_compact(out, it.value);
        }
        else {
            camel_put(out, it.value, p);
        }
    }
    gb_buf_putc(out, '}');
}

static void own_put(config_t *config)
{
    apr_pool_t *p = config->call->pool;
    gb_json_iter_t it;
    const char *name;

    for (gb_json_iter(&it, config->own); gb_json_next(&it);) {
        name = camel_name(it.key, p);
        if (strcmp(name, "thinkingConfig") == 0 || gb_json_kind(it.value) == GB_JSON_NULL) {
            continue;
        }
        if (config->out.len > 0) {
            gb_buf_putc(&config->out, ',');
        }
        gb_json_put_cstr(&config->out, name);
        gb_buf_putc(&config->out, ':');
        if (is_schema(name)) {
            gb_json_put_compact(&config->out, it.value);
        }
        else {
            camel_put(&config->out, it.value, p);
        }
    }
}

/* ---- limits ---- */

static void max_tokens(config_t *config)
{
    const gb_openai_call_t *call = config->call;
    const gb_memory_t *memory = call->request.memory;
    gb_span_t value = field(config, GB_OPENAI_MAX_COMPLETION_TOKENS);
    apr_int64_t n, limit = 0;

    if (!gb_openai_there(value)) {
        value = field(config, GB_OPENAI_MAX_TOKENS);
    }
    if (!gb_json_int(value, &n)) {
        return;
    }
    if (memory != NULL && memory->model_output_limit != NULL) {
        limit = memory->model_output_limit(memory->ctx, call->plan->model_used);
    }
    n = limit > 0 && n > limit ? limit : n;
    n = n > INT32_MAX ? INT32_MAX : n;
    if (member(config, "maxOutputTokens")) {
        gb_buf_printf(&config->out, "%" APR_INT64_T_FMT, n);
    }
}

static void stop_sequences(config_t *config)
{
    gb_span_t value = field(config, GB_OPENAI_STOP);
    gb_json_iter_t it;
    gb_buf_t list;
    const char *comma = "";

    gb_buf_init_pool(&list, GB_BUF_MAX_REQUEST, config->call->pool);
    if (!gb_openai_empty(value)) {
        gb_json_put_span(&list, value);
    }
    else if (gb_json_kind(value) == GB_JSON_ARRAY) {
        for (gb_json_iter(&it, value); gb_json_next(&it);) {
            if (!gb_openai_empty(it.value)) {
                gb_buf_puts(&list, comma);
                gb_json_put_span(&list, it.value);
                comma = ",";
            }
        }
    }
    if (list.len > 0 && member(config, "stopSequences")) {
        gb_buf_putc(&config->out, '[');
        gb_buf_append(&config->out, list.data, list.len);
        gb_buf_putc(&config->out, ']');
    }
}

/* ---- sampling ---- */

typedef struct sampling_t {
    gb_openai_field_t field;
    const char *name;
    unsigned drop;
    int deprecated;  /* ignored from Gemini 3.6 on, a 400 some day */
    double min, max; /* clamped where OpenAI's bounds are wider, min > max: not */
    int zero_is_default;
} sampling_t;

static const sampling_t sampling[] = {
    {GB_OPENAI_TEMPERATURE,       "temperature",      GB_OPENAI_DROP_TEMPERATURE, 1, 0, 2, 0},
    {GB_OPENAI_TOP_P,             "topP",             GB_OPENAI_DROP_TOP_P,       1, 1, 0, 0},
    {GB_OPENAI_TOP_K,             "topK",             GB_OPENAI_DROP_TOP_K,       1, 1, 0, 0},
    {GB_OPENAI_PRESENCE_PENALTY,  "presencePenalty",  GB_OPENAI_DROP_PENALTIES,   0, 1, 0, 1},
    {GB_OPENAI_FREQUENCY_PENALTY, "frequencyPenalty", GB_OPENAI_DROP_PENALTIES,   0, 1, 0, 1},
};

static void sampling_put(config_t *config, const sampling_t *row)
{
    gb_openai_call_t *call = config->call;
    gb_span_t value = field(config, row->field);
    double n = 0;

    if (!gb_json_double(value, &n) || (call->dropped & row->drop)
        || (row->deprecated && gb_model_drops_sampling(&call->model))
        || (row->zero_is_default && n == 0) || !member(config, row->name)) {
        return;
    }
    call->sent |= row->drop;
    if (row->min <= row->max && n < row->min) {
        gb_buf_printf(&config->out, "%g", row->min);
    }
    else if (row->min <= row->max && n > row->max) {
        gb_buf_printf(&config->out, "%g", row->max);
    }
    else {
        gb_json_put_span(&config->out, value);
    }
}

static void seed(config_t *config)
{
    apr_int64_t n;

    if (gb_json_int(field(config, GB_OPENAI_SEED), &n)
        && !(config->call->dropped & GB_OPENAI_DROP_SEED) && member(config, "seed")) {
        gb_buf_printf(&config->out, "%" APR_INT64_T_FMT, n & INT32_MAX);
        config->call->sent |= GB_OPENAI_DROP_SEED;
    }
}

static apr_status_t logprobs(config_t *config)
{
    gb_openai_call_t *call = config->call;
    gb_span_t top = field(config, GB_OPENAI_TOP_LOGPROBS);
    apr_int64_t n = 0;

    call->logprobs = gb_openai_flag(field(config, GB_OPENAI_LOGPROBS));
    if (!call->logprobs) {
        return !gb_openai_there(top) ? APR_SUCCESS
                                     : gb_error_set(call->err, 400, "invalid_value", "top_logprobs",
                                                    "'top_logprobs' needs 'logprobs' to be true.");
    }
    if (member(config, "responseLogprobs")) {
        gb_buf_puts(&config->out, "true");
    }
    if (gb_json_int(top, &n) && n > 0 && member(config, "logprobs")) {
        gb_json_put_span(&config->out, top);
    }
    return APR_SUCCESS;
}

/* ---- structured output ---- */

/* "Answer with JSON of this schema: {..}" as a JSON string, for models that take no schema
 * beside functions. */
static void json_sentence(gb_openai_call_t *call, gb_span_t schema)
{
    gb_buf_t text, compact;

    gb_buf_init_pool(&text, GB_BUF_MAX_REQUEST, call->pool);
    gb_buf_init_pool(&compact, GB_BUF_MAX_REQUEST, call->pool);
    gb_buf_puts(&text, "\"When you call no function, answer with one JSON value only, "
                       "without any text or Markdown around it");
    if (gb_openai_there(schema)) {
        gb_buf_puts(&text, ", that is valid against this JSON Schema: ");
        gb_json_put_compact(&compact, schema);
        gb_json_put_escaped(&text, compact.data, compact.len);
    }
    gb_buf_puts(&text, ".\"");
    call->extra_system = text.rv == APR_SUCCESS ? text.data : NULL;
}

static apr_status_t schema_put(config_t *config, gb_span_t schema)
{
    gb_openai_call_t *call = config->call;
    unsigned flags = call->dropped & GB_OPENAI_DROP_BOUNDS ? GB_SCHEMA_NO_BOUNDS : 0;
    int lower = !gb_model_at_least(&call->model, 2, 5)
                || (call->dropped & GB_OPENAI_DROP_RESPONSE_SCHEMA);
    apr_status_t rv;

    if (!member(config, lower ? "responseSchema" : "responseJsonSchema")) {
        return APR_SUCCESS;
    }
    call->sent |= GB_OPENAI_DROP_RESPONSE_SCHEMA | GB_OPENAI_DROP_BOUNDS;
    rv = lower ? gb_schema_lower(&config->out, schema, flags, call->pool)
               : gb_schema_clean(&config->out, schema, flags, call->pool);
    return rv == APR_SUCCESS ? rv
                             : gb_error_set(call->err, 400, "invalid_value", "response_format",
                                            "Invalid schema for 'response_format': it is too deep "
                                            "or too large.");
}

/* The client may have asked for JSON in Google's own words. */
static int own_json(const config_t *config)
{
    gb_span_t type = gb_json_get2(config->own, "responseMimeType", "response_mime_type");

    return !gb_openai_empty(type) && !gb_json_eq(type, "text/plain");
}

static apr_status_t response_format(config_t *config)
{
    gb_openai_call_t *call = config->call;
    gb_span_t format = field(config, GB_OPENAI_RESPONSE_FORMAT);
    gb_span_t type = gb_openai_member(format, "type");
    gb_span_t schema = gb_json_path(format, "json_schema.schema");
    int with_schema = gb_json_eq(type, "json_schema");

    call->json_answer = own_json(config);
    if (!gb_openai_there(format) || gb_json_eq(type, "text")) {
        return APR_SUCCESS;
    }
    if (!with_schema && !gb_json_eq(type, "json_object")) {
        return gb_error_set(call->err, 400, "invalid_value", "response_format.type",
                            "Invalid value for 'response_format.type': supported values are "
                            "'text', 'json_object' and 'json_schema'.");
    }
    if (with_schema && !gb_openai_there(gb_openai_member(format, "json_schema"))) {
        return gb_error_set(call->err, 400, "missing_required_parameter",
                            "response_format.json_schema",
                            "Missing required parameter: 'response_format.json_schema'.");
    }
    if (with_schema && gb_json_kind(schema) != GB_JSON_OBJECT) {
        with_schema = 0;
    }
    call->json_answer = 1;
    if ((call->n_tools > 0 || gb_openai_tools_own(call))
        && !gb_model_at_least(&call->model, 3, 0)) {
        json_sentence(call, with_schema ? schema : (gb_span_t){NULL, 0});
        return APR_SUCCESS;
    }
    if (member(config, "responseMimeType")) {
        gb_buf_puts(&config->out, "\"application/json\"");
    }
    return with_schema ? schema_put(config, schema) : APR_SUCCESS;
}

/* ---- modalities and voice ---- */

static const struct {
    const char *openai;
    const char *gemini;
} voices[] = {
    {"alloy",   "Kore"    },
    {"ash",     "Charon"  },
    {"ballad",  "Algieba" },
    {"coral",   "Aoede"   },
    {"echo",    "Puck"    },
    {"fable",   "Fenrir"  },
    {"onyx",    "Orus"    },
    {"nova",    "Leda"    },
    {"sage",    "Sulafat" },
    {"shimmer", "Zephyr"  },
    {"verse",   "Iapetus" },
    {"marin",   "Achernar"},
    {"cedar",   "Alnilam" },
};

static const char *const gemini_voices[] = {
    "Zephyr",    "Puck",          "Charon",       "Kore",      "Fenrir",     "Leda",
    "Orus",      "Aoede",         "Callirrhoe",   "Autonoe",   "Enceladus",  "Iapetus",
    "Umbriel",   "Algieba",       "Despina",      "Erinome",   "Algenib",    "Rasalgethi",
    "Laomedeia", "Achernar",      "Alnilam",      "Schedar",   "Gacrux",     "Pulcherrima",
    "Achird",    "Zubenelgenubi", "Vindemiatrix", "Sadachbia", "Sadaltager", "Sulafat",
};

const char *gb_openai_voice(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(voices) / sizeof(*voices); i++) {
        if (strcasecmp(name, voices[i].openai) == 0) {
            return voices[i].gemini;
        }
    }
    for (i = 0; i < sizeof(gemini_voices) / sizeof(*gemini_voices); i++) {
        if (strcasecmp(name, gemini_voices[i]) == 0) {
            return gemini_voices[i];
        }
    }
    return NULL;
}

static apr_status_t speech(config_t *config)
{
    gb_openai_call_t *call = config->call;
    gb_span_t voice = gb_openai_member(field(config, GB_OPENAI_AUDIO), "voice");
    const char *name = gb_openai_text(voice, call->pool), *gemini;

    if (call->stream
        && gb_json_eq(gb_openai_member(field(config, GB_OPENAI_AUDIO), "format"), "wav")) {
        return gb_error_set(call->err, 400, "unsupported_value", "audio.format",
                            "Invalid value for 'audio.format': a stream of audio is pcm16.");
    }
    name = name != NULL ? name : call->settings->tts_voice_name;
    if ((gemini = gb_openai_voice(name)) == NULL) {
        return gb_error_set(call->err, 400, "invalid_value", "audio.voice",
                            "Invalid value for 'audio.voice': the voice '%.60s' is not known.",
                            name);
    }
    if (member(config, "responseModalities")) {
        gb_buf_puts(&config->out, "[\"AUDIO\"]");
    }
    if (member(config, "speechConfig")) {
        gb_buf_printf(&config->out,
                      "{\"voiceConfig\":{\"prebuiltVoiceConfig\":{\"voiceName\":\"%s\"}}}", gemini);
    }
    return APR_SUCCESS;
}

static apr_status_t modalities(config_t *config)
{
    gb_openai_call_t *call = config->call;
    int image = (call->variant & GB_OPENAI_IMAGE) != 0, audio = 0, text = 0;
    gb_json_iter_t it;

    for (gb_json_iter(&it, field(config, GB_OPENAI_MODALITIES)); gb_json_next(&it);) {
        image |= gb_json_eq(it.value, "image");
        audio |= gb_json_eq(it.value, "audio");
        text |= gb_json_eq(it.value, "text");
    }
    if (audio && !call->model.is_tts) {
        return gb_error_set(call->err, 400, "unsupported_value", "modalities",
                            "The model '%.90s' does not answer with audio: use a speech (tts) "
                            "model.",
                            call->plan->model);
    }
    if (call->model.is_tts) {
        return speech(config);
    }
    if (image && member(config, "responseModalities")) {
        gb_buf_puts(&config->out, text || (call->variant & GB_OPENAI_IMAGE)
                                          || !gb_openai_there(field(config, GB_OPENAI_MODALITIES))
                                      ? "[\"TEXT\",\"IMAGE\"]"
                                      : "[\"IMAGE\"]");
    }
    return APR_SUCCESS;
}

static void media_resolution(config_t *config)
{
    gb_span_t value = gb_json_get2(config->call->google, "media_resolution", "mediaResolution");

    if (gb_json_kind(value) == GB_JSON_STRING && member(config, "mediaResolution")) {
        gb_json_put_span(&config->out, value);
    }
}

/* ---- all of it ---- */

/* A model without candidateCount gets n equal calls, which cannot be one stream. */
apr_status_t gb_openai_generation_plan(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;
    apr_int64_t n = 1;

    gb_json_int(call->field[GB_OPENAI_N], &n);
    call->n = (int)n;
    call->one_call = gb_openai_there(call->field[GB_OPENAI_PARALLEL_TOOL_CALLS])
                     && !gb_openai_flag(call->field[GB_OPENAI_PARALLEL_TOOL_CALLS]);
    call->stream = gb_openai_flag(call->field[GB_OPENAI_STREAM]);
    call->include_usage = gb_openai_flag(
        gb_json_get(call->field[GB_OPENAI_STREAM_OPTIONS], "include_usage"));
    plan->stream = call->stream;
    plan->fake_stream = call->stream
                        && gb_feature_fakes_stream(call->settings, plan->model, plan->model_used);
    plan->upstream_stream = call->stream && !plan->fake_stream;
    if (n > 1 && !gb_model_takes_candidate_count(&call->model)) {
        if (call->stream) {
            return gb_error_set(call->err, 400, "unsupported_value", "n",
                                "The model '%.90s' streams one choice only: leave out 'n' or "
                                "'stream'.",
                                plan->model);
        }
        plan->fan_out = (int)n;
    }
    else if (!plan->upstream_stream && gb_model_prefers_stream(&call->model)) {
        plan->upstream_stream = 1; /* it says more that way; collected here */
    }
    return APR_SUCCESS;
}

apr_status_t gb_openai_generation_put(gb_openai_call_t *call, gb_buf_t *out)
{
    config_t config = {.call = call};
    gb_buf_t thinking;
    apr_status_t rv;
    size_t i;

    gb_buf_init_pool(&config.out, GB_BUF_MAX_REQUEST, call->pool);
    gb_buf_init_pool(&thinking, GB_BUF_MAX_LINE, call->pool);
    config.own = gb_json_get2(call->google, "generation_config", "generationConfig");
    if (gb_json_kind(config.own) == GB_JSON_OBJECT
        && gb_json_count(config.own) > GB_OPENAI_MAX_OPTIONS) {
        return gb_error_set(call->err, 400, "invalid_value", "extra_body.google.generation_config",
                            "Invalid value for 'generation_config': too many members.");
    }
    max_tokens(&config);
    if (call->n > 1 && call->plan->fan_out <= 1 && member(&config, "candidateCount")) {
        gb_buf_printf(&config.out, "%d", call->n);
    }
    stop_sequences(&config);
    for (i = 0; i < sizeof(sampling) / sizeof(*sampling); i++) {
        sampling_put(&config, &sampling[i]);
    }
    seed(&config);
    if ((rv = logprobs(&config)) != APR_SUCCESS || (rv = response_format(&config)) != APR_SUCCESS
        || (rv = modalities(&config)) != APR_SUCCESS
        || (rv = gb_openai_thinking_put(call, &thinking)) != APR_SUCCESS) {
        return rv;
    }
    media_resolution(&config);
    if (thinking.len > 0) {
        gb_buf_printf(&config.out, "%s\"thinkingConfig\":", config.out.len > 0 ? "," : "");
        gb_buf_append(&config.out, thinking.data, thinking.len);
    }
    own_put(&config);
    if (config.out.len > 0) {
        gb_buf_puts(out, ",\"generationConfig\":{");
        gb_buf_append(out, config.out.data, config.out.len);
        gb_buf_putc(out, '}');
    }
    return config.out.rv != APR_SUCCESS ? config.out.rv : out->rv;
}
