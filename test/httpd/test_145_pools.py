# SPDX-License-Identifier: Apache-2.0
"""No two threads in one of APR's pools: children that start, serve and end, with test/guard/pools.c preloaded."""
import glob
import hashlib
import os
import subprocess

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from google_apis import Google
from load import Case, Load
from proxies import Microsocks
from test_330_files import upload
from test_600_admin_login import API
from test_610_admin_live import Stream, bearer
from wire import Gemini, OpenAI

pytestmark = pytest.mark.skipif(bool(tools.SANITIZE), reason="a sanitizer wants to be preloaded first")


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """An environment for httpd, and where the reports are."""
    folder = tmp_path_factory.mktemp("pools", numbered=False)
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    reports = folder / "reports"
    reports.mkdir()
    reports.chmod(0o777)
    library = str(folder / "pools.so")
    apr = tools.apxs("APR_INCLUDEDIR")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", f"-I{apr}", "-D_LARGEFILE64_SOURCE", "-o", library,
                    os.path.join(tools.SRCDIR, "test", "guard", "pools.c"), "-ldl"], check=True, timeout=120)
    return {"LD_PRELOAD": library, "GB_POOL_REPORT": str(reports / "found")}


def found(preloaded):
    texts = []
    for path in glob.glob(preloaded["GB_POOL_REPORT"] + ".*"):
        with open(path, encoding="utf-8", errors="replace") as f:
            texts.append(f.read())
        os.remove(path)
    return "\n".join(texts)


def is_preloaded(site):
    with open(f"/proc/{site.children()[0]}/maps", encoding="utf-8") as f:
        return "/pools.so" in f.read()


class TestPools:
    def test_start_serve_reload(self, make_site, preloaded):
        site = make_site(Conf(keys=KEYS, api=API, environment=preloaded))
        assert is_preloaded(site)
        page = Stream(site, bearer())
        assert page.until("hello")
        cases = [Case("POST", OpenAI.path(False), OpenAI.body("hi")),
                 Case("POST", Gemini.path(True), Gemini.body("[[chunks=6 interval=20]]")),
                 Case("POST", OpenAI.path(True), OpenAI.body("[[chunks=30 interval=20]]", True), "abort=3")]
        load = Load(site.port, cases, token=TOKEN, connections=8, duration=3, timeout=20)
        for _ in range(2):
            site.graceful()
        load.wait()
        assert not found(preloaded)

    def test_uploads_through_the_engine(self, make_site, preloaded):
        google, proxy = Google(), Microsocks()
        try:
            site = make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", api=f"GBalanceProxies {proxy.url}",
                                  environment=preloaded), sim=False)
            for _ in range(15):
                data = os.urandom(700_000)
                assert upload(site.api, data)["sha256Hash"] == hashlib.sha256(data).hexdigest()
            assert not found(preloaded)
        finally:
            proxy.stop()
            google.stop()
