/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of files, caches and the like beyond the life of shared memory: what
 * becomes known goes to the spool, whose reader writes it to t_file_records and
 * gb_made; what the tables have and shared memory has not (after a stop, after another machine's upload, after
 * the adoption of a gemini-balance's rows) is loaded in the order of its rows.
 */
#include "core_live.h"
#include "core_store.h"

#include "apr_strings.h"

#include "base/owners.h"
#include "proto/gemini.h"
#include "store/files.h"
#include "store/upkeep.h"

APLOG_USE_MODULE(gbalance);

#define TENANT      "files"
#define LOAD_BATCH  500
#define CLEAN_BATCH 20 /* with as many calls to Google, every few seconds */

/* How far the tables have been read. */
typedef struct progress_t {
    apr_int64_t files, made; /* ids of the last rows, 0 = none */
    apr_uint32_t opened;     /* children may be at it */
} progress_t;

void core_files_tenants(apr_array_header_t *specs)
{
    gb_tenant_spec_t *spec = apr_array_push(specs);

    memset(spec, 0, sizeof(*spec));
    spec->name = TENANT;
    spec->version = 2;
    spec->size = sizeof(progress_t);
}

static progress_t progress_get(gb_tenant_t *tenant)
{
    progress_t progress;

    gb_segment_lock(tenant->segment);
    progress = *(progress_t *)tenant->block;
    gb_segment_unlock(tenant->segment);
    return progress;
}

static void progress_set(gb_tenant_t *tenant, const progress_t *progress)
{
    gb_segment_lock(tenant->segment);
    ((progress_t *)tenant->block)->files = progress->files;
    ((progress_t *)tenant->block)->made = progress->made;
    gb_segment_unlock(tenant->segment);
}

/* ---- to the spool ---- */

static void spool(const gb_file_t *file)
{
    apr_status_t rv;
    gb_buf_t line;

    if (!core_store()) {
        return;
    }
    gb_buf_init(&line, GB_SPOOL_TEXT_MAX);
    rv = gb_file_line(&line, file);
    if (rv == APR_SUCCESS) {
        rv = gb_spool_append(&core_store()->spool, GB_SPOOL_FILES, line.data, line.len);
    }
    gb_buf_free(&line);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, core_store()->s,
                     GBLOGNO(8045) "the record of %s cannot be written to %s: it is forgotten when "
                                   "httpd stops",
                     file->name, core_store()->spool.dir);
    }
}

void core_files_put(const core_made_t *made, apr_time_t began, apr_time_t ends)
{
    gb_file_t file;

    file.name = made->name;
    file.pool = made->pool;
    file.key_id = made->key_id;
    file.caller = made->caller;
    file.json = made->json ? made->json : "{}";
    file.made = began;
    file.ends = ends;
    spool(&file);
}

void core_files_gone(const char *pool, const char *name)
{
    gb_file_t file;

    memset(&file, 0, sizeof(file));
    file.name = name;
    file.pool = pool;
    spool(&file);
}

/* ---- back from the table ---- */

static void remember(void *baton, const gb_file_t *file)
{
    core_made_t made;

    (void)baton;
    made.name = file->name;
    made.pool = file->pool;
    made.key_id = file->key_id;
    made.caller = file->caller;
    made.json = file->json;
    core_owners_remember(&made, file->made, file->ends);
}

apr_status_t core_files_load(gb_db_t *db, int *n, apr_pool_t *p)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    progress_t progress;
    apr_status_t rv;

    *n = 0;
    if (!tenant) {
        return APR_SUCCESS;
    }
    progress = progress_get(tenant);
    rv = gb_files_load(db, &progress.files, LOAD_BATCH, remember, NULL, n, p);
    if (rv == APR_SUCCESS && !*n) {
        rv = gb_made_load(db, &progress.made, LOAD_BATCH, remember, NULL, n, p);
    }
    progress_set(tenant, &progress);
    return rv;
}

/* What a server that was killed had not brought to the table. */
static apr_status_t replay(gb_db_t *db, apr_pool_t *p)
{
    const gb_spool_t *from = &core_store()->spool;
    apr_array_header_t *list;
    apr_status_t rv = APR_SUCCESS;
    gb_writer_t writer;
    int i;

    core_journal_writer(&writer, db, p);
    gb_spool_turn(from, GB_SPOOL_FILES, 1);
    list = gb_spool_list(from, GB_SPOOL_FILES, p);
    for (i = 0; rv == APR_SUCCESS && i < list->nelts; i++) {
        rv = gb_journal_replay(&writer, GB_SPOOL_FILES, APR_ARRAY_IDX(list, i, const char *), p);
    }
    return rv;
}

/* Whether this shared memory is new: nobody else reads the table or the spool. */
static int is_first(gb_tenant_t *tenant)
{
    progress_t *progress = tenant->block;
    int first;

    gb_segment_lock(tenant->segment);
    first = !progress->opened;
    progress->opened = 1;
    gb_segment_unlock(tenant->segment);
    return first;
}

void core_files_post_config(gb_db_t *db, apr_pool_t *p)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_status_t rv;
    int n = 1;

    if (!tenant || !is_first(tenant)) {
        return;
    }
    rv = replay(db, p);
    while (rv == APR_SUCCESS && n > 0) {
        rv = gb_upkeep_adopt_files(db, core_store_seal() != NULL, LOAD_BATCH, &n, p);
    }
    for (n = 1; rv == APR_SUCCESS && n > 0;) {
        rv = core_files_load(db, &n, p);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, core_store()->s,
                     GBLOGNO(8046) "records of files cannot be read: %s", gb_db_error(db));
    }
}

/* ---- their end ---- */

static void no_attempt(void *baton, gb_exchange_t *x, const gb_attempt_t *attempt)
{
    (void)baton;
    (void)x;
    (void)attempt;
}

/* Mostly it is gone already. */
static void deleted(void *baton, int status, const char *body, apr_size_t len)
{
    (void)body;
    (void)len;
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, core_store()->s,
                 GBLOGNO(8047) "%s has expired: deleting it at Google answered %d",
                 (const char *)baton, status);
}

/* At Google, with the key that made it. */
static void delete_there(const gb_file_t *file)
{
    gb_engine_t *engine = core_engine();
    gb_exchange_host_t *host;
    gb_request_t request;
    core_inner_t call;
    apr_pool_t *pool;

    if (!engine || !core_pool_settings(file->pool)) {
        return;
    }
    memset(&call, 0, sizeof(call));
    memset(&request, 0, sizeof(request));
    pool = gb_exchange_pool(engine);
    host = apr_pmemdup(pool, core_host(), sizeof(*host));
    host->attempt_begins = host->attempt_ended = no_attempt;
    request.method = "DELETE";
    request.path = apr_pstrcat(pool, "/", file->name, NULL);
    request.body = "";
    request.now = apr_time_now();
    call.purpose = "expired";
    call.pool_name = file->pool;
    call.settings = core_live_pool(file->pool, pool);
    call.host = host;
    call.dialect = &gb_gemini_dialect;
    call.request = &request;
    call.required_id = file->key_id;
    call.done = deleted;
    call.baton = apr_pstrdup(pool, file->name);
    core_inner_start(&call, pool);
}

static void forget(void *baton, const gb_file_t *file)
{
    (void)baton;
    core_owners_forget(file->pool, file->name);
    delete_there(file);
}

static apr_status_t clean_pool(gb_db_t *db, const char *pool, apr_pool_t *p)
{
    const gb_settings_t *settings = core_live_pool(pool, p);
    const char *note = apr_pstrcat(p, "files_cleanup ", pool, NULL), *before;
    apr_time_t now = apr_time_now();
    apr_status_t rv;
    int n;

    if (!settings->files_cleanup_enabled) {
        return APR_SUCCESS;
    }
    rv = gb_upkeep_note_get(db, note, &before, p);
    if (rv != APR_SUCCESS
        || apr_time_sec(now) - apr_atoi64(before) < settings->files_cleanup_interval_hours * 3600) {
        return rv;
    }
    rv = gb_files_expire(db, pool, now, CLEAN_BATCH, forget, NULL, &n, p);
    return rv == APR_SUCCESS && n < CLEAN_BATCH
               ? gb_upkeep_note_put(db, note, gb_db_int(apr_time_sec(now), p))
               : rv;
}

/* Of files *n stays 0: the next batch has time.  A child that is just starting leaves it to its next step. */
apr_status_t core_files_clean(gb_db_t *db, int *n, apr_pool_t *p)
{
    int n_pools, i;
    const gb_pool_conf_t *pools = core_pools(&n_pools);
    apr_status_t rv = APR_SUCCESS;

    *n = 0;
    rv = gb_made_expire(db, apr_time_now(), LOAD_BATCH, n, p);
    for (i = 0; core_engine() && rv == APR_SUCCESS && i < n_pools; i++) {
        rv = clean_pool(db, pools[i].name, p);
    }
    return rv;
}
