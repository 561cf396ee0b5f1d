/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load generator for HTTP/1.1 on epoll, one thread: it holds thousands of
 * slow streams on the core that it shares with the server under test, reads
 * what comes in time, and checks what it reads.  The test suite and the
 * benchmark drive it; it prints one JSON object.
 *
 *   load --port 8000 --connections 50 --requests 1000 \
 *        --case 'POST /v1/chat/completions @body.json' --case 'GET /v1/models -'
 *
 * A case is "METHOD PATH BODY [option ...]"; BODY is @file or -.  Requests take
 * the cases in turn.  Options of a case:
 *
 *   abort=N     close the connection after N bytes of the answer's body
 *   slow=N      read at most N bytes a second, through a small receive buffer
 *   chunked     send the body with Transfer-Encoding: chunked
 *   expect=N    the answer is a stream of exactly N numbered chunks
 *   close       send Connection: close
 *
 * What counts as a chunk: a line `data:` of an answer of type text/event-stream.
 * With --seq TEXT, digits behind TEXT in such a line number it from --seq-first;
 * with --stamp TEXT, digits behind TEXT are CLOCK_MONOTONIC in nanoseconds when
 * the chunk left its maker, and the age of each chunk is measured.
 *
 * It leaves the meaning of answers to its caller: bodies are counted and hashed,
 * never parsed.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

/* Steps of deadlines and slow readers, and of paced starts. */
#define TICK_MS  5
#define PACED_MS 1

options_t opt = {
    .host = "127.0.0.1",
    .connections = 1,
    .timeout = 60,
    .max_time = 600,
};
tally_t tally;
int epoll_fd;
long begun;
static conn_t *conns;
static int64_t run_started, run_ends;
static int stopping;

int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void die(const char *what, const char *about)
{
    fprintf(stderr, "load: %s%s%s\n", what, about ? ": " : "", about ? about : "");
    exit(2);
}

void *must_alloc(void *old, size_t size)
{
    void *p = realloc(old, size);

    if (p == NULL) {
        die("out of memory", NULL);
    }
    return p;
}

void sample_add(samples_t *s, int64_t us)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->us = must_alloc(s->us, s->cap * sizeof(*s->us));
    }
    s->us[s->n++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* ---- the loop ---- */

int may_begin(int64_t now)
{
    if (stopping || (opt.requests && begun >= opt.requests)) {
        return 0;
    }
    if (opt.rate > 0 && now < run_started + (int64_t)((double)begun * 1e6 / opt.rate)) {
        return -1;
    }
    return 1;
}

/* Deadlines, slow readers and starts that were due later. */
static void tick(int64_t now)
{
    int i;
    conn_t *c;

    for (i = 0; i < opt.connections; i++) {
        c = &conns[i];
        if (c->phase == IDLE) {
            if (may_begin(now) == 1) {
                conn_begin(c, now);
            }
            continue;
        }
        if (now > c->deadline) {
            conn_fail(c, &tally.timed_out);
        }
        else if (c->resume_at && now >= c->resume_at) {
            conn_resume(c);
        }
    }
}

static int all_idle(void)
{
    int i;

    for (i = 0; i < opt.connections; i++) {
        if (conns[i].phase != IDLE) {
            return 0;
        }
    }
    return 1;
}

static void run(void)
{
    struct epoll_event events[256];
    int64_t now, next_tick = 0;
    int step_ms = opt.rate > 0 ? PACED_MS : TICK_MS;
    int i, n;

    for (;;) {
        now = now_us();
        if (now >= next_tick) {
            if (opt.duration > 0 && now > run_started + (int64_t)(opt.duration * 1e6)) {
                stopping = 1;
            }
            tick(now);
            next_tick = now + step_ms * 1000;
            if (may_begin(now) == 0 && all_idle()) {
                return;
            }
            if (now > run_ends) {
                fprintf(stderr, "load: stopped after --max-time\n");
                return;
            }
        }
        n = epoll_wait(epoll_fd, events, 256, step_ms);
        for (i = 0; i < n; i++) {
            conn_event(events[i].data.ptr, events[i].events);
        }
    }
}

/* ---- the report ---- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void print_samples(const char *name, samples_t *s)
{
    qsort(s->us, s->n, sizeof(*s->us), by_size);
    printf(", \"%s\": {\"n\": %zu", name, s->n);
    if (s->n) {
        printf(", \"min\": %u, \"p50\": %u, \"p90\": %u, \"p99\": %u, \"max\": %u", s->us[0],
               s->us[s->n / 2], s->us[s->n * 9 / 10], s->us[s->n * 99 / 100], s->us[s->n - 1]);
    }
    printf("}");
}

static void print_maps(void)
{
    const char *comma = "";
    int i;

    printf(", \"statuses\": {");
    for (i = 0; i < 600; i++) {
        if (tally.statuses[i]) {
            printf("%s\"%d\": %ld", comma, i, tally.statuses[i]);
            comma = ", ";
        }
    }
    comma = "";
    printf("}, \"hashes\": {");
    for (i = 0; i < HASHES_MAX && tally.hash_counts[i]; i++) {
        printf("%s\"%016" PRIx64 "\": %ld", comma, tally.hashes[i], tally.hash_counts[i]);
        comma = ", ";
    }
    printf("}, \"other_hashes\": %ld", tally.other_hashes);
}

static void print_report(double seconds)
{
    const struct {
        const char *name;
        long value;
    } numbers[] = {
        {"started",        tally.started       },
        {"completed",      tally.completed     },
        {"aborted",        tally.aborted       },
        {"connect_failed", tally.connect_failed},
        {"reset",          tally.reset         },
        {"cut",            tally.cut           },
        {"timed_out",      tally.timed_out     },
        {"malformed",      tally.malformed     },
        {"reconnects",     tally.reconnects    },
        {"chunks",         tally.chunks        },
        {"done_marks",     tally.done_marks    },
        {"error_events",   tally.error_events  },
        {"out_of_order",   tally.out_of_order  },
        {"wrong_count",    tally.wrong_count   },
        {"open_peak",      tally.open_peak     },
        {"streaming_peak", tally.streaming_peak},
        {"bytes",          (long)tally.bytes   },
    };
    size_t i;

    printf("{\"seconds\": %.4f", seconds);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        printf(", \"%s\": %ld", numbers[i].name, numbers[i].value);
    }
    print_maps();
    print_samples("latency_us", &tally.latency);
    print_samples("first_byte_us", &tally.first_byte);
    print_samples("chunk_age_us", &tally.chunk_age);
    print_samples("chunk_gap_us", &tally.chunk_gap);
    printf("}\n");
}

/* ---- the command line ---- */

static char *file_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *bytes = NULL;
    struct stat st;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        die(path, strerror(errno));
    }
    bytes = must_alloc(NULL, (size_t)st.st_size + 1);
    *len = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    return bytes;
}

static void case_option(case_t *job, const char *word, int *chunked)
{
    if (strncmp(word, "abort=", 6) == 0) {
        job->abort_after = atol(word + 6);
    }
    else if (strncmp(word, "slow=", 5) == 0) {
        job->slow = atol(word + 5);
    }
    else if (strncmp(word, "expect=", 7) == 0) {
        job->expect = atol(word + 7);
    }
    else if (strcmp(word, "chunked") == 0) {
        *chunked = 1;
    }
    else if (strcmp(word, "close") == 0) {
        job->close = 1;
    }
    else {
        die("unknown option of a case", word);
    }
}

static void case_print(case_t *job, const char *method, const char *path, const char *body,
                       size_t len, int chunked)
{
    size_t cap = len + strlen(path) + strlen(opt.headers) + 512, n;

    job->request = must_alloc(NULL, cap);
    n = (size_t)snprintf(job->request, cap, "%s %s HTTP/1.1\r\nHost: %s:%d\r\n%s%s", method, path,
                         opt.host, opt.port, opt.headers,
                         job->close ? "Connection: close\r\n" : "");
    if (body && chunked) {
        n += (size_t)snprintf(job->request + n, cap - n,
                              "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
    }
    else if (body) {
        n += (size_t)snprintf(job->request + n, cap - n, "Content-Length: %zu\r\n\r\n", len);
    }
    else {
        n += (size_t)snprintf(job->request + n, cap - n, "\r\n");
    }
    if (body) {
        memcpy(job->request + n, body, len);
        n += len;
    }
    if (body && chunked) {
        n += (size_t)snprintf(job->request + n, cap - n, "\r\n0\r\n\r\n");
    }
    job->request_len = n;
    job->is_head = strcmp(method, "HEAD") == 0;
}

static void case_add(const char *text)
{
    char *copy = strdup(text), *save = NULL, *method, *path, *what, *word, *body = NULL;
    case_t *job = &opt.cases[opt.ncases];
    size_t len = 0;
    int chunked = 0;

    if (opt.ncases++ == CASES_MAX) {
        die("too many cases", NULL);
    }
    method = strtok_r(copy, " ", &save);
    path = strtok_r(NULL, " ", &save);
    what = strtok_r(NULL, " ", &save);
    if (what == NULL) {
        die("a case is METHOD PATH BODY", text);
    }
    job->abort_after = job->expect = -1;
    while ((word = strtok_r(NULL, " ", &save)) != NULL) {
        case_option(job, word, &chunked);
    }
    if (*what == '@') {
        body = file_read(what + 1, &len);
    }
    case_print(job, method, path, body, len, chunked);
    free(body);
    free(copy);
}

static void header_add(const char *line)
{
    size_t used = strlen(opt.headers);

    if (opt.ncases) {
        die("headers come before cases", line);
    }
    snprintf(opt.headers + used, sizeof(opt.headers) - used, "%s\r\n", line);
}

static void option_set(const char *name, const char *value)
{
    const struct {
        const char *name;
        int *number;
        long *count;
        double *real;
        const char **text;
    } table[] = {
        {.name = "--host",        .text = &opt.host         },
        {.name = "--port",        .number = &opt.port       },
        {.name = "--connections", .number = &opt.connections},
        {.name = "--requests",    .count = &opt.requests    },
        {.name = "--duration",    .real = &opt.duration     },
        {.name = "--rate",        .real = &opt.rate         },
        {.name = "--timeout",     .real = &opt.timeout      },
        {.name = "--max-time",    .real = &opt.max_time     },
        {.name = "--seq",         .text = &opt.seq          },
        {.name = "--seq-first",   .count = &opt.seq_first   },
        {.name = "--stamp",       .text = &opt.stamp        },
        {.name = "--progress",    .text = &opt.progress     },
    };
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(name, table[i].name) != 0) {
            continue;
        }
        if (table[i].number) {
            *table[i].number = atoi(value);
        }
        else if (table[i].count) {
            *table[i].count = atol(value);
        }
        else if (table[i].real) {
            *table[i].real = atof(value);
        }
        else {
            *table[i].text = value;
        }
        return;
    }
    die("unknown option", name);
}

static void arguments_read(int argc, char **argv)
{
    int i;

    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--case") == 0) {
            case_add(argv[i + 1]);
        }
        else if (strcmp(argv[i], "--header") == 0) {
            header_add(argv[i + 1]);
        }
        else {
            option_set(argv[i], argv[i + 1]);
        }
    }
    if (i < argc || opt.ncases == 0 || opt.port == 0 || opt.connections < 1
        || (opt.requests == 0 && opt.duration <= 0)) {
        die("usage: load --port N --requests N --case 'METHOD PATH @FILE|-' ...", NULL);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int64_t from;
    int i;

    arguments_read(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)opt.connections, sizeof(*conns));
    if (conns == NULL || epoll_fd < 0) {
        die("no memory or no epoll", NULL);
    }
    for (i = 0; i < opt.connections; i++) {
        conns[i].fd = -1;
        conns[i].head = must_alloc(NULL, HEAD_MAX);
    }
    from = run_started = now_us();
    run_ends = from + (int64_t)(opt.max_time * 1e6);
    run();
    print_report((double)(now_us() - from) / 1e6);
    return 0;
}
