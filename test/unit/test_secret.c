/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: what they accept, what is shown of them, and what redaction leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_time.h>

#include "base/secret.h"

static apr_pool_t *pool;

static void makes_and_refuses(void **state)
{
    char text[GB_SECRET_MAX + 2];
    gb_secret_t *secret = NULL;

    (void)state;
    assert_int_equal(gb_secret_make(&secret, "AQ.abc-123", 10, pool), APR_SUCCESS);
    assert_string_equal(gb_secret_text(secret), "AQ.abc-123");
    assert_int_equal(gb_secret_len(secret), 10);
    memset(text, 'k', sizeof(text));
    assert_int_equal(gb_secret_make(&secret, text, GB_SECRET_MAX, pool), APR_SUCCESS);
    assert_int_equal(gb_secret_make(&secret, text, GB_SECRET_MAX + 1, pool), APR_EINVAL);
    assert_int_equal(gb_secret_make(&secret, "", 0, pool), APR_EINVAL);
    assert_int_equal(gb_secret_make(&secret, "a b", 3, pool), APR_EINVAL);
    assert_int_equal(gb_secret_make(&secret, "a\r\n", 3, pool), APR_EINVAL);
    assert_int_equal(gb_secret_make(&secret, "a\0b", 3, pool), APR_EINVAL);
    assert_int_equal(gb_secret_make(&secret, "\xc3\xa4", 2, pool), APR_EINVAL);
    assert_int_equal(gb_secret_make(&secret, "\x7f", 1, pool), APR_EINVAL);
}

static void id_is_sha256(void **state)
{
    unsigned char digest[GB_DIGEST_LEN];
    char hex[2 * GB_DIGEST_LEN + 1];
    gb_secret_t *secret = NULL;

    (void)state;
    gb_digest(digest, "abc", 3);
    gb_hex(hex, digest, sizeof(digest));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(gb_secret_make(&secret, "abc", 3, pool), APR_SUCCESS);
    assert_string_equal(gb_secret_id(secret), "ba7816bf");
}

static void mask_hides_most(void **state)
{
    static const char *const cases[][2] = {
        {"a",                  "\xe2\x80\xa6"              },
        {"1234567",            "\xe2\x80\xa6"              },
        {"12345678",           "\xe2\x80\xa6"
                     "78"              },
        {"123456789012345",    "\xe2\x80\xa6"
                            "45"},
        {"AIzaSyExample0wXyZ", "AIza\xe2\x80\xa6wXyZ"      },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gb_secret_t *secret = NULL;

        gb_secret_make(&secret, cases[i][0], strlen(cases[i][0]), pool);
        assert_string_equal(gb_secret_masked(secret, pool), cases[i][1]);
    }
}

/* Cleanups run in reverse, so this one looks at the text after it was wiped. */
typedef struct spy_t {
    const char *text;
    int saw_zeros;
} spy_t;

static apr_status_t spy(void *data)
{
    static const char zeros[19];
    spy_t *s = data;

    s->saw_zeros = memcmp(s->text, zeros, sizeof(zeros)) == 0;
    return APR_SUCCESS;
}

static void pool_wipes(void **state)
{
    apr_pool_t *p;
    gb_secret_t *secret = NULL;
    spy_t s = {NULL, 0};

    (void)state;
    apr_pool_create(&p, pool);
    apr_pool_cleanup_register(p, &s, spy, apr_pool_cleanup_null);
    gb_secret_make(&secret, "do-not-leave-behind", 19, p);
    s.text = gb_secret_text(secret);
    apr_pool_destroy(p);
    assert_true(s.saw_zeros);
}

static void compares_and_rolls(void **state)
{
    unsigned char a[64], b[64];

    (void)state;
    memset(a, 0, sizeof(a));
    gb_random(a, sizeof(a));
    gb_random(b, sizeof(b));
    assert_false(gb_equal_ct(a, b, sizeof(a)));
    memcpy(b, a, sizeof(a));
    assert_true(gb_equal_ct(a, b, sizeof(a)));
    b[63] ^= 1;
    assert_false(gb_equal_ct(a, b, sizeof(a)));
    assert_true(gb_equal_ct(a, b, 0));
}

/* ---- redaction ---- */

#define KEY "AIzaSyEXAMPLE-EXAMPLE_EXAMPLE-EXAMPLE00"

static const struct {
    const char *secret, *text, *want;
} redactions[] = {
    {NULL,     "nothing to hide",                                "nothing to hide"                        },
    {NULL,     "",                                               ""                                       },
    {NULL,     "key " KEY ".",                                   "key [redacted]."                        },
    {NULL,     KEY KEY,                                          "[redacted]"                             },
    {NULL,     "Consumer 'api_key:" KEY "' has been suspended.",
     "Consumer 'api_key:[redacted]' has been suspended."                                                  },
    {NULL,     "AIza is how keys began",                         "AIza is how keys began"                 },
    {NULL,     "AQ.Ab8RN6Jexample_-x, see FAQ.html",             "[redacted], see FAQ.html"               },
    {NULL,     "AQ. Then",                                       "AQ. Then"                               },
    {NULL,     "https://x/v1beta/models?key=abc&alt=sse",
     "https://x/v1beta/models?key=[redacted]&alt=sse"                                                     },
    {NULL,     "?access_token=ya29.x-y_z&KEY=1",                 "?access_token=[redacted]&KEY=[redacted]"},
    {NULL,     "{\"apiKey\": \"opaque99\"}",                     "{\"apiKey\": \"[redacted]\"}"           },
    {NULL,     "Authorization: Bearer  sk.x/+~-_%20.",           "Authorization: Bearer  [redacted]."     },
    {NULL,     "bearer",                                         "bearer"                                 },
    {NULL,     "used sk-proj-abcdefghijklmnop",                  "used [redacted]"                        },
    {NULL,     "risk-averse-and-quite-harmless",                 "risk-averse-and-quite-harmless"         },
    {NULL,     "projects/123456789012/locations",                "projects/[redacted]/locations"          },
    {NULL,     "in project 123456789012 before",                 "in project [redacted] before"           },
    {NULL,     "?project=123456789012 then",                     "?project=[redacted] then"               },
    {NULL,     "'project_number:123456789012'",                  "'project_number:[redacted]'"            },
    {NULL,     "projects/my-project, project 12345",             "projects/my-project, project 12345"     },
    {"opaque", "an opaque, quite opaque",                        "an [redacted], quite [redacted]"        },
    {"k",      "kick",                                           "[redacted]ic[redacted]"                 },
    {"",       "kick",                                           "kick"                                   },
    {"a&b",    "x?key=a&b&c",                                    "x?key=[redacted]&c"                     },
    {"abc",    "ababcabc",                                       "ab[redacted][redacted]"                 },
};

static void redacts(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(redactions) / sizeof(redactions[0]); i++) {
        size_t len = strlen(redactions[i].text);
        char *copy = malloc(len + 1);
        gb_buf_t out;

        gb_buf_init(&out, 4096);
        memcpy(copy, redactions[i].text, len);
        assert_int_equal(gb_redact(&out, copy, len, redactions[i].secret), APR_SUCCESS);
        assert_string_equal(out.data, redactions[i].want);
        gb_buf_free(&out);
        free(copy);
    }
}

/* Whatever stands around it, the secret never comes through. */
static void secret_never_survives(void **state)
{
    static const char *const around[] = {"",    "key=",           "Bearer ", "AIza",
                                         "AQ.", "project 123456", "&",       "\""};
    static const char *const secrets[] = {"S3cret!\"x", "s&p=q", "AQ.x'y", "===", "project 1"};
    size_t i, k, m;

    (void)state;
    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        for (k = 0; k < sizeof(around) / sizeof(around[0]); k++) {
            for (m = 0; m < sizeof(around) / sizeof(around[0]); m++) {
                gb_buf_t text, out;

                gb_buf_init(&text, 1000);
                gb_buf_init(&out, 1000);
                gb_buf_printf(&text, "%s%s%s%s", around[k], secrets[i], around[m], secrets[i]);
                gb_redact(&out, text.data, text.len, secrets[i]);
                assert_null(strstr(out.data, secrets[i]));
                gb_buf_free(&text);
                gb_buf_free(&out);
            }
        }
    }
}

static void is_linear(void **state)
{
    static const char *const pieces[] = {"bearer ", "AIzaAIza", "project ",
                                         " ",       "key=",     "aaaaaaab"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        gb_buf_t text, out;
        apr_time_t start;

        gb_buf_init(&text, 5000000);
        gb_buf_init(&out, 50000000);
        while (text.len < 4000000) {
            gb_buf_puts(&text, pieces[i]);
        }
        start = apr_time_now();
        assert_int_equal(gb_redact(&out, text.data, text.len, "aaaaaaaaaaaaaaaaaaaaaaaaab"),
                         APR_SUCCESS);
        assert_true(apr_time_now() - start < 3 * APR_USEC_PER_SEC);
        gb_buf_free(&text);
        gb_buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_and_refuses),     cmocka_unit_test(id_is_sha256),
        cmocka_unit_test(mask_hides_most),       cmocka_unit_test(pool_wipes),
        cmocka_unit_test(compares_and_rolls),    cmocka_unit_test(redacts),
        cmocka_unit_test(secret_never_survives), cmocka_unit_test(is_linear),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
