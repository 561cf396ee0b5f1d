/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key as a page shows it: its state in words, shape and colour, why it is in it
 * and until when.
 */
#include "admin_keys.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

/* ---- states ---- */

const admin_key_state_t admin_key_states[ADMIN_KEY_STATES] = {
    {GB_KEYS_ACTIVE,  "active",    ADMIN_WORD("Active"),   "ok",    "ok"   },
    {GB_KEYS_COOLING, "cooling",   ADMIN_WORD("Cooling"),  "cool",  "cool" },
    {GB_KEYS_TRIAL,   "half-open", ADMIN_WORD("On trial"), "trial", "trial"},
    {GB_KEYS_FAILED,  "failed",    ADMIN_WORD("Failed"),   "bad",   "warn" },
    {GB_KEYS_INVALID, "invalid",   ADMIN_WORD("Invalid"),  "bad",   "bad"  },
    {GB_KEYS_OFF,     "off",       ADMIN_WORD("Off"),      "off",   "off"  },
};

const admin_key_state_t *admin_key_state(int bit)
{
    int i = 0;

    while (i < ADMIN_KEY_STATES - 1 && admin_key_states[i].bit != bit) {
        i++;
    }
    return &admin_key_states[i];
}

/* ---- reasons ---- */

/* Rows of the table of outcomes (proto/classify_rows.c) that say something of a key. */
static const struct {
    const char *row, *words;
} reasons[] = {
    {"key_invalid",       ADMIN_WORD("Key not valid")            },
    {"key_expired",       ADMIN_WORD("Key expired")              },
    {"key_leaked",        ADMIN_WORD("Reported as leaked")       },
    {"key_restricted",    ADMIN_WORD("Key is restricted")        },
    {"service_disabled",  ADMIN_WORD("API is switched off")      },
    {"billing_disabled",  ADMIN_WORD("Billing is off")           },
    {"billing_needed",    ADMIN_WORD("Billing is needed")        },
    {"project_suspended", ADMIN_WORD("Project suspended")        },
    {"project_invalid",   ADMIN_WORD("Project not valid")        },
    {"project_denied",    ADMIN_WORD("Project denied")           },
    {"credit_gone",       ADMIN_WORD("Credit used up")           },
    {"prepaid_gone",      ADMIN_WORD("Credit used up")           },
    {"auth_type",         ADMIN_WORD("Refused, nobody knows why")},
    {"unknown_401",       ADMIN_WORD("Refused, nobody knows why")},
    {"unknown_403",       ADMIN_WORD("Refused, nobody knows why")},
    {"region",            ADMIN_WORD("Region not served")        },
    {"model_closed",      ADMIN_WORD("Model not offered")        },
    {"quota_minute",      ADMIN_WORD("Limit per minute")         },
    {"quota_day",         ADMIN_WORD("Limit per day")            },
    {"quota_month",       ADMIN_WORD("Limit per month")          },
    {"quota_ambiguous",   ADMIN_WORD("Limit reached")            },
    {"quota_unavailable", ADMIN_WORD("Model not offered")        },
    {"capacity",          ADMIN_WORD("No capacity")              },
    {"overloaded",        ADMIN_WORD("Overloaded")               },
    {"unavailable",       ADMIN_WORD("Unavailable")              },
    {"internal",          ADMIN_WORD("Error at Google")          },
    {"service",           ADMIN_WORD("Error at Google")          },
    {"deadline",          ADMIN_WORD("Took too long")            },
    {"timeout",           ADMIN_WORD("No answer in time")        },
    {"connect",           ADMIN_WORD("Not reachable")            },
    {"proxy",             ADMIN_WORD("Proxy failed")             },
    {"proxy_auth",        ADMIN_WORD("Proxy refused")            },
    {"tls",               ADMIN_WORD("No secure connection")     },
    {"reset",             ADMIN_WORD("Answer broke off")         },
    {"cut",               ADMIN_WORD("Answer broke off")         },
};

const char *admin_key_reason(const char *row)
{
    size_t i;

    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (strcmp(reasons[i].row, row) == 0) {
            return reasons[i].words;
        }
    }
    return row;
}

/* ---- pieces ---- */

/* Deadlines run by a clock that is not the wall's: what is told of one would jump by a second, and a
 * minute, from look to look. */
json_t *admin_key_until(apr_time_t at)
{
    return admin_time((at + APR_USEC_PER_SEC / 2) / APR_USEC_PER_SEC * APR_USEC_PER_SEC);
}

const char *admin_key_masked(const char *masked, apr_pool_t *p)
{
    const char *dots = strstr(masked, "...");

    while (dots && dots[3] == '.') { /* "AQ." has one of its own */
        dots++;
    }
    return dots ? apr_pstrcat(p, apr_pstrmemdup(p, masked, (apr_size_t)(dots - masked)),
                              "\xe2\x80\xa6", dots + 3, NULL)
                : masked;
}

json_t *admin_key_text(const char *text)
{
    size_t len = strlen(text), cut;
    json_t *json = json_string(text);

    for (cut = 1; !json && cut <= 3 && cut < len; cut++) {
        json = json_stringn(text, len - cut);
    }
    return json ? json : json_string("");
}

const char *admin_key_model(const char *model)
{
    return strncmp(model, "gemini-", 7) == 0 && model[7] ? model + 7 : model;
}

json_t *admin_key_bar(apr_uint64_t part, apr_uint64_t whole)
{
    apr_uint64_t width = whole ? part * 1000 / whole : 0;

    return json_integer((json_int_t)(width > 1000 ? 1000 : width));
}

static json_t *tags_of(const char *tags)
{
    json_t *all = json_array();

    while (*tags) {
        size_t len = strcspn(tags, ",");

        json_array_append_new(all, json_stringn(tags, len));
        tags += len + (tags[len] == ',');
    }
    return all;
}

static int is_long(gb_pool_cool_t reason)
{
    return reason == GB_COOL_DAY || reason == GB_COOL_MONTH || reason == GB_COOL_UNAVAILABLE
           || reason == GB_COOL_ACCESS;
}

static json_t *rests_of(const gb_keys_row_t *row)
{
    json_t *all = json_array();
    int i;

    for (i = 0; i < row->n_rests; i++) {
        const gb_keys_rest_t *rest = &row->rests[i];
        int lasts = is_long(rest->reason);

        json_array_append_new(all, json_pack("{s:s, s:o, s:b, s:s}", "model",
                                             admin_key_model(rest->model), "until",
                                             admin_key_until(rest->until), "long", lasts, "icon",
                                             lasts ? "clock" : "cool"));
    }
    return all;
}

/* Two words under the state. */
static void put_sub(json_t *json, const gb_keys_row_t *row)
{
    const gb_pool_key_t *key = &row->key;

    switch (row->state) {
    case GB_KEYS_COOLING:
        json_object_set_new(json, "sub_models", json_pack("{s:i}", "n", key->resting));
        break;
    case GB_KEYS_FAILED:
        json_object_set_new(json, "sub_failures", json_pack("{s:i}", "n", key->failures));
        break;
    case GB_KEYS_TRIAL:
        json_object_set_new(json, "sub", json_string(ADMIN_WORD("half-open")));
        break;
    case GB_KEYS_INVALID:
        json_object_set_new(json, "sub", json_string(ADMIN_WORD("by Google")));
        break;
    case GB_KEYS_OFF:
        json_object_set_new(json, "sub", json_string(ADMIN_WORD("by hand")));
        break;
    default:
        break;
    }
}

static void put_counts(json_t *json, const gb_pool_key_t *key)
{
    json_object_set_new(json, "failures", json_integer(key->failures));
    json_object_set_new(json, "tokens", json_integer((json_int_t)key->day_tokens));
    json_object_set_new(json, "calls", json_integer((json_int_t)key->day_calls));
    json_object_set_new(json, "in_flight", json_integer(key->in_flight));
    if (key->picks) {
        json_object_set_new(json, "share",
                            json_pack("{s:f, s:o}", "of", (double)key->quotas / (double)key->picks,
                                      "width", admin_key_bar(key->quotas, key->picks)));
    }
}

/* What was said of it last, as long as that is no good news. */
static void put_error(json_t *json, const gb_pool_key_t *key)
{
    if (!key->row[0] || strcmp(key->row, "success") == 0) {
        return;
    }
    json_object_set_new(json, "error",
                        json_pack("{s:s, s:s, s:o, s:o}", "words", admin_key_reason(key->row),
                                  "row", key->row, "text", admin_key_text(key->text), "at",
                                  admin_time(key->text_at)));
}

json_t *admin_key_row(const gb_keys_row_t *row, apr_pool_t *p)
{
    const admin_key_state_t *state = admin_key_state(row->state);
    const gb_pool_key_t *key = &row->key;
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "id", key->id, "masked",
                             admin_key_masked(row->masked, p), "state", state->name, "words",
                             state->words, "pill", state->pill, "icon", state->icon, "enabled",
                             key->enabled);

    json_object_set_new(json, "project", admin_key_text(key->project));
    json_object_set_new(json, "note", admin_key_text(key->note));
    json_object_set_new(json, "tags", tags_of(key->tags));
    json_object_set_new(json, "rests", rests_of(row));
    json_object_set_new(json, "resting", json_boolean(row->n_rests > 0));
    if (key->resting > row->n_rests) {
        json_object_set_new(json, "more_rests",
                            json_pack("{s:i}", "n", key->resting - row->n_rests));
    }
    if (row->state == GB_KEYS_FAILED) {
        json_object_set_new(json, "retry_at", admin_key_until(key->retry_at));
    }
    put_sub(json, row);
    put_counts(json, key);
    put_error(json, key);
    return json;
}
