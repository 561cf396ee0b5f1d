/* SPDX-License-Identifier: Apache-2.0 */
/* What all plans begin with; the rest is each dialect's. */
#include "proto/dialect.h"

gb_plan_t *gb_plan_make(const gb_dialect_t *dialect, apr_pool_t *p)
{
    gb_plan_t *plan = apr_pcalloc(p, sizeof(*plan));

    plan->dialect = dialect;
    plan->pool = p;
    plan->method = "POST";
    plan->operation = "";
    plan->fan_out = 1;
    return plan;
}
