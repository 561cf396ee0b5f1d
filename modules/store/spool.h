/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: files in a folder that take what the database cannot take now.
 * `rows` hold records of the journal (512 bytes each), `texts` one line of JSON
 * for each error text, which is too long for a record, and `files` one for what
 * becomes known of a file at Google.
 *
 * Any process appends to the current file of a kind, in one write.  Who holds
 * the journal's lease moves it aside (a rename) and reads what was moved.  An
 * append holds a shared lock for its moment, so that whoever reads a moved file
 * can wait until nobody is still writing to it.
 *
 *   rows.cur  rows.00001795156302901234  texts.cur  texts.00001795156302905678
 */
#ifndef GB_SPOOL_H
#define GB_SPOOL_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <sys/types.h>

#include "store/journal.h"

/* In the order in which they are read back: files are few, and calls wait for their owners. */
typedef enum { GB_SPOOL_FILES, GB_SPOOL_ROWS, GB_SPOOL_TEXTS, GB_SPOOL_KINDS } gb_spool_kind_t;

#define GB_SPOOL_TEXT_MAX (64 * 1024) /* one line */

typedef struct gb_spool_t {
    const char *dir;
    uid_t uid; /* whom new files are given to, (uid_t)-1: nobody else */
    gid_t gid;
} gb_spool_t;

/* Makes the folder.  Parent, as root; or any process. */
apr_status_t gb_spool_make(const gb_spool_t *spool);

/* Any thread; never waits.  A failure (disk full, no right) is the system's error. */
apr_status_t gb_spool_append(const gb_spool_t *spool, gb_spool_kind_t kind, const void *bytes,
                             apr_size_t len);
/* The same for records, with their sums. */
apr_status_t gb_spool_append_records(const gb_spool_t *spool, gb_record_t *records, int n);

/* Whether the current file holds something, and how much. */
apr_off_t gb_spool_current(const gb_spool_t *spool, gb_spool_kind_t kind);
/* Moves the current file aside when it holds at least so many bytes. */
apr_status_t gb_spool_turn(const gb_spool_t *spool, gb_spool_kind_t kind, apr_off_t least);

/* Paths of the files that were moved aside, oldest first. */
apr_array_header_t *gb_spool_list(const gb_spool_t *spool, gb_spool_kind_t kind, apr_pool_t *p);

/* Brings logs down to max bytes: the oldest error texts go first, then the oldest rows.
 * Adds what went to *counts.  *size (may be NULL): what is left. */
apr_status_t gb_spool_bound(const gb_spool_t *spool, apr_off_t max, gb_ring_counts_t *counts,
                            apr_off_t *size, apr_pool_t *p);

/* ---- reading a file that was moved aside ---- */

typedef struct gb_spool_file_t gb_spool_file_t;

/* Waits (a moment) for whoever still appends to it. */
apr_status_t gb_spool_open(gb_spool_file_t **pfile, const char *path, apr_pool_t *p);
void gb_spool_close(gb_spool_file_t *file);

/* Up to max records from *offset on, which moves behind them.  Torn ones are left out and counted.
 * 0 at the end. */
int gb_spool_read_records(gb_spool_file_t *file, apr_off_t *offset, gb_record_t *records, int max,
                          int *torn);
/* The next whole line, without its end, from p; NULL at the end. */
const char *gb_spool_read_line(gb_spool_file_t *file, apr_off_t *offset, apr_size_t *len,
                               apr_pool_t *p);

#endif
