/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of members for keys and one for cells says how each is written and
 * read, so that the two directions cannot drift apart.
 */
#include "pool/state.h"

#include <string.h>
#include <apr_strings.h>

#include "base/json.h"
#include "base/secret.h"

typedef enum { AS_TEXT, AS_DIGEST, AS_INT, AS_LONG } as_t;

typedef struct member_t {
    const char *name;
    as_t as;
    size_t offset, size;
} member_t;

#define MEMBER(type, name, member, as)                                                             \
    {                                                                                              \
        name, as, offsetof(type, member), sizeof(((type *)0)->member)                              \
    }
#define K(name, member, as) MEMBER(gb_pool_key_t, name, member, as)
#define C(name, member, as) MEMBER(gb_pool_cell_t, name, member, as)

/* clang-format off */
static const member_t key_members[] = {
    K("pool", pool, AS_TEXT),             K("id", id, AS_TEXT),
    K("digest", digest, AS_DIGEST),       K("project", project, AS_TEXT),
    K("by_hand", project_by_hand, AS_INT),
    K("tags", tags, AS_TEXT),             K("note", note, AS_TEXT),
    K("weight", weight, AS_INT),          K("enabled", enabled, AS_INT),
    K("source", source, AS_INT),          K("state", state, AS_INT),
    K("revocable", revocable, AS_INT),    K("failures", failures, AS_INT),
    K("strikes", strikes, AS_INT),        K("checks", checks, AS_INT),
    K("added", added, AS_LONG),           K("since", state_since, AS_LONG),
    K("used", last_used, AS_LONG),        K("next_check", next_check, AS_LONG),
    K("retry_at", retry_at, AS_LONG),     K("row", row, AS_TEXT),
    K("text", text, AS_TEXT),             K("text_at", text_at, AS_LONG),
    K("picks", picks, AS_LONG),           K("successes", successes, AS_LONG),
    K("neutral", neutral, AS_LONG),       K("quotas", quotas, AS_LONG),
    K("faults", faults, AS_LONG),         K("deaths", deaths, AS_LONG),
    K("lost", lost, AS_LONG),             K("prompt_tokens", prompt_tokens, AS_LONG),
    K("total_tokens", total_tokens, AS_LONG),
    K("day_calls", day_calls, AS_LONG),   K("day_tokens", day_tokens, AS_LONG),
    K("day_ends", day_ends, AS_LONG),
};

static const member_t cell_members[] = {
    C("digest", digest, AS_DIGEST),       C("model", model, AS_TEXT),
    C("reason", reason, AS_INT),          C("until", until, AS_LONG),
    C("own", own, AS_INT),
    C("half_open", half_open, AS_INT),    C("strikes", strikes, AS_INT),
    C("rpm", limits[GB_LIMIT_RPM], AS_LONG),
    C("tpm", limits[GB_LIMIT_TPM], AS_LONG),
    C("rpd", limits[GB_LIMIT_RPD], AS_LONG),
    C("rpm_held", held[GB_LIMIT_RPM], AS_INT),
    C("tpm_held", held[GB_LIMIT_TPM], AS_INT),
    C("rpd_held", held[GB_LIMIT_RPD], AS_INT),
    C("rpm_since", limit_since[GB_LIMIT_RPM], AS_LONG),
    C("tpm_since", limit_since[GB_LIMIT_TPM], AS_LONG),
    C("rpd_since", limit_since[GB_LIMIT_RPD], AS_LONG),
    C("rpd_used", used[GB_LIMIT_RPD], AS_LONG),
    C("day_ends", day_ends, AS_LONG),     C("successes", successes, AS_LONG),
    C("quotas", quotas, AS_LONG),
};
/* clang-format on */

#define N(table) (sizeof(table) / sizeof((table)[0]))

_Static_assert(sizeof(gb_pool_state_t) == sizeof(int), "enums are read as int");
_Static_assert(sizeof(gb_pool_cool_t) == sizeof(int), "enums are read as int");

/* ---- writing ---- */

/* What is zero or empty is left out: it is what a row begins with. */
static void put_member(gb_buf_t *out, const char *row, const member_t *m, int *first)
{
    const char *at = row + m->offset;
    char hex[GB_POOL_DIGEST_LEN * 2 + 1];
    apr_int64_t number = 0;

    if (m->as == AS_TEXT ? *at == '\0' : 0) {
        return;
    }
    if (m->as == AS_INT || m->as == AS_LONG) {
        number = m->as == AS_INT ? *(const int *)at : *(const apr_int64_t *)at;
        if (number == 0) {
            return;
        }
    }
    gb_buf_printf(out, "%s\"%s\":", *first ? "" : ",", m->name);
    *first = 0;
    if (m->as == AS_TEXT) {
        gb_json_put_cstr(out, at);
    }
    else if (m->as == AS_DIGEST) {
        gb_hex(hex, (const unsigned char *)at, GB_POOL_DIGEST_LEN);
        gb_json_put_cstr(out, hex);
    }
    else {
        gb_buf_printf(out, "%" APR_INT64_T_FMT, number);
    }
}

static apr_status_t put_row(gb_buf_t *out, const char *kind, const void *row,
                            const member_t *members, size_t n)
{
    int first = 1;
    size_t i;

    gb_buf_printf(out, "{\"%s\":{", kind);
    for (i = 0; i < n; i++) {
        put_member(out, row, &members[i], &first);
    }
    return gb_buf_puts(out, "}}\n");
}

apr_status_t gb_state_put_head(gb_buf_t *out, apr_time_t saved)
{
    return gb_buf_printf(out, "{\"gbalance_keys\":%d,\"saved\":%" APR_TIME_T_FMT "}\n",
                         GB_STATE_VERSION, saved);
}

apr_status_t gb_state_put_key(gb_buf_t *out, const gb_pool_key_t *key)
{
    return put_row(out, "key", key, key_members, N(key_members));
}

apr_status_t gb_state_put_cell(gb_buf_t *out, const gb_pool_cell_t *cell)
{
    return put_row(out, "cell", cell, cell_members, N(cell_members));
}

int gb_state_worth_keeping(const gb_pool_key_t *key)
{
    return key->picks || key->state != GB_KEY_ACTIVE || !key->enabled || key->weight != 1
           || key->tags[0] || key->note[0] || key->project[0] || key->text_at
           || key->source != GB_KEY_SOURCE_CONF;
}

/* ---- reading ---- */

int gb_state_digest(unsigned char digest[GB_POOL_DIGEST_LEN], const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    int i;

    for (i = 0; i < GB_POOL_DIGEST_LEN * 2; i++) {
        const char *at = hex[i] ? strchr(digits, hex[i]) : NULL;

        if (at == NULL) {
            return 0;
        }
        digest[i / 2] = (unsigned char)(i % 2 ? (digest[i / 2] << 4) | (at - digits) : at - digits);
    }
    return hex[i] == '\0';
}

static void read_member(char *row, const member_t *m, gb_span_t value, apr_pool_t *p)
{
    char *at = row + m->offset;
    apr_int64_t number;
    const char *text;
    size_t len;

    if (m->as == AS_INT || m->as == AS_LONG) {
        if (gb_json_int(value, &number)) {
            if (m->as == AS_INT) {
                *(int *)at = (int)number;
            }
            else {
                *(apr_int64_t *)at = number;
            }
        }
        return;
    }
    text = gb_json_str(value, &len, p);
    if (text && m->as == AS_TEXT) {
        apr_cpystrn(at, text, m->size);
    }
    else if (text && !gb_state_digest((unsigned char *)at, text)) {
        memset(at, 0, m->size);
    }
}

static void read_row(void *row, gb_span_t object, const member_t *members, size_t n, apr_pool_t *p)
{
    size_t i;

    for (i = 0; i < n; i++) {
        gb_span_t value = gb_json_get(object, members[i].name);

        if (value.p) {
            read_member(row, &members[i], value, p);
        }
    }
}

gb_state_kind_t gb_state_read(const char *line, apr_size_t len, gb_pool_key_t *key,
                              gb_pool_cell_t *cell, apr_pool_t *p)
{
    gb_json_fault_t fault;
    gb_span_t root, row;
    apr_int64_t version;

    if (len == 0 || gb_json_check(line, len, &fault) != APR_SUCCESS) {
        return GB_STATE_NOTHING;
    }
    root = gb_json_root(line, len);
    row = gb_json_get(root, "key");
    if (gb_json_kind(row) == GB_JSON_OBJECT) {
        memset(key, 0, sizeof(*key));
        read_row(key, row, key_members, N(key_members), p);
        return key->pool[0] ? GB_STATE_KEY : GB_STATE_NOTHING;
    }
    row = gb_json_get(root, "cell");
    if (gb_json_kind(row) == GB_JSON_OBJECT) {
        memset(cell, 0, sizeof(*cell));
        read_row(cell, row, cell_members, N(cell_members), p);
        return GB_STATE_CELL;
    }
    return gb_json_int(gb_json_get(root, "gbalance_keys"), &version) && version == GB_STATE_VERSION
               ? GB_STATE_HEAD
               : GB_STATE_NOTHING;
}
