# SPDX-License-Identifier: Apache-2.0
"""htdocs/openapi.json names every JSON endpoint of administration, and none that is not there."""
import json
import re

ROUTE = re.compile(r'\{"(/[^"]*|)",\s*M_(GET|POST|PUT|PATCH|DELETE),([^\n]*)')
# What is no page: rows of the core and of keys have no template, rows of admin say NULL.
SOURCES = [("modules/core/core_api.c", "/api", r""), ("modules/keys/keys_api.c", "/api/keys", r""),
           ("modules/admin/*.c", "", r"^\s*NULL,")]
# Forms that scripts send, too.
FORMS = {("POST", "/auth"), ("POST", "/logout"), ("POST", "/sessions/revoke")}


def in_code(texts):
    """(method, path with ? for a part) of (prefix, what a row must look like, text)."""
    return {(method, prefix + path) for prefix, row, text in texts
            for path, method, rest in ROUTE.findall(text) if re.search(row, rest)}


def in_document(document):
    return {(method.upper(), re.sub(r"\{\w+\}", "?", path))
            for path, item in document["paths"].items() for method in item}


def judge(document, texts):
    have, want = in_document(document), in_code(texts) | FORMS
    return ([f"{m} {p} is not in htdocs/openapi.json" for m, p in sorted(want - have)]
            + [f"{m} {p} of htdocs/openapi.json is nowhere in the code" for m, p in sorted(have - want)])


def texts_of(env):
    return [(prefix, row, path.read_text()) for pattern, prefix, row in SOURCES
            for path in sorted(env.srcdir.glob(pattern))]


def checks(env):
    document = json.loads((env.srcdir / "htdocs/openapi.json").read_text())
    yield "openapi: every endpoint, and no other", judge(document, texts_of(env))


def self_tests(_env):
    texts = [("", r"^\s*NULL,", '{"/api/x/?", M_GET, NULL, NULL, NULL, f, 0},\n{"/page", M_GET, "page", NULL},\n')]
    good = {"paths": {"/api/x/{id}": {"get": {}}, **{path: {"post": {}} for _, path in FORMS}}}
    yield "openapi: has nothing against a good one", judge(good, texts)
    for what, document in [("missing", {"paths": {}}), ("gone", {"paths": {**good["paths"], "/api/y": {"get": {}}}})]:
        yield f"openapi: notices what is {what}", [] if judge(document, texts) else ["it was not seen"]
