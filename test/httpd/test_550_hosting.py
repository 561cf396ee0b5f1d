# SPDX-License-Identifier: Apache-2.0
"""Pictures by address: every host against a double of its API, a directory of our own, and data
URLs where none of them can help."""
import base64
import json
import os
import re
import urllib.request

import pytest

from conf import KEYS, Conf
from image_hosts import BUCKET, IMGBED_CODE, OSS_KEY, OSS_SECRET, PICGO_KEY, SMMS_TOKEN, Hosts
from pictures import pixels
from tools import wait_until
from wire import MODEL as TALKER

MODEL = "gemini-3-pro-image"
MARK = b"gbalance-picture-"

PROVIDERS = {
    "smms": "GBalanceSmmsSecretToken {token}\nGBalanceSmmsApiUrl {url}/api/v2/upload",
    "picgo": 'GBalancePicgoApiKey "{key}"\nGBalancePicgoApiUrl {url}/api/1/upload',
    "picgo of one's own": 'GBalancePicgoApiKey "{key}"\nGBalancePicgoApiUrl {url}/api/1/upload?server=own',
    "cloudflare_imgbed": "GBalanceCloudflareImgbedUrl {url}/upload\nGBalanceCloudflareImgbedAuthCode {code}",
    "cloudflare_imgbed, a folder": "GBalanceCloudflareImgbedUrl {url}/upload\nGBalanceCloudflareImgbedAuthCode {code}\n"
                                   'GBalanceCloudflareImgbedUploadFolder "my folder"',
    "aliyun_oss": "GBalanceOssEndpoint http://localhost:{port}\nGBalanceOssAccessKey {oss}\n"
                  "GBalanceOssAccessKeySecret {secret}\nGBalanceOssBucketName {bucket}",
}


@pytest.fixture(scope="module")
def hosts():
    made = Hosts()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quiet(hosts):
    hosts.reset()


def lines(provider, hosts, **wrong):
    values = {"url": hosts.url, "port": hosts.port, "token": SMMS_TOKEN, "key": PICGO_KEY, "code": IMGBED_CODE,
              "oss": OSS_KEY, "secret": OSS_SECRET, "bucket": BUCKET, **wrong}
    name = provider.split(" ")[0].rstrip(",")
    return f"GBalanceUploadProvider {name}\n" + PROVIDERS[provider].format(**values)


def draw(site, n=1, **fields):
    answer = site.api.post("/v1/images/generations",
                           json={"model": MODEL, "prompt": "a cat", "n": n, "response_format": "url", **fields})
    assert answer.status == 200, answer.text
    assert MARK not in answer.body
    return [d["url"] for d in answer.json()["data"]]


def chat(site, stream, text="draw", model=MODEL):
    fields = {"model": model, "messages": [{"role": "user", "content": text}]}
    if model == MODEL:
        fields["modalities"] = ["text", "image"]
    answer = site.api.post("/v1/chat/completions", json={**fields, "stream": stream})
    assert answer.status == 200, answer.text
    assert MARK not in answer.body
    if not stream:
        return answer.json()["choices"][0]["message"]["content"]
    assert answer.text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def fetched(url):
    """The picture at an address; names below localhost lead here."""
    url = re.sub(r"//[a-z]+\.localhost:", "//127.0.0.1:", url)
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


@pytest.mark.parametrize("provider", PROVIDERS, scope="class")
class TestHosts:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, hosts, provider):
        return make_site(Conf(keys=KEYS[:1], api=lines(provider, hosts)))

    def test_generated(self, site, hosts):
        (url,) = draw(site)
        assert url.startswith("http://") and pixels(fetched(url)) == (16, 16)
        assert len(hosts.calls) == 1

    def test_several(self, site, hosts):
        urls = draw(site, n=3)
        assert len(hosts.calls) == 3 and all(pixels(fetched(url)) for url in urls)

    @pytest.mark.parametrize("stream", [False, True])
    def test_chat(self, site, hosts, stream):
        content = chat(site, stream)
        (url,) = re.findall(r"!\[image\]\((http[^)]+)\)", content)
        assert pixels(fetched(url)) == (16, 16) and "base64" not in content
        assert content.startswith("Here is a simulated image.")

    def test_names_cannot_be_guessed(self, site, hosts):
        """The bytes are the same, the names are not."""
        draw(site)
        hosts.kept.clear()
        draw(site)
        names = [re.search(r"[0-9a-f]{32}\.png", c[1]) for c in hosts.calls if c[0] == "PUT"]
        assert not names or names[0].group() != names[1].group()


class TestTokens:
    CONF = Conf(keys=KEYS[:1])

    def test_a_picture_that_is_there_already(self, make_site, hosts):
        """sm.ms calls it an error, with the address."""
        site = make_site(Conf(keys=KEYS[:1], api=lines("smms", hosts)))
        assert draw(site) == draw(site) and len(hosts.calls) == 2

    @pytest.mark.parametrize("provider, wrong, word", [
        ("smms", {"token": "wrong"}, "Unauthorized"), ("picgo", {"key": "wrong"}, "Invalid API v1 key"),
        ("cloudflare_imgbed", {"code": "wrong"}, "401"), ("aliyun_oss", {"secret": "wrong"}, "403"),
        ("aliyun_oss", {"bucket": "another"}, "404")])
    def test_refused(self, make_site, hosts, provider, wrong, word):
        """The client gets its picture all the same; the log says why not by address, without the secret."""
        site = make_site(Conf(keys=KEYS[:1], api=lines(provider, hosts, **wrong), claims=("GB5012",)))
        (url,) = draw(site)
        assert pixels(base64.b64decode(url.removeprefix("data:image/png;base64,"))) == (16, 16)
        (line,) = [line for line in site.log.lines() if "GB5012" in line]
        assert word in line and provider in line
        assert not any(secret.encode() in site.all_logs() for secret in (OSS_SECRET, SMMS_TOKEN, "key=wrong", IMGBED_CODE))


class TestFaults:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, hosts):
        return make_site(Conf(keys=KEYS[:1], api=lines("smms", hosts), claims=("GB5012",)))

    def expect_data_url(self, site):
        (url,) = draw(site)
        assert pixels(base64.b64decode(url.removeprefix("data:image/png;base64,"))) == (16, 16)

    @pytest.mark.parametrize("status, content", [
        (500, b"oops"), (200, b""), (200, b"<html>"), (200, b"{}"), (200, b"[]"), (302, b""), (429, b'{"message":"slow down"}'),
        (200, b'{"success":true,"data":{"url":"javascript:alert(1)"}}'), (200, b'{"success":true,"data":{"url":7}}'),
        (200, b'{"success":true,"data":{"url":"http://x/\\"onload=1"}}'), (200, b"x" * 200_000)])
    def test_answers(self, site, hosts, status, content):
        hosts.fault = lambda handler: handler._answer(status, content)
        self.expect_data_url(site)

    def test_reset(self, site, hosts):
        hosts.fault = lambda handler: handler.connection.shutdown(2)
        self.expect_data_url(site)

    @pytest.mark.parametrize("stream", [False, True])
    def test_chat(self, site, hosts, stream):
        hosts.fault = lambda handler: handler._answer(500, b"")
        assert "![image](data:image/png;base64," in chat(site, stream)

    def test_a_slow_host_holds_back_its_picture_only(self, site, hosts):
        """The words before it are out; a client that leaves ends the upload."""
        gate = []

        def wait(handler):
            gate.append("in")
            wait_until(lambda: "go" in gate, "the test to go on", timeout=10)
            handler._answer(200, {"success": True, "data": {"url": "http://x/late.png"}})

        hosts.fault = wait
        answer = site.api.open("POST", "/v1/chat/completions", json={
            "model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": True, "modalities": ["text", "image"]})
        answer.read_until(b"Here")
        assert b"late.png" not in answer.body
        gate.append("go")
        answer.read()
        assert b"http://x/late.png" in answer.body and answer.body.endswith(b"[DONE]\n\n")

    def test_without_pictures_nothing_changes(self, site, hosts):
        assert "gbalance" not in chat(site, True, "hello", TALKER) and not hosts.calls


class TestElsewhere:
    """Where a worker waits, and where chat clients find pictures in `images`."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, make_site, hosts):
        return make_site(Conf(keys=KEYS[:1], parking="Off", api=lines("smms", hosts) + "\nGBalanceImageOutput both"))

    def test_one_upload_for_both(self, site, hosts):
        answer = site.api.post("/v1/chat/completions", json={
            "model": MODEL, "messages": [{"role": "user", "content": "x"}], "modalities": ["text", "image"]})
        message = answer.json()["choices"][0]["message"]
        url = message["images"][0]["image_url"]["url"]
        assert url.startswith("http") and f"![image]({url})" in message["content"] and len(hosts.calls) == 1

    def test_generated(self, site):
        assert pixels(fetched(draw(site)[0])) == (16, 16)


class TestNotSetUp:
    CONF = Conf(keys=KEYS[:1])

    @pytest.mark.parametrize("stream", [False, True])
    def test_data_urls(self, make_site, stream):
        """gemini-balance's default, sm.ms without a token, is no host."""
        site = make_site(self.CONF)
        assert draw(site)[0].startswith("data:image/png;base64,")
        assert "![image](data:image/png;base64," in chat(site, stream)


def local(port, more=""):
    return f"GBalanceUploadProvider local\nGBalanceLocalImageUrl http://127.0.0.1:{port}/gbalance-images\n{more}"


class TestLocal:
    """A directory of our own."""
    SERVED = "Define GB_IMAGES {state}/images\nInclude {src}/conf.d/gbalance-images.conf\nUnDefine GB_IMAGES"

    def make(self, make_site, main="", api="", **conf):
        site = make_site(Conf(keys=KEYS[:1], main=main, **conf), start=False)
        site.conf.api = local(site.port, api) + "\n" + self.SERVED.format(state=site.state, src=os.environ.get(
            "GB_SRCDIR", os.path.join(os.path.dirname(__file__), "../..")))
        return site.start()

    def files(self, site):
        folder = os.path.join(site.state, "images")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    @pytest.mark.parametrize("stream", [False, True])
    def test_served(self, make_site, stream):
        site = self.make(make_site)
        (url,) = draw(site)
        assert re.fullmatch(rf"http://127.0.0.1:{site.port}/gbalance-images/[0-9a-f]{{32}}\.png", url)
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.headers["Content-Type"] == "image/png" and pixels(answer.read()) == (16, 16)
        (inside,) = re.findall(r"!\[image\]\((http[^)]+)\)", chat(site, stream))
        assert inside != url and pixels(fetched(inside)) and len(self.files(site)) == 2
        assert site.api.get("/gbalance-images/").status in (403, 404)

    def test_expiry(self, make_site):
        site = self.make(make_site, main="GBalanceLocalImageExpire 2")
        (url,) = draw(site)
        assert fetched(url)
        wait_until(lambda: not self.files(site), "the picture to expire", timeout=30)
        assert site.api.get(url.partition(str(site.port))[2]).status == 404

    def test_others_files_stay(self, make_site):
        site = self.make(make_site, main="GBalanceLocalImageExpire 1")
        draw(site)
        folder = os.path.join(site.state, "images")
        with open(os.path.join(folder, "mine.png"), "wb") as f:
            f.write(b"x")
        os.utime(f.name, (0, 0))
        wait_until(lambda: self.files(site) == ["mine.png"], "ours to expire", timeout=30)
        assert self.files(site) == ["mine.png"]

    def large(self, sim, size):
        """An answer with so many bytes as picture."""
        content = base64.b64encode(os.urandom(size)).decode()
        sim.literal(json.dumps({"candidates": [{"finishReason": "STOP", "content": {"parts": [
            {"inlineData": {"mimeType": "image/webp", "data": content}}]}}]}).encode())
        return base64.b64decode(content)

    def test_bounds(self, make_site):
        site = self.make(make_site, main="GBalanceLocalImageMaxMb 2", api="GBalanceLocalImageMaxFileMb 1",
                         claims=("GB5012",))
        raw = self.large(site.sim, 1_000_001)
        urls = [draw(site)[0] for _ in range(3)]
        assert [u.startswith("http") for u in urls] == [True, True, False]
        assert urls[0].endswith(".webp") and fetched(urls[0]) == raw
        assert "LOCAL_IMAGE_MAX_MB" in "".join(site.log.lines())
        self.large(site.sim, 1_100_000)
        assert draw(site)[0].startswith("data:") and "LOCAL_IMAGE_MAX_FILE_MB" in "".join(site.log.lines())
        assert len(self.files(site)) == 2

    def test_a_directory_that_cannot_be_written(self, make_site, tmp_path):
        blocker = tmp_path / "file"
        blocker.write_text("no directory")
        site = self.make(make_site, main=f"GBalanceLocalImageDir {blocker}/images", claims=("GB5012",))
        assert draw(site)[0].startswith("data:image/png")

    def test_broken_base64(self, make_site):
        site = self.make(make_site, claims=("GB5012",))
        site.sim.literal(b'{"candidates":[{"finishReason":"STOP","content":{"parts":[{"inlineData":'
                         b'{"mimeType":"image/png","data":"iVBO?w=="}}]}}]}')
        assert draw(site) == ["data:image/png;base64,iVBO?w=="] and not self.files(site)
