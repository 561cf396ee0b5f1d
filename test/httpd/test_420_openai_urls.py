# SPDX-License-Identifier: Apache-2.0
"""Pictures by URL: who fetches them, from where, and how much."""
import base64
import http.server
import json
import threading

import pytest

import openai_spec
from conf import KEYS, Conf
from tools import free_port, wait_until

pytestmark = pytest.mark.smoke

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
HUGE = 40 * 1024 * 1024


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Pictures(http.server.BaseHTTPRequestHandler):
    """A web server of pictures with every vice."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, content, kind="image/png", status=200, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        name, _, rest = self.path[1:].partition("?")
        getattr(self, "give_" + name)(rest)

    def give_picture(self, _):
        self.answer(PNG)

    def give_mislabelled(self, _):
        self.answer(PNG, "text/html")

    def give_page(self, _):
        self.answer(b"<html>no picture</html>", "image/png")

    def give_missing(self, _):
        self.answer(b"gone", "text/plain", 404)

    def give_redirect(self, where):
        self.answer(b"", status=302, Location=where)

    def give_loop(self, _):
        self.answer(b"", status=302, Location="/loop")

    def give_huge(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(HUGE // 65536):
                self.wfile.write(bytes(65536))
        except OSError:
            pass
        self.close_connection = True

    def give_slow(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(PNG[:10])
        self.wfile.flush()
        self.server.hold.wait(20)


@pytest.fixture(scope="module")
def web():
    server = Web(("127.0.0.1", 0), Pictures)
    server.seen, server.hold = [], threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def chat(site, sim, web):
    web.seen.clear()
    return openai_spec.Chat(site, sim)


def picture(*urls):
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"},
                                         *({"type": "image_url", "image_url": {"url": u}} for u in urls)]}]


def refused(chat, url):
    """The sentence of the refusal; nothing went upstream."""
    error = chat.post(messages=picture(url), status=400)
    assert error["code"] == "invalid_image_url"
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert not chat.sim.calls()
    return error["message"]


def pieces(body):
    return [p["inlineData"] for c in body["contents"] for p in c["parts"] if "inlineData" in p]


class TestOpened:
    """The operator opened the loopback range, but for one address of it."""
    CONF = Conf(keys=KEYS[:1], api="GBalanceImageFetchAllow 127.0.0.1/32")

    @pytest.mark.parametrize("stream", [False, True])
    def test_fetched(self, chat, web, stream):
        assert chat.message(stream, messages=picture(web.url + "/picture"))["content"]
        (body,) = chat.sent()
        assert pieces(body) == [{"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}]

    def test_nothing_of_ours_travels(self, chat, web):
        chat.post(messages=picture(web.url + "/picture"))
        ((_, headers),) = web.seen
        names = {n.lower() for n in headers}
        assert not names & {"authorization", "x-goog-api-key", "cookie", "referer", "x-request-id"}
        assert KEYS[0] not in json.dumps(headers)

    def test_side_by_side(self, chat, web):
        chat.post(messages=picture(web.url + "/picture?1", web.url + "/picture?2", web.url + "/picture?1"))
        assert len(pieces(chat.sent()[0])) == 3
        assert sorted(p for p, _ in web.seen) == ["/picture?1", "/picture?2"]

    def test_the_type_is_what_it_is(self, chat, web):
        chat.post(messages=picture(web.url + "/mislabelled"))
        assert pieces(chat.sent()[0])[0]["mimeType"] == "image/png"
        chat.sim.reset()
        assert "no picture" in refused(chat, web.url + "/page")

    def test_missing(self, chat, web):
        assert "404" in refused(chat, web.url + "/missing")

    def test_redirected(self, chat, web):
        chat.post(messages=picture(f"{web.url}/redirect?{web.url}/picture"))
        assert len(pieces(chat.sent()[0])) == 1

    def test_redirected_without_end(self, chat, web):
        refused(chat, web.url + "/loop")
        assert len(web.seen) <= 6

    @pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "localhost.localdomain:1@127.0.0.2", "2130706434"])
    def test_redirected_to_where_it_is_closed(self, chat, web, host):
        refused(chat, f"{web.url}/redirect?http://{host}:{web.server_port}/picture")
        assert len(web.seen) == 1

    @pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/a"])
    def test_redirected_to_another_scheme(self, chat, web, where):
        refused(chat, f"{web.url}/redirect?{where}")

    def test_huge(self, chat, web):
        assert "too large" in refused(chat, web.url + "/huge")

    def test_nobody_there(self, chat):
        assert "cannot be reached" in refused(chat, f"http://127.0.0.1:{free_port()}/a")

    def test_no_thread_waits(self, site, chat, web):
        """Slow servers keep no worker, and clients that leave end the fetch."""
        clients = [self.begin(site, web) for _ in range(40)]
        wait_until(lambda: len(web.seen) == 40, "all fetches to run", timeout=20)
        wait_until(lambda: site.busy_workers() <= 3, "the workers to be free again")
        chat.post(messages="Hi")
        for conn in clients:
            conn.close()
        site.settled()

    @staticmethod
    def begin(site, web):
        conn = site.api.connect()
        conn.start("POST", "/v1/chat/completions", site.api.auth(),
                   json={"model": "gemini-2.5-flash", "messages": picture(web.url + "/slow")})
        return conn


class TestClosed:
    CONF = Conf(keys=KEYS[:1])

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433",
                                      "0x7f.0.0.1", "10.0.0.1", "192.168.0.1", "169.254.169.254"])
    def test_private_addresses(self, chat, web, host):
        refused(chat, f"http://{host}:{web.server_port}/picture")
        assert not web.seen

    def test_parts_of_a_data_url(self, chat):
        error = chat.post(messages=picture("data:image/png;base64,@@@"), status=400)
        assert error["param"].startswith("messages[0].content[1].image_url")


class TestUpstream:
    CONF = Conf(keys=KEYS[:1], api="GBalanceImageFetch upstream")

    def test_google_fetches(self, chat, web):
        url = "https://example.com/a.png"
        chat.post(messages=picture(url))
        (body,) = chat.sent()
        assert body["contents"][0]["parts"][1]["fileData"] == {"mimeType": "image/png", "fileUri": url}
        assert not web.seen
