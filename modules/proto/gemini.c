/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer side of the Gemini surface: bytes go to the client exactly as they
 * came, whole events at a time, while the tap reads along; errors are built in
 * Google's form.  Which calls exist stands in gemini_route.c.
 */
#include "proto/gemini_int.h"

#include <string.h>
#include <strings.h>

#include "proto/sse.h"

struct gb_translator_t {
    gb_plan_t *plan;
    gemini_call_t *call;
    gb_facts_t *facts;
    gb_sse_t *sse; /* NULL: nothing to read along */
    gb_buf_t held; /* bytes of an event that is not complete yet */
    apr_uint64_t emitted;
    int bracket_dropped; /* the client has it from a heartbeat */
    gb_buf_t *out;       /* of the running call */
};

/* ---- streams ---- */

static apr_status_t on_event(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_translator_t *t = baton;
    gb_json_fault_t fault;

    if (t->call->form == GEMINI_EVENTS) {
        gb_gemini_tap_begun(t->facts, t->plan, data, len);
    }
    if (kind == GB_SSE_DONE || !t->call->taps || gb_json_check(data, len, &fault) != APR_SUCCESS) {
        return APR_SUCCESS; /* what we cannot read is still the client's */
    }
    gb_gemini_tap(t->facts, gb_json_root(data, len), t->plan->pool);
    if (t->facts->has_error) {
        return APR_EOF;
    }
    if (t->call->rest.continued) {
        gb_gemini_rest_event(t->call, t->out, gb_json_root(data, len));
    }
    else if (t->call->rest.keeps) {
        gb_gemini_said(t->call, gb_json_root(data, len));
    }
    return APR_SUCCESS;
}

static int type_is(const char *content_type, const char *want)
{
    return content_type != NULL && strncasecmp(content_type, want, strlen(want)) == 0;
}

static gb_sse_t *make_reader(gb_translator_t *t, const char *content_type)
{
    apr_pool_t *p = t->plan->pool;

    if (!t->plan->upstream_stream) {
        return NULL;
    }
    switch (t->call->form) {
    case GEMINI_SSE:
        /* some proxies drop alt=sse; then the array comes, and nothing else can follow */
        t->call->rest.keeps &= !type_is(content_type, "application/json");
        return type_is(content_type, "application/json") ? gb_sse_make_array(on_event, t, p)
                                                         : gb_sse_make(on_event, t, p);
    case GEMINI_ARRAY:
        return gb_sse_make_array(on_event, t, p);
    case GEMINI_EVENTS:
        return type_is(content_type, "text/event-stream") ? gb_sse_make(on_event, t, p) : NULL;
    case GEMINI_WHOLE:
    case GEMINI_BYTES:
        return NULL;
    }
    return NULL;
}

static gb_translator_t *native_start(gb_plan_t *plan, const char *content_type, gb_facts_t *facts)
{
    gb_translator_t *t = apr_pcalloc(plan->pool, sizeof(*t));

    t->plan = plan;
    t->call = plan->state;
    t->call->opened = 0;
    t->facts = facts;
    t->call->rest.facts = facts;
    t->sse = make_reader(t, content_type);
    gb_buf_init_pool(&t->held, GB_BUF_MAX_EVENT + GB_BUF_MAX_LINE, plan->pool);
    return t;
}

/* Hands on what belongs to whole events, so that an error or a retry can happen at their edge. */
static void emit(gb_translator_t *t, apr_uint64_t to, gb_buf_t *out)
{
    size_t n = (size_t)(to - t->emitted);
    size_t drop = 0;

    if (n == 0) {
        return;
    }
    if (t->call->rest.continued) { /* its events are written one by one */
        gb_buf_consume(&t->held, n);
        t->emitted = to;
        return;
    }
    if (t->call->bracket_told && !t->bracket_dropped) {
        t->bracket_dropped = 1;
        drop = strspn(t->held.data, " \t\r\n");
        drop += t->held.data[drop] == '[';
    }
    gb_buf_append(out, t->held.data + drop, n - drop);
    gb_buf_consume(&t->held, n);
    t->emitted = to;
    t->call->opened = 1;
}

static apr_status_t stream_chunk(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    apr_status_t rv;

    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    t->out = out;
    rv = gb_buf_append(&t->held, bytes, len);
    if (rv == APR_SUCCESS) {
        rv = gb_sse_feed(t->sse, bytes, len);
    }
    emit(t, gb_sse_boundary(t->sse), out);
    return t->facts->has_error ? APR_SUCCESS : rv;
}

static apr_status_t stream_end(gb_translator_t *t, gb_buf_t *out)
{
    apr_status_t rv;

    t->out = out;
    rv = gb_sse_end(t->sse);
    if (t->facts->has_error) {
        return APR_SUCCESS;
    }
    gb_facts_add_tokens(t->facts, &t->call->rest.before);
    if (!t->call->taps) {
        emit(t, t->emitted + t->held.len, out);
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return APR_INCOMPLETE;
    }
    emit(t, gb_sse_boundary(t->sse), out);
    return t->call->needs_finish && !t->facts->finished ? APR_INCOMPLETE : APR_SUCCESS;
}

/* ---- whole answers ---- */

/* The upstream was not asked for a stream, the client gets one of one event. */
static apr_status_t put_as_stream(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    int in_array = t->call->form == GEMINI_ARRAY;

    gb_buf_puts(out, !in_array ? "data: " : t->call->bracket_told ? "" : "[");
    gb_json_put_compact(out, gb_json_root(bytes, len));
    t->call->opened = 1;
    return gb_buf_puts(out, in_array ? "\r\n]" : "\r\n\r\n");
}

static apr_status_t whole_answer(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    gb_json_fault_t fault;

    if (t->call->taps) {
        if (gb_json_check(bytes, len, &fault) == APR_SUCCESS) {
            gb_gemini_tap(t->facts, gb_json_root(bytes, len), t->plan->pool);
        }
        else if (t->plan->expects_content) {
            return APR_EINVAL;
        }
        if (t->facts->has_error) {
            return APR_SUCCESS;
        }
    }
    else if (gb_json_check(bytes, len, &fault) == APR_SUCCESS) {
        gb_gemini_tap_made(t->facts, t->plan, gb_json_root(bytes, len));
    }
    if (strcmp(t->plan->operation, "models") == 0
        && gb_json_check(bytes, len, &fault) == APR_SUCCESS
        && gb_gemini_hide_models(out, bytes, len, t->call->settings, t->plan->pool)
               == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    if (t->plan->fake_stream) {
        return put_as_stream(t, bytes, len, out);
    }
    return gb_buf_append(out, bytes, len);
}

static apr_status_t native_chunk(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    if (t->sse != NULL) {
        return stream_chunk(t, bytes, len, out);
    }
    return t->call->form == GEMINI_WHOLE || t->plan->fake_stream ? whole_answer(t, bytes, len, out)
                                                                 : gb_buf_append(out, bytes, len);
}

/* Without a tap the end of the body is all that there is to finish. */
static apr_status_t native_end(gb_translator_t *t, gb_buf_t *out)
{
    apr_status_t rv = t->sse != NULL ? stream_end(t, out) : APR_SUCCESS;

    if (rv == APR_SUCCESS && !t->call->taps) {
        t->facts->finished = 1;
    }
    return rv;
}

/* ---- errors ---- */

static void put_details(gb_buf_t *out, const gb_error_t *err)
{
    static const char type[] = "{\"@type\":\"type.googleapis.com/google.rpc.";
    apr_interval_time_t ms = (err->retry_after + 999) / 1000;

    gb_buf_puts(out, ",\"details\":[");
    if (err->param[0] != '\0') {
        gb_buf_printf(out, "%sBadRequest\",\"fieldViolations\":[{\"field\":", type);
        gb_json_put_cstr(out, err->param);
        gb_buf_puts(out, ",\"description\":");
        gb_json_put_cstr(out, err->message);
        gb_buf_puts(out, err->retry_after > 0 ? "}]}," : "}]}");
    }
    if (err->retry_after > 0) {
        gb_buf_printf(out, "%sRetryInfo\",\"retryDelay\":\"%" APR_INT64_T_FMT, type, ms / 1000);
        if (ms % 1000 != 0) {
            gb_buf_printf(out, ".%03d", (int)(ms % 1000));
        }
        gb_buf_puts(out, "s\"}");
    }
    gb_buf_putc(out, ']');
}

static void put_own_error(gb_buf_t *out, const gb_error_t *err)
{
    gb_buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", err->status);
    gb_json_put_cstr(out, err->message);
    gb_buf_puts(out, ",\"status\":");
    gb_json_put_cstr(out, gb_error_google_status(err));
    if (err->retry_after > 0 || err->param[0] != '\0') {
        put_details(out, err);
    }
    gb_buf_puts(out, "}}");
}

/*
 * Google's own error object, when it says what we say too: a fault of one of
 * our keys is told as ours.  {NULL,0} otherwise; *body is the whole body.
 */
static gb_span_t upstream_error(const gb_error_t *err, gb_span_t *body)
{
    gb_span_t nothing = {NULL, 0};
    gb_span_t object;
    gb_json_fault_t fault;
    apr_int64_t code = 0;

    if (err->upstream_body == NULL
        || gb_json_check(err->upstream_body, err->upstream_len, &fault) != APR_SUCCESS) {
        return nothing;
    }
    *body = gb_json_root(err->upstream_body, err->upstream_len);
    object = gb_json_kind(*body) == GB_JSON_ARRAY ? gb_json_path(*body, "0") : *body;
    if (!gb_json_int(gb_json_path(object, "error.code"), &code) || code != err->status) {
        return nothing;
    }
    return object;
}

/* One line: js-genai notices an error only when one piece of network data is by itself the object. */
static void put_midstream(gb_buf_t *out, const gemini_call_t *call, const gb_error_t *err)
{
    gb_span_t body;
    gb_span_t theirs = upstream_error(err, &body);

    if (call->form == GEMINI_ARRAY) {
        gb_buf_puts(out, call->opened ? ",\r\n" : call->bracket_told ? "" : "[");
    }
    if (theirs.p != NULL) {
        gb_json_put_compact(out, theirs);
    }
    else {
        put_own_error(out, err);
    }
    /*
     * One line end only: a client that reads this together with the event before it, and so does
     * not see an error by itself, is left with half an event and says so.
     */
    gb_buf_puts(out, call->form == GEMINI_ARRAY ? "]" : "\n");
}

void gb_gemini_error_body(const gb_plan_t *plan, const gb_error_t *err, int midstream,
                          gb_buf_t *out)
{
    const gemini_call_t *call = plan != NULL && plan->dialect == &gb_gemini_dialect ? plan->state
                                                                                    : NULL;
    int in_array = call != NULL && call->form == GEMINI_ARRAY;
    gb_span_t body;

    if (midstream && call != NULL) {
        if (call->form != GEMINI_BYTES) {
            put_midstream(out, call, err);
        }
        return; /* in a download an error has no place: its length tells */
    }
    if (upstream_error(err, &body).p != NULL) {
        gb_buf_append(out, err->upstream_body, err->upstream_len);
        return;
    }
    gb_buf_puts(out, in_array ? "[" : "");
    put_own_error(out, err);
    gb_buf_puts(out, in_array ? "]" : "");
}

/* ---- heartbeats ---- */

/*
 * Google's Python client takes every line that is neither empty nor begins with
 * "data: " for JSON: an empty line is all that it and the JavaScript one pass
 * over, and to an SSE parser it is an event without data, which is none.  Between
 * the elements of an array white space says nothing; its bracket comes first,
 * since clients look for it in the first byte.
 */
static void native_heartbeat(const gb_plan_t *plan, gb_buf_t *out)
{
    gemini_call_t *call = plan->state;

    if (call->form == GEMINI_ARRAY && !call->opened && !call->bracket_told) {
        call->bracket_told = 1;
        gb_buf_putc(out, '[');
    }
    gb_buf_puts(out, call->form == GEMINI_ARRAY ? "\r\n" : "\r\n\r\n");
}

/* ---- text in steps ---- */

/* The only part of the only candidate, when it is text that nothing describes but that it is a thought. */
static gb_span_t only_text(gb_span_t root, gb_span_t *candidate, int *thought)
{
    gb_span_t candidates = gb_json_get(root, "candidates");
    gb_span_t parts = gb_json_path(candidates, "0.content.parts");
    gb_span_t text = {NULL, 0};
    gb_json_iter_t it;

    if (gb_json_count(candidates) != 1 || gb_json_count(parts) != 1) {
        return text;
    }
    *candidate = gb_json_path(candidates, "0");
    for (gb_json_iter(&it, gb_json_path(parts, "0")); gb_json_next(&it);) {
        if (gb_json_eq(it.key, "text")) {
            text = it.value;
        }
        else if (!gb_json_eq(it.key, "thought") || !gb_json_bool(it.value, thought)) {
            return (gb_span_t){NULL, 0};
        }
    }
    return gb_json_kind(text) == GB_JSON_STRING && text.len > 2 ? text : (gb_span_t){NULL, 0};
}

static void put_member(gb_buf_t *out, gb_span_t object, const char *name)
{
    gb_span_t value = gb_json_get(object, name);

    if (value.p != NULL) {
        gb_buf_printf(out, ",\"%s\":", name);
        gb_json_put_span(out, value);
    }
}

/* A step says who speaks; reasons, usage and sources stay with the last one. */
static int native_split(const gb_plan_t *plan, gb_span_t event, gb_split_t *split)
{
    gb_span_t json = {event.p + 5, event.len - 5}, root, candidate, text;
    gb_json_fault_t fault;
    int thought = 0;

    if (((const gemini_call_t *)plan->state)->form != GEMINI_SSE || event.len < 8
        || memcmp(event.p, "data:", 5) != 0
        || gb_json_check(json.p, json.len, &fault) != APR_SUCCESS) {
        return 0;
    }
    root = gb_json_root(json.p, json.len);
    text = only_text(root, &candidate, &thought);
    if (text.p == NULL) {
        return 0;
    }
    split->at = (size_t)(text.p + 1 - event.p);
    split->len = text.len - 2;
    gb_buf_printf(&split->head, "data: {\"candidates\":[{\"content\":{\"parts\":[{%s\"text\":\"",
                  thought ? "\"thought\":true," : "");
    gb_buf_puts(&split->tail, "\"}],\"role\":\"model\"}");
    put_member(&split->tail, candidate, "index");
    gb_buf_puts(&split->tail, "}]");
    put_member(&split->tail, root, "modelVersion");
    put_member(&split->tail, root, "responseId");
    return gb_buf_puts(&split->tail, "}\r\n\r\n") == APR_SUCCESS;
}

const gb_dialect_t gb_gemini_dialect = {
    .name = "gemini",
    .error_type = "application/json; charset=UTF-8",
    .parse_request = gb_gemini_parse_request,
    .start = native_start,
    .on_chunk = native_chunk,
    .on_end = native_end,
    .error_body = gb_gemini_error_body,
    .drop_field = gb_gemini_drop_field,
    .go_on = gb_gemini_go_on,
    .heartbeat = native_heartbeat,
    .split = native_split,
};
