# SPDX-License-Identifier: Apache-2.0
"""Run by test_350_intercept.py in a mount and a network namespace of its own, where /etc/hosts, the
system's authorities and port 443 are ours: the whole of gbalance-intercept.sh as an operator uses it."""
import fcntl
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys

import pytest

import tools
from conf import KEYS, TOKEN, Conf
from tools import wait_until

SCRIPT = os.path.join(tools.SRCDIR, "conf.d", "gbalance-intercept.sh")
NAME = "generativelanguage.googleapis.com"
HOSTS, BUNDLE = "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"
TRUSTED = "/usr/local/share/ca-certificates"
UPDATE = "update-ca-certificates --hooksdir /nowhere"       # hooks write beyond what is ours here

# Nothing but a key is set: no base URL, no certificate.
APPLICATION = """
import sys
from google import genai
client = genai.Client(api_key=sys.argv[1])
print(client.models.generate_content(model="gemini-2.5-flash", contents="Hello").text)
print("".join(c.text or "" for c in client.models.generate_content_stream(model="gemini-2.5-flash", contents="Hello")))
"""


def mount(*argv):
    done = tools.run(["mount", *argv])
    assert done.returncode == 0, done.stderr


def loopback_up():
    """As `ip link set lo up` does."""
    with socket.socket() as s:
        request = struct.pack("16sH14x", b"lo", 0x1 | 0x40)         # IFF_UP, IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request)                             # SIOCSIFFLAGS


@pytest.fixture(scope="class")
def machine(tmp_path_factory):
    """A machine as it is before anything is switched on; what is written to it is seen here alone."""
    folder = tmp_path_factory.mktemp("machine")
    os.chmod(folder, 0o755)
    loopback_up()
    for path in (TRUSTED, "/etc/ssl/certs"):
        os.makedirs(path, exist_ok=True)
        copy = folder / path.replace("/", "_")
        shutil.copytree(path, copy, symlinks=True)
        mount("--bind", str(copy), path)
    assert tools.run([*UPDATE.split(), "--fresh"]).returncode == 0
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    mount("--bind", str(hosts), HOSTS)
    return folder


def state(folder):
    """All that the script may change."""
    found = {HOSTS: open(HOSTS, "rb").read(), BUNDLE: open(BUNDLE, "rb").read()}
    found.update({path: sorted(os.listdir(path)) for path in (TRUSTED, "/etc/ssl/certs")})
    return {**found, "dir": os.path.exists(folder / "intercept")}


class TestInside:
    @pytest.fixture(scope="class")
    @classmethod
    def script(cls, machine):
        def run(*argv):
            done = subprocess.run([SCRIPT, *argv], capture_output=True, text=True, timeout=60, check=False,
                                  env={**os.environ, "GB_INTERCEPT_DIR": str(machine / "intercept"),
                                       "GB_INTERCEPT_UPDATE": UPDATE})
            assert done.returncode == 0, done.stderr
            return done.stdout
        return run

    @pytest.fixture(scope="class")
    @classmethod
    def before(cls, machine):
        return state(machine)

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, machine, before, script, make_site):
        script("on")
        site = make_site(Conf(keys=KEYS[:1], modules=("ssl",)), start=False, sim=True)
        with open(machine / "intercept" / "site.conf", "w", encoding="ascii") as f:
            f.write(f"GBalanceAllowedTokens {TOKEN}\nGBalanceBaseUrl {site.sim_url}\nGBalanceApiKeys {KEYS[1]}\n"
                    "GBalancePool intercepted\n")
        site.conf.main = (f"Define GB_CONF {tools.SRCDIR}/conf.d\nDefine GB_INTERCEPT_DIR {machine}/intercept\n"
                          f"Include {tools.SRCDIR}/conf.d/gbalance-intercept.conf")
        return site.start()

    def speaks_for_google(self, port):
        """Whether somebody does there whom this machine trusts."""
        context = ssl.create_default_context(cafile=BUNDLE)
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as s, context.wrap_socket(s, server_hostname=NAME):
                return True
        except OSError:
            return False

    def test_on(self, site, script):
        script("hosts")
        done = subprocess.run([sys.executable, "-c", APPLICATION, TOKEN], capture_output=True, text=True, timeout=60, check=False,
                              env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": BUNDLE, "PYTHONWARNINGS": "ignore"})
        assert len(done.stdout.strip().splitlines()) >= 2, done.stdout + done.stderr
        calls = [c for c in site.sim.calls() if "enerateContent" in c["path"]]
        assert [c["key"] for c in calls] == [KEYS[1]] * 2

    def test_another_port(self, site, script):
        assert self.speaks_for_google(443) and not self.speaks_for_google(8443)
        script("on", "127.0.0.1:8443")
        site.graceful()
        wait_until(lambda: self.speaks_for_google(8443) and not self.speaks_for_google(443), "it to move")
        script("on")
        site.graceful()
        wait_until(lambda: self.speaks_for_google(443) and not self.speaks_for_google(8443), "it to move back")

    def test_off(self, site, script, before, machine):
        script("off")
        site.graceful()
        wait_until(lambda: not self.speaks_for_google(443), "nobody to listen any more")
        assert state(machine) == {**before, "dir": True}, "certificate and authority stay, for the next time"
        with pytest.raises(OSError):
            socket.getaddrinfo(NAME, 443)

    def test_removed(self, site, script, before, machine):
        script("remove")
        assert state(machine) == before
        assert site.configtest().returncode == 0, "what is still included finds nothing, and that is well"
