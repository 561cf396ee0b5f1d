/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hooks that the engine calls: pick a key, report an outcome; and the
 * question of /health.  Settings become rules, answers become what a client
 * hears.
 */
#include "keys.h"

#include "apr_strings.h"
#include "base/json.h"
#include "proto/model.h"

APLOG_USE_MODULE(gbalance_keys);

#define LIMIT_MAX 1000000000000 /* nobody counts further */
#define BUSY_WAIT apr_time_from_msec(100)
#define SDK_WAITS apr_time_from_sec(60) /* SDKs obey no longer Retry-After */

/* ---- rules ---- */

static const struct {
    const char *name;
    gb_pool_policy_t policy;
} policies[] = {
    {"round_robin", GB_POLICY_ROUND_ROBIN},
    {"least_used",  GB_POLICY_LEAST_USED },
    {"headroom",    GB_POLICY_HEADROOM   },
    {"sticky",      GB_POLICY_STICKY     },
};

static gb_pool_policy_t policy_of(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        if (strcmp(policies[i].name, name) == 0) {
            return policies[i].policy;
        }
    }
    return GB_POLICY_ROUND_ROBIN;
}

void keys_rules(gb_pool_rules_t *rules, const gb_settings_t *settings)
{
    gb_pool_rules_init(rules);
    rules->policy = policy_of(settings->key_policy);
    rules->max_failures = (int)settings->max_failures;
    rules->max_concurrent = (int)settings->max_concurrent_per_key;
    rules->cool_first = settings->cool_first;
    rules->cool_factor = settings->cool_factor;
    rules->cool_max = settings->cool_max;
    rules->breaker_failures = (int)settings->breaker_failures;
    rules->breaker_window = settings->breaker_window;
    rules->breaker_open = settings->breaker_open;
    rules->breaker_max = settings->breaker_max;
    rules->guard_window = settings->guard_window;
    if (settings->time_out > rules->trial_time) {
        rules->trial_time = settings->time_out;
    }
}

/* ---- what is wanted ---- */

/* MODEL_LIMITS was checked when it was set; a model that is not named has learnt limits. */
static void limits_of(apr_int64_t limits[GB_LIMIT_N], const gb_settings_t *settings,
                      const char *model)
{
    static const char *const names[GB_LIMIT_N] = {"rpm", "tpm", "rpd"};
    const char *text = settings->model_limits;
    gb_span_t row;
    double number;
    int i;

    if (!text || !*text || !*model) {
        return;
    }
    row = gb_json_get(gb_json_root(text, strlen(text)), model);
    if (gb_json_kind(row) != GB_JSON_OBJECT) {
        return;
    }
    for (i = 0; i < GB_LIMIT_N; i++) {
        if (gb_json_double(gb_json_get(row, names[i]), &number) && number > 0) {
            limits[i] = number < 1 ? 1 : number < LIMIT_MAX ? (apr_int64_t)number : LIMIT_MAX;
        }
    }
}

/* Google answers such calls to paying projects only. */
static int is_paid_only(const char *name)
{
    gb_model_t model;

    gb_model_parse(&model, name);
    return model.is_imagen;
}

/* The digest of the key with that id; of nothing when it has left the pool. */
static const unsigned char *required_digest(const gb_pick_t *pick,
                                            unsigned char only[GB_DIGEST_LEN])
{
    gb_pool_key_t key;
    gb_pool_clock_t clock;
    apr_uint32_t slot;

    memset(only, 0, GB_DIGEST_LEN);
    keys_now(&clock);
    keys_enter();
    slot = gb_pool_find_locked(keys_pool, pick->pool, NULL, pick->required_id);
    if (slot && gb_pool_get_locked(keys_pool, slot, &key, &clock) == APR_SUCCESS) {
        memcpy(only, key.digest, GB_DIGEST_LEN);
    }
    keys_leave();
    return only;
}

static void want_make(gb_pool_want_t *want, const gb_pick_t *pick,
                      unsigned char only[GB_DIGEST_LEN])
{
    const gb_settings_t *settings = pick->settings;

    memset(want, 0, sizeof(*want));
    want->pool = pick->pool;
    want->model = pick->model;
    want->tag = gb_map_get(&settings->model_key_tags, pick->model);
    want->affinity = pick->affinity ? pick->affinity : pick->caller;
    want->tokens = pick->tokens;
    want->n_exclude = pick->n_exclude;
    want->exclude = pick->exclude;
    want->child = keys_child;
    limits_of(want->limits, settings, pick->model);
    if (pick->required_id && pick->required_id[0]) {
        want->only = required_digest(pick, only);
    }
    else if (settings->paid_key[0] && !want->tag && (pick->paid || is_paid_only(pick->model))) {
        gb_digest(only, settings->paid_key, strlen(settings->paid_key));
        want->only = only;
    }
}

/* ---- what a client hears when there is no key ---- */

static const char *why_resting(char *out, size_t size, const gb_pool_census_t *c)
{
    apr_snprintf(out, size,
                 "%d of %d keys cool down, %d failed, %d are invalid, %d are switched off",
                 c->resting, c->total, c->failed, c->invalid, c->off);
    return out;
}

static int say_resting(gb_error_t *err, const gb_pick_t *pick, const gb_pool_census_t *c)
{
    char counts[160];

    gb_error_set(err, HTTP_TOO_MANY_REQUESTS, "rate_limit_exceeded", NULL,
                 "No key has quota left for %s now: %s. Try again in %" APR_TIME_T_FMT " s.",
                 pick->model[0] ? pick->model : "this call", why_resting(counts, sizeof(counts), c),
                 apr_time_sec(c->wait + APR_USEC_PER_SEC - 1));
    apr_cpystrn(err->type, "requests", sizeof(err->type));
    err->retry_after = c->wait > 0 ? c->wait : APR_USEC_PER_SEC;
    err->should_retry = c->wait > SDK_WAITS ? GB_RETRY_NO : GB_RETRY_UNSAID;
    return HTTP_TOO_MANY_REQUESTS;
}

static int say_too_large(gb_error_t *err, const gb_pick_t *pick)
{
    gb_error_set(err, HTTP_TOO_MANY_REQUESTS, "rate_limit_exceeded", NULL,
                 "The prompt is larger than the tokens per minute that any key has for %s: about "
                 "%" APR_INT64_T_FMT " tokens. Send less.",
                 pick->model, pick->tokens);
    apr_cpystrn(err->type, "tokens", sizeof(err->type));
    err->should_retry = GB_RETRY_NO;
    return HTTP_TOO_MANY_REQUESTS;
}

static int say_broken(gb_error_t *err, const gb_pick_t *pick, const gb_pool_census_t *c)
{
    gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "overloaded", NULL,
                 "%s fails on several projects at Google; it is asked again in %" APR_TIME_T_FMT
                 " s.",
                 pick->model, apr_time_sec(c->wait + APR_USEC_PER_SEC - 1));
    err->retry_after = c->wait;
    return HTTP_SERVICE_UNAVAILABLE;
}

static int say_unhealthy(gb_error_t *err, const gb_pick_t *pick, gb_pool_answer_t answer,
                         const gb_pool_census_t *c)
{
    char counts[160];

    switch (answer) {
    case GB_POOL_EMPTY:
    case GB_POOL_UNKNOWN:
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "The pool %s has no key: its operator sets API_KEYS (GBalanceApiKeys) or adds "
                     "keys on the page of keys.",
                     pick->pool);
        break;
    case GB_POOL_NO_TAG:
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "No healthy key of the pool %s may serve %s: see MODEL_KEY_TAGS and PAID_KEY.",
                     pick->pool, pick->model);
        break;
    case GB_POOL_TRIED:
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "Every key that could serve this call was tried.");
        break;
    default:
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "No key of the pool %s is healthy: %s.", pick->pool,
                     why_resting(counts, sizeof(counts), c));
        err->retry_after = c->wait;
    }
    return HTTP_SERVICE_UNAVAILABLE;
}

static int say_required(gb_error_t *err, const gb_pick_t *pick)
{
    gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                 "What this call refers to belongs to the key %s, which is not healthy now or has "
                 "left the pool; no other key can use it.",
                 pick->required_id);
    return HTTP_SERVICE_UNAVAILABLE;
}

static int say(gb_error_t *err, const gb_pick_t *pick, gb_pool_answer_t answer,
               const gb_pool_census_t *c, apr_interval_time_t *wait)
{
    switch (answer) {
    case GB_POOL_BUSY:
        *wait = BUSY_WAIT;
        return GB_PICK_WAIT;
    case GB_POOL_RESTING:
        return say_resting(err, pick, c);
    case GB_POOL_TOO_LARGE:
        return say_too_large(err, pick);
    case GB_POOL_BROKEN:
        return say_broken(err, pick, c);
    case GB_POOL_OK:
    case GB_POOL_TRIED:
    case GB_POOL_NO_TAG:
    case GB_POOL_DEAD:
    case GB_POOL_EMPTY:
    case GB_POOL_UNKNOWN:
        break;
    }
    return say_unhealthy(err, pick, answer, c);
}

/* ---- pick ---- */

static void key_out(gb_key_t *key, const gb_pool_got_t *got)
{
    key->slot = got->slot;
    key->generation = got->generation;
    key->project = got->project;
    key->hold = got->hold;
    key->half_open = got->half_open;
    apr_cpystrn(key->id, got->id, sizeof(key->id));
    memcpy(key->secret, got->secret, sizeof(key->secret));
}

_Static_assert(GB_POOL_SECRET_MAX == GB_SECRET_MAX, "a key's secret fits");
_Static_assert(sizeof(((gb_key_t *)0)->id) == GB_POOL_ID_LEN, "a key's id fits");

int keys_key_pick(const gb_pick_t *pick, gb_key_t *key, apr_interval_time_t *wait, gb_error_t *err)
{
    unsigned char only[GB_DIGEST_LEN];
    gb_pool_answer_t answer;
    gb_pool_census_t census;
    gb_pool_rules_t rules;
    gb_pool_clock_t clock;
    gb_pool_want_t want;
    gb_pool_got_t got;

    if (!keys_pool) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "Shared memory was refused when httpd started: see its error log.");
        return HTTP_SERVICE_UNAVAILABLE;
    }
    want_make(&want, pick, only);
    keys_rules(&rules, pick->settings);
    keys_now(&clock);
    keys_enter();
    answer = gb_pool_pick_locked(keys_pool, &want, &rules, &clock, &got, &census);
    keys_leave();
    if (answer == GB_POOL_NO_TAG && pick->required_id && pick->required_id[0]) {
        return say_required(err, pick);
    }
    if (answer != GB_POOL_OK) {
        return say(err, pick, answer, &census, wait);
    }
    key_out(key, &got);
    explicit_bzero(got.secret, sizeof(got.secret));
    return OK;
}

/* ---- report ---- */

int keys_key_report(const gb_report_t *report)
{
    char label[KEYS_LABEL_LEN];
    gb_pool_outcome_t outcome;
    gb_pool_events_t events;
    gb_pool_rules_t rules;
    gb_pool_clock_t clock;
    gb_pool_got_t got;

    if (!keys_pool) {
        return OK;
    }
    got.slot = report->key->slot;
    got.generation = report->key->generation;
    got.hold = report->key->hold;
    keys_outcome(&outcome, report->verdict, label);
    outcome.prompt_tokens = report->prompt_tokens;
    outcome.total_tokens = report->total_tokens;
    keys_rules(&rules, report->settings);
    keys_now(&clock);
    events.n = 0;
    keys_enter();
    gb_pool_report_locked(keys_pool, &got, report->model, &outcome, &rules, &clock, &events);
    keys_leave();
    keys_log_events(&events, report->pool);
    return OK;
}

/* ---- health ---- */

int keys_pool_health(const char *pool, const char **reason)
{
    gb_pool_census_t census;
    gb_pool_clock_t clock;
    int known;

    if (!keys_pool) {
        *reason = "no_shared_memory";
        return HTTP_SERVICE_UNAVAILABLE;
    }
    keys_now(&clock);
    keys_enter();
    known = gb_pool_census_locked(keys_pool, pool, "", &clock, &census);
    keys_leave();
    if (!known || census.total == 0) {
        *reason = "no_keys";
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if (census.active + census.trial == 0) {
        *reason = "all_dead";
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return OK;
}
