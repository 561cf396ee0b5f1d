/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulator has seen: one compact record per call for tests to ask,
 * and counters. Records live in blocks that are made as needed; beyond
 * --calls the oldest block is reused and its calls count as dropped.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOCK      4096u
#define ID_MAX     80
#define KEYS_MAX   65536
#define PATHS_MAX  4096
#define DETAIL_MAX (512u * 1024 * 1024)

typedef struct {
    uint32_t headers_len, body_len;
    char bytes[];
} detail_t;

typedef struct {
    uint64_t at_ns, end_ns;
    uint64_t sent, body_bytes;
    detail_t *detail;
    uint32_t key, path, model;
    int32_t fault; /* id of the rule, 0 = none */
    uint16_t status;
    uint8_t route, outcome, http_method, id_len;
    char id[ID_MAX];
} record_t;

typedef struct {
    uint64_t calls, good, bad;
    uint32_t open, open_max;
    uint32_t by_status[8]; /* see status_slots */
} key_count_t;

bool sim_record_bodies, sim_record_headers, sim_record_calls = true;
size_t sim_calls_max = 2000000;

static record_t **blocks;
static size_t nblocks;
static uint64_t first, next; /* indexes: first <= i < next are held */
static uint32_t epoch = 1;
static uint64_t start_ns;
static size_t detail_bytes;
static sim_names_t *keys, *paths, *names;
static key_count_t *key_counts;

static struct {
    uint64_t calls, accepted, closed, gone, bytes, faults;
    uint64_t open_calls, open_calls_max, streams, streams_max, streams_total;
    uint64_t by_status[600];
    uint64_t by_route[SR_MAX];
} count;

static const char *const outcome_names[] = {"open", "done", "fault", "gone"};
static const char *const http_methods[] = {"POST",  "GET", "HEAD",    "DELETE",
                                           "PATCH", "PUT", "OPTIONS", "OTHER"};

/* ---- storage ---- */

static void start(void)
{
    if (blocks != NULL) {
        return;
    }
    nblocks = sim_calls_max / BLOCK + 2;
    blocks = sim_xcalloc(nblocks, sizeof(*blocks));
    keys = sim_names_create(KEYS_MAX);
    paths = sim_names_create(PATHS_MAX);
    names = sim_names_create(PATHS_MAX);
    key_counts = sim_xcalloc(KEYS_MAX + 1, sizeof(*key_counts));
    start_ns = sim_now_ns();
}

static record_t *record_at(uint64_t index)
{
    return &blocks[index / BLOCK % nblocks][index % BLOCK];
}

static void drop_detail(record_t *r)
{
    if (r->detail != NULL) {
        detail_bytes -= r->detail->headers_len + r->detail->body_len;
        free(r->detail);
        r->detail = NULL;
    }
}

static void drop_until(uint64_t index)
{
    for (; first < index; first++) {
        drop_detail(record_at(first));
    }
}

static record_t *new_record(void)
{
    size_t at = next / BLOCK % nblocks;

    if (next % BLOCK == 0) {
        if (next >= (nblocks - 1) * BLOCK) {
            drop_until(next - (nblocks - 1) * BLOCK);
        }
        if (blocks[at] == NULL) {
            blocks[at] = sim_xcalloc(BLOCK, sizeof(record_t));
        }
    }
    return &blocks[at][next++ % BLOCK];
}

static void keep_detail(record_t *r, const sim_req_t *q)
{
    size_t h = sim_record_headers || sim_record_bodies ? q->headers.n : 0;
    size_t b = sim_record_bodies ? q->body.n : 0;

    if (h + b == 0 || detail_bytes + h + b > DETAIL_MAX) {
        return;
    }
    r->detail = sim_xrealloc(NULL, sizeof(*r->detail) + h + b);
    r->detail->headers_len = (uint32_t)h;
    r->detail->body_len = (uint32_t)b;
    memcpy(r->detail->bytes, q->headers.p, h);
    memcpy(r->detail->bytes + h, q->body.p, b);
    detail_bytes += h + b;
}

static uint8_t method_index(sim_str_t method)
{
    uint8_t i = 0;

    while (i < 7 && !sim_eq(method, http_methods[i])) {
        i++;
    }
    return i;
}

/* ---- events ---- */

void sim_calls_begin(sim_conn_t *c)
{
    const sim_req_t *q = &c->req;
    key_count_t *k;
    record_t *r;

    start();
    count.calls++;
    count.by_route[q->route]++;
    c->in_call = true;
    c->call_epoch = epoch;
    c->key_index = sim_names_add(keys, q->key);
    k = &key_counts[c->key_index];
    k->calls++;
    k->open++;
    k->open_max = k->open > k->open_max ? k->open : k->open_max;
    count.open_calls++;
    if (count.open_calls > count.open_calls_max) {
        count.open_calls_max = count.open_calls;
    }
    c->call = UINT64_MAX;
    if (!sim_record_calls) {
        return;
    }
    c->call = next;
    r = new_record();
    memset(r, 0, offsetof(record_t, id));
    r->at_ns = c->started_ns;
    r->key = c->key_index;
    r->path = sim_names_add(paths, q->path);
    r->model = sim_names_add(names, q->model);
    r->route = (uint8_t)q->route;
    r->http_method = method_index(q->method);
    r->id_len = (uint8_t)(q->request_id.n < ID_MAX ? q->request_id.n : ID_MAX);
    if (r->id_len > 0) {
        memcpy(r->id, q->request_id.p, r->id_len);
    }
    if (sim_record_bodies || sim_record_headers) {
        keep_detail(r, q);
    }
}

static record_t *record_of(const sim_conn_t *c)
{
    if (!c->in_call || c->call_epoch != epoch || c->call < first || c->call >= next) {
        return NULL;
    }
    return record_at(c->call);
}

void sim_calls_fault(sim_conn_t *c, int rule_id)
{
    record_t *r = record_of(c);

    count.faults++;
    if (r != NULL) {
        r->fault = rule_id;
    }
}

static unsigned status_slot(unsigned status)
{
    static const unsigned slots[] = {200, 400, 403, 404, 429, 500, 503};
    unsigned i = 0;

    while (i < 7 && slots[i] != status) {
        i++;
    }
    return i;
}

void sim_calls_end(sim_conn_t *c, sim_outcome_t outcome)
{
    record_t *r = record_of(c);
    bool counted = c->call_epoch == epoch;

    c->in_call = false;
    if (!counted) {
        return;
    }
    if (r != NULL) {
        r->end_ns = sim_now_ns();
        r->sent = c->sent;
        r->body_bytes = c->req.body.n;
        r->status = (uint16_t)c->status;
        r->outcome = (uint8_t)outcome;
    }
    count.open_calls--;
    count.bytes += c->sent;
    count.gone += outcome == SO_GONE;
    count.by_status[c->status < 600 ? c->status : 0]++;
    if (c->state == SC_STREAMING) {
        count.streams--;
    }
    key_counts[c->key_index].open--;
    key_counts[c->key_index].by_status[status_slot(c->status)]++;
    if (c->status == 200) {
        key_counts[c->key_index].good++;
    }
    else {
        key_counts[c->key_index].bad++;
    }
}

void sim_calls_stream_opened(sim_conn_t *c)
{
    c->state = SC_STREAMING;
    if (c->in_call && c->call_epoch == epoch) {
        count.streams_total++;
        count.streams++;
        if (count.streams > count.streams_max) {
            count.streams_max = count.streams;
        }
    }
}

void sim_calls_accepted(void)
{
    count.accepted++;
}

void sim_calls_closed(void)
{
    count.closed++;
}

void sim_calls_reset(void)
{
    uint64_t accepted = count.accepted, closed = count.closed;

    start();
    drop_until(next);
    first = next = 0;
    epoch++;
    sim_names_clear(keys);
    sim_names_clear(paths);
    sim_names_clear(names);
    memset(key_counts, 0, (KEYS_MAX + 1) * sizeof(*key_counts));
    memset(&count, 0, sizeof(count));
    count.accepted = accepted - closed; /* those that are still open */
    sim_record_bodies = sim_record_headers = false;
    sim_record_calls = sim_calls_max > 0;
    start_ns = sim_now_ns();
}

/* ---- reports ---- */

static double ms_since_start(uint64_t ns)
{
    return ns >= start_ns ? (double)(ns - start_ns) / 1e6 : 0;
}

static void write_headers(sw_t *w, const detail_t *d)
{
    const char *p = d->bytes, *end = p + d->headers_len;

    sw_open(w, "headers", '[');
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *colon = eol != NULL ? memchr(p, ':', (size_t)(eol - p)) : NULL;

        if (colon == NULL) {
            break;
        }
        sw_open(w, NULL, '[');
        sw_string(w, NULL, (sim_str_t){p, (size_t)(colon - p)});
        sw_string(w, NULL, sim_trim((sim_str_t){colon + 1, (size_t)(eol - colon - 1)}));
        sw_close(w, ']');
        p = eol + 1;
    }
    sw_close(w, ']');
}

static void write_body(sw_t *w, const detail_t *d)
{
    const char *body = d->bytes + d->headers_len;

    if (sim_utf8_valid(body, d->body_len)) {
        sw_string(w, "body", (sim_str_t){body, d->body_len});
        return;
    }
    sw_begin(w, "body_base64");
    sim_putc(w->b, '"');
    sim_put_base64(w->b, body, d->body_len);
    sim_putc(w->b, '"');
}

static void write_record(sw_t *w, uint64_t index)
{
    const record_t *r = record_at(index);
    char ms[48];

    sw_open(w, NULL, '{');
    sw_number(w, "index", (int64_t)index);
    snprintf(ms, sizeof(ms), "%.3f", ms_since_start(r->at_ns));
    sw_raw(w, "t_ms", (sim_str_t){ms, strlen(ms)});
    if (r->outcome != SO_OPEN) {
        snprintf(ms, sizeof(ms), "%.3f", ms_since_start(r->end_ns));
        sw_raw(w, "end_ms", (sim_str_t){ms, strlen(ms)});
    }
    sw_string(w, "key", sim_names_get(keys, r->key));
    sw_cstr(w, "http_method", http_methods[r->http_method]);
    sw_cstr(w, "method", sim_route_name(r->route));
    sw_string(w, "path", sim_names_get(paths, r->path));
    sw_string(w, "model", sim_names_get(names, r->model));
    sw_string(w, "request_id", (sim_str_t){r->id, r->id_len});
    sw_number(w, "status", r->status);
    sw_cstr(w, "outcome", outcome_names[r->outcome]);
    sw_number(w, "fault", r->fault);
    sw_bool(w, "client_gone", r->outcome == SO_GONE);
    sw_number(w, "bytes", (int64_t)r->sent);
    sw_number(w, "body_bytes", (int64_t)r->body_bytes);
    if (r->detail != NULL) {
        write_headers(w, r->detail);
        if (r->detail->body_len > 0) {
            write_body(w, r->detail);
        }
    }
    sw_close(w, '}');
}

static uint64_t query_number(sim_str_t query, const char *name, uint64_t otherwise)
{
    return (uint64_t)sim_to_long(sim_query_get(query, name), (long)otherwise);
}

static bool wanted(const record_t *r, sim_str_t id, sim_str_t key)
{
    if (id.n > 0 && (r->id_len < id.n || memcmp(r->id, id.p, id.n) != 0)) {
        return false;
    }
    return key.n == 0 || sim_same(key, sim_names_get(keys, r->key));
}

static sim_str_t query_text(sim_str_t query, const char *name, char *room, size_t size)
{
    sim_str_t s = sim_query_get(query, name);

    s.n = s.n < size ? s.n : size;
    return (sim_str_t){room, sim_url_decode(room, s.p, s.n)};
}

void sim_calls_list(sim_buf_t *out, sim_str_t query)
{
    sw_t w = {.b = out, .style = SW_COMPACT};
    char id_room[256], key_room[1024];
    sim_str_t id = query_text(query, "id", id_room, sizeof(id_room));
    sim_str_t key = query_text(query, "key", key_room, sizeof(key_room));
    uint64_t i = query_number(query, "since", query_number(query, "from", 0));
    uint64_t left = query_number(query, "limit", 100000);

    start();
    i = i < first ? first : i;
    sw_open(&w, NULL, '{');
    sw_number(&w, "dropped", (int64_t)first);
    sw_open(&w, "calls", '[');
    for (; i < next && left > 0; i++) {
        if (wanted(record_at(i), id, key)) {
            write_record(&w, i);
            left--;
        }
    }
    sw_close(&w, ']');
    sw_number(&w, "next", (int64_t)i);
    sw_bool(&w, "more", i < next);
    sw_close(&w, '}');
}

static void write_keys(sw_t *w)
{
    static const char *const status[] = {"200", "400", "403", "404", "429", "500", "503", "other"};
    unsigned i, s, n = sim_names_count(keys);

    sw_open(w, "keys", '{');
    for (i = 0; i <= n; i++) {
        const key_count_t *k = &key_counts[i];
        sim_buf_t name = {0};

        if (k->calls == 0) {
            continue;
        }
        sim_put_escaped(&name, sim_names_get(keys, i).p, sim_names_get(keys, i).n);
        sim_putc(&name, '\0');
        sw_open(w, name.p, '{');
        sim_buf_free(&name);
        sw_number(w, "calls", (int64_t)k->calls);
        sw_number(w, "good", (int64_t)k->good);
        sw_number(w, "bad", (int64_t)k->bad);
        sw_number(w, "open", k->open);
        sw_number(w, "max_open", k->open_max);
        sw_open(w, "status", '{');
        for (s = 0; s < 8; s++) {
            if (k->by_status[s] > 0) {
                sw_number(w, status[s], k->by_status[s]);
            }
        }
        sw_close(w, '}');
        sw_close(w, '}');
    }
    sw_close(w, '}');
}

void sim_calls_stats(sim_buf_t *out)
{
    sw_t w = {.b = out, .style = SW_PRETTY};
    char code[8];
    unsigned i;

    start();
    sw_open(&w, NULL, '{');
    sw_number(&w, "calls", (int64_t)count.calls);
    sw_number(&w, "recorded_from", (int64_t)first);
    sw_number(&w, "recorded_to", (int64_t)next);
    sw_number(&w, "open_calls", (int64_t)count.open_calls);
    sw_number(&w, "max_open_calls", (int64_t)count.open_calls_max);
    sw_number(&w, "streams", (int64_t)count.streams_total);
    sw_number(&w, "open_streams", (int64_t)count.streams);
    sw_number(&w, "max_streams", (int64_t)count.streams_max);
    sw_number(&w, "client_gone", (int64_t)count.gone);
    sw_number(&w, "faults", (int64_t)count.faults);
    sw_number(&w, "connections_accepted", (int64_t)count.accepted);
    sw_number(&w, "connections_open", (int64_t)(count.accepted - count.closed));
    sw_number(&w, "bytes", (int64_t)count.bytes);
    sw_open(&w, "status", '{');
    for (i = 0; i < 600; i++) {
        if (count.by_status[i] > 0) {
            snprintf(code, sizeof(code), "%u", i);
            sw_number(&w, code, (int64_t)count.by_status[i]);
        }
    }
    sw_close(&w, '}');
    sw_open(&w, "methods", '{');
    for (i = 0; i < SR_MAX; i++) {
        if (count.by_route[i] > 0) {
            sw_number(&w, sim_route_name(i), (int64_t)count.by_route[i]);
        }
    }
    sw_close(&w, '}');
    write_keys(&w);
    sw_close(&w, '}');
    sim_putc(out, '\n');
}
