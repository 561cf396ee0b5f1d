# SPDX-License-Identifier: Apache-2.0
"""Graceful restarts in a row, full disks, a new secret by command, and what
/api/store says about it all.
"""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import tools
from conf import Conf
from load import Case, Load
from store import Database
from test_230_config import ADMIN, MOUNT, admin, put
from test_600_admin_login import Browser
from tools import soak, wait_until
from wire import Gemini, OpenAI, ask

AWAY = (r"GB8031: .*gbalance goes on",)
CASES = [Case("POST", OpenAI.path(False), OpenAI.body("hi")),
         Case("POST", Gemini.path(True), Gemini.body("[[chunks=6 interval=30]]"))]


def store_of(site):
    answer = site.api.request("GET", "/api/store", token=ADMIN)
    assert answer.status == 200, answer.text
    return answer.json()


class TestGraceful:
    @pytest.fixture(scope="class", params=["sqlite3", "mysql"])
    @classmethod
    def site(cls, request, make_site):
        db = Database(request.param)
        site = make_site(Conf(main=db.main, api=MOUNT))
        site.db = db.of(site)
        site.db.await_tables()
        request.node.gbalance_server = site
        return site

    def test_what_the_store_says(self, site):
        ask(site, OpenAI)
        wait_until(lambda: store_of(site)["journal"]["written"] == 1, "the row to be written")
        found = store_of(site)
        assert found["state"] == "ready" and found["sealed"] is False and "gb-test-word" not in str(found)
        assert found["database"].endswith("/state/gbalance.db") or re.match(r"mysql:host=.*,user=gb,dbname=", found["database"])
        assert found["writer"] in site.children()
        assert found["journal"] == {"open": 0, "waiting": 0, "begun": 1, "written": 1, "lost": 0, "rejected": 0, "spooled": 0,
                                    "spool_bytes": 0, "dropped": 0, "dropped_texts": 0, "dropped_rows": 0}
        assert site.api.request("GET", "/api/store", token="wrong").status == 401

    def test_restarts_in_a_row_under_load(self, site):
        """Counters, sessions, settings and records that nobody has read yet survive; every attempt has one row."""
        db = site.db
        site.sim.reset()
        db.run("DELETE FROM t_request_log")
        put(site, MAX_FAILURES=7)
        browser = Browser(site)
        assert browser.login(ADMIN).status == 303
        before, restarts = store_of(site)["journal"]["begun"], soak(5, 30)
        load = Load(site.port, CASES, token=site.api.token, connections=10, duration=restarts * 0.7 + 2, timeout=30)
        for _ in range(restarts):
            time.sleep(0.6)
            site.graceful()
            found = store_of(site)["journal"]["begun"]
            assert found >= before
            before = found
            assert admin(site, "GET")["MAX_FAILURES"] == 7
            assert browser.get("/sessions").status == 200, "the session goes on"
        report = load.wait()
        assert set(report.statuses) == {"200"}
        rows = db.await_attempts(site)
        assert {row["class"] for row in rows.values()} <= {"success", "cancelled", "service"}

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
    def test_a_stop_in_the_middle(self, site, how):
        """What was done is there after the next start; what was under way is lost, and said so."""
        db = site.db
        db.run("DELETE FROM t_request_log")
        site.sim.reset()
        for _ in range(5):
            assert ask(site, OpenAI).status == 200
        time.sleep(1)       # rows are at most so late, and shared memory dies with the last process
        site.log.claim("AH00098")
        answers = [site.api.open("POST", Gemini.path(True), json=Gemini.body("[[chunks=200 interval=50]]")) for _ in range(3)]
        children = site.children()
        if how == signal.SIGKILL:
            for pid in [site.pid, *children]:
                os.kill(pid, signal.SIGKILL)
            site.proc.wait(10)
        else:
            assert site.stop()
        for answer in answers:
            answer.conn.close()
        site.start()
        rows = db.await_rows(5 if how == signal.SIGKILL else 8, timeout=10)
        assert [row["class"] for row in rows].count("success") == 5


class TestFullDisk:
    def test_no_room_for_the_spool(self, make_site):
        """Rows stay in shared memory until there is room, or the database."""
        site = make_site(Conf(api=MOUNT, main="GBalanceDatabase sqlite3:later/x.db", claims=(*AWAY, "GB8040")), start=False)
        spool = os.path.join(site.state, "spool")
        os.makedirs(spool)
        for name in ("rows.cur", "texts.cur"):
            os.symlink("/dev/full", os.path.join(spool, name))
        site.start()
        for _ in range(20):
            assert ask(site, OpenAI).status == 200
        found = store_of(site)
        assert found["state"] == "away" and found["journal"]["waiting"] == 20
        folder = os.path.join(site.state, "later")
        os.makedirs(folder)
        if tools.AS_ROOT:
            shutil.chown(folder, "www-data", "www-data")
        wait_until(lambda: store_of(site)["journal"]["written"] == 20, "the rows to be written", timeout=15)
        assert store_of(site)["state"] == "ready" and store_of(site)["journal"]["dropped"] == 0

    def test_no_room_for_the_database(self, make_site):
        site = make_site(Conf(api=MOUNT, claims=AWAY), start=False)
        folder = os.path.join(site.root, "small")
        os.makedirs(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k,mode=777", "tmpfs", folder], capture_output=True).returncode:
            print("this user may mount nothing: a full disk is not tried")
            return
        try:
            site.conf.main = f"GBalanceDatabase sqlite3:{folder}/x.db"
            site.start()
            assert ask(site, OpenAI).status == 200
            wait_until(lambda: store_of(site)["journal"]["written"] == 1, "the first row")
            filler = os.path.join(folder, "filler")
            with open(filler, "wb", buffering=0) as f:
                try:
                    while f.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
            for _ in range(60):
                assert ask(site, OpenAI).status == 200
            wait_until(lambda: store_of(site)["state"] == "away", "the full disk to be noticed", timeout=10)
            assert "full" in store_of(site)["text"] or "I/O" in store_of(site)["text"]
            # a closed connection gives back what its log took: it may or may not fit
            answer = site.api.request("PUT", "/api/config", token=ADMIN, json={"MAX_RETRIES": 5})
            assert answer.status in (200, 503)
            assert admin(site, "GET")["MAX_RETRIES"] == (5 if answer.status == 200 else 3)
            os.unlink(filler)
            wait_until(lambda: store_of(site)["journal"]["written"] == 61, "all rows to be written", timeout=20)
            assert store_of(site)["state"] == "ready"
            assert put(site, MAX_RETRIES=6)["MAX_RETRIES"] == 6
        finally:
            assert site.stop()
            site.proc = None
            subprocess.run(["umount", folder], capture_output=True)


class TestReseal:
    def test_by_command(self, make_site):
        site = make_site(Conf(api=MOUNT), start=False)
        secret = os.path.join(site.root, "gbalance.secret")
        with open(secret, "wb") as f:
            f.write(os.urandom(32))
        os.chmod(secret, 0o600)
        with open(f"{tools.SRCDIR}/conf.d/gbalance.conf", encoding="utf-8") as f:
            text = f.read()
        site.conf.main = text[text.index("<IfFile"):text.rindex("</IfFile>") + len("</IfFile>")]
        site.start()
        put(site, SMMS_SECRET_TOKEN="picture-host-word-0123456789")
        db = Database("sqlite3").of(site)
        stored = lambda: db.value("SELECT value FROM t_settings WHERE `key` = 'SMMS_SECRET_TOKEN'")
        before, old = stored(), open(secret, "rb").read()
        assert before.startswith("gb1:")

        def reseal(*args):
            generation = site.generation()
            done = tools.run(["sh", f"{tools.SRCDIR}/conf.d/gbalance-reseal.sh", *args, secret, "kill", "-USR1", str(site.pid)])
            if done.returncode == 0:
                wait_until(lambda: site.generation() > generation, "the restart")
            return done

        assert reseal().returncode == 0
        wait_until(lambda: stored() != before, "the value to be sealed anew")
        new = open(secret, "rb").read()
        assert len(new) == 32 and new != old and open(secret + ".before", "rb").read() == old
        assert os.stat(secret).st_mode & 0o777 == 0o600
        assert "is there" in reseal().stderr
        assert reseal("--done").returncode == 0 and not os.path.exists(secret + ".before")
        shown = admin(site, "POST", "/reveal", json={"names": ["SMMS_SECRET_TOKEN"]})
        assert shown["SMMS_SECRET_TOKEN"] == "picture-host-word-0123456789" and ask(site, OpenAI).status == 200
