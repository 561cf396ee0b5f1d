/* SPDX-License-Identifier: Apache-2.0 */
/* Open and ended sessions, and addresses that have to wait before they may try again. */
#include "admin.h"

#include "apr_strings.h"

APLOG_USE_MODULE(gbalance_admin);

/* ---- what a browser calls itself ---- */

typedef struct word_t {
    const char *part, *name;
} word_t;

/* The first that stands in the text; special ones before those that they claim to be. */
static const word_t browsers[] = {
    {"Edg/",     "Edge"    },
    {"OPR/",     "Opera"   },
    {"Firefox/", "Firefox" },
    {"Chromium", "Chromium"},
    {"Chrome/",  "Chrome"  },
    {"Safari/",  "Safari"  },
    {"curl/",    "curl"    },
    {"python",   "Python"  },
    {NULL,       NULL      },
};

static const word_t systems[] = {
    {"Android",   "Android" },
    {"iPhone",    "iPhone"  },
    {"iPad",      "iPad"    },
    {"Windows",   "Windows" },
    {"Macintosh", "macOS"   },
    {"CrOS",      "ChromeOS"},
    {"Linux",     "Linux"   },
    {NULL,        NULL      },
};

static const char *first_in(const word_t *words, const char *text)
{
    while (words->part && !strstr(text, words->part)) {
        words++;
    }
    return words->name;
}

const char *admin_agent(const char *user_agent, apr_pool_t *p)
{
    const char *browser = first_in(browsers, user_agent);
    const char *system = first_in(systems, user_agent);

    if (!browser) {
        return *user_agent ? apr_pstrmemdup(p, user_agent, strcspn(user_agent, "/ (")) : "";
    }
    return system ? apr_pstrcat(p, browser, " · ", system, NULL) : browser;
}

/* ---- the page ---- */

static json_t *session_json(const gb_session_t *session, apr_pool_t *p)
{
    json_t *agent = json_string(admin_agent(session->agent, p));

    return json_pack("{s:i, s:b, s:b, s:s, s:o, s:o, s:o, s:o, s:s}", "number", session->number,
                     "is_open", session->is_open, "is_mine", session->is_mine, "address",
                     session->address, "agent", agent ? agent : json_string(""), "since",
                     admin_time(session->since), "seen", admin_time(session->seen), "until",
                     admin_time(session->until), "ended", session->ended);
}

static int newest_first(const void *a, const void *b)
{
    const gb_session_t *x = a, *y = b;

    if (x->is_mine != y->is_mine) {
        return y->is_mine - x->is_mine;
    }
    if (x->is_open != y->is_open) {
        return y->is_open - x->is_open;
    }
    return x->seen < y->seen ? 1 : x->seen > y->seen ? -1 : 0;
}

static apr_status_t build_sessions(admin_page_t *page, json_t *data)
{
    apr_array_header_t *sessions, *throttled;
    json_t *list = json_array(), *waiting = json_array();
    int i, others = 0;

    admin_core.sessions(page->r, &sessions, &throttled);
    qsort(sessions->elts, (size_t)sessions->nelts, sizeof(gb_session_t), newest_first);
    for (i = 0; i < sessions->nelts; i++) {
        const gb_session_t *session = &APR_ARRAY_IDX(sessions, i, gb_session_t);

        json_array_append_new(list, session_json(session, page->r->pool));
        others += session->is_open && !session->is_mine;
    }
    for (i = 0; i < throttled->nelts; i++) {
        const gb_guesser_t *guesser = &APR_ARRAY_IDX(throttled, i, gb_guesser_t);

        json_array_append_new(
            waiting, json_pack("{s:s, s:i, s:o, s:i}", "address", guesser->address, "wrong",
                               guesser->wrong, "since", admin_time(guesser->since), "minutes",
                               guesser->wait ? (int)(apr_time_sec(guesser->wait) / 60) + 1 : 0));
    }
    json_object_set_new(data, "sessions", list);
    json_object_set_new(data, "others", json_integer(others));
    json_object_set_new(data, "refused", waiting);
    json_object_set_new(data, "minutes",
                        json_integer(apr_time_sec(page->settings->admin_session_expire) / 60));
    return APR_SUCCESS;
}

/* Form fields: number of one, or others=1. */
static apr_status_t do_revoke(admin_page_t *page, json_t *data)
{
    const char *number = admin_given(page, "number"), *others = admin_given(page, "others");
    int which = number ? atoi(number) : 0, done;

    if (!others && which <= 0) {
        return admin_fail(
            page, HTTP_BAD_REQUEST, "%s",
            admin_words(page, ADMIN_WORD("Say which session: number, or others."), NULL));
    }
    done = admin_core.session_end(page->r, others ? GB_SESSION_OTHERS : which, page->mount);
    json_object_set_new(data, "ended", json_integer(done));
    page->see_other = !others && which == page->admin.session ? "auth" : "sessions";
    return APR_SUCCESS;
}

const admin_route_t admin_sessions_routes[] = {
    {"/sessions",        M_GET,  "sessions", ADMIN_WORD("Sessions"), build_sessions, NULL, 0},
    {"/sessions/revoke", M_POST, "sessions", ADMIN_WORD("Sessions"), do_revoke,      NULL, 0},
    {NULL,               0,      NULL,       NULL,                   NULL,           NULL, 0},
};
