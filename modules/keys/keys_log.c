/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changed in the pool, as lines of the error log: by id, never by secret,
 * one number a kind.
 */
#include "keys.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

#define LOG(level, ...) ap_log_error(APLOG_MARK, level, 0, ap_server_conf, __VA_ARGS__)

static void log_rest(const gb_pool_event_t *e, const char *pool)
{
    LOG(APLOG_INFO, GBLOGNO(1001) "key %s (pool %s): %s rests for %" APR_TIME_T_FMT " s (%s)",
        e->id, pool, e->model[0] ? e->model : "its project", apr_time_sec(e->lasts + 999999),
        e->row);
}

static void log_out(const gb_pool_event_t *e, const char *pool)
{
    if (e->kind == GB_EVENT_FAILED) {
        LOG(APLOG_WARNING,
            GBLOGNO(1003) "key %s (pool %s): out after %" APR_INT64_T_FMT
                          " failures in a row (%s); one call "
                          "tries it in %" APR_TIME_T_FMT " s",
            e->id, pool, e->n, e->row, apr_time_sec(e->lasts));
        return;
    }
    LOG(APLOG_WARNING,
        GBLOGNO(1004) "key %s (pool %s): invalid by Google's word (%s); %" APR_INT64_T_FMT
                      " key(s) taken out",
        e->id, pool, e->row, e->n);
}

static void log_guard(const gb_pool_event_t *e, const char *pool)
{
    LOG(APLOG_ALERT,
        GBLOGNO(
            1006) "pool %s: more than half of its active keys would leave within a minute, the "
                  "last for \"%s\" "
                  "(key %s). They stay: look for a fault at Google, in a proxy or in this gateway",
        pool, e->row, e->id);
}

static void log_breaker(const gb_pool_event_t *e, const char *pool)
{
    if (e->kind == GB_EVENT_BREAKER_OPEN) {
        LOG(APLOG_WARNING,
            GBLOGNO(
                1007) "pool %s: %s fails on several projects; it is asked again in %" APR_TIME_T_FMT
                      " s, no key is charged",
            pool, e->model, apr_time_sec(e->lasts));
        return;
    }
    LOG(APLOG_INFO, GBLOGNO(1008) "pool %s: %s answers again", pool, e->model);
}

static void log_event(const gb_pool_event_t *e, const char *pool)
{
    switch (e->kind) {
    case GB_EVENT_COOLS:
        log_rest(e, pool);
        break;
    case GB_EVENT_RECOVERED:
        LOG(APLOG_INFO, GBLOGNO(1002) "key %s (pool %s): works again", e->id, pool);
        break;
    case GB_EVENT_FAILED:
    case GB_EVENT_INVALID:
        log_out(e, pool);
        break;
    case GB_EVENT_CHECK:
        LOG(APLOG_INFO,
            GBLOGNO(1005) "key %s (pool %s): refused for a reason that is not known (%s); a check "
                          "will tell",
            e->id, pool, e->row);
        break;
    case GB_EVENT_GUARD:
        log_guard(e, pool);
        break;
    case GB_EVENT_BREAKER_OPEN:
    case GB_EVENT_BREAKER_CLOSED:
        log_breaker(e, pool);
        break;
    case GB_EVENT_LIMIT:
        LOG(APLOG_INFO,
            GBLOGNO(1009) "key %s (pool %s): its project's limit for %s is %" APR_INT64_T_FMT,
            e->id, pool, e->model, e->n);
        break;
    case GB_EVENT_GROUPED:
        LOG(APLOG_INFO, GBLOGNO(1011) "key %s (pool %s): shares its project with another key",
            e->id, pool);
        break;
    }
}

void keys_log_events(const gb_pool_events_t *events, const char *pool)
{
    int i;

    for (i = 0; i < events->n; i++) {
        log_event(&events->items[i], pool);
    }
}
