/* SPDX-License-Identifier: Apache-2.0 */
/* See cases.h. */
#include "cases.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include <apr_strings.h>

const char *cases_root(void)
{
    const char *root = getenv("GB_SRCDIR");

    return root != NULL && *root != '\0' ? root : ".";
}

const char *cases_shared(apr_pool_t *p)
{
    const char *shared = getenv("GB_SHARED"), *ci = getenv("CI");
    struct stat st;

    if (shared == NULL) {
        shared = apr_pstrcat(p, cases_root(), "/../shared", NULL);
    }
    if (stat(shared, &st) == 0) {
        return shared;
    }
    if (ci != NULL && strcmp(ci, "true") == 0) {
        fail_msg("%s is not there: it holds the recordings", shared);
    }
    print_message("skipped: %s is not there (GB_SHARED names it)\n", shared);
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

apr_array_header_t *cases_list(const char *folder, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 64, sizeof(const char *));
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            APR_ARRAY_PUSH(names, const char *) = apr_pstrdup(p, entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return names;
}

const char *cases_read(size_t *len, apr_pool_t *p, const char *folder, const char *name)
{
    FILE *file = fopen(apr_pstrcat(p, folder, "/", name, NULL), "rb");
    char *bytes;
    struct stat st;

    *len = 0;
    if (file == NULL) {
        return NULL;
    }
    assert_int_equal(fstat(fileno(file), &st), 0);
    bytes = apr_palloc(p, (apr_size_t)st.st_size + 1);
    *len = fread(bytes, 1, (size_t)st.st_size, file);
    bytes[*len] = '\0';
    fclose(file);
    return bytes;
}

gb_span_t cases_json(apr_pool_t *p, const char *folder, const char *name)
{
    gb_json_fault_t fault;
    size_t len;
    const char *text = cases_read(&len, p, folder, name);

    if (text == NULL) {
        return (gb_span_t){NULL, 0};
    }
    if (gb_json_check(text, len, &fault) != APR_SUCCESS) {
        fail_msg("%s/%s: %s", folder, name, fault.message);
    }
    return gb_json_root(text, len);
}

const gb_settings_t *cases_settings(gb_span_t object, apr_pool_t *p)
{
    gb_settings_t *settings = gb_settings_make(p);
    const gb_setting_t *row;
    const char *why = NULL, *name, *text;
    gb_json_iter_t it;
    size_t len;

    for (gb_json_iter(&it, object); gb_json_next(&it);) {
        name = gb_json_str(it.key, &len, p);
        if ((row = gb_settings_find(name)) == NULL) {
            fail_msg("no setting is called %s", name);
        }
        text = gb_json_kind(it.value) == GB_JSON_STRING
                   ? gb_json_str(it.value, &len, p)
                   : apr_pstrmemdup(p, it.value.p, it.value.len);
        if (gb_settings_set(settings, row, text, &why, p) != APR_SUCCESS) {
            fail_msg("%s: %s", name, why);
        }
    }
    return settings;
}

static void pretty(gb_buf_t *out, gb_span_t value, int depth)
{
    gb_json_kind_t kind = gb_json_kind(value);
    int is_object = kind == GB_JSON_OBJECT;
    gb_json_iter_t it;

    if ((!is_object && kind != GB_JSON_ARRAY) || gb_json_count(value) == 0) {
        gb_json_put_compact(out, value);
        return;
    }
    for (gb_json_iter(&it, value); gb_json_next(&it);) {
        gb_buf_putc(out, it.index > 0 ? ',' : is_object ? '{' : '[');
        gb_buf_printf(out, "\n%*s", depth + 1, "");
        if (is_object) {
            gb_json_put_span(out, it.key);
            gb_buf_puts(out, ": ");
        }
        pretty(out, it.value, depth + 1);
    }
    gb_buf_printf(out, "\n%*s%c", depth, "", is_object ? '}' : ']');
}

void cases_pretty(gb_buf_t *out, gb_span_t value)
{
    pretty(out, value, 0);
    gb_buf_putc(out, '\n');
}

static int updating(void)
{
    const char *update = getenv("GB_UPDATE");

    return update != NULL && *update == '1';
}

static void file_write(apr_pool_t *p, const char *folder, const char *name, const char *text,
                       size_t len)
{
    FILE *file = fopen(apr_pstrcat(p, folder, "/", name, NULL), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

/* Where two texts part, with what stands around it. */
static void differ(const char *folder, const char *name, const char *got, size_t got_len,
                   const char *want, size_t want_len)
{
    size_t at = 0, from;

    while (at < got_len && at < want_len && got[at] == want[at]) {
        at++;
    }
    if (at == got_len && at == want_len) {
        return;
    }
    from = at > 60 ? at - 60 : 0;
    fail_msg("%s/%s differs at byte %zu:\n  got  ...%.160s\n  want ...%.160s", folder, name, at,
             got_len > from ? got + from : "", want_len > from ? want + from : "");
}

void cases_expect_text(apr_pool_t *p, const char *folder, const char *name, const char *text,
                       size_t len)
{
    const char *want;
    size_t want_len;

    if (updating()) {
        file_write(p, folder, name, text, len);
    }
    want = cases_read(&want_len, p, folder, name);
    if (want == NULL) {
        fail_msg("%s/%s is missing", folder, name);
    }
    differ(folder, name, text, len, want, want_len);
}

void cases_expect_json(apr_pool_t *p, const char *folder, const char *name, const char *text,
                       size_t len)
{
    gb_json_fault_t fault;
    gb_buf_t got, want;
    gb_span_t file;

    if (gb_json_check(text, len, &fault) != APR_SUCCESS) {
        fail_msg("%s: no JSON: %s: %.300s", folder, fault.message, text);
    }
    gb_buf_init_pool(&got, GB_BUF_MAX_REQUEST, p);
    gb_buf_init_pool(&want, GB_BUF_MAX_REQUEST, p);
    if (updating()) {
        cases_pretty(&got, gb_json_root(text, len));
        file_write(p, folder, name, got.data, got.len);
        gb_buf_reset(&got);
    }
    file = cases_json(p, folder, name);
    if (file.p == NULL) {
        fail_msg("%s/%s is missing", folder, name);
    }
    gb_json_put_compact(&got, gb_json_root(text, len));
    gb_json_put_compact(&want, file);
    differ(folder, name, got.data, got.len, want.data, want.len);
}

void cases_each(const char *kind, void (*fn)(const char *folder, apr_pool_t *p))
{
    apr_array_header_t *names;
    apr_pool_t *all, *one;
    const char *folder;
    int i;

    apr_pool_create(&all, NULL);
    folder = apr_pstrcat(all, cases_root(), "/test/cases/", kind, NULL);
    names = cases_list(folder, all);
    if (names->nelts == 0) {
        fail_msg("%s holds no case", folder);
    }
    for (i = 0; i < names->nelts; i++) {
        apr_pool_create(&one, all);
        fn(apr_pstrcat(one, folder, "/", APR_ARRAY_IDX(names, i, const char *), NULL), one);
        apr_pool_destroy(one);
    }
    print_message("%d cases of %s\n", names->nelts, kind);
    apr_pool_destroy(all);
}
