/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking an error body apart, whatever form it came in: Google's object, the
 * same inside an array, `error` as a string, a page of HTML, nothing at all.
 * The details' order varies and each may be missing; message and RetryInfo
 * differ by fractions.  What it means is the table's business.
 */
#include "proto/classify_int.h"

#include <string.h>

#include <apr_strings.h>

#include "base/timeutil.h"

#define MESSAGE_MAX (128 * 1024)
#define TEXT_MAX    (512 * 1024)

/* Without a quota id a delay above this is no minute's. */
#define DAY_DELAY (5 * 60 * APR_USEC_PER_SEC)

/* ---- patterns ---- */

static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* The first place of a piece without `*`; *end is the byte behind it. */
static const char *find_piece(const char *text, const char *text_end, const char *from,
                              const char *piece, size_t len, const char **end)
{
    int edge_before = len > 0 && piece[0] == '<';
    int edge_after = len > 0 && piece[len - 1] == '>';
    const char *p;

    piece += edge_before;
    len -= (size_t)edge_before + (size_t)edge_after;
    for (p = from; (size_t)(text_end - p) >= len; p++) {
        if (len > 0) {
            p = memchr(p, piece[0], (size_t)(text_end - p) - len + 1);
        }
        if (p == NULL) {
            return NULL;
        }
        if (memcmp(p, piece, len) == 0 && !(edge_before && p > text && is_word(p[-1]))
            && !(edge_after && p + len < text_end && is_word(p[len]))) {
            *end = p + len;
            return p;
        }
    }
    return NULL;
}

const char *gb_text_find(const gb_buf_t *text, const char *from, const char *pattern, size_t len)
{
    const char *text_end = text->data + text->len;
    const char *pattern_end = pattern + len;
    int anchored = len > 0 && pattern[0] == '^';

    pattern += anchored;
    while (from != NULL && pattern < pattern_end) {
        const char *star = memchr(pattern, '*', (size_t)(pattern_end - pattern));
        const char *stop = star != NULL ? star : pattern_end;
        const char *end = NULL;
        const char *at = find_piece(text->data, text_end, from, pattern, (size_t)(stop - pattern),
                                    &end);

        if (at == NULL || (anchored && at != text->data)) {
            return NULL;
        }
        anchored = 0;
        from = end;
        pattern = stop + (star != NULL);
    }
    return from;
}

int gb_text_has(const gb_buf_t *text, const char *patterns)
{
    if (text->len == 0) {
        return 0;
    }
    while (*patterns != '\0') {
        size_t len = strcspn(patterns, "|");

        if (gb_text_find(text, text->data, patterns, len) != NULL) {
            return 1;
        }
        patterns += len + (patterns[len] == '|');
    }
    return 0;
}

/* ---- text ---- */

/* properties[temperature]: a name of the client's own is no word of Google's. */
static void names_blank(char *text)
{
    static const char lead[] = "properties[";

    while ((text = strstr(text, lead)) != NULL) {
        for (text += sizeof(lead) - 1; *text != '\0' && *text != ']' && *text != '\n'; text++) {
            *text = ' ';
        }
    }
}

static void add_text(gb_google_error_t *e, const char *text, size_t len)
{
    size_t from = e->text.len, i;

    if (len == 0 || gb_buf_append(&e->text, text, len) != APR_SUCCESS) {
        return;
    }
    for (i = from; i < e->text.len; i++) {
        char c = e->text.data[i];

        e->text.data[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    names_blank(e->text.data + from);
    gb_buf_putc(&e->text, '\n');
}

static void add_string(gb_google_error_t *e, gb_span_t value)
{
    gb_buf_t text;

    gb_buf_init(&text, MESSAGE_MAX);
    if (gb_json_str_append(&text, value) == APR_SUCCESS) {
        add_text(e, text.data, text.len);
    }
    gb_buf_free(&text);
}

/* A decoded string, cut to the room there is; "" when value is none. */
static void copy_string(char *to, size_t size, gb_span_t value)
{
    gb_buf_t text;
    size_t len;

    gb_buf_init(&text, MESSAGE_MAX);
    to[0] = '\0';
    if (gb_json_str_append(&text, value) == APR_SUCCESS && text.len > 0) {
        len = text.len < size ? text.len : size - 1;
        memcpy(to, text.data, len);
        to[len] = '\0';
    }
    gb_buf_free(&text);
}

/* ---- details ---- */

static void read_error_info(gb_google_error_t *e, gb_span_t detail)
{
    gb_span_t metadata = gb_json_get(detail, "metadata");

    if (e->reason[0] == '\0') {
        copy_string(e->reason, sizeof(e->reason), gb_json_get(detail, "reason"));
    }
    if (e->consumer[0] == '\0') {
        copy_string(e->consumer, sizeof(e->consumer), gb_json_get(metadata, "consumer"));
    }
    /* an older shape of quota errors has its limit's name here */
    add_string(e, gb_json_get(metadata, "quota_limit"));
}

static void read_retry_info(gb_google_error_t *e, gb_span_t detail)
{
    char text[64];

    copy_string(text, sizeof(text), gb_json_get(detail, "retryDelay"));
    gb_duration_parse(text, strlen(text), &e->delay);
}

typedef struct window_word_t {
    const char *patterns;
    gb_quota_window_t window;
} window_word_t;

/* The longer one first: a day's limit decides when both are violated. */
static const window_word_t id_words[] = {
    {"perday|daily|_per_day", GB_QUOTA_DAY   },
    {"perminute|_per_minute", GB_QUOTA_MINUTE},
};

static const window_word_t text_words[] = {
    {"monthly spending cap",             GB_QUOTA_SPEND_MONTH},
    {"limit: 0>",                        GB_QUOTA_UNAVAILABLE},
    {"perday|per day|<daily>|_per_day",  GB_QUOTA_DAY        },
    {"perminute|per minute|_per_minute", GB_QUOTA_MINUTE     },
};

static gb_quota_window_t window_by(const window_word_t *words, size_t n, const gb_buf_t *text)
{
    size_t i;

    for (i = 0; i < n; i++) {
        if (gb_text_has(text, words[i].patterns)) {
            return words[i].window;
        }
    }
    return GB_QUOTA_AMBIGUOUS;
}

static void read_quota_window(gb_quota_t *quota)
{
    gb_google_error_t scratch;

    memset(&scratch, 0, sizeof(scratch));
    gb_buf_init(&scratch.text, TEXT_MAX);
    add_text(&scratch, quota->id, strlen(quota->id));
    add_text(&scratch, quota->metric, strlen(quota->metric));
    quota->window = quota->value == 0 ? GB_QUOTA_UNAVAILABLE
                                      : window_by(id_words, 2, &scratch.text);
    quota->counts_tokens = gb_text_has(&scratch.text, "inputtoken|input_token");
    gb_buf_free(&scratch.text);
}

static void read_violation(gb_google_error_t *e, gb_span_t violation)
{
    gb_span_t model = gb_json_get(gb_json_get(violation, "quotaDimensions"), "model");
    char metric[256];
    const char *slash;
    gb_quota_t quota;

    memset(&quota, 0, sizeof(quota));
    quota.value = -1;
    copy_string(quota.id, sizeof(quota.id), gb_json_get(violation, "quotaId"));
    copy_string(quota.model, sizeof(quota.model), model);
    copy_string(metric, sizeof(metric), gb_json_get(violation, "quotaMetric"));
    slash = strrchr(metric, '/');
    apr_cpystrn(quota.metric, slash != NULL ? slash + 1 : metric, sizeof(quota.metric));
    gb_json_int_or_str(gb_json_get(violation, "quotaValue"), &quota.value);
    read_quota_window(&quota);
    add_string(e, gb_json_get(violation, "description"));
    if (e->n_quotas < GB_QUOTA_MAX) {
        e->quotas[e->n_quotas] = quota;
    }
    e->n_quotas++;
    /* the enum's order is the order of strength, but for "no details" */
    if (e->window == GB_QUOTA_NONE || e->window == GB_QUOTA_AMBIGUOUS
        || (quota.window != GB_QUOTA_AMBIGUOUS && quota.window > e->window)) {
        e->window = quota.window;
    }
}

static void read_quota_failure(gb_google_error_t *e, gb_span_t detail)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, gb_json_get(detail, "violations")); gb_json_next(&it);) {
        read_violation(e, it.value);
    }
}

static void read_bad_request(gb_google_error_t *e, gb_span_t detail)
{
    gb_json_iter_t it;

    for (gb_json_iter(&it, gb_json_get(detail, "fieldViolations")); gb_json_next(&it);) {
        if (e->field[0] == '\0') {
            copy_string(e->field, sizeof(e->field), gb_json_get(it.value, "field"));
        }
        add_string(e, gb_json_get(it.value, "description"));
    }
}

typedef struct detail_t {
    const char *type; /* behind the last dot of @type */
    void (*read)(gb_google_error_t *e, gb_span_t detail);
} detail_t;

static const detail_t details[] = {
    {"ErrorInfo",    read_error_info   },
    {"RetryInfo",    read_retry_info   },
    {"QuotaFailure", read_quota_failure},
    {"BadRequest",   read_bad_request  },
};

static void read_detail(gb_google_error_t *e, gb_span_t detail)
{
    char type[128];
    const char *dot;
    size_t i;

    copy_string(type, sizeof(type), gb_json_get(detail, "@type"));
    dot = strrchr(type, '.');
    for (i = 0; dot != NULL && i < sizeof(details) / sizeof(details[0]); i++) {
        if (strcmp(dot + 1, details[i].type) == 0) {
            details[i].read(e, detail);
        }
    }
}

/* ---- the body ---- */

/* The details tell first; then the message; a delay alone tells how long. */
static void settle_window(gb_google_error_t *e)
{
    gb_quota_window_t told = window_by(text_words, 4, &e->text);

    if (e->n_quotas == 0 || told == GB_QUOTA_UNAVAILABLE || told == GB_QUOTA_SPEND_MONTH) {
        e->window = told;
    }
    if (e->window == GB_QUOTA_AMBIGUOUS && e->delay >= 0) {
        e->window = e->delay > DAY_DELAY ? GB_QUOTA_DAY : GB_QUOTA_MINUTE;
    }
}

/* "Please retry in 1h52m56.4s." */
static void read_delay_from_text(gb_google_error_t *e)
{
    static const char words[] = "retry in ";
    const char *at = e->text.len > 0
                         ? gb_text_find(&e->text, e->text.data, words, sizeof(words) - 1)
                         : NULL;
    size_t len;

    if (at == NULL || e->delay >= 0) {
        return;
    }
    len = strspn(at, "0123456789.hmsun");
    while (len > 0 && at[len - 1] == '.') {
        len--;
    }
    gb_duration_parse(at, len, &e->delay);
}

static void read_object(gb_google_error_t *e, gb_span_t error)
{
    gb_json_iter_t it;

    gb_json_str_append(&e->message, gb_json_get(error, "message"));
    add_text(e, e->message.data, e->message.len);
    if (e->text.len == 0) {
        gb_buf_putc(&e->text,
                    '\n'); /* the text's beginning is the message's, even an empty one's */
    }
    gb_json_int(gb_json_get(error, "code"), &e->code);
    copy_string(e->status, sizeof(e->status), gb_json_get(error, "status"));
    for (gb_json_iter(&it, gb_json_get(error, "details")); gb_json_next(&it);) {
        read_detail(e, it.value);
    }
    for (gb_json_iter(&it, gb_json_get(error, "errors")); gb_json_next(&it);) {
        add_string(e, gb_json_get(it.value, "reason"));
    }
}

/* The error in a JSON body: an object, or a string that some proxies put there. */
static gb_span_t find_error(gb_span_t root)
{
    gb_span_t object = gb_json_kind(root) == GB_JSON_ARRAY ? gb_json_path(root, "0") : root;
    gb_span_t error = gb_json_get(object, "error");
    gb_json_kind_t kind = gb_json_kind(error);

    return kind == GB_JSON_OBJECT || kind == GB_JSON_STRING ? error : object;
}

static void read_json(gb_google_error_t *e, gb_span_t root)
{
    gb_span_t error = find_error(root);

    if (gb_json_kind(error) == GB_JSON_STRING) {
        gb_json_str_append(&e->message, error);
        add_text(e, e->message.data, e->message.len);
    }
    else {
        read_object(e, error);
    }
    e->is_json = e->message.len > 0;
}

void gb_google_error_read(gb_google_error_t *e, const char *body, size_t len)
{
    gb_json_fault_t fault;

    memset(e, 0, sizeof(*e));
    e->delay = -1;
    gb_buf_init(&e->text, TEXT_MAX);
    gb_buf_init(&e->message, MESSAGE_MAX);
    if (body == NULL) {
        len = 0;
    }
    if (len > 0 && gb_json_check(body, len, &fault) == APR_SUCCESS) {
        read_json(e, gb_json_root(body, len));
    }
    else if (len > 0) {
        gb_buf_append(&e->message, body, len < MESSAGE_MAX ? len : MESSAGE_MAX);
        add_text(e, e->message.data, e->message.len);
    }
    read_delay_from_text(e);
    settle_window(e);
}

void gb_google_error_free(gb_google_error_t *e)
{
    gb_buf_free(&e->text);
    gb_buf_free(&e->message);
}
