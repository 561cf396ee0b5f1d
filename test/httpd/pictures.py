# SPDX-License-Identifier: Apache-2.0
"""PNG files, as far as tests look into them."""
import struct
import zlib


def pixels(raw):
    """Decodes a PNG as far as its size and checks all of its sums."""
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", None
    while at < len(raw):
        (n,), kind = struct.unpack(">I", raw[at:at + 4]), raw[at + 4:at + 8]
        body = raw[at + 8:at + 8 + n]
        assert struct.unpack(">I", raw[at + 8 + n:at + 12 + n])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        data += body if kind == b"IDAT" else b""
        at += 12 + n
    assert len(zlib.decompress(data)) >= size[0] * size[1]
    return size
