/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of forms (see multipart.h).  A delimiter is CR LF "--" boundary: its
 * first byte stands nowhere else in it, so a search that breaks off never has to
 * look back further than the byte at hand.
 */
#include "base/multipart.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "base/buf.h"
#include "base/json_scan.h"

typedef enum {
    IN_PREAMBLE, /* before the first delimiter */
    IN_TAIL,     /* behind a delimiter: a line end, or the "--" of the last one */
    IN_HEAD,
    IN_CONTENT,
    IN_EPILOGUE
} where_t;

typedef enum { TAIL_START, TAIL_DASH, TAIL_BLANK, TAIL_CR } tail_t;

struct gb_form_t {
    apr_pool_t *pool;
    apr_array_header_t *parts;
    char delimiter[GB_FORM_MAX_BOUNDARY + 5];
    size_t delimiter_len;
    where_t where;
    where_t before; /* the delimiter that is looked at */
    tail_t tail;
    size_t matched;       /* bytes of a delimiter, or of what may be one */
    size_t pending;       /* bytes since its first one */
    size_t position;      /* of the stream */
    gb_form_part_t *part; /* that is open */
    gb_buf_t head;
    const char *fault;
};

static apr_status_t fail(gb_form_t *form, const char *why)
{
    form->fault = why;
    return APR_EINVAL;
}

/* ---- values of headers ---- */

/* The value of one parameter, unquoted; *pat goes behind it. */
static char *value_read(const char **pat, apr_pool_t *p)
{
    const char *at = *pat;
    char *value, *to;
    size_t n;

    if (*at != '"') {
        n = strcspn(at, "; \t");
        *pat = at + n;
        return apr_pstrmemdup(p, at, n);
    }
    value = to = apr_palloc(p, strlen(at) + 1);
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\')) {
            at++; /* any other backslash is part of a Windows path */
        }
        *to++ = *at;
    }
    *to = '\0';
    *pat = at + (*at == '"');
    return value;
}

/* The parameter of that name behind the first ";" of a header's value; NULL. */
static char *param_get(const char *header, const char *name, apr_pool_t *p)
{
    size_t len = strlen(name);
    const char *at = header + strcspn(header, ";");
    char *value;

    while (*at == ';') {
        int found;

        at += 1 + strspn(at + 1, " \t;");
        found = strncasecmp(at, name, len) == 0 && at[len] == '=';
        at += strcspn(at, "=;");
        if (*at != '=') {
            continue;
        }
        at++;
        value = value_read(&at, p);
        if (found) {
            return value;
        }
        at += strcspn(at, ";");
    }
    return NULL;
}

/* Browsers escape these three by percent signs in names that are quoted. */
static void unescape(char *text)
{
    static const struct {
        const char *escape;
        char c;
    } escapes[] = {
        {"%22", '"' },
        {"%0D", '\r'},
        {"%0A", '\n'},
    };
    char *to = text;
    size_t i;

    while (*text != '\0') {
        for (i = 0; i < 3 && strncasecmp(text, escapes[i].escape, 3) != 0; i++) {
        }
        *to++ = i < 3 ? escapes[i].c : *text;
        text += i < 3 ? 3 : 1;
    }
    *to = '\0';
}

/* Bytes that are no UTF-8 become U+FFFD. */
static const char *clean(const char *text, apr_pool_t *p)
{
    const char *end = text + strlen(text);
    gb_buf_t out;
    size_t n;

    gb_buf_init_pool(&out, 4 * GB_FORM_MAX_HEAD, p);
    for (; text<end; text += n> 0 ? n : 1) {
        n = scan_utf8(text, end);
        gb_buf_append(&out, n > 0 ? text : "\xef\xbf\xbd", n > 0 ? n : 3);
    }
    return out.data != NULL ? out.data : "";
}

static int hex_pair(const char *at)
{
    char digits[4] = {'0', '0', 0, 0};

    if (at[0] == '\0' || at[1] == '\0') {
        return -1;
    }
    memcpy(digits + 2, at, 2);
    return scan_hex4(digits);
}

/* UTF-8''na%C3%AFve.png (RFC 5987); NULL when it is in another character set or broken. */
static const char *extended(const char *value, apr_pool_t *p)
{
    const char *at = strchr(value, '\'');
    char *text, *to;
    int c;

    if (at == NULL || strncasecmp(value, "utf-8'", 6) != 0 || (at = strchr(at + 1, '\'')) == NULL) {
        return NULL;
    }
    text = to = apr_palloc(p, strlen(at) + 1);
    for (at++; *at != '\0'; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        if ((c = hex_pair(at + 1)) <= 0) {
            return NULL;
        }
        *to++ = (char)c;
        at += 2;
    }
    *to = '\0';
    return text;
}

static apr_status_t disposition_read(gb_form_t *form, const char *value)
{
    gb_form_part_t *part = form->part;
    char *name = param_get(value, "name", form->pool);
    char *file = param_get(value, "filename", form->pool);
    const char *better = param_get(value, "filename*", form->pool);

    if (strncasecmp(value, "form-data", 9) != 0 || name == NULL) {
        return fail(form, "A part's Content-Disposition is not form-data with a name.");
    }
    unescape(name);
    part->name = clean(name, form->pool);
    if (file != NULL) {
        unescape(file);
    }
    better = better != NULL ? extended(better, form->pool) : NULL;
    if (better != NULL || file != NULL) {
        part->file_name = clean(better != NULL ? better : file, form->pool);
    }
    return APR_SUCCESS;
}

static apr_status_t header_read(gb_form_t *form, char *line)
{
    char *value = strchr(line, ':');

    if (value == NULL) {
        return fail(form, "A part has a header line without a colon.");
    }
    *value++ = '\0';
    value += strspn(value, " \t");
    if (strcasecmp(line, "Content-Disposition") == 0) {
        return disposition_read(form, value);
    }
    if (strcasecmp(line, "Content-Type") == 0) {
        form->part->type = clean(value, form->pool);
    }
    else if (strcasecmp(line, "Content-Transfer-Encoding") == 0
             && (strcasecmp(value, "base64") == 0 || strcasecmp(value, "quoted-printable") == 0)) {
        return fail(form, "A part has a Content-Transfer-Encoding: send its bytes as they are.");
    }
    return APR_SUCCESS;
}

/* form->head holds all header lines of a part, each with its CR LF. */
static apr_status_t head_read(gb_form_t *form)
{
    char *line = form->head.data, *end;
    apr_status_t rv;

    if (form->parts->nelts >= GB_FORM_MAX_PARTS) {
        return fail(form, "The form has too many parts: at most 128 are taken.");
    }
    form->part = apr_array_push(form->parts);
    memset(form->part, 0, sizeof(*form->part));
    form->part->type = "";
    form->part->offset = form->position;
    if (memchr(line, '\0', form->head.len) != NULL) {
        return fail(form, "A part has a NUL byte in its headers.");
    }
    for (; (end = strstr(line, "\r\n")) != NULL && end > line; line = end + 2) {
        *end = '\0';
        if ((rv = header_read(form, line)) != APR_SUCCESS) {
            return rv;
        }
    }
    if (form->part->name == NULL) {
        return fail(form, "A part has no Content-Disposition with a name.");
    }
    return APR_SUCCESS;
}

/* ---- the stream ---- */

/* Until the whole of a delimiter was seen, which may have begun in an earlier piece. */
static const char *search(gb_form_t *form, const char *at, const char *end)
{
    while (at < end) {
        if (form->matched == 0) {
            const char *cr = memchr(at, '\r', (size_t)(end - at));

            if (cr == NULL) {
                form->position += (size_t)(end - at);
                return end;
            }
            form->position += (size_t)(cr + 1 - at);
            at = cr + 1;
            form->matched = form->pending = 1;
        }
        else if (*at != form->delimiter[form->matched]) {
            form->matched = form->pending = 0; /* the byte is looked at again */
        }
        else {
            at++;
            form->position++;
            form->pending++;
            if (++form->matched == form->delimiter_len) {
                form->before = form->where;
                form->where = IN_TAIL;
                form->tail = TAIL_START;
                return at;
            }
        }
    }
    return at;
}

/* What looked like a delimiter is content, up to the byte at hand. */
static const char *not_delimiter(gb_form_t *form, const char *at)
{
    form->where = form->before;
    form->matched = form->pending = form->tail == TAIL_CR ? 1 : 0; /* its CR may begin one */
    return at;
}

static void part_end(gb_form_t *form)
{
    if (form->part != NULL) {
        form->part->len = form->position - form->pending - form->part->offset;
        form->part = NULL;
    }
    form->matched = form->pending = 0;
}

/* One byte behind a delimiter's boundary. */
static const char *tail_read(gb_form_t *form, const char *at)
{
    char c = *at;

    if (form->tail == TAIL_START && c == '-') {
        form->tail = TAIL_DASH;
    }
    else if (form->tail == TAIL_DASH && c == '-') {
        part_end(form);
        form->where = IN_EPILOGUE;
    }
    else if ((form->tail == TAIL_START || form->tail == TAIL_BLANK) && (c == ' ' || c == '\t')) {
        form->tail = TAIL_BLANK;
    }
    else if ((form->tail == TAIL_START || form->tail == TAIL_BLANK) && c == '\r') {
        form->tail = TAIL_CR;
    }
    else if (form->tail == TAIL_CR && c == '\n') {
        part_end(form);
        gb_buf_reset(&form->head);
        form->where = IN_HEAD;
    }
    else {
        return not_delimiter(form, at);
    }
    form->position++;
    form->pending++;
    return at + 1;
}

static apr_status_t head_take(gb_form_t *form, const char **pat, const char *end)
{
    const char *at = *pat;
    const char *lf = memchr(at, '\n', (size_t)(end - at));
    size_t n = (size_t)((lf != NULL ? lf + 1 : end) - at);
    gb_buf_t *head = &form->head;

    if (gb_buf_append(head, at, n) != APR_SUCCESS) {
        return fail(form, "A part's headers are too long: at most 8 KiB are taken.");
    }
    form->position += n;
    *pat = at + n;
    if (lf == NULL || head->len < 2 || memcmp(head->data + head->len - 2, "\r\n", 2) != 0
        || (head->len > 2
            && (head->len < 4 || memcmp(head->data + head->len - 4, "\r\n\r\n", 4) != 0))) {
        return APR_SUCCESS; /* there is more */
    }
    form->where = IN_CONTENT;
    return head_read(form);
}

apr_status_t gb_form_feed(gb_form_t *form, const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len;
    apr_status_t rv = form->fault != NULL ? APR_EINVAL : APR_SUCCESS;

    while (at < end && rv == APR_SUCCESS) {
        switch (form->where) {
        case IN_PREAMBLE:
        case IN_CONTENT:
            at = search(form, at, end);
            break;
        case IN_TAIL:
            at = tail_read(form, at);
            break;
        case IN_HEAD:
            rv = head_take(form, &at, end);
            break;
        case IN_EPILOGUE:
            return APR_SUCCESS;
        }
    }
    return rv;
}

apr_status_t gb_form_end(gb_form_t *form)
{
    if (form->fault != NULL) {
        return APR_EINVAL;
    }
    if (form->where == IN_EPILOGUE) {
        return APR_SUCCESS;
    }
    return fail(form, form->parts->nelts == 0 && form->part == NULL
                          ? "The form holds no part that begins with the boundary of its "
                            "Content-Type."
                          : "The form broke off before its last boundary.");
}

const char *gb_form_fault(const gb_form_t *form)
{
    return form->fault;
}

const apr_array_header_t *gb_form_parts(const gb_form_t *form)
{
    return form->parts;
}

/* ---- making ---- */

static int boundary_ok(const char *boundary)
{
    size_t len = boundary != NULL ? strlen(boundary) : 0, i;

    for (i = 0; i < len; i++) {
        if ((unsigned char)boundary[i] < ' ' || boundary[i] == 127) {
            return 0;
        }
    }
    return len > 0 && len <= GB_FORM_MAX_BOUNDARY && boundary[len - 1] != ' ';
}

gb_form_t *gb_form_make(const char *content_type, apr_pool_t *p)
{
    static const char type[] = "multipart/form-data";
    const char *boundary;
    gb_form_t *form;

    if (content_type == NULL || strncasecmp(content_type, type, sizeof(type) - 1) != 0
        || strchr("; \t", content_type[sizeof(type) - 1]) == NULL
        || !boundary_ok(boundary = param_get(content_type, "boundary", p))) {
        return NULL;
    }
    form = apr_pcalloc(p, sizeof(*form));
    form->pool = p;
    form->parts = apr_array_make(p, 8, sizeof(gb_form_part_t));
    form->delimiter_len = (size_t)apr_snprintf(form->delimiter, sizeof(form->delimiter), "\r\n--%s",
                                               boundary);
    form->matched = form->pending = 2; /* a first delimiter needs no line end before it */
    gb_buf_init_pool(&form->head, GB_FORM_MAX_HEAD, p);
    return form;
}
