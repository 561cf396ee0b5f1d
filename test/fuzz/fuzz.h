/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share.  A broken promise aborts, so that every build of
 * a target (libFuzzer, standalone) sees it as a crash.
 */
#ifndef GB_FUZZ_H
#define GB_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_pools.h>

#include "base/json.h"
#include "proto/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_PROMISE(holds)                                                                        \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #holds);                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A pool for one input.  APR itself is started once and never ended. */
static inline apr_pool_t *fuzz_pool(void)
{
    static int started;
    apr_pool_t *p;

    if (!started) {
        apr_initialize();
        started = 1;
    }
    apr_pool_create(&p, NULL);
    return p;
}

static inline int fuzz_is_json(const char *text, size_t len)
{
    gb_json_fault_t fault;

    return gb_json_check(text, len, &fault) == APR_SUCCESS && !fault.has_lone_surrogate;
}

static inline gb_facts_t fuzz_facts(void)
{
    gb_facts_t facts = {0};

    facts.prompt_tokens = facts.completion_tokens = facts.thought_tokens = -1;
    facts.cached_tokens = facts.total_tokens = -1;
    return facts;
}

/* Our own stream: "data: <json>\n\n" and nothing else. */
static inline void fuzz_stream_ok(const char *text, size_t len)
{
    const char *at = text, *end = text + len, *stop;

    while (at < end) {
        FUZZ_PROMISE(end - at > 6 && memcmp(at, "data: ", 6) == 0);
        stop = memmem(at, (size_t)(end - at), "\n\n", 2);
        FUZZ_PROMISE(stop != NULL);
        FUZZ_PROMISE((stop - at == 12 && memcmp(at + 6, "[DONE]", 6) == 0)
                     || fuzz_is_json(at + 6, (size_t)(stop - at) - 6));
        at = stop + 2;
    }
}

#endif
