# SPDX-License-Identifier: Apache-2.0
"""Both ways, for every recording: where no feature asks for an edit, the upstream gets the very
bytes that the client sent, and the client the very bytes that the upstream sent."""
import json
import re
import urllib.parse

import recordings
from conf import KEYS, Conf
from google_apis import Google
from wire import Gemini

NOT_PASSED = {"connection", "keep-alive", "transfer-encoding", "alt-svc", "server-timing", "set-cookie", "via"}


def requests(fixtures):
    """(name, method, path below the version, query, body as bytes) of native calls."""
    for name, recording in recordings.load_all(fixtures).items():
        request = recording["request"]
        if not request or not isinstance(request.get("path"), str):
            continue
        parts = urllib.parse.urlsplit(request["path"])
        match = re.search(r"/v1(?:beta|alpha)?/(models/[^/:]+:\w+)$", parts.path)
        if not match or "openai" in parts.path or "publishers" in parts.path:
            continue
        query = "&".join(p for p in parts.query.split("&") if p and not re.match(r"\$?key=", p))
        body = request["body"]
        if isinstance(body, dict):
            yield name, request["method"], match[1], query, json.dumps(body, ensure_ascii=False, indent=1).encode()


class TestRecordings:
    # files of others are among what was recorded
    CONF = Conf(keys=KEYS[:1], api="GBalanceFilesUserIsolationEnabled Off")

    def test_requests_and_answers(self, site, sim, fixtures):
        """The simulator answers each with what Google answered; other statuses have tests of their own."""
        tried, wrong, answers = 0, [], recordings.load_all(fixtures)
        for name, method, path, query, body in requests(fixtures):
            response = answers[name]["response"]
            content = recordings.answer_bytes(response)
            sim.reset()
            if response["status"] == 200 and content:
                is_sse = "sse" in response
                sim.literal(content, content_type="text/event-stream" if is_sse else "application/json")
            sim.record(bodies=True)
            answer = site.api.request(method, f"/v1beta/{path}{'?' + query if query else ''}", body=body,
                                      headers={"Content-Type": "application/json"})
            calls = [c for c in sim.calls() if c["path"].split("?")[0].endswith(path)]
            tried += 1
            if not calls or calls[0]["body"].encode() != body:
                wrong.append(f"{name}: {answer.status}, {len(calls)} calls, another body")
            elif calls[0]["path"].split("?")[0] != f"/v1beta/{path}":
                wrong.append(f"{name}: {calls[0]['path']}")
            elif response["status"] == 200 and answer.status == 200 and content and answer.body != content:
                wrong.append(f"{name}: another answer")
        assert wrong == []
        assert tried > 50, f"only {tried} recordings have a native request"


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
