/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 as the simulator speaks it: parsing requests in place in the
 * connection's buffer, and the heads and chunks of answers. The header lines
 * are those that Google's front end sends.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_HEAD (256 * 1024)

enum { HEAD, BODY, CHUNKS };

size_t sim_max_body = 104857600;

/* ---- request head ---- */

static bool more_body(sim_req_t *r, sim_str_t v)
{
    char *end, text[24];

    if (v.n == 0 || v.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    r->content_length = strtoull(text, &end, 10);
    r->has_length = true;
    return *end == '\0' && text[0] != '-';
}

static void connection_header(sim_req_t *r, sim_str_t v)
{
    if (sim_ieq(v, "close")) {
        r->keep_alive = false;
    }
    else if (sim_ieq(v, "keep-alive")) {
        r->keep_alive = true;
    }
}

/* Header names by length first: most lines fall through at one comparison. */
static bool one_header(sim_req_t *r, sim_str_t name, sim_str_t v)
{
    switch (name.n) {
    case 6:
        r->expect |= sim_ieq(name, "expect") && sim_ieq(v, "100-continue");
        r->other_credentials |= sim_ieq(name, "cookie");
        break;
    case 10:
        if (sim_ieq(name, "connection")) {
            connection_header(r, v);
        }
        break;
    case 12:
        if (sim_ieq(name, "x-request-id")) {
            r->request_id = v;
        }
        else if (sim_ieq(name, "content-type")) {
            r->content_type = v;
        }
        break;
    case 13:
        if (sim_ieq(name, "authorization")) {
            r->authorization = v;
        }
        break;
    case 14:
        if (sim_ieq(name, "content-length")) {
            return more_body(r, v);
        }
        if (sim_ieq(name, "x-goog-api-key")) {
            r->key_header = v;
        }
        r->other_credentials |= sim_ieq(name, "openai-project");
        break;
    case 17:
        if (sim_ieq(name, "transfer-encoding")) {
            r->chunked = sim_ieq(v, "chunked");
            return r->chunked;
        }
        break;
    case 19:
        r->other_credentials |= sim_ieq(name, "openai-organization");
        break;
    }
    return true;
}

static bool request_line(sim_req_t *r, const char *p, const char *end)
{
    const char *space = memchr(p, ' ', (size_t)(end - p));
    const char *last = memrchr(p, ' ', (size_t)(end - p));
    const char *mark;

    if (space == NULL || last == space || end - last != 9 || memcmp(last, " HTTP/1.", 8) != 0) {
        return false;
    }
    r->method = (sim_str_t){p, (size_t)(space - p)};
    r->target = (sim_str_t){space + 1, (size_t)(last - space - 1)};
    r->http10 = last[8] == '0';
    r->keep_alive = !r->http10;
    r->path = r->target;
    mark = memchr(r->target.p, '?', r->target.n);
    if (mark != NULL) {
        r->path.n = (size_t)(mark - r->target.p);
        r->query = (sim_str_t){mark + 1, r->target.n - r->path.n - 1};
    }
    return r->target.n > 0;
}

static bool parse_head(sim_conn_t *c, size_t head_len)
{
    sim_req_t *r = &c->req;
    const char *p = c->in.p, *end = p + head_len, *eol;

    memset(r, 0, sizeof(*r));
    r->base = c->in.p;
    r->head_len = head_len;
    while (p < end && (*p == '\r' || *p == '\n')) {
        p++;
    }
    eol = memchr(p, '\n', (size_t)(end - p));
    if (eol == NULL || eol == p || eol[-1] != '\r' || !request_line(r, p, eol - 1)) {
        return false;
    }
    r->headers.p = eol + 1;
    r->headers.n = (size_t)(end - eol - 1) - 2;
    for (p = eol + 1; p < end - 2; p = eol + 1) {
        const char *colon;

        eol = memchr(p, '\n', (size_t)(end - p));
        colon = memchr(p, ':', (size_t)(eol - p));
        if (colon == NULL || colon == p
            || !one_header(r, (sim_str_t){p, (size_t)(colon - p)},
                           sim_trim((sim_str_t){colon + 1, (size_t)(eol - colon - 1)}))) {
            return false;
        }
    }
    return true;
}

/* ---- request body ---- */

/* Moves chunk data down behind the head, so that the body is one run. */
static sim_parse_t parse_chunks(sim_conn_t *c)
{
    for (;;) {
        char *p = c->in.p + c->raw_at;
        size_t have = c->in.len - c->raw_at;
        char *eol = memchr(p, '\n', have);
        char *end;
        size_t size, head;

        if (eol == NULL) {
            return have > 1024 ? SH_BAD : SH_MORE;
        }
        size = strtoull(p, &end, 16);
        if (end == p || (*end != '\r' && *end != ';' && *end != '\n' && *end != ' ')) {
            return SH_BAD;
        }
        if (size > sim_max_body || c->body_len + size > sim_max_body) {
            return SH_TOO_LARGE;
        }
        head = (size_t)(eol - p) + 1;
        if (size == 0) {
            char *stop = memmem(p + head - 2, have - head + 2, "\r\n\r\n", 4);

            if (stop == NULL) {
                return SH_MORE;
            }
            c->raw_at = (size_t)(stop + 4 - c->in.p);
            return SH_READY;
        }
        if (have < head + size + 2) {
            sim_buf_need(&c->in, head + size + 2 - have);
            return SH_MORE;
        }
        memmove(c->in.p + c->req.head_len + c->body_len, p + head, size);
        c->body_len += size;
        c->raw_at += head + size + 2;
    }
}

static sim_parse_t start_body(sim_conn_t *c, size_t head_len)
{
    sim_req_t *r = &c->req;

    if (!parse_head(c, head_len)) {
        return SH_BAD;
    }
    if (!r->chunked && r->content_length > sim_max_body) {
        return SH_TOO_LARGE;
    }
    c->keep_alive = r->keep_alive;
    c->body_len = 0;
    c->raw_at = head_len;
    c->parse_state = r->chunked ? CHUNKS : BODY;
    if (r->expect && c->in.len == head_len && (r->chunked || r->content_length > 0)) {
        sim_putl(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    return SH_READY;
}

static sim_parse_t finish_body(sim_conn_t *c)
{
    size_t length = c->req.content_length;

    if (c->parse_state == CHUNKS) {
        sim_parse_t got = parse_chunks(c);

        if (got != SH_READY) {
            return got;
        }
        length = c->body_len;
    }
    else if (c->in.len < c->req.head_len + length) {
        sim_buf_need(&c->in, c->req.head_len + length - c->in.len);
        return SH_MORE;
    }
    else {
        c->raw_at = c->req.head_len + length;
    }
    if (c->req.base != c->in.p) {
        parse_head(c, c->req.head_len);
    }
    c->req.body = (sim_str_t){c->in.p + c->req.head_len, length};
    return SH_READY;
}

sim_parse_t sim_http_parse(sim_conn_t *c)
{
    if (c->parse_state == HEAD) {
        size_t skip = 0;
        char *end;
        sim_parse_t got;

        while (skip < c->in.len && (c->in.p[skip] == '\r' || c->in.p[skip] == '\n')) {
            skip++;
        }
        end = memmem(c->in.p + skip, c->in.len - skip, "\r\n\r\n", 4);
        if (end == NULL) {
            return c->in.len > MAX_HEAD ? SH_BAD : SH_MORE;
        }
        got = start_body(c, (size_t)(end + 4 - c->in.p));
        if (got != SH_READY) {
            return got;
        }
    }
    return finish_body(c);
}

void sim_http_consume(sim_conn_t *c)
{
    size_t used = c->raw_at < c->in.len ? c->raw_at : c->in.len;

    c->in.len -= used;
    if (c->in.len > 0) {
        memmove(c->in.p, c->in.p + used, c->in.len);
    }
    else if (c->in.cap > 1024 * 1024) {
        sim_buf_free(&c->in);
    }
    c->parse_state = HEAD;
}

/* ---- parts of the target ---- */

sim_str_t sim_query_get(sim_str_t query, const char *name)
{
    const char *p = query.p, *end = query.p + query.n;
    size_t n = strlen(name);

    while (p < end) {
        const char *stop = memchr(p, '&', (size_t)(end - p));

        stop = stop != NULL ? stop : end;
        if ((size_t)(stop - p) > n && memcmp(p, name, n) == 0 && p[n] == '=') {
            return (sim_str_t){p + n + 1, (size_t)(stop - p) - n - 1};
        }
        p = stop + 1;
    }
    return (sim_str_t){NULL, 0};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t sim_url_decode(char *dst, const char *s, size_t n)
{
    size_t i, len = 0;

    for (i = 0; i < n; i++) {
        if (s[i] == '%' && i + 2 < n && hex_digit(s[i + 1]) >= 0 && hex_digit(s[i + 2]) >= 0) {
            dst[len++] = (char)(hex_digit(s[i + 1]) << 4 | hex_digit(s[i + 2]));
            i += 2;
        }
        else {
            dst[len++] = s[i] == '+' ? ' ' : s[i];
        }
    }
    return len;
}

/* ---- answers ---- */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"                      },
    {204, "No Content"              },
    {301, "Moved Permanently"       },
    {302, "Found"                   },
    {400, "Bad Request"             },
    {401, "Unauthorized"            },
    {402, "Payment Required"        },
    {403, "Forbidden"               },
    {404, "Not Found"               },
    {405, "Method Not Allowed"      },
    {408, "Request Timeout"         },
    {409, "Conflict"                },
    {413, "Request Entity Too Large"},
    {415, "Unsupported Media Type"  },
    {429, "Too Many Requests"       },
    {499, "Client Closed Request"   },
    {500, "Internal Server Error"   },
    {501, "Not Implemented"         },
    {502, "Bad Gateway"             },
    {503, "Service Unavailable"     },
    {504, "Gateway Timeout"         },
    {0,   "Unknown"                 }
};

const char *sim_http_reason(int status)
{
    size_t i = 0;

    while (reasons[i].status != 0 && reasons[i].status != status) {
        i++;
    }
    return reasons[i].reason;
}

#define FRONT_END                                                                                  \
    "Vary: Origin\r\nVary: X-Origin\r\nVary: Referer\r\n"                                          \
    "Server: scaffolding on HTTPServer2\r\nX-XSS-Protection: 0\r\n"                                \
    "X-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\n"                           \
    "Alt-Svc: h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000\r\n"

static const sim_str_t head_of[] = {
    [ST_JSON] = SIM_STR("Content-Type: application/json; charset=UTF-8\r\n" FRONT_END
                        "X-Gemini-Service-Tier: standard\r\n"),
    [ST_SSE] = SIM_STR(
        "Content-Type: text/event-stream\r\nContent-Disposition: attachment\r\n" FRONT_END),
    [ST_HTML] = SIM_STR("Content-Type: text/html; charset=UTF-8\r\nReferrer-Policy: no-referrer"
                        "\r\n"),
    [ST_TEXT] = SIM_STR("Content-Type: text/plain; charset=UTF-8\r\n"),
    [ST_OPENAI_JSON] = SIM_STR("Content-Type: application/json\r\n" FRONT_END),
    [ST_OPENAI_SSE] = SIM_STR("Content-Type: text/event-stream\r\n" FRONT_END),
};

static void head_start(sim_conn_t *c, int status, sim_type_t type)
{
    sim_buf_t *b = &c->out;
    sim_str_t date = sim_http_date();
    uint64_t ms = (sim_now_ns() - c->started_ns) / 1000000;

    c->status = (unsigned)status;
    if (status == 200) {
        sim_putl(b, "HTTP/1.1 200 OK\r\n");
    }
    else {
        sim_buf_printf(b, "HTTP/1.1 %d %s\r\n", status, sim_http_reason(status));
    }
    sim_put(b, head_of[type].p, head_of[type].n);
    sim_putl(b, "Date: ");
    sim_put(b, date.p, date.n);
    sim_putl(b, "\r\nServer-Timing: gfet4t7; dur=");
    sim_put_u64(b, ms);
    if (!c->keep_alive) {
        sim_putl(b, "\r\nConnection: close");
    }
    if (c->extra.n > 0) {
        sim_putl(b, "\r\n");
        sim_put(b, c->extra.p, c->extra.n);
    }
}

void sim_http_head(sim_conn_t *c, int status, sim_type_t type, size_t length)
{
    size_t before = c->out.len;

    head_start(c, status, type);
    sim_putl(&c->out, "\r\nContent-Length: ");
    sim_put_u64(&c->out, length);
    sim_putl(&c->out, "\r\n\r\n");
    c->sent += c->out.len - before;
}

void sim_http_head_stream(sim_conn_t *c, int status, sim_type_t type)
{
    size_t before = c->out.len;

    c->chunked_out = !c->req.http10;
    if (!c->chunked_out) {
        c->keep_alive = false;
    }
    head_start(c, status, type);
    if (c->chunked_out) {
        sim_putl(&c->out, "\r\nTransfer-Encoding: chunked");
    }
    sim_putl(&c->out, "\r\n\r\n");
    c->sent += c->out.len - before;
}

void sim_http_answer(sim_conn_t *c, int status, sim_type_t type, sim_str_t body)
{
    if (sim_pace_default.unary_chunked && body.n > 0) {
        sim_http_head_stream(c, status, type);
        sim_http_chunk(c, body.p, body.n);
        sim_http_last_chunk(c);
    }
    else {
        sim_http_head(c, status, type, body.n);
        if (!sim_eq(c->req.method, "HEAD")) {
            sim_put(&c->out, body.p, body.n);
            c->sent += body.n;
        }
    }
    sim_conn_answered(c);
}

void sim_http_chunk(sim_conn_t *c, const char *p, size_t n)
{
    size_t before = c->out.len;

    if (n == 0) {
        return;
    }
    if (c->chunked_out) {
        sim_put_hex(&c->out, n);
        sim_putl(&c->out, "\r\n");
    }
    sim_put(&c->out, p, n);
    if (c->chunked_out) {
        sim_putl(&c->out, "\r\n");
    }
    c->sent += c->out.len - before;
}

void sim_http_last_chunk(sim_conn_t *c)
{
    if (c->chunked_out) {
        sim_putl(&c->out, "0\r\n\r\n");
        c->sent += 5;
    }
}
