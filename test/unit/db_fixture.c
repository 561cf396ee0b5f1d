/* SPDX-License-Identifier: Apache-2.0 */
/* See db_fixture.h. */
#include "db_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <apr_strings.h>

#include "store/migrate.h"

#define MAX_FOLDERS 256

static char folders[MAX_FOLDERS][64];
static int n_folders;

static pid_t server;
static char server_dir[64];
static int n_databases;

/* ---- processes ---- */

static pid_t start(const char *const *argv, const char *log)
{
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        dup2(fd, 1);
        dup2(fd, 2);
        unsetenv("LD_PRELOAD");
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static int finish(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        ;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int run(const char *const *argv, const char *log)
{
    return finish(start(argv, log));
}

const char *db_fixture_folder(apr_pool_t *p)
{
    char *folder = folders[n_folders];

    assert_true(n_folders < MAX_FOLDERS);
    strcpy(folder, "/tmp/gbalance-store-XXXXXX");
    assert_non_null(mkdtemp(folder));
    n_folders++;
    return apr_pstrdup(p, folder);
}

/* ---- the server ---- */

static const char *in_server(const char *name, apr_pool_t *p)
{
    return apr_pstrcat(p, server_dir, "/", name, NULL);
}

static gb_db_conf_t *server_conf(const char *name, apr_pool_t *p)
{
    gb_db_conf_t *conf = NULL;
    const char *why = NULL;

    assert_int_equal(
        gb_db_conf_mysql(&conf, "", 3306, "root", "", name, in_server("sock", p), &why, p),
        APR_SUCCESS);
    return conf;
}

static void await_server(apr_pool_t *p)
{
    int i;

    for (i = 0; i < 600; i++) {
        gb_db_t *db = NULL;
        gb_db_fault_t fault;
        const char *why = NULL;

        if (gb_db_open(&db, server_conf("mysql", p), &why, &fault, p) == APR_SUCCESS) {
            gb_db_close(db);
            return;
        }
        usleep(50000);
    }
    fail_msg("the MariaDB server does not answer; its log is %s/log", server_dir);
}

void db_fixture_restart(void)
{
    apr_pool_t *p;
    const char *argv[12];
    int n = 0;

    apr_pool_create(&p, NULL);
    argv[n++] = "mariadbd";
    argv[n++] = "--no-defaults";
    argv[n++] = apr_pstrcat(p, "--datadir=", in_server("data", p), NULL);
    argv[n++] = apr_pstrcat(p, "--socket=", in_server("sock", p), NULL);
    argv[n++] = apr_pstrcat(p, "--pid-file=", in_server("pid", p), NULL);
    argv[n++] = "--skip-networking";
    argv[n++] = "--innodb-buffer-pool-size=32M";
    argv[n++] = "--innodb-flush-log-at-trx-commit=2";
    if (getuid() == 0) {
        argv[n++] = "--user=root";
    }
    argv[n] = NULL;
    server = start(argv, in_server("log", p));
    await_server(p);
    apr_pool_destroy(p);
}

/* 127: not installed. */
static int server_make(apr_pool_t *p)
{
    const char *argv[8];
    int n = 0;

    strcpy(server_dir, db_fixture_folder(p));
    argv[n++] = "mariadb-install-db";
    argv[n++] = "--no-defaults";
    argv[n++] = "--auth-root-authentication-method=normal";
    argv[n++] = "--skip-test-db";
    argv[n++] = apr_pstrcat(p, "--datadir=", in_server("data", p), NULL);
    if (getuid() == 0) {
        argv[n++] = "--user=root";
    }
    argv[n] = NULL;
    return run(argv, in_server("log", p));
}

static int server_ready(apr_pool_t *p)
{
    const char *ci = getenv("CI");
    int rc;

    if (server) {
        return 1;
    }
    rc = server_make(p);
    if (rc == 127 && !(ci && strcmp(ci, "true") == 0)) {
        print_message("skipped: there is no MariaDB server (mariadb-server-core)\n");
        return 0;
    }
    assert_int_equal(rc, 0);
    db_fixture_restart();
    return 1;
}

pid_t db_fixture_server(void)
{
    return server;
}

/* ---- databases ---- */

const gb_db_conf_t *db_fixture_conf(gb_db_kind_t kind, apr_pool_t *p)
{
    gb_db_conf_t *conf = NULL;
    const char *why = NULL, *name;
    gb_db_t *db;

    if (kind == GB_DB_SQLITE3) {
        assert_int_equal(gb_db_conf_parse(&conf, "sqlite3:test.db", db_fixture_folder(p), &why, p),
                         APR_SUCCESS);
        return conf;
    }
    if (!server_ready(p)) {
        return NULL;
    }
    name = apr_psprintf(p, "test%d", ++n_databases);
    db = db_fixture_open(server_conf("mysql", p), p);
    db_fixture_must(db, apr_pstrcat(p, "CREATE DATABASE ", name, " CHARACTER SET utf8mb4", NULL));
    gb_db_close(db);
    return server_conf(name, p);
}

gb_db_t *db_fixture_open(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = NULL;
    gb_db_fault_t fault;
    const char *why = NULL;

    if (gb_db_open(&db, conf, &why, &fault, p) != APR_SUCCESS) {
        fail_msg("%s", why);
    }
    return db;
}

gb_db_t *db_fixture_migrated(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = db_fixture_open(conf, p);
    int found;

    if (gb_schema_migrate(db, &found, p) != APR_SUCCESS) {
        fail_msg("migration: %s", gb_db_error(db));
    }
    return db;
}

const char *db_fixture_cell(gb_db_t *db, apr_pool_t *p, const char *sql)
{
    gb_rows_t rows;
    const char *text;

    if (gb_db_ask(db, sql, &rows, p) != APR_SUCCESS) {
        fail_msg("%s: %s", sql, gb_db_error(db));
    }
    text = rows.n ? gb_rows_text(&rows, 0, 0) : NULL;
    return text ? text : "";
}

void db_fixture_must(gb_db_t *db, const char *sql)
{
    if (gb_db_exec(db, sql) != APR_SUCCESS) {
        fail_msg("%s: %s", sql, gb_db_error(db));
    }
}

int db_fixture_begin(void **state)
{
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, NULL);
    return gb_db_init(p) == APR_SUCCESS ? 0 : -1;
}

int db_fixture_end(void **state)
{
    int i;

    (void)state;
    if (server) {
        kill(server, SIGCONT);
        kill(server, SIGTERM);
        finish(server);
        server = 0;
    }
    for (i = 0; i < n_folders; i++) {
        const char *argv[] = {"rm", "-rf", folders[i], NULL};

        run(argv, "/dev/null");
    }
    return 0;
}
