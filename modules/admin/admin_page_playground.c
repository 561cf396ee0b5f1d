/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /playground: a chat against the API surfaces of this VirtualHost.  The browser
 * calls them like any client; what it presents is a token of ten minutes, or
 * whatever its user typed, and neither is stored anywhere.  Without scripts a form
 * sends one message, and the server makes the call.
 */
#include "admin.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

/* From the page's mount ("/llm/") to another one ("/llm/v1" -> "v1"; "/v1" -> "../v1"): right behind
 * proxies that change the path, too. */
static const char *way_to(const char *mount, const char *prefix, apr_pool_t *p)
{
    const char *way = "";
    size_t same = 0, i;

    for (i = 0; mount[i] && mount[i] == prefix[i]; i++) {
        same = mount[i] == '/' ? i + 1 : same;
    }
    for (i = same; mount[i]; i++) {
        way = mount[i] == '/' ? apr_pstrcat(p, way, "../", NULL) : way;
    }
    return apr_pstrcat(p, way, prefix + same, NULL);
}

static void put_surface(admin_page_t *page, json_t *data, const char *name, const char *handler)
{
    APR_OPTIONAL_FN_TYPE(gbalance_mount_of) *mount_of = APR_RETRIEVE_OPTIONAL_FN(gbalance_mount_of);
    const char *prefix = mount_of ? mount_of(page->r, handler) : NULL;

    json_object_set_new(data, name,
                        json_string(prefix ? way_to(page->mount, prefix, page->r->pool) : ""));
}

static apr_status_t build_playground(admin_page_t *page, json_t *data)
{
    const char *model = admin_form(page, "model");

    model = model && *model ? model : admin_arg(page, "model");
    put_surface(page, data, "openai", "gbalance-openai");
    put_surface(page, data, "gemini", "gbalance-gemini");
    put_surface(page, data, "health", "gbalance-health");
    json_object_set_new(data, "model",
                        json_string(model && *model ? model : page->settings->test_model));
    return APR_SUCCESS;
}

/* ---- one message, without scripts ---- */

/* NULL: the message is no text. */
static const char *chat_of(const admin_page_t *page, const char *model, const char *text)
{
    json_t *chat = text && *text
                       ? admin_json_keep(json_pack("{s:s, s:[{s:s, s:s}]}", "model", model,
                                                   "messages", "role", "user", "content", text),
                                         page->r->pool)
                       : NULL;
    char *dump = chat ? json_dumps(chat, JSON_COMPACT) : NULL;
    const char *body = dump ? apr_pstrdup(page->r->pool, dump) : NULL;

    free(dump);
    return body;
}

static void put_answer(json_t *data, const char *body)
{
    json_t *answer = json_loads(body, 0, NULL);
    json_t *choice = json_array_get(json_object_get(answer, "choices"), 0);
    const char *text = json_string_value(
        json_object_get(json_object_get(choice, "message"), "content"));
    const char *fault = json_string_value(
        json_object_get(json_object_get(answer, "error"), "message"));

    json_object_set_new(data, "is_answered", json_boolean(text != NULL));
    json_object_set_new(data, "answer", json_string(text ? text : ""));
    json_object_set_new(data, "fault",
                        json_string(text    ? ""
                                    : fault ? fault
                                            : ADMIN_WORD("There was no answer.")));
    json_decref(answer);
}

static apr_status_t say(admin_page_t *page, json_t *data)
{
    const char *text = admin_form(page, "text"), *chat, *body;

    build_playground(page, data);
    chat = chat_of(page, json_string_value(json_object_get(data, "model")), text);
    if (!chat) {
        return admin_fail(page, HTTP_BAD_REQUEST, ADMIN_WORD("Write a message first."));
    }
    admin_core.chat_ask(page->r, page->pool, chat, &body);
    json_object_set_new(data, "said", json_string(text));
    put_answer(data, body);
    return APR_SUCCESS;
}

/* ---- the token of the page ---- */

/* {"token": ..., "lifetime": seconds} */
static int make_token(admin_page_t *page, json_t **out)
{
    APR_OPTIONAL_FN_TYPE(gbalance_play_token) *play = APR_RETRIEVE_OPTIONAL_FN(gbalance_play_token);
    int lifetime = 0;
    const char *token = play ? play(page->r, &lifetime) : NULL;

    if (!token) {
        return admin_refuse(
            page, HTTP_SERVICE_UNAVAILABLE, NULL,
            "There is no shared memory to sign a token with: httpd's error log says "
            "why.");
    }
    *out = json_pack("{s:s, s:i}", "token", token, "lifetime", lifetime);
    return HTTP_OK;
}

const admin_route_t admin_playground_routes[] = {
    {"/playground",           M_GET,  "playground", ADMIN_WORD("Playground"), build_playground, NULL,       0},
    {"/playground",           M_POST, "playground", ADMIN_WORD("Playground"), say,              NULL,       0},
    {"/api/playground/token", M_POST, NULL,         NULL,                     NULL,             make_token, 0},
    {NULL,                    0,      NULL,         NULL,                     NULL,             NULL,       0},
};
