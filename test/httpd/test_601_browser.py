# SPDX-License-Identifier: Apache-2.0
"""The watched browser sees what a page must not do; a watch that sees nothing proves nothing."""
import pytest

from conf import Conf

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Watched</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; img-src *">{head}</head>
<body><main><h1>Watched</h1>{body}</main></body></html>"""


class TestTheWatch:
    CONF = Conf(keys=(), tokens=())

    def page(self, window, site, head="", body="", script=""):
        """A page of the site with GBalance On, which serves files too."""
        site.write("watched.html", PAGE.format(head=head, body=body))
        site.write("watched.js", script)
        site.write("favicon.ico", b"")      # Chromium may ask for it, or not
        page = window(signed=False)
        page.goto("/watched.html")
        return page

    def one(self, page, pattern):
        """The one fault that was to be seen, which then is none any more."""
        assert page.faults, "the watch saw nothing"
        page.expect(pattern)
        assert not page.unexpected()

    @pytest.mark.parametrize("script, pattern", [
        ("console.error('spilt milk')", "^console: spilt milk"),
        ("null.x", "^script: .*null"),
    ])
    def test_errors_of_scripts(self, window, site, script, pattern):
        page = self.page(window, site, head='<script src="watched.js"></script>', script=script)
        self.one(page, pattern)

    def test_policy(self, window, site):
        page = self.page(window, site, body='<p style="color: red">red</p>')
        self.one(page, r"^(policy: style-src|console: .*Content Security Policy)")
        assert any(fault.startswith("policy: ") for fault in page.faults)

    def test_other_hosts(self, window, site):
        page = self.page(window, site, body='<img alt="" src="http://127.0.0.2:9/x.png">')
        self.one(page, "^(request to another host|console: .*ERR_)")
        assert any(fault.startswith("request to another host") for fault in page.faults)

    def test_who_cannot_see(self, window, site):
        page = self.page(window, site, body='<button></button>')
        with pytest.raises(AssertionError, match="button-name"):
            page.axe()

    def test_a_good_page(self, window, site):
        page = self.page(window, site)
        page.axe()
        page.no_sideways()
        assert page.shot("watched").endswith("watched-en-light-1440.png")
