/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a generate call answers: reads the prompt, obeys directives in
 * the user's text and the generation config, and leaves a plan behind that the
 * renderers cut and dress. The default answer repeats what the user said, so
 * that everybody sees that no model is at work.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_CHUNK    24
#define SYNTHETIC_SIZE   30
#define SYNTHETIC_CHUNKS 10
#define THOUGHT_TOKENS   32

/* ---- the prompt ---- */

long sim_tokens(size_t bytes)
{
    return (long)((bytes + 3) / 4);
}

static long part_tokens(const sj_doc_t *doc, uint32_t part)
{
    uint32_t text = sj_get(doc, part, "text");

    if (text != SJ_NONE) {
        return sim_tokens(doc->tok[text].len);
    }
    if (sj_get(doc, part, "inlineData") != SJ_NONE || sj_get(doc, part, "fileData") != SJ_NONE) {
        return 258;
    }
    return sim_tokens(sj_text(doc, part).n);
}

static void read_turn(sim_prompt_t *q, const sj_doc_t *doc, uint32_t turn)
{
    uint32_t parts = sj_get(doc, turn, "parts");
    bool user = !sj_eq(doc, sj_get(doc, turn, "role"), "model"), spoken = false;

    q->last_turn = turn;
    q->answered = false;
    SJ_EACH_OF(doc, parts, part)
    {
        uint32_t text = sj_get(doc, part, "text");

        q->tokens += part_tokens(doc, part);
        if (sj_get(doc, part, "functionResponse") != SJ_NONE) {
            q->answered = true;
        }
        else if (user && text != SJ_NONE && doc->tok[text].len > 0) {
            if (!spoken) {
                q->text.len = 0;
                q->steps = 0;
            }
            spoken = true;
            sj_string(doc, text, &q->text);
        }
    }
    q->steps += q->answered && !spoken;
}

void sim_prompt_read(sim_prompt_t *q, const sj_doc_t *doc, uint32_t root)
{
    uint32_t contents = sj_get(doc, root, "contents");
    uint32_t system = sj_get(doc, sj_get(doc, root, "systemInstruction"), "parts");
    uint32_t tools = sj_get(doc, root, "tools");

    q->text.len = 0;
    q->tokens = 1;
    q->steps = 0;
    q->answered = false;
    q->last_turn = SJ_NONE;
    SJ_EACH_OF(doc, contents, turn)
    {
        read_turn(q, doc, turn);
    }
    SJ_EACH_OF(doc, system, part)
    {
        q->tokens += part_tokens(doc, part);
    }
    if (tools != SJ_NONE) {
        q->tokens += sim_tokens(sj_text(doc, tools).n);
    }
}

/* ---- directives ---- */

typedef struct {
    const char *name;
    enum { D_LONG, D_FLAG, D_SPLIT, D_NEWLINE, D_FINISH, D_THOUGHTS, D_TEXT, D_TOKENS } kind;
    size_t offset; /* in sim_pace_t */
} directive_t;

#define PACE(member) offsetof(sim_pace_t, member)

static const directive_t directives[] = {
    {"chunks",   D_LONG,     PACE(chunks)     },
    {"interval", D_LONG,     PACE(interval_ms)},
    {"first",    D_LONG,     PACE(first_ms)   },
    {"delay",    D_LONG,     PACE(delay_ms)   },
    {"size",     D_LONG,     PACE(size)       },
    {"split",    D_SPLIT,    PACE(split)      },
    {"split_ms", D_LONG,     PACE(split_ms)   },
    {"seq",      D_FLAG,     PACE(seq)        },
    {"stamp",    D_FLAG,     PACE(stamp)      },
    {"newline",  D_NEWLINE,  0                },
    {"finish",   D_FINISH,   0                },
    {"thoughts", D_THOUGHTS, 0                },
    {"text",     D_TEXT,     0                },
    {"tokens",   D_TOKENS,   0                }
};

static void obey(sim_plan_t *p, const directive_t *d, sim_str_t value)
{
    char *pace = (char *)&p->pace + d->offset;

    switch (d->kind) {
    case D_LONG:
        *(long *)(void *)pace = sim_to_long(value, 0);
        break;
    case D_FLAG:
        *(bool *)(void *)pace = true;
        break;
    case D_SPLIT:
        p->pace.split = sim_eq(value, "random") ? -1 : sim_to_long(value, 0);
        break;
    case D_NEWLINE:
        p->pace.newline = sim_eq(value, "lf") ? SN_LF : sim_eq(value, "cr") ? SN_CR : SN_CRLF;
        break;
    case D_FINISH:
        p->finish_off = (uint32_t)p->mem.len;
        p->finish_len = (uint32_t)value.n;
        sim_put(&p->mem, value.p, value.n);
        break;
    case D_THOUGHTS:
        p->tokens_thought = sim_to_long(value, 0);
        break;
    case D_TEXT:
        p->say = true;
        p->say_off = (uint32_t)p->mem.len;
        p->say_len = (uint32_t)value.n;
        sim_put(&p->mem, value.p, value.n);
        break;
    case D_TOKENS:
        p->tokens_prompt = sim_to_long(value, 0);
        break;
    }
}

static void one_directive(sim_plan_t *p, sim_str_t word)
{
    const char *mark = memchr(word.p, '=', word.n);
    sim_str_t name = word, value = {"", 0};
    size_t i;

    if (mark != NULL) {
        name.n = (size_t)(mark - word.p);
        value = (sim_str_t){mark + 1, word.n - name.n - 1};
    }
    for (i = 0; i < sizeof(directives) / sizeof(*directives); i++) {
        if (sim_eq(name, directives[i].name)) {
            obey(p, &directives[i], value);
            return;
        }
    }
}

sim_str_t sim_directives(sim_plan_t *p, sim_str_t text)
{
    const char *from, *to, *at, *end;
    long size;

    from = text.n > 4 ? memmem(text.p, text.n, "[[", 2) : NULL;
    to = from != NULL ? memmem(from, text.n - (size_t)(from - text.p), "]]", 2) : NULL;
    if (to == NULL) {
        return text;
    }
    size = p->pace.size;
    p->pace.size = 0;
    for (at = from + 2; at < to; at = end + 1) {
        end = memchr(at, ' ', (size_t)(to - at));
        end = end != NULL && !sim_starts((sim_str_t){at, (size_t)(to - at)}, "text=") ? end : to;
        if (end > at) {
            one_directive(p, (sim_str_t){at, (size_t)(end - at)});
        }
    }
    if (p->pace.size > 0 && p->pace.chunks == 0 && !p->pace.seq && !p->pace.stamp && !p->say) {
        p->pace.chunks = 1;
    }
    p->pace.size = p->pace.size > 0 ? p->pace.size : size;
    p->synthetic = !p->say && (p->pace.chunks > 0 || p->pace.seq || p->pace.stamp);
    to += 2;
    if (from == text.p) {
        return sim_trim((sim_str_t){to, text.n - (size_t)(to - text.p)});
    }
    return sim_trim((sim_str_t){text.p, (size_t)(from - text.p)});
}

/* ---- the plan ---- */

void sim_plan_reset(sim_plan_t *p, const sim_model_t *m)
{
    static uint64_t ids;
    sim_buf_t mem = p->mem;
    sim_buf_t id = {p->id, 0, sizeof(p->id)};
    uint64_t raw[2];
    size_t i;

    memset(p, 0, offsetof(sim_plan_t, part));
    memset(&p->nparts, 0, sizeof(*p) - offsetof(sim_plan_t, nparts));
    p->mem = mem;
    p->mem.len = 0;
    p->model = m;
    p->pace = sim_pace_default;
    p->usage = true;
    p->candidates = 1;
    p->finish = "STOP";
    if (ids == 0) {
        ids = sim_now_ns();
    }
    raw[0] = sim_random(&ids) << 11 ^ sim_random(&ids);
    raw[1] = sim_random(&ids) << 11 ^ sim_random(&ids);
    sim_put_base64(&id, raw, 15);
    for (i = 0; i < id.len; i++) {
        p->id[i] = p->id[i] == '+' ? '-' : p->id[i] == '/' ? '_' : p->id[i];
    }
    p->id[id.len] = '\0';
}

sim_part_t *sim_plan_part(sim_plan_t *p, sim_part_kind_t kind, sim_str_t text)
{
    sim_part_t *part = &p->part[p->nparts < SIM_MAX_PARTS ? p->nparts++ : SIM_MAX_PARTS - 1];

    memset(part, 0, sizeof(*part));
    part->kind = (uint8_t)kind;
    part->off = (uint32_t)p->mem.len;
    part->len = (uint32_t)text.n;
    sim_put(&p->mem, text.p, text.n);
    return part;
}

static size_t synthetic_size(const sim_plan_t *p)
{
    return p->pace.size > 0 ? (size_t)p->pace.size : SYNTHETIC_SIZE;
}

long sim_plan_part_chunks(const sim_plan_t *p, unsigned i)
{
    const sim_part_t *part = &p->part[i];
    size_t size = p->pace.size > 0 ? (size_t)p->pace.size : DEFAULT_CHUNK;

    if (part->kind != SP_TEXT) {
        return 1;
    }
    if (p->synthetic) {
        return p->pace.chunks > 0 ? p->pace.chunks : SYNTHETIC_CHUNKS;
    }
    return part->len <= size ? 1 : (long)((part->len + size - 1) / size);
}

long sim_plan_part_tokens(const sim_plan_t *p, unsigned i)
{
    const sim_part_t *part = &p->part[i];

    if (part->kind == SP_THOUGHT || part->kind == SP_LAST) {
        return 0;
    }
    if (part->kind == SP_TEXT && p->synthetic) {
        return sim_plan_part_chunks(p, i) * sim_tokens(synthetic_size(p));
    }
    if (part->kind == SP_JSON && p->modality != NULL) {
        return p->tokens_answer;
    }
    return sim_tokens((size_t)part->len + part->name_len);
}

/* Filler that is the same in every run: words of a fixed sentence, cut anywhere. */
static void put_filler(sim_buf_t *b, size_t at, size_t n)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog and runs on ";
    size_t period = sizeof(words) - 1;

    for (at %= period; n > 0; at = 0) {
        size_t take = period - at < n ? period - at : n;

        sim_put(b, words + at, take);
        n -= take;
    }
}

static sim_str_t synthetic_text(const sim_plan_t *p, long i, sim_buf_t *b)
{
    size_t from = b->len, size = synthetic_size(p), have;

    if (p->pace.stamp) {
        sim_buf_printf(b, "@%llu ", (unsigned long long)sim_now_ns());
    }
    if (p->pace.seq) {
        sim_buf_printf(b, "c%06ld ", i + 1);
    }
    have = b->len - from;
    if (have < size) {
        put_filler(b, (size_t)i * size, size - have);
    }
    return (sim_str_t){b->p + from, b->len - from};
}

sim_str_t sim_plan_text(const sim_plan_t *p, long i, sim_buf_t *scratch)
{
    const sim_part_t *part = &p->part[p->text_part];
    const char *text = p->mem.p + part->off;
    size_t size = p->pace.size > 0 ? (size_t)p->pace.size : DEFAULT_CHUNK;
    size_t from, to;

    if (p->synthetic) {
        return synthetic_text(p, i, scratch);
    }
    from = sim_utf8_floor(text, part->len, (size_t)i * size);
    to = sim_utf8_floor(text, part->len, (size_t)(i + 1) * size);
    return (sim_str_t){text + from, to - from};
}

/* ---- limits ---- */

static void apply_stops(sim_plan_t *p, const sj_doc_t *doc, uint32_t stops)
{
    sim_part_t *part;
    sim_buf_t word = {0};

    if (p->synthetic || p->text_part >= p->nparts) {
        return;
    }
    part = &p->part[p->text_part];
    SJ_EACH_OF(doc, stops, stop)
    {
        const char *at;

        word.len = 0;
        sj_string(doc, stop, &word);
        at = word.len > 0 ? memmem(p->mem.p + part->off, part->len, word.p, word.len) : NULL;
        if (at != NULL) {
            part->len = (uint32_t)(at - (p->mem.p + part->off));
        }
    }
    sim_buf_free(&word);
}

/* maxOutputTokens counts thinking; a small one leaves nothing to say. */
static void apply_limit(sim_plan_t *p)
{
    sim_part_t *part;
    long left = p->max_tokens - p->tokens_thought;

    if (p->max_tokens <= 0 || p->text_part >= p->nparts
        || sim_plan_part_tokens(p, p->text_part) <= left) {
        return;
    }
    part = &p->part[p->text_part];
    p->finish = "MAX_TOKENS";
    if (left <= 0) {
        p->tokens_thought = p->max_tokens;
        p->shape = SY_ROLE_ONLY;
    }
    else if (p->synthetic) {
        p->pace.chunks = left / sim_tokens(synthetic_size(p));
        p->pace.chunks = p->pace.chunks > 0 ? p->pace.chunks : 1;
    }
    else {
        part->len = (uint32_t)sim_utf8_floor(p->mem.p + part->off, part->len, (size_t)left * 4);
    }
}

/* ---- thinking ---- */

static void plan_thinking(sim_plan_t *p, const sj_doc_t *doc, uint32_t config)
{
    uint32_t thinking = sj_get(doc, config, "thinkingConfig");
    uint32_t level = sj_get(doc, thinking, "thinkingLevel");

    if (!(p->model->flags & SM_THINK)) {
        return;
    }
    p->tokens_thought = p->model->level == SL_MINIMAL ? 0 : THOUGHT_TOKENS;
    if (level != SJ_NONE) {
        p->tokens_thought = sim_ieq(sj_raw(doc, level), "minimal") ? 0 : THOUGHT_TOKENS;
    }
    if (sj_long(doc, sj_get(doc, thinking, "thinkingBudget"), 1) == 0) {
        p->tokens_thought = 0;
    }
    p->thoughts = sj_true(doc, sj_get(doc, thinking, "includeThoughts"));
}

static void plan_thought_part(sim_plan_t *p)
{
    if (p->thoughts && p->tokens_thought > 0) {
        sim_plan_part(p, SP_THOUGHT,
                      SIM_STR("**Simulating a thought**\n\nI am a simulator, so I only pretend "
                              "to weigh the question before I repeat it.\n\n\n"));
    }
}

/* ---- all together ---- */

void sim_plan_say(sim_plan_t *p, sim_str_t text)
{
    p->text_part = p->nparts;
    if (p->say) {
        sim_part_t *part = sim_plan_part(p, SP_TEXT, SIM_STR(""));

        part->off = p->say_off;
        part->len = p->say_len;
        return;
    }
    if (p->synthetic) {
        sim_plan_part(p, SP_TEXT, SIM_STR(""));
        return;
    }
    sim_plan_part(p, SP_TEXT,
                  SIM_STR("Hello from the Gemini simulator, no model is at work "
                          "here. You said: "));
    sim_put(&p->mem, text.p, text.n);
    p->part[p->text_part].len += (uint32_t)text.n;
}

static void plan_json(sim_plan_t *p, const sj_doc_t *doc, uint32_t config, sim_str_t text)
{
    static sim_buf_t json;

    json.len = 0;
    if (p->say || p->synthetic || !sim_schema_answer(doc, config, text, &json)) {
        sim_plan_say(p, text);
        return;
    }
    p->text_part = p->nparts;
    sim_plan_part(p, SP_TEXT, (sim_str_t){json.p, json.len});
}

static void plan_config(sim_plan_t *p, const sj_doc_t *doc, uint32_t config)
{
    long n = sj_long(doc, sj_get(doc, config, "candidateCount"), 1);

    p->candidates = n < 1 ? 1 : n > 8 ? 8 : (int)n;
    p->max_tokens = sj_long(doc, sj_get(doc, config, "maxOutputTokens"), 0);
    plan_thinking(p, doc, config);
}

void sim_plan_generate(sim_plan_t *p, const sim_req_t *r, const sj_doc_t *doc)
{
    static sim_prompt_t prompt;
    uint32_t config = sj_get(doc, 0, "generationConfig");
    sim_str_t text;

    p->streaming = r->route == SR_STREAM || r->openai_stream;
    if (!p->streaming) {
        p->pace.chunks = p->pace.size = 0;
        p->pace.seq = p->pace.stamp = false;
    }
    p->synthetic = p->pace.chunks > 0 || p->pace.seq || p->pace.stamp;
    p->int_enums = r->int_enums;
    sim_prompt_read(&prompt, doc, 0);
    p->tokens_prompt = prompt.tokens;
    plan_config(p, doc, config);
    text = sim_directives(p, (sim_str_t){prompt.text.p, prompt.text.len});
    plan_thought_part(p);
    p->sign = sim_model_is_3(p->model) && p->model->flags & SM_THINK;
    p->text_part = SIM_MAX_PARTS;
    if (!sim_plan_media(p, doc, text) && !sim_plan_tools(p, doc, &prompt, text)) {
        plan_json(p, doc, config, text);
    }
    apply_stops(p, doc, sj_get(doc, config, "stopSequences"));
    apply_limit(p);
    sim_plan_logprobs(p, doc, config);
    if (p->finish_len > 0) {
        p->finish = NULL;
    }
    if (sim_model_is_3(p->model)) {
        sim_plan_part(p, SP_LAST, SIM_STR(""))->signed_part = p->sign && !p->calls;
    }
}

/* ---- the methods ---- */

bool sim_parse_body(sim_conn_t *c, sj_doc_t *doc)
{
    if (sj_parse(doc, c->req.body.p, c->req.body.n)) {
        if (sj_is(doc, 0, SJ_OBJECT)) {
            return true;
        }
        sim_error_simple(c, 400,
                         "Invalid JSON payload received. Unknown name \"\": Root element "
                         "must be a message.");
        return false;
    }
    if (c->req.body.n == 0) {
        /* an empty body is an empty message */
        return sj_parse(doc, "{}", 2);
    }
    {
        size_t at = doc->error_at < c->req.body.n ? doc->error_at : c->req.body.n;
        size_t left = c->req.body.n - at < 40 ? c->req.body.n - at : 40;

        sim_error_simple(c, 400, "Invalid JSON payload received. %s\n%.*s\n^", doc->error,
                         (int)left, c->req.body.p + at);
    }
    return false;
}

sim_stream_t *sim_plan_call(sim_conn_t *c, const sj_doc_t *doc)
{
    sim_stream_t *s = sim_stream_get(c);

    sim_plan_reset(&s->plan, c->req.known);
    sim_plan_generate(&s->plan, &c->req, doc);
    if (s->plan.tokens_prompt > c->req.known->in_limit) {
        sim_error_simple(c, 400,
                         "The input token count (%ld) exceeds the maximum number of "
                         "tokens allowed (%d).",
                         s->plan.tokens_prompt, c->req.known->in_limit);
        return NULL;
    }
    if (!sim_quota_pass(c, s->plan.tokens_prompt) || sim_request_delay(c, s->plan.pace.delay_ms)) {
        return NULL;
    }
    if (c->rule != NULL) {
        sim_fault_bend(c->rule, c, s);
    }
    return s;
}

void sim_generate(sim_conn_t *c)
{
    static sj_doc_t doc;
    static sim_buf_t body;
    sim_stream_t *s;
    sw_style_t style = c->req.compact ? SW_COMPACT : SW_PRETTY;

    if (!sim_parse_body(c, &doc) || !sim_check_fields(c, &doc, c->req.route)
        || !sim_check_rules(c, &doc)) {
        return;
    }
    s = sim_plan_call(c, &doc);
    if (s == NULL) {
        return;
    }
    if (c->req.route == SR_STREAM) {
        sim_stream_start(c, c->req.alt_sse ? SF_SSE : SF_ARRAY);
        return;
    }
    body.len = 0;
    sim_render_whole(&s->plan, style, &body);
    sim_http_answer(c, 200, ST_JSON, (sim_str_t){body.p, body.len});
}

void sim_count_tokens(sim_conn_t *c)
{
    static sj_doc_t doc;
    static sim_prompt_t prompt;
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = c->req.compact ? SW_COMPACT : SW_PRETTY};
    uint32_t inner;

    if (!sim_parse_body(c, &doc) || !sim_check_fields(c, &doc, SR_COUNT)) {
        return;
    }
    if (!sim_quota_pass(c, 0)) {
        return;
    }
    inner = sj_get(&doc, 0, "generateContentRequest");
    sim_prompt_read(&prompt, &doc, inner != SJ_NONE ? inner : 0);
    if (prompt.last_turn == SJ_NONE) {
        sim_error_simple(c, 400, "* CountTokensRequest.contents: contents is not specified\n");
        return;
    }
    body.len = 0;
    sw_open(&w, NULL, '{');
    sw_number(&w, "totalTokens", prompt.tokens);
    sw_open(&w, "promptTokensDetails", '[');
    sw_open(&w, NULL, '{');
    sw_cstr(&w, "modality", "TEXT");
    sw_number(&w, "tokenCount", prompt.tokens);
    sw_close(&w, '}');
    sw_close(&w, ']');
    sw_close(&w, '}');
    sim_putc(&body, '\n');
    sim_http_answer(c, 200, ST_JSON, (sim_str_t){body.p, body.len});
}
