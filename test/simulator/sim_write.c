/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's JSON writer. Google answers unary calls pretty printed and
 * stream events on one line with a space behind each colon; one set of
 * functions writes both, so an answer is described once.
 */
#include "sim.h"

static void new_line(sw_t *w)
{
    static const char spaces[] = "\n                                                        ";
    size_t n = 1 + 2 * (size_t)w->depth;

    sim_put(w->b, spaces, n < sizeof(spaces) ? n : sizeof(spaces) - 1);
}

void sw_begin(sw_t *w, const char *key)
{
    uint64_t bit = 1ull << w->depth;

    if (w->filled & bit) {
        sim_putc(w->b, ',');
    }
    w->filled |= bit;
    if (w->style == SW_PRETTY && w->depth > 0) {
        new_line(w);
    }
    if (key != NULL) {
        sim_putc(w->b, '"');
        sim_puts(w->b, key);
        if (w->style == SW_COMPACT) {
            sim_putl(w->b, "\":");
        }
        else {
            sim_putl(w->b, "\": ");
        }
    }
}

void sw_open(sw_t *w, const char *key, char bracket)
{
    sw_begin(w, key);
    sim_putc(w->b, bracket);
    w->depth++;
    w->filled &= ~(1ull << w->depth);
}

void sw_close(sw_t *w, char bracket)
{
    bool filled = w->filled & 1ull << w->depth;

    w->depth--;
    if (filled && w->style == SW_PRETTY) {
        new_line(w);
    }
    sim_putc(w->b, bracket);
}

void sw_string(sw_t *w, const char *key, sim_str_t value)
{
    sw_begin(w, key);
    sim_putc(w->b, '"');
    sim_put_escaped(w->b, value.p, value.n);
    sim_putc(w->b, '"');
}

void sw_cstr(sw_t *w, const char *key, const char *value)
{
    sw_string(w, key, (sim_str_t){value, strlen(value)});
}

void sw_number(sw_t *w, const char *key, int64_t value)
{
    sw_begin(w, key);
    if (value < 0) {
        sim_putc(w->b, '-');
        value = -value;
    }
    sim_put_u64(w->b, (uint64_t)value);
}

void sw_bool(sw_t *w, const char *key, bool value)
{
    sw_begin(w, key);
    sim_puts(w->b, value ? "true" : "false");
}

void sw_raw(sw_t *w, const char *key, sim_str_t json)
{
    sw_begin(w, key);
    sim_put(w->b, json.p, json.n);
}
