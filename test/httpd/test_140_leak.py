# SPDX-License-Identifier: Apache-2.0
"""No leak: descriptors exact and memory flat over the last half (issue 2, point 8)."""
import statistics
import time

import pytest

import procfs
from conf import KEYS, Conf
from load import Case, load
from tools import SANITIZE, soak, wait_until
from wire import Gemini, OpenAI

# One child that stays: what it holds can be told exactly.
ONE_CHILD = "StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMinSpareThreads 1\nMaxSpareThreads 25"
ROUNDS = 10


@pytest.mark.alone
@pytest.mark.soak
@pytest.mark.parametrize("conf", [Conf(keys=KEYS), Conf(keys=KEYS, parking="Off"), Conf(keys=KEYS, mpm="worker")],
                         ids=["parked", "waiting", "worker"])
class TestNoLeak:
    REQUESTS = {"parked": soak(10_000, 100_000), "waiting": soak(3_000, 100_000), "worker": soak(3_000, 100_000)}

    def cases(self):
        stream = "[[chunks=8 interval=2 seq]]"
        return [
            Case("POST", OpenAI.path(), OpenAI.body("x")),
            Case("POST", Gemini.path(True), Gemini.body(stream)),
            Case("POST", OpenAI.path(True), OpenAI.body(stream, True), "abort=400"),
            Case("POST", Gemini.path(), Gemini.body("x"), "chunked"),
            Case("POST", OpenAI.path(), b"{"),
            Case("POST", OpenAI.path(True), OpenAI.body(stream, True), "close"),
            Case("POST", Gemini.path(True), Gemini.body(stream), "abort=1"),
            Case("GET", "/v1/models"),
            Case("POST", OpenAI.path(), OpenAI.body("[[size=300000]] x")),
            Case("GET", "/v1/nothing"),
        ]

    def settled(self, site):
        """(descriptors without connections to the simulator, resident bytes) of the one child, at rest."""
        wait_until(lambda: site.sim.stats()["open_calls"] == 0, "the upstream calls to end")
        site.settled()
        time.sleep(0.2)
        (child,) = site.children()
        kinds = [what.split(":")[0] if ":[" in what else what for what in procfs.descriptors(child).values()]
        upstream = site.sim.stats()["connections_open"] - 1         # the one that asks
        return len(kinds) - upstream, procfs.memory(child)["rss"]

    def test_descriptors_exact_memory_flat(self, make_site, conf, request):
        conf.mpm_lines = ONE_CHILD
        conf.main = "KeepAliveTimeout 1"
        conf.claims = (r"GB\d{4}: (key|pool)", "AH00484", "AH00286")     # all threads are taken for a moment
        site = make_site(conf)
        total = self.REQUESTS[request.node.callspec.id]
        site.sim.fault(key=KEYS[0], status=503, probability=0.02)
        site.sim.fault("cut", how="rst", key=KEYS[1], after=3, probability=0.02)
        # Every thread has an arena and an allocator of its own, which must have seen the largest answers.
        load(site.port, self.cases(), token=site.api.token, connections=60, requests=2000)
        marks = []
        for _ in range(ROUNDS):
            report = load(site.port, self.cases(), token=site.api.token, connections=20, requests=total // ROUNDS)
            assert report.timed_out == 0 and report.malformed == 0 and report.connect_failed == 0
            # whoever asks is a connection, too: not too often
            wait_until(lambda: site.status().get("ConnsTotal") in (None, "0", "1"), "connections to be closed",
                       timeout=20, step=0.25)
            marks.append(self.settled(site))
        descriptors = [m[0] for m in marks[ROUNDS // 2 - 1:]]
        assert len(set(descriptors)) == 1, f"descriptors over time: {[m[0] for m in marks]}"
        # Single values jump with what runs at that moment; the level must not rise.
        middle, end = (statistics.median(m[1] for m in part) for part in (marks[-6:-3], marks[-3:]))
        if not SANITIZE:
            assert end - middle < 1_000_000, f"resident memory over time: {[m[1] // 1024 for m in marks]} KB"
