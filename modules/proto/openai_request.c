/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chat request as one Gemini body: the order of the work, the members around
 * contents, and making the body anew when a field was refused or a picture
 * came.  The parts are left to the files beside this one.
 */
#include "proto/openai_int.h"

#include <string.h>
#include <apr_strings.h>

/* ---- members around contents ---- */

static void safety_put(gb_openai_call_t *call, gb_buf_t *out)
{
    gb_span_t own = gb_json_get2(call->google, "safety_settings", "safetySettings");
    const char *text = call->settings->safety_settings;

    if (gb_json_kind(own) == GB_JSON_ARRAY) {
        gb_buf_puts(out, ",\"safetySettings\":");
        gb_json_put_compact(out, own);
    }
    else if (text != NULL && *text != '\0' && strcmp(text, "[]") != 0) {
        gb_buf_puts(out, ",\"safetySettings\":");
        gb_buf_puts(out, text);
    }
}

static apr_status_t cached_put(gb_openai_call_t *call, gb_buf_t *out)
{
    gb_span_t name = gb_json_get2(call->google, "cached_content", "cachedContent");

    if (gb_openai_empty(name)) {
        return APR_SUCCESS;
    }
    if (call->model.major >= 4) {
        return gb_error_set(call->err, 400, "unsupported_value", "extra_body.google.cached_content",
                            "The model '%.90s' does not take cached content.", call->plan->model);
    }
    gb_buf_puts(out, ",\"cachedContent\":");
    return gb_json_put_span(out, name);
}

static const struct {
    const char *openai;
    const char *gemini; /* NULL: the default, which is not written */
} tiers[] = {
    {"auto",     NULL      },
    {"default",  NULL      },
    {"scale",    NULL      },
    {"flex",     "flex"    },
    {"priority", "priority"},
    {"fast",     "priority"},
};

static apr_status_t tier_put(gb_openai_call_t *call, gb_buf_t *out)
{
    gb_span_t tier = call->field[GB_OPENAI_SERVICE_TIER];
    size_t i;

    if (!gb_openai_there(tier)) {
        return APR_SUCCESS;
    }
    for (i = 0; i < sizeof(tiers) / sizeof(*tiers); i++) {
        if (!gb_json_eq(tier, tiers[i].openai)) {
            continue;
        }
        if (tiers[i].gemini != NULL && !(call->dropped & GB_OPENAI_DROP_TIER)) {
            gb_buf_printf(out, ",\"serviceTier\":\"%s\"", tiers[i].gemini);
            call->sent |= GB_OPENAI_DROP_TIER;
        }
        return APR_SUCCESS;
    }
    return gb_error_set(call->err, 400, "invalid_value", "service_tier",
                        "Invalid value for 'service_tier': supported values are 'auto', "
                        "'default', 'flex', 'scale', 'priority' and 'fast'.");
}

/* Google keeps requests of newer paid projects unless told not to. */
static void store_put(gb_openai_call_t *call, gb_buf_t *out)
{
    gb_span_t store = call->field[GB_OPENAI_STORE];

    if (call->dropped & GB_OPENAI_DROP_STORE) {
        return;
    }
    if (gb_openai_there(store)) {
        gb_buf_puts(out, gb_openai_flag(store) ? ",\"store\":true" : ",\"store\":false");
    }
    else if (!call->settings->store_requests) {
        gb_buf_puts(out, ",\"store\":false");
    }
    else {
        return;
    }
    call->sent |= GB_OPENAI_DROP_STORE;
}

/* ---- the body ---- */

apr_status_t gb_openai_around_put(gb_openai_call_t *call, gb_buf_t *out)
{
    apr_status_t rv;

    safety_put(call, out);
    if ((rv = cached_put(call, out)) != APR_SUCCESS || (rv = tier_put(call, out)) != APR_SUCCESS) {
        return rv;
    }
    store_put(call, out);
    gb_buf_putc(out, '}');
    return out->rv;
}

static int all_fetched(const gb_plan_t *plan)
{
    int i;

    for (i = 0; plan->fetches != NULL && i < plan->fetches->nelts; i++) {
        if (APR_ARRAY_IDX(plan->fetches, i, gb_fetch_t).bytes == NULL) {
            return 0;
        }
    }
    return 1;
}

static apr_status_t body_write(gb_openai_call_t *call, gb_buf_t *out)
{
    gb_buf_t generation;
    apr_status_t rv;

    /* first, because it may add a sentence to the system instruction */
    gb_buf_init_pool(&generation, GB_BUF_MAX_REQUEST, call->pool);
    if ((rv = gb_openai_generation_put(call, &generation)) != APR_SUCCESS) {
        return rv;
    }
    gb_buf_reserve(out, call->request.body_len + 1024);
    gb_buf_putc(out, '{');
    if ((rv = gb_openai_messages_put(call, out)) != APR_SUCCESS
        || (rv = gb_openai_tools_put(call, out)) != APR_SUCCESS) {
        return rv;
    }
    gb_buf_append(out, generation.data, generation.len);
    return gb_openai_around_put(call, out);
}

apr_status_t gb_openai_body_make(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;
    gb_buf_t *out = apr_palloc(call->pool, sizeof(*out));
    apr_status_t rv;

    call->sent = 0;
    call->has_media = 0;
    call->extra_system = NULL;
    gb_buf_init_pool(out, GB_BUF_MAX_REQUEST, call->pool);
    rv = body_write(call, out);
    plan->body = NULL;
    plan->body_len = 0;
    if (rv != APR_SUCCESS) {
        if (call->err->status == 0) {
            gb_error_set(call->err, 413, "request_too_large", NULL, "The request is too large.");
        }
        return rv;
    }
    plan->body = out->data;
    plan->body_len = out->len;
    if (plan->names == NULL && (call->refers || gb_openai_there(call->google))) {
        gb_gemini_names_in_body(plan);
    }
    if (!all_fetched(plan)) {
        plan->body = NULL;
        plan->body_len = 0;
    }
    return APR_SUCCESS;
}

static void path_make(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;

    plan->path = apr_psprintf(
        call->pool, "/%s%s:%s", strchr(plan->model_used, '/') != NULL ? "" : "models/",
        plan->model_used,
        plan->upstream_stream ? "streamGenerateContent?alt=sse" : "generateContent");
}

/* What should stay on one key: Google caches prompts by project. */
static apr_uint64_t affinity_of(const gb_openai_call_t *call)
{
    gb_span_t key = call->field[GB_OPENAI_PROMPT_CACHE_KEY];
    apr_uint64_t hash = 14695981039346656037u;
    size_t i;

    if (gb_openai_empty(key)) {
        key = call->field[GB_OPENAI_USER];
    }
    if (gb_openai_empty(key)) {
        return 0;
    }
    for (i = 0; i < key.len; i++) {
        hash = (hash ^ (unsigned char)key.p[i]) * 1099511628211u;
    }
    return hash;
}

apr_status_t gb_openai_chat_plan(gb_openai_call_t *call)
{
    apr_status_t rv = gb_openai_generation_plan(call);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    path_make(call);
    return gb_openai_body_make(call);
}

apr_status_t gb_openai_chat(gb_openai_call_t *call)
{
    gb_plan_t *plan = call->plan;
    apr_status_t rv;
    const char *body = call->request.body;
    gb_span_t root = gb_json_root(body, call->request.body_len);

    if ((rv = gb_openai_fields_read(call, root)) != APR_SUCCESS
        || (rv = gb_openai_model_resolve(call,
                                         gb_openai_text(call->field[GB_OPENAI_MODEL], call->pool)))
               != APR_SUCCESS
        || (rv = gb_openai_messages_read(call)) != APR_SUCCESS
        || (rv = gb_openai_tools_read(call)) != APR_SUCCESS) {
        return rv;
    }
    call->stream = gb_openai_flag(call->field[GB_OPENAI_STREAM]);
    call->remake = gb_openai_body_make;
    plan->paid = (call->variant & GB_VARIANT_PAID) != 0;
    gb_plan_hosts(plan, &call->request);
    plan->method = "POST";
    plan->content_type = "application/json";
    plan->operation = "chat";
    plan->expects_content = 1;
    plan->affinity = affinity_of(call);
    plan->answer_type = call->stream ? "text/event-stream; charset=utf-8" : "application/json";
    plan->stream_type = plan->answer_type;
    return call->model.is_imagen ? gb_openai_imagen_chat(call) : gb_openai_chat_plan(call);
}

/* ---- making it anew ---- */

/* What an upstream may call a field, and what goes with it. */
static const struct {
    const char *name;
    unsigned drop;
} droppable[] = {
    {"temperature",            GB_OPENAI_DROP_TEMPERATURE     },
    {"topP",                   GB_OPENAI_DROP_TOP_P           },
    {"top_p",                  GB_OPENAI_DROP_TOP_P           },
    {"topK",                   GB_OPENAI_DROP_TOP_K           },
    {"top_k",                  GB_OPENAI_DROP_TOP_K           },
    {"penalty",                GB_OPENAI_DROP_PENALTIES       },
    {"presencePenalty",        GB_OPENAI_DROP_PENALTIES       },
    {"presence_penalty",       GB_OPENAI_DROP_PENALTIES       },
    {"frequencyPenalty",       GB_OPENAI_DROP_PENALTIES       },
    {"frequency_penalty",      GB_OPENAI_DROP_PENALTIES       },
    {"thinkingConfig",         GB_OPENAI_DROP_THINKING        },
    {"thinking_config",        GB_OPENAI_DROP_THINKING        },
    {"thinkingLevel",          GB_OPENAI_DROP_THINKING_LEVEL  },
    {"thinking_level",         GB_OPENAI_DROP_THINKING_LEVEL  },
    {"thinkingBudget",         GB_OPENAI_DROP_THINKING_LEVEL  },
    {"thinking_budget",        GB_OPENAI_DROP_THINKING_LEVEL  },
    {"includeThoughts",        GB_OPENAI_DROP_INCLUDE_THOUGHTS},
    {"include_thoughts",       GB_OPENAI_DROP_INCLUDE_THOUGHTS},
    {"responseJsonSchema",     GB_OPENAI_DROP_RESPONSE_SCHEMA },
    {"response_json_schema",   GB_OPENAI_DROP_RESPONSE_SCHEMA },
    {"parametersJsonSchema",   GB_OPENAI_DROP_PARAMETER_SCHEMA},
    {"parameters_json_schema", GB_OPENAI_DROP_PARAMETER_SCHEMA},
    {"schema",                 GB_OPENAI_DROP_BOUNDS          },
    {"schemaBounds",           GB_OPENAI_DROP_BOUNDS          },
    {"mediaResolution",        GB_OPENAI_DROP_RESOLUTION      },
    {"media_resolution",       GB_OPENAI_DROP_RESOLUTION      },
    {"store",                  GB_OPENAI_DROP_STORE           },
    {"serviceTier",            GB_OPENAI_DROP_TIER            },
    {"service_tier",           GB_OPENAI_DROP_TIER            },
    {"thoughtSignature",       GB_OPENAI_DROP_SIGNATURES      },
    {"thought_signature",      GB_OPENAI_DROP_SIGNATURES      },
    {"seed",                   GB_OPENAI_DROP_SEED            },
    {"imageSize",              GB_OPENAI_DROP_IMAGE_SIZE      },
    {"image_size",             GB_OPENAI_DROP_IMAGE_SIZE      },
};

apr_status_t gb_openai_drop_field(gb_plan_t *plan, const char *field)
{
    gb_openai_call_t *call = plan->state;
    gb_error_t err = {0};
    unsigned drop = 0;
    size_t i;

    for (i = 0; i < sizeof(droppable) / sizeof(*droppable); i++) {
        if (strcmp(field, droppable[i].name) == 0) {
            drop = droppable[i].drop;
            break;
        }
    }
    if ((call->sent & drop & ~call->dropped) == 0) {
        return APR_NOTFOUND;
    }
    call->dropped |= drop;
    call->err = &err;
    return call->remake(call);
}

apr_status_t gb_openai_resume(gb_plan_t *plan, gb_error_t *err)
{
    gb_openai_call_t *call = plan->state;

    call->err = err;
    err->status = 0;
    return call->remake(call);
}

apr_status_t gb_openai_instead(gb_plan_t *plan)
{
    gb_openai_call_t *call = plan->state;
    gb_error_t err = {0};

    call->err = &err;
    apr_cpystrn(plan->model_used, plan->other_model, sizeof(plan->model_used));
    plan->other_model = NULL;
    gb_model_parse(&call->model, plan->model_used);
    return call->instead(call);
}
