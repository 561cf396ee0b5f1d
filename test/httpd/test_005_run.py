# SPDX-License-Identifier: Apache-2.0
"""`make -f apxs.mk run`, without what make does before it: the script that writes a private
configuration and serves."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import tools
from client import Client
from wire import OpenAI

SERVING = re.compile(r"serving on http://127\.0\.0\.1:(\d+)")


class Run:
    """One run of the script in a folder that has a .env file, with its output."""

    def __init__(self, folder, port, dotenv="", **environment):
        self.port, self.state = port, os.path.join(folder, "state")
        with open(os.path.join(folder, ".env"), "w", encoding="utf-8") as f:
            f.write(dotenv)
        build = os.path.join(folder, "build")
        if not os.path.exists(build):       # where modules and simulator are is the tests' business
            os.mkdir(build)
            os.symlink(tools.simulator(), os.path.join(build, "gemini-simulator"))
            os.symlink(os.path.dirname(next(iter(tools.gbalance_modules().values()))), os.path.join(build, ".libs"))
        self.log = open(os.path.join(folder, "output"), "w+", encoding="utf-8")
        # A shell cannot trap what was ignored when it began, and jobs in the background ignore Ctrl-C.
        self.proc = subprocess.Popen(
            ["env", "--default-signal=INT", "sh", f"{tools.SRCDIR}/conf.d/run/run.sh"], cwd=folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={"PATH": os.environ["PATH"], "PORT": str(port), "STATE_DIR": self.state, "GB_SRCDIR": tools.SRCDIR,
                 "GB_BUILD": build, "GB_HTTPD": tools.httpd(), "GB_LIBEXECDIR": tools.apxs("LIBEXECDIR"), **environment})

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def wait_serving(self):
        tools.wait_until(lambda: SERVING.search(self.output()) or self.proc.poll() is not None, "run to serve", timeout=30)
        assert self.proc.poll() is None, self.output()
        return self

    def made(self, name):
        """The token that it says it has made, None when it says none."""
        found = re.search(rf"(?m)^ +{name}=(\S+)$", self.output())
        return found and found.group(1)

    def config(self, auth_token):
        return Client(self.port, token=auth_token).get("/api/config").json()

    def stop(self):
        """As Ctrl-C: run and all that it started end."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
            self.proc.wait(20)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()


@pytest.fixture
def run(request):
    """A factory of runs in one folder, which the server's user can reach; one at a time."""
    runs = []
    with tempfile.TemporaryDirectory(prefix="gbalance-run-") as folder:
        os.chmod(folder, 0o755)
        port = tools.free_port()

        def start(dotenv="", port=port, **environment):
            runs.append(Run(folder, port, dotenv, **environment))
            return runs[-1]

        yield start
        for one in runs:
            one.stop()
            one.log.close()


class TestRun:
    def test_simulator_and_tokens(self, run):
        first = run().wait_serving()
        assert "the bundled simulator" in first.output()
        token, auth = first.made("ALLOWED_TOKENS"), first.made("AUTH_TOKEN")
        assert len(token) > 40 and len(auth) > 40
        curls = re.findall(r"curl http://127\.0\.0\.1:\d+(\S+) \\\n +-H '(?:Authorization: Bearer |x-goog-api-key: )(\S+)'",
                           first.output())
        assert curls == [("/v1/chat/completions", token), ("/v1beta/models/gemini-2.5-flash:generateContent", token)]
        answer = Client(first.port, token=token).post(OpenAI.path(), json=OpenAI.body())
        assert answer.status == 200
        assert os.stat(first.state + "/tokens").st_mode & 0o777 == 0o600
        first.stop()
        second = run().wait_serving()
        assert token not in second.output() and auth not in second.output(), "once"
        assert Client(second.port, token=token).get("/v1/models").status == 200

    def test_tokens_of_a_start_that_failed_are_told_by_the_next(self, run):
        with socket.create_server(("127.0.0.1", tools.free_port())) as taken:
            failed = run(port=taken.getsockname()[1])
            assert failed.proc.wait(30) != 0
        assert run().wait_serving().made("ALLOWED_TOKENS")

    def test_own_tokens(self, run):
        own = {"AUTH_TOKEN": "admin-token-of-mine"}
        first = run("ALLOWED_TOKENS=sk-mine-01234567\n", **own).wait_serving()
        assert first.made("ALLOWED_TOKENS") is first.made("AUTH_TOKEN") is None
        assert not os.path.exists(first.state + "/tokens")
        client = Client(first.port, token="sk-mine-01234567")
        for path, status in (("/v1/models", 200), ("/v1/models/models%2Fgemini-2.5-flash", 200), ("/v1/a%2Fb", 404)):
            answer = client.get(path)
            assert answer.status == status and answer.headers.get("Content-Type").startswith("application/json")

    def test_the_environment_wins(self, run):
        dotenv = ("MAX_RETRIES=7\nFILTERED_MODELS=one, two\nIMAGE_MODELS=[\"three\", \"four\"]\nAPI_KEYS=AIzaFromTheFile\n"
                  "BASE_URL=http://127.0.0.1:9/v1beta\nAUTH_TOKEN=admin-token-of-mine\n")
        server = run(dotenv, MAX_RETRIES="5", API_KEYS='["AIzaOne", "AIzaTwo"]').wait_serving()
        assert "simulator" not in server.output() and "2 keys loaded" in server.output()
        config = server.config("admin-token-of-mine")
        assert (config["MAX_RETRIES"], config["FILTERED_MODELS"], config["IMAGE_MODELS"]) == (
            5, ["one", "two"], ["three", "four"])
        assert config["BASE_URL"] == "http://127.0.0.1:9/v1beta"

    def test_keys_over_several_lines(self, run):
        server = run("API_KEYS='[\n  \"AIzaOne\",\n  \"AIzaTwo\"\n]'\nBASE_URL=http://127.0.0.1:9/v1beta\n").wait_serving()
        assert "simulator" not in server.output() and "2 keys loaded" in server.output()

    @pytest.mark.parametrize("port", ["0", "65536", "08000", "many", "99999999999999999999"])
    def test_ports_that_are_none(self, run, port):
        wrong = run(port=port)
        assert wrong.proc.wait(30) != 0
        assert f'PORT must be a number from 1 to 65535, not "{port}"' in wrong.output()

    def test_a_wall_is_named(self, run, tmp_path):
        if not tools.AS_ROOT:
            return          # the server's user is oneself
        wall = tmp_path / "wall"
        wall.mkdir(mode=0o700)
        outer = next(p for p in [*reversed(tmp_path.parents), wall] if not p.stat().st_mode & 1)
        walled = run(STATE_DIR=str(wall / "state"))
        assert walled.proc.wait(30) != 0
        assert f"{outer} forbids it" in walled.output()


class TestPackages:
    SCRIPT = f"{tools.SRCDIR}/conf.d/run/deps.sh"

    def test_nothing_to_do(self):
        done = tools.run(["sh", self.SCRIPT, "make"])
        assert (done.returncode, done.stdout) == (0, "")

    def test_without_root_the_line_to_run_is_printed(self):
        """No sudo in sight, so it says what somebody else must do, and does nothing."""
        with tempfile.TemporaryDirectory() as path:
            os.chmod(path, 0o755)
            for name in ("dpkg-query", "id", "sh"):
                os.symlink(shutil.which(name), f"{path}/{name}")
            script = shutil.copy(self.SCRIPT, path)         # nobody need reach the tree
            nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if tools.AS_ROOT else []
            done = tools.run([*nobody, "sh", "-c", f"PATH={path} exec sh -s no-such-package-1 make <{script}"])
        assert done.returncode != 0
        assert "these packages are missing and will be installed: no-such-package-1\n" in done.stdout
        assert "    apt-get update && apt-get install -y --no-install-recommends no-such-package-1\n" in done.stdout
