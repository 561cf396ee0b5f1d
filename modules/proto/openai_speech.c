/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST audio/speech.  Bare samples, and events of samples or WAV, are handed on
 * as the model speaks; every other form is made of the whole, by a worker
 * (base/sound.h does the work).  Style and speed are words to the model.
 */
#include "proto/openai_int.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#include "base/sound.h"

#define EVENT_BYTES (24 * 1024) /* of sound in one event, a multiple of 3 */

typedef struct speech_t {
    gb_span_t model, input, voice, instructions, speed, response_format, stream_format, extra_body;
    const char *style;     /* how to speak, "" when nobody cares */
    const char *voice_put; /* JSON, behind "voiceConfig": */
    gb_span_t config;      /* the client's own speechConfig */
    gb_sound_t sound;
    int events; /* stream_format is sse */
    apr_int64_t input_tokens, output_tokens, total_tokens;
} speech_t;

/* clang-format off */
static const gb_openai_param_t params[] = {
    {"model",           offsetof(speech_t, model),           GB_PARAM_STRING, NULL,        1, 0},
    {"input",           offsetof(speech_t, input),           GB_PARAM_STRING, NULL,        1, 0},
    {"voice",           offsetof(speech_t, voice),           GB_PARAM_ANY,    NULL,        1, 0},
    {"instructions",    offsetof(speech_t, instructions),    GB_PARAM_STRING, NULL,        1, 0},
    {"speed",           offsetof(speech_t, speed),           GB_PARAM_NUMBER, NULL,        1, 0},
    {"response_format", offsetof(speech_t, response_format), GB_PARAM_STRING, NULL,        1, 0},
    {"stream_format",   offsetof(speech_t, stream_format),   GB_PARAM_STRING, "audio|sse", 1, 0},
    {"extra_body",      offsetof(speech_t, extra_body),      GB_PARAM_ANY,    NULL,        1, 0},
};
/* clang-format on */

static const speech_t *speech_of(const gb_plan_t *plan)
{
    return ((const gb_openai_call_t *)plan->state)->own;
}

/* ---- the request ---- */

static apr_status_t model_settle(gb_openai_call_t *call, const speech_t *s)
{
    static const char *const openai[] = {"tts-1", "gpt-", NULL};
    apr_status_t rv = gb_openai_model_settle(call, s->model, call->settings->tts_model, openai);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    return call->model.is_tts || !call->model.is_gemini
               ? APR_SUCCESS
               : gb_error_set(call->err, 400, "unsupported_value", "model",
                              "The model '%.90s' does not speak: use a speech (tts) model, as "
                              "'%.90s'.",
                              call->plan->model_used, call->settings->tts_model);
}

static apr_status_t voice_settle(gb_openai_call_t *call, speech_t *s)
{
    gb_span_t value = gb_json_kind(s->voice) == GB_JSON_OBJECT ? gb_json_get(s->voice, "id")
                                                               : s->voice;
    const char *name = gb_openai_text(value, call->pool), *gemini;
    gb_buf_t out;

    if (gb_openai_there(s->voice) && name == NULL) {
        return gb_error_set(call->err, 400, "invalid_type", "voice",
                            "Invalid type for 'voice': expected a name, or an object with 'id'.");
    }
    name = name != NULL ? name : call->settings->tts_voice_name;
    gemini = gb_openai_voice(name);
    gb_buf_init_pool(&out, GB_BUF_MAX_LINE, call->pool);
    if (gemini != NULL) {
        gb_buf_printf(&out, "{\"prebuiltVoiceConfig\":{\"voiceName\":\"%s\"}}", gemini);
    }
    else if (strncmp(name, "voice_", 6) == 0 && gb_model_at_least(&call->model, 3, 8)) {
        gb_buf_puts(&out, "{\"voice\":");
        gb_json_put_cstr(&out, name);
        gb_buf_putc(&out, '}');
    }
    else {
        return gb_error_set(call->err, 400, "invalid_value", "voice",
                            "Invalid value for 'voice': '%.60s' is not known. Use one of OpenAI's "
                            "(alloy, ash, coral ...) or one of Gemini's (Kore, Puck, Zephyr ...).",
                            name);
    }
    s->voice_put = out.data;
    return out.rv;
}

/* Words for a number, from the slowest on; between 0.9 and 1.1 there is nothing to say. */
static const struct {
    double below;
    const char *word;
} paces[] = {
    {0.6,  "very slowly" },
    {0.9,  "slowly"      },
    {1.1,  ""            },
    {1.6,  "quickly"     },
    {4.01, "very quickly"},
};

static apr_status_t style_settle(gb_openai_call_t *call, speech_t *s)
{
    const char *instructions = gb_openai_text(s->instructions, call->pool);
    const char *pace = call->settings->tts_speed;
    double speed = 1;
    size_t i;

    if (gb_json_double(s->speed, &speed)) {
        if (speed < 0.25 || speed > 4) {
            return gb_error_set(call->err, 400, "invalid_value", "speed",
                                "Invalid value for 'speed': expected a number from 0.25 to 4.0.");
        }
        for (i = 0; i < sizeof(paces) / sizeof(*paces) - 1 && speed >= paces[i].below; i++) {
        }
        pace = paces[i].word;
    }
    else if (strcmp(pace, "normal") == 0) {
        pace = "";
    }
    s->style = apr_pstrcat(
        call->pool, instructions != NULL ? instructions : "",
        instructions != NULL && *instructions != '\0' && *pace != '\0' ? " " : "",
        *pace != '\0' ? apr_psprintf(call->pool, "Speak %.60s.", pace) : "", NULL);
    return APR_SUCCESS;
}

static apr_status_t format_settle(gb_openai_call_t *call, speech_t *s)
{
    const char *name = gb_openai_text(s->response_format, call->pool);

    s->events = gb_json_eq(s->stream_format, "sse");
    s->sound = gb_sound_by_name(name != NULL ? name : call->settings->tts_response_format);
    if (s->sound != GB_SOUND_N) {
        return APR_SUCCESS;
    }
    return gb_error_set(call->err, 400,
                        strcmp(name, "aac") == 0 ? "unsupported_value" : "invalid_value",
                        "response_format",
                        "Invalid value for 'response_format': '%.30s' is not supported here. Use "
                        "wav, pcm, mp3, opus or flac.",
                        name);
}

/* ---- the body ---- */

/* Older models are told in the text how to speak it. */
static void input_put(gb_openai_call_t *call, const speech_t *s, gb_buf_t *out)
{
    int apart = gb_model_at_least(&call->model, 3, 8);

    gb_buf_puts(out, "{\"text\":\"");
    if (*s->style != '\0' && !apart) {
        gb_json_put_escaped(out, s->style, strlen(s->style));
        gb_buf_puts(out, ":\\n");
    }
    gb_buf_append(out, s->input.p + 1, s->input.len - 1);
    if (*s->style != '\0' && apart) {
        gb_buf_puts(out, ",\"speechMetadata\":{\"style\":");
        gb_json_put_cstr(out, s->style);
        gb_buf_putc(out, '}');
    }
    gb_buf_putc(out, '}');
}

static apr_status_t body_make(gb_openai_call_t *call)
{
    const speech_t *s = call->own;
    gb_buf_t out;
    apr_status_t rv;

    call->sent = 0;
    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, call->pool);
    gb_buf_puts(&out, "{\"contents\":[{\"role\":\"user\",\"parts\":[");
    input_put(call, s, &out);
    gb_buf_puts(&out, "]}],\"generationConfig\":{\"responseModalities\":[\"AUDIO\"],"
                      "\"speechConfig\":");
    if (gb_openai_there(s->config)) {
        gb_json_put_compact(&out, s->config);
    }
    else {
        gb_buf_printf(&out, "{\"voiceConfig\":%s}", s->voice_put);
    }
    gb_buf_putc(&out, '}');
    if ((rv = gb_openai_around_put(call, &out)) != APR_SUCCESS) {
        return rv;
    }
    call->plan->body = out.data;
    call->plan->body_len = out.len;
    return APR_SUCCESS;
}

static apr_status_t speech_finish(const gb_plan_t *plan, const char *body, size_t len,
                                  gb_buf_t *out, gb_error_t *err);

/* Samples need no end to be right, and a stream of WAV may say that it has none. */
static void answer_plan(gb_plan_t *plan, const speech_t *s)
{
    plan->upstream_stream = s->sound == GB_SOUND_PCM || (s->sound == GB_SOUND_WAV && s->events);
    plan->stream = plan->upstream_stream;
    plan->finish = plan->stream ? NULL : speech_finish;
    plan->answer_type = s->events ? "text/event-stream; charset=utf-8" : gb_sound_type(s->sound);
    plan->stream_type = s->events ? plan->answer_type : NULL;
}

apr_status_t gb_openai_speech(gb_openai_call_t *call)
{
    speech_t *s = apr_pcalloc(call->pool, sizeof(*s));
    gb_plan_t *plan = call->plan;
    gb_span_t root = gb_json_root(call->request.body, call->request.body_len);
    apr_status_t rv = gb_openai_params_read(call, root, params, sizeof(params) / sizeof(*params),
                                            s);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (gb_openai_empty(s->input)) {
        return gb_openai_param_missing(call, "input");
    }
    if ((rv = model_settle(call, s)) != APR_SUCCESS || (rv = voice_settle(call, s)) != APR_SUCCESS
        || (rv = style_settle(call, s)) != APR_SUCCESS
        || (rv = format_settle(call, s)) != APR_SUCCESS) {
        return rv;
    }
    call->own = s;
    call->google = gb_json_get(s->extra_body, "google");
    s->config = gb_json_get2(call->google, "speech_config", "speechConfig");
    plan->method = "POST";
    plan->content_type = "application/json";
    plan->operation = "speech";
    plan->expects_content = 1;
    answer_plan(plan, s);
    plan->path = apr_pstrcat(
        call->pool, "/models/", plan->model_used,
        plan->upstream_stream ? ":streamGenerateContent?alt=sse" : ":generateContent", NULL);
    call->remake = body_make;
    return body_make(call);
}

/* ---- events ---- */

static void delta_put(gb_buf_t *out, const char *bytes, size_t len)
{
    gb_buf_puts(out, "data: {\"type\":\"speech.audio.delta\",\"audio\":\"");
    gb_openai_base64_put(out, bytes, len);
    gb_buf_puts(out, "\"}\n\n");
}

static void done_put(gb_buf_t *out, const speech_t *s)
{
    gb_buf_printf(
        out,
        "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":%" APR_INT64_T_FMT
        ",\"output_tokens\":%" APR_INT64_T_FMT ",\"total_tokens\":%" APR_INT64_T_FMT "}}\n\n",
        s->input_tokens, s->output_tokens, s->total_tokens);
}

static void usage_keep(speech_t *s, const gb_facts_t *facts)
{
    s->input_tokens = facts->prompt_tokens > 0 ? facts->prompt_tokens : 0;
    s->output_tokens = facts->completion_tokens > 0 ? facts->completion_tokens : 0;
    s->total_tokens = facts->total_tokens > 0 ? facts->total_tokens
                                              : s->input_tokens + s->output_tokens;
}

/* ---- Gemini's answer ---- */

/* A refusal to speak is the client's to know. */
static void blocked_tell(gb_translator_t *t)
{
    gb_facts_t *facts = t->facts;
    gb_buf_t error;

    gb_buf_init_pool(&error, GB_BUF_MAX_ERROR, t->plan->pool);
    gb_buf_puts(&error, "{\"error\":{\"code\":400,\"status\":\"INVALID_ARGUMENT\",\"message\":");
    gb_json_put_cstr(&error,
                     apr_pstrcat(t->plan->pool, "Blocked by Gemini: ", facts->finish_reason, NULL));
    gb_buf_puts(&error, "}}");
    facts->has_error = 1;
    facts->error_json = error.data;
    facts->error_len = error.len;
}

/* What was said, as the answer's form wants it. */
static void sound_part(gb_translator_t *t, const speech_t *s, gb_span_t type, gb_span_t data)
{
    gb_buf_t bytes;
    size_t at = 0, n;
    unsigned rate;

    if (!t->plan->stream) { /* a line for speech_finish */
        gb_json_put_span(t->out, type);
        gb_buf_putc(t->out, '\n');
        gb_buf_append(t->out, data.p + 1, data.len - 2);
        gb_buf_putc(t->out, '\n');
        return;
    }
    gb_buf_init(&bytes, GB_BUF_MAX_ANSWER);
    if (t->n == 1 && s->sound == GB_SOUND_WAV) {
        gb_sound_wav_header(&bytes, gb_openai_audio_rate(type), SIZE_MAX);
        delta_put(t->out, bytes.data, bytes.len);
        gb_buf_reset(&bytes);
    }
    gb_openai_base64_get(&bytes, data.p + 1, data.len - 2);
    n = bytes.len;
    gb_sound_wav_samples(bytes.data, bytes.len, &at, &n, &rate); /* else all that there is */
    if (s->events) {
        delta_put(t->out, bytes.data + at, n);
    }
    else {
        gb_buf_append(t->out, bytes.data + at, n);
    }
    gb_buf_free(&bytes);
}

static void parts_read(gb_translator_t *t, gb_span_t root)
{
    const speech_t *s = speech_of(t->plan);
    gb_json_iter_t it;

    for (gb_json_iter(&it, gb_json_path(root, "candidates.0.content.parts")); gb_json_next(&it);) {
        gb_span_t blob = gb_json_get(it.value, "inlineData");
        gb_span_t type = gb_json_get(blob, "mimeType"), data = gb_json_get(blob, "data");

        if (!gb_openai_empty(type) && !gb_openai_empty(data)) {
            t->n++;
            sound_part(t, s, type, data);
        }
    }
}

/* A model that answers with words instead of sound has said nothing: it is asked once more. */
static apr_status_t speech_read(gb_translator_t *t, const char *bytes, size_t len)
{
    gb_json_fault_t fault = {0};
    gb_span_t root;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    root = gb_json_root(bytes, len);
    gb_gemini_tap(t->facts, root, t->plan->pool);
    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    parts_read(t, root);
    t->facts->has_content = t->n > 0;
    if (t->facts->blocked && t->n == 0) {
        blocked_tell(t);
    }
    return t->out->rv;
}

static apr_status_t on_event(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_translator_t *t = baton;

    return kind == GB_SSE_DONE || t->facts->has_error ? APR_SUCCESS : speech_read(t, data, len);
}

static apr_status_t stream_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    return gb_sse_feed(t->sse, bytes, len);
}

static apr_status_t speech_end(gb_translator_t *t)
{
    speech_t *s = ((gb_openai_call_t *)t->plan->state)->own;
    apr_status_t rv = t->sse != NULL ? gb_sse_end(t->sse) : APR_SUCCESS;

    if (rv != APR_SUCCESS || t->facts->has_error || t->n == 0) {
        return rv;
    }
    if (t->sse != NULL && !t->facts->finished) {
        return APR_INCOMPLETE;
    }
    usage_keep(s, t->facts);
    if (t->sse != NULL && s->events) {
        done_put(t->out, s);
    }
    return t->out->rv;
}

void gb_openai_speech_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    if (call->plan->upstream_stream) {
        t->sse = gb_sse_make(on_event, t, call->pool);
    }
    t->chunk = t->sse != NULL ? stream_chunk : speech_read;
    t->end = speech_end;
}

/* ---- a worker's part ---- */

static apr_status_t refuse(gb_error_t *err, const char *what, const char *why)
{
    return gb_error_set(err, 502, "upstream_error", NULL,
                        "The speech could not be made: %.60s (%.100s).", what, why);
}

/* All samples one after the other; type and data stand in lines. */
static apr_status_t samples_gather(const char *body, size_t len, gb_buf_t *samples, unsigned *rate,
                                   gb_error_t *err)
{
    const char *end = body + len, *lf, *data_end;
    gb_buf_t bytes;
    apr_status_t rv = APR_SUCCESS;

    gb_buf_init(&bytes, GB_BUF_MAX_ANSWER);
    while (rv == APR_SUCCESS && body < end) {
        size_t at = 0, n;
        gb_span_t type;

        lf = memchr(body, '\n', (size_t)(end - body));
        data_end = memchr(lf + 1, '\n', (size_t)(end - lf - 1));
        type = (gb_span_t){body, (size_t)(lf - body)};
        gb_buf_reset(&bytes);
        gb_openai_base64_get(&bytes, lf + 1, (size_t)(data_end - lf - 1));
        n = bytes.len;
        if (gb_sound_wav_samples(bytes.data, bytes.len, &at, &n, rate) != APR_SUCCESS) {
            *rate = gb_openai_audio_rate(type);
            if (!gb_openai_audio_is_raw(type)) {
                rv = refuse(err, "the model sent another kind of sound",
                            "neither samples nor WAV of 16 bit in one channel");
            }
        }
        gb_buf_append(samples, bytes.data + at, n);
        body = data_end + 1;
    }
    gb_buf_free(&bytes);
    return rv != APR_SUCCESS ? rv : samples->rv;
}

static void as_events(gb_buf_t *out, const speech_t *s, const gb_buf_t *file)
{
    size_t at, n;

    for (at = 0; at < file->len; at += n) {
        n = file->len - at < EVENT_BYTES ? file->len - at : EVENT_BYTES;
        delta_put(out, file->data + at, n);
    }
    done_put(out, s);
}

static apr_status_t speech_finish(const gb_plan_t *plan, const char *body, size_t len,
                                  gb_buf_t *out, gb_error_t *err)
{
    const speech_t *s = speech_of(plan);
    unsigned rate = 0;
    const char *why = "it is too long";
    gb_buf_t samples, file;
    apr_status_t rv;

    gb_buf_init(&samples, GB_BUF_MAX_ANSWER);
    gb_buf_init(&file, GB_BUF_MAX_ANSWER);
    rv = samples_gather(body, len, &samples, &rate, err);
    if (rv == APR_SUCCESS) {
        rv = gb_sound_encode(s->events ? &file : out, s->sound, samples.data, samples.len, rate,
                             &why);
        if (rv == APR_SUCCESS && s->events) {
            as_events(out, s, &file);
            rv = out->rv;
        }
    }
    if (rv != APR_SUCCESS && !err->status) {
        refuse(err, "encoding failed", why);
    }
    gb_buf_free(&samples);
    gb_buf_free(&file);
    return rv;
}
