# SPDX-License-Identifier: Apache-2.0
"""Restarts and dead children: open streams go on, and no old child lives for ever."""
import os
import signal
import time

import pytest

import procfs
from conf import Conf
from load import Case, Load
from tools import soak, wait_until
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask, begin, serves

pytestmark = pytest.mark.smoke

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)


class TestGraceful:
    @pytest.mark.parametrize("conf", [Conf(), Conf(parking="Off"), Conf(mpm="worker"), Conf(tls=True)],
                             ids=["parked", "waiting", "worker", "tls"])
    def test_open_streams_end_well(self, make_site, conf):
        site = make_site(conf)
        answers = [begin(site, s, "[[chunks=20 interval=100 seq]]") for s in SURFACES * 5]
        old = site.children()
        site.graceful()
        for answer, surface in zip(answers, SURFACES * 5):
            assert surface.stream_text(answer)
        wait_until(lambda: not any(procfs.alive(p) for p in old), "the old children to leave", timeout=20)
        assert ask(site, OpenAI).status == 200

    def test_a_stopping_child_says_close(self, make_site):
        site = make_site(Conf())
        answer = begin(site, Gemini, "[[chunks=10 interval=100 seq]]")
        site.graceful()
        answer.read()
        assert answer.conn.closed_by_server()

    def test_idle_upstream_connections_are_closed(self, make_site):
        site = make_site(Conf())
        for _ in range(5):
            ask(site, OpenAI)
        site.graceful()
        wait_until(lambda: site.sim.stats()["connections_open"] <= 1, "old connections to be closed")

    def test_the_pool_is_remembered(self, make_site):
        """A key that died before the restart stays out after it."""
        site = make_site(Conf(keys=("AIzaDeadOne", "AIzaGoodOne"), claims=(r"GB\d{4}: key",)))
        site.sim.fault("key_invalid", key="AIzaDeadOne")
        for _ in range(4):
            assert ask(site, OpenAI).status == 200
        site.graceful()
        for _ in range(10):
            assert ask(site, OpenAI).status == 200
        assert [c["key"] for c in site.sim.calls()].count("AIzaDeadOne") == 1

    def test_changed_configuration_is_in_force(self, make_site):
        site = make_site(Conf())
        site.configure(tokens=("sk-new-token-0123456789",))
        site.graceful()
        assert site.api.get("/v1/models").status == 401
        assert site.api.get("/v1/models", token="sk-new-token-0123456789").status == 200


@pytest.mark.soak
class TestDrain:
    """Issue 2, point 4: restarts in a row, open streams, a drain timeout."""
    CONF = Conf(main="GBalanceDrainTimeout 10", mpm_lines="GracefulShutdownTimeout 60\nServerLimit 40",
                claims=(r"GB\d{4}:.*drain", r"GB\d{4}:.*stopp"))

    def test_restarts_in_a_row_with_open_streams(self, site):
        restarts, drain = soak(6, 20), 10
        born = {}

        def watch():
            for pid in site.children():
                born.setdefault((pid, procfs.start_time(pid)), time.monotonic())

        watch()
        streams = Load(site.port, [Case("POST", Gemini.path(True), Gemini.body("[[chunks=1200 interval=50 seq]]"))],
                       token=site.api.token, connections=100, requests=100, timeout=90, seq=None)
        streams.wait_streaming()
        told = []
        for _ in range(restarts):
            old = site.children()
            site.graceful()
            told.append((time.monotonic(), old))
            watch()
            assert ask(site, OpenAI).status == 200
        for when, old in told:
            wait_until(lambda: not any(procfs.alive(p) for p in old), "children of old generations to be gone",
                       timeout=max(0.1, when + drain + 4 - time.monotonic()))
        report = streams.wait()
        assert report.completed == 100 and report.failed == 0, "each stream ended in its protocol"
        assert report.error_events == 100
        site.settled()


@pytest.mark.soak
class TestKilledChild:
    CONF = Conf(claims=("AH00052", "AH00051"))

    def test_only_its_own_streams_are_lost(self, site):
        streams = [begin(site, Gemini, "[[chunks=30 interval=100 seq]]") for _ in range(40)]
        owner = {}
        for pid in site.children():
            owner[pid] = sum(1 for what in procfs.descriptors(pid).values() if "eventfd" in what)
        victim = max(owner, key=owner.get)
        os.kill(victim, signal.SIGKILL)
        lost = 0
        for answer in streams:
            try:
                text = Gemini.stream_text(answer)
                assert text
            except (ConnectionError, AssertionError):
                lost += 1
        assert 0 < lost < 40
        wait_until(lambda: serves(site), "the server to answer")

    def test_the_lock_is_not_left_taken(self, site):
        """Children are killed while they work; the others and their successors go on."""
        for _ in range(soak(5, 100)):
            busy = Load(site.port, [Case("POST", OpenAI.path(), OpenAI.body("x"))], token=site.api.token,
                        connections=20, requests=0, duration=0.6, timeout=20)
            time.sleep(0.3)
            os.kill(site.children()[0], signal.SIGKILL)
            report = busy.wait()
            assert report.statuses.get("200", 0) > 0 and report.timed_out == 0
            assert set(report.statuses) == {"200"}
        wait_until(lambda: serves(site), "the server to answer")


class TestStop:
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGWINCH], ids=["stop", "graceful-stop"])
    def test_with_open_streams(self, make_site, how):
        site = make_site(Conf(mpm_lines="GracefulShutdownTimeout 5"))
        answers = [begin(site, Gemini, "[[chunks=20 interval=50 seq]]") for _ in range(10)]
        children = site.children()
        site.proc.send_signal(how)
        if how == signal.SIGWINCH:
            assert all(Gemini.stream_text(a) for a in answers)
        site.proc.wait(20)
        wait_until(lambda: not any(procfs.alive(p) for p in children), "all children to be gone")
        assert site.proc.returncode == 0
        site.proc = None
