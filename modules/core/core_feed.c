/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body on its way through the engine: what mod_proxy does for
 * uploads, for keys that are bound to a proxy which mod_proxy cannot use.  The
 * worker reads from the client into a ring of 256 KiB, the engine takes from it;
 * each waits for the other, so memory does not grow with the file.
 */
#include "core.h"

#include <pthread.h>

#include "http_protocol.h"
#include "util_filter.h"
#include "apr_strings.h"
#include "base/timeutil.h"
#include "upstream/call.h"
#include "upstream/proxies.h"

#define RING (256 * 1024)

/* Shared by the worker and the engine's thread until both have let go. */
typedef struct flow_t {
    core_feed_t *feed;
    gb_engine_t *engine;
    apr_pool_t *pool;
    apr_int64_t length; /* -1: not known */
    gb_msg_t start, more, last;
    gb_call_t *call; /* the engine's */
    const char *proxy;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t news;
    size_t at, len;
    int eof, broken; /* the worker has no more */
    int done, gone;  /* the call has ended; the engine will not come back */
    char ring[RING];
} flow_t;

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
    core_feed_t *feed = ((flow_t *)baton)->feed;

    feed->status = head->status;
    feed->content_type = apr_pstrdup(((flow_t *)baton)->pool, head->content_type);
    if (head->headers) {
        apr_table_do(keep_header, feed->answer_headers, head->headers, NULL);
    }
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    gb_buf_append(&((flow_t *)baton)->feed->body, bytes, len);
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    flow_t *flow = baton;

    if (transport != GB_TRANSPORT_OK) {
        gb_log(GB_LOG_WARNING, 0, GBLOGNO(5006) "upload with key %s: %s", flow->feed->key_id,
               detail);
    }
    if (flow->proxy && (transport == GB_TRANSPORT_CONNECT || transport == GB_TRANSPORT_PROXY)) {
        gb_proxies_failed(gb_engine_proxies(flow->engine), flow->proxy, gb_mono_now());
    }
    pthread_mutex_lock(&flow->lock);
    flow->call = NULL;
    flow->feed->transport = transport;
    flow->done = 1;
    pthread_cond_signal(&flow->news);
    pthread_mutex_unlock(&flow->lock);
}

static const gb_call_events_t events = {on_head, on_data, on_done};

static void on_start(gb_msg_t *msg)
{
    flow_t *flow = (flow_t *)((char *)msg - offsetof(flow_t, start));
    const gb_settings_t *settings = flow->feed->settings;
    gb_call_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    flow->proxy = gb_proxies_pick(gb_engine_proxies(flow->engine), &settings->proxies,
                                  settings->proxies_use_consistency_hash_by_api_key,
                                  flow->feed->key_id, gb_mono_now());
    conf.method = "POST";
    conf.url = flow->feed->url;
    conf.headers = flow->feed->headers;
    conf.feed = give;
    conf.feed_len = flow->length;
    conf.proxy = flow->proxy;
    conf.connect_timeout = settings->time_out_connect;
    conf.silence = settings->time_out;
    flow->call = gb_call_start(flow->engine, &conf, &events, flow, flow->pool);
}

static void on_more(gb_msg_t *msg)
{
    flow_t *flow = (flow_t *)((char *)msg - offsetof(flow_t, more));

    if (flow->call) {
        gb_call_feed(flow->call);
    }
}

static void on_last(gb_msg_t *msg)
{
    flow_t *flow = (flow_t *)((char *)msg - offsetof(flow_t, last));

    pthread_mutex_lock(&flow->lock);
    flow->gone = 1;
    pthread_cond_signal(&flow->news);
    pthread_mutex_unlock(&flow->lock);
}

/* ---- the worker's side ---- */

/* Waits for room; 0: the call has ended. */
static int put(flow_t *flow, const char *bytes, size_t len)
{
    int open = 1;

    while (len > 0 && open) {
        size_t end, piece;

        pthread_mutex_lock(&flow->lock);
        while (flow->len == RING && !flow->done) {
            pthread_cond_wait(&flow->news, &flow->lock);
        }
        open = !flow->done;
        end = (flow->at + flow->len) % RING;
        piece = RING - flow->len < RING - end ? RING - flow->len : RING - end;
        piece = piece < len ? piece : len;
        memcpy(flow->ring + end, bytes, piece);
        flow->len += piece;
        pthread_mutex_unlock(&flow->lock);
        bytes += piece;
        len -= piece;
        gb_engine_post(flow->engine, &flow->more);
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

static apr_status_t read_client(request_rec *r, flow_t *flow)
{
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_status_t rv = APR_SUCCESS;
    int ended = 0;

    while (rv == APR_SUCCESS && !ended) {
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, 64 * 1024);
        if (rv == APR_SUCCESS) {
            rv = put_brigade(flow, bb, &ended);
        }
        apr_brigade_cleanup(bb);
    }
    return rv;
}

/* A dead engine touches nothing any more. */
static void wait_for(flow_t *flow, const int *flag)
{
    struct timespec until;

    pthread_mutex_lock(&flow->lock);
    while (!*flag && core_engine() && gb_engine_alive(flow->engine)) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&flow->news, &flow->lock, &until);
    }
    pthread_mutex_unlock(&flow->lock);
}

static void end_body(flow_t *flow, apr_status_t rv)
{
    pthread_mutex_lock(&flow->lock);
    flow->eof = rv == APR_SUCCESS;
    flow->broken = rv != APR_SUCCESS;
    pthread_mutex_unlock(&flow->lock);
    gb_engine_post(flow->engine, &flow->more);
}

static flow_t *flow_make(request_rec *r, core_feed_t *feed)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    flow_t *flow = apr_pcalloc(r->pool, sizeof(*flow));

    flow->feed = feed;
    flow->engine = core_engine();
    flow->pool = r->pool;
    flow->length = length                                              ? apr_atoi64(length)
                   : apr_table_get(r->headers_in, "Transfer-Encoding") ? -1
                                                                       : 0;
    flow->start.fn = on_start;
    flow->more.fn = on_more;
    flow->last.fn = on_last;
    pthread_mutex_init(&flow->lock, NULL);
    pthread_cond_init(&flow->news, NULL);
    feed->answer_headers = apr_table_make(r->pool, 8);
    gb_buf_init_pool(&feed->body, GB_BUF_MAX_ERROR, r->pool);
    return flow;
}

/*
 * The worker takes no memory from the request's pool while the engine may; the
 * brigades' own allocator is the connection's.
 */
void core_feed_send(request_rec *r, core_feed_t *feed)
{
    flow_t *flow = flow_make(r, feed);
    apr_status_t rv;

    if (apr_pool_create(&flow->pool, r->pool) != APR_SUCCESS
        || gb_engine_post(flow->engine, &flow->start) != APR_SUCCESS) {
        feed->transport = GB_TRANSPORT_CANCELLED;
        return;
    }
    rv = read_client(r, flow);
    end_body(flow, rv);
    wait_for(flow, &flow->done);
    /* what was posted before has run when this one has */
    if (gb_engine_post(flow->engine, &flow->last) == APR_SUCCESS) {
        wait_for(flow, &flow->gone);
    }
}
