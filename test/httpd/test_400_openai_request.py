# SPDX-License-Identifier: Apache-2.0
"""What becomes of a chat request on its way to Gemini: model names, fields, settings."""
import json

import pytest

import openai_spec
from conf import KEYS, Conf

pytestmark = pytest.mark.smoke

FLASH = "gemini-2.5-flash"
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


@pytest.fixture
def chat(site, sim):
    return openai_spec.Chat(site, sim)


def path_of(chat):
    (call,) = chat.sim.calls()
    return call["path"]


class TestModelNames:
    CONF = Conf(keys=KEYS[:1], api=r"""
GBalanceModelAliases '{"gpt-4o": "gemini-2.5-pro", "gpt-4o-search": "gemini-2.5-flash-search"}'
GBalanceSearchModels gemini-2.5-flash,gemini-2.5-pro
GBalanceImageModels gemini-2.5-flash,gemini-3.5-flash
GBalanceThinkingModels gemini-2.5-flash,gemini-2.5-pro,gemini-3.8-flash
GBalanceThinkingBudgetMap '{"gemini-2.5-pro": 4096, "gemini-2.5-flash-lite": 0}'
GBalanceFilteredModels gemini-3.6-flash
GBalanceCreateImageModel gemini-nano-banana-2.1
""")

    def test_alias(self, chat):
        answer = chat.post(model="gpt-4o", messages="Hi")
        assert path_of(chat) == "/v1beta/models/gemini-2.5-pro:generateContent"
        assert answer["model"].startswith("gemini-2.5-pro")

    def test_alias_of_a_variant(self, chat):
        chat.post(model="gpt-4o-search", messages="Hi")
        assert path_of(chat) == f"/v1beta/models/{FLASH}:generateContent"
        assert {"googleSearch": {}} in chat.sent()[0]["tools"]

    def test_search(self, chat):
        chat.post(model=FLASH + "-search", messages="Hi")
        assert path_of(chat) == f"/v1beta/models/{FLASH}:generateContent"
        assert {"googleSearch": {}} in chat.sent()[0]["tools"]

    def test_image_is_a_real_model(self, chat):
        """gemini-2.5-flash-image is Google's own name, although gemini-2.5-flash is in IMAGE_MODELS."""
        chat.post(model=FLASH + "-image", messages="Hi")
        assert path_of(chat) == f"/v1beta/models/{FLASH}-image:generateContent"

    def test_image_variant(self, chat):
        """The simulator's model has no pictures and says so: what was asked for stands in the body."""
        chat.post(model="gemini-3.5-flash-image", messages="Hi", status=400)
        assert path_of(chat) == "/v1beta/models/gemini-3.5-flash:generateContent"
        assert set(chat.sent()[0]["generationConfig"]["responseModalities"]) == {"TEXT", "IMAGE"}

    @pytest.mark.parametrize("model,config", [
        (FLASH, {"thinkingBudget": 0}), ("gemini-2.5-pro", {"thinkingBudget": 128}),
        ("gemini-3.8-flash", {"thinkingLevel": "LOW"})])
    def test_non_thinking(self, chat, model, config):
        chat.post(model=model + "-non-thinking", messages="Hi")
        assert path_of(chat) == f"/v1beta/models/{model}:generateContent"
        assert chat.sent()[0]["generationConfig"]["thinkingConfig"] == config

    def test_unlisted_suffix_is_a_name(self, chat):
        error = chat.post(model="gemini-3.8-flash-search", messages="Hi", status=404)
        assert error["code"] == "model_not_found" and error["param"] == "model"

    def test_budget_map(self, chat):
        chat.post(model="gemini-2.5-pro", messages="Hi")
        assert chat.sent()[0]["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 4096

    def test_budget_of_zero_sends_nothing(self, chat):
        chat.post(model="gemini-2.5-flash-lite", messages="Hi", reasoning_effort="high")
        assert "thinkingConfig" not in chat.sent()[0].get("generationConfig", {})

    def test_filtered(self, chat):
        assert chat.post(model="gemini-3.6-flash", messages="Hi", status=404)["code"] == "model_not_found"
        assert not chat.sim.calls()

    def test_list(self, site, chat):
        answer = site.api.get("/v1/models")
        assert answer.status == 200
        ids = [m["id"] for m in chat.check("ListModelsResponse", answer.json())["data"]]
        assert len(ids) == len(set(ids))
        assert {"gpt-4o", FLASH, FLASH + "-search", FLASH + "-non-thinking", "gemini-3.5-flash-image",
                "gemini-nano-banana-2.1-chat"} <= set(ids)
        assert "gemini-3.6-flash" not in ids and not any(i.startswith("models/") for i in ids)
        assert all(m["created"] and m["owned_by"] == "google" for m in answer.json()["data"])

    def test_one(self, site, chat):
        for name in (FLASH, "gpt-4o", FLASH + "-search", "models/" + FLASH):
            answer = site.api.get("/v1/models/" + name)
            assert answer.status == 200, name
            assert chat.check("Model", answer.json())["id"] == name.removeprefix("models/")

    @pytest.mark.parametrize("name", ["gemini-nonesuch", "gemini-3.6-flash"])
    def test_one_that_is_not_there(self, site, chat, name):
        answer = site.api.get("/v1/models/" + name)
        assert answer.status == 404
        assert chat.check("Error", answer.json()["error"])["code"] == "model_not_found"

    def test_every_listed_model_can_be_asked_for(self, site):
        for model in site.api.get("/v1/models").json()["data"]:
            assert site.api.get("/v1/models/" + model["id"]).status == 200, model["id"]


class TestFields:
    CONF = Conf(keys=KEYS[:1])

    def test_nothing_that_was_not_asked_for(self, chat):
        """No sampling fields of ours, nothing stored at Google."""
        chat.post(messages="Hi")
        (body,) = chat.sent()
        assert body["store"] is False
        assert not {"temperature", "topP", "topK", "maxOutputTokens", "seed", "candidateCount",
                    "stopSequences", "presencePenalty"} & set(body.get("generationConfig", {}))

    def test_store_of_the_client(self, chat):
        chat.post(messages="Hi", store=True)
        assert chat.sent()[0]["store"] is True

    def test_ignored_are_named(self, chat):
        chat.post(messages="Hi", nonsense=1, **{"other thing": []})
        assert chat.headers.get("x-gbalance-ignored") == "nonsense,other_thing"
        chat.post(messages="Hi", stream=True, nonsense=1)
        assert chat.headers.get("x-gbalance-ignored") == "nonsense"
        chat.post(messages="Hi", user="u", metadata={"a": "b"})
        assert "x-gbalance-ignored" not in chat.headers

    @pytest.mark.parametrize("fields,param", [
        ({"logit_bias": {"50256": -100}}, "logit_bias"), ({"n": 9}, "n"), ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"), ({"stop": list("abcde")}, "stop"), ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format.type"), ({"tool_choice": "required"}, "tool_choice"),
        ({"service_tier": "gold"}, "service_tier"), ({"reasoning_effort": "utmost"}, "reasoning_effort"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"n": 2, "stream": True, "model": "gemini-3.8-flash"}, "n")])
    def test_refused_are_named(self, chat, fields, param):
        error = chat.post(messages="Hi", status=400, **fields)
        assert error["param"] == param and error["type"] == "invalid_request_error" and error["code"]
        assert not chat.sim.calls()

    @pytest.mark.parametrize("model,fields", [
        ("gemini-3.8-flash", {"temperature": 0.5, "top_p": 0.9}), ("gemini-5-preview", {"temperature": 0.5}),
        ("gemini-flash-latest", {"top_p": 0.5})])
    def test_sampling_is_left_out_where_it_is_refused(self, chat, model, fields):
        chat.post(model=model, messages="Hi", **fields)
        assert not {"temperature", "topP"} & set(chat.sent()[0].get("generationConfig", {}))

    @pytest.mark.parametrize("effort,model,expected", [
        ("none", FLASH, {"thinkingBudget": 0}), ("high", FLASH, {"thinkingBudget": 24576}),
        ("xhigh", "gemini-2.5-pro", {"thinkingBudget": 32768}), ("minimal", "gemini-3.8-flash", {"thinkingLevel": "LOW"}),
        ("minimal", "gemini-3.5-flash", {"thinkingLevel": "MINIMAL"}), ("max", "gemini-4-argon", {"thinkingLevel": "HIGH"})])
    def test_effort(self, chat, effort, model, expected):
        chat.post(model=model, messages="Hi", reasoning_effort=effort)
        sent = chat.sent()[0]["generationConfig"]["thinkingConfig"]
        assert {k: v for k, v in sent.items() if k != "includeThoughts"} == expected

    def test_everything_else_at_once(self, chat):
        """Every body that goes out is valid; here with as much in it as one can hold."""
        chat.post(messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be exact."}]},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,SGk="}}]},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Ulm"}'}},
                {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bonn"}'}}]},
            {"role": "tool", "tool_call_id": "c2", "content": "rain"},
            {"role": "tool", "tool_call_id": "c1", "content": '{"t":21}'}, {"role": "user", "content": "And now?"}],
            tools=[TOOL], tool_choice={"type": "function", "function": {"name": "get_weather"}},
            parallel_tool_calls=True, max_completion_tokens=500, stop="END", seed=2**40 + 5, temperature=1.5, top_p=0.5,
            n=2, service_tier="flex", user="u-1", prompt_cache_key="k",
            extra_body={"google": {"thinking_config": {"thinking_budget": 512, "include_thoughts": True}}})
        (body,) = chat.sent()
        results = [p["functionResponse"] for c in body["contents"] for p in c["parts"] if "functionResponse" in p]
        assert [(r["id"], r["name"]) for r in results] == [("c1", "get_weather"), ("c2", "get_weather")]
        assert results[0]["response"] == {"t": 21} and results[1]["response"] == {"result": "rain"}
        config = body["generationConfig"]
        assert config["candidateCount"] == 2 and config["seed"] == 5 and config["stopSequences"] == ["END"]
        assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}
        assert body["serviceTier"] == "flex"

    def test_numbers_of_tools_survive(self, site, chat):
        """Byte for byte, to Gemini and back; a parser that knows doubles only would change each."""
        arguments = '{"price":19.99,"big":9007199254740993,"long":123456789012345678901234567890,"far":1e400}'
        chat.sim.literal(('{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"x","name":'
                          '"get_weather","args":%s}}]},"finishReason":"STOP","index":0}]}' % arguments).encode())
        body = json.dumps({"model": FLASH, "tools": [TOOL], "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {
                "name": "get_weather", "arguments": arguments}}]},
            {"role": "tool", "tool_call_id": "c1", "content": arguments}]})
        answer = site.api.request("POST", "/v1/chat/completions", body=body.encode(),
                                  headers={"Content-Type": "application/json"})
        assert answer.status == 200
        assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == arguments
        (call,) = chat.sim.calls()
        assert call["body"].count(arguments) == 2

    @pytest.mark.parametrize("model,many", [(FLASH, 1), ("gemini-3.5-flash", 3)])
    def test_n(self, chat, model, many):
        answer = chat.post(model=model, messages="Hi", n=3)
        assert [c["index"] for c in answer["choices"]] == [0, 1, 2]
        assert len(chat.sent()) == many
        assert answer["usage"]["total_tokens"] >= answer["usage"]["completion_tokens"] + answer["usage"]["prompt_tokens"]

    def test_n_as_a_stream(self, chat):
        choices = openai_spec.gather(chat.post(messages="Hi", n=2, stream=True))
        assert len(choices) == 2 and all(c["message"]["content"] for c in choices)

    def test_argon_is_served_from_a_stream(self, chat):
        """It gives twice as much when streamed."""
        answer = chat.post(model="gemini-4-argon", messages="[[chunks=5]] Hi", max_tokens=60000)
        assert path_of(chat).endswith("gemini-4-argon:streamGenerateContent")
        assert answer["choices"][0]["message"]["content"] and answer["usage"]["total_tokens"] > 0


class TestOperator:
    CONF = Conf(keys=KEYS[:1], api=r"""
GBalanceStoreRequests On
GBalanceToolsCodeExecutionEnabled On
GBalanceUrlContextEnabled On
GBalanceUrlContextModels gemini-3.8-flash
GBalanceShowThinkingProcess Off
GBalanceSafetySettings '[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_LOW_AND_ABOVE"}]'
""")

    def test_store(self, chat):
        chat.post(messages="Hi")
        assert "store" not in chat.sent()[0]
        chat.sim.reset()
        chat.sim.record(bodies=True)
        chat.post(messages="Hi", store=False)
        assert chat.sent()[0]["store"] is False

    def test_safety(self, chat):
        chat.post(messages="Hi")
        own = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]
        chat.post(messages="Hi", extra_body={"google": {"safety_settings": own}})
        first, second = chat.sent()
        assert first["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_LOW_AND_ABOVE"}]
        assert second["safetySettings"] == own

    def test_tools_of_the_operator(self, chat):
        chat.post(messages="Hi")
        chat.post(model="gemini-3.8-flash", messages="Hi")
        first, second = chat.sent()
        assert first["tools"] == [{"codeExecution": {}}]
        assert {"urlContext": {}} in second["tools"]

    def test_they_give_way_to_functions(self, chat):
        chat.post(messages="Hi", tools=[TOOL])
        (body,) = chat.sent()
        assert [list(t) for t in body["tools"]] == [["functionDeclarations"]]

    def test_thoughts_stay_hidden(self, chat):
        for stream in (False, True):
            message = chat.message(stream, messages="[[thoughts=20]] Hi", reasoning_effort="high")
            assert "reasoning_content" not in message and message["content"]
