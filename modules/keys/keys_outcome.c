/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the classifier's words to the pool's.  The pool stands below and knows no
 * verdicts; this is the one place where both meet.
 */
#include "keys.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_keys);

static const gb_pool_kind_t kinds[GB_CLASS_N] = {
    [GB_CLASS_SUCCESS] = GB_OUT_SUCCESS,
    [GB_CLASS_EMPTY] = GB_OUT_ANSWERED,
    [GB_CLASS_BLOCKED] = GB_OUT_ANSWERED,
    [GB_CLASS_CLIENT] = GB_OUT_NOTHING,
    [GB_CLASS_ADAPTIVE] = GB_OUT_NOTHING,
    [GB_CLASS_AFFINITY] = GB_OUT_NOTHING,
    [GB_CLASS_KEY] = GB_OUT_KEY,
    [GB_CLASS_PROJECT] = GB_OUT_PROJECT,
    [GB_CLASS_ACCOUNT] = GB_OUT_ACCOUNT,
    [GB_CLASS_REGION] = GB_OUT_REGION,
    [GB_CLASS_MODEL_ACCESS] = GB_OUT_MODEL_ACCESS,
    [GB_CLASS_UNKNOWN_AUTH] = GB_OUT_UNKNOWN_AUTH,
    [GB_CLASS_QUOTA] = GB_OUT_QUOTA,
    [GB_CLASS_SERVICE] = GB_OUT_SERVICE,
    [GB_CLASS_OVERLOADED] = GB_OUT_OVERLOADED,
    [GB_CLASS_STALE] = GB_OUT_NOTHING,
    [GB_CLASS_PROXY] = GB_OUT_NOTHING,
    [GB_CLASS_GATEWAY] = GB_OUT_NOTHING,
    [GB_CLASS_CANCELLED] = GB_OUT_NOTHING,
};

static const gb_pool_span_t spans[] = {
    [GB_QUOTA_NONE] = GB_SPAN_NONE,         [GB_QUOTA_MINUTE] = GB_SPAN_MINUTE,
    [GB_QUOTA_DAY] = GB_SPAN_DAY,           [GB_QUOTA_UNAVAILABLE] = GB_SPAN_UNAVAILABLE,
    [GB_QUOTA_SPEND_MONTH] = GB_SPAN_MONTH, [GB_QUOTA_AMBIGUOUS] = GB_SPAN_AMBIGUOUS,
};

_Static_assert((int)GB_QUOTA_MAX <= (int)GB_POOL_QUOTAS, "every violation has its place");

/* A project's number tells who somebody is; its hash groups keys as well. */
static void label_of(char label[KEYS_LABEL_LEN], const char *consumer)
{
    unsigned char digest[GB_DIGEST_LEN];

    label[0] = '\0';
    if (*consumer) {
        gb_digest(digest, consumer, strlen(consumer));
        memcpy(label, "project-", 8);
        gb_hex(label + 8, digest, 6);
    }
}

void keys_outcome(gb_pool_outcome_t *outcome, const gb_verdict_t *verdict,
                  char label[KEYS_LABEL_LEN])
{
    int i;

    memset(outcome, 0, sizeof(*outcome));
    label_of(label, verdict->consumer);
    outcome->kind = kinds[verdict->cls];
    outcome->by_proxy = verdict->by_proxy;
    outcome->revocable = verdict->key_revocable != 0;
    outcome->span = spans[verdict->window];
    outcome->delay = verdict->retry_delay;
    outcome->n_quotas = verdict->n_quotas < GB_QUOTA_MAX ? verdict->n_quotas : GB_QUOTA_MAX;
    for (i = 0; i < outcome->n_quotas; i++) {
        outcome->quotas[i].model = verdict->quotas[i].model;
        outcome->quotas[i].span = spans[verdict->quotas[i].window];
        outcome->quotas[i].tokens = verdict->quotas[i].counts_tokens;
        outcome->quotas[i].value = verdict->quotas[i].value;
    }
    outcome->project = label;
    outcome->row = verdict->row;
    outcome->text = verdict->message;
    outcome->prompt_tokens = outcome->total_tokens = -1;
}
