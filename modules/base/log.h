/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge from the layers below the glue to whoever hosts them: httpd's
 * error log in a module, stderr in a unit test.  Levels are syslog's and
 * httpd's (0 emerg ... 3 err, 4 warning, 6 info, 7 debug, 8-15 trace).
 */
#ifndef GB_LOG_H
#define GB_LOG_H

#include <apr_errno.h>

typedef enum {
    GB_LOG_ALERT = 1,
    GB_LOG_ERR = 3,
    GB_LOG_WARNING = 4,
    GB_LOG_INFO = 6,
    GB_LOG_DEBUG = 7,
    GB_LOG_TRACE = 8
} gb_log_level_t;

/* Receives one finished line.  Called from any thread; must not block. */
typedef void gb_log_fn(void *baton, const char *file, int line, gb_log_level_t level,
                       apr_status_t rv, const char *message);

/*
 * Installs the receiver and the most talkative level it wants.  Each DSO has
 * its own copy of this file and installs its own receiver, before it starts
 * threads.  Without one, messages go nowhere.
 */
void gb_log_set(gb_log_fn *fn, void *baton, gb_log_level_t level);

int gb_log_wants(gb_log_level_t level);

/* Formats (vsnprintf, cut at 1 KiB) and hands on.  Numbered lines carry GBLOGNO(n). */
void gb_log_write(const char *file, int line, gb_log_level_t level, apr_status_t rv,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#define gb_log(level, rv, ...)                                                                     \
    do {                                                                                           \
        if (gb_log_wants(level)) {                                                                 \
            gb_log_write(__FILE__, __LINE__, level, rv, __VA_ARGS__);                              \
        }                                                                                          \
    } while (0)

/*
 * A number for every message from DEBUG up, never reused.  Blocks: 1000 keys,
 * 2000 openai, 3000 gemini, 4000 admin, 5000 upstream, 6000 store, 7000 proto,
 * 8000 core.
 */
#define GBLOGNO(n) "GB" #n ": "

#endif
