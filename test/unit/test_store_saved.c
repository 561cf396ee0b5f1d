/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved values: where they stand, that a change is whole, and the way back
 * through the history, on SQLite and MariaDB.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "db_fixture.h"
#include "store/saved.h"

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

typedef void on_db_fn(const gb_saved_ctx_t *ctx, apr_pool_t *p);

static void on_each(apr_pool_t *p, on_db_fn *fn)
{
    static const gb_db_kind_t kinds[] = {GB_DB_SQLITE3, GB_DB_MYSQL};
    int i;

    for (i = 0; i < 2; i++) {
        const gb_db_conf_t *conf = db_fixture_conf(kinds[i], p);

        if (conf) {
            gb_saved_ctx_t ctx = {db_fixture_migrated(conf, p), NULL};

            fn(&ctx, p);
            gb_db_close(ctx.db);
        }
    }
}

static const char *value_of(const gb_saved_ctx_t *ctx, const char *scope, const char *name,
                            const char *key, apr_pool_t *p)
{
    apr_array_header_t *list;
    int i;

    assert_int_equal(gb_saved_load(ctx, &list, "home:80", p), APR_SUCCESS);
    for (i = 0; i < list->nelts; i++) {
        const gb_saved_t *saved = &APR_ARRAY_IDX(list, i, gb_saved_t);

        if (strcmp(saved->scope, scope) == 0 && strcmp(saved->name, name) == 0
            && strcmp(saved->key, key) == 0) {
            return saved->value;
        }
    }
    return NULL;
}

static apr_int64_t save(const gb_saved_ctx_t *ctx, const char *scope, const char *name,
                        const char *key, const char *value, apr_pool_t *p)
{
    gb_saved_t saved = {scope, name, key, value};
    gb_change_t change = {"admin", "save", "home:80", &saved, 1};
    apr_int64_t id = 0;

    assert_int_equal(gb_saved_change(ctx, &change, &id, p), APR_SUCCESS);
    return id;
}

#define CELL(sql) db_fixture_cell(ctx->db, p, sql)

static void places(const gb_saved_ctx_t *ctx, apr_pool_t *p)
{
    apr_int64_t before, after;

    assert_null(value_of(ctx, "pool", "default", "MAX_RETRIES", p)); /* names the home */
    assert_int_equal(gb_saved_version(ctx->db, &before, p), APR_SUCCESS);
    save(ctx, "pool", "default", "MAX_RETRIES", "5", p);
    save(ctx, "pool", "other", "MAX_RETRIES", "6", p);
    save(ctx, "vhost", "home:80", "ALLOWED_TOKENS", "[\"a\"]", p);
    save(ctx, "vhost", "away:80", "ALLOWED_TOKENS", "[\"b\"]", p);
    assert_int_equal(gb_saved_version(ctx->db, &after, p), APR_SUCCESS);
    assert_true(after == before + 4);
    assert_string_equal(CELL("SELECT value FROM t_settings WHERE `key` = 'MAX_RETRIES'"), "5");
    assert_string_equal(CELL("SELECT value FROM t_settings WHERE `key` = 'ALLOWED_TOKENS'"),
                        "[\"a\"]");
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_settings"), "2");
    assert_string_equal(value_of(ctx, "pool", "other", "MAX_RETRIES", p), "6");
    assert_string_equal(value_of(ctx, "vhost", "home:80", "ALLOWED_TOKENS", p), "[\"a\"]");
    assert_string_equal(value_of(ctx, "vhost", "away:80", "ALLOWED_TOKENS", p), "[\"b\"]");
    save(ctx, "pool", "default", "MAX_RETRIES", "8", p);
    assert_string_equal(value_of(ctx, "pool", "default", "MAX_RETRIES", p), "8");
    save(ctx, "pool", "default", "MAX_RETRIES", NULL, p);
    assert_null(value_of(ctx, "pool", "default", "MAX_RETRIES", p));
}

static void have_their_places(void **state)
{
    on_each(*state, places);
}

/* The second value of a change is refused: the first one is not there either. */
static void wholeness(const gb_saved_ctx_t *ctx, apr_pool_t *p)
{
    gb_saved_t values[] = {
        {"pool", "other", "MAX_RETRIES", "5"},
        {"pool", "other", NULL,          "6"}
    };
    gb_change_t change = {"admin", "save", "home:80", values, 2};
    char *name = apr_pcalloc(p, 400);

    memset(name, 'n', 399);
    values[1].key = "MAX_FAILURES";
    values[1].name = name; /* longer than the column */
    if (gb_db_kind(ctx->db) == GB_DB_SQLITE3) {
        db_fixture_must(ctx->db,
                        "CREATE TRIGGER no BEFORE INSERT ON gb_settings WHEN "
                        "length(NEW.name) > 255 BEGIN SELECT RAISE(ABORT, 'too long'); END");
    }
    assert_int_equal(gb_saved_change(ctx, &change, NULL, p), APR_EINVAL);
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_settings"), "0");
    assert_string_equal(CELL("SELECT COUNT(*) FROM gb_history"), "0");
}

static void are_changed_as_a_whole(void **state)
{
    on_each(*state, wholeness);
}

static void undo(const gb_saved_ctx_t *ctx, apr_pool_t *p)
{
    apr_array_header_t *rows, *list;
    const gb_history_row_t *row;
    apr_int64_t first, second;
    int i;

    save(ctx, "pool", "other", "MAX_RETRIES", "5", p);
    first = save(ctx, "pool", "other", "MAX_RETRIES", "6", p);
    second = save(ctx, "pool", "other", "TIME_OUT", "60", p);
    save(ctx, "pool", "other", "MAX_RETRIES", "7", p);
    save(ctx, "pool", "third", "MAX_RETRIES", "9", p);

    assert_int_equal(gb_history_list(ctx, &rows, "other", "home:80", 0, 10, p), APR_SUCCESS);
    assert_int_equal(rows->nelts, 4);
    row = &APR_ARRAY_IDX(rows, 0, gb_history_row_t);
    assert_string_equal(row->after, "7");
    assert_string_equal(row->before.value, "6");
    assert_string_equal(row->who, "admin");
    assert_int_equal(gb_history_list(ctx, &rows, "other", "home:80", second, 1, p), APR_SUCCESS);
    assert_int_equal(rows->nelts, 1);
    assert_true(APR_ARRAY_IDX(rows, 0, gb_history_row_t).change_id == first);

    assert_int_equal(gb_history_undo(ctx, &list, "other", "home:80", first, p), APR_SUCCESS);
    assert_int_equal(list->nelts, 2);
    for (i = 0; i < 2; i++) {
        const gb_saved_t *saved = &APR_ARRAY_IDX(list, i, gb_saved_t);

        if (strcmp(saved->key, "MAX_RETRIES") == 0) {
            assert_string_equal(saved->value, "5");
        }
        else {
            assert_null(saved->value);
        }
    }
    assert_int_equal(gb_history_undo(ctx, &list, "third", "home:80", first, p), APR_NOTFOUND);
}

static void can_be_undone(void **state)
{
    on_each(*state, undo);
}

/* ---- two machines at once ---- */

#define ROUNDS 60

typedef struct machine_t {
    gb_saved_ctx_t ctx;
    const char *name;
} machine_t;

static void *save_many(void *data)
{
    machine_t *machine = data;
    apr_pool_t *p;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        apr_pool_create_unmanaged_ex(&p, NULL, NULL);
        save(&machine->ctx, "pool", "default", "TEST_MODEL",
             apr_psprintf(p, "%s-%d", machine->name, i), p);
        apr_pool_destroy(p);
    }
    return NULL;
}

/* What a change says was there before it is what the change before has put there. */
static void rivals(const gb_saved_ctx_t *ctx, apr_pool_t *p)
{
    machine_t one = {*ctx, "one"}, two = {*ctx, "two"};
    apr_array_header_t *rows;
    pthread_t thread;
    int i;

    save(ctx, "pool", "default", "TEST_MODEL", "first", p);
    two.ctx.db = db_fixture_open(gb_db_conf(ctx->db), p);
    assert_int_equal(pthread_create(&thread, NULL, save_many, &two), 0);
    save_many(&one);
    pthread_join(thread, NULL);
    gb_db_close(two.ctx.db);
    assert_int_equal(gb_history_list(ctx, &rows, "default", "home:80", 0, 2 * ROUNDS + 1, p),
                     APR_SUCCESS);
    assert_int_equal(rows->nelts, 2 * ROUNDS + 1);
    for (i = 0; i + 1 < rows->nelts; i++) { /* the newest first */
        assert_string_equal(APR_ARRAY_IDX(rows, i, gb_history_row_t).before.value,
                            APR_ARRAY_IDX(rows, i + 1, gb_history_row_t).after);
    }
}

static void follow_each_other(void **state)
{
    on_each(*state, rivals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(have_their_places, setup, teardown),
        cmocka_unit_test_setup_teardown(are_changed_as_a_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(can_be_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(follow_each_other, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, db_fixture_begin, db_fixture_end);
}
