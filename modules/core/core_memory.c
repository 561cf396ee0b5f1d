/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server remembers between calls, for dialects: thought signatures by
 * call id and fields that a model refused, shared by all children through the
 * segment; and Google's list of models, which each child holds for itself.
 */
#include "core_live.h"

#include "apr_strings.h"
#include "base/recall.h"
#include "base/timeutil.h"
#include "proto/gemini.h"
#include "proto/openai.h"

APLOG_USE_MODULE(gbalance);

#define TENANT        "recall"
#define RECALL_SIZE   (32 * 1024 * 1024) /* pages that nobody touched cost nothing */
#define SIGNATURE_TTL apr_time_from_sec(6 * 3600)
#define REFUSED_TTL   apr_time_from_sec(3600)
#define MODELS_TTL    apr_time_from_sec(600)
#define MODELS_RETRY  apr_time_from_sec(30)

void core_memory_tenants(apr_array_header_t *specs)
{
    APR_ARRAY_PUSH(specs, gb_tenant_spec_t) = gb_recall_spec(TENANT, RECALL_SIZE);
}

/* ---- signatures ---- */

static const char *signature_get(void *ctx, const char *call_id, apr_pool_t *p)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    size_t len;

    (void)ctx;
    return tenant ? gb_recall_get(tenant, apr_pstrcat(p, "signature/", call_id, NULL), &len, p)
                  : NULL;
}

static void signature_put(void *ctx, const char *call_id, const char *signature, size_t len)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    char key[256];

    (void)ctx;
    if (tenant && strlen(call_id) < sizeof(key) - 16) {
        apr_snprintf(key, sizeof(key), "signature/%s", call_id);
        gb_recall_put(tenant, key, signature, len, SIGNATURE_TTL);
    }
}

/* ---- fields that a model refused ---- */

/* Another upstream may serve the same name in its own way. */
static const char *refused_key(const gb_plan_t *plan, const gb_settings_t *settings)
{
    return apr_pstrcat(plan->pool, "refused/", settings->base_url, "/", plan->model_used, NULL);
}

static int list_has(const char *list, const char *field)
{
    size_t len = strlen(field), n;

    for (; list; list = list[n] ? list + n + 1 : NULL) {
        n = strcspn(list, ",");
        if (n == len && strncmp(list, field, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The engine's thread: the model answered 400 because of that field. */
void core_memory_refused(const gb_plan_t *plan, const gb_settings_t *settings, const char *field)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    const char *known, *key;
    size_t len;

    if (!tenant || !plan->model_used[0]) {
        return;
    }
    key = refused_key(plan, settings);
    known = gb_recall_get(tenant, key, &len, plan->pool);
    if (list_has(known, field)) {
        return;
    }
    known = known ? apr_pstrcat(plan->pool, known, ",", field, NULL) : field;
    gb_recall_put(tenant, key, known, strlen(known), REFUSED_TTL);
}

/* A new call does without what its model has refused within the hour. */
void core_memory_apply(gb_plan_t *plan, const gb_settings_t *settings)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    const char *list;
    char *field, *last;
    size_t len;

    if (!tenant || !plan->dialect->drop_field || !plan->model_used[0]) {
        return;
    }
    list = gb_recall_get(tenant, refused_key(plan, settings), &len, plan->pool);
    for (field = list ? apr_strtok((char *)list, ",", &last) : NULL; field;
         field = apr_strtok(NULL, ",", &last)) {
        plan->dialect->drop_field(plan, field);
    }
}

/* ---- the list of models ---- */

#define PAGES_MAX 50

/* One list, as it was read; replaced as a whole. */
typedef struct models_t {
    apr_pool_t *pool;
    apr_array_header_t *pages; /* of gb_span_t: Google's answers, checked */
    apr_hash_t *limits;        /* name -> apr_int64_t */
} models_t;

/* Per pool of keys and child. */
typedef struct memory_t {
    gb_memory_t face;
    const char *pool_name;
    apr_thread_mutex_t *lock; /* guards all below */
    models_t *models;         /* NULL: not known yet */
    models_t *reading;        /* the pages that came so far; the engine's alone */
    apr_time_t asked, read;   /* monotonic */
    int asking;
} memory_t;

/* Set in child_init. */
static memory_t *memories;
static int n_memories;

static void models_add(models_t *models, gb_span_t item)
{
    const char *name = gb_json_str(gb_json_get(item, "name"), NULL, models->pool);
    apr_int64_t *limit = apr_pcalloc(models->pool, sizeof(*limit));

    if (name) {
        gb_json_int(gb_json_get(item, "outputTokenLimit"), limit);
        apr_hash_set(models->limits, strncmp(name, "models/", 7) == 0 ? name + 7 : name,
                     APR_HASH_KEY_STRING, limit);
    }
}

static models_t *models_make(void)
{
    apr_pool_t *pool;
    models_t *models;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return NULL;
    }
    apr_pool_tag(pool, "gbalance_models");
    models = apr_pcalloc(pool, sizeof(*models));
    models->pool = pool;
    models->pages = apr_array_make(pool, 1, sizeof(gb_span_t));
    models->limits = apr_hash_make(pool);
    return models;
}

/* Adds one page.  *next is the token of the page that follows, NULL after the last. */
static apr_status_t models_add_page(models_t *models, const char *body, apr_size_t len,
                                    const char **next)
{
    gb_json_fault_t fault;
    gb_json_iter_t it;
    gb_span_t page, token;

    if (gb_json_check(body, len, &fault) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    page = gb_json_root(apr_pstrmemdup(models->pool, body, len), len);
    APR_ARRAY_PUSH(models->pages, gb_span_t) = page;
    for (gb_json_iter(&it, gb_json_get(page, "models")); gb_json_next(&it);) {
        models_add(models, it.value);
    }
    token = gb_json_get(page, "nextPageToken");
    *next = gb_json_str(token, NULL, models->pool);
    if (*next && (!**next || models->pages->nelts >= PAGES_MAX)) {
        *next = NULL;
    }
    return APR_SUCCESS;
}

/* What was being read takes the place of what was known; nothing does when it failed. */
static void models_settle(memory_t *memory, int complete)
{
    models_t *old = memory->reading;

    apr_thread_mutex_lock(memory->lock);
    memory->asking = 0;
    if (complete) {
        old = memory->models;
        memory->models = memory->reading;
        memory->read = gb_mono_now();
    }
    apr_thread_mutex_unlock(memory->lock);
    memory->reading = NULL;
    if (old) {
        apr_pool_destroy(old->pool);
    }
}

static void models_ask(memory_t *memory, const char *page_token);

/* The engine's thread. */
static void models_came(void *baton, int status, const char *body, apr_size_t len)
{
    memory_t *memory = baton;
    const char *next = NULL;

    if (!memory->reading) {
        memory->reading = models_make();
    }
    if (status != 200 || !memory->reading
        || models_add_page(memory->reading, body, len, &next) != APR_SUCCESS) {
        models_settle(memory, 0);
    }
    else if (next) {
        models_ask(memory, next);
    }
    else {
        models_settle(memory, 1);
    }
}

/* One asker at a time: whoever set `asking`, afterwards the engine's thread. */
static void models_ask(memory_t *memory, const char *page_token)
{
    apr_pool_t *pool = gb_exchange_pool(core_engine());
    core_inner_t call;
    gb_request_t request;

    memset(&call, 0, sizeof(call));
    memset(&request, 0, sizeof(request));
    request.method = "GET";
    request.path = "/models";
    request.args = page_token ? apr_pstrcat(pool, "pageSize=1000&pageToken=",
                                            ap_escape_urlencoded(pool, page_token), NULL)
                              : "pageSize=1000";
    request.body = "";
    call.purpose = "models";
    call.pool_name = memory->pool_name;
    call.settings = core_live_pool(memory->pool_name, pool);
    call.host = core_host();
    call.dialect = &gb_gemini_dialect;
    call.request = &request;
    call.done = models_came;
    call.baton = memory;
    if (core_inner_start(&call, pool) != APR_SUCCESS) {
        models_settle(memory, 0);
    }
}

/* With the lock held: whether somebody must ask Google for the list now. */
static int models_due_locked(memory_t *memory)
{
    apr_time_t now = gb_mono_now();

    if (memory->asking || (memory->asked && now - memory->asked < MODELS_RETRY)
        || (memory->models && now - memory->read < MODELS_TTL)) {
        return 0;
    }
    memory->asking = 1;
    memory->asked = now;
    return 1;
}

/* 1 and the output limit, 0, or -1 while no list is known. */
static int models_look(memory_t *memory, const char *name, apr_int64_t *limit)
{
    const apr_int64_t *found = NULL;
    int due, known;

    apr_thread_mutex_lock(memory->lock);
    due = models_due_locked(memory);
    known = memory->models != NULL;
    if (known) {
        found = apr_hash_get(memory->models->limits, name, APR_HASH_KEY_STRING);
        *limit = found ? *found : 0;
    }
    apr_thread_mutex_unlock(memory->lock);
    if (due) {
        models_ask(memory, NULL);
    }
    return known ? found != NULL : -1;
}

static int model_is_real(void *ctx, const char *name)
{
    apr_int64_t limit;

    return models_look(ctx, name, &limit);
}

static apr_int64_t model_output_limit(void *ctx, const char *name)
{
    apr_int64_t limit = 0;

    return models_look(ctx, name, &limit) == 1 ? limit : 0;
}

/*
 * Google's list as it came, page by page (of gb_span_t, from p); NULL when it is
 * not known or older than ten minutes.  Asks for it then.
 */
const apr_array_header_t *core_memory_models(const gb_memory_t *face, apr_pool_t *p)
{
    memory_t *memory = face->ctx;
    apr_array_header_t *pages = NULL;
    int i, due;

    apr_thread_mutex_lock(memory->lock);
    due = models_due_locked(memory);
    if (memory->models && gb_mono_now() - memory->read < MODELS_TTL) {
        pages = apr_array_make(p, memory->models->pages->nelts, sizeof(gb_span_t));
        for (i = 0; i < memory->models->pages->nelts; i++) {
            gb_span_t page = APR_ARRAY_IDX(memory->models->pages, i, gb_span_t);

            page.p = apr_pmemdup(p, page.p, page.len);
            APR_ARRAY_PUSH(pages, gb_span_t) = page;
        }
    }
    apr_thread_mutex_unlock(memory->lock);
    if (due) {
        models_ask(memory, NULL);
    }
    return pages;
}

/* ---- per child ---- */

void core_memory_child_init(apr_pool_t *p)
{
    int i;
    const gb_pool_conf_t *pools = core_pools(&n_memories);

    memories = apr_pcalloc(p, sizeof(*memories) * (apr_size_t)(n_memories + 1));
    for (i = 0; i < n_memories; i++) {
        memory_t *memory = &memories[i];

        memory->pool_name = pools[i].name;
        memory->face.ctx = memory;
        memory->face.signature_get = signature_get;
        memory->face.signature_put = signature_put;
        memory->face.model_is_real = model_is_real;
        memory->face.model_output_limit = model_output_limit;
        if (apr_thread_mutex_create(&memory->lock, APR_THREAD_MUTEX_DEFAULT, p) != APR_SUCCESS) {
            n_memories = i;
            return;
        }
    }
}

const gb_memory_t *core_memory_get(const char *pool_name)
{
    int i;

    for (i = 0; i < n_memories; i++) {
        if (strcmp(memories[i].pool_name, pool_name) == 0) {
            return &memories[i].face;
        }
    }
    return NULL;
}
