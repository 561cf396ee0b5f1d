/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: every tag, every filter, the faults, and that nothing gets out unescaped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/template.h"

static apr_pool_t *pool;

#define NOW 1795000000 /* 2026-11-18T11:06:40Z */

static gb_templates_t *parse_one(const char *text)
{
    const gb_template_file_t files[] = {
        {"t",      text                           },
        {"other",  "<{{name}}>"                   },
        {"loop",   "x{{>loop}}"                   },
        {"page_a", "A{{$inner}}{{name}}{{/inner}}"},
        {NULL,     NULL                           },
    };
    gb_templates_t *set = NULL;
    const char *why;

    if (gb_templates_parse(&set, files, &why, pool) != APR_SUCCESS) {
        fail_msg("%s", why);
    }
    return set;
}

static const char *render(const char *text, const char *json, const char *part, const char *page)
{
    json_t *data = json_loads(json, 0, NULL),
           *words = json_loads("{\"Hello {name}\": \"你好 {name}\", "
                               "\"{n} key | {n} keys\": \"{n} 把\", "
                               "\"Off\": \"已停用\"}",
                               0, NULL);
    gb_render_t how = {page, part, words, "g/icons.svg", NULL, (apr_time_t)NOW * APR_USEC_PER_SEC};
    gb_buf_t out;
    apr_status_t rv;
    const char *result;

    assert_non_null(data);
    gb_buf_init_pool(&out, 1024 * 1024, pool);
    rv = gb_template_render(&out, parse_one(text), "t", data, &how);
    result = rv == APR_SUCCESS ? (out.data ? out.data : "") : apr_psprintf(pool, "rv %d", rv);
    json_decref(data);
    json_decref(words);
    return result;
}

typedef struct line_t {
    int line;
    const char *text, *json, *want;
} line_t;

/* clang-format off */
static const line_t lines[] = {
    {__LINE__, "plain", "{}", "plain"},
    {__LINE__, "", "{}", ""},
    {__LINE__, "{{a}} {{ b.c }} {{gone}}.", "{\"a\": 1, \"b\": {\"c\": \"x\"}}", "1 x ."},
    {__LINE__, "{{a}}", "{\"a\": \"<script>&'\\\"\"}", "&lt;script&gt;&amp;&#39;&quot;"},
    {__LINE__, "{{a}}{{b}}{{c}}{{d}}", "{\"a\": true, \"b\": false, \"c\": null, \"d\": 1.5}", "true1.5"},
    {__LINE__, "{{#l}}<{{.}}>{{/l}}", "{\"l\": [\"a\", 2]}", "<a><2>"},
    {__LINE__, "{{#l}}{{x}}{{top}} {{/l}}", "{\"top\": \"T\", \"l\": [{\"x\": 1}, {\"x\": 2}]}", "1T 2T "},
    {__LINE__, "{{#o}}{{x}}{{/o}}{{#x}}no{{/x}}", "{\"o\": {\"x\": 7}}", "7"},
    {__LINE__, "{{#a}}{{.}}{{/a}}{{^b}}none{{/b}}", "{\"a\": \"text\", \"b\": 0}", "textnone"},
    {__LINE__, "{{#s=on}}yes{{/s}}{{^s=on}}no{{/s}}", "{\"s\": \"on\"}", "yes"},
    {__LINE__, "{{#n=3}}three{{/n}}{{^n=4}}not four{{/n}}", "{\"n\": 3}", "threenot four"},
    {__LINE__, "{{^l}}empty{{/l}}", "{\"l\": []}", "empty"},
    {__LINE__, "{{! <b>never</b> }}x", "{}", "x"},
    {__LINE__, "{{>other}}{{#o}}{{>other}}{{/o}}", "{\"name\": \"a\", \"o\": {\"name\": \"b\"}}", "<a><b>"},
    {__LINE__, "{{>page}}", "{\"name\": \"n\"}", "An"},
    {__LINE__, "{{icon key}}", "{}", "<svg class=\"i\" aria-hidden=\"true\"><use href=\"g/icons.svg#i-key\"/></svg>"},
    {__LINE__, "{{icon =what}}", "{\"what\": \"\\\"x\"}", "<svg class=\"i\" aria-hidden=\"true\"><use href=\"g/icons.svg#i-&quot;x\"/></svg>"},
    {__LINE__, "{{_ Hello {name}}}", "{\"name\": \"<i>\"}", "你好 &lt;i&gt;"},
    {__LINE__, "{{_ Not in\n  any & {catalogue}}}", "{\"catalogue\": \"list\"}", "Not in any &amp; list"},
    {__LINE__, "{{_ {n} key | {n} keys}}", "{\"n\": 5}", "5 把"},
    {__LINE__, "{{_ {m} thing | {m|n} things}}", "{\"m\": 1}", "1 thing"},
    {__LINE__, "{{_ {m} thing | {m|n} things}}", "{\"m\": 4321}", "4,321 things"},
    {__LINE__, "{{state|t}}", "{\"state\": \"Off\"}", "已停用"},
    {__LINE__, "{{a|n}} {{b|n}} {{c|n}}", "{\"a\": 1234567, \"b\": 999, \"c\": -1000}", "1,234,567 999 −1,000"},
    {__LINE__, "{{a|short}} {{b|short}} {{c|short}}", "{\"a\": 9999, \"b\": 61234, \"c\": 1481204}", "9,999 61.2 k 1.48 M"},
    {__LINE__, "{{a|pct}} {{b|pct}} {{c|pct}}", "{\"a\": 0.985, \"b\": 1, \"c\": 0}", "98.5 % 100 % 0 %"},
    {__LINE__, "{{a|bytes}} {{b|bytes}}", "{\"a\": 512, \"b\": 188416}", "512 B 184 KB"},
    {__LINE__, "{{a|ms}} {{b|ms}} {{c|ms}}", "{\"a\": 840, \"b\": 1234, \"c\": 12345}", "840 ms 1.23 s 12.3 s"},
    {__LINE__, "{{a|url}}", "{\"a\": \"a b/?&ü\"}", "a%20b%2F%3F%26%C3%BC"},
    {__LINE__, "{{a|json}}", "{\"a\": {\"x\": \"<\"}}", "{&quot;x&quot;:&quot;&lt;&quot;}"},
    {__LINE__, "{{a|clock}}", "{\"a\": 1795000000}", "<time datetime=\"2026-11-18T11:06:40Z\">11:06:40</time>"},
    {__LINE__, "{{a|when}} {{b|when}}", "{\"a\": 1795000100, \"b\": 1794900000}",
     "<time datetime=\"2026-11-18T11:08:20Z\">11:08</time> <time datetime=\"2026-11-17T07:20:00Z\">2026-11-17 07:20</time>"},
    {__LINE__, "{{a|left}} {{b|left}} {{c|left}}", "{\"a\": 1795000042, \"b\": 1795003700, \"c\": 1}",
     "<time datetime=\"2026-11-18T11:07:22Z\" data-left=\"42\">0:42</time> "
     "<time datetime=\"2026-11-18T12:08:20Z\" data-left=\"3700\">1:01:40</time> "
     "<time datetime=\"1970-01-01T00:00:01Z\" data-left=\"0\">0:00</time>"},
    {__LINE__, "{{a|clock}}", "{\"a\": \"<script>\"}", ""},
};
/* clang-format on */

static void test_lines(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *have = render(lines[i].text, lines[i].json, NULL, "page_a");

        if (strcmp(have, lines[i].want) != 0) {
            fail_msg("line %d: \"%s\", wanted \"%s\"", lines[i].line, have, lines[i].want);
        }
    }
}

/* A part has the surroundings that it has on the whole page. */
static void test_parts(void **state)
{
    const char *text = "top {{#o}}[{{$rows}}{{#l}}{{.}}{{pre}}{{/l}}{{/rows}}]{{/o}} {{>page}}";
    const char *json = "{\"pre\": \"p\", \"name\": \"N\", \"o\": {\"pre\": \"q\", \"l\": [1, 2]}}";

    (void)state;
    assert_string_equal(render(text, json, NULL, "page_a"), "top [1q2q] AN");
    assert_string_equal(render(text, json, "rows", "page_a"), "1q2q");
    assert_string_equal(render(text, json, "inner", "page_a"), "N");
    assert_string_equal(render(text, json, "nothing", "page_a"),
                        apr_psprintf(pool, "rv %d", APR_NOTFOUND));
    assert_string_equal(render(text, json, NULL, "unknown"),
                        apr_psprintf(pool, "rv %d", APR_NOTFOUND));
}

/* What includes itself ends. */
static void test_loop(void **state)
{
    (void)state;
    assert_true(strncmp(render("{{>loop}}", "{}", NULL, NULL), "xxx", 3) == 0);
}

static void test_faults(void **state)
{
    static const struct {
        const char *text, *why;
    } faults[] = {
        {"a\n{{#x}}",      "t, line 2: this section has no end: x"         },
        {"{{/x}}",         "t, line 1: this closes nothing that is open: x"},
        {"{{#a}}{{/b}}",   "t, line 1: this closes nothing that is open: b"},
        {"a\n\n{{x",       "t, line 3: a tag has no end"                   },
        {"{{ }}",          "t, line 1: a tag is empty"                     },
        {"{{x|nofilter}}", "t, line 1: there is no filter nofilter"        },
        {"{{a b}}",        "t, line 1: this is no name: a b"               },
        {"{{&a}}",         "t, line 1: this is no name: &a"                },
        {"{{{a}}}",        "t, line 1: this is no name: {a}"               },
        {"{{>missing}}",   "t: there is no template missing"               },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        const gb_template_file_t files[] = {
            {"t",  faults[i].text},
            {NULL, NULL          }
        };
        gb_templates_t *set;
        const char *why = NULL;

        assert_int_equal(gb_templates_parse(&set, files, &why, pool), APR_EINVAL);
        assert_string_equal(why, faults[i].why);
    }
}

static void test_words(void **state)
{
    json_t *data = json_loads("{\"name\": \"<i>\"}", 0, NULL);
    gb_render_t how = {NULL, NULL, NULL, "", NULL, 0};
    gb_buf_t out;

    (void)state;
    gb_buf_init_pool(&out, 1000, pool);
    gb_template_words(&out, "Hello {name}", data, &how);
    assert_string_equal(out.data, "Hello <i>");
    json_decref(data);
}

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    return apr_pool_create(&pool, NULL);
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),  cmocka_unit_test(test_parts), cmocka_unit_test(test_loop),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
