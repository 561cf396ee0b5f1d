# SPDX-License-Identifier: Apache-2.0
"""Embeddings, pictures and transcripts with the unmodified Python SDK."""
import struct

import pytest

from conf import KEYS, Conf

openai = pytest.importorskip("openai")


def as_float32(numbers):
    return [struct.unpack("<f", struct.pack("<f", n))[0] for n in numbers]


class TestMedia:
    CONF = Conf(keys=KEYS[:1])

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
