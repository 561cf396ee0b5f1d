/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block's records and what the files of the pool share.  Private to
 * modules/pool.
 *
 *   +------+-------+-------+----------+---------+------+---------+-------+-------+-------+------+------+
 *   | head | views | keys  | projects | secrets | cells| holds   | heap  | key   | label | cell | bits |
 *   |      | p x m | 1..K  | 1..K     | 1..K    | 1..C | 1..H    | K + C | hash  | hash  | hash |      |
 *   +------+-------+-------+----------+---------+------+---------+-------+-------+-------+------+------+
 *
 * Everything is 1-based, 0 = none, no pointers.  C = 4 K, H = 2 K (at least
 * 4,096 each).  Memory is taken from the front of each table, so pages of
 * unused records are never touched.
 */
#ifndef GB_POOL_INT_H
#define GB_POOL_INT_H

#include <string.h>
#include "pool/pool.h"

typedef apr_uint32_t u32;
typedef apr_uint64_t u64;
typedef apr_int64_t i64;

#define POOL_MAGIC       0x67624b504f4f4c31ULL
#define WINDOW_RPM_N     64 /* slices of 1 s, of which count ... */
#define WINDOW_RPM_SPAN  61 /* ... a minute's and the running one */
#define WINDOW_RPM_SLICE (1 * APR_USEC_PER_SEC)
#define WINDOW_TPM_N     16 /* slices of 4 s */
#define WINDOW_TPM_SLICE (4 * APR_USEC_PER_SEC)
#define WINDOW_MINUTE    (60 * APR_USEC_PER_SEC)
#define MODEL_BUCKETS    1024
#define BLAME_N          64
#define GUARD_N          16
#define FAULT_N          16
#define TICK_MAX         64   /* deadlines served by one pick */
#define SEARCH_MAX       64   /* candidates looked at closely by one pick ... */
#define SEARCH_FAR       1024 /* ... and of a prompt that has no room with them */
#define DAY              (24 * 3600 * (i64)APR_USEC_PER_SEC)
#define HOUR             (3600 * (i64)APR_USEC_PER_SEC)

typedef struct key_rec_t {
    u32 used; /* written last when made, first when freed */
    u32 generation;
    u32 pool, project;
    u32 next_hash; /* also the free list */
    u32 next_in_project;
    u32 timer; /* position in the heap, 0 = not there */
    u32 trial_hold;
    u32 in_flight;
    u32 tags; /* bit mask */
    u32 secret_len;
    u32 failures, strikes, checks;
    unsigned char weight, enabled, reserved, source, state, revocable, check_wanted, by_hand;
    unsigned char digest[GB_POOL_DIGEST_LEN];
    char id[GB_POOL_ID_LEN];
    apr_time_t retry_at;                                           /* mono; heap */
    apr_time_t added, state_since, last_used, next_check, text_at; /* wall */
    u64 picks, successes, neutral, quotas, faults, deaths, lost;
    u64 prompt_tokens, total_tokens, day_calls, day_tokens;
    apr_time_t day_ends; /* wall */
    char row[GB_POOL_ROW_LEN];
    char text[GB_POOL_TEXT_LEN];
    char note[GB_POOL_NOTE_LEN];
} key_rec_t;

typedef struct project_rec_t {
    u32 used;
    u32 n_keys, first_key, first_cell; /* derived */
    u32 next_hash;                     /* by label; also the free list */
    u32 unused;
    char label[GB_POOL_LABEL_LEN]; /* "" = a key of its own */
} project_rec_t;

typedef struct cell_rec_t {
    u32 project;   /* 0 = free */
    u32 key;       /* 0 = all keys of the project, else this one alone */
    u32 model;     /* index of the model table, 0 = all models */
    u32 next_hash; /* also the free list */
    u32 next_in_project;
    u32 timer;
    u32 trial_hold;
    u32 strikes;
    unsigned char reason, half_open,
        day_told;         /* told: the day's end came from Google, not midnight */
    apr_time_t until;     /* mono; heap */
    apr_time_t last_used; /* mono */
    u64 successes, quotas;
    i64 limits[GB_LIMIT_N];
    apr_time_t limit_since[GB_LIMIT_N]; /* mono */
    unsigned char held[GB_LIMIT_N];
    i64 rpm_slice, tpm_slice; /* number of the newest slice */
    unsigned short rpm[WINDOW_RPM_N];
    u32 tpm[WINDOW_TPM_N];
    u64 rpd;
    apr_time_t day_ends; /* wall */
} cell_rec_t;

typedef struct model_rec_t {
    u32 used;
    u32 changes;
    apr_time_t last_used; /* mono */
    char name[GB_POOL_MODEL_LEN];
} model_rec_t;

typedef struct hold_rec_t {
    u32 key; /* 0 = free */
    u32 generation, serial;
    u32 cell, any_cell; /* where it was counted; a cell's trial_hold says if it is a trial */
    u32 child;
    u32 next, prev; /* of the child; next also the free list */
    u32 probe;      /* 1 + model index: it is the breaker's probe */
    i64 tokens;     /* as estimated, until the report tells */
} hold_rec_t;

typedef struct child_rec_t {
    u32 pid; /* 0 = free */
    u32 first_hold;
    u64 start_time;
} child_rec_t;

/* (pool, model): whose turn it is, and the model's breaker. */
typedef struct view_rec_t {
    u32 cursor, round;
    u32 seen_pool, seen_model, seen_any; /* the change counts that `soonest` was made from */
    u32 fault_n;                         /* since fault_first */
    apr_time_t soonest;
    apr_time_t fault_first;
    apr_time_t faults[FAULT_N]; /* newest first */
    u32 fault_project[2];       /* the two projects that failed last */
    apr_time_t fault_project_at[2];
    apr_time_t open_until, probe_until;
    apr_interval_time_t open_for; /* 0 = closed */
    i64 by_hand[GB_LIMIT_N];      /* the limits that the last pick came with */
} view_rec_t;

typedef struct blame_t {
    u32 key, generation, model, unused;
    apr_time_t at;
} blame_t;

typedef struct pool_rec_t {
    char name[GB_POOL_NAME_LEN]; /* "" = free */
    u32 changes;
    u32 cap;        /* the concurrency cap that `busy` was made for */
    u32 weight_max; /* derived, like the counts */
    u32 n_total, n_off, n_state[4];
    u32 n_blame, guard_tripped;
    blame_t blame[BLAME_N];
    i64 guard_slice;
    u32 guard[GUARD_N];
    u32 ok_key[2]; /* the two keys that answered last ... */
    apr_time_t ok_at[2];
    apr_time_t guard_at;
} pool_rec_t;

typedef struct head_t {
    u64 magic;
    u64 size;
    u32 max_keys, max_cells, max_holds, words;
    u32 keys_top, cells_top, holds_top, projects_top;     /* records ever used */
    u32 keys_free, cells_free, holds_free, projects_free; /* free lists */
    u32 heap_n, hold_serial, evict_at, unused;
    u64 changes, random;
    pool_rec_t pools[GB_POOL_NAMES + 1];
    model_rec_t models[GB_POOL_MODELS + 1];
    u32 model_hash[MODEL_BUCKETS]; /* open addressing, derived */
    char tags[GB_POOL_TAGS][GB_POOL_TAG_LEN];
    child_rec_t children[GB_POOL_CHILDREN + 1];
} head_t;

struct gb_pool_t {
    head_t *head;
    view_rec_t *views;
    key_rec_t *keys;
    project_rec_t *projects;
    char *secrets;
    cell_rec_t *cells;
    hold_rec_t *holds;
    u32 *heap, *key_hash, *label_hash, *cell_hash;
    u32 key_mask, cell_mask;
    u64 *member, *rest, *busy, *tagged, *round; /* tables of bitmaps of head->words words */
};

/* Writes in the order of the text: what counts is what a process that dies leaves behind. */
#define POOL_IN_ORDER() __asm__ __volatile__("" ::: "memory")

/* ---- bits.h style helpers ---- */

static inline u64 *pool_bits(const gb_pool_t *pool, u64 *table, u32 row)
{
    return table + (apr_size_t)row * pool->head->words;
}

static inline void pool_bit_put(u64 *bits, u32 slot, int on)
{
    u64 mask = (u64)1 << (slot & 63);

    if (on) {
        bits[slot >> 6] |= mask;
    }
    else {
        bits[slot >> 6] &= ~mask;
    }
}

static inline int pool_bit_get(const u64 *bits, u32 slot)
{
    return (int)(bits[slot >> 6] >> (slot & 63)) & 1;
}

static inline view_rec_t *pool_view(const gb_pool_t *pool, u32 name, u32 model)
{
    return &pool->views[(apr_size_t)name * (GB_POOL_MODELS + 1) + model];
}

static inline u64 pool_mix(u64 x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ (x >> 33);
}

/* ---- layout.c ---- */

void pool_attach(gb_pool_t *pool, void *block, apr_size_t size);
char *pool_secret_at(const gb_pool_t *pool, u32 slot);

/* ---- rebuild.c ---- */

void pool_rebuild(gb_pool_t *pool);

/* ---- timer.c: one heap for cells (1..C) and keys (C+1..C+K) ---- */

void pool_timer_cell(gb_pool_t *pool, u32 cell, apr_time_t at);
void pool_timer_key(gb_pool_t *pool, u32 slot, apr_time_t at);
void pool_timer_cell_off(gb_pool_t *pool, u32 cell);
void pool_timer_key_off(gb_pool_t *pool, u32 slot);
int pool_timer_due(const gb_pool_t *pool, const gb_pool_clock_t *clock);
/* Serves up to max deadlines that have passed; -1 = all of them. */
void pool_timer_run(gb_pool_t *pool, const gb_pool_clock_t *clock, int max);
void pool_timer_rebuild(gb_pool_t *pool);
int pool_timer_sound(const gb_pool_t *pool);

/* ---- keys.c ---- */

u32 pool_name_find(const gb_pool_t *pool, const char *name);
/* Whether a key is picked in turn; sets its bits accordingly. */
void pool_key_bits(gb_pool_t *pool, u32 slot);
void pool_key_state(gb_pool_t *pool, u32 slot, gb_pool_state_t state, apr_time_t wall);
void pool_key_day(key_rec_t *key, apr_time_t wall);
void pool_key_hash_in(gb_pool_t *pool, u32 slot);
void pool_key_count(gb_pool_t *pool, u32 slot, int more);
void pool_tags_text(const gb_pool_t *pool, u32 mask, char *out, apr_size_t size);
void pool_changed(gb_pool_t *pool, u32 name);

/* A mono deadline as wall time and back; 0 stays 0. */
static inline apr_time_t pool_to_wall(apr_time_t mono, const gb_pool_clock_t *clock)
{
    return mono ? clock->wall + (mono - clock->mono) : 0;
}

static inline apr_time_t pool_to_mono(apr_time_t wall, const gb_pool_clock_t *clock)
{
    return wall ? clock->mono + (wall - clock->wall) : 0;
}

/* ---- projects.c ---- */

/* The project of that label, made if need be ("" makes a new one).  0: no room, which cannot be. */
u32 pool_project_get(gb_pool_t *pool, const char *label);
u32 pool_project_find(const gb_pool_t *pool, const char *label);
u64 pool_label_hash(const char *label);
void pool_project_join(gb_pool_t *pool, u32 slot, u32 project);
void pool_project_quit(gb_pool_t *pool, u32 slot); /* the last one takes it along */
void pool_project_drop(gb_pool_t *pool, u32 project);
void pool_project_label(gb_pool_t *pool, u32 project, const char *label);
/* Moves all keys of one project into another and merges what is known. */
void pool_project_merge(gb_pool_t *pool, u32 from, u32 into, apr_time_t mono);

/* ---- cells.c ---- */

u32 pool_model_find(const gb_pool_t *pool, const char *name);
u32 pool_model_get(gb_pool_t *pool, const char *name, apr_time_t mono);
void pool_models_hash(gb_pool_t *pool);
u32 pool_cell_find(const gb_pool_t *pool, u32 project, u32 model);
u32 pool_cell_get(gb_pool_t *pool, u32 project, u32 model, apr_time_t mono);
/* The same for one key's own cell. */
u32 pool_own_find(const gb_pool_t *pool, u32 slot, u32 model);
u32 pool_own_get(gb_pool_t *pool, u32 slot, u32 model, apr_time_t mono);
u32 pool_cell_twin(const gb_pool_t *pool, const cell_rec_t *cell);
void pool_cell_hash_in(gb_pool_t *pool, u32 cell);
void pool_own_drop(gb_pool_t *pool, u32 slot);
/* Whether a key rests for a model, by its project's cell or its own. */
int pool_slot_rests(const gb_pool_t *pool, u32 slot, u32 model);
void pool_cell_free(gb_pool_t *pool, u32 cell);
void pool_cell_rest(gb_pool_t *pool, u32 cell, gb_pool_cool_t reason, apr_time_t until);
void pool_cell_serve(gb_pool_t *pool, u32 cell);
/* Whether a key serves a cell is decided by these words. */
static inline int pool_cell_rests(const cell_rec_t *cell)
{
    return cell->until != 0;
}
/* Writes a cell's state into the bits of all keys of its project. */
void pool_cell_bits(gb_pool_t *pool, u32 cell);
void pool_cell_fired(gb_pool_t *pool, u32 cell);

/* ---- window.c ---- */

void pool_window_add(cell_rec_t *cell, i64 tokens, const gb_pool_clock_t *clock);
void pool_window_tokens(cell_rec_t *cell, i64 more, const gb_pool_clock_t *clock);
i64 pool_window_used(cell_rec_t *cell, gb_pool_limit_t which, const gb_pool_clock_t *clock);
/* The limit that holds: set by hand, else learnt and confirmed.  0 = none. */
i64 pool_window_limit(const cell_rec_t *cell, gb_pool_limit_t which, const i64 *by_hand,
                      apr_time_t mono);
/* When there is room again (mono); 0: there is. */
apr_time_t pool_window_full(cell_rec_t *cell, const i64 *by_hand, const gb_pool_clock_t *clock);
/* Room left as a share of the tightest limit, 0..1000. */
int pool_window_room(cell_rec_t *cell, const i64 *by_hand, const gb_pool_clock_t *clock);
void pool_window_learn(cell_rec_t *cell, gb_pool_limit_t which, i64 value,
                       const gb_pool_clock_t *clock);

/* ---- holds.c ---- */

/* 0 when there is no record left or nobody to note it for: the call goes on without. */
u32 pool_hold_take(gb_pool_t *pool, u32 slot, int child);
u32 pool_hold_find(const gb_pool_t *pool, const gb_pool_got_t *got);
void pool_hold_drop(gb_pool_t *pool, u32 hold);
void pool_busy_put(gb_pool_t *pool, u32 slot);
void pool_busy_cap(gb_pool_t *pool, u32 name, int cap);

/* ---- trials.c ---- */

/* Whether this pick is a trial of any of them. */
int pool_trial_begin(gb_pool_t *pool, u32 slot, u32 hold, u32 cell, u32 any_cell, apr_time_t until);
/* passed: an answer came that a resting key or model would not have given. */
void pool_trial_end(gb_pool_t *pool, u32 hold, int passed);

/* ---- breaker.c: what is the model's fault, and what keeps a pool from emptying ---- */

void pool_breaker_fault(gb_pool_t *pool, u32 name, u32 model, u32 project,
                        const gb_pool_rules_t *rules, const gb_pool_clock_t *clock,
                        gb_pool_events_t *events);
void pool_breaker_success(gb_pool_t *pool, u32 name, u32 model, gb_pool_events_t *events);
/* How long the model is out; 0: it may be asked (then *probe says whether as the probe). */
apr_interval_time_t pool_breaker_wait(view_rec_t *view, const gb_pool_clock_t *clock, int *probe);
void pool_breaker_probe(view_rec_t *view, const gb_pool_clock_t *clock);
/* Whether n more active keys may leave now (1; they are counted), or must stay: 0, or -1 when that
 * was said within the window already. */
int pool_guard_allows(gb_pool_t *pool, u32 name, u32 n, const gb_pool_rules_t *rules,
                      const gb_pool_clock_t *clock);
void pool_blame_add(gb_pool_t *pool, u32 slot, u32 model, const gb_pool_clock_t *clock);
void pool_blame_forget(pool_rec_t *rec, u32 key, u32 model);

/* ---- search.c: the next key whose bits are right ---- */

typedef struct pool_search_t {
    const u64 *member;
    const u64 *rest, *rest_any;       /* both or none */
    const u64 *busy, *tagged, *round; /* may be NULL */
    u32 words;
} pool_search_t;

/* The first slot from `from` on, 0 = none; does not go around. */
u32 pool_search_next(const pool_search_t *search, u32 from);
int pool_search_count(const pool_search_t *search);

/* ---- report.c ---- */

/* NULL when events is or when it is full. */
gb_pool_event_t *pool_event(gb_pool_events_t *events, gb_pool_event_kind_t kind);

#endif
