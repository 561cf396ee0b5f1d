/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a status is called in the two protocols.  Where the words go in a body
 * is each dialect's affair.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_strings.h>

typedef struct status_words_t {
    int status;
    const char *openai;
    const char *google;
} status_words_t;

/* One row a status; the two last rows catch the rest of 4xx and of 5xx. */
static const status_words_t status_words[] = {
    {400, "invalid_request_error", "INVALID_ARGUMENT"  },
    {401, "invalid_request_error", "UNAUTHENTICATED"   },
    {402, "insufficient_quota",    "RESOURCE_EXHAUSTED"},
    {403, "invalid_request_error", "PERMISSION_DENIED" },
    {404, "invalid_request_error", "NOT_FOUND"         },
    {405, "invalid_request_error", "UNIMPLEMENTED"     },
    {408, "invalid_request_error", "DEADLINE_EXCEEDED" },
    {409, "invalid_request_error", "ABORTED"           },
    {413, "invalid_request_error", "INVALID_ARGUMENT"  },
    {415, "invalid_request_error", "INVALID_ARGUMENT"  },
    {429, "requests",              "RESOURCE_EXHAUSTED"},
    {499, "server_error",          "CANCELLED"         },
    {500, "server_error",          "INTERNAL"          },
    {501, "server_error",          "UNIMPLEMENTED"     },
    {502, "server_error",          "UNAVAILABLE"       },
    {503, "server_error",          "UNAVAILABLE"       },
    {504, "server_error",          "DEADLINE_EXCEEDED" },
    {0,   "invalid_request_error", "INVALID_ARGUMENT"  },
    {0,   "server_error",          "INTERNAL"          },
};

#define STATUS_ROWS (sizeof(status_words) / sizeof(status_words[0]))

static const status_words_t *words_of(int status)
{
    size_t i;

    for (i = 0; i < STATUS_ROWS; i++) {
        if (status_words[i].status == status && status != 0) {
            return &status_words[i];
        }
    }
    return &status_words[STATUS_ROWS - (status >= 400 && status < 500 ? 2 : 1)];
}

/* A message that was cut must not end inside a UTF-8 sequence: it goes into JSON. */
static void trim_utf8(char *text)
{
    size_t len = strlen(text);
    size_t back = 0;
    unsigned char lead;
    size_t want;

    while (back < len && back < 4 && ((unsigned char)text[len - 1 - back] & 0xc0) == 0x80) {
        back++;
    }
    if (back == len || back == 4) {
        return;
    }
    lead = (unsigned char)text[len - 1 - back];
    want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (back < want) {
        text[len - 1 - back] = '\0';
    }
}

apr_status_t gb_error_set(gb_error_t *err, int status, const char *code, const char *param,
                          const char *fmt, ...)
{
    va_list ap;
    int n;

    memset(err, 0, sizeof(*err));
    err->status = status;
    apr_cpystrn(err->code, code != NULL ? code : "", sizeof(err->code));
    apr_cpystrn(err->param, param != NULL ? param : "", sizeof(err->param));
    va_start(ap, fmt);
    n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    if (n < 0) {
        err->message[0] = '\0';
    }
    else if ((size_t)n >= sizeof(err->message)) {
        trim_utf8(err->message);
    }
    return APR_EGENERAL;
}

const char *gb_error_openai_type(const gb_error_t *err)
{
    return err->type[0] != '\0' ? err->type : words_of(err->status)->openai;
}

const char *gb_error_google_status(const gb_error_t *err)
{
    return err->google_status[0] != '\0' ? err->google_status : words_of(err->status)->google;
}
