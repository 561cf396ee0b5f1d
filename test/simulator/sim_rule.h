/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault rule: what sim_rule.c reads from JSON and sim_fault.c obeys.
 */
#ifndef SIM_RULE_H
#define SIM_RULE_H

#include "sim.h"

typedef enum {
    SK_STATUS,
    SK_ANSWER,
    SK_RESET,
    SK_CLOSE,
    SK_CUT,
    SK_STALL,
    SK_DELAY,
    SK_EMPTY,
    SK_BLOCKED,
    SK_FINISH,
    SK_MIDSTREAM_ERROR
} sim_kind_t;

typedef enum { FR_LENGTH, FR_CHUNKED, FR_UNTIL_CLOSE } sim_framing_t;

struct sim_rule {
    int id, refs;
    sim_kind_t kind;
    char *key, *model, *method, *path, *request_id; /* patterns, NULL = any */
    long count, every, skip, matched, fired;
    double probability;
    uint64_t random;
    long delay_ms;
    int status;
    char *canned, *message, *project, *retry_delay, *quota_value, *quota_id, *quota_metric;
    char *order, *reason, *model_version;
    sim_buf_t headers; /* lines, each with CRLF */
    sim_buf_t body;
    sim_type_t body_type;
    sim_framing_t framing;
    bool literal_body, in_data, close_after, no_usage, has_pace;
    uint32_t *cuts; /* ends of the events of a literal answer */
    size_t ncuts;
    sim_ending_t ending;
    long after, bytes;
    sim_shape_t shape;
    sim_pace_t pace;
};

const char *sim_rule_kind_name(sim_kind_t kind);
void sim_rule_free(sim_rule_t *rule);
/* Takes over the rule at the end of the list. */
void sim_fault_add(sim_rule_t *rule);

#endif
