# SPDX-License-Identifier: Apache-2.0
"""A failing key is never the client's problem: retries on other keys, before the first byte."""
import collections

import pytest

from conf import KEYS, Conf
from load import Case, load
from tools import soak
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
EXPECTED = (r"GB\d{4}: (key|pool) ",)      # that a key fails is worth a line


def keys_of(calls):
    return [call["key"] for call in calls]


@pytest.mark.soak
class TestThreeKeys:
    """Issue 2, point 3: one key answers 429, one 503, one works."""
    CONF = Conf(keys=KEYS, claims=EXPECTED)

    def test_1000_mixed_requests_from_50_connections(self, site, sim):
        sim.fault(key=KEYS[0], status=429)
        sim.fault(key=KEYS[1], status=503)
        report = load(site.port, [
            Case("POST", OpenAI.path(), OpenAI.body("[[chunks=5 seq]]")),
            Case("POST", OpenAI.path(True), OpenAI.body("[[chunks=5 interval=5 seq]]", True)),
            Case("POST", Gemini.path(), Gemini.body("[[chunks=5 seq]]")),
            Case("POST", Gemini.path(True), Gemini.body("[[chunks=5 interval=5 seq]]")),
        ], token=site.api.token, connections=50, requests=soak(1000, 20_000))
        assert report.failed == 0 and report.error_events == 0
        assert report.statuses == {"200": soak(1000, 20_000)}
        assert report.done_marks == soak(1000, 20_000) // 4
        used = collections.Counter(keys_of(sim.calls()))
        assert used[KEYS[2]] >= 1000
        assert used[KEYS[0]] <= 60, "a key that cools down is left alone"

    def test_the_request_id_counts_attempts(self, make_site):
        site = make_site(Conf(keys=KEYS, claims=EXPECTED))
        for key in KEYS:
            site.sim.fault(key=key, status=500, count=1)
        answer = ask(site, OpenAI, headers={"X-Request-Id": "attempts-1234"})
        calls = site.sim.calls()
        assert [c["request_id"] for c in calls] == [f"attempts-1234.{n + 1}" for n in range(len(calls))]
        assert len(calls) == 3 and len(set(keys_of(calls))) == 3
        assert answer.status >= 500


RETRIED = {
    "429": {"status": 429},
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503},
    "504": {"status": 504},
    "key invalid": {"kind": "key_invalid"},
    "key expired": {"kind": "key_expired"},
    "key leaked": {"kind": "leaked"},
    "suspended": {"kind": "suspended"},
    "unknown 403": {"status": 403},
    "reset": {"kind": "reset"},
    "closed": {"kind": "close"},
}


class TestEveryKeyFault:
    """One bad key among two: the client gets its answer, whatever the bad one does."""

    @pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
    @pytest.mark.parametrize("fault", RETRIED)
    def test_another_key_answers(self, make_site, fault, stream):
        site = make_site(Conf(keys=KEYS[:2], claims=EXPECTED))
        site.sim.fault(key=KEYS[0], **RETRIED[fault])
        for surface in SURFACES:
            for _ in range(3):
                answer = ask(site, surface, "[[chunks=3]]", stream)
                assert answer.status == 200, answer
                assert surface is Gemini or not stream or answer.body.endswith(OpenAI.done)
        calls = site.sim.calls()
        assert keys_of(calls).count(KEYS[1]) >= 6
        # by request id: libcurl sends a call once more when a kept connection turns out to be dead
        assert 1 <= len({c["request_id"] for c in calls if c["key"] == KEYS[0]}) <= 6

    @pytest.mark.parametrize("fault", ["key invalid", "key expired", "key leaked"])
    def test_a_dead_key_is_asked_once(self, make_site, fault):
        site = make_site(Conf(keys=KEYS[:2], claims=EXPECTED))
        site.sim.fault(key=KEYS[0], **RETRIED[fault])
        for _ in range(10):
            assert ask(site, OpenAI).status == 200
        assert keys_of(site.sim.calls()).count(KEYS[0]) == 1

    def test_an_empty_answer_is_tried_again(self, make_site):
        site = make_site(Conf(keys=KEYS[:2], claims=EXPECTED))
        for surface in SURFACES:
            site.sim.reset()
            site.sim.fault("empty", shape="no_candidates", count=1)
            assert ask(site, surface).status == 200
            assert len(site.sim.calls()) == 2

    def test_failures_take_a_key_out(self, make_site):
        site = make_site(Conf(keys=KEYS[:2], api="GBalanceMaxFailures 2", claims=EXPECTED))
        site.sim.fault(key=KEYS[0], status=500)
        for _ in range(20):
            assert ask(site, OpenAI).status == 200
        assert keys_of(site.sim.calls()).count(KEYS[0]) == 2

    def test_success_resets_the_count(self, make_site):
        site = make_site(Conf(keys=KEYS[:1], api="GBalanceMaxFailures 3\nGBalanceMaxRetries 1", claims=EXPECTED))
        for _ in range(3):
            site.sim.reset()
            site.sim.fault(status=500, count=2)
            assert [ask(site, OpenAI).status for _ in range(3)] == [500, 500, 200]


class TestRoundRobin:
    CONF = Conf(keys=(*KEYS, KEYS[0], " " + KEYS[1] + " "))

    def test_in_turn_and_deduplicated(self, site, sim):
        for _ in range(30):
            assert ask(site, Gemini).status == 200
        assert set(collections.Counter(keys_of(sim.calls())).values()) == {10}

    def test_across_children(self, site, sim):
        report = load(site.port, [Case("POST", Gemini.path(), Gemini.body("x"), options="close")],
                      token=site.api.token, connections=20, requests=300)
        assert report.statuses == {"200": 300}
        counts = collections.Counter(keys_of(sim.calls()))
        assert max(counts.values()) - min(counts.values()) <= 3


class TestOpaqueKeys:
    """A key is any string: it is sent as it is and judged by nothing but answers."""
    ODD = ("AQ.Ab8RN6-with_dashes.and.dots", "short", "k" * 200, "key=with=equals", "key/with+base64==")
    CONF = Conf(keys=ODD)

    def test_all_are_used(self, site, sim):
        for _ in range(len(self.ODD)):
            assert ask(site, OpenAI).status == 200
        assert set(keys_of(sim.calls())) == set(self.ODD)


class TestKeptConnection:
    """One that ends under a request: the request goes out once more, and each time is an attempt."""
    CONF = Conf(mpm_lines="StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMinSpareThreads 1\nMaxSpareThreads 25",
                api="GBalanceMaxRetries 1")

    @surfaces
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("how", ["reset", "close"])
    def test_ends(self, site, sim, surface, stream, how):
        for _ in range(5):      # until it is a kept connection that is hit, not one that was just made
            assert ask(site, surface).status == 200
            sim.reset()
            sim.fault(how, count=1)
            answer = ask(site, surface, stream=stream)
            if answer.status == 200:
                break
        assert answer.status == 200
        ids = [call["request_id"].rpartition(".") for call in sim.calls()]
        assert [number for _, _, number in ids] == ["1", "2"] and len({name for name, _, _ in ids}) == 1

    def test_a_new_one_that_ends_is_a_fault(self, site, sim):
        sim.fault("reset")
        assert ask(site, OpenAI).status == 502
        assert [call["request_id"][-2:] for call in sim.calls()] == [".1", ".2"]


class TestMaxRetries:
    @pytest.mark.parametrize("n", [1, 2, 5])
    def test_upstream_calls_in_all(self, make_site, n):
        keys = tuple(f"AIzaMany{i}" for i in range(6))
        site = make_site(Conf(keys=keys, api=f"GBalanceMaxRetries {n}\nGBalanceMaxFailures 100\nGBalanceBreakerFailures 100",
                              claims=EXPECTED))
        site.sim.fault(status=500)
        answer = ask(site, OpenAI)
        assert answer.status == 500
        calls = site.sim.calls()
        assert len(calls) == n and len(set(keys_of(calls))) == n
