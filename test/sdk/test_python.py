# SPDX-License-Identifier: Apache-2.0
"""The official Python SDKs, unmodified: base URL and token are their only settings."""
import asyncio
import base64
import re
import time

import pytest

from conf import KEYS, Conf
from tools import wait_until

openai = pytest.importorskip("openai")
genai = pytest.importorskip("google.genai")

MODEL = "gemini-2.5-flash"
HELLO = [{"role": "user", "content": "Hello"}]


class TestOpenAI:
    CONF = Conf(keys=KEYS[:1])

    @pytest.fixture
    def client(self, site):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token)

    def test_complete(self, client, sim):
        answer = client.chat.completions.create(model=MODEL, messages=HELLO)
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens > 0
        assert answer._request_id
        assert len(sim.calls()) == 1

    def test_stream(self, client):
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "[[chunks=12 interval=5 seq]]"}], stream=True,
            stream_options={"include_usage": True})
        chunks = list(stream)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert "c000001 " in text and "c000012 " in text
        assert chunks[-1].usage.total_tokens > 0

    def test_stream_helper(self, client):
        with client.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
            for _ in stream:
                pass
            assert stream.get_final_completion().choices[0].message.content

    def test_async(self, site):
        async def twenty():
            client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token)
            async with client:
                return await asyncio.gather(*(client.chat.completions.create(model=MODEL, messages=HELLO)
                                              for _ in range(20)))
        assert all(a.choices[0].message.content for a in asyncio.run(twenty()))

    def test_models(self, client):
        assert MODEL in [m.id for m in client.models.list()]

    def test_multi_turn(self, client):
        answer = client.chat.completions.create(model=MODEL, messages=[
            {"role": "system", "content": "Be brief."}, *HELLO,
            {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And now?"}])
        assert answer.choices[0].message.content

    def test_leaving_a_stream(self, client, sim):
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "[[chunks=600 interval=100 seq]]"}], stream=True)
        next(iter(stream))
        stream.close()
        wait_until(lambda: sim.stats()["open_calls"] == 0, "the upstream call to end", timeout=5)

    def test_wrong_token(self, site):
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key="sk-wrong")
        with pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
        assert caught.value.code == "invalid_api_key"

    def test_bad_request(self, client):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=MODEL, messages=[])
        assert caught.value.param == "messages" and caught.value.type == "invalid_request_error"

    def test_unknown_model(self, client):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="gemini-nonesuch", messages=HELLO)
        assert caught.value.code == "model_not_found"


class TestOpenAIFaults:
    @pytest.fixture
    def site(self, make_site):
        return make_site(Conf(keys=KEYS[:1], claims=(r"GB\d{4}:",), api="GBalanceMaxRetries 1"))

    @pytest.fixture
    def client(self, site):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token, max_retries=0)

    def test_rate_limit(self, client, site):
        site.sim.fault("quota_minute")
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model=MODEL, messages=HELLO)
        assert caught.value.status_code == 429

    def test_server_error(self, client, site):
        site.sim.fault(status=500)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model=MODEL, messages=HELLO)

    def test_broken_stream(self, client, site):
        site.sim.fault("cut", how="rst", after=3)
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "[[chunks=10 interval=20 seq]]"}], stream=True)
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
        assert caught.value.message


@pytest.mark.parametrize("base", ["", "/gemini"])
class TestGenAI:
    """It asks for /v1/... below its base URL, older ones for /v1beta/..."""
    CONF = Conf(keys=KEYS[:1])

    @pytest.fixture(params=[None, "v1beta"])
    def client(self, site, base, request):
        options = {"base_url": f"http://127.0.0.1:{site.port}{base}"}
        if request.param:
            options["api_version"] = request.param
        return genai.Client(api_key=site.api.token, http_options=options)

    def test_complete(self, client):
        answer = client.models.generate_content(model=MODEL, contents="Hello")
        assert answer.text and answer.candidates[0].finish_reason.name == "STOP"
        assert answer.usage_metadata.total_token_count > 0

    def test_stream(self, client):
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="[[chunks=12 interval=5 seq]]"))
        text = "".join(c.text or "" for c in chunks)
        assert "c000001 " in text and "c000012 " in text

    def test_chat(self, client):
        chat = client.chats.create(model=MODEL)
        assert chat.send_message("One").text
        assert "".join(c.text or "" for c in chat.send_message_stream("Two"))

    def test_async(self, client):
        async def stream():
            return [c.text async for c in await client.aio.models.generate_content_stream(
                model=MODEL, contents="[[chunks=5 seq]]")]
        assert asyncio.run(stream())

    def test_models(self, client):
        assert f"models/{MODEL}" in [m.name for m in client.models.list()]

    def test_one_model(self, client):
        assert client.models.get(model=MODEL).name == f"models/{MODEL}"

    def test_unknown_model(self, client):
        with pytest.raises(genai.errors.ClientError) as caught:
            client.models.generate_content(model="gemini-nonesuch", contents="Hello")
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")

    def test_wrong_token(self, site, base):
        client = genai.Client(api_key="wrong", http_options={"base_url": f"http://127.0.0.1:{site.port}{base}"})
        with pytest.raises(genai.errors.ClientError) as caught:
            client.models.generate_content(model=MODEL, contents="Hello")
        assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


class TestGenAIFaults:
    @pytest.mark.parametrize("fault,code,status", [("quota_minute", 429, "RESOURCE_EXHAUSTED"),
                                                   ("internal", 500, "INTERNAL"),
                                                   ("key_invalid", 503, "UNAVAILABLE")])
    @pytest.mark.parametrize("stream", [False, True])
    def test_errors(self, make_site, fault, code, status, stream):
        site = make_site(Conf(keys=KEYS[:1], claims=(r"GB\d{4}:",)))
        client = genai.Client(api_key=site.api.token, http_options={"base_url": f"http://127.0.0.1:{site.port}/gemini"})
        site.sim.fault(fault)
        with pytest.raises(genai.errors.APIError) as caught:
            if stream:
                list(client.models.generate_content_stream(model=MODEL, contents="Hello"))
            else:
                client.models.generate_content(model=MODEL, contents="Hello")
        assert (caught.value.code, caught.value.status) == (code, status)


class TestSpeech:
    CONF = Conf(keys=KEYS[:1])

    @pytest.fixture
    def client(self, site):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token, max_retries=0)

    def test_whole(self, client, tmp_path):
        answer = client.audio.speech.create(model="gpt-4o-mini-tts", voice="coral", input="Hello.",
                                            instructions="Cheerfully.", response_format="mp3")
        answer.write_to_file(tmp_path / "a.mp3")
        assert answer.response.headers["content-type"] == "audio/mpeg" and len(answer.content) > 100

    def test_as_it_comes(self, client, tmp_path):
        with client.audio.speech.with_streaming_response.create(
                model="tts-1", voice="alloy", input="x" * 200, response_format="pcm") as answer:
            assert sum(map(len, answer.iter_bytes())) == 6 * 2400
        with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="x") as answer:
            answer.stream_to_file(tmp_path / "a.wav")
        assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"

    def test_chat_that_speaks(self, client):
        with client.chat.completions.stream(
                model="gemini-2.5-flash-preview-tts", modalities=["audio"],
                audio={"voice": "alloy", "format": "pcm16"},
                messages=[{"role": "user", "content": "x" * 200}]) as stream:
            audio = stream.get_final_completion().choices[0].message.audio
        assert len(base64.b64decode(audio.data, validate=True)) == 6 * 2400
        assert re.fullmatch(r"audio_\w{24}", audio.id) and audio.expires_at < time.time() + 4000

    def test_refused(self, client):
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="aac")
        assert caught.value.param == "response_format"


# Modes of streams that a strict parser could stumble over.
MODES = {
    "heartbeats": "GBalanceStreamHeartbeatSeconds 80ms",
    "empty deltas": "GBalanceStreamHeartbeatSeconds 80ms\nGBalanceStreamHeartbeatForm delta",
    "fake": "GBalanceFakeStreamEnabled On\nGBalanceFakeStreamEmptyDataIntervalSeconds 80ms",
}
SLOW = "[[chunks=5 delay=300 interval=120 seq]]"


@pytest.mark.parametrize("mode", MODES)
class TestStreamModes:
    def site_of(self, make_site, mode):
        return make_site(Conf(keys=KEYS[:1], api=MODES[mode]))

    def test_openai(self, make_site, mode):
        site = self.site_of(make_site, mode)
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token, max_retries=0)
        asked = {"model": MODEL, "messages": [{"role": "user", "content": SLOW}]}
        text = "".join(c.choices[0].delta.content or "" for c in client.chat.completions.create(stream=True, **asked))
        assert "c000001 " in text and "c000005 " in text
        with client.chat.completions.stream(**asked) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
        assert "c000005 " in message.content and message.role == "assistant"

    def test_google(self, make_site, mode):
        site = self.site_of(make_site, mode)
        client = genai.Client(api_key=site.api.token, http_options={"base_url": f"http://127.0.0.1:{site.port}"})
        chunks = list(client.models.generate_content_stream(model=MODEL, contents=SLOW))
        assert "c000005 " in "".join(c.text or "" for c in chunks)
        assert all(c.candidates for c in chunks)

        async def collect():
            stream = await client.aio.models.generate_content_stream(model=MODEL, contents=SLOW)
            return [chunk async for chunk in stream]
        assert "c000005 " in "".join(c.text or "" for c in asyncio.run(collect()))

    def test_google_error_after_a_heartbeat(self, make_site, mode):
        site = self.site_of(make_site, mode)
        site.sim.fault("invalid_argument", delay_ms=300)
        client = genai.Client(api_key=site.api.token, http_options={"base_url": f"http://127.0.0.1:{site.port}"})
        with pytest.raises(genai.errors.APIError) as caught:
            list(client.models.generate_content_stream(model=MODEL, contents="x"))
        assert caught.value.code == 400
