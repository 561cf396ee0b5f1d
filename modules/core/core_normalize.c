/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that clients get wrong are mended before httpd looks for a Location.
 * What a path should have been is url.c's business; here it is asked for each
 * prefix below which the API is mounted, and taken only when a mount serves it.
 * A site's own pages are left alone.
 */
#include "core_live.h"

#include "apr_strings.h"
#include "proto/url.h"

/* What conf.d/gbalance-api.conf mounts; the longer ones first. */
static const char *const tails[] = {
    "/vertex-express/v1beta",
    "/vertex-express/v1",
    "/gemini/v1alpha",
    "/gemini/v1beta",
    "/gemini/v1",
    "/openai/v1",
    "/hf/v1",
    "/v1alpha",
    "/v1beta",
    "/v1",
};

/* "/llm" of "/llm/gemini/v1beta"; NULL when the mount is none of the usual ones. */
static const char *base_of(const char *prefix, apr_pool_t *p)
{
    size_t len = strlen(prefix), i;

    for (i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        size_t n = strlen(tails[i]);

        if (len >= n && strcmp(prefix + len - n, tails[i]) == 0) {
            return apr_pstrmemdup(p, prefix, len - n);
        }
    }
    return NULL;
}

void core_bases_collect(apr_pool_t *p, core_conf_t *conf)
{
    int i, j;

    conf->bases = apr_array_make(p, 2, sizeof(const char *));
    for (i = 0; i < conf->mounts->nelts; i++) {
        const char *base = base_of(APR_ARRAY_IDX(conf->mounts, i, core_mount_t).prefix, p);

        for (j = 0; base && j < conf->bases->nelts; j++) {
            if (strcmp(APR_ARRAY_IDX(conf->bases, j, const char *), base) == 0) {
                base = NULL;
            }
        }
        if (base) {
            APR_ARRAY_PUSH(conf->bases, const char *) = base;
        }
    }
}

/* Whoever brings one means an API; a browser that looks at a site does not. */
static int has_credential(request_rec *r)
{
    return apr_table_get(r->headers_in, "Authorization")
           || apr_table_get(r->headers_in, "x-goog-api-key")
           || apr_table_get(r->headers_in, "x-api-key") || (r->args && strstr(r->args, "key="));
}

static unsigned flags_of(request_rec *r)
{
    return (core_view(r)->settings->url_normalization_enabled ? GB_URL_MISTAKES : 0u)
           | (has_credential(r) ? GB_URL_BARE : 0u);
}

void core_normalize(request_rec *r)
{
    const core_conf_t *conf = core_conf_get(r->server);
    int i;

    if (conf->on != 1 || !conf->bases || !r->uri || *r->uri != '/' || strstr(r->uri, "/.")) {
        return;
    }
    for (i = 0; i < conf->bases->nelts; i++) {
        const char *base = APR_ARRAY_IDX(conf->bases, i, const char *);
        size_t len = strlen(base);
        const char *mended;
        char *path;

        if (strncmp(r->uri, base, len) != 0
            || !(mended = gb_url_mend(r->uri + len, flags_of(r), r->pool))) {
            continue;
        }
        path = apr_pstrcat(r->pool, base, mended, NULL);
        if (core_mount_of(conf, path)) {
            r->uri = r->parsed_uri.path = path; /* httpd goes on with the latter */
            return;
        }
    }
}
