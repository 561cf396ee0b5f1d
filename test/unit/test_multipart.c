/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forms: what is found in them, however they are cut, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/buf.h"
#include "base/multipart.h"

#define TYPE       "multipart/form-data; boundary=abc"
#define HEAD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

/* What was found as text: name(file|type)=content; .. or !fault. */
static const char *summary(gb_form_t *form, apr_status_t rv, const char *body, apr_pool_t *p)
{
    const apr_array_header_t *parts = gb_form_parts(form);
    gb_buf_t out;
    int i;

    gb_buf_init_pool(&out, 1 << 20, p);
    if (rv != APR_SUCCESS) {
        assert_non_null(gb_form_fault(form));
        return apr_pstrcat(p, "!", gb_form_fault(form), NULL);
    }
    assert_null(gb_form_fault(form));
    for (i = 0; i < parts->nelts; i++) {
        const gb_form_part_t *part = &APR_ARRAY_IDX(parts, i, gb_form_part_t);

        gb_buf_puts(&out, part->name);
        if (part->file_name != NULL || *part->type != '\0') {
            gb_buf_printf(&out, "(%s|%s)", part->file_name != NULL ? part->file_name : "-",
                          part->type);
        }
        gb_buf_putc(&out, '=');
        gb_buf_append(&out, body + part->offset, part->len);
        gb_buf_putc(&out, ';');
    }
    return out.data != NULL ? out.data : "";
}

/* Cut at `cut`, then in pieces of `step` bytes (0: all the rest). */
static const char *run(const char *type, const char *body, size_t len, size_t cut, size_t step,
                       apr_pool_t *p)
{
    gb_form_t *form = gb_form_make(type, p);
    apr_status_t rv = APR_SUCCESS;
    size_t at = 0, n;

    assert_non_null(form);
    for (n = cut; rv == APR_SUCCESS && at < len; n = step != 0 ? step : len) {
        n = n < len - at ? n : len - at;
        rv = n > 0 ? gb_form_feed(form, body + at, n) : APR_SUCCESS;
        at += n;
    }
    return summary(form, rv == APR_SUCCESS ? gb_form_end(form) : rv, body, p);
}

/* clang-format off */
static const struct {
    int line;
    const char *type, *body, *found;
} cases[] = {
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "1\r\n--abc--\r\n", "a=1;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "1\r\n--abc\r\n" HEAD("b") "2\r\n--abc--", "a=1;b=2;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "\r\n--abc--", "a=;"},
    {__LINE__, TYPE, "--abc--", ""},
    {__LINE__, TYPE, "--abc--\r\nepilogue --abc\r\n\r\n--abc\r\n", ""},
    {__LINE__, TYPE, "preamble\r\n--ab\r\n--abcx\r\n--abc\r\n" HEAD("a") "1\r\n--abc--", "a=1;"},
    {__LINE__, TYPE, "\r\n--abc \t \r\n" HEAD("a") "1\r\n--abc  \r\n" HEAD("b") "2\r\n--abc--", "a=1;b=2;"},

    /* what only looks like a delimiter */
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "--abc\r\n--abcd\r\n--abc-x\r\n--abc\rx\r\n--abc--", "a=--abc\r\n--abcd\r\n--abc-x\r\n--abc\rx;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\r\r\n--abc--", "a=x\r;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\r\n\r\n--abc--", "a=x\r\n;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\n--abc--\r\n--abc--", "a=x\n--abc--;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\r\n--abc\r\r\n--abc--", "a=x\r\n--abc\r;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\r\n-\r\n--\r\n--a\r\n--ab\r\n--abc--", "a=x\r\n-\r\n--\r\n--a\r\n--ab;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\r\n--abc \r\r\n--abc \r\n" HEAD("b") "2\r\n--abc--", "a=x\r\n--abc \r;b=2;"},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "x\r\n--abc-\r\n--abc--", "a=x\r\n--abc-;"},

    /* names */
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=a; filename=b.png\r\n\r\n1\r\n--abc--", "a(b.png|)=1;"},
    {__LINE__, TYPE, "--abc\r\ncontent-type:image/png\r\nCONTENT-DISPOSITION:form-data;filename=\"b\";name=\"a\"\r\n\r\n1\r\n--abc--", "a(b|image/png)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename=\"gr\xc3\xbc\xc3\x9f \xe4\xb8\x96.png\"\r\n\r\n1\r\n--abc--", "f(gr\xc3\xbc\xc3\x9f \xe4\xb8\x96.png|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"b\\\\c.png\"\r\n\r\n1\r\n--abc--", "f(a\"b\\c.png|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename=\"C:\\dir\\x.png\"\r\n\r\n1\r\n--abc--", "f(C:\\dir\\x.png|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"a%22b%0d%0A\"; filename=\"%22%41\"\r\n\r\n1\r\n--abc--", "a\"b\r\n(\"%41|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"a;b=c\"; filename=\"; name=\\\"z\\\"\"\r\n\r\n1\r\n--abc--", "a;b=c(; name=\"z\"|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"; filename*=UTF-8''na%C3%AFve%20.png\r\n\r\n1\r\n--abc--", "f(na\xc3\xafve .png|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename*=utf-8'en'a.png\r\n\r\n1\r\n--abc--", "f(a.png|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"; filename*=latin1''%E4\r\n\r\n1\r\n--abc--", "f(x|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"; filename*=UTF-8''%zz\r\n\r\n1\r\n--abc--", "f(x|)=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"\xff\x61\"\r\n\r\n1\r\n--abc--", "\xef\xbf\xbd" "a=1;"},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data; name=\"\"; filename=\"\"\r\n\r\n\r\n--abc--", "(|)=;"},

    /* boundaries */
    {__LINE__, "Multipart/Form-Data ; charset=utf-8; boundary=\"a b;c\"", "--a b;c\r\n" HEAD("a") "1\r\n--a b;c--", "a=1;"},
    {__LINE__, "multipart/form-data; boundary=----WebKitFormBoundaryX", "------WebKitFormBoundaryX\r\n" HEAD("a") "-\r\n----WebKit\r\n------WebKitFormBoundaryX--", "a=-\r\n----WebKit;"},

    /* refused */
    {__LINE__, TYPE, "", "!The form holds no part that begins with the boundary of its Content-Type."},
    {__LINE__, TYPE, "--xyz\r\n" HEAD("a") "1\r\n--xyz--", "!The form holds no part that begins with the boundary of its Content-Type."},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "1\r\n--abc", "!The form broke off before its last boundary."},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "1\r\n--abc\r\n", "!The form broke off before its last boundary."},
    {__LINE__, TYPE, "--abc\r\n" HEAD("a") "1", "!The form broke off before its last boundary."},
    {__LINE__, TYPE, "--abc\r\n\r\n1\r\n--abc--", "!A part has no Content-Disposition with a name."},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: form-data\r\n\r\n1\r\n--abc--", "!A part's Content-Disposition is not form-data with a name."},
    {__LINE__, TYPE, "--abc\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--abc--", "!A part's Content-Disposition is not form-data with a name."},
    {__LINE__, TYPE, "--abc\r\nnonsense\r\n\r\n1\r\n--abc--", "!A part has a header line without a colon."},
    {__LINE__, TYPE, "--abc\r\nContent-Transfer-Encoding: base64\r\n" HEAD("a") "1\r\n--abc--", "!A part has a Content-Transfer-Encoding: send its bytes as they are."},
};
/* clang-format on */

/* The same is found wherever the stream is cut, and at every size of piece. */
static void test_cases(void **state)
{
    apr_pool_t *p;
    size_t i, cut, step;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t len = strlen(cases[i].body);

        apr_pool_create(&p, NULL);
        for (cut = 0; cut <= len; cut++) {
            const char *found = run(cases[i].type, cases[i].body, len, cut, 0, p);

            if (strcmp(found, cases[i].found) != 0) {
                fail_msg("line %d, cut at %d: %s", cases[i].line, (int)cut, found);
            }
        }
        for (step = 1; step < 8; step++) {
            assert_string_equal(run(cases[i].type, cases[i].body, len, step, step, p),
                                cases[i].found);
        }
        apr_pool_destroy(p);
    }
}

static void test_types(void **state)
{
    static const char *const refused[] = {
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-datax; boundary=abc",
        "multipart/mixed; boundary=abc",
        "multipart/form-data; boundary=\"a \"",
        ("multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901"),
    };
    apr_pool_t *p;
    size_t i;

    (void)state;
    apr_pool_create(&p, NULL);
    for (i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        assert_null(gb_form_make(refused[i], p));
    }
    assert_null(gb_form_make(NULL, p));
    apr_pool_destroy(p);
}

/* Every byte value, NUL among them, is content like any other. */
static void test_any_bytes(void **state)
{
    static const char head[] = "--abc\r\n" HEAD("a");
    char body[sizeof(head) - 1 + 256 * 2 + 9];
    gb_form_t *form;
    apr_pool_t *p;
    int i;

    (void)state;
    apr_pool_create(&p, NULL);
    memcpy(body, head, sizeof(head) - 1);
    for (i = 0; i < 512; i++) {
        body[sizeof(head) - 1 + (size_t)i] = (char)(i < 256 ? i : 511 - i);
    }
    memcpy(body + sizeof(head) - 1 + 512, "\r\n--abc--", 9);
    form = gb_form_make(TYPE, p);
    assert_int_equal(gb_form_feed(form, body, sizeof(body)), APR_SUCCESS);
    assert_int_equal(gb_form_end(form), APR_SUCCESS);
    assert_int_equal(APR_ARRAY_IDX(gb_form_parts(form), 0, gb_form_part_t).len, 512);
    apr_pool_destroy(p);
}

static void test_bounds(void **state)
{
    gb_form_t *form;
    apr_pool_t *p;
    apr_status_t rv = APR_SUCCESS;
    int i;

    (void)state;
    apr_pool_create(&p, NULL);
    form = gb_form_make(TYPE, p);
    rv = gb_form_feed(form, "--abc\r\n", 7);
    for (i = 0; i < 1000 && rv == APR_SUCCESS; i++) {
        rv = gb_form_feed(form, "X-Header: 0123456789\r\n", 22);
    }
    assert_int_equal(rv, APR_EINVAL);
    assert_true(i < 400);
    assert_int_equal(gb_form_feed(form, "x", 1), APR_EINVAL);
    assert_int_equal(gb_form_end(form), APR_EINVAL);

    form = gb_form_make(TYPE, p);
    rv = gb_form_feed(form, "--abc", 5);
    for (i = 0; i < GB_FORM_MAX_PARTS; i++) {
        static const char part[] = "\r\n" HEAD("a") "\r\n--abc";

        assert_int_equal(gb_form_feed(form, part, sizeof(part) - 1), APR_SUCCESS);
    }
    assert_int_equal(gb_form_feed(form, "\r\n" HEAD("a"), strlen("\r\n" HEAD("a"))), APR_EINVAL);
    apr_pool_destroy(p);
}

static int setup(void **state)
{
    (void)state;
    return apr_initialize();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
