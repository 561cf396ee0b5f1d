/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the answers of HTTP/1.1: head, framing, and the numbered chunks of event
 * streams.  Leaves connections and what an answer means to load_conn.c.
 */
#include "load.h"

#define LINE_MAX_BYTES (1024 * 1024)

void answer_reset(conn_t *c)
{
    c->head_len = 0;
    c->size_len = c->line_len = c->trailer_len = 0;
    c->body_bytes = 0;
    c->hash = 1469598103934665603u;
    c->chunks = 0;
    c->next_seq = opt.seq_first;
    c->seen_first = c->is_stream = 0;
    c->last_chunk = 0;
}

/* ---- the answer's body ---- */

/* The digits behind a mark, at the first place where there are some. */
static int64_t number_after(const char *line, size_t len, const char *mark)
{
    const char *at = line, *end = line + len;
    size_t n = strlen(mark);

    while ((at = memmem(at, (size_t)(end - at), mark, n)) != NULL) {
        at += n;
        if (at < end && *at >= '0' && *at <= '9') {
            return strtoll(at, NULL, 10);
        }
    }
    return -1;
}

/* line has a byte behind its end that is no digit: CR, LF or NUL. */
static void stream_line(conn_t *c, const char *line, size_t len, int64_t now)
{
    int64_t number;

    if (memmem(line, len < 20 ? len : 20, "\"error\"", 7) != NULL) {
        tally.error_events++; /* as an event, or bare as Google writes it */
        return;
    }
    if (len < 5 || memcmp(line, "data:", 5) != 0) {
        return;
    }
    if (memmem(line, len, "[DONE]", 6) != NULL) {
        tally.done_marks++;
        return;
    }
    if (c->last_chunk) {
        sample_add(&tally.chunk_gap, now - c->last_chunk);
    }
    c->last_chunk = now;
    if (opt.stamp && (number = number_after(line, len, opt.stamp)) >= 0) {
        sample_add(&tally.chunk_age, now - number / 1000);
    }
    if (opt.seq == NULL) {
        c->chunks++;
        tally.chunks++;
    }
    else if ((number = number_after(line, len, opt.seq)) >= 0) {
        c->chunks++;
        tally.chunks++;
        if (number != c->next_seq) {
            tally.out_of_order++;
        }
        c->next_seq = number + 1;
    }
}

static void line_keep(conn_t *c, const char *bytes, size_t len)
{
    if (c->line_len + len + 1 > c->line_cap) {
        c->line_cap = (c->line_len + len + 1) * 2;
        if (c->line_cap > LINE_MAX_BYTES) {
            die("a line of a stream is too long", NULL);
        }
        c->line = must_alloc(c->line, c->line_cap);
    }
    memcpy(c->line + c->line_len, bytes, len);
    c->line_len += len;
    c->line[c->line_len] = '\0';
}

static void stream_feed(conn_t *c, const char *bytes, size_t len)
{
    const char *end = bytes + len, *eol;
    int64_t now = now_us();

    while (bytes < end && (eol = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
        if (c->line_len) {
            line_keep(c, bytes, (size_t)(eol - bytes));
            stream_line(c, c->line, c->line_len, now);
            c->line_len = 0;
        }
        else {
            stream_line(c, bytes, (size_t)(eol - bytes), now);
        }
        bytes = eol + 1;
    }
    if (bytes < end) {
        line_keep(c, bytes, (size_t)(end - bytes));
    }
}

static void body_feed(conn_t *c, const char *bytes, size_t len)
{
    size_t i;

    if (!c->seen_first && len) {
        c->seen_first = 1;
        sample_add(&tally.first_byte, now_us() - c->started);
    }
    c->body_bytes += len;
    tally.bytes += len;
    for (i = 0; i < len; i++) {
        c->hash = (c->hash ^ (unsigned char)bytes[i]) * 1099511628211u;
    }
    if (c->is_stream) {
        stream_feed(c, bytes, len);
    }
}

static size_t take(uint64_t left, size_t len)
{
    return left < len ? (size_t)left : len;
}

/* A byte of the framing of a chunked body.  1: the body has ended, -1: no HTTP. */
static int chunk_byte(conn_t *c, char byte)
{
    switch (c->chunk_phase) {
    case SIZE_LINE:
        if (byte != '\n') {
            if (c->size_len + 1 < sizeof(c->size_line)) {
                c->size_line[c->size_len++] = byte;
            }
            return 0;
        }
        c->size_line[c->size_len] = '\0';
        if (c->size_len == 0 || strspn(c->size_line, "0123456789abcdefABCDEF") == 0) {
            return -1;
        }
        c->left = strtoull(c->size_line, NULL, 16);
        c->size_len = 0;
        c->chunk_phase = c->left ? CHUNK_DATA : TRAILER;
        return 0;
    case CHUNK_END:
        if (byte == '\n') {
            c->chunk_phase = SIZE_LINE;
        }
        return 0;
    case TRAILER:
        if (byte == '\n') {
            if (c->trailer_len == 0) {
                return 1;
            }
            c->trailer_len = 0;
        }
        else if (byte != '\r') {
            c->trailer_len++;
        }
        return 0;
    case CHUNK_DATA:
        break;
    }
    return 0;
}

/* 0 more to come, 1 the body has ended, -1 this is no HTTP. */
static int body_chunked(conn_t *c, const char *bytes, size_t len)
{
    size_t n;
    int rc;

    while (len) {
        if (c->chunk_phase == CHUNK_DATA) {
            n = take(c->left, len);
            body_feed(c, bytes, n);
            bytes += n;
            len -= n;
            c->left -= n;
            if (c->left == 0) {
                c->chunk_phase = CHUNK_END;
            }
            continue;
        }
        rc = chunk_byte(c, *bytes++);
        len--;
        if (rc) {
            return rc < 0 || len ? -1 : 1;
        }
    }
    return 0;
}

int answer_body(conn_t *c, const char *bytes, size_t len)
{
    size_t n;

    switch (c->framing) {
    case BY_CHUNKS:
        return body_chunked(c, bytes, len);
    case BY_LENGTH:
        n = take(c->left, len);
        body_feed(c, bytes, n);
        c->left -= n;
        return n < len ? -1 : c->left == 0;
    case BY_CLOSE:
        body_feed(c, bytes, len);
        return 0;
    case NO_BODY:
        return len ? -1 : 1;
    }
    return -1;
}

/* ---- the answer's head ---- */

static void head_line(conn_t *c, const char *line)
{
    if (strncasecmp(line, "content-length:", 15) == 0) {
        c->left = strtoull(line + 15, NULL, 10);
        c->framing = BY_LENGTH;
    }
    else if (strncasecmp(line, "transfer-encoding:", 18) == 0 && strstr(line, "chunked")) {
        c->framing = BY_CHUNKS;
        c->chunk_phase = SIZE_LINE;
    }
    else if (strncasecmp(line, "connection:", 11) == 0 && strcasestr(line, "close")) {
        c->keep = 0;
    }
    else if (strncasecmp(line, "content-type:", 13) == 0 && strcasestr(line, "text/event-stream")) {
        c->is_stream = 1;
    }
}

static void streaming_begins(void)
{
    FILE *f;

    if (++tally.streaming_now > tally.streaming_peak) {
        tally.streaming_peak = tally.streaming_now;
    }
    if (opt.progress && tally.streaming_now == opt.connections) {
        f = fopen(opt.progress, "w");
        if (f) {
            fputc('1', f);
            fclose(f);
        }
        opt.progress = NULL;
    }
}

static int head_parse(conn_t *c)
{
    char *save = NULL, *line;

    c->head[c->head_len] = '\0';
    line = strtok_r(c->head, "\r\n", &save);
    if (line == NULL || sscanf(line, "HTTP/1.%*d %d", &c->status) != 1 || c->status < 100
        || c->status > 599) {
        return -1;
    }
    c->framing = BY_CLOSE;
    c->keep = 1;
    while ((line = strtok_r(NULL, "\r\n", &save)) != NULL) {
        head_line(c, line);
    }
    if (c->is_stream) {
        streaming_begins();
    }
    if (c->job->is_head || c->status == 204 || c->status == 304) {
        c->framing = NO_BODY;
    }
    if (c->framing == BY_CLOSE) {
        c->keep = 0;
    }
    return 0;
}

/* Collects the head; what is behind it is body.  As answer_body. */
int answer_head(conn_t *c, const char *bytes, size_t len)
{
    size_t room = HEAD_MAX - 1 - c->head_len, n = len < room ? len : room, before;
    char *end;

    before = c->head_len;
    memcpy(c->head + before, bytes, n);
    c->head[before + n] = '\0';
    end = strstr(c->head, "\r\n\r\n");
    if (end == NULL) {
        c->head_len += n;
        return n < len ? -1 : 0;
    }
    c->head_len = (size_t)(end - c->head) + 2;
    n = c->head_len + 2 - before; /* bytes of this read that belong to the head */
    if (head_parse(c) != 0) {
        return -1;
    }
    if (c->status < 200) { /* 100 Continue: another head follows */
        c->head_len = 0;
        return n < len ? answer_head(c, bytes + n, len - n) : 0;
    }
    c->phase = BODY;
    if (c->framing == NO_BODY || (c->framing == BY_LENGTH && c->left == 0)) {
        return n < len ? -1 : 1;
    }
    return n < len ? answer_body(c, bytes + n, len - n) : 0;
}
