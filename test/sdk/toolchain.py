# SPDX-License-Identifier: Apache-2.0
"""Node and the packages of test/package.json, in a folder below the build folder.

Node itself comes from npm's registry as a tarball whose hash is pinned, so a machine
needs neither node nor npm beforehand.
"""
import base64
import fcntl
import functools
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import urllib.request

import tools

REGISTRY = os.environ.get("npm_config_registry", "https://registry.npmjs.org").rstrip("/")
FOLDER = os.path.join(tools.BUILD, "node")
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def _package():
    with open(os.path.join(tools.SRCDIR, "test", "package.json"), encoding="utf-8") as f:
        return json.load(f)


def _one_at_a_time(make):
    """Tests run in several processes; the folder is filled by one of them, the others wait."""
    @functools.cache
    def wrapper(*args):
        os.makedirs(FOLDER, exist_ok=True)
        with open(os.path.join(FOLDER, ".lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return make(*args)
    return wrapper


def _fetch(name):
    """Unpacks one of the tools into FOLDER/name; its bytes must have the pinned hash."""
    pinned = _package()["tools"][name]
    target = os.path.join(FOLDER, f"{name}-{pinned['version']}")
    if os.path.isdir(target):
        return target
    url = f"{REGISTRY}/{name}/-/{name}-{pinned['version']}.tgz"
    with urllib.request.urlopen(url, timeout=120) as answer:
        content = answer.read()
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    assert found == pinned["integrity"], f"{url} has another hash than test/package.json says"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        # Debian 12's Python has no filter yet; the hash above says what is inside.
        archive.extractall(target + ".new", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    os.rename(target + ".new", target)
    return target


def _node():
    """Path of the node program."""
    return os.path.join(_fetch("node-linux-" + ARCHITECTURES[platform.machine()]), "package", "bin", "node")


@_one_at_a_time
def packages():
    """The folder that holds node_modules as test/package-lock.json says."""
    target = os.path.join(FOLDER, "packages")
    source = os.path.join(tools.SRCDIR, "test")
    with open(os.path.join(source, "package-lock.json"), "rb") as f:
        wanted = hashlib.sha256(f.read()).hexdigest()
    made = os.path.join(target, wanted)
    if os.path.exists(made):
        return target
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(source, name), target)
    npm = os.path.join(_fetch("npm"), "package", "bin", "npm-cli.js")
    done = subprocess.run([_node(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"],
                          cwd=target, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with open(made, "w", encoding="ascii"):
        pass
    return target


def run(script, *argv, timeout=60):
    """Runs a script of test/sdk with the packages in reach; gives the JSON that it printed."""
    target = packages()
    copy = os.path.join(target, f"{os.getpid()}-{os.path.basename(script)}")
    shutil.copy(script, copy)           # modules are looked for beside the script
    done = subprocess.run([_node(), copy, *argv], capture_output=True, text=True, timeout=timeout, cwd=target)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
