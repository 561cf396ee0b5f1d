/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads of files, what is ours of them: the session that Google opens is
 * handed out as an address of ours, signed, with the key that opened it and the
 * token that it belongs to inside.  The bytes go through mod_proxy (core_relay.c).
 */
#include "core_store.h"

#include "http_core.h"
#include "apr_strings.h"
#include "base/sign.h"
#include "proto/gemini.h"

APLOG_USE_MODULE(gbalance);

#define TENANT   "signing"
#define LIFETIME apr_time_from_sec(7 * 24 * 3600) /* Google's sessions end after a week */
#define HANDLER  "gbalance-upload"

/* ---- the secret that all processes sign with ---- */

/* The parent has laid out a block in this post_config: no child has read it yet. */
static int is_new;

static void signing_init(void *block, apr_size_t size)
{
    gb_random(block, size);
    is_new = 1;
}

static const gb_tenant_spec_t signing = {TENANT, 1, GB_SIGN_KEY, signing_init, NULL, NULL};

void core_upload_tenants(apr_array_header_t *specs)
{
    APR_ARRAY_PUSH(specs, gb_tenant_spec_t) = signing;
}

/* A secret that changes with a reload counts from the next start on: sessions are open. */
void core_upload_post_config(server_rec *s, apr_pool_t *p)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);
    const char *why = NULL;
    gb_seal_t *secret;
    apr_status_t rv;

    if (!is_new || !tenant) {
        return;
    }
    is_new = 0;
    rv = core_store_lasting(&secret, &why, p);
    if (rv == APR_SUCCESS) {
        gb_sign_key(tenant->block, secret->key, GB_SEAL_KEY_LEN, "gbalance: upload sessions");
    }
    else if (why) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     GBLOGNO(8102) "uploads that are open end with the next stop of httpd: %s",
                     why);
    }
}

const unsigned char *core_signing_key(void)
{
    gb_tenant_t *tenant = core_tenant_get(TENANT);

    return tenant ? tenant->block : NULL;
}

/* ---- sessions ---- */

int core_is_upload(request_rec *r)
{
    const core_request_t *req = core_request_get(r);

    return req && strcmp(req->mount->handler, HANDLER) == 0;
}

/* key, caller, end, pool and Google's address, a line each. */
static const char *session_word(request_rec *r, const gb_plan_t *plan, const char *url)
{
    gb_caller_t caller;
    gb_error_t err;

    if (!core_signing_key() || core_caller_get(r, &caller, &err) != APR_SUCCESS
        || strchr(caller.name, '\n')) {
        return NULL;
    }
    return gb_sign(core_signing_key(),
                   apr_psprintf(r->pool, "%s\n%s\n%" APR_TIME_T_FMT "\n%s\n%s", plan->required_id,
                                caller.name, apr_time_now() + LIFETIME, caller.pool, url),
                   r->pool);
}

/* The address of ours that stands for Google's. */
static const char *session_url(request_rec *r, const gb_plan_t *plan, const char *url)
{
    const char *word = session_word(r, plan, url);
    const char *query = strchr(url, '?');

    return word ? apr_pstrcat(r->pool, ap_construct_url(r->pool, r->uri, r), query ? query : "?",
                              query ? "&" : "", CORE_UPLOAD_ARGUMENT "=", word, NULL)
                : NULL;
}

/* Nothing of Google's address may reach the client: it would go there without us. */
void core_upload_answer(request_rec *r, const gb_plan_t *plan)
{
    static const char *const names[] = {"X-Goog-Upload-URL", "X-Goog-Upload-Control-URL",
                                        "Location"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *theirs = apr_table_get(r->headers_out, names[i]);
        const char *ours = theirs && plan ? session_url(r, plan, theirs) : NULL;

        apr_table_unset(r->headers_out, names[i]);
        if (ours) {
            apr_table_setn(r->headers_out, names[i], ours);
        }
    }
}

static const char *argument(request_rec *r, const char *name)
{
    const char *at = r->args;
    size_t len = strlen(name);

    while (at && *at) {
        if (strncmp(at, name, len) == 0 && at[len] == '=') {
            return apr_pstrmemdup(r->pool, at + len + 1, strcspn(at + len + 1, "&"));
        }
        at = strchr(at, '&');
        at = at ? at + 1 : NULL;
    }
    return NULL;
}

/* The session that a request names; NULL when it names none that we gave out. */
const core_session_t *core_upload_session(request_rec *r)
{
    const char *word = core_request_get(r)->session_word;
    const char *text = word && core_signing_key()
                           ? gb_signed_text(core_signing_key(), word, r->pool)
                           : NULL;
    core_session_t *session;
    char *line[5], *last = NULL;
    int i;

    for (i = 0; text && i < 5; i++) {
        line[i] = apr_strtok(i ? NULL : (char *)text, "\n", &last);
        if (!line[i]) {
            return NULL;
        }
    }
    if (!text || apr_atoi64(line[2]) < apr_time_now()) {
        return NULL;
    }
    session = apr_pcalloc(r->pool, sizeof(*session));
    session->key_id = line[0];
    session->caller = line[1];
    session->pool = line[3];
    session->url = line[4];
    return session;
}

int core_upload_names_session(request_rec *r)
{
    return core_request_get(r)->session_word || (r->args && strstr(r->args, "upload_id="));
}

/* A resumable upload begins with a small call; everything else carries bytes. */
int core_upload_begins(request_rec *r)
{
    const char *protocol = apr_table_get(r->headers_in, "X-Goog-Upload-Protocol");
    const char *type = argument(r, "uploadType");

    return (protocol && strcasecmp(protocol, "resumable") == 0)
           || (type && strcasecmp(type, "resumable") == 0);
}
