/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings: the table itself, each type's good and bad texts, what is printed
 * and what is masked, and .env files.
 */
#include "base/settings.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <apr_general.h>
#include <apr_strings.h>

static apr_pool_t *pool;

static int setup(void **state)
{
    (void)state;
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* ---- the table ---- */

/* MAX_RETRIES -> GBalanceMaxRetries */
static const char *directive_of(const char *name)
{
    char *text = apr_pstrcat(pool, "GBalance", name, NULL);
    char *to = text + strlen("GBalance");
    int start = 1;

    for (; *name != '\0'; name++) {
        if (*name == '_') {
            start = 1;
            continue;
        }
        *to++ = (char)(start ? *name : tolower((unsigned char)*name));
        start = 0;
    }
    *to = '\0';
    return text;
}

static void test_rows_are_sound(void **state)
{
    int i, k, n;
    const gb_setting_t *rows = gb_settings_rows(&n);

    (void)state;
    assert_true(n > 90);
    for (i = 0; i < n; i++) {
        assert_string_equal(rows[i].directive, directive_of(rows[i].name));
        assert_true(rows[i].help[0] != '\0' && rows[i].help[strlen(rows[i].help) - 1] != '.');
        assert_true(rows[i].type != GB_TYPE_ENUM || rows[i].choices != NULL);
        assert_true(rows[i].type != GB_TYPE_JSON || rows[i].choices != NULL);
        for (k = 0; k < i; k++) {
            assert_string_not_equal(rows[i].name, rows[k].name);
        }
    }
}

/* A group's rows stand together, so that a heading is printed once. */
static void test_groups_stand_together(void **state)
{
    int i, k, n;
    const gb_setting_t *rows = gb_settings_rows(&n);

    (void)state;
    for (i = 1; i < n; i++) {
        for (k = 0; k + 1 < i && strcmp(rows[i].group, rows[i - 1].group) != 0; k++) {
            assert_string_not_equal(rows[i].group, rows[k].group);
        }
    }
}

/* Every default is a value that its own row takes, and printing it changes nothing. */
static void test_defaults_parse_and_print(void **state)
{
    gb_settings_t *settings = apr_pcalloc(pool, sizeof(*settings));
    int i, n;
    const gb_setting_t *rows = gb_settings_rows(&n);

    (void)state;
    for (i = 0; i < n; i++) {
        const char *why = "";
        const char *text;

        if (gb_settings_set(settings, &rows[i], rows[i].fallback, &why, pool) != APR_SUCCESS) {
            fail_msg("%s", why);
        }
        text = gb_settings_text(settings, &rows[i], 1, pool);
        assert_int_equal(gb_settings_set(settings, &rows[i], text, &why, pool), APR_SUCCESS);
        assert_string_equal(gb_settings_text(settings, &rows[i], 1, pool), text);
    }
}

static void test_defaults_as_members(void **state)
{
    const gb_settings_t *settings = gb_settings_make(pool);

    (void)state;
    assert_int_equal(settings->max_retries, 3);
    assert_int_equal(settings->time_out, apr_time_from_sec(300));
    assert_int_equal(settings->stream_min_delay, 16000);
    assert_true(settings->cool_factor > 1.99 && settings->cool_factor < 2.01);
    assert_string_equal(settings->base_url, "https://generativelanguage.googleapis.com/v1beta");
    assert_string_equal(settings->key_policy, "round_robin");
    assert_string_equal(settings->auth_token, "");
    assert_int_equal(settings->api_keys.n, 0);
    assert_int_equal(settings->filtered_models.n, 5);
    assert_true(gb_list_has(&settings->cors_allow_origins, "*"));
    assert_false(gb_list_has(&settings->cors_allow_origins, "https://a"));
    assert_true(settings->auto_delete_request_logs_enabled);
    assert_int_equal(settings->generation, 0);
}

static void test_find(void **state)
{
    (void)state;
    assert_string_equal(gb_settings_find("TIME_OUT")->directive, "GBalanceTimeOut");
    assert_string_equal(gb_settings_find("MODEL_SEARCH")->name, "SEARCH_MODELS");
    assert_null(gb_settings_find("time_out"));
    assert_null(gb_settings_find("GITHUB_REPO_NAME"));
    assert_string_equal(gb_settings_find_directive("gbalanceAPIKEYS")->name, "API_KEYS");
    assert_null(gb_settings_find_directive("GBalance"));
}

static void test_var(void **state)
{
    apr_table_t *vars = apr_table_make(pool, 4);
    const gb_setting_t *row = gb_settings_find("SEARCH_MODELS");

    (void)state;
    assert_null(gb_settings_var(row, vars));
    apr_table_set(vars, "MODEL_SEARCH", "old");
    assert_string_equal(gb_settings_var(row, vars), "old");
    apr_table_set(vars, "SEARCH_MODELS", "new");
    assert_string_equal(gb_settings_var(row, vars), "new");
    setenv("TTS_MODEL", "from-environment", 1);
    assert_string_equal(gb_settings_var(gb_settings_find("TTS_MODEL"), NULL), "from-environment");
    unsetenv("TTS_MODEL");
    assert_null(gb_settings_var(gb_settings_find("TTS_MODEL"), NULL));
}

/* ---- texts and values ---- */

typedef struct case_t {
    int line;
    const char *name;
    const char *text;
    const char *printed; /* NULL: refused */
    const char *why;     /* part of the sentence */
} case_t;

static const case_t cases[] = {
  /* clang-format off */
    {__LINE__, "STORE_REQUESTS", "TRUE", "true", NULL},
    {__LINE__, "STORE_REQUESTS", " On ", "true", NULL},
    {__LINE__, "STORE_REQUESTS", "yes", "true", NULL},
    {__LINE__, "STORE_REQUESTS", "1", "true", NULL},
    {__LINE__, "STORE_REQUESTS", "No", "false", NULL},
    {__LINE__, "STORE_REQUESTS", "0", "false", NULL},
    {__LINE__, "STORE_REQUESTS", "off", "false", NULL},
    {__LINE__, "STORE_REQUESTS", "", NULL, "true or false"},
    {__LINE__, "STORE_REQUESTS", "2", NULL, "it is \"2\""},

    {__LINE__, "MAX_RETRIES", "20", "20", NULL},
    {__LINE__, "MAX_RETRIES", "007", "7", NULL},
    {__LINE__, "MAX_RETRIES", "0", NULL, "MAX_RETRIES must be a whole number from 1 to 20: it is \"0\""},
    {__LINE__, "MAX_RETRIES", "21", NULL, "from 1 to 20"},
    {__LINE__, "MAX_RETRIES", "-1", NULL, "from 1 to 20"},
    {__LINE__, "MAX_RETRIES", "3.5", NULL, "whole number"},
    {__LINE__, "MAX_RETRIES", "3 4", NULL, "whole number"},
    {__LINE__, "MAX_RETRIES", "", NULL, "it is empty"},
    {__LINE__, "MAX_RETRIES", "0x3", NULL, "whole number"},
    {__LINE__, "MAX_RETRIES", "99999999999999999999999999", NULL, "whole number"},
    {__LINE__, "MAX_RETRIES", "-", NULL, "whole number"},

    {__LINE__, "COOL_FACTOR", "1.5", "1.5", NULL},
    {__LINE__, "COOL_FACTOR", "2.", "2", NULL},
    {__LINE__, "COOL_FACTOR", "1e1", NULL, "number from 1 to 100"},
    {__LINE__, "COOL_FACTOR", "nan", NULL, "number"},
    {__LINE__, "COOL_FACTOR", "1,5", NULL, "number"},
    {__LINE__, "COOL_FACTOR", "0.999", NULL, "number"},
    {__LINE__, "COOL_FACTOR", ".", NULL, "number"},

    {__LINE__, "TIME_OUT", "300", "300", NULL},
    {__LINE__, "TIME_OUT", "1.25", "1.25", NULL},
    {__LINE__, "TIME_OUT", "1500ms", "1.5", NULL},
    {__LINE__, "TIME_OUT", "5min", "300", NULL},
    {__LINE__, "TIME_OUT", "2H", "7200", NULL},
    {__LINE__, "TIME_OUT", "10s", "10", NULL},
    {__LINE__, "TIME_OUT", "5 min", NULL, "a time from 1 to 86400 seconds"},
    {__LINE__, "TIME_OUT", "25h", NULL, "86400"},
    {__LINE__, "TIME_OUT", "1d", NULL, "86400"},
    {__LINE__, "TIME_OUT", "-5", NULL, "86400"},
    {__LINE__, "TIME_OUT", "s", NULL, "86400"},
    {__LINE__, "STREAM_MIN_DELAY", "0.000001", "0.000001", NULL},

    {__LINE__, "TEST_MODEL", "  gemini-x ", "gemini-x", NULL},
    {__LINE__, "TEST_MODEL", "", "", NULL},
    {__LINE__, "TEST_MODEL", "a\r\nb", NULL, "control character"},

    {__LINE__, "BASE_URL", "https://a.example/v1beta/", "https://a.example/v1beta", NULL},
    {__LINE__, "BASE_URL", "http://[::1]:8080", "http://[::1]:8080", NULL},
    {__LINE__, "BASE_URL", "HTTP://host//", "HTTP://host", NULL},
    {__LINE__, "BASE_URL", "", NULL, "https://host[:port][/path]"},
    {__LINE__, "BASE_URL", "ftp://a", NULL, "http:// or https://"},
    {__LINE__, "BASE_URL", "example.org", NULL, "http:// or https://"},
    {__LINE__, "BASE_URL", "https://", NULL, "no"},
    {__LINE__, "BASE_URL", "https://a:70000/", NULL, "port"},
    {__LINE__, "BASE_URL", "https://a/?key=1", NULL, "query"},
    {__LINE__, "BASE_URL", "https://a/#x", NULL, "#"},
    {__LINE__, "BASE_URL", "https://a b", NULL, "space"},
    {__LINE__, "PICGO_API_URL", "http://127.0.0.1:36677/upload?key=x", "http://127.0.0.1:36677/upload?key=x", NULL},
    {__LINE__, "CLOUDFLARE_IMGBED_URL", "", "", NULL},

    {__LINE__, "KEY_POLICY", "Sticky", "sticky", NULL},
    {__LINE__, "KEY_POLICY", "stick", NULL, "one of round_robin, least_used, headroom, sticky: it is \"stick\""},
    {__LINE__, "KEY_POLICY", "sticky|headroom", NULL, "one of"},
    {__LINE__, "LOG_LEVEL", "warning", "WARNING", NULL},

    {__LINE__, "AUTH_TOKEN", " sk-secret ", "sk-secret", NULL},
    {__LINE__, "AUTH_TOKEN", "", "", NULL},
    {__LINE__, "AUTH_TOKEN", "sk secret", NULL, "without spaces"},
    {__LINE__, "AUTH_TOKEN", "sk-s\xc3\xa9", NULL, "ASCII"},

    {__LINE__, "SEARCH_MODELS", "a,b , ,a,,c", "[\"a\",\"b\",\"c\"]", NULL},
    {__LINE__, "SEARCH_MODELS", "[\"a\", \"b\\u00e9\", \" a \", \"\"]", "[\"a\",\"b\xc3\xa9\"]", NULL},
    {__LINE__, "SEARCH_MODELS", "a\nb\r\nc", "[\"a\",\"b\",\"c\"]", NULL},
    {__LINE__, "SEARCH_MODELS", "", "[]", NULL},
    {__LINE__, "SEARCH_MODELS", "[]", "[]", NULL},
    {__LINE__, "SEARCH_MODELS", "[\"a\"", NULL, "JSON array of strings or a comma-separated list"},
    {__LINE__, "SEARCH_MODELS", "['a']", NULL, "JSON array"},
    {__LINE__, "SEARCH_MODELS", "[\"a\", 1]", NULL, "entry 2 is no string"},
    {__LINE__, "SEARCH_MODELS", "[\"a\\u0000b\"]", NULL, "entry 1: it holds a control character"},
    {__LINE__, "API_KEYS", "AIzaOne, AQ.two/_-", "[\"AIzaOne\",\"AQ.two/_-\"]", NULL},
    {__LINE__, "API_KEYS", "one,t wo", NULL, "entry 2: it holds another character"},

    {__LINE__, "MODEL_ALIASES", "{\"gpt-4o\": \"gemini-2.5-pro\", \"b\": \"c\"}", "{\"gpt-4o\":\"gemini-2.5-pro\",\"b\":\"c\"}", NULL},
    {__LINE__, "MODEL_ALIASES", "{\"a\":\"1\",\"a\":\"2\"}", "{\"a\":\"2\"}", NULL},
    {__LINE__, "MODEL_ALIASES", "", "{}", NULL},
    {__LINE__, "MODEL_ALIASES", "[]", NULL, "a JSON object of strings: it is no object"},
    {__LINE__, "MODEL_ALIASES", "{\"a\":[]}", NULL, "the value of \"a\""},
    {__LINE__, "MODEL_ALIASES", "a=b", NULL, "JSON object"},
    {__LINE__, "CUSTOM_HEADERS", "{\"X-Num\": 5}", "{\"X-Num\":\"5\"}", NULL},
    {__LINE__, "CUSTOM_HEADERS", "{\"X Y\": \"5\"}", NULL, "X Y"},
    {__LINE__, "CUSTOM_HEADERS", "{\"X\": \"a\\r\\nEvil: 1\"}", NULL, "the value of \"X\""},

    {__LINE__, "THINKING_BUDGET_MAP", "{\"m\": 1000.0, \"n\": -1, \"o\": 2.5}", "{\"m\":1000,\"n\":-1,\"o\":2.5}", NULL},
    {__LINE__, "THINKING_BUDGET_MAP", "{\"m\": -2}", NULL, "numbers from -1 to 1000000: the value of \"m\""},
    {__LINE__, "THINKING_BUDGET_MAP", "{\"m\": \"x\"}", NULL, "the value of \"m\""},

    {__LINE__, "SAFETY_SETTINGS", "[ { \"category\" : \"X\" } ]", "[{\"category\":\"X\"}]", NULL},
    {__LINE__, "SAFETY_SETTINGS", "", "", NULL},
    {__LINE__, "TIMEZONE", "Europe/Berlin", "Europe/Berlin", NULL},
    {__LINE__, "TIMEZONE", "Europe/Berlim", NULL, "the name of a time zone, as Europe/Berlin: it is \"Europe/Berlim\""},
    {__LINE__, "TIMEZONE", "../../etc/passwd", NULL, "the name of a time zone"},
    {__LINE__, "TIMEZONE", "", NULL, "it is empty"},
    {__LINE__, "SAFETY_SETTINGS", "{}", NULL, "a JSON array: it is no array"},
    {__LINE__, "MODEL_LIMITS", "{\"m\":{\"rpm\":5}}", "{\"m\":{\"rpm\":5}}", NULL},
    {__LINE__, "MODEL_LIMITS", "{", NULL, "a JSON object"},
    {__LINE__, "MODEL_LIMITS", "{\"m\":5}", NULL, "\"m\" has no object"},
    {__LINE__, "MODEL_LIMITS", "{\"m\":{\"rp\":5}}", NULL, "unknown \"rp\""},
    {__LINE__, "MODEL_LIMITS", "{\"m\":{\"rpd\":\"5\"}}", NULL, "rpd of \"m\" is no such number"},
    {__LINE__, "MODEL_PRICES", "{\"m\":{\"prompt\":1.25}}", "{\"m\":{\"prompt\":1.25}}", NULL},
    {__LINE__, "MODEL_PRICES", "{\"m\":{\"cached\":-1}}", NULL, "numbers for prompt|completion|cached"},
  /* clang-format on */
};

static void test_texts(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const case_t *c = &cases[i];
        const gb_setting_t *row = gb_settings_find(c->name);
        gb_settings_t *settings = gb_settings_make(pool);
        const char *before = gb_settings_text(settings, row, 1, pool);
        const char *why = "";
        apr_status_t rv = gb_settings_set(settings, row, c->text, &why, pool);
        const char *after = gb_settings_text(settings, row, 1, pool);
        const char *want = c->printed != NULL ? c->printed : before;

        if (rv != (c->printed != NULL ? APR_SUCCESS : APR_EINVAL) || strcmp(after, want) != 0
            || (c->why != NULL && strstr(why, c->why) == NULL)) {
            fail_msg("line %d: %s: \"%s\", why: %s", c->line, c->name, after, why);
        }
    }
}

/* A sentence about a secret never shows it. */
static void test_sentences_hide_secrets(void **state)
{
    static const struct {
        const char *name;
        const char *text;
    } bad[] = {
        {"AUTH_TOKEN",      "topsecret one"     },
        {"API_KEYS",        "topsecret one,b"   },
        {"API_KEYS",        "[\"topsecret\""    },
        {"ALLOWED_TOKENS",  "[\"topsecret\", 1]"},
        {"VERTEX_API_KEYS", "[topsecret]"       },
    };
    gb_settings_t *settings = gb_settings_make(pool);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *why = "";
        const gb_setting_t *row = gb_settings_find(bad[i].name);

        assert_int_equal(gb_settings_set(settings, row, bad[i].text, &why, pool), APR_EINVAL);
        assert_non_null(strstr(why, bad[i].name));
        assert_null(strstr(why, "topsecret"));
    }
}

static void set(gb_settings_t *settings, const char *name, const char *text)
{
    const char *why = "";

    if (gb_settings_set(settings, gb_settings_find(name), text, &why, pool) != APR_SUCCESS) {
        fail_msg("%s", why);
    }
}

/* ---- printing ---- */

static const char *json(const gb_settings_t *settings, const char *name, int reveal)
{
    gb_buf_t *buf = apr_palloc(pool, sizeof(*buf));

    gb_buf_init_pool(buf, GB_BUF_MAX_ERROR, pool);
    assert_int_equal(gb_settings_json(buf, settings, gb_settings_find(name), reveal, pool),
                     APR_SUCCESS);
    return buf->data;
}

static void test_json(void **state)
{
    gb_settings_t *settings = gb_settings_make(pool);

    (void)state;
    set(settings, "STREAM_MIN_DELAY", "0.5");
    set(settings, "TEST_MODEL", "a\"b");
    set(settings, "THINKING_BUDGET_MAP", "{\"m\":-1}");
    assert_string_equal(json(settings, "STORE_REQUESTS", 0), "false");
    assert_string_equal(json(settings, "MAX_RETRIES", 0), "3");
    assert_string_equal(json(settings, "COOL_FACTOR", 0), "2");
    assert_string_equal(json(settings, "STREAM_MIN_DELAY", 0), "0.5");
    assert_string_equal(json(settings, "TEST_MODEL", 0), "\"a\\\"b\"");
    assert_string_equal(json(settings, "SEARCH_MODELS", 0),
                        "[\"gemini-2.5-flash\",\"gemini-2.5-pro\"]");
    assert_string_equal(json(settings, "MODEL_ALIASES", 0), "{}");
    assert_string_equal(json(settings, "THINKING_BUDGET_MAP", 0), "{\"m\":-1}");
    assert_string_equal(json(settings, "MODEL_LIMITS", 0), "{}");
    assert_string_equal(json(settings, "AUTH_TOKEN", 0), "\"\"");
}

/* Each holds "hidden" where it must not be seen, and something that must. */
static void test_masks(void **state)
{
    static const struct {
        const char *name;
        const char *text;
        const char *seen;
    } secrets[] = {
        {"AUTH_TOKEN",     "sk-hidden-abcdefgh-hidden-wXyZ",                      "wXyZ"    },
        {"API_KEYS",       "AIzahiddenhiddenhiddenhidden0001,AIzahidden99997",    "0001"    },
        {"PROXIES",        "http://user:hidden@host:1,socks5://b.example:2",      "user:"   },
        {"PROXIES",        "http://user:hid@den:hidden@host:1/x",                 "host:1/x"},
        {"BASE_URL",       "https://me:hidden@gateway.example/v1beta",            "gateway" },
        {"CUSTOM_HEADERS", "{\"Authorization\":\"Bearer hidden\",\"X-A\":\"v\"}", "\"v\""   },
        {"CUSTOM_HEADERS", "{\"cf-access-client-Secret\":\"hidden\"}",            "client"  },
        {"MYSQL_PASSWORD", "hidden",                                              ""        },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        gb_settings_t *settings = gb_settings_make(pool);
        const gb_setting_t *row = gb_settings_find(secrets[i].name);

        set(settings, secrets[i].name, secrets[i].text);
        assert_null(strstr(gb_settings_text(settings, row, 0, pool), "hidden"));
        assert_null(strstr(json(settings, secrets[i].name, 0), "hidden"));
        assert_non_null(strstr(gb_settings_text(settings, row, 0, pool), secrets[i].seen));
        assert_non_null(strstr(gb_settings_text(settings, row, 1, pool), "hidden"));
    }
}

static void test_addresses_without_password(void **state)
{
    static const char *const urls[] = {"http://host:80/a@b:c", "http://user@host:80",
                                       "https://host/x:y@z"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        gb_settings_t *settings = gb_settings_make(pool);

        set(settings, "BASE_URL", urls[i]);
        assert_string_equal(gb_settings_text(settings, gb_settings_find("BASE_URL"), 0, pool),
                            urls[i]);
    }
}

/* ---- many keys, and copies ---- */

static void test_ten_thousand_keys(void **state)
{
    gb_settings_t *settings = gb_settings_make(pool);
    gb_buf_t text;
    int i;

    (void)state;
    gb_buf_init(&text, GB_BUF_MAX_ANSWER);
    for (i = 0; i < 20000; i++) {
        gb_buf_printf(&text, "%sAIzaSyKeyNumber%08d", i > 0 ? "," : "", i % 10000);
    }
    set(settings, "API_KEYS", text.data);
    gb_buf_free(&text);
    assert_int_equal(settings->api_keys.n, 10000);
    assert_string_equal(settings->api_keys.items[9999], "AIzaSyKeyNumber00009999");
}

static void test_copy_stands_alone(void **state)
{
    apr_pool_t *other;
    gb_settings_t *from, *copy;
    int i, n;
    const gb_setting_t *rows = gb_settings_rows(&n);
    const char *why, *before[200];

    (void)state;
    assert_true(n < 200);
    apr_pool_create(&other, NULL);
    from = gb_settings_make(other);
    gb_settings_set(from, gb_settings_find("API_KEYS"), "k1,k2", &why, other);
    gb_settings_set(from, gb_settings_find("MODEL_ALIASES"), "{\"a\":\"b\"}", &why, other);
    from->generation = 7;
    for (i = 0; i < n; i++) {
        before[i] = gb_settings_text(from, &rows[i], 1, pool);
    }
    copy = gb_settings_copy(from, pool);
    apr_pool_destroy(other);
    for (i = 0; i < n; i++) {
        assert_string_equal(gb_settings_text(copy, &rows[i], 1, pool), before[i]);
    }
    assert_string_equal(gb_map_get(&copy->model_aliases, "a"), "b");
    assert_null(gb_map_get(&copy->model_aliases, "b"));
    assert_int_equal(copy->generation, 7);
}

/* ---- .env files ---- */

static const char *env_path;

static apr_status_t env_read(apr_table_t **vars, const char *text, size_t len, const char **why)
{
    FILE *file = fopen(env_path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
    return gb_env_file_read(vars, env_path, why, pool);
}

static int env_setup(void **state)
{
    char *path;
    int fd;

    if (setup(state) != 0) {
        return -1;
    }
    path = apr_pstrdup(pool, "/tmp/gb-test-env-XXXXXX");
    fd = mkstemp(path);
    env_path = path;
    return fd >= 0 && close(fd) == 0 ? 0 : -1;
}

static int env_teardown(void **state)
{
    unlink(env_path);
    return teardown(state);
}

static void test_env_lines(void **state)
{
    static const char text[] = "\xef\xbb\xbf# a comment\r\n"
                               "PLAIN=one two  # comment\r\n"
                               "\r\n"
                               "  export SPACED = value\n"
                               "HASH=a#b\n"
                               "EMPTY=\n"
                               "EMPTY2= # nothing\n"
                               "SINGLE='it\\'s \\n $x' # comment\n"
                               "DOUBLE=\"tab\\tquote\\\" $x \\q\"\n"
                               "API_KEYS=[\"k1\",\"k2\"]\n"
                               "MULTI='[\n  \"k1\",\n  \"k2\"\n]'\n"
                               "TWICE=1\n"
                               "TWICE=2\n"
                               "URL=https://u:p@h/?a=b\n"
                               "LAST=end";
    static const char *const want[][2] = {
        {"PLAIN",    "one two"                  },
        {"SPACED",   "value"                    },
        {"HASH",     "a#b"                      },
        {"EMPTY",    ""                         },
        {"EMPTY2",   ""                         },
        {"SINGLE",   "it's \\n $x"              },
        {"DOUBLE",   "tab\tquote\" $x \\q"      },
        {"API_KEYS", "[\"k1\",\"k2\"]"          },
        {"MULTI",    "[\n  \"k1\",\n  \"k2\"\n]"},
        {"TWICE",    "2"                        },
        {"URL",      "https://u:p@h/?a=b"       },
        {"LAST",     "end"                      },
    };
    apr_table_t *vars = NULL;
    const char *why = "";
    size_t i;

    (void)state;
    if (env_read(&vars, text, sizeof(text) - 1, &why) != APR_SUCCESS) {
        fail_msg("%s", why);
    }
    for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        const char *value = apr_table_get(vars, want[i][0]);

        if (value == NULL) {
            fail_msg("%s is missing", want[i][0]);
        }
        else {
            assert_string_equal(value, want[i][1]);
        }
    }
    assert_int_equal(apr_table_elts(vars)->nelts, sizeof(want) / sizeof(want[0]));
}

static void test_env_faults(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {
        {"A=1\nnonsense\n",                 "line 2: this is no NAME=value line"},
        {"=1\n",                            "line 1"                            },
        {"1A=1\n",                          "line 1"                            },
        {"A='x\ny\n\n",                     "line 1: the quote"                 },
        {"A=\"x\ny\" z\n",                  "line 2: there is text behind"      },
        {"API_KEYS=[\n  \"topsecret\",\n]", "line 2"                            },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        apr_table_t *vars = NULL;
        const char *why = "";

        assert_int_equal(env_read(&vars, bad[i].text, strlen(bad[i].text), &why), APR_EINVAL);
        if (strstr(why, bad[i].why) == NULL) {
            fail_msg("%s", why);
        }
        assert_non_null(strstr(why, env_path));
        assert_null(strstr(why, "topsecret"));
        assert_null(vars);
    }
}

static void test_env_files(void **state)
{
    apr_table_t *vars = NULL;
    const char *why = "";

    (void)state;
    assert_int_equal(env_read(&vars, "A=1\0B=2\n", 8, &why), APR_EINVAL);
    assert_non_null(strstr(why, "NUL"));
    assert_int_equal(env_read(&vars, "", 0, &why), APR_SUCCESS);
    assert_int_equal(apr_table_elts(vars)->nelts, 0);
    assert_true(APR_STATUS_IS_ENOENT(gb_env_file_read(&vars, "/nonexistent/.env", &why, pool)));
    assert_non_null(strstr(why, "/nonexistent/.env"));
    assert_int_equal(gb_env_file_read(&vars, "/tmp", &why, pool), APR_EINVAL);
}

static void test_env_lines_written(void **state)
{
    static const char *const values[] = {"",
                                         "3",
                                         "gemini-2.5-pro",
                                         "a b",
                                         "it's",
                                         "say \"no\"",
                                         "back\\slash",
                                         "#x",
                                         "$HOME ${X}",
                                         "['\\\"]",
                                         "{\"a\":[1,2]}",
                                         "two\nlines",
                                         "tab\there",
                                         "\xe4\xb8\xad\xe6\x96\x87"};
    const char *why = "";
    apr_table_t *vars;
    gb_buf_t out;
    size_t i;

    (void)state;
    gb_buf_init_pool(&out, GB_BUF_MAX_LINE, pool);
    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        gb_env_put(&out, apr_psprintf(pool, "V%d", (int)i), values[i]);
    }
    assert_int_equal(gb_env_text_read(&vars, out.data, "memory", &why, pool), APR_SUCCESS);
    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_string_equal(apr_table_get(vars, apr_psprintf(pool, "V%d", (int)i)), values[i]);
    }
    assert_int_equal(gb_env_text_read(&vars, "A=1\nnothing\n", "memory", &why, pool), APR_EINVAL);
    assert_non_null(strstr(why, "memory, line 2"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define E(test) cmocka_unit_test_setup_teardown(test, env_setup, env_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_rows_are_sound),
        T(test_groups_stand_together),
        T(test_defaults_parse_and_print),
        T(test_defaults_as_members),
        T(test_find),
        T(test_var),
        T(test_texts),
        T(test_sentences_hide_secrets),
        T(test_json),
        T(test_masks),
        T(test_addresses_without_password),
        T(test_ten_thousand_keys),
        T(test_copy_stands_alone),
        E(test_env_lines),
        E(test_env_faults),
        E(test_env_files),
        T(test_env_lines_written),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
