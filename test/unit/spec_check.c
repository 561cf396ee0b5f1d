/* SPDX-License-Identifier: Apache-2.0 */
/* See spec_check.h. */
#include "spec_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define WHY_MAX 400

/* Where in the document, and what is wrong there. */
typedef struct walk_t {
    json_t *schemas;
    char why[WHY_MAX];
} walk_t;

static int fault(walk_t *walk, const char *path, const char *what, const char *detail)
{
    snprintf(walk->why, sizeof(walk->why), "%.200s: %s %.100s", path, what, detail);
    return 0;
}

static json_t *load(const char *folder, const char *name)
{
    char path[1024];
    json_error_t error;
    json_t *json;

    snprintf(path, sizeof(path), "%s/spec/%s", folder, name);
    /* one bound in OpenAI's file does not fit an integer */
    json = json_load_file(path, JSON_DECODE_INT_AS_REAL, &error);
    if (json == NULL) {
        fail_msg("%s: %s", path, error.text);
    }
    return json;
}

void spec_load(spec_t *spec, const char *shared)
{
    json_t *openai, *gemini;

    spec->openai = spec->gemini = NULL;
    if (shared == NULL) {
        return;
    }
    openai = load(shared, "openai-openapi-subset.json");
    gemini = load(shared, "gemini-discovery.json");
    spec->openai = json_incref(json_object_get(json_object_get(openai, "components"), "schemas"));
    spec->gemini = json_incref(json_object_get(gemini, "schemas"));
    json_decref(openai);
    json_decref(gemini);
}

void spec_free(spec_t *spec)
{
    json_decref(spec->openai);
    json_decref(spec->gemini);
}

/* ---- JSON Schema, as OpenAI uses it ---- */

static int check(walk_t *walk, json_t *schema, json_t *value, const char *path);

static int type_fits(const char *type, json_t *value)
{
    if (strcmp(type, "object") == 0) {
        return json_is_object(value);
    }
    if (strcmp(type, "array") == 0) {
        return json_is_array(value);
    }
    if (strcmp(type, "string") == 0) {
        return json_is_string(value);
    }
    if (strcmp(type, "integer") == 0) {
        return json_is_integer(value);
    }
    if (strcmp(type, "number") == 0) {
        return json_is_number(value);
    }
    if (strcmp(type, "boolean") == 0) {
        return json_is_boolean(value);
    }
    return strcmp(type, "null") == 0 ? json_is_null(value) : 1;
}

static int in_enum(json_t *list, json_t *value)
{
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        if (json_equal(one, value)) {
            return 1;
        }
    }
    return list == NULL;
}

static json_t *resolve(walk_t *walk, json_t *schema)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref"));

    return ref != NULL ? json_object_get(walk->schemas, strrchr(ref, '/') + 1) : schema;
}

static int check_members(walk_t *walk, json_t *schema, json_t *value, const char *path)
{
    json_t *properties = json_object_get(schema, "properties"), *name, *member;
    json_t *more = json_object_get(schema, "additionalProperties"), *one;
    char deeper[512];
    const char *key;
    size_t i;

    json_array_foreach(json_object_get(schema, "required"), i, name)
    {
        if (json_object_get(value, json_string_value(name)) == NULL) {
            return fault(walk, path, "lacks", json_string_value(name));
        }
    }
    json_object_foreach(value, key, member)
    {
        snprintf(deeper, sizeof(deeper), "%.300s.%.100s", path, key);
        one = json_object_get(properties, key);
        one = one != NULL ? one : json_is_object(more) ? more : NULL;
        if (one == NULL && json_is_false(more)) {
            return fault(walk, path, "has", key);
        }
        if (one != NULL && !check(walk, one, member, deeper)) {
            return 0;
        }
    }
    return 1;
}

static int check_items(walk_t *walk, json_t *schema, json_t *value, const char *path)
{
    json_t *items = json_object_get(schema, "items"), *item;
    char deeper[512];
    size_t i;

    json_array_foreach(value, i, item)
    {
        snprintf(deeper, sizeof(deeper), "%.300s[%zu]", path, i);
        if (items != NULL && !check(walk, items, item, deeper)) {
            return 0;
        }
    }
    return 1;
}

static int check_one_of(walk_t *walk, json_t *list, json_t *value, const char *path)
{
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        if (check(walk, one, value, path)) {
            return 1;
        }
    }
    return json_array_size(list) == 0;
}

static int check(walk_t *walk, json_t *schema, json_t *value, const char *path)
{
    int nullable = json_is_true(json_object_get(schema, "nullable"));
    const char *type;
    size_t i;
    json_t *one;

    schema = resolve(walk, schema);
    nullable |= json_is_true(json_object_get(schema, "nullable"));
    if (nullable && json_is_null(value)) {
        return 1;
    }
    json_array_foreach(json_object_get(schema, "allOf"), i, one)
    {
        if (!check(walk, one, value, path)) {
            return 0;
        }
    }
    if (!check_one_of(walk, json_object_get(schema, "anyOf"), value, path)
        || !check_one_of(walk, json_object_get(schema, "oneOf"), value, path)) {
        return 0;
    }
    type = json_string_value(json_object_get(schema, "type"));
    if (type != NULL && !type_fits(type, value)) {
        return fault(walk, path, "is no", type);
    }
    if (!in_enum(json_object_get(schema, "enum"), value)) {
        return fault(walk, path, "is not of the enum:", json_string_value(value));
    }
    return (!json_is_object(value) || check_members(walk, schema, value, path))
           && (!json_is_array(value) || check_items(walk, schema, value, path));
}

/* ---- discovery: unknown members are faults, int64 may be text ---- */

static int discovery(walk_t *walk, json_t *schema, json_t *value, const char *path);

static int discovery_members(walk_t *walk, json_t *schema, json_t *value, const char *path)
{
    json_t *properties = json_object_get(schema, "properties"), *member, *one;
    json_t *more = json_object_get(schema, "additionalProperties");
    char deeper[512];
    const char *key;

    json_object_foreach(value, key, member)
    {
        snprintf(deeper, sizeof(deeper), "%.300s.%.100s", path, key);
        one = json_object_get(properties, key);
        one = one != NULL ? one : more;
        if (one == NULL) {
            return fault(walk, path, "has an unknown member", key);
        }
        if (!discovery(walk, one, member, deeper)) {
            return 0;
        }
    }
    return 1;
}

static int discovery_scalar(json_t *schema, const char *type, json_t *value)
{
    const char *format = json_string_value(json_object_get(schema, "format"));

    if (strcmp(type, "any") == 0 || json_is_null(value)) {
        return 1;
    }
    if (strcmp(type, "string") == 0 && format != NULL && strstr(format, "int64") != NULL) {
        return json_is_string(value) || json_is_integer(value);
    }
    return type_fits(type, value);
}

static int discovery(walk_t *walk, json_t *schema, json_t *value, const char *path)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *type;
    char deeper[512];
    json_t *item;
    size_t i;

    if (ref != NULL) {
        schema = json_object_get(walk->schemas, ref);
        if (schema == NULL) {
            return 1; /* the document names a schema that it does not hold */
        }
    }
    type = json_string_value(json_object_get(schema, "type"));
    if (type != NULL && !discovery_scalar(schema, type, value)) {
        return fault(walk, path, "is no", type);
    }
    if (json_is_string(value) && !in_enum(json_object_get(schema, "enum"), value)) {
        return fault(walk, path, "is not of the enum:", json_string_value(value));
    }
    if (json_is_object(value) && type != NULL && strcmp(type, "any") != 0) {
        return discovery_members(walk, schema, value, path);
    }
    json_array_foreach(value, i, item)
    {
        snprintf(deeper, sizeof(deeper), "%.300s[%zu]", path, i);
        if (json_object_get(schema, "items") != NULL
            && !discovery(walk, json_object_get(schema, "items"), item, deeper)) {
            return 0;
        }
    }
    return 1;
}

/* ---- both ---- */

typedef int check_fn(walk_t *walk, json_t *schema, json_t *value, const char *path);

static void run(json_t *schemas, check_fn *fn, const char *schema, const char *text, size_t len,
                const char *label)
{
    walk_t walk = {schemas, ""};
    json_error_t error;
    json_t *value;

    if (schemas == NULL) {
        return;
    }
    assert_non_null(json_object_get(schemas, schema));
    value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (value == NULL) {
        fail_msg("%s: %s: %.300s", label, error.text, text);
    }
    if (!fn(&walk, json_object_get(schemas, schema), value, schema)) {
        fail_msg("%s: %s\n%.*s", label, walk.why, len < 2000 ? (int)len : 2000, text);
    }
    json_decref(value);
}

void spec_openai(const spec_t *spec, const char *schema, const char *text, size_t len,
                 const char *label)
{
    run(spec->openai, check, schema, text, len, label);
}

void spec_gemini(const spec_t *spec, const char *schema, const char *text, size_t len,
                 const char *label)
{
    run(spec->gemini, discovery, schema, text, len, label);
}
