/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done in the background, by whoever holds the journal's lease: rows of a
 * gemini-balance are adopted when they are found, records of files become known
 * and expire, old rows of the logs go at night in TIMEZONE, and the oldest go at
 * any time while there are too many.  A
 * job is one short step; it may be cut anywhere and be taken up by another child.
 */
#include "core_live.h"
#include "core_store.h"

#include <stdatomic.h>

#include "apr_strings.h"

#include "base/timeutil.h"
#include "store/logs.h"
#include "store/totals.h"
#include "store/upkeep.h"

APLOG_USE_MODULE(gbalance);

#define BATCH      500
#define PAUSE      apr_time_from_sec(5)
#define NIGHT_FROM 2 /* hours, local */
#define NIGHT_TO   6
#define DAY        apr_time_from_sec(86400)
#define TELL_EVERY apr_time_from_sec(3600)

/* Of this child: whether the last step found something to do, and when it was. */
static atomic_int more;
static apr_time_t asked_at;

/* ---- adoption ---- */

static apr_status_t adopt(gb_db_t *db, int *n, apr_pool_t *p)
{
    gb_writer_t writer;
    apr_status_t rv;

    core_journal_writer(&writer, db, p);
    rv = gb_upkeep_adopt(&writer, GB_LOG_REQUESTS, BATCH, n, p);
    if (rv == APR_SUCCESS && !*n) {
        rv = gb_upkeep_adopt(&writer, GB_LOG_ERRORS, BATCH, n, p);
    }
    if (rv == APR_SUCCESS && !*n) {
        rv = gb_upkeep_adopt_files(db, core_store_seal() != NULL, BATCH, n, p);
    }
    return rv;
}

/* ---- old rows ---- */

static apr_status_t expire_pool(gb_db_t *db, const char *pool, int *n, apr_pool_t *p)
{
    const gb_settings_t *settings = core_live_pool(pool, p);
    apr_time_t now = apr_time_now();
    apr_status_t rv = APR_SUCCESS;

    *n = 0;
    if (settings->auto_delete_request_logs_enabled) {
        rv = gb_upkeep_expire(db, GB_LOG_REQUESTS, pool,
                              now - settings->auto_delete_request_logs_days * DAY, BATCH, n, p);
    }
    if (rv == APR_SUCCESS && !*n && settings->auto_delete_error_logs_enabled) {
        rv = gb_upkeep_expire(db, GB_LOG_ERRORS, pool,
                              now - settings->auto_delete_error_logs_days * DAY, BATCH, n, p);
    }
    return rv;
}

/* The local date while it is night, "" by day. */
static const char *night(apr_pool_t *p)
{
    const gb_settings_t *settings = core_live_pool("default", p);
    apr_time_t now = apr_time_now();
    apr_time_exp_t local;
    gb_zone_t *zone;
    int offset = 0;

    settings = settings ? settings : core_store()->settings;
    if (gb_zone_load(&zone, settings->timezone, p) == APR_SUCCESS) {
        offset = gb_zone_offset(zone, now);
    }
    apr_time_exp_gmt(&local, now + apr_time_from_sec(offset));
    return local.tm_hour >= NIGHT_FROM && local.tm_hour < NIGHT_TO ? apr_psprintf(
               p, "%04d%02d%02d", local.tm_year + 1900, local.tm_mon + 1, local.tm_mday)
                                                                   : "";
}

/* Once a night for each pool: other machines on this database may have others. */
static apr_status_t expire_tonight(gb_db_t *db, const char *pool, const char *date, int *n,
                                   apr_pool_t *p)
{
    const char *note = apr_pstrcat(p, "retention_day:", pool, NULL), *done;
    apr_status_t rv = gb_upkeep_note_get(db, note, &done, p);

    if (rv != APR_SUCCESS || strcmp(done, date) == 0) {
        return rv;
    }
    rv = expire_pool(db, pool, n, p);
    return rv == APR_SUCCESS && !*n ? gb_upkeep_note_put(db, note, date) : rv;
}

static apr_status_t expire_at_night(gb_db_t *db, int *n, apr_pool_t *p)
{
    const char *date = night(p);
    int n_pools, i;
    const gb_pool_conf_t *pools = core_pools(&n_pools);
    apr_status_t rv = APR_SUCCESS;

    *n = 0;
    for (i = 0; rv == APR_SUCCESS && *date && !*n && i < n_pools; i++) {
        rv = expire_tonight(db, pools[i].name, date, n, p);
    }
    return rv;
}

static apr_status_t bound(gb_db_t *db, int *n, apr_pool_t *p)
{
    const gb_settings_t *settings = core_live_pool("default", p);
    apr_int64_t max = (settings ? settings : core_store()->settings)->log_max_rows;
    apr_status_t rv = gb_upkeep_bound(db, GB_LOG_REQUESTS, max, BATCH, n, p);

    return rv == APR_SUCCESS && !*n ? gb_upkeep_bound(db, GB_LOG_ERRORS, max, BATCH, n, p) : rv;
}

/* What somebody has deleted on a page, and was too much for one go. */
static apr_status_t clear(gb_db_t *db, int *n, apr_pool_t *p)
{
    int n_pools, i;
    const gb_pool_conf_t *pools = core_pools(&n_pools);
    apr_status_t rv = APR_SUCCESS;

    *n = 0;
    for (i = 0; rv == APR_SUCCESS && !*n && i < n_pools; i++) {
        rv = gb_logs_clear_step(n, db, GB_LOG_REQUESTS, pools[i].name, p);
        if (rv == APR_SUCCESS && !*n) {
            rv = gb_logs_clear_step(n, db, GB_LOG_ERRORS, pools[i].name, p);
        }
    }
    return rv;
}

static apr_status_t expire_totals(gb_db_t *db, int *n, apr_pool_t *p)
{
    return gb_totals_expire(db, apr_time_now(), n, p);
}

/* ---- steps ---- */

typedef apr_status_t step_fn(gb_db_t *db, int *n, apr_pool_t *p);

static step_fn *const steps[] = {
    clear,           adopt, core_files_load, core_files_clean, core_mirror_keys,
    expire_at_night, bound, expire_totals};

/* A value that the database refuses for good must not keep the other steps from theirs. */
static apr_status_t step_run(step_fn *step, gb_db_t *db, int *n, apr_pool_t *p)
{
    static apr_time_t told; /* by the database thread alone */
    apr_status_t rv = step(db, n, p);

    if (rv != APR_EINVAL) {
        return rv;
    }
    if (!told || gb_mono_now() - told > TELL_EVERY) {
        told = gb_mono_now();
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, core_store()->s,
                     GBLOGNO(8048) "store: a step of the upkeep is refused and left out: %s",
                     gb_db_error(db));
    }
    gb_db_forget(db);
    *n = 0;
    return APR_SUCCESS;
}

/* The database thread: the first step that finds something does it. */
static apr_status_t upkeep_job(gb_db_t *db, void *baton, apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    size_t i;
    int n = 0;

    (void)baton;
    for (i = 0; rv == APR_SUCCESS && !n && i < sizeof(steps) / sizeof(steps[0]); i++) {
        rv = step_run(steps[i], db, &n, p);
    }
    atomic_store(&more, rv == APR_SUCCESS && n > 0);
    return rv;
}

void core_upkeep_soon(void)
{
    atomic_store(&more, 1);
}

core_job_t *core_upkeep_job(apr_time_t now)
{
    if (!atomic_load(&more) && asked_at && now - asked_at < PAUSE) {
        return NULL;
    }
    asked_at = now;
    return core_job_make(upkeep_job, 1);
}
