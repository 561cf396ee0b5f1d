/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads on their way through mod_proxy, which passes any number of bytes in
 * constant memory.  The target is settled before httpd looks for <Proxy>
 * sections; token, key and TLS are settled in fixups, for a handler that
 * declines comes too late.  A filter reads along in the answer: it takes out
 * what is between Google and its own clients and remembers whose the file is.
 */
#include "core_live.h"

#include <stdatomic.h>

#include "ap_mpm.h"
#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "util_filter.h"
#include "apr_strings.h"
#include "proto/gemini.h"
#include "proto/url.h"

APLOG_USE_MODULE(gbalance);

#define FILTER       "GBALANCE_UPLOAD"
#define ERROR_FILTER "GBALANCE_UPLOAD_ERROR"

/* One upload through this child. */
typedef struct relay_t {
    request_rec *r;
    const core_session_t *session; /* NULL: a whole upload in one call */
    const char *pool;
    const char *caller;
    const gb_settings_t *settings;
    const char *url;
    gb_key_t key; /* slot 0: none is held */
    apr_time_t began;
    int counted;
    int headers_done;
    gb_transport_t transport; /* of the engine's call */
    int status;               /* the upstream's, 0: none came */
    gb_buf_t body;            /* the beginning of the answer */
} relay_t;

static atomic_int running; /* uploads in this child */

/* ---- where it goes ---- */

/* ".../upload/v1beta/files" of BASE_URL ".../v1beta": where a whole upload in one call goes */
static const char *upload_url(request_rec *r, const gb_settings_t *settings)
{
    const char *base = settings->base_url;
    const char *version = gb_url_version(base);
    const char *query = r->args ? apr_pstrcat(r->pool, "?", r->args, NULL) : "";

    return version
               ? apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, base, (apr_size_t)(version - base)),
                             "upload/", version, GB_UPLOAD_FILES, query, NULL)
               : apr_pstrcat(r->pool, base, "/upload" GB_UPLOAD_FILES, query, NULL);
}

/* The key travels only to where BASE_URL points. */
static int same_origin(const char *a, const char *b)
{
    const char *end = strstr(a, "://");
    size_t len = end ? (size_t)(end + 3 - a) + strcspn(end + 3, "/?") : strlen(a);

    return strncmp(a, b, len) == 0 && (!b[len] || b[len] == '/' || b[len] == '?');
}

static void set_target(request_rec *r, const char *url)
{
    const char *query = strchr(url, '?');
    size_t len = query ? (size_t)(query - url) : strlen(url);

    r->filename = apr_pstrcat(r->pool, "proxy:", apr_pstrmemdup(r->pool, url, len), NULL);
    r->proxyreq = PROXYREQ_REVERSE;
    r->args = query ? apr_pstrdup(r->pool, query + 1) : NULL;
}

static apr_status_t not_there(gb_error_t *err)
{
    return gb_error_set(err, HTTP_NOT_FOUND, "not_found", NULL,
                        "There is no such upload session: begin a new one.");
}

/* In translate_name.  0: this request is none that carries bytes. */
int core_relay_route(request_rec *r)
{
    const gb_settings_t *settings = core_view(r)->settings;
    core_request_t *req = core_request_get(r);
    relay_t *relay;

    if (!core_is_upload(r) || req->is_preflight || r->method_number == M_OPTIONS) {
        return 0;
    }
    req->session = core_upload_session(r);
    if (!req->session && core_upload_names_session(r)) {
        gb_error_t *err = apr_palloc(r->pool, sizeof(*err));

        not_there(err);
        req->refusal = err;
        return 0;
    }
    if (!req->session
        && (core_upload_begins(r) || r->method_number != M_POST
            || strcmp(r->uri + strlen(req->mount->prefix), GB_UPLOAD_FILES) != 0)) {
        return 0;
    }
    relay = apr_pcalloc(r->pool, sizeof(*relay));
    relay->r = r;
    relay->session = req->session;
    relay->settings = settings;
    relay->url = req->session ? req->session->url : upload_url(r, settings);
    req->relay = relay;
    if (settings->proxies.n) {
        return 0;
    }
    set_target(r, relay->url);
    return 1;
}

/* ---- what must be there ---- */

static int directive_is(const ap_directive_t *node, const char *name, const char *value)
{
    return ap_cstr_casecmp(node->directive, name) == 0 && ap_cstr_casecmp(node->args, value) == 0;
}

typedef struct tls_t {
    int engine, verify, no_names;
} tls_t;

static void look(tls_t *tls, const ap_directive_t *node, request_rec *r, const char *url)
{
    for (; node; node = node->next) {
        tls->engine |= directive_is(node, "SSLProxyEngine", "on");
        tls->verify |= directive_is(node, "SSLProxyVerify", "require");
        tls->no_names |= directive_is(node, "SSLProxyCheckPeerName", "off")
                         || directive_is(node, "SSLProxyCheckPeerCN", "off");
        if (ap_cstr_casecmp(node->directive, "<Proxy") == 0) {
            const char *args = node->args;
            char *prefix = ap_getword_conf(r->pool, &args);

            prefix[strcspn(prefix, "*>")] = '\0';
            if (strncmp(url, prefix, strlen(prefix)) == 0) {
                look(tls, node->first_child, r, url);
            }
        }
    }
}

static const ap_directive_t *own_node(request_rec *r)
{
    const ap_directive_t *node;

    for (node = ap_conftree; node; node = node->next) {
        if (ap_cstr_casecmp(node->directive, "<VirtualHost") == 0 && r->server->defn_name
            && node->line_num == (int)r->server->defn_line_number
            && strcmp(node->filename, r->server->defn_name) == 0) {
            return node->first_child;
        }
    }
    return NULL;
}

/* An upload to https goes out verified or not at all. */
static const char *missing(request_rec *r, const char *url)
{
    tls_t tls = {0, 0, 0};

    if (!ap_find_linked_module("mod_proxy_http.c")) {
        return "load mod_proxy and mod_proxy_http";
    }
    if (strncmp(url, "https:", 6) != 0) {
        return NULL;
    }
    if (!ap_find_linked_module("mod_ssl.c")) {
        return "load mod_ssl";
    }
    look(&tls, ap_conftree, r, url);
    look(&tls, own_node(r), r, url);
    if (!tls.engine || !tls.verify) {
        return "set SSLProxyEngine on and SSLProxyVerify require for the upload address, as "
               "conf.d/gbalance-upload.conf does";
    }
    return tls.no_names ? "SSLProxyCheckPeerName must be on for the upload address" : NULL;
}

/* ---- refusing ---- */

/* Not through mod_proxy after all: our own handler answers. */
static int refuse(relay_t *relay, const gb_error_t *err)
{
    request_rec *r = relay->r;

    r->proxyreq = PROXYREQ_NONE;
    r->filename = apr_pstrcat(r->pool, "gbalance:", r->uri, NULL);
    r->connection->keepalive = AP_CONN_CLOSE; /* the bytes of the file are not waited for */
    core_request_get(r)->refusal = apr_pmemdup(r->pool, err, sizeof(*err));
    return OK;
}

/* ---- who, with which key ---- */

/* The session's address is a credential by itself: SDKs send no other with the bytes. */
static apr_status_t settle_caller(relay_t *relay, gb_error_t *err)
{
    request_rec *r = relay->r;
    gb_caller_t caller;

    if (relay->session && !core_request_get(r)->credential) {
        if (!core_caller_is_known(r, relay->session->caller)) {
            return not_there(err);
        }
        relay->caller = relay->session->caller;
        apr_table_setn(r->subprocess_env, "GB_TOKEN_ID", relay->caller);
        relay->pool = relay->session->pool;
        return APR_SUCCESS;
    }
    if (core_caller_get(r, &caller, err) != APR_SUCCESS) {
        return APR_EACCES;
    }
    apr_table_set(r->subprocess_env, "GB_TOKEN_ID", caller.name);
    relay->caller = caller.name;
    relay->pool = caller.pool;
    if (relay->session
        && (strcmp(relay->session->caller, relay->caller) != 0
            || strcmp(relay->session->pool, caller.pool) != 0)) {
        return not_there(err);
    }
    return APR_SUCCESS;
}

static apr_status_t settle_key(relay_t *relay, gb_error_t *err)
{
    apr_interval_time_t wait = 0;
    gb_pick_t pick;
    int rc;

    memset(&pick, 0, sizeof(pick));
    pick.pool = relay->pool;
    pick.model = "";
    pick.caller = core_caller_hash(relay->caller);
    pick.required_id = relay->session ? relay->session->key_id : NULL;
    pick.settings = relay->settings;
    rc = core_host()->pick(core_host()->baton, &pick, &relay->key, &wait, err);
    if (rc == GB_PICK_WAIT) {
        gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "no_healthy_keys", NULL,
                     "All keys are busy. Try again in a moment.");
        err->retry_after = apr_time_from_sec(1);
    }
    return rc == OK ? APR_SUCCESS : APR_EGENERAL;
}

static int limit_of(const gb_settings_t *settings)
{
    int threads = 0;

    if (settings->max_concurrent_uploads > 0) {
        return (int)settings->max_concurrent_uploads;
    }
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads / 4 > 1 ? threads / 4 : 1;
}

static apr_status_t take_place(relay_t *relay, gb_error_t *err)
{
    relay->counted = 1;
    if (atomic_fetch_add(&running, 1) < limit_of(relay->settings)) {
        return APR_SUCCESS;
    }
    gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "too_many_uploads", NULL,
                 "So many uploads run at once as this server takes (MAX_CONCURRENT_UPLOADS). Try "
                 "again in a moment.");
    err->retry_after = apr_time_from_sec(5);
    return APR_EGENERAL;
}

static apr_status_t check_way(relay_t *relay, const char *url, gb_error_t *err)
{
    const char *what = missing(relay->r, url);

    if (relay->settings->proxies.n) {
        return APR_SUCCESS; /* through the engine, which verifies by itself */
    }
    return what
               ? gb_error_set(err, HTTP_SERVICE_UNAVAILABLE, "uploads_unavailable", NULL,
                              "This server cannot upload files now. Its operator has to: %s.", what)
               : APR_SUCCESS;
}

/* ---- the end ---- */

static void judge(const relay_t *relay, gb_verdict_t *verdict)
{
    gb_outcome_t outcome;

    memset(&outcome, 0, sizeof(outcome));
    outcome.transport = relay->r->connection->aborted ? GB_TRANSPORT_CANCELLED : relay->transport;
    outcome.status = relay->status ? relay->status : relay->r->status;
    outcome.retry_after = -1;
    outcome.has_candidate = outcome.has_content = outcome.complete = 1;
    outcome.body = relay->body.data;
    outcome.body_len = relay->body.len;
    outcome.secret = relay->key.secret;
    gb_classify(verdict, &outcome);
}

static void report(relay_t *relay)
{
    gb_verdict_t verdict;
    gb_report_t news;

    memset(&news, 0, sizeof(news));
    judge(relay, &verdict);
    news.pool = relay->pool;
    news.model = "";
    news.key = &relay->key;
    news.verdict = &verdict;
    news.latency = apr_time_now() - relay->began;
    news.prompt_tokens = news.total_tokens = -1;
    news.attempt = 1;
    news.settings = relay->settings;
    core_host()->report(core_host()->baton, &news);
}

/* Before anything of the request goes: what was read of the answer tells the key's fate. */
static apr_status_t relay_ends(void *data)
{
    relay_t *relay = data;

    if (relay->counted) {
        atomic_fetch_sub(&running, 1);
    }
    if (relay->key.slot) {
        report(relay);
        explicit_bzero(&relay->key, sizeof(relay->key));
    }
    return APR_SUCCESS;
}

/* ---- the request that mod_proxy sends ---- */

static const char *const not_sent[] = {"Cookie",
                                       "Authorization",
                                       "Proxy-Authorization",
                                       "Origin",
                                       "Referer",
                                       "OpenAI-Organization",
                                       "OpenAI-Project",
                                       "Forwarded",
                                       "X-Forwarded-For",
                                       "X-Forwarded-Host",
                                       "X-Forwarded-Server",
                                       "X-Forwarded-Proto",
                                       "X-Real-IP",
                                       NULL};

static void set_headers(relay_t *relay, const char *url)
{
    request_rec *r = relay->r;
    const gb_map_t *custom = &relay->settings->custom_headers;
    int i;

    for (i = 0; not_sent[i]; i++) {
        apr_table_unset(r->headers_in, not_sent[i]);
    }
    if (same_origin(relay->settings->base_url, url)) {
        apr_table_set(r->headers_in, "x-goog-api-key", relay->key.secret);
    }
    for (i = 0; i < custom->n; i++) {
        apr_table_set(r->headers_in, custom->pairs[i].name, custom->pairs[i].value);
    }
    apr_table_setn(r->headers_in, "Accept-Encoding", "identity");
    apr_table_setn(r->subprocess_env, "GB_KEY_ID", apr_pstrdup(r->pool, relay->key.id));
}

/* What mod_proxy and httpd answer by themselves, in Google's form. */
static void set_own_errors(request_rec *r)
{
    static const char not_reached[] =
        "The upstream of this server could not be reached for the upload.";
    static const char broken[] = "The upload broke off before its bytes were there.";
    static const struct {
        int status;
        const char *text;
    } own[] = {
        {HTTP_BAD_GATEWAY,              not_reached                                },
        {HTTP_SERVICE_UNAVAILABLE,      not_reached                                },
        {HTTP_GATEWAY_TIME_OUT,         not_reached                                },
        {HTTP_INTERNAL_SERVER_ERROR,    not_reached                                },
        {HTTP_BAD_REQUEST,              broken                                     },
        {HTTP_REQUEST_TIME_OUT,         broken                                     },
        {HTTP_REQUEST_ENTITY_TOO_LARGE, "This server takes no upload of that size."},
    };
    size_t i;

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        gb_error_t err;
        gb_buf_t body;

        gb_error_set(&err, own[i].status, "upstream_error", NULL, "%s", own[i].text);
        gb_buf_init_pool(&body, GB_BUF_MAX_ERROR, r->pool);
        gb_gemini_error_body(NULL, &err, 0, &body);
        ap_custom_response(r, own[i].status, body.data);
    }
}

/* httpd calls every error page of its own text/html, after filters were inserted. */
static apr_status_t error_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    ap_set_content_type(f->r, gb_gemini_dialect.error_type);
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

static void relay_error(request_rec *r)
{
    const core_request_t *req = ap_get_module_config(r->request_config, &gbalance_module);

    if (req && req->relay && r->proxyreq == PROXYREQ_REVERSE) {
        ap_add_output_filter(ERROR_FILTER, NULL, r, r->connection);
    }
}

static apr_status_t settle(relay_t *relay, gb_error_t *err)
{
    request_rec *r = relay->r;

    memset(err, 0, sizeof(*err));
    relay->began = apr_time_now();
    gb_buf_init_pool(&relay->body, GB_BUF_MAX_ERROR, r->pool);
    apr_pool_pre_cleanup_register(r->pool, relay, relay_ends);
    if (settle_caller(relay, err) != APR_SUCCESS || check_way(relay, relay->url, err) != APR_SUCCESS
        || take_place(relay, err) != APR_SUCCESS || settle_key(relay, err) != APR_SUCCESS) {
        return APR_EGENERAL;
    }
    return APR_SUCCESS;
}

static int relay_fixups(request_rec *r)
{
    core_request_t *req = core_request_get(r);
    relay_t *relay = req ? req->relay : NULL;
    gb_error_t err;

    if (!relay || r->proxyreq != PROXYREQ_REVERSE) {
        return DECLINED;
    }
    if (settle(relay, &err) != APR_SUCCESS) {
        return refuse(relay, &err);
    }
    set_headers(relay, relay->url);
    set_own_errors(r);
    ap_add_output_filter(FILTER, relay, r, r->connection);
    r->handler = "proxy-server";
    return DECLINED; /* mod_proxy's own fixups make the address canonical */
}

/* Before anybody logs headers. */
static int relay_log(request_rec *r)
{
    const core_request_t *req = ap_get_module_config(r->request_config, &gbalance_module);

    if (req && req->relay) {
        apr_table_unset(r->headers_in, "x-goog-api-key");
    }
    return DECLINED;
}

/* ---- the answer ---- */

static void learn(relay_t *relay)
{
    gb_json_fault_t fault;
    core_made_t made;
    gb_span_t file;

    if (relay->r->status != HTTP_OK || !relay->body.len
        || gb_json_check(relay->body.data, relay->body.len, &fault) != APR_SUCCESS) {
        return;
    }
    file = gb_json_get(gb_json_root(relay->body.data, relay->body.len), "file");
    made.name = gb_json_str(gb_json_get(file, "name"), NULL, relay->r->pool);
    if (!made.name) {
        return;
    }
    made.pool = relay->pool;
    made.key_id = relay->key.id;
    made.caller = relay->caller;
    made.json = apr_pstrmemdup(relay->r->pool, file.p, file.len);
    core_owners_note(&made);
}

static void clean_headers(request_rec *r)
{
    static const char *const names[] = {"Alt-Svc",           "Server-Timing",
                                        "Set-Cookie",        "Via",
                                        "X-Goog-Upload-URL", "X-Goog-Upload-Control-URL"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        apr_table_unset(r->headers_out, names[i]);
        apr_table_unset(r->err_headers_out, names[i]);
    }
}

/* A fault of our key is not the client's, and Google's errors may repeat the key that they are about. */
static void tell_error(relay_t *relay, gb_buf_t *out)
{
    request_rec *r = relay->r;
    gb_verdict_t verdict;

    judge(relay, &verdict);
    gb_buf_init_pool(out, GB_BUF_MAX_ERROR * 2, r->pool);
    if (verdict.cls != GB_CLASS_KEY && verdict.cls != GB_CLASS_PROJECT
        && verdict.cls != GB_CLASS_ACCOUNT) {
        gb_redact(out, relay->body.data ? relay->body.data : "", relay->body.len,
                  relay->key.secret);
        return;
    }
    core_answer_status(r, verdict.error.status);
    ap_set_content_type(r, gb_gemini_dialect.error_type);
    gb_gemini_error_body(NULL, &verdict.error, 0, out);
}

/* ---- the same through the engine ---- */

static int add_header(void *baton, const char *name, const char *value)
{
    if (strncasecmp(name, "X-Goog-Upload-", 14) == 0 || strcasecmp(name, "Range") == 0
        || strcasecmp(name, "Retry-After") == 0 || strcasecmp(name, "X-GUploader-UploadID") == 0) {
        apr_table_add(((request_rec *)baton)->headers_out, name, value);
    }
    return 1;
}

static int push_header(void *baton, const char *name, const char *value)
{
    apr_array_header_t *list = baton;

    if (strncasecmp(name, "X-Goog-", 7) == 0 || strcasecmp(name, "Content-Type") == 0
        || strcasecmp(name, "Content-Range") == 0 || strcasecmp(name, "User-Agent") == 0) {
        APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(list->pool, name, ": ", value, NULL);
    }
    return 1;
}

static const char *const *headers_up(const relay_t *relay)
{
    request_rec *r = relay->r;
    const gb_map_t *custom = &relay->settings->custom_headers;
    apr_array_header_t *list = apr_array_make(r->pool, 12, sizeof(const char *));
    int i;

    apr_table_do(push_header, list, r->headers_in, NULL);
    if (same_origin(relay->settings->base_url, relay->url)) {
        APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(
            r->pool, "x-goog-api-key: ", relay->key.secret, NULL);
    }
    for (i = 0; i < custom->n; i++) {
        APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(r->pool, custom->pairs[i].name, ": ",
                                                         custom->pairs[i].value, NULL);
    }
    APR_ARRAY_PUSH(list, const char *) = NULL;
    return (const char *const *)list->elts;
}

static int answer(relay_t *relay, core_feed_t *feed)
{
    request_rec *r = relay->r;
    gb_buf_t body = feed->body;

    relay->status = feed->status;
    core_answer_status(r, feed->status);
    relay->body = feed->body;
    ap_set_content_type(r, feed->content_type && *feed->content_type ? feed->content_type
                                                                     : "application/json");
    if (relay->status >= HTTP_BAD_REQUEST) {
        tell_error(relay, &body);
    }
    apr_table_do(add_header, r, feed->answer_headers, NULL);
    clean_headers(r);
    learn(relay);
    ap_set_content_length(r, (apr_off_t)body.len);
    if (body.len) {
        ap_rwrite(body.data, (int)body.len, r);
    }
    return OK;
}

int core_relay_handler(request_rec *r, const gb_dialect_t *dialect)
{
    relay_t *relay = core_request_get(r)->relay;
    core_feed_t feed;
    gb_error_t err;

    if (!relay || !relay->settings->proxies.n) {
        return DECLINED;
    }
    if (settle(relay, &err) != APR_SUCCESS) {
        r->connection->keepalive = AP_CONN_CLOSE;
        core_body_drop(r);
        return core_answer_error(r, dialect, NULL, &err);
    }
    memset(&feed, 0, sizeof(feed));
    feed.settings = relay->settings;
    feed.key_id = relay->key.id;
    feed.method = r->method;
    feed.url = relay->url;
    feed.headers = headers_up(relay);
    core_feed_send(r, &feed);
    relay->transport = feed.transport;
    if (feed.transport == GB_TRANSPORT_OK && feed.status) {
        return answer(relay, &feed);
    }
    if (feed.transport == GB_TRANSPORT_CANCELLED && feed.read != APR_SUCCESS) {
        core_body_fault(&err, feed.read, feed.refused);
    }
    else {
        gb_error_set(&err, HTTP_BAD_GATEWAY, "upstream_error", NULL,
                     "The upload could not be handed on: the upstream or its proxy broke it off.");
    }
    r->connection->keepalive = AP_CONN_CLOSE;
    return core_answer_error(r, dialect, NULL, &err);
}

/* ---- the answer of mod_proxy ---- */

/* Keeps the beginning; 1: that was the end. */
static int read_along(relay_t *relay, apr_bucket_brigade *bb)
{
    size_t most = relay->status >= HTTP_BAD_REQUEST ? GB_BUF_MAX_ERROR : GB_BUF_MAX_LINE;
    int ended = 0;
    apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        size_t room = GB_BUF_MAX_ERROR - relay->body.len;
        const char *bytes;
        apr_size_t len;

        ended |= APR_BUCKET_IS_EOS(b);
        if (!APR_BUCKET_IS_METADATA(b) && relay->body.len < most
            && apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ) == APR_SUCCESS) {
            gb_buf_append(&relay->body, bytes, len < room ? len : room);
        }
    }
    return ended;
}

/* The whole error, in the place of the brigade in which it ends. */
static void put_error(relay_t *relay, apr_bucket_brigade *bb)
{
    gb_buf_t told;

    tell_error(relay, &told);
    apr_brigade_cleanup(bb);
    apr_brigade_write(bb, NULL, NULL, told.data ? told.data : "", told.len);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    ap_set_content_length(relay->r, (apr_off_t)told.len);
}

static apr_status_t upload_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    relay_t *relay = f->ctx;
    int ended;

    if (!relay->headers_done) {
        relay->headers_done = 1;
        relay->status = f->r->status;
        clean_headers(f->r);
    }
    ended = read_along(relay, bb);
    if (relay->status >= HTTP_BAD_REQUEST) {
        if (!ended) {
            return apr_brigade_cleanup(bb);
        }
        put_error(relay, bb);
    }
    if (ended) {
        learn(relay);
        ap_remove_output_filter(f);
    }
    return ap_pass_brigade(f->next, bb);
}

void core_relay_hooks(void)
{
    ap_register_output_filter(FILTER, upload_filter, NULL, AP_FTYPE_RESOURCE);
    ap_hook_fixups(relay_fixups, NULL, NULL, APR_HOOK_FIRST);
    ap_register_output_filter(ERROR_FILTER, error_filter, NULL, AP_FTYPE_RESOURCE);
    ap_hook_insert_error_filter(relay_error, NULL, NULL, APR_HOOK_LAST);
    ap_hook_log_transaction(relay_log, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
