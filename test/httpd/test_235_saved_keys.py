# SPDX-License-Identifier: Apache-2.0
"""Keys that are settings - PAID_KEY, VERTEX_API_KEYS - are saved while httpd runs, and serve at once."""
from conf import KEYS, Conf
from test_230_config import ADMIN, MOUNT, admin, put
from tools import wait_until
from wire import MODEL, Gemini, OpenAI, ask

PAINTER = "imagen-4.0-generate-001"
VERTEX = "AQ.VertexKeyOne00000000000000000000000001"
CLAIMS = (r"GB10\d\d: (key|pool) ",)


def draw(site):
    return site.api.post("/v1/images/generations", json={"model": PAINTER, "prompt": "a tree"})


def used(site):
    keys = {call["key"] for call in site.sim.calls()}
    site.sim.reset()
    return keys


class TestPaidKey:
    CONF = Conf(keys=KEYS[:2], api=MOUNT, claims=CLAIMS)

    def test_serves_and_goes(self, site, sim):
        put(site, PAID_KEY=KEYS[2])
        assert draw(site).status == 200 and used(site) == {KEYS[2]}
        assert all(ask(site, OpenAI).status == 200 for _ in range(4)) and used(site) == set(KEYS[:2])
        site.graceful()
        assert draw(site).status == 200 and used(site) == {KEYS[2]}
        put(site, API_KEYS=list(KEYS))
        assert all(ask(site, OpenAI).status == 200 for _ in range(6)) and used(site) == set(KEYS)
        put(site, API_KEYS=list(KEYS[:2]))
        assert draw(site).status == 200 and used(site) == {KEYS[2]}
        put(site, PAID_KEY="AIzaAnotherPaidKey000000000000000000001")
        assert draw(site).status == 200 and used(site) == {"AIzaAnotherPaidKey000000000000000000001"}
        put(site, PAID_KEY=None)
        assert draw(site).status == 200 and used(site) <= set(KEYS[:2])
        assert all(ask(site, OpenAI).status == 200 for _ in range(4)) and used(site) == set(KEYS[:2])
        assert len(admin(site, "GET")["API_KEYS"]) == 2


class TestVertex:
    CONF = Conf(keys=KEYS[:1], api=MOUNT, claims=CLAIMS)

    def test_serves_at_once(self, site, sim):
        path = f"/vertex-express/v1beta/models/{MODEL}:generateContent"
        assert site.api.post(path, json=Gemini.body()).status == 503
        put(site, VERTEX_API_KEYS=[VERTEX], VERTEX_EXPRESS_BASE_URL=f"{sim.url}/v1beta1/publishers/google")
        assert site.api.post(path, json=Gemini.body()).status == 200 and used(site) == {VERTEX}
        site.graceful()
        assert site.api.post(path, json=Gemini.body()).status == 200 and used(site) == {VERTEX}
        assert ask(site, Gemini).status == 200 and used(site) == {KEYS[0]}
        put(site, VERTEX_API_KEYS=[])
        assert site.api.post(path, json=Gemini.body()).status == 503


class TestManyKeys:
    CONF = Conf(keys=KEYS[:1], api=MOUNT, claims=(*CLAIMS, "GB8055"))

    def test_settings_stay_savable(self, site, sim):
        """The list that was saved follows the pool as long as there is room for it."""
        put(site, API_KEYS=list(KEYS[:2]))
        for part in range(3):
            text = "\n".join(f"AQ.{i:0500d}" for i in range(part * 800, part * 800 + 800))
            assert site.api.post("/api/keys", json={"text": text}, token=ADMIN).status == 200
        wait_until(lambda: site.log.matching("GB8055"), "the list to be too long", timeout=20)
        assert put(site, MAX_RETRIES=7)["MAX_RETRIES"] == 7 and not site.log.matching("GB8053")
