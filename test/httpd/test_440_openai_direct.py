# SPDX-License-Identifier: Apache-2.0
"""/openai/v1: the body goes to Google's own OpenAI-format endpoint and its answer comes back,
byte for byte; keys, retries and errors are as everywhere."""
import json

import pytest

import openai_spec
from conf import KEYS, Conf
from tools import wait_until

pytestmark = pytest.mark.smoke

PATH = "/openai/v1/chat/completions"
FLASH = "gemini-2.5-flash"
# Spaces, order and numbers that no parser would print like this.
BODY = b'{ "model" : "gemini-2.5-flash",\n "messages":[{"content":"Hi","role":"user"}], "temperature":1.0, "seed": 7 }'


def post(site, body, **kwargs):
    return site.api.request("POST", PATH, body=body, headers={"Content-Type": "application/json"}, **kwargs)


class TestDirect:
    CONF = Conf(keys=KEYS[:2], claims=(r"GB\d{4}:",))

    def test_body_and_key(self, site, sim):
        sim.record(bodies=True, headers=True)
        assert post(site, BODY).status == 200
        (call,) = sim.calls()
        headers = {n.lower(): v for n, v in call["headers"]}
        assert call["path"] == "/v1beta/openai/chat/completions"
        assert call["body"].encode() == BODY
        assert headers["authorization"] in [f"Bearer {k}" for k in KEYS[:2]]
        assert "x-goog-api-key" not in headers and site.api.token not in json.dumps(call["headers"])

    def test_answer_byte_for_byte(self, site, sim):
        content = b'{"choices" : [ {"message":{"content":"Gr\\u00fc\xc3\x9fe"},"finish_reason":"stop","n":1e400} ],\r\n "x":1.10}\n'
        sim.literal(content)
        assert post(site, BODY).body == content

    @pytest.mark.parametrize("split", [0, 1, -1])
    def test_stream_byte_for_byte(self, site, sim, split):
        content = (b': a comment\r\n\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\nevent: odd\ndata: {"choices":[]}\r\n\r\n'
                   b'data:{"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        sim.literal(content, content_type="text/event-stream", split=split)
        answer = post(site, BODY[:-1] + b',"stream":true}')
        assert answer.status == 200 and answer.body == content
        assert answer.headers.get("Content-Type").startswith("text/event-stream")

    def test_chunks_come_as_they_are_made(self, site, sim):
        answer = site.api.open("POST", PATH, json={"model": FLASH, "stream": True, "messages": [
            {"role": "user", "content": "[[chunks=50 interval=100 seq]]"}]})
        assert next(answer.events())
        assert sim.stats()["open_calls"] == 1
        answer.conn.close()
        wait_until(lambda: sim.stats()["open_calls"] == 0, "the upstream call to end", timeout=5)

    @pytest.mark.parametrize("stream", [False, True])
    def test_another_key_is_tried(self, site, sim, stream):
        sim._control("faults", {"rules": [{"kind": "internal", "count": 1}]})
        answer = site.api.post(PATH, json={"model": FLASH, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]})
        assert answer.status == 200
        assert len({c["key"] for c in sim.calls()}) == 2

    def test_error_in_openais_form(self, site, sim):
        answer = post(site, BODY.replace(b"gemini-2.5-flash", b"gemini-nonesuch"))
        assert answer.status == 404
        error = answer.json()["error"]
        spec = openai_spec.load()
        if spec:
            spec.openai("Error", error)
        assert error["code"] == "model_not_found"

    def test_no_token_no_answer(self, site, sim):
        assert post(site, BODY, anonymous=True).status == 401
        assert not sim.calls()

    def test_models(self, site):
        assert FLASH in [m["id"].removeprefix("models/") for m in site.api.get("/openai/v1/models").json()["data"]]

    def test_nothing_else_is_reached(self, site, sim):
        for path in ("/openai/v1/files", "/openai/v1/videos/..%2f..%2fmodels", "/openai/v1/interactions"):
            assert site.api.get(path).status in (400, 404), path
        assert not sim.calls()
