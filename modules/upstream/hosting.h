/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One picture on its way to a place where it can be had by address: a host of
 * UPLOAD_PROVIDER, or a directory of our own that httpd serves.  Everything runs
 * in the engine's thread and nothing blocks: what goes over the network is one
 * call, a file is written in slices, one a turn.
 */
#ifndef GB_HOSTING_H
#define GB_HOSTING_H

#include "proto/dialect.h"
#include "upstream/call.h"

#define GB_HOSTING_MAX_TIME apr_time_from_sec(60)
#define GB_HOSTING_MAX_URL  2048

/* A directory of our own, and who counts what lies in it. */
typedef struct gb_shelf_t {
    const char *dir; /* absolute; made when it is not there */
    void *baton;
    /* Whether there is room for so many bytes more; then they count.  Negative ones go again. */
    int (*take)(void *baton, apr_int64_t bytes);
} gb_shelf_t;

typedef struct gb_hosting_t gb_hosting_t;

/* Once, never from gb_hosting_start itself.  url NULL: why is a sentence for the log. */
typedef void gb_hosting_done_fn(void *baton, const char *url, const char *why);

/* Whether pictures go to a host at all. */
int gb_hosting_is_set(const gb_settings_t *settings);

/* All of it lives as long as p.  shelf may be NULL. */
gb_hosting_t *gb_hosting_start(gb_engine_t *engine, const gb_upload_t *upload,
                               const gb_settings_t *settings, const gb_shelf_t *shelf,
                               gb_hosting_done_fn *done, void *baton, apr_pool_t *p);
/* done will not be called.  Harmless afterwards. */
void gb_hosting_cancel(gb_hosting_t *hosting);

/* ---- hosting_hosts.c: the hosts, each as its API has it ---- */

/* What is sent around the picture's bytes, and where. */
typedef struct gb_hosting_request_t {
    const char *method;
    const char *url;
    const char *headers[6]; /* NULL at the end */
    const char *head, *tail;
    const char *result; /* the picture's address, where the answer does not tell it */
} gb_hosting_request_t;

typedef struct gb_hosting_name_t {
    const char *base; /* 32 random hex digits */
    const char *name; /* with its extension */
    const char *type; /* "image/png" */
    apr_time_t now;
} gb_hosting_name_t;

typedef struct gb_host_t {
    const char *name; /* as UPLOAD_PROVIDER has it */
    int (*is_set)(const gb_settings_t *settings);
    void (*prepare)(gb_hosting_request_t *request, const gb_settings_t *settings,
                    const gb_hosting_name_t *name, apr_pool_t *p);
    /* The address that a 2xx or another answer tells, NULL with *why; not asked when there is a
     * result. */
    const char *(*read)(gb_span_t answer, const gb_settings_t *settings, const char **why,
                        apr_pool_t *p);
} gb_host_t;

const gb_host_t *gb_host_find(const gb_settings_t *settings);

#endif
