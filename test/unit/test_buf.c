/* SPDX-License-Identifier: Apache-2.0 */
/* The growing buffer: growth, ceiling, sticky failure, consumption. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>

#include "base/buf.h"
#include "base/log.h"

static void grows_and_stays_terminated(void **state)
{
    gb_buf_t buf;
    int i;

    (void)state;
    gb_buf_init(&buf, 100000);
    assert_null(buf.data);
    for (i = 0; i < 10000; i++) {
        assert_int_equal(gb_buf_append(&buf, "0123456789", 10), APR_SUCCESS);
    }
    assert_int_equal(buf.len, 100000);
    assert_int_equal(strlen(buf.data), 100000);
    assert_true(buf.cap <= 100001);
    gb_buf_free(&buf);
    assert_null(buf.data);
}

static void ceiling_is_exact_and_sticky(void **state)
{
    gb_buf_t buf;

    (void)state;
    gb_buf_init(&buf, 5);
    assert_int_equal(gb_buf_puts(&buf, "abcde"), APR_SUCCESS);
    assert_int_equal(gb_buf_putc(&buf, 'f'), APR_ENOSPC);
    assert_int_equal(buf.rv, APR_ENOSPC);
    gb_buf_consume(&buf, 3);
    assert_int_equal(gb_buf_putc(&buf, 'f'), APR_ENOSPC);
    assert_string_equal(buf.data, "de");
    gb_buf_reset(&buf);
    assert_int_equal(gb_buf_puts(&buf, "fghij"), APR_SUCCESS);
    assert_string_equal(buf.data, "fghij");
    gb_buf_free(&buf);
}

static void printf_and_reserve(void **state)
{
    gb_buf_t buf;
    char *before;

    (void)state;
    gb_buf_init(&buf, 4096);
    assert_int_equal(gb_buf_printf(&buf, "%s=%d;", "a", 17), APR_SUCCESS);
    assert_int_equal(gb_buf_printf(&buf, "%0*d", 1000, 1), APR_SUCCESS);
    assert_int_equal(buf.len, 1005);
    assert_int_equal(gb_buf_reserve(&buf, 2000), APR_SUCCESS);
    before = buf.data;
    assert_int_equal(gb_buf_printf(&buf, "%0*d", 2000, 1), APR_SUCCESS);
    assert_ptr_equal(before, buf.data);
    assert_int_equal(gb_buf_printf(&buf, "%0*d", 2000, 1), APR_ENOSPC);
    assert_int_equal(buf.len, 3005);
    gb_buf_free(&buf);
}

static void consume_and_reset(void **state)
{
    gb_buf_t buf;

    (void)state;
    gb_buf_init(&buf, 1 << 20);
    gb_buf_consume(&buf, 0);
    assert_int_equal(gb_buf_append(&buf, NULL, 0), APR_SUCCESS);
    gb_buf_puts(&buf, "hello world");
    gb_buf_consume(&buf, 6);
    assert_string_equal(buf.data, "world");
    gb_buf_consume(&buf, 5);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.data, "");
    gb_buf_printf(&buf, "%0*d", 100000, 1);
    gb_buf_reset(&buf);
    assert_null(buf.data);
    gb_buf_puts(&buf, "x");
    gb_buf_reset(&buf);
    assert_non_null(buf.data);
    gb_buf_free(&buf);
}

/* The leak sanitizer sees the first, the address sanitizer the second. */
static void pool_frees(void **state)
{
    apr_pool_t *p;
    gb_buf_t left, freed;

    (void)state;
    apr_pool_create(&p, NULL);
    gb_buf_init_pool(&left, 100, p);
    gb_buf_puts(&left, "gone with the pool");
    gb_buf_init_pool(&freed, 1 << 20, p);
    gb_buf_puts(&freed, "gone before");
    gb_buf_printf(&freed, "%0*d", 100000, 1);
    gb_buf_free(&freed);
    gb_buf_puts(&freed, "and again");
    gb_buf_reset(&freed);
    apr_pool_destroy(p);
}

/* ---- the log bridge ---- */

typedef struct heard_t {
    int n;
    char text[2048];
} heard_t;

static void hear(void *baton, const char *file, int line, gb_log_level_t level, apr_status_t rv,
                 const char *message)
{
    heard_t *heard = baton;

    assert_non_null(file);
    assert_true(line > 0);
    assert_int_equal(level, GB_LOG_WARNING);
    assert_int_equal(rv, APR_EINVAL);
    heard->n++;
    strcpy(heard->text, message);
}

static void log_goes_to_its_receiver(void **state)
{
    heard_t heard = {0, ""};

    (void)state;
    assert_false(gb_log_wants(GB_LOG_ALERT));
    gb_log(GB_LOG_ALERT, APR_EINVAL, "nobody hears this");
    gb_log_set(hear, &heard, GB_LOG_WARNING);
    gb_log(GB_LOG_WARNING, APR_EINVAL, GBLOGNO(1) "key %s: %d", "ab", 3);
    gb_log(GB_LOG_INFO, APR_EINVAL, "too talkative");
    assert_int_equal(heard.n, 1);
    assert_string_equal(heard.text, "GB1: key ab: 3");
    gb_log(GB_LOG_WARNING, APR_EINVAL, "%0*d", 5000, 1);
    assert_int_equal(strlen(heard.text), 1023);
    gb_log_set(NULL, NULL, GB_LOG_ALERT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(ceiling_is_exact_and_sticky),
        cmocka_unit_test(printf_and_reserve),
        cmocka_unit_test(consume_and_reset),
        cmocka_unit_test(pool_frees),
        cmocka_unit_test(log_goes_to_its_receiver),
    };

    apr_initialize();
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
