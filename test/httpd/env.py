# SPDX-License-Identifier: Apache-2.0
"""A private httpd for one test class: start, watch, restart, stop.

It listens on two loopback ports: `port` has the VirtualHost with GBalance On,
`plain_port` another one without, which also serves /server-status.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

import certs
import procfs
import tools
from client import Client
from conf import Conf, Writer
from log import ErrorLog
from tools import wait_until

MARK = "plain site of the test suite\n"


class StartFailed(AssertionError):
    pass


class Server:
    """httpd in a folder of its own; also a Client of its API."""

    def __init__(self, conf, sim=None):
        self.conf = conf
        self.sim = sim
        self.root = tempfile.mkdtemp(prefix="gbalance-test-")
        os.chmod(self.root, 0o755)
        self.state = os.path.join(self.root, "state")
        self.port, self.plain_port = tools.free_port(), tools.free_port()
        self.log = ErrorLog(os.path.join(self.root, "error.log"))
        self.log.claim(*conf.claims)
        self.proc = None
        self.authority = self.certificate = self.tls = None
        self._make_folders()
        if conf.tls:
            self._make_certificate()
        self.api = Client(self.port, token=conf.tokens[0] if conf.tokens else None, tls=self.tls)
        self.plain = Client(self.plain_port)

    # ---- files

    def _make_folders(self):
        for name in ("htdocs", "state"):
            os.makedirs(os.path.join(self.root, name))
        self.nowhere = os.path.join(self.root, "nowhere")   # where it is started: no folder of its user's
        os.makedirs(self.nowhere, mode=0o700)
        with open(os.path.join(self.root, "htdocs", "index.html"), "w", encoding="ascii") as f:
            f.write(MARK)
        with open(os.path.join(self.root, "mime.types"), "w", encoding="ascii") as f:
            f.write("text/html html shtml\ntext/plain txt\ntext/event-stream sse\n")
        # The server's user need not reach the tree.
        shutil.copytree(os.path.join(tools.SRCDIR, "htdocs"), os.path.join(self.root, "assets"))
        if tools.AS_ROOT:
            shutil.chown(self.state, "www-data", "www-data")

    def _make_certificate(self):
        import ssl
        self.authority = certs.Authority(os.path.join(self.root, "tls"))
        self.certificate = self.authority.issue("server", names=self.conf.tls_names)
        self.tls = ssl.create_default_context(cafile=self.authority.ca)

    def write(self, name, content):
        """A file below the document root."""
        path = os.path.join(self.root, "htdocs", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w" if isinstance(content, str) else "wb") as f:
            f.write(content)
        return path

    @property
    def conf_path(self):
        return os.path.join(self.root, "httpd.conf")

    @property
    def sim_url(self):
        return self.sim.url + "/v1beta" if self.sim else "http://127.0.0.1:9/v1beta"

    def configure(self, **changes):
        """Another configuration from the next (re)start on."""
        for name, value in changes.items():
            setattr(self.conf, name, value)
        with open(self.conf_path, "w", encoding="utf-8") as f:
            f.write(Writer(self.conf, self).text())

    # ---- life

    def environment(self):
        """Nothing of the caller's: gbalance reads settings from the environment."""
        kept = ("PATH", "LANG", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "ASAN_OPTIONS",
                "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
        env = {k: os.environ[k] for k in kept if k in os.environ}
        env.update(tools.sanitizer_environment())
        env.update(self.conf.environment)
        return env

    def configtest(self):
        return tools.run([tools.httpd(), "-t", "-f", self.conf_path], env=self.environment())

    def start(self):
        self.configure()
        # A session of its own: the prefork MPM ends its whole process group when it stops.
        argv = ["setpriv", "--pdeathsig", "TERM", tools.httpd(), "-DFOREGROUND", "-f", self.conf_path]
        with open(os.path.join(self.root, "stderr.log"), "wb") as output:
            self.proc = subprocess.Popen(argv, env=self.environment(), start_new_session=True, cwd=self.nowhere,
                                         stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_until(self._answers, "httpd to answer", timeout=30)
        except AssertionError as e:
            self.stop()
            raise StartFailed(f"{e}\n{self.stderr()}\n{self.log.tail()}") from None
        return self

    def _answers(self):
        if self.proc.poll() is not None:
            raise StartFailed(f"httpd ended with {self.proc.returncode}")
        try:
            return self.plain.get("/").status == 200
        except OSError:
            return False

    def stderr(self):
        with open(self.root + "/stderr.log", encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, timeout=20):
        """Ends it as an operator would; True when it ended by itself in time."""
        if self.proc is None or self.proc.poll() is not None:
            return True
        self._await_threads()
        start = self.log.position()
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(timeout)
            self.log.claim_ending(start)
            return True
        except subprocess.TimeoutExpired:
            for pid in [*procfs.children(self.proc.pid), self.proc.pid]:
                os.kill(pid, signal.SIGKILL)
            self.proc.wait(10)
            return False

    def _await_threads(self):
        """No child is in its first moment, when httpd's handler of SIGTERM calls exit() whatever it interrupts: malloc
        in the middle of its work ends that in an abort."""
        if self.conf.mpm != "prefork":
            with contextlib.suppress(tools.TimedOut):
                wait_until(lambda: all(len(procfs.threads(pid)) > 1 for pid in self.children()), "children to begin", timeout=2)

    def kill(self):
        """All of it at once: nobody may write anything any more."""
        self.proc.send_signal(signal.SIGSTOP)       # so that no child is made meanwhile
        pids = [self.proc.pid, *procfs.children(self.proc.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.proc.wait(10)
        wait_until(lambda: not any(map(procfs.alive, pids)), "all of httpd to be gone")

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def graceful(self, wait=True):
        """A graceful restart; with wait, until new children serve."""
        before = self.generation()
        self.proc.send_signal(signal.SIGUSR1)
        if wait:
            wait_until(lambda: self.generation() > before, "the next generation to serve", timeout=30)

    # ---- watching

    @property
    def pid(self):
        return self.proc.pid

    def children(self):
        return procfs.children(self.pid)

    def processes(self):
        return [self.pid, *self.children()]

    def status(self):
        """The machine-readable status page as a dict of texts."""
        page = self.plain.get("/server-status?auto").text
        return dict(line.split(": ", 1) for line in page.splitlines() if ": " in line)

    def generation(self):
        try:
            return int(self.status()["ParentServerConfigGeneration"])
        except (OSError, KeyError):
            return -1

    def idle_workers(self):
        return int(self.status()["IdleWorkers"])

    def busy_workers(self):
        return int(self.status()["BusyWorkers"])

    def cpu_seconds(self):
        """Of all processes since the start, dead ones included."""
        return sum(procfs.cpu_seconds(pid) for pid in [self.pid, *procfs.children(self.pid, with_dead=True)])

    def access_lines(self):
        with open(os.path.join(self.root, "access.log"), encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()

    def all_logs(self):
        """Everything that httpd and its modules wrote, state directory included, as bytes."""
        texts = []
        for folder, _, names in os.walk(self.root):
            for name in names:
                if folder.endswith("/tls") or name == "httpd.conf":
                    continue
                with contextlib.suppress(FileNotFoundError):  # a database's own files come and go
                    with open(os.path.join(folder, name), "rb") as f:
                        texts.append(f.read())
        return b"\n".join(texts)

    def client_of(self, token):
        return Client(self.port, token=token, tls=self.tls)

    def settled(self):
        """Waits until no request runs: the one that asks is the only one left."""
        wait_until(lambda: self.busy_workers() <= 1, "all workers to be idle", timeout=30)


class Stopwatch:
    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began

    @property
    def now(self):
        return time.monotonic() - self.began


__all__ = ["Conf", "MARK", "Server", "StartFailed", "Stopwatch"]
