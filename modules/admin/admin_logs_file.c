/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/logs/errors/export and /api/logs/requests/export: what the filters of the
 * page leave, as CSV for spreadsheets or as lines of JSON; the newest rows, so
 * many that a process can hold them.
 */
#include "admin_logs.h"

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define ROWS_MAX 10000

typedef struct file_t {
    gb_log_table_t table;
    gb_log_filter_t filter;
    gb_log_cursor_t from;
    gb_log_page_t page;
} file_t;

static apr_status_t file_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    file_t *file = baton;

    return gb_logs_list(&file->page, db, file->table, &file->filter, file->from, GB_LOG_PAGE_MAX,
                        p);
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

static void put_head(gb_buf_t *out)
{
    size_t i;

    for (i = 0; i < N_CELLS; i++) {
        gb_buf_printf(out, "%s%s", i ? "," : "", cells[i].name);
    }
    gb_buf_puts(out, "\r\n");
}

/* 0: the database is away, which page says. */
static int read_batch(admin_page_t *page, file_t *asked, gb_log_page_t *batch)
{
    gb_job_t *job = admin_job(page, file_job, 0);
    file_t *file = apr_pmemdup(admin_job_pool(job), asked, sizeof(*asked));

    admin_log_filter(&file->filter, page, file->table, admin_job_pool(job));
    if (admin_job_run(page, job, file) != APR_SUCCESS) {
        return 0;
    }
    *batch = file->page;
    asked->from = file->page.next;
    return 1;
}

int admin_file_send(admin_page_t *page, const char *type, const char *name, const gb_buf_t *text)
{
    request_rec *r = page->r;

    ap_set_content_type(r, type);
    apr_table_setn(r->headers_out, "Content-Disposition",
                   apr_pstrcat(r->pool, "attachment; filename=\"", name, "\"", NULL));
    ap_set_content_length(r, (apr_off_t)text->len);
    if (text->len) {
        ap_rwrite(text->data, (int)text->len, r);
    }
    return DONE;
}

static int export_logs(admin_page_t *page, json_t **out)
{
    int is_requests = strcmp(page->named, "requests") == 0, rows = 0, i;
    const char *format = admin_arg(page, "format");
    int is_csv = !format || strcmp(format, "csv") == 0;
    gb_log_page_t batch;
    gb_buf_t text;
    file_t asked;

    (void)out;
    if (!is_requests && strcmp(page->named, "errors") != 0) {
        return admin_refuse(page, HTTP_NOT_FOUND, NULL, "There are logs of errors and requests.");
    }
    memset(&asked, 0, sizeof(asked));
    asked.table = is_requests ? GB_LOG_REQUESTS : GB_LOG_ERRORS;
    gb_buf_init_pool(&text, GB_BUF_MAX_ANSWER, page->r->pool);
    if (is_csv) {
        put_head(&text);
    }
    do {
        if (!read_batch(page, &asked, &batch)) {
            return page->status;
        }
        for (i = 0; i < batch.n; i++) {
            (is_csv ? put_csv : put_json)(&text, &batch.rows[i]);
        }
        rows += batch.n;
    } while (batch.more && rows < ROWS_MAX);
    return admin_file_send(
        page, is_csv ? "text/csv; charset=utf-8" : "application/x-ndjson",
        apr_pstrcat(page->r->pool, page->named, is_csv ? ".csv" : ".jsonl", NULL), &text);
}

const admin_route_t admin_logs_file_routes[] = {
    {"/api/logs/?/export", M_GET, NULL, NULL, NULL, export_logs, 0},
    {NULL,                 0,     NULL, NULL, NULL, NULL,        0},
};
