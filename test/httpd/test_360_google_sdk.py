# SPDX-License-Identifier: Apache-2.0
"""Google's Python SDK, unmodified, through what one key alone can use: files, caches, batches."""
import hashlib
import os

import pytest

from conf import KEYS, Conf
from google_apis import Google
from wire import MODEL

genai = pytest.importorskip("google.genai")
types = genai.types


@pytest.fixture(scope="class")
def google():
    made = Google()
    yield made
    made.stop()


@pytest.fixture(scope="class")
def gateway(google, make_site):
    return make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=("proxy", "proxy_http")), sim=False)


@pytest.fixture(params=["", "/gemini"])
def client(gateway, request):
    return genai.Client(api_key=gateway.api.token,
                        http_options={"base_url": f"http://127.0.0.1:{gateway.port}{request.param}"})


def several(google, prefix):
    return len({key for name, (key, _) in google.things.items() if name.startswith(prefix)}) > 1


class TestFiles:
    @pytest.mark.parametrize("size", [0, 1, 3_000_000, 20_000_000])
    def test_upload(self, client, google, tmp_path, size):
        data = os.urandom(size)
        path = tmp_path / "a.bin"
        path.write_bytes(data)
        made = client.files.upload(file=str(path), config={"mime_type": "application/pdf", "display_name": "eins"})
        assert google.things[made.name][1]["sha256Hash"] == hashlib.sha256(data).hexdigest()
        assert client.files.get(name=made.name).display_name == "eins"

    @pytest.mark.parametrize("version", ["v1", "v1alpha"])
    def test_upload_of_another_version(self, gateway, google, tmp_path, version):
        client = genai.Client(api_key=gateway.api.token, http_options={
            "base_url": f"http://127.0.0.1:{gateway.port}", "api_version": version})
        path = tmp_path / "a.txt"
        path.write_text("hello")
        made = client.files.upload(file=str(path))
        assert client.files.get(name=made.name).size_bytes == 5

    def test_generate_with_it_list_and_delete(self, client, google, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("hello")
        made = [client.files.upload(file=str(path)) for _ in range(4)]
        assert several(google, "files/")
        for file in made:
            answer = client.models.generate_content(model=MODEL, contents=[file, "what is it?"])
            assert answer.text == "ok"
        assert {f.name for f in made} <= {f.name for f in client.files.list(config={"page_size": 3})}
        for file in made:
            client.files.delete(name=file.name)
            assert file.name not in google.things


class TestCaches:
    def test_all_methods(self, client, google):
        made = [client.caches.create(model=MODEL, config=types.CreateCachedContentConfig(
            contents=[types.Content(role="user", parts=[types.Part(text="long")])], ttl="60s")) for _ in range(4)]
        assert several(google, "cachedContents/")
        for cache in made:
            assert client.caches.get(name=cache.name).name == cache.name
            client.caches.update(name=cache.name, config=types.UpdateCachedContentConfig(ttl="120s"))
            answer = client.models.generate_content(
                model=MODEL, contents="Hi", config=types.GenerateContentConfig(cached_content=cache.name))
            assert answer.text == "ok"
            client.caches.delete(name=cache.name)
        list(client.caches.list())


class TestLongRunning:
    def test_batches(self, client, google):
        made = [client.batches.create(model=MODEL, src=[{"contents": [{"parts": [{"text": "Hi"}], "role": "user"}]}])
                for _ in range(4)]
        assert several(google, "batches/")
        for batch in made:
            assert client.batches.get(name=batch.name).name == batch.name
            client.batches.cancel(name=batch.name)
            client.batches.delete(name=batch.name)
