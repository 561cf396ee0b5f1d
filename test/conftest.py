# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the live tests: a simulator and a private httpd for each test class.

    class TestModels:
        CONF = Conf(keys=KEYS)

        def test_list(self, site):
            assert site.api.get("/v1/models").status == 200

At the end of a class its httpd must stop in time, and its error log must hold no
line at warn or above that no test claimed (site.log.claim).
"""
import copy
import os
import sys

import pytest

for folder in ("httpd", "sdk"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), folder))

import tools  # noqa: E402
from browser import chromium, signed_in, window  # noqa: E402,F401 (fixtures)
from env import Conf, Server  # noqa: E402
from sim import Simulator  # noqa: E402
from store import MariaServer  # noqa: E402


@pytest.fixture(scope="session")
def sanitized():
    """Whether the modules are built with sanitizers: numbers of memory mean nothing then."""
    return bool(tools.SANITIZE)


def _close(server):
    """Stops it and says everything that was wrong."""
    faults = []
    if server.proc is not None and server.proc.poll() is not None:
        faults.append(f"httpd ended by itself with {server.proc.returncode}")
    if not server.stop():
        faults.append("httpd did not stop within 20 s of SIGTERM")
    unclaimed = server.log.unclaimed()
    if unclaimed:
        shown = "\n".join(unclaimed[:40])
        faults.append(f"{len(unclaimed)} line(s) of the error log that no test claimed:\n{shown}")
    return faults


@pytest.fixture(scope="module", autouse=True)
def end_of_server():
    """The MariaDB server that tests of a file have started ends with it."""
    yield
    if MariaServer.one:
        MariaServer.one.stop()
        MariaServer.one = None


@pytest.fixture(scope="class")
def make_site(request):
    """A factory of running servers that are checked and removed at the end of the class."""
    made = []

    def make(conf, start=True, sim=None):
        """With a simulator, unless it has neither gbalance nor a wish for one."""
        conf = copy.deepcopy(conf)
        wants = conf.gbalance if sim is None else sim
        server = Server(conf, Simulator(conf.sim_args) if wants else None)
        made.append(server)
        return server.start() if start else server

    yield make
    faults = []
    for server in made:
        found = _close(server)
        if server.sim:
            server.sim.stop()
        if found:
            faults += [*found, f"its files are in {server.root}"]
        elif not os.environ.get("GB_KEEP"):
            server.remove()
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="class")
def site(request, make_site):
    """The running server of a test class, as its CONF says."""
    server = make_site(getattr(request.cls, "CONF", Conf()))
    request.node.gbalance_server = server
    return server


@pytest.fixture
def sim(site):
    """The simulator of the class, with nothing left of earlier tests."""
    site.sim.reset()
    return site.sim


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows the end of its server's error log."""
    outcome = yield
    report = outcome.get_result()
    server = getattr(item.parent, "gbalance_server", None)
    if report.when == "call" and report.failed and server is not None:
        report.sections.append(("error log", server.log.tail(40)))


def pytest_configure(config):
    """`-m soak` picks what has a long sibling, and makes it long."""
    config.addinivalue_line("markers", "soak: has a long sibling (GB_SOAK=1)")
    config.addinivalue_line("markers", "alone: measures memory or load, or wants both processors: nothing runs beside it")
    config.addinivalue_line("markers", "smoke: also run against a build with sanitizers (GB_SANITIZE)")
    if config.getoption("-m") == "soak":
        tools.SOAK = True


def pytest_collection_modifyitems(config, items):
    """Live tests run in the order of their numbers, the SDKs behind them; with sanitizers only the smoke part."""
    if tools.SANITIZE:
        left_out = [item for item in items if item.get_closest_marker("smoke") is None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("smoke") is not None]
    items.sort(key=lambda item: ("/sdk/" in str(item.fspath), os.path.basename(str(item.fspath))))


@pytest.fixture(scope="session")
def fixtures():
    """The folder of shared recordings; absent, the test is skipped (and fails in CI)."""
    path = tools.shared_fixtures()
    if path is None:
        pytest.skip("no shared recordings (GB_SHARED)")
    return path
