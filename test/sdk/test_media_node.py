# SPDX-License-Identifier: Apache-2.0
"""Embeddings, pictures and transcripts with the unmodified Node SDK."""
import base64
import struct

from conf import KEYS, Conf
from forms import png, wav
from pictures import pixels
from test_node import call


def as_float32(numbers):
    return [struct.unpack("<f", struct.pack("<f", n))[0] for n in numbers]


class TestMedia:
    CONF = Conf(keys=KEYS[:1], api='GBalanceCreateImageModel "gemini-3-pro-image"')

    def test_embeddings(self, site):
        found = call(site, "openai", "embed", "Hello")
        assert found["total"] > 0 and len(found["base64"]) == 2
        for packed, plain in zip(found["base64"], found["float"], strict=True):
            assert as_float32(packed) == as_float32(plain) and len(plain) == 64

    def test_pictures(self, site):
        found = call(site, "openai", "draw", "a cat")
        assert found["total"] > 0
        assert [pixels(base64.b64decode(p)) for p in found["pictures"]] == [(16, 16)] * 2

    def test_edit(self, site):
        assert [pixels(base64.b64decode(p)) for p in call(site, "openai", "edit", base64.b64encode(png()).decode())] \
            == [(16, 16)]

    def test_transcripts(self, site):
        found = call(site, "openai", "transcribe", base64.b64encode(wav()).decode())
        assert found["text"] == "a simulated transcript" and found["english"]
