# SPDX-License-Identifier: Apache-2.0
"""PROXIES: real ones, bound to keys; one stopped, its keys move and the others stay."""
import json
import os
import tempfile

import pytest

import certs
import tools
from conf import KEYS, Conf
from google_apis import Google
from proxies import PASSWORD, Microsocks, Tinyproxy, TlsTinyproxy
from test_330_files import tls_context
from wire import Gemini, ask

MANY = tuple(f"AIzaSyTestKeyNumber{i:020d}" for i in range(8))
FAILED = (r"GB5001:",)      # attempts that failed; the breaker of a model has nothing to do with it


@pytest.fixture(scope="module")
def ways():
    made = [Tinyproxy(), Microsocks()]
    yield made
    for proxy in made:
        proxy.stop()


@pytest.fixture(scope="class")
def out(make_site, ways):
    urls = ",".join(w.url for w in ways)
    return make_site(Conf(keys=MANY, api=f'GBalanceProxies "{urls}"', claims=FAILED))


@pytest.fixture(scope="module")
def authority():
    with tempfile.TemporaryDirectory(prefix="gbalance-ca-") as folder:
        os.chmod(folder, 0o755)     # children of httpd read it as another user
        yield certs.Authority(folder)


def used(site, ways):
    """{key: index of the proxy that its call went through}"""
    found = {}
    for _ in range(len(MANY)):
        site.sim.reset()
        before = [w.count() for w in ways]
        assert ask(site, Gemini).status == 200
        moved = [i for i, w in enumerate(ways) if w.count() > before[i]]
        key = [c for c in site.sim.calls() if "generateContent" in c["path"]][-1]["key"]
        found.setdefault(key, set()).update(moved)
    return found


class TestBound:
    def test_both_carry_calls(self, out, ways):
        for _ in range(16):
            assert ask(out, Gemini).status == 200
        assert all(w.count() > 0 for w in ways)

    def test_a_key_has_its_proxy(self, out, ways):
        first, second = used(out, ways), used(out, ways)
        for key, proxies in first.items():
            # a kept connection makes no new line; what there is agrees
            assert len(proxies | second.get(key, set())) <= 1

    def test_streams_too(self, out, ways):
        for _ in range(8):
            answer = ask(out, Gemini, "[[chunks=5 seq]]", stream=True)
            assert answer.status == 200 and Gemini.stream_text(answer) is not None

    def test_one_stopped(self, out, ways):
        ways[0].stop()
        try:
            for _ in range(24):
                assert ask(out, Gemini).status == 200
        finally:
            ways[0].start()

    def test_password_is_in_no_log(self, out):
        assert PASSWORD.encode() not in out.all_logs()


class TestOneOfThree:
    """tinyproxy makes a line of every call: each can be followed."""

    def ways_of_keys(self, site, ways):
        found = {}
        while len(found) < len(MANY):
            site.sim.reset()
            before = [w.count() for w in ways]
            assert ask(site, Gemini).status == 200
            key = [c for c in site.sim.calls() if "generateContent" in c["path"]][-1]["key"]
            found[key] = next(i for i, w in enumerate(ways) if w.count() > before[i])
        return found

    def test_its_keys_move_and_the_others_stay(self, make_site):
        ways = [Tinyproxy() for _ in range(3)]
        try:
            urls = ",".join(w.url for w in ways)
            site = make_site(Conf(keys=MANY, api=f'GBalanceProxies "{urls}"', claims=FAILED))
            first = self.ways_of_keys(site, ways)
            assert self.ways_of_keys(site, ways) == first
            down = first[MANY[0]]
            ways[down].stop()
            second = self.ways_of_keys(site, ways)
            assert down not in second.values()
            assert {k: w for k, w in second.items() if first[k] != down} == {k: w for k, w in first.items() if w != down}
        finally:
            for way in ways:
                way.stop()


class TestWhoseFault:
    """A proxy says nothing of a model or a key: neither pays for it."""

    @pytest.mark.parametrize("kind", [Tinyproxy, Microsocks], ids=["http", "socks5"])
    def test_one_that_is_down(self, make_site, kind):
        proxy = kind()
        try:
            site = make_site(Conf(keys=MANY, api=f"GBalanceProxies {proxy.url}", claims=FAILED))
            proxy.stop()
            for _ in range(6):
                answer = ask(site, Gemini)
                error = Gemini.check_error(answer, 502)
                assert "proxy" in error["message"], answer
            proxy.start()
            for _ in range(len(MANY)):
                assert ask(site, Gemini).status == 200
        finally:
            proxy.stop()

    @pytest.mark.parametrize("kind", [Tinyproxy, Microsocks], ids=["http", "socks5"])
    def test_one_that_hangs(self, make_site, authority, kind):
        """It takes connections and makes no tunnel: its keys move to the other one."""
        ways, google = [kind(), Tinyproxy()], Google(tls_context(authority, ("127.0.0.1",)))
        try:
            urls = ",".join(w.url for w in ways)
            site = make_site(Conf(keys=MANY, claims=FAILED, upstream=google.url + "/v1beta", main=f"GBalanceCAFile {authority.ca}",
                                  api=f'GBalanceProxies "{urls}"\nGBalanceTimeOutConnect 1'), sim=False)
            ways[0].hang()
            for _ in range(len(MANY)):
                assert ask(site, Gemini).status == 200
            assert {c["key"] for c in google.calls} == set(MANY) and ways[1].count() > 0
        finally:
            google.stop()
            for way in ways:
                way.stop()


class TestTlsProxy:
    """An HTTPS proxy: the certificate must be right, before a byte of its password goes out."""

    @pytest.mark.parametrize("names,status", [(("localhost",), 200), (("elsewhere.example",), 502)], ids=["right", "wrong"])
    def test_certificate(self, make_site, authority, names, status):
        proxy = TlsTinyproxy(authority, names)
        try:
            site = make_site(Conf(keys=KEYS, main=f"GBalanceCAFile {authority.ca}", api=f"GBalanceProxies {proxy.url}",
                                  claims=FAILED))
            answer = ask(site, Gemini)
            assert answer.status == status, answer
            assert (proxy.count() > 0) == (status == 200)
            if status != 200:
                assert "proxy" in Gemini.check_error(answer, 502)["message"]
        finally:
            proxy.stop()


class TestCheck:
    """On demand, in gemini-balance's shapes."""

    ADMIN = "admin-token-0123456789abcdef"

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site):
        return make_site(Conf(api=f'Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\nGBalanceAuthToken "{cls.ADMIN}"\n'))

    def post(self, site, name, body, status=200):
        answer = site.api.request("POST", "/api/config/proxy/" + name, token=self.ADMIN, json=body)
        assert answer.status == status, answer
        return answer.json()

    def test_one(self, site, ways):
        for way in ways:
            found = self.post(site, "check", {"proxy": way.url, "use_cache": False})
            assert set(found) == {"proxy", "is_available", "response_time", "error_message", "checked_at"}
            assert found["is_available"] and 0 < found["response_time"] < 10 and found["error_message"] is None

    def test_all(self, site, ways):
        wrong = ways[0].url.replace(PASSWORD, "wrong")
        dead = f"socks5://127.0.0.1:{tools.free_port()}"
        asked = [ways[0].url, wrong, ways[1].url, dead, "ftp://x:1"]
        found = self.post(site, "check-all", {"proxies": asked, "use_cache": True, "max_concurrent": 5})
        assert [one["proxy"] for one in found] == asked
        assert [one["is_available"] for one in found] == [True, False, True, False, False]
        assert all(one["error_message"] and one["response_time"] is None for one in found if not one["is_available"])
        assert "password" in found[1]["error_message"] and "socks5" in found[4]["error_message"]

    def test_no_key_goes_along(self, site, ways):
        site.sim.reset()
        self.post(site, "check", {"proxy": ways[0].url, "use_cache": False})
        (call,) = site.sim.calls()
        assert not call["key"]

    def test_cache(self, site):
        assert self.post(site, "clear-cache", {})["success"] is True
        stats = site.api.get("/api/config/proxy/cache-stats", token=self.ADMIN).json()
        assert stats == {"total_cached": 0, "valid_cached": 0, "expired_cached": 0}

    def test_refusals(self, site, ways):
        self.post(site, "check", {}, status=400)
        self.post(site, "check-all", {"proxies": "x"}, status=400)
        assert site.api.post("/api/config/proxy/check", json={"proxy": ways[0].url}).status == 401


class TestRotating:
    def test_one_key_takes_them_in_turn(self, make_site, ways):
        urls = ",".join(w.url for w in ways)
        site = make_site(Conf(keys=KEYS[:1], api=f'GBalanceProxies "{urls}"\nGBalanceProxiesUseConsistencyHashByApiKey Off'))
        before = [w.count() for w in ways]
        for _ in range(12):
            assert ask(site, Gemini).status == 200
        assert all(w.count() > n for w, n in zip(ways, before))


class TestOnlyOne:
    @pytest.mark.parametrize("kind", [Tinyproxy, Microsocks], ids=["http", "socks5"])
    def test_carries_everything(self, make_site, kind):
        proxy = kind()
        try:
            site = make_site(Conf(keys=KEYS, api=f"GBalanceProxies {proxy.url}", claims=FAILED))
            for _ in range(4):
                assert ask(site, Gemini).status == 200
            assert proxy.count() > 0
            proxy.stop()
            error = Gemini.check_error(ask(site, Gemini), 502)
            assert "proxy" in error["message"]
            proxy.start()
        finally:
            proxy.stop()

    @pytest.mark.parametrize("kind", [Tinyproxy, Microsocks], ids=["http", "socks5"])
    def test_wrong_password(self, make_site, kind):
        proxy = kind()
        try:
            wrong = proxy.url.replace(PASSWORD, "wrong")
            site = make_site(Conf(keys=KEYS, api=f"GBalanceProxies {wrong}", claims=FAILED))
            assert ask(site, Gemini).status >= 400
            assert [c for c in site.sim.calls() if "generateContent" in c["path"]] == []
        finally:
            proxy.stop()


class TestUpstream:
    """CUSTOM_HEADERS, and a BASE_URL of a proxy of one's own with a path."""

    def test_custom_headers(self, make_site):
        site = make_site(Conf(api='GBalanceCustomHeaders {"X-Proxy-Token":"abc","User-Agent":"mine/1"}'))
        site.sim.record(headers=True)
        assert ask(site, Gemini).status == 200
        (call,) = [c for c in site.sim.calls() if "generateContent" in c["path"]]
        headers = {n.lower(): v for n, v in call["headers"]}
        assert headers["x-proxy-token"] == "abc"
        assert "mine/1" in json.dumps(call["headers"])

    @pytest.mark.parametrize("prefix", ["/gemini/v1beta", "/a/b/c/v1beta"])
    def test_path_prefix(self, make_site, prefix):
        site = make_site(Conf(), start=False)
        site.conf.upstream = site.sim.url + prefix
        site.start()
        assert ask(site, Gemini).status == 200
        (call,) = [c for c in site.sim.calls() if "generateContent" in c["path"]]
        assert call["path"].startswith(prefix + "/models/")
