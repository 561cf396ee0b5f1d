/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures that we keep ourselves (UPLOAD_PROVIDER local): where they lie, how
 * much they may be together, and that they go when their time is over.  Writing
 * them is upstream/hosting.c's, serving them httpd's.
 */
#include "core.h"
#include "core_store.h"

#include <stdatomic.h>

#include "apr_file_info.h"
#include "apr_strings.h"
#include "mod_watchdog.h"

APLOG_USE_MODULE(gbalance);

#define TENANT      "images"
#define STEP        apr_time_from_sec(1)
#define LOOK_MAX    apr_time_from_sec(60)   /* between two looks into the directory */
#define PART_EXPIRE apr_time_from_sec(3600) /* of a file that nobody finished */

/* Shared by all children: the bytes that lie in the directory. */
typedef struct used_t {
    atomic_llong bytes;
} used_t;

static void used_init(void *block, apr_size_t size)
{
    (void)size;
    atomic_init(&((used_t *)block)->bytes, 0);
}

static const gb_tenant_spec_t spec = {TENANT, 1, sizeof(used_t), used_init, NULL, NULL};

/* Of this configuration. */
static gb_shelf_t shelf;
static apr_time_t looked_at;

void core_gallery_tenants(apr_array_header_t *specs)
{
    APR_ARRAY_PUSH(specs, gb_tenant_spec_t) = spec;
}

static used_t *used(void)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);

    return tenant ? tenant->block : NULL;
}

/* Any thread. */
static int take(void *baton, apr_int64_t bytes)
{
    long long max = (long long)core_store()->settings->local_image_max_mb * 1024 * 1024, now;
    used_t *sum = used();

    (void)baton;
    if (!sum) {
        return 0;
    }
    now = atomic_load(&sum->bytes);
    do {
        if (bytes > 0 && now + bytes > max) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak(&sum->bytes, &now, now + bytes));
    return 1;
}

const gb_shelf_t *core_shelf(void)
{
    return shelf.dir ? &shelf : NULL;
}

/* ---- what goes ---- */

static int ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);

    return len > n && strcmp(name + len - n, end) == 0;
}

/* Ours begin with 32 hex digits: nothing else is touched, whatever the directory holds. */
static int is_ours(const char *name)
{
    return strspn(name, "0123456789abcdef") == 32 && name[32] == '.';
}

/* Removes one file whose time is over; its size otherwise. */
static apr_off_t file_look(const apr_finfo_t *info, apr_time_t now, apr_pool_t *p)
{
    apr_interval_time_t keep = ends_with(info->name, ".part")
                                   ? PART_EXPIRE
                                   : core_store()->settings->local_image_expire;
    apr_status_t rv;

    if (info->filetype != APR_REG || !is_ours(info->name) || now - info->mtime <= keep) {
        return info->filetype == APR_REG && is_ours(info->name) ? info->size : 0;
    }
    rv = apr_file_remove(apr_pstrcat(p, shelf.dir, "/", info->name, NULL), p);
    if (rv != APR_SUCCESS && !APR_STATUS_IS_ENOENT(rv)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, core_store()->s,
                     GBLOGNO(8101) "the expired picture %s/%s cannot be removed", shelf.dir,
                     info->name);
        return info->size;
    }
    return 0;
}

static void look(apr_pool_t *p)
{
    apr_time_t now = apr_time_now();
    long long sum = 0;
    apr_finfo_t info;
    apr_dir_t *dir;

    if (apr_dir_open(&dir, shelf.dir, p) != APR_SUCCESS) {
        return; /* nobody has made a picture yet */
    }
    while (
        apr_dir_read(&info, APR_FINFO_NAME | APR_FINFO_TYPE | APR_FINFO_SIZE | APR_FINFO_MTIME, dir)
        == APR_SUCCESS) {
        sum += file_look(&info, now, p);
    }
    apr_dir_close(dir);
    if (used()) {
        atomic_store(&used()->bytes, sum);
    }
}

/* Often enough that a picture does not outlive its time by much. */
static apr_status_t watch(int state, void *data, apr_pool_t *p)
{
    apr_interval_time_t pause = core_store()->settings->local_image_expire / 4;
    apr_time_t now = apr_time_now();

    (void)data;
    pause = pause < LOOK_MAX ? pause : LOOK_MAX;
    if (state == AP_WATCHDOG_STATE_RUNNING && (now - looked_at >= pause || now < looked_at)) {
        looked_at = now;
        look(p);
    }
    return APR_SUCCESS;
}

/* ---- life ---- */

void core_gallery_post_config(server_rec *s, apr_pool_t *pconf)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get_instance = APR_RETRIEVE_OPTIONAL_FN(
        ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *register_callback =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    const char *state_dir = core_conf_get(s)->state_dir, *dir;
    ap_watchdog_t *watchdog;

    memset(&shelf, 0, sizeof(shelf));
    looked_at = 0;
    if (!core_store()) {
        return; /* nothing is kept */
    }
    dir = core_store()->settings->local_image_dir;
    shelf.dir = *dir == '/' ? dir : apr_pstrcat(pconf, state_dir, "/", dir, NULL);
    shelf.take = take;
    if (!get_instance || !register_callback
        || get_instance(&watchdog, "gbalance_images", 0, 1, pconf) != APR_SUCCESS
        || register_callback(watchdog, STEP, NULL, watch) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     GBLOGNO(8100) "no watchdog for pictures (is mod_watchdog loaded?): with "
                                   "UPLOAD_PROVIDER local they would not expire, so none are kept");
        shelf.dir = NULL;
    }
}
