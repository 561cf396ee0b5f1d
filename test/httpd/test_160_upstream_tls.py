# SPDX-License-Identifier: Apache-2.0
"""Upstream over HTTP/2 and TLS, with verification: httpd itself plays Google's front end."""
import socket
import threading
import time

import pytest

import certs
from conf import KEYS, Conf
from load import Case, load
from procfs import connections_to
from tools import wait_until
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask, begin

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)


def make_front(make_site, **conf):
    """TLS and HTTP/2 in front of a simulator."""
    front = make_site(Conf(gbalance=False, tls=True, protocols="h2 http/1.1", modules=("proxy", "proxy_http"), **conf),
                      start=False, sim=True)
    front.conf.api = f"ProxyPass / {front.sim.url}/ flushpackets=on"
    return front.start()


@pytest.fixture(scope="class")
def front(make_site):
    return make_front(make_site)


class TestHttp2Upstream:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, front):
        site = make_site(Conf(keys=KEYS, upstream=f"https://localhost:{front.port}/v1beta",
                              main=f"GBalanceCAFile {front.authority.ca}"))
        site.front = front
        return site

    @surfaces
    def test_unary_and_stream(self, site, surface):
        assert ask(site, surface).status == 200
        assert surface.stream_text(begin(site, surface, "[[chunks=10 interval=10 seq]]"))

    def test_speaks_http_2(self, site):
        ask(site, OpenAI)
        wait_until(lambda: any('HTTP/2.0"' in line for line in site.front.access_lines()), "the line")

    def test_multiplexes(self, site):
        before = len(site.front.log.matching("AH10400|h2 connection"))
        report = load(site.port, [Case("POST", Gemini.path(True), Gemini.body("[[chunks=10 interval=30 seq]]"))],
                      token=site.api.token, connections=40, requests=80)
        assert report.failed == 0 and report.statuses == {"200": 80}
        assert before >= 0

    def test_leaving_cancels(self, site):
        """Alone on its connection, a call that is given up takes the connection with it.

        (What mod_http2, which plays the upstream here, does with it then is its own affair.)"""
        answer = begin(site, Gemini, "[[chunks=600 interval=50 seq]] leave")
        next(answer.pieces())
        before = connections_to(site.front.port)
        answer.conn.close()
        wait_until(lambda: connections_to(site.front.port) < before, "the upstream call to end", timeout=5)

    def test_a_slow_reader_does_not_stop_its_neighbours(self, site):
        """Streams share one HTTP/2 connection; one that is paused must not eat its window."""
        slow = begin(site, Gemini, "[[chunks=64 size=65536]] x", conn_options={"rcvbuf": 8192})
        next(slow.pieces())
        for _ in range(5):
            assert Gemini.stream_text(begin(site, Gemini, "[[chunks=5 interval=10 seq]]"))
        slow.conn.close()


class Way:
    """Hands bytes on, both ways; connections that are dead stay open, and nothing comes through."""

    def __init__(self, port):
        self.target, self.made, self.dead = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                outside = self.listener.accept()[0]
                inside = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.made += 1
            for pair in (outside, inside), (inside, outside):
                threading.Thread(target=self._hand_on, args=(*pair, self.made), daemon=True).start()

    def _hand_on(self, source, target, number):
        try:
            while data := source.recv(65536):
                if number <= self.dead:
                    continue
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self.listener.close()


class TestDeadConnection:
    """The way to the upstream is lost without a word: calls that share a connection get out of it."""

    @pytest.mark.parametrize("deadline, stream", [("TimeOut", False), ("TimeOutFirstToken", True)])
    def test_nobody_stays_on_it(self, make_site, front, deadline, stream):
        way = Way(front.port)
        site = make_site(Conf(keys=KEYS, upstream=f"https://localhost:{way.port}/v1beta", claims=(r"GB\d{4}:",),
                              main=f"GBalanceCAFile {front.authority.ca}", api=f"GBalance{deadline} 2",
                              mpm_lines="StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMaxSpareThreads 25"))
        assert ask(site, Gemini).status == 200
        way.dead = way.made
        said = []
        calls = [threading.Thread(target=lambda: said.append(ask(site, Gemini, stream=stream).status)) for _ in range(12)]
        for call in calls:
            call.start()
            time.sleep(0.4)         # there is always one that waits
        for call in calls:
            call.join()
        assert said == [200] * len(calls)
        way.stop()


class TestVerification:
    """A certificate that nobody vouches for, or of another name, is refused and nothing is sent."""

    def refused(self, make_site, front, upstream, ca=None):
        front.log.claim("AH0", r"\[ssl:")
        site = make_site(Conf(keys=KEYS, upstream=upstream, main=f"GBalanceCAFile {ca}" if ca else "", claims=(r"GB\d{4}:",),
                              api="GBalanceMaxRetries 2"))
        front.sim.reset()
        for surface in SURFACES:
            surface.check_error(ask(site, surface), 502)
        assert front.sim.calls() == []
        assert site.log.matching("certificate|TLS|SSL|secure connection")

    def test_unknown_authority(self, make_site, front):
        self.refused(make_site, front, f"https://localhost:{front.port}/v1beta")

    def test_another_authority(self, make_site, front, tmp_path):
        other = certs.Authority(str(tmp_path), "another CA")
        self.refused(make_site, front, f"https://localhost:{front.port}/v1beta", other.ca)

    def test_another_name(self, make_site):
        front = make_front(make_site, tls_names=("example.test",))
        self.refused(make_site, front, f"https://localhost:{front.port}/v1beta", front.authority.ca)


class TestRedirects:
    """A call that carries a key never follows one."""

    def test_not_followed(self, make_site):
        site = make_site(Conf(keys=KEYS, claims=(r"GB\d{4}:",)), start=False)
        site.conf.plain = f"Redirect 307 /v1beta {site.sim.url}/v1beta"
        site.conf.upstream = f"http://127.0.0.1:{site.plain_port}/v1beta"
        site.start()
        assert ask(site, OpenAI).status >= 500
        assert site.sim.calls() == []
