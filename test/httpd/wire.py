# SPDX-License-Identifier: Apache-2.0
"""Requests of the two protocols, and what their answers must look like.

A test that holds for both surfaces takes them as parameters:

    @pytest.mark.parametrize("surface", SURFACES)
"""
import json

MODEL = "gemini-2.5-flash"


class OpenAI:
    name = "openai"
    mount = "/v1"
    done = b"data: [DONE]\n\n"
    models_path = "/v1/models"

    @staticmethod
    def path(stream=False, model=MODEL):
        return "/v1/chat/completions"

    @staticmethod
    def body(text="Hello", stream=False, model=MODEL, **fields):
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        if stream:
            body["stream"] = True
        return body

    @staticmethod
    def text(answer):
        """The text of a whole answer."""
        return answer["choices"][0]["message"]["content"]

    @staticmethod
    def piece(event):
        """The text of one event of a stream, "" when it has none."""
        choices = json.loads(event)["choices"]
        return choices[0]["delta"].get("content") or "" if choices else ""

    @classmethod
    def stream_text(cls, response):
        """The whole text of a stream that ends as it should."""
        events = list(response.events())
        assert events[-1] == "[DONE]", events[-3:]
        return "".join(cls.piece(e) for e in events[:-1])

    @staticmethod
    def check_error(response, status):
        """The error object of an answer, after a look at its form."""
        assert response.status == status, response
        assert response.headers.get("Content-Type").startswith("application/json")
        error = response.json()["error"]
        assert isinstance(error["message"], str) and error["message"]
        assert isinstance(error["type"], str) and error["type"]
        assert {"param", "code"} <= set(error)
        return error

    @staticmethod
    def stream_error(response):
        """The error object at the end of a broken stream."""
        events = list(response.events())
        found = [json.loads(e) for e in events if e != "[DONE]" and "error" in json.loads(e)]
        assert len(found) == 1, events[-3:]
        assert isinstance(found[0]["error"]["message"], str)
        return found[0]["error"]


class Gemini:
    name = "gemini"
    mount = "/v1beta"
    done = b""
    models_path = "/v1beta/models"

    @staticmethod
    def path(stream=False, model=MODEL):
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")

    @staticmethod
    def body(text="Hello", stream=False, model=MODEL, **fields):
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}

    @staticmethod
    def text(answer):
        return "".join(p.get("text", "") for p in answer["candidates"][0]["content"]["parts"]
                       if not p.get("thought"))

    @staticmethod
    def piece(event):
        found = ""
        for candidate in json.loads(event).get("candidates", []):
            for part in candidate.get("content", {}).get("parts", []):
                if not part.get("thought"):
                    found += part.get("text", "")
        return found

    @classmethod
    def stream_text(cls, response):
        return "".join(cls.piece(e) for e in response.events())

    @staticmethod
    def check_error(response, status):
        assert response.status == status, response
        assert response.headers.get("Content-Type").startswith("application/json")
        error = response.json()["error"]
        assert error["code"] == status
        assert isinstance(error["message"], str) and error["message"]
        assert error["status"].isupper()
        return error

    @staticmethod
    def stream_error(response):
        """As an event, or bare as Google itself writes it."""
        text = response.text.replace("\r\n", "\n")
        found = [json.loads(e.removeprefix("data:")) for e in text.split("\n\n")
                 if e.strip() and '"error"' in e]
        assert len(found) == 1, text[-600:]
        assert isinstance(found[0]["error"]["message"], str)
        return found[0]["error"]


SURFACES = [OpenAI, Gemini]
SURFACE_IDS = [s.name for s in SURFACES]


def ask(site, surface, text="Hello", stream=False, headers=None, **fields):
    """A whole exchange on a surface."""
    return site.api.post(surface.path(stream), json=surface.body(text, stream, **fields), headers=headers)


def serves(site, surface=OpenAI):
    """Whether a call is answered; a connection that a dying child had taken is not."""
    try:
        return ask(site, surface).status == 200
    except OSError:
        return False


def begin(site, surface, text="Hello", headers=None, stream=True, conn=None, conn_options=None, **fields):
    """A stream that is still to be read."""
    return site.api.open("POST", surface.path(stream), headers=headers, conn=conn,
                         conn_options=conn_options, json=surface.body(text, stream, **fields))
