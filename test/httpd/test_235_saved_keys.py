# SPDX-License-Identifier: Apache-2.0
"""Keys that are settings - PAID_KEY, VERTEX_API_KEYS - are saved while httpd runs, and serve at once."""
from conf import KEYS, Conf
from test_230_config import MOUNT, admin, put
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
