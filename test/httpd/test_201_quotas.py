# SPDX-License-Identifier: Apache-2.0
"""Real quotas (issue 3, point 4): 20 keys in 10 projects, each a token bucket of 10 requests a minute
and 100 a day.  A minute of load here, half an hour with GB_SOAK.
"""
import time

import pytest

import tools
from conf import Conf
from load import Case, load
from test_205_keys_api import api, get, id_of, post
from tools import soak
from wire import Gemini, ask

KEYS = tuple(f"AIzaQuota{i:030d}" for i in range(20))
PROJECTS = {f"7000000000{i:02d}": KEYS[2 * i:2 * i + 2] for i in range(10)}
RPM, RPD = 10, 100
SECONDS = soak(60, 1800)
DAY = soak(86400, 2400)         # one whose end can be waited for
QUOTA = min(RPM * SECONDS / 60, RPD) * len(PROJECTS)    # what may pass in so long a time
CONF = Conf(keys=KEYS, api=api(), claims=(r"GB10\d\d: (key|pool) ",))


@pytest.fixture
def pool(make_site):
    site = make_site(CONF)
    site.sim._control("quota", {"projects": {n: list(keys) for n, keys in PROJECTS.items()},
                                "rpm": RPM, "rpd": RPD, "day_s": DAY})
    for name, keys in PROJECTS.items():
        post(site, "/edit", {"ids": [id_of(key) for key in keys], "project": name})
    return site


def offer(site, share):
    """Load at that share of all quotas; (statuses, statuses of the calls that it made of Google)."""
    before = len(site.sim.calls())
    report = load(site.port, [Case("POST", Gemini.path(), Gemini.body("x"))], token=site.api.token,
                  connections=4, duration=SECONDS, rate=share * QUOTA / SECONDS, max_time=SECONDS + 60)
    assert report.failed == 0
    upstream = [call["status"] for call in site.sim.calls()[before:]]
    print(f"at {share:.0%} for {SECONDS} s: {report.statuses} to clients, "
          f"{upstream.count(200)} and {upstream.count(429)} x 429 by Google")
    assert {row["state"] for row in get(site, "?count=100")["keys"]} <= {"active", "cooling"}
    return report.statuses, upstream


def comes_true(site):
    """Who was told when to come again is served then."""
    refused = ask(site, Gemini)
    assert refused.status == 429
    wait = int(refused.headers.get("Retry-After"))
    time.sleep(wait)
    assert ask(site, Gemini).status == 200
    return wait


@pytest.mark.soak
class TestWithin:
    def test_nobody_is_refused(self, pool):
        statuses, upstream = offer(pool, 0.9)
        assert set(statuses) == {"200"}
        assert upstream.count(429) <= 0.03 * len(upstream)


@pytest.mark.soak
class TestBeyond:
    def test_only_the_excess_is_refused(self, pool):
        """What was learnt from a first rush holds afterwards."""
        rush = load(pool.port, [Case("POST", Gemini.path(), Gemini.body("x"))], token=pool.api.token,
                    connections=20, requests=400)
        minute_over = time.monotonic() + 62
        assert set(rush.statuses) == {"200", "429"}
        assert len(pool.log.matching(rf"GB1009: .* is {RPM}$")) == len(PROJECTS), "each project's limit was learnt"
        assert comes_true(pool) <= 62
        time.sleep(max(0, minute_over - time.monotonic()))      # what it used counts no more
        spent = sum(call["status"] == 200 for call in pool.sim.calls()) if tools.SOAK else 0
        statuses, upstream = offer(pool, 1.5)
        assert set(statuses) == {"200", "429"}
        assert 0.9 * (QUOTA - spent) <= statuses["200"] <= QUOTA
        assert upstream.count(429) <= 0.03 * len(upstream)
        if tools.SOAK:
            assert comes_true(pool) > 60, "the day is spent"
