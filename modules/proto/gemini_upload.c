/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a resumable upload, the one call of the upload addresses whose
 * body is small: a description of the file goes up, a session comes back.  The
 * file's own bytes never pass here.
 */
#include "proto/gemini_int.h"

#include <string.h>

#include <apr_strings.h>

struct gb_translator_t {
    gb_facts_t *facts;
};

/* "/files", or a method of something that takes files: "/fileSearchStores/s:uploadTo..." */
static int is_place(const char *path)
{
    static const char *const letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t len;
    int colons = 0;

    if (strcmp(path, GB_UPLOAD_FILES) == 0) {
        return 1;
    }
    while (*path == '/' || *path == ':') {
        colons += *path == ':';
        len = strspn(++path, letters);
        if (len == 0) {
            return 0;
        }
        path += len;
    }
    return *path == '\0' && colons == 1;
}

static apr_status_t upload_parse(gb_plan_t **pplan, const gb_request_t *request,
                                 const gb_settings_t *settings, gb_error_t *err, apr_pool_t *p)
{
    const char *args = request->args != NULL && *request->args != '\0' ? request->args : NULL;
    gb_plan_t *plan;

    (void)settings;
    if (!is_place(request->path)) {
        return gb_error_set(err, 404, "unknown_url", NULL,
                            "Files are uploaded by POST to /upload/v1beta/files, or into "
                            "/upload/v1beta/fileSearchStores/...:uploadToFileSearchStore.");
    }
    if (strcmp(request->method, "POST") != 0) {
        gb_error_set(err, 405, "method_not_allowed", NULL,
                     "Files are uploaded by POST to /upload/v1beta/files.");
        err->allow = "POST";
        return APR_EGENERAL;
    }
    plan = gb_plan_make(&gb_gemini_upload_dialect, p);
    plan->path = apr_pstrcat(p, request->path, args != NULL ? "?" : NULL, args, NULL);
    gb_gemini_name_in_path(plan, request->path);
    plan->upload = 1;
    plan->operation = "upload";
    plan->body = request->body;
    plan->body_len = request->body_len;
    plan->content_type = request->content_type != NULL ? request->content_type : "application/json";
    *pplan = plan;
    return APR_SUCCESS;
}

static gb_translator_t *upload_start(gb_plan_t *plan, const char *content_type, gb_facts_t *facts)
{
    gb_translator_t *t = apr_pcalloc(plan->pool, sizeof(*t));

    (void)content_type;
    t->facts = facts;
    return t;
}

static apr_status_t upload_chunk(gb_translator_t *t, const char *bytes, size_t len, gb_buf_t *out)
{
    (void)t;
    return gb_buf_append(out, bytes, len);
}

/* The answer is in its headers. */
static apr_status_t upload_end(gb_translator_t *t, gb_buf_t *out)
{
    (void)out;
    t->facts->finished = 1;
    return APR_SUCCESS;
}

const gb_dialect_t gb_gemini_upload_dialect = {
    .name = "gemini",
    .error_type = "application/json; charset=UTF-8",
    .parse_request = upload_parse,
    .start = upload_start,
    .on_chunk = upload_chunk,
    .on_end = upload_end,
    .error_body = gb_gemini_error_body,
};
