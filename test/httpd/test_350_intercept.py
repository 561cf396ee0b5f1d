# SPDX-License-Identifier: Apache-2.0
"""Interception: an SDK whose base URL nobody changed, in a mount namespace with its own hosts file."""
import os
import socket
import subprocess
import sys
import tempfile

import pytest

import tools
from conf import TOKEN, Conf

SCRIPT = os.path.join(tools.SRCDIR, "conf.d", "gbalance-intercept.sh")
NAME = "generativelanguage.googleapis.com"

APPLICATION = """
import sys
from google import genai
client = genai.Client(api_key=sys.argv[1])
print(client.models.generate_content(model="gemini-2.5-flash", contents="Hello").text)
print("".join(c.text or "" for c in client.models.generate_content_stream(model="gemini-2.5-flash", contents="Hello")))
"""


class Interception:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="gbalance-intercept-")
        os.chmod(self.folder.name, 0o755)
        self.dir, self.hosts, self.trust = (os.path.join(self.folder.name, n) for n in ("state", "hosts", "trust.crt"))
        with open(self.hosts, "w", encoding="ascii") as f:
            f.write("127.0.0.1 localhost\n")

    def run(self, *args, check=True):
        env = {**os.environ, "GB_INTERCEPT_DIR": self.dir, "GB_INTERCEPT_HOSTS": self.hosts,
               "GB_INTERCEPT_TRUST": self.trust, "GB_INTERCEPT_UPDATE": "true"}
        done = subprocess.run([SCRIPT, *args], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def read_hosts(self):
        with open(self.hosts, encoding="ascii") as f:
            return f.read()


@pytest.fixture
def interception():
    return Interception()


def namespaces(*kinds):
    """Whether this machine lets us make what the script makes."""
    done = subprocess.run(["unshare", *kinds, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        assert not tools.CI, f"CI may make namespaces: {done.stderr}"
        pytest.skip(f"this kernel lets us make no namespaces: {done.stderr}")


def free(address, port=443):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            pytest.skip(f"{address}:{port} cannot be had")
    return f"{address}:{port}"


class TestScript:
    def test_hosts_and_trust_come_and_go(self, interception):
        before = interception.read_hosts()
        interception.run("on", "127.0.0.9:443")
        interception.run("hosts")
        assert f"127.0.0.9 {NAME}" in interception.read_hosts()
        interception.run("hosts", "10.0.0.1")
        assert interception.read_hosts().count(NAME) == 1 and f"10.0.0.1 {NAME}" in interception.read_hosts()
        assert os.path.exists(interception.trust)
        interception.run("unhosts")
        assert interception.read_hosts() == before and not os.path.exists(interception.trust)

    def test_another_port_and_off(self, interception):
        interception.run("on")
        assert "127.0.0.1:443" in interception.run("status").stdout
        with open(interception.dir + "/cert.pem", "rb") as f:
            certificate = f.read()
        interception.run("on", "127.0.0.1:8443")
        assert "127.0.0.1:8443" in interception.run("status").stdout
        with open(interception.dir + "/cert.pem", "rb") as f:
            assert f.read() == certificate
        interception.run("off")
        assert interception.run("status").stdout == "off\n"

    def test_removed_without_residue(self, interception):
        before = interception.read_hosts()
        interception.run("on")
        interception.run("hosts")
        interception.run("remove")
        assert interception.read_hosts() == before
        assert sorted(os.listdir(interception.folder.name)) == ["hosts"]

    def test_keys_are_private_and_the_authority_signs_nothing_else(self, interception):
        interception.run("on")
        for name in ("ca.key", "cert.key"):
            assert os.stat(os.path.join(interception.dir, name)).st_mode & 0o077 == 0
        text = tools.run(["openssl", "x509", "-in", interception.dir + "/ca.pem", "-noout", "-text"]).stdout
        assert f"DNS:{NAME}" in text

    def test_says_what_it_wants(self, interception):
        assert interception.run("run", "true", check=False).returncode == 1
        assert interception.run("on", "nonsense", check=False).returncode == 1
        assert interception.run("what", check=False).returncode == 1


def outside():
    found = {}
    for path in ("/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"):
        with open(path, "rb") as f:
            found[path] = f.read()
    return found


class TestMachine:
    def test_as_an_operator_uses_it(self):
        """With hosts file, authorities and port 443 of its own; nothing of it is seen outside."""
        pytest.importorskip("google.genai")
        namespaces("--mount", "--net")
        before = outside()
        done = tools.run(["unshare", "--mount", "--net", "--propagation", "private", sys.executable, "-m", "pytest", "-q",
                          "-p", "no:cacheprovider", os.path.join(os.path.dirname(__file__), "intercept_inside.py")], timeout=120)
        assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout[-6000:] + done.stderr[-2000:]
        assert outside() == before, "nothing of it is seen here"


class TestApplication:
    def test_an_sdk_that_was_not_changed(self, interception, make_site):
        pytest.importorskip("google.genai")
        namespaces("--mount")
        interception.run("on", free("127.0.0.9"))
        site = make_site(Conf(modules=("ssl",)), start=False, sim=True)
        with open(interception.dir + "/site.conf", "w", encoding="ascii") as f:
            f.write(f"GBalanceAllowedTokens {TOKEN}\nGBalanceBaseUrl {site.sim_url}\nGBalanceApiKeys {site.conf.keys[0]}\n"
                    "GBalancePool intercepted\n")
        site.conf.main = (f"Define GB_CONF {tools.SRCDIR}/conf.d\nDefine GB_INTERCEPT_DIR {interception.dir}\n"
                          f"Include {tools.SRCDIR}/conf.d/gbalance-intercept.conf")
        site.start()
        with open("/etc/hosts", encoding="utf-8") as f:
            before = f.read()
        done = interception.run("run", sys.executable, "-c", APPLICATION, TOKEN)
        assert len(done.stdout.strip().splitlines()) >= 2, done.stdout + done.stderr
        calls = [c for c in site.sim.calls() if "enerateContent" in c["path"]]
        assert len(calls) == 2 and {c["key"] for c in calls} == {site.conf.keys[0]}
        with open("/etc/hosts", encoding="utf-8") as f:
            assert f.read() == before, "nothing outside has changed"
        interception.run("remove")
        site.graceful()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.9", 443), 2)
