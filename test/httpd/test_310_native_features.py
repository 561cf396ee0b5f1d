# SPDX-License-Identifier: Apache-2.0
"""Features on the native surface, end to end: what reaches the upstream."""
import json

import pytest

from conf import Conf
from wire import MODEL, Gemini

BODY = b'{ "contents": [{"role":"user","parts":[{"text":"Hi"}]}], "generationConfig": {"temperature": 0.70000000000000001} }'


def sent(site, sim, model=MODEL, body=BODY, method="generateContent"):
    sim.record(bodies=True)
    answer = site.api.post(f"/v1beta/models/{model}:{method}", body=body, headers={"Content-Type": "application/json"})
    assert answer.status == 200, answer
    calls = [c for c in sim.calls() if c["path"].split("?")[0].endswith(method)]
    return calls[-1]["path"], calls[-1]["body"].encode()


class TestDefaults:
    @pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens"])
    def test_not_a_byte_is_touched(self, site, sim, method):
        body = BODY if method != "countTokens" else b'{ "contents": [{"parts":[{"text":"Hi"}]}] }'
        assert sent(site, sim, body=body, method=method)[1] == body

    def test_search_variant(self, site, sim):
        path, body = sent(site, sim, MODEL + "-search")
        assert path == f"/v1beta/models/{MODEL}:generateContent"
        assert body == BODY[:-2] + b',"tools":[{"googleSearch":{}}] }'

    def test_filtered_model(self, site, sim):
        error = Gemini.check_error(site.api.post("/v1beta/models/gemini-pro-vision:generateContent", body=BODY), 404)
        assert error["status"] == "NOT_FOUND"
        assert sim.calls() == []


class TestSettings:
    CONF = Conf(api="""
GBalanceThinkingBudgetMap {"gemini-2.5-flash":512}
GBalanceSafetySettings [{"category":"HARM_CATEGORY_HARASSMENT","threshold":"OFF"}]
GBalanceModelAliases {"mine":"gemini-2.5-flash"}
GBalanceUrlContextEnabled On
""")

    def test_all_at_once(self, site, sim):
        path, text = sent(site, sim, "mine")
        body = json.loads(text)
        assert path == f"/v1beta/models/{MODEL}:generateContent"
        assert text.startswith(BODY[:80])
        assert body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 512
        assert body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
        assert body["tools"] == [{"urlContext": {}}]

    def test_the_clients_own_win(self, site, sim):
        own = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
               "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}},
               "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
               "tools": [{"functionDeclarations": [{"name": "f", "description": "d"}]}]}
        text = json.dumps(own).encode()
        assert sent(site, sim, body=text)[1] == text


def with_schema(**words):
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "tools": [{"functionDeclarations": [
        {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {
            "x": {"type": "string", "description": "x", **words}}}}]}]}


class TestSpeech:
    """One speaker or several: all that belongs to it goes up, and the sound comes down."""

    ONE = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}, "languageCode": "en-US"}
    TWO = {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": [
        {"speaker": name, "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
        for name, voice in (("Joe", "Kore"), ("Jane", "Puck"))]}}

    @pytest.mark.parametrize("speech", [ONE, TWO], ids=["single", "multi"])
    @pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
    def test_passes(self, site, sim, speech, method):
        sim.record(bodies=True)
        text = json.dumps({"contents": [{"parts": [{"text": "Joe: Hi. Jane: Hi."}]}], "generationConfig": {
            "responseModalities": ["AUDIO"], "speechConfig": speech}}, indent=1).encode()
        answer = site.api.post(f"/v1beta/models/gemini-2.5-flash-preview-tts:{method}", body=text,
                               headers={"Content-Type": "application/json"})
        assert answer.status == 200 and b'"audio/' in answer.body, answer
        (call,) = [c for c in sim.calls() if "enerateContent" in c["path"]]
        assert call["body"].encode() == text


class TestRefusedSchemas:
    """A word of a client's schema that the upstream refuses costs one more attempt, once for all children."""

    def test_lowered_and_remembered(self, site, sim):
        sim.record(bodies=True)
        text = json.dumps(with_schema(const="v")).encode()
        for method in ("generateContent", "streamGenerateContent?alt=sse"):
            answer = site.api.post(f"/v1beta/models/{MODEL}:{method}", body=text, headers={"Content-Type": "application/json"})
            assert answer.status == 200, answer
        sim.wait_quiet()
        first, second, third = [c["body"].encode() for c in sim.calls()]
        assert first == text
        assert b'"enum":["v"]' in second and b"const" not in second and second == third
        clean = json.dumps(with_schema()).encode()
        assert sent(site, sim, body=clean)[1] == clean

    def test_what_is_no_schema_is_told(self, site, sim):
        body = {**with_schema(), "generationConfig": {"nonsense": 1}}
        error = Gemini.check_error(site.api.post(Gemini.path(), json=body), 400)
        assert "nonsense" in error["message"]
        assert len(sim.calls()) == 1
