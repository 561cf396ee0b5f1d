/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others may ask of mod_gbalance_keys: the operations on keys, for the admin
 * module and for the endpoints that are compatible with gemini-balance's.  All
 * are optional functions, for a worker's thread of a child (they take the pool's
 * lock for moments, and some write files); none may be called by the engine.
 *
 * A secret goes in where a key is added and comes out of gbalance_keys_reveal
 * only; everywhere else keys are named by id.
 */
#ifndef MOD_GBALANCE_KEYS_H
#define MOD_GBALANCE_KEYS_H

#include "httpd.h"
#include "apr_optional.h"

#include "base/buf.h"
#include "pool/pool.h"

/* ---- looking ---- */

/* What a list is asked for.  Bits of states: 1 << GB_KEY_ACTIVE ...; those that a person sees. */
#define GB_KEYS_ACTIVE  (1 << 0)
#define GB_KEYS_COOLING (1 << 1)
#define GB_KEYS_TRIAL   (1 << 2)
#define GB_KEYS_FAILED  (1 << 3)
#define GB_KEYS_INVALID (1 << 4)
#define GB_KEYS_OFF     (1 << 5)

typedef enum {
    GB_KEYS_BY_WORST, /* worst state first, then the last used */
    GB_KEYS_BY_ADDED,
    GB_KEYS_BY_USED,
    GB_KEYS_BY_FAILURES,
    GB_KEYS_BY_CALLS,  /* today */
    GB_KEYS_BY_TOKENS, /* today */
    GB_KEYS_BY_QUOTAS, /* share of calls that met a limit */
    GB_KEYS_BY_UNTIL,
    GB_KEYS_BY_ERROR, /* when something was last said of it */
    GB_KEYS_BY_PROJECT,
    GB_KEYS_BY_ID
} gb_keys_order_t;

typedef struct gb_keys_query_t {
    const char *pool;
    int states;          /* any of these, 0 = all */
    const char *model;   /* COOLING means: for this model; NULL = for any */
    const char *tag;     /* NULL = any */
    const char *search;  /* part of id, masked key, project, tags, note; any case; NULL = all */
    const char *reason;  /* the row that fired last, NULL = any */
    const char *project; /* exactly this, "" = none; NULL = any */
    const char *form;    /* how the secret begins: "AIza"; NULL = any */
    apr_time_t used_since, added_since; /* wall, 0 = whenever */
    gb_keys_order_t order;
    int descending;
    int from, count; /* paging: rows from..from+count-1 of those that match */
} gb_keys_query_t;

/* One cool-down of a key. */
typedef struct gb_keys_rest_t {
    char model[GB_POOL_MODEL_LEN]; /* "" = all */
    gb_pool_cool_t reason;
    apr_time_t until; /* wall */
} gb_keys_rest_t;

#define GB_KEYS_RESTS 3

typedef struct gb_keys_row_t {
    gb_pool_key_t key;
    int state;        /* one of GB_KEYS_* */
    char masked[16];  /* "AIza...wXyZ" */
    int number;       /* 1-based, stable while the key lives */
    apr_time_t until; /* wall: when the last of its cool-downs ends, 0 = none */
    int n_rests;      /* the soonest of them; key.resting counts all */
    gb_keys_rest_t rests[GB_KEYS_RESTS];
} gb_keys_row_t;

typedef struct gb_keys_page_t {
    int total, matched, n;
    int by_state[6];     /* of all keys of the pool, in the order of GB_KEYS_* */
    gb_keys_row_t *rows; /* n of them, from the pool p that was given */
} gb_keys_page_t;

/* APR_NOTFOUND: no such pool. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_list,
                        (gb_keys_page_t * page, const gb_keys_query_t *query, apr_pool_t *p));

/* The ids of all that match, in order, whatever from and count say; from p. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_ids,
                        (const char *const **ids, int *n, const gb_keys_query_t *query,
                         apr_pool_t *p));

/* What there is to say about a pool as a whole. */
typedef struct gb_keys_reason_t {
    int state; /* GB_KEYS_FAILED or GB_KEYS_INVALID */
    int n;
    char row[GB_POOL_ROW_LEN];
} gb_keys_reason_t;

typedef struct gb_keys_model_t {
    char name[GB_POOL_MODEL_LEN];
    int cooling;                /* projects that rest for moments */
    int used_up;                /* projects at the end of a day or a month */
    apr_time_t back;            /* wall: when the first of those serves again, 0 = none */
    int resting;                /* projects of keys in service that rest, for however long */
    apr_time_t soonest;         /* wall: when the first of those serves again */
    apr_interval_time_t broken; /* it fails and is left alone so long, 0 = no; 1: asked next */
    apr_uint64_t calls;         /* that its cells remember */
} gb_keys_model_t;

typedef struct gb_keys_survey_t {
    int total, retiring;         /* retiring: in the form that Google gives up */
    int by_state[6];             /* in the order of GB_KEYS_* */
    int projects;                /* of keys in service: active, cooling or half-open */
    apr_array_header_t *reasons; /* of gb_keys_reason_t, the most frequent first */
    apr_array_header_t *tags;    /* of const char *, sorted */
    apr_array_header_t *models;  /* of gb_keys_model_t, the most used first */
} gb_keys_survey_t;

/* APR_NOTFOUND: no such pool. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_survey,
                        (gb_keys_survey_t * survey, const char *pool, apr_pool_t *p));

/* What rests of each model, by project or by key. */
typedef enum {
    GB_HEAT_UNUSED,  /* nobody has asked for it yet */
    GB_HEAT_OPEN,    /* serves, and no limit was met */
    GB_HEAT_ROOM,    /* serves: percent is what its tightest limit leaves */
    GB_HEAT_COOLING, /* until */
    GB_HEAT_USED_UP, /* a day's or a month's quota, until */
    GB_HEAT_REFUSED  /* Google does not offer it to this project */
} gb_keys_heat_kind_t;

typedef struct gb_keys_heat_cell_t {
    gb_keys_heat_kind_t kind;
    int percent;
    apr_time_t until; /* wall */
} gb_keys_heat_cell_t;

typedef struct gb_keys_heat_row_t {
    char project[GB_POOL_LABEL_LEN]; /* "" = a key of its own */
    char id[GB_POOL_ID_LEN];         /* its key, or the first of them */
    char masked[16];
    int n_keys;
    gb_keys_heat_cell_t *cells; /* one for each model */
} gb_keys_heat_row_t;

typedef struct gb_keys_heat_t {
    int total, n, n_models;
    const char *const *models; /* the most used ones, at most GB_KEYS_HEAT_MODELS */
    gb_keys_heat_row_t *rows;  /* the tightest first */
} gb_keys_heat_t;

#define GB_KEYS_HEAT_MODELS 8

/* Rows from..from+count-1, a project or (by_key) a key each. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_heat,
                        (gb_keys_heat_t * heat, const char *pool, int by_key, int from, int count,
                         apr_pool_t *p));

/* One key and the cells of its project (n of them).  id as shown, or the whole secret. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_get,
                        (gb_keys_row_t * row, gb_pool_cell_t **cells, int *n, const char *pool,
                         const char *id, apr_pool_t *p));

/* The secret itself, NUL-terminated, from p.  The caller logs who asked. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_reveal,
                        (const char **secret, const char *pool, const char *id, apr_pool_t *p));

/* Grows with every change of any pool: who looks now and then sees whether there is news. */
APR_DECLARE_OPTIONAL_FN(apr_uint64_t, gbalance_keys_changes, (void));

/* Counts of a pool for one model ("" = none). */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_census,
                        (gb_pool_census_t * census, const char *pool, const char *model));

/* ---- changing ---- */

typedef enum {
    GB_KEYS_ADDED,
    GB_KEYS_KNOWN,  /* the pool has it */
    GB_KEYS_TWICE,  /* stands twice in the text */
    GB_KEYS_REFUSED /* cannot be a key, or there is no room */
} gb_keys_added_t;

typedef struct gb_keys_result_t {
    gb_keys_added_t what;
    char id[GB_POOL_ID_LEN];
    char masked[16];
} gb_keys_result_t;

/*
 * Adds every key found in a text; pattern (a Perl regular expression whose first
 * group, or whole match, is a key) takes the place of the built-in ones, NULL =
 * those.  *results is an array of gb_keys_result_t from p.  APR_EINVAL: the
 * pattern cannot be compiled; APR_ENOSPC: GBalanceMaxKeys is reached, those
 * before it were added; other: they serve, but will be gone after a stop of
 * httpd because their secrets could not be written.
 */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_add,
                        (apr_array_header_t * *results, const char *pool, const char *text,
                         apr_size_t len, const char *pattern, const gb_pool_edit_t *edit,
                         apr_pool_t *p));

/* What would come of adding a text. */
typedef enum {
    GB_KEYS_WHY_NONE,
    GB_KEYS_WHY_RETIRING, /* new, in the form that Google gives up */
    GB_KEYS_WHY_URL,      /* new, taken out of a URL */
    GB_KEYS_WHY_OPAQUE,   /* new, in no form that is known */
    GB_KEYS_WHY_KNOWN,    /* the pool has it: state */
    GB_KEYS_WHY_SAME,     /* as in line `same` */
    GB_KEYS_WHY_CUT,      /* begins as a key does, but was cut or runs on */
    GB_KEYS_WHY_FOREIGN,  /* another service's */
    GB_KEYS_WHY_BYTES     /* has bytes that no header can carry */
} gb_keys_why_t;

typedef struct gb_keys_found_t {
    gb_keys_added_t what; /* GB_KEYS_ADDED: would be */
    gb_keys_why_t why;
    int line, same; /* 1-based */
    int state;      /* of a known one, GB_KEYS_* */
    char id[GB_POOL_ID_LEN];
    char masked[16];
} gb_keys_found_t;

/* *results is an array of gb_keys_found_t from p, what wants to be looked at first.  APR_EINVAL: the
 * pattern cannot be compiled. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_preview,
                        (apr_array_header_t * *results, const char *pool, const char *text,
                         apr_size_t len, const char *pattern, apr_pool_t *p));

typedef enum {
    GB_KEYS_EDIT, /* edit says what */
    GB_KEYS_ENABLE,
    GB_KEYS_DISABLE,
    GB_KEYS_RESET, /* failures to 0, cool-downs ended, active again */
    GB_KEYS_DELETE /* leaves a tombstone: no file brings it back */
} gb_keys_verb_t;

/*
 * Does one thing to keys, by id.  n_ids < 0: to all of the pool.  *done counts
 * those that were there.  APR_NOTFOUND: none was.
 */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_do,
                        (int *done, const char *pool, gb_keys_verb_t verb, const char *const *ids,
                         int n_ids, const gb_pool_edit_t *edit, apr_pool_t *p));

/* ---- verifying ---- */

typedef struct gb_keys_verdict_t {
    char id[GB_POOL_ID_LEN];
    int works;                   /* Google took it (a key that is out of quota works) */
    const char *outcome;         /* "success", "quota", "key" ...: static */
    const char *row;             /* the table row that fired: static */
    char text[GB_POOL_TEXT_LEN]; /* Google's words */
    int done, total;             /* how far the job is */
} gb_keys_verdict_t;

/*
 * Told once per key, in the engine's thread: must not block.  verdict NULL: the job
 * is over (all told, or cancelled), baton will not be used again.
 */
typedef void gb_keys_verified_fn(void *baton, const gb_keys_verdict_t *verdict);

/*
 * Checks keys with TEST_MODEL, so many at a time (1 to 32), and lets the pool
 * learn from the answers.  n_ids < 0: all that are not switched off.  Answers
 * a job number > 0, to cancel it; 0 with *rv set otherwise.
 */
APR_DECLARE_OPTIONAL_FN(int, gbalance_keys_verify,
                        (apr_status_t * rv, const char *pool, const char *const *ids, int n_ids,
                         int at_a_time, gb_keys_verified_fn *fn, void *baton));
/* No further key is asked; fn still gets its last call. */
APR_DECLARE_OPTIONAL_FN(void, gbalance_keys_verify_cancel, (int job));
/* The same in a worker that waits: *verdicts is an array of gb_keys_verdict_t from r's pool; fewer than
 * were asked for when the client has left or httpd stops. */
APR_DECLARE_OPTIONAL_FN(apr_status_t, gbalance_keys_verify_wait,
                        (apr_array_header_t * *verdicts, request_rec *r, const char *pool,
                         const char *const *ids, int n_ids, int at_a_time));

/* ---- the store's part ---- */

/*
 * Where the secrets of added keys are kept.  The store puts itself in the place of
 * the sealed file in the state directory; set before child_init.
 */
typedef struct gb_keys_keeper_t {
    void *baton;
    apr_status_t (*load)(void *baton,
                         apr_status_t (*each)(void *each_baton, const char *pool,
                                              const char *secret, apr_size_t len),
                         void *each_baton, apr_pool_t *p);
    apr_status_t (*put)(void *baton, const char *pool, const unsigned char *digest,
                        const char *secret, apr_size_t len, apr_pool_t *p);
    apr_status_t (*drop)(void *baton, const char *pool, const unsigned char *digest, apr_pool_t *p);
} gb_keys_keeper_t;

APR_DECLARE_OPTIONAL_FN(void, gbalance_keys_keeper_set, (const gb_keys_keeper_t *keeper));

#endif
