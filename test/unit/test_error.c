/* SPDX-License-Identifier: Apache-2.0 */
/* What a status is called in each protocol, and that messages stay valid UTF-8 when cut. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/json.h"

static const struct {
    int status;
    const char *openai;
    const char *google;
} words[] = {
    {400, "invalid_request_error", "INVALID_ARGUMENT"  },
    {401, "invalid_request_error", "UNAUTHENTICATED"   },
    {402, "insufficient_quota",    "RESOURCE_EXHAUSTED"},
    {403, "invalid_request_error", "PERMISSION_DENIED" },
    {404, "invalid_request_error", "NOT_FOUND"         },
    {405, "invalid_request_error", "UNIMPLEMENTED"     },
    {409, "invalid_request_error", "ABORTED"           },
    {413, "invalid_request_error", "INVALID_ARGUMENT"  },
    {418, "invalid_request_error", "INVALID_ARGUMENT"  },
    {429, "requests",              "RESOURCE_EXHAUSTED"},
    {499, "server_error",          "CANCELLED"         },
    {500, "server_error",          "INTERNAL"          },
    {501, "server_error",          "UNIMPLEMENTED"     },
    {503, "server_error",          "UNAVAILABLE"       },
    {504, "server_error",          "DEADLINE_EXCEEDED" },
    {599, "server_error",          "INTERNAL"          },
};

static void status_names(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        gb_error_t err;

        assert_int_equal(gb_error_set(&err, words[i].status, NULL, NULL, "x"), APR_EGENERAL);
        assert_string_equal(gb_error_openai_type(&err), words[i].openai);
        assert_string_equal(gb_error_google_status(&err), words[i].google);
    }
}

static void set_clears_and_fills(void **state)
{
    gb_error_t err;

    (void)state;
    memset(&err, 'x', sizeof(err));
    gb_error_set(&err, 400, "invalid_value", "messages[0].role", "no role %s", "there");
    assert_int_equal(err.status, 400);
    assert_string_equal(err.code, "invalid_value");
    assert_string_equal(err.param, "messages[0].role");
    assert_string_equal(err.message, "no role there");
    assert_string_equal(err.type, "");
    assert_true(err.retry_after == 0);
    assert_int_equal(err.should_retry, GB_RETRY_UNSAID);
    assert_null(err.allow);
    assert_null(err.upstream_body);
    strcpy(err.type, "own_type");
    strcpy(err.google_status, "OWN_STATUS");
    assert_string_equal(gb_error_openai_type(&err), "own_type");
    assert_string_equal(gb_error_google_status(&err), "OWN_STATUS");
}

/* Whatever the cut hits: the message stays UTF-8. */
static void cut_is_utf8(void **state)
{
    static const char *const filler[] = {"\xc3\xa4", "\xe6\xbc\xa2", "\xf0\x9f\x98\x80"};
    size_t i, shift;

    (void)state;
    for (i = 0; i < 3; i++) {
        for (shift = 0; shift < 5; shift++) {
            char text[2200] = "";
            gb_error_t err;
            char json[1100];
            gb_json_fault_t fault;

            memset(text, 'a', shift);
            text[shift] = '\0';
            while (strlen(text) < 2000) {
                strcat(text, filler[i]);
            }
            gb_error_set(&err, 400, NULL, NULL, "%s", text);
            json[0] = '"';
            strcpy(json + 1, err.message);
            strcat(json, "\"");
            assert_int_equal(gb_json_check(json, strlen(json), &fault), APR_SUCCESS);
            assert_true(strlen(err.message) > 1018);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_names),
        cmocka_unit_test(set_clears_and_fills),
        cmocka_unit_test(cut_is_utf8),
    };

    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
