/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directives, and the settings that follow from them.  Every setting's
 * directive is made from the one table; the few that are no settings stand at
 * the end.  Values are checked when they are read, so that a bad one stops
 * httpd with its line; what they amount to for a server is put together in
 * check_config, which `httpd -t` runs too.
 */
#include "core.h"
#include "core_live.h"
#include "core_store.h"

#include "http_core.h"
#include "http_main.h"
#include "apr_env.h"
#include "apr_lib.h"
#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define DEFAULT_POOL     "default"
#define DEFAULT_MAX_KEYS 16384
#define DEFAULT_MAX_BODY ((apr_off_t)100 * 1024 * 1024)
#define DEFAULT_DRAIN    apr_time_from_sec(600)

/* Set anew by every check_config: DSOs are reloaded on restart. */
static apr_array_header_t *pools; /* of gb_pool_conf_t */
static int used;

core_conf_t *core_conf_get(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &gbalance_module);
}

const gb_pool_conf_t *core_pools(int *n)
{
    *n = pools ? pools->nelts : 0;
    return pools ? (const gb_pool_conf_t *)pools->elts : NULL;
}

int core_max_keys(void)
{
    int n = core_conf_get(ap_server_conf)->max_keys;

    return n == CORE_UNSET ? DEFAULT_MAX_KEYS : n;
}

int core_is_used(void)
{
    return used;
}

/* ---- values of settings ---- */

/* One word after another; words of a list are joined by commas, JSON is taken as it stands. */
static const char *join_words(apr_pool_t *p, const char *args, int is_list)
{
    const char *text = NULL;

    while (apr_isspace(*args)) {
        args++;
    }
    if (*args == '{' || *args == '[') {
        return apr_pstrdup(p, args);
    }
    while (*args) {
        const char *word = ap_getword_conf(p, &args);

        if (text && !is_list) {
            return NULL;
        }
        text = text ? apr_pstrcat(p, text, ",", word, NULL) : word;
    }
    return text;
}

static int is_secret(gb_type_t type)
{
    return type == GB_TYPE_SECRET || type == GB_TYPE_SECRET_LIST;
}

static int is_list(gb_type_t type)
{
    return type == GB_TYPE_LIST || type == GB_TYPE_SECRET_LIST;
}

static const char *read_secret_file(apr_pool_t *p, const char *path, const char **ptext)
{
    apr_file_t *file;
    apr_finfo_t info;
    apr_size_t len;
    char *text, *at;

    path = ap_server_root_relative(p, path);
    if (!path || apr_file_open(&file, path, APR_FOPEN_READ, 0, p) != APR_SUCCESS) {
        return apr_psprintf(p, "cannot read the file \"%s\" that holds the secret", path);
    }
    if (apr_file_info_get(&info, APR_FINFO_SIZE, file) != APR_SUCCESS
        || info.size > 8 * 1024 * 1024) {
        return apr_psprintf(p, "\"%s\" is too large for a file of secrets", path);
    }
    len = (apr_size_t)info.size;
    text = apr_pcalloc(p, len + 1);
    if (apr_file_read_full(file, text, len, &len) != APR_SUCCESS && len != (apr_size_t)info.size) {
        return apr_psprintf(p, "cannot read \"%s\"", path);
    }
    apr_file_close(file);
    for (at = text; *at; at++) {
        if (*at == '\n' || *at == '\r') {
            *at = ',';
        }
    }
    while (at > text && (at[-1] == ',' || at[-1] == ' ')) {
        *--at = '\0';
    }
    *ptext = text;
    return NULL;
}

static const char *run_secret_command(apr_pool_t *p, const char *command, const char **ptext)
{
    char **argv;
    char *line;

    if (apr_tokenize_to_argv(command, &argv, p) != APR_SUCCESS || !argv[0]) {
        return "exec: wants a command with its arguments";
    }
    line = ap_get_exec_line(p, argv[0], (const char *const *)argv);
    if (!line || !*line) {
        return apr_psprintf(p, "the command \"%s\" gave no secret", argv[0]);
    }
    *ptext = line;
    return NULL;
}

/* Secrets may stand elsewhere: file:PATH or exec:COMMAND. */
static const char *resolve_secret(apr_pool_t *p, const char **ptext)
{
    if (strncmp(*ptext, "file:", 5) == 0) {
        return read_secret_file(p, *ptext + 5, ptext);
    }
    if (strncmp(*ptext, "exec:", 5) == 0) {
        return run_secret_command(p, *ptext + 5, ptext);
    }
    return NULL;
}

static const char *set_setting(cmd_parms *cmd, void *dir, const char *args)
{
    core_conf_t *conf = core_conf_get(cmd->server);
    const gb_setting_t *row = gb_settings_find((const char *)cmd->info);
    const char *text = join_words(cmd->pool, args, is_list(row->type));
    const char *why = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT | NOT_IN_HTACCESS);
    core_value_t *value, *before;

    (void)dir;
    if (why) {
        return why;
    }
    if (!text) {
        return apr_psprintf(cmd->pool, "%s wants one value: %s", row->directive, row->help);
    }
    if (row->scope == GB_SCOPE_SERVER && cmd->server->is_virtual) {
        return apr_psprintf(cmd->pool, "%s belongs in the main server, not in a VirtualHost",
                            row->directive);
    }
    if (is_secret(row->type) && (why = resolve_secret(cmd->pool, &text)) != NULL) {
        return apr_psprintf(cmd->pool, "%s: %s", row->directive, why);
    }
    before = apr_hash_get(conf->values, row->name, APR_HASH_KEY_STRING);
    if (before && is_list(row->type) && *text != '[') {
        text = apr_pstrcat(cmd->pool, before->text, ",", text, NULL);
    }
    if (gb_settings_set(gb_settings_make(cmd->temp_pool), row, text, &why, cmd->temp_pool)
        != APR_SUCCESS) {
        return apr_psprintf(cmd->pool, "%s: %s", row->directive, why);
    }
    value = apr_palloc(cmd->pool, sizeof(*value));
    value->row = row;
    value->text = text;
    value->where = apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename,
                                cmd->directive->line_num);
    apr_hash_set(conf->values, row->name, APR_HASH_KEY_STRING, value);
    return NULL;
}

/* ---- what a server's values amount to ---- */

typedef struct sources_t {
    apr_table_t *file; /* GBalanceEnvFile */
    const char *file_name;
    apr_table_t *environment;
} sources_t;

static sources_t sources; /* of this configuration */
static const core_conf_t *main_of_sources;

static core_origin_t from(gb_source_t source, const char *where)
{
    core_origin_t origin = {source, where, 0};

    return origin;
}

core_origin_t core_conf_origin(const core_conf_t *conf, const gb_setting_t *row)
{
    int is_own = row->scope == GB_SCOPE_VHOST;
    const core_conf_t *definer = is_own ? conf : conf->definer;
    const core_value_t *value;

    value = definer ? apr_hash_get(definer->values, row->name, APR_HASH_KEY_STRING) : NULL;
    if (value) {
        return from(definer == main_of_sources ? GB_FROM_DIRECTIVE : GB_FROM_VHOST, value->where);
    }
    value = is_own ? NULL : apr_hash_get(main_of_sources->values, row->name, APR_HASH_KEY_STRING);
    if (value) {
        return from(GB_FROM_DIRECTIVE, value->where);
    }
    if (gb_settings_var(row, sources.environment)) {
        return from(GB_FROM_ENVIRONMENT, "");
    }
    return gb_settings_var(row, sources.file) ? from(GB_FROM_ENV_FILE, sources.file_name)
                                              : from(GB_FROM_DEFAULT, "");
}

static apr_status_t set_from(gb_settings_t *settings, const gb_setting_t *row, const char *text,
                             const char *where, server_rec *s, apr_pool_t *p)
{
    const char *why = NULL;

    if (!text || gb_settings_set(settings, row, text, &why, p) == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, GBLOGNO(8001) "%s in %s: %s", row->name, where,
                 why);
    return APR_EINVAL;
}

static apr_status_t set_from_server(gb_settings_t *settings, const gb_setting_t *row,
                                    const core_conf_t *conf, server_rec *s, apr_pool_t *p)
{
    const core_value_t *value = apr_hash_get(conf->values, row->name, APR_HASH_KEY_STRING);

    return value ? set_from(settings, row, value->text, value->where, s, p) : APR_SUCCESS;
}

/*
 * DESIGN section 3: default, .env, environment, main server, VirtualHost.  A
 * value of vhost scope never crosses from the main server into a VirtualHost.
 */
static apr_status_t settings_make(gb_settings_t **psettings, const core_conf_t *main_conf,
                                  const core_conf_t *definer, const core_conf_t *own, server_rec *s,
                                  apr_pool_t *p)
{
    gb_settings_t *settings = gb_settings_make(p);
    apr_status_t rv = APR_SUCCESS;
    int n, i;
    const gb_setting_t *rows = gb_settings_rows(&n);

    for (i = 0; rv == APR_SUCCESS && i < n; i++) {
        const gb_setting_t *row = &rows[i];

        rv = set_from(settings, row, gb_settings_var(row, sources.file), sources.file_name, s, p);
        if (rv == APR_SUCCESS) {
            rv = set_from(settings, row, gb_settings_var(row, sources.environment),
                          "the environment", s, p);
        }
        if (rv == APR_SUCCESS && row->scope != GB_SCOPE_VHOST) {
            rv = set_from_server(settings, row, main_conf, s, p);
            if (rv == APR_SUCCESS && definer) {
                rv = set_from_server(settings, row, definer, s, p);
            }
        }
        else if (rv == APR_SUCCESS) {
            rv = set_from_server(settings, row, own, s, p);
        }
    }
    *psettings = settings;
    return rv;
}

/* ---- pools ---- */

/* Whether a server has directives that settle a pool. */
static int settles_a_pool(const core_conf_t *conf, apr_pool_t *p)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(p, conf->values); hi; hi = apr_hash_next(hi)) {
        const core_value_t *value = apr_hash_this_val(hi);

        if (value->row->scope == GB_SCOPE_POOL) {
            return 1;
        }
    }
    return 0;
}

static const char *pool_of(const core_conf_t *conf)
{
    return conf->pool_name ? conf->pool_name : DEFAULT_POOL;
}

/* The VirtualHost that defines a pool: the first that uses it and has directives of pool scope. */
static apr_status_t definer_of(const core_conf_t **pdefiner, const char *name, server_rec *main,
                               apr_pool_t *p)
{
    server_rec *s;

    *pdefiner = NULL;
    for (s = main->next; s; s = s->next) {
        const core_conf_t *conf = core_conf_get(s);

        if (conf->on != 1 || strcmp(pool_of(conf), name) != 0 || !settles_a_pool(conf, p)) {
            continue;
        }
        if (*pdefiner) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         GBLOGNO(8002) "VirtualHost %s: another VirtualHost has settled the pool "
                                       "\"%s\" already; "
                                       "give one of them a GBalancePool of its own, or put the "
                                       "shared directives "
                                       "into the main server",
                         conf->vhost, name);
            return APR_EINVAL;
        }
        *pdefiner = conf;
    }
    return APR_SUCCESS;
}

static gb_pool_conf_t *pool_find(const char *name)
{
    int i;

    for (i = 0; i < pools->nelts; i++) {
        gb_pool_conf_t *pool = &APR_ARRAY_IDX(pools, i, gb_pool_conf_t);

        if (strcmp(pool->name, name) == 0) {
            return pool;
        }
    }
    return NULL;
}

static void pool_add(const char *name, const gb_settings_t *settings, server_rec *s)
{
    if (!pool_find(name)) {
        gb_pool_conf_t *pool = apr_array_push(pools);

        pool->name = name;
        pool->settings = settings;
        pool->s = s;
    }
}

void core_pool_settle(int i, const gb_settings_t *settings)
{
    APR_ARRAY_IDX(pools, i, gb_pool_conf_t).settings = settings;
}

apr_array_header_t *core_tokens_make(const gb_settings_t *settings, apr_pool_t *p)
{
    const gb_list_t *list = &settings->allowed_tokens;
    apr_array_header_t *tokens = apr_array_make(p, list->n ? list->n : 1, sizeof(core_token_t));
    int i;

    for (i = 0; i < list->n; i++) {
        core_token_t *token = apr_array_push(tokens);
        char hex[GB_SECRET_ID_LEN + 1];

        gb_digest(token->digest, list->items[i], strlen(list->items[i]));
        gb_hex(hex, token->digest, GB_SECRET_ID_LEN / 2);
        token->id = apr_pstrdup(p, hex);
    }
    return tokens;
}

/* Where the machine has no zones any name is taken. */
static void check_zone(server_rec *s, const gb_settings_t *settings, apr_pool_t *p)
{
    gb_zone_t *zone;

    if (gb_zone_load(&zone, settings->timezone, p) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     GBLOGNO(8004) "TIMEZONE: this machine knows no zone %s (is tzdata "
                                   "installed?), so times are in UTC",
                     settings->timezone);
    }
}

static apr_status_t server_settle(server_rec *s, server_rec *main, apr_pool_t *p)
{
    core_conf_t *conf = core_conf_get(s);
    const core_conf_t *definer;
    gb_settings_t *settings;
    apr_status_t rv = definer_of(&definer, pool_of(conf), main, p);

    if (rv == APR_SUCCESS) {
        rv = settings_make(&settings, core_conf_get(main), definer, conf, s, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    check_zone(s, settings, p);
    conf->settings = settings;
    conf->definer = definer;
    conf->tokens = core_tokens_make(settings, p);
    core_mounts_collect(p, s, conf);
    pool_add(pool_of(conf), settings, s);
    /* also without keys: they may be saved while httpd runs */
    pool_add(core_vertex_pool(pool_of(conf), p), core_vertex_settings(settings, p), s);
    return APR_SUCCESS;
}

/* ---- check_config ---- */

static apr_table_t *read_environment(apr_pool_t *p)
{
    apr_table_t *values = apr_table_make(p, 16);
    int n, i;
    const gb_setting_t *rows = gb_settings_rows(&n);

    for (i = 0; i < n; i++) {
        char *text;

        if (apr_env_get(&text, rows[i].name, p) == APR_SUCCESS && *text) {
            apr_table_setn(values, rows[i].name, text);
        }
    }
    return values;
}

static apr_status_t sources_read(server_rec *main, apr_pool_t *p)
{
    const core_conf_t *conf = core_conf_get(main);
    const char *why = NULL;
    apr_status_t rv;

    main_of_sources = conf;
    sources.environment = read_environment(p);
    sources.file = apr_table_make(p, 1);
    sources.file_name = conf->env_file ? conf->env_file : "";
    if (!conf->env_file) {
        return APR_SUCCESS;
    }
    rv = gb_env_file_read(&sources.file, conf->env_file, &why, p);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, main, GBLOGNO(8003) "GBalanceEnvFile %s: %s",
                     conf->env_file, why ? why : "cannot be read");
    }
    return rv;
}

/* What is of server scope, and where the database is. */
static apr_status_t store_settle(server_rec *main, apr_pool_t *p)
{
    const core_conf_t *conf = core_conf_get(main);
    gb_settings_t *settings;
    apr_status_t rv = settings_make(&settings, conf, NULL, conf, main, p);

    return rv == APR_SUCCESS ? core_store_check(main, settings, p) : rv;
}

static const char *vhost_name(server_rec *s, apr_pool_t *p)
{
    int port = s->port ? s->port : (s->addrs ? s->addrs->host_port : 0);

    return apr_psprintf(p, "%s:%d", s->server_hostname ? s->server_hostname : "_default_", port);
}

int core_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main)
{
    server_rec *s;

    (void)plog;
    (void)ptemp;
    pools = apr_array_make(pconf, 2, sizeof(gb_pool_conf_t));
    used = 0;
    for (s = main; s; s = s->next) {
        core_conf_get(s)->vhost = vhost_name(s, pconf);
        used |= core_conf_get(s)->on == 1;
    }
    if (!used) {
        return OK;
    }
    if (sources_read(main, pconf) != APR_SUCCESS || store_settle(main, pconf) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    for (s = main; s; s = s->next) {
        if (core_conf_get(s)->on == 1 && server_settle(s, main, pconf) != APR_SUCCESS) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

/* ---- directives that are no settings ---- */

static const char *set_on(cmd_parms *cmd, void *dir, int flag)
{
    (void)dir;
    core_conf_get(cmd->server)->on = flag;
    return NULL;
}

static const char *set_parking(cmd_parms *cmd, void *dir, int flag)
{
    (void)dir;
    core_conf_get(cmd->server)->parking = flag;
    return NULL;
}

static const char *set_pool(cmd_parms *cmd, void *dir, const char *name)
{
    const char *at;

    (void)dir;
    for (at = name; *at; at++) {
        if (!apr_isalnum(*at) && !strchr("._-", *at)) {
            break;
        }
    }
    if (!*name || *at || strlen(name) > 31) {
        return "GBalancePool wants a name of up to 31 letters, digits, dots, dashes and "
               "underscores";
    }
    core_conf_get(cmd->server)->pool_name = name;
    return NULL;
}

static const char *set_auth(cmd_parms *cmd, void *dir, const char *mode)
{
    static const char *const modes[] = {"token", "apache", "any"};
    int i;

    (void)dir;
    for (i = 0; i < 3; i++) {
        if (ap_cstr_casecmp(mode, modes[i]) == 0) {
            core_conf_get(cmd->server)->auth_mode = i;
            return NULL;
        }
    }
    return "GBalanceAuth wants token, apache or any";
}

static const char *set_admin_auth(cmd_parms *cmd, void *dir, const char *mode)
{
    (void)dir;
    if (ap_cstr_casecmp(mode, "session") != 0 && ap_cstr_casecmp(mode, "apache") != 0) {
        return "GBalanceAdminAuth wants session or apache";
    }
    core_conf_get(cmd->server)->admin_by_apache = ap_cstr_casecmp(mode, "apache") == 0;
    return NULL;
}

static const char *set_max_body(cmd_parms *cmd, void *dir, const char *text)
{
    apr_off_t bytes;
    char *end;

    (void)dir;
    if (apr_strtoff(&bytes, text, &end, 10) != APR_SUCCESS || *end || bytes < 1024
        || bytes > (apr_off_t)GB_BUF_MAX_REQUEST) {
        return apr_psprintf(cmd->pool, "GBalanceMaxBody wants bytes from 1024 to %d",
                            GB_BUF_MAX_REQUEST);
    }
    core_conf_get(cmd->server)->max_body = bytes;
    return NULL;
}

static const char *set_path(cmd_parms *cmd, void *dir, const char *path)
{
    core_conf_t *conf = core_conf_get(cmd->server);
    const char *why = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char **member = (const char **)((char *)conf + (apr_size_t)cmd->info);

    (void)dir;
    if (why) {
        return why;
    }
    *member = ap_server_root_relative(cmd->pool, path);
    return *member ? NULL : apr_psprintf(cmd->pool, "%s: \"%s\" is no path", cmd->cmd->name, path);
}

static const char *set_database(cmd_parms *cmd, void *dir, const char *text)
{
    const char *why = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    gb_db_conf_t *conf;

    (void)dir;
    /* where a relative path lies is known later: any folder does to judge the rest */
    if (!why && gb_db_conf_parse(&conf, text, "/", &why, cmd->temp_pool) == APR_SUCCESS) {
        core_conf_get(cmd->server)->database = text;
        return NULL;
    }
    return apr_pstrcat(cmd->pool, "GBalanceDatabase: ", why, NULL);
}

static const char *set_secret_file(cmd_parms *cmd, void *dir, const char *path, const char *before)
{
    core_conf_t *conf = core_conf_get(cmd->server);
    const char *why = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir;
    if (why) {
        return why;
    }
    conf->secret_file = ap_server_root_relative(cmd->pool, path);
    conf->secret_before = before ? ap_server_root_relative(cmd->pool, before) : NULL;
    return conf->secret_file
               ? NULL
               : apr_psprintf(cmd->pool, "GBalanceSecretFile: \"%s\" is no path", path);
}

static const char *set_max_keys(cmd_parms *cmd, void *dir, const char *text)
{
    const char *why = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char *end;
    apr_int64_t n = apr_strtoi64(text, &end, 10);

    (void)dir;
    if (why) {
        return why;
    }
    if (*end || n < 16 || n > 1000000) {
        return "GBalanceMaxKeys wants a number from 16 to 1000000";
    }
    core_conf_get(cmd->server)->max_keys = (int)n;
    return NULL;
}

static const char *set_drain(cmd_parms *cmd, void *dir, const char *text)
{
    const char *why = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_interval_time_t drain;

    (void)dir;
    if (why) {
        return why;
    }
    if (ap_timeout_parameter_parse(text, &drain, "s") != APR_SUCCESS || drain < 0
        || drain > apr_time_from_sec(86400)) {
        return "GBalanceDrainTimeout wants a time from 0 to 86400 seconds";
    }
    core_conf_get(cmd->server)->drain = drain;
    return NULL;
}

/* clang-format off */
const command_rec core_directives[] = {
#define GB_SETTING(NAME, Directive, member, TYPE, SCOPE, fallback, min, max, choices, group, help) \
    AP_INIT_RAW_ARGS(Directive, set_setting, (void *)#NAME, RSRC_CONF, help),
#include "base/settings_table.h"
#undef GB_SETTING
    AP_INIT_FLAG("GBalance", set_on, NULL, RSRC_CONF,
                 "Whether this server answers below gbalance's locations. Off by default"),
    AP_INIT_TAKE1("GBalancePool", set_pool, NULL, RSRC_CONF,
                  "The pool of keys that serves this VirtualHost. default by default"),
    AP_INIT_TAKE1("GBalanceAuth", set_auth, NULL, RSRC_CONF,
                  "token, apache (r->user) or any. token by default"),
    AP_INIT_TAKE1("GBalanceAdminAuth", set_admin_auth, NULL, RSRC_CONF,
                  "session (a login with AUTH_TOKEN) or apache (whom Apache has let in). session by default"),
    AP_INIT_FLAG("GBalanceParking", set_parking, NULL, RSRC_CONF,
                 "Whether waiting requests leave their worker thread where that is possible. On by default"),
    AP_INIT_TAKE1("GBalanceMaxBody", set_max_body, NULL, RSRC_CONF,
                  "Largest request body in bytes. 104857600 (100 MiB) by default"),
    AP_INIT_TAKE1("GBalanceEnvFile", set_path, (void *)APR_OFFSETOF(core_conf_t, env_file), RSRC_CONF,
                  "A .env file with settings under gemini-balance's names"),
    AP_INIT_TAKE1("GBalanceStateDir", set_path, (void *)APR_OFFSETOF(core_conf_t, state_dir), RSRC_CONF,
                  "Where gbalance keeps what must survive a restart"),
    AP_INIT_TAKE1("GBalanceDatabase", set_database, NULL, RSRC_CONF,
                  "sqlite3:path or mysql:host=...,user=...,pass=...,dbname=.... As DATABASE_TYPE and its like say by default"),
    AP_INIT_TAKE12("GBalanceSecretFile", set_secret_file, NULL, RSRC_CONF,
                   "32 bytes that seal keys and tokens in the database, and those that did until now"),
    AP_INIT_TAKE1("GBalanceCAFile", set_path, (void *)APR_OFFSETOF(core_conf_t, ca_file), RSRC_CONF,
                  "CA certificates that upstreams are checked against instead of the system's"),
    AP_INIT_TAKE1("GBalanceMaxKeys", set_max_keys, NULL, RSRC_CONF,
                  "Keys that fit into shared memory. 16384 by default"),
    AP_INIT_TAKE1("GBalanceDrainTimeout", set_drain, NULL, RSRC_CONF,
                  "How long calls may run on in a stopping child. 600 seconds by default"),
    { NULL, { NULL }, NULL, 0, RAW_ARGS, NULL }
};
/* clang-format on */

/* ---- create and merge ---- */

void *core_conf_create(apr_pool_t *p, server_rec *s)
{
    core_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    conf->on = CORE_UNSET;
    conf->parking = CORE_UNSET;
    conf->auth_mode = CORE_UNSET;
    conf->admin_by_apache = CORE_UNSET;
    conf->max_body = CORE_UNSET;
    conf->max_keys = CORE_UNSET;
    conf->drain = CORE_UNSET;
    conf->values = apr_hash_make(p);
    return conf;
}

#define GB_MERGE(member, unset) conf->member = add->member != (unset) ? add->member : base->member

void *core_conf_merge(apr_pool_t *p, void *basev, void *addv)
{
    const core_conf_t *base = basev;
    const core_conf_t *add = addv;
    core_conf_t *conf = core_conf_create(p, NULL);

    GB_MERGE(on, CORE_UNSET);
    GB_MERGE(parking, CORE_UNSET);
    GB_MERGE(auth_mode, CORE_UNSET);
    GB_MERGE(admin_by_apache, CORE_UNSET);
    GB_MERGE(max_body, CORE_UNSET);
    GB_MERGE(pool_name, NULL);
    conf->values = add->values; /* settings are put together by settings_make */
    return conf;
}
