/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of settings as data, and the record that holds their values.  How
 * a text becomes a value stands in settings_parse.c, how a value becomes a text
 * in settings_print.c; who may set what from where is the core's business.
 */
#include "base/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "base/settings_int.h"

static const gb_setting_t settings_rows[] = {
#define GB_SETTING(NAME, directive, member, TYPE, SCOPE, fallback, min, max, choices, group, help) \
    {#NAME,                                                                                        \
     directive,                                                                                    \
     GB_TYPE_##TYPE,                                                                               \
     GB_SCOPE_##SCOPE,                                                                             \
     fallback,                                                                                     \
     min,                                                                                          \
     max,                                                                                          \
     choices,                                                                                      \
     group,                                                                                        \
     help,                                                                                         \
     offsetof(gb_settings_t, member)},
#include "base/settings_table.h"
#undef GB_SETTING
};

#define SETTINGS_N ((int)(sizeof(settings_rows) / sizeof(settings_rows[0])))

/* Names that gemini-balance gave up; its databases and .env files still hold them. */
static const struct {
    const char *old;
    const char *name;
} settings_old_names[] = {
    {"MODEL_SEARCH", "SEARCH_MODELS"},
    {NULL,           NULL           }
};

/* ---- the table ---- */

const gb_setting_t *gb_settings_rows(int *n)
{
    *n = SETTINGS_N;
    return settings_rows;
}

static const gb_setting_t *settings_find_exact(const char *name)
{
    int i;

    for (i = 0; i < SETTINGS_N; i++) {
        if (strcmp(settings_rows[i].name, name) == 0) {
            return &settings_rows[i];
        }
    }
    return NULL;
}

const gb_setting_t *gb_settings_find(const char *name)
{
    int i;

    for (i = 0; settings_old_names[i].old != NULL; i++) {
        if (strcmp(settings_old_names[i].old, name) == 0) {
            return settings_find_exact(settings_old_names[i].name);
        }
    }
    return settings_find_exact(name);
}

const gb_setting_t *gb_settings_find_directive(const char *directive)
{
    int i;

    for (i = 0; i < SETTINGS_N; i++) {
        if (strcasecmp(settings_rows[i].directive, directive) == 0) {
            return &settings_rows[i];
        }
    }
    return NULL;
}

static const char *settings_var_get(const apr_table_t *vars, const char *name)
{
    return vars != NULL ? apr_table_get(vars, name) : getenv(name);
}

const char *gb_settings_var(const gb_setting_t *row, const apr_table_t *vars)
{
    const char *text = settings_var_get(vars, row->name);
    int i;

    for (i = 0; text == NULL && settings_old_names[i].old != NULL; i++) {
        if (strcmp(settings_old_names[i].name, row->name) == 0) {
            text = settings_var_get(vars, settings_old_names[i].old);
        }
    }
    return text;
}

/* ---- the record ---- */

gb_settings_t *gb_settings_make(apr_pool_t *p)
{
    gb_settings_t *settings = apr_pcalloc(p, sizeof(*settings));
    const char *why;
    int i;

    for (i = 0; i < SETTINGS_N; i++) {
        /* The unit test parses every default, so that this cannot fail here. */
        (void)gb_settings_set(settings, &settings_rows[i], settings_rows[i].fallback, &why, p);
    }
    return settings;
}

apr_status_t gb_settings_set(gb_settings_t *settings, const gb_setting_t *row, const char *text,
                             const char **why, apr_pool_t *p)
{
    return gb_setting_parse(GB_MEMBER(settings, row), row, text, why, p);
}

static void list_copy(gb_list_t *list, apr_pool_t *p)
{
    const char **items = apr_palloc(p, sizeof(*items) * (size_t)(list->n + 1));
    int i;

    for (i = 0; i < list->n; i++) {
        items[i] = apr_pstrdup(p, list->items[i]);
    }
    list->items = items;
}

static void map_copy(gb_map_t *map, apr_pool_t *p)
{
    gb_pair_t *pairs = apr_palloc(p, sizeof(*pairs) * (size_t)(map->n + 1));
    int i;

    for (i = 0; i < map->n; i++) {
        pairs[i].name = apr_pstrdup(p, map->pairs[i].name);
        pairs[i].value = apr_pstrdup(p, map->pairs[i].value);
    }
    map->pairs = pairs;
}

static void text_copy(const char **text, apr_pool_t *p)
{
    *text = apr_pstrdup(p, *text);
}

gb_settings_t *gb_settings_copy(const gb_settings_t *from, apr_pool_t *p)
{
    gb_settings_t *settings = apr_pmemdup(p, from, sizeof(*from));
    int i;

    for (i = 0; i < SETTINGS_N; i++) {
        void *member = GB_MEMBER(settings, &settings_rows[i]);

        switch (settings_rows[i].type) {
        case GB_TYPE_BOOL:
        case GB_TYPE_INT:
        case GB_TYPE_FLOAT:
        case GB_TYPE_SECONDS:
            break;
        case GB_TYPE_STRING:
        case GB_TYPE_URL:
        case GB_TYPE_ENUM:
        case GB_TYPE_SECRET:
        case GB_TYPE_JSON:
            text_copy(member, p);
            break;
        case GB_TYPE_LIST:
        case GB_TYPE_SECRET_LIST:
            list_copy(member, p);
            break;
        case GB_TYPE_MAP:
        case GB_TYPE_NUMBER_MAP:
            map_copy(member, p);
            break;
        }
    }
    return settings;
}

/* ---- looking things up ---- */

int gb_list_has(const gb_list_t *list, const char *item)
{
    int i;

    for (i = 0; i < list->n; i++) {
        if (strcmp(list->items[i], item) == 0) {
            return 1;
        }
    }
    return 0;
}

const char *gb_map_get(const gb_map_t *map, const char *name)
{
    int i;

    for (i = 0; i < map->n; i++) {
        if (strcmp(map->pairs[i].name, name) == 0) {
            return map->pairs[i].value;
        }
    }
    return NULL;
}
