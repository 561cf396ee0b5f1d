/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that clients get wrong: a row for each row of the table, for what is
 * mended always, and for what must be left alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>

#include "proto/url.h"

#define M GB_URL_MISTAKES
#define B GB_URL_BARE

typedef struct row_t {
    unsigned flags;
    const char *path;
    const char *want; /* NULL: left alone */
} row_t;

/* clang-format off */
static const row_t rows[] = {
    /* always */
    {0, "/v1/v1/chat/completions", "/v1/chat/completions"},
    {0, "/v1/v1/v1/models", "/v1/models"},
    {0, "/v1beta/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"},
    {0, "/v1alpha/v1alpha/models", "/v1alpha/models"},
    {0, "/gemini/v1beta/v1beta/models", "/gemini/v1beta/models"},
    {0, "/openai/v1/v1/models", "/openai/v1/models"},
    {0, "/hf/v1/v1/models", "/hf/v1/models"},
    {0, "/vertex-express/v1beta/v1beta/models/m:generateContent", "/vertex-express/v1beta/models/m:generateContent"},
    {0, "//v1///chat//completions", "/v1/chat/completions"},
    {0, "/v1beta/upload/v1beta/files", "/upload/v1beta/files"},
    {0, "/gemini/v1beta/upload/v1beta/files", "/gemini/upload/v1beta/files"},
    {0, "/vertex-express/v1beta1/publishers/google/models/m:generateContent",
     "/vertex-express/v1beta/publishers/google/models/m:generateContent"},
    {0, "/vertex-express/v1/publishers/google/models/m:generateContent",
     "/vertex-express/v1beta/publishers/google/models/m:generateContent"},
    {0, "/chat/completions", "/v1/chat/completions"},
    {0, "/images/generations", "/v1/images/generations"},
    {0, "/audio/speech", "/v1/audio/speech"},
    {0, "/audio/transcriptions", "/v1/audio/transcriptions"},
    {0, "/audio/translations", "/v1/audio/translations"},
    {B, "/models", "/v1/models"},
    {B, "/models/gemini-2.5-pro", "/v1/models/gemini-2.5-pro"},
    {B, "/embeddings", "/v1/embeddings"},
    {B, "/completions", "/v1/completions"},
    {B, "/responses", "/v1/responses"},
    {B, "/responses/resp_1", "/v1/responses/resp_1"},
    {B, "/moderations", "/v1/moderations"},
    {B, "/images/edits", "/v1/images/edits"},
    {B, "/files", "/v1/files"},
    {B, "/batches/b", "/v1/batches/b"},
    /* what a site may have of its own */
    {0, "/models", NULL},
    {0, "/files/a.pdf", NULL},
    {0, "/responses", NULL},
    {B | M, "/modelshop", NULL},
    {B | M, "/index.html", NULL},
    {B | M, "/", NULL},
    {M, "/images/cat.png", NULL},
    /* right as it is */
    {B | M, "/v1/chat/completions", NULL},
    {B | M, "/v1/models/gemini-2.5-pro", NULL},
    {B | M, "/v1beta/models", NULL},
    {B | M, "/v1beta/models/m:generateContent", NULL},
    {B | M, "/v1beta/files/abc", NULL},
    {B | M, "/gemini/v1/models/m:generateContent", NULL},
    {B | M, "/openai/v1/chat/completions", NULL},
    {B | M, "/upload/v1beta/files", NULL},
    /* only when it was switched on */
    {0, "/v1beta/openai/chat/completions", NULL},
    {0, "/v1beta/chat/completions", NULL},
    {0, "/v1/models/m:generateContent", NULL},
    {0, "/models/m:generateContent", NULL},
    {0, "/v1/chat/completions/", NULL},
    /* the table, row for row */
    {M, "/gemini/v1beta/openai/v1/models", "/openai/v1/models"},
    {M, "/gemini/v1beta/openai/models", "/openai/v1/models"},
    {M, "/v1beta/openai/v1/embeddings", "/openai/v1/embeddings"},
    {M, "/v1beta/openai/chat/completions", "/openai/v1/chat/completions"},
    {M, "/openai/v1beta/chat/completions", "/openai/v1/chat/completions"},
    {M, "/v1/openai/v1/chat/completions", "/openai/v1/chat/completions"},
    {M, "/v1/openai/chat/completions", "/openai/v1/chat/completions"},
    {M, "/v1/hf/v1/chat/completions", "/hf/v1/chat/completions"},
    {M, "/openai/v1/openai/v1/models", "/openai/v1/models"},
    {M, "/hf/v1/hf/v1/models", "/hf/v1/models"},
    {M, "/gemini/v1beta/gemini/v1beta/models", "/gemini/v1beta/models"},
    {M, "/gemini/gemini/v1beta/models", "/gemini/v1beta/models"},
    {M, "/v1beta/gemini/v1beta/models", "/gemini/v1beta/models"},
    {M, "/vertex-express/v1beta/vertex-express/v1beta/models/m:generateContent",
        "/vertex-express/v1beta/models/m:generateContent"},
    {M, "/vertex-express/v1/vertex-express/v1/chat/completions", "/vertex-express/v1/chat/completions"},
    {M, "/v1/chat/completions/v1/chat/completions", "/v1/chat/completions"},
    {M, "/v1/chat/completions/chat/completions", "/v1/chat/completions"},
    {M, "/openai/v1/chat/completions/chat/completions", "/openai/v1/chat/completions"},
    {M, "/hf/v1/chat/completions/models", "/hf/v1/models"},
    {M, "/v1beta/v1/chat/completions", "/v1/chat/completions"},
    {M, "/v1beta/v1/models/m:countTokens", "/v1beta/models/m:countTokens"},
    {M, "/v1beta/chat/completions", "/v1/chat/completions"},
    {M, "/v1/v1beta/models/m:streamGenerateContent", "/v1beta/models/m:streamGenerateContent"},
    {M, "/v1/models/m:generateContent", "/v1beta/models/m:generateContent"},
    {M, "/vertex-express/v1/models/m:generateContent", "/vertex-express/v1beta/models/m:generateContent"},
    {M, "/vertex-express/v1beta/chat/completions", "/vertex-express/v1/chat/completions"},
    {M, "/openai/chat/completions", "/openai/v1/chat/completions"},
    {M, "/hf/chat/completions", "/hf/v1/chat/completions"},
    {M, "/vertex-express/models/m:generateContent", "/vertex-express/v1beta/models/m:generateContent"},
    {M, "/vertex-express/chat/completions", "/vertex-express/v1/chat/completions"},
    {M, "/gemini/models/m:generateContent", "/gemini/v1beta/models/m:generateContent"},
    {M, "/gemini/agents/a1", "/gemini/v1beta/agents/a1"},
    {M, "/models/m:generateContent", "/v1beta/models/m:generateContent"},
    {M, "/v1/chat/completions/", "/v1/chat/completions"},
    /* several at once */
    {M, "//v1beta/v1beta//openai/chat/completions/", "/openai/v1/chat/completions"},
    {M, "/v1/v1/chat/completions/chat/completions", "/v1/chat/completions"},
    /* what could be either protocol's is not guessed */
    {M, "/v1beta/v1/models", NULL},
    {M, "/openai/v1/models/m:generateContent", NULL},
    {M, "/hf/models/m:generateContent", NULL},
};
/* clang-format on */

static apr_pool_t *pool;

static void test_rows(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = gb_url_mend(rows[i].path, rows[i].flags, pool);

        if ((got == NULL) != (rows[i].want == NULL)
            || (got != NULL && strcmp(got, rows[i].want) != 0)) {
            fail_msg("%s (flags %u): %s, not %s", rows[i].path, rows[i].flags,
                     got != NULL ? got : "left alone",
                     rows[i].want != NULL ? rows[i].want : "left alone");
        }
    }
}

/* What was mended is right. */
static void test_once_is_enough(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].want != NULL) {
            assert_null(gb_url_mend(rows[i].want, rows[i].flags, pool));
        }
    }
}

static void test_version(void **state)
{
    (void)state;
    assert_string_equal(gb_url_version("https://h/v1beta"), "v1beta");
    assert_string_equal(gb_url_version("https://h/x/v1"), "v1");
    assert_string_equal(gb_url_version("/gemini/v1alpha"), "v1alpha");
    assert_string_equal(gb_url_version("https://h/v1beta1"), "v1beta1");
    assert_null(gb_url_version("https://h"));
    assert_null(gb_url_version("https://h/google"));
    assert_null(gb_url_version("https://h/v1x"));
    assert_null(gb_url_version("https://h/v"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_once_is_enough),
        cmocka_unit_test(test_version),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
