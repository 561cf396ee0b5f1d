# SPDX-License-Identifier: Apache-2.0
"""The key pool behind a running httpd: quotas, clients' faults, other people's faults, and what is
remembered.  Keys and their states are read from mod_status.
"""
import collections
import glob
import json
import os
import re
import select
import signal
import subprocess
import threading
import time

import pytest

import tools
from conf import Conf
from load import Case, load
from tools import soak, wait_until
from wire import Gemini, OpenAI, ask

PRO, FLASH = "gemini-2.5-pro", "gemini-2.5-flash"
NEWS = (r"GB10\d\d: (key|pool) ",)


def keys_n(n):
    return tuple(f"AIzaPool{i:031d}" for i in range(n))


def keys_of(calls):
    return [call["key"] for call in calls]


def states(site, pool="default"):
    """Total, Active, Trial, Failed, Invalid, Off."""
    found = {}
    for name, value in site.status().items():
        match = re.fullmatch(r"GBalanceKeys(\w+)\{" + pool + r"\}", name)
        if match:
            found[match[1]] = int(value)
    return found


def state_file(site):
    """Rows of the state file by kind."""
    rows = collections.defaultdict(list)
    with open(os.path.join(site.state, "keys-state.jsonl"), encoding="utf-8") as f:
        for line in f:
            for kind, row in json.loads(line).items():
                rows[kind].append(row)
    return rows


def picks(site):
    return sum(row.get("picks", 0) for row in state_file(site)["key"])


def kill_all(site):
    for pid in [site.pid, *site.children()]:
        os.kill(pid, signal.SIGKILL)
    site.proc.wait(10)


class TestClientsFaults:
    """Issue 3, point 5: no client ever hurts a key."""
    CONF = Conf(keys=keys_n(10))

    def test_a_thousand_bad_calls(self, site, sim):
        sim.fault("invalid_argument", model="gemini-2.5-flash-lite")
        sim.fault("model", model="no-such-model")
        sim.fault("blocked", model="gemini-3-flash-preview")
        report = load(site.port, [
            Case("POST", OpenAI.path(), OpenAI.body(model="gemini-2.5-flash-lite")),
            Case("POST", Gemini.path(model="no-such-model"), Gemini.body()),
            Case("POST", OpenAI.path(), OpenAI.body(model="gemini-3-flash-preview")),
            Case("POST", OpenAI.path(), {"model": FLASH, "messages": "no list"}),
        ], token=site.api.token, connections=20, requests=1000)
        assert report.failed == 0 and "503" not in report.statuses and "429" not in report.statuses
        assert states(site)["Active"] == 10
        sim.reset()
        for _ in range(10):
            assert ask(site, OpenAI, model=FLASH).status == 200
        assert len(set(keys_of(sim.calls()))) == 10


class TestFaultsOfOthers:
    CONF = Conf(keys=keys_n(10), claims=NEWS)

    def test_an_unknown_403_everywhere(self, site, sim):
        sim.fault("permission_denied")
        for _ in range(10):
            assert ask(site, OpenAI).status in (400, 403, 503)
        time.sleep(soak(0, 25))     # the background checks get the same answer
        assert states(site)["Active"] == 10

    def test_a_model_that_is_down(self, site, sim):
        sim.fault("overloaded", model=PRO)
        for _ in range(10):
            assert ask(site, OpenAI, model=PRO).status == 503
            assert ask(site, OpenAI, model=FLASH).status == 200
        refused = ask(site, OpenAI, model=PRO)
        assert 1 <= int(refused.headers.get("Retry-After")) <= 60
        assert states(site)["Active"] == 10
        sim.reset()
        wait_until(lambda: ask(site, OpenAI, model=PRO).status == 200, "the breaker to close", 70, 0.5)

    def test_a_broken_proxy_of_one_key(self, site, sim):
        sim.fault("reset", key=self.CONF.keys[3])
        for _ in range(60):
            assert ask(site, OpenAI).status == 200
        assert states(site) == {"Total": 10, "Active": 9, "Trial": 0, "Failed": 1, "Invalid": 0, "Off": 0}


class TestExhaustion:
    CONF = Conf(keys=keys_n(4), claims=NEWS)

    def test_pro_is_out_and_flash_serves(self, site, sim):
        """Issue 3, point 6."""
        sim.fault("quota_day", model=PRO)
        for _ in range(6):
            answer = ask(site, OpenAI, model=PRO)
            assert answer.status == 429
        upstream = len(sim.calls())
        assert upstream == 4, "each key was asked once"
        assert int(answer.headers.get("Retry-After")) > 60
        assert "4 of 4 keys cool down" in answer.json()["error"]["message"]
        for _ in range(8):
            assert ask(site, OpenAI, model=FLASH).status == 200
        assert set(collections.Counter(keys_of(sim.calls())[upstream:]).values()) == {2}
        assert states(site)["Active"] == 4

    def test_no_key_at_all(self, make_site):
        site = make_site(Conf(keys=()))
        error = OpenAI.check_error(ask(site, OpenAI), 503)
        assert "API_KEYS" in error["message"]
        assert site.plain.get("/server-status?auto").text.count("GBalanceKeysTotal{default}: 0") == 1


class TestConcurrency:
    CONF = Conf(keys=keys_n(2), api="GBalanceMaxConcurrentPerKey 2", claims=NEWS)

    def test_callers_wait_for_their_turn(self, site, sim):
        slow = OpenAI.body("[[chunks=4 interval=100]]", True)
        threads = [threading.Thread(target=lambda: done.append(site.api.post(OpenAI.path(), json=slow).status))
                   for _ in range(10)]
        done = []
        for thread in threads:
            thread.start()
        most = 0
        while any(t.is_alive() for t in threads):
            most = max(most, sim.stats()["open_calls"])
            time.sleep(0.02)
        assert done == [200] * 10
        assert most == 4

    def test_what_a_killed_child_held_comes_back(self, site, sim):
        long = OpenAI.body("[[chunks=1000 interval=100]]", True)
        streams = [site.api.open("POST", OpenAI.path(True), json=long) for _ in range(4)]
        sim.wait_open(4)
        for pid in site.children():
            os.kill(pid, signal.SIGKILL)
        site.log.claim("AH00052", "AH00051")
        for stream in streams:
            stream.conn.close()
        wait_until(lambda: site.plain.get("/").status == 200, "new children")
        assert ask(site, OpenAI).status == 200


class TestQueue:
    """Waiting for a busy key is bounded in number and in time, both settings."""
    MOST, SECONDS = 120, 4
    CONF = Conf(keys=keys_n(2), claims=NEWS,
                api=f"GBalanceMaxConcurrentPerKey 1\nGBalanceKeyQueueMax {MOST}\nGBalanceKeyQueueTime {SECONDS}",
                mpm_lines="StartServers 1\nServerLimit 1\nMaxRequestWorkers 25\nMinSpareThreads 1\n"
                          "MaxSpareThreads 25")

    def busy(self, site):
        """Both keys, for a minute."""
        long = OpenAI.body("[[chunks=600 interval=100]]", True)
        streams = [site.api.open("POST", OpenAI.path(True), json=long) for _ in range(2)]
        site.sim.wait_open(2)
        return streams

    def refused(self, answer):
        assert "MAX_CONCURRENT_PER_KEY" in OpenAI.check_error(answer, 429)["message"]
        assert int(answer.headers.get("Retry-After")) == 2

    def test_over_its_time_and_number(self, site, sim):
        streams = self.busy(site)
        assert sorted(call["key"] for call in sim.calls()) == sorted(self.CONF.keys)
        waiting = [site.api.connect() for _ in range(self.MOST)]
        began = time.monotonic()
        for conn in waiting:
            conn.start("POST", OpenAI.path(), site.api.auth(), json=OpenAI.body())
        time.sleep(1)
        self.refused(ask(site, OpenAI))
        assert not select.select([conn.sock for conn in waiting], [], [], 0)[0], "the one too many is refused at once"
        for conn in waiting:
            answer = conn.answer()
            answer.read()
            self.refused(answer)
            conn.close()
        assert time.monotonic() - began > self.SECONDS - 1, "the others waited"
        for stream in streams:
            stream.conn.close()
        sim.wait_quiet()
        assert len(sim.calls()) == 2, "nobody asked Google meanwhile"
        assert {row["max_open"] for row in sim.stats()["keys"].values()} == {1}

    def test_who_gives_up_leaves_its_place(self, site):
        streams = self.busy(site)
        for _ in range(3):
            conns = [site.api.connect() for _ in range(self.MOST - 20)]
            for conn in conns:
                conn.start("POST", OpenAI.path(), site.api.auth(), json=OpenAI.body())
            time.sleep(0.5)
            for conn in conns:
                conn.close()
            time.sleep(0.5)
        patient = site.api.connect()
        patient.start("POST", OpenAI.path(), site.api.auth(), json=OpenAI.body())
        time.sleep(0.5)
        for stream in streams:
            stream.conn.close()
        assert patient.answer().status == 200
        patient.close()


class TestMemory:
    """Issue 3, point 7: what the pool knows outlives everything."""
    CONF = Conf(keys=keys_n(6), claims=(*NEWS, "AH00052", "AH00098"))

    def learn(self, site):
        """One key rests for pro until midnight, one is dead."""
        site.sim.reset()
        site.sim.fault("quota_day", key=self.CONF.keys[0], model=PRO)
        site.sim.fault("leaked", key=self.CONF.keys[1])
        for _ in range(12):
            assert ask(site, OpenAI, model=PRO).status == 200
        site.sim.reset()

    def known(self, site):
        site.sim.reset()
        for _ in range(10):
            assert ask(site, OpenAI, model=PRO).status == 200
        used = set(keys_of(site.sim.calls()))
        assert used == set(self.CONF.keys[2:])
        assert states(site)["Invalid"] == 1

    def test_graceful_restart(self, make_site):
        site = make_site(self.CONF)
        self.learn(site)
        site.graceful()
        self.known(site)

    def test_stop_and_start(self, make_site):
        site = make_site(self.CONF)
        self.learn(site)
        assert site.stop()
        site.start()
        self.known(site)

    def test_everything_is_killed(self, make_site):
        site = make_site(self.CONF)
        self.learn(site)
        time.sleep(5)
        before = picks(site)
        assert before >= 14
        kill_all(site)
        site.start()
        self.known(site)
        wait_until(lambda: picks(site) >= before + 10, "the state to be written", 6)

    def test_the_file_holds_no_secret(self, make_site):
        site = make_site(self.CONF)
        self.learn(site)
        assert site.stop()
        for name in filter(os.path.isfile, (os.path.join(site.state, name) for name in os.listdir(site.state))):
            with open(name, "rb") as f:
                text = f.read()
            assert not any(key.encode() in text for key in self.CONF.keys)
            assert os.stat(os.path.join(site.state, name)).st_mode & 0o077 == 0
        site.start()

    def test_a_key_that_left_the_configuration_is_gone(self, make_site):
        site = make_site(self.CONF)
        assert ask(site, OpenAI).status == 200
        site.configure(keys=self.CONF.keys[1:])
        site.graceful()
        site.sim.reset()
        for _ in range(10):
            assert ask(site, OpenAI).status == 200
        assert set(keys_of(site.sim.calls())) == set(self.CONF.keys[1:])

    def test_more_keys_than_room(self, make_site):
        site = make_site(Conf(keys=keys_n(40), main="GBalanceMaxKeys 32", claims=("GB1021",)))
        assert states(site)["Total"] == 32
        assert site.log.matching("GB1021.* 8 keys have no room")
        site.configure(main="GBalanceMaxKeys 64")
        site.graceful()
        wait_until(lambda: states(site).get("Total") == 40, "all keys")


class TestPaidKey:
    def test_only_imagen_takes_it(self, make_site):
        site = make_site(Conf(keys=keys_n(2), api="GBalancePaidKey AIzaPaid", claims=NEWS))
        for _ in range(6):
            assert ask(site, OpenAI).status == 200
        assert "AIzaPaid" not in keys_of(site.sim.calls())
        assert states(site)["Total"] == 3


LATE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>
int rename(const char *from, const char *to)
{
    if (strstr(to, "/keys-state.jsonl")) {
        usleep(700000);
    }
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
"""


@pytest.mark.skipif(bool(tools.SANITIZE), reason="a sanitizer wants to be preloaded first")
def test_a_child_ends_in_the_middle_of_a_save(make_site, tmp_path):
    """Nobody waits for the watchdog's thread that saves now and then: the end of the child writes the same file."""
    library = str(tmp_path / "late.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library, "-ldl"], input=LATE, text=True,
                   check=True, timeout=60)
    site = make_site(Conf(keys=keys_n(3), mpm_lines="StartServers 1", environment={"LD_PRELOAD": library}))
    assert ask(site, OpenAI).status == 200
    wait_until(lambda: glob.glob(os.path.join(site.state, "keys-state.jsonl.*")), "the state to be written", step=0.005)
    assert site.stop()
    assert not site.log.matching("GB1050")
    assert picks(site) == 1
    site.start()
