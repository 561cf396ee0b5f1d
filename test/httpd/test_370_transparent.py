# SPDX-License-Identifier: Apache-2.0
"""Both ways, for every recording: where no feature asks for an edit, the upstream gets the very
bytes that the client sent, and the client the very bytes that the upstream sent."""
import http.server
import json
import re
import threading
import urllib.parse

import pytest

import recordings
from conf import KEYS, Conf
from google_apis import Google
from wire import MODEL, Gemini

NOT_PASSED = {"connection", "keep-alive", "transfer-encoding", "alt-svc", "server-timing", "set-cookie", "via"}
VERTEX = re.compile(r"/v1(?:beta1?)?/(?:projects/[^/]+/locations/[^/]+/)?publishers/google/(models/[^/:]+:\w+)$")
NATIVE = re.compile(r"/v1(?:beta|alpha)?/((?!openai/)\w.*)$")


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with what it is given, and keeps what it got."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer_all(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.got.append((self.command, self.path, body))
        status, kind, content = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
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


def native(recording):
    """(mount, method, path below it, query, body as bytes) of a call; None where it is not the native API's."""
    request = recording["request"]
    if not request or not isinstance(request.get("path"), str):
        content = recordings.answer_bytes(recording["response"]) or b""
        how = "streamGenerateContent" if "sse" in recording["response"] or content[:1] == b"[" else "generateContent"
        return "/v1beta", "POST", f"models/{MODEL}:{how}", "alt=sse" if "sse" in recording["response"] else "", b'{"contents": [ ]}'
    parts = urllib.parse.urlsplit(request["path"])
    vertex, plain = VERTEX.search(parts.path), NATIVE.search(parts.path)
    if parts.path.startswith("/upload/") or not (vertex or plain):
        return None
    body = request.get("body")
    text = b"" if body is None else json.dumps(body, ensure_ascii=False, indent=1).encode()
    query = "&".join(p for p in parts.query.split("&") if p and not re.match(r"\$?key=", p))
    if vertex:
        return "/vertex-express/v1beta", request["method"], vertex[1], query, text
    return "/v1beta", request["method"], plain[1], query, text


def is_passed_on(response, content):
    """Errors that speak of a key, a project or a quota are told as ours; what has no content is asked for again."""
    if response["status"] == 200:
        return bool(content)
    return response["status"] in (400, 404) and content[:1] in b"{[" and b"API key" not in content


class TestRecordings:
    """The list of files and of models is ours: it is that of all keys."""

    OURS = {("GET", "files"), ("GET", "models")}

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, upstream, make_site):
        # files of others are among what was recorded
        keys = tuple(f"AIzaSyTestKeyNumber{i:020d}" for i in range(200))     # some recordings cost one
        return make_site(Conf(keys=keys, upstream=upstream.url + "/v1beta", claims=(r"GB\d+:",), api=(
            f"GBalanceFilesUserIsolationEnabled Off\nGBalanceVertexApiKeys {keys[0]}\n"
            f"GBalanceVertexExpressBaseUrl {upstream.url}/v1beta\nGBalanceMaxRetries 1")), sim=False)

    def differences(self, site, upstream, recording):
        mount, method, path, query, body = native(recording)
        response = recording["response"]
        content = recordings.answer_bytes(response) or b""
        kind = "text/event-stream" if "sse" in response else "application/json; charset=UTF-8"
        upstream.answer, upstream.got[:] = (response["status"], kind, content), []
        answer = site.api.request(method, f"{mount}/{path}{'?' + query if query else ''}", body=body or None,
                                  headers={"Content-Type": "application/json"} if body else {})
        if (method, path) in self.OURS:
            return None
        if not upstream.got:
            return f"{answer.status}, the upstream was not asked: {answer.body[:200]}"
        asked, where, text = upstream.got[0]
        if text != body or asked != method:
            return "another request"
        if urllib.parse.unquote(where.split("?")[0]) != "/v1beta/" + urllib.parse.unquote(path):
            return f"another path: {where}"
        if is_passed_on(response, content) and answer.status == response["status"] and answer.body != content:
            return f"another answer: {answer.body[-200:]} for {content[-200:]}"
        return "compared" if answer.status == response["status"] == 200 else None

    def test_requests_and_answers(self, site, upstream, fixtures):
        order = sorted(recordings.load_all(fixtures).items(), key=lambda item: item[1]["response"].get("status") or 0)
        found = {name: self.differences(site, upstream, recording) for name, recording in order
                 if recording["response"].get("status") and native(recording)}
        wrong = [f"{n}: {d}" for n, d in found.items() if d not in (None, "compared")]
        assert not wrong, "\n".join(wrong)
        assert list(found.values()).count("compared") > 130, "answers that were compared"
        assert len(found) > 165, "recordings that were tried"
        print(len(found), "recordings,", list(found.values()).count("compared"), "answers compared")


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
