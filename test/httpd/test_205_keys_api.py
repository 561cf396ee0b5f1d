# SPDX-License-Identifier: Apache-2.0
"""Administration of keys over HTTP: /api/keys, and gemini-balance's endpoints."""
import collections
import hashlib
import json
import os
import subprocess
import threading
import time

import pytest

import tools
from client import Client
from conf import TOKEN, Conf
from tools import wait_until
from wire import OpenAI, ask

ADMIN = "admin-token-0123456789"
KEYS = tuple(f"AIzaSyAdmin{i:028d}" for i in range(4))
NEWS = (r"GB10\d\d: (key|pool) ",)


def api(token=ADMIN, more=""):
    said = f"GBalanceAuthToken {token}\n" if token else ""
    return f"{said}Include {tools.SRCDIR}/conf.d/gbalance-admin.conf\n{more}"


def id_of(key):
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def admin(site):
    return Client(site.port, token=ADMIN)


def get(site, path="", **kwargs):
    answer = admin(site).get("/api/keys" + path, **kwargs)
    assert answer.status == 200, answer.text
    return answer.json()


def post(site, path="", json=None, **kwargs):
    answer = admin(site).post("/api/keys" + path, json=json, **kwargs)
    assert answer.status == 200, answer.text
    return answer.json()


def refused(answer, status, field=None):
    assert answer.status == status, answer.text
    error = answer.json()["error"]
    assert error["status"] == status and error["field"] == field and error["message"]
    return error["message"]


def states(site):
    return {row["id"]: row["state"] for row in get(site)["keys"]}


def assert_nowhere(site, keys):
    """Neither a log, nor a file of the state directory, nor a status page has one of them."""
    pages = b"".join(site.plain.get(f"/server-status{args}").read() for args in ("", "?auto"))
    everything = site.all_logs() + pages
    assert not [key for key in keys if key.encode() in everything]


class TestWho:
    CONF = Conf(keys=KEYS, api=api())

    @pytest.mark.parametrize("path", ["/api/keys", "/api/keys/export", "/v1/keys/list", "/hf/v1/keys/list"])
    def test_only_the_administrator(self, site, path):
        for client in (site.api, Client(site.port), Client(site.port, token="wrong-token-000")):
            answer = client.get(path)
            assert "AUTH_TOKEN" in refused(answer, 401)
            assert answer.headers.get("WWW-Authenticate")
        for headers in ({"x-goog-api-key": ADMIN}, {"x-api-key": ADMIN}):
            assert site.api.get(path, anonymous=True, headers=headers).status == 200
        assert site.api.get(f"{path}?key={ADMIN}", anonymous=True).status == 200
        assert_nowhere(site, [ADMIN])

    @pytest.mark.parametrize("path", ["verify-key/x", "reset-fail-count/x", "reset-all-fail-counts",
                                      "reset-selected-fail-counts", "verify-selected-keys"])
    def test_no_client_changes_keys(self, site, path):
        for prefix in ("/gemini/v1beta/", "/v1beta/"):
            refused(site.api.post(prefix + path, json={"keys": ["x"]}), 401)
            refused(Client(site.port).post(prefix + path, json={"keys": ["x"]}), 401)

    @pytest.mark.parametrize("token, says", [("", "AUTH_TOKEN"), ("short12", "8 characters"),
                                             (TOKEN, "ALLOWED_TOKENS")])
    def test_closed_without_a_token_worth_the_name(self, make_site, token, says):
        site = make_site(Conf(keys=KEYS, api=api(token)))
        for path in ("/api/keys", "/v1/keys/list"):
            for given in (token, ADMIN, ""):
                assert says in refused(Client(site.port, token=given).get(path), 503)


@pytest.mark.smoke
class TestLooking:
    CONF = Conf(keys=KEYS, api=api(), claims=NEWS)

    def test_list(self, site):
        page = get(site)
        assert page["pool"] == "default" and page["total"] == page["matched"] == 4
        assert page["states"] == {"active": 4, "cooling": 0, "half-open": 0, "failed": 0, "invalid": 0, "off": 0}
        assert {row["id"] for row in page["keys"]} == {id_of(key) for key in KEYS}
        row = next(row for row in page["keys"] if row["id"] == id_of(KEYS[1]))
        assert row["key"] == f"AIza...{KEYS[1][-4:]}"
        assert row["source"] == "configuration" and row["enabled"] and row["weight"] == 1 and row["tags"] == []

    def test_filters(self, site):
        post(site, "/edit", {"ids": [id_of(KEYS[0])], "tags": ["paid", "eu"], "note": "Of Ada", "project": "p-1"})
        post(site, "/disable", {"ids": [id_of(KEYS[1])]})

        def found(args):
            return {row["id"] for row in get(site, args)["keys"]}

        assert found("?tag=paid") == found("?search=of%20ada") == found("?search=P-1") == {id_of(KEYS[0])}
        assert found("?tag=pai") == set()
        assert found("?state=off") == {id_of(KEYS[1])}
        assert found("?state=off,active") == {id_of(key) for key in KEYS}
        assert found(f"?search={id_of(KEYS[2])[:6]}") == {id_of(KEYS[2])}
        assert found(f"?count=5&search={KEYS[3]}") == {id_of(KEYS[3])}, "a whole key, by its id"
        assert found("?project=p-1") == found("?search=EU") == {id_of(KEYS[0])}
        assert found("?project=") == {id_of(key) for key in KEYS[1:]}
        assert found("?form=AIza") == {id_of(key) for key in KEYS} and found("?form=AQ.") == set()
        assert found("?reason=API_KEY_INVALID") == set()
        now = int(time.time() * 1000)
        assert found(f"?added_since={now - 600000}") == {id_of(key) for key in KEYS}
        assert found(f"?added_since={now + 600000}") == found(f"?used_since={now - 600000}") == set()
        assert get(site, "/ids?state=active&order=id&count=1")["ids"] == sorted(id_of(k) for k in KEYS if k != KEYS[1])
        assert get(site, "/ids?tag=nobody") == {"ids": []}
        assert_nowhere(site, KEYS)
        post(site, "/enable", {"ids": [id_of(KEYS[1])]})

    def test_cooling_for_a_model(self, site, sim):
        sim.fault("quota_day", model="gemini-2.5-pro")
        for _ in range(5):
            ask(site, OpenAI, model="gemini-2.5-pro")
        assert get(site, "?state=cooling&model=gemini-2.5-pro")["matched"] == 4
        assert get(site, "?state=cooling&model=gemini-2.5-flash")["matched"] == 0
        row = get(site, f"/{id_of(KEYS[2])}")
        cell = next(cell for cell in row["models"] if cell["model"] == "gemini-2.5-pro")
        assert cell["reason"] and cell["until"] > time.time() * 1000 and row["state"] == "cooling"
        assert post(site, "/reset", {"all": True}) == {"done": 4}
        assert set(states(site).values()) == {"active"}

    @pytest.mark.parametrize("args, field", [
        ("?state=dead", "state"), ("?count=0", "count"), ("?count=x", "count"), ("?count=1001", "count"),
        ("?from=-1", "from"), ("?order=best", "order"), ("?descending=2", "descending"),
        ("?used_since=x", "used_since"), ("/ids?state=good", "state")])
    def test_bad_arguments(self, site, args, field):
        refused(admin(site).get("/api/keys" + args), 400, field)

    def test_bad_addresses_and_methods(self, site):
        refused(admin(site).get("/api/keys/00000000"), 404)
        refused(admin(site).get("/api/keys/a/b"), 404)
        for method, path, allow in (("PUT", "", "GET, HEAD, POST"), ("GET", "/verify", "POST"),
                                    ("POST", f"/{id_of(KEYS[0])}", "GET, HEAD, PATCH, DELETE")):
            answer = admin(site).request(method, "/api/keys" + path)
            refused(answer, 405)
            assert answer.headers.get("Allow") == allow
        assert admin(site).request("HEAD", "/api/keys").status == 200

    def test_secrets_only_when_revealed(self, site):
        for path in ("", "/export", f"/{id_of(KEYS[0])}", "?search=AIza"):
            text = admin(site).get("/api/keys" + path).text
            assert not [key for key in KEYS if key in text]
        assert post(site, "/reveal", {"ids": [id_of(KEYS[0])]}) == {"keys": [{"id": id_of(KEYS[0]), "key": KEYS[0]}]}
        assert site.log.matching(r"GB1080: 1 key\(s\) of the pool default were revealed to .*127")
        answer = admin(site).post("/api/keys/export", json={"all": True})
        assert answer.headers.get("Content-Type").startswith("text/plain")
        assert sorted(answer.text.splitlines()) == sorted(KEYS)
        assert site.log.matching(r"GB1080: 4 key\(s\)")
        refused(admin(site).post("/api/keys/reveal", json={"ids": ["00000000"]}), 404)
        assert_nowhere(site, KEYS)


@pytest.mark.smoke
class TestPreview:
    CONF = Conf(keys=KEYS[:1], api=api(), claims=NEWS)
    NEW = "AQ.PreviewKey00000000000000001"

    def test_what_would_be_added(self, site):
        text = f"# sheet\n{self.NEW}\n{KEYS[0]}\nAIzaCutShort\nhttps://x.test/?key={KEYS[1]}\n{self.NEW}\nsk-another-service"
        page = post(site, "/preview", {"text": text})
        assert (page["found"], page["added"], page["known"], page["twice"], page["refused"]) == (6, 2, 1, 1, 2)
        assert [(row["line"], row["result"], row["why"]) for row in page["results"]] == [
            (4, "refused", "cut"), (7, "refused", "foreign"), (6, "twice", "same"), (3, "known", "known"),
            (2, "added", None), (5, "added", "url")]
        assert page["results"][2]["same"] == 2 and page["results"][3]["state"] == "active"
        assert get(site)["total"] == 1, "nothing was added"
        assert post(site, "", {"text": text})["added"] == 2, "and then just those are"
        assert_nowhere(site, [self.NEW])

    def test_tags_come_and_go(self, site):
        one = [id_of(KEYS[0])]

        def tags():
            return sorted(get(site, f"/{one[0]}")["tags"])

        post(site, "/edit", {"ids": one, "tags": ["a", "b"]})
        post(site, "/edit", {"ids": one, "add_tags": ["c", "a"]})
        assert tags() == ["a", "b", "c"]
        post(site, "/edit", {"ids": one, "remove_tags": ["b", "nobody's"], "add_tags": ["d"]})
        assert tags() == ["a", "c", "d"]
        refused(admin(site).post("/api/keys/edit", json={"ids": one, "add_tags": ["a,b"]}), 400, "add_tags")

    def test_other_forms(self, site):
        assert [row["why"] for row in post(site, "/preview", {"text": "opaque-key-1"})["results"]] == ["opaque"]
        found = post(site, "/preview", {"text": "a=first-key b=second-key", "pattern": "b=([^ ]+)"})
        assert [(row["result"], row["why"]) for row in found["results"]] == [("added", None)]
        refused(admin(site).post("/api/keys/preview", json={"text": "x", "pattern": "("}), 400, "pattern")
        refused(admin(site).post("/api/keys/preview", json={}), 400, "text")


class TestChanging:
    CONF = Conf(keys=KEYS[:1], api=api(), claims=NEWS)
    NEW = tuple(f"AIzaSyPasted{i:027d}" for i in range(3))

    def test_paste(self, site):
        text = (f"my keys:\n{self.NEW[0]}; \"{self.NEW[1]}\",{self.NEW[0]}\tand the old one {KEYS[0]}.\n"
                f"nothing AIzaTooShort here")
        said = post(site, "", {"text": text, "tags": ["new"], "note": "pasted", "weight": 2})
        results = collections.Counter((row["id"], row["result"]) for row in said["results"])
        assert results[id_of(self.NEW[0]), "added"] == results[id_of(self.NEW[1]), "added"] == 1
        assert results[id_of(self.NEW[0]), "twice"] == results[id_of(KEYS[0]), "known"] == 1
        assert said["added"] == 2 and said["known"] == said["twice"] == 1 and said["warning"] is None
        row = get(site, f"/{id_of(self.NEW[0])}")
        assert (row["tags"], row["note"], row["weight"], row["source"]) == (["new"], "pasted", 2, "added")
        assert not [key for key in self.NEW if key in json.dumps(said)]

    def test_plain_text_and_a_pattern(self, site):
        answer = admin(site).request("POST", "/api/keys", headers={"Content-Type": "text/plain"},
                                     body=self.NEW[2].encode())
        assert answer.json()["added"] == 1
        said = post(site, "", {"text": "<custom-AAAA1111> <custom-BBBB2222>", "pattern": "<(custom-[A-Z0-9]+)>"})
        assert said["added"] == 2
        ids = [row["id"] for row in said["results"]]
        assert post(site, "/delete", {"ids": ids}) == {"done": 2, "unknown": 0}
        refused(admin(site).post("/api/keys", json={"text": "x", "pattern": "("}), 400, "pattern")

    def test_what_was_added_serves_and_stays(self, site, sim):
        for _ in range(8):
            assert ask(site, OpenAI).status == 200
        assert self.NEW[0] in {call["key"] for call in sim.calls()}
        before = states(site)
        site.graceful()
        assert states(site) == before
        assert_nowhere(site, (*KEYS[:1], *self.NEW))

    def test_edit(self, site):
        one = id_of(KEYS[0])
        answer = admin(site).request("PATCH", f"/api/keys/{one}",
                                     json={"weight": 3, "tags": [], "note": "é", "enabled": False})
        assert answer.json() == {"done": 1, "unknown": 0}
        row = get(site, f"/{one}")
        assert (row["weight"], row["note"], row["enabled"], row["state"]) == (3, "é", False, "off")
        assert post(site, "/edit", {"all": True, "enabled": True})["done"] == len(states(site))
        assert states(site)[one] == "active"

    @pytest.mark.parametrize("body, field", [
        ({"weight": 17}, "weight"), ({"weight": "2"}, "weight"), ({"tags": "a"}, "tags"), ({"tags": ["a,b"]}, "tags"),
        ({"note": "x" * 96}, "note"), ({"project": 7}, "project"), ({"enabled": 1}, "enabled"),
        ({"colour": "red"}, "colour"), ({}, None)])
    def test_bad_edits(self, site, body, field):
        refused(admin(site).request("PATCH", f"/api/keys/{id_of(KEYS[0])}", json=body), 400, field)
        refused(admin(site).post("/api/keys/edit", json={"all": True, **body}), 400, field)

    @pytest.mark.parametrize("verb", ["enable", "disable", "reset", "delete", "verify", "reveal", "export"])
    def test_bad_choices(self, site, verb):
        for body, field in (({}, "ids"), ({"ids": []}, "ids"), ({"ids": "x"}, "ids"), ({"ids": [1]}, "ids"),
                            ({"all": 1}, "all"), ({"all": True, "ids": ["x"]}, "all")):
            refused(admin(site).post(f"/api/keys/{verb}", json=body), 400, field)
        refused(admin(site).post(f"/api/keys/{verb}", json={"ids": ["00000000"]}), 404)

    def test_bad_bodies(self, site):
        def send(body, kind="application/json"):
            return admin(site).request("POST", "/api/keys", headers={"Content-Type": kind}, body=body)

        refused(send(b"{"), 400, "body")
        refused(send(b"[]"), 400, "body")
        refused(send(b"{}"), 400, "text")
        refused(send(b"{}", "application/xml"), 415, "Content-Type")
        refused(send(b"x" * (4 * 1024 * 1024 + 1), "text/plain"), 413, "body")

    def test_delete(self, site):
        assert admin(site).request("DELETE", f"/api/keys/{id_of(self.NEW[0])}").json() == {"done": 1, "unknown": 0}
        assert post(site, "/delete", {"ids": [id_of(self.NEW[1]), "00000000"]}) == {"done": 1, "unknown": 1}
        refused(admin(site).request("DELETE", f"/api/keys/{id_of(self.NEW[0])}"), 404)
        site.graceful()
        assert id_of(self.NEW[0]) not in states(site)

    def test_a_deleted_key_of_the_configuration_stays_away(self, site):
        post(site, "/delete", {"ids": [id_of(KEYS[0])]})
        site.graceful()
        assert id_of(KEYS[0]) not in states(site)
        assert post(site, "", {"text": KEYS[0]})["added"] == 1


@pytest.mark.smoke
class TestFailures:
    CONF = Conf(keys=KEYS, api=api(), claims=NEWS)

    def test_verify_many(self, site, sim):
        sim.fault("leaked", key=KEYS[0])
        sim.fault("quota_day", key=KEYS[1])
        answer = admin(site).post("/api/keys/verify", json={"all": True, "at_a_time": 2})
        assert answer.headers.get("Content-Type") == "application/x-ndjson"
        *lines, last = map(json.loads, answer.text.splitlines())
        assert last == {"finished": True, "works": 3, "fails": 1}
        found = {line["id"]: line for line in lines}
        assert set(found) == {id_of(key) for key in KEYS}
        assert [line["done"] for line in lines] == [1, 2, 3, 4] and {line["total"] for line in lines} == {4}
        bad = found[id_of(KEYS[0])]
        assert not bad["works"] and bad["reason"] and "leaked" in bad["text"]
        assert found[id_of(KEYS[1])]["works"] and found[id_of(KEYS[1])]["outcome"] == "quota"
        assert found[id_of(KEYS[2])]["outcome"] == "success"
        assert states(site)[id_of(KEYS[0])] == "invalid"

    def test_reset(self, site):
        assert post(site, "/reset", {"ids": [id_of(KEYS[0]), id_of(KEYS[1])]}) == {"done": 2, "unknown": 0}
        assert set(states(site).values()) == {"active"}

    def test_bounded_concurrency(self, site, sim):
        sim.fault("delay", delay_ms=300)
        thread = threading.Thread(target=lambda: post_lines.append(
            admin(site).post("/api/keys/verify", json={"all": True, "at_a_time": 2}).text))
        post_lines, most = [], 0
        thread.start()
        while thread.is_alive():
            most = max(most, sim.stats()["open_calls"])
            time.sleep(0.01)
        assert most == 2 and len(post_lines[0].splitlines()) == 5

    def test_progress_is_told_at_once(self, site, sim):
        sim.fault("delay", delay_ms=1500, key=KEYS[3])
        answer = admin(site).open("POST", "/api/keys/verify", json={"ids": [id_of(KEYS[0]), id_of(KEYS[3])],
                                                                    "at_a_time": 1})
        answer.read_until(b"\n")
        assert json.loads(answer.body)["done"] == 1
        answer.conn.close()
        assert set(states(site).values()) == {"active"}

    def test_who_leaves_cancels_the_rest(self, site, sim):
        sim.fault("delay", delay_ms=1500)
        answer = admin(site).open("POST", "/api/keys/verify", json={"all": True, "at_a_time": 1})
        sim.wait_open(1)
        answer.conn.close()
        sim.wait_quiet()
        began = len(sim.calls(own=True))
        assert began < len(KEYS)
        assert admin(site).post("/api/keys/verify", json={"ids": [id_of(KEYS[0])]}).status == 200
        assert len(sim.calls(own=True)) == began + 1, "nobody went on behind the client's back"

    def test_bad_concurrency(self, site):
        for n in (0, 33, "2"):
            refused(admin(site).post("/api/keys/verify", json={"all": True, "at_a_time": n}), 400, "at_a_time")


class TestManyKeys:
    CONF = Conf(keys=(), api=api(), claims=NEWS)
    MANY = tuple(f"AIzaSyMany{i:029d}" for i in range(1200))

    def test_pages(self, site):
        assert post(site, "", {"text": "\n".join(self.MANY)})["added"] == 1200
        found, start = [], 0
        while True:
            page = get(site, f"?order=id&count=500&from={start}")
            assert page["total"] == page["matched"] == 1200
            found += [row["id"] for row in page["keys"]]
            start += 500
            if not page["keys"]:
                break
        assert len(found) == 1200 and found == sorted(found)
        assert set(found) == {id_of(key) for key in self.MANY}
        assert len(get(site)["keys"]) == 50
        falling = get(site, "?order=id&descending=1&count=10")
        assert [row["id"] for row in falling["keys"]] == found[::-1][:10]
        assert len(get(site, "/export")["keys"]) == 1200
        assert post(site, "/disable", {"all": True}) == {"done": 1200}
        assert get(site, "?state=off&count=1")["matched"] == 1200
        assert_nowhere(site, self.MANY[:50])


@pytest.mark.smoke
class TestCompatible:
    """What tools written for gemini-balance ask for."""
    CONF = Conf(keys=KEYS, api=api(), claims=NEWS)

    def call(self, site, path, status=200, **kwargs):
        answer = admin(site).post("/gemini/v1beta/" + path, **kwargs)
        assert answer.status == status, answer.text
        return answer.json()

    def test_list(self, site):
        for path in ("/v1/keys/list", "/hf/v1/keys/list"):
            said = admin(site).get(path).json()
            assert said == {"status": "success", "total": 4,
                            "data": {"valid_keys": {id_of(key): 0 for key in KEYS}, "invalid_keys": {}}}

    def test_verify(self, site, sim):
        sim.fault("leaked", key=KEYS[0])
        assert self.call(site, f"verify-key/{KEYS[1]}") == {"status": "valid"}
        assert self.call(site, f"verify-key/{id_of(KEYS[2])}") == {"status": "valid"}
        said = self.call(site, f"verify-key/{KEYS[0]}")
        assert said["status"] == "invalid" and "leaked" in said["error"]
        assert id_of(KEYS[0]) in admin(site).get("/v1/keys/list").json()["data"]["invalid_keys"]
        said = self.call(site, "verify-selected-keys", json={"keys": [KEYS[0], id_of(KEYS[1])]})
        assert said["success"] and said["successful_keys"] == [id_of(KEYS[1])]
        assert list(said["failed_keys"]) == [id_of(KEYS[0])] and "leaked" in said["failed_keys"][id_of(KEYS[0])]
        assert (said["valid_count"], said["invalid_count"]) == (1, 1)

    def test_reset(self, site, sim):
        assert self.call(site, "reset-all-fail-counts?key_type=invalid")["reset_count"] == 1
        assert admin(site).get("/v1/keys/list").json()["data"]["invalid_keys"] == {}
        assert self.call(site, f"reset-fail-count/{KEYS[0]}")["success"] is True
        assert self.call(site, "reset-all-fail-counts")["reset_count"] == 4
        assert self.call(site, "reset-selected-fail-counts", json={"keys": [KEYS[0], id_of(KEYS[1])]}) == {
            "success": True, "message": "The failure counts of 2 key(s) were reset.", "reset_count": 2}

    def test_mistakes(self, site):
        self.call(site, "verify-key/AIzaUnknown", 404)
        self.call(site, "reset-fail-count/AIzaUnknown", 404)
        assert self.call(site, "reset-all-fail-counts?key_type=odd", 400)["error"]["field"] == "key_type"
        assert self.call(site, "verify-selected-keys", 400, json={"keys": "x"})["error"]["field"] == "keys"
        refused(admin(site).get(f"/gemini/v1beta/verify-key/{KEYS[0]}"), 405)
        refused(admin(site).post("/v1/keys/list", json={}), 405)

    def test_no_path_leaves_a_key_behind(self, site):
        paths = [f"/gemini/v1beta/verify-key/{KEYS[0]}", f"/v1beta/reset-fail-count/{KEYS[0]}?a=1",
                 f"/gemini/v1beta//verify-key//{KEYS[0]}/", f"/gemini/v1beta/verify%2Dkey/{KEYS[0]}",
                 f"/gemini/v1beta/./verify-key/{KEYS[0]}/x", f"/api/keys/{KEYS[0]}",
                 f"http://localhost:{site.port}/gemini/v1beta/verify-key/{KEYS[0]}"]
        for path in paths:
            for method in ("GET", "POST"):
                admin(site).request(method, path)
                site.api.request(method, path)
                Client(site.port).request(method, path)
        assert get(site, f"/{KEYS[0]}")["id"] == id_of(KEYS[0])
        assert site.access_lines()
        wait_until(lambda: any(id_of(KEYS[0]) in line for line in site.access_lines()), "the access log")
        assert_nowhere(site, KEYS)


class TestBelowAPrefix:
    CONF = Conf(keys=KEYS, prefix="/llm", api=api(), claims=NEWS)

    def test_everything_is_there(self, site):
        assert admin(site).get("/llm/api/keys").json()["total"] == 4
        assert admin(site).get("/llm/v1/keys/list").json()["total"] == 4
        assert admin(site).post(f"/llm/gemini/v1beta/verify-key/{KEYS[0]}").json() == {"status": "valid"}
        assert admin(site).get("/api/keys").status == 404
        assert_nowhere(site, KEYS)


class TestHttp2:
    """Who is refused before his body has come hears why, and no broken stream."""
    CONF = Conf(keys=KEYS, api=api(), tls=True, protocols="h2 http/1.1")

    @pytest.mark.parametrize("method,path,token,status", [
        ("POST", "/api/keys", "wrong", 401), ("POST", "/api/keys/nothing/here", ADMIN, 405), ("PUT", "/api/keys", ADMIN, 405),
        ("POST", "/api/nothing", ADMIN, 404), ("PUT", "/api/config", "wrong", 401)])
    def test_refused_with_a_body(self, site, method, path, token, status):
        body = os.path.join(site.root, "body")
        with open(body, "w", encoding="ascii") as f:
            f.write('{"text": "' + "x" * 50_000 + '"}')
        done = subprocess.run(
            ["curl", "-sS", "--http2", "--cacert", site.authority.ca, "--max-time", "20", "-X", method, "--data-binary", "@" + body,
             "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json", "-w", "\n%{http_version} %{http_code}",
             f"https://localhost:{site.port}{path}"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        text, _, last = done.stdout.rpartition("\n")
        assert last == f"2 {status}" and json.loads(text)["error"]["status"] == status
