/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tools in answers. A user's text `call get_weather {"city":"Paris"}` makes the
 * simulator call that function if it is declared; several calls in one text
 * are parallel, ` then ` between them makes steps. Search, code execution and
 * URL context leave the parts and metadata that Google's leave.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- signatures ---- */

static const char signature_mark[] = "\x12\x2egemini-simulator-";

static void signature_bytes(sim_buf_t *b, sim_str_t what)
{
    b->len = 0;
    sim_put(b, signature_mark, sizeof(signature_mark) - 1);
    sim_buf_printf(b, "%016llx", (unsigned long long)sim_hash(what.p, what.n, 7));
    sim_putl(b, "-of-a-thought");
}

void sim_signature(sim_buf_t *b, sim_str_t what)
{
    static sim_buf_t raw;

    signature_bytes(&raw, what);
    sim_put_base64(b, raw.p, raw.len);
}

static bool is_dummy(sim_str_t s)
{
    static const char *const dummies[] = {"skip_thought_signature_validator",
                                          "context_engineering_is_the_way_to_go",
                                          "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
                                          "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I", NULL};
    int i;

    for (i = 0; dummies[i] != NULL; i++) {
        if (sim_eq(s, dummies[i])) {
            return true;
        }
    }
    return false;
}

bool sim_signature_fits(sim_str_t signature, sim_str_t what)
{
    static sim_buf_t given, made;

    if (is_dummy(signature)) {
        return true;
    }
    given.len = 0;
    signature_bytes(&made, what);
    return sim_base64_decode(&given, signature.p, signature.n) && given.len == made.len
           && memcmp(given.p, made.p, made.len) == 0;
}

/* ---- declared functions ---- */

static uint32_t find_declaration(const sj_doc_t *doc, sim_str_t name)
{
    uint32_t tools = sj_get(doc, 0, "tools");

    SJ_EACH_OF(doc, tools, tool)
    {
        uint32_t list = sj_get(doc, tool, "functionDeclarations");

        SJ_EACH_OF(doc, list, fn)
        {
            sim_str_t have = sj_raw(doc, sj_get(doc, fn, "name"));

            if (name.p == NULL || sim_same(have, name)) {
                return fn;
            }
        }
    }
    return SJ_NONE;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || (c != '\0' && strchr("_.:-", c) != NULL);
}

static void put_id(char *id)
{
    static uint64_t state = 99;
    int i;

    for (i = 0; i < 8; i++) {
        id[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[sim_random(&state) % 36];
    }
    id[8] = '\0';
}

static void add_call(sim_plan_t *p, const sj_doc_t *doc, uint32_t fn, sim_str_t args)
{
    static sim_buf_t made;
    sim_str_t name = sj_raw(doc, sj_get(doc, fn, "name"));
    uint32_t schema = sj_get(doc, fn, "parametersJsonSchema");
    sim_part_t *part;

    schema = schema != SJ_NONE ? schema : sj_get(doc, fn, "parameters");
    made.len = 0;
    if (args.n == 0 && schema != SJ_NONE) {
        sim_schema_fill(doc, schema, &made);
        args = (sim_str_t){made.p, made.len};
    }
    part = sim_plan_part(p, SP_CALL, args.n > 0 ? args : SIM_STR("{}"));
    part->name_off = (uint32_t)p->mem.len;
    part->name_len = (uint32_t)name.n;
    sim_put(&p->mem, name.p, name.n);
    part->signed_part = p->sign && !p->calls;
    if (sim_model_is_3(p->model)) {
        put_id(part->id);
    }
    p->calls = true;
}

/* The JSON object that starts at text, or nothing. */
static sim_str_t take_object(sim_str_t text)
{
    static sj_doc_t doc;
    size_t i, depth = 0;
    bool quoted = false;

    for (i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        }
        else if (c == '"') {
            quoted = true;
        }
        else if (c == '{') {
            depth++;
        }
        else if (c == '}' && --depth == 0) {
            text.n = i + 1;
            return sj_parse(&doc, text.p, text.n) ? text : (sim_str_t){NULL, 0};
        }
    }
    return (sim_str_t){NULL, 0};
}

/* One `call name {args}` at text; returns what is left behind it. */
static sim_str_t take_call(sim_plan_t *p, const sj_doc_t *doc, sim_str_t text)
{
    sim_str_t name = {text.p, 0}, args = {NULL, 0}, rest;
    uint32_t fn;

    while (name.n < text.n && is_name_char(text.p[name.n])) {
        name.n++;
    }
    rest = (sim_str_t){text.p + name.n, text.n - name.n};
    while (name.n > 0 && (name.p[name.n - 1] == '.' || name.p[name.n - 1] == ':')) {
        name.n--;
    }
    text = rest;
    while (text.n > 0 && (*text.p == ' ' || *text.p == '(')) {
        text.p++;
        text.n--;
    }
    if (text.n > 0 && *text.p == '{') {
        args = take_object(text);
        rest = args.n > 0 ? (sim_str_t){text.p + args.n, text.n - args.n} : rest;
    }
    fn = name.n > 0 ? find_declaration(doc, name) : SJ_NONE;
    if (fn != SJ_NONE) {
        add_call(p, doc, fn, args);
    }
    return rest;
}

static sim_str_t step_of(sim_str_t text, unsigned step)
{
    const char *end = text.p + text.n;

    for (;;) {
        const char *then = text.n > 6 ? memmem(text.p, (size_t)(end - text.p), " then ", 6) : NULL;

        if (step == 0) {
            return (sim_str_t){text.p, (size_t)((then != NULL ? then : end) - text.p)};
        }
        if (then == NULL) {
            return (sim_str_t){end, 0};
        }
        text.p = then + 6;
        text.n = (size_t)(end - text.p);
        step--;
    }
}

static void plan_calls(sim_plan_t *p, const sj_doc_t *doc, const sim_prompt_t *q, sim_str_t text)
{
    text = step_of(text, q->steps);
    for (;;) {
        const char *at = text.n > 5 ? memmem(text.p, text.n, "call ", 5) : NULL;

        if (at == NULL) {
            return;
        }
        text.n -= (size_t)(at + 5 - text.p);
        text.p = at + 5;
        text = take_call(p, doc, text);
    }
}

/* Mode ANY: something must be called. */
static void plan_forced_call(sim_plan_t *p, const sj_doc_t *doc, uint32_t config)
{
    uint32_t allowed = sj_get(doc, config, "allowedFunctionNames");
    sim_str_t name = {NULL, 0};
    uint32_t fn;

    if (allowed != SJ_NONE && sj_begin(doc, allowed) < sj_end(doc, allowed)) {
        name = sj_raw(doc, sj_begin(doc, allowed));
    }
    fn = find_declaration(doc, name);
    if (fn != SJ_NONE) {
        add_call(p, doc, fn, (sim_str_t){NULL, 0});
    }
}

/* ---- results ---- */

static void say_results(sim_plan_t *p, const sj_doc_t *doc, uint32_t turn)
{
    static sim_buf_t text;
    uint32_t parts = sj_get(doc, turn, "parts");

    text.len = 0;
    SJ_EACH_OF(doc, parts, part)
    {
        uint32_t answer = sj_get(doc, part, "functionResponse");
        sim_str_t name = sj_raw(doc, sj_get(doc, answer, "name"));
        sim_str_t value = sj_text(doc, sj_get(doc, answer, "response"));

        if (answer != SJ_NONE) {
            sim_buf_need(&text, name.n + value.n + 64);
            sim_buf_printf(&text, "%sThe result of ", text.len > 0 ? " " : "");
            sim_put(&text, name.p, name.n);
            sim_putl(&text, " is ");
            sim_put(&text, value.p, value.n);
            sim_putc(&text, '.');
        }
    }
    p->text_part = p->nparts;
    sim_plan_part(p, SP_TEXT, (sim_str_t){text.p, text.len});
}

/* ---- built-in tools ---- */

static bool has_tool(const sj_doc_t *doc, const char *name)
{
    uint32_t tools = sj_get(doc, 0, "tools");

    SJ_EACH_OF(doc, tools, tool)
    {
        if (sj_get(doc, tool, name) != SJ_NONE) {
            return true;
        }
    }
    return false;
}

static void add_json(sim_plan_t *p, const char *fmt, const char *id)
{
    sim_part_t *part = sim_plan_part(p, SP_JSON, SIM_STR(""));

    sim_buf_printf(&p->mem, fmt, id);
    part->len = (uint32_t)(p->mem.len - part->off);
}

static void plan_code(sim_plan_t *p)
{
    char id[40] = "", raw[16];

    if (sim_model_is_3(p->model)) {
        put_id(raw);
        snprintf(id, sizeof(id), ",\"id\": \"%s\"", raw);
    }
    add_json(p, "{\"executableCode\": {\"language\": \"PYTHON\",\"code\": \"print(6 * 7)\\n\"%s}}",
             id);
    add_json(p, "{\"codeExecutionResult\": {\"outcome\": \"OUTCOME_OK\",\"output\": \"42\\n\"%s}}",
             id);
    p->tokens_tool += 20;
}

/* Server-side tools that the client wants to see. */
static void plan_server_calls(sim_plan_t *p, sim_str_t query)
{
    sim_part_t *part = sim_plan_part(p, SP_JSON, SIM_STR(""));
    char id[16];

    put_id(id);
    sim_putl(&p->mem, "{\"thoughtSignature\": \"");
    sim_signature(&p->mem, SIM_STR("googleSearch"));
    sim_putl(&p->mem, "\",\"toolCall\": {\"toolType\": \"GOOGLE_SEARCH_WEB\",\"args\": "
                      "{\"queries\": [\"");
    sim_put_escaped(&p->mem, query.p, query.n);
    sim_buf_printf(&p->mem, "\"]},\"id\": \"%s\"}}", id);
    part->len = (uint32_t)(p->mem.len - part->off);
    add_json(p,
             "{\"toolResponse\": {\"toolType\": \"GOOGLE_SEARCH_WEB\",\"response\": "
             "{\"search_suggestions\": \"<div>simulated</div>\"},\"id\": \"%s\"}}",
             id);
}

#define REDIRECT "https://vertexaisearch.cloud.google.com/grounding-api-redirect/simulated"

static void put_support(sim_buf_t *b, const sim_plan_t *p, size_t from, size_t to, int chunk)
{
    const sim_part_t *part = &p->part[p->text_part];
    sim_buf_t text = {0};

    sim_put(&text, p->mem.p + part->off + from, to - from);
    sim_putl(b, "{\"segment\": {");
    if (p->text_part > 0) {
        sim_buf_printf(b, "\"partIndex\": %u,", p->text_part);
    }
    if (from > 0) {
        sim_buf_printf(b, "\"startIndex\": %zu,", from);
    }
    sim_buf_printf(b, "\"endIndex\": %zu,\"text\": \"", to);
    sim_put_escaped(b, text.p, text.len);
    sim_buf_printf(b, "\"},\"groundingChunkIndices\": [%d]}", chunk);
    sim_buf_free(&text);
}

static void plan_grounding(sim_plan_t *p, sim_str_t query)
{
    const sim_part_t *part = &p->part[p->text_part];
    static sim_buf_t b;
    size_t half = sim_utf8_floor(p->mem.p + part->off, part->len, part->len / 2);

    b.len = 0;
    sim_putl(&b, "\"groundingMetadata\": {\"searchEntryPoint\": {\"renderedContent\": "
                 "\"<div>simulated search</div>\"},\"groundingChunks\": ["
                 "{\"web\": {\"uri\": \"" REDIRECT "1\",\"title\": \"example.com\"}},"
                 "{\"web\": {\"uri\": \"" REDIRECT "2\",\"title\": \"example.org\"}}],"
                 "\"groundingSupports\": [");
    put_support(&b, p, 0, half, 0);
    sim_putc(&b, ',');
    put_support(&b, p, half, part->len, 1);
    sim_putl(&b, "],\"webSearchQueries\": [\"");
    sim_put_escaped(&b, query.p, query.n);
    sim_putl(&b, "\"]}");
    p->meta_off = (uint32_t)p->mem.len;
    p->meta_len = (uint32_t)b.len;
    sim_put(&p->mem, b.p, b.len);
    p->tokens_tool += 40;
}

static void plan_url_context(sim_plan_t *p)
{
    static const char meta[] =
        "\"urlContextMetadata\": {\"urlMetadata\": [{\"retrievedUrl\": \"https://example.com/\","
        "\"urlRetrievalStatus\": \"URL_RETRIEVAL_STATUS_SUCCESS\"}]}";

    p->meta_off = (uint32_t)p->mem.len;
    p->meta_len = sizeof(meta) - 1;
    sim_put(&p->mem, meta, sizeof(meta) - 1);
    p->tokens_tool += 60;
}

/* ---- all together ---- */

bool sim_plan_tools(sim_plan_t *p, const sj_doc_t *doc, const sim_prompt_t *q, sim_str_t text)
{
    uint32_t config, mode;
    bool search = has_tool(doc, "googleSearch") || has_tool(doc, "googleSearchRetrieval");

    if (sj_get(doc, 0, "tools") == SJ_NONE && !q->answered) {
        return false;
    }
    config = sj_get(doc, sj_get(doc, 0, "toolConfig"), "functionCallingConfig");
    mode = sj_get(doc, config, "mode");
    if (mode == SJ_NONE || !sim_ieq(sj_raw(doc, mode), "none")) {
        plan_calls(p, doc, q, text);
        if (!p->calls && q->steps == 0 && mode != SJ_NONE && sim_ieq(sj_raw(doc, mode), "any")) {
            plan_forced_call(p, doc, config);
        }
    }
    if (p->calls) {
        p->finish_message = SIM_STR("Model generated function call(s).");
        return true;
    }
    if (q->answered) {
        say_results(p, doc, q->last_turn);
        return true;
    }
    if (has_tool(doc, "codeExecution")) {
        plan_code(p);
    }
    if (!search && !has_tool(doc, "urlContext")) {
        return false;
    }
    if (search
        && sj_true(doc,
                   sj_get(doc, sj_get(doc, 0, "toolConfig"), "includeServerSideToolInvocations"))) {
        plan_server_calls(p, text);
    }
    sim_plan_say(p, text);
    if (search) {
        plan_grounding(p, text);
    }
    else {
        plan_url_context(p);
    }
    return true;
}
