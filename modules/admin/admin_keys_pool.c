/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool at a glance: how many keys are in which state, and what somebody should
 * look at, the worst first.
 */
#include "admin_keys.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

#define BAR_GAP   4
#define BAR_LEAST 9 /* of 1000: a state that has keys is seen */

/* ---- the bar ---- */

/* Widths of the states that have keys; the largest gives what the small ones get more. */
static void bar_widths(int widths[ADMIN_KEY_STATES], const gb_keys_survey_t *survey)
{
    int room = 1000 + BAR_GAP, largest = 0, used = 0, i;

    for (i = 0; i < ADMIN_KEY_STATES; i++) {
        room -= survey->by_state[i] ? BAR_GAP : 0;
        largest = survey->by_state[i] > survey->by_state[largest] ? i : largest;
    }
    for (i = 0; i < ADMIN_KEY_STATES; i++) {
        widths[i] = survey->total ? (int)((apr_int64_t)survey->by_state[i] * room / survey->total)
                                  : 0;
        if (survey->by_state[i] && widths[i] < BAR_LEAST) {
            widths[i] = BAR_LEAST;
        }
        used += widths[i];
    }
    widths[largest] += survey->total ? room - used : 0;
}

void admin_keys_pool(json_t *data, const gb_keys_survey_t *survey)
{
    int serving = survey->by_state[0] + survey->by_state[1] + survey->by_state[2], x = 0, i;
    json_t *states = json_array(), *bar = json_array();
    int widths[ADMIN_KEY_STATES];

    bar_widths(widths, survey);
    for (i = 0; i < ADMIN_KEY_STATES; i++) {
        const admin_key_state_t *state = &admin_key_states[i];

        json_array_append_new(states, json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", state->name,
                                                "words", state->words, "icon", state->icon, "pill",
                                                state->pill, "n", survey->by_state[i]));
        if (widths[i]) {
            json_array_append_new(
                bar, json_pack("{s:s, s:i, s:i}", "pill", state->pill, "x", x, "width", widths[i]));
            x += widths[i] + BAR_GAP;
        }
    }
    json_object_set_new(data, "keys",
                        json_pack("{s:i, s:f, s:o, s:o}", "total", survey->total, "serving",
                                  survey->total ? (double)serving / survey->total : 0.0, "states",
                                  states, "bar", bar));
}

/* ---- what needs attention ---- */

/* The reasons of one state, most first. */
static json_t *reasons_of(const gb_keys_survey_t *survey, int state, int most)
{
    json_t *all = json_array();
    int i;

    for (i = 0; i < survey->reasons->nelts && (int)json_array_size(all) < most; i++) {
        const gb_keys_reason_t *reason = &APR_ARRAY_IDX(survey->reasons, i, gb_keys_reason_t);

        if (reason->state == state) {
            json_array_append_new(all, json_pack("{s:s, s:i}", "words",
                                                 admin_key_reason(reason->row), "n", reason->n));
        }
    }
    return all;
}

static void add_state(json_t *all, const gb_keys_survey_t *survey, int i, const char *kind)
{
    if (survey->by_state[i]) {
        json_array_append_new(
            all, json_pack("{s:{s:i, s:o}, s:s}", kind, "n", survey->by_state[i], "reasons",
                           reasons_of(survey, admin_key_states[i].bit, 4), "kind", kind));
    }
}

/* Keys are in service, and yet callers get 429. */
static void add_starved(json_t *all, const gb_keys_survey_t *survey)
{
    int i;

    for (i = 0; i < survey->models->nelts; i++) {
        const gb_keys_model_t *model = &APR_ARRAY_IDX(survey->models, i, gb_keys_model_t);

        if (model->resting && model->resting == survey->projects) {
            json_array_append_new(
                all, json_pack("{s:{s:s, s:o}, s:s}", "starved", "model", model->name, "back",
                               admin_key_until(model->soonest), "kind", "starved"));
        }
    }
}

static void add_models(json_t *all, const gb_keys_survey_t *survey, apr_time_t now)
{
    int i;

    for (i = 0; i < survey->models->nelts; i++) {
        const gb_keys_model_t *model = &APR_ARRAY_IDX(survey->models, i, gb_keys_model_t);

        if (model->broken) {
            json_array_append_new(
                all,
                json_pack("{s:{s:s, s:o}, s:s}", "broken", "model", model->name, "until",
                          model->broken > 1 ? admin_key_until(now + model->broken) : json_null(),
                          "kind", "broken"));
        }
    }
    for (i = 0; i < survey->models->nelts; i++) {
        const gb_keys_model_t *model = &APR_ARRAY_IDX(survey->models, i, gb_keys_model_t);

        if (model->used_up) {
            json_array_append_new(all, json_pack("{s:{s:s, s:i, s:o}, s:s}", "used_up", "model",
                                                 model->name, "n", model->used_up, "back",
                                                 admin_key_until(model->back), "kind", "used_up"));
        }
    }
}

void admin_keys_attention(admin_page_t *page, json_t *data, const gb_keys_survey_t *survey)
{
    json_t *all = json_array();
    int alive = survey->by_state[0] + survey->by_state[1] + survey->by_state[2];

    if (survey->total && !alive) {
        json_array_append_new(
            all, json_pack("{s:{s:i}, s:s}", "dead", "n", survey->total, "kind", "dead"));
    }
    add_starved(all, survey);
    add_state(all, survey, 4, "invalid");
    add_state(all, survey, 3, "failed");
    add_models(all, survey, page->how.now);
    if (survey->retiring) {
        json_array_append_new(all, json_pack("{s:{s:i}, s:s}", "retiring", "n", survey->retiring,
                                             "kind", "retiring"));
    }
    json_object_set_new(data, "attention",
                        json_pack("{s:i, s:o}", "n", (int)json_array_size(all), "items", all));
}
