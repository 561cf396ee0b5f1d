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

/* Reads the Locations of a server: those with one of our handlers are mounts. */
void core_mounts_collect(apr_pool_t *p, server_rec *s, core_conf_t *conf)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    int i;

    conf->mounts = apr_array_make(p, 8, sizeof(core_mount_t));
    for (i = 0; i < core->sec_url->nelts; i++) {
        ap_conf_vector_t *dir = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        const core_dir_config *entry = ap_get_core_module_config(dir);

        if (entry->handler && !entry->r
            && strncmp(entry->handler, HANDLER_PREFIX, strlen(HANDLER_PREFIX)) == 0) {
            core_mount_t *mount = apr_array_push(conf->mounts);
            size_t len = strlen(entry->d);

            while (len > 0 && entry->d[len - 1] == '/') {
                len--;
            }
            mount->prefix = apr_pstrmemdup(p, entry->d, len);
            mount->handler = entry->handler;
        }
    }
    if (conf->mounts->nelts) {
        qsort(conf->mounts->elts, (size_t)conf->mounts->nelts, sizeof(core_mount_t), longer_first);
    }
}

static const core_mount_t *mount_of(const core_conf_t *conf, const char *path)
{
    int i;

    for (i = 0; i < conf->mounts->nelts; i++) {
        const core_mount_t *mount = &APR_ARRAY_IDX(conf->mounts, i, core_mount_t);
        size_t len = strlen(mount->prefix);

        if (strncmp(path, mount->prefix, len) == 0 && (path[len] == '/' || !path[len])) {
            return mount;
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

/* [A-Za-z0-9._-]{8,64} from the client, else one of our own. */
static const char *request_id(request_rec *r)
{
    const char *given = apr_table_get(r->headers_in, "x-request-id");
    size_t n = 0;
    unsigned char bytes[12];
    char *made;

    while (given && given[n] && n <= 64 && (apr_isalnum(given[n]) || strchr("._-", given[n]))) {
        n++;
    }
    if (given && !given[n] && n >= 8 && n <= 64) {
        return given;
    }
    gb_random(bytes, sizeof(bytes));
    made = apr_palloc(r->pool, 2 * sizeof(bytes) + 1);
    gb_hex(made, bytes, sizeof(bytes));
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

static core_request_t *request_make(request_rec *r)
{
    core_conf_t *conf = core_conf_get(r->server);
    const core_mount_t *mount;
    core_request_t *req;
    char *path;

    if (conf->on != 1 || !conf->mounts || !(path = normal_path(r))
        || !(mount = mount_of(conf, path))) {
        return NULL;
    }
    req = apr_pcalloc(r->pool, sizeof(*req));
    req->mount = mount;
    ap_set_module_config(r->request_config, &gbalance_module, req);
    req->request_id = request_id(r);
    apr_table_setn(r->err_headers_out, "x-request-id", req->request_id);
    req->credential = core_credential_take(r);
    if (!req->credential) {
        req->credential = inherited_credential(r);
    }
    req->is_preflight = is_preflight(r);
    core_cors_headers(r);
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
    request_make(r);
    return DECLINED;
}

/* No document root, alias or rewrite has a say below our mounts. */
int core_translate_name(request_rec *r)
{
    core_request_t *req = core_request_get(r);

    if (!req) {
        return DECLINED;
    }
    r->filename = apr_pstrcat(r->pool, "gbalance:", r->uri, NULL);
    return OK;
}

int core_map_to_storage(request_rec *r)
{
    core_request_t *req = core_request_get(r);

    if (!req || !r->filename || strncmp(r->filename, "gbalance:", 9) != 0) {
        return DECLINED;
    }
    return req->is_preflight ? HTTP_NO_CONTENT : OK;
}
