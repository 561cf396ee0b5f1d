/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A setting as its row on /config, and what a form says of it: which control a
 * type gets stands here, once for both ways.
 */
#include "admin_config.h"

#include <math.h>

#include "apr_strings.h"

#define TEXT_MAX 160

/* ---- which control ---- */

/* What its control shows of a value, into the row. */
typedef void put_fn(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value);
/* What a form says of it; NULL: nothing. */
typedef json_t *given_fn(admin_page_t *page, const char *name);

typedef struct control_t {
    const char *type; /* of the schema, or the name of a setting */
    const char *control;
    const char *inputmode;
    put_fn *put;
    given_fn *given;
} control_t;

static put_fn put_count, put_safety, put_bool, put_text, put_enum, put_secret, put_items, put_pairs,
    put_document;
static given_fn given_bool, given_text, given_secret, given_list, given_map, given_numbers,
    given_safety;

/* The first that fits counts: names before types. */
static const control_t controls[] = {
    {"API_KEYS",        "keys",    "",        put_count,    NULL         }, /* have a page of their own */
    {"SAFETY_SETTINGS", "safety",  "",        put_safety,   given_safety },
    {"boolean",         "bool",    "",        put_bool,     given_bool   },
    {"integer",         "number",  "numeric", put_text,     given_text   },
    {"number",          "number",  "decimal", put_text,     given_text   },
    {"seconds",         "number",  "decimal", put_text,     given_text   },
    {"string",          "text",    "",        put_text,     given_text   },
    {"url",             "text",    "",        put_text,     given_text   },
    {"enum",            "enum",    "",        put_enum,     given_text   },
    {"secret",          "secret",  "",        put_secret,   given_secret },
    {"list",            "list",    "",        put_items,    given_list   },
    {"secret_list",     "secrets", "",        put_items,    given_list   },
    {"map",             "map",     "",        put_pairs,    given_map    },
    {"number_map",      "map",     "",        put_pairs,    given_numbers},
    {"json",            "json",    "",        put_document, given_text   },
};

const char *admin_text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text ? text : "";
}

static const control_t *control_of(const json_t *schema)
{
    const char *name = admin_text_of(schema, "name"), *type = admin_text_of(schema, "type");
    size_t i;

    for (i = 0; i < sizeof(controls) / sizeof(controls[0]) - 1; i++) {
        if (strcmp(controls[i].type, name) == 0 || strcmp(controls[i].type, type) == 0) {
            break;
        }
    }
    return &controls[i];
}

/* ---- values as text ---- */

static const char *dump(const json_t *value, size_t flags, apr_pool_t *p)
{
    char *text = json_dumps(value, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    const char *copy = apr_pstrdup(p, text ? text : "");

    free(text);
    return copy;
}

/* Cut at a whole character. */
static const char *shortened(const char *text, int max, apr_pool_t *p)
{
    size_t n = (size_t)max;

    if (strlen(text) <= n) {
        return text;
    }
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
        n--;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, text, n), "\xe2\x80\xa6", NULL);
}

static const char *list_text(const json_t *list, apr_pool_t *p)
{
    const char *text = "";
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        const char *word = json_is_string(item) ? json_string_value(item)
                                                : dump(item, JSON_COMPACT, p);

        text = apr_pstrcat(p, text, i ? ", " : "", word, NULL);
        if (strlen(text) > 4000) {
            break;
        }
    }
    return text;
}

const char *admin_value_text(admin_page_t *page, const json_t *value, int max)
{
    apr_pool_t *p = page->r->pool;
    const char *text;

    if (json_is_string(value)) {
        text = json_string_value(value);
    }
    else if (json_is_boolean(value)) {
        text = admin_words(page, json_is_true(value) ? ADMIN_WORD("on") : ADMIN_WORD("off"), NULL);
    }
    else if (json_is_array(value)) {
        text = list_text(value, p);
    }
    else {
        text = value && !json_is_null(value) ? dump(value, JSON_COMPACT, p) : "";
    }
    return shortened(text, max, p);
}

/* ---- the row ---- */

static void put_choices(json_t *row, const json_t *choices, const char *chosen)
{
    json_t *list = json_array();
    const json_t *choice;
    size_t i;

    json_array_foreach(choices, i, choice)
    {
        const char *text = json_string_value(choice);

        json_array_append_new(list, json_pack("{s:s, s:b}", "value", text, "on",
                                              chosen && strcmp(text, chosen) == 0));
    }
    json_object_set_new(row, "choices", list);
}

static void put_pairs(admin_page_t *page, json_t *row, const json_t *schema, const json_t *map)
{
    json_t *list = json_array();
    const char *name;
    const json_t *value;

    (void)schema;
    json_object_foreach((json_t *)map, name, value)
    {
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "k", name, "v", admin_value_text(page, value, 4000)));
    }
    json_object_set_new(row, "pairs", list);
}

/* Those that Google has; a client's own words may ask for others. */
#define HARM "HARM_CATEGORY_"
static const char *const harms[] = {
    "HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH", "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT", "HARM_CATEGORY_CIVIC_INTEGRITY"};
#define N_HARMS (sizeof(harms) / sizeof(harms[0]))

static const char *threshold_of(const json_t *list, const char *category)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (strcmp(admin_text_of(item, "category"), category) == 0) {
            return admin_text_of(item, "threshold");
        }
    }
    return "";
}

static const char *without_harm(const char *category)
{
    return category + (strncmp(category, HARM, strlen(HARM)) == 0 ? strlen(HARM) : 0);
}

/* With the words that hold, whatever they are. */
static void put_harm(json_t *list, const char *category, const char *threshold)
{
    static const char *const words[] = {"",
                                        "OFF",
                                        "BLOCK_NONE",
                                        "BLOCK_ONLY_HIGH",
                                        "BLOCK_MEDIUM_AND_ABOVE",
                                        "BLOCK_LOW_AND_ABOVE"};
    json_t *pair = json_pack("{s:s, s:s}", "k", category, "short", without_harm(category));
    json_t *thresholds = json_array();
    int is_known = 0;
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        json_array_append_new(thresholds, json_string(words[i]));
        is_known |= strcmp(words[i], threshold) == 0;
    }
    if (!is_known) {
        json_array_append_new(thresholds, json_string(threshold));
    }
    put_choices(pair, thresholds, threshold);
    json_decref(thresholds);
    json_array_append_new(list, pair);
}

static int is_harm(const char *category)
{
    size_t i;

    for (i = 0; i < N_HARMS && strcmp(harms[i], category) != 0; i++) {
    }
    return i < N_HARMS;
}

static void put_safety(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    json_t *list = json_array();
    const json_t *item;
    size_t i;

    (void)page;
    (void)schema;
    for (i = 0; i < N_HARMS; i++) {
        put_harm(list, harms[i], threshold_of(value, harms[i]));
    }
    json_array_foreach(value, i, item)
    {
        if (!is_harm(admin_text_of(item, "category"))) {
            put_harm(list, admin_text_of(item, "category"), admin_text_of(item, "threshold"));
        }
    }
    json_object_set_new(row, "pairs", list);
}

static int is_empty(const json_t *value)
{
    return (json_is_object(value) && !json_object_size(value))
           || (json_is_array(value) && !json_array_size(value));
}

static void put_bool(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    int on = json_is_string(value) ? strcmp(json_string_value(value), "true") == 0
                                   : json_is_true(value);

    (void)page;
    (void)schema;
    json_object_set_new(row, "value", json_boolean(on));
}

static void put_text(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    (void)schema;
    json_object_set_new(row, "value", json_string(admin_value_text(page, value, 65536)));
}

static void put_enum(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    (void)page;
    put_choices(row, json_object_get(schema, "choices"), json_string_value(value));
}

static void put_secret(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    (void)page;
    (void)schema;
    json_object_set_new(row, "is_set", json_boolean(json_string_length(value) > 0));
}

static void put_items(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    (void)page;
    (void)schema;
    json_object_set_new(row, "items", json_deep_copy(value));
}

static void put_count(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    (void)page;
    (void)schema;
    json_object_set_new(row, "n", json_integer((json_int_t)json_array_size(value)));
}

static void put_document(admin_page_t *page, json_t *row, const json_t *schema, const json_t *value)
{
    const char *text = json_is_string(value) ? json_string_value(value)
                       : is_empty(value)     ? ""
                                             : dump(value, JSON_INDENT(2), page->r->pool);
    size_t lines = 2, i;

    (void)schema;
    for (i = 0; text[i]; i++) {
        lines += text[i] == '\n';
    }
    json_object_set_new(row, "value", json_string(text));
    json_object_set_new(row, "lines", json_integer((json_int_t)(lines < 14 ? lines : 14)));
}

/* "gbalance.conf:12" of "/etc/apache2/conf.d/gbalance.conf:12" */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void put_origin(json_t *row, const json_t *schema)
{
    const char *where = admin_text_of(schema, "where"), *who = admin_text_of(schema, "who");

    json_object_set_new(row, "source", json_string(admin_text_of(schema, "source")));
    json_object_set_new(row, "where", json_string(where));
    json_object_set_new(row, "where_short", json_string(base_name(where)));
    json_object_set_new(row, "who", json_string(who));
    json_object_set_new(row, "at",
                        json_real(json_number_value(json_object_get(schema, "at")) / 1000.0));
    json_object_set_new(row, "writable",
                        json_boolean(json_is_true(json_object_get(schema, "writable"))));
    json_object_set_new(row, "server",
                        json_boolean(strcmp(admin_text_of(schema, "scope"), "server") == 0));
    json_object_set_new(row, "directive", json_string(admin_text_of(schema, "directive")));
}

static void put_label(json_t *row, const char *name)
{
    const admin_label_t *label = admin_label(name);

    json_object_set_new(row, "label", json_string(label->label ? label->label : name));
    json_object_set_new(row, "unit", json_string(label->unit ? label->unit : ""));
    json_object_set_new(row, "is_model",
                        json_boolean(label->flags & (ADMIN_MODEL | ADMIN_MODEL_NAMES)));
    json_object_set_new(row, "is_proxy", json_boolean(label->flags & ADMIN_PROXIES));
    json_object_set_new(row, "generates", json_boolean(label->flags & ADMIN_GENERATED));
}

/* Braces of a help are its own, no placeholders. */
static const char *help_of(const admin_page_t *page, const char *help)
{
    const char *words = json_string_value(json_object_get(page->how.words, help));

    return words ? words : help;
}

/* "HARASSMENT OFF, ..." of the list that Google takes. */
static const char *safety_text(const json_t *list, apr_pool_t *p)
{
    const char *text = "";
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        text = apr_pstrcat(p, text, i ? ", " : "", without_harm(admin_text_of(item, "category")),
                           " ", admin_text_of(item, "threshold"), NULL);
    }
    return text;
}

/* What holds when nobody has said anything. */
static const char *default_text(admin_page_t *page, const json_t *schema, const char *control)
{
    const json_t *value = json_object_get(schema, "default");

    if (is_empty(value)) {
        return "";
    }
    return strcmp(control, "safety") == 0 ? safety_text(value, page->r->pool)
                                          : admin_value_text(page, value, TEXT_MAX);
}

json_t *admin_setting_row(admin_page_t *page, const json_t *schema, const json_t *value,
                          const char *fault)
{
    const control_t *control = control_of(schema);
    json_t *row = json_object();

    json_object_set_new(row, "name", json_string(admin_text_of(schema, "name")));
    json_object_set_new(row, "control", json_string(control->control));
    json_object_set_new(row, "inputmode", json_string(control->inputmode));
    json_object_set_new(row, "numbers",
                        json_boolean(strcmp(admin_text_of(schema, "type"), "number_map") == 0));
    json_object_set_new(row, "help", json_string(help_of(page, admin_text_of(schema, "help"))));
    json_object_set_new(row, "fault", json_string(fault ? fault : ""));
    json_object_set_new(row, "default", json_string(default_text(page, schema, control->control)));
    json_object_set_new(row, "has_bounds", json_boolean(json_object_get(schema, "min") != NULL));
    json_object_set(row, "min", json_object_get(schema, "min"));
    json_object_set(row, "max", json_object_get(schema, "max"));
    put_label(row, admin_text_of(schema, "name"));
    put_origin(row, schema);
    control->put(page, row, schema, value);
    return row;
}

/* ---- what a form says ---- */

typedef struct collected_t {
    const char *name;
    json_t *list;
} collected_t;

static int collect_one(void *baton, const char *name, const char *value)
{
    collected_t *collected = baton;

    (void)name;
    json_array_append_new(collected->list, json_string(value));
    return 1;
}

/* All values that the form has under that name, as an array. */
static json_t *collect(admin_page_t *page, const char *name)
{
    collected_t collected;

    collected.name = name;
    collected.list = json_array();
    apr_table_do(collect_one, &collected, page->form, name, NULL);
    return collected.list;
}

/* A switch comes behind its own "false". */
static json_t *given_bool(admin_page_t *page, const char *name)
{
    json_t *list = collect(page, name);
    size_t n = json_array_size(list);
    json_t *last = n ? json_incref(json_array_get(list, n - 1)) : NULL;

    json_decref(list);
    return last;
}

static json_t *given_text(admin_page_t *page, const char *name)
{
    const char *text = admin_form(page, name);

    return text ? json_string(text) : NULL;
}

static json_t *given_secret(admin_page_t *page, const char *name)
{
    const char *text = admin_form(page, name);

    return text && *text ? json_string(text) : NULL;
}

static json_t *given_list(admin_page_t *page, const char *name)
{
    json_t *list = collect(page, name);
    size_t i;

    if (!json_array_size(list)) {
        json_decref(list);
        return NULL;
    }
    for (i = json_array_size(list); i-- > 0;) {
        if (!json_string_length(json_array_get(list, i))) {
            json_array_remove(list, i);
        }
    }
    return list;
}

/* A number where it reads as one; what is wrong with other words is the core's to say. */
static json_t *number_or_text(const json_t *text)
{
    json_t *number = json_loadb(json_string_value(text), json_string_length(text), JSON_DECODE_ANY,
                                NULL);

    if (json_is_number(number)) {
        return number;
    }
    json_decref(number);
    return json_incref((json_t *)text);
}

static json_t *pairs_of(admin_page_t *page, const char *name, int of_numbers)
{
    json_t *names = collect(page, apr_pstrcat(page->r->pool, name, ".k", NULL));
    json_t *values = collect(page, apr_pstrcat(page->r->pool, name, ".v", NULL));
    json_t *map = json_array_size(names) ? json_object() : NULL;
    const json_t *key;
    size_t i;

    json_array_foreach(names, i, key)
    {
        const json_t *value = json_array_get(values, i);

        if (json_string_length(key) && value) {
            json_object_set_new(map, json_string_value(key),
                                of_numbers ? number_or_text(value) : json_incref((json_t *)value));
        }
    }
    json_decref(names);
    json_decref(values);
    return map;
}

static json_t *given_map(admin_page_t *page, const char *name)
{
    return pairs_of(page, name, 0);
}

static json_t *given_numbers(admin_page_t *page, const char *name)
{
    return pairs_of(page, name, 1);
}

typedef struct harms_t {
    const char *prefix; /* of the fields' names: "SAFETY_SETTINGS." */
    json_t *list;       /* NULL: there was no such field */
} harms_t;

static int add_harm(void *baton, const char *name, const char *threshold)
{
    harms_t *given = baton;
    size_t len = strlen(given->prefix);

    if (strncmp(name, given->prefix, len) == 0) {
        given->list = given->list ? given->list : json_array();
        if (*threshold) {
            json_array_append_new(given->list, json_pack("{s:s, s:s}", "category", name + len,
                                                         "threshold", threshold));
        }
    }
    return 1;
}

static json_t *given_safety(admin_page_t *page, const char *name)
{
    harms_t given = {apr_pstrcat(page->r->pool, name, ".", NULL), NULL};

    apr_table_do(add_harm, &given, page->form, NULL);
    return given.list;
}

json_t *admin_setting_given(admin_page_t *page, const json_t *schema)
{
    const control_t *control = control_of(schema);

    return control->given ? control->given(page, admin_text_of(schema, "name")) : NULL;
}
