/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /api/store: how the database is, which process writes to it, what waits on its
 * way there, and what was lost, refused or dropped since httpd started.
 */
#include "core_api.h"

#include "core_store.h"

APLOG_USE_MODULE(gbalance);

static const char *const state_names[] = {"off",     "unknown", "ready",       "away",
                                          "damaged", "newer",   "wrong_secret"};

static void put_count(gb_buf_t *out, const char *name, apr_uint64_t n)
{
    gb_buf_printf(out, ",\"%s\":%" APR_UINT64_T_FMT, name, n);
}

static void put_journal(gb_buf_t *out, apr_pool_t *p)
{
    gb_tenant_t *ring = core_tenant_get(GB_RING_NAME);
    gb_ring_counts_t counts, none;
    apr_off_t size = 0;

    memset(&none, 0, sizeof(none));
    gb_ring_counts(ring, &counts);
    gb_spool_bound(&core_store()->spool, APR_INT64_MAX, &none, &size, p);
    gb_buf_printf(out, ",\"writer\":%u,\"journal\":{\"open\":%d,\"waiting\":%d",
                  (unsigned)gb_segment_lease_holder(ring->segment, CORE_LEASE_JOURNAL),
                  gb_ring_open(ring), gb_ring_waiting(ring));
    put_count(out, "begun", counts.begun);
    put_count(out, "written", counts.written);
    put_count(out, "lost", counts.lost);
    put_count(out, "rejected", counts.rejected);
    put_count(out, "spooled", counts.spooled);
    put_count(out, "spool_bytes", (apr_uint64_t)size);
    put_count(out, "dropped", counts.dropped);
    put_count(out, "dropped_texts", counts.dropped_texts);
    put_count(out, "dropped_rows", counts.dropped_rows);
    gb_buf_putc(out, '}');
}

int core_api_store_get(core_api_t *api)
{
    char text[300] = "";
    core_store_state_t state = core_store_state(text);

    gb_buf_printf(&api->out, "{\"state\":\"%s\",\"text\":", state_names[state]);
    gb_json_put_cstr(&api->out, text);
    gb_buf_puts(&api->out, ",\"database\":");
    gb_json_put_cstr(&api->out, core_store() ? core_store()->db->shown : NULL);
    gb_buf_printf(&api->out, ",\"sealed\":%s", core_store_seal() ? "true" : "false");
    if (core_store() && core_tenant_get(GB_RING_NAME)) {
        put_journal(&api->out, api->r->pool);
    }
    gb_buf_putc(&api->out, '}');
    return core_api_answer(api, HTTP_OK);
}
