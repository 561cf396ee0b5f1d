/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and loading the files that tests replay.  What they mean is the tests' business. */
#include "replay.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *env_or(const char *name, const char *fallback)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : fallback;
}

static void one_file(const char *path, replay_fn *fn, void *baton)
{
    json_error_t error;
    json_t *doc = json_load_file(path, JSON_ALLOW_NUL, &error);
    const char *slash = strrchr(path, '/');
    char name[256];

    if (doc == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
        return;
    }
    snprintf(name, sizeof(name), "%s", slash != NULL ? slash + 1 : path);
    name[strlen(name) - 5] = '\0';
    fn(baton, name, doc);
    json_decref(doc);
}

static int each_file(const char *pattern, replay_fn *fn, void *baton)
{
    glob_t found;
    size_t i;
    int n = 0;

    if (glob(pattern, 0, NULL, &found) != 0) {
        return 0;
    }
    for (i = 0; i < found.gl_pathc; i++, n++) {
        one_file(found.gl_pathv[i], fn, baton);
    }
    globfree(&found);
    return n;
}

int replay_cases(const char *group, replay_fn *fn, void *baton)
{
    char pattern[1024];
    int n;

    snprintf(pattern, sizeof(pattern), "%s/test/cases/%s/*.json", env_or("GB_SRCDIR", "."), group);
    n = each_file(pattern, fn, baton);
    if (n == 0) {
        fail_msg("no cases: %s", pattern);
    }
    return n;
}

int replay_recordings(const char *group, replay_fn *fn, void *baton)
{
    char shared[512];
    char pattern[1024];
    int n;

    snprintf(shared, sizeof(shared), "%s/../shared", env_or("GB_SRCDIR", "."));
    snprintf(pattern, sizeof(pattern), "%s/fixtures/open/%s/*.json", env_or("GB_SHARED", shared),
             group);
    n = each_file(pattern, fn, baton);
    if (n == 0 && strcmp(env_or("CI", ""), "true") == 0) {
        fail_msg("no recordings: %s", pattern);
    }
    if (n == 0) {
        print_message("skipped: no recordings at %s (set GB_SHARED)\n", pattern);
    }
    return n;
}
