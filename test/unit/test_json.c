/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner: what it accepts, what it hands out, what it writes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/media.h"

static apr_pool_t *pool;

static gb_span_t span(const char *text)
{
    return gb_json_root(text, strlen(text));
}

static void assert_span(gb_span_t got, const char *want, int line)
{
    if (want == NULL
            ? got.p != NULL
            : (got.p == NULL || got.len != strlen(want) || memcmp(got.p, want, got.len) != 0)) {
        print_error("line %d: got \"%.*s\", want \"%s\"\n", line, (int)got.len,
                    got.p != NULL ? got.p : "", want != NULL ? want : "(nothing)");
        fail();
    }
}
#define ASSERT_SPAN(got, want) assert_span(got, want, __LINE__)

/* ---- checking ---- */

typedef struct check_case_t {
    const char *text;
    size_t len; /* 0: strlen */
    int lone;
} check_case_t;

static const check_case_t good[] = {
    {"{}",                                                                        0, 0},
    {" [ ] \r\n\t",                                                               0, 0},
    {"null",                                                                      0, 0},
    {"true",                                                                      0, 0},
    {"\"\"",                                                                      0, 0},
    {"0",                                                                         0, 0},
    {"-0",                                                                        0, 0},
    {"19.99",                                                                     0, 0},
    {"123456789012345678901234567890",                                            0, 0},
    {"1e400",                                                                     0, 0},
    {"-1.5E+10",                                                                  0, 0},
    {"1e-5",                                                                      0, 0},
    {"\"\\u0000\"",                                                               0, 0},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"",                                     0, 0},
    {"{\"a\":1,\"a\":2}",                                                         0, 0},
    {"{\"a\" : [ 1 , {\"b\":[]} , {} ] , \"c\":{} }",                             0, 0},
    {"\"\\ud83d\\ude00\"",                                                        0, 0},
    {"\"\\ud800\"",                                                               0, 1},
    {"\"\\udc00\"",                                                               0, 1},
    {"\"\\udc00\\ud800\"",                                                        0, 1},
    {"\"\\ud800\\ud800\\udc00\"",                                                 0, 1},
    {"\"\\ud800x\"",                                                              0, 1},
    {"\"\\\\ud800\"",                                                             0, 0},
    {"\"\x7f\"",                                                                  0, 0},
    {"\"\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf\"", 0, 0},
    {"\"\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\"",                                     0, 0},
    {"[\"abcdefgh\",\"abcdefghi\",\"abcdefg\\n\",\"abcdef\xc3\xa4ghijkl\"]",      0, 0},
};

static const check_case_t bad[] = {
    {"",                         0, 0},
    {"  ",                       0, 0},
    {"{",                        0, 0},
    {"[",                        0, 0},
    {"}",                        0, 0},
    {"[1,]",                     0, 0},
    {"[,1]",                     0, 0},
    {"[1 2]",                    0, 0},
    {"[1}",                      0, 0},
    {"{\"a\":1]",                0, 0},
    {"{\"a\":1,}",               0, 0},
    {"{,\"a\":1}",               0, 0},
    {"{\"a\" 1}",                0, 0},
    {"{\"a\":}",                 0, 0},
    {"{a:1}",                    0, 0},
    {"{1:1}",                    0, 0},
    {"{\"a\"}",                  0, 0},
    {"{}{}",                     0, 0},
    {"{} x",                     0, 0},
    {"1 1",                      0, 0},
    {"nul",                      0, 0},
    {"nulll",                    0, 0},
    {"True",                     0, 0},
    {"NaN",                      0, 0},
    {"+1",                       0, 0},
    {"01",                       0, 0},
    {"-",                        0, 0},
    {"-a",                       0, 0},
    {"1.",                       0, 0},
    {".5",                       0, 0},
    {"1e",                       0, 0},
    {"1e+",                      0, 0},
    {"1.e5",                     0, 0},
    {"0x10",                     0, 0},
    {"'a'",                      0, 0},
    {"\"a",                      0, 0},
    {"\"\\\"",                   0, 0},
    {"\"\\x\"",                  0, 0},
    {"\"\\u12\"",                0, 0},
    {"\"\\u12g4\"",              0, 0},
    {"\"\\u",                    0, 0},
    {"\"\\",                     0, 0},
    {"\"a\nb\"",                 0, 0},
    {"\"a\tb\"",                 0, 0},
    {"\"abcdefghij\x01klmnop\"", 0, 0},
    {"\"a\0b\"",                 5, 0},
    {"\"\\\0\"",                 4, 0},
    {"{}\0",                     3, 0},
    {"\xef\xbb\xbf{}",           0, 0},
    {"// x\n{}",                 0, 0},
    {"\"\x80\"",                 0, 0},
    {"\"\xc0\x80\"",             0, 0}, /* overlong NUL */
    {"\"\xc1\xbf\"",             0, 0}, /* overlong */
    {"\"\xe0\x9f\xbf\"",         0, 0}, /* overlong */
    {"\"\xf0\x8f\xbf\xbf\"",     0, 0}, /* overlong */
    {"\"\xed\xa0\x80\"",         0, 0}, /* a surrogate half */
    {"\"\xed\xbf\xbf\"",         0, 0}, /* a surrogate half */
    {"\"\xf4\x90\x80\x80\"",     0, 0}, /* above U+10FFFF */
    {"\"\xf5\x80\x80\x80\"",     0, 0},
    {"\"\xff\"",                 0, 0},
    {"\"\xc3",                   0, 0}, /* truncated */
    {"\"\xe2\x82\"",             0, 0},
    {"\"\xf0\x9f\x98\"",         0, 0},
    {"\xc3\xa4",                 0, 0},
};

static void accepts_and_refuses(void **state)
{
    gb_json_fault_t fault;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (gb_json_check(good[i].text, strlen(good[i].text), &fault) != APR_SUCCESS
            || fault.has_lone_surrogate != good[i].lone) {
            print_error("%s: %s\n", good[i].text, fault.message);
            fail();
        }
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t len = bad[i].len > 0 ? bad[i].len : strlen(bad[i].text);
        /* a copy without a NUL behind it, so that the address sanitizer sees an overrun */
        char *copy = malloc(len > 0 ? len : 1);

        memcpy(copy, bad[i].text, len);
        if (gb_json_check(copy, len, &fault) != APR_EINVAL || fault.message[0] == '\0'
            || fault.offset > len) {
            print_error("accepted: %s\n", bad[i].text);
            fail();
        }
        free(copy);
    }
}

static void says_where(void **state)
{
    gb_json_fault_t fault;

    (void)state;
    gb_json_check("{\"a\": tru }", 11, &fault);
    assert_string_equal(fault.message, "unexpected character at byte 6");
    gb_json_check("{\"a\": [1, 2", 11, &fault);
    assert_string_equal(fault.message, "unexpected end of text at byte 11");
    gb_json_check("[\"a\xff\"]", 6, &fault);
    assert_string_equal(fault.message, "invalid UTF-8 at byte 3");
    gb_json_check("[\"\\q\"]", 6, &fault);
    assert_string_equal(fault.message, "invalid escape at byte 2");
    gb_json_check("[\"\n\"]", 5, &fault);
    assert_string_equal(fault.message, "control character inside a string at byte 2");
    gb_json_check("{} {}", 5, &fault);
    assert_string_equal(fault.message, "text after the end of the value at byte 3");
}

static void depth_has_a_limit(void **state)
{
    char text[512];
    gb_json_fault_t fault;
    int depth;

    (void)state;
    for (depth = 99; depth <= 101; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(gb_json_check(text, (size_t)depth * 2, &fault),
                         depth <= 100 ? APR_SUCCESS : APR_EINVAL);
    }
    assert_string_equal(fault.message, "nesting is deeper than 100 levels at byte 100");
}

/* Every proper prefix of a document is refused, and read without a byte too many. */
static void prefixes_are_refused(void **state)
{
    static const char text[] =
        "{\"k\\u00e4\": [1.5e3, true, null, \"x\\ud83d\\ude00\xe2\x82\xac\", {}]}";
    size_t len;
    gb_json_fault_t fault;

    (void)state;
    for (len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len > 0 ? len : 1);

        memcpy(copy, text, len);
        assert_int_equal(gb_json_check(copy, len, &fault), APR_EINVAL);
        free(copy);
    }
    assert_int_equal(gb_json_check(text, len, &fault), APR_SUCCESS);
}

static void mends_lone_surrogates(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"a\":\"\\ud800\"}",       "{\"a\":\"\\ufffd\"}"      },
        {"\"\\udfff x \\uDBFF\"",     "\"\\ufffd x \\ufffd\""    },
        {"\"\\udc00\\ud800\"",        "\"\\ufffd\\ufffd\""       },
        {"\"\\ud800\\ud800\\udc00\"", "\"\\ufffd\\ud800\\udc00\""},
        {"\"\\ud83d\\ude00\"",        "\"\\ud83d\\ude00\""       },
        {"\"\\\\ud800 \\\\\\ud800\"", "\"\\\\ud800 \\\\\\ufffd\""},
        {"[19.99, 1e400]",            "[19.99, 1e400]"           },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gb_buf_t out;
        gb_json_fault_t fault;

        gb_buf_init(&out, 1000);
        assert_int_equal(gb_json_mend(&out, cases[i].in, strlen(cases[i].in)), APR_SUCCESS);
        assert_string_equal(out.data, cases[i].out);
        assert_int_equal(gb_json_check(out.data, out.len, &fault), APR_SUCCESS);
        assert_false(fault.has_lone_surrogate);
        gb_buf_free(&out);
    }
}

/* ---- reading ---- */

static void members_by_decoded_name(void **state)
{
    gb_span_t root = span(" {\"a\":1, \"b\" : {\"c\":[10,\"}]\",{\"d\":19.99}]} ,\"\\u0061\":2,"
                          "\"q\\\"\\u00e4\":3,\"nul\\u0000\":4,\"\":5} ");

    (void)state;
    ASSERT_SPAN(gb_json_get(root, "a"), "2");
    ASSERT_SPAN(gb_json_get(root, "q\"\xc3\xa4"), "3");
    ASSERT_SPAN(gb_json_get(root, "nul"), NULL);
    ASSERT_SPAN(gb_json_get(root, ""), "5");
    ASSERT_SPAN(gb_json_get(root, "c"), NULL);
    ASSERT_SPAN(gb_json_get(root, "b"), "{\"c\":[10,\"}]\",{\"d\":19.99}]}");
    ASSERT_SPAN(gb_json_get2(root, "zz", "b"), "{\"c\":[10,\"}]\",{\"d\":19.99}]}");
    ASSERT_SPAN(gb_json_get2(root, "b", "zz"), "{\"c\":[10,\"}]\",{\"d\":19.99}]}");
    ASSERT_SPAN(gb_json_path(root, "b.c.2.d"), "19.99");
    ASSERT_SPAN(gb_json_path(root, "b.c.1"), "\"}]\"");
    ASSERT_SPAN(gb_json_path(root, "b.c.3"), NULL);
    ASSERT_SPAN(gb_json_path(root, "b.c.x"), NULL);
    ASSERT_SPAN(gb_json_path(root, "b.x.y"), NULL);
    ASSERT_SPAN(gb_json_path(root, "a.x"), NULL);
    ASSERT_SPAN(gb_json_get(span("[1]"), "a"), NULL);
    ASSERT_SPAN(gb_json_get(span("\"a\""), "a"), NULL);
    ASSERT_SPAN(gb_json_get(span(""), "a"), NULL);
}

static void iterates(void **state)
{
    gb_json_iter_t it;
    gb_span_t list = span("[ 1,\"a,]\" , [2,[3]],{\"x\":4},null ]");
    static const char *const want[] = {"1", "\"a,]\"", "[2,[3]]", "{\"x\":4}", "null"};
    size_t n = 0;

    (void)state;
    for (gb_json_iter(&it, list); gb_json_next(&it); n++) {
        assert_int_equal(it.index, n);
        assert_null(it.key.p);
        ASSERT_SPAN(it.value, want[n]);
    }
    assert_int_equal(n, 5);
    assert_false(gb_json_next(&it));
    gb_json_iter(&it, span("{ \"k\" : true }"));
    assert_true(gb_json_next(&it));
    ASSERT_SPAN(it.key, "\"k\"");
    ASSERT_SPAN(it.value, "true");
    assert_false(gb_json_next(&it));
    assert_int_equal(gb_json_count(span("{}")), 0);
    assert_int_equal(gb_json_count(span("[ ]")), 0);
    assert_int_equal(gb_json_count(span("17")), 0);
    assert_int_equal(gb_json_count(span("{\"a\":1,\"a\":1}")), 2);
}

static void kinds(void **state)
{
    static const struct {
        const char *text;
        gb_json_kind_t kind;
    } cases[] = {
        {"{}",    GB_JSON_OBJECT},
        {"[]",    GB_JSON_ARRAY },
        {"\"\"",  GB_JSON_STRING},
        {"-1",    GB_JSON_NUMBER},
        {"9",     GB_JSON_NUMBER},
        {"true",  GB_JSON_TRUE  },
        {"false", GB_JSON_FALSE },
        {"null",  GB_JSON_NULL  },
        {" ",     GB_JSON_NONE  },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(gb_json_kind(span(cases[i].text)), cases[i].kind);
    }
}

static void strings_decode(void **state)
{
    static const struct {
        const char *raw, *text;
        size_t len;
    } cases[] = {
        {"\"\"",                             "",                                     0},
        {"\"plain\"",                        "plain",                                5},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",   "\"\\/\b\f\n\r\t",                      8},
        {"\"\\u00e4\\u20ac\\ud83d\\ude00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9},
        {"\"a\\u0000b\"",                    "a\0b",                                 3},
        {"\"\\ud800\"",                      "\xef\xbf\xbd",                         3},
        {"\"\\ud800\\u0041\"",
         "\xef\xbf\xbd"
         "A",                                                                        4},
        {"\"\\udc00\\ud800\"",               "\xef\xbf\xbd\xef\xbf\xbd",             6},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = 99;
        const char *text = gb_json_str(span(cases[i].raw), &len, pool);
        gb_buf_t out;

        assert_non_null(text);
        assert_int_equal(len, cases[i].len);
        assert_memory_equal(text, cases[i].text, len + 1);
        gb_buf_init(&out, 1000);
        gb_buf_putc(&out, '>');
        assert_int_equal(gb_json_str_append(&out, span(cases[i].raw)), APR_SUCCESS);
        assert_int_equal(out.len, len + 1);
        assert_memory_equal(out.data + 1, cases[i].text, len);
        gb_buf_free(&out);
    }
    assert_null(gb_json_str(span("1"), NULL, pool));
    assert_null(gb_json_str(span(""), NULL, pool));
    assert_true(gb_json_eq(span("\"\\u0061b\""), "ab"));
    assert_false(gb_json_eq(span("\"\\u0061b\""), "abc"));
    assert_false(gb_json_eq(span("\"abc\""), "ab"));
    assert_false(gb_json_eq(span("\"a\\n\""), "a\\n"));
    assert_false(gb_json_eq(span("\"\\u0000\""), ""));
    assert_false(gb_json_eq(span("1"), "1"));
}

static void integers(void **state)
{
    static const struct {
        const char *text;
        int ok;
        apr_int64_t n;
    } cases[] = {
        {"0",                                   1, 0                    },
        {"-0",                                  1, 0                    },
        {"0e99999",                             1, 0                    },
        {"0.000",                               1, 0                    },
        {"17",                                  1, 17                   },
        {"-17",                                 1, -17                  },
        {"3.0",                                 1, 3                    },
        {"1e2",                                 1, 100                  },
        {"1.5e1",                               1, 15                   },
        {"1200e-2",                             1, 12                   },
        {"1.25e2",                              1, 125                  },
        {"10.0500e2",                           1, 1005                 },
        {"100e-3",                              0, 0                    },
        {"0.5",                                 0, 0                    },
        {"1e-1",                                0, 0                    },
        {"9007199254740993",                    1, 9007199254740993LL   },
        {"9223372036854775807",                 1, APR_INT64_MAX        },
        {"9223372036854775808",                 0, 0                    },
        {"-9223372036854775808",                1, APR_INT64_MIN        },
        {"-9223372036854775809",                0, 0                    },
        {"18446744073709551616",                0, 0                    },
        {"1e18",                                1, 1000000000000000000LL},
        {"1e19",                                0, 0                    },
        {"123456789012345678901234567890",      0, 0                    },
        {"1e400",                               0, 0                    },
        {"1e-400",                              0, 0                    },
        {"1000000000000000000000000000000e-29", 1, 10                   },
        {"19.99",                               0, 0                    },
        {"\"17\"",                              0, 0                    },
        {"null",                                0, 0                    },
        {"true",                                0, 0                    },
        {"[1]",                                 0, 0                    },
        {"",                                    0, 0                    },
        {"1e99999999999999999999",              0, 0                    },
        {"1e-99999999999999999999",             0, 0                    },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_int64_t n = 4711;
        int ok = gb_json_int(span(cases[i].text), &n);

        if (ok != cases[i].ok || n != (ok ? cases[i].n : 4711)) {
            print_error("%s: %d, %lld\n", cases[i].text, ok, (long long)n);
            fail();
        }
    }
}

static void integers_as_strings(void **state)
{
    apr_int64_t n = 0;

    (void)state;
    assert_true(gb_json_int_or_str(span("\"123\""), &n));
    assert_int_equal(n, 123);
    assert_true(gb_json_int_or_str(span("-5"), &n));
    assert_int_equal(n, -5);
    assert_false(gb_json_int_or_str(span("\"\""), &n));
    assert_false(gb_json_int_or_str(span("\"12x\""), &n));
    assert_false(gb_json_int_or_str(span("\" 12\""), &n));
    assert_false(gb_json_int_or_str(span("null"), &n));
}

static void doubles(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0.0",
        "1",
        "19.99",
        "0.1",
        "1e-7",
        "3.141592653589793",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "5e-324",
        "123456789012345678901234567890",
        "-2.5e-3",
        "9007199254740993",
        "0.000000000000000000000000000000000000000000000000000001",
    };
    static const char *const refused[] = {"1e400", "-1e309", "\"1\"", "null", "", "1e"};
    size_t i;
    double x = 5;

    (void)state;
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_true(gb_json_double(span(texts[i]), &x));
        if (x != strtod(texts[i], NULL)) {
            print_error("%s: %.17g\n", texts[i], x);
            fail();
        }
    }
    x = 5;
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_false(gb_json_double(span(refused[i]), &x));
        assert_true(x == 5);
    }
    assert_true(gb_json_double(span("1e-400"), &x));
    assert_true(x == 0);
}

static void booleans(void **state)
{
    int flag = 7;

    (void)state;
    assert_false(gb_json_bool(span("0"), &flag));
    assert_int_equal(flag, 7);
    assert_true(gb_json_bool(span("true"), &flag));
    assert_int_equal(flag, 1);
    assert_true(gb_json_bool(span("false"), &flag));
    assert_int_equal(flag, 0);
}

/* ---- writing ---- */

static void strings_encode(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *json;
    } cases[] = {
        {"",                                     0,  "\"\""                                             },
        {"a\"b\\c\b\f\n\r\t\x01\x1f\x7f/",       14, "\"a\\\"b\\\\c\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\""},
        {"\0",                                   1,  "\"\\u0000\""                                      },
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,  "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""         },
        {"a\xff"
         "b\xc3",                       4,
         "\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd\""                                                                              },
        {"\xed\xa0\x80",                         3,  "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""         },
        {"0123456789012345\n0123456789",         27, "\"0123456789012345\\n0123456789\""                },
    };
    gb_buf_t out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gb_json_fault_t fault;

        gb_buf_init(&out, 1000);
        assert_int_equal(gb_json_put_str(&out, cases[i].text, cases[i].len), APR_SUCCESS);
        assert_string_equal(out.data, cases[i].json);
        assert_int_equal(gb_json_check(out.data, out.len, &fault), APR_SUCCESS);
        gb_buf_free(&out);
    }
    gb_buf_init(&out, 1000);
    gb_json_put_cstr(&out, NULL);
    gb_json_put_cstr(&out, "x\n");
    gb_json_put_escaped(&out, "y\n", 2);
    assert_string_equal(out.data, "null\"x\\n\"y\\n");
    gb_buf_free(&out);
}

static void compacts(void **state)
{
    gb_buf_t out;

    (void)state;
    gb_buf_init(&out, 1000);
    gb_json_put_compact(&out, span(" { \"a b\" :\r\n [ 1 ,\t\"x \\\" y\" ] } "));
    assert_string_equal(out.data, "{\"a b\":[1,\"x \\\" y\"]}");
    gb_buf_free(&out);
}

static void edits(void **state)
{
    static const struct {
        const char *object;
        const char *name[2];
        const char *value[2]; /* NULL: remove */
        const char *want;
    } cases[] = {
        {"{ \"a\" : 19.99 , \"b\":2 }",     {"b"},      {"3"},        "{ \"a\" : 19.99 , \"b\":3 }"},
        {"{ \"a\" : 19.99 , \"b\":2 }",     {"a"},      {NULL},       "{  \"b\":2 }"               },
        {"{\"a\":1,\"b\":2}",               {"b"},      {NULL},       "{\"a\":1}"                  },
        {"{\"a\":1,\"b\":2}",               {"a", "b"}, {NULL, NULL}, "{}"                         },
        {"{\"a\":1,\"b\":2}",               {"a", "b"}, {NULL, "{}"}, "{\"b\":{}}"                 },
        {"{}",                              {"a"},      {"true"},     "{\"a\":true}"               },
        {"{ }",                             {"a", "b"}, {"1", "2"},   "{\"a\":1,\"b\":2 }"         },
        {"{\"a\":1}",                       {"c", "d"}, {"2", NULL},  "{\"a\":1,\"c\":2}"          },
        {"{\"a\":1,\"\\u0061\":2,\"b\":3}", {"a"},      {NULL},       "{\"b\":3}"                  },
        {"{\"a\":1,\"b\":3,\"a\":2}",       {"a"},      {"9"},        "{\"a\":9,\"b\":3,\"a\":9}"  },
        {"{\"x\":{\"a\":1},\"a\":\"}\"}",   {"a"},      {"0"},        "{\"x\":{\"a\":1},\"a\":0}"  },
        {"{\"a\":1}",                       {"b"},      {NULL},       "{\"a\":1}"                  },
    };
    gb_buf_t out;
    size_t i, k;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gb_json_edit_t list[2];
        size_t n = 0;

        for (k = 0; k < 2 && cases[i].name[k] != NULL; k++, n++) {
            gb_span_t removed = {NULL, 0};

            list[k].name = cases[i].name[k];
            list[k].value = cases[i].value[k] != NULL ? span(cases[i].value[k]) : removed;
        }
        gb_buf_init(&out, 1000);
        assert_int_equal(gb_json_edit(&out, span(cases[i].object), list, n), APR_SUCCESS);
        assert_string_equal(out.data, cases[i].want);
        gb_buf_free(&out);
    }
    gb_buf_init(&out, 10);
    assert_int_equal(gb_json_edit(&out, span("[1]"), NULL, 0), APR_EINVAL);
    gb_buf_free(&out);
}

/* 40 MB of base64, of CJK text and of small members: each in a fraction of a second. */
/* Of this thread: what else the machine does costs it nothing. */
static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Processor time to check a text of that size and to find its last member. */
static double time_of(const char *piece, size_t size)
{
    gb_json_fault_t fault;
    gb_buf_t text;
    double spent;

    gb_buf_init(&text, size + 100);
    gb_buf_puts(&text, "{\"data\":\"");
    while (text.len < size) {
        gb_buf_puts(&text, piece);
    }
    gb_buf_puts(&text, "\",\"last\":7}");
    spent = cpu_seconds();
    assert_int_equal(gb_json_check(text.data, text.len, &fault), APR_SUCCESS);
    ASSERT_SPAN(gb_json_get(gb_json_root(text.data, text.len), "last"), "7");
    spent = cpu_seconds() - spent;
    gb_buf_free(&text);
    return spent;
}

/* Sixteen times the text takes sixteen times as long, not the square of it. */
static void time_grows_with_the_text(void **state)
{
    static const char *const piece[] = {"iVBORw0KGgoAAAANSUhEUgAA",
                                        "\xe6\xbc\xa2\xe5\xad\x97\xe3\x82\xab\xe3\x83\x8a",
                                        "\",\"key\":{\"n\":[1,2.5,true]},\"s\":\""};
    size_t i;

    (void)state;
    for (i = 0; i < 3; i++) {
        double small = time_of(piece[i], 2 * 1024 * 1024);
        double large = time_of(piece[i], 32 * 1024 * 1024);

        print_message("2 MB: %.1f ms, 32 MB: %.1f ms\n", small * 1000, large * 1000);
        assert_true(large < 64 * small);
    }
}

/* ---- the innermost loops ---- */

static int is_quote(char c)
{
    return c == '"' || c == '\\';
}

static int is_stop(char c)
{
    return c != '\0' && strchr("\"{}[]", c) != NULL;
}

static int is_eol(char c)
{
    return c == '\n' || c == '\r';
}

static int is_not_plain(char c)
{
    return !scan_is_plain(c);
}

/* Of bytes that differ in a bit or by one from those that stop, at every place in a word. */
static void scans_stop_at_the_first(void **state)
{
    static const char near_by[] = "\"\\[]{}\n\r !#Z^;=z|~\x01\x1f\x7f\x80\xa2\xdb\xdd\xfb\xfd";
    static const struct {
        const char *(*scan)(const char *p, const char *end);
        int (*stops)(char c);
        size_t blind; /* how many of the last bytes it leaves to its caller */
    } scans[] = {
        {scan_to_quote, is_quote,     0},
        {scan_to_stop,  is_stop,      7},
        {scan_to_eol,   is_eol,       0},
        {scan_plain,    is_not_plain, 0},
    };
    unsigned seed = 1;
    size_t i, k, round;

    (void)state;
    for (round = 0; round < 20000; round++) {
        char text[40];
        size_t len = round % sizeof(text);

        for (i = 0; i < len; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = (seed >> 16) % 4 ? 'x' : near_by[(seed >> 20) % (sizeof(near_by) - 1)];
        }
        for (k = 0; k < sizeof(scans) / sizeof(scans[0]); k++) {
            size_t got = (size_t)(scans[k].scan(text, text + len) - text), want = 0;

            while (want < len && !scans[k].stops(text[want])) {
                want++;
            }
            assert_true(got == want || (got < want && len - got <= scans[k].blind));
        }
    }
}

/* What begins so is 300 characters long; 1: it is media. */
static void tells_media(void **state)
{
    static const struct {
        const char *begins;
        size_t n;
    } cases[] = {
        {"iVBORw0KGgo+/8",         1},
        {"iVBOR\\/w0KGgo+",        1},
        {"data:image/png;base64,", 1},
        {"only words, not bytes",  0},
        {"iVBORw0KGgo\\\"8",       0},
    };
    char text[400];
    size_t i, n;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].begins);

        strcpy(text, "{\"data\":\"");
        memset(text + 9, 'A', 300);
        memcpy(text + 9, cases[i].begins, len);
        strcpy(text + 309, "\",\"more\":\"x\"}");
        len = strlen(text);
        assert_int_equal(gb_media_left(text, len, &n), cases[i].n ? len - 300 : len);
        assert_int_equal(n, cases[i].n);
        assert_int_equal(gb_media_left(text, 309, &n), cases[i].n ? 9 : 309); /* cut */
    }
    assert_int_equal(gb_media_left("", 0, &n), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_refuses),
        cmocka_unit_test(tells_media),
        cmocka_unit_test(says_where),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(prefixes_are_refused),
        cmocka_unit_test(mends_lone_surrogates),
        cmocka_unit_test(members_by_decoded_name),
        cmocka_unit_test(iterates),
        cmocka_unit_test(kinds),
        cmocka_unit_test(strings_decode),
        cmocka_unit_test(integers),
        cmocka_unit_test(integers_as_strings),
        cmocka_unit_test(doubles),
        cmocka_unit_test(booleans),
        cmocka_unit_test(strings_encode),
        cmocka_unit_test(compacts),
        cmocka_unit_test(edits),
        cmocka_unit_test(scans_stop_at_the_first),
        cmocka_unit_test(time_grows_with_the_text),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
