# SPDX-License-Identifier: Apache-2.0
"""Streams in all modes as a browser's own EventSource reads them, the strictest reader of events there is.

EventSource can only GET: a relay of bytes, on a port of its own, puts the POST behind it.
"""
import http.server
import json
import threading
import urllib.parse

import pytest

from browser import chromium  # noqa: F401  (a fixture)
from conf import KEYS, Conf
from wire import SURFACES, Gemini, OpenAI

LISTEN = """path => new Promise((done, fail) => {
  const found = [], source = new EventSource(path);
  source.onmessage = e => {
    found.push(e.data);
    if (e.data === '[DONE]' || e.data.includes('"finishReason"')) { source.close(); done(found); }
  };
  source.onerror = () => { source.close(); fail(new Error(`broken after ${found.length} events`)); };
})"""
MODES = {
    "heartbeats": "GBalanceStreamHeartbeatSeconds 80ms",
    "empty deltas": "GBalanceStreamHeartbeatSeconds 80ms\nGBalanceStreamHeartbeatForm delta",
    "fake": "GBalanceFakeStreamEnabled On\nGBalanceFakeStreamEmptyDataIntervalSeconds 80ms",
    "optimizer": "GBalanceStreamOptimizerEnabled On\nGBalanceStreamMinDelay 1ms\nGBalanceStreamMaxDelay 2ms\n"
                 "GBalanceStreamHeartbeatSeconds 80ms",
}
TEXT = "[[chunks=5 delay=250 interval=150 size=80 seq]]"


class Relay(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.site = None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        surface = next((s for s in SURFACES if path == "/" + s.name), None)
        if surface is None:
            self.reply("text/html", [b"<!doctype html><title>relay</title>"])
            return
        answer = self.server.site.api.open("POST", surface.path(True), json=surface.body(TEXT, True))
        self.reply(answer.headers.get("Content-Type"), answer.pieces())

    def reply(self, content_type, pieces):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()


@pytest.fixture(scope="module")
def page(chromium):  # noqa: F811
    made = chromium.new_context().new_page()
    made.relay = Relay()
    made.goto(f"http://127.0.0.1:{made.relay.server_port}/")
    yield made
    made.relay.shutdown()
    made.relay.server_close()


@pytest.mark.parametrize("mode", MODES)
class TestEventSource:
    def test_every_event_arrives(self, make_site, page, mode):
        page.relay.site = make_site(Conf(keys=KEYS, api=MODES[mode]))
        for surface in (OpenAI, Gemini):
            found = page.evaluate(LISTEN, "/" + surface.name)
            text = "".join(surface.piece(e) for e in found if e != "[DONE]")
            assert all(f"c00000{n} " in text for n in range(1, 6)), text
            assert all(e == "[DONE]" or isinstance(json.loads(e), dict) for e in found)
