# SPDX-License-Identifier: Apache-2.0
"""The admin pages where there is much to show: 10,000 keys, a million log rows.

Of each page the server's answer, one request at a time, beside a static file of the same
httpd, and what it costs httpd in CPU time; then until the page has been drawn and does
what is asked of it in Chromium.
"""
import hashlib
import statistics
import time

from browser import ADMIN_API, ADMIN_TOKEN, CHROMIUM, sign_in
from conf import Conf
from env import Server
from load import Case, load
from rows import fill, lately
from sim import Simulator
from tools import wait_until

KEYS = tuple(f"AQ.BenchmarkKey{i:025d}" for i in range(10_000))
IDS = [hashlib.sha256(key.encode()).hexdigest()[:8] for key in KEYS]
ROWS = 1_000_000
TIMES = 5                   # that Chromium opens each page
CONF = ("GBalanceAutoDeleteRequestLogsEnabled Off\nGBalanceAutoDeleteErrorLogsEnabled Off\n")

# The address, and what somebody does there that only a living page answers to.
PAGES = {
    "keys": ("/keys_status", "#choose-page", "#bulk:not([hidden])"),
    "keys, last page": ("/keys_status?rows=50&page=200", "#choose-page", "#bulk:not([hidden])"),
    "keys, a filter": ("/keys_status?q=0042", "#choose-page", "#bulk:not([hidden])"),
    "one key": (f"/keys/{IDS[7]}", "[data-do=edit]", "dialog[open]"),
    "errors": ("/logs?tab=errors", "#rows input[data-all]", "#bulk:not([hidden])"),
    "requests": ("/logs?tab=requests", "#rows input[data-all]", "#bulk:not([hidden])"),
    "requests, 30 days": ("/logs?tab=requests&time=30d", "#rows input[data-all]", "#bulk:not([hidden])"),
    "requests, three filters": ("/logs?tab=requests&model=model-3&token=caller7&result=429", None, None),
    "requests, a text": ("/logs?tab=requests&q=caller1", "#rows input[data-all]", "#bulk:not([hidden])"),
    "usage": ("/usage", "[data-measure=calls]", "[data-measure=calls][aria-pressed=true]"),
    "usage, 30 days by key": ("/usage?range=30d&by=key", "[data-measure=calls]", "[data-measure=calls][aria-pressed=true]"),
    "configuration": ("/config", "#s-SHOW_SEARCH_LINK", "#savebar:not([hidden])"),
}


class Pages:
    def __init__(self):
        self.sim = Simulator(("--calls", "0"))
        self.server = Server(Conf(keys=KEYS, api=ADMIN_API + CONF, main="GBalanceTimezone UTC\n",
                                  claims=(r"GB803\d: ",)), self.sim).start()
        wait_until(lambda: self.get("/api/keys?count=1").json()["total"] == len(KEYS), "all keys to be there")
        began = time.monotonic()
        fill(self.server, lately(ROWS, IDS))
        print(f"{len(KEYS):,} keys, {ROWS:,} log rows, made in {time.monotonic() - began:.0f} s")

    def close(self):
        stopped = self.server.stop()
        unclaimed = self.server.log.unclaimed()
        self.sim.stop()
        self.server.remove()
        assert stopped and not unclaimed, "\n".join(unclaimed[:10]) or "httpd did not stop"

    def get(self, path):
        answer = self.server.api.get(path, token=ADMIN_TOKEN)
        assert answer.status == 200, f"{path}: {answer.text[:300]}"
        return answer

    def answers(self, path, seconds, port=None):
        """Median and p99 in milliseconds, and httpd's CPU milliseconds per answer."""
        before = self.server.cpu_seconds()
        report = load(port or self.server.port, [Case("GET", path)], token=ADMIN_TOKEN, duration=seconds)
        spent = self.server.cpu_seconds() - before
        assert report.failed == 0 and report.other_than_200 == 0, f"{path}: {report}"
        return report.latency_us["p50"] / 1000, report.latency_us["p99"] / 1000, spent * 1000 / report.completed

    def served(self, seconds):
        """Of each page what answers() says, and how often a static file takes that long."""
        self.answers("/", 0.5, self.server.plain_port)
        found = {"a static file": self.answers("/", seconds, self.server.plain_port)}
        for name, (path, _, _) in PAGES.items():
            self.get(path)
            found[name] = self.answers(path, seconds)
        static = found["a static file"][0]
        return {name: [*values, values[0] / static] for name, values in found.items()}

    def in_browser(self, browser):
        """Milliseconds until a page that was asked for has been parsed and its scripts have run, and until it has done something."""
        context = browser.new_context(base_url=f"http://127.0.0.1:{self.server.port}", viewport={"width": 1440, "height": 1000})
        page = context.new_page()
        sign_in(page, ADMIN_TOKEN)
        found = {}
        for name, (path, press, then) in PAGES.items():
            if press:
                found[name] = [statistics.median(times) for times in zip(*(open_page(page, path, press, then) for _ in range(TIMES)))]
        context.close()
        return found


SETTLED = """() => { const n = performance.getEntriesByType('navigation')[0];
  return [n.responseEnd, n.domContentLoadedEventEnd]; }"""


def open_page(page, path, press, then):
    """Until the answer was there, until its scripts had run (both by Chromium's clock), and until what was pressed showed."""
    began = time.monotonic()
    page.goto(path, wait_until="domcontentloaded")
    page.locator(press).first.click()
    page.wait_for_selector(then)
    done = (time.monotonic() - began) * 1000
    return [*page.evaluate(SETTLED), done]


def print_rows(titles, found):
    print(("{:<28}" + "{:>16}" * len(titles)).format("milliseconds", *titles))
    for name, values in found.items():
        print(f"{name:<28}" + "".join(f"{value:>16,.2f}" for value in values))


def measure_pages(seconds):
    """Prints two tables; the figures by name."""
    from playwright.sync_api import sync_playwright
    pages = Pages()
    try:
        served = pages.served(seconds)
        print_rows(("median", "p99", "httpd's CPU", "of a static file"), served)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            seen = pages.in_browser(browser)
            browser.close()
        print_rows(("answer there", "scripts ran", "it did as asked"), seen)
    finally:
        pages.close()
    return {**{f"page {name}, served": values for name, values in served.items()},
            **{f"page {name}, in Chromium": values for name, values in seen.items()}}
