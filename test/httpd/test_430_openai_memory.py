# SPDX-License-Identifier: Apache-2.0
"""What the server remembers between calls, in all its children: thought signatures by the
id of a call, fields that a model refused, Google's list of models."""
import http.server
import json
import threading
import urllib.parse

import pytest

import openai_spec
from conf import KEYS, Conf
from tools import wait_until

pytestmark = pytest.mark.smoke

NEW = "gemini-3.8-flash"
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {
    "type": "object", "properties": {"x": {"type": "string"}}}}} for name in ("look", "note")]


@pytest.fixture
def chat(site, sim):
    sim._control("strict", {"signatures": True})
    return openai_spec.Chat(site, sim)


def without_extras(message):
    """As clients send it back that know OpenAI's fields only."""
    return {"role": "assistant", "content": message.get("content"), "tool_calls": [
        {"id": c["id"], "type": "function", "function": c["function"]} for c in message["tool_calls"]]}


def results(message):
    return [{"role": "tool", "tool_call_id": c["id"], "content": "ok"} for c in message["tool_calls"]]


def signatures(body):
    return [p["thoughtSignature"] for c in body["contents"] for p in c["parts"]
            if "functionCall" in p and "thoughtSignature" in p]


class TestSignatures:
    CONF = Conf(keys=KEYS[:1])
    ASK = [{"role": "user", "content": 'call look {"x":"a"} call note {"x":"b"} then call note {"x":"c"}'}]

    def steps(self, chat, stream, keep=lambda m: m, between=lambda: None):
        messages, sent = list(self.ASK), []
        for _ in range(2):
            message = chat.message(stream, model=NEW, tools=TOOLS, messages=messages)
            sent.append(message["tool_calls"][0]["extra_content"]["google"]["thought_signature"])
            messages += [keep(message), *results(message)]
            between()
        message = chat.message(stream, model=NEW, tools=TOOLS, messages=messages)
        assert message["content"] and not message.get("tool_calls")
        last = chat.sent()[-1]
        return sent, signatures(last)

    @pytest.mark.parametrize("stream", [False, True])
    def test_clients_that_keep_them(self, chat, stream):
        given, back = self.steps(chat, stream)
        assert back == given

    @pytest.mark.parametrize("stream", [False, True])
    def test_clients_that_drop_them(self, chat, stream):
        given, back = self.steps(chat, stream, without_extras)
        assert back == given and not any("skip" in s for s in back)

    def test_other_children(self, chat, site):
        """None of those that gave the answers is there any more."""
        given, back = self.steps(chat, False, without_extras, between=site.graceful)
        assert back == given

    def test_forgotten_ones_get_the_stand_in(self, chat):
        messages = [*self.ASK, {"role": "assistant", "tool_calls": [
            {"id": "never-seen", "type": "function", "function": {"name": "look", "arguments": '{"x":"a"}'}},
            {"id": "never-seen-2", "type": "function", "function": {"name": "note", "arguments": '{"x":"b"}'}}]}]
        messages += results(messages[-1])
        chat.post(model=NEW, tools=TOOLS, messages=messages)
        (body,) = chat.sent()
        assert signatures(body) == ["skip_thought_signature_validator"]

    def test_refused_ones_give_way_to_the_stand_in(self, chat):
        """For that call only: what another client holds is right."""
        bad = {"role": "assistant", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x":"a"}'},
             "extra_content": {"google": {"thought_signature": "bm90IHJlYWw="}}}]}
        chat.post(model=NEW, tools=TOOLS, messages=[*self.ASK[:1], bad, *results(bad)])
        first, second = chat.sent()
        assert signatures(first) == ["bm90IHJlYWw="]
        assert signatures(second) == ["skip_thought_signature_validator"]
        chat.sim.reset()
        chat.sim._control("strict", {"signatures": True})
        chat.sim.record(bodies=True)
        given, back = self.steps(chat, False)
        assert back == given


class Pages(http.server.BaseHTTPRequestHandler):
    """Google's list in three pages, whatever size is asked for."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/picture":
            return self.answer("image/gif", b"GIF89a" + bytes(20))
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        page = int(query.get("pageToken", ["t 1&"])[0].strip("t &"))
        answer = {"models": [{"name": f"models/gemini-{page}-flash", "supportedGenerationMethods": ["generateContent"]}]}
        if page < 3:
            answer["nextPageToken"] = f"t {page + 1}&"
        return self.answer("application/json", json.dumps(answer).encode())

    def answer(self, kind, content):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def pages():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class TestRefusedFields:
    CONF = Conf(keys=KEYS[:2])

    def test_once_for_all_children(self, chat, site):
        """A penalty costs the first call a second attempt, and no other."""
        for stream in (False, True):
            chat.post(messages="Hi", presence_penalty=0.5, stream=stream)
        first, second, third = chat.sent()
        assert first["generationConfig"]["presencePenalty"] == 0.5
        assert "presencePenalty" not in second.get("generationConfig", {})
        assert "presencePenalty" not in third.get("generationConfig", {})
        site.graceful()
        for _ in range(8):
            chat.post(messages="Hi", frequency_penalty=0.5)
        assert len(chat.sent()) == 3 + 8

    def test_only_of_that_model(self, chat):
        chat.post(messages="Hi", presence_penalty=0.5)
        chat.post(model="gemma-3-4b-it", messages="Hi", presence_penalty=0.5)
        assert chat.sent()[-1]["generationConfig"]["presencePenalty"] == 0.5

    def test_two_fields(self, chat):
        """Each call learns one; the third needs nothing any more."""
        refuse = [{"match": {"model": "gemini-3-flash-preview"}, "kind": "status", "status": 400, "count": 1,
                   "body": {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": text}}}
                  for text in ("`seed` Unknown name \"seed\" at 'generation_config': Cannot find field.",
                               "`top_k` is not supported by this model.")]
        chat.sim._control("faults", {"rules": refuse})
        ask = {"model": "gemini-3-flash-preview", "messages": "Hi", "seed": 1, "top_k": 3}
        chat.post(status=400, **ask)
        chat.sim._control("faults", {"rules": refuse[1:]})
        chat.post(**ask)
        chat.sim._control("faults", {"rules": []})
        chat.post(**ask)
        bodies = [b.get("generationConfig", {}) for b in chat.sent()]
        assert [("seed" in b, "topK" in b) for b in bodies] == [
            (True, True), (False, True), (False, True), (False, False), (False, False)]

    def test_a_wrong_value_is_not_held_against_the_model(self, chat):
        def ask(budget):
            chat.post(model="gemini-2.5-pro", messages="Hi",
                      extra_body={"google": {"thinking_config": {"thinking_budget": budget}}})
        ask(99999)
        ask(2048)
        sent = [b.get("generationConfig", {}).get("thinkingConfig", {}).get("thinkingBudget") for b in chat.sent()]
        assert sent == [99999, None, 2048]

    def test_with_a_picture_that_is_fetched(self, make_site, pages):
        """What is known to be refused is left out before the fetch, too."""
        site = make_site(Conf(keys=KEYS[:1], api="GBalanceImageFetchAllow 127.0.0.0/8"))
        chat = openai_spec.Chat(site, site.sim)
        for _ in range(2):
            chat.post(presence_penalty=0.5, messages=[{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{pages.server_port}/picture"}}]}])
        sent = chat.sent()
        assert ["presencePenalty" in b["generationConfig"] for b in sent] == [True, False, False]
        assert all(b["contents"][0]["parts"][0]["inlineData"]["mimeType"] == "image/gif" for b in sent)

    def test_a_refusal_without_a_reason_is_not_held_against_the_model(self, chat):
        chat.sim._control("faults", {"rules": [{"kind": "invalid_argument", "count": 1}]})
        schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "minItems": 1}}}
        ask = {"messages": "Hi", "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}
        chat.post(**ask)
        chat.post(**ask)
        found = [b["generationConfig"]["responseJsonSchema"]["properties"]["a"] for b in chat.sent()]
        assert ["minItems" in f for f in found] == [True, False, True]


class TestModels:
    CONF = Conf(keys=KEYS[:1])

    def asked(self, sim):
        """How often Google was asked for its list, pages counted."""
        return sum(1 for c in self.every(sim) if c["method"] == "models.list")

    def every(self, sim):
        return sim.client.get("/_sim/calls?from=0").json()["calls"]

    def test_from_memory(self, site, sim):
        assert site.api.get("/v1/models").status == 200
        wait_until(lambda: site.api.get("/v1/models").status == 200 and self.asked(sim) >= 1, "the list")
        for _ in range(30):
            assert site.api.get("/v1/models").json()["data"]
        assert self.asked(sim) <= 2 * len(site.children()), "every child asks once, the first call perhaps beside it"

    def test_one_from_memory(self, site, sim):
        def asked():
            return [c for c in self.every(sim) if c["method"] == "models.get"]
        path = "/v1/models/gemini-3.8-flash"
        for _ in range(4 * len(site.children())):
            assert site.api.get("/v1/models").status == 200
        for _ in range(40):
            assert site.api.get(path).json()["id"] == "gemini-3.8-flash"
        assert len(asked()) < 10, "a child that does not know the list asks for the model"
        assert site.api.get("/v1/models/gemini-nonesuch").status == 404, "Google is asked about what is not listed"

    def test_all_pages(self, make_site, pages):
        """Google decides how long a page is; the first answer may hold one only."""
        site = make_site(Conf(keys=KEYS[:1], upstream=f"http://127.0.0.1:{pages.server_port}/v1beta"))

        def listed():
            ids = [m["id"] for m in site.api.get("/v1/models").json()["data"]]
            return [i for i in ids if i.endswith("-flash")]
        assert listed()[0] == "gemini-1-flash"
        wait_until(lambda: listed() == [f"gemini-{i}-flash" for i in (1, 2, 3)], "all three pages")
        assert site.api.get("/v1beta/models").status == 200
