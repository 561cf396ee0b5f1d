/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts of pictures are sent: the parts that no double on this machine can
 * ask for, picgo.net's header and a signature of Aliyun OSS made elsewhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <apr_general.h>

#include "base/sign.h"
#include "upstream/hosting.h"

static const gb_hosting_name_t name = {"0123456789abcdef0123456789abcdef",
                                       "0123456789abcdef0123456789abcdef.png", "image/png", 0};

static void set(gb_settings_t *settings, const char *setting, const char *value, apr_pool_t *p)
{
    const char *why = NULL;

    assert_int_equal(gb_settings_set(settings, gb_settings_find(setting), value, &why, p),
                     APR_SUCCESS);
}

static gb_hosting_request_t prepare(gb_settings_t *settings, apr_pool_t *p)
{
    gb_hosting_request_t request;
    const gb_host_t *host = gb_host_find(settings);

    memset(&request, 0, sizeof(request));
    assert_non_null(host);
    host->prepare(&request, settings, &name, p);
    return request;
}

static void test_picgo(void **state)
{
    static const struct {
        const char *url, *sent, *header;
    } cases[] = {
        {"https://www.picgo.net/api/1/upload", "https://www.picgo.net/api/1/upload",
         "X-API-Key: k"                                                                                  },
        {"https://PICGO.NET:443/api",          "https://PICGO.NET:443/api",                "X-API-Key: k"},
        {"https://example.org/api/1/upload",   "https://example.org/api/1/upload?key=k",   NULL          },
        {"http://picgo.net.example.org/u?a=b", "http://picgo.net.example.org/u?a=b&key=k", NULL          },
        {"http://127.0.0.1:36677/upload",      "http://127.0.0.1:36677/upload?key=k",      NULL          },
    };
    gb_hosting_request_t request;
    gb_settings_t *settings;
    apr_pool_t *p;
    size_t i;

    (void)state;
    apr_pool_create(&p, NULL);
    settings = gb_settings_make(p);
    set(settings, "UPLOAD_PROVIDER", "picgo", p);
    assert_null(gb_host_find(settings));
    set(settings, "PICGO_API_KEY", "k", p);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        set(settings, "PICGO_API_URL", cases[i].url, p);
        request = prepare(settings, p);
        assert_string_equal(request.method, "POST");
        assert_string_equal(request.url, cases[i].sent);
        if (cases[i].header != NULL) {
            assert_string_equal(request.headers[1], cases[i].header);
        }
        else {
            assert_null(request.headers[1]);
        }
    }
    apr_pool_destroy(p);
}

static void test_oss(void **state)
{
    gb_hosting_request_t request;
    gb_settings_t *settings;
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, NULL);
    settings = gb_settings_make(p);
    set(settings, "UPLOAD_PROVIDER", "aliyun_oss", p);
    set(settings, "OSS_ENDPOINT", "oss-cn-hangzhou.aliyuncs.com", p);
    set(settings, "OSS_ENDPOINT_INNER", "http://oss-cn-hangzhou-internal.aliyuncs.com", p);
    set(settings, "OSS_BUCKET_NAME", "examplebucket", p);
    set(settings, "OSS_ACCESS_KEY", "id", p);
    assert_null(gb_host_find(settings));
    set(settings, "OSS_ACCESS_KEY_SECRET", "secret", p);
    request = prepare(settings, p);
    assert_string_equal(request.method, "PUT");
    assert_string_equal(request.url,
                        "http://examplebucket.oss-cn-hangzhou-internal.aliyuncs.com/1970/01/01/"
                        "0123456789abcdef0123456789abcdef.png");
    assert_string_equal(request.result,
                        "https://examplebucket.oss-cn-hangzhou.aliyuncs.com/1970/01/"
                        "01/0123456789abcdef0123456789abcdef.png");
    assert_string_equal(request.headers[1], "Date: Thu, 01 Jan 1970 00:00:00 GMT");
    assert_non_null(strstr(request.headers[2], "Authorization: OSS id:"));
    apr_pool_destroy(p);
}

/* RFC 2202, case 2. */
static void test_signature(void **state)
{
    apr_pool_t *p;

    (void)state;
    apr_pool_create(&p, NULL);
    assert_string_equal(gb_hmac_sha1("Jefe", "what do ya want for nothing?", p),
                        "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    apr_pool_destroy(p);
}

static int setup(void **state)
{
    (void)state;
    return apr_initialize();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picgo),
        cmocka_unit_test(test_oss),
        cmocka_unit_test(test_signature),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
