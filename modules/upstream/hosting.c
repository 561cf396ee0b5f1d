/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upload (see hosting.h): the picture's base64 becomes bytes while they are
 * sent or written, so it takes no memory beside the answer that it came in.
 */
#include "upstream/hosting.h"

#include <stdint.h>
#include <string.h>

#include <apr_file_io.h>
#include <apr_strings.h>

#include "base/base64.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/timeutil.h"

#define SLICE      (256 * 1024)
#define MAX_ANSWER (64 * 1024)

struct gb_hosting_t {
    gb_engine_t *engine;
    apr_pool_t *pool;
    const gb_upload_t *upload;
    const gb_settings_t *settings;
    gb_hosting_done_fn *done; /* NULL: told or cancelled */
    void *baton;
    gb_timer_t timer; /* the first turn, then the deadline or the next slice */
    gb_hosting_name_t name;

    size_t at;   /* of upload->data: groups that were decoded */
    size_t size; /* of the picture in bytes */

    /* a host's */
    const gb_host_t *host;
    gb_hosting_request_t request;
    size_t head_at, tail_at;
    gb_call_t *call;
    int status;
    gb_buf_t answer;

    /* our own */
    const gb_shelf_t *shelf;
    apr_file_t *file;
    const char *path, *part; /* its name, and while it is written */
    char slice[];
};

/* ---- the end ---- */

static void close_file(gb_hosting_t *h)
{
    if (h->file != NULL) {
        apr_file_close(h->file);
        apr_file_remove(h->part, h->pool);
        h->file = NULL;
        h->shelf->take(h->shelf->baton, -(apr_int64_t)h->size);
    }
}

static void stop(gb_hosting_t *h)
{
    gb_timer_cancel(h->engine, &h->timer);
    if (h->call != NULL) {
        gb_call_cancel(h->call);
        h->call = NULL;
    }
    close_file(h);
}

static void finish(gb_hosting_t *h, const char *url, const char *why)
{
    gb_hosting_done_fn *done = h->done;

    stop(h);
    h->done = NULL;
    if (done != NULL) {
        done(h->baton, url, why);
    }
}

/* An address that may stand in the client's answer. */
static int url_ok(const char *url)
{
    const char *c;

    if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0) {
        return 0;
    }
    for (c = url; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == '"' || *c == '<' || *c == '>' || *c == '\\') {
            return 0;
        }
    }
    return c - url <= GB_HOSTING_MAX_URL;
}

static void finish_with(gb_hosting_t *h, const char *url, const char *why)
{
    finish(h, url != NULL && url_ok(url) ? url : NULL,
           url != NULL ? "what it gave is no address" : why);
}

/* ---- base64 ---- */

/* Padding counts as zeros; what is no digit makes the sum negative. */
static int group_bits(const char *text, size_t n, int *bits)
{
    size_t i;
    int value, bad = 0;

    *bits = 0;
    for (i = 0; i < 4; i++) {
        value = i < n ? gb_base64_digit(text[i]) : 0;
        bad |= value;
        *bits = *bits << 6 | (value & 63);
    }
    return bad >= 0;
}

/* Whole groups into room; GB_FEED_BREAK when it is no base64. */
static size_t decode(gb_hosting_t *h, char *room, size_t size)
{
    const gb_span_t *data = &h->upload->data;
    size_t made = 0;
    int bits;

    while (h->at < data->len && size - made >= 3) {
        size_t left = data->len - h->at, n = left < 4 ? left : 4, i;

        if (n < 2 || !group_bits(data->p + h->at, n, &bits)) {
            return GB_FEED_BREAK;
        }
        for (i = 0; i + 1 < n; i++) {
            room[made++] = (char)(bits >> (16 - 8 * i));
        }
        h->at += n;
    }
    return made;
}

/* Its digits without the padding, which is the end. */
static void measure(gb_hosting_t *h, gb_upload_t *trimmed)
{
    while (trimmed->data.len > 0 && trimmed->data.p[trimmed->data.len - 1] == '=') {
        trimmed->data.len--;
    }
    h->size = trimmed->data.len / 4 * 3
              + (trimmed->data.len % 4 > 1 ? trimmed->data.len % 4 - 1 : 0);
}

/* ---- a host ---- */

static size_t text_give(const char *text, size_t *at, char *room, size_t size)
{
    size_t left = strlen(text + *at), n = left < size ? left : size;

    memcpy(room, text + *at, n);
    *at += n;
    return n;
}

static size_t feed(void *baton, char *room, size_t size)
{
    gb_hosting_t *h = baton;
    size_t n = text_give(h->request.head, &h->head_at, room, size), more;

    if (h->request.head[h->head_at] == '\0') {
        more = decode(h, room + n, size - n);
        if (more == GB_FEED_BREAK) {
            return GB_FEED_BREAK;
        }
        n += more;
    }
    if (h->at == h->upload->data.len) {
        n += text_give(h->request.tail, &h->tail_at, room + n, size - n);
    }
    return n;
}

static int rewind_feed(void *baton)
{
    gb_hosting_t *h = baton;

    h->head_at = h->tail_at = h->at = 0;
    return 1;
}

static void on_head(void *baton, const gb_call_head_t *head)
{
    ((gb_hosting_t *)baton)->status = head->status;
}

static void on_data(void *baton, const char *bytes, size_t len)
{
    gb_hosting_t *h = baton;
    size_t room = MAX_ANSWER - h->answer.len;

    gb_buf_append(&h->answer, bytes, len < room ? len : room);
}

/* The address, or why there is none. */
static void answer_read(gb_hosting_t *h)
{
    gb_json_fault_t fault;
    gb_span_t answer = {NULL, 0};
    const char *why = NULL, *url = NULL;

    if (h->answer.len > 0 && gb_json_check(h->answer.data, h->answer.len, &fault) == APR_SUCCESS) {
        answer = gb_json_root(h->answer.data, h->answer.len);
    }
    if (h->host->read != NULL) {
        url = h->host->read(answer, h->settings, &why, h->pool);
    }
    if (h->status < 200 || h->status > 299) {
        why = apr_psprintf(h->pool, "it answered %d%s%.210s", h->status, why != NULL ? ", " : "",
                           why != NULL ? why : "");
        url = NULL;
    }
    else if (h->host->read == NULL) {
        url = h->request.result;
    }
    finish_with(h, url, why);
}

static void on_done(void *baton, gb_transport_t transport, const char *detail)
{
    gb_hosting_t *h = baton;

    h->call = NULL;
    if (transport == GB_TRANSPORT_CANCELLED) {
        h->done = NULL; /* the engine ends: its drains tell everybody */
        return;
    }
    if (transport != GB_TRANSPORT_OK) {
        finish(h, NULL, apr_pstrdup(h->pool, detail));
        return;
    }
    answer_read(h);
}

static const gb_call_events_t events = {on_head, on_data, on_done};

static void host_start(gb_hosting_t *h)
{
    gb_call_conf_t conf;

    h->host->prepare(&h->request, h->settings, &h->name, h->pool);
    memset(&conf, 0, sizeof(conf));
    conf.method = h->request.method;
    conf.url = h->request.url;
    conf.headers = h->request.headers;
    conf.feed = feed;
    conf.rewind = rewind_feed;
    conf.feed_len = (apr_int64_t)(strlen(h->request.head) + h->size + strlen(h->request.tail));
    conf.connect_timeout = h->settings->time_out_connect;
    conf.silence = GB_HOSTING_MAX_TIME;
    h->call = gb_call_start(h->engine, &conf, &events, h, h->pool);
    gb_timer_set(h->engine, &h->timer, GB_HOSTING_MAX_TIME);
}

/* ---- a directory of our own ---- */

static void file_start(gb_hosting_t *h)
{
    apr_status_t rv;

    if (h->size > (size_t)h->settings->local_image_max_file_mb * 1024 * 1024) {
        finish(h, NULL, "it is larger than LOCAL_IMAGE_MAX_FILE_MB");
        return;
    }
    if (!h->shelf->take(h->shelf->baton, (apr_int64_t)h->size)) {
        finish(h, NULL, "all pictures together would be larger than LOCAL_IMAGE_MAX_MB");
        return;
    }
    h->path = apr_pstrcat(h->pool, h->shelf->dir, "/", h->name.name, NULL);
    h->part = apr_pstrcat(h->pool, h->path, ".part", NULL);
    rv = apr_file_open(&h->file, h->part, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_EXCL,
                       APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_GREAD | APR_FPROT_WREAD,
                       h->pool);
    if (APR_STATUS_IS_ENOENT(rv)
        && apr_dir_make_recursive(h->shelf->dir, APR_FPROT_OS_DEFAULT, h->pool) == APR_SUCCESS) {
        rv = apr_file_open(&h->file, h->part, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_EXCL,
                           APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_GREAD | APR_FPROT_WREAD,
                           h->pool);
    }
    if (rv != APR_SUCCESS) {
        h->file = NULL;
        h->shelf->take(h->shelf->baton, -(apr_int64_t)h->size);
        finish(h, NULL, apr_psprintf(h->pool, "%s cannot be written: %pm", h->shelf->dir, &rv));
        return;
    }
    gb_timer_set(h->engine, &h->timer, 0);
}

/* All of it is there: only now it bears the name that the client hears. */
static void file_end(gb_hosting_t *h)
{
    const char *base = h->settings->local_image_url;
    size_t len = strlen(base);
    apr_status_t rv = apr_file_close(h->file);

    h->file = NULL;
    if (rv == APR_SUCCESS) {
        rv = apr_file_rename(h->part, h->path, h->pool);
    }
    if (rv != APR_SUCCESS) {
        apr_file_remove(h->part, h->pool);
        h->shelf->take(h->shelf->baton, -(apr_int64_t)h->size);
        finish(h, NULL, apr_psprintf(h->pool, "%s cannot be written: %pm", h->path, &rv));
        return;
    }
    finish_with(
        h,
        apr_pstrcat(h->pool, base, len > 0 && base[len - 1] == '/' ? "" : "/", h->name.name, NULL),
        NULL);
}

static void slice_write(gb_hosting_t *h)
{
    size_t n = decode(h, h->slice, SLICE);
    apr_status_t rv;

    if (n == GB_FEED_BREAK) {
        finish(h, NULL, "the model's picture is no valid base64");
        return;
    }
    if (n == 0) {
        file_end(h);
        return;
    }
    rv = apr_file_write_full(h->file, h->slice, n, NULL);
    if (rv != APR_SUCCESS) {
        finish(h, NULL, apr_psprintf(h->pool, "%s cannot be written: %pm", h->part, &rv));
        return;
    }
    gb_timer_set(h->engine, &h->timer, 0);
}

/* ---- making it ---- */

static int is_local(const gb_settings_t *settings)
{
    return strcmp(settings->upload_provider, "local") == 0;
}

int gb_hosting_is_set(const gb_settings_t *settings)
{
    return is_local(settings) ? *settings->local_image_url != '\0' : gb_host_find(settings) != NULL;
}

static void on_timer(gb_timer_t *timer)
{
    gb_hosting_t *h = (gb_hosting_t *)((char *)timer - offsetof(gb_hosting_t, timer));

    if (h->file != NULL) {
        slice_write(h);
    }
    else if (h->call != NULL) {
        finish(h, NULL, "it took too long");
    }
    else if (h->host != NULL) {
        host_start(h);
    }
    else if (h->shelf != NULL && is_local(h->settings)) {
        file_start(h);
    }
    else {
        finish(h, NULL, "it is not set up");
    }
}

/* A name that nobody can guess, with the extension of its type. */
static void name_make(gb_hosting_t *h)
{
    static const char *const types[][2] = {
        {"image/png",  "png" },
        {"image/jpeg", "jpg" },
        {"image/webp", "webp"},
        {"image/gif",  "gif" },
        {"image/heic", "heic"},
        {"image/avif", "avif"}
    };
    const gb_span_t *type = &h->upload->type;
    unsigned char random[16];
    char hex[2 * sizeof(random) + 1];
    const char *extension = "img";
    size_t i;

    gb_random(random, sizeof(random));
    gb_hex(hex, random, sizeof(random));
    h->name.type = apr_pstrmemdup(h->pool, type->p, type->len);
    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        extension = strcmp(h->name.type, types[i][0]) == 0 ? types[i][1] : extension;
    }
    if (strcspn(h->name.type, "\r\n\"") != type->len || strcmp(extension, "img") == 0) {
        h->name.type = "application/octet-stream";
    }
    h->name.base = apr_pstrdup(h->pool, hex);
    h->name.name = apr_pstrcat(h->pool, hex, ".", extension, NULL);
    h->name.now = apr_time_now();
}

gb_hosting_t *gb_hosting_start(gb_engine_t *engine, const gb_upload_t *upload,
                               const gb_settings_t *settings, const gb_shelf_t *shelf,
                               gb_hosting_done_fn *done, void *baton, apr_pool_t *p)
{
    int local = is_local(settings);
    gb_hosting_t *h = apr_pcalloc(p, sizeof(*h) + (local ? SLICE : 0));
    gb_upload_t *trimmed = apr_pmemdup(p, upload, sizeof(*upload));

    h->engine = engine;
    h->pool = p;
    h->upload = trimmed;
    h->settings = settings;
    h->done = done;
    h->baton = baton;
    h->host = local ? NULL : gb_host_find(settings);
    h->shelf = local ? shelf : NULL;
    h->timer.fn = on_timer;
    gb_buf_init_pool(&h->answer, MAX_ANSWER, p);
    name_make(h);
    measure(h, trimmed);
    gb_timer_set(engine, &h->timer, 0); /* a curl callback may be running */
    return h;
}

void gb_hosting_cancel(gb_hosting_t *hosting)
{
    hosting->done = NULL;
    stop(hosting);
}
