# SPDX-License-Identifier: Apache-2.0
"""The OpenAI surface end to end: chat completions, whole and as streams."""
import json

import pytest

from conf import KEYS, Conf
from wire import MODEL, OpenAI, ask

pytestmark = pytest.mark.smoke

def chat(site, **fields):
    return site.api.post("/v1/chat/completions", json={"model": MODEL, **fields})


class TestUnary:
    def test_form(self, site):
        answer = ask(site, OpenAI, "Say [[text=hello there]]")
        assert answer.status == 200
        body = answer.json()
        assert body["object"] == "chat.completion"
        assert body["id"].startswith("chatcmpl-")
        assert isinstance(body["created"], int)
        assert body["model"]
        (choice,) = body["choices"]
        assert choice["index"] == 0 and choice["finish_reason"] == "stop"
        assert choice["message"]["role"] == "assistant" and choice["message"]["content"]
        usage = body["usage"]
        assert usage["total_tokens"] >= usage["prompt_tokens"] + usage["completion_tokens"] > 0

    def test_what_goes_upstream(self, site, sim):
        sim.record(bodies=True, headers=True)
        answer = chat(site, messages=[
            {"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."},
            {"role": "user", "content": [{"type": "text", "text": "Three?"}]}],
            temperature=0.5, top_p=0.9, max_tokens=100, stop=["END", "STOP"], seed=7)
        assert answer.status == 200
        (call,) = sim.calls()
        assert call["path"] == f"/v1beta/models/{MODEL}:generateContent"
        assert call["key"] == KEYS[0]
        headers = {n.lower(): v for n, v in call["headers"]}
        assert headers["x-goog-api-key"] == KEYS[0]
        assert "authorization" not in headers and "cookie" not in headers
        sent = json.loads(call["body"])
        assert [c["role"] for c in sent["contents"]] == ["user", "model", "user"]
        system = json.dumps(sent["systemInstruction"])
        assert "Be brief." in system and "Be kind." in system
        config = sent["generationConfig"]
        assert config["temperature"] == 0.5 and config["topP"] == 0.9
        assert config["maxOutputTokens"] == 100 and config["stopSequences"] == ["END", "STOP"]
        assert config["seed"] == 7

    @pytest.mark.parametrize("model", [MODEL, "gemini-3.5-flash"])
    def test_n(self, site, sim, model):
        body = chat(site, model=model, messages=[{"role": "user", "content": "Hi"}], n=3).json()
        assert [c["index"] for c in body["choices"]] == [0, 1, 2]
        assert all(c["message"]["content"] for c in body["choices"])

    @pytest.mark.parametrize("name", ["models/" + MODEL, "google/" + MODEL])
    def test_model_names(self, site, name):
        assert chat(site, model=name, messages=[{"role": "user", "content": "Hi"}]).status == 200

    @pytest.mark.parametrize("text", ["Grüße, 世界 🌍", "quote \" back \\ slash / \t tab \n line",
                                      "\u2028\u2029", "a" * 100_000])
    def test_text_survives(self, site, sim, text):
        sim.record(bodies=True)
        assert ask(site, OpenAI, text).status == 200
        (call,) = sim.calls()
        assert json.loads(call["body"])["contents"][0]["parts"][0]["text"] == text

    def test_length_is_told_or_framed(self, site):
        with site.api.connect() as conn:
            for _ in range(3):
                answer = conn.request("POST", OpenAI.path(), site.api.auth(), json=OpenAI.body())
                assert answer.status == 200
                assert "Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers
                json.loads(answer.read())


class TestStream:
    def test_form(self, site):
        answer = ask(site, OpenAI, "[[chunks=5 seq]]", stream=True)
        assert answer.status == 200
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        events = [e for e in raw_events(answer.body)]
        assert events[-1] == "[DONE]"
        chunks = [json.loads(e) for e in events[:-1]]
        assert all(c["object"] == "chat.completion.chunk" for c in chunks)
        assert len({c["id"] for c in chunks}) == 1 and len({c["created"] for c in chunks}) == 1
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
        assert reasons[-1] == "stop" and set(reasons[:-1]) == {None}
        assert all("usage" not in c or c["usage"] is None for c in chunks)

    def test_nobody_keeps_it(self, site):
        """Neither caches nor buffering front ends."""
        assert "no-cache" in ask(site, OpenAI, stream=True).headers.get("Cache-Control")

    def test_usage_when_asked_for(self, site):
        answer = ask(site, OpenAI, stream=True, stream_options={"include_usage": True})
        events = raw_events(answer.body)
        last = json.loads(events[-2])
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] > 0
        assert all(json.loads(e).get("usage") is None for e in events[:-2])

    def test_same_text_as_unary(self, site):
        text = "[[chunks=7]] Tell me"
        unary = OpenAI.text(ask(site, OpenAI, text).json())
        pieces = [OpenAI.piece(e) for e in raw_events(ask(site, OpenAI, text, stream=True).body) if e != "[DONE]"]
        assert "".join(pieces) == unary

    def test_asks_upstream_for_a_stream(self, site, sim):
        ask(site, OpenAI, stream=True)
        (call,) = sim.calls()
        assert call["method"] == "streamGenerateContent"

    def test_chunks_come_as_they_are_made(self, site):
        """The first chunk is here long before the last one is made."""
        import time
        began = time.monotonic()
        answer = site.api.open("POST", OpenAI.path(), json=OpenAI.body("[[chunks=10 interval=100 seq]]", True))
        events = answer.events()
        next(e for e in events if OpenAI.piece(e))
        first = time.monotonic() - began
        assert [e for e in events][-1] == "[DONE]"
        assert first < (time.monotonic() - began) / 2


def raw_events(body):
    text = body.decode()
    assert text.endswith("\n\n")
    return [line[6:] for line in text.split("\n\n") if line.startswith("data: ")]


class TestBlocked:
    """What Google blocks is an answer, not a fault of the key."""
    CONF = Conf(claims=())

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT"])
    def test_finish_reason(self, site, sim, reason, stream):
        sim.fault("finish", reason=reason)
        answer = ask(site, OpenAI, "Hi", stream)
        assert answer.status == 200
        if stream:
            reasons = [json.loads(e)["choices"][0]["finish_reason"] for e in raw_events(answer.body)
                       if e != "[DONE]" and json.loads(e)["choices"]]
            assert reasons[-1] == "content_filter"
        else:
            assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
        assert len(sim.calls()) == 1

    def test_length(self, site, sim):
        sim.fault("finish", reason="MAX_TOKENS")
        assert ask(site, OpenAI).json()["choices"][0]["finish_reason"] == "length"
