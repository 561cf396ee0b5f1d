/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot of saved values, and the views that children make of it.
 *
 *   +------------+----------+----------+
 *   | generation | buffer 0 | buffer 1 |      texts: scope, name, key, value, each with its NUL
 *   +------------+----------+----------+
 *
 * Who publishes writes the buffer that nobody reads and then says so; a reader
 * that finds another generation behind its copy than before it reads again.
 */
#include "core_live.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "apr_allocator.h"
#include "apr_base64.h"
#include "apr_strings.h"

#include "core_store.h"
#include "mod_gbalance_keys.h"

APLOG_USE_MODULE(gbalance);

#define TENANT       "live"
#define BUFFER_SIZE  (1024 * 1024)
#define LOCK_SECONDS 5

typedef struct block_t {
    _Atomic apr_uint64_t generation; /* 0: nothing was saved */
    apr_int64_t version;             /* the database's */
    apr_uint32_t active;             /* the buffer that is read */
    apr_uint32_t len[2];
    apr_uint32_t unused;
    char buffers[2][BUFFER_SIZE];
} block_t;

/* No database has that version: the first look reads it. */
static void init(void *block, apr_size_t size)
{
    (void)size;
    ((block_t *)block)->version = -1;
}

/* Who died while publishing may have said so or not: all look again. */
static void repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    (void)size;
    (void)slot;
    atomic_fetch_add(&((block_t *)block)->generation, 1);
}

void core_live_tenants(apr_array_header_t *specs)
{
    gb_tenant_spec_t *spec = apr_array_push(specs);

    memset(spec, 0, sizeof(*spec));
    spec->name = TENANT;
    spec->version = 1;
    spec->size = sizeof(block_t);
    spec->init = init;
    spec->repair = repair;
}

/* ---- the snapshot ---- */

static apr_uint64_t generation(void)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);

    return tenant ? atomic_load(&((block_t *)tenant->block)->generation) : 0;
}

/* A copy of the texts, from malloc; their generation in *gen. */
static char *snapshot_copy(gb_tenant_t *tenant, apr_size_t *len, apr_uint64_t *gen)
{
    block_t *block = tenant->block;
    char *copy = NULL;
    apr_uint32_t active;
    apr_uint64_t behind;

    do {
        gb_segment_lock(tenant->segment);
        *gen = atomic_load(&block->generation);
        active = block->active;
        *len = block->len[active];
        gb_segment_unlock(tenant->segment);
        copy = realloc(copy, *len + 1);
        if (!copy) {
            abort();
        }
        memcpy(copy, block->buffers[active], *len);
        behind = atomic_load(&block->generation);
    } while (behind != *gen);
    return copy;
}

/* Under core_live_lock. */
static apr_status_t snapshot_publish(const char *bytes, apr_size_t len, apr_int64_t version)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    block_t *block = tenant ? tenant->block : NULL;
    apr_uint32_t other;

    if (!block) {
        return APR_ENOTIMPL;
    }
    if (len > BUFFER_SIZE) {
        return APR_ENOSPC;
    }
    other = 1 - block->active;
    memcpy(block->buffers[other], bytes, len);
    gb_segment_lock(tenant->segment);
    gb_segment_dirty_locked(tenant, 0);
    block->len[other] = (apr_uint32_t)len;
    block->active = other;
    block->version = version;
    atomic_fetch_add(&block->generation, 1);
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(tenant->segment);
    return APR_SUCCESS;
}

/* The next look reads the database. */
static void version_forget(gb_tenant_t *tenant)
{
    gb_segment_lock(tenant->segment);
    ((block_t *)tenant->block)->version = -1;
    gb_segment_unlock(tenant->segment);
}

/* Whether the snapshot already says that. */
static int snapshot_is(const char *bytes, apr_size_t len)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    const block_t *block = tenant ? tenant->block : NULL;

    return block && block->len[block->active] == len
           && memcmp(block->buffers[block->active], bytes, len) == 0;
}

/* ---- views ---- */

typedef struct core_live_t {
    apr_pool_t *pool;
    atomic_int refs;
    apr_uint64_t generation;
    apr_hash_t *views; /* server_rec * -> core_view_t * */
} core_live_t;

/* Of this process. */
static struct {
    pthread_mutex_t lock;
    core_live_t *current;
    server_rec *main;
    int is_child;
} v = {PTHREAD_MUTEX_INITIALIZER, NULL, NULL, 0};

static void live_release(core_live_t *live)
{
    if (atomic_fetch_sub(&live->refs, 1) == 1) {
        apr_pool_destroy(live->pool);
    }
}

static apr_status_t live_cleanup(void *data)
{
    live_release(data);
    return APR_SUCCESS;
}

/* The next text of a snapshot; NULL at its end. */
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at;

    if (text >= end) {
        return NULL;
    }
    *at = text + strlen(text) + 1;
    return text;
}

static int next_saved(gb_saved_t *saved, const char **at, const char *end)
{
    saved->scope = next_text(at, end);
    saved->name = next_text(at, end);
    saved->key = next_text(at, end);
    saved->value = next_text(at, end);
    return saved->value != NULL;
}

const char *core_pool_name(const core_conf_t *conf)
{
    return conf->pool_name ? conf->pool_name : "default";
}

/* DESIGN section 3: a pool's saved value wins over every directive; a VirtualHost's own directive
 * wins over what was saved for it. */
static int applies(const gb_saved_t *saved, const gb_setting_t *row, const core_conf_t *conf)
{
    if (row->scope == GB_SCOPE_POOL) {
        return strcmp(saved->scope, GB_SAVED_POOL) == 0
               && strcmp(saved->name, core_pool_name(conf)) == 0;
    }
    return row->scope == GB_SCOPE_VHOST && strcmp(saved->scope, GB_SAVED_VHOST) == 0
           && strcmp(saved->name, conf->vhost) == 0
           && !apr_hash_get(conf->values, row->name, APR_HASH_KEY_STRING);
}

/* What a server's settings are with these saved values; the configuration's own when none applies. */
static const gb_settings_t *settings_with(const core_conf_t *conf, const char *texts,
                                          apr_size_t len, unsigned char *marks, apr_uint64_t gen,
                                          apr_pool_t *p)
{
    gb_settings_t *settings = NULL;
    const char *at = texts, *end = texts + len, *why;
    gb_saved_t saved;
    int n;

    while (next_saved(&saved, &at, end)) {
        const gb_setting_t *row = gb_settings_find(saved.key);

        if (row && applies(&saved, row, conf)) {
            settings = settings ? settings : gb_settings_copy(conf->settings, p);
            gb_settings_set(settings, row, saved.value, &why, p);
            marks[row - gb_settings_rows(&n)] = 1;
        }
    }
    if (settings) {
        settings->generation = gen;
    }
    return settings ? settings : conf->settings;
}

static void add_view(core_live_t *live, server_rec *s, const char *texts, apr_size_t len)
{
    const core_conf_t *conf = core_conf_get(s);
    unsigned char *marks;
    core_view_t *view;
    server_rec **key;
    int n;

    if (conf->on != 1 || !conf->settings) {
        return;
    }
    gb_settings_rows(&n);
    marks = apr_pcalloc(live->pool, (apr_size_t)n);
    view = apr_palloc(live->pool, sizeof(*view));
    view->settings = settings_with(conf, texts, len, marks, live->generation, live->pool);
    view->saved = marks;
    view->tokens = core_tokens_make(view->settings, live->pool);
    view->live = live;
    key = apr_palloc(live->pool, sizeof(*key));
    *key = s;
    apr_hash_set(live->views, key, sizeof(*key), view);
    core_log_limit(s, view->settings->log_level);
    if (s != v.main && core_conf_get(v.main)->on != 1
        && strcmp(core_pool_name(conf), "default") == 0) {
        core_log_limit(v.main,
                       view->settings->log_level); /* what is of no server is logged there */
    }
}

static core_live_t *live_make(gb_tenant_t *tenant)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;
    core_live_t *live;
    apr_size_t len;
    server_rec *s;
    char *texts;

    if (apr_allocator_create(&allocator) != APR_SUCCESS
        || apr_pool_create_unmanaged_ex(&pool, NULL, allocator) != APR_SUCCESS) {
        abort();
    }
    apr_allocator_owner_set(allocator, pool);
    apr_pool_tag(pool, "gbalance_live");
    live = apr_pcalloc(pool, sizeof(*live));
    live->pool = pool;
    atomic_init(&live->refs, 1);
    live->views = apr_hash_make(pool);
    texts = snapshot_copy(tenant, &len, &live->generation);
    for (s = v.main; s; s = s->next) {
        add_view(live, s, texts, len);
    }
    free(texts);
    return live;
}

/* With a reference for the caller; NULL while nothing was ever saved. */
static core_live_t *live_get(void)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    core_live_t *live, *old = NULL;
    apr_uint64_t gen = generation();

    if (!tenant || !gen || !v.main) {
        return NULL;
    }
    pthread_mutex_lock(&v.lock);
    if (!v.current || v.current->generation != gen) {
        old = v.current;
        v.current = live_make(tenant);
    }
    live = v.current;
    atomic_fetch_add(&live->refs, 1);
    pthread_mutex_unlock(&v.lock);
    if (old) {
        live_release(old);
    }
    return live;
}

static const core_view_t *static_view(const core_conf_t *conf, apr_pool_t *p)
{
    core_view_t *view = apr_palloc(p, sizeof(*view));

    view->settings = conf->settings;
    view->tokens = conf->tokens;
    view->saved = NULL;
    view->live = NULL;
    return view;
}

static const core_view_t *view_make(const server_rec *s, apr_pool_t *p)
{
    core_live_t *live = live_get();
    const core_view_t *view = live ? apr_hash_get(live->views, &s, sizeof(s)) : NULL;

    if (live && view) {
        apr_pool_cleanup_register(p, live, live_cleanup, apr_pool_cleanup_null);
        return view;
    }
    if (live) {
        live_release(live);
    }
    return static_view(core_conf_get(s), p);
}

const core_view_t *core_view(request_rec *r)
{
    core_request_t *req = ap_get_module_config(r->request_config, &gbalance_module);

    if (!req) {
        return view_make(r->server, r->pool);
    }
    if (!req->view) {
        req->view = view_make(r->server, r->pool);
    }
    return req->view;
}

const core_view_t *core_view_now(request_rec *r)
{
    return view_make(r->server, r->pool);
}

void core_view_keep(const core_view_t *view, apr_pool_t *p)
{
    if (view->live) {
        atomic_fetch_add(&view->live->refs, 1);
        apr_pool_cleanup_register(p, view->live, live_cleanup, apr_pool_cleanup_null);
    }
}

const gb_settings_t *core_live_pool(const char *pool_name, apr_pool_t *p)
{
    int n, i;
    const gb_pool_conf_t *pools = core_pools(&n);

    for (i = 0; i < n; i++) {
        if (strcmp(pools[i].name, pool_name) == 0) {
            const gb_settings_t *settings = view_make(pools[i].s, p)->settings;

            return strcmp(pool_name, core_pool_name(core_conf_get(pools[i].s))) == 0
                       ? settings
                       : core_vertex_settings(settings, p);
        }
    }
    return NULL;
}

/* ---- where a value comes from ---- */

core_origin_t core_origin(request_rec *r, const gb_setting_t *row)
{
    const core_conf_t *conf = core_conf_get(r->server);
    core_origin_t origin = core_conf_origin(conf, row);
    const unsigned char *saved = core_view(r)->saved;
    int n;

    if (saved && saved[row - gb_settings_rows(&n)]) {
        origin.source = GB_FROM_SAVED;
        origin.where = "";
    }
    origin.is_fixed = row->scope == GB_SCOPE_SERVER
                      || (row->scope == GB_SCOPE_VHOST
                          && apr_hash_get(conf->values, row->name, APR_HASH_KEY_STRING));
    return origin;
}

/* ---- one writer at a time ---- */

int core_live_lock(void)
{
    const char *dir = core_conf_get(core_store()->s)->state_dir;
    char path[1024];
    int fd, tries;

    apr_snprintf(path, sizeof(path), "%s/settings.lock", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (tries = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
        if (tries >= LOCK_SECONDS * 100) {
            close(fd);
            return -1;
        }
        apr_sleep(apr_time_from_msec(10));
    }
    return fd;
}

void core_live_unlock(int lock)
{
    if (lock >= 0) {
        close(lock);
    }
}

/* ---- from the database to all children ---- */

gb_saved_ctx_t core_saved_ctx(gb_db_t *db)
{
    gb_saved_ctx_t ctx = {db, core_store_seal()};

    return ctx;
}

/* The first VirtualHost that uses the pool default: it takes over what a gemini-balance had. */
static const char *first_vhost(void)
{
    server_rec *s;

    for (s = core_store()->s; s; s = s->next) {
        const core_conf_t *conf = core_conf_get(s);

        if (conf->on == 1 && strcmp(core_pool_name(conf), "default") == 0) {
            return conf->vhost;
        }
    }
    return NULL;
}

/* A value that this build does not take (an imported one, or a hand-written one) is left out. */
static int is_good(const gb_saved_t *saved, gb_settings_t *scratch, apr_pool_t *p)
{
    const gb_setting_t *row = gb_settings_find(saved->key);
    const char *why = NULL;

    if (!row || gb_settings_set(scratch, row, saved->value, &why, p) == APR_SUCCESS) {
        return row != NULL;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, core_store()->s,
                 GBLOGNO(8050) "settings: the saved value for %s %s is ignored: %s", saved->scope,
                 saved->name, why);
    return 0;
}

static void serialize(gb_buf_t *out, const apr_array_header_t *list, apr_pool_t *p)
{
    gb_settings_t *scratch = gb_settings_make(p);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const gb_saved_t *saved = &APR_ARRAY_IDX(list, i, gb_saved_t);

        if (is_good(saved, scratch, p)) {
            gb_buf_append(out, saved->scope, strlen(saved->scope) + 1);
            gb_buf_append(out, saved->name, strlen(saved->name) + 1);
            gb_buf_append(out, saved->key, strlen(saved->key) + 1);
            gb_buf_append(out, saved->value, strlen(saved->value) + 1);
        }
    }
}

/* ---- the copy in the state directory, for a start without the database ---- */

static const gb_seal_place_t file_place = {"file", "settings", "snapshot"};

static const char *file_path(apr_pool_t *p)
{
    return apr_pstrcat(p, core_conf_get(core_store()->s)->state_dir, "/settings.snapshot", NULL);
}

/* NUL stands between texts; in the file it is "\n" after base64 by apr, sealed when there is a seal. */
static void file_write(const gb_buf_t *bytes, apr_pool_t *p)
{
    const char *path = file_path(p), *fresh = apr_pstrcat(p, path, ".new", NULL), *text;
    char *base64 = apr_palloc(p, (apr_size_t)apr_base64_encode_len((int)bytes->len) + 1);
    apr_file_t *file;
    apr_status_t rv;

    apr_base64_encode_binary(base64, (const unsigned char *)(bytes->data ? bytes->data : ""),
                             (int)bytes->len);
    text = core_store_seal() ? gb_seal(core_store_seal(), &file_place, base64, p) : base64;
    rv = apr_file_open(&file, fresh, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_TRUNCATE,
                       APR_FPROT_UREAD | APR_FPROT_UWRITE, p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_write_full(file, text, strlen(text), NULL);
        apr_file_close(file);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_rename(fresh, path, p);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, core_store()->s,
                     GBLOGNO(8051) "settings: %s cannot be written", path);
    }
}

/* What is in the file, and (sealed: with the secret of now) what it says; both NULL: it is not
 * there. */
static apr_status_t file_read(const char **content, const char **text, apr_pool_t *p)
{
    apr_file_t *file;
    apr_finfo_t info;
    apr_size_t len;
    char *bytes;
    apr_status_t rv;

    *content = *text = NULL;
    rv = apr_file_open(&file, file_path(p), APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p);
    if (rv == APR_SUCCESS) {
        rv = apr_file_info_get(&info, APR_FINFO_SIZE, file);
    }
    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_ENOENT(rv) ? APR_SUCCESS : rv;
    }
    len = (apr_size_t)info.size;
    bytes = apr_pcalloc(p, len + 1);
    rv = apr_file_read_full(file, bytes, len, &len);
    *content = bytes;
    return rv == APR_SUCCESS ? gb_unseal(text, core_store_seal(), &file_place, bytes, p) : rv;
}

/* Whether it is sealed as it is to be: the secret may be another one than when it was written. */
static int file_fits(apr_pool_t *p)
{
    const char *content, *text;

    return file_read(&content, &text, p) == APR_SUCCESS
           && (!content || gb_seal_is_sealed(content) == (core_store_seal() != NULL));
}

static void file_load(apr_pool_t *p)
{
    const char *content, *text;
    unsigned char *bytes;
    apr_size_t len;

    if (file_read(&content, &text, p) != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, core_store()->s,
            GBLOGNO(8052) "settings: %s cannot be read or unsealed: saved settings are in force "
                          "again when the database is there",
            file_path(p));
        return;
    }
    if (!text) {
        return;
    }
    bytes = apr_palloc(p, (apr_size_t)apr_base64_decode_len(text) + 1);
    len = (apr_size_t)apr_base64_decode_binary(bytes, text);
    if (len && bytes[len - 1] == '\0') {
        snapshot_publish((const char *)bytes, len, -1);
    }
}

/* ---- publishing ---- */

/* What pools have as keys, before and after. */
typedef struct keys_t {
    const char *pool;
    const gb_settings_t *before, *after;
} keys_t;

static keys_t *keys_before(int *n, apr_pool_t *p)
{
    const gb_pool_conf_t *pools = core_pools(n);
    keys_t *keys = apr_pcalloc(p, sizeof(*keys) * (apr_size_t)(*n + 1));
    int i;

    for (i = 0; i < *n; i++) {
        keys[i].pool = pools[i].name;
        keys[i].before = core_live_pool(pools[i].name, p);
    }
    return keys;
}

/* Members of a that are not among b. */
static apr_array_header_t *difference(const gb_list_t *a, const gb_list_t *b, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(const char *));
    apr_hash_t *others = apr_hash_make(p);
    int i;

    for (i = 0; i < b->n; i++) {
        apr_hash_set(others, b->items[i], APR_HASH_KEY_STRING, "");
    }
    for (i = 0; i < a->n; i++) {
        if (!apr_hash_get(others, a->items[i], APR_HASH_KEY_STRING)) {
            APR_ARRAY_PUSH(list, const char *) = a->items[i];
        }
    }
    return list;
}

/* PAID_KEY where it is none of those that are picked in turn; "" */
static const char *paid_of(const gb_settings_t *settings)
{
    return gb_list_has(&settings->api_keys, settings->paid_key) ? "" : settings->paid_key;
}

/* It is in the pool, but reserved.  Who was it goes, or becomes one of the others. */
static void paid_tell(const keys_t *keys, APR_OPTIONAL_FN_TYPE(gbalance_keys_add) * add,
                      APR_OPTIONAL_FN_TYPE(gbalance_keys_do) * change, apr_pool_t *p)
{
    const char *before = paid_of(keys->before), *after = paid_of(keys->after);
    gb_pool_edit_t edit = GB_POOL_EDIT_NONE;
    apr_array_header_t *results;
    int done;

    if (strcmp(before, after) == 0) {
        return;
    }
    if (*before) {
        edit.reserved = 0;
        change(&done, keys->pool,
               gb_list_has(&keys->after->api_keys, before) ? GB_KEYS_EDIT : GB_KEYS_DELETE, &before,
               1, &edit, p);
    }
    if (*after) {
        edit.reserved = 1;
        add(&results, keys->pool, after, strlen(after), "[^\\n]+", &edit, p);
        change(&done, keys->pool, GB_KEYS_EDIT, &after, 1, &edit, p); /* it may have been there */
    }
}

static void keys_tell(const keys_t *keys, apr_pool_t *p)
{
    APR_OPTIONAL_FN_TYPE(gbalance_keys_add) *add = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_add);
    APR_OPTIONAL_FN_TYPE(gbalance_keys_do) *undo = APR_RETRIEVE_OPTIONAL_FN(gbalance_keys_do);
    const gb_pool_edit_t none = GB_POOL_EDIT_NONE;
    apr_array_header_t *results, *list;
    const char *text;
    int done;

    if (!add || !undo) {
        return;
    }
    list = difference(&keys->after->api_keys, &keys->before->api_keys, p);
    if (list->nelts) {
        text = apr_array_pstrcat(p, list, '\n');
        add(&results, keys->pool, text, strlen(text), "[^\\n]+", &none, p);
    }
    list = difference(&keys->before->api_keys, &keys->after->api_keys, p);
    if (list->nelts) {
        undo(&done, keys->pool, GB_KEYS_DELETE, (const char *const *)list->elts, list->nelts, NULL,
             p);
    }
    paid_tell(keys, add, undo, p);
}

static apr_status_t publish_bytes(const gb_buf_t *bytes, apr_int64_t version, apr_pool_t *p)
{
    int n = 0, i;
    keys_t *keys = v.is_child ? keys_before(&n, p) : NULL;
    apr_status_t rv = snapshot_publish(bytes->data ? bytes->data : "", bytes->len, version);

    if (rv == APR_SUCCESS) {
        file_write(bytes, p);
    }
    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        keys[i].after = core_live_pool(keys[i].pool, p);
        keys_tell(&keys[i], p);
    }
    return rv;
}

static apr_status_t publish(const apr_array_header_t *list, apr_int64_t version, apr_pool_t *p)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_status_t rv = APR_SUCCESS;
    gb_buf_t bytes;

    gb_buf_init_pool(&bytes, 4 * BUFFER_SIZE, p);
    serialize(&bytes, list, p);
    if (!snapshot_is(bytes.data ? bytes.data : "", bytes.len)) {
        rv = publish_bytes(&bytes, version, p);
    }
    else if (tenant) {
        ((block_t *)tenant->block)->version = version;
        if (!file_fits(p)) {
            file_write(&bytes, p);
        }
    }
    if (rv == APR_ENOSPC) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, 0, core_store()->s,
            GBLOGNO(8053) "settings: the saved values are longer than 1 MiB together: the last "
                          "change is not in force");
    }
    return rv;
}

apr_status_t core_live_reload(gb_db_t *db, apr_pool_t *p)
{
    gb_saved_ctx_t ctx = core_saved_ctx(db);
    apr_array_header_t *list = NULL;
    apr_int64_t version;
    apr_status_t rv = gb_saved_version(db, &version, p);

    if (rv == APR_SUCCESS) {
        rv = gb_saved_load(&ctx, &list, first_vhost(), p);
    }
    return rv == APR_SUCCESS ? publish(list, version, p) : rv;
}

apr_status_t core_live_refresh(gb_db_t *db, apr_pool_t *p)
{
    static int file_seen; /* by this process; the database thread alone comes here */
    int fits;
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_int64_t version;
    apr_status_t rv = gb_saved_version(db, &version, p);
    int lock;

    if (rv != APR_SUCCESS || !tenant || !core_store_is_current()) {
        return rv;
    }
    fits = file_seen || file_fits(p);
    file_seen = 1;
    if (fits && ((block_t *)tenant->block)->version == version) {
        return rv;
    }
    lock = core_live_lock();
    if (lock < 0) {
        return APR_SUCCESS; /* somebody is at it */
    }
    rv = core_live_reload(db, p);
    core_live_unlock(lock);
    return rv;
}

/* ---- life ---- */

/* The servers of this configuration go. */
static apr_status_t forget(void *unused)
{
    (void)unused;
    if (v.current) {
        live_release(v.current);
        v.current = NULL;
    }
    v.main = NULL;
    return APR_SUCCESS;
}

/* Key modules read their keys from the pools' settings when httpd starts: with the saved ones. */
static void settle_pools(apr_pool_t *pconf)
{
    int n, i;
    const gb_pool_conf_t *pools = core_pools(&n);

    for (i = 0; generation() && i < n; i++) {
        core_pool_settle(i, gb_settings_copy(core_live_pool(pools[i].name, pconf), pconf));
    }
}

void core_live_post_config(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    if (!core_store() || !core_tenant_get(TENANT)) {
        return;
    }
    v.main = s;
    apr_pool_cleanup_register(pconf, NULL, forget, apr_pool_cleanup_null);
    if (core_store_state(NULL) != CORE_STORE_READY && !generation()) {
        file_load(ptemp);
    }
    if (core_store_state(NULL) != CORE_STORE_READY || core_store()->db->kind == GB_DB_MYSQL) {
        version_forget(core_tenant_get(TENANT)); /* it may be that of another database */
    }
    settle_pools(pconf);
}

void core_live_child_init(apr_pool_t *p, server_rec *s)
{
    v.is_child = 1;
    core_log_child_init(p, s);
}
