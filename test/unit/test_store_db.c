/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection and the schema, on SQLite and on a real MariaDB server: values
 * come back as they went in, failures are told apart, transactions are honest,
 * a database is brought up to our version in any number of tries and one of a
 * newer version is left alone.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "base/secret.h"
#include "db_fixture.h"
#include "store/migrate.h"

static int setup(void **state)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    apr_pool_destroy(*state);
    return 0;
}

/* Every test below runs on each kind of database. */
typedef void on_db_fn(const gb_db_conf_t *conf, apr_pool_t *p);

static void on_each(apr_pool_t *p, on_db_fn *fn)
{
    const gb_db_conf_t *conf = db_fixture_conf(GB_DB_SQLITE3, p);

    fn(conf, p);
    conf = db_fixture_conf(GB_DB_MYSQL, p);
    if (conf) {
        fn(conf, p);
    }
}

/* ---- where it is ---- */

static void reads_places(void **state)
{
    gb_db_conf_t *conf = NULL;
    const char *why = NULL;
    apr_pool_t *p = *state;

    assert_int_equal(gb_db_conf_parse(&conf, "sqlite3:a.db", "/var/lib/x", &why, p), APR_SUCCESS);
    assert_string_equal(conf->params, "/var/lib/x/a.db");
    assert_int_equal(gb_db_conf_parse(&conf, "/b.db", "", &why, p), APR_SUCCESS);
    assert_string_equal(conf->shown, "sqlite3:/b.db");
    assert_int_equal(
        gb_db_conf_parse(&conf, "mysql:host=h,user=u,pass=pw=1,dbname=d,port=3307", "", &why, p),
        APR_SUCCESS);
    assert_int_equal(conf->kind, GB_DB_MYSQL);
    assert_string_equal(conf->params, "host=h,user=u,pass=pw=1,dbname=d,port=3307,reconnect=0");
    assert_string_equal(conf->shown, "mysql:host=h,user=u,dbname=d,port=3307");
}

static void refuses_places(void **state)
{
    static const char *const bad[] = {"",
                                      "sqlite3:",
                                      "postgres:x",
                                      "relative.db",
                                      "mysql:",
                                      "mysql:user=u",
                                      "mysql:user=u,dbname=d,color=red",
                                      "mysql:user=u,pass=a b,dbname=d"};
    gb_db_conf_t *conf = NULL;
    const char *why;
    size_t i;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why = NULL;
        assert_int_equal(gb_db_conf_parse(&conf, bad[i], "", &why, *state), APR_EINVAL);
        assert_non_null(why);
    }
    assert_int_equal(gb_db_conf_mysql(&conf, "h", 1, "u", "semi;colon", "d", "", &why, *state),
                     APR_EINVAL);
    assert_non_null(strstr(why, "semicolon"));
}

/* ---- values ---- */

static const gb_sql_t put = {"INSERT INTO v (id, a, b, n) VALUES (%s, %s, %s, %s)", NULL};
static const gb_sql_t get = {"SELECT a, b, n, '100%%' FROM v WHERE id = %s", NULL};
static const gb_sql_t page = {"SELECT id FROM v WHERE n > %s ORDER BY id LIMIT %s", NULL};

static gb_db_t *with_table(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = db_fixture_open(conf, p);

    db_fixture_must(db,
                    conf->kind == GB_DB_MYSQL
                        ? "CREATE TABLE v (id INTEGER PRIMARY KEY, a MEDIUMTEXT, b VARCHAR(10) NOT "
                          "NULL, n BIGINT)"
                        : "CREATE TABLE v (id INTEGER PRIMARY KEY, a TEXT, b VARCHAR(10) NOT NULL "
                          "CHECK (length(b) <= 10), n BIGINT)");
    return db;
}

static void round_trip(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = with_table(conf, p);
    char *large = apr_palloc(p, 900001);
    const char *args[] = {"1", "quote ' \" \\ \xf0\x9f\x98\x80 %s ? -- ", "b", "9007199254740993"};
    gb_rows_t rows;
    int n = 0;

    assert_int_equal(gb_db_run(db, &put, args, &n), APR_SUCCESS);
    assert_int_equal(n, 1);
    assert_int_equal(gb_db_query(db, &get, args, &rows, p), APR_SUCCESS);
    assert_int_equal(rows.n, 1);
    assert_string_equal(gb_rows_text(&rows, 0, 0), args[1]);
    assert_true(gb_rows_int(&rows, 0, 2, 0) == APR_INT64_C(9007199254740993));
    assert_string_equal(gb_rows_text(&rows, 0, 3), "100%");

    memset(large, 'x', 900000);
    large[900000] = '\0';
    args[0] = "2";
    args[1] = large;
    args[3] = NULL;
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    assert_int_equal(gb_db_query(db, &get, args, &rows, p), APR_SUCCESS);
    assert_string_equal(gb_rows_text(&rows, 0, 0), large);
    assert_null(gb_rows_text(&rows, 0, 2));
    assert_true(gb_rows_int(&rows, 0, 2, -7) == -7);

    args[0] = "5";
    args[1] = "1";
    assert_int_equal(gb_db_query(db, &page, args, &rows, p), APR_SUCCESS);
    assert_int_equal(rows.n, 1);
    args[0] = "77";
    assert_int_equal(gb_db_query(db, &get, args, &rows, p), APR_SUCCESS);
    assert_int_equal(rows.n, 0);
    gb_db_close(db);
}

static void returns_values(void **state)
{
    on_each(*state, round_trip);
}

/* ---- failures and transactions ---- */

static void bad_values(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = with_table(conf, p);
    const char *args[] = {"1", "a", "b", "1"};
    const char *null_b[] = {"2", "a", NULL, "1"};
    const char *long_b[] = {"3", "a", "01234567890", "1"};

    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_EINVAL);
    assert_int_equal(gb_db_fault(db), GB_DB_DATA);
    assert_int_equal(gb_db_run(db, &put, null_b, NULL), APR_EINVAL);
    assert_int_equal(gb_db_run(db, &put, long_b, NULL), APR_EINVAL);
    args[0] = "4";
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    gb_db_close(db);
}

static void tells_bad_values(void **state)
{
    on_each(*state, bad_values);
}

static void transaction(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = with_table(conf, p);
    const char *args[] = {"1", "a", "b", "1"};

    assert_int_equal(gb_db_begin(db), APR_SUCCESS);
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_EINVAL);
    gb_db_rollback(db);
    assert_int_equal(gb_db_fault(db), GB_DB_DATA);
    assert_string_equal(db_fixture_cell(db, p, "SELECT COUNT(*) FROM v"), "0");
    assert_int_equal(gb_db_begin(db), APR_SUCCESS);
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    assert_int_equal(gb_db_commit(db), APR_SUCCESS);
    assert_string_equal(db_fixture_cell(db, p, "SELECT COUNT(*) FROM v"), "1");
    gb_db_close(db);
}

static void is_honest_about_transactions(void **state)
{
    on_each(*state, transaction);
}

static void says_what_is_wrong_with_files(void **state)
{
    apr_pool_t *p = *state;
    const char *folder = db_fixture_folder(p), *why = NULL;
    gb_db_conf_t *conf = NULL;
    gb_db_fault_t fault;
    gb_db_t *db;
    FILE *f;

    gb_db_conf_parse(&conf, "sqlite3:no/such/folder.db", folder, &why, p);
    assert_int_not_equal(gb_db_open(&db, conf, &why, &fault, p), APR_SUCCESS);
    assert_int_equal(fault, GB_DB_AWAY);
    assert_non_null(strstr(why, "cannot be opened"));

    gb_db_conf_parse(&conf, "sqlite3:junk.db", folder, &why, p);
    f = fopen(conf->params, "w");
    fputs("this is certainly not a database, and it is long enough to be looked at as one. "
          "this is certainly not a database, and it is long enough to be looked at as one.",
          f);
    fclose(f);
    assert_int_not_equal(gb_db_open(&db, conf, &why, &fault, p), APR_SUCCESS);
    assert_int_equal(fault, GB_DB_DAMAGED);
    assert_non_null(strstr(why, "not a database"));
}

static void notices_a_killed_server(void **state)
{
    apr_pool_t *p = *state;
    const gb_db_conf_t *conf = db_fixture_conf(GB_DB_MYSQL, p);
    const char *args[] = {"1", "a", "b", "1"};
    gb_db_t *db, *other;
    gb_db_fault_t fault;
    const char *why = NULL;

    if (!conf) {
        return;
    }
    db = with_table(conf, p);
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    kill(db_fixture_server(), SIGKILL);
    usleep(300000);
    args[0] = "2";
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_EGENERAL);
    assert_int_equal(gb_db_fault(db), GB_DB_AWAY);
    gb_db_close(db);
    assert_int_not_equal(gb_db_open(&other, conf, &why, &fault, p), APR_SUCCESS);
    assert_int_equal(fault, GB_DB_AWAY);
    db_fixture_restart();
    db = db_fixture_open(conf, p);
    assert_int_equal(gb_db_run(db, &put, args, NULL), APR_SUCCESS);
    gb_db_close(db);
}

/* ---- schema ---- */

static void migrate_all(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = db_fixture_open(conf, p);
    int found = -1;

    assert_int_equal(gb_schema_migrate(db, &found, p), APR_SUCCESS);
    assert_int_equal(found, 0);
    assert_int_equal(gb_schema_migrate(db, &found, p), APR_SUCCESS);
    assert_int_equal(found, gb_schema_newest(conf->kind));
    db_fixture_must(db,
                    "INSERT INTO t_request_log (request_time, model_name, api_key, is_success, "
                    "status_code, latency_ms) VALUES ('2026-01-02 03:04:05', 'm', 'k', 1, 200, 5)");
    assert_string_equal(db_fixture_cell(db, p, "SELECT pool FROM t_request_log"), "default");
    gb_db_close(db);
}

static void makes_the_tables(void **state)
{
    on_each(*state, migrate_all);
    assert_int_equal(gb_schema_newest(GB_DB_SQLITE3), gb_schema_newest(GB_DB_MYSQL));
}

static void newer_database(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = db_fixture_migrated(conf, p);
    int found = 0;

    db_fixture_must(db, "INSERT INTO gb_schema (version, step, name, at) VALUES (999, 3, 'x', 1)");
    assert_int_equal(gb_schema_migrate(db, &found, p), APR_EMISMATCH);
    assert_int_equal(found, 999);
    gb_db_close(db);
}

static void leaves_a_newer_database_alone(void **state)
{
    on_each(*state, newer_database);
}

/* The process died after some steps, and on MySQL between a step and its record. */
static void half_migrated(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = db_fixture_migrated(conf, p);
    const char *whole = db_fixture_cell(db, p, "SELECT COUNT(*) FROM gb_schema");
    int found = 0;

    db_fixture_must(db, "DELETE FROM gb_schema WHERE step = 0");
    db_fixture_must(db, "DROP TABLE gb_totals");
    db_fixture_must(db, "DELETE FROM gb_schema WHERE name LIKE '%gb_totals%'");
    if (conf->kind == GB_DB_MYSQL) {
        db_fixture_must(db, "DELETE FROM gb_schema WHERE name LIKE '%t_error_logs%'");
    }
    assert_int_equal(gb_schema_migrate(db, &found, p), APR_SUCCESS);
    assert_string_equal(db_fixture_cell(db, p, "SELECT COUNT(*) FROM gb_schema"), whole);
    assert_string_equal(db_fixture_cell(db, p, "SELECT COUNT(*) FROM gb_totals"), "0");
    gb_db_close(db);
}

static void goes_on_where_it_stopped(void **state)
{
    on_each(*state, half_migrated);
}

/* What a database of the version before has counted is there in the new tables. */
static void rolled_up(const gb_db_conf_t *conf, apr_pool_t *p)
{
    gb_db_t *db = db_fixture_migrated(conf, p);
    int found = 0;

    db_fixture_must(db, "DROP TABLE gb_totals");
    db_fixture_must(db, "DROP TABLE gb_tally");
    db_fixture_must(db,
                    "CREATE TABLE gb_rollup (period INTEGER, start BIGINT, pool VARCHAR(32), "
                    "model VARCHAR(100), key_id VARCHAR(20), caller VARCHAR(100), attempts "
                    "BIGINT, failures BIGINT, calls BIGINT, call_failures BIGINT, prompt_tokens "
                    "BIGINT, completion_tokens BIGINT, thought_tokens BIGINT, cached_tokens "
                    "BIGINT, latency_ms BIGINT, first_byte_ms BIGINT, first_bytes BIGINT)");
    db_fixture_must(db,
                    "INSERT INTO gb_rollup VALUES (3600, 1795154400, 'default', 'm', 'k1', 'c1', "
                    "3, 1, 2, 1, 10, 20, 0, 0, 5, 4, 1), (3600, 1795154400, 'default', 'm', "
                    "'k2', 'c1', 1, 0, 1, 0, 1, 2, 0, 0, 5, 4, 1)");
    db_fixture_must(db, "DELETE FROM gb_schema WHERE version >= 2");
    assert_int_equal(gb_schema_migrate(db, &found, p), APR_SUCCESS);
    assert_string_equal(db_fixture_cell(db, p, "SELECT COUNT(*) FROM gb_totals"), "4");
    assert_string_equal(
        db_fixture_cell(db, p, "SELECT successes FROM gb_totals WHERE part = 'caller'"), "2");
    assert_string_equal(db_fixture_cell(db, p, "SELECT attempts FROM gb_totals WHERE name = 'k1'"),
                        "3");
    gb_db_close(db);
}

static void takes_older_sums_along(void **state)
{
    on_each(*state, rolled_up);
}

/* A gemini-balance's tables have the character set that their database was made with. */
static void takes_every_character(void **state)
{
    apr_pool_t *p = *state;
    const gb_db_conf_t *conf = db_fixture_conf(GB_DB_MYSQL, p);
    gb_db_t *db;
    int found = 0;

    if (!conf) {
        return;
    }
    db = db_fixture_open(conf, p);
    db_fixture_must(db,
                    "CREATE TABLE t_error_logs (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, "
                    "gemini_key VARCHAR(100), model_name VARCHAR(100), error_type VARCHAR(50), "
                    "error_log TEXT, error_code INTEGER, request_msg JSON, request_time "
                    "DATETIME) DEFAULT CHARSET=latin1");
    db_fixture_must(db, "INSERT INTO t_error_logs (error_log) VALUES ('d\xc3\xa9j\xc3\xa0')");
    assert_int_equal(gb_schema_migrate(db, &found, p), APR_SUCCESS);
    db_fixture_must(db, "INSERT INTO t_error_logs (error_log, request_msg) VALUES "
                        "('\xe6\xa8\xa1\xe5\x9e\x8b \xf0\x9f\x98\x80', '{\"a\":1}')");
    assert_string_equal(db_fixture_cell(db, p, "SELECT error_log FROM t_error_logs WHERE id = 1"),
                        "d\xc3\xa9j\xc3\xa0");
    assert_string_equal(db_fixture_cell(db, p, "SELECT error_log FROM t_error_logs WHERE id = 2"),
                        "\xe6\xa8\xa1\xe5\x9e\x8b \xf0\x9f\x98\x80");
    gb_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_places, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_places, setup, teardown),
        cmocka_unit_test_setup_teardown(returns_values, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_bad_values, setup, teardown),
        cmocka_unit_test_setup_teardown(is_honest_about_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(says_what_is_wrong_with_files, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_a_killed_server, setup, teardown),
        cmocka_unit_test_setup_teardown(makes_the_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_a_newer_database_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_on_where_it_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_older_sums_along, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_every_character, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, db_fixture_begin, db_fixture_end);
}
