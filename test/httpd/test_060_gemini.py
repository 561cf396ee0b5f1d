# SPDX-License-Identifier: Apache-2.0
"""The Gemini surface end to end: bodies and bytes pass untouched."""
import json

import pytest

from conf import KEYS
from wire import MODEL, Gemini, ask

pytestmark = pytest.mark.smoke

def generate(site, body, stream=False, headers=None, path=None):
    return site.api.post(path or Gemini.path(stream), body=body, headers=headers)


class TestRequests:
    """What the client sends is what the upstream gets."""

    BODIES = {
        "compact": b'{"contents":[{"parts":[{"text":"Hi"}]}]}',
        "spaces": b'{ "contents" : [ { "parts" : [ { "text" : "Hi" } ] } ] }\n',
        "order": b'{"generationConfig":{"maxOutputTokens":5},"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}',
        "numbers": b'{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"temperature":0.70000000000000001}}',
        "escapes": '{"contents":[{"parts":[{"text":"\\u00e9é\\ud83d\\ude00😀\\/"}]}]}'.encode(),
        "snake": b'{"contents":[{"parts":[{"text":"Hi"}]}],"generation_config":{"max_output_tokens":9}}',
    }

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("name", BODIES)
    def test_body_is_untouched(self, site, sim, name, stream):
        sim.record(bodies=True)
        assert generate(site, self.BODIES[name], stream).status == 200
        (call,) = sim.calls()
        assert call["body"].encode() == self.BODIES[name]

    def test_unknown_fields_go_through(self, site, sim):
        """Google refuses this one; we do not."""
        sim.record(bodies=True)
        body = b'{"contents":[{"parts":[{"text":"Hi"}]}],"brandNewFeature":{"on":true}}'
        generate(site, body)
        assert sim.calls()[0]["body"].encode() == body

    def test_query_arguments_go_through_without_credentials(self, site, sim):
        sim.record(headers=True)
        site.api.post(f"{Gemini.path()}?prettyPrint=false&key={site.api.token}", json=Gemini.body())
        (call,) = sim.calls()
        assert site.api.token not in json.dumps(call)
        assert call["key"] == KEYS[0]

    def test_only_headers_that_belong_upstream(self, site, sim):
        sim.record(headers=True)
        ask(site, Gemini, headers={"Cookie": "session=1", "OpenAI-Organization": "org", "X-Forwarded-For": "10.0.0.1",
                                   "Proxy-Authorization": "Basic eDp5", "X-Goog-Api-Client": "google-genai-sdk/1.0"})
        names = {n.lower() for n, _ in sim.calls()[0]["headers"]}
        assert not names & {"cookie", "authorization", "openai-organization", "proxy-authorization", "x-forwarded-for"}
        assert "x-goog-api-key" in names

    @pytest.mark.parametrize("model", [MODEL, "models%2F" + MODEL])
    def test_model_in_the_path(self, site, sim, model):
        answer = generate(site, self.BODIES["compact"], path=f"/v1beta/models/{model}:generateContent")
        assert answer.status in (200, 400, 404)
        if answer.status == 200:
            assert sim.calls()[0]["model"] == MODEL

    def test_encoded_colon(self, site, sim):
        assert generate(site, self.BODIES["compact"], path=f"/v1beta/models/{MODEL}%3AgenerateContent").status == 200


class TestAnswers:
    def test_unary(self, site):
        answer = ask(site, Gemini)
        assert answer.status == 200
        assert answer.headers.get("Content-Type").startswith("application/json")
        assert Gemini.text(answer.json())

    def test_sse(self, site):
        answer = ask(site, Gemini, "[[chunks=6 seq]]", stream=True)
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        assert b"[DONE]" not in answer.body
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        assert events[-1]["candidates"][0]["finishReason"] == "STOP"

    def test_array(self, site):
        answer = site.api.post(f"/v1beta/models/{MODEL}:streamGenerateContent", json=Gemini.body("[[chunks=6 seq]]"))
        assert answer.status == 200
        assert answer.headers.get("Content-Type").startswith("application/json")
        events = answer.json()
        assert isinstance(events, list) and len(events) >= 6

    def test_array_comes_as_it_is_made(self, site):
        import time
        began = time.monotonic()
        answer = site.api.open("POST", f"/v1beta/models/{MODEL}:streamGenerateContent",
                               json=Gemini.body("[[chunks=10 interval=100 seq]]"))
        answer.read_until(b'"text"')
        first = time.monotonic() - began
        answer.read()
        assert first < (time.monotonic() - began) / 2

    @pytest.mark.parametrize("path,stream", [(Gemini.path(), False), (Gemini.path(True), True),
                                             (f"/v1beta/models/{MODEL}:streamGenerateContent", True)])
    def test_bytes_are_those_of_the_upstream(self, site, sim, path, stream):
        """Ids and times differ from call to call: an answer of the simulator is given once more, literally."""
        direct = sim.client.post(path, json=Gemini.body("[[chunks=8 seq]]"), headers={"x-goog-api-key": KEYS[0]})
        sim.literal(direct.body, content_type=direct.headers.get("Content-Type"))
        answer = site.api.post(path, json=Gemini.body())
        assert answer.body == direct.body
        assert answer.headers.get("Content-Type") == direct.headers.get("Content-Type")


class TestReplay:
    """Recorded answers pass byte for byte, whatever way they are cut on their way in."""
    SPLITS = [0, 1, 7, 1000]

    def recordings(self, fixtures):
        import recordings
        for name, recording in recordings.load_all(fixtures).items():
            response = recording["response"]
            content = recordings.answer_bytes(response)
            group = name.split("/")[0]
            if response["status"] == 200 and content and group not in (
                    "openai-compat", "files", "models", "batches", "cached", "embed", "count", "vertex", "imagen",
                    "errors-midstream"):
                yield name, recording, content

    @pytest.mark.parametrize("split", SPLITS)
    def test_answers(self, site, sim, fixtures, split):
        tried, wrong = 0, []
        for name, recording, content in self.recordings(fixtures):
            is_sse = "sse" in recording["response"]
            if split == 1 and len(content) > 20_000:
                continue
            sim.literal(content, content_type="text/event-stream" if is_sse else "application/json", split=split)
            answer = site.api.post(Gemini.path(is_sse), json=Gemini.body())
            tried += 1
            if answer.status == 200 and answer.body != content:
                wrong.append(name)
            elif answer.status != 200 and has_content(content):
                wrong.append(f"{name}: {answer.status} {answer.body[:200]!r}")
        assert wrong == []
        assert tried > 50

    def test_requests(self, site, sim, fixtures):
        import recordings
        tried, wrong = 0, []
        for name, recording in recordings.load_all(fixtures).items():
            request = recording.get("request") or {}
            if ":generateContent" not in request.get("path", "") or not isinstance(request.get("body"), dict):
                continue
            if any(name in json.dumps(request["body"]) for name in ("fileData", "file_data", "cachedContent")):
                continue                    # what it names is in another project
            sim.reset()
            sim.record(bodies=True)
            sim.literal(b'{"candidates":[{"content":{"parts":[{"text":"x"}],"role":"model"},"finishReason":"STOP"}]}')
            body = json.dumps(request["body"], indent=1).encode()
            answer = site.api.post(Gemini.path(), body=body)
            tried += 1
            if answer.status != 200 or sim.calls()[0]["body"].encode() != body:
                wrong.append(name)
        assert wrong == []
        assert tried > 30


def has_content(content):
    return b'"text"' in content or b'"functionCall"' in content or b'"inlineData"' in content
