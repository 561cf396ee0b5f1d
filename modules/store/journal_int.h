/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that write the journal's rows share.
 */
#ifndef GB_JOURNAL_INT_H
#define GB_JOURNAL_INT_H

#include "base/json.h"
#include "store/journal_write.h"
#include "store/totals.h"

const char *gb_journal_utf8(const char *text, apr_pool_t *p);
const char *gb_journal_local(const gb_writer_t *writer, apr_time_t at, apr_pool_t *p);
const char *gb_journal_uid(const gb_record_t *record, apr_pool_t *p);

/* The one that answered, else the one that was asked for. */
const char *gb_record_model(const gb_record_t *record);

/* For the roll-ups of one transaction. */
gb_totals_t *gb_journal_totals(const gb_writer_t *writer, apr_pool_t *p);

/* Appends to rejected.jsonl, with the connection's last error as the reason. */
apr_status_t gb_journal_reject(gb_writer_t *writer, const char *kind, const char *uid,
                               const char *what, apr_pool_t *p);

#endif
