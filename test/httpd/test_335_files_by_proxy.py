# SPDX-License-Identifier: Apache-2.0
"""Uploads with keys that are bound to a SOCKS5 proxy, through the engine."""
import hashlib
import os
import time
import urllib.parse

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from google_apis import GRANULARITY, Google
from proxies import Microsocks
from test_330_files import MEGABYTE, OTHER, send, session, upload
from wire import Gemini


@pytest.fixture(scope="class", params=[Microsocks], ids=["socks5"])
def files(request, make_site):
    google, proxy = Google(), request.param()
    site = make_site(Conf(keys=KEYS, tokens=(TOKEN, OTHER), upstream=google.url + "/v1beta",
                          api=f"GBalanceProxies {proxy.url}", claims=(r"GB5006:",)), sim=False)
    site.google, site.proxy = google, proxy
    yield site
    proxy.stop()
    google.stop()


class TestThroughTheEngine:
    @pytest.mark.smoke
    def test_in_one_piece(self, files):
        before = files.proxy.count()
        data = os.urandom(700_000)
        assert upload(files.api, data)["sha256Hash"] == hashlib.sha256(data).hexdigest()
        assert files.proxy.count() > before

    def test_in_chunks(self, files):
        data = os.urandom(GRANULARITY + 77)
        address = session(files.api, len(data))
        assert send(files.api, address, data[:GRANULARITY], 0, "upload").headers.get("X-Goog-Upload-Status") == "active"
        answer = send(files.api, address, data[GRANULARITY:], GRANULARITY)
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(data).hexdigest()

    def test_empty_query_and_cancel(self, files):
        upload(files.api, b"")
        address = session(files.api, 9)
        answer = send(files.api, address, b"", command="query")
        assert answer.headers.get("X-Goog-Upload-Size-Received") == "0"
        assert send(files.api, address, b"", command="cancel").status == 200

    def test_without_a_length(self, files):
        pieces = [os.urandom(100_000) for _ in range(5)]
        answer = send(files.api, session(files.api, 500_000), None, chunks=pieces)
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(b"".join(pieces)).hexdigest()

    def test_whose_it_is(self, files):
        made = upload(files.api, b"mine")
        Gemini.check_error(files.client_of(OTHER).get("/v1beta/" + made["name"]), 404)
        assert files.api.get("/v1beta/" + made["name"]).status == 200
        Gemini.check_error(send(files.client_of(OTHER), session(files.api, 1), b"x", anonymous=False), 404)

    def test_broken_off_and_resumed(self, files):
        data = os.urandom(3 * MEGABYTE)
        address = session(files.api, len(data))
        with files.api.connect() as conn:
            conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nContent-Length: {len(data)}\r\n"
                      f"X-Goog-Upload-Command: upload, finalize\r\nX-Goog-Upload-Offset: 0\r\n\r\n".encode() + data[:MEGABYTE])
        sent = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["upload_id"][0]
        tools.wait_until(lambda: files.google.uploads[sent].size and not files.google.running, "the broken upload to end")
        answer = send(files.api, address, b"", command="query")
        assert answer.status == 200 and answer.headers.get("X-Goog-Upload-Status") == "active"
        received = int(answer.headers.get("X-Goog-Upload-Size-Received"))
        assert 0 < received <= MEGABYTE
        answer = send(files.api, address, data[received:], received)
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(data).hexdigest()


class TestWhoseFault:
    @pytest.fixture(scope="class")
    @classmethod
    def files(cls, make_site):
        google, proxy = Google(), Microsocks()
        site = make_site(Conf(keys=KEYS[:2], upstream=google.url + "/v1beta", claims=(r"GB5006:",),
                              api=f"GBalanceProxies {proxy.url}\nGBalanceMaxFailures 1\nGBalanceTimeOut 1"), sim=False)
        site.google, site.proxy = google, proxy
        yield site
        proxy.stop()
        google.stop()

    def serves(self, site):
        """Both keys are in turn, and none is out."""
        site.google.reset()
        for _ in range(4):
            assert site.api.post(Gemini.path(), json=Gemini.body()).status == 200
        return len({call["key"] for call in site.google.calls}) == 2 and not site.log.matching(r"GB1003")

    def test_a_client_that_leaves_costs_no_key(self, files):
        for n in range(1, 5):
            address = session(files.api, MEGABYTE)
            with files.api.connect() as conn:
                conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nContent-Length: {MEGABYTE}\r\n"
                          f"X-Goog-Upload-Command: upload\r\nX-Goog-Upload-Offset: 0\r\n\r\n".encode() + b"x" * 300_000)
            tools.wait_until(lambda: len(files.log.matching(r"GB5006")) == n, "the broken upload to end")
            assert self.serves(files)

    def test_bytes_that_are_none(self, files):
        with files.api.connect() as conn:
            conn.send(f"POST {session(files.api, 9)} HTTP/1.1\r\nHost: {conn.host}\r\nTransfer-Encoding: chunked\r\n"
                      f"X-Goog-Upload-Command: upload\r\nX-Goog-Upload-Offset: 0\r\n\r\n5\r\nabcde\r\nzz\r\n".encode())
            answer = conn.answer()
            answer.read()
        assert "not well framed" in Gemini.check_error(answer, 400)["message"]
        assert self.serves(files)

    def test_nor_one_that_pauses(self, files):
        """TIME_OUT is the upstream's: httpd has a Timeout for clients."""
        address = session(files.api, 200_000)
        with files.api.connect() as conn:
            conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nContent-Length: 200000\r\n"
                      f"X-Goog-Upload-Command: upload, finalize\r\nX-Goog-Upload-Offset: 0\r\n\r\n".encode() + b"x" * 100_000)
            time.sleep(2.2)
            conn.send(b"x" * 100_000)
            answer = conn.answer()
            answer.read()
        assert answer.status == 200, answer
        assert self.serves(files)

    def test_nor_does_a_proxy_that_is_down(self, files):
        addresses = [session(files.api, 1) for _ in range(4)]
        files.proxy.stop()
        for address in addresses:
            Gemini.check_error(send(files.api, address, b"x"), 502)
        files.proxy.start()
        assert self.serves(files)
