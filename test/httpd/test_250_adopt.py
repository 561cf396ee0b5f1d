# SPDX-License-Identifier: Apache-2.0
"""A gemini-balance user moves in: with the database, or with the .env file; old
rows go at night, on either kind of database.
"""
import datetime
import hashlib
import json
import os
import time

import pytest

import tools
from conf import KEYS, Conf
from store import Database, MariaServer, Sqlite
from tools import wait_until
from wire import MODEL, Gemini, OpenAI, ask, begin

TOKEN = "sk-of-theirs-0123456789"
ADMIN = "sk-admin-of-theirs-0123456789"
MOUNT = f"Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\n"

TABLES = """
CREATE TABLE t_settings (id {id}, `key` VARCHAR(100) NOT NULL, value TEXT, description VARCHAR(255),
    created_at DATETIME, updated_at DATETIME, PRIMARY KEY (id), UNIQUE (`key`));
CREATE TABLE t_error_logs (id {id}, gemini_key VARCHAR(100), model_name VARCHAR(100), error_type VARCHAR(50),
    error_log TEXT, error_code INTEGER, request_msg JSON, request_time DATETIME, PRIMARY KEY (id));
CREATE TABLE t_request_log (id {id}, request_time DATETIME, model_name VARCHAR(100), api_key VARCHAR(100),
    is_success BOOLEAN NOT NULL, status_code INTEGER, latency_ms INTEGER, PRIMARY KEY (id));
CREATE TABLE t_file_records (id {id}, name VARCHAR(255) NOT NULL, display_name VARCHAR(255),
    mime_type VARCHAR(100) NOT NULL, size_bytes BIGINT NOT NULL, sha256_hash VARCHAR(255), state {state} NOT NULL,
    create_time DATETIME NOT NULL, update_time DATETIME NOT NULL, expiration_time DATETIME NOT NULL,
    uri VARCHAR(500) NOT NULL, api_key VARCHAR(100) NOT NULL, upload_url TEXT, user_token VARCHAR(100),
    upload_completed DATETIME, PRIMARY KEY (id), UNIQUE (name))
"""
TYPES = {"sqlite3": {"id": "INTEGER NOT NULL", "state": "VARCHAR(10)"},
         "mysql": {"id": "INTEGER NOT NULL AUTO_INCREMENT", "state": "ENUM('PROCESSING','ACTIVE','FAILED')"}}

# As it writes them: all as text, lists and maps as JSON.
SETTINGS = {
    "API_KEYS": json.dumps(KEYS[:2]), "ALLOWED_TOKENS": json.dumps([TOKEN]), "AUTH_TOKEN": ADMIN,
    "MAX_RETRIES": "4", "MAX_FAILURES": "5", "TIMEZONE": "Asia/Shanghai", "SHOW_SEARCH_LINK": "false",
    "SEARCH_MODELS": '["gemini-2.5-flash"]', "THINKING_BUDGET_MAP": '{"gemini-2.5-flash": 4000}',
    "SAFETY_SETTINGS": '[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]', "STREAM_MIN_DELAY": "0.016",
    "LOG_LEVEL": "INFO", "GITHUB_REPO_OWNER": "snailyp", "DATABASE_TYPE": "mysql", "CHECK_INTERVAL_HOURS": "not a number",
}


def insert(db, table, **values):
    quoted = ["NULL" if v is None else "'" + str(v).replace("'", "''") + "'" for v in values.values()]
    db.run(f"INSERT INTO {table} ({', '.join(f'`{name}`' for name in values)}) VALUES ({', '.join(quoted)})")


def theirs(db, base_url):
    for statement in TABLES.format(**TYPES[db.kind]).split(";"):
        db.run(statement)
    for name, value in {**SETTINGS, "BASE_URL": base_url}.items():
        insert(db, "t_settings", key=name, value=value, description="x", created_at="2026-11-01 10:00:00",
               updated_at="2026-11-01 10:00:00")
    their_rows(db)
    insert(db, "t_file_records", name="files/a1", mime_type="text/plain", size_bytes=5, state="ACTIVE",
           create_time="2026-11-19 01:00:00", update_time="2026-11-19 01:00:00", expiration_time="2036-11-21 01:00:00",
           uri="https://x/files/a1", api_key=KEYS[0], user_token=TOKEN)


def their_rows(db, minute=0):
    now = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).replace(tzinfo=None)
    when = now - datetime.timedelta(hours=2, minutes=minute)
    when = str(when) if db.kind == "sqlite3" else str(when)[:19]
    for n in range(10):
        insert(db, "t_request_log", request_time=when, model_name=MODEL, api_key=KEYS[n % 2], is_success=int(n < 8),
               status_code=200 if n < 8 else 429, latency_ms=100 + n)
    insert(db, "t_error_logs", gemini_key=KEYS[0], model_name=MODEL, error_type="gemini-chat-stream",
           error_log=f"url?key={KEYS[0]}", error_code=429, request_msg='{"contents": []}', request_time=when)


@pytest.fixture(scope="class", params=["sqlite3", "mysql"])
def moved(request, make_site):
    """A site that knows nothing but where their database is."""
    site = make_site(Conf(keys=(), tokens=(), api=MOUNT, claims=(r"GB8050: .*CHECK_INTERVAL_HOURS",)), start=False)
    path = os.path.join(site.state, "theirs.db")
    db = Sqlite(path) if request.param == "sqlite3" else MariaServer.get().database()
    theirs(db, site.sim_url)
    if request.param == "sqlite3" and tools.AS_ROOT:    # somebody has copied it
        os.chown(path, 0, 0)
        os.chmod(path, 0o600)
    site.conf.main = f'GBalanceDatabase "{db.conf if db.kind == "mysql" else "sqlite3:theirs.db"}"'
    site.conf.upstream = "http://127.0.0.1:9/what-is-saved-wins"
    site.start()
    site.db = db
    site.api.token = TOKEN
    wait_until(lambda: site.api.request("GET", "/api/config", token=ADMIN).status == 200, "what is saved to be in force")
    return site


def rows(site, sql):
    return site.db.rows(sql)


class TestDatabase:
    def test_keys_and_tokens_serve(self, moved):
        for surface in (OpenAI, Gemini):
            assert ask(moved, surface).status == 200
        for _ in range(4):
            assert ask(moved, Gemini).status == 200
        assert {call["key"] for call in moved.sim.calls()} == set(KEYS[:2])
        assert moved.api.get("/v1/models", token="sk-wrong").status == 401

    def test_settings_are_in_force(self, moved):
        found = moved.api.request("GET", "/api/config", token=ADMIN).json()
        assert found["MAX_RETRIES"] == 4 and found["MAX_FAILURES"] == 5 and found["SHOW_SEARCH_LINK"] is False
        assert found["THINKING_BUDGET_MAP"] == {"gemini-2.5-flash": 4000} and found["CHECK_INTERVAL_HOURS"] == 1
        assert found["DATABASE_TYPE"] == "sqlite" and found["SEARCH_MODELS"] == ["gemini-2.5-flash"]

    def test_logs_appear(self, moved):
        wait_until(lambda: not rows(moved, "SELECT 1 FROM t_request_log WHERE at IS NULL"), "their rows to be adopted")
        theirs_now = rows(moved, "SELECT * FROM t_request_log WHERE uid IS NULL")
        assert len(theirs_now) == 10
        assert all(abs(row["at"] / 1000 - (time.time() - 7200)) < 120 for row in theirs_now)
        assert all(len(row["key_id"]) == 8 and len(row["api_key"]) < 12 for row in theirs_now)
        wait_until(lambda: not rows(moved, "SELECT 1 FROM t_error_logs WHERE at IS NULL"), "their errors to be adopted")
        (error,) = rows(moved, "SELECT * FROM t_error_logs")
        assert KEYS[0] not in json.dumps(error) and error["key_id"] == theirs_now[0]["key_id"]
        sums = rows(moved, "SELECT SUM(calls) AS calls, SUM(call_failures) AS failures FROM gb_totals WHERE part = 'all' AND period = 3600 "
                           f"AND start < {int(time.time()) - 3700}")
        assert sums == [{"calls": 10, "failures": 2}]
        wait_until(lambda: not rows(moved, "SELECT 1 FROM t_file_records WHERE key_id IS NULL"), "their files to be adopted")
        (file,) = rows(moved, "SELECT * FROM t_file_records")
        assert file["api_key"] == KEYS[0] and file["key_id"] == theirs_now[0]["key_id"]

    def test_they_can_go_back_and_come_again(self, moved):
        """Their statements still work on the file, they find what was changed, and what they write is adopted."""
        admin_put = moved.api.request("PUT", "/api/config", token=ADMIN, json={"MAX_RETRIES": 6, "API_KEYS": [*KEYS]})
        assert admin_put.status == 200
        values = {row["key"]: row["value"] for row in rows(moved, "SELECT `key`, value FROM t_settings")}
        assert str(values["MAX_RETRIES"]) == "6" and json.loads(values["API_KEYS"]) == list(KEYS)
        assert values["GITHUB_REPO_OWNER"] == "snailyp"
        their_rows(moved.db, minute=30)
        wait_until(lambda: not rows(moved, "SELECT 1 FROM t_request_log WHERE at IS NULL"), "rows to be adopted again",
                   timeout=40)
        assert len(rows(moved, "SELECT 1 FROM t_request_log WHERE uid IS NULL")) == 20

    def test_their_list_of_keys_follows_the_pool(self, moved):
        """Keys come and go one by one; what they have written themselves is theirs until then."""
        def theirs_now():
            (row,) = rows(moved, "SELECT value FROM t_settings WHERE `key` = 'API_KEYS'")
            return set(json.loads(row["value"]))

        fresh = "AIzaSyAddedWhileItRuns00000000000000001"
        answer = moved.api.request("POST", "/api/keys", token=ADMIN, json={"text": fresh})
        assert answer.status == 200, answer.text
        wait_until(lambda: theirs_now() == {*KEYS, fresh}, "the list to have the new key", timeout=30, step=0.2)
        gone = hashlib.sha256(KEYS[0].encode()).hexdigest()[:8]
        assert moved.api.request("DELETE", f"/api/keys/{gone}", token=ADMIN).status == 200
        wait_until(lambda: theirs_now() == {*KEYS[1:], fresh}, "the list to forget the deleted key", timeout=30, step=0.2)
        wait_until(lambda: len(moved.api.request("GET", "/api/config", token=ADMIN).json()["API_KEYS"]) == len(KEYS),
                   "the settings to know it, too", timeout=15, step=0.2)
        moved.graceful()
        assert ask(moved, OpenAI).status == 200
        assert theirs_now() == {*KEYS[1:], fresh}


def test_by_a_reload(make_site):
    """Also while a child of the configuration before, which writes to another database, has a stream to end."""
    ours, db = Database("sqlite3"), Database("mysql")
    site = make_site(Conf(api=MOUNT, claims=(r"GB8050: .*CHECK_INTERVAL_HOURS",)))
    ours.of(site).await_tables()
    db.of(site)
    theirs(db.maria, site.sim_url)
    conn = site.api.connect()
    pieces = begin(site, Gemini, "[[chunks=300 interval=100]]", conn=conn).events()
    site.configure(main=db.main, api=MOUNT + f'GBalanceAuthToken "{ADMIN}"')
    site.graceful()
    assert all(ask(site, OpenAI).status == 200 for _ in range(3))
    wait_until(lambda: site.api.request("GET", "/api/config", token=ADMIN).json()["MAX_RETRIES"] == 4, "what is saved to be in force")
    wait_until(lambda: db.value("SELECT COUNT(*) FROM t_request_log") == 13, "rows to be written there", step=0.2)
    assert next(pieces) and ours.value("SELECT COUNT(*) FROM t_request_log") == 0
    conn.close()
    wait_until(lambda: db.value("SELECT COUNT(*) FROM t_request_log") == 14, "the stream's row", step=0.2)


class TestEnvFile:
    ENV = """# as in its documentation
DATABASE_TYPE=sqlite
SQLITE_DATABASE=default_db
API_KEYS=["{0}","{1}"]
ALLOWED_TOKENS=["{2}"]
AUTH_TOKEN={3}
MODEL_SEARCH='["gemini-2.5-pro"]'
MAX_FAILURES=10
MAX_RETRIES=2
TIME_OUT=120 # seconds
SHOW_THINKING_PROCESS=False
THINKING_BUDGET_MAP={{"gemini-2.5-flash": 100}}
BASE_URL={4}
"""

    def test_starts_the_server(self, make_site):
        site = make_site(Conf(keys=(), tokens=(), upstream="x", api=MOUNT), start=False)
        path = os.path.join(site.root, "env")
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.ENV.format(*KEYS[:2], TOKEN, ADMIN, site.sim_url))
        site.conf.main = f"GBalanceEnvFile {path}"
        site.conf.upstream = site.sim_url
        site.start()
        site.api.token = TOKEN
        for _ in range(4):
            assert ask(site, OpenAI).status == 200
        assert {call["key"] for call in site.sim.calls()} == set(KEYS[:2])
        found = site.api.request("GET", "/api/config", token=ADMIN).json()
        assert found["SEARCH_MODELS"] == ["gemini-2.5-pro"] and found["MAX_RETRIES"] == 2
        assert found["TIME_OUT"] == 120 and found["SHOW_THINKING_PROCESS"] is False
        schema = {row["name"]: row for row in site.api.request("GET", "/api/config/schema", token=ADMIN).json()["settings"]}
        assert schema["MAX_RETRIES"]["source"] == "env_file" and schema["MAX_RETRIES"]["where"] == path
        assert os.path.exists(os.path.join(site.state, "default_db"))


def zone_at_night():
    """A zone where it is between three and four o'clock."""
    east = (3 - datetime.datetime.now(datetime.timezone.utc).hour) % 24
    east = east - 24 if east > 12 else east
    return f"Etc/GMT{-east:+d}" if east else "UTC"


class TestRetention:
    MAIN = "GBalanceTimezone {0}\nGBalanceAutoDeleteErrorLogsDays 3\nGBalanceAutoDeleteRequestLogsDays 5\nGBalanceLogMaxRows 40"

    @pytest.mark.parametrize("kind", ["sqlite3", "mysql"])
    def test_at_night(self, make_site, kind):
        db = Database(kind)
        site = make_site(Conf(main=db.main + "\n" + self.MAIN.format(zone_at_night())), start=False)
        site.start()
        db.of(site).await_tables()
        now = int(time.time() * 1000)
        for day in (1, 2, 4, 6, 9):
            at = now - day * 86_400_000
            db.run(f"INSERT INTO t_request_log (uid, at, is_success, pool) VALUES ('r{day}', {at}, 1, 'default')")
            db.run(f"INSERT INTO t_error_logs (uid, at, pool) VALUES ('e{day}', {at}, 'default')")
        # what was done this night is not done again
        db.run("DELETE FROM gb_meta WHERE name LIKE 'retention_day%'")
        wait_until(lambda: {r["uid"] for r in db.rows("SELECT uid FROM t_error_logs")} == {"e1", "e2"}, "old errors to go",
                   timeout=40, step=0.2)
        wait_until(lambda: {r["uid"] for r in db.rows("SELECT uid FROM t_request_log")} == {"r1", "r2", "r4"},
                   "old requests to go", timeout=10, step=0.2)
        wait_until(lambda: db.rows("SELECT value FROM gb_meta WHERE name = 'retention_day:default'"), "the night to be noted", step=0.2)

    def test_by_day_only_the_number_counts(self, make_site):
        db = Database("sqlite3")
        east = (12 - datetime.datetime.now(datetime.timezone.utc).hour) % 24
        east = east - 24 if east > 12 else east
        noon = f"Etc/GMT{-east:+d}" if east else "UTC"
        site = make_site(Conf(main=self.MAIN.format(noon)))
        db.of(site).await_tables()
        old = int(time.time() * 1000) - 9 * 86_400_000
        for n in range(100):
            db.run(f"INSERT INTO t_request_log (uid, at, is_success, pool) VALUES ('r{n}', {old}, 1, 'default')")
        wait_until(lambda: db.value("SELECT COUNT(*) FROM t_request_log") == 40, "the oldest rows to go", timeout=40, step=0.2)
        assert db.value("SELECT COUNT(*) FROM t_request_log WHERE uid = 'r99'") == 1

    def test_goes_on_beside_a_row_that_is_refused(self, make_site):
        """The upkeep's other steps do their work while one of them cannot."""
        db = Database("sqlite3")
        site = make_site(Conf(main=self.MAIN.format("UTC"), claims=("GB8048",)))
        db.of(site).await_tables()
        db.run("CREATE TRIGGER no BEFORE UPDATE ON t_request_log BEGIN SELECT RAISE(ABORT, 'not this one'); END")
        now = int(time.time() * 1000)
        for n in range(60):
            db.run(f"INSERT INTO t_request_log (uid, at, is_success, pool) VALUES ('r{n}', {now}, 1, 'default')")
        db.run("INSERT INTO t_request_log (request_time, is_success) VALUES ('2026-11-20 14:31:42', 1)")
        wait_until(lambda: db.value("SELECT COUNT(*) FROM t_request_log") == 40, "the oldest rows to go", timeout=40, step=0.2)
        assert site.log.matching("GB8048: .*not this one")
