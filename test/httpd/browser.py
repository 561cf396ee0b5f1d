# SPDX-License-Identifier: Apache-2.0
"""The admin pages in a real browser, watched.

    class TestKeysPage:
        CONF = Conf(keys=KEYS, api=ADMIN_API)

        def test_list(self, window):
            page = window(lang="zh-CN", dark=True, width=390)
            page.goto("/keys_status")
            page.shot("keys")
            page.axe()

`window` opens windows (contexts of their own, signed in unless said otherwise) and
fails the test for what no page may do: errors on the console, scripts that throw,
violations of the content security policy, requests to another host.  What a test
provokes on purpose it names with page.expect(pattern).
"""
import functools
import os
import re
import urllib.parse

import pytest

import toolchain
import tools

CHROMIUM = os.environ.get("GB_CHROMIUM", "/usr/bin/chromium")
SCREENS = os.path.join(tools.BUILD, "screens")
ADMIN_TOKEN = "admin-token-0123456789"
ADMIN_API = f"GBalanceAuthToken {ADMIN_TOKEN}\nInclude {tools.SRCDIR}/conf.d/gbalance-admin.conf\n"

# Every look that a page must have: two languages, light and dark, phone and desk.
LOOKS = [dict(lang="en", dark=False, width=1440), dict(lang="en", dark=True, width=390),
         dict(lang="zh-CN", dark=True, width=1440), dict(lang="zh-CN", dark=False, width=390)]

WATCH_POLICY = """
document.addEventListener('securitypolicyviolation', e =>
  window.gbalanceTestViolation(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile || ''}:${e.lineNumber}`));
"""
RUN_AXE = """
async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => `${v.id} (${v.impact}): ${v.help}: ` + v.nodes.map(n => n.target + ' ' + n.html.slice(0, 160)
    + ' ' + (n.any[0] || n.all[0] || n.none[0] || {}).message).join(' | '))
"""


def look_name(look):
    return f"{look['lang']}-{'dark' if look['dark'] else 'light'}-{look['width']}"


@functools.cache
def _axe_source():
    with open(os.path.join(toolchain.packages(), "node_modules", "axe-core", "axe.min.js"), encoding="utf-8") as f:
        return f.read()


class Window:
    """A page with what was seen on it; everything else is Playwright's page."""

    def __init__(self, context, site, label):
        self.context, self.site, self.label = context, site, label
        self.faults, self.expected = [], []
        self.page = context.new_page()
        context.expose_binding("gbalanceTestViolation", lambda _, text: self._fault("policy", text))
        context.add_init_script(WATCH_POLICY)
        context.on("page", self._watch)
        self._watch(self.page)

    def _watch(self, page):
        page.on("console", lambda m: m.type == "error" and self._fault("console", f"{m.text} ({m.location.get('url')})"))
        page.on("pageerror", lambda e: self._fault("script", f"{e.message}\n{e.stack}"))
        page.on("request", self._request)

    def _fault(self, kind, text):
        self.faults.append(f"{kind}: {text}")

    def _request(self, request):
        url = urllib.parse.urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.netloc != f"127.0.0.1:{self.site.port}":
            self._fault("request to another host", request.url)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def expect(self, pattern):
        """A fault that the test brings about itself."""
        self.expected.append(re.compile(pattern))

    def unexpected(self):
        return [fault for fault in self.faults if not any(p.search(fault) for p in self.expected)]

    def shot(self, name, full=True):
        """A picture below the build folder."""
        os.makedirs(SCREENS, exist_ok=True)
        path = os.path.join(SCREENS, f"{name}-{self.label}.png")
        if full:
            self.page.evaluate("scrollTo(0, 0)")
        self.page.screenshot(path=path, full_page=full)
        return path

    def axe(self):
        """Nothing serious for who cannot see, or not point."""
        self.page.evaluate(_axe_source())
        found = self.page.evaluate(RUN_AXE)
        assert not found, "\n".join(found)

    def no_sideways(self):
        """The page is not wider than its window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{wide} pixels wider than the window"


def sign_in(page, token=ADMIN_TOKEN):
    page.goto("/")
    page.fill("input[type=password]", token)
    page.press("input[type=password]", "Enter")
    page.wait_for_url("**/keys_status*")


@pytest.fixture(scope="module")
def chromium():
    """One for a file of tests: while it lives, an event loop runs in this thread."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="class")
def signed_in(site, chromium):
    """Cookies of a session, so that not every window signs in anew."""
    context = chromium.new_context(base_url=f"http://127.0.0.1:{site.port}")
    sign_in(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def window(site, chromium, request):
    """Opens windows; at the end they must have nothing to complain of."""
    opened = []

    def open_window(lang="en", dark=False, width=1440, height=None, scripts=True, signed=True):
        look = dict(lang=lang, dark=dark, width=width)
        context = chromium.new_context(
            base_url=f"http://127.0.0.1:{site.port}", locale=lang, color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": height or (844 if width < 760 else 1000)},
            storage_state=request.getfixturevalue("signed_in") if signed else None,
            java_script_enabled=scripts, has_touch=width < 760, reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"])
        context.set_default_timeout(20_000)
        opened.append(Window(context, site, look_name(look)))
        return opened[-1]

    yield open_window
    faults = [fault for each in opened for fault in each.unexpected()]
    for each in opened:
        each.context.close()
    assert not faults, "\n".join(faults)
