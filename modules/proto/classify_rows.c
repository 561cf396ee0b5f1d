/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table: every outcome of an attempt that we know, from the top; the first
 * row that fits rules.  Each row is proven by a case in test/cases/error.
 *
 * Only what is listed as KEY, PROJECT or ACCOUNT takes a key out at once; an
 * unknown 401 or 403 does not (a check in the background decides).
 */
#include "proto/classify_int.h"

#define NO_KEY                                                                                     \
    "The gateway has no usable key for this request. Its operator must look at the key pool."
#define NOT_YOURS                                                                                  \
    "The gateway called the upstream wrongly. This is not your request's fault; its operator "     \
    "must look."

/* clang-format off */
const gb_row_t gb_class_rows[] = {

    /* ---- no answer ---- */

    {.name = "cancelled", .transport = GB_TRANSPORT_CANCELLED, .cls = GB_CLASS_CANCELLED,
     .status = 499, .code = "cancelled", .say = "The call was cancelled."},
    {.name = "connect", .transport = GB_TRANSPORT_CONNECT, .cls = GB_CLASS_SERVICE, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "The upstream could not be reached."},
    {.name = "proxy", .transport = GB_TRANSPORT_PROXY, .cls = GB_CLASS_PROXY, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "The proxy to the upstream could not be used."},
    {.name = "stale", .transport = GB_TRANSPORT_STALE, .cls = GB_CLASS_STALE, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "The upstream closed the connection that was kept."},
    {.name = "tls", .transport = GB_TRANSPORT_TLS, .cls = GB_CLASS_SERVICE, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "No secure connection to the upstream could be made."},
    {.name = "reset", .transport = GB_TRANSPORT_RESET, .cls = GB_CLASS_SERVICE, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "The upstream broke off before its answer was complete."},
    {.name = "timeout", .transport = GB_TRANSPORT_TIMEOUT, .cls = GB_CLASS_SERVICE, .retry = 1,
     .status = 504, .code = "timeout", .say = "The upstream did not answer in time."},
    {.name = "too_large", .transport = GB_TRANSPORT_TOO_LARGE, .cls = GB_CLASS_CLIENT,
     .status = 502, .code = "answer_too_large", .hint = GB_RETRY_NO,
     .say = "The upstream's answer is larger than the gateway passes on. Ask for less."},

    /* ---- 2xx ---- */

    {.name = "cut", .from = 200, .to = 299, .sign = GB_SIGN_CUT, .cls = GB_CLASS_SERVICE, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "The upstream broke off before its answer was complete."},
    {.name = "blocked", .from = 200, .to = 299, .sign = GB_SIGN_BLOCKED, .cls = GB_CLASS_BLOCKED,
     .status = 400, .code = "content_filter", .hint = GB_RETRY_NO,
     .say = "The prompt or the answer was blocked by Gemini."},
    {.name = "malformed", .from = 200, .to = 299, .sign = GB_SIGN_MALFORMED, .cls = GB_CLASS_EMPTY,
     .retry = 1, .retry_max = 1, .status = 502, .code = "malformed_function_call",
     .say = "The model made a tool call that cannot be read, twice. Try again or simplify the tools."},
    {.name = "empty", .from = 200, .to = 299, .sign = GB_SIGN_EMPTY, .cls = GB_CLASS_EMPTY,
     .retry = 1, .retry_max = 1, .status = 502, .code = "empty_response",
     .say = "The model gave an empty answer, twice. Try again."},
    {.name = "success", .from = 200, .to = 299, .cls = GB_CLASS_SUCCESS},

    /* ---- redirects are never followed: the key would go along ---- */

    {.name = "redirect", .from = 300, .to = 399, .cls = GB_CLASS_GATEWAY, .status = 502,
     .code = "upstream_redirect", .hint = GB_RETRY_NO,
     .say = "The upstream's address redirects elsewhere. The gateway's operator must correct BASE_URL."},

    /* ---- said by a translator about an answer of 200 ---- */

    {.name = "image_blocked", .from = 400, .to = 400, .texts = "^the picture was blocked by gemini",
     .cls = GB_CLASS_CLIENT, .type = "image_generation_user_error", .code = "moderation_blocked",
     .hint = GB_RETRY_NO},

    /* ---- the key, its project, its account ---- */

    {.name = "key_expired", .from = 400, .to = 403, .reasons = "API_KEY_EXPIRED",
     .texts = "^api key expired", .cls = GB_CLASS_KEY, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "key_invalid", .from = 400, .to = 403, .reasons = "API_KEY_INVALID",
     .texts = "^api key not valid|^api key not found", .cls = GB_CLASS_KEY, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "two_credentials", .from = 400, .to = 401, .texts = "^multiple authentication credentials received",
     .cls = GB_CLASS_GATEWAY, .status = 500, .code = "gateway_misconfigured", .hint = GB_RETRY_NO,
     .say = NOT_YOURS},
    {.name = "region", .from = 400, .to = 403, .texts = "^user location is not supported",
     .cls = GB_CLASS_REGION, .retry = 1, .retry_max = 2, .status = 503, .code = "region_unsupported",
     .hint = GB_RETRY_NO,
     .say = "Google does not serve the place that the gateway calls from. Its operator must look at egress or billing."},
    {.name = "billing_needed", .from = 400, .to = 400, .google = "FAILED_PRECONDITION",
     .texts = "^gemini api free tier is not available|^please enable billing", .cls = GB_CLASS_KEY, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},

    /* ---- 400: the request ---- */

    {.name = "context_length", .from = 400, .to = 400, .texts = "input token count*exceeds the maximum",
     .cls = GB_CLASS_CLIENT, .code = "context_length_exceeded", .param = "messages"},
    {.name = "payload_size", .from = 400, .to = 400,
     .texts = "request payload size exceeds|request body is too large|request is too large|request entity too large",
     .cls = GB_CLASS_CLIENT, .status = 413, .code = "request_too_large"},
    {.name = "thought_signature", .from = 400, .to = 400,
     .texts = "<thought_signature>|<thoughtsignature>|thought signature is not valid",
     .cls = GB_CLASS_ADAPTIVE, .once = 1, .code = "invalid_value"},
    {.name = "value_range", .from = 400, .to = 400,
     .texts = "<temperature>*supported range|<top_p>*supported range|<topp>*supported range|<top_k>*supported range|<topk>*supported range",
     .cls = GB_CLASS_CLIENT, .code = "invalid_value"},
    {.name = "unknown_schema_field", .from = 400, .to = 400,
     .texts = "unknown name \"responsejsonschema\"|unknown name \"response_json_schema\""
              "|unknown name \"parametersjsonschema\"|unknown name \"parameters_json_schema\"",
     .cls = GB_CLASS_ADAPTIVE, .code = "unsupported_value"},
    {.name = "schema_word", .from = 400, .to = 400,
     .texts = "unknown name \"*.parameters'|unknown name \"*.parameters.|unknown name \"*.response_schema'"
              "|unknown name \"*.response_schema.|.parameters.*enum: only allowed for string|response_schema.*enum: only allowed for string",
     .cls = GB_CLASS_ADAPTIVE, .code = "invalid_value"},
    {.name = "refused_value", .from = 400, .to = 400,
     .texts = "thinking budget*choose a value|thinking_budget*choose a value|invalid value at '*thinking"
              "|invalid value at '*media_resolution|invalid value at '*service_tier|invalid value at '*temperature"
              "|invalid value at '*top_p|invalid value at '*top_k|invalid value at '*penalty|invalid value at '*logprobs"
              "|<response_json_schema>|<responsejsonschema>|<parameters_json_schema>|<parametersjsonschema>|too many states",
     .cls = GB_CLASS_ADAPTIVE, .once = 1, .code = "unsupported_value"},
    {.name = "refused_field", .from = 400, .to = 400,
     .texts = "<thinking_level>|<thinkinglevel>|<thinking level>|<thinking_budget>|<thinkingbudget>|<thinking budget>"
              "|only works in thinking mode|<include_thoughts>|<includethoughts>|<thinking_config>|<thinkingconfig>"
              "|thinking is not supported|thinking is not enabled|does not support thinking"
              "|penalty is not|<presence_penalty>|<presencepenalty>|<frequency_penalty>|<frequencypenalty>"
              "|<temperature>|<top_p>|<topp>|<top_k>|<topk>|logprobs is not|<response_logprobs>|<responselogprobs>"
              "|<media_resolution>|<mediaresolution>|media resolution"
              "|unknown name \"store\"|unknown name \"servicetier\"|unknown name \"service_tier\"|service tier"
              "|unknown name \"seed\"",
     .cls = GB_CLASS_ADAPTIVE, .code = "unsupported_value"},
    {.name = "unexplained", .from = 400, .to = 400, .texts = "^request contains an invalid argument",
     .cls = GB_CLASS_ADAPTIVE, .once = 1, .code = "invalid_value"},
    {.name = "invalid_request", .from = 400, .to = 400, .cls = GB_CLASS_CLIENT, .code = "invalid_value"},

    /* ---- 401, 402, 403 ---- */

    {.name = "auth_type", .from = 401, .to = 401, .reasons = "ACCESS_TOKEN_TYPE_UNSUPPORTED",
     .texts = "invalid authentication credentials", .cls = GB_CLASS_UNKNOWN_AUTH, .retry = 1, .retry_max = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "unknown_401", .from = 401, .to = 401, .cls = GB_CLASS_UNKNOWN_AUTH, .retry = 1, .retry_max = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "credit_gone", .from = 402, .to = 402, .cls = GB_CLASS_ACCOUNT, .retry = 1,
     .status = 429, .type = "insufficient_quota", .code = "insufficient_quota", .hint = GB_RETRY_NO,
     .say = "The gateway's prepaid credit with Google is used up."},
    {.name = "key_leaked", .from = 403, .to = 403, .texts = "^your api key was reported as leaked",
     .cls = GB_CLASS_KEY, .retry = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "key_restricted", .from = 403, .to = 403,
     .reasons = "API_KEY_SERVICE_BLOCKED|API_KEY_HTTP_REFERRER_BLOCKED|API_KEY_IP_ADDRESS_BLOCKED"
                "|API_KEY_ANDROID_APP_BLOCKED|API_KEY_IOS_APP_BLOCKED",
     .texts = "^requests *are blocked", .cls = GB_CLASS_KEY, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "service_disabled", .from = 403, .to = 403, .reasons = "SERVICE_DISABLED",
     .texts = "^generative language api has not been used in project|^gemini api has not been used in project"
              "|^vertex ai api has not been used in project",
     .cls = GB_CLASS_PROJECT, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "billing_disabled", .from = 403, .to = 403, .reasons = "BILLING_DISABLED",
     .texts = "^this api method requires billing", .cls = GB_CLASS_PROJECT, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "project_suspended", .from = 403, .to = 403, .reasons = "CONSUMER_SUSPENDED",
     .texts = "^permission denied: consumer *has been suspended", .cls = GB_CLASS_PROJECT, .retry = 1,
     .revocable = 1, .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "project_invalid", .from = 403, .to = 403, .reasons = "CONSUMER_INVALID",
     .cls = GB_CLASS_PROJECT, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "project_denied", .from = 403, .to = 403, .texts = "^your project has been denied access",
     .cls = GB_CLASS_PROJECT, .retry = 1, .revocable = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},
    {.name = "no_key_sent", .from = 403, .to = 403, .texts = "unregistered callers",
     .cls = GB_CLASS_GATEWAY, .status = 500, .code = "gateway_misconfigured", .hint = GB_RETRY_NO,
     .say = NOT_YOURS},
    {.name = "affinity", .from = 403, .to = 403,
     .texts = "permission to access the file|cachedcontent not found|cached content not found|permission to access *may not exist",
     .cls = GB_CLASS_AFFINITY, .status = 404, .code = "file_not_found"},
    {.name = "unknown_403", .from = 403, .to = 403, .cls = GB_CLASS_UNKNOWN_AUTH, .retry = 1, .retry_max = 1,
     .status = 503, .code = "no_healthy_keys", .hint = GB_RETRY_NO, .say = NO_KEY},

    /* ---- 404 and the other 4xx ---- */

    {.name = "model_closed", .from = 404, .to = 404, .texts = "no longer available to new users",
     .cls = GB_CLASS_MODEL_ACCESS, .retry = 1, .code = "model_not_found", .param = "model"},
    {.name = "model_unknown", .from = 404, .to = 404,
     .texts = "is not found for api version|is not supported for|^publisher model *not found"
              "|^this model *is no longer available",
     .cls = GB_CLASS_CLIENT, .code = "model_not_found", .param = "model"},
    {.name = "not_found", .from = 404, .to = 404, .cls = GB_CLASS_CLIENT, .code = "not_found"},
    {.name = "proxy_auth", .from = 407, .to = 407, .cls = GB_CLASS_PROXY, .retry = 1,
     .status = 502, .code = "upstream_error", .say = "The proxy to the upstream could not be used."},
    {.name = "request_timeout", .from = 408, .to = 408, .cls = GB_CLASS_SERVICE, .retry = 1,
     .status = 504, .code = "timeout", .say = "The upstream did not answer in time."},
    {.name = "aborted", .from = 409, .to = 409, .google = "ABORTED", .cls = GB_CLASS_CLIENT,
     .retry = 1, .retry_max = 1, .code = "conflict"},
    {.name = "conflict", .from = 409, .to = 409, .cls = GB_CLASS_CLIENT, .code = "conflict",
     .hint = GB_RETRY_NO},
    {.name = "body_size", .from = 413, .to = 413, .cls = GB_CLASS_CLIENT, .code = "request_too_large"},

    /* ---- 429 ---- */

    {.name = "prepaid_gone", .from = 429, .to = 429, .texts = "prepayment credits are depleted|prepay credit",
     .cls = GB_CLASS_ACCOUNT, .retry = 1, .status = 429, .type = "insufficient_quota",
     .code = "insufficient_quota", .hint = GB_RETRY_NO,
     .say = "The gateway's prepaid credit with Google is used up."},
    {.name = "quota_month", .from = 429, .to = 429, .window = GB_QUOTA_SPEND_MONTH,
     .cls = GB_CLASS_QUOTA, .retry = 1, .type = "insufficient_quota", .code = "insufficient_quota",
     .hint = GB_RETRY_NO},
    {.name = "capacity", .from = 429, .to = 429, .reasons = "MODEL_CAPACITY_EXHAUSTED",
     .texts = "no capacity available", .cls = GB_CLASS_OVERLOADED, .retry = 1, .status = 503,
     .code = "overloaded", .after = 5},
    {.name = "quota_unavailable", .from = 429, .to = 429, .window = GB_QUOTA_UNAVAILABLE,
     .cls = GB_CLASS_QUOTA, .retry = 1, .code = "rate_limit_exceeded", .hint = GB_RETRY_NO},
    {.name = "quota_day", .from = 429, .to = 429, .window = GB_QUOTA_DAY, .cls = GB_CLASS_QUOTA,
     .retry = 1, .code = "rate_limit_exceeded", .hint = GB_RETRY_NO},
    {.name = "quota_minute", .from = 429, .to = 429, .window = GB_QUOTA_MINUTE, .cls = GB_CLASS_QUOTA,
     .retry = 1, .code = "rate_limit_exceeded", .after = 60},
    {.name = "quota_ambiguous", .from = 429, .to = 429, .cls = GB_CLASS_QUOTA,
     .retry = 1, .code = "rate_limit_exceeded", .after = 30},

    {.name = "upstream_cancelled", .from = 499, .to = 499, .cls = GB_CLASS_CANCELLED, .code = "cancelled"},
    {.name = "other_4xx", .from = 400, .to = 499, .cls = GB_CLASS_CLIENT, .code = "invalid_request"},

    /* ---- 5xx ---- */

    {.name = "overloaded", .from = 503, .to = 503, .texts = "overloaded|high demand",
     .cls = GB_CLASS_OVERLOADED, .retry = 1, .code = "overloaded", .after = 5},
    {.name = "unavailable", .from = 503, .to = 503, .cls = GB_CLASS_SERVICE, .retry = 1,
     .code = "upstream_error"},
    {.name = "internal", .from = 500, .to = 500, .cls = GB_CLASS_SERVICE, .retry = 1,
     .code = "upstream_error"},
    {.name = "deadline", .from = 504, .to = 504, .cls = GB_CLASS_SERVICE, .retry = 1, .code = "timeout"},
    {.name = "service", .cls = GB_CLASS_SERVICE, .retry = 1, .status = 502, .code = "upstream_error"},
};
/* clang-format on */

const size_t gb_class_rows_n = sizeof(gb_class_rows) / sizeof(gb_class_rows[0]);

const char *gb_classify_row_name(size_t i)
{
    return i < gb_class_rows_n ? gb_class_rows[i].name : NULL;
}
