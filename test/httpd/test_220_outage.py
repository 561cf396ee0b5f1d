# SPDX-License-Identifier: Apache-2.0
"""The database dies, hangs, is locked, full, read-only, damaged, newer, or was
never there: no client notices, and every row arrives once.
"""
import contextlib
import dataclasses
import os
import resource
import shutil
import sqlite3
import struct
import time

import pytest

import tools
from conf import Conf
from env import Stopwatch
from load import Case, Load
from store import Database, MariaServer
from test_230_config import admin
from test_600_admin_login import API, Browser
from tools import soak, wait_until
from wire import Gemini, OpenAI, ask, begin

CASES = [Case("POST", OpenAI.path(False), OpenAI.body("hi")),
         Case("POST", Gemini.path(True), Gemini.body("[[chunks=3 interval=10]]"))]
OUTAGE = soak(10, 60)
AWAY = (r"GB8031: .*gbalance goes on",)


@pytest.fixture
def maria(make_site):
    server = MariaServer.get()
    db = Database("mysql")
    site = make_site(Conf(main=db.main, claims=AWAY))
    db.of(site).await_tables()
    return site, db, server


def under_load(site, outage):
    """Runs load before, during and after outage(); the report."""
    load = Load(site.port, CASES, token=site.api.token, connections=8, rate=150, duration=OUTAGE + 4, timeout=20)
    time.sleep(1.5)
    outage()
    report = load.wait()
    assert set(report.statuses) == {"200"} and report.failed == 0
    return report


def every_row_once(site, db, timeout=40):
    rows = db.await_attempts(site, timeout=timeout)
    assert "lost" not in {row["class"] for row in rows.values()}
    assert db.value("SELECT SUM(attempts) FROM gb_totals WHERE part = 'all' AND period = 3600") == len(rows)
    wait_until(lambda: not spool_files(site), "the spool to be empty", step=0.2)


def spool_files(site):
    folder = os.path.join(site.state, "spool")
    return [name for name in os.listdir(folder) if os.path.getsize(os.path.join(folder, name))]


class TestServer:
    def test_killed(self, maria):
        site, db, server = maria

        def outage():
            server.kill()
            time.sleep(OUTAGE)
            server.start()

        report = under_load(site, outage)
        assert report.latency_us["p99"] < 1000000
        every_row_once(site, db)
        assert site.log.matching(r"GB8030: store: .* is there")

    def test_hanging(self, maria):
        site, db, server = maria

        def outage():
            server.hang()
            time.sleep(OUTAGE)
            server.go_on()

        report = under_load(site, outage)
        assert report.latency_us["p99"] < 1000000
        every_row_once(site, db)

    def test_a_child_ends_while_it_hangs(self, maria):
        site, db, server = maria
        ask(site, OpenAI)
        server.hang()
        try:
            for _ in range(5):
                assert ask(site, OpenAI).status == 200
            old = site.children()
            with Stopwatch() as clock:
                site.graceful()
                wait_until(lambda: not set(old) & set(site.children()), "the old children to leave", timeout=20)
            assert clock.seconds < 15
            assert ask(site, OpenAI).status == 200
        finally:
            server.go_on()
        db.await_rows(7)


def test_absent_at_start(make_site):
    """The server serves; the tables are made when the database appears."""
    server = MariaServer.get()
    db = Database("mysql")
    server.kill()
    site = make_site(Conf(main=db.main, claims=AWAY))
    assert all(ask(site, OpenAI).status == 200 for _ in range(5))
    site.graceful()
    assert ask(site, OpenAI).status == 200
    server.start()
    db.of(site).await_tables()
    db.await_rows(6)


def test_stop_and_start_while_it_is_away(make_site):
    """What children have left is in the spool, and arrives after the next start."""
    server = MariaServer.get()
    db = Database("mysql")
    site = make_site(Conf(main=db.main, claims=AWAY))
    db.of(site).await_tables()
    ask(site, OpenAI)
    db.await_rows(1)
    server.kill()
    for _ in range(10):
        assert ask(site, OpenAI).status == 200
    assert site.stop()
    server.start()
    site.start()
    db.await_rows(11)


class TestSqlite:
    def test_locked(self, make_site):
        db = Database("sqlite3")
        site = make_site(Conf(claims=AWAY))
        db.of(site).await_tables()
        lock = sqlite3.connect(os.path.join(site.state, "gbalance.db"), isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        try:
            with Stopwatch() as clock:
                for _ in range(20):
                    assert ask(site, OpenAI).status == 200
            assert clock.seconds < 4
            time.sleep(4)
        finally:
            lock.execute("ROLLBACK")
            lock.close()
        db.await_rows(20, timeout=30)

    def test_newer(self, make_site):
        """Nothing is served and nothing is written; it heals without a restart."""
        db = Database("sqlite3")
        site = make_site(Conf(claims=(r"GB8031: .*newer gbalance.*answer 503",)))
        db.of(site).await_tables()
        ask(site, OpenAI)
        db.await_rows(1)
        assert site.stop()
        db.run("INSERT INTO gb_schema (version, step, name, at) VALUES (999, 0, 'x', 1)")
        site.start()
        for surface in (OpenAI, Gemini):
            error = surface.check_error(ask(site, surface), 503)
            assert "999" in error["message"] and "schema" in error["message"]
        health = site.api.get("/health", anonymous=True)
        assert (health.status, health.json()["reasons"]) == (503, ["store_unavailable"])
        assert site.plain.get("/").status == 200
        time.sleep(1.5)
        assert db.value("SELECT COUNT(*) FROM t_request_log") == 1
        db.run("DELETE FROM gb_schema WHERE version = 999")
        wait_until(lambda: ask(site, OpenAI).status == 200, "the locations to serve again", timeout=15)
        assert site.api.get("/health", anonymous=True).status == 200
        db.await_rows(2)

    def test_damaged(self, make_site):
        """Junk where the database should be is left as it is; requests are served, rows wait."""
        site = make_site(Conf(claims=AWAY), start=False)
        path = os.path.join(site.state, "gbalance.db")
        junk = b"this is no database. " * 1000
        with open(path, "wb") as f:
            f.write(junk)
        site.start()
        assert ask(site, OpenAI).status == 200
        assert site.log.matching(r"GB8031: .*not a database")
        with open(path, "rb") as f:
            assert f.read() == junk
        wait_until(lambda: spool_files(site), "the spool to hold the row")
        os.unlink(path)
        Database("sqlite3").of(site).await_rows(1)

    def test_folder_that_is_not_there(self, make_site):
        site = make_site(Conf(main="GBalanceDatabase sqlite3:/nonexistent/folder/x.db", claims=AWAY))
        assert ask(site, OpenAI).status == 200
        assert site.log.matching(r"GB8031: .*/nonexistent/folder/x.db cannot be opened")

    def test_read_only(self, make_site):
        if not tools.AS_ROOT:
            pytest.skip("needs a file that the server's user may not write")
        db = Database("sqlite3")
        site = make_site(Conf(claims=AWAY))
        db.of(site).await_tables()
        assert site.stop()
        folder = os.path.join(site.state, "ro")
        os.makedirs(folder)
        shutil.move(os.path.join(site.state, "gbalance.db"), os.path.join(folder, "gbalance.db"))
        site.configure(main="GBalanceDatabase sqlite3:ro/gbalance.db")
        site.start()
        os.chown(folder, 0, 0)
        os.chmod(folder, 0o755)
        for name in os.listdir(folder):
            os.chown(os.path.join(folder, name), 0, 0)
            os.chmod(os.path.join(folder, name), 0o444)
        site.graceful()
        assert all(ask(site, OpenAI).status == 200 for _ in range(3))


KEPT_NOWHERE = {"no directory": Conf(state=False),
                "one that cannot be made": Conf(main="GBalanceStateDir /dev/null/state", claims=("GB8034", "GB1030", "GB1050"))}


@pytest.mark.parametrize("conf", KEPT_NOWHERE.values(), ids=KEPT_NOWHERE)
def test_nothing_is_kept(make_site, conf):
    """Without a place for the state calls are served, pages say what is missing, and reloads go well."""
    site = make_site(dataclasses.replace(conf, api=API))
    for _ in range(2):
        browser = Browser(site)
        assert browser.login().status in (302, 303)
        assert ask(site, OpenAI).status == 200
        assert admin(site, "GET")["MAX_RETRIES"] == 3
        admin(site, "PUT", json={"MAX_RETRIES": 5}, status=503)
        for path in ("/keys_status", "/config", "/logs", "/usage", "/playground", "/api/store", "/api/keys",
                     "/api/config/schema", "/api/logs/errors", "/api/config/history"):
            assert browser.get(path).status in (200, 503), path
        site.graceful()
    assert not site.log.matching("exit signal")


def test_shared_memory_is_refused(make_site):
    """Calls are answered 503 that says so, other sites go on, and nothing dies at a start or a reload."""
    site = make_site(Conf(main="GBalanceMaxKeys 1000000", api=API, claims=("GB8022",)), start=False)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, before[1]))
    try:
        site.start()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    for _ in range(2):
        for surface in (OpenAI, Gemini):
            assert "Shared memory" in surface.check_error(ask(site, surface), 503)["message"]
        assert admin(site, "GET")["MAX_RETRIES"] == 3
        assert Browser(site).login().status == 503 and site.plain.get("/").status == 200
        site.graceful()
    assert not site.log.matching("exit signal")


def open_record(pid):
    """A record of an attempt that a process has under way, as the spool keeps it while the ring is full."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        start = int(f.read().rsplit(")", 1)[1].split()[19])
    record = os.urandom(16) + struct.pack("<QII", start, pid, 0) + b"\1" + bytes(512 - 8 - 33)
    check = 2166136261
    for byte in record:
        check = (check ^ byte) * 16777619 & 0xffffffff
    return b"gbj1" + struct.pack("<I", check) + record


def test_open_attempts_wait_in_the_spool(make_site):
    """They are looked at now and then, not all the time."""
    db = Database("sqlite3")
    site = make_site(Conf())
    db.of(site).await_tables()
    seen = set()
    with open(os.path.join(site.state, "spool", "rows.cur"), "ab") as f:
        f.write(open_record(os.getpid()))
    if tools.AS_ROOT:
        shutil.chown(f.name, "www-data", "www-data")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            seen.add(os.stat(f.name).st_mtime_ns)
    assert 2 <= len(seen) <= 8
    wait_until(lambda: os.path.exists(f.name) and os.path.getsize(f.name) == 512, "the record to be there still")
    assert not db.value("SELECT COUNT(*) FROM t_request_log")


class TestSpoolBound:
    def test_oldest_texts_go_first(self, make_site):
        site = make_site(Conf(main="GBalanceDatabase sqlite3:/nonexistent/x.db\nGBalanceSpoolMaxMb 1",
                              api="GBalanceErrorLogRecordRequestBody On", claims=(*AWAY, "GB8041")))
        site.sim.fault("invalid_argument")
        body = OpenAI.body("x " * 6000)
        for _ in range(300):
            assert site.api.post("/v1/chat/completions", json=body).status == 400
        wait_until(lambda: site.log.matching(r"GB8041: .*error texts"), "texts to be dropped", timeout=20)
        folder = os.path.join(site.state, "spool")
        assert sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder)) <= 1 << 20
        assert site.log.matching(r"GB8041: .* [1-9]\d* error texts and 0 rows")


@pytest.mark.parametrize("line, word", [
    ("GBalanceDatabase mysql:user=x", "dbname"), ("GBalanceDatabase postgres:x", "postgres"),
    ('GBalanceDatabase "mysql:user=x,dbname=y,pass=a b"', "blank"),
    ('GBalanceDatabaseType mysql\nGBalanceMysqlUser x\nGBalanceMysqlPassword "a|b"\nGBalanceMysqlDatabase y', "GBalance|driver")])
def test_configtest_refuses(make_site, line, word):
    import re
    site = make_site(Conf(main=line), start=False)
    site.configure()
    result = site.configtest()
    assert result.returncode != 0 and re.search(word, result.stderr + site.log.text()), result.stderr
    site.log.claim("GB8032")


def test_old_streams_end_in_the_log(make_site):
    """A stopping child's last stream is written, too."""
    db = Database("sqlite3")
    site = make_site(Conf())
    db.of(site).await_tables()
    answer = begin(site, Gemini, "[[chunks=30 interval=100]]")
    site.graceful()
    assert Gemini.stream_text(answer)
    [row] = db.await_rows(1)
    assert row["class"] == "success" and row["latency_ms"] > 2000
