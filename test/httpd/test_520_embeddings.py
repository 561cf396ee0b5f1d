# SPDX-License-Identifier: Apache-2.0
"""POST embeddings: every form of input, vectors exactly as the upstream gave them."""
import base64
import json
import re
import struct

import pytest

import openai_spec
from conf import KEYS, Conf

MODEL = "gemini-embedding-001"


def embed(site, input, path="/v1/embeddings", **fields):
    return site.api.post(path, json={"model": MODEL, "input": input, **fields})


def direct(sim, texts, dimensions=8):
    """The simulator's own vectors, as it wrote them: lists of texts of numbers."""
    answer = sim.client.post(f"/v1beta/models/{MODEL}:batchEmbedContents", headers={"x-goog-api-key": KEYS[0]}, json={
        "requests": [{"model": f"models/{MODEL}", "content": {"parts": [{"text": t}]},
                      "outputDimensionality": dimensions} for t in texts]})
    assert answer.status == 200
    return [re.findall(r"[-.\deE+]+", v) for v in re.findall(r'"values":\s*\[([^\]]*)\]', answer.text)]


def unpacked(text):
    raw = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def as_float32(number):
    return struct.unpack("<f", struct.pack("<f", float(number)))[0]


class TestEmbeddings:
    CONF = Conf(keys=KEYS)

    @pytest.mark.parametrize("path", ["/v1/embeddings", "/hf/v1/embeddings", "/embeddings"])
    def test_one_text(self, site, sim, path):
        answer = embed(site, "Grüße, 世界", path)
        assert answer.status == 200
        body = answer.json()
        spec = openai_spec.load()
        if spec:
            spec.openai("CreateEmbeddingResponse", body)
        assert body["object"] == "list" and body["model"] == MODEL
        (one,) = body["data"]
        assert one["object"] == "embedding" and one["index"] == 0 and len(one["embedding"]) == 3072
        assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0
        (call,) = sim.calls()
        assert call["method"] == "embedContent"

    def test_list_is_one_batch_in_order(self, site, sim):
        texts = [f"text {i}" for i in range(100)]
        body = embed(site, texts, dimensions=8).json()
        assert [c["method"] for c in sim.calls()] == ["batchEmbedContents"]
        assert [d["index"] for d in body["data"]] == list(range(100))
        for ours, theirs in zip(body["data"], direct(sim, texts), strict=True):
            assert ours["embedding"] == [float(n) for n in theirs]

    def test_numbers_are_copied(self, site, sim):
        """Not read and printed again: every digit stands as the upstream wrote it."""
        (theirs,) = direct(sim, ["digits"], 64)
        text = embed(site, ["digits"], dimensions=64).text
        assert '"embedding":[' + ",".join(theirs) + "]" in text

    def test_odd_numbers_survive(self, site, sim):
        values = "[1e-7,-0.0,0.1000000000000000055511151231257827,1E+2,-3.4028235e38,1.17549435E-38,12345678901234567890]"
        sim.literal(('{"embeddings":[{"values": %s}]}' % values).encode(), count=2)
        assert f'"embedding":{values}' in embed(site, ["x"]).text
        exact = [as_float32(n) for n in values[1:-1].split(",")]
        assert list(unpacked(embed(site, ["x"], encoding_format="base64").json()["data"][0]["embedding"])) == exact

    def test_split_at_the_limit(self, site, sim):
        texts = [f"text number {i}" for i in range(205)]
        sim.record(bodies=True)
        body = embed(site, texts, dimensions=8, encoding_format="base64").json()
        sizes = sorted(len(json.loads(c["body"])["requests"]) for c in sim.calls())
        assert sizes == [5, 100, 100]
        assert [d["index"] for d in body["data"]] == list(range(205))
        for at in (0, 99, 100, 199, 200, 204):
            (theirs,) = direct(sim, [texts[at]])
            assert list(unpacked(body["data"][at]["embedding"])) == [as_float32(n) for n in theirs]
        alone = embed(site, texts[:100], dimensions=8).json()["usage"]["prompt_tokens"]
        assert body["usage"]["prompt_tokens"] > 2 * alone

    def test_base64_is_exact(self, site, sim):
        text = "every float"
        (theirs,) = direct(sim, [text], 3072)
        body = embed(site, text, encoding_format="base64").json()
        assert list(unpacked(body["data"][0]["embedding"])) == [as_float32(n) for n in theirs]

    def test_what_goes_upstream(self, site, sim):
        sim.record(bodies=True)
        answer = embed(site, ["a \"quoted\" \\ text"], dimensions=8, user="me", task_type="RETRIEVAL_QUERY", novelty=1)
        assert answer.status == 200 and answer.headers.get("x-gbalance-ignored") == "novelty"
        (call,) = sim.calls()
        sent = json.loads(call["body"])
        assert sent == {"requests": [{"model": f"models/{MODEL}", "taskType": "RETRIEVAL_QUERY",
                                      "content": {"parts": [{"text": "a \"quoted\" \\ text"}]},
                                      "outputDimensionality": 8}]}
        spec = openai_spec.load()
        if spec:
            spec.gemini("BatchEmbedContentsRequest", sent)

    @pytest.mark.parametrize("body, param, word", [
        ({"input": [1, 2, 3]}, "input", "token"), ({"input": [[1, 2], [3]]}, "input", "token"),
        ({"input": ""}, "input", "empty"), ({"input": ["a", ""]}, "input", "empty"),
        ({"input": []}, "input", "got 0"), ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": 7}, "input", "token"), ({"input": {"a": 1}}, "input", "string"), ({}, "input", "input"),
        ({"input": None}, "input", "input"), ({"input": "a", "model": None}, "model", "model"),
        ({"input": "a", "dimensions": 0}, "dimensions", "integer"),
        ({"input": "a", "dimensions": "8"}, "dimensions", "integer"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "float, base64")])
    def test_refused(self, site, sim, body, param, word):
        answer = site.api.post("/v1/embeddings", json={"model": MODEL, **body})
        assert answer.status == 400
        error = answer.json()["error"]
        assert error["param"] == param and word in error["message"] and error["type"] == "invalid_request_error"
        assert not sim.calls()

    def test_get_is_refused(self, site):
        answer = site.api.get("/v1/embeddings")
        assert answer.status == 405 and answer.headers.get("Allow") == "POST"

    def test_unknown_model(self, site):
        answer = embed(site, "a", model="gemini-embedding-9")
        assert answer.status == 404 and answer.json()["error"]["code"] == "model_not_found"

    def test_the_other_surface(self, site, sim):
        """Google's own endpoint gets the body as it is."""
        sim.record(bodies=True)
        body = embed(site, ["as it is"], "/openai/v1/embeddings", dimensions=8).json()
        (call,) = sim.calls()
        assert call["method"] == "openai.embeddings"
        assert json.loads(call["body"])["input"] == ["as it is"]
        assert len(body["data"][0]["embedding"]) == 8


class TestFaults:
    CONF = Conf(keys=KEYS, claims=(r"GB\d{4}:",))

    def test_one_of_three_calls_is_tried_again(self, site, sim):
        sim._control("faults", {"kind": "status", "status": 503, "count": 1, "match": {"method": "batchEmbedContents"}})
        body = embed(site, [f"t{i}" for i in range(201)], dimensions=8).json()
        assert [d["index"] for d in body["data"]] == list(range(201))
        assert len(sim.calls()) == 4



class TestNothingInIt:
    CONF = Conf(keys=KEYS[:1], claims=(r"GB\d{4}:",), api="GBalanceMaxRetries 1")

    @pytest.mark.parametrize("answer", [b"{}", b'{"embeddings":[]}', b'{"embeddings":[{"values":[0.1',
                                        b'{"embeddings":[{"values":[0.1]}]}',
                                        b'{"embeddings":[{"values":[0.1]},{"valves":[0.1]}]}'])
    def test_says_so(self, site, sim, answer):
        """One vector for two texts would stand for the wrong one."""
        sim.literal(answer)
        got = embed(site, ["a", "b"])
        assert got.status == 502 and "error" in got.json()
