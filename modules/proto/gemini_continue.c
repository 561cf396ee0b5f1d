/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of the Gemini surface that the upstream cuts: what was said so far is
 * kept while it passes, and the events of the continuation are edited where they
 * must be - thoughts are left out, the text at the seam loses what it repeats,
 * and usage is that of all attempts.
 * Everything else of them goes as it came.
 */
#include "proto/gemini_int.h"

#include <string.h>

#include <apr_strings.h>

#include "proto/seam.h"

/* Its text and thoughts are all that the part is. */
static int is_text(gb_span_t part)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, part); gb_json_next(&it);) {
        if (!gb_json_eq(it.key, "text") && !gb_json_eq(it.key, "thought")
            && !gb_json_eq(it.key, "thoughtSignature")) {
            return 0;
        }
    }
    return 1;
}

static int is_thought(gb_span_t part)
{
    int flag = 0;

    return gb_json_bool(gb_json_get(part, "thought"), &flag) && flag;
}

void gb_gemini_said(gemini_call_t *call, gb_span_t root)
{
    gb_span_t candidates = gb_json_get(root, "candidates");
    gb_span_t candidate = gb_json_path(candidates, "0");
    gb_json_iter_t it;

    call->rest.other |= gb_json_count(candidates) > 1
                        || gb_json_get(candidate, "groundingMetadata").p != NULL;
    for (gb_json_iter(&it, gb_json_path(candidate, "content.parts")); gb_json_next(&it);) {
        call->rest.other |= !is_text(it.value);
        if (!is_thought(it.value) && gb_json_get(it.value, "text").p != NULL) {
            gb_json_str_append(&call->rest.said, gb_json_get(it.value, "text"));
        }
    }
    call->rest.other |= call->rest.said.rv != APR_SUCCESS;
}

apr_status_t gb_gemini_go_on(gb_plan_t *plan)
{
    gemini_call_t *call = plan->state;
    gemini_rest_t *rest = &call->rest;
    gb_facts_t sum;
    gb_buf_t body;

    if (!rest->keeps || rest->other || rest->facts == NULL) {
        return APR_NOTFOUND;
    }
    if (rest->first_body.p == NULL) {
        rest->first_body = gb_json_root(plan->body, plan->body_len);
    }
    gb_buf_init_pool(&body, GB_BUF_MAX_REQUEST, plan->pool);
    if (gb_seam_body(&body, rest->first_body, rest->said.data, rest->said.len) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    sum = *rest->facts;
    gb_facts_add_tokens(&sum, &rest->before);
    rest->before = sum;
    rest->continued = 1;
    rest->seam_open = 1;
    gb_buf_reset(&rest->held);
    plan->body = body.data;
    plan->body_len = body.len;
    return APR_SUCCESS;
}

/* ---- events of the rest ---- */

static void event_put(gb_buf_t *out, gb_span_t json)
{
    gb_buf_puts(out, "data: ");
    gb_json_put_compact(out, json);
    gb_buf_puts(out, "\r\n\r\n");
}

/* The event with another text in the place of the one that it has. */
static void event_put_with(gb_buf_t *out, gb_span_t json, gb_span_t text, const char *other,
                           size_t len)
{
    gb_buf_t made;

    gb_buf_init(&made, GB_BUF_MAX_EVENT);
    gb_buf_append(&made, json.p, (size_t)(text.p - json.p));
    gb_json_put_str(&made, other, len);
    gb_buf_append(&made, text.p + text.len, (size_t)(json.p + json.len - text.p - text.len));
    if (made.rv == APR_SUCCESS) {
        event_put(out, (gb_span_t){made.data, made.len});
    }
    gb_buf_free(&made);
}

/* What an event of the rest is. */
typedef struct seen_t {
    int thoughts, others; /* parts */
    gb_span_t text;       /* of the only part that is text; of the last one if others > 1 */
    int ends;
} seen_t;

static void look(seen_t *seen, gb_span_t root)
{
    gb_span_t candidate = gb_json_path(gb_json_get(root, "candidates"), "0");
    gb_json_iter_t it;

    memset(seen, 0, sizeof(*seen));
    for (gb_json_iter(&it, gb_json_path(candidate, "content.parts")); gb_json_next(&it);) {
        if (is_thought(it.value)) {
            seen->thoughts++;
            continue;
        }
        seen->others++;
        seen->text = gb_json_get(it.value, "text");
    }
    seen->ends = gb_json_get(candidate, "finishReason").p != NULL;
}

/* The held text goes into the event's place for text, or the event waits with it. */
static void at_seam(gemini_rest_t *rest, gb_buf_t *out, gb_span_t root, const seen_t *seen)
{
    size_t overlap;

    gb_json_str_append(&rest->held, seen->text);
    overlap = gb_seam_overlap(rest->said.data != NULL ? rest->said.data : "", rest->said.len,
                              rest->held.data != NULL ? rest->held.data : "", rest->held.len,
                              !seen->ends);
    if (overlap == GB_SEAM_OPEN) {
        return;
    }
    rest->seam_open = 0;
    event_put_with(out, root, seen->text, rest->held.data + overlap, rest->held.len - overlap);
    gb_buf_append(&rest->said, rest->held.data + overlap, rest->held.len - overlap);
}

/* Something else than text comes: what is held goes before it. */
static void seam_close(gemini_rest_t *rest, gb_buf_t *out)
{
    static const char before[] = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":";
    static const char behind[] = "}],\"role\":\"model\"},\"index\":0}]}\r\n\r\n";
    size_t overlap;

    rest->seam_open = 0;
    if (rest->held.len > 0) {
        overlap = gb_seam_overlap(rest->said.data != NULL ? rest->said.data : "", rest->said.len,
                                  rest->held.data, rest->held.len, 0);
        gb_buf_puts(out, before);
        gb_json_put_str(out, rest->held.data + overlap, rest->held.len - overlap);
        gb_buf_puts(out, behind);
        gb_buf_append(&rest->said, rest->held.data + overlap, rest->held.len - overlap);
    }
}

/* ---- usage ---- */

#define N_COUNTS 5

/* They divide the counts of one attempt, and would not be shares of the sum. */
static const char *const shares[] = {"promptTokensDetails", "candidatesTokensDetails",
                                     "cacheTokensDetails", "toolUsePromptTokensDetails"};

#define N_SHARES (sizeof(shares) / sizeof(shares[0]))

/* Writes nothing when the attempts before have told nothing. */
static void sum_put(gb_buf_t *out, const gb_facts_t *before, gb_span_t usage)
{
    apr_int64_t thoughts = before->thought_tokens > 0 ? before->thought_tokens : 0;
    const struct {
        const char *name;
        apr_int64_t before;
    } counts[N_COUNTS] = {
        {"promptTokenCount",        before->prompt_tokens               },
        {"candidatesTokenCount",    before->completion_tokens - thoughts},
        {"thoughtsTokenCount",      thoughts                            },
        {"cachedContentTokenCount", before->cached_tokens               },
        {"totalTokenCount",         before->total_tokens                },
    };
    gb_json_edit_t edits[N_COUNTS + N_SHARES];
    char text[N_COUNTS][24];
    size_t i, n = 0;

    for (i = 0; i < N_COUNTS; i++) {
        apr_int64_t now = 0;

        if (counts[i].before > 0) {
            gb_json_int(gb_json_get(usage, counts[i].name), &now);
            apr_snprintf(text[n], sizeof(text[n]), "%" APR_INT64_T_FMT, now + counts[i].before);
            edits[n].name = counts[i].name;
            edits[n].value = (gb_span_t){text[n], strlen(text[n])};
            n++;
        }
    }
    if (n > 0) {
        for (i = 0; i < N_SHARES; i++) {
            edits[n++] = (gb_json_edit_t){
                shares[i], {NULL, 0}
            };
        }
        gb_json_edit(out, usage, edits, n);
    }
}

/* The event, or that with the sum, which is written to made. */
static gb_span_t with_sum(const gemini_rest_t *rest, gb_buf_t *made, gb_span_t root)
{
    gb_span_t usage = gb_json_get(root, "usageMetadata");
    gb_json_edit_t edit = {
        "usageMetadata", {NULL, 0}
    };
    gb_buf_t sum;

    if (gb_json_kind(usage) != GB_JSON_OBJECT) {
        return root;
    }
    gb_buf_init(&sum, GB_BUF_MAX_EVENT);
    sum_put(&sum, &rest->before, usage);
    edit.value = (gb_span_t){sum.data, sum.len};
    if (sum.len > 0 && sum.rv == APR_SUCCESS && gb_json_edit(made, root, &edit, 1) == APR_SUCCESS) {
        root = gb_json_root(made->data, made->len);
    }
    gb_buf_free(&sum);
    return root;
}

/* ---- an event ---- */

static void rest_event(gemini_call_t *call, gb_buf_t *out, gb_span_t root)
{
    gemini_rest_t *rest = &call->rest;
    seen_t seen;

    look(&seen, root);
    if (seen.thoughts > 0 && seen.others == 0 && !seen.ends) {
        return; /* the client has thoughts for this answer */
    }
    if (rest->seam_open && seen.others == 1 && gb_json_kind(seen.text) == GB_JSON_STRING) {
        at_seam(rest, out, root, &seen);
        return;
    }
    if (rest->seam_open && (seen.others > 0 || seen.ends)) {
        seam_close(rest, out);
    }
    gb_gemini_said(call, root);
    event_put(out, root);
}

void gb_gemini_rest_event(gemini_call_t *call, gb_buf_t *out, gb_span_t root)
{
    gb_buf_t made;

    gb_buf_init(&made, GB_BUF_MAX_EVENT);
    rest_event(call, out, with_sum(&call->rest, &made, root));
    gb_buf_free(&made);
}
