# SPDX-License-Identifier: Apache-2.0
"""Real proxies from the distribution: tinyproxy (HTTP) and microsocks (SOCKS5), with passwords."""
import os
import re
import shutil
import signal
import socket
import subprocess
import ssl
import tempfile
import threading

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

    def hang(self):
        """It takes connections still, and does nothing with them."""
        self.proc.send_signal(signal.SIGSTOP)

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


class TlsTinyproxy(Tinyproxy):
    """The same one behind TLS, as an HTTPS proxy is."""

    def __init__(self, authority, names=("localhost",)):
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*authority.issue("proxy", names=names))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://{USER}:{PASSWORD}@localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                outside = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(outside,), daemon=True).start()

    def _serve(self, outside):
        try:
            with self.context.wrap_socket(outside, server_side=True) as tls, \
                    socket.create_connection(("127.0.0.1", self.port)) as inside:
                back = threading.Thread(target=self._copy, args=(inside, tls), daemon=True)
                back.start()
                self._copy(tls, inside)
                back.join()
        except OSError:
            pass

    @staticmethod
    def _copy(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self):
        self.listener.close()
        super().stop()


class Microsocks(Proxy):
    mark = r"connected to"

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-proxy-")
        self.port, self.log = tools.free_port(), os.path.join(self.folder.name, "log")
        self.url = f"socks5://{USER}:{PASSWORD}@127.0.0.1:{self.port}"
        super().__init__([program("microsocks"), "-i", "127.0.0.1", "-p", str(self.port), "-u", USER, "-P", PASSWORD])
