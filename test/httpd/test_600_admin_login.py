# SPDX-License-Identifier: Apache-2.0
"""Who gets into the administration: sessions, CSRF, throttling, headers of the pages."""
import re
import shutil
import subprocess
import urllib.parse

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from store import Database
from tools import wait_until

ADMIN = "admin-token-0123456789abcdef"
MOUNT = f"Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\n"
API = MOUNT + f'GBalanceAuthToken "{ADMIN}"\n'

PAGES = ["/keys_status", "/keys", "/keys/add", "/config", "/logs", "/usage", "/playground", "/sessions"]
APIS = [("GET", "/api/config"), ("PUT", "/api/config"), ("GET", "/api/config/history"), ("GET", "/api/keys"),
        ("POST", "/api/keys"), ("GET", "/api/keys/all"), ("POST", "/api/keys/delete"), ("GET", "/api/store"),
        ("GET", "/api/logs/errors"), ("DELETE", "/api/logs/errors/all"), ("GET", "/api/stats/details"),
        ("POST", "/api/scheduler/stop"), ("GET", "/api/version/check"), ("POST", "/api/config/proxy/check"),
        ("POST", "/api/playground/token"), ("GET", "/api/usage.csv"), ("GET", "/events"), ("POST", "/logout"),
        ("POST", "/sessions/revoke"), ("POST", "/keys/do"), ("POST", "/config"), ("POST", "/logs")]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Browser:
    """Keeps cookies and sends forms, as a browser without JavaScript does."""

    def __init__(self, site, prefix="", address=None):
        self.client, self.prefix, self.cookies = site.api, prefix, {}
        self.extra = {"X-Forwarded-For": address} if address else {}

    def ask(self, method, path, form=None, headers=None, **kwargs):
        headers = {**self.extra, **(headers or {})}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        if form is not None:
            headers |= FORM
            kwargs["body"] = urllib.parse.urlencode(form).encode()
        answer = self.client.request(method, self.prefix + path, anonymous=True, headers=headers, **kwargs)
        answer.read()
        for line in answer.headers.all("Set-Cookie"):
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    def get(self, path, **kwargs):
        return self.ask("GET", path, **kwargs)

    def post(self, path, form=None, **kwargs):
        return self.ask("POST", path, form=form if form is not None else {}, **kwargs)

    def login(self, token=ADMIN, **form):
        return self.post("/auth", {"token": token, **form})

    @property
    def csrf(self):
        return re.search(r'name="gb-csrf" content="([0-9a-f]*)"', self.get("/sessions").text)[1]


def session_cookie(answer):
    found = [c for c in answer.headers.all("Set-Cookie") if c.startswith("gb_session_")]
    return found[0] if found else None


class TestLogin:
    CONF = Conf(api=API)

    def test_the_login_is_at_the_root_and_at_auth(self, site):
        for path in ("/", "/auth"):
            page = Browser(site).get(path)
            assert page.status == 200 and 'name="token"' in page.text, path

    def test_the_right_token_gives_a_session(self, site):
        browser = Browser(site)
        answer = browser.login()
        assert answer.status == 303 and answer.headers.get("Location") == "./keys_status"
        cookie = session_cookie(answer)
        assert re.search(r"=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict$", cookie), cookie
        assert browser.get("/sessions").status == 200
        assert browser.get("/").status == 303  # nothing to sign in for

    def test_gemini_balances_form_works(self, site):
        assert Browser(site).post("/auth", {"auth_token": ADMIN}).status == 303

    def test_json_login(self, site):
        browser = Browser(site)
        assert browser.ask("POST", "/auth?format=json", json={"token": ADMIN}).json() == {"success": True}
        assert browser.get("/sessions?format=json").json()["sessions"][0]["is_mine"]

    @pytest.mark.parametrize("path", PAGES)
    def test_without_login_pages_redirect(self, site, path):
        answer = Browser(site).get(path + "?x=1")
        assert answer.status == 303
        base = "../" if path.count("/") > 1 else "./"
        assert urllib.parse.unquote(answer.headers.get("Location")) == f"{base}auth?next={path[1:]}?x=1"
        assert session_cookie(answer) is None and "<html" not in answer.text

    @pytest.mark.parametrize("method,path", APIS)
    def test_without_login_endpoints_answer_401(self, site, method, path):
        answer = Browser(site).ask(method, path, **({} if method == "GET" else {"json": {}}))
        assert answer.status == 401, answer.text
        if path.startswith("/api/"):
            assert answer.json()["error"]["message"]

    def test_pieces_and_trees_of_pages_want_a_login_too(self, site):
        for query in ("?part=main", "?format=json"):
            assert Browser(site).get("/keys_status" + query).status == 401

    @pytest.mark.parametrize("given,where", [
        ("logs?type=quota", "./logs?type=quota"), ("keys/add", "./keys/add"), ("https://evil.example/", "./keys_status"),
        ("//evil.example", "./keys_status"), ("/logs", "./keys_status"), ("javascript:alert(1)", "./keys_status"),
        ("../../etc", "./keys_status"), ("api/config", "./keys_status"), ("logs\\evil", "./keys_status")])
    def test_a_login_leads_to_our_own_pages_only(self, site, given, where):
        assert Browser(site).login(next=given).headers.get("Location") == where

    def test_wrong_tokens(self, site):
        for token in ("", "wrong-token", ADMIN + "x", TOKEN):
            answer = Browser(site).login(token)
            assert answer.status in (401, 429) and session_cookie(answer) is None

    def test_headers_of_a_page(self, site):
        browser = Browser(site)
        for page in (browser.get("/"), browser.login(), browser.get("/sessions")):
            policy = page.headers.get("Content-Security-Policy")
            assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert page.headers.get("X-Content-Type-Options") == "nosniff"
            assert page.headers.get("Cache-Control") == "no-store"
            assert page.headers.get("Referrer-Policy")
            assert page.headers.get("Access-Control-Allow-Origin") is None

    def test_pages_have_no_inline_script_or_style(self, site):
        browser = Browser(site)
        browser.login()
        for path in PAGES:
            html = browser.get(path).text
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", html), path
            assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html), path

    def test_language_and_theme_without_javascript(self, site):
        browser = Browser(site)
        assert browser.get("/prefs?lang=zh-TW&theme=dark&to=").status == 303
        assert '<html lang="zh-TW" data-theme="dark">' in browser.get("/").text
        german = Browser(site).get("/", headers={"Accept-Language": "de, zh-Hans;q=0.9, en;q=0.8"}).text
        assert '<html lang="zh-CN">' in german

    def test_assets_are_there_and_templates_are_not(self, site):
        for name, kind in [("app.js", "text/javascript"), ("gbalance.css", "text/css"), ("icons.svg", "image/svg+xml"),
                           ("i18n/zh-CN.json", "application/json"), ("openapi.json", "application/json"),
                           ("manifest.webmanifest", "application/manifest+json")]:
            answer = site.api.request("GET", "/gbalance/" + name, anonymous=True)
            assert answer.status == 200 and answer.headers.get("Content-Type").startswith(kind), name
        assert site.api.request("GET", "/gbalance/templates/login.html", anonymous=True).status == 403
        site.log.claim("AH01630")


class TestChanges:
    """What a page of another site, or somebody with an old cookie, can do: nothing."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        db = Database("sqlite3")
        server = make_site(Conf(main=db.main, api=API, keys=KEYS))
        server.db = db.of(server)
        server.db.await_tables()
        request.node.gbalance_server = server
        return server

    def changes(self, browser, **kwargs):
        """Statuses of a change by each kind of endpoint."""
        return {browser.ask("PUT", "/api/config", json={"MAX_FAILURES": 5}, **kwargs).status,
                browser.ask("POST", "/api/keys/disable", json={"all": True}, **kwargs).status,
                browser.ask("POST", "/api/scheduler/stop", json={}, **kwargs).status,
                browser.ask("POST", "/sessions/revoke", form={"others": "1"}, **kwargs).status}

    def test_a_form_of_another_site_changes_nothing(self, site):
        browser = Browser(site)
        browser.login()
        assert self.changes(browser, headers={"Origin": "https://evil.example"}) == {403}
        assert self.changes(browser, headers={"X-CSRF-Token": "0" * 32}) == {403}
        other = Browser(site)
        other.login()
        assert self.changes(browser, headers={"X-CSRF-Token": other.csrf}) == {403}
        answer = browser.ask("POST", "/api/keys/delete", form={"all": "true"})
        assert answer.status in (403, 415)
        assert site.api.request("GET", "/api/keys/all", token=ADMIN).json()["total_count"] == len(KEYS)
        assert 200 in self.changes(browser, headers={"X-CSRF-Token": browser.csrf})

    def test_a_cookie_is_nothing_after_logout(self, site):
        browser = Browser(site)
        browser.login()
        csrf, stolen = browser.csrf, dict(browser.cookies)
        assert browser.post("/logout", {"csrf": csrf}).status == 303
        assert not any(name.startswith("gb_session_") for name in browser.cookies)
        thief = Browser(site)
        thief.cookies = stolen
        assert thief.get("/sessions").status == 303
        assert self.changes(thief, headers={"X-CSRF-Token": csrf}) == {401}

    def test_a_revoked_session_is_nothing(self, site):
        browser, other = Browser(site), Browser(site)
        browser.login()
        other.login()
        listed = other.get("/sessions?format=json").json()["sessions"]
        number = next(s["number"] for s in listed if s["is_open"] and not s["is_mine"])
        for one in [s["number"] for s in listed if s["is_open"] and not s["is_mine"]]:
            assert other.post("/sessions/revoke", {"csrf": other.csrf, "number": one}).status == 303
        assert browser.get("/sessions").status == 303
        assert {s["number"]: s["ended"] for s in other.get("/sessions?format=json").json()["sessions"]}[number] == "revoked"

    def test_forged_sessions_are_nothing(self, site):
        browser = Browser(site)
        browser.login()
        name = next(n for n in browser.cookies if n.startswith("gb_session_"))
        for value in ("0" * 64, "f" * 64, browser.cookies[name][:-1] + "x", browser.cookies[name].upper(), "", ADMIN):
            forger = Browser(site)
            forger.cookies = {name: value}
            assert forger.get("/sessions").status == 303, value

    def test_another_token_ends_all_sessions(self, site):
        browser = Browser(site)
        browser.login()
        fresh = "another-admin-token-987654"
        site.configure(api=API.replace(ADMIN, fresh))
        site.graceful()
        try:
            assert browser.get("/sessions").status == 303
            assert Browser(site).login(fresh).status == 303
        finally:
            site.configure(api=API)
            site.graceful()

    def test_a_session_survives_a_graceful_restart(self, site):
        browser = Browser(site)
        browser.login()
        site.graceful()
        assert browser.get("/sessions").status == 200

    def test_sessions_say_when_they_expire(self, site):
        assert site.api.request("PUT", "/api/config", token=ADMIN, json={"ADMIN_SESSION_EXPIRE": 300}).status == 200
        browser = Browser(site)
        browser.login()
        mine = browser.get("/sessions?format=json").json()["sessions"][0]
        assert 299 <= mine["until"] - mine["seen"] <= 301


SHIFT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
int gettimeofday(struct timeval *tv, void *tz)
{
    static int (*real)(struct timeval *, void *);
    const char *file = getenv("GB_TEST_LATER");
    int rc;

    if (!real)
        real = dlsym(RTLD_NEXT, "gettimeofday");
    rc = real(tv, tz);
    if (file && access(file, F_OK) == 0)
        tv->tv_sec += 301;
    return rc;
}
"""


@pytest.mark.skipif(bool(tools.SANITIZE), reason="a sanitizer wants to be preloaded first")
class TestExpiry:
    """The server's clock goes five minutes on when a file appears."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request, tmp_path_factory):
        folder = tmp_path_factory.mktemp("later")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "later.so", "-x", "c", "-", "-ldl"],
                       input=SHIFT, text=True, check=True)
        server = make_site(Conf(api=API + "GBalanceAdminSessionExpire 300\n"), start=False)
        server.later = f"{server.root}/later"
        shutil.copy(folder / "later.so", server.root)
        server.conf.environment = {"LD_PRELOAD": f"{server.root}/later.so", "GB_TEST_LATER": server.later}
        server.start()
        request.node.gbalance_server = server
        return server

    def test_a_session_ends_without_use(self, site):
        browser = Browser(site)
        browser.login()
        csrf = browser.csrf
        assert browser.get("/sessions").status == 200
        open(site.later, "w").close()
        assert browser.get("/sessions").status == 303
        assert browser.ask("POST", "/api/scheduler/stop", json={}, headers={"X-CSRF-Token": csrf}).status == 401
        other = Browser(site)
        other.login()
        assert [s["ended"] for s in other.get("/sessions?format=json").json()["sessions"]] == ["", "expired"]


class TestTexts:
    """Whatever comes from outside is shown as text."""
    EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        db = Database("sqlite3")
        server = make_site(Conf(main=db.main, keys=KEYS, api=API + "GBalanceErrorLogRecordRequestBody true\n"))
        server.db = db.of(server)
        server.db.await_tables()
        request.node.gbalance_server = server
        return server

    def test_script_is_text_everywhere(self, site, sim):
        evil = self.EVIL
        listed = site.api.request("GET", "/api/keys", token=ADMIN).json()["keys"]
        key = listed[0]["id"]
        assert site.api.request("PATCH", f"/api/keys/{key}", token=ADMIN,
                                json={"note": evil[:60], "project": evil[:30]}).status == 200
        sim.fault(status=400, message=evil)
        site.api.post("/v1/chat/completions", json={
            "model": "gemini-2.5-flash", "messages": [{"role": "user", "content": evil}]})
        site.api.post("/v1/chat/completions", json={
            "model": evil, "messages": [{"role": "user", "content": evil}]})
        wait_until(lambda: site.db.rows("SELECT id FROM t_error_logs"), "the row of the error")
        row = site.db.rows("SELECT id, request_id FROM t_error_logs")[0]
        browser = Browser(site)
        browser.login()
        agent = {"User-Agent": evil}
        Browser(site).ask("POST", "/auth", form={"token": ADMIN}, headers=agent)
        seen = 0
        for path in [*PAGES, f"/keys/{key}", f"/logs/{row['id']}", f"/logs?call={row['request_id']}",
                     "/logs?tab=requests", "/logs?text=" + urllib.parse.quote(evil),
                     "/keys_status?search=" + urllib.parse.quote(evil), "/nothing/" + urllib.parse.quote(evil, safe="")]:
            html = browser.get(path).text
            assert "<script>alert" not in html and "<img src=x" not in html, path
            seen += html.count("&lt;script&gt;alert")
        assert seen > 3


class TestThrottle:
    CONF = Conf(api=API + "RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n", modules=("remoteip",))

    def test_an_attacker_waits_and_the_owner_does_not(self, site):
        owner = Browser(site, address="192.0.2.7")
        assert owner.login().status == 303
        attacker = Browser(site, address="198.51.100.23")
        left = [attacker.login(f"guess-{i}") for i in range(8)]
        assert [answer.status for answer in left] == [401] * 8
        assert "7 tries left" in left[0].text and "1 try left" in left[6].text
        answer = attacker.login("guess-9")
        assert answer.status == 429 and int(answer.headers.get("Retry-After")) > 600
        assert attacker.login(ADMIN).status == 429  # not even the right one: it would tell
        # the owner's session goes on, and a right token from elsewhere, from the same address by another way, too
        assert owner.get("/sessions").status == 200
        assert "198.51.100.23" in owner.get("/sessions").text
        assert Browser(site, address="192.0.2.8").login().status == 303
        assert site.api.request("GET", "/api/config", token=ADMIN,
                                headers={"X-Forwarded-For": "198.51.100.23"}).status == 200

    def test_a_program_that_guesses_waits_too(self, site):
        headers = {"X-Forwarded-For": "203.0.113.5", "Authorization": "Bearer guess"}
        with site.api.connect() as conn:
            statuses = [conn.request("GET", "/api/version/check", headers).read() and 0 for _ in range(999)]
            assert conn.request("GET", "/api/version/check", headers).status == 401
        right = {**headers, "Authorization": f"Bearer {ADMIN}"}
        answer = site.api.request("GET", "/api/config", anonymous=True, headers=right)
        assert answer.status == 429 and answer.headers.get("Retry-After")
        assert len(statuses) == 999
        owner = Browser(site, address="203.0.113.5")
        assert owner.login().status == 303  # the login counts by itself
        assert owner.get("/sessions").status == 200
        assert site.api.request("GET", "/api/config", token=ADMIN).status == 200

    def test_a_network_of_ipv6_counts_as_one(self, site):
        for i in range(8):
            assert Browser(site, address=f"2001:db8:1:2:{i + 1}:2:3:4").login("wrong").status == 401
        assert Browser(site, address="2001:db8:1:2:ffff:2:3:4").login("wrong").status == 429
        assert Browser(site, address="2001:db8:1:3:1:2:3:4").login("wrong").status == 401


class TestClosed:
    """A token that is missing or can be guessed closes the administration, and says so."""

    @pytest.mark.parametrize("line", ["", 'GBalanceAuthToken "short"', f'GBalanceAuthToken "{TOKEN}"'],
                             ids=["missing", "short", "a client's"])
    def test_pages_and_endpoints_answer_503(self, make_site, line):
        site = make_site(Conf(api=MOUNT + line))
        for path in ("/", "/keys_status", "/api/config", "/api/keys", "/api/version/check"):
            answer = Browser(site).get(path)
            assert answer.status == 503 and "AUTH_TOKEN" in answer.text, path
        assert Browser(site).login("short").status == 503
        chinese = Browser(site).get("/", headers={"Accept-Language": "zh-TW"})
        assert chinese.status == 503 and "管理" in chinese.text


class TestTls:
    CONF = Conf(api=API, tls=True)

    def test_the_cookie_is_secure(self, site):
        assert session_cookie(Browser(site).login()).endswith("; HttpOnly; SameSite=Strict; Secure")


class TestPrefix:
    CONF = Conf(api=API, prefix="/some/llm")

    def test_everything_works_below_it(self, site):
        browser = Browser(site, prefix="/some/llm")
        answer = browser.login(next="logs")
        assert answer.headers.get("Location") == "./logs" and "; Path=/some/llm/;" in session_cookie(answer)
        for path in PAGES:
            page = browser.get(path)
            assert page.status == 200, path
            for link in re.findall(r'(?:href|src|action)="([^"#]*)"', page.text):
                whole = urllib.parse.urljoin("/some/llm" + path, link)
                assert whole.startswith("/some/llm/"), (path, link)
        assert browser.get("/gbalance/app.js").status == 200
        assert browser.get("/api/config/ui/models").status == 200
        assert site.api.request("GET", "/keys_status", anonymous=True).status == 404

    def test_the_prefix_alone_is_the_login(self, site):
        assert 'name="token"' in Browser(site, prefix="/some/llm").get("/").text


class TestUnmounted:
    def test_a_site_keeps_its_start_page(self, make_site):
        site = make_site(Conf(api="Define GB_KEEP_ROOT\n" + API + "UnDefine GB_KEEP_ROOT\n"))
        assert "plain site" in Browser(site).get("/").text
        assert Browser(site).get("/auth").status == 200

    def test_handlers_decline_where_gbalance_is_off(self, make_site):
        site = make_site(Conf(plain=MOUNT))
        for path in ("/keys_status", "/auth", "/api/version/check"):
            assert site.plain.get(path).status == 404


class TestTwoSites:
    """A session of one VirtualHost is nothing in another one, whose cookies the browser sends too."""
    CONF = Conf(api=API, plain="GBalance On\n" + API)

    def test_sessions_do_not_cross(self, site):
        browser = Browser(site)
        browser.login()
        browser.client = site.plain
        assert browser.get("/sessions").status == 303
        (name, value), = browser.cookies.items()
        mine = Browser(site)
        mine.client = site.plain
        mine.login()
        (other, _), = mine.cookies.items()
        assert other != name
        mine.cookies = {other: value}
        assert mine.get("/sessions").status == 303
