/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an exchange's head to httpd's request_rec, answers that we give without
 * an upstream, and what the access log may say about either.
 */
#include "core.h"

#include <stdlib.h>

#include "http_protocol.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

static int add_header(void *r, const char *name, const char *value)
{
    apr_table_add(((request_rec *)r)->headers_out, name, value);
    return 1;
}

/* For one that it has no words for, such as Google's 499, httpd would say 500. */
void core_answer_status(request_rec *r, int status)
{
    r->status = status;
    r->status_line = atoi(ap_get_status_line(status)) == status
                         ? NULL
                         : apr_psprintf(r->pool, "%d Upstream Status", status);
}

void core_answer_begin(request_rec *r, const gb_head_t *head)
{
    core_answer_status(r, head->status);
    ap_set_content_type(r, apr_pstrdup(r->pool, head->content_type));
    if (head->headers) {
        apr_table_do(add_header, r, head->headers, NULL);
    }
    if (core_is_upload(r)) {
        core_upload_answer(r, core_request_get(r)->plan);
    }
    if (head->content_length >= 0) {
        ap_set_content_length(r, (apr_off_t)head->content_length);
    }
    if (strncmp(head->content_type, "text/event-stream", 17) == 0) {
        apr_table_setn(r->headers_out, "Cache-Control", "no-cache");
        apr_table_setn(r->headers_out, "X-Accel-Buffering", "no");
    }
}

static void error_headers(request_rec *r, const gb_error_t *err)
{
    if (err->allow) {
        apr_table_setn(r->headers_out, "Allow", err->allow);
    }
    if (err->retry_after > 0) {
        apr_table_setn(r->headers_out, "Retry-After",
                       apr_psprintf(r->pool, "%" APR_TIME_T_FMT,
                                    apr_time_sec(err->retry_after + APR_USEC_PER_SEC - 1)));
    }
    if (err->should_retry != GB_RETRY_UNSAID) {
        apr_table_setn(r->headers_out, "x-should-retry",
                       err->should_retry == GB_RETRY_YES ? "true" : "false");
    }
    if (err->status == HTTP_UNAUTHORIZED) {
        apr_table_setn(r->headers_out, "WWW-Authenticate", "Bearer realm=\"gbalance\"");
    }
}

/* The error in the dialect's form.  OK: httpd's own error documents stay out of it. */
int core_answer_error(request_rec *r, const gb_dialect_t *dialect, const gb_plan_t *plan,
                      const gb_error_t *err)
{
    gb_buf_t body;

    if (r->connection->master) {
        core_body_drop(r); /* whatever of it was read */
    }
    gb_buf_init_pool(&body, GB_BUF_MAX_ERROR, r->pool);
    dialect->error_body(plan, err, 0, &body);
    core_answer_status(r, err->status);
    ap_set_content_type(r, dialect->error_type);
    error_headers(r, err);
    ap_set_content_length(r, (apr_off_t)body.len);
    apr_table_setn(r->subprocess_env, "GB_OUTCOME", "refused");
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, GBLOGNO(8010) "refused with %d: %s", err->status,
                  err->message);
    if (!r->header_only && body.len) {
        ap_rwrite(body.data, (int)body.len, r);
    }
    return OK;
}

/* What the engine had no time for. */
static apr_status_t finish(request_rec *r, gb_head_t *head, const gb_plan_t *plan)
{
    gb_buf_t made;
    gb_error_t err;

    memset(&err, 0, sizeof(err));
    gb_buf_init_pool(&made, GB_BUF_MAX_ANSWER, r->pool);
    if (plan->finish(plan, head->body, (size_t)head->content_length, &made, &err) != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, GBLOGNO(8011) "req %s: %s",
                      core_request_get(r)->request_id, err.message);
        core_answer_error(r, plan->dialect, plan, &err);
        return APR_EGENERAL;
    }
    head->body = made.data;
    head->content_length = (apr_int64_t)made.len;
    return APR_SUCCESS;
}

void core_answer_whole(request_rec *r, const gb_head_t *head, const gb_plan_t *plan)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb;
    gb_head_t whole = *head;

    if (head->unfinished && finish(r, &whole, plan) != APR_SUCCESS) {
        return;
    }
    core_answer_begin(r, &whole);
    bb = apr_brigade_create(r->pool, alloc);
    APR_BRIGADE_INSERT_TAIL(
        bb, apr_bucket_heap_create(whole.body, (apr_size_t)whole.content_length, NULL, alloc));
    ap_pass_brigade(r->output_filters, bb);
    apr_brigade_cleanup(bb);
}

int core_answer_files(request_rec *r, const gb_request_t *req, const gb_caller_t *caller,
                      const gb_settings_t *settings)
{
    gb_buf_t body;

    gb_buf_init_pool(&body, GB_BUF_MAX_ANSWER, r->pool);
    core_owners_list(&body, req->args, caller, settings);
    ap_set_content_type(r, "application/json; charset=UTF-8");
    ap_set_content_length(r, (apr_off_t)body.len);
    apr_table_setn(r->subprocess_env, "GB_OUTCOME", "remembered");
    ap_rwrite(body.data, (int)body.len, r);
    return OK;
}

/* An answer that needs no call: the translator reads Google's list as it is remembered. */
int core_answer_models(request_rec *r, gb_plan_t *plan, const apr_array_header_t *pages)
{
    gb_facts_t facts;
    gb_translator_t *t;
    gb_buf_t body;
    apr_status_t rv = APR_SUCCESS;
    int i;

    memset(&facts, 0, sizeof(facts));
    gb_buf_init_pool(&body, GB_BUF_MAX_ANSWER, plan->pool);
    t = plan->dialect->start(plan, "application/json", &facts);
    for (i = 0; rv == APR_SUCCESS && i < pages->nelts; i++) {
        gb_span_t page = APR_ARRAY_IDX(pages, i, gb_span_t);

        rv = plan->dialect->on_chunk(t, page.p, page.len, &body);
    }
    if (rv == APR_SUCCESS) {
        rv = plan->dialect->on_end(t, &body);
    }
    if (rv != APR_SUCCESS || !body.len) {
        return DECLINED;
    }
    ap_set_content_type(r, plan->answer_type);
    ap_set_content_length(r, (apr_off_t)body.len);
    apr_table_setn(r->subprocess_env, "GB_OUTCOME", "remembered");
    ap_rwrite(body.data, (int)body.len, r);
    return OK;
}

static void note_number(request_rec *r, const char *name, apr_int64_t value)
{
    if (value >= 0) {
        apr_table_setn(r->subprocess_env, name, apr_psprintf(r->pool, "%" APR_INT64_T_FMT, value));
    }
}

void core_answer_note(request_rec *r, const gb_exchange_t *x)
{
    const gb_summary_t *sum = gb_exchange_summary(x);
    const gb_plan_t *plan = gb_exchange_plan(x);
    apr_table_t *env = r->subprocess_env;

    apr_table_set(env, "GB_DIALECT", plan->dialect->name);
    apr_table_set(env, "GB_MODEL", plan->model_used[0] ? plan->model_used : "-");
    apr_table_set(env, "GB_KEY_ID", *sum->key_id ? sum->key_id : "-");
    apr_table_set(env, "GB_OUTCOME", sum->outcome);
    note_number(r, "GB_ATTEMPTS", sum->attempts);
    note_number(r, "GB_UPSTREAM_STATUS", sum->upstream_status);
    note_number(r, "GB_TTFB_MS", sum->first_byte < 0 ? -1 : apr_time_as_msec(sum->first_byte));
    note_number(r, "GB_PROMPT_TOKENS", sum->facts.prompt_tokens);
    note_number(r, "GB_COMPLETION_TOKENS", sum->facts.completion_tokens);
}
