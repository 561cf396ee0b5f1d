/* SPDX-License-Identifier: Apache-2.0 */
/* Which proxy a key takes, and what happens when one is dead. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "upstream/proxies.h"

#define KEYS 1000

static const char *const urls[] = {"http://a:1", "http://b:1", "socks5://u:p@c:1", "http://d:1"};
static const gb_list_t all = {4, urls};
static const gb_list_t none = {0, NULL};

static const char *pick(const gb_proxies_t *state, const gb_list_t *list, int key, apr_time_t now)
{
    char id[16];

    snprintf(id, sizeof(id), "%08x", key * 2654435761u);
    return gb_proxies_pick(state, list, 1, id, now);
}

static void test_none(void **state)
{
    gb_proxies_t proxies = {0};

    (void)state;
    assert_null(pick(&proxies, &none, 1, 1));
}

static void test_spread_and_bound(void **state)
{
    gb_proxies_t proxies = {0};
    int count[4] = {0}, i, j;

    (void)state;
    for (i = 0; i < KEYS; i++) {
        const char *url = pick(&proxies, &all, i, 1);

        assert_ptr_equal(url, pick(&proxies, &all, i, 2));
        for (j = 0; j < 4; j++) {
            count[j] += url == urls[j];
        }
    }
    for (j = 0; j < 4; j++) {
        assert_in_range(count[j], KEYS / 4 - 60, KEYS / 4 + 60);
    }
}

/* Only the keys of the one that is gone move, whether it is dead or not listed. */
static void test_only_its_keys_move(void **state)
{
    static const char *const without_b[] = {"http://a:1", "socks5://u:p@c:1", "http://d:1"};
    gb_list_t fewer = {3, without_b};
    gb_proxies_t proxies = {0}, fresh = {0};
    int i;

    (void)state;
    gb_proxies_failed(&proxies, urls[1], 1);
    for (i = 0; i < KEYS; i++) {
        const char *before = pick(&fresh, &all, i, 1);
        const char *after = pick(&proxies, &all, i, 1);

        assert_string_not_equal(after, urls[1]);
        if (before != urls[1]) {
            assert_ptr_equal(after, before);
        }
        assert_string_equal(after, pick(&fresh, &fewer, i, 1));
    }
}

static void test_tried_again(void **state)
{
    apr_time_t second = apr_time_from_sec(1);
    gb_proxies_t proxies = {0};
    apr_time_t now = second;

    (void)state;
    gb_proxies_failed(&proxies, urls[0], now);
    gb_proxies_failed(&proxies, urls[0], now + 1); /* of the same time: no second strike */
    assert_false(gb_proxies_alive(&proxies, urls[0], now + 9 * second));
    assert_true(gb_proxies_alive(&proxies, urls[0], now + 10 * second));
    now += 10 * second;
    gb_proxies_failed(&proxies, urls[0], now);
    assert_false(gb_proxies_alive(&proxies, urls[0], now + 19 * second));
    assert_true(gb_proxies_alive(&proxies, urls[0], now + 20 * second));
    gb_proxies_worked(&proxies, urls[0]);
    gb_proxies_failed(&proxies, urls[0], now);
    assert_true(gb_proxies_alive(&proxies, urls[0], now + 10 * second));
}

static void test_all_dead(void **state)
{
    gb_proxies_t proxies = {0}, fresh = {0};
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        gb_proxies_failed(&proxies, urls[i], 1);
    }
    for (i = 0; i < 50; i++) {
        assert_ptr_equal(pick(&proxies, &all, i, 2), pick(&fresh, &all, i, 2));
    }
}

static void test_rotating(void **state)
{
    gb_proxies_t proxies = {0};
    int count[4] = {0}, i, j;

    (void)state;
    gb_proxies_failed(&proxies, urls[2], 1);
    for (i = 0; i < KEYS; i++) {
        const char *url = gb_proxies_pick(&proxies, &all, 0, "11111111", 1);

        for (j = 0; j < 4; j++) {
            count[j] += url == urls[j];
        }
    }
    assert_int_equal(count[2], 0);
    assert_true(count[0] > 200 && count[1] > 200 && count[3] > 200);
}

/* More dead ones than are remembered: the longest known are forgotten, nothing breaks. */
static void test_many(void **state)
{
    gb_proxies_t proxies = {0};
    char url[32];
    int i;

    (void)state;
    for (i = 0; i < 500; i++) {
        snprintf(url, sizeof(url), "http://h%d:1", i);
        gb_proxies_failed(&proxies, url, i + 1);
        assert_false(gb_proxies_alive(&proxies, url, i + 2));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_spread_and_bound),
        cmocka_unit_test(test_only_its_keys_move),
        cmocka_unit_test(test_tried_again),
        cmocka_unit_test(test_all_dead),
        cmocka_unit_test(test_rotating),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
