/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segment under fire: 8 processes, killed 1,000 times at random moments.
 * Usage: torture_segment [kills [seed]].  Exits with 0 when all invariants held.
 */
#include "segment_torture.h"

#include <apr_general.h>

int main(int argc, char **argv)
{
    int kills = argc > 1 ? atoi(argv[1]) : 1000;
    unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)time(NULL);
    apr_pool_t *p;
    int sound;

    apr_initialize();
    apr_pool_create(&p, NULL);
    sound = torture_run(p, kills, seed);
    apr_pool_destroy(p);
    apr_terminate();
    return sound ? 0 : 1;
}
