# SPDX-License-Identifier: Apache-2.0
"""Reads the shared recordings of real Gemini traffic."""
import base64
import glob
import json
import os


def load_all(folder):
    """{"group/name": recording}"""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "*", "*.json"))):
        with open(path, encoding="utf-8") as f:
            found[os.path.relpath(path, folder)[:-5]] = json.load(f)
    return found


def answer_bytes(response):
    """The body as it was on the wire, as far as the recording tells; None when it does not."""
    for name in ("raw", "sse", "text"):
        if isinstance(response.get(name), str):
            return response[name].encode("utf-8")
    if isinstance(response.get("raw_base64"), str):
        return base64.b64decode(response["raw_base64"])
    if response.get("body") is not None:
        return json.dumps(response["body"], indent=2, ensure_ascii=False).encode("utf-8")
    return None
