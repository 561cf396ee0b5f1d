/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the spool.  Only plain system calls: producers come here from the
 * engine's thread, so an append is open, lock (without waiting), write, close.
 */
#include "store/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_time.h>

static const char *const names[GB_SPOOL_KINDS] = {"files", "rows", "texts"};

#define CUR ".cur"

/* ---- sums ---- */

/* FNV-1a over all behind the sum. */
static apr_uint32_t sum(const gb_record_t *record)
{
    const unsigned char *at = (const unsigned char *)record;
    apr_uint32_t h = 2166136261u;
    size_t i;

    for (i = offsetof(gb_record_t, uid); i < sizeof(*record); i++) {
        h = (h ^ at[i]) * 16777619u;
    }
    return h;
}

/* ---- appending ---- */

static void path_current(char *out, size_t size, const gb_spool_t *spool, gb_spool_kind_t kind)
{
    apr_snprintf(out, size, "%s/%s" CUR, spool->dir, names[kind]);
}

static void give(const gb_spool_t *spool, int fd)
{
    if (spool->uid != (uid_t)-1 && fchown(fd, spool->uid, spool->gid) != 0) {
        return; /* only root can, and only root needs to */
    }
}

apr_status_t gb_spool_make(const gb_spool_t *spool)
{
    int fd;

    if (mkdir(spool->dir, 0700) != 0 && errno != EEXIST) {
        return errno;
    }
    fd = open(spool->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    give(spool, fd);
    close(fd);
    return APR_SUCCESS;
}

/* A reader removes a file before it lets go of the lock. */
static int is_gone(int fd)
{
    struct stat st;

    return fstat(fd, &st) != 0 || st.st_nlink == 0;
}

/* The current file with a shared lock on it.  When a reader has it (or had, and is done with it),
 * it was just moved aside, and the name belongs to another one by now. */
static int open_current(const gb_spool_t *spool, gb_spool_kind_t kind)
{
    char path[1024];
    int tries, fd;

    path_current(path, sizeof(path), spool, kind);
    for (tries = 0; tries < 100; tries++) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || (flock(fd, LOCK_SH | LOCK_NB) == 0 && !is_gone(fd))) {
            return fd;
        }
        close(fd);
    }
    errno = EBUSY;
    return -1;
}

apr_status_t gb_spool_append(const gb_spool_t *spool, gb_spool_kind_t kind, const void *bytes,
                             apr_size_t len)
{
    int fd = open_current(spool, kind);
    apr_status_t rv = APR_SUCCESS;
    ssize_t n;

    if (fd < 0) {
        return errno;
    }
    give(spool, fd);
    n = write(fd, bytes, len);
    if (n < 0 || (apr_size_t)n != len) {
        rv = n < 0 ? errno : ENOSPC; /* what is torn by that, readers leave out */
    }
    close(fd);
    return rv;
}

apr_status_t gb_spool_append_records(const gb_spool_t *spool, gb_record_t *records, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        records[i].magic = GB_RECORD_MAGIC;
        records[i].check = sum(&records[i]);
    }
    return gb_spool_append(spool, GB_SPOOL_ROWS, records, sizeof(*records) * (apr_size_t)n);
}

/* ---- moving aside ---- */

apr_off_t gb_spool_current(const gb_spool_t *spool, gb_spool_kind_t kind)
{
    char path[1024];
    struct stat st;

    path_current(path, sizeof(path), spool, kind);
    return stat(path, &st) == 0 ? st.st_size : 0;
}

apr_status_t gb_spool_turn(const gb_spool_t *spool, gb_spool_kind_t kind, apr_off_t least)
{
    char from[1024], to[1060];

    if (gb_spool_current(spool, kind) < (least > 0 ? least : 1)) {
        return APR_SUCCESS;
    }
    path_current(from, sizeof(from), spool, kind);
    apr_snprintf(to, sizeof(to), "%s/%s.%020" APR_TIME_T_FMT, spool->dir, names[kind],
                 apr_time_now());
    return rename(from, to) == 0 || errno == ENOENT ? APR_SUCCESS : errno;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

apr_array_header_t *gb_spool_list(const gb_spool_t *spool, gb_spool_kind_t kind, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 8, sizeof(const char *));
    size_t len = strlen(names[kind]);
    DIR *dir = opendir(spool->dir);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, names[kind], len) == 0 && entry->d_name[len] == '.'
            && strcmp(entry->d_name + len, CUR) != 0) {
            APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(p, spool->dir, "/", entry->d_name,
                                                             NULL);
        }
    }
    if (dir) {
        closedir(dir);
    }
    qsort(list->elts, (size_t)list->nelts, sizeof(const char *), by_name);
    return list;
}

/* ---- files that were moved aside ---- */

struct gb_spool_file_t {
    int fd;
};

static apr_status_t file_cleanup(void *data)
{
    gb_spool_file_t *file = data;

    if (file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
    return APR_SUCCESS;
}

static apr_status_t file_open(gb_spool_file_t **pfile, const char *path, apr_pool_t *p)
{
    gb_spool_file_t *file = apr_palloc(p, sizeof(*file));

    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0) {
        return errno;
    }
    apr_pool_cleanup_register(p, file, file_cleanup, apr_pool_cleanup_null);
    *pfile = file;
    return APR_SUCCESS;
}

apr_status_t gb_spool_open(gb_spool_file_t **pfile, const char *path, apr_pool_t *p)
{
    apr_status_t rv = file_open(pfile, path, p);

    if (rv == APR_SUCCESS) {
        flock((*pfile)->fd, LOCK_EX); /* held until it is closed: nobody appends here any more */
    }
    return rv;
}

void gb_spool_close(gb_spool_file_t *file)
{
    file_cleanup(file);
}

/* ---- the bound ---- */

static apr_off_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* Without the lock: whoever reads the file back may hang in the database. */
static apr_uint64_t count_lines(const char *path, apr_pool_t *p)
{
    gb_spool_file_t *file;
    apr_off_t offset = 0;
    apr_uint64_t n = 0;
    apr_size_t len;
    apr_pool_t *scratch;

    if (file_open(&file, path, p) != APR_SUCCESS) {
        return 0;
    }
    apr_pool_create(&scratch, p);
    while (gb_spool_read_line(file, &offset, &len, scratch)) {
        n++;
        apr_pool_clear(scratch);
    }
    gb_spool_close(file);
    return n;
}

static apr_off_t drop_oldest(const gb_spool_t *spool, gb_spool_kind_t kind, apr_off_t surplus,
                             gb_ring_counts_t *counts, apr_pool_t *p)
{
    apr_array_header_t *list;
    apr_off_t gone = 0;
    int i;

    gb_spool_turn(spool, kind, 1);
    list = gb_spool_list(spool, kind, p);
    for (i = 0; i < list->nelts && gone < surplus; i++) {
        const char *path = APR_ARRAY_IDX(list, i, const char *);
        apr_off_t size = size_of(path);

        if (kind == GB_SPOOL_TEXTS) {
            counts->dropped_texts += count_lines(path, p);
        }
        else {
            counts->dropped_rows += (apr_uint64_t)size / sizeof(gb_record_t);
        }
        if (unlink(path) == 0) {
            gone += size;
        }
    }
    return gone;
}

static apr_off_t size_of_kind(const gb_spool_t *spool, gb_spool_kind_t kind, apr_pool_t *p)
{
    apr_array_header_t *list = gb_spool_list(spool, kind, p);
    apr_off_t size = gb_spool_current(spool, kind);
    int i;

    for (i = 0; i < list->nelts; i++) {
        size += size_of(APR_ARRAY_IDX(list, i, const char *));
    }
    return size;
}

apr_status_t gb_spool_bound(const gb_spool_t *spool, apr_off_t max, gb_ring_counts_t *counts,
                            apr_off_t *psize, apr_pool_t *p)
{
    apr_off_t size = size_of_kind(spool, GB_SPOOL_ROWS, p) + size_of_kind(spool, GB_SPOOL_TEXTS, p);

    if (size > max) {
        size -= drop_oldest(spool, GB_SPOOL_TEXTS, size - max, counts, p);
    }
    if (size > max) {
        size -= drop_oldest(spool, GB_SPOOL_ROWS, size - max, counts, p);
    }
    if (psize) {
        *psize = size;
    }
    return APR_SUCCESS;
}

/* ---- reading ---- */

/* Behind something torn: where the next record may begin. */
static apr_off_t resync(const gb_spool_file_t *file, apr_off_t offset)
{
    char piece[4096];
    ssize_t n = pread(file->fd, piece, sizeof(piece), offset + 1);
    const apr_uint32_t magic = GB_RECORD_MAGIC;
    const char *found = n > 0 ? memmem(piece, (size_t)n, &magic, sizeof(magic)) : NULL;

    if (found) {
        return offset + 1 + (found - piece);
    }
    return n < (ssize_t)sizeof(piece) ? offset + 1 + (n > 0 ? n : 0) : offset + 1 + n - 3;
}

int gb_spool_read_records(gb_spool_file_t *file, apr_off_t *offset, gb_record_t *records, int max,
                          int *torn)
{
    int n = 0;
    ssize_t got;

    while (n < max) {
        gb_record_t *record = &records[n];

        got = pread(file->fd, record, sizeof(*record), *offset);
        if (got <= 0) {
            break;
        }
        if (got == (ssize_t)sizeof(*record) && record->magic == GB_RECORD_MAGIC
            && record->check == sum(record)) {
            *offset += got;
            n++;
        }
        else {
            *offset = resync(file, *offset);
            ++*torn;
        }
    }
    return n;
}

const char *gb_spool_read_line(gb_spool_file_t *file, apr_off_t *offset, apr_size_t *len,
                               apr_pool_t *p)
{
    char *line = apr_palloc(p, GB_SPOOL_TEXT_MAX + 1);
    ssize_t got = pread(file->fd, line, GB_SPOOL_TEXT_MAX, *offset);
    char *end = got > 0 ? memchr(line, '\n', (size_t)got) : NULL;

    if (!end) {
        return NULL; /* the end, or a last line that was cut by a full disk */
    }
    *end = '\0';
    *len = (apr_size_t)(end - line);
    *offset += (apr_off_t)*len + 1;
    return line;
}
