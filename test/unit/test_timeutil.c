/* SPDX-License-Identifier: Apache-2.0 */
/* Durations, Pacific midnight over both changes of the clocks, and zones. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>

#include "base/buf.h"
#include "base/timeutil.h"

static apr_pool_t *pool;

static const struct {
    const char *text;
    apr_int64_t us; /* -1: refused */
} durations[] = {
    {"34.430s",               34430000     },
    {"0s",                    0            },
    {"6776s",                 6776000000LL },
    {"82.4ms",                82400        },
    {"8h0m0s",                28800000000LL},
    {"1h52m56.4s",            6776400000LL },
    {"19h34m29s",             70469000000LL},
    {"1h52m56.409571576s",    6776409572LL },
    {"58.821668433s",         58821669     },
    {"1ms",                   1000         },
    {"5m",                    300000000    },
    {"0.000000001s",          1            },
    {"1us",                   1            },
    {"1ns",                   1            },
    {"33.3s",                 33300000     },
    {"1.5h",                  5400000000LL },
    {"",                      -1           },
    {"s",                     -1           },
    {"5",                     -1           },
    {"5.5",                   -1           },
    {".5s",                   -1           },
    {"-5s",                   -1           },
    {"5 s",                   -1           },
    {"5sx",                   -1           },
    {"5s5",                   -1           },
    {"1d",                    -1           },
    {"99999999999999999999s", -1           },
    {"9999999999h",           -1           },
    {"nan",                   -1           },
};

static void durations_parse(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        apr_interval_time_t got = -1;

        if (gb_duration_parse(durations[i].text, strlen(durations[i].text), &got)
                != (durations[i].us >= 0)
            || got != durations[i].us) {
            print_error("%s: %lld\n", durations[i].text, (long long)got);
            fail();
        }
    }
}

static void clock_goes_forward(void **state)
{
    apr_time_t a = gb_mono_now();
    apr_time_t b = gb_mono_now();

    (void)state;
    assert_true(a > 0 && b >= a);
}

#define H 3600LL
#define D 86400LL

/* Seconds UTC: a moment, and the midnight in Los Angeles that follows it. */
static const struct {
    apr_int64_t now, midnight;
} midnights[] = {
  /* 2026-01-01 00:00 UTC is 16:00 of the day before */
    {1767225600,                    1767225600 + 8 * H        },
    {1767225600 + 8 * H - 1,        1767225600 + 8 * H        },
    {1767225600 + 8 * H,            1767225600 + 8 * H + D    },
 /* 2026-03-08: the clocks go forward at 10:00 UTC; that day has 23 hours */
    {1772928000 + 7 * H,            1772928000 + 8 * H        },
    {1772928000 + 8 * H,            1772928000 + 7 * H + D    },
    {1772928000 + 10 * H - 1,       1772928000 + 7 * H + D    },
    {1772928000 + 10 * H,           1772928000 + 7 * H + D    },
    {1772928000 + D + 7 * H - 1,    1772928000 + D + 7 * H    },
    {1772928000 + D + 7 * H,        1772928000 + D + 7 * H + D},
 /* 2026-07-04 12:00 UTC */
    {1783166400,                    1783123200 + D + 7 * H    },
 /* 2026-11-01: they go back at 09:00 UTC; that day has 25 hours */
    {1793491200,                    1793491200 + 7 * H        },
    {1793491200 + 7 * H,            1793491200 + 8 * H + D    },
    {1793491200 + 9 * H,            1793491200 + 8 * H + D    },
    {1793491200 + D + 7 * H + 1800, 1793491200 + D + 8 * H    },
 /* 2028 is a leap year: 2028-02-29 20:00 UTC */
    {1835467200,                    1835395200 + D + 8 * H    },
};

static void pacific_midnights(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(midnights) / sizeof(midnights[0]); i++) {
        apr_time_t got = gb_pacific_midnight(midnights[i].now * APR_USEC_PER_SEC
                                             + 999999 * (i % 2));

        if (got != midnights[i].midnight * APR_USEC_PER_SEC) {
            print_error("row %d: %lld\n", (int)i, (long long)(got / APR_USEC_PER_SEC));
            fail();
        }
    }
}

/* For ten years: every midnight is one of the zone itself. */
static void pacific_agrees_with_tzdata(void **state)
{
    gb_zone_t *zone = NULL;
    apr_time_t now;

    (void)state;
    assert_int_equal(gb_zone_load(&zone, "America/Los_Angeles", pool), APR_SUCCESS);
    for (now = 1735689600LL * APR_USEC_PER_SEC; now < 1798761600LL * APR_USEC_PER_SEC;
         now += 1801 * APR_USEC_PER_SEC) {
        apr_time_t at = gb_pacific_midnight(now);
        apr_int64_t local = at / APR_USEC_PER_SEC + gb_zone_offset(zone, at);

        assert_int_equal(local % D, 0);
        assert_true(at > now && at - now <= 25 * H * APR_USEC_PER_SEC);
    }
}

/* ---- zones ---- */

static const struct {
    const char *zone;
    apr_int64_t at;
    int offset;
} zones[] = {
    {"America/Los_Angeles", 1772963999, -28800},
    {"America/Los_Angeles", 1772964000, -25200},
    {"America/Los_Angeles", 1793523599, -25200},
    {"America/Los_Angeles", 1793523600, -28800},
    {"America/Los_Angeles", 483530399,  -28800},
    {"America/Los_Angeles", 483530400,  -25200},
    {"Europe/Berlin",       1774745999, 3600  },
    {"Europe/Berlin",       1774746000, 7200  },
    {"Europe/Berlin",       1792889999, 7200  },
    {"Europe/Berlin",       1792890000, 3600  },
    {"Europe/Berlin",       496803599,  7200  },
    {"Europe/Berlin",       496803600,  3600  },
    {"Europe/Dublin",       1774745999, 0     },
    {"Europe/Dublin",       1774746000, 3600  },
    {"Europe/Dublin",       1792889999, 3600  },
    {"Europe/Dublin",       1792890000, 0     },
    {"Asia/Shanghai",       1782864000, 28800 },
    {"Asia/Kolkata",        1782864000, 19800 },
    {"Asia/Kathmandu",      504901799,  19800 },
    {"Asia/Kathmandu",      504901800,  20700 },
    {"Australia/Lord_Howe", 1775314799, 39600 },
    {"Australia/Lord_Howe", 1775314800, 37800 },
    {"Australia/Lord_Howe", 1791041399, 37800 },
    {"Australia/Lord_Howe", 1791041400, 39600 },
    {"America/Sao_Paulo",   499748399,  -10800},
    {"America/Sao_Paulo",   499748400,  -7200 },
    {"America/St_Johns",    1772947799, -12600},
    {"America/St_Johns",    1772947800, -9000 },
    {"UTC",                 1782864000, 0     },
};

static void zone_files(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        gb_zone_t *zone = NULL;

        assert_int_equal(gb_zone_load(&zone, zones[i].zone, pool), APR_SUCCESS);
        if (gb_zone_offset(zone, zones[i].at * APR_USEC_PER_SEC) != zones[i].offset) {
            print_error("%s at %lld\n", zones[i].zone, (long long)zones[i].at);
            fail();
        }
    }
}

static void zone_names(void **state)
{
    static const char *const refused[] = {"", "/etc/passwd", "../zoneinfo/UTC", "Europe/../UTC",
                                          "Europe/Nowhere"};
    gb_zone_t *zone = NULL;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(gb_zone_load(&zone, refused[i], pool), APR_NOTFOUND);
    }
    assert_int_equal(gb_zone_load(&zone, "tzdata.zi", pool), APR_EINVAL);
    assert_null(zone);
}

static void put32(gb_buf_t *buf, apr_uint32_t n)
{
    char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

    gb_buf_append(buf, bytes, 4);
}

static void put_header(gb_buf_t *buf, char version, apr_uint32_t times, apr_uint32_t types)
{
    static const char zeros[15];

    gb_buf_append(buf, "TZif", 4);
    gb_buf_putc(buf, version);
    gb_buf_append(buf, zeros, 15);
    put32(buf, 0);
    put32(buf, 0);
    put32(buf, 0);
    put32(buf, times);
    put32(buf, types);
    put32(buf, 4);
}

/* A file of version 2 without transitions: the footer alone rules. */
static apr_status_t parse_footer(gb_zone_t **zone, const char *footer)
{
    static const char type[10] = {0, 0, 0, 0, 0, 0, 'X', 'X', 'X', 0};
    gb_buf_t buf;
    apr_status_t rv;

    gb_buf_init(&buf, 10000);
    put_header(&buf, '2', 0, 1);
    gb_buf_append(&buf, type, 10);
    put_header(&buf, '2', 0, 1);
    gb_buf_append(&buf, type, 10);
    gb_buf_printf(&buf, "\n%s\n", footer);
    rv = gb_zone_parse(zone, buf.data, buf.len, pool);
    gb_buf_free(&buf);
    return rv;
}

/* 2045-03-12, 2045-11-05 are the US changes of that year. */
static const struct {
    const char *footer;
    apr_int64_t at;
    int offset;
} footers[] = {
    {"PST8PDT,M3.2.0,M11.1.0",               2372925599, -28800},
    {"PST8PDT,M3.2.0,M11.1.0",               2372925600, -25200},
    {"PST8PDT,M3.2.0,M11.1.0",               2393485199, -25200},
    {"PST8PDT,M3.2.0,M11.1.0",               2393485200, -28800},
    {"CET-1CEST,M3.5.0,M10.5.0/3",           2374102799, 3600  },
    {"CET-1CEST,M3.5.0,M10.5.0/3",           2374102800, 7200  },
    {"CET-1CEST,M3.5.0,M10.5.0/3",           2392851599, 7200  },
    {"CET-1CEST,M3.5.0,M10.5.0/3",           2392851600, 3600  },
    {"IST-1GMT0,M10.5.0,M3.5.0/1",           2374102799, 0     },
    {"IST-1GMT0,M10.5.0,M3.5.0/1",           2374102800, 3600  },
    {"IST-1GMT0,M10.5.0,M3.5.0/1",           2392851600, 0     },
    {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2374671599, 39600 },
    {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2374671600, 37800 },
    {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2390398200, 39600 },
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0",      2374102799, -7200 },
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0",      2374102800, -3600 },
    {"<+0545>-5:45",                         2382480000, 20700 },
    {"XXX3EDT4,0/0,J365/23",                 2382480000, -14400}, /* daylight time all the year */
    {"XXX3EDT4,0/0,J365/23",                 2366841599, -14400}, /* 2044-12-31 23:59:59 UTC */
    {"AAA0BBB,J60/0,J61/0",                  2340403199, 0     }, /* 2044 is a leap year: J60 is March 1 */
    {"AAA0BBB,J60/0,J61/0",                  2340403200, 3600  },
    {"AAA0BBB,J60/0,J61/0",                  2340489600, 0     },
    {"AAA0BBB,59/0,60/0",                    2340316800, 3600  }, /* day 59 is February 29 */
    {"AAA0BBB,59/0,60/0",                    2340403200, 0     },
    {"",                                     2382480000, 0     },
};

static void zone_footers(void **state)
{
    static const char *const damaged[] = {
        "PS8PDT,M3.2.0,M11.1.0",
        "PST",
        "PST8PDT",
        "PST8PDT,M3.2.0",
        "PST8PDT,M13.2.0,M11.1.0",
        "PST8PDT,M3.6.0,M11.1.0",
        "PST8PDT,M3.2.7,M11.1.0",
        "<PST8",
        "PST8PDT,M3.2.0,M11.1.0x",
        "PST99999",
        "PST8PDT,J0,J5",
        "PST8PDT,M3.2.0/,M11.1.0",
    };
    gb_zone_t *zone = NULL;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(footers) / sizeof(footers[0]); i++) {
        assert_int_equal(parse_footer(&zone, footers[i].footer), APR_SUCCESS);
        if (gb_zone_offset(zone, footers[i].at * APR_USEC_PER_SEC) != footers[i].offset) {
            print_error("%s at %lld: %d\n", footers[i].footer, (long long)footers[i].at,
                        gb_zone_offset(zone, footers[i].at * APR_USEC_PER_SEC));
            fail();
        }
    }
    for (i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        if (parse_footer(&zone, damaged[i]) != APR_EINVAL) {
            print_error("accepted %s\n", damaged[i]);
            fail();
        }
    }
}

/* A file of version 1 with one transition, whole and cut at every byte. */
static void zone_version_one(void **state)
{
    static const char type[6] = {0, 0, 0x0e, 0x10, 0, 0};
    static const char index = 0;
    gb_zone_t *zone = NULL;
    gb_buf_t buf;
    size_t len;

    (void)state;
    gb_buf_init(&buf, 10000);
    put_header(&buf, '\0', 1, 1);
    put32(&buf, 1000);
    gb_buf_append(&buf, &index, 1);
    gb_buf_append(&buf, type, 6);
    gb_buf_append(&buf, "XXX", 4);
    assert_int_equal(gb_zone_parse(&zone, buf.data, buf.len, pool), APR_SUCCESS);
    assert_int_equal(gb_zone_offset(zone, 2000 * APR_USEC_PER_SEC), 3600);
    for (len = 0; len < buf.len; len++) {
        assert_int_equal(gb_zone_parse(&zone, buf.data, len, pool), APR_EINVAL);
    }
    buf.data[44 + 4] = 1; /* a type that is not there */
    assert_int_equal(gb_zone_parse(&zone, buf.data, buf.len, pool), APR_EINVAL);
    gb_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_parse),   cmocka_unit_test(clock_goes_forward),
        cmocka_unit_test(pacific_midnights), cmocka_unit_test(pacific_agrees_with_tzdata),
        cmocka_unit_test(zone_files),        cmocka_unit_test(zone_names),
        cmocka_unit_test(zone_footers),      cmocka_unit_test(zone_version_one),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests_name("timeutil", tests, NULL, NULL);
}
