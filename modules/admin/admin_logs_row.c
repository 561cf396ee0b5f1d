/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the logs as trees: a line of the table, and a call with all of its
 * attempts on one time line.
 */
#include "admin_logs.h"

#include "apr_strings.h"

#define BAR 1000 /* width of the time line */

static const admin_class_t classes[] = {
    {"success",      "ok",    "ok",      ADMIN_WORD("answered")         },
    {"empty",        "bad",   "warn",    ADMIN_WORD("empty answer")     },
    {"blocked",      "trial", "shield",  ADMIN_WORD("blocked")          },
    {"client",       "off",   "user",    ADMIN_WORD("by client")        },
    {"adaptive",     "off",   "refresh", ADMIN_WORD("field left out")   },
    {"affinity",     "off",   "key",     ADMIN_WORD("other project")    },
    {"key",          "bad",   "key",     ADMIN_WORD("key refused")      },
    {"project",      "bad",   "key",     ADMIN_WORD("project refused")  },
    {"account",      "bad",   "key",     ADMIN_WORD("billing")          },
    {"region",       "bad",   "globe",   ADMIN_WORD("region refused")   },
    {"model_access", "off",   "pause",   ADMIN_WORD("model not offered")},
    {"unknown_auth", "bad",   "key",     ADMIN_WORD("not allowed")      },
    {"quota",        "cool",  "cool",    ADMIN_WORD("quota")            },
    {"service",      "bad",   "warn",    ADMIN_WORD("service fault")    },
    {"overloaded",   "bad",   "warn",    ADMIN_WORD("overloaded")       },
    {"gateway",      "bad",   "bad",     ADMIN_WORD("our fault")        },
    {"cancelled",    "off",   "user",    ADMIN_WORD("client left")      },
    {"lost",         "bad",   "warn",    ADMIN_WORD("end unknown")      },
    {"",             "off",   "warn",    ADMIN_WORD("unknown")          },
};

const admin_class_t *admin_class(const char *name)
{
    size_t i, last = sizeof(classes) / sizeof(classes[0]) - 1;

    for (i = 0; i < last; i++) {
        if (name && strcmp(classes[i].name, name) == 0) {
            break;
        }
    }
    return &classes[i];
}

/* gemini-balance's rows have no class. */
static const char *class_by_status(const gb_log_row_t *row)
{
    return row->is_success                          ? "success"
           : row->status == 429                     ? "quota"
           : row->status == 0 || row->status >= 500 ? "service"
                                                    : "";
}

const admin_class_t *admin_class_of(const gb_log_row_t *row)
{
    return admin_class(row->cls ? row->cls : class_by_status(row));
}

/* ---- texts ---- */

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* Texts of upstreams and clients: whatever they hold, the tree wants UTF-8. */
static json_t *safe_string(const char *text)
{
    json_t *string = json_string(or_empty(text));
    gb_buf_t clean;

    if (string) {
        return string;
    }
    gb_buf_init(&clean, GB_BUF_MAX_ANSWER);
    gb_json_put_str(&clean, text, strlen(text));
    string = json_loadb(clean.data, clean.len, JSON_DECODE_ANY, NULL);
    gb_buf_free(&clean);
    return string ? string : json_string("");
}

/* The sentence in Google's error body, which a list has cut. */
static const char *sentence(const char *text, apr_pool_t *p)
{
    const char *at = or_empty(text), *end;
    const char *found;

    if (*at != '{' && *at != '[') {
        return at;
    }
    found = strstr(at, "\"message\"");
    found = found ? strchr(found + strlen("\"message\""), '"') : NULL;
    if (!found) {
        return at;
    }
    for (end = found + 1; *end && *end != '"'; end += *end == '\\' && end[1] ? 2 : 1) {
        ;
    }
    if (*end == '"') {
        gb_span_t span = {found, (size_t)(end + 1 - found)};
        const char *words = gb_json_str(span, NULL, p);

        return words ? words : at;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, found + 1, (apr_size_t)(end - found - 1)),
                       "\xe2\x80\xa6", NULL);
}

static double seconds(apr_int64_t ms)
{
    return (double)ms / 1000.0;
}

static json_t *count(apr_int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

static void put_facts(json_t *tree, const gb_log_row_t *row)
{
    json_object_set_new(tree, "model", safe_string(row->model));
    json_object_set_new(tree, "model_asked", safe_string(row->model_asked));
    json_object_set_new(
        tree, "is_alias",
        json_boolean(row->model && row->model_asked && strcmp(row->model, row->model_asked) != 0));
    json_object_set_new(tree, "operation", safe_string(row->operation));
    json_object_set_new(tree, "surface", safe_string(row->surface));
    json_object_set_new(tree, "is_stream", json_boolean(row->is_stream));
    json_object_set_new(tree, "key_id", safe_string(row->key_id));
    json_object_set_new(tree, "key_masked", safe_string(row->key_masked));
    json_object_set_new(tree, "caller", safe_string(row->caller));
    json_object_set_new(tree, "request_id", safe_string(row->request_id));
    json_object_set_new(tree, "latency", count(row->latency_ms));
    json_object_set_new(tree, "first_byte", count(row->first_byte_ms));
    json_object_set_new(tree, "prompt_tokens", count(row->prompt_tokens));
    json_object_set_new(tree, "completion_tokens", count(row->completion_tokens));
    json_object_set_new(tree, "thought_tokens", count(row->thought_tokens));
    json_object_set_new(tree, "cached_tokens", count(row->cached_tokens));
    json_object_set_new(tree, "has_tokens", json_boolean(row->prompt_tokens >= 0));
}

static void put_class(json_t *tree, const gb_log_row_t *row)
{
    const admin_class_t *cls = admin_class_of(row);

    json_object_set_new(tree, "tone", json_string(cls->tone));
    json_object_set_new(tree, "icon", json_string(cls->icon));
    json_object_set_new(tree, "word", json_string(cls->word));
    json_object_set_new(tree, "cls", safe_string(row->cls));
    json_object_set_new(tree, "status", json_integer(row->status));
}

/* What the client saw in the end, of a list of errors: of several attempts the last one's. */
static const char *ending(const gb_log_row_t *row)
{
    if (!row->call_cls) {
        return "";
    }
    return strcmp(row->call_cls, "success") == 0     ? "answered"
           : strcmp(row->call_cls, "cancelled") == 0 ? "nobody"
           : row->is_final                           ? "seen"
                                                     : "followed";
}

json_t *admin_log_row(const gb_log_row_t *row, apr_pool_t *p)
{
    json_t *tree = json_object();

    json_object_set_new(tree, "id", json_integer(row->id));
    json_object_set_new(tree, "at", json_real(seconds(row->at)));
    json_object_set_new(tree, "what", safe_string(sentence(row->error, p)));
    json_object_set_new(tree, "ending", json_string(ending(row)));
    json_object_set_new(tree, "call_attempts", json_integer(row->call_attempts));
    json_object_set_new(tree, "attempt", json_integer(row->attempt));
    json_object_set_new(tree, "is_final", json_boolean(row->is_final));
    put_facts(tree, row);
    put_class(tree, row);
    return tree;
}

/* ---- a call ---- */

static apr_int64_t end_of(const gb_log_row_t *row)
{
    return row->at + (row->latency_ms > 0 ? row->latency_ms : 0);
}

static json_t *attempt_tree(const gb_log_row_t *row, int number, apr_int64_t begin,
                            apr_int64_t length, apr_pool_t *p)
{
    apr_int64_t from = row->at - begin, to = end_of(row) - begin;
    int x = length > 0 ? (int)(from * BAR / length) : 0;
    int width = length > 0 ? (int)((to - from) * BAR / length) : BAR;
    json_t *tree = json_object();

    json_object_set_new(tree, "n", json_integer(number));
    json_object_set_new(tree, "x", json_integer(x < BAR - 6 ? x : BAR - 6));
    json_object_set_new(tree, "width", json_integer(width > 6 ? width : 6));
    json_object_set_new(tree, "from", json_integer(from));
    json_object_set_new(tree, "to", json_integer(to));
    json_object_set_new(tree, "what", safe_string(sentence(row->error, p)));
    json_object_set_new(tree, "answer", safe_string(row->error));
    json_object_set_new(tree, "answer_bytes",
                        json_integer((json_int_t)strlen(or_empty(row->error))));
    json_object_set_new(tree, "error_id", json_integer(row->error_id));
    json_object_set_new(tree, "error_type", safe_string(row->error_type));
    put_facts(tree, row);
    put_class(tree, row);
    return tree;
}

/* The body is the same for all attempts; the first that has it. */
static const char *request_of(const gb_log_row_t *rows, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        if (rows[i].request && *rows[i].request) {
            return rows[i].request;
        }
    }
    return "";
}

json_t *admin_log_call(admin_page_t *page, const gb_log_row_t *rows, int n)
{
    apr_pool_t *p = page->r->pool;
    const gb_log_row_t *last = &rows[n - 1];
    apr_int64_t begin = rows[0].at, length = 0;
    json_t *tree = json_object(), *attempts = json_array();
    const char *request = request_of(rows, n);
    int i;

    for (i = 0; i < n; i++) {
        length = end_of(&rows[i]) - begin > length ? end_of(&rows[i]) - begin : length;
    }
    for (i = 0; i < n; i++) {
        int number = rows[i].attempt ? rows[i].attempt : i + 1;

        json_array_append_new(attempts, attempt_tree(&rows[i], number, begin, length, p));
    }
    json_object_set_new(tree, "at", json_real(seconds(begin)));
    json_object_set_new(tree, "length", json_integer(length));
    json_object_set_new(tree, "n", json_integer(n));
    json_object_set_new(tree, "attempts", attempts);
    json_object_set_new(tree, "ok", json_boolean(last->is_success));
    json_object_set_new(tree, "running", json_boolean(!last->is_final));
    json_object_set_new(tree, "request", safe_string(request));
    json_object_set_new(tree, "request_bytes", json_integer((json_int_t)strlen(request)));
    put_facts(tree, last);
    put_class(tree, last);
    return tree;
}
