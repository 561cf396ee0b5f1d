/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a request body, the one thing for which a request holds its worker.
 * Up to 1 MiB it stays in memory; more goes to an unlinked temporary file that
 * is mapped, so that many large prompts do not add up in the heap.  Both belong
 * to the exchange, which may outlive the request.
 */
#include "core.h"

#include "http_protocol.h"
#include "util_filter.h"
#include "apr_file_io.h"
#include "apr_mmap.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define IN_MEMORY (1024 * 1024)
#define BODY_MAX  ((apr_off_t)100 * 1024 * 1024)

typedef struct body_t {
    gb_buf_t buf;
    apr_file_t *file; /* NULL while it fits into memory */
    apr_off_t len, max;
    int is_own_max;  /* of this endpoint, not of the server */
    int refused;     /* httpd's own status for what it does not take */
    gb_form_t *form; /* is read along; NULL: the body is none */
    apr_pool_t *pool;
} body_t;

static apr_off_t body_max(request_rec *r)
{
    apr_off_t max = core_conf_get(r->server)->max_body;

    return max == CORE_UNSET ? BODY_MAX : max;
}

static apr_status_t too_large(gb_error_t *err, const body_t *body)
{
    return gb_error_set(err, HTTP_REQUEST_ENTITY_TOO_LARGE, "request_too_large", NULL,
                        body->is_own_max ? "A body here has at most %" APR_OFF_T_FMT " bytes."
                                         : "The request body is larger than the %" APR_OFF_T_FMT
                                           " bytes that this server takes (GBalanceMaxBody).",
                        body->max);
}

static apr_status_t spill(body_t *body)
{
    const char *dir;
    char *name;
    apr_status_t rv = apr_temp_dir_get(&dir, body->pool);

    if (rv == APR_SUCCESS) {
        name = apr_pstrcat(body->pool, dir, "/gbalance-body-XXXXXX", NULL);
        rv = apr_file_mktemp(&body->file, name,
                             APR_FOPEN_CREATE | APR_FOPEN_READ | APR_FOPEN_WRITE | APR_FOPEN_EXCL,
                             body->pool);
    }
    if (rv == APR_SUCCESS) {
        apr_file_remove(name, body->pool); /* at once: a child that is killed leaves nothing */
        rv = apr_file_write_full(body->file, body->buf.data, body->buf.len, NULL);
        gb_buf_free(&body->buf);
    }
    return rv;
}

static apr_status_t take(body_t *body, const char *bytes, apr_size_t len, gb_error_t *err)
{
    apr_status_t rv = APR_SUCCESS;

    body->len += (apr_off_t)len;
    if (body->len > body->max) {
        return too_large(err, body);
    }
    if (body->form) {
        gb_form_feed(body->form, bytes, len); /* what is wrong is told at the end */
    }
    if (!body->file && body->len > IN_MEMORY) {
        rv = spill(body);
    }
    if (rv == APR_SUCCESS) {
        rv = body->file ? apr_file_write_full(body->file, bytes, len, NULL)
                        : gb_buf_append(&body->buf, bytes, len);
    }
    if (rv != APR_SUCCESS) {
        gb_error_set(
            err, HTTP_INTERNAL_SERVER_ERROR, "storage_error", NULL,
            "The server could not keep the request body (is its temporary directory full?).");
    }
    return rv;
}

static apr_status_t take_brigade(body_t *body, apr_bucket_brigade *bb, int *eos, gb_error_t *err)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        const char *bytes;
        apr_size_t len;
        apr_status_t rv;

        if (APR_BUCKET_IS_EOS(b)) {
            *eos = 1;
            break;
        }
        if (APR_BUCKET_IS_METADATA(b)) {
            continue;
        }
        rv = apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ);
        if (rv == APR_SUCCESS) {
            rv = take(body, bytes, len, err);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

/* ---- what httpd itself refuses ---- */

static ap_filter_rec_t *keeper; /* set at every start */

/*
 * A body that is badly framed, or larger than LimitRequestBody, httpd answers with a
 * page of its own while it is being read, past the handler.  The page is kept back:
 * the handler tells it in the caller's form.
 */
static apr_status_t keep_back(ap_filter_t *f, apr_bucket_brigade *bb)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (AP_BUCKET_IS_ERROR(b)) {
            *(int *)f->ctx = ((ap_bucket_error *)b->data)->status;
            f->r->eos_sent = 0; /* the end of the page went with it */
            apr_brigade_cleanup(bb);
            return AP_FILTER_ERROR;
        }
    }
    return ap_pass_brigade(f->next, bb);
}

void core_body_hooks(void)
{
    keeper = ap_register_output_filter("GBALANCE_BODY", keep_back, NULL, AP_FTYPE_RESOURCE);
}

ap_filter_t *core_body_keep_back(request_rec *r, int *refused)
{
    return ap_add_output_filter_handle(keeper, refused, r, r->connection);
}

apr_status_t core_body_fault(gb_error_t *err, apr_status_t rv, int refused)
{
    if (APR_STATUS_IS_TIMEUP(rv)) {
        return gb_error_set(err, HTTP_REQUEST_TIME_OUT, "timeout", NULL,
                            "The request body did not arrive in time.");
    }
    if (refused == HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return gb_error_set(err, HTTP_REQUEST_ENTITY_TOO_LARGE, "request_too_large", NULL,
                            "The request body is larger than LimitRequestBody allows.");
    }
    return gb_error_set(err, HTTP_BAD_REQUEST, NULL, NULL,
                        "The request body broke off or is not well framed.");
}

static apr_status_t read_all(request_rec *r, body_t *body, gb_error_t *err)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    ap_filter_t *filter = core_body_keep_back(r, &body->refused);
    apr_status_t rv = APR_SUCCESS;
    int eos = 0;

    while (rv == APR_SUCCESS && !eos) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 64 * 1024);
        if (rv != APR_SUCCESS) {
            core_body_fault(err, rv, body->refused);
        }
        else {
            rv = take_brigade(body, bb, &eos, err);
        }
        apr_brigade_cleanup(bb);
    }
    ap_remove_output_filter(filter);
    return rv;
}

static apr_status_t map(body_t *body, const char **pbody, gb_error_t *err)
{
    apr_mmap_t *mm;
    apr_status_t rv = apr_mmap_create(&mm, body->file, 0, (apr_size_t)body->len, APR_MMAP_READ,
                                      body->pool);

    if (rv != APR_SUCCESS) {
        return gb_error_set(err, HTTP_INTERNAL_SERVER_ERROR, "storage_error", NULL,
                            "The server could not map the request body.");
    }
    *pbody = mm->mm;
    return APR_SUCCESS;
}

static apr_status_t check_headers(request_rec *r, const body_t *body, gb_error_t *err)
{
    const char *encoding = apr_table_get(r->headers_in, "Content-Encoding");
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t announced;

    if (encoding && *encoding && strcasecmp(encoding, "identity") != 0) {
        return gb_error_set(err, HTTP_UNSUPPORTED_MEDIA_TYPE, NULL, NULL,
                            "Content-Encoding \"%s\" is not supported: send the body as it is.",
                            encoding);
    }
    if (length && apr_strtoff(&announced, length, NULL, 10) == APR_SUCCESS
        && announced > body->max) {
        r->connection->keepalive = AP_CONN_CLOSE;
        return too_large(err, body);
    }
    return APR_SUCCESS;
}

/*
 * httpd drops what is left of a body by itself where the connection goes on.  An
 * HTTP/2 stream never does: mod_http2 resets it when it was answered before its
 * body had come, and the client never sees the answer.  So it is read, also when it
 * is somewhat larger than what is taken.
 */
static void drop_from_stream(request_rec *r)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_off_t left = body_max(r) + BODY_MAX, len = 0;
    int eos = 0;

    while (!eos && left > 0
           && ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 64 * 1024)
                  == APR_SUCCESS
           && !APR_BRIGADE_EMPTY(bb)) {
        eos = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
        apr_brigade_length(bb, 1, &len);
        left -= len;
        apr_brigade_cleanup(bb);
    }
}

static apr_status_t body_get(request_rec *r, body_t *body, const char **pbody, apr_size_t *plen,
                             gb_error_t *err)
{
    apr_off_t max = body_max(r), own = body->max;
    apr_status_t rv;

    body->is_own_max = own && own < max;
    body->max = body->is_own_max ? own : max;
    gb_buf_init_pool(&body->buf, IN_MEMORY + 1, body->pool);
    rv = check_headers(r, body, err);
    if (rv == APR_SUCCESS) {
        rv = read_all(r, body, err);
        if (rv != APR_SUCCESS) {
            r->connection->keepalive = AP_CONN_CLOSE; /* what follows is the rest of the body */
        }
    }
    if (rv != APR_SUCCESS) {
        if (r->connection->master) {
            drop_from_stream(r);
        }
        return rv;
    }
    *plen = (apr_size_t)body->len;
    *pbody = body->buf.data ? body->buf.data : "";
    return body->file ? map(body, pbody, err) : APR_SUCCESS;
}

apr_status_t core_body_read(request_rec *r, const char **pbody, apr_size_t *plen, apr_off_t max,
                            gb_error_t *err, apr_pool_t *pool)
{
    body_t *body = apr_pcalloc(pool, sizeof(*body));

    body->pool = pool;
    body->max = max;
    return body_get(r, body, pbody, plen, err);
}

apr_status_t core_body_read_form(request_rec *r, gb_request_t *req, gb_error_t *err,
                                 apr_pool_t *pool)
{
    body_t *body = apr_pcalloc(pool, sizeof(*body));
    apr_status_t rv;

    body->pool = pool;
    body->form = gb_form_make(req->content_type, pool);
    if (!body->form) {
        core_body_drop(r);
        return gb_error_set(err, HTTP_BAD_REQUEST, NULL, NULL,
                            "The Content-Type of the form has no boundary that can be one (1 to 70 "
                            "characters).");
    }
    rv = body_get(r, body, &req->body, &req->body_len, err);
    if (rv == APR_SUCCESS && gb_form_end(body->form) != APR_SUCCESS) {
        rv = gb_error_set(err, HTTP_BAD_REQUEST, NULL, NULL, "The form cannot be read. %s",
                          gb_form_fault(body->form));
    }
    req->body_mapped = body->file != NULL;
    req->form = gb_form_parts(body->form);
    return rv;
}

void core_body_drop(request_rec *r)
{
    if (r->connection->master) {
        drop_from_stream(r);
        return;
    }
    if (r->expecting_100) {
        r->connection->keepalive = AP_CONN_CLOSE; /* a stranger's body is not asked for */
    }
    ap_discard_request_body(r);
}
