# SPDX-License-Identifier: Apache-2.0
"""Starts and steers the Gemini simulator (test/simulator), and asks it what it saw."""
import base64
import os
import subprocess
import tempfile

import tools
from client import Client
from tools import wait_until


OWN_CALLS = ("models-", "probe-")      # how the gateway names what it asks for itself


class Simulator:
    SEQ, SEQ_FIRST = '"c', 1        # how the chunks of [[seq]] are numbered: "c000001 ..."
    STAMP, STAMPED_SEQ = '"@', " c"  # [[stamp seq]]: "@nanoseconds c000001 ..."

    def __init__(self, args=(), port=0):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-sim-")
        port_file = os.path.join(self.folder.name, "port")
        self.proc = subprocess.Popen(
            [tools.simulator(), "--port", str(port), "--bind", "127.0.0.1", "--port-file", port_file,
             "--die-with-parent", *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

        def read_port():
            assert self.proc.poll() is None, f"the simulator ended with {self.proc.returncode}"
            if not os.path.exists(port_file):
                return 0
            with open(port_file, encoding="ascii") as f:
                text = f.read()
            return int(text) if text.endswith("\n") else 0

        self.port = wait_until(read_port, "the simulator to listen")
        self.client = Client(self.port)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    # ---- steering

    def _control(self, name, body=None):
        answer = self.client.post(f"/_sim/{name}", json=body if body is not None else {})
        assert answer.status == 200, answer.text
        return answer

    def reset(self):
        """No faults, no answers, no records; everything as at its start."""
        self._control("reset")

    def fault(self, kind="status", *, key=None, model=None, count=None, **members):
        """Adds a fault rule: kind is one of the simulator's, or the name of one of Google's errors.
        It hits calls that generate, not the gateway's own ones for the list of models."""
        match = {name: value for name, value in (("key", key), ("model", model)) if value}
        rule = {"kind": kind, "match": {"method": "*enerateContent", **match}, **members}
        if count:
            rule["count"] = count
        self._control("faults", rule)

    def literal(self, content, *, content_type="application/json; charset=UTF-8", split=0, count=1000, **members):
        """Answers with these bytes, cut into pieces of `split` bytes (0: not cut, -1: at random).
        Takes the place of all earlier rules and answers."""
        self._control("faults", {"rules": []})
        self._control("answer", {"answers": [{
            "body_base64": base64.b64encode(content).decode(), "count": count,
            "headers": {"Content-Type": content_type}, "split": "random" if split < 0 else split, **members}]})

    def record(self, *, bodies=False, headers=False):
        self._control("record", {"bodies": bodies, "headers": headers})

    # ---- asking

    def stats(self):
        return self.client.get("/_sim/stats").json()

    def calls(self, own=False):
        """Records of all calls for clients since the last reset; with `own`, those too that
        the gateway makes for itself (list of models, checks of keys)."""
        found, start = [], 0
        while True:
            page = self.client.get(f"/_sim/calls?from={start}").json()
            found += [c for c in page["calls"] if not c["request_id"].startswith("models-")]
            if not page["more"]:
                break
            start = page["next"]
        return [call for call in found if own or not call["request_id"].startswith(OWN_CALLS)]

    def wait_open(self, count):
        """Until so many calls run at the same time."""
        wait_until(lambda: self.stats()["open_calls"] >= count, f"{count} upstream calls to run")

    def wait_quiet(self, timeout=10):
        wait_until(lambda: self.stats()["open_calls"] == 0, "all upstream calls to end", timeout)

    def stop(self):
        self.proc.terminate()
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(5)
