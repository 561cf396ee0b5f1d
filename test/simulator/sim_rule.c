/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads fault rules, literal answers and pace settings from the JSON of the
 * control requests, and says clearly what it does not understand.
 */
#include "sim_rule.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- members by table ---- */

typedef enum { M_TEXT, M_LONG, M_BOOL, M_OTHER } member_kind_t;

typedef struct {
    const char *name;
    member_kind_t kind;
    size_t offset;
} member_t;

#define RULE(member) offsetof(sim_rule_t, member)

/* M_OTHER members are read by name further down. */
static const member_t rule_members[] = {
    {"match",         M_OTHER, 0                  },
    {"kind",          M_OTHER, 0                  },
    {"count",         M_LONG,  RULE(count)        },
    {"every",         M_LONG,  RULE(every)        },
    {"skip",          M_LONG,  RULE(skip)         },
    {"probability",   M_OTHER, 0                  },
    {"seed",          M_OTHER, 0                  },
    {"delay_ms",      M_LONG,  RULE(delay_ms)     },
    {"status",        M_OTHER, 0                  },
    {"body",          M_OTHER, 0                  },
    {"text",          M_OTHER, 0                  },
    {"json",          M_OTHER, 0                  },
    {"body_base64",   M_OTHER, 0                  },
    {"sse",           M_OTHER, 0                  },
    {"events",        M_OTHER, 0                  },
    {"headers",       M_OTHER, 0                  },
    {"framing",       M_OTHER, 0                  },
    {"how",           M_OTHER, 0                  },
    {"shape",         M_OTHER, 0                  },
    {"form",          M_OTHER, 0                  },
    {"pace",          M_OTHER, 0                  },
    {"usage",         M_OTHER, 0                  },
    {"after",         M_LONG,  RULE(after)        },
    {"bytes",         M_LONG,  RULE(bytes)        },
    {"message",       M_TEXT,  RULE(message)      },
    {"project",       M_TEXT,  RULE(project)      },
    {"retry_delay",   M_TEXT,  RULE(retry_delay)  },
    {"quota_value",   M_TEXT,  RULE(quota_value)  },
    {"quota_id",      M_TEXT,  RULE(quota_id)     },
    {"quota_metric",  M_TEXT,  RULE(quota_metric) },
    {"order",         M_TEXT,  RULE(order)        },
    {"reason",        M_TEXT,  RULE(reason)       },
    {"model_version", M_TEXT,  RULE(model_version)},
    {"close_after",   M_BOOL,  RULE(close_after)  },
    {"split",         M_OTHER, 0                  },
    {"interval_ms",   M_OTHER, 0                  },
    {"newline",       M_OTHER, 0                  },
    {NULL,            M_OTHER, 0                  }
};

static const member_t match_members[] = {
    {"key",        M_TEXT,  RULE(key)       },
    {"model",      M_TEXT,  RULE(model)     },
    {"method",     M_TEXT,  RULE(method)    },
    {"path",       M_TEXT,  RULE(path)      },
    {"request_id", M_TEXT,  RULE(request_id)},
    {NULL,         M_OTHER, 0               }
};

#define PACE(member) offsetof(sim_pace_t, member)

static const member_t pace_members[] = {
    {"chunks",        M_LONG,  PACE(chunks)       },
    {"interval_ms",   M_LONG,  PACE(interval_ms)  },
    {"first_ms",      M_LONG,  PACE(first_ms)     },
    {"delay_ms",      M_LONG,  PACE(delay_ms)     },
    {"size",          M_LONG,  PACE(size)         },
    {"split_ms",      M_LONG,  PACE(split_ms)     },
    {"seq",           M_BOOL,  PACE(seq)          },
    {"stamp",         M_BOOL,  PACE(stamp)        },
    {"unary_chunked", M_BOOL,  PACE(unary_chunked)},
    {"split",         M_OTHER, 0                  },
    {"newline",       M_OTHER, 0                  },
    {"seed",          M_OTHER, 0                  },
    {NULL,            M_OTHER, 0                  }
};

static bool set_member(void *base, const member_t *m, json_t *value, sim_buf_t *error)
{
    char *at = (char *)base + m->offset;

    switch (m->kind) {
    case M_TEXT:
        if (json_is_string(value)) {
            *(char **)(void *)at = sim_strndup(json_string_value(value), json_string_length(value));
            return true;
        }
        break;
    case M_LONG:
        if (json_is_number(value)) {
            *(long *)(void *)at = (long)json_number_value(value);
            return true;
        }
        break;
    case M_BOOL:
        if (json_is_boolean(value)) {
            *(bool *)(void *)at = json_is_true(value);
            return true;
        }
        break;
    case M_OTHER:
        return true;
    }
    sim_buf_printf(error, "wrong type of \"%s\"", m->name);
    return false;
}

static bool set_members(void *base, const member_t *table, json_t *object, sim_buf_t *error)
{
    const char *name;
    json_t *value;

    if (object != NULL && !json_is_object(object)) {
        sim_buf_printf(error, "an object is needed");
        return false;
    }
    json_object_foreach(object, name, value)
    {
        const member_t *m = table;

        while (m->name != NULL && strcmp(m->name, name) != 0) {
            m++;
        }
        if (m->name == NULL) {
            sim_buf_printf(error, "unknown member \"%s\"", name);
            return false;
        }
        if (!set_member(base, m, value, error)) {
            return false;
        }
    }
    return true;
}

/* ---- words ---- */

typedef struct {
    const char *word;
    int value;
} word_t;

static const word_t kinds[] = {
    {"status",          SK_STATUS         },
    {"answer",          SK_ANSWER         },
    {"reset",           SK_RESET          },
    {"close",           SK_CLOSE          },
    {"cut",             SK_CUT            },
    {"stall",           SK_STALL          },
    {"delay",           SK_DELAY          },
    {"empty",           SK_EMPTY          },
    {"blocked",         SK_BLOCKED        },
    {"finish",          SK_FINISH         },
    {"midstream_error", SK_MIDSTREAM_ERROR},
    {"malformed_call",  SK_FINISH         },
    {NULL,              0                 }
};

static const word_t endings[] = {
    {"rst",   SE_RST  },
    {"close", SE_CLOSE},
    {"end",   SE_END  },
    {"stall", SE_STALL},
    {NULL,    0       }
};

static const word_t shapes[] = {
    {"no_content",       SY_NO_CONTENT      },
    {"empty_content",    SY_EMPTY_CONTENT   },
    {"role_only",        SY_ROLE_ONLY       },
    {"no_parts",         SY_NO_PARTS        },
    {"empty_text",       SY_EMPTY_TEXT      },
    {"no_candidates",    SY_NO_CANDIDATES   },
    {"empty_candidates", SY_EMPTY_CANDIDATES},
    {"feedback_only",    SY_FEEDBACK_ONLY   },
    {"full",             SY_FULL            },
    {NULL,               0                  }
};

static const word_t framings[] = {
    {"length",  FR_LENGTH     },
    {"chunked", FR_CHUNKED    },
    {"close",   FR_UNTIL_CLOSE},
    {NULL,      0             }
};

static const word_t newlines[] = {
    {"crlf", SN_CRLF},
    {"lf",   SN_LF  },
    {"cr",   SN_CR  },
    {NULL,   0      }
};

static bool find_word(const word_t *table, json_t *value, int *found)
{
    const char *s = json_string_value(value);

    for (; s != NULL && table->word != NULL; table++) {
        if (strcmp(table->word, s) == 0) {
            *found = table->value;
            return true;
        }
    }
    return false;
}

/* True when the member is absent or understood. */
static bool read_word(const word_t *table, json_t *object, const char *name, int *found,
                      sim_buf_t *error)
{
    json_t *value = json_object_get(object, name);

    if (value == NULL || find_word(table, value, found)) {
        return true;
    }
    sim_buf_printf(error, "unknown \"%s\"; known are", name);
    for (; table->word != NULL; table++) {
        sim_buf_printf(error, " %s", table->word);
    }
    return false;
}

const char *sim_rule_kind_name(sim_kind_t kind)
{
    const word_t *w = kinds;

    while (w->word != NULL && w->value != (int)kind) {
        w++;
    }
    return w->word != NULL ? w->word : "?";
}

bool sim_pace_read(sim_pace_t *pace, json_t *object, sim_buf_t *error)
{
    json_t *split = json_object_get(object, "split");
    int newline = (int)pace->newline;

    if (!set_members(pace, pace_members, object, error)
        || !read_word(newlines, object, "newline", &newline, error)) {
        return false;
    }
    pace->newline = (sim_newline_t)newline;
    if (split != NULL) {
        pace->split = json_is_string(split) ? -1 : (long)json_integer_value(split);
    }
    if (json_object_get(object, "seed") != NULL) {
        pace->split_seed = (uint64_t)json_integer_value(json_object_get(object, "seed"));
    }
    return true;
}

/* ---- bodies ---- */

static void put_json(sim_buf_t *b, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    if (text != NULL) {
        sim_puts(b, text);
    }
    free(text);
}

static void add_cut(sim_rule_t *rule)
{
    if (rule->ncuts > 0 && rule->cuts[rule->ncuts - 1] == rule->body.len) {
        return;
    }
    rule->cuts = sim_xrealloc(rule->cuts, (rule->ncuts + 1) * sizeof(*rule->cuts));
    rule->cuts[rule->ncuts++] = (uint32_t)rule->body.len;
}

static void put_newline(sim_rule_t *rule)
{
    sim_str_t end = sim_newline(rule->pace.newline);

    sim_put(&rule->body, end.p, end.n);
}

/* Copies SSE text; an empty line ends an event. Line ends are kept unless told. */
static void put_sse(sim_rule_t *rule, json_t *value, bool convert)
{
    const char *s = json_string_value(value);
    size_t n = json_string_length(value), i = 0;

    while (i < n) {
        size_t from = i, line;

        while (i < n && s[i] != '\r' && s[i] != '\n') {
            i++;
        }
        line = i - from;
        sim_put(&rule->body, s + from, line);
        from = i;
        if (i < n) {
            i += s[i] == '\r' && i + 1 < n && s[i + 1] == '\n' ? 2 : 1;
        }
        if (convert && i > from) {
            put_newline(rule);
        }
        else {
            sim_put(&rule->body, s + from, i - from);
        }
        if (line == 0) {
            add_cut(rule);
        }
    }
    add_cut(rule);
}

static void put_events(sim_rule_t *rule, json_t *list)
{
    size_t i;
    json_t *event;

    json_array_foreach(list, i, event)
    {
        if (json_is_string(event)) {
            sim_put(&rule->body, json_string_value(event), json_string_length(event));
        }
        else {
            sim_putl(&rule->body, "data: ");
            put_json(&rule->body, event);
            put_newline(rule);
            put_newline(rule);
        }
        add_cut(rule);
    }
}

static bool put_base64(sim_rule_t *rule, json_t *value, sim_buf_t *error)
{
    if (json_is_string(value)
        && sim_base64_decode(&rule->body, json_string_value(value), json_string_length(value))) {
        return true;
    }
    sim_buf_printf(error, "body_base64 is no base64");
    return false;
}

static void header_line(sim_rule_t *rule, const char *name, const char *value)
{
    sim_buf_printf(&rule->headers, "%s: %s\r\n", name, value);
}

static bool read_headers(sim_rule_t *rule, json_t *object, sim_buf_t *error)
{
    json_t *headers = json_object_get(object, "headers");
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value)
    {
        if (!json_is_string(value)) {
            sim_buf_printf(error, "header \"%s\" is no string", name);
            return false;
        }
        /* framing is ours, so that recorded heads can be replayed as they are */
        if (strcasecmp(name, "content-length") != 0 && strcasecmp(name, "transfer-encoding") != 0
            && strcasecmp(name, "connection") != 0) {
            header_line(rule, name, json_string_value(value));
        }
    }
    return true;
}

static bool has_header(const sim_rule_t *rule, const char *name)
{
    sim_buf_t copy = {0};
    bool found;

    sim_putc(&copy, '\n');
    sim_put(&copy, rule->headers.p, rule->headers.len);
    sim_putc(&copy, '\0');
    found = strcasestr(copy.p, name) != NULL;
    sim_buf_free(&copy);
    return found;
}

static bool read_answer(sim_rule_t *rule, json_t *object, sim_buf_t *error)
{
    json_t *text = json_object_get(object, "body"), *sse = json_object_get(object, "sse");
    json_t *json = json_object_get(object, "json"), *events = json_object_get(object, "events");
    json_t *base64 = json_object_get(object, "body_base64");
    bool stream = sse != NULL || events != NULL;
    int framing = stream || rule->pace.split != 0 ? FR_CHUNKED : FR_LENGTH;

    if (sse != NULL) {
        put_sse(rule, sse, json_object_get(object, "newline") != NULL);
    }
    else if (events != NULL) {
        put_events(rule, events);
    }
    else if (json != NULL) {
        put_json(&rule->body, json);
    }
    else if (base64 != NULL) {
        if (!put_base64(rule, base64, error)) {
            return false;
        }
    }
    else if (json_is_string(text)) {
        sim_put(&rule->body, json_string_value(text), json_string_length(text));
    }
    if (rule->body.len > 0) {
        add_cut(rule);
    }
    if (!read_word(framings, object, "framing", &framing, error)) {
        return false;
    }
    rule->framing = (sim_framing_t)framing;
    rule->ending = json_object_get(object, "how") == NULL ? SE_NONE : rule->ending;
    if (!has_header(rule, "\ncontent-type:")) {
        header_line(rule, "Content-Type",
                    stream ? "text/event-stream" : "application/json; charset=UTF-8");
    }
    return true;
}

static bool read_status(sim_rule_t *rule, json_t *object, const char *kind, sim_buf_t *error)
{
    json_t *body = json_object_get(object, "body"), *text = json_object_get(object, "text");
    json_t *status = json_object_get(object, "status");
    const char *name = sim_canned_status(kind) > 0 ? kind : json_string_value(body);

    rule->body_type = ST_JSON;
    if (name != NULL) {
        rule->status = sim_canned_status(name);
        rule->canned = sim_strndup(name, strlen(name));
        if (rule->status == 0) {
            sim_buf_printf(error, "unknown body \"%s\"; known are ", name);
            sim_canned_names(error);
            return false;
        }
    }
    else if (body != NULL) {
        put_json(&rule->body, body);
        rule->literal_body = true;
    }
    else if (text != NULL) {
        sim_put(&rule->body, json_string_value(text), json_string_length(text));
        rule->literal_body = true;
        rule->body_type = ST_TEXT;
        if (rule->body.len > 0 && rule->body.p[0] == '<') {
            rule->body_type = ST_HTML;
        }
    }
    if (status != NULL) {
        rule->status = (int)json_integer_value(status);
    }
    if (rule->status == 0) {
        rule->status = 503;
    }
    return true;
}

/* ---- rules ---- */

static bool read_match(sim_rule_t *rule, json_t *object, sim_buf_t *error)
{
    json_t *probability = json_object_get(object, "probability");
    json_t *seed = json_object_get(object, "seed");

    rule->probability = probability != NULL ? json_number_value(probability) : 1;
    rule->random = seed != NULL ? (uint64_t)json_integer_value(seed) + 1 : 1;
    rule->every = rule->every < 1 ? 1 : rule->every;
    return set_members(rule, match_members, json_object_get(object, "match"), error);
}

/* Answers carry their pace beside them, all other rules in "pace". */
static bool read_pace(sim_rule_t *rule, json_t *object, bool is_answer, sim_buf_t *error)
{
    json_t *pace = json_object_get(object, "pace");
    json_t *split = json_object_get(object, "split");
    json_t *interval = json_object_get(object, "interval_ms");
    int newline = SN_CRLF;

    rule->has_pace = pace != NULL && !is_answer;
    if (!sim_pace_read(&rule->pace, pace, error)
        || !read_word(newlines, object, "newline", &newline, error)) {
        return false;
    }
    rule->pace.newline = pace != NULL ? rule->pace.newline : (sim_newline_t)newline;
    if (split != NULL) {
        rule->pace.split = json_is_string(split) ? -1 : (long)json_integer_value(split);
    }
    if (rule->pace.split_seed == 0) {
        rule->pace.split_seed = (uint64_t)json_integer_value(json_object_get(object, "seed"));
    }
    if (interval != NULL) {
        rule->pace.interval_ms = (long)json_number_value(interval);
    }
    return true;
}

static bool read_kind(sim_rule_t *rule, json_t *object, bool is_answer, sim_buf_t *error)
{
    const char *word = json_string_value(json_object_get(object, "kind"));
    int kind = SK_STATUS;

    if (is_answer) {
        rule->kind = SK_ANSWER;
        return true;
    }
    if (word != NULL && sim_canned_status(word) == 0
        && !read_word(kinds, object, "kind", &kind, error)) {
        sim_buf_printf(error, " and ");
        sim_canned_names(error);
        return false;
    }
    rule->kind = (sim_kind_t)kind;
    if (word != NULL && strcmp(word, "malformed_call") == 0 && rule->reason == NULL) {
        static const char reason[] = "MALFORMED_FUNCTION_CALL";
        static const char message[] = "Malformed function call: print(default_api.get_weather("
                                      "city='Paris'";

        rule->reason = sim_strndup(reason, sizeof(reason) - 1);
        rule->message = rule->message ? rule->message : sim_strndup(message, sizeof(message) - 1);
        rule->shape = SY_EMPTY_CONTENT;
    }
    return true;
}

static bool read_ending(sim_rule_t *rule, json_t *object, sim_buf_t *error)
{
    int ending = rule->kind == SK_CUT               ? SE_RST
                 : rule->kind == SK_STALL           ? SE_STALL
                 : rule->kind == SK_MIDSTREAM_ERROR ? SE_ERROR
                                                    : SE_NONE;
    int shape = rule->kind == SK_EMPTY ? SY_NO_CONTENT : (int)rule->shape;
    json_t *form = json_object_get(object, "form");

    if (!read_word(endings, object, "how", &ending, error)
        || !read_word(shapes, object, "shape", &shape, error)) {
        return false;
    }
    rule->ending = (sim_ending_t)ending;
    rule->shape = rule->kind == SK_BLOCKED ? SY_BLOCKED : (sim_shape_t)shape;
    rule->in_data = form != NULL
                    && strcmp(json_string_value(form) ? json_string_value(form) : "", "data") == 0;
    rule->no_usage = json_is_false(json_object_get(object, "usage"));
    if (rule->reason == NULL && (rule->kind == SK_BLOCKED || rule->kind == SK_FINISH)) {
        rule->reason = sim_strndup("SAFETY", 6);
    }
    return true;
}

static bool read_rule(sim_rule_t *rule, json_t *object, bool is_answer, sim_buf_t *error)
{
    if (!json_is_object(object) || !set_members(rule, rule_members, object, error)
        || !read_match(rule, object, error) || !read_pace(rule, object, is_answer, error)
        || !read_kind(rule, object, is_answer, error) || !read_ending(rule, object, error)
        || !read_headers(rule, object, error)) {
        return false;
    }
    if (rule->kind == SK_ANSWER) {
        rule->status = (int)json_integer_value(json_object_get(object, "status"));
        rule->status = rule->status > 0 ? rule->status : 200;
        rule->count = json_object_get(object, "count") == NULL ? 1 : rule->count;
        return read_answer(rule, object, error);
    }
    if (rule->kind == SK_STATUS || rule->kind == SK_MIDSTREAM_ERROR) {
        return read_status(rule, object, json_string_value(json_object_get(object, "kind")), error);
    }
    return true;
}

void sim_rule_free(sim_rule_t *rule)
{
    char *owned[] = {rule->key,         rule->model,       rule->method,       rule->path,
                     rule->request_id,  rule->canned,      rule->message,      rule->project,
                     rule->retry_delay, rule->quota_value, rule->quota_id,     rule->quota_metric,
                     rule->order,       rule->reason,      rule->model_version};
    size_t i;

    for (i = 0; i < sizeof(owned) / sizeof(*owned); i++) {
        free(owned[i]);
    }
    sim_buf_free(&rule->headers);
    sim_buf_free(&rule->body);
    free(rule->cuts);
    free(rule);
}

static bool install_one(json_t *object, bool is_answer, sim_buf_t *error)
{
    static int ids;
    sim_rule_t *rule = sim_xcalloc(1, sizeof(*rule));

    if (!read_rule(rule, object, is_answer, error)) {
        if (error->len == 0) {
            sim_buf_printf(error, "a rule must be an object");
        }
        sim_rule_free(rule);
        return false;
    }
    rule->id = ++ids;
    sim_fault_add(rule);
    return true;
}

bool sim_fault_install(json_t *body, bool is_answer, sim_buf_t *error)
{
    const char *member = is_answer ? "answers" : "rules";
    json_t *list = json_object_get(body, member), *item;
    size_t i;

    if (list == NULL) {
        return install_one(body, is_answer, error);
    }
    if (!is_answer && !json_is_true(json_object_get(body, "add"))) {
        sim_fault_clear();
    }
    json_array_foreach(list, i, item)
    {
        if (!install_one(item, is_answer, error)) {
            return false;
        }
    }
    return true;
}
