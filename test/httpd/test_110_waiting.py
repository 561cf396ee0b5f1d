# SPDX-License-Identifier: Apache-2.0
"""Every way in which a request can wait gives the same answers: parked or in its worker,
each MPM, TLS, HTTP/2, filters, subrequests, keep-alive."""
import gzip
import json
import subprocess

import pytest

import tools
from conf import TOKEN, Conf
from tools import wait_until
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask, begin

pytestmark = pytest.mark.smoke

ONE_CHILD = "StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMaxSpareThreads 25"

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)

WAYS = {
    "event": Conf(),
    "event, not parked": Conf(parking="Off"),
    "worker": Conf(mpm="worker"),
    "prefork": Conf(mpm="prefork"),
    "TLS": Conf(tls=True),
    "TLS, not parked": Conf(tls=True, parking="Off"),
    "deflate": Conf(modules=("deflate", "filter"),
                    api="AddOutputFilterByType DEFLATE application/json text/event-stream"),
    "h2 offered": Conf(tls=True, protocols="h2 http/1.1"),
    "no keep-alive": Conf(main="KeepAlive Off"),
    "one child": Conf(mpm_lines=ONE_CHILD),
}


class TestEveryWay:
    @pytest.fixture(scope="class", params=WAYS)
    @classmethod
    def way(cls, request):
        return request.param

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, make_site, way):
        return make_site(WAYS[way])

    @surfaces
    def test_unary(self, server, surface):
        for _ in range(3):
            answer = ask(server, surface)
            assert answer.status == 200 and surface.text(answer.json())

    @surfaces
    def test_stream(self, server, surface):
        text = surface.stream_text(begin(server, surface, "[[chunks=20 interval=10 seq]]"))
        assert text

    @surfaces
    def test_errors(self, server, surface):
        surface.check_error(server.api.post(surface.path(), body=b"{"), 400)
        surface.check_error(ask(server, surface, headers={"Authorization": "Bearer no"}), 401)

    def test_large_body(self, server):
        assert ask(server, Gemini, "x" * 1_500_000).status == 200

    def test_keep_alive_after_each_kind(self, server, way):
        if way == "no keep-alive":
            return
        with server.api.connect() as conn:
            for _ in range(3):
                for surface in SURFACES:
                    for stream in (False, True):
                        answer = begin(server, surface, "[[chunks=3 interval=5]]", stream=stream, conn=conn)
                        assert answer.status == 200
                        answer.read()
                answer = conn.request("GET", "/")
                assert answer.status == 200
                answer.read()

    def test_pipelined(self, server, way):
        if way == "no keep-alive":
            return
        with server.api.connect() as conn:
            for n in range(5):
                conn.start("POST", Gemini.path(True), server.api.auth(), json=Gemini.body(f"[[chunks={n + 2} seq]]"))
            for n in range(5):
                answer = conn.answer()
                answer.read()
                assert answer.status == 200
                assert answer.body.count(b"data: ") == n + 2 or answer.body.count(b"data: ") == n + 3

    def test_http_1_0(self, server):
        body = b'{"contents":[{"parts":[{"text":"[[chunks=3 seq]]"}]}]}'
        with server.api.connect() as conn:
            conn.method = "POST"
            conn.send(b"POST %s HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json"
                      b"\r\nContent-Length: %d\r\n\r\n%s"
                      % (Gemini.path(True).encode(), server.api.token.encode(), len(body), body))
            answer = conn.answer()
            answer.read()
            assert answer.status == 200 and "Transfer-Encoding" not in answer.headers
            assert b'"finishReason"' in answer.body

    def test_all_workers_are_idle_again(self, server):
        server.settled()
        assert server.sim.stats()["open_calls"] == 0


class TestDeflate:
    CONF = Conf(modules=("deflate", "filter"),
                api="AddOutputFilterByType DEFLATE application/json text/event-stream")

    @surfaces
    def test_stream_inflates_to_the_same(self, site, surface):
        plain = ask(site, surface, "[[chunks=20 interval=5 seq]]", stream=True)
        packed = ask(site, surface, "[[chunks=20 interval=5 seq]]", stream=True, headers={"Accept-Encoding": "gzip"})
        assert packed.headers.get("Content-Encoding") == "gzip"
        text = gzip.decompress(packed.body)
        assert text.count(b"data: ") == plain.body.count(b"data: ")

    def test_pieces_come_as_they_are_made(self, site):
        import time
        began = time.monotonic()
        answer = begin(site, Gemini, "[[chunks=10 interval=100 seq]]", headers={"Accept-Encoding": "gzip"})
        next(answer.pieces())
        first = time.monotonic() - began
        answer.read()
        assert first < (time.monotonic() - began) / 2

    def test_a_piece_of_nothing_but_padding(self, site):
        """256 KB of white space deflate to little; the filter must not hold it back for ever."""
        answer = ask(site, Gemini, "[[chunks=4 size=65536]] x", stream=True, headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(answer.body)


class TestHttp2Client:
    """HTTP/2 requests run on secondary connections, which are never parked."""
    CONF = Conf(tls=True, protocols="h2 http/1.1", modules=("negotiation",),
                api=f"GBalanceMaxBody 6000000\nGBalanceAuthToken admin-0123456789\n"
                    f"Include {tools.SRCDIR}/conf.d/gbalance-admin.conf")

    def curl(self, site, surface, text, stream=True, *more):
        return subprocess.run(
            ["curl", "-sS", "--http2", "--cacert", site.authority.ca, "-N", "-D", "-", "--max-time", "30",
             "-H", f"Authorization: Bearer {site.api.token}", "-H", "Content-Type: application/json",
             "-d", json.dumps(surface.body(text, stream)), *more,
             f"https://localhost:{site.port}{surface.path(stream)}"], capture_output=True, timeout=40)

    @surfaces
    @pytest.mark.parametrize("stream", [False, True])
    def test_answers(self, site, surface, stream):
        done = self.curl(site, surface, "[[chunks=10 interval=10 seq]]", stream)
        assert done.returncode == 0, done.stderr
        head, body = done.stdout.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/2 200")
        assert (b"finishReason" in body) if surface is Gemini else (b"finish_reason" in body)

    def test_many_streams_on_one_connection(self, site):
        urls = [f"https://localhost:{site.port}{Gemini.path(True)}"] * 30
        body = json.dumps(Gemini.body("[[chunks=5 interval=20 seq]]"))
        done = subprocess.run(
            ["curl", "-sS", "--http2", "-Z", "--parallel-max", "15", "--cacert", site.authority.ca, "--max-time", "30",
             "-H", f"Authorization: Bearer {site.api.token}", "-H", "Content-Type: application/json", "-d", body,
             "-w", "\n%{http_version} %{http_code}\n", *urls], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n2 200\n") == 30
        assert done.stdout.count('"finishReason"') == 30

    def test_leaving_cancels(self, site, sim):
        done = self.curl(site, Gemini, "[[chunks=600 interval=100 seq]]", True, "--max-time", "1")
        assert done.returncode == 28
        wait_until(lambda: [c for c in sim.calls() if c["client_gone"]], "the upstream call to end", timeout=5)

    def test_errors(self, site):
        done = self.curl(site, OpenAI, "x", False, "-H", "Authorization: Bearer no")
        assert done.stdout.startswith(b"HTTP/2 401")

    REFUSED = {     # how, token, path, size of the body
        "401": ([], "no", OpenAI.path(), 5_000_000),
        "401 and asks first": (["-H", "Expect: 100-continue"], "no", OpenAI.path(), 500),
        "404": ([], TOKEN, "/v1/nothing", 1000),
        "405": ([], TOKEN, "/health", 1000),
        "413": ([], TOKEN, OpenAI.path(), 7_000_000),
        "413 unannounced": (["-H", "Content-Length:"], TOKEN, OpenAI.path(), 7_000_000),
        "413 of administration": (["-X", "PUT"], "admin-0123456789", "/api/config", 5_000_000),
        "415": (["-H", "Content-Encoding: gzip"], TOKEN, OpenAI.path(), 1000),
        "401 of a file": ([], "no", "/upload/v1beta/files", 5_000_000),
        "404 of an upload": ([], TOKEN, "/upload/v1beta/files?upload_id=a", 1000),
        "503": ([], TOKEN, "/vertex-express/v1/chat/completions", 1000),
    }

    @pytest.mark.parametrize("case", REFUSED)
    def test_refusals_arrive(self, site, tmp_path, case):
        """mod_http2 resets a stream that is answered before its body has come: nobody would read why."""
        more, token, path, size = self.REFUSED[case]
        (tmp_path / "body").write_text(json.dumps(OpenAI.body("x" * size)))
        for _ in range(5):
            done = subprocess.run(
                ["curl", "-sS", "--http2", "--cacert", site.authority.ca, "-w", "\n%{http_code}", "--max-time", "30",
                 "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json", *more,
                 "--data-binary", f"@{tmp_path}/body", f"https://localhost:{site.port}{path}"],
                capture_output=True, text=True, timeout=40)
            body, _, status = done.stdout.rpartition("\n")
            assert (done.returncode, status) == (0, case[:3]), done.stderr
            assert "error" in json.loads(body)


class TestSubrequest:
    """An SSI page includes a call: it waits in its worker and ends up in the page."""
    CONF = Conf(modules=("include",), api="""AddType text/html .shtml
AddOutputFilter INCLUDES .shtml
<Directory "/">
Options +Includes
</Directory>""")

    def test_included(self, site):
        site.write("page.shtml", 'before <!--#include virtual="/v1/models" --> after')
        answer = site.api.get("/page.shtml")
        assert answer.status == 200
        assert answer.text.startswith("before ") and answer.text.endswith(" after")
        assert '"gemini-2.5-flash"' in answer.text

    def test_health_included(self, site):
        site.write("health.shtml", '<!--#include virtual="/health" -->')
        assert "healthy" in site.api.get("/health.shtml", anonymous=True).text


class TestFiltersThatSleep:
    """A filter that holds its thread must not hold the engine, in whose thread all streams of a child are written."""
    LINES = {"for all": "SetOutputFilter RATE_LIMIT", "by type": "AddOutputFilterByType RATE_LIMIT text/event-stream",
             "declared": "FilterDeclare slowly\nFilterProvider slowly RATE_LIMIT true\nFilterChain slowly"}

    @pytest.mark.parametrize("lines", LINES)
    def test_others_go_on(self, make_site, lines):
        site = make_site(Conf(modules=("filter", "ratelimit"), mpm_lines=ONE_CHILD + "\nMinSpareThreads 1",
                              api=f"SetEnvIf User-Agent slow rate-limit=4\n{self.LINES[lines]}"))
        slow = begin(site, Gemini, "[[chunks=64 size=2048]]", headers={"User-Agent": "slow"})
        next(slow.pieces())
        for _ in range(5):
            assert Gemini.stream_text(begin(site, Gemini, "[[chunks=5 interval=10 seq]]"))
        with slow.conn:
            slow.conn.sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                while slow.conn.sock.recv(1 << 20):
                    pass


class TestReqtimeout:
    """mod_reqtimeout ends slow requests, never slow answers."""
    CONF = Conf(main="RequestReadTimeout header=2-3,MinRate=500 body=2,MinRate=500", claims=("AH01382",))

    def test_a_long_stream(self, site):
        assert Gemini.stream_text(begin(site, Gemini, "[[chunks=10 interval=500 seq]]"))

    def test_a_late_request_on_a_kept_connection(self, site):
        import time
        with site.api.connect() as conn:
            for _ in range(2):
                answer = begin(site, Gemini, "[[chunks=3]]", conn=conn)
                assert answer.status == 200
                answer.read()
                time.sleep(2.5)


class TestAccessLog:
    """Bytes and status of a parked request are what the client got."""

    def test_line(self, site):
        answer = ask(site, Gemini, "[[chunks=30 interval=2 seq]]", stream=True)
        wait_until(lambda: any(":streamGenerateContent" in line for line in site.access_lines()), "the line")
        line = [line for line in site.access_lines() if ":streamGenerateContent" in line][-1]
        assert ' 200 ' in line
        assert int(line.split(" 200 ")[1].split()[0]) >= len(answer.body)

    def test_a_client_that_left_is_marked(self, site, sim):
        answer = begin(site, Gemini, "[[chunks=600 interval=50 seq]] left")
        next(answer.pieces())
        answer.conn.close()
        wait_until(lambda: [line for line in site.access_lines() if line.endswith(" X")], "a line with %X = X")
