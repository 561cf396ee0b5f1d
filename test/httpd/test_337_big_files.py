# SPDX-License-Identifier: Apache-2.0
"""Uploads that are larger than any memory, over TLS, both ways: through mod_proxy, and through the
engine for keys that are bound to a proxy.  256 MB here, 2 GB in a soak, by the same code."""
import hashlib
import json
import os

import pytest

import procfs
import tools
from google_apis import GRANULARITY
from proxies import Tinyproxy
from test_330_files import MEGABYTE, send, session, tls_conf, tls_google, upload  # noqa: F401 (a fixture)
from wire import Gemini

SIZE = tools.soak(256, 2048) * MEGABYTE
GROWTH = 10 * MEGABYTE
WRONG = (r"AH0\d+:", r"GB5001:", r"GB5006:")


@pytest.fixture(scope="class", params=["mod_proxy", "engine"])
def way(request):
    """What a configuration has to say for it."""
    if request.param == "mod_proxy":
        yield {}
        return
    proxy = Tinyproxy()
    yield {"upload_conf": False, "api": f"GBalanceProxies {proxy.url}"}
    proxy.stop()


@pytest.fixture(scope="class")
def site(way, tls_google, make_site):  # noqa: F811
    authority, google, _ = tls_google
    return make_site(tls_conf(authority, google, **way), sim=False)


def resident(site):
    return {pid: procfs.memory(pid)["rss"] for pid in site.children()}


def push(site, address, offset, piece, size, command, want):
    """Sends so many bytes in one request; its answer, and by how much a child had grown at the end."""
    before = resident(site)
    with site.api.connect(timeout=120) as conn:
        conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nContent-Length: {size}\r\n"
                  f"X-Goog-Upload-Command: {command}\r\nX-Goog-Upload-Offset: {offset}\r\n\r\n".encode())
        for _ in range(size // MEGABYTE):
            conn.send(piece)
            want.update(piece)
        now = resident(site)
        answer = conn.answer(method="POST")
        content = answer.read()
    assert answer.status == 200, content
    return content, max(now[pid] - before.get(pid, now[pid]) for pid in now)


@pytest.mark.soak
class TestBig:
    @pytest.mark.parametrize("step", [GRANULARITY, SIZE], ids=["chunks", "one piece"])
    def test_constant_memory(self, site, step):
        piece, want = os.urandom(MEGABYTE), hashlib.sha256()
        upload(site.api, piece)
        first, growth = resident(site), 0
        address = session(site.api, SIZE)
        for offset in range(0, SIZE, step):
            command = "upload, finalize" if offset + step >= SIZE else "upload"
            content, grown = push(site, address, offset, piece, step, command, want)
            growth = max(growth, grown)
        assert json.loads(content)["file"]["sha256Hash"] == want.hexdigest()
        growth = max([growth, *(now - first[pid] for pid, now in resident(site).items() if pid in first)])
        print(f"{SIZE // MEGABYTE} MB in pieces of {step // MEGABYTE} MB: a child grew by {growth // 1024} KB")
        assert growth < GROWTH


class TestWrongCertificate:
    def test_not_a_byte_of_the_key(self, way, tls_google, make_site):  # noqa: F811
        authority, _, wrong = tls_google
        site = make_site(tls_conf(authority, wrong, claims=WRONG, **way), sim=False)
        body = b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"
        answer = site.api.request("POST", "/upload/v1beta/files", body=body, headers={
            "X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=b"})
        Gemini.check_error(answer, answer.status)
        assert answer.status in (500, 502, 503) and wrong.calls == []
