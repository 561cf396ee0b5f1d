# SPDX-License-Identifier: Apache-2.0
"""A stream is byte-identical whatever way the upstream's bytes are cut (issue 2, point 5)."""
import json
import re

import pytest

from conf import Conf
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI

SPLITS = [1, 2, 3, 7, 64, 1000, -1]


def transcript(newline="\r\n"):
    """Text in several scripts, thoughts, an empty part, usage: what chunks of a real stream hold."""
    texts = ["Grü", "ße, 世", "界 🌍 ", "line\\nline ", "quote \\\" ", "\\ud83d\\ude00 ", "end"]
    events = []
    for number, text in enumerate(texts):
        last = number == len(texts) - 1
        finish = ',"finishReason": "STOP"' if last else ""
        events.append(
            'data: {"candidates": [{"content": {"parts": [{"text": "' + text + '"}],"role": "model"}'
            + finish + ',"index": 0}],"usageMetadata": {"promptTokenCount": 4,"candidatesTokenCount": '
            + str(number + 1) + ',"totalTokenCount": ' + str(number + 5)
            + '},"modelVersion": "gemini-2.5-flash","responseId": "r1"}' + newline * 2)
    return "".join(events).encode()


def steady(body):
    """Without what differs from call to call."""
    return re.sub(rb'"(id|created)": ?("[^"]*"|\d+)', b'"\\1":0', body)


class TestCuts:
    CONF = Conf()

    def stream(self, site, surface, content, split):
        site.sim.reset()
        site.sim.literal(content, content_type="text/event-stream", split=split)
        answer = site.api.post(surface.path(True), json=surface.body("x", True))
        assert answer.status == 200, answer
        return answer.body

    @pytest.mark.parametrize("newline", ["\r\n", "\n"], ids=["crlf", "lf"])
    @pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
    def test_identical(self, site, surface, newline):
        content = transcript(newline)
        whole = self.stream(site, surface, content, 0)
        if surface is Gemini:
            assert whole == content
        for split in SPLITS:
            assert steady(self.stream(site, surface, content, split)) == steady(whole), f"split at {split}"

    def test_line_ends_make_no_difference(self, site):
        crlf, lf = (steady(self.stream(site, OpenAI, transcript(n), 5)) for n in ("\r\n", "\n"))
        assert crlf == lf

    def test_the_text_is_whole(self, site):
        body = self.stream(site, OpenAI, transcript(), 1)
        text = "".join(OpenAI.piece(line[6:]) for line in body.decode().split("\n\n")
                       if line.startswith("data: {"))
        assert text == 'Grüße, 世界 🌍 line\nline quote " 😀 end'

    @pytest.mark.parametrize("split", SPLITS)
    def test_array_form(self, site, split):
        events = [json.loads(e[6:]) for e in transcript().decode().split("\r\n\r\n") if e]
        content = ("[" + "\r\n,\r\n".join(json.dumps(e) for e in events) + "]").encode()
        site.sim.reset()
        site.sim.literal(content, content_type="application/json; charset=UTF-8", split=split)
        answer = site.api.post("/v1beta/models/gemini-2.5-flash:streamGenerateContent", json=Gemini.body())
        assert answer.body == content

    @pytest.mark.parametrize("split", [0, 1, -1])
    def test_unary(self, site, split):
        event = json.loads(transcript().decode().split("\r\n\r\n")[-2][6:])
        content = json.dumps(event, indent=2).encode()
        for surface in SURFACES:
            site.sim.reset()
            site.sim.literal(content, content_type="application/json; charset=UTF-8", split=split)
            answer = site.api.post(surface.path(), json=surface.body())
            assert surface.text(answer.json()) == "end"
            assert surface is OpenAI or answer.body == content

    @pytest.mark.parametrize("path", ["tools-stream", "thinking-stream", "stream-text"])
    def test_recordings(self, site, fixtures, path):
        """Recorded streams give the same OpenAI events at every split."""
        import recordings
        tried = 0
        for name, recording in recordings.load_all(fixtures).items():
            content = recordings.answer_bytes(recording["response"])
            if not name.startswith(path + "/") or recording["response"]["status"] != 200 or len(content) > 30_000:
                continue
            whole = self.stream(site, OpenAI, content, 0)
            for split in (1, 13):
                assert steady(self.stream(site, OpenAI, content, split)) == steady(whole), f"{name} at {split}"
            tried += 1
        assert tried > 2
