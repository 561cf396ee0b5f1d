# SPDX-License-Identifier: Apache-2.0
"""Settings while httpd runs: looked at, changed as a whole, in force everywhere at
once, with their history and the way back; on SQLite and MariaDB.
"""
import concurrent.futures
import json
import os
import re
import signal
import time

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from load import Case, Load
from store import Database, MariaServer
from tools import soak, wait_until
from wire import Gemini, OpenAI, ask

ADMIN = "admin-token-0123456789abcdef"
MOUNT = f'Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\nGBalanceAuthToken "{ADMIN}"\n'


def admin(site, method, path="", json=None, status=200, **kwargs):
    answer = site.api.request(method, "/api/config" + path, token=ADMIN, json=json, **kwargs)
    assert answer.status == status, answer.text
    assert answer.headers.get("Content-Type") == "application/json"
    return answer.json()


def put(site, **values):
    return admin(site, "PUT", json=values)


def schema(site):
    return {row["name"]: row for row in admin(site, "GET", "/schema")["settings"]}


@pytest.fixture(scope="class", params=["sqlite3", "mysql"])
def site(request, make_site):
    db = Database(request.param)
    conf = Conf(main=db.main + "\n" + getattr(request.cls, "MAIN", ""), api=MOUNT + getattr(request.cls, "API", ""),
                keys=KEYS[:1], claims=getattr(request.cls, "CLAIMS", ()))
    server = make_site(conf)
    server.db = db.of(server)
    server.db.await_tables()
    request.node.gbalance_server = server
    return server


class TestLooking:
    def test_all_settings_under_their_names(self, site):
        found = admin(site, "GET")
        assert found["MAX_RETRIES"] == 3 and found["SHOW_SEARCH_LINK"] is True
        assert found["SEARCH_MODELS"] == ["gemini-2.5-flash", "gemini-2.5-pro"]
        assert found["TIME_OUT"] == 300 and found["THINKING_BUDGET_MAP"] == {}
        assert found["SAFETY_SETTINGS"][0]["category"].startswith("HARM")
        assert len(found) > 95

    def test_secrets_are_masked(self, site):
        text = json.dumps(admin(site, "GET")) + json.dumps(admin(site, "GET", "/schema"))
        for secret in (*KEYS, TOKEN, ADMIN):
            assert secret not in text
        assert admin(site, "GET")["API_KEYS"][0].endswith("0001")

    def test_schema(self, site):
        rows = schema(site)
        assert rows["MAX_RETRIES"] == {
            "name": "MAX_RETRIES", "directive": "GBalanceMaxRetries", "type": "integer", "scope": "pool",
            "group": "Pool and retries", "help": rows["MAX_RETRIES"]["help"], "default": 3, "min": 1, "max": 20,
            "secret": False, "source": "default", "where": "", "writable": True}
        assert rows["KEY_POLICY"]["choices"] == ["round_robin", "least_used", "headroom", "sticky"]
        assert rows["BASE_URL"]["source"] == "vhost"
        assert re.search(r"/httpd\.conf:\d+$", rows["BASE_URL"]["where"]) and rows["BASE_URL"]["writable"]
        assert not rows["SQLITE_DATABASE"]["writable"]
        assert not rows["ALLOWED_TOKENS"]["writable"] and rows["ALLOWED_TOKENS"]["secret"]

    @pytest.mark.parametrize("token", [None, TOKEN, "wrong"])
    def test_nobody_else_gets_in(self, site, token):
        for method, path in (("GET", ""), ("PUT", ""), ("GET", "/schema"), ("POST", "/reset"), ("POST", "/reveal"),
                             ("GET", "/history"), ("POST", "/restore")):
            answer = site.api.request(method, "/api/config" + path, token=token, anonymous=token is None,
                                      json={} if method != "GET" else None)
            assert answer.status == 401 and "AUTH_TOKEN" in answer.json()["error"]["message"]

    def test_wrong_ways(self, site):
        assert admin(site, "GET", "/nothing", status=404)
        answer = site.api.request("DELETE", "/api/config", token=ADMIN)
        assert answer.status == 405 and answer.headers.get("Allow") == "GET, HEAD, PUT"
        assert site.api.request("GET", "/api/config/reset", token=ADMIN).status == 405

    def test_other_sites_pages_may_not(self, site):
        answer = site.api.request("GET", "/api/config", token=ADMIN, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers
        answer = site.api.request("OPTIONS", "/api/config", headers={
            "Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"})
        assert answer.status >= 400


class TestNoToken:
    def test_nobody_is_administrator(self, make_site):
        site = make_site(Conf(api=f"Include {tools.SRCDIR}/conf.d/gbalance-admin.conf"))
        assert admin(site, "GET", status=503)["error"]["message"].startswith("This server has no token")
        assert site.api.request("GET", "/api/config", token="").status == 503


class TestSaving:
    CLAIMS = ()

    def test_in_force_at_once_in_every_child(self, site):
        site.sim.reset()
        site.sim.fault("internal")
        for retries in (1, 4, 2):
            assert put(site, MAX_RETRIES=retries)["MAX_RETRIES"] == retries
            for _ in range(3):
                before = len(site.sim.calls())
                assert ask(site, OpenAI).status >= 500
                assert len(site.sim.calls()) - before == retries
        site.sim.reset()
        assert schema(site)["MAX_RETRIES"]["source"] == "saved"
        assert put(site, MAX_RETRIES=None)["MAX_RETRIES"] == 3
        assert schema(site)["MAX_RETRIES"]["source"] == "default"

    def test_what_a_key_is_checked_with(self, site):
        """Also where nobody asks for a request's settings."""
        put(site, TEST_MODEL="gemini-2.5-pro")
        site.sim.reset()
        [key] = site.api.request("GET", "/api/keys", token=ADMIN).json()["keys"]
        assert site.api.request("POST", f"/gemini/v1beta/verify-key/{key['id']}", token=ADMIN).json() == {"status": "valid"}
        assert {call["model"] for call in site.sim.calls(own=True)} == {"gemini-2.5-pro"}
        put(site, TEST_MODEL=None)

    def test_what_stands_in_the_database(self, site):
        put(site, TEST_MODEL="gemini-x", SEARCH_MODELS=["a", "b"], SHOW_SEARCH_LINK=False, TIME_OUT=60)
        rows = {row["key"]: row["value"] for row in site.db.rows("SELECT `key`, value FROM t_settings")}
        assert rows["TEST_MODEL"] == "gemini-x" and json.loads(rows["SEARCH_MODELS"]) == ["a", "b"]
        assert rows["SHOW_SEARCH_LINK"] == "false" and str(rows["TIME_OUT"]) == "60"
        assert admin(site, "POST", "/reset")["TEST_MODEL"] == "gemini-2.5-flash-lite"
        assert not site.db.rows("SELECT 1 FROM t_settings WHERE `key` = 'TEST_MODEL'")

    def test_bad_values_change_nothing(self, site):
        before = admin(site, "GET")
        answer = admin(site, "PUT", status=400, json={
            "MAX_FAILURES": 9, "MAX_RETRIES": 99, "TIME_OUT": "soon", "KEY_POLICY": "any", "NO_SUCH": 1,
            "SHOW_SEARCH_LINK": [], "SEARCH_MODELS": 3, "BASE_URL": "ftp://x", "SQLITE_DATABASE": "x",
            "ALLOWED_TOKENS": ["x"], "SAFETY_SETTINGS": "{", "CUSTOM_HEADERS": {"a b": "c"}, "TEST_MODEL": "cut\0short"})
        named = {fault["name"]: fault["message"] for fault in answer["errors"]}
        assert set(named) == {"MAX_RETRIES", "TIME_OUT", "KEY_POLICY", "NO_SUCH", "SHOW_SEARCH_LINK", "SEARCH_MODELS",
                              "BASE_URL", "SQLITE_DATABASE", "ALLOWED_TOKENS", "SAFETY_SETTINGS", "CUSTOM_HEADERS", "TEST_MODEL"}
        assert "1 to 20" in named["MAX_RETRIES"] and "array" in named["SEARCH_MODELS"]
        assert "httpd.conf:" in named["ALLOWED_TOKENS"] and "GBalanceSqliteDatabase" in named["SQLITE_DATABASE"]
        assert admin(site, "GET") == before

    @pytest.mark.parametrize("body", [b"{", b"[]", b"", b"3", b'{"MAX_RETRIES": 1', b"\xff\xfe"])
    def test_broken_bodies(self, site, body):
        answer = site.api.request("PUT", "/api/config", token=ADMIN, body=body, headers={"Content-Type": "application/json"})
        assert answer.status == 400 and "JSON" in answer.json()["error"]["message"]

    def test_masks_that_come_back_are_no_change(self, site):
        everything = admin(site, "GET")
        changes = site.db.value("SELECT COUNT(*) FROM gb_history")
        writable = {name: value for name, value in everything.items() if schema(site)[name]["writable"]}
        assert put(site, **writable) == everything
        assert site.db.value("SELECT COUNT(*) FROM gb_history") == changes

    def test_a_mask_stands_for_its_secret(self, site):
        put(site, PROXIES=["http://user:word-one@127.0.0.1:1", "http://b:word-two@127.0.0.1:2"],
            CUSTOM_HEADERS={"X-Secret-Word": "word-three", "X-Plain": "x"}, SMMS_SECRET_TOKEN="word-four-0123456789")
        shown = admin(site, "GET")
        assert "word-" not in json.dumps(shown)
        put(site, PROXIES=shown["PROXIES"][1:] + ["http://c@127.0.0.1:3"], SMMS_SECRET_TOKEN=shown["SMMS_SECRET_TOKEN"],
            CUSTOM_HEADERS={**shown["CUSTOM_HEADERS"], "X-More": "y"})
        clear = admin(site, "POST", "/reveal", json={"names": ["PROXIES", "CUSTOM_HEADERS", "SMMS_SECRET_TOKEN"]})
        assert clear["PROXIES"] == ["http://b:word-two@127.0.0.1:2", "http://c@127.0.0.1:3"]
        assert clear["CUSTOM_HEADERS"] == {"X-Secret-Word": "word-three", "X-Plain": "x", "X-More": "y"}
        assert clear["SMMS_SECRET_TOKEN"] == "word-four-0123456789"
        assert site.log.matching("GB8061: settings: shown in clear to token .* PROXIES, CUSTOM_HEADERS")
        assert "word-" not in site.log.text()
        admin(site, "POST", "/reset")

    @pytest.mark.parametrize("form", ["env", "json"])
    def test_out_as_a_file_and_in_again(self, site, form):
        admin(site, "POST", "/reset")
        put(site, MAX_RETRIES=5, MODEL_ALIASES={"it's": "gemini-x"}, SEARCH_MODELS=["a", "b"],
            PICGO_API_KEY="transfer-word-0123456789")
        answer = site.api.request("GET", f"/api/config/export?format={form}", token=ADMIN)
        assert answer.status == 200 and "attachment" in answer.headers.get("Content-Disposition")
        assert "transfer-word" not in answer.text and KEYS[0] not in answer.text
        start = site.log.position()
        full = site.api.request("POST", f"/api/config/export?format={form}", token=ADMIN, json={"secrets": True})
        assert "transfer-word" in full.text and KEYS[0] in full.text
        assert site.log.matching("GB8061: .*API_KEYS", start)
        admin(site, "POST", "/reset")
        found = admin(site, "POST", "/import", json={"text": full.text + ("\nOTHER_PROGRAM=1\n" if form == "env" else "")})
        assert found["values"] == {"MAX_RETRIES": 5, "MODEL_ALIASES": {"it's": "gemini-x"}, "SEARCH_MODELS": ["a", "b"],
                                   "PICGO_API_KEY": "transfer-word-0123456789"}
        assert found["unknown"] == (["OTHER_PROGRAM"] if form == "env" else []) and not found["errors"]
        assert admin(site, "GET")["MAX_RETRIES"] == 3, "nothing is saved by looking at it"

    def test_what_cannot_come_in(self, site):
        found = admin(site, "POST", "/import", json={"text": "MAX_RETRIES=99\nTIME_OUT=7\nALLOWED_TOKENS=x\n"})
        assert found["values"] == {"TIME_OUT": 7}
        assert [fault["name"] for fault in found["errors"]] == ["MAX_RETRIES", "ALLOWED_TOKENS"]
        for text, word in (("A=1\nnothing", "line 2"), ('{"A"', "JSON"), (None, "text")):
            assert word in admin(site, "POST", "/import", json={"text": text}, status=400)["error"]["message"]

    def test_by_whom_and_when(self, site):
        put(site, MAX_RETRIES=6)
        row = schema(site)["MAX_RETRIES"]
        assert row["source"] == "saved" and row["who"].startswith("token ") and abs(row["at"] / 1000 - time.time()) < 60
        assert "who" not in schema(site)["TIME_OUT_CONNECT"]
        put(site, MAX_RETRIES=None)
        assert "who" not in schema(site)["MAX_RETRIES"]

    def test_history_and_the_way_back(self, site):
        admin(site, "POST", "/reset")
        put(site, MAX_RETRIES=5, TIME_OUT=70)
        put(site, MAX_RETRIES=6)
        put(site, SMMS_SECRET_TOKEN="history-word-0123456789")
        changes = admin(site, "GET", "/history")["changes"]
        assert [c["action"] for c in changes[:3]] == ["save"] * 3
        assert changes[1]["values"] == [{"name": "MAX_RETRIES", "scope": "pool", "before": 5, "after": 6}]
        assert changes[1]["who"].startswith("token ") and "127.0.0.1" in changes[1]["who"]
        assert abs(changes[1]["at"] / 1000 - time.time()) < 60
        assert "history-word" not in json.dumps(changes)
        now = admin(site, "POST", "/restore", json={"change": changes[1]["id"]})
        assert now["MAX_RETRIES"] == 5 and now["TIME_OUT"] == 70 and now["SMMS_SECRET_TOKEN"] == ""
        now = admin(site, "POST", "/restore", json={"change": changes[2]["id"]})
        assert now["MAX_RETRIES"] == 3 and now["TIME_OUT"] == 300
        assert admin(site, "GET", "/history")["changes"][0]["action"] == "restore"
        assert admin(site, "POST", "/restore", json={"change": 999999}, status=404)
        assert admin(site, "POST", "/restore", json={}, status=400)

    def test_after_a_restart(self, site):
        put(site, MAX_RETRIES=7)
        site.graceful()
        assert admin(site, "GET")["MAX_RETRIES"] == 7
        assert site.stop()
        site.start()
        wait_until(lambda: admin(site, "GET")["MAX_RETRIES"] == 7, "the saved value to be in force", timeout=5)
        put(site, MAX_RETRIES=None)

    def test_log_level(self, site):
        start = site.log.position()
        put(site, LOG_LEVEL="ERROR")
        site.sim.fault("invalid_argument", count=2)
        ask(site, OpenAI)
        assert not site.log.matching("GB5002", start)
        put(site, LOG_LEVEL="INFO")
        ask(site, OpenAI)
        wait_until(lambda: site.log.matching("GB5002", start), "the line to be there again")
        put(site, LOG_LEVEL=None)

    def test_keys(self, site):
        """Keys that are saved serve at once; keys that are taken out serve no more."""
        site.sim.reset()
        keys = admin(site, "GET")["API_KEYS"]
        put(site, API_KEYS=[*keys, *KEYS[1:]])
        for _ in range(9):
            assert ask(site, Gemini).status == 200
        assert {call["key"] for call in site.sim.calls()} == set(KEYS)
        put(site, API_KEYS=[admin(site, "GET")["API_KEYS"][2]])
        site.sim.reset()
        for _ in range(6):
            assert ask(site, Gemini).status == 200
        assert {call["key"] for call in site.sim.calls()} == {KEYS[2]}

    def test_history_in_pages(self, site):
        """A page has whole changes: what it has no room for begins the next one."""
        numbers = [row for row in schema(site).values() if row["type"] == "integer" and row["writable"] and "min" in row]
        sent = len(numbers)
        for value in [0, 1] * (250 // sent):
            put(site, **{row["name"]: row["min"] + value for row in numbers})
        pages, before = [], ""
        while not pages or pages[-1]["more"]:
            pages.append(admin(site, "GET", f"/history{before}"))
            before = f"?before={pages[-1]['changes'][-1]['id']}"
        found = [len(change["values"]) for page in pages for change in page["changes"]]
        rows = site.db.rows("SELECT COUNT(*) AS n FROM gb_history GROUP BY change_id ORDER BY change_id DESC")
        assert len(pages) > 1 and found == [row["n"] for row in rows]
        put(site, **{row["name"]: None for row in numbers})


class TestManySaves:
    def test_no_request_sees_an_old_or_mixed_state(self, site):
        """Under load, 1,000 times: the next request after a save, on whatever child, sees it; and no request sees
        values of two saves.  (Fewer on the other database: what is saved is in force by the same way.)"""
        saves = 1000 if site.db.maria is None else soak(150, 1000)
        load = Load(site.port, [Case("POST", OpenAI.path(False), OpenAI.body("hi"))], token=site.api.token,
                    connections=10, rate=100, duration=saves // 50 + 3, timeout=20)
        watching = True

        def watch():
            seen = 0
            while watching:
                found = admin(site, "GET")
                assert found["MAX_FAILURES"] == 3 or found["MAX_FAILURES"] == found["COOL_FIRST"] == found["COOL_MAX"] - 1
                seen += 1
            return seen

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            watchers = [pool.submit(watch)]
            try:
                for n in range(1, saves + 1):
                    put(site, MAX_FAILURES=n % 900 + 4, COOL_FIRST=n % 900 + 4, COOL_MAX=n % 900 + 5)
                    for _ in range(2):
                        assert admin(site, "GET")["MAX_FAILURES"] == n % 900 + 4
            finally:
                watching = False
            assert all(w.result() > 20 for w in watchers)
        report = load.wait()
        assert set(report.statuses) == {"200"} and report.failed == 0

    def test_with_children_that_are_killed(self, site):
        site.log.claim("AH00052", "AH00051")
        for n in range(5, 15):
            put(site, MAX_FAILURES=n)
            os.kill(site.children()[0], signal.SIGKILL)
            wait_until(lambda: self.answers(site), "the server to answer")
            assert admin(site, "GET")["MAX_FAILURES"] == n

    @staticmethod
    def answers(site):
        try:
            return site.plain.get("/").status == 200
        except OSError:
            return False


class TestScopes:
    """DESIGN section 3's table: who wins, and what never crosses VirtualHosts."""
    OTHER = """<VirtualHost 127.0.0.1:{port}>
ServerName other.localhost
GBalance On
GBalancePool other
GBalanceBaseUrl {sim}
GBalanceApiKeys key-of-other
GBalanceAuthToken admin-of-other-0123456789
Include {src}/conf.d/gbalance-api.conf
Include {src}/conf.d/gbalance-admin.conf
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
ServerName third.localhost
GBalance On
GBalanceAuthToken admin-of-third-0123456789
Include {src}/conf.d/gbalance-api.conf
Include {src}/conf.d/gbalance-admin.conf
</VirtualHost>"""

    @pytest.fixture(scope="class", params=["sqlite3", "mysql"])
    @classmethod
    def sites(cls, request, make_site):
        db = Database(request.param)
        site = make_site(Conf(main=db.main + "\nGBalanceMaxFailures 11\nGBalanceCoolFirst 11\nGBalanceAdminSessionExpire 1111",
                              api=MOUNT + "GBalanceCoolFirst 22", tokens=(),
                              environment={"MAX_RETRIES": "7", "COOL_MAX": "77", "MAX_FAILURES": "7",
                                           "ADMIN_SESSION_EXPIRE": "777", "CORS_ALLOW_ORIGINS": "https://env.example"}), start=False)
        site.conf.main += "\n" + cls.OTHER.format(port=site.port, sim=site.sim_url, src=tools.SRCDIR)
        site.start()
        db.of(site).await_tables()
        return site

    @staticmethod
    def of(site, name, method, path="", json=None, status=200):
        token = {"localhost": ADMIN, "other": "admin-of-other-0123456789", "third": "admin-of-third-0123456789"}[name]
        host = "localhost" if name == "localhost" else f"{name}.localhost"
        answer = site.api.request(method, "/api/config" + path, token=token, json=json,
                                  headers={"Host": f"{host}:{site.port}"})
        assert answer.status == status, answer.text
        return answer.json()

    def test_before_anything_is_saved(self, sites):
        first, other, third = (self.of(sites, name, "GET") for name in ("localhost", "other", "third"))
        assert first["TIME_OUT"] == other["TIME_OUT"] == 300                    # default
        assert first["MAX_RETRIES"] == other["MAX_RETRIES"] == 7                # environment
        assert first["MAX_FAILURES"] == other["MAX_FAILURES"] == 11             # directive in the main server
        assert first["COOL_FIRST"] == 22 and other["COOL_FIRST"] == 11          # directive in the VirtualHost
        assert third["COOL_FIRST"] == 22                                        # which defines the pool
        assert first["ADMIN_SESSION_EXPIRE"] == 777                             # never from the main server
        rows = {row["name"]: row for row in self.of(sites, "localhost", "GET", "/schema")["settings"]}
        assert [rows[n]["source"] for n in ("TIME_OUT", "MAX_RETRIES", "MAX_FAILURES", "COOL_FIRST", "AUTH_TOKEN")] == [
            "default", "environment", "directive", "vhost", "vhost"]

    def test_saved_for_a_pool(self, sites):
        self.of(sites, "localhost", "PUT", json={"MAX_RETRIES": 4, "MAX_FAILURES": 44, "COOL_FIRST": 45})
        first, other, third = (self.of(sites, name, "GET") for name in ("localhost", "other", "third"))
        assert (first["MAX_RETRIES"], first["MAX_FAILURES"], first["COOL_FIRST"]) == (4, 44, 45)
        assert (third["MAX_RETRIES"], third["MAX_FAILURES"], third["COOL_FIRST"]) == (4, 44, 45)    # the same pool
        assert (other["MAX_RETRIES"], other["MAX_FAILURES"], other["COOL_FIRST"]) == (7, 11, 11)
        self.of(sites, "other", "PUT", json={"MAX_RETRIES": 5})
        assert self.of(sites, "other", "GET")["MAX_RETRIES"] == 5
        assert self.of(sites, "localhost", "GET")["MAX_RETRIES"] == 4
        self.of(sites, "third", "POST", "/reset")
        assert self.of(sites, "localhost", "GET")["MAX_RETRIES"] == 7
        assert self.of(sites, "other", "GET")["MAX_RETRIES"] == 5

    def test_saved_for_a_virtual_host(self, sites):
        self.of(sites, "localhost", "PUT", json={"ALLOWED_TOKENS": ["sk-of-first-0123456789"], "CORS_ALLOW_ORIGINS": ["https://a.example"]})
        self.of(sites, "third", "PUT", json={"ALLOWED_TOKENS": ["sk-of-third-0123456789"]})
        for name, token in (("localhost", "sk-of-first-0123456789"), ("third.localhost", "sk-of-third-0123456789")):
            for host in ("localhost", "third.localhost", "other.localhost"):
                answer = sites.api.request("GET", "/v1/models", token=token, headers={"Host": f"{host}:{sites.port}"})
                assert answer.status == (200 if host == name else 401), (host, token)
        assert self.of(sites, "localhost", "GET")["CORS_ALLOW_ORIGINS"] == ["https://a.example"]
        assert self.of(sites, "third", "GET")["CORS_ALLOW_ORIGINS"] == ["https://env.example"]
        fault = self.of(sites, "third", "PUT", json={"AUTH_TOKEN": "x" * 20}, status=400)["errors"][0]
        assert fault["name"] == "AUTH_TOKEN" and "httpd.conf:" in fault["message"]

    def test_a_directive_wins_over_what_was_saved_for_its_virtual_host(self, sites):
        sites.conf.api += '\nGBalanceAllowedTokens sk-directive-0123456789'
        sites.configure()
        sites.graceful()
        ask_with = lambda token: sites.api.request("GET", "/v1/models", token=token).status
        assert ask_with("sk-directive-0123456789") == 200 and ask_with("sk-of-first-0123456789") == 401


# Name, where it is the strongest, its value; on other.localhost where that differs.  A value stands in every
# place that is weaker, too: each cell shows who wins, and over whom.
CELLS = [
    # scope server
    ("MYSQL_PORT", "default", 3306, 3306),
    ("MYSQL_HOST", "env_file", "of-env-file", "of-env-file"),
    ("MYSQL_USER", "environment", "of-environment", "of-environment"),
    ("SPOOL_MAX_MB", "directive", 33, 33),
    # scope pool: other.localhost has a pool of its own
    ("TIME_OUT", "default", 300, 300),
    ("COOL_MAX", "env_file", 101, 101),
    ("GUARD_WINDOW", "environment", 202, 202),
    ("MAX_FAILURES", "directive", 303, 303),
    ("COOL_FIRST", "vhost", 404, 303),
    ("BREAKER_MAX", "saved", 505, 303),
    # scope vhost: neither the main server's directives nor what others have
    ("ALLOWED_TOKENS", "default", [], []),
    ("CORS_ALLOW_ORIGINS", "env_file", ["https://env-file.example"], ["https://env-file.example"]),
    ("ADMIN_SESSION_EXPIRE", "saved", 5005, 2020),
    ("AUTH_TOKEN", "vhost", "masked", "masked"),
]


class TestCells:
    """One test for each cell of DESIGN section 3's table."""
    ENV_FILE = ("MYSQL_HOST=of-env-file\nMYSQL_USER=weak\nSPOOL_MAX_MB=11\nCOOL_MAX=101\nGUARD_WINDOW=1\nMAX_FAILURES=101\n"
                "COOL_FIRST=101\nBREAKER_MAX=101\nCORS_ALLOW_ORIGINS=https://env-file.example\nADMIN_SESSION_EXPIRE=1010\n"
                "AUTH_TOKEN=token-of-the-env-file-0123456789\n")
    ENVIRONMENT = {"MYSQL_USER": "of-environment", "SPOOL_MAX_MB": "22", "GUARD_WINDOW": "202", "MAX_FAILURES": "202",
                   "COOL_FIRST": "202", "BREAKER_MAX": "202", "ADMIN_SESSION_EXPIRE": "2020",
                   "AUTH_TOKEN": "token-of-the-environment-0123456789"}
    MAIN = ("GBalanceSpoolMaxMb 33\nGBalanceMaxFailures 303\nGBalanceCoolFirst 303\nGBalanceBreakerMax 303\n"
            "GBalanceAdminSessionExpire 3030\nGBalanceAllowedTokens token-of-the-main-server-0123456789\n"
            "GBalanceCorsAllowOrigins https://main.example\n")

    @pytest.fixture(scope="class")
    @classmethod
    def sites(cls, make_site):
        site = make_site(Conf(api=MOUNT + "GBalanceCoolFirst 404\nGBalanceBreakerMax 404", tokens=(),
                              environment=cls.ENVIRONMENT), start=False)
        with open(os.path.join(site.root, "env"), "w", encoding="utf-8") as f:
            f.write(cls.ENV_FILE)
        site.conf.main = f"GBalanceEnvFile {site.root}/env\n" + cls.MAIN + TestScopes.OTHER.format(
            port=site.port, sim=site.sim_url, src=tools.SRCDIR)
        site.start()
        TestScopes.of(site, "localhost", "PUT", json={"BREAKER_MAX": 505, "ADMIN_SESSION_EXPIRE": 5005})
        return site

    @pytest.mark.parametrize("name, source, value, elsewhere", CELLS, ids=[f"{c[0]}-{c[1]}" for c in CELLS])
    def test_cell(self, sites, name, source, value, elsewhere):
        row = {r["name"]: r for r in TestScopes.of(sites, "localhost", "GET", "/schema")["settings"]}[name]
        assert row["source"] == source
        first, other = (TestScopes.of(sites, vhost, "GET")[name] for vhost in ("localhost", "other"))
        if value == "masked":
            assert first != other, "each has its own"
        else:
            assert (first, other) == (value, elsewhere)


class TestDatabaseAway:
    def test_nothing_is_saved_and_said_so(self, make_site):
        server = MariaServer.get()
        db = Database("mysql")
        site = make_site(Conf(main=db.main, api=MOUNT, claims=(r"GB8031: .*gbalance goes on",)))
        db.of(site).await_tables()
        put(site, MAX_RETRIES=5)
        server.kill()
        try:
            answer = admin(site, "PUT", json={"MAX_RETRIES": 6}, status=503)
            assert "Nothing was changed" in answer["error"]["message"]
            assert admin(site, "GET")["MAX_RETRIES"] == 5
            assert site.stop()
            site.start()
            assert admin(site, "GET")["MAX_RETRIES"] == 5, "the copy in the state directory"
        finally:
            server.start()
        wait_until(lambda: site.api.request("PUT", "/api/config", token=ADMIN, json={"MAX_RETRIES": 6}).status == 200,
                   "the database to be taken again", timeout=15)
        assert admin(site, "GET")["MAX_RETRIES"] == 6

    def test_hanging(self, make_site):
        server = MariaServer.get()
        db = Database("mysql")
        site = make_site(Conf(main=db.main, api=MOUNT))
        db.of(site).await_tables()
        server.hang()
        try:
            answer = admin(site, "PUT", json={"MAX_RETRIES": 6}, status=503)
            assert "5 seconds" in answer["error"]["message"]
            assert ask(site, OpenAI).status == 200
        finally:
            server.go_on()
        site.log.claim(r"GB8031: .*gbalance goes on")
