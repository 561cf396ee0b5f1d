/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the OpenAI surface share: the call (one client request
 * that is being translated, and is translated anew when a field was refused or
 * a picture was fetched) and the answer (Gemini's, on its way to choices).
 * Nobody outside modules/proto/openai*.c includes this.
 */
#ifndef GB_OPENAI_INT_H
#define GB_OPENAI_INT_H

#include <apr_hash.h>
#include <apr_tables.h>

#include "proto/features.h"
#include "proto/gemini.h"
#include "proto/model.h"
#include "proto/openai.h"
#include "proto/sse.h"

/* clang-format off */
/*
 * Every field of a chat request, once: id, name, what becomes of it, the check
 * of its type (static functions of openai_fields.c), and a line for people.
 */
#define GB_OPENAI_FIELD_LIST(X)                                                                    \
    X(MODEL, "model", MAP, check_model, "the path of the upstream call, after `MODEL_ALIASES` and the suffixes") \
    X(MESSAGES, "messages", MAP, check_messages, "`contents` and `systemInstruction`")             \
    X(MAX_COMPLETION_TOKENS, "max_completion_tokens", MAP, check_positive, "`maxOutputTokens` (thinking included); wins over `max_tokens`") \
    X(MAX_TOKENS, "max_tokens", MAP, check_positive, "`maxOutputTokens`")                          \
    X(N, "n", MAP, check_n, "`candidateCount` up to Gemini 2.5, else so many equal calls (1 to 8, there not with `stream`)") \
    X(STOP, "stop", MAP, check_stop, "`stopSequences` (at most 4)")                                \
    X(TEMPERATURE, "temperature", MAP, check_temperature, "`temperature`; left out where the model ignores or refuses it") \
    X(TOP_P, "top_p", MAP, check_fraction, "`topP`; left out where the model ignores or refuses it") \
    X(TOP_K, "top_k", MAP, check_positive, "`topK` (extension); left out where the model ignores or refuses it") \
    X(SEED, "seed", MAP, check_integer, "`seed` (low 31 bits)")                                    \
    X(PRESENCE_PENALTY, "presence_penalty", MAP, check_penalty, "`presencePenalty`; 0 is left out, dropped once when the model refuses it") \
    X(FREQUENCY_PENALTY, "frequency_penalty", MAP, check_penalty, "`frequencyPenalty`; 0 is left out, dropped once when the model refuses it") \
    X(LOGPROBS, "logprobs", MAP, check_bool, "`responseLogprobs`")                                 \
    X(TOP_LOGPROBS, "top_logprobs", MAP, check_top_logprobs, "`logprobs` (0 to 20); needs `logprobs: true`") \
    X(LOGIT_BIAS, "logit_bias", REJECT, check_logit_bias, "refused unless empty: the token ids are of another tokenizer") \
    X(RESPONSE_FORMAT, "response_format", MAP, check_object, "`responseMimeType` and `responseJsonSchema`") \
    X(TOOLS, "tools", MAP, check_tools, "`tools` with `parametersJsonSchema`; `custom` tools become functions of one text") \
    X(TOOL_CHOICE, "tool_choice", MAP, check_choice, "`toolConfig.functionCallingConfig`")         \
    X(PARALLEL_TOOL_CALLS, "parallel_tool_calls", MAP, check_bool, "`false`: only the first call of an answer is handed on") \
    X(FUNCTIONS, "functions", MAP, check_tools, "as `tools`; the answer then has `function_call`") \
    X(FUNCTION_CALL, "function_call", MAP, check_choice, "as `tool_choice`")                       \
    X(REASONING_EFFORT, "reasoning_effort", MAP, check_effort, "`thinkingLevel` from Gemini 3 on, `thinkingBudget` before") \
    X(VERBOSITY, "verbosity", IGNORE, check_string, "no counterpart")                              \
    X(STREAM, "stream", MAP, check_bool, "`streamGenerateContent`")                                \
    X(STREAM_OPTIONS, "stream_options", MAP, check_object, "`include_usage` adds the chunk with `usage`; `include_obfuscation` has no effect") \
    X(MODALITIES, "modalities", MAP, check_modalities, "`responseModalities`; `audio` only with a speech model") \
    X(AUDIO, "audio", MAP, check_audio, "`speechConfig` of a speech model")                        \
    X(SERVICE_TIER, "service_tier", MAP, check_string, "`serviceTier` for `flex`, `priority` and `fast`; the others are the default") \
    X(WEB_SEARCH_OPTIONS, "web_search_options", MAP, check_object, "the tool `googleSearch`; context size and location have no counterpart") \
    X(STORE, "store", MAP, check_bool, "`store`; absent: `false` unless `STORE_REQUESTS`")         \
    X(EXTRA_BODY, "extra_body", MAP, check_object, "`google.*`: `thinking_config`, `cached_content`, `safety_settings`, `generation_config`, `tools`, `media_resolution`") \
    X(GOOGLE, "google", MAP, check_object, "the same without `extra_body`")                        \
    X(PREDICTION, "prediction", IGNORE, check_object, "only makes answers faster; usage reports 0") \
    X(METADATA, "metadata", IGNORE, check_object, "does not reach the model")                      \
    X(USER, "user", IGNORE, check_string, "does not reach the model; keeps a user on one key where the policy is `sticky`") \
    X(SAFETY_IDENTIFIER, "safety_identifier", IGNORE, check_string, "does not reach the model")    \
    X(PROMPT_CACHE_KEY, "prompt_cache_key", IGNORE, check_string, "does not reach the model; keeps a conversation on one key where the policy is `sticky`") \
    X(PROMPT_CACHE_RETENTION, "prompt_cache_retention", IGNORE, check_string, "Google's implicit caching has no such choice") \
    X(PROMPT_CACHE_OPTIONS, "prompt_cache_options", IGNORE, check_object, "Google's implicit caching has no such choice") \
    X(MODERATION, "moderation", IGNORE, check_object, "no counterpart; does not change the answer")
/* clang-format on */

typedef enum {
#define GB_OPENAI_FIELD_ID(id, name, action, check, text) GB_OPENAI_##id,
    GB_OPENAI_FIELD_LIST(GB_OPENAI_FIELD_ID)
#undef GB_OPENAI_FIELD_ID
        GB_OPENAI_FIELD_N
} gb_openai_field_t;

/* Bounds of what is not bounded by the body's size alone. */
#define GB_OPENAI_MAX_MESSAGES 65536
#define GB_OPENAI_MAX_TOOLS    1024
#define GB_OPENAI_MAX_CALLS    1024 /* of one message */
#define GB_OPENAI_MAX_OPTIONS  200  /* members of generation_config */
#define GB_OPENAI_MAX_FETCHES  100  /* addresses that are fetched for one request */

/* What a model's name carried beside the model. */
#define GB_OPENAI_SEARCH       GB_VARIANT_SEARCH
#define GB_OPENAI_IMAGE        GB_VARIANT_IMAGE
#define GB_OPENAI_NON_THINKING GB_VARIANT_NON_THINKING

/* What the upstream refused once (see gb_dialect_t.drop_field), and what a body holds. */
#define GB_OPENAI_DROP_TEMPERATURE      0x0001u
#define GB_OPENAI_DROP_TOP_P            0x0002u
#define GB_OPENAI_DROP_TOP_K            0x0004u
#define GB_OPENAI_DROP_PENALTIES        0x0008u
#define GB_OPENAI_DROP_THINKING         0x0010u
#define GB_OPENAI_DROP_THINKING_LEVEL   0x0020u
#define GB_OPENAI_DROP_RESPONSE_SCHEMA  0x0040u /* door 2 refused: lower it */
#define GB_OPENAI_DROP_PARAMETER_SCHEMA 0x0080u
#define GB_OPENAI_DROP_BOUNDS           0x0100u /* minItems, maximum ... of all schemas */
#define GB_OPENAI_DROP_STORE            0x0200u
#define GB_OPENAI_DROP_RESOLUTION       0x0400u
#define GB_OPENAI_DROP_TIER             0x0800u
#define GB_OPENAI_DROP_SEED             0x1000u
#define GB_OPENAI_DROP_INCLUDE_THOUGHTS 0x2000u
#define GB_OPENAI_DROP_SIGNATURES       0x4000u /* the stand-in takes their place */
#define GB_OPENAI_DROP_IMAGE_SIZE       0x8000u

typedef enum {
    GB_OPENAI_ROLE_SYSTEM,
    GB_OPENAI_ROLE_USER,
    GB_OPENAI_ROLE_ASSISTANT,
    GB_OPENAI_ROLE_TOOL
} gb_openai_role_t;

/* One message, its members found. */
typedef struct gb_openai_message_t {
    gb_openai_role_t role;
    size_t index;
    int legacy; /* role "function" */
    gb_span_t content, refusal, name, tool_calls, function_call, tool_call_id, images, audio,
        extra_content;
} gb_openai_message_t;

/* A function as the model knows it, and as the client named it. */
typedef struct gb_openai_tool_t {
    const char *name;     /* the client's */
    const char *upstream; /* letters, digits, _ : . - ; unique in the call */
    gb_span_t description, schema;
    int custom; /* freeform: one string parameter */
    int strict;
} gb_openai_tool_t;

/* What every chunk of an answer says of it. */
typedef struct gb_openai_name_t {
    const char *id, *model, *fingerprint;
} gb_openai_name_t;

/* One client request, translated as often as it takes. */
typedef struct gb_openai_call_t {
    gb_plan_t *plan;
    apr_pool_t *pool;
    gb_request_t request;
    const gb_settings_t *settings;
    gb_error_t *err; /* of whoever translates now */

    gb_span_t field[GB_OPENAI_FIELD_N]; /* null counts as absent */
    gb_span_t google;                   /* extra_body.google, or google */
    gb_openai_message_t *messages;
    int n_messages;
    apr_hash_t *call_names; /* id of any call -> its name upstream; made when asked */

    gb_model_t model; /* the one that is called */
    unsigned variant;
    int n;
    int stream, include_usage;
    int legacy;   /* functions: the answer has function_call */
    int logprobs; /* asked for */
    int has_media;
    int refers;   /* maybe to a file of Google's, which one key alone can use */
    int mixed;    /* functions beside Google's own tools */
    int one_call; /* parallel_tool_calls is false */
    int show_thoughts;
    int json_answer; /* response_format wants JSON */

    gb_openai_tool_t *tools;
    int n_tools;
    const char *extra_system;          /* a sentence of ours, JSON-escaped with quotes */
    gb_openai_name_t name;             /* of the answer that comes, id NULL: not known yet */
    int name_told;                     /* the client has it: another attempt keeps it */
    struct gb_openai_answer_t *answer; /* of the stream that came last */
    gb_span_t first_body;              /* what asked for the begin of a continued answer */
    unsigned dropped, sent;            /* GB_OPENAI_DROP_* */

    void *own; /* of the endpoint, where that is not chat */
    apr_status_t (*remake)(struct gb_openai_call_t *call);  /* the body, as the call stands now */
    apr_status_t (*instead)(struct gb_openai_call_t *call); /* all of it, for plan->other_model */
    int predicts;                                           /* chat by imagen */
} gb_openai_call_t;

#define gb_openai_there(span) ((span).p != NULL)

/* ---- openai_fields.c ---- */

/* Spreads the request over call->field, checks types, names what it does not know. */
apr_status_t gb_openai_fields_read(gb_openai_call_t *call, gb_span_t root);
/* `null` counts as absent. */
gb_span_t gb_openai_member(gb_span_t object, const char *name);
int gb_openai_flag(gb_span_t value); /* true */
/* A string's text from p, NULL when it is none. */
const char *gb_openai_text(gb_span_t value, apr_pool_t *p);
int gb_openai_empty(gb_span_t string); /* no string, or "" */
/* Names a member that nobody knows in x-gbalance-ignored. */
void gb_openai_ignored_add(gb_openai_call_t *call, gb_span_t key);

/* ---- openai_params.c: the bodies of the smaller endpoints ---- */

typedef enum {
    GB_PARAM_STRING,
    GB_PARAM_INTEGER,
    GB_PARAM_NUMBER,
    GB_PARAM_BOOL,
    GB_PARAM_ANY
} gb_openai_param_kind_t;

/* One member: where its value goes, and what it may be. */
typedef struct gb_openai_param_t {
    const char *name;
    size_t offset; /* of a gb_span_t; GB_PARAM_NOWHERE: it has no effect */
    gb_openai_param_kind_t kind;
    const char *words;    /* "float|base64": what a string may be; NULL: anything */
    apr_int64_t min, max; /* of an integer; 1, 0: any */
} gb_openai_param_t;

#define GB_PARAM_NOWHERE ((size_t)-1)

/* Spreads root over the spans of *into (left alone where a member is absent or null), checks, and
 * names what is not in the table in plan->ignored. */
apr_status_t gb_openai_params_read(gb_openai_call_t *call, gb_span_t root,
                                   const gb_openai_param_t *params, size_t n, void *into);
/* One value: null has no effect. */
apr_status_t gb_openai_param_take(gb_openai_call_t *call, const gb_openai_param_t *param,
                                  gb_span_t value, void *into);
apr_status_t gb_openai_param_missing(gb_openai_call_t *call, const char *name);

/* ---- openai_form.c ---- */

/* A file of a form, as it lies in the client's body. */
typedef struct gb_openai_file_t {
    const char *field; /* without its [] */
    const char *name;  /* "" when none was told */
    const char *type;  /* the client's word for it, may be "" */
    gb_span_t bytes;
} gb_openai_file_t;

/* The fields as gb_openai_params_read does; *pfiles is of gb_openai_file_t. */
apr_status_t gb_openai_form_read(gb_openai_call_t *call, const gb_openai_param_t *params, size_t n,
                                 void *into, apr_array_header_t **pfiles);
/* Its type by its first bytes, as Google calls it; NULL when they say nothing. */
const char *gb_openai_file_type(const gb_openai_file_t *file);

/* plan->pieces while they are written: text goes to .text, files between. */
typedef struct gb_openai_pieces_t {
    gb_openai_call_t *call;
    apr_array_header_t *list;
    gb_buf_t text;
    size_t taken; /* of text, by the pieces so far */
} gb_openai_pieces_t;

void gb_openai_pieces_begin(gb_openai_pieces_t *pieces, gb_openai_call_t *call);
/* {"inlineData":..} */
void gb_openai_pieces_file(gb_openai_pieces_t *pieces, const char *type, gb_span_t bytes);
/* Sets plan->pieces. */
apr_status_t gb_openai_pieces_end(gb_openai_pieces_t *pieces);

/* ---- openai_models.c ---- */

/* Sets plan->model, plan->model_used, call->model and call->variant. */
apr_status_t gb_openai_model_resolve(gb_openai_call_t *call, const char *asked);
/*
 * The same for endpoints with a model of their own: configured is called when none is named, and
 * for OpenAI's names (which begin so; NULL at the end) unless MODEL_ALIASES has them.
 */
apr_status_t gb_openai_model_settle(gb_openai_call_t *call, gb_span_t named, const char *configured,
                                    const char *const *openai);
apr_status_t gb_openai_models_list(gb_openai_call_t *call);
apr_status_t gb_openai_models_one(gb_openai_call_t *call);

/* ---- openai_messages.c ---- */

apr_status_t gb_openai_messages_read(gb_openai_call_t *call);
/* Writes the members "contents" and "systemInstruction" (without a comma before). */
apr_status_t gb_openai_messages_put(gb_openai_call_t *call, gb_buf_t *out);

/* contents while they are written: turns open when their first part comes. */
typedef struct gb_openai_turns_t {
    gb_openai_call_t *call;
    gb_buf_t *out;
    const char *role; /* wanted for the next part */
    const char *open; /* of the turn that is open; NULL = none */
    int sealed;       /* the open turn takes no more than what it is for */
    int wants_sealed; /* the wanted one is to be so */
    int is_next;      /* nothing of what is wanted has come yet */
    int n_turns, n_parts;
} gb_openai_turns_t;

/* Where the next part's JSON goes: opens the turn, puts the comma. */
gb_buf_t *gb_openai_part(gb_openai_turns_t *turns);

/* ---- openai_content.c ---- */

/* A message's content, string or parts, as parts of the turn. */
apr_status_t gb_openai_content_put(gb_openai_turns_t *turns, const gb_openai_message_t *message,
                                   gb_span_t content);
/* One URL as a part: data URL, fetched, or fileData.  detail may be NULL. */
apr_status_t gb_openai_media_put(gb_openai_turns_t *turns, gb_span_t url, const char *detail,
                                 const char *param);
/* The same without a turn around it: only {"mimeType","data"} of a data URL or fetched URL.
 * APR_NOTFOUND: it is neither. */
apr_status_t gb_openai_blob_put(gb_openai_call_t *call, gb_buf_t *out, gb_span_t url,
                                const char *param);
/* Bytes in standard base64, without quotes. */
void gb_openai_base64_put(gb_buf_t *out, const char *bytes, size_t len);
/* "image/png" by the first bytes, NULL when unknown. */
const char *gb_openai_sniff(const char *bytes, size_t len);

/* ---- openai_markdown.c ---- */

/* Assistant text: pictures that we wrote as Markdown become inlineData again. */
apr_status_t gb_openai_assistant_text_put(gb_openai_turns_t *turns, gb_span_t text);

/* ---- openai_tools.c ---- */

apr_status_t gb_openai_tools_read(gb_openai_call_t *call);
/* Writes ,"tools":..,"toolConfig":.. where there is something to write. */
apr_status_t gb_openai_tools_put(gb_openai_call_t *call, gb_buf_t *out);
/* Whether Google's own tools are wanted by the client or by the model's name. */
int gb_openai_tools_own(const gb_openai_call_t *call);
const char *gb_openai_tool_upstream(const gb_openai_call_t *call, const char *name);
/* By the upstream's name; NULL when the client declared none like it. */
const gb_openai_tool_t *gb_openai_tool_find(const gb_openai_call_t *call, const char *upstream);

/* ---- openai_calls.c ---- */

/* An assistant's tool_calls or function_call, and the answers that follow it. */
apr_status_t gb_openai_calls_put(gb_openai_turns_t *turns, const gb_openai_message_t *message);
/* All tool messages from position at on in one turn; *next is the first that is none. */
apr_status_t gb_openai_results_put(gb_openai_turns_t *turns, int at, int *next);
/* Under which a model turn with Google's own tools is remembered, beside signatures. */
const char *gb_openai_parts_id(const char *first_call_id, apr_pool_t *p);
/* A signature in extra_content.google of a message or call, {NULL,0} if none. */
gb_span_t gb_openai_signature(gb_span_t extra_content);

/* ---- openai_generation.c ---- */

/* Writes ,"generationConfig":{..} */
apr_status_t gb_openai_generation_put(gb_openai_call_t *call, gb_buf_t *out);
/* Gemini's name of a voice (OpenAI's or Gemini's own), NULL when nobody knows it. */
const char *gb_openai_voice(const char *name);
/* Settles n, candidateCount or fan_out, stream. */
apr_status_t gb_openai_generation_plan(gb_openai_call_t *call);

/* ---- openai_thinking.c ---- */

/* {"thinkingBudget":..,..} into out, or nothing. */
apr_status_t gb_openai_thinking_put(gb_openai_call_t *call, gb_buf_t *out);

/* ---- openai_request.c ---- */

apr_status_t gb_openai_chat(gb_openai_call_t *call);
/* Path, body and number of calls, once the request was read. */
apr_status_t gb_openai_chat_plan(gb_openai_call_t *call);
/* What stands around contents in every body, and the brace that ends it. */
apr_status_t gb_openai_around_put(gb_openai_call_t *call, gb_buf_t *out);
/* Makes plan->body (and plan->fetches) from the call as it stands. */
apr_status_t gb_openai_body_make(gb_openai_call_t *call);
apr_status_t gb_openai_drop_field(gb_plan_t *plan, const char *field);
apr_status_t gb_openai_resume(gb_plan_t *plan, gb_error_t *err);
apr_status_t gb_openai_instead(gb_plan_t *plan);

/* ---- answers ---- */

typedef struct gb_openai_usage_t {
    apr_int64_t prompt, tool_use, candidates, thoughts, cached, total; /* -1 not told */
    apr_int64_t prompt_audio, answer_audio;
    char tier[16];
} gb_openai_usage_t;

/* ---- openai_usage.c ---- */

void gb_openai_usage_clear(gb_openai_usage_t *usage);
/* Takes a usageMetadata: the last one counts. */
void gb_openai_usage_read(gb_openai_usage_t *usage, gb_span_t metadata);
/* Several calls that make one answer. */
void gb_openai_usage_add(gb_openai_usage_t *sum, const gb_openai_usage_t *one);
int gb_openai_usage_known(const gb_openai_usage_t *usage);
void gb_openai_usage_put(gb_buf_t *out, const gb_openai_usage_t *usage);
/* OpenAI's word, NULL when Google did not say. */
const char *gb_openai_usage_tier(const gb_openai_usage_t *usage);

/* ---- openai_audio.c ---- */

/* A piece of sound: raw JSON strings. */
typedef struct gb_openai_sound_t {
    gb_span_t type, data;
} gb_openai_sound_t;

/* Pieces (of gb_openai_sound_t) as one JSON string of base64: as WAV, or as bare samples. */
void gb_openai_audio_put(gb_buf_t *out, const apr_array_header_t *pieces, int wants_wav);
/* The bytes of a piece behind those of out, without the header of a WAV file. */
void gb_openai_audio_samples(gb_buf_t *out, const gb_openai_sound_t *piece, unsigned *rate);
/* Of "audio/L16;codec=pcm;rate=24000": whether the samples are bare, and how many a second. */
int gb_openai_audio_is_raw(gb_span_t type);
unsigned gb_openai_audio_rate(gb_span_t type);
/* Decodes base64, standard or URL-safe. */
void gb_openai_base64_get(gb_buf_t *out, const char *text, size_t len);

/* ---- openai_speech.c ---- */

apr_status_t gb_openai_speech(gb_openai_call_t *call);

/* ---- openai_annotations.c ---- */

/* Both of types that openai_annotations.c keeps to itself. */
typedef struct gb_openai_sources_t {
    apr_array_header_t *chunks;
    apr_array_header_t *supports;
} gb_openai_sources_t;

/* One candidate on its way to one choice. */
typedef struct gb_openai_choice_t {
    int index;
    int begun; /* the role was told */
    int n_calls, n_images;
    int delivered;   /* something of an answer was told; thoughts are none */
    char finish[40]; /* Gemini's word, "" until told */
    char finish_message[200];
    apr_array_header_t *call_ids; /* raw spans: calls are told once */
    gb_buf_t text;                /* content so far in UTF-8: for citations */
    gb_openai_sources_t sources;
    apr_array_header_t *offsets; /* where parts begin in text (openai_annotations.c) */
    size_t n_parts;
    int last_was_text;
    gb_buf_t raw_parts; /* parts that must come back as they were (server-side tools) */
    int keeps_parts;
    const char *first_call_id;
    const char *refusal;
    int blocked;        /* the prompt was: finish holds the reason */
    gb_span_t logprobs; /* of the event that is read, until told */
    int other_parts;    /* something beside text and thoughts was told */

    /* collected for an answer in one piece: JSON without the outer quotes or brackets */
    gb_buf_t content, reasoning, calls, images, logprob_items;
    apr_array_header_t *sounds; /* of gb_openai_sound_t, NULL: none */

    gb_buf_t sound; /* of a stream: bytes that wait for more, so that what is told can be joined */
    int sound_begun;
    gb_span_t text_signature;
    const char *text_signature_kept;
} gb_openai_choice_t;

void gb_openai_sources_read(gb_openai_choice_t *choice, gb_span_t grounding, gb_span_t citations,
                            apr_pool_t *p);
int gb_openai_annotations_any(const gb_openai_choice_t *choice);
/* [{"type":"url_citation",..},..] */
void gb_openai_annotations_put(gb_buf_t *out, const gb_openai_choice_t *choice);
/* The list of links as text, NULL when there is none. */
const char *gb_openai_links(const gb_openai_choice_t *choice, apr_pool_t *p);
/* Notes that a part of the candidate begins; text parts of one kind that follow each other in a
 * stream are one part. */
void gb_openai_part_seen(gb_openai_choice_t *choice, int is_text, int joins, apr_pool_t *p);

/* ---- openai_answer.c: events of one answer, told to a writer ---- */

typedef struct gb_openai_answer_t gb_openai_answer_t;

/* A finished functionCall. */
typedef struct gb_openai_tool_call_t {
    int index;
    const char *id;
    const char *name; /* the client's */
    int custom;
    const char *arguments; /* the text of the arguments, compact JSON or freeform */
    size_t arguments_len;
    gb_span_t signature; /* raw string, {NULL,0} if none */
} gb_openai_tool_call_t;

/* Strings come as raw JSON with quotes where they are spans. */
typedef struct gb_openai_writer_t {
    void (*text)(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t text, int thought);
    void (*call)(gb_openai_answer_t *a, gb_openai_choice_t *c, const gb_openai_tool_call_t *call);
    void (*image)(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data);
    void (*audio)(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t type, gb_span_t data);
    void (*refusal)(gb_openai_answer_t *a, gb_openai_choice_t *c, const char *text);
    /* a signature that stands on text */
    void (*signature)(gb_openai_answer_t *a, gb_openai_choice_t *c, gb_span_t signature);
    /* log probabilities that no text has carried */
    void (*logprobs)(gb_openai_answer_t *a, gb_openai_choice_t *c);
} gb_openai_writer_t;

struct gb_openai_answer_t {
    gb_openai_call_t *call;
    gb_facts_t *facts;
    apr_pool_t *pool;
    const gb_openai_writer_t *writer;
    gb_buf_t *out; /* of the running call of on_chunk or on_end */
    gb_buf_t scratch;

    apr_array_header_t *choices; /* of gb_openai_choice_t * */
    int first_choice;            /* fan-out: index of the answer's first candidate */
    gb_openai_usage_t usage, usage_before;
    gb_facts_t facts_before;
    gb_openai_name_t name;
    const char *picture; /* stands for the address of the image that is told; NULL: a data URL */
    apr_int64_t created;
    const char *chunk_head, *chunk_tail, *chunk_close;
    unsigned serial; /* of ids that we made */
    int continued;   /* the client has its begin; thoughts are over */
    int seam_open;   /* it is not known yet where the rest begins */
    gb_buf_t held;   /* the rest so far, until it is */
};

gb_openai_answer_t *gb_openai_answer_make(gb_openai_call_t *call, gb_facts_t *facts,
                                          const gb_openai_writer_t *writer);
/* One GenerateContentResponse that was checked. */
apr_status_t gb_openai_answer_event(gb_openai_answer_t *a, gb_span_t root);
/* The answer broke off: what it has so far is the begin of the one that is read next. */
apr_status_t gb_openai_answer_continue(gb_openai_answer_t *a);
/* What is held at the seam, once no more text comes. */
void gb_openai_answer_seam_close(gb_openai_answer_t *a, gb_openai_choice_t *c);
/* The next answer of a fan-out begins. */
void gb_openai_answer_next(gb_openai_answer_t *a);
/* Before the end: what a choice still has to say (links). */
void gb_openai_answer_last_words(gb_openai_answer_t *a, gb_openai_choice_t *c);
/* OpenAI's finish_reason. */
const char *gb_openai_finish(const gb_openai_answer_t *a, const gb_openai_choice_t *c);
/* Whether thoughts are all that there is before a tool call that cannot be read. */
int gb_openai_malformed(const gb_openai_answer_t *a);
/* Settles the name for good. */
void gb_openai_answer_name(gb_openai_answer_t *a);
/* The members of an audio object up to its data, without the brace. */
void gb_openai_audio_begin(gb_openai_answer_t *a, gb_buf_t *out);
/* 24 letters and digits that no other call has; serial tells those of one call apart. */
const char *gb_openai_id_make(const gb_openai_call_t *call, unsigned serial);
/* The call as {"id","type",..}; index < 0: none (an answer in one piece). */
void gb_openai_tool_call_put(gb_buf_t *out, const gb_openai_tool_call_t *call, int with_index);
/* {"content":[..],"refusal":null}'s items. */
void gb_openai_logprobs_put(gb_buf_t *out, gb_span_t result);

/* ---- openai_images.c, openai_images_answer.c ---- */

/* Side lengths as Google names them. */
typedef struct gb_openai_ratio_t {
    const char *name;
    int width, height;
    int imagen; /* known there too */
} gb_openai_ratio_t;

/* POST images/generations and images/edits. */
typedef struct gb_openai_images_t {
    gb_span_t model, prompt, n, size, quality, response_format, output_format, background, stream;
    const char *text; /* the prompt without its marks */
    int count;
    const gb_openai_ratio_t *ratio; /* NULL: the model decides */
    const char *image_size;         /* "1K" ...; NULL: the model decides */
    int wants_url;
    const apr_array_header_t *files; /* of an edit: pictures and their mask, NULL: it is none */
} gb_openai_images_t;

apr_status_t gb_openai_images(gb_openai_call_t *call);
apr_status_t gb_openai_images_edit(gb_openai_call_t *call);
/* Reads {n:2} and {ratio:16:9}, and takes them out.  count and ratio are left alone without one. */
apr_status_t gb_openai_image_marks(gb_openai_call_t *call, const char **text, int *count,
                                   const gb_openai_ratio_t **ratio, const char *param);

/* ---- openai_transcripts.c, openai_transcripts_answer.c ---- */

typedef enum {
    GB_TRANSCRIPT_JSON,
    GB_TRANSCRIPT_TEXT,
    GB_TRANSCRIPT_SRT,
    GB_TRANSCRIPT_VTT,
    GB_TRANSCRIPT_VERBOSE,
    GB_TRANSCRIPT_DIARIZED
} gb_openai_transcript_format_t;

/* POST audio/transcriptions and audio/translations. */
typedef struct gb_openai_transcript_t {
    gb_span_t model, language, prompt, response_format, temperature, stream;
    gb_openai_transcript_format_t format;
    int translates;   /* to English */
    int dedicated;    /* the model does nothing else, and tells times */
    int words_wanted; /* each with its time */
    const char *type; /* of the sound */
    gb_span_t bytes;
} gb_openai_transcript_t;

apr_status_t gb_openai_transcription(gb_openai_call_t *call);
apr_status_t gb_openai_translation(gb_openai_call_t *call);

/* ---- openai_imagen.c ---- */

/* {"instances":..,"parameters":..} */
apr_status_t gb_openai_imagen_put(gb_buf_t *out, const char *prompt, int count,
                                  const gb_openai_ratio_t *ratio, const char *image_size);
/* Chat with a model that only paints: the last user's text is the prompt. */
apr_status_t gb_openai_imagen_chat(gb_openai_call_t *call);
/* Leads what imagen answers to the translator that was begun. */
void gb_openai_imagen_begin(gb_translator_t *t);

/* ---- openai_embeddings.c ---- */

apr_status_t gb_openai_embeddings(gb_openai_call_t *call);

/* ---- openai_stream.c, openai_unary.c, openai_models.c, openai_direct.c ... ---- */

struct gb_translator_t {
    gb_plan_t *plan;
    gb_facts_t *facts;
    gb_openai_answer_t *answer;
    gb_sse_t *sse;
    gb_buf_t *out;
    gb_buf_t kept;      /* models: the list so far; direct: an event that is not complete */
    apr_hash_t *listed; /* models: names in it */
    apr_status_t (*chunk)(gb_translator_t *t, const char *bytes, size_t len);
    apr_status_t (*end)(gb_translator_t *t);
    apr_uint64_t passed; /* direct: bytes that were handed on; embeddings: answers that were read */
    int done;            /* direct: [DONE] was seen */
    void *own;           /* of the endpoint */
    apr_status_t (*inner)(gb_translator_t *t, const char *bytes, size_t len); /* imagen: chat's */
    int n; /* whole answers, or events, that were read */
};

gb_translator_t *gb_openai_translator_make(gb_plan_t *plan, gb_facts_t *facts);
/* A dialect's heartbeat for a chat, and for every other stream. */
apr_status_t gb_openai_go_on(gb_plan_t *plan);
void gb_openai_heartbeat(const gb_plan_t *plan, gb_buf_t *out);
int gb_openai_split(const gb_plan_t *plan, gb_span_t event, gb_split_t *split);
void gb_openai_stream_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_unary_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_models_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_model_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_embeddings_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_speech_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_images_begin(gb_translator_t *t, gb_openai_call_t *call);
void gb_openai_transcript_begin(gb_translator_t *t, gb_openai_call_t *call);

/* Checks, mends and reads one event or whole answer.  Sets has_error for what is no JSON. */
apr_status_t gb_openai_answer_feed(gb_openai_answer_t *a, const char *bytes, size_t len);

/* A whole answer without what was asked for, because Gemini blocked it: the client's fault. */
void gb_openai_blocked(gb_translator_t *t, const char *what, const char *why);

void gb_openai_error_body(const gb_plan_t *plan, const gb_error_t *err, int midstream,
                          gb_buf_t *out);

#endif
