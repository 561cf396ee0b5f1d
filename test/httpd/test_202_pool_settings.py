# SPDX-License-Identifier: Apache-2.0
"""What the settings of the pool do to a running httpd: limits by hand, tags, policies, the guard; and keys
that Google says to be of one project.
"""
import base64
import collections
import os

from conf import Conf
from test_205_keys_api import api, get, id_of, post
from wire import Gemini, OpenAI, ask

PRO, FLASH = "gemini-2.5-pro", "gemini-2.5-flash"
KEYS = tuple(f"AIzaWorks{i:030d}" for i in range(6))
NEWS = (r"GB10\d\d: (key|pool) ",)


def keys_of(site):
    return [call["key"] for call in site.sim.calls()]


class TestLimitsByHand:
    CONF = Conf(keys=KEYS[:2], claims=NEWS, api="""GBalanceModelLimits '{"gemini-2.5-flash": {"rpm": 3.9, "rpd": 1e30}}'""")

    def test_no_call_over_them(self, site, sim):
        statuses = [ask(site, OpenAI, model=FLASH).status for _ in range(9)]
        assert statuses == [200] * 6 + [429] * 3
        refused = ask(site, OpenAI, model=FLASH)
        assert 1 <= int(refused.headers.get("Retry-After")) <= 62
        assert collections.Counter(keys_of(site)) == {KEYS[0]: 3, KEYS[1]: 3}
        assert ask(site, OpenAI, model=PRO).status == 200


class TestTokensByHand:
    CONF = Conf(keys=KEYS[:2], claims=NEWS, api="""GBalanceModelLimits '{"gemini-2.5-flash": {"tpm": 50000}}'""")

    def test_pictures_count_little(self, site, sim):
        """Their bytes are no tokens: a megabyte of them is not more than the minute has."""
        picture = base64.b64encode(os.urandom(900_000)).decode()
        parts = [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": picture}}]
        body = {"contents": [{"role": "user", "parts": parts}]}
        answer = site.api.post(Gemini.path(model=FLASH), json=body)
        assert answer.status == 200, answer.text
        parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}]
        body = {"model": FLASH, "messages": [{"role": "user", "content": parts}]}
        assert site.api.post(OpenAI.path(), json=body).status == 200

    def test_words_count(self, site, sim):
        error = OpenAI.check_error(site.api.post(OpenAI.path(), json=OpenAI.body("word " * 60_000, model=FLASH)), 429)
        assert "larger than the tokens per minute" in error["message"] and not sim.calls()


class TestTags:
    CONF = Conf(keys=KEYS[:3], claims=NEWS, api=api(more=f"GBalanceModelKeyTags '{{\"{PRO}\": \"paid\"}}'"))

    def test_only_who_carries_it(self, site, sim):
        error = OpenAI.check_error(ask(site, OpenAI, model=PRO), 503)
        assert "MODEL_KEY_TAGS" in error["message"] and not sim.calls()
        post(site, "/edit", {"ids": [id_of(KEYS[1])], "tags": ["paid"]})
        assert all(ask(site, OpenAI, model=PRO).status == 200 for _ in range(6))
        assert set(keys_of(site)) == {KEYS[1]}
        assert all(ask(site, OpenAI, model=FLASH).status == 200 for _ in range(6))
        assert set(keys_of(site)) == set(KEYS[:3])


class TestSticky:
    CONF = Conf(keys=KEYS, tokens=tuple(f"sk-client-{i:020d}" for i in range(8)), api="GBalanceKeyPolicy sticky", claims=NEWS)

    def test_a_client_stays_on_its_key(self, site, sim):
        homes = {}
        for token in self.CONF.tokens:
            sim.reset()
            for _ in range(4):
                body = OpenAI.body(f"hello from {token}", model=FLASH)
                assert site.api.post(OpenAI.path(), json=body, token=token).status == 200
            homes[token] = set(keys_of(site))
        assert all(len(keys) == 1 for keys in homes.values())
        assert len(set.union(*homes.values())) > 1, "clients are spread over the keys"
        token, (home,) = next(iter(homes.items()))
        sim.reset()
        sim.fault("quota_minute", key=home, count=1)
        for _ in range(3):
            body = OpenAI.body(f"hello from {token}", model=FLASH)
            assert site.api.post(OpenAI.path(), json=body, token=token).status == 200
        assert keys_of(site).count(home) == 1, "while its key rests another one serves"


class TestGuard:
    CONF = Conf(keys=KEYS, api=api(), claims=(*NEWS, "GB1006"))

    def test_a_fault_of_everybody_empties_no_pool(self, site, sim):
        sim.fault("leaked")
        for _ in range(8):
            assert ask(site, OpenAI).status >= 400
        states = collections.Counter(row["state"] for row in get(site)["keys"])
        assert states == {"active": 3, "invalid": 3}
        assert len(site.log.matching("GB1006: pool default: more than half")) == 1
        sim.reset()
        assert ask(site, OpenAI).status == 200


class TestAmbiguous:
    """A 429 that says nothing rests the key that got it; whose key it is, Google told before."""
    CONF = Conf(keys=KEYS[:3], api=api(more="GBalanceCoolFirst 2"), claims=NEWS)

    def test_keys_of_one_project_are_grouped(self, site, sim):
        for key in KEYS[:2]:
            sim.fault("rate_limit_exceeded", key=key, model=PRO, count=1, project="424242")
        for _ in range(4):
            assert ask(site, OpenAI, model=PRO).status == 200
        assert site.log.matching("GB1011: .* shares its project")
        rows = {row["id"]: row["project"] for row in get(site)["keys"]}
        assert rows[id_of(KEYS[0])] == rows[id_of(KEYS[1])] != rows[id_of(KEYS[2])]
        assert "424242" not in rows[id_of(KEYS[0])]

    def test_the_project_rests_as_a_whole_the_key_alone(self, site, sim):
        sim.fault("quota_bare", key=KEYS[0], model=FLASH, count=1)
        for _ in range(9):
            assert ask(site, OpenAI, model=FLASH).status == 200
        assert KEYS[1] in keys_of(site), "its sibling goes on"
        assert keys_of(site).count(KEYS[0]) <= 2
        sim.fault("quota_minute", key=KEYS[1], model=FLASH, count=1)
        while not any(call["key"] == KEYS[1] and call["status"] == 429 for call in sim.calls()):
            assert ask(site, OpenAI, model=FLASH).status == 200
        before = len(keys_of(site))
        for _ in range(6):
            assert ask(site, OpenAI, model=FLASH).status == 200
        assert set(keys_of(site)[before:]) == {KEYS[2]}
