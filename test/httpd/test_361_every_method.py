# SPDX-License-Identifier: Apache-2.0
"""Every method of Google's Python SDK that exists on the surface, unmodified: it is called, its call
reaches the upstream with a pool's key and the SDK reads the answer.  A method that a newer SDK adds
makes this fail until it stands in one of the two lists."""
import inspect
import warnings

import pytest

from conf import KEYS, Conf
from google_apis import ANYBODY, Google
from test_330_files import PROXY
from wire import MODEL

genai = pytest.importorskip("google.genai")
types = genai.types
HELLO = [types.Content(role="user", parts=[types.Part(text="hello")])]


class Made:
    """What a call needs to be there before."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder

    def path(self, name="a.txt"):
        path = self.folder / name
        path.write_text("hello")
        return str(path)

    def file(self):
        return self.client.files.upload(file=self.path())

    def cache(self):
        return self.client.caches.create(model=MODEL, config={"contents": HELLO, "ttl": "60s"})

    def batch(self):
        return self.client.batches.create(model=MODEL, src=[{"contents": HELLO}])

    def store(self):
        return self.client.file_search_stores.create(config={"display_name": "s"})

    def interaction(self):
        return self.client.interactions.create(model=MODEL, input="Hi")

    def of(self, resource, **kwargs):
        return getattr(self.client, resource).create(**kwargs).id

    def agent(self):
        return self.of("agents", base_agent="x", description="d")

    def credential(self):
        return self.of("credentials", id="c1", value="v", type="environment_variable", injection_location="header")

    def trigger(self):
        return self.of("triggers", interaction={"agent": "a", "input": "x"}, schedule="* * * * *", time_zone="UTC")

    def voice(self):
        return self.of("voices", voice={"type": "prompted", "prompted": {"input": "deep"}})

    def webhook(self):
        return self.of("webhooks", uri="https://example.com/hook", subscribed_events=[])

    def environment(self):
        return self.client.environments.create().id

    def operation(self):
        return self.client.file_search_stores.upload_to_file_search_store(
            file_search_store_name=self.store().name, file=self.path())


# fmt: off
CALLS = {
    "models.generate_content": lambda c, m: c.models.generate_content(model=MODEL, contents="Hi"),
    "models.generate_content_stream": lambda c, m: list(c.models.generate_content_stream(model=MODEL, contents="Hi")),
    "models.count_tokens": lambda c, m: c.models.count_tokens(model=MODEL, contents="Hi"),
    "models.embed_content": lambda c, m: c.models.embed_content(model="gemini-embedding-001", contents=["a", "b"]),
    "models.get": lambda c, m: c.models.get(model=MODEL),
    "models.list": lambda c, m: list(c.models.list()),
    "models.update": lambda c, m: c.models.update(model="tunedModels/t1", config={"display_name": "t"}),
    "models.delete": lambda c, m: c.models.delete(model="tunedModels/t1"),
    "chats.create": lambda c, m: c.chats.create(model=MODEL).send_message("Hi"),
    "operations.get": lambda c, m: c.operations.get(m.operation()),
    "caches.create": lambda c, m: m.cache(),
    "caches.get": lambda c, m: c.caches.get(name=m.cache().name),
    "caches.update": lambda c, m: c.caches.update(name=m.cache().name, config={"ttl": "60s"}),
    "caches.list": lambda c, m: list(c.caches.list()),
    "caches.delete": lambda c, m: c.caches.delete(name=m.cache().name),
    "files.upload": lambda c, m: m.file(),
    "files.get": lambda c, m: c.files.get(name=m.file().name),
    "files.list": lambda c, m: list(c.files.list()),
    "files.delete": lambda c, m: c.files.delete(name=m.file().name),
    "files.download": lambda c, m: c.files.download(file=m.file().name),
    "batches.create": lambda c, m: m.batch(),
    "batches.create_embeddings": lambda c, m: c.batches.create_embeddings(model="gemini-embedding-001", src={
        "inlined_requests": {"contents": HELLO}}),
    "batches.get": lambda c, m: c.batches.get(name=m.batch().name),
    "batches.list": lambda c, m: list(c.batches.list()),
    "batches.cancel": lambda c, m: c.batches.cancel(name=m.batch().name),
    "batches.delete": lambda c, m: c.batches.delete(name=m.batch().name),
    "file_search_stores.create": lambda c, m: m.store(),
    "file_search_stores.get": lambda c, m: c.file_search_stores.get(name=m.store().name),
    "file_search_stores.list": lambda c, m: list(c.file_search_stores.list()),
    "file_search_stores.delete": lambda c, m: c.file_search_stores.delete(name=m.store().name),
    "file_search_stores.import_file": lambda c, m: import_file(c, m),
    "file_search_stores.upload_to_file_search_store": lambda c, m: m.operation(),
    "file_search_stores.download_media": lambda c, m: c.file_search_stores.download_media(
        media_id=m.store().name + "/media/m1"),
    "tunings.tune": lambda c, m: c.tunings.tune(base_model="models/gemini-1.5-flash-001-tuning", training_dataset={
        "examples": [{"text_input": "a", "output": "b"}]}),
    "tunings.get": lambda c, m: c.tunings.get(name="tunedModels/t1"),
    "tunings.cancel": lambda c, m: c.tunings.cancel(name="tunedModels/t1"),
    "interactions.create": lambda c, m: m.interaction(),
    "interactions.get": lambda c, m: c.interactions.get(m.interaction().id),
    "interactions.cancel": lambda c, m: c.interactions.cancel(m.interaction().id),
    "interactions.delete": lambda c, m: c.interactions.delete(m.interaction().id),
    "agents.create": lambda c, m: m.agent(),
    "agents.get": lambda c, m: c.agents.get(m.agent()),
    "agents.list": lambda c, m: c.agents.list(),
    "agents.delete": lambda c, m: c.agents.delete(m.agent()),
    "credentials.create": lambda c, m: m.credential(),
    "credentials.get": lambda c, m: c.credentials.get(m.credential()),
    "credentials.list": lambda c, m: c.credentials.list(),
    "credentials.update": lambda c, m: c.credentials.update(m.credential(), value="w", type="environment_variable"),
    "credentials.delete": lambda c, m: c.credentials.delete(m.credential()),
    "decisions.create": lambda c, m: c.decisions.create(model=MODEL, input="x", questions={}),
    "environments.create": lambda c, m: m.environment(),
    "environments.get": lambda c, m: c.environments.get(m.environment()),
    "environments.list": lambda c, m: c.environments.list(),
    "environments.delete": lambda c, m: c.environments.delete(m.environment()),
    "triggers.create": lambda c, m: m.trigger(),
    "triggers.get": lambda c, m: c.triggers.get(m.trigger()),
    "triggers.list": lambda c, m: c.triggers.list(),
    "triggers.update": lambda c, m: c.triggers.update(m.trigger(), display_name="x"),
    "triggers.run": lambda c, m: c.triggers.run(m.trigger()),
    "triggers.list_executions": lambda c, m: c.triggers.list_executions(m.trigger()),
    "triggers.delete": lambda c, m: c.triggers.delete(m.trigger()),
    "voices.create": lambda c, m: m.voice(),
    "voices.get": lambda c, m: c.voices.get(m.voice()),
    "voices.list": lambda c, m: c.voices.list(),
    "voices.delete": lambda c, m: c.voices.delete(m.voice()),
    "webhooks.create": lambda c, m: m.webhook(),
    "webhooks.get": lambda c, m: c.webhooks.get(m.webhook()),
    "webhooks.list": lambda c, m: c.webhooks.list(),
    "webhooks.update": lambda c, m: c.webhooks.update(m.webhook(), uri="https://example.com/other"),
    "webhooks.ping": lambda c, m: c.webhooks.ping(m.webhook()),
    "webhooks.rotate_signing_secret": lambda c, m: c.webhooks.rotate_signing_secret(m.webhook()),
    "webhooks.delete": lambda c, m: c.webhooks.delete(m.webhook()),
    "auth_tokens.create": lambda c, m: c.auth_tokens.create(config={"uses": 1, "http_options": {"api_version": "v1alpha"}}),
}

VERTEX = "exists in Vertex AI alone, whose clients log in with OAuth"
NOT_HERE = {
    "models.compute_tokens": VERTEX, "models.edit_image": VERTEX, "models.recontext_image": VERTEX,
    "models.segment_image": VERTEX, "models.generate_images": VERTEX, "models.generate_videos": VERTEX, "tunings.list": VERTEX,
    "models.upscale_image": VERTEX, "tunings.validate_reward": VERTEX,
    "files.register_files": "asks for OAuth credentials of Google Cloud Storage before it calls",
    "environments.create_environment": "another name of create", "environments.get_environment": "another name of get",
    "environments.delete_environment": "another name of delete", "environments.list_environments": "another name of list",
}
# fmt: on


def import_file(client, made):
    """A store and a file of one key: another one's cannot be imported."""
    store = made.store()
    while True:
        file = made.file()
        try:
            return client.file_search_stores.import_file(file_search_store_name=store.name, file_name=file.name)
        except genai.errors.ClientError as fault:
            assert "different keys" in str(fault)


def offered(client):
    """Names of all public methods."""
    for name in dir(client):
        resource = getattr(client, name)
        if name.startswith("_") or name in ("aio", "vertexai", "close") or inspect.isroutine(resource):
            continue
        for method in dir(resource):
            if not method.startswith("_") and method != "do_request" and callable(getattr(resource, method)):
                yield f"{name}.{method}"


@pytest.fixture(scope="class")
def google():
    made = Google()
    yield made
    made.stop()


@pytest.fixture(scope="class")
def gateway(google, make_site):
    return make_site(Conf(keys=KEYS, upstream=google.url + "/v1beta", modules=PROXY), sim=False)


@pytest.fixture(scope="class")
def client(gateway):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield genai.Client(api_key=gateway.api.token, http_options={"base_url": f"http://127.0.0.1:{gateway.port}"})


class TestEveryMethod:
    def test_none_is_left_out(self, client):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert set(offered(client)) - set(CALLS) - set(NOT_HERE) == set()

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", CALLS)
    def test_call(self, client, google, tmp_path, name):
        google.reset()
        google.put("tunedModels/t1", ANYBODY, {"name": "tunedModels/t1", "displayName": "t", "state": "ACTIVE"})
        CALLS[name](client, Made(client, tmp_path))
        if name not in ("files.list", "models.list"):       # answered from what is known of all keys
            assert google.calls
        assert all(call["key"] in KEYS for call in google.calls)
