/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records and error texts to rows, and the roll-ups that grow with them.
 * A row and what it adds to the sums stand in one transaction, and only a row
 * that was new is added, so both are there exactly once however often a record
 * comes.
 */
#ifndef GB_JOURNAL_WRITE_H
#define GB_JOURNAL_WRITE_H

#include "base/buf.h"
#include "base/timeutil.h"
#include "store/db.h"
#include "store/spool.h"

typedef struct gb_writer_t {
    gb_db_t *db;
    const gb_zone_t *zone; /* TIMEZONE: request_time and the days of the roll-ups */
    apr_time_t now;        /* 0: as the clock says */
    const gb_spool_t
        *spool;           /* for rejected.jsonl and open records; dir's parent holds the former */
    const char *rejected; /* path of rejected.jsonl */
    gb_ring_counts_t counts; /* written, rejected: added to */
    int put_back;            /* open records that wait in the spool again: added to */
    /* A line of the spool says that a file is gone; may be NULL. */
    void (*file_gone)(const char *pool, const char *name);
} gb_writer_t;

/*
 * Writes records as rows.  APR_SUCCESS: all of them are safe (in the database, or
 * in rejected.jsonl).  Otherwise the database is away and none or some are: the
 * connection is of no use, all of them are to be written again.
 */
apr_status_t gb_journal_write(gb_writer_t *writer, const gb_record_t *records, int n,
                              apr_pool_t *p);

/* The same for lines: of error texts (see gb_journal_text), of files (gb_file_line). */
apr_status_t gb_journal_write_lines(gb_writer_t *writer, gb_spool_kind_t kind,
                                    const char *const *lines, int n, apr_pool_t *p);

/*
 * Writes what a file of the spool holds, and removes it.  After a failure it
 * stays, and will be read again from its beginning.  Files are short enough for
 * that (see gb_spool_turn), and for others to have their turn in between.
 */
apr_status_t gb_journal_replay(gb_writer_t *writer, gb_spool_kind_t kind, const char *path,
                               apr_pool_t *p);

/* An error row. */
typedef struct gb_error_row_t {
    const gb_record_t *record; /* of its attempt */
    const char *error_type;    /* gemini-balance's word: "openai-chat-stream" */
    const char *log;           /* redacted */
    const char *request;       /* JSON, redacted, NULL for none */
} gb_error_row_t;

/* The line that the spool keeps of it: bounded, with a line end before and behind. */
apr_status_t gb_journal_text(gb_buf_t *out, const gb_error_row_t *row);

/* A request's body for such a row: bounded, media, keys and tokens cut out.  NULL for none.  It may
 * have become no JSON (when it was too long); gb_journal_text keeps it as a text then. */
const char *gb_journal_body(const char *body, size_t len, apr_pool_t *p);

#endif
