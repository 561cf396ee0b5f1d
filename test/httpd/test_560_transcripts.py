# SPDX-License-Identifier: Apache-2.0
"""POST audio/transcriptions and audio/translations."""
import json

import pytest

import openai_spec
from conf import KEYS, Conf
from forms import field, file, inline, post, wav

SAY, TRANSLATE = "/v1/audio/transcriptions", "/v1/audio/translations"
MODEL, PLAIN = "gemini-3.5-transcribe", "gemini-2.5-flash"


SOUND = wav()


def sent(sim):
    return json.loads(sim.calls()[-1]["body"])


def words(*spoken):
    """An answer with words: (text, start, end[, speaker])."""
    parts = []
    for text, start, end, *speaker in spoken:
        parts.append({"audioTranscription": {
            "text": text, "words": [{"word": text, "startOffset": f"{start:.3f}s", "endOffset": f"{end:.3f}s"}],
            **({"speakerLabel": speaker[0]} if speaker else {})}})
    return json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode()


class TestTranscriptions:
    CONF = Conf(keys=KEYS)

    @pytest.mark.parametrize("model", [MODEL, "whisper-1", "gpt-4o-transcribe", None])
    def test_json(self, site, sim, model):
        sim.record(bodies=True)
        answer = post(site, SAY, file("file", SOUND, "größe.wav"), *([field("model", model)] if model else []))
        assert answer.status == 200
        body = answer.json()
        assert body["text"] == "a simulated transcript"
        assert body["usage"]["type"] == "tokens" and body["usage"]["input_tokens"] > 0
        spec = openai_spec.load()
        if spec:
            spec.openai("CreateTranscriptionResponseJson", body)
        assert sim.calls()[-1]["path"] == f"/v1beta/models/{MODEL}:generateContent"
        body = sent(sim)
        assert inline(body["contents"][0]["parts"]) == [("audio/wav", SOUND)]
        assert body["generationConfig"]["audioTranscriptionConfig"] == {
            "mode": "VERBATIM", "wordTimestamp": False, "diarization": False}

    def test_text(self, site):
        answer = post(site, SAY, field("response_format", "text"), file("file", SOUND), field("model", MODEL))
        assert answer.headers.get("Content-Type") == "text/plain; charset=utf-8"
        assert answer.text == "a simulated transcript\n"

    def test_hints(self, site, sim):
        sim.record(bodies=True)
        post(site, SAY, file("file", SOUND), field("language", "de"), field("prompt", "ZyntriQix, Digique Plus"),
             field("keywords[]", "Ärmelkanal"))
        assert sent(sim)["generationConfig"]["audioTranscriptionConfig"] == {
            "mode": "VERBATIM", "wordTimestamp": False, "diarization": False, "languageCodes": ["de"],
            "customVocabulary": ["Ärmelkanal", "ZyntriQix", "Digique Plus"]}

    @pytest.mark.parametrize("granularities", [(), ("segment",), ("word",), ("segment", "word")])
    def test_verbose(self, site, granularities):
        body = post(site, SAY, file("file", SOUND), field("model", MODEL), field("response_format", "verbose_json"),
                    field("language", "en"),
                    *[field("timestamp_granularities[]", each) for each in granularities]).json()
        spec = openai_spec.load()
        if spec:
            spec.openai("CreateTranscriptionResponseVerboseJson", body)
        assert body["task"] == "transcribe" and body["language"] == "en" and body["duration"] == 1.6
        (segment,) = body["segments"]
        assert (segment["start"], segment["end"], segment["text"]) == (0.1, 1.6, "a simulated transcript")
        assert ("words" in body) == ("word" in granularities)
        if "word" in granularities:
            assert body["words"][1] == {"word": "simulated", "start": 0.25, "end": 0.8}

    SPOKEN = (("Hello", 0.1, 0.5), ("there.", 0.6, 1), ("Next", 1.1, 1.4), ("one", 3.9, 4.2), ("\"q\"", 4.3, 14.2),
              ("世界", 14.3, 14.6), ("。", 14.6, 14.7), ("end", 3661.5, 3662.25))

    def test_srt(self, site, sim):
        """A segment ends with a sentence, before a pause, and before it grows long."""
        sim.literal(words(*self.SPOKEN))
        answer = post(site, SAY, file("file", SOUND), field("model", MODEL), field("response_format", "srt"))
        assert answer.headers.get("Content-Type").startswith("application/x-subrip")
        assert answer.text == (
            "1\n00:00:00,100 --> 00:00:01,000\nHello there.\n\n2\n00:00:01,100 --> 00:00:01,400\nNext\n\n"
            "3\n00:00:03,900 --> 00:00:04,200\none\n\n4\n00:00:04,300 --> 00:00:14,200\n\"q\"\n\n"
            "5\n00:00:14,300 --> 00:00:14,700\n世界。\n\n6\n01:01:01,500 --> 01:01:02,250\nend\n\n")

    def test_vtt(self, site, sim):
        sim.literal(words(*self.SPOKEN[:2]))
        answer = post(site, SAY, file("file", SOUND), field("model", MODEL), field("response_format", "vtt"))
        assert answer.headers.get("Content-Type").startswith("text/vtt")
        assert answer.text == "WEBVTT\n\n00:00:00.100 --> 00:00:01.000\nHello there.\n\n"

    def test_speakers(self, site, sim):
        sim.literal(words(("Hi", 0, 0.5, "spk_7"), ("you", 0.5, 0.9, "spk_7"), ("Ho", 1, 1.5, "spk_2"), ("so", 1.6, 2, "spk_7")))
        body = post(site, SAY, file("file", SOUND), field("model", MODEL),
                    field("response_format", "diarized_json")).json()
        spec = openai_spec.load()
        if spec:
            spec.openai("CreateTranscriptionResponseDiarizedJson", body)
        assert [(s["speaker"], s["text"]) for s in body["segments"]] == [("A", "Hi you"), ("B", "Ho"), ("A", "so")]
        assert body["text"] == "Hi you Ho so"

    def test_stream(self, site, sim):
        answer = post(site, SAY, file("file", SOUND), field("model", PLAIN), field("stream", "true"),
                      field("prompt", "[[chunks=4 seq]]"))
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
        assert sim.calls()[-1]["method"] == "streamGenerateContent"
        spec = openai_spec.load()
        *deltas, done = events
        assert len(deltas) >= 4 and done["type"] == "transcript.text.done"
        assert "".join(d["delta"] for d in deltas) == done["text"] and done["usage"]["total_tokens"] > 0
        if spec:
            for event in deltas:
                spec.openai("TranscriptTextDeltaEvent", event)
            spec.openai("TranscriptTextDoneEvent", done)

    def test_any_model_in_words(self, site, sim):
        sim.record(bodies=True)
        answer = post(site, SAY, file("file", b"ID3" + b"\0" * 50), field("model", PLAIN), field("language", "fr"),
                      field("prompt", "names"), field("temperature", "0.2"))
        assert answer.status == 200 and answer.json()["text"]
        body = sent(sim)
        spec = openai_spec.load()
        if spec:
            spec.gemini("GenerateContentRequest", body)
        sound, asked = body["contents"][0]["parts"]
        assert sound["inlineData"]["mimeType"] == "audio/mp3"
        assert "Transcribe" in asked["text"] and "fr." in asked["text"] and "names" in asked["text"]
        assert body["generationConfig"] == {"temperature": 0.2}

    @pytest.mark.parametrize("content, name, type", [
        (b"fLaC....", "x", "audio/flac"), (b"OggS....", "x", "audio/ogg"), (b"\x1aE\xdf\xa3..", "x", "audio/webm"),
        (b"\0\0\0\x20ftypM4A ....", "x", "audio/m4a"), (b"\0\0\0\x20ftypisom....", "x", "audio/mp4"),
        (b"\xff\xfb\x90\0", "x", "audio/mp3"), (b"\xff\xf1\x90\0", "x", "audio/aac"), (b"?", "x.MPGA", "audio/mp3")])
    def test_types(self, site, sim, content, name, type):
        sim.record(bodies=True)
        assert post(site, SAY, file("file", content, name)).status == 200
        assert inline(sent(sim)["contents"][0]["parts"]) == [(type, content)]

    @pytest.mark.parametrize("parts, param", [
        ([field("model", MODEL)], "file"), ([file("sound", SOUND)], "file"), ([file("file", b"", "x.wav")], "file"),
        ([file("file", b"\x89PNG\r\n\x1a\n", "x.wav")], "file"), ([file("file", b"text", "x.txt")], "file"),
        ([file("file", SOUND), field("response_format", "xml")], "response_format"),
        ([file("file", SOUND), field("temperature", "hot")], "temperature"),
        ([file("file", SOUND), field("model", "../x")], "model"),
        ([file("file", SOUND), field("model", PLAIN), field("response_format", "srt")], "response_format"),
        ([file("file", SOUND), field("model", PLAIN), field("response_format", "verbose_json")], "response_format")])
    def test_refused(self, site, sim, parts, param):
        answer = post(site, SAY, *parts)
        assert answer.status == 400 and answer.json()["error"]["param"] == param
        assert not sim.calls()

    def test_blocked(self, site, sim):
        sim.literal(b'{"candidates":[{"finishReason":"PROHIBITED_CONTENT"}]}')
        answer = post(site, SAY, file("file", SOUND))
        assert answer.status == 400 and "PROHIBITED_CONTENT" in answer.json()["error"]["message"]


class TestTranslations:
    CONF = Conf(keys=KEYS)

    @pytest.mark.parametrize("model", [PLAIN, "whisper-1"])
    def test_json(self, site, sim, model):
        sim.record(bodies=True)
        answer = post(site, TRANSLATE, file("file", SOUND), field("model", model), field("response_format", "json"))
        body = answer.json()
        assert body["text"]
        spec = openai_spec.load()
        if spec:
            spec.openai("CreateTranslationResponseJson", body)
        assert "English" in sent(sim)["contents"][0]["parts"][1]["text"]
        assert sim.calls()[-1]["model"] == (PLAIN if model == PLAIN else "gemini-flash-latest")

    def test_text(self, site):
        answer = post(site, TRANSLATE, file("file", SOUND), field("model", PLAIN), field("response_format", "text"))
        assert answer.headers.get("Content-Type").startswith("text/plain") and answer.text.endswith("\n")

    @pytest.mark.parametrize("parts, param", [
        ([field("response_format", "srt")], "response_format"), ([field("model", MODEL)], "model")])
    def test_refused(self, site, sim, parts, param):
        answer = post(site, TRANSLATE, file("file", SOUND), *parts)
        assert answer.status == 400 and answer.json()["error"]["param"] == param
        assert not sim.calls()


class TestRetry:
    CONF = Conf(keys=KEYS, claims=(r"GB\d{4}:",))

    def test_on_another_key(self, site, sim):
        sim.fault("status", status=500, count=1)
        assert post(site, SAY, file("file", SOUND)).json()["text"] == "a simulated transcript"
        assert len({c["key"] for c in sim.calls()}) == 2
