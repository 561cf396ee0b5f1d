/* SPDX-License-Identifier: Apache-2.0 */
/* What all plans begin with; the rest is each dialect's. */
#include "proto/dialect.h"

#include <apr_strings.h>

#include "base/secret.h"

gb_plan_t *gb_plan_make(const gb_dialect_t *dialect, apr_pool_t *p)
{
    gb_plan_t *plan = apr_pcalloc(p, sizeof(*plan));

    plan->dialect = dialect;
    plan->pool = p;
    plan->method = "POST";
    plan->operation = "";
    plan->fan_out = 1;
    return plan;
}

/* ---- pictures by address ---- */

void gb_plan_hosts(gb_plan_t *plan, const gb_request_t *request)
{
    char hex[2 * sizeof(request->entropy) + 1];

    if (request->can_host) {
        gb_hex(hex, request->entropy, sizeof(request->entropy));
        plan->mark = apr_pstrcat(plan->pool, "gbalance-picture-", hex, "-", NULL);
    }
}

const char *gb_plan_picture(gb_plan_t *plan, gb_span_t type, gb_span_t data)
{
    gb_upload_t *upload;
    size_t len = 0;

    if (plan->mark == NULL) {
        return NULL;
    }
    if (plan->uploads == NULL) {
        plan->uploads = apr_array_make(plan->pool, 2, sizeof(gb_upload_t));
    }
    upload = apr_array_push(plan->uploads);
    upload->type.p = gb_json_str(type, &len, plan->pool);
    upload->type.len = len;
    upload->data.p = gb_json_str(data, &len, plan->pool);
    upload->data.len = len;
    /* of one length, so that none is the beginning of another */
    upload->mark = apr_psprintf(plan->pool, "%s%06d", plan->mark, plan->uploads->nelts);
    return upload->mark;
}

void gb_plan_picture_put(gb_buf_t *out, const char *mark, gb_span_t type, gb_span_t data)
{
    if (mark != NULL) {
        gb_buf_puts(out, mark);
        return;
    }
    gb_buf_puts(out, "data:");
    gb_buf_append(out, type.p + 1, type.len - 2);
    gb_buf_puts(out, ";base64,");
    gb_buf_append(out, data.p + 1, data.len - 2);
}
void gb_facts_add_tokens(gb_facts_t *sum, const gb_facts_t *one)
{
    static const size_t tokens[] = {
        offsetof(gb_facts_t, prompt_tokens),  offsetof(gb_facts_t, completion_tokens),
        offsetof(gb_facts_t, thought_tokens), offsetof(gb_facts_t, cached_tokens),
        offsetof(gb_facts_t, total_tokens),
    };
    size_t i;

    for (i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
        apr_int64_t *n = (apr_int64_t *)((char *)sum + tokens[i]);
        apr_int64_t more = *(const apr_int64_t *)((const char *)one + tokens[i]);

        if (more > 0) {
            *n = *n > 0 ? *n + more : more;
        }
    }
}
