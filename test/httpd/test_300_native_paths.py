# SPDX-License-Identifier: Apache-2.0
"""Where the Gemini surface is found: its mounts and versions, and paths that clients get wrong."""
import pytest

from conf import KEYS, Conf
from wire import MODEL, Gemini, OpenAI, ask

VERTEX = ("AQ.VertexKeyOne00000000000000000000000001", "AQ.VertexKeyTwo00000000000000000000000002")


def upstream_path(sim):
    (call,) = sim.calls()
    return call["path"].split("?")[0]


class TestVersions:
    @pytest.mark.parametrize("mount,version", [
        ("/v1beta", "v1beta"), ("/gemini/v1beta", "v1beta"), ("/v1alpha", "v1alpha"),
        ("/gemini/v1alpha", "v1alpha"), ("/gemini/v1", "v1")])
    def test_version_of_the_mount_goes_upstream(self, site, sim, mount, version):
        answer = site.api.post(f"{mount}/models/{MODEL}:generateContent", json=Gemini.body())
        assert answer.status == 200, answer
        assert upstream_path(sim) == f"/{version}/models/{MODEL}:generateContent"

    def test_models_of_another_version(self, site, sim):
        assert site.api.get("/gemini/v1/models").status == 200
        assert upstream_path(sim) == "/v1/models"


class TestAlwaysMended:
    CONF = Conf()

    @pytest.mark.parametrize("path", [
        f"/v1beta/v1beta/models/{MODEL}:generateContent", f"//v1beta//models/{MODEL}:generateContent",
        f"/gemini/v1beta/v1beta/models/{MODEL}:generateContent"])
    def test_gemini(self, site, path):
        answer = site.api.post(path, json=Gemini.body())
        assert answer.status == 200, answer
        assert Gemini.text(answer.json())

    @pytest.mark.parametrize("path", ["/v1/v1/chat/completions", "/chat/completions", "//v1//chat/completions"])
    def test_openai(self, site, path):
        answer = site.api.post(path, json=OpenAI.body())
        assert answer.status == 200, answer
        assert OpenAI.text(answer.json())

    def test_models_with_a_credential_only(self, site):
        """A site may have a page of that name."""
        site.write("models/index.html", "a page of the site")
        assert site.api.get("/models").json()["object"] == "list"
        assert site.api.get("/models/index.html", anonymous=True).text == "a page of the site"

    def test_pages_of_the_site_stay(self, site):
        site.write("v1x/a.html", "page")
        assert site.api.get("/v1x/a.html").text == "page"

    def test_not_beyond_what_works_always(self, site, sim):
        assert site.api.post("/v1beta/chat/completions", json=OpenAI.body()).status == 404
        assert sim.calls() == []


class TestNormalization:
    CONF = Conf(api="GBalanceUrlNormalizationEnabled On")

    @pytest.mark.parametrize("path", [
        f"/v1/models/{MODEL}:generateContent", f"/models/{MODEL}:generateContent",
        f"/gemini/models/{MODEL}:generateContent", f"/v1/v1beta/models/{MODEL}:generateContent",
        f"/v1beta/v1/models/{MODEL}:generateContent", f"/gemini/gemini/v1beta/models/{MODEL}:generateContent"])
    def test_gemini(self, site, path):
        answer = site.api.post(path, json=Gemini.body())
        assert answer.status == 200, answer
        assert Gemini.text(answer.json())

    @pytest.mark.parametrize("path", [
        "/v1beta/openai/chat/completions", "/openai/chat/completions", "/v1beta/chat/completions",
        "/hf/chat/completions", "/v1/chat/completions/chat/completions", "/v1/chat/completions/",
        "/v1/openai/v1/chat/completions"])
    def test_openai(self, site, path):
        answer = site.api.post(path, json=OpenAI.body())
        assert answer.status == 200, answer
        assert OpenAI.text(answer.json())

    def test_a_stranger_gets_nowhere(self, site, sim):
        assert site.api.post(f"/models/{MODEL}:generateContent", json=Gemini.body(), anonymous=True).status == 401
        assert sim.calls() == []


class TestBelowAPrefix:
    CONF = Conf(prefix="/llm", api="GBalanceUrlNormalizationEnabled On")

    @pytest.mark.parametrize("path", ["/llm/v1/v1/chat/completions", "/llm/chat/completions",
                                      "/llm/v1beta/openai/chat/completions"])
    def test_openai(self, site, path):
        assert site.api.post(path, json=OpenAI.body()).status == 200

    def test_outside_of_it_nothing(self, site, sim):
        assert site.api.post("/chat/completions", json=OpenAI.body()).status in (404, 405)
        assert sim.calls() == []


@pytest.fixture(scope="class")
def vertex(make_site):
    site = make_site(Conf(keys=KEYS[:2], main="GBalanceVertexApiKeys " + " ".join(VERTEX)), start=False)
    site.conf.api = f"GBalanceVertexExpressBaseUrl {site.sim.url}/v1beta1/publishers/google"
    return site.start()


class TestVertex:
    @pytest.fixture
    def site(self, vertex):
        return vertex

    def test_gemini_form(self, site, sim):
        answer = site.api.post(f"/vertex-express/v1beta/models/{MODEL}:generateContent", json=Gemini.body())
        assert answer.status == 200, answer
        (call,) = sim.calls()
        assert call["path"] == f"/v1beta1/publishers/google/models/{MODEL}:generateContent"
        assert call["key"] in VERTEX

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("version", [None, "v1", "v1beta"])
    def test_googles_own_client(self, site, sim, stream, version):
        """It says the version and the publisher that Vertex AI has."""
        genai = pytest.importorskip("google.genai")
        client = genai.Client(vertexai=True, api_key=site.api.token, http_options={
            "base_url": f"http://127.0.0.1:{site.port}/vertex-express", "api_version": version})
        if stream:
            text = "".join(c.text or "" for c in client.models.generate_content_stream(model=MODEL, contents="Hello"))
        else:
            text = client.models.generate_content(model=MODEL, contents="Hello").text
        assert text
        (call,) = sim.calls()
        assert call["path"].startswith(f"/v1beta1/publishers/google/models/{MODEL}:") and call["key"] in VERTEX

    @pytest.mark.parametrize("stream", [False, True])
    def test_openai_form(self, site, sim, stream):
        answer = site.api.post("/vertex-express/v1/chat/completions", json=OpenAI.body(stream=stream))
        assert answer.status == 200, answer
        calls = [c for c in sim.calls() if "enerateContent" in c["path"]]
        assert calls and all(c["key"] in VERTEX for c in calls)
        assert all(c["path"].startswith("/v1beta1/publishers/google/models/") for c in calls)

    def test_keys_of_one_are_never_the_others(self, site, sim):
        for _ in range(4):
            ask(site, Gemini)
        assert {c["key"] for c in sim.calls() if "generateContent" in c["path"]} <= set(KEYS)

    def test_states_and_retries_of_its_own(self, site, sim):
        sim.fault(key=VERTEX[0], status=429)
        for _ in range(4):
            answer = site.api.post(f"/vertex-express/v1beta/models/{MODEL}:generateContent", json=Gemini.body())
            assert answer.status == 200, answer
        assert ask(site, Gemini).status == 200


class TestVertexWithoutKeys:
    CONF = Conf()

    def test_says_what_is_missing(self, site, sim):
        error = Gemini.check_error(site.api.post(f"/vertex-express/v1beta/models/{MODEL}:generateContent",
                                                 json=Gemini.body()), 503)
        assert "VERTEX_API_KEYS" in error["message"]
        assert sim.calls() == []
