# SPDX-License-Identifier: Apache-2.0
"""The Files API: uploads through mod_proxy and through the engine, whose the files are, and TLS on the way."""
import hashlib
import json
import os
import ssl
import tempfile
import urllib.parse

import pytest

import certs
import tools
from conf import KEYS, TOKEN, Conf
from google_apis import GRANULARITY, Google
from proxies import Tinyproxy
from wire import Gemini

OTHER = "sk-another-token-0123456789abcdef"
MEGABYTE = 1024 * 1024
PROXY = ("proxy", "proxy_http")
EXTRA = 'GBalanceCustomHeaders {"X-Extra":"of ours"}\n'
BROKEN_OFF = (r"AH02608: read request body failed", r"AH01097: pass request body failed")


@pytest.fixture(scope="class")
def google():
    made = Google()
    yield made
    made.stop()


@pytest.fixture(scope="class", params=["mod_proxy", "engine"])
def files(request, google, make_site):
    """Both ways that bytes take: the same tests run on both."""
    proxy = Tinyproxy() if request.param == "engine" else None
    yield make_site(Conf(keys=KEYS, tokens=(TOKEN, OTHER), upstream=google.url + "/v1beta", modules=() if proxy else PROXY,
                         api=EXTRA + (f"GBalanceProxies {proxy.url}" if proxy else ""), claims=(*BROKEN_OFF, r"GB5006:", r"GB1\d+:")), sim=False)
    if proxy:
        proxy.stop()


def start(client, size, mime="text/plain", mount="/upload/v1beta/files", **meta):
    return client.post(mount, json={"file": meta}, headers={
        "X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(size), "X-Goog-Upload-Header-Content-Type": mime})


def session(client, size, **more):
    answer = start(client, size, **more)
    assert answer.status == 200, answer
    url = urllib.parse.urlsplit(answer.headers.get("X-Goog-Upload-URL"))
    assert url.port == client.port, "the client is kept here"
    return f"{url.path}?{url.query}"


def send(client, address, data, offset=0, command="upload, finalize", anonymous=True, chunks=None):
    """As the SDKs send the bytes: without a credential."""
    return client.request("POST", address, body=None if chunks else data, chunks=chunks, anonymous=anonymous, headers={
        "X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)})


def upload(client, data, **more):
    answer = send(client, session(client, len(data), **more), data)
    assert answer.status == 200, answer
    assert answer.headers.get("X-Goog-Upload-Status") == "final"
    return answer.json()["file"]


class TestUpload:
    @pytest.mark.smoke
    def test_in_one_piece(self, files, google):
        data = os.urandom(300_000)
        made = upload(files.api, data, display_name="ein Bild")
        assert made["sha256Hash"] == hashlib.sha256(data).hexdigest()
        assert made["displayName"] == "ein Bild" and made["mimeType"] == "text/plain"

    def test_in_chunks(self, files, google):
        data = os.urandom(2 * GRANULARITY + 77)
        address = session(files.api, len(data))
        for offset in range(0, len(data), GRANULARITY):
            piece = data[offset:offset + GRANULARITY]
            last = offset + len(piece) == len(data)
            answer = send(files.api, address, piece, offset, "upload, finalize" if last else "upload")
            assert answer.status == 200, answer
            assert answer.headers.get("X-Goog-Upload-Status") == ("final" if last else "active")
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(data).hexdigest()

    def test_without_a_length(self, files):
        pieces = [os.urandom(100_000) for _ in range(5)]
        answer = send(files.api, session(files.api, 500_000), None, chunks=pieces)
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(b"".join(pieces)).hexdigest()

    def test_broken_off_and_resumed(self, files, google):
        data = os.urandom(3 * MEGABYTE)
        address = session(files.api, len(data))
        with files.api.connect() as conn:
            conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nContent-Length: {len(data)}\r\n"
                      f"X-Goog-Upload-Command: upload, finalize\r\nX-Goog-Upload-Offset: 0\r\n\r\n".encode() + data[:MEGABYTE])
        sent = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["upload_id"][0]
        tools.wait_until(lambda: google.uploads[sent].size and not google.running, "the broken upload to end")
        answer = send(files.api, address, b"", command="query")
        assert answer.status == 200 and answer.headers.get("X-Goog-Upload-Status") == "active"
        received = int(answer.headers.get("X-Goog-Upload-Size-Received"))
        assert 0 < received <= MEGABYTE
        answer = send(files.api, address, data[received:], received)
        assert answer.json()["file"]["sha256Hash"] == hashlib.sha256(data).hexdigest()

    def test_below_gemini_too(self, files, google):
        upload(files.api, b"x", mount="/gemini/upload/v1beta/files")

    def test_multipart(self, files, google):
        data = os.urandom(50_000)
        body = (b"--b\r\nContent-Type: application/json\r\n\r\n" + json.dumps({"file": {"display_name": "m"}}).encode()
                + b"\r\n--b\r\nContent-Type: image/png\r\n\r\n" + data + b"\r\n--b--\r\n")
        answer = files.api.request("POST", "/upload/v1beta/files", body=body, headers={
            "X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=b"})
        assert answer.status == 200, answer
        made = answer.json()["file"]
        assert made["sha256Hash"] == hashlib.sha256(data).hexdigest() and made["mimeType"] == "image/png"
        assert files.api.get("/v1beta/" + made["name"]).status == 200

    def test_query_of_a_whole_upload(self, files, google):
        answer = files.api.request("POST", "/upload/v1beta/files?uploadType=multipart&fields=file.name", headers={
            "Content-Type": "multipart/related; boundary=b"},
            body=b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n")
        assert answer.status == 200, answer
        assert google.calls[-1]["path"] == "/upload/v1beta/files?uploadType=multipart&fields=file.name"

    def test_as_google_api_python_client_does(self, files, google):
        data = os.urandom(700_000)
        answer = files.api.post("/upload/v1beta/files?uploadType=resumable", json={"file": {}}, headers={
            "X-Upload-Content-Type": "image/png", "X-Upload-Content-Length": str(len(data))})
        url = urllib.parse.urlsplit(answer.headers.get("Location"))
        assert url.port == files.api.port, "the client is kept here"
        address = f"{url.path}?{url.query}"
        for begin, end in ((0, 262144), (262144, 524288)):
            answer = files.api.request("PUT", address, body=data[begin:end], anonymous=True, headers={
                "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"})
            assert (answer.status, answer.headers.get("Range")) == (308, f"bytes=0-{end - 1}")
        answer = files.api.request("PUT", address, body=b"", anonymous=True, headers={"Content-Range": f"bytes */{len(data)}"})
        assert (answer.status, answer.headers.get("Range")) == (308, "bytes=0-524287")
        answer = files.api.request("PUT", address, body=data[524288:], anonymous=True, headers={
            "Content-Range": f"bytes 524288-{len(data) - 1}/{len(data)}"})
        made = answer.json()["file"]
        assert (made["sha256Hash"], made["mimeType"]) == (hashlib.sha256(data).hexdigest(), "image/png")
        assert files.api.get("/v1beta/" + made["name"]).status == 200

    def test_key_of_the_session_and_nothing_of_the_client(self, files, google):
        google.reset()
        for _ in range(4):
            upload(files.api, b"data")
        sessions = {}
        for call in google.calls:
            names = {n.lower() for n, _ in call["headers"]}
            assert dict(call["headers"])["X-Extra"] == "of ours"
            assert not names & {"cookie", "authorization", "x-forwarded-for", "x-forwarded-host", "x-forwarded-server"}
            assert TOKEN not in json.dumps(call) and "gb_session" not in call["path"]
            assert call["key"] in KEYS
            if "upload_id=" in call["path"]:
                sessions[call["path"]] = call["key"]
        for path, key in sessions.items():
            made = urllib.parse.parse_qs(path.split("?")[1])["upload_id"][0]
            assert google.uploads[made].key == key

    def test_answer_has_nothing_of_googles_own(self, files):
        answer = send(files.api, session(files.api, 1), b"x")
        for name in ("Set-Cookie", "Alt-Svc", "Server-Timing", "Via"):
            assert name not in answer.headers

    def test_keys_are_in_no_log(self, files):
        upload(files.api, b"secret")
        assert not any(key.encode() in files.all_logs() for key in KEYS)

    def test_who_reads_the_log_cannot_go_on(self, files):
        """The address of a session is all that its bytes need."""
        address = session(files.api, 6)
        assert send(files.api, address, b"secret").status == 200
        plain, _, word = address.partition("&gb_session=")
        tools.wait_until(lambda: plain.encode() in files.all_logs(), "the line of the access log")
        assert word.encode() not in files.all_logs()


class TestIsolation:
    def test_sessions(self, files, google):
        address = session(files.api, 4)
        other = files.client_of(OTHER)
        google.reset()
        for command in ("query", "upload, finalize", "cancel"):
            Gemini.check_error(send(other, address, b"data", command=command, anonymous=False), 404)
        assert google.calls == []
        assert send(files.api, address, b"data", anonymous=False).status == 200

    @pytest.mark.parametrize("change", [lambda a: a[:-1] + ("0" if a[-1] != "0" else "1"), lambda a: a.split("&gb_session=")[0],
                                        lambda a: a.replace("gb_session=", "gb_session=A")])
    def test_addresses_that_we_did_not_give_out(self, files, google, change):
        address = change(session(files.api, 4))
        google.reset()
        Gemini.check_error(send(files.api, address, b"data", anonymous=False), 404)
        assert google.calls == []

    def test_files(self, files, google):
        made = upload(files.api, b"mine")
        other = files.client_of(OTHER)
        google.reset()
        Gemini.check_error(other.get("/v1beta/" + made["name"]), 404)
        Gemini.check_error(other.get("/v1beta/" + made["name"] + ":download?alt=media"), 404)
        Gemini.check_error(other.request("DELETE", "/v1beta/" + made["name"]), 404)
        body = {"contents": [{"parts": [{"fileData": {"fileUri": made["uri"]}}]}]}
        Gemini.check_error(other.post(Gemini.path(), json=body), 404)
        assert google.calls == []
        assert files.api.get("/v1beta/" + made["name"]).status == 200
        assert files.api.post(Gemini.path(), json=body).status == 200
        assert made["name"] not in [f["name"] for f in other.get("/v1beta/files").json().get("files", [])]

    def test_a_stranger(self, files, google):
        google.reset()
        Gemini.check_error(files.api.request("POST", "/upload/v1beta/files", body=b"x", anonymous=True), 401)
        Gemini.check_error(start(files.client_of("sk-nobody-knows-this-one"), 1), 401)
        assert google.calls == []


class TestOwners:
    def test_requests_go_to_the_key_that_has_the_file(self, files, google):
        for _ in range(6):
            made = upload(files.api, b"data")
            answer = files.api.post(Gemini.path(), json={"contents": [{"parts": [{"fileData": {"fileUri": made["uri"]}}]}]})
            assert answer.status == 200, answer
            assert files.api.get("/v1beta/" + made["name"]).json()["name"] == made["name"]

    def test_a_slash_as_php_writes_it(self, files, google):
        for _ in range(6):
            body = json.dumps({"contents": [{"parts": [{"fileData": {"fileUri": upload(files.api, b"data")["uri"]}}]}]})
            answer = files.api.request("POST", Gemini.path(), body=body.replace("/", "\\/").encode())
            assert answer.status == 200, answer

    def test_files_of_several_keys(self, files, google):
        made = {}
        while len(made) < 2:
            one = upload(files.api, b"data")
            made.setdefault(google.owner(one["name"]), one)
        body = {"contents": [{"parts": [{"fileData": {"fileUri": f["uri"]}} for f in made.values()]}]}
        error = Gemini.check_error(files.api.post(Gemini.path(), json=body), 400)
        assert all(f["name"] in error["message"] for f in made.values())

    def test_list(self, files, google):
        client = files.client_of(OTHER)
        names = {upload(client, b"data", display_name=f"n{i}")["name"] for i in range(5)}
        found, token = [], ""
        while True:
            page = client.get(f"/v1beta/files?pageSize=2{'&pageToken=' + token if token else ''}").json()
            assert len(page.get("files", [])) <= 2
            found += page.get("files", [])
            token = page.get("nextPageToken")
            if not token:
                break
        assert {f["name"] for f in found} >= names
        assert all(f["uri"] and f["sizeBytes"] for f in found)

    def test_a_field_mask_takes_nothing_from_the_list(self, files, google):
        made = upload(files.api, b"data")
        asked = files.api.get(f"/v1beta/{made['name']}?fields=name,state").json()
        assert asked == {"name": made["name"], "state": "ACTIVE"}
        assert made in files.api.get("/v1beta/files?pageSize=100").json()["files"]

    def test_delete(self, files, google):
        made = upload(files.api, b"data")
        assert files.api.request("DELETE", "/v1beta/" + made["name"]).status == 200
        assert made["name"] not in google.things
        Gemini.check_error(files.api.get("/v1beta/" + made["name"]), 404)

    def test_delete_what_is_gone_at_google(self, files, google):
        made = upload(files.api, b"data")
        del google.things[made["name"]]
        Gemini.check_error(files.api.get("/v1beta/" + made["name"]), 404)       # Google is not always of one mind
        assert made["name"] in files.api.get("/v1beta/files?pageSize=100").text
        Gemini.check_error(files.api.request("DELETE", "/v1beta/" + made["name"]), 404)
        assert made["name"] not in files.api.get("/v1beta/files?pageSize=100").text

    def test_known_after_a_reload(self, files, google):
        address = session(files.api, 4)
        made = upload(files.api, b"data")
        files.graceful()
        assert files.api.get("/v1beta/" + made["name"]).status == 200
        assert send(files.api, address, b"data").status == 200


class TestFaultsOfKeys:
    def test_are_ours(self, files, google):
        """Google's message names the key that it is about."""
        address = session(files.api, 4)
        google.fault = "suspended"
        answer = send(files.api, address, b"data")
        google.fault = None
        assert "suspended" not in Gemini.check_error(answer, 503)["message"]
        assert not any(key.encode() in answer.body for key in KEYS)
        tools.wait_until(lambda: send(files.api, address, b"", command="query").status == 503, "the pool to know")
        assert files.api.get("/health", anonymous=True).status == 200, "the others serve"


class TestRevoked:
    def test_a_token_that_was_deleted(self, files, google):
        """What it has begun ends with it."""
        address, other = session(files.api, 4), session(files.client_of(OTHER), 4)
        files.configure(tokens=(OTHER,))
        files.graceful()
        google.reset()
        Gemini.check_error(send(files.api, address, b"data"), 404)
        assert google.calls == []
        assert send(files.api, other, b"data").status == 200


class TestBesideAnotherProxy:
    """What the rest of the VirtualHost says of mod_proxy does not hold for uploads."""

    def test_host_and_errors_are_googles(self, google, make_site):
        site = make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=PROXY,
                              api="ProxyPreserveHost On\nProxyErrorOverride On"), sim=False)
        address = session(site.api, 4)
        answer = send(site.api, address, b"data", offset=3)
        assert Gemini.check_error(answer, 400)["message"] == "wrong offset"
        assert send(site.api, address, b"data").status == 200
        assert {dict(call["headers"])["Host"] for call in google.calls} == {google.url.partition("://")[2]}


class TestPathPrefix:
    """BASE_URL of a proxy of one's own, with a path."""

    @pytest.mark.parametrize("way", ["mod_proxy", "engine"])
    def test_upload(self, make_site, way):
        google, proxy = Google(), Tinyproxy() if way == "engine" else None
        google.prefix = "/a/b"
        site = make_site(Conf(keys=KEYS[:1], upstream=google.url + "/a/b/v1beta", modules=PROXY,
                              api=f"GBalanceProxies {proxy.url}" if proxy else ""), sim=False)
        made = upload(site.api, b"data")
        assert site.api.get("/v1beta/" + made["name"]).status == 200
        body = b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"
        assert site.api.request("POST", "/upload/v1beta/files", body=body, headers={
            "X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=b"}).status == 200
        assert all(call["path"].startswith("/a/b/") for call in google.calls)
        google.stop()
        if proxy:
            proxy.stop()


class TestShared:
    def test_without_isolation(self, google, make_site):
        site = make_site(Conf(keys=KEYS, tokens=(TOKEN, OTHER), upstream=google.url + "/v1beta", modules=PROXY,
                              api="GBalanceFilesUserIsolationEnabled Off"), sim=False)
        made = upload(site.api, b"data")
        assert site.client_of(OTHER).get("/v1beta/" + made["name"]).status == 200


# ---- TLS on the way to the upstream

def tls_context(authority, names):
    cert, key = authority.issue("upstream", names=names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture(scope="class")
def tls_google():
    folder = tempfile.TemporaryDirectory(prefix="gbalance-ca-")
    os.chmod(folder.name, 0o755)        # children of httpd read it as another user
    authority = certs.Authority(folder.name)
    right = Google(tls_context(authority, ("127.0.0.1",)))
    wrong = Google(tls_context(authority, ("elsewhere.example",)))
    yield authority, right, wrong
    right.stop()
    wrong.stop()
    folder.cleanup()


def tls_conf(authority, google, upload_conf=True, **more):
    defines = f"Define GB_UPLOAD_ORIGIN {google.url}\nDefine GB_UPLOAD_CA {authority.ca}\n"
    return Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=(*PROXY, "ssl"),
                main=f"GBalanceCAFile {authority.ca}\n"
                     + (defines + f"Include {tools.SRCDIR}/conf.d/gbalance-upload.conf" if upload_conf else ""), **more)


class TestTls:
    def test_verified(self, tls_google, make_site):
        authority, google, _ = tls_google
        site = make_site(tls_conf(authority, google), sim=False)
        data = os.urandom(500_000)
        assert upload(site.api, data)["sha256Hash"] == hashlib.sha256(data).hexdigest()

    def test_without_verification_nothing_goes_out(self, tls_google, make_site):
        authority, google, _ = tls_google
        site = make_site(tls_conf(authority, google, upload_conf=False), sim=False)
        address = session(site.api, 1)
        google.reset()
        error = Gemini.check_error(send(site.api, address, b"x"), 503)
        assert "SSLProxyVerify" in error["message"]
        assert google.calls == []


class TestOwnErrors:
    """What mod_proxy and httpd say by themselves comes in Google's form too."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, google, make_site):
        return make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=PROXY, main="ProxyTimeout 1",
                              claims=(*BROKEN_OFF, r"AH0\d+:")), sim=False)

    @pytest.mark.parametrize("fault", ["close", "hang"])
    def test_no_answer(self, site, google, fault):
        address = session(site.api, 3)
        google.fault = fault
        answer = send(site.api, address, b"abc")
        assert Gemini.check_error(answer, answer.status)["code"] in (502, 504)
        google.fault = None

    def test_no_upstream(self, make_site):
        gone = Google()
        site = make_site(Conf(keys=KEYS, upstream=gone.url + "/v1beta", modules=PROXY, claims=(r"AH0\d+:",)), sim=False)
        address = session(site.api, 3)
        gone.stop()
        Gemini.check_error(send(site.api, address, b"abc"), 503)

    def test_bytes_that_are_none(self, site):
        address = session(site.api, 3)
        with site.api.connect() as conn:
            conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nTransfer-Encoding: chunked\r\n"
                      "X-Goog-Upload-Command: upload, finalize\r\nX-Goog-Upload-Offset: 0\r\n\r\nnonsense\r\n".encode())
            Gemini.check_error(conn.answer(method="POST"), 400)


class TestWithoutProxyModule:
    def test_says_what_to_load(self, google, make_site):
        site = make_site(Conf(upstream=google.url + "/v1beta"), sim=False)
        address = session(site.api, 1)
        error = Gemini.check_error(send(site.api, address, b"x"), 503)
        assert "mod_proxy" in error["message"]


SIZE, HALF = 200_000, 100_000        # mod_proxy reads 16 KB before it connects


class TestManyAtOnce:
    @pytest.mark.parametrize("said,limit", [("GBalanceMaxConcurrentUploads 2", 2), ("", 6)], ids=["said", "a quarter of 25 threads"])
    def test_bounded(self, google, make_site, said, limit):
        site = make_site(Conf(upstream=google.url + "/v1beta", modules=PROXY, claims=BROKEN_OFF,
                              mpm_lines="StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMinSpareThreads 1",
                              main=said), sim=False)
        addresses = [session(site.api, 100) for _ in range(limit + 1)]
        held = []
        google.reset()
        for address in addresses[:limit]:
            conn = site.api.connect()
            conn.send(f"POST {address} HTTP/1.1\r\nHost: {conn.host}\r\nContent-Length: {SIZE}\r\nX-Goog-Upload-Offset: 0\r\n"
                      "X-Goog-Upload-Command: upload, finalize\r\n\r\n".encode() + b"x" * HALF)
            held.append(conn)
        tools.wait_until(lambda: len([c for c in google.calls if "upload_id" in c["path"]]) >= limit, "them to run")
        answer = send(site.api, addresses[limit], b"x" * 100)
        Gemini.check_error(answer, 503)
        assert answer.headers.get("Retry-After")
        for conn in held:
            conn.send(b"y" * (SIZE - HALF))
            assert conn.answer(method="POST").status == 200
            conn.close()
        tools.wait_until(lambda: send(site.api, addresses[limit], b"x" * 100).status == 200, "room for another")
