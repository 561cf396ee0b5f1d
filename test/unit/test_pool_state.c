/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's memory as text, over a stop: what was known before is known after,
 * rests that have passed are over.  And keys in pasted text.
 */
#include "pool_fixture.h"

#include "base/buf.h"
#include "pool/paste.h"
#include "pool/state.h"

#define PRO   "gemini-2.5-pro"
#define FLASH "gemini-2.5-flash"

/* ---- a stop ---- */

static void write_all(fixture_t *f, gb_buf_t *out)
{
    gb_pool_cell_t cell;
    gb_pool_key_t key;
    apr_uint32_t at = 1;

    gb_buf_init(out, 16 * 1024 * 1024);
    gb_state_put_head(out, f->clock.wall);
    while (gb_pool_list_locked(f->pool, NULL, &at, &key, 1, &f->clock) == 1) {
        if (gb_state_worth_keeping(&key)) {
            gb_state_put_key(out, &key);
        }
    }
    at = 1;
    while (gb_pool_cells_locked(f->pool, &at, &cell, 1, &f->clock) == 1) {
        gb_state_put_cell(out, &cell);
    }
    assert_int_equal(out->rv, APR_SUCCESS);
}

static void read_line(fixture_t *f, const char *line, size_t len, int cells)
{
    gb_pool_cell_t cell;
    gb_pool_key_t key;
    apr_uint32_t slot;
    char secret[40];

    switch (gb_state_read(line, len, &key, &cell, f->p)) {
    case GB_STATE_KEY:
        if (!cells) {
            apr_snprintf(secret, sizeof(secret), "secret-%s", key.id);
            assert_int_equal(
                gb_pool_add_locked(f->pool, &key, secret, strlen(secret), &f->clock, &slot),
                APR_SUCCESS);
        }
        break;
    case GB_STATE_CELL:
        if (cells) {
            gb_pool_restore_cell_locked(f->pool, &cell, &f->clock);
        }
        break;
    case GB_STATE_HEAD:
    case GB_STATE_NOTHING:
        break;
    }
}

static void read_all(fixture_t *f, const gb_buf_t *text)
{
    int cells;

    for (cells = 0; cells < 2; cells++) {
        const char *at = text->data, *end = text->data + text->len;

        while (at < end) {
            const char *line_end = memchr(at, '\n', (size_t)(end - at));

            line_end = line_end ? line_end : end;
            read_line(f, at, (size_t)(line_end - at), cells);
            at = line_end + 1;
        }
    }
}

/* The same pool in another life: another boot (mono differs), so much later. */
static fixture_t *reborn(fixture_t *f, apr_interval_time_t later)
{
    fixture_t *g = fixture_make(64);
    gb_buf_t text;

    write_all(f, &text);
    g->clock.mono = SEC(77);
    g->clock.wall = f->clock.wall + later;
    read_all(g, &text);
    gb_buf_free(&text);
    fixture_sound(g);
    return g;
}

static fixture_t *a_life(void)
{
    fixture_t *f = fixture_make(64);
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    int i;

    fixture_keys(f, "default", 6);
    edit.project = "team \"one\"";
    edit.tags = "paid,eu";
    edit.note = "Anna's\nkey \xc3\xa4";
    edit.weight = 3;
    gb_pool_edit_locked(f->pool, 6, 1, &edit, &f->clock);
    edit = (gb_pool_edit_t)GB_POOL_EDIT_NONE;
    edit.enabled = 0;
    gb_pool_edit_locked(f->pool, 5, 1, &edit, &f->clock);
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_DAY, -1);
    assert_int_equal(fixture_call(f, PRO, GB_OUT_KEY), 2);
    for (i = 0; i < 3; i++) { /* key 3 fails while others go on */
        while (fixture_pick_ok(f, FLASH) != 3) {
            fixture_report(f, FLASH, GB_OUT_SUCCESS);
        }
        fixture_report(f, FLASH, GB_OUT_SERVICE);
    }
    while (fixture_key(f, 3).state != GB_KEY_FAILED) {
        fixture_call(f, FLASH, GB_OUT_SUCCESS);
    }
    return f;
}

static gb_pool_key_t by_id(fixture_t *g, int n)
{
    char id[16];

    apr_snprintf(id, sizeof(id), "%08x", (unsigned)n);
    return fixture_key(g, gb_pool_find_locked(g->pool, "default", NULL, id));
}

static void a_stop_forgets_nothing(void **state)
{
    fixture_t *f = a_life(), *g = reborn(f, SEC(5));
    gb_pool_key_t was, is;
    int i;

    (void)state;
    for (i = 1; i <= 6; i++) {
        was = fixture_key(f, (apr_uint32_t)i);
        if (!gb_state_worth_keeping(&was)) {
            continue;
        }
        is = by_id(g, i);
        assert_string_equal(is.note, was.note);
        assert_string_equal(is.tags, was.tags);
        assert_string_equal(is.project, was.project);
        assert_string_equal(is.row, was.row);
        assert_string_equal(is.text, was.text);
        assert_memory_equal(is.digest, was.digest, sizeof(is.digest));
        assert_int_equal(is.state, was.state);
        assert_int_equal(is.enabled, was.enabled);
        assert_int_equal(is.weight, was.weight);
        assert_int_equal(is.picks, was.picks);
        assert_int_equal(is.successes, was.successes);
        assert_int_equal(is.faults, was.faults);
        assert_int_equal(is.day_calls, was.day_calls);
        assert_int_equal(is.retry_at, was.retry_at);
        assert_int_equal(is.resting, was.resting);
    }
    assert_int_equal(by_id(g, 1).resting, 1);
    assert_int_equal(by_id(g, 2).state, GB_KEY_INVALID);
    assert_int_equal(by_id(g, 3).state, GB_KEY_FAILED);
    assert_false(by_id(g, 5).enabled);
    fixture_free(f);
    fixture_free(g);
}

static void rests_go_on_to_the_second(void **state)
{
    fixture_t *f = fixture_make(64), *g;

    (void)state;
    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_MINUTE, SEC(50));
    g = reborn(f, SEC(20));
    assert_int_equal(fixture_pick(g, PRO), GB_POOL_RESTING);
    assert_int_equal(g->census.wait, SEC(30));
    fixture_free(g);
    g = reborn(f, SEC(50)); /* has passed meanwhile */
    fixture_pick_ok(g, PRO);
    fixture_free(g);
    fixture_free(f);
}

static void a_day_that_passed_is_followed_by_a_trial(void **state)
{
    fixture_t *f = fixture_make(64), *g;

    (void)state;
    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_DAY, -1);
    g = reborn(f, HOURS(30));
    fixture_pick_ok(g, PRO);
    assert_true(g->got.half_open);
    fixture_free(g);
    fixture_free(f);
}

static void a_trial_under_way_is_made_again(void **state)
{
    fixture_t *f = fixture_make(64), *g;

    (void)state;
    fixture_keys(f, "default", 1);
    fixture_pick_ok(f, PRO);
    fixture_quota(f, PRO, GB_SPAN_DAY, -1);
    fixture_wait(f, HOURS(30));
    fixture_pick_ok(f, PRO);
    g = reborn(f, SEC(1));
    fixture_pick_ok(g, PRO);
    assert_true(g->got.half_open);
    fixture_free(g);
    fixture_free(f);
}

static void one_keys_own_rest_stays_its_own(void **state)
{
    fixture_t *f = fixture_make(64), *g;
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    int i;

    (void)state;
    fixture_keys(f, "default", 2);
    edit.project = "shared";
    for (i = 1; i <= 2; i++) {
        gb_pool_edit_locked(f->pool, (apr_uint32_t)i, 1, &edit, &f->clock);
    }
    assert_int_equal(fixture_pick_ok(f, PRO), 1);
    fixture_quota(f, PRO, GB_SPAN_AMBIGUOUS, -1);
    g = reborn(f, SEC(5));
    assert_int_equal(by_id(g, 1).resting, 1);
    assert_int_equal(by_id(g, 2).resting, 0);
    fixture_call(g, PRO, GB_OUT_SUCCESS);
    assert_string_equal(g->got.id, "00000002");
    fixture_free(f);
    fixture_free(g);
}

static void learnt_limits_are_kept(void **state)
{
    fixture_t *f = fixture_make(64), *g;
    gb_pool_outcome_t out = {.kind = GB_OUT_QUOTA,
                             .span = GB_SPAN_DAY,
                             .delay = -1,
                             .n_quotas = 1,
                             .prompt_tokens = -1,
                             .total_tokens = -1};
    int i;

    (void)state;
    out.quotas[0].model = PRO;
    out.quotas[0].span = GB_SPAN_DAY;
    out.quotas[0].value = 20;
    fixture_keys(f, "default", 1);
    for (i = 0; i < 20; i++) {
        fixture_call(f, PRO, GB_OUT_SUCCESS);
    }
    fixture_pick_ok(f, PRO);
    fixture_report_out(f, PRO, &out);
    fixture_wait(f, HOURS(21));
    g = reborn(f, 0);
    for (i = 0; i < 20; i++) {
        fixture_call(g, PRO, GB_OUT_SUCCESS);
    }
    assert_int_equal(fixture_pick(g, PRO), GB_POOL_RESTING);
    fixture_free(g);
    fixture_free(f);
}

static void no_secret_is_written(void **state)
{
    fixture_t *f = a_life();
    gb_buf_t text;

    (void)state;
    write_all(f, &text);
    assert_null(strstr(text.data, "secret-"));
    gb_buf_free(&text);
    fixture_free(f);
}

/* Whatever stands in the file, reading it harms nobody. */
static void damage_costs_lines_only(void **state)
{
    static const char *const lines[] = {
        "",
        "{",
        "null",
        "[]",
        "{\"key\":7}",
        "{\"key\":{}}",
        "{\"cell\":{\"digest\":\"zz\"}}",
        "{\"key\":{\"pool\":\"default\",\"weight\":9999,\"state\":77,\"enabled\":-3}}",
        "{\"gbalance_keys\":99}",
        "{\"cell\":{\"model\":12,\"until\":\"x\",\"reason\":-5}}",
    };
    fixture_t *f = a_life(), *g;
    gb_pool_cell_t cell;
    gb_pool_key_t key;
    gb_buf_t text;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        gb_state_read(lines[i], strlen(lines[i]), &key, &cell, f->p);
    }
    write_all(f, &text);
    for (i = 1; i < text.len; i += 7) { /* cut anywhere */
        gb_buf_t part = text;

        g = fixture_make(64);
        part.len = i;
        read_all(g, &part);
        fixture_sound(g);
        fixture_free(g);
    }
    gb_buf_free(&text);
    fixture_free(f);
}

static void untouched_keys_need_no_line(void **state)
{
    fixture_t *f = fixture_make(64);
    gb_pool_key_t key;

    (void)state;
    fixture_keys(f, "default", 1);
    key = fixture_key(f, 1);
    assert_false(gb_state_worth_keeping(&key));
    fixture_call(f, PRO, GB_OUT_NOTHING);
    key = fixture_key(f, 1);
    assert_true(gb_state_worth_keeping(&key));
    fixture_free(f);
}

/* ---- pasted text ---- */

#define AIZA1 "AIzaSyA1234567890abcdefghijklmnopqrstuv"
#define AIZA2 "AIzaSyB_-34567890abcdefghijklmnopqrstuv"
#define AQ1   "AQ.Ab8RN6abcdefghijklmnopqrs_-012345"

typedef struct paste_case_t {
    int line;
    const char *text, *keys;
} paste_case_t;

static const paste_case_t paste_cases[] = {
    {__LINE__, "",                                        ""                                 },
    {__LINE__, AIZA1,                                     AIZA1                              },
    {__LINE__, AIZA1 "\n" AIZA2 "\r\n" AQ1,               AIZA1 " " AIZA2 " " AQ1            },
    {__LINE__, AIZA1 "," AIZA2 ";" AQ1 "|" AIZA1,         AIZA1 " " AIZA2 " " AQ1 " " AIZA1  },
    {__LINE__, "API_KEYS=[\"" AIZA1 "\",\"" AQ1 "\"]",    AIZA1 " " AQ1                      },
    {__LINE__, "GET /v1?key=" AIZA1 "&alt=sse 200",       AIZA1                              },
    {__LINE__, "mail: anna@example.org, key: " AIZA2 ".", AIZA2                              },
    {__LINE__, AIZA1 "x " AIZA2,                          AIZA2                              }, /* too long is none */
    {__LINE__, "xAIza" AIZA2 " " AQ1,                     AQ1                                }, /* inside of a word */
    {__LINE__, "AIzaShort AQ.short " AIZA1,               AIZA1                              },
    {__LINE__, "AIzaShort AQ.short",                      "AIzaShort AQ.short"               }, /* nothing known: a list of words */
    {__LINE__, "one-opaque-key\ntwo.opaque/key+1==",      "one-opaque-key two.opaque/key+1=="},
    {__LINE__, "KEY=opaque-key-1\n# no key",              "opaque-key-1"                     },
    {__LINE__, "short a b c",                             ""                                 },
};

static void keys_are_found_in_pasted_text(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(paste_cases) / sizeof(paste_cases[0]); i++) {
        const paste_case_t *c = &paste_cases[i];
        gb_paste_t paste;
        const char *key;
        apr_size_t len;
        gb_buf_t found;

        gb_buf_init(&found, 4096);
        gb_buf_puts(&found, "");
        gb_paste_begin(&paste, c->text, strlen(c->text));
        while (gb_paste_next(&paste, &key, &len)) {
            gb_buf_printf(&found, "%s%.*s", found.len ? " " : "", (int)len, key);
        }
        if (strcmp(found.data ? found.data : "", c->keys) != 0) {
            fail_msg("line %d: found \"%s\"", c->line, found.data ? found.data : "");
        }
        gb_buf_free(&found);
    }
}

static const struct {
    const char *text;
    const char *odd; /* words, each with a '-' (cut) or '!' (foreign) before it */
} odd_cases[] = {
    {"AIzaSyShort",                                ""                   }, /* no known form anywhere: every word is taken as it is */
    {AIZA1 " AIzaSyShort",                         " -AIzaSyShort"      },
    {AIZA1 " AQ.cut-sho",                          " -AQ.cut-sho"       },
    {AIZA1 "," AIZA1,                              ""                   },
    {AIZA1 "x",                                    ""                   },
    {AIZA1 "\nkey=" AIZA1 "x",                     " -" AIZA1 "x"       },
    {"key=" AIZA1 "\nkey=sk-proj-elsewhere",       " !sk-proj-elsewhere"},
    {AIZA1 " sk- ask-me hf_",                      ""                   },
    {"https://x.test/?key=" AIZA1 "&k=gsk_123456", " !gsk_123456"       },
};

static void what_only_looks_like_a_key_is_told(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(odd_cases) / sizeof(odd_cases[0]); i++) {
        char found[200] = "";
        gb_paste_t paste;
        const char *word;
        apr_size_t len;
        int is_cut;

        gb_paste_begin(&paste, odd_cases[i].text, strlen(odd_cases[i].text));
        while (gb_paste_odd(&paste, &word, &len, &is_cut)) {
            size_t at = strlen(found);

            snprintf(found + at, sizeof(found) - at, " %c%.*s", is_cut ? '-' : '!', (int)len, word);
        }
        assert_string_equal(found, odd_cases[i].odd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_forgets_nothing),
        cmocka_unit_test(rests_go_on_to_the_second),
        cmocka_unit_test(a_day_that_passed_is_followed_by_a_trial),
        cmocka_unit_test(a_trial_under_way_is_made_again),
        cmocka_unit_test(one_keys_own_rest_stays_its_own),
        cmocka_unit_test(learnt_limits_are_kept),
        cmocka_unit_test(no_secret_is_written),
        cmocka_unit_test(damage_costs_lines_only),
        cmocka_unit_test(untouched_keys_need_no_line),
        cmocka_unit_test(keys_are_found_in_pasted_text),
        cmocka_unit_test(what_only_looks_like_a_key_is_told),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
