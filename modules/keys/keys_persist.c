/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file: what the pool remembers, for the time when shared memory is
 * gone.  Written whole beside the old one and renamed, so that there is always
 * one that is complete, whoever else writes; read once, when httpd starts.
 */
#include "keys.h"

#include <unistd.h>

#include "apr_file_io.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "pool/state.h"

APLOG_USE_MODULE(gbalance_keys);

#define FILE_NAME "keys-state.jsonl"
#define FILE_MAX  (512 * 1024 * 1024)

static apr_uint64_t written; /* the pool's change count of the last file of this process */

static const char *file_path(apr_pool_t *p)
{
    const char *dir = keys_state_dir();

    return *dir ? apr_pstrcat(p, dir, "/" FILE_NAME, NULL) : NULL;
}

/* ---- reading ---- */

static const char *key_name(const char *pool, const unsigned char *digest, apr_pool_t *p)
{
    char hex[GB_POOL_DIGEST_LEN * 2 + 1];

    gb_hex(hex, digest, GB_POOL_DIGEST_LEN);
    return apr_pstrcat(p, pool, " ", hex, NULL);
}

static void take_line(keys_saved_t *saved, const char *line, apr_size_t len, apr_pool_t *p,
                      apr_pool_t *scratch)
{
    gb_pool_key_t key;
    gb_pool_cell_t cell;

    switch (gb_state_read(line, len, &key, &cell, scratch)) {
    case GB_STATE_KEY:
        apr_hash_set(saved->keys, key_name(key.pool, key.digest, p), APR_HASH_KEY_STRING,
                     apr_pmemdup(p, &key, sizeof(key)));
        break;
    case GB_STATE_CELL:
        APR_ARRAY_PUSH(saved->cells, gb_pool_cell_t) = cell;
        break;
    case GB_STATE_HEAD:
    case GB_STATE_NOTHING:
        break;
    }
}

apr_status_t keys_saved_read(keys_saved_t *saved, apr_pool_t *p)
{
    const char *path = file_path(p);
    char line[GB_BUF_MAX_LINE];
    apr_pool_t *scratch;
    apr_file_t *file;
    apr_status_t rv;

    if (!path) {
        return APR_NOTFOUND;
    }
    rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BUFFERED, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        if (!APR_STATUS_IS_ENOENT(rv)) {
            ap_log_error(APLOG_MARK, APLOG_ERR, rv, ap_server_conf,
                         GBLOGNO(1030) "%s cannot be read: all keys start as if they were new",
                         path);
        }
        return rv;
    }
    apr_pool_create(&scratch, p);
    while (apr_file_gets(line, sizeof(line), file) == APR_SUCCESS) {
        take_line(saved, line, strlen(line), p, scratch);
        apr_pool_clear(scratch);
    }
    apr_pool_destroy(scratch);
    return apr_file_close(file);
}

const gb_pool_key_t *keys_saved_find(const keys_saved_t *saved, const char *pool,
                                     const unsigned char *digest, apr_pool_t *p)
{
    return apr_hash_get(saved->keys, key_name(pool, digest, p), APR_HASH_KEY_STRING);
}

/* ---- writing ---- */

static void put_key(void *baton, const gb_pool_key_t *key)
{
    if (gb_state_worth_keeping(key)) {
        gb_state_put_key(baton, key);
    }
}

static void put_cell(void *baton, const gb_pool_cell_t *cell)
{
    gb_state_put_cell(baton, cell);
}

static apr_status_t write_file(const char *path, const gb_buf_t *out, apr_pool_t *p)
{
    const char *fresh = apr_psprintf(p, "%s.%ld", path, (long)getpid());
    apr_file_t *file;
    apr_status_t rv;

    rv = apr_file_open(&file, fresh, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_TRUNCATE,
                       APR_FPROT_UREAD | APR_FPROT_UWRITE, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_write_full(file, out->data, out->len, NULL);
    apr_file_close(file);
    return rv == APR_SUCCESS ? apr_file_rename(fresh, path, p) : rv;
}

static apr_uint64_t changes(void)
{
    apr_uint64_t n;

    keys_enter();
    n = gb_pool_changes_locked(keys_pool);
    keys_leave();
    return n;
}

apr_status_t keys_saved_write(apr_pool_t *p)
{
    const char *path = file_path(p);
    apr_uint64_t now = changes();
    apr_status_t rv;
    gb_pool_clock_t clock;
    gb_buf_t out;

    if (!path || now == written) {
        return APR_SUCCESS;
    }
    gb_buf_init(&out, FILE_MAX);
    gb_state_put_head(&out, apr_time_now());
    keys_now(&clock);
    keys_each(NULL, &clock, put_key, &out);
    keys_each_cell(&clock, put_cell, &out);
    rv = out.rv == APR_SUCCESS ? write_file(path, &out, p) : out.rv;
    gb_buf_free(&out);
    if (rv == APR_SUCCESS) {
        written = now;
    }
    return rv;
}
