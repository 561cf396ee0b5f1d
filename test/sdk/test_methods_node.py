# SPDX-License-Identifier: Apache-2.0
"""Every method of Google's Node SDK that exists on the surface, unmodified, with keys that take turns.
A method that a newer SDK adds makes this fail until it stands in one of the lists."""
import os
import re

import pytest

import toolchain
from conf import KEYS, Conf
from google_apis import ANYBODY, Google

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "genai_methods.mjs")

# What TypeScript calls private.
PRIVATE = re.compile(r"^_|Internal$|\._|WithContinuation$|\.(getClient|isCallableTool|processAfcStream|initAfcToolsMap|"
                     r"maybeMoveToResponseJsonSchema|processParamsMaybeAddMcpUsage|createInlinedGenerateContentRequest|"
                     r"getGcsUri|getBigqueryUri|formatDestination)$")
NOT_HERE = {
    "Vertex AI alone, with OAuth": {
        "models.computeTokens", "models.editImage", "models.upscaleImage", "models.recontextImage", "models.segmentImage",
        "models.generateImages", "models.generateVideos", "operations.getVideosOperation", "tunings.list",
        "tunings.validateReward"},
    "asks for OAuth credentials of Google Cloud Storage first": {"files.registerFiles"},
    "a WebSocket": {"live.connect"},
}


@pytest.fixture(scope="class")
def google():
    made = Google()
    made.put("tunedModels/t1", ANYBODY, {"name": "tunedModels/t1", "displayName": "t", "state": "ACTIVE"})
    yield made
    made.stop()


class TestEveryMethod:
    @pytest.fixture(scope="class")
    @classmethod
    def outcome(cls, google, make_site):
        site = make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=("proxy", "proxy_http")), sim=False)
        return toolchain.run(SCRIPT, f"http://127.0.0.1:{site.port}", site.api.token, timeout=120)

    def test_all_were_answered(self, outcome, google):
        assert {name: fault for name, fault in outcome["called"].items() if fault} == {}
        assert {call["key"] for call in google.calls} == set(KEYS)

    def test_none_is_left_out(self, outcome):
        known = set(outcome["called"]).union(*NOT_HERE.values())
        assert {name for name in outcome["offered"] if not PRIVATE.search(name)} - known == set()
