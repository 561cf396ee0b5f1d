/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams of administration: answers of the engine without an upstream.
 * Who listens in this child stands in one ring; what is told goes to the engine as
 * a message, which gives it to those whom it is about.  What is worth telling is
 * the admin module's business.
 */
#include "core_session.h"

#include <pthread.h>
#include <stdlib.h>

#include "http_core.h"
#include "apr_ring.h"
#include "apr_strings.h"
#include "base/timeutil.h"

APLOG_USE_MODULE(gbalance);

#define LIFE apr_time_from_sec(600)

typedef struct listener_t {
    gb_teller_t teller; /* first */
    APR_RING_ENTRY(listener_t) link;
    gb_exchange_conf_t conf;
    gb_exchange_t *x;
    const char *topic, *first, *vhost;
    int session;      /* 0: not by a session */
    apr_time_t until; /* monotonic */
} listener_t;

typedef APR_RING_HEAD(listeners_t, listener_t) listeners_t;

/* Of this process.  The engine changes the ring; others only look, hence the lock. */
static struct {
    pthread_mutex_t lock;
    listeners_t ring;
    int is_made;
    apr_uint32_t joined;
} ears = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void ring_make_locked(void)
{
    if (!ears.is_made) {
        APR_RING_INIT(&ears.ring, listener_t, link);
        ears.is_made = 1;
    }
}

/* ---- the engine's thread ---- */

static void listener_start(gb_teller_t *teller, gb_exchange_t *x)
{
    listener_t *listener = (listener_t *)teller;

    pthread_mutex_lock(&ears.lock);
    ring_make_locked();
    APR_RING_INSERT_TAIL(&ears.ring, listener, listener_t, link);
    ears.joined++;
    pthread_mutex_unlock(&ears.lock);
    gb_exchange_give(x, listener->first, strlen(listener->first));
}

static void listener_end(gb_teller_t *teller)
{
    listener_t *listener = (listener_t *)teller;

    pthread_mutex_lock(&ears.lock);
    APR_RING_REMOVE(listener, link);
    pthread_mutex_unlock(&ears.lock);
}

static int may_listen(const listener_t *listener)
{
    return gb_mono_now() < listener->until
           && (!listener->session || core_session_lives(listener->vhost, listener->session));
}

typedef struct news_t {
    gb_msg_t msg; /* first */
    char *topic, *text;
} news_t;

static void give(listener_t *listener, const news_t *news)
{
    if (!may_listen(listener)) {
        gb_exchange_finish(listener->x);
    }
    else if (strcmp(listener->topic, news->topic) == 0) {
        gb_exchange_give(listener->x, news->text, strlen(news->text));
    }
}

static void news_free(news_t *news)
{
    free(news->topic);
    free(news->text);
    free(news);
}

/* Only this thread changes the ring, and giving may end no other listener than this one. */
static void on_news(gb_msg_t *msg)
{
    news_t *news = (news_t *)msg;
    listener_t *listener, *next;

    if (ears.is_made) {
        for (listener = APR_RING_FIRST(&ears.ring);
             listener != APR_RING_SENTINEL(&ears.ring, listener_t, link); listener = next) {
            next = APR_RING_NEXT(listener, link);
            give(listener, news);
        }
    }
    news_free(news);
}

/* ---- any thread ---- */

void core_events_tell(const char *topic, const char *text)
{
    news_t *news = calloc(1, sizeof(*news));

    if (!news || !core_engine()) {
        free(news);
        return;
    }
    news->msg.fn = on_news;
    news->topic = strdup(topic);
    news->text = strdup(text);
    if (!news->topic || !news->text || gb_engine_post(core_engine(), &news->msg) != APR_SUCCESS) {
        news_free(news);
    }
}

int core_events_listeners(const char *topic, apr_uint32_t *joined)
{
    listener_t *listener;
    int n = 0;

    pthread_mutex_lock(&ears.lock);
    if (joined) {
        *joined = ears.joined;
    }
    if (ears.is_made) {
        for (listener = APR_RING_FIRST(&ears.ring);
             listener != APR_RING_SENTINEL(&ears.ring, listener_t, link);
             listener = APR_RING_NEXT(listener, link)) {
            n += strcmp(listener->topic, topic) == 0;
        }
    }
    pthread_mutex_unlock(&ears.lock);
    return n;
}

/* ---- a worker ---- */

static const gb_dialect_t dialect = {.name = "events"};

static gb_plan_t *plan_make(apr_pool_t *pool)
{
    gb_plan_t *plan = apr_pcalloc(pool, sizeof(*plan));

    plan->pool = pool;
    plan->dialect = &dialect;
    plan->stream_type = "text/event-stream";
    return plan;
}

int core_events_start(request_rec *r, const gb_admin_t *admin, const char *topic, const char *text)
{
    static const char *const no_headers[] = {NULL};
    const core_view_t *view = core_view(r);
    listener_t *listener;
    apr_pool_t *pool;

    if (!core_engine() || !gb_engine_alive(core_engine())) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    pool = gb_exchange_pool(core_engine());
    core_view_keep(view, pool);
    listener = apr_pcalloc(pool, sizeof(*listener));
    listener->teller.start = listener_start;
    listener->teller.end = listener_end;
    listener->topic = apr_pstrdup(pool, topic);
    listener->first = apr_pstrdup(pool, text);
    listener->vhost = apr_pstrdup(pool, core_conf_get(r->server)->vhost);
    listener->session = admin->session;
    listener->until = gb_mono_now() + LIFE;
    listener->conf.teller = &listener->teller;
    listener->conf.host = core_host();
    listener->conf.settings = view->settings;
    listener->conf.pool_name = listener->topic;
    listener->conf.request_id = apr_pstrdup(pool, core_request_get(r)->request_id);
    listener->conf.headers = no_headers;
    listener->x = gb_exchange_make(core_engine(), &listener->conf, plan_make(pool), pool);
    return core_park_possible(r) ? core_park(r, listener->x) : core_wait(r, listener->x);
}
