/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_status: how many keys of each pool are in which state.
 */
#include "keys.h"

#include "http_protocol.h"
#include "mod_status.h"

APLOG_USE_MODULE(gbalance_keys);

static const struct column_t {
    const char *title, *name;
    size_t offset;
} columns[] = {
    {"Keys",     "Total",   offsetof(gb_pool_census_t, total)  },
    {"Active",   "Active",  offsetof(gb_pool_census_t, active) },
    {"On trial", "Trial",   offsetof(gb_pool_census_t, trial)  },
    {"Failed",   "Failed",  offsetof(gb_pool_census_t, failed) },
    {"Invalid",  "Invalid", offsetof(gb_pool_census_t, invalid)},
    {"Off",      "Off",     offsetof(gb_pool_census_t, off)    },
};

#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static int value(const gb_pool_census_t *census, size_t i)
{
    return *(const int *)((const char *)census + columns[i].offset);
}

static void census_get(gb_pool_census_t *census, const char *pool)
{
    gb_pool_clock_t clock;

    memset(census, 0, sizeof(*census));
    keys_now(&clock);
    keys_enter();
    gb_pool_census_locked(keys_pool, pool, "", &clock, census);
    keys_leave();
}

static void short_lines(request_rec *r, const char *pool, const gb_pool_census_t *census)
{
    size_t i;

    for (i = 0; i < N_COLUMNS; i++) {
        ap_rprintf(r, "GBalanceKeys%s{%s}: %d\n", columns[i].name, pool, value(census, i));
    }
}

static void table_row(request_rec *r, const char *pool, const gb_pool_census_t *census)
{
    size_t i;

    ap_rprintf(r, "<tr><td>%s</td>", ap_escape_html(r->pool, pool));
    for (i = 0; i < N_COLUMNS; i++) {
        ap_rprintf(r, "<td>%d</td>", value(census, i));
    }
    ap_rputs("</tr>\n", r);
}

static void table_head(request_rec *r)
{
    size_t i;

    ap_rputs("<hr />\n<h2>gbalance: keys</h2>\n<table border=\"0\"><tr><th>Pool</th>", r);
    for (i = 0; i < N_COLUMNS; i++) {
        ap_rprintf(r, "<th>%s</th>", columns[i].title);
    }
    ap_rputs("</tr>\n", r);
}

int keys_status_hook(request_rec *r, int flags)
{
    gb_pool_census_t census;
    int n, i, is_short = flags & AP_STATUS_SHORT;
    const gb_pool_conf_t *pools = keys_pools(&n);

    if (!keys_pool || n == 0) {
        return DECLINED;
    }
    if (!is_short) {
        table_head(r);
    }
    for (i = 0; i < n; i++) {
        census_get(&census, pools[i].name);
        if (is_short) {
            short_lines(r, pools[i].name, &census);
        }
        else {
            table_row(r, pools[i].name, &census);
        }
    }
    if (!is_short) {
        ap_rputs("</table>\n", r);
    }
    return OK;
}
