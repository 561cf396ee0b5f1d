/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The README's table of the fields of a chat request against the code.
 * GB_UPDATE=1 writes the table anew.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "cases.h"
#include "proto/openai.h"

#define BEGIN "<!-- openai fields: begin"
#define END   "<!-- openai fields: end"

static apr_pool_t *pool;

static const struct {
    const char *action, *words;
} actions[] = {
    {"MAP",    "mapped"   },
    {"IGNORE", "no effect"},
    {"REJECT", "refused"  },
};

static const char *words_of(const char *action)
{
    size_t i;

    for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(actions[i].action, action) == 0) {
            return actions[i].words;
        }
    }
    fail_msg("no word for %s", action);
    return NULL;
}

static const char *table(void)
{
    const char *text = "| field | | what happens |\n| --- | --- | --- |\n";
    const gb_openai_field_row_t *rows;
    int i, n;

    rows = gb_openai_fields(&n);
    for (i = 0; i < n; i++) {
        assert_null(strchr(rows[i].text, '|'));
        text = apr_psprintf(pool, "%s| `%s` | %s | %s |\n", text, rows[i].name,
                            words_of(rows[i].action), rows[i].text);
    }
    return text;
}

/* Behind the line that begins with the mark, which stands there once. */
static char *behind(char *text, const char *mark)
{
    char *at = strstr(text, mark);

    if (at == NULL || strstr(at + 1, mark) != NULL) {
        fail_msg("README.md holds %s not once", mark);
    }
    return strchr(at, '\n') + 1;
}

static void write_anew(const char *path, const char *before, const char *made, const char *after)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fprintf(file, "%s%s%s", before, made, after);
    fclose(file);
}

static void the_readme_says_what_the_code_does(void **state)
{
    size_t len = 0;
    char *text = (char *)cases_read(&len, pool, cases_root(), "README.md");
    const char *made = table();
    char *begin, *end;

    (void)state;
    assert_non_null(text);
    begin = behind(text, BEGIN);
    end = behind(text, END) - 1;
    while (end > begin && end[-1] != '\n') {
        end--;
    }
    if (getenv("GB_UPDATE") != NULL) {
        write_anew(apr_pstrcat(pool, cases_root(), "/README.md", NULL),
                   apr_pstrmemdup(pool, text, (size_t)(begin - text)), made,
                   apr_pstrdup(pool, end));
        return;
    }
    assert_string_equal(apr_pstrmemdup(pool, begin, (size_t)(end - begin)), made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_readme_says_what_the_code_does),
    };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
