/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tools: functions with their JSON Schema, Google's own tools and the ways to
 * ask for them, and which of them the model must or may use.  The names that
 * Gemini refuses are mapped, and mapped back in the answer.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "proto/schema.h"

#define NAME_MAX_LEN 128

/* Which of them, and who wanted it: ours give way to functions. */
typedef struct builtin_set_t {
    unsigned client, ours;
} builtin_set_t;

/* A function that is literally called as one of Google's tools means the tool. */
static int builtin_index(const char *name)
{
    int i;

    for (i = 0; i < GB_TOOL_N; i++) {
        if (strcmp(name, gb_tool_names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* ---- names ---- */

static int name_char_ok(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'
           || c == ':' || c == '.' || c == '-';
}

static int name_start_ok(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* What Gemini takes for a name: the name itself in most cases. */
static const char *name_mend(const char *name, apr_pool_t *p)
{
    size_t len = strlen(name), i;
    char *mended;

    for (i = 0; i < len && name_char_ok(name[i]); i++) {
    }
    if (i == len && len > 0 && len <= NAME_MAX_LEN && name_start_ok(*name)) {
        return name;
    }
    mended = apr_pstrcat(p, len > 0 && name_start_ok(*name) ? "" : "_", name, NULL);
    for (i = 0; mended[i] != '\0'; i++) {
        mended[i] = name_char_ok(mended[i]) ? mended[i] : '_';
    }
    if (i > NAME_MAX_LEN) {
        mended[NAME_MAX_LEN] = '\0';
    }
    return mended;
}

static int name_taken(const gb_openai_call_t *call, const char *upstream)
{
    return gb_openai_tool_find(call, upstream) != NULL;
}

static const char *name_unique(const gb_openai_call_t *call, const char *name)
{
    const char *base = name_mend(name, call->pool), *tried = base;
    int i;

    for (i = call->n_tools + 1; name_taken(call, tried); i++) {
        tried = apr_psprintf(call->pool, "%.*s_%d", NAME_MAX_LEN - 12, base, i);
    }
    return tried;
}

const gb_openai_tool_t *gb_openai_tool_find(const gb_openai_call_t *call, const char *upstream)
{
    int i;

    for (i = 0; i < call->n_tools; i++) {
        if (strcmp(call->tools[i].upstream, upstream) == 0) {
            return &call->tools[i];
        }
    }
    return NULL;
}

static const gb_openai_tool_t *find_by_client_name(const gb_openai_call_t *call, const char *name)
{
    int i;

    for (i = 0; i < call->n_tools; i++) {
        if (strcmp(call->tools[i].name, name) == 0) {
            return &call->tools[i];
        }
    }
    return NULL;
}

const char *gb_openai_tool_upstream(const gb_openai_call_t *call, const char *name)
{
    const gb_openai_tool_t *tool = find_by_client_name(call, name);

    return tool != NULL ? tool->upstream : name_mend(name, call->pool);
}

/* ---- reading ---- */

static apr_status_t tool_add(gb_openai_call_t *call, gb_span_t body, int custom, const char *param)
{
    const char *name = gb_openai_text(gb_openai_member(body, "name"), call->pool);
    gb_span_t schema = gb_openai_member(body, "parameters");
    gb_openai_tool_t tool = {0};

    if (name == NULL || *name == '\0') {
        return gb_error_set(call->err, 400, "missing_required_parameter", param,
                            "Missing required parameter: '%s'.", param);
    }
    if (find_by_client_name(call, name) != NULL) {
        return gb_error_set(call->err, 400, "invalid_value", param,
                            "Invalid value for '%s': the function '%.100s' is declared twice.",
                            param, name);
    }
    if (gb_openai_there(schema) && gb_json_kind(schema) != GB_JSON_OBJECT) {
        return gb_error_set(call->err, 400, "invalid_function_parameters", param,
                            "Invalid schema for function '%.100s': expected an object.", name);
    }
    tool.name = name;
    tool.upstream = name_unique(call, name);
    tool.description = gb_openai_member(body, "description");
    tool.schema = schema;
    tool.custom = custom;
    tool.strict = gb_openai_flag(gb_json_get(body, "strict"));
    call->tools[call->n_tools++] = tool;
    return APR_SUCCESS;
}

static apr_status_t tool_read(gb_openai_call_t *call, gb_span_t value, size_t index)
{
    const char *param = apr_psprintf(call->pool, "tools[%" APR_SIZE_T_FMT "]", index);
    gb_span_t type = gb_openai_member(value, "type");
    int custom = gb_json_eq(type, "custom");
    gb_span_t body = gb_openai_member(value, custom ? "custom" : "function");
    const char *name;

    if (!custom && !gb_json_eq(type, "function")) {
        return gb_error_set(call->err, 400, "invalid_value",
                            apr_pstrcat(call->pool, param, ".type", NULL),
                            "Invalid value for '%s.type': supported values are 'function' and "
                            "'custom'.",
                            param);
    }
    name = gb_openai_text(gb_openai_member(body, "name"), call->pool);
    if (!custom && name != NULL && builtin_index(name) >= 0) {
        return APR_SUCCESS; /* no function: see client_tools */
    }
    return tool_add(
        call, body, custom,
        apr_pstrcat(call->pool, param, custom ? ".custom.name" : ".function.name", NULL));
}

apr_status_t gb_openai_tools_read(gb_openai_call_t *call)
{
    gb_span_t tools = call->field[GB_OPENAI_TOOLS], functions = call->field[GB_OPENAI_FUNCTIONS];
    size_t n = gb_openai_there(tools) ? gb_json_count(tools) : 0;
    gb_json_iter_t it;
    apr_status_t rv;

    n += gb_openai_there(functions) ? gb_json_count(functions) : 0;
    call->tools = apr_pcalloc(call->pool, (n + 1) * sizeof(*call->tools));
    for (gb_json_iter(&it, tools); gb_json_next(&it);) {
        if ((rv = tool_read(call, it.value, it.index)) != APR_SUCCESS) {
            return rv;
        }
    }
    for (gb_json_iter(&it, functions); gb_json_next(&it);) {
        rv = tool_add(call, it.value, 0,
                      apr_psprintf(call->pool, "functions[%" APR_SIZE_T_FMT "].name", it.index));
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    call->legacy = gb_openai_there(functions) && !gb_openai_there(tools);
    return APR_SUCCESS;
}

/* What the operator and the model's name add; a cache has its own and takes none beside them. */
static unsigned operator_tools(const gb_openai_call_t *call, unsigned client)
{
    gb_span_t cached = gb_json_get2(call->google, "cached_content", "cachedContent");
    gb_feature_case_t about = {
        call->settings, call->plan->model_used, &call->model,     call->variant,
        client,         call->has_media,        call->json_answer};

    return gb_openai_empty(cached) ? gb_feature_tools(&about) : 0;
}

static unsigned client_tools(const gb_openai_call_t *call)
{
    unsigned set = gb_openai_there(call->field[GB_OPENAI_WEB_SEARCH_OPTIONS]) ? 1u << GB_TOOL_SEARCH
                                                                              : 0;
    gb_json_iter_t it;
    const char *name;
    int i;

    for (gb_json_iter(&it, call->field[GB_OPENAI_TOOLS]); gb_json_next(&it);) {
        name = gb_openai_text(gb_json_path(it.value, "function.name"), call->pool);
        if (name != NULL && (i = builtin_index(name)) >= 0) {
            set |= 1u << i;
        }
    }
    return set;
}

/* What extra_body.google.tools holds. */
typedef struct native_set_t {
    int functions, others;
} native_set_t;

static native_set_t native_tools(const gb_openai_call_t *call)
{
    native_set_t set = {0, 0};
    gb_json_iter_t it, tool;

    for (gb_json_iter(&it, gb_json_get(call->google, "tools")); gb_json_next(&it);) {
        for (gb_json_iter(&tool, it.value); gb_json_next(&tool);) {
            if (gb_json_eq(tool.key, "functionDeclarations")
                || gb_json_eq(tool.key, "function_declarations")) {
                set.functions = 1;
            }
            else {
                set.others = 1;
            }
        }
    }
    return set;
}

int gb_openai_tools_own(const gb_openai_call_t *call)
{
    return client_tools(call) != 0 || native_tools(call).others
           || (call->variant & GB_OPENAI_SEARCH) != 0;
}

static builtin_set_t builtins_wanted(gb_openai_call_t *call)
{
    builtin_set_t set = {client_tools(call), 0};

    set.ours = operator_tools(call, set.client);
    return set;
}

/* ---- declarations ---- */

static int schema_has_properties(gb_span_t schema)
{
    gb_span_t properties = gb_json_get(schema, "properties");

    if (gb_openai_there(gb_json_get(schema, "$ref"))
        || gb_openai_there(gb_json_get(schema, "anyOf"))
        || gb_openai_there(gb_json_get(schema, "oneOf"))
        || gb_openai_there(gb_json_get(schema, "allOf"))
        || gb_json_kind(gb_json_get(schema, "additionalProperties")) == GB_JSON_OBJECT) {
        return 1;
    }
    return gb_json_kind(properties) == GB_JSON_OBJECT && gb_json_count(properties) > 0;
}

/* Whether the model takes real JSON Schema. */
static int takes_json_schema(const gb_openai_call_t *call)
{
    return gb_model_at_least(&call->model, 2, 5)
           && !(call->dropped & GB_OPENAI_DROP_PARAMETER_SCHEMA);
}

static apr_status_t parameters_put(gb_openai_call_t *call, gb_buf_t *out,
                                   const gb_openai_tool_t *tool)
{
    unsigned flags = call->dropped & GB_OPENAI_DROP_BOUNDS ? GB_SCHEMA_NO_BOUNDS : 0;

    if (tool->custom) {
        gb_buf_puts(out, takes_json_schema(call)
                             ? ",\"parametersJsonSchema\":{\"type\":\"object\",\"properties\":{"
                               "\"input\":{\"type\":\"string\"}},\"required\":[\"input\"]}"
                             : ",\"parameters\":{\"type\":\"OBJECT\",\"properties\":{"
                               "\"input\":{\"type\":\"STRING\"}},\"required\":[\"input\"]}");
        return APR_SUCCESS;
    }
    if (!gb_openai_there(tool->schema) || !schema_has_properties(tool->schema)) {
        return APR_SUCCESS;
    }
    call->sent |= GB_OPENAI_DROP_PARAMETER_SCHEMA | GB_OPENAI_DROP_BOUNDS;
    if (takes_json_schema(call)) {
        gb_buf_puts(out, ",\"parametersJsonSchema\":");
        return gb_schema_clean(out, tool->schema, flags, call->pool);
    }
    gb_buf_puts(out, ",\"parameters\":");
    return gb_schema_lower(out, tool->schema, flags | GB_SCHEMA_TEXT_ENUMS, call->pool);
}

static apr_status_t declarations_put(gb_openai_call_t *call, gb_buf_t *out)
{
    const gb_openai_tool_t *tool;
    apr_status_t rv;
    int i;

    gb_buf_puts(out, "{\"functionDeclarations\":[");
    for (i = 0; i < call->n_tools; i++) {
        tool = &call->tools[i];
        gb_buf_puts(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        gb_json_put_cstr(out, tool->upstream);
        gb_buf_puts(out, ",\"description\":");
        if (gb_json_kind(tool->description) == GB_JSON_STRING) {
            gb_json_put_span(out, tool->description);
        }
        else {
            gb_buf_puts(out, "\"\"");
        }
        if ((rv = parameters_put(call, out, tool)) != APR_SUCCESS) {
            return gb_error_set(call->err, 400, "invalid_function_parameters", "tools",
                                "Invalid schema for function '%.100s': it is too deep or too "
                                "large.",
                                tool->name);
        }
        gb_buf_putc(out, '}');
    }
    gb_buf_puts(out, "]}");
    return APR_SUCCESS;
}

/* ---- choice ---- */

typedef struct choice_t {
    const char *mode; /* NULL: AUTO, which is not written */
    gb_buf_t names;   /* "a","b" */
} choice_t;

static apr_status_t choice_refuse(gb_openai_call_t *call, const char *why)
{
    return gb_error_set(call->err, 400, "invalid_value",
                        gb_openai_there(call->field[GB_OPENAI_TOOL_CHOICE]) ? "tool_choice"
                                                                            : "function_call",
                        "Invalid value for 'tool_choice': %s", why);
}

static apr_status_t choice_name(gb_openai_call_t *call, choice_t *choice, gb_span_t name)
{
    const char *text = gb_openai_text(name, call->pool);
    const gb_openai_tool_t *tool = text != NULL ? find_by_client_name(call, text) : NULL;

    if (tool == NULL) {
        return choice_refuse(call, "it names a function that 'tools' does not declare.");
    }
    if (choice->names.len > 0) {
        gb_buf_putc(&choice->names, ',');
    }
    return gb_json_put_cstr(&choice->names, tool->upstream);
}

static apr_status_t choice_allowed(gb_openai_call_t *call, choice_t *choice, gb_span_t value)
{
    gb_span_t allowed = gb_openai_member(value, "allowed_tools");
    gb_json_iter_t it;
    apr_status_t rv;

    if (!gb_openai_there(allowed)) {
        allowed = value;
    }
    for (gb_json_iter(&it, gb_json_get(allowed, "tools")); gb_json_next(&it);) {
        gb_span_t body = gb_json_get(it.value, "function");

        if (!gb_openai_there(body)) {
            body = gb_json_get(it.value, "custom");
        }
        rv = choice_name(call, choice,
                         gb_json_get(gb_openai_there(body) ? body : it.value, "name"));
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (choice->names.len == 0) {
        return choice_refuse(call, "'allowed_tools' names no tool.");
    }
    choice->mode = gb_json_eq(gb_json_get(allowed, "mode"), "required") ? "ANY" : "VALIDATED";
    return APR_SUCCESS;
}

static apr_status_t choice_object(gb_openai_call_t *call, choice_t *choice, gb_span_t value)
{
    gb_span_t type = gb_json_get(value, "type"), name;

    if (gb_json_eq(type, "allowed_tools")) {
        return choice_allowed(call, choice, value);
    }
    choice->mode = "ANY";
    name = gb_json_path(value, gb_json_eq(type, "custom") ? "custom.name" : "function.name");
    if (!gb_openai_there(name)) {
        name = gb_json_get(value, "name"); /* function_call, and Responses habits */
    }
    return choice_name(call, choice, name);
}

static int any_strict(const gb_openai_call_t *call)
{
    int i;

    for (i = 0; i < call->n_tools; i++) {
        if (call->tools[i].strict) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t choice_read(gb_openai_call_t *call, choice_t *choice)
{
    gb_span_t value = call->field[GB_OPENAI_TOOL_CHOICE];

    if (!gb_openai_there(value)) {
        value = call->field[GB_OPENAI_FUNCTION_CALL];
    }
    if (!gb_openai_there(value) || gb_json_eq(value, "auto")) {
        choice->mode = any_strict(call) ? "VALIDATED" : NULL;
        return APR_SUCCESS;
    }
    if (gb_json_eq(value, "none")) {
        choice->mode = call->n_tools > 0 ? "NONE" : NULL;
        return APR_SUCCESS;
    }
    if (call->n_tools == 0) {
        return choice_refuse(call, "it is only allowed when 'tools' are specified.");
    }
    if (gb_json_eq(value, "required")) {
        choice->mode = "ANY";
        return APR_SUCCESS;
    }
    if (gb_json_kind(value) != GB_JSON_OBJECT) {
        return choice_refuse(call, "supported values are 'none', 'auto', 'required' and objects.");
    }
    return choice_object(call, choice, value);
}

static void config_put(gb_buf_t *out, const choice_t *choice, int mixed)
{
    if (choice->mode == NULL && !mixed) {
        return;
    }
    gb_buf_puts(out, ",\"toolConfig\":{");
    if (choice->mode != NULL) {
        gb_buf_printf(out, "\"functionCallingConfig\":{\"mode\":\"%s\"", choice->mode);
        if (choice->names.len > 0) {
            gb_buf_puts(out, ",\"allowedFunctionNames\":[");
            gb_buf_append(out, choice->names.data, choice->names.len);
            gb_buf_putc(out, ']');
        }
        gb_buf_puts(out, mixed ? "}," : "}");
    }
    if (mixed) {
        gb_buf_puts(out, "\"includeServerSideToolInvocations\":true");
    }
    gb_buf_putc(out, '}');
}

/* ---- all of it ---- */

/* Tools in Gemini's own form, from extra_body.google.tools. */
static int native_tools_put(const gb_openai_call_t *call, gb_buf_t *out, int n)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, gb_json_get(call->google, "tools")); gb_json_next(&it);) {
        if (gb_json_kind(it.value) == GB_JSON_OBJECT) {
            gb_buf_puts(out, n++ > 0 ? "," : "");
            gb_json_put_compact(out, it.value);
        }
    }
    return n;
}

static int builtins_put(gb_buf_t *out, unsigned set, int n)
{
    int i;

    for (i = 0; i < GB_TOOL_N; i++) {
        if (set & 1u << i) {
            gb_buf_printf(out, "%s{\"%s\":{}}", n++ > 0 ? "," : "", gb_tool_names[i]);
        }
    }
    return n;
}

apr_status_t gb_openai_tools_put(gb_openai_call_t *call, gb_buf_t *out)
{
    builtin_set_t set = builtins_wanted(call);
    native_set_t native = native_tools(call);
    int functions = call->n_tools > 0 || native.functions;
    choice_t choice = {NULL, {0}};
    gb_buf_t list;
    apr_status_t rv;
    int n = 0;

    gb_buf_init_pool(&choice.names, GB_BUF_MAX_REQUEST, call->pool);
    gb_buf_init_pool(&list, GB_BUF_MAX_REQUEST, call->pool);
    if ((rv = choice_read(call, &choice)) != APR_SUCCESS) {
        return rv;
    }
    call->mixed = functions && (set.client != 0 || native.others);
    if (call->mixed && !gb_model_at_least(&call->model, 3, 0)) {
        return gb_error_set(call->err, 400, "unsupported_value", "tools",
                            "The model '%.90s' does not take functions together with web search, "
                            "URL context or code execution. Leave one of them out.",
                            call->plan->model);
    }
    if (call->mixed && choice.mode == NULL) {
        choice.mode = "VALIDATED";
    }
    if (call->n_tools > 0) {
        if ((rv = declarations_put(call, &list)) != APR_SUCCESS) {
            return rv;
        }
        n = 1;
    }
    n = builtins_put(&list, set.client | (functions ? 0 : set.ours), n);
    n = native_tools_put(call, &list, n);
    if (n > 0) {
        gb_buf_puts(out, ",\"tools\":[");
        gb_buf_append(out, list.data, list.len);
        gb_buf_putc(out, ']');
        config_put(out, &choice, call->mixed);
    }
    return out->rv;
}
