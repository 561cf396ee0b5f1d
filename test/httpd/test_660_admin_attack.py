# SPDX-License-Identifier: Apache-2.0
"""What an attacker tries: other spellings of paths and addresses, other VirtualHosts, bodies before the login."""
import json

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from store import Database
from test_600_admin_login import ADMIN, API, Browser, session_cookie
from test_620_admin_apache import BASIC, REFUSED, ask, basic, example, htpasswd


class TestThrottleIpv6:
    CONF = Conf(api=API + "RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n", modules=("remoteip",))

    def test_however_an_address_of_the_network_is_written(self, site):
        for i in range(8):
            assert Browser(site, address=f"2001:db8:1:2::{i + 1:x}").login("wrong").status == 401
        assert Browser(site, address="2001:db8:1:2::ffff").login("wrong").status == 429
        assert Browser(site, address="2001:db8:1:2:5:6:7:8").login("wrong").status == 429
        assert Browser(site, address="2001:db8:1:3::1").login("wrong").status == 401
        for i in range(8):
            assert Browser(site, address=f"2001:db8::{i + 1:x}").login("wrong").status == 401
        assert Browser(site, address="2001:db8::ffff").login("wrong").status == 429
        assert "2001:db8::/64" in site.api.request("GET", "/sessions", token=ADMIN).text


class TestBodies:
    """Nobody has a page read, or take apart, more than it could want."""
    CONF = Conf(api=API)

    def send(self, site, path, body, kind="application/json", **headers):
        with site.api.connect() as conn:
            conn.send("".join([f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n",
                               *(f"{n}: {v}\r\n" for n, v in headers.items()),
                               "Transfer-Encoding: chunked\r\n\r\n"]).encode())
            conn.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            answer = conn.answer()
            answer.read()
            return answer

    @pytest.mark.parametrize("path", ["/keys/do", "/api/scheduler/stop", "/logs", "/api/config", "/api/keys"])
    def test_a_strangers_body_is_not_looked_at(self, site, path):
        for kind in ("application/json", "application/x-www-form-urlencoded", "image/png"):
            answer = self.send(site, path, b"[[[", kind)
            assert answer.status in ((401, 405) if path == "/api/config" else (401,)), answer.text

    def test_the_login_takes_little(self, site):
        for kind in ("application/json", "application/x-www-form-urlencoded"):
            assert self.send(site, "/auth", b"[" + b"0," * 40000 + b"0]", kind).status == 413

    @pytest.mark.parametrize("path,most", [("/keys/do", 8 << 20), ("/api/scheduler/stop", 8 << 20), ("/api/config/import", 512 << 10)])
    def test_more_than_a_page_takes(self, site, path, most):
        """Also without a Content-Length."""
        answer = self.send(site, path, b"[" + b" " * most + b"]", Authorization=f"Bearer {ADMIN}")
        assert answer.status == 413 and f"at most {most} bytes" in answer.text


class TestEncodedSlashes:
    """With AllowEncodedSlashes a path can leave the location that it began in."""
    CONF = Conf(api=API + "AllowEncodedSlashes On\n")

    @pytest.mark.parametrize("path", [
        "/gemini/v1beta/x%2F..%2F..%2F..%2Fv1%2Fmodels", "/vertex-express/v1beta/x%2F..%2F..%2F..%2Fv1%2Fmodels",
        "/v1/x%2F..%2F..%2Fapi%2Fconfig", "/v1/x%2F..%2F..%2Fkeys_status"])
    def test_not_into_another_one(self, site, path):
        for token in (TOKEN, ADMIN):
            answer = site.api.request("GET", path, token=token, headers={"Origin": "https://evil.example"})
            assert answer.status == 400, answer.text

    def test_what_is_only_written_so_is_served(self, site):
        assert site.api.request("GET", "/v1%2Fmodels", token=TOKEN).status == 200
        assert site.api.request("GET", "/v1/models%2Fgemini-2.5-pro", token=TOKEN).status == 200
        assert site.api.request("GET", "/api%2Fconfig", token=ADMIN).status == 200
        assert site.api.request("DELETE", "/api/config%2Fkeys/00000000", token=ADMIN).status == 404
        assert site.api.request("GET", "/api/config/x%2F..%2Fui/models", token=ADMIN).status == 200


class TestApacheAdmin:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        server = make_site(Conf(modules=BASIC, keys=KEYS, api=API, claims=REFUSED), start=False)
        path = htpasswd(server, ("anna", "pw-anna-1"), ("eve", "pw-eve-1"))
        server.conf.api = API + example("Basic with a file").replace("/etc/apache2/gbalance.htpasswd", path)
        server.start()
        request.node.gbalance_server = server
        return server

    def test_a_caller_of_the_api_administers_nothing(self, site):
        eve = basic("eve", "pw-eve-1")
        assert ask(site, "/v1/models", eve).status == 200
        for method, path in (("GET", "/v1/keys/list"), ("POST", "/v1beta/reset-all-fail-counts"), ("GET", "/sessions")):
            answer = ask(site, path, eve, method=method)
            assert answer.status in (401, 403) and KEYS[0][-4:] not in answer.text, answer.text
        assert ask(site, "/v1/keys/list", {"x-goog-api-key": ADMIN} | eve).json()["total"] == len(KEYS)


class TestGuessingByBasic:
    """Apache's own login with our tokens is no way around the limit."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        server = make_site(Conf(modules=("auth_basic",), api=API, claims=REFUSED), start=False)
        server.conf.api += (f'Alias /safe "{server.root}/htdocs"\n<Location "/safe">\nAuthType Basic\nAuthName x\n'
                            "AuthBasicProvider gbalance\nRequire gbalance-admin\nRequire gbalance-token\n</Location>\n")
        server.start()
        request.node.gbalance_server = server
        return server

    def test_who_guesses_waits(self, site):
        assert ask(site, "/safe/", basic("x", ADMIN)).status == 200
        with site.api.connect() as conn:
            for i in range(500):
                conn.request("GET", "/safe/", basic("x", f"guess-{i}")).read()
                conn.request("GET", "/safe/", {"Authorization": f"Bearer guess-{i}"}).read()
        assert ask(site, "/safe/", basic("x", ADMIN)).status == 401
        assert ask(site, "/safe/", {"Authorization": f"Bearer {ADMIN}"}).status == 401
        assert ask(site, "/safe/", basic("x", TOKEN)).status == 200  # a client's token is no guess
        assert ask(site, "/api/config", {"Authorization": f"Bearer {ADMIN}"}).status == 429


class TestBesideAProxy:
    """A site that hands on all it gets: what is ours stays here, all of it."""
    PROXY = "ProxyPass / http://127.0.0.1:9/"

    @pytest.mark.parametrize("api,prefix", [(f"{PROXY}\n{API}", "/llm"), (f"{API}{PROXY}", ""),
                                            (f"<Location />\n{PROXY.replace(' / ', ' ')}\n</Location>\n{API}", "")])
    def test_pages_and_what_they_consist_of(self, make_site, api, prefix):
        site = make_site(Conf(api=api, prefix=prefix, modules=("proxy", "proxy_http"), claims=("AH00957", "AH01114")))
        browser = Browser(site, prefix=prefix)
        assert browser.login().status == 303 and browser.get("/keys_status").status == 200
        for name in ("app.js", "gbalance.css", "chart.js/chart.min.js", "i18n/zh-CN.json"):
            assert browser.get(f"/gbalance/{name}").status == 200, name
        assert site.api.request("GET", prefix + "/v1/models", token=TOKEN).status == 200
        assert site.api.request("GET", "/elsewhere", anonymous=True).status == 503


    def test_pictures(self, make_site):
        site = make_site(Conf(modules=("proxy", "proxy_http")), start=False)
        site.write("a.png", b"picture")
        site.conf.api = (f"{self.PROXY}\nDefine GB_IMAGES {site.root}/htdocs\n"
                         f"Include {tools.SRCDIR}/conf.d/gbalance-images.conf\nUnDefine GB_IMAGES\n")
        site.start()
        assert site.api.request("GET", "/gbalance-images/a.png", anonymous=True).read() == b"picture"


class TestPatterns:
    CONF = Conf(keys=(), api=API)

    @pytest.mark.parametrize("path", ["/api/keys/preview", "/api/keys"])
    def test_a_pattern_that_never_ends_is_told(self, site, path):
        """And adds nothing: what it would not have come to is not taken for all there is."""
        text = f"{KEYS[0]} {'a' * 60}! {KEYS[1]}"
        answer = site.api.request("POST", path, token=ADMIN, json={"text": text, "pattern": "(AIza[A-Za-z0-9]{35})|(?:a+)+$"})
        assert answer.status == 400 and answer.json()["error"]["field"] == "pattern", answer.text
        assert site.api.request("GET", "/api/keys/all", token=ADMIN).json()["total_count"] == 0
        form = {"text": text, "pattern": "(AIza[A-Za-z0-9]{35})|(?:a+)+$"}
        browser = Browser(site)
        browser.login()
        assert "too many steps" in browser.post("/keys/add", {**form, "step": "add", "csrf": browser.csrf}).text


class TestBehindATlsProxy:
    def test_the_cookie_is_secure(self, make_site):
        site = make_site(Conf(api=f"ServerName https://ai.example.org\n{API}"))
        assert session_cookie(Browser(site).login()).endswith("; HttpOnly; SameSite=Strict; Secure")


class TestPrefixBelowApi:
    @pytest.mark.parametrize("prefix", ["/api", "/api/llm"])
    def test_the_pages_are_there(self, make_site, prefix):
        browser = Browser(make_site(Conf(api=API, prefix=prefix)), prefix=prefix)
        answer = browser.login()
        assert answer.status == 303 and f"; Path={prefix}/;" in session_cookie(answer)
        assert browser.get("/keys_status").status == 200
        for path in ("/api/config", "/api/keys", "/api/version/check", "/api/config/proxy/cache-stats"):
            assert browser.get(path).status == 200, path


class TestSecrets:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        db = Database("sqlite3")
        server = make_site(Conf(main=db.main + "\nGBalanceMysqlPassword word-of-the-database", keys=KEYS, api=API, claims=("AH10244",)))
        server.db = db.of(server)
        server.db.await_tables()
        request.node.gbalance_server = server
        return server

    def config(self, site, path, status=200, **body):
        answer = site.api.request("POST", "/api/config" + path, token=ADMIN, json=body)
        assert answer.status == status, answer.text
        return answer.json()

    def test_the_servers_own_stay_with_it(self, site):
        """Who administers one VirtualHost does not get into the database of all."""
        fault = self.config(site, "/reveal", 403, names=["API_KEYS", "MYSQL_PASSWORD"])
        assert "MYSQL_PASSWORD" in fault["error"]["message"]
        assert "word-of-the-database" not in site.api.request("GET", "/api/config", token=ADMIN).text
        assert "word-of-the-database" not in json.dumps(self.config(site, "/export?format=json", secrets=True))

    def test_an_import_shows_none(self, site):
        """What comes masked is answered masked; saved, it is the secret that it stands for."""
        shown = site.api.request("GET", "/api/config", token=ADMIN).json()["API_KEYS"]
        found = self.config(site, "/import", text=json.dumps({"API_KEYS": shown[:1], "SMMS_SECRET_TOKEN": "word-of-smms"}))
        assert found == {"values": {"API_KEYS": shown[:1], "SMMS_SECRET_TOKEN": "word-of-smms"}, "errors": [], "unknown": []}
        found = self.config(site, "/import", text=json.dumps({"API_KEYS": None}))
        assert not found["values"] and found["errors"][0]["name"] == "API_KEYS" and KEYS[0] not in json.dumps(found)
        found = self.config(site, "/import", text=json.dumps({"API_KEYS": shown}))
        assert not found["values"] and not found["errors"]

    def test_an_address_with_a_password(self, site):
        """It is masked, sent back masked by who changes something else, and no file without secrets has it."""
        def put(**values):
            answer = site.api.request("PUT", "/api/config", token=ADMIN, json=values)
            assert answer.status == 200, answer.text
            return answer.json()
        shown = put(BASE_URL="http://user:word-of-address@127.0.0.1:9/v1beta")
        assert "word-of-address" not in json.dumps(shown)
        put(BASE_URL=shown["BASE_URL"], MAX_FAILURES=4)
        saved = site.db.rows("SELECT value FROM t_settings WHERE `key` = 'BASE_URL'")
        assert [row["value"] for row in saved] == ["http://user:word-of-address@127.0.0.1:9/v1beta"]
        for form in ("env", "json"):
            path = f"/api/config/export?format={form}"
            text = site.api.request("GET", path, token=ADMIN).text
            assert "word-of-address" not in text and "VERTEX_EXPRESS_BASE_URL" in text
            assert "word-of-address" in site.api.request("POST", path, token=ADMIN, json={"secrets": True}).text
        assert site.log.matching("GB8061: .* BASE_URL")

    @pytest.mark.parametrize("path", [
        "/v1/%zz?key={secret}", "/keys_status%?a=1&%6bey={secret}", "/nothing/%?key={secret}", "/keys_status?q={secret}",
        "/logs?q={secret}", "/logs?tab=requests&key_id={secret}", "/api/keys?search={secret}", "/api/keys/{secret}", "/keys/{secret}"])
    def test_what_stands_in_an_address_is_in_no_log(self, site, path):
        """Of keys and tokens: where the path is none, and in every field that a page searches by."""
        secret = KEYS[0] if "?key" not in path else TOKEN
        for token in (None, ADMIN):
            answer = site.api.request("GET", path.format(secret=secret), token=token, anonymous=token is None)
            assert answer.status in (200, 303, 400, 401, 404) and secret not in answer.text
            assert secret not in str(list(answer.headers))
        logs = site.all_logs()
        assert path.split("?")[0].split("{")[0].encode() in logs and secret.encode() not in logs

    def test_a_whole_key_is_found_by_search(self, site):
        assert site.api.request("GET", f"/keys_status?q={KEYS[1]}&format=json", token=ADMIN).json()["list"]["matched"] == 1
