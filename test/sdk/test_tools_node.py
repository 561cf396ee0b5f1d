# SPDX-License-Identifier: Apache-2.0
"""runTools, parse with zod and the stream helpers of the openai package for Node, against
models of both generations; those of Gemini 3 refuse a call whose signature was lost."""
import os

import pytest

import toolchain
from conf import KEYS, Conf

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 'call look {"place":"Ulm","days":2} call note {"text":"a"} then call note {"text":"b"} then call look {"place":"Bonn","days":null}'


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
class TestTools:
    CONF = Conf(keys=KEYS[:2])

    @pytest.fixture
    def call(self, site, sim, model):
        sim._control("strict", {"signatures": True})
        return lambda command, text: toolchain.run(os.path.join(HERE, "tools.mjs"), f"http://127.0.0.1:{site.port}/v1",
                                                   site.api.token, command, model, text)

    @pytest.mark.parametrize("command", ["run", "runStream"])
    def test_three_steps(self, call, sim, command):
        found = call(command, STEPS)
        assert found["ran"] == [["look", {"place": "Ulm", "days": 2}], ["note", {"text": "a"}], ["note", {"text": "b"}],
                                ["look", {"place": "Bonn", "days": None}]]
        assert found["final"]
        assert found["roles"] == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant", "tool", "assistant"]
        assert len(sim.calls()) == 4, "no call was refused and sent again"

    @pytest.mark.parametrize("command", ["parse", "parseStream"])
    def test_parse(self, call, command):
        trip = call(command, "Plan a trip.")
        assert trip["place"] and trip["kind"] in ("city", "lake") and isinstance(trip["days"], int)
        assert all(s["name"] for s in trip["stops"])

    def test_stream_helper(self, call):
        found = call("streamHelper", 'call look {"place":"Ulm","days":1} call note {"text":"a"}')
        assert found["reason"] == "tool_calls" and found["calls"] == 2
        assert [s[:2] for s in found["seen"]] == [[0, "look"], [1, "note"]]
