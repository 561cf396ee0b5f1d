/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter of pictures (see gallery.h).  What it hands on are whole events,
 * because a heartbeat may follow any of them.
 */
#include "upstream/gallery.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "base/log.h"
#include "upstream/hosting.h"

#define MAX_OUT ((size_t)2 * GB_BUF_MAX_ANSWER)

typedef struct gallery_t gallery_t;

/* One picture, from the first time that its mark is seen. */
typedef struct shown_t {
    gallery_t *gallery;
    const gb_upload_t *upload;
    gb_hosting_t *hosting; /* NULL: it is settled */
    const char *url;       /* NULL: it goes as a data URL */
} shown_t;

struct gallery_t {
    gb_sink_t sink; /* first */
    gb_sink_t *next;
    gb_exchange_t *x;
    gb_engine_t *engine;
    const gb_plan_t *plan;
    apr_array_header_t *shown; /* of shown_t *, by number; NULL: not seen yet */
    gb_buf_t own;              /* an event, or a whole answer, with its addresses */
    size_t sent;               /* of own */
    gb_head_t head;            /* of a whole answer: sinks keep what they are given */
    size_t stands_for;         /* bytes of the exchange's, once own has gone out; 0: own is empty */
};

static gallery_t *gallery_of(gb_sink_t *sink)
{
    return (gallery_t *)sink;
}

/* ---- marks ---- */

/* The next mark; *upload is its picture, *len its length. */
static const char *mark_find(const gallery_t *g, const char *bytes, size_t len, int *number,
                             size_t *mark_len)
{
    const apr_array_header_t *uploads = g->plan->uploads;
    const char *at = uploads != NULL && uploads->nelts > 0
                         ? memmem(bytes, len, g->plan->mark, strlen(g->plan->mark))
                         : NULL;

    for (*number = 0; at != NULL && *number < uploads->nelts; ++*number) {
        const char *mark = APR_ARRAY_IDX(uploads, *number, gb_upload_t).mark;

        *mark_len = strlen(mark);
        if ((size_t)(bytes + len - at) >= *mark_len && memcmp(at, mark, *mark_len) == 0) {
            return at;
        }
    }
    return NULL;
}

static void on_hosted(void *baton, const char *url, const char *why)
{
    shown_t *shown = baton;
    const gb_exchange_conf_t *conf = gb_exchange_conf(shown->gallery->x);

    shown->hosting = NULL;
    shown->url = url;
    if (url == NULL) {
        gb_log(
            GB_LOG_WARNING, 0,
            GBLOGNO(5012) "req %s: a picture was not put on %s (UPLOAD_PROVIDER): %s; the client "
                          "gets it as a data URL",
            conf->request_id, conf->settings->upload_provider, why);
    }
    gb_exchange_wake(shown->gallery->x);
}

static shown_t *shown_get(gallery_t *g, int number)
{
    const gb_exchange_conf_t *conf = gb_exchange_conf(g->x);
    apr_pool_t *pool = gb_exchange_own_pool(g->x);
    shown_t *shown;

    while (g->shown->nelts <= number) {
        APR_ARRAY_PUSH(g->shown, shown_t *) = NULL;
    }
    if ((shown = APR_ARRAY_IDX(g->shown, number, shown_t *)) == NULL) {
        shown = apr_pcalloc(pool, sizeof(*shown));
        shown->gallery = g;
        shown->upload = &APR_ARRAY_IDX(g->plan->uploads, number, gb_upload_t);
        shown->upload = apr_pmemdup(pool, shown->upload, sizeof(*shown->upload));
        APR_ARRAY_IDX(g->shown, number, shown_t *) = shown;
        shown->hosting = gb_hosting_start(g->engine, shown->upload, conf->settings, conf->shelf,
                                          on_hosted, shown, pool);
    }
    return shown;
}

/* Whether all pictures of these bytes are settled; begins with those that were not seen yet. */
static int settled(gallery_t *g, const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len;
    size_t mark_len = 0;
    int number, all = 1;

    while ((at = mark_find(g, at, (size_t)(end - at), &number, &mark_len)) != NULL) {
        all &= shown_get(g, number)->hosting == NULL;
        at += mark_len;
    }
    return all;
}

static void address_put(gb_buf_t *out, const shown_t *shown)
{
    if (shown->url != NULL) {
        gb_json_put_escaped(out, shown->url, strlen(shown->url));
        return;
    }
    gb_buf_puts(out, "data:");
    gb_json_put_escaped(out, shown->upload->type.p, shown->upload->type.len);
    gb_buf_puts(out, ";base64,");
    gb_buf_append(out, shown->upload->data.p, shown->upload->data.len);
}

/* The same bytes with addresses, as g->own. */
static apr_status_t rewrite(gallery_t *g, const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len, *mark;
    size_t mark_len = 0;
    int number;

    while ((mark = mark_find(g, at, (size_t)(end - at), &number, &mark_len)) != NULL) {
        gb_buf_append(&g->own, at, (size_t)(mark - at));
        address_put(&g->own, shown_get(g, number));
        at = mark + mark_len;
    }
    gb_buf_append(&g->own, at, (size_t)(end - at));
    g->stands_for = len;
    return g->own.rv;
}

/* ---- what passes ---- */

static void gallery_start(gb_sink_t *sink)
{
    gallery_t *g = gallery_of(sink);

    g->next->start(g->next);
}

/* An answer that is whole already. */
static apr_status_t begin_whole(gallery_t *g, gb_head_t *head)
{
    apr_status_t rv = APR_SUCCESS;

    if (g->stands_for == 0) {
        if (!settled(g, head->body, (size_t)head->content_length)) {
            return APR_EAGAIN;
        }
        rv = rewrite(g, head->body, (size_t)head->content_length);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    g->head = *head;
    g->head.body = g->own.data;
    g->head.content_length = (apr_int64_t)g->own.len;
    rv = g->next->begin(g->next, &g->head);
    head->taken = g->head.taken;
    return rv;
}

static apr_status_t gallery_begin(gb_sink_t *sink, gb_head_t *head)
{
    gallery_t *g = gallery_of(sink);
    size_t mark_len;
    int number;

    return head->body != NULL && head->content_length > 0
                   && (g->stands_for > 0
                       || mark_find(g, head->body, (size_t)head->content_length, &number, &mark_len)
                              != NULL)
               ? begin_whole(g, head)
               : g->next->begin(g->next, head);
}

/* What is left of our own bytes; then they count as taken. */
static apr_status_t own_give(gallery_t *g, apr_size_t *taken)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && g->sent < g->own.len) {
        apr_size_t n = 0;

        rv = g->next->data(g->next, g->own.data + g->sent, g->own.len - g->sent, &n);
        g->sent += n;
    }
    if (g->sent == g->own.len) {
        *taken += g->stands_for;
        g->stands_for = g->sent = 0;
        gb_buf_reset(&g->own);
    }
    return rv;
}

/* Where the event begins in which at stands, and where it ends. */
static size_t event_begin(const char *bytes, size_t at)
{
    while (at >= 2 && memcmp(bytes + at - 2, "\n\n", 2) != 0) {
        at--;
    }
    return at >= 2 ? at : 0;
}

static size_t event_end(const char *bytes, size_t at, size_t len)
{
    const char *end = memmem(bytes + at, len - at, "\n\n", 2);

    return end != NULL ? (size_t)(end + 2 - bytes) : len;
}

/* One step: what stands before a picture's event, or that event. */
static apr_status_t pass(gallery_t *g, const char *bytes, apr_size_t len, apr_size_t *taken)
{
    size_t mark_len = 0, from, to;
    int number;
    const char *mark = mark_find(g, bytes, len, &number, &mark_len);
    apr_status_t rv;

    if (mark == NULL) {
        return g->next->data(g->next, bytes, len, taken);
    }
    from = event_begin(bytes, (size_t)(mark - bytes));
    if (from > 0) {
        return g->next->data(g->next, bytes, from, taken);
    }
    to = event_end(bytes, (size_t)(mark - bytes), len);
    if (!settled(g, bytes, to)) {
        return APR_EAGAIN; /* on_hosted wakes the exchange */
    }
    rv = rewrite(g, bytes, to);
    return rv == APR_SUCCESS ? own_give(g, taken) : rv;
}

static apr_status_t gallery_data(gb_sink_t *sink, const char *bytes, apr_size_t len,
                                 apr_size_t *taken)
{
    gallery_t *g = gallery_of(sink);
    apr_status_t rv = g->stands_for > 0 ? own_give(g, taken) : APR_SUCCESS;

    while (rv == APR_SUCCESS && *taken < len) {
        apr_size_t n = 0;

        rv = pass(g, bytes + *taken, len - *taken, &n);
        *taken += n;
        if (n == 0) {
            break;
        }
    }
    return rv;
}

static void gallery_end(gb_sink_t *sink, apr_status_t rv)
{
    gallery_t *g = gallery_of(sink);
    int i;

    for (i = 0; i < g->shown->nelts; i++) {
        shown_t *shown = APR_ARRAY_IDX(g->shown, i, shown_t *);

        if (shown != NULL && shown->hosting != NULL) {
            gb_hosting_cancel(shown->hosting);
            shown->hosting = NULL;
        }
    }
    g->next->end(g->next, rv);
}

gb_sink_t *gb_gallery_before(gb_sink_t *sink, gb_exchange_t *x, gb_engine_t *engine)
{
    const gb_plan_t *plan = gb_exchange_plan(x);
    apr_pool_t *pool = gb_exchange_own_pool(x);
    gallery_t *g;

    if (plan->mark == NULL) {
        return sink;
    }
    g = apr_pcalloc(pool, sizeof(*g));
    g->sink.start = gallery_start;
    g->sink.begin = gallery_begin;
    g->sink.data = gallery_data;
    g->sink.end = gallery_end;
    g->next = sink;
    g->x = x;
    g->engine = engine;
    g->plan = plan;
    g->shown = apr_array_make(pool, 2, sizeof(shown_t *));
    gb_buf_init_pool(&g->own, MAX_OUT, pool);
    return &g->sink;
}
