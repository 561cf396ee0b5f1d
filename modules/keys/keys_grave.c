/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tombstones: a key that a person deleted does not come back because a file still
 * names it.  A line per key in the state directory, "pool digest"; short, rarely
 * changed, so it is read whole.
 */
#include "keys.h"

#include "apr_file_io.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define FILE_NAME "keys-deleted"
#define FILE_MAX  (16 * 1024 * 1024)

static const char *file_path(apr_pool_t *p)
{
    const char *dir = keys_state_dir();

    return *dir ? apr_pstrcat(p, dir, "/" FILE_NAME, NULL) : NULL;
}

static const char *line_of(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    char hex[GB_POOL_DIGEST_LEN * 2 + 1];

    gb_hex(hex, digest, GB_POOL_DIGEST_LEN);
    return apr_pstrcat(p, pool, " ", hex, "\n", NULL);
}

/* "" when there is no file. */
static const char *file_text(const char *path, apr_pool_t *p)
{
    apr_finfo_t info;
    apr_file_t *file;
    apr_size_t len;
    char *text;

    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p) != APR_SUCCESS) {
        return "";
    }
    if (apr_file_info_get(&info, APR_FINFO_SIZE, file) != APR_SUCCESS || info.size > FILE_MAX) {
        apr_file_close(file);
        return "";
    }
    len = (apr_size_t)info.size;
    text = apr_pcalloc(p, len + 1);
    apr_file_read_full(file, text, len, &len);
    apr_file_close(file);
    return text;
}

/* Lines are looked for with the line end before them, so that a name cannot end another one. */
static const char *find_line(const char *text, const char *line)
{
    const char *at = text;

    while ((at = strstr(at, line)) != NULL && at != text && at[-1] != '\n') {
        at++;
    }
    return at;
}

int keys_grave_has(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    /* One read a start, not one a key. */
    static const char *const key = "gbalance-keys-deleted";
    const char *path = file_path(p);
    void *text = NULL;

    if (!path) {
        return 0;
    }
    apr_pool_userdata_get(&text, key, p);
    if (!text) {
        text = (void *)file_text(path, p);
        apr_pool_userdata_set(text, key, NULL, p);
    }
    return find_line(text, line_of(pool, digest, p)) != NULL;
}

static apr_status_t append(const char *path, const char *line, apr_pool_t *p)
{
    apr_file_t *file;
    apr_status_t rv = apr_file_open(&file, path,
                                    APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_APPEND,
                                    APR_FPROT_UREAD | APR_FPROT_UWRITE, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_write_full(file, line, strlen(line), NULL);
    apr_file_close(file);
    return rv;
}

apr_status_t keys_grave_put(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    const char *path = file_path(p);
    const char *line = line_of(pool, digest, p);

    if (!path || find_line(file_text(path, p), line)) {
        return APR_SUCCESS;
    }
    return append(path, line, p);
}

/* Added by hand after it was deleted: the stone goes. */
apr_status_t keys_grave_take(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    const char *path = file_path(p);
    const char *line = line_of(pool, digest, p);
    const char *text = path ? file_text(path, p) : "";
    const char *at = find_line(text, line);
    const char *fresh;
    apr_status_t rv;

    if (!at) {
        return APR_SUCCESS;
    }
    fresh = apr_pstrcat(p, path, ".new", NULL);
    apr_file_remove(fresh, p);
    rv = append(
        fresh,
        apr_pstrcat(p, apr_pstrmemdup(p, text, (apr_size_t)(at - text)), at + strlen(line), NULL),
        p);
    return rv == APR_SUCCESS ? apr_file_rename(fresh, path, p) : rv;
}
