/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The continuation's request and the overlap (see seam.h).
 */
#include "proto/seam.h"

#include <ctype.h>
#include <string.h>

#define OVERLAP_MAX  512
#define OVERLAP_SURE 12 /* bytes that nobody repeats by chance */
#define OVERLAP_WORD 3  /* enough where it begins a word */

static const char go_on[] =
    "Your answer was cut off at this point. Go on exactly where it ends, with its next character: "
    "repeat nothing of it, and add no remark.";

/* ---- the request ---- */

static int is_text_request(gb_span_t body)
{
    gb_span_t config = gb_json_get2(body, "generationConfig", "generation_config");
    gb_span_t type = gb_json_get2(config, "responseMimeType", "response_mime_type");
    gb_json_iter_t it, tool;

    if (gb_json_kind(type) == GB_JSON_STRING && !gb_json_eq(type, "text/plain") && type.len > 2) {
        return 0;
    }
    for (gb_json_iter(&it, gb_json_get(body, "tools")); gb_json_next(&it);) {
        for (gb_json_iter(&tool, it.value); gb_json_next(&tool);) {
            if (!gb_json_eq(tool.key, "functionDeclarations")
                && !gb_json_eq(tool.key, "function_declarations")) {
                return 0;
            }
        }
    }
    return 1;
}

static int ends_with_other(gb_span_t contents)
{
    gb_span_t last = {NULL, 0};
    gb_json_iter_t it;

    for (gb_json_iter(&it, contents); gb_json_next(&it);) {
        last = it.value;
    }
    return last.p != NULL && !gb_json_eq(gb_json_get(last, "role"), "model");
}

apr_status_t gb_seam_body(gb_buf_t *out, gb_span_t body, const char *said, size_t len)
{
    gb_span_t contents = gb_json_get(body, "contents");
    size_t before;

    if (gb_json_kind(contents) != GB_JSON_ARRAY || !ends_with_other(contents)
        || !is_text_request(body)) {
        return APR_EINVAL;
    }
    if (len == 0) {
        return gb_json_put_span(out, body);
    }
    before = (size_t)(contents.p + contents.len - 1 - body.p);
    gb_buf_append(out, body.p, before);
    gb_buf_puts(out, ",{\"role\":\"model\",\"parts\":[{\"text\":");
    gb_json_put_str(out, said, len);
    gb_buf_puts(out, "}]},{\"role\":\"user\",\"parts\":[{\"text\":");
    gb_json_put_cstr(out, go_on);
    gb_buf_puts(out, "}]}");
    return gb_buf_append(out, body.p + before, body.len - before);
}

/* ---- the seam ---- */

static int is_part_of_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Whether so many equal bytes are a repetition, and not the text's own. */
static int counts(const char *said, size_t said_len, size_t n)
{
    const char *begin = said + said_len - n;
    int at_word = begin == said || !is_part_of_word(begin[-1])
                  || (unsigned char)*begin >= 0xc0; /* scripts without blanks */

    return n >= OVERLAP_SURE || (n >= OVERLAP_WORD && at_word && is_part_of_word(*begin));
}

size_t gb_seam_overlap(const char *said, size_t said_len, const char *next, size_t len, int more)
{
    size_t n = said_len < OVERLAP_MAX ? said_len : OVERLAP_MAX;

    if (len == 0) {
        return more ? GB_SEAM_OPEN : 0;
    }
    for (; n >= OVERLAP_WORD; n--) {
        const char *begin = said + said_len - n;

        if (((unsigned char)*begin & 0xc0) == 0x80 || memcmp(begin, next, n < len ? n : len) != 0) {
            continue;
        }
        if (n > len && more) {
            return GB_SEAM_OPEN;
        }
        if (n <= len && counts(said, said_len, n)) {
            return n;
        }
    }
    return 0;
}
