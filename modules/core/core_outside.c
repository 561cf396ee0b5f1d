/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What administration asks the outside world for, while a worker waits: Google's
 * list of models as this pool sees it, an answer to one message, and whether proxies
 * lead to the upstream.
 * A worker that has waited long enough goes; what it waited for is freed by
 * whoever is last.
 */
#include "core_live.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "apr_strings.h"
#include "base/timeutil.h"
#include "proto/openai.h"
#include "upstream/call.h"
#include "upstream/proxies.h"

APLOG_USE_MODULE(gbalance);

#define PATIENCE apr_time_from_sec(30)
#define SILENCE  apr_time_from_sec(15)

/* ---- waiting ---- */

/* Between a worker and the engine; from malloc, since either may be the last. */
typedef struct errand_t {
    pthread_mutex_t lock;
    pthread_cond_t came;
    int refs, left; /* left: answers that are still to come */
    int status;
    char *body;
    int n;
    struct result_t {
        int works;
        apr_interval_time_t took;
        char why[200];
    } results[GB_PROXY_CHECKS];
} errand_t;

static errand_t *errand_make(int left)
{
    errand_t *errand = calloc(1, sizeof(*errand));
    pthread_condattr_t attr;

    if (!errand) {
        abort();
    }
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&errand->lock, NULL);
    pthread_cond_init(&errand->came, &attr);
    pthread_condattr_destroy(&attr);
    errand->refs = left + 1;
    errand->n = errand->left = left;
    return errand;
}

static void errand_unref(errand_t *errand)
{
    int refs;

    pthread_mutex_lock(&errand->lock);
    refs = --errand->refs;
    pthread_mutex_unlock(&errand->lock);
    if (!refs) {
        pthread_mutex_destroy(&errand->lock);
        pthread_cond_destroy(&errand->came);
        free(errand->body);
        free(errand);
    }
}

/* One of the answers has come, and is written. */
static void errand_came(errand_t *errand)
{
    pthread_mutex_lock(&errand->lock);
    if (--errand->left == 0) {
        pthread_cond_signal(&errand->came);
    }
    pthread_mutex_unlock(&errand->lock);
    errand_unref(errand);
}

static void errand_await(errand_t *errand)
{
    apr_time_t until = gb_mono_now() + PATIENCE;
    struct timespec at = {.tv_sec = (time_t)apr_time_sec(until),
                          .tv_nsec = (long)apr_time_usec(until) * 1000};

    while (errand->left && pthread_cond_timedwait(&errand->came, &errand->lock, &at) == 0) {
    }
}

/* ---- calls of our own: models, a chat ---- */

/* The engine's thread. */
static void inner_came(void *baton, int status, const char *body, apr_size_t len)
{
    errand_t *errand = baton;

    pthread_mutex_lock(&errand->lock);
    errand->status = status;
    errand->body = strndup(body, len);
    pthread_mutex_unlock(&errand->lock);
    errand_came(errand);
}

/* chat: the body of a call of /chat/completions, NULL: the list of models. */
static apr_status_t inner_start(const char *pool_name, const char *chat, errand_t *errand)
{
    apr_pool_t *pool = gb_exchange_pool(core_engine());
    core_inner_t call;
    gb_request_t request;

    memset(&call, 0, sizeof(call));
    memset(&request, 0, sizeof(request));
    request.method = chat ? "POST" : "GET";
    request.path = chat ? "/chat/completions" : "/models";
    request.body = apr_pstrdup(pool, chat ? chat : "");
    request.body_len = strlen(request.body);
    request.now = apr_time_now();
    call.purpose = chat ? CORE_PLAY_CALLER : "models";
    call.caller = chat ? CORE_PLAY_CALLER : NULL;
    call.pool_name = pool_name;
    call.settings = core_live_pool(pool_name, pool);
    call.host = core_host();
    call.dialect = &gb_openai_dialect;
    call.request = &request;
    call.done = inner_came;
    call.baton = errand;
    return core_inner_start(&call, pool);
}

static int ask(request_rec *r, const char *pool, const char *chat, const char **body)
{
    errand_t *errand;
    int status;

    *body = "";
    if (!core_engine() || !core_pool_settings(pool)) {
        return 0;
    }
    errand = errand_make(1);
    if (inner_start(pool, chat, errand) != APR_SUCCESS) {
        errand_came(errand);
    }
    pthread_mutex_lock(&errand->lock);
    errand_await(errand);
    status = errand->status;
    *body = apr_pstrdup(r->pool, errand->body ? errand->body : "");
    pthread_mutex_unlock(&errand->lock);
    errand_unref(errand);
    return status;
}

int core_models_ask(request_rec *r, const char *pool, const char **body)
{
    return ask(r, pool, NULL, body);
}

int core_chat_ask(request_rec *r, const char *pool, const char *chat, const char **body)
{
    return ask(r, pool, chat, body);
}

/* ---- proxies ---- */

typedef struct check_t {
    gb_msg_t msg; /* first: the start, then the end */
    apr_pool_t *pool;
    errand_t *errand;
    struct result_t *result;
    gb_call_conf_t conf;
    apr_time_t began;
    int status;
} check_t;

static void check_free(gb_msg_t *msg)
{
    apr_pool_destroy(((check_t *)msg)->pool);
}

static void check_head(void *baton, const gb_call_head_t *head)
{
    ((check_t *)baton)->status = head->status;
}

static void check_data(void *baton, const char *bytes, size_t len)
{
    (void)baton;
    (void)bytes;
    (void)len;
}

/* Any answer of the upstream's will do, above all that a key is missing; NULL: it is one. */
static const char *fault_of(const check_t *check, gb_transport_t transport, const char *detail)
{
    if (transport != GB_TRANSPORT_OK) {
        return detail && *detail ? detail : "There was no answer.";
    }
    /* Without a tunnel some proxies say 401 for it, too. */
    if (check->status == HTTP_PROXY_AUTHENTICATION_REQUIRED
        || (check->status == HTTP_UNAUTHORIZED && strncmp(check->conf.url, "http:", 5) == 0)) {
        return "The proxy wants another user name or password.";
    }
    return check->status < 500 ? NULL
                               : apr_psprintf(check->pool, "It was answered %d.", check->status);
}

static void check_done(void *baton, gb_transport_t transport, const char *detail)
{
    check_t *check = baton;
    struct result_t *result = check->result;
    const char *fault = fault_of(check, transport, detail);

    if (!fault) { /* calls may take it again at once */
        gb_proxies_worked(gb_engine_proxies(core_engine()), check->conf.proxy);
    }
    pthread_mutex_lock(&check->errand->lock);
    result->took = gb_mono_now() - check->began;
    result->works = !fault;
    apr_cpystrn(result->why, fault ? fault : "", sizeof(result->why));
    pthread_mutex_unlock(&check->errand->lock);
    errand_came(check->errand);
    check->msg.fn = check_free; /* the call is still on the stack */
    gb_engine_post(core_engine(), &check->msg);
}

static const gb_call_events_t check_events = {check_head, check_data, check_done};

static void check_start(gb_msg_t *msg)
{
    check_t *check = (check_t *)msg;

    check->began = gb_mono_now();
    gb_call_start(core_engine(), &check->conf, &check_events, check, check->pool);
}

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

static void check_send(const gb_settings_t *settings, const char *proxy, errand_t *errand,
                       struct result_t *result)
{
    static const char *const no_headers[] = {NULL};
    apr_pool_t *pool;
    check_t *check;

    if (!is_proxy(proxy)) {
        apr_cpystrn(result->why,
                    "A proxy is http://, https:// or socks5://, with user:password@ if it wants "
                    "them, and host:port.",
                    sizeof(result->why));
        errand_came(errand);
        return;
    }
    pool = gb_exchange_pool(core_engine());
    check = apr_pcalloc(pool, sizeof(*check));
    check->msg.fn = check_start;
    check->pool = pool;
    check->errand = errand;
    check->result = result;
    check->conf.method = "GET";
    check->conf.url = apr_pstrcat(pool, settings->base_url, "/models?pageSize=1", NULL);
    check->conf.headers = no_headers;
    check->conf.proxy = apr_pstrdup(pool, proxy);
    check->conf.connect_timeout = settings->time_out_connect;
    check->conf.silence = SILENCE;
    if (gb_engine_post(core_engine(), &check->msg) != APR_SUCCESS) {
        apr_pool_destroy(pool);
        errand_came(errand);
    }
}

void core_proxies_check(request_rec *r, gb_proxy_check_t *checks, int n)
{
    const gb_settings_t *settings = core_view(r)->settings;
    errand_t *errand;
    int i;

    n = n < GB_PROXY_CHECKS ? n : GB_PROXY_CHECKS;
    if (!core_engine()) {
        return;
    }
    errand = errand_make(n);
    for (i = 0; i < n; i++) {
        check_send(settings, checks[i].proxy, errand, &errand->results[i]);
    }
    pthread_mutex_lock(&errand->lock);
    errand_await(errand);
    for (i = 0; i < n; i++) {
        const struct result_t *result = &errand->results[i];

        checks[i].works = result->works;
        checks[i].took = result->took;
        checks[i].why = apr_pstrdup(r->pool, *result->why || result->works
                                                 ? result->why
                                                 : "There was no answer within 30 seconds.");
    }
    pthread_mutex_unlock(&errand->lock);
    errand_unref(errand);
}
