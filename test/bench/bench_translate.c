/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What translation costs: per request of 1 KB, 100 KB and 5 MB (an inline
 * picture), per answer, and per chunk of a stream - in microseconds, and as a
 * ratio to reading and printing the same JSON with jansson.  Each figure is the
 * median of five rounds, the two sides taking turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_general.h>
#include <jansson.h>

#include "proto/openai.h"

#define ROUNDS 5

typedef struct subject_t {
    const char *name;
    const char *client;   /* the request */
    const char *json;     /* what jansson reads and prints */
    const char *upstream; /* NULL: the request itself is measured */
    int times;            /* a round */
    int events;           /* in upstream */
} subject_t;

static const gb_settings_t *settings;
static apr_pool_t *global;

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static gb_plan_t *plan_make(const char *client, apr_pool_t *p)
{
    gb_request_t request = {.method = "POST", .path = "/chat/completions"};
    gb_plan_t *plan = NULL;
    gb_error_t err = {0};

    request.body = client;
    request.body_len = strlen(client);
    if (gb_openai_dialect.parse_request(&plan, &request, settings, &err, p) != APR_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return plan;
}

/* Parse, check and translate one request. */
static void request_once(const subject_t *subject)
{
    apr_pool_t *p;

    apr_pool_create(&p, global);
    plan_make(subject->client, p);
    apr_pool_destroy(p);
}

static void answer_once(gb_plan_t *plan, const subject_t *subject)
{
    gb_facts_t facts = {0};
    gb_translator_t *t = plan->dialect->start(plan, "", &facts);
    gb_buf_t out;

    gb_buf_init(&out, GB_BUF_MAX_ANSWER);
    plan->dialect->on_chunk(t, subject->upstream, strlen(subject->upstream), &out);
    if (plan->dialect->on_end(t, &out) != APR_SUCCESS || out.len == 0) {
        fprintf(stderr, "%s: no answer\n", subject->name);
        exit(1);
    }
    gb_buf_free(&out);
}

static double ours(const subject_t *subject)
{
    double began;
    apr_pool_t *p;
    int i;

    if (subject->upstream == NULL) {
        began = now_us();
        for (i = 0; i < subject->times; i++) {
            request_once(subject);
        }
        return (now_us() - began) / subject->times;
    }
    began = now_us();
    for (i = 0; i < subject->times; i++) {
        double paused = now_us();
        gb_plan_t *plan;

        apr_pool_create(&p, global);
        plan = plan_make(subject->client, p);
        began += now_us() - paused;
        answer_once(plan, subject);
        apr_pool_destroy(p);
    }
    return (now_us() - began) / subject->times / subject->events;
}

static double theirs(const subject_t *subject)
{
    double began = now_us();
    int i, times = subject->times * subject->events;

    for (i = 0; i < times; i++) {
        json_t *json = json_loads(subject->json, JSON_ALLOW_NUL, NULL);
        char *text = json_dumps(json, JSON_COMPACT);

        free(text);
        json_decref(json);
    }
    return (now_us() - began) / times;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void measure(const subject_t *subject)
{
    double a[ROUNDS], b[ROUNDS];
    int i;

    for (i = 0; i < ROUNDS; i++) {
        a[i] = ours(subject);
        b[i] = theirs(subject);
    }
    qsort(a, ROUNDS, sizeof(*a), by_size);
    qsort(b, ROUNDS, sizeof(*b), by_size);
    printf("%-28s %10.2f us  jansson %10.2f us  ratio %.2f\n", subject->name, a[ROUNDS / 2],
           b[ROUNDS / 2], a[ROUNDS / 2] / b[ROUNDS / 2]);
}

/* ---- subjects ---- */

/* Turns of talk until the body has about so many bytes. */
static const char *talk(size_t bytes)
{
    gb_buf_t out;
    int i;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, global);
    gb_buf_puts(&out,
                "{\"model\":\"gemini-3.1-pro-preview\",\"temperature\":0.7,\"tools\":[{\"type\":"
                "\"function\",\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":"
                "\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":"
                "[\"city\"]}}}],\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"}");
    for (i = 0; out.len + 400 < bytes || i == 0; i++) {
        gb_buf_printf(&out,
                      ",{\"role\":\"user\",\"content\":\"How is the weather in place %d, and what "
                      "should I put on? Please think of the wind too.\"},{\"role\":\"assistant\","
                      "\"content\":null,\"tool_calls\":[{\"id\":\"call_%d\",\"type\":\"function\","
                      "\"function\":{\"name\":\"get_weather\",\"arguments\":\"{\\\"city\\\":\\\"%d"
                      "\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_%d\",\"content\":"
                      "\"{\\\"temperature\\\": 19.99, \\\"wind\\\": [1.5, 2.25]}\"}",
                      i, i, i, i);
    }
    gb_buf_puts(&out, ",{\"role\":\"user\",\"content\":\"And tomorrow?\"}]}");
    return out.data;
}

static const char *picture(size_t bytes)
{
    gb_buf_t out;
    size_t i;

    gb_buf_init_pool(&out, GB_BUF_MAX_REQUEST, global);
    gb_buf_puts(&out,
                "{\"model\":\"gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":"
                "[{\"type\":\"text\",\"text\":\"What is this?\"},{\"type\":\"image_url\","
                "\"image_url\":{\"url\":\"data:image/png;base64,");
    for (i = 0; i < bytes / 16; i++) {
        gb_buf_puts(&out, "iVBORw0KGgo/+abc");
    }
    gb_buf_puts(&out, "\"}}]}]}");
    return out.data;
}

#define CLIENT(stream)                                                                             \
    "{\"model\":\"gemini-2.5-flash\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"        \
    "\"stream\":" stream "}"
#define CHUNK                                                                                      \
    "{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"A piece of text, as long as "       \
    "models send them, with an ü in it.\"}],\"role\": \"model\"},\"index\": 0}],"                 \
    "\"usageMetadata\": {\"promptTokenCount\": 32,\"candidatesTokenCount\": 22,"                   \
    "\"totalTokenCount\": 294,\"promptTokensDetails\": [{\"modality\": \"TEXT\","                  \
    "\"tokenCount\": 32}],\"thoughtsTokenCount\": 240},\"modelVersion\": \"gemini-2.5-flash\","    \
    "\"responseId\": \"ntcEapytNbDmqtsP2JrvyQs\"}"
#define LAST                                                                                       \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},\"finishReason\":\"STOP\"}]}"

static const char *stream(int events)
{
    gb_buf_t out;
    int i;

    gb_buf_init_pool(&out, GB_BUF_MAX_ANSWER, global);
    for (i = 1; i < events; i++) {
        gb_buf_puts(&out, "data: " CHUNK "\r\n\r\n");
    }
    gb_buf_puts(&out, "data: " LAST "\r\n\r\n");
    return out.data;
}

int main(void)
{
    subject_t subjects[] = {
        {"request of 1 KB",           NULL,            NULL,  NULL,  3000, 1   },
        {"request of 100 KB",         NULL,            NULL,  NULL,  100,  1   },
        {"request with 5 MB picture", NULL,            NULL,  NULL,  4,    1   },
        {"answer in one piece",       CLIENT("false"), CHUNK, CHUNK, 3000, 1   },
        {"chunk of a stream",         CLIENT("true"),  CHUNK, NULL,  30,   1000},
    };
    size_t i;

    apr_initialize();
    apr_pool_create(&global, NULL);
    settings = gb_settings_make(global);
    subjects[0].client = subjects[0].json = talk(1024);
    subjects[1].client = subjects[1].json = talk(100 * 1024);
    subjects[2].client = subjects[2].json = picture(5 * 1024 * 1024);
    subjects[4].upstream = stream(subjects[4].events);
    for (i = 0; i < sizeof(subjects) / sizeof(*subjects); i++) {
        measure(&subjects[i]);
    }
    apr_pool_destroy(global);
    apr_terminate();
    return 0;
}
