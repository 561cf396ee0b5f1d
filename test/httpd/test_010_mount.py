# SPDX-License-Identifier: Apache-2.0
"""Mounting: the modules answer where they were asked to, and nowhere else."""
import dataclasses
import itertools
import os
import re

import pytest

import tools
from conf import Conf
from env import MARK
from wire import SURFACE_IDS, SURFACES, ask

PLAIN_REQUESTS = [("GET", "/"), ("HEAD", "/"), ("GET", "/v1/models"), ("GET", "/config"),
                  ("GET", "/keys_status"), ("GET", "/health"), ("GET", "/v1/models?key=abc"),
                  ("OPTIONS", "/v1/chat/completions"), ("POST", "/v1/chat/completions"),
                  ("POST", "/v1beta/models/x:generateContent"), ("GET", "/models"), ("GET", "/v1/v1/models"),
                  ("GET", "//v1//models"), ("POST", "/upload/v1beta/files"), ("GET", "/api/config"), ("GET", "/events"),
                  ("POST", "/auth"), ("GET", "/gbalance/app.js"), ("GET", "/index.html?key=abc")]
CONFS = "".join(f"Include {tools.SRCDIR}/conf.d/gbalance-{name}.conf\n" for name in ("admin", "upload", "images"))


def comparable(response):
    """Status line, headers and body without the clock."""
    response.read()
    headers = [(n, sorted(v.split(",")) if n == "Allow" else v) for n, v in response.headers
               if n not in ("Date", "Last-Modified", "ETag")]
    body = re.sub(rb"[Pp]ort \d+", b"Port", response.body)
    return response.status, response.reason, headers, body


class TestIsolation:
    """Another VirtualHost answers as if nothing had been loaded, whatever is mounted in the one of gbalance."""
    CONF = Conf(modules=("ssl", "proxy", "proxy_http"), api=f"GBalanceAuthToken admin-0123456789\n{CONFS}")

    @pytest.fixture(scope="class")
    @classmethod
    def bare(cls, make_site):
        return make_site(dataclasses.replace(cls.CONF, gbalance=False, api=""))

    @pytest.mark.parametrize("method,path", PLAIN_REQUESTS)
    def test_other_virtualhost_is_untouched(self, site, bare, method, path):
        for headers in ({}, {"Authorization": f"Bearer {site.api.token}", "Origin": "https://app.example"}):
            with_ours, without = (comparable(s.plain.request(method, path, headers=headers,
                                                             body=b"{}" if method == "POST" else None))
                                  for s in (site, bare))
            assert with_ours == without

    def test_credentials_of_others_stay_in_their_log(self, site):
        site.plain.get("/index.html?key=not-ours")
        tools.wait_until(lambda: any("key=not-ours" in line for line in site.access_lines()), "the line")

    def test_the_site_keeps_its_other_paths(self, site):
        assert site.api.get("/index.html", anonymous=True).text == MARK


class TestMountsWithoutOn:
    """The handlers decline where GBalance On does not stand."""
    CONF = Conf(plain=f"Include {tools.SRCDIR}/conf.d/gbalance-api.conf")

    @pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", "/health"])
    def test_handlers_decline(self, site, path):
        assert site.plain.get(path).status == 404
        assert site.api.get(path).status == 200


class TestPrefix:
    CONF = Conf(prefix="/llm")

    @pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", "/health"])
    def test_mounted_below_it(self, site, path):
        assert site.api.get("/llm" + path).status == 200
        assert site.api.get(path).status == 404

    def test_calls_reach_the_upstream_without_it(self, site, sim):
        answer = site.api.post("/llm/v1beta/models/gemini-2.5-flash:generateContent",
                               json=SURFACES[1].body())
        assert answer.status == 200
        assert [call["path"] for call in sim.calls()] == ["/v1beta/models/gemini-2.5-flash:generateContent"]


class TestAlternativeMounts:
    @pytest.mark.parametrize("path", ["/hf/v1/models", "/gemini/v1beta/models", "/v1/models", "/v1beta/models"])
    def test_models(self, site, path):
        assert site.api.get(path).status == 200

    @pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
    @pytest.mark.parametrize("stream", [False, True])
    def test_calls(self, site, surface, stream):
        prefix = "/hf" if surface.name == "openai" else "/gemini"
        answer = site.api.post(prefix + surface.path(stream), json=surface.body("Hi", stream))
        assert answer.status == 200
        assert b"finish" in answer.body


class TestTwoSites:
    """Two VirtualHosts with tokens of their own share the pool and nothing else."""
    OTHER = "sk-other-token-0123456789"
    CONF = Conf(keys=(), plain=f'GBalance On\nGBalanceAllowedTokens "{OTHER}"\n'
                               f"Include {tools.SRCDIR}/conf.d/gbalance-api.conf")

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site):
        site = make_site(cls.CONF, start=False)
        site.conf.main = f'GBalanceApiKeys "AIzaShared"\nGBalanceBaseUrl {site.sim_url}'
        return site.start()

    def test_each_knows_its_own_tokens(self, site):
        for client, token, status in [(site.api, site.api.token, 200), (site.api, self.OTHER, 401),
                                      (site.plain, self.OTHER, 200), (site.plain, site.api.token, 401)]:
            assert client.get("/v1/models", token=token).status == status

    def test_both_use_the_pool(self, site, sim):
        for client, token in [(site.api, site.api.token), (site.plain, self.OTHER)]:
            assert client.post("/v1/chat/completions", token=token, json=SURFACES[0].body()).status == 200
        assert {call["key"] for call in sim.calls()} == {"AIzaShared"}


class TestPools:
    """A VirtualHost with a pool of its own never uses the keys of another one."""
    CONF = Conf(keys=("AIzaPoolOne",))

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site):
        site = make_site(cls.CONF, start=False)
        site.conf.api = "GBalancePool one"
        site.conf.plain = ('GBalance On\nGBalancePool two\nGBalanceApiKeys "AIzaPoolTwo"\n'
                           f'GBalanceBaseUrl {site.sim_url}\nGBalanceAllowedTokens "sk-two-0123456789"\n'
                           f"Include {tools.SRCDIR}/conf.d/gbalance-api.conf")
        return site.start()

    def test_keys_stay_apart(self, site, sim):
        assert ask(site, SURFACES[0]).status == 200
        assert site.plain.post("/v1/chat/completions", token="sk-two-0123456789",
                               json=SURFACES[0].body()).status == 200
        assert [call["key"] for call in sim.calls()] == ["AIzaPoolOne", "AIzaPoolTwo"]


class TestModules:
    """The order of LoadModule does not matter; who is missing is named."""

    def conf(self, names):
        found = tools.gbalance_modules()
        return Conf(gbalance=False, main="\n".join(f"LoadModule {n} {found[n]}" for n in names))

    def names(self):
        return [n for n in tools.gbalance_modules() if "admin" not in n]

    def test_every_order_loads(self, make_site):
        site = make_site(self.conf([]), start=False)
        for order in itertools.permutations(self.names()):
            site.configure(main=self.conf(order).main)
            test = site.configtest()
            assert test.returncode == 0, f"{order}: {test.stderr}"

    def test_a_surface_alone_names_the_core(self, make_site):
        site = make_site(self.conf(["gbalance_openai_module"]), start=False)
        site.configure()
        test = site.configtest()
        assert test.returncode != 0
        assert re.search(r"mod_gbalance\b", test.stderr)

    def test_one_exported_symbol_each(self):
        for name, path in tools.gbalance_modules().items():
            lines = tools.run(["nm", "-D", "--defined-only", path]).stdout.splitlines()
            symbols = {line.split()[-1] for line in lines} - {"_init", "_fini", "_edata", "_end", "__bss_start"}
            if not tools.SANITIZE:
                assert symbols == {name}, path

    def test_reversed_order_serves(self, make_site):
        found = tools.gbalance_modules()
        site = make_site(Conf(), start=False)
        site.configure()
        lines = [f"LoadModule {n} {found[n]}\n" for n in found]
        with open(site.conf_path, encoding="utf-8") as f:
            text = f.read()
        joined = "".join(lines)
        assert joined in text
        with open(site.conf_path, "w", encoding="utf-8") as f:
            f.write(text.replace(joined, "".join(reversed(lines))))
        site.configure = lambda **_: None
        site.start()
        assert site.api.get("/v1/models").status == 200


class TestConfigtest:
    """Wrong values fail `httpd -t` with a sentence that names the directive; good ones pass."""

    @pytest.mark.parametrize("line,names", [
        ("GBalanceMaxRetries 0", "GBalanceMaxRetries"),
        ("GBalanceMaxRetries many", "GBalanceMaxRetries"),
        ("GBalanceBaseUrl ftp://x/", "GBalanceBaseUrl"),
        ("GBalanceTimeOut -1", "GBalanceTimeOut"),
        ("GBalanceParking Maybe", "GBalanceParking"),
        ("GBalanceMaxBody lots", "GBalanceMaxBody"),
        ("GBalanceDrainTimeout soon", "GBalanceDrainTimeout"),
        ("GBalanceThinkingBudgetMap {", "GBalanceThinkingBudgetMap"),
    ])
    def test_a_wrong_value_is_named(self, make_site, line, names):
        site = make_site(Conf(api=line), start=False)
        site.configure()
        test = site.configtest()
        assert test.returncode != 0
        assert names in test.stderr

    def test_a_key_is_not_echoed(self, make_site):
        site = make_site(Conf(api='GBalanceApiKeys "AIzaSecretSecret" surplus'), start=False)
        site.configure()
        test = site.configtest()
        assert "AIzaSecretSecret" not in test.stderr

    def test_configtest_leaves_no_trace(self, make_site):
        site = make_site(Conf(), start=False)
        site.configure()
        test = site.configtest()
        assert test.returncode == 0, test.stderr
        assert os.listdir(site.state) == []
