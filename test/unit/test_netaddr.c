/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses are public, and which lie in the ranges that an operator opens.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/netaddr.h"

static const struct sockaddr *address(const char *text)
{
    static struct sockaddr_storage storage;
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&storage;

    memset(&storage, 0, sizeof(storage));
    if (strchr(text, ':') != NULL) {
        v6->sin6_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
    }
    else {
        v4->sin_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, text, &v4->sin_addr), 1);
    }
    return (const struct sockaddr *)(const void *)&storage;
}

static const struct {
    const char *text;
    int is_public;
} addresses[] = {
  /* the first and the last of each range, and their neighbours */
    {"0.0.0.0",                0},
    {"0.255.255.255",          0},
    {"1.0.0.0",                1},
    {"8.8.8.8",                1},
    {"9.255.255.255",          1},
    {"10.0.0.0",               0},
    {"10.255.255.255",         0},
    {"11.0.0.0",               1},
    {"100.63.255.255",         1},
    {"100.64.0.0",             0},
    {"100.127.255.255",        0},
    {"100.128.0.0",            1},
    {"126.255.255.255",        1},
    {"127.0.0.1",              0},
    {"127.255.255.255",        0},
    {"128.0.0.0",              1},
    {"169.253.255.255",        1},
    {"169.254.169.254",        0},
    {"169.255.0.0",            1},
    {"172.15.255.255",         1},
    {"172.16.0.0",             0},
    {"172.31.255.255",         0},
    {"172.32.0.0",             1},
    {"192.0.0.8",              0},
    {"192.0.2.1",              0},
    {"192.167.255.255",        1},
    {"192.168.0.1",            0},
    {"192.169.0.0",            1},
    {"198.17.255.255",         1},
    {"198.18.0.1",             0},
    {"198.19.255.255",         0},
    {"198.20.0.0",             1},
    {"198.51.100.7",           0},
    {"203.0.113.7",            0},
    {"223.255.255.255",        1},
    {"224.0.0.1",              0},
    {"239.255.255.255",        0},
    {"240.0.0.1",              0},
    {"255.255.255.255",        0},

    {"::",                     0},
    {"::1",                    0},
    {"2606:4700:4700::1111",   1},
    {"2001:4860:4860::8888",   1},
    {"2001:0::1",              0}, /* Teredo */
    {"2001:db8::1",            0},
    {"2001:200::1",            1},
    {"fbff:ffff::1",           1},
    {"fc00::1",                0},
    {"fdff:ffff::1",           0},
    {"fe00::1",                1},
    {"fe80::1",                0},
    {"febf::1",                0},
    {"fec0::1",                0},
    {"feff::1",                0},
    {"ff02::1",                0},
    {"100::1",                 0},
    {"64:ff9b:1::1",           0},

 /* an IPv4 address inside */
    {"::ffff:127.0.0.1",       0},
    {"::ffff:8.8.8.8",         1},
    {"::ffff:169.254.169.254", 0},
    {"64:ff9b::10.0.0.1",      0},
    {"64:ff9b::8.8.8.8",       1},
    {"2002:7f00:1::",          0},
    {"2002:c0a8:101::1",       0},
    {"2002:808:808::1",        1},
};

static void public_or_not(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        if (gb_addr_is_public(address(addresses[i].text)) != addresses[i].is_public) {
            fail_msg("%s is %spublic", addresses[i].text, addresses[i].is_public ? "" : "not ");
        }
    }
}

static void other_kinds_are_not(void **state)
{
    struct sockaddr_un path;

    (void)state;
    memset(&path, 0, sizeof(path));
    path.sun_family = AF_UNIX;
    assert_false(gb_addr_is_public((const struct sockaddr *)(const void *)&path));
}

static const struct {
    const char *range, *text;
    int holds;
} ranges[] = {
    {"10.1.0.0/16",                                                          "10.1.255.255",     1},
    {"10.1.0.0/16",                                                          "10.2.0.0",         0},
    {"10.1.2.3",                                                             "10.1.2.3",         1},
    {"10.1.2.3",                                                             "10.1.2.4",         0},
    {"10.1.2.0/23",                                                          "10.1.3.9",         1},
    {"10.1.2.0/23",                                                          "10.1.4.0",         0},
    {"10.1.2.128/25",                                                        "10.1.2.127",       0},
    {"0.0.0.0/0",                                                            "127.0.0.1",        1},
    {"127.0.0.1/32",                                                         "::ffff:127.0.0.1", 1},
    {"fd00::/8",                                                             "fd12:3456::1",     1},
    {"fd00::/8",                                                             "fc00::1",          0},
    {"::1",                                                                  "::1",              1},
    {"::1",                                                                  "127.0.0.1",        0},
    {"::/0",                                                                 "127.0.0.1",        0},
    {"2001:db8::/33",                                                        "2001:db8:8000::1", 0},
    {"2001:db8::/33",                                                        "2001:db8:7fff::1", 1},

 /* what is no range opens nothing */
    {"",                                                                     "127.0.0.1",        0},
    {"10.1.0.0/33",                                                          "10.1.0.0",         0},
    {"10.1.0.0/-1",                                                          "10.1.0.0",         0},
    {"10.1",                                                                 "10.1.0.0",         0},
    {"localhost",                                                            "127.0.0.1",        0},
    {"10.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0/8", "10.1.0.0",         0},
};

static void ranges_hold_what_they_say(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        const char *items[] = {"192.168.77.0/24", ranges[i].range};
        gb_list_t list;

        memset(&list, 0, sizeof(list));
        list.n = 2;
        list.items = items;
        if (gb_addr_in(&list, address(ranges[i].text)) != ranges[i].holds) {
            fail_msg("%s %s %s", ranges[i].range, ranges[i].holds ? "does not hold" : "holds",
                     ranges[i].text);
        }
    }
}

static void what_is_a_range(void **state)
{
    static const char *const good[] = {"10.1.2.3", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8"};
    static const char *const bad[] = {"",          "10.1",        "10.0.0.0/",   "10.0.0.0/8x",
                                      "localhost", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(gb_addr_range_ok(good[i]));
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(gb_addr_range_ok(bad[i]));
    }
}

static void an_empty_list_holds_nothing(void **state)
{
    gb_list_t list;

    (void)state;
    memset(&list, 0, sizeof(list));
    assert_false(gb_addr_in(&list, address("8.8.8.8")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_or_not),
        cmocka_unit_test(other_kinds_are_not),
        cmocka_unit_test(ranges_hold_what_they_say),
        cmocka_unit_test(what_is_a_range),
        cmocka_unit_test(an_empty_list_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
