/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that ask the roll-ups share.
 */
#ifndef GB_STATS_INT_H
#define GB_STATS_INT_H

#include "store/stats.h"

#define SUMS                                                                                       \
    "SUM(attempts), SUM(failures), SUM(quota), SUM(calls), SUM(successes), SUM(call_failures), "   \
    "SUM(prompt_tokens), SUM(completion_tokens), SUM(thought_tokens), SUM(cached_tokens), "        \
    "SUM(latency_ms), SUM(first_byte_ms), SUM(first_bytes)"

/* A range of everything, and of a key or a caller. */
#define OF_ALL "period = %s AND part = %s AND start >= %s AND start < %s AND pool = %s"
#define OF_NAME                                                                                    \
    "part = %s AND name = %s AND period = %s AND start >= %s AND start < %s AND pool = %s"
#define OF_MODEL " AND (%s = 'all' OR model = %s)"

/*
 * Both databases like to walk the index by name, to have the groups in order: from the first day on.
 * So SQLite groups by what it has no index for, and MySQL is told.
 */
#define BY_RANGE(FORM, table, index)                                                               \
    {                                                                                              \
        FORM(table, "+name"), FORM(table " IGNORE INDEX (" index ")", "name")                      \
    }

/* A range of one name: without sums of its own (ANALYZE) SQLite takes it for as wide as one of all names. */
#define BY_ONE_NAME(FORM, table)                                                                   \
    {                                                                                              \
        FORM(table " INDEXED BY " table "_name"), FORM(table)                                      \
    }

/* Values of a statement. */
typedef struct gb_args_t {
    const char *list[64];
    int n;
} gb_args_t;

void gb_stats_arg(gb_args_t *args, const char *value);
/* Of OF_ALL or OF_NAME, as the ask says. */
void gb_stats_range(gb_args_t *args, const gb_stats_ask_t *ask, apr_pool_t *p);
/* Of OF_ALL, for all names of that part. */
void gb_stats_names(gb_args_t *args, const gb_stats_ask_t *ask, gb_of_t of, apr_pool_t *p);
/* Of OF_MODEL; NULL: all, "": calls that name none. */
void gb_stats_model(gb_args_t *args, const char *model);
/* SUMS, from that column on. */
void gb_stats_sums(gb_sums_t *sums, const gb_rows_t *rows, int row, int col);
/* A bucket's number, its attempts and its calls, from that column on. */
void gb_stats_bucket(apr_int64_t *buckets, const gb_rows_t *rows, int row, int col);
/* Down to where a period begins. */
apr_time_t gb_stats_begin(const gb_stats_ask_t *ask);

#endif
