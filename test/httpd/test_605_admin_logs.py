# SPDX-License-Identifier: Apache-2.0
"""gemini-balance's endpoints for the error log and for figures: the shape of each,
made by us, and that what they say is so.
"""
import datetime
import hashlib
import re

import pytest

import tools
from conf import KEYS, Conf
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


@pytest.fixture(scope="module", autouse=True)
def end_of_server():
    yield
    if MariaServer.one:
        MariaServer.one.stop()
        MariaServer.one = None


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
        lines = "\n".join(logged.site.access_lines())
        assert len(re.findall(id_of(KEYS[1]), lines)) >= 3 and KEYS[1] not in lines
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
