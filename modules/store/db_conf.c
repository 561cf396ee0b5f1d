/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the database is: from the directive's text, or from gemini-balance's
 * MYSQL_* values, to what apr_dbd takes.
 */
#include "store/db.h"

#include <stddef.h>
#include <string.h>

#include <apr_strings.h>

/* apr_dbd splits its parameters at these, and knows no escape. */
#define SPLITS " \t\r\n;,|"

typedef struct parts_t {
    const char *host, *user, *pass, *dbname, *port, *sock;
} parts_t;

typedef struct part_name_t {
    const char *name;
    size_t offset;
} part_name_t;

static const part_name_t part_names[] = {
    {"host",   offsetof(parts_t, host)  },
    {"user",   offsetof(parts_t, user)  },
    {"pass",   offsetof(parts_t, pass)  },
    {"dbname", offsetof(parts_t, dbname)},
    {"port",   offsetof(parts_t, port)  },
    {"sock",   offsetof(parts_t, sock)  },
};

#define N_PARTS (sizeof(part_names) / sizeof(part_names[0]))

static const char **part(parts_t *parts, size_t i)
{
    return (const char **)((char *)parts + part_names[i].offset);
}

static apr_status_t refuse(const char **why, const char *text)
{
    *why = text;
    return APR_EINVAL;
}

/* reconnect=0: a connection that comes back by itself has lost its session and its statements. */
static apr_status_t mysql_make(gb_db_conf_t **pconf, parts_t *parts, const char **why,
                               apr_pool_t *p)
{
    gb_db_conf_t *conf = apr_pcalloc(p, sizeof(*conf));
    const char *shown = "mysql:", *params = "";
    size_t i;

    for (i = 0; i < N_PARTS; i++) {
        const char *value = *part(parts, i);

        if (!value || !*value) {
            continue;
        }
        if (value[strcspn(value, SPLITS)]) {
            return refuse(why, apr_psprintf(p,
                                            "the database driver cannot take a blank, tab, comma, "
                                            "semicolon or | in %s: choose another value",
                                            part_names[i].name));
        }
        params = apr_pstrcat(p, params, part_names[i].name, "=", value, ",", NULL);
        if (strcmp(part_names[i].name, "pass") != 0) {
            shown = apr_pstrcat(p, shown, part_names[i].name, "=", value, ",", NULL);
        }
    }
    if (!parts->dbname || !*parts->dbname || !parts->user || !*parts->user) {
        return refuse(why, "a mysql database wants at least user and dbname");
    }
    conf->kind = GB_DB_MYSQL;
    conf->params = apr_pstrcat(p, params, "reconnect=0", NULL);
    conf->shown = apr_pstrmemdup(p, shown, strlen(shown) - 1);
    *pconf = conf;
    return APR_SUCCESS;
}

static apr_status_t mysql_parse(gb_db_conf_t **pconf, const char *text, const char **why,
                                apr_pool_t *p)
{
    char *copy = apr_pstrdup(p, text);
    char *state, *word;
    parts_t parts;

    memset(&parts, 0, sizeof(parts));
    for (word = apr_strtok(copy, ",;", &state); word; word = apr_strtok(NULL, ",;", &state)) {
        char *value = strchr(word, '=');
        size_t i;

        for (i = 0; value && i < N_PARTS; i++) {
            if (strncmp(word, part_names[i].name, (size_t)(value - word)) == 0
                && strlen(part_names[i].name) == (size_t)(value - word)) {
                break;
            }
        }
        if (!value || i == N_PARTS) {
            return refuse(why,
                          "mysql: takes host=, port=, sock=, user=, pass= and dbname=, separated "
                          "by commas (none of them may hold a comma)");
        }
        *part(&parts, i) = value + 1;
    }
    return mysql_make(pconf, &parts, why, p);
}

apr_status_t gb_db_conf_mysql(gb_db_conf_t **pconf, const char *host, int port, const char *user,
                              const char *password, const char *name, const char *socket,
                              const char **why, apr_pool_t *p)
{
    parts_t parts = {host, user, password, name, NULL, socket};

    if (*socket) {
        parts.host = NULL; /* the socket wins over host and port */
    }
    else {
        parts.port = apr_itoa(p, port);
    }
    return mysql_make(pconf, &parts, why, p);
}

apr_status_t gb_db_conf_parse(gb_db_conf_t **pconf, const char *text, const char *dir,
                              const char **why, apr_pool_t *p)
{
    gb_db_conf_t *conf;

    if (strncmp(text, "mysql:", 6) == 0) {
        return mysql_parse(pconf, text + 6, why, p);
    }
    text += strncmp(text, "sqlite3:", 8) == 0 ? 8 : 0;
    if (!*text || strcspn(text, ":") < strcspn(text, "/")) {
        return refuse(why, apr_psprintf(p,
                                        "\"%s\" is no database: that is sqlite3:path or "
                                        "mysql:host=...,user=...,pass=...,dbname=...",
                                        text));
    }
    if (*text != '/' && (!dir || !*dir)) {
        return refuse(why, "a relative path is below the state directory, which is not set "
                           "(GBalanceStateDir)");
    }
    conf = apr_pcalloc(p, sizeof(*conf));
    conf->kind = GB_DB_SQLITE3;
    conf->params = *text == '/' ? apr_pstrdup(p, text) : apr_pstrcat(p, dir, "/", text, NULL);
    conf->shown = apr_pstrcat(p, "sqlite3:", conf->params, NULL);
    conf->lock_path = apr_pstrcat(p, conf->params, ".lock", NULL);
    *pconf = conf;
    return APR_SUCCESS;
}
