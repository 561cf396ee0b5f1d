/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that write the journal's rows share.
 */
#ifndef GB_JOURNAL_INT_H
#define GB_JOURNAL_INT_H

#include "base/json.h"
#include "store/journal_write.h"

const char *gb_journal_utf8(const char *text, apr_pool_t *p);
const char *gb_journal_local(const gb_writer_t *writer, apr_time_t at, apr_pool_t *p);
const char *gb_journal_uid(const gb_record_t *record, apr_pool_t *p);

/* Adds records to the sums, within the caller's transaction. */
apr_status_t gb_journal_sums(gb_writer_t *writer, const gb_record_t *records, int n, apr_pool_t *p);

/* Appends to rejected.jsonl, with the connection's last error as the reason. */
apr_status_t gb_journal_reject(gb_writer_t *writer, const char *kind, const char *uid,
                               const char *what, apr_pool_t *p);

#endif
