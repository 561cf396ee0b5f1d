# SPDX-License-Identifier: Apache-2.0
"""Streams that please difficult clients: heartbeats, fake streams, the deadline of the first token."""
import json
import time

import pytest

import openai_spec
import procfs
from conf import KEYS, Conf
from load import Case, load
from store import Database
from tools import soak
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask, begin

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
EXPECTED = (r"GB\d{4}: (key|pool) ",)
BEATS = {OpenAI: b": keep-alive\n\n", Gemini: b"\r\n\r\n"}
ARRAY = Gemini.path(True).removesuffix("?alt=sse")
# The waiting worker is another sink: what a class shows with it too holds for the others.
with_waiting = pytest.mark.parametrize("modes", ["On", "Off"], ids=["parked", "waiting"], indirect=True, scope="class")


def beats_before(body, surface):
    """How many heartbeats stand before the first event."""
    n, beat = 0, BEATS[surface]
    while body.startswith(beat):
        body, n = body[len(beat):], n + 1
    return n


@pytest.fixture(scope="class")
def modes(request, make_site):
    """The class's server; see with_waiting."""
    conf = request.cls.CONF
    conf.parking = getattr(request, "param", "On")
    return make_site(conf)


@pytest.fixture
def sim(modes):
    modes.sim.reset()
    return modes.sim


@with_waiting
class TestHeartbeats:
    CONF = Conf(keys=KEYS, api="GBalanceStreamHeartbeatSeconds 80ms", claims=EXPECTED)

    @surfaces
    def test_while_the_model_thinks(self, modes, sim, surface):
        answer = ask(modes, surface, "[[chunks=3 first=300 seq]]", True)
        assert answer.status == 200 and beats_before(answer.body, surface) >= 2
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        assert b"c000003 " in answer.body and answer.body.endswith(surface.done)
        assert len(sim.calls()) == 1

    @surfaces
    def test_between_events_and_never_inside(self, modes, sim, surface):
        answer = ask(modes, surface, "[[chunks=3 interval=200 split=3 seq]]", True)
        assert answer.body.count(BEATS[surface]) >= 2
        assert all(json.loads(e) for e in events_of(answer) if e != "[DONE]")

    @surfaces
    def test_none_where_bytes_flow(self, modes, sim, surface):
        answer = ask(modes, surface, "[[chunks=8 interval=10 seq]]", True)
        plain = answer.body.replace(b"}\r\n\r\n", b"}")
        assert BEATS[surface] not in plain

    @surfaces
    def test_a_retry_after_a_heartbeat(self, modes, sim, surface):
        """Status 200 is out, content is not: the client never learns of the failed keys."""
        sim.fault(status=500, delay_ms=200, count=2)
        answer = ask(modes, surface, "[[chunks=3 seq]]", True)
        assert answer.status == 200 and beats_before(answer.body, surface) >= 1
        assert b"c000003 " in answer.body and b'"error"' not in answer.body
        assert len({call["key"] for call in sim.calls()}) == 3

    @surfaces
    def test_an_error_after_a_heartbeat_is_the_streams(self, modes, sim, surface):
        sim.fault("invalid_argument", delay_ms=200)
        answer = begin(modes, surface, "x")
        assert answer.status == 200
        assert surface.stream_error(answer)["message"]

    @surfaces
    def test_an_error_before_it_has_its_status(self, modes, sim, surface):
        sim.fault("invalid_argument")
        surface.check_error(ask(modes, surface, "x", True), 400)

    def test_in_an_array(self, modes, sim):
        answer = modes.api.post(ARRAY, json=Gemini.body("[[chunks=3 first=250 interval=200 seq]]"))
        assert answer.body.startswith(b"[\r\n") and answer.headers.get("Content-Type").startswith("application/json")
        events = answer.json()
        assert "c000003 " in "".join(Gemini.piece(json.dumps(e)) for e in events)

    def test_an_error_in_an_array(self, modes, sim):
        sim.fault("invalid_argument", delay_ms=200)
        (error,) = modes.api.post(ARRAY, json=Gemini.body("x")).json()
        assert error["error"]["code"] == 400
        sim.reset()
        sim.fault("cut", after=2, how="rst")
        events = modes.api.post(ARRAY, json=Gemini.body("[[chunks=5 first=200]]")).json()
        assert "error" in events[-1] and len(events) == 3

    def test_on_the_direct_surface(self, modes, sim):
        answer = modes.api.post("/openai/v1/chat/completions", json=OpenAI.body("[[chunks=3 first=300 seq]]", True))
        assert beats_before(answer.body, OpenAI) >= 2 and b"c000003 " in answer.body
        assert answer.body.endswith(OpenAI.done)

    def test_no_heartbeat_in_an_answer_in_one_piece(self, modes, sim):
        answer = ask(modes, OpenAI, "[[chunks=3 first=250]]")
        assert answer.json()["choices"][0]["finish_reason"] == "stop"

    def test_the_client_leaves_meanwhile(self, modes, sim):
        with modes.api.connect() as conn:
            answer = begin(modes, OpenAI, "[[chunks=3 first=3000]]", conn=conn)
            answer.read_until(BEATS[OpenAI] * 2)
        sim.wait_quiet()


class TestEmptyDeltas:
    CONF = Conf(keys=KEYS, api="GBalanceStreamHeartbeatSeconds 80ms\nGBalanceStreamHeartbeatForm delta",
                claims=EXPECTED)

    def test_chunks_that_say_nothing(self, modes, sim):
        sim.fault(status=500, delay_ms=200, count=1)
        chat = openai_spec.Chat(modes, sim)
        chunks = chat.post(stream=True, messages="[[chunks=3 first=250 interval=200 seq]]",
                           stream_options={"include_usage": True})
        empty = [c for c in chunks if c["choices"] and c["choices"][0]["delta"] == {}
                 and not c["choices"][0]["finish_reason"]]
        assert len(empty) >= 3 and chunks[0] in empty
        (choice,) = openai_spec.gather(chunks)
        assert "c000003 " in choice["message"]["content"] and chunks[-1]["usage"]["total_tokens"] > 0

    def test_not_on_the_gemini_surface(self, modes, sim):
        answer = ask(modes, Gemini, "[[chunks=3 first=200 seq]]", True)
        assert beats_before(answer.body, Gemini) >= 1


def events_of(answer):
    text = answer.text.replace("\r\n", "\n")
    return [e.removeprefix("data: ") for e in text.split("\n\n") if e.strip() and not e.startswith(":")]


RICH = {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
    {"text": "let me think", "thought": True}, {"text": "Grüße 😀 \"quoted\"\n"},
    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
    {"functionCall": {"name": "get_weather", "args": {"city": "Ulm", "n": 19.99}}, "thoughtSignature": "c2ln"}]}}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 3, "totalTokenCount": 15},
    "modelVersion": "gemini-2.5-flash", "responseId": "r1", "unheardOf": {"a": [1, 2.50]}}
PRETTY = json.dumps(RICH, indent=2, ensure_ascii=False).replace("\n", "\r\n").replace("2.5\r", "2.50\r").encode()
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.smoke
@with_waiting
class TestFakeStream:
    CONF = Conf(keys=KEYS, claims=EXPECTED,
                api="GBalanceFakeStreamEnabled On\nGBalanceFakeStreamEmptyDataIntervalSeconds 80ms")

    def test_nothing_is_lost_for_openai(self, modes, sim):
        sim.literal(PRETTY, delay_ms=600)
        chat = openai_spec.Chat(modes, sim)
        answer = modes.api.post(OpenAI.path(), json=OpenAI.body(
            "x", True, tools=[TOOL], stream_options={"include_usage": True}))
        assert beats_before(answer.body, OpenAI) >= 2
        chunks = chat.stream_of(answer)
        (choice,) = openai_spec.gather(chunks)
        message = choice["message"]
        assert message["reasoning_content"] == "let me think"
        assert message["content"].startswith('Grüße 😀 "quoted"\n')
        assert "data:image/png;base64,iVBORw0KGgo=" in message["content"]
        (call,) = message["tool_calls"]
        assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Ulm","n":19.99}'}
        assert call["extra_content"]["google"]["thought_signature"] == "c2ln"
        assert choice["finish_reason"] == "tool_calls"
        usage = chunks[-1]["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 10, 15)
        assert [c["method"] for c in sim.calls()] == ["generateContent"]

    def test_nothing_is_lost_for_gemini(self, modes, sim):
        sim.literal(PRETTY, delay_ms=250)
        answer = modes.api.post(Gemini.path(True) + "&quotaUser=7", json=Gemini.body("x"))
        assert beats_before(answer.body, Gemini) >= 2
        assert answer.headers.get("Content-Type") == "text/event-stream"
        (event,) = [e for e in answer.body.split(b"\r\n\r\n") if e]
        assert event.startswith(b"data: {") and b"2.50" in event and json.loads(event[6:]) == RICH
        (call,) = sim.calls()
        assert call["method"] == "generateContent"

    def test_in_an_array(self, modes, sim):
        sim.literal(PRETTY, delay_ms=200)
        answer = modes.api.post(ARRAY, json=Gemini.body("x"))
        assert answer.body.startswith(b"[\r\n") and answer.json() == [RICH]
        sim.literal(PRETTY)
        assert modes.api.post(ARRAY, json=Gemini.body("x")).json() == [RICH]

    @surfaces
    def test_retries_and_errors(self, modes, sim, surface):
        sim.fault(status=503, delay_ms=150, count=2)
        answer = ask(modes, surface, "[[chunks=3 seq]]", True)
        assert beats_before(answer.body, surface) >= 1 and b"c000003 " in answer.body
        sim.reset()
        sim.fault("invalid_argument")
        surface.check_error(ask(modes, surface, "x", True), 400)

    @surfaces
    def test_blocked(self, modes, sim, surface):
        sim.fault("blocked", reason="SAFETY")
        answer = ask(modes, surface, "x", True)
        assert answer.status == 200 and b"SAFETY" in answer.body

    def test_where_streams_say_more(self, modes, sim):
        """Gemini 4 cuts an answer in one piece short: its stream is held back instead."""
        answer = ask(modes, OpenAI, "[[chunks=4 interval=100 seq]]", True, model="gemini-4-argon")
        assert [c["method"] for c in sim.calls()] == ["streamGenerateContent"]
        assert beats_before(answer.body, OpenAI) >= 2 and b"c000004 " in answer.body
        assert answer.body.endswith(OpenAI.done)


class TestFakeStreamByModel:
    CONF = Conf(keys=KEYS, api='GBalanceFakeStreamModels gemini-2.5-flash,nick\n'
                               'GBalanceModelAliases \'{"nick": "gemini-2.5-pro"}\'')

    def test_only_those(self, modes, sim):
        for surface in SURFACES:
            for model, method in (("gemini-2.5-flash", "generateContent"), ("nick", "generateContent"),
                                  ("gemini-2.5-pro", "streamGenerateContent")):
                sim.reset()
                answer = modes.api.post(surface.path(True, model), json=surface.body("Hi", True, model))
                assert answer.status == 200 and answer.body.endswith(surface.done or b"\r\n\r\n")
                assert [c["method"] for c in sim.calls()] == [method]


class TestFirstToken:
    CONF = Conf(keys=KEYS, api="GBalanceTimeOutFirstToken 250ms", claims=EXPECTED)

    @surfaces
    def test_a_silent_stream_is_tried_on_another_key(self, modes, sim, surface):
        sim.fault("stall", count=1)
        answer = ask(modes, surface, "[[chunks=3 seq]]", True)
        assert answer.status == 200 and b"c000003 " in answer.body
        first, second = sim.calls()
        assert first["key"] != second["key"]

    @surfaces
    def test_a_stream_that_speaks_may_take_its_time(self, modes, sim, surface):
        assert b"c000003 " in ask(modes, surface, "[[chunks=3 interval=200 seq]]", True).body
        assert len(sim.calls()) == 1

    def test_neither_one_that_is_collected(self, modes, sim):
        answer = ask(modes, OpenAI, "[[chunks=3 interval=200 seq]]", model="gemini-4-argon")
        assert "c000003 " in OpenAI.text(answer.json()) and len(sim.calls()) == 1

    def test_all_silent(self, modes, sim):
        sim.fault("stall")
        assert OpenAI.check_error(ask(modes, OpenAI, "x", True), 504)
        assert len({call["key"] for call in sim.calls()}) == 3


def texts(*pieces, last=True, **members):
    """Gemini's answers, one for each piece of text."""
    made = [{"candidates": [{"content": {"role": "model", "parts": [{"text": text, **members}]}, "index": 0}],
             "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12},
             "modelVersion": "gemini-2.5-flash", "responseId": "r1"} for text in pieces]
    if last:
        made[-1]["candidates"][0]["finishReason"] = "STOP"
    return made


def stream_of(sim, *answers, **members):
    sim.literal("".join(f"data: {json.dumps(a)}\r\n\r\n" for a in answers).encode(),
                content_type="text/event-stream", **members)


def pieces_of(answer, surface):
    found = [surface.piece(e) for e in events_of(answer) if e != "[DONE]"]
    return [piece for piece in found if piece]


LONG = "Über die 😀 Möglichkeiten: \"a\" \\ b. " * 8
MARKDOWN = ("# Title\n\nSome **bold** text and [a link](https://example.org/a?b=c) and a picture "
            "![p](data:image/png;base64,iVBORw0KGgo=).\n\n```python\nprint(1)\n```\nThe end of it.")


@pytest.mark.smoke
@with_waiting
class TestOptimizer:
    CONF = Conf(keys=KEYS, api="GBalanceStreamOptimizerEnabled On\nGBalanceStreamMinDelay 1ms\n"
                               "GBalanceStreamMaxDelay 2ms\nGBalanceStreamHeartbeatSeconds 1", claims=EXPECTED)

    @surfaces
    def test_long_text_in_pieces(self, modes, sim, surface):
        stream_of(sim, *texts(LONG, LONG))
        answer = ask(modes, surface, "x", True)
        pieces = pieces_of(answer, surface)
        assert "".join(pieces) == LONG * 2
        assert len(pieces) >= len(LONG) / 5 and max(map(len, pieces)) <= 7
        assert answer.body.endswith(surface.done)

    @surfaces
    def test_short_text_by_characters(self, modes, sim, surface):
        stream_of(sim, *texts("Hello 😀 you"))
        assert pieces_of(ask(modes, surface, "x", True), surface) == list("Hello 😀 you")

    @surfaces
    def test_markdown_is_not_torn(self, modes, sim, surface):
        stream_of(sim, *texts(MARKDOWN))
        pieces = pieces_of(ask(modes, surface, "x", True), surface)
        assert "".join(pieces) == MARKDOWN
        for whole in ("**", "[a link](https://example.org/a?b=c)", "![p](data:image/png;base64,iVBORw0KGgo=)",
                      "```python\n"):
            assert any(whole in piece for piece in pieces), whole

    def test_chunks_are_valid(self, modes, sim):
        stream_of(sim, *texts(LONG, thought=True, last=False), *texts(LONG, MARKDOWN))
        chunks = openai_spec.Chat(modes, sim).post(stream=True, messages="x", stream_options={"include_usage": True})
        (choice,) = openai_spec.gather(chunks)
        assert choice["message"]["reasoning_content"] == LONG
        assert choice["message"]["content"] == LONG + MARKDOWN and choice["finish_reason"] == "stop"
        assert [c["usage"] for c in chunks if c["usage"]] == [chunks[-1]["usage"]]

    def test_gemini_keeps_what_stands_beside(self, modes, sim):
        answers = texts(LONG)
        answers[0]["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["x"]}
        stream_of(sim, *texts(LONG, thought=True, last=False), *answers)
        events = [json.loads(e) for e in events_of(ask(modes, Gemini, "x", True))]
        thoughts = [e for e in events if e["candidates"][0]["content"]["parts"][0].get("thought")]
        assert "".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in thoughts) == LONG
        assert {e["responseId"] for e in events} == {"r1"}
        for name in ("finishReason", "groundingMetadata"):
            assert [e for e in events if name in e["candidates"][0]] == [events[-1]]
        assert events[-1]["usageMetadata"]["totalTokenCount"] == 12

    @surfaces
    def test_the_rest_is_untouched(self, modes, sim, surface):
        stream_of(sim, RICH)
        answer = ask(modes, surface, "x", True, **({"tools": [TOOL]} if surface is OpenAI else {}))
        if surface is Gemini:
            assert [json.loads(e) for e in events_of(answer)] == [RICH]
        else:
            assert '{\\"city\\":\\"Ulm\\",\\"n\\":19.99}' in answer.text

    @surfaces
    def test_errors(self, modes, sim, surface):
        sim.fault("cut", after=2, how="rst")
        answer = begin(modes, surface, "[[chunks=5 size=30 seq]]")
        assert surface.stream_error(answer)
        sim.reset()
        sim.fault("invalid_argument")
        surface.check_error(ask(modes, surface, "x", True), 400)

    def test_the_client_leaves_meanwhile(self, modes, sim):
        with modes.api.connect() as conn:
            begin(modes, OpenAI, "[[chunks=2 interval=9000 size=300 text=abcdefghijklmnopqrstuvwxyz]]",
                  conn=conn).read_until(b'"content":"')
        sim.wait_quiet()


class TestBoundedLag:
    """One character every 100 ms would take an hour."""
    CONF = Conf(keys=KEYS[:1], api="GBalanceStreamOptimizerEnabled On\nGBalanceStreamMinDelay 100ms\n"
                                   "GBalanceStreamMaxDelay 100ms\nGBalanceStreamChunkSize 1\n"
                                   "GBalanceStreamHeartbeatSeconds 100ms")

    @surfaces
    def test_much_text_at_once(self, modes, sim, surface):
        stream_of(sim, *texts(*[LONG * 10] * 10, MARKDOWN))
        pieces = pieces_of(ask(modes, surface, "x", True), surface)
        assert "".join(pieces) == LONG * 100 + MARKDOWN and 8 <= len(pieces) < 100

    @surfaces
    def test_many_small_pieces(self, modes, sim, surface):
        """More than the exchange holds for a client: the optimizer must not be what pauses the upstream."""
        pieces = pieces_of(ask(modes, surface, "[[chunks=2000 size=10 seq]]", True), surface)
        assert "c002000 " in "".join(pieces) and "c001000 " in "".join(pieces)

    @surfaces
    def test_a_client_that_does_not_read_pauses_the_upstream(self, modes, sim, surface):
        answer = begin(modes, surface, "[[chunks=128 size=65536 seq]]", conn_options={"rcvbuf": 8192, "timeout": 60})
        with answer.conn:
            next(answer.pieces())
            time.sleep(0.8)
            sent = sim.calls()[0]["bytes"]
            time.sleep(0.4)
            (call,) = sim.calls()
            assert call["bytes"] - sent < 256 * 1024, "the upstream goes on although nobody reads"
            kernel = procfs.queued(modes.port, sim.port)
            assert call["bytes"] - kernel < 2 * 1024 * 1024, "what nobody read was taken from the upstream"
            answer.read()
        assert "c000128 " in "".join(pieces_of(answer, surface))


def answers_in_turn(sim, *calls):
    """One answer for each call: (events, how it ends), None for a 503."""
    answers = []
    for call in calls:
        if call is None:
            answers.append({"status": 503, "json": {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}},
                            "count": 1})
            continue
        events, how = call
        body = "".join(f"data: {json.dumps(e)}\r\n\r\n" for e in events)
        answers.append({"sse": body, "count": 1,
                        "headers": {"Content-Type": "text/event-stream"}, "interval_ms": 50,
                        **({"how": how, "after": len(events)} if how else {})})
    sim._control("faults", {"rules": []})
    sim._control("answer", {"answers": answers})
    sim.record(bodies=True)


@pytest.mark.smoke
class TestContinuation:
    CONF = Conf(keys=KEYS, claims=EXPECTED, api="GBalanceStreamContinueMax 2\nGBalanceMaxFailures 1000\n"
                                                "GBalanceBreakerFailures 1000")

    def check(self, modes, surface, whole, calls, **fields):
        """The client sees one answer, and every call but the first says what was said."""
        answer = ask(modes, surface, "Tell me.", True, **fields)
        assert "".join(pieces_of(answer, surface)) == whole
        assert answer.body.endswith(surface.done) and b'"error"' not in answer.body
        found = modes.sim.calls()
        assert len(found) == calls and len({c["key"] for c in found}) == calls
        return answer, [json.loads(c["body"])["contents"] for c in found]

    @surfaces
    @pytest.mark.parametrize("how", [None, "rst"], ids=["ended", "reset"])
    def test_without_a_seam(self, modes, sim, surface, how):
        answers_in_turn(sim, (texts("Once upon a ti", last=False), how), (texts("me there was a ", "fox."), None))
        answer, contents = self.check(modes, surface, "Once upon a time there was a fox.", 2)
        first, second = contents
        assert second[:1] == first and [turn["role"] for turn in second[1:]] == ["model", "user"]
        assert second[1]["parts"] == [{"text": "Once upon a ti"}]
        if surface is OpenAI:
            (choice,) = openai_spec.gather(openai_spec.Chat(modes, sim).stream_of(answer))
            assert choice["finish_reason"] == "stop"

    @surfaces
    def test_what_is_repeated_goes(self, modes, sim, surface):
        answers_in_turn(sim, (texts("Once upon a time the qui", last=False), "rst"),
                        (texts("a time ", "the quick", " fox"), None))
        self.check(modes, surface, "Once upon a time the quick fox", 2)

    @surfaces
    def test_cut_twice(self, modes, sim, surface):
        answers_in_turn(sim, (texts("One ", last=False), "rst"), (texts("two ", last=False), None),
                        (texts("three."), None))
        _, contents = self.check(modes, surface, "One two three.", 3)
        assert contents[2][1]["parts"] == [{"text": "One two "}] and len(contents[2]) == 3

    @surfaces
    def test_thoughts_are_not_told_twice(self, modes, sim, surface):
        answers_in_turn(sim, (texts("hm", thought=True, last=False) + texts("A ", last=False), "rst"),
                        (texts("hm again", thought=True, last=False) + texts("b."), None))
        answer, _ = self.check(modes, surface, "A b.", 2)
        assert b"hm" in answer.body and b"again" not in answer.body

    @surfaces
    def test_all_was_said(self, modes, sim, surface):
        answers_in_turn(sim, (texts("All of it.", last=False), "rst"), (texts(""), None))
        self.check(modes, surface, "All of it.", 2)

    @surfaces
    def test_an_error_in_the_middle(self, modes, sim, surface):
        error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
        answers_in_turn(sim, (texts("A ", last=False) + [error], None), (texts("b."), None))
        self.check(modes, surface, "A b.", 2)

    @surfaces
    def test_a_continuation_that_fails_first(self, modes, sim, surface):
        answers_in_turn(sim, (texts("A ", last=False), "rst"), None, (texts("b."), None))
        self.check(modes, surface, "A b.", 3)

    def test_usage_is_the_sum(self, modes, sim):
        answers_in_turn(sim, (texts("A ", last=False), "rst"), (texts("b."), None))
        answer, _ = self.check(modes, OpenAI, "A b.", 2, stream_options={"include_usage": True})
        usage = [json.loads(e) for e in events_of(answer)[:-1]][-1]["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (10, 14, 24)

    @pytest.mark.parametrize("broken_off", [1, 2])
    def test_usage_is_the_sum_for_gemini_clients(self, modes, sim, broken_off):
        def used(events, **counts):
            events[-1]["usageMetadata"] = counts
            return events

        shares = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}]}
        begun = used(texts("A ", last=False), promptTokenCount=5, candidatesTokenCount=2, thoughtsTokenCount=3, totalTokenCount=10, **shares)
        rest = used(texts("b."), promptTokenCount=7, candidatesTokenCount=1, totalTokenCount=8, serviceTier="x", **shares)
        answers_in_turn(sim, *[(begun, "rst")] * broken_off, (rest, None))
        answer = ask(modes, Gemini, "Tell me.", True)
        seen = [json.loads(e).get("usageMetadata") for e in events_of(answer)]
        assert seen[0] == begun[-1]["usageMetadata"], "what passes is not touched"
        assert seen[-1] == {"promptTokenCount": 7 + 5 * broken_off, "candidatesTokenCount": 1 + 2 * broken_off, "serviceTier": "x",
                            "thoughtsTokenCount": 3 * broken_off, "totalTokenCount": 8 + 10 * broken_off}

    @surfaces
    def test_in_the_end_the_client_is_told(self, modes, sim, surface):
        sim.fault("cut", after=2, how="rst")
        answer = begin(modes, surface, "[[chunks=9 seq]]")
        assert surface.stream_error(answer)
        assert len(sim.calls()) == 3, "the first one and two continuations"

    @surfaces
    def test_what_is_no_text_is_not_continued(self, modes, sim, surface):
        call = {"candidates": [{"content": {"role": "model", "parts": [
            {"functionCall": {"name": "get_weather", "args": {}}}]}, "index": 0}]}
        answers_in_turn(sim, (texts("A ", last=False) + [call], "rst"), (texts("b."), None))
        answer = begin(modes, surface, "x", **({"tools": [TOOL]} if surface is OpenAI else {}))
        assert surface.stream_error(answer) and len(sim.calls()) == 1

    @surfaces
    def test_json_is_not_continued(self, modes, sim, surface):
        answers_in_turn(sim, (texts('{"a": ', last=False), "rst"), (texts("1}"), None))
        fields = {"response_format": {"type": "json_object"}} if surface is OpenAI else {
            "generationConfig": {"responseMimeType": "application/json"}}
        assert surface.stream_error(begin(modes, surface, "x", **fields)) and len(sim.calls()) == 1


class TestContinuationInTheJournal:
    def test_one_call_of_two_attempts(self, make_site):
        db = Database("sqlite3")
        site = make_site(Conf(keys=KEYS, main=db.main, claims=EXPECTED, api="GBalanceStreamContinueMax 1"))
        db = db.of(site)
        db.await_tables()
        for surface in SURFACES:
            db.run("DELETE FROM t_request_log")
            answers_in_turn(site.sim, (texts("A ", last=False), "rst"), (texts("b."), None))
            assert pieces_of(ask(site, surface, "x", True), surface) == ["A ", "b."]
            first, second = db.await_rows(2)
            assert [r["is_final"] for r in (first, second)] == [0, 1]
            assert [r["is_success"] for r in (first, second)] == [0, 1]
            assert first["request_id"] == second["request_id"] and first["key_id"] != second["key_id"]
            assert [r["completion_tokens"] for r in (first, second)] == [7, 14], "the last one has the call's sum"
        hours = db.rows("SELECT * FROM gb_totals WHERE part = 'all' AND period = 3600")
        assert sum(h["calls"] for h in hours) == 2 and sum(h["attempts"] for h in hours) == 4
        assert sum(h["completion_tokens"] for h in hours) == 28


class TestContinuationIsOff:
    CONF = Conf(keys=KEYS)

    @surfaces
    def test_by_default(self, modes, sim, surface):
        sim.fault("cut", after=2, how="rst", count=1)
        assert surface.stream_error(begin(modes, surface, "[[chunks=9 seq]]")) and len(sim.calls()) == 1


@pytest.mark.soak
class TestManyStreams:
    """All modes at once, and clients that look at every byte."""
    MODES = {
        "heartbeats": "GBalanceStreamHeartbeatSeconds 150ms",
        "fake": "GBalanceFakeStreamEnabled On\nGBalanceFakeStreamEmptyDataIntervalSeconds 150ms",
        "optimizer": "GBalanceStreamOptimizerEnabled On\nGBalanceStreamMinDelay 50ms\nGBalanceStreamMaxDelay 50ms\n"
                     "GBalanceStreamHeartbeatSeconds 150ms",
        "continuation": "GBalanceStreamContinueMax 10\nGBalanceStreamHeartbeatSeconds 150ms\n"
                        "GBalanceMaxFailures 1000\nGBalanceBreakerFailures 1000",
    }

    @pytest.mark.parametrize("mode", MODES)
    def test_none_is_lost(self, make_site, mode):
        site = make_site(Conf(keys=KEYS, api=self.MODES[mode], claims=EXPECTED))
        count = soak(500, 2000)
        if mode == "continuation":
            site.sim.fault("cut", after=2, how="rst", every=4)
        cases = [Case("POST", s.path(True), s.body("[[chunks=4 delay=400 interval=200 size=60 seq]]", True))
                 for s in SURFACES]
        report = load(site.port, cases, token=site.api.token, connections=count, requests=count)
        assert report.failed == 0 and report.error_events == 0 and report.statuses == {"200": count}
        assert report.done_marks == count // 2
        site.settled()
