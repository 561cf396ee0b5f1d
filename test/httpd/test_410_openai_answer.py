# SPDX-License-Identifier: Apache-2.0
"""What becomes of Gemini's answers, whole and as streams; every answer and chunk is validated."""
import base64
import json

import pytest

import openai_spec
from conf import KEYS, Conf

pytestmark = pytest.mark.smoke

FLASH, NEW = "gemini-2.5-flash", "gemini-3.8-flash"
BOTH = pytest.mark.parametrize("stream", [False, True])


def function(name, **properties):
    return {"type": "function", "function": {"name": name, "parameters": {
        "type": "object", "properties": {n: {"type": t} for n, t in properties.items()}}}}


TOOLS = [function("get_weather", city="string"), function("add", a="number", b="number")]


@pytest.fixture
def chat(site, sim):
    return openai_spec.Chat(site, sim)


def choice_of(chat, stream, **fields):
    answer = chat.post(stream=stream, **fields)
    return openai_spec.gather(answer)[0] if stream else answer["choices"][0]


def gemini(sim, *answers):
    """Literal answers of the upstream: for a stream all as events, else the first."""
    whole = [json.dumps(a) for a in answers]

    def as_wanted(stream):
        if stream:
            sim.literal("".join(f"data: {a}\r\n\r\n" for a in whole).encode(), content_type="text/event-stream",
                        split=7)
        else:
            sim.literal(whole[0].encode())
    return as_wanted


def answer_of(*parts, **members):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", "index": 0,
                            **members}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12},
            "modelVersion": FLASH, "responseId": "r1"}


class TestTools:
    CONF = Conf(keys=KEYS[:1])

    @BOTH
    @pytest.mark.parametrize("model", [FLASH, NEW])
    def test_parallel_calls(self, chat, stream, model):
        choice = choice_of(chat, stream, model=model, tools=TOOLS,
                           messages='call get_weather {"city":"Ulm"} call add {"a":1,"b":2}')
        calls = choice["message"]["tool_calls"]
        assert [(c["type"], c["function"]["name"]) for c in calls] == [("function", "get_weather"), ("function", "add")]
        assert [json.loads(c["function"]["arguments"]) for c in calls] == [{"city": "Ulm"}, {"a": 1, "b": 2}]
        assert len({c["id"] for c in calls}) == 2 and choice["finish_reason"] == "tool_calls"
        if model == NEW:
            assert calls[0]["extra_content"]["google"]["thought_signature"]

    @BOTH
    def test_one_call_when_they_may_not_be_parallel(self, chat, stream):
        message = choice_of(chat, stream, tools=TOOLS, parallel_tool_calls=False,
                            messages='call get_weather {"city":"Ulm"} call add {"a":1,"b":2}')["message"]
        assert len(message["tool_calls"]) == 1

    @BOTH
    def test_the_old_form(self, chat, stream):
        choice = choice_of(chat, stream, functions=[TOOLS[1]["function"]], messages='call add {"a":1,"b":2}')
        assert choice["finish_reason"] == "function_call"
        assert choice["message"]["function_call"]["name"] == "add"

    @BOTH
    def test_freeform_tools(self, chat, stream):
        (call,) = choice_of(chat, stream, tools=[{"type": "custom", "custom": {"name": "run"}}],
                            messages='call run {"input":"ls -l"}')["message"]["tool_calls"]
        assert call["type"] == "custom" and call["custom"] == {"name": "run", "input": "ls -l"}


class TestText:
    CONF = Conf(keys=KEYS[:1])

    @BOTH
    def test_thoughts(self, chat, stream):
        message = chat.message(stream, model=NEW, messages="[[thoughts=30]] Hi", reasoning_effort="high")
        assert message["reasoning_content"] and message["content"]

    @BOTH
    def test_usage(self, chat, stream):
        answer = chat.post(model=NEW, messages="[[thoughts=30]] Hi", reasoning_effort="high", stream=stream,
                           **({"stream_options": {"include_usage": True}} if stream else {}))
        usage = answer[-1]["usage"] if stream else answer["usage"]
        assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
        assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
        if stream:
            assert answer[-1]["choices"] == [] and all(c["usage"] is None for c in answer[:-1])

    @BOTH
    def test_fingerprint(self, chat, stream):
        answer = chat.post(messages="Hi", stream=stream)
        found = {c["system_fingerprint"] for c in (answer if stream else [answer])}
        assert len(found) == 1 and FLASH in found.pop()

    @BOTH
    def test_logprobs(self, chat, stream):
        choice = choice_of(chat, stream, messages="Hi", logprobs=True, top_logprobs=2)
        items = choice["logprobs"] if stream else choice["logprobs"]["content"]
        assert items and all(len(i["top_logprobs"]) == 2 and i["logprob"] <= 0 for i in items)
        assert "".join(i["token"] for i in items) == choice["message"]["content"]

    def test_logprobs_where_the_model_has_none(self, chat):
        error = chat.post(model=NEW, messages="Hi", logprobs=True, status=400)
        assert error["param"] == "logprobs"

    @BOTH
    @pytest.mark.parametrize("reason,expected", [
        ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"), ("OTHER", "stop"),
        ("SPII", "content_filter"), ("LANGUAGE", "content_filter"), ("STOP", "stop")])
    def test_finish(self, chat, stream, reason, expected):
        assert choice_of(chat, stream, messages=f"[[finish={reason}]] Hi")["finish_reason"] == expected

    def test_thoughts_before_a_call_that_cannot_be_read(self, chat):
        broken = answer_of({"text": "I will call it", "thought": True}, finishReason="MALFORMED_FUNCTION_CALL")
        chat.sim.literal(json.dumps(broken).encode(), count=1)
        assert chat.message(False, messages="Hi")["content"]
        assert len(chat.sim.calls()) == 2
        chat.sim.literal(json.dumps(broken).encode())
        assert chat.post(messages="Hi", status=502)["code"] == "malformed_function_call"

    def test_the_same_in_a_stream(self, chat):
        """What was told cannot be taken back: the client hears that no answer comes."""
        broken = answer_of({"text": "I will call it", "thought": True}, finishReason="MALFORMED_FUNCTION_CALL")
        gemini(chat.sim, broken)(True)
        answer = chat.site.api.post("/v1/chat/completions", json={
            "model": FLASH, "messages": [{"role": "user", "content": "Hi"}], "stream": True})
        *_, last = answer.body.decode().split("data: ")
        assert json.loads(last)["error"]["code"] == "malformed_function_call"

    @BOTH
    def test_prompt_blocked(self, chat, stream):
        chat.sim.fault("blocked", reason="PROHIBITED_CONTENT")
        choice = choice_of(chat, stream, messages="Hi")
        assert choice["finish_reason"] == "content_filter"
        assert "PROHIBITED_CONTENT" in choice["message"]["refusal"] and not choice["message"].get("content")
        assert len(chat.sim.calls()) == 1

    @BOTH
    def test_all_parts_in_order(self, chat, stream):
        gemini(chat.sim, answer_of({"text": "one "}, {"text": "hidden", "thought": True}, {"text": "two "},
                                   {"executableCode": {"language": "PYTHON", "code": "print(3)"}},
                                   {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "3\n"}},
                                   {"text": "four"}))(stream)
        text = chat.message(stream, messages="Hi")["content"]
        at = [text.index(piece) for piece in ("one two", "```python\nprint(3)", "3\n", "four")]
        assert at == sorted(at) and "hidden" not in text and text.count("```") % 2 == 0

    @BOTH
    def test_pictures(self, chat, stream):
        gemini(chat.sim, answer_of({"text": "Look: "}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}))(stream)
        assert "(data:image/png;base64,iVBORw0KGgo=)" in chat.message(stream, messages="Hi")["content"]

    @BOTH
    def test_search(self, chat, stream):
        """Google counts bytes of UTF-8, OpenAI characters."""
        text = "Grüße aus Ulm."
        gemini(chat.sim, answer_of({"text": text}, groundingMetadata={
            "groundingChunks": [{"web": {"uri": "https://example.com/a", "title": "example.com"}}],
            "groundingSupports": [{"segment": {"startIndex": len("Grüße ".encode()), "endIndex": len(text.encode()),
                                               "text": "aus Ulm."}, "groundingChunkIndices": [0]}]}))(stream)
        message = chat.message(stream, messages="Hi")
        (found,) = message["annotations"]
        citation = found["url_citation"]
        assert found["type"] == "url_citation" and citation["url"] == "https://example.com/a"
        assert text[citation["start_index"]:citation["end_index"]] == "aus Ulm."
        assert message["content"].startswith(text)
        assert "https://example.com/a" in message["content"][len(text):], "SHOW_SEARCH_LINK"

    def test_sound(self, chat):
        message = chat.message(model="gemini-2.5-flash-preview-tts", messages="Hi", modalities=["audio"],
                               audio={"voice": "alloy", "format": "wav"})
        assert base64.b64decode(message["audio"]["data"]).startswith(b"RIFF")

    @pytest.mark.parametrize("model", [FLASH, NEW])
    def test_json(self, chat, model):
        schema = {"type": "object", "properties": {"not": {"type": "string"}, "const": {"type": "integer"}},
                  "required": ["not", "const"], "additionalProperties": False}
        choice = chat.post(model=model, messages="Hi", response_format={
            "type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}})["choices"][0]
        assert set(json.loads(choice["message"]["content"])) == {"not", "const"}
        (body,) = chat.sent()
        assert set(body["generationConfig"]["responseJsonSchema"]["properties"]) == {"not", "const"}


    @pytest.mark.parametrize("model", [FLASH, NEW])
    def test_json_beside_tools(self, chat, model):
        """Gemini 2.5 refuses both together: there the schema is asked for in words."""
        chat.post(model=model, messages="Hi", tools=TOOLS, response_format={"type": "json_schema", "json_schema": {
            "name": "a", "schema": {"type": "object", "properties": {"zebra": {"type": "string"}}}}})
        (body,) = chat.sent()
        config = body.get("generationConfig", {})
        if model == NEW:
            assert "zebra" in config["responseJsonSchema"]["properties"]
        else:
            assert "responseMimeType" not in config and "zebra" in json.dumps(body["systemInstruction"])

    @BOTH
    @pytest.mark.parametrize("word", ["googleSearch", "codeExecution"])
    def test_googles_own_tools(self, chat, stream, word):
        """As the simulator answers them: with sources, or with code and what it printed."""
        message = chat.message(stream, messages="What is 6 times 7?", extra_body={"google": {"tools": [{word: {}}]}})
        if word == "googleSearch":
            assert message["annotations"][0]["type"] == "url_citation"
        else:
            assert "```" in message["content"]


class TestLinksOff:
    CONF = Conf(keys=KEYS[:1], api="GBalanceShowSearchLink Off\nGBalanceImageOutput images")

    @BOTH
    def test_no_list_of_links(self, chat, stream):
        gemini(chat.sim, answer_of({"text": "Ulm."}, groundingMetadata={
            "groundingChunks": [{"web": {"uri": "https://example.com/a", "title": "example.com"}}]}))(stream)
        assert chat.message(stream, messages="Hi")["content"] == "Ulm."

    @BOTH
    def test_pictures_beside_the_text(self, chat, stream):
        gemini(chat.sim, answer_of({"text": "Look"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}))(stream)
        message = chat.message(stream, messages="Hi")
        assert message["content"] == "Look"
        assert message["images"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
