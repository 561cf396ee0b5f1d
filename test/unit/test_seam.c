/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are continued: the request for the rest, and the seam.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/seam.h"

typedef struct seam_t {
    const char *said, *next;
    int more;
    size_t overlap;
} seam_t;

static const seam_t seams[] = {
    {"The quick brown",                                  " fox",                                 0, 0           },
    {"The quick brown",                                  "brown fox",                            0, 5           },
    {"The quick bro",                                    "brown fox",                            0, 3           },
    {"The quick bro",                                    "wn fox",                               0, 0           },
    {"The quick brown fox ",                             "quick brown fox jumps",                0, 16          },
    {"The quick brown fox",                              "quick brown fox jumps",                0, 15          },
    {"The quick brown fox",                              "quick bro",                            1, GB_SEAM_OPEN},
    {"The quick brown fox",                              "quick bro",                            0, 0           },
    {"The quick brown fox",                              "quick bread",                          1, 0           },
    {"The quick brown fox",                              "",                                     1, GB_SEAM_OPEN},
    {"The quick brown fox",                              "",                                     0, 0           },
    {"The quick brown fox",                              "The quick brown fox jumps",            0, 19          }, /* all over again */
    {"hel",                                              "lo",                                   0, 0           },
    {"a ball",                                           "all of it",                            0, 0           }, /* not the begin of a word */
    {"an interesting thought",                           "resting thoughts",                     0, 15          }, /* too long for chance */
    {"x = (a + b",                                       " + b)",                                0, 0           },
    {"",                                                 "Hello",                                1, 0           },
    {"\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c", "\xe4\xb8\x96\xe7\x95\x8c\xe5\x92\x8c", 0,
     6                                                                                                          },
    {"na\xc3\xafve",                                     "\xafve x",                             0, 0           }, /* no character begins so */
};

static void test_overlap(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(seams) / sizeof(seams[0]); i++) {
        const seam_t *s = &seams[i];
        size_t found = gb_seam_overlap(s->said, strlen(s->said), s->next, strlen(s->next), s->more);

        if (found != s->overlap) {
            fail_msg("seam %d: %d", (int)i, (int)found);
        }
    }
}

/* However much it looks like a repetition, it is settled in the end. */
static void test_bound(void **state)
{
    char said[2000], next[600];

    (void)state;
    memset(said, 'a', sizeof(said));
    memset(next, 'a', sizeof(next));
    assert_int_equal(gb_seam_overlap(said, sizeof(said), next, 511, 1), GB_SEAM_OPEN);
    assert_int_equal(gb_seam_overlap(said, sizeof(said), next, 512, 1), 512);
}

typedef struct body_t {
    const char *body, *said;
    const char *head; /* how the answer begins; NULL: refused */
} body_t;

static const body_t bodies[] = {
    {"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}],\"n\":19.90}",           "a\"b",
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]},{\"role\":\"model\","
     "\"parts\":["
     "{\"text\":\"a\\\"b\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"Your answer"                                                       },
    {"{\"contents\":[{\"parts\":[]} ] }",                                                       "",     "{\"contents\":[{\"parts\":[]} ] }"},
    {"{\"contents\":[{\"parts\":[]} ] }",                                                       "x",
     "{\"contents\":[{\"parts\":[]} ,{\"role\":\"model\""                                                                                  },
    {"{\"contents\":[{\"role\":\"model\",\"parts\":[]}]}",                                      "x",    NULL                               },
    {"{\"contents\":[]}",                                                                       "x",    NULL                               },
    {"{\"contents\":\"x\"}",                                                                    "x",    NULL                               },
    {"{}",                                                                                      "x",    NULL                               },
    {"{\"contents\":[{}],\"generationConfig\":{\"responseMimeType\":\"application/json\"}}",    "x",
     NULL                                                                                                                                  },
    {"{\"contents\":[{}],\"generation_config\":{\"response_mime_type\":\"application/json\"}}", "x",
     NULL                                                                                                                                  },
    {"{\"contents\":[{}],\"tools\":[{\"googleSearch\":{}}]}",                                   "x",    NULL                               },
    {"{\"contents\":[{}],\"tools\":[{\"functionDeclarations\":[]}]}",                           "x",
     "{\"contents\":[{},{\"role\":\"model"                                                                                                 },
};

static void test_body(void **state)
{
    gb_json_fault_t fault;
    gb_buf_t out;
    size_t i;

    (void)state;
    gb_buf_init(&out, 10000);
    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const body_t *b = &bodies[i];
        gb_span_t body = gb_json_root(b->body, strlen(b->body));

        gb_buf_reset(&out);
        assert_int_equal(gb_seam_body(&out, body, b->said, strlen(b->said)),
                         b->head != NULL ? APR_SUCCESS : APR_EINVAL);
        if (b->head != NULL) {
            assert_true(out.len >= strlen(b->head));
            assert_memory_equal(out.data, b->head, strlen(b->head));
            assert_int_equal(gb_json_check(out.data, out.len, &fault), APR_SUCCESS);
        }
    }
    assert_non_null(out.data);
    gb_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
