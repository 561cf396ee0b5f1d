/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log bridge.  These three statics are the only mutable globals below the
 * glue: each DSO has its own copy and sets it before it starts a thread.
 * Where a line goes is the receiver's business.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_LINE_MAX 1024

static gb_log_fn *log_fn;
static void *log_baton;
static gb_log_level_t log_level;

void gb_log_set(gb_log_fn *fn, void *baton, gb_log_level_t level)
{
    log_fn = fn;
    log_baton = baton;
    log_level = level;
}

int gb_log_wants(gb_log_level_t level)
{
    return log_fn != NULL && level <= log_level;
}

void gb_log_write(const char *file, int line, gb_log_level_t level, apr_status_t rv,
                  const char *fmt, ...)
{
    char message[LOG_LINE_MAX];
    va_list ap;

    if (!gb_log_wants(level)) {
        return;
    }
    va_start(ap, fmt);
    if (vsnprintf(message, sizeof(message), fmt, ap) < 0) {
        message[0] = '\0';
    }
    va_end(ap);
    log_fn(log_baton, file, line, level, rv, message);
}
