/* SPDX-License-Identifier: Apache-2.0 */
/* Which page or endpoint a path is. */
#include "admin.h"

#include "apr_strings.h"

static const admin_route_t *const tables[] = {
    admin_live_routes,     admin_login_routes,      admin_sessions_routes,
    admin_config_routes,   admin_logs_routes,       admin_logs_file_routes,
    admin_usage_routes,    admin_playground_routes, admin_api_compat_routes,
    admin_api_logs_routes, admin_api_proxy_routes,  admin_api_stats_routes,
    admin_keys_routes,
};

#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

/* Whether the path is of that pattern; *named is what stands for "?". */
static int matches(const char *pattern, const char *path, const char **named, apr_pool_t *p)
{
    while (*pattern && *path) {
        if (*pattern == '?') {
            size_t len = strcspn(path, "/");

            if (len == 0) {
                return 0;
            }
            *named = apr_pstrmemdup(p, path, len);
            pattern++;
            path += len;
        }
        else if (*pattern++ != *path++) {
            return 0;
        }
    }
    return !*pattern && (!*path || strcmp(path, "/") == 0);
}

static const char *method_name(int method)
{
    switch (method) {
    case M_GET:
        return "GET, HEAD";
    case M_PUT:
        return "PUT";
    case M_DELETE:
        return "DELETE";
    case M_PATCH:
        return "PATCH";
    default:
        return "POST";
    }
}

static int has_wildcard(const admin_route_t *route)
{
    return strchr(route->path, '?') != NULL;
}

/* Paths in full win over patterns, whatever table they stand in. */
static const admin_route_t *find(const char *path, int method, int wild, const char **named,
                                 const char **allow, apr_pool_t *p)
{
    const admin_route_t *route;
    const char *part = NULL;
    size_t i;

    for (i = 0; i < N_TABLES; i++) {
        for (route = tables[i]; route->path; route++) {
            if (has_wildcard(route) != wild || !matches(route->path, path, &part, p)) {
                continue;
            }
            if (route->method == method) {
                *named = part;
                return route;
            }
            *allow = *allow ? apr_pstrcat(p, *allow, ", ", method_name(route->method), NULL)
                            : method_name(route->method);
        }
    }
    return NULL;
}

const admin_route_t *admin_route_find(const char *path, int method, const char **named,
                                      const char **allow, apr_pool_t *p)
{
    const admin_route_t *route;

    *allow = *named = NULL;
    route = find(path, method, 0, named, allow, p);
    return route || *allow ? route : find(path, method, 1, named, allow, p);
}

int admin_route_is_page(const char *path, apr_pool_t *p)
{
    const char *named, *allow;
    const admin_route_t *route = admin_route_find(path, M_GET, &named, &allow, p);

    return route && route->template && !(route->flags & ADMIN_OPEN);
}
