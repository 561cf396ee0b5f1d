/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next key whose bits are right: 64 of them at a time.
 */
#include "pool/pool_int.h"

static inline u64 word_at(const pool_search_t *search, u32 i)
{
    u64 word = search->member[i];

    if (search->rest) {
        word &= ~(search->rest[i] | search->rest_any[i]);
    }
    if (search->busy) {
        word &= ~search->busy[i];
    }
    if (search->tagged) {
        word &= search->tagged[i];
    }
    if (search->round) {
        word &= search->round[i];
    }
    return word;
}

u32 pool_search_next(const pool_search_t *search, u32 from)
{
    u32 i = from >> 6;
    u64 word;

    if (i >= search->words) {
        return 0;
    }
    word = word_at(search, i) & (~(u64)0 << (from & 63));
    while (word == 0) {
        if (++i >= search->words) {
            return 0;
        }
        word = word_at(search, i);
    }
    return i * 64 + (u32)__builtin_ctzll(word);
}

int pool_search_count(const pool_search_t *search)
{
    int n = 0;
    u32 i;

    for (i = 0; i < search->words; i++) {
        n += __builtin_popcountll(word_at(search, i));
    }
    return n;
}
