/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/config/proxy: whether a proxy leads to the upstream, tried at this moment.
 * A call without a key goes through it; any answer of the upstream is a yes.  The
 * shapes are gemini-balance's; nothing is cached, so its two endpoints for the
 * cache have little to say.
 */
#include "core_api.h"

#include <pthread.h>

#include "apr_strings.h"
#include "base/timeutil.h"
#include "upstream/call.h"
#include "upstream/proxies.h"

APLOG_USE_MODULE(gbalance);

#define AT_ONCE  64
#define PATIENCE apr_time_from_sec(10)

/* Tries that run side by side. */
typedef struct tries_t {
    gb_engine_t *engine;
    const char *url;
    pthread_mutex_t lock; /* guards open, and what tries say */
    pthread_cond_t news;
    int open;
} tries_t;

typedef struct try_t {
    gb_msg_t start;
    tries_t *all;
    const char *proxy;
    apr_pool_t *pool; /* the engine's, until it is done */
    apr_time_t began; /* monotonic */
    int status;
    apr_interval_time_t took;
    const char *fault; /* NULL: it works */
} try_t;

/* ---- the engine's thread ---- */

static void on_head(void *baton, const gb_call_head_t *head)
{
    ((try_t *)baton)->status = head->status;
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    (void)baton;
    (void)bytes;
    (void)len;
}

static const char *fault_of(const try_t *try, gb_transport_t transport, const char *detail)
{
    if (transport != GB_TRANSPORT_OK) {
        return apr_pstrdup(try->pool, detail);
    }
    /* Without a tunnel some proxies say 401 for it, too. */
    if (try->status == HTTP_PROXY_AUTHENTICATION_REQUIRED
        || (try->status == HTTP_UNAUTHORIZED && strncmp(try->all->url, "http:", 5) == 0)) {
        return "The proxy wants another user name or password.";
    }
    return try->status < 500 ? NULL : apr_psprintf(try->pool, "It was answered %d.", try->status);
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    try_t *try = baton;
    tries_t *all = try->all;

    pthread_mutex_lock(&all->lock);
    try->took = gb_mono_now() - try->began;
    try->fault = fault_of(try, transport, detail);
    if (!try->fault) { /* calls may take it again at once */
        gb_proxies_worked(gb_engine_proxies(all->engine), try->proxy);
    }
    all->open--;
    pthread_cond_signal(&all->news);
    pthread_mutex_unlock(&all->lock);
}

static const gb_call_events_t events = {on_head, on_data, on_done};

static void on_start(gb_msg_t *msg)
{
    static const char *const no_headers[] = {NULL};
    try_t *try = (try_t *)((char *)msg - offsetof(try_t, start));
    gb_call_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.method = "GET";
    conf.url = try->all->url;
    conf.headers = no_headers;
    conf.proxy = try->proxy;
    conf.connect_timeout = conf.silence = PATIENCE;
    try->began = gb_mono_now();
    gb_call_start(try->all->engine, &conf, &events, try, try->pool);
}

/* ---- the worker ---- */

static int is_proxy(const char *url)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    size_t i;

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

static void begin(tries_t *all, try_t *try)
{
    if (!is_proxy(try->proxy)) {
        try->fault = "A proxy is http://, https:// or socks5://, with user:password@ if it wants "
                     "them, and host:port.";
        return;
    }
    try->all = all;
    try->start.fn = on_start;
    pthread_mutex_lock(&all->lock);
    all->open++;
    pthread_mutex_unlock(&all->lock);
    if (gb_engine_post(all->engine, &try->start) != APR_SUCCESS) {
        pthread_mutex_lock(&all->lock);
        all->open--;
        pthread_mutex_unlock(&all->lock);
        try->fault = "This server is stopping.";
    }
}

/* Each try ends by its own deadlines; a dead engine touches nothing any more. */
static void wait_for(tries_t *all)
{
    struct timespec until;

    pthread_mutex_lock(&all->lock);
    while (all->open > 0 && core_engine() && gb_engine_alive(all->engine)) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&all->news, &all->lock, &until);
    }
    pthread_mutex_unlock(&all->lock);
}

static void run(core_api_t *api, try_t *tries, int n)
{
    tries_t all;
    int i;

    memset(&all, 0, sizeof(all));
    all.engine = core_engine();
    all.url = apr_pstrcat(api->r->pool, core_view(api->r)->settings->base_url, "/models?pageSize=1",
                          NULL);
    pthread_mutex_init(&all.lock, NULL);
    pthread_cond_init(&all.news, NULL);
    for (i = 0; i < n; i++) {
        begin(&all, &tries[i]);
    }
    wait_for(&all);
}

/* ---- answers ---- */

static void put(gb_buf_t *out, const try_t *try)
{
    gb_buf_puts(out, "{\"proxy\":");
    gb_json_put_cstr(out, try->proxy);
    gb_buf_printf(out, ",\"is_available\":%s", try->fault ? "false" : "true");
    if (try->fault) {
        gb_buf_puts(out, ",\"response_time\":null");
    }
    else {
        gb_buf_printf(out, ",\"response_time\":%.3f", (double)try->took / APR_USEC_PER_SEC);
    }
    gb_buf_puts(out, ",\"error_message\":");
    gb_json_put_cstr(out, try->fault);
    gb_buf_printf(out, ",\"checked_at\":%.3f}", (double)apr_time_now() / APR_USEC_PER_SEC);
}

static try_t *try_make(core_api_t *api, try_t *try, const char *proxy)
{
    memset(try, 0, sizeof(*try));
    try->proxy = proxy;
    apr_pool_create(&try->pool, api->r->pool);
    return try;
}

static int cannot_run(void)
{
    return !core_engine() || !gb_engine_alive(core_engine());
}

int core_api_proxy_check(core_api_t *api)
{
    const char *proxy = gb_json_str(gb_json_get(api->body, "proxy"), NULL, api->r->pool);
    try_t one;

    if (!proxy || !*proxy) {
        return core_api_refuse(api, HTTP_BAD_REQUEST, "\"proxy\" is the URL of a proxy.");
    }
    if (cannot_run()) {
        return core_api_refuse(api, HTTP_SERVICE_UNAVAILABLE, "The engine is not running.");
    }
    run(api, try_make(api, &one, proxy), 1);
    put(&api->out, &one);
    return core_api_answer(api, HTTP_OK);
}

int core_api_proxy_check_all(core_api_t *api)
{
    gb_span_t list = gb_json_get(api->body, "proxies");
    try_t tries[AT_ONCE];
    gb_json_iter_t it;
    int n = 0, i;

    if (gb_json_kind(list) != GB_JSON_ARRAY || gb_json_count(list) > AT_ONCE) {
        return core_api_refuse(api, HTTP_BAD_REQUEST,
                               "\"proxies\" is a list of at most %d URLs of proxies.", AT_ONCE);
    }
    if (cannot_run()) {
        return core_api_refuse(api, HTTP_SERVICE_UNAVAILABLE, "The engine is not running.");
    }
    for (gb_json_iter(&it, list); gb_json_next(&it);) {
        const char *proxy = gb_json_str(it.value, NULL, api->r->pool);

        try_make(api, &tries[n++], proxy ? proxy : "");
    }
    run(api, tries, n);
    gb_buf_putc(&api->out, '[');
    for (i = 0; i < n; i++) {
        gb_buf_puts(&api->out, i ? "," : "");
        put(&api->out, &tries[i]);
    }
    gb_buf_putc(&api->out, ']');
    return core_api_answer(api, HTTP_OK);
}

int core_api_proxy_cache_stats(core_api_t *api)
{
    gb_buf_puts(&api->out, "{\"total_cached\":0,\"valid_cached\":0,\"expired_cached\":0}");
    return core_api_answer(api, HTTP_OK);
}

int core_api_proxy_clear_cache(core_api_t *api)
{
    gb_buf_puts(&api->out, "{\"success\":true,\"message\":\"Nothing is cached: every check is made "
                           "when it is asked for.\"}");
    return core_api_answer(api, HTTP_OK);
}
