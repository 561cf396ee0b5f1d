/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A setting's text into its value, one function a type, and the sentence that
 * says what would have been right.  Numbers are read without strtod, which
 * obeys the process's locale.  Nothing is logged here and no secret is ever
 * part of a sentence.
 */
#include "base/settings_int.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_uri.h>

#include "base/netaddr.h"
#include "base/secret.h"
#include "base/timeutil.h"

_Static_assert(GB_SECRET_MAX == 512, "the sentences below name it");

/* One text under way: what every parser gets. */
typedef struct parse_t {
    const gb_setting_t *row;
    const char *text; /* trimmed */
    size_t len;
    const char **why;
    apr_pool_t *p;
} parse_t;

typedef apr_status_t parse_fn(void *member, const parse_t *in);

/* ---- what is acceptable, in words ---- */

static const char *words_range(const gb_setting_t *row, const char *what, apr_pool_t *p)
{
    if (row->min > row->max) {
        return what;
    }
    return apr_psprintf(p, "%s from %.0f to %.0f", what, row->min, row->max);
}

static const char *words_choices(const gb_setting_t *row, apr_pool_t *p)
{
    const char *words = "one of ";
    const char *at = row->choices;

    for (;;) {
        size_t len = strcspn(at, "|");

        words = apr_psprintf(p, "%s%.*s", words, (int)len, at);
        if (at[len] == '\0') {
            return words;
        }
        words = apr_pstrcat(p, words, ", ", NULL);
        at += len + 1;
    }
}

/* "object:rpm|tpm": an object of objects with these numbers. */
static const char *json_members(const gb_setting_t *row)
{
    const char *colon = strchr(row->choices, ':');

    return colon ? colon + 1 : NULL;
}

static const char *words_json(const gb_setting_t *row, apr_pool_t *p)
{
    const char *members = json_members(row);

    return members ? apr_psprintf(p, "a JSON object of objects with numbers for %s", members)
                   : apr_pstrcat(p, "a JSON ", row->choices, NULL);
}

static const char *words_acceptable(const gb_setting_t *row, apr_pool_t *p)
{
    switch (row->type) {
    case GB_TYPE_BOOL:
        return "true or false (or 1, yes, on; 0, no, off)";
    case GB_TYPE_INT:
        return words_range(row, "a whole number", p);
    case GB_TYPE_FLOAT:
        return words_range(row, "a number", p);
    case GB_TYPE_SECONDS:
        return apr_pstrcat(p, words_range(row, "a time", p),
                           " seconds (as 30, 0.5, 500ms, 30s, 5min or 1h)", NULL);
    case GB_TYPE_STRING:
        return row->choices ? "the name of a time zone, as Europe/Berlin" : "text of one line";
    case GB_TYPE_URL:
        return "an address as https://host[:port][/path]";
    case GB_TYPE_ENUM:
        return words_choices(row, p);
    case GB_TYPE_SECRET:
        return "at most 512 visible ASCII characters without spaces";
    case GB_TYPE_LIST:
        return row->choices ? "a comma-separated list of address ranges, as 10.1.0.0/16"
                            : "a JSON array of strings or a comma-separated list";
    case GB_TYPE_SECRET_LIST:
        return "a JSON array of strings or a comma-separated list, each of at most 512 visible "
               "ASCII characters without spaces";
    case GB_TYPE_MAP:
        return "a JSON object of strings";
    case GB_TYPE_NUMBER_MAP:
        return apr_pstrcat(p, "a JSON object of numbers", words_range(row, "", p), NULL);
    case GB_TYPE_JSON:
        return words_json(row, p);
    }
    return "";
}

/* "MAX_RETRIES must be a whole number from 1 to 20: " and what is wrong. */
static apr_status_t refuse(const parse_t *in, const char *wrong)
{
    *in->why = apr_psprintf(in->p, "%s must be %s: %s", in->row->name,
                            words_acceptable(in->row, in->p), wrong);
    return APR_EINVAL;
}

/* The same, showing the text itself.  Not for secrets. */
static apr_status_t refuse_text(const parse_t *in)
{
    if (in->len == 0) {
        return refuse(in, "it is empty");
    }
    return refuse(in,
                  apr_psprintf(in->p, "it is \"%.60s%s\"", in->text, in->len > 60 ? "..." : ""));
}

/* ---- scalars ---- */

static apr_status_t parse_bool(void *member, const parse_t *in)
{
    static const struct {
        const char *word;
        int value;
    } words[] = {
        {"true",  1},
        {"1",     1},
        {"yes",   1},
        {"on",    1},
        {"false", 0},
        {"0",     0},
        {"no",    0},
        {"off",   0},
        {NULL,    0}
    };
    int i;

    for (i = 0; words[i].word != NULL; i++) {
        if (strcasecmp(words[i].word, in->text) == 0) {
            *(int *)member = words[i].value;
            return APR_SUCCESS;
        }
    }
    return refuse_text(in);
}

static int in_range(const gb_setting_t *row, double value)
{
    return row->min > row->max || (value >= row->min && value <= row->max);
}

static apr_status_t parse_int(void *member, const parse_t *in)
{
    const char *digits = in->text + (in->text[0] == '-');
    apr_int64_t value;

    /* 18 digits cannot overflow, and no bound is near them. */
    if (strspn(digits, "0123456789") != strlen(digits) || digits[0] == '\0'
        || strlen(digits) > 18) {
        return refuse_text(in);
    }
    value = apr_atoi64(in->text);
    if (!in_range(in->row, (double)value)) {
        return refuse_text(in);
    }
    *(apr_int64_t *)member = value;
    return APR_SUCCESS;
}

/* [-]digits[.digits]; returns where it ended, NULL when there is no such number. */
static const char *decimal_read(const char *text, double *value)
{
    const char *at = text + (text[0] == '-');
    double digits = 0, scale = 1;
    int n = 0;

    for (; isdigit((unsigned char)*at) && n < 15; at++, n++) {
        digits = digits * 10 + (*at - '0');
    }
    if (*at == '.') {
        for (at++; isdigit((unsigned char)*at) && n < 15; at++, n++) {
            digits = digits * 10 + (*at - '0');
            scale *= 10;
        }
    }
    if (n == 0 || isdigit((unsigned char)*at)) {
        return NULL;
    }
    *value = (text[0] == '-' ? -digits : digits) / scale;
    return at;
}

static apr_status_t parse_float(void *member, const parse_t *in)
{
    double value = 0;
    const char *end = decimal_read(in->text, &value);

    if (end == NULL || *end != '\0' || !in_range(in->row, value)) {
        return refuse_text(in);
    }
    *(double *)member = value;
    return APR_SUCCESS;
}

/* Seconds in a unit; 0 when there is no such unit. */
static double unit_seconds(const char *unit)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {
        {"",    1    },
        {"s",   1    },
        {"ms",  0.001},
        {"min", 60   },
        {"h",   3600 },
        {NULL,  0    }
    };
    int i;

    for (i = 0; units[i].unit != NULL && strcasecmp(units[i].unit, unit) != 0; i++) {
        ;
    }
    return units[i].seconds;
}

static apr_status_t parse_seconds(void *member, const parse_t *in)
{
    double value = 0;
    const char *end = decimal_read(in->text, &value);

    if (end == NULL) {
        return refuse_text(in);
    }
    value *= unit_seconds(end);
    if (unit_seconds(end) <= 0 || value < 0 || !in_range(in->row, value)) {
        return refuse_text(in);
    }
    *(apr_interval_time_t *)member = (apr_interval_time_t)llround(value * APR_USEC_PER_SEC);
    return APR_SUCCESS;
}

static int has_control(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return 1;
        }
    }
    return 0;
}

/* Where there are no zones at all, any name has to do. */
static int is_zone(const parse_t *in)
{
    apr_pool_t *scratch;
    gb_zone_t *zone;
    int ok;

    if (strcmp(in->text, in->row->fallback) == 0) {
        return 1;
    }
    apr_pool_create(&scratch, in->p);
    ok = gb_zone_load(&zone, in->text, scratch) == APR_SUCCESS
         || gb_zone_load(&zone, "Etc/UTC", scratch) != APR_SUCCESS;
    apr_pool_destroy(scratch);
    return ok;
}

static apr_status_t parse_string(void *member, const parse_t *in)
{
    if (has_control(in->text, in->len)) {
        return refuse(in, "it holds a control character");
    }
    if (in->row->choices && !is_zone(in)) {
        return refuse_text(in);
    }
    *(const char **)member = in->text;
    return APR_SUCCESS;
}

static const char *url_fault(const parse_t *in)
{
    apr_uri_t uri;

    if (has_control(in->text, in->len) || strchr(in->text, ' ') != NULL) {
        return "it holds a space or a control character";
    }
    if (apr_uri_parse(in->p, in->text, &uri) != APR_SUCCESS || uri.scheme == NULL
        || (strcasecmp(uri.scheme, "http") != 0 && strcasecmp(uri.scheme, "https") != 0)) {
        return "it does not begin with http:// or https://";
    }
    if (uri.hostname == NULL || uri.hostname[0] == '\0') {
        return "it names no host";
    }
    if (uri.port_str != NULL && uri.port_str[0] != '\0'
        && (apr_atoi64(uri.port_str) < 1 || apr_atoi64(uri.port_str) > 65535)) {
        return "its port is not from 1 to 65535";
    }
    if (uri.fragment != NULL) {
        return "it holds a #";
    }
    if (uri.query != NULL && in->row->choices == NULL) {
        return "it holds a query";
    }
    return NULL;
}

static apr_status_t parse_url(void *member, const parse_t *in)
{
    const char *fault;
    size_t len = in->len;

    if (len == 0 && in->row->fallback[0] == '\0') {
        *(const char **)member = "";
        return APR_SUCCESS;
    }
    fault = url_fault(in);
    if (fault != NULL) {
        return refuse(in, fault);
    }
    while (len > 0 && in->text[len - 1] == '/') {
        len--;
    }
    *(const char **)member = apr_pstrmemdup(in->p, in->text, len);
    return APR_SUCCESS;
}

static apr_status_t parse_enum(void *member, const parse_t *in)
{
    const char *at = in->row->choices;

    for (;;) {
        size_t len = strcspn(at, "|");

        if (len == in->len && strncasecmp(at, in->text, len) == 0) {
            *(const char **)member = apr_pstrmemdup(in->p, at, len);
            return APR_SUCCESS;
        }
        if (at[len] == '\0') {
            return refuse_text(in);
        }
        at += len + 1;
    }
}

static const char *secret_fault(const char *text, size_t len)
{
    size_t i;

    if (len > GB_SECRET_MAX) {
        return "it is longer";
    }
    for (i = 0; i < len; i++) {
        if (text[i] < 0x21 || text[i] > 0x7e) {
            return "it holds another character";
        }
    }
    return NULL;
}

static apr_status_t parse_secret(void *member, const parse_t *in)
{
    const char *fault = secret_fault(in->text, in->len);

    if (fault != NULL) {
        return refuse(in, fault);
    }
    *(const char **)member = in->text;
    return APR_SUCCESS;
}

/* ---- lists ---- */

static const char *trim(const char *text, size_t *len)
{
    while (*len > 0 && isspace((unsigned char)text[0])) {
        text++;
        (*len)--;
    }
    while (*len > 0 && isspace((unsigned char)text[*len - 1])) {
        (*len)--;
    }
    return text;
}

/* What a list is gathered in; seen finds doubles among thousands of keys. */
typedef struct items_t {
    apr_array_header_t *array;
    apr_hash_t *seen;
} items_t;

static apr_status_t items_add(items_t *items, const parse_t *in, const char *text, size_t len,
                              int number)
{
    const char *fault = NULL;
    const char *item;

    text = trim(text, &len);
    if (memchr(text, '\0', len) != NULL || has_control(text, len)) {
        fault = "it holds a control character";
    }
    else if (in->row->type == GB_TYPE_SECRET_LIST) {
        fault = secret_fault(text, len);
    }
    if (fault != NULL) {
        return refuse(in, apr_psprintf(in->p, "entry %d: %s", number, fault));
    }
    if (len == 0 || apr_hash_get(items->seen, text, (apr_ssize_t)len) != NULL) {
        return APR_SUCCESS;
    }
    item = apr_pstrmemdup(in->p, text, len);
    apr_hash_set(items->seen, item, (apr_ssize_t)len, item);
    APR_ARRAY_PUSH(items->array, const char *) = item;
    return APR_SUCCESS;
}

static apr_status_t items_from_commas(items_t *items, const parse_t *in)
{
    const char *at = in->text;
    apr_status_t rv = APR_SUCCESS;
    int number;

    for (number = 1; rv == APR_SUCCESS && *at != '\0'; number++) {
        size_t len = strcspn(at, ",\n");

        rv = items_add(items, in, at, len, number);
        at += len + (at[len] != '\0');
    }
    return rv;
}

/* Checks the text and says what is wrong with it as JSON of that kind. */
static apr_status_t json_root(gb_span_t *root, const parse_t *in, gb_json_kind_t kind)
{
    gb_json_fault_t fault;

    if (gb_json_check(in->text, in->len, &fault) != APR_SUCCESS) {
        return refuse(in, apr_pstrdup(in->p, fault.message));
    }
    *root = gb_json_root(in->text, in->len);
    if (gb_json_kind(*root) != kind) {
        return refuse(in, kind == GB_JSON_OBJECT ? "it is no object" : "it is no array");
    }
    return APR_SUCCESS;
}

static apr_status_t items_from_json(items_t *items, const parse_t *in)
{
    gb_json_iter_t it;
    gb_span_t root;
    apr_status_t rv = json_root(&root, in, GB_JSON_ARRAY);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    gb_json_iter(&it, root);
    while (rv == APR_SUCCESS && gb_json_next(&it)) {
        size_t len;
        const char *text = gb_json_str(it.value, &len, in->p);

        rv = text != NULL
                 ? items_add(items, in, text, len, (int)it.index + 1)
                 : refuse(in, apr_psprintf(in->p, "entry %d is no string", (int)it.index + 1));
    }
    return rv;
}

static apr_status_t parse_list(void *member, const parse_t *in)
{
    gb_list_t *list = member;
    items_t items;
    apr_status_t rv;
    int i;

    items.array = apr_array_make(in->p, 8, sizeof(const char *));
    items.seen = apr_hash_make(in->p);
    rv = in->text[0] == '[' ? items_from_json(&items, in) : items_from_commas(&items, in);
    for (i = 0; rv == APR_SUCCESS && in->row->choices && i < items.array->nelts; i++) {
        const char *item = APR_ARRAY_IDX(items.array, i, const char *);

        if (!gb_addr_range_ok(item)) {
            rv = refuse(in, apr_psprintf(in->p, "\"%.80s\" is none", item));
        }
    }
    if (rv == APR_SUCCESS) {
        list->n = items.array->nelts;
        list->items = (const char *const *)items.array->elts;
    }
    return rv;
}

/* ---- maps ---- */

/* Sets one pair; the last of two with one name wins, as in every JSON parser around. */
static void pairs_set(apr_array_header_t *pairs, const char *name, const char *value)
{
    gb_pair_t *pair;
    int i;

    for (i = 0; i < pairs->nelts; i++) {
        pair = &APR_ARRAY_IDX(pairs, i, gb_pair_t);
        if (strcmp(pair->name, name) == 0) {
            pair->value = value;
            return;
        }
    }
    pair = apr_array_push(pairs);
    pair->name = name;
    pair->value = value;
}

/* A number as text: whole ones without a fraction, so that 1000.0 reads as 1000. */
static const char *number_text(gb_span_t value, apr_pool_t *p)
{
    apr_int64_t n;

    if (gb_json_int(value, &n)) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT, n);
    }
    return apr_pstrmemdup(p, value.p, value.len);
}

static const char *number_map_value(const parse_t *in, gb_span_t value)
{
    double number;

    if (!gb_json_double(value, &number) || !in_range(in->row, number)) {
        return NULL;
    }
    return number_text(value, in->p);
}

static int is_header_name(const char *name)
{
    return name[0] != '\0'
           && name[strspn(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ")]
                  == '\0';
}

static const char *string_map_value(const parse_t *in, const char *name, gb_span_t value)
{
    size_t len;
    const char *text = gb_json_str(value, &len, in->p);

    if (text == NULL && gb_json_kind(value) == GB_JSON_NUMBER) {
        return number_text(value, in->p);
    }
    if (text == NULL || has_control(text, len)
        || (in->row->choices != NULL && !is_header_name(name))) {
        return NULL;
    }
    return text;
}

static apr_status_t parse_map(void *member, const parse_t *in)
{
    gb_map_t *map = member;
    apr_array_header_t *pairs = apr_array_make(in->p, 8, sizeof(gb_pair_t));
    gb_json_iter_t it;
    gb_span_t root;
    apr_status_t rv;

    if (in->len == 0) {
        map->n = 0;
        map->pairs = NULL;
        return APR_SUCCESS;
    }
    rv = json_root(&root, in, GB_JSON_OBJECT);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    gb_json_iter(&it, root);
    while (gb_json_next(&it)) {
        size_t len;
        const char *name = gb_json_str(it.key, &len, in->p);
        const char *value = in->row->type == GB_TYPE_NUMBER_MAP
                                ? number_map_value(in, it.value)
                                : string_map_value(in, name, it.value);

        if (value == NULL || has_control(name, len)) {
            return refuse(in, apr_psprintf(in->p, "the value of \"%.60s\" does not fit", name));
        }
        pairs_set(pairs, name, value);
    }
    map->n = pairs->nelts;
    map->pairs = (const gb_pair_t *)pairs->elts;
    return APR_SUCCESS;
}

/* ---- JSON ---- */

static int is_one_of(const char *words, const char *word)
{
    size_t len = strlen(word);
    const char *at = words;

    while (at) {
        if (strncmp(at, word, len) == 0 && (!at[len] || at[len] == '|')) {
            return 1;
        }
        at = strchr(at, '|');
        at = at ? at + 1 : NULL;
    }
    return 0;
}

/* An entry of such an object: its members have these names and are numbers that are not negative. */
static apr_status_t check_members(const parse_t *in, gb_span_t name, gb_span_t entry)
{
    const char *of = gb_json_str(name, NULL, in->p);
    gb_json_iter_t it;
    double number;

    if (gb_json_kind(entry) != GB_JSON_OBJECT) {
        return refuse(in, apr_psprintf(in->p, "\"%.60s\" has no object", of));
    }
    gb_json_iter(&it, entry);
    while (gb_json_next(&it)) {
        const char *member = gb_json_str(it.key, NULL, in->p);

        if (!is_one_of(json_members(in->row), member)) {
            return refuse(in,
                          apr_psprintf(in->p, "\"%.60s\" has an unknown \"%.30s\"", of, member));
        }
        if (!gb_json_double(it.value, &number) || number < 0) {
            return refuse(in,
                          apr_psprintf(in->p, "%.30s of \"%.60s\" is no such number", member, of));
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_entries(const parse_t *in, gb_span_t root)
{
    gb_json_iter_t it;
    apr_status_t rv = APR_SUCCESS;

    gb_json_iter(&it, root);
    while (rv == APR_SUCCESS && gb_json_next(&it)) {
        rv = check_members(in, it.key, it.value);
    }
    return rv;
}

static apr_status_t parse_json(void *member, const parse_t *in)
{
    gb_json_kind_t kind = strncmp(in->row->choices, "object", 6) == 0 ? GB_JSON_OBJECT
                                                                      : GB_JSON_ARRAY;
    gb_span_t root;
    gb_buf_t buf;
    apr_status_t rv;

    if (in->len == 0) {
        *(const char **)member = "";
        return APR_SUCCESS;
    }
    rv = json_root(&root, in, kind);
    if (rv == APR_SUCCESS && json_members(in->row)) {
        rv = check_entries(in, root);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    gb_buf_init(&buf, GB_BUF_MAX_ERROR);
    rv = gb_json_put_compact(&buf, root);
    if (rv == APR_SUCCESS) {
        *(const char **)member = apr_pstrmemdup(in->p, buf.data, buf.len);
    }
    else {
        rv = refuse(in, "it is longer than 64 KiB");
    }
    gb_buf_free(&buf);
    return rv;
}

/* ---- all of them ---- */

static parse_fn *const parse_by_type[] = {
    [GB_TYPE_BOOL] = parse_bool,     [GB_TYPE_INT] = parse_int,
    [GB_TYPE_FLOAT] = parse_float,   [GB_TYPE_SECONDS] = parse_seconds,
    [GB_TYPE_STRING] = parse_string, [GB_TYPE_URL] = parse_url,
    [GB_TYPE_ENUM] = parse_enum,     [GB_TYPE_SECRET] = parse_secret,
    [GB_TYPE_LIST] = parse_list,     [GB_TYPE_SECRET_LIST] = parse_list,
    [GB_TYPE_MAP] = parse_map,       [GB_TYPE_NUMBER_MAP] = parse_map,
    [GB_TYPE_JSON] = parse_json,
};

apr_status_t gb_setting_parse(void *member, const gb_setting_t *row, const char *text,
                              const char **why, apr_pool_t *p)
{
    parse_t in;

    in.len = strlen(text);
    in.text = trim(text, &in.len);
    in.text = apr_pstrmemdup(p, in.text, in.len);
    in.row = row;
    in.why = why;
    in.p = p;
    return parse_by_type[row->type](member, &in);
}
