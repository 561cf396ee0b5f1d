# SPDX-License-Identifier: Apache-2.0
"""POST images/generations, and chat with models that paint."""
import base64
import json

import pytest

import openai_spec
import test_205_keys_api
from conf import KEYS, Conf
from pictures import pixels

MODEL = "gemini-3-pro-image"
IMAGEN = "imagen-4.0-generate-001"
GONE = "imagen-3.0-generate-002"
NOW = "gemini-nano-banana-2.1"


def draw(site, prompt="a cat", **fields):
    return site.api.post("/v1/images/generations", json={"model": MODEL, "prompt": prompt, **fields})


def from_data_url(url):
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return base64.b64decode(data, validate=True)


def sent(sim):
    return [json.loads(c["body"]) for c in sim.calls()]


class TestGemini:
    CONF = Conf(keys=KEYS)

    @pytest.mark.parametrize("n", [1, 2, 4])
    def test_pictures(self, site, sim, n):
        answer = draw(site, n=n, size="1024x1024", quality="high")
        assert answer.status == 200
        body = answer.json()
        spec = openai_spec.load()
        if spec:
            spec.openai("ImagesResponse", body)
        assert [pixels(base64.b64decode(d["b64_json"], validate=True)) for d in body["data"]] == [(16, 16)] * n
        assert body["output_format"] == "png" and body["size"] == "1024x1024" and body["quality"] == "high"
        assert body["usage"]["output_tokens"] >= 1120 * n
        assert [c["method"] for c in sim.calls()] == ["generateContent"] * n

    @pytest.mark.parametrize("size, ratio, image_size", [
        ("1024x1024", "1:1", "1K"), ("1792x1024", "16:9", "1K"), ("1024x1792", "9:16", "1K"),
        ("1536x1024", "3:2", "1K"), ("1024x1536", "2:3", "1K"), ("2048x2048", "1:1", "2K"),
        ("1920x1080", "16:9", "2K"), ("256x256", "1:1", "1K"), ("3840x1600", "21:9", "4K")])
    def test_sizes(self, site, sim, size, ratio, image_size):
        sim.record(bodies=True)
        assert draw(site, size=size).status == 200
        (body,) = sent(sim)
        assert body["generationConfig"] == {"responseModalities": ["IMAGE"],
                                            "imageConfig": {"aspectRatio": ratio, "imageSize": image_size}}
        spec = openai_spec.load()
        if spec:
            spec.gemini("GenerateContentRequest", body)

    @pytest.mark.parametrize("fields", [{}, {"size": "auto"}, {"quality": "auto", "style": "vivid", "user": "me"}])
    def test_nothing_is_made_up(self, site, sim, fields):
        sim.record(bodies=True)
        assert draw(site, **fields).status == 200
        assert sent(sim)[0]["generationConfig"] == {"responseModalities": ["IMAGE"]}

    def test_no_size_class_where_there_is_none(self, site, sim):
        sim.record(bodies=True)
        assert draw(site, model="gemini-2.5-flash-image", size="1792x1024").status == 200
        assert sent(sim)[0]["generationConfig"]["imageConfig"] == {"aspectRatio": "16:9"}

    @pytest.mark.parametrize("model, ratio", [
        ("gemini-nano-banana-2.1", "1:4"), ("gemini-3-pro-image", "9:16"), ("gemini-2.5-flash-image", "9:16")])
    def test_the_nearest_ratio_that_the_model_has(self, site, sim, model, ratio):
        sim.record(bodies=True)
        draw(site, model=model, size="512x2048")
        assert sent(sim)[0]["generationConfig"]["imageConfig"]["aspectRatio"] == ratio

    def test_marks_in_the_prompt(self, site, sim):
        sim.record(bodies=True)
        body = draw(site, "a {ratio:16:9} {house} {n:3}").json()
        assert len(body["data"]) == 3
        for one in sent(sim):
            assert one["contents"][0]["parts"] == [{"text": "a  {house}"}]
            assert one["generationConfig"]["imageConfig"]["aspectRatio"] == "16:9"

    def test_url_without_a_host_is_a_data_url(self, site):
        (one,) = draw(site, response_format="url").json()["data"]
        assert set(one) == {"url"} and pixels(from_data_url(one["url"]))

    def test_stream(self, site):
        answer = site.api.open("POST", "/v1/images/generations",
                               json={"model": MODEL, "prompt": "a cat", "n": 2, "stream": True})
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        events = [json.loads(e) for e in answer.events()]
        spec = openai_spec.load()
        assert len(events) == 2
        for event in events:
            assert event["type"] == "image_generation.completed" and pixels(base64.b64decode(event["b64_json"]))
            if spec:
                spec.openai("ImageGenCompletedEvent", event)

    @pytest.mark.parametrize("body, param", [
        ({"prompt": None}, "prompt"), ({"prompt": ""}, "prompt"), ({"prompt": 7}, "prompt"), ({"n": 5}, "n"),
        ({"n": 0}, "n"), ({"prompt": "x {n:9}"}, "prompt"), ({"prompt": "x {ratio:7:9}"}, "prompt"),
        ({"prompt": "{n:2}"}, "prompt"), ({"size": "big"}, "size"), ({"size": "0x0"}, "size"),
        ({"size": "1024x1024x"}, "size"), ({"background": "transparent"}, "background"),
        ({"response_format": "path"}, "response_format"), ({"output_format": "gif"}, "output_format")])
    def test_refused(self, site, sim, body, param):
        answer = draw(site, **body)
        assert answer.status == 400 and answer.json()["error"]["param"] == param
        assert not sim.calls()

    @pytest.mark.parametrize("name", ["-search", "-non-thinking"])
    def test_image_chat_of_a_plain_model(self, site, name):
        """Only IMAGE_MODELS have the suffix; what Google lists is no suffix."""
        answer = site.api.post("/v1/chat/completions", json={
            "model": "gemini-2.5-flash-image", "modalities": ["image"], "messages": [{"role": "user", "content": "x"}]})
        assert "data:image/png;base64," in answer.json()["choices"][0]["message"]["content"]


class TestFaults:
    CONF = Conf(keys=KEYS, claims=(r"GB\d{4}:",), api="GBalanceMaxRetries 1")

    def test_some_came(self, site, sim):
        """What was painted is handed out although another call failed."""
        sim.fault("status", status=500, count=2)
        body = draw(site, n=4).json()
        assert len(body["data"]) == 2 and len(sim.calls()) == 4

    def test_none_came(self, make_site):
        site = make_site(self.CONF)
        site.sim.fault("status", status=400, message="no")
        assert draw(site, n=3).status == 400

    @pytest.mark.parametrize("reason", ["IMAGE_SAFETY", "PROHIBITED_CONTENT"])
    def test_blocked(self, site, sim, reason):
        sim.literal(b'{"candidates":[{"content":{"role":"model"},"finishReason":"%s"}]}' % reason.encode())
        answer = draw(site, n=2)
        assert answer.status == 400
        error = answer.json()["error"]
        assert error["code"] == "moderation_blocked" and error["type"] == "image_generation_user_error"
        assert reason in error["message"]
        assert len(sim.calls()) == 2        # one a picture, none of them again

    def test_only_words(self, site, sim):
        sim.literal(b'{"candidates":[{"content":{"parts":[{"text":"I cannot draw"}]},"finishReason":"STOP"}]}')
        answer = draw(site)
        assert answer.status == 502 and answer.json()["error"]["code"] == "empty_response"

    def test_unknown_model(self, site, sim):
        answer = draw(site, model="gemini-9-image")
        assert answer.status == 404 and answer.json()["error"]["code"] == "model_not_found"


class TestImagen:
    CONF = Conf(keys=KEYS[:2], api=f"GBalanceCreateImageModel {IMAGEN}")

    @pytest.mark.parametrize("model", [IMAGEN, "dall-e-3", "gpt-image-1", "gpt-image-1-mini", None])
    def test_one_call(self, site, sim, model):
        """OpenAI's names and no name at all mean CREATE_IMAGE_MODEL; four pictures are one call."""
        sim.record(bodies=True)
        answer = draw(site, model=model, n=4, size="1792x1024")
        body = answer.json()
        assert [pixels(base64.b64decode(d["b64_json"])) for d in body["data"]] == [(16, 16)] * 4
        spec = openai_spec.load()
        if spec:
            spec.openai("ImagesResponse", body)
        (call,) = sim.calls()
        assert call["path"] == f"/v1beta/models/{IMAGEN}:predict"
        assert sent(sim) == [{"instances": [{"prompt": "a cat"}],
                              "parameters": {"sampleCount": 4, "aspectRatio": "16:9"}}]

    @pytest.mark.parametrize("size, ratio", [("1536x1024", "4:3"), ("2560x1080", "16:9"), ("512x2048", "9:16")])
    def test_the_nearest_of_its_ratios(self, site, sim, size, ratio):
        sim.record(bodies=True)
        draw(site, model=IMAGEN, size=size)
        assert sent(sim)[0]["parameters"]["aspectRatio"] == ratio

    def test_filtered(self, site):
        answer = draw(site, "[[rai]]", model=IMAGEN)
        assert answer.status == 400 and answer.json()["error"]["code"] == "moderation_blocked"

    @pytest.mark.parametrize("stream", [False, True])
    def test_chat(self, site, sim, stream):
        sim.record(bodies=True)
        answer = chat_picture(site, f"{IMAGEN}-chat", stream)
        assert answer.count("![image](data:image/png;base64,") == 2
        (call,) = sim.calls()
        assert call["method"] == "predict"
        assert sent(sim)[0] == {"instances": [{"prompt": "a dog"}],
                                "parameters": {"sampleCount": 2, "aspectRatio": "3:4"}}

    def test_chat_filtered(self, site):
        answer = site.api.post("/v1/chat/completions", json={
            "model": f"{IMAGEN}-chat", "messages": [{"role": "user", "content": "[[rai]]"}]})
        (choice,) = answer.json()["choices"]
        assert choice["finish_reason"] == "content_filter" and "filtered" in choice["message"]["refusal"]


def chat_picture(site, model, stream=False, text="a dog {n:2} {ratio:3:4}"):
    """All text that a chat client sees."""
    fields = {"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
    if not stream:
        answer = site.api.post("/v1/chat/completions", json=fields)
        assert answer.status == 200, answer.text
        return answer.json()["choices"][0]["message"]["content"]
    answer = site.api.open("POST", "/v1/chat/completions", json={**fields, "stream": True})
    assert answer.status == 200
    events = list(answer.events())
    assert events.pop() == "[DONE]"
    chunks = [json.loads(e) for e in events]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


class TestGone:
    """CREATE_IMAGE_MODEL as gemini-balance's default has it, which Google has shut down."""
    CONF = Conf(keys=KEYS[:1], claims=("GB5009",))

    def told(self, site):
        return [line for line in site.log.lines() if "GB5009" in line]

    @pytest.mark.parametrize("n", [1, 3])
    def test_the_current_model_answers(self, site, sim, n):
        body = draw(site, model="dall-e-3", n=n, size="1024x1024").json()
        assert len(body["data"]) == n
        calls = sim.calls()
        assert calls[0]["path"] == f"/v1beta/models/{GONE}:predict"
        assert [c["path"] for c in calls[1:]] == [f"/v1beta/models/{NOW}:generateContent"] * n
        assert any(GONE in line and NOW in line for line in self.told(site))

    @pytest.mark.parametrize("stream", [False, True])
    def test_chat(self, site, sim, stream):
        assert "![image](data:image/png;base64," in chat_picture(site, f"{GONE}-chat", stream, "a dog")
        assert [c["method"] for c in sim.calls()] == ["predict", "streamGenerateContent" if stream else
                                                      "generateContent"]

    def test_other_models_are_not_replaced(self, site):
        assert draw(site, model="gemini-9-image").status == 404


class TestImageSuffix:
    CONF = Conf(keys=KEYS[:1], api='GBalanceImageModels "gemini-3-pro-image"')

    @pytest.mark.parametrize("stream", [False, True])
    def test_chat(self, site, sim, stream):
        sim.record(bodies=True)
        assert "![image](data:image/png;base64," in chat_picture(site, "gemini-3-pro-image-image", stream)
        assert sent(sim)[0]["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]


class TestWhoPays:
    CONF = Conf(keys=KEYS[:2], api=f"GBalancePaidKey {KEYS[2]}\nGBalanceCreateImageModel {MODEL}")

    def test_paid_key(self, site, sim):
        assert draw(site, n=2).status == 200
        chat_picture(site, f"{MODEL}-chat")
        assert {c["key"] for c in sim.calls()} == {KEYS[2]}

    def test_not_for_the_rest(self, site, sim):
        for _ in range(4):
            chat_picture(site, "gemini-2.5-flash", text="hi")
        assert KEYS[2] not in {c["key"] for c in sim.calls()}


class TestTaggedKeys:
    """A tag says who serves the model, PAID_KEY or not."""
    CONF = Conf(keys=KEYS[:2], claims=(r"GB10\d\d: (key|pool) ",), api=test_205_keys_api.api(
        more=f"GBalancePaidKey {KEYS[2]}\nGBalanceModelKeyTags '{{\"{MODEL}\": \"painter\"}}'"))

    def test_by_the_models_name(self, site, sim):
        test_205_keys_api.post(site, "/edit", {"ids": [test_205_keys_api.id_of(KEYS[1])], "tags": ["painter"]})
        assert draw(site, n=2).status == 200 and draw(site, model="gemini-2.5-flash-image").status == 200
        assert sorted((c["model"], c["key"]) for c in sim.calls()) == sorted(
            [(MODEL, KEYS[1])] * 2 + [("gemini-2.5-flash-image", KEYS[2])])
