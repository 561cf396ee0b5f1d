/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes JSON that fits a schema, for structured answers and for the arguments
 * of forced calls: the first enum value, the least number, a text that names
 * its property. Understands the OpenAPI subset and JSON Schema with $ref.
 */
#include "sim.h"

#include <stdio.h>

#define MAX_DEPTH 12

typedef struct {
    const sj_doc_t *doc;
    uint32_t root;
    sim_buf_t *out;
    unsigned depth;
} fill_t;

static void fill(fill_t *f, uint32_t schema, sim_str_t name);

/* `#`, `#/$defs/X` or `#/definitions/X`. */
static uint32_t resolve(const fill_t *f, sim_str_t ref)
{
    const char *end = ref.p + ref.n, *p = ref.p;
    uint32_t at = f->root;

    if (ref.n == 0 || *p++ != '#') {
        return SJ_NONE;
    }
    while (p < end && at != SJ_NONE && *p == '/') {
        const char *stop = memchr(p + 1, '/', (size_t)(end - p - 1));
        sim_str_t step = {p + 1, (size_t)((stop != NULL ? stop : end) - p - 1)};
        uint32_t found = SJ_NONE;

        if (!sj_is(f->doc, at, SJ_OBJECT)) {
            return SJ_NONE;
        }
        SJ_EACH_MEMBER(f->doc, at, key)
        {
            sim_str_t have = sj_raw(f->doc, key);

            if (sim_same(have, step)) {
                found = key + 1;
            }
        }
        at = found;
        p = step.p + step.n;
    }
    return at;
}

static bool is_type(const fill_t *f, uint32_t type, const char *name)
{
    SJ_EACH_OF(f->doc, type, one)
    {
        if (sim_ieq(sj_raw(f->doc, one), name)) {
            return true;
        }
    }
    return false;
}

static void put_text(fill_t *f, sim_str_t s)
{
    sim_putc(f->out, '"');
    sim_put_escaped(f->out, s.p, s.n);
    sim_putc(f->out, '"');
}

static void fill_string(fill_t *f, uint32_t schema, sim_str_t name)
{
    static const struct {
        const char *format, *value;
    } formats[] = {
        {"date-time", "2026-11-20T12:00:00Z"                },
        {"date",      "2026-11-20"                          },
        {"time",      "12:00:00Z"                           },
        {"duration",  "PT1H"                                },
        {"email",     "someone@example.com"                 },
        {"uri",       "https://example.com/"                },
        {"uuid",      "123e4567-e89b-42d3-a456-426614174000"}
    };
    uint32_t format = sj_get(f->doc, schema, "format");
    long least = sj_long(f->doc, sj_get(f->doc, schema, "minLength"), 0);
    size_t i, from;

    for (i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        if (format != SJ_NONE && sj_eq(f->doc, format, formats[i].format)) {
            put_text(f, (sim_str_t){formats[i].value, strlen(formats[i].value)});
            return;
        }
    }
    sim_putl(f->out, "\"simulated ");
    from = f->out->len - 10;
    sim_put_escaped(f->out, name.p, name.n);
    while ((long)(f->out->len - from) < least && least < 100000) {
        sim_putc(f->out, 'x');
    }
    sim_putc(f->out, '"');
}

static void fill_number(fill_t *f, uint32_t schema, bool whole)
{
    uint32_t least = sj_get(f->doc, schema, "minimum");
    uint32_t most = sj_get(f->doc, schema, "maximum");

    if (least != SJ_NONE) {
        sim_str_t s = sj_raw(f->doc, least);

        sim_put(f->out, s.p, s.n);
    }
    else if (most != SJ_NONE && sj_double(f->doc, most, 1) < 1) {
        sim_str_t s = sj_raw(f->doc, most);

        sim_put(f->out, s.p, s.n);
    }
    else {
        sim_puts(f->out, whole ? "1" : "1.5");
    }
}

static void fill_array(fill_t *f, uint32_t schema, sim_str_t name)
{
    uint32_t items = sj_get(f->doc, schema, "items");
    uint32_t tuple = sj_get(f->doc, schema, "prefixItems");
    long n = sj_long(f->doc, sj_get(f->doc, schema, "minItems"), 1), i = 0;

    sim_putc(f->out, '[');
    SJ_EACH_OF(f->doc, tuple, one)
    {
        sim_puts(f->out, i++ > 0 ? "," : "");
        fill(f, one, name);
    }
    for (; items != SJ_NONE && tuple == SJ_NONE && i < n && i < 1000; i++) {
        sim_puts(f->out, i > 0 ? "," : "");
        fill(f, items, name);
    }
    sim_putc(f->out, ']');
}

static void fill_object(fill_t *f, uint32_t schema)
{
    uint32_t properties = sj_get(f->doc, schema, "properties");
    bool first = true;

    sim_putc(f->out, '{');
    if (sj_is(f->doc, properties, SJ_OBJECT)) {
        SJ_EACH_MEMBER(f->doc, properties, key)
        {
            sim_str_t text = sj_text(f->doc, key);

            sim_puts(f->out, first ? "" : ",");
            sim_put(f->out, text.p, text.n);
            sim_putc(f->out, ':');
            fill(f, key + 1, sj_raw(f->doc, key));
            first = false;
        }
    }
    sim_putc(f->out, '}');
}

/* The first branch that is not null. */
static uint32_t choose_branch(const fill_t *f, uint32_t schema)
{
    static const char *const names[] = {"anyOf", "oneOf", "allOf"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        uint32_t list = sj_get(f->doc, schema, names[i]);

        SJ_EACH_OF(f->doc, list, one)
        {
            uint32_t type = sj_get(f->doc, one, "type");

            if (type == SJ_NONE || !is_type(f, type, "null")) {
                return one;
            }
        }
    }
    return SJ_NONE;
}

static bool fill_given(fill_t *f, uint32_t schema)
{
    uint32_t fixed = sj_get(f->doc, schema, "const");
    uint32_t list = sj_get(f->doc, schema, "enum");
    sim_str_t text;

    if (fixed == SJ_NONE && list != SJ_NONE && sj_begin(f->doc, list) < sj_end(f->doc, list)) {
        fixed = sj_begin(f->doc, list);
    }
    if (fixed == SJ_NONE) {
        return false;
    }
    text = sj_text(f->doc, fixed);
    sim_put(f->out, text.p, text.n);
    return true;
}

static void fill_typed(fill_t *f, uint32_t schema, sim_str_t name)
{
    uint32_t type = sj_get(f->doc, schema, "type");

    if (is_type(f, type, "object") || sj_get(f->doc, schema, "properties") != SJ_NONE) {
        fill_object(f, schema);
    }
    else if (is_type(f, type, "array") || sj_get(f->doc, schema, "items") != SJ_NONE) {
        fill_array(f, schema, name);
    }
    else if (is_type(f, type, "integer")) {
        fill_number(f, schema, true);
    }
    else if (is_type(f, type, "number")) {
        fill_number(f, schema, false);
    }
    else if (is_type(f, type, "boolean")) {
        sim_putl(f->out, "true");
    }
    else if (is_type(f, type, "string") || type == SJ_NONE) {
        fill_string(f, schema, name);
    }
    else {
        sim_putl(f->out, "null");
    }
}

static void fill(fill_t *f, uint32_t schema, sim_str_t name)
{
    uint32_t ref = sj_get(f->doc, schema, "$ref"), branch;

    if (f->depth >= MAX_DEPTH || !sj_is(f->doc, schema, SJ_OBJECT)) {
        sim_putl(f->out, "null");
        return;
    }
    f->depth++;
    branch = ref != SJ_NONE ? resolve(f, sj_raw(f->doc, ref)) : choose_branch(f, schema);
    if (branch != SJ_NONE) {
        fill(f, branch, name);
    }
    else if (!fill_given(f, schema)) {
        fill_typed(f, schema, name);
    }
    f->depth--;
}

void sim_schema_fill(const sj_doc_t *doc, uint32_t schema, sim_buf_t *out)
{
    fill_t f = {.doc = doc, .root = schema, .out = out};

    fill(&f, schema, SIM_STR("value"));
}

bool sim_schema_answer(const sj_doc_t *doc, uint32_t config, sim_str_t user, sim_buf_t *out)
{
    uint32_t mime = sj_get(doc, config, "responseMimeType");
    uint32_t schema = sj_get(doc, config, "responseJsonSchema");
    uint32_t format = sj_get(doc, sj_get(doc, config, "responseFormat"), "text");

    schema = schema != SJ_NONE ? schema : sj_get(doc, config, "responseSchema");
    schema = schema != SJ_NONE ? schema : sj_get(doc, format, "schema");
    mime = mime != SJ_NONE ? mime : sj_get(doc, format, "mimeType");
    if (mime != SJ_NONE && sj_eq(doc, mime, "text/x.enum")) {
        uint32_t list = sj_get(doc, schema, "enum");

        if (list != SJ_NONE && sj_begin(doc, list) < sj_end(doc, list)) {
            sj_string(doc, sj_begin(doc, list), out);
            return true;
        }
        return false;
    }
    if (mime == SJ_NONE
        || (!sj_eq(doc, mime, "application/json") && !sj_eq(doc, mime, "APPLICATION_JSON"))) {
        return false;
    }
    if (schema != SJ_NONE) {
        sim_schema_fill(doc, schema, out);
        return true;
    }
    sim_putl(out, "{\"answer\": \"You said: ");
    sim_put_escaped(out, user.p, user.n);
    sim_putl(out, "\"}");
    return true;
}
