/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages about keys: what their files share.  The list is put together from
 * mod_gbalance_keys (rows, counts, heat map) and from the store's roll-ups
 * (figures, charts); whatever of both cannot be had leaves its part of the page
 * with a sentence that says why, and the rest stands.
 */
#ifndef GB_ADMIN_KEYS_H
#define GB_ADMIN_KEYS_H

#include "admin.h"
#include "mod_gbalance_keys.h"

/* ---- mod_gbalance_keys, fetched once ---- */
typedef struct admin_keys_t {
    APR_OPTIONAL_FN_TYPE(gbalance_keys_list) * list;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_ids) * ids;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_survey) * survey;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_heat) * heat;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_get) * get;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_preview) * preview;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_add) * add;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_do) * change;
    APR_OPTIONAL_FN_TYPE(gbalance_keys_verify_wait) * verify_wait;
} admin_keys_t;

/* NULL where the module is not loaded. */
const admin_keys_t *admin_keys(void);
/* Ends a builder where it is not. */
apr_status_t admin_keys_missing(admin_page_t *page);
/* Ends a builder whose pool nobody knows. */
apr_status_t admin_keys_no_pool(admin_page_t *page);

/* ---- admin_keys_rows.c: a key as a page shows it ---- */

typedef struct admin_key_state_t {
    int bit;          /* of GB_KEYS_* */
    const char *name; /* "half-open": in addresses */
    const char *words, *pill, *icon;
} admin_key_state_t;

#define ADMIN_KEY_STATES 6
extern const admin_key_state_t admin_key_states[ADMIN_KEY_STATES]; /* in the order of GB_KEYS_* */

const admin_key_state_t *admin_key_state(int bit);
/* What a row of the table of outcomes means, for {{..|t}}; the row's own name where it has none. */
const char *admin_key_reason(const char *row);
/* "AIza…wXyZ" */
const char *admin_key_masked(const char *masked, apr_pool_t *p);
json_t *admin_key_row(const gb_keys_row_t *row, apr_pool_t *p);
/* admin_time of a deadline. */
json_t *admin_key_until(apr_time_t at);
/* What somebody wrote or said; its end may have been cut within a character. */
json_t *admin_key_text(const char *text);
/* "2.5-pro" */
const char *admin_key_model(const char *model);
/* {width, x}: a part of a bar of 1000 units. */
json_t *admin_key_bar(apr_uint64_t part, apr_uint64_t whole);

/* ---- admin_keys_list.c: the table with its filters ---- */

/* What the address asks for. */
void admin_keys_query(admin_page_t *page, gb_keys_query_t *query);
/* The same, as arguments of /api/keys. */
const char *admin_keys_query_text(admin_page_t *page);
apr_status_t admin_keys_list(admin_page_t *page, json_t *data, const gb_keys_survey_t *survey);
/* The address with one argument exchanged (value NULL: left out); the page goes back to 1. */
const char *admin_keys_href(admin_page_t *page, const char *name, const char *value);

/* ---- admin_keys_pool.c: counts and what needs attention ---- */
void admin_keys_pool(json_t *data, const gb_keys_survey_t *survey);
void admin_keys_attention(admin_page_t *page, json_t *data, const gb_keys_survey_t *survey);

/* ---- admin_keys_heat.c ---- */
apr_status_t admin_keys_heat(admin_page_t *page, json_t *data);

/* ---- admin_keys_figures.c: from the roll-ups ---- */

/* Tiles and the chart; data.figures_fault says why when there are none. */
void admin_keys_figures(admin_page_t *page, json_t *data);
/* One key's calls, chart and last rows, into data. */
void admin_key_figures(admin_page_t *page, json_t *data, const char *id);

/* ---- the tables of routes ---- */
apr_status_t admin_key_build(admin_page_t *page, json_t *data);
apr_status_t admin_keys_add_build(admin_page_t *page, json_t *data);
apr_status_t admin_keys_add_do(admin_page_t *page, json_t *data);
apr_status_t admin_keys_do(admin_page_t *page, json_t *data);

#endif
