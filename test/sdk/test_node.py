# SPDX-License-Identifier: Apache-2.0
"""The official Node SDKs, unmodified: base URL and token are their only settings."""
import os

import pytest

import toolchain
from conf import KEYS, Conf
from tools import wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = "gemini-2.5-flash"
SDKS = {"openai": "openai", "genai": "genai", "genai below a path": "genai"}
BASES = {"openai": "/v1", "genai": "", "genai below a path": "/gemini"}


def call(site, sdk, command, *argv, token=None):
    return toolchain.run(os.path.join(HERE, f"{SDKS[sdk]}.mjs"), f"http://127.0.0.1:{site.port}{BASES[sdk]}",
                         token or site.api.token, command, *argv)


@pytest.mark.parametrize("sdk", SDKS)
class TestNode:
    CONF = Conf(keys=KEYS[:1])

    def test_complete(self, site, sdk):
        answer = call(site, sdk, "complete", "Hello")
        assert answer["text"] and answer["total"] > 0
        assert answer["reason"].lower() == "stop"

    def test_stream(self, site, sdk):
        answer = call(site, sdk, "stream", "[[chunks=12 interval=5 seq]]")
        assert "c000001 " in answer["text"] and "c000012 " in answer["text"]
        assert answer["chunks"] >= 12 and answer["total"] > 0
        assert answer["reason"].lower() == "stop"

    def test_models(self, site, sdk):
        assert any(name.removeprefix("models/") == MODEL for name in call(site, sdk, "models"))

    def test_wrong_token(self, site, sdk):
        error = call(site, sdk, "error", token="sk-wrong")
        assert error["status"] == 401
        assert error["name"] == {"openai": "AuthenticationError", "genai": "ApiError"}[SDKS[sdk]]


@pytest.mark.parametrize("sdk", SDKS)
class TestNodeFaults:
    CONF = Conf(keys=KEYS[:1], api="GBalanceMaxRetries 1", claims=(r"GB\d{4}:",))

    def test_a_spent_day_costs_one_call(self, make_site, sdk):
        site = make_site(self.CONF)
        site.sim.fault("quota_day")
        error = call(site, sdk, "error")
        assert error["status"] == 429
        assert error["name"] == {"openai": "RateLimitError", "genai": "ApiError"}[SDKS[sdk]]
        assert len(site.sim.calls()) == 1

    def test_broken_stream(self, make_site, sdk):
        site = make_site(self.CONF)
        site.sim.fault("cut", how="rst", after=3)
        error = call(site, sdk, "error", "stream")
        assert error["name"] is not None


class TestLeaving:
    CONF = Conf(keys=KEYS[:1])

    def test_breaking_out_of_a_stream(self, site, sim):
        assert call(site, "openai", "leave", "[[chunks=600 interval=100 seq]]") is True
        wait_until(lambda: sim.stats()["open_calls"] == 0, "the upstream call to end", timeout=5)


class TestSpeech:
    CONF = Conf(keys=KEYS[:1])

    def test_speech(self, site):
        answer = call(site, "openai", "speech", "Hello there.")
        assert answer["type"] == "audio/flac" and answer["begin"] == "fLaC" and answer["length"] > 100


MODES = {
    "heartbeats": "GBalanceStreamHeartbeatSeconds 80ms",
    "empty deltas": "GBalanceStreamHeartbeatSeconds 80ms\nGBalanceStreamHeartbeatForm delta",
    "fake": "GBalanceFakeStreamEnabled On\nGBalanceFakeStreamEmptyDataIntervalSeconds 80ms",
}


@pytest.mark.parametrize("mode", MODES)
class TestStreamModes:
    def test_stream(self, make_site, mode):
        site = make_site(Conf(keys=KEYS[:1], api=MODES[mode]))
        for sdk in ("openai", "genai"):
            answer = call(site, sdk, "stream", "[[chunks=5 delay=300 interval=120 seq]]")
            assert "c000001 " in answer["text"] and "c000005 " in answer["text"], sdk
            assert answer["total"] > 0 and answer["reason"].lower() == "stop"
