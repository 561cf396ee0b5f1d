# SPDX-License-Identifier: Apache-2.0
"""Many streams hold no worker (issue 2, point 4): 500 here, 2,000 with GB_SOAK; of native passthrough, which
is not translated, 5,000 at once (issue 7, point 5)."""
import os
import signal
import time

import pytest

import procfs
from conf import KEYS, Conf
from load import Case, Load, load
from tools import SANITIZE, soak
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask

pytestmark = pytest.mark.alone
surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
STREAMS = soak(500, 2000)
AT_ONCE = {OpenAI: (STREAMS, soak(150, 500)), Gemini: (soak(500, 5000), soak(150, 2500))}      # how many, and how slow
CHUNKS = 20


def streams_of(site, surface, count=STREAMS, interval=soak(150, 500), chunks=CHUNKS):
    text = f"[[chunks={chunks} interval={interval} seq]]"
    expect = chunks if surface is OpenAI else chunks
    return Load(site.port, [Case("POST", surface.path(True), surface.body(text, True), f"expect={expect}")],
                token=site.api.token, connections=count, requests=count, seq=site.sim.SEQ,
                seq_first=site.sim.SEQ_FIRST, timeout=120)


def check(report, count=STREAMS):
    assert report.failed == 0 and report.statuses == {"200": count}
    assert report.chunks == count * CHUNKS and report.wrong_count == 0
    assert report.out_of_order == 0 and report.error_events == 0


@pytest.mark.soak
class TestManyStreams:
    """Debian's stock event MPM: 25 threads a child."""
    CONF = Conf()

    @surfaces
    def test_every_chunk_in_order_and_workers_idle(self, site, sim, surface):
        count, interval = AT_ONCE[surface]
        streams = streams_of(site, surface, count, interval)
        streams.wait_streaming()
        idle = []
        while streams.running():
            status = site.status()
            idle.append(int(status["IdleWorkers"]))
            time.sleep(0.25)
        check(streams.wait(), count)
        assert min(idle) >= 10, f"idle workers over time: {idle}"
        assert sim.stats()["max_streams"] >= count
        site.settled()

    def test_others_are_served_meanwhile(self, site):
        streams = streams_of(site, Gemini)
        streams.wait_streaming()
        for _ in range(20):
            assert site.plain.get("/").status == 200
            assert ask(site, OpenAI).status == 200
        check(streams.wait())

    def test_graceful_restart_in_the_middle_loses_none(self, site):
        streams = streams_of(site, OpenAI)
        streams.wait_streaming()
        site.graceful()
        check(streams.wait())

    def test_memory_of_a_parked_stream(self, site):
        """Order of magnitude only: the benchmark measures it."""
        before = sum(procfs.memory(p)["pss"] for p in site.children())
        streams = streams_of(site, Gemini)
        streams.wait_streaming()
        time.sleep(0.5)
        each = (sum(procfs.memory(p)["pss"] for p in site.children()) - before) / STREAMS
        check(streams.wait())
        assert SANITIZE or each < 200_000, f"{each / 1000:.0f} KB a stream"


class TestKilledUnderLoad:
    CONF = Conf(claims=("AH00051", "AH00052"))

    def test_only_its_own_streams_are_lost(self, site):
        count = 200
        streams = streams_of(site, Gemini, count)
        streams.wait_streaming()
        share = {p: sum("eventfd" in what for what in procfs.descriptors(p).values()) for p in site.children()}
        victim = max(share, key=share.get)
        os.kill(victim, signal.SIGKILL)
        report = streams.wait()
        assert 0 < report.cut <= share[victim]
        assert report.statuses == {"200": count - report.cut}
        assert report.out_of_order == 0 and report.wrong_count == 0


class TestFewConnectionsAllowed:
    """AsyncRequestWorkerFactor bounds parked connections; more than that wait in the queue, none is lost."""
    CONF = Conf(mpm_lines="AsyncRequestWorkerFactor 2\nStartServers 1\nServerLimit 1\nMaxRequestWorkers 25\n"
                          "MaxSpareThreads 25", claims=("AH00484", "AH03268", r"GB\d{4}:.*AsyncRequestWorkerFactor"))

    def test_all_are_served_in_the_end(self, site):
        report = streams_of(site, Gemini, 150, interval=20).wait()
        check(report, 150)


class TestSimulator:
    """It must not be what the benchmark measures: a fifth of mod_proxy's processor time at most."""
    CONF = Conf(keys=KEYS[:1], modules=("proxy", "proxy_http"), sim_args=("--calls", "0"))

    def test_costs_little(self, make_site):
        site = make_site(self.CONF, start=False)
        site.conf.plain = f"ProxyPass /v1beta {site.sim.url}/v1beta flushpackets=on keepalive=on"
        site.start()

        def cost(port, spent):
            before = spent()
            report = load(port, [Case("POST", Gemini.path(), Gemini.body("x"))], connections=32, requests=10_000,
                          headers=[f"x-goog-api-key: {KEYS[0]}"])
            assert report.statuses == {"200": 10_000}
            return spent() - before

        simulator = cost(site.sim.port, lambda: procfs.cpu_seconds(site.sim.proc.pid))
        proxy = cost(site.plain_port, site.cpu_seconds)
        assert proxy >= 5 * simulator, f"simulator {simulator:.2f} s, mod_proxy {proxy:.2f} s"


class TestNotParked:
    """The waiting worker serves as many as there are workers, and the rest after them."""
    CONF = Conf(parking="Off")

    @surfaces
    def test_streams(self, site, surface):
        check(streams_of(site, surface, 100, interval=20).wait(), 100)
