# SPDX-License-Identifier: Apache-2.0
"""Starts and steers the Gemini simulator (test/simulator), and asks it what it saw."""
import os
import subprocess
import tempfile

import tools
from client import Client
from tools import wait_until


class Simulator:
    def __init__(self, args=(), port=0):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-sim-")
        port_file = os.path.join(self.folder.name, "port")
        self.proc = subprocess.Popen(
            [tools.simulator(), "--port", str(port), "--bind", "127.0.0.1", "--port-file", port_file,
             "--die-with-parent", *args], stdin=subprocess.DEVNULL)

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

    def stop(self):
        self.proc.terminate()
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(5)
