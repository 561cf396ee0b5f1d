# SPDX-License-Identifier: Apache-2.0
"""The pages about keys in a real browser: every action once, every look, without scripts too."""
import hashlib
import re

import pytest
from playwright.sync_api import expect

from browser import ADMIN_API, ADMIN_TOKEN, LOOKS, look_name
from client import Client
from conf import Conf
from tools import wait_until

KEYS = tuple((f"AQ.PageKey{i:024d}" if i % 4 else f"AIzaSyPageKey{i:026d}") for i in range(12))
NEW = "AQ.PastedKey000000000000000000000"
EVIL = "<script>document.title='owned'</script>"
NEWS = (r"GB10\d\d: ",)
MODEL = "gemini-2.5-flash"


def id_of(key):
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def masked(key):
    return f"{key[:4] if key.startswith('AIza') else 'AQ.'}…{key[-4:]}"


def api(site, method, path="", json=None):
    answer = Client(site.port, token=ADMIN_TOKEN).request(method, "/api/keys" + path, json=json)
    assert answer.status == 200, answer.text
    return answer.json()


def state(site, key):
    return api(site, "GET", "/" + id_of(key))["state"]


def call(site, model=MODEL, times=1):
    for _ in range(times):
        site.api.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": "x"}]})


def furnish(site):
    """A pool with something of everything: tags, notes, a cooling, a failed, an invalid, a switched-off key."""
    for i, key in enumerate(KEYS[:8]):
        api(site, "PATCH", "/" + id_of(key), {"project": f"proj-{i % 3:02d}", "tags": ["free", "eu"] if i % 2 else ["paid"]})
    api(site, "PATCH", "/" + id_of(KEYS[1]), {"note": "Ada's " + EVIL})
    call(site, times=14)
    for fault, model, count in (("quota_minute", MODEL, 1), ("quota_day", "gemini-2.5-pro", 1), ("key_invalid", MODEL, 1)):
        site.sim.fault(fault, model=model, count=count)
        call(site, model)
        site.sim.reset()
    api(site, "POST", "/disable", {"ids": [id_of(KEYS[11])]})


def row(page, key):
    return page.locator(f"#rows tr[data-id='{id_of(key)}']")


def shows(page, n):
    expect(page.locator("#rows tr")).to_have_count(n)


def choose(page, *keys):
    for key in keys:
        row(page, key).locator("input[type=checkbox]").check()


def bulk(page, words):
    page.locator("#bulk").get_by_role("button", name=words, exact=True).click()


def told(page, words):
    """A toast that says so; it is closed then."""
    toast = page.locator(".toast", has_text=words)
    toast.first.wait_for()
    toast.first.locator("[aria-label=Close]").click()


@pytest.fixture(scope="class")
def furnished(site):
    furnish(site)
    return site


CONF = Conf(keys=KEYS, api=ADMIN_API + "GBalanceMaxRetries 1\nGBalanceTimezone Asia/Shanghai\n", claims=NEWS)


@pytest.mark.parametrize("look", LOOKS, ids=look_name)
class TestLooks:
    CONF = CONF

    def test_list(self, furnished, window, look):
        page = window(**look)
        page.goto("/keys_status")
        page.wait_for_selector("#bulk", state="attached")
        page.wait_for_selector(".drawn:not([hidden]) canvas")
        assert page.locator("#rows tr").count() == len(KEYS)
        for key in KEYS[:3]:
            row(page, key).locator("input[type=checkbox]").check()
        page.no_sideways()
        page.axe()
        page.shot("keys")
        page.shot("keys-top", full=False)

    def test_details(self, furnished, window, look):
        page = window(**look)
        page.goto(f"/keys/{id_of(KEYS[1])}")
        page.wait_for_selector(".drawn:not([hidden]) canvas")
        page.no_sideways()
        page.axe()
        page.shot("key")

    def test_add(self, furnished, window, look):
        page = window(**look)
        page.goto("/keys/add")
        page.fill("#ak-t", f"# sheet\n{NEW}\n{KEYS[0]}\n{NEW}\nAIzaCutShort\nsk-another-service")
        page.wait_for_selector("#ak-rows .pill.cool")
        page.no_sideways()
        page.axe()
        page.shot("keys-add")


@pytest.mark.parametrize("look", LOOKS[1:3], ids=look_name)
class TestLooksOver:
    """What lies over the list."""
    CONF = CONF

    def test_drawer(self, furnished, window, look):
        page = window(**look)
        page.goto("/keys_status")
        row(page, KEYS[2]).locator("a.key").click()
        page.wait_for_selector("#drawer[open] .drawn:not([hidden]) canvas")
        assert page.locator("#drawer h2").first.inner_text() == masked(KEYS[2])
        page.axe()
        page.shot("key-drawer", full=False)

    def test_add_over_the_list(self, furnished, window, look):
        page = window(**look)
        page.goto("/keys_status")
        page.click("[data-do=add]")
        page.fill("#add[open] #ak-t", NEW)
        page.wait_for_selector("#ak-rows .pill.ok")
        page.axe()
        page.shot("keys-add-dialog", full=False)


class TestWords:
    CONF = CONF

    @pytest.mark.parametrize("lang, heading", [("zh-CN", "密钥"), ("zh-TW", "金鑰")])
    def test_nothing_is_left_in_english(self, furnished, window, lang, heading):
        """What may stay as it is: names of models, settings, units, Google's own words."""
        page = window(lang=lang)
        for path in ("/keys_status", f"/keys/{id_of(KEYS[1])}", "/keys/add"):
            page.goto(path)
            text = page.locator("main").inner_text()
            english = set(re.findall(r"\b(?:the|of|keys?|is|are|no|not|all|can|state|model|today|limit|until)\b", text, re.I))
            quoted = set(re.findall(r"\w+", " ".join(page.locator("q, .l2, .tag, .mono").all_inner_texts())))
            assert not english - quoted, (path, english - quoted)
        page.goto("/keys_status")
        assert page.locator("h1").inner_text() == heading


class TestLooking:
    CONF = CONF

    def test_hostile_words_are_text(self, furnished, window):
        page = window()
        for path in ("/keys_status", f"/keys/{id_of(KEYS[1])}"):
            page.goto(path)
            assert page.get_by_text("Ada's " + EVIL).count() >= 1
            assert "owned" not in page.title()
        api(furnished, "PATCH", "/" + id_of(KEYS[1]), {"tags": ["<b>x</b>"], "project": EVIL[:39]})
        page.goto("/keys_status")
        assert row(page, KEYS[1]).get_by_text("<b>x</b>").count() == 1
        page.goto(f"/keys_status?q={EVIL}")
        assert page.locator("main script:not([src])").count() == 0 and "owned" not in page.title()
        api(furnished, "PATCH", "/" + id_of(KEYS[1]), {"tags": ["free", "eu"], "project": "proj-01"})

    def test_a_key_that_is_not_there(self, furnished, window):
        page = window(lang="zh-CN")
        page.expect("404")
        page.goto("/keys/00000000")
        assert "密钥池中没有这个密钥" in page.locator("main").inner_text()

    def test_filters_without_a_reload(self, furnished, window):
        page = window()
        page.goto("/keys_status")
        page.evaluate("window.stays = 1")
        page.select_option("#f-state", "invalid")
        shows(page, 1)
        assert "state=invalid" in page.url and "Invalid" in page.locator(".chip").inner_text()
        page.locator(".chip a").click()
        shows(page, len(KEYS))
        page.keyboard.press("/")
        page.keyboard.type("proj-02", delay=5)
        shows(page, 2)
        assert page.evaluate("document.activeElement.id + document.activeElement.value") == "qproj-02"
        page.fill("#q", "nobody")
        page.wait_for_selector("#list .empty")
        page.get_by_role("link", name="Clear filters").click()
        page.wait_for_selector("#rows")
        page.select_option("#f-tag", "paid")
        shows(page, 4)
        page.go_back()
        assert page.evaluate("window.stays") == 1, "no page was loaded anew"

    def test_more_filters(self, furnished, window):
        page = window()
        page.goto("/keys_status")
        assert page.locator("#more").is_hidden()
        page.get_by_role("button", name="More filters").click()
        page.fill("#f-form", "AIza")
        shows(page, 3)
        page.select_option("#f-added", "1d")
        expect(page.locator(".chip")).to_have_count(2)

    def test_order(self, furnished, window):
        page = window()
        page.goto("/keys_status")
        page.get_by_role("columnheader").get_by_role("link", name="Key", exact=True).click()
        page.wait_for_selector("th[aria-sort=ascending] >> text=Key")
        shown = page.locator("#rows tr").evaluate_all("rows => rows.map(r => r.dataset.id)")
        assert shown == sorted(id_of(key) for key in KEYS)
        page.get_by_role("columnheader").get_by_role("link", name="Key", exact=True).click()
        page.wait_for_selector("th[aria-sort=descending] >> text=Key")
        assert page.locator("#rows tr").first.get_attribute("data-id") == max(id_of(key) for key in KEYS)

    def test_chart(self, furnished, window):
        wait_until(lambda: "14" in furnished_calls(furnished), "the calls to reach the roll-ups")
        page = window()
        page.goto("/keys_status")
        for name in ("Errors", "Tokens", "Latency", "Calls"):
            page.locator("#chart").get_by_role("link", name=name, exact=True).click()
            page.wait_for_selector(f"#chart h2:text-is('{name}')")
            page.wait_for_selector("#chart .drawn:not([hidden]) canvas")
        page.locator("#chart").get_by_role("link", name="30 days").click()
        page.wait_for_selector("#chart [aria-current]:text-is('30 days')")
        page.get_by_role("button", name="Show as table").click()
        assert page.locator("#chart tbody tr").count() == 30 and page.locator("#chart canvas").is_hidden()
        page.get_by_role("button", name="Show as table").click()
        assert page.locator("#chart canvas").is_visible()

    def test_heat_map(self, furnished, window):
        page = window()
        page.goto("/keys_status")
        heat = page.locator("#heat")
        assert heat.locator("td.cool").count() >= 1 and heat.locator("td.bad").count() >= 1
        heat.get_by_role("link", name="Keys", exact=True).click()
        page.wait_for_selector("#heat a.key")
        expect(heat.locator("tbody tr")).to_have_count(8)
        heat.get_by_role("link", name="Next page").click()
        expect(heat.locator("tbody tr")).to_have_count(4)

    def test_attention_leads_to_the_keys(self, furnished, window):
        page = window()
        page.goto("/keys_status")
        items = page.locator(".att li")
        assert "1 key refused by Google" in items.first.inner_text() and "Key not valid 1" in items.first.inner_text()
        items.first.get_by_role("link", name="Review").click()
        shows(page, 1)
        assert page.locator("#rows .pill").inner_text() == "Invalid"

    def test_by_keyboard(self, furnished, window):
        page = window()
        page.goto("/keys_status?sort=id")
        page.wait_for_selector("#choose-page:visible")
        first, second = sorted(id_of(key) for key in KEYS)[:2]
        for key in ("j", "x", "j", "x"):
            page.keyboard.press(key)
            if key == "x":
                page.keyboard.press("j")
                page.keyboard.press("k")
        assert page.locator("#chosen").inner_text() == "2 selected"
        page.keyboard.press("Enter")
        page.wait_for_selector("#drawer[open] h2")
        assert second in page.locator("#drawer header").inner_text() and f"open={second}" in page.url
        page.get_by_role("link", name="Previous key").click()
        page.wait_for_selector(f"#drawer header:has-text('{first}')")
        page.keyboard.press("Escape")
        page.wait_for_selector("#drawer", state="hidden")
        assert "open=" not in page.url


def furnished_calls(site):
    page = Client(site.port, token=ADMIN_TOKEN).get("/keys_status?part=tiles").text
    return re.findall(r">(\d+) succeeded", page)


class TestActions:
    CONF = Conf(keys=KEYS, api=ADMIN_API + "GBalanceMaxRetries 1\n", claims=NEWS)

    def test_off_and_on(self, site, window):
        page = window()
        page.goto("/keys_status")
        choose(page, KEYS[0], KEYS[1])
        bulk(page, "Turn off")
        told(page, "2 keys turned off")
        assert state(site, KEYS[0]) == state(site, KEYS[1]) == "off"
        row(page, KEYS[0]).locator(".pill.off").wait_for()
        bulk(page, "Turn on")
        told(page, "2 keys turned on")
        assert state(site, KEYS[0]) == "active"

    def test_verify_with_a_result_for_each(self, site, sim, window):
        sim.fault("key_invalid", key=KEYS[3])
        page = window()
        page.goto("/keys_status")
        choose(page, KEYS[2], KEYS[3])
        bulk(page, "Verify")
        toast = page.locator(".toast.bad", has_text="1 went well, 1 did not")
        toast.wait_for()
        toast.get_by_role("button", name="Show results").click()
        rows = page.locator("#results[open] tbody tr")
        assert masked(KEYS[3]) in rows.first.inner_text() and "API key not valid" in rows.first.inner_text()
        page.axe()
        page.shot("keys-results", full=False)
        page.keyboard.press("Escape")
        assert state(site, KEYS[3]) == "invalid"
        row(page, KEYS[3]).locator(".pill.bad").wait_for()

    def test_reset(self, site, sim, window):
        page = window()
        page.goto("/keys_status")
        row(page, KEYS[3]).locator("[data-do=menu]").click()
        page.get_by_role("menuitem", name="Reset failures").click()
        told(page, "1 key reset")
        assert state(site, KEYS[3]) == "active"

    def test_verify_all(self, site, sim, window):
        page = window()
        page.goto("/keys_status")
        page.get_by_role("button", name="Verify all").click()
        told(page, f"{len(KEYS)} keys verified")
        assert len(sim.calls(own=True)) >= len(KEYS)

    def test_tags(self, site, window):
        page = window()
        page.goto("/keys_status")
        choose(page, KEYS[4], KEYS[5])
        bulk(page, "Tag")
        page.fill("#ask[open] #tags", "night, team-a")
        page.locator("#ask").get_by_role("button", name="Tag 2 keys").click()
        told(page, "2 keys changed")
        assert sorted(api(site, "GET", "/" + id_of(KEYS[4]))["tags"]) == ["night", "team-a"]
        bulk(page, "Tag")
        page.fill("#ask[open] #tags", "night")
        page.get_by_label("Take away").check()
        page.locator("#ask").get_by_role("button", name="Tag 2 keys").click()
        told(page, "2 keys changed")
        assert api(site, "GET", "/" + id_of(KEYS[4]))["tags"] == ["team-a"]

    def test_edit_one(self, site, window):
        page = window()
        page.goto(f"/keys_status?open={id_of(KEYS[6])}")
        page.locator("#drawer").get_by_role("button", name="Edit").click()
        page.fill("#e-project", "proj-x")
        page.fill("#e-note", "for the demo")
        page.fill("#e-weight", "99")
        page.locator("#ask").get_by_role("button", name="Save").click()
        page.expect("400")
        told(page, "weight must be a number from 1 to 16")
        page.locator("#drawer").get_by_role("button", name="Edit").click()
        page.fill("#e-project", "proj-x")
        page.fill("#e-note", "for the demo")
        page.locator("#ask").get_by_role("button", name="Save").click()
        told(page, "Saved")
        key = api(site, "GET", "/" + id_of(KEYS[6]))
        assert (key["project"], key["note"], key["weight"]) == ("proj-x", "for the demo", 1)
        page.wait_for_selector("#drawer .facts >> text=for the demo")

    def test_copy(self, site, window):
        page = window()
        page.goto("/keys_status")
        choose(page, KEYS[0], KEYS[1])
        bulk(page, "Copy")
        page.locator("#ask").get_by_role("button", name="Copy").click()
        told(page, "2 keys copied")
        shown = page.evaluate("navigator.clipboard.readText()")
        assert set(shown.split("\n")) == {f"{id_of(key)} {masked(key)}" for key in KEYS[:2]}
        bulk(page, "Copy")
        page.get_by_label("Whole keys, one a line").check()
        page.locator("#ask").get_by_role("button", name="Copy").click()
        told(page, "2 keys copied")
        assert set(page.evaluate("navigator.clipboard.readText()").split("\n")) == set(KEYS[:2])
        assert "2 key(s) of the pool default were revealed" in site.log.text()

    def test_reveal(self, site, window):
        page = window()
        page.goto(f"/keys/{id_of(KEYS[2])}")
        assert KEYS[2] not in page.content()
        page.get_by_role("button", name="Reveal and copy").click()
        page.locator("#ask").get_by_role("button", name="Reveal").click()
        page.wait_for_selector("#ask pre")
        assert page.locator("#ask pre").inner_text() == KEYS[2]
        page.axe()
        page.shot("key-reveal", full=False)
        page.locator("#ask").get_by_role("button", name="Hide").click()
        page.wait_for_selector("#ask", state="hidden")
        assert KEYS[2] not in page.content()

    def test_add_by_paste(self, site, window):
        page = window()
        page.goto("/keys_status")
        page.click("[data-do=add]")
        page.fill("#ak-t", f"{NEW}\n{KEYS[0]}\n{NEW}")
        page.wait_for_selector("#ak-add:has-text('Add 1 key')")
        assert [p.strip() for p in page.locator("#ak-counts .pill").all_inner_texts()] == ["1 New", "1 Known", "1 Doubled"]
        page.expect("400")
        page.fill("#ak-r", "(")
        page.wait_for_selector("#ak-r-fault:visible")
        page.fill("#ak-r", "")
        page.wait_for_selector("#ak-add:has-text('Add 1 key')")
        page.fill("#ak-g", "sheet")
        page.click("#ak-add")
        told(page, "1 key added")
        told(page, "1 key verified")
        key = api(site, "GET", "/" + id_of(NEW))
        assert key["tags"] == ["sheet"] and key["source"] == "added"
        row(page, NEW).wait_for()

    def test_drop_a_file(self, site, window):
        page = window()
        page.goto("/keys/add")
        page.evaluate("""text => {
          const data = new DataTransfer();
          data.items.add(new File([text], 'keys.env', {type: 'text/plain'}));
          document.querySelector('#ak-t').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }""", f"API_KEYS={KEYS[0]}")
        page.wait_for_selector("#ak-counts >> text=1 Known")

    def test_delete(self, site, window):
        page = window()
        page.goto("/keys_status")
        choose(page, KEYS[9], KEYS[10])
        bulk(page, "Delete")
        sure = page.locator("#ask").get_by_role("button", name="Delete 2 keys")
        page.axe()
        page.shot("keys-delete", full=False)
        assert sure.is_disabled()
        page.fill("#typed", "3")
        assert sure.is_disabled()
        page.fill("#typed", "2")
        sure.click()
        expect(row(page, KEYS[9])).to_have_count(0)
        page.wait_for_selector("#rows a.key:focus")
        told(page, "2 keys deleted")
        assert api(site, "GET", f"/ids?search={id_of(KEYS[9])}")["ids"] == []

    def test_delete_one_in_the_drawer(self, site, window):
        page = window()
        page.goto(f"/keys_status?open={id_of(KEYS[8])}")
        page.locator("#drawer").get_by_role("button", name="Delete").click()
        page.locator("#ask").get_by_role("button", name=f"Delete {masked(KEYS[8])}").click()
        told(page, "1 key deleted")
        page.wait_for_selector("#drawer", state="hidden")
        assert api(site, "GET", f"/ids?search={id_of(KEYS[8])}")["ids"] == []

    def test_keep_one(self, site, window):
        page = window()
        page.goto(f"/keys/{id_of(KEYS[7])}")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Keep it").click()
        assert state(site, KEYS[7]) == "active"


class TestTwoBrowsers:
    """What one changes, the other sees within 2 s."""
    CONF = CONF

    def test_each_change_appears(self, furnished, window):
        mine, theirs = window(), window()
        theirs.goto("/keys_status?sort=id")
        theirs.wait_for_selector(".live:not(.stale):visible")
        mine.goto("/keys_status?sort=id")
        theirs.evaluate("window.stays = 1")
        for change, seen in (
                (lambda: bulk(mine, "Turn off"), ".pill.off"),
                (lambda: bulk(mine, "Turn on"), ".pill.ok")):
            if mine.locator("#bulk").is_hidden():
                choose(mine, KEYS[8])
            change()
            mine.locator(".toast").first.wait_for()
            row(theirs, KEYS[8]).locator(seen).wait_for(timeout=4000)
        api(furnished, "PATCH", "/" + id_of(KEYS[9]), {"note": "told to all", "tags": ["fresh"]})
        row(theirs, KEYS[9]).get_by_text("told to all").wait_for(timeout=4000)
        api(furnished, "POST", "", {"text": NEW})
        row(theirs, NEW).wait_for(timeout=4000)
        api(furnished, "POST", "/delete", {"ids": [id_of(NEW)]})
        expect(row(theirs, NEW)).to_have_count(0, timeout=4000)
        furnished.sim.fault("key_invalid", key=KEYS[10])
        call(furnished, times=14)
        row(theirs, KEYS[10]).locator(".pill.bad").wait_for(timeout=4000)
        assert theirs.evaluate("window.stays") == 1, "no page was loaded anew"

    def test_rows_do_not_move_under_the_pointer(self, furnished, window):
        page = window()
        page.goto("/keys_status?sort=failures&desc=1")
        page.wait_for_selector(".live:not(.stale):visible")
        before = page.locator("#rows tr").evaluate_all("rows => rows.map(r => r.dataset.id)")
        page.locator("#rows tr").nth(2).hover()
        api(furnished, "POST", "", {"text": NEW})
        page.locator("#moved button").wait_for(timeout=4000)
        assert page.locator("#rows tr").evaluate_all("rows => rows.map(r => r.dataset.id)") == before
        page.locator("#moved button").click()
        row(page, NEW).wait_for()
        api(furnished, "POST", "/delete", {"ids": [id_of(NEW)]})

    def test_a_late_answer_brings_no_old_view_back(self, furnished, window):
        page = window()
        held = []
        with page.expect_response(re.compile("part=list$")):        # what "ready" asks for is through
            page.goto("/keys_status")
        page.route(re.compile(r"keys_status\?part=list$"), lambda route: held.append(route))
        api(furnished, "PATCH", "/" + id_of(KEYS[5]), {"note": "news"})
        # Playwright hands events on only while something is asked of it
        wait_until(lambda: page.wait_for_timeout(50) or held, "the look at the news")
        page.select_option("#f-state", "invalid")
        shows(page, api(furnished, "GET", "?state=invalid&count=1")["matched"])
        with page.expect_response(re.compile("part=list$")) as late:
            held[0].continue_()
        late.value.finished()
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        assert {pill.strip() for pill in page.locator("#rows .pill").all_inner_texts()} == {"Invalid"}

    def test_the_drawer_follows(self, furnished, window):
        page = window()
        page.goto(f"/keys_status?open={id_of(KEYS[0])}")
        page.wait_for_selector("#drawer[open] .pill.ok")
        api(furnished, "POST", "/disable", {"ids": [id_of(KEYS[0])]})
        page.wait_for_selector("#drawer .pill.off", timeout=4000)


class TestManyKeys:
    MANY = tuple(f"AQ.ManyKey{i:024d}" for i in range(130))
    CONF = Conf(keys=MANY, api=ADMIN_API, claims=NEWS)

    def test_selection_goes_across_pages(self, site, window):
        page = window()
        page.goto("/keys_status?sort=id&rows=20")
        page.check("#choose-page")
        assert page.locator("#chosen").inner_text() == "20 selected"
        page.locator("#list").get_by_role("link", name="Next page").click()
        page.wait_for_selector("#list .foot >> text=Page 2 of 7")
        boxes = page.locator("#rows input[type=checkbox]")
        boxes.nth(0).click()
        boxes.nth(4).click(modifiers=["Shift"])
        assert page.locator("#chosen").inner_text() == "25 selected"
        bulk(page, "Turn off")
        told(page, "25 keys turned off")
        assert api(site, "GET", "?state=off&count=1")["matched"] == 25
        page.get_by_role("button", name="Clear selection").click()
        assert page.locator("#bulk").is_hidden()

    def test_all_that_match(self, site, window):
        page = window()
        page.goto("/keys_status?state=off")
        page.check("#choose-page")
        page.goto("/keys_status?rows=20")
        page.check("#choose-page")
        page.get_by_role("button", name="Select all 130 that match").click()
        assert page.locator("#chosen").inner_text() == "130 selected"
        bulk(page, "Turn on")
        told(page, "130 keys turned on")
        assert api(site, "GET", "?state=active&count=1")["matched"] == 130

    def test_stopped_and_gone_on_with(self, site, sim, window):
        """A job goes on on the next page, and can be stopped."""
        sim.fault("delay", delay_ms=300, count=1000)
        page = window()
        page.goto("/keys_status")
        page.get_by_role("button", name="Verify all").click()
        page.locator(".toast", has_text="Verifying 130 keys").wait_for()
        page.goto("/keys_status?state=active")
        toast = page.locator(".toast", has_text="Verifying 130 keys")
        toast.wait_for()
        page.axe()
        page.shot("keys-progress", full=False)
        toast.get_by_role("button", name="Cancel").click()
        page.locator(".toast", has_text="Stopped after").wait_for()
        page.goto("/keys_status")
        page.wait_for_selector("#choose-page:visible")
        assert page.locator(".toast").count() == 0
        sim.reset()


class TestNoKeys:
    CONF = Conf(keys=(), api=ADMIN_API, claims=NEWS)

    @pytest.mark.parametrize("look", LOOKS[:2], ids=look_name)
    def test_the_first_thing_to_do(self, site, window, look):
        page = window(**look)
        page.goto("/keys_status")
        page.wait_for_selector("#list .empty")
        page.no_sideways()
        page.axe()
        page.shot("keys-none")

    def test_add_the_first(self, site, window):
        page = window()
        page.goto("/keys_status")
        page.locator("#list .empty").get_by_role("link", name="Add keys").click()
        page.fill("#ak-t", KEYS[0])
        page.wait_for_selector("#ak-add:has-text('Add 1 key')")
        page.click("#ak-add")
        row(page, KEYS[0]).wait_for()


class TestNoDatabase:
    """Figures that cannot be read take nothing else with them."""
    CONF = Conf(keys=KEYS, api=ADMIN_API, main="GBalanceDatabase sqlite3:/nowhere/at/all.db", claims=(r"GB\d{4}: ",))

    def test_the_rest_of_the_page_stands(self, site, window):
        page = window()
        page.goto("/keys_status")
        page.wait_for_selector(".tile .note[role=alert]")
        assert page.locator("#rows tr").count() == len(KEYS)
        page.axe()
        page.shot("keys-no-database")


class TestBelowAPath:
    """All addresses are relative: the same pages behind a prefix."""
    CONF = Conf(keys=KEYS, api=ADMIN_API, prefix="/llm/gate", claims=NEWS)

    def test_parts_and_pages(self, site, window):
        page = window(signed=False)
        page.goto("/llm/gate/")
        page.fill("input[type=password]", ADMIN_TOKEN)
        page.press("input[type=password]", "Enter")
        page.wait_for_selector("#rows")
        page.select_option("#f-state", "off")
        page.wait_for_selector("#list .empty")
        page.get_by_role("link", name="Clear filters").click()
        row(page, KEYS[1]).locator("a.key").click()
        page.wait_for_selector("#drawer[open]")
        page.locator("#drawer").get_by_role("link", name="Next key").click()
        page.locator("#drawer").get_by_role("button", name="Turn off").click()
        told(page, "1 key turned off")
        page.locator("#drawer .pill.off").first.wait_for()
        link = page.locator("#drawer").get_by_role("link", name="All in the log").evaluate("a => new URL(a.href).pathname")
        assert link == "/llm/gate/logs"


class TestWithoutScripts:
    CONF = Conf(keys=KEYS, api=ADMIN_API, claims=NEWS)

    def test_looking(self, site, window):
        page = window(scripts=False)
        page.goto("/keys_status")
        assert page.locator("#rows tr").count() == len(KEYS)
        page.fill("#q", id_of(KEYS[3]))
        page.locator("#filters noscript button").click() if page.locator("#filters noscript button").count() else page.press("#q", "Enter")
        assert page.locator("#rows tr").count() == 1
        row(page, KEYS[3]).get_by_role("link", name=masked(KEYS[3])).click()
        assert page.locator("h1").inner_text() == masked(KEYS[3])
        page.shot("key-no-scripts")

    def test_chart_is_a_table(self, site, window):
        page = window(scripts=False)
        page.goto("/keys_status")
        assert page.locator("#chart .numbers tbody tr").count() == 24

    def test_off(self, site, window):
        page = window(scripts=False)
        page.goto("/keys_status")
        choose(page, KEYS[0], KEYS[1])
        page.shot("keys-no-scripts", full=False)
        page.get_by_role("button", name="Turn off").click()
        assert page.locator("h1").inner_text() == "2 keys turned off"
        assert page.locator("tbody .pill.off").count() == 2
        page.shot("keys-done-no-scripts")
        assert state(site, KEYS[0]) == "off"
        page.goto(f"/keys/{id_of(KEYS[0])}")
        page.get_by_role("button", name="Turn on").click()
        assert state(site, KEYS[0]) == "active"

    def test_verify(self, site, sim, window):
        sim.fault("key_invalid", key=KEYS[5])
        page = window(scripts=False)
        page.goto("/keys_status")
        choose(page, KEYS[4], KEYS[5])
        page.locator(".bulk").get_by_role("button", name="Verify", exact=True).click()
        assert "1 went well, 1 did not" in page.locator(".sub").inner_text()
        assert "API key not valid" in page.locator("tbody tr").first.inner_text()

    def test_tag(self, site, window):
        page = window(scripts=False)
        page.goto("/keys_status")
        choose(page, KEYS[2])
        page.get_by_role("button", name="Tag").click()
        page.fill("#tags", "paid, eu")
        page.get_by_role("button", name="Tag 1 key").click()
        assert sorted(api(site, "GET", "/" + id_of(KEYS[2]))["tags"]) == ["eu", "paid"]

    def test_delete_asks_for_the_number(self, site, window):
        page = window(scripts=False)
        page.goto(f"/keys_status?q={id_of(KEYS[9])}")
        page.get_by_label("Select all 1 that match").check()
        page.get_by_role("button", name="Delete").click()
        page.fill("#typed", "7")
        page.get_by_role("button", name="Delete 1 key").click()
        page.get_by_text("That is not the number of keys.").wait_for()
        page.fill("#typed", "1")
        page.get_by_role("button", name="Delete 1 key").click()
        assert page.locator("h1").inner_text() == "1 key deleted"
        assert api(site, "GET", f"/ids?search={id_of(KEYS[9])}")["ids"] == []

    def test_add_after_a_look(self, site, window):
        page = window(scripts=False)
        page.goto("/keys/add")
        page.fill("#ak-t", f"{NEW}\n{KEYS[0]}")
        page.fill("#ak-g", "sheet")
        page.get_by_role("button", name="Look first").click()
        expect(page.locator("#ak-rows .pill")).to_have_count(2)
        assert [p.strip() for p in page.locator("#ak-rows .pill").all_inner_texts()] == ["Known", "New"]
        page.get_by_role("button", name="Add 1 key").click()
        page.get_by_text("1 key added").wait_for()
        assert api(site, "GET", "/" + id_of(NEW))["tags"] == ["sheet"]

    def test_a_form_of_another_site_gets_nothing(self, site, window):
        page = window(scripts=False)
        page.expect("403")
        page.goto("/keys_status")
        page.context.request.post(f"http://127.0.0.1:{site.port}/keys/do", form={"verb": "disable", "id": id_of(KEYS[7])})
        assert state(site, KEYS[7]) == "active"
