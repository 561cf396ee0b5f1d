/* SPDX-License-Identifier: Apache-2.0 */
/* The stream reader: every case whole, cut at every byte, and one byte at a time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_time.h>

#include "proto/sse.h"

static apr_pool_t *pool;

/* What came out, as text: D(...) events, E done, B(...) bare JSON, and the status at the end. */
static apr_status_t record(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    gb_buf_t *heard = baton;
    static const char letters[] = "DEB";

    assert_true(len > 0);
    gb_buf_putc(heard, letters[kind]);
    if (kind != GB_SSE_DONE) {
        gb_buf_putc(heard, '(');
        gb_buf_append(heard, data, len);
        gb_buf_putc(heard, ')');
    }
    return APR_SUCCESS;
}

typedef struct stream_t {
    const char *text;
    const char *events;
    apr_status_t end;
    int array;
} stream_t;

static const stream_t streams[] = {
  /* ends of line */
    {"data: {\"a\":1}\r\n\r\ndata: {\"a\":2}\r\n\r\n",                                     "D({\"a\":1})D({\"a\":2})",               APR_SUCCESS,    0},
    {"data: {\"a\":1}\n\ndata: {\"a\":2}\n\n",                                             "D({\"a\":1})D({\"a\":2})",               APR_SUCCESS,    0},
    {"data: {\"a\":1}\r\rdata: {\"a\":2}\r\r",                                             "D({\"a\":1})D({\"a\":2})",               APR_SUCCESS,    0},
    {"data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\n\r\n",                                        "D(1)D(2)D(3)",                           APR_SUCCESS,    0},
 /* fields */
    {"\xef\xbb\xbf"
     "data:1\n\n",                                                                    "D(1)",                                   APR_SUCCESS,    0},
    {"data:  1 \n\n",                                                                      "D(1)",                                   APR_SUCCESS,    0},
    {": hello\n\ndata: 1\n\n:\n\n",                                                        "D(1)",                                   APR_SUCCESS,    0},
    {"event: x\nid: 5\nretry: 10\ndata: 1\nfoo\n\n",                                       "D(1)",                                   APR_SUCCESS,    0},
    {"datax: 1\ndat: 2\n data: 3\nDATA: 4\n\n",                                            "",                                       APR_SUCCESS,    0},
    {"data: {\"a\":\ndata: 1}\n\n",                                                        "D({\"a\":\n1})",                         APR_SUCCESS,    0},
    {"data\ndata: 1\ndata\n\n",                                                            "D(1)",                                   APR_SUCCESS,    0},
    {"data:\n\ndata: \n\ndata\n\ndata\ndata\n\n",                                          "",                                       APR_SUCCESS,    0},
    {"\n\n\r\n\r\n\r\r",                                                                   "",                                       APR_SUCCESS,    0},
    {"data: \"\xe6\xbc\xa2\xe5\xad\x97 \\r\\n\"\r\n\r\n",                                  "D(\"\xe6\xbc\xa2\xe5\xad\x97 \\r\\n\")",
     APR_SUCCESS,                                                                                                                                    0},
    {"data: {\"a\":1}\n\ndata: [DONE]\n\n",                                                "D({\"a\":1})E",                          APR_SUCCESS,    0},
    {"data:[DONE]\r\n\r\n",                                                                "E",                                      APR_SUCCESS,    0},
    {"",                                                                                   "",                                       APR_SUCCESS,    0},
 /* a last event without its empty line */
    {"data: {\"a\":1}",                                                                    "D({\"a\":1})",                           APR_SUCCESS,    0},
    {"data: {\"a\":1}\r\n",                                                                "D({\"a\":1})",                           APR_SUCCESS,    0},
    {"data: {\"a\":1}\n: x",                                                               "D({\"a\":1})",                           APR_SUCCESS,    0},
    {"data: [DONE]",                                                                       "E",                                      APR_SUCCESS,    0},
    {"data: {\"a\":1",                                                                     "",                                       APR_INCOMPLETE, 0},
    {"data: {\"a\":1\r\n",                                                                 "",                                       APR_INCOMPLETE, 0},
    {"data: 1\n\ndat",                                                                     "D(1)",                                   APR_INCOMPLETE, 0},
    {"data: 1\n\ndata",                                                                    "D(1)",                                   APR_SUCCESS,    0},
    {"data: 1\n\nfoo: b",                                                                  "D(1)",                                   APR_INCOMPLETE, 0},
    {"\xef\xbb",                                                                           "",                                       APR_INCOMPLETE, 0},
 /* bare JSON: an error in the middle of a stream */
    {"{\"error\":{\"code\":429}}",                                                         "B({\"error\":{\"code\":429}})",          APR_SUCCESS,    0},
    {"{\n  \"error\": {\n    \"code\": 499,\n    \"message\": \"a } \\\" ] b\"\n  }\n}\n",
     "B({\n  \"error\": {\n    \"code\": 499,\n    \"message\": \"a } \\\" ] b\"\n  }\n})",                                          APR_SUCCESS,    0},
    {"data: {\"a\":1}\r\n\r\n{\r\n \"error\": {}\r\n}\r\n",
     "D({\"a\":1})B({\r\n \"error\": {}\r\n})",                                                                                      APR_SUCCESS,    0},
    {"data: {\"a\":1}\n{\"error\":{}}\n\n",                                                "D({\"a\":1})B({\"error\":{}})",          APR_SUCCESS,    0},
    {"[{\"error\":{\"code\":400}}]",                                                       "B([{\"error\":{\"code\":400}}])",        APR_SUCCESS,    0},
    {"data: 1\n\n  [{\n\"error\":{}}\n]\n",                                                "D(1)B([{\n\"error\":{}}\n])",            APR_SUCCESS,    0},
    {"{\"error\":{}}\n\ndata: 2\n\n",                                                      "B({\"error\":{}})D(2)",                  APR_SUCCESS,    0},
    {"{\"error\":{}}data: 2\n\n",                                                          "B({\"error\":{}})D(2)",                  APR_SUCCESS,    0},
    {"data: 1\n\n{\"error\":{",                                                            "D(1)",                                   APR_INCOMPLETE, 0},
    {"<html>\n<body>502</body>\n",                                                         "",                                       APR_SUCCESS,    0},
 /* the array form */
    {"[{\"a\":1}\r\n,\r\n{\"a\":2}\r\n]",                                                  "D({\"a\":1})D({\"a\":2})",               APR_SUCCESS,    1},
    {"[{\"a\":\"]},[{\\\"\\\\\"},{\"b\":[[1],{}]}]\n",
     "D({\"a\":\"]},[{\\\"\\\\\"})D({\"b\":[[1],{}]})",                                                                              APR_SUCCESS,    1},
    {"\xef\xbb\xbf [ {} ]\r\n",                                                            "D({})",                                  APR_SUCCESS,    1},
    {"[]",                                                                                 "",                                       APR_SUCCESS,    1},
    {"[{\"error\":{\"code\":429}}]",                                                       "D({\"error\":{\"code\":429}})",          APR_SUCCESS,    1},
    {"{\"error\":\n{\"code\":429}}\n",                                                     "B({\"error\":\n{\"code\":429}})",        APR_SUCCESS,    1},
    {"",                                                                                   "",                                       APR_INCOMPLETE, 1},
    {"[",                                                                                  "",                                       APR_INCOMPLETE, 1},
    {"[{\"a\":1}",                                                                         "D({\"a\":1})",                           APR_INCOMPLETE, 1},
    {"[{\"a\":1},{\"b\"",                                                                  "D({\"a\":1})",                           APR_INCOMPLETE, 1},
    {"<html>",                                                                             "",                                       APR_EINVAL,     1},
    {"[{\"a\":1}] x",                                                                      "D({\"a\":1})",                           APR_EINVAL,     1},
    {"[1]",                                                                                "",                                       APR_EINVAL,     1},
};

#define N_STREAMS (sizeof(streams) / sizeof(streams[0]))

static gb_sse_t *reader(const stream_t *stream, gb_buf_t *heard)
{
    return stream->array ? gb_sse_make_array(record, heard, pool)
                         : gb_sse_make(record, heard, pool);
}

/* Feeds pieces of the given sizes (the last one takes the rest) and compares all that came out. */
static void replay(const stream_t *stream, size_t first, size_t others)
{
    size_t len = strlen(stream->text);
    size_t at = 0;
    size_t piece = first;
    gb_buf_t heard;
    apr_status_t rv = APR_SUCCESS;
    gb_sse_t *sse;

    gb_buf_init(&heard, 1 << 20);
    gb_buf_puts(&heard, "");
    sse = reader(stream, &heard);
    while (at < len && rv == APR_SUCCESS) {
        size_t n = piece < len - at ? piece : len - at;
        /* a copy of its own, so that the address sanitizer sees what is read beyond */
        char *copy = malloc(n > 0 ? n : 1);

        memcpy(copy, stream->text + at, n);
        rv = gb_sse_feed(sse, copy, n);
        free(copy);
        assert_true(gb_sse_boundary(sse) <= at + n);
        at += n;
        piece = others;
    }
    if (rv == APR_SUCCESS) {
        rv = gb_sse_end(sse);
    }
    if (rv != stream->end || heard.data == NULL || strcmp(heard.data, stream->events) != 0) {
        print_error("stream \"%s\" cut at %d: status %d, events %s\n", stream->text, (int)first, rv,
                    heard.data);
        fail();
    }
    if (rv == APR_SUCCESS) {
        assert_int_equal(gb_sse_boundary(sse), len);
    }
    gb_buf_free(&heard);
    apr_pool_clear(pool);
}

static void cut_anywhere(void **state)
{
    size_t i, cut;

    (void)state;
    for (i = 0; i < N_STREAMS; i++) {
        size_t len = strlen(streams[i].text);

        for (cut = 0; cut <= len; cut++) {
            replay(&streams[i], cut, len + 1);
        }
        replay(&streams[i], 1, 1);
        replay(&streams[i], 3, 2);
    }
}

/* Whole events may be passed on as soon as they are there, CR and LF of the empty line included. */
static void boundary_is_exact(void **state)
{
    static const char text[] = "data: 1\r\n\r\n: x\r\n\r\nid: 1\r\ndata: 2\r\n\r\n{\"error\":{}}";
    static const size_t ends[] = {11, 18, 36, 48};
    gb_buf_t heard;
    gb_sse_t *sse;
    size_t i, k = 0;

    (void)state;
    gb_buf_init(&heard, 1000);
    sse = gb_sse_make(record, &heard, pool);
    for (i = 1; i < sizeof(text); i++) {
        gb_sse_feed(sse, text + i - 1, 1);
        if (k < 4 && i == ends[k]) {
            k++;
        }
        /* one byte early is right too: CR alone ends a line */
        assert_true(gb_sse_boundary(sse) == (k > 0 ? ends[k - 1] : 0)
                    || (k < 4 && gb_sse_boundary(sse) == i && i + 1 == ends[k]));
    }
    assert_int_equal(k, 4);
    gb_buf_free(&heard);
    apr_pool_clear(pool);
}

static apr_status_t refuse_second(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    int *n = baton;

    (void)kind;
    (void)data;
    (void)len;
    return ++*n == 2 ? APR_EGENERAL : APR_SUCCESS;
}

static void callback_stops_the_feed(void **state)
{
    int n = 0;
    gb_sse_t *sse = gb_sse_make(refuse_second, &n, pool);

    (void)state;
    assert_int_equal(gb_sse_feed(sse, "data: 1\n\ndata: 2\n\ndata: 3\n\n", 27), APR_EGENERAL);
    assert_int_equal(n, 2);
    assert_int_equal(gb_sse_boundary(sse), 9);
    assert_int_equal(gb_sse_feed(sse, "data: 4\n\n", 9), APR_EGENERAL);
    assert_int_equal(gb_sse_end(sse), APR_EGENERAL);
    assert_int_equal(n, 2);
    apr_pool_clear(pool);
}

static apr_status_t measure(void *baton, gb_sse_kind_t kind, const char *data, size_t len)
{
    size_t *total = baton;

    (void)kind;
    (void)data;
    *total += len;
    return APR_SUCCESS;
}

/* One event of 20 MB in pieces of 16 KB, and the same as bare JSON and as an element. */
static void long_events_are_linear(void **state)
{
    static const struct {
        const char *head, *tail;
        int array;
    } forms[] = {
        {"data: {\"d\":\"", "\"}\r\n\r\n", 0},
        {"{\"d\":\"",       "\"}",         0},
        {"[{\"d\":\"",      "\"}]",        1}
    };
    const size_t piece = 16 * 1024;
    char *filler = malloc(piece);
    size_t i, k;

    (void)state;
    memset(filler, 'A', piece);
    for (i = 0; i < 3; i++) {
        size_t total = 0;
        gb_sse_t *sse = forms[i].array ? gb_sse_make_array(measure, &total, pool)
                                       : gb_sse_make(measure, &total, pool);
        apr_time_t start = apr_time_now();

        gb_sse_feed(sse, forms[i].head, strlen(forms[i].head));
        for (k = 0; k < 20 * 1024 * 1024 / piece; k++) {
            assert_int_equal(gb_sse_feed(sse, filler, piece), APR_SUCCESS);
        }
        gb_sse_feed(sse, forms[i].tail, strlen(forms[i].tail));
        assert_int_equal(gb_sse_end(sse), APR_SUCCESS);
        assert_int_equal(total, 20 * 1024 * 1024 + 8);
        assert_true(apr_time_now() - start < 3 * APR_USEC_PER_SEC);
        apr_pool_clear(pool);
    }
    free(filler);
}

static void events_have_a_ceiling(void **state)
{
    const size_t piece = 1 << 20;
    char *filler = malloc(piece);
    size_t total = 0;
    gb_sse_t *sse = gb_sse_make(measure, &total, pool);
    size_t k;
    apr_status_t rv = gb_sse_feed(sse, ": ", 2);

    (void)state;
    memset(filler, 'A', piece);
    for (k = 0; k < 70 && rv == APR_SUCCESS; k++) {
        rv = gb_sse_feed(sse, filler, piece);
    }
    assert_int_equal(rv, APR_SUCCESS); /* a comment takes no memory */
    rv = gb_sse_feed(sse, "\ndata: ", 7);
    for (k = 0; k < 70 && rv == APR_SUCCESS; k++) {
        rv = gb_sse_feed(sse, filler, piece);
    }
    assert_int_equal(rv, APR_ENOSPC);
    assert_int_equal(k, 65);
    free(filler);
    apr_pool_clear(pool);
}

static void writes(void **state)
{
    gb_buf_t out;

    (void)state;
    gb_buf_init(&out, 1000);
    gb_sse_put_openai(&out, "{}", 2);
    gb_sse_put_gemini(&out, "[1]", 3);
    assert_string_equal(out.data, "data: {}\n\ndata: [1]\r\n\r\n");
    gb_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(boundary_is_exact),
        cmocka_unit_test(callback_stops_the_feed),
        cmocka_unit_test(long_events_are_linear),
        cmocka_unit_test(events_have_a_ceiling),
        cmocka_unit_test(writes),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
