# SPDX-License-Identifier: Apache-2.0
"""multipart/form-data written out by hand, so that tests can bend it."""
import base64
import struct
import zlib

BOUNDARY = "----gbalance-test-boundary"


def png(width=16, height=16, shade=0, extra=b""):
    """A picture of one colour; extra bytes go into a chunk that nobody reads."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = (b"\0" + bytes([shade]) * 3 * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + (chunk(b"teXt", extra) if extra else b"") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def wav(seconds=0.1):
    """Silence, 16 kHz mono."""
    data = b"\0\0" * int(16000 * seconds)
    return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
            + b"data" + struct.pack("<I", len(data)) + data)


def field(name, value):
    return f'Content-Disposition: form-data; name="{name}"'.encode(), str(value).encode()


def file(name, content, file_name="a.png", type="application/octet-stream"):
    head = f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"'
    return (head + (f"\r\nContent-Type: {type}" if type else "")).encode(), content


def body(*parts, boundary=BOUNDARY):
    mark = b"--" + boundary.encode()
    return b"".join(mark + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + mark + b"--\r\n"


def post(site, path, *parts, raw=None, boundary=BOUNDARY, content_type=None, **kwargs):
    headers = {"Content-Type": content_type or f"multipart/form-data; boundary={boundary}"}
    return site.api.post(path, body=body(*parts, boundary=boundary) if raw is None else raw, headers=headers, **kwargs)


def inline(parts):
    """(type, bytes) of the inlineData of a Gemini content."""
    return [(p["inlineData"]["mimeType"], base64.b64decode(p["inlineData"]["data"], validate=True))
            for p in parts if "inlineData" in p]
