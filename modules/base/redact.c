/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting credentials out of texts that come from elsewhere (Google's error
 * messages echo keys and project numbers).  One pass over the text: a rule is
 * tried only where its first letter stands, and what it takes is not looked at
 * again.  It rather cuts too much than too little.
 */
#include "base/secret.h"

#include <string.h>
#include <strings.h>

#define CUT "[redacted]"

/*
 * A word, what may stand between it and the secret, and the secret itself: a
 * run of at least `least` characters of a class.
 */
typedef struct redact_rule_t {
    const char *word;    /* any case unless exact */
    int exact;           /* the word's case counts and it is part of the secret */
    const char *between; /* any number of these */
    int needs_between;
    int digits; /* the secret is a number; otherwise a token */
    size_t least;
} redact_rule_t;

static const redact_rule_t rules[] = {
  /* clang-format off */
    {"AIza",           1, "",      0, 0, 20},
    {"AQ.",            1, "",      0, 0, 8},
    {"sk-",            1, "",      0, 0, 16},
    {"key=",           0, "\"'",   0, 0, 1},
    {"key:",           0, "\"'",   0, 0, 6},
    {"key\":",         0, "\"' ",  0, 0, 6},
    {"token=",         0, "\"'",   0, 0, 1},
    {"Bearer",         0, " ",     1, 0, 1},
    {"projects",       0, "/ =:",  1, 1, 6},
    {"project",        0, "/ =:",  1, 1, 6},
    {"project_number", 0, "/ =:",  1, 1, 6},
  /* clang-format on */
};

#define N_RULES (sizeof(rules) / sizeof(rules[0]))

static int is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int is_token(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("-_.~+/%", c) != NULL);
}

static const char *run_end(const char *p, const char *end, int digits)
{
    const char *from = p;

    while (p < end && (digits ? *p >= '0' && *p <= '9' : is_token(*p))) {
        p++;
    }
    /* the full stop of a sentence is none of the token's */
    while (p > from && p[-1] == '.') {
        p--;
    }
    return p;
}

/* The end of what rule cuts at p, NULL when it does not fit; *from is where the cut begins. */
static const char *rule_fits(const redact_rule_t *rule, const char *p, const char *end,
                             const char **from)
{
    size_t len = strlen(rule->word);
    const char *at, *stop;

    if ((size_t)(end - p) < len
        || (rule->exact ? memcmp(p, rule->word, len) : strncasecmp(p, rule->word, len)) != 0) {
        return NULL;
    }
    at = p + len;
    while (at < end && *at != '\0' && strchr(rule->between, *at) != NULL) {
        at++;
    }
    if (rule->needs_between && at == p + len) {
        return NULL;
    }
    stop = run_end(at, end, rule->digits);
    if ((size_t)(stop - at) < rule->least) {
        return NULL;
    }
    *from = rule->exact ? p : at;
    return stop;
}

/* "FAQ.html" holds no key: an exact word stands at the beginning of a token. */
static const char *any_rule_fits(const char *text, const char *p, const char *end,
                                 const char **from)
{
    size_t i;

    for (i = 0; i < N_RULES; i++) {
        const char *stop;

        if ((rules[i].word[0] | 0x20) != (*p | 0x20)
            || (rules[i].exact && p > text && is_alnum(p[-1]))) {
            continue;
        }
        stop = rule_fits(&rules[i], p, end, from);
        if (stop != NULL) {
            return stop;
        }
    }
    return NULL;
}

static const char *next_secret(const char *p, const char *end, const char *secret, size_t len)
{
    const char *at = len > 0 ? memmem(p, (size_t)(end - p), secret, len) : NULL;

    return at != NULL ? at : end;
}

apr_status_t gb_redact(gb_buf_t *out, const char *text, size_t len, const char *secret)
{
    size_t secret_len = secret != NULL ? strlen(secret) : 0;
    const char *end = text + len;
    const char *copied = text;
    const char *p = text;
    const char *found = next_secret(p, end, secret, secret_len);

    while (p < end) {
        const char *from = p;
        const char *stop = p == found ? p + secret_len : any_rule_fits(text, p, end, &from);

        if (stop == NULL) {
            p++;
            continue;
        }
        if (found < stop && found + secret_len > stop) {
            stop = found + secret_len;
        }
        gb_buf_append(out, copied, (size_t)(from - copied));
        gb_buf_puts(out, CUT);
        copied = p = stop;
        if (found < p) {
            found = next_secret(p, end, secret, secret_len);
        }
    }
    return gb_buf_append(out, copied, (size_t)(end - copied));
}
