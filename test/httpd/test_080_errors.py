# SPDX-License-Identifier: Apache-2.0
"""What a client hears when nothing helped: status, reason, when to come again."""
import contextlib
import re
import socket
import time

import pytest

from conf import KEYS, Conf
from env import Stopwatch
from tools import wait_until
from wire import SURFACE_IDS, SURFACES, Gemini, OpenAI, ask, begin

pytestmark = pytest.mark.smoke

surfaces = pytest.mark.parametrize("surface", SURFACES, ids=SURFACE_IDS)
EXPECTED = (r"GB\d{4}:",)


@pytest.fixture
def fresh(make_site):
    """A server whose pool has seen nothing yet."""
    def make(keys=KEYS[:2], api="", **more):
        return make_site(Conf(keys=keys, api=api, claims=EXPECTED, **more))
    return make


# what the upstream says: (fault, status for the client, OpenAI type, Google's status)
HANDED_ON = {
    "bad argument": ({"status": 400}, 400, "invalid_request_error", "INVALID_ARGUMENT"),
    "not found": ({"status": 404}, 404, "invalid_request_error", "NOT_FOUND"),
    "cancelled": ({"kind": "cancelled"}, 499, "server_error", "CANCELLED"),
    "unheard of": ({"status": 418, "text": "short and stout"}, 418, "invalid_request_error", None),
    "too large": ({"status": 413}, 413, "invalid_request_error", None),
    "internal": ({"status": 500}, 500, "server_error", "INTERNAL"),
    "unavailable": ({"status": 503}, 503, "server_error", "UNAVAILABLE"),
    "minute quota": ({"kind": "quota_minute"}, 429, None, "RESOURCE_EXHAUSTED"),
    "day quota": ({"kind": "quota_day"}, 429, None, "RESOURCE_EXHAUSTED"),
    "all keys dead": ({"kind": "key_invalid"}, 503, "server_error", "UNAVAILABLE"),
}


class TestHandedOn:
    @pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
    @pytest.mark.parametrize("case", HANDED_ON)
    def test_in_each_dialect(self, fresh, case, stream):
        fault, status, openai_type, google_status = HANDED_ON[case]
        site = fresh(api="GBalanceBreakerFailures 100")
        site.sim.fault(**fault)
        error = OpenAI.check_error(ask(site, OpenAI, stream=stream), status)
        if openai_type:
            assert error["type"] == openai_type
        error = Gemini.check_error(ask(site, Gemini, stream=stream), status)
        if google_status:
            assert error["status"] == google_status

    @surfaces
    def test_a_clients_fault_is_not_tried_again(self, fresh, surface):
        site = fresh()
        site.sim.fault(status=400)
        ask(site, surface)
        assert len(site.sim.calls()) == 1

    @surfaces
    def test_no_key_no_project_in_an_error(self, fresh, surface):
        """The message of CONSUMER_SUSPENDED echoes the key."""
        site = fresh(keys=KEYS[:1])
        site.sim.fault("suspended")
        answer = ask(site, surface)
        assert KEYS[0] not in answer.text
        assert not re.search(r"projects/\d{6}", answer.text)

    @surfaces
    def test_html_from_a_front_end(self, fresh, surface):
        site = fresh()
        site.sim.fault("bad_gateway")
        answer = ask(site, surface)
        error = surface.check_error(answer, 502)
        assert "<html" not in error["message"].lower()


class TestQuota:
    def test_a_spent_day_costs_an_sdk_one_call(self, fresh):
        """openai at its default of two retries: one key, one request, one upstream call."""
        openai = pytest.importorskip("openai")
        site = fresh(keys=KEYS[:1])
        site.sim.fault("quota_day")
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gemini-2.5-flash", messages=[{"role": "user", "content": "Hi"}])
        assert len(site.sim.calls()) == 1
        assert len(wait_until(lambda: [line for line in site.access_lines() if "POST" in line], "the line")) == 1

    def test_headers_of_a_spent_day(self, fresh):
        site = fresh(keys=KEYS[:1])
        site.sim.fault("quota_day")
        first, second = ask(site, OpenAI), ask(site, OpenAI)
        for answer in (first, second):
            assert answer.status == 429
            assert answer.headers.get("x-should-retry") == "false"
            assert int(answer.headers.get("Retry-After")) > 60
        assert len(site.sim.calls()) == 1, "a key that rests is not asked"

    def test_a_minute_is_told_in_seconds(self, fresh):
        site = fresh(keys=KEYS[:1])
        site.sim.fault("quota_minute", retry_delay="21s")
        ask(site, OpenAI)
        answer = ask(site, OpenAI)
        assert answer.status == 429
        assert 15 <= int(answer.headers.get("Retry-After")) <= 30
        details = Gemini.check_error(ask(site, Gemini), 429)["details"]
        (info,) = [d for d in details if d["@type"].endswith("RetryInfo")]
        assert 15 <= float(info["retryDelay"].rstrip("s")) <= 30
        assert len(site.sim.calls()) == 1

    def test_cools_for_that_model_only(self, fresh):
        site = fresh(keys=KEYS[:1])
        site.sim.fault("quota_minute", model="gemini-2.5-flash")
        assert ask(site, OpenAI).status == 429
        assert ask(site, OpenAI, model="gemini-2.5-pro").status == 200

    def test_a_key_comes_back(self, fresh):
        site = fresh(keys=KEYS[:1])
        site.sim.fault("quota_minute", retry_delay="2s", count=1)
        assert ask(site, OpenAI).status == 429
        answer = ask(site, OpenAI)
        assert answer.status == 429
        time.sleep(int(answer.headers.get("Retry-After")) + 0.2)
        assert ask(site, OpenAI).status == 200


class TestDeadlines:
    """TIME_OUT is the longest silence of an attempt, TIME_OUT_TOTAL ends the call."""

    @surfaces
    def test_silence_before_the_answer(self, fresh, surface):
        site = fresh(api="GBalanceTimeOut 1\nGBalanceMaxRetries 2")
        site.sim.fault("stall")
        with Stopwatch() as watch:
            surface.check_error(ask(site, surface), 504)
        assert watch.seconds > 1.5
        assert len(site.sim.calls()) == 2

    @surfaces
    def test_another_key_after_silence(self, fresh, surface):
        site = fresh(api="GBalanceTimeOut 1")
        site.sim.fault("stall", count=1)
        assert ask(site, surface).status == 200

    @surfaces
    def test_silence_within_a_stream(self, fresh, surface):
        site = fresh(api="GBalanceTimeOut 1")
        site.sim.fault("stall", after=3)
        with Stopwatch() as watch:
            answer = begin(site, surface, "[[chunks=10 interval=5 seq]]")
            surface.stream_error(answer)
        assert watch.seconds > 0.8
        assert len(site.sim.calls()) == 1

    def test_a_slow_stream_is_not_silent(self, fresh):
        site = fresh(api="GBalanceTimeOut 1")
        answer = begin(site, OpenAI, "[[chunks=8 interval=300 seq]]")
        assert "c000008 " in OpenAI.stream_text(answer)

    @surfaces
    def test_the_whole_call(self, fresh, surface):
        site = fresh(api="GBalanceTimeOutTotal 2")
        with Stopwatch() as watch:
            surface.stream_error(begin(site, surface, "[[chunks=100 interval=100 seq]]"))
        assert watch.seconds > 1.5

    def test_first_token(self, fresh):
        site = fresh(api="GBalanceTimeOutFirstToken 1")
        site.sim.fault("stall", key=KEYS[0])
        for _ in range(2):
            assert ask(site, OpenAI, stream=True).status == 200

    def test_a_model_of_its_own(self, fresh):
        site = fresh(api="GBalanceModelTimeOut '{\"gemini-2.5-pro\": 1}'\nGBalanceMaxRetries 1")
        site.sim.fault("stall")
        assert ask(site, OpenAI, model="gemini-2.5-pro").status == 504

    def test_connecting(self, fresh):
        """A listener whose queue is full answers no SYN."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
            for _ in range(4):
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            site = fresh(upstream=f"http://127.0.0.1:{full.getsockname()[1]}/v1beta",
                         api="GBalanceTimeOutConnect 1\nGBalanceMaxRetries 1")
            with Stopwatch() as watch:
                assert ask(site, OpenAI).status in (502, 504)
            assert watch.seconds < 8

    def test_nobody_listens(self, fresh):
        site = fresh(upstream="http://127.0.0.1:9/v1beta", api="GBalanceMaxRetries 2")
        OpenAI.check_error(ask(site, OpenAI), 502)


class TestMidstream:
    """After the first byte nothing is tried again: the stream tells the error itself."""

    ENDINGS = {
        "reset": {"kind": "cut", "how": "rst"},
        "closed": {"kind": "cut", "how": "close"},
        "ended early": {"kind": "cut", "how": "end"},
        "error": {"kind": "midstream_error"},
        "error as an event": {"kind": "midstream_error", "form": "data"},
    }

    @surfaces
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_error_event(self, fresh, surface, ending):
        site = fresh()
        site.sim.fault(after=4, **self.ENDINGS[ending])
        answer = begin(site, surface, "[[chunks=10 interval=20 seq]]")
        assert answer.status == 200
        error = surface.stream_error(answer)
        assert error["message"]
        assert len(site.sim.calls()) == 1
        assert KEYS[0] not in answer.text

    @surfaces
    def test_the_connection_goes_on(self, fresh, surface):
        site = fresh()
        site.sim.fault("cut", how="close", after=4, count=1)
        with site.api.connect() as conn:
            surface.stream_error(begin(site, surface, "[[chunks=10 interval=20 seq]]", conn=conn))
            again = begin(site, surface, "[[chunks=3 seq]]", conn=conn)
            assert again.status == 200
            again.read()

    @surfaces
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_before_the_first_byte_it_is_tried_again(self, fresh, surface, ending):
        site = fresh()
        site.sim.fault(after=0, count=1, **self.ENDINGS[ending])
        answer = ask(site, surface, "[[chunks=4 seq]]", stream=True)
        assert answer.status == 200 and b"error" not in answer.body
        assert len(site.sim.calls()) == 2

    def test_openai_streams_end_with_done_or_error_never_both_kinds(self, fresh):
        site = fresh()
        site.sim.fault("cut", how="close", after=4)
        answer = begin(site, OpenAI, "[[chunks=10 interval=20 seq]]")
        answer.read()
        assert answer.body.count(b'"finish_reason":"stop"') == 0


class TestWholeProvider:
    """A fault of the whole provider empties no pool: the model rests, then it is asked again."""

    def test_all_services_faulty(self, fresh):
        site = fresh(keys=tuple(f"AIzaGuard{i}" for i in range(8)), api="GBalanceMaxFailures 2\nGBalanceBreakerOpen 1")
        site.sim.fault(status=500)
        answers = [ask(site, OpenAI) for _ in range(12)]
        assert {a.status for a in answers} <= {500, 503}
        resting = answers[-1]
        assert resting.status == 503 and 1 <= int(resting.headers.get("Retry-After")) <= 60
        assert len(site.sim.calls()) < 12 * 3, "a model that rests is not asked"
        site.sim.reset()
        time.sleep(int(resting.headers.get("Retry-After")) + 0.5)
        assert [ask(site, OpenAI).status for _ in range(5)] == [200] * 5
        assert len({c["key"] for c in site.sim.calls()}) > 1, "no key was lost"
