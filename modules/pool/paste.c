/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two forms: `AIza` and 35 more of [0-9A-Za-z_-], and `AQ.` and at least 20
 * more.  Neither may stand inside a longer word of those characters.
 */
#include "pool/paste.h"

#include <string.h>
#include <apr_lib.h>

#define AIZA_LEN   39
#define AQ_LEAST   23
#define WORD_LEAST 8
#define WORD_MOST  512

static int is_key_char(char c)
{
    return apr_isalnum(c) || c == '_' || c == '-';
}

static apr_size_t run_of(const char *at, const char *end)
{
    const char *from = at;

    while (at < end && is_key_char(*at)) {
        at++;
    }
    return (apr_size_t)(at - from);
}

/* How long the key that begins here is; 0 = none does. */
static apr_size_t known_form(const char *at, const char *end)
{
    apr_size_t left = (apr_size_t)(end - at), len;

    if (left >= AIZA_LEN && memcmp(at, "AIza", 4) == 0) {
        return run_of(at, end) == AIZA_LEN ? AIZA_LEN : 0;
    }
    if (left >= AQ_LEAST && memcmp(at, "AQ.", 3) == 0) {
        len = 3 + run_of(at + 3, end);
        return len >= AQ_LEAST ? len : 0;
    }
    return 0;
}

static int next_known(gb_paste_t *paste, const char **key, apr_size_t *len)
{
    const char *begin = paste->at;

    for (; paste->at < paste->end; paste->at++) {
        apr_size_t found;

        if (paste->at > begin && is_key_char(paste->at[-1])) {
            continue;
        }
        found = known_form(paste->at, paste->end);
        if (found) {
            *key = paste->at;
            *len = found;
            paste->at += found;
            return 1;
        }
    }
    return 0;
}

static int is_separator(char c)
{
    return (unsigned char)c <= 0x20 || (unsigned char)c >= 0x7f || strchr(",;|\"'`()[]{}<>", c);
}

/* Behind the name of an assignment in a .env file; a key may hold any other `=`. */
static const char *behind_name(const char *from, const char *end)
{
    const char *at = from;

    while (at < end && (apr_isupper(*at) || apr_isdigit(*at) || *at == '_')) {
        at++;
    }
    return at > from && at < end && *at == '=' ? at + 1 : from;
}

/* Words of a fair length. */
static int next_word(gb_paste_t *paste, const char **key, apr_size_t *len)
{
    while (paste->at < paste->end) {
        const char *from;

        while (paste->at < paste->end && is_separator(*paste->at)) {
            paste->at++;
        }
        from = paste->at;
        while (paste->at < paste->end && !is_separator(*paste->at)) {
            paste->at++;
        }
        *key = behind_name(from, paste->at);
        *len = (apr_size_t)(paste->at - *key);
        if (*len >= WORD_LEAST && *len <= WORD_MOST) {
            return 1;
        }
    }
    return 0;
}

void gb_paste_begin(gb_paste_t *paste, const char *text, apr_size_t len)
{
    const char *key;
    apr_size_t found;

    paste->at = text;
    paste->end = text + len;
    paste->opaque = !next_known(paste, &key, &found);
    paste->at = text;
}

int gb_paste_next(gb_paste_t *paste, const char **key, apr_size_t *len)
{
    return paste->opaque ? next_word(paste, key, len) : next_known(paste, key, len);
}

/* ---- what only looks like a key ---- */

static const struct {
    const char *begins;
    int is_cut;
} odd_forms[] = {
    {"AIza", 1},
    {"AQ.",  1},
    {"sk-",  0},
    {"gsk_", 0},
    {"xai-", 0},
    {"hf_",  0},
};

static int odd_form(const char *at, apr_size_t len, int *is_cut)
{
    apr_size_t i, n;

    for (i = 0; i < sizeof(odd_forms) / sizeof(odd_forms[0]); i++) {
        n = strlen(odd_forms[i].begins);
        if (len >= n + 4 && memcmp(at, odd_forms[i].begins, n) == 0) {
            *is_cut = odd_forms[i].is_cut;
            return !*is_cut || known_form(at, at + len) == 0;
        }
    }
    return 0;
}

int gb_paste_odd(gb_paste_t *paste, const char **word, apr_size_t *len, int *is_cut)
{
    while (!paste->opaque && paste->at < paste->end) {
        const char *from;

        while (paste->at < paste->end && !is_key_char(*paste->at)) {
            paste->at++;
        }
        from = paste->at;
        while (paste->at < paste->end && (is_key_char(*paste->at) || *paste->at == '.')) {
            paste->at++;
        }
        *len = (apr_size_t)(paste->at - from);
        if (odd_form(from, *len, is_cut)) {
            *word = from;
            return 1;
        }
    }
    return 0;
}
