# SPDX-License-Identifier: Apache-2.0
"""Both ways, for every recording: where no feature asks for an edit, the upstream gets the very
bytes that the client sent, and the client the very bytes that the upstream sent."""
import gzip
import http.server
import json
import re
import threading
import typing
import urllib.parse

import pytest

import recordings
from conf import KEYS, Conf
from google_apis import Google, Handler
from proxies import Tinyproxy
from wire import MODEL, Gemini

NOT_PASSED = {"connection", "keep-alive", "transfer-encoding", "alt-svc", "server-timing", "set-cookie", "via"}
VERTEX = re.compile(r"/v1(?:beta1?)?/(?:projects/[^/]+/locations/[^/]+/)?publishers/google/(models/[^/:]+:\w+)$")
NATIVE = re.compile(r"/v1(?:beta|alpha)?/((?!openai/)\w.*)$")
OPENAI = "openai/chat/completions"

UPLOADS = tuple("files/ruby-llm-uploadedfile-live-uploads-gemini-uploads-a-pdf-through-the-files-api-" + n for n in "01")

# Answers that are told as ours, by name, with the reason.
TOLD = {
    "without content it is asked for again, and a second one is a 502": (
        "blocked/vertexai-sdk-test-data-unary-failure-only-prompt-feedback", "finish/semantic-kernel-chat-finish-reason-other-response",
        "finish/vertexai-sdk-test-data-vertex-unary-failure-empty-content", "openai-compat/openai-compat-stream-empty"),
    "a call of a tool that cannot be read is asked for again, and a second one is a 502": (
        "finish/issue-malformed-function-call",),
    "the recording is an excerpt: there is no message in it": ("openai-compat/openai-compat-usage-cached",),
    "the recording is an excerpt: the stream's end is missing, which the client is told": (
        "openai-compat/openai-compat-stream-tool-call-gemini3",),
    "the error stands in the first bytes: it is the status, not the end of a stream": (
        "errors-midstream/vertexai-sdk-test-data-vertex-streaming-failure-error-mid-stream",),
    "Google's errors to a key or a project are the operator's, not the client's": (
        "errors/issue-403-leaked-key", "errors/langchaingo-testgoogleaierrorhandling-0",
        "errors/mirascope-cassettes-test-authentication-error-google-gemini-2-5-flash-0",
        "errors/vertexai-sdk-test-data-unary-failure-generativelanguage-api-not-enabled",
        "errors/vertexai-sdk-test-data-vertex-unary-failure-unsupported-user-location"),
    "the number of the key's project is cut out": ("errors/issue-429-rate-limit-exceeded-region",),
    "a page is no error of the protocol": ("errors/vertexai-sdk-test-data-vertex-unary-failure-invalid-location-url-not-found",),
    "an error of OpenAI's protocol is OpenAI's object, Google's list is not": ("openai-compat/openai-compat-400-missing-signature",),
    "the list of files is ours, of those of all keys": ("files/chatlas-test-google-file-lifecycle-3",),
}
OURS = {f"{name} answer" for names in TOLD.values() for name in names}
OURS.add("files/chatlas-test-google-file-lifecycle-3 request")      # nobody is asked

# What a call without a recorded request was, by what its answer holds.
METHODS = {"totalTokens": "countTokens", "embeddings": "batchEmbedContents", "predictions": "predict"}


class Upstream(Handler):
    """Answers with what it is given, and keeps what it got."""

    def answer_all(self):
        self.server.got.append((self.command, self.path, self.body()))
        status, headers, content = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = answer_all


@pytest.fixture(scope="class")
def upstream():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.daemon_threads, server.got = True, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Call(typing.NamedTuple):
    """What a client asks us, below which of our mounts, and the path below /v1beta that it means."""

    mount: str
    method: str
    path: str
    query: str
    body: bytes
    means: str

    @property
    def url(self):
        return f"{self.mount}/{self.path}{'?' + self.query if self.query else ''}"


def chat(body):
    return Call("/openai/v1", "POST", "chat/completions", "", body, OPENAI)


def only_answer(name, response):
    """A call of ours to which it could be the answer."""
    content, stream = recordings.answer_bytes(response) or b"", "sse" in response
    if name.startswith("openai-compat/"):
        return chat(b'{"model": "%s", "messages": [ ],\n "stream":%s}' % (MODEL.encode(), b"true" if stream else b"false"))
    how = "streamGenerateContent" if stream or content[:1] == b"[" else "generateContent"
    body = response.get("body")
    how = next((METHODS[member] for member in METHODS if isinstance(body, dict) and member in body), how)
    path = f"models/{MODEL}:{how}"
    return Call("/v1beta", "POST", path, "alt=sse" if stream else "", b'{"contents": [ ]}', path)


def call_of(name, recording):
    """None: it is of an upload (TestUploads)."""
    request = recording["request"]
    if not request or not isinstance(request.get("path"), str):
        return only_answer(name, recording["response"])
    parts = urllib.parse.urlsplit(request["path"])
    if parts.path.startswith("/upload/"):
        return None
    body = request.get("body")
    text = b"" if body is None else json.dumps(body, ensure_ascii=False, indent=1).encode()
    if parts.path.endswith(OPENAI):
        return chat(text)
    query = "&".join(p for p in parts.query.split("&") if p and not re.match(r"\$?key=", p))
    vertex, plain = VERTEX.search(parts.path), NATIVE.search(parts.path)
    path = (vertex or plain)[1]
    return Call("/vertex-express/v1beta" if vertex else "/v1beta", request["method"], path, query, text, path)


def same_request(call, got):
    """What is wrong with it; None: nothing."""
    method, where, text = got
    path, _, query = where.partition("?")
    if method != call.method or urllib.parse.unquote(path) != "/v1beta/" + urllib.parse.unquote(call.means):
        return f"another call: {method} {path}"
    if urllib.parse.unquote(query) != urllib.parse.unquote(call.query):
        return f"another query: {query} for {call.query}"
    return None if text == call.body else f"another body: {text[:200]} for {call.body[:200]}"


class TestRecordings:
    """Every recording is replayed; what is not compared stands in OURS with the reason."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, upstream, make_site):
        # files of others are among what was recorded
        keys = tuple(f"AIzaSyTestKeyNumber{i:020d}" for i in range(200))     # some recordings cost one
        return make_site(Conf(keys=keys, upstream=upstream.url + "/v1beta", claims=(r"GB\d+:",), api=(
            f"GBalanceFilesUserIsolationEnabled Off\nGBalanceFilteredModels none-of-them\nGBalanceVertexApiKeys {keys[0]}\n"
            f"GBalanceVertexExpressBaseUrl {upstream.url}/v1beta\nGBalanceMaxRetries 1")), sim=False)

    def differences(self, site, upstream, call, response):
        """Parts that are not the same, each with how."""
        content = recordings.answer_bytes(response) or b""
        kind = "text/event-stream" if "sse" in response else "application/json; charset=UTF-8"
        upstream.answer, upstream.got[:] = (response["status"], {"Content-Type": kind}, content), []
        answer = site.api.request(call.method, call.url, body=call.body or None,
                                  headers={"Content-Type": "application/json"} if call.body else {})
        wrong = same_request(call, upstream.got[0]) if upstream.got else f"the upstream was not asked: {answer.body[:200]}"
        found = {"request": wrong} if wrong else {}
        if answer.status != response["status"] or answer.body != content:
            found["answer"] = f"{answer.status}, {answer.body[-200:]} for {response['status']}, {content[-200:]}"
        return found

    def test_requests_and_answers(self, site, upstream, fixtures):
        order = sorted(recordings.load_all(fixtures).items(), key=lambda item: item[1]["response"]["status"])
        calls = {name: call_of(name, recording) for name, recording in order}
        found = {f"{name} {part}": how for name, recording in order if calls[name]
                 for part, how in self.differences(site, upstream, calls[name], recording["response"]).items()}
        assert not found.keys() - OURS, "\n".join(f"{n}: {found[n]}" for n in sorted(found.keys() - OURS))
        assert not OURS - found.keys(), "listed, and the same"
        assert {name for name, call in calls.items() if not call} == set(UPLOADS), "recordings of uploads"
        assert len(calls) > 190


PASSED = {"x-goog-upload-status", "x-goog-upload-chunk-granularity", "x-goog-upload-header-content-type", "content-type"}
ANY = bytes(range(256)) * 40


class TestUploads:
    """Bytes of files, both ways that they take."""

    @pytest.fixture(scope="class", params=["mod_proxy", "engine"])
    @classmethod
    def site(cls, request, upstream, make_site):
        proxy = Tinyproxy() if request.param == "engine" else None
        yield make_site(Conf(keys=KEYS, upstream=upstream.url + "/v1beta", modules=() if proxy else ("proxy", "proxy_http"),
                             api=f"GBalanceProxies {proxy.url}" if proxy else ""), sim=False)
        if proxy:
            proxy.stop()

    def compare(self, site, upstream, target, body, headers, response, **how):
        """The answer, when all that should be the same is: target is what Google sees, below our name or its own."""
        status, theirs, content = response
        upstream.answer, upstream.got[:] = (status, theirs, content), []
        chunked = how.pop("chunks", None)
        answer = site.api.request("POST", how.pop("address", target), body=None if chunked else body, chunks=chunked,
                                  headers=headers, **how)
        assert upstream.got == [("POST", target, body)], answer
        assert (answer.status, answer.body) == (status, content)
        for name in PASSED & {n.lower() for n in theirs}:
            assert answer.headers.get(name) == next(v for n, v in theirs.items() if n.lower() == name)
        return answer

    def begin(self, site, upstream, body=b'{"file": { }}', theirs=None, content=b""):
        """The address of a session, and what Google has for it."""
        session = "/upload/v1beta/files?upload_id=EXAMPLE_UPLOAD_ID&upload_protocol=resumable"
        theirs = {**(theirs or {}), "X-Goog-Upload-URL": upstream.url + session, "X-Goog-Upload-Control-URL": upstream.url + session}
        answer = self.compare(site, upstream, "/upload/v1beta/files", body, {
            "X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "Content-Type": "application/json"},
            (200, theirs, content))
        assert "EXAMPLE_UPLOAD_ID" in answer.headers.get("X-Goog-Upload-Control-URL")
        ours = urllib.parse.urlsplit(answer.headers.get("X-Goog-Upload-URL"))
        return f"{ours.path}?{ours.query}", session

    def test_recorded(self, site, upstream, fixtures):
        start, finish = (recordings.load_all(fixtures)[name] for name in UPLOADS)
        theirs = [{n: v for n, v in r["response"]["headers"].items() if n not in (*NOT_PASSED, "content-length", "date", "server")
                   and not n.endswith("-url")} for r in (start, finish)]
        address, session = self.begin(site, upstream, json.dumps(start["request"]["body"]).encode(), theirs[0])
        assert session == finish["request"]["path"]
        self.compare(site, upstream, session, finish["request"]["body"].encode(), {
            "X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"},
            (200, theirs[1], recordings.answer_bytes(finish["response"])), address=address, anonymous=True)

    @pytest.mark.parametrize("command,body,chunks", [
        ("upload", ANY, None), ("upload", ANY, [ANY[:1], ANY[1:5000], ANY[5000:]]), ("query", b"", None), ("cancel", b"", None)],
        ids=["a chunk", "without a length", "query", "cancel"])
    def test_session(self, site, upstream, command, body, chunks):
        address, session = self.begin(site, upstream)
        self.compare(site, upstream, session, body, {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": "0"},
                     (200, {"Content-Type": "text/plain", "X-Goog-Upload-Status": "active"}, b" not read \r\n"), address=address,
                     anonymous=True, chunks=chunks)

    @pytest.mark.parametrize("status,content", [
        (200, b'{ "file" : {"name":"files/a1"} }\n'), (400, b'{ "error": {"code":400,\n"status":"INVALID_ARGUMENT"}}')])
    def test_multipart(self, site, upstream, status, content):
        body = b'--b\r\nContent-Type: application/json\r\n\r\n{ "file": {}}\r\n--b\r\nContent-Type: image/png\r\n\r\n' + ANY + b"\r\n--b--"
        self.compare(site, upstream, "/upload/v1beta/files", body, {
            "X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=b"},
            (status, {"Content-Type": "application/json; charset=UTF-8"}, content))


class TestBytes:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, upstream, make_site):
        return make_site(Conf(upstream=upstream.url + "/v1beta"), sim=False)

    def test_an_error_to_its_last_line_end(self, site, upstream):
        content = b'\n{\n  "error": {\n    "code": 404,\n    "message": "no",\n    "status": "NOT_FOUND"\n  }\n}\n'
        upstream.answer = (404, {"Content-Type": "application/json; charset=UTF-8"}, content)
        answer = site.api.get("/v1beta/batches/b")
        assert (answer.status, answer.body) == (404, content)

    @pytest.mark.parametrize("query,headers", [("?fields=usageMetadata", {}), ("", {"X-Goog-FieldMask": "usageMetadata"})])
    def test_a_mask_that_cuts_out_the_answer(self, site, upstream, query, headers):
        content = b'{"usageMetadata": {"totalTokenCount": 3}}'
        upstream.answer, upstream.got[:] = (200, {"Content-Type": "application/json"}, content), []
        answer = site.api.post(Gemini.path() + query, json=Gemini.body(), headers=headers)
        assert (answer.status, answer.body, len(upstream.got)) == (200, content, 1)

    @pytest.mark.parametrize("stream", [False, True])
    def test_compressed_all_the_same(self, site, upstream, stream):
        """Some proxies before Google compress though nobody has asked for it."""
        event = b'{"candidates":[{"content":{"parts":[{"text":"ok"}]},"finishReason":"STOP"}]}'
        content = b"data: " + event + b"\r\n\r\n" if stream else event
        upstream.answer = (200, {"Content-Type": "text/event-stream" if stream else "application/json",
                                 "Content-Encoding": "gzip"}, gzip.compress(content))
        answer = site.api.post(Gemini.path(stream=stream), json=Gemini.body(), headers={"Accept-Encoding": "gzip"})
        assert (answer.status, answer.body) == (200, content)
        assert "Content-Encoding" not in answer.headers


class TestHeaders:
    def test_what_is_between_google_and_its_own_clients(self, make_site):
        google = Google()
        site = make_site(Conf(upstream=google.url + "/v1beta"), sim=False)
        answer = site.api.post(Gemini.path(), json=Gemini.body(), headers={"Accept-Encoding": "gzip, br", "Cookie": "a=b"})
        names = {n.lower() for n, _ in answer.headers}
        assert not names & (NOT_PASSED - {"connection", "keep-alive"})
        sent = {n.lower(): v for n, v in google.calls[-1]["headers"]}
        assert sent.get("accept-encoding", "identity") == "identity"
        assert "cookie" not in sent
        google.stop()
