/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one attempt of a leg sends: address, headers, body, proxy and deadlines.
 * When it is sent, and what becomes of it, is leg.c's.
 */
#include "upstream/leg.h"

#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "base/json.h"
#include "base/timeutil.h"
#include "proto/url.h"

#define KEY_HEADER    "x-goog-api-key: "
#define BEARER_HEADER "Authorization: Bearer "
#define HOPS_MAX      3

static const char *upload_url(const gb_leg_t *leg)
{
    const char *base = leg->conf->settings->base_url;
    const char *version = gb_url_version(base);

    return version ? apr_pstrcat(leg->pool,
                                 apr_pstrmemdup(leg->pool, base, (apr_size_t)(version - base)),
                                 "upload/", version, leg->plan->path, NULL)
                   : apr_pstrcat(leg->pool, base, "/upload", leg->plan->path, NULL);
}

/* BASE_URL ends in the version that is called, unless the plan wants another one. */
static const char *url_of(const gb_leg_t *leg)
{
    const char *base = leg->conf->settings->base_url;
    const char *own = leg->plan->version ? gb_url_version(base) : NULL;

    if (leg->plan->upload) {
        return upload_url(leg);
    }
    if (own) {
        base = apr_pstrcat(leg->pool, apr_pstrmemdup(leg->pool, base, (apr_size_t)(own - base)),
                           leg->plan->version, NULL);
    }
    return apr_pstrcat(leg->pool, base, leg->plan->path, NULL);
}

/*
 * Google sends downloads on to another path of its own.  The key goes along only where it goes
 * anyhow: to the scheme, host and port of BASE_URL.
 */
const char *gb_leg_redirect(const gb_leg_t *leg, const char *location)
{
    const char *base = leg->conf->settings->base_url;
    const char *host = strstr(base, "://");
    size_t len = host ? (size_t)(host + 3 - base) + strcspn(host + 3, "/?#") : 0;

    if (!location || !len || strcmp(leg->plan->method, "GET") != 0 || leg->hops >= HOPS_MAX) {
        return NULL;
    }
    if (location[0] == '/' && location[1] != '/') {
        return apr_pstrcat(leg->pool, apr_pstrmemdup(leg->pool, base, len), location, NULL);
    }
    return strncasecmp(location, base, len) == 0 && location[len] == '/'
               ? apr_pstrdup(leg->pool, location)
               : NULL;
}

const char *gb_leg_proxy(const gb_leg_t *leg)
{
    const gb_settings_t *settings = leg->conf->settings;

    return gb_proxies_pick(gb_engine_proxies(leg->engine), &settings->proxies,
                           settings->proxies_use_consistency_hash_by_api_key, leg->key.id,
                           gb_mono_now());
}

gb_transport_t gb_leg_note_proxy(gb_leg_t *leg, gb_transport_t transport)
{
    gb_proxies_t *proxies = gb_engine_proxies(leg->engine);

    if (!leg->proxy) {
        return transport;
    }
    transport = transport == GB_TRANSPORT_CONNECT ? GB_TRANSPORT_PROXY : transport;
    leg->proxy_failed = transport == GB_TRANSPORT_PROXY;
    if (leg->proxy_failed) {
        gb_proxies_failed(proxies, leg->proxy, gb_mono_now());
    }
    else if (transport == GB_TRANSPORT_OK) {
        gb_proxies_worked(proxies, leg->proxy);
    }
    return transport;
}

static int count_headers(const char *const *headers)
{
    int n = 0;

    while (headers && headers[n]) {
        n++;
    }
    return n;
}

gb_span_t gb_leg_body(const gb_leg_t *leg)
{
    const gb_plan_t *plan = leg->plan;

    if (plan->pieces) {
        return (gb_span_t){(const char *)plan->pieces, gb_pieces_len(plan->pieces)};
    }
    return plan->bodies ? plan->bodies[leg->index] : (gb_span_t){plan->body, plan->body_len};
}

static const char *const *headers_of(const gb_leg_t *leg)
{
    const gb_plan_t *plan = leg->plan;
    int extra = count_headers(leg->conf->headers);
    const char **all = apr_pcalloc(leg->pool, sizeof(*all) * (apr_size_t)(extra + 4));
    int n = 0, i;

    all[n++] = apr_pstrcat(leg->pool, plan->bearer ? BEARER_HEADER : KEY_HEADER, leg->key.secret,
                           NULL);
    all[n++] = apr_psprintf(leg->pool, "x-request-id: %s.%d", leg->conf->request_id, leg->number);
    if (plan->content_type && gb_leg_body(leg).p) {
        all[n++] = apr_pstrcat(leg->pool, "Content-Type: ", plan->content_type, NULL);
    }
    for (i = 0; i < extra; i++) {
        all[n++] = leg->conf->headers[i];
    }
    return all;
}

static apr_interval_time_t silence_of(const gb_leg_t *leg)
{
    const gb_settings_t *settings = leg->conf->settings;
    const char *own = gb_map_get(&settings->model_time_out, leg->plan->model_used);
    double seconds = 0;

    if (own) { /* as JSON: strtod would ask the process's locale for its decimal point */
        gb_json_double(gb_json_root(own, strlen(own)), &seconds);
    }
    return seconds > 0 ? (apr_interval_time_t)(seconds * APR_USEC_PER_SEC) : settings->time_out;
}

static size_t feed(void *baton, char *room, size_t size)
{
    return gb_pieces_read(&((gb_leg_t *)baton)->pieces, room, size);
}

/* A body of pieces is never sent again by curl itself: another attempt begins it anew. */
void gb_leg_request(gb_leg_t *leg, gb_call_conf_t *call)
{
    gb_span_t body = gb_leg_body(leg);

    memset(call, 0, sizeof(*call));
    call->method = leg->plan->method;
    call->url = leg->moved ? leg->moved : url_of(leg);
    call->headers = headers_of(leg);
    if (leg->plan->pieces) {
        gb_pieces_begin(&leg->pieces, leg->plan->pieces);
        call->feed = feed;
        call->feed_len = (apr_int64_t)body.len;
    }
    else {
        call->body = body.p;
        call->body_len = body.len;
    }
    call->proxy = leg->proxy;
    call->connect_timeout = leg->conf->settings->time_out_connect;
    call->silence = silence_of(leg);
    call->fresh = leg->fresh;
}
