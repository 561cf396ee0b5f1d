#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Self test of gemini-simulator: selftest.py PROGRAM [PATTERN]

Starts the program on a free port, asks for everything that it promises, and
prints `N passed, N failed`. Standard library only.
"""
import asyncio
import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "./gemini-simulator"
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
STREAMS = int(os.environ.get("SIM_STREAMS", "2000"))
FLASH, NEW = "gemini-2.5-flash", "gemini-3.8-flash"
SSE = "?alt=sse"
TESTS = []


def test(function):
    TESTS.append(function)
    return function


# ---- the program and its client ----

class Simulator:
    def __init__(self, *args):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "port")
        self.process = subprocess.Popen([PROGRAM, "--port", "0", "--port-file", path, *args],
                                        stdout=subprocess.PIPE, text=True)
        self.greeting = self.process.stdout.readline()
        with open(path, encoding="ascii") as f:
            self.port = int(f.read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        body = self.json
        return (body[0] if isinstance(body, list) else body)["error"]


def call(method, path, body=None, headers=None, key="K1"):
    conn = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=20)
    head = {} if key is None else {"x-goog-api-key": key}
    head.update(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    conn.request(method, path, body, head)
    got = conn.getresponse()
    answer = Answer(got.status, got.headers, got.read())
    conn.close()
    return answer


def control(name, body):
    got = call("POST", "/_sim/" + name, body, key=None)
    assert got.status == 200, got.text


def fault(**rule):
    control("faults", rule)


def stats():
    return call("GET", "/_sim/stats", key=None).json


def calls(query="since=0"):
    return call("GET", "/_sim/calls?" + query, key=None).json["calls"]


def said(text, **more):
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def model_path(verb, model=FLASH, query=""):
    return f"/v1beta/models/{model}:{verb}{query}"


def ask(text, model=FLASH, key="K1", **more):
    return call("POST", model_path("generateContent", model), said(text, **more), key=key)


def stream(text, model=FLASH, query=SSE, key="K1", **more):
    return call("POST", model_path("streamGenerateContent", model, query), said(text, **more),
                key=key)


def events(text, newline="\r\n"):
    parts = text.split(newline * 2)
    assert parts[-1] == "", parts[-1]
    assert all(p.startswith("data: ") for p in parts[:-1]), text
    return [json.loads(p[6:]) for p in parts[:-1]]


def text_of(answer, candidate=0):
    parts = answer["candidates"][candidate]["content"].get("parts", [])
    return "".join(p.get("text", "") for p in parts if not p.get("thought"))


def text_of_stream(answers):
    return "".join(text_of(a) for a in answers)


class Raw:
    """A connection whose bytes the test sees as they come."""

    def __init__(self, body, path=model_path("streamGenerateContent", FLASH, SSE)):
        self.sock = socket.create_connection(("127.0.0.1", sim.port), timeout=10)
        data = json.dumps(body).encode()
        self.sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nx-goog-api-key: RAW\r\n"
                          f"Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def read_all(self):
        """All bytes, and how it ended: eof, reset or timeout."""
        got = b""
        try:
            while True:
                more = self.sock.recv(65536)
                if not more:
                    return got, "eof"
                got += more
                if got.endswith(b"\r\n0\r\n\r\n"):
                    return got, "done"
        except ConnectionResetError:
            return got, "reset"
        except socket.timeout:
            return got, "timeout"


def until(condition, what):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain for " + what)


# ---- plain answers ----

@test
def unary_answer():
    got = ask("hello you")
    assert got.status == 200 and got.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert "gfet4t7; dur=" in got.headers["Server-Timing"]
    assert "simulator" in text_of(got.json) and text_of(got.json).endswith("hello you")
    candidate, usage = got.json["candidates"][0], got.json["usageMetadata"]
    assert candidate["finishReason"] == "STOP" and candidate["index"] == 0
    assert usage["totalTokenCount"] == (usage["promptTokenCount"] + usage["candidatesTokenCount"]
                                        + usage["thoughtsTokenCount"])
    assert got.json["modelVersion"] == FLASH and len(got.json["responseId"]) >= 20
    assert b"\n  \"candidates\": [" in got.body, "unary answers are pretty printed"


@test
def sse_stream():
    got = stream("hello there")
    assert got.headers["Content-Type"] == "text/event-stream"
    assert got.headers["Content-Disposition"] == "attachment"
    found = events(got.text)
    assert len(found) > 2 and text_of_stream(found).endswith("hello there")
    assert "[DONE]" not in got.text and found[-1]["candidates"][0]["finishReason"] == "STOP"
    assert all("finishReason" not in e["candidates"][0] for e in found[:-1])
    answers = [e["usageMetadata"].get("candidatesTokenCount", 0) for e in found]
    assert answers == sorted(answers)
    for e in found:
        u = e["usageMetadata"]
        assert u["totalTokenCount"] == sum(u.get(n, 0) for n in (
            "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount",
            "toolUsePromptTokenCount"))


@test
def stream_of_gemini_3_ends_on_a_signature():
    found = events(stream("hello", NEW).text)
    last = found[-1]["candidates"][0]
    assert last["content"]["parts"][0]["text"] == ""
    assert base64.b64decode(last["content"]["parts"][0]["thoughtSignature"])


@test
def array_stream():
    got = stream("[[chunks=3 seq]] x", query="")
    assert got.headers["Content-Type"].startswith("application/json")
    assert got.text.startswith("[{\n") and got.text.endswith("}\n]") and "}\n,\r\n{" in got.text
    assert len(got.json) == 3


@test
def models():
    got = call("GET", "/v1beta/models?pageSize=1000").json
    names = [m["name"] for m in got["models"]]
    assert "models/" + NEW in names and "nextPageToken" not in got
    paged, token = [], ""
    while True:
        page = call("GET", f"/v1beta/models?pageSize=7{token}").json
        paged += [m["name"] for m in page["models"]]
        if "nextPageToken" not in page:
            break
        token = "&pageToken=" + page["nextPageToken"].replace("=", "%3D")
    assert paged == names
    one = call("GET", "/v1beta/models/" + NEW).json
    assert one["thinking"] is True and "generateContent" in one["supportedGenerationMethods"]
    assert call("GET", "/v1beta/models?pageToken=nonsense").status == 400


@test
def unknown_models_and_paths():
    got = ask("x", "gemini-9")
    assert got.status == 404 and got.error["status"] == "NOT_FOUND"
    assert "models/gemini-9 is not found for API version v1beta" in got.error["message"]
    assert "no longer available" in ask("x", "gemini-2.0-flash").error["message"]
    assert ask("x", "gemini-embedding-001").status == 404
    assert stream("x", "gemini-9", "").json[0]["error"]["code"] == 404
    html = call("GET", "/nothing")
    assert html.status == 404 and html.headers["Content-Type"].startswith("text/html")


@test
def prefixes_and_versions():
    for path in ("/gemini/v1beta/models/", "/a/b/v1alpha/models/", "/v1/models/",
                 "/v1beta1/publishers/google/models/"):
        assert call("POST", path + FLASH + ":generateContent", said("x")).status == 200, path
    assert call("POST", f"/v1beta/models/{FLASH}%3AgenerateContent", said("x")).status == 200


@test
def credentials():
    path, body = model_path("generateContent"), said("x")
    assert call("POST", path, body, key=None).status == 403
    assert "unregistered callers" in call("POST", path, body, key=None).error["message"]
    assert call("POST", path + "?key=K2", body, key=None).status == 200
    both = call("POST", path + "?key=K2", body)
    assert both.status == 400 and "Multiple authentication" in both.error["message"]
    cookie = call("POST", path, body, {"Cookie": "a=b"})
    assert cookie.status == 400 and "Multiple authentication" in cookie.error["message"]
    bearer = call("POST", path, body, {"Authorization": "Bearer x"}, key=None)
    assert bearer.status == 401
    assert bearer.error["details"][0]["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


@test
def count_tokens():
    got = call("POST", model_path("countTokens"), said("abcdefgh")).json
    assert got["totalTokens"] == got["promptTokensDetails"][0]["tokenCount"] == 3
    inner = {"generateContentRequest": {"model": "models/" + FLASH, **said("abcdefgh")}}
    assert call("POST", model_path("countTokens"), inner).json["totalTokens"] == 3


@test
def embeddings():
    model = "gemini-embedding-001"
    one = call("POST", model_path("embedContent", model), {"content": {"parts": [{"text": "a"}]}})
    values = one.json["embedding"]["values"]
    assert len(values) == 3072 and 0.8 < sum(v * v for v in values) < 1.2
    request = {"model": "models/" + model, "content": {"parts": [{"text": "a"}]},
               "outputDimensionality": 64}
    many = call("POST", model_path("batchEmbedContents", model), {"requests": [request] * 3})
    assert [len(e["values"]) for e in many.json["embeddings"]] == [64] * 3
    assert call("POST", model_path("batchEmbedContents", model),
                {"requests": [{"content": {"parts": [{"text": "a"}]}}]}).status == 400


@test
def images_and_speech():
    got = ask("a cat", "gemini-2.5-flash-image").json
    blob = got["candidates"][0]["content"]["parts"][1]["inlineData"]
    assert base64.b64decode(blob["data"]).startswith(b"\x89PNG") and blob["mimeType"] == "image/png"
    assert got["usageMetadata"]["candidatesTokensDetails"][0]["modality"] == "IMAGE"
    config = {"generationConfig": {"responseModalities": ["AUDIO"]}}
    model = "gemini-2.5-flash-preview-tts"
    blob = ask("speak", model, **config).json["candidates"][0]["content"]["parts"][0]["inlineData"]
    assert blob["mimeType"] == "audio/L16;codec=pcm;rate=24000"
    assert len(base64.b64decode(blob["data"])) % 2 == 0
    assert len(events(stream("x" * 200, model, **config).text)) > 2
    assert ask("speak", model).status == 400


# ---- HTTP ----

@test
def http_bodies():
    body = json.dumps(said("x" * 100000)).encode()
    conn = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=10)
    for _ in range(3):
        pieces = iter([body[:10], body[10:50000], body[50000:]])
        conn.request("POST", model_path("generateContent"), pieces, {"x-goog-api-key": "K"},
                     encode_chunked=True)
        assert len(text_of(json.loads(conn.getresponse().read()))) > 100000
    conn.close()


@test
def http_expect_and_pipelining():
    body = json.dumps(said("x")).encode()
    head = (f"POST {model_path('generateContent')} HTTP/1.1\r\nHost: x\r\nx-goog-api-key: K\r\n"
            f"Content-Length: {len(body)}\r\n").encode()
    s = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
    s.sendall(head + b"Expect: 100-continue\r\n\r\n")
    assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    s.sendall(body)
    assert s.recv(65536).startswith(b"HTTP/1.1 200 OK")
    s.sendall((head + b"\r\n" + body) * 5)
    got = b""
    while got.count(b"HTTP/1.1 200 OK") < 5 or not got.endswith(b"}\n"):
        got += s.recv(65536)
    s.close()


@test
def http_bad_requests():
    for data in (b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                 b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        s = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
        s.sendall(data)
        assert s.recv(65536).startswith(b"HTTP/1.1 400"), data
        s.close()
    s = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
    s.sendall(b"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n")
    assert b"Request payload size exceeds the limit" in s.recv(65536)
    s.close()


@test
def http_one_byte_at_a_time():
    body = json.dumps(said("slow")).encode()
    s = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for b in (f"POST {model_path('generateContent')} HTTP/1.1\r\nx-goog-api-key: K\r\n"
              f"Content-Length: {len(body)}\r\n\r\n").encode() + body:
        s.sendall(bytes([b]))
    assert s.recv(65536).startswith(b"HTTP/1.1 200 OK")
    s.close()


# ---- checks ----

@test
def bad_json_and_unknown_names():
    path = model_path("generateContent")
    assert "Invalid JSON payload" in call("POST", path, "{").error["message"]
    assert "Root element" in call("POST", path, "[]").error["message"]
    assert "contents is not specified" in call("POST", path, "{}").error["message"]
    assert call("POST", path, "").status == 400
    got = call("POST", path, said("x", foo=1, generationConfig={"bar": 2, "topK": 1.5}))
    assert got.status == 400 and got.error["status"] == "INVALID_ARGUMENT"
    lines = got.error["message"].split("\n")
    assert lines[0] == 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'
    assert lines[1] == ('Invalid JSON payload received. Unknown name "bar" at '
                        "'generation_config': Cannot find field.")
    assert lines[2] == "Invalid value at 'generation_config.top_k' (TYPE_INT32), 1.5"
    assert len(got.error["details"][0]["fieldViolations"]) == 3
    assert call("POST", path, {"contents": {"parts": {"text": "one is a list"}}}).status == 200
    assert call("POST", path, said("x", generation_config={"top_k": 3})).status == 200
    assert call("POST", path, {"contents": [{"role": "x", "parts": [{"text": "a"}]}]}).status == 400


REFUSED = [
    (FLASH, {"temperature": 3}, "temperature must be in the range"),
    (FLASH, {"thinkingConfig": {"thinkingLevel": "LOW"}}, "Thinking level is not supported"),
    (FLASH, {"thinkingConfig": {"thinkingBudget": 99999}}, "thinking budget 99999 is invalid"),
    ("gemini-2.5-pro", {"thinkingConfig": {"thinkingBudget": 0}}, "Budget 0 is invalid"),
    (NEW, {"thinkingConfig": {"thinkingBudget": 0}}, "Thinking budget is not supported"),
    (NEW, {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}, "Thinking level MINIMAL is not"),
    (NEW, {"thinkingConfig": {"thinkingLevel": "LOW", "thinkingBudget": 5}}, "only one of"),
    (FLASH, {"presencePenalty": 0.5}, "Penalty is not enabled"),
    (NEW, {"candidateCount": 2}, "Multiple candidates is not enabled"),
    ("gemini-5-preview", {"temperature": 1}, "temperature is not supported"),
    ("gemini-5-preview", {"topP": 1}, "top_p is not supported"),
    (NEW, {"responseLogprobs": True}, "Logprobs is not enabled"),
    (FLASH, {"maxOutputTokens": 0}, "maxOutputTokens value of 0"),
    (FLASH, {"stopSequences": list("abcdef")}, "at most 5"),
    (FLASH, {"responseMimeType": "image/png"}, "allowed mimetypes"),
    (FLASH, {"responseModalities": ["IMAGE"]}, "response modalities (IMAGE)"),
    ("gemma-3-27b-it", {"responseMimeType": "application/json"}, "JSON mode is not enabled"),
]


@test
def refused_configs():
    for model, config, message in REFUSED:
        got = ask("x", model, generationConfig=config)
        assert got.status == 400 and message in got.error["message"], (config, got.text)
    ignored = {"thinkingConfig": {"thinkingBudget": 0}}
    assert ask("x", "gemini-3.7-flash", generationConfig=ignored).status == 200
    prefill = {"contents": said("a")["contents"] + [{"role": "model", "parts": [{"text": "b"}]}]}
    assert call("POST", model_path("generateContent", NEW), prefill).status == 400
    assert call("POST", model_path("generateContent", FLASH), prefill).status == 200
    assert ask("[[tokens=2000000]]").error["message"].startswith("The input token count (2000000)")


@test
def honoured_configs():
    two = ask("x", generationConfig={"candidateCount": 2}).json
    assert [c["index"] for c in two["candidates"]] == [0, 1]
    cut = ask("[[text=one two STOP three]]", generationConfig={"stopSequences": ["STOP"]}).json
    assert text_of(cut) == "one two "
    short = ask("x", generationConfig={"maxOutputTokens": 36}).json
    assert short["candidates"][0]["finishReason"] == "MAX_TOKENS" and text_of(short)
    empty = ask("x", generationConfig={"maxOutputTokens": 10}).json
    assert empty["candidates"][0] == {"content": {"role": "model"}, "finishReason": "MAX_TOKENS",
                                      "index": 0}
    config = {"thinkingConfig": {"includeThoughts": True}}
    parts = ask("x", generationConfig=config).json["candidates"][0]["content"]["parts"]
    assert parts[0]["thought"] is True and "thought" not in parts[1]
    no = ask("x", generationConfig={"thinkingConfig": {"thinkingBudget": 0}}).json
    assert "thoughtsTokenCount" not in no["usageMetadata"]
    assert ask("[[text=na\u00efve \U0001f600]]").json["candidates"][0]["content"]["parts"] == [
        {"text": "na\u00efve \U0001f600"}]
    found = events(stream("[[text=" + "\U0001f600" * 20 + " size=7]]").text)
    assert "\U0001f600" * 20 in text_of_stream(found)
    probs = ask("x", generationConfig={"responseLogprobs": True, "logprobs": 2}).json
    assert probs["candidates"][0]["logprobsResult"]["chosenCandidates"][0]["logProbability"] < 0
    enums = call("POST", model_path("generateContent", FLASH, "?$alt=json;enum-encoding=int"),
                 said("x")).json
    assert enums["candidates"][0]["finishReason"] == 1


@test
def structured_answers():
    schema = {"type": "OBJECT", "properties": {
        "name": {"type": "STRING"}, "n": {"type": "INTEGER", "minimum": 5},
        "list": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": 2},
        "kind": {"type": "STRING", "enum": ["a", "b"]}}}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    got = json.loads(text_of(ask("x", generationConfig=config).json))
    assert got["n"] == 5 and got["list"] == [1.5, 1.5] and got["kind"] == "a"
    schema = {"$defs": {"p": {"type": "object", "properties": {"x": {"type": ["null", "integer"]}}}},
              "type": "object", "properties": {"p": {"$ref": "#/$defs/p"},
                                               "q": {"anyOf": [{"type": "null"}, {"const": 3}]}}}
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    got = json.loads(text_of_stream(events(stream("x", NEW, generationConfig=config).text)))
    assert got == {"p": {"x": 1}, "q": 3}
    config = {"responseMimeType": "application/json"}
    assert json.loads(text_of(ask("x", generationConfig=config).json))["answer"] == "You said: x"


# ---- tools ----

TOOLS = [{"functionDeclarations": [
    {"name": "get_weather", "parameters": {"type": "OBJECT", "properties": {
        "city": {"type": "STRING"}}, "required": ["city"]}}, {"name": "add"}]}]


def parts_of(answer):
    return answer["candidates"][0]["content"]["parts"]


@test
def function_calls():
    text = 'please call get_weather {"city":"Paris {}"} and call add'
    old = ask(text, tools=TOOLS).json
    assert [p["functionCall"]["name"] for p in parts_of(old)] == ["get_weather", "add"]
    assert parts_of(old)[0]["functionCall"] == {"name": "get_weather", "args": {"city": "Paris {}"}}
    assert old["candidates"][0]["finishReason"] == "STOP"
    new = ask(text, NEW, tools=TOOLS).json
    assert ["thoughtSignature" in p for p in parts_of(new)] == [True, False]
    assert all(p["functionCall"]["id"] for p in parts_of(new))
    assert len(events(stream(text, tools=TOOLS).text)) == 1
    found = events(stream(text, NEW, tools=TOOLS).text)
    assert len(found) == 3 and found[-1]["candidates"][0]["content"]["parts"] == [{"text": ""}]
    forced = ask("x", tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "ANY"}}).json
    assert parts_of(forced)[0]["functionCall"]["args"]["city"]
    none = ask(text, tools=TOOLS, toolConfig={"functionCallingConfig": {"mode": "NONE"}}).json
    assert "text" in parts_of(none)[0]
    assert "text" in parts_of(ask("call unknown_function", tools=TOOLS).json)[0]


def answered(history, result):
    calls_made = [p["functionCall"] for p in history[-1]["parts"] if "functionCall" in p]
    return history + [{"role": "user", "parts": [{"functionResponse": {
        "name": c["name"], "id": c.get("id", ""), "response": result}} for c in calls_made]}]


def go_on(history, model):
    return call("POST", model_path("generateContent", model), {"contents": history, "tools": TOOLS})


@test
def function_steps():
    history = said("call get_weather then call add {\"a\":1}")["contents"]
    for name in ("get_weather", "add"):
        got = go_on(history, NEW).json
        assert [p["functionCall"]["name"] for p in parts_of(got)] == [name]
        history = answered(history + [got["candidates"][0]["content"]], {"value": 7})
    got = go_on(history, NEW).json
    assert text_of(got) == 'The result of add is {"value": 7}.'


@test
def function_order():
    user, model = said("call add")["contents"], {"role": "model", "parts": [
        {"functionCall": {"name": "add", "args": {}, "id": "1"}}]}
    full = answered(user + [model], {"a": 1})
    got = go_on(full, NEW)
    assert got.status == 400
    assert ("Function call `add` in the `2`. content block is missing a `thought_signature`"
            in got.error["message"])
    assert go_on(full, FLASH).status == 200
    model["parts"][0]["thoughtSignature"] = "skip_thought_signature_validator"
    assert go_on(full, NEW).status == 200
    later = full + said("and now?")["contents"]
    del model["parts"][0]["thoughtSignature"]
    assert go_on(later, NEW).status == 200, "older turns are not validated"
    assert "function call turn comes immediately after" in go_on([model], FLASH).error["message"]
    assert "function response turn comes" in go_on(user + full[2:], FLASH).error["message"]
    model["parts"].append(model["parts"][0])
    two = user + [model] + full[2:]
    assert "number of function response parts is equal" in go_on(two, FLASH).error["message"]
    full[2]["parts"][0]["functionResponse"].pop("id")
    model["parts"] = [{**model["parts"][0], "thoughtSignature": "c2tpcA=="}]
    assert go_on(full, NEW).status == 200
    control("strict", {"response_ids": True})
    assert "id is required" in go_on(full, NEW).error["message"]


@test
def strict_signatures():
    control("strict", {"signatures": True})
    history = said("call add")["contents"]
    content = go_on(history, NEW).json["candidates"][0]["content"]
    full = answered(history + [content], {"a": 1})
    assert go_on(full, NEW).status == 200
    content["parts"][0]["thoughtSignature"] = "c2tpcHBlZA=="
    assert "not valid" in go_on(full, NEW).error["message"]


@test
def tool_declarations():
    def declare(**function):
        return ask("x", tools=[{"functionDeclarations": [{"name": "f", **function}]}])
    got = declare(parameters={"type": "OBJECT", "properties": {"a": {"type": "STRING",
                                                                     "const": "x"}}})
    assert ("at 'tools[0].function_declarations[0].parameters.properties[0].value'"
            in got.error["message"])
    got = declare(parameters={"type": "OBJECT", "properties": {}, "required": ["z"]})
    assert got.error["message"] == ("* GenerateContentRequest.tools[0].function_declarations[0]."
                                    "parameters.required[0]: property is not defined\n")
    got = declare(parameters={"type": "OBJECT", "properties": {"a": {"type": "ARRAY"}}})
    assert "properties[a].items: missing field" in got.error["message"]
    assert declare(parametersJsonSchema={"additionalProperties": False}).status == 200
    assert "Invalid function name" in declare(name="1 bad").error["message"]
    mixed = [{"googleSearch": {}}] + TOOLS
    assert ask("x", tools=mixed).status == 400
    assert ask("x", NEW, tools=mixed).status == 400
    config = {"includeServerSideToolInvocations": True}
    got = ask("x", NEW, tools=mixed, toolConfig=config).json
    assert {"toolCall", "toolResponse"} <= {k for p in parts_of(got) for k in p}
    assert ask("x", "gemma-3-27b-it", tools=TOOLS).status == 400


@test
def built_in_tools():
    got = ask("find \u00fcber it", tools=[{"googleSearch": {}}, {"codeExecution": {}}]).json
    meta = got["candidates"][0]["groundingMetadata"]
    text = text_of(got).encode()
    for s in meta["groundingSupports"]:
        segment = s["segment"]
        assert text[segment.get("startIndex", 0):segment["endIndex"]].decode() == segment["text"]
    assert len(meta["groundingChunks"]) == 2
    assert "executableCode" in parts_of(got)[0] and "codeExecutionResult" in parts_of(got)[1]
    assert got["usageMetadata"]["toolUsePromptTokenCount"] > 0
    assert "urlContextMetadata" in ask("x", tools=[{"urlContext": {}}]).json["candidates"][0]


# ---- OpenAI format ----

def openai(path, body=None, key="K1"):
    headers = {"Authorization": "Bearer " + key} if key else {}
    return call("POST" if body is not None else "GET", "/v1beta/openai/" + path, body, headers,
                key=None)


@test
def openai_chat():
    body = {"model": FLASH, "messages": [{"role": "user", "content": "hi"}]}
    got = openai("chat/completions", body).json
    assert got["object"] == "chat.completion" and list(got) == sorted(got)
    assert got["choices"][0]["message"]["content"].endswith("hi")
    u = got["usage"]
    assert u["total_tokens"] > u["prompt_tokens"] + u["completion_tokens"], "thinking counts"
    body.update(stream=True, stream_options={"include_usage": True})
    text = openai("chat/completions", body).text
    assert text.endswith("data: [DONE]\n\n")
    found = [json.loads(e[6:]) for e in text.split("\n\n")[:-2]]
    assert "".join(f["choices"][0]["delta"].get("content", "") for f in found).endswith("hi")
    assert found[-1]["choices"][0]["finish_reason"] == "stop" and "usage" in found[-1]
    got = openai("chat/completions", body, key=None)
    assert got.status == 400 and got.json[0]["error"]["message"].startswith("Missing or invalid")
    body["model"] = "nope"
    assert openai("chat/completions", body).json[0]["error"]["code"] == 404


@test
def openai_tools():
    body = {"model": NEW, "messages": [{"role": "user", "content": 'call f {"a":1} call f'}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {
                "type": "object", "properties": {"a": {"type": "integer"}}}}}]}
    message = openai("chat/completions", body).json["choices"][0]["message"]
    made = message["tool_calls"]
    assert [json.loads(c["function"]["arguments"]) for c in made] == [{"a": 1}, {"a": 1}]
    assert "thought_signature" in made[0]["extra_content"]["google"] and "index" not in made[0]
    body["messages"] += [message] + [{"role": "tool", "tool_call_id": c["id"], "content": "done"}
                                     for c in made]
    got = openai("chat/completions", body)
    assert "done" in got.json["choices"][0]["message"]["content"]
    del made[0]["extra_content"]
    got = openai("chat/completions", body)
    assert "`default_api:f` , position 2" in got.json[0]["error"]["message"]


@test
def openai_rest():
    assert "models/" + FLASH in [m["id"] for m in openai("models").json["data"]]
    assert openai("models/models/" + FLASH).json["id"] == "models/" + FLASH
    got = openai("embeddings", {"model": "gemini-embedding-001", "input": ["a", "b"],
                                "dimensions": 8}).json
    assert [len(d["embedding"]) for d in got["data"]] == [8, 8]
    got = openai("images/generations", {"model": "gemini-2.5-flash-image", "prompt": "x"}).json
    assert base64.b64decode(got["data"][0]["b64_json"]).startswith(b"\x89PNG")


# ---- faults ----

CANNED = {
    "quota_minute": (429, "PerMinutePerProject"), "quota_day": (429, "PerDayPerProject"),
    "quota_tokens": (429, "InputTokens"), "quota_both": (429, "PerDay"),
    "limit_zero": (429, "limit: 0, model: " + FLASH), "quota_bare": (429, "check quota"),
    "rate_limit_exceeded": (429, "RATE_LIMIT_EXCEEDED"), "capacity": (429, "CAPACITY"),
    "spending_cap": (429, "monthly spending cap"), "prepay_429": (429, "credits are depleted"),
    "prepay": (402, "credits"), "key_invalid": (400, "API_KEY_INVALID"),
    "key_expired": (400, "API key expired"), "unauthenticated": (401, "UNAUTHENTICATED"),
    "leaked": (403, "reported as leaked"), "permission_denied": (403, "PERMISSION_DENIED"),
    "denied_access": (403, "denied access"), "service_blocked": (403, "API_KEY_SERVICE_BLOCKED"),
    "referrer_blocked": (403, "REFERRER"), "service_disabled": (403, "SERVICE_DISABLED"),
    "suspended": (403, "api_key:K1"), "consumer_invalid": (403, "CONSUMER_INVALID"),
    "billing_disabled": (403, "BILLING_DISABLED"), "location": (400, "FAILED_PRECONDITION"),
    "enable_billing": (400, "enable billing"), "file_permission": (403, "access the File"),
    "cache_permission": (403, "CachedContent not found"), "model": (404, "is not found"),
    "model_new_users": (404, "no longer available to new users"), "html_404": (404, "<html"),
    "invalid_argument": (400, "invalid argument"), "context": (400, "exceeds the maximum"),
    "states": (400, "too many states"), "internal": (500, "INTERNAL"),
    "bad_gateway": (502, "<html"), "overloaded": (503, "overloaded"),
    "high_demand": (503, "high demand"), "deadline": (504, "DEADLINE"), "cancelled": (499, "CANC"),
}


@test
def canned_errors():
    for name, (status, text) in CANNED.items():
        fault(kind=name, count=1)
        got = ask("x")
        assert got.status == status and text in got.text, (name, got.text)
        if "<html" not in got.text:
            assert got.error["code"] == status
    assert ask("x").status == 200
    names = re.search(r"known are (.*)", call("POST", "/_sim/faults", {"body": "zzz"},
                                              key=None).json["error"]).group(1)
    assert set(names.split()) == set(CANNED), "the test knows all"
    text = call("GET", "/_sim/", key=None).text
    assert all(n in text for n in CANNED), "the help names all"


@test
def error_forms():
    fault(kind="quota_day", retry_delay="5s", quota_value="7", project="42", order="reverse")
    got = ask("x")
    kinds = [d["@type"].rsplit(".", 1)[1] for d in got.error["details"]]
    assert kinds == ["RetryInfo", "QuotaFailure", "Help"]
    assert got.error["details"][0]["retryDelay"] == "5s"
    v = got.error["details"][1]["violations"][0]
    assert v["quotaValue"] == "7" and v["quotaDimensions"]["model"] == FLASH
    assert "Please retry in 5s." in got.error["message"]
    sse = stream("x")
    assert sse.headers["Content-Type"] == "text/event-stream" and sse.error["code"] == 429
    assert stream("x", query="").json[0]["error"]["code"] == 429
    control("faults", {"rules": [{"kind": "quota_minute", "retry_delay": "",
                                  "headers": {"Retry-After": "3"}}]})
    got = ask("x")
    assert got.headers["Retry-After"] == "3" and "RetryInfo" not in got.text
    assert "retry in" not in got.error["message"]
    control("faults", {"rules": [{"status": 418, "body": {"odd": True}}]})
    assert ask("x").status == 418 and ask("x").json == {"odd": True}
    control("faults", {"rules": [{"status": 520, "text": "<html>busy</html>"}]})
    assert ask("x").headers["Content-Type"].startswith("text/html")
    control("faults", {"rules": [{"status": 429}]})
    assert "QuotaFailure" in ask("x").text


@test
def fault_choice():
    control("faults", {"rules": [
        {"match": {"key": "bad-*"}, "kind": "key_invalid"},
        {"match": {"model": "gemini-3*", "method": "streamGenerateContent"}, "kind": "overloaded"},
        {"match": {"key": "third"}, "kind": "internal", "every": 3},
        {"match": {"key": "late"}, "kind": "internal", "skip": 2, "count": 2},
        {"match": {"key": "dice"}, "kind": "internal", "probability": 0.5, "seed": 3}]})
    assert ask("x", key="bad-1").status == 400 and ask("x", key="good").status == 200
    assert stream("x", NEW).status == 503 and ask("x", NEW).status == 200
    assert [ask("x", key="third").status for _ in range(6)] == [500, 200, 200, 500, 200, 200]
    assert [ask("x", key="late").status for _ in range(6)] == [200, 200, 500, 500, 200, 200]
    hits = [ask("x", key="dice").status for _ in range(60)].count(500)
    assert 15 < hits < 45
    rules = call("GET", "/_sim/faults", key=None).json["rules"]
    assert [r["fired"] for r in rules][0] == 1
    assert call("POST", "/_sim/faults", {"kind": "nonsense"}, key=None).status == 400
    assert call("POST", "/_sim/faults", {"kined": "reset"}, key=None).status == 400


@test
def fault_reset_close_stall():
    fault(kind="reset", count=1)
    assert Raw(said("x")).read_all() == (b"", "reset")
    fault(kind="close", count=1)
    assert Raw(said("x")).read_all() == (b"", "eof")
    fault(kind="stall", count=1)
    raw = Raw(said("x"))
    raw.sock.settimeout(0.3)
    assert raw.read_all() == (b"", "timeout")
    raw.sock.close()
    until(lambda: stats()["open_calls"] == 0, "the stalled call to end")
    assert calls()[-1]["client_gone"] is True and calls()[-1]["outcome"] == "gone"


@test
def fault_cut():
    text = "[[chunks=6 seq]]"
    for how, end in (("rst", "reset"), ("close", "eof"), ("end", "done")):
        fault(kind="cut", after=3, how=how, count=1)
        got, ended = Raw(said(text)).read_all()
        assert ended == end and got.count(b"data: {") == 3, (how, ended, got)
    fault(kind="cut", after=2, bytes=10, count=1)
    assert Raw(said(text)).read_all()[0].endswith(b"a\r\ndata: {\"ca\r\n")
    fault(kind="stall", after=2, count=1)
    raw = Raw(said(text))
    raw.sock.settimeout(0.3)
    got, ended = raw.read_all()
    assert ended == "timeout" and got.count(b"data: {") == 2
    raw.sock.close()
    unary = model_path("generateContent")
    for how, end in (("rst", "reset"), ("close", "eof")):
        fault(kind="cut", how=how, count=1)
        got, ended = Raw(said("x"), unary).read_all()
        assert ended == end and b"Content-Length: 4096" in got and got.endswith(b"This ")
    fault(kind="delay", close_after=True, count=1)
    got, ended = Raw(said("x"), unary).read_all()
    assert ended == "eof" and b"STOP" in got and b"Connection: close" not in got


@test
def fault_midstream_error():
    fault(kind="midstream_error", after=2, body="overloaded", count=1)
    text = stream("[[chunks=5 seq]]").text
    head, tail = text.split("\r\n\r\n{\n", 1)
    assert head.count("data: ") == 2 and json.loads("{\n" + tail)["error"]["code"] == 503
    fault(kind="midstream_error", after=1, status=499, form="data", count=1)
    found = events(stream("[[chunks=5 seq]]").text)
    assert len(found) == 2 and found[1]["error"]["code"] == 499
    fault(kind="midstream_error", after=1, body={"error": {"message": "mine"}}, count=1)
    assert stream("x").text.endswith('{"error":{"message":"mine"}}\n')


SHAPES = {
    "no_content": lambda a: "content" not in a["candidates"][0],
    "empty_content": lambda a: a["candidates"][0]["content"] == {},
    "role_only": lambda a: a["candidates"][0]["content"] == {"role": "model"},
    "no_parts": lambda a: a["candidates"][0]["content"]["parts"] == [],
    "empty_text": lambda a: a["candidates"][0]["content"]["parts"] == [{"text": ""}],
    "no_candidates": lambda a: "candidates" not in a,
    "empty_candidates": lambda a: a["candidates"] == [],
    "feedback_only": lambda a: a["promptFeedback"] == {},
}


@test
def fault_bent_answers():
    for shape, check in SHAPES.items():
        fault(kind="empty", shape=shape, count=2)
        assert check(ask("x").json), shape
        (event,) = events(stream("x", NEW).text)
        assert check(event), shape
        assert event["usageMetadata"]["promptTokenCount"] > 0
    fault(kind="blocked", reason="PROHIBITED_CONTENT", count=1)
    got = ask("x").json
    assert got["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert "candidates" not in got
    fault(kind="finish", reason="SAFETY", shape="role_only", count=1)
    assert ask("x").json["candidates"][0]["finishReason"] == "SAFETY"
    fault(kind="finish", reason="RECITATION", count=1)
    assert events(stream("x").text)[-1]["candidates"][0]["finishReason"] == "RECITATION"
    fault(kind="malformed_call", count=1)
    got = ask("x").json["candidates"][0]
    assert got["finishReason"] == "MALFORMED_FUNCTION_CALL" and got["content"] == {}
    fault(kind="delay", model_version="models/other", usage=False, count=1)
    got = ask("x").json
    assert got["modelVersion"] == "models/other" and "usageMetadata" not in got


@test
def fault_delay():
    fault(kind="quota_minute", delay_ms=150, count=1)
    start = time.monotonic()
    assert ask("x").status == 429
    assert time.monotonic() - start >= 0.15
    start = time.monotonic()
    assert text_of(ask("[[delay=100]] x").json).endswith("x")
    assert time.monotonic() - start >= 0.1
    fault(kind="delay", delay_ms=5000, count=1)
    raw = Raw(said("x"))
    time.sleep(0.05)
    raw.sock.close()
    until(lambda: stats()["open_calls"] == 0, "the delayed call to end")


# ---- pace and splits ----

@test
def paced_stream():
    start = time.monotonic()
    found = events(stream("[[chunks=5 interval=40 seq first=30]]").text)
    passed = time.monotonic() - start
    assert 0.19 <= passed < 3
    assert [text_of(e)[:7] for e in found] == [f"c{i:06d}" for i in range(1, 6)]
    control("stream", {"chunks": 4, "interval_ms": 5, "seq": True, "size": 50})
    found = events(stream("x").text)
    assert [len(text_of(e)) for e in found] == [50] * 4
    assert "You said: x" in text_of(ask("x").json), "defaults are for streams"
    stamps = [int(text_of(e)[1:].split()[0])
              for e in events(stream("[[chunks=3 interval=20 stamp]]").text)]
    assert 10e6 < stamps[1] - stamps[0] < 3e9 and stamps[1] < stamps[2]


@test
def splits():
    whole = "".join(text_of(e) for e in events(stream("[[text=h\u00e9llo w\u00f6rld]]").text))
    for how in ("split=1", "split=7", "split=random", "split=3 split_ms=1"):
        got, ended = Raw(said(f"[[{how} text=h\u00e9llo w\u00f6rld]]")).read_all()
        sizes = [int(x, 16) for x in re.findall(rb"(?:^|\r\n)([0-9a-f]+)\r\n",
                                                got.split(b"\r\n\r\n", 1)[1])]
        assert ended == "done" and max(sizes) <= 64, how
        assert how != "split=1" or set(sizes) == {0, 1}
        assert text_of_stream(events(stream(f"[[{how} text=h\u00e9llo w\u00f6rld]]").text)) == whole
    assert events(stream("[[newline=lf]] x").text, "\n") and events(
        stream("[[newline=cr]] x").text, "\r")
    control("stream", {"unary_chunked": True})
    assert ask("x").headers["Transfer-Encoding"] == "chunked"


@test
def slow_reader_stops_the_rendering():
    raw = Raw(said("[[chunks=300 size=100000 seq]]"))
    raw.sock.recv(1000)
    time.sleep(0.3)
    rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{sim.process.pid}/status",
                                                encoding="ascii").read()).group(1))
    got, ended = raw.read_all()
    assert ended == "done" and len(got) > 29000000
    assert rss < 600000, rss


@test
def literal_answers():
    sse = 'data: {"a":1}\n\ndata: {"b":2}\n\n'
    control("answer", {"sse": sse, "newline": "crlf"})
    got = stream("x")
    assert got.text == sse.replace("\n", "\r\n")
    assert got.headers["Content-Type"] == "text/event-stream"
    assert stream("x").text != got.text, "once unless told"
    control("answer", {"sse": sse, "split": 1, "count": 2, "interval_ms": 20})
    start = time.monotonic()
    assert stream("x").text == sse and time.monotonic() - start >= 0.02
    assert stream("x").text == sse
    raw = bytes(range(256)) * 4
    control("answer", {"status": 203, "headers": {"Content-Type": "x/y", "X-A": "b"},
                       "body_base64": base64.b64encode(raw).decode(), "framing": "close"})
    got = ask("x")
    assert (got.status, got.body, got.headers["X-A"]) == (203, raw, "b")
    control("answer", {"match": {"key": "L"}, "json": {"candidates": []}, "split": "random",
                       "seed": 5})
    assert ask("x").json != {"candidates": []} and ask("x", key="L").json == {"candidates": []}
    control("answer", {"events": [{"n": 1}, "plain\n\n"], "how": "rst", "after": 2})
    got, ended = Raw(said("x")).read_all()
    assert ended == "reset" and b'data: {"n":1}\r\n\r\n' in got and b"plain\n\n" in got
    control("answer", {"body": ""})
    assert ask("x").body == b""


# ---- quotas ----

def violation(answer):
    (v,) = [d for d in answer.error["details"] if "violations" in d]
    (r,) = [d for d in answer.error["details"] if "retryDelay" in d]
    return v["violations"][0], float(r["retryDelay"][:-1])


@test
def quota_minute():
    control("quota", {"projects": {"p": ["A", "B"], "q": ["C"]}, "rpm": 3, "minute_s": 1.5})
    assert [ask("x", key=k).status for k in "ABAB"] == [200, 200, 200, 429]
    v, delay = violation(ask("x", key="A"))
    assert v["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert v["quotaValue"] == "3" and 0 < delay <= 0.51
    assert ask("x", key="C").status == 200 and ask("x", key="other").status == 200
    assert ask("x", NEW, key="A").status == 200, "each model has its own"
    time.sleep(delay + 0.02)
    assert ask("x", key="B").status == 200 and ask("x", key="B").status == 429
    counters = {(c["project"], c["model"]): c["passed"]
                for c in call("GET", "/_sim/quota", key=None).json["counters"]}
    assert counters["p", FLASH] == 4


@test
def quota_day_and_tokens():
    control("quota", {"projects": {"p": ["A"]}, "rpd": 2, "day_s": 1, "tier": "paid",
                      "day_retry_delay": "39s"})
    assert [ask("x", key="A").status for _ in range(3)] == [200, 200, 429]
    v, delay = violation(ask("x", key="A"))
    assert v["quotaId"] == "GenerateRequestsPerDayPerProjectPerModel" and delay == 39
    time.sleep(1.01)
    assert ask("x", key="A").status == 200
    control("quota", {"models": {"gemini-3*": {"tpm": 1000}}, "unlisted": True})
    assert ask("y" * 3000, NEW).status == 200
    v, delay = violation(ask("y" * 3000, NEW))
    assert "InputTokensPerModelPerMinute" in v["quotaId"] and 20 < delay < 40
    assert ask("y" * 3000, NEW, key="K9").status == 200
    control("quota", {"projects": {"p": ["A"]}, "rpm": 2, "minute_s": 1, "window": "fixed"})
    assert [ask("x", key="A").status for _ in range(3)] == [200, 200, 429]
    assert call("POST", "/_sim/quota", {"rpx": 1}, key=None).status == 400


# ---- records ----

@test
def records():
    control("record", {"bodies": True})
    call("POST", model_path("generateContent"), said("noted"), {"x-request-id": "abc-1.1"})
    call("POST", model_path("generateContent"), b"\xff\xfe", {"x-request-id": "abc-1.2"})
    ask("x", key="odd one+%&")
    first, second = calls("id=abc-1")
    assert first["request_id"] == "abc-1.1" and first["key"] == "K1" and first["model"] == FLASH
    assert first["http_method"] == "POST" and first["method"] == "generateContent"
    assert first["status"] == 200 and first["outcome"] == "done" and first["bytes"] > 500
    assert json.loads(first["body"]) == said("noted")
    assert ["x-request-id", "abc-1.1"] in first["headers"]
    assert base64.b64decode(second["body_base64"]) == b"\xff\xfe" and second["status"] == 400
    page = call("GET", "/_sim/calls?since=1&limit=1", key=None).json
    assert [c["index"] for c in page["calls"]] == [1] and page["more"] and page["next"] == 2
    assert len(calls("key=odd%20one%2B%25%26")) == 1
    now = stats()
    assert now["calls"] == 3 and now["status"] == {"200": 2, "400": 1}
    assert now["keys"]["K1"]["status"] == {"200": 1, "400": 1}
    control("reset", {})
    assert calls() == [] and stats()["calls"] == 0


@test
def client_leaves():
    raw = Raw(said("[[chunks=1000 interval=20]]"))
    raw.sock.recv(1000)
    assert stats()["open_streams"] == 1
    raw.sock.close()
    until(lambda: stats()["open_calls"] == 0, "the stream to end")
    (record,) = calls()
    assert record["client_gone"] and record["end_ms"] - record["t_ms"] < 1000
    assert stats()["client_gone"] == 1 and stats()["open_streams"] == 0


# ---- many at once ----

async def one_stream(n, chunks, interval):
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port, limit=1 << 20)
    body = json.dumps(said(f"[[chunks={chunks} interval={interval} seq]]")).encode()
    writer.write(f"POST {model_path('streamGenerateContent', FLASH, SSE)} HTTP/1.1\r\nHost: x\r\n"
                 f"x-goog-api-key: K{n % 7}\r\nContent-Length: {len(body)}\r\n"
                 "Connection: close\r\n\r\n".encode() + body)
    got = await reader.read(-1)
    writer.close()
    assert re.findall(rb'"c(\d{6}) ', got) == [b"%06d" % i for i in range(1, chunks + 1)]


async def many_streams(n):
    await asyncio.gather(*(one_stream(i, 20, 100) for i in range(n)))


@test
def concurrent_streams():
    start = time.monotonic()
    asyncio.run(many_streams(STREAMS))
    print(f"    {STREAMS} streams of 20 chunks at 100 ms: {time.monotonic() - start:.1f} s")
    now = stats()
    assert now["streams"] == STREAMS and now["open_streams"] == 0
    assert now["max_streams"] > STREAMS * 0.5, now["max_streams"]
    assert sum(k["max_open"] for k in now["keys"].values()) >= now["max_streams"]


# ---- the process ----

@test
def process_ends():
    assert "gemini-simulator ready at http://127.0.0.1:" in sim.greeting
    other = Simulator("--calls", "10")
    assert other.stop() == 0
    code = ("import subprocess,sys; p=subprocess.Popen([sys.argv[1],'--die-with-parent'],"
            "stdout=subprocess.PIPE); p.stdout.readline(); print(p.pid,flush=True)")
    pid = int(subprocess.check_output([sys.executable, "-c", code, PROGRAM]))
    until(lambda: not is_simulator(pid), "the orphan to end")


def is_simulator(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


@test
def records_are_bounded():
    global sim
    before, sim = sim, Simulator("--calls", "5000")
    try:
        conn = http.client.HTTPConnection("127.0.0.1", sim.port)
        for _ in range(13000):
            conn.request("GET", "/v1beta/models/" + FLASH, headers={"x-goog-api-key": "K"})
            conn.getresponse().read()
        conn.close()
        page = call("GET", "/_sim/calls?limit=1", key=None).json
        assert page["dropped"] == page["calls"][0]["index"] == 4096
        assert stats()["calls"] == 13000
    finally:
        sim.stop()
        sim = before


@test
def tls():
    folder = tempfile.TemporaryDirectory()
    cert, key = (os.path.join(folder.name, n) for n in ("cert.pem", "key.pem"))
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                           key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                          capture_output=True, check=False)
    if made.returncode != 0:
        print("    openssl is not here: TLS not tried")
        return
    try:
        other = Simulator("--tls-cert", cert, "--tls-key", key)
    except FileNotFoundError:
        print("    built without TLS: not tried")
        return
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False
    conn = http.client.HTTPSConnection("127.0.0.1", other.port, context=context, timeout=10)
    for text in ("x", "[[chunks=50 size=20000]]"):
        conn.request("POST", model_path("streamGenerateContent", FLASH, SSE),
                     json.dumps(said(text)), {"x-goog-api-key": "K"})
        assert events(conn.getresponse().read().decode())
    conn.close()
    assert other.stop() == 0


def run():
    passed = failed = 0
    for one in TESTS:
        if PATTERN not in one.__name__:
            continue
        try:
            call("POST", "/_sim/reset", {}, key=None)
            one()
            passed += 1
            print("ok   " + one.__name__)
        except Exception as e:  # any fault of one test is its own
            failed += 1
            where = e.__traceback__
            while where.tb_next:
                where = where.tb_next
            print(f"FAIL {one.__name__}: {type(e).__name__} in line {e.__traceback__.tb_next.tb_lineno}"
                  f"/{where.tb_lineno}: {str(e)[:600]}")
    return passed, failed


sim = Simulator()
good, bad = run()
if sim.stop() != 0:
    bad += 1
    print("FAIL the simulator did not end with 0")
print(f"{good} passed, {bad} failed")
sys.exit(1 if bad or not good else 0)
