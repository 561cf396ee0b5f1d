/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of functions: what may be declared for which model, the order of call
 * and response turns, their counts, and the thought signatures that Gemini 3
 * wants back in the current turn.
 */
#include "sim.h"

/* ---- declarations ---- */

static bool has_property(const sj_doc_t *doc, uint32_t schema, sim_str_t name)
{
    uint32_t properties = sj_get(doc, schema, "properties");

    if (!sj_is(doc, properties, SJ_OBJECT)) {
        return false;
    }
    SJ_EACH_MEMBER(doc, properties, key)
    {
        sim_str_t have = sj_raw(doc, key);

        if (sim_same(have, name)) {
            return true;
        }
    }
    return false;
}

static void path_error(sim_conn_t *c, const sim_buf_t *path, const char *rest)
{
    sim_error_simple(c, 400, "* GenerateContentRequest.%.*s%s\n", (int)path->len, path->p, rest);
}

/* The OpenAPI door: required names exist, arrays say what they hold. */
static bool check_schema(sim_conn_t *c, const sj_doc_t *doc, uint32_t schema, sim_buf_t *path)
{
    uint32_t required = sj_get(doc, schema, "required"), type = sj_get(doc, schema, "type");
    uint32_t properties = sj_get(doc, schema, "properties");
    uint32_t items = sj_get(doc, schema, "items");
    size_t from = path->len;
    unsigned i = 0;

    SJ_EACH_OF(doc, required, name)
    {
        if (!has_property(doc, schema, sj_raw(doc, name))) {
            sim_buf_printf(path, ".required[%u]", i);
            path_error(c, path, ": property is not defined");
            return false;
        }
        i++;
    }
    if (type != SJ_NONE && sim_ieq(sj_raw(doc, type), "array") && items == SJ_NONE) {
        path_error(c, path, ".items: missing field.");
        return false;
    }
    if (type != SJ_NONE && !sim_ieq(sj_raw(doc, type), "string")
        && sj_get(doc, schema, "enum") != SJ_NONE) {
        path_error(c, path, ".enum: only allowed for STRING type");
        return false;
    }
    if (items != SJ_NONE) {
        sim_putl(path, ".items");
        if (!check_schema(c, doc, items, path)) {
            return false;
        }
        path->len = from;
    }
    if (!sj_is(doc, properties, SJ_OBJECT)) {
        return true;
    }
    SJ_EACH_MEMBER(doc, properties, key)
    {
        sim_str_t name = sj_raw(doc, key);

        sim_putl(path, ".properties[");
        sim_put(path, name.p, name.n);
        sim_putc(path, ']');
        if (!check_schema(c, doc, key + 1, path)) {
            return false;
        }
        path->len = from;
    }
    return true;
}

static bool name_is_good(sim_str_t name)
{
    size_t i;

    if (name.n == 0 || name.n > 128 || (*name.p >= '0' && *name.p <= '9') || *name.p == '-'
        || *name.p == '.' || *name.p == ':') {
        return false;
    }
    for (i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'
              || c == '.' || c == ':' || c == '-')) {
            return false;
        }
    }
    return true;
}

static bool check_function(sim_conn_t *c, const sj_doc_t *doc, uint32_t fn, unsigned tool,
                           unsigned index)
{
    static sim_buf_t path;
    uint32_t parameters = sj_get(doc, fn, "parameters");

    path.len = 0;
    sim_buf_printf(&path, "tools[%u].function_declarations[%u]", tool, index);
    if (!name_is_good(sj_raw(doc, sj_get(doc, fn, "name")))) {
        path_error(c, &path,
                   ".name: Invalid function name. Must start with a letter or an "
                   "underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), "
                   "dots (.), colons (:), or dashes (-), with a maximum length of 128.");
        return false;
    }
    if (parameters != SJ_NONE && sj_get(doc, fn, "parametersJsonSchema") != SJ_NONE) {
        path_error(c, &path, ": only one of parameters and parameters_json_schema can be set");
        return false;
    }
    sim_putl(&path, ".parameters");
    return parameters == SJ_NONE || check_schema(c, doc, parameters, &path);
}

static bool is_built_in(const sj_doc_t *doc, uint32_t tool)
{
    static const char *const names[] = {"googleSearch",
                                        "googleSearchRetrieval",
                                        "codeExecution",
                                        "urlContext",
                                        "googleMaps",
                                        "fileSearch",
                                        NULL};
    int i;

    for (i = 0; names[i] != NULL; i++) {
        if (sj_get(doc, tool, names[i]) != SJ_NONE) {
            return true;
        }
    }
    return false;
}

static bool check_mix(sim_conn_t *c, const sj_doc_t *doc, bool functions, bool built_in)
{
    uint32_t config = sj_get(doc, 0, "toolConfig");
    uint32_t mime = sj_get(doc, sj_get(doc, 0, "generationConfig"), "responseMimeType");
    const sim_model_t *m = c->req.known;

    if ((functions || built_in) && m->flags & SM_NO_TOOLS) {
        sim_error_simple(c, 400, "Function calling is not enabled for models/%s", m->name);
        return false;
    }
    if (functions && sj_eq(doc, mime, "application/json") && m->generation < 300) {
        sim_error_simple(c, 400,
                         "Function calling with a response mime type: 'application/json' "
                         "is unsupported");
        return false;
    }
    if (functions && built_in && m->generation < 300) {
        sim_error_simple(c, 400,
                         "Built-in tools and Function Calling cannot be combined in the "
                         "same request for this model.");
        return false;
    }
    if (functions && built_in
        && !sj_true(doc, sj_get(doc, config, "includeServerSideToolInvocations"))) {
        sim_error_simple(c, 400,
                         "Please enable tool_config.include_server_side_tool_invocations "
                         "to use Built-in tools with Function calling.");
        return false;
    }
    return true;
}

static bool check_mode(sim_conn_t *c, const sj_doc_t *doc, bool functions)
{
    uint32_t config = sj_get(doc, sj_get(doc, 0, "toolConfig"), "functionCallingConfig");
    uint32_t mode = sj_get(doc, config, "mode"), allowed;

    if (mode == SJ_NONE) {
        return true;
    }
    allowed = sj_get(doc, config, "allowedFunctionNames");
    if (!functions && sim_ieq(sj_raw(doc, mode), "any")) {
        sim_error_simple(c, 400, "Function calling config is set without function_declarations.");
        return false;
    }
    if (sj_begin(doc, allowed) < sj_end(doc, allowed) && !sim_ieq(sj_raw(doc, mode), "any")
        && !sim_ieq(sj_raw(doc, mode), "validated")) {
        sim_error_simple(c, 400,
                         "allowed_function_names should only be set when the function "
                         "calling mode is ANY or VALIDATED.");
        return false;
    }
    return true;
}

bool sim_check_tools(sim_conn_t *c, const sj_doc_t *doc)
{
    uint32_t tools = sj_get(doc, 0, "tools");
    bool functions = false, built_in = false;
    unsigned tool_index = 0;

    SJ_EACH_OF(doc, tools, tool)
    {
        uint32_t list = sj_get(doc, tool, "functionDeclarations");
        unsigned index = 0;

        built_in = built_in || is_built_in(doc, tool);
        SJ_EACH_OF(doc, list, fn)
        {
            functions = true;
            if (!check_function(c, doc, fn, tool_index, index++)) {
                return false;
            }
        }
        tool_index++;
    }
    return check_mix(c, doc, functions, built_in) && check_mode(c, doc, functions);
}

/* ---- turns ---- */

typedef struct {
    bool user;   /* not the model's */
    bool spoken; /* a user's text, image or file */
    unsigned calls, answers;
    uint32_t first_call; /* part */
} turn_t;

static turn_t read_turn(const sj_doc_t *doc, uint32_t content)
{
    turn_t t = {.first_call = SJ_NONE};
    uint32_t parts = sj_get(doc, content, "parts");

    t.user = !sj_eq(doc, sj_get(doc, content, "role"), "model");
    SJ_EACH_OF(doc, parts, part)
    {
        uint32_t text = sj_get(doc, part, "text");

        if (sj_get(doc, part, "functionCall") != SJ_NONE) {
            t.first_call = t.calls++ == 0 ? part : t.first_call;
        }
        t.answers += sj_get(doc, part, "functionResponse") != SJ_NONE;
        t.spoken = t.spoken
                   || (t.user
                       && ((text != SJ_NONE && doc->tok[text].len > 0)
                           || sj_get(doc, part, "inlineData") != SJ_NONE
                           || sj_get(doc, part, "fileData") != SJ_NONE));
    }
    return t;
}

static const char *order_fault(const turn_t *before, const turn_t *t, bool first)
{
    if (t->calls > 0 && (first || (!before->user && before->answers == 0))) {
        return "Please ensure that function call turn comes immediately after a user turn or "
               "after a function response turn.";
    }
    if (t->answers > 0 && (first || before->calls == 0)) {
        return "Please ensure that function response turn comes immediately after a function "
               "call turn.";
    }
    if (!first && before->calls != t->answers) {
        return "Please ensure that the number of function response parts is equal to the number "
               "of function call parts of the function call turn.";
    }
    return NULL;
}

static bool check_answers(sim_conn_t *c, const sj_doc_t *doc, uint32_t content, unsigned n)
{
    uint32_t parts = sj_get(doc, content, "parts");
    unsigned i = 0;

    SJ_EACH_OF(doc, parts, part)
    {
        uint32_t answer = sj_get(doc, part, "functionResponse");

        if (answer != SJ_NONE && sj_raw(doc, sj_get(doc, answer, "name")).n == 0) {
            sim_error_simple(c, 400,
                             "* GenerateContentRequest.contents[%u].parts[%u]."
                             "function_response.name: Name cannot be empty.\n",
                             n, i);
            return false;
        }
        if (answer != SJ_NONE && sim_strict_ids && c->req.known->flags & SM_RESPONSE_ID
            && c->req.route != SR_OPENAI_CHAT && sj_raw(doc, sj_get(doc, answer, "id")).n == 0) {
            sim_error_simple(c, 400,
                             "* GenerateContentRequest.contents[%u].parts[%u]."
                             "function_response.id: The id is required for this model.\n",
                             n, i);
            return false;
        }
        i++;
    }
    return true;
}

static void missing_signature(sim_conn_t *c, sim_str_t name, unsigned n)
{
    if (c->req.route == SR_OPENAI_CHAT) {
        sim_error_simple(c, 400,
                         "Function call is missing a thought_signature in functionCall "
                         "parts. This is required for tools to work correctly, and missing "
                         "thought_signature may lead to degraded model performance. "
                         "Additional data, function call `default_api:%.*s` , position %u. "
                         "Please refer to "
                         "https://ai.google.dev/gemini-api/docs/thought-signatures for "
                         "more details.",
                         (int)name.n, name.p, n);
        return;
    }
    sim_error_simple(c, 400,
                     "Function call `%.*s` in the `%u`. content block is missing a "
                     "`thought_signature`. Please refer to "
                     "https://ai.google.dev/gemini-api/docs/thought-signatures for more "
                     "details.",
                     (int)name.n, name.p, n);
}

static bool check_signature(sim_conn_t *c, const sj_doc_t *doc, uint32_t part, unsigned n)
{
    uint32_t signature = sj_get(doc, part, "thoughtSignature");
    sim_str_t name = sj_raw(doc, sj_get(doc, sj_get(doc, part, "functionCall"), "name"));

    if (signature == SJ_NONE || doc->tok[signature].len == 0) {
        missing_signature(c, name, n);
        return false;
    }
    if (sim_strict_signatures && !sim_signature_fits(sj_raw(doc, signature), name)) {
        sim_error_simple(c, 400, "Thought signature is not valid.");
        return false;
    }
    return true;
}

/* Index of the content behind the last thing that the user said. */
static unsigned current_turn(const sj_doc_t *doc, uint32_t contents)
{
    unsigned n = 0, start = 0;

    SJ_EACH_OF(doc, contents, content)
    {
        n++;
        if (read_turn(doc, content).spoken) {
            start = n;
        }
    }
    return start;
}

bool sim_check_turns(sim_conn_t *c, const sj_doc_t *doc, uint32_t contents)
{
    const sim_model_t *m = c->req.known;
    bool wants_signature = sim_model_is_3(m) && m->flags & SM_THINK;
    turn_t before = {.first_call = SJ_NONE};
    unsigned n = 0, current = current_turn(doc, contents);

    SJ_EACH_OF(doc, contents, content)
    {
        turn_t t = read_turn(doc, content);
        const char *fault = order_fault(&before, &t, n == 0);

        if (fault != NULL) {
            sim_error_simple(c, 400, "%s", fault);
            return false;
        }
        if (t.answers > 0 && !check_answers(c, doc, content, n)) {
            return false;
        }
        if (wants_signature && t.calls > 0 && n >= current
            && !check_signature(c, doc, t.first_call, n + 1)) {
            return false;
        }
        before = t;
        n++;
    }
    return true;
}
