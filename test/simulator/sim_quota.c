/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quotas as Google counts them: per project and model, requests and input
 * tokens in a minute, requests in a day. Minute and day can be shortened.
 * Minutes are token buckets (or fixed windows when asked for); the day is a
 * fixed window from the installation on.
 */
#include "sim.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_LIMITS   64
#define MAX_COUNTERS 65536

typedef struct {
    char *model;          /* pattern */
    double rpm, tpm, rpd; /* < 0 = none */
} limit_t;

typedef struct {
    double left[2];     /* rpm, tpm: tokens in the bucket */
    uint64_t filled_ns; /* when they were brought up to date, or the window began */
    uint64_t day_ns;
    double day_used;
    uint64_t passed, refused;
} counter_t;

static struct {
    bool on, fixed_windows, count_refused, unlisted, paid;
    double minute_s, day_s;
    uint64_t start_ns;
    char *day_retry_delay; /* told instead of the truth, as Google does */
    limit_t limit[MAX_LIMITS];
    unsigned nlimits;
} quota;

static sim_names_t *key_names, *project_names, *pair_names;
static uint32_t *project_of_key;
static counter_t *counters;

/* ---- installing ---- */

static void start(void)
{
    if (key_names == NULL) {
        key_names = sim_names_create(MAX_COUNTERS);
        project_names = sim_names_create(MAX_COUNTERS);
        pair_names = sim_names_create(MAX_COUNTERS);
        project_of_key = sim_xcalloc(MAX_COUNTERS + 1, sizeof(*project_of_key));
        counters = sim_xcalloc(MAX_COUNTERS + 1, sizeof(*counters));
    }
}

void sim_quota_clear(void)
{
    unsigned i;

    for (i = 0; i < quota.nlimits; i++) {
        free(quota.limit[i].model);
    }
    free(quota.day_retry_delay);
    memset(&quota, 0, sizeof(quota));
    if (key_names != NULL) {
        sim_names_clear(key_names);
        sim_names_clear(project_names);
        sim_names_clear(pair_names);
        memset(counters, 0, (MAX_COUNTERS + 1) * sizeof(*counters));
        memset(project_of_key, 0, (MAX_COUNTERS + 1) * sizeof(*project_of_key));
    }
}

static double number_or(json_t *object, const char *name, double otherwise)
{
    json_t *value = json_object_get(object, name);

    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static void add_limit(const char *model, json_t *object)
{
    limit_t *l = &quota.limit[quota.nlimits];

    if (quota.nlimits < MAX_LIMITS) {
        l->model = sim_strndup(model, strlen(model));
        l->rpm = number_or(object, "rpm", -1);
        l->tpm = number_or(object, "tpm", -1);
        l->rpd = number_or(object, "rpd", -1);
        quota.nlimits++;
    }
}

static bool read_projects(json_t *projects, sim_buf_t *error)
{
    const char *name;
    json_t *keys, *key;
    size_t i;

    json_object_foreach(projects, name, keys)
    {
        unsigned project = sim_names_add(project_names, (sim_str_t){name, strlen(name)});

        if (!json_is_array(keys)) {
            sim_buf_printf(error, "keys of project \"%s\" are no list", name);
            return false;
        }
        json_array_foreach(keys, i, key)
        {
            sim_str_t k = {json_string_value(key), json_string_length(key)};

            if (k.p != NULL) {
                project_of_key[sim_names_add(key_names, k)] = project;
            }
        }
    }
    return true;
}

bool sim_quota_install(json_t *body, sim_buf_t *error)
{
    static const char *const known[] = {
        "projects", "models",          "rpm",    "tpm",           "rpd",
        "minute_s", "day_s",           "window", "count_refused", "unlisted",
        "tier",     "day_retry_delay", NULL};
    const char *name, *word;
    json_t *value;

    json_object_foreach(body, name, value)
    {
        int i = 0;

        while (known[i] != NULL && strcmp(known[i], name) != 0) {
            i++;
        }
        if (known[i] == NULL) {
            sim_buf_printf(error, "unknown member \"%s\"", name);
            return false;
        }
    }
    start();
    sim_quota_clear();
    if (!read_projects(json_object_get(body, "projects"), error)) {
        return false;
    }
    json_object_foreach(json_object_get(body, "models"), name, value)
    {
        add_limit(name, value);
    }
    add_limit("*", body);
    quota.minute_s = number_or(body, "minute_s", 60);
    quota.day_s = number_or(body, "day_s", 86400);
    word = json_string_value(json_object_get(body, "window"));
    quota.fixed_windows = word != NULL && strcmp(word, "fixed") == 0;
    word = json_string_value(json_object_get(body, "tier"));
    quota.paid = word != NULL && strcmp(word, "paid") == 0;
    quota.count_refused = json_is_true(json_object_get(body, "count_refused"));
    quota.unlisted = json_is_true(json_object_get(body, "unlisted"));
    word = json_string_value(json_object_get(body, "day_retry_delay"));
    quota.day_retry_delay = word != NULL ? sim_strndup(word, strlen(word)) : NULL;
    quota.start_ns = sim_now_ns();
    quota.on = true;
    return true;
}

/* ---- counting ---- */

static const limit_t *find_limit(sim_str_t model)
{
    unsigned i;

    for (i = 0; i < quota.nlimits; i++) {
        if (sim_glob(quota.limit[i].model, model)) {
            return &quota.limit[i];
        }
    }
    return NULL;
}

/* Keys of no project have no quota, or each its own when "unlisted" is true. */
static counter_t *find_counter(sim_str_t key, sim_str_t model, const limit_t *limit, uint64_t now)
{
    static sim_buf_t pair;
    unsigned k = sim_names_add(key_names, key), count = sim_names_count(pair_names), index;
    unsigned project = project_of_key[k];

    if (k == 0 || (project == 0 && !quota.unlisted)) {
        return NULL;
    }
    pair.len = 0;
    sim_put(&pair, project > 0 ? "p" : "k", 1);
    sim_put_u64(&pair, project > 0 ? project : k);
    sim_putc(&pair, ' ');
    sim_put(&pair, model.p, model.n);
    index = sim_names_add(pair_names, (sim_str_t){pair.p, pair.len});
    if (index == 0) {
        return NULL;
    }
    if (index > count) {
        counters[index].left[0] = limit->rpm;
        counters[index].left[1] = limit->tpm;
        counters[index].filled_ns = quota.fixed_windows ? quota.start_ns : now;
        counters[index].day_ns = quota.start_ns;
    }
    return &counters[index];
}

static void refill_one(double *left, double limit, double share)
{
    if (limit >= 0) {
        *left += limit * share;
        *left = *left > limit ? limit : *left;
    }
}

static void refill(counter_t *k, const limit_t *limit, uint64_t now)
{
    double passed = (double)(now - k->filled_ns) / 1e9 / quota.minute_s;

    if (quota.fixed_windows) {
        passed = (double)(uint64_t)passed;
        k->filled_ns += (uint64_t)(passed * quota.minute_s * 1e9);
    }
    else {
        k->filled_ns = now;
    }
    refill_one(&k->left[0], limit->rpm, passed);
    refill_one(&k->left[1], limit->tpm, passed);
    while ((double)(now - k->day_ns) / 1e9 >= quota.day_s) {
        k->day_ns += (uint64_t)(quota.day_s * 1e9);
        k->day_used = 0;
    }
}

/* Seconds until `need` more would be there. */
static double wait_for(const counter_t *k, double left, double limit, double need, uint64_t now)
{
    if (quota.fixed_windows) {
        return quota.minute_s - (double)(now - k->filled_ns) / 1e9;
    }
    return limit > 0 ? (need - left) / limit * quota.minute_s : quota.minute_s;
}

/* ---- refusing ---- */

typedef struct {
    const char *name; /* canned body */
    const char *id, *metric;
} shortage_t;

enum { SHORT_RPM, SHORT_TPM, SHORT_RPD };

/* [paid][what] */
static const shortage_t shortages[2][3] = {
    {{"quota_minute", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
      "generate_content_free_tier_requests"},
     {"quota_tokens", "GenerateContentInputTokensPerModelPerMinute-FreeTier",
      "generate_content_free_tier_input_token_count"},
     {"quota_day", "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
      "generate_content_free_tier_requests"}},
    {{"quota_minute", "GenerateRequestsPerMinutePerProjectPerModel", "generate_requests_per_model"},
     {"quota_tokens", "GenerateContentPaidTierInputTokensPerModelPerMinute",
      "generate_content_paid_tier_input_token_count"},
     {"quota_day", "GenerateRequestsPerDayPerProjectPerModel",
      "generate_requests_per_model_per_day"}}
};

static void refuse(sim_conn_t *c, int what, double limit, double wait_s)
{
    static sim_buf_t body;
    const shortage_t *s = &shortages[quota.paid][what];
    char value[32], delay[32];
    sim_canned_args_t args = {.key = c->req.key,
                              .model = c->req.model,
                              .retry_delay = delay,
                              .quota_value = value,
                              .quota_id = s->id,
                              .quota_metric = s->metric};
    sim_type_t type;

    snprintf(value, sizeof(value), "%.0f", limit);
    snprintf(delay, sizeof(delay), "%.3fs", wait_s < 0.001 ? 0.001 : wait_s);
    if (what == SHORT_RPD && quota.day_retry_delay != NULL) {
        args.retry_delay = quota.day_retry_delay;
    }
    body.len = 0;
    sim_canned_write(&body, s->name, 429, &args, &type);
    sim_error_body(c, 429, type, (sim_str_t){body.p, body.len});
}

static bool take(counter_t *k, const limit_t *limit, double tokens, uint64_t now, int *what,
                 double *value, double *wait_s)
{
    double day_end = (double)(k->day_ns - quota.start_ns) / 1e9 + quota.day_s;

    if (limit->rpd >= 0 && k->day_used + 1 > limit->rpd) {
        *what = SHORT_RPD;
        *value = limit->rpd;
        *wait_s = day_end - (double)(now - quota.start_ns) / 1e9;
        return false;
    }
    if (limit->rpm >= 0 && k->left[0] < 1) {
        *what = SHORT_RPM;
        *value = limit->rpm;
        *wait_s = wait_for(k, k->left[0], limit->rpm, 1, now);
        return false;
    }
    if (limit->tpm >= 0 && k->left[1] < tokens) {
        *what = SHORT_TPM;
        *value = limit->tpm;
        *wait_s = wait_for(k, k->left[1], limit->tpm, tokens, now);
        return false;
    }
    k->left[0] -= 1;
    k->left[1] -= tokens;
    k->day_used += 1;
    return true;
}

bool sim_quota_pass(sim_conn_t *c, long prompt_tokens)
{
    const limit_t *limit;
    counter_t *k;
    uint64_t now;
    double value, wait_s;
    int what;

    if (!quota.on || c->metered) {
        return true;
    }
    c->metered = true;
    limit = find_limit(c->req.model);
    now = sim_now_ns();
    k = limit != NULL ? find_counter(c->req.key, c->req.model, limit, now) : NULL;
    if (k == NULL) {
        return true;
    }
    refill(k, limit, now);
    if (take(k, limit, (double)prompt_tokens, now, &what, &value, &wait_s)) {
        k->passed++;
        return true;
    }
    k->refused++;
    if (quota.count_refused) {
        k->day_used += 1;
    }
    refuse(c, what, value, wait_s);
    return false;
}

void sim_quota_list(sim_buf_t *out)
{
    sw_t w = {.b = out, .style = SW_PRETTY};
    unsigned i, n = pair_names != NULL ? sim_names_count(pair_names) : 0;

    sw_open(&w, NULL, '{');
    sw_open(&w, "counters", '[');
    for (i = 1; i <= n; i++) {
        sim_str_t pair = sim_names_get(pair_names, i);
        const char *space = memchr(pair.p, ' ', pair.n);
        unsigned who = (unsigned)sim_to_long((sim_str_t){pair.p + 1, (size_t)(space - pair.p) - 1},
                                             0);

        sw_open(&w, NULL, '{');
        if (*pair.p == 'p') {
            sw_string(&w, "project", sim_names_get(project_names, who));
        }
        else {
            sw_string(&w, "key", sim_names_get(key_names, who));
        }
        sw_string(&w, "model", (sim_str_t){space + 1, pair.n - (size_t)(space + 1 - pair.p)});
        sw_number(&w, "passed", (int64_t)counters[i].passed);
        sw_number(&w, "refused", (int64_t)counters[i].refused);
        sw_number(&w, "day_used", (int64_t)counters[i].day_used);
        sw_close(&w, '}');
    }
    sw_close(&w, ']');
    sw_close(&w, '}');
    sim_putc(out, '\n');
}
