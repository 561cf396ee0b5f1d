# SPDX-License-Identifier: Apache-2.0
"""Request bodies: how they come in, how large they may be, and which are refused."""
import json
import time

import pytest

import procfs
from client import Cut
from conf import Conf
from tools import wait_until
from wire import MODEL, SURFACE_IDS, SURFACES, Gemini, OpenAI, ask

pytestmark = pytest.mark.smoke

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)


@surfaces
class TestFraming:
    def body(self, surface, text="Hi"):
        return json.dumps(surface.body(text)).encode()

    def test_chunked(self, site, surface):
        body = self.body(surface)
        answer = site.api.post(surface.path(), chunks=[body[:7], body[7:9], body[9:]],
                               headers={"Content-Type": "application/json"})
        assert answer.status == 200

    def test_one_byte_a_chunk(self, site, surface):
        answer = site.api.post(surface.path(), chunks=[bytes([b]) for b in self.body(surface)],
                               headers={"Content-Type": "application/json"})
        assert answer.status == 200

    def test_expect_continue(self, site, surface):
        body = self.body(surface)
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), {**site.api.auth(), "Content-Type": "application/json",
                                                "Expect": "100-continue", "Content-Length": str(len(body))})
            assert conn.line() == b"HTTP/1.1 100 Continue"
            conn.line()
            conn.send(body)
            answer = conn.answer()
            assert answer.status == 200
            answer.read()

    def test_expect_continue_is_not_asked_of_strangers(self, site, surface):
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), {"Content-Type": "application/json", "Expect": "100-continue",
                                                "Content-Length": "100000000"})
            assert conn.line().startswith(b"HTTP/1.1 401 ")

    def test_slow_body(self, site, surface):
        body = self.body(surface)
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), {**site.api.auth(), "Content-Type": "application/json",
                                                "Content-Length": str(len(body))})
            for piece in (body[:10], body[10:20], body[20:]):
                time.sleep(0.1)
                conn.send(piece)
            answer = conn.answer()
            assert answer.status == 200
            answer.read()

    def test_cut_off(self, site, sim, surface):
        site.log.claim("AH00567", "AH01097", r"GB\d{4}:.*(body|read)")
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), {**site.api.auth(), "Content-Type": "application/json",
                                                "Content-Length": "1000"})
            conn.send(b'{"model"')
            conn.sock.shutdown(1)
            try:
                assert conn.answer().status == 400
            except (Cut, ConnectionResetError):
                pass
        assert sim.calls() == []

    @pytest.mark.parametrize("content_type", [None, "application/json", "application/json; charset=utf-8",
                                              "APPLICATION/JSON", "text/plain", "text/plain;charset=UTF-8"])
    def test_accepted_types(self, site, surface, content_type):
        headers = {"Content-Type": content_type} if content_type else {}
        assert site.api.post(surface.path(), body=self.body(surface), headers=headers).status == 200

    @pytest.mark.parametrize("headers", [{"Content-Type": "application/x-www-form-urlencoded"},
                                         {"Content-Type": "multipart/form-data; boundary=x"},
                                         {"Content-Type": "application/xml"},
                                         {"Content-Type": "application/json", "Content-Encoding": "gzip"},
                                         {"Content-Type": "application/json", "Content-Encoding": "br"}])
    def test_refused_types(self, site, sim, surface, headers):
        surface.check_error(site.api.post(surface.path(), body=self.body(surface), headers=headers), 415)
        assert sim.calls() == []

    def test_identity_is_no_encoding(self, site, surface):
        answer = site.api.post(surface.path(), body=self.body(surface),
                               headers={"Content-Type": "application/json", "Content-Encoding": "identity"})
        assert answer.status == 200


@surfaces
class TestHttpdsOwnLimits:
    """What httpd itself refuses while a body is read is told in the protocol's form, too."""
    CONF = Conf(api="LimitRequestBody 1000", claims=("AH01587", "AH01588", "AH01589", "AH01590"))

    def refused(self, site, sim, surface, status, head, body):
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), {**site.api.auth(), "Content-Type": "application/json", **head})
            conn.send(body)
            answer = conn.answer()
            answer.read()
            assert conn.closed_by_server()
        error = surface.check_error(answer, status)
        assert answer.headers.get("x-request-id") and sim.calls() == []
        return error

    @pytest.mark.parametrize("chunked", [False, True])
    def test_limit_request_body(self, site, sim, surface, chunked):
        body = json.dumps(surface.body("x" * 2000)).encode()
        head = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
        error = self.refused(site, sim, surface, 413, head, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        assert "LimitRequestBody" in error["message"]

    @pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nabcdeXX\r\n", b"-1\r\n"])
    def test_bad_framing(self, site, sim, surface, rest):
        """Behind what would be a whole request."""
        body = json.dumps(surface.body()).encode()
        self.refused(site, sim, surface, 400, {"Transfer-Encoding": "chunked"}, b"%x\r\n%s\r\n%s" % (len(body), body, rest))

    def test_within_them(self, site, surface):
        assert ask(site, surface).status == 200


@surfaces
class TestLargeBodies:
    CONF = Conf(api="GBalanceMaxBody 4194304", claims=("AH01587",))

    @pytest.mark.parametrize("size", [1000, 70_000, 1_048_576, 1_300_000, 4_000_000])
    def test_arrive_whole(self, site, sim, surface, size):
        sim.record(bodies=True)
        text = ("0123456789" * (size // 10 + 1))[:size]
        assert ask(site, surface, text).status == 200
        (call,) = sim.calls()
        assert json.loads(call["body"])["contents"][0]["parts"][0]["text"] == text

    @pytest.mark.parametrize("chunked", [False, True])
    def test_over_the_limit(self, site, sim, surface, chunked):
        body = json.dumps(surface.body("x" * 4_300_000)).encode()
        with site.api.connect() as conn:
            try:
                conn.start("POST", surface.path(), {**site.api.auth(), "Content-Type": "application/json"},
                           **({"chunks": [body[i:i + 65536] for i in range(0, len(body), 65536)]} if chunked
                              else {"body": body}))
            except (BrokenPipeError, ConnectionResetError):
                pass            # it need not read what it refuses
            answer = conn.answer()
            answer.read()
        surface.check_error(answer, 413)
        assert sim.calls() == []

    @staticmethod
    def files(site):
        """Temporary files of bodies that its children hold."""
        return [what for pid in site.children() for what in procfs.descriptors(pid).values() if "gbalance-body" in what]

    def test_nothing_is_left_behind(self, site, surface):
        assert ask(site, surface, "x" * 2_000_000).status == 200
        wait_until(lambda: self.files(site) == [], "the body to be given back")

    @pytest.mark.parametrize("size,count", [(1_000_000, 0), (1_100_000, 1)])
    def test_where_it_waits(self, site, sim, surface, size, count):
        """Above 1 MiB in a file that has no name: a child that is killed leaves nothing of a body."""
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), site.api.auth(), json=surface.body("[[delay=30000]] " + "x" * size))
            sim.wait_open(1)
            files = self.files(site)
            assert len(files) == count and all(name.endswith(" (deleted)") for name in files)
        sim.wait_quiet()


class TestNoLimit:
    """The default is 100 MiB; a body of 24 MiB goes through and memory is given back."""

    def test_24_mib(self, site, sim):
        sim.record(bodies=False)
        body = b" " * (24 * 1024 * 1024) + json.dumps(Gemini.body()).encode()
        assert site.api.post(Gemini.path(), body=body).status == 200
        assert sim.calls()[0]["bytes"] > 0


BAD_OPENAI = {
    "no body": b"",
    "blank": b"  \n",
    "not JSON": b"{not json",
    "cut JSON": b'{"model": "gemini-2.5-flash", "messages": [',
    "more behind": b'{"model":"m","messages":[]} {}',
    "array": b"[]",
    "string": b'"hello"',
    "number": b"17",
    "null": b"null",
    "empty object": b"{}",
    "no messages": json.dumps({"model": MODEL}).encode(),
    "no model": json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode(),
    "messages empty": json.dumps({"model": MODEL, "messages": []}).encode(),
    "messages a string": json.dumps({"model": MODEL, "messages": "hello"}).encode(),
    "message a string": json.dumps({"model": MODEL, "messages": ["hello"]}).encode(),
    "role unknown": json.dumps({"model": MODEL, "messages": [{"role": "boss", "content": "x"}]}).encode(),
    "model a number": json.dumps({"model": 5, "messages": [{"role": "user", "content": "x"}]}).encode(),
    "model with a path": json.dumps({"model": "../x", "messages": [{"role": "user", "content": "x"}]}).encode(),
    "temperature a string": json.dumps({**OpenAI.body(), "temperature": "hot"}).encode(),
    "stream a string": json.dumps({**OpenAI.body(), "stream": "yes"}).encode(),
    "too deep": b'{"model":"m","messages":' + b"[" * 500 + b"]" * 500 + b"}",
    "not UTF-8": b'{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "NUL": b'{"model":"gemini-2.5-flash",\x00"messages":[]}',
}

BAD_GEMINI = {
    "no body": b"",
    "blank": b" \r\n",
    "not JSON": b"{not json",
    "cut JSON": b'{"contents": [{"parts": [{"te',
    "array": b"[]",
    "string": b'"hello"',
    "null": b"null",
    "too deep": b'{"contents":' + b"[" * 500 + b"]" * 500 + b"}",
    "not UTF-8": b'{"contents":[{"parts":[{"text":"\xff"}]}]}',
}


class TestBadInput:
    """Refused in the protocol's form; nothing reaches the upstream, so no key is charged."""

    @pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
    @pytest.mark.parametrize("case", BAD_OPENAI)
    def test_openai(self, site, sim, case, stream):
        body = BAD_OPENAI[case]
        if stream and body.startswith(b'{"m'):
            body = b'{"stream":true,' + body[1:] if case != "stream a string" else body
        error = OpenAI.check_error(site.api.post("/v1/chat/completions", body=body), 400)
        assert error["type"] == "invalid_request_error"
        assert sim.calls() == []

    @pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
    @pytest.mark.parametrize("case", BAD_GEMINI)
    def test_gemini(self, site, sim, case, stream):
        error = Gemini.check_error(site.api.post(Gemini.path(stream), body=BAD_GEMINI[case]), 400)
        assert error["status"] == "INVALID_ARGUMENT"
        assert sim.calls() == []

    @pytest.mark.parametrize("case,param", [("no messages", "messages"), ("messages empty", "messages"),
                                            ("messages a string", "messages"), ("no model", "model"),
                                            ("temperature a string", "temperature"), ("stream a string", "stream")])
    def test_openai_names_the_field(self, site, case, param):
        error = OpenAI.check_error(site.api.post("/v1/chat/completions", body=BAD_OPENAI[case]), 400)
        assert error["param"] == param and param in error["message"]

    @surfaces
    @pytest.mark.parametrize("stream", [False, True])
    def test_unknown_model(self, site, sim, surface, stream):
        answer = site.api.post(surface.path(stream, model="gemini-nonesuch"),
                               json=surface.body("x", stream, model="gemini-nonesuch"))
        error = surface.check_error(answer, 404)
        assert "gemini-nonesuch" in error["message"]
        if surface is OpenAI:
            assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
        assert len(sim.calls()) <= 1            # at most asked once, on one key

    def test_the_keys_are_none_the_worse(self, site, sim):
        for body in (b"{", b"[]", json.dumps(OpenAI.body(model="gemini-nonesuch")).encode()):
            for _ in range(5):
                assert site.api.post("/v1/chat/completions", body=body).status in (400, 404)
        assert site.api.get("/health").status == 200
        assert ask(site, OpenAI).status == 200

    def test_googles_reason_is_handed_on(self, site, sim):
        answer = site.api.post(Gemini.path(), json={**Gemini.body(), "nonesuch": 1})
        error = Gemini.check_error(answer, 400)
        assert "nonesuch" in error["message"]
        assert error["details"]
        assert len(sim.calls()) == 1            # the client's fault is not tried again

    def test_json_whitespace_and_bom(self, site):
        assert site.api.post(OpenAI.path(), body=b"\r\n\t " + json.dumps(OpenAI.body()).encode() + b"\n").status == 200

    def test_unknown_fields_are_named(self, site):
        answer = site.api.post(OpenAI.path(), json={**OpenAI.body(), "frobnicate": 1, "zap": [2]})
        assert answer.status == 200
        named = answer.headers.get("x-gbalance-ignored") or ""
        assert {"frobnicate", "zap"} <= {n.strip() for n in named.split(",")}
