# SPDX-License-Identifier: Apache-2.0
"""Who reads slowly slows the upstream; who leaves ends it."""
import socket
import struct
import time

import pytest

import procfs
from conf import Conf
from tools import SANITIZE, wait_until
from wire import SURFACE_IDS, SURFACES, Gemini, begin

pytestmark = pytest.mark.smoke

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
WAYS = {"parked": Conf(), "waiting": Conf(parking="Off"), "worker": Conf(mpm="worker"), "tls": Conf(tls=True)}


def abort(conn):
    """A reset, as of a process that was killed."""
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


class TestLeaving:
    """A client that leaves cancels its upstream call within a second."""

    LONG = "[[chunks=600 interval=100 seq]]"

    @pytest.fixture(scope="class", params=WAYS)
    @classmethod
    def server(cls, make_site, request):
        return make_site(WAYS[request.param])

    @pytest.fixture
    def site(self, server):
        server.sim.reset()
        return server

    def cancelled(self, site, began):
        call = wait_until(lambda: [c for c in site.sim.calls() if c["client_gone"]], "the upstream call to end",
                          timeout=5)[0]
        seconds = time.monotonic() - began
        assert call["outcome"] == "gone"
        assert seconds < 1.5, f"after {seconds:.2f} s"

    @surfaces
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_within_a_stream(self, site, surface, how):
        answer = begin(site, surface, self.LONG)
        next(answer.pieces())
        site.sim.wait_open(1)
        began = time.monotonic()
        if how == "close":
            answer.conn.close()
        else:
            abort(answer.conn)
        self.cancelled(site, began)
        site.settled()

    @surfaces
    def test_before_the_answer(self, site, surface):
        with site.api.connect() as conn:
            conn.start("POST", surface.path(), site.api.auth(), json=surface.body("[[delay=30000]] x"))
            site.sim.wait_open(1)
            began = time.monotonic()
        self.cancelled(site, began)
        site.settled()

    def test_twenty_at_once(self, site):
        answers = [begin(site, Gemini, self.LONG) for _ in range(20)]
        site.sim.wait_open(20)
        for answer in answers:
            abort(answer.conn)
        wait_until(lambda: site.sim.stats()["open_calls"] == 0, "all upstream calls to end", timeout=5)
        site.settled()


class TestSlowReaders:
    """The upstream is paused, memory is bounded, and nothing is lost."""

    MEGABYTES = 16
    BIG = f"[[chunks={MEGABYTES * 16} size=65536]] x"

    @pytest.fixture(scope="class", params=WAYS)
    @classmethod
    def server(cls, make_site, request):
        return make_site(WAYS[request.param])

    @pytest.fixture
    def site(self, server):
        server.sim.reset()
        return server

    @surfaces
    def test_upstream_is_paused(self, site, surface):
        answer = begin(site, surface, self.BIG, conn_options={"rcvbuf": 8192, "timeout": 60})
        with answer.conn:
            next(answer.pieces())
            time.sleep(1.0)
            sent = site.sim.calls()[0]["bytes"]
            time.sleep(0.5)
            (call,) = site.sim.calls()
            kernel = procfs.queued(site.port, site.sim.port)    # buffers of its own, of tens of megabytes
            assert call["bytes"] - sent < 256 * 1024, "the upstream goes on although nobody reads"
            assert call["bytes"] - kernel < 2 * 1024 * 1024, "what nobody read was taken from the upstream"
            answer.read()
            assert answer.body.count(b"data: ") >= self.MEGABYTES * 16
            assert len(answer.body) > self.MEGABYTES * 1024 * 1024

    def test_memory_is_bounded(self, site):
        """Ten clients that do not read cannot make a child hold ten answers."""
        assert begin(site, Gemini, "[[chunks=4]] warm").read()
        before = sum(procfs.memory(p)["pss"] for p in site.children())
        answers = [begin(site, Gemini, self.BIG, conn_options={"rcvbuf": 8192, "timeout": 60}) for _ in range(10)]
        try:
            time.sleep(1.5)
            grown = sum(procfs.memory(p)["pss"] for p in site.children()) - before
        finally:
            for answer in answers:
                abort(answer.conn)
        wait_until(lambda: site.sim.stats()["open_calls"] == 0, "all upstream calls to end", timeout=10)
        assert SANITIZE or grown < 40 * 1024 * 1024, f"{grown / 1e6:.0f} MB for ten clients that do not read"
        site.settled()

    def test_a_reader_that_comes_back(self, site):
        """Reads in bursts with pauses: blocked and unblocked many times."""
        text = "[[chunks=40 size=65536]] x"
        answer = begin(site, Gemini, text, conn_options={"rcvbuf": 8192, "timeout": 60})
        read = 0
        for piece in answer.pieces():
            read += len(piece)
            if read > 300_000:
                read = 0
                time.sleep(0.1)
        whole = begin(site, Gemini, text)
        assert len(answer.body) == len(whole.read())
        for done in (answer, whole):
            done.conn.close()
        site.settled()

    def test_a_slow_one_holds_nobody_up(self, site):
        slow = begin(site, Gemini, self.BIG, conn_options={"rcvbuf": 8192, "timeout": 60})
        next(slow.pieces())
        for _ in range(20):
            assert begin(site, Gemini, "[[chunks=3]]").read()
        abort(slow.conn)
        site.settled()


class TestSmallBuffers:
    """A write must fit: with a small send buffer every piece would block the engine."""
    CONF = Conf(main="SendBufferSize 8192")

    def test_large_chunks(self, site):
        answer = begin(site, Gemini, "[[chunks=30 size=65536]] x")
        answer.read()
        assert answer.body.count(b"data: ") >= 30

    def test_a_reader_that_stops_stops_only_itself(self, site):
        stuck = [begin(site, Gemini, "[[chunks=64 size=65536]] x", conn_options={"rcvbuf": 4096}) for _ in range(4)]
        assert begin(site, Gemini, "[[chunks=30 interval=10 seq]]").read()
        for answer in stuck:
            abort(answer.conn)
        site.settled()


class TestSilentConnection:
    """A parked stream that is silent for longer than httpd's Timeout lives on."""
    CONF = Conf(main="Timeout 2")

    def test_silence_longer_than_timeout(self, site):
        answer = begin(site, Gemini, "[[chunks=2 interval=5000 seq]]")
        answer.read()
        assert answer.body.count(b"data: ") >= 2
        assert b'"finishReason"' in answer.body

    def test_a_reader_that_never_reads_is_dropped(self, site, sim):
        """Its Timeout ends it, and the upstream call with it."""
        site.log.claim(r"GB\d{4}:", "AH01110", "AH00574")
        stuck = begin(site, Gemini, "[[chunks=400 size=65536]] x", conn_options={"rcvbuf": 4096})
        next(stuck.pieces())
        wait_until(lambda: sim.stats()["open_calls"] == 0, "the call to end", timeout=20)
        site.settled()


class TestTimeoutOfTheFirstVirtualHost:
    """A connection may be timed by the first VirtualHost of its address, whoever serves the request."""
    FIRST = """<VirtualHost 127.0.0.1:{port}>
ServerName first.localhost
Timeout {first}
</VirtualHost>"""

    @pytest.mark.parametrize("first, own", [(2, 60), (60, 2)])
    def test_silence_longer_than_the_shorter_one(self, make_site, first, own):
        site = make_site(Conf(api=f"Timeout {own}"), start=False)
        site.conf.main = self.FIRST.format(port=site.port, first=first)
        site.start()
        answer = begin(site, Gemini, "[[chunks=2 interval=5000 seq]]", headers={"Host": f"localhost:{site.port}"})
        answer.read()
        assert b'"finishReason"' in answer.body
