# SPDX-License-Identifier: Apache-2.0
"""Runs the load generator (test/bench/load.c) and reads its report."""
import json
import os
import subprocess
import tempfile
import types

import tools
from tools import wait_until


class Case:
    """One kind of request.  `options` are those of load.c: abort=, slow=, expect=, chunked, close."""

    def __init__(self, method, path, body=None, options=""):
        self.method, self.path, self.options = method, path, options
        self.body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body


class Load:
    """A run in the background; wait() gives the report."""

    def __init__(self, port, cases, *, token=None, headers=(), connections=1, requests=0, duration=0,
                 rate=0, timeout=60, max_time=300, seq=None, seq_first=0, stamp=None):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-load-")
        self.progress = os.path.join(self.folder.name, "streaming")
        argv = [tools.load_generator(), "--port", str(port), "--connections", str(connections),
                "--requests", str(requests), "--duration", str(duration), "--rate", str(rate),
                "--timeout", str(timeout), "--max-time", str(max_time), "--progress", self.progress]
        for option, value in (("--seq", seq), ("--stamp", stamp)):
            if value:
                argv += [option, value]
        argv += ["--seq-first", str(seq_first)]
        lines = list(headers) + ([f"Authorization: Bearer {token}"] if token else [])
        for line in lines + ["Content-Type: application/json"]:
            argv += ["--header", line]
        for number, case in enumerate(cases):
            argv += ["--case", self._case(number, case)]
        self.max_time = max_time
        self.proc = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _case(self, number, case):
        body = "-"
        if case.body is not None:
            body = os.path.join(self.folder.name, f"body{number}")
            with open(body, "wb") as f:
                f.write(case.body)
            body = "@" + body
        return f"{case.method} {case.path} {body} {case.options}".strip()

    def wait_streaming(self, timeout=60):
        """Until every connection has the head of a stream at the same time."""
        wait_until(lambda: os.path.exists(self.progress) or self.proc.poll() is not None,
                   "all streams to run", timeout)
        assert os.path.exists(self.progress), f"the load ended before all streams ran: {self.wait()}"

    def running(self):
        return self.proc.poll() is None

    def wait(self):
        try:
            out, err = self.proc.communicate(timeout=self.max_time + 30)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise
        assert self.proc.returncode == 0 and not err, err
        report = types.SimpleNamespace(**json.loads(out))
        report.failed = (report.connect_failed + report.reset + report.cut + report.timed_out
                         + report.malformed)
        report.other_than_200 = report.completed - report.statuses.get("200", 0)
        return report


def load(port, cases, **options):
    """A whole run."""
    return Load(port, cases, **options).wait()
