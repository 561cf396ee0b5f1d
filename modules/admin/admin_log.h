/* SPDX-License-Identifier: Apache-2.0 */
/* What pages and endpoints that show figures and logs share. */
#ifndef GB_ADMIN_LOG_H
#define GB_ADMIN_LOG_H

#include "store/logs.h"
#include "store/stats.h"

/* "2026-11-20 14:31:42" as gemini-balance's JSON has it: with a T; NULL for NULL. */
const char *admin_log_time(const char *text, apr_pool_t *p);

#endif
