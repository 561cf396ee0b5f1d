# SPDX-License-Identifier: Apache-2.0
"""POST audio/speech: what is asked of Gemini, every format of the answer, streams, errors."""
import base64
import json
import struct
import subprocess

import pytest

import openai_spec
from conf import KEYS, Conf
from load import Case, load
from wire import OpenAI

PATH = "/v1/audio/speech"
TTS = "gemini-2.5-flash-preview-tts"
EXPECTED = (r"GB\d{4}: (key|pool) ",)
# as sox names them, what a file begins with, its type
FORMATS = {"wav": ("wav", b"RIFF", "audio/wav"), "mp3": ("mp3", None, "audio/mpeg"),
           "opus": ("opus", b"OggS", "audio/ogg"), "flac": ("flac", b"fLaC", "audio/flac")}
with_waiting = pytest.mark.parametrize("speaker", ["On", "Off"], ids=["parked", "waiting"], indirect=True,
                                       scope="class")


def speak(site, text="Hello there.", mount="/v1", **fields):
    fields.setdefault("voice", "alloy")
    return site.api.post(mount + "/audio/speech", json={"model": "tts-1", "input": text, **fields})


def sent(sim):
    """The bodies that went upstream, each valid for Google."""
    spec, bodies = openai_spec.load(), [json.loads(c["body"]) for c in sim.calls()]
    for body in bodies:
        if spec:
            spec.gemini("GenerateContentRequest", body)
    return bodies


def samples_of(sim):
    """The samples that the simulator says for a text of up to 39 characters."""
    whole = sim.client.post(f"/v1beta/models/{TTS}:generateContent", headers={"x-goog-api-key": KEYS[0]}, json={
        "contents": [{"role": "user", "parts": [{"text": "Hello there."}]}],
        "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": {"voiceConfig": {
            "prebuiltVoiceConfig": {"voiceName": "Kore"}}}}}).json()
    return base64.b64decode(whole["candidates"][0]["content"]["parts"][0]["inlineData"]["data"])


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True).stdout


def error_of(answer, status, param):
    error = OpenAI.check_error(answer, status)
    spec = openai_spec.load()
    if spec:
        spec.openai("Error", error)
    assert error["param"] == param
    return error["message"]


@pytest.fixture(scope="class")
def speaker(request, make_site):
    conf = request.cls.CONF
    conf.parking = getattr(request, "param", "On")
    return make_site(conf)


@pytest.fixture
def sim(speaker):
    speaker.sim.reset()
    speaker.sim.record(bodies=True)
    return speaker.sim


@pytest.mark.smoke
@with_waiting
class TestFormats:
    CONF = Conf(keys=KEYS, claims=(*EXPECTED, "GB8011"))

    def test_wav_is_exact(self, speaker, sim):
        answer = speak(speaker)
        samples = samples_of(sim)
        assert answer.headers.get("Content-Type") == "audio/wav"
        assert answer.body == struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1,
                                          24000, 48000, 2, 16, b"data", len(samples)) + samples

    @pytest.mark.parametrize("name", FORMATS)
    def test_sox_reads_it(self, speaker, sim, name, tmp_path):
        kind, magic, content_type = FORMATS[name]
        text = "A longer text to be spoken. " * 12
        answer = speak(speaker, text, response_format=name)
        assert answer.status == 200 and answer.headers.get("Content-Type") == content_type
        assert int(answer.headers.get("Content-Length")) == len(answer.body)
        assert magic is None or answer.body.startswith(magic)
        path = tmp_path / f"speech.{kind}"
        path.write_bytes(answer.body)
        if name == "opus":          # Debian's sox has no word for it
            made = run("opusdec", "--quiet", "--rate", "24000", path, "-")[44:]
        else:
            info = dict(line.split(":", 1) for line in run("sox", "--info", path).decode().splitlines() if ":" in line)
            info = {k.strip(): v.strip() for k, v in info.items()}
            assert info["Channels"] == "1" and info["Sample Rate"] == "24000"
            made = run("sox", path, "-t", "raw", "-b", "16", "-e", "signed", "-")
        wav = speak(speaker, text).body
        assert abs(len(made) - (len(wav) - 44)) <= 24000 * 2 * 0.15, "as long as what was spoken"
        if name in ("wav", "flac"):
            assert made == wav[44:], "bit by bit"

    def test_bare_samples_are_streamed(self, speaker, sim):
        sim.record()
        answer = speak(speaker, response_format="pcm")
        assert answer.headers.get("Content-Type") == "audio/pcm"
        assert [c["method"] for c in sim.calls()] == ["streamGenerateContent"]
        assert answer.body == samples_of(sim)

    def test_they_come_while_the_model_speaks(self, speaker, sim):
        with speaker.api.connect() as conn:
            answer = speaker.api.open("POST", PATH, conn=conn, json={
                "model": TTS, "voice": "Kore", "response_format": "pcm",
                "input": "[[interval=3000]] " + "x" * 200})
            assert len(next(answer.pieces())) > 0
        sim.wait_quiet()

    def test_aac(self, speaker, sim):
        message = error_of(speak(speaker, response_format="aac"), 400, "response_format")
        assert all(name in message for name in ("wav", "pcm", "mp3", "opus", "flac"))

    def test_a_whole_wav_of_the_upstream(self, speaker, sim):
        """As Gemini 3.8 sends it, with a chunk before the samples."""
        samples = bytes(range(256)) * 10
        wav = (b"RIFF" + struct.pack("<I", 4 + 24 + 12 + 8 + len(samples)) + b"WAVEfmt "
               + struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16) + b"LIST\x04\0\0\0abcd"
               + b"data" + struct.pack("<I", len(samples)) + samples)
        sim.literal(audio(wav, "audio/wav"))
        assert speak(speaker).body[44:] == samples
        sim.literal(b"data: " + audio(wav, "audio/wav") + b"\r\n\r\n", content_type="text/event-stream")
        assert speak(speaker, response_format="pcm").body == samples

    def test_another_sound(self, speaker, sim):
        sim.literal(audio(b"ID3 something", "audio/mpeg"))
        assert "another kind" in error_of(speak(speaker), 502, None)


def audio(data, mime, **members):
    return json.dumps({"candidates": [{"content": {"role": "model", "parts": [
        {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}]}, "finishReason": "STOP",
        **members}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 50, "totalTokenCount": 53}}).encode()


@pytest.mark.smoke
@with_waiting
class TestEvents:
    CONF = Conf(keys=KEYS, claims=EXPECTED)

    @pytest.mark.parametrize("name", ["pcm", *FORMATS])
    def test_every_format(self, speaker, sim, name):
        answer = speak(speaker, "Hello there." * 8, response_format=name, stream_format="sse")
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        events = [json.loads(e) for e in openai_spec.events_of(answer)]
        spec = openai_spec.load()
        for event in events:
            if spec:
                spec.openai("CreateSpeechResponseStreamEvent", event)
        assert [e["type"] for e in events] == ["speech.audio.delta"] * (len(events) - 1) + ["speech.audio.done"]
        usage = events[-1]["usage"]
        assert usage["input_tokens"] > 0 and usage["output_tokens"] > 0
        assert usage["total_tokens"] >= usage["input_tokens"] + usage["output_tokens"]
        found = b"".join(base64.b64decode(e["audio"]) for e in events[:-1])
        whole = speak(speaker, "Hello there." * 8, response_format=name).body
        if name == "wav":
            assert found[:4] == b"RIFF" and found[40:44] == b"\xff\xff\xff\xff" and found[44:] == whole[44:]
        elif name == "opus":
            assert found[:4] == b"OggS"     # its serial number is another each time
        else:
            assert found == whole

    def test_an_error_in_the_middle(self, speaker, sim):
        sim.fault("cut", after=1, how="rst")
        answer = speak(speaker, "x" * 200, response_format="pcm", stream_format="sse")
        assert "error" in [json.loads(e) for e in openai_spec.events_of(answer)][-1]

    def test_samples_that_break_off(self, speaker, sim):
        """There is no place for a word: the connection tells."""
        sim.fault("cut", after=1, how="rst")
        with pytest.raises(ConnectionError):
            speak(speaker, "x" * 200, response_format="pcm")


class TestRequest:
    CONF = Conf(keys=KEYS, claims=EXPECTED)

    def config(self, sim):
        (body,) = sent(sim)
        return body["contents"][0]["parts"][0]["text"], body["generationConfig"]

    @pytest.mark.parametrize("voice, gemini", [("alloy", "Kore"), ("Nova", "Leda"), ("zubenelgenubi", "Zubenelgenubi"),
                                               ({"id": "Puck"}, "Puck"), (None, "Zephyr")])
    def test_voices(self, speaker, sim, voice, gemini):
        assert speak(speaker, voice=voice).status == 200
        text, config = self.config(sim)
        assert text == "Hello there." and config["responseModalities"] == ["AUDIO"]
        assert config["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == gemini

    @pytest.mark.parametrize("fields, text", [
        ({"speed": 1.05}, "Hello there."), ({"speed": 0.7}, "Speak slowly.:\nHello there."),
        ({"speed": 4}, "Speak very quickly.:\nHello there."),
        ({"instructions": 'Like a "pirate".'}, 'Like a "pirate".:\nHello there.'),
        ({"instructions": "Sadly.", "speed": 1.5}, "Sadly. Speak quickly.:\nHello there.")])
    def test_style(self, speaker, sim, fields, text):
        assert speak(speaker, **fields).status == 200
        assert self.config(sim)[0] == text

    def test_style_of_newer_models(self, speaker, sim):
        sim.literal(audio(b"\0\0" * 100, "audio/L16;codec=pcm;rate=24000"))
        answer = speak(speaker, model="gemini-3.8-flash-tts", instructions="Sadly.", voice="voice_abc")
        assert answer.status == 200 and len(answer.body) == 244
        (call,) = sim.calls()
        body = json.loads(call["body"])
        assert body["contents"][0]["parts"] == [{"text": "Hello there.", "speechMetadata": {"style": "Sadly."}}]
        assert body["generationConfig"]["speechConfig"] == {"voiceConfig": {"voice": "voice_abc"}}

    def test_two_speakers(self, speaker, sim):
        config = {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": [
            {"speaker": name, "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
            for name, voice in (("Ann", "Kore"), ("Bob", "Puck"))]}}
        assert speak(speaker, "Ann: Hi. Bob: Hi.", extra_body={"google": {"speech_config": config}}).status == 200
        assert self.config(sim)[1]["speechConfig"] == config

    @pytest.mark.parametrize("fields, param", [
        ({"voice": "nobody"}, "voice"), ({"voice": 7}, "voice"), ({"speed": 5}, "speed"), ({"speed": "fast"}, "speed"),
        ({"response_format": "ogg"}, "response_format"), ({"stream_format": "xml"}, "stream_format"),
        ({"input": ""}, "input"), ({"input": None}, "input"), ({"model": "gemini-2.5-flash"}, "model")])
    def test_refused(self, speaker, sim, fields, param):
        asked = {"model": "tts-1", "voice": "alloy", "input": "x", **fields}
        error_of(speaker.api.post(PATH, json=asked), 400, param)
        assert sim.calls() == []

    def test_unknown_fields_are_named(self, speaker, sim):
        assert speak(speaker, colour="red").headers.get("x-gbalance-ignored") == "colour"

    def test_mounts(self, speaker, sim):
        assert speak(speaker, mount="/hf/v1").body[:4] == b"RIFF"
        assert speak(speaker, mount="/openai/v1").status == 404     # Google's endpoint has none
        OpenAI.check_error(speaker.api.get(PATH), 405)


@with_waiting
class TestFaults:
    CONF = Conf(keys=KEYS, claims=EXPECTED)

    def test_another_key_speaks(self, speaker, sim):
        sim.fault(status=503, count=2)
        assert speak(speaker).body[:4] == b"RIFF"
        assert len({c["key"] for c in sim.calls()}) == 3

    def test_words_instead_of_sound(self, speaker, sim):
        words = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP"}]}
        sim.literal(json.dumps(words).encode(), count=1)
        assert speak(speaker).body[:4] == b"RIFF" and len(sim.calls()) == 2
        sim.literal(json.dumps(words).encode())
        OpenAI.check_error(speak(speaker), 502)

    def test_blocked(self, speaker, sim):
        sim.fault("blocked", reason="PROHIBITED_CONTENT")
        assert "PROHIBITED_CONTENT" in error_of(speak(speaker), 400, None)
        assert len(sim.calls()) == 1


class TestSettings:
    CONF = Conf(keys=KEYS[:1], api='GBalanceTtsModel gemini-3.1-flash-tts-preview\nGBalanceTtsVoiceName Puck\n'
                                   'GBalanceTtsSpeed slowly\nGBalanceTtsResponseFormat flac\n'
                                   'GBalanceModelAliases \'{"tts-1-hd": "gemini-2.5-pro-preview-tts"}\'')

    def test_defaults(self, speaker, sim):
        answer = speaker.api.post(PATH, json={"input": "Hello there."})
        assert answer.body[:4] == b"fLaC" and answer.headers.get("Content-Type") == "audio/flac"
        (call,) = sim.calls()
        assert call["model"] == "gemini-3.1-flash-tts-preview"
        (body,) = sent(sim)
        assert body["contents"][0]["parts"][0]["text"] == "Speak slowly.:\nHello there."
        assert "Puck" in call["body"]

    @pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15", ""])
    def test_names_of_openai(self, speaker, sim, model):
        assert speak(speaker, model=model).status == 200
        assert [c["model"] for c in sim.calls()] == ["gemini-3.1-flash-tts-preview"]

    def test_an_alias_of_the_operator(self, speaker, sim):
        assert speak(speaker, model="tts-1-hd", speed=1).status == 200
        assert [c["model"] for c in sim.calls()] == ["gemini-2.5-pro-preview-tts"]


class TestManySpeakers:
    CONF = Conf(keys=KEYS)

    def test_while_workers_encode_others_are_served(self, speaker, sim):
        sim.record()
        cases = [Case("POST", PATH, {"model": "tts-1", "voice": "alloy", "input": "x" * 400, "response_format": name})
                 for name in ("mp3", "opus", "flac", "wav", "pcm")]
        report = load(speaker.port, cases, token=speaker.api.token, connections=40, requests=200)
        assert report.failed == 0 and report.statuses == {"200": 200}
        speaker.settled()
