/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Picking: one search over bits by the policy asked for, then the books - who
 * holds the key, what of the quota is used, whether this is a trial.  When there
 * is none, why.
 */
#include "pool/pool_int.h"

#include <apr_strings.h>

#define PROBES     8
#define TRIAL_HINT (5 * (i64)APR_USEC_PER_SEC)

/* One pick on its way. */
typedef struct pick_t {
    gb_pool_t *pool;
    const gb_pool_want_t *want;
    const gb_pool_rules_t *rules;
    const gb_pool_clock_t *clock;
    pool_search_t search;
    view_rec_t *view;
    u32 name, model;
    int probe;
    int seen_excluded, seen_too_large;
    apr_time_t room_at; /* the soonest of those that have no room for the prompt */
} pick_t;

/* ---- candidates ---- */

static int is_excluded(const gb_pool_want_t *want, u32 slot)
{
    int i;

    for (i = 0; i < want->n_exclude; i++) {
        if (want->exclude[i] == slot) {
            return 1;
        }
    }
    return 0;
}

static int project_tried(const pick_t *pick, u32 slot)
{
    const gb_pool_want_t *want = pick->want;
    int i;

    for (i = 0; i < want->n_exclude; i++) {
        u32 tried = want->exclude[i];

        if (tried >= 1 && tried <= pick->pool->head->keys_top
            && pick->pool->keys[tried].project == pick->pool->keys[slot].project) {
            return 1;
        }
    }
    return 0;
}

/* A prompt that is larger than what is left of the minute waits; one that is larger than the
 * whole minute never fits. */
static int has_room(pick_t *pick, u32 slot)
{
    i64 tokens = pick->want->tokens, limit, used;
    u32 cell;

    if (tokens <= 0 || pick->model == 0) {
        return 1;
    }
    cell = pool_cell_find(pick->pool, pick->pool->keys[slot].project, pick->model);
    limit = cell ? pool_window_limit(&pick->pool->cells[cell], GB_LIMIT_TPM, pick->want->limits,
                                     pick->clock->mono)
                 : pick->want->limits[GB_LIMIT_TPM];
    if (limit <= 0) {
        return 1;
    }
    if (tokens > limit) {
        pick->seen_too_large = 1;
        return 0;
    }
    used = cell ? pool_window_used(&pick->pool->cells[cell], GB_LIMIT_TPM, pick->clock) : 0;
    if (used + tokens > limit) {
        apr_time_t at = pick->clock->mono + WINDOW_TPM_SLICE;

        pick->room_at = pick->room_at && pick->room_at < at ? pick->room_at : at;
        return 0;
    }
    return 1;
}

static int fits(pick_t *pick, u32 slot)
{
    if (pick->want->n_exclude && is_excluded(pick->want, slot)) {
        pick->seen_excluded = 1;
        return 0;
    }
    return has_room(pick, slot);
}

/* Who has tried few keys finds another one soon; a long prompt may have to look further for room. */
static int search_max(const pick_t *pick)
{
    return pick->room_at || pick->seen_too_large ? SEARCH_FAR : SEARCH_MAX;
}

/* ---- policies ---- */

/* Moves the cursor to the next candidate in turn; a heavy key is met in several rounds. */
static u32 next_in_turn(pick_t *pick, u32 *cursor, u32 *round, int *wraps)
{
    u32 heaviest = pick->pool->head->pools[pick->name].weight_max;
    u32 slot;

    for (;;) {
        pick->search.round = *round > 1 ? pool_bits(pick->pool, pick->pool->round, *round) : NULL;
        slot = pool_search_next(&pick->search, *cursor + 1);
        if (slot) {
            *cursor = slot;
            break;
        }
        if (++*wraps > (int)heaviest + 1) {
            break;
        }
        *cursor = 0;
        *round = *round >= heaviest ? 1 : *round + 1;
    }
    pick->search.round = NULL;
    return slot;
}

/* In turn.  A call that failed on one project prefers another one. */
static u32 by_turn(pick_t *pick)
{
    u32 cursor = pick->view->cursor, round = pick->view->round ? pick->view->round : 1;
    u32 slot, second = 0;
    int wraps = 0, looked = 0;

    while ((slot = next_in_turn(pick, &cursor, &round, &wraps)) != 0
           && looked++ < search_max(pick)) {
        if (!fits(pick, slot)) {
            continue;
        }
        if (pick->want->n_exclude == 0 || !project_tried(pick, slot)) {
            break;
        }
        second = second ? second : slot;
    }
    if (slot == 0 || looked > search_max(pick)) {
        return second;
    }
    if (pick->want->n_exclude == 0) {
        pick->view->cursor = cursor;
        pick->view->round = round;
    }
    return slot;
}

/* The smaller the better. */
static i64 burden(const pick_t *pick, u32 slot)
{
    const key_rec_t *key = &pick->pool->keys[slot];
    u32 cell;

    if (pick->rules->policy == GB_POLICY_LEAST_USED) {
        u64 today = pick->clock->wall < key->day_ends ? key->day_calls : 0;

        return (i64)(((u64)key->in_flight << 40) + today * GB_POOL_WEIGHT_MAX / key->weight);
    }
    cell = pick->model ? pool_cell_find(pick->pool, key->project, pick->model) : 0;
    return cell ? -pool_window_room(&pick->pool->cells[cell], pick->want->limits, pick->clock)
                : -1000;
}

/* The best of all, or of the next 64 in turn when there are more. */
static u32 by_burden(pick_t *pick)
{
    u32 cursor = pick->view->cursor, best = 0, first = 0, slot;
    i64 least = 0;
    int looked, around = 0;

    for (looked = 0; looked < (best ? SEARCH_MAX : search_max(pick)); looked++) {
        slot = pool_search_next(&pick->search, cursor + 1);
        if (slot == 0 && !around++) {
            slot = pool_search_next(&pick->search, 1);
        }
        if (slot == 0 || slot == first) {
            break;
        }
        first = first ? first : slot;
        cursor = slot;
        if (fits(pick, slot)) {
            i64 cost = burden(pick, slot) + (project_tried(pick, slot) ? INT64_MAX / 4 : 0);

            if (best == 0 || cost < least) {
                best = slot;
                least = cost;
            }
        }
    }
    pick->view->cursor = best ? best : cursor;
    return best;
}

/* A few places that the hash names; the first that stands ready.  When a key rests its callers
 * spread over others, and come back to it. */
static u32 by_affinity(pick_t *pick)
{
    pool_search_t home = pick->search;
    u32 top = pick->pool->head->keys_top + 1;
    u64 hash = pick->want->affinity;
    int i;

    home.busy = home.rest = home.rest_any = NULL;
    for (i = 0; i < PROBES; i++) {
        u32 from, slot;

        hash = pool_mix(hash + 0x9e3779b97f4a7c15ULL);
        from = (u32)(hash % top);
        slot = pool_search_next(&home, from);
        slot = slot ? slot : pool_search_next(&home, 1);
        if (slot && pool_search_next(&pick->search, slot) == slot && fits(pick, slot)) {
            return slot;
        }
    }
    return by_turn(pick);
}

static u32 choose(pick_t *pick)
{
    switch (pick->rules->policy) {
    case GB_POLICY_LEAST_USED:
    case GB_POLICY_HEADROOM:
        return by_burden(pick);
    case GB_POLICY_STICKY:
        return pick->want->affinity ? by_affinity(pick) : by_turn(pick);
    case GB_POLICY_ROUND_ROBIN:
        return by_turn(pick);
    }
    return 0;
}

/* ---- the books ---- */

static void count_use(key_rec_t *key, const gb_pool_clock_t *clock)
{
    pool_key_day(key, clock->wall);
    key->day_calls++;
    key->last_used = clock->wall;
    key->picks++;
}

/* The cell that a pick counts in; none for a model that has never answered: names come from
 * clients, and only those that Google knows are worth a record. */
static u32 count_quota(pick_t *pick, u32 slot)
{
    u32 project = pick->pool->keys[slot].project, cell;

    if (pick->model == 0) {
        return 0;
    }
    cell = pool_cell_get(pick->pool, project, pick->model, pick->clock->mono);
    pool_window_add(&pick->pool->cells[cell], pick->want->tokens, pick->clock);
    return cell;
}

static void rest_when_full(pick_t *pick, u32 cell)
{
    apr_time_t at = pool_window_full(&pick->pool->cells[cell], pick->want->limits, pick->clock);

    if (at) {
        pool_cell_rest(pick->pool, cell, GB_COOL_LEARNT, at);
    }
}

/* Limits by hand are a setting: who rests because of the old ones is judged by the new ones. */
static void limits_changed(pick_t *pick)
{
    gb_pool_t *pool = pick->pool;
    u32 i;

    memcpy(pick->view->by_hand, pick->want->limits, sizeof(pick->view->by_hand));
    for (i = 1; pick->model && i <= pool->head->cells_top; i++) {
        cell_rec_t *cell = &pool->cells[i];

        if (cell->project && cell->model == pick->model && cell->reason == GB_COOL_LEARNT) {
            pool_cell_serve(pool, i);
            rest_when_full(pick, i);
        }
    }
}

static void hand_over(const pick_t *pick, u32 slot, u32 hold, gb_pool_got_t *got)
{
    const key_rec_t *key = &pick->pool->keys[slot];

    got->slot = slot;
    got->generation = key->generation;
    got->project = key->project;
    got->hold = hold ? ((u64)pick->pool->holds[hold].serial << 32) | hold : 0;
    memcpy(got->id, key->id, sizeof(got->id));
    memcpy(got->secret, pool_secret_at(pick->pool, slot), key->secret_len);
    got->secret[key->secret_len] = '\0';
}

static void take(pick_t *pick, u32 slot, gb_pool_got_t *got)
{
    gb_pool_t *pool = pick->pool;
    key_rec_t *key = &pool->keys[slot];
    u32 any_cell = pool_cell_find(pool, key->project, 0);
    u32 cell, hold;

    count_use(key, pick->clock);
    hold = pool_hold_take(pool, slot, pick->want->child);
    cell = count_quota(pick, slot);
    if (hold) {
        pool->holds[hold].cell = cell;
        pool->holds[hold].any_cell = any_cell;
        pool->holds[hold].tokens = pick->want->tokens;
        pool->holds[hold].probe = pick->probe ? pick->model + 1 : 0;
    }
    if (pick->probe) {
        pool_breaker_probe(pick->view, pick->clock);
    }
    got->half_open = pool_trial_begin(pool, slot, hold, cell, any_cell,
                                      pick->clock->mono + pick->rules->trial_time);
    if (cell && !got->half_open) {
        rest_when_full(pick, cell);
    }
    hand_over(pick, slot, hold, got);
    pool->head->changes++;
}

/* ---- why there is none ---- */

static void census(const gb_pool_t *pool, u32 name, gb_pool_census_t *c)
{
    const pool_rec_t *rec = &pool->head->pools[name];

    memset(c, 0, sizeof(*c));
    c->total = (int)rec->n_total;
    c->active = (int)rec->n_state[GB_KEY_ACTIVE];
    c->trial = (int)rec->n_state[GB_KEY_TRIAL];
    c->failed = (int)rec->n_state[GB_KEY_FAILED];
    c->invalid = (int)rec->n_state[GB_KEY_INVALID];
    c->off = (int)rec->n_off;
}

/* Until when one cell keeps its keys from serving; a trial may end at any moment. */
static apr_time_t cell_until(const gb_pool_t *pool, u32 cell, apr_time_t mono)
{
    const cell_rec_t *rec = &pool->cells[cell];

    if (cell == 0 || !pool_cell_rests(rec)) {
        return 0;
    }
    return rec->reason == GB_COOL_TRIAL && rec->until > mono + TRIAL_HINT ? mono + TRIAL_HINT
                                                                          : rec->until;
}

static apr_time_t rest_until(const gb_pool_t *pool, u32 slot, u32 model, apr_time_t mono)
{
    u32 project = pool->keys[slot].project;
    apr_time_t until = cell_until(pool, pool_cell_find(pool, project, 0), mono);
    u32 cells[] = {pool_cell_find(pool, project, model), pool_own_find(pool, slot, model)};
    int i;

    for (i = 0; i < 2 && model; i++) {
        apr_time_t at = cell_until(pool, cells[i], mono);

        until = at > until ? at : until;
    }
    return until;
}

static apr_time_t key_until(const gb_pool_t *pool, u32 slot, u32 model, apr_time_t mono)
{
    const key_rec_t *key = &pool->keys[slot];

    if (!key->enabled || key->reserved || key->state == GB_KEY_INVALID) {
        return 0;
    }
    if (key->state != GB_KEY_ACTIVE && key->retry_at) {
        return key->retry_at;
    }
    return rest_until(pool, slot, model, mono);
}

/* When the first of the resting keys serves the model again (mono), of all or of those with a tag;
 * 0 = none rests. */
static apr_time_t soonest_of(const gb_pool_t *pool, u32 name, u32 model, const u64 *tagged,
                             apr_time_t mono)
{
    apr_time_t soonest = 0;
    u32 i;

    for (i = 1; i <= pool->head->keys_top; i++) {
        if (pool->keys[i].used && pool->keys[i].pool == name
            && (tagged == NULL || pool_bit_get(tagged, i))) {
            apr_time_t at = key_until(pool, i, model, mono);

            soonest = at && (soonest == 0 || at < soonest) ? at : soonest;
        }
    }
    return soonest;
}

/* Of all keys, kept for as long as nothing changes. */
static apr_time_t soonest_of_all(gb_pool_t *pool, u32 name, u32 model, const gb_pool_clock_t *clock)
{
    view_rec_t *view = pool_view(pool, name, model);
    const head_t *head = pool->head;
    apr_time_t soonest;

    if (view->seen_pool == head->pools[name].changes && view->seen_any == head->models[0].changes
        && view->seen_model == head->models[model].changes && view->soonest > clock->mono) {
        return view->soonest;
    }
    soonest = soonest_of(pool, name, model, NULL, clock->mono);
    view->seen_pool = head->pools[name].changes;
    view->seen_any = head->models[0].changes;
    view->seen_model = head->models[model].changes;
    view->soonest = soonest;
    return soonest;
}

static apr_interval_time_t wait_until(apr_time_t at, apr_time_t mono)
{
    return at > mono ? at - mono : 0;
}

static gb_pool_answer_t why_none(pick_t *pick, gb_pool_census_t *c)
{
    pool_search_t all = pick->search;
    int members, ready;
    apr_time_t soonest;

    census(pick->pool, pick->name, c);
    if (c->total == 0) {
        return GB_POOL_EMPTY;
    }
    all.busy = all.round = NULL;
    ready = pool_search_count(&all);
    all.rest = all.rest_any = NULL;
    members = pool_search_count(&all);
    c->resting = members - ready;
    soonest = all.tagged
                  ? soonest_of(pick->pool, pick->name, pick->model, all.tagged, pick->clock->mono)
                  : soonest_of_all(pick->pool, pick->name, pick->model, pick->clock);
    c->wait = wait_until(soonest, pick->clock->mono);
    if (members == 0) {
        return pick->want->tag && c->active + c->trial > 0 ? GB_POOL_NO_TAG : GB_POOL_DEAD;
    }
    if (ready == 0) {
        return GB_POOL_RESTING;
    }
    if (pick->room_at) {
        c->wait = wait_until(pick->room_at, pick->clock->mono);
        return GB_POOL_RESTING;
    }
    if (pick->seen_too_large) {
        return GB_POOL_TOO_LARGE;
    }
    return pick->seen_excluded ? GB_POOL_TRIED : GB_POOL_BUSY;
}

/* ---- the one reserved key ---- */

static gb_pool_answer_t pick_only(pick_t *pick, gb_pool_got_t *got, gb_pool_census_t *c)
{
    gb_pool_t *pool = pick->pool;
    u32 slot = gb_pool_find_locked(pool, pick->want->pool, pick->want->only, NULL);
    const key_rec_t *key = &pool->keys[slot];

    census(pool, pick->name, c);
    if (slot == 0 || !key->enabled || key->state == GB_KEY_FAILED || key->state == GB_KEY_INVALID) {
        return GB_POOL_NO_TAG;
    }
    if (pool_bit_get(pick->search.rest, slot) || pool_bit_get(pick->search.rest_any, slot)
        || key->trial_hold) {
        c->resting = 1;
        c->wait = wait_until(rest_until(pool, slot, pick->model, pick->clock->mono),
                             pick->clock->mono);
        return GB_POOL_RESTING;
    }
    if (pick->search.busy && pool_bit_get(pick->search.busy, slot)) {
        return GB_POOL_BUSY;
    }
    take(pick, slot, got);
    return GB_POOL_OK;
}

/* ---- the pick ---- */

static void search_make(pick_t *pick)
{
    gb_pool_t *pool = pick->pool;

    pick->search.member = pool_bits(pool, pool->member, pick->name);
    pick->search.rest_any = pool_bits(pool, pool->rest, 0);
    pick->search.rest = pool_bits(pool, pool->rest, pick->model);
    pick->search.busy = pick->rules->max_concurrent > 0 ? pool->busy : NULL;
    pick->search.tagged = NULL;
    pick->search.round = NULL;
    pick->search.words = pool->head->keys_top / 64 + 1;
}

/* 0: nobody carries the tag. */
static int search_tag(pick_t *pick)
{
    const char *tag = pick->want->tag;
    u32 i;

    if (tag == NULL || *tag == '\0') {
        return 1;
    }
    for (i = 0; i < GB_POOL_TAGS; i++) {
        if (strcmp(pick->pool->head->tags[i], tag) == 0) {
            pick->search.tagged = pool_bits(pick->pool, pick->pool->tagged, i);
            return 1;
        }
    }
    return 0;
}

static gb_pool_answer_t pick_any(pick_t *pick, gb_pool_got_t *got, gb_pool_census_t *c)
{
    u32 slot;

    /* A stampede of deadlines (midnight!) is served in pieces, unless none would be left. */
    while ((slot = choose(pick)) == 0 && pool_timer_due(pick->pool, pick->clock)) {
        pool_timer_run(pick->pool, pick->clock, TICK_MAX);
    }
    if (slot == 0) {
        return why_none(pick, c);
    }
    take(pick, slot, got);
    return GB_POOL_OK;
}

/* A person has named the model: it is worth a record before its first answer. */
static int has_limits(const gb_pool_want_t *want)
{
    return want->limits[GB_LIMIT_RPM] > 0 || want->limits[GB_LIMIT_TPM] > 0
           || want->limits[GB_LIMIT_RPD] > 0;
}

gb_pool_answer_t gb_pool_pick_locked(gb_pool_t *pool, const gb_pool_want_t *want,
                                     const gb_pool_rules_t *rules, const gb_pool_clock_t *clock,
                                     gb_pool_got_t *got, gb_pool_census_t *c)
{
    pick_t pick = {.pool = pool, .want = want, .rules = rules, .clock = clock};

    got->slot = 0;
    memset(c, 0, sizeof(*c));
    pick.name = pool_name_find(pool, want->pool);
    if (pick.name == 0) {
        return GB_POOL_UNKNOWN;
    }
    pool_timer_run(pool, clock, TICK_MAX);
    pick.model = has_limits(want) ? pool_model_get(pool, want->model, clock->mono)
                                  : pool_model_find(pool, want->model);
    pick.view = pool_view(pool, pick.name, pick.model);
    pool_busy_cap(pool, pick.name, rules->max_concurrent);
    if (memcmp(pick.view->by_hand, want->limits, sizeof(want->limits)) != 0) {
        limits_changed(&pick);
    }
    c->wait = pool_breaker_wait(pick.view, clock, &pick.probe);
    if (c->wait > 0) {
        return GB_POOL_BROKEN;
    }
    search_make(&pick);
    if (want->only) {
        return pick_only(&pick, got, c);
    }
    if (!search_tag(&pick)) {
        census(pool, pick.name, c);
        return c->total ? GB_POOL_NO_TAG : GB_POOL_EMPTY;
    }
    return pick_any(&pick, got, c);
}

int gb_pool_census_locked(gb_pool_t *pool, const char *name, const char *model,
                          const gb_pool_clock_t *clock, gb_pool_census_t *c)
{
    static const gb_pool_rules_t no_rules = {.max_concurrent = 0};
    pick_t pick = {.pool = pool, .clock = clock, .rules = &no_rules};
    int ready;

    pick.name = pool_name_find(pool, name);
    if (pick.name == 0) {
        return 0;
    }
    pool_timer_run(pool, clock, -1);
    pick.model = pool_model_find(pool, model);
    search_make(&pick);
    census(pool, pick.name, c);
    ready = pool_search_count(&pick.search);
    pick.search.rest = pick.search.rest_any = NULL;
    c->resting = pool_search_count(&pick.search) - ready;
    if (ready == 0) {
        c->wait = wait_until(soonest_of_all(pool, pick.name, pick.model, clock), clock->mono);
    }
    return 1;
}
