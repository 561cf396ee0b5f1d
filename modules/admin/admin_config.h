/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of /config share. */
#ifndef GB_ADMIN_CONFIG_H
#define GB_ADMIN_CONFIG_H

#include "admin.h"

enum {
    ADMIN_MODEL = 1,       /* values are names of models */
    ADMIN_MODEL_NAMES = 2, /* the names of a map are */
    ADMIN_GENERATED = 4,   /* a secret that we can make up */
    ADMIN_PROXIES = 8
};

typedef struct admin_label_t {
    const char *name;  /* "MAX_RETRIES" */
    const char *label; /* words, NULL */
    const char *unit;  /* words, NULL */
    int flags;
} admin_label_t;

/* Never NULL. */
const admin_label_t *admin_label(const char *name);

/* ---- admin_config_row.c: a setting as its row on the page ---- */

/* schema: the setting's entry in /api/config/schema; value: in force, or as it was sent. */
json_t *admin_setting_row(admin_page_t *page, const json_t *schema, const json_t *value,
                          const char *fault);
/* A string member, "" when there is none. */
const char *admin_text_of(const json_t *object, const char *member);
/* A value on one line, at most that many bytes. */
const char *admin_value_text(admin_page_t *page, const json_t *value, int max);
/* What a form says of a setting, for /api/config; NULL: nothing. */
json_t *admin_setting_given(admin_page_t *page, const json_t *schema);

/* ---- admin_page_config.c ---- */

/* An entry of /api/config/history as lists show it. */
json_t *admin_change_shown(admin_page_t *page, const json_t *change);

/* ---- the core's endpoints, in the process ---- */

/* The answer, never NULL; *status is HTTP's. */
json_t *admin_core_call(admin_page_t *page, int method, const char *path, const json_t *body,
                        int *status);
/* The sentence of a refusal. */
const char *admin_core_message(const json_t *answer);

#endif
