/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what is made from the table of settings: `print_settings readme` the
 * README's table, `print_settings conf` the commented entries of
 * conf.d/gbalance.conf, `print_settings directives` a configuration that sets
 * each one to its default.  test/guard/settings.py compares and writes.
 */
#include <stdio.h>
#include <string.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "base/settings.h"

static const char *const type_words[] = {
    [GB_TYPE_BOOL] = "boolean", [GB_TYPE_INT] = "whole number",
    [GB_TYPE_FLOAT] = "number", [GB_TYPE_SECONDS] = "seconds",
    [GB_TYPE_STRING] = "text",  [GB_TYPE_URL] = "address",
    [GB_TYPE_ENUM] = "choice",  [GB_TYPE_SECRET] = "secret",
    [GB_TYPE_LIST] = "list",    [GB_TYPE_SECRET_LIST] = "list of secrets",
    [GB_TYPE_MAP] = "map",      [GB_TYPE_NUMBER_MAP] = "map of numbers",
    [GB_TYPE_JSON] = "JSON",
};

static const char *const scope_words[] = {
    [GB_SCOPE_SERVER] = "server",
    [GB_SCOPE_POOL] = "pool",
    [GB_SCOPE_VHOST] = "vhost",
};

/* "whole number, 1 to 20", "choice: a, b" */
static const char *type_text(const gb_setting_t *row, const char *separator, apr_pool_t *p)
{
    const char *text = type_words[row->type];
    const char *at;

    if (row->min <= row->max) {
        return apr_psprintf(p, "%s, %.0f to %.0f", text, row->min, row->max);
    }
    if (row->type != GB_TYPE_ENUM) {
        return text;
    }
    text = "";
    for (at = row->choices; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        text = apr_psprintf(p, "%s%s%.*s", text, text[0] != '\0' ? separator : "",
                            (int)strcspn(at, "|"), at);
    }
    return text;
}

/* ---- the README ---- */

/* Markdown's column bars, and the characters it would swallow. */
static void put_cell(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("|*<_", *text) != NULL) {
            putchar('\\');
        }
        putchar(*text);
    }
}

static void put_default(const gb_setting_t *row)
{
    if (row->fallback[0] == '\0') {
        printf("–");
    }
    else if (strlen(row->fallback) > 100) {
        printf("see `conf.d/gbalance.conf`");
    }
    else {
        printf("`%s`", row->fallback);
    }
}

static void print_readme(apr_pool_t *p)
{
    const char *group = "";
    int i, n;
    const gb_setting_t *rows = gb_settings_rows(&n);

    for (i = 0; i < n; i++) {
        if (strcmp(group, rows[i].group) != 0) {
            group = rows[i].group;
            printf("\n**%s**\n\n| name | directive | type | scope | default | what it does |\n"
                   "| --- | --- | --- | --- | --- | --- |\n",
                   group);
        }
        printf("| `%s` | `%s` | %s | %s | ", rows[i].name, rows[i].directive,
               type_text(&rows[i], ", ", p), scope_words[rows[i].scope]);
        put_default(&rows[i]);
        printf(" | ");
        put_cell(rows[i].help);
        printf(" |\n");
    }
    putchar('\n');
}

/* ---- httpd's configuration ---- */

/* A directive's argument: in single quotes where it needs them. */
static const char *conf_argument(const char *text, apr_pool_t *p)
{
    if (text[0] == '\0') {
        return "\"\"";
    }
    return strpbrk(text, " \"{[,") != NULL ? apr_psprintf(p, "'%s'", text) : text;
}

static void print_conf(apr_pool_t *p)
{
    const char *group = "";
    int i, n;
    const gb_setting_t *rows = gb_settings_rows(&n);

    for (i = 0; i < n; i++) {
        if (strcmp(group, rows[i].group) != 0) {
            group = rows[i].group;
            printf("\n# ---- %s ----\n", group);
        }
        printf("\n# %s: %s (%s).\n#%s %s\n", rows[i].name, rows[i].help,
               type_text(&rows[i], " | ", p), rows[i].directive,
               conf_argument(rows[i].fallback, p));
    }
    putchar('\n');
}

static void print_directives(apr_pool_t *p)
{
    int i, n;
    const gb_setting_t *rows = gb_settings_rows(&n);

    for (i = 0; i < n; i++) {
        printf("%s %s\n", rows[i].directive, conf_argument(rows[i].fallback, p));
    }
}

/* ---- which of them ---- */

static const struct {
    const char *mode;
    void (*print)(apr_pool_t *p);
} modes[] = {
    {"readme",     print_readme    },
    {"conf",       print_conf      },
    {"directives", print_directives},
};

int main(int argc, char **argv)
{
    size_t i;
    apr_pool_t *p;

    apr_initialize();
    apr_pool_create(&p, NULL);
    for (i = 0; argc == 2 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].mode) == 0) {
            modes[i].print(p);
            apr_terminate();
            return 0;
        }
    }
    fprintf(stderr, "usage: print_settings readme|conf|directives\n");
    apr_terminate();
    return 2;
}
