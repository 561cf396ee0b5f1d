/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: a record for every attempt, taken before its first byte goes
 * upstream, so that nothing is lost when a process dies.
 *
 *   begin ──> OPEN ──end──> DONE ──take──> TAKEN ──release──> FREE
 *               │                            │
 *               └─ its process died: LOST ───┴─ given back: DONE
 *
 * The ring is a tenant of the segment: 8,192 records, a list of the free and a
 * queue of the done ones.  One process at a time (who holds the lease) takes
 * done records and writes them to the database, or to the spool while that is
 * away.  A record that is written twice does no harm: rows carry its uid.
 */
#ifndef GB_JOURNAL_H
#define GB_JOURNAL_H

#include "base/segment.h"

#define GB_RING_NAME    "journal"
#define GB_RING_RECORDS 8192
#define GB_UID_LEN      16

typedef enum { GB_RECORD_FREE, GB_RECORD_OPEN, GB_RECORD_DONE, GB_RECORD_TAKEN } gb_record_state_t;

#define GB_RECORD_MAGIC 0x316a6267u /* "gbj1": another layout takes another one */

/* As it stands in the ring and in the spool.  Texts are cut and end with NUL. */
typedef struct gb_record_t {
    apr_uint32_t magic;
    apr_uint32_t check; /* of what follows; in the spool alone */
    unsigned char uid[GB_UID_LEN];
    apr_uint64_t process_start; /* of the process that runs the attempt */
    apr_uint32_t pid;
    apr_uint32_t next; /* in the ring's lists */
    apr_byte_t state;
    apr_byte_t is_success;
    apr_byte_t is_final; /* no other attempt of this call follows */
    apr_byte_t is_stream;
    apr_int16_t status;  /* the upstream's, 0 = none came */
    apr_uint16_t number; /* of the attempt in its call, from 1 */
    apr_time_t began;    /* wall clock */
    apr_int64_t latency; /* microseconds, -1 = not known */
    apr_int64_t first_byte;
    apr_int64_t prompt_tokens, completion_tokens, thought_tokens, cached_tokens;
    apr_uint64_t bytes;
    char request_id[65];
    char key_id[20];
    char key_masked[12];
    char pool[32];
    char surface[12];
    char operation[16];
    char cls[16]; /* of the outcome; "lost" when nobody knows */
    char caller[47];
    char model_asked[88];
    char model_used[88];
} gb_record_t;

typedef char gb_record_size_check[sizeof(gb_record_t) == 512 ? 1 : -1];

/* What has become of records, since the segment was made. */
typedef struct gb_ring_counts_t {
    apr_uint64_t begun;
    apr_uint64_t written;       /* rows of the database */
    apr_uint64_t spooled;       /* records that took the way over the spool */
    apr_uint64_t lost;          /* of these: attempts whose process died */
    apr_uint64_t rejected;      /* rows that the database refused for good */
    apr_uint64_t dropped;       /* neither ring nor spool had room */
    apr_uint64_t dropped_texts; /* error texts that SPOOL_MAX_MB cost */
    apr_uint64_t dropped_rows;  /* and request rows, when that was not enough */
} gb_ring_counts_t;

/* For gb_tenant_spec_t. */
void gb_ring_spec(gb_tenant_spec_t *spec);

/* In the attempt's process.  Copies *record, of which state, pid and start time are filled here.
 * The slot, or 0 when the ring is full. */
apr_uint32_t gb_ring_begin(gb_tenant_t *ring, const gb_record_t *record);
/* Completes it in place.  0: the slot is not that record any more (it was taken for lost). */
int gb_ring_end(gb_tenant_t *ring, apr_uint32_t slot, const gb_record_t *record);

/* Takes up to max done records, oldest first, and copies them. */
int gb_ring_take(gb_tenant_t *ring, gb_record_t *records, apr_uint32_t *slots, int max);
/* They are safe (or, with again, are not and shall be taken once more). */
void gb_ring_give(gb_tenant_t *ring, const gb_record_t *records, const apr_uint32_t *slots, int n,
                  int again);
/* What another process took and did not give back is done again.  For a new holder of the lease. */
void gb_ring_retake(gb_tenant_t *ring);
/* Records of processes that live no more become done, with class "lost".  Their number. */
int gb_ring_sweep(gb_tenant_t *ring);

int gb_ring_waiting(gb_tenant_t *ring); /* done records */
int gb_ring_open(gb_tenant_t *ring);    /* open records */
void gb_ring_counts(gb_tenant_t *ring, gb_ring_counts_t *counts);
/* Adds to them, member by member. */
void gb_ring_count(gb_tenant_t *ring, const gb_ring_counts_t *more);

/* pid and start time of this process, into *record; made once per process. */
void gb_record_stamp(gb_record_t *record);
/* What a record becomes when nobody knows how it ended. */
void gb_record_lose(gb_record_t *record);

#endif
