/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed values open with their secret, in their place, and nowhere else; a
 * database is sealed, opened and sealed anew as a whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
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

static gb_seal_t *seal_make(apr_pool_t *p)
{
    const char *path = apr_pstrcat(p, db_fixture_folder(p), "/secret", NULL), *why = NULL;
    gb_seal_t *seal = NULL;
    struct stat st;

    assert_int_equal(gb_seal_create(path), APR_SUCCESS);
    assert_true(APR_STATUS_IS_EEXIST(gb_seal_create(path)));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(gb_seal_load(&seal, path, &why, p), APR_SUCCESS);
    return seal;
}

static void opens_what_it_sealed(void **state)
{
    apr_pool_t *p = *state;
    gb_seal_t *seal = seal_make(p), *other = seal_make(p);
    gb_seal_place_t place = {"t_settings", "value", "API_KEYS"};
    gb_seal_place_t places[] = {
        {"t_setting",  "svalue", "API_KEYS"  },
        {"t_settings", "value",  "AUTH_TOKEN"},
        {"gb_history", "value",  "API_KEYS"  }
    };
    static const char *const texts[] = {"", "x", "[\"AIza\xf0\x9f\x98\x80\"]"};
    const char *sealed, *text;
    size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sealed = gb_seal(seal, &place, texts[i], p);
        assert_true(gb_seal_is_sealed(sealed));
        assert_int_equal(gb_unseal(&text, seal, &place, sealed, p), APR_SUCCESS);
        assert_string_equal(text, texts[i]);
        assert_string_not_equal(sealed, gb_seal(seal, &place, texts[i], p));
    }
    sealed = gb_seal(seal, &place, "secret", p);
    assert_null(strstr(sealed, "secret"));
    assert_int_equal(gb_unseal(&text, other, &place, sealed, p), APR_EINVAL);
    assert_int_equal(gb_unseal(&text, NULL, &place, sealed, p), APR_EINVAL);
    for (i = 0; i < 3; i++) {
        assert_int_equal(gb_unseal(&text, seal, &places[i], sealed, p), APR_EINVAL);
    }
    assert_int_equal(gb_unseal(&text, seal, &place, "gb1:", p), APR_EINVAL);
    assert_int_equal(gb_unseal(&text, seal, &place, "gb1:AAAA!!", p), APR_EINVAL);
    assert_int_equal(gb_unseal(&text, seal, &place, "clear", p), APR_SUCCESS);
    assert_string_equal(text, "clear");
}

static void notices_every_changed_byte(void **state)
{
    apr_pool_t *p = *state;
    gb_seal_t *seal = seal_make(p);
    gb_seal_place_t place = {"a", "b", "c"};
    char *sealed = apr_pstrdup(p, gb_seal(seal, &place, "some text", p));
    const char *text;
    size_t i;

    for (i = strlen("gb1:"); i + 2 < strlen(sealed); i++) {
        char was = sealed[i];

        sealed[i] = was == 'Q' ? 'g' : 'Q'; /* the last one has bits that count for nothing */
        assert_int_equal(gb_unseal(&text, seal, &place, sealed, p), APR_EINVAL);
        sealed[i] = was;
    }
}

static void refuses_bad_files(void **state)
{
    apr_pool_t *p = *state;
    const char *path = apr_pstrcat(p, db_fixture_folder(p), "/short", NULL), *why = NULL;
    gb_seal_t *seal;
    FILE *f;

    assert_int_not_equal(gb_seal_load(&seal, path, &why, p), APR_SUCCESS);
    assert_non_null(strstr(why, "cannot be read"));
    f = fopen(path, "w");
    fputs("too short", f);
    fclose(f);
    assert_int_equal(gb_seal_load(&seal, path, &why, p), APR_EINVAL);
    assert_non_null(strstr(why, "32 bytes"));
}

/* ---- a whole database ---- */

typedef void on_db_fn(gb_db_t *db, apr_pool_t *p);

static void on_each(apr_pool_t *p, on_db_fn *fn)
{
    static const gb_db_kind_t kinds[] = {GB_DB_SQLITE3, GB_DB_MYSQL};
    int i;

    for (i = 0; i < 2; i++) {
        const gb_db_conf_t *conf = db_fixture_conf(kinds[i], p);

        if (conf) {
            gb_db_t *db = db_fixture_migrated(conf, p);

            fn(db, p);
            gb_db_close(db);
        }
    }
}

static const char *value_of(const gb_saved_ctx_t *ctx, const char *key, apr_pool_t *p)
{
    apr_array_header_t *list;
    int i;

    assert_int_equal(gb_saved_load(ctx, &list, "site:80", p), APR_SUCCESS);
    for (i = 0; i < list->nelts; i++) {
        const gb_saved_t *saved = &APR_ARRAY_IDX(list, i, gb_saved_t);

        if (strcmp(saved->key, key) == 0) {
            return saved->value;
        }
    }
    return NULL;
}

#define STORED(key) db_fixture_cell(db, p, "SELECT value FROM t_settings WHERE `key` = '" key "'")

/* A database of gemini-balance is sealed on the first start, then under a new secret. */
static void life_of_a_database(gb_db_t *db, apr_pool_t *p)
{
    gb_seal_t *first = seal_make(p), *second = seal_make(p);
    gb_saved_ctx_t none = {db, NULL}, one = {db, first}, two = {db, second};
    gb_saved_t other = {GB_SAVED_POOL, "other", "API_KEYS", "[\"AIzaOther\"]"};
    gb_change_t change = {"me", "save", "site:80", &other, 1};
    apr_array_header_t *list;
    const char *why = NULL;

    db_fixture_must(db,
                    "INSERT INTO t_settings (`key`, value) VALUES ('API_KEYS', '[\"AIzaOne\"]'), "
                    "('AUTH_TOKEN', 'admin-word'), ('MAX_RETRIES', '7'), ('THEIRS_ALONE', 'x')");
    assert_int_equal(gb_saved_seal(&none, NULL, &why, p), APR_SUCCESS);
    assert_string_equal(value_of(&none, "API_KEYS", p), "[\"AIzaOne\"]");
    assert_int_equal(gb_saved_change(&none, &change, NULL, p), APR_SUCCESS);

    assert_int_equal(gb_saved_seal(&one, NULL, &why, p), APR_SUCCESS);
    assert_true(gb_seal_is_sealed(STORED("API_KEYS")));
    assert_true(gb_seal_is_sealed(STORED("AUTH_TOKEN")));
    assert_string_equal(STORED("MAX_RETRIES"), "7");
    assert_string_equal(STORED("THEIRS_ALONE"), "x");
    assert_true(gb_seal_is_sealed(db_fixture_cell(db, p, "SELECT value FROM gb_settings")));
    assert_true(gb_seal_is_sealed(db_fixture_cell(db, p, "SELECT new_value FROM gb_history")));
    assert_string_equal(value_of(&one, "AUTH_TOKEN", p), "admin-word");

    /* no secret, and another one: nothing is changed */
    assert_int_equal(gb_saved_seal(&none, NULL, &why, p), APR_EACCES);
    assert_non_null(strstr(why, "GBalanceSecretFile"));
    assert_int_equal(gb_saved_seal(&two, NULL, &why, p), APR_EACCES);
    assert_non_null(strstr(why, "another secret"));
    assert_string_equal(value_of(&one, "API_KEYS", p), "[\"AIzaOne\"]");

    assert_int_equal(gb_saved_seal(&two, first, &why, p), APR_SUCCESS);
    assert_int_equal(gb_saved_seal(&two, NULL, &why, p), APR_SUCCESS);
    assert_string_equal(value_of(&two, "API_KEYS", p), "[\"AIzaOne\"]");
    assert_int_equal(gb_saved_load(&one, &list, "site:80", p), APR_EACCES);
    assert_int_equal(gb_saved_seal(&one, NULL, &why, p), APR_EACCES);
}

static void seals_a_database(void **state)
{
    on_each(*state, life_of_a_database);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_what_it_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_every_changed_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_files, setup, teardown),
        cmocka_unit_test_setup_teardown(seals_a_database, setup, teardown),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, db_fixture_begin, db_fixture_end);
}
