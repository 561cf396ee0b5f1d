/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into httpd by a test: says when two threads are in one pool at the
 * same time, or in one allocator that has no lock.  Neither sanitizer sees that,
 * since APR itself is not built with them.  Now and then a thread stays a moment
 * longer, so that what could happen does.  Both stacks go to the file that the
 * environment's GB_POOL_REPORT names, followed by the child's process id.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <apr_allocator.h>
#include <apr_pools.h>
#include <apr_strings.h>

#define PLACES   65536
#define FRAMES   24
#define LINGER   200 /* microseconds, one time in */
#define LINGERED 8

/* Who is in a pool or an allocator; found by its address, a collision is passed over. */
typedef struct place_t {
    _Atomic(const void *) key;
    atomic_int owner, met;
    int depth; /* the owner's */
} place_t;

static place_t places[PLACES];
static __thread int is_telling;
static __thread unsigned dice;

static void tell(const char *who, const void *key)
{
    const char *prefix = getenv("GB_POOL_REPORT");
    void *frames[FRAMES];
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s.%d", prefix ? prefix : "/tmp/pools", (int)getpid());
    is_telling = 1;
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0) {
        dprintf(fd, "%s in %p\n", who, key);
        backtrace_symbols_fd(frames, backtrace(frames, FRAMES), fd);
        close(fd);
    }
    is_telling = 0;
}

static place_t *enter(const void *key)
{
    place_t *place = &places[((uintptr_t)key >> 4) * 2654435761U % PLACES];
    int me = (int)syscall(SYS_gettid), other = 0;

    if (!key || is_telling) {
        return NULL;
    }
    if (atomic_load(&place->owner) == me) {
        place->depth++;
        return place;
    }
    if (!atomic_compare_exchange_strong(&place->owner, &other, me)) {
        if (atomic_load(&place->key) == key) {
            atomic_store(&place->met, 1);
            tell("the second one", key);
        }
        return NULL;
    }
    atomic_store(&place->met, 0);
    atomic_store(&place->key, key);
    place->depth = 1;
    dice = dice * 1103515245U + 12345U + (unsigned)me;
    if ((dice >> 16) % LINGERED == 0) {
        usleep(LINGER);
    }
    return place;
}

static void leave(place_t *place)
{
    if (!place || --place->depth) {
        return;
    }
    if (atomic_load(&place->met)) {
        tell("the first one", atomic_load(&place->key));
    }
    atomic_store(&place->key, NULL);
    atomic_store(&place->owner, 0);
}

static const void *unlocked(apr_allocator_t *allocator)
{
    return !allocator || apr_allocator_mutex_get(allocator) ? NULL : allocator;
}

typedef struct both_t {
    place_t *pool, *allocator;
} both_t;

static both_t enter_pool(apr_pool_t *p)
{
    both_t both;

    both.pool = enter(p);
    both.allocator = enter(unlocked(apr_pool_allocator_get(p)));
    return both;
}

static void leave_pool(both_t both)
{
    leave(both.allocator);
    leave(both.pool);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void *apr_palloc(apr_pool_t *p, apr_size_t size)
{
    static __typeof__(&apr_palloc) real;
    both_t both = enter_pool(p);
    void *block;

    real = real ? real : REAL(apr_palloc);
    block = real(p, size);
    leave_pool(both);
    return block;
}

char *apr_pvsprintf(apr_pool_t *p, const char *format, va_list args)
{
    both_t both = enter_pool(p);
    char *text = REAL(apr_pvsprintf)(p, format, args);

    leave_pool(both);
    return text;
}

apr_memnode_t *apr_allocator_alloc(apr_allocator_t *allocator, apr_size_t size)
{
    place_t *place = enter(unlocked(allocator));
    apr_memnode_t *node = REAL(apr_allocator_alloc)(allocator, size);

    leave(place);
    return node;
}

void apr_allocator_free(apr_allocator_t *allocator, apr_memnode_t *node)
{
    place_t *place = enter(unlocked(allocator));

    REAL(apr_allocator_free)(allocator, node);
    leave(place);
}

void apr_pool_cleanup_register(apr_pool_t *p, const void *data, apr_status_t (*plain)(void *),
                               apr_status_t (*child)(void *))
{
    both_t both = enter_pool(p);

    REAL(apr_pool_cleanup_register)(p, data, plain, child);
    leave_pool(both);
}

void apr_pool_clear(apr_pool_t *p)
{
    both_t both = enter_pool(p);

    REAL(apr_pool_clear)(p);
    leave_pool(both);
}

/* The pool and an allocator of its own are gone afterwards: whoever is in them now is told of by itself. */
void apr_pool_destroy(apr_pool_t *p)
{
    leave_pool(enter_pool(p));
    REAL(apr_pool_destroy)(p);
}

apr_status_t apr_pool_create_ex(apr_pool_t **new, apr_pool_t *parent, apr_abortfunc_t abort_fn,
                                apr_allocator_t *allocator)
{
    place_t *place = enter(unlocked(allocator ? allocator
                                    : parent  ? apr_pool_allocator_get(parent)
                                              : NULL));
    apr_status_t rv = REAL(apr_pool_create_ex)(new, parent, abort_fn, allocator);

    leave(place);
    return rv;
}
