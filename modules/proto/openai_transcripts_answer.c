/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transcript in OpenAI's six forms, and as a stream of its text.  Segments are
 * made of the words and their times: a new one begins with another speaker, after
 * the end of a sentence, after a pause, and when one grows long.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

#include "base/timeutil.h"

#define PAUSE_MS   700
#define SEGMENT_MS 10000

typedef struct word_t {
    const char *text; /* UTF-8, from the plan's pool */
    size_t len;
    long start, end; /* milliseconds */
    int speaker;     /* 0-based, -1: not told */
} word_t;

typedef struct segment_t {
    const word_t *first;
    int n;
} segment_t;

typedef struct answer_t {
    gb_buf_t text;                /* UTF-8 */
    apr_array_header_t *words;    /* of word_t */
    apr_array_header_t *speakers; /* of const char *: labels as Google gives them */
    gb_openai_usage_t usage;
    gb_buf_t delta; /* of the event that is read: UTF-8 */
} answer_t;

/* ---- reading ---- */

/* "1.600s" */
static long milliseconds(gb_span_t offset, apr_pool_t *p)
{
    const char *text = gb_openai_text(offset, p);
    apr_interval_time_t time = 0;

    return text != NULL && gb_duration_parse(text, strlen(text), &time)
               ? (long)((time + 500) / 1000)
               : 0;
}

static int speaker_index(answer_t *a, gb_span_t label, apr_pool_t *p)
{
    const char *text = gb_openai_text(label, p);
    int i;

    if (text == NULL) {
        return -1;
    }
    for (i = 0; i < a->speakers->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(a->speakers, i, const char *), text) == 0) {
            return i;
        }
    }
    APR_ARRAY_PUSH(a->speakers, const char *) = text;
    return i;
}

static void words_read(gb_translator_t *t, gb_span_t transcription)
{
    answer_t *a = t->own;
    int speaker = speaker_index(a, gb_json_get(transcription, "speakerLabel"), t->plan->pool);
    gb_json_iter_t it;

    for (gb_json_iter(&it, gb_json_get(transcription, "words")); gb_json_next(&it);) {
        size_t len = 0;
        const char *text = gb_json_str(gb_json_get(it.value, "word"), &len, t->plan->pool);
        word_t *word;

        if (text == NULL || len == 0) {
            continue;
        }
        word = apr_array_push(a->words);
        word->text = text;
        word->len = len;
        word->start = milliseconds(gb_json_get(it.value, "startOffset"), t->plan->pool);
        word->end = milliseconds(gb_json_get(it.value, "endOffset"), t->plan->pool);
        word->speaker = speaker;
    }
}

static void part_read(gb_translator_t *t, gb_span_t part)
{
    answer_t *a = t->own;
    gb_span_t transcription = gb_json_get(part, "audioTranscription");
    gb_span_t text = gb_json_get(gb_openai_there(transcription) ? transcription : part, "text");

    if (gb_openai_flag(gb_json_get(part, "thought"))) {
        return;
    }
    if (gb_openai_there(transcription) && a->text.len + a->delta.len > 0
        && !gb_openai_empty(text)) {
        gb_buf_putc(&a->delta, ' '); /* of another speaker */
    }
    gb_json_str_append(&a->delta, text);
    words_read(t, transcription);
}

/* One GenerateContentResponse: its text is in a->delta and behind a->text afterwards. */
static apr_status_t answer_read(gb_translator_t *t, const char *bytes, size_t len)
{
    answer_t *a = t->own;
    gb_json_fault_t fault = {0};
    gb_json_iter_t candidate, part;
    gb_span_t root;

    if (gb_json_check(bytes, len, &fault) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    root = gb_json_root(bytes, len);
    gb_gemini_tap(t->facts, root, t->plan->pool);
    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    gb_buf_reset(&a->delta);
    gb_openai_usage_read(&a->usage, gb_json_get(root, "usageMetadata"));
    for (gb_json_iter(&candidate, gb_json_get(root, "candidates")); gb_json_next(&candidate);) {
        for (gb_json_iter(&part, gb_json_path(candidate.value, "content.parts"));
             gb_json_next(&part);) {
            part_read(t, part.value);
        }
    }
    if (a->delta.len > 0) {
        gb_buf_append(&a->text, a->delta.data, a->delta.len);
    }
    if (t->facts->blocked && a->text.len == 0) {
        gb_openai_blocked(t, "The recording",
                          *t->facts->finish_reason != '\0' ? t->facts->finish_reason
                                                           : "prohibited");
    }
    return a->text.rv;
}

/* ---- segments ---- */

static int ends_sentence(const word_t *word)
{
    const char *end = word->text + word->len;

    return strchr(".!?", end[-1]) != NULL
           || (word->len >= 3 && memcmp(end - 3, "\xe3\x80\x82", 3) == 0); /* as in Chinese */
}

static int begins_segment(const word_t *first, const word_t *word)
{
    const word_t *before = word - 1;

    return word->speaker != before->speaker || word->start - before->end > PAUSE_MS
           || word->end - first->start > SEGMENT_MS || ends_sentence(before);
}

static apr_array_header_t *segments_make(const answer_t *a, apr_pool_t *p)
{
    apr_array_header_t *segments = apr_array_make(p, 8, sizeof(segment_t));
    segment_t *last = NULL;
    int i;

    for (i = 0; i < a->words->nelts; i++) {
        const word_t *word = &APR_ARRAY_IDX(a->words, i, word_t);

        if (last == NULL || begins_segment(last->first, word)) {
            last = apr_array_push(segments);
            last->first = word;
            last->n = 0;
        }
        last->n++;
    }
    return segments;
}

/* Chinese and Japanese are written without blanks. */
static int is_wide(char c)
{
    return (unsigned char)c >= 0xe3 && (unsigned char)c <= 0xe9;
}

static void segment_text(gb_buf_t *out, const segment_t *segment)
{
    int i;

    gb_buf_reset(out);
    for (i = 0; i < segment->n; i++) {
        const word_t *word = &segment->first[i];

        if (i > 0 && !is_wide(*word->text)) {
            gb_buf_putc(out, ' ');
        }
        gb_buf_append(out, word->text, word->len);
    }
}

/* ---- writing ---- */

static long duration_of(const answer_t *a)
{
    long longest = 0;
    int i;

    for (i = 0; i < a->words->nelts; i++) {
        const word_t *word = &APR_ARRAY_IDX(a->words, i, word_t);

        longest = word->end > longest ? word->end : longest;
    }
    return longest;
}

static void seconds_put(gb_buf_t *out, const char *name, long ms)
{
    gb_buf_printf(out, "\"%s\":%ld.%03ld", name, ms / 1000, ms % 1000);
}

static apr_int64_t at_least_0(apr_int64_t n)
{
    return n > 0 ? n : 0;
}

static void usage_put(gb_buf_t *out, const gb_openai_usage_t *usage)
{
    apr_int64_t input = at_least_0(usage->prompt), sound = at_least_0(usage->prompt_audio);
    apr_int64_t output = at_least_0(usage->candidates) + at_least_0(usage->thoughts);
    apr_int64_t total = usage->total > input + output ? usage->total : input + output;

    gb_buf_printf(out,
                  ",\"usage\":{\"type\":\"tokens\",\"input_tokens\":%" APR_INT64_T_FMT
                  ",\"input_token_details\":{\"text_tokens\":%" APR_INT64_T_FMT
                  ",\"audio_tokens\":%" APR_INT64_T_FMT "}",
                  input, at_least_0(input - sound), sound);
    gb_buf_printf(out,
                  ",\"output_tokens\":%" APR_INT64_T_FMT ",\"total_tokens\":%" APR_INT64_T_FMT "}",
                  output, total);
}

static void text_member(gb_buf_t *out, const char *name, const gb_buf_t *text)
{
    gb_buf_printf(out, "\"%s\":", name);
    gb_json_put_str(out, text->data != NULL ? text->data : "", text->len);
}

static void words_put(gb_buf_t *out, const answer_t *a)
{
    int i;

    gb_buf_puts(out, ",\"words\":[");
    for (i = 0; i < a->words->nelts; i++) {
        const word_t *word = &APR_ARRAY_IDX(a->words, i, word_t);

        gb_buf_puts(out, i > 0 ? ",{\"word\":" : "{\"word\":");
        gb_json_put_str(out, word->text, word->len);
        gb_buf_putc(out, ',');
        seconds_put(out, "start", word->start);
        gb_buf_putc(out, ',');
        seconds_put(out, "end", word->end);
        gb_buf_putc(out, '}');
    }
    gb_buf_putc(out, ']');
}

static long segment_end(const segment_t *segment)
{
    return segment->first[segment->n - 1].end;
}

static void times_put(gb_buf_t *out, const segment_t *segment)
{
    seconds_put(out, "start", segment->first->start);
    gb_buf_putc(out, ',');
    seconds_put(out, "end", segment_end(segment));
    gb_buf_putc(out, ',');
}

static void verbose_segment(gb_buf_t *out, const segment_t *segment, const gb_buf_t *text, int i)
{
    gb_buf_printf(out, "%s{\"id\":%d,\"seek\":0,", i > 0 ? "," : "", i);
    times_put(out, segment);
    text_member(out, "text", text);
    gb_buf_puts(out, ",\"tokens\":[],\"temperature\":0.0,\"avg_logprob\":0.0,"
                     "\"compression_ratio\":1.0,\"no_speech_prob\":0.0}");
}

/* Speakers are A, B ...; after Z by number. */
static void diarized_segment(gb_buf_t *out, const segment_t *segment, const gb_buf_t *text, int i)
{
    int speaker = segment->first->speaker > 0 ? segment->first->speaker : 0;

    gb_buf_printf(out, "%s{\"type\":\"transcript.text.segment\",\"id\":\"seg_%d\",",
                  i > 0 ? "," : "", i);
    times_put(out, segment);
    text_member(out, "text", text);
    if (speaker < 26) {
        gb_buf_printf(out, ",\"speaker\":\"%c\"}", 'A' + speaker);
    }
    else {
        gb_buf_printf(out, ",\"speaker\":\"speaker %d\"}", speaker + 1);
    }
}

static void time_put(gb_buf_t *out, long ms, char separator)
{
    gb_buf_printf(out, "%02ld:%02ld:%02ld%c%03ld", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60,
                  separator, ms % 1000);
}

static void cue(gb_buf_t *out, const segment_t *segment, const gb_buf_t *text, char separator)
{
    time_put(out, segment->first->start, separator);
    gb_buf_puts(out, " --> ");
    time_put(out, segment_end(segment), separator);
    gb_buf_putc(out, '\n');
    gb_buf_append(out, text->data, text->len);
    gb_buf_puts(out, "\n\n");
}

static void srt_cue(gb_buf_t *out, const segment_t *segment, const gb_buf_t *text, int i)
{
    gb_buf_printf(out, "%d\n", i + 1);
    cue(out, segment, text, ',');
}

static void vtt_cue(gb_buf_t *out, const segment_t *segment, const gb_buf_t *text, int i)
{
    (void)i;
    cue(out, segment, text, '.');
}

typedef void segment_fn(gb_buf_t *out, const segment_t *segment, const gb_buf_t *text, int i);

static void segments_put(gb_translator_t *t, segment_fn *put)
{
    apr_array_header_t *segments = segments_make(t->own, t->plan->pool);
    gb_buf_t text;
    int i;

    gb_buf_init(&text, GB_BUF_MAX_ANSWER);
    for (i = 0; i < segments->nelts; i++) {
        segment_text(&text, &APR_ARRAY_IDX(segments, i, segment_t));
        put(t->out, &APR_ARRAY_IDX(segments, i, segment_t), &text, i);
    }
    gb_buf_free(&text);
}

static void json_put(gb_translator_t *t, const gb_openai_transcript_t *asked)
{
    const answer_t *a = t->own;

    (void)asked;
    gb_buf_putc(t->out, '{');
    text_member(t->out, "text", &a->text);
    usage_put(t->out, &a->usage);
    gb_buf_putc(t->out, '}');
}

static void text_put(gb_translator_t *t, const gb_openai_transcript_t *asked)
{
    const answer_t *a = t->own;

    (void)asked;
    gb_buf_append(t->out, a->text.data, a->text.len);
    gb_buf_putc(t->out, '\n');
}

static void srt_put(gb_translator_t *t, const gb_openai_transcript_t *asked)
{
    (void)asked;
    segments_put(t, srt_cue);
}

static void vtt_put(gb_translator_t *t, const gb_openai_transcript_t *asked)
{
    (void)asked;
    gb_buf_puts(t->out, "WEBVTT\n\n");
    segments_put(t, vtt_cue);
}

static void verbose_put(gb_translator_t *t, const gb_openai_transcript_t *asked)
{
    const answer_t *a = t->own;
    gb_buf_t *out = t->out;

    gb_buf_puts(out, "{\"task\":\"transcribe\",\"language\":");
    if (gb_openai_empty(asked->language)) {
        gb_buf_puts(out, "\"unknown\"");
    }
    else {
        gb_json_put_span(out, asked->language);
    }
    gb_buf_putc(out, ',');
    seconds_put(out, "duration", duration_of(a));
    gb_buf_putc(out, ',');
    text_member(out, "text", &a->text);
    if (asked->words_wanted) {
        words_put(out, a);
    }
    gb_buf_puts(out, ",\"segments\":[");
    segments_put(t, verbose_segment);
    gb_buf_puts(out, "],\"usage\":{\"type\":\"duration\",");
    seconds_put(out, "seconds", duration_of(a));
    gb_buf_puts(out, "}}");
}

static void diarized_put(gb_translator_t *t, const gb_openai_transcript_t *asked)
{
    const answer_t *a = t->own;

    (void)asked;
    gb_buf_puts(t->out, "{\"task\":\"transcribe\",");
    seconds_put(t->out, "duration", duration_of(a));
    gb_buf_putc(t->out, ',');
    text_member(t->out, "text", &a->text);
    gb_buf_puts(t->out, ",\"segments\":[");
    segments_put(t, diarized_segment);
    gb_buf_putc(t->out, ']');
    usage_put(t->out, &a->usage);
    gb_buf_putc(t->out, '}');
}

typedef void put_fn(gb_translator_t *t, const gb_openai_transcript_t *asked);

static put_fn *const puts_by_format[] = {
    [GB_TRANSCRIPT_JSON] = json_put,       [GB_TRANSCRIPT_TEXT] = text_put,
    [GB_TRANSCRIPT_SRT] = srt_put,         [GB_TRANSCRIPT_VTT] = vtt_put,
    [GB_TRANSCRIPT_VERBOSE] = verbose_put, [GB_TRANSCRIPT_DIARIZED] = diarized_put,
};

/* ---- the translator ---- */

static apr_status_t whole_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    t->n++;
    return answer_read(t, bytes, len);
}

static apr_status_t whole_end(gb_translator_t *t)
{
    const gb_openai_transcript_t *asked = ((gb_openai_call_t *)t->plan->state)->own;

    if (t->n == 0) {
        return APR_INCOMPLETE;
    }
    if (t->facts->has_content) {
        puts_by_format[asked->format](t, asked);
    }
    return t->out->rv;
}

static apr_status_t on_event(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_translator_t *t = baton;
    answer_t *a = t->own;
    apr_status_t rv;

    if (kind == GB_SSE_DONE || t->facts->has_error) {
        return APR_SUCCESS;
    }
    if ((rv = answer_read(t, data, len)) != APR_SUCCESS) {
        return rv;
    }
    if (a->delta.len > 0 && !t->facts->has_error) {
        gb_buf_puts(t->out, "data: {\"type\":\"transcript.text.delta\",");
        text_member(t->out, "delta", &a->delta);
        gb_buf_puts(t->out, "}\n\n");
        gb_buf_reset(&a->delta);
    }
    return t->out->rv;
}

static apr_status_t stream_chunk(gb_translator_t *t, const char *bytes, size_t len)
{
    return gb_sse_feed(t->sse, bytes, len);
}

static apr_status_t stream_end(gb_translator_t *t)
{
    answer_t *a = t->own;
    apr_status_t rv = gb_sse_end(t->sse);

    if (rv != APR_SUCCESS || t->facts->has_error) {
        return rv;
    }
    if (!t->facts->finished && !t->facts->blocked) {
        return a->text.len > 0 ? APR_INCOMPLETE : APR_SUCCESS;
    }
    if (!t->facts->has_content) {
        return APR_SUCCESS; /* the facts say that there is nothing */
    }
    gb_buf_puts(t->out, "data: {\"type\":\"transcript.text.done\",");
    text_member(t->out, "text", &a->text);
    usage_put(t->out, &a->usage);
    gb_buf_puts(t->out, "}\n\n");
    return t->out->rv;
}

void gb_openai_transcript_begin(gb_translator_t *t, gb_openai_call_t *call)
{
    answer_t *a = apr_pcalloc(call->pool, sizeof(*a));

    gb_buf_init_pool(&a->text, GB_BUF_MAX_ANSWER, call->pool);
    gb_buf_init_pool(&a->delta, GB_BUF_MAX_ANSWER, call->pool);
    a->words = apr_array_make(call->pool, 64, sizeof(word_t));
    a->speakers = apr_array_make(call->pool, 2, sizeof(const char *));
    gb_openai_usage_clear(&a->usage);
    t->own = a;
    if (call->plan->upstream_stream) {
        t->sse = gb_sse_make(on_event, t, call->pool);
    }
    t->chunk = t->sse != NULL ? stream_chunk : whole_chunk;
    t->end = t->sse != NULL ? stream_end : whole_end;
}
