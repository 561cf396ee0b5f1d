# SPDX-License-Identifier: Apache-2.0
"""Forms of every shape, and POST images/edits, which takes one."""
import base64
import json
import random

import pytest

import openai_spec
import procfs
from conf import KEYS, Conf
from forms import BOUNDARY, body, field, file, inline, png, post
from pictures import pixels
from tools import wait_until

EDITS = "/v1/images/edits"
MODEL = "gemini-3-pro-image"
NOW = "gemini-nano-banana-2.1"
CAT, DOG = png(shade=10), png(8, 8, shade=20)


def parts_sent(sim):
    return [json.loads(c["body"])["contents"][0]["parts"] for c in sim.calls()]


class TestEdits:
    CONF = Conf(keys=KEYS, api=f"GBalanceCreateImageModel {MODEL}")

    def test_one_picture(self, site, sim):
        sim.record(bodies=True)
        answer = post(site, EDITS, field("model", MODEL), field("prompt", "a {n:1} hat"), file("image", CAT))
        assert answer.status == 200
        body = answer.json()
        spec = openai_spec.load()
        if spec:
            spec.openai("ImagesResponse", body)
        assert [pixels(base64.b64decode(d["b64_json"])) for d in body["data"]] == [(16, 16)]
        (parts,) = parts_sent(sim)
        assert inline(parts) == [("image/png", CAT)] and parts[-1] == {"text": "a  hat"}

    @pytest.mark.parametrize("order", range(6))
    def test_parts_in_any_order(self, site, sim, order):
        parts = [field("prompt", "both"), file("image[]", CAT), file("image[]", DOG, "größe 世界.png"),
                 field("model", MODEL), field("n", 2), field("size", "1024x1024")]
        parts[0], parts[order] = parts[order], parts[0]
        sim.record(bodies=True)
        assert len(post(site, EDITS, *parts).json()["data"]) == 2
        first, second = parts_sent(sim)
        assert first == second
        assert sorted(inline(first)) == sorted([("image/png", CAT), ("image/png", DOG)])
        config = json.loads(sim.calls()[0]["body"])["generationConfig"]
        assert config["imageConfig"] == {"aspectRatio": "1:1", "imageSize": "1K"}

    def test_mask(self, site, sim):
        sim.record(bodies=True)
        assert post(site, EDITS, file("mask", DOG), field("prompt", "x"), file("image", CAT)).status == 200
        (parts,) = parts_sent(sim)
        assert inline(parts) == [("image/png", CAT), ("image/png", DOG)] and "mask" in parts[2]["text"]

    def test_the_body_is_googles(self, site, sim):
        spec = openai_spec.load()
        sim.record(bodies=True)
        post(site, EDITS, field("prompt", "x"), file("image", CAT))
        if spec:
            spec.gemini("GenerateContentRequest", json.loads(sim.calls()[0]["body"]))

    @pytest.mark.parametrize("content, type", [
        (b"\xff\xd8\xff\xe0jpeg", "image/jpeg"), (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"), (b"GIF89a....", "image/gif"),
        (b"\0\0\0\x18ftypheic....", "image/heic")])
    def test_type_by_content(self, site, sim, content, type):
        """What a client says of its file is often wrong."""
        sim.record(bodies=True)
        assert post(site, EDITS, field("prompt", "x"), file("image", content, type="text/plain")).status == 200
        assert inline(parts_sent(sim)[0]) == [(type, content)]

    @pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 16381, 65535, 65536, 65537, 200_003])
    def test_base64_at_every_length(self, site, sim, length):
        content = CAT + random.Random(length).randbytes(length)
        sim.record(bodies=True)
        assert post(site, EDITS, field("prompt", "x"), file("image", content)).status == 200
        assert inline(parts_sent(sim)[0]) == [("image/png", content)]

    def test_unknown_fields_are_named(self, site):
        answer = post(site, EDITS, field("prompt", "x"), file("image", CAT), field("novelty", 1), field("user", "me"))
        assert answer.status == 200 and answer.headers.get("x-gbalance-ignored") == "novelty"

    def test_stream(self, site):
        answer = post(site, EDITS, field("prompt", "x"), file("image", CAT), field("stream", "true"))
        assert answer.headers.get("Content-Type").startswith("text/event-stream")
        assert b"event: image_edit.completed\n" in answer.body

    @pytest.mark.parametrize("parts, param", [
        ([field("prompt", "x")], "image"), ([file("image", CAT)], "prompt"), ([], "image"),
        ([file("image", CAT), field("prompt", "")], "prompt"),
        ([file("image", b"%PDF-1.4"), field("prompt", "x")], "image"),
        ([file("image", b""), field("prompt", "x")], "image"),
        ([file("image", CAT), file("mask", b"no"), field("prompt", "x")], "mask"),
        ([file("image", CAT), field("prompt", "x"), field("n", "two")], "n"),
        ([file("image", CAT), field("prompt", "x"), field("n", "9")], "n"),
        ([file("image", CAT), field("prompt", "x"), field("stream", "maybe")], "stream"),
        ([file("image", CAT), field("prompt", "x"), field("size", "big")], "size"),
        ([file("image", CAT)] * 17 + [field("prompt", "x")], "image"),
        ([file("image", CAT), file("mask", CAT), file("mask", CAT), field("prompt", "x")], "mask")])
    def test_refused(self, site, sim, parts, param):
        answer = post(site, EDITS, *parts)
        assert answer.status == 400 and answer.json()["error"]["param"] == param
        assert not sim.calls()

    def test_imagen_cannot(self, site):
        answer = post(site, EDITS, field("model", "imagen-4.0-generate-001"), field("prompt", "x"), file("image", CAT))
        assert answer.status == 400 and answer.json()["error"]["param"] == "model"


class TestConfiguredImagen:
    CONF = Conf(keys=KEYS[:1])

    @pytest.mark.parametrize("model", [[], [field("model", "gpt-image-1")]])
    def test_gives_way(self, site, sim, model):
        assert post(site, EDITS, field("prompt", "x"), file("image", CAT), *model).status == 200
        assert [c["path"] for c in sim.calls()] == [f"/v1beta/models/{NOW}:generateContent"]


class TestRetry:
    CONF = Conf(keys=KEYS, claims=(r"GB\d{4}:",))

    def test_the_whole_body_again(self, site, sim):
        sim.record(bodies=True)
        sim.fault("status", status=500, count=2)
        content = png(extra=random.Random(1).randbytes(3_000_000))
        assert post(site, EDITS, field("prompt", "x"), file("image", content)).status == 200
        sent = parts_sent(sim)
        assert len(sent) == 3 and inline(sent[0]) == inline(sent[1]) == inline(sent[2]) == [("image/png", content)]


class TestFraming:
    CONF = Conf(keys=KEYS[:1])
    GOOD = (field("prompt", "x"), file("image", CAT))

    @pytest.mark.parametrize("raw", [
        b"", b"--" + BOUNDARY.encode(), body(*GOOD)[:-8], body(*GOOD).replace(b"\r\n", b"\n"),
        body(*GOOD, boundary="other"), b"x" * 100_000, body((b"X: y", b"no name")),
        body((b"Content-Disposition: form-data; name=a\r\nX: " + b"y" * 9000, b"")), body(*[field("prompt", "x")] * 200)])
    def test_bad(self, site, sim, raw):
        answer = post(site, EDITS, raw=raw)
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "invalid_request_error" and not sim.calls()

    @pytest.mark.parametrize("content_type", [
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 71])
    def test_boundary(self, site, content_type):
        assert post(site, EDITS, *self.GOOD, content_type=content_type).status == 400

    @pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded",
                                              "multipart/mixed; boundary=" + BOUNDARY])
    def test_no_form(self, site, content_type):
        answer = post(site, EDITS, *self.GOOD, content_type=content_type)
        assert answer.status == 415 and "error" in answer.json()

    def test_not_where_json_belongs(self, site):
        assert post(site, "/v1/images/generations", *self.GOOD).status == 415
        assert post(site, "/v1/chat/completions", *self.GOOD).status == 415

    def test_a_client_that_stops(self, site, sim):
        whole = body(*self.GOOD)
        with site.api.connect() as conn:
            conn.start("POST", EDITS, {**site.api.auth(), "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                                       "Content-Length": str(len(whole) + 10)}, body=whole)
        wait_until(lambda: site.busy_workers() <= 1, "the worker to see that the client left")
        assert not sim.calls()

    def test_chunks_of_any_size(self, site, sim):
        whole = body(*self.GOOD)
        sim.record(bodies=True)
        for size in (1, 7, 50, len(BOUNDARY) + 4):
            answer = site.api.post(EDITS, headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
                                   chunks=[whole[i:i + size] for i in range(0, len(whole), size)])
            assert answer.status == 200
        assert all(inline(parts) == [("image/png", CAT)] for parts in parts_sent(sim))


class TestLarge:
    CONF = Conf(keys=KEYS[:1], mpm_lines="StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMaxRequestWorkers 25\n"
                                         "MinSpareThreads 5\nMaxSpareThreads 25",
                main="GBalanceMaxBody 120000000", sim_args=("--max-body", "200000000"))
    BOUND = 8 * 1024 * 1024        # what the README says

    def test_100_mb_and_its_memory(self, site, sim, sanitized):
        """Neither the heap nor what is mapped grows with the form."""
        assert post(site, EDITS, field("prompt", "x"), file("image", CAT)).status == 200
        content = CAT + random.Random(0).randbytes(1_000_000) * 104
        whole = body(field("prompt", "large"), file("image", content))
        (child,) = site.children()
        before = procfs.forget_peak(child)
        answer = post(site, EDITS, raw=whole)
        assert answer.status == 200, answer.body[:300]
        if not sanitized:
            assert procfs.resident_peak(child) - before < self.BOUND
        call = sim.calls()[-1]
        assert call["body_bytes"] > len(content) * 4 // 3

    def test_too_large(self, site, sim):
        answer = site.api.post(EDITS, body=b"", headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                                                         "Content-Length": "130000000"})
        assert answer.status == 413 and "GBalanceMaxBody" in answer.json()["error"]["message"]
        assert not sim.calls()


class TestRecordedErrors:
    CONF = Conf(keys=KEYS[:1], claims=(r"GB\d{4}:",), api="GBalanceErrorLogRecordRequestBody On\nGBalanceMaxRetries 1")

    def test_bodies_without_a_text(self, site, sim):
        """Neither a form nor a batch has one body that could be recorded; the call fails as ever."""
        for method in ("generateContent", "batchEmbedContents"):
            sim._control("faults", {"kind": "status", "status": 400, "match": {"method": method}})
        assert post(site, EDITS, field("prompt", "x"), file("image", CAT)).status == 400
        assert site.api.post("/v1/embeddings", json={"model": "gemini-embedding-001",
                                                    "input": ["a"] * 101}).status == 400
