/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of mod_gbalance share.  Nobody else includes it.
 */
#ifndef GB_CORE_H
#define GB_CORE_H

#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "apr_hash.h"

#include "mod_gbalance.h"
#include "upstream/engine.h"
#include "upstream/exchange.h"

extern module AP_MODULE_DECLARE_DATA gbalance_module;

/* ---- core_config.c ---- */

typedef enum { CORE_AUTH_TOKEN, CORE_AUTH_APACHE, CORE_AUTH_ANY } core_auth_mode_t;

#define CORE_UNSET (-1)

/* One value that a directive gave. */
typedef struct core_value_t {
    const gb_setting_t *row;
    const char *text;
    const char *where; /* "file:line" */
} core_value_t;

/* A token as it is compared: by digest, named by its id. */
typedef struct core_token_t {
    unsigned char digest[GB_DIGEST_LEN];
    const char *id;
} core_token_t;

/* A Location that one of our handlers serves. */
typedef struct core_mount_t {
    const char *prefix;  /* "/llm/v1" */
    const char *handler; /* "gbalance-openai" */
    int is_exact;        /* nothing below it */
} core_mount_t;

/* Per server_rec. */
typedef struct core_conf_t {
    int on;
    int parking;
    int auth_mode;
    int admin_by_apache;
    const char *pool_name; /* GBalancePool, NULL for the default pool */
    apr_off_t max_body;    /* bytes, CORE_UNSET */
    apr_hash_t *values;    /* name -> core_value_t of this server alone */
    /* of the main server alone */
    const char *env_file, *state_dir, *ca_file, *database;
    const char *secret_file, *secret_before;
    int max_keys;
    apr_interval_time_t drain;
    /* made by check_config */
    const gb_settings_t *settings;
    const struct core_conf_t
        *definer;               /* whose directives settle the pool; NULL: the main server's */
    apr_array_header_t *tokens; /* of core_token_t */
    apr_array_header_t *mounts; /* of core_mount_t, longest prefix first */
    apr_array_header_t *bases;  /* of const char *: below which they stand, "/llm" */
    const char *vhost;          /* "name:port" */
} core_conf_t;

extern const command_rec core_directives[];
void *core_conf_create(apr_pool_t *p, server_rec *s);
void *core_conf_merge(apr_pool_t *p, void *base, void *add);
core_conf_t *core_conf_get(const server_rec *s);
int core_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
const gb_pool_conf_t *core_pools(int *n);
/* GBalanceMaxKeys. */
int core_max_keys(void);
/* Whether any server has GBalance On. */
int core_is_used(void);

/* ---- core_mount.c: which requests are ours ---- */

/* Settings as they are in force for a request: core_live.h. */
typedef struct core_view_t core_view_t;

/* Per request. */
typedef struct core_request_t {
    const core_view_t *view; /* NULL until somebody asks */
    const core_mount_t *mount;
    const char *request_id;
    unsigned char entropy[16]; /* random, for ids that the dialect makes */
    const char *credential;    /* what the client presented, NULL */
    int is_preflight;
    const char *session_word;             /* that names the session of an upload, NULL */
    const struct core_session_t *session; /* of an upload, NULL */
    struct relay_t *relay;                /* an upload through mod_proxy, NULL */
    const gb_error_t *refusal;            /* why an upload is not taken, NULL */
    const gb_plan_t *plan;                /* of an upload that begins */
} core_request_t;

/* NULL when the request is none of ours. */
core_request_t *core_request_get(request_rec *r);
void core_mounts_collect(apr_pool_t *p, server_rec *s, core_conf_t *conf);
const core_mount_t *core_mount_of(const core_conf_t *conf, const char *path);
/* The shortest path at which a handler is mounted; NULL. */
const char *core_mount_prefix(const core_conf_t *conf, const char *handler);
int core_post_read_request(request_rec *r);
int core_translate_name(request_rec *r);
int core_map_to_storage(request_rec *r);

/* ---- core_normalize.c: paths that clients get wrong ---- */
void core_bases_collect(apr_pool_t *p, core_conf_t *conf);
void core_normalize(request_rec *r);

/* ---- core_vertex.c: Vertex AI in express mode, a pool and an upstream of its own ---- */
int core_is_vertex(request_rec *r);
/* Of the same operator, for the other upstream.  The texts are those of settings. */
gb_settings_t *core_vertex_settings(const gb_settings_t *settings, apr_pool_t *p);
const char *core_vertex_pool(const char *pool_name, apr_pool_t *p);

/* ---- core_owners.c: which key and which caller made what ---- */
void core_owners_tenants(apr_array_header_t *specs);
/* Settles the key of a plan that refers to something; *err: it is somebody else's (404), or of
 * several keys (400). */
apr_status_t core_owners_bind(gb_plan_t *plan, const gb_caller_t *caller,
                              const gb_settings_t *settings, gb_error_t *err);
/* The engine's thread: what an attempt has made or deleted. */
void core_owners_learn(const gb_exchange_t *x, const gb_attempt_t *attempt);

/* Something that one key alone can use, as an answer describes it. */
typedef struct core_made_t {
    const char *name, *pool, *key_id;
    const char *caller; /* by name; NULL: nobody */
    const char *json;   /* of files; NULL */
} core_made_t;

void core_owners_note(const core_made_t *made);
/* What the database remembers of a file that nobody here knows yet, or that is gone. */
void core_owners_remember(const core_made_t *made, apr_time_t began, apr_time_t ends);
void core_owners_forget(const char *pool, const char *name);
apr_uint64_t core_caller_hash(const char *name);
void core_owners_list(gb_buf_t *out, const char *args, const gb_caller_t *caller,
                      const gb_settings_t *settings);

/* ---- core_upload.c: upload sessions as addresses of ours ---- */

/* What a signed address says. */
typedef struct core_session_t {
    const char *key_id, *caller, *pool, *url;
} core_session_t;

void core_upload_tenants(apr_array_header_t *specs);
/* Parent, after core_store_post_config: what was signed before a stop is known again. */
void core_upload_post_config(server_rec *s, apr_pool_t *p);
/* What all processes sign with, GB_SIGN_KEY bytes; NULL: there is no shared memory. */
const unsigned char *core_signing_key(void);
#define CORE_UPLOAD_ARGUMENT "gb_session"
int core_is_upload(request_rec *r);
int core_upload_begins(request_rec *r);
int core_upload_names_session(request_rec *r);
const core_session_t *core_upload_session(request_rec *r);
void core_upload_answer(request_rec *r, const gb_plan_t *plan);

/* ---- core_feed.c: a body of any length through the engine ---- */

/* One call whose body is the request's, with constant memory; the worker waits. */
typedef struct core_feed_t {
    const gb_settings_t *settings;
    const char *key_id;
    const char *method, *url;
    const char *const *headers;
    apr_status_t read; /* of the client's body; with what httpd itself says of it, 0: nothing */
    int refused;
    /* the answer */
    gb_transport_t transport;
    int status;
    const char *content_type;
    apr_table_t *answer_headers;
    gb_buf_t body; /* at most 64 KiB of it */
} core_feed_t;

void core_feed_send(request_rec *r, core_feed_t *feed);

/* ---- core_relay.c: uploads through mod_proxy ---- */
/* Uploads of keys that are bound to a proxy of PROXIES; DECLINED: not this request. */
int core_relay_handler(request_rec *r, const gb_dialect_t *dialect);
int core_relay_route(request_rec *r);
void core_relay_hooks(void);

/* ---- core_auth.c ---- */
const char *core_credential_take(request_rec *r);
/* Of a request that is nobody's. */
void core_query_clean(request_rec *r);
/* The decoded value of an argument of the query, which leaves the request with its name; NULL. */
const char *core_query_take(request_rec *r, const char *name);
/* Whether a caller of that name, who was let in once, would be now. */
int core_caller_is_known(request_rec *r, const char *name);
/* The same wherever a request of this VirtualHost goes; outside of our mounts it stays as it is. */
const char *core_credential_look(request_rec *r);
const core_token_t *core_token_find(const apr_array_header_t *tokens, const char *credential);
int core_is_administration(const core_mount_t *mount);
apr_status_t core_caller_get(request_rec *r, gb_caller_t *caller, gb_error_t *err);
void core_cors_headers(request_rec *r);

/* ---- core_play.c: tokens of the playground ---- */
#define CORE_PLAY_CALLER "playground"
const char *core_play_token(request_rec *r, int *lifetime);
/* Whether that looks like one. */
int core_play_looks(const char *credential);
/* Whether that is one, for this VirtualHost and still good. */
int core_play_is(request_rec *r, const char *credential);
/* The key that the page asks for, and only the page may. */
void core_play_bind(request_rec *r, gb_plan_t *plan, const gb_caller_t *caller);

/* ---- core_gallery.c ---- */

/* Where pictures lie that we keep ourselves; NULL: nowhere.  Any thread of a child. */
const gb_shelf_t *core_shelf(void);
void core_gallery_tenants(apr_array_header_t *specs);
void core_gallery_post_config(server_rec *s, apr_pool_t *pconf);

/* ---- core_body.c ---- */
void core_body_hooks(void);
/* To be removed once the body was read: httpd's own word about it goes to *refused, not to the client. */
struct ap_filter_t *core_body_keep_back(request_rec *r, int *refused);
/* Why a body could not be read. */
apr_status_t core_body_fault(gb_error_t *err, apr_status_t rv, int refused);

/* Reads the whole body into memory or, above 1 MiB, a mapped temporary file; both belong to pool.
 * max: bytes that are taken where the server takes more; 0: as many as the server. */
apr_status_t core_body_read(request_rec *r, const char **pbody, apr_size_t *plen, apr_off_t max,
                            gb_error_t *err, apr_pool_t *pool);
/* The same for a form, whose parts are found while it arrives: what lies in a file is not looked at
 * again.  Fills body, body_len, body_mapped and form. */
apr_status_t core_body_read_form(request_rec *r, gb_request_t *req, gb_error_t *err,
                                 apr_pool_t *pool);

/* Nobody will read the body: the answer is given without it. */
void core_body_drop(request_rec *r);

/* ---- core_answer.c ---- */
void core_answer_status(request_rec *r, int status);
void core_answer_begin(request_rec *r, const gb_head_t *head);
/* All of an answer, by a worker, once its exchange is over. */
void core_answer_whole(request_rec *r, const gb_head_t *head, const gb_plan_t *plan);
int core_answer_error(request_rec *r, const gb_dialect_t *dialect, const gb_plan_t *plan,
                      const gb_error_t *err);
/* DECLINED: it could not be made from that. */
int core_answer_files(request_rec *r, const gb_request_t *req, const gb_caller_t *caller,
                      const gb_settings_t *settings);
int core_answer_models(request_rec *r, gb_plan_t *plan, const apr_array_header_t *pages);
/* GB_* for the access log. */
void core_answer_note(request_rec *r, const gb_exchange_t *x);

/* ---- core_call.c ---- */
int core_call_start(request_rec *r, const gb_dialect_t *dialect, const char *path);

/* ---- core_wait.c ---- */
int core_wait(request_rec *r, gb_exchange_t *x);
/* Without a byte of traffic nobody else would tell us. */
int core_client_left(request_rec *r);

/* ---- core_park.c ---- */

/* Whether this request may be parked. */
int core_park_possible(request_rec *r);
/* Starts x with the connection as its sink; SUSPENDED, or an HTTP status. */
int core_park(request_rec *r, gb_exchange_t *x);
void core_park_child_init(void);
void core_park_hooks(void);

/* ---- core_engine.c: what lives once per child ---- */
void core_child_init(apr_pool_t *pchild, server_rec *s);
gb_engine_t *core_engine(void); /* NULL: it could not be started */
const gb_exchange_host_t *core_host(void);

/* ---- core_inner.c: calls of our own ---- */

/* Once, in the engine's thread.  status 0: it was broken off. */
typedef void core_inner_done_fn(void *baton, int status, const char *body, apr_size_t len);

typedef struct core_inner_t {
    const char *purpose; /* "probe": how its request id begins */
    const char *pool_name;
    const gb_settings_t *settings;
    const gb_exchange_host_t *host;
    const gb_dialect_t *dialect;
    const gb_request_t *request; /* read at once, but for what it points to */
    const char *required_id;     /* the key that it takes; NULL: any */
    const char *caller;          /* in logs and usage; NULL: none */
    core_inner_done_fn *done;
    void *baton;
} core_inner_t;

/* pool came from gb_exchange_pool and goes with the exchange (at once on failure).  Any thread. */
apr_status_t core_inner_start(const core_inner_t *call, apr_pool_t *pool);
/* NULL when there is no such pool. */
const gb_settings_t *core_pool_settings(const char *pool_name);

/* ---- core_outside.c: see gbalance_models_ask, gbalance_chat_ask, gbalance_proxies_check ---- */
int core_models_ask(request_rec *r, const char *pool, const char **body);
int core_chat_ask(request_rec *r, const char *pool, const char *chat, const char **body);
void core_proxies_check(request_rec *r, gb_proxy_check_t *checks, int n);

/* ---- core_memory.c ---- */
void core_memory_tenants(apr_array_header_t *specs);
void core_memory_child_init(apr_pool_t *p);
const gb_memory_t *core_memory_get(const char *pool_name);
void core_memory_refused(const gb_plan_t *plan, const gb_settings_t *settings, const char *field);
void core_memory_apply(gb_plan_t *plan, const gb_settings_t *settings);
const apr_array_header_t *core_memory_models(const gb_memory_t *face, apr_pool_t *p);

/* ---- core_probe.c ---- */
apr_status_t core_probe(const char *pool_name, const gb_key_t *key, const char *model,
                        gb_probe_done_fn *done, void *baton);

/* ---- core_segment.c ---- */
int core_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
gb_tenant_t *core_tenant_get(const char *name);
void core_log_install(server_rec *s);

/* ---- core_api_config.c ---- */
#define CORE_API_HANDLER "gbalance-api"
int core_api_handler(request_rec *r);

/* ---- core_health.c ---- */
int core_health_handler(request_rec *r);

#endif
