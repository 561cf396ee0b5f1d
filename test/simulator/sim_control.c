/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control requests below /_sim/: a table of paths, each with a function
 * that reads JSON and answers JSON. They are not recorded and need no key.
 */
#include "sim.h"

#include <jansson.h>
#include <stdlib.h>

typedef bool control_fn(json_t *body, sim_buf_t *error);

static bool do_reset(json_t *body, sim_buf_t *error)
{
    (void)body;
    (void)error;
    sim_fault_clear();
    sim_quota_clear();
    sim_calls_reset();
    memset(&sim_pace_default, 0, sizeof(sim_pace_default));
    sim_strict_signatures = sim_strict_ids = false;
    return true;
}

static bool do_faults(json_t *body, sim_buf_t *error)
{
    return sim_fault_install(body, false, error);
}

static bool do_answer(json_t *body, sim_buf_t *error)
{
    return sim_fault_install(body, true, error);
}

static bool do_stream(json_t *body, sim_buf_t *error)
{
    sim_pace_t pace = {0};

    if (!sim_pace_read(&pace, body, error)) {
        return false;
    }
    sim_pace_default = pace;
    return true;
}

static bool do_quota(json_t *body, sim_buf_t *error)
{
    return sim_quota_install(body, error);
}

static void set_flag(json_t *body, const char *name, bool *flag)
{
    json_t *value = json_object_get(body, name);

    if (value != NULL) {
        *flag = json_is_true(value);
    }
}

static bool do_record(json_t *body, sim_buf_t *error)
{
    (void)error;
    set_flag(body, "bodies", &sim_record_bodies);
    set_flag(body, "headers", &sim_record_headers);
    set_flag(body, "calls", &sim_record_calls);
    return true;
}

static bool do_strict(json_t *body, sim_buf_t *error)
{
    (void)error;
    set_flag(body, "signatures", &sim_strict_signatures);
    set_flag(body, "response_ids", &sim_strict_ids);
    return true;
}

static void show_calls(sim_buf_t *out, sim_str_t query)
{
    sim_calls_list(out, query);
}

static void show_stats(sim_buf_t *out, sim_str_t query)
{
    (void)query;
    sim_calls_stats(out);
}

static void show_faults(sim_buf_t *out, sim_str_t query)
{
    (void)query;
    sim_fault_list(out);
}

static void show_quota(sim_buf_t *out, sim_str_t query)
{
    (void)query;
    sim_quota_list(out);
}

static const struct {
    const char *path;
    control_fn *post;
    void (*get)(sim_buf_t *out, sim_str_t query);
} controls[] = {
    {"/_sim/reset",  do_reset,  NULL       },
    {"/_sim/faults", do_faults, show_faults},
    {"/_sim/answer", do_answer, NULL       },
    {"/_sim/stream", do_stream, NULL       },
    {"/_sim/quota",  do_quota,  show_quota },
    {"/_sim/record", do_record, NULL       },
    {"/_sim/strict", do_strict, NULL       },
    {"/_sim/calls",  NULL,      show_calls },
    {"/_sim/stats",  NULL,      show_stats },
};

static void answer(sim_conn_t *c, int status, sim_buf_t *body)
{
    sim_http_head(c, status, ST_OPENAI_JSON, body->len);
    sim_put(&c->out, body->p, body->len);
    sim_conn_answered(c);
}

static void refuse(sim_conn_t *c, int status, const char *why)
{
    static sim_buf_t body;
    sw_t w = {.b = &body, .style = SW_COMPACT};

    body.len = 0;
    sw_open(&w, NULL, '{');
    sw_cstr(&w, "error", why);
    sw_close(&w, '}');
    sim_putc(&body, '\n');
    answer(c, status, &body);
}

static void run_post(sim_conn_t *c, control_fn *post)
{
    json_error_t where;
    json_t *body = c->req.body.n > 0
                       ? json_loadb(c->req.body.p, c->req.body.n, JSON_ALLOW_NUL, &where)
                       : json_object();
    sim_buf_t error = {0};
    sim_buf_t ok = {0};

    if (body == NULL) {
        refuse(c, 400, where.text);
        return;
    }
    if (post(body, &error)) {
        sim_putl(&ok, "{\"ok\":true}\n");
        answer(c, 200, &ok);
    }
    else {
        sim_putc(&error, '\0');
        refuse(c, 400, error.p);
    }
    json_decref(body);
    sim_buf_free(&error);
    sim_buf_free(&ok);
}

void sim_control(sim_conn_t *c)
{
    size_t i;

    for (i = 0; i < sizeof(controls) / sizeof(*controls); i++) {
        if (!sim_eq(c->req.path, controls[i].path)) {
            continue;
        }
        if (sim_eq(c->req.method, "GET") && controls[i].get != NULL) {
            sim_buf_t body = {0};

            controls[i].get(&body, c->req.query);
            answer(c, 200, &body);
            sim_buf_free(&body);
        }
        else if (sim_eq(c->req.method, "POST") && controls[i].post != NULL) {
            run_post(c, controls[i].post);
        }
        else {
            refuse(c, 405, "wrong HTTP method");
        }
        return;
    }
    sim_http_answer(c, 200, ST_TEXT, (sim_str_t){sim_control_help, strlen(sim_control_help)});
}
