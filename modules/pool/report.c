/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an outcome does to key, cell, project and model: DESIGN section 5's
 * table, one function a row.  A client's fault never gets further than the
 * counters.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>

#include "base/timeutil.h"

#define DAY_SLACK     (60 * (i64)APR_USEC_PER_SEC)
#define LIE_BELOW     (600 * (i64)APR_USEC_PER_SEC) /* a day's delay that is shorter is none */
#define TERMINAL      (300 * (i64)APR_USEC_PER_SEC) /* no quotaId but such a delay: a day's */
#define REGION_REST   (600 * (i64)APR_USEC_PER_SEC)
#define CHECK_PAUSE   (60 * (i64)APR_USEC_PER_SEC)
#define REVOKE_HOURLY 2

/* One report on its way. */
typedef struct report_t {
    gb_pool_t *pool;
    const gb_pool_outcome_t *out;
    const gb_pool_rules_t *rules;
    const gb_pool_clock_t *clock;
    gb_pool_events_t *events;
    key_rec_t *key;
    u32 slot, model;
    u32 cell;      /* of the asked model; 0 for a model without a record */
    int was_trial; /* the key's own half-open trial */
    int is_check;
} report_t;

/* ---- events ---- */

gb_pool_event_t *pool_event(gb_pool_events_t *events, gb_pool_event_kind_t kind)
{
    gb_pool_event_t *event;

    if (events == NULL || events->n == GB_POOL_EVENTS) {
        return NULL;
    }
    event = &events->items[events->n++];
    memset(event, 0, sizeof(*event));
    event->kind = kind;
    return event;
}

static gb_pool_event_t *tell(const report_t *r, gb_pool_event_kind_t kind, u32 slot)
{
    gb_pool_event_t *event = pool_event(r->events, kind);

    if (event) {
        event->slot = slot;
        event->n = 1;
        memcpy(event->id, r->pool->keys[slot].id, sizeof(event->id));
        apr_cpystrn(event->row, r->out->row ? r->out->row : "", sizeof(event->row));
    }
    return event;
}

static void tell_rest(const report_t *r, u32 model, apr_time_t until)
{
    gb_pool_event_t *event = tell(r, GB_EVENT_COOLS, r->slot);

    if (event) {
        apr_cpystrn(event->model, r->pool->head->models[model].name, sizeof(event->model));
        event->lasts = until - r->clock->mono;
    }
}

/* Which row fired, in Google's words: shown on the key's page. */
static void note_words(const report_t *r, u32 slot)
{
    key_rec_t *key = &r->pool->keys[slot];

    apr_cpystrn(key->row, r->out->row ? r->out->row : "", sizeof(key->row));
    apr_cpystrn(key->text, r->out->text ? r->out->text : "", sizeof(key->text));
    key->text_at = r->clock->wall;
}

/* ---- leaving and coming back ---- */

static int may_leave(const report_t *r, u32 name, u32 n)
{
    int allowed = pool_guard_allows(r->pool, name, n, r->rules, r->clock);
    gb_pool_event_t *event = allowed == 0 ? tell(r, GB_EVENT_GUARD, r->slot) : NULL;

    if (event) {
        event->n = n;
    }
    return allowed > 0;
}

static void key_alive(const report_t *r)
{
    key_rec_t *key = r->key;

    key->failures = 0;
    if (key->state == GB_KEY_INVALID && !r->is_check) {
        return; /* an answer that was under way when Google revoked it */
    }
    if (key->state != GB_KEY_ACTIVE) {
        key->strikes = key->checks = 0;
        key->trial_hold = 0;
        pool_timer_key_off(r->pool, r->slot);
        pool_key_state(r->pool, r->slot, GB_KEY_ACTIVE, r->clock->wall);
        tell(r, GB_EVENT_RECOVERED, r->slot);
    }
}

static apr_interval_time_t retry_after(const report_t *r, u32 strikes)
{
    apr_interval_time_t pause = r->rules->retry_first;

    while (strikes-- > 0 && pause < r->rules->retry_max) {
        pause *= 2;
    }
    return pause < r->rules->retry_max ? pause : r->rules->retry_max;
}

static void key_fail(const report_t *r, u32 slot)
{
    key_rec_t *key = &r->pool->keys[slot];
    gb_pool_event_t *event;

    if (key->state == GB_KEY_ACTIVE && key->enabled && !may_leave(r, key->pool, 1)) {
        return;
    }
    key->trial_hold = 0;
    pool_timer_key(r->pool, slot, r->clock->mono + retry_after(r, key->strikes));
    pool_key_state(r->pool, slot, GB_KEY_FAILED, r->clock->wall);
    event = tell(r, GB_EVENT_FAILED, slot);
    if (event) {
        memcpy(event->row, key->row, sizeof(event->row)); /* not that of who succeeded */
        event->n = key->failures;
        event->lasts = key->retry_at - r->clock->mono;
    }
}

static void key_die(const report_t *r, u32 slot, int revocable)
{
    key_rec_t *key = &r->pool->keys[slot];

    note_words(r, slot);
    key->revocable = (unsigned char)revocable;
    key->checks = r->is_check && key->state == GB_KEY_INVALID ? key->checks + 1 : 0;
    key->next_check = r->clock->wall + (revocable == REVOKE_HOURLY ? HOUR : DAY);
    key->trial_hold = 0;
    pool_timer_key_off(r->pool, slot);
    pool_key_state(r->pool, slot, GB_KEY_INVALID, r->clock->wall);
}

/* ---- rests ---- */

/* Up to a tenth more, so that those who wait for the same moment do not come at once. */
static apr_interval_time_t with_jitter(const report_t *r, apr_interval_time_t pause)
{
    u64 *random = &r->pool->head->random;

    *random = pool_mix(*random + 0x9e3779b97f4a7c15ULL);
    return pause + (i64)(*random % 1000) * r->rules->jitter / 1000 * pause / 1000;
}

/* The first of the next month in California, by steps of a day. */
static apr_time_t next_month(apr_time_t wall)
{
    apr_time_t at = gb_pacific_midnight(wall);
    apr_time_exp_t now, then;
    int i;

    apr_time_exp_gmt(&now, at - 20 * HOUR); /* about noon of today there */
    for (i = 0; i < 32; i++, at = gb_pacific_midnight(at)) {
        apr_time_exp_gmt(&then, at - 7 * HOUR);
        if (then.tm_mon != now.tm_mon) {
            break;
        }
    }
    return at;
}

static apr_interval_time_t exponential(const report_t *r, u32 strikes)
{
    double pause = (double)r->rules->cool_first;

    while (strikes-- > 1 && pause < (double)r->rules->cool_max) {
        pause *= r->rules->cool_factor;
    }
    return pause < (double)r->rules->cool_max ? (apr_interval_time_t)pause : r->rules->cool_max;
}

static apr_interval_time_t day_rest(const report_t *r, int *told)
{
    apr_interval_time_t delay = r->out->delay;

    *told = delay > LIE_BELOW;
    if (*told) {
        return delay + DAY_SLACK < DAY ? delay + DAY_SLACK : DAY;
    }
    return gb_pacific_midnight(r->clock->wall) - r->clock->wall + DAY_SLACK;
}

static apr_interval_time_t minute_rest(const report_t *r)
{
    apr_interval_time_t delay = r->out->delay < 0 ? 60 * (i64)APR_USEC_PER_SEC : r->out->delay;

    return with_jitter(r, delay < APR_USEC_PER_SEC ? APR_USEC_PER_SEC : delay);
}

/* Nothing says whose quota it was, nor for how long. */
static int is_ambiguous(const report_t *r)
{
    return (r->out->span == GB_SPAN_NONE || r->out->span == GB_SPAN_AMBIGUOUS)
           && r->out->delay <= TERMINAL;
}

/* How long a 429 lets one cell rest, and why. */
static apr_interval_time_t quota_rest(const report_t *r, cell_rec_t *cell, gb_pool_cool_t *why,
                                      int *day_told)
{
    *day_told = 0;
    switch (r->out->span) {
    case GB_SPAN_DAY:
        *why = GB_COOL_DAY;
        return day_rest(r, day_told);
    case GB_SPAN_UNAVAILABLE:
        *why = GB_COOL_UNAVAILABLE;
        return DAY;
    case GB_SPAN_MONTH:
        *why = GB_COOL_MONTH;
        return next_month(r->clock->wall) - r->clock->wall + DAY_SLACK;
    case GB_SPAN_MINUTE:
        *why = GB_COOL_MINUTE;
        return minute_rest(r);
    case GB_SPAN_NONE:
    case GB_SPAN_AMBIGUOUS:
        break;
    }
    if (!is_ambiguous(r)) {
        *why = GB_COOL_DAY;
        return day_rest(r, day_told);
    }
    /* Calls that were refused together are one strike. */
    cell->strikes += !(pool_cell_rests(cell) && cell->reason == GB_COOL_AMBIGUOUS);
    *why = GB_COOL_AMBIGUOUS;
    return r->out->delay > 0 ? minute_rest(r) : with_jitter(r, exponential(r, cell->strikes));
}

static void cell_quota(const report_t *r, u32 cell)
{
    cell_rec_t *rec = &r->pool->cells[cell];
    apr_time_t before = rec->until, until;
    gb_pool_cool_t why;
    int day_told;

    until = r->clock->mono + quota_rest(r, rec, &why, &day_told);
    rec->quotas++;
    pool_cell_rest(r->pool, cell, why, until);
    if (rec->until == until) {
        rec->day_told = (unsigned char)day_told;
    }
    if (rec->until != before) { /* of many that were refused together, the first says so */
        tell_rest(r, rec->model, rec->until);
    }
}

static void cell_learn(const report_t *r, u32 cell, const gb_pool_quota_t *quota)
{
    cell_rec_t *rec = &r->pool->cells[cell];
    gb_pool_limit_t which = quota->tokens ? GB_LIMIT_TPM : GB_LIMIT_RPM;
    int knew;

    if (quota->value <= 0 || (quota->span != GB_SPAN_MINUTE && quota->span != GB_SPAN_DAY)
        || (quota->span == GB_SPAN_DAY && quota->tokens)) {
        return;
    }
    which = quota->span == GB_SPAN_DAY ? GB_LIMIT_RPD : which;
    knew = rec->held[which] && rec->limits[which] == quota->value;
    pool_window_learn(rec, which, quota->value, r->clock);
    if (!knew && rec->held[which]) {
        gb_pool_event_t *event = tell(r, GB_EVENT_LIMIT, r->slot);

        if (event) {
            apr_cpystrn(event->model, r->pool->head->models[rec->model].name, sizeof(event->model));
            event->n = quota->value;
        }
    }
}

static void model_rest(const report_t *r, u32 model, gb_pool_cool_t why, apr_interval_time_t pause)
{
    u32 cell = pool_cell_get(r->pool, r->key->project, model, r->clock->mono);

    pool_cell_rest(r->pool, cell, why, r->clock->mono + pause);
    tell_rest(r, model, r->pool->cells[cell].until);
}

/* ---- one function a row ---- */

/* Another key has done what these could not: it was theirs, or their proxy's, fault. */
static void blame_others(const report_t *r)
{
    pool_rec_t *rec = &r->pool->head->pools[r->key->pool];
    u32 i = 0;

    pool_blame_forget(rec, r->slot, r->model);
    while (i < rec->n_blame) {
        blame_t blame = rec->blame[i];
        key_rec_t *key = &r->pool->keys[blame.key];

        if (blame.model != r->model && blame.at + r->rules->blame_window > r->clock->mono) {
            i++;
            continue;
        }
        memmove(&rec->blame[i], &rec->blame[i + 1], sizeof(blame) * (rec->n_blame - i - 1));
        rec->n_blame--;
        if (blame.at + r->rules->blame_window > r->clock->mono && key->used
            && key->generation == blame.generation && key->state == GB_KEY_ACTIVE) {
            key->failures++;
            pool_changed(r->pool, key->pool);
            if (key->failures >= (u32)r->rules->max_failures) {
                key_fail(r, blame.key);
            }
        }
    }
}

static void remember_answer(const report_t *r)
{
    pool_rec_t *rec = &r->pool->head->pools[r->key->pool];

    if (rec->ok_key[0] != r->slot) {
        rec->ok_key[1] = rec->ok_key[0];
        rec->ok_at[1] = rec->ok_at[0];
        rec->ok_key[0] = r->slot;
    }
    rec->ok_at[0] = r->clock->mono;
}

static int another_answered(const report_t *r)
{
    const pool_rec_t *rec = &r->pool->head->pools[r->key->pool];
    int i;

    for (i = 0; i < 2; i++) {
        if (rec->ok_key[i] && rec->ok_key[i] != r->slot
            && rec->ok_at[i] + r->rules->blame_window > r->clock->mono) {
            return 1;
        }
    }
    return 0;
}

static void on_success(report_t *r)
{
    u32 own = pool_own_find(r->pool, r->slot, r->model);

    key_alive(r);
    r->key->check_wanted = 0;
    if (r->cell) {
        r->pool->cells[r->cell].successes++;
        r->pool->cells[r->cell].strikes = 0;
    }
    if (own) {
        r->pool->cells[own].strikes = 0;
    }
    if (r->pool->head->pools[r->key->pool].n_blame) {
        blame_others(r);
    }
    remember_answer(r);
    pool_breaker_success(r->pool, r->key->pool, r->model, r->events);
}

/* Empty or blocked: Google took the key and answered; nothing else is known. */
static void on_answered(report_t *r)
{
    if (r->was_trial || r->is_check) {
        key_alive(r);
    }
    remember_answer(r);
}

static void on_nothing(report_t *r)
{
    (void)r;
}

static void on_key(report_t *r)
{
    if (r->key->state == GB_KEY_INVALID && !r->is_check) {
        return; /* was under way when another call found out */
    }
    if (r->key->state != GB_KEY_ACTIVE || !r->key->enabled || may_leave(r, r->key->pool, 1)) {
        int news = r->key->state != GB_KEY_INVALID;

        key_die(r, r->slot, r->out->revocable);
        if (news) {
            tell(r, GB_EVENT_INVALID, r->slot);
        }
    }
    else {
        note_words(r, r->slot);
    }
}

/* All keys of the project, in whichever pools they are. */
static void project_die(const report_t *r, int revocable)
{
    u32 n[GB_POOL_NAMES + 1] = {0}, allowed[GB_POOL_NAMES + 1], slot, total = 0, i;
    u32 first = r->pool->projects[r->key->project].first_key;
    gb_pool_event_t *event;

    for (slot = first; slot; slot = r->pool->keys[slot].next_in_project) {
        const key_rec_t *key = &r->pool->keys[slot];

        n[key->pool] += key->enabled && key->state == GB_KEY_ACTIVE;
    }
    for (i = 1; i <= GB_POOL_NAMES; i++) {
        allowed[i] = n[i] == 0 || may_leave(r, i, n[i]);
    }
    for (slot = first; slot; slot = r->pool->keys[slot].next_in_project) {
        const key_rec_t *key = &r->pool->keys[slot];

        if (allowed[key->pool] && (key->state != GB_KEY_INVALID || r->is_check)) {
            key_die(r, slot, revocable);
            total++;
        }
    }
    event = total ? tell(r, GB_EVENT_INVALID, r->slot) : NULL;
    if (event) {
        event->n = total;
    }
}

static void on_project(report_t *r)
{
    project_die(r, 1);
}

static void on_account(report_t *r)
{
    project_die(r, REVOKE_HOURLY);
}

static void on_region(report_t *r)
{
    note_words(r, r->slot);
    model_rest(r, 0, GB_COOL_REGION, REGION_REST);
}

static void on_model_access(report_t *r)
{
    note_words(r, r->slot);
    if (r->model) {
        model_rest(r, r->model, GB_COOL_ACCESS, DAY);
    }
}

/* From a client's call: ask in the background.  From that check: believed once another key of the
 * pool has shown that it is not everybody's. */
static void on_unknown_auth(report_t *r)
{
    note_words(r, r->slot);
    if (r->is_check) {
        r->key->check_wanted = 0;
        if (another_answered(r) && r->key->state == GB_KEY_ACTIVE) {
            key_fail(r, r->slot);
        }
        return;
    }
    if (r->was_trial) {
        r->key->strikes++;
        key_fail(r, r->slot);
        return;
    }
    if (!r->key->check_wanted && r->clock->wall >= r->key->next_check) {
        r->key->check_wanted = 1;
        r->key->next_check = r->clock->wall;
        tell(r, GB_EVENT_CHECK, r->slot);
    }
}

/* Google counts under a name that may differ from the one asked for. */
static void quota_named(report_t *r, const gb_pool_quota_t *quota)
{
    u32 model = quota->model && *quota->model
                    ? pool_model_get(r->pool, quota->model, r->clock->mono)
                    : r->model;
    u32 cell = model ? pool_cell_get(r->pool, r->key->project, model, r->clock->mono) : 0;

    if (cell == 0) {
        return;
    }
    cell_learn(r, cell, quota);
    if (!pool_cell_rests(&r->pool->cells[cell])) {
        cell_quota(r, cell);
    }
}

/* A call without a model (a list) says nothing of any, unless Google names one. */
static void on_quota(report_t *r)
{
    int i;

    note_words(r, r->slot);
    if (r->is_check || r->was_trial) {
        key_alive(r); /* whoever is counted is known */
    }
    if (r->out->span == GB_SPAN_MONTH) {
        cell_quota(r, pool_cell_get(r->pool, r->key->project, 0, r->clock->mono));
        return;
    }
    if (r->cell && is_ambiguous(r)) {
        cell_quota(r, pool_own_get(r->pool, r->slot, r->model, r->clock->mono));
        return;
    }
    if (r->cell) {
        cell_quota(r, r->cell);
    }
    for (i = 0; i < r->out->n_quotas; i++) {
        quota_named(r, &r->out->quotas[i]);
    }
}

static void on_service(report_t *r)
{
    note_words(r, r->slot);
    if (!r->out->by_proxy) {
        pool_breaker_fault(r->pool, r->key->pool, r->model, r->key->project, r->rules, r->clock,
                           r->events);
    }
    if (r->was_trial) {
        r->key->strikes++;
        key_fail(r, r->slot);
    }
    else if (!r->is_check && r->key->state == GB_KEY_ACTIVE
             && pool_view(r->pool, r->key->pool, r->model)->open_for == 0) {
        pool_blame_add(r->pool, r->slot, r->model, r->clock);
    }
}

static void on_overloaded(report_t *r)
{
    note_words(r, r->slot);
    pool_breaker_fault(r->pool, r->key->pool, r->model, r->key->project, r->rules, r->clock,
                       r->events);
}

/* What a row does, which counter it moves, whether the model's name is proven by it, and whether
 * a trial of the cell has passed. */
static const struct row_t {
    void (*apply)(report_t *r);
    size_t counter;
    unsigned char names_model, passes;
} rows[GB_OUT_N] = {
    [GB_OUT_SUCCESS] = {on_success,      offsetof(key_rec_t, successes), 1, 1},
    [GB_OUT_ANSWERED] = {on_answered,     offsetof(key_rec_t, neutral),   1, 1},
    [GB_OUT_NOTHING] = {on_nothing,      offsetof(key_rec_t, neutral),   0, 0},
    [GB_OUT_KEY] = {on_key,          offsetof(key_rec_t, deaths),    0, 0},
    [GB_OUT_PROJECT] = {on_project,      offsetof(key_rec_t, deaths),    0, 0},
    [GB_OUT_ACCOUNT] = {on_account,      offsetof(key_rec_t, deaths),    0, 0},
    [GB_OUT_REGION] = {on_region,       offsetof(key_rec_t, neutral),   0, 0},
    [GB_OUT_MODEL_ACCESS] = {on_model_access, offsetof(key_rec_t, neutral),   1, 0},
    [GB_OUT_UNKNOWN_AUTH] = {on_unknown_auth, offsetof(key_rec_t, neutral),   0, 0},
    [GB_OUT_QUOTA] = {on_quota,        offsetof(key_rec_t, quotas),    1, 0},
    [GB_OUT_SERVICE] = {on_service,      offsetof(key_rec_t, faults),    1, 0},
    [GB_OUT_OVERLOADED] = {on_overloaded,   offsetof(key_rec_t, faults),    1, 0},
};

/* ---- the report ---- */

/* Keys whose answers name the same project belong together; a label set by hand stands. */
static void learn_project(report_t *r)
{
    gb_pool_t *pool = r->pool;
    const char *label = r->out->project;
    u32 own = r->key->project, other;

    if (label == NULL || *label == '\0' || r->key->by_hand || pool->projects[own].label[0]) {
        return;
    }
    other = pool_project_find(pool, label);
    if (other == 0) {
        pool_project_label(pool, own, label);
        return;
    }
    pool_project_merge(pool, own, other, r->clock->mono);
    tell(r, GB_EVENT_GROUPED, r->slot);
}

static void count_tokens(report_t *r, i64 estimated)
{
    const gb_pool_outcome_t *out = r->out;

    if (out->prompt_tokens > 0) {
        r->key->prompt_tokens += (u64)out->prompt_tokens;
    }
    if (out->total_tokens > 0) {
        pool_key_day(r->key, r->clock->wall);
        r->key->total_tokens += (u64)out->total_tokens;
        r->key->day_tokens += (u64)out->total_tokens;
    }
    if (r->cell && out->prompt_tokens >= 0 && out->prompt_tokens != estimated) {
        pool_window_tokens(&r->pool->cells[r->cell], out->prompt_tokens - estimated, r->clock);
    }
}

/* The cell of the asked model.  A first answer of a model makes its record, and counts in it; the
 * turn goes on behind the key that gave it. */
static void find_cell(report_t *r, const char *name, const struct row_t *row, int counted)
{
    view_rec_t *view;

    r->model = row->names_model ? pool_model_get(r->pool, name, r->clock->mono)
                                : pool_model_find(r->pool, name);
    if (r->model == 0) {
        return;
    }
    if (!row->names_model) {
        r->cell = pool_cell_find(r->pool, r->key->project, r->model);
        return;
    }
    view = pool_view(r->pool, r->key->pool, r->model);
    view->cursor = view->cursor ? view->cursor : r->slot;
    r->cell = pool_cell_get(r->pool, r->key->project, r->model, r->clock->mono);
    if (!counted) {
        pool_window_add(&r->pool->cells[r->cell], 0, r->clock);
    }
}

static key_rec_t *key_of(gb_pool_t *pool, u32 slot, u32 generation)
{
    key_rec_t *key = &pool->keys[slot];

    return slot >= 1 && slot <= pool->head->keys_top && key->used && key->generation == generation
               ? key
               : NULL;
}

void gb_pool_report_locked(gb_pool_t *pool, const gb_pool_got_t *got, const char *model,
                           const gb_pool_outcome_t *outcome, const gb_pool_rules_t *rules,
                           const gb_pool_clock_t *clock, gb_pool_events_t *events)
{
    const struct row_t *row = &rows[outcome->kind];
    report_t r = {.pool = pool, .out = outcome, .rules = rules, .clock = clock, .events = events};
    u32 hold = pool_hold_find(pool, got);
    int counted = hold && pool->holds[hold].cell != 0;
    i64 tokens = hold && counted ? pool->holds[hold].tokens : 0;

    pool_timer_run(pool, clock, TICK_MAX); /* what has ended meanwhile must not be judged */
    r.slot = got->slot;
    r.key = key_of(pool, got->slot, got->generation);
    if (hold) {
        r.was_trial = r.key && r.key->trial_hold == hold;
        pool_trial_end(pool, hold, row->passes);
        pool_hold_drop(pool, hold);
    }
    if (r.key == NULL || (got->hold && !hold)) {
        return; /* the slot was reused, or this was told before */
    }
    ++*(u64 *)((char *)r.key + row->counter);
    learn_project(&r);
    find_cell(&r, model, row, counted);
    count_tokens(&r, tokens);
    row->apply(&r);
    pool->head->changes++;
}

void gb_pool_checked_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                            const char *model, const gb_pool_outcome_t *outcome,
                            const gb_pool_rules_t *rules, const gb_pool_clock_t *clock,
                            gb_pool_events_t *events)
{
    const struct row_t *row = &rows[outcome->kind];
    report_t r = {.pool = pool,
                  .out = outcome,
                  .rules = rules,
                  .clock = clock,
                  .events = events,
                  .slot = slot,
                  .is_check = 1};

    r.key = key_of(pool, slot, generation);
    if (r.key == NULL) {
        return;
    }
    learn_project(&r);
    find_cell(&r, model, row, 0);
    row->apply(&r);
    r.key->check_wanted = 0;
    pool->head->changes++;
}
