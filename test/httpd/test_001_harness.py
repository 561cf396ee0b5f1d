# SPDX-License-Identifier: Apache-2.0
"""The harness itself, with httpd alone: what it could not notice, no other test would."""
import os
import signal

import pytest

import procfs
from conf import MPM, Conf
from env import MARK
from load import Case, load
from tools import TimedOut, free_port, wait_until


@pytest.mark.parametrize("mpm", MPM)
def test_every_mpm_starts_and_answers(make_site, mpm):
    site = make_site(Conf(mpm=mpm, gbalance=False))
    assert site.api.get("/").text == MARK
    assert site.children()


class TestPlainServer:
    CONF = Conf(gbalance=False, modules=("proxy", "proxy_http"), api="ProxyPass /nobody http://127.0.0.1:9/")

    def test_status_page_is_read(self, site):
        assert site.idle_workers() > 20
        assert site.generation() >= 0

    def test_graceful_restart_is_noticed(self, site):
        old = site.children()
        site.graceful()
        wait_until(lambda: not any(procfs.alive(p) for p in old), "old children to leave")

    def test_a_grave_line_is_noticed(self, site):
        assert site.log.unclaimed() == []
        assert site.api.get("/nobody").status == 503
        assert len(site.log.unclaimed()) > 0
        site.log.claim("AH00957", "AH01114")
        assert site.log.unclaimed() == []

    def test_a_child_can_be_killed(self, site):
        victim = site.children()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not procfs.alive(victim), "the child to be gone")
        assert site.api.get("/").status == 200

    def test_a_death_is_noticed(self, site):
        os.kill(site.children()[0], signal.SIGSEGV)
        wait_until(lambda: any("exit signal Segmentation fault" in line for line in site.log.unclaimed()), "the log to tell")
        site.log.claim("AH00051", "AH00052")

    def test_waiting_ends(self):
        with pytest.raises(TimedOut):
            wait_until(lambda: False, "nothing", timeout=0.1)


class TestLoadGenerator:
    CONF = Conf(gbalance=False)

    def stream(self, numbers):
        return "".join(f"data: {{\"text\": \"[seq {n}]\"}}\r\n\r\n" for n in numbers) + "data: [DONE]\n\n"

    def test_counts_requests_and_bodies(self, site):
        report = load(site.port, [Case("GET", "/index.html"), Case("GET", "/absent"), Case("HEAD", "/")],
                      connections=8, requests=300)
        assert report.statuses == {"200": 200, "404": 100}
        assert sorted(report.hashes.values()) == [100, 100, 100]
        assert report.failed == 0 and report.open_peak == 8

    def test_notices_order_and_number_of_chunks(self, site):
        for name, numbers in {"good": range(20), "swapped": [0, 2, 1, 3], "short": range(19)}.items():
            site.write(f"{name}.sse", self.stream(numbers))
        good, swapped, short = (
            load(site.port, [Case("GET", f"/{name}.sse", options="expect=20")], requests=4, seq="[seq ")
            for name in ("good", "swapped", "short"))
        assert (good.chunks, good.out_of_order, good.wrong_count, good.done_marks) == (80, 0, 0, 4)
        assert swapped.out_of_order > 0
        assert short.wrong_count == 4

    def test_gives_up_where_told(self, site):
        site.write("big.bin", b"x" * 3_000_000)
        report = load(site.port, [Case("GET", "/big.bin", options="abort=100000")], connections=2, requests=6)
        assert report.aborted == 6 and report.completed == 0

    def test_reads_slowly_where_told(self, site):
        site.write("slow.bin", b"x" * 20_000)
        report = load(site.port, [Case("GET", "/slow.bin", options="slow=40000")], requests=1)
        assert report.completed == 1 and report.seconds > 0.3

    def test_counts_failures(self, site):
        refused = load(free_port(), [Case("GET", "/")], connections=2, requests=4)
        assert refused.connect_failed == 4
