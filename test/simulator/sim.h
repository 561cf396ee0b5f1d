/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gemini simulator: what its files share.
 *
 * One thread, one epoll loop, no allocation for a small unary call. A request
 * is read into its connection's buffer (sim_conn, sim_http), routed and
 * authorised (sim_route), offered to the fault rules and quotas (sim_fault,
 * sim_quota), checked like Google checks it (sim_check, sim_rules), planned
 * (sim_answer, sim_tools, sim_media) and rendered at once or piece by piece
 * (sim_render, sim_openai, sim_stream). Every call leaves a record (sim_calls).
 * Clients steer all this below /_sim/ (sim_control).
 */
#ifndef SIM_H
#define SIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, accept4; every file includes this one first */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* ---- strings and buffers (sim_util.c) ---- */

/* A borrowed run of bytes; never NUL terminated by contract. */
typedef struct {
    const char *p;
    size_t n;
} sim_str_t;

#define SIM_STR(lit) ((sim_str_t){"" lit, sizeof(lit) - 1})

/* A growing buffer that owns its bytes. Memory exhaustion ends the process. */
typedef struct {
    char *p;
    size_t len, cap;
} sim_buf_t;

void *sim_xrealloc(void *p, size_t n);
void *sim_xcalloc(size_t n, size_t size);
char *sim_strndup(const char *p, size_t n);
void sim_buf_need(sim_buf_t *b, size_t more);
void sim_buf_free(sim_buf_t *b);
void sim_buf_printf(sim_buf_t *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_put_u64(sim_buf_t *b, uint64_t v);
void sim_put_hex(sim_buf_t *b, uint64_t v);
/* Writes s as the inside of a JSON string (no quotes). */
void sim_put_escaped(sim_buf_t *b, const char *s, size_t n);
void sim_put_base64(sim_buf_t *b, const void *data, size_t n);
/* False when s is no base64 (standard or URL alphabet, padding optional). */
bool sim_base64_decode(sim_buf_t *out, const char *s, size_t n);

static inline void sim_put(sim_buf_t *b, const void *p, size_t n)
{
    if (b->cap - b->len < n) {
        sim_buf_need(b, n);
    }
    if (n > 0) {
        memcpy(b->p + b->len, p, n);
        b->len += n;
    }
}

static inline void sim_putc(sim_buf_t *b, char c)
{
    if (b->cap == b->len) {
        sim_buf_need(b, 1);
    }
    b->p[b->len++] = c;
}

static inline void sim_puts(sim_buf_t *b, const char *s)
{
    sim_put(b, s, strlen(s));
}

#define sim_putl(b, lit) sim_put((b), "" lit, sizeof(lit) - 1)

bool sim_eq(sim_str_t s, const char *lit);
bool sim_same(sim_str_t a, sim_str_t b);
bool sim_ieq(sim_str_t s, const char *lit);
/* The decimal number that s holds, or otherwise when it holds something else. */
long sim_to_long(sim_str_t s, long otherwise);
bool sim_starts(sim_str_t s, const char *lit);
bool sim_contains(sim_str_t s, const char *needle);
sim_str_t sim_trim(sim_str_t s);
/* Shell pattern with `*` and `?` only. */
bool sim_glob(const char *pattern, sim_str_t s);
uint64_t sim_hash(const void *p, size_t n, uint64_t seed);
uint64_t sim_now_ns(void);
/* xorshift; the caller keeps the state, so that runs repeat. */
uint64_t sim_random(uint64_t *state);
/* The value of the Date header, renewed once a second. */
sim_str_t sim_http_date(void);
/* Bytes of s that make whole UTF-8 characters, at most n. */
size_t sim_utf8_floor(const char *s, size_t len, size_t n);
bool sim_utf8_valid(const char *s, size_t n);

/* Names that return a small number, for records: keys, paths, models. */
typedef struct sim_names sim_names_t;

sim_names_t *sim_names_create(unsigned max);
/* Index of the name; 0 means that the table is full ("(other)"). */
unsigned sim_names_add(sim_names_t *t, sim_str_t s);
sim_str_t sim_names_get(const sim_names_t *t, unsigned index);
unsigned sim_names_count(const sim_names_t *t);
void sim_names_clear(sim_names_t *t);

/* ---- reading JSON (sim_json.c) ---- */

typedef enum { SJ_NULL, SJ_FALSE, SJ_TRUE, SJ_NUMBER, SJ_STRING, SJ_ARRAY, SJ_OBJECT } sj_type_t;

/*
 * A parsed text is a flat run of tokens in document order. Children of an
 * array or object follow it; an object's children are key, value, key, value.
 * `next` is the index behind the whole subtree, so siblings cost one hop.
 */
typedef struct {
    uint8_t type;
    uint8_t escaped;
    uint32_t count;
    uint32_t next;
    uint32_t off, len;
} sj_tok_t;

typedef struct {
    const char *s;
    size_t n;
    sj_tok_t *tok;
    uint32_t ntok, cap;
    const char *error;
    size_t error_at;
} sj_doc_t;

#define SJ_NONE      UINT32_MAX
#define SJ_MAX_DEPTH 100

/* The document is reused from call to call; its tokens borrow the text. */
bool sj_parse(sj_doc_t *doc, const char *s, size_t n);
/* Value of a member, matching lowerCamel or snake_case; SJ_NONE if absent or null. */
uint32_t sj_get(const sj_doc_t *doc, uint32_t object, const char *camel);
bool sj_name_is(const sj_doc_t *doc, uint32_t key, const char *camel);
bool sj_is(const sj_doc_t *doc, uint32_t t, sj_type_t type);
/* Raw text: of strings without quotes and still escaped. */
sim_str_t sj_raw(const sj_doc_t *doc, uint32_t t);
/* The whole JSON text of a value. */
sim_str_t sj_text(const sj_doc_t *doc, uint32_t t);
/* Appends the unescaped string. */
void sj_string(const sj_doc_t *doc, uint32_t t, sim_buf_t *out);
bool sj_eq(const sj_doc_t *doc, uint32_t t, const char *s);
double sj_double(const sj_doc_t *doc, uint32_t t, double otherwise);
long sj_long(const sj_doc_t *doc, uint32_t t, long otherwise);
bool sj_true(const sj_doc_t *doc, uint32_t t);
uint32_t sj_begin(const sj_doc_t *doc, uint32_t value);
uint32_t sj_end(const sj_doc_t *doc, uint32_t value);

/* Items of an array; a single value counts as an array of one, as in Google's parser. */
#define SJ_EACH_OF(doc, value, it)                                                                 \
    for (uint32_t it = sj_begin(doc, value); it < sj_end(doc, value); it = (doc)->tok[it].next)
#define SJ_EACH_MEMBER(doc, object, key)                                                           \
    for (uint32_t key = (object) + 1; key < (doc)->tok[object].next; key = (doc)->tok[key + 1].next)

/* ---- writing JSON (sim_write.c) ---- */

/* PRETTY: as unary answers; LINE: as SSE answers (`"a": 1,"b": 2`); COMPACT: prettyPrint=false. */
typedef enum { SW_PRETTY, SW_LINE, SW_COMPACT } sw_style_t;

typedef struct {
    sim_buf_t *b;
    sw_style_t style;
    unsigned depth;
    uint64_t filled; /* bit per depth: a member was written, the next needs a comma */
} sw_t;

void sw_open(sw_t *w, const char *key, char bracket);
void sw_close(sw_t *w, char bracket);
void sw_string(sw_t *w, const char *key, sim_str_t value);
void sw_cstr(sw_t *w, const char *key, const char *value);
void sw_number(sw_t *w, const char *key, int64_t value);
void sw_bool(sw_t *w, const char *key, bool value);
void sw_raw(sw_t *w, const char *key, sim_str_t json);
/* Starts a member so that the caller may append its value to w->b. */
void sw_begin(sw_t *w, const char *key);

/* ---- models (sim_models.c) ---- */

enum {
    SM_TEXT = 1 << 0, /* generateContent and streamGenerateContent */
    SM_COUNT = 1 << 1,
    SM_EMBED = 1 << 2,
    SM_THINK = 1 << 3,
    SM_NO_OFF = 1 << 4, /* budget 0 is refused */
    SM_BUDGET = 1 << 5, /* thinkingBudget understood */
    SM_BUDGET_IGNORED = 1 << 6,
    SM_SAMPLING_REFUSED = 1 << 7,
    SM_NO_PREFILL = 1 << 8,
    SM_NO_TOOLS = 1 << 9,
    SM_NO_SYSTEM = 1 << 10,
    SM_IMAGE = 1 << 11,
    SM_TTS = 1 << 12,
    SM_LOGPROBS = 1 << 13,
    SM_NO_CACHE = 1 << 14,
    SM_PREDICT_LONG = 1 << 15,
    SM_BIDI = 1 << 16,
    SM_TRANSCRIBE = 1 << 17,
    SM_RESPONSE_ID = 1 << 18, /* functionResponse.id required */
    SM_PENALTY = 1 << 19,     /* presence and frequency penalty understood */
    SM_PREDICT = 1 << 20      /* imagen */
};

enum { SL_MINIMAL = 1, SL_LOW = 2, SL_MEDIUM = 4, SL_HIGH = 8 };

typedef struct {
    const char *name;
    const char *version;
    const char *display;
    const char *description;
    const char *served_by; /* modelVersion in answers, NULL = itself */
    unsigned flags;
    unsigned levels; /* thinkingLevel values accepted */
    unsigned level;  /* the default one */
    int budget_min, budget_max;
    int generation; /* 250 = 2.5, 300 = 3, 400 = 4 */
    int in_limit, out_limit;
} sim_model_t;

const sim_model_t *sim_model_find(sim_str_t name);
const sim_model_t *sim_model_at(unsigned index);
/* Names that Google served once. */
bool sim_model_retired(sim_str_t name);
void sim_model_write(sw_t *w, const char *key, const sim_model_t *m);
bool sim_model_is_3(const sim_model_t *m);

/* ---- requests (sim_http.c, sim_route.c) ---- */

typedef enum {
    SR_NONE,
    SR_GENERATE,
    SR_STREAM,
    SR_COUNT,
    SR_EMBED,
    SR_BATCH_EMBED,
    SR_PREDICT,
    SR_MODELS,
    SR_MODEL,
    SR_OPENAI_CHAT,
    SR_OPENAI_MODELS,
    SR_OPENAI_MODEL,
    SR_OPENAI_EMBED,
    SR_OPENAI_IMAGES,
    SR_UNKNOWN_VERB,
    SR_CONTROL,
    SR_MAX
} sim_route_t;

typedef struct {
    sim_str_t method, target, path, query;
    sim_str_t headers;    /* the raw header block, request line excluded */
    sim_str_t key_header; /* x-goog-api-key */
    sim_str_t key_query;  /* ?key= */
    sim_str_t authorization;
    sim_str_t request_id; /* x-request-id */
    sim_str_t content_type;
    sim_str_t body;
    sim_str_t key;     /* the credential that counts */
    sim_str_t model;   /* without "models/" */
    sim_str_t verb;    /* behind the colon */
    sim_str_t version; /* v1beta, v1alpha, v1 */
    sim_route_t route;
    const sim_model_t *known;
    const char *base; /* where the input was when the slices were made */
    size_t head_len;  /* bytes of request line and headers */
    uint64_t content_length;
    bool has_length, chunked, expect, keep_alive, http10;
    bool other_credentials; /* Cookie, OpenAI-Organization ... */
    bool alt_sse, compact, int_enums, openai_stream;
} sim_req_t;

/* ---- connections and the loop (sim_conn.c) ---- */

typedef struct sim_conn sim_conn_t;
typedef struct sim_rule sim_rule_t;
typedef struct sim_plan sim_plan_t;
typedef struct sim_stream sim_stream_t;

typedef enum {
    SC_READING,   /* waits for a request */
    SC_DELAYED,   /* a whole request waits for its time */
    SC_STREAMING, /* an answer is paced */
    SC_STALLED,   /* never answers, by order */
    SC_CLOSING    /* flush, then close */
} sim_state_t;

struct sim_conn {
    int fd;
    sim_state_t state;
    bool want_write, read_paused, dead, drain;
    bool keep_alive, chunked_out, in_call, waited, stalled, metered;
    bool close_after; /* closes behind the answer without a word */
    uint32_t watched; /* epoll events asked for */
    uint8_t parse_state;
    void *tls;
    sim_conn_t *next_dead;
    sim_buf_t in;    /* bytes read and not yet consumed */
    size_t raw_at;   /* bytes of the current request seen so far, as sent */
    size_t body_len; /* decoded chunked body so far */
    sim_buf_t out;
    size_t out_at;
    sim_req_t req;
    size_t timer_slot; /* position in the heap + 1, 0 = none */
    uint64_t due_ns;
    uint64_t started_ns;
    sim_str_t extra; /* further header lines of the answer, owned by the rule */
    uint64_t sent;   /* bytes written for the current call */
    uint64_t call;   /* record of the current call */
    uint32_t call_epoch;
    unsigned key_index;
    unsigned status;
    sim_rule_t *rule;     /* counted reference, while one request is being answered */
    sim_stream_t *stream; /* made on first use, kept with the connection */
};

/* Both in sim_main.c: a signal that ends us came; our parent is gone. */
bool sim_signal_ends(int signal_fd);
bool sim_orphaned(void);
void sim_loop_run(int listen_fd, int signal_fd);
void sim_timer_set(sim_conn_t *c, uint64_t due_ns);
void sim_timer_clear(sim_conn_t *c);
/* Sends what is buffered; false when the connection is gone. */
bool sim_conn_flush(sim_conn_t *c);
size_t sim_conn_backlog(const sim_conn_t *c);
void sim_conn_reset(sim_conn_t *c);
void sim_conn_close(sim_conn_t *c);
/* The answer is complete: next request, or close. */
void sim_conn_answered(sim_conn_t *c);
void sim_conn_stall(sim_conn_t *c);

/* ---- HTTP (sim_http.c) ---- */

typedef enum { SH_MORE, SH_READY, SH_BAD, SH_TOO_LARGE } sim_parse_t;

sim_parse_t sim_http_parse(sim_conn_t *c);
/* Forgets the request at the front of the input buffer. */
void sim_http_consume(sim_conn_t *c);

typedef enum { ST_JSON, ST_SSE, ST_HTML, ST_TEXT, ST_OPENAI_JSON, ST_OPENAI_SSE } sim_type_t;

void sim_http_head(sim_conn_t *c, int status, sim_type_t type, size_t length);
void sim_http_head_stream(sim_conn_t *c, int status, sim_type_t type);
/* Head and body in one go; ends the call. */
void sim_http_answer(sim_conn_t *c, int status, sim_type_t type, sim_str_t body);
void sim_http_chunk(sim_conn_t *c, const char *p, size_t n);
void sim_http_last_chunk(sim_conn_t *c);
const char *sim_http_reason(int status);
sim_str_t sim_query_get(sim_str_t query, const char *name);
size_t sim_url_decode(char *dst, const char *s, size_t n);
extern size_t sim_max_body;

/* ---- routing (sim_route.c) ---- */

void sim_route(sim_req_t *r);
const char *sim_route_name(sim_route_t route);
bool sim_route_is_openai(sim_route_t route);
/* Google's 404 for the model of the request. */
void sim_route_no_model(sim_conn_t *c);
/* A whole request is in. */
void sim_request(sim_conn_t *c);
/* Its delay, if any, is over. */
void sim_request_go(sim_conn_t *c);

/* The methods of models (sim_answer.c). */
void sim_generate(sim_conn_t *c);
void sim_count_tokens(sim_conn_t *c);
/* The body as a JSON object; false when answered with 400. */
bool sim_parse_body(sim_conn_t *c, sj_doc_t *doc);
/* Plans a checked request; NULL when it was answered or put off. */
sim_stream_t *sim_plan_call(sim_conn_t *c, const sj_doc_t *doc);
/* Comes back to sim_request_go after ms; false when it was delayed before. */
bool sim_request_delay(sim_conn_t *c, long ms);

/* ---- Google's errors (sim_error.c) ---- */

void sim_error_send(sim_conn_t *c, int code, const char *status_name, sim_str_t message,
                    sim_str_t details);
void sim_error_simple(sim_conn_t *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes {"error":{...}} pretty printed. */
void sim_error_write(sim_buf_t *b, int code, const char *status_name, sim_str_t message,
                     sim_str_t details);
void sim_error_unknown_page(sim_conn_t *c);
/* Sends a complete body in the form of the route. */
void sim_error_body(sim_conn_t *c, int code, sim_type_t type, sim_str_t body);

typedef struct {
    sim_str_t key, model, message;
    const char *project;     /* number, digits only */
    const char *retry_delay; /* "34.4s", NULL = the kind's own, "" = none */
    const char *quota_value;
    const char *quota_id;
    const char *quota_metric;
    const char *order; /* of the details: "reverse", else as in the table */
} sim_canned_args_t;

/* Finds the canned answer; its usual status, or 0 when the name is unknown. */
int sim_canned_status(const char *name);
/* Body of the canned answer; *type says what it is. */
void sim_canned_write(sim_buf_t *b, const char *name, int status, const sim_canned_args_t *a,
                      sim_type_t *type);
void sim_canned_names(sim_buf_t *b);

/* ---- pacing (sim_stream.c) ---- */

typedef enum { SN_CRLF, SN_LF, SN_CR } sim_newline_t;

typedef struct {
    long chunks;      /* text chunks of a stream; 0 = by size */
    long interval_ms; /* between chunks */
    long first_ms;    /* before the first chunk, headers are out */
    long delay_ms;    /* before the headers */
    long size;        /* bytes of text per chunk */
    long split;       /* bytes per write, 0 = whole events, -1 = random pieces */
    long split_ms;    /* pause between pieces */
    uint64_t split_seed;
    sim_newline_t newline;
    bool seq, stamp, unary_chunked;
} sim_pace_t;

extern sim_pace_t sim_pace_default;

sim_str_t sim_newline(sim_newline_t kind);

typedef enum { SE_NONE, SE_RST, SE_CLOSE, SE_END, SE_STALL, SE_ERROR } sim_ending_t;

/* ---- the answer to be given (sim_answer.c, sim_tools.c, sim_media.c) ---- */

typedef enum { SP_THOUGHT, SP_TEXT, SP_CALL, SP_JSON, SP_LAST } sim_part_kind_t;

typedef struct {
    uint8_t kind;
    bool signed_part;
    uint32_t off, len; /* text, or JSON of the part, in plan->mem */
    uint32_t name_off, name_len;
    char id[20];
} sim_part_t;

#define SIM_MAX_PARTS 96

typedef enum {
    SY_FULL,
    SY_NO_CONTENT,
    SY_EMPTY_CONTENT,
    SY_ROLE_ONLY,
    SY_NO_PARTS,
    SY_EMPTY_TEXT,
    SY_NO_CANDIDATES,
    SY_EMPTY_CANDIDATES,
    SY_FEEDBACK_ONLY,
    SY_BLOCKED
} sim_shape_t;

/* What will be said, in full; renderers only cut and dress it. */
struct sim_plan {
    const sim_model_t *model;
    sim_pace_t pace;
    sim_shape_t shape;
    sim_buf_t mem; /* everything that parts point to */
    sim_part_t part[SIM_MAX_PARTS];
    unsigned nparts;
    unsigned text_part; /* index of the SP_TEXT part, SIM_MAX_PARTS if none */
    bool synthetic;     /* text is made per chunk: chunks, size, seq, stamp */
    bool streaming;
    bool say; /* the answer was given word for word: off, len */
    uint32_t say_off, say_len;
    bool thoughts;   /* includeThoughts */
    long max_tokens; /* maxOutputTokens, 0 = none */
    bool sign;       /* gemini-3: signature on the last part */
    bool calls;
    bool usage;
    bool int_enums;
    int candidates;
    long tokens_prompt, tokens_thought, tokens_tool, tokens_cached, tokens_answer;
    const char *finish;              /* STOP ... */
    const char *modality;            /* of the answer's tokens: TEXT, IMAGE, AUDIO */
    sim_str_t finish_message;        /* borrowed, static */
    uint32_t block_off, block_len;   /* blockReason in mem */
    uint32_t finish_off, finish_len; /* a finish reason chosen by a fault */
    uint32_t meta_off, meta_len;     /* further members of the candidate, JSON */
    uint32_t version_off, version_len;
    char id[24];
};

static inline sim_str_t sim_plan_mem(const sim_plan_t *p, uint32_t off, uint32_t len)
{
    return (sim_str_t){p->mem.p + off, len};
}

void sim_plan_reset(sim_plan_t *p, const sim_model_t *m);
sim_part_t *sim_plan_part(sim_plan_t *p, sim_part_kind_t kind, sim_str_t text);
/* Text of chunk i of a text part; synthetic text is written to scratch. */
sim_str_t sim_plan_text(const sim_plan_t *p, long i, sim_buf_t *scratch);
long sim_tokens(size_t bytes);
void sim_plan_generate(sim_plan_t *p, const sim_req_t *r, const sj_doc_t *doc);
/* Directives `[[...]]` of the user's text; returns the text without them. */
sim_str_t sim_directives(sim_plan_t *p, sim_str_t text);
/* The plan's text and its budget, after tools and media had their turn. */
void sim_plan_say(sim_plan_t *p, sim_str_t text);
long sim_plan_part_chunks(const sim_plan_t *p, unsigned part);
long sim_plan_part_tokens(const sim_plan_t *p, unsigned part);
/* Counting and text of a request body. */
typedef struct {
    sim_buf_t text; /* of the last user turn that has text */
    long tokens;
    bool answered;      /* the last turn holds function responses */
    uint32_t last_turn; /* token of the last content */
    unsigned steps;     /* function response turns behind the last user text */
} sim_prompt_t;

/* Puts calls, search results and code runs into the plan; true when it ends in calls. */
bool sim_plan_tools(sim_plan_t *p, const sj_doc_t *doc, const sim_prompt_t *q, sim_str_t user_text);
bool sim_plan_media(sim_plan_t *p, const sj_doc_t *doc, sim_str_t user_text);
/* Adds logprobsResult when the config asks for it. */
void sim_plan_logprobs(sim_plan_t *p, const sj_doc_t *doc, uint32_t config);
/* Compact JSON that fits the schema (OpenAPI subset or JSON Schema). */
void sim_schema_fill(const sj_doc_t *doc, uint32_t schema, sim_buf_t *out);
/* The answer's text when JSON was asked for; false when it was not. */
bool sim_schema_answer(const sj_doc_t *doc, uint32_t config, sim_str_t user, sim_buf_t *out);
/* A thoughtSignature that names what it belongs to, and its check. */
void sim_signature(sim_buf_t *b, sim_str_t what);
bool sim_signature_fits(sim_str_t signature, sim_str_t what);

void sim_prompt_read(sim_prompt_t *q, const sj_doc_t *doc, uint32_t root);

/* ---- rendering (sim_render.c, sim_openai.c, sim_embed.c) ---- */

/* Which parts the n-th event of a stream holds. */
typedef struct {
    unsigned part, end; /* parts [part, end) */
    long chunk, chunks; /* when the part is text */
    bool last;
} sim_step_t;

bool sim_render_find(const sim_plan_t *p, long step, sim_step_t *found);
/* One event of a stream, without framing. step counts from 0; false when past the end. */
bool sim_render_step(const sim_plan_t *p, long step, sw_style_t style, sim_buf_t *out);
long sim_render_steps(const sim_plan_t *p);
long sim_plan_answer_tokens(const sim_plan_t *p);
void sim_render_signature(sw_t *w, const char *key, const sim_plan_t *p, const sim_part_t *part);
void sim_render_whole(const sim_plan_t *p, sw_style_t style, sim_buf_t *out);
void sim_openai_whole(const sim_plan_t *p, sim_buf_t *out);
bool sim_openai_step(const sim_plan_t *p, long step, sim_buf_t *out);
void sim_openai_chat(sim_conn_t *c);
void sim_openai_models(sim_conn_t *c);
void sim_openai_embed(sim_conn_t *c);
void sim_openai_images(sim_conn_t *c);
void sim_embed(sim_conn_t *c, bool batch);
void sim_predict(sim_conn_t *c);
void sim_embed_values(sim_buf_t *b, sim_str_t text, int dimensions);
sim_str_t sim_png(void);

/* ---- streams (sim_stream.c) ---- */

typedef enum { SF_SSE, SF_ARRAY, SF_OPENAI, SF_LITERAL } sim_form_t;

struct sim_stream {
    sim_plan_t plan;
    sim_form_t form;
    long step, steps;
    sim_ending_t ending;
    long ending_after;  /* events before the ending */
    long ending_bytes;  /* bytes of the next event that still go out */
    bool error_in_data; /* SE_ERROR as a data: event */
    sim_buf_t error;    /* body for SE_ERROR */
    sim_buf_t pending;  /* rendered and not yet sent (paced pieces) */
    size_t pending_at;
    sim_str_t literal;    /* SF_LITERAL: the bytes, owned by the connection's rule */
    const uint32_t *cuts; /* SF_LITERAL: ends of the events */
    uint64_t random;
    uint64_t due_ns;
};

sim_stream_t *sim_stream_get(sim_conn_t *c);
/* The head is out already when the form is SF_LITERAL. */
void sim_stream_start(sim_conn_t *c, sim_form_t form);
void sim_stream_tick(sim_conn_t *c);
void sim_stream_free(sim_stream_t *s);

/* ---- checks (sim_check.c, sim_rules.c) ---- */

/* Field names and types as Google's parser sees them; false when answered with 400. */
bool sim_check_fields(sim_conn_t *c, const sj_doc_t *doc, sim_route_t route);
/* What Google refuses for this model although it parses. */
bool sim_check_rules(sim_conn_t *c, const sj_doc_t *doc);
bool sim_check_tools(sim_conn_t *c, const sj_doc_t *doc);
bool sim_check_turns(sim_conn_t *c, const sj_doc_t *doc, uint32_t contents);
/* Off at the start; official clients leave the id of a function response out. */
extern bool sim_strict_signatures, sim_strict_ids;

/* ---- faults and quotas (sim_fault.c, sim_quota.c) ---- */

struct json_t;
void sim_fault_clear(void);
bool sim_fault_install(struct json_t *body, bool is_answer, sim_buf_t *error);
void sim_fault_list(sim_buf_t *out);
/* Reads a JSON object of pace settings; unknown names are told in error. */
bool sim_pace_read(sim_pace_t *pace, struct json_t *object, sim_buf_t *error);
/* The first rule that fires for this request, or NULL. */
sim_rule_t *sim_fault_pick(const sim_req_t *r);
void sim_fault_release(sim_rule_t *rule);
long sim_fault_delay(const sim_rule_t *rule);
/* Answers by itself (status, reset, stall ...); false when the plan goes on. */
bool sim_fault_answer(sim_conn_t *c, const sim_rule_t *rule);
/* Bends the plan (finish reason, empty shapes) and the stream (cut, stall, error). */
void sim_fault_bend(const sim_rule_t *rule, sim_conn_t *c, sim_stream_t *s);

void sim_quota_clear(void);
bool sim_quota_install(struct json_t *body, sim_buf_t *error);
void sim_quota_list(sim_buf_t *out);
/* False when the call was answered with 429. */
bool sim_quota_pass(sim_conn_t *c, long prompt_tokens);

/* ---- records (sim_calls.c) ---- */

typedef enum {
    SO_OPEN, /* still running */
    SO_DONE,
    SO_FAULT, /* ended as a fault rule told */
    SO_GONE   /* the client went away first */
} sim_outcome_t;

void sim_calls_begin(sim_conn_t *c);
void sim_calls_end(sim_conn_t *c, sim_outcome_t outcome);
void sim_calls_reset(void);
void sim_calls_list(sim_buf_t *out, sim_str_t query);
void sim_calls_stats(sim_buf_t *out);
void sim_calls_accepted(void);
void sim_calls_closed(void);
void sim_calls_stream_opened(sim_conn_t *c);
void sim_calls_fault(sim_conn_t *c, int rule_id);
extern bool sim_record_bodies, sim_record_headers, sim_record_calls;
extern size_t sim_calls_max;

/* ---- control (sim_control.c) ---- */

void sim_control(sim_conn_t *c);
extern const char sim_control_help[];

/* ---- TLS (sim_tls.c) ---- */

bool sim_tls_init(const char *cert, const char *key);
bool sim_tls_on(void);
bool sim_tls_attach(sim_conn_t *c);
void sim_tls_detach(sim_conn_t *c);
/* Says goodbye in TLS, before the socket does. */
void sim_tls_shutdown(sim_conn_t *c);
/* As read(2) and write(2): -1 with errno EAGAIN when it must wait. */
long sim_tls_read(sim_conn_t *c, void *p, size_t n);
long sim_tls_write(sim_conn_t *c, const void *p, size_t n);

#endif
