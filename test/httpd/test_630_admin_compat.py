# SPDX-License-Identifier: Apache-2.0
"""gemini-balance's JSON endpoints for administration: one shape each, nobody without a login, and
no text of a key in any log.
"""
import hashlib

import pytest

from conf import KEYS, TOKEN, Conf
from proxies import PASSWORD, Tinyproxy
from store import Database
from test_600_admin_login import ADMIN, API

# method, path, body, shape of the answer: types by name, a list's by its first element
SHAPES = [
    ("GET", "/api/keys?page=1&limit=2", None,
     {"keys": dict, "total_items": int, "total_pages": int, "current_page": int}),
    ("GET", "/api/keys/all", None, {"valid_keys": [str], "invalid_keys": list, "total_count": int}),
    ("GET", "/api/config", None, dict),
    ("GET", "/api/config/ui/models", None, {"object": str, "data": [{"id": str, "object": str}], "success": bool}),
    ("POST", "/api/config/keys/delete-selected", {"keys": ["0123abcd"]},
     {"success": bool, "message": str, "deleted_count": int, "not_found_keys": [str]}),
    ("POST", "/api/config/proxy/check", {"proxy": "http://127.0.0.1:9"},
     {"proxy": str, "is_available": bool, "response_time": type(None), "error_message": str, "checked_at": float}),
    ("POST", "/api/config/proxy/check-all", {"proxies": ["http://127.0.0.1:9"]},
     [{"proxy": str, "is_available": bool, "response_time": type(None), "error_message": str, "checked_at": float}]),
    ("GET", "/api/config/proxy/cache-stats", None, {"total_cached": int, "valid_cached": int, "expired_cached": int}),
    ("POST", "/api/config/proxy/clear-cache", {}, {"success": bool, "message": str}),
    ("POST", "/api/scheduler/stop", {}, {"message": str}),
    ("POST", "/api/scheduler/start", {}, {"message": str}),
    ("GET", "/api/version/check", None,
     {"current_version": str, "latest_version": str, "update_available": bool, "error_message": type(None)}),
    ("GET", "/hf/v1/keys/list", None,
     {"status": str, "data": {"valid_keys": dict, "invalid_keys": dict}, "total": int}),
]
IDS = [f"{method} {path.split('?')[0]}" for method, path, _, _ in SHAPES]


def fits(value, shape):
    if isinstance(shape, type):
        return isinstance(value, shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(one, shape[0]) for one in value)
    return isinstance(value, dict) and all(name in value and fits(value[name], shape[name]) for name in shape)


def key_id(key):
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def admin(site, method, path, body=None, **kwargs):
    return site.api.request(method, path, token=ADMIN, json=body, **kwargs)


@pytest.fixture(scope="class")
def site(request, make_site):
    db = Database("sqlite3")
    server = make_site(Conf(main=db.main, api=API, keys=KEYS))
    server.db = db.of(server)
    server.db.await_tables()
    request.node.gbalance_server = server
    return server


class TestShapes:
    @pytest.mark.parametrize("method,path,body,shape", SHAPES, ids=IDS)
    def test_shape(self, site, method, path, body, shape):
        answer = admin(site, method, path, body)
        assert answer.status == 200, answer.text
        assert fits(answer.json(), shape), answer.text

    @pytest.mark.parametrize("method,path,body,shape", SHAPES, ids=IDS)
    def test_nobody_else(self, site, method, path, body, shape):
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Cookie": f"auth_token={ADMIN}"}):
            answer = site.api.request(method, path, anonymous=True, headers=headers, json=body)
            assert answer.status == 401, answer.text

    def test_unknown_addresses(self, site):
        assert admin(site, "GET", "/api/nothing").status == 404
        answer = admin(site, "GET", "/api/scheduler/start")
        assert (answer.status, answer.headers.get("Allow")) == (405, "POST")
        answer = admin(site, "POST", "/api/config/proxy/check", {"proxy": 1})
        assert (answer.status, answer.json()["error"]["field"]) == (400, "proxy")


class TestKeys:
    def test_by_text_and_by_id_and_in_no_log(self, site):
        assert admin(site, "DELETE", f"/api/config/keys/{KEYS[0]}").json()["success"]
        assert admin(site, "DELETE", f"/api/config/keys/{KEYS[0]}").status == 404
        assert admin(site, "DELETE", f"/api/config/keys/{key_id(KEYS[1])}").status == 200
        left = admin(site, "GET", "/api/keys/all").json()
        assert left == {"valid_keys": [key_id(KEYS[2])], "invalid_keys": [], "total_count": 1}
        assert KEYS[0].encode() not in site.all_logs()

    def test_a_page_by_the_text_of_a_key(self, site):
        page = admin(site, "GET", f"/keys/{KEYS[2]}")
        assert page.status == 200 and key_id(KEYS[2]) in page.text
        assert admin(site, "GET", "/keys/add").status == 200
        assert KEYS[2].encode() not in site.all_logs()

    def test_selected(self, site):
        answer = admin(site, "POST", "/api/config/keys/delete-selected", {"keys": [KEYS[2], "nothing"]}).json()
        assert (answer["deleted_count"], answer["not_found_keys"]) == (1, ["nothing"])


class TestScheduler:
    def test_stop_and_start_are_a_saved_setting(self, site):
        admin(site, "POST", "/api/scheduler/stop", {})
        assert admin(site, "GET", "/api/config").json()["CHECK_INTERVAL_HOURS"] == 0
        admin(site, "POST", "/api/scheduler/start", {})
        assert admin(site, "GET", "/api/config").json()["CHECK_INTERVAL_HOURS"] == 1


class TestProxies:
    @pytest.fixture(scope="class")
    @classmethod
    def proxy(cls):
        proxy = Tinyproxy()
        yield proxy
        proxy.stop()

    def test_a_real_request_goes_through_it(self, site, sim, proxy):
        answer = admin(site, "POST", "/api/config/proxy/check", {"proxy": proxy.url, "use_cache": False}).json()
        assert answer["is_available"] and answer["response_time"] > 0, answer
        assert len([call for call in sim.calls() if call["path"].endswith("/models")]) == 1

    def test_what_was_found_is_remembered(self, site, sim, proxy):
        body = {"proxies": [proxy.url, "http://127.0.0.1:9"]}
        admin(site, "POST", "/api/config/proxy/clear-cache", {})
        first = admin(site, "POST", "/api/config/proxy/check-all", body).json()
        assert [one["is_available"] for one in first] == [True, False]
        calls = len(sim.calls())
        assert admin(site, "POST", "/api/config/proxy/check-all", body).json() == first
        assert len(sim.calls()) == calls
        assert admin(site, "GET", "/api/config/proxy/cache-stats").json()["valid_cached"] == 2

    def test_masked_as_the_page_shows_it(self, site, sim, proxy):
        admin(site, "PUT", "/api/config", {"PROXIES": [proxy.url]})
        shown = admin(site, "GET", "/api/config").json()["PROXIES"][0]
        assert PASSWORD not in shown
        answer = admin(site, "POST", "/api/config/proxy/check", {"proxy": shown, "use_cache": False})
        assert answer.json()["is_available"] and PASSWORD not in answer.text
