# SPDX-License-Identifier: Apache-2.0
"""Routes: models, health, HEAD, CORS, request ids, and what is no route at all."""
import re

import pytest

import procfs
import tools
from conf import KEYS, Conf
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)


class TestModels:
    def test_openai_list(self, site):
        answer = site.api.get("/v1/models").json()
        assert answer["object"] == "list"
        ids = [m["id"] for m in answer["data"]]
        assert "gemini-2.5-flash" in ids
        assert len(ids) == len(set(ids))
        assert all(m["object"] == "model" and isinstance(m["created"], int) and m["owned_by"]
                   and not m["id"].startswith("models/") for m in answer["data"])

    @pytest.mark.parametrize("known", [False, True])
    def test_openai_every_one(self, make_site, known):
        """What the list offers can be asked for by itself, before Google's list is known and after."""
        listed = make_site(Conf()).api.get("/v1/models").json()["data"]
        site = make_site(Conf())
        if known:
            site.api.get("/v1/models")
        for model in listed[-3:] + listed[:3]:
            answer = site.api.get(f"/v1/models/{model['id']}")
            assert answer.status == 200, answer
            assert answer.json() == model

    def test_gemini_list(self, site):
        models = site.api.get("/v1beta/models").json()["models"]
        assert "models/gemini-2.5-flash" in [m["name"] for m in models]

    def test_gemini_pages(self, site):
        first = site.api.get("/v1beta/models?pageSize=2").json()
        assert len(first["models"]) == 2
        second = site.api.get(f"/v1beta/models?pageSize=2&pageToken={first['nextPageToken']}").json()
        assert {m["name"] for m in first["models"]}.isdisjoint({m["name"] for m in second["models"]})

    def test_gemini_one(self, site):
        assert site.api.get("/v1beta/models/gemini-2.5-flash").json()["name"] == "models/gemini-2.5-flash"

    @surfaces
    def test_unknown_one(self, site, surface):
        surface.check_error(site.api.get(surface.models_path + "/gemini-nonesuch"), 404)


class TestHealth:
    def test_needs_no_token(self, site):
        answer = site.api.get("/health", anonymous=True)
        assert answer.status == 200
        assert answer.json()["status"] == "healthy"
        assert answer.headers.get("Content-Type").startswith("application/json")

    def test_calls_nobody(self, site, sim):
        for _ in range(3):
            site.api.get("/health", anonymous=True)
        assert sim.calls() == []

    def test_tells_no_secret(self, site):
        text = site.api.get("/health", anonymous=True).text
        assert KEYS[0] not in text and site.api.token not in text

    def test_no_keys(self, make_site):
        site = make_site(Conf(keys=(), claims=(r"GB\d{4}:",)))
        answer = site.api.get("/health", anonymous=True)
        assert answer.status == 503
        assert answer.json()["status"] != "healthy"
        assert "no_keys" in answer.text
        error = OpenAI.check_error(ask(site, OpenAI), 503)
        assert error["type"] == "server_error"
        assert Gemini.check_error(ask(site, Gemini), 503)["status"] == "UNAVAILABLE"

    def test_all_keys_dead(self, make_site):
        site = make_site(Conf(keys=KEYS[:2], claims=(r"GB\d{4}:",)))
        site.sim.fault("key_invalid")
        assert ask(site, OpenAI).status == 503
        answer = site.api.get("/health", anonymous=True)
        assert (answer.status, answer.json()) == (503, {"status": "unhealthy", "reasons": ["all_dead"]})
        assert site.api.request("HEAD", "/health", anonymous=True).status == 503


class TestEngine:
    """An engine that does not turn is told to load balancers and to clients, and forgotten when it turns again."""
    CONF = Conf(mpm_lines="StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMaxSpareThreads 25\nMinSpareThreads 1",
                claims=(r"GB\d{4}:",))

    def test_stuck_and_back(self, site):
        assert ask(site, OpenAI).status == 200
        (pid,) = site.children()
        engine = tools.wait_until(lambda: procfs.waits_for(pid, "eventfd"), "the engine to wait")
        with procfs.stopped(engine):
            answer = tools.wait_until(lambda: self.unhealthy(site), "somebody to notice", timeout=30, step=0.5)
            assert answer.json() == {"status": "unhealthy", "reasons": ["engine_stuck"]}
            for surface in SURFACES:
                answer = ask(site, surface)
                surface.check_error(answer, 503)
                assert answer.headers.get("Retry-After") == "1"
        tools.wait_until(lambda: not self.unhealthy(site), "the engine to turn")
        assert ask(site, OpenAI).status == 200

    @staticmethod
    def unhealthy(site):
        answer = site.api.get("/health", anonymous=True)
        return answer if answer.status != 200 else None


class TestHead:
    @pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", "/v1beta/models/gemini-2.5-flash", "/health"])
    def test_as_get_without_a_body(self, site, path):
        head, get = site.api.request("HEAD", path), site.api.get(path)
        assert head.status == get.status == 200
        assert head.body == b""
        assert head.headers.get("Content-Type") == get.headers.get("Content-Type")

    def test_the_connection_goes_on(self, site):
        with site.api.connect() as conn:
            for _ in range(3):
                answer = conn.request("HEAD", "/v1/models", site.api.auth())
                assert answer.status == 200
                answer.read()


@surfaces
class TestWrongRequests:
    """Unknown paths and wrong methods, in the protocol's form, and none of it goes upstream."""

    def test_unknown_path(self, site, sim, surface):
        for path in ("/Nothing", "/no-thing", "/x1", "/chat", "/chat/completions/x"):
            surface.check_error(site.api.get(surface.mount + path), 404)
        assert sim.calls() == []

    def test_what_google_may_add(self, site, sim, surface):
        """A word that could be a new collection of Google's is for Google to know; of OpenAI's it is not."""
        surface.check_error(site.api.get(surface.mount + "/nothing"), 404)
        assert [call["path"] for call in sim.calls()] == (["/v1beta/nothing"] if surface is Gemini else [])

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    def test_wrong_method_of_a_call(self, site, sim, surface, method):
        answer = site.api.request(method, surface.path())
        surface.check_error(answer, 405)
        assert "POST" in re.split(r",\s*", answer.headers.get("Allow"))
        assert sim.calls() == []

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_wrong_method_of_the_list(self, site, sim, surface, method):
        answer = site.api.request(method, surface.models_path, body=b"{}")
        surface.check_error(answer, 405)
        assert {"GET", "HEAD"} & set(re.split(r",\s*", answer.headers.get("Allow")))
        assert sim.calls() == []

    @pytest.mark.parametrize("headers", [{"Content-Type": "application/x-www-form-urlencoded"},
                                         {"Content-Type": "multipart/form-data; boundary=x"},
                                         {"Content-Encoding": "gzip"}, {"Content-Length": "200000000"}])
    def test_whatever_is_wrong_with_the_body(self, site, sim, surface, headers):
        """A client that posts to a wrong address is not told to send another body."""
        surface.check_error(site.api.post(surface.mount + "/Nothing", headers=headers, body=b"a=b"), 404)
        answer = site.api.request("PUT", surface.path(), headers=headers, body=b"a=b")
        surface.check_error(answer, 405)
        assert answer.headers.get("Allow") == "POST"
        assert sim.calls() == []

    @pytest.mark.parametrize("path", ["/models/..%2f..%2fx:generateContent", "/models/../x:generateContent",
                                      "/models/a%0d%0ab:generateContent", "/models/a%20b:generateContent",
                                      "/models/a%3Fb:generateContent", "/models/:generateContent"])
    def test_paths_that_would_escape(self, site, sim, surface, path):
        answer = site.api.post(surface.mount + path, json=Gemini.body())
        assert answer.status in (400, 404, 405)
        # httpd has resolved what it may; then it is a new collection's method, below the version as ever
        resolved = ["/v1beta/x:generateContent"] if surface is Gemini and "/../" in path else []
        assert [call["path"] for call in sim.calls()] in ([], resolved)

    def test_needs_a_token_even_so(self, site, surface):
        surface.check_error(site.api.get(surface.mount + "/nothing", anonymous=True), 401)


ORIGIN = {"Origin": "https://app.example"}


@surfaces
class TestCors:
    CONF = Conf()

    def preflight(self, site, path, **more):
        return site.api.request("OPTIONS", path, anonymous=True, headers={
            **ORIGIN, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os,x-goog-api-key", **more})

    def test_preflight(self, site, sim, surface):
        answer = self.preflight(site, surface.path())
        assert answer.status == 204 and answer.body == b""
        assert answer.headers.get("Access-Control-Allow-Origin") in ("*", ORIGIN["Origin"])
        assert "POST" in answer.headers.get("Access-Control-Allow-Methods")
        allowed = answer.headers.get("Access-Control-Allow-Headers").lower()
        assert allowed == "*" or all(h in allowed for h in ("authorization", "content-type", "x-goog-api-key",
                                                            "x-stainless-os"))
        assert sim.calls() == []

    @pytest.mark.parametrize("stream", [False, True])
    def test_on_answers(self, site, surface, stream):
        answer = ask(site, surface, stream=stream, headers=ORIGIN)
        assert answer.status == 200
        assert answer.headers.all("Access-Control-Allow-Origin") == ["*"]
        assert "x-request-id" in (answer.headers.get("Access-Control-Expose-Headers") or "").lower()

    def test_on_errors(self, site, surface):
        for answer in (site.api.post(surface.path(), json={}, headers=ORIGIN, anonymous=True),
                       site.api.post(surface.path(), body=b"no json", headers=ORIGIN),
                       site.api.get(surface.mount + "/nothing", headers=ORIGIN)):
            assert answer.status >= 400
            assert answer.headers.all("Access-Control-Allow-Origin") == ["*"]


class TestCorsList:
    CONF = Conf(api='GBalanceCorsAllowOrigins "https://one.example,https://two.example"')

    @pytest.mark.parametrize("origin,allowed", [("https://one.example", True), ("https://two.example", True),
                                                ("https://evil.example", False), ("https://one.example.evil", False),
                                                ("null", False)])
    def test_only_those(self, site, origin, allowed):
        answer = site.api.get("/v1/models", headers={"Origin": origin})
        assert answer.status == 200
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        if allowed:
            assert "origin" in answer.headers.get("Vary").lower()


@surfaces
class TestRequestIds:
    MADE = re.compile(r"[A-Za-z0-9._-]{8,64}")

    @pytest.mark.parametrize("given", ["abcdefgh", "a.b_c-d.e.f", "A" * 64])
    def test_taken(self, site, sim, surface, given):
        answer = ask(site, surface, headers={"X-Request-Id": given})
        assert answer.headers.all("x-request-id") == [given]
        assert [c["request_id"] for c in sim.calls()] == [given + ".1"]

    @pytest.mark.parametrize("given", ["short", "A" * 65, "with space", "semi;colon!", "a/b/c/d/e/f", ""])
    def test_made(self, site, sim, surface, given):
        answer = ask(site, surface, headers={"X-Request-Id": given})
        made = answer.headers.get("x-request-id")
        assert made != given and self.MADE.fullmatch(made)
        assert [c["request_id"] for c in sim.calls()] == [made + ".1"]

    def test_all_different(self, site, surface):
        made = {ask(site, surface).headers.get("x-request-id") for _ in range(20)}
        assert len(made) == 20

    def test_on_errors_too(self, site, surface):
        for answer in (ask(site, surface, headers={"Authorization": "Bearer no"}),
                       site.api.get(surface.mount + "/nothing"),
                       site.api.post(surface.path(), body=b"{")):
            assert answer.status >= 400
            assert self.MADE.fullmatch(answer.headers.get("x-request-id"))

    def test_on_streams(self, site, surface):
        answer = ask(site, surface, stream=True)
        assert self.MADE.fullmatch(answer.headers.get("x-request-id"))


def shipped_format():
    """The access log that conf.d/gbalance.conf defines."""
    with open(f"{tools.SRCDIR}/conf.d/gbalance.conf", encoding="utf-8") as f:
        return next(line for line in f if line.startswith("LogFormat"))


class TestAccessLog:
    """CustomLog with the format `gbalance` says what became of a call."""
    CONF = Conf(main=shipped_format(), api="CustomLog gbalance.log gbalance")

    @surfaces
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_call(self, site, surface, stream):
        name = f"logged-{surface.name}-{stream}"
        assert ask(site, surface, stream=stream, headers={"X-Request-Id": name}).status == 200
        said = self.line_of(site, name)
        assert said["dialect"] == surface.name and said["model"] == "gemini-2.5-flash"
        assert (said["attempts"], said["upstream"], said["outcome"]) == ("1", "200", "success")
        assert len(said["key"]) == len(said["token"]) == 8 and "-" not in said["tokens"]

    def test_a_refusal(self, site):
        site.api.get("/v1/models", anonymous=True, headers={"X-Request-Id": "logged-refused"})
        assert self.line_of(site, "logged-refused")["outcome"] == "refused"

    @staticmethod
    def line_of(site, name):
        def look():
            with open(f"{site.root}/gbalance.log", encoding="utf-8") as f:
                return [line for line in f if f" id={name} " in line]
        (line,) = tools.wait_until(look, "the line")
        return dict(pair.split("=", 1) for pair in line.split('"')[-1].split() if "=" in pair)
