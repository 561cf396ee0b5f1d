# SPDX-License-Identifier: Apache-2.0
"""The pages with 10,000 keys and 100,000 log rows: each says what is so, and does what is
asked of it.  How fast they are is what bench.py measures, with a million rows.
"""
import hashlib

import pytest
from playwright.sync_api import expect

from browser import ADMIN_API, ADMIN_TOKEN
from conf import Conf
from rows import CALLERS, FAILS, MODELS, TOKENS, fill, lately
from store import Database
from tools import wait_until

KEYS = tuple(f"AQ.VolumeKey{i:028d}" for i in range(10_000))
IDS = [hashlib.sha256(key.encode()).hexdigest()[:8] for key in KEYS]
ROWS = 100_000
RECENT = ROWS // 2              # of the last 24 hours
OF_KEY = range(7, RECENT, len(KEYS))        # the recent rows of the eighth key
ALL_LOGS = "GBalanceAutoDeleteRequestLogsEnabled Off\nGBalanceAutoDeleteErrorLogsEnabled Off\n"


def get(site, path):
    answer = site.api.get(path, token=ADMIN_TOKEN)
    assert answer.status == 200, answer.text
    return answer


def rows_of(site, query):
    """All rows of a log, page by page."""
    found, after = [], ""
    while after is not None:
        page = get(site, f"/logs?format=json&{query}&after={after}").json()
        found += page["rows"]
        after = page.get("older")
    return found


@pytest.fixture(scope="class")
def filled(site):
    wait_until(lambda: get(site, "/api/keys?count=1").json()["total"] == len(KEYS), "all keys to be there")
    db = Database("sqlite3").of(site)
    db.await_tables()
    fill(site, lately(ROWS, IDS))
    return db


class TestManyKeysAndRows:
    CONF = Conf(keys=KEYS, api=ADMIN_API + ALL_LOGS, main="GBalanceTimezone UTC\n")

    def test_keys(self, site, filled, window):
        assert len(set(IDS)) == len(IDS)
        page = window()
        page.goto("/keys_status?rows=50&sort=id")
        expect(page.locator("#tiles .g-pool .tile .value").first).to_have_text("10,000")
        expect(page.locator("#tiles a.tile[href*='24h']")).to_have_attribute("title", f"{RECENT:,} calls")
        expect(page.locator("#list .foot")).to_contain_text("1–50 of 10,000")
        page.locator("#list").get_by_role("link", name="Next page").click()
        expect(page.locator("#list .foot")).to_contain_text("Page 2 of 200")
        page.fill("#q", IDS[7])
        expect(page.locator("#matched")).to_have_text("1 of 10,000 match")
        page.goto("/keys_status?rows=50&sort=id&page=200")
        shown = page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.dataset.id)")
        assert shown == sorted(IDS)[-50:]
        page.check("#choose-page")
        page.get_by_role("button", name="Select all 10,000 that match").click()
        expect(page.locator("#chosen")).to_have_text("10,000 selected")

    def test_one_key(self, site, filled, window):
        page = window()
        page.goto(f"/keys/{IDS[7]}")
        page.wait_for_selector(".drawn:not([hidden]) canvas")
        expect(page.locator("#detail tr", has_text="24 hours").locator("td").first).to_have_text(str(len(OF_KEY)))
        page.get_by_role("link", name="All in the log").click()
        page.wait_for_url("**key_id=*")
        expect(page.locator("tr[data-call]")).to_have_count(ROWS // len(KEYS))

    @pytest.mark.parametrize("tab, count", [("requests", RECENT), ("errors", RECENT // FAILS)])
    def test_logs(self, site, filled, window, tab, count):
        page = window()
        page.goto(f"/logs?tab={tab}")
        expect(page.locator(".tabs [aria-current=page] .num")).to_have_text(f"{count:,}")
        expect(page.locator("tr[data-call]")).to_have_count(50)
        first = page.locator("tr[data-call]").first.get_attribute("data-id")
        page.click("a[rel=next]")
        page.wait_for_url("**after=*")
        expect(page.locator("tr[data-call]")).to_have_count(50)
        assert page.locator("tr[data-call]").first.get_attribute("data-id") != first
        page.select_option("[name=model]", "model-3")
        page.wait_for_url("**model=model-3*")
        expect(page.locator("tr[data-call]")).to_have_count(50)
        page.locator("tr[data-call] [data-open]").first.click()
        page.wait_for_selector("dialog[open] .steps")

    def test_logs_to_their_end(self, site, filled):
        errors = rows_of(site, "tab=errors&time=all&n=500")
        assert len(errors) == len({row["id"] for row in errors}) == ROWS // FAILS
        assert len(rows_of(site, f"tab=requests&time=all&n=3&key_id={IDS[7]}")) == ROWS // len(KEYS)
        assert len(rows_of(site, "tab=requests&n=500&token=caller7&model=model-3")) == \
            sum(n % CALLERS == 7 and n % MODELS == 3 for n in range(RECENT))

    def test_usage(self, site, filled, window):
        page = window()
        page.goto("/usage?range=24h")
        page.wait_for_selector("#chart-box:not([hidden])")
        tiles = page.locator("#figures .tile")
        assert tiles.evaluate_all("tiles => tiles.slice(0, 3).map(tile => tile.title)") == [f"{n:,}" for n in (
            RECENT, RECENT * TOKENS[0], RECENT * TOKENS[1])]
        expect(page.locator("#figures")).to_contain_text("10,000 keys were used")
        page.click("[data-measure=calls]")
        page.click("[data-split=key]")
        page.wait_for_url("**by=key*")
        page.click("text=30 days")
        page.wait_for_url("**range=30d*")

    def test_configuration(self, site, filled, window):
        page = window()
        page.goto("/config")
        page.fill("#s-MAX_RETRIES", "300")
        assert "from 1 to 20" in page.locator(".set[data-set=MAX_RETRIES] [data-err]").inner_text()
