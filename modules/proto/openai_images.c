/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST images/generations and images/edits: sizes to Google's ratios by table,
 * the marks in a prompt, and the upstream call - so many generateContent calls
 * side by side, or one :predict for imagen.  The answer is openai_images_answer.c's.
 */
#include "proto/openai_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define MAX_COUNT   4
#define MAX_FILES   16 /* OpenAI's */
#define MAX_PROMPT  (1024 * 1024)
#define MAX_SIDE    16384
#define IMAGE_SIZES "low|medium|high|auto|standard|hd"

/* clang-format off */
static const gb_openai_param_t params[] = {
    {"model",              offsetof(gb_openai_images_t, model),           GB_PARAM_STRING,  NULL,                 1, 0},
    {"prompt",             offsetof(gb_openai_images_t, prompt),          GB_PARAM_STRING,  NULL,                 1, 0},
    {"n",                  offsetof(gb_openai_images_t, n),               GB_PARAM_INTEGER, NULL,                 1, MAX_COUNT},
    {"size",               offsetof(gb_openai_images_t, size),            GB_PARAM_STRING,  NULL,                 1, 0},
    {"quality",            offsetof(gb_openai_images_t, quality),         GB_PARAM_STRING,  IMAGE_SIZES,          1, 0},
    {"response_format",    offsetof(gb_openai_images_t, response_format), GB_PARAM_STRING,  "b64_json|url",       1, 0},
    {"output_format",      offsetof(gb_openai_images_t, output_format),   GB_PARAM_STRING,  "png|jpeg|webp",      1, 0},
    {"background",         offsetof(gb_openai_images_t, background),      GB_PARAM_STRING,  "transparent|opaque|auto", 1, 0},
    {"stream",             offsetof(gb_openai_images_t, stream),          GB_PARAM_BOOL,    NULL,                 1, 0},
    {"output_compression", GB_PARAM_NOWHERE,                              GB_PARAM_INTEGER, NULL,                 0, 100},
    {"partial_images",     GB_PARAM_NOWHERE,                              GB_PARAM_INTEGER, NULL,                 0, 3},
    {"moderation",         GB_PARAM_NOWHERE,                              GB_PARAM_STRING,  NULL,                 1, 0},
    {"style",              GB_PARAM_NOWHERE,                              GB_PARAM_STRING,  NULL,                 1, 0},
    {"user",               GB_PARAM_NOWHERE,                              GB_PARAM_STRING,  NULL,                 1, 0},
    {"input_fidelity",     GB_PARAM_NOWHERE,                              GB_PARAM_STRING,  NULL,                 1, 0},
};

static const gb_openai_ratio_t ratios[] = {
    {"1:1", 1, 1, 1}, {"2:3", 2, 3, 0}, {"3:2", 3, 2, 0}, {"3:4", 3, 4, 1}, {"4:3", 4, 3, 1},
    {"4:5", 4, 5, 0}, {"5:4", 5, 4, 0}, {"9:16", 9, 16, 1}, {"16:9", 16, 9, 1}, {"21:9", 21, 9, 0},
    {"1:4", 1, 4, 0}, {"4:1", 4, 1, 0}, {"1:8", 1, 8, 0}, {"8:1", 8, 1, 0},
};

/* What OpenAI's models know by name. */
static const struct {
    const char *openai, *ratio, *image_size;
} sizes[] = {
    {"1024x1024", "1:1",  "1K" },
    {"1536x1024", "3:2",  "1K" },
    {"1024x1536", "2:3",  "1K" },
    {"1792x1024", "16:9", "1K" },
    {"1024x1792", "9:16", "1K" },
    {"512x512",   "1:1",  "512"},
    {"256x256",   "1:1",  "512"},
};

/* Which imageSize a model takes, "" = none, and whether it paints stripes; the first that fits. */
typedef struct model_row_t {
    const char *prefix, *takes;
    int stripes;
} model_row_t;

static const model_row_t models[] = {
    {"gemini-2",                    "",              0},
    {"gemini-3-pro-image",          "1K|2K|4K",      0},
    {"gemini-3.1-flash-lite-image", "512|1K",        1},
    {"gemini-3.1-flash-image",      "512|1K|2K|4K",  1},
    {"",                            "1K|2K|4K",      1},
};
/* clang-format on */

#define N_OF(table) (sizeof(table) / sizeof((table)[0]))

static const model_row_t *model_row(const char *model)
{
    const model_row_t *row = models;

    while (strncmp(model, row->prefix, strlen(row->prefix)) != 0) {
        row++;
    }
    return row;
}

/* ---- sizes ---- */

static const gb_openai_ratio_t *ratio_find(const char *name)
{
    size_t i;

    for (i = 0; i < N_OF(ratios); i++) {
        if (strcmp(ratios[i].name, name) == 0) {
            return &ratios[i];
        }
    }
    return NULL;
}

static int is_stripe(const gb_openai_ratio_t *ratio)
{
    return ratio->width >= 4 * ratio->height || ratio->height >= 4 * ratio->width;
}

static const gb_openai_ratio_t *ratio_nearest(int width, int height, int stripes)
{
    const gb_openai_ratio_t *best = &ratios[0];
    double wanted = log((double)width / height), distance, least = 1e9;
    size_t i;

    for (i = 0; i < N_OF(ratios); i++) {
        distance = fabs(wanted - log((double)ratios[i].width / ratios[i].height));
        if (distance < least && (stripes || !is_stripe(&ratios[i]))) {
            least = distance;
            best = &ratios[i];
        }
    }
    return best;
}

static const char *size_class(int side)
{
    return side <= 768 ? "512" : side <= 1600 ? "1K" : side <= 3200 ? "2K" : "4K";
}

static apr_status_t size_read(gb_openai_call_t *call, gb_openai_images_t *images)
{
    const char *text = gb_openai_text(images->size, call->pool);
    int width = 0, height = 0, end = 0;
    size_t i;

    if (text == NULL || strcmp(text, "auto") == 0) {
        return APR_SUCCESS;
    }
    for (i = 0; i < N_OF(sizes); i++) {
        if (strcmp(sizes[i].openai, text) == 0) {
            images->ratio = ratio_find(sizes[i].ratio);
            images->image_size = sizes[i].image_size;
            return APR_SUCCESS;
        }
    }
    if (strlen(text) > 11 || sscanf(text, "%5dx%5d%n", &width, &height, &end) != 2
        || text[end] != '\0' || width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE) {
        return gb_error_set(call->err, 400, "invalid_value", "size",
                            "Invalid value for 'size': expected auto or WIDTHxHEIGHT, as "
                            "1024x1024, 1536x1024, 1024x1536, 1792x1024 or 1024x1792.");
    }
    images->ratio = ratio_nearest(width, height, 1);
    images->image_size = size_class(width > height ? width : height);
    return APR_SUCCESS;
}

/* A model that does not know the size class gets the next one that it knows, or none. */
static const char *image_size_for(const char *model, const char *wanted)
{
    const char *takes = model_row(model)->takes;

    if (wanted == NULL || *takes == '\0') {
        return NULL;
    }
    return strstr(takes, wanted) != NULL ? wanted : "1K";
}

/* The same for ratios. */
static const gb_openai_ratio_t *ratio_for(const char *model, const gb_openai_ratio_t *wanted)
{
    return wanted == NULL || model_row(model)->stripes
               ? wanted
               : ratio_nearest(wanted->width, wanted->height, 0);
}

/* ---- the prompt ---- */

static apr_status_t mark_refuse(gb_openai_call_t *call, const char *param, const char *wanted)
{
    return gb_error_set(call->err, 400, "invalid_value", param,
                        "Invalid value in '%s': expected %s.", param, wanted);
}

/* The length of "{n:2}" or "{ratio:16:9}" at text, 0 when none stands there; value gets its value. */
static size_t mark_at(const char *text, const char *name, const char *charset, char *value,
                      size_t room)
{
    size_t head = strlen(name), n;

    if (*text != '{' || strncmp(text + 1, name, head) != 0 || text[1 + head] != ':') {
        return 0;
    }
    text += head + 2;
    n = strspn(text, charset);
    if (n == 0 || n >= room || text[n] != '}') {
        return 0;
    }
    memcpy(value, text, n);
    value[n] = '\0';
    return head + n + 3;
}

apr_status_t gb_openai_image_marks(gb_openai_call_t *call, const char **text, int *count,
                                   const gb_openai_ratio_t **ratio, const char *param)
{
    char *clean = apr_pstrdup(call->pool, *text), *to = clean, value[16];
    const char *from = *text;
    size_t n;

    while (*from != '\0') {
        if ((n = mark_at(from, "n", "0123456789", value, sizeof(value))) > 0) {
            *count = atoi(value);
            if (*count < 1 || *count > MAX_COUNT) {
                return mark_refuse(call, param, "{n:1} to {n:4}");
            }
        }
        else if ((n = mark_at(from, "ratio", "0123456789:", value, sizeof(value))) > 0) {
            if ((*ratio = ratio_find(value)) == NULL) {
                return mark_refuse(call, param,
                                   "a ratio as {ratio:16:9}, {ratio:1:1} or {ratio:3:4}");
            }
        }
        else {
            *to++ = *from++;
            continue;
        }
        from += n;
    }
    while (to > clean && to[-1] == ' ') {
        to--;
    }
    *to = '\0';
    *text = clean;
    return APR_SUCCESS;
}

static apr_status_t prompt_read(gb_openai_call_t *call, gb_openai_images_t *images)
{
    apr_status_t rv;

    if (gb_openai_empty(images->prompt)) {
        return gb_openai_param_missing(call, "prompt");
    }
    if (images->prompt.len > MAX_PROMPT) {
        return gb_error_set(call->err, 400, "string_above_max_length", "prompt",
                            "Invalid 'prompt': it is longer than %d bytes.", MAX_PROMPT);
    }
    images->text = gb_openai_text(images->prompt, call->pool);
    rv = gb_openai_image_marks(call, &images->text, &images->count, &images->ratio, "prompt");
    return rv == APR_SUCCESS && *images->text == '\0' ? gb_openai_param_missing(call, "prompt")
                                                      : rv;
}

/* ---- the upstream call ---- */

static void image_config_put(gb_openai_call_t *call, const gb_openai_images_t *images,
                             gb_buf_t *out)
{
    const char *size = image_size_for(call->plan->model_used, images->image_size);
    const gb_openai_ratio_t *ratio = ratio_for(call->plan->model_used, images->ratio);

    if (call->dropped & GB_OPENAI_DROP_IMAGE_SIZE) {
        size = NULL;
    }
    if (ratio == NULL && size == NULL) {
        return;
    }
    gb_buf_puts(out, ",\"imageConfig\":{");
    if (ratio != NULL) {
        gb_buf_printf(out, "\"aspectRatio\":\"%s\"%s", ratio->name, size ? "," : "");
    }
    if (size != NULL) {
        gb_buf_printf(out, "\"imageSize\":\"%s\"", size);
        call->sent |= GB_OPENAI_DROP_IMAGE_SIZE;
    }
    gb_buf_putc(out, '}');
}

/* The pictures of an edit come before the words. */
static void files_put(const gb_openai_images_t *images, gb_openai_pieces_t *pieces)
{
    int i, masked = 0;

    for (i = 0; images->files != NULL && i < images->files->nelts; i++) {
        const gb_openai_file_t *file = &APR_ARRAY_IDX(images->files, i, gb_openai_file_t);

        gb_openai_pieces_file(pieces, gb_openai_file_type(file), file->bytes);
        gb_buf_putc(&pieces->text, ',');
        masked |= strcmp(file->field, "mask") == 0;
    }
    if (masked) {
        gb_buf_puts(&pieces->text,
                    "{\"text\":\"The last picture is a mask for the first one: change "
                    "only what is transparent in it.\"},");
    }
}

/* Models before 2.5 only paint while they talk. */
static apr_status_t gemini_body_put(gb_openai_call_t *call, gb_openai_pieces_t *pieces)
{
    const gb_openai_images_t *images = call->own;
    gb_buf_t *out = &pieces->text;

    gb_buf_puts(out, "{\"contents\":[{\"role\":\"user\",\"parts\":[");
    files_put(images, pieces);
    gb_buf_puts(out, "{\"text\":");
    gb_json_put_cstr(out, images->text);
    gb_buf_printf(out, "}]}],\"generationConfig\":{\"responseModalities\":[%s\"IMAGE\"]",
                  gb_model_at_least(&call->model, 2, 5) ? "" : "\"TEXT\",");
    image_config_put(call, images, out);
    gb_buf_putc(out, '}');
    return gb_openai_around_put(call, out);
}

static apr_status_t body_make(gb_openai_call_t *call)
{
    const gb_openai_images_t *images = call->own;
    gb_openai_pieces_t pieces;
    apr_status_t rv;

    call->sent = 0;
    gb_openai_pieces_begin(&pieces, call);
    rv = call->model.is_imagen ? gb_openai_imagen_put(&pieces.text, images->text, images->count,
                                                      images->ratio, images->image_size)
                               : gemini_body_put(call, &pieces);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (images->files != NULL) {
        return gb_openai_pieces_end(&pieces);
    }
    call->plan->body = pieces.text.data;
    call->plan->body_len = pieces.text.len;
    return APR_SUCCESS;
}

/* Path, calls and body for the model as it stands now. */
static apr_status_t call_plan(gb_openai_call_t *call)
{
    const gb_openai_images_t *images = call->own;
    gb_plan_t *plan = call->plan;

    plan->path = apr_pstrcat(call->pool, "/models/", plan->model_used,
                             call->model.is_imagen ? ":predict" : ":generateContent", NULL);
    plan->fan_out = call->model.is_imagen ? 1 : images->count;
    plan->partial = plan->fan_out > 1;
    return body_make(call);
}

/* ---- the request ---- */

/* Imagen does not edit: configured, it gives way; named by the client, it is refused. */
static apr_status_t edit_model_settle(gb_openai_call_t *call, const gb_openai_images_t *images)
{
    gb_plan_t *plan = call->plan;

    if (gb_json_eq(images->model, plan->model_used)) {
        return gb_error_set(call->err, 400, "unsupported_value", "model",
                            "The model '%.90s' does not edit pictures: name a Gemini image model.",
                            plan->model);
    }
    apr_cpystrn(plan->model_used, gb_feature_image_model(call->request.memory),
                sizeof(plan->model_used));
    gb_model_parse(&call->model, plan->model_used);
    return APR_SUCCESS;
}

static apr_status_t model_settle(gb_openai_call_t *call, const gb_openai_images_t *images)
{
    static const char *const openai[] = {"dall-e-", "gpt-image-", "chatgpt-image-", NULL};
    apr_status_t rv = gb_openai_model_settle(call, images->model,
                                             call->settings->create_image_model, openai);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (call->model.is_imagen && images->files != NULL) {
        return edit_model_settle(call, images);
    }
    if (call->model.is_imagen) {
        call->plan->other_model = gb_feature_image_model(call->request.memory);
        call->plan->fan_out_later = images->count;
        call->instead = call_plan;
    }
    return APR_SUCCESS;
}

static apr_status_t values_read(gb_openai_call_t *call, gb_openai_images_t *images)
{
    apr_int64_t n = 1;
    apr_status_t rv;

    gb_json_int(images->n, &n);
    images->count = (int)n;
    images->wants_url = gb_json_eq(images->response_format, "url");
    if (gb_json_eq(images->background, "transparent")) {
        return gb_error_set(call->err, 400, "unsupported_value", "background",
                            "Gemini's pictures have no transparency: 'background' can be opaque "
                            "or auto.");
    }
    if ((rv = size_read(call, images)) != APR_SUCCESS) {
        return rv;
    }
    if (images->image_size == NULL
        && (gb_json_eq(images->quality, "high") || gb_json_eq(images->quality, "hd"))) {
        images->image_size = "2K";
    }
    return prompt_read(call, images);
}

/* All is read: what goes up, and how the answer looks. */
static apr_status_t images_plan(gb_openai_call_t *call, gb_openai_images_t *images)
{
    gb_plan_t *plan = call->plan;
    apr_status_t rv;

    if ((rv = values_read(call, images)) != APR_SUCCESS
        || (rv = model_settle(call, images)) != APR_SUCCESS) {
        return rv;
    }
    plan->method = "POST";
    plan->content_type = "application/json";
    plan->operation = "images";
    plan->expects_content = 1;
    plan->paid = 1;
    plan->stream = gb_openai_flag(images->stream);
    plan->answer_type = plan->stream ? "text/event-stream; charset=utf-8" : "application/json";
    call->remake = body_make;
    if (images->wants_url) {
        gb_plan_hosts(plan, &call->request);
    }
    return call_plan(call);
}

apr_status_t gb_openai_images(gb_openai_call_t *call)
{
    gb_openai_images_t *images = apr_pcalloc(call->pool, sizeof(*images));
    apr_status_t rv = gb_openai_params_read(
        call, gb_json_root(call->request.body, call->request.body_len), params, N_OF(params),
        images);

    call->own = images;
    return rv == APR_SUCCESS ? images_plan(call, images) : rv;
}

/* ---- edits ---- */

/* Pictures in their order, the mask behind them; everything else is no picture of ours. */
static apr_status_t files_check(gb_openai_call_t *call, gb_openai_images_t *images,
                                const apr_array_header_t *files)
{
    apr_array_header_t *kept = apr_array_make(call->pool, files->nelts, sizeof(gb_openai_file_t));
    static const char *const fields[] = {"image", "mask"};
    int f, i, counts[2] = {0, 0};

    for (f = 0; f < 2; f++) {
        for (i = 0; i < files->nelts; i++) {
            const gb_openai_file_t *file = &APR_ARRAY_IDX(files, i, gb_openai_file_t);
            const char *type = gb_openai_file_type(file);

            if (strcmp(file->field, fields[f]) != 0) {
                continue;
            }
            if (type == NULL || strncmp(type, "image/", 6) != 0) {
                return gb_error_set(call->err, 400, "invalid_image_format", fields[f],
                                    "The file '%.100s' in '%s' is no picture that Gemini reads: "
                                    "send PNG, JPEG, WebP, GIF, HEIC or HEIF.",
                                    file->name, fields[f]);
            }
            APR_ARRAY_PUSH(kept, gb_openai_file_t) = *file;
            counts[f]++;
        }
    }
    images->files = kept;
    if (counts[0] == 0) {
        return gb_openai_param_missing(call, "image");
    }
    if (counts[0] > MAX_FILES || counts[1] > 1) {
        return gb_error_set(call->err, 400, "array_above_max_length", fields[counts[1] > 1],
                            "Too many files: at most %d in 'image' and one in 'mask' are taken.",
                            MAX_FILES);
    }
    return APR_SUCCESS;
}

apr_status_t gb_openai_images_edit(gb_openai_call_t *call)
{
    gb_openai_images_t *images = apr_pcalloc(call->pool, sizeof(*images));
    apr_array_header_t *files;
    apr_status_t rv = gb_openai_form_read(call, params, N_OF(params), images, &files);

    call->own = images;
    if (rv != APR_SUCCESS || (rv = files_check(call, images, files)) != APR_SUCCESS) {
        return rv;
    }
    return images_plan(call, images);
}
