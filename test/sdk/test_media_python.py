# SPDX-License-Identifier: Apache-2.0
"""Embeddings, pictures and transcripts with the unmodified Python SDK."""
import base64
import json
import struct

import pytest

from conf import KEYS, Conf
from forms import inline, png, wav
from pictures import pixels

openai = pytest.importorskip("openai")


def as_float32(numbers):
    return [struct.unpack("<f", struct.pack("<f", n))[0] for n in numbers]


class TestMedia:
    CONF = Conf(keys=KEYS[:1], api='GBalanceCreateImageModel "gemini-3-pro-image"')

    @pytest.fixture
    def client(self, site):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token)

    def test_embeddings(self, client):
        """The SDK asks for base64 by itself, and decodes it to what the upstream gave."""
        ask = {"model": "gemini-embedding-001", "input": ["one", "two"], "dimensions": 256}
        packed, plain = client.embeddings.create(**ask), client.embeddings.create(**ask, encoding_format="float")
        assert packed.usage.total_tokens > 0
        for got, told in zip(packed.data, plain.data, strict=True):
            assert got.index == told.index and len(told.embedding) == 256
            assert list(got.embedding) == as_float32(told.embedding)

    def test_pictures(self, client):
        answer = client.images.generate(model="gpt-image-1", prompt="a cat", n=2, size="1536x1024", quality="high")
        assert [pixels(base64.b64decode(one.b64_json)) for one in answer.data] == [(16, 16)] * 2
        assert answer.usage.total_tokens > 0 and answer.output_format == "png"

    def test_pictures_as_a_stream(self, client):
        events = list(client.images.generate(model="gpt-image-1", prompt="a cat", stream=True))
        assert [e.type for e in events] == ["image_generation.completed"]
        assert pixels(base64.b64decode(events[0].b64_json)) == (16, 16)

    def test_edit(self, client, sim):
        sim.record(bodies=True)
        first, second = png(shade=1), png(shade=2)
        answer = client.images.edit(model="gpt-image-1", prompt="a hat", n=1, mask=("m.png", second),
                                    image=[("größe.png", first, "image/png"), ("b.png", second)])
        assert [pixels(base64.b64decode(one.b64_json)) for one in answer.data] == [(16, 16)]
        parts = json.loads(sim.calls()[0]["body"])["contents"][0]["parts"]
        assert [content for _, content in inline(parts)] == [first, second, second]

    def test_transcripts(self, client):
        sound = ("größe.wav", wav())
        assert client.audio.transcriptions.create(model="whisper-1", file=sound).text == "a simulated transcript"
        long = client.audio.transcriptions.create(model="whisper-1", file=sound, response_format="verbose_json",
                                                  timestamp_granularities=["word"])
        assert long.duration == 1.6 and [w.word for w in long.words] == ["a", "simulated", "transcript"]
        assert client.audio.transcriptions.create(model="whisper-1", file=sound, response_format="srt").startswith("1\n")
        assert client.audio.translations.create(model="whisper-1", file=sound).text
        *deltas, done = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound, stream=True)
        assert "".join(d.delta for d in deltas) == done.text
