/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetcher: one guarded call for each URL, side by side; the first that
 * fails ends all (see fetch.h).
 */
#include "upstream/fetch.h"

#include <string.h>

#include <apr_strings.h>

#include "base/netaddr.h"
#include "upstream/call.h"

#define CONNECT_TIME apr_time_from_sec(5)
#define REDIRECTS    3

typedef struct item_t {
    gb_fetcher_t *fetcher;
    gb_fetch_t *fetch;
    gb_call_t *call; /* NULL once it has ended */
    gb_buf_t buf;
    int status;
} item_t;

struct gb_fetcher_t {
    gb_engine_t *engine;
    const gb_settings_t *settings;
    gb_fetch_done_fn *done; /* NULL: cancelled or told */
    void *baton;
    item_t *items;
    int n, left;
    size_t total;
    gb_timer_t timer; /* the deadline; also news from inside a callback */
    gb_error_t err;   /* status 0: none */
};

/* ---- the end ---- */

static void stop_calls(gb_fetcher_t *fetcher)
{
    int i;

    gb_timer_cancel(fetcher->engine, &fetcher->timer);
    for (i = 0; i < fetcher->n; i++) {
        if (fetcher->items[i].call) {
            gb_call_cancel(fetcher->items[i].call);
            fetcher->items[i].call = NULL;
        }
    }
}

static void finish(gb_fetcher_t *fetcher)
{
    gb_fetch_done_fn *done = fetcher->done;

    stop_calls(fetcher);
    fetcher->done = NULL;
    if (done) {
        done(fetcher->baton, fetcher->err.status ? &fetcher->err : NULL);
    }
}

/* Told in the next turn: a curl callback may be running. */
static void fail(item_t *item, const char *why)
{
    gb_fetcher_t *fetcher = item->fetcher;

    if (!fetcher->err.status) {
        gb_error_set(&fetcher->err, 400, "invalid_image_url", item->fetch->param,
                     "What stands at the URL could not be fetched: %s. Send the data itself, as a "
                     "data: URL.",
                     why);
        gb_timer_set(fetcher->engine, &fetcher->timer, 0);
    }
}

static void on_timer(gb_timer_t *timer)
{
    gb_fetcher_t *fetcher = (gb_fetcher_t *)((char *)timer - offsetof(gb_fetcher_t, timer));
    int i;

    for (i = 0; !fetcher->err.status && i < fetcher->n; i++) {
        if (fetcher->items[i].call) {
            fail(&fetcher->items[i], "it took too long");
        }
    }
    finish(fetcher);
}

/* ---- the calls ---- */

/* Whether a connection to this address may be made. */
static int guard(void *baton, const struct sockaddr *addr)
{
    const gb_fetcher_t *fetcher = ((const item_t *)baton)->fetcher;

    return gb_addr_is_public(addr) || gb_addr_in(&fetcher->settings->image_fetch_allow, addr);
}

static void on_head(void *baton, const gb_call_head_t *head)
{
    item_t *item = baton;

    item->status = head->status;
    if (head->status != 200) {
        fail(item, apr_psprintf(item->buf.pool, "its server answered %d", head->status));
    }
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    item_t *item = baton;

    item->fetcher->total += len;
    if (item->fetcher->total > GB_FETCH_MAX_BYTES
        || gb_buf_append(&item->buf, bytes, len) != APR_SUCCESS) {
        fail(item, "it is too large");
    }
}

static const char *reason(gb_transport_t transport)
{
    switch (transport) {
    case GB_TRANSPORT_CONNECT:
        return "its server cannot be reached, or is not at a public address";
    case GB_TRANSPORT_TLS:
        return "its certificate is not valid";
    case GB_TRANSPORT_TIMEOUT:
        return "it took too long";
    case GB_TRANSPORT_OK:
    case GB_TRANSPORT_PROXY:
    case GB_TRANSPORT_STALE:
    case GB_TRANSPORT_RESET:
    case GB_TRANSPORT_CANCELLED:
    case GB_TRANSPORT_TOO_LARGE:
        break;
    }
    return "the connection broke off";
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    item_t *item = baton;
    gb_fetcher_t *fetcher = item->fetcher;

    (void)detail;
    item->call = NULL;
    if (transport == GB_TRANSPORT_CANCELLED) {
        fetcher->done = NULL; /* the engine ends: its drains tell everybody */
        return;
    }
    if (transport != GB_TRANSPORT_OK) {
        fail(item, reason(transport));
        return;
    }
    item->fetch->bytes = item->buf.data ? item->buf.data : "";
    item->fetch->len = item->buf.len;
    if (--fetcher->left == 0) {
        finish(fetcher);
    }
}

static const gb_call_events_t events = {on_head, on_data, on_done};

static void start_item(gb_fetcher_t *fetcher, item_t *item, apr_pool_t *pool)
{
    static const char *const headers[] = {"Accept: image/*, audio/*, video/*, application/pdf, */*",
                                          NULL};
    gb_call_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.method = "GET";
    conf.url = item->fetch->url;
    conf.headers = headers;
    conf.connect_timeout = CONNECT_TIME;
    conf.silence = GB_FETCH_MAX_TIME;
    conf.redirects = REDIRECTS;
    conf.guard = guard;
    item->call = gb_call_start(fetcher->engine, &conf, &events, item, pool);
}

gb_fetcher_t *gb_fetch_start(gb_engine_t *engine, gb_plan_t *plan, const gb_settings_t *settings,
                             gb_fetch_done_fn *done, void *baton)
{
    gb_fetcher_t *fetcher = apr_pcalloc(plan->pool, sizeof(*fetcher));
    int i;

    fetcher->engine = engine;
    fetcher->settings = settings;
    fetcher->done = done;
    fetcher->baton = baton;
    fetcher->n = fetcher->left = plan->fetches->nelts;
    fetcher->items = apr_pcalloc(plan->pool, sizeof(item_t) * (apr_size_t)fetcher->n);
    fetcher->timer.fn = on_timer;
    gb_timer_set(engine, &fetcher->timer, GB_FETCH_MAX_TIME);
    for (i = 0; i < fetcher->n; i++) {
        item_t *item = &fetcher->items[i];

        item->fetcher = fetcher;
        item->fetch = &APR_ARRAY_IDX(plan->fetches, i, gb_fetch_t);
        gb_buf_init_pool(&item->buf, GB_FETCH_MAX_BYTES, plan->pool);
        start_item(fetcher, item, plan->pool);
    }
    return fetcher;
}

void gb_fetch_cancel(gb_fetcher_t *fetcher)
{
    fetcher->done = NULL;
    stop_calls(fetcher);
}
