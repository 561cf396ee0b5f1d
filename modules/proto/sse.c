/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream reader: one state per kind of place in the stream, bytes looked at
 * once, only the data of the event at hand kept.  What an event means is left
 * to who asked for it.
 */
#include "proto/sse.h"

#include <string.h>

#include "base/json.h"
#include "base/json_scan.h"

typedef enum {
    AT_BOM,   /* the very first bytes */
    AT_START, /* at the beginning of a line, maybe after blanks */
    AT_NAME,  /* inside what may become "data:" */
    AT_SPACE, /* right behind "data:" */
    IN_DATA,  /* inside its value */
    IN_SKIP,  /* inside a line that says nothing to us */
    IN_JSON,  /* inside a JSON value outside of any event, or an element of the array */
    BEFORE_ARRAY,
    BETWEEN, /* inside the array, between elements */
    AFTER_ARRAY
} place_t;

struct gb_sse_t {
    gb_sse_event_fn *fn;
    void *baton;
    int is_array;
    apr_status_t rv; /* sticky */
    place_t place;

    apr_uint64_t position; /* bytes consumed */
    apr_uint64_t boundary;
    apr_uint64_t line_start;

    unsigned matched; /* AT_BOM, AT_NAME */
    int indented;     /* blanks stood at the line's beginning */
    int after_cr;     /* a line feed now belongs to the end of the line before */
    int is_comment;   /* IN_SKIP */
    int data_lines;

    gb_sse_kind_t json_kind; /* IN_JSON */
    int depth;
    int in_string;
    int escaped;

    gb_buf_t data;
};

static const char bom[] = "\xef\xbb\xbf";
static const char data_name[] = "data:";

static gb_sse_t *make(gb_sse_event_fn *fn, void *baton, apr_pool_t *p, int is_array)
{
    gb_sse_t *sse = apr_pcalloc(p, sizeof(*sse));

    sse->fn = fn;
    sse->baton = baton;
    sse->is_array = is_array;
    sse->place = AT_BOM;
    gb_buf_init_pool(&sse->data, GB_BUF_MAX_EVENT, p);
    return sse;
}

gb_sse_t *gb_sse_make(gb_sse_event_fn *fn, void *baton, apr_pool_t *p)
{
    return make(fn, baton, p, 0);
}

gb_sse_t *gb_sse_make_array(gb_sse_event_fn *fn, void *baton, apr_pool_t *p)
{
    return make(fn, baton, p, 1);
}

apr_uint64_t gb_sse_boundary(const gb_sse_t *sse)
{
    return sse->boundary;
}

/* ---- handing out ---- */

static void hand_out(gb_sse_t *sse, gb_sse_kind_t kind, const char *data, size_t len)
{
    sse->rv = sse->fn(sse->baton, kind, data, len);
}

/* The data without the white space around it: some proxies indent. */
static void hand_out_event(gb_sse_t *sse)
{
    gb_span_t data = gb_json_root(sse->data.data, sse->data.len);

    sse->data_lines = 0;
    if (data.len >= 6 && memcmp(data.p, "[DONE]", 6) == 0) {
        hand_out(sse, GB_SSE_DONE, data.p, data.len);
    }
    else if (data.p != NULL) {
        hand_out(sse, GB_SSE_DATA, data.p, data.len);
    }
    gb_buf_reset(&sse->data);
}

static void set_boundary(gb_sse_t *sse, apr_uint64_t at)
{
    if (sse->rv == APR_SUCCESS) {
        sse->boundary = at;
    }
}

/* ---- lines ---- */

static const char *consume(gb_sse_t *sse, const char *p, const char *to)
{
    sse->position += (apr_uint64_t)(to - p);
    return to;
}

/* p stands at the CR or LF that ends a line. */
static const char *end_line(gb_sse_t *sse, const char *p)
{
    sse->after_cr = *p == '\r';
    sse->indented = 0;
    sse->place = AT_START;
    p = consume(sse, p, p + 1);
    sse->line_start = sse->position;
    return p;
}

static const char *end_event(gb_sse_t *sse, const char *p)
{
    p = end_line(sse, p);
    hand_out_event(sse);
    set_boundary(sse, sse->position);
    return p;
}

static const char *begin_json(gb_sse_t *sse, const char *p, gb_sse_kind_t kind)
{
    sse->place = IN_JSON;
    sse->json_kind = kind;
    sse->depth = 0;
    sse->in_string = 0;
    sse->escaped = 0;
    return p;
}

/* An event before it that has no empty line is over. */
static const char *begin_bare(gb_sse_t *sse, const char *p)
{
    if (sse->data_lines > 0) {
        hand_out_event(sse);
        set_boundary(sse, sse->line_start);
    }
    return begin_json(sse, p, GB_SSE_BARE);
}

static void begin_data_line(gb_sse_t *sse)
{
    if (sse->data_lines++ > 0) {
        sse->rv = gb_buf_putc(&sse->data, '\n');
    }
}

static const char *step_bom(gb_sse_t *sse, const char *p)
{
    if (*p == bom[sse->matched]) {
        p = consume(sse, p, p + 1);
        if (++sse->matched < 3) {
            return p;
        }
    }
    else if (sse->matched > 0) {
        sse->place = sse->is_array ? BEFORE_ARRAY : IN_SKIP;
        return p;
    }
    sse->place = sse->is_array ? BEFORE_ARRAY : AT_START;
    sse->matched = 0;
    return p;
}

static const char *step_start(gb_sse_t *sse, const char *p)
{
    int after_cr = sse->after_cr;

    sse->after_cr = 0;
    switch (*p) {
    case '\n':
        if (after_cr) {
            int idle = sse->boundary == sse->position;

            p = consume(sse, p, p + 1);
            sse->line_start = sse->position;
            if (idle) {
                set_boundary(sse, sse->position);
            }
            return p;
        }
        /* fall through */
    case '\r':
        return sse->indented ? end_line(sse, p) : end_event(sse, p);
    case ' ':
    case '\t':
        sse->indented = 1;
        return consume(sse, p, p + 1);
    case '{':
    case '[':
        return begin_bare(sse, p);
    }
    sse->place = sse->indented ? IN_SKIP : AT_NAME;
    sse->is_comment = *p == ':' && !sse->indented;
    sse->matched = 0;
    return p;
}

static const char *step_name(gb_sse_t *sse, const char *p)
{
    if (*p == data_name[sse->matched]) {
        p = consume(sse, p, p + 1);
        if (++sse->matched == sizeof(data_name) - 1) {
            begin_data_line(sse);
            sse->place = AT_SPACE;
        }
        return p;
    }
    if ((*p == '\n' || *p == '\r') && sse->matched == sizeof(data_name) - 2) {
        begin_data_line(sse);
        return end_line(sse, p);
    }
    sse->place = IN_SKIP;
    return p;
}

static const char *step_data(gb_sse_t *sse, const char *p, const char *end)
{
    const char *eol = scan_to_eol(p, end);

    sse->rv = gb_buf_append(&sse->data, p, (size_t)(eol - p));
    p = consume(sse, p, eol);
    return p < end ? end_line(sse, p) : p;
}

static const char *step_skip(gb_sse_t *sse, const char *p, const char *end)
{
    p = consume(sse, p, scan_to_eol(p, end));
    return p < end ? end_line(sse, p) : p;
}

/* ---- JSON values ---- */

/* The end of the value that is being read, or end when it goes on. */
static const char *json_end(gb_sse_t *sse, const char *p, const char *end)
{
    while (p < end) {
        if (sse->escaped) {
            sse->escaped = 0;
            p++;
            continue;
        }
        if (sse->in_string) {
            p = scan_to_quote(p, end);
            if (p < end) {
                sse->escaped = *p == '\\';
                sse->in_string = *p++ == '\\';
            }
            continue;
        }
        switch (*p++) {
        case '"':
            sse->in_string = 1;
            break;
        case '{':
        case '[':
            sse->depth++;
            break;
        case '}':
        case ']':
            if (--sse->depth == 0) {
                return p;
            }
            break;
        }
    }
    return end;
}

static const char *step_json(gb_sse_t *sse, const char *p, const char *end)
{
    const char *stop = json_end(sse, p, end);

    sse->rv = gb_buf_append(&sse->data, p, (size_t)(stop - p));
    p = consume(sse, p, stop);
    if (sse->depth > 0 || sse->rv != APR_SUCCESS) {
        return p;
    }
    hand_out(sse, sse->json_kind, sse->data.data, sse->data.len);
    gb_buf_reset(&sse->data);
    set_boundary(sse, sse->position);
    sse->line_start = sse->position;
    sse->indented = 0;
    sse->place = !sse->is_array ? AT_START : sse->json_kind == GB_SSE_BARE ? AFTER_ARRAY : BETWEEN;
    return p;
}

/* Between the values of the array form only white space, commas and brackets stand. */
static const char *step_array(gb_sse_t *sse, const char *p)
{
    if (scan_is_space(*p)) {
        p = consume(sse, p, p + 1);
        if (sse->place == AFTER_ARRAY) {
            set_boundary(sse, sse->position);
        }
        return p;
    }
    if (*p == '{' && sse->place != AFTER_ARRAY) {
        return begin_json(sse, p, sse->place == BETWEEN ? GB_SSE_DATA : GB_SSE_BARE);
    }
    if (*p == ',' && sse->place == BETWEEN) {
        return consume(sse, p, p + 1);
    }
    if (*p == '[' && sse->place == BEFORE_ARRAY) {
        sse->place = BETWEEN;
        return consume(sse, p, p + 1);
    }
    if (*p == ']' && sse->place == BETWEEN) {
        sse->place = AFTER_ARRAY;
        p = consume(sse, p, p + 1);
        set_boundary(sse, sse->position);
        return p;
    }
    sse->rv = APR_EINVAL;
    return p;
}

/* ---- the feed ---- */

static const char *step(gb_sse_t *sse, const char *p, const char *end)
{
    switch (sse->place) {
    case AT_BOM:
        return step_bom(sse, p);
    case AT_START:
        return step_start(sse, p);
    case AT_NAME:
        return step_name(sse, p);
    case AT_SPACE:
        sse->place = IN_DATA;
        return *p == ' ' ? consume(sse, p, p + 1) : p;
    case IN_DATA:
        return step_data(sse, p, end);
    case IN_SKIP:
        return step_skip(sse, p, end);
    case IN_JSON:
        return step_json(sse, p, end);
    case BEFORE_ARRAY:
    case BETWEEN:
    case AFTER_ARRAY:
        return step_array(sse, p);
    }
    return end;
}

apr_status_t gb_sse_feed(gb_sse_t *sse, const char *bytes, size_t len)
{
    const char *p = bytes;
    const char *end = bytes + len;

    while (p < end && sse->rv == APR_SUCCESS) {
        p = step(sse, p, end);
    }
    return sse->rv;
}

static int is_json(const gb_buf_t *data)
{
    gb_span_t root = gb_json_root(data->data, data->len);
    gb_json_fault_t fault;

    return root.p == NULL || (root.len >= 6 && memcmp(root.p, "[DONE]", 6) == 0)
           || gb_json_check(root.p, root.len, &fault) == APR_SUCCESS;
}

/* Whether the bytes behind the boundary are nothing that anybody will miss. */
static int may_end_here(const gb_sse_t *sse)
{
    switch (sse->place) {
    case AT_START:
    case AT_SPACE:
    case IN_DATA:
    case AFTER_ARRAY:
        return 1;
    case AT_BOM:
        return sse->matched == 0 && !sse->is_array;
    case AT_NAME:
        return sse->matched == sizeof(data_name) - 2;
    case IN_SKIP:
        return sse->is_comment;
    case IN_JSON:
    case BEFORE_ARRAY:
    case BETWEEN:
        return 0;
    }
    return 0;
}

apr_status_t gb_sse_end(gb_sse_t *sse)
{
    if (sse->rv != APR_SUCCESS) {
        return sse->rv;
    }
    if (!may_end_here(sse) || (sse->data_lines > 0 && !is_json(&sse->data))) {
        sse->rv = APR_INCOMPLETE;
        return sse->rv;
    }
    if (sse->data_lines > 0) {
        hand_out_event(sse);
    }
    set_boundary(sse, sse->position);
    return sse->rv;
}

/* ---- writing ---- */

static apr_status_t put_event(gb_buf_t *out, const char *json, size_t len, const char *tail)
{
    gb_buf_append(out, "data: ", 6);
    gb_buf_append(out, json, len);
    return gb_buf_puts(out, tail);
}

apr_status_t gb_sse_put_openai(gb_buf_t *out, const char *json, size_t len)
{
    return put_event(out, json, len, "\n\n");
}

apr_status_t gb_sse_put_gemini(gb_buf_t *out, const char *json, size_t len)
{
    return put_event(out, json, len, "\r\n\r\n");
}
