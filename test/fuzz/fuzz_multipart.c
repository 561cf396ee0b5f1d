/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a form.  The first byte says where it is cut: what is found is the
 * same as in one piece, lies within the bytes and does not overlap.
 */
#include "fuzz.h"

#include "base/multipart.h"

static gb_form_t *run(const char *bytes, size_t len, size_t step, apr_status_t *rv, apr_pool_t *p)
{
    gb_form_t *form = gb_form_make("multipart/form-data; boundary=abc", p);
    size_t at = 0, n;

    *rv = APR_SUCCESS;
    for (; at < len && *rv == APR_SUCCESS; at += n) {
        n = step == 0 || step > len - at ? len - at : step;
        *rv = gb_form_feed(form, bytes + at, n);
    }
    if (*rv == APR_SUCCESS) {
        *rv = gb_form_end(form);
    }
    return form;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    size_t step = size > 0 ? (size_t)data[0] % 31 + 1 : 1, end = 0;
    apr_status_t rv, cut_rv;
    gb_form_t *whole = run((const char *)data, size, 0, &rv, p);
    gb_form_t *cut = run((const char *)data, size, step, &cut_rv, p);
    int i;

    FUZZ_PROMISE(rv == cut_rv && (gb_form_fault(whole) == NULL) == (rv == APR_SUCCESS));
    for (i = 0; rv == APR_SUCCESS && i < gb_form_parts(whole)->nelts; i++) {
        const gb_form_part_t *a = &APR_ARRAY_IDX(gb_form_parts(whole), i, gb_form_part_t);
        const gb_form_part_t *b = &APR_ARRAY_IDX(gb_form_parts(cut), i, gb_form_part_t);

        FUZZ_PROMISE(a->offset == b->offset && a->len == b->len && strcmp(a->name, b->name) == 0
                     && strcmp(a->type, b->type) == 0);
        FUZZ_PROMISE(a->offset >= end && a->len <= size && a->offset <= size - a->len);
        end = a->offset + a->len;
    }
    FUZZ_PROMISE(rv != APR_SUCCESS || gb_form_parts(whole)->nelts == gb_form_parts(cut)->nelts);
    apr_pool_destroy(p);
    return 0;
}
