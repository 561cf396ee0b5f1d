# SPDX-License-Identifier: Apache-2.0
"""Rows of attempts and errors: each is there once, soon, with what it should hold,
on SQLite and on MariaDB.
"""
import contextlib
import json
import os
import random
import signal
import time

import pytest

from conf import KEYS, Conf
from load import Case, Load
from store import Database
from test_230_config import ADMIN, MOUNT
from tools import soak, wait_until
from wire import Gemini, OpenAI, ask, begin, serves

KINDS = ["sqlite3", "mysql"]


@pytest.fixture(scope="class", params=KINDS)
def kept(request, make_site):
    """A running site and its database."""
    db = Database(request.param)
    conf = Conf(**{**getattr(request.cls, "WITH", {}), "main": db.main + "\n" + getattr(request.cls, "MAIN", "")})
    site = make_site(conf)
    request.node.gbalance_server = site
    return site, db.of(site)


def fresh(kept):
    """The database without the rows of earlier tests."""
    site, db = kept
    site.sim.reset()
    db.await_tables()
    time.sleep(0.6)
    for table in ("t_request_log", "t_error_logs", "gb_totals", "gb_tally"):
        db.run(f"DELETE FROM {table}")
    return site, db


class TestRows:
    WITH = {"keys": KEYS[:2], "claims": ()}

    def test_a_good_call(self, kept):
        site, db = fresh(kept)
        before = time.time()
        answer = site.api.post("/v1/chat/completions", json=OpenAI.body("hello", model="gemini-2.5-flash"),
                               headers={"x-request-id": "my-request-1"})
        assert answer.status == 200
        [row] = db.await_rows(1)
        assert before * 1000 - 1000 <= row["at"] <= time.time() * 1000
        assert row["request_id"] == "my-request-1" and row["attempt"] == 1 and row["is_final"] == 1
        assert row["pool"] == "default" and row["surface"] == "openai" and row["operation"] == "chat"
        assert row["model_asked"] == row["model_name"] == "gemini-2.5-flash"
        assert row["class"] == "success" and row["is_success"] == 1 and row["status_code"] == 200
        assert 0 <= row["first_byte_ms"] <= row["latency_ms"] < 10000
        usage = answer.json()["usage"]
        assert row["prompt_tokens"] == usage["prompt_tokens"]
        assert row["completion_tokens"] == usage["completion_tokens"]
        assert row["bytes"] > 100 and row["is_stream"] == 0
        assert len(row["key_id"]) == 8 and len(row["caller"]) == 8 and len(row["uid"]) == 32
        assert row["api_key"].endswith(("0001", "0002")) and len(row["api_key"]) < 12
        assert db.value("SELECT COUNT(*) FROM t_error_logs") == 0

    def test_a_retried_call(self, kept):
        site, db = fresh(kept)
        site.sim.fault("high_demand", count=1)
        assert ask(site, OpenAI).status == 200
        first, second = db.await_rows(2)
        assert first["request_id"] == second["request_id"]
        assert [first["attempt"], second["attempt"]] == [1, 2]
        assert first["is_final"] == 0 and second["is_final"] == 1
        assert first["status_code"] == 503 and not first["is_success"] and second["is_success"]
        assert first["key_id"] != second["key_id"]
        [error] = db.await_rows(1, "t_error_logs")
        assert error["error_type"] == "openai-chat-non-stream" and error["error_code"] == 503
        assert error["uid"] == first["uid"] and error["key_id"] == first["key_id"]
        assert error["gemini_key"] == first["api_key"] and error["request_msg"] is None
        assert "503" in error["error_log"]
        sums = db.rows("SELECT * FROM gb_totals WHERE part = 'key' ORDER BY period, name")
        assert sum(s["attempts"] for s in sums if s["period"] == 3600) == 2
        assert sum(s["calls"] for s in sums if s["period"] == 3600) == 1
        assert sum(s["failures"] for s in sums if s["period"] == 86400) == 1
        assert sum(s["call_failures"] for s in sums if s["period"] == 86400) == 0
        assert db.value("SELECT SUM(quota) + SUM(calls) FROM gb_totals WHERE part = 'all' AND period = 10") == 1
        counts = db.rows("SELECT * FROM gb_tally WHERE part = 'all' AND kind = 'status' AND period = 86400 ORDER BY value")
        assert [(int(c["value"]), c["attempts"], c["calls"]) for c in counts] == [(200, 1, 1), (503, 1, 0)]

    def test_a_call_that_was_sent_three_times(self, kept):
        """One call for the counters, whose tokens are those of all its choices."""
        site, db = fresh(kept)
        answer = ask(site, OpenAI, model="gemini-3.8-flash", n=3)
        assert answer.status == 200 and len(answer.json()["choices"]) == 3
        rows = db.await_rows(3)
        assert {row["request_id"] for row in rows} == {answer.headers.get("x-request-id")}
        assert sorted(row["attempt"] for row in rows) == [1, 2, 3] and all(row["is_success"] for row in rows)
        assert sorted(row["is_final"] for row in rows) == [0, 0, 1]
        assert sorted(call["request_id"].rpartition(".")[2] for call in site.sim.calls()) == ["1", "2", "3"]
        hours = db.rows("SELECT * FROM gb_totals WHERE part = 'all' AND period = 3600")
        assert sum(s["calls"] for s in hours) == 1 and sum(s["attempts"] for s in hours) == 3
        assert sum(s["completion_tokens"] for s in hours) == sum(row["completion_tokens"] for row in rows) > 0

    def test_a_stream(self, kept):
        site, db = fresh(kept)
        answer = begin(site, Gemini, "[[chunks=5 interval=50]]")
        assert Gemini.stream_text(answer)
        [row] = db.await_rows(1)
        assert row["is_stream"] == 1 and row["surface"] == "gemini" and row["latency_ms"] >= 150
        assert row["first_byte_ms"] < row["latency_ms"]

    def test_a_client_that_leaves(self, kept):
        site, db = fresh(kept)
        answer = begin(site, Gemini, "[[chunks=100 interval=50]]")
        answer.read_until(b"data:")
        answer.conn.close()
        [row] = db.await_rows(1)
        assert row["class"] == "cancelled" and not row["is_success"]
        time.sleep(0.7)
        assert db.value("SELECT COUNT(*) FROM t_error_logs") == 0

    def test_nothing_is_late(self, kept):
        """At most one second behind."""
        site, db = fresh(kept)
        for n in range(1, 6):
            assert ask(site, OpenAI).status == 200
            db.await_rows(n, timeout=1.5)

    def test_no_secret_in_the_database(self, kept):
        site, db = fresh(kept)
        site.sim.fault("key_invalid", count=1)
        site.log.claim(r"GB\d{4}: .*key ")
        ask(site, OpenAI)
        db.await_rows(1, "t_error_logs")
        everything = json.dumps(db.rows("SELECT * FROM t_error_logs") + db.rows("SELECT * FROM t_request_log"))
        for secret in (*KEYS, *site.conf.tokens):
            assert secret not in everything


class TestRequestBodies:
    MAIN = "GBalanceErrorLogRecordRequestBody On"

    def test_are_kept_without_media_and_secrets(self, kept):
        site, db = fresh(kept)
        site.sim.fault("invalid_argument")
        body = {"model": "gemini-2.5-flash", "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "my key is AIzaSyThisIsASecretKeyOfSomebody000000001"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgoA" * 100}}]}]}
        assert site.api.post("/v1/chat/completions", json=body).status == 400
        [error] = db.await_rows(1, "t_error_logs")
        kept_body = json.loads(error["request_msg"])
        text = json.dumps(kept_body)
        assert "my key is" in text and "AIzaSyThis" not in text
        assert "iVBORw0KGgoAiVBORw0KGgoA" not in text and "characters of media" in text
        assert len(error["request_msg"]) < 20000


class TestLostAttempts:
    WITH = {"claims": ("AH00052", "AH00051"), "api": MOUNT}

    def test_kill(self, kept):
        """What died with a child is a row of class lost; its siblings' rows are whole."""
        site, db = fresh(kept)
        answers = [begin(site, Gemini, "[[chunks=40 interval=50]]") for _ in range(20)]
        killed = site.children()
        for child in killed:
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: not set(killed) & set(site.children()), "the children to be gone")
        for answer in answers:
            answer.conn.close()
        wait_until(lambda: serves(site, Gemini), "the server to answer")
        rows = db.await_rows(21, timeout=10)
        assert [row["class"] for row in rows].count("lost") == 20
        assert [row["class"] for row in rows].count("success") == 1

    @staticmethod
    def writer(site):
        """The process that drains the ring; a dead one holds its lease for 2 s more."""
        with contextlib.suppress(OSError, ValueError):
            pid = site.api.request("GET", "/api/store", token=ADMIN).json()["writer"]
            if pid in site.children():
                return pid
        return random.choice(wait_until(site.children, "a child"))

    def test_random_kills_under_load(self, kept):
        """Every attempt id that the upstream saw has exactly one row; rows that it did not see are
        lost or never got a connection."""
        site, db = fresh(kept)
        kills = soak(10, 50)
        cases = [Case("POST", OpenAI.path(False), OpenAI.body("hi")),
                 Case("POST", Gemini.path(True), Gemini.body("[[chunks=5 interval=10]]"))]
        load = Load(site.port, cases, token=site.api.token, connections=20, duration=kills * 0.7 + 2, timeout=20)
        for n in range(kills):
            time.sleep(random.uniform(0.3, 0.9))
            with contextlib.suppress(ProcessLookupError):   # it may have ended by itself
                os.kill(self.writer(site) if n % 2 else random.choice(wait_until(site.children, "a child")), signal.SIGKILL)
        load.wait()
        time.sleep(3.5)         # what the last victim held
        db.await_attempts(site, unseen=("lost", "service", "cancelled"))

