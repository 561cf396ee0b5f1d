# SPDX-License-Identifier: Apache-2.0
"""Real proxies from the distribution: tinyproxy (HTTP) and microsocks (SOCKS5), with passwords."""
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

import tools

USER, PASSWORD = "proxyuser", "pa55word"


def program(name):
    """Its path; absent, the test is skipped (and fails in CI)."""
    path = shutil.which(name)
    if path is None:
        assert not tools.CI, f"CI runs with {name}"
        pytest.skip(f"{name} is not installed")
    return path


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Proxy:
    def __init__(self, argv):
        self.argv = argv
        self.proc = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        tools.wait_until(lambda: listens(self.port), f"{self.argv[0]} to listen")

    def stop(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait(5)

    def count(self):
        """Connections to upstreams so far."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return len(re.findall(self.mark, f.read()))


class Tinyproxy(Proxy):
    mark = r"(?m)Request \(file descriptor \d+\): (?:POST|GET|CONNECT)"

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-proxy-")
        os.chmod(self.folder.name, 0o755)
        self.port, self.log = tools.free_port(), os.path.join(self.folder.name, "log")
        conf = os.path.join(self.folder.name, "conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"Port {self.port}\nListen 127.0.0.1\nMaxClients 50\nAllow 127.0.0.1\nLogLevel Connect\n"
                    f"BasicAuth {USER} {PASSWORD}\nTimeout 60\n")
        self.url = f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}"
        super().__init__([program("tinyproxy"), "-d", "-c", conf])


class Microsocks(Proxy):
    mark = r"connected to"

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-proxy-")
        self.port, self.log = tools.free_port(), os.path.join(self.folder.name, "log")
        self.url = f"socks5://{USER}:{PASSWORD}@127.0.0.1:{self.port}"
        super().__init__([program("microsocks"), "-i", "127.0.0.1", "-p", str(self.port), "-u", USER, "-P", PASSWORD])
