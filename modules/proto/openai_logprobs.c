/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log probabilities: Gemini's two parallel lists as OpenAI's one.
 */
#include "proto/openai_int.h"

/* "token":..,"logprob":..,"bytes":[..] */
static void token_put(gb_buf_t *out, gb_span_t entry)
{
    gb_span_t token = gb_json_get(entry, "token"), value = gb_json_get(entry, "logProbability");
    gb_buf_t text;
    size_t i;

    gb_buf_init(&text, GB_BUF_MAX_LINE);
    gb_json_str_append(&text, token);
    gb_buf_puts(out, "\"token\":");
    gb_json_put_span(out, gb_json_kind(token) == GB_JSON_STRING ? token : (gb_span_t){"\"\"", 2});
    gb_buf_puts(out, ",\"logprob\":");
    gb_json_put_span(out, gb_json_kind(value) == GB_JSON_NUMBER ? value : (gb_span_t){"0", 1});
    gb_buf_puts(out, ",\"bytes\":[");
    for (i = 0; i < text.len; i++) {
        gb_buf_printf(out, i > 0 ? ",%d" : "%d", (unsigned char)text.data[i]);
    }
    gb_buf_putc(out, ']');
    gb_buf_free(&text);
}

void gb_openai_logprobs_put(gb_buf_t *out, gb_span_t result)
{
    gb_json_iter_t chosen, tops, top;
    int more;

    gb_json_iter(&tops, gb_json_get(result, "topCandidates"));
    for (gb_json_iter(&chosen, gb_json_get(result, "chosenCandidates")); gb_json_next(&chosen);) {
        gb_buf_puts(out, chosen.index > 0 ? ",{" : "{");
        token_put(out, chosen.value);
        gb_buf_puts(out, ",\"top_logprobs\":[");
        more = gb_json_next(&tops);
        if (more) {
            for (gb_json_iter(&top, gb_json_get(tops.value, "candidates")); gb_json_next(&top);) {
                gb_buf_puts(out, top.index > 0 ? ",{" : "{");
                token_put(out, top.value);
                gb_buf_putc(out, '}');
            }
        }
        gb_buf_puts(out, "]}");
    }
}
