/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts of pictures: what each wants to be sent, and where its answer has the
 * address.  A table; sending is hosting.c's.
 */
#include "upstream/hosting.h"

#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "base/secret.h"
#include "base/sign.h"

/* ---- what they share ---- */

/* A form of one file. */
static void form_make(gb_hosting_request_t *request, const char *field,
                      const gb_hosting_name_t *name, apr_pool_t *p)
{
    request->head = apr_psprintf(p,
                                 "--gbalance%s\r\nContent-Disposition: form-data; name=\"%s\"; "
                                 "filename=\"%s\"\r\nContent-Type: %s\r\n\r\n",
                                 name->base, field, name->name, name->type);
    request->tail = apr_pstrcat(p, "\r\n--gbalance", name->base, "--\r\n", NULL);
    request->method = "POST";
    request->headers[0] = apr_pstrcat(p, "Content-Type: multipart/form-data; boundary=gbalance",
                                      name->base, NULL);
}

/* Letters, digits, - . _ ~ and those of also stand as they are. */
static const char *escape_but(const char *text, const char *also, apr_pool_t *p)
{
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = apr_palloc(p, strlen(text) * 3 + 1), *to = escaped;

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
            || strchr("-._~", c) != NULL || strchr(also, c) != NULL) {
            *to++ = (char)c;
        }
        else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to = '\0';
    return escaped;
}

/* For a query. */
static const char *escape(const char *text, apr_pool_t *p)
{
    return escape_but(text, "", p);
}

static const char *text_of(gb_span_t value, apr_pool_t *p)
{
    size_t len;

    return gb_json_str(value, &len, p);
}

/* The first of these members that is a text, as the reason why there is no address. */
static const char *reason(gb_span_t answer, const char *const *paths, apr_pool_t *p)
{
    for (; *paths != NULL; paths++) {
        const char *text = text_of(gb_json_path(answer, *paths), p);

        if (text != NULL && *text != '\0') {
            return apr_pstrcat(p, "it says: ", apr_pstrndup(p, text, 200), NULL);
        }
    }
    return "its answer holds no address";
}

/* scheme://host of an address, without a slash at its end. */
static const char *origin(const char *url, apr_pool_t *p)
{
    const char *host = strstr(url, "://");

    host = host != NULL ? host + 3 : url;
    return apr_pstrndup(p, url, (apr_size_t)(host - url) + strcspn(host, "/?#"));
}

/* ---- sm.ms ---- */

static int smms_is_set(const gb_settings_t *settings)
{
    return *settings->smms_secret_token != '\0';
}

static void smms_prepare(gb_hosting_request_t *request, const gb_settings_t *settings,
                         const gb_hosting_name_t *name, apr_pool_t *p)
{
    form_make(request, "smfile", name, p);
    request->url = settings->smms_api_url;
    request->headers[1] = apr_pstrcat(p, "Authorization: Basic ", settings->smms_secret_token,
                                      NULL);
}

/* A picture that it has already is told as an error, with its address. */
static const char *smms_read(gb_span_t answer, const gb_settings_t *settings, const char **why,
                             apr_pool_t *p)
{
    static const char *const reasons[] = {"message", "code", NULL};
    const char *url = text_of(gb_json_path(answer, "data.url"), p);

    (void)settings;
    if (url == NULL && gb_json_eq(gb_json_get(answer, "code"), "image_repeated")) {
        url = text_of(gb_json_get(answer, "images"), p);
    }
    *why = reason(answer, reasons, p);
    return url;
}

/* ---- PicGo ---- */

static int picgo_is_set(const gb_settings_t *settings)
{
    return *settings->picgo_api_key != '\0' && *settings->picgo_api_url != '\0';
}

static int is_picgo_net(const char *url, apr_pool_t *p)
{
    static const char site[] = "picgo.net";
    const char *host = strstr(origin(url, p), "://");
    size_t len = host != NULL ? strcspn(host + 3, ":") : 0;

    return len >= sizeof(site) - 1
           && strncasecmp(host + 3 + len - (sizeof(site) - 1), site, sizeof(site) - 1) == 0;
}

/* picgo.net takes the key as a header, a PicGo server of one's own in the query. */
static void picgo_prepare(gb_hosting_request_t *request, const gb_settings_t *settings,
                          const gb_hosting_name_t *name, apr_pool_t *p)
{
    const char *url = settings->picgo_api_url;

    form_make(request, "source", name, p);
    if (is_picgo_net(url, p)) {
        request->url = url;
        request->headers[1] = apr_pstrcat(p, "X-API-Key: ", settings->picgo_api_key, NULL);
    }
    else {
        request->url = apr_pstrcat(p, url, strchr(url, '?') != NULL ? "&key=" : "?key=",
                                   escape(settings->picgo_api_key, p), NULL);
    }
}

static const char *picgo_read(gb_span_t answer, const gb_settings_t *settings, const char **why,
                              apr_pool_t *p)
{
    static const char *const reasons[] = {"error.message", "message", "status_txt", "msg", NULL};
    const char *url = text_of(gb_json_path(answer, "image.url"), p);
    int success = 0;

    (void)settings;
    if (url == NULL && gb_json_bool(gb_json_get(answer, "success"), &success) && success) {
        url = text_of(gb_json_path(answer, "result.0"), p);
    }
    *why = reason(answer, reasons, p);
    return url;
}

/* ---- Cloudflare image bed ---- */

static int imgbed_is_set(const gb_settings_t *settings)
{
    return *settings->cloudflare_imgbed_url != '\0';
}

static void imgbed_prepare(gb_hosting_request_t *request, const gb_settings_t *settings,
                           const gb_hosting_name_t *name, apr_pool_t *p)
{
    const char *url = settings->cloudflare_imgbed_url;
    const char *folder = settings->cloudflare_imgbed_upload_folder;

    form_make(request, "file", name, p);
    url = apr_pstrcat(p, url, strchr(url, '?') != NULL ? "&" : "?", "uploadNameType=origin", NULL);
    if (*settings->cloudflare_imgbed_auth_code != '\0') {
        url = apr_pstrcat(p, url, "&authCode=", escape(settings->cloudflare_imgbed_auth_code, p),
                          NULL);
    }
    request->url = *folder != '\0' ? apr_pstrcat(p, url, "&uploadFolder=", escape(folder, p), NULL)
                                   : url;
}

/* [{"src":"/file/..."}], below the host that was asked. */
static const char *imgbed_read(gb_span_t answer, const gb_settings_t *settings, const char **why,
                               apr_pool_t *p)
{
    static const char *const reasons[] = {"error", "message", NULL};
    const char *src = text_of(gb_json_path(answer, "0.src"), p);

    *why = reason(answer, reasons, p);
    return src != NULL && *src == '/' ? apr_pstrcat(p, origin(settings->cloudflare_imgbed_url, p),
                                                    escape_but(src, "/%?=&", p), NULL)
                                      : src;
}

/* ---- Aliyun OSS ---- */

static int oss_is_set(const gb_settings_t *settings)
{
    return *settings->oss_endpoint != '\0' && *settings->oss_bucket_name != '\0'
           && *settings->oss_access_key != '\0' && *settings->oss_access_key_secret != '\0';
}

/* https://BUCKET.ENDPOINT/OBJECT; an endpoint may bring its scheme. */
static const char *oss_url(const char *endpoint, const char *bucket, const char *object,
                           apr_pool_t *p)
{
    const char *host = strstr(endpoint, "://");
    const char *scheme = host != NULL ? apr_pstrmemdup(p, endpoint, (apr_size_t)(host - endpoint))
                                      : "https";

    host = host != NULL ? host + 3 : endpoint;
    return apr_pstrcat(p, scheme, "://", bucket, ".", apr_pstrndup(p, host, strcspn(host, "/")),
                       "/", object, NULL);
}

/* Its signature of version 1: what HTTP says of the upload, by HMAC-SHA1. */
static void oss_prepare(gb_hosting_request_t *request, const gb_settings_t *settings,
                        const gb_hosting_name_t *name, apr_pool_t *p)
{
    const char *inner = *settings->oss_endpoint_inner != '\0' ? settings->oss_endpoint_inner
                                                              : settings->oss_endpoint;
    const char *object, *to_sign;
    char date[APR_RFC822_DATE_LEN];
    apr_time_exp_t day;

    apr_time_exp_gmt(&day, name->now);
    apr_rfc822_date(date, name->now);
    object = apr_psprintf(p, "%04d/%02d/%02d/%s", day.tm_year + 1900, day.tm_mon + 1, day.tm_mday,
                          name->name);
    to_sign = apr_pstrcat(p, "PUT\n\n", name->type, "\n", date, "\n/", settings->oss_bucket_name,
                          "/", object, NULL);
    request->method = "PUT";
    request->url = oss_url(inner, settings->oss_bucket_name, object, p);
    request->head = request->tail = "";
    request->result = oss_url(settings->oss_endpoint, settings->oss_bucket_name, object, p);
    request->headers[0] = apr_pstrcat(p, "Content-Type: ", name->type, NULL);
    request->headers[1] = apr_pstrcat(p, "Date: ", date, NULL);
    request->headers[2] = apr_pstrcat(p, "Authorization: OSS ", settings->oss_access_key, ":",
                                      gb_hmac_sha1(settings->oss_access_key_secret, to_sign, p),
                                      NULL);
}

/* ---- the table ---- */

static const gb_host_t hosts[] = {
    {"smms",              smms_is_set,   smms_prepare,   smms_read  },
    {"picgo",             picgo_is_set,  picgo_prepare,  picgo_read },
    {"cloudflare_imgbed", imgbed_is_set, imgbed_prepare, imgbed_read},
    {"aliyun_oss",        oss_is_set,    oss_prepare,    NULL       },
};

const gb_host_t *gb_host_find(const gb_settings_t *settings)
{
    size_t i;

    for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (strcmp(settings->upload_provider, hosts[i].name) == 0) {
            return hosts[i].is_set(settings) ? &hosts[i] : NULL;
        }
    }
    return NULL;
}
