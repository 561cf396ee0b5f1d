/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which requests are ours, and what is done to them before httpd's own stages:
 * the client's credentials leave the request before anything can log them, the
 * request id is settled, a CORS preflight is answered, and the file system is
 * not asked.  Ours is what a <Location> with one of our handlers matches, in a
 * server where `GBalance On` stands.
 */
#include "core.h"

#include <stdlib.h>

#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "apr_lib.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define HANDLER_PREFIX "gbalance-"

/* ---- mounts ---- */

static int longer_first(const void *a, const void *b)
{
    size_t la = strlen(((const core_mount_t *)a)->prefix);
    size_t lb = strlen(((const core_mount_t *)b)->prefix);

    return la < lb ? 1 : la > lb ? -1 : 0;
}

/* The path of `<Location "/v1">`: the arguments come with their quotes and the closing bracket. */
static const char *location_path(apr_pool_t *p, const char *args)
{
    char *copy = apr_pstrdup(p, args);
    char *end = strrchr(copy, '>');
    const char *at = copy;
    char *path;
    size_t len;

    if (end) {
        *end = '\0';
    }
    path = ap_getword_conf(p, &at);
    len = strlen(path);
    while (len > 0 && path[len - 1] == '/') {
        path[--len] = '\0';
    }
    return path;
}

/* The path of `<LocationMatch "^/llm/$">`; NULL for any other pattern. */
static const char *exact_path(apr_pool_t *p, const char *args)
{
    const char *path = location_path(p, args);
    size_t len = strlen(path);

    if (len < 3 || *path != '^' || path[len - 1] != '$' || strpbrk(path + 1, "()[]{}*+?|\\^")) {
        return NULL;
    }
    return apr_pstrmemdup(p, path + 1, len - 2);
}

/* The handler that a container sets, when it is one of ours. */
static const char *our_handler(apr_pool_t *p, const ap_directive_t *node)
{
    const ap_directive_t *child;

    for (child = node->first_child; child; child = child->next) {
        const char *args = child->args;
        const char *word;

        if (ap_cstr_casecmp(child->directive, "SetHandler") == 0) {
            word = ap_getword_conf(p, &args);
            if (strncmp(word, HANDLER_PREFIX, strlen(HANDLER_PREFIX)) == 0) {
                return word;
            }
        }
    }
    return NULL;
}

/* All mounts among the directives of one level. */
static void collect(apr_array_header_t *mounts, const ap_directive_t *node, apr_pool_t *p)
{
    for (; node; node = node->next) {
        int is_exact = ap_cstr_casecmp(node->directive, "<LocationMatch") == 0;
        const char *path = NULL, *handler = NULL;

        if (is_exact || ap_cstr_casecmp(node->directive, "<Location") == 0) {
            handler = our_handler(p, node);
            path = is_exact ? exact_path(p, node->args) : location_path(p, node->args);
        }
        if (handler && path) {
            core_mount_t *mount = apr_array_push(mounts);

            mount->prefix = path;
            mount->handler = handler;
            mount->is_exact = is_exact;
        }
    }
}

static const ap_directive_t *virtual_host_node(const server_rec *s)
{
    const ap_directive_t *node;

    for (node = ap_conftree; node; node = node->next) {
        if (ap_cstr_casecmp(node->directive, "<VirtualHost") == 0 && s->defn_name
            && node->line_num == (int)s->defn_line_number
            && strcmp(node->filename, s->defn_name) == 0) {
            return node;
        }
    }
    return NULL;
}

/*
 * Reads the Locations of a server, with those that it inherits.  The tree of
 * directives is asked because httpd keeps a handler as an expression only.
 * A <LocationMatch> is a mount when its pattern is one path and nothing else.
 */
void core_mounts_collect(apr_pool_t *p, server_rec *s, core_conf_t *conf)
{
    const ap_directive_t *node = s->is_virtual ? virtual_host_node(s) : NULL;

    conf->mounts = apr_array_make(p, 8, sizeof(core_mount_t));
    collect(conf->mounts, ap_conftree, p);
    if (node) {
        collect(conf->mounts, node->first_child, p);
    }
    if (conf->mounts->nelts) {
        qsort(conf->mounts->elts, (size_t)conf->mounts->nelts, sizeof(core_mount_t), longer_first);
    }
    core_bases_collect(p, conf);
}

const core_mount_t *core_mount_of(const core_conf_t *conf, const char *path)
{
    int i;

    for (i = 0; i < conf->mounts->nelts; i++) {
        const core_mount_t *mount = &APR_ARRAY_IDX(conf->mounts, i, core_mount_t);
        size_t len = strlen(mount->prefix);

        if (strncmp(path, mount->prefix, len) == 0
            && (!path[len] || (path[len] == '/' && !mount->is_exact))) {
            return mount;
        }
    }
    return NULL;
}

const char *core_mount_prefix(const core_conf_t *conf, const char *handler)
{
    int i;

    for (i = conf->mounts ? conf->mounts->nelts - 1 : -1; i >= 0; i--) {
        const core_mount_t *mount = &APR_ARRAY_IDX(conf->mounts, i, core_mount_t);

        if (strcmp(mount->handler, handler) == 0) {
            return mount->prefix;
        }
    }
    return NULL;
}

/* The path as it will be after httpd has normalized it; NULL when it will be refused. */
static char *normal_path(request_rec *r)
{
    char *path;

    if (!r->uri || *r->uri != '/') {
        return NULL;
    }
    path = apr_pstrdup(r->pool, r->uri);
    if (!ap_normalize_path(path, AP_NORMALIZE_MERGE_SLASHES | AP_NORMALIZE_DECODE_UNRESERVED)) {
        return NULL;
    }
    return path;
}

/* ---- per request ---- */

/* [A-Za-z0-9._-]{8,64} from the client, else one of our own.  One system call for all randomness. */
static const char *request_id(request_rec *r, core_request_t *req)
{
    const char *given = apr_table_get(r->headers_in, "x-request-id");
    size_t n = 0;
    unsigned char bytes[12 + sizeof(req->entropy)];
    char *made;

    gb_uid_make(bytes, sizeof(bytes), r->request_time);
    memcpy(req->entropy, bytes + 12, sizeof(req->entropy));

    while (given && given[n] && n <= 64 && (apr_isalnum(given[n]) || strchr("._-", given[n]))) {
        n++;
    }
    if (given && !given[n] && n >= 8 && n <= 64) {
        return given;
    }
    made = apr_palloc(r->pool, 2 * 12 + 1);
    gb_hex(made, bytes, 12);
    return made;
}

static int is_preflight(request_rec *r)
{
    return r->method_number == M_OPTIONS && apr_table_get(r->headers_in, "Origin")
           && apr_table_get(r->headers_in, "Access-Control-Request-Method");
}

/* A redirected request has the headers of the first, from which the credential was taken. */
static const char *inherited_credential(request_rec *r)
{
    request_rec *from;

    for (from = r->prev ? r->prev : r->main; from; from = from->prev ? from->prev : from->main) {
        const core_request_t *req = ap_get_module_config(from->request_config, &gbalance_module);

        if (req && req->credential) {
            return req->credential;
        }
    }
    return NULL;
}

int core_is_administration(const core_mount_t *mount)
{
    static const char *const handlers[] = {CORE_API_HANDLER, "gbalance-keys-api", "gbalance-admin"};
    size_t i;

    for (i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (strcmp(mount->handler, handlers[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static core_request_t *request_make(request_rec *r)
{
    core_conf_t *conf = core_conf_get(r->server);
    const core_mount_t *mount;
    core_request_t *req;
    char *path;

    if (conf->on != 1 || !conf->mounts) {
        return NULL;
    }
    path = normal_path(r);
    if (!path) {
        core_query_clean(r); /* nobody gets it, but it is logged why */
        return NULL;
    }
    mount = core_mount_of(conf, path);
    if (!mount) {
        return NULL;
    }
    req = apr_pcalloc(r->pool, sizeof(*req));
    req->mount = mount;
    ap_set_module_config(r->request_config, &gbalance_module, req);
    req->request_id = request_id(r, req);
    apr_table_setn(r->err_headers_out, "x-request-id", req->request_id);
    apr_table_setn(r->subprocess_env, "GB_REQUEST_ID", req->request_id);
    req->credential = core_credential_take(r);
    if (!req->credential) {
        req->credential = inherited_credential(r);
    }
    if (core_is_upload(r)) {
        req->session_word = core_query_take(r, CORE_UPLOAD_ARGUMENT);
    }
    if (core_is_administration(mount)) {
        apr_table_setn(r->err_headers_out, "X-Content-Type-Options", "nosniff");
    }
    else {
        req->is_preflight = is_preflight(r);
        core_cors_headers(r); /* never for administration: no page of another site may */
    }
    return req;
}

core_request_t *core_request_get(request_rec *r)
{
    core_request_t *req = ap_get_module_config(r->request_config, &gbalance_module);

    /* post_read_request does not run for subrequests and internal redirects */
    return req ? req : request_make(r);
}

/* ---- hooks ---- */

int core_post_read_request(request_rec *r)
{
    core_normalize(r);
    request_make(r);
    return DECLINED;
}

/* With AllowEncodedSlashes On "/v1/x%2F..%2F..%2Fapi" comes to another mount once it is decoded. */
static int is_where_it_was(request_rec *r, core_request_t *req)
{
    const core_mount_t *mount = core_mount_of(core_conf_get(r->server), r->uri);

    if (!mount || mount == req->mount) {
        return 1;
    }
    if (core_is_administration(mount) && core_is_administration(req->mount)) {
        req->mount = mount; /* "/api/config%2Fkeys" */
        return 1;
    }
    return 0;
}

/* No document root, alias or rewrite has a say below our mounts. */
int core_translate_name(request_rec *r)
{
    core_request_t *req = core_request_get(r);

    if (!req) {
        return DECLINED;
    }
    if (!is_where_it_was(r, req)) {
        return HTTP_BAD_REQUEST;
    }
    if (core_relay_route(r)) {
        return OK;
    }
    r->filename = apr_pstrcat(r->pool, "gbalance:", r->uri, NULL);
    return OK;
}

int core_map_to_storage(request_rec *r)
{
    core_request_t *req = core_request_get(r);

    if (req && r->proxyreq && !ap_find_linked_module("mod_proxy.c")) {
        return OK; /* "proxy:..." is no file below the working directory, as httpd would take it */
    }
    if (!req || !r->filename || strncmp(r->filename, "gbalance:", 9) != 0) {
        return DECLINED;
    }
    return req->is_preflight ? HTTP_NO_CONTENT : OK;
}
