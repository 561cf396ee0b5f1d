# SPDX-License-Identifier: Apache-2.0
"""PROXIES: real ones, bound to keys; one stopped, its keys move and the others stay."""
import json

import pytest

from conf import KEYS, Conf
from proxies import PASSWORD, Microsocks, Tinyproxy
from wire import Gemini, ask

MANY = tuple(f"AIzaSyTestKeyNumber{i:020d}" for i in range(8))
FAILED = (r"GB5001:", r"GB1007:")      # attempts that failed, and the breaker that follows


@pytest.fixture(scope="class")
def ways():
    made = [Tinyproxy(), Microsocks()]
    yield made
    for proxy in made:
        proxy.stop()


@pytest.fixture(scope="class")
def out(make_site, ways):
    urls = ",".join(w.url for w in ways)
    return make_site(Conf(keys=MANY, api=f'GBalanceProxies "{urls}"', claims=FAILED))


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
