/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints that take a form: its fields by the same tables as JSON members, its
 * files as they lie in the client's body, and an upstream body into which they
 * go in base64 while it is sent.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

/* A longer field is no field but a file without a name. */
#define MAX_FIELD (1024 * 1024)

/* ---- reading ---- */

/* A part that is sent without a file name is a file all the same when it has a type of its own. */
static int is_file(const gb_form_part_t *part)
{
    return part->file_name != NULL
           || (*part->type != '\0' && strncasecmp(part->type, "text/", 5) != 0
               && strncasecmp(part->type, "application/json", 16) != 0);
}

/* "image[]" and "image[0]" are called image. */
static const char *plain_name(const char *name, apr_pool_t *p)
{
    return apr_pstrndup(p, name, strcspn(name, "["));
}

static const gb_openai_param_t *param_find(const gb_openai_param_t *params, size_t n,
                                           const char *name)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (strcmp(params[i].name, name) == 0) {
            return &params[i];
        }
    }
    return NULL;
}

/* The field's text as JSON of the parameter's kind; text that is none becomes a string. */
static gb_span_t field_json(gb_openai_call_t *call, const gb_openai_param_t *param,
                            const char *bytes, size_t len)
{
    gb_json_fault_t fault;
    gb_buf_t text;

    if (param->kind != GB_PARAM_STRING && param->kind != GB_PARAM_ANY && len > 0
        && gb_json_check(bytes, len, &fault) == APR_SUCCESS) {
        return gb_json_root(bytes, len);
    }
    gb_buf_init_pool(&text, 6 * MAX_FIELD + 2, call->pool);
    gb_json_put_str(&text, bytes, len);
    return (gb_span_t){text.data, text.len};
}

static apr_status_t field_read(gb_openai_call_t *call, const gb_form_part_t *part,
                               const gb_openai_param_t *params, size_t n, void *into)
{
    const char *name = plain_name(part->name, call->pool);
    const gb_openai_param_t *param = param_find(params, n, name);
    gb_buf_t quoted;

    if (param == NULL) {
        gb_buf_init_pool(&quoted, GB_BUF_MAX_LINE * 4, call->pool);
        gb_json_put_cstr(&quoted, part->name);
        gb_openai_ignored_add(call, (gb_span_t){quoted.data, quoted.len});
        return APR_SUCCESS;
    }
    if (part->len > MAX_FIELD) {
        return gb_error_set(call->err, 400, "string_above_max_length", param->name,
                            "Invalid '%s': it is longer than %d bytes.", param->name, MAX_FIELD);
    }
    return gb_openai_param_take(
        call, param, field_json(call, param, call->request.body + part->offset, part->len), into);
}

apr_status_t gb_openai_form_read(gb_openai_call_t *call, const gb_openai_param_t *params, size_t n,
                                 void *into, apr_array_header_t **pfiles)
{
    const apr_array_header_t *form = call->request.form;
    apr_status_t rv = APR_SUCCESS;
    int i;

    *pfiles = apr_array_make(call->pool, 2, sizeof(gb_openai_file_t));
    for (i = 0; rv == APR_SUCCESS && i < form->nelts; i++) {
        const gb_form_part_t *part = &APR_ARRAY_IDX(form, i, gb_form_part_t);

        if (is_file(part)) {
            gb_openai_file_t *file = apr_array_push(*pfiles);

            file->field = plain_name(part->name, call->pool);
            file->name = part->file_name != NULL ? part->file_name : "";
            file->type = part->type;
            file->bytes = (gb_span_t){call->request.body + part->offset, part->len};
        }
        else {
            rv = field_read(call, part, params, n, into);
        }
    }
    return rv;
}

/* ---- what a file is ---- */

/* clang-format off */
static const struct {
    size_t at, len;
    const char *magic, *type;
} magics[] = {
    {0, 8, "\x89PNG\r\n\x1a\n", "image/png" },
    {0, 3, "\xff\xd8\xff",      "image/jpeg"},
    {8, 4, "WEBP",              "image/webp"},
    {0, 4, "GIF8",              "image/gif" },
    {4, 8, "ftypheic",          "image/heic"},
    {4, 8, "ftypmif1",          "image/heif"},
    {8, 4, "WAVE",              "audio/wav" },
    {0, 3, "ID3",               "audio/mp3" },
    {0, 4, "fLaC",              "audio/flac"},
    {0, 4, "OggS",              "audio/ogg" },
    {0, 4, "\x1a\x45\xdf\xa3",  "audio/webm"},
    {4, 8, "ftypM4A ",          "audio/m4a" },
    {4, 4, "ftyp",              "audio/mp4" },
    {0, 4, "FORM",              "audio/aiff"},
};
/* clang-format on */

/* A frame of MPEG audio or of AAC in ADTS has no magic but its first eleven bits. */
static const char *frame_type(gb_span_t bytes)
{
    const unsigned char *b = (const unsigned char *)bytes.p;

    if (bytes.len < 2 || b[0] != 0xff || (b[1] & 0xe0) != 0xe0) {
        return NULL;
    }
    return (b[1] & 0x06) == 0 ? "audio/aac" : "audio/mp3";
}

const char *gb_openai_file_type(const gb_openai_file_t *file)
{
    size_t i;

    for (i = 0; i < sizeof(magics) / sizeof(*magics); i++) {
        if (file->bytes.len >= magics[i].at + magics[i].len
            && memcmp(file->bytes.p + magics[i].at, magics[i].magic, magics[i].len) == 0) {
            return magics[i].type;
        }
    }
    return frame_type(file->bytes);
}

/* ---- writing ---- */

void gb_openai_pieces_begin(gb_openai_pieces_t *pieces, gb_openai_call_t *call)
{
    pieces->call = call;
    pieces->list = apr_array_make(call->pool, 4, sizeof(gb_piece_t));
    pieces->taken = 0;
    gb_buf_init_pool(&pieces->text, GB_BUF_MAX_REQUEST, call->pool);
}

/* What was written since becomes a piece; where it lies is known at the end. */
static void text_close(gb_openai_pieces_t *pieces)
{
    gb_piece_t *piece = apr_array_push(pieces->list);

    memset(piece, 0, sizeof(*piece));
    piece->bytes.len = pieces->text.len - pieces->taken;
    pieces->taken = pieces->text.len;
}

void gb_openai_pieces_file(gb_openai_pieces_t *pieces, const char *type, gb_span_t bytes)
{
    gb_piece_t *piece;

    gb_buf_printf(&pieces->text, "{\"inlineData\":{\"mimeType\":\"%s\",\"data\":\"", type);
    text_close(pieces);
    piece = apr_array_push(pieces->list);
    piece->bytes = bytes;
    piece->base64 = 1;
    piece->mapped = pieces->call->request.body_mapped;
    gb_buf_puts(&pieces->text, "\"}}");
}

apr_status_t gb_openai_pieces_end(gb_openai_pieces_t *pieces)
{
    const char *at;
    int i;

    text_close(pieces);
    at = pieces->text.data;
    for (i = 0; i < pieces->list->nelts; i++) {
        gb_piece_t *piece = &APR_ARRAY_IDX(pieces->list, i, gb_piece_t);

        if (!piece->base64) {
            piece->bytes.p = at;
            at += piece->bytes.len;
        }
    }
    pieces->call->plan->pieces = pieces->list;
    return pieces->text.rv;
}
