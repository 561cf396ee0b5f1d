/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of the playground: a page of administration calls the API surfaces of
 * its own VirtualHost like any client, without anybody's token.  What it presents
 * is signed, good for ten minutes and for this VirtualHost alone, and names the
 * caller "playground" in logs and usage.
 */
#include "core.h"

#include "apr_strings.h"
#include "base/sign.h"

APLOG_USE_MODULE(gbalance);

#define LIFETIME  600 /* seconds; the page asks for another one in time */
#define PURPOSE   "playground"
#define MARK      "gbplay-"
#define KEY_FIELD "x-gbalance-key"

/* purpose, end and VirtualHost, a line each */
const char *core_play_token(request_rec *r, int *lifetime)
{
    const char *text = apr_psprintf(r->pool, PURPOSE "\n%" APR_TIME_T_FMT "\n%s",
                                    apr_time_sec(apr_time_now()) + LIFETIME,
                                    core_conf_get(r->server)->vhost);

    *lifetime = LIFETIME;
    return core_signing_key()
               ? apr_pstrcat(r->pool, MARK, gb_sign(core_signing_key(), text, r->pool), NULL)
               : NULL;
}

int core_play_looks(const char *credential)
{
    return strncmp(credential, MARK, strlen(MARK)) == 0;
}

int core_play_is(request_rec *r, const char *credential)
{
    const char *text, *until, *vhost;

    if (!core_play_looks(credential) || !core_signing_key()) {
        return 0;
    }
    text = gb_signed_text(core_signing_key(), credential + strlen(MARK), r->pool);
    if (!text || strncmp(text, PURPOSE "\n", strlen(PURPOSE) + 1) != 0) {
        return 0;
    }
    until = text + strlen(PURPOSE) + 1;
    vhost = strchr(until, '\n');
    return vhost && strcmp(vhost + 1, core_conf_get(r->server)->vhost) == 0
           && apr_atoi64(until) >= apr_time_sec(apr_time_now());
}

/* A key that is not there, or rests, is refused as one that files are bound to would be. */
void core_play_bind(request_rec *r, gb_plan_t *plan, const gb_caller_t *caller)
{
    const char *key = apr_table_get(r->headers_in, KEY_FIELD);

    if (key && strcmp(caller->name, CORE_PLAY_CALLER) == 0 && !caller->by_apache
        && core_play_is(r, core_request_get(r)->credential)) {
        apr_cpystrn(plan->required_id, key, sizeof(plan->required_id));
    }
}
