# SPDX-License-Identifier: Apache-2.0
"""Who gets into the administration: sessions, CSRF, throttling, headers of the pages."""
import re
import urllib.parse

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from tools import wait_until

ADMIN = "admin-token-0123456789abcdef"
MOUNT = f"Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\n"
API = MOUNT + f'GBalanceAuthToken "{ADMIN}"\n'

PAGES = ["/sessions"]
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
        answer = Browser(site).get(path)
        assert answer.status == 303
        assert answer.headers.get("Location") == "./auth?next=" + urllib.parse.quote(path[1:], safe="")
        assert session_cookie(answer) is None
