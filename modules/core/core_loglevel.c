/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LOG_LEVEL: the least level of our own lines.  httpd asks a server's levels by
 * module for each line; for our modules they are brought down here while httpd
 * runs, and never up: what LogLevel leaves out stays out.
 */
#include "core_live.h"

#include "http_log.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

typedef struct limit_t {
    int index;      /* of a module of ours */
    int configured; /* what LogLevel says */
} limit_t;

typedef struct server_limits_t {
    server_rec *s;
    apr_array_header_t *limits; /* of limit_t */
} server_limits_t;

static apr_array_header_t *servers; /* of server_limits_t, set in child_init */

static int is_ours(const module *m)
{
    return strncmp(m->name, "mod_gbalance", 12) == 0;
}

/* The levels of a server in a block of its own, so that they can be changed for it alone. */
static void own_levels(server_rec *s, apr_pool_t *p)
{
    struct ap_logconf own;
    const module *m;

    memset(&own, 0, sizeof(own));
    own.level = s->log.level;
    for (m = ap_top_module; m; m = m->next) {
        ap_set_module_loglevel(p, &own, m->module_index,
                               ap_get_server_module_loglevel(s, m->module_index));
    }
    s->log = own;
}

static void add_server(server_rec *s, apr_pool_t *p)
{
    server_limits_t *server = apr_array_push(servers);
    const module *m;

    server->s = s;
    server->limits = apr_array_make(p, 8, sizeof(limit_t));
    own_levels(s, p);
    for (m = ap_top_module; m; m = m->next) {
        if (is_ours(m)) {
            limit_t *limit = apr_array_push(server->limits);

            limit->index = m->module_index;
            limit->configured = ap_get_server_module_loglevel(s, m->module_index);
        }
    }
}

void core_log_child_init(apr_pool_t *p, server_rec *main)
{
    server_rec *s;

    servers = apr_array_make(p, 4, sizeof(server_limits_t));
    for (s = main; s; s = s->next) {
        const core_conf_t *conf = core_conf_get(s);

        if (s == main || conf->on == 1) {
            add_server(s, p);
        }
        if (conf->on == 1) {
            core_log_limit(s, conf->settings->log_level);
            if (strcmp(core_pool_name(conf), "default") == 0) {
                core_log_limit(main, conf->settings->log_level);
            }
        }
    }
}

/* DEBUG leaves out nothing: it is the most talkative of gemini-balance's levels. */
static int level_of(const char *name)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {
        {"DEBUG",    APLOG_TRACE8 },
        {"INFO",     APLOG_INFO   },
        {"WARNING",  APLOG_WARNING},
        {"ERROR",    APLOG_ERR    },
        {"CRITICAL", APLOG_CRIT   },
    };
    size_t i;

    for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(levels[i].name, name) == 0) {
            return levels[i].level;
        }
    }
    return APLOG_TRACE8;
}

void core_log_limit(server_rec *s, const char *name)
{
    int level = level_of(name), i, k;

    for (i = 0; servers && i < servers->nelts; i++) {
        const server_limits_t *server = &APR_ARRAY_IDX(servers, i, server_limits_t);

        for (k = 0; server->s == s && k < server->limits->nelts; k++) {
            const limit_t *limit = &APR_ARRAY_IDX(server->limits, k, limit_t);

            ap_set_module_loglevel(NULL, &s->log, limit->index,
                                   limit->configured < level ? limit->configured : level);
        }
    }
}
