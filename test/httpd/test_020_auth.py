# SPDX-License-Identifier: Apache-2.0
"""Who gets in: every form of a client's credential, and none of it in a log or upstream."""
import pytest

from conf import KEYS, TOKEN, Conf
from tools import wait_until
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI

WRONG = "sk-wrong-token-98765432"


def bearer(token):
    return {"headers": {"Authorization": f"Bearer {token}"}}


def goog(token):
    return {"headers": {"x-goog-api-key": token}}


def x_api_key(token):
    return {"headers": {"x-api-key": token}}


def query(token):
    return {"query": f"key={token}"}


FORMS = [bearer, goog, x_api_key, query]


def call(site, surface, *, headers=None, query="", stream=False):
    path = surface.path(stream)
    if query:
        path += ("&" if "?" in path else "?") + query
    return site.api.post(path, json=surface.body("Hi", stream), headers=headers, anonymous=True)


@pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
class TestCredentials:
    CONF = Conf(tokens=(TOKEN, "sk-second-token-1234"), main="GBalanceLogLevel DEBUG", log_level="info gbalance:trace4 gbalance_keys:trace4 "
                "gbalance_openai:trace4 gbalance_gemini:trace4")

    @pytest.mark.parametrize("form", FORMS)
    def test_right_token(self, site, surface, form):
        assert call(site, surface, **form(TOKEN)).status == 200

    @pytest.mark.parametrize("form", FORMS)
    def test_wrong_token(self, site, sim, surface, form):
        answer = call(site, surface, **form(WRONG))
        error = surface.check_error(answer, 401)
        if surface is OpenAI:
            assert error["code"] == "invalid_api_key" and error["type"] == "invalid_request_error"
        else:
            assert error["status"] == "UNAUTHENTICATED"
        assert WRONG not in answer.text
        assert sim.calls() == []

    def test_no_token(self, site, sim, surface):
        surface.check_error(call(site, surface), 401)
        assert sim.calls() == []

    @pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic dXNlcjpwYXNz", f"bearer{TOKEN}", TOKEN[:-1],
                                        f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"])
    def test_nearly_right(self, site, surface, header):
        surface.check_error(call(site, surface, headers={"Authorization": header}), 401)

    def test_the_scheme_is_caseless(self, site, surface):
        assert call(site, surface, headers={"Authorization": f"bearer {TOKEN}"}).status == 200

    def test_every_listed_token(self, site, surface):
        assert call(site, surface, **bearer("sk-second-token-1234")).status == 200

    @pytest.mark.parametrize("first,second", [(bearer, goog), (bearer, x_api_key), (goog, x_api_key),
                                              (goog, query), (x_api_key, query)])
    def test_the_first_one_counts(self, site, surface, first, second):
        def both(a, b):
            one, two = first(a), second(b)
            return {"headers": {**one.get("headers", {}), **two.get("headers", {})} or None,
                    "query": one.get("query", "") or two.get("query", "")}
        assert call(site, surface, **both(TOKEN, WRONG)).status == 200
        assert call(site, surface, **both(WRONG, TOKEN)).status == 401

    def test_credentials_do_not_go_upstream(self, site, sim, surface):
        for form in FORMS:
            assert call(site, surface, **form(TOKEN)).status == 200
        for upstream in sim.calls():
            assert upstream["key"] == KEYS[0]
            assert TOKEN not in str(upstream)

    @pytest.mark.parametrize("args", [f"key={TOKEN}", f"a=b&key={TOKEN}&c=d", f"%6bey={TOKEN}", f"key={TOKEN}&key={WRONG}"])
    def test_query_key_is_in_no_log(self, site, surface, args):
        call(site, surface, query=args)
        call(site, surface, query=args.replace(TOKEN, WRONG))
        logs = site.all_logs()
        assert TOKEN.encode() not in logs
        assert WRONG.encode() not in logs

    def test_other_arguments_stay_in_the_access_log(self, site, surface):
        call(site, surface, query=f"first={surface.name}&key={TOKEN}&last=2")
        (line,) = wait_until(lambda: [ln for ln in site.access_lines() if f"first={surface.name}" in ln], "the line")
        assert "last=2" in line and TOKEN not in line


class TestNobody:
    """Nothing configured means nobody gets in."""
    CONF = Conf(tokens=(), claims=(r"[Tt]oken",))

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"},
                                         {"x-goog-api-key": ""}])
    @pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
    def test_closed(self, site, surface, headers):
        surface.check_error(call(site, surface, headers=headers), 401)

    def test_empty_key_in_the_query(self, site):
        Gemini.check_error(call(site, Gemini, query="key="), 401)

    def test_health_is_open(self, site):
        assert site.api.get("/health").status == 200
