/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of bytes between engine and worker with a high-water mark (see
 * wait.h).  Writing to the client, under its Timeout, is the worker's.
 */
#include "upstream/wait.h"

#include <stdlib.h>

#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#define QUEUE_MAX (64 * 1024)

struct gb_wait_t {
    gb_sink_t sink; /* first */
    gb_exchange_t *x;
    apr_thread_mutex_t *lock; /* guards all below */
    apr_thread_cond_t *cond;
    const gb_head_t *head; /* until the worker has taken it */
    gb_buf_t queue;
    int wants; /* the exchange waits for room */
    int ended;
    apr_status_t rv;
};

static apr_status_t wait_begin(gb_sink_t *sink, gb_head_t *head)
{
    gb_wait_t *wait = (gb_wait_t *)sink;

    apr_thread_mutex_lock(wait->lock);
    wait->head = head;
    head->taken = head->body && head->unfinished;
    apr_thread_cond_signal(wait->cond);
    apr_thread_mutex_unlock(wait->lock);
    return APR_SUCCESS;
}

static apr_status_t wait_data(gb_sink_t *sink, const char *bytes, apr_size_t len, apr_size_t *taken)
{
    gb_wait_t *wait = (gb_wait_t *)sink;
    apr_status_t rv = APR_SUCCESS;

    apr_thread_mutex_lock(wait->lock);
    if (wait->queue.len >= QUEUE_MAX) {
        wait->wants = 1;
        rv = APR_EAGAIN;
    }
    else {
        apr_size_t room = QUEUE_MAX - wait->queue.len;

        *taken = len < room ? len : room;
        rv = gb_buf_append(&wait->queue, bytes, *taken);
        apr_thread_cond_signal(wait->cond);
    }
    apr_thread_mutex_unlock(wait->lock);
    return rv;
}

static void wait_end(gb_sink_t *sink, apr_status_t rv)
{
    gb_wait_t *wait = (gb_wait_t *)sink;

    apr_thread_mutex_lock(wait->lock);
    wait->ended = 1;
    wait->rv = rv;
    apr_thread_cond_signal(wait->cond);
    apr_thread_mutex_unlock(wait->lock);
}

static void wait_start(gb_sink_t *sink)
{
    (void)sink;
}

gb_wait_t *gb_wait_make(gb_exchange_t *x)
{
    apr_pool_t *pool = gb_exchange_own_pool(x);
    gb_wait_t *wait = apr_pcalloc(pool, sizeof(*wait));

    wait->sink.start = wait_start;
    wait->sink.begin = wait_begin;
    wait->sink.data = wait_data;
    wait->sink.end = wait_end;
    wait->x = x;
    gb_buf_init_pool(&wait->queue, 2 * QUEUE_MAX, pool);
    if (apr_thread_mutex_create(&wait->lock, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS
        || apr_thread_cond_create(&wait->cond, pool) != APR_SUCCESS) {
        abort();
    }
    return wait;
}

gb_sink_t *gb_wait_sink(gb_wait_t *wait)
{
    return &wait->sink;
}

apr_status_t gb_wait_next(gb_wait_t *wait, const gb_head_t **phead, gb_buf_t *bytes,
                          apr_status_t *rv, apr_interval_time_t timeout)
{
    apr_status_t result = APR_SUCCESS;
    int wake = 0;

    gb_buf_reset(bytes);
    apr_thread_mutex_lock(wait->lock);
    while (!wait->head && !wait->queue.len && !wait->ended && result == APR_SUCCESS) {
        result = apr_thread_cond_timedwait(wait->cond, wait->lock, timeout);
    }
    if (wait->head || wait->queue.len) {
        *phead = wait->head;
        wait->head = NULL;
        result = gb_buf_append(bytes, wait->queue.data, wait->queue.len);
        gb_buf_reset(&wait->queue);
        wake = wait->wants;
        wait->wants = 0;
    }
    else if (wait->ended) {
        *rv = wait->rv;
        result = APR_EOF;
    }
    apr_thread_mutex_unlock(wait->lock);
    if (wake) {
        gb_exchange_wake(wait->x);
    }
    return result;
}
