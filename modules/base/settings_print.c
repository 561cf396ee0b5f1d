/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A setting's value as text and as JSON.  What is masked is masked here, in one
 * place: secrets, the password in an address, credentials among headers.  The
 * text of an unmasked value parses to the same value.
 */
#include "base/settings_int.h"

#include <math.h>
#include <string.h>
#include <strings.h>
#include <apr_strings.h>

#include "base/secret.h"

#define MASK "\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2"

typedef const char *mask_fn(const char *text, apr_pool_t *p);

/* ---- masking ---- */

static const char *mask_secret(const char *text, apr_pool_t *p)
{
    gb_secret_t *secret;

    if (text[0] == '\0') {
        return text;
    }
    if (gb_secret_make(&secret, text, strlen(text), p) != APR_SUCCESS) {
        return MASK;
    }
    return gb_secret_masked(secret, p);
}

/* http://user:password@host -> http://user:*****@host */
static const char *mask_password(const char *text, apr_pool_t *p)
{
    const char *user = strstr(text, "://");
    const char *at, *colon;
    size_t authority;

    if (user == NULL) {
        return text;
    }
    user += 3;
    authority = strcspn(user, "/?#");
    colon = memchr(user, ':', authority);
    for (at = user + authority; at > user && *at != '@'; at--) {
        ;
    }
    if (at == user || colon == NULL || colon > at) {
        return text;
    }
    return apr_psprintf(p, "%.*s" MASK "%s", (int)(colon + 1 - text), text, at);
}

static const char *mask_nothing(const char *text, apr_pool_t *p)
{
    (void)p;
    return text;
}

static int is_credential_header(const char *name)
{
    static const char *const words[] = {"auth", "cookie", "key", "secret", "token", NULL};
    size_t i, at;

    for (i = 0; words[i] != NULL; i++) {
        for (at = 0; name[at] != '\0'; at++) {
            if (strncasecmp(name + at, words[i], strlen(words[i])) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

static mask_fn *mask_for(const gb_setting_t *row, int reveal)
{
    if (reveal) {
        return mask_nothing;
    }
    return row->type == GB_TYPE_SECRET || row->type == GB_TYPE_SECRET_LIST ? mask_secret
                                                                           : mask_password;
}

/* ---- numbers ---- */

/* Six places without trailing zeros; no locale takes part. */
static const char *micro_text(apr_int64_t micro, apr_pool_t *p)
{
    char *text = apr_psprintf(p, "%s%" APR_INT64_T_FMT ".%06d", micro < 0 ? "-" : "",
                              (micro < 0 ? -micro : micro) / 1000000,
                              (int)((micro < 0 ? -micro : micro) % 1000000));
    size_t len = strlen(text);

    while (text[len - 1] == '0') {
        len--;
    }
    if (text[len - 1] == '.') {
        len--;
    }
    text[len] = '\0';
    return text;
}

static const char *scalar_text(const void *member, const gb_setting_t *row, int reveal,
                               apr_pool_t *p)
{
    switch (row->type) {
    case GB_TYPE_BOOL:
        return *(const int *)member ? "true" : "false";
    case GB_TYPE_INT:
        return apr_psprintf(p, "%" APR_INT64_T_FMT, *(const apr_int64_t *)member);
    case GB_TYPE_FLOAT:
        return micro_text((apr_int64_t)llround(*(const double *)member * 1e6), p);
    case GB_TYPE_SECONDS:
        return micro_text(*(const apr_interval_time_t *)member, p);
    case GB_TYPE_STRING:
    case GB_TYPE_URL:
    case GB_TYPE_ENUM:
    case GB_TYPE_SECRET:
    case GB_TYPE_JSON:
        return mask_for(row, reveal)(*(const char *const *)member, p);
    case GB_TYPE_LIST:
    case GB_TYPE_SECRET_LIST:
    case GB_TYPE_MAP:
    case GB_TYPE_NUMBER_MAP:
        break;
    }
    return NULL;
}

/* ---- lists and maps ---- */

static apr_status_t list_json(gb_buf_t *out, const gb_list_t *list, mask_fn *mask, apr_pool_t *p)
{
    int i;

    gb_buf_putc(out, '[');
    for (i = 0; i < list->n; i++) {
        gb_buf_puts(out, i > 0 ? "," : "");
        gb_json_put_cstr(out, mask(list->items[i], p));
    }
    return gb_buf_putc(out, ']');
}

static const char *pair_text(const gb_pair_t *pair, const gb_setting_t *row, int reveal,
                             apr_pool_t *p)
{
    if (!reveal && row->choices != NULL && is_credential_header(pair->name)) {
        return MASK;
    }
    return mask_for(row, reveal)(pair->value, p);
}

static apr_status_t map_json(gb_buf_t *out, const gb_map_t *map, const gb_setting_t *row,
                             int reveal, apr_pool_t *p)
{
    int i;

    gb_buf_putc(out, '{');
    for (i = 0; i < map->n; i++) {
        gb_buf_puts(out, i > 0 ? "," : "");
        gb_json_put_cstr(out, map->pairs[i].name);
        gb_buf_putc(out, ':');
        if (row->type == GB_TYPE_NUMBER_MAP) {
            gb_buf_puts(out, map->pairs[i].value);
        }
        else {
            gb_json_put_cstr(out, pair_text(&map->pairs[i], row, reveal, p));
        }
    }
    return gb_buf_putc(out, '}');
}

static apr_status_t document_json(gb_buf_t *out, const char *text, const gb_setting_t *row)
{
    if (text[0] != '\0') {
        return gb_buf_puts(out, text);
    }
    return gb_buf_puts(out, strncmp(row->choices, "object", 6) == 0 ? "{}" : "[]");
}

/* ---- the two forms ---- */

apr_status_t gb_settings_json(gb_buf_t *out, const gb_settings_t *settings, const gb_setting_t *row,
                              int reveal, apr_pool_t *p)
{
    const void *member = GB_CONST_MEMBER(settings, row);

    switch (row->type) {
    case GB_TYPE_BOOL:
    case GB_TYPE_INT:
    case GB_TYPE_FLOAT:
    case GB_TYPE_SECONDS:
        return gb_buf_puts(out, scalar_text(member, row, reveal, p));
    case GB_TYPE_STRING:
    case GB_TYPE_URL:
    case GB_TYPE_ENUM:
    case GB_TYPE_SECRET:
        return gb_json_put_cstr(out, scalar_text(member, row, reveal, p));
    case GB_TYPE_LIST:
    case GB_TYPE_SECRET_LIST:
        return list_json(out, member, mask_for(row, reveal), p);
    case GB_TYPE_MAP:
    case GB_TYPE_NUMBER_MAP:
        return map_json(out, member, row, reveal, p);
    case GB_TYPE_JSON:
        return document_json(out, *(const char *const *)member, row);
    }
    return APR_EINVAL;
}

const char *gb_settings_text(const gb_settings_t *settings, const gb_setting_t *row, int reveal,
                             apr_pool_t *p)
{
    const char *text = scalar_text(GB_CONST_MEMBER(settings, row), row, reveal, p);
    gb_buf_t buf;

    if (text == NULL) {
        gb_buf_init(&buf, GB_BUF_MAX_REQUEST);
        gb_settings_json(&buf, settings, row, reveal, p);
        text = apr_pstrmemdup(p, buf.data, buf.len);
        gb_buf_free(&buf);
    }
    return text;
}
