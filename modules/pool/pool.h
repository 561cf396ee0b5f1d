/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key pool's algorithm on a block of memory.  Lock and clock belong to the
 * caller: every function whose name ends in _locked expects the segment's lock
 * (one lock for all pools) and does arithmetic only - no I/O, no logging, no
 * allocation, no secrets but the picked one.
 *
 * The idea.  Google's quotas hold per project and model, so what cools down is
 * a *cell*: a (project, model) pair.  A key without a project label is a
 * project of its own.  A cell whose model is "" stands for all models of its
 * project.  What Google does not say to be the project's - a 429 without
 * details - rests in a cell of one key's own.  For each model one bitmap over all key slots says which keys rest;
 * for each pool one says which keys are members in good health.  A pick is the
 * next bit that is set in
 *
 *     member[pool] & ~resting[""] & ~resting[model] & ~busy & tagged & round
 *
 * so it costs the same whether 10 keys stand ready or 10 of 10,000.  One heap
 * of deadlines clears the bits when cool-downs end.
 *
 * Keys, cells and what processes hold are records; bitmaps, heap, chains and
 * counts are derived from them and are built anew when an editor died
 * (gb_pool_repair).
 */
#ifndef GB_POOL_H
#define GB_POOL_H

#include <apr_pools.h>
#include <apr_time.h>

#define GB_POOL_VERSION     3
#define GB_POOL_NAMES       64  /* named pools in one block: two for each that is configured */
#define GB_POOL_MODELS      256 /* model names that are remembered at a time */
#define GB_POOL_TAGS        32
#define GB_POOL_WEIGHT_MAX  16
#define GB_POOL_CHILDREN    512
#define GB_POOL_SECRET_MAX  512
#define GB_POOL_NAME_LEN    64
#define GB_POOL_MODEL_LEN   96
#define GB_POOL_ID_LEN      20
#define GB_POOL_LABEL_LEN   40
#define GB_POOL_TAG_LEN     24
#define GB_POOL_NOTE_LEN    96
#define GB_POOL_ROW_LEN     40
#define GB_POOL_TEXT_LEN    200
#define GB_POOL_DIGEST_LEN  32
#define GB_POOL_EXCLUDE_MAX 32
#define GB_POOL_QUOTAS      4
#define GB_POOL_EVENTS      8
#define GB_POOL_MAX_KEYS    1000000

typedef struct gb_pool_t gb_pool_t; /* a process's view of the block */

/* Both clocks, read once by the caller: mono for deadlines, wall for days and pages. */
typedef struct gb_pool_clock_t {
    apr_time_t mono;
    apr_time_t wall;
} gb_pool_clock_t;

/* ---- the block ---- */

apr_size_t gb_pool_size(int max_keys);
/* The segment's tenant functions. */
void gb_pool_init(void *block, apr_size_t size);
void gb_pool_repair(void *block, apr_size_t size, apr_uint32_t slot);
void gb_pool_adopt(void *block, apr_size_t size, const void *old, apr_size_t old_size,
                   apr_uint32_t old_version);

/* From p; valid as long as the block is. */
gb_pool_t *gb_pool_attach(void *block, apr_size_t size, apr_pool_t *p);
int gb_pool_max_keys(const gb_pool_t *pool);

/* All invariants of records and derived structures; 0 and *why (static text) when one is broken. */
int gb_pool_sound_locked(gb_pool_t *pool, const char **why);

/* ---- rules: the settings that the algorithm needs ---- */

typedef enum {
    GB_POLICY_ROUND_ROBIN,
    GB_POLICY_LEAST_USED,
    GB_POLICY_HEADROOM,
    GB_POLICY_STICKY
} gb_pool_policy_t;

typedef struct gb_pool_rules_t {
    gb_pool_policy_t policy;
    int max_failures;
    int max_concurrent;                       /* calls a key serves at a time, 0 = any number */
    apr_interval_time_t cool_first, cool_max; /* 429s that do not say how long */
    double cool_factor;
    int breaker_failures;
    apr_interval_time_t breaker_window, breaker_open, breaker_max;
    apr_interval_time_t guard_window;
    apr_interval_time_t blame_window;           /* in which a success elsewhere blames the key */
    apr_interval_time_t retry_first, retry_max; /* a failed key's half-open trials */
    apr_interval_time_t trial_time;             /* after which a silent trial is given up */
    int jitter;                                 /* per mille added to told cool-downs */
} gb_pool_rules_t;

/* The defaults of the table of settings. */
void gb_pool_rules_init(gb_pool_rules_t *rules);

typedef enum { GB_LIMIT_RPM, GB_LIMIT_TPM, GB_LIMIT_RPD, GB_LIMIT_N } gb_pool_limit_t;

/* ---- pick ---- */

typedef struct gb_pool_want_t {
    const char *pool;
    const char *model;              /* "" for calls without one */
    const char *tag;                /* a key must carry it; NULL = any key */
    const unsigned char *only;      /* digest of the one key that will do (PAID_KEY); NULL */
    apr_uint64_t affinity;          /* sticky: hash, 0 = none */
    apr_int64_t tokens;             /* estimate of the prompt */
    apr_int64_t limits[GB_LIMIT_N]; /* set by hand, 0 = learnt ones hold */
    int n_exclude;
    const apr_uint32_t *exclude; /* slots that this call has tried */
    int child;                   /* from gb_pool_child_enter_locked */
} gb_pool_want_t;

typedef struct gb_pool_got_t {
    apr_uint32_t slot, generation, project;
    apr_uint64_t hold; /* hand it back with the report; 0 = not recorded */
    int half_open;
    char id[GB_POOL_ID_LEN];
    char secret[GB_POOL_SECRET_MAX + 1];
} gb_pool_got_t;

typedef enum {
    GB_POOL_OK,
    GB_POOL_BUSY,      /* all that could serve are at their concurrency cap */
    GB_POOL_RESTING,   /* all cool down: wait says until when */
    GB_POOL_TRIED,     /* this call has tried all that could serve */
    GB_POOL_TOO_LARGE, /* the prompt is larger than any key's tokens per minute */
    GB_POOL_BROKEN,    /* the model's breaker is open: wait */
    GB_POOL_NO_TAG,    /* no living key carries the tag, or `only` is out */
    GB_POOL_DEAD,      /* keys, but none that is alive */
    GB_POOL_EMPTY,     /* the pool has no key */
    GB_POOL_UNKNOWN
} gb_pool_answer_t;

/* Why there was none, for the message: how many keys rest, died, were switched off. */
typedef struct gb_pool_census_t {
    int total, active, trial, failed, invalid, off;
    int resting; /* of the active ones, for the model asked */
    apr_interval_time_t wait;
} gb_pool_census_t;

gb_pool_answer_t gb_pool_pick_locked(gb_pool_t *pool, const gb_pool_want_t *want,
                                     const gb_pool_rules_t *rules, const gb_pool_clock_t *clock,
                                     gb_pool_got_t *got, gb_pool_census_t *census);

/* ---- report ---- */

typedef enum {
    GB_OUT_SUCCESS,      /* an answer with content */
    GB_OUT_ANSWERED,     /* empty or blocked: the key did its part */
    GB_OUT_NOTHING,      /* client fault, affinity, cancelled ...: says nothing */
    GB_OUT_KEY,          /* dead */
    GB_OUT_PROJECT,      /* all keys of the project are dead */
    GB_OUT_ACCOUNT,      /* the same, asked again every hour */
    GB_OUT_REGION,       /* the project rests, for all models */
    GB_OUT_MODEL_ACCESS, /* the project is not offered the model: 24 h */
    GB_OUT_UNKNOWN_AUTH, /* a 401 or 403 that nobody knows: ask in the background */
    GB_OUT_QUOTA,
    GB_OUT_SERVICE,
    GB_OUT_OVERLOADED, /* the model's fault, never the key's */
    GB_OUT_N
} gb_pool_kind_t;

typedef enum {
    GB_SPAN_NONE,
    GB_SPAN_MINUTE,
    GB_SPAN_DAY,
    GB_SPAN_UNAVAILABLE, /* limit 0 */
    GB_SPAN_MONTH,
    GB_SPAN_AMBIGUOUS
} gb_pool_span_t;

typedef struct gb_pool_quota_t {
    const char *model; /* the model that Google counted, "" if not told */
    gb_pool_span_t span;
    int tokens;        /* counts tokens, not requests */
    apr_int64_t value; /* -1 if not told */
} gb_pool_quota_t;

typedef struct gb_pool_outcome_t {
    gb_pool_kind_t kind;
    int revocable;             /* KEY: may be asked again daily */
    int by_proxy;              /* SERVICE: perhaps a proxy's fault, never the model's */
    gb_pool_span_t span;       /* QUOTA: the longest one violated */
    apr_interval_time_t delay; /* as told, -1 = not told */
    int n_quotas;
    gb_pool_quota_t quotas[GB_POOL_QUOTAS];
    const char *project;                     /* label learnt from the answer (hashed), "" or NULL */
    const char *row;                         /* the table row that fired */
    const char *text;                        /* Google's words, redacted */
    apr_int64_t prompt_tokens, total_tokens; /* -1 unknown */
} gb_pool_outcome_t;

typedef enum {
    GB_EVENT_COOLS,     /* until; a cell or (model "") a project */
    GB_EVENT_RECOVERED, /* a trial went well */
    GB_EVENT_FAILED,    /* out by failures */
    GB_EVENT_INVALID,   /* out by Google's word; n keys */
    GB_EVENT_CHECK,     /* a background check is wanted */
    GB_EVENT_GUARD,     /* would have left the pool; the guard kept it */
    GB_EVENT_BREAKER_OPEN,
    GB_EVENT_BREAKER_CLOSED,
    GB_EVENT_LIMIT,  /* a limit was learnt: n is its value */
    GB_EVENT_GROUPED /* the key belongs to a project with others */
} gb_pool_event_kind_t;

/* What changed, to be logged after the lock is given back. */
typedef struct gb_pool_event_t {
    gb_pool_event_kind_t kind;
    apr_uint32_t slot;
    apr_int64_t n;
    apr_interval_time_t lasts;
    char id[GB_POOL_ID_LEN];
    char model[GB_POOL_MODEL_LEN];
    char row[GB_POOL_ROW_LEN];
} gb_pool_event_t;

typedef struct gb_pool_events_t {
    int n;
    gb_pool_event_t items[GB_POOL_EVENTS];
} gb_pool_events_t;

/*
 * Tells what became of a picked key, exactly once.  A report for a slot that
 * was reused meanwhile changes nothing.  events may be NULL.
 */
void gb_pool_report_locked(gb_pool_t *pool, const gb_pool_got_t *got, const char *model,
                           const gb_pool_outcome_t *outcome, const gb_pool_rules_t *rules,
                           const gb_pool_clock_t *clock, gb_pool_events_t *events);

/* The same for a check that was made outside of any client's call; no key was held for it. */
void gb_pool_checked_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                            const char *model, const gb_pool_outcome_t *outcome,
                            const gb_pool_rules_t *rules, const gb_pool_clock_t *clock,
                            gb_pool_events_t *events);

/* ---- processes ---- */

/* A slot for this process (1-based); 0 when all are taken by living ones. */
int gb_pool_child_enter_locked(gb_pool_t *pool, apr_uint32_t pid, apr_uint64_t start_time);
/* Who is in a slot, to ask outside of the lock whether it lives.  0: nobody. */
int gb_pool_child_get_locked(gb_pool_t *pool, int child, apr_uint32_t *pid,
                             apr_uint64_t *start_time);
/* Gives back all that it held, if it is still that process.  Returns how many calls those were. */
int gb_pool_child_leave_locked(gb_pool_t *pool, int child, apr_uint32_t pid,
                               apr_uint64_t start_time);

/* ---- keys ---- */

typedef enum {
    GB_KEY_ACTIVE,
    GB_KEY_TRIAL,  /* was out by failures; one real call decides */
    GB_KEY_FAILED, /* out by failures */
    GB_KEY_INVALID /* out by Google's word */
} gb_pool_state_t;

#define GB_KEY_SOURCE_CONF  0 /* its secret comes from the configuration */
#define GB_KEY_SOURCE_ADMIN 1 /* added while httpd ran */

typedef struct gb_pool_key_t {
    char pool[GB_POOL_NAME_LEN];
    char id[GB_POOL_ID_LEN];
    unsigned char digest[GB_POOL_DIGEST_LEN]; /* SHA-256 of the secret */
    char project[GB_POOL_LABEL_LEN];          /* label, "" = its own */
    int project_by_hand;
    char tags[128]; /* comma-separated */
    char note[GB_POOL_NOTE_LEN];
    int weight; /* 1..16 */
    int enabled;
    int reserved; /* PAID_KEY: never picked in turn */
    int source;
    gb_pool_state_t state;
    int revocable;
    int failures;                                         /* in a row */
    int strikes;                                          /* trials that failed in a row */
    int checks;                                           /* checks that failed in a row */
    apr_time_t added, state_since, last_used, next_check; /* wall */
    apr_time_t retry_at;         /* wall: the next trial of a failed key, 0 = none */
    char row[GB_POOL_ROW_LEN];   /* what fired last */
    char text[GB_POOL_TEXT_LEN]; /* Google's words */
    apr_time_t text_at;
    apr_uint64_t picks, successes, neutral, quotas, faults, deaths, lost;
    apr_uint64_t prompt_tokens, total_tokens;
    apr_uint64_t day_calls, day_tokens; /* since midnight Pacific */
    apr_time_t day_ends;
    /* given out only: */
    apr_uint32_t slot, generation, project_slot;
    int in_flight;
    int resting; /* cells of its project that cool down now */
    int check_wanted;
} gb_pool_key_t;

typedef enum {
    GB_COOL_NONE,
    GB_COOL_MINUTE,
    GB_COOL_DAY,
    GB_COOL_UNAVAILABLE,
    GB_COOL_MONTH,
    GB_COOL_AMBIGUOUS,
    GB_COOL_REGION,
    GB_COOL_ACCESS,
    GB_COOL_LEARNT, /* our own counters say that the limit is reached */
    GB_COOL_TRIAL   /* half-open: a trial is under way */
} gb_pool_cool_t;

/* One (project, model), as pages and persistence see it. */
typedef struct gb_pool_cell_t {
    apr_uint32_t project_slot;
    char project[GB_POOL_LABEL_LEN];
    unsigned char digest[GB_POOL_DIGEST_LEN]; /* of one key of the project */
    char model[GB_POOL_MODEL_LEN];            /* "" = all */
    gb_pool_cool_t reason;
    apr_time_t until; /* wall, 0 = serves */
    int own;          /* of the key with that digest alone, not of its project */
    int half_open;
    int strikes;
    apr_int64_t limits[GB_LIMIT_N];     /* learnt, 0 = not known */
    int held[GB_LIMIT_N];               /* our own counters agreed */
    apr_time_t limit_since[GB_LIMIT_N]; /* wall */
    apr_int64_t used[GB_LIMIT_N];       /* in the window that runs */
    apr_time_t day_ends;
    apr_uint64_t successes, quotas;
} gb_pool_cell_t;

/* Makes the pool if it is not there.  0: there are GB_POOL_NAMES already. */
int gb_pool_open_locked(gb_pool_t *pool, const char *name);

/*
 * Adds a key.  spec's pool, id, digest and what a person may set count; for a
 * key that comes back from persistence, its state and counters too.
 *   APR_SUCCESS  *pslot is its slot
 *   APR_EEXIST   the pool has it: *pslot, nothing changed
 *   APR_ENOSPC   the table is full (or there are too many pools)
 * A key of the same secret in another pool shares its project.
 */
apr_status_t gb_pool_add_locked(gb_pool_t *pool, const gb_pool_key_t *spec, const char *secret,
                                apr_size_t len, const gb_pool_clock_t *clock, apr_uint32_t *pslot);

/* By digest, or by id (first hexadecimal digits of the digest) when digest is NULL.  0 = not there. */
apr_uint32_t gb_pool_find_locked(gb_pool_t *pool, const char *name, const unsigned char *digest,
                                 const char *id);

apr_status_t gb_pool_get_locked(gb_pool_t *pool, apr_uint32_t slot, gb_pool_key_t *key,
                                const gb_pool_clock_t *clock);
/* The secret of one key, NUL-terminated: for the transport, sealing and the one who reveals it. */
apr_status_t gb_pool_secret_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                                   char secret[GB_POOL_SECRET_MAX + 1]);

/* What a person may change; a member that is NULL or -1 stays as it is. */
typedef struct gb_pool_edit_t {
    const char *project, *tags, *note;
    int weight, enabled, reserved;
    const char *tags_add, *tags_remove; /* of those that it has */
} gb_pool_edit_t;

#define GB_POOL_EDIT_NONE                                                                          \
    {                                                                                              \
        NULL, NULL, NULL, -1, -1, -1, NULL, NULL                                                   \
    }

/* APR_NOTFOUND; APR_EINVAL (weight); APR_ENOSPC (too many different tags, or too many of a key):
 * then nothing is changed. */
apr_status_t gb_pool_edit_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                                 const gb_pool_edit_t *edit, const gb_pool_clock_t *clock);
/* Failures to 0, active again, no cool-down of its project. */
apr_status_t gb_pool_reset_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation,
                                  const gb_pool_clock_t *clock);
apr_status_t gb_pool_remove_locked(gb_pool_t *pool, apr_uint32_t slot, apr_uint32_t generation);

/* Walks: fills up to n rows from slot *pat on (start at 1) and moves *pat; returns how many.
 * 0: the end.  pool name NULL: all pools. */
int gb_pool_list_locked(gb_pool_t *pool, const char *name, apr_uint32_t *pat, gb_pool_key_t *rows,
                        int n, const gb_pool_clock_t *clock);
int gb_pool_cells_locked(gb_pool_t *pool, apr_uint32_t *pat, gb_pool_cell_t *rows, int n,
                         const gb_pool_clock_t *clock);
/* All cells that one key must mind: those of its project and its own; at most n. */
int gb_pool_key_cells_locked(gb_pool_t *pool, apr_uint32_t slot, gb_pool_cell_t *rows, int n,
                             const gb_pool_clock_t *clock);
/* A cell from persistence: belongs to the key with that digest, or to its project. */
void gb_pool_restore_cell_locked(gb_pool_t *pool, const gb_pool_cell_t *cell,
                                 const gb_pool_clock_t *clock);

/* Keys that are out (or wanted to be checked) and whose time has come, oldest first served:
 * marks them as taken until now + 10 minutes and returns how many. */
int gb_pool_due_locked(gb_pool_t *pool, const char *name, gb_pool_key_t *rows, int n,
                       apr_interval_time_t interval, const gb_pool_clock_t *clock);

/* Counts of a pool for one model ("" = none); 0: no such pool. */
int gb_pool_census_locked(gb_pool_t *pool, const char *name, const char *model,
                          const gb_pool_clock_t *clock, gb_pool_census_t *census);

/* A model that fails on every project, and how long it is left alone still. */
typedef struct gb_pool_broken_t {
    char model[GB_POOL_MODEL_LEN];
    apr_interval_time_t wait;
} gb_pool_broken_t;

/* Those of a pool, at most n; how many there were. */
int gb_pool_broken_locked(gb_pool_t *pool, const char *name, gb_pool_broken_t *rows, int n,
                          const gb_pool_clock_t *clock);

/* Grows with every change that persistence would want to keep. */
apr_uint64_t gb_pool_changes_locked(gb_pool_t *pool);

/* Ends every cool-down whose time has come; picks and reports do so by themselves. */
void gb_pool_tick_locked(gb_pool_t *pool, const gb_pool_clock_t *clock);

#endif
