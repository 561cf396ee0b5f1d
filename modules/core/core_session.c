/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins of administrators, in a tenant of the segment: they survive graceful
 * restarts, and all children know the same ones.  The cookie's value is random
 * and lies here as its digest only.  Whoever knows the cookie can make the token
 * that changes need (a digest of it, too), a foreign page cannot.
 *
 *   +--------+--------------------+
 *   | header | sessions (1-based) |
 *   +--------+--------------------+
 */
#include "core_session.h"

#include "http_core.h"
#include "http_protocol.h"
#include "apr_strings.h"

#include "base/secret.h"

APLOG_USE_MODULE(gbalance);

#define TENANT     "sessions"
#define SESSIONS   512
#define RANDOM_LEN 32
#define COOKIE_LEN (2 * RANDOM_LEN)
#define TEXT_LEN   128

typedef enum { FREE, OPEN, SIGNED_OUT, REVOKED } state_t;

typedef struct slot_t {
    unsigned char digest[GB_DIGEST_LEN]; /* of the cookie */
    unsigned char token[GB_DIGEST_LEN];  /* of the AUTH_TOKEN that opened it */
    apr_uint64_t vhost;
    apr_time_t since, seen;
    apr_uint32_t number, state;
    char address[48], agent[TEXT_LEN];
} slot_t;

typedef struct block_t {
    unsigned char secret[GB_SIGN_KEY]; /* of this server, for whom Apache knows */
    apr_uint32_t last_number, unused;
    slot_t slots[SESSIONS];
} block_t;

/* Slot 0 is the header. */
static void repair(void *memory, apr_size_t size, apr_uint32_t slot)
{
    block_t *block = memory;

    (void)size;
    if (slot >= 1 && slot <= SESSIONS) {
        memset(&block->slots[slot - 1], 0, sizeof(slot_t));
    }
}

static void init(void *memory, apr_size_t size)
{
    (void)size;
    gb_random(((block_t *)memory)->secret, GB_SIGN_KEY);
}

void core_session_tenants(apr_array_header_t *specs)
{
    gb_tenant_spec_t *spec = apr_array_push(specs);

    memset(spec, 0, sizeof(*spec));
    spec->name = TENANT;
    spec->version = 1;
    spec->size = sizeof(block_t);
    spec->init = init;
    spec->repair = repair;
}

/* ---- what is compared ---- */

static apr_uint64_t vhost_of(request_rec *r)
{
    return core_caller_hash(core_conf_get(r->server)->vhost);
}

/* One name for each VirtualHost: browsers send cookies to every port of a host. */
static const char *cookie_name(request_rec *r)
{
    return apr_psprintf(r->pool, "gb_session_%08x", (unsigned)(vhost_of(r) & 0xffffffffu));
}

/* The value in the request; NULL: none, or nothing that could be one. */
static const char *cookie_value(request_rec *r)
{
    const char *name = cookie_name(r), *at = apr_table_get(r->headers_in, "Cookie");
    size_t len = strlen(name);

    for (; at && *at; at += strcspn(at, ";"), at += strspn(at, "; ")) {
        if (strncmp(at, name, len) == 0 && at[len] == '='
            && strspn(at + len + 1, "0123456789abcdef") == COOKIE_LEN) {
            return apr_pstrmemdup(r->pool, at + len + 1, COOKIE_LEN);
        }
    }
    return NULL;
}

static const char *csrf_of(const char *secret, apr_pool_t *p)
{
    unsigned char digest[GB_DIGEST_LEN];
    const char *text = apr_pstrcat(p, "changes by ", secret, NULL);
    char *csrf = apr_palloc(p, GB_DIGEST_LEN + 1);

    gb_digest(digest, text, strlen(text));
    gb_hex(csrf, digest, GB_DIGEST_LEN / 2);
    return csrf;
}

static apr_time_t expires(const slot_t *slot, request_rec *r)
{
    return slot->seen + core_view(r)->settings->admin_session_expire;
}

/* Of this VirtualHost, opened with the token that is in force, and not too long ago. */
static int is_open(const slot_t *slot, request_rec *r)
{
    const char *token = core_view(r)->settings->auth_token;
    unsigned char digest[GB_DIGEST_LEN];

    gb_digest(digest, token, strlen(token));
    return slot->state == OPEN && gb_equal_ct(slot->token, digest, GB_DIGEST_LEN)
           && expires(slot, r) > apr_time_now();
}

/* ---- who comes again ---- */

static slot_t *find_locked(block_t *block, const unsigned char *digest, apr_uint64_t vhost)
{
    int i;

    for (i = 0; i < SESSIONS; i++) {
        slot_t *slot = &block->slots[i];

        if (slot->state != FREE && slot->vhost == vhost
            && gb_equal_ct(slot->digest, digest, GB_DIGEST_LEN)) {
            return slot;
        }
    }
    return NULL;
}

apr_status_t core_session_get(request_rec *r, core_session_now_t *now)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    const char *value = cookie_value(r);
    unsigned char digest[GB_DIGEST_LEN];
    slot_t *slot, copy;

    if (!tenant || !value) {
        return APR_NOTFOUND;
    }
    gb_digest(digest, value, COOKIE_LEN);
    gb_segment_lock(tenant->segment);
    slot = find_locked(tenant->block, digest, vhost_of(r));
    if (slot) {
        copy = *slot;
    }
    gb_segment_unlock(tenant->segment);
    if (!slot || !is_open(&copy, r)) {
        return APR_NOTFOUND;
    }
    slot->seen = apr_time_now(); /* should it just have been given away, nothing is lost */
    now->number = (int)copy.number;
    now->csrf = csrf_of(value, r->pool);
    now->address = apr_pstrdup(r->pool, copy.address);
    return APR_SUCCESS;
}

const char *core_session_csrf(request_rec *r, const char *user)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    char hex[2 * GB_SIGN_KEY + 1];

    if (!tenant) {
        return "";
    }
    gb_hex(hex, ((block_t *)tenant->block)->secret, GB_SIGN_KEY);
    return csrf_of(apr_pstrcat(r->pool, hex, core_conf_get(r->server)->vhost, "\n", user, NULL),
                   r->pool);
}

/* ---- cookies ---- */

/* value NULL: it is taken back. */
static void send_cookie(request_rec *r, const char *value, const char *path)
{
    int is_tls = strcmp(ap_http_scheme(r), "https") == 0;

    apr_table_add(r->err_headers_out, "Set-Cookie",
                  apr_pstrcat(r->pool, cookie_name(r), "=", value ? value : "", "; Path=", path,
                              "; HttpOnly; SameSite=Strict", is_tls ? "; Secure" : "",
                              value ? "" : "; Max-Age=0", NULL));
}

/* ---- opening ---- */

/* A free slot, else one that has ended, else that which was seen longest ago. */
static slot_t *slot_new_locked(block_t *block)
{
    slot_t *best = &block->slots[0];
    int i;

    for (i = 0; i < SESSIONS; i++) {
        slot_t *slot = &block->slots[i];

        if (slot->state == FREE) {
            return slot;
        }
        if ((best->state == OPEN) > (slot->state == OPEN)
            || ((best->state == OPEN) == (slot->state == OPEN) && slot->seen < best->seen)) {
            best = slot;
        }
    }
    return best;
}

static void slot_fill(slot_t *slot, request_rec *r, const char *value)
{
    const char *token = core_view(r)->settings->auth_token;
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    memset(slot, 0, sizeof(*slot));
    gb_digest(slot->digest, value, COOKIE_LEN);
    gb_digest(slot->token, token, strlen(token));
    slot->vhost = vhost_of(r);
    slot->since = slot->seen = apr_time_now();
    slot->state = OPEN;
    apr_cpystrn(slot->address, r->useragent_ip, sizeof(slot->address));
    apr_cpystrn(slot->agent, agent ? agent : "", sizeof(slot->agent));
}

static void open_session(gb_tenant_t *tenant, request_rec *r, const char *path)
{
    block_t *block = tenant->block;
    unsigned char bytes[RANDOM_LEN];
    char value[COOKIE_LEN + 1];
    slot_t fresh, *slot;

    gb_random(bytes, sizeof(bytes));
    gb_hex(value, bytes, sizeof(bytes));
    slot_fill(&fresh, r, value);
    gb_segment_lock(tenant->segment);
    slot = slot_new_locked(block);
    gb_segment_dirty_locked(tenant, (apr_uint32_t)(1 + (slot - block->slots)));
    fresh.number = ++block->last_number;
    *slot = fresh;
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(tenant->segment);
    send_cookie(r, value, path);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  GBLOGNO(8070) "admin: session %u was opened from %s", fresh.number,
                  r->useragent_ip);
}

apr_status_t core_session_begin(request_rec *r, const char *token, const char *path, int *left,
                                gb_error_t *err)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_interval_time_t wait;

    *left = 0;

    if (core_admin_closed(r, err)) {
        return APR_EACCES;
    }
    if (!tenant) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, NULL, NULL,
                     "Shared memory was refused, so nobody can sign in. See httpd's error log.");
        return APR_EACCES;
    }
    wait = core_guess_wait(r, CORE_GUESS_LOGIN);
    if (wait) {
        return core_guess_refuse(r, err, wait);
    }
    if (core_admin_is_token(r, token)) {
        open_session(tenant, r, path);
        return APR_SUCCESS;
    }
    *left = core_guess_wrong(r, CORE_GUESS_LOGIN);
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r,
                  GBLOGNO(8071) "admin: a wrong token came from %s, %d tries are left",
                  r->useragent_ip, *left);
    gb_error_set(err, HTTP_UNAUTHORIZED, "invalid_api_key", NULL,
                 "This is not the admin token. %d tries are left from your address.", *left);
    return APR_EACCES;
}

/* ---- ending ---- */

int core_session_lives(const char *vhost, int number)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_uint64_t hash = core_caller_hash(vhost);
    int i, lives = 0;

    if (!tenant) {
        return 0;
    }
    gb_segment_lock(tenant->segment);
    for (i = 0; i < SESSIONS && !lives; i++) {
        const slot_t *slot = &((block_t *)tenant->block)->slots[i];

        lives = slot->state == OPEN && slot->vhost == hash && (int)slot->number == number;
    }
    gb_segment_unlock(tenant->segment);
    return lives;
}

static void end_locked(gb_tenant_t *tenant, slot_t *slot, state_t state)
{
    gb_segment_dirty_locked(tenant, (apr_uint32_t)(1 + (slot - ((block_t *)tenant->block)->slots)));
    slot->state = (apr_uint32_t)state;
    gb_segment_clean_locked(tenant);
}

int core_session_end(request_rec *r, int which, const char *path)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    core_session_now_t now = {0};
    int has = core_session_get(r, &now) == APR_SUCCESS;
    int i, n = 0;

    if (!tenant) {
        return 0;
    }
    gb_segment_lock(tenant->segment);
    for (i = 0; i < SESSIONS; i++) {
        slot_t *slot = &((block_t *)tenant->block)->slots[i];
        int is_mine = has && (int)slot->number == now.number;

        if (slot->state == OPEN && slot->vhost == vhost_of(r)
            && (which == GB_SESSION_MINE     ? is_mine
                : which == GB_SESSION_OTHERS ? !is_mine
                                             : (int)slot->number == which)) {
            end_locked(tenant, slot, is_mine ? SIGNED_OUT : REVOKED);
            n++;
        }
    }
    gb_segment_unlock(tenant->segment);
    if (which == GB_SESSION_MINE || (has && which == now.number)) {
        send_cookie(r, NULL, path);
    }
    return n;
}

/* ---- showing ---- */

static void show_session(gb_session_t *to, const slot_t *slot, request_rec *r, int mine)
{
    static const char *const ends[] = {"", "expired", "signed_out", "revoked"};
    int open = is_open(slot, r);

    to->number = (int)slot->number;
    to->is_open = open;
    to->is_mine = open && (int)slot->number == mine;
    to->since = slot->since;
    to->seen = slot->seen;
    to->until = expires(slot, r);
    to->address = apr_pstrdup(r->pool, slot->address);
    to->agent = apr_pstrdup(r->pool, slot->agent);
    to->ended = open ? "" : ends[slot->state];
}

void core_sessions_list(request_rec *r, apr_array_header_t **sessions,
                        apr_array_header_t **throttled)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    core_session_now_t now = {0};
    apr_uint64_t vhost = vhost_of(r);
    block_t *copy;
    int i;

    *sessions = apr_array_make(r->pool, 8, sizeof(gb_session_t));
    core_guess_list(r, throttled);
    if (!tenant) {
        return;
    }
    core_session_get(r, &now);
    copy = apr_palloc(r->pool, sizeof(*copy));
    gb_segment_lock(tenant->segment);
    memcpy(copy, tenant->block, sizeof(*copy));
    gb_segment_unlock(tenant->segment);
    for (i = 0; i < SESSIONS; i++) {
        if (copy->slots[i].state != FREE && copy->slots[i].vhost == vhost) {
            show_session(apr_array_push(*sessions), &copy->slots[i], r, now.number);
        }
    }
}
