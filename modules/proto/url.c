/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of mistakes that clients make with base URLs, and the few of them
 * that are mended always: slashes in a row, a version in a row, no version
 * before an OpenAI path.
 */
#include "proto/url.h"

#include <ctype.h>
#include <string.h>

#include <apr_strings.h>

#define MAX_STEPS 4

/* ---- what a path says by itself ---- */

typedef struct resource_t {
    const char *path;
    int only;     /* Google's native API has nothing of that name */
    int peculiar; /* no site would call a page of its own so */
} resource_t;

static const resource_t openai[] = {
    {"chat/completions",     1, 1},
    {"completions",          1, 0},
    {"embeddings",           1, 0},
    {"responses",            1, 0},
    {"moderations",          1, 0},
    {"images/generations",   1, 1},
    {"images/edits",         1, 0},
    {"audio/speech",         1, 1},
    {"audio/transcriptions", 1, 1},
    {"audio/translations",   1, 1},
    {"models",               0, 0},
    {"files",                0, 0},
    {"batches",              0, 0},
};

static const char *const gemini[] = {
    "models",   "tunedModels",  "dynamic",          "files",          "cachedContents",
    "batches",  "operations",   "fileSearchStores", "generatedFiles", "corpora",
    "voices",   "interactions", "agents",           "credentials",    "environments",
    "triggers", "webhooks",     "decisions",
};

#define N_OPENAI (sizeof(openai) / sizeof(openai[0]))
#define N_GEMINI (sizeof(gemini) / sizeof(gemini[0]))

/* Whether path is what, or below it; a colon ends a segment too. */
static int is_below(const char *path, const char *what)
{
    size_t len = strlen(what);

    return strncmp(path, what, len) == 0
           && (path[len] == '\0' || path[len] == '/' || path[len] == ':');
}

static const resource_t *openai_resource(const char *rest)
{
    size_t i;

    for (i = 0; i < N_OPENAI; i++) {
        if (is_below(rest, openai[i].path)) {
            return &openai[i];
        }
    }
    return NULL;
}

/* "models/m:generateContent": nobody else writes that. */
static int is_gemini_call(const char *rest)
{
    return (strncmp(rest, "models/", 7) == 0 || strncmp(rest, "tunedModels/", 12) == 0
            || strncmp(rest, "dynamic/", 8) == 0)
           && strchr(rest, ':') != NULL;
}

static int is_openai(const char *rest)
{
    return openai_resource(rest) != NULL && !is_gemini_call(rest);
}

static int is_openai_only(const char *rest)
{
    const resource_t *resource = openai_resource(rest);

    return resource != NULL && resource->only;
}

static int is_gemini(const char *rest)
{
    size_t i;

    for (i = 0; i < N_GEMINI; i++) {
        if (is_below(rest, gemini[i])) {
            return 1;
        }
    }
    return 0;
}

static int is_upload(const char *rest)
{
    return is_below(rest, "upload");
}

static int is_publisher(const char *rest)
{
    return is_below(rest, "publishers/google");
}

/* ---- the table ---- */

typedef struct mistake_t {
    const char *from; /* the path begins so */
    int (*rest)(const char *rest);
    const char *to; /* and should begin so */
} mistake_t;

/* The more is said by `from`, the earlier it stands. */
static const mistake_t mistakes[] = {
  /* Google's own address of its OpenAI format, with and without a version too many */
    {"/gemini/v1beta/openai/v1/",                     is_openai,      "/openai/v1/"            },
    {"/gemini/v1beta/openai/",                        is_openai,      "/openai/v1/"            },
    {"/v1beta/openai/v1/",                            is_openai,      "/openai/v1/"            },
    {"/v1beta/openai/",                               is_openai,      "/openai/v1/"            },
    {"/openai/v1beta/",                               is_openai,      "/openai/v1/"            },
    {"/v1/openai/v1/",                                is_openai,      "/openai/v1/"            },
    {"/v1/openai/",                                   is_openai,      "/openai/v1/"            },
    {"/v1/hf/v1/",                                    is_openai,      "/hf/v1/"                },
 /* the prefix of a surface twice */
    {"/openai/v1/openai/v1/",                         is_openai,      "/openai/v1/"            },
    {"/hf/v1/hf/v1/",                                 is_openai,      "/hf/v1/"                },
    {"/gemini/v1beta/gemini/v1beta/",                 is_gemini,      "/gemini/v1beta/"        },
    {"/gemini/gemini/v1beta/",                        is_gemini,      "/gemini/v1beta/"        },
    {"/v1beta/gemini/v1beta/",                        is_gemini,      "/gemini/v1beta/"        },
    {"/vertex-express/v1beta/vertex-express/v1beta/", is_gemini,      "/vertex-express/v1beta/"},
    {"/vertex-express/v1/vertex-express/v1/",         is_openai,      "/vertex-express/v1/"    },
 /* a whole endpoint as the base URL */
    {"/v1/chat/completions/v1/",                      is_openai,      "/v1/"                   },
    {"/v1/chat/completions/",                         is_openai,      "/v1/"                   },
    {"/openai/v1/chat/completions/",                  is_openai,      "/openai/v1/"            },
    {"/hf/v1/chat/completions/",                      is_openai,      "/hf/v1/"                },
 /* the version of the other protocol */
    {"/v1beta/v1/",                                   is_openai_only, "/v1/"                   },
    {"/v1beta/v1/",                                   is_gemini_call, "/v1beta/"               },
    {"/v1beta/",                                      is_openai_only, "/v1/"                   },
    {"/v1/v1beta/",                                   is_gemini,      "/v1beta/"               },
    {"/v1/",                                          is_gemini_call, "/v1beta/"               },
    {"/vertex-express/v1/",                           is_gemini_call, "/vertex-express/v1beta/"},
    {"/vertex-express/v1beta/",                       is_openai_only, "/vertex-express/v1/"    },
 /* no version */
    {"/openai/",                                      is_openai,      "/openai/v1/"            },
    {"/hf/",                                          is_openai,      "/hf/v1/"                },
    {"/vertex-express/",                              is_gemini_call, "/vertex-express/v1beta/"},
    {"/vertex-express/",                              is_openai_only, "/vertex-express/v1/"    },
    {"/gemini/",                                      is_gemini,      "/gemini/v1beta/"        },
    {"/",                                             is_gemini_call, "/v1beta/"               },
};

/* What an SDK's own example of a base URL produces: mended always. */
static const mistake_t always[] = {
    {"/v1beta/",                 is_upload,    "/"                      },
    {"/gemini/v1beta/",          is_upload,    "/gemini/"               },
    {"/vertex-express/v1beta1/", is_publisher, "/vertex-express/v1beta/"},
    {"/vertex-express/v1/",      is_publisher, "/vertex-express/v1beta/"},
};

#define N_MISTAKES (sizeof(mistakes) / sizeof(mistakes[0]))
#define N_ALWAYS   (sizeof(always) / sizeof(always[0]))

static const char *apply(const mistake_t *rows, size_t n, const char *path, apr_pool_t *p)
{
    size_t i;

    for (i = 0; i < n; i++) {
        size_t len = strlen(rows[i].from);

        if (strncmp(path, rows[i].from, len) == 0 && rows[i].rest(path + len)) {
            return apr_pstrcat(p, rows[i].to, path + len, NULL);
        }
    }
    return NULL;
}

/* ---- what is mended always ---- */

static int is_version(const char *segment, size_t len)
{
    size_t i;

    if (len < 2 || segment[0] != 'v' || !isdigit((unsigned char)segment[1])) {
        return 0;
    }
    for (i = 1; i < len && isdigit((unsigned char)segment[i]); i++) {
    }
    if (i < len
        && (strncmp(segment + i, "beta", 4) == 0 || strncmp(segment + i, "alpha", 5) == 0)) {
        i += segment[i] == 'b' ? 4 : 5;
    }
    while (i < len && isdigit((unsigned char)segment[i])) {
        i++;
    }
    return i == len;
}

/* Slashes in a row count as one, and so does a version that stands twice. */
static const char *collapse(const char *path, apr_pool_t *p)
{
    char *out = apr_palloc(p, strlen(path) + 1);
    char *to = out;
    const char *before = "";
    size_t before_len = 0;

    while (*path != '\0') {
        size_t slashes = strspn(path, "/");
        size_t len = strcspn(path + slashes, "/");
        const char *segment = path + slashes;

        path = segment + len;
        if (len == before_len && is_version(segment, len) && memcmp(segment, before, len) == 0) {
            continue;
        }
        if (slashes > 0) {
            *to++ = '/';
        }
        memcpy(to, segment, len);
        to += len;
        before = segment;
        before_len = len;
    }
    *to = '\0';
    return out;
}

/* OpenAI's paths without /v1; what a site might have too only for callers with a credential. */
static const char *add_version(const char *path, unsigned flags, apr_pool_t *p)
{
    const resource_t *resource = is_openai(path + 1) ? openai_resource(path + 1) : NULL;

    return resource != NULL && (resource->peculiar || (flags & GB_URL_BARE))
               ? apr_pstrcat(p, "/v1", path, NULL)
               : NULL;
}

static const char *without_last_slash(const char *path, apr_pool_t *p)
{
    size_t len = strlen(path);

    return len > 1 && path[len - 1] == '/' ? apr_pstrmemdup(p, path, len - 1) : NULL;
}

static const char *step(const char *path, unsigned flags, apr_pool_t *p)
{
    const char *mended = apply(always, N_ALWAYS, path, p);

    if (mended == NULL && (flags & GB_URL_MISTAKES)) {
        mended = apply(mistakes, N_MISTAKES, path, p);
        if (mended == NULL) {
            mended = without_last_slash(path, p);
        }
    }
    return mended != NULL ? mended : add_version(path, flags, p);
}

const char *gb_url_mend(const char *path, unsigned flags, apr_pool_t *p)
{
    const char *mended, *next;
    int i;

    if (path[0] != '/') {
        return NULL;
    }
    mended = collapse(path, p);
    for (i = 0; i < MAX_STEPS && (next = step(mended, flags, p)) != NULL; i++) {
        mended = collapse(next, p);
    }
    return strcmp(mended, path) != 0 ? mended : NULL;
}

const char *gb_url_version(const char *url)
{
    const char *slash = strrchr(url, '/');

    return slash != NULL && is_version(slash + 1, strlen(slash + 1)) ? slash + 1 : NULL;
}
