# SPDX-License-Identifier: Apache-2.0
"""gemini-balance's endpoints for the error log and for figures: the shape of each,
made by us, and that what they say is so.
"""
import csv
import datetime
import hashlib
import json
import re
import urllib.parse

import pytest

import tools
from client import Cut
from conf import KEYS, Conf
from rows import Rows, fill
from store import Database, MariaServer
from tools import wait_until
from wire import OpenAI, ask

ADMIN = "admin-token-0123456789abcdef"
MOUNT = f'Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\nGBalanceAuthToken "{ADMIN}"\n'
LOCAL = datetime.timezone(datetime.timedelta(hours=8))

ITEM = {"id": int, "gemini_key": str, "error_type": str, "error_code": int, "model_name": str, "request_time": str}
SHAPES = {
    "/api/logs/errors": {"logs": [ITEM], "total": int},
    "/api/logs/errors/{id}/details": {**ITEM, "error_log": str, "request_msg": dict},
    "/api/logs/errors/lookup?gemini_key={key}&timestamp={time}&status_code=429": {**ITEM, "error_log": str, "request_msg": dict},
    "/api/stats/details?period=1h": [{"timestamp": str, "key": str, "model": str, "status_code": int, "status": str,
                                      "latency_ms": int}],
    "/api/stats/key-details?period=24h&key={key}": [{"timestamp": str, "key": str, "model": str, "status_code": int,
                                                     "status": str, "latency_ms": int}],
    "/api/stats/attention-keys?limit=5&status_code=429": [{"key": str, "count": int, "status_code": int}],
    "/api/key-usage-details/{key}": {"gemini-2.5-flash": int},
}


def fits(value, shape):
    """Exactly these members, of these types; a list has one entry at least."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and value.keys() == shape.keys() and all(fits(value[k], s) for k, s in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and value and all(fits(v, shape[0]) for v in value)
    return type(value) is shape


def id_of(key):
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class Logged:
    """A site whose log has three errors of two keys, and calls that went well."""

    def __init__(self, site, db):
        self.site, self.db = site, db.of(site)

    def get(self, path, status=200):
        answer = self.site.api.request("GET", path, token=ADMIN)
        assert answer.status == status, answer.text
        return answer.json()

    def delete(self, path, json=None):
        return self.site.api.request("DELETE", path, token=ADMIN, json=json).status

    def errors(self, **args):
        return self.get("/api/logs/errors?" + "&".join(f"{k}={v}" for k, v in args.items()))

    def fail(self, status=429):
        self.site.sim.fault(status=status, count=1)
        assert ask(self.site, OpenAI).status == status

    def fill(self):
        self.db.await_tables()
        for _ in range(2):
            assert ask(self.site, OpenAI).status == 200
        self.fail(400)
        self.fail(429)
        self.db.await_rows(2, "t_error_logs")
        self.db.await_rows(4)


@pytest.fixture(scope="class", params=["sqlite3", "mysql"])
def logged(request, make_site):
    db = Database(request.param)
    site = make_site(Conf(main=db.main, api=MOUNT + request.cls.API, keys=KEYS[:request.cls.N_KEYS]))
    request.node.gbalance_server = site
    logged = Logged(site, db)
    logged.fill()
    return logged


class TestShapes:
    N_KEYS = 1
    API = "GBalanceMaxRetries 1\nGBalanceErrorLogRecordRequestBody on\n"

    @pytest.mark.parametrize("path", SHAPES)
    def test_shape(self, logged, path):
        error = logged.errors(error_code_search=429)["logs"][0]
        asked = path.format(id=error["id"], key=KEYS[0], time=error["request_time"])
        found = logged.get(asked)
        assert fits(found, SHAPES[path]), found
        assert KEYS[0] not in str(found)

    @pytest.mark.parametrize("path", SHAPES)
    def test_only_for_administrators(self, logged, path):
        for token in ("wrong-token-0123456789", logged.site.api.token):
            assert logged.site.api.request("GET", path.format(id=1, key=KEYS[0], time="x"), token=token).status == 401

    def test_what_they_say(self, logged):
        found = logged.get("/api/stats/details?period=1h")
        assert sorted(row["status_code"] for row in found) == [200, 200, 400, 429]
        assert {row["status"] for row in found if row["status_code"] == 200} == {"success"}
        assert {row["key"] for row in found} == {id_of(KEYS[0])}
        assert logged.get("/api/stats/attention-keys") == [{"key": id_of(KEYS[0]), "count": 1, "status_code": 429}]
        assert logged.get(f"/api/key-usage-details/{id_of(KEYS[0])}") == {"gemini-2.5-flash": 4}
        assert logged.get("/api/key-usage-details/0000aaaa") == {}
        assert len(logged.get(f"/api/stats/key-details?period=1m&key_id={id_of(KEYS[0])}")) == 4
        assert logged.get("/api/stats/details?period=month&key_id=x")

    def test_filters(self, logged):
        assert logged.errors()["total"] == 2
        newest, oldest = logged.errors(limit=1)["logs"], logged.errors(limit=1, sort_order="asc")["logs"]
        assert newest[0]["error_code"] == 429 and oldest[0]["error_code"] == 400
        assert logged.errors(limit=1, offset=1)["logs"] == oldest
        assert logged.errors(error_code_search=400)["logs"] == oldest
        assert logged.errors(error_code_search=500) == {"logs": [], "total": 0}
        assert logged.errors(key_search=KEYS[0][-4:])["total"] == 2
        assert logged.errors(key_search=KEYS[0])["total"] == 2
        assert logged.errors(key_search=KEYS[1])["total"] == 0
        assert logged.errors(error_search="RESOURCE_EXHAUSTED")["logs"] == newest
        now = datetime.datetime.now(LOCAL).replace(tzinfo=None)
        hour = datetime.timedelta(hours=1)
        assert logged.errors(start_date=(now - hour).isoformat(), end_date=(now + hour).isoformat("T", "minutes"))["total"] == 2
        assert logged.errors(start_date=(now + hour).isoformat())["total"] == 0
        assert logged.errors(end_date=(now - hour).date().isoformat())["total"] == 0

    @pytest.mark.parametrize("path, field", [
        ("/api/logs/errors?start_date=yesterday", "start_date"), ("/api/logs/errors?error_code_search=many", "error_code_search"),
        ("/api/logs/errors?sort_by=error_log", "sort_by"), ("/api/logs/errors/x/details", "id"),
        ("/api/logs/errors/lookup?timestamp=2026-11-20", "gemini_key"), ("/api/logs/errors/lookup?gemini_key=a&timestamp=x", "timestamp"),
        ("/api/stats/details?period=1y", "period"), ("/api/stats/details", "period"), ("/api/stats/key-details?period=1h", "key")])
    def test_what_is_wrong_is_named(self, logged, path, field):
        assert logged.get(path, 400)["error"]["field"] == field

    def test_what_is_not_there(self, logged):
        assert logged.get("/api/logs/errors/4711/details", 404)["error"]["message"]
        assert logged.get(f"/api/logs/errors/lookup?gemini_key={id_of(KEYS[1])}&timestamp=2026-11-20T00:00:00", 404)

    def test_no_key_reaches_a_log(self, logged):
        for path in (f"/api/key-usage-details/{KEYS[1]}", f"/api/stats/key-details?period=1h&key={KEYS[1]}",
                     f"/api/logs/errors?limit=5&key_search={KEYS[1]}"):
            logged.get(path)
        logged.get(f"/api/logs/errors/lookup?gemini_key={KEYS[1]}&timestamp=2026-11-20", 404)
        wait_until(lambda: len(re.findall(id_of(KEYS[1]), "\n".join(logged.site.access_lines()))) >= 3, "the lines")
        assert KEYS[1] not in "\n".join(logged.site.access_lines())
        assert KEYS[1].encode() not in logged.site.all_logs()


class TestDeleting:
    N_KEYS = 3
    API = "GBalanceMaxRetries 1\n"

    def test_one_some_all(self, logged):
        for status in (400, 404, 400):
            logged.fail(status)
        logged.db.await_rows(5, "t_error_logs")
        ids = [row["id"] for row in logged.errors()["logs"]]
        assert logged.delete(f"/api/logs/errors/{ids[0]}") == 204
        assert logged.delete(f"/api/logs/errors/{ids[0]}") == 404
        assert logged.delete("/api/logs/errors", {"ids": ids[:3]}) == 204
        assert [row["id"] for row in logged.errors()["logs"]] == ids[3:]
        for bad in ({"ids": []}, {"ids": ["x"]}, {"ids": 5}, {}):
            assert logged.delete("/api/logs/errors", bad) == 400
        assert logged.delete("/api/logs/errors/all") == 204
        assert logged.errors() == {"logs": [], "total": 0}
        assert logged.get("/api/stats/attention-keys"), "figures stay"

    def test_many(self, logged):
        """More than goes at once: the rest follows by itself."""
        for first in range(0, 6000, 1000):
            values = ", ".join(f"('made{n}', {n + 1}, 'default', 500)" for n in range(first, first + 1000))
            logged.db.run(f"INSERT INTO t_error_logs (uid, at, pool, error_code) VALUES {values}")
        assert logged.delete("/api/logs/errors/all") == 204
        wait_until(lambda: logged.db.value("SELECT COUNT(*) FROM t_error_logs") == 0, "all errors to be deleted", timeout=30)


def insert(db, table, columns, rows):
    """Rows of values, some hundreds at a time."""
    for first in range(0, len(rows), 500):
        values = ", ".join("(" + ", ".join(f"'{v}'" if isinstance(v, str) else str(v) for v in row) + ")" for row in rows[first:first + 500])
        db.run(f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}")


def written(site, tab, **filters):
    """The request ids that the page lists."""
    query = urllib.parse.urlencode({"format": "json", "tab": tab, "n": 500, **filters})
    answer = site.api.request("GET", f"/logs?{query}", token=ADMIN)
    assert answer.status == 200, answer.text
    return [row["request_id"] for row in answer.json()["rows"]]


class TestPageFilters:
    """What /logs lists for each of its filters."""
    N_KEYS = 1
    API = "GBalanceMaxRetries 1\n"
    NOW = datetime.datetime.now(LOCAL)
    # call, minutes ago, key, model, caller, type, status
    ROWS = (("call-a", 30, "aaaa1111", "model-one", "team", "quota", 429),
            ("call-b", 5 * 60, "bbbb2222", "model-two", "ide", "service", 503),
            ("call-c", 3 * 24 * 60, "aaaa1111", "model-two", "team", "service", 500),
            ("call-d", 20 * 24 * 60, "bbbb2222", "model-one", "ide", "quota", 429),
            ("call-e", 60 * 24 * 60, "bbbb2222", "model-one", "ide", "client", 400))

    @staticmethod
    def clock(minutes):
        return (TestPageFilters.NOW - datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")

    FILTERS = [
        ({"time": "1h"}, "a"), ({}, "ab"), ({"time": "7d"}, "abc"), ({"time": "30d"}, "abcd"), ({"time": "all"}, "abcde"),
        ({"time": "from", "from": 6 * 60}, "ab"), ({"time": "from", "from": 4 * 24 * 60, "to": 60}, "bc"),
        ({"time": "from", "to": 4 * 24 * 60}, "de"), ({"time": "from", "from": "yesterday"}, "abcde"),
        ({"time": "all", "key_id": "aaaa1111"}, "ac"), ({"time": "all", "key_id": "0000ffff"}, ""),
        ({"time": "all", "model": "model-two"}, "bc"), ({"time": "all", "model": "model"}, ""),
        ({"time": "all", "token": "team"}, "ac"), ({"time": "all", "token": "' OR '1'='1"}, ""),
        ({"time": "all", "type": "service"}, "bc"), ({"time": "all", "request": "call-d"}, "d"), ({"request": "call-d"}, ""),
        ({"time": "all", "result": "429"}, "ad"), ({"time": "all", "result": "5xx"}, "bc"), ({"time": "all", "status": "503"}, "b"),
        ({"time": "all", "key_id": "bbbb2222", "model": "model-one", "type": "quota", "token": "ide"}, "d"),
    ]

    @pytest.fixture(scope="class")
    @classmethod
    def rows(cls, logged):
        def values(*columns):
            return [[f"made-{row[0]}", int((cls.NOW.timestamp() - row[1] * 60) * 1000), "default", 1, *row[:1], *row[2:], *columns]
                    for row in cls.ROWS]
        common = ["uid", "at", "pool", "attempt", "request_id", "key_id", "model_name", "caller"]
        insert(logged.db, "t_request_log", [*common, "class", "status_code", "is_success"], values(0))
        insert(logged.db, "t_error_logs", [*common, "error_type", "error_code"], values())

    @pytest.mark.parametrize("tab", ["errors", "requests"])
    def test_filters(self, logged, rows, tab):
        for filters, expected in self.FILTERS:
            asked = {name: self.clock(v) if isinstance(v, int) else v for name, v in filters.items()}
            found = [call for call in written(logged.site, tab, **asked) if call.startswith("call-")]
            assert found == [f"call-{letter}" for letter in expected], filters
            if filters.keys() - {"time", "from", "to"}:
                assert len(written(logged.site, tab, **asked)) == len(found) or "result" in filters, filters


class TestExport:
    """All that the filters leave comes as a file, however much."""
    N_KEYS = 1
    API = "GBalanceMaxRetries 1\n"
    MANY = 11200    # batches of 500
    HOSTILE = ('=HYPERLINK("http://evil.example")', "+1+1", "-1+1", "@SUM(A1)", 'a,"b"', "<script>alert(1)</script>", "plain")

    @pytest.fixture(scope="class")
    @classmethod
    def many(cls, logged):
        now = int(datetime.datetime.now().timestamp() * 1000)
        common = ["uid", "at", "pool", "attempt", "request_id", "model_name", "caller"]
        rows = [[f"made{n}", now - 1000 * (n + 1), "default", 1, f"many-{n}", ("even", "odd")[n % 2], cls.HOSTILE[n % 7]]
                for n in range(cls.MANY)]
        insert(logged.db, "t_request_log", [*common, "is_success"], [[*row, 1] for row in rows])
        insert(logged.db, "t_error_logs", [*common, "error_type", "error_log", "error_code"],
               [[*row, "service", cls.HOSTILE[n % 7], 500] for n, row in enumerate(rows)])

    def file(self, logged, log, format, **filters):
        query = urllib.parse.urlencode({"format": format, **filters})
        answer = logged.site.api.request("GET", f"/api/logs/{log}/export?{query}", token=ADMIN)
        assert answer.status == 200 and "attachment" in answer.headers.get("Content-Disposition"), answer
        if format == "json":
            return [json.loads(line) for line in answer.text.splitlines()]
        return list(csv.DictReader(answer.text.splitlines(True)))

    @pytest.mark.parametrize("format", ["csv", "json"])
    @pytest.mark.parametrize("log", ["errors", "requests"])
    def test_all_rows(self, logged, many, log, format):
        ids = [row["request_id"] for row in self.file(logged, log, format) if row["request_id"].startswith("many-")]
        assert ids == [f"many-{n}" for n in range(self.MANY)], "newest first, each once"

    def test_rows_without_a_class(self, logged, many):
        """As gemini-balance has them."""
        rows = logged.get("/logs?tab=requests&time=all&n=20&model=odd&format=json")["rows"]
        assert {(row["word"], row["tone"]) for row in rows} == {("answered", "ok")}

    @pytest.mark.parametrize("log", ["errors", "requests"])
    def test_filters_hold_in_every_batch(self, logged, many, log):
        found = self.file(logged, log, "csv", model="odd")
        assert len(found) == self.MANY // 2 and {row["model"] for row in found} == {"odd"}
        assert self.file(logged, log, "csv", model="odd", token="nobody") == []

    @pytest.mark.parametrize("log", ["errors", "requests"])
    def test_cells_that_would_be_formulas(self, logged, many, log):
        for n, row in enumerate(self.file(logged, log, "csv", model="odd")[:7]):
            text = self.HOSTILE[(2 * n + 1) % 7]
            shown = "'" + text if text[0] in "=+-@" else text
            assert row["caller"] == row["error"] == shown
        assert {row["caller"] for row in self.file(logged, log, "json", model="odd")} == set(self.HOSTILE)

    def test_a_head_alone(self, logged, many):
        answer = logged.site.api.request("HEAD", "/api/logs/requests/export", token=ADMIN)
        assert answer.status == 200 and answer.headers.get("Content-Type").startswith("text/csv")


class TestExportCut:
    """The database goes away in the middle of a file: it must not look like all there is."""

    def test_the_file_is_no_whole_one(self, make_site):
        db = Database("mysql")
        site = make_site(Conf(main=db.main, api=MOUNT, claims=("GB8031: .*gbalance goes on", "GB4021")))
        db.of(site).await_tables()
        now = int(datetime.datetime.now().timestamp() * 1000)
        insert(db, "t_error_logs", ["uid", "at", "pool", "error_log", "error_code"],
               [[f"made{n}", now - 1000 * (n + 1), "default", "x" * 500, 500] for n in range(20000)])
        with site.api.connect(rcvbuf=4096) as conn:
            answer = conn.request("GET", "/api/logs/errors/export?format=json", site.api.auth(ADMIN))
            assert answer.status == 200 and answer.read_until(b"\n")
            server = MariaServer.get()
            server.kill()
            try:
                with pytest.raises(Cut):
                    answer.read()
            finally:
                server.start()
        wait_until(lambda: site.log.matching("GB4021"), "the log to say it")


class TestPagesSayWhatIsSo:
    """Sentences of the pages beside what happened."""

    @pytest.fixture(scope="class")
    @classmethod
    def logged(cls, request, make_site):
        db = Database("sqlite3")
        site = make_site(Conf(main=db.main, keys=KEYS, claims=("GB1007", "GB1008"), api=MOUNT + "GBalanceBreakerOpen 1\n"
                              'GBalanceModelPrices "{\\"gemini-2.5-flash\\": {\\"prompt\\": 1}}"\n'))
        request.node.gbalance_server = site
        logged = Logged(site, db)
        logged.db.await_tables()
        return logged

    def test_the_client_saw_the_last_error_only(self, logged):
        logged.site.sim.fault(status=500, count=3)
        assert ask(logged.site, OpenAI).status == 500
        logged.db.await_rows(3, "t_error_logs")
        logged.db.await_rows(3)
        rows = logged.get("/logs?tab=errors&format=json")["rows"]
        assert {row["attempt"]: row["ending"] for row in rows} == {1: "followed", 2: "followed", 3: "seen"}
        html = logged.site.api.request("GET", "/logs?tab=errors", token=ADMIN).text
        assert html.count("the client saw it") == 1 and html.count("another followed") == 2

    def test_what_a_key_is_charged_with(self, make_site):
        """A refused key is no client's fault, and a call that ended with 429 is counted once."""
        db = Database("sqlite3")
        site = make_site(Conf(main=db.main, keys=KEYS[:2], claims=("GB1004",), api=MOUNT + "GBalanceMaxRetries 2\n"))
        logged = Logged(site, db)
        logged.db.await_tables()
        site.sim.fault("quota_minute", count=1)
        assert ask(site, OpenAI).status == 200          # on the other key
        site.sim.fault("key_invalid", count=1)
        assert ask(site, OpenAI, model="gemini-2.5-pro").status == 200
        site.sim.fault("quota_minute")
        assert ask(site, OpenAI, model="gemini-2.0-flash").status == 429
        refused = logged.db.await_rows(5)
        site.sim.reset()
        chart = logged.get("/keys_status?format=json&part=chart")["chart"]
        assert [(s["words"], s["sum"]) for s in chart["series"]] == [("Succeeded", 2), ("Retried after 429", 1), ("Failed calls", 1)]
        key = next(row["key_id"] for row in refused if row["class"] == "key")
        rows = logged.get(f"/keys/{key}?format=json")["rows"]
        assert [(row["status"], row["pill"], row["icon"]) for row in rows if row["status"] == 400] == [(400, "bad", "key")]

    def test_a_log_that_was_emptied(self, make_site):
        """It says nothing of whether there were errors: the figures know."""
        db = Database("sqlite3")
        site = make_site(Conf(main=db.main, api=MOUNT))
        logged = Logged(site, db)
        logged.db.await_tables()
        logged.fail(400)
        logged.db.await_rows(1, "t_error_logs")
        assert logged.delete("/api/logs/errors/all") == 204
        for query in ("", "&time=7d"):
            wait_until(lambda: logged.get(f"/logs?tab=errors{query}&format=json")["n_errors"] == 1, "the figures")
            html = site.api.request("GET", f"/logs?tab=errors{query}", token=ADMIN).text
            assert "No rows of this time" in html and "No errors" not in html and "Nothing matches" not in html

    def test_a_tab_counts_what_its_list_has(self, make_site):
        """Not all of the hour in which the last 24 begin."""
        db = Database("sqlite3")
        site = make_site(Conf(main=db.main, api=MOUNT))
        logged = Logged(site, db)
        logged.db.await_tables()
        now = int(datetime.datetime.now().timestamp() * 1000)
        fill(site, Rows(2, lambda n: now - 86_400_000 + (120_000, -120_000)[n], [id_of(KEYS[0])]))
        found = logged.get("/logs?tab=requests&format=json")
        assert found["shown"] == found["n_requests"] == 1

    def test_a_pool_in_service_that_has_no_room(self, make_site):
        site = make_site(Conf(keys=KEYS, api=MOUNT))
        def starved():
            page = site.api.request("GET", "/keys_status?format=json", token=ADMIN).json()
            return page["keys"]["serving"], [i["starved"]["model"] for i in page["attention"]["items"] if i["kind"] == "starved"]
        site.sim.fault("quota_minute", count=2)
        assert ask(site, OpenAI).status == 200 and starved() == (1.0, [])
        site.sim.fault("quota_minute")
        assert ask(site, OpenAI).status == 429 and starved() == (1.0, ["gemini-2.5-flash"])
        html = site.api.request("GET", "/keys_status", token=ADMIN).text
        assert "No key has room for gemini-2.5-flash" in html and "can serve" not in html and "All is well" not in html
        assert site.api.request("POST", "/api/keys/reset", token=ADMIN, json={"all": True}).status == 200

    def test_a_model_is_paused_no_longer_than_it_is(self, logged):
        """The breaker, which the three failures have opened for a second."""
        def broken():
            items = logged.get("/keys_status?format=json&part=attention")["attention"]["items"]
            return next(item["broken"] for item in items if item["kind"] == "broken")
        assert broken()["model"] == "gemini-2.5-flash"
        wait_until(lambda: broken()["until"] is None, "the end of the pause")
        html = logged.site.api.request("GET", "/keys_status", token=ADMIN).text
        assert "The next call asks it again" in html and "Paused for" not in html

    def test_lists_of_models_are_no_model(self, logged):
        assert ask(logged.site, OpenAI).status == 200
        for _ in range(3):
            assert logged.get("/api/config/ui/models")["data"]
        logged.db.await_rows(7)
        found = logged.get("/usage?range=24h&format=json")
        assert found["tiles"]["calls"] == 5 and found["tiles"]["answers"] == 1
        assert found["named_models"] == 1 and found["unpriced"] == 0

    def test_no_prices_are_not_an_empty_list_of_them(self, logged):
        before = logged.get("/api/config")["MODEL_PRICES"]
        for body in ({"json": {"gemini-2.5-flash": {"prompt": 2}}}, {"body": b""}):
            answer = logged.site.api.request("POST", "/usage?format=json", token=ADMIN, **body)
            assert answer.status == 400 and "model" in answer.json()["error"]["message"]
        assert before and logged.get("/api/config")["MODEL_PRICES"] == before

    @pytest.mark.parametrize("zone", ["Mars/Olympus", "../../../etc/passwd", "/etc/passwd", "Europe"])
    def test_no_zone_is_saved_that_is_none(self, logged, zone):
        answer = logged.site.api.request("PUT", "/api/config", token=ADMIN, json={"TIMEZONE": zone})
        assert answer.status == 400 and zone in answer.json()["errors"][0]["message"]
