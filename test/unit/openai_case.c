/* SPDX-License-Identifier: Apache-2.0 */
/* See openai_case.h. */
#include "openai_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>

/* ---- memory ---- */

static const char *signature_get(void *ctx, const char *call_id, apr_pool_t *p)
{
    openai_case_t *c = ctx;
    size_t len;
    const char *text = gb_json_str(gb_json_get(gb_json_get(c->setup, "memory"), call_id), &len, p);

    return text != NULL ? text : apr_table_get(c->kept, call_id);
}

static void signature_put(void *ctx, const char *call_id, const char *signature, size_t len)
{
    openai_case_t *c = ctx;

    apr_table_setn(c->kept, apr_pstrdup(c->p, call_id), apr_pstrmemdup(c->p, signature, len));
}

static int model_is_real(void *ctx, const char *name)
{
    openai_case_t *c = ctx;
    gb_span_t names = gb_json_get(c->setup, "real");
    gb_json_iter_t it;

    for (gb_json_iter(&it, names); gb_json_next(&it);) {
        if (gb_json_eq(it.value, name)) {
            return 1;
        }
    }
    return names.p != NULL ? 0 : -1;
}

static apr_int64_t model_output_limit(void *ctx, const char *name)
{
    openai_case_t *c = ctx;
    apr_int64_t limit = 0;

    gb_json_int(gb_json_get(gb_json_get(c->setup, "limits"), name), &limit);
    return limit;
}

/* ---- requests ---- */

static void request_fill(openai_case_t *c)
{
    static const unsigned char entropy[16] = "0123456789abcde";

    c->request.now = apr_time_from_sec(1790000000);
    memcpy(c->request.entropy, entropy, sizeof(entropy));
    c->kept = apr_table_make(c->p, 4);
    c->memory = (gb_memory_t){c, signature_get, signature_put, model_is_real, model_output_limit};
    c->request.memory = &c->memory;
}

static const char *setup_text(openai_case_t *c, const char *name, const char *fallback)
{
    size_t len;
    const char *text = gb_json_str(gb_json_get(c->setup, name), &len, c->p);

    return text != NULL ? text : fallback;
}

/* Bytes written as hex digits. */
static void fetched(gb_fetch_t *fetch, const char *hex, apr_pool_t *p)
{
    size_t n = strlen(hex) / 2, i;
    char *bytes = apr_palloc(p, n + 1);

    for (i = 0; i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        bytes[i] = (char)strtol(two, NULL, 16);
    }
    fetch->bytes = bytes;
    fetch->len = n;
}

static void fetch_all(openai_case_t *c)
{
    gb_span_t answers = gb_json_get(c->setup, "fetch");
    const char *hex;
    size_t len;
    int i;

    for (i = 0; c->plan->fetches != NULL && i < c->plan->fetches->nelts; i++) {
        gb_fetch_t *fetch = &APR_ARRAY_IDX(c->plan->fetches, i, gb_fetch_t);

        assert_null(c->plan->body);
        hex = gb_json_str(gb_json_get(answers, fetch->url), &len, c->p);
        if (hex == NULL) {
            fail_msg("the plan wants %s", fetch->url);
        }
        fetched(fetch, hex, c->p);
    }
    if (c->plan->fetches != NULL) {
        c->rv = c->plan->dialect->resume(c->plan, &c->err);
    }
}

static void drop_all(openai_case_t *c)
{
    gb_json_iter_t it;
    size_t len;

    for (gb_json_iter(&it, gb_json_get(c->setup, "drop")); gb_json_next(&it);) {
        const char *field = gb_json_str(it.value, &len, c->p);

        if (c->plan->dialect->drop_field(c->plan, field) != APR_SUCCESS) {
            fail_msg("%s cannot be dropped", field);
        }
        assert_int_equal(c->plan->dialect->drop_field(c->plan, field), APR_NOTFOUND);
    }
}

void openai_case_open(openai_case_t *c, const gb_dialect_t *dialect, const char *folder,
                      const char *body_name, apr_pool_t *p)
{
    memset(c, 0, sizeof(*c));
    c->p = p;
    c->setup = cases_json(p, folder, "setup.json");
    c->settings = cases_settings(cases_json(p, folder, "settings.json"), p);
    request_fill(c);
    c->request.body = cases_read(&c->request.body_len, p, folder, body_name);
    c->request.method = setup_text(c, "method", "POST");
    c->request.path = setup_text(c, "path", "/chat/completions");
    c->request.args = setup_text(c, "args", NULL);
    c->request.can_fetch = gb_json_get(c->setup, "fetch").p != NULL;
    c->rv = dialect->parse_request(&c->plan, &c->request, c->settings, &c->err, p);
    if (c->rv == APR_SUCCESS) {
        fetch_all(c);
    }
    if (c->rv == APR_SUCCESS) {
        drop_all(c);
    }
}

void openai_case_plain(openai_case_t *c, const gb_dialect_t *dialect, const char *method,
                       const char *path, const char *body, const gb_settings_t *settings,
                       apr_pool_t *p)
{
    memset(c, 0, sizeof(*c));
    c->p = p;
    c->settings = settings != NULL ? settings : gb_settings_make(p);
    request_fill(c);
    c->request.method = method;
    c->request.path = path;
    c->request.body = body;
    c->request.body_len = body != NULL ? strlen(body) : 0;
    c->rv = dialect->parse_request(&c->plan, &c->request, c->settings, &c->err, p);
}

void openai_case_next(openai_case_t *c, const openai_case_t *before, const char *body)
{
    *c = *before;
    c->plan = NULL;
    c->request.body = body;
    c->request.body_len = strlen(body);
    c->rv = before->plan->dialect->parse_request(&c->plan, &c->request, c->settings, &c->err, c->p);
}

/* ---- answers ---- */

gb_facts_t openai_case_facts(void)
{
    gb_facts_t facts = {0};

    facts.prompt_tokens = facts.completion_tokens = facts.thought_tokens = -1;
    facts.cached_tokens = facts.total_tokens = -1;
    return facts;
}

apr_status_t openai_case_feed(openai_case_t *c, gb_facts_t *facts, gb_buf_t *out, const char *bytes,
                              size_t len, size_t cut, size_t step)
{
    const gb_dialect_t *dialect = c->plan->dialect;
    gb_translator_t *t = dialect->start(c->plan, "text/event-stream", facts);
    size_t at = 0, n;
    apr_status_t rv;

    while (at < len) {
        n = at == 0 && cut > 0 ? cut : step > 0 ? step : len - at;
        n = n > len - at ? len - at : n;
        if ((rv = dialect->on_chunk(t, bytes + at, n, out)) != APR_SUCCESS) {
            return rv;
        }
        at += n;
    }
    return facts->has_error ? APR_SUCCESS : dialect->on_end(t, out);
}

void openai_case_facts_put(gb_buf_t *out, const gb_facts_t *facts)
{
    gb_buf_printf(out,
                  "{\"has_candidate\":%d,\"has_content\":%d,\"blocked\":%d,\"finished\":%d,"
                  "\"malformed\":%d,\"has_error\":%d,",
                  facts->has_candidate, facts->has_content, facts->blocked, facts->finished,
                  facts->malformed, facts->has_error);
    gb_buf_printf(out,
                  "\"tokens\":[%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT
                  ",%" APR_INT64_T_FMT ",%" APR_INT64_T_FMT "],\"finish_reason\":\"%s\"}",
                  facts->prompt_tokens, facts->completion_tokens, facts->thought_tokens,
                  facts->cached_tokens, facts->total_tokens, facts->finish_reason);
}
