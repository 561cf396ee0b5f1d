/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body on its way through the engine: what mod_proxy does for
 * uploads, for keys that are bound to a proxy which mod_proxy cannot use.  The
 * worker reads from the client into a ring of 256 KiB, the engine takes from it;
 * each waits for the other, so memory does not grow with the file.
 */
#include "core.h"

#include <pthread.h>
#include <stdatomic.h>

#include "http_protocol.h"
#include "util_filter.h"
#include "apr_strings.h"
#include "base/timeutil.h"
#include "upstream/call.h"
#include "upstream/proxies.h"

#define RING (256 * 1024)

/*
 * Shared by the worker, the engine's messages and the call, and freed by the last
 * of them: an engine that was taken for dead may come back.  Its memory is the
 * engine's and not the request's, whose allocator has no lock and serves the
 * connection's buckets while the worker reads.
 */
typedef struct flow_t {
    gb_engine_t *engine;
    apr_pool_t *pool; /* the engine's thread alone takes from it */
    atomic_int refs;
    gb_msg_t start, more;
    gb_call_t *call; /* the engine's */
    const char *key_id, *proxy;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t news;
    const core_feed_t *asked; /* the worker's; NULL: it has left, or the call has begun */
    apr_int64_t length;       /* -1: not known */
    core_feed_t answer;       /* the worker's to read when the call has ended */
    size_t at, len;
    int eof, broken; /* the worker has no more */
    int done;        /* the call has ended */
    char ring[RING];
} flow_t;

static void flow_unref(flow_t *flow)
{
    if (atomic_fetch_sub(&flow->refs, 1) == 1) {
        apr_pool_destroy(flow->pool);
    }
}

static apr_status_t flow_cleanup(void *data)
{
    flow_unref(data);
    return APR_SUCCESS;
}

/* A queued message keeps the flow alive until it has run. */
static apr_status_t post(flow_t *flow, gb_msg_t *msg)
{
    apr_status_t rv;

    atomic_fetch_add(&flow->refs, 1);
    rv = gb_engine_post(flow->engine, msg);
    if (rv != APR_SUCCESS) {
        flow_unref(flow);
    }
    return rv;
}

/* ---- the engine's side ---- */

static size_t give(void *baton, char *room, size_t size)
{
    flow_t *flow = baton;
    size_t n = 0;

    pthread_mutex_lock(&flow->lock);
    while (n < size && flow->len > 0) {
        size_t piece = RING - flow->at < flow->len ? RING - flow->at : flow->len;

        piece = piece < size - n ? piece : size - n;
        memcpy(room + n, flow->ring + flow->at, piece);
        flow->at = (flow->at + piece) % RING;
        flow->len -= piece;
        n += piece;
    }
    if (n == 0) {
        n = flow->broken ? GB_FEED_BREAK : flow->eof ? 0 : GB_FEED_WAIT;
    }
    pthread_cond_signal(&flow->news);
    pthread_mutex_unlock(&flow->lock);
    return n;
}

static int keep_header(void *baton, const char *name, const char *value)
{
    apr_table_add(baton, name, value);
    return 1;
}

static void on_head(void *baton, const gb_call_head_t *head)
{
    flow_t *flow = baton;

    flow->answer.status = head->status;
    flow->answer.content_type = apr_pstrdup(flow->pool, head->content_type);
    if (head->headers) {
        apr_table_do(keep_header, flow->answer.answer_headers, head->headers, NULL);
    }
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    gb_buf_append(&((flow_t *)baton)->answer.body, bytes, len);
}

/* What the call says is not always whose fault it was. */
static gb_transport_t transport_of(flow_t *flow, gb_transport_t transport)
{
    int broken;

    pthread_mutex_lock(&flow->lock);
    broken = flow->broken;
    pthread_mutex_unlock(&flow->lock);
    if (broken && transport != GB_TRANSPORT_OK) {
        return GB_TRANSPORT_CANCELLED; /* the client's */
    }
    return flow->proxy && transport == GB_TRANSPORT_CONNECT ? GB_TRANSPORT_PROXY : transport;
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    flow_t *flow = baton;

    transport = transport_of(flow, transport);
    if (transport != GB_TRANSPORT_OK) {
        gb_log(transport == GB_TRANSPORT_CANCELLED ? GB_LOG_INFO : GB_LOG_WARNING, 0,
               GBLOGNO(5006) "upload with key %s: %s", flow->key_id, detail);
    }
    if (flow->proxy && transport == GB_TRANSPORT_PROXY) {
        gb_proxies_failed(gb_engine_proxies(flow->engine), flow->proxy, gb_mono_now());
    }
    pthread_mutex_lock(&flow->lock);
    flow->call = NULL;
    flow->answer.transport = transport;
    flow->done = 1;
    pthread_cond_signal(&flow->news);
    pthread_mutex_unlock(&flow->lock);
    flow_unref(flow);
}

static const gb_call_events_t events = {on_head, on_data, on_done};

static void call_locked(flow_t *flow, const core_feed_t *asked)
{
    const gb_settings_t *settings = asked->settings;
    gb_call_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    flow->proxy = apr_pstrdup(flow->pool,
                              gb_proxies_pick(gb_engine_proxies(flow->engine), &settings->proxies,
                                              settings->proxies_use_consistency_hash_by_api_key,
                                              flow->key_id, gb_mono_now()));
    conf.method = apr_pstrdup(flow->pool, asked->method);
    conf.url = apr_pstrdup(flow->pool, asked->url);
    conf.headers = asked->headers; /* curl copies them */
    conf.feed = give;
    conf.feed_len = flow->length;
    conf.proxy = flow->proxy;
    conf.connect_timeout = settings->time_out_connect;
    conf.silence = settings->time_out;
    atomic_fetch_add(&flow->refs, 1); /* on_done's */
    flow->call = gb_call_start(flow->engine, &conf, &events, flow, flow->pool);
}

/* What was asked is the worker's, which may leave at any time: hence the lock. */
static void on_start(gb_msg_t *msg)
{
    flow_t *flow = (flow_t *)((char *)msg - offsetof(flow_t, start));

    pthread_mutex_lock(&flow->lock);
    if (flow->asked) {
        call_locked(flow, flow->asked);
        flow->asked = NULL;
    }
    pthread_mutex_unlock(&flow->lock);
    flow_unref(flow);
}

static void on_more(gb_msg_t *msg)
{
    flow_t *flow = (flow_t *)((char *)msg - offsetof(flow_t, more));

    if (flow->call) {
        gb_call_feed(flow->call);
    }
    flow_unref(flow);
}

/* ---- the worker's side ---- */

/* Until something has changed; 0: the call has ended, or the engine has and nobody will say so. */
static int wait_locked(flow_t *flow)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_cond_timedwait(&flow->news, &flow->lock, &until);
    return !flow->done && core_engine() && gb_engine_alive(flow->engine);
}

/* Waits for room; 0: the call has ended. */
static int put(flow_t *flow, const char *bytes, size_t len)
{
    int open = 1;

    while (len > 0 && open) {
        size_t end, piece;

        pthread_mutex_lock(&flow->lock);
        open = !flow->done;
        while (open && flow->len == RING) {
            open = wait_locked(flow);
        }
        end = (flow->at + flow->len) % RING;
        piece = RING - flow->len < RING - end ? RING - flow->len : RING - end;
        piece = piece < len ? piece : len;
        memcpy(flow->ring + end, bytes, piece);
        flow->len += piece;
        pthread_mutex_unlock(&flow->lock);
        bytes += piece;
        len -= piece;
        post(flow, &flow->more);
    }
    return open;
}

static apr_status_t put_brigade(flow_t *flow, apr_bucket_brigade *bb, int *ended)
{
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        const char *bytes;
        apr_size_t len;
        apr_status_t rv;

        if (APR_BUCKET_IS_EOS(b)) {
            *ended = 1;
            return APR_SUCCESS;
        }
        if (APR_BUCKET_IS_METADATA(b)) {
            continue;
        }
        rv = apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ);
        if (rv != APR_SUCCESS || !put(flow, bytes, len)) {
            return rv != APR_SUCCESS ? rv : APR_EPIPE;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t read_client(request_rec *r, flow_t *flow, int *refused)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    ap_filter_t *filter = core_body_keep_back(r, refused);
    apr_status_t rv = APR_SUCCESS;
    int ended = 0;

    while (rv == APR_SUCCESS && !ended) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 64 * 1024);
        if (rv == APR_SUCCESS) {
            rv = put_brigade(flow, bb, &ended);
        }
        apr_brigade_cleanup(bb);
    }
    ap_remove_output_filter(filter);
    return rv;
}

static void end_body(flow_t *flow, apr_status_t rv)
{
    pthread_mutex_lock(&flow->lock);
    flow->eof = rv == APR_SUCCESS;
    flow->broken = rv != APR_SUCCESS;
    pthread_mutex_unlock(&flow->lock);
    post(flow, &flow->more);
}

/* Takes the answer along; its memory is the flow's, which lives as long as the request. */
static void await_answer(flow_t *flow, core_feed_t *feed)
{
    int waits;

    pthread_mutex_lock(&flow->lock);
    for (waits = !flow->done; waits;) {
        waits = wait_locked(flow);
    }
    flow->asked = NULL;
    if (flow->done) {
        *feed = flow->answer;
    }
    else {
        feed->transport = GB_TRANSPORT_CANCELLED;
        flow->broken = 1;
        flow->eof = 0;
    }
    pthread_mutex_unlock(&flow->lock);
}

static flow_t *flow_make(request_rec *r, const core_feed_t *feed)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    apr_pool_t *pool = gb_exchange_pool(core_engine());
    flow_t *flow = apr_pcalloc(pool, sizeof(*flow));

    flow->pool = pool;
    flow->engine = core_engine();
    atomic_init(&flow->refs, 1); /* the request's */
    apr_pool_cleanup_register(r->pool, flow, flow_cleanup, apr_pool_cleanup_null);
    flow->key_id = apr_pstrdup(pool, feed->key_id);
    flow->asked = feed;
    flow->length = length                                              ? apr_atoi64(length)
                   : apr_table_get(r->headers_in, "Transfer-Encoding") ? -1
                                                                       : 0;
    flow->start.fn = on_start;
    flow->more.fn = on_more;
    pthread_mutex_init(&flow->lock, NULL);
    pthread_cond_init(&flow->news, NULL);
    flow->answer = *feed;
    flow->answer.answer_headers = apr_table_make(pool, 8);
    gb_buf_init_pool(&flow->answer.body, GB_BUF_MAX_ERROR, pool);
    return flow;
}

void core_feed_send(request_rec *r, core_feed_t *feed)
{
    flow_t *flow = core_engine() ? flow_make(r, feed) : NULL;
    apr_status_t rv;
    int refused = 0;

    if (!flow || post(flow, &flow->start) != APR_SUCCESS) {
        feed->transport = GB_TRANSPORT_CANCELLED;
        return;
    }
    rv = read_client(r, flow, &refused);
    end_body(flow, rv);
    await_answer(flow, feed);
    feed->read = rv;
    feed->refused = refused;
}
