# SPDX-License-Identifier: Apache-2.0
"""The pages for settings, logs, usage and the playground: every action once in a real
browser, every page in its looks, and what they do without scripts.
"""
import json
import re

import pytest

from browser import ADMIN_API, ADMIN_TOKEN, LOOKS
from conf import KEYS, Conf
from tools import wait_until
from wire import MODEL, Gemini, OpenAI, ask

EVIL = "<script>document.title='broken'</script>"
CONF = Conf(keys=KEYS, api=ADMIN_API, claims=("GB1007",))


def api(site, method, path, body=None, status=200):
    answer = site.api.request(method, path, token=ADMIN_TOKEN, json=body)
    assert answer.status == status, answer.text
    return answer.json() if answer.text.startswith(("{", "[")) else answer.text


def settings(site, **values):
    return api(site, "PUT", "/api/config", values)


def rows(site, tab="requests", **filters):
    query = "".join(f"&{name}={value}" for name, value in filters.items())
    return api(site, "GET", f"/logs?format=json&tab={tab}{query}")["rows"]


@pytest.fixture(scope="class")
def traffic(site):
    """A log to look at: answers, a 429, a fault that another key mended, one that none could, a client's own, a block."""
    settings(site, ERROR_LOG_RECORD_REQUEST_BODY=True, MAX_RETRIES=3)
    site.sim.reset()
    for text in ("Hello", "What is the capital of France?", EVIL):
        assert ask(site, OpenAI, text).status == 200
        assert ask(site, Gemini, text, stream=True).status == 200
    site.sim.fault("quota_minute", count=1)
    ask(site, OpenAI)
    site.sim.fault("internal", count=1)
    ask(site, OpenAI, EVIL)
    site.sim.fault("invalid_argument", count=1)
    ask(site, OpenAI, "Not acceptable")
    site.sim.fault("internal", count=3)
    ask(site, Gemini, "All keys fail")
    site.api.post("/v1/chat/completions", json=OpenAI.body(EVIL, model=EVIL))
    wait_until(lambda: len(rows(site)) >= 12 and len(rows(site, "errors")) >= 5, "the log to be written")
    site.sim.reset()


class TestLooks:
    CONF = CONF

    @pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look['lang']}-{look['width']}")
    @pytest.mark.parametrize("path, name", [
        ("config", "config"), ("logs", "logs"), ("logs?tab=requests", "requests"), ("logs?tab=changes", "changes"),
        ("usage?range=24h", "usage"), ("playground", "playground")])
    def test_page(self, window, site, traffic, path, name, look):
        page = window(**look)
        page.goto("/" + path)
        page.wait_for_load_state("networkidle")
        page.shot(name)
        page.no_sideways()
        page.axe()
        assert page.title() != "broken"
