# SPDX-License-Identifier: Apache-2.0
"""Login, sessions and what all pages share, in a real browser."""
import re

import pytest
from playwright.sync_api import Error

from browser import ADMIN_API, ADMIN_TOKEN, LOOKS
from conf import KEYS, Conf
from tools import wait_until

CONF = Conf(keys=KEYS, api=ADMIN_API)


class TestLooks:
    CONF = CONF

    @pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look['lang']}-{look['width']}")
    def test_login(self, window, look):
        page = window(**look, signed=False)
        page.goto("/")
        assert page.get_attribute("html", "lang") == look["lang"]
        page.axe()
        page.no_sideways()
        page.shot("login")
        page.expect("status of 401")
        page.fill("#tok", "wrong")
        page.press("#tok", "Enter")
        page.wait_for_selector("[role=alert]")
        page.axe()
        page.shot("login-error")

    @pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look['lang']}-{look['width']}")
    def test_sessions(self, window, look):
        page = window(**look)
        page.goto("/sessions")
        page.wait_for_selector("table.t tbody tr")
        page.axe()
        page.no_sideways()
        page.shot("sessions")


class TestLogin:
    CONF = CONF

    def test_the_way_in_and_out(self, window):
        page = window(signed=False)
        page.goto("/logs?tab=requests")
        assert "/auth?next=" in page.url
        page.fill("#tok", ADMIN_TOKEN)
        page.click("[data-do=reveal]")
        assert page.get_attribute("#tok", "type") == "text"
        page.click("button[type=submit].primary")
        page.wait_for_url("**/logs?tab=requests")
        page.click("details.me > summary")
        page.click("text=Sign out")
        page.wait_for_url("**/auth")
        page.goto("/keys_status")
        assert "/auth?next=" in page.url

    def test_without_scripts(self, window):
        page = window(signed=False, scripts=False)
        page.goto("/")
        page.fill("#tok", ADMIN_TOKEN)
        page.click("button[type=submit].primary")
        page.wait_for_url("**/keys_status")
        page.goto("/sessions")
        page.click("details.me > summary")
        page.click("button[name=lang][value=zh-TW]")
        assert page.get_attribute("html", "lang") == "zh-TW" and page.url.endswith("/sessions")
        page.click("details.me > summary")
        page.click("button[name=theme]")
        assert page.get_attribute("html", "data-theme") == "dark"


class TestShared:
    CONF = CONF

    def test_theme_and_language(self, window):
        page = window()
        page.goto("/sessions")
        page.click("details.me > summary")
        page.click("[data-do=theme]")
        assert page.get_attribute("html", "data-theme") == "dark"
        page.reload()
        assert page.get_attribute("html", "data-theme") == "dark"  # the server writes it
        page.click("details.me > summary")
        page.click("button[name=lang][value=zh-CN]")
        page.wait_for_selector("html[lang=zh-CN]")

    def test_a_session_is_revoked_without_a_reload(self, window, site):
        other = window(signed=False)
        other.goto("/")
        other.fill("#tok", ADMIN_TOKEN)
        other.press("#tok", "Enter")
        other.wait_for_url("**/keys_status")
        page = window()
        page.goto("/sessions")
        page.evaluate("window.mark = 1")
        page.click("button:has-text('Revoke all others')")
        page.wait_for_selector(".toast")
        page.wait_for_selector("button:has-text('Revoke all others')", state="detached")
        assert page.evaluate("window.mark") == 1
        assert page.locator(".pill.info").count() == 0
        other.expect("401")
        other.goto("/sessions")
        assert "/auth?next=" in other.url

    def test_live_mark(self, window, site):
        page = window()
        page.goto("/sessions")
        page.wait_for_selector(".live:not([hidden]):not(.stale)")

    def test_menu_closes_with_escape_and_help_opens(self, window):
        page = window()
        page.goto("/sessions")
        page.click("details.me > summary")
        page.keyboard.press("Escape")
        assert page.locator("details.me[open]").count() == 0
        page.click("h1")
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        page.axe()
        page.keyboard.press("Escape")
        assert page.locator("dialog").count() == 0

    def test_skip_link_is_the_first_stop(self, window):
        page = window()
        page.goto("/sessions")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"

    def test_it_can_be_installed_and_keeps_no_data(self, window):
        page = window()
        page.goto("/sessions")
        page.wait_for_function("navigator.serviceWorker.ready.then(r => !!r.active)")
        page.evaluate("fetch('sessions?format=json')")
        page.goto("/sessions")
        kept = page.evaluate("""async () => {
            const urls = [];
            for (const name of await caches.keys())
                for (const request of await (await caches.open(name)).keys()) urls.push(new URL(request.url).pathname);
            return urls;
        }""")
        assert kept and all(url.startswith("/gbalance/") for url in kept), kept
        page.expect("ERR_INTERNET_DISCONNECTED")
        page.context.set_offline(True)
        page.goto("/keys/add")
        assert "cannot be reached" in page.inner_text("main")
        with pytest.raises(Error, match="ERR_INTERNET_DISCONNECTED"):
            page.goto("/index.html")  # the site's own, of which we say nothing
        page.context.set_offline(False)
        page.goto("/sessions")
        manifest = page.evaluate("fetch(document.querySelector('link[rel=manifest]').href).then(r => r.json())")
        assert manifest["display"] == "standalone" and {i["sizes"] for i in manifest["icons"]} >= {"192x192", "512x512"}
