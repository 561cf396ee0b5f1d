/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cases as files: a case is a folder below test/cases/<kind>, found by itself,
 * so that adding one needs no code.  GB_UPDATE=1 writes what a case expects
 * anew; what git then shows as changed is to be read, not trusted.
 */
#ifndef GB_TEST_CASES_H
#define GB_TEST_CASES_H

#include <apr_pools.h>
#include <apr_tables.h>

#include "base/json.h"
#include "base/settings.h"

/* GB_SRCDIR or ".". */
const char *cases_root(void);
/* $GB_SHARED or $GB_SRCDIR/../shared; NULL (and a line that says so) when it is not there.
 * Fails instead where CI=true. */
const char *cases_shared(apr_pool_t *p);

/* The names of the entries of a folder, sorted. */
apr_array_header_t *cases_list(const char *folder, apr_pool_t *p);

/* A file's bytes, NULL when there is none. */
const char *cases_read(size_t *len, apr_pool_t *p, const char *folder, const char *name);
/* A file that holds JSON; {NULL,0} when there is none, fails when it is none. */
gb_span_t cases_json(apr_pool_t *p, const char *folder, const char *name);

/* Defaults, changed by an object of names and values. */
const gb_settings_t *cases_settings(gb_span_t object, apr_pool_t *p);

/* Indented by a space a level, numbers and strings as they are. */
void cases_pretty(gb_buf_t *out, gb_span_t value);

/* Whether text is what the file holds; JSON is compared without white space. */
void cases_expect_json(apr_pool_t *p, const char *folder, const char *name, const char *text,
                       size_t len);
void cases_expect_text(apr_pool_t *p, const char *folder, const char *name, const char *text,
                       size_t len);

/* Runs fn in a pool of its own for every folder of a kind; fails when there is none. */
void cases_each(const char *kind, void (*fn)(const char *folder, apr_pool_t *p));

#endif
