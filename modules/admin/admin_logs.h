/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of /logs share. */
#ifndef GB_ADMIN_LOGS_H
#define GB_ADMIN_LOGS_H

#include "admin.h"
#include "store/logs.h"

/* How a class of outcomes looks. */
typedef struct admin_class_t {
    const char *name; /* "quota" */
    const char *tone; /* "cool": of pills and bars */
    const char *icon;
    const char *word; /* words */
} admin_class_t;

/* Never NULL. */
const admin_class_t *admin_class(const char *name);
const admin_class_t *admin_class_of(const gb_log_row_t *row);

/* ---- admin_page_logs.c: what the address says of filters ---- */
void admin_log_filter(gb_log_filter_t *filter, const admin_page_t *page, gb_log_table_t table,
                      apr_pool_t *p);

/* ---- admin_logs_row.c ---- */

/* A row of the table. */
json_t *admin_log_row(const gb_log_row_t *row, apr_pool_t *p);
/* All attempts of a call on one time line; rows: first to last, at least one. */
json_t *admin_log_call(admin_page_t *page, const gb_log_row_t *rows, int n);

#endif
