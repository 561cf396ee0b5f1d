# SPDX-License-Identifier: Apache-2.0
"""Event streams of the admin pages: what happens is told within two seconds, whoever made it happen."""
import dataclasses
import json

import pytest

from conf import KEYS, Conf
from store import Database
from test_600_admin_login import ADMIN, API, Browser
from tools import wait_until
from wire import SURFACES


class Stream:
    """Events in order, as a page would get them."""

    def __init__(self, site, headers):
        self.answer = site.client_of(None).open("GET", "/events", headers=headers)
        self.rest = b""

    def events(self):
        for piece in self.answer.pieces():
            self.rest += piece
            while b"\n\n" in self.rest:
                text, self.rest = self.rest.split(b"\n\n", 1)
                fields = dict(line.split(b": ", 1) for line in text.split(b"\n") if b": " in line and line[:1] != b":")
                if b"event" in fields:
                    yield fields[b"event"].decode(), json.loads(fields[b"data"])

    def until(self, name):
        for event, data in self.events():
            if event == name:
                return data
        raise AssertionError(f"the stream ended without {name}")

    def ended(self):
        for _ in self.events():
            pass
        return True


def bearer():
    return {"Authorization": f"Bearer {ADMIN}"}


def session(browser):
    return {"Cookie": "; ".join(f"{n}={v}" for n, v in browser.cookies.items())}


class TestEvents:
    CONF = Conf(api=API, keys=KEYS)

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, request):
        db = Database("sqlite3")
        server = make_site(dataclasses.replace(cls.CONF, main=db.main))
        server.db = db.of(server)
        server.db.await_tables()
        request.node.gbalance_server = server
        return server

    def test_hello_says_how_the_pool_is(self, site):
        stream = Stream(site, bearer())
        assert stream.answer.headers.get("Content-Type").startswith("text/event-stream")
        assert stream.answer.headers.get("Cache-Control") in ("no-store", "no-cache")
        hello = stream.until("hello")
        assert hello["pool"]["total"] == hello["pool"]["active"] == len(KEYS)

    def test_a_call_is_told_with_its_key_and_its_row(self, site, sim):
        stream = Stream(site, bearer())
        stream.until("hello")
        stream.until("ready")
        assert site.api.post("/v1/chat/completions", json=SURFACES[0].body()).status == 200
        assert len(stream.until("keys")["ids"]) == 1
        assert stream.until("logs")["requests"] > 0

    def test_a_key_that_is_switched_off_changes_the_counts(self, site):
        stream = Stream(site, bearer())
        first = stream.until("hello")["pool"]
        stream.until("ready")
        listed = site.api.request("GET", "/api/keys", token=ADMIN).json()
        key = listed["keys"][0]["id"]
        assert site.api.request("POST", "/api/keys/disable", token=ADMIN, json={"ids": [key]}).status == 200
        pool = stream.until("pool")
        assert (pool["off"], pool["active"]) == (first["off"] + 1, first["active"] - 1)
        site.api.request("POST", "/api/keys/enable", token=ADMIN, json={"ids": [key]})

    def test_saved_settings_are_told(self, site):
        stream = Stream(site, bearer())
        stream.until("hello")
        stream.until("ready")
        assert site.api.request("PUT", "/api/config", token=ADMIN, json={"MAX_FAILURES": 7}).status == 200
        assert stream.until("settings")["generation"] > 0

    def test_without_login_there_is_no_stream(self, site):
        assert site.client_of(None).request("GET", "/events", anonymous=True).status == 401

    def test_signing_out_ends_the_stream(self, site):
        browser = Browser(site)
        browser.login()
        stream = Stream(site, session(browser))
        stream.until("hello")
        browser.post("/logout", {"csrf": browser.csrf})
        assert stream.ended()

    def test_a_listener_holds_no_worker(self, site):
        streams = [Stream(site, bearer()) for _ in range(20)]
        for stream in streams:
            stream.until("hello")
        wait_until(lambda: site.busy_workers() <= 2, "the workers to be idle", timeout=20)

    def test_a_restart_ends_it_at_once(self, site):
        stream = Stream(site, bearer())
        stream.until("hello")
        site.graceful()
        assert stream.ended()
        Stream(site, bearer()).until("hello")


class TestWorkerMpm:
    CONF = Conf(api=API, mpm="worker")

    def test_events_come_there_too(self, site):
        stream = Stream(site, bearer())
        assert stream.until("hello")["pool"]["total"] == 1
