/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the spool, read back in order once the database is there again.
 */
#include "store/journal_write.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "base/log.h"
#include "store/journal_int.h"

#define BATCH 256

/* ---- records ---- */

static const gb_sql_t sql_has = {"SELECT 1 FROM t_request_log WHERE uid = %s", NULL};

static apr_status_t is_there(gb_writer_t *writer, const gb_record_t *record, int *yes,
                             apr_pool_t *p)
{
    const char *args[1];
    gb_rows_t rows;
    apr_status_t rv;

    args[0] = gb_journal_uid(record, p);
    rv = gb_db_query(writer->db, &sql_has, args, &rows, p);
    *yes = rv == APR_SUCCESS && rows.n > 0;
    return rv;
}

/*
 * An attempt that began while the ring was full.  How it ended stands behind it,
 * in this file or a later one: it goes to the end of the spool again until its
 * process is gone and all that was behind it has been read.  (next is of the
 * ring's lists alone: here it says that it was put back by then.)
 */
static apr_status_t judge_open(gb_writer_t *writer, gb_record_t *record, int *keep, apr_pool_t *p)
{
    int there, alive = gb_process_alive(record->pid, record->process_start);
    apr_status_t rv = is_there(writer, record, &there, p);

    *keep = 0;
    if (rv != APR_SUCCESS || there) {
        return rv;
    }
    if (alive || !record->next) {
        record->next = !alive;
        writer->put_back++;
        return gb_spool_append_records(writer->spool, record, 1);
    }
    gb_record_lose(record);
    *keep = 1;
    return APR_SUCCESS;
}

/* Open ones move to the front of records, whose number is returned; the others to done. */
static int split(gb_record_t *records, int n, gb_record_t *done, int *n_done)
{
    int i, n_open = 0;

    *n_done = 0;
    for (i = 0; i < n; i++) {
        if (records[i].state == GB_RECORD_OPEN) {
            records[n_open++] = records[i];
        }
        else {
            done[(*n_done)++] = records[i];
        }
    }
    return n_open;
}

static apr_status_t replay_open(gb_writer_t *writer, gb_record_t *open, int n, apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    int i, keep, n_lost = 0;

    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        rv = judge_open(writer, &open[i], &keep, p);
        if (keep) {
            open[n_lost++] = open[i];
        }
    }
    return rv == APR_SUCCESS && n_lost ? gb_journal_write(writer, open, n_lost, p) : rv;
}

/* The first pass writes what is done, the second one looks after the open ones that are left. */
static apr_status_t replay_rows(gb_writer_t *writer, gb_spool_file_t *file, int pass, apr_pool_t *p)
{
    gb_record_t *records = apr_palloc(p, sizeof(*records) * BATCH);
    apr_off_t offset = 0;
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *scratch;
    gb_record_t *done = apr_palloc(p, sizeof(*done) * BATCH);
    int n, n_open, n_done, torn = 0, any_open = 0;

    apr_pool_create(&scratch, p);
    while (rv == APR_SUCCESS
           && (n = gb_spool_read_records(file, &offset, records, BATCH, &torn)) > 0) {
        n_open = split(records, n, done, &n_done);
        any_open |= n_open > 0;
        if (pass == 1 && n_done) {
            rv = gb_journal_write(writer, done, n_done, scratch);
        }
        else if (pass == 2) {
            rv = replay_open(writer, records, n_open, scratch);
        }
        apr_pool_clear(scratch);
    }
    if (torn && pass == 1) {
        gb_log(GB_LOG_WARNING, 0, GBLOGNO(6011) "journal: %d record(s) of the spool were torn",
               torn);
    }
    apr_pool_destroy(scratch);
    return rv == APR_SUCCESS && pass == 1 && any_open ? replay_rows(writer, file, 2, p) : rv;
}

/* ---- lines ---- */

static apr_status_t replay_lines(gb_writer_t *writer, gb_spool_kind_t kind, gb_spool_file_t *file,
                                 apr_pool_t *p)
{
    const char *lines[32], *line;
    apr_off_t offset = 0;
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *scratch;
    apr_size_t len;
    int n;

    apr_pool_create(&scratch, p);
    do {
        n = 0;
        while (n < 32 && (line = gb_spool_read_line(file, &offset, &len, scratch)) != NULL) {
            if (len) {
                lines[n++] = line;
            }
        }
        if (n) {
            rv = gb_journal_write_lines(writer, kind, lines, n, scratch);
        }
        apr_pool_clear(scratch);
    } while (rv == APR_SUCCESS && n);
    apr_pool_destroy(scratch);
    return rv;
}

apr_status_t gb_journal_replay(gb_writer_t *writer, gb_spool_kind_t kind, const char *path,
                               apr_pool_t *p)
{
    gb_spool_file_t *file;
    apr_status_t rv = gb_spool_open(&file, path, p);

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_ENOENT(rv) ? APR_SUCCESS : rv;
    }
    rv = kind == GB_SPOOL_ROWS ? replay_rows(writer, file, 1, p)
                               : replay_lines(writer, kind, file, p);
    if (rv == APR_SUCCESS && unlink(path) != 0 && errno != ENOENT) {
        rv = APR_FROM_OS_ERROR(apr_get_os_error());
    }
    gb_spool_close(file);
    return rv;
}
