# SPDX-License-Identifier: Apache-2.0
"""What exists for one key only - cached contents, operations, batches, interactions - is asked for with that key."""
import json
import urllib.parse

import pytest

from conf import KEYS, TOKEN, Conf
from google_apis import ANYBODY, Google
from wire import MODEL, Gemini, OpenAI

OTHER = "sk-another-token-0123456789abcdef"


@pytest.fixture(scope="class")
def google():
    made = Google()
    yield made
    made.stop()


@pytest.fixture(scope="class")
def many(google, make_site):
    return make_site(Conf(keys=KEYS, tokens=(TOKEN, OTHER), upstream=google.url + "/v1beta"), sim=False)


MADE_BY = [("cachedContents", {"model": f"models/{MODEL}"}, "name"),
           (f"models/{MODEL}:predictLongRunning", {}, "name"),
           (f"models/{MODEL}:batchGenerateContent", {"batch": {}}, "name"),
           ("fileSearchStores", {}, "name"),
           ("tunedModels", {}, "name"),
           ("interactions", {"model": MODEL, "input": "Hi"}, "id")]


def make(site, path, body, member):
    answer = site.api.post("/v1beta/" + path, json=body)
    assert answer.status == 200, answer
    made = answer.json()[member]
    return made if member == "name" else f"{path}/{made}"


class TestAffinity:
    @pytest.mark.parametrize("path,body,member", MADE_BY, ids=[m[0] for m in MADE_BY])
    def test_same_key_for_all_calls_about_one(self, many, google, path, body, member):
        names = [make(many, path, body, member) for _ in range(6)]
        assert len({google.owner(n) for n in names}) > 1, "the keys take turns"
        for name in names:
            for _ in range(3):
                answer = many.api.get("/v1beta/" + name)
                assert answer.status == 200, answer
        for name in names:
            assert many.api.request("DELETE", "/v1beta/" + name).status == 200
            assert name not in google.things

    def test_other_calls_still_take_turns(self, many, google):
        google.reset()
        for _ in range(6):
            assert many.api.post(Gemini.path(), json=Gemini.body()).status == 200
        assert len({c["key"] for c in google.calls}) > 1

    @pytest.mark.parametrize("member", ["cachedContent", "cached_content"])
    def test_a_request_that_names_a_cache_goes_to_its_key(self, many, google, member):
        for _ in range(5):
            name = make(many, "cachedContents", {"model": f"models/{MODEL}"}, "name")
            answer = many.api.post(Gemini.path(), json=Gemini.body(**{member: name}))
            assert answer.status == 200, answer

    def test_changes_and_methods(self, many, google):
        for _ in range(4):
            name = make(many, "cachedContents", {"model": f"models/{MODEL}"}, "name")
            assert many.api.request("PATCH", "/v1beta/" + name, json={"ttl": "60s"}).json()["ttl"] == "60s"
            name = make(many, f"models/{MODEL}:batchGenerateContent", {"batch": {}}, "name")
            assert many.api.post(f"/v1beta/{name}:cancel", json={}).status == 200

    def test_interactions_that_follow_another(self, many, google):
        for _ in range(5):
            name = make(many, "interactions", {"input": "Hi"}, "id")
            answer = many.api.post("/v1beta/interactions", json={
                "input": "and?", "previous_interaction_id": name.split("/")[1]})
            assert answer.status == 200, answer

    def test_two_caches_of_two_keys(self, many, google):
        names = {}
        while len(names) < 2:
            name = make(many, "fileSearchStores", {}, "name")
            names.setdefault(google.owner(name), name)
        body = Gemini.body(tools=[{"fileSearch": {"fileSearchStoreNames": list(names.values())}}])
        google.reset()
        error = Gemini.check_error(many.api.post(Gemini.path(), json=body), 400)
        assert all(name in error["message"] for name in names.values())
        assert google.calls == []

    def test_registered_files(self, many, google):
        for _ in range(3):
            made = many.api.post("/v1beta/files:register", json={"uris": ["gs://b/1", "gs://b/2"]}).json()["files"]
            assert len(made) == 2
            for file in made:
                assert many.api.get("/v1beta/" + file["name"]).status == 200
                assert many.api.get("/v1beta/" + file["name"] + ":download?alt=media").status == 200

    def test_what_an_operation_has_made(self, many, google):
        """Videos and answers to batches are files; Google sends a download on to another of its paths."""
        for _ in range(4):
            name = make(many, f"models/{MODEL}:predictLongRunning", {}, "name")
            answer = many.api.get("/v1beta/" + name).json()["response"]["generateVideoResponse"]
            uri = answer["generatedSamples"][0]["video"]["uri"]
            assert many.api.get(uri.removeprefix(google.url)).read() == b"bytes"
            answer = many.api.post(f"/v1beta/models/{MODEL}:predictLongRunning", json={"instances": [{"video": {"uri": uri}}]})
            assert answer.status == 200, answer
            name = make(many, f"models/{MODEL}:batchGenerateContent", {"batch": {}}, "name")
            file = many.api.get("/v1beta/" + name).json()["response"]["responsesFile"]
            assert many.api.get(f"/v1beta/{file}:download?alt=media").read() == b"bytes"

    @pytest.mark.parametrize("elsewhere", ["http://127.0.0.1:1/download", "https://127.0.0.1/x", "//127.0.0.1/x", "/v1beta/files/x:download"])
    def test_no_key_goes_elsewhere(self, many, google, elsewhere):
        google.put("files/x", ANYBODY, {"name": "files/x"})
        google.elsewhere = elsewhere
        google.reset()
        Gemini.check_error(many.api.get("/v1beta/files/x:download?alt=media"), 502)
        assert len(google.calls) == (4 if elsewhere[1] == "v" else 1), "a circle ends"
        google.elsewhere = None

    def test_a_model_that_was_tuned(self, many, google):
        for _ in range(4):
            operation = make(many, "tunedModels", {"displayName": "t"}, "name")
            assert many.api.get("/v1beta/" + operation.partition("/operations")[0]).status == 200

    def test_interactions_that_stream(self, many, google):
        for _ in range(4):
            first = many.api.post("/v1beta/interactions", json={"input": "Hi", "stream": True}).body.split(b"\r\n")[0]
            made = json.loads(first.removeprefix(b"data: "))["interaction"]["id"]
            answer = many.api.post("/v1beta/interactions", json={"input": "and?", "previous_interaction_id": made})
            assert answer.status == 200, answer

    def test_pages_of_a_list_come_from_one_key(self, many, google):
        for _ in range(9):
            make(many, "cachedContents", {}, "name")
        page = many.api.get("/v1beta/cachedContents?pageSize=1").json()
        while token := page.get("nextPageToken"):
            assert len(page["cachedContents"]) == 1
            answer = many.api.get(f"/v1beta/cachedContents?pageSize=1&pageToken={urllib.parse.quote(token, safe='')}")
            assert answer.status == 200, answer
            page = answer.json()

    def test_known_to_the_next_generation(self, many, google):
        names = [make(many, "cachedContents", {}, "name") for _ in range(3)]
        many.graceful()
        for name in names:
            assert many.api.get("/v1beta/" + name).status == 200

    @pytest.mark.parametrize("path,body", [(f"models/{MODEL}:batchGenerateContent", {"batch": {}}),
                                           ("cachedContents", {"model": f"models/{MODEL}"})], ids=["batches", "caches"])
    def test_quotas_of_their_own(self, many, google, path, body):
        google.fault = "exhausted"
        Gemini.check_error(many.api.post("/v1beta/" + path, json=body), 429)
        google.fault = None
        google.reset()
        for _ in range(6):
            assert many.api.post(Gemini.path(), json=Gemini.body()).status == 200
        assert len({c["key"] for c in google.calls}) == len(KEYS), "none of them rests"

    @pytest.mark.parametrize("path,body", [made[:2] for made in MADE_BY], ids=[made[0] for made in MADE_BY])
    def test_nothing_is_made_twice(self, many, google, path, body):
        """The answer was lost: whether Google has done it nobody knows."""
        google.things.clear()
        google.fault = "lost"
        google.reset()
        Gemini.check_error(many.api.post("/v1beta/" + path, json=body), 502)
        google.fault = None
        assert len(google.calls) == 1

    def test_unknown_names_are_googles_to_judge(self, many):
        Gemini.check_error(many.api.get("/v1beta/cachedContents/nobodys"), 404)


def with_file(name):
    """The ways to speak of a file in OpenAI's chat."""
    yield {"type": "file", "file": {"file_id": name}}
    yield {"type": "file", "file": {"file_id": name.replace("files/", "file-")}}
    yield {"type": "image_url", "image_url": {"url": f"https://generativelanguage.googleapis.com/v1beta/{name}"}}


class TestOpenAIChat:
    """What was made on the Gemini surface is used in a chat of OpenAI's."""

    @staticmethod
    def register(site):
        return site.api.post("/v1beta/files:register", json={"uris": ["gs://b/1"]}).json()["files"][0]["name"]

    def test_files(self, many, google):
        names = [self.register(many) for _ in range(4)]
        assert len({google.owner(name) for name in names}) > 1, "the keys take turns"
        for name in names:
            for part in with_file(name):
                answer = many.api.post(OpenAI.path(), json=OpenAI.body([{"type": "text", "text": "x"}, part]))
                assert answer.status == 200, answer

    def test_files_of_another_caller(self, many, google):
        name = self.register(many)
        google.reset()
        other = many.client_of(OTHER)
        for part in with_file(name):
            OpenAI.check_error(other.post(OpenAI.path(), json=OpenAI.body([part])), 404)
        kept = [{"fileData": {"fileUri": f"https://generativelanguage.googleapis.com/v1beta/{name}"}}]
        messages = [{"role": "assistant", "content": "", "extra_content": {"google": {"parts": kept}}},
                    {"role": "user", "content": "What is it?"}]
        OpenAI.check_error(other.post(OpenAI.path(), json={"model": MODEL, "messages": messages}), 404)
        assert google.calls == []

    @pytest.mark.parametrize("path,google_says", [
        ("cachedContents", lambda name: {"cached_content": name}),
        ("fileSearchStores", lambda name: {"tools": [{"file_search": {"file_search_store_names": [name]}}]})])
    def test_what_else_one_key_has(self, many, path, google_says):
        names = [make(many, path, {"model": f"models/{MODEL}"}, "name") for _ in range(4)]
        for name in names * 2:
            answer = many.api.post(OpenAI.path(), json=OpenAI.body(extra_body={"google": google_says(name)}))
            assert answer.status == 200, answer
