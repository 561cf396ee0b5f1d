/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: one table, from which come the directive (MAX_RETRIES ->
 * GBalanceMaxRetries), the stored row, the JSON of /api/config, the form, the
 * .env import and the table in the README.  The rows stand in
 * settings_table.h; this unit parses, validates and prints values.
 *
 * A gb_settings_t is built once and then read only, so threads share it.
 */
#ifndef GB_SETTINGS_H
#define GB_SETTINGS_H

#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>
#include "base/buf.h"
#include "base/json.h"

typedef struct gb_list_t {
    int n;
    const char *const *items;
} gb_list_t;

typedef struct gb_pair_t {
    const char *name;
    const char *value; /* of a map of numbers: the number's text */
} gb_pair_t;

typedef struct gb_map_t {
    int n;
    const gb_pair_t *pairs;
} gb_map_t;

typedef enum {
    GB_TYPE_BOOL,        /* int: true/1/yes/on, false/0/no/off, any case */
    GB_TYPE_INT,         /* apr_int64_t, with bounds */
    GB_TYPE_FLOAT,       /* double, with bounds */
    GB_TYPE_SECONDS,     /* apr_interval_time_t; text in seconds, or with ms, s, min, h */
    GB_TYPE_STRING,      /* const char *, "" when unset */
    GB_TYPE_URL,         /* const char *, http or https, no trailing slash kept */
    GB_TYPE_ENUM,        /* const char *, one of the row's choices */
    GB_TYPE_SECRET,      /* const char *, never printed unmasked */
    GB_TYPE_LIST,        /* gb_list_t; JSON array or comma-separated; blanks and doubles dropped */
    GB_TYPE_SECRET_LIST, /* gb_list_t */
    GB_TYPE_MAP,         /* gb_map_t; JSON object of strings */
    GB_TYPE_NUMBER_MAP,  /* gb_map_t; JSON object of numbers */
    GB_TYPE_JSON         /* const char *, checked JSON text, "" when unset */
} gb_type_t;

typedef enum { GB_SCOPE_SERVER, GB_SCOPE_POOL, GB_SCOPE_VHOST } gb_scope_t;

/* One row: what a person and a parser need to know of a setting. */
typedef struct gb_setting_t {
    const char *name;      /* "MAX_RETRIES": wire, database, .env */
    const char *directive; /* "GBalanceMaxRetries" */
    gb_type_t type;
    gb_scope_t scope;
    const char *fallback; /* the default, as text */
    double min, max;      /* numbers; min > max: unbounded */
    const char *choices;  /* enums: "a|b|c"; JSON: "object", "array" or "object:a|b" (of
                                   objects with such numbers); maps: "headers" when they are; URLs: "query" where one may stand; texts: "zone"; else NULL */
    const char *group;    /* "Keys", "Models" ...: the form's heading */
    const char *help;     /* one line, with unit; the default is added by whoever prints it */
    size_t offset;        /* of the member in gb_settings_t */
} gb_setting_t;

/* The members, one a row, named as the row in lower case: settings->max_retries. */
typedef struct gb_settings_t gb_settings_t;

/*
 * GB_SETTING(NAME, directive, member, TYPE, SCOPE, fallback, min, max, choices, group, help):
 * NAME, member, TYPE and SCOPE are bare words, directive, fallback, group and help literals, so a
 * command_rec can be made of a row at compile time.
 */
#define GB_C_BOOL        int
#define GB_C_INT         apr_int64_t
#define GB_C_FLOAT       double
#define GB_C_SECONDS     apr_interval_time_t
#define GB_C_STRING      const char *
#define GB_C_URL         const char *
#define GB_C_ENUM        const char *
#define GB_C_SECRET      const char *
#define GB_C_LIST        gb_list_t
#define GB_C_SECRET_LIST gb_list_t
#define GB_C_MAP         gb_map_t
#define GB_C_NUMBER_MAP  gb_map_t
#define GB_C_JSON        const char *

struct gb_settings_t {
#define GB_SETTING(NAME, directive, member, TYPE, SCOPE, fallback, min, max, choices, group, help) \
    GB_C_##TYPE member;
#include "base/settings_table.h"
#undef GB_SETTING
    apr_uint64_t generation; /* of the live snapshot it came from, 0 = from the configuration */
};

/* Where a value came from, weakest first (DESIGN section 3). */
typedef enum {
    GB_FROM_DEFAULT,
    GB_FROM_ENV_FILE,
    GB_FROM_ENVIRONMENT,
    GB_FROM_DIRECTIVE, /* in the main server */
    GB_FROM_VHOST,     /* in a VirtualHost */
    GB_FROM_SAVED
} gb_source_t;

const gb_setting_t *gb_settings_rows(int *n);
/* By NAME, also by a name that gemini-balance used earlier (MODEL_SEARCH); NULL. */
const gb_setting_t *gb_settings_find(const char *name);
const gb_setting_t *gb_settings_find_directive(const char *directive); /* any case, NULL */

/* The row's text among vars (NULL: the process's environment), under its name or else under the
 * earlier one; NULL when it is not there. */
const char *gb_settings_var(const gb_setting_t *row, const apr_table_t *vars);

/* All defaults. */
gb_settings_t *gb_settings_make(apr_pool_t *p);
/* Copies the texts too: nothing of `from` is needed afterwards. */
gb_settings_t *gb_settings_copy(const gb_settings_t *from, apr_pool_t *p);

/* Parses text into the row's member.  On APR_EINVAL *why is a sentence with the acceptable
 * values, nothing is changed.  Strings are copied into p. */
apr_status_t gb_settings_set(gb_settings_t *settings, const gb_setting_t *row, const char *text,
                             const char **why, apr_pool_t *p);
/* The value as text (as gb_settings_set takes it; lists and maps as JSON).  Secrets, passwords in
 * addresses and credentials among headers are masked unless reveal. */
const char *gb_settings_text(const gb_settings_t *settings, const gb_setting_t *row, int reveal,
                             apr_pool_t *p);
/* The value as JSON of its type, masked likewise. */
apr_status_t gb_settings_json(gb_buf_t *out, const gb_settings_t *settings, const gb_setting_t *row,
                              int reveal, apr_pool_t *p);

int gb_list_has(const gb_list_t *list, const char *item);
const char *gb_map_get(const gb_map_t *map, const char *name); /* NULL when absent */

/*
 * A .env file: NAME=value lines, `export` prefixes, comments, single and double quotes
 * (values over several lines inside quotes).  Names that are no settings are handed out too.
 * *why names file and line on APR_EINVAL; APR_NOTFOUND (and friends) when it cannot be read.
 */
apr_status_t gb_env_file_read(apr_table_t **pvars, const char *path, const char **why,
                              apr_pool_t *p);
/* The same of a text in memory; name stands for the file in *why. */
apr_status_t gb_env_text_read(apr_table_t **pvars, const char *text, const char *name,
                              const char **why, apr_pool_t *p);
/* A line that reads as this value again. */
apr_status_t gb_env_put(gb_buf_t *out, const char *name, const char *value);

#endif
