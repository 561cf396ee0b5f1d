/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the exchange and a key module tell each other: what a key is wanted for,
 * the key, and what became of it.
 */
#ifndef GB_KEY_H
#define GB_KEY_H

#include "base/secret.h"
#include "base/settings.h"
#include "proto/classify.h"

/*
 * Besides OK and HTTP statuses a pick may answer: ask again after *wait microseconds.  The exchange
 * does so for a while, and with some calls at a time (leg.c); over it the client hears 429.
 */
#define GB_PICK_WAIT (-100)

#define GB_PICK_EXCLUDE_MAX 32

/* What a key is wanted for. */
typedef struct gb_pick_t {
    const char *pool;
    const char *model;       /* "" for calls without one (models list) */
    apr_uint64_t affinity;   /* 0 = none: for KEY_POLICY sticky */
    const char *required_id; /* no other key will do; NULL or "" = any */
    apr_uint64_t caller;     /* hash of the client token's id or user */
    int paid;                /* PAID_KEY serves it, where there is one and no tag */
    int n_exclude;           /* keys that this call has tried */
    apr_uint32_t exclude[GB_PICK_EXCLUDE_MAX];
    apr_int64_t tokens; /* estimate of the prompt, for TPM; 0 = unknown */
    int child_slot;     /* who holds what is picked (see gb_key_t) */
    const gb_settings_t *settings;
} gb_pick_t;

/* A picked key.  Must be reported exactly once, on the same child, whatever became of it. */
typedef struct gb_key_t {
    apr_uint32_t slot;       /* 1-based, 0 = none */
    apr_uint32_t generation; /* of the slot: a report for a slot that was reused is dropped */
    apr_uint32_t project;    /* slot of its project, for "two different projects" */
    apr_uint64_t hold;       /* the key module's own mark of this pick */
    int half_open;           /* this is a trial */
    char id[20];
    char secret[GB_SECRET_MAX + 1]; /* wiped by the exchange */
} gb_key_t;

/* What became of it. */
typedef struct gb_report_t {
    const char *pool;
    const char *model;
    const gb_key_t *key;
    const gb_verdict_t *verdict; /* cls CANCELLED says nothing about the key */
    apr_interval_time_t latency;
    apr_int64_t prompt_tokens; /* -1 unknown */
    apr_int64_t total_tokens;
    int attempt; /* 1-based */
    const gb_settings_t *settings;
} gb_report_t;

#endif
