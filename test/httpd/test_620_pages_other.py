# SPDX-License-Identifier: Apache-2.0
"""The pages for settings, logs, usage and the playground: every action once in a real
browser, every page in its looks, and what they do without scripts.
"""
import csv
import json
import urllib.parse

import pytest

from browser import ADMIN_API, ADMIN_TOKEN, LOOKS
from conf import KEYS, Conf
from store import Database
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
        page.shot(name, full=name != "config")
        page.no_sideways()
        page.axe()
        assert page.title() != "broken"

    @pytest.mark.parametrize("look", [LOOKS[1], LOOKS[2]], ids=lambda look: f"{look['lang']}-{look['width']}")
    def test_one_call(self, window, site, traffic, look):
        page = window(**look)
        page.goto("/logs")
        page.click("tr[data-call] [data-open] >> nth=-1")
        page.wait_for_selector("dialog[open] .steps")
        page.shot("call", full=False)
        page.axe()

    def test_nothing_there(self, window, make_site, site, traffic):
        page = window()
        for path, words in (("logs?q=no-such-words-anywhere", "Nothing matches"), ("usage?range=month&by=key", "By key"),
                            ("logs?call=no-such-call-0000", "No such call"), ("config?q=no-such-setting", "No setting matches")):
            page.goto("/" + path)
            page.wait_for_selector(f"text={words}")


class TestConfiguration:
    CONF = CONF

    def test_an_edit_from_mark_to_save(self, window, site):
        page = window()
        page.goto("/config")
        page.select_option("#s-KEY_POLICY", "headroom")
        page.fill("#s-MAX_RETRIES", "300")
        retries = page.locator(".set[data-set=MAX_RETRIES]")
        assert "from 1 to 20" in retries.locator("[data-err]").inner_text()
        assert "Was 3" in retries.locator("[data-was]").inner_text()
        assert page.locator("#savebar [data-count]").inner_text() == "2 changes not saved"
        assert page.locator("#savebar [data-do=save]").is_disabled()
        assert page.locator(".cfg-nav a >> nth=0").locator("[data-mark]").inner_text().strip().startswith("2")
        page.shot("config-edit", full=False)
        page.axe()
        page.fill("#s-MAX_RETRIES", "5")
        page.click("#savebar [data-do=compare]")
        text = page.locator("dialog[open]").inner_text()
        assert "round_robin" in text and "headroom" in text and "+ 5" in text
        page.axe()
        page.click("dialog[open] .btn.primary")
        page.wait_for_selector(".toast >> text=2 settings saved")
        assert api(site, "GET", "/api/config")["MAX_RETRIES"] == 5
        page.wait_for_selector(".set[data-set=KEY_POLICY] .src-pill.saved")
        assert page.locator("#history li >> nth=0").inner_text().startswith("KEY_POLICY")
        assert not page.locator(".set.dirty").count()

    def test_undo_discard_and_forget(self, window, site):
        settings(site, MAX_FAILURES=7)
        page = window()
        page.goto("/config")
        page.fill("#s-MAX_RETRIES", "9")
        page.click(".set[data-set=MAX_RETRIES] [data-do=undo]")
        assert page.input_value("#s-MAX_RETRIES") == str(api(site, "GET", "/api/config")["MAX_RETRIES"])
        page.fill("#s-TEST_MODEL", "other")
        page.click("#savebar [data-do=discard]")
        assert page.input_value("#s-TEST_MODEL") == "gemini-2.5-flash-lite"
        page.click(".set[data-set=MAX_FAILURES] [data-do=unset]")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".set[data-set=MAX_FAILURES] .src-pill >> text=default")
        assert api(site, "GET", "/api/config")["MAX_FAILURES"] == 3

    def test_lists_maps_switches_and_documents(self, window, site):
        page = window()
        page.goto("/config")
        page.fill("#s-SEARCH_MODELS li.addrow input", EVIL)
        page.press("#s-SEARCH_MODELS li.addrow input", "Enter")
        page.click("#s-SEARCH_MODELS li:first-child [data-do=drop]")
        page.fill("#s-THINKING_BUDGET_MAP li.addrow input >> nth=0", "gemini-x")
        page.fill("#s-THINKING_BUDGET_MAP li.addrow input >> nth=1", "-1")
        page.press("#s-THINKING_BUDGET_MAP li.addrow input >> nth=1", "Enter")
        page.click("#s-SHOW_SEARCH_LINK")
        page.select_option("#s-SAFETY_SETTINGS select >> nth=0", "BLOCK_ONLY_HIGH")
        page.fill("#s-MODEL_LIMITS", '{"gemini-x": {"rpm": 5}}')
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".toast >> text=5 settings saved")
        now = api(site, "GET", "/api/config")
        assert now["SEARCH_MODELS"] == ["gemini-2.5-pro", EVIL] and now["THINKING_BUDGET_MAP"] == {"gemini-x": -1}
        assert now["SHOW_SEARCH_LINK"] is False and now["MODEL_LIMITS"] == {"gemini-x": {"rpm": 5}}
        assert now["SAFETY_SETTINGS"][0] == {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
        page.reload()
        assert page.input_value("#s-SEARCH_MODELS li >> nth=1 >> input") == EVIL and page.title() != "broken"

    def test_what_the_server_refuses_stands_beside_its_field(self, window, site):
        page = window()
        page.expect("400")
        page.goto("/config")
        page.fill("#s-BASE_URL", "ftp://x")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".set[data-set=BASE_URL].invalid")
        assert "http" in page.locator(".set[data-set=BASE_URL] [data-err]").inner_text()
        page.wait_for_selector(".toast.bad")

    def test_history_and_back(self, window, site):
        settings(site, MAX_RETRIES=4)
        settings(site, MAX_RETRIES=6)
        page = window()
        page.goto("/config")
        first = page.locator("#history li >> nth=0")
        assert "- 4" in first.inner_text() and "+ 6" in first.inner_text()
        first.locator("[data-do=restore]").click()
        page.wait_for_selector(".toast >> text=in force again")
        assert api(site, "GET", "/api/config")["MAX_RETRIES"] == 4
        page.click("#history a >> text=All changes")
        page.wait_for_url("**/logs?tab=changes")
        assert page.locator(".hist li").count() >= 3

    @pytest.mark.parametrize("form, name", [("As a .env file", "gbalance.env"), ("As JSON", "gbalance.json")])
    def test_out_and_in(self, window, site, form, name):
        settings(site, MAX_RETRIES=8, SEARCH_MODELS=["x", "y"])
        page = window()
        page.goto("/config")
        page.click("[data-do=export]")
        with page.expect_download() as download:
            page.click(f"dialog[open] >> text={form}")
        assert download.value.suggested_filename == name
        page.keyboard.press("Escape")
        with open(download.value.path(), encoding="utf-8") as f:
            text = f.read()
        assert "MAX_RETRIES" in text and KEYS[0] not in text
        settings(site, MAX_RETRIES=3, SEARCH_MODELS=["z"])
        page.goto("/config")
        page.click("[data-do=import]")
        page.axe()
        page.fill("dialog[open] textarea", text)
        page.click("dialog[open] .btn.primary")
        page.wait_for_selector("#savebar >> text=changes not saved")
        assert page.input_value("#s-MAX_RETRIES") == "8"
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".toast >> text=saved")
        assert api(site, "GET", "/api/config")["SEARCH_MODELS"] == ["x", "y"]

    def test_secrets_made_up(self, window, site):
        page = window()
        page.goto("/config")
        page.click(".set[data-set=VERTEX_API_KEYS] li.addrow input")
        assert not page.locator(".set[data-set=AUTH_TOKEN] [data-do=generate]").count(), "it is set by a directive"
        page.fill("#s-SMMS_SECRET_TOKEN", "word-0123456789")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".toast >> text=saved")
        assert "word-0123" not in page.content()
        page.wait_for_selector("#s-SMMS_SECRET_TOKEN[placeholder^=set]")
        page.click(".set[data-set=SMMS_SECRET_TOKEN] [data-do=clear]")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector("#s-SMMS_SECRET_TOKEN[placeholder^=not]")

    def test_proxies_and_models(self, window, site):
        page = window()
        page.goto("/config")
        page.fill("#s-PROXIES li.addrow input", "http://127.0.0.1:9")
        page.press("#s-PROXIES li.addrow input", "Enter")
        page.click("#s-PROXIES li:first-child [data-do=check]")
        page.wait_for_selector("#s-PROXIES .pill.bad")
        page.focus("#s-TEST_MODEL")
        page.wait_for_function("() => document.querySelectorAll('#models option').length > 3")

    def test_finding(self, window, site):
        page = window()
        page.goto("/config")
        page.fill("#find", "breaker")
        assert page.locator(".set:visible").count() == 4
        page.fill("#find", "no such thing")
        page.click("text=Show all")
        assert page.locator(".set:visible").count() > 100

    def test_reset(self, window, site):
        settings(site, MAX_RETRIES=11)
        page = window()
        page.goto("/config")
        page.click("[data-do=reset]")
        page.click("dialog[open] .btn.danger")
        page.wait_for_selector(".toast >> text=forgotten")
        assert page.input_value("#s-MAX_RETRIES") == "3"

    def test_two_browsers(self, window, site):
        one, two = window(), window()
        for page in (one, two):
            page.goto("/config")
            page.wait_for_selector(".live:not([hidden])")
        two.fill("#s-TEST_MODEL", "typed-meanwhile")
        one.fill("#s-MAX_RETRIES", "12")
        one.click("#savebar [data-do=save]")
        two.wait_for_function("() => document.querySelector('#s-MAX_RETRIES').value === '12'")
        assert two.input_value("#s-TEST_MODEL") == "typed-meanwhile"
        assert two.locator("#savebar [data-count]").inner_text() == "1 change not saved"

    KEPT = {"CUSTOM_HEADERS": {"X-Version": "1.10", "X-Flag": "true", "X-Secret-Word": "word, with; signs"},
            "MODEL_ALIASES": {"it's": "gemini-x", "a=b": "1.50"}, "THINKING_BUDGET_MAP": {"m": -1, "n": 0},
            "PROXIES": [], "VERTEX_API_KEYS": ["vertex-key-0123456789"], "OSS_REGION": "x'\"&<> y",
            "SAFETY_SETTINGS": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"},
                                {"category": "HARM_CATEGORY_OF_TOMORROW", "threshold": "BLOCK_SOMEHOW"}]}

    @pytest.mark.parametrize("scripts", [True, False])
    def test_an_edit_touches_nothing_beside_it(self, window, site, scripts):
        """Not values that read as numbers, nor words that the page does not know."""
        api(site, "POST", "/api/config/reset", {})
        settings(site, **self.KEPT)
        clear = api(site, "POST", "/api/config/export?format=json", {"secrets": True})
        page = window(scripts=scripts)
        page.goto("/config")
        page.fill("#s-CUSTOM_HEADERS li.addrow input >> nth=0", "X-More")
        page.fill("#s-CUSTOM_HEADERS li.addrow input >> nth=1", "2.0")
        if scripts:
            page.press("#s-CUSTOM_HEADERS li.addrow input >> nth=1", "Enter")
        page.select_option("#s-SAFETY_SETTINGS select >> nth=0", "BLOCK_NONE")
        page.click("#savebar [data-do=save]" if scripts else "#savebar button[type=submit]")
        page.wait_for_selector(".toast >> text=2 settings saved" if scripts else ".note.ok")
        clear["CUSTOM_HEADERS"]["X-More"] = "2.0"
        clear["SAFETY_SETTINGS"][0]["threshold"] = "BLOCK_NONE"
        assert api(site, "POST", "/api/config/export?format=json", {"secrets": True}) == clear
        api(site, "POST", "/api/config/reset", {})

    def test_without_scripts(self, window, site):
        api(site, "POST", "/api/config/reset", {})
        page = window(scripts=False)
        page.expect("400 .Bad Request")
        page.goto("/config?q=retr")
        assert page.locator(".set").count() < 20
        page.goto("/config")
        page.fill("#s-MAX_RETRIES", "13")
        page.fill("#s-SEARCH_MODELS li.addrow input", "third")
        page.click("#savebar button[type=submit]")
        assert "Saved" in page.locator(".note.ok").inner_text()
        now = api(site, "GET", "/api/config")
        assert now["MAX_RETRIES"] == 13 and now["SEARCH_MODELS"][2] == "third"
        changed = api(site, "GET", "/api/config/history")["changes"][0]["values"]
        assert {value["name"] for value in changed} == {"MAX_RETRIES", "SEARCH_MODELS"}, "what is the same is no change"
        page.fill("#s-MAX_RETRIES", "99")
        page.click("#savebar button[type=submit]")
        assert "1 to 20" in page.locator(".set.invalid").inner_text() and page.input_value("#s-MAX_RETRIES") == "99"
        page.goto("/config")
        page.click("#history button >> nth=0")
        assert api(site, "GET", "/api/config")["MAX_RETRIES"] == 3
        page.goto("/config?view=import")
        page.fill("textarea", "MAX_RETRIES=14\n")
        page.click("main .btn.primary")
        assert api(site, "GET", "/api/config")["MAX_RETRIES"] == 14
        page.goto("/config?view=reset")
        page.click("main form .btn.danger")
        assert api(site, "GET", "/api/config")["MAX_RETRIES"] == 3


class TestLogs:
    CONF = CONF

    def test_tabs_filters_and_paging(self, window, site, traffic):
        page = window()
        page.goto("/logs")
        assert page.locator("tr[data-call]").count() == len(rows(site, "errors"))
        page.select_option("[name=result]", "429")
        page.wait_for_url("**result=429*")
        assert page.locator("tr[data-call]").count() == 1 and "result=&" not in page.url
        page.click("text=Requests >> nth=0")
        page.wait_for_selector("#log[data-tab=requests]")
        page.goto("/logs?tab=requests&n=2")
        seen = []
        while True:
            seen += page.locator("tr[data-call]").evaluate_all("rows => rows.map(row => row.dataset.id)")
            if not page.locator("a[rel=next]").count():
                break
            page.click("a[rel=next]")
            page.wait_for_load_state()
        assert len(seen) == len(set(seen)) == len(rows(site))
        page.goto("/logs")
        page.click(".more-filters summary")
        page.fill("[name=status]", "500")
        page.click(".more-filters .btn.primary")
        page.wait_for_url("**status=500*")
        assert page.locator("tr[data-call]").count() == len(rows(site, "errors", status=500)) > 0
        page.fill("[name=q]", "nothing has these words")
        page.press("[name=q]", "Enter")
        page.wait_for_selector("text=Nothing matches")
        page.click("text=Clear the filters")
        page.wait_for_selector("tr[data-call]")

    def test_one_call(self, window, site, traffic):
        page = window()
        page.goto("/logs")
        mended = page.locator("tr[data-call]", has_text="answered on attempt 2").first
        mended.locator("[data-open]").click()
        page.wait_for_selector("dialog[open] .steps")
        assert page.locator("dialog[open] .step").count() == 2
        assert "Answered on attempt 2" in page.locator("dialog[open] .call > header").inner_text()
        assert page.locator("dialog[open] pre .p").count() > 2, "JSON in colours"
        assert "call=" in page.url
        page.click("dialog[open] [data-do=copy-call]")
        assert "Attempts" in page.evaluate("navigator.clipboard.readText()") or "·" in page.evaluate("navigator.clipboard.readText()")
        first = page.locator("dialog[open] h2").inner_text()
        page.click("dialog[open] [data-do=newer]")
        page.wait_for_function(f"() => document.querySelector('dialog h2').textContent !== '{first}'")
        page.keyboard.press("Escape")
        page.wait_for_function("() => !location.search.includes('call=')")
        page.go_back()
        page.wait_for_selector("dialog[open]")

    def test_texts_of_strangers_are_texts(self, window, site, traffic):
        page = window()
        page.goto("/logs")
        seen = ""
        for row in page.locator("tr[data-call]").all():
            row.locator("[data-open]").click()
            page.wait_for_selector("dialog[open] .steps")
            seen += page.locator("dialog[open]").inner_text()
            page.keyboard.press("Escape")
        assert EVIL in seen and page.title() != "broken" and not page.locator("main script:not([src]), dialog script").count()

    def test_files(self, window, site, traffic):
        lines = site.api.get("/api/logs/errors/export?format=json", token=ADMIN_TOKEN).text.splitlines()
        assert len(lines) == len(rows(site, "errors")) and json.loads(lines[0])["error"]
        table = api(site, "GET", "/api/logs/requests/export?format=csv")
        assert table.startswith("time,at,request_id") and len(list(csv.reader(table.splitlines(True)))) == len(rows(site)) + 1
        assert len(list(csv.reader(api(site, "GET", "/api/logs/errors/export?format=csv&result=429").splitlines(True)))) == 2
        page = window()
        page.goto("/logs")
        page.click("summary:has-text('Export')")
        with page.expect_download() as download:
            page.click("text=CSV")
        assert download.value.suggested_filename == "errors.csv"

    def test_live(self, window, site, traffic):
        page = window()
        page.goto("/logs?tab=requests")
        page.wait_for_selector(".live:not([hidden])")
        before = page.locator("tr[data-call]").count()
        ask(site, OpenAI, "A fresh one")
        page.wait_for_function(f"() => document.querySelectorAll('tr[data-call]').length > {before}")
        page.click("#live")
        ask(site, OpenAI)
        wait_until(lambda: len(rows(site)) > before + 1, "the row to be written")
        page.wait_for_timeout(1200)
        assert page.locator("tr[data-call]").count() == before + 1

    def test_copy_and_delete(self, window, site, traffic):
        page = window()
        page.goto("/logs")
        before = page.locator("tr[data-call]").count()
        page.check("tbody input[name=id] >> nth=0")
        page.locator("tbody input[name=id] >> nth=1").click(modifiers=["Shift"])
        assert page.locator("#bulk [data-count]").inner_text() == "2 selected"
        page.axe()
        page.click("[data-do=copy]")
        assert page.evaluate("navigator.clipboard.readText()").count("\n") == 1
        page.click("#bulk .danger")
        page.wait_for_selector(".toast >> text=2 rows deleted")
        assert page.locator("tr[data-call]").count() == before - 2 == len(rows(site, "errors"))

    def test_delete_all_is_asked_twice(self, window, site, traffic):
        page = window()
        page.goto("/logs")
        page.click("[data-do=delete-all]")
        page.wait_for_selector("dialog[open]")
        page.axe()
        page.click("dialog[open] .btn.danger")
        assert rows(site, "errors"), "not before the word is written"
        page.fill("dialog[open] [name=sure]", "delete")
        page.click("dialog[open] .btn.danger")
        page.wait_for_selector("text=No rows of this time")
        assert not rows(site, "errors") and rows(site)

    def test_without_scripts(self, window, site, traffic):
        page = window(scripts=False)
        page.goto("/logs?tab=requests")
        page.locator("[data-open]").first.click()
        assert page.locator(".call .step").count() >= 1
        page.goto("/logs?tab=requests")
        before = len(rows(site))
        page.check("tbody input[name=id] >> nth=0")
        page.click("noscript button:has-text('Delete what is marked')")
        assert "1 row deleted" in page.locator(".note.ok").inner_text() and len(rows(site)) == before - 1
        page.click("text=Delete all")
        page.fill("[name=sure]", "delete")
        page.click("#delete .btn.danger")
        assert not rows(site)


class TestStrangers:
    """Markup in what the upstream said and in names of models is text, on every page that shows it."""
    CONF = CONF

    @pytest.fixture(scope="class")
    @classmethod
    def key(cls, site):
        """The id of a key whose last answers, and a model of whose calls, are markup."""
        site.sim.fault("internal", count=3, message=EVIL)
        ask(site, OpenAI)
        wait_until(lambda: len(rows(site, "errors")) == 3, "the errors to be written")
        wait_until(lambda: api(site, "GET", "/usage?range=24h&format=json")["models"], "the figures to be written")
        db = Database("sqlite3").of(site)
        for table, column in (("t_error_logs", "model_name"), ("t_request_log", "model_name"), ("gb_totals", "model"), ("gb_tally", "model")):
            db.run(f"UPDATE {table} SET {column} = ?", EVIL)
        return rows(site, "errors")[0]["key_id"]

    @pytest.mark.parametrize("scripts", [True, False])
    @pytest.mark.parametrize("path, times", [("/logs", 6), ("/logs?tab=requests", 3), ("/logs?call={call}", 2), ("/keys/{key}", 2),
                                             ("/usage?range=24h", 2), ("/usage?range=24h&by=key", 1), ("/logs?model={evil}", 3)])
    def test_it_is_text(self, window, site, key, path, times, scripts):
        call = rows(site, "errors")[0]["request_id"]
        page = window(scripts=scripts)
        page.goto(path.format(key=key, call=call, evil=urllib.parse.quote(EVIL)))
        page.wait_for_selector("main")
        if scripts and "call=" in path:
            page.wait_for_selector("dialog[open] .steps")
        assert page.content().count("&lt;script&gt;document.title='broken'") >= times
        assert page.title() != "broken" and not page.locator("main script:not([src]), dialog script").count()


class TestUsage:
    CONF = CONF

    def test_figures_chart_and_file(self, window, site, traffic):
        page = window()
        page.goto("/usage?range=24h")
        page.wait_for_selector("#chart-box:not([hidden])")
        assert "together" in page.get_attribute("#chart", "aria-label")
        page.click("[data-measure=calls]")
        page.click("[data-split=key]")
        page.wait_for_url("**by=key*")
        page.click("text=Show as table")
        assert page.locator(".astable tbody tr").count() == 24
        page.click("text=30 days")
        page.wait_for_url("**range=30d*")
        assert page.locator(".astable tbody tr").count() == 30
        table = api(site, "GET", "/api/usage.csv?range=30d").splitlines()
        assert table[0].startswith("of,name,calls")
        calls = {line.split(",")[1].strip('"'): int(line.split(",")[2]) for line in table if line.startswith("model,")}
        assert calls[MODEL] == sum(int(line.split(",")[2]) for line in table if line.startswith("day,")) 

    def test_calls_without_a_model_are_no_series(self, site, traffic):
        site.api.get("/v1/models")
        wait_until(lambda: "" in {model["name"] for model in api(site, "GET", "/usage?range=24h&format=json")["models"]},
                   "the list of models to be counted")
        chart = api(site, "GET", "/usage?range=24h&format=json")
        tokens = sum(sum(series["tokens"]) for series in chart["chart"]["series"])
        assert tokens == chart["tiles"]["prompt"] + chart["tiles"]["answer"]
        assert [series["name"] for series in chart["chart"]["series"]] == [MODEL, ""]

    def test_prices(self, window, site, traffic):
        page = window()
        page.goto("/usage?range=24h")
        assert page.locator("[data-save]").is_disabled()
        page.fill(f"[aria-label='Prompt price of {MODEL}']", "x")
        assert page.locator("[data-save]").is_disabled()
        page.fill(f"[aria-label='Prompt price of {MODEL}']", "1000")
        page.fill(f"[aria-label='Answer price of {MODEL}']", "2000")
        page.click("[data-save]")
        page.wait_for_selector(".toast >> text=prices are saved")
        assert api(site, "GET", "/api/config")["MODEL_PRICES"] == {MODEL: {"prompt": 1000, "completion": 2000}}
        assert "$" in page.locator(".tile:has-text('Estimated cost') .value").inner_text()
        page.click("[data-measure=cost]")
        page.shot("usage-prices")
        page.axe()
        page.click("text=Reset")
        page.wait_for_selector(".toast >> text=prices are saved")
        assert api(site, "GET", "/api/config")["MODEL_PRICES"] == {}

    def test_without_scripts(self, window, site, traffic):
        page = window(scripts=False)
        page.goto("/usage?range=24h")
        assert page.locator(".astable").count() == 1
        page.fill("[name=model]:not([type=hidden])", "gemini-y")
        page.fill("tbody tr:last-child [name=prompt]", "2.5")
        page.click("[data-save]")
        assert api(site, "GET", "/api/config")["MODEL_PRICES"] == {"gemini-y": {"prompt": 2.5}}


PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c4890000000d49444154789c63f8ffff3f0005fe02fe".replace(" ", "")
                      + "a7359b810000000049454e44ae426082")


class TestPlayground:
    CONF = CONF

    def say(self, page, text="Hello"):
        page.fill("#composer textarea", text)
        page.press("#composer textarea", "Enter")
        page.wait_for_function("() => document.querySelector('#chat').getAttribute('aria-busy') === 'false'")

    @pytest.mark.parametrize("protocol", ["openai", "gemini"])
    @pytest.mark.parametrize("stream", [True, False])
    def test_chat(self, window, site, sim, protocol, stream):
        page = window()
        page.goto("/playground")
        page.click(f"[data-protocol={protocol}]")
        page.wait_for_function("() => document.querySelector('[name=model]').options.length > 3")
        if not stream:
            page.uncheck("[name=stream]")
        self.say(page, EVIL)
        assert page.locator(".msg.user .txt").inner_text() == EVIL and page.title() != "broken"
        assert len(page.locator(".msg:not(.user) .txt").inner_text()) > 3
        request, answer = page.inner_text("#raw-request"), page.inner_text("#raw-answer")
        assert "POST /v1" in request and "token …" in request and "gbplay-" not in request
        assert ("data: " in answer) == stream and answer.startswith("200")
        page.wait_for_function("() => document.querySelector('[data-f=attempts]').textContent === '1'")
        assert page.inner_text("[data-f=key]") != "–"
        self.say(page, "And again")
        assert page.locator(".msg").count() == 4
        page.shot(f"playground-{protocol}-{'stream' if stream else 'whole'}")
        page.axe()
        page.click("[data-do=new-chat]")
        assert not page.locator(".msg").count()
        wait_until(lambda: rows(site, token="playground"), "the call to be in the log")

    def test_pictures(self, window, site, sim):
        page = window()
        page.goto("/playground")
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": PIXEL})
        page.wait_for_selector("#thumbs img")
        self.say(page, "What is this?")
        assert page.locator(".msg.user img").count() == 1
        assert "taken out" in page.inner_text("#raw-request")
        page.evaluate("""bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], 'y.png', {type: 'image/png'}));
          document.querySelector('.composer').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
        }""", list(PIXEL))
        page.wait_for_selector("#thumbs img")
        page.click("#thumbs button")
        assert page.locator("#thumbs").is_hidden()

    def test_errors_stop_and_copies(self, window, site, sim):
        page = window()
        page.expect("40[019]|50[03]|429")
        page.goto("/playground")
        sim.fault("invalid_argument", count=3)
        self.say(page)
        assert page.locator(".msg.failed").count() == 1 and page.inner_text("[data-f=status]") == "400"
        page.shot("playground-error", full=False)
        page.axe()
        sim.reset()
        page.select_option("[name=who]", "own")
        page.fill("[name=token]", "sk-wrong")
        self.say(page)
        assert page.inner_text("[data-f=status]") == "401"
        page.fill("[name=token]", site.conf.tokens[0])
        self.say(page)
        assert page.inner_text("[data-f=status]") == "200"
        page.click("[data-do=copy-curl]")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert "YOUR_TOKEN" in copied and site.conf.tokens[0] not in copied
        page.click("[data-do=copy-python]")
        assert "openai" in page.evaluate("navigator.clipboard.readText()")
        sim.fault("stall", after=0)
        page.fill("#composer textarea", "wait")
        page.press("#composer textarea", "Enter")
        page.click("[data-do=stop]")
        page.wait_for_selector("text=Stopped.")

    def test_one_key_and_the_setup(self, window, site, sim):
        page = window()
        page.goto("/playground")
        page.wait_for_function("() => document.querySelector('[name=pin]').options.length > 1")
        page.select_option("[name=pin]", index=1)
        key = page.input_value("[name=pin]")
        self.say(page)
        page.wait_for_function("() => document.querySelector('[data-f=key]').textContent.length > 3")
        assert page.inner_text("[data-f=key]").startswith(key)
        page.click("[data-do=check-setup]")
        page.wait_for_function("() => document.querySelectorAll('#setup p').length === 3")
        assert page.locator("#setup .t-bad").count() == 0

    def test_its_token_is_good_for_nothing_else(self, site, sim):
        token = api(site, "POST", "/api/playground/token", {})["token"]
        assert site.api.post("/v1/chat/completions", json=OpenAI.body(), token=token).status == 200
        assert site.api.get("/api/config", token=token).status == 401
        for bad in (token[:-1] + ("0" if token[-1] != "0" else "1"), token[7:], "gbplay-"):
            assert site.api.post("/v1/chat/completions", json=OpenAI.body(), token=bad).status == 401
        pinned = site.api.post("/v1/chat/completions", json=OpenAI.body(), headers={"x-gbalance-key": "00000000"})
        assert pinned.status == 200, "a client chooses no key"
        assert site.api.request("POST", "/api/playground/token", json={}).status == 401


class TestPlaygroundWithoutScripts:
    """A form with one message: the server makes the call."""
    CONF = CONF

    def say(self, page, text):
        page.goto("/playground")
        page.fill("[name=text]", text)
        page.locator("form.composer [type=submit]").first.click()

    def test_an_answer(self, window, site, sim):
        page = window(scripts=False)
        self.say(page, EVIL)
        assert page.locator(".msg.user").inner_text() == EVIL
        assert page.locator(".msg:not(.user)").inner_text() and not page.locator(".note.bad").count()
        wait_until(lambda: [row["caller"] for row in rows(site)] == ["playground"], "the row of the call")
        page.shot("playground-no-scripts")

    def test_a_fault_is_said(self, window, site, sim):
        sim.fault("invalid_argument", count=1, message=EVIL)
        page = window(scripts=False)
        self.say(page, "Hello")
        assert EVIL in page.locator(".note.bad").inner_text() and page.title() != "broken"

    def test_a_model_of_ones_own_is_kept(self, window, site, sim):
        page = window(scripts=False)
        page.goto("/playground?model=gemini-2.5-pro")
        page.fill("[name=text]", "Hello")
        page.locator("form.composer [type=submit]").first.click()
        assert page.input_value("form.composer [name=model]") == "gemini-2.5-pro"
        assert sim.calls()[-1]["model"] == "gemini-2.5-pro"

    def test_not_without_its_token_nor_without_words(self, site, sim):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        forged = site.api.request("POST", "/playground", anonymous=True, headers=form, body=b"text=Hello")
        empty = site.api.request("POST", "/playground", token=ADMIN_TOKEN, headers=form, body=b"text=")
        assert forged.status in (302, 303, 401, 403) and empty.status == 400 and not sim.calls()


class TestApacheKnowsTheClients:
    """GBalanceAuth apache: clients have no tokens, and the playground is let in all the same."""
    CONF = Conf(keys=KEYS, api=ADMIN_API + "GBalanceAuth apache\n")

    def test_its_token(self, site):
        token = api(site, "POST", "/api/playground/token", {})["token"]
        assert site.api.post("/v1/chat/completions", json=OpenAI.body(), token=token).status == 200
        assert site.api.post("/v1/chat/completions", json=OpenAI.body(), token=site.conf.tokens[0]).status == 401


class TestBelowAPrefix:
    CONF = Conf(keys=KEYS, tokens=(), prefix="/llm", api=ADMIN_API)

    def test_everything(self, window, site, sim):
        page = window(signed=False)
        page.goto("/llm/")
        page.fill("input[type=password]", ADMIN_TOKEN)
        page.press("input[type=password]", "Enter")
        page.wait_for_url("**/llm/keys_status*")
        page.goto("/llm/config")
        page.fill("#s-MAX_RETRIES", "4")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".toast >> text=1 setting saved")
        page.click(".set[data-set=ALLOWED_TOKENS] [data-do=generate]")
        token = page.input_value("#s-ALLOWED_TOKENS li >> nth=0 >> input")
        assert len(token) == 43 and token == page.evaluate("navigator.clipboard.readText()")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".set[data-set=ALLOWED_TOKENS] .src-pill.saved")
        assert token not in page.content()
        assert site.api.post("/llm/v1/chat/completions", json=OpenAI.body(), token=token).status == 200
        page.goto("/llm/playground")
        TestPlayground().say(page)
        assert "POST /llm/v1/chat/completions" in page.inner_text("#raw-request")
        page.goto("/llm/logs?tab=requests")
        page.click("[data-open] >> nth=0")
        page.wait_for_selector("dialog[open] .steps")
        page.goto("/llm/usage?range=24h")
        page.wait_for_selector("#chart-box:not([hidden])")


class TestDatabaseAway:
    CONF = Conf(keys=KEYS, main="GBalanceDatabase sqlite3:/nonexistent/gbalance.db", api=ADMIN_API, claims=("GB8031", "GB8032"))

    @pytest.mark.parametrize("path, words", [
        ("logs", "The log cannot be read now"), ("logs?call=some-call-0001", "The log cannot be read now"),
        ("usage", "The figures cannot be read now"), ("config", "The history cannot be read now")])
    def test_pages_say_so(self, window, site, path, words):
        page = window()
        page.goto("/" + path)
        page.wait_for_selector(f"text={words}")
        page.shot("away-" + path[:6].strip("?"), full=False)
        page.axe()

    def test_saving_says_so(self, window, site):
        page = window()
        page.expect("503")
        page.goto("/config")
        page.fill("#s-MAX_RETRIES", "4")
        page.click("#savebar [data-do=save]")
        page.wait_for_selector(".toast.bad >> text=Nothing")
        assert page.locator(".set.dirty").count() == 1, "the edit stays"
