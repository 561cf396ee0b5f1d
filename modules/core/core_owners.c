/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files, cached contents, operations, batches and interactions exist in one
 * Google project: a call that names one goes to the key that made it, and files
 * are shown only to the token that uploaded them.
 */
#include "core_store.h"

#include "apr_strings.h"
#include "base/owners.h"

APLOG_USE_MODULE(gbalance);

#define TENANT  "owners"
#define RECORDS 16384 /* pages that nobody touched cost nothing */

/* How long Google keeps a thing, at most; what is used again stays. */
static const struct {
    const char *prefix;
    apr_interval_time_t life;
} lives[] = {
    {"files/",            apr_time_from_sec(48 * 3600)      },
    {"cachedContents/",   apr_time_from_sec(30 * 24 * 3600) },
    {"fileSearchStores/", apr_time_from_sec(365 * 24 * 3600)},
    {"tunedModels/",      apr_time_from_sec(365 * 24 * 3600)},
    {"pages/",            apr_time_from_sec(3600)           }, /* tokens of lists */
    {"",                  apr_time_from_sec(14 * 24 * 3600) },
};

void core_owners_tenants(apr_array_header_t *specs)
{
    APR_ARRAY_PUSH(specs, gb_tenant_spec_t) = gb_owners_spec(TENANT, RECORDS);
}

static int is_file(const char *name)
{
    return strncmp(name, "files/", 6) == 0;
}

static apr_interval_time_t life_of(const char *name)
{
    size_t i;

    for (i = 0; strncmp(name, lives[i].prefix, strlen(lives[i].prefix)) != 0; i++) {
    }
    return lives[i].life;
}

/* ---- asking ---- */

/* As Google itself answers for a file that is not there. */
static apr_status_t not_there(gb_error_t *err, const char *name)
{
    return gb_error_set(err, HTTP_NOT_FOUND, "file_not_found", NULL,
                        "%s does not exist, or you may not use it.", name);
}

static apr_status_t several(gb_error_t *err, const char *a, const char *b)
{
    return gb_error_set(err, HTTP_BAD_REQUEST, "invalid_value", NULL,
                        "%s and %s were made with different keys, which cannot use each other's. "
                        "Upload one of them again together with the other.",
                        a, b);
}

/* Whether it may be shown to that caller. */
static int is_shown(const gb_owner_t *owner, const gb_caller_t *caller,
                    const gb_settings_t *settings)
{
    return !settings->files_user_isolation_enabled
           || owner->caller == core_caller_hash(caller->name);
}

apr_status_t core_owners_bind(gb_plan_t *plan, const gb_caller_t *caller,
                              const gb_settings_t *settings, gb_error_t *err)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    const char *first = NULL;
    gb_owner_t owner;
    int i;

    for (i = 0; tenant && plan->names && i < plan->names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(plan->names, i, const char *);
        apr_status_t rv = gb_owners_get(&owner, tenant, caller->pool, name, apr_time_now());

        if (rv != APR_SUCCESS) {
            continue; /* not made through us, or forgotten: Google knows */
        }
        if (is_file(name) && !is_shown(&owner, caller, settings)) {
            return not_there(err, name);
        }
        if (first && strcmp(plan->required_id, owner.key_id) != 0) {
            return several(err, first, name);
        }
        first = name;
        apr_cpystrn(plan->required_id, owner.key_id, sizeof(plan->required_id));
    }
    return APR_SUCCESS;
}

/* ---- learning ---- */

/* Google says when a file goes. */
static apr_time_t end_of(const core_made_t *made, apr_time_t now)
{
    apr_time_t ends = now + life_of(made->name), said;
    char text[40];
    gb_span_t value;

    if (!made->json) {
        return ends;
    }
    value = gb_json_get(gb_json_root(made->json, strlen(made->json)), "expirationTime");
    if (gb_json_kind(value) != GB_JSON_STRING || value.len >= sizeof(text)) {
        return ends;
    }
    apr_cpystrn(text, value.p + 1, value.len - 1);
    said = gb_db_time_parse(text, 0);
    return said > now ? said : ends;
}

static int fits(const core_made_t *made)
{
    return strlen(made->name) < GB_OWNERS_NAME && strlen(made->pool) < GB_OWNERS_POOL;
}

static void fill(gb_owner_t *owner, const core_made_t *made, apr_time_t began, apr_time_t ends)
{
    memset(owner, 0, sizeof(*owner));
    apr_cpystrn(owner->name, made->name, sizeof(owner->name));
    apr_cpystrn(owner->pool, made->pool, sizeof(owner->pool));
    apr_cpystrn(owner->key_id, made->key_id, sizeof(owner->key_id));
    if (made->json && strlen(made->json) < sizeof(owner->json)) {
        apr_cpystrn(owner->json, made->json, sizeof(owner->json));
    }
    owner->caller = made->caller ? core_caller_hash(made->caller) : 0;
    owner->made = began;
    owner->ends = ends;
}

/* Whether it is worth a write: what is used again stays a little longer each time. */
static int lasts_longer(const gb_owner_t *owner, const gb_owner_t *before)
{
    apr_interval_time_t more = owner->ends - before->ends;

    return is_file(owner->name) ? more != 0 : more > life_of(owner->name) / 8;
}

static size_t members_of(const char *json)
{
    return gb_json_count(json ? gb_json_root(json, strlen(json)) : (gb_span_t){NULL, 0});
}

/* A field mask, or the operation that made a file, tells less of it than what is known. */
static int tells_less(const core_made_t *made, const gb_owner_t *before)
{
    return is_file(made->name) && members_of(made->json) < members_of(before->json);
}

/* What Google has not described to us is remembered while httpd runs: its end is a guess. */
static int is_kept(const core_made_t *made)
{
    return is_file(made->name) ? made->json != NULL : strncmp(made->name, "pages/", 6) != 0;
}

void core_owners_note(const core_made_t *made)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_time_t now = apr_time_now();
    gb_owner_t owner, before;
    int known, news;

    if (!tenant || !fits(made)) {
        return;
    }
    fill(&owner, made, now, end_of(made, now));
    known = gb_owners_get(&before, tenant, owner.pool, owner.name, now) == APR_SUCCESS;
    if (known && tells_less(made, &before)) {
        return;
    }
    news = !known || strcmp(before.json, owner.json) != 0 || lasts_longer(&owner, &before);
    gb_owners_put(tenant, &owner, now);
    if (news && is_kept(made)) {
        core_files_put(made, owner.made, owner.ends);
    }
}

void core_owners_remember(const core_made_t *made, apr_time_t began, apr_time_t ends)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_time_t now = apr_time_now();
    gb_owner_t owner;

    if (tenant && fits(made) && ends > now
        && gb_owners_get(&owner, tenant, made->pool, made->name, now) != APR_SUCCESS) {
        fill(&owner, made, began, ends);
        gb_owners_put(tenant, &owner, now);
    }
}

void core_owners_forget(const char *pool, const char *name)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);

    if (tenant) {
        gb_owners_drop(tenant, pool, name);
    }
}

static void learn_gone(const char *pool, const char *name)
{
    core_owners_forget(pool, name);
    core_files_gone(pool, name);
}

static void learn_made(const gb_exchange_t *x, const gb_attempt_t *attempt)
{
    const char *list = attempt->facts->made_list;
    apr_pool_t *p = gb_exchange_own_pool(x);
    gb_json_iter_t it;
    core_made_t made;

    made.pool = gb_exchange_conf(x)->pool_name;
    made.key_id = attempt->key_id;
    made.caller = gb_exchange_conf(x)->caller_name;
    if (attempt->facts->made) {
        made.name = attempt->facts->made;
        made.json = attempt->facts->made_json;
        core_owners_note(&made);
    }
    for (gb_json_iter(&it, list ? gb_json_root(list, strlen(list)) : (gb_span_t){NULL, 0});
         gb_json_next(&it);) {
        made.name = gb_json_str(gb_json_get(it.value, "name"), NULL, p);
        made.json = gb_json_count(it.value) > 1 ? apr_pstrmemdup(p, it.value.p, it.value.len)
                                                : NULL;
        if (made.name) {
            core_owners_note(&made);
        }
    }
}

static int deletes(const gb_plan_t *plan)
{
    return strcmp(plan->method, "DELETE") == 0 && plan->names;
}

static void learn_failed(const gb_exchange_t *x, const gb_attempt_t *attempt)
{
    const gb_plan_t *plan = gb_exchange_plan(x);

    if (deletes(plan) && plan->required_id[0]
        && (attempt->verdict->cls == GB_CLASS_AFFINITY || attempt->status == HTTP_NOT_FOUND)) {
        learn_gone(gb_exchange_conf(x)->pool_name, APR_ARRAY_IDX(plan->names, 0, const char *));
    }
    else if (plan->stream && attempt->facts->made) {
        learn_made(x, attempt); /* Google goes on with what a stream that broke off was about */
    }
}

void core_owners_learn(const gb_exchange_t *x, const gb_attempt_t *attempt)
{
    const gb_plan_t *plan = gb_exchange_plan(x);

    if (attempt->verdict->cls != GB_CLASS_SUCCESS) {
        learn_failed(x, attempt);
        return;
    }
    if (plan->upload) {
        apr_cpystrn(((gb_plan_t *)plan)->required_id, attempt->key_id, sizeof(plan->required_id));
    }
    if (deletes(plan)) {
        learn_gone(gb_exchange_conf(x)->pool_name, APR_ARRAY_IDX(plan->names, 0, const char *));
    }
    else {
        learn_made(x, attempt);
    }
}

/* ---- the list of files ---- */

#define PAGE_DEFAULT 10
#define PAGE_MAX     100

static apr_int64_t argument(const char *args, const char *name, apr_int64_t otherwise)
{
    size_t len = strlen(name);

    for (; args && *args; args = strchr(args, '&') ? strchr(args, '&') + 1 : NULL) {
        if (strncmp(args, name, len) == 0 && args[len] == '=') {
            return apr_atoi64(args + len + 1);
        }
    }
    return otherwise;
}

static void put_file(gb_buf_t *out, const gb_owner_t *owner)
{
    if (owner->json[0]) {
        gb_buf_puts(out, owner->json);
        return;
    }
    gb_buf_puts(out, "{\"name\":");
    gb_json_put_cstr(out, owner->name);
    gb_buf_putc(out, '}');
}

/*
 * The files of all keys, as they were when somebody looked last: no single key
 * could list them.  A page token is a place in the table.
 */
void core_owners_list(gb_buf_t *out, const char *args, const gb_caller_t *caller,
                      const gb_settings_t *settings)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_int64_t size = argument(args, "pageSize", PAGE_DEFAULT), n = 0;
    apr_uint32_t at = (apr_uint32_t)argument(args, "pageToken", 0), before = at;
    gb_owner_t owner;

    size = size < 1 ? PAGE_DEFAULT : size > PAGE_MAX ? PAGE_MAX : size;
    gb_buf_putc(out, '{');
    while (tenant
           && gb_owners_next(&owner, tenant, &at, caller->pool, "files/", apr_time_now())
                  == APR_SUCCESS) {
        if (!is_shown(&owner, caller, settings)) {
            continue;
        }
        if (n == size) {
            gb_buf_printf(out, "],\"nextPageToken\":\"%u\"}\n", (unsigned)before);
            return;
        }
        gb_buf_puts(out, n++ ? ",\n" : "\"files\":[\n");
        put_file(out, &owner);
        before = at;
    }
    gb_buf_puts(out, n ? "]}\n" : "}\n");
}
