/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records to rows of gb_totals and gb_tally: what counts where stands in
 * tables.  What is asked of them is stats.c's.
 */
#include "store/totals.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "store/journal_int.h"

/* ---- what there is ---- */

const char *const gb_of_names[GB_OF_N] = {"all", "key", "caller"};

const char *const gb_sum_names[GB_SUMS_N] = {
    "attempts",       "failures",      "quota",         "calls",
    "successes",      "call_failures", "prompt_tokens", "completion_tokens",
    "thought_tokens", "cached_tokens", "latency_ms",    "first_byte_ms",
    "first_bytes",
};

typedef char gb_sums_size_check[sizeof(gb_sums_t) == GB_SUMS_N * sizeof(apr_int64_t) ? 1 : -1];

#define OF(part) (1 << (part))

typedef struct period_t {
    int seconds;
    apr_int64_t kept; /* seconds; 0: for good */
    int parts;        /* which have rows of it */
} period_t;

static const period_t periods[] = {
    {GB_PERIOD_TICK,   600,        OF(GB_OF_ALL)                                   },
    {GB_PERIOD_MINUTE, 50 * 3600,  OF(GB_OF_ALL)                                   },
    {GB_PERIOD_HOUR,   92 * 86400, OF(GB_OF_ALL) | OF(GB_OF_KEY) | OF(GB_OF_CALLER)},
    {GB_PERIOD_DAY,    0,          OF(GB_OF_ALL) | OF(GB_OF_KEY) | OF(GB_OF_CALLER)},
};

#define N_PERIODS (sizeof(periods) / sizeof(periods[0]))

/* The text that a record is counted under; NULL: not at all. */
typedef const char *tally_fn(const gb_record_t *record, apr_pool_t *p);

static const char *class_of(const gb_record_t *record, apr_pool_t *p)
{
    (void)p;
    return record->cls;
}

static const char *status_of(const gb_record_t *record, apr_pool_t *p)
{
    return apr_itoa(p, record->status);
}

static const char *bucket_text(const gb_record_t *record, apr_int64_t usec, apr_pool_t *p)
{
    return record->is_final && record->is_success && usec >= 0
               ? apr_itoa(p, gb_bucket_of(usec / 1000))
               : NULL;
}

static const char *latency_of(const gb_record_t *record, apr_pool_t *p)
{
    return bucket_text(record, record->latency, p);
}

static const char *first_of(const gb_record_t *record, apr_pool_t *p)
{
    return bucket_text(record, record->first_byte, p);
}

typedef struct tally_kind_t {
    const char *name;
    tally_fn *value;
    int parts;    /* which are counted */
    int by_model; /* of these: those by model */
    int least;    /* seconds: shorter periods have none */
} tally_kind_t;

static const tally_kind_t kinds[] = {
    {"class",   class_of,   OF(GB_OF_ALL) | OF(GB_OF_KEY) | OF(GB_OF_CALLER), OF(GB_OF_ALL),
     GB_PERIOD_MINUTE                                                                                        },
    {"status",  status_of,  OF(GB_OF_ALL) | OF(GB_OF_KEY),                    OF(GB_OF_ALL), GB_PERIOD_HOUR  },
    {"latency", latency_of, OF(GB_OF_ALL),                                    OF(GB_OF_ALL), GB_PERIOD_MINUTE},
    {"first",   first_of,   OF(GB_OF_ALL),                                    OF(GB_OF_ALL), GB_PERIOD_MINUTE},
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- sums ---- */

/* Counted off by their order. */
static apr_int64_t *members(gb_sums_t *sums)
{
    return (apr_int64_t *)sums;
}

apr_int64_t gb_sums_at(const gb_sums_t *sums, int i)
{
    return ((const apr_int64_t *)sums)[i];
}

void gb_sums_add(gb_sums_t *sums, const gb_sums_t *more)
{
    int i;

    for (i = 0; i < GB_SUMS_N; i++) {
        members(sums)[i] += gb_sums_at(more, i);
    }
}

static apr_int64_t known(apr_int64_t n)
{
    return n > 0 ? n : 0;
}

static void count(gb_sums_t *sums, const gb_record_t *r)
{
    int failed = !r->is_success && strcmp(r->cls, "cancelled") != 0;

    sums->attempts++;
    sums->failures += failed;
    sums->quota += r->status == 429;
    if (r->is_final
        || r->is_success) { /* of n choices that were asked for one by one each is paid for */
        sums->prompt_tokens += known(r->prompt_tokens);
        sums->completion_tokens += known(r->completion_tokens);
        sums->thought_tokens += known(r->thought_tokens);
        sums->cached_tokens += known(r->cached_tokens);
    }
    if (!r->is_final) {
        return;
    }
    sums->calls++;
    sums->successes += r->is_success;
    sums->call_failures += failed;
    if (r->is_success) {
        sums->latency_ms += known(r->latency) / 1000;
        sums->first_byte_ms += known(r->first_byte) / 1000;
        sums->first_bytes += r->first_byte >= 0;
    }
}

/* ---- latencies ---- */

int gb_bucket_of(apr_int64_t ms)
{
    int power = 2, bucket;

    if (ms < 4) {
        return ms < 0 ? 0 : (int)ms;
    }
    while (ms >> (power + 1)) {
        power++;
    }
    bucket = (power - 1) * 4 + (int)((ms >> (power - 2)) & 3);
    return bucket < GB_BUCKETS ? bucket : GB_BUCKETS - 1;
}

apr_int64_t gb_bucket_floor(int bucket)
{
    return bucket < 4 ? bucket : (apr_int64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

apr_int64_t gb_percentile(const apr_int64_t counts[GB_BUCKETS], double share)
{
    apr_int64_t all = 0, seen = 0;
    double wanted;
    int i;

    for (i = 0; i < GB_BUCKETS; i++) {
        all += counts[i];
    }
    wanted = share * (double)all;
    for (i = 0; i < GB_BUCKETS; i++) {
        if (counts[i] && (double)(seen + counts[i]) >= wanted) {
            apr_int64_t low = gb_bucket_floor(i);
            double within = (wanted - (double)seen) / (double)counts[i];

            return low + (apr_int64_t)((double)(gb_bucket_floor(i + 1) - low) * within);
        }
        seen += counts[i];
    }
    return -1;
}

/* ---- days ---- */

static apr_int64_t offset_of(const gb_zone_t *zone, apr_time_t at)
{
    return zone ? gb_zone_offset(zone, at) : 0;
}

/* On the days when clocks change, midnight has another offset than what comes later. */
apr_time_t gb_midnight(const gb_zone_t *zone, apr_time_t at)
{
    apr_int64_t offset = offset_of(zone, at), local = apr_time_sec(at) + offset;
    apr_int64_t midnight = local - local % GB_PERIOD_DAY;

    offset = offset_of(zone, apr_time_from_sec(midnight - offset));
    return apr_time_from_sec(midnight - offset);
}

static apr_int64_t start_of(const gb_zone_t *zone, apr_time_t at, int seconds)
{
    apr_int64_t utc = apr_time_sec(at);

    return seconds == GB_PERIOD_DAY ? apr_time_sec(gb_midnight(zone, at)) : utc - utc % seconds;
}

/* ---- rows of one transaction ---- */

typedef struct total_t {
    const char *args[6]; /* period, part, start, pool, name, model */
    gb_sums_t sums;
} total_t;

typedef struct tally_t {
    const char *args[8]; /* period, part, kind, start, pool, value, name, model */
    apr_int64_t attempts, calls;
} tally_t;

struct gb_totals_t {
    apr_pool_t *p;
    const gb_zone_t *zone;
    apr_time_t now;
    apr_hash_t *totals, *tallies;
};

gb_totals_t *gb_totals_make(const gb_zone_t *zone, apr_time_t now, apr_pool_t *p)
{
    gb_totals_t *totals = apr_palloc(p, sizeof(*totals));

    totals->p = p;
    totals->zone = zone;
    totals->now = now;
    totals->totals = apr_hash_make(p);
    totals->tallies = apr_hash_make(p);
    return totals;
}

static const char *join(const char *const *args, int n, apr_pool_t *p)
{
    struct iovec parts[16];
    int i;

    for (i = 0; i < n; i++) {
        parts[2 * i].iov_base = (void *)(uintptr_t)args[i];
        parts[2 * i].iov_len = strlen(args[i]);
        parts[2 * i + 1].iov_base = (void *)(uintptr_t) "\n";
        parts[2 * i + 1].iov_len = 1;
    }
    return apr_pstrcatv(p, parts, (apr_size_t)n * 2, NULL);
}

/* The entry of that name, made with room for its args. */
static void *entry(apr_hash_t *hash, const char *const *args, int n, apr_size_t size, apr_pool_t *p)
{
    const char *name = join(args, n, p);
    void *found = apr_hash_get(hash, name, APR_HASH_KEY_STRING);

    if (!found) {
        found = apr_pcalloc(p, size);
        memcpy(found, args, sizeof(*args) * (size_t)n);
        apr_hash_set(hash, name, APR_HASH_KEY_STRING, found);
    }
    return found;
}

/* Where a record counts: a period, and one of its parts. */
typedef struct place_t {
    const period_t *period;
    int of;
    const char *seconds, *start, *name, *model;
} place_t;

static void add_total(gb_totals_t *totals, const place_t *at, const gb_record_t *r)
{
    const char *args[] = {at->seconds, gb_of_names[at->of], at->start, r->pool, at->name,
                          at->model};
    total_t *total = entry(totals->totals, args, 6, sizeof(*total), totals->p);

    count(&total->sums, r);
}

static void add_tally(gb_totals_t *totals, const place_t *at, const tally_kind_t *kind,
                      const gb_record_t *r)
{
    const char *value = kind->value(r, totals->p);
    const char *args[] = {at->seconds, gb_of_names[at->of],
                          kind->name,  at->start,
                          r->pool,     value,
                          at->name,    kind->by_model & OF(at->of) ? at->model : ""};
    tally_t *tally;

    if (!value) {
        return;
    }
    tally = entry(totals->tallies, args, 8, sizeof(*tally), totals->p);
    tally->attempts++;
    tally->calls += r->is_final;
}

static void add_at(gb_totals_t *totals, const place_t *at, const gb_record_t *r)
{
    size_t i;

    add_total(totals, at, r);
    for (i = 0; i < N_KINDS; i++) {
        if (kinds[i].parts & OF(at->of) && at->period->seconds >= kinds[i].least) {
            add_tally(totals, at, &kinds[i], r);
        }
    }
}

/* A row of a gemini-balance may have no key. */
void gb_totals_add(gb_totals_t *totals, const gb_record_t *r)
{
    const char *names[GB_OF_N] = {"", r->key_id, gb_journal_utf8(r->caller, totals->p)};
    place_t at;
    size_t i;

    at.model = gb_journal_utf8(gb_record_model(r), totals->p);
    for (i = 0; i < N_PERIODS; i++) {
        at.period = &periods[i];
        if (at.period->kept && r->began < totals->now - apr_time_from_sec(at.period->kept)) {
            continue;
        }
        at.seconds = apr_itoa(totals->p, at.period->seconds);
        at.start = gb_db_int(start_of(totals->zone, r->began, at.period->seconds), totals->p);
        for (at.of = 0; at.of < GB_OF_N; at.of++) {
            if (at.period->parts & OF(at.of) && (at.of != GB_OF_KEY || *r->key_id)) {
                at.name = names[at.of];
                add_at(totals, &at, r);
            }
        }
    }
}

/* ---- writing ---- */

#define TOTAL_COLUMNS                                                                              \
    "period, part, start, pool, name, model, attempts, failures, quota, calls, successes, "        \
    "call_failures, prompt_tokens, completion_tokens, thought_tokens, cached_tokens, latency_ms, " \
    "first_byte_ms, first_bytes"
#define TOTAL_VALUES       "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s"
#define TALLY_COLUMNS      "period, part, kind, start, pool, value, name, model, attempts, calls"
#define TALLY_VALUES       "%s, %s, %s, %s, %s, %s, %s, %s, %s, %s"
#define ADD_SQLITE(column) #column " = " #column " + excluded." #column
#define ADD_MYSQL(column)  #column " = " #column " + VALUES(" #column ")"
/* clang-format off */
#define ADD_ALL(ADD) \
    ADD(attempts) ", " ADD(failures) ", " ADD(quota) ", " ADD(calls) ", " ADD(successes) ", " \
    ADD(call_failures) ", " ADD(prompt_tokens) ", " ADD(completion_tokens) ", " \
    ADD(thought_tokens) ", " ADD(cached_tokens) ", " ADD(latency_ms) ", " ADD(first_byte_ms) ", " \
    ADD(first_bytes)
#define ADD_BOTH(ADD) ADD(attempts) ", " ADD(calls)
/* clang-format on */

static const gb_sql_t sql_total = {
    "INSERT INTO gb_totals (" TOTAL_COLUMNS ") VALUES (" TOTAL_VALUES
    ") ON CONFLICT (period, part, start, pool, name, model) DO UPDATE SET " ADD_ALL(ADD_SQLITE),
    "INSERT INTO gb_totals (" TOTAL_COLUMNS ") VALUES (" TOTAL_VALUES
    ") ON DUPLICATE KEY UPDATE " ADD_ALL(ADD_MYSQL),
};
static const gb_sql_t sql_tally = {
    "INSERT INTO gb_tally (" TALLY_COLUMNS ") VALUES (" TALLY_VALUES
    ") ON CONFLICT (period, part, kind, start, pool, value, name, model) DO UPDATE SET " ADD_BOTH(
        ADD_SQLITE),
    "INSERT INTO gb_tally (" TALLY_COLUMNS ") VALUES (" TALLY_VALUES
    ") ON DUPLICATE KEY UPDATE " ADD_BOTH(ADD_MYSQL),
};

static apr_status_t write_total(gb_db_t *db, const total_t *total, apr_pool_t *p)
{
    const char *args[6 + GB_SUMS_N];
    int i;

    memcpy(args, total->args, sizeof(total->args));
    for (i = 0; i < GB_SUMS_N; i++) {
        args[6 + i] = gb_db_int(gb_sums_at(&total->sums, i), p);
    }
    return gb_db_run(db, &sql_total, args, NULL);
}

static apr_status_t write_tally(gb_db_t *db, const tally_t *tally, apr_pool_t *p)
{
    const char *args[10];

    memcpy(args, tally->args, sizeof(tally->args));
    args[8] = gb_db_int(tally->attempts, p);
    args[9] = gb_db_int(tally->calls, p);
    return gb_db_run(db, &sql_tally, args, NULL);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Always in the same order: several machines write to the same rows, and would wait for each other in
 * a ring. */
static apr_array_header_t *names_of(apr_hash_t *hash, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, (int)apr_hash_count(hash) + 1,
                                               sizeof(const char *));
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(p, hash); hi; hi = apr_hash_next(hi)) {
        APR_ARRAY_PUSH(names, const char *) = apr_hash_this_key(hi);
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return names;
}

static void *nth(apr_hash_t *hash, const apr_array_header_t *names, int i)
{
    return apr_hash_get(hash, APR_ARRAY_IDX(names, i, const char *), APR_HASH_KEY_STRING);
}

apr_status_t gb_totals_write(gb_totals_t *totals, gb_db_t *db)
{
    apr_pool_t *p = totals->p;
    apr_array_header_t *names = names_of(totals->totals, p);
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; rv == APR_SUCCESS && i < names->nelts; i++) {
        rv = write_total(db, nth(totals->totals, names, i), p);
    }
    names = names_of(totals->tallies, p);
    for (i = 0; rv == APR_SUCCESS && i < names->nelts; i++) {
        rv = write_tally(db, nth(totals->tallies, names, i), p);
    }
    return rv;
}

/* ---- letting go ---- */

/* A table, and what stands before `start` in its key. */
typedef struct expiry_t {
    gb_sql_t first, drop;
} expiry_t;

static const expiry_t expiries[] = {
    {{"SELECT MIN(start) FROM gb_totals WHERE period = %s AND part = %s AND start < %s", NULL},
     {"DELETE FROM gb_totals WHERE period = %s AND part = %s AND start < %s", NULL}             },
    {{"SELECT MIN(start) FROM gb_tally WHERE period = %s AND part = %s AND kind = %s AND start < "
      "%s",
      NULL},
     {"DELETE FROM gb_tally WHERE period = %s AND part = %s AND kind = %s AND start < %s", NULL}},
};

static apr_status_t expire_rows(gb_db_t *db, const expiry_t *expiry, const char **args, int at,
                                int *n, apr_pool_t *p)
{
    gb_rows_t rows;
    apr_status_t rv = gb_db_query(db, &expiry->first, args, &rows, p);
    apr_int64_t first, before = apr_atoi64(args[at]);

    *n = 0;
    if (rv != APR_SUCCESS || !rows.n || !gb_rows_text(&rows, 0, 0)) {
        return rv;
    }
    first = gb_rows_int(&rows, 0, 0, 0);
    args[at] = gb_db_int(first + GB_PERIOD_HOUR < before ? first + GB_PERIOD_HOUR : before, p);
    return gb_db_run(db, &expiry->drop, args, n);
}

static apr_status_t expire_part(gb_db_t *db, const period_t *period, int of, apr_time_t now, int *n,
                                apr_pool_t *p)
{
    const char *seconds = apr_itoa(p, period->seconds);
    const char *before = gb_db_int(apr_time_sec(now) - period->kept, p);
    const char *total[] = {seconds, gb_of_names[of], before};
    apr_status_t rv = expire_rows(db, &expiries[0], total, 2, n, p);
    size_t i;

    for (i = 0; rv == APR_SUCCESS && !*n && i < N_KINDS; i++) {
        const char *tally[] = {seconds, gb_of_names[of], kinds[i].name, before};

        rv = expire_rows(db, &expiries[1], tally, 3, n, p);
    }
    return rv;
}

apr_status_t gb_totals_expire(gb_db_t *db, apr_time_t now, int *n, apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    size_t i;
    int of;

    *n = 0;
    for (i = 0; rv == APR_SUCCESS && !*n && i < N_PERIODS; i++) {
        for (of = 0; rv == APR_SUCCESS && !*n && periods[i].kept && of < GB_OF_N; of++) {
            if (periods[i].parts & OF(of)) {
                rv = expire_part(db, &periods[i], of, now, n, p);
            }
        }
    }
    return rv;
}
