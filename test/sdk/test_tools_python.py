# SPDX-License-Identifier: Apache-2.0
"""Tools and structured output with openai for Python and with LangChain, against models of
both generations; those of Gemini 3 refuse a call whose signature was lost."""
import enum
import json
import typing

import pytest

from conf import KEYS, Conf

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
langchain_openai = pytest.importorskip("langchain_openai")
langchain_core_tools = pytest.importorskip("langchain_core.tools")

MODELS = pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.8-flash"])
STEPS = 'call look {"place":"Ulm"} call note {"text":"a"} then call note {"text":"b"} then call look {"place":"Bonn"}'


class Kind(enum.Enum):
    CITY = "city"
    LAKE = "lake"


class Stop(pydantic.BaseModel):
    name: str
    kind: Kind
    note: typing.Optional[str]
    next: typing.Optional["Stop"]       # a reference to itself


class Trip(pydantic.BaseModel):
    title: str
    days: int
    price: typing.Union[float, str]
    stops: list[Stop]


class Look(pydantic.BaseModel):
    """Looks at a place."""
    place: str


class Note(pydantic.BaseModel):
    """Notes a text."""
    text: str


@MODELS
class TestOpenAI:
    CONF = Conf(keys=KEYS[:2])

    @pytest.fixture
    def client(self, site, sim):
        sim._control("strict", {"signatures": True})
        return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=site.api.token, max_retries=0)

    def test_parse(self, client, model):
        answer = client.chat.completions.parse(model=model, response_format=Trip,
                                               messages=[{"role": "user", "content": "Plan a trip."}])
        assert isinstance(answer.choices[0].message.parsed, Trip)

    def test_parse_a_stream(self, client, model):
        with client.chat.completions.stream(model=model, response_format=Trip,
                                            messages=[{"role": "user", "content": "Plan a trip."}]) as stream:
            for _ in stream:
                pass
            assert isinstance(stream.get_final_completion().choices[0].message.parsed, Trip)

    @pytest.mark.parametrize("stream", [False, True])
    def test_three_steps(self, client, sim, model, stream):
        """With the messages handed back as the SDK gives them."""
        tools = [openai.pydantic_function_tool(Look, name="look"), openai.pydantic_function_tool(Note, name="note")]
        messages, ran = [{"role": "user", "content": STEPS}], []
        for _ in range(6):
            if stream:
                with client.chat.completions.stream(model=model, messages=messages, tools=tools) as events:
                    message = events.get_final_completion().choices[0].message
            else:
                message = client.chat.completions.parse(model=model, messages=messages, tools=tools).choices[0].message
            messages.append(message)
            if not message.tool_calls:
                break
            for call in message.tool_calls:
                ran.append(call.function.parsed_arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps({"price": 19.99})})
        assert ran == [Look(place="Ulm"), Note(text="a"), Note(text="b"), Look(place="Bonn")]
        assert message.content
        assert len(sim.calls()) == 4, "no call was refused and sent again"

    def test_strict_tools(self, client, model):
        answer = client.chat.completions.parse(
            model=model, tools=[openai.pydantic_function_tool(Trip, name="plan")], tool_choice="required",
            messages=[{"role": "user", "content": "Plan a trip."}])
        assert isinstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, Trip)


@MODELS
class TestLangChain:
    """It builds messages anew and drops what it does not know."""
    CONF = Conf(keys=KEYS[:2])

    @pytest.fixture
    def chat(self, site, sim, model):
        sim._control("strict", {"signatures": True})
        return langchain_openai.ChatOpenAI(model=model, base_url=f"http://127.0.0.1:{site.port}/v1",
                                           api_key=site.api.token, max_retries=0, stream_usage=True)

    @pytest.mark.parametrize("stream", [False, True])
    def test_three_steps(self, chat, sim, stream, model):
        ran = []

        @langchain_core_tools.tool
        def look(place: str) -> str:
            """Looks at a place."""
            ran.append(("look", place))
            return "fine"

        @langchain_core_tools.tool
        def note(text: str) -> dict:
            """Notes a text."""
            ran.append(("note", text))
            return {"noted": text}

        sim.record(bodies=True)
        known = {"look": look, "note": note}
        bound = chat.bind_tools(list(known.values()))
        messages = [("user", STEPS)]
        for _ in range(6):
            if stream:
                answer = None
                for piece in bound.stream(messages):
                    answer = piece if answer is None else answer + piece
            else:
                answer = bound.invoke(messages)
            messages.append(answer)
            if not answer.tool_calls:
                break
            messages += [known[call["name"]].invoke(call) for call in answer.tool_calls]
        assert ran == [("look", "Ulm"), ("note", "a"), ("note", "b"), ("look", "Bonn")]
        assert answer.text and answer.usage_metadata["total_tokens"] > 0
        assert len(sim.calls()) == 4, "no call was refused and sent again"
        assert all("skip_thought_signature" not in call["body"] for call in sim.calls())

    def test_structured(self, chat, model):
        assert isinstance(chat.with_structured_output(Trip).invoke("Plan a trip."), Trip)
        assert isinstance(chat.with_structured_output(Look, method="function_calling").invoke("Look."), Look)
