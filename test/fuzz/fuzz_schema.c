/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a schema, through both doors: JSON comes out, soon. */
#include "fuzz.h"

#include "proto/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    gb_span_t schema;
    gb_buf_t out;
    unsigned flags;

    if (fuzz_is_json((const char *)data, size)) {
        schema = gb_json_root((const char *)data, size);
        for (flags = 0; flags < 4; flags++) {
            gb_buf_init_pool(&out, 8 * 1024 * 1024, p);
            if (gb_schema_clean(&out, schema, flags, p) == APR_SUCCESS) {
                FUZZ_PROMISE(fuzz_is_json(out.data, out.len));
            }
            gb_buf_init_pool(&out, 8 * 1024 * 1024, p);
            if (gb_schema_lower(&out, schema, flags, p) == APR_SUCCESS) {
                FUZZ_PROMISE(fuzz_is_json(out.data, out.len));
            }
        }
    }
    apr_pool_destroy(p);
    return 0;
}
