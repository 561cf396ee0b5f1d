/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in small steps: where it may be cut, and the pace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cut.h"

/* A text, characters and bytes a step, and the steps with | between them. */
typedef struct case_t {
    const char *text;
    size_t chars, bytes;
    const char *steps;
} case_t;

static const case_t cases[] = {
    {"abcdef",                                     1, 0, "a|b|c|d|e|f"                       },
    {"abcdef",                                     4, 0, "abcd|ef"                           },
    {"abcdef",                                     1, 3, "abc|def"                           },
    {"abcdef",                                     9, 0, "abcdef"                            },
    {"Gr\xc3\xbc\xc3\x9f\xe2\x82\xac",             1, 0, "G|r|\xc3\xbc|\xc3\x9f|\xe2\x82\xac"},
    {"a\xf0\x9f\x98\x80z",                         1, 0, "a|\xf0\x9f\x98\x80|z"              },
    {"\xf0\x9f\x98\x80z",                          1, 2, "\xf0\x9f\x98\x80|z"                },
    {"a\\\"b\\\\c",                                1, 0, "a|\\\"|b|\\\\|c"                   },
    {"\\u00e9\\ud83d\\ude00x",                     1, 0, "\\u00e9|\\ud83d\\ude00|x"          },
    {"\\ud83dx\\ude00",                            1, 0, "\\ud83d|x|\\ude00"                 },
    {"\\ud83d\\u0041",                             1, 0, "\\ud83d\\u0041"                    },
    {"a **b** c",                                  1, 0, "a| |**|b|**| |c"                   },
    {"## T",                                       1, 0, "##| |T"                            },
    {"---\\nx",                                    1, 0, "---|\\n|x"                         },
    {"```python\\nx = 1\\n```\\ny",                2, 0, "```python\\n|x |= |1\\n|```\\n|y"  },
    {"a\\n```c\\nb",                               3, 0, "a\\n```c\\n|b"                     },
    {"see [a b](http://x/y) now",                  2, 0, "se|e |[a b](http://x/y)| n|ow"     },
    {"see [a b](http://x/y) now",                  6, 0, "see [a b](http://x/y)| now"        },
    {"![i](data:image/png;base64,iVBORw0KGgo=)ok", 1, 0,
     "![i](data:image/png;base64,iVBORw0KGgo=)|o|k"                                          },
    {"a[1] = b[2]",                                4, 0, "a[1]| = b|[2]"                     },
    {"[x](y\\nz) end",                             3, 0, "[x]|(y\\n|z) |end"                 },
    {"[[[[",                                       1, 0, "[|[|[|["                           },
    {"`a` `b`",                                    1, 0, "`|a|`| |`|b|`"                     },
};

static size_t next_step(const char *text, size_t len, size_t at, size_t chars, size_t bytes)
{
    int begins_line = at == 0 || (at >= 2 && memcmp(text + at - 2, "\\n", 2) == 0);

    return gb_cut_end(text + at, len - at, begins_line, chars, bytes);
}

static void test_steps(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const case_t *c = &cases[i];
        size_t len = strlen(c->text), at = 0, end;
        char found[500] = "";

        while (at < len) {
            end = at + next_step(c->text, len, at, c->chars, c->bytes);
            assert_true(end > at);
            if (at > 0) {
                strcat(found, "|");
            }
            strncat(found, c->text + at, end - at);
            at = end;
        }
        if (strcmp(found, c->steps) != 0) {
            fail_msg("case %d: %s", (int)i, found);
        }
    }
}

static void test_count(void **state)
{
    (void)state;
    assert_int_equal(gb_cut_count("", 0), 0);
    assert_int_equal(gb_cut_count("abc", 3), 3);
    assert_int_equal(gb_cut_count("\\ud83d\\ude00\\n\xc3\xbc", 16), 3);
    assert_int_equal(gb_cut_count("\\u00", 4), 1); /* never beyond the end */
    assert_int_equal(gb_cut_count("\\", 1), 1);
}

/* What a model can write to make it slow. */
static void test_time(void **state)
{
    static const char *const patterns[] = {"[", "[](", "[x](\\n", "*", "![", "\\n", "```"};
    size_t size = 400000, i, at, end;
    char *text = malloc(size + 8);

    (void)state;
    for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        size_t n = strlen(patterns[i]), len = 0;

        while (len + n <= size) {
            memcpy(text + len, patterns[i], n);
            len += n;
        }
        for (at = 0; at < len; at = end) { /* as many steps as the longest lag leaves */
            end = at + next_step(text, len, at, 5, len / 60);
            assert_true(end > at);
        }
    }
    free(text);
}

static void test_pace(void **state)
{
    gb_settings_t s;

    (void)state;
    memset(&s, 0, sizeof(s));
    s.stream_min_delay = 16000;
    s.stream_max_delay = 24000;
    s.stream_short_text_threshold = 10;
    s.stream_long_text_threshold = 50;
    s.stream_chunk_size = 5;
    assert_int_equal(gb_cut_delay(&s, 3), 24000);
    assert_int_equal(gb_cut_delay(&s, 10), 24000);
    assert_int_equal(gb_cut_delay(&s, 50), 16000);
    assert_int_equal(gb_cut_delay(&s, 5000), 16000);
    assert_in_range(gb_cut_delay(&s, 22), 19900, 20200); /* half way by logarithm */
    assert_int_equal(gb_cut_step(&s, 49), 1);
    assert_int_equal(gb_cut_step(&s, 50), 5);
    s.stream_short_text_threshold = 0;
    assert_in_range(gb_cut_delay(&s, 1), 23990, 24000);
    s.stream_short_text_threshold = s.stream_long_text_threshold = 20;
    assert_int_equal(gb_cut_delay(&s, 20), 24000);
    assert_int_equal(gb_cut_delay(&s, 21), 16000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_pace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
