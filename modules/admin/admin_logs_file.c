/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/logs/errors/export and /api/logs/requests/export: what the filters of the
 * page leave, as CSV for spreadsheets or as lines of JSON, newest first.  All of
 * it, however much: a batch of rows is read, written and forgotten at a time.
 */
#include "admin_logs.h"

#include "http_protocol.h"
#include "http_request.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

/* A question to the database thread; it lives in its job's pool. */
typedef struct batch_t {
    gb_log_table_t table;
    gb_log_filter_t filter;
    gb_log_cursor_t from;
    gb_log_page_t page;
} batch_t;

static apr_status_t batch_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    batch_t *batch = baton;

    return gb_logs_list(&batch->page, db, batch->table, &batch->filter, batch->from,
                        GB_LOG_PAGE_MAX, p);
}

/* ---- a row ---- */

typedef enum { CELL_TEXT, CELL_INT, CELL_INT64, CELL_COUNT } cell_kind_t;

#define CELL(member, kind)                                                                         \
    {                                                                                              \
#member, kind, offsetof(gb_log_row_t, member)                                              \
    }

/* A count that is not known is left empty. */
static const struct {
    const char *name;
    cell_kind_t kind;
    size_t offset;
} cells[] = {
    CELL(time, CELL_TEXT),
    CELL(at, CELL_INT64),
    CELL(request_id, CELL_TEXT),
    CELL(attempt, CELL_INT),
    CELL(is_final, CELL_INT),
    CELL(surface, CELL_TEXT),
    CELL(operation, CELL_TEXT),
    CELL(is_stream, CELL_INT),
    CELL(model, CELL_TEXT),
    CELL(model_asked, CELL_TEXT),
    CELL(key_id, CELL_TEXT),
    CELL(caller, CELL_TEXT),
    CELL(status, CELL_INT),
    CELL(cls, CELL_TEXT),
    CELL(latency_ms, CELL_COUNT),
    CELL(first_byte_ms, CELL_COUNT),
    CELL(prompt_tokens, CELL_COUNT),
    CELL(completion_tokens, CELL_COUNT),
    CELL(thought_tokens, CELL_COUNT),
    CELL(cached_tokens, CELL_COUNT),
    CELL(error_type, CELL_TEXT),
    CELL(error, CELL_TEXT),
};

#define N_CELLS (sizeof(cells) / sizeof(cells[0]))

/* 0: not known. */
static int cell_number(const gb_log_row_t *row, size_t i, apr_int64_t *n)
{
    const char *member = (const char *)row + cells[i].offset;

    *n = cells[i].kind == CELL_INT ? *(const int *)member : *(const apr_int64_t *)member;
    return cells[i].kind != CELL_COUNT || *n >= 0;
}

static const char *cell_text(const gb_log_row_t *row, size_t i)
{
    const char *text = *(const char *const *)((const char *)row + cells[i].offset);

    return text ? text : "";
}

void admin_csv_cell(gb_buf_t *out, const char *text)
{
    gb_buf_puts(out, *text && strchr("=+-@\t\r", *text) ? "\"'" : "\"");
    for (; *text; text++) {
        gb_buf_puts(out, *text == '"' ? "\"" : "");
        gb_buf_putc(out, *text);
    }
    gb_buf_putc(out, '"');
}

static void put_csv(gb_buf_t *out, const gb_log_row_t *row)
{
    apr_int64_t n;
    size_t i;

    for (i = 0; i < N_CELLS; i++) {
        gb_buf_puts(out, i ? "," : "");
        if (cells[i].kind == CELL_TEXT) {
            admin_csv_cell(out, cell_text(row, i));
        }
        else if (cell_number(row, i, &n)) {
            gb_buf_printf(out, "%" APR_INT64_T_FMT, n);
        }
    }
    gb_buf_puts(out, "\r\n");
}

static void put_json(gb_buf_t *out, const gb_log_row_t *row)
{
    apr_int64_t n;
    size_t i;

    for (i = 0; i < N_CELLS; i++) {
        gb_buf_printf(out, "%s\"%s\":", i ? "," : "{", cells[i].name);
        if (cells[i].kind == CELL_TEXT) {
            gb_json_put_cstr(out, cell_text(row, i));
        }
        else if (cell_number(row, i, &n)) {
            gb_buf_printf(out, "%" APR_INT64_T_FMT, n);
        }
        else {
            gb_buf_puts(out, "null");
        }
    }
    gb_buf_puts(out, "}\n");
}

/* ---- the file ---- */

/* What is being written. */
typedef struct file_t {
    gb_log_table_t table;
    int is_csv, has_begun;
    gb_log_cursor_t from;
    apr_pool_t *p; /* of one batch */
} file_t;

static void put_head(gb_buf_t *out)
{
    size_t i;

    for (i = 0; i < N_CELLS; i++) {
        gb_buf_printf(out, "%s%s", i ? "," : "", cells[i].name);
    }
    gb_buf_puts(out, "\r\n");
}

static void file_headers(request_rec *r, const char *type, const char *name)
{
    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Content-Disposition",
                   apr_pstrcat(r->pool, "attachment; filename=\"", name, "\"", NULL));
}

int admin_file_send(admin_page_t *page, const char *type, const char *name, const gb_buf_t *text)
{
    request_rec *r = page->r;

    file_headers(r, type, name);
    ap_set_content_length(r, (apr_off_t)text->len);
    if (text->len) {
        ap_rwrite(text->data, (int)text->len, r);
    }
    return DONE;
}

/* NULL: the database is away, which page says. */
static const gb_log_page_t *read_batch(admin_page_t *page, file_t *file)
{
    gb_job_t *job = admin_job_in(file->p, batch_job, 0);
    batch_t *batch = apr_pcalloc(admin_job_pool(job), sizeof(*batch));

    batch->table = file->table;
    batch->from = file->from;
    admin_log_filter(&batch->filter, page, file->table, admin_job_pool(job));
    return admin_job_run(page, job, batch) == APR_SUCCESS ? &batch->page : NULL;
}

static void write_batch(admin_page_t *page, file_t *file, const gb_log_page_t *batch)
{
    request_rec *r = page->r;
    gb_buf_t text;
    int i;

    gb_buf_init_pool(&text, GB_BUF_MAX_ANSWER, file->p);
    if (!file->has_begun) {
        file_headers(r, file->is_csv ? "text/csv; charset=utf-8" : "application/x-ndjson",
                     apr_pstrcat(r->pool, page->named, file->is_csv ? ".csv" : ".jsonl", NULL));
        if (file->is_csv) {
            put_head(&text);
        }
        file->has_begun = 1;
    }
    for (i = 0; i < batch->n; i++) {
        (file->is_csv ? put_csv : put_json)(&text, &batch->rows[i]);
    }
    if (text.len) {
        ap_rwrite(text.data, (int)text.len, r);
    }
}

/* A file that ends too early must not look whole: its last chunk is left out, and the connection ends. */
static void cut_off(admin_page_t *page)
{
    request_rec *r = page->r;
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, alloc);

    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  GBLOGNO(4021) "logs: the file with the log of %s was cut off: %s", page->named,
                  page->message);
    page->message = NULL;
    r->connection->keepalive = AP_CONN_CLOSE;
    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    ap_pass_brigade(r->output_filters, bb);
}

static int write_file(admin_page_t *page, file_t *file)
{
    const gb_log_page_t *batch;
    int more;

    do {
        batch = read_batch(page, file);
        if (!batch && !file->has_begun) {
            return page->status;
        }
        if (!batch) {
            cut_off(page);
            return DONE;
        }
        write_batch(page, file, batch);
        file->from = batch->next;
        more = batch->more;
        apr_pool_clear(file->p);
    } while (more && !page->r->header_only && !page->r->connection->aborted);
    return DONE;
}

static int export_logs(admin_page_t *page, json_t **out)
{
    int is_requests = strcmp(page->named, "requests") == 0;
    const char *format = admin_arg(page, "format");
    file_t file;

    (void)out;
    if (!is_requests && strcmp(page->named, "errors") != 0) {
        return admin_refuse(page, HTTP_NOT_FOUND, NULL, "There are logs of errors and requests.");
    }
    memset(&file, 0, sizeof(file));
    file.table = is_requests ? GB_LOG_REQUESTS : GB_LOG_ERRORS;
    file.is_csv = !format || strcmp(format, "csv") == 0;
    apr_pool_create(&file.p, page->r->pool);
    apr_pool_tag(file.p, "gbalance_export");
    return write_file(page, &file);
}

const admin_route_t admin_logs_file_routes[] = {
    {"/api/logs/?/export", M_GET, NULL, NULL, NULL, export_logs, 0},
    {NULL,                 0,     NULL, NULL, NULL, NULL,        0},
};
