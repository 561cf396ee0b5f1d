# SPDX-License-Identifier: Apache-2.0
"""Live answers against OpenAI's published schema, and what went upstream against
Google's discovery document; both are read from the shared folder.

    spec = openai_spec.load()           # None where a skip is right
    spec.openai("CreateChatCompletionResponse", answer.json())
    spec.gemini("GenerateContentRequest", json.loads(call["body"]))
"""
import copy
import functools
import json
import os

import tools

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


class Fault(AssertionError):
    """Where a value is not what its schema says."""


class Spec:
    def __init__(self, folder):
        self._openai = self._load(folder, "openai-openapi-subset.json")["components"]["schemas"]
        self._gemini = self._load(folder, "gemini-discovery.json")["schemas"]

    @staticmethod
    def _load(folder, name):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            return json.load(f)

    # ---- JSON Schema, as much as OpenAI's file uses

    def openai(self, name, value):
        self._check(self._openai[name], value, name)
        return value

    def _fits(self, schema, value, path):
        try:
            self._check(schema, value, path)
        except Fault as fault:
            return str(fault)
        return None

    def _check_any(self, schemas, value, path):
        faults = [self._fits(s, value, path) for s in schemas]
        if None not in faults:
            raise Fault(f"{path}: none of {len(faults)} forms fits: {faults}")

    def _check(self, schema, value, path):
        nullable = schema.get("nullable")
        if "$ref" in schema:
            schema = self._openai[schema["$ref"].rsplit("/", 1)[1]]
        if value is None and (nullable or schema.get("nullable")):
            return
        for part in schema.get("allOf", ()):
            self._check(part, value, path)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                self._check_any(schema[word], value, path)
        types = schema.get("type")
        if types and not any(TYPES[t](value) for t in ([types] if isinstance(types, str) else types)):
            raise Fault(f"{path}: {value!r:.60} is no {types}")
        if "enum" in schema and value not in schema["enum"]:
            raise Fault(f"{path}: {value!r:.60} is not one of {schema['enum']}")
        if isinstance(value, dict):
            self._check_members(schema, value, path)
        if isinstance(value, list) and "items" in schema:
            for i, item in enumerate(value):
                self._check(schema["items"], item, f"{path}[{i}]")

    def _check_members(self, schema, value, path):
        for name in schema.get("required", ()):
            if name not in value:
                raise Fault(f"{path}: lacks {name}")
        more = schema.get("additionalProperties")
        for name, member in value.items():
            found = schema.get("properties", {}).get(name)
            if found is None and more is False:
                raise Fault(f"{path}: has {name}")
            found = found or (more if isinstance(more, dict) else None)
            if found:
                self._check(found, member, f"{path}.{name}")

    # ---- discovery: an unknown member is a fault

    def gemini(self, name, value):
        self._discover(self._gemini[name], value, name)
        return value

    def _discover(self, schema, value, path):
        if "$ref" in schema:
            if schema["$ref"] not in self._gemini:
                return              # the document names some that it does not hold
            schema = self._gemini[schema["$ref"]]
        kind = schema.get("type")
        if kind in (None, "any") or value is None:
            return
        if kind == "string" and "int64" in schema.get("format", "") and TYPES["integer"](value):
            return
        if not TYPES[kind](value):
            raise Fault(f"{path}: {value!r:.60} is no {kind}")
        if isinstance(value, str) and "enum" in schema and value not in schema["enum"]:
            raise Fault(f"{path}: {value!r:.60} is not one of {schema['enum']}")
        if isinstance(value, dict):
            for name, member in value.items():
                found = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
                if found is None:
                    raise Fault(f"{path}: has the unknown member {name}")
                self._discover(found, member, f"{path}.{name}")
        if isinstance(value, list) and "items" in schema:
            for i, item in enumerate(value):
                self._discover(schema["items"], item, f"{path}[{i}]")


@functools.cache
def load():
    """None where the shared folder is absent outside CI."""
    folder = os.path.join(tools.SHARED, "spec")
    if os.path.isdir(folder):
        return Spec(folder)
    if tools.CI:
        raise FileNotFoundError(f"{folder}: CI runs with the published specifications (GB_SHARED)")
    return None


# ---- calls whose every byte is checked

def events_of(answer):
    """The data of a stream's events, in order."""
    text = answer.body.decode()
    assert text.endswith("\n\n"), text[-200:]
    return [event[6:] for event in text.split("\n\n") if event.startswith("data: ")]


class Chat:
    """A client of one site that validates all that it gets and all that was sent for it."""

    def __init__(self, site, sim):
        self.site, self.sim, self.spec = site, sim, load()
        sim.record(bodies=True)

    def sent(self):
        """Bodies that went upstream since the simulator's last reset, each validated."""
        bodies = [json.loads(call["body"]) for call in self.sim.calls() if call["method"].endswith("enerateContent")]
        for body in bodies:
            if self.spec:
                self.spec.gemini("GenerateContentRequest", body)
        return bodies

    def post(self, status=200, **fields):
        """A whole answer, or the error object of another status; headers are in self.headers."""
        fields.setdefault("model", "gemini-2.5-flash")
        if isinstance(fields.get("messages"), str):
            fields["messages"] = [{"role": "user", "content": fields["messages"]}]
        answer = self.site.api.post("/v1/chat/completions", json=fields)
        self.headers = answer.headers
        assert answer.status == status, answer.text
        if status != 200:
            return self.check("Error", answer.json()["error"])
        return self.stream_of(answer) if fields.get("stream") else self.check("CreateChatCompletionResponse",
                                                                              answer.json())

    def check(self, name, value):
        return self.spec.openai(name, value) if self.spec else value

    def stream_of(self, answer):
        events = events_of(answer)
        assert events[-1] == "[DONE]", events[-2:]
        chunks = [self.check_chunk(json.loads(e)) for e in events[:-1]]
        assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
        return chunks

    def check_chunk(self, chunk):
        """The published chunk knows calls of functions only: one of a freeform tool must be what the same
        specification says of it in an answer in one piece, and the chunk around it be right without it."""
        around = copy.deepcopy(chunk)
        for choice in around["choices"]:
            calls = choice["delta"].get("tool_calls", [])
            for call in [c for c in calls if c.get("type") == "custom"]:
                assert isinstance(call["index"], int)
                self.check("ChatCompletionMessageCustomToolCall", call)
                calls.remove(call)
        self.check("CreateChatCompletionStreamResponse", around)
        return chunk

    def message(self, stream=False, **fields):
        """The message of the first choice, gathered from the chunks of a stream as SDKs do."""
        if not stream:
            return self.post(**fields)["choices"][0]["message"]
        return gather(self.post(stream=True, **fields))[0]["message"]


def _add(into, delta):
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value:
                calls = into.setdefault("tool_calls", [])
                assert call["index"] in (len(calls), len(calls) - 1), "indices count from 0 without a gap"
                if call["index"] == len(calls):
                    calls.append({"function": {}})
                found = calls[call["index"]]
                found["function"].update(call.get("function", {}))
                found.update({k: v for k, v in call.items() if k not in ("index", "function")})
        elif isinstance(value, str) and isinstance(into.get(name), str):
            into[name] += value
        elif isinstance(value, list) and isinstance(into.get(name), list):
            into[name] += value
        elif value is not None or name not in into:
            into[name] = value


def gather(chunks):
    """Choices as they are in an answer in one piece."""
    choices = {}
    for chunk in chunks:
        for piece in chunk["choices"]:
            choice = choices.setdefault(piece["index"], {"message": {}, "finish_reason": None, "roles": 0})
            assert choice["finish_reason"] is None, "the reason comes last"
            choice["roles"] += "role" in piece["delta"]
            _add(choice["message"], piece["delta"])
            choice["finish_reason"] = piece["finish_reason"]
            if piece.get("logprobs"):
                choice.setdefault("logprobs", []).extend(piece["logprobs"]["content"])
    assert all(c["roles"] == 1 and c["finish_reason"] for c in choices.values()), choices
    return [choices[i] for i in sorted(choices)]
