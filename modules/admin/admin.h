/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin pages: what its files share, and how a page or an endpoint is added.
 *
 * A page is a row in a table of routes, a template (htdocs/templates/NAME.html)
 * and a builder, which fills a jansson tree.  The template renders that tree; with
 * ?format=json the same tree is the answer, and with ?part=NAME one named block of
 * the page alone, so that scripts exchange pieces of the page and no second
 * rendering exists.  The builder sees none of that.
 *
 *     static apr_status_t build_things(admin_page_t *page, json_t *data)
 *     {
 *         json_object_set_new(data, "total", json_integer(3));
 *         return APR_SUCCESS;
 *     }
 *
 *     const admin_route_t admin_things_routes[] = {
 *         {"/things",       M_GET,  "things", ADMIN_WORD("Things"), build_things, NULL,      0},
 *         {"/things/?",     M_GET,  "thing",  ADMIN_WORD("Thing"),  build_thing,  NULL,      0},
 *         {"/things",       M_POST, "things", ADMIN_WORD("Things"), do_things,    NULL,      0},
 *         {"/api/things",   M_GET,  NULL,     NULL,                 NULL,         api_list,  0},
 *         {NULL, 0, NULL, NULL, NULL, NULL, 0}
 *     };
 *
 * A table is named in admin_routes.c; a page's first path segment needs a Location in
 * conf.d/gbalance-admin.conf, /api has one.  Whoever comes to a builder or an
 * endpoint has been let in, and a change has shown its CSRF token: in the field
 * `csrf` of a form (templates: {{csrf}}), else in the header X-CSRF-Token.
 *
 * In templates, beside what the builder gave: {{base}} (from this page to the
 * mount, links are {{base}}/logs), {{assets}}, {{csrf}}, {{lang}}, {{theme}}, {{pool}},
 * {{vhost}}, {{who}}, {{zone}}, {{now}}, {{title}}, {{path}}, and {{args.NAME}}, the
 * query.  Times in a tree are seconds since 1970.
 *
 * `key` in a query is a client's credential and gone before anything sees it
 * (DESIGN section 8): name a filter by key `key_id`.
 */
#ifndef GB_ADMIN_H
#define GB_ADMIN_H

#include <jansson.h>

#include "httpd.h"
#include "http_config.h"
#include "http_log.h"

#include "base/template.h"
#include "mod_gbalance.h"

extern module AP_MODULE_DECLARE_DATA gbalance_admin_module;

/* Marks words that reach a template through the tree ({{state|t}}): the test of the catalogues finds
 * them by it. */
#define ADMIN_WORD(text) text

typedef struct admin_page_t admin_page_t;

/* APR_SUCCESS; or what admin_fail returned. */
typedef apr_status_t admin_page_fn(admin_page_t *page, json_t *data);
/* The HTTP status, with *out as the answer's body (NULL: none); or what admin_refuse returned. */
typedef int admin_api_fn(admin_page_t *page, json_t **out);

enum {
    ADMIN_OPEN = 1, /* asks for no login */
    ADMIN_BARE = 2, /* without the common frame */
    ADMIN_TEXT = 4  /* an endpoint that takes a body of any type: page->raw */
};

typedef struct admin_route_t {
    const char *path; /* below the mount; a segment "?" stands for any one: page->named */
    int method;       /* M_GET is HEAD too */
    const char *template;
    const char *title;
    admin_page_fn *page;
    admin_api_fn *api; /* instead of template, title and page */
    int flags;
} admin_route_t;

/* One request. */
struct admin_page_t {
    request_rec *r;
    const admin_route_t *route;
    const char *path;              /* below the mount: "/keys/1043" */
    const char *named;             /* what the path has for "?", decoded; NULL */
    const char *base;              /* "." or ".." or "../.." */
    const char *mount;             /* "/llm/" */
    const char *pool, *vhost;      /* of this VirtualHost */
    const gb_settings_t *settings; /* in force for this request */
    gb_admin_t admin;              /* who; zeroed for a route that is open */
    const char *lang, *theme;      /* "zh-CN"; "light", "dark" or "" */
    gb_render_t how;               /* words, zone, now */
    apr_table_t *args, *form;      /* decoded; form is empty unless one was posted */
    json_t *body;                  /* the JSON of a change, NULL: none */
    const char *raw;               /* the body as it came, NULL */
    apr_size_t raw_len;
    /* for the answer */
    int status; /* of a page; 200 */
    const char
        *see_other; /* a page that sends the browser on, relative to the mount: "keys_status" */
    const char *message; /* of a failure */
    const char *field;   /* that it is about, NULL */
};

/* ---- what was asked: NULL (fallback) when it is not there ---- */
const char *admin_arg(const admin_page_t *page, const char *name);
int admin_arg_int(const admin_page_t *page, const char *name, int fallback, int min, int max);
const char *admin_form(const admin_page_t *page, const char *name);
/* A string member of the JSON body, or a field of the form. */
const char *admin_given(const admin_page_t *page, const char *name);

/* ---- failing ---- */

/* Ends a builder: the page says it, with this status. */
apr_status_t admin_fail(admin_page_t *page, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends an endpoint: {"error": {"status", "message", "field"}}.  field NULL: none. */
int admin_refuse(admin_page_t *page, int status, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* ---- asking the database: see gbalance_job_make ---- */

/* Everything that fn reads and leaves stands in admin_job_pool. */
gb_job_t *admin_job(admin_page_t *page, gb_job_fn *fn, int writes);
/* The same for one of many: it is there until p, a pool of the request's, is cleared. */
gb_job_t *admin_job_in(apr_pool_t *p, gb_job_fn *fn, int writes);
apr_pool_t *admin_job_pool(gb_job_t *job);
/* What fn said.  Other than APR_SUCCESS and APR_NOTFOUND the answer is settled: a builder returns the
 * value, an endpoint page->status. */
apr_status_t admin_job_run(admin_page_t *page, gb_job_t *job, void *baton);
/* For a page that goes on without the answer: other than APR_SUCCESS *why is a sentence. */
apr_status_t admin_job_ask(gb_job_t *job, void *baton, const char **why, apr_pool_t *p);

/* ---- small things ---- */

/* Words in the reader's language, from the request's pool; data for placeholders may be NULL. */
const char *admin_words(const admin_page_t *page, const char *words, const json_t *data);
/* "Firefox on Linux" */
const char *admin_agent(const char *user_agent, apr_pool_t *p);
/* json_decref when p is cleaned. */
json_t *admin_json_keep(json_t *json, apr_pool_t *p);
/* In quotes; what a spreadsheet would take for a formula begins with an apostrophe. */
void admin_csv_cell(gb_buf_t *out, const char *text);
/* Ends an endpoint with a file to keep, DONE. */
int admin_file_send(admin_page_t *page, const char *type, const char *name, const gb_buf_t *text);
/* A time for a tree; null for 0. */
json_t *admin_time(apr_time_t at);

/* ---- admin_texts.c: templates and catalogues, made from htdocs by files.awk ---- */
extern const gb_template_file_t admin_template_files[], admin_words_files[];
/* The parent, once for each configuration. */
void admin_texts_load(apr_pool_t *pconf, server_rec *s);
const gb_templates_t *admin_templates(void); /* NULL: they are broken, which the log has said */
const json_t *admin_catalogue(const char *lang);
/* The language of the request: "en", "zh-CN", "zh-TW". */
const char *admin_language(const char *cookie, const char *accepted);

/* ---- admin_routes.c ---- */
/* NULL: none; *allow is then what the path can be asked with, NULL when it is not there at all. */
const admin_route_t *admin_route_find(const char *path, int method, const char **named,
                                      const char **allow, apr_pool_t *p);
/* Whether it is a page that a login may lead to. */
int admin_route_is_page(const char *path, apr_pool_t *p);

/* ---- admin_ask.c ---- */
void admin_ask_query(admin_page_t *page);
int admin_ask_is_form(request_rec *r);
/* 0: it was refused, with page->status and page->message. */
int admin_ask_body(admin_page_t *page);
apr_table_t *admin_ask_pairs(const char *text, apr_pool_t *p);
const char *admin_cookie(request_rec *r, const char *name);

/* ---- admin_frame.c: what stands around every page ---- */
json_t *admin_frame(admin_page_t *page);

/* ---- admin_handler.c ---- */
int admin_handler(request_rec *r);

/* ---- admin_live.c ---- */
void admin_live_register(apr_pool_t *pconf, server_rec *s);

/* ---- admin_api_proxy.c ---- */
int admin_proxy_tenants(apr_array_header_t *specs);

/* ---- the tables of routes ---- */
extern const admin_route_t admin_api_compat_routes[], admin_api_proxy_routes[];
extern const admin_route_t admin_live_routes[], admin_login_routes[], admin_sessions_routes[];
extern const admin_route_t admin_api_logs_routes[], admin_api_stats_routes[];
extern const admin_route_t admin_keys_routes[];
extern const admin_route_t admin_config_routes[], admin_logs_routes[], admin_logs_file_routes[],
    admin_playground_routes[], admin_usage_routes[];

/* ---- optional functions of the core, fetched once ---- */
typedef struct admin_core_t {
    APR_OPTIONAL_FN_TYPE(gbalance_admin_get) * admin_get;
    APR_OPTIONAL_FN_TYPE(gbalance_admin_closed) * admin_closed;
    APR_OPTIONAL_FN_TYPE(gbalance_session_begin) * session_begin;
    APR_OPTIONAL_FN_TYPE(gbalance_session_end) * session_end;
    APR_OPTIONAL_FN_TYPE(gbalance_sessions) * sessions;
    APR_OPTIONAL_FN_TYPE(gbalance_settings_get) * settings_get;
    APR_OPTIONAL_FN_TYPE(gbalance_caller_get) * caller_get;
    APR_OPTIONAL_FN_TYPE(gbalance_body_read) * body_read;
    APR_OPTIONAL_FN_TYPE(gbalance_body_drop) * body_drop;
    APR_OPTIONAL_FN_TYPE(gbalance_mount) * mount;
    APR_OPTIONAL_FN_TYPE(gbalance_pool_settings) * pool_settings;
    APR_OPTIONAL_FN_TYPE(gbalance_tenant_get) * tenant_get;
    APR_OPTIONAL_FN_TYPE(gbalance_models_ask) * models_ask;
    APR_OPTIONAL_FN_TYPE(gbalance_chat_ask) * chat_ask;
    APR_OPTIONAL_FN_TYPE(gbalance_proxies_check) * proxies_check;
    APR_OPTIONAL_FN_TYPE(gbalance_job_make) * job_make;
    APR_OPTIONAL_FN_TYPE(gbalance_job_pool) * job_pool;
    APR_OPTIONAL_FN_TYPE(gbalance_job_run) * job_run;
} admin_core_t;
extern admin_core_t admin_core;

#endif
