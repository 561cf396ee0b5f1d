/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the database is and how it is.  The parent makes folders, the SQLite
 * file and its schema, and gives them to the server's user; a MySQL server may
 * hang, so it is asked by the children's database threads alone.
 */
#include "core_store.h"
#include "core_live.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"
#include "unixd.h"

#include "base/timeutil.h"
#include "store/migrate.h"

APLOG_USE_MODULE(gbalance);

#define TENANT   "store"
#define TEXT_LEN 300

#define AGAIN_AFTER apr_time_from_msec(50)

/* Made by check_config; all processes have the same. */
static core_store_t store;
static int is_open;
/* Read by the parent, as root; children that may read the file try again when it was not right. */
static gb_seal_t seal_key, seal_key_before;
static const gb_seal_t *seal, *seal_before;

const core_store_t *core_store(void)
{
    return is_open ? &store : NULL;
}

const gb_seal_t *core_store_seal(void)
{
    return seal;
}

/* ---- how it is: shared by all processes ---- */

typedef struct state_t {
    apr_uint32_t state;
    apr_uint32_t epoch; /* counts configurations */
    char text[TEXT_LEN];
} state_t;

/* Of this process's configuration.  What a child of an earlier one finds (it may have another secret)
 * says nothing about this one. */
static apr_uint32_t epoch;

void core_store_tenants(apr_array_header_t *specs)
{
    gb_tenant_spec_t *spec = apr_array_push(specs);

    memset(spec, 0, sizeof(*spec));
    spec->name = TENANT;
    spec->version = 2;
    spec->size = sizeof(state_t);
}

core_store_state_t core_store_state(char *text)
{
    gb_tenant_t *tenant = is_open ? core_tenant_get(TENANT) : NULL;
    const state_t *state;
    core_store_state_t found;

    if (!tenant) {
        return CORE_STORE_OFF;
    }
    state = tenant->block;
    gb_segment_lock(tenant->segment);
    found = (core_store_state_t)state->state;
    if (text) {
        apr_cpystrn(text, state->text, TEXT_LEN);
    }
    gb_segment_unlock(tenant->segment);
    return found;
}

static void log_state(core_store_state_t state, const char *text)
{
    int serves = state != CORE_STORE_NEWER && state != CORE_STORE_SECRET;

    if (state == CORE_STORE_READY) {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, store.s, GBLOGNO(8030) "store: %s", text);
    }
    else if (state != CORE_STORE_UNKNOWN) {
        ap_log_error(APLOG_MARK, APLOG_ALERT, 0, store.s, GBLOGNO(8031) "store: %s. %s", text,
                     serves ? "gbalance goes on with what it knows, and keeps its logs in the spool"
                            : "gbalance's locations answer 503");
    }
}

void core_store_state_set(core_store_state_t now, const char *text)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    state_t *state;
    int mine, changed;

    if (!tenant) {
        return;
    }
    state = tenant->block;
    gb_segment_lock(tenant->segment);
    mine = state->epoch == epoch;
    changed = mine && state->state != (apr_uint32_t)now;
    if (mine) {
        gb_segment_dirty_locked(tenant, 0);
        state->state = (apr_uint32_t)now;
        apr_cpystrn(state->text, text, TEXT_LEN);
        gb_segment_clean_locked(tenant);
    }
    gb_segment_unlock(tenant->segment);
    if (changed) {
        log_state(now, text);
    }
}

int core_store_is_current(void)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    int is = 1;

    if (tenant) {
        gb_segment_lock(tenant->segment);
        is = ((const state_t *)tenant->block)->epoch == epoch;
        gb_segment_unlock(tenant->segment);
    }
    return is;
}

/* The parent, before the children of this configuration. */
static void begin_epoch(void)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    state_t *state = tenant->block;

    gb_segment_lock(tenant->segment);
    gb_segment_dirty_locked(tenant, 0);
    epoch = ++state->epoch;
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(tenant->segment);
}

int core_store_refuses(gb_error_t *err)
{
    char text[TEXT_LEN];
    core_store_state_t state = core_store_state(text);

    if (state != CORE_STORE_NEWER && state != CORE_STORE_SECRET) {
        return 0;
    }
    gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "store_unavailable", NULL, "%s.", text);
    err->retry_after = apr_time_from_sec(30);
    return 1;
}

/* ---- connecting ---- */

static int is_root(void)
{
    return geteuid() == 0;
}

static core_store_state_t state_of(gb_db_fault_t fault)
{
    return fault == GB_DB_DAMAGED ? CORE_STORE_DAMAGED : CORE_STORE_AWAY;
}

static gb_db_t *refuse(gb_db_t *db, core_store_state_t state, const char *text)
{
    core_store_state_set(state, text);
    gb_db_close(db);
    return NULL;
}

static gb_db_t *refuse_seal(gb_db_t *db, const char *why, apr_pool_t *p)
{
    return refuse(db, CORE_STORE_SECRET, apr_psprintf(p, "%s: %s", store.db->shown, why));
}

/* The secret of the configuration; APR_SUCCESS also when none is wanted. */
static apr_status_t seal_ready(const char **why, apr_pool_t *p)
{
    const core_conf_t *conf = core_conf_get(store.s);
    const char *ignored;
    gb_seal_t *loaded;
    apr_status_t rv;

    if (!conf->secret_file || seal) {
        return APR_SUCCESS;
    }
    if (conf->secret_before
        && gb_seal_load(&loaded, conf->secret_before, &ignored, p) == APR_SUCCESS) {
        seal_key_before = *loaded;
        seal_before = &seal_key_before;
    }
    rv = gb_seal_load(&loaded, conf->secret_file, why, p);
    if (rv == APR_SUCCESS) {
        seal_key = *loaded;
        seal = &seal_key;
    }
    return rv;
}

static gb_db_t *check_seal(gb_db_t *db, apr_pool_t *p)
{
    const char *why = NULL;
    gb_saved_ctx_t ctx;
    apr_status_t rv;

    if (seal_ready(&why, p) != APR_SUCCESS) {
        return refuse_seal(db, why, p);
    }
    ctx = core_saved_ctx(db);
    rv = gb_saved_seal(&ctx, seal_before, &why, p);
    if (APR_STATUS_IS_EACCES(rv)) {
        return refuse_seal(db, why, p);
    }
    if (rv != APR_SUCCESS) {
        return refuse(db, state_of(gb_db_fault(db)),
                      apr_psprintf(p, "%s: %s", store.db->shown, gb_db_error(db)));
    }
    return db;
}

/* A parent that reloads as root makes files of SQLite and gives them away in the next moment. */
static apr_status_t open_db(gb_db_t **pdb, const char **why, gb_db_fault_t *fault, apr_pool_t *p)
{
    apr_status_t rv = gb_db_open(pdb, store.db, why, fault, p);

    if (rv != APR_SUCCESS && store.db->kind == GB_DB_SQLITE3 && !is_root()) {
        apr_sleep(AGAIN_AFTER);
        rv = gb_db_open(pdb, store.db, why, fault, p);
    }
    return rv;
}

gb_db_t *core_store_connect(apr_pool_t *p)
{
    gb_db_fault_t fault;
    gb_db_t *db;
    const char *why = NULL;
    int found = 0;
    apr_status_t rv = open_db(&db, &why, &fault, p);

    if (rv != APR_SUCCESS) {
        core_store_state_set(state_of(fault), why);
        return NULL;
    }
    rv = gb_schema_migrate(db, &found, p);
    if (rv == APR_EMISMATCH) {
        return refuse(
            db, CORE_STORE_NEWER,
            apr_psprintf(p,
                         "%s was made by a newer gbalance (schema %d; this one knows %d): "
                         "install that one, or name another database",
                         store.db->shown, found, gb_schema_newest(store.db->kind)));
    }
    if (rv != APR_SUCCESS) {
        return refuse(
            db, state_of(gb_db_fault(db)),
            apr_psprintf(p, "%s cannot be brought up to date: %s", store.db->shown,
                         APR_STATUS_IS_EBUSY(rv) ? "somebody else is at it" : gb_db_error(db)));
    }
    return check_seal(db, p);
}

void core_store_ready(void)
{
    if (core_store_state(NULL) != CORE_STORE_READY) {
        char text[TEXT_LEN];

        apr_snprintf(text, sizeof(text), "%s is there", store.db->shown);
        core_store_state_set(CORE_STORE_READY, text);
    }
}

/* ---- configuration ---- */

static apr_status_t settle_db(gb_db_conf_t **pdb, const core_conf_t *conf,
                              const gb_settings_t *settings, const char *dir, const char **why,
                              apr_pool_t *p)
{
    if (conf->database) {
        return gb_db_conf_parse(pdb, conf->database, dir, why, p);
    }
    if (strcmp(settings->database_type, "mysql") == 0) {
        return gb_db_conf_mysql(pdb, settings->mysql_host, (int)settings->mysql_port,
                                settings->mysql_user, settings->mysql_password,
                                settings->mysql_database, settings->mysql_socket, why, p);
    }
    return gb_db_conf_parse(pdb, apr_pstrcat(p, "sqlite3:", settings->sqlite_database, NULL), dir,
                            why, p);
}

apr_status_t core_store_check(server_rec *s, const gb_settings_t *settings, apr_pool_t *p)
{
    const core_conf_t *conf = core_conf_get(s);
    gb_db_conf_t *db = NULL;
    const char *why = NULL;

    memset(&store, 0, sizeof(store));
    is_open = 0;
    seal = seal_before = NULL;
    store.s = s;
    store.settings = settings;
    if (!conf->state_dir) {
        return APR_SUCCESS; /* nothing is kept: there is no place for the spool either */
    }
    if (settle_db(&db, conf, settings, conf->state_dir, &why, p) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, GBLOGNO(8032) "the database: %s", why);
        return APR_EINVAL;
    }
    store.db = db;
    store.spool.dir = apr_pstrcat(p, conf->state_dir, "/spool", NULL);
    store.rejected = apr_pstrcat(p, conf->state_dir, "/rejected.jsonl", NULL);
    return APR_SUCCESS;
}

/* ---- the parent's part ---- */

static void give_path(const char *path)
{
    if (is_root() && lchown(path, ap_unixd_config.user_id, ap_unixd_config.group_id) != 0
        && errno != ENOENT) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, store.s,
                     GBLOGNO(8033) "store: cannot give %s to the server's user", path);
    }
}

static apr_status_t make_folders(const char *dir, apr_pool_t *p)
{
    apr_status_t rv = apr_dir_make_recursive(
        dir, APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_UEXECUTE, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    give_path(dir);
    store.spool.uid = is_root() ? ap_unixd_config.user_id : (uid_t)-1;
    store.spool.gid = is_root() ? ap_unixd_config.group_id : (gid_t)-1;
    return gb_spool_make(&store.spool);
}

apr_status_t core_store_lasting(gb_seal_t **psecret, const char **why, apr_pool_t *p)
{
    const char *path;
    apr_status_t rv;

    if (!is_open || (core_conf_get(store.s)->secret_file && !seal)) {
        return APR_ENOTIMPL;
    }
    if (seal) {
        *psecret = apr_pmemdup(p, seal, sizeof(*seal));
        return APR_SUCCESS;
    }
    path = apr_pstrcat(p, core_conf_get(store.s)->state_dir, "/signing.secret", NULL);
    rv = gb_seal_create(path);
    if (rv == APR_SUCCESS) {
        give_path(path);
    }
    else if (!APR_STATUS_IS_EEXIST(rv)) {
        *why = apr_psprintf(p, "%s cannot be made: %s", path, strerror(rv));
        return rv;
    }
    return gb_seal_load(psecret, path, why, p);
}

/* What root makes is read-only for the server's user. */
static void give_database(apr_pool_t *p)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock", NULL};
    static const char *const others[] = {"settings.lock", "settings.snapshot", NULL};
    int i;

    for (i = 0; suffixes[i]; i++) {
        give_path(apr_pstrcat(p, store.db->params, suffixes[i], NULL));
    }
    for (i = 0; others[i]; i++) {
        give_path(apr_pstrcat(p, core_conf_get(store.s)->state_dir, "/", others[i], NULL));
    }
}

/* Saved settings are in force from the first request on. */
static void load_settings(gb_db_t *db, apr_pool_t *p)
{
    int lock = core_live_lock();
    apr_status_t rv = core_live_reload(db, p);

    core_live_unlock(lock);
    if (rv == APR_SUCCESS) {
        core_store_ready();
    }
    else if (rv != APR_ENOSPC) {
        core_store_state_set(state_of(gb_db_fault(db)),
                             apr_psprintf(p, "%s: %s", store.db->shown, gb_db_error(db)));
    }
}

static void prepare_sqlite(apr_pool_t *p)
{
    gb_db_t *db;
    mode_t mask = umask(077);

    db = core_store_connect(p);
    if (db) {
        load_settings(db, p);
        core_files_post_config(db, p);
        gb_db_close(db); /* nothing that is open may cross the fork */
    }
    umask(mask);
    give_database(p);
}

void core_store_post_config(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    const char *dir = core_conf_get(s)->state_dir, *why = NULL;
    apr_status_t rv;

    if (!store.db || !core_tenant_get(TENANT)) {
        return;
    }
    rv = make_folders(dir, ptemp);
    if (rv == APR_SUCCESS) {
        rv = gb_db_init(pconf);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_ALERT, rv, s,
            GBLOGNO(8034) "store: %s cannot be made or used: no logs are kept, no setting can "
                          "be saved",
            store.spool.dir);
        return;
    }
    is_open = 1;
    begin_epoch();
    if (seal_ready(&why, ptemp) != APR_SUCCESS) {
        core_store_state_set(CORE_STORE_SECRET, why);
    }
    else if (core_store_state(NULL) == CORE_STORE_SECRET) {
        core_store_state_set(CORE_STORE_UNKNOWN, ""); /* somebody may have mended it */
    }
    if (store.db->kind == GB_DB_SQLITE3) {
        prepare_sqlite(ptemp);
    }
}
