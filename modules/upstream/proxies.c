/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing keys to proxies, and what is remembered of those that failed. */
#include "upstream/proxies.h"

#include "base/secret.h"

#define REST_FIRST apr_time_from_sec(10)
#define REST_MAX   apr_time_from_sec(300)

static apr_uint64_t add_text(apr_uint64_t h, const char *text)
{
    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * 1099511628211ULL;
    }
    return h;
}

/* FNV-1a, and a last mix: it leaves the high bits of like texts alike. */
static apr_uint64_t hash_pair(const char *a, const char *b)
{
    apr_uint64_t h = add_text(add_text(1469598103934665603ULL, a), b);

    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    h ^= h >> 31;
    return h ? h : 1;
}

static int find(const gb_proxies_t *state, apr_uint64_t hash)
{
    int i;

    for (i = 0; i < GB_PROXIES_MAX; i++) {
        if (state->dead[i].hash == hash) {
            return i;
        }
    }
    return -1;
}

int gb_proxies_alive(const gb_proxies_t *state, const char *url, apr_time_t now)
{
    int i = find(state, hash_pair(url, ""));

    return i < 0 || state->dead[i].until <= now;
}

/* The place that is free, or whose rest is over first. */
static int make_room(const gb_proxies_t *state)
{
    int best = 0, i;

    for (i = 0; i < GB_PROXIES_MAX; i++) {
        if (!state->dead[i].hash) {
            return i;
        }
        if (state->dead[i].until < state->dead[best].until) {
            best = i;
        }
    }
    return best;
}

void gb_proxies_failed(gb_proxies_t *state, const char *url, apr_time_t now)
{
    apr_uint64_t hash = hash_pair(url, "");
    apr_interval_time_t rest = REST_FIRST;
    int i = find(state, hash), strikes;

    if (i < 0) {
        i = make_room(state);
        state->dead[i].hash = hash;
        state->dead[i].strikes = 0;
    }
    else if (state->dead[i].until > now) {
        return; /* calls that were under way tell nothing new */
    }
    for (strikes = state->dead[i].strikes++; strikes > 0 && rest < REST_MAX; strikes--) {
        rest *= 2;
    }
    state->dead[i].until = now + (rest < REST_MAX ? rest : REST_MAX);
}

void gb_proxies_worked(gb_proxies_t *state, const char *url)
{
    int i = find(state, hash_pair(url, ""));

    if (i >= 0) {
        state->dead[i].hash = 0;
    }
}

/* The n-th of those that live, n counted around. */
static const char *nth_alive(const gb_proxies_t *state, const gb_list_t *list, apr_uint32_t n,
                             apr_time_t now)
{
    int alive = 0, i;

    for (i = 0; i < list->n; i++) {
        alive += gb_proxies_alive(state, list->items[i], now);
    }
    if (!alive) {
        return list->items[n % (apr_uint32_t)list->n];
    }
    n %= (apr_uint32_t)alive;
    for (i = 0; i < list->n; i++) {
        if (gb_proxies_alive(state, list->items[i], now) && n-- == 0) {
            return list->items[i];
        }
    }
    return NULL;
}

const char *gb_proxies_pick(const gb_proxies_t *state, const gb_list_t *list, int same_for_key,
                            const char *key_id, apr_time_t now)
{
    const char *best = NULL;
    apr_uint64_t best_hash = 0;
    int best_alive = 0, i;

    if (list->n > 1 && !same_for_key) {
        apr_uint32_t dice;

        gb_random(&dice, sizeof(dice));
        return nth_alive(state, list, dice, now);
    }
    for (i = 0; i < list->n; i++) {
        apr_uint64_t h = hash_pair(key_id, list->items[i]);
        int alive = gb_proxies_alive(state, list->items[i], now);

        if (!best || alive > best_alive || (alive == best_alive && h > best_hash)) {
            best = list->items[i];
            best_hash = h;
            best_alive = alive;
        }
    }
    return best;
}
