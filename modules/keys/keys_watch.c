/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: once a second every child does what is its own, and whoever holds the
 * lease does what one does for all.  Not a watchdog singleton: after a kill the
 * next one would start ten seconds later, and two generations would run theirs at
 * once.
 */
#include "keys.h"

#include <pthread.h>

#include "ap_mpm.h"
#include "mod_watchdog.h"
#include "scoreboard.h"

APLOG_USE_MODULE(gbalance_keys);

#define STEP        apr_time_from_sec(1)
#define LEASE       apr_time_from_sec(4)
#define SAVE_EVERY  3 /* seconds: a kill of everything costs no more than that of counters */
#define CHECK_EVERY 10
#define REAP_EVERY  5

static unsigned seconds;

/* mod_watchdog waits for none of its threads: this child's may be in the middle of the file when the
 * child ends and writes the same one. */
static pthread_mutex_t saving = PTHREAD_MUTEX_INITIALIZER;
static int save_failed;

/* A child that outlives a reload may work on a block of its own; the new ones save the new one. */
static int is_outlived(void)
{
    int mine = 0;

    return ap_mpm_query(AP_MPMQ_GENERATION, &mine) == APR_SUCCESS
           && ap_get_scoreboard_global()->running_generation != mine;
}

static void save(apr_pool_t *p)
{
    apr_status_t rv;

    if (is_outlived()) {
        return;
    }
    pthread_mutex_lock(&saving);
    rv = keys_saved_write(p);
    if (rv != APR_SUCCESS && !save_failed) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, rv, ap_server_conf,
            GBLOGNO(1050) "the keys' state cannot be written below \"%s\": a restart would forget "
                          "cool-downs and counters. Let httpd's user write there, or set "
                          "GBalanceStateDir",
            keys_state_dir());
    }
    save_failed = rv != APR_SUCCESS;
    pthread_mutex_unlock(&saving);
}

static void step(apr_pool_t *p)
{
    seconds++;
    if (seconds % SAVE_EVERY == 0
        && gb_segment_lease(keys_tenant->segment, KEYS_LEASE_SAVE, LEASE) == APR_SUCCESS) {
        save(p);
    }
    if (seconds % REAP_EVERY == 0) {
        keys_reap();
    }
    if (seconds % CHECK_EVERY == 0
        && gb_segment_lease(keys_tenant->segment, KEYS_LEASE_CHECK, apr_time_from_sec(15))
               == APR_SUCCESS) {
        keys_recover_step(p);
    }
}

static apr_status_t watch(int state, void *data, apr_pool_t *p)
{
    (void)data;
    if (keys_pool && state == AP_WATCHDOG_STATE_RUNNING) {
        step(p);
    }
    return APR_SUCCESS;
}

/* A child that ends saves without a lease: whoever ends last knows most.  (The watchdog's own
 * STOPPING does not come when httpd is stopped.) */
void keys_watch_end(apr_pool_t *p)
{
    save(p);
    gb_segment_lease_end(keys_tenant->segment, KEYS_LEASE_SAVE);
    gb_segment_lease_end(keys_tenant->segment, KEYS_LEASE_CHECK);
}

void keys_watch_register(apr_pool_t *pconf, server_rec *s)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance = APR_RETRIEVE_OPTIONAL_FN(
        ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_status_t rv;

    if (!get_instance || !register_callback) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     GBLOGNO(1051) "mod_watchdog is not loaded: the keys' state is not saved and "
                                   "failed keys are "
                                   "not checked. Add LoadModule watchdog_module");
        return;
    }
    rv = get_instance(&watchdog, "gbalance_keys", 0, 0, pconf);
    if (rv == APR_SUCCESS) {
        rv = register_callback(watchdog, STEP, NULL, watch);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, rv, s,
            GBLOGNO(1052) "no watchdog for the keys: their state is not saved, failed ones are not "
                          "checked");
    }
}
