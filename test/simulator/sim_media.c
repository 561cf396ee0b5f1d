/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are no text: images, speech, transcripts, log probabilities and
 * embedding vectors. All are small, valid and the same in every run.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- images ---- */

/* 16 x 16 pixels, RGB, a gradient. */
static const char png_base64[] =
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAB3ElEQVR42g3LkaKGMACA0ftsPwRBEATBIBgMgsFgMBsM"
    "giAYBIPBIAgGg6B3+h7gdvz8/Tydp/cMntEzeWaP8Cwe6VGe1aM9xmM9zvP3C3SBPjAExsAUmAMisARkQAXWgA6YgA24"
    "8IWNbqPfGDbGjWlj3hAby4bcUBvrht4wG3bDbV/Y6Xb6nWFn3Jl25h2xs+zIHbWz7ugds2N33P6Fg+6gPxgOxoPpYD4Q"
    "B8uBPFAH64E+MAf2wB1fiHSRPjJExsgUmSMiskRkREXWiI6YiI24+IWT7qQ/GU7Gk+lkPhEny4k8USfriT4xJ/bEnV9I"
    "dIk+MSTGxJSYEyKxJGRCJdaETpiETbj0hUyX6TNDZsxMmTkjMktGZlRmzeiMydiMy18odIW+MBTGwlSYC6KwFGRBFdaC"
    "LpiCLbjyhYvuor8YLsaL6WK+EBfLhbxQF+uFvjAX9sJdX7jpbvqb4Wa8mW7mG3Gz3MgbdbPe6BtzY2/c/YVKV+krQ2Ws"
    "TJW5IipLRVZUZa3oiqnYiqtfaHSNvjE0xsbUmBuisTRkQzXWhm6Yhm249oWH7qF/GB7Gh+lhfhAPy4N8UA/rg34wD/bB"
    "PV946V76l+FlfJle5hfxsrzIF/WyvugX82Jf3Ms/jyD3EPG9bbAAAAAASUVORK5CYII=";

sim_str_t sim_png(void)
{
    return (sim_str_t){png_base64, sizeof(png_base64) - 1};
}

static void add_blob(sim_plan_t *p, const char *mime, sim_str_t base64, bool sign)
{
    sim_part_t *part = sim_plan_part(p, SP_JSON, SIM_STR(""));

    sim_buf_printf(&p->mem, "{\"inlineData\": {\"mimeType\": \"%s\",\"data\": \"", mime);
    sim_put(&p->mem, base64.p, base64.n);
    sim_putl(&p->mem, "\"}");
    if (sign) {
        sim_putl(&p->mem, ",\"thoughtSignature\": \"");
        sim_signature(&p->mem, SIM_STR("image"));
        sim_putc(&p->mem, '"');
    }
    sim_putc(&p->mem, '}');
    part->len = (uint32_t)(p->mem.len - part->off);
}

static bool wants(const sj_doc_t *doc, uint32_t modalities, const char *name)
{
    SJ_EACH_OF(doc, modalities, one)
    {
        if (sim_ieq(sj_raw(doc, one), name)) {
            return true;
        }
    }
    return modalities == SJ_NONE;
}

static bool plan_image(sim_plan_t *p, const sj_doc_t *doc, uint32_t modalities)
{
    if (!wants(doc, modalities, "IMAGE")) {
        return false;
    }
    if (wants(doc, modalities, "TEXT")) {
        p->text_part = p->nparts;
        sim_plan_part(p, SP_TEXT, SIM_STR("Here is a simulated image. "));
    }
    add_blob(p, "image/png", sim_png(), p->sign);
    p->modality = "IMAGE";
    p->tokens_answer = 1120;
    return true;
}

static bool is_imagen_ratio(sim_str_t ratio)
{
    static const char *const known[] = {"1:1", "3:4", "4:3", "9:16", "16:9"};
    size_t i;

    for (i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (sim_eq(ratio, known[i])) {
            return true;
        }
    }
    return ratio.n == 0;
}

/* imagen: a prompt that holds [[rai]] is filtered. */
void sim_predict(sim_conn_t *c)
{
    static sj_doc_t doc;
    static sim_buf_t body, prompt;
    sw_t w = {.b = &body, .style = c->req.compact ? SW_COMPACT : SW_PRETTY};
    uint32_t parameters, instances;
    long n;

    if (!sim_parse_body(c, &doc) || !sim_check_fields(c, &doc, c->req.route)
        || !sim_quota_pass(c, sim_tokens(c->req.body.n))) {
        return;
    }
    parameters = sj_get(&doc, 0, "parameters");
    instances = sj_get(&doc, 0, "instances");
    n = sj_long(&doc, sj_get(&doc, parameters, "sampleCount"), 4);
    prompt.len = 0;
    SJ_EACH_OF(&doc, instances, one)
    {
        sj_string(&doc, sj_get(&doc, one, "prompt"), &prompt);
    }
    if (prompt.len == 0 || n < 1 || n > 4
        || !is_imagen_ratio(sj_raw(&doc, sj_get(&doc, parameters, "aspectRatio")))) {
        sim_error_simple(c, 400, "Invalid prompt, sampleCount or aspectRatio.\n");
        return;
    }
    body.len = 0;
    sw_open(&w, NULL, '{');
    sw_open(&w, "predictions", '[');
    if (memmem(prompt.p, prompt.len, "[[rai]]", 7) != NULL) {
        sw_open(&w, NULL, '{');
        sw_cstr(&w, "raiFilteredReason", "All images were filtered out.");
        sw_close(&w, '}');
        n = 0;
    }
    for (; n > 0; n--) {
        sw_open(&w, NULL, '{');
        sw_cstr(&w, "mimeType", "image/png");
        sw_string(&w, "bytesBase64Encoded", sim_png());
        sw_close(&w, '}');
    }
    sw_close(&w, ']');
    sw_close(&w, '}');
    sim_putc(&body, '\n');
    sim_http_answer(c, 200, ST_JSON, (sim_str_t){body.p, body.len});
}

/* ---- speech ---- */

#define PIECE 1200 /* samples at 24 kHz: 50 ms */

/* A soft 240 Hz triangle in 16 bit little endian. */
static void put_tone(sim_buf_t *b, size_t samples)
{
    unsigned char raw[PIECE * 2];
    size_t i;

    for (i = 0; i < samples && i < PIECE; i++) {
        int phase = (int)(i % 100);
        unsigned value = (unsigned)((phase < 50 ? phase : 100 - phase) * 80 - 2000);

        raw[i * 2] = (unsigned char)(value & 0xff);
        raw[i * 2 + 1] = (unsigned char)(value >> 8 & 0xff);
    }
    sim_put_base64(b, raw, i * 2);
}

static bool plan_speech(sim_plan_t *p, sim_str_t text)
{
    static sim_buf_t tone;
    size_t pieces = 1 + text.n / 40, i;

    pieces = pieces > 20 ? 20 : pieces;
    tone.len = 0;
    for (i = 0; i < pieces; i++) {
        if (p->streaming) {
            tone.len = 0;
        }
        put_tone(&tone, PIECE);
        if (p->streaming || i == pieces - 1) {
            add_blob(p, "audio/L16;codec=pcm;rate=24000", (sim_str_t){tone.p, tone.len}, false);
        }
    }
    p->modality = "AUDIO";
    p->tokens_answer = p->streaming ? 2 : 2 * (long)pieces;
    return true;
}

/* ---- transcripts ---- */

static bool plan_transcript(sim_plan_t *p, const sj_doc_t *doc, uint32_t config)
{
    sim_part_t *part = sim_plan_part(p, SP_JSON, SIM_STR(""));
    uint32_t audio = sj_get(doc, config, "audioTranscriptionConfig");

    sim_putl(&p->mem, "{\"audioTranscription\": {\"text\": \"a simulated transcript\"");
    if (sj_true(doc, sj_get(doc, audio, "diarization"))) {
        sim_putl(&p->mem, ",\"speakerLabel\": \"spk_1\"");
    }
    if (sj_true(doc, sj_get(doc, audio, "wordTimestamp"))) {
        sim_putl(&p->mem,
                 ",\"words\": [{\"word\": \"a\",\"startOffset\": \"0.100s\",\"endOffset\": "
                 "\"0.200s\"},{\"word\": \"simulated\",\"startOffset\": \"0.250s\","
                 "\"endOffset\": \"0.800s\"},{\"word\": \"transcript\",\"startOffset\": "
                 "\"0.850s\",\"endOffset\": \"1.600s\"}]");
    }
    sim_putl(&p->mem, "}}");
    part->len = (uint32_t)(p->mem.len - part->off);
    return true;
}

bool sim_plan_media(sim_plan_t *p, const sj_doc_t *doc, sim_str_t user_text)
{
    uint32_t config = sj_get(doc, 0, "generationConfig");
    uint32_t modalities = sj_get(doc, config, "responseModalities");

    if (p->model->flags & SM_IMAGE) {
        return plan_image(p, doc, modalities);
    }
    if (p->model->flags & SM_TTS) {
        return plan_speech(p, user_text);
    }
    return p->model->flags & SM_TRANSCRIBE && plan_transcript(p, doc, config);
}

/* ---- log probabilities ---- */

/* One token per word of the text, each with a fixed probability and an alternative. */
static void put_logprobs(sim_buf_t *b, sim_str_t text, bool top)
{
    size_t from = 0, i;

    for (i = 1; i <= text.n; i++) {
        if (i < text.n && text.p[i] != ' ') {
            continue;
        }
        sim_buf_printf(b, "%s%s{\"token\": \"", from > 0 ? "," : "",
                       top ? "{\"candidates\": [" : "");
        sim_put_escaped(b, text.p + from, i - from);
        sim_putl(b, "\",\"tokenId\": 1,\"logProbability\": -0.1}");
        if (top) {
            sim_putl(b, ",{\"token\": \"other\",\"tokenId\": 2,\"logProbability\": -2.5}]}");
        }
        from = i;
    }
}

void sim_plan_logprobs(sim_plan_t *p, const sj_doc_t *doc, uint32_t config)
{
    static sim_buf_t b;
    sim_str_t text;

    if (!sj_true(doc, sj_get(doc, config, "responseLogprobs")) || p->text_part >= p->nparts
        || p->meta_len > 0 || p->synthetic) {
        return;
    }
    text = (sim_str_t){p->mem.p + p->part[p->text_part].off, p->part[p->text_part].len};
    b.len = 0;
    sim_putl(&b, "\"avgLogprobs\": -0.1,\"logprobsResult\": {");
    if (sj_long(doc, sj_get(doc, config, "logprobs"), 0) > 0) {
        sim_putl(&b, "\"topCandidates\": [");
        put_logprobs(&b, text, true);
        sim_putl(&b, "],");
    }
    sim_putl(&b, "\"chosenCandidates\": [");
    put_logprobs(&b, text, false);
    sim_putl(&b, "]}");
    p->meta_off = (uint32_t)p->mem.len;
    p->meta_len = (uint32_t)b.len;
    sim_put(&p->mem, b.p, b.len);
}

/* ---- embeddings ---- */

static double root(double x)
{
    double r = x > 1 ? x : 1;
    int i;

    for (i = 0; i < 40; i++) {
        r = (r + x / r) / 2;
    }
    return r;
}

void sim_embed_values(sim_buf_t *b, sim_str_t text, int dimensions)
{
    uint64_t state = sim_hash(text.p, text.n, 11) | 1;
    /* evenly spread in +-sqrt(3 / n): close to a vector of length 1 */
    double scale = root(3.0 / dimensions) / 500000.0;
    int i;

    sim_putc(b, '[');
    for (i = 0; i < dimensions; i++) {
        long raw = (long)(sim_random(&state) % 1000000) - 500000;
        long digits = (long)(labs(raw) * scale * 1e8);
        char text8[9];
        int k;

        for (k = 7; k >= 0; k--, digits /= 10) {
            text8[k] = (char)('0' + digits % 10);
        }
        sim_puts(b, i > 0 ? "," : "");
        sim_puts(b, raw < 0 ? "-0." : "0.");
        sim_put(b, text8, 8);
    }
    sim_putc(b, ']');
}

static void content_text(const sj_doc_t *doc, uint32_t request, sim_buf_t *text)
{
    uint32_t parts = sj_get(doc, sj_get(doc, request, "content"), "parts");

    text->len = 0;
    SJ_EACH_OF(doc, parts, part)
    {
        sj_string(doc, sj_get(doc, part, "text"), text);
    }
}

static int wanted_dimensions(const sj_doc_t *doc, uint32_t request)
{
    uint32_t config = sj_get(doc, request, "embedContentConfig");
    long n = sj_long(doc, sj_get(doc, request, "outputDimensionality"),
                     sj_long(doc, sj_get(doc, config, "outputDimensionality"), 3072));

    return n < 1 ? 1 : n > 3072 ? 3072 : (int)n;
}

static void write_embedding(sw_t *w, const char *key, const sj_doc_t *doc, uint32_t request,
                            long *tokens)
{
    static sim_buf_t text;

    content_text(doc, request, &text);
    *tokens += sim_tokens(text.len);
    sw_open(w, key, '{');
    sw_begin(w, "values");
    sim_embed_values(w->b, (sim_str_t){text.p, text.len}, wanted_dimensions(doc, request));
    sw_close(w, '}');
}

/* The model of each request must be the one in the path. */
static bool same_model(sim_conn_t *c, const sj_doc_t *doc, uint32_t request, unsigned i)
{
    sim_str_t m = sj_raw(doc, sj_get(doc, request, "model"));

    if (m.n > 7 && sim_same((sim_str_t){m.p + 7, m.n - 7}, c->req.model)) {
        return true;
    }
    if (m.n == 0) {
        sim_error_simple(c, 400,
                         "* BatchEmbedContentsRequest.requests[%u].model: unexpected model "
                         "name format\n",
                         i);
    }
    else {
        sim_error_simple(c, 400,
                         "* BatchEmbedContentsRequest.requests[%u].model: model must match "
                         "the model in the batch request\n",
                         i);
    }
    return false;
}

static bool write_batch(sim_conn_t *c, sw_t *w, const sj_doc_t *doc, long *tokens)
{
    uint32_t requests = sj_get(doc, 0, "requests");
    unsigned n = 0;

    if (requests == SJ_NONE || sj_begin(doc, requests) >= sj_end(doc, requests)) {
        sim_error_simple(c, 400,
                         "* BatchEmbedContentsRequest.requests: at least one request is "
                         "required\n");
        return false;
    }
    sw_open(w, "embeddings", '[');
    SJ_EACH_OF(doc, requests, request)
    {
        if (!same_model(c, doc, request, n)) {
            return false;
        }
        if (++n > 100) {
            sim_error_simple(c, 400,
                             "* BatchEmbedContentsRequest.requests: at most 100 requests "
                             "can be in one batch\n");
            return false;
        }
        write_embedding(w, NULL, doc, request, tokens);
    }
    sw_close(w, ']');
    return true;
}

void sim_embed(sim_conn_t *c, bool batch)
{
    static sj_doc_t doc;
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = c->req.compact ? SW_COMPACT : SW_PRETTY};
    long tokens = 0;

    if (!sim_parse_body(c, &doc) || !sim_check_fields(c, &doc, c->req.route)
        || !sim_quota_pass(c, sim_tokens(c->req.body.n))) {
        return;
    }
    body.len = 0;
    sw_open(&w, NULL, '{');
    if (batch) {
        if (!write_batch(c, &w, &doc, &tokens)) {
            return;
        }
    }
    else if (sj_get(&doc, 0, "content") == SJ_NONE) {
        sim_error_simple(c, 400, "* EmbedContentRequest.content: contents is not specified\n");
        return;
    }
    else {
        write_embedding(&w, "embedding", &doc, 0, &tokens);
    }
    sw_open(&w, "usageMetadata", '{');
    sw_number(&w, "promptTokenCount", tokens);
    sw_close(&w, '}');
    sw_close(&w, '}');
    sim_putc(&body, '\n');
    sim_http_answer(c, 200, ST_JSON, (sim_str_t){body.p, body.len});
}
