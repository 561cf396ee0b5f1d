/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that tried wrong tokens, in a tenant of the segment.  Who guesses too
 * often has to wait until a quarter of an hour is over since the first try; that
 * holds for this address and this VirtualHost alone, and never for open sessions,
 * so that nobody locks the owner out.
 */
#include "core_session.h"

#include <arpa/inet.h>

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance);

#define TENANT    "guessers"
#define ADDRESSES 512
#define WINDOW    apr_time_from_sec(15 * 60)

typedef struct guesser_t {
    apr_uint64_t vhost;
    apr_time_t since;
    apr_uint32_t wrong[CORE_GUESS_KINDS];
    char address[48]; /* "": the slot is free */
} guesser_t;

/* People mistype a few times; a program whose token is out of date asks again and again. */
static const apr_uint32_t most[CORE_GUESS_KINDS] = {8, 1000};

static void init(void *block, apr_size_t size)
{
    memset(block, 0, size);
}

static void repair(void *block, apr_size_t size, apr_uint32_t slot)
{
    if (slot && slot <= size / sizeof(guesser_t)) {
        memset((guesser_t *)block + slot - 1, 0, sizeof(guesser_t));
    }
}

void core_guess_tenants(apr_array_header_t *specs)
{
    static const gb_tenant_spec_t spec = {TENANT, 1,    sizeof(guesser_t) * ADDRESSES,
                                          init,   NULL, repair};

    APR_ARRAY_PUSH(specs, gb_tenant_spec_t) = spec;
}

/* A guesser changes within a /64 of IPv6 as he likes, and so does how it is written. */
static void address_of(char out[48], const char *ip)
{
    struct in6_addr addr;

    apr_cpystrn(out, ip, 48);
    out[strcspn(out, "%")] = '\0'; /* fe80::1%eth0 */
    if (inet_pton(AF_INET6, out, &addr) == 1 && !IN6_IS_ADDR_V4MAPPED(&addr)) {
        memset(&addr.s6_addr[8], 0, 8);
        inet_ntop(AF_INET6, &addr, out, INET6_ADDRSTRLEN);
        apr_cpystrn(out + strlen(out), "/64", 48 - strlen(out));
    }
}

static apr_uint64_t vhost_of(request_rec *r)
{
    return core_caller_hash(core_conf_get(r->server)->vhost);
}

static guesser_t *find_locked(guesser_t *all, const char *address, apr_uint64_t vhost)
{
    int i;

    for (i = 0; i < ADDRESSES; i++) {
        if (all[i].vhost == vhost && strcmp(all[i].address, address) == 0) {
            return &all[i];
        }
    }
    return NULL;
}

/* A slot for another address: an empty one, or that whose tries are longest ago. */
static guesser_t *oldest_locked(guesser_t *all)
{
    guesser_t *oldest = all;
    int i;

    for (i = 1; i < ADDRESSES && *oldest->address; i++) {
        if (!*all[i].address || all[i].since < oldest->since) {
            oldest = &all[i];
        }
    }
    return oldest;
}

static apr_interval_time_t wait_of(const guesser_t *guesser, core_guess_t kind, apr_time_t now)
{
    apr_time_t until = guesser ? guesser->since + WINDOW : 0;

    return guesser && guesser->wrong[kind] >= most[kind] && until > now ? until - now : 0;
}

apr_interval_time_t core_guess_wait(request_rec *r, core_guess_t kind)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_interval_time_t wait;
    char address[48];

    if (!tenant) {
        return 0;
    }
    address_of(address, r->useragent_ip);
    gb_segment_lock(tenant->segment);
    wait = wait_of(find_locked(tenant->block, address, vhost_of(r)), kind, apr_time_now());
    gb_segment_unlock(tenant->segment);
    return wait;
}

int core_guess_wrong(request_rec *r, core_guess_t kind)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_time_t now = apr_time_now();
    guesser_t *all, *guesser;
    apr_uint32_t wrong;
    char address[48];

    if (!tenant) {
        return 0;
    }
    all = tenant->block;
    address_of(address, r->useragent_ip);
    gb_segment_lock(tenant->segment);
    guesser = find_locked(all, address, vhost_of(r));
    guesser = guesser ? guesser : oldest_locked(all);
    gb_segment_dirty_locked(tenant, (apr_uint32_t)(guesser - all + 1));
    if (strcmp(guesser->address, address) != 0 || guesser->vhost != vhost_of(r)
        || guesser->since + WINDOW < now) {
        memset(guesser, 0, sizeof(*guesser));
        guesser->vhost = vhost_of(r);
        guesser->since = now;
        apr_cpystrn(guesser->address, address, sizeof(guesser->address));
    }
    wrong = ++guesser->wrong[kind];
    gb_segment_clean_locked(tenant);
    gb_segment_unlock(tenant->segment);
    return wrong < most[kind] ? (int)(most[kind] - wrong) : 0;
}

apr_status_t core_guess_refuse(request_rec *r, gb_error_t *err, apr_interval_time_t wait)
{
    gb_error_set(err, HTTP_TOO_MANY_REQUESTS, NULL, NULL,
                 "Too many wrong tokens came from your address. Wait %d minutes; sessions that "
                 "are open go on, and other addresses are not touched.",
                 (int)(apr_time_sec(wait) / 60) + 1);
    err->retry_after = wait;
    apr_table_setn(r->err_headers_out, "Retry-After",
                   apr_psprintf(r->pool, "%" APR_TIME_T_FMT, apr_time_sec(wait) + 1));
    return APR_EACCES;
}

static void show(gb_guesser_t *to, const guesser_t *guesser, apr_pool_t *p)
{
    apr_interval_time_t login = wait_of(guesser, CORE_GUESS_LOGIN, apr_time_now());
    apr_interval_time_t bearer = wait_of(guesser, CORE_GUESS_BEARER, apr_time_now());

    to->address = apr_pstrdup(p, guesser->address);
    to->wrong = (int)(guesser->wrong[CORE_GUESS_LOGIN] + guesser->wrong[CORE_GUESS_BEARER]);
    to->since = guesser->since;
    to->wait = login > bearer ? login : bearer;
}

void core_guess_list(request_rec *r, apr_array_header_t **guessers)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    apr_uint64_t vhost = vhost_of(r);
    guesser_t *copy;
    int i;

    *guessers = apr_array_make(r->pool, 4, sizeof(gb_guesser_t));
    if (!tenant) {
        return;
    }
    copy = apr_palloc(r->pool, sizeof(*copy) * ADDRESSES);
    gb_segment_lock(tenant->segment);
    memcpy(copy, tenant->block, sizeof(*copy) * ADDRESSES);
    gb_segment_unlock(tenant->segment);
    for (i = 0; i < ADDRESSES; i++) {
        if (*copy[i].address && copy[i].vhost == vhost) {
            show(apr_array_push(*guessers), &copy[i], r->pool);
        }
    }
}
