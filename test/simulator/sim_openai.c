/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Google's endpoint in OpenAI format. A chat request is rewritten as a
 * generateContent request and takes the same way as all others; the plan is
 * then dressed as Google dresses it here: keys in alphabetical order, thoughts
 * inside <thought> tags, signatures in extra_content, no index on tool calls.
 */
#include "sim.h"

#include <stdio.h>
#include <time.h>

/* ---- the request ---- */

static void put_quoted(sim_buf_t *b, sim_str_t raw)
{
    sim_putc(b, '"');
    sim_put(b, raw.p, raw.n);
    sim_putc(b, '"');
}

/* A string or a list of parts as Gemini parts. */
static void put_content(sim_buf_t *b, const sj_doc_t *doc, uint32_t content)
{
    bool first = true;

    if (sj_is(doc, content, SJ_STRING)) {
        sim_putl(b, "{\"text\":");
        put_quoted(b, sj_raw(doc, content));
        sim_putc(b, '}');
        return;
    }
    SJ_EACH_OF(doc, content, part)
    {
        uint32_t text = sj_get(doc, part, "text");

        sim_puts(b, first ? "" : ",");
        first = false;
        if (text != SJ_NONE) {
            sim_putl(b, "{\"text\":");
            put_quoted(b, sj_raw(doc, text));
            sim_putc(b, '}');
        }
        else {
            sim_putl(b, "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"\"}}");
        }
    }
    if (first) {
        sim_putl(b, "{\"text\":\"\"}");
    }
}

static void put_tool_calls(sim_buf_t *b, const sj_doc_t *doc, uint32_t calls)
{
    static sim_buf_t args;
    bool first = true;

    SJ_EACH_OF(doc, calls, call)
    {
        uint32_t fn = sj_get(doc, call, "function");
        uint32_t google = sj_get(doc, sj_get(doc, call, "extra_content"), "google");
        uint32_t signature = sj_get(doc, google, "thought_signature");

        sim_puts(b, first ? "" : ",");
        first = false;
        sim_putl(b, "{\"functionCall\":{\"name\":");
        put_quoted(b, sj_raw(doc, sj_get(doc, fn, "name")));
        sim_putl(b, ",\"id\":");
        put_quoted(b, sj_raw(doc, sj_get(doc, call, "id")));
        args.len = 0;
        sj_string(doc, sj_get(doc, fn, "arguments"), &args);
        if (args.len > 0) {
            sim_putl(b, ",\"args\":");
            sim_put(b, args.p, args.len);
        }
        sim_putc(b, '}');
        if (signature != SJ_NONE) {
            sim_putl(b, ",\"thoughtSignature\":");
            put_quoted(b, sj_raw(doc, signature));
        }
        sim_putc(b, '}');
    }
}

/* The name behind a tool_call_id. */
static sim_str_t name_of_call(const sj_doc_t *doc, uint32_t messages, sim_str_t id)
{
    SJ_EACH_OF(doc, messages, message)
    {
        uint32_t calls = sj_get(doc, message, "tool_calls");

        SJ_EACH_OF(doc, calls, call)
        {
            sim_str_t have = sj_raw(doc, sj_get(doc, call, "id"));

            if (sim_same(have, id)) {
                return sj_raw(doc, sj_get(doc, sj_get(doc, call, "function"), "name"));
            }
        }
    }
    return SIM_STR("unknown");
}

static void put_tool_result(sim_buf_t *b, const sj_doc_t *doc, uint32_t messages, uint32_t message)
{
    sim_str_t id = sj_raw(doc, sj_get(doc, message, "tool_call_id")), content;

    sim_putl(b, "{\"functionResponse\":{\"id\":");
    put_quoted(b, id);
    sim_putl(b, ",\"name\":");
    put_quoted(b, name_of_call(doc, messages, id));
    sim_putl(b, ",\"response\":{\"result\":");
    content = sj_text(doc, sj_get(doc, message, "content"));
    sim_put(b, content.p, content.n);
    sim_puts(b, content.n > 0 ? "}}}" : "null}}}");
}

static const char *turn_of(const sj_doc_t *doc, uint32_t message)
{
    uint32_t role = sj_get(doc, message, "role");

    if (sj_eq(doc, role, "system") || sj_eq(doc, role, "developer")) {
        return "system";
    }
    if (sj_eq(doc, role, "assistant") || sj_eq(doc, role, "model")) {
        return "model";
    }
    return sj_eq(doc, role, "tool") || sj_eq(doc, role, "function") ? "tool" : "user";
}

static void put_contents(sim_buf_t *b, const sj_doc_t *doc, uint32_t messages)
{
    const char *before = "";

    sim_putl(b, "\"contents\":[");
    SJ_EACH_OF(doc, messages, message)
    {
        const char *turn = turn_of(doc, message);
        uint32_t calls = sj_get(doc, message, "tool_calls");
        bool joined = strcmp(turn, "tool") == 0 && strcmp(before, "tool") == 0;

        if (strcmp(turn, "system") == 0) {
            continue;
        }
        if (joined) {
            b->len -= 2; /* the results of one step are one turn */
            sim_putc(b, ',');
        }
        else {
            sim_buf_printf(b, "%s{\"role\":\"%s\",\"parts\":[", *before != '\0' ? "," : "",
                           strcmp(turn, "tool") == 0 ? "user" : turn);
        }
        if (strcmp(turn, "tool") == 0) {
            put_tool_result(b, doc, messages, message);
        }
        else if (calls != SJ_NONE) {
            put_tool_calls(b, doc, calls);
        }
        else {
            put_content(b, doc, sj_get(doc, message, "content"));
        }
        sim_putl(b, "]}");
        before = turn;
    }
    sim_putc(b, ']');
}

static void put_system(sim_buf_t *b, const sj_doc_t *doc, uint32_t messages)
{
    bool first = true;

    SJ_EACH_OF(doc, messages, message)
    {
        if (strcmp(turn_of(doc, message), "system") == 0) {
            sim_puts(b, first ? ",\"systemInstruction\":{\"parts\":[" : ",");
            put_content(b, doc, sj_get(doc, message, "content"));
            first = false;
        }
    }
    sim_puts(b, first ? "" : "]}");
}

static void put_member(sim_buf_t *b, const sj_doc_t *doc, uint32_t value, const char *name,
                       bool *first)
{
    sim_str_t text = sj_text(doc, value);

    if (value != SJ_NONE) {
        sim_buf_printf(b, "%s\"%s\":", *first ? "" : ",", name);
        sim_put(b, text.p, text.n);
        *first = false;
    }
}

static const struct {
    const char *openai, *gemini;
} config_names[] = {
    {"max_tokens",            "maxOutputTokens" },
    {"max_completion_tokens", "maxOutputTokens" },
    {"temperature",           "temperature"     },
    {"top_p",                 "topP"            },
    {"n",                     "candidateCount"  },
    {"stop",                  "stopSequences"   },
    {"seed",                  "seed"            },
    {"presence_penalty",      "presencePenalty" },
    {"frequency_penalty",     "frequencyPenalty"}
};

static void put_thinking(sim_buf_t *b, const sj_doc_t *doc, bool *first)
{
    uint32_t google = sj_get(doc, sj_get(doc, 0, "extra_body"), "google");
    uint32_t config = sj_get(doc, google, "thinkingConfig");
    uint32_t effort = sj_get(doc, 0, "reasoning_effort");

    config = config != SJ_NONE ? config : sj_get(doc, sj_get(doc, 0, "google"), "thinkingConfig");
    if (config != SJ_NONE) {
        put_member(b, doc, config, "thinkingConfig", first);
    }
    else if (sj_eq(doc, effort, "none")) {
        sim_buf_printf(b, "%s\"thinkingConfig\":{\"thinkingBudget\":0}", *first ? "" : ",");
        *first = false;
    }
}

static void put_config(sim_buf_t *b, const sj_doc_t *doc)
{
    uint32_t format = sj_get(doc, 0, "response_format");
    uint32_t type = sj_get(doc, format, "type");
    bool first = true;
    size_t i;

    sim_putl(b, ",\"generationConfig\":{");
    for (i = 0; i < sizeof(config_names) / sizeof(*config_names); i++) {
        put_member(b, doc, sj_get(doc, 0, config_names[i].openai), config_names[i].gemini, &first);
    }
    put_thinking(b, doc, &first);
    if (sj_eq(doc, type, "json_object") || sj_eq(doc, type, "json_schema")) {
        sim_buf_printf(b, "%s\"responseMimeType\":\"application/json\"", first ? "" : ",");
        first = false;
        put_member(b, doc, sj_get(doc, sj_get(doc, format, "json_schema"), "schema"),
                   "responseJsonSchema", &first);
    }
    sim_putc(b, '}');
}

static void put_tools(sim_buf_t *b, const sj_doc_t *doc)
{
    uint32_t tools = sj_get(doc, 0, "tools"), choice = sj_get(doc, 0, "tool_choice");
    bool first = true;

    SJ_EACH_OF(doc, tools, tool)
    {
        uint32_t fn = sj_get(doc, tool, "function");
        bool inner = true;

        sim_puts(b, first ? ",\"tools\":[{\"functionDeclarations\":[{" : ",{");
        first = false;
        put_member(b, doc, sj_get(doc, fn, "name"), "name", &inner);
        put_member(b, doc, sj_get(doc, fn, "description"), "description", &inner);
        put_member(b, doc, sj_get(doc, fn, "parameters"), "parametersJsonSchema", &inner);
        sim_putc(b, '}');
    }
    sim_puts(b, first ? "" : "]}]");
    if (first || choice == SJ_NONE || sj_eq(doc, choice, "auto")) {
        return;
    }
    if (sj_is(doc, choice, SJ_STRING)) {
        sim_buf_printf(b, ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"%s\"}}",
                       sj_eq(doc, choice, "none") ? "NONE" : "ANY");
        return;
    }
    sim_putl(b, ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\","
                "\"allowedFunctionNames\":[");
    put_quoted(b, sj_raw(doc, sj_get(doc, sj_get(doc, choice, "function"), "name")));
    sim_putl(b, "]}}");
}

static void rewrite(sim_buf_t *b, const sj_doc_t *doc)
{
    uint32_t messages = sj_get(doc, 0, "messages");

    b->len = 0;
    sim_putc(b, '{');
    put_contents(b, doc, messages);
    put_system(b, doc, messages);
    put_config(b, doc);
    put_tools(b, doc);
    sim_putc(b, '}');
}

/* ---- the answer ---- */

static sim_str_t finish_of(const sim_plan_t *p)
{
    static const struct {
        const char *gemini, *openai;
    } names[] = {
        {"STOP",       "stop"  },
        {"MAX_TOKENS", "length"}
    };
    sim_str_t reason = p->finish_len > 0 ? sim_plan_mem(p, p->finish_off, p->finish_len)
                                         : (sim_str_t){p->finish, strlen(p->finish)};
    size_t i;

    if (p->calls && sim_eq(reason, "STOP")) {
        return SIM_STR("tool_calls");
    }
    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (sim_eq(reason, names[i].gemini)) {
            return (sim_str_t){names[i].openai, strlen(names[i].openai)};
        }
    }
    return SIM_STR("content_filter");
}

static void write_call(sw_t *w, const sim_plan_t *p, const sim_part_t *part)
{
    sim_str_t args = sim_plan_mem(p, part->off, part->len);

    sw_open(w, NULL, '{');
    if (part->signed_part) {
        sw_open(w, "extra_content", '{');
        sw_open(w, "google", '{');
        sim_render_signature(w, "thought_signature", p, part);
        sw_close(w, '}');
        sw_close(w, '}');
    }
    sw_open(w, "function", '{');
    sw_string(w, "arguments", args);
    sw_string(w, "name", sim_plan_mem(p, part->name_off, part->name_len));
    sw_close(w, '}');
    sw_begin(w, "id");
    sim_buf_printf(w->b, "\"%s%s\"", part->id[0] != '\0' ? "function-call-" : "", part->id);
    sw_cstr(w, "type", "function");
    sw_close(w, '}');
}

static void write_tail(sw_t *w, const sim_plan_t *p, const char *object, long answer, bool usage)
{
    const char *served = p->model->served_by != NULL ? p->model->served_by : p->model->name;

    sw_number(w, "created", (int64_t)time(NULL));
    sw_cstr(w, "id", p->id);
    sw_cstr(w, "model", served);
    sw_cstr(w, "object", object);
    if (usage) {
        sw_open(w, "usage", '{');
        sw_number(w, "completion_tokens", answer);
        sw_number(w, "prompt_tokens", p->tokens_prompt);
        sw_number(w, "total_tokens",
                  p->tokens_prompt + p->tokens_tool + p->tokens_thought + answer);
        sw_close(w, '}');
    }
}

static bool has_text(const sim_plan_t *p)
{
    return p->shape == SY_FULL && p->text_part < p->nparts;
}

static void put_whole_text(sim_buf_t *b, const sim_plan_t *p)
{
    static sim_buf_t scratch;
    long i, n = sim_plan_part_chunks(p, p->text_part);

    if (!p->synthetic) {
        sim_str_t text = sim_plan_mem(p, p->part[p->text_part].off, p->part[p->text_part].len);

        sim_put_escaped(b, text.p, text.n);
        return;
    }
    for (i = 0; i < n; i++) {
        sim_str_t text;

        scratch.len = 0;
        text = sim_plan_text(p, i, &scratch);
        sim_put_escaped(b, text.p, text.n);
    }
}

static void write_content(sw_t *w, const sim_plan_t *p)
{
    if (!has_text(p)) {
        return;
    }
    sw_begin(w, "content");
    sim_putc(w->b, '"');
    if (p->part[0].kind == SP_THOUGHT) {
        sim_putl(w->b, "<thought>");
        sim_put_escaped(w->b, p->mem.p + p->part[0].off, p->part[0].len);
        sim_putl(w->b, "</thought>");
    }
    put_whole_text(w->b, p);
    sim_putc(w->b, '"');
}

static void write_calls(sw_t *w, const sim_plan_t *p)
{
    unsigned i;

    sw_open(w, "tool_calls", '[');
    for (i = 0; i < p->nparts; i++) {
        if (p->part[i].kind == SP_CALL) {
            write_call(w, p, &p->part[i]);
        }
    }
    sw_close(w, ']');
}

void sim_openai_whole(const sim_plan_t *p, sim_buf_t *out)
{
    sw_t w = {.b = out, .style = SW_COMPACT};
    int k;

    sw_open(&w, NULL, '{');
    sw_open(&w, "choices", '[');
    for (k = 0; k < p->candidates; k++) {
        sw_open(&w, NULL, '{');
        sw_string(&w, "finish_reason", finish_of(p));
        sw_number(&w, "index", k);
        sw_open(&w, "message", '{');
        write_content(&w, p);
        sw_cstr(&w, "role", "assistant");
        if (p->calls && p->shape == SY_FULL) {
            write_calls(&w, p);
        }
        sw_close(&w, '}');
        sw_close(&w, '}');
    }
    sw_close(&w, ']');
    write_tail(&w, p, "chat.completion", sim_plan_answer_tokens(p), true);
    sw_close(&w, '}');
}

static void write_delta(sw_t *w, const sim_plan_t *p, const sim_step_t *s)
{
    static sim_buf_t scratch;
    const sim_part_t *part = &p->part[s->part];

    sw_open(w, "delta", '{');
    if (part->kind == SP_TEXT) {
        scratch.len = 0;
        sw_string(w, "content", sim_plan_text(p, s->chunk, &scratch));
    }
    else if (part->kind == SP_THOUGHT) {
        sw_begin(w, "content");
        sim_putl(w->b, "\"<thought>");
        sim_put_escaped(w->b, p->mem.p + part->off, part->len);
        sim_putl(w->b, "</thought>\"");
        sw_raw(w, "extra_content", SIM_STR("{\"google\":{\"thought\":true}}"));
    }
    sw_cstr(w, "role", "assistant");
    if (part->kind == SP_CALL) {
        unsigned i;

        sw_open(w, "tool_calls", '[');
        for (i = s->part; i < s->end; i++) {
            write_call(w, p, &p->part[i]);
        }
        sw_close(w, ']');
    }
    sw_close(w, '}');
}

bool sim_openai_step(const sim_plan_t *p, long step, sim_buf_t *out)
{
    sw_t w = {.b = out, .style = SW_COMPACT};
    sim_step_t s = {.part = 0, .last = step == 0};

    if (p->shape == SY_FULL ? !sim_render_find(p, step, &s) : step > 0) {
        return false;
    }
    sw_open(&w, NULL, '{');
    sw_open(&w, "choices", '[');
    sw_open(&w, NULL, '{');
    if (p->shape == SY_FULL) {
        write_delta(&w, p, &s);
    }
    else {
        sw_raw(&w, "delta", SIM_STR("{\"role\":\"assistant\"}"));
    }
    if (s.last) {
        sw_string(&w, "finish_reason", finish_of(p));
    }
    sw_number(&w, "index", 0);
    sw_close(&w, '}');
    sw_close(&w, ']');
    write_tail(&w, p, "chat.completion.chunk", sim_plan_answer_tokens(p), s.last && p->usage);
    sw_close(&w, '}');
    return true;
}

/* ---- the methods ---- */

/* The model as parsed; what was peeked before was good enough for rules. */
static bool find_model(sim_conn_t *c, const sj_doc_t *doc, unsigned flag)
{
    sim_str_t name = sj_raw(doc, sj_get(doc, 0, "model"));

    if (sim_starts(name, "models/")) {
        name = (sim_str_t){name.p + 7, name.n - 7};
    }
    c->req.model = name;
    c->req.known = sim_model_find(name);
    return c->req.known != NULL && c->req.known->flags & flag;
}

void sim_openai_chat(sim_conn_t *c)
{
    static sj_doc_t asked, doc;
    static sim_buf_t request, body;
    uint32_t options;
    sim_stream_t *s;

    if (!sim_parse_body(c, &asked)) {
        return;
    }
    if (!find_model(c, &asked, SM_TEXT)) {
        sim_route_no_model(c);
        return;
    }
    rewrite(&request, &asked);
    if (!sj_parse(&doc, request.p, request.len)) {
        sim_error_simple(c, 400, "Request contains an invalid argument.");
        return;
    }
    if (!sim_check_rules(c, &doc)) {
        return;
    }
    s = sim_plan_call(c, &doc);
    if (s == NULL) {
        return;
    }
    if (c->req.openai_stream) {
        options = sj_get(&asked, 0, "stream_options");
        s->plan.usage = sj_true(&asked, sj_get(&asked, options, "include_usage"));
        s->plan.pace.newline = SN_LF;
        sim_stream_start(c, SF_OPENAI);
        return;
    }
    body.len = 0;
    sim_openai_whole(&s->plan, &body);
    sim_http_answer(c, 200, ST_OPENAI_JSON, (sim_str_t){body.p, body.len});
}

static void write_model(sw_t *w, const sim_model_t *m)
{
    sw_open(w, NULL, '{');
    sw_begin(w, "id");
    sim_buf_printf(w->b, "\"models/%s\"", m->name);
    sw_cstr(w, "object", "model");
    sw_cstr(w, "owned_by", "google");
    sw_cstr(w, "display_name", m->display);
    sw_close(w, '}');
}

void sim_openai_models(sim_conn_t *c)
{
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = SW_COMPACT};
    unsigned i;

    body.len = 0;
    if (c->req.route == SR_OPENAI_MODEL) {
        sim_str_t name = c->req.model;

        if (sim_starts(name, "models/")) {
            name = (sim_str_t){name.p + 7, name.n - 7};
        }
        if (sim_model_find(name) == NULL) {
            sim_route_no_model(c);
            return;
        }
        write_model(&w, sim_model_find(name));
    }
    else {
        sw_open(&w, NULL, '{');
        sw_open(&w, "data", '[');
        for (i = 0; sim_model_at(i) != NULL; i++) {
            write_model(&w, sim_model_at(i));
        }
        sw_close(&w, ']');
        sw_cstr(&w, "object", "list");
        sw_close(&w, '}');
    }
    sim_http_answer(c, 200, ST_OPENAI_JSON, (sim_str_t){body.p, body.len});
}

void sim_openai_embed(sim_conn_t *c)
{
    static sj_doc_t doc;
    static sim_buf_t body, text;
    sw_t w = {.b = &body, .style = SW_COMPACT};
    long tokens = 0, dimensions;
    int64_t index = 0;
    uint32_t input;

    if (!sim_parse_body(c, &doc)) {
        return;
    }
    if (!find_model(c, &doc, SM_EMBED)) {
        sim_route_no_model(c);
        return;
    }
    input = sj_get(&doc, 0, "input");
    if (!sim_quota_pass(c, sim_tokens(c->req.body.n))) {
        return;
    }
    dimensions = sj_long(&doc, sj_get(&doc, 0, "dimensions"), 3072);
    dimensions = dimensions < 1 || dimensions > 3072 ? 3072 : dimensions;
    body.len = 0;
    sw_open(&w, NULL, '{');
    sw_open(&w, "data", '[');
    SJ_EACH_OF(&doc, input, one)
    {
        text.len = 0;
        sj_string(&doc, one, &text);
        tokens += sim_tokens(text.len);
        sw_open(&w, NULL, '{');
        sw_begin(&w, "embedding");
        sim_embed_values(&body, (sim_str_t){text.p, text.len}, (int)dimensions);
        sw_number(&w, "index", index++);
        sw_cstr(&w, "object", "embedding");
        sw_close(&w, '}');
    }
    sw_close(&w, ']');
    sw_string(&w, "model", c->req.model);
    sw_cstr(&w, "object", "list");
    sw_open(&w, "usage", '{');
    sw_number(&w, "prompt_tokens", tokens);
    sw_number(&w, "total_tokens", tokens);
    sw_close(&w, '}');
    sw_close(&w, '}');
    sim_http_answer(c, 200, ST_OPENAI_JSON, (sim_str_t){body.p, body.len});
}

void sim_openai_images(sim_conn_t *c)
{
    static sj_doc_t doc;
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = SW_COMPACT};
    long n;

    if (!sim_parse_body(c, &doc)) {
        return;
    }
    if (!find_model(c, &doc, SM_IMAGE)) {
        sim_route_no_model(c);
        return;
    }
    n = sj_long(&doc, sj_get(&doc, 0, "n"), 1);
    body.len = 0;
    sw_open(&w, NULL, '{');
    sw_number(&w, "created", (int64_t)time(NULL));
    sw_open(&w, "data", '[');
    for (n = n < 1 ? 1 : n > 4 ? 4 : n; n > 0; n--) {
        sw_open(&w, NULL, '{');
        sw_string(&w, "b64_json", sim_png());
        sw_close(&w, '}');
    }
    sw_close(&w, ']');
    sw_close(&w, '}');
    sim_http_answer(c, 200, ST_OPENAI_JSON, (sim_str_t){body.p, body.len});
}
