/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One upstream call on a curl easy handle.  Handles are kept in stock with what
 * never changes already set; what differs from call to call is set anew each
 * time.  A gb_call_t is the stock's, not the caller's pool's, because curl may
 * still hold it when a call was cancelled from inside its own callback.
 */
#include "upstream/call.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <curl/curl.h>

#include "base/log.h"
#include "base/timeutil.h"

#define STOCK_MAX       256
#define RETRY_AFTER_MAX 31536000 /* seconds */

/* A body that the system does not take at once: while it is being sent, nobody is silent. */
#define LONG_BODY ((size_t)256 * 1024)

/* Where a connection leads, from which port of ours: it shares both with no other. */
typedef struct way_t {
    char ip[INET6_ADDRSTRLEN];
    int port, local_port; /* 0: there is none yet */
} way_t;

struct gb_call_t {
    gb_call_t *next, *prev; /* in stock, or among those that run */
    gb_engine_t *engine;
    CURL *easy;
    struct curl_slist *headers;
    gb_timer_t timer; /* silence, or the news of a call that could not start */

    const gb_call_events_t *events; /* NULL: cancelled */
    void *baton;
    apr_pool_t *pool;
    apr_interval_time_t silence;
    apr_time_t heard; /* monotonic: the last byte, or the start */
    size_t to_send;   /* of a long body, 0: all of it is sent, or it is none */
    curl_off_t sent;  /* when it was looked at last */

    int (*guard)(void *baton, const struct sockaddr *addr);
    int redirects; /* may be followed: such a 3xx is not told */

    size_t (*feed)(void *baton, char *room, size_t size);
    int (*rewind)(void *baton);
    int feed_waits; /* curl was told that there is nothing to send */

    apr_table_t *answer; /* headers of the response that is being read */
    int told_head;
    int requests;           /* that curl has begun to send */
    way_t way;              /* that it took */
    int proxied, proxy_tls; /* it takes a proxy; one that speaks TLS itself */
    int paused;             /* the caller wants no bytes */
    int curl_paused;        /* curl was told so */
    int added;              /* the multi handle knows it */
    char why[CURL_ERROR_SIZE];
};

struct gb_call_stock_t {
    gb_call_t *free;
    int n;
    gb_call_t *running;
    int depth; /* of curl's callbacks, of any call: curl refuses most verbs there */
};

/* ---- stock ---- */

static struct gb_call_stock_t *stock_of(gb_engine_t *engine)
{
    struct gb_call_stock_t **pstock = gb_engine_stock(engine);

    if (!*pstock && !(*pstock = calloc(1, sizeof(**pstock)))) {
        abort();
    }
    return *pstock;
}

static void call_free(gb_call_t *call)
{
    curl_slist_free_all(call->headers);
    curl_easy_cleanup(call->easy);
    free(call);
}

static void running_add(struct gb_call_stock_t *stock, gb_call_t *call)
{
    call->prev = NULL;
    call->next = stock->running;
    if (call->next) {
        call->next->prev = call;
    }
    stock->running = call;
}

static void running_remove(struct gb_call_stock_t *stock, gb_call_t *call)
{
    if (call->next) {
        call->next->prev = call->prev;
    }
    if (call->prev) {
        call->prev->next = call->next;
    }
    else {
        stock->running = call->next;
    }
}

/*
 * libcurl 7.88 writes down the RST_STREAM of a call that is cancelled, but sends
 * it with the next frame only.  Where no other stream is on the connection there
 * is none, and the upstream would go on: such a connection is closed.  (A call
 * that has ended has let go of its connection already.)
 */
static void not_to_be_kept(gb_call_t *call)
{
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
}

/* Never inside one of curl's callbacks. */
static void call_put_back(gb_call_t *call)
{
    struct gb_call_stock_t *stock = stock_of(call->engine);

    running_remove(stock, call);
    gb_timer_cancel(call->engine, &call->timer);
    if (call->added) {
        not_to_be_kept(call);
        curl_multi_remove_handle(gb_engine_multi(call->engine), call->easy);
        call->added = 0;
    }
    call->events = NULL;
    call->pool = NULL;
    curl_slist_free_all(call->headers);
    call->headers = NULL;
    if (!call->easy || stock->n >= STOCK_MAX) {
        call_free(call);
        return;
    }
    call->next = stock->free;
    stock->free = call;
    stock->n++;
}

/* ---- curl's callbacks ---- */

static void callback_enter(gb_call_t *call)
{
    stock_of(call->engine)->depth++;
}

static void callback_leave(gb_call_t *call)
{
    stock_of(call->engine)->depth--;
}

/* Seconds only: Google sends no dates. */
static apr_interval_time_t retry_after(const char *text)
{
    apr_int64_t seconds;

    if (!text || !apr_isdigit(*text)) {
        return -1;
    }
    seconds = apr_atoi64(text);
    return apr_time_from_sec(seconds < RETRY_AFTER_MAX ? seconds : RETRY_AFTER_MAX);
}

static void tell_head(gb_call_t *call)
{
    gb_call_head_t head;
    const char *type = apr_table_get(call->answer, "Content-Type");
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    head.status = (int)status;
    head.content_type = type ? type : "";
    head.headers = call->answer;
    head.retry_after = retry_after(apr_table_get(call->answer, "Retry-After"));
    call->told_head = 1;
    callback_enter(call);
    call->events->head(call->baton, &head);
    callback_leave(call);
}

/* curl goes on to where it points: this head is not the answer's. */
static int is_followed(const gb_call_t *call, long status)
{
    return call->redirects > 0 && status >= 300 && status < 400
           && apr_table_get(call->answer, "Location") != NULL;
}

/* Folded lines, names that are no token and control characters: httpd would refuse to send them. */
static int is_header(const char *name, size_t name_len, const char *value, const char *end)
{
    size_t i;

    for (i = 0; i < name_len; i++) {
        if (!apr_isalnum(name[i]) && (!name[i] || !strchr("!#$%&'*+-.^_`|~", name[i]))) {
            return 0;
        }
    }
    for (; value < end; value++) {
        if (apr_iscntrl(*value) && *value != '\t') {
            return 0;
        }
    }
    return name_len > 0;
}

static void keep_header(gb_call_t *call, const char *line, const char *colon, const char *end)
{
    const char *value = colon + 1;
    apr_size_t name_len = (apr_size_t)(colon - line);

    while (value < end && apr_isspace(*value)) {
        value++;
    }
    while (end > value && apr_isspace(end[-1])) {
        end--;
    }
    if (is_header(line, name_len, value, end)) {
        apr_table_addn(call->answer, apr_pstrmemdup(call->pool, line, name_len),
                       apr_pstrmemdup(call->pool, value, (apr_size_t)(end - value)));
    }
}

/*
 * A header line.  A new status line starts over: 100 Continue and the like are not told.  What
 * comes behind the body (trailers) is not kept.
 */
static size_t on_header(char *line, size_t size, size_t n, void *userp)
{
    gb_call_t *call = userp;
    size_t len = size * n;
    const char *colon = memchr(line, ':', len);

    call->heard = gb_mono_now();
    if (!call->events) {
        return 0;
    }
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        call->answer = apr_table_make(call->pool, 16);
    }
    else if (call->told_head || !call->answer) {
        return len;
    }
    else if (colon) {
        keep_header(call, line, colon, line + len);
    }
    else if (len <= 2) {
        long status = 0;

        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200 && !is_followed(call, status)) {
            tell_head(call);
        }
    }
    return call->events ? len : 0;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *userp)
{
    gb_call_t *call = userp;
    size_t len = size * n;

    call->heard = gb_mono_now();
    if (!call->events) {
        return 0;
    }
    if (call->paused) {
        call->curl_paused = 1;
        return CURL_WRITEFUNC_PAUSE;
    }
    callback_enter(call);
    call->events->data(call->baton, bytes, len);
    callback_leave(call);
    return call->events ? len : 0;
}

/* ---- ends ---- */

/* What curl's code means for an attempt, checked from the top; all others are a reset. */
static const struct {
    CURLcode code;
    gb_transport_t transport;
} codes[] = {
    {CURLE_OK,                       GB_TRANSPORT_OK     },
    {CURLE_COULDNT_RESOLVE_HOST,     GB_TRANSPORT_CONNECT},
    {CURLE_COULDNT_CONNECT,          GB_TRANSPORT_CONNECT},
    {CURLE_ABORTED_BY_CALLBACK,      GB_TRANSPORT_CONNECT}, /* the guard said no */
    {CURLE_COULDNT_RESOLVE_PROXY,    GB_TRANSPORT_PROXY  },
    {CURLE_PROXY,                    GB_TRANSPORT_PROXY  },
    {CURLE_SSL_CONNECT_ERROR,        GB_TRANSPORT_TLS    },
    {CURLE_PEER_FAILED_VERIFICATION, GB_TRANSPORT_TLS    },
    {CURLE_SSL_CACERT_BADFILE,       GB_TRANSPORT_TLS    },
    {CURLE_SSL_CERTPROBLEM,          GB_TRANSPORT_TLS    },
    {CURLE_OPERATION_TIMEDOUT,       GB_TRANSPORT_TIMEOUT},
};

/* As far as the upstream itself, or a connection that is kept. */
static int is_connected(const gb_call_t *call)
{
    curl_off_t ready = 0;

    curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
    return ready > 0;
}

static gb_transport_t transport_of(const gb_call_t *call, CURLcode code)
{
    long connect_status = 0;
    size_t i;

    if (call->requests > 1 && !call->guard && code == CURLE_ABORTED_BY_CALLBACK) {
        return GB_TRANSPORT_STALE;
    }
    curl_easy_getinfo(call->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    if (code != CURLE_OK && connect_status >= 300) {
        return GB_TRANSPORT_PROXY; /* it refused the tunnel: curl calls that a failed read */
    }
    if (code == CURLE_OK && !call->told_head) {
        return GB_TRANSPORT_RESET; /* curl is content with half a head */
    }
    if (code == CURLE_OPERATION_TIMEDOUT && call->proxied && !is_connected(call)) {
        return GB_TRANSPORT_PROXY; /* it took the connection and never made the way */
    }
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].code == code) {
            return codes[i].transport == GB_TRANSPORT_TLS && call->proxy_tls && !connect_status
                       ? GB_TRANSPORT_PROXY /* its own handshake: there was no tunnel yet */
                       : codes[i].transport;
        }
    }
    return GB_TRANSPORT_RESET;
}

/* Puts the call back and tells its owner, in this order: the owner may start another. */
static void call_end(gb_call_t *call, gb_transport_t transport, const char *detail)
{
    const gb_call_events_t *events = call->events;
    void *baton = call->baton;
    char why[CURL_ERROR_SIZE];

    apr_cpystrn(why, detail, sizeof(why));
    call_put_back(call);
    if (events) {
        events->done(baton, transport, why);
    }
}

void gb_call_reap(gb_engine_t *engine)
{
    CURLM *multi = gb_engine_multi(engine);
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(multi, &left)) != NULL) {
        gb_call_t *call = NULL;
        CURLcode code = msg->data.result;

        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        call_end(call, transport_of(call, code),
                 call->why[0] ? call->why : curl_easy_strerror(code));
    }
}

static gb_call_t *find_on(gb_engine_t *engine, const way_t *way,
                          int (*fits)(const gb_call_t *, apr_time_t), apr_time_t since)
{
    gb_call_t *call;

    for (call = stock_of(engine)->running; call; call = call->next) {
        if (call->events && call->way.local_port == way->local_port && call->way.port == way->port
            && strcmp(call->way.ip, way->ip) == 0 && fits(call, since)) {
            return call;
        }
    }
    return NULL;
}

static int has_heard(const gb_call_t *call, apr_time_t since)
{
    return (call->answer || call->feed || call->sent) && call->heard > since;
}

static int came_later(const gb_call_t *call, apr_time_t since)
{
    return !call->answer && call->heard >= since;
}

/*
 * A call has given up.  Where nothing has come since then for any other on its connection either,
 * that one may be dead although nobody closed it: those that share it would keep it open for each
 * other, and new ones would join them.  Whoever came later is told to take another; a call that has
 * waited for longer may still be answered.
 */
static void leave_connection(gb_engine_t *engine, const way_t *way, apr_time_t since)
{
    gb_call_t *call;

    if (!way->local_port || find_on(engine, way, has_heard, since)) {
        return;
    }
    while ((call = find_on(engine, way, came_later, since)) != NULL) {
        call_end(call, GB_TRANSPORT_STALE, "nothing comes on its connection any more");
    }
}

static void note_sent(gb_call_t *call)
{
    curl_off_t sent = 0;

    curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent > call->sent) {
        call->sent = sent;
        call->heard = gb_mono_now();
    }
    if (sent >= (curl_off_t)call->to_send) {
        call->to_send = 0;
    }
}

/* A long body is looked at now and then: curl does not say when it moves. */
static apr_interval_time_t look_after(const gb_call_t *call, apr_interval_time_t left)
{
    return call->to_send && left > call->silence / 4 ? call->silence / 4 : left;
}

/* Nothing was heard for too long, the call never got off the ground, or it was cancelled. */
static void on_timer(gb_timer_t *timer)
{
    gb_call_t *call = (gb_call_t *)((char *)timer - offsetof(gb_call_t, timer));
    gb_engine_t *engine = call->engine;
    apr_interval_time_t left;
    apr_time_t heard;
    way_t way;

    if (!call->events) {
        call_put_back(call);
        return;
    }
    if (!call->added) {
        call_end(call, GB_TRANSPORT_CONNECT, call->why[0] ? call->why : "out of memory");
        return;
    }
    if (call->to_send) {
        note_sent(call);
    }
    left = call->heard + call->silence - gb_mono_now();
    if (call->paused || call->feed_waits) {
        left = call->silence; /* the silence is ours */
    }
    if (left > 0) {
        gb_timer_set(call->engine, &call->timer, look_after(call, left));
        return;
    }
    way = call->way;
    heard = call->heard;
    call_end(call, GB_TRANSPORT_TIMEOUT,
             apr_psprintf(call->pool, "silent for %" APR_TIME_T_FMT " seconds",
                          apr_time_sec(call->silence)));
    leave_connection(engine, &way, heard);
}

/* ---- the caller's verbs ---- */

static CURL *easy_make(gb_engine_t *engine)
{
    CURL *easy = curl_easy_init();
    const gb_engine_conf_t *conf = gb_engine_conf(engine);

    if (easy) {
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, conf->user_agent);
        /* Who is not told may compress, and some do all the same: curl undoes it then. */
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "identity");
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
#if LIBCURL_VERSION_NUM >= 0x075700
        /* Else a call that is cancelled while its name is looked up stops the thread until it is. */
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
        if (conf->ca_file) {
            curl_easy_setopt(easy, CURLOPT_CAINFO, conf->ca_file);
            curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, conf->ca_file);
        }
    }
    return easy;
}

static gb_call_t *call_take(gb_engine_t *engine)
{
    struct gb_call_stock_t *stock = stock_of(engine);
    gb_call_t *call = stock->free;
    CURL *easy;

    if (call) {
        stock->free = call->next;
        stock->n--;
        easy = call->easy;
    }
    else {
        call = malloc(sizeof(*call));
        if (!call) {
            abort();
        }
        easy = easy_make(engine);
    }
    memset(call, 0, sizeof(*call));
    call->engine = engine;
    call->easy = easy;
    call->timer.fn = on_timer;
    running_add(stock, call);
    return call;
}

static size_t on_feed(char *room, size_t size, size_t n, void *userp)
{
    gb_call_t *call = userp;
    size_t got = call->events ? call->feed(call->baton, room, size * n) : GB_FEED_BREAK;

    call->heard = gb_mono_now();
    if (got == GB_FEED_WAIT) {
        call->feed_waits = 1;
        return CURL_READFUNC_PAUSE;
    }
    return got == GB_FEED_BREAK ? CURL_READFUNC_ABORT : got;
}

/* A connection that was kept died while it was used: curl sends all of it once more. */
static int on_seek(void *userp, curl_off_t offset, int origin)
{
    gb_call_t *call = userp;

    return offset == 0 && origin == SEEK_SET && call->events && call->rewind
                   && call->rewind(call->baton)
               ? CURL_SEEKFUNC_OK
               : CURL_SEEKFUNC_CANTSEEK;
}

static void set_feed(gb_call_t *call, const gb_call_conf_t *conf)
{
    call->feed = conf->feed;
    call->rewind = conf->rewind;
    call->feed_waits = 0;
    curl_easy_setopt(call->easy, CURLOPT_READFUNCTION, conf->feed ? on_feed : NULL);
    curl_easy_setopt(call->easy, CURLOPT_READDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_SEEKFUNCTION, conf->rewind ? on_seek : NULL);
    curl_easy_setopt(call->easy, CURLOPT_SEEKDATA, call);
    if (conf->feed) {
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, NULL);
        curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)conf->feed_len);
    }
}

/* No method carries a body by accident: POST with none sends Content-Length: 0. */
static void set_method(gb_call_t *call, const gb_call_conf_t *conf)
{
    CURL *easy = call->easy;

    if (conf->body || strcmp(conf->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, conf->body ? conf->body : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)conf->body_len);
    }
    else {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
                     strcmp(conf->method, conf->body ? "POST" : "GET") == 0 ? NULL : conf->method);
}

/* curl would claim that a body without a type is a form. */
static void set_headers(gb_call_t *call, const gb_call_conf_t *conf)
{
    const char *const *header;
    int typed = 0;

    call->headers = curl_slist_append(NULL, "Expect:");
    for (header = conf->headers; *header; header++) {
        typed |= strncasecmp(*header, "Content-Type:", 13) == 0;
        call->headers = curl_slist_append(call->headers, *header);
    }
    if (!typed) {
        call->headers = curl_slist_append(call->headers, "Content-Type:");
    }
    if (conf->feed && conf->feed_len < 0 && strncasecmp(conf->url, "https:", 6) != 0) {
        call->headers = curl_slist_append(call->headers, "Transfer-Encoding: chunked");
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

/*
 * HTTP/2 over TLS, where calls wait for a connection that is being made and
 * share it.  Not in the clear: there curl only knows after the first answer that
 * it cannot share, and all calls would wait for that answer.
 */
static void set_version(gb_call_t *call, const gb_call_conf_t *conf)
{
    int tls = strncasecmp(conf->url, "https:", 6) == 0;

    curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION,
                     tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(call->easy, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
}

/* The address that curl has resolved is asked about, so no name can be moved behind our back. */
static curl_socket_t open_guarded(void *userp, curlsocktype purpose, struct curl_sockaddr *address)
{
    gb_call_t *call = userp;

    (void)purpose;
    if (!call->events || !call->guard(call->baton, &address->addr)) {
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/*
 * curl repeats by itself what a kept connection lost.  Whether a request that the
 * upstream may have seen goes out once more is not its to say, and the journal
 * must know: the second time ends the call.  A feed that can be rewound is the
 * caller's word that it may.
 */
static int before_sending(void *userp, char *ip, char *local_ip, int port, int local_port)
{
    gb_call_t *call = userp;

    (void)local_ip;
    apr_cpystrn(call->way.ip, ip, sizeof(call->way.ip));
    call->way.port = port;
    call->way.local_port = local_port;
    return call->requests++ > 0 && !call->rewind ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* After a redirect curl takes an open connection in spite of FRESH_CONNECT: it was nobody's to ask. */
static int before_request(void *userp, char *ip, char *local_ip, int port, int local_port)
{
    gb_call_t *call = userp;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr;

    (void)local_ip;
    (void)local_port;
    memset(&addr, 0, sizeof(addr));
    if (inet_pton(AF_INET, ip, &addr.v4.sin_addr) == 1) {
        addr.v4.sin_family = AF_INET;
        addr.v4.sin_port = htons((in_port_t)port);
    }
    else if (inet_pton(AF_INET6, ip, &addr.v6.sin6_addr) == 1) {
        addr.v6.sin6_family = AF_INET6;
        addr.v6.sin6_port = htons((in_port_t)port);
    }
    return call->events && call->guard(call->baton, &addr.any) ? CURL_PREREQFUNC_OK
                                                               : CURL_PREREQFUNC_ABORT;
}

static void set_guard(gb_call_t *call, const gb_call_conf_t *conf)
{
    long alone = conf->guard != NULL;

    call->guard = conf->guard;
    call->redirects = conf->redirects;
    curl_easy_setopt(call->easy, CURLOPT_FOLLOWLOCATION, conf->redirects > 0 ? 1L : 0L);
    curl_easy_setopt(call->easy, CURLOPT_MAXREDIRS, (long)conf->redirects);
    curl_easy_setopt(call->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, alone ? open_guarded : NULL);
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_PREREQFUNCTION, alone ? before_request : before_sending);
    curl_easy_setopt(call->easy, CURLOPT_PREREQDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, alone);
}

/* A kept connection may close just when it is used: what cannot be sent twice takes a new one. */
static void set_fresh(gb_call_t *call, const gb_call_conf_t *conf)
{
    long fresh = conf->fresh || conf->guard != NULL || (conf->feed && !conf->rewind);

    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, fresh);
}

gb_call_t *gb_call_start(gb_engine_t *engine, const gb_call_conf_t *conf,
                         const gb_call_events_t *events, void *baton, apr_pool_t *p)
{
    gb_call_t *call = call_take(engine);

    call->events = events;
    call->baton = baton;
    call->pool = p;
    call->silence = conf->silence;
    call->to_send = conf->body && conf->body_len >= LONG_BODY ? conf->body_len : 0;
    call->proxied = conf->proxy != NULL;
    call->proxy_tls = conf->proxy && strncasecmp(conf->proxy, "https:", 6) == 0;
    call->heard = gb_mono_now();
    if (call->easy) {
        CURLMcode rc;

        set_method(call, conf);
        set_feed(call, conf);
        set_headers(call, conf);
        set_version(call, conf);
        set_guard(call, conf);
        set_fresh(call, conf);
        curl_easy_setopt(call->easy, CURLOPT_URL, conf->url);
        curl_easy_setopt(call->easy, CURLOPT_PROXY, conf->proxy ? conf->proxy : "");
        curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS,
                         (long)apr_time_as_msec(conf->connect_timeout));
        curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
        curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->why);
        rc = curl_multi_add_handle(gb_engine_multi(engine), call->easy);
        call->added = (rc == CURLM_OK);
        if (rc != CURLM_OK) {
            apr_cpystrn(call->why, curl_multi_strerror(rc), sizeof(call->why));
        }
    }
    gb_timer_set(engine, &call->timer, call->added ? look_after(call, call->silence) : 0);
    return call;
}

void gb_call_pause(gb_call_t *call)
{
    call->paused = 1;
}

void gb_call_resume(gb_call_t *call)
{
    if (!call->paused) {
        return;
    }
    call->paused = 0;
    call->heard = gb_mono_now();
    if (call->curl_paused) {
        call->curl_paused = 0;
        curl_easy_pause(call->easy, CURLPAUSE_CONT);
    }
}

void gb_call_feed(gb_call_t *call)
{
    if (call->feed_waits) {
        call->feed_waits = 0;
        curl_easy_pause(call->easy, CURLPAUSE_CONT);
    }
}

/*
 * Inside a callback curl lets go of no handle.  Its own callback's return value
 * ends the transfer; for another call, or if curl_easy_pause ran the callback,
 * the timer has it put back in the next turn.
 */
void gb_call_cancel(gb_call_t *call)
{
    if (call->added) {
        not_to_be_kept(call); /* now: inside a callback curl lets go before we can */
    }
    call->events = NULL;
    if (stock_of(call->engine)->depth) {
        gb_timer_set(call->engine, &call->timer, 0);
    }
    else {
        call_put_back(call);
    }
}

void gb_call_time_out(gb_call_t *call)
{
    gb_engine_t *engine = call->engine;
    apr_time_t heard = call->heard;
    way_t way = call->way;

    gb_call_cancel(call);
    leave_connection(engine, &way, heard);
}

void gb_call_close_idle(gb_engine_t *engine)
{
    /* Connections that are in use stay; curl closes those above the limit, idle ones first. */
    curl_multi_setopt(gb_engine_multi(engine), CURLMOPT_MAXCONNECTS, 1L);
}

/* The engine ends: whoever still waits for a call hears of it. */
void gb_call_stock_free(gb_engine_t *engine)
{
    struct gb_call_stock_t *stock = stock_of(engine);

    while (stock->running) {
        call_end(stock->running, GB_TRANSPORT_CANCELLED, "the engine has ended");
    }
    while (stock->free) {
        gb_call_t *call = stock->free;

        stock->free = call->next;
        call_free(call);
    }
    free(stock);
    *gb_engine_stock(engine) = NULL;
}
