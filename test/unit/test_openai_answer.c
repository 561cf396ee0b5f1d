/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's answers as OpenAI's, in one piece (test/cases/gemini_to_openai) and
 * as streams (test/cases/stream), which come out the same however they are cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "openai_case.h"
#include "proto/openai.h"

/* ---- one piece ---- */

static void kept_put(gb_buf_t *out, openai_case_t *c)
{
    const apr_array_header_t *rows = apr_table_elts(c->kept);
    const apr_table_entry_t *row = (const apr_table_entry_t *)rows->elts;
    int i;

    for (i = 0; i < rows->nelts; i++) {
        gb_buf_puts(out, i > 0 ? "," : ",\"kept\":{");
        gb_json_put_cstr(out, row[i].key);
        gb_buf_putc(out, ':');
        gb_json_put_cstr(out, row[i].val);
    }
    gb_buf_puts(out, rows->nelts > 0 ? "}" : "");
}

/* in.json, or in.0.json, in.1.json ... of a fan-out. */
static void answer_case(const char *folder, apr_pool_t *p)
{
    gb_facts_t facts = openai_case_facts();
    gb_translator_t *t;
    openai_case_t c;
    gb_buf_t answer, out;
    const char *bytes;
    size_t len;
    apr_status_t rv = APR_SUCCESS;
    int i;

    openai_case_open(&c, &gb_openai_dialect, folder, "request.json", p);
    if (c.plan == NULL) {
        fail_msg("%s: %s", folder, c.err.message);
    }
    gb_buf_init_pool(&answer, GB_BUF_MAX_ANSWER, p);
    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    t = c.plan->dialect->start(c.plan, "application/json", &facts);
    if ((bytes = cases_read(&len, p, folder, "in.json")) != NULL) {
        rv = c.plan->dialect->on_chunk(t, bytes, len, &answer);
    }
    for (i = 0; rv == APR_SUCCESS
                && (bytes = cases_read(&len, p, folder, apr_psprintf(p, "in.%d.json", i))) != NULL;
         i++) {
        rv = c.plan->dialect->on_chunk(t, bytes, len, &answer);
    }
    rv = rv == APR_SUCCESS ? c.plan->dialect->on_end(t, &answer) : rv;
    gb_buf_printf(&out, "{\"ok\":%s,\"facts\":", rv == APR_SUCCESS ? "true" : "false");
    openai_case_facts_put(&out, &facts);
    kept_put(&out, &c);
    gb_buf_puts(&out, ",\"answer\":");
    gb_buf_puts(&out, answer.len > 0 ? answer.data : "null");
    gb_buf_putc(&out, '}');
    cases_expect_json(p, folder, "out.json", out.data, out.len);
}

static void test_answers(void **state)
{
    (void)state;
    cases_each("gemini_to_openai", answer_case);
}

/* ---- streams ---- */

/* The stream and, in a comment line, what it left. */
static void stream_run(openai_case_t *c, gb_buf_t *out, const char *bytes, size_t len, size_t cut,
                       size_t step)
{
    gb_facts_t facts = openai_case_facts();
    apr_status_t rv = openai_case_feed(c, &facts, out, bytes, len, cut, step);

    gb_buf_printf(out, ": %s ",
                  rv == APR_SUCCESS      ? "complete"
                  : rv == APR_INCOMPLETE ? "incomplete"
                                         : "failed");
    openai_case_facts_put(out, &facts);
    gb_buf_putc(out, '\n');
}

static const char *with_ends(const char *bytes, size_t *len, const char *end, apr_pool_t *p)
{
    gb_buf_t out;
    size_t i;

    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, p);
    for (i = 0; i < *len; i++) {
        if (bytes[i] == '\n') {
            gb_buf_puts(&out, end);
        }
        else if (bytes[i] != '\r') {
            gb_buf_putc(&out, bytes[i]);
        }
    }
    *len = out.len;
    return out.data;
}

static void stream_same(openai_case_t *c, const char *folder, const gb_buf_t *whole,
                        const char *bytes, size_t len, size_t cut, size_t step, const char *how)
{
    gb_buf_t out;

    gb_buf_init(&out, GB_BUF_MAX_ANSWER);
    stream_run(c, &out, bytes, len, cut, step);
    if (out.len != whole->len || memcmp(out.data, whole->data, out.len) != 0) {
        fail_msg("%s: %s, cut at %zu, step %zu: differs\n%s", folder, how, cut, step, out.data);
    }
    gb_buf_free(&out);
}

static void stream_case(const char *folder, apr_pool_t *p)
{
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    openai_case_t c;
    gb_buf_t whole;
    const char *bytes, *ended;
    size_t len, cut, n, i;

    openai_case_open(&c, &gb_openai_dialect, folder, "request.json", p);
    if (c.plan == NULL) {
        fail_msg("%s: %s", folder, c.err.message);
    }
    bytes = cases_read(&len, p, folder, "in.sse");
    assert_non_null(bytes);
    gb_buf_init_pool(&whole, GB_BUF_MAX_ANSWER, p);
    stream_run(&c, &whole, bytes, len, 0, 0);
    cases_expect_text(p, folder, "out.sse", whole.data, whole.len);
    for (cut = 1; cut < len; cut++) {
        stream_same(&c, folder, &whole, bytes, len, cut, 0, "as it is");
    }
    for (i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        n = len;
        ended = with_ends(bytes, &n, ends[i], p);
        stream_same(&c, folder, &whole, ended, n, 0, 0, ends[i]);
        stream_same(&c, folder, &whole, ended, n, 0, 1, ends[i]);
        stream_same(&c, folder, &whole, ended, n, 0, 7, ends[i]);
    }
}

static void test_streams(void **state)
{
    (void)state;
    cases_each("stream", stream_case);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_streams),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
