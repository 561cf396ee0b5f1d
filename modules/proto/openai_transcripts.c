/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST audio/transcriptions and audio/translations: a form with a sound to one
 * call of generateContent.  A model that only transcribes tells times and
 * speakers; any other is asked in words and tells the text alone.  What comes
 * back is openai_transcripts_answer.c's.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#define MAX_PHRASE 100 /* bytes of a word or name that the model is told to expect */
#define MAX_HINTS  1000

/* clang-format off */
#define FORMATS "json|text|srt|verbose_json|vtt|diarized_json"

static const gb_openai_param_t params[] = {
    {"model",                    offsetof(gb_openai_transcript_t, model),           GB_PARAM_STRING, NULL,    1, 0},
    {"language",                 offsetof(gb_openai_transcript_t, language),        GB_PARAM_STRING, NULL,    1, 0},
    {"prompt",                   offsetof(gb_openai_transcript_t, prompt),          GB_PARAM_STRING, NULL,    1, 0},
    {"response_format",          offsetof(gb_openai_transcript_t, response_format), GB_PARAM_STRING, FORMATS, 1, 0},
    {"temperature",              offsetof(gb_openai_transcript_t, temperature),     GB_PARAM_NUMBER, NULL,    1, 0},
    {"stream",                   offsetof(gb_openai_transcript_t, stream),          GB_PARAM_BOOL,   NULL,    1, 0},
    {"timestamp_granularities",  GB_PARAM_NOWHERE, GB_PARAM_STRING, "word|segment", 1, 0},
    {"languages",                GB_PARAM_NOWHERE, GB_PARAM_ANY, NULL, 1, 0},
    {"keywords",                 GB_PARAM_NOWHERE, GB_PARAM_ANY, NULL, 1, 0},
    {"include",                  GB_PARAM_NOWHERE, GB_PARAM_ANY, NULL, 1, 0},
    {"chunking_strategy",        GB_PARAM_NOWHERE, GB_PARAM_ANY, NULL, 1, 0},
    {"user",                     GB_PARAM_NOWHERE, GB_PARAM_ANY, NULL, 1, 0},
};

static const struct {
    const char *name;
    gb_openai_transcript_format_t format;
    const char *type;
} formats[] = {
    {"json",          GB_TRANSCRIPT_JSON,     "application/json"},
    {"text",          GB_TRANSCRIPT_TEXT,     "text/plain; charset=utf-8"},
    {"srt",           GB_TRANSCRIPT_SRT,      "application/x-subrip; charset=utf-8"},
    {"vtt",           GB_TRANSCRIPT_VTT,      "text/vtt; charset=utf-8"},
    {"verbose_json",  GB_TRANSCRIPT_VERBOSE,  "application/json"},
    {"diarized_json", GB_TRANSCRIPT_DIARIZED, "application/json"},
};

/* Files whose first bytes say nothing. */
static const struct {
    const char *extension, *type;
} extensions[] = {
    {"mp3", "audio/mp3"}, {"mpga", "audio/mp3"}, {"mpeg", "audio/mp3"}, {"m4a", "audio/m4a"},
    {"mp4", "audio/mp4"}, {"wav", "audio/wav"}, {"ogg", "audio/ogg"}, {"oga", "audio/ogg"},
    {"opus", "audio/ogg"}, {"flac", "audio/flac"}, {"webm", "audio/webm"}, {"aac", "audio/aac"},
};
/* clang-format on */

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

/* ---- the form ---- */

static int has_times(gb_openai_transcript_format_t format)
{
    return format != GB_TRANSCRIPT_JSON && format != GB_TRANSCRIPT_TEXT;
}

static void format_settle(gb_openai_call_t *call, gb_openai_transcript_t *t)
{
    size_t i;

    for (i = 0; i < N_OF(formats); i++) {
        if (i == 0 || gb_json_eq(t->response_format, formats[i].name)) {
            t->format = formats[i].format;
            call->plan->answer_type = formats[i].type;
        }
    }
}

/* The texts of a field that may come several times. */
static apr_array_header_t *repeated(gb_openai_call_t *call, const char *name)
{
    apr_array_header_t *found = apr_array_make(call->pool, 2, sizeof(const char *));
    const apr_array_header_t *form = call->request.form;
    size_t len = strlen(name);
    int i;

    for (i = 0; i < form->nelts && found->nelts < MAX_HINTS; i++) {
        const gb_form_part_t *part = &APR_ARRAY_IDX(form, i, gb_form_part_t);

        if (strncmp(part->name, name, len) == 0
            && (part->name[len] == '\0' || part->name[len] == '[') && part->len > 0
            && part->len <= MAX_PHRASE) {
            APR_ARRAY_PUSH(found, const char *) = apr_pstrmemdup(
                call->pool, call->request.body + part->offset, part->len);
        }
    }
    return found;
}

/* Both granularities may be asked for, in any order. */
static int wants_words(gb_openai_call_t *call)
{
    const apr_array_header_t *wanted = repeated(call, "timestamp_granularities");
    int i;

    for (i = 0; i < wanted->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(wanted, i, const char *), "word") == 0) {
            return 1;
        }
    }
    return 0;
}

/* Names in a prompt, as "ZyntriQix, Digique Plus": what stands between commas and is short. */
static void phrases_add(gb_openai_call_t *call, apr_array_header_t *phrases, const char *prompt)
{
    while (prompt != NULL && *prompt != '\0' && phrases->nelts < MAX_HINTS) {
        size_t n = strcspn(prompt, ",;\n.");

        if (n > 0 && n <= MAX_PHRASE) {
            APR_ARRAY_PUSH(phrases, const char *) = apr_pstrmemdup(call->pool, prompt, n);
        }
        prompt += n + (prompt[n] != '\0');
        prompt += strspn(prompt, " ");
    }
}

static const char *sound_type(const gb_openai_file_t *file)
{
    const char *type = gb_openai_file_type(file), *dot = strrchr(file->name, '.');
    size_t i;

    if (type != NULL) {
        return strncmp(type, "audio/", 6) == 0 ? type : NULL;
    }
    for (i = 0; dot != NULL && file->bytes.len > 0 && i < N_OF(extensions); i++) {
        if (strcasecmp(dot + 1, extensions[i].extension) == 0) {
            return extensions[i].type;
        }
    }
    return NULL;
}

static apr_status_t file_settle(gb_openai_call_t *call, gb_openai_transcript_t *t,
                                const apr_array_header_t *files)
{
    const gb_openai_file_t *file = NULL;
    int i;

    for (i = 0; i < files->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(files, i, gb_openai_file_t).field, "file") == 0) {
            file = &APR_ARRAY_IDX(files, i, gb_openai_file_t);
        }
    }
    if (file == NULL) {
        return gb_openai_param_missing(call, "file");
    }
    t->bytes = file->bytes;
    t->type = sound_type(file);
    if (t->type == NULL) {
        return gb_error_set(call->err, 400, "invalid_file_format", "file",
                            "The file '%.100s' is no sound that Gemini reads: send flac, mp3, mp4, "
                            "mpeg, mpga, m4a, ogg, opus, wav, aiff, aac or webm.",
                            file->name);
    }
    return APR_SUCCESS;
}

/* ---- the model ---- */

static apr_status_t model_settle(gb_openai_call_t *call, gb_openai_transcript_t *t)
{
    static const char *const openai[] = {"whisper-", "gpt-", NULL};
    const char *configured = t->translates ? call->settings->translation_model
                                           : call->settings->transcription_model;
    gb_plan_t *plan = call->plan;
    apr_status_t rv = gb_openai_model_settle(call, t->model, configured, openai);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    t->dedicated = call->model.is_transcribe;
    if (t->dedicated && t->translates) {
        return gb_error_set(call->err, 400, "unsupported_value", "model",
                            "The model '%.90s' does not translate: name another Gemini model.",
                            plan->model);
    }
    if (!t->dedicated && has_times(t->format)) {
        return gb_error_set(call->err, 400, "unsupported_value", "response_format",
                            "The model '%.90s' tells no times: 'response_format' can be json or "
                            "text here. Transcriptions with a model as gemini-3.5-transcribe have "
                            "them.",
                            plan->model);
    }
    return APR_SUCCESS;
}

/* ---- the upstream call ---- */

static void strings_put(gb_buf_t *out, const char *name, const apr_array_header_t *texts)
{
    int i;

    for (i = 0; i < texts->nelts; i++) {
        if (i == 0) {
            gb_buf_printf(out, ",\"%s\":[", name);
        }
        gb_buf_puts(out, i > 0 ? "," : "");
        gb_json_put_cstr(out, APR_ARRAY_IDX(texts, i, const char *));
    }
    gb_buf_puts(out, texts->nelts > 0 ? "]" : "");
}

/* For a model that only transcribes. */
static void config_put(gb_openai_call_t *call, const gb_openai_transcript_t *t, gb_buf_t *out)
{
    apr_array_header_t *languages = repeated(call, "languages");
    apr_array_header_t *phrases = repeated(call, "keywords");

    if (languages->nelts == 0) {
        languages = repeated(call, "language");
    }
    phrases_add(call, phrases, gb_openai_text(t->prompt, call->pool));
    gb_buf_printf(out,
                  "]}],\"generationConfig\":{\"audioTranscriptionConfig\":{\"mode\":\"VERBATIM\","
                  "\"wordTimestamp\":%s,\"diarization\":%s",
                  has_times(t->format) ? "true" : "false",
                  t->format == GB_TRANSCRIPT_DIARIZED ? "true" : "false");
    strings_put(out, "languageCodes", languages);
    strings_put(out, "customVocabulary", phrases);
    gb_buf_puts(out, "}}");
}

/* For all others: what is wanted, in words. */
static void request_put(gb_openai_call_t *call, const gb_openai_transcript_t *t, gb_buf_t *out)
{
    const char *words = t->translates
                            ? "Translate what is said in this recording to English. Answer with "
                              "the translation only, without comments."
                            : "Transcribe this recording word for word, in the language that is "
                              "spoken. Answer with the transcript only, without comments.";

    if (!gb_openai_empty(t->language)) {
        words = apr_pstrcat(call->pool, words,
                            " The language spoken is: ", gb_openai_text(t->language, call->pool),
                            ".", NULL);
    }
    if (!gb_openai_empty(t->prompt)) {
        words = apr_pstrcat(call->pool, words, " A guide to style and spelling: ",
                            gb_openai_text(t->prompt, call->pool), NULL);
    }
    gb_buf_puts(out, ",{\"text\":");
    gb_json_put_cstr(out, words);
    gb_buf_puts(out, "}]}]");
    if (gb_openai_there(t->temperature) && !(call->dropped & GB_OPENAI_DROP_TEMPERATURE)
        && !gb_model_drops_sampling(&call->model)) {
        gb_buf_puts(out, ",\"generationConfig\":{\"temperature\":");
        gb_json_put_span(out, t->temperature);
        gb_buf_putc(out, '}');
        call->sent |= GB_OPENAI_DROP_TEMPERATURE;
    }
}

static apr_status_t body_make(gb_openai_call_t *call)
{
    const gb_openai_transcript_t *t = call->own;
    gb_openai_pieces_t pieces;
    apr_status_t rv;

    call->sent = 0;
    gb_openai_pieces_begin(&pieces, call);
    gb_buf_puts(&pieces.text, "{\"contents\":[{\"role\":\"user\",\"parts\":[");
    gb_openai_pieces_file(&pieces, t->type, t->bytes);
    (t->dedicated ? config_put : request_put)(call, t, &pieces.text);
    rv = gb_openai_around_put(call, &pieces.text);
    return rv == APR_SUCCESS ? gb_openai_pieces_end(&pieces) : rv;
}

static apr_status_t transcript_plan(gb_openai_call_t *call, int translates)
{
    gb_openai_transcript_t *t = apr_pcalloc(call->pool, sizeof(*t));
    gb_plan_t *plan = call->plan;
    apr_array_header_t *files;
    apr_status_t rv = gb_openai_form_read(call, params, N_OF(params), t, &files);

    t->translates = translates;
    call->own = t;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    format_settle(call, t);
    if ((rv = file_settle(call, t, files)) != APR_SUCCESS
        || (rv = model_settle(call, t)) != APR_SUCCESS) {
        return rv;
    }
    t->words_wanted = wants_words(call);
    plan->stream = gb_openai_flag(t->stream) && !has_times(t->format);
    plan->upstream_stream = plan->stream;
    if (plan->stream) {
        plan->answer_type = "text/event-stream; charset=utf-8";
    }
    plan->method = "POST";
    plan->content_type = "application/json";
    plan->operation = translates ? "translation" : "transcription";
    plan->expects_content = 1;
    plan->path = apr_pstrcat(call->pool, "/models/", plan->model_used,
                             plan->stream ? ":streamGenerateContent?alt=sse" : ":generateContent",
                             NULL);
    call->remake = body_make;
    return body_make(call);
}

apr_status_t gb_openai_transcription(gb_openai_call_t *call)
{
    return transcript_plan(call, 0);
}

apr_status_t gb_openai_translation(gb_openai_call_t *call)
{
    return transcript_plan(call, 1);
}
