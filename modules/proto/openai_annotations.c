/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an answer comes from: grounding and citations as url_citation
 * annotations and as a list of links.  Gemini counts bytes within one part,
 * OpenAI characters of the whole content; the text that Gemini quotes decides
 * when its numbers do not fit.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

typedef struct source_t {
    const char *uri, *title;
} source_t;

/* A stretch of the content in bytes, and its source. */
typedef struct support_t {
    size_t start, end;
    int chunk; /* of sources.chunks, -1: uri */
    const char *uri;
} support_t;

/* Where a part of the candidate begins in the content. */
typedef struct offset_t {
    size_t part, start;
} offset_t;

void gb_openai_part_seen(gb_openai_choice_t *choice, int is_text, int joins, apr_pool_t *p)
{
    offset_t *offset;

    if (is_text && joins && choice->last_was_text) {
        return;
    }
    if (choice->offsets == NULL) {
        choice->offsets = apr_array_make(p, 4, sizeof(offset_t));
    }
    if (is_text) {
        offset = apr_array_push(choice->offsets);
        offset->part = choice->n_parts;
        offset->start = choice->text.len;
    }
    choice->n_parts++;
    choice->last_was_text = is_text;
}

static int matches(const gb_openai_choice_t *choice, size_t start, const char *text, size_t len)
{
    return start <= choice->text.len && len <= choice->text.len - start
           && memcmp(choice->text.data + start, text, len) == 0;
}

/* The bytes that a segment means; 0 when there are none. */
static int locate(const gb_openai_choice_t *choice, gb_span_t segment, support_t *support,
                  apr_pool_t *p)
{
    apr_int64_t part = 0, from = 0, to = -1;
    size_t len = 0, base = 0;
    const char *text = gb_json_str(gb_json_get(segment, "text"), &len, p), *hit;
    int i;

    gb_json_int(gb_json_get(segment, "partIndex"), &part);
    gb_json_int(gb_json_get(segment, "startIndex"), &from);
    gb_json_int(gb_json_get(segment, "endIndex"), &to);
    for (i = 0; choice->offsets != NULL && i < choice->offsets->nelts; i++) {
        if (APR_ARRAY_IDX(choice->offsets, i, offset_t).part == (size_t)part) {
            base = APR_ARRAY_IDX(choice->offsets, i, offset_t).start;
        }
    }
    if (text == NULL || len == 0) {
        support->start = base + (size_t)from;
        support->end = base + (size_t)to;
        return from >= 0 && to > from && support->end <= choice->text.len;
    }
    if (from >= 0 && matches(choice, base + (size_t)from, text, len)) {
        support->start = base + (size_t)from;
    }
    else if (choice->text.len > 0
             && (hit = memmem(choice->text.data, choice->text.len, text, len)) != NULL) {
        support->start = (size_t)(hit - choice->text.data);
    }
    else {
        return 0;
    }
    support->end = support->start + len;
    return 1;
}

static void chunks_read(gb_openai_choice_t *choice, gb_span_t chunks, apr_pool_t *p)
{
    static const char *const kinds[] = {"web", "retrievedContext", "maps", "image"};
    gb_json_iter_t it;
    source_t *source;
    gb_span_t found;
    size_t i;

    for (gb_json_iter(&it, chunks); gb_json_next(&it);) {
        source = apr_array_push(choice->sources.chunks);
        source->uri = source->title = NULL;
        for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
            found = gb_json_get(it.value, kinds[i]);
            if (gb_openai_there(found)) {
                source->uri = gb_openai_text(gb_json_get2(found, "uri", "sourceUri"), p);
                source->title = gb_openai_text(gb_json_get(found, "title"), p);
                break;
            }
        }
    }
}

static void supports_read(gb_openai_choice_t *choice, gb_span_t supports, apr_pool_t *p)
{
    gb_json_iter_t it, chunk;
    support_t support = {0}, *added;
    apr_int64_t index;

    for (gb_json_iter(&it, supports); gb_json_next(&it);) {
        if (!locate(choice, gb_json_get(it.value, "segment"), &support, p)) {
            continue;
        }
        for (gb_json_iter(&chunk, gb_json_get(it.value, "groundingChunkIndices"));
             gb_json_next(&chunk);) {
            if (gb_json_int(chunk.value, &index) && index >= 0 && index < INT32_MAX) {
                added = apr_array_push(choice->sources.supports);
                *added = support;
                added->chunk = (int)index;
            }
        }
    }
}

/* A stream tells a citation again and again. */
static int is_told(const gb_openai_choice_t *choice, const support_t *support)
{
    const support_t *told;
    int i;

    for (i = 0; i < choice->sources.supports->nelts; i++) {
        told = &APR_ARRAY_IDX(choice->sources.supports, i, support_t);
        if (told->chunk < 0 && told->start == support->start && told->end == support->end
            && strcmp(told->uri, support->uri) == 0) {
            return 1;
        }
    }
    return 0;
}

static void citations_read(gb_openai_choice_t *choice, gb_span_t citations, apr_pool_t *p)
{
    gb_json_iter_t it;
    support_t support = {0}, *added;

    for (gb_json_iter(&it, citations); gb_json_next(&it);) {
        support.uri = gb_openai_text(gb_json_get(it.value, "uri"), p);
        support.chunk = -1;
        if (support.uri != NULL && *support.uri != '\0' && locate(choice, it.value, &support, p)
            && !is_told(choice, &support)) {
            added = apr_array_push(choice->sources.supports);
            *added = support;
        }
    }
}

void gb_openai_sources_read(gb_openai_choice_t *choice, gb_span_t grounding, gb_span_t citations,
                            apr_pool_t *p)
{
    if (gb_json_kind(grounding) != GB_JSON_OBJECT && gb_json_kind(citations) != GB_JSON_OBJECT) {
        return;
    }
    if (choice->sources.chunks == NULL) {
        choice->sources.chunks = apr_array_make(p, 8, sizeof(source_t));
        choice->sources.supports = apr_array_make(p, 8, sizeof(support_t));
    }
    chunks_read(choice, gb_json_get(grounding, "groundingChunks"), p);
    supports_read(choice, gb_json_get(grounding, "groundingSupports"), p);
    citations_read(choice, gb_json_get2(citations, "citationSources", "citations"), p);
}

/* ---- writing ---- */

static size_t characters(const char *text, size_t len)
{
    size_t i, n = 0;

    for (i = 0; i < len; i++) {
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return n;
}

/* The address and name of a support, 0 when it has none. */
static int source_of(const gb_openai_choice_t *choice, const support_t *support, source_t *source)
{
    if (support->chunk < 0) {
        source->uri = source->title = support->uri;
        return 1;
    }
    if (support->chunk >= choice->sources.chunks->nelts) {
        return 0;
    }
    *source = APR_ARRAY_IDX(choice->sources.chunks, support->chunk, source_t);
    return source->uri != NULL && *source->uri != '\0';
}

int gb_openai_annotations_any(const gb_openai_choice_t *choice)
{
    source_t source;
    int i;

    for (i = 0; choice->sources.supports != NULL && i < choice->sources.supports->nelts; i++) {
        if (source_of(choice, &APR_ARRAY_IDX(choice->sources.supports, i, support_t), &source)) {
            return 1;
        }
    }
    return 0;
}

void gb_openai_annotations_put(gb_buf_t *out, const gb_openai_choice_t *choice)
{
    const support_t *support;
    const char *comma = "";
    source_t source;
    int i;

    gb_buf_putc(out, '[');
    for (i = 0; choice->sources.supports != NULL && i < choice->sources.supports->nelts; i++) {
        support = &APR_ARRAY_IDX(choice->sources.supports, i, support_t);
        if (!source_of(choice, support, &source)) {
            continue;
        }
        gb_buf_printf(
            out,
            "%s{\"type\":\"url_citation\",\"url_citation\":{\"start_index\":%" APR_SIZE_T_FMT
            ",\"end_index\":%" APR_SIZE_T_FMT ",\"url\":",
            comma, characters(choice->text.data, support->start),
            characters(choice->text.data, support->end));
        gb_json_put_cstr(out, source.uri);
        gb_buf_puts(out, ",\"title\":");
        gb_json_put_cstr(out, source.title != NULL ? source.title : "");
        gb_buf_puts(out, "}}");
        comma = ",";
    }
    gb_buf_putc(out, ']');
}

/* What would end a link early. */
static const char *link_text(const char *text, apr_pool_t *p)
{
    char *clean = apr_pstrdup(p, text), *c;

    for (c = clean; *c != '\0'; c++) {
        if (*c == '[' || *c == ']' || (unsigned char)*c < ' ') {
            *c = *c == '[' ? '(' : *c == ']' ? ')' : ' ';
        }
    }
    return clean;
}

const char *gb_openai_links(const gb_openai_choice_t *choice, apr_pool_t *p)
{
    apr_array_header_t *chunks = choice->sources.chunks;
    const source_t *source;
    gb_buf_t text;
    int i, n = 0;

    gb_buf_init_pool(&text, GB_BUF_MAX_ANSWER, p);
    gb_buf_puts(&text, "\n\n---\n\n**Sources**\n");
    for (i = 0; chunks != NULL && i < chunks->nelts; i++) {
        source = &APR_ARRAY_IDX(chunks, i, source_t);
        if (source->uri == NULL || *source->uri == '\0'
            || strpbrk(source->uri, " ()<>\n") != NULL) {
            continue;
        }
        gb_buf_printf(
            &text, "\n- [%s](%s)",
            link_text(source->title != NULL && *source->title != '\0' ? source->title : source->uri,
                      p),
            source->uri);
        n++;
    }
    return n > 0 && text.rv == APR_SUCCESS ? text.data : NULL;
}
