# SPDX-License-Identifier: Apache-2.0
"""Where things are, and waiting for conditions with an end.

Everything comes from the environment, with defaults that fit a build in ./build:
GB_SRCDIR, GB_BUILD, GB_MODULES, GB_SIMULATOR, GB_LOAD, GB_SHARED, GB_APXS.
"""
import functools
import glob
import itertools
import os
import random
import shutil
import socket
import subprocess
import time

SRCDIR = os.path.abspath(os.environ.get("GB_SRCDIR") or os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.abspath(os.environ.get("GB_BUILD") or os.path.join(SRCDIR, "build"))
SHARED = os.path.abspath(os.environ.get("GB_SHARED") or os.path.join(SRCDIR, "../shared"))
SOAK = os.environ.get("GB_SOAK", "") not in ("", "0")
SANITIZE = os.environ.get("GB_SANITIZE", "")
CI = os.environ.get("CI", "") == "true"
AS_ROOT = os.geteuid() == 0


class TimedOut(AssertionError):
    """A condition did not come true in time."""


def wait_until(condition, what, timeout=15.0, step=0.02):
    """The first true value of condition().  `what` completes "waited in vain for ..."."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"waited in vain for {what} ({timeout:g} s)")
        time.sleep(step)


def soak(short, long):
    """The small sibling's number, or the long one's with GB_SOAK=1."""
    return long if SOAK else short


def run(argv, timeout=60, **kwargs):
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, **kwargs)


PORTS = range(12000, 32000)     # below those that the kernel gives to clients


@functools.cache
def _ports():
    """An endless row of ports; those of a parallel worker are no other worker's."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = PORTS[worker::workers]
    start = random.randrange(len(own))
    return itertools.cycle([*own[start:], *own[:start]])


def free_port():
    """One that nobody listens on, nor was given out before."""
    for port in itertools.islice(_ports(), len(PORTS)):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError(f"no free port in {PORTS}")


@functools.cache
def apxs(name):
    return run([os.environ.get("GB_APXS", "apxs"), "-q", name]).stdout.strip()


@functools.cache
def httpd():
    return os.environ.get("GB_HTTPD") or os.path.join(apxs("SBINDIR"), apxs("PROGNAME"))


@functools.cache
def httpd_version():
    text = run([httpd(), "-v"]).stdout
    return tuple(int(n) for n in text.split("Apache/")[1].split()[0].split("."))


@functools.cache
def static_modules():
    """Names of what is compiled in: {"so", "watchdog", "logio" ...}."""
    lines = run([httpd(), "-l"]).stdout.splitlines()
    return {line.strip().removeprefix("mod_").removesuffix(".c") for line in lines if ".c" in line}


def _newest(patterns, what):
    found = [path for pattern in patterns for path in glob.glob(pattern)]
    if not found:
        raise FileNotFoundError(f"{what}: nothing matches {', '.join(patterns)}; build first")
    return max(found, key=os.path.getmtime)


@functools.cache
def gbalance_modules():
    """{"gbalance_module": path, "gbalance_keys_module": path ...}"""
    given = os.environ.get("GB_MODULES")
    folders = [given] if given else [f"{BUILD}/.libs", f"{BUILD}/modules/.libs", f"{BUILD}/modules", BUILD]
    for folder in folders:
        found = glob.glob(f"{folder}/mod_gbalance*.so")
        if found:
            return {os.path.basename(p).removeprefix("mod_").removesuffix(".so") + "_module": p
                    for p in sorted(found)}
    raise FileNotFoundError(f"no mod_gbalance*.so in {', '.join(folders)}; build first")


@functools.cache
def simulator():
    return os.environ.get("GB_SIMULATOR") or _newest(
        [f"{BUILD}/gemini-simulator", f"{BUILD}/*/gemini-simulator", f"{BUILD}/*/*/gemini-simulator"],
        "simulator")


@functools.cache
def load_generator():
    """Built by the make file; built here when a test run has none."""
    given = os.environ.get("GB_LOAD")
    if given:
        return given
    sources = sorted(glob.glob(f"{SRCDIR}/test/bench/load*.c"))
    target = os.path.join(BUILD, "test", "load")
    newest = max(os.path.getmtime(p) for p in glob.glob(f"{SRCDIR}/test/bench/load*.[ch]"))
    if not os.path.exists(target) or os.path.getmtime(target) < newest:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run([shutil.which("cc") or "gcc", "-std=gnu11", "-O2", "-o", target, *sources],
                       check=True, timeout=120)
    return target


@functools.cache
def sanitizer_environment():
    """What httpd needs to load modules that were built with sanitizers (GB_SANITIZE=address,undefined)."""
    libraries = [run(["gcc", "-print-file-name=" + lib]).stdout.strip()
                 for name, lib in (("address", "libasan.so"), ("undefined", "libubsan.so"), ("thread", "libtsan.so"))
                 if name in SANITIZE.split(",")]
    if not libraries:
        return {}
    # httpd's own pools look like leaks when a child is killed; leaks have a test of their own
    return {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:handle_segv=2:handle_sigbus=2:handle_abort=2",
            "UBSAN_OPTIONS": "print_stacktrace=1"}


def shared_fixtures():
    """The folder of recordings, or None where a skip is right (absent outside CI)."""
    path = os.path.join(SHARED, "fixtures", "open")
    if os.path.isdir(path):
        return path
    if CI:
        raise FileNotFoundError(f"{path}: CI runs with the shared recordings (GB_SHARED)")
    return None
