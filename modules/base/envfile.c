/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a .env file as gemini-balance's own reader does: NAME=value lines,
 * `export` prefixes, comments, values in single or double quotes that may run
 * over lines.  References to other variables (${X}) are not replaced.  What the
 * names mean is not known here, and no value is ever part of a message.
 */
#include "base/settings.h"

#include <ctype.h>
#include <string.h>
#include <apr_file_io.h>
#include <apr_strings.h>

#define ENVFILE_MAX (4 * 1024 * 1024)

typedef struct reader_t {
    const char *at;
    int line;
    const char *path;
    const char **why;
    apr_table_t *vars;
    apr_pool_t *p;
} reader_t;

static apr_status_t fault(const reader_t *in, int line, const char *what)
{
    *in->why = apr_psprintf(in->p, "%s, line %d: %s", in->path, line, what);
    return APR_EINVAL;
}

static void skip_blanks(reader_t *in)
{
    while (*in->at == ' ' || *in->at == '\t' || *in->at == '\r') {
        in->at++;
    }
}

static void skip_line(reader_t *in)
{
    in->at += strcspn(in->at, "\n");
}

/* ---- values ---- */

/* A backslash sequence inside double quotes. */
static char unescape(char c)
{
    static const char from[] = "ntrfvab";
    static const char to[] = "\n\t\r\f\v\a\b";
    const char *hit = c != '\0' ? strchr(from, c) : NULL;

    return hit != NULL ? to[hit - from] : c;
}

/* Between single quotes only \' and \\ mean something; between double quotes more. */
static int is_escape(char quote, const char *at)
{
    if (at[0] != '\\' || at[1] == '\0') {
        return 0;
    }
    return at[1] == quote || at[1] == '\\' || (quote == '"' && strchr("'$ntrfvab", at[1]) != NULL);
}

static apr_status_t read_quoted(const char **pvalue, reader_t *in)
{
    const char quote = *in->at++;
    const int line = in->line;
    char *value = apr_palloc(in->p, strlen(in->at) + 1);
    size_t len = 0;

    for (; *in->at != quote; in->at++) {
        if (*in->at == '\0') {
            return fault(in, line, "the quote that opens here is never closed");
        }
        in->line += *in->at == '\n';
        if (is_escape(quote, in->at)) {
            in->at++;
            value[len++] = quote == '"' ? unescape(*in->at) : *in->at;
        }
        else {
            value[len++] = *in->at;
        }
    }
    in->at++;
    value[len] = '\0';
    skip_blanks(in);
    if (*in->at != '\n' && *in->at != '\0' && *in->at != '#') {
        return fault(in, in->line, "there is text behind the closing quote");
    }
    *pvalue = value;
    return APR_SUCCESS;
}

/* To the end of the line or to a blank before #. */
static const char *read_plain(reader_t *in)
{
    const char *start = in->at;
    const char *end;

    for (end = start; *end != '\n' && *end != '\0'; end++) {
        if (*end == '#' && (end == start || end[-1] == ' ' || end[-1] == '\t')) {
            break;
        }
    }
    while (end > start && isspace((unsigned char)end[-1])) {
        end--;
    }
    return apr_pstrmemdup(in->p, start, (apr_size_t)(end - start));
}

/* ---- lines ---- */

static const char *read_name(reader_t *in)
{
    const char *start = in->at;

    while (isalnum((unsigned char)*in->at) || *in->at == '_' || *in->at == '.' || *in->at == '-') {
        in->at++;
    }
    if (in->at == start || isdigit((unsigned char)*start)) {
        return NULL;
    }
    return apr_pstrmemdup(in->p, start, (apr_size_t)(in->at - start));
}

static void skip_export(reader_t *in)
{
    if (strncmp(in->at, "export", 6) == 0 && (in->at[6] == ' ' || in->at[6] == '\t')) {
        in->at += 7;
        skip_blanks(in);
    }
}

static apr_status_t read_assignment(reader_t *in)
{
    const char *name, *value;
    apr_status_t rv = APR_SUCCESS;

    skip_export(in);
    name = read_name(in);
    skip_blanks(in);
    if (name == NULL || *in->at != '=') {
        return fault(in, in->line, "this is no NAME=value line");
    }
    in->at++;
    skip_blanks(in);
    if (*in->at == '"' || *in->at == '\'') {
        rv = read_quoted(&value, in);
    }
    else {
        value = read_plain(in);
    }
    if (rv == APR_SUCCESS) {
        apr_table_setn(in->vars, name, value);
        skip_line(in);
    }
    return rv;
}

static apr_status_t read_lines(reader_t *in)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && *in->at != '\0') {
        skip_blanks(in);
        if (*in->at == '#') {
            skip_line(in);
        }
        else if (*in->at != '\n' && *in->at != '\0') {
            rv = read_assignment(in);
        }
        if (rv == APR_SUCCESS && *in->at == '\n') {
            in->at++;
            in->line++;
        }
    }
    return rv;
}

/* ---- the file ---- */

static apr_status_t file_text(char **ptext, const char *path, const char **why, apr_pool_t *p)
{
    apr_file_t *file;
    apr_finfo_t info;
    char *text;
    apr_size_t len = 0;
    apr_status_t rv = apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p);

    if (rv != APR_SUCCESS) {
        *why = apr_psprintf(p, "%s cannot be opened", path);
        return rv;
    }
    rv = apr_file_info_get(&info, APR_FINFO_SIZE | APR_FINFO_TYPE, file);
    if (rv == APR_SUCCESS && (info.filetype != APR_REG || info.size > ENVFILE_MAX)) {
        *why = apr_psprintf(p, "%s is no file of at most 4 MiB", path);
        rv = APR_EINVAL;
    }
    else if (rv == APR_SUCCESS) {
        text = apr_palloc(p, (apr_size_t)info.size + 1);
        rv = apr_file_read_full(file, text, (apr_size_t)info.size, &len);
        *why = apr_psprintf(p, "%s cannot be read", path);
        if (rv == APR_SUCCESS || APR_STATUS_IS_EOF(rv)) {
            text[len] = '\0';
            *ptext = text;
            rv = APR_SUCCESS;
        }
    }
    apr_file_close(file);
    if (rv == APR_SUCCESS && strlen(*ptext) != len) {
        *why = apr_psprintf(p, "%s holds a NUL byte", path);
        rv = APR_EINVAL;
    }
    return rv;
}

apr_status_t gb_env_text_read(apr_table_t **pvars, const char *text, const char *name,
                              const char **why, apr_pool_t *p)
{
    reader_t in;
    apr_status_t rv;

    in.at = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
    in.line = 1;
    in.path = name;
    in.why = why;
    in.vars = apr_table_make(p, 32);
    in.p = p;
    rv = read_lines(&in);
    if (rv == APR_SUCCESS) {
        *pvars = in.vars;
    }
    return rv;
}

apr_status_t gb_env_file_read(apr_table_t **pvars, const char *path, const char **why,
                              apr_pool_t *p)
{
    char *text = NULL;
    apr_status_t rv = file_text(&text, path, why, p);

    return rv == APR_SUCCESS ? gb_env_text_read(pvars, text, path, why, p) : rv;
}

/* ---- writing ---- */

static int is_plain(const char *value)
{
    while (isalnum((unsigned char)*value)
           || (*value != '\0' && strchr("._:/,+-*@", *value) != NULL)) {
        value++;
    }
    return *value == '\0';
}

/* Bare where nothing can be misread, in single quotes where nothing needs a backslash. */
apr_status_t gb_env_put(gb_buf_t *out, const char *name, const char *value)
{
    const char *at;

    if (is_plain(value)) {
        return gb_buf_printf(out, "%s=%s\n", name, value);
    }
    if (strpbrk(value, "'\\") == NULL) {
        return gb_buf_printf(out, "%s='%s'\n", name, value);
    }
    gb_buf_printf(out, "%s=\"", name);
    for (at = value; *at != '\0'; at++) {
        gb_buf_puts(out, *at == '"' || *at == '\\' ? "\\" : "");
        gb_buf_putc(out, *at);
    }
    return gb_buf_puts(out, "\"\n");
}
