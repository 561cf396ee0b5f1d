/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content parts: text, pictures, sound, films and files as Gemini parts.
 * Strings go over by byte range; base64 is checked, never decoded.  A picture
 * by URL is asked for in plan->fetches and put in when it came; the fetching
 * itself (and what addresses it refuses) is the engine's.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "base/base64.h"

/* Where the part stands, for refusals. */
typedef struct place_t {
    gb_openai_turns_t *turns;
    const gb_openai_message_t *message;
    size_t index;       /* of the part */
    int is_part;        /* 0: the content is one string */
    const char *member; /* "image_url", "file" ... */
    gb_span_t body;     /* the part's own member: image_url, file ... */
} place_t;

/* "messages[0].content[1]": made when it is needed, there may be many parts. */
static const char *place_param(const place_t *at)
{
    apr_pool_t *p = at->turns->call->pool;

    return at->is_part
               ? apr_psprintf(p, "messages[%" APR_SIZE_T_FMT "].content[%" APR_SIZE_T_FMT "]",
                              at->message->index, at->index)
               : apr_psprintf(p, "messages[%" APR_SIZE_T_FMT "].content", at->message->index);
}

static apr_status_t refuse(gb_openai_call_t *call, const char *code, const char *param,
                           const char *why)
{
    return gb_error_set(call->err, 400, code, param, "Invalid value for '%s': %s", param, why);
}

/* ---- types ---- */

static const struct {
    const char *extension;
    const char *type;
} extensions[] = {
    {"pdf",  "application/pdf" },
    {"txt",  "text/plain"      },
    {"md",   "text/markdown"   },
    {"html", "text/html"       },
    {"htm",  "text/html"       },
    {"css",  "text/css"        },
    {"csv",  "text/csv"        },
    {"xml",  "text/xml"        },
    {"json", "application/json"},
    {"js",   "text/javascript" },
    {"ts",   "text/plain"      },
    {"py",   "text/x-python"   },
    {"c",    "text/plain"      },
    {"h",    "text/plain"      },
    {"log",  "text/plain"      },
    {"yaml", "text/plain"      },
    {"yml",  "text/plain"      },
    {"rtf",  "text/rtf"        },
    {"png",  "image/png"       },
    {"jpg",  "image/jpeg"      },
    {"jpeg", "image/jpeg"      },
    {"webp", "image/webp"      },
    {"gif",  "image/gif"       },
    {"heic", "image/heic"      },
    {"heif", "image/heif"      },
    {"wav",  "audio/wav"       },
    {"mp3",  "audio/mp3"       },
    {"aac",  "audio/aac"       },
    {"ogg",  "audio/ogg"       },
    {"opus", "audio/ogg"       },
    {"flac", "audio/flac"      },
    {"m4a",  "audio/m4a"       },
    {"mp4",  "video/mp4"       },
    {"mov",  "video/mov"       },
    {"webm", "video/webm"      },
    {"mpeg", "video/mpeg"      },
    {"mpg",  "video/mpg"       },
    {"avi",  "video/avi"       },
    {"wmv",  "video/wmv"       },
    {"3gp",  "video/3gpp"      },
};

/* By what follows the last dot of a name or of a URL's path; NULL when unknown. */
static const char *type_by_name(const char *name, size_t len)
{
    size_t i, dot;
    const char *end = memchr(name, '?', len);

    len = end != NULL ? (size_t)(end - name) : len;
    end = memchr(name, '#', len);
    len = end != NULL ? (size_t)(end - name) : len;
    for (dot = len; dot > 0 && name[dot - 1] != '.'; dot--) {
        if (name[dot - 1] == '/') {
            return NULL;
        }
    }
    if (dot == 0) {
        return NULL;
    }
    for (i = 0; i < sizeof(extensions) / sizeof(*extensions); i++) {
        if (strlen(extensions[i].extension) == len - dot
            && strncasecmp(extensions[i].extension, name + dot, len - dot) == 0) {
            return extensions[i].type;
        }
    }
    return NULL;
}

static const struct {
    const char *bytes;
    size_t at, len;
    const char *type;
} magics[] = {
    {"\x89PNG\r\n\x1a\n", 0, 8, "image/png"      },
    {"\xff\xd8\xff",      0, 3, "image/jpeg"     },
    {"GIF87a",            0, 6, "image/gif"      },
    {"GIF89a",            0, 6, "image/gif"      },
    {"WEBP",              8, 4, "image/webp"     },
    {"ftypheic",          4, 8, "image/heic"     },
    {"ftypheix",          4, 8, "image/heic"     },
    {"ftypmif1",          4, 8, "image/heif"     },
    {"ftypavif",          4, 8, "image/avif"     },
    {"BM",                0, 2, "image/bmp"      },
    {"%PDF-",             0, 5, "application/pdf"},
    {"ftypM4A ",          4, 8, "audio/m4a"      },
    {"ftypqt  ",          4, 8, "video/mov"      },
    {"ftyp",              4, 4, "video/mp4"      }, /* of what is not named before it */
    {"\x1a\x45\xdf\xa3",  0, 4, "video/webm"     },
    {"WAVE",              8, 4, "audio/wav"      },
    {"ID3",               0, 3, "audio/mp3"      },
    {"fLaC",              0, 4, "audio/flac"     },
    {"OggS",              0, 4, "audio/ogg"      },
};

const char *gb_openai_sniff(const char *bytes, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(magics) / sizeof(*magics); i++) {
        if (len >= magics[i].at + magics[i].len
            && memcmp(bytes + magics[i].at, magics[i].bytes, magics[i].len) == 0) {
            return magics[i].type;
        }
    }
    return NULL;
}

static const struct {
    const char *name;
    const char *type;
} synonyms[] = {
    {"image/jpg",       "image/jpeg"},
    {"audio/mpeg",      "audio/mp3" },
    {"audio/x-wav",     "audio/wav" },
    {"video/quicktime", "video/mov" },
};

static void type_put(gb_buf_t *out, const char *type, size_t len)
{
    size_t i;

    for (i = 0; i < sizeof(synonyms) / sizeof(*synonyms); i++) {
        if (strlen(synonyms[i].name) == len && strncasecmp(synonyms[i].name, type, len) == 0) {
            gb_json_put_cstr(out, synonyms[i].type);
            return;
        }
    }
    gb_json_put_str(out, type, len);
}

/* ---- base64 ---- */

/* 1: of the alphabet (standard and URL-safe, as Google's parser takes both); 2: white space. */
static const unsigned char base64_class[256] = {
    ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1, ['+'] = 1,  ['/'] = 1,  ['-'] = 1,
    ['_'] = 1,         ['='] = 3,         [' '] = 2,         ['\n'] = 2, ['\r'] = 2, ['\t'] = 2,
};

/* Copies base64 without white space; 0 when it is none. */
static int base64_put(gb_buf_t *out, const char *text, size_t len)
{
    size_t i, from = 0, digits = 0, pads = 0;

    for (i = 0; i < len; i++) {
        switch (base64_class[(unsigned char)text[i]]) {
        case 0:
            return 0;
        case 1:
            digits++;
            if (pads > 0) {
                return 0;
            }
            break;
        case 2:
            gb_buf_append(out, text + from, i - from);
            from = i + 1;
            break;
        case 3:
            pads++;
            break;
        }
    }
    gb_buf_append(out, text + from, len - from);
    return digits > 0 && pads <= 2 && digits % 4 != 1;
}

void gb_openai_base64_put(gb_buf_t *out, const char *text, size_t len)
{
    if (gb_buf_reserve(out, GB_BASE64_LEN(len)) == APR_SUCCESS) {
        gb_base64(out->data + out->len, text, len);
        out->len += GB_BASE64_LEN(len);
        out->data[out->len] = '\0';
    }
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c | (c >= 'A' ? 0x20 : 0)) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* A data URL's text that is not base64: percent-decoded, then encoded. */
static void percent_to_base64(gb_buf_t *out, const char *text, size_t len, apr_pool_t *p)
{
    char *bytes = apr_palloc(p, len + 1);
    size_t i, n = 0;

    for (i = 0; i < len; i++) {
        if (text[i] == '%' && len - i > 2 && hex_value(text[i + 1]) >= 0
            && hex_value(text[i + 2]) >= 0) {
            bytes[n++] = (char)(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        }
        else {
            bytes[n++] = text[i];
        }
    }
    gb_openai_base64_put(out, bytes, n);
}

/* ---- URLs ---- */

/* The raw inside of a string when it has no escapes, else its decoded text. */
static const char *string_bytes(gb_span_t string, size_t *len, apr_pool_t *p)
{
    if (gb_json_kind(string) != GB_JSON_STRING) {
        return NULL;
    }
    if (memchr(string.p, '\\', string.len) == NULL) {
        *len = string.len - 2;
        return string.p + 1;
    }
    return gb_json_str(string, len, p);
}

static int starts(const char *text, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* Whether ";base64" ends what stands before the comma; browsers take blanks in it. */
static int says_base64(const char *text, size_t len)
{
    if (len < 7 || strncasecmp(text + len - 6, "base64", 6) != 0) {
        return 0;
    }
    for (len -= 6; len > 0 && text[len - 1] == ' '; len--) {
    }
    return len > 0 && text[len - 1] == ';';
}

/* {"mimeType","data"} from "<mime>[;k=v]*[;base64],<data>"; fallback (may be NULL) when no type is
 * told, or the one that says nothing. */
static apr_status_t data_url_put(gb_openai_call_t *call, gb_buf_t *out, const char *text,
                                 size_t len, const char *fallback, const char *param)
{
    const char *comma = memchr(text, ',', len);
    size_t head, type;
    int is_base64, ok = 1;

    if (comma == NULL) {
        return refuse(call, "invalid_value", param, "a data URL needs a comma before its data.");
    }
    head = (size_t)(comma - text);
    for (type = 0; type < head && text[type] != ';'; type++) {
    }
    is_base64 = says_base64(text, head);
    gb_buf_puts(out, "{\"mimeType\":");
    if (fallback != NULL
        && (type == 0 || (type == 24 && starts(text, type, "application/octet-stream")))) {
        gb_json_put_cstr(out, fallback);
    }
    else if (type == 0) {
        gb_json_put_cstr(out, "text/plain");
    }
    else {
        type_put(out, text, type);
    }
    gb_buf_puts(out, ",\"data\":\"");
    if (is_base64) {
        ok = base64_put(out, comma + 1, len - head - 1);
    }
    else {
        percent_to_base64(out, comma + 1, len - head - 1, call->pool);
    }
    gb_buf_puts(out, "\"}");
    return ok ? APR_SUCCESS : refuse(call, "invalid_base64", param, "its data is no valid base64.");
}

static int fetched_by_google(const char *url, size_t len)
{
    static const char *const hosts[] = {
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://m.youtube.com/",
        "https://youtu.be/",
        "gs://",
    };
    size_t i;

    for (i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        if (starts(url, len, hosts[i])) {
            return 1;
        }
    }
    return 0;
}

/* The fetch of that URL, made when there is none yet; NULL when there are too many. */
static gb_fetch_t *fetch_of(gb_openai_call_t *call, const char *url, const char *param)
{
    gb_plan_t *plan = call->plan;
    gb_fetch_t *fetch;
    int i;

    if (plan->fetches == NULL) {
        plan->fetches = apr_array_make(call->pool, 2, sizeof(gb_fetch_t));
    }
    for (i = 0; i < plan->fetches->nelts; i++) {
        fetch = &APR_ARRAY_IDX(plan->fetches, i, gb_fetch_t);
        if (strcmp(fetch->url, url) == 0) {
            return fetch;
        }
    }
    if (plan->fetches->nelts >= GB_OPENAI_MAX_FETCHES) {
        return NULL;
    }
    fetch = apr_array_push(plan->fetches);
    fetch->url = url;
    fetch->param = param;
    return fetch;
}

static apr_status_t fetched_put(gb_openai_call_t *call, gb_buf_t *out, const gb_fetch_t *fetch)
{
    const char *type;

    if (fetch->bytes == NULL) {
        gb_buf_puts(out, "null"); /* this body is not sent */
        return APR_SUCCESS;
    }
    type = gb_openai_sniff(fetch->bytes, fetch->len);
    if (type == NULL) {
        return refuse(call, "invalid_image_url", fetch->param,
                      "what was fetched from this address is no picture, film, sound or PDF.");
    }
    gb_buf_printf(out, "{\"mimeType\":\"%s\",\"data\":\"", type);
    gb_openai_base64_put(out, fetch->bytes, fetch->len);
    gb_buf_puts(out, "\"}");
    return APR_SUCCESS;
}

static int gateway_fetches(const gb_openai_call_t *call)
{
    return call->request.can_fetch && strcmp(call->settings->image_fetch, "gateway") == 0;
}

/* Whether the bytes themselves go into the request: 0 for what Google fetches. */
static int goes_inline(const gb_openai_call_t *call, const char *text, size_t len)
{
    return starts(text, len, "data:")
           || ((starts(text, len, "https://") || starts(text, len, "http://"))
               && !fetched_by_google(text, len) && gateway_fetches(call));
}

static apr_status_t inline_put(gb_openai_call_t *call, gb_buf_t *out, const char *text, size_t len,
                               const char *param)
{
    gb_fetch_t *fetch;

    if (starts(text, len, "data:")) {
        return data_url_put(call, out, text + 5, len - 5, NULL, param);
    }
    fetch = fetch_of(call, apr_pstrmemdup(call->pool, text, len), param);
    if (fetch == NULL) {
        return gb_error_set(call->err, 400, "invalid_image_url", param,
                            "Invalid value for '%s': at most %d addresses are fetched for one "
                            "request. Send the data itself, as data URLs.",
                            param, GB_OPENAI_MAX_FETCHES);
    }
    return fetched_put(call, out, fetch);
}

apr_status_t gb_openai_blob_put(gb_openai_call_t *call, gb_buf_t *out, gb_span_t url,
                                const char *param)
{
    size_t len = 0;
    const char *text = string_bytes(url, &len, call->pool);

    if (text == NULL) {
        return refuse(call, "invalid_type", param, "expected a string with a URL.");
    }
    return goes_inline(call, text, len) ? inline_put(call, out, text, len, param) : APR_NOTFOUND;
}

static void resolution_put(gb_openai_call_t *call, gb_buf_t *out, const char *detail)
{
    const char *level = detail == NULL                ? NULL
                        : strcmp(detail, "low") == 0  ? "LOW"
                        : strcmp(detail, "high") == 0 ? "HIGH"
                                                      : NULL;

    if (level != NULL && gb_model_at_least(&call->model, 3, 0) && !call->model.is_alias
        && !(call->dropped & GB_OPENAI_DROP_RESOLUTION)) {
        gb_buf_printf(out, ",\"mediaResolution\":{\"level\":\"MEDIA_RESOLUTION_%s\"}", level);
        call->sent |= GB_OPENAI_DROP_RESOLUTION;
    }
}

static apr_status_t file_uri_put(gb_openai_turns_t *turns, gb_span_t url, const char *text,
                                 size_t len, const char *param)
{
    const char *type = type_by_name(text, len);
    gb_buf_t *out;

    if (!starts(text, len, "https://") && !starts(text, len, "gs://")) {
        return refuse(turns->call, "invalid_image_url", param,
                      "expected a data URL or an https address.");
    }
    turns->call->refers = 1;
    out = gb_openai_part(turns);
    gb_buf_puts(out, "{\"fileData\":{\"fileUri\":");
    gb_json_put_span(out, url);
    if (type != NULL) {
        gb_buf_puts(out, ",\"mimeType\":");
        gb_json_put_cstr(out, type);
    }
    gb_buf_putc(out, '}');
    return APR_SUCCESS;
}

apr_status_t gb_openai_media_put(gb_openai_turns_t *turns, gb_span_t url, const char *detail,
                                 const char *param)
{
    gb_openai_call_t *call = turns->call;
    size_t len = 0;
    const char *text = string_bytes(url, &len, call->pool);
    apr_status_t rv;

    call->has_media = 1;
    if (text == NULL) {
        return refuse(call, "invalid_type", param, "expected a string with a URL.");
    }
    if (goes_inline(call, text, len)) {
        gb_buf_puts(gb_openai_part(turns), "{\"inlineData\":");
        rv = inline_put(call, turns->out, text, len, param);
    }
    else {
        rv = file_uri_put(turns, url, text, len, param);
    }
    resolution_put(call, turns->out, detail);
    gb_buf_putc(turns->out, '}');
    return rv;
}

/* ---- parts ---- */

static void text_put(gb_openai_turns_t *turns, gb_span_t text)
{
    gb_buf_t *out;

    if (!gb_openai_empty(text)) {
        out = gb_openai_part(turns);
        gb_buf_puts(out, "{\"text\":");
        gb_json_put_span(out, text);
        gb_buf_putc(out, '}');
    }
}

static apr_status_t put_text(place_t *at)
{
    if (gb_json_kind(at->body) != GB_JSON_STRING) {
        return refuse(at->turns->call, "invalid_type", place_param(at), "'text' must be a string.");
    }
    if (at->message->role == GB_OPENAI_ROLE_ASSISTANT) {
        return gb_openai_assistant_text_put(at->turns, at->body);
    }
    text_put(at->turns, at->body);
    return APR_SUCCESS;
}

/* {"url":..,"detail":..}, or the URL alone as some clients send it. */
static apr_status_t put_url(place_t *at)
{
    apr_pool_t *p = at->turns->call->pool;
    gb_span_t url = at->body;
    const char *detail = NULL;

    if (gb_json_kind(url) == GB_JSON_OBJECT) {
        url = gb_openai_member(at->body, "url");
        detail = gb_openai_text(gb_openai_member(at->body, "detail"), p);
    }
    return gb_openai_media_put(at->turns, url, detail,
                               apr_pstrcat(p, place_param(at), ".", at->member, ".url", NULL));
}

static apr_status_t base64_part(place_t *at, const char *type, gb_span_t data)
{
    gb_openai_call_t *call = at->turns->call;
    size_t len = 0;
    const char *text = string_bytes(data, &len, call->pool);
    gb_buf_t *out;
    int ok;

    if (text == NULL) {
        return refuse(call, "invalid_type", place_param(at), "expected base64 in 'data'.");
    }
    call->has_media = 1;
    out = gb_openai_part(at->turns);
    gb_buf_puts(out, "{\"inlineData\":{\"mimeType\":");
    type_put(out, type, strlen(type));
    gb_buf_puts(out, ",\"data\":\"");
    ok = base64_put(out, text, len);
    gb_buf_puts(out, "\"}}");
    return ok ? APR_SUCCESS
              : refuse(call, "invalid_base64", place_param(at), "its data is no valid base64.");
}

static apr_status_t put_audio(place_t *at)
{
    gb_openai_call_t *call = at->turns->call;
    const char *format = gb_openai_text(gb_openai_member(at->body, "format"), call->pool);

    if (format == NULL || *format == '\0' || strlen(format) > 16) {
        return refuse(call, "missing_required_parameter", place_param(at),
                      "'format' must name the audio format, such as wav or mp3.");
    }
    return base64_part(at, apr_pstrcat(call->pool, "audio/", format, NULL),
                       gb_openai_member(at->body, "data"));
}

/* Gemini-style films: {"data","format"} or {"url"}. */
static apr_status_t put_video(place_t *at)
{
    gb_openai_call_t *call = at->turns->call;
    gb_span_t data = gb_openai_member(at->body, "data");
    const char *format;

    if (!gb_openai_there(data)) {
        return put_url(at);
    }
    format = gb_openai_text(gb_openai_member(at->body, "format"), call->pool);
    return base64_part(at, apr_pstrcat(call->pool, "video/", format != NULL ? format : "mp4", NULL),
                       data);
}

/* Google's own ids stand for files that were uploaded through us. */
static apr_status_t put_file_id(place_t *at, const char *id)
{
    gb_openai_call_t *call = at->turns->call;
    const char *name = strncmp(id, "files/", 6) == 0  ? id + 6
                       : strncmp(id, "file-", 5) == 0 ? id + 5
                                                      : NULL;
    gb_buf_t *out;

    if (name == NULL || *name == '\0' || strlen(name) > 64
        || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
               != strlen(name)) {
        return refuse(call, "invalid_value", place_param(at),
                      "'file_id' names no file that was uploaded here.");
    }
    call->has_media = call->refers = 1;
    out = gb_openai_part(at->turns);
    gb_buf_printf(out,
                  "{\"fileData\":{\"fileUri\":"
                  "\"https://generativelanguage.googleapis.com/v1beta/files/%s\"}}",
                  name);
    return APR_SUCCESS;
}

/* A data URL; type is what the file's name says, NULL when it says nothing. */
static apr_status_t file_url_put(place_t *at, const char *type, const char *text, size_t len,
                                 const char *param)
{
    gb_buf_t *out = gb_openai_part(at->turns);
    apr_status_t rv;

    at->turns->call->has_media = 1;
    gb_buf_puts(out, "{\"inlineData\":");
    rv = data_url_put(at->turns->call, out, text, len, type, param);
    gb_buf_putc(out, '}');
    return rv;
}

static apr_status_t put_file(place_t *at)
{
    gb_openai_call_t *call = at->turns->call;
    gb_span_t data = gb_openai_member(at->body, "file_data");
    const char *id = gb_openai_text(gb_openai_member(at->body, "file_id"), call->pool);
    const char *name = gb_openai_text(gb_openai_member(at->body, "filename"), call->pool);
    const char *type, *param;
    size_t len = 0;
    const char *text = string_bytes(data, &len, call->pool);

    if (text == NULL) {
        return id != NULL ? put_file_id(at, id)
                          : refuse(call, "missing_required_parameter", place_param(at),
                                   "a file needs 'file_data' or 'file_id'.");
    }
    param = apr_pstrcat(call->pool, place_param(at), ".file_data", NULL);
    if (starts(text, len, "https://")) {
        return gb_openai_media_put(at->turns, data, NULL, param);
    }
    type = name != NULL ? type_by_name(name, strlen(name)) : NULL;
    if (starts(text, len, "data:")) {
        return file_url_put(at, type, text + 5, len - 5, param);
    }
    if (type == NULL) {
        return refuse(call, "invalid_value", place_param(at),
                      "the type of the file is not known: send a data URL or a filename with a "
                      "known extension.");
    }
    return base64_part(at, type, data);
}

/* Reasoning that comes back is not replayed: signatures are what counts. */
static apr_status_t put_nothing(place_t *at)
{
    (void)at;
    return APR_SUCCESS;
}

static const struct {
    const char *type;
    const char *member;
    apr_status_t (*put)(place_t *at);
} kinds[] = {
    {"text",        "text",        put_text   },
    {"image_url",   "image_url",   put_url    },
    {"input_audio", "input_audio", put_audio  },
    {"file",        "file",        put_file   },
    {"video_url",   "video_url",   put_url    },
    {"input_video", "input_video", put_video  },
    {"refusal",     "refusal",     put_text   },
    {"reasoning",   "reasoning",   put_nothing},
    {"thinking",    "thinking",    put_nothing},
};

static apr_status_t part_put(place_t *at, gb_span_t part)
{
    gb_openai_call_t *call = at->turns->call;
    gb_span_t type = gb_openai_member(part, "type");
    size_t i;

    for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (!gb_json_eq(type, kinds[i].type)) {
            continue;
        }
        at->member = kinds[i].member;
        at->body = gb_openai_member(part, at->member);
        if (!gb_openai_there(at->body) && kinds[i].put != put_nothing) {
            return refuse(call, "missing_required_parameter", place_param(at),
                          apr_psprintf(call->pool, "a part of type '%s' needs '%s'.", kinds[i].type,
                                       kinds[i].member));
        }
        return kinds[i].put(at);
    }
    return refuse(call, "invalid_value", apr_pstrcat(call->pool, place_param(at), ".type", NULL),
                  "supported are text, image_url, input_audio, file, video_url, input_video and "
                  "refusal.");
}

apr_status_t gb_openai_content_put(gb_openai_turns_t *turns, const gb_openai_message_t *message,
                                   gb_span_t content)
{
    gb_openai_call_t *call = turns->call;
    place_t at = {
        turns, message, 0, 0, "", {NULL, 0}
    };
    gb_json_iter_t it;
    apr_status_t rv;

    switch (gb_json_kind(content)) {
    case GB_JSON_NONE:
        return APR_SUCCESS;
    case GB_JSON_STRING:
        at.body = content;
        return put_text(&at);
    case GB_JSON_ARRAY:
        break;
    default:
        return refuse(call, "invalid_type", place_param(&at),
                      "expected a string or an array of parts.");
    }
    for (gb_json_iter(&it, content); gb_json_next(&it);) {
        at.is_part = 1;
        at.index = it.index;
        if (gb_json_kind(it.value) == GB_JSON_STRING) {
            at.body = it.value;
            rv = put_text(&at);
        }
        else {
            rv = part_put(&at, it.value);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}
