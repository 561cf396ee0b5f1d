# SPDX-License-Identifier: Apache-2.0
"""Real answers of Gemini, as they were recorded, through the OpenAI surface: whatever stands in
them, what a client gets is what OpenAI's schema says."""
import json

import pytest

import openai_spec
import recordings
import tools
from conf import KEYS, Conf
from wire import ask, OpenAI

pytestmark = pytest.mark.smoke

TOOLS = [{"type": "function", "function": {"name": "anything"}}]


def chats():
    """(name, bytes, whether it is a stream) of all recorded answers that hold candidates."""
    folder = tools.shared_fixtures()
    for name, recording in (recordings.load_all(folder) if folder else {}).items():
        response = recording.get("response") or {}
        content = recordings.answer_bytes(response)
        if content and response.get("status", 200) == 200 and b'"candidates"' in content:
            yield name, content, isinstance(response.get("sse"), str)


def errors():
    folder = tools.shared_fixtures()
    for name, recording in (recordings.load_all(folder) if folder else {}).items():
        response = recording.get("response") or {}
        content = recordings.answer_bytes(response)
        if content and response.get("status", 200) >= 400:
            yield name, content, response["status"]


class TestRecordings:
    CONF = Conf(keys=KEYS, claims=(r"GB\d{4}:",), api="GBalanceMaxRetries 1")

    @pytest.fixture
    def chat(self, site, sim):
        if openai_spec.load() is None:
            pytest.skip("the shared folder is not there")
        return openai_spec.Chat(site, sim)

    def replay(self, chat, name, content, stream):
        chat.sim.reset()
        chat.sim.literal(content, content_type="text/event-stream" if stream else "application/json", split=-1)
        answer = ask(chat.site, OpenAI, "Hi", stream, tools=TOOLS)
        if answer.status != 200:
            chat.check("Error", answer.json()["error"])
            return 0
        if not stream:
            chat.check("CreateChatCompletionResponse", answer.json())
            return 1
        events = openai_spec.events_of(answer)
        for event in events[:-1]:
            body = json.loads(event)
            if "error" in body:
                chat.check("Error", body["error"])
            else:
                chat.check_chunk(body)
        return events[-1] == "[DONE]"

    @pytest.mark.parametrize("stream", [False, True])
    def test_answers(self, chat, stream):
        found = [(name, content) for name, content, streams in chats() if streams == stream]
        good = [name for name, content in found if self.replay(chat, name, content, stream)]
        assert len(found) > 30
        assert len(good) > 0.8 * len(found), sorted({name for name, _ in found} - set(good))

    def test_errors(self, make_site):
        """Each with a pool of its own, which such an answer may empty."""
        if openai_spec.load() is None:
            pytest.skip("the shared folder is not there")
        site = make_site(Conf(keys=[f"AIzaSyTestKey{i:026}" for i in range(200)], claims=(r"GB\d{4}:",),
                              api="GBalanceMaxRetries 1"))
        n = 0
        for name, content, status in errors():
            site.sim.reset()
            site.sim.literal(content, status=status)
            answer = ask(site, OpenAI)
            assert answer.status >= 400, name
            openai_spec.load().openai("Error", answer.json()["error"])
            n += 1
        assert n > 20
